/*-------------------------------------------------------------------------
 *
 * lifecycle.c
 *	  Lifecycle stages of a timeline, at one instant and over time.
 *
 * The stage at an instant is found by looking backwards from it: the last
 * order decides whether the profile has lapsed, and at most retained_orders
 * orders have to be seen, unless the thresholds are adaptive: they follow from
 * the gaps between all orders so far.  A walk goes on from there, one pass over
 * what follows.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/lifecycle.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"

#include "types/lifecycle.h"

const char *const mcdp_lifecycle_labels[LIFECYCLE_NUM_STAGES] = {
	"potential", "first_purchase", "repeat", "retained", "at_risk", "churned"
};

/*
 * Distinct orders among events 0 … n-1, counted backwards and only up to
 * "enough".  *last is the latest one.
 */
static int32
count_orders(const TimelineView *v, int code, uint32 n, int32 enough, TimestampTz *last)
{
	int32		orders = 0;
	TimestampTz earliest = 0;

	if (code < 0)
		return 0;
	for (uint32 i = n; i-- > 0;)
	{
		TimestampTz at;

		MCDP_CHECK_EVERY(i);
		if (timeline_event_code(v, i) != (uint32) code)
			continue;
		at = timeline_at(v, i);
		if (orders > 0 && at == earliest)
			continue;
		if (orders == 0)
			*last = at;
		earliest = at;
		if (++orders == enough)
			break;
	}
	return orders;
}

/* The same with the gaps between them, forwards. */
static int32
count_order_gaps(const TimelineView *v, int code, uint32 n, int32 enough, McdpGaps *gaps)
{
	if (code < 0)
		return 0;
	for (uint32 i = 0; i < n; i++)
	{
		MCDP_CHECK_EVERY(i);
		if (timeline_event_code(v, i) == (uint32) code)
			mcdp_gaps_add(gaps, timeline_at(v, i));
	}
	if (!gaps->any)
		return 0;
	return (int32) Min((uint64) mcdp_gaps_count(gaps) + 1, (uint64) enough);
}

static int64
threshold_of(const LifecycleThreshold *t, int64 gap)
{
	double		length = rint(t->gaps * (double) gap);

	if (length >= (double) t->max)
		return t->max;
	return Max((int64) length, t->min);
}

/* After an order: when the profile lapses if no other one follows. */
static void
set_thresholds(LifecycleWalk *w)
{
	const LifecycleRule *rule = w->rule;
	int64		gap;

	w->at_risk_after = rule->at_risk_after;
	w->churned_after = rule->churned_after;
	if (rule->adaptive && w->orders > 0 && mcdp_gaps_expected(&w->gaps, &rule->prior, &gap))
	{
		w->at_risk_after = threshold_of(&rule->at_risk, gap);
		/* more gaps, a higher floor and a higher ceiling: less only by rounding */
		w->churned_after = Max(threshold_of(&rule->churned, gap), w->at_risk_after + 1);
	}
}

/* at - last; both ends of the range of timestamps may be given. */
static int64
gap_since(TimestampTz last, TimestampTz at)
{
	int64		gap;

	if (pg_sub_s64_overflow(at, last, &gap))
		return PG_INT64_MAX;
	return gap;
}

static LifecycleStage
stage_by_orders(const LifecycleRule *rule, int32 orders)
{
	if (orders == 0)
		return LIFECYCLE_POTENTIAL;
	if (orders == 1)
		return LIFECYCLE_FIRST_PURCHASE;
	return orders < rule->retained_orders ? LIFECYCLE_REPEAT : LIFECYCLE_RETAINED;
}

static LifecycleStage
stage_at(const LifecycleWalk *w, TimestampTz at)
{
	if (w->orders > 0)
	{
		int64		gap = gap_since(w->last, at);

		if (gap > w->churned_after)
			return LIFECYCLE_CHURNED;
		if (gap > w->at_risk_after)
			return LIFECYCLE_AT_RISK;
	}
	return stage_by_orders(w->rule, w->orders);
}

LifecycleStage
mcdp_lifecycle_of(const TimelineView *v, const LifecycleRule *rule, TimestampTz at)
{
	LifecycleWalk w;

	mcdp_lifecycle_walk_start(&w, v, rule, at);
	mcdp_lifecycle_walk_end(&w);
	return w.stage;
}

void
mcdp_lifecycle_walk_start(LifecycleWalk *w, const TimelineView *v,
						  const LifecycleRule *rule, TimestampTz at)
{
	w->view = v;
	w->rule = rule;
	w->code = mcdp_timeline_find_event(v, rule->event, rule->event_len);
	w->next = mcdp_timeline_first_after(v, at);
	w->last = 0;
	mcdp_gaps_init(&w->gaps, CurrentMemoryContext);
	if (rule->adaptive)
	{
		w->orders = count_order_gaps(v, w->code, w->next, rule->retained_orders, &w->gaps);
		w->last = w->gaps.last;
	}
	else
		w->orders = count_orders(v, w->code, w->next, rule->retained_orders, &w->last);
	set_thresholds(w);
	w->stage = stage_at(w, at);
}

void
mcdp_lifecycle_walk_end(LifecycleWalk *w)
{
	mcdp_gaps_free(&w->gaps);
}

bool
mcdp_lifecycle_walk_due(const LifecycleWalk *w, TimestampTz *due)
{
	int64		threshold;

	if (w->stage == LIFECYCLE_POTENTIAL || w->stage == LIFECYCLE_CHURNED)
		return false;
	threshold = w->stage == LIFECYCLE_AT_RISK ? w->churned_after : w->at_risk_after;

	/* beyond the last timestamp is never */
	return !pg_add_s64_overflow(w->last, threshold, due) &&
		!pg_add_s64_overflow(*due, 1, due) &&
		IS_VALID_TIMESTAMP(*due);
}

bool
mcdp_lifecycle_walk_next(LifecycleWalk *w, TimestampTz until, LifecycleChange *change)
{
	const TimelineView *v = w->view;
	uint32		n = timeline_num_events(v);

	change->from = w->stage;
	if (w->code < 0)
		return false;
	for (;;)
	{
		TimestampTz due;
		TimestampTz horizon = until;
		TimestampTz at = 0;
		bool		has_due = mcdp_lifecycle_walk_due(w, &due) && due <= until;

		/* The next order, as far as it can come before anything else. */
		if (has_due)
			horizon = due;
		while (w->next < n && (at = timeline_at(v, w->next)) <= horizon &&
			   timeline_event_code(v, w->next) != (uint32) w->code)
		{
			MCDP_CHECK_EVERY(w->next);
			w->next++;
		}

		if (w->next < n && at <= horizon)
		{
			/* An order at the very instant keeps the profile from lapsing. */
			w->next++;
			if ((w->orders == 0 || at != w->last) && w->orders < w->rule->retained_orders)
				w->orders++;
			w->last = at;
			if (w->rule->adaptive)
			{
				mcdp_gaps_add(&w->gaps, at);
				set_thresholds(w);
			}
			w->stage = stage_by_orders(w->rule, w->orders);
			change->by_time = false;
		}
		else if (has_due)
		{
			at = due;
			w->stage = w->stage == LIFECYCLE_AT_RISK ? LIFECYCLE_CHURNED : LIFECYCLE_AT_RISK;
			change->by_time = true;
		}
		else
			return false;

		if (w->stage != change->from)
		{
			change->at = at;
			change->to = w->stage;
			change->last = w->last;
			return true;
		}
	}
}
