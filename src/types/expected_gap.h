/*-------------------------------------------------------------------------
 *
 * expected_gap.h
 *	  How long a profile usually takes from one occurrence of an event to the
 *	  next.
 *
 * Words: an instant is a time at which the event stands in the timeline, so
 * five lines of one order are one instant; a gap is the time from one instant
 * to the next.  With n gaps of median m, and a prior gap p that counts as much
 * as w gaps, the expected gap is
 *
 *		(n * m + w * p) / (n + w)
 *
 * worked out as m + rint((p - m) * (w / (n + w))) microseconds.  Without gaps
 * it is the prior; without a prior (or with weight 0) the median; without both
 * there is none.
 *
 * Gaps are put in one by one, in the order of time, and the expected gap may
 * be asked for in between: a gap costs O(log n), the question O(1).
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/expected_gap.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_EXPECTED_GAP_H
#define MCDP_EXPECTED_GAP_H

#include "types/timeline.h"

/* What is expected of somebody of whom nothing is known. */
typedef struct McdpPriorGap
{
	bool		exists;
	int64		gap;			/* microseconds, >= 0 */
	double		weight;			/* in gaps; finite, >= 0 */
} McdpPriorGap;

#define MCDP_FEW_GAPS	16

/* A heap of numbers, the smallest first. */
typedef struct McdpGapHeap
{
	uint32		count;
	uint32		space;
	uint64	   *items;			/* few, or allocated */
	uint64		few[MCDP_FEW_GAPS];
} McdpGapHeap;

/*
 * The gaps between instants.  May not be copied.  What it allocates for more
 * than a few gaps lives in the memory context given, until it is freed.
 */
typedef struct McdpGaps
{
	MemoryContext cx;
	bool		any;			/* there was an instant */
	TimestampTz last;			/* the last one */
	McdpGapHeap low;			/* complements of the smaller half of the gaps */
	McdpGapHeap high;			/* the larger half: as many, or one fewer */
} McdpGaps;

extern void mcdp_gaps_init(McdpGaps *g, MemoryContext cx);
extern void mcdp_gaps_free(McdpGaps *g);

/* The event occurs at "at", not before the last time; the same instant again is none. */
extern void mcdp_gaps_add(McdpGaps *g, TimestampTz at);

static inline uint32
mcdp_gaps_count(const McdpGaps *g)
{
	return g->low.count + g->high.count;
}

/*
 * The median of the gaps in microseconds (of two in the middle their mean,
 * half a microsecond to even; at most PG_INT64_MAX); false = there are none.
 */
extern bool mcdp_gaps_median(const McdpGaps *g, int64 *median);

/*
 * How irregular they are: the mean distance from the median, as a share of the
 * median (the coefficient of dispersion); 0 without gaps.
 */
extern double mcdp_gaps_dispersion(const McdpGaps *g);

/* The expected gap in microseconds; false = there is none. */
extern bool mcdp_gaps_expected(const McdpGaps *g, const McdpPriorGap *prior, int64 *gap);

/* The formula alone: n gaps with this median. */
extern bool mcdp_shrink_gap(uint32 n, int64 median, const McdpPriorGap *prior, int64 *gap);

/*
 * The expected gap between occurrences of an event, of those with a label
 * when "label" is its code, among the first "nevents" events of a timeline
 * (mcdp_timeline_first_after() says how many there are up to an instant).
 * "event" is a code too, -1 = does not occur.  *last, if wanted, is the last
 * instant, and *occurs says whether there is one.
 */
#define MCDP_ANY_LABEL	(-1)	/* of all labels */
#define MCDP_NO_SUCH_LABEL	(-2)	/* of a label that does not occur */

extern bool mcdp_timeline_expected_gap(const TimelineView *v, uint32 nevents, int event,
									   int label, const McdpPriorGap *prior, int64 *gap,
									   bool *occurs, TimestampTz *last);

#endif							/* MCDP_EXPECTED_GAP_H */
