/*-------------------------------------------------------------------------
 *
 * audience_plan.h
 *	  How a rule is evaluated: one plan, for a set of profiles and for one.
 *
 * A plan is the tree of the rule with the operands of & and | in the order of
 * what they cost.  A term is cheap when tags and traits answer it; otherwise
 * it needs histories, and those with conditions on properties need rows of
 * table event as well.  any(…) is one term, whatever stands inside.
 *
 * For a set of profiles the cheap terms are evaluated as sets, and what they
 * leave undecided is decided profile by profile with its history in hand.
 * For that, some sets are kept with the plan, numbered from 1:
 *		for each & or | with cheap and other operands: whom its cheap operands
 *		leave open (of & they all hold, of | none does);
 *		for each tag and trait inside an any(…): who satisfies it.
 * Number 0 is whom the whole rule leaves open.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_plan.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_AUDIENCE_PLAN_H
#define MCDP_AUDIENCE_PLAN_H

#include "core/rbuf.h"
#include "types/criteria.h"

typedef enum PlanCost
{
	PLAN_TAGS,					/* bitmaps alone */
	PLAN_TRAITS,
	PLAN_HISTORY,
	PLAN_PROPERTIES
} PlanCost;

typedef struct PlanNode
{
	const CriteriaNode *rule;
	PlanCost	cost;			/* of its dearest part */
	struct PlanNode *child;		/* operands of AND, OR, NOT, the cheap ones
								 * first */
	struct PlanNode *next;
	int			set;			/* number of the set kept for it; 0 = none */
} PlanNode;

typedef struct AudiencePlan
{
	PlanNode   *root;
	int			nsets;			/* the one of number 0 included */
} AudiencePlan;

static inline bool
plan_is_cheap(const PlanNode *node)
{
	return node->cost <= PLAN_TRAITS;
}

/* In the current context; marks the terms inside any() with their sets' numbers. */
extern AudiencePlan *mcdp_plan_make(CriteriaNode *rule);

typedef enum PlanAnswer
{
	PLAN_NO = 0,
	PLAN_YES = 1,
	PLAN_ASK_PROPERTIES = 2,	/* not without rows of table event; no if none
								 * of them satisfies any condition */
	PLAN_ASK_ELSE_YES = 3		/* likewise, but yes */
} PlanAnswer;

/* Deciding one profile after the other: the env's callbacks and what they need. */
typedef struct PlanRun
{
	const AudiencePlan *plan;
	Rbuf	  **sets;
	uint64		id;				/* the profile in hand */
	CriteriaEnv env;
	bool		asked;			/* properties were */
} PlanRun;

/*
 * Begins a run at an instant; env.arg is the run.  label_set, conditions and
 * prior are for the caller to fill in (env.arg may be a struct that begins
 * with the run); without conditions the answer may be one of PLAN_ASK_….
 */
extern void mcdp_plan_run_init(PlanRun *run, const AudiencePlan *plan, Rbuf **sets, TimestampTz at);

/* A profile that the sets leave open, with its history in env.timeline. */
extern PlanAnswer mcdp_plan_decide(PlanRun *run, uint64 id);

#endif							/* MCDP_AUDIENCE_PLAN_H */
