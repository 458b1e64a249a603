/*-------------------------------------------------------------------------
 *
 * event_state.h
 *	  What the aggregates over rows have seen so far: funnels, retention,
 *	  patterns.
 *
 * A row becomes an instant and a set of bits, one for each condition that
 * holds (NULL does not).  Where the question is asked by names of events, the
 * conditions are "it has the name of step k", "it satisfies test k of the
 * pattern"; in kind 5 "it is of the cohort's name" and "it is a return".  Rows
 * without any bit are left out, except in funnel mode strict_order, where they
 * matter.  In kind 5 no event after the cohort's first one is of the cohort, and
 * none comes so late that no bucket counted from there has it: other rows can
 * only move that first one to an earlier time.
 *
 * Stored form, in the machine's byte order:
 *
 *		int32	varlena header
 *		uint8	version 1
 *		uint8	kind: 1 funnel, 2 retention, 3 pattern over conditions,
 *				4 pattern over names, 5 retention by buckets of time
 *		uint8	number of conditions, 1 … 64
 *		uint8	mode of the funnel (bits as in event_match.h); kind 5: 1 when
 *				buckets begin with the UTC day; else 0
 *		uint32	number of events, 0 for retention
 *		uint32	length of the pattern (kinds 3 and 4); number of buckets (kind
 *				5); else 0
 *		int64	the funnel's window in microseconds; kind 2: the conditions met
 *				so far, one bit each; kind 5: length of a bucket; else 0
 *		int64	at, for each event
 *		uintN	bits, for each event; N is 8, 16, 32 or 64, the least for the
 *				number of conditions
 *		char	the pattern
 *
 * Events are in the order of mcdp_match_sort, so equal states have equal
 * bytes.  The limit is 1 GB: 63 million events with 64 conditions, 113 million
 * with up to eight.
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_state.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_EVENT_STATE_H
#define MCDP_EVENT_STATE_H

#include "types/event_match.h"

#define EVENT_STATE_VERSION		1
#define EVENT_STATE_FUNNEL		1
#define EVENT_STATE_RETENTION	2
#define EVENT_STATE_PATTERN		3
#define EVENT_STATE_SEQUENCE	4
#define EVENT_STATE_RETURNS		5

#define EVENT_STATE_ALIGN_DAY	1	/* mode of EVENT_STATE_RETURNS */
#define EVENT_STATE_MAX_BUCKETS	100000

typedef struct EventState
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		version;
	uint8		kind;
	uint8		nconditions;
	uint8		mode;
	uint32		nevents;
	uint32		extent;			/* of the pattern, or in buckets */
	int64		detail;
	int64		at[FLEXIBLE_ARRAY_MEMBER];
} EventState;

/* The same in memory. */
typedef struct EventStateData
{
	uint8		kind;
	uint8		nconditions;
	uint8		mode;
	int64		detail;
	const char *pattern;
	uint32		pattern_len;
	uint32		buckets;
	MatchEvent *events;
	size_t		nevents;
} EventStateData;

/* The stored form of sorted events; size raises an error beyond 1 GB. */
extern size_t mcdp_event_state_size(const EventStateData *d);
extern void mcdp_event_state_write(const EventStateData *d, EventState *out, size_t size);

/*
 * When the last bucket ends (EVENT_STATE_RETURNS), counted from the cohort's
 * first event; DT_NOEND when that is beyond all time.
 */
extern int64 mcdp_event_state_end(const EventStateData *d, int64 first);

/* Leaves out of sorted events (EVENT_STATE_RETURNS) what does not count; returns how many are left. */
extern size_t mcdp_event_state_trim(const EventStateData *d);

/* Fills all but the events; then these, into an array with room for them. */
extern void mcdp_event_state_open(const EventState *s, EventStateData *d);
extern void mcdp_event_state_read(const EventState *s, MatchEvent *events);

/* The pattern of a state (EVENT_STATE_PATTERN or EVENT_STATE_SEQUENCE); names are copied. */
extern bool mcdp_event_state_pattern(int kind, const char *s, int len, int nconditions,
									 MatchPattern *p, MatchError *err);

/* Complete validation of outside bytes, without the varlena header. */
extern bool mcdp_event_state_check(const char *bytes, size_t len, McdpBadInput *bad);

#endif							/* MCDP_EVENT_STATE_H */
