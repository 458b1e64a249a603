/*-------------------------------------------------------------------------
 *
 * audience.c
 *	  Which candidates satisfy a rule?
 *
 * A node of the rule maps a set of candidates to a subset of it.  AND hands
 * the survivors of one operand to the next, OR the rest; operands go in order
 * of what they cost: tags are bitmaps, traits are one scan of one trait,
 * histories are read only for the candidates that are left, once for all
 * operands that need nothing else.
 *
 * Comparisons and everything about histories is decided by the evaluator of
 * single profiles, candidate by candidate, so that both ways of asking agree.
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
#include "utils/memutils.h"

#include "store/audience.h"

#define BATCH				1000	/* profiles with traits fetched together */
#define FETCH_HISTORIES		64
#define MANY_CANDIDATES		20000	/* from here on, scan the whole trait */

/*
 * What the evaluator of single profiles asks for: the members of a tag, the
 * values of a trait among the profiles of a batch.
 */
typedef struct NamedTag
{
	const char *name;
	Rbuf	   *members;
	struct NamedTag *next;
} NamedTag;

typedef struct NamedTrait
{
	const char *name;
	uint64		ids[BATCH];		/* ascending */
	CriteriaConst values[BATCH];
	int			n;
	struct NamedTrait *next;
} NamedTrait;

typedef struct AudienceRun
{
	MemoryContext cx;			/* of this evaluation */
	MemoryContext batch_cx;		/* texts of the traits of one batch */
	CriteriaEnv env;
	Oid			bitmap_type;
	uint64		universe;		/* how many profiles there are, candidates or not */
	NamedTag   *tags;
	NamedTrait *traits;			/* those the histories in hand are asked with */
	uint64		id;				/* the candidate in hand */
} AudienceRun;

/* What an operand costs, and how it is evaluated. */
typedef enum OperandCost
{
	COST_TAGS,
	COST_TRAITS,
	COST_HISTORIES,				/* histories and hardly anything else */
	COST_MIXED					/* an AND, OR or NOT of several kinds */
} OperandCost;

static Rbuf *eval(AudienceRun *run, const CriteriaNode *node, const Rbuf *candidates);

static const Rbuf *
get_tag(AudienceRun *run, const char *name)
{
	NamedTag   *tag;

	for (tag = run->tags; tag != NULL; tag = tag->next)
		if (strcmp(tag->name, name) == 0)
			return tag->members;
	tag = MemoryContextAlloc(run->cx, sizeof(NamedTag));
	tag->name = name;
	tag->members = mcdp_source_tagged(run->cx, name);
	tag->next = run->tags;
	run->tags = tag;
	return tag->members;
}

static bool
run_has_tag(void *arg, const char *name)
{
	AudienceRun *run = arg;

	return mcdp_rbuf_contains(get_tag(run, name), run->id);
}

static bool
run_trait(void *arg, const char *name, CriteriaConst *out)
{
	AudienceRun *run = arg;

	for (NamedTrait *trait = run->traits; trait != NULL; trait = trait->next)
	{
		int			low = 0,
					high = trait->n;

		if (strcmp(trait->name, name) != 0)
			continue;
		while (low < high)
		{
			int			middle = low + (high - low) / 2;

			if (trait->ids[middle] < run->id)
				low = middle + 1;
			else
				high = middle;
		}
		if (low == trait->n || trait->ids[low] != run->id)
			return false;
		*out = trait->values[low];
		return true;
	}
	elog(ERROR, "trait \"%s\" was not fetched", name);
}

/* ---- traits ---- */

typedef struct TraitScan
{
	const CriteriaNode *node;
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
		mcdp_criteria_compare(value, scan->node->cmp, scan->node->consts, scan->node->num_consts))
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
	TraitScan	scan = {node, candidates, NULL, mcdp_rbuf_create(run->cx)};
	Rbuf	   *one_by_one = mcdp_rbuf_copy(run->cx, candidates);
	int64	   *ids = MemoryContextAlloc(run->cx, BATCH * sizeof(int64));
	RbufIter	it;
	int			n;

	if (mcdp_rbuf_cardinality(candidates) >= MANY_CANDIDATES)
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

/* ---- histories ---- */

static void
take_trait(void *arg, uint64 id, const CriteriaConst *value)
{
	NamedTrait *trait = arg;

	trait->ids[trait->n] = id;
	trait->values[trait->n++] = *value;
}

static void
list_tag(const CriteriaNode *node, void *arg)
{
	get_tag(arg, node->name);
}

static void
list_trait(const CriteriaNode *node, void *arg)
{
	AudienceRun *run = arg;
	NamedTrait *trait;

	for (trait = run->traits; trait != NULL; trait = trait->next)
		if (strcmp(trait->name, node->name) == 0)
			return;
	trait = MemoryContextAlloc(run->cx, sizeof(NamedTrait));
	trait->name = node->name;
	trait->n = 0;
	trait->next = run->traits;
	run->traits = trait;
}

/* The traits of the next profiles, for run_trait. */
static void
fetch_traits(AudienceRun *run, const int64 *ids, int n)
{
	MemoryContext old;

	if (run->traits == NULL || n == 0)
		return;
	MemoryContextReset(run->batch_cx);
	old = MemoryContextSwitchTo(run->batch_cx);
	for (NamedTrait *trait = run->traits; trait != NULL; trait = trait->next)
	{
		trait->n = 0;
		mcdp_source_traits(ids, n, trait->name, take_trait, trait);
		for (int i = 0; i < trait->n; i++)
			if (trait->values[i].type == CRITERIA_TEXT)
				trait->values[i].text = pnstrdup(trait->values[i].text, trait->values[i].len);
	}
	MemoryContextSwitchTo(old);
}

/* Some operands, which hold together (AND) or apart (OR). */
typedef struct Operands
{
	const CriteriaNode **nodes;
	int			n;
	bool		any;			/* one of them is enough */
} Operands;

static bool
operands_hold(AudienceRun *run, const Operands *operands, uint64 id)
{
	run->id = id;
	for (int i = 0; i < operands->n; i++)
		if (mcdp_criteria_holds(operands->nodes[i], &run->env) == operands->any)
			return operands->any;
	return !operands->any;
}

/* The candidates in "rest" whose histories come; they are taken out of it. */
static void
eval_with_history(AudienceRun *run, const Operands *operands, Portal portal,
				  Rbuf *rest, Rbuf *result)
{
	int64		ids[FETCH_HISTORIES];
	int64		wanted[FETCH_HISTORIES];

	for (;;)
	{
		SPITupleTable *rows;
		uint64		nrows;
		int			nwanted = 0;

		SPI_cursor_fetch(portal, true, FETCH_HISTORIES);
		rows = SPI_tuptable;	/* fetching traits overwrites it */
		nrows = SPI_processed;
		if (nrows == 0)
			break;
		for (uint64 i = 0; i < nrows; i++)
		{
			bool		isnull;

			ids[i] = DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
			if (mcdp_rbuf_contains(rest, ids[i]))
				wanted[nwanted++] = ids[i];
		}
		fetch_traits(run, wanted, nwanted);
		for (uint64 i = 0; i < nrows; i++)
		{
			TimelineView view;
			Timeline   *timeline;
			Datum		value;
			bool		isnull;

			CHECK_FOR_INTERRUPTS();
			if (!mcdp_rbuf_contains(rest, ids[i]))
				continue;
			mcdp_rbuf_remove(rest, ids[i]);
			value = SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull);
			timeline = isnull ? NULL : DatumGetTimelineP(value);
			if (timeline != NULL)
			{
				mcdp_timeline_open(&view, timeline);
				run->env.timeline = &view;
			}
			if (operands_hold(run, operands, ids[i]))
				mcdp_rbuf_add(result, ids[i]);
			run->env.timeline = NULL;
			if (timeline != NULL && (Pointer) timeline != DatumGetPointer(value))
				pfree(timeline);
		}
		SPI_freetuptable(rows);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(portal);
}

/* Candidates without: all alike, unless tags or traits are asked for too. */
static void
eval_without_history(AudienceRun *run, const Operands *operands, const Rbuf *rest,
					 bool alike, Rbuf *result)
{
	int64	   *ids;
	RbufIter	it;
	int			n;

	if (alike)
	{
		if (operands_hold(run, operands, 0))
			mcdp_rbuf_or(result, rest);
		return;
	}
	ids = MemoryContextAlloc(run->cx, BATCH * sizeof(int64));
	mcdp_rbuf_iter_init(&it, rest);
	while ((n = next_batch(&it, ids)) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		fetch_traits(run, ids, n);
		for (int i = 0; i < n; i++)
			if (operands_hold(run, operands, ids[i]))
				mcdp_rbuf_add(result, ids[i]);
	}
	pfree(ids);
}

static Rbuf *
eval_histories(AudienceRun *run, const Operands *operands, const Rbuf *candidates)
{
	Rbuf	   *result = mcdp_rbuf_create(run->cx);
	Rbuf	   *rest,
			   *split;
	bool		alike = true;

	if (mcdp_rbuf_is_empty(candidates))
		return result;
	rest = mcdp_rbuf_copy(run->cx, candidates);
	split = mcdp_source_split_histories(run->cx);
	mcdp_rbuf_and(split, candidates);
	mcdp_rbuf_andnot(rest, split);
	run->traits = NULL;
	for (int i = 0; i < operands->n; i++)
	{
		if (mcdp_criteria_needs_tags(operands->nodes[i]) ||
			mcdp_criteria_needs_traits(operands->nodes[i]))
			alike = false;
		mcdp_criteria_visit_tags(operands->nodes[i], list_tag, run);
		mcdp_criteria_visit_traits(operands->nodes[i], list_trait, run);
	}
	/* One scan of all is cheaper than looking up many. */
	eval_with_history(run, operands,
					  mcdp_source_sole_timelines(mcdp_rbuf_cardinality(rest) > run->universe / 8 ? NULL : rest,
												 run->bitmap_type),
					  rest, result);
	if (!mcdp_rbuf_is_empty(split))
		eval_with_history(run, operands, mcdp_source_timelines(split, run->bitmap_type),
						  split, result);
	mcdp_rbuf_or(rest, split);
	mcdp_rbuf_free(split);
	eval_without_history(run, operands, rest, alike, result);
	mcdp_rbuf_free(rest);
	return result;
}

/* ---- nodes ---- */

static OperandCost
operand_cost(const CriteriaNode *node)
{
	bool		tags = mcdp_criteria_needs_tags(node);
	bool		traits = mcdp_criteria_needs_traits(node);

	if (!mcdp_criteria_needs_timeline(node))
		return traits ? COST_TRAITS : COST_TAGS;
	if (node->op == CRITERIA_AND || node->op == CRITERIA_OR || node->op == CRITERIA_NOT)
		return tags || traits ? COST_MIXED : COST_HISTORIES;
	return COST_HISTORIES;
}

/*
 * AND: candidates shrink to those that satisfy every operand so far.  OR:
 * the complement of AND of complements, so here "left" are the candidates that
 * satisfy no operand so far.
 */
static Rbuf *
eval_and_or(AudienceRun *run, const CriteriaNode *node, const Rbuf *candidates)
{
	bool		is_or = node->op == CRITERIA_OR;
	Rbuf	   *left = mcdp_rbuf_copy(run->cx, candidates);
	Operands	histories = {NULL, 0, is_or};

	histories.nodes = MemoryContextAlloc(run->cx, node->num_children * sizeof(CriteriaNode *));
	for (OperandCost cost = COST_TAGS; cost <= COST_MIXED; cost++)
	{
		for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
		{
			Rbuf	   *found;

			if (mcdp_rbuf_is_empty(left))
				break;
			if (operand_cost(child) != cost)
				continue;
			if (cost == COST_HISTORIES)
			{
				histories.nodes[histories.n++] = child;
				continue;
			}
			found = eval(run, child, left);
			if (is_or)
				mcdp_rbuf_andnot(left, found);
			else
				mcdp_rbuf_and(left, found);
			mcdp_rbuf_free(found);
		}
		if (cost == COST_HISTORIES && histories.n > 0 && !mcdp_rbuf_is_empty(left))
		{
			Rbuf	   *found = eval_histories(run, &histories, left);

			if (is_or)
				mcdp_rbuf_andnot(left, found);
			else
				mcdp_rbuf_and(left, found);
			mcdp_rbuf_free(found);
		}
	}
	pfree(histories.nodes);
	if (is_or)
	{
		Rbuf	   *result = mcdp_rbuf_copy(run->cx, candidates);

		mcdp_rbuf_andnot(result, left);
		mcdp_rbuf_free(left);
		return result;
	}
	return left;
}

/* A new set. */
static Rbuf *
eval(AudienceRun *run, const CriteriaNode *node, const Rbuf *candidates)
{
	Rbuf	   *result,
			   *found;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	switch (node->op)
	{
		case CRITERIA_ALL:
			return mcdp_rbuf_copy(run->cx, candidates);
		case CRITERIA_NONE:
			return mcdp_rbuf_create(run->cx);
		case CRITERIA_TAG:
			/* Not kept: rules that name a tag twice are rarer than long ones. */
			result = mcdp_source_tagged(run->cx, node->name);
			mcdp_rbuf_and(result, candidates);
			return result;
		case CRITERIA_NOT:
			result = mcdp_rbuf_copy(run->cx, candidates);
			found = eval(run, node->child, candidates);
			mcdp_rbuf_andnot(result, found);
			mcdp_rbuf_free(found);
			return result;
		case CRITERIA_AND:
		case CRITERIA_OR:
			return eval_and_or(run, node, candidates);
		case CRITERIA_COMPARE:
			if (node->measure == CRITERIA_TRAIT)
				return eval_trait(run, node, candidates);
			/* FALLTHROUGH */
		case CRITERIA_SEQ:
		case CRITERIA_ANY:
			{
				Operands	one = {&node, 1, false};

				return eval_histories(run, &one, candidates);
			}
	}
	elog(ERROR, "unrecognized criteria operation: %d", (int) node->op);
}

Rbuf *
mcdp_audience(MemoryContext cx, const CriteriaNode *rule, const Rbuf *candidates,
			  TimestampTz at, Oid bitmap_type)
{
	return mcdp_audience_among(cx, rule, candidates, mcdp_rbuf_cardinality(candidates),
							   at, bitmap_type);
}

Rbuf *
mcdp_audience_among(MemoryContext cx, const CriteriaNode *rule, const Rbuf *candidates,
					uint64 universe, TimestampTz at, Oid bitmap_type)
{
	AudienceRun *run = MemoryContextAllocZero(cx, sizeof(AudienceRun));

	run->cx = cx;
	run->batch_cx = AllocSetContextCreate(cx, "audience batch", ALLOCSET_DEFAULT_SIZES);
	run->bitmap_type = bitmap_type;
	run->universe = universe;
	run->env.at = at;
	run->env.has_tag = run_has_tag;
	run->env.trait = run_trait;
	run->env.arg = run;
	return eval(run, rule, candidates);
}
