/*-------------------------------------------------------------------------
 *
 * id_order.h
 *	  The order of profile ids, for qsort and bsearch.
 *
 * It is the one in which rows of profiles are locked.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/id_order.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_ID_ORDER_H
#define MCDP_ID_ORDER_H

/* int64 */
static inline int
mcdp_compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

#endif							/* MCDP_ID_ORDER_H */
