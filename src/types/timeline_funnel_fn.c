/*-------------------------------------------------------------------------
 *
 * timeline_funnel_fn.c
 *	  SQL functions: funnels over timelines.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_funnel_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/length.h"
#include "types/counts.h"
#include "types/event_steps.h"
#include "types/timeline_datum.h"
#include "types/timeline_match.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

void
mcdp_funnel_mode_error(text * mode)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized funnel mode: \"%s\"", text_to_cstring(mode)),
			 errhint("Modes are strict_increase, strict_deduplication, strict_order and strict_once, separated by commas; '' is the default mode.")));
}

/* The steps of a call site, kept from row to row. */
static EventSteps *
get_steps(FunctionCallInfo fcinfo, int arg)
{
	EventSteps *steps = fcinfo->flinfo->fn_extra;
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);

	if (steps == NULL)
		fcinfo->flinfo->fn_extra = steps = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(EventSteps));
	mcdp_event_steps_read(steps, fcinfo->flinfo->fn_mcxt, array);
	PG_FREE_IF_COPY(array, arg);
	return steps;
}

/* Codes of the steps up to the first that does not occur. */
static int
find_steps(const TimelineView *v, const EventSteps *steps, int *codes)
{
	int			n;

	for (n = 0; n < steps->n; n++)
	{
		codes[n] = mcdp_timeline_find_event(v, steps->names[n], steps->lengths[n]);
		if (codes[n] < 0)
			break;				/* later steps cannot be reached */
	}
	return n;
}

/* Of arguments (timeline, steps, within [, mode]), the first of which is "arg": how many steps are reached. */
static int
count_steps(FunctionCallInfo fcinfo, int arg, const EventSteps *steps)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(arg);
	int64		within = mcdp_length_arg(PG_GETARG_INTERVAL_P(arg + 2), "window");
	int			mode = 0;
	int			codes[TIMELINE_MAX_STEPS];
	int			n;
	TimelineView v;

	if (PG_NARGS() > arg + 3)
	{
		text	   *name = PG_GETARG_TEXT_PP(arg + 3);

		if (!mcdp_funnel_mode(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &mode))
			mcdp_funnel_mode_error(name);
	}

	mcdp_timeline_open(&v, t);
	n = find_steps(&v, steps, codes);
	n = mcdp_timeline_funnel_mode(&v, n, codes, within, mode);
	PG_FREE_IF_COPY(t, arg);
	return n;
}

/* window_funnel(timeline, steps, within [, mode]) */
PG_FUNCTION_INFO_V1(mcdp_window_funnel);
Datum
mcdp_window_funnel(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(count_steps(fcinfo, 0, get_steps(fcinfo, 1)));
}

/* Transition of funnel_counts: (counts, timeline, steps, within [, mode]) */
PG_FUNCTION_INFO_V1(mcdp_funnel_counts_add);
Datum
mcdp_funnel_counts_add(PG_FUNCTION_ARGS)
{
	EventSteps *steps;
	ArrayType  *counts;
	int			n;

	for (int arg = 1; arg < PG_NARGS(); arg++)
	{
		if (PG_ARGISNULL(arg))
			return mcdp_keep_state(fcinfo);
	}
	steps = get_steps(fcinfo, 2);
	n = count_steps(fcinfo, 1, steps);
	counts = mcdp_get_counts(fcinfo, steps->n);
	for (int k = 0; k < n; k++)
		COUNTS(counts)[k]++;
	PG_RETURN_POINTER(counts);
}

/* funnel_times(timeline, steps, within): when the steps were reached */
PG_FUNCTION_INFO_V1(mcdp_funnel_times);
Datum
mcdp_funnel_times(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	EventSteps *steps = get_steps(fcinfo, 1);
	int64		within = mcdp_length_arg(PG_GETARG_INTERVAL_P(2), "window");
	int			codes[TIMELINE_MAX_STEPS];
	int64		times[TIMELINE_MAX_STEPS];
	Datum		elems[TIMELINE_MAX_STEPS];
	int			n;
	TimelineView v;

	mcdp_timeline_open(&v, t);
	n = find_steps(&v, steps, codes);
	n = mcdp_timeline_funnel_times(&v, n, codes, within, times);
	for (int k = 0; k < n; k++)
		elems[k] = TimestampTzGetDatum(times[k]);
	PG_FREE_IF_COPY(t, 0);
	PG_RETURN_ARRAYTYPE_P(construct_array(elems, n, TIMESTAMPTZOID, sizeof(TimestampTz),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
