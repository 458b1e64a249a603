/*-------------------------------------------------------------------------
 *
 * event_rows.h
 *	  What the aggregates over rows share: event_state while it grows (an
 *	  expanded object, an array of events), and what a transition function
 *	  remembers from row to row.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_rows.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_EVENT_ROWS_H
#define MCDP_EVENT_ROWS_H

#include "types/event_state_datum.h"
#include "types/event_steps.h"
#include "types/state.h"
#include "utils/expandeddatum.h"
#include "utils/timestamp.h"

/* So many events have their place in the state itself: with them it fills 256 bytes. */
#define EVENT_STATE_FEW		7

typedef struct ExpandedEventState
{
	ExpandedObjectHeader hdr;
	EventStateData d;
	size_t		capacity;
	bool		sorted;
	int64		first;			/* EVENT_STATE_RETURNS: of the first event of
								 * the cohort, or later; DT_NOEND when not
								 * known */
	int64		end;			/* of the last bucket then */
	const void *site;			/* the call site whose question it is known to
								 * be; NULL when not known */
	MatchEvent	few[EVENT_STATE_FEW];
} ExpandedEventState;

StaticAssertDecl(sizeof(ExpandedEventState) <= 256, "an event_state in memory should take 256 bytes");

/* A text argument that was seen last. */
typedef struct LastText
{
	int			len;			/* -1: none yet */
	int			capacity;
	char	   *bytes;
} LastText;

/*
 * What a transition function remembers about the place it is called from, in
 * fn_extra.  Window, mode, pattern and the like are read in every row unless
 * they are constants of the query; then only once.
 */
typedef struct EventSite
{
	bool		constant;
	bool		ready;			/* constant, and "like" says what is asked */
	bool		needs_bits;		/* ready, and rows without any bit do not count */
	EventStateData like;
	LastText	text;			/* mode or pattern */
	EventSteps	steps;
	uint64		any;			/* bits that every event has */
	MemoryContext cx;			/* of a pattern over names, which the names in
								 * steps belong to */
} EventSite;

/*
 * The site of an aggregate (state, …): arguments first … last of the
 * transition function say what is asked.
 */
extern EventSite *mcdp_event_site_make(FunctionCallInfo fcinfo, int kind, int first, int last);

static inline EventSite *
event_site(FunctionCallInfo fcinfo, int kind, int first, int last)
{
	EventSite  *site = fcinfo->flinfo->fn_extra;

	return likely(site != NULL) ? site : mcdp_event_site_make(fcinfo, kind, first, last);
}

/* What is asked has been read. */
static inline void
event_site_read(EventSite *site)
{
	site->ready = site->constant;
	site->needs_bits = site->ready && (site->like.mode & FUNNEL_STRICT_ORDER) == 0;
}

/* These raise errors when an argument is not what it must be. */
extern void mcdp_event_not_null(FunctionCallInfo fcinfo, int arg, const char *what);
extern void mcdp_event_read_funnel(FunctionCallInfo fcinfo, EventSite *site, int within, int mode);

extern bool mcdp_is_last_text(const LastText *last, const char *s, int len);
extern void mcdp_set_last_text(FunctionCallInfo fcinfo, LastText *last, const char *s, int len);

extern const ExpandedObjectMethods mcdp_event_state_methods;

/* A state that may be changed, with the value of one that may not. */
extern ExpandedEventState *mcdp_event_state_copy(FunctionCallInfo fcinfo, Datum d);

/* What is in a state, its events in order; memory comes from the current context, if any. */
extern void mcdp_event_state_see(Datum datum, EventStateData *d);
pg_noreturn extern void mcdp_event_state_wrong_kind(void);

/*
 * The state of argument 0, or a new one; it must be about what "like" says.
 * Does the pattern of "like" outlive a state?
 */
extern ExpandedEventState *mcdp_event_state_get_like(FunctionCallInfo fcinfo, const EventStateData *like, bool outlives);
extern ExpandedEventState *mcdp_event_state_get(FunctionCallInfo fcinfo, EventSite *site);

static inline ExpandedEventState *
event_state_get(FunctionCallInfo fcinfo, EventSite *site)
{
	struct varlena *datum = (struct varlena *) DatumGetPointer(fcinfo->args[0].value);

	if (!PG_ARGISNULL(0) && VARATT_IS_EXTERNAL_EXPANDED_RW(datum))
	{
		ExpandedEventState *state = (ExpandedEventState *) DatumGetEOHP(PointerGetDatum(datum));

		if (state->hdr.eoh_methods == &mcdp_event_state_methods && site->ready &&
			state->site == site && state->d.nconditions == site->like.nconditions)
			return state;
	}
	return mcdp_event_state_get(fcinfo, site);
}

/* Room for so many more events; returns where they go. */
extern MatchEvent *mcdp_event_state_room(ExpandedEventState *state, size_t more);

/* The first event of a cohort was at that time, or before. */
extern void mcdp_event_state_begin(ExpandedEventState *state, int64 at);

pg_noreturn extern void mcdp_event_infinite(void);

/* An event without bits counts in mode strict_order only. */
static inline void
event_state_add(ExpandedEventState *state, TimestampTz at, uint64 mask)
{
	size_t		n = state->d.nevents;
	MatchEvent *e;

	if (mask == 0 && (state->d.mode & FUNNEL_STRICT_ORDER) == 0)
		return;
	e = n < state->capacity ? state->d.events + n : mcdp_event_state_room(state, 1);
	e->at = at;
	e->mask = mask;
	if (n > 0 && e[-1].at >= at)
		state->sorted = false;
	state->d.nevents = n + 1;
}

/* The state of argument 0 with a row more; known: the site's question has as many conditions. */
static inline Datum
event_row_add(FunctionCallInfo fcinfo, EventSite *site, bool known, TimestampTz at, uint64 mask)
{
	ExpandedEventState *state;

	if (TIMESTAMP_NOT_FINITE(at))
		mcdp_event_infinite();
	if (mask == 0 && known && site->needs_bits)
		return mcdp_keep_state(fcinfo);
	state = event_state_get(fcinfo, site);
	event_state_add(state, at, mask);
	return EOHPGetRWDatum(&state->hdr);
}

#endif							/* MCDP_EVENT_ROWS_H */
