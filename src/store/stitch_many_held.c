/*-------------------------------------------------------------------------
 *
 * stitch_many_held.c
 *	  Many calls, planned around profiles that somebody else holds.
 *
 * Two sessions that merge a thousand people each nearly always have some in
 * common, and would go one after the other.  What has to do with these is left
 * for another transaction, if it is little.  They are looked for before any lock
 * is taken, and once more when the others are locked: two that begin at the same
 * moment see nothing of each other at first, and one that did all again
 * for each such person would do so for nearly every batch.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many_held.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "core/id_order.h"
#include "store/stitch_many.h"

/* Plan anew, as if that had not been done before: only what was looked up stays, and who is busy. */
static void
plan_again(Many *m, int num)
{
	for (int i = 0; i < m->num_names; i++)
	{
		ManyName	n = m->before[i];

		if (n.linked)
		{
			n.root = m->name[i].root;
			n.row = m->name[i].row;
			n.kind = m->name[i].kind;
			n.busy = m->name[i].busy;
		}
		m->name[i] = n;
	}
	m->num_profiles = m->num_evidence = m->num_roots = m->num_claimed = m->num_late = m->num_news = m->num_later = 0;
	memset(&m->merges, 0, sizeof(m->merges));
	m->left = false;
	mcdp_many_plan(m, num, false);
	mcdp_many_sort_roots(m);
}

/* The row of the profile, with its page, or NULL. */
static BufferHeapTupleTableSlot *
fetch_root(Lookup *lk, ManyRoot *root)
{
	TupleTableSlot *slot = lk->profile_scan.slot;

	if (!ItemPointerIsValid(&root->row))
		slot = mcdp_find_profile(lk, root->id, lk->snapshot);
	else if (!table_tuple_fetch_row_version(lk->profile.rel, &root->row, lk->snapshot, slot))
		slot = NULL;
	return (BufferHeapTupleTableSlot *) slot;
}

/* Does somebody else hold or change the row of this profile? */
static bool
is_held(Lookup *lk, ManyRoot *root)
{
	BufferHeapTupleTableSlot *row = fetch_root(lk, root);

	return row != NULL && mcdp_row_is_held(row);
}

/* Names of these profiles, ascending. */
static void
mark_busy(Many *m, const int64 *held, int num)
{
	for (int i = 0; i < m->num_names; i++)
		if (m->name[i].linked && bsearch(&m->name[i].root, held, num, sizeof(int64), mcdp_compare_ids) != NULL)
			m->name[i].busy = true;
}

bool
mcdp_many_plan_around(Many *m, int num)
{
	Size		size = Max(m->num_names, 1) * sizeof(ManyName);
	int64	   *held;
	int			num_held = 0;

	m->before = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memcpy(m->before, m->name, size);
	mcdp_many_plan(m, num, false);
	mcdp_many_sort_roots(m);
	held = MemoryContextAllocHuge(CurrentMemoryContext, Max(m->num_roots, 1) * sizeof(int64));
	for (int i = 0; i < m->num_roots; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_held(m->lk, &m->root[i]))
			held[num_held++] = m->root[i].id;
	}
	if (num_held > 0)
	{
		mark_busy(m, held, num_held);
		plan_again(m, num);
		if (m->num_later > m->num_news)
		{
			for (int i = 0; i < m->num_names; i++)
				m->name[i].busy = false;
			plan_again(m, num);
			m->before = NULL;	/* it waits */
			num_held = 0;
		}
	}
	pfree(held);
	return num_held == 0;
}

/*
 * Locks the canonical profiles, but for those that somebody else has, or has
 * changed since they were looked up: returns these, ascending.
 */
static int
lock_roots(Many *m, int64 *held)
{
	Snapshot	now;
	TupleTableSlot *slot = table_slot_create(m->lk->link.rel, NULL);
	int			num = 0;
	int			num_by_row;

	for (int i = 0; i < m->num_roots; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!mcdp_many_lock(m, &m->root[i], false))
			held[num++] = m->root[i].id;
	}
	num_by_row = num;
	now = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < m->num_names; i++)
	{
		ManyName   *n = &m->name[i];

		CHECK_FOR_INTERRUPTS();
		if (n->involved && bsearch(&n->root, held, num_by_row, sizeof(int64), mcdp_compare_ids) == NULL && !mcdp_many_holds(m, n, now, slot))
			held[num++] = n->root;
	}
	UnregisterSnapshot(now);
	ExecDropSingleTupleTableSlot(slot);
	qsort(held, num, sizeof(int64), mcdp_compare_ids);
	return num;
}

void
mcdp_many_lock_around(Many *m, int num)
{
	bool		left = m->left;
	int64	   *held;
	int			num_held;

	/* not before an identifier is claimed or changed */
	if (m->before == NULL || m->num_roots == 0 || m->num_claimed + m->num_late > 0)
		return;
	held = MemoryContextAllocHuge(CurrentMemoryContext, (m->num_roots + m->num_names) * sizeof(int64));
	for (int pass = 0; (num_held = lock_roots(m, held)) > 0; pass++)
	{
		mark_busy(m, held, num_held);
		plan_again(m, num);
		/* it was to be little */
		if (pass == 2 || m->left != left || m->num_later > m->num_news || m->num_claimed + m->num_late > 0)
			mcdp_many_void(m);
	}
	m->locked = true;
	pfree(held);
}
