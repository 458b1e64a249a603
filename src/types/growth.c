/*-------------------------------------------------------------------------
 *
 * growth.c
 *	  Where a timeline stands in the words of product analytics.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/growth.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"

#include "types/growth.h"

const char *const mcdp_growth_labels[GROWTH_INACTIVE + 1] = {
	NULL, "new", "returning", "resurrecting", "dormant", "inactive"
};

const char *const mcdp_engagement_labels[ENGAGEMENT_DORMANT + 1] = {
	NULL, "new", "current", "reactivated", "resurrected", "at_risk_wau", "at_risk_mau", "dormant"
};

int64
mcdp_growth_period(const GrowthPeriods *p, TimestampTz at)
{
	uint64		distance;

	if (at >= p->origin)
	{
		distance = (uint64) at - (uint64) p->origin;
		return (int64) (distance / (uint64) p->length);
	}
	distance = (uint64) p->origin - (uint64) at - 1;
	return -1 - (int64) (distance / (uint64) p->length);
}

bool
mcdp_growth_period_start(const GrowthPeriods *p, int64 period, TimestampTz *start)
{
	int64		distance;

	return !pg_mul_s64_overflow(period, p->length, &distance) &&
		!pg_add_s64_overflow(p->origin, distance, start) &&
		IS_VALID_TIMESTAMP(*start);
}

void
mcdp_growth_marks(const TimelineView *v, int event, const GrowthPeriods *p,
				  TimestampTz at, GrowthMarks *marks)
{
	marks->ever = marks->earlier = false;
	marks->now = mcdp_growth_period(p, at);
	marks->last = marks->before = 0;
	if (event == -1)
		return;

	/* Backwards: the last one, then the last one of an earlier period. */
	for (uint32 i = mcdp_timeline_first_after(v, at); i-- > 0;)
	{
		int64		period;

		MCDP_CHECK_EVERY(i);
		if (event >= 0 && timeline_event_code(v, i) != (uint32) event)
			continue;
		period = mcdp_growth_period(p, timeline_at(v, i));
		if (!marks->ever)
			marks->last = period;
		marks->ever = true;
		if (period < marks->now)
		{
			marks->earlier = true;
			marks->before = period;
			return;
		}
	}
}

GrowthState
mcdp_growth_state_of(const GrowthMarks *m)
{
	if (!m->ever)
		return GROWTH_NONE;
	if (m->last == m->now)
	{
		if (!m->earlier)
			return GROWTH_NEW;
		return m->before == m->now - 1 ? GROWTH_RETURNING : GROWTH_RESURRECTING;
	}
	return m->last == m->now - 1 ? GROWTH_DORMANT : GROWTH_INACTIVE;
}

EngagementState
mcdp_engagement_state_of(const GrowthMarks *m, int32 week, int32 month)
{
	int64		ago;

	if (!m->ever)
		return ENGAGEMENT_NONE;
	if (!m->earlier)
		return ENGAGEMENT_NEW;
	ago = m->now - m->before;
	if (m->last == m->now)
		return ago < week ? ENGAGEMENT_CURRENT :
			ago < month ? ENGAGEMENT_REACTIVATED : ENGAGEMENT_RESURRECTED;
	return ago < week ? ENGAGEMENT_AT_RISK_WAU :
		ago < month ? ENGAGEMENT_AT_RISK_MAU : ENGAGEMENT_DORMANT;
}
