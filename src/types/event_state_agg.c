/*-------------------------------------------------------------------------
 *
 * event_state_agg.c
 *	  Funnels, retention and patterns as aggregates over rows.
 *
 * The transition state is an expanded object: an array of events that grows.
 * It is sorted when its value is asked for, in place: the order in which rows
 * came means nothing.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_state_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/length.h"
#include "types/event_state_datum.h"
#include "types/state.h"
#include "types/timeline_match.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/expandeddatum.h"
#include "utils/timestamp.h"

typedef struct ExpandedEventState
{
	ExpandedObjectHeader hdr;
	EventStateData d;
	size_t		capacity;
	bool		sorted;
} ExpandedEventState;

static void
sort_state(ExpandedEventState *state)
{
	if (!state->sorted)
		mcdp_match_sort(state->d.events, state->d.nevents);
	state->sorted = true;
}

static Size
state_flat_size(ExpandedObjectHeader *eohptr)
{
	return mcdp_event_state_size(&((ExpandedEventState *) eohptr)->d);
}

static void
state_flatten_into(ExpandedObjectHeader *eohptr, void *result, Size allocated_size)
{
	ExpandedEventState *state = (ExpandedEventState *) eohptr;

	sort_state(state);
	mcdp_event_state_write(&state->d, result, allocated_size);
}

static const ExpandedObjectMethods state_methods = {
	state_flat_size,
	state_flatten_into
};

static ExpandedEventState *
expanded_state(Datum d)
{
	if (VARATT_IS_EXTERNAL_EXPANDED_RW(DatumGetPointer(d)) &&
		DatumGetEOHP(d)->eoh_methods == &state_methods)
		return (ExpandedEventState *) DatumGetEOHP(d);
	return NULL;
}

/* A new state without events; pattern is copied. */
static ExpandedEventState *
make_state(FunctionCallInfo fcinfo, const EventStateData *like)
{
	static const char name[] = "event states";
	MemoryContext agg_context,
				cx;
	ExpandedEventState *state;

	if (AggCheckCallContext(fcinfo, &agg_context))
		cx = mcdp_state_context(agg_context, name);
	else
		cx = AllocSetContextCreate(CurrentMemoryContext, "event state", ALLOCSET_SMALL_SIZES);
	state = MemoryContextAllocZero(cx, sizeof(ExpandedEventState));
	EOH_init_header(&state->hdr, &state_methods, cx);
	state->d = *like;
	state->d.events = NULL;
	state->d.nevents = 0;
	state->sorted = true;
	if (like->pattern_len > 0)
	{
		char	   *copy = MemoryContextAlloc(cx, like->pattern_len);

		memcpy(copy, like->pattern, like->pattern_len);
		state->d.pattern = copy;
	}
	return state;
}

/* Room for so many more events; returns where they go. */
static MatchEvent *
make_room(ExpandedEventState *state, size_t more)
{
	size_t		need = state->d.nevents + more;

	if (need > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events in one group")));
	if (need > state->capacity)
	{
		state->capacity = Max(Max(need, 2 * state->capacity), 8);
		state->d.events = state->d.events == NULL ?
			MemoryContextAllocHuge(state->hdr.eoh_context, sizeof(MatchEvent) * state->capacity) :
			repalloc_huge(state->d.events, sizeof(MatchEvent) * state->capacity);
	}
	return state->d.events + state->d.nevents;
}

static ExpandedEventState *
state_of_flat(FunctionCallInfo fcinfo, Datum d)
{
	EventState *flat = DatumGetEventStateP(d);
	EventStateData data;
	ExpandedEventState *state;

	mcdp_event_state_open(flat, &data);
	state = make_state(fcinfo, &data);
	if (flat->nevents > 0)
	{
		mcdp_event_state_read(flat, make_room(state, flat->nevents));
		state->d.nevents = flat->nevents;
	}
	return state;
}

/* -------------------------------------------------------------- arguments */

static void
different(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("window, mode, pattern and number of conditions must be the same in all rows of a group")));
}

/* The bits of the conditions that hold, and how many conditions there are. */
static uint64
read_conditions(FunctionCallInfo fcinfo, int arg, uint8 *nconditions)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	const bool *values = (const bool *) ARR_DATA_PTR(array);
	const		bits8 *present = ARR_NULLBITMAP(array);
	uint64		mask = 0;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("conditions must be a one-dimensional array")));
	if (n < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be at least one condition")));
	if (n > MATCH_MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many conditions"),
				 errdetail("There can be at most %d conditions, not %d.", MATCH_MAX_STEPS, n)));
	*nconditions = n;
	for (int k = 0; k < n; k++)
	{
		if (present != NULL && (present[k / 8] >> (k % 8) & 1) == 0)
			continue;
		if (*values++)
			mask |= UINT64CONST(1) << k;
	}
	PG_FREE_IF_COPY(array, arg);
	return mask;
}

static void
not_null(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", what)));
}

/* The last text argument of a call site and what it meant. */
typedef struct LastText
{
	int			len;
	int			capacity;
	char	   *bytes;
	int			mode;			/* a funnel's */
	int			nconditions;	/* those the pattern was checked for */
	MatchPattern *pattern;		/* final functions only */
} LastText;

static LastText *
last_text(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		LastText   *last = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(LastText));

		last->len = -1;
		fcinfo->flinfo->fn_extra = last;
	}
	return fcinfo->flinfo->fn_extra;
}

static bool
is_last_text(const LastText *last, const char *s, int len)
{
	return last->len == len && memcmp(last->bytes, s, len) == 0;
}

static void
set_last_text(FunctionCallInfo fcinfo, LastText *last, const char *s, int len)
{
	if (last->bytes == NULL || last->capacity < len)
	{
		last->capacity = Max(len, 64);
		last->bytes = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, last->capacity);
	}
	memcpy(last->bytes, s, len);
	last->len = len;
}

static ExpandedEventState *
get_state(FunctionCallInfo fcinfo, const EventStateData *like)
{
	ExpandedEventState *state = NULL;

	if (PG_ARGISNULL(0))
		return make_state(fcinfo, like);
	state = expanded_state(PG_GETARG_DATUM(0));
	if (state == NULL)
		state = state_of_flat(fcinfo, PG_GETARG_DATUM(0));
	if (state->d.kind != like->kind || state->d.nconditions != like->nconditions ||
		state->d.mode != like->mode || state->d.pattern_len != like->pattern_len ||
		(like->kind == EVENT_STATE_FUNNEL && state->d.detail != like->detail) ||
		(like->pattern_len > 0 && memcmp(state->d.pattern, like->pattern, like->pattern_len) != 0))
		different();
	return state;
}

static void
add_event(ExpandedEventState *state, TimestampTz at, uint64 mask)
{
	MatchEvent *e;

	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
				 errmsg("the time of an event must be finite")));
	if (mask == 0 && (state->d.mode & FUNNEL_STRICT_ORDER) == 0)
		return;
	e = make_room(state, 1);
	e->at = at;
	e->mask = mask;
	state->d.nevents++;
	state->sorted = false;
}

/* ------------------------------------------------------------ transitions */

/* (state, within, mode, at, steps): a row without a time is passed over */
PG_FUNCTION_INFO_V1(mcdp_window_funnel_add);
Datum
mcdp_window_funnel_add(PG_FUNCTION_ARGS)
{
	EventStateData like = {.kind = EVENT_STATE_FUNNEL};
	LastText   *last = last_text(fcinfo);
	ExpandedEventState *state;
	text	   *mode;
	uint64		mask;

	not_null(fcinfo, 1, "window");
	not_null(fcinfo, 2, "mode");
	if (PG_ARGISNULL(3) || PG_ARGISNULL(4))
		return mcdp_keep_state(fcinfo);
	like.detail = mcdp_length_arg(PG_GETARG_INTERVAL_P(1), "window");
	mode = PG_GETARG_TEXT_PP(2);
	if (!is_last_text(last, VARDATA_ANY(mode), VARSIZE_ANY_EXHDR(mode)))
	{
		if (!mcdp_funnel_mode(VARDATA_ANY(mode), VARSIZE_ANY_EXHDR(mode), &last->mode))
			mcdp_funnel_mode_error(mode);
		set_last_text(fcinfo, last, VARDATA_ANY(mode), VARSIZE_ANY_EXHDR(mode));
	}
	like.mode = last->mode;
	mask = read_conditions(fcinfo, 4, &like.nconditions);
	state = get_state(fcinfo, &like);
	add_event(state, PG_GETARG_TIMESTAMPTZ(3), mask);
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/* (state, pattern, at, conditions) */
PG_FUNCTION_INFO_V1(mcdp_sequence_add);
Datum
mcdp_sequence_add(PG_FUNCTION_ARGS)
{
	EventStateData like = {.kind = EVENT_STATE_PATTERN};
	LastText   *last = last_text(fcinfo);
	ExpandedEventState *state;
	text	   *pattern;
	uint64		mask;

	not_null(fcinfo, 1, "pattern");
	if (PG_ARGISNULL(2) || PG_ARGISNULL(3))
		return mcdp_keep_state(fcinfo);
	pattern = PG_GETARG_TEXT_PP(1);
	like.pattern = VARDATA_ANY(pattern);
	like.pattern_len = VARSIZE_ANY_EXHDR(pattern);
	mask = read_conditions(fcinfo, 3, &like.nconditions);
	if (last->nconditions != like.nconditions || !is_last_text(last, like.pattern, like.pattern_len))
	{
		MatchPattern *parsed = palloc(sizeof(MatchPattern));
		MatchError	err;

		if (!mcdp_row_pattern_parse(like.pattern, like.pattern_len, like.nconditions, parsed, &err))
			mcdp_pattern_error(pattern, &err);
		pfree(parsed);
		set_last_text(fcinfo, last, like.pattern, like.pattern_len);
		last->nconditions = like.nconditions;
	}
	state = get_state(fcinfo, &like);
	add_event(state, PG_GETARG_TIMESTAMPTZ(2), mask);
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/* (state, conditions) */
PG_FUNCTION_INFO_V1(mcdp_retention_add);
Datum
mcdp_retention_add(PG_FUNCTION_ARGS)
{
	EventStateData like = {.kind = EVENT_STATE_RETENTION};
	ExpandedEventState *state;
	uint64		mask;

	if (PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	mask = read_conditions(fcinfo, 1, &like.nconditions);
	state = get_state(fcinfo, &like);
	state->d.detail = (int64) ((uint64) state->d.detail | mask);
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/* (state, state) */
PG_FUNCTION_INFO_V1(mcdp_event_state_combine);
Datum
mcdp_event_state_combine(PG_FUNCTION_ARGS)
{
	ExpandedEventState *state;
	EventState *flat;
	EventStateData d;

	if (PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	if (PG_ARGISNULL(0))
	{
		state = state_of_flat(fcinfo, PG_GETARG_DATUM(1));
		PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
	}
	flat = PG_GETARG_EVENT_STATE_P(1);
	mcdp_event_state_open(flat, &d);
	state = get_state(fcinfo, &d);
	if (d.kind == EVENT_STATE_RETENTION)
		state->d.detail = (int64) ((uint64) state->d.detail | (uint64) d.detail);
	if (d.nevents > 0)
	{
		mcdp_event_state_read(flat, make_room(state, d.nevents));
		state->d.nevents += d.nevents;
		state->sorted = false;
	}
	PG_FREE_IF_COPY(flat, 1);
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/* ----------------------------------------------------------------- results */

/*
 * The argument of a final function, sorted.  It comes as a read-only pointer to
 * the state; sorting does not change its value.
 */
static ExpandedEventState *
final_state(FunctionCallInfo fcinfo, int kind)
{
	Datum		d = PG_GETARG_DATUM(0);
	ExpandedEventState *state;

	if (VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(d)) &&
		DatumGetEOHP(d)->eoh_methods == &state_methods)
		state = (ExpandedEventState *) DatumGetEOHP(d);
	else
		state = state_of_flat(fcinfo, d);
	if (state->d.kind != kind)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event_state is of another kind")));
	sort_state(state);
	return state;
}

PG_FUNCTION_INFO_V1(mcdp_window_funnel_final);
Datum
mcdp_window_funnel_final(PG_FUNCTION_ARGS)
{
	ExpandedEventState *state;

	if (PG_ARGISNULL(0))
		PG_RETURN_INT32(0);
	state = final_state(fcinfo, EVENT_STATE_FUNNEL);
	PG_RETURN_INT32(mcdp_match_funnel(state->d.events, state->d.nevents, state->d.nconditions,
									  state->d.detail, state->d.mode));
}

static int64
count_pattern(FunctionCallInfo fcinfo, int64 limit)
{
	LastText   *last = last_text(fcinfo);
	ExpandedEventState *state;

	if (PG_ARGISNULL(0))
		return 0;
	state = final_state(fcinfo, EVENT_STATE_PATTERN);
	if (last->nconditions != state->d.nconditions ||
		!is_last_text(last, state->d.pattern, state->d.pattern_len))
	{
		MatchError	err;

		last->len = -1;
		if (last->pattern == NULL)
			last->pattern = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(MatchPattern));
		if (!mcdp_row_pattern_parse(state->d.pattern, state->d.pattern_len, state->d.nconditions,
									last->pattern, &err))
			elog(ERROR, "invalid pattern in event_state");
		set_last_text(fcinfo, last, state->d.pattern, state->d.pattern_len);
		last->nconditions = state->d.nconditions;
	}
	return mcdp_match_row_pattern(last->pattern, state->d.events, state->d.nevents, limit);
}

PG_FUNCTION_INFO_V1(mcdp_sequence_match_final);
Datum
mcdp_sequence_match_final(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(count_pattern(fcinfo, 1) > 0);
}

PG_FUNCTION_INFO_V1(mcdp_sequence_count_final);
Datum
mcdp_sequence_count_final(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(count_pattern(fcinfo, PG_INT64_MAX));
}

/* Element k: was condition k met, and the first one? */
PG_FUNCTION_INFO_V1(mcdp_retention_final);
Datum
mcdp_retention_final(PG_FUNCTION_ARGS)
{
	ExpandedEventState *state;
	Datum		elems[MATCH_MAX_STEPS];
	uint64		met;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = final_state(fcinfo, EVENT_STATE_RETENTION);
	met = (uint64) state->d.detail;
	for (int k = 0; k < state->d.nconditions; k++)
		elems[k] = BoolGetDatum((met & 1) != 0 && (met >> k & 1) != 0);
	PG_RETURN_ARRAYTYPE_P(construct_array(elems, state->d.nconditions, BOOLOID, 1, true, TYPALIGN_CHAR));
}
