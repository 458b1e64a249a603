/*-------------------------------------------------------------------------
 *
 * identifier_op.c
 *	  Comparison and hashing of identifiers: by bytes, whatever the collation.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/identifier_op.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"

#include "types/identifier.h"

PG_FUNCTION_INFO_V1(mcdp_identifier_cmp);
PG_FUNCTION_INFO_V1(mcdp_identifier_eq);
PG_FUNCTION_INFO_V1(mcdp_identifier_ne);
PG_FUNCTION_INFO_V1(mcdp_identifier_lt);
PG_FUNCTION_INFO_V1(mcdp_identifier_le);
PG_FUNCTION_INFO_V1(mcdp_identifier_gt);
PG_FUNCTION_INFO_V1(mcdp_identifier_ge);
PG_FUNCTION_INFO_V1(mcdp__identifier_smaller);
PG_FUNCTION_INFO_V1(mcdp__identifier_larger);
PG_FUNCTION_INFO_V1(mcdp_identifier_hash);
PG_FUNCTION_INFO_V1(mcdp_identifier_hash_extended);

static int
compare(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_IDENTIFIER_PP(0);
	struct varlena *b = PG_GETARG_IDENTIFIER_PP(1);
	int			a_len = VARSIZE_ANY_EXHDR(a);
	int			b_len = VARSIZE_ANY_EXHDR(b);
	int			result = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_len, b_len));

	if (result == 0)
		result = a_len - b_len;

	/* Index scans must not leave copies behind. */
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

Datum
mcdp_identifier_cmp(PG_FUNCTION_ARGS)
{
	int			result = compare(fcinfo);

	PG_RETURN_INT32((result > 0) - (result < 0));
}

Datum
mcdp_identifier_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) == 0);
}

Datum
mcdp_identifier_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) != 0);
}

Datum
mcdp_identifier_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

Datum
mcdp_identifier_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

Datum
mcdp_identifier_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

Datum
mcdp_identifier_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

/* min and max */
Datum
mcdp__identifier_smaller(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(compare(fcinfo) <= 0 ? 0 : 1));
}

Datum
mcdp__identifier_larger(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(compare(fcinfo) >= 0 ? 0 : 1));
}

Datum
mcdp_identifier_hash(PG_FUNCTION_ARGS)
{
	struct varlena *id = PG_GETARG_IDENTIFIER_PP(0);
	Datum		result = hash_any((unsigned char *) VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));

	PG_FREE_IF_COPY(id, 0);
	return result;
}

Datum
mcdp_identifier_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *id = PG_GETARG_IDENTIFIER_PP(0);
	Datum		result = hash_any_extended((unsigned char *) VARDATA_ANY(id),
										   VARSIZE_ANY_EXHDR(id), PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(id, 0);
	return result;
}
