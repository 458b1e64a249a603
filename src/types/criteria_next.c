/*-------------------------------------------------------------------------
 *
 * criteria_next.c
 *	  When may time alone change whether a rule holds?
 *
 * Time moves windows: an event leaves or enters one; it carries "how long ago"
 * past a duration; it lets the time of a trailing !x run out; and it reaches
 * events (and traits) that are dated later than now.  For each term the first
 * such instant after "at" is found, and for a rule the first of its terms.
 *
 * The answer may be too early, never too late: of the events of a window,
 * label sets, bound labels and properties are not looked at, nor is how terms
 * are joined.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_next.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "core/iso_time.h"
#include "types/criteria_eval.h"

#define NEVER	PG_INT64_MAX

typedef struct NextChange
{
	CriteriaEnv env;
	TimestampTz next;
} NextChange;

static void
may_change(NextChange *n, TimestampTz when)
{
	if (when > n->env.at && when < n->next)
		n->next = when;
}

/* Events of this name, with this label if one is named. */
typedef struct Events
{
	const TimelineView *v;
	int			event;			/* -1 = every */
	int			label;
} Events;

static bool
find_events(const CriteriaEvent *event, const CriteriaEnv *env, Events *e)
{
	e->v = env->timeline;
	e->event = e->label = -1;
	if (e->v == NULL)
		return false;
	if (event->name != NULL)
	{
		e->event = mcdp_timeline_find_event(e->v, event->name, event->name_len);
		if (e->event < 0)
			return false;
	}
	if (event->label_type == CRITERIA_LABEL)
	{
		e->label = mcdp_timeline_find_label(e->v, event->label, event->label_len);
		if (e->label < 0)
			return false;
	}
	return true;
}

static inline bool
is_one(const Events *e, uint32 i)
{
	return (e->event < 0 || timeline_event_code(e->v, i) == (uint32) e->event) &&
		(e->label < 0 || timeline_label_code(e->v, i) == (uint32) e->label);
}

/* The first event later than an instant. */
static bool
first_after(const Events *e, TimestampTz after, TimestampTz *at)
{
	for (uint32 i = mcdp_timeline_first_after(e->v, after); i < timeline_num_events(e->v); i++)
	{
		if (is_one(e, i))
		{
			*at = timeline_at(e->v, i);
			return true;
		}
	}
	return false;
}

/* When the next event will be "age" old, and then some microseconds. */
static void
next_to_be(NextChange *n, const Events *e, int64 age, int64 more)
{
	TimestampTz at;

	/* one that will not have been that old before */
	if (first_after(e, mcdp_criteria_before(mcdp_criteria_before(n->env.at, age), more), &at))
		may_change(n, mcdp_criteria_after(mcdp_criteria_after(at, age), more));
}

/* A property may be a date, and be compared with a duration. */
static bool
has_ages(const CriteriaEvent *event)
{
	for (const CriteriaCondition *c = event->conditions; c != NULL; c = c->next)
	{
		for (int i = 0; i < c->num_consts; i++)
			if (c->consts[i].type == CRITERIA_LENGTH)
				return true;
	}
	return false;
}

static void
next_of_window(NextChange *n, const CriteriaEvent *event, const Events *e, const CriteriaWindow *window)
{
	if (has_ages(event))
		may_change(n, mcdp_criteria_after(n->env.at, 1));	/* which date is not
															 * known */
	next_to_be(n, e, 0, 0);
	switch (window->type)
	{
		case CRITERIA_ALWAYS:
		case CRITERIA_DATES:
			break;
		case CRITERIA_WITHIN:
			next_to_be(n, e, window->older, 0);
			break;
		case CRITERIA_AGO:
			next_to_be(n, e, window->newer, 1);
			next_to_be(n, e, window->older, 1);
			break;
	}
}

/* Something that happened then is about to be one of these durations ago. */
static void
next_of_age(NextChange *n, TimestampTz since, const CriteriaNode *node)
{
	for (int i = 0; i < node->num_consts; i++)
	{
		TimestampTz then = mcdp_criteria_after(since, node->consts[i].length);

		if (node->consts[i].type != CRITERIA_LENGTH)
			continue;
		may_change(n, then);
		may_change(n, mcdp_criteria_after(then, 1));
	}
}

static void
next_of_trait(NextChange *n, const CriteriaNode *node)
{
	CriteriaConst value;
	TimestampTz date;

	memset(&value, 0, sizeof(value));
	if (n->env.trait != NULL && n->env.trait(n->env.arg, node, &value) &&
		value.type == CRITERIA_TEXT && mcdp_iso_time(value.text, value.len, &date))
		next_of_age(n, date, node);
}

/* first, last, due: the value says when it was, or will be. */
static void
next_of_value(NextChange *n, const CriteriaNode *node)
{
	CriteriaConst value;

	if (!mcdp_criteria_value(node, &n->env, &value))
		return;
	if (node->measure != CRITERIA_DUE)
		next_of_age(n, mcdp_criteria_before(n->env.at, value.length), node);
	else
	{
		TimestampTz due = mcdp_criteria_after(n->env.at, value.length);

		for (int i = 0; i < node->num_consts; i++)
		{
			TimestampTz then = mcdp_criteria_before(due, node->consts[i].length);

			may_change(n, then);
			may_change(n, mcdp_criteria_after(then, 1));
		}
	}
}

/* The same for each label that an any() around may bind. */
static void
next_of_each_label(NextChange *n, const CriteriaNode *node, const Events *e)
{
	const TimelineView *v = e->v;
	bool	   *seen;

	if (v->labels == NULL)
		return;
	seen = palloc0(v->label_dict.count);
	for (uint32 i = 0; i < timeline_num_events(v); i++)
	{
		uint32		label = timeline_label_code(v, i);
		const char *name;
		int			len;

		if (label == TIMELINE_NO_LABEL || seen[label] || !is_one(e, i))
			continue;
		CHECK_FOR_INTERRUPTS();
		seen[label] = true;
		name = mcdp_timeline_label_name(v, label, &len);
		n->env.label = pnstrdup(name, len);
		next_of_value(n, node);
		n->env.label = NULL;
	}
	pfree(seen);
}

static void
next_of_measure(NextChange *n, const CriteriaNode *node)
{
	const CriteriaEvent *event = &node->event;
	Events		e;

	if (!find_events(event, &n->env, &e))
		return;
	next_of_window(n, event, &e, &node->window);
	if (node->measure != CRITERIA_FIRST && node->measure != CRITERIA_LAST &&
		node->measure != CRITERIA_DUE)
		return;
	if ((event->conditions != NULL && n->env.conditions == NULL) ||
		(event->label_type == CRITERIA_LABEL_SET && n->env.label_set == NULL))
		may_change(n, mcdp_criteria_after(n->env.at, 1));	/* anything may be */
	else if (event->label_type == CRITERIA_BOUND_LABEL && n->env.label == NULL)
		next_of_each_label(n, node, &e);
	else
		next_of_value(n, node);
}

static void
next_of_sequence(NextChange *n, const CriteriaNode *node)
{
	CriteriaWindow range = node->window;
	bool		ago = range.type == CRITERIA_AGO;
	const CriteriaStep *last = NULL;
	Events		e;

	if (range.type == CRITERIA_WITHIN)
		range.type = CRITERIA_ALWAYS;	/* not counted from "at" */
	for (const CriteriaStep *step = node->steps; step != NULL; step = step->next)
	{
		if (!step->negated)
			last = step;
		if (find_events(&step->event, &n->env, &e))
			next_of_window(n, &step->event, &e, &range);
	}
	if (last == NULL || !find_events(&last->event, &n->env, &e))
		return;
	for (const CriteriaStep *step = last->next; step != NULL; step = step->next)
	{
		if (step->has_gap)
			next_to_be(n, &e, mcdp_criteria_after(step->gap, ago ? range.newer : 0), ago ? 1 : 0);
	}
}

static void
visit(NextChange *n, const CriteriaNode *node)
{
	static const CriteriaWindow always = {CRITERIA_ALWAYS};
	const char *label;
	Events		e;

	check_stack_depth();
	switch (node->op)
	{
		case CRITERIA_COMPARE:
			if (node->measure == CRITERIA_TRAIT)
				next_of_trait(n, node);
			else
				next_of_measure(n, node);
			break;
		case CRITERIA_SEQ:
			next_of_sequence(n, node);
			break;
		case CRITERIA_ANY:
			if (find_events(&node->event, &n->env, &e))
				next_of_window(n, &node->event, &e, &always);
			label = n->env.label;
			n->env.label = NULL;
			visit(n, node->child);
			n->env.label = label;
			return;
		default:
			break;
	}
	for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
		visit(n, child);
}

TimestampTz
mcdp_criteria_next_change(const CriteriaNode *node, CriteriaEnv *env)
{
	NextChange	n = {.env = *env,.next = NEVER};

	visit(&n, node);
	return n.next;
}
