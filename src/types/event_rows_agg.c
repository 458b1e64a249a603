/*-------------------------------------------------------------------------
 *
 * event_rows_agg.c
 *	  What the aggregates over rows share; see event_rows.h.
 *
 * The array of events is sorted when the value is asked for, in place: the
 * order in which rows came means nothing.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_rows_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "core/length.h"
#include "nodes/primnodes.h"
#include "port/pg_bitutils.h"
#include "types/event_rows.h"
#include "types/state.h"
#include "types/timeline_match.h"

/* -------------------------------------------------------------- the object */

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
	ExpandedEventState *state = (ExpandedEventState *) eohptr;

	if (state->d.kind == EVENT_STATE_RETURNS)
	{
		sort_state(state);
		state->d.nevents = mcdp_event_state_trim(&state->d);
	}
	return mcdp_event_state_size(&state->d);
}

static void
state_flatten_into(ExpandedObjectHeader *eohptr, void *result, Size allocated_size)
{
	ExpandedEventState *state = (ExpandedEventState *) eohptr;

	sort_state(state);
	mcdp_event_state_write(&state->d, result, allocated_size);
}

const ExpandedObjectMethods mcdp_event_state_methods = {
	state_flat_size,
	state_flatten_into
};

/* A new state without events; the pattern is copied, unless it outlives the state. */
static ExpandedEventState *
make_state(FunctionCallInfo fcinfo, const EventStateData *like, bool outlives)
{
	static const char name[] = "event states";
	MemoryContext agg_context,
				cx;
	ExpandedEventState *state;

	if (AggCheckCallContext(fcinfo, &agg_context))
		cx = mcdp_state_context(agg_context, name);
	else
		cx = AllocSetContextCreate(CurrentMemoryContext, "event state", ALLOCSET_SMALL_SIZES);
	state = MemoryContextAlloc(cx, sizeof(ExpandedEventState));
	EOH_init_header(&state->hdr, &mcdp_event_state_methods, cx);
	state->d = *like;
	state->d.events = state->few;
	state->d.nevents = 0;
	state->capacity = EVENT_STATE_FEW;
	state->sorted = true;
	state->first = state->end = DT_NOEND;
	state->site = NULL;
	if (like->pattern_len > 0 && !outlives)
	{
		char	   *copy = MemoryContextAlloc(cx, like->pattern_len);

		memcpy(copy, like->pattern, like->pattern_len);
		state->d.pattern = copy;
	}
	return state;
}

MatchEvent *
mcdp_event_state_room(ExpandedEventState *state, size_t more)
{
	size_t		need = state->d.nevents + more;

	if (need > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events in one group")));
	if (need > state->capacity)
	{
		size_t		capacity = pg_nextpower2_64(Max(need, (state->capacity < 64 ? 4 : 2) * state->capacity));

		if (state->d.events == state->few)
		{
			state->d.events = MemoryContextAllocHuge(state->hdr.eoh_context, sizeof(MatchEvent) * capacity);
			memcpy(state->d.events, state->few, sizeof(MatchEvent) * state->d.nevents);
		}
		else
			state->d.events = repalloc_huge(state->d.events, sizeof(MatchEvent) * capacity);
		state->capacity = capacity;
	}
	return state->d.events + state->d.nevents;
}

void
mcdp_event_state_begin(ExpandedEventState *state, int64 at)
{
	state->first = at;
	state->end = mcdp_event_state_end(&state->d, at);
}

ExpandedEventState *
mcdp_event_state_copy(FunctionCallInfo fcinfo, Datum d)
{
	EventState *flat = DatumGetEventStateP(d);
	EventStateData data;
	ExpandedEventState *state;

	mcdp_event_state_open(flat, &data);
	state = make_state(fcinfo, &data, false);
	if (flat->nevents > 0)
	{
		mcdp_event_state_read(flat, mcdp_event_state_room(state, flat->nevents));
		state->d.nevents = flat->nevents;
	}
	return state;
}

/* Sorting in place does not change the value, so a read-only pointer will do. */
void
mcdp_event_state_see(Datum datum, EventStateData *d)
{
	if (VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(datum)) &&
		DatumGetEOHP(datum)->eoh_methods == &mcdp_event_state_methods)
	{
		ExpandedEventState *state = (ExpandedEventState *) DatumGetEOHP(datum);

		sort_state(state);
		*d = state->d;
	}
	else
	{
		EventState *flat = DatumGetEventStateP(datum);

		mcdp_event_state_open(flat, d);
		d->events = palloc_extended(sizeof(MatchEvent) * (d->nevents + 1), MCXT_ALLOC_HUGE);
		mcdp_event_state_read(flat, d->events);
	}
}

void
mcdp_event_state_wrong_kind(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("event_state is of another kind")));
}

ExpandedEventState *
mcdp_event_state_get_like(FunctionCallInfo fcinfo, const EventStateData *like, bool outlives)
{
	struct varlena *datum = (struct varlena *) DatumGetPointer(PG_GETARG_DATUM(0));
	ExpandedEventState *state;

	if (PG_ARGISNULL(0))
		return make_state(fcinfo, like, outlives);
	if (VARATT_IS_EXTERNAL_EXPANDED_RW(datum) &&
		DatumGetEOHP(PointerGetDatum(datum))->eoh_methods == &mcdp_event_state_methods)
		state = (ExpandedEventState *) DatumGetEOHP(PointerGetDatum(datum));
	else
		state = mcdp_event_state_copy(fcinfo, PointerGetDatum(datum));
	if (state->d.kind != like->kind || state->d.nconditions != like->nconditions ||
		state->d.mode != like->mode || state->d.pattern_len != like->pattern_len || state->d.buckets != like->buckets ||
		(like->kind != EVENT_STATE_RETENTION && state->d.detail != like->detail) ||
		(like->pattern_len > 0 && memcmp(state->d.pattern, like->pattern, like->pattern_len) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("window, mode, pattern and number of conditions must be the same in all rows of a group")));
	return state;
}

ExpandedEventState *
mcdp_event_state_get(FunctionCallInfo fcinfo, EventSite *site)
{
	ExpandedEventState *state = mcdp_event_state_get_like(fcinfo, &site->like, site->ready);

	state->site = site->ready ? site : NULL;
	return state;
}

void
mcdp_event_infinite(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
			 errmsg("the time of an event must be finite")));
}

/* -------------------------------------------------------------- call sites */

/* The same in all rows of a query?  Not a Param of an outer row: that changes. */
static bool
is_constant(const Node *expr)
{
	return IsA(expr, Const) || (IsA(expr, Param) && ((const Param *) expr)->paramkind == PARAM_EXTERN);
}

EventSite *
mcdp_event_site_make(FunctionCallInfo fcinfo, int kind, int first, int last)
{
	EventSite  *site = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(EventSite));
	Aggref	   *aggref = AggGetAggref(fcinfo);

	site->like.kind = kind;
	site->text.len = -1;
	site->constant = aggref != NULL;
	for (int arg = first; site->constant && arg <= last; arg++)
		site->constant = is_constant((Node *) list_nth_node(TargetEntry, aggref->args, arg - 1)->expr);
	fcinfo->flinfo->fn_extra = site;
	return site;
}

bool
mcdp_is_last_text(const LastText *last, const char *s, int len)
{
	return last->len == len && memcmp(last->bytes, s, len) == 0;
}

void
mcdp_set_last_text(FunctionCallInfo fcinfo, LastText *last, const char *s, int len)
{
	if (last->bytes == NULL || last->capacity < len)
	{
		last->capacity = Max(len, 64);
		last->bytes = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, last->capacity);
	}
	memcpy(last->bytes, s, len);
	last->len = len;
}

void
mcdp_event_not_null(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", what)));
}

void
mcdp_event_read_funnel(FunctionCallInfo fcinfo, EventSite *site, int within, int mode)
{
	site->like.detail = mcdp_length_arg(PG_GETARG_INTERVAL_P(within), "window");
	if (mode < PG_NARGS())
	{
		text	   *name = PG_GETARG_TEXT_PP(mode);
		const char *s = VARDATA_ANY(name);
		int			len = VARSIZE_ANY_EXHDR(name);

		if (!mcdp_is_last_text(&site->text, s, len))
		{
			int			bits;

			if (!mcdp_funnel_mode(s, len, &bits))
				mcdp_funnel_mode_error(name);
			site->like.mode = bits;
			mcdp_set_last_text(fcinfo, &site->text, s, len);
		}
	}
}
