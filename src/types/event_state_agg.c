/*-------------------------------------------------------------------------
 *
 * event_state_agg.c
 *	  Funnels, retention and patterns as aggregates over rows.
 *
 * Rows with conditions, one boolean for each; event_name_agg.c has those with
 * names of events.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_state_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/event_rows.h"
#include "types/retention.h"
#include "types/state.h"
#include "types/timeline_match.h"
#include "utils/array.h"

static void
bad_conditions(ArrayType *array, int n)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("conditions must be a one-dimensional array")));
	if (n < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be at least one condition")));
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("too many conditions"),
			 errdetail("There can be at most %d conditions, not %d.", MATCH_MAX_STEPS, n)));
}

/* The bits of the conditions that hold, in an array; there are *n. */
static inline uint64
conditions_of_array(FunctionCallInfo fcinfo, int arg, uint8 *n)
{
	ArrayType  *array = (ArrayType *) DatumGetPointer(PG_GETARG_DATUM(arg));
	int			nitems;
	const bool *values;
	const		bits8 *present;
	uint64		mask = 0;

	if (!VARATT_IS_4B_U(array))
		array = PG_GETARG_ARRAYTYPE_P(arg);
	nitems = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (ARR_NDIM(array) > 1 || nitems < 1 || nitems > MATCH_MAX_STEPS)
		bad_conditions(array, nitems);
	*n = nitems;
	values = (const bool *) ARR_DATA_PTR(array);
	present = ARR_NULLBITMAP(array);
	for (int k = 0; k < nitems; k++)
	{
		/* elements that are NULL take no room */
		if (present == NULL || (present[k / 8] >> (k % 8) & 1) != 0)
			mask |= (uint64) *values++ << k;
	}
	return mask;
}

/* The same of the arguments from "first" on. */
static inline uint64
conditions_of_arguments(FunctionCallInfo fcinfo, int first, uint8 *n)
{
	uint64		mask = 0;

	*n = PG_NARGS() - first;
	for (int k = *n - 1; k >= 0; k--)
		mask = mask << 1 | (!PG_ARGISNULL(first + k) & PG_GETARG_BOOL(first + k));
	return mask;
}

/* ------------------------------------------------------------ transitions */

/*
 * Each of them exists twice: conditions are an array or, with "each", arguments
 * of their own, so that none has to be made.
 */
#define CONDITIONS(fcinfo, each, first, n) \
	((each) ? conditions_of_arguments(fcinfo, first, n) : conditions_of_array(fcinfo, first, n))

/* (state, within, mode, at, steps): a row without a time is passed over */
static pg_attribute_always_inline Datum
add_to_funnel(FunctionCallInfo fcinfo, bool each)
{
	EventSite  *site = event_site(fcinfo, EVENT_STATE_FUNNEL, 1, 2);
	uint64		mask;

	if (!site->ready)
	{
		mcdp_event_not_null(fcinfo, 1, "window");
		mcdp_event_not_null(fcinfo, 2, "mode");
	}
	if (PG_ARGISNULL(3) || (!each && PG_ARGISNULL(4)))
		return mcdp_keep_state(fcinfo);
	if (!site->ready)
	{
		mcdp_event_read_funnel(fcinfo, site, 1, 2);
		event_site_read(site);
	}
	mask = CONDITIONS(fcinfo, each, 4, &site->like.nconditions);
	return event_row_add(fcinfo, site, each, PG_GETARG_TIMESTAMPTZ(3), mask);
}

PG_FUNCTION_INFO_V1(mcdp_window_funnel_add);
Datum
mcdp_window_funnel_add(PG_FUNCTION_ARGS)
{
	return add_to_funnel(fcinfo, false);
}

PG_FUNCTION_INFO_V1(mcdp_window_funnel_each_add);
Datum
mcdp_window_funnel_each_add(PG_FUNCTION_ARGS)
{
	return add_to_funnel(fcinfo, true);
}

/* The pattern of argument 1, which must suit so many conditions. */
static void
read_pattern(FunctionCallInfo fcinfo, EventSite *site, int nconditions)
{
	text	   *pattern = PG_GETARG_TEXT_PP(1);
	const char *s = VARDATA_ANY(pattern);
	int			len = VARSIZE_ANY_EXHDR(pattern);

	if (site->like.nconditions != nconditions || !mcdp_is_last_text(&site->text, s, len))
	{
		MatchPattern *parsed = palloc(sizeof(MatchPattern));
		MatchError	err;

		if (!mcdp_row_pattern_parse(s, len, nconditions, parsed, &err))
			mcdp_pattern_error(pattern, &err);
		pfree(parsed);
		mcdp_set_last_text(fcinfo, &site->text, s, len);
		site->like.nconditions = nconditions;
		site->like.pattern = site->text.bytes;
		site->like.pattern_len = len;
	}
}

/* (state, pattern, at, conditions) */
static pg_attribute_always_inline Datum
add_to_sequence(FunctionCallInfo fcinfo, bool each)
{
	EventSite  *site = event_site(fcinfo, EVENT_STATE_PATTERN, 1, 1);
	uint8		nconditions;
	uint64		mask;

	if (!site->ready)
		mcdp_event_not_null(fcinfo, 1, "pattern");
	if (PG_ARGISNULL(2) || (!each && PG_ARGISNULL(3)))
		return mcdp_keep_state(fcinfo);
	mask = CONDITIONS(fcinfo, each, 3, &nconditions);
	if (!site->ready || nconditions != site->like.nconditions)
	{
		read_pattern(fcinfo, site, nconditions);
		event_site_read(site);
	}
	return event_row_add(fcinfo, site, each, PG_GETARG_TIMESTAMPTZ(2), mask);
}

PG_FUNCTION_INFO_V1(mcdp_sequence_add);
Datum
mcdp_sequence_add(PG_FUNCTION_ARGS)
{
	return add_to_sequence(fcinfo, false);
}

PG_FUNCTION_INFO_V1(mcdp_sequence_each_add);
Datum
mcdp_sequence_each_add(PG_FUNCTION_ARGS)
{
	return add_to_sequence(fcinfo, true);
}

/* (state, conditions) */
static pg_attribute_always_inline Datum
add_to_retention(FunctionCallInfo fcinfo, bool each)
{
	EventSite  *site = event_site(fcinfo, EVENT_STATE_RETENTION, 1, 0);
	ExpandedEventState *state;
	uint64		mask;

	if (!each && PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	event_site_read(site);
	mask = CONDITIONS(fcinfo, each, 1, &site->like.nconditions);
	state = event_state_get(fcinfo, site);
	state->d.detail |= (int64) mask;
	return EOHPGetRWDatum(&state->hdr);
}

PG_FUNCTION_INFO_V1(mcdp_retention_add);
Datum
mcdp_retention_add(PG_FUNCTION_ARGS)
{
	return add_to_retention(fcinfo, false);
}

PG_FUNCTION_INFO_V1(mcdp_retention_each_add);
Datum
mcdp_retention_each_add(PG_FUNCTION_ARGS)
{
	return add_to_retention(fcinfo, true);
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
		state = mcdp_event_state_copy(fcinfo, PG_GETARG_DATUM(1));
		PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
	}
	flat = PG_GETARG_EVENT_STATE_P(1);
	mcdp_event_state_open(flat, &d);
	state = mcdp_event_state_get_like(fcinfo, &d, false);
	if (d.kind == EVENT_STATE_RETENTION)
		state->d.detail |= d.detail;
	if (d.nevents > 0)
	{
		mcdp_event_state_read(flat, mcdp_event_state_room(state, d.nevents));
		state->d.nevents += d.nevents;
		state->sorted = false;
	}
	PG_FREE_IF_COPY(flat, 1);
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/* ----------------------------------------------------------------- results */

PG_FUNCTION_INFO_V1(mcdp_window_funnel_final);
Datum
mcdp_window_funnel_final(PG_FUNCTION_ARGS)
{
	EventStateData d;

	if (PG_ARGISNULL(0))
		PG_RETURN_INT32(0);
	mcdp_event_state_see(PG_GETARG_DATUM(0), &d);
	if (d.kind != EVENT_STATE_FUNNEL)
		mcdp_event_state_wrong_kind();
	PG_RETURN_INT32(mcdp_match_funnel(d.events, d.nevents, d.nconditions,
									  d.detail, d.mode));
}

/* The pattern of a final function's call site, kept from group to group. */
typedef struct FinalPattern
{
	int			kind;
	int			nconditions;
	LastText	text;
	MemoryContext cx;			/* of the names in the pattern */
	MatchPattern pattern;
} FinalPattern;

static const MatchPattern *
final_pattern(FunctionCallInfo fcinfo, const EventStateData *d)
{
	FinalPattern *final = fcinfo->flinfo->fn_extra;

	if (final == NULL)
	{
		final = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(FinalPattern));
		final->cx = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "pattern", ALLOCSET_SMALL_SIZES);
		final->text.len = -1;
		fcinfo->flinfo->fn_extra = final;
	}
	if (final->kind != d->kind || final->nconditions != d->nconditions ||
		!mcdp_is_last_text(&final->text, d->pattern, d->pattern_len))
	{
		MemoryContext old;
		MatchError	err;
		bool		ok;

		final->text.len = -1;
		MemoryContextReset(final->cx);
		old = MemoryContextSwitchTo(final->cx);
		ok = mcdp_event_state_pattern(d->kind, d->pattern, d->pattern_len, d->nconditions, &final->pattern, &err);
		MemoryContextSwitchTo(old);
		if (!ok)
			elog(ERROR, "invalid pattern in event_state");
		mcdp_set_last_text(fcinfo, &final->text, d->pattern, d->pattern_len);
		final->kind = d->kind;
		final->nconditions = d->nconditions;
	}
	return &final->pattern;
}

static int64
count_pattern(FunctionCallInfo fcinfo, int64 limit)
{
	EventStateData d;
	const MatchPattern *pattern;

	if (PG_ARGISNULL(0))
		return 0;
	mcdp_event_state_see(PG_GETARG_DATUM(0), &d);
	if (d.kind != EVENT_STATE_PATTERN && d.kind != EVENT_STATE_SEQUENCE)
		mcdp_event_state_wrong_kind();
	pattern = final_pattern(fcinfo, &d);
	if (d.kind == EVENT_STATE_PATTERN)
		return mcdp_match_row_pattern(pattern, d.events, d.nevents, limit);
	return mcdp_match_pattern(pattern, d.events, d.nevents, MATCH_AT_THE_END, limit);
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

/*
 * Element k: was condition k met, and the first one?  Or was there a return in
 * bucket k?
 */
PG_FUNCTION_INFO_V1(mcdp_retention_final);
Datum
mcdp_retention_final(PG_FUNCTION_ARGS)
{
	EventStateData d;
	ArrayType  *result;
	bool	   *flags;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	mcdp_event_state_see(PG_GETARG_DATUM(0), &d);
	if (d.kind == EVENT_STATE_RETURNS)
	{
		result = mcdp_make_flags(d.buckets);
		mcdp_match_retention(d.events, d.nevents, d.mode == EVENT_STATE_ALIGN_DAY,
							 d.buckets, d.detail, (bool *) ARR_DATA_PTR(result));
		PG_RETURN_ARRAYTYPE_P(result);
	}
	if (d.kind != EVENT_STATE_RETENTION)
		mcdp_event_state_wrong_kind();
	result = mcdp_make_flags(d.nconditions);
	flags = (bool *) ARR_DATA_PTR(result);
	if (d.detail & 1)
	{
		for (int k = 0; k < d.nconditions; k++)
			flags[k] = (d.detail >> k & 1) != 0;
	}
	PG_RETURN_ARRAYTYPE_P(result);
}

/*
 * The state as it is.  Without a final function PostgreSQL 15 makes a flat copy
 * of it (16 does not).  It lives until the next group; that of a window function
 * goes on changing, so there a copy it is.
 */
PG_FUNCTION_INFO_V1(mcdp_retention_state_final);
Datum
mcdp_retention_state_final(PG_FUNCTION_ARGS)
{
	struct varlena *state,
			   *pointer;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (struct varlena *) DatumGetPointer(PG_GETARG_DATUM(0));
	if (!VARATT_IS_EXTERNAL_EXPANDED(state) || AggCheckCallContext(fcinfo, NULL) != AGG_CONTEXT_AGGREGATE)
		PG_RETURN_POINTER(PG_GETARG_EVENT_STATE_P(0));
	pointer = palloc(EXPANDED_POINTER_SIZE);
	memcpy(pointer, DatumGetEOHP(PointerGetDatum(state))->eoh_ro_ptr, EXPANDED_POINTER_SIZE);
	PG_RETURN_POINTER(pointer);
}
