/*-------------------------------------------------------------------------
 *
 * lifecycle_fn.c
 *	  SQL functions about the lifecycle stages of a timeline.
 *
 * The oids of the enum's labels differ from database to database: they are
 * looked up by label, once per call site.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/lifecycle_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "core/length.h"
#include "types/lifecycle.h"
#include "types/timeline_datum.h"

PG_FUNCTION_INFO_V1(mcdp_lifecycle);
PG_FUNCTION_INFO_V1(mcdp_lifecycle_due);
PG_FUNCTION_INFO_V1(mcdp_lifecycle_next);
PG_FUNCTION_INFO_V1(mcdp_lifecycle_history);
PG_FUNCTION_INFO_V1(mcdp_lifecycle_numbers);

typedef struct StageOids
{
	Oid			oids[LIFECYCLE_NUM_STAGES];
} StageOids;

/* What lifecycle_history keeps between rows. */
typedef struct HistoryState
{
	StageOids	stages;
	TimelineView view;
	LifecycleRule rule;
	LifecycleWalk walk;
	TimestampTz until;
} HistoryState;

static void
look_up_stages(Oid enum_type, StageOids *stages)
{
	for (int i = 0; i < LIFECYCLE_NUM_STAGES; i++)
	{
		HeapTuple	tuple = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(enum_type),
											CStringGetDatum(mcdp_lifecycle_labels[i]));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "type %u has no label \"%s\"", enum_type, mcdp_lifecycle_labels[i]);
		stages->oids[i] = ((Form_pg_enum) GETSTRUCT(tuple))->oid;
		ReleaseSysCache(tuple);
	}
}

/* The columns of the row type lifecycle_rule. */
enum
{
	RULE_PURCHASE_EVENT,
	RULE_RETAINED_ORDERS,
	RULE_AT_RISK_AFTER,
	RULE_CHURNED_AFTER,
	RULE_ADAPTIVE,
	RULE_AT_RISK_GAPS,
	RULE_CHURNED_GAPS,
	RULE_AT_RISK_MIN,
	RULE_AT_RISK_MAX,
	RULE_CHURNED_MIN,
	RULE_CHURNED_MAX,
	RULE_PRIOR_GAP,
	RULE_PRIOR_WEIGHT,
	RULE_NUM_COLUMNS
};

static void
refuse(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", what)));
}

static void
check_fixed(const LifecycleRule *rule)
{
	if (rule->retained_orders < 2)
		refuse("retained_orders must be at least 2");
	if (rule->at_risk_after == 0)
		refuse("at_risk_after must be greater than zero");
	if (rule->churned_after <= rule->at_risk_after)
		refuse("churned_after must be greater than at_risk_after");
}

static void
check_adaptive(const LifecycleRule *rule)
{
	if (!(rule->at_risk.gaps > 0) || isinf(rule->churned.gaps) || !(rule->churned.gaps > rule->at_risk.gaps))
		refuse("at_risk_gaps must be greater than zero, and churned_gaps greater than at_risk_gaps");
	if (rule->at_risk.min == 0)
		refuse("at_risk_min must be greater than zero");
	if (rule->at_risk.max < rule->at_risk.min || rule->churned.max < rule->churned.min)
		refuse("at_risk_max and churned_max must not be less than at_risk_min and churned_min");
	if (rule->churned.min <= rule->at_risk.min || rule->churned.max <= rule->at_risk.max)
		refuse("churned_min and churned_max must be greater than at_risk_min and at_risk_max");
	if (!(rule->prior.weight >= 0) || isinf(rule->prior.weight))
		refuse("prior_weight must be finite and not negative");
}

/* A row of the type lifecycle_rule; the name of the event points into it. */
static void
read_rule(HeapTupleHeader row, LifecycleRule *rule)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
	Datum		values[RULE_NUM_COLUMNS];
	bool		nulls[RULE_NUM_COLUMNS];
	text	   *event;

	if (desc->natts != RULE_NUM_COLUMNS)
		elog(ERROR, "row type of %d columns is not lifecycle_rule", desc->natts);
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);

	for (int i = 0; i < RULE_NUM_COLUMNS; i++)
	{
		if (nulls[i] && i != RULE_PRIOR_GAP && (i <= RULE_ADAPTIVE || DatumGetBool(values[RULE_ADAPTIVE])))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("lifecycle rule must not have null in column %d", i + 1)));
	}

#define LENGTH_OF(column, name)	mcdp_length_arg(DatumGetIntervalP(values[column]), name)
	memset(rule, 0, sizeof(*rule));
	event = DatumGetTextPP(values[RULE_PURCHASE_EVENT]);
	rule->event = VARDATA_ANY(event);
	rule->event_len = VARSIZE_ANY_EXHDR(event);
	rule->retained_orders = DatumGetInt32(values[RULE_RETAINED_ORDERS]);
	rule->at_risk_after = LENGTH_OF(RULE_AT_RISK_AFTER, "at_risk_after");
	rule->churned_after = LENGTH_OF(RULE_CHURNED_AFTER, "churned_after");
	check_fixed(rule);
	rule->adaptive = DatumGetBool(values[RULE_ADAPTIVE]);
	if (!rule->adaptive)
		return;
	rule->at_risk.gaps = DatumGetFloat8(values[RULE_AT_RISK_GAPS]);
	rule->churned.gaps = DatumGetFloat8(values[RULE_CHURNED_GAPS]);
	rule->at_risk.min = LENGTH_OF(RULE_AT_RISK_MIN, "at_risk_min");
	rule->at_risk.max = LENGTH_OF(RULE_AT_RISK_MAX, "at_risk_max");
	rule->churned.min = LENGTH_OF(RULE_CHURNED_MIN, "churned_min");
	rule->churned.max = LENGTH_OF(RULE_CHURNED_MAX, "churned_max");
	rule->prior.exists = !nulls[RULE_PRIOR_GAP];
	if (rule->prior.exists)
		rule->prior.gap = LENGTH_OF(RULE_PRIOR_GAP, "prior_gap");
	rule->prior.weight = DatumGetFloat8(values[RULE_PRIOR_WEIGHT]);
	check_adaptive(rule);
}

/*
 * The rule in the arguments from "first" on: purchase_event, retained_orders,
 * at_risk_after and churned_after, or one lifecycle_rule.
 */
static void
get_rule(FunctionCallInfo fcinfo, int first, LifecycleRule *rule)
{
	if (PG_NARGS() == first + 1)
		read_rule(PG_GETARG_HEAPTUPLEHEADER(first), rule);
	else
	{
		text	   *event = PG_GETARG_TEXT_PP(first);

		memset(rule, 0, sizeof(*rule));
		rule->event = VARDATA_ANY(event);
		rule->event_len = VARSIZE_ANY_EXHDR(event);
		rule->retained_orders = PG_GETARG_INT32(first + 1);
		rule->at_risk_after = mcdp_length_arg(PG_GETARG_INTERVAL_P(first + 2), "at_risk_after");
		rule->churned_after = mcdp_length_arg(PG_GETARG_INTERVAL_P(first + 3), "churned_after");
		check_fixed(rule);
	}
}

/* lifecycle(t, at, purchase_event, …) */
Datum
mcdp_lifecycle(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	StageOids  *stages = fcinfo->flinfo->fn_extra;
	TimelineView view;
	LifecycleRule rule;

	if (stages == NULL)
	{
		stages = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(StageOids));
		look_up_stages(get_func_rettype(fcinfo->flinfo->fn_oid), stages);
		fcinfo->flinfo->fn_extra = stages;
	}
	get_rule(fcinfo, 2, &rule);
	mcdp_timeline_open(&view, t);
	PG_RETURN_OID(stages->oids[mcdp_lifecycle_of(&view, &rule, at)]);
}

/* lifecycle_due(t, at, purchase_event, …): what comes after "at" is unseen */
Datum
mcdp_lifecycle_due(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	TimelineView view;
	LifecycleRule rule;
	LifecycleWalk walk;
	TimestampTz due;
	bool		has_due;

	get_rule(fcinfo, 2, &rule);
	mcdp_timeline_open(&view, t);
	mcdp_lifecycle_walk_start(&walk, &view, &rule, PG_GETARG_TIMESTAMPTZ(1));
	has_due = mcdp_lifecycle_walk_due(&walk, &due);
	mcdp_lifecycle_walk_end(&walk);
	if (!has_due)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(due);
}

/* _lifecycle_next(t, at, purchase_event, …): what comes after "at" counts */
Datum
mcdp_lifecycle_next(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	TimelineView view;
	LifecycleRule rule;
	LifecycleWalk walk;
	LifecycleChange change;
	bool		changes;

	get_rule(fcinfo, 2, &rule);
	mcdp_timeline_open(&view, t);
	mcdp_lifecycle_walk_start(&walk, &view, &rule, PG_GETARG_TIMESTAMPTZ(1));
	changes = mcdp_lifecycle_walk_next(&walk, DT_NOEND, &change);
	mcdp_lifecycle_walk_end(&walk);
	if (!changes)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(change.at);
}

/* lifecycle_history(t, since, until, purchase_event, …) */
Datum
mcdp_lifecycle_history(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	HistoryState *state;
	LifecycleChange change;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		TupleDesc	desc;

		context = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		context->tuple_desc = BlessTupleDesc(desc);

		/* The arguments live in a shorter context than the rows to come. */
		state = palloc(sizeof(HistoryState));
		look_up_stages(TupleDescAttr(desc, 1)->atttypid, &state->stages);
		get_rule(fcinfo, 3, &state->rule);
		state->rule.event = pnstrdup(state->rule.event, state->rule.event_len);
		mcdp_timeline_open(&state->view, (Timeline *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
		state->until = PG_GETARG_TIMESTAMPTZ(2);
		mcdp_lifecycle_walk_start(&state->walk, &state->view, &state->rule,
								  PG_GETARG_TIMESTAMPTZ(1));
		context->user_fctx = state;
		MemoryContextSwitchTo(caller);
	}

	context = SRF_PERCALL_SETUP();
	state = context->user_fctx;
	if (mcdp_lifecycle_walk_next(&state->walk, state->until, &change))
	{
		Datum		values[5];
		bool		nulls[5] = {false};

		values[0] = TimestampTzGetDatum(change.at);
		values[1] = ObjectIdGetDatum(state->stages.oids[change.from]);
		values[2] = ObjectIdGetDatum(state->stages.oids[change.to]);
		values[3] = CStringGetTextDatum(change.by_time ? "time" : "event");
		values[4] = TimestampTzGetDatum(change.last);
		SRF_RETURN_NEXT(context,
						HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(context);
}

/* _lifecycle_numbers(t, at, rule): what the answers at an instant follow from */
Datum
mcdp_lifecycle_numbers(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	TupleDesc	desc;
	StageOids	stages;
	TimelineView view;
	LifecycleRule rule;
	LifecycleWalk walk;
	McdpGaps	gaps;
	TimestampTz first = 0,
				due;
	int64		gap;
	Datum		values[10];
	bool		nulls[10] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	look_up_stages(TupleDescAttr(desc, 8)->atttypid, &stages);
	get_rule(fcinfo, 2, &rule);
	mcdp_timeline_open(&view, PG_GETARG_TIMELINE_P(0));
	mcdp_lifecycle_walk_start(&walk, &view, &rule, at);

	mcdp_gaps_init(&gaps, CurrentMemoryContext);
	for (uint32 i = 0; i < walk.next && walk.code >= 0; i++)
	{
		if (timeline_event_code(&view, i) != (uint32) walk.code)
			continue;
		if (!gaps.any)
			first = timeline_at(&view, i);
		mcdp_gaps_add(&gaps, timeline_at(&view, i));
	}

	values[0] = Int64GetDatum(gaps.any ? (int64) mcdp_gaps_count(&gaps) + 1 : 0);
	values[1] = TimestampTzGetDatum(first);
	values[2] = TimestampTzGetDatum(gaps.last);
	nulls[1] = nulls[2] = !gaps.any;
	values[3] = Int64GetDatum((int64) mcdp_gaps_count(&gaps));
	nulls[4] = !mcdp_gaps_median(&gaps, &gap);
	values[4] = nulls[4] ? (Datum) 0 : IntervalPGetDatum(mcdp_interval_of_length(gap));
	nulls[5] = !gaps.any || !mcdp_gaps_expected(&gaps, &rule.prior, &gap);
	values[5] = nulls[5] ? (Datum) 0 : IntervalPGetDatum(mcdp_interval_of_length(gap));
	nulls[6] = nulls[7] = !gaps.any;
	values[6] = IntervalPGetDatum(mcdp_interval_of_length(walk.at_risk_after));
	values[7] = IntervalPGetDatum(mcdp_interval_of_length(walk.churned_after));
	values[8] = ObjectIdGetDatum(stages.oids[walk.stage]);
	nulls[9] = !mcdp_lifecycle_walk_due(&walk, &due);
	values[9] = nulls[9] ? (Datum) 0 : TimestampTzGetDatum(due);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
