/*-------------------------------------------------------------------------
 *
 * lifecycle.h
 *	  Lifecycle stages of a timeline, at one instant and over time.
 *
 * An order is a distinct instant at which the purchase event stands in the
 * timeline.  At an instant, only events at or before it count:
 *
 *		no order				potential
 *		gap > churned after		churned			gap = instant - last order
 *		gap > at risk after		at_risk
 *		1 order					first_purchase
 *		fewer than retained		repeat
 *		else					retained
 *
 * Instants are whole microseconds and the comparison is strict, so a stage
 * that time changes does so at last order + threshold + 1 microsecond.
 *
 * The two thresholds are fixed, or, when a rule is adaptive, multiples of the
 * gap that is expected after the last order (expected_gap.h, from the orders
 * up to it), held within bounds.  Somebody whose expected gap is not known has
 * the fixed ones.  So thresholds change with an order only.
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/lifecycle.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_LIFECYCLE_H
#define MCDP_LIFECYCLE_H

#include "types/expected_gap.h"
#include "types/timeline.h"

/* In the order of the SQL enum. */
typedef enum LifecycleStage
{
	LIFECYCLE_POTENTIAL,
	LIFECYCLE_FIRST_PURCHASE,
	LIFECYCLE_REPEAT,
	LIFECYCLE_RETAINED,
	LIFECYCLE_AT_RISK,
	LIFECYCLE_CHURNED
} LifecycleStage;

#define LIFECYCLE_NUM_STAGES	(LIFECYCLE_CHURNED + 1)

/* The labels of the SQL enum. */
extern const char *const mcdp_lifecycle_labels[LIFECYCLE_NUM_STAGES];

/* Multiples of the expected gap, and what they are held within (microseconds). */
typedef struct LifecycleThreshold
{
	double		gaps;
	int64		min;
	int64		max;
} LifecycleThreshold;

/*
 * Checked by the caller: retained_orders >= 2, churned_after > at_risk_after > 0;
 * min <= max of each threshold, and all three of churned > those of at_risk > 0.
 */
typedef struct LifecycleRule
{
	const char *event;			/* name of the purchase event, not terminated */
	int			event_len;
	int32		retained_orders;
	int64		at_risk_after;	/* microseconds */
	int64		churned_after;
	bool		adaptive;		/* what follows counts */
	LifecycleThreshold at_risk;
	LifecycleThreshold churned;
	McdpPriorGap prior;
} LifecycleRule;

/* Where a walk through a timeline stands: after everything at its instant. */
typedef struct LifecycleWalk
{
	const TimelineView *view;
	const LifecycleRule *rule;
	int			code;			/* of the purchase event, -1 = does not occur */
	uint32		next;			/* first event not looked at yet */
	int32		orders;			/* so far; counted up to retained_orders */
	TimestampTz last;			/* the last order, if any */
	int64		at_risk_after;	/* since then, in microseconds */
	int64		churned_after;
	McdpGaps	gaps;			/* between the orders so far, if adaptive */
	LifecycleStage stage;
} LifecycleWalk;

typedef struct LifecycleChange
{
	TimestampTz at;
	LifecycleStage from;
	LifecycleStage to;
	bool		by_time;		/* else by the order at "at" */
	TimestampTz last;			/* the last order at "at" */
} LifecycleChange;

/* The stage at an instant. */
extern LifecycleStage mcdp_lifecycle_of(const TimelineView *v, const LifecycleRule *rule,
										TimestampTz at);

/*
 * A walk starts with the stage at an instant (walk->stage), and next gives
 * the changes after it, as far as "until" (inclusive), one at a time.  What it
 * allocates lives in the context that is current when it starts.
 */
extern void mcdp_lifecycle_walk_start(LifecycleWalk *w, const TimelineView *v,
									  const LifecycleRule *rule, TimestampTz at);
extern bool mcdp_lifecycle_walk_next(LifecycleWalk *w, TimestampTz until,
									 LifecycleChange *change);

/* Frees what a walk has allocated. */
extern void mcdp_lifecycle_walk_end(LifecycleWalk *w);

/* When time alone changes the stage that the walk stands in; false = never. */
extern bool mcdp_lifecycle_walk_due(const LifecycleWalk *w, TimestampTz *due);

#endif							/* MCDP_LIFECYCLE_H */
