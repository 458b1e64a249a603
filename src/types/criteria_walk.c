/*-------------------------------------------------------------------------
 *
 * criteria_walk.c
 *	  What a rule needs to be evaluated.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_walk.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "types/criteria.h"

static bool
is_trait(const CriteriaNode *node)
{
	return node->op == CRITERIA_COMPARE && node->measure == CRITERIA_TRAIT;
}

static bool
is_tag(const CriteriaNode *node)
{
	return node->op == CRITERIA_TAG;
}

static bool
is_behaviour(const CriteriaNode *node)
{
	return node->op == CRITERIA_SEQ || node->op == CRITERIA_ANY ||
		(node->op == CRITERIA_COMPARE && node->measure != CRITERIA_TRAIT);
}

/* Is there a node with this property? */
static bool
some_node(const CriteriaNode *node, bool (*property) (const CriteriaNode *))
{
	check_stack_depth();
	if (property(node))
		return true;
	for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
	{
		if (some_node(child, property))
			return true;
	}
	return false;
}

bool
mcdp_criteria_needs_timeline(const CriteriaNode *node)
{
	return some_node(node, is_behaviour);
}

bool
mcdp_criteria_needs_tags(const CriteriaNode *node)
{
	return some_node(node, is_tag);
}

static void
visit_nodes(const CriteriaNode *node, bool (*property) (const CriteriaNode *),
			CriteriaVisit visit, void *arg)
{
	check_stack_depth();
	if (property(node))
		visit(node, arg);
	for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
		visit_nodes(child, property, visit, arg);
}

void
mcdp_criteria_visit_tags(const CriteriaNode *node, CriteriaVisit visit, void *arg)
{
	visit_nodes(node, is_tag, visit, arg);
}

void
mcdp_criteria_visit_traits(const CriteriaNode *node, CriteriaVisit visit, void *arg)
{
	visit_nodes(node, is_trait, visit, arg);
}

bool
mcdp_criteria_has_free_label(const CriteriaNode *node)
{
	check_stack_depth();

	/* an event stands in COMPARE and ANY, and is empty elsewhere */
	if (node->event.label_type == CRITERIA_BOUND_LABEL)
		return true;
	for (const CriteriaStep *step = node->steps; step != NULL; step = step->next)
	{
		if (step->event.label_type == CRITERIA_BOUND_LABEL)
			return true;
	}
	if (node->op == CRITERIA_ANY)
		return false;			/* binds what is inside */
	for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
	{
		if (mcdp_criteria_has_free_label(child))
			return true;
	}
	return false;
}

void
mcdp_criteria_visit_events(const CriteriaNode *node, CriteriaVisitEvent visit, void *arg)
{
	check_stack_depth();
	if (node->op == CRITERIA_ANY ||
		(node->op == CRITERIA_COMPARE && node->measure != CRITERIA_TRAIT))
		visit(&node->event, node, arg);
	for (const CriteriaStep *step = node->steps; step != NULL; step = step->next)
		visit(&step->event, node, arg);
	for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
		mcdp_criteria_visit_events(child, visit, arg);
}

static void
note_conditions(const CriteriaEvent *event, const CriteriaNode *node, void *arg)
{
	*(bool *) arg |= event->conditions != NULL;
}

bool
mcdp_criteria_needs_properties(const CriteriaNode *node)
{
	bool		result = false;

	mcdp_criteria_visit_events(node, note_conditions, &result);
	return result;
}
