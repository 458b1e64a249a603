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
#include "types/timeline_datum.h"
#include "types/timeline_match.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* The steps of a call site, kept from row to row. */
typedef struct FunnelSteps
{
	ArrayType  *array;			/* what they were read from */
	int			nsteps;
	const char *names[TIMELINE_MAX_STEPS];
	int			lengths[TIMELINE_MAX_STEPS];
} FunnelSteps;

void
mcdp_funnel_mode_error(text * mode)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized funnel mode: \"%s\"", text_to_cstring(mode)),
			 errhint("Modes are strict_increase, strict_deduplication, strict_order and strict_once, separated by commas; '' is the default mode.")));
}

static FunnelSteps *
get_steps(FunctionCallInfo fcinfo, int arg)
{
	FunnelSteps *steps = fcinfo->flinfo->fn_extra;
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);
	Datum	   *names;
	bool	   *nulls;
	int			n;
	MemoryContext old;

	if (steps != NULL && steps->array != NULL && VARSIZE(steps->array) == VARSIZE(array) &&
		memcmp(steps->array, array, VARSIZE(array)) == 0)
	{
		PG_FREE_IF_COPY(array, arg);
		return steps;
	}

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("steps must be a one-dimensional array")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("steps must not contain NULL")));
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (n > TIMELINE_MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many steps"),
				 errdetail("A funnel has at most %d steps, not %d.", TIMELINE_MAX_STEPS, n)));

	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	if (steps == NULL)
		fcinfo->flinfo->fn_extra = steps = palloc0(sizeof(FunnelSteps));
	else if (steps->array != NULL)
	{
		pfree(steps->array);
		steps->array = NULL;
	}
	steps->array = palloc(VARSIZE(array));
	memcpy(steps->array, array, VARSIZE(array));
	MemoryContextSwitchTo(old);

	deconstruct_array(steps->array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	steps->nsteps = n;
	for (int k = 0; k < n; k++)
	{
		/* elements of an array are never compressed or out of line */
		steps->names[k] = VARDATA_ANY(DatumGetPointer(names[k]));
		steps->lengths[k] = VARSIZE_ANY_EXHDR(DatumGetPointer(names[k]));
	}
	return steps;
}

/* Codes of the steps up to the first that does not occur. */
static int
find_steps(const TimelineView *v, const FunnelSteps *steps, int *codes)
{
	int			n;

	for (n = 0; n < steps->nsteps; n++)
	{
		codes[n] = mcdp_timeline_find_event(v, steps->names[n], steps->lengths[n]);
		if (codes[n] < 0)
			break;				/* later steps cannot be reached */
	}
	return n;
}

/* Of arguments (timeline, steps, within [, mode]), the first of which is "arg": how many steps are reached. */
static int
count_steps(FunctionCallInfo fcinfo, int arg, const FunnelSteps *steps)
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
	FunnelSteps *steps;
	ArrayType  *counts;
	int			n;

	for (int arg = 1; arg < PG_NARGS(); arg++)
	{
		if (PG_ARGISNULL(arg))
			return mcdp_keep_state(fcinfo);
	}
	steps = get_steps(fcinfo, 2);
	n = count_steps(fcinfo, 1, steps);
	counts = mcdp_get_counts(fcinfo, steps->nsteps);
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
	FunnelSteps *steps = get_steps(fcinfo, 1);
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
