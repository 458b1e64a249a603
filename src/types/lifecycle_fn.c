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

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "core/length.h"
#include "types/lifecycle.h"
#include "types/timeline_datum.h"

PG_FUNCTION_INFO_V1(mcdp_lifecycle);
PG_FUNCTION_INFO_V1(mcdp_lifecycle_due);
PG_FUNCTION_INFO_V1(mcdp_lifecycle_next);
PG_FUNCTION_INFO_V1(mcdp_lifecycle_history);

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

/* Arguments "first" … "first" + 3: purchase_event, retained_orders, at_risk_after, churned_after. */
static void
get_rule(FunctionCallInfo fcinfo, int first, LifecycleRule *rule)
{
	text	   *event = PG_GETARG_TEXT_PP(first);

	rule->event = VARDATA_ANY(event);
	rule->event_len = VARSIZE_ANY_EXHDR(event);
	rule->retained_orders = PG_GETARG_INT32(first + 1);
	rule->at_risk_after = mcdp_length_arg(PG_GETARG_INTERVAL_P(first + 2), "at_risk_after");
	rule->churned_after = mcdp_length_arg(PG_GETARG_INTERVAL_P(first + 3), "churned_after");

	if (rule->retained_orders < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retained_orders must be at least 2")));
	if (rule->at_risk_after == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at_risk_after must be greater than zero")));
	if (rule->churned_after <= rule->at_risk_after)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("churned_after must be greater than at_risk_after")));
}

/* lifecycle(t, at, purchase_event, retained_orders, at_risk_after, churned_after) */
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

	get_rule(fcinfo, 2, &rule);
	mcdp_timeline_open(&view, t);
	mcdp_lifecycle_walk_start(&walk, &view, &rule, PG_GETARG_TIMESTAMPTZ(1));
	if (!mcdp_lifecycle_walk_due(&walk, &due))
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

	get_rule(fcinfo, 2, &rule);
	mcdp_timeline_open(&view, t);
	mcdp_lifecycle_walk_start(&walk, &view, &rule, PG_GETARG_TIMESTAMPTZ(1));
	if (!mcdp_lifecycle_walk_next(&walk, DT_NOEND, &change))
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
