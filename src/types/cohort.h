/*-------------------------------------------------------------------------
 *
 * cohort.h
 *	  Cohort tables: who came first when, and what became of them.
 *
 * Periods are given by their edges: period p is [edge p, edge p + 1).  A
 * timeline belongs to the cohort of the period in which its first event of
 * one name lies.  Cell (c, k) is about cohort c in period c + k: in how many
 * of its timelines the event occurs, at how many distinct instants, and for
 * how much.  Nothing after the instant "at" is seen.
 *
 * Sums are kept in two doubles (Dekker 1971), so that they come out the same
 * in whatever order they are added, unless values differ by 30 orders of
 * magnitude.
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/cohort.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_COHORT_H
#define MCDP_COHORT_H

#include "types/timeline.h"

#define COHORT_MAX_PERIODS	1000

typedef struct CohortCell
{
	int64		active;			/* timelines */
	int64		orders;			/* distinct instants */
	double		sum;			/* of values: sum + rest */
	double		rest;
} CohortCell;

/* The state of the aggregate, and its result. */
typedef struct CohortState
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		version;		/* COHORT_VERSION */
	uint8		reserved;		/* 0 */
	uint16		nperiods;		/* 1 … COHORT_MAX_PERIODS */
	TimestampTz at;
	int64		data[FLEXIBLE_ARRAY_MEMBER];	/* nperiods + 1 ascending edges,
												 * then the cells of cohort 0,
												 * of cohort 1, … */
} CohortState;

#define COHORT_VERSION	1

#define COHORT_NCELLS(n)	((Size) (n) * ((n) + 1) / 2)
#define COHORT_SIZE(n) \
	(offsetof(CohortState, data) + sizeof(int64) * ((Size) (n) + 1) + sizeof(CohortCell) * COHORT_NCELLS(n))

static inline const TimestampTz *
cohort_edges(const CohortState *s)
{
	return s->data;
}

/* Cell (c, 0); (c, k) follow. */
static inline CohortCell *
cohort_cells(const CohortState *s, int c)
{
	int			n = s->nperiods;

	return (CohortCell *) (s->data + n + 1) + (Size) c * n - (Size) c * (c - 1) / 2;
}

extern void mcdp_cohort_add(CohortState *s, const TimelineView *v, int event);
extern void mcdp_cohort_merge(CohortState *s, const CohortState *more);

/* Outside bytes, without the varlena header, at any alignment. */
extern bool mcdp_cohort_check(const char *bytes, size_t len, McdpBadInput *bad);

#endif							/* MCDP_COHORT_H */
