/*-------------------------------------------------------------------------
 *
 * stitch_many_write.c
 *	  What many calls change, written in the order of the locks.
 *
 * Identifiers by bytes, the profiles that get some ascending, evidence by bytes.
 * So two sessions that do this never wait for each other in a circle.  When
 * somebody else turns out to have claimed an identifier, or to have merged a
 * profile, what was worked out is void: the error CDP02 says so, and the caller
 * does it all again in a new subtransaction, when whom it names has been waited
 * for (_await).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many_write.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/text_order.h"
#include "store/stitch_many.h"
#include "store/tombstone.h"

static inline int
compare_evidence(const Evidence *a, const Evidence *b)
{
	if (a->a != b->a)
		return a->a < b->a ? -1 : 1;
	if (a->b != b->b)
		return a->b < b->b ? -1 : 1;
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return (a->call > b->call) - (a->call < b->call);
}

#define ST_SORT sort_evidence
#define ST_ELEMENT_TYPE Evidence
#define ST_COMPARE(a, b) compare_evidence(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

void
mcdp_many_void(const Many *m)
{
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE('C', 'D', 'P', '0', m->waits ? '2' : '1')),
			 errmsg("another session was first")));
}

/* Somebody else has claimed the identifier of this row, or is about to. */
static void
is_claimed(const Many *m, TupleTableSlot *link)
{
	bool		isnull;

	ereport(ERROR,
			(errcode(MAKE_SQLSTATE('C', 'D', 'P', '0', m->waits ? '2' : '1')),
			 errmsg_internal("identifier"),
			 errdetail_internal("%s", TextDatumGetCString(slot_getattr(link, LINK_IDENTIFIER, &isnull)))));
}

/* Can the evidence stand in the link of "name", which is to be inserted?  See 21_identity.sql. */
static bool
put_in_link(const Evidence *e, const StitchCall *call, ManyName *name, const ManyName *peer)
{
	if (!name->claimed || name->peer != 0 || name->leaf != peer->leaf || name->at != e->at)
		return false;
	if (name->source != call->source &&
		(name->source == NULL || call->source == NULL || mcdp_compare_texts(name->source, call->source) != 0))
		return false;
	name->peer = peer->id;
	name->message_id = call->message_id;
	return true;
}

/*
 * What evidence comes into a link?  That which needs a row is left.  The
 * earliest call of each pair says it all.
 */
static void
place_evidence(Many *m)
{
	int			num = 0;
	int			last_a = -1;
	int			last_b = -1;

	sort_evidence(m->evidence, m->num_evidence);
	for (int i = 0; i < m->num_evidence; i++)
	{
		Evidence	e = m->evidence[i];
		ManyName   *a = &m->name[e.a];
		ManyName   *b = &m->name[e.b];
		const StitchCall *call = &m->calls[e.call].call;
		bool		by_a = m->names_of[e.call][0] == e.a;

		if (e.a == last_a && e.b == last_b)
			continue;
		last_a = e.a;
		last_b = e.b;
		if (!put_in_link(&e, call, by_a ? b : a, by_a ? a : b) && !put_in_link(&e, call, by_a ? a : b, by_a ? b : a))
			m->evidence[num++] = e;
	}
	m->num_evidence = num;
}

static pg_noinline void
write_claims(Many *m)
{
	Target		t;
	Datum	   *claimed;
	int			num = 0;

	if (m->num_claimed == 0)
		return;
	claimed = MemoryContextAllocHuge(CurrentMemoryContext, m->num_claimed * sizeof(Datum));
	if (!mcdp_target_open(&t, m->lk->link.rel, LINK_COLUMNS))
		elog(ERROR, "cannot insert into identifier_link");	/* was asked before */
	for (int i = 0; i < m->num_names; i++)
	{
		ManyName   *n = &m->name[i];

		if (!n->claimed)
			continue;
		CHECK_FOR_INTERRUPTS();
		mcdp_set_link(&t, n->id, n->leaf, n->at, n->source, n->peer, n->message_id);
		if (!mcdp_target_gather(&t, true))
			is_claimed(m, t.slot);
		claimed[num++] = n->id;
	}
	if (!mcdp_target_flush(&t, true))
		is_claimed(m, t.slot);
	mcdp_target_close(&t);
	if (mcdp_claimed_tombstone(m->lk->schema, claimed, num))
		mcdp_many_void(m);
	pfree(claimed);
}

/*
 * As long as the row that was found is there nobody has changed it, and what is
 * canonical and locked stays so.
 */
bool
mcdp_many_holds(Many *m, ManyName *n, Snapshot now, TupleTableSlot *slot)
{
	if (n->leaf == n->root && table_tuple_fetch_row_version(m->lk->link.rel, &n->link, now, slot))
		return true;
	return mcdp_still_linked(m->lk, now, n->id, n->leaf, n->root);
}

bool
mcdp_many_lock(Many *m, ManyRoot *root, bool wait)
{
	return mcdp_lock_root(m->lk, root->id, ItemPointerIsValid(&root->row) ? &root->row : NULL, wait);
}

/* From here on nobody merges or parts these profiles. */
static void
lock_roots(Many *m, bool wait)
{
	Snapshot	now;
	TupleTableSlot *slot;

	if (m->num_roots == 0 || m->locked)
		return;
	mcdp_many_sort_roots(m);
	for (int i = 0; i < m->num_roots; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!mcdp_many_lock(m, &m->root[i], wait && m->waits))
			mcdp_many_void(m);
	}
	now = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(m->lk->link.rel, NULL);
	for (int i = 0; i < m->num_names; i++)
	{
		ManyName   *n = &m->name[i];

		if (n->involved && !mcdp_many_holds(m, n, now, slot))
			mcdp_many_void(m);
	}
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(now);
}

/* Evidence that is there already, but overruled or of a later call, is changed in SQL. */
static void
change_edge(Many *m, const Evidence *e)
{
	static SPIPlanPtr plan = NULL;
	StitchCall *call = &m->calls[e->call].call;
	Oid			types[5] = {TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum		other = m->name[e->b].id;
	Datum		values[5];
	char		nulls[6] = {' ', ' ', ' ', call->source ? ' ' : 'n', call->message_id ? ' ' : 'n', 0};

	values[0] = m->name[e->a].id;
	values[1] = PointerGetDatum(construct_array(&other, 1, TEXTOID, -1, false, TYPALIGN_INT));
	values[2] = TimestampTzGetDatum(e->at);
	values[3] = PointerGetDatum(call->source);
	values[4] = PointerGetDatum(call->message_id);
	mcdp_run("SELECT cdp._add_edges($1::cdp.identifier, $2::cdp.identifier[], $3, $4, $5)", &plan, 5, types, values, nulls);
}

static void
write_evidence(Many *m)
{
	Target		t;
	Snapshot	now;

	if (m->num_evidence == 0)
		return;
	if (!mcdp_target_open(&t, m->lk->edge.rel, EDGE_COLUMNS))
		elog(ERROR, "cannot insert into extra_edge");
	now = RegisterSnapshot(GetLatestSnapshot());	/* the profiles are ours by now */
	for (int i = 0; i < m->num_evidence; i++)
	{
		Evidence   *e = &m->evidence[i];
		ManyName   *a = &m->name[e->a];
		ManyName   *b = &m->name[e->b];
		StitchCall *call = &m->calls[e->call].call;
		bool		holds = false;

		CHECK_FOR_INTERRUPTS();
		/* evidence about one that we have just claimed cannot be there */
		if (a->linked && b->linked && mcdp_find_edge(m->lk, now, a->id, b->id, e->at, &holds))
		{
			if (!holds)
				change_edge(m, e);
			continue;
		}
		mcdp_set_edge(&t, a->id, b->id, e->at, call->source, call->message_id);
		(void) mcdp_target_gather(&t, false);
	}
	(void) mcdp_target_flush(&t, false);
	UnregisterSnapshot(now);
	mcdp_target_close(&t);
}

void
mcdp_many_write(Many *m, bool wait)
{
	place_evidence(m);
	write_claims(m);
	mcdp_many_move_links_back(m);
	lock_roots(m, wait);
	mcdp_many_move_profiles_back(m);
	mcdp_make_profiles(m->lk, m->profile, m->num_profiles);
	write_evidence(m);
	if (m->num_claimed + m->num_evidence > 0)
		CommandCounterIncrement();
	if (m->merges.num > 0)
		mcdp_do_merges(&m->merges);
}
