/*-------------------------------------------------------------------------
 *
 * stitch_many_held.c
 *	  Many calls, planned around profiles that somebody else holds.
 *
 * Two sessions that merge a thousand people each nearly always have some in
 * common, and would go one after the other.  What has to do with these is left
 * for another transaction, if it is little.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many_held.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/multixact.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

#include "store/stitch_many.h"

/* As if nothing had been planned, but for what was looked up. */
static void
forget_plan(Many *m, const ManyName *before)
{
	for (int i = 0; i < m->num_names; i++)
	{
		ManyName	n = before[i];

		if (n.linked)
		{
			n.root = m->name[i].root;
			n.kind = m->name[i].kind;
			n.busy = m->name[i].busy;
		}
		m->name[i] = n;
	}
	m->num_profiles = m->num_evidence = m->num_roots = m->num_claimed = m->num_late = m->num_news = m->num_later = 0;
	memset(&m->merges, 0, sizeof(m->merges));
	m->left = false;
}

/* Is it of another transaction that is still under way? */
static bool
is_others(TransactionId xid)
{
	return !TransactionIdIsCurrentTransactionId(xid) && TransactionIdIsInProgress(xid);
}

/* Does somebody else hold or change the row of this profile? */
static bool
is_held(Lookup *lk, int64 root)
{
	TupleTableSlot *slot = mcdp_find_profile(lk, root, lk->snapshot);
	BufferHeapTupleTableSlot *row = (BufferHeapTupleTableSlot *) slot;
	HeapTupleHeader header;
	TransactionId holder = InvalidTransactionId;
	uint16		infomask = 0;
	bool		result = false;

	if (slot == NULL)
		return false;
	header = row->base.tuple->t_data;
	LockBuffer(row->buffer, BUFFER_LOCK_SHARE);
	if (HeapTupleSatisfiesUpdate(row->base.tuple, GetCurrentCommandId(false), row->buffer) == TM_BeingModified)
	{
		holder = HeapTupleHeaderGetRawXmax(header);
		infomask = header->t_infomask;
	}
	LockBuffer(row->buffer, BUFFER_LOCK_UNLOCK);

	if (infomask & HEAP_XMAX_IS_MULTI)
	{
		MultiXactMember *members;
		int			n = GetMultiXactIdMembers(holder, &members, false, HEAP_XMAX_IS_LOCKED_ONLY(infomask));

		for (int i = 0; i < n; i++)
			result |= is_others(members[i].xid);
		if (n > 0)
			pfree(members);
	}
	else if (TransactionIdIsValid(holder))
		result = is_others(holder);
	return result;
}

bool
mcdp_many_plan_around(Many *m, int num)
{
	Size		size = m->num_names * sizeof(ManyName);
	ManyName   *before = MemoryContextAllocHuge(CurrentMemoryContext, Max(size, 1));
	int64	   *held;
	int			num_held = 0;

	memcpy(before, m->name, size);
	mcdp_many_plan(m, num, false);
	mcdp_many_sort_roots(m);
	held = MemoryContextAllocHuge(CurrentMemoryContext, Max(m->num_roots, 1) * sizeof(int64));
	for (int i = 0; i < m->num_roots; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_held(m->lk, m->root[i]))
			held[num_held++] = m->root[i];
	}
	if (num_held > 0)
	{
		for (int i = 0; i < m->num_names; i++)
			m->name[i].busy = m->name[i].linked && bsearch(&m->name[i].root, held, num_held, sizeof(int64), mcdp_compare_roots) != NULL;
		forget_plan(m, before);
		mcdp_many_plan(m, num, false);
		if (m->num_later > m->num_news)
		{
			for (int i = 0; i < m->num_names; i++)
				m->name[i].busy = false;
			forget_plan(m, before);
			mcdp_many_plan(m, num, false);
			num_held = 0;
		}
	}
	pfree(held);
	pfree(before);
	return num_held == 0;
}
