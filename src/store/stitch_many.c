/*-------------------------------------------------------------------------
 *
 * stitch_many.c
 *	  Many calls at once: looked up together, written together.
 *
 * The calls are gone through in their order, in memory: who is known, who is
 * new, to which leaf does each new identifier go, what evidence is there.
 * That is what _stitch would do with one after the other, as long as they are
 * plain (stitch_write.c); those that are not, and those that hang on one of
 * them, are left to it.
 *
 * Then everything is written in the order of the locks: identifiers by bytes,
 * the profiles that get some ascending, evidence by bytes.  So two sessions
 * that do this never wait for each other in a circle.  When somebody else
 * turns out to have claimed an identifier, or to have merged a profile, what
 * was worked out is void: the error CDP02 says so, and the caller does it all
 * again in a new subtransaction.
 *
 * The stages are never inlined: bench/identity.sh tells them apart in a profile.
 *
 * Wording: a name is an identifier of these calls, each once.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/multixact.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "core/text_order.h"
#include "store/merge_plan.h"
#include "store/stitch.h"
#include "store/tombstone.h"
#include "types/identifier.h"

typedef struct ManyName
{
	Datum		id;
	bool		linked;			/* was so before */
	bool		claimed;		/* is to be linked now */
	bool		hangs;			/* on a call that is left to _stitch */
	bool		waits;			/* on a call that is left for later */
	bool		busy;			/* linked before, and somebody else holds its profile */
	bool		involved;		/* linked before, and its profile gets something */
	bool		quarantined;
	int8		blocked;		/* -1: not looked at */
	int64		leaf;
	int64		root;			/* 0: linked before, and not looked up yet */
	TimestampTz at;
	text	   *kind;			/* of the profile or else the namespace, or NULL */
	text	   *source;
	Datum		peer;			/* of the evidence that is or comes into the link, or 0 */
	text	   *message_id;		/* of what comes into it */
	int32		priority;
	int			profile;		/* in NewProfile[], or -1 */
} ManyName;

/* evidence: names by number, the smaller one first */
typedef struct Evidence
{
	int			a;
	int			b;
	TimestampTz at;
	int			call;
} Evidence;

typedef struct Many
{
	Lookup	   *lk;
	ManyCall   *calls;
	ManyName   *name;
	int			num_names;
	int		  **names_of;		/* of each call, highest priority first */
	int		   *num_of;
	NewProfile *profile;
	int			num_profiles;
	Evidence   *evidence;
	int			num_evidence;
	int64	   *root;			/* canonical profiles that get something, or are merged */
	int			num_roots;
	int			num_claimed;
	MergePlan	merges;
	int			num_later;
	int			num_news;		/* calls that change something */
	bool		left;			/* some call is left to _stitch */
	bool		may_write;
	bool		may_merge;
} Many;

/* where a name stands in the calls, to sort by */
typedef struct Place
{
	struct varlena *id;
	int			call;
	int			pos;
} Place;

static int
compare_places(const void *a, const void *b)
{
	return mcdp_compare_texts(((const Place *) a)->id, ((const Place *) b)->id);
}

static int
compare_evidence(const void *x, const void *y)
{
	const Evidence *a = x;
	const Evidence *b = y;

	if (a->a != b->a)
		return a->a < b->a ? -1 : 1;
	if (a->b != b->b)
		return a->b < b->b ? -1 : 1;
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return (a->call > b->call) - (a->call < b->call);
}

static int
compare_roots(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* Ascending, each once. */
static void
sort_roots(Many *m)
{
	qsort(m->root, m->num_roots, sizeof(int64), compare_roots);
	m->num_roots = qunique(m->root, m->num_roots, sizeof(int64), compare_roots);
}

static void
somebody_else(void)
{
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE('C', 'D', 'P', '0', '2')),
			 errmsg("another session was first")));
}

/* The distinct identifiers of all calls, by bytes. */
static pg_noinline void
collect_names(Many *m, int num)
{
	Size		total = 0;
	Size		n = 0;
	Place	   *place;

	for (int c = 0; c < num; c++)
		total += m->calls[c].num;
	place = MemoryContextAllocHuge(CurrentMemoryContext, Max(total, 1) * sizeof(Place));
	m->names_of = palloc(Max(num, 1) * sizeof(int *));
	m->num_of = palloc0(Max(num, 1) * sizeof(int));
	for (int c = 0; c < num; c++)
	{
		m->names_of[c] = palloc(Max(m->calls[c].num, 1) * sizeof(int));
		for (int i = 0; i < m->calls[c].num; i++)
		{
			place[n].id = DatumGetIdentifierPP(m->calls[c].ids[i]);
			place[n].call = c;
			place[n].pos = i;
			n++;
		}
	}
	qsort(place, n, sizeof(Place), compare_places);

	m->name = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(ManyName));
	for (Size i = 0; i < n; i++)
	{
		if (i == 0 || mcdp_compare_texts(place[i - 1].id, place[i].id) != 0)
		{
			ManyName   *name = &m->name[m->num_names++];

			memset(name, 0, sizeof(*name));
			name->id = PointerGetDatum(place[i].id);
			name->blocked = -1;
			name->profile = -1;
		}
		m->names_of[place[i].call][place[i].pos] = m->num_names - 1;
	}
	pfree(place);
}

/* Who has them: one pass over the index, in its order. */
static pg_noinline void
look_up_names(Many *m)
{
	Lookup	   *lk = m->lk;
	Relation	link_index = index_open(lk->link.index, AccessShareLock);
	IndexScanDesc link_scan = mcdp_index_beginscan(lk->link.rel, link_index, lk->snapshot, 1);
	TupleTableSlot *link = table_slot_create(lk->link.rel, NULL);
	ScanKeyData key;
	bool		isnull;

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

		mcdp_identifier_key(lk, &key, 1, name->id);
		index_rescan(link_scan, &key, 1, NULL, 0);
		if (!index_getnext_slot(link_scan, ForwardScanDirection, link))
			continue;
		name->linked = true;
		name->leaf = DatumGetInt64(slot_getattr(link, LINK_PROFILE_ID, &isnull));
		name->at = DatumGetTimestampTz(slot_getattr(link, LINK_AT, &isnull));
		name->peer = slot_getattr(link, LINK_PEER, &isnull);
		if (!isnull)
			name->peer = datumCopy(name->peer, false, -1);
	}
	ExecDropSingleTupleTableSlot(link);
	index_endscan(link_scan);
	index_close(link_index, AccessShareLock);
}

/* The profile of one that was linked before. */
static void
look_up_profile(Many *m, ManyName *name)
{
	TupleTableSlot *slot = mcdp_find_profile(m->lk, name->leaf, m->lk->snapshot);
	bool		isnull;

	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("profile %lld of an identifier does not exist", (long long) name->leaf)));
	name->root = DatumGetInt64(slot_getattr(slot, PROFILE_CANONICAL_ID, &isnull));
	name->kind = DatumGetTextPCopy(slot_getattr(slot, PROFILE_KIND, &isnull));
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

/* Each name once, highest priority first, then as given. */
static void
order_names(Many *m, int c)
{
	int		   *of = m->names_of[c];
	int			num = 0;

	for (int i = 0; i < m->calls[c].num; i++)
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

static bool
is_blocked(Many *m, ManyName *name)
{
	if (name->blocked < 0)
		name->blocked = mcdp_identifier_is_blocked(m->lk->rules, name->id);
	return name->blocked;
}

/* Is there evidence for the first identifier of the call and each other one? */
static bool
is_evident(Many *m, int c)
{
	int		   *of = m->names_of[c];
	ManyName   *via = &m->name[of[0]];
	bool		holds = true;

	for (int i = 1; i < m->num_of[c] && holds; i++)
	{
		ManyName   *n = &m->name[of[i]];

		if (!mcdp_are_peers(via->id, via->peer, n->id, n->peer))
			(void) mcdp_find_edge(m->lk, m->lk->snapshot, via->id, n->id, m->calls[c].call.at, &holds);
	}
	return holds;
}

/* Is it the usual case: all are identifiers of one leaf, and that is evident?  Then no profile need be looked up. */
static bool
nothing_new(Many *m, int c)
{
	ManyCall   *call = &m->calls[c];
	text	   *kind = call->call.kind;
	int		   *of = m->names_of[c];

	/* nobody has to say "person" */
	if (kind != NULL && !(VARSIZE_ANY_EXHDR(kind) == 6 && memcmp(VARDATA_ANY(kind), "person", 6) == 0))
		return false;
	for (int i = 0; i < m->num_of[c]; i++)
	{
		ManyName   *n = &m->name[of[i]];

		if (!n->linked || n->at > call->call.at || n->leaf != m->name[of[0]].leaf)
			return false;
	}
	return is_evident(m, c);
}

/* The call says that profiles are one. */
static void
plan_merges(Many *m, int c, ManyName *owner)
{
	int		   *of = m->names_of[c];
	int			num = m->num_of[c];
	Known	   *known = palloc0(num * sizeof(Known));
	Known	  **order = palloc(num * sizeof(Known *));

	for (int i = 0; i < num; i++)
	{
		ManyName   *n = &m->name[of[i]];

		order[i] = &known[i];
		known[i].identifier = n->id;
		known[i].linked = n->linked || n->claimed;
		if (!known[i].linked)
			continue;
		known[i].leaf = n->leaf;
		known[i].root = mcdp_planned_root(&m->merges, n->root);
		if (n->profile < 0)
			m->root[m->num_roots++] = n->root;
	}
	mcdp_plan_merges(&m->merges, m->lk, order, num, mcdp_planned_root(&m->merges, owner->root), owner->leaf, &m->calls[c].call);
	pfree(order);
	pfree(known);
}

/* Can the call be done here?  If so, what does it change? */
static pg_noinline bool
plan_call(Many *m, int c)
{
	ManyCall   *call = &m->calls[c];
	TimestampTz at = call->call.at;
	int		   *of = m->names_of[c];
	int			num = m->num_of[c];
	ManyName   *via = &m->name[of[0]];
	ManyName   *owner = NULL;
	bool		fresh = false;
	bool		merge = false;
	bool		busy = false;
	bool		before = true;	/* all were linked before */
	bool		quarantined = false;
	text	   *first = NULL;
	text	   *kind;
	bool		some_without = false;

	if (nothing_new(m, c))
		return true;
	for (int i = 0; i < num; i++)
	{
		ManyName   *n = &m->name[of[i]];

		if (n->linked && n->root == 0)
			look_up_profile(m, n);
		if (n->waits)
			call->later = true;
		if (n->waits || n->hangs || (n->linked && n->at > at))
			return false;
		if (n->linked || n->claimed)
		{
			if (owner == NULL)
				owner = n;
			else if (mcdp_planned_root(&m->merges, owner->root) != mcdp_planned_root(&m->merges, n->root))
				merge = true;
		}
		else
			fresh = true;
		before &= n->linked;
		busy |= n->busy;
		quarantined |= n->quarantined;
		if (n->kind == NULL)
			some_without = true;
		else if (first == NULL)
			first = n->kind;
		else if (mcdp_compare_texts(first, n->kind) != 0)
			return false;
	}
	kind = mcdp_kind_of_call(call->call.kind, first, some_without);
	if (kind == NULL)
		return false;

	/* leaves of one profile */
	if (before && !merge && is_evident(m, c))
		return true;

	if (!m->may_write || ((fresh || merge) && call->only_known) || (merge && !m->may_merge))
		return false;
	if (num > 1 && quarantined)
		return false;
	for (int i = 0; i < num; i++)
	{
		if (is_blocked(m, &m->name[of[i]]) ||
			(num > 1 && mcdp_identifier_is_limited(m->lk->rules, m->name[of[i]].id, !m->name[of[i]].linked)))
			return false;
	}

	if (busy)
	{
		call->later = true;
		return false;
	}
	m->num_news++;
	if (merge)
		plan_merges(m, c, owner);
	if (owner == NULL)
	{
		NewProfile *p = &m->profile[m->num_profiles];

		/* one that was planned before has its id */
		if (p->id == 0)
			p->id = nextval_internal(get_relname_relid("profile_id_seq", m->lk->schema), true);
		p->kind = kind;
		p->at = at;
		via->leaf = via->root = p->id;
		via->profile = m->num_profiles++;
		via->kind = kind;
		owner = via;
	}
	else if (owner->profile < 0)
		m->root[m->num_roots++] = owner->root;
	for (int i = 0; i < num; i++)
	{
		ManyName   *n = &m->name[of[i]];

		if (!n->linked && !n->claimed)
		{
			n->claimed = true;
			n->leaf = owner->leaf;
			n->root = owner->root;
			n->profile = owner->profile;
			n->kind = kind;
			n->at = at;
			n->source = call->call.source;
			m->num_claimed++;
		}
		n->involved = n->linked;
		n->at = Min(n->at, at);
		if (n->profile >= 0)
			m->profile[n->profile].at = Min(m->profile[n->profile].at, at);
	}
	for (int i = 1; i < num; i++)
	{
		ManyName   *n = &m->name[of[i]];
		Evidence   *e;

		if (via->linked && n->linked && mcdp_are_peers(via->id, via->peer, n->id, n->peer))
			continue;
		e = &m->evidence[m->num_evidence++];
		e->a = Min(of[0], of[i]);
		e->b = Max(of[0], of[i]);
		e->at = at;
		e->call = c;
	}
	return true;
}

/* What do the calls change? */
static void
plan_calls(Many *m, int num, bool in_order)
{
	for (int c = 0; c < num; c++)
	{
		ManyCall   *call = &m->calls[c];

		CHECK_FOR_INTERRUPTS();
		call->later = false;
		call->done = m->num_of[c] > 0 && !(in_order && m->left) && plan_call(m, c);
		if (call->done)
		{
			ManyName   *via = &m->name[m->names_of[c][0]];

			call->via = via->id;
			call->leaf = via->leaf;
			continue;
		}
		if (call->later)
			m->num_later++;
		else
			m->left = true;
		for (int i = 0; i < m->num_of[c]; i++)
		{
			ManyName   *n = &m->name[m->names_of[c][i]];

			if (n->linked || n->claimed)
				continue;
			n->hangs |= !call->later;
			n->waits |= call->later;
		}
	}
}

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
	m->num_profiles = m->num_evidence = m->num_roots = m->num_claimed = m->num_news = m->num_later = 0;
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

/*
 * The same, but leaves for later what has to do with profiles that somebody
 * else holds.  Two sessions that merge a thousand people each nearly always
 * have some in common, and would go one after the other.  Returns whether to
 * wait for them all the same, because it is most of what there is to do.
 */
static bool
plan_around(Many *m, int num)
{
	Size		size = m->num_names * sizeof(ManyName);
	ManyName   *before = MemoryContextAllocHuge(CurrentMemoryContext, Max(size, 1));
	int64	   *held;
	int			num_held = 0;

	memcpy(before, m->name, size);
	plan_calls(m, num, false);
	sort_roots(m);
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
			m->name[i].busy = m->name[i].linked && bsearch(&m->name[i].root, held, num_held, sizeof(int64), compare_roots) != NULL;
		forget_plan(m, before);
		plan_calls(m, num, false);
		if (m->num_later > m->num_news)
		{
			for (int i = 0; i < m->num_names; i++)
				m->name[i].busy = false;
			forget_plan(m, before);
			plan_calls(m, num, false);
			num_held = 0;
		}
	}
	pfree(held);
	pfree(before);
	return num_held == 0;
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

	qsort(m->evidence, m->num_evidence, sizeof(Evidence), compare_evidence);
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
			somebody_else();
		claimed[num++] = n->id;
	}
	if (!mcdp_target_flush(&t, true))
		somebody_else();
	mcdp_target_close(&t);
	if (mcdp_claimed_tombstone(m->lk->schema, claimed, num))
		somebody_else();
	pfree(claimed);
}

/* From here on nobody merges or parts these profiles. */
static void
lock_roots(Many *m, bool wait)
{
	Snapshot	now;

	if (m->num_roots == 0)
		return;
	sort_roots(m);
	for (int i = 0; i < m->num_roots; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!mcdp_lock_root(m->lk, m->root[i], wait))
			somebody_else();
	}
	now = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < m->num_names; i++)
	{
		ManyName   *n = &m->name[i];

		if (n->involved && !mcdp_still_linked(m->lk, now, n->id, n->leaf, n->root))
			somebody_else();
	}
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

/*
 * Sessions that do this do not wait for each other in a circle, but one that
 * goes on to other calls has no order to keep: it goes alone.
 */
void
mcdp_lock_identities(bool alone)
{
	Datum		name = CStringGetTextDatum("marketing_cdp identities");	/* _identities_key */
	Datum		key = DirectFunctionCall2Coll(hashtextextended, DEFAULT_COLLATION_OID, name, Int64GetDatum(0));

	if (alone)
		DirectFunctionCall1(pg_advisory_xact_lock_int8, key);
	else
		DirectFunctionCall1(pg_advisory_xact_lock_shared_int8, key);
}

void
mcdp_stitch_many(Lookup *lk, ManyCall *calls, int num, bool in_order, bool locking, bool others, bool may_be_later)
{
	Many		m = {0};
	Size		names = 0;
	bool		wait = true;

	m.lk = lk;
	m.calls = calls;
	if (lk->edge.rel == NULL)
		lk->edge = mcdp_open_keyed(lk->schema, "extra_edge", "extra_edge_pkey");
	m.may_write = can_write(lk);
	m.may_merge = mcdp_merges_freely(lk);
	for (int c = 0; c < num; c++)
		names += calls[c].num;
	collect_names(&m, num);
	look_up_names(&m);
	look_up_quarantine(&m);
	look_up_tombstones(&m);

	for (int c = 0; c < num; c++)
		order_names(&m, c);
	m.profile = MemoryContextAllocExtended(CurrentMemoryContext, Max(num, 1) * sizeof(NewProfile), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	m.root = MemoryContextAllocHuge(CurrentMemoryContext, Max(names + num, 1) * sizeof(int64));
	m.evidence = MemoryContextAllocHuge(CurrentMemoryContext, Max(names, 1) * sizeof(Evidence));
	if (may_be_later)
		wait = plan_around(&m, num);
	else
		plan_calls(&m, num, in_order);
	others |= m.left;

	/* waiting may make all this void: then somebody_else says so */
	if (locking && (others || m.num_claimed + m.num_evidence > 0))
		mcdp_lock_identities(others);
	place_evidence(&m);
	write_claims(&m);
	lock_roots(&m, wait);
	mcdp_make_profiles(lk, m.profile, m.num_profiles);
	write_evidence(&m);
	if (m.num_claimed + m.num_evidence > 0)
		CommandCounterIncrement();
	if (m.merges.num > 0)
		mcdp_do_merges(&m.merges);
}
