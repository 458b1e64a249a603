/*-------------------------------------------------------------------------
 *
 * growth.h
 *	  Where a timeline stands in the words of product analytics.
 *
 * Time is cut into periods of equal length that begin at an origin; period k
 * is [origin + k * length, origin + (k + 1) * length).  A profile is active
 * in a period when the active event occurs in it.
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/growth.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_GROWTH_H
#define MCDP_GROWTH_H

#include "types/timeline.h"

typedef struct GrowthPeriods
{
	TimestampTz origin;
	int64		length;			/* microseconds, > 0 */
} GrowthPeriods;

/*
 * Growth accounting: a is active in this period, b in the one before, c ever
 * before this one.
 */
typedef enum GrowthState
{
	GROWTH_NONE,				/* never yet */
	GROWTH_NEW,					/* a, not c */
	GROWTH_RETURNING,			/* a, b */
	GROWTH_RESURRECTING,		/* a, not b, c */
	GROWTH_DORMANT,				/* not a, b */
	GROWTH_INACTIVE				/* not a, not b, c */
} GrowthState;

/* Daily engagement: as above, but with a week and a month of periods. */
typedef enum EngagementState
{
	ENGAGEMENT_NONE,			/* never yet */
	ENGAGEMENT_NEW,				/* active for the first time */
	ENGAGEMENT_CURRENT,			/* active, and in the week before */
	ENGAGEMENT_REACTIVATED,		/* active, last in the month before */
	ENGAGEMENT_RESURRECTED,		/* active, last earlier than that */
	ENGAGEMENT_AT_RISK_WAU,		/* not active, but in the week before */
	ENGAGEMENT_AT_RISK_MAU,		/* not active, last in the month before */
	ENGAGEMENT_DORMANT			/* not active, last earlier than that */
} EngagementState;

/* What both follow from, at an instant: periods of active events. */
typedef struct GrowthMarks
{
	bool		ever;			/* there is one up to the instant */
	int64		now;			/* period of the instant */
	int64		last;			/* of the last active event */
	bool		earlier;		/* there is one before period "now" … */
	int64		before;			/* … the last of them */
} GrowthMarks;

/* Period in which an instant lies. */
extern int64 mcdp_growth_period(const GrowthPeriods *p, TimestampTz at);

/* When a period begins; false = beyond the range of timestamps. */
extern bool mcdp_growth_period_start(const GrowthPeriods *p, int64 period, TimestampTz *start);

/* "event" is a code, -1 = does not occur, or GROWTH_ANY_EVENT. */
#define GROWTH_ANY_EVENT	(-2)

extern void mcdp_growth_marks(const TimelineView *v, int event, const GrowthPeriods *p,
							  TimestampTz at, GrowthMarks *marks);

extern GrowthState mcdp_growth_state_of(const GrowthMarks *m);
extern EngagementState mcdp_engagement_state_of(const GrowthMarks *m, int32 week, int32 month);

extern const char *const mcdp_growth_labels[GROWTH_INACTIVE + 1];
extern const char *const mcdp_engagement_labels[ENGAGEMENT_DORMANT + 1];

#endif							/* MCDP_GROWTH_H */
