/*-------------------------------------------------------------------------
 *
 * criteria_op.c
 *	  Operators of the criteria type: order by bytes, and set algebra.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_op.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "core/mcdp.h"
#include "types/criteria_datum.h"
#include "types/criteria_parse.h"

PG_FUNCTION_INFO_V1(mcdp_criteria_eq);
PG_FUNCTION_INFO_V1(mcdp_criteria_ne);
PG_FUNCTION_INFO_V1(mcdp_criteria_lt);
PG_FUNCTION_INFO_V1(mcdp_criteria_le);
PG_FUNCTION_INFO_V1(mcdp_criteria_gt);
PG_FUNCTION_INFO_V1(mcdp_criteria_ge);
PG_FUNCTION_INFO_V1(mcdp_criteria_cmp);
PG_FUNCTION_INFO_V1(mcdp_criteria_hash);
PG_FUNCTION_INFO_V1(mcdp_criteria_hash_extended);
PG_FUNCTION_INFO_V1(mcdp_criteria_and);
PG_FUNCTION_INFO_V1(mcdp_criteria_or);
PG_FUNCTION_INFO_V1(mcdp_criteria_not);

/* Equal rules have equal bytes; which of two different ones is less means nothing. */
static int
compare(FunctionCallInfo fcinfo)
{
	Criteria   *a = PG_GETARG_CRITERIA_PP(0);
	Criteria   *b = PG_GETARG_CRITERIA_PP(1);
	size_t		a_len = VARSIZE_ANY_EXHDR(a);
	size_t		b_len = VARSIZE_ANY_EXHDR(b);
	int			result = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_len, b_len));

	if (result == 0)
		result = (a_len > b_len) - (a_len < b_len);

	/* index support: leave no detoasted copies behind */
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

Datum
mcdp_criteria_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) == 0);
}

Datum
mcdp_criteria_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) != 0);
}

Datum
mcdp_criteria_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

Datum
mcdp_criteria_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

Datum
mcdp_criteria_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

Datum
mcdp_criteria_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

Datum
mcdp_criteria_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

Datum
mcdp_criteria_hash(PG_FUNCTION_ARGS)
{
	Criteria   *a = PG_GETARG_CRITERIA_PP(0);
	uint32		hash = hash_bytes((const unsigned char *) VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a));

	PG_FREE_IF_COPY(a, 0);
	PG_RETURN_UINT32(hash);
}

Datum
mcdp_criteria_hash_extended(PG_FUNCTION_ARGS)
{
	Criteria   *a = PG_GETARG_CRITERIA_PP(0);
	uint64		hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(a),
										   VARSIZE_ANY_EXHDR(a), PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(a, 0);
	PG_RETURN_UINT64(hash);
}

/*
 * Combine opened rules as the parser would have: a result that is too deep or
 * too long to be written down again is refused here, not when it is dumped.
 */
static Criteria *
checked(CriteriaNode *node)
{
	if (node == NULL || strlen(mcdp_criteria_print(node)) > CRITERIA_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("rule is too large"),
				 node == NULL ? errdetail("A rule must be nested at most %d levels deep.", CRITERIA_MAX_DEPTH)
				 : errdetail("A rule must have at most %d bytes.", CRITERIA_MAX_LENGTH)));
	return mcdp_criteria_store(node);
}

static Criteria *
combine(FunctionCallInfo fcinfo, CriteriaOp op)
{
	CriteriaError err = {0};
	CriteriaParser p = {.err = &err};

	return checked(mcdp_criteria_make_list(&p, 0, op,
										   mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)),
										   mcdp_criteria_open(PG_GETARG_CRITERIA_PP(1))));
}

Datum
mcdp_criteria_and(PG_FUNCTION_ARGS)
{
	PG_RETURN_CRITERIA_P(combine(fcinfo, CRITERIA_AND));
}

Datum
mcdp_criteria_or(PG_FUNCTION_ARGS)
{
	PG_RETURN_CRITERIA_P(combine(fcinfo, CRITERIA_OR));
}

Datum
mcdp_criteria_not(PG_FUNCTION_ARGS)
{
	CriteriaError err = {0};
	CriteriaParser p = {.err = &err};

	PG_RETURN_CRITERIA_P(checked(mcdp_criteria_make_unary(&p, 0, CRITERIA_NOT,
														   mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)))));
}
