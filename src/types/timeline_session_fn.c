/*-------------------------------------------------------------------------
 *
 * timeline_session_fn.c
 *	  SQL functions over the gaps and the order of events: sessions, median
 *	  gap, paths.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_session_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/length.h"
#include "funcapi.h"
#include "types/timeline_datum.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Opens the timeline in argument 0; the code of the event named in argument 1, or -1. */
static int
open_for_event(FunctionCallInfo fcinfo, TimelineView *v)
{
	text	   *name = PG_GETARG_TEXT_PP(1);

	mcdp_timeline_open(v, PG_GETARG_TIMELINE_P(0));
	return mcdp_timeline_find_event(v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* median_gap(timeline, event) */
PG_FUNCTION_INFO_V1(mcdp_median_gap);
Datum
mcdp_median_gap(PG_FUNCTION_ARGS)
{
	TimelineView v;
	int			code = open_for_event(fcinfo, &v);
	uint64		median;
	Interval   *result;

	if (code < 0 || !mcdp_timeline_median_gap(&v, (uint32) code, &median))
		PG_RETURN_NULL();

	/* days and a time, like the difference of two timestamps */
	result = palloc(sizeof(Interval));
	result->month = 0;
	result->day = (int32) (median / USECS_PER_DAY);
	result->time = (TimeOffset) (median % USECS_PER_DAY);
	PG_RETURN_INTERVAL_P(result);
}

/* num_sessions(timeline, gap) */
PG_FUNCTION_INFO_V1(mcdp_num_sessions);
Datum
mcdp_num_sessions(PG_FUNCTION_ARGS)
{
	TimelineView v;
	int64		gap = mcdp_length_arg(PG_GETARG_INTERVAL_P(1), "gap");

	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
	PG_RETURN_INT64(mcdp_timeline_num_sessions(&v, gap));
}

typedef struct SessionsState
{
	TimelineView v;
	int64		gap;
	uint32		next;			/* first event of the next session */
} SessionsState;

/* sessions(timeline, gap) */
PG_FUNCTION_INFO_V1(mcdp_sessions);
Datum
mcdp_sessions(PG_FUNCTION_ARGS)
{
	FuncCallContext *fctx;
	SessionsState *state;

	if (SRF_IS_FIRSTCALL())
	{
		TupleDesc	desc;
		MemoryContext old;

		fctx = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(fctx->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		fctx->tuple_desc = BlessTupleDesc(desc);
		state = palloc0(sizeof(SessionsState));
		state->gap = mcdp_length_arg(PG_GETARG_INTERVAL_P(1), "gap");
		mcdp_timeline_open(&state->v, (Timeline *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
		fctx->user_fctx = state;
		MemoryContextSwitchTo(old);
	}

	fctx = SRF_PERCALL_SETUP();
	state = fctx->user_fctx;
	if (state->next < state->v.nevents)
	{
		uint32		first = state->next;
		Datum		values[4];
		bool		nulls[4] = {false};

		state->next = mcdp_timeline_session_end(&state->v, first, state->gap);
		values[0] = Int64GetDatum((int64) fctx->call_cntr + 1);
		values[1] = TimestampTzGetDatum(timeline_at(&state->v, first));
		values[2] = TimestampTzGetDatum(timeline_at(&state->v, state->next - 1));
		values[3] = Int64GetDatum((int64) (state->next - first));
		SRF_RETURN_NEXT(fctx, HeapTupleGetDatum(heap_form_tuple(fctx->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(fctx);
}

/* ------------------------------------------------------------------- paths */

/* The names of events first … last-1 as text[]. */
static Datum
names_of(const TimelineView *v, uint32 first, uint32 last)
{
	Datum	   *names;
	Datum	   *cache;			/* by code, made when first met */

	if (first >= last)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	names = palloc_extended(sizeof(Datum) * (Size) (last - first), MCXT_ALLOC_HUGE);
	cache = palloc0(sizeof(Datum) * (Size) v->event_dict.count);
	for (uint32 i = first; i < last; i++)
	{
		uint32		code = timeline_event_code(v, i);

		if (cache[code] == 0)
		{
			int			len;
			const char *s = mcdp_timeline_event_name(v, code, &len);

			cache[code] = PointerGetDatum(cstring_to_text_with_len(s, len));
		}
		names[i - first] = cache[code];
	}
	return PointerGetDatum(construct_array(names, (int) (last - first), TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Opens the timeline, finds the first event with the name and how many names
 * are asked for.  False when there is no such event.
 */
static bool
find_turn(FunctionCallInfo fcinfo, TimelineView *v, uint32 *turn, uint32 *limit)
{
	int			code = open_for_event(fcinfo, v);
	int32		n = PG_GETARG_INT32(2);

	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of events must not be negative")));
	if (code < 0)
		return false;
	*limit = (uint32) n;
	*turn = 0;
	while (timeline_event_code(v, *turn) != (uint32) code)
		(*turn)++;
	return true;
}

/* next_events(timeline, event, n): what follows its first occurrence */
PG_FUNCTION_INFO_V1(mcdp_next_events);
Datum
mcdp_next_events(PG_FUNCTION_ARGS)
{
	TimelineView v;
	uint32		turn,
				limit;

	if (!find_turn(fcinfo, &v, &turn, &limit))
		PG_RETURN_NULL();
	limit = Min(limit, v.nevents - turn - 1);
	return names_of(&v, turn + 1, turn + 1 + limit);
}

/* previous_events(timeline, event, n): what leads to its first occurrence */
PG_FUNCTION_INFO_V1(mcdp_previous_events);
Datum
mcdp_previous_events(PG_FUNCTION_ARGS)
{
	TimelineView v;
	uint32		turn,
				limit;

	if (!find_turn(fcinfo, &v, &turn, &limit))
		PG_RETURN_NULL();
	return names_of(&v, turn - Min(limit, turn), turn);
}
