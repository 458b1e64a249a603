/*-------------------------------------------------------------------------
 *
 * audience_probe_fn.c
 *	  SQL functions _is_candidate and _audience_probe: a rule and one history, in
 *	  any process.
 *
 * They read no table.  All arguments but the last two are parameters of the
 * query they stand in; they are opened once.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_probe_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience_plan.h"
#include "store/audience_probe.h"
#include "types/bitmap.h"
#include "types/criteria_datum.h"
#include "types/timeline_datum.h"

PG_FUNCTION_INFO_V1(mcdp__is_candidate);
PG_FUNCTION_INFO_V1(mcdp__audience_probe);

/* ---- lookups ---- */

void
mcdp_lookups_init(AudienceLookups *l, Datum json)
{
	l->json = DatumGetJsonbP(json);
}

/* A member of an object; false when there is none or this is no object. */
static bool
get_member(const JsonbContainer *object, const char *key, int len, JsonbValue *out)
{
	return JsonContainerIsObject(object) &&
		getKeyJsonValueFromContainer(unconstify(JsonbContainer *, object), key, len, out) != NULL;
}

bool
mcdp_lookups_label_set(const AudienceLookups *l, const char *set, const char *label, int len)
{
	JsonbValue	sets,
				labels,
				member;

	return get_member(&l->json->root, "label_sets", strlen("label_sets"), &sets) &&
		sets.type == jbvBinary &&
		get_member(sets.val.binary.data, set, strlen(set), &labels) &&
		labels.type == jbvBinary &&
		get_member(labels.val.binary.data, label, len, &member);
}

void
mcdp_lookups_prior(const AudienceLookups *l, const char *event, const char *label, McdpPriorGap *out)
{
	JsonbValue	priors,
				labels,
				prior;

	if (!get_member(&l->json->root, "priors", strlen("priors"), &priors) || priors.type != jbvBinary ||
		!get_member(priors.val.binary.data, event, strlen(event), &labels) || labels.type != jbvBinary)
		return;
	if (label == NULL || !get_member(labels.val.binary.data, label, strlen(label), &prior))
	{
		if (!get_member(labels.val.binary.data, "", 0, &prior))
			return;
	}
	if (prior.type == jbvBinary && JsonContainerIsArray(prior.val.binary.data))
	{
		CriteriaConst gap,
					weight;
		JsonbValue *elem = getIthJsonbValueFromContainer(prior.val.binary.data, 0);

		if (elem == NULL || !mcdp_criteria_from_json(elem, &gap) || gap.type != CRITERIA_NUMBER)
			return;
		elem = getIthJsonbValueFromContainer(prior.val.binary.data, 1);
		if (elem == NULL || !mcdp_criteria_from_json(elem, &weight) || weight.type != CRITERIA_NUMBER)
			return;
		out->exists = true;
		out->gap = (int64) gap.number;
		out->weight = weight.number;
	}
}

/* ---- the functions ---- */

/* _is_candidate(candidates, profile, timeline): the timeline is not read. */
Datum
mcdp__is_candidate(PG_FUNCTION_ARGS)
{
	Rbuf	   *candidates = fcinfo->flinfo->fn_extra;

	if (candidates == NULL)
		candidates = fcinfo->flinfo->fn_extra = mcdp_bitmap_to_rbuf(fcinfo->flinfo->fn_mcxt, PG_GETARG_DATUM(0));
	if (mcdp_rbuf_contains(candidates, (uint64) PG_GETARG_INT64(1)))
		PG_RETURN_BOOL(true);
	/* The next row of the page is asked about next. */
	mcdp_timeline_prefetch_next((const Timeline *) PG_GETARG_POINTER(2));
	PG_RETURN_BOOL(false);
}

typedef struct ProbeRun
{
	PlanRun		run;			/* first: env.arg is this */
	MemoryContext cx;
	MemoryContext row_cx;
	AudienceLookups lookups;
} ProbeRun;

static bool
probe_label_set(void *arg, const char *set, const char *label, int len)
{
	return mcdp_lookups_label_set(&((ProbeRun *) arg)->lookups, set, label, len);
}

static void
probe_prior(void *arg, const char *event, const char *label, McdpPriorGap *out)
{
	mcdp_lookups_prior(&((ProbeRun *) arg)->lookups, event, label, out);
}

static ProbeRun *
open_probe(FunctionCallInfo fcinfo)
{
	ProbeRun   *probe = fcinfo->flinfo->fn_extra;
	MemoryContext cx = fcinfo->flinfo->fn_mcxt;
	MemoryContext old;
	ArrayType  *array;
	Datum	   *values;
	bool	   *nulls;
	AudiencePlan *plan;
	Rbuf	  **sets;
	int			n;
	int16		typlen;
	bool		typbyval;
	char		typalign;

	if (probe != NULL)
		return probe;
	old = MemoryContextSwitchTo(cx);
	probe = palloc(sizeof(ProbeRun));
	plan = mcdp_plan_make(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)));
	array = PG_GETARG_ARRAYTYPE_P(2);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &typlen, &typbyval, &typalign);
	deconstruct_array(array, ARR_ELEMTYPE(array), typlen, typbyval, typalign, &values, &nulls, &n);
	if (n != plan->nsets)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the rule needs %d sets, not %d", plan->nsets, n)));
	sets = palloc(n * sizeof(Rbuf *));
	for (int i = 0; i < n; i++)
		sets[i] = nulls[i] ? mcdp_rbuf_create(cx) : mcdp_bitmap_to_rbuf(cx, values[i]);
	mcdp_plan_run_init(&probe->run, plan, sets, PG_GETARG_TIMESTAMPTZ(1));
	probe->run.env.label_set = probe_label_set;
	probe->run.env.prior = probe_prior;
	probe->run.env.arg = probe;
	mcdp_lookups_init(&probe->lookups, PointerGetDatum(PG_GETARG_JSONB_P_COPY(3)));
	probe->row_cx = AllocSetContextCreate(cx, "audience probe", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = probe;
	return probe;
}

/* _audience_probe(rule, at, sets, lookups, profile, timeline) */
Datum
mcdp__audience_probe(PG_FUNCTION_ARGS)
{
	ProbeRun   *probe = open_probe(fcinfo);
	uint64		id = (uint64) PG_GETARG_INT64(4);
	MemoryContext old;
	TimelineView view;
	PlanAnswer	answer;

	if (!mcdp_rbuf_contains(probe->run.sets[0], id))
		PG_RETURN_NULL();
	old = MemoryContextSwitchTo(probe->row_cx);
	mcdp_timeline_open(&view, PG_GETARG_TIMELINE_P(5));
	probe->run.env.timeline = &view;
	answer = mcdp_plan_decide(&probe->run, id);
	MemoryContextSwitchTo(old);
	MemoryContextReset(probe->row_cx);
	PG_RETURN_INT64((int64) (id * AUDIENCE_ANSWERS + answer));
}
