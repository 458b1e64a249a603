/*-------------------------------------------------------------------------
 *
 * audience.c
 *	  Which candidates satisfy a rule?
 *
 * First the cheap terms, as sets: a node of the plan maps a set of candidates
 * to those of whom it holds for sure, and those whom it leaves open.  AND hands
 * the survivors of one operand to the next, OR the rest.  Then the histories
 * of those who are open in the end are read once, and the whole rule is
 * decided for one profile after the other (audience_history.c).  Who has no
 * history is decided by sets again, as all of them are alike.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "store/audience.h"
#include "store/chunk_scan.h"
#include "store/tag_history.h"
#include "store/trait_index.h"

#define BATCH				1000	/* profiles with traits fetched together */

static Rbuf *eval(AudienceRun *run, const PlanNode *node, const Rbuf *candidates);

/* ---- tags ---- */

/* Internal tags, and those inside any(): kept, others are asked for once. */
static const Rbuf *
get_tag(AudienceRun *run, const char *name)
{
	AudienceTag *tag;

	for (tag = run->tags; tag != NULL; tag = tag->next)
		if (strcmp(tag->name, name) == 0)
			return tag->members;
	tag = MemoryContextAlloc(run->cx, sizeof(AudienceTag));
	tag->name = name;
	tag->members = mcdp_source_tagged(run->cx, name, run->at);
	tag->next = run->tags;
	run->tags = tag;
	return tag->members;
}

/* ---- traits ---- */

typedef struct TraitScan
{
	const CriteriaNode *node;
	TimestampTz at;
	const Rbuf *candidates;
	const Rbuf *merged;			/* those to be left out, or NULL */
	Rbuf	   *result;
} TraitScan;

static void
compare_trait(void *arg, uint64 id, const CriteriaConst *value)
{
	TraitScan  *scan = arg;

	if (mcdp_rbuf_contains(scan->candidates, id) &&
		(scan->merged == NULL || !mcdp_rbuf_contains(scan->merged, id)) &&
		mcdp_criteria_compare(value, scan->node->cmp, scan->node->consts, scan->node->num_consts,
							  scan->at))
		mcdp_rbuf_add(scan->result, id);
}

/* Up to BATCH ids; returns how many. */
static int
next_batch(RbufIter *it, int64 *ids)
{
	int			n = 0;
	uint64		id;

	while (n < BATCH && mcdp_rbuf_iter_next(it, &id))
		ids[n++] = (int64) id;
	return n;
}

static Rbuf *
eval_trait(AudienceRun *run, const CriteriaNode *node, const Rbuf *candidates)
{
	TraitScan	scan = {node, run->at, candidates, NULL, NULL};
	Rbuf	   *one_by_one;
	int64	   *ids;
	uint64		how_many = mcdp_rbuf_cardinality(candidates);
	RbufIter	it;
	int			n;

	if (how_many >= AUDIENCE_SLICES_FROM)
	{
		Rbuf	   *found = mcdp_trait_range(run->cx, node->name, node->cmp, node->consts,
											 node->num_consts, run->at, candidates);

		if (found != NULL)
			return found;
	}
	scan.result = mcdp_rbuf_create(run->cx);
	one_by_one = mcdp_rbuf_copy(run->cx, candidates);
	ids = MemoryContextAlloc(run->cx, BATCH * sizeof(int64));
	if (how_many >= AUDIENCE_MANY_CANDIDATES)
	{
		/* One scan serves all but those whose leaves have to be compared. */
		scan.merged = get_tag(run, AUDIENCE_MERGED_TAG);
		mcdp_source_all_traits(node->name, compare_trait, &scan);
		mcdp_rbuf_and(one_by_one, scan.merged);
		scan.merged = NULL;
	}
	mcdp_rbuf_iter_init(&it, one_by_one);
	while ((n = next_batch(&it, ids)) > 0)
		mcdp_source_traits(ids, n, node->name, compare_trait, &scan);
	mcdp_rbuf_free(one_by_one);
	pfree(ids);
	return scan.result;
}

/* ---- nodes as sets ---- */

static Rbuf *
eval_leaf(AudienceRun *run, const CriteriaNode *node, const Rbuf *candidates)
{
	CriteriaEnv nothing = {.at = run->at};
	Rbuf	   *result;

	switch (node->op)
	{
		case CRITERIA_NONE:
			return mcdp_rbuf_create(run->cx);
		case CRITERIA_ALL:
			return mcdp_rbuf_copy(run->cx, candidates);
		case CRITERIA_TAG:
			/* of a key whose history is kept: others go by chunk (eval) */
			result = mcdp_source_tagged(run->cx, node->name, run->at);
			mcdp_rbuf_and(result, candidates);
			return result;
		case CRITERIA_COMPARE:
			if (node->measure == CRITERIA_TRAIT)
				return eval_trait(run, node, candidates);
			break;
		default:
			break;
	}

	/* About histories: the candidates have none. */
	return mcdp_criteria_holds(node, &nothing) ? mcdp_rbuf_copy(run->cx, candidates)
		: mcdp_rbuf_create(run->cx);
}

/*
 * AND: candidates shrink to those that satisfy every operand so far.  OR:
 * the complement of AND of complements, so here they are the candidates that
 * satisfy no operand so far.
 */
static void
narrow(AudienceRun *run, const PlanNode *node, const PlanNode *operand, Rbuf *left)
{
	Rbuf	   *found;

	if (mcdp_rbuf_is_empty(left))
		return;
	found = eval(run, operand, left);
	if (node->rule->op == CRITERIA_OR)
		mcdp_rbuf_andnot(left, found);
	else
		mcdp_rbuf_and(left, found);
	mcdp_rbuf_free(found);
}

/* Who of the candidates satisfies a cheap node, or, without a history, any.  A new set. */
static Rbuf *
eval(AudienceRun *run, const PlanNode *node, const Rbuf *candidates)
{
	Rbuf	   *result,
			   *left;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (mcdp_chunk_rule_is(node->rule) && !mcdp_tag_history_matters_to(node->rule, run->at))
	{
		result = mcdp_rbuf_create(run->cx);
		mcdp_chunk_rule_eval(node->rule, candidates, NULL, result);
		return result;
	}
	switch (node->rule->op)
	{
		case CRITERIA_NOT:
			result = mcdp_rbuf_copy(run->cx, candidates);
			left = eval(run, node->child, candidates);
			mcdp_rbuf_andnot(result, left);
			mcdp_rbuf_free(left);
			return result;
		case CRITERIA_AND:
		case CRITERIA_OR:
			left = mcdp_rbuf_copy(run->cx, candidates);
			for (const PlanNode *child = node->child; child != NULL; child = child->next)
				narrow(run, node, child, left);
			if (node->rule->op == CRITERIA_AND)
				return left;
			result = mcdp_rbuf_copy(run->cx, candidates);
			mcdp_rbuf_andnot(result, left);
			mcdp_rbuf_free(left);
			return result;
		default:
			return eval_leaf(run, node->rule, candidates);
	}
}

/* ---- nodes that need histories ---- */

/* Of whom a node holds for sure, and of whom it may.  New sets, disjoint. */
typedef struct Outcome
{
	Rbuf	   *sure;
	Rbuf	   *open;
} Outcome;

typedef struct InnerTerms
{
	AudienceRun *run;
	const Rbuf *candidates;
} InnerTerms;

static void
keep_inner_term(const CriteriaNode *node, void *arg)
{
	InnerTerms *inner = arg;
	AudienceRun *run = inner->run;

	run->sets[node->set] = node->op == CRITERIA_TAG ?
		mcdp_rbuf_copy(run->cx, get_tag(run, node->name)) :
		eval_trait(run, node, inner->candidates);
}

static Outcome
outcome(AudienceRun *run, const PlanNode *node, const Rbuf *candidates)
{
	bool		is_or = node->rule->op == CRITERIA_OR;
	Outcome		result,
				part;
	Rbuf	   *left;
	InnerTerms	inner = {run, candidates};

	check_stack_depth();
	if (plan_is_cheap(node))
	{
		result.sure = eval(run, node, candidates);
		result.open = mcdp_rbuf_create(run->cx);
		return result;
	}
	switch (node->rule->op)
	{
		case CRITERIA_NOT:
			part = outcome(run, node->child, candidates);
			result.sure = mcdp_rbuf_copy(run->cx, candidates);
			mcdp_rbuf_andnot(result.sure, part.sure);
			mcdp_rbuf_andnot(result.sure, part.open);
			result.open = part.open;
			mcdp_rbuf_free(part.sure);
			return result;
		case CRITERIA_AND:
		case CRITERIA_OR:
			break;
		default:
			mcdp_criteria_visit_tags(node->rule, keep_inner_term, &inner);
			mcdp_criteria_visit_traits(node->rule, keep_inner_term, &inner);
			result.sure = mcdp_rbuf_create(run->cx);
			result.open = mcdp_rbuf_copy(run->cx, candidates);
			return result;
	}

	/* Whom no operand has decided yet; OR works with complements, see narrow. */
	left = mcdp_rbuf_copy(run->cx, candidates);
	result.open = mcdp_rbuf_create(run->cx);
	for (const PlanNode *child = node->child; child != NULL; child = child->next)
	{
		if (plan_is_cheap(child))
		{
			narrow(run, node, child, left);
			continue;
		}
		if (node->set != 0 && run->sets[node->set] == NULL)
			run->sets[node->set] = mcdp_rbuf_copy(run->cx, left);
		part = outcome(run, child, left);
		mcdp_rbuf_or(result.open, part.open);
		if (is_or)
			mcdp_rbuf_andnot(left, part.sure);
		else
		{
			mcdp_rbuf_or(part.sure, part.open);
			mcdp_rbuf_and(left, part.sure);
		}
		mcdp_rbuf_free(part.sure);
		mcdp_rbuf_free(part.open);
	}
	mcdp_rbuf_and(result.open, left);
	if (is_or)
	{
		result.sure = mcdp_rbuf_copy(run->cx, candidates);
		mcdp_rbuf_andnot(result.sure, left);
		mcdp_rbuf_free(left);
	}
	else
	{
		result.sure = left;
		mcdp_rbuf_andnot(left, result.open);
	}
	return result;
}

Rbuf	   *
mcdp_audience(MemoryContext cx, CriteriaNode *rule, const Rbuf *candidates,
			  TimestampTz at, Oid bitmap_type)
{
	return mcdp_audience_among(cx, rule, candidates, mcdp_rbuf_cardinality(candidates),
							   at, bitmap_type, NULL);
}

Rbuf	   *
mcdp_audience_among(MemoryContext cx, CriteriaNode *rule, const Rbuf *candidates,
					uint64 universe, TimestampTz at, Oid bitmap_type, AudienceDues *dues)
{
	AudienceRun *run = MemoryContextAllocZero(cx, sizeof(AudienceRun));
	MemoryContext old = MemoryContextSwitchTo(cx);
	Outcome		result;

	run->cx = cx;
	run->bitmap_type = bitmap_type;
	run->rule = rule;
	run->universe = universe;
	run->at = at;
	run->dues = dues;
	run->plan = mcdp_plan_make(rule);
	run->sets = palloc0(run->plan->nsets * sizeof(Rbuf *));
	result = outcome(run, run->plan->root, candidates);
	if (!mcdp_rbuf_is_empty(result.open))
	{
		Rbuf	   *seen = mcdp_rbuf_create(cx);
		Rbuf	   *others;

		run->sets[0] = result.open;
		mcdp_audience_histories(run, result.sure, seen);
		mcdp_rbuf_andnot(result.open, seen);
		others = eval(run, run->plan->root, result.open);
		mcdp_rbuf_or(result.sure, others);
	}
	MemoryContextSwitchTo(old);
	return result.sure;
}
