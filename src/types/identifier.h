/*-------------------------------------------------------------------------
 *
 * identifier.h
 *	  The identifier type: namespace:value.
 *
 * Which file defines what: identifier_norm.c the canonical form (no fmgr, so
 * that it can be fuzzed), identifier_phone.c telephone numbers of a country
 * (likewise), identifier_io.c input, output, casts and accessors,
 * identifier_op.c comparison and hashing.
 *
 * An identifier is stored as a text datum in canonical form.  It is at most
 * MCDP_IDENTIFIER_MAX bytes long, so it is never compressed or moved out of
 * line, but it may have a short header: use the _PP macros.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/identifier.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_IDENTIFIER_H
#define MCDP_IDENTIFIER_H

#include "core/mcdp.h"

/* limits, in bytes of the canonical form */
#define MCDP_IDENTIFIER_MAX 512
#define MCDP_NAMESPACE_MAX 63

/* "+" and a country code */
#define MCDP_PHONE_PREFIX_MAX 4

#define DatumGetIdentifierPP(X) ((struct varlena *) PG_DETOAST_DATUM_PACKED(X))
#define PG_GETARG_IDENTIFIER_PP(n) DatumGetIdentifierPP(PG_GETARG_DATUM(n))
#define PG_RETURN_IDENTIFIER_P(x) PG_RETURN_POINTER(x)

extern bool mcdp_identifier_normalise(const char *in, size_t len,
									  char *out, size_t *out_len,
									  McdpBadInput *bad);
extern bool mcdp_phone_international(char *number, size_t *len, const char *region);

#endif							/* MCDP_IDENTIFIER_H */
