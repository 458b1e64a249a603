/*-------------------------------------------------------------------------
 *
 * merge_plan.h
 *	  Merges that calls ask for: decided first, done later.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/merge_plan.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_MERGE_PLAN_H
#define MCDP_MERGE_PLAN_H

#include "store/merge.h"
#include "store/stitch.h"
#include "utils/hsearch.h"

typedef struct MergePlan
{
	HTAB	   *into;			/* canonical profiles that will be merged; NULL: none */
	MergeCall  *call;
	int			num;
	int			size;
} MergePlan;

/* What this canonical profile will be merged into, or itself. */
extern int64 mcdp_planned_root(MergePlan *plan, int64 root);

/* The roots of those that are known, ascending; returns how many. */
extern int	mcdp_distinct_roots(Known *const *known, int num, int64 *root);

/*
 * One call says that those of "known" (highest priority first) that are linked
 * are one; their roots are what the plan makes of them so far.  The profile
 * that decides is via_root; if known[0] is not linked yet, new_leaf gets it.
 */
extern void mcdp_plan_merges(MergePlan *plan, Lookup *lk, Known *const *known, int num, int64 via_root, int64 new_leaf, const StitchCall *call);

/* The caller holds the locks of all of them. */
extern void mcdp_do_merges(MergePlan *plan);

#endif							/* MCDP_MERGE_PLAN_H */
