/*-------------------------------------------------------------------------
 *
 * timeline_agg.c
 *	  Aggregates that build timelines.
 *
 * The transition state is the timeline itself, as an expanded object that
 * holds a builder: adding an event costs amortised constant time, and the
 * stored form is made once, when the state leaves the aggregate (as a result,
 * or as a partial result on its way to another process or node).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/state.h"
#include "types/timeline_datum.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

typedef struct ExpandedTimeline
{
	ExpandedObjectHeader hdr;
	TimelineBuilder *builder;
} ExpandedTimeline;

/*
 * Both work in the object's own context: the caller's may be one that cannot
 * free (a sort keeps its tuples in a bump context from PostgreSQL 17 on).
 */
static Size
timeline_flat_size(ExpandedObjectHeader *eohptr)
{
	MemoryContext caller = MemoryContextSwitchTo(eohptr->eoh_context);
	Size		size = mcdp_timeline_builder_size(((ExpandedTimeline *) eohptr)->builder);

	MemoryContextSwitchTo(caller);
	return size;
}

static void
timeline_flatten_into(ExpandedObjectHeader *eohptr, void *result, Size allocated_size)
{
	MemoryContext caller = MemoryContextSwitchTo(eohptr->eoh_context);

	mcdp_timeline_builder_write(((ExpandedTimeline *) eohptr)->builder, result, allocated_size);
	MemoryContextSwitchTo(caller);
}

static const ExpandedObjectMethods timeline_methods = {
	timeline_flat_size,
	timeline_flatten_into
};

/*
 * The state of the running aggregate as something that can be added to.
 * Outside an aggregate (called by hand) it has a context of its own.
 */
static ExpandedTimeline *
get_state(FunctionCallInfo fcinfo)
{
	static const char name[] = "timeline states";
	MemoryContext agg_context,
				cx;
	ExpandedTimeline *state;

	if (!PG_ARGISNULL(0))
	{
		Datum		d = PG_GETARG_DATUM(0);

		if (VARATT_IS_EXTERNAL_EXPANDED_RW(DatumGetPointer(d)) &&
			DatumGetEOHP(d)->eoh_methods == &timeline_methods)
			return (ExpandedTimeline *) DatumGetEOHP(d);
	}

	if (AggCheckCallContext(fcinfo, &agg_context))
		cx = mcdp_state_context(agg_context, name);
	else
		cx = AllocSetContextCreate(CurrentMemoryContext, "timeline", ALLOCSET_SMALL_SIZES);
	state = MemoryContextAlloc(cx, sizeof(ExpandedTimeline));
	EOH_init_header(&state->hdr, &timeline_methods, cx);
	state->builder = mcdp_timeline_builder_create(cx);
	if (!PG_ARGISNULL(0))
	{
		TimelineView v;

		mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
		mcdp_timeline_builder_add_view(state->builder, &v, 0, v.nevents, NULL);
	}
	return state;
}

static Datum
keep_state(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* A row without a time or a name is no event: it is passed over. */
static Datum
add_event(FunctionCallInfo fcinfo, int label_arg, int value_arg)
{
	ExpandedTimeline *state;
	text	   *event,
			   *label = NULL;
	bool		has_value = value_arg > 0 && !PG_ARGISNULL(value_arg);

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return keep_state(fcinfo);

	event = PG_GETARG_TEXT_PP(2);
	if (label_arg > 0 && !PG_ARGISNULL(label_arg))
		label = PG_GETARG_TEXT_PP(label_arg);
	state = get_state(fcinfo);
	mcdp_timeline_builder_add(state->builder, PG_GETARG_INT64(1),
							  VARDATA_ANY(event), VARSIZE_ANY_EXHDR(event),
							  label ? VARDATA_ANY(label) : NULL,
							  label ? VARSIZE_ANY_EXHDR(label) : 0,
							  has_value, has_value ? PG_GETARG_FLOAT8(value_arg) : 0);
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/* (state, at, event) */
PG_FUNCTION_INFO_V1(mcdp_timeline_agg_add);
Datum
mcdp_timeline_agg_add(PG_FUNCTION_ARGS)
{
	return add_event(fcinfo, 0, 0);
}

/* (state, at, event, label) */
PG_FUNCTION_INFO_V1(mcdp_timeline_agg_add_label);
Datum
mcdp_timeline_agg_add_label(PG_FUNCTION_ARGS)
{
	return add_event(fcinfo, 3, 0);
}

/* (state, at, event, value) */
PG_FUNCTION_INFO_V1(mcdp_timeline_agg_add_value);
Datum
mcdp_timeline_agg_add_value(PG_FUNCTION_ARGS)
{
	return add_event(fcinfo, 0, 3);
}

/* (state, at, event, label, value) */
PG_FUNCTION_INFO_V1(mcdp_timeline_agg_add_label_value);
Datum
mcdp_timeline_agg_add_label_value(PG_FUNCTION_ARGS)
{
	return add_event(fcinfo, 3, 4);
}

/* (state, timeline): transition of timeline_agg(timeline), combine of them all */
PG_FUNCTION_INFO_V1(mcdp_timeline_agg_merge);
Datum
mcdp_timeline_agg_merge(PG_FUNCTION_ARGS)
{
	ExpandedTimeline *state;
	Timeline   *t;
	TimelineView v;

	if (PG_ARGISNULL(1))
		return keep_state(fcinfo);
	t = PG_GETARG_TIMELINE_P(1);
	state = get_state(fcinfo);
	mcdp_timeline_open(&v, t);
	mcdp_timeline_builder_add_view(state->builder, &v, 0, v.nevents, NULL);
	PG_FREE_IF_COPY(t, 1);
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}
