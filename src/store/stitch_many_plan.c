/*-------------------------------------------------------------------------
 *
 * stitch_many_plan.c
 *	  What many calls change, worked out in memory.
 *
 * The calls are gone through in their order: who is known, who is new, to which
 * leaf does each new identifier go, what evidence is there.  That is what
 * _stitch would do with one after the other, as long as they are plain
 * (stitch_write.c); those that are not, and those that hang on one of them, are
 * left to it.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many_plan.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "core/compat.h"
#include "core/text_order.h"
#include "store/stitch_many.h"

/*
 * Ids of new profiles while it is not certain how many there will be: higher
 * than all others, so that they decide the same.
 */
#define PLANNED_ID (INT64CONST(1) << 62)

static int
compare_roots(const void *a, const void *b)
{
	int64		x = ((const ManyRoot *) a)->id;
	int64		y = ((const ManyRoot *) b)->id;

	return (x > y) - (x < y);
}

void
mcdp_many_sort_roots(Many *m)
{
	qsort(m->root, m->num_roots, sizeof(ManyRoot), compare_roots);
	m->num_roots = qunique(m->root, m->num_roots, sizeof(ManyRoot), compare_roots);
}

void
mcdp_many_add_root(Many *m, const ManyName *name)
{
	ManyRoot   *root = &m->root[m->num_roots++];

	root->id = name->root;
	if (name->leaf == name->root)
		root->row = name->row;
	else
		ItemPointerSetInvalid(&root->row);
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
	name->row = slot->tts_tid;
	name->root = DatumGetInt64(slot_getattr(slot, PROFILE_CANONICAL_ID, &isnull));
	name->kind = DatumGetTextPCopy(slot_getattr(slot, PROFILE_KIND, &isnull));
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
			mcdp_many_add_root(m, n);
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
	bool		merge = false;
	bool		hangs = false;
	bool		late = false;
	bool		busy = false;
	bool		before = true;	/* all were linked before */
	bool		quarantined = false;
	text	   *first = NULL;
	text	   *kind;
	bool		some_without = false;

	if (call->is_foreign)
		return false;
	if (nothing_new(m, c))
		return true;
	for (int i = 0; i < num; i++)
	{
		ManyName   *n = &m->name[of[i]];

		call->later |= n->waits;
		call->after_foreign |= n->after_foreign;
		hangs |= n->hangs;
	}
	if (call->later || hangs)
		return false;
	for (int i = 0; i < num; i++)
	{
		ManyName   *n = &m->name[of[i]];

		if (n->linked && n->root == 0)
			look_up_profile(m, n);
		late |= n->linked && n->at > at;
		if (n->linked || n->claimed)
		{
			if (owner == NULL)
				owner = n;
			else if (mcdp_planned_root(&m->merges, owner->root) != mcdp_planned_root(&m->merges, n->root))
				merge = true;
		}
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
	if (before && !merge && !late && is_evident(m, c))
		return true;

	if (!m->may_write || (merge && (late || !m->may_merge)))
		return false;
	if (num > 1 && quarantined)
		return false;
	for (int i = 0; i < num; i++)
	{
		ManyName   *n = &m->name[of[i]];
		bool		moves = (n->linked || n->claimed) && n->at > at;	/* which may break a limit within a time */

		if (is_blocked(m, n) ||
			((num > 1 || moves) && mcdp_identifier_is_limited(m->lk->rules, n->id, !n->linked || moves)))
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

		p->id = PLANNED_ID + m->num_profiles;
		p->kind = kind;
		p->at = at;
		via->leaf = via->root = p->id;
		via->profile = m->num_profiles++;
		via->kind = kind;
		owner = via;
	}
	else if (owner->profile < 0)
		mcdp_many_add_root(m, owner);
	for (int i = 0; i < num; i++)
	{
		ManyName   *n = &m->name[of[i]];

		if (!n->linked && !n->claimed)
		{
			n->claimed = true;
			n->leaf = owner->leaf;
			n->root = owner->root;
			n->row = owner->row;
			n->profile = owner->profile;
			n->kind = kind;
			n->at = at;
			n->source = call->call.source;
			m->num_claimed++;
		}
		n->involved = n->linked;
		if (n->at > at)
			mcdp_many_begin_earlier(m, n, at);
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

/* Of a call that names one of two: both. */
static void
give_all_names(Many *m, int c)
{
	memcpy(m->names_of[c], m->given_of[c], m->calls[c].num * sizeof(int));
	m->num_of[c] = m->calls[c].num;
}

/* It is known by now which of two the call names; false if it hangs on what is not. */
static bool
choose_name(Many *m, int c)
{
	ManyCall   *call = &m->calls[c];
	int		   *given = m->given_of[c];
	int		   *of = m->names_of[c];
	ManyName   *first = &m->name[given[call->num - 2]];
	bool		known = first->linked || first->claimed;

	give_all_names(m, c);
	call->later |= first->waits && !known;
	call->after_foreign |= first->after_foreign && !known;
	/* one of somebody who was erased is refused */
	if (!known && (first->waits || first->hangs || first->blocked > 0))
		return false;
	of[call->num - 2] = given[call->num - (known ? 2 : 1)];
	call->named = m->name[of[call->num - 2]].id;
	mcdp_many_order_names(m, c, call->num - 1);
	return true;
}

void
mcdp_many_plan(Many *m, int num, bool in_order)
{
	for (int c = 0; c < num; c++)
	{
		ManyCall   *call = &m->calls[c];

		CHECK_FOR_INTERRUPTS();
		call->later = call->after_foreign = false;
		call->done = m->num_of[c] > 0 && !(in_order && m->left) && (!call->either || choose_name(m, c)) && plan_call(m, c);
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
		if (call->either)
			give_all_names(m, c);
		for (int i = 0; i < m->num_of[c]; i++)
		{
			ManyName   *n = &m->name[m->names_of[c][i]];

			if (n->linked || n->claimed)
				continue;
			n->hangs |= !call->later;
			n->waits |= call->later;
			n->after_foreign |= call->is_foreign || call->after_foreign;
		}
	}
}

static int64
final_id(Many *m, int64 id)
{
	return id < PLANNED_ID ? id : m->profile[id - PLANNED_ID].id;
}

void
mcdp_many_number(Many *m, int num)
{
	mcdp_take_profile_ids(m->lk->schema, m->profile, m->num_profiles);
	for (int i = 0; i < m->num_names; i++)
	{
		ManyName   *n = &m->name[i];

		if (n->profile >= 0)
			n->leaf = n->root = m->profile[n->profile].id;
	}
	for (int c = 0; c < num; c++)
		if (m->calls[c].done)
			m->calls[c].leaf = final_id(m, m->calls[c].leaf);
	for (int i = 0; i < m->merges.num; i++)
	{
		MergeCall  *merge = &m->merges.call[i];

		merge->survivor = final_id(m, merge->survivor);
		merge->merged = final_id(m, merge->merged);
		merge->leaf_a = final_id(m, merge->leaf_a);
		merge->leaf_b = final_id(m, merge->leaf_b);
	}
}
