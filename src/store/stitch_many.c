/*-------------------------------------------------------------------------
 *
 * stitch_many.c
 *	  Many calls at once: looked up together, written together.
 *
 * The identifiers are looked up (stitch_many_names.c), what the calls change is
 * worked out in memory (stitch_many_plan.c, stitch_many_held.c) and written
 * (stitch_many_write.c).
 *
 * The stages are never inlined: bench/identity.sh tells them apart in a profile.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "store/stitch_many.h"

static bool
can_write(Lookup *lk)
{
	Target		t;

	if (XactReadOnly || IsInParallelMode() || IsolationUsesXactSnapshot())
		return false;
	if (!mcdp_target_open(&t, lk->link.rel, LINK_COLUMNS))
		return false;
	mcdp_target_close(&t);
	if (!mcdp_target_open(&t, lk->edge.rel, EDGE_COLUMNS))
		return false;
	mcdp_target_close(&t);
	return true;
}

void
mcdp_stitch_many(Lookup *lk, ManyCall *calls, int num, bool in_order, bool locking, bool others, bool may_be_later)
{
	Many		m = {0};
	Size		names = 0;
	bool		wait = true;

	m.lk = lk;
	m.calls = calls;
	m.waits = locking;
	if (lk->edge.rel == NULL)
		lk->edge = mcdp_open_keyed(lk->schema, "extra_edge", "extra_edge_pkey");
	m.may_write = can_write(lk);
	m.may_merge = mcdp_merges_freely(lk);
	for (int c = 0; c < num; c++)
		names += calls[c].num;
	mcdp_many_names(&m, num);
	m.profile = MemoryContextAllocHuge(CurrentMemoryContext, Max(num, 1) * sizeof(NewProfile));
	m.root = MemoryContextAllocHuge(CurrentMemoryContext, Max(names + num, 1) * sizeof(ManyRoot));
	m.evidence = MemoryContextAllocHuge(CurrentMemoryContext, Max(names, 1) * sizeof(Evidence));
	if (may_be_later)
		wait = mcdp_many_plan_around(&m, num);
	else
		mcdp_many_plan(&m, num, in_order);
	others |= m.left;

	/* waiting may make all this void: then mcdp_many_void says so */
	if (locking && (others || m.num_claimed + m.num_evidence + m.num_late > 0))
		mcdp_lock_identities(others);
	mcdp_many_lock_around(&m, num);
	mcdp_many_number(&m, num);
	mcdp_many_write(&m, wait);
}
