/*-------------------------------------------------------------------------
 *
 * text_order.h
 *	  The order of texts, and of identifiers, by their bytes.
 *
 * It is the one in which rows with such keys are locked, whatever the
 * database's collation.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/text_order.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TEXT_ORDER_H
#define MCDP_TEXT_ORDER_H

#include "core/compat.h"

static inline int
mcdp_compare_texts(struct varlena *a, struct varlena *b)
{
	Size		a_len = VARSIZE_ANY_EXHDR(a);
	Size		b_len = VARSIZE_ANY_EXHDR(b);
	int			c = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_len, b_len));

	return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

#endif							/* MCDP_TEXT_ORDER_H */
