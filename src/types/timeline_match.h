/*-------------------------------------------------------------------------
 *
 * timeline_match.h
 *	  Funnels, retention and patterns over timelines.
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_match.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TIMELINE_MATCH_H
#define MCDP_TIMELINE_MATCH_H

#include "types/event_match.h"
#include "types/timeline.h"

extern int	mcdp_timeline_funnel_mode(const TimelineView *v, int nsteps, const int *step_codes,
									  int64 within, int mode);
extern int	mcdp_timeline_funnel_times(const TimelineView *v, int nsteps, const int *step_codes,
									   int64 within, int64 *times);

/*
 * Codes are of events, -1 for a name that does not occur; any: every event
 * counts as a return.  bucket > 0 in microseconds; out has "buckets" elements.
 */
extern void mcdp_timeline_retention(const TimelineView *v, int cohort, int returned, bool any,
									int buckets, int64 bucket, bool align_day, bool *out);

/* The same with buckets from an instant on; no event before "first" is in one. */
extern void mcdp_timeline_returns(const TimelineView *v, uint32 first, TimestampTz since,
								  int returned, bool any, int buckets, int64 bucket, bool *out);

/* Index of the first event with a code, nevents if none. */
extern uint32 mcdp_timeline_first_of(const TimelineView *v, uint32 code);

extern int64 mcdp_timeline_pattern(const TimelineView *v, const MatchPattern *p, int64 at, int64 limit);
pg_noreturn extern void mcdp_pattern_error(const text * source, const MatchError *err);
pg_noreturn extern void mcdp_funnel_mode_error(text * mode);

#endif							/* MCDP_TIMELINE_MATCH_H */
