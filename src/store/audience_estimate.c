/*-------------------------------------------------------------------------
 *
 * audience_estimate.c
 *	  What a plan is going to cost, and to find.
 *
 * How many have some tags is known exactly, chunk by chunk; what else is asked
 * is guessed, and taken to be independent.  Times are those of one processor
 * of 2023, in milliseconds; docs/reference/audience.md says how they grow.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_estimate.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"

#include "store/audience.h"
#include "store/audience_estimate.h"
#include "store/chunk_scan.h"
#include "store/trait_index.h"

/* Shares of profiles that satisfy a comparison about which nothing is known. */
#define SHARE_EQUAL			0.05
#define SHARE_RANGE			0.33
#define SHARE_BEHAVIOUR		0.25
#define MAX_INDENT			40

#define SHARE_TAGS			0.1 /* too many tags to count */

/* Milliseconds: for a set … */
#define MS_SET				0.5
#define MS_TAG				1e-6	/* per profile there is */
#define MS_TRAIT_SLICES		1e-5	/* per profile there is */
#define MS_TRAIT_SCAN		4e-4	/* per profile there is */
#define MS_TRAIT_LOOKUP		5e-3	/* per candidate */
#define MS_HISTORY_SCAN		5e-4	/* per history there is */
#define MS_HISTORY_LOOKUP	4e-3	/* per candidate */
#define MS_PROPERTIES		0.1 /* per candidate */
/* … and for one profile. */
#define MS_POINT			0.02
#define MS_POINT_TAG		0.01
#define MS_POINT_TRAIT		0.02
#define MS_POINT_HISTORY	0.1
#define MS_POINT_PROPERTIES	0.5

typedef struct Estimating
{
	AudienceEstimate *result;
	const char *universe;		/* the internal tag of the kind */
	StringInfo	out;			/* or NULL */
} Estimating;

/* How many of "in" candidates satisfy a node, and how many it leaves open. */
typedef struct Rows
{
	double		found;
	double		open;
} Rows;

static double
count_members(const CriteriaNode *rule, const char *universe)
{
	return mcdp_chunk_rule_is(rule) ? (double) mcdp_chunk_rule_eval(rule, NULL, universe, NULL) : -1;
}

static double
share_of_comparison(CriteriaCmp cmp, int num_consts)
{
	switch (cmp)
	{
		case CRITERIA_EQ:
			return SHARE_EQUAL;
		case CRITERIA_NE:
			return 1 - SHARE_EQUAL;
		case CRITERIA_IN:
			return Min(SHARE_EQUAL * num_consts, 0.5);
		default:
			return SHARE_RANGE;
	}
}

/* Those who never did anything have counts of 0. */
static double
share_of_behaviour(const CriteriaNode *rule)
{
	CriteriaEnv nothing = {0};

	if (mcdp_criteria_has_free_label(rule) || rule->op != CRITERIA_COMPARE)
		return SHARE_BEHAVIOUR;
	return mcdp_criteria_holds(rule, &nothing) ? 1 - SHARE_BEHAVIOUR : SHARE_BEHAVIOUR;
}

/* Not asked while planning. */
static bool
has_slices(const char *trait)
{
	TraitView  *view;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	view = mcdp_trait_open(CurrentMemoryContext, trait, true);
	if (view != NULL)
		mcdp_trait_close(view);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	return view != NULL;
}

static void
print(Estimating *e, int indent, const char *what, const CriteriaNode *rule, double in, double found)
{
	if (e->out == NULL)
		return;
	appendStringInfoSpaces(e->out, 2 * Min(indent, MAX_INDENT));
	appendStringInfoString(e->out, what);
	if (rule != NULL)
		appendStringInfo(e->out, " %s", mcdp_criteria_print(rule));
	if (found >= 0)
		appendStringInfo(e->out, ": %.0f -> %.0f", rint(in), rint(found));
	appendStringInfoChar(e->out, '\n');
}

/* The operands' lines come behind that of their parent, which knows its result only then. */
static void
print_parent(Estimating *e, int indent, const char *what, double in, double found, int at)
{
	StringInfoData line;

	if (e->out == NULL)
		return;
	initStringInfo(&line);
	appendStringInfoSpaces(&line, 2 * Min(indent, MAX_INDENT));
	appendStringInfo(&line, "%s: %.0f -> %.0f\n", what, rint(in), rint(found));
	appendStringInfoString(&line, e->out->data + at);
	e->out->len = at;
	appendStringInfoString(e->out, line.data);
	pfree(line.data);
}

static Rows
estimate(Estimating *e, const PlanNode *node, double in, int indent)
{
	AudienceEstimate *r = e->result;
	int			at = e->out ? e->out->len : 0;
	Rows		rows = {0};
	Rows		part;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (node->cost == PLAN_TAGS && node->rule->op != CRITERIA_NONE)
	{
		double		members = count_members(node->rule, e->universe);

		rows.found = in * (members < 0 || r->universe < 1 ? SHARE_TAGS : members / r->universe);
		r->set_ms += r->universe * MS_TAG;
		r->point_ms += MS_POINT_TAG;
		print(e, indent, "tags", node->rule, in, rows.found);
		return rows;
	}
	switch (node->rule->op)
	{
		case CRITERIA_NOT:
			part = estimate(e, node->child, in, indent + 1);
			rows.found = in - part.found;
			rows.open = part.open;
			print_parent(e, indent, "not", in, rows.found, at);
			return rows;
		case CRITERIA_AND:
			rows.found = in;
			for (const PlanNode *child = node->child; child != NULL; child = child->next)
			{
				part = estimate(e, child, rows.found, indent + 1);
				if (!plan_is_cheap(child))
					rows.open = rows.open == 0 ? part.open : Min(rows.open, part.open + part.found);
				rows.found = part.found;
			}
			print_parent(e, indent, "all of", in, rows.found, at);
			return rows;
		case CRITERIA_OR:
			{
				double		left = in;

				for (const PlanNode *child = node->child; child != NULL; child = child->next)
				{
					part = estimate(e, child, left, indent + 1);
					rows.open = Min(rows.open + part.open, left);
					left -= part.found;
				}
				rows.found = in - left;
				print_parent(e, indent, "one of", in, rows.found, at);
				return rows;
			}
		case CRITERIA_NONE:
			print(e, indent, "tags", node->rule, in, 0);
			return rows;
		case CRITERIA_COMPARE:
			if (node->cost == PLAN_TRAITS)
			{
				bool		slices = e->out != NULL && in >= AUDIENCE_SLICES_FROM && has_slices(node->rule->name);
				bool		scan = in >= AUDIENCE_MANY_CANDIDATES;

				rows.found = in * share_of_comparison(node->rule->cmp, node->rule->num_consts);
				r->set_ms += slices ? r->universe * MS_TRAIT_SLICES :
					scan ? r->universe * MS_TRAIT_SCAN : in * MS_TRAIT_LOOKUP;
				r->point_ms += MS_POINT_TRAIT;
				print(e, indent, slices ? "trait (slices)" : scan ? "trait (one scan)" : "trait (look-ups)",
					  node->rule, in, rows.found);
				return rows;
			}
			break;
		default:
			break;
	}
	rows.open = in;
	rows.found = in * share_of_behaviour(node->rule);
	if (node->cost == PLAN_PROPERTIES)
		r->properties = Max(r->properties, in);
	print(e, indent, node->cost == PLAN_PROPERTIES ? "history and properties" : "history", node->rule, in, rows.found);
	return rows;
}

void
mcdp_audience_estimate(const AudiencePlan *plan, const char *kind, AudienceEstimate *result, StringInfo out)
{
	CriteriaNode all = {.op = CRITERIA_ALL};
	Estimating	e = {.result = result,.out = out};
	Rows		rows;

	memset(result, 0, sizeof(*result));
	e.universe = psprintf("\001kind:%s", kind);
	result->universe = count_members(&all, e.universe);
	result->set_ms = MS_SET + result->universe * MS_TAG;
	result->point_ms = MS_POINT;
	if (out != NULL)
		appendStringInfo(out, "kind %s: %.0f profiles\n", kind, result->universe);
	rows = estimate(&e, plan->root, result->universe, out == NULL ? 0 : 1);
	result->found = rows.found;
	result->histories = rows.open;
	if (rows.open > 0)
	{
		double		histories = mcdp_source_histories(result->universe);
		bool		scan = rows.open > histories * AUDIENCE_SCAN_SHARE;

		result->set_ms += scan ? histories * MS_HISTORY_SCAN : rows.open * MS_HISTORY_LOOKUP;
		result->point_ms += MS_POINT_HISTORY;
		if (out != NULL)
			appendStringInfo(out, "histories: %.0f profiles (%s)\n", rint(rows.open),
							 scan ? "one scan" : "look-ups");
	}
	if (result->properties > 0)
	{
		result->properties = Min(result->properties, rows.open);
		result->set_ms += result->properties * MS_PROPERTIES;
		result->point_ms += MS_POINT_PROPERTIES;
		if (out != NULL)
			appendStringInfo(out, "rows of event: at most %.0f profiles\n", rint(result->properties));
	}
	if (out != NULL)
		appendStringInfo(out, "result: %.0f profiles, about %.1f ms", rint(result->found), result->set_ms);
}
