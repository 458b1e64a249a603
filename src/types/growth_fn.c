/*-------------------------------------------------------------------------
 *
 * growth_fn.c
 *	  SQL functions: growth accounting, daily engagement, AARRR.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/growth_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "core/length.h"
#include "types/growth.h"
#include "types/timeline_datum.h"

PG_FUNCTION_INFO_V1(mcdp_growth_state);
PG_FUNCTION_INFO_V1(mcdp_growth_history);
PG_FUNCTION_INFO_V1(mcdp_engagement_state);
PG_FUNCTION_INFO_V1(mcdp_aarrr);

static TimestampTz
finite_arg(TimestampTz at, const char *what)
{
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be finite", what)));
	return at;
}

static void
get_periods(GrowthPeriods *p, const Interval *length, TimestampTz origin, const char *what)
{
	p->length = mcdp_length_arg(length, what);
	if (p->length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be greater than zero", what)));
	p->origin = finite_arg(origin, "origin");
}

static int
find_active(const TimelineView *v, const text *name)
{
	const char *s = VARDATA_ANY(name);
	int			len = VARSIZE_ANY_EXHDR(name);

	if (len == 1 && *s == '*')
		return GROWTH_ANY_EVENT;
	return mcdp_timeline_find_event(v, s, len);
}

/* growth_state(t, at, active_event, period, origin) */
Datum
mcdp_growth_state(PG_FUNCTION_ARGS)
{
	TimestampTz at = finite_arg(PG_GETARG_TIMESTAMPTZ(1), "at");
	GrowthPeriods periods;
	TimelineView v;
	GrowthMarks marks;
	GrowthState state;

	get_periods(&periods, PG_GETARG_INTERVAL_P(3), PG_GETARG_TIMESTAMPTZ(4), "period");
	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
	mcdp_growth_marks(&v, find_active(&v, PG_GETARG_TEXT_PP(2)), &periods, at, &marks);
	state = mcdp_growth_state_of(&marks);
	if (state == GROWTH_NONE)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(mcdp_growth_labels[state]));
}

/* engagement_state(t, at, active_event, day, week, month, origin) */
Datum
mcdp_engagement_state(PG_FUNCTION_ARGS)
{
	TimestampTz at = finite_arg(PG_GETARG_TIMESTAMPTZ(1), "at");
	int32		week = PG_GETARG_INT32(4);
	int32		month = PG_GETARG_INT32(5);
	GrowthPeriods periods;
	TimelineView v;
	GrowthMarks marks;
	EngagementState state;

	get_periods(&periods, PG_GETARG_INTERVAL_P(3), PG_GETARG_TIMESTAMPTZ(6), "day");
	if (week < 1 || month < week)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("week must be at least 1, and month not less than week")));
	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
	mcdp_growth_marks(&v, find_active(&v, PG_GETARG_TEXT_PP(2)), &periods, at, &marks);
	state = mcdp_engagement_state_of(&marks, week, month);
	if (state == ENGAGEMENT_NONE)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(mcdp_engagement_labels[state]));
}

/* What growth_history keeps between rows. */
typedef struct HistoryState
{
	TimelineView v;
	GrowthPeriods periods;
	int			event;
	TimestampTz until;			/* exclusive */
	int64		period;			/* the next one */
	int64		last_period;
	uint32		next;			/* first event not looked at yet */
	bool		ever;			/* active before "next" … */
	int64		last;			/* … for the last time in this period */
} HistoryState;

/* The state in period state->period, and on to the next one. */
static GrowthState
next_period(HistoryState *state)
{
	GrowthMarks marks = {.ever = state->ever, .now = state->period, .last = state->last,
	.earlier = state->ever, .before = state->last};

	for (; state->next < state->v.nevents; state->next++)
	{
		TimestampTz at = timeline_at(&state->v, state->next);
		int64		period;

		MCDP_CHECK_EVERY(state->next);
		if (at >= state->until || (period = mcdp_growth_period(&state->periods, at)) > state->period)
			break;
		if (state->event >= 0 && timeline_event_code(&state->v, state->next) != (uint32) state->event)
			continue;
		state->ever = marks.ever = true;
		state->last = marks.last = period;
	}
	state->period++;
	return mcdp_growth_state_of(&marks);
}

/* growth_history(t, since, until, active_event, period, origin) */
Datum
mcdp_growth_history(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	HistoryState *state;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		TupleDesc	desc;
		TimestampTz since = finite_arg(PG_GETARG_TIMESTAMPTZ(1), "since");
		GrowthMarks marks;

		context = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		context->tuple_desc = BlessTupleDesc(desc);

		state = palloc0(sizeof(HistoryState));
		state->until = finite_arg(PG_GETARG_TIMESTAMPTZ(2), "until");
		get_periods(&state->periods, PG_GETARG_INTERVAL_P(4), PG_GETARG_TIMESTAMPTZ(5), "period");
		mcdp_timeline_open(&state->v, (Timeline *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
		state->event = find_active(&state->v, PG_GETARG_TEXT_PP(3));
		state->period = mcdp_growth_period(&state->periods, since);
		state->last_period = state->period - 1;
		if (since < state->until)
			state->last_period = mcdp_growth_period(&state->periods, state->until - 1);

		/* Go on from the last active event before the first period. */
		if (state->event != -1)
		{
			mcdp_growth_marks(&state->v, state->event, &state->periods, since, &marks);
			state->ever = marks.earlier;
			state->last = marks.before;
			state->next = mcdp_timeline_first_from(&state->v, since);
			while (state->next > 0 &&
				   mcdp_growth_period(&state->periods, timeline_at(&state->v, state->next - 1)) == state->period)
				state->next--;
		}
		else
			state->last_period = state->period - 1;
		context->user_fctx = state;
		MemoryContextSwitchTo(caller);
	}

	context = SRF_PERCALL_SETUP();
	state = context->user_fctx;
	while (state->period <= state->last_period)
	{
		Datum		values[2];
		bool		nulls[2] = {false};
		TimestampTz start;
		GrowthState is;

		CHECK_FOR_INTERRUPTS();
		if (!state->ever)
		{
			/* nothing to say before the first active event */
			while (state->next < state->v.nevents && state->event >= 0 &&
				   timeline_event_code(&state->v, state->next) != (uint32) state->event)
				state->next++;
			if (state->next == state->v.nevents || timeline_at(&state->v, state->next) >= state->until)
				break;
			state->period = mcdp_growth_period(&state->periods, timeline_at(&state->v, state->next));
		}
		if (!mcdp_growth_period_start(&state->periods, state->period, &start))
			start = DT_NOBEGIN;
		is = next_period(state);
		values[0] = TimestampTzGetDatum(start);
		values[1] = CStringGetTextDatum(mcdp_growth_labels[is]);
		SRF_RETURN_NEXT(context,
						HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(context);
}

/* ------------------------------------------------------------------- AARRR */

#define IS_ACTIVATION	1
#define IS_REVENUE		2
#define IS_REFERRAL		4
#define IS_PASSIVE		8

static void
mark_events(const TimelineView *v, ArrayType *names, uint8 mark, uint8 *marks)
{
	Datum	   *items;
	bool	   *nulls;
	int			nitems;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nitems);
	for (int i = 0; i < nitems; i++)
	{
		text	   *name = nulls[i] ? NULL : DatumGetTextPP(items[i]);
		int			code = name == NULL ? -1 :
			mcdp_timeline_find_event(v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

		if (code >= 0)
			marks[code] |= mark;
	}
}

/* aarrr(t, at, activation, revenue, referral, passive, return_after): the first instant of each */
Datum
mcdp_aarrr(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	int64		return_after = mcdp_length_arg(PG_GETARG_INTERVAL_P(6), "return_after");
	TimelineView v;
	TupleDesc	desc;
	uint8	   *marks;
	uint32		n;
	Datum		values[5] = {0};	/* acquired, activated, retained, revenue, referral */
	bool		nulls[5] = {true, true, true, true, true};
	uint64		acquired = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
	marks = palloc0((Size) v.event_dict.count + 1);
	mark_events(&v, PG_GETARG_ARRAYTYPE_P(2), IS_ACTIVATION, marks);
	mark_events(&v, PG_GETARG_ARRAYTYPE_P(3), IS_REVENUE, marks);
	mark_events(&v, PG_GETARG_ARRAYTYPE_P(4), IS_REFERRAL, marks);
	mark_events(&v, PG_GETARG_ARRAYTYPE_P(5), IS_PASSIVE, marks);

	n = mcdp_timeline_first_after(&v, at);
	for (uint32 i = 0; i < n; i++)
	{
		uint8		mark = marks[timeline_event_code(&v, i)];
		TimestampTz now = timeline_at(&v, i);

		MCDP_CHECK_EVERY(i);
#define FIRST(which) \
		do { \
			if (nulls[which]) \
			{ \
				nulls[which] = false; \
				values[which] = TimestampTzGetDatum(now); \
			} \
		} while (0)

		if (!(mark & IS_PASSIVE))
		{
			if (nulls[0])
				acquired = (uint64) now;
			FIRST(0);
			if ((uint64) now != acquired && (uint64) now - acquired >= (uint64) return_after)
				FIRST(2);
		}
		if (mark & IS_ACTIVATION)
			FIRST(1);
		if (mark & IS_REVENUE)
			FIRST(3);
		if (mark & IS_REFERRAL)
			FIRST(4);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
