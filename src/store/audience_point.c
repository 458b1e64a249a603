/*-------------------------------------------------------------------------
 *
 * audience_point.c
 *	  Does one profile satisfy a rule?
 *
 * By the same plan as for sets: what is cheap is asked first, and nothing is
 * fetched that the answer does not depend on: the timeline late, the rows of
 * events last.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_point.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "store/audience.h"

static bool
point_has_tag(void *arg, const CriteriaNode *node)
{
	AudiencePoint *point = arg;

	return mcdp_source_has_tag(point->id, node->name, point->env.at);
}

static bool
point_trait(void *arg, const CriteriaNode *node, CriteriaConst *out)
{
	AudiencePoint *point = arg;

	return mcdp_source_trait(point->cx, point->id, node->name, out);
}

static bool
point_label_set(void *arg, const char *set, const char *label, int len)
{
	return mcdp_source_in_label_set(set, label, len);
}

static void
point_prior(void *arg, const char *event, const char *label, McdpPriorGap *out)
{
	mcdp_source_prior(event, label, out);
}

static const uint8 *
point_conditions(void *arg, const CriteriaEvent *event)
{
	AudiencePoint *point = arg;

	if (point->conditions == NULL)
	{
		point->conditions = mcdp_conditions_make(point->cx, point->rule, point->env.at);
		mcdp_conditions_fetch(point->conditions, &point->id, 1);
		mcdp_conditions_mark(point->conditions, point->id, point->env.timeline);
	}
	return mcdp_conditions_of(point->conditions, event);
}

AudiencePoint *
mcdp_audience_point(MemoryContext cx, CriteriaNode *rule, int64 id, TimestampTz at, const char *label)
{
	AudiencePoint *point = MemoryContextAllocZero(cx, sizeof(AudiencePoint));

	point->cx = cx;
	point->id = id;
	point->rule = rule;
	point->env.at = at;
	point->env.label = label;
	point->env.has_tag = point_has_tag;
	point->env.trait = point_trait;
	point->env.label_set = point_label_set;
	point->env.prior = point_prior;
	point->env.conditions = point_conditions;
	point->env.arg = point;
	return point;
}

void
mcdp_audience_point_history(AudiencePoint *point)
{
	Timeline   *timeline;

	if (point->fetched)
		return;
	timeline = mcdp_source_timeline(point->cx, point->id);
	if (timeline != NULL)
	{
		mcdp_timeline_open(&point->view, timeline);
		point->env.timeline = &point->view;
	}
	point->fetched = true;
}

static bool
holds(AudiencePoint *point, const PlanNode *node)
{
	check_stack_depth();
	switch (node->rule->op)
	{
		case CRITERIA_NOT:
			return !holds(point, node->child);
		case CRITERIA_AND:
		case CRITERIA_OR:
			for (const PlanNode *child = node->child; child != NULL; child = child->next)
				if (holds(point, child) == (node->rule->op == CRITERIA_OR))
					return node->rule->op == CRITERIA_OR;
			return node->rule->op == CRITERIA_AND;
		default:
			break;
	}
	if (!plan_is_cheap(node))
		mcdp_audience_point_history(point);
	return mcdp_criteria_holds(node->rule, &point->env);
}

bool
mcdp_audience_matches(MemoryContext cx, CriteriaNode *rule, int64 id,
					  TimestampTz at, const char *label)
{
	MemoryContext old = MemoryContextSwitchTo(cx);
	bool		result = holds(mcdp_audience_point(cx, rule, id, at, label),
							   mcdp_plan_make(rule)->root);

	MemoryContextSwitchTo(old);
	return result;
}
