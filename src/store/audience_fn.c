/*-------------------------------------------------------------------------
 *
 * audience_fn.c
 *	  SQL-callable functions: audience, matches.
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
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "store/chunk_scan.h"
#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp_audience_set);
PG_FUNCTION_INFO_V1(mcdp_audience_count);
PG_FUNCTION_INFO_V1(mcdp_matches);
PG_FUNCTION_INFO_V1(mcdp__matches);

/* A rule that was opened, kept for the next call from the same place. */
typedef struct OpenRule
{
	MemoryContext cx;
	Criteria   *stored;
	CriteriaNode *rule;
} OpenRule;

static void
check_rule(const CriteriaNode *rule, bool label_bound)
{
	if (!label_bound && mcdp_criteria_has_free_label(rule))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label \"$\" of the rule is not bound"),
				 errhint("Use it inside any(event: rule), or in the rules of a journey.")));
}

static CriteriaNode *
open_rule(FunctionCallInfo fcinfo, int arg, bool label_bound)
{
	OpenRule   *open = fcinfo->flinfo->fn_extra;
	Criteria   *stored = (Criteria *) PG_GETARG_VARLENA_P(arg);
	MemoryContext old;

	if (open == NULL || open->stored == NULL ||
		VARSIZE(open->stored) != VARSIZE(stored) ||
		memcmp(open->stored, stored, VARSIZE(stored)) != 0)
	{
		if (open == NULL)
		{
			open = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(OpenRule));
			open->cx = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "criteria",
											 ALLOCSET_SMALL_SIZES);
			fcinfo->flinfo->fn_extra = open;
		}
		open->stored = NULL;
		MemoryContextReset(open->cx);
		old = MemoryContextSwitchTo(open->cx);
		open->rule = mcdp_criteria_open(stored);
		open->stored = (Criteria *) PG_DETOAST_DATUM_COPY(PointerGetDatum(stored));
		MemoryContextSwitchTo(old);
	}
	check_rule(open->rule, label_bound);
	return open->rule;
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
eval_audience(FunctionCallInfo fcinfo, MemoryContext cx, Rbuf **members)
{
	CriteriaNode *rule = open_rule(fcinfo, 0, false);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(2));
	uint64		count = 0;
	Rbuf	   *found;

	if (mcdp_chunk_rule_is(rule) && mcdp_universe_is_tag(kind, at))
	{
		if (members != NULL)
			*members = mcdp_rbuf_create(cx);
		return mcdp_chunk_rule_eval(rule, NULL, psprintf("\001kind:%s", kind),
									members == NULL ? NULL : *members);
	}
	connect_spi();
	found = mcdp_audience(cx, rule, mcdp_source_universe(cx, kind, at), at,
						  GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("bitmap"),
										  ObjectIdGetDatum(get_namespace_oid("cdp", false))));
	finish_spi();
	if (members != NULL)
		*members = found;
	else
		count = mcdp_rbuf_cardinality(found);
	return count;
}

/* audience(criteria, at, kind) */
Datum
mcdp_audience_set(PG_FUNCTION_ARGS)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "audience",
											 ALLOCSET_DEFAULT_SIZES);
	Rbuf	   *members;
	Datum		result;

	eval_audience(fcinfo, cx, &members);
	result = mcdp_rbuf_to_bitmap(members);
	MemoryContextDelete(cx);
	PG_RETURN_DATUM(result);
}

/* audience_count(criteria, at, kind) */
Datum
mcdp_audience_count(PG_FUNCTION_ARGS)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "audience",
											 ALLOCSET_DEFAULT_SIZES);
	uint64		count = eval_audience(fcinfo, cx, NULL);

	MemoryContextDelete(cx);
	PG_RETURN_INT64((int64) count);
}

static bool
matches(FunctionCallInfo fcinfo, CriteriaNode *rule, const char *label)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "matches",
											 ALLOCSET_SMALL_SIZES);
	int64		id = PG_GETARG_INT64(0);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
	bool		result;

	connect_spi();
	result = mcdp_source_in_universe(id, at) &&
		mcdp_audience_matches(cx, rule, id, at, label);
	finish_spi();
	MemoryContextDelete(cx);
	return result;
}

/* matches(profile, criteria, at) */
Datum
mcdp_matches(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(matches(fcinfo, open_rule(fcinfo, 1, false), NULL));
}

/*
 * _matches(profile, criteria, at, label): [$] is the label.  NULL, for somebody
 * whose journey began with an event without one, is no event's label: stored
 * labels are never empty.
 */
Datum
mcdp__matches(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(matches(fcinfo, open_rule(fcinfo, 1, true),
						   PG_ARGISNULL(3) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(3))));
}
