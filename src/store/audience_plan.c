/*-------------------------------------------------------------------------
 *
 * audience_plan.c
 *	  Makes plans, and decides single profiles by them.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_plan.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "store/audience_plan.h"

/* ---- making ---- */

static void
number_term(const CriteriaNode *node, void *arg)
{
	AudiencePlan *plan = arg;

	unconstify(CriteriaNode *, node)->set = plan->nsets++;
}

static PlanNode *
make_node(AudiencePlan *plan, CriteriaNode *rule)
{
	PlanNode   *node = palloc0(sizeof(PlanNode));
	PlanNode  **tails[PLAN_PROPERTIES + 1];
	PlanNode   *heads[PLAN_PROPERTIES + 1] = {NULL};
	PlanNode  **tail = &node->child;
	bool		cheap = false;

	check_stack_depth();
	node->rule = rule;
	switch (rule->op)
	{
		case CRITERIA_ALL:
		case CRITERIA_NONE:
		case CRITERIA_TAG:
			node->cost = PLAN_TAGS;
			return node;
		case CRITERIA_COMPARE:
			if (rule->measure == CRITERIA_TRAIT)
			{
				node->cost = PLAN_TRAITS;
				return node;
			}
			/* FALLTHROUGH */
		case CRITERIA_SEQ:
		case CRITERIA_ANY:
			node->cost = mcdp_criteria_needs_properties(rule) ? PLAN_PROPERTIES : PLAN_HISTORY;
			mcdp_criteria_visit_tags(rule, number_term, plan);
			mcdp_criteria_visit_traits(rule, number_term, plan);
			return node;
		case CRITERIA_AND:
		case CRITERIA_OR:
		case CRITERIA_NOT:
			break;
	}
	for (PlanCost cost = PLAN_TAGS; cost <= PLAN_PROPERTIES; cost++)
		tails[cost] = &heads[cost];
	for (CriteriaNode *child = rule->child; child != NULL; child = child->next)
	{
		PlanNode   *operand = make_node(plan, child);

		*tails[operand->cost] = operand;
		tails[operand->cost] = &operand->next;
		node->cost = Max(node->cost, operand->cost);
		cheap |= plan_is_cheap(operand);
	}
	for (PlanCost cost = PLAN_TAGS; cost <= PLAN_PROPERTIES; cost++)
	{
		*tail = heads[cost];
		if (heads[cost] != NULL)
			tail = tails[cost];
	}
	if (cheap && !plan_is_cheap(node))
		node->set = plan->nsets++;
	return node;
}

AudiencePlan *
mcdp_plan_make(CriteriaNode *rule)
{
	AudiencePlan *plan = palloc(sizeof(AudiencePlan));

	plan->nsets = 1;
	plan->root = make_node(plan, rule);
	return plan;
}

/* ---- deciding ---- */

static bool
in_set_of_term(void *arg, const CriteriaNode *node)
{
	PlanRun    *run = arg;

	return mcdp_rbuf_contains(run->sets[node->set], run->id);
}

static const uint8 *
ask_properties(void *arg, const CriteriaEvent *event)
{
	((PlanRun *) arg)->asked = true;
	return NULL;
}

static const uint8 *
no_properties(void *arg, const CriteriaEvent *event)
{
	return NULL;
}

void
mcdp_plan_run_init(PlanRun *run, const AudiencePlan *plan, Rbuf **sets, TimestampTz at)
{
	memset(run, 0, sizeof(*run));
	run->plan = plan;
	run->sets = sets;
	run->env.at = at;
	run->env.has_tag = in_set_of_term;
	run->env.trait_holds = in_set_of_term;
	run->env.conditions = ask_properties;
	run->env.arg = run;
}

static PlanAnswer
decide(PlanRun *run, const PlanNode *node)
{
	PlanAnswer	sure = node->rule->op == CRITERIA_OR ? PLAN_YES : PLAN_NO;
	PlanAnswer	answer;

	check_stack_depth();
	switch (node->rule->op)
	{
		case CRITERIA_NOT:
			answer = decide(run, node->child);
			return answer == PLAN_ASK_PROPERTIES ? answer : !answer;
		case CRITERIA_AND:
		case CRITERIA_OR:
			if (node->set != 0 && !mcdp_rbuf_contains(run->sets[node->set], run->id))
				return sure;
			answer = !sure;
			for (const PlanNode *child = node->child; child != NULL; child = child->next)
			{
				PlanAnswer	part;

				if (plan_is_cheap(child))
					continue;
				part = decide(run, child);
				if (part == sure)
					return sure;
				if (part == PLAN_ASK_PROPERTIES)
					answer = part;
			}
			return answer;
		default:
			run->asked = false;
			answer = mcdp_criteria_holds(node->rule, &run->env);
			return run->asked ? PLAN_ASK_PROPERTIES : answer;
	}
}

PlanAnswer
mcdp_plan_decide(PlanRun *run, uint64 id)
{
	PlanAnswer	answer;

	run->id = id;
	answer = decide(run, run->plan->root);
	if (answer == PLAN_ASK_PROPERTIES)
	{
		run->env.conditions = no_properties;
		if (decide(run, run->plan->root) == PLAN_YES)
			answer = PLAN_ASK_ELSE_YES;
		run->env.conditions = ask_properties;
	}
	return answer;
}
