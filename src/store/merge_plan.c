/*-------------------------------------------------------------------------
 *
 * merge_plan.c
 *	  Merges that calls ask for: decided first, done later.
 *
 * Calls are gone through in their order; what one of them merges is one profile
 * for those after it.  The lowest id survives.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/merge_plan.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "store/merge_plan.h"
#include "store/merge_rows.h"
#include "store/tag_point.h"

typedef struct Into
{
	int64		merged;			/* the key */
	int64		survivor;
} Into;

static Into *
find_into(MergePlan *plan, int64 root)
{
	return plan->into ? hash_search(plan->into, &root, HASH_FIND, NULL) : NULL;
}

int64
mcdp_planned_root(MergePlan *plan, int64 root)
{
	int64		last = root;
	Into	   *into;

	while ((into = find_into(plan, last)) != NULL)
		last = into->survivor;
	/* so that chains stay short */
	while ((into = find_into(plan, root)) != NULL)
	{
		root = into->survivor;
		into->survivor = last;
	}
	return last;
}

int
mcdp_distinct_roots(Known *const *known, int num, int64 *root)
{
	int			n = 0;

	for (int i = 0; i < num; i++)
	{
		int			j;

		if (!known[i]->linked)
			continue;
		for (j = 0; j < n && root[j] != known[i]->root; j++)
			;
		if (j < n)
			continue;
		for (j = n++; j > 0 && root[j - 1] > known[i]->root; j--)
			root[j] = root[j - 1];
		root[j] = known[i]->root;
	}
	return n;
}

static void
add_merge(MergePlan *plan, const MergeCall *merge)
{
	Into	   *into;
	bool		found;

	if (plan->into == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(int64), .entrysize = sizeof(Into), .hcxt = CurrentMemoryContext};

		plan->into = hash_create("planned merges", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		plan->size = 16;
		plan->call = palloc(plan->size * sizeof(MergeCall));
	}
	if (plan->num == plan->size)
	{
		plan->size *= 2;
		plan->call = repalloc_huge(plan->call, plan->size * sizeof(MergeCall));
	}
	plan->call[plan->num++] = *merge;
	into = hash_search(plan->into, &merge->merged, HASH_ENTER, &found);
	Assert(!found);
	into->survivor = merge->survivor;
}

/*
 * All go into the lowest one.  The identifier that decides links each of the
 * others, so its own profile goes first.
 */
void
mcdp_plan_merges(MergePlan *plan, Lookup *lk, Known *const *known, int num, int64 via_root, int64 new_leaf, const StitchCall *call)
{
	Datum	   *evidence = palloc((num + 1) * sizeof(Datum));
	int64	   *root = palloc(num * sizeof(int64));
	int			num_roots = mcdp_distinct_roots(known, num, root);

	for (int pass = 0; pass < 2; pass++)
	{
		for (int r = 1; r < num_roots; r++)
		{
			int			n = 0;
			MergeCall	merge = {root[0], root[r], call->at, cstring_to_text("identifiers"), call->source};

			if ((root[r] == via_root) != (pass == 0))
				continue;
			evidence[n++] = known[0]->identifier;
			merge.leaf_a = known[0]->linked ? known[0]->leaf : new_leaf;
			for (int i = 0; i < num; i++)
			{
				if (!known[i]->linked || known[i]->root != (root[r] == via_root ? root[0] : root[r]))
					continue;
				if (n == 1)
					merge.leaf_b = known[i]->leaf;
				evidence[n++] = known[i]->identifier;
			}
			merge.evidence = PointerGetDatum(construct_array(evidence, n, lk->type->type_id, lk->type->typlen,
															 lk->type->typbyval, lk->type->typalign));
			add_merge(plan, &merge);
		}
	}
	pfree(root);
	pfree(evidence);
}

void
mcdp_do_merges(MergePlan *plan)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "merge", ALLOCSET_DEFAULT_SIZES);
	MergeRows  *rows = mcdp_merge_rows_begin(plan->num > 1);
	MemoryContext caller = MemoryContextSwitchTo(context);

	mcdp_tag_lock_merges(plan->num);
	for (int i = 0; i < plan->num; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) mcdp_merge_profiles(&plan->call[i], rows);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	mcdp_merge_rows_end(rows);
}
