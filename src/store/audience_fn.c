/*-------------------------------------------------------------------------
 *
 * audience_fn.c
 *	  SQL-callable functions: audience, audience_count, _matching_ids.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "store/chunk_scan.h"
#include "store/suppression.h"
#include "store/tag_history.h"
#include "types/bitmap.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp_audience_set);
PG_FUNCTION_INFO_V1(mcdp_audience_with_suppressed);
PG_FUNCTION_INFO_V1(mcdp_audience_count);
PG_FUNCTION_INFO_V1(mcdp__matching_ids);

void
mcdp_audience_check_rule(const CriteriaNode *rule)
{
	if (mcdp_criteria_has_free_label(rule))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label \"$\" of the rule is not bound"),
				 errhint("Use it inside any(event: rule), or in the rules of a journey.")));
}

static Oid
bitmap_type(void)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("bitmap"),
						   ObjectIdGetDatum(get_namespace_oid("cdp", false)));
}

static void
connect_spi(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
finish_spi(void)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/*
 * The members, or with "members" NULL their number.  Rules of tags only, over
 * everybody of a kind, are evaluated where the tags are stored.
 */
static uint64
eval_audience(CriteriaNode *rule, TimestampTz at, const char *kind, bool suppress,
			  MemoryContext cx, Rbuf **members)
{
	uint64		count = 0;
	Rbuf	   *found;
	MemoryContext old;
	bool		by_chunk;

	connect_spi();
	old = MemoryContextSwitchTo(cx);
	if (suppress)
		rule = mcdp_suppression_apply(rule, kind);
	by_chunk = mcdp_chunk_rule_is(rule) && !mcdp_tag_history_matters_to(rule, at);
	MemoryContextSwitchTo(old);
	finish_spi();
	if (by_chunk && mcdp_universe_is_tag(kind, at))
	{
		if (members != NULL)
			*members = mcdp_rbuf_create(cx);
		return mcdp_chunk_rule_eval(rule, NULL, psprintf("\001kind:%s", kind),
									members == NULL ? NULL : *members);
	}
	connect_spi();
	found = mcdp_audience(cx, rule, mcdp_source_universe(cx, kind, at), at, bitmap_type());
	finish_spi();
	if (members != NULL)
		*members = found;
	else
		count = mcdp_rbuf_cardinality(found);
	return count;
}

static uint64
call_audience(FunctionCallInfo fcinfo, bool suppress, MemoryContext cx, Rbuf **members)
{
	CriteriaNode *rule = mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0));

	mcdp_audience_check_rule(rule);
	return eval_audience(rule, PG_GETARG_TIMESTAMPTZ(1), text_to_cstring(PG_GETARG_TEXT_PP(2)),
						 suppress, cx, members);
}

Rbuf	   *
mcdp_audience_of_all_kinds(MemoryContext cx, CriteriaNode *rule, TimestampTz at)
{
	Rbuf	   *result = mcdp_rbuf_create(cx);
	List	   *kinds;
	ListCell   *kind;

	connect_spi();
	kinds = mcdp_source_kinds(cx);
	finish_spi();
	foreach(kind, kinds)
	{
		Rbuf	   *members;

		eval_audience(rule, at, lfirst(kind), true, cx, &members);
		mcdp_rbuf_or(result, members);
		mcdp_rbuf_free(members);
	}
	return result;
}

static Datum
audience(FunctionCallInfo fcinfo, bool suppress)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "audience",
											 ALLOCSET_DEFAULT_SIZES);
	Rbuf	   *members;
	Datum		result;

	call_audience(fcinfo, suppress, cx, &members);
	result = mcdp_rbuf_to_bitmap(members);
	MemoryContextDelete(cx);
	return result;
}

/* audience(criteria, at, kind) */
Datum
mcdp_audience_set(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(audience(fcinfo, true));
}

/* audience_with_suppressed(criteria, at, kind) */
Datum
mcdp_audience_with_suppressed(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(audience(fcinfo, false));
}

/* audience_count(criteria, at, kind) */
Datum
mcdp_audience_count(PG_FUNCTION_ARGS)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "audience",
											 ALLOCSET_DEFAULT_SIZES);
	uint64		count = call_audience(fcinfo, true, cx, NULL);

	MemoryContextDelete(cx);
	PG_RETURN_INT64((int64) count);
}

/* _matching_ids(criteria, at) */
Datum
mcdp__matching_ids(PG_FUNCTION_ARGS)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "audience",
											 ALLOCSET_DEFAULT_SIZES);
	CriteriaNode *rule = mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0));
	Rbuf	   *members;
	Datum	   *ids;
	ArrayType  *result;
	RbufIter	it;
	uint64		id;
	uint64		n = 0;

	mcdp_audience_check_rule(rule);
	members = mcdp_audience_of_all_kinds(cx, rule, PG_GETARG_TIMESTAMPTZ(1));
	if (mcdp_rbuf_cardinality(members) > MaxAllocSize / sizeof(Datum) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many profiles for an array")));
	ids = MemoryContextAllocHuge(cx, (mcdp_rbuf_cardinality(members) + 1) * sizeof(Datum));
	mcdp_rbuf_iter_init(&it, members);
	while (mcdp_rbuf_iter_next(&it, &id))
		ids[n++] = Int64GetDatum((int64) id);
	result = construct_array(ids, (int) n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	MemoryContextDelete(cx);
	PG_RETURN_ARRAYTYPE_P(result);
}
