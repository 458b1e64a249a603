/*-------------------------------------------------------------------------
 *
 * audience_history.c
 *	  Decides rules for those whom cheap terms leave open, by their histories.
 *
 * One query reads the histories and calls _audience_probe for each, so that
 * parallel workers can take part.  What it needs beside the history goes along
 * as parameters: the rule, the sets kept with the plan, label sets and priors.
 * Its answers come back as one bitmap of 4 * id + answer.
 *
 * Of whom the answer depends on properties is decided afterwards, by
 * audience_property.c.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_history.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "store/audience_probe.h"
#include "types/bitmap.h"
#include "types/criteria_datum.h"

#define PROBE "SELECT cdp.rb_build_agg(cdp._audience_probe($1, $2, $3, $4, p.profile_id, p.timeline)) FROM "
#define NPARAMS 5

typedef struct Probe
{
	AudienceRun *run;
	Oid			types[NPARAMS];
	Datum		values[NPARAMS];
	Rbuf	   *result;
	Rbuf	   *seen;
	Rbuf	   *unknown;		/* the answer depends on properties … */
	Rbuf	   *else_yes;		/* … and is yes if nothing satisfies them */
} Probe;

static Oid
type_beside(Oid type, const char *name)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid			namespace;
	Oid			result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	namespace = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);
	result = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
							 ObjectIdGetDatum(namespace));
	if (!OidIsValid(result))
		elog(ERROR, "type \"%s\" is not there", name);
	return result;
}

static Datum
sets_array(AudienceRun *run)
{
	Datum	   *elems = palloc(run->plan->nsets * sizeof(Datum));
	int16		typlen;
	bool		typbyval;
	char		typalign;

	get_typlenbyvalalign(run->bitmap_type, &typlen, &typbyval, &typalign);
	for (int i = 0; i < run->plan->nsets; i++)
		elems[i] = mcdp_rbuf_to_bitmap(run->sets[i]);
	return PointerGetDatum(construct_array(elems, run->plan->nsets, run->bitmap_type,
										   typlen, typbyval, typalign));
}

static void
init_probe(Probe *probe, AudienceRun *run, Rbuf *result, Rbuf *seen)
{
	probe->run = run;
	probe->types[0] = type_beside(run->bitmap_type, "criteria");
	probe->values[0] = PointerGetDatum(mcdp_criteria_store(run->rule));
	probe->types[1] = TIMESTAMPTZOID;
	probe->values[1] = TimestampTzGetDatum(run->at);
	probe->types[2] = get_array_type(run->bitmap_type);
	probe->types[3] = JSONBOID;
	probe->values[3] = mcdp_source_lookups(run->rule);
	probe->types[4] = run->bitmap_type;
	probe->result = result;
	probe->seen = seen;
	probe->unknown = mcdp_rbuf_create(run->cx);
	probe->else_yes = mcdp_rbuf_create(run->cx);
}

/*
 * Planned anew each time, as the types may be made anew.  Generic, so that big
 * sets travel to workers as parameters and not as text inside the plan.
 */
static void
run_probe(Probe *probe, const char *query, Rbuf *among)
{
	SPIPlanPtr	plan;
	Datum		answers;
	bool		isnull;

	probe->values[4] = mcdp_rbuf_to_bitmap(among);
	plan = SPI_prepare_cursor(query, NPARAMS, probe->types,
							  CURSOR_OPT_GENERIC_PLAN | CURSOR_OPT_PARALLEL_OK);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_execute_plan(plan, probe->values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	answers = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		Rbuf	   *codes = mcdp_bitmap_to_rbuf(probe->run->cx, answers);
		RbufIter	it;
		uint64		code;

		mcdp_rbuf_iter_init(&it, codes);
		while (mcdp_rbuf_iter_next(&it, &code))
		{
			uint64		id = code / AUDIENCE_ANSWERS;

			mcdp_rbuf_add(probe->seen, id);
			if (code % AUDIENCE_ANSWERS == PLAN_YES)
				mcdp_rbuf_add(probe->result, id);
			else if (code % AUDIENCE_ANSWERS != PLAN_NO)
				mcdp_rbuf_add(probe->unknown, id);
			if (code % AUDIENCE_ANSWERS == PLAN_ASK_ELSE_YES)
				mcdp_rbuf_add(probe->else_yes, id);
		}
		mcdp_rbuf_free(codes);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_freeplan(plan);
}

void
mcdp_audience_histories(AudienceRun *run, Rbuf *result, Rbuf *seen)
{
	Probe		probe;
	Rbuf	   *candidates = run->sets[0];
	Rbuf	   *sole,
			   *split;

	init_probe(&probe, run, result, seen);
	if (run->dues != NULL || mcdp_rbuf_cardinality(candidates) <= AUDIENCE_DIRECT)
		mcdp_audience_direct(run, probe.values[3], result, seen, probe.unknown, probe.else_yes);
	else
	{
		probe.values[2] = sets_array(run);
		split = mcdp_source_split_histories(run->cx);
		mcdp_rbuf_and(split, candidates);
		sole = mcdp_rbuf_copy(run->cx, candidates);
		mcdp_rbuf_andnot(sole, split);

		/*
		 * One scan of all is cheaper than looking up many; it needs to know
		 * whom to skip.  Of those who are left there are sole parts only.
		 */
		if (mcdp_rbuf_cardinality(sole) > mcdp_source_histories(run->universe) * AUDIENCE_SCAN_SHARE)
		{
			run->sets[0] = sole;
			probe.values[2] = sets_array(run);
			run_probe(&probe, PROBE "cdp.timeline_part p WHERE cdp._is_candidate($5, p.profile_id, p.timeline)", sole);
			run->sets[0] = split;
			probe.values[2] = sets_array(run);
		}
		else if (!mcdp_rbuf_is_empty(sole))
			run_probe(&probe, PROBE "cdp.timeline_part p WHERE $5 OPERATOR(cdp.@>) p.profile_id", sole);
		if (!mcdp_rbuf_is_empty(split))
			run_probe(&probe, PROBE "cdp._timelines_of($5) p", split);
		run->sets[0] = candidates;
		mcdp_rbuf_free(sole);
		mcdp_rbuf_free(split);
	}
	if (!mcdp_rbuf_is_empty(probe.unknown))
		mcdp_audience_properties(run, probe.values[3], probe.unknown, probe.else_yes, result);
}
