/*-------------------------------------------------------------------------
 *
 * stitch_many_names.c
 *	  The identifiers of many calls, and what is known about them.
 *
 * The index of identifiers is gone through once, in its order.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many_names.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "core/text_order.h"
#include "store/btree_run.h"
#include "store/stitch_many.h"
#include "store/tombstone.h"
#include "types/identifier.h"

/* a name as a call gives it; "number" counts those of all calls */
typedef struct GivenName
{
	uint64		key;
	struct varlena *id;
	int			number;
} GivenName;

#define TEXT_SORT sort_given
#define TEXT_SORT_ELEMENT GivenName
#define TEXT_SORT_ARG void
#define TEXT_SORT_OF(g, arg) (g)->id
#include "core/text_sort.h"

/* The distinct identifiers of all calls, by bytes. */
static pg_noinline void
collect_names(Many *m, int num)
{
	Size		total = 0;
	Size		n = 0;
	GivenName  *given;
	int		   *name_of;

	for (int c = 0; c < num; c++)
		total += m->calls[c].num;
	given = MemoryContextAllocHuge(CurrentMemoryContext, Max(total, 1) * sizeof(GivenName));
	name_of = MemoryContextAllocHuge(CurrentMemoryContext, Max(total, 1) * sizeof(int));
	m->names_of = palloc(Max(num, 1) * sizeof(int *));
	m->num_of = palloc0(Max(num, 1) * sizeof(int));
	m->given_of = palloc0(Max(num, 1) * sizeof(int *));
	for (int c = 0; c < num; c++)
	{
		m->names_of[c] = &name_of[n];
		for (int i = 0; i < m->calls[c].num; i++)
		{
			given[n].id = DatumGetIdentifierPP(m->calls[c].ids[i]);
			given[n].number = n;
			n++;
		}
	}
	sort_given(given, n, NULL);

	m->name = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(ManyName));
	for (Size i = 0; i < n; i++)
	{
		if (i == 0 || mcdp_compare_texts(given[i - 1].id, given[i].id) != 0)
		{
			ManyName   *name = &m->name[m->num_names++];

			memset(name, 0, sizeof(*name));
			name->id = PointerGetDatum(given[i].id);
			name->blocked = -1;
			name->profile = -1;
		}
		name_of[given[i].number] = m->num_names - 1;
	}
	pfree(given);
}

/* The links of names, in the order of their index. */
typedef struct LinkPass
{
	Lookup	   *lk;
	Relation	index;
	BtreeRun   *run;			/* or NULL */
	IndexFetchTableData *fetch;	/* of what the run finds */
	IndexScanDesc scan;			/* for the rest */
	TupleTableSlot *slot;
} LinkPass;

static bool
find_link(LinkPass *p, Datum id)
{
	ItemPointerData tids[4];
	int			num = p->run ? mcdp_run_find(p->run, id, tids, lengthof(tids)) : -1;
	ScanKeyData key;

	for (int i = 0; i < num; i++)
	{
		bool		again = false;

		if (table_index_fetch_tuple(p->fetch, &tids[i], p->lk->snapshot, p->slot, &again, NULL))
			return true;
	}
	if (num >= 0)
		return false;
	mcdp_identifier_key(p->lk, &key, 1, id);
	index_rescan(p->scan, &key, 1, NULL, 0);
	return index_getnext_slot(p->scan, ForwardScanDirection, p->slot);
}

/* Who has them: one pass over the index, in its order. */
static pg_noinline void
look_up_names(Many *m)
{
	Lookup	   *lk = m->lk;
	LinkPass	p = {lk};
	TupleTableSlot *link;
	bool		isnull;

	p.index = index_open(lk->link.index, AccessShareLock);
	p.run = mcdp_run_begin(lk->link.rel, p.index, BuildIndexInfo(p.index));
	p.fetch = table_index_fetch_begin(lk->link.rel);
	p.scan = mcdp_index_beginscan(lk->link.rel, p.index, lk->snapshot, 1);
	p.slot = link = table_slot_create(lk->link.rel, NULL);

	for (int i = 0; i < m->num_names; i++)
	{
		ManyName   *name = &m->name[i];
		struct varlena *id = (struct varlena *) DatumGetPointer(name->id);
		char	   *colon = memchr(VARDATA_ANY(id), ':', VARSIZE_ANY_EXHDR(id));
		const NamespaceRule *rule;

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (colon == NULL)
			elog(ERROR, "identifier has no namespace");
		rule = mcdp_namespace_rule(lk->rules, VARDATA_ANY(id), colon - VARDATA_ANY(id));
		name->priority = rule ? rule->priority : DEFAULT_PRIORITY;
		name->kind = rule ? rule->kind : NULL;

		if (!find_link(&p, name->id))
			continue;
		name->linked = true;
		name->link = link->tts_tid;
		name->leaf = DatumGetInt64(slot_getattr(link, LINK_PROFILE_ID, &isnull));
		name->at = DatumGetTimestampTz(slot_getattr(link, LINK_AT, &isnull));
		name->peer = slot_getattr(link, LINK_PEER, &isnull);
		if (!isnull)
			name->peer = datumCopy(name->peer, false, -1);
	}
	if (p.run)
		mcdp_run_end(p.run);
	ExecDropSingleTupleTableSlot(link);
	index_endscan(p.scan);
	table_index_fetch_end(p.fetch);
	index_close(p.index, AccessShareLock);
}

/* Mark those that are, or were, in quarantine: normally none. */
static void
look_up_quarantine(Many *m)
{
	Known	   *known = MemoryContextAllocHuge(CurrentMemoryContext, Max(m->num_names, 1) * sizeof(Known));
	Known	  **of = MemoryContextAllocHuge(CurrentMemoryContext, Max(m->num_names, 1) * sizeof(Known *));

	for (int i = 0; i < m->num_names; i++)
	{
		known[i].identifier = m->name[i].id;
		of[i] = &known[i];
	}
	if (mcdp_any_quarantined(m->lk, of, m->num_names))
	{
		for (int i = 0; i < m->num_names; i++)
			m->name[i].quarantined = mcdp_any_quarantined(m->lk, &of[i], 1);
	}
	pfree(of);
	pfree(known);
}

/* New names of those who were erased: their calls are left to _stitch, which refuses them. */
static void
look_up_tombstones(Many *m)
{
	Datum	   *ids = MemoryContextAllocHuge(CurrentMemoryContext, Max(m->num_names, 1) * sizeof(Datum));
	int		   *of = MemoryContextAllocHuge(CurrentMemoryContext, Max(m->num_names, 1) * sizeof(int));
	bool	   *found = palloc(Max(m->num_names, 1) * sizeof(bool));
	int			n = 0;

	for (int i = 0; i < m->num_names; i++)
	{
		if (m->name[i].linked)
			continue;
		ids[n] = m->name[i].id;
		of[n++] = i;
	}
	if (n > 0 && mcdp_find_tombstones(m->lk->schema, m->lk->snapshot, ids, n, found))
	{
		for (int i = 0; i < n; i++)
			if (found[i])
				m->name[of[i]].blocked = true;
	}
	pfree(found);
	pfree(of);
	pfree(ids);
}

void
mcdp_many_order_names(Many *m, int c, int num_given)
{
	int		   *of = m->names_of[c];
	int			num = 0;

	for (int i = 0; i < num_given; i++)
	{
		int			n = of[i];
		int			j;

		for (j = 0; j < num && of[j] != n; j++)
			;
		if (j < num)
			continue;
		for (j = num; j > 0 && m->name[of[j - 1]].priority < m->name[n].priority; j--)
			of[j] = of[j - 1];
		of[j] = n;
		num++;
	}
	m->num_of[c] = num;
}

void
mcdp_many_names(Many *m, int num)
{
	collect_names(m, num);
	look_up_names(m);
	look_up_quarantine(m);
	look_up_tombstones(m);
	for (int c = 0; c < num; c++)
	{
		Size		size = m->calls[c].num * sizeof(int);

		if (m->calls[c].either)
			m->given_of[c] = memcpy(palloc(size), m->names_of[c], size);
		if (m->calls[c].either || m->calls[c].is_foreign)
			m->num_of[c] = m->calls[c].num;		/* may be very many, and in any order */
		else
			mcdp_many_order_names(m, c, m->calls[c].num);
	}
}
