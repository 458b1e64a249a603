/*-------------------------------------------------------------------------
 *
 * audience_point.c
 *	  Does one profile satisfy a rule?
 *
 * What is cheap is asked first, and nothing is fetched that the answer does
 * not depend on: the timeline last.
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

#include "store/audience.h"

typedef struct PointRun
{
	MemoryContext cx;
	int64		id;
	CriteriaEnv env;
	bool		fetched;		/* is env.timeline what it shall be? */
	TimelineView view;
} PointRun;

static bool
point_has_tag(void *arg, const char *tag)
{
	return mcdp_source_has_tag(((PointRun *) arg)->id, tag);
}

static bool
point_trait(void *arg, const char *name, CriteriaConst *out)
{
	PointRun   *run = arg;

	return mcdp_source_trait(run->cx, run->id, name, out);
}

static bool
holds(PointRun *run, const CriteriaNode *node)
{
	check_stack_depth();
	switch (node->op)
	{
		case CRITERIA_NOT:
			return !holds(run, node->child);
		case CRITERIA_AND:
		case CRITERIA_OR:
			for (int pass = 0; pass < 2; pass++)
				for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
					if (mcdp_criteria_needs_timeline(child) == (pass == 1) &&
						holds(run, child) == (node->op == CRITERIA_OR))
						return node->op == CRITERIA_OR;
			return node->op == CRITERIA_AND;
		default:
			break;
	}
	if (!run->fetched && mcdp_criteria_needs_timeline(node))
	{
		Timeline   *timeline = mcdp_source_timeline(run->cx, run->id);

		if (timeline != NULL)
		{
			mcdp_timeline_open(&run->view, timeline);
			run->env.timeline = &run->view;
		}
		run->fetched = true;
	}
	return mcdp_criteria_holds(node, &run->env);
}

bool
mcdp_audience_matches(MemoryContext cx, const CriteriaNode *rule, int64 id,
					  TimestampTz at, const char *label)
{
	PointRun	run = {.cx = cx, .id = id};

	run.env.at = at;
	run.env.label = label;
	run.env.has_tag = point_has_tag;
	run.env.trait = point_trait;
	run.env.arg = &run;
	return holds(&run, rule);
}
