/*-------------------------------------------------------------------------
 *
 * stitch_write.c
 *	  What is new in a call, written where that is plain.
 *
 * Plain is: identifiers of one kind, no rule that has a say, nothing that was
 * known later than the call.  Then a call gives its unknown identifiers to the
 * leaf of the first known one, or to a new profile, records the evidence and
 * has profiles merged.  This does what _stitch_new
 * (21_identity.sql) does, with the same locks in the same order, without a
 * query; the rest is left to it, as is every race.
 *
 * Of two sessions that insert the same identifier one finds out, gives up
 * what it has claimed and lets _stitch_new wait for the other.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_write.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/merge_plan.h"
#include "store/relid.h"
#include "store/stitch.h"
#include "store/tag_point.h"
#include "store/tombstone.h"
#include "types/identifier.h"

PG_FUNCTION_INFO_V1(mcdp__is_blocked);
PG_FUNCTION_INFO_V1(mcdp__claim);

void
mcdp_set_link(Target *t, Datum identifier, int64 leaf, TimestampTz at, text *source, Datum peer, text *message_id)
{
	mcdp_target_clear(t);
	mcdp_target_set(t, LINK_IDENTIFIER, identifier);
	mcdp_target_set(t, LINK_PROFILE_ID, Int64GetDatum(leaf));
	mcdp_target_set(t, LINK_AT, TimestampTzGetDatum(at));
	mcdp_target_set_text(t, LINK_SOURCE, source);
	if (peer != 0)
	{
		mcdp_target_set(t, LINK_PEER, peer);
		mcdp_target_set_text(t, LINK_MESSAGE_ID, message_id);
	}
}

void
mcdp_set_edge(Target *t, Datum a, Datum b, TimestampTz at, text *source, text *message_id)
{
	mcdp_target_clear(t);
	mcdp_target_set(t, EDGE_A, a);
	mcdp_target_set(t, EDGE_B, b);
	mcdp_target_set(t, EDGE_AT, TimestampTzGetDatum(at));
	mcdp_target_set_text(t, EDGE_SOURCE, source);
	mcdp_target_set_text(t, EDGE_MESSAGE_ID, message_id);
	mcdp_target_set(t, EDGE_CAUSE, CStringGetTextDatum("call"));
}

/*
 * Lock a canonical profile; false if it no longer is one, or somebody else
 * holds it and we do not wait.
 */
bool
mcdp_lock_root(Lookup *lk, int64 root, ItemPointer tid, bool wait)
{
	TupleTableSlot *slot = tid ? lk->profile_scan.slot : mcdp_find_profile(lk, root, lk->snapshot);
	ItemPointerData at;
	TM_FailureData failure;
	bool		isnull;

	if (slot == NULL)
		return false;
	at = tid ? *tid : slot->tts_tid;
	return table_tuple_lock(lk->profile.rel, &at, lk->snapshot, slot, GetCurrentCommandId(true),
							LockTupleExclusive, wait ? LockWaitBlock : LockWaitSkip, 0, &failure) == TM_Ok &&
		DatumGetInt64(slot_getattr(slot, PROFILE_CANONICAL_ID, &isnull)) == root;
}

/* Is what was found about an identifier still so, now that its profile is locked? */
bool
mcdp_still_linked(Lookup *lk, Snapshot now, Datum identifier, int64 leaf, int64 root)
{
	Known		known;

	known.identifier = identifier;
	mcdp_find_link(lk, &known, now);
	return known.linked && known.leaf == leaf && known.root == root;
}

/* Does no rule, and nobody's decision, stand against any merge? */
bool
mcdp_merges_freely(Lookup *lk)
{
	return !lk->rules->limits && !lk->rules->quarantines && mcdp_table_is_blank("never_merge");
}

/* Is one of these in quarantine, or was it ever? */
bool
mcdp_any_quarantined(Lookup *lk, Known **known, int num)
{
	Keyed		table;
	bool		result = false;

	if (mcdp_table_is_blank("quarantined_identifier"))
		return false;
	table = mcdp_open_keyed(lk->schema, "quarantined_identifier", "quarantined_identifier_pkey");
	for (int i = 0; i < num && !result; i++)
	{
		ScanKeyData key;
		SysScanDesc scan;

		mcdp_identifier_key(lk, &key, QUARANTINED_IDENTIFIER, known[i]->identifier);
		scan = systable_beginscan(table.rel, table.index, true, lk->snapshot, 1, &key);
		result = HeapTupleIsValid(systable_getnext(scan));
		systable_endscan(scan);
	}
	table_close(table.rel, AccessShareLock);
	return result;
}

bool
mcdp_identifier_is_blocked(const IdentityRules *rules, Datum identifier)
{
	struct varlena *id = DatumGetIdentifierPP(identifier);
	char	   *start = VARDATA_ANY(id);
	char	   *colon = memchr(start, ':', VARSIZE_ANY_EXHDR(id));

	return mcdp_is_blocked(rules, start, colon - start, colon + 1, start + VARSIZE_ANY_EXHDR(id) - colon - 1);
}

/*
 * Might a rule stand against it, when it joins a profile (linked so far to
 * none) or is named together with others?  Rules about whole profiles matter
 * to merges only.
 */
bool
mcdp_identifier_is_limited(const IdentityRules *rules, Datum identifier, bool joins)
{
	struct varlena *id;
	char	   *colon;
	const NamespaceRule *rule;

	if (!rules->limits && !rules->quarantines)
		return false;
	id = DatumGetIdentifierPP(identifier);
	colon = memchr(VARDATA_ANY(id), ':', VARSIZE_ANY_EXHDR(id));
	rule = mcdp_namespace_rule(rules, VARDATA_ANY(id), colon - VARDATA_ANY(id));
	return rule != NULL && (rule->quarantines || (rule->limits && joins));
}

/* _is_blocked(identifier) */
Datum
mcdp__is_blocked(PG_FUNCTION_ARGS)
{
	const IdentityRules *rules = mcdp_identity_rules(mcdp_schema());

	PG_RETURN_BOOL(mcdp_identifier_is_blocked(rules, PG_GETARG_DATUM(0)));
}

/*
 * _claim(identifiers identifier[], leaves bigint[], at, source) -> int: links
 * them, each to its leaf, without waiting for anybody.  0: done; else nothing is
 * left behind, and this one (from 1) is linked already, or somebody else is
 * at it.  NULL: has to be done by a query.
 */
Datum
mcdp__claim(PG_FUNCTION_ARGS)
{
	ArrayType  *array;
	text	   *source = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	Datum	   *ids;
	Datum	   *leaves;
	ItemPointerData *claimed;
	int			num;
	int			num_leaves;
	int			taken = 0;
	Target		link;
	uint32		token;
	int			done;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	array = PG_GETARG_ARRAYTYPE_P(0);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &ids, NULL, &num);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &leaves, NULL, &num_leaves);
	if (num != num_leaves)
		elog(ERROR, "arrays differ in length");
	if (IsolationUsesXactSnapshot() || !mcdp_target_open_id(&link, mcdp_relid("identifier_link", mcdp_schema()), LINK_COLUMNS, NULL))
		PG_RETURN_NULL();
	claimed = palloc(Max(num, 1) * sizeof(ItemPointerData));
	token = mcdp_target_begin_trying();
	for (done = 0; done < num && taken == 0; done++)
	{
		CHECK_FOR_INTERRUPTS();
		mcdp_set_link(&link, ids[done], DatumGetInt64(leaves[done]), PG_GETARG_TIMESTAMPTZ(2), source, 0, NULL);
		if (mcdp_target_try(&link, token))
			claimed[done] = link.slot->tts_tid;
		else
			taken = done + 1;
	}
	mcdp_target_end_trying(&link, claimed, taken ? taken - 1 : num, taken == 0);
	mcdp_target_close(&link);
	PG_RETURN_INT32(taken);
}

static bool
same_text(text *a, text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/*
 * The kind a call is about, when "first" is that of all its identifiers that
 * have one, and some perhaps have none: these follow the call.  NULL: it is not
 * as simple as that.
 */
text *
mcdp_kind_of_call(text *asked, text *first, bool some_without)
{
	if (asked == NULL && (first == NULL || some_without))
		asked = cstring_to_text("person");
	if (first == NULL)
		return asked;
	if (asked == NULL || same_text(asked, first))
		return first;
	/* nobody has to say "person" */
	if (!some_without && VARSIZE_ANY_EXHDR(asked) == 6 && memcmp(VARDATA_ANY(asked), "person", 6) == 0)
		return first;
	return NULL;
}

/*
 * Is it a plain case?  Finds the kind it is about, the first one that is known
 * (NULL if none is), and whether profiles have to be merged.  "known" has the
 * highest priority first.
 */
static bool
is_plain(Lookup *lk, Known **known, int num, const StitchCall *call, text **kind, Known **owner, bool *merge)
{
	text	   *asked = call->kind;
	text	   *first = NULL;
	bool		any_kind = false;	/* a namespace without a rule follows the call */

	*owner = NULL;
	*merge = false;
	for (int i = 0; i < num; i++)
	{
		if (known[i]->linked)
		{
			if (known[i]->at > call->at)
				return false;
			if (*owner && known[i]->root != (*owner)->root)
				*merge = true;
			if (*owner == NULL)
				*owner = known[i];
		}
		if (known[i]->kind == NULL)
			any_kind = true;
		else if (first == NULL)
			first = known[i]->kind;
		else if (!same_text(first, known[i]->kind))
			return false;
	}
	*kind = mcdp_kind_of_call(asked, first, any_kind);
	if (*kind == NULL)
		return false;

	for (int i = 0; i < num; i++)
	{
		if (mcdp_identifier_is_blocked(lk->rules, known[i]->identifier) ||
			(num > 1 && mcdp_identifier_is_limited(lk->rules, known[i]->identifier, !known[i]->linked)))
			return false;
	}
	if (num > 1 && mcdp_any_quarantined(lk, known, num))
		return false;
	return !*merge || mcdp_merges_freely(lk);
}

/*
 * Run a SELECT of ours; the plan is kept for the session.  So its arguments are
 * of built-in types: ours change when the extension is made anew.  The answer is
 * for those who ask for one row with one value; 0 is NULL.
 */
Datum
mcdp_run(const char *sql, SPIPlanPtr *plan, int num, Oid *types, Datum *values, const char *nulls)
{
	Datum		answer = (Datum) 0;
	bool		isnull;

	SPI_connect();
	if (*plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare(sql, num, types);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		*plan = made;
	}
	if (SPI_execute_plan(*plan, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", sql);
	if (SPI_processed == 1)
	{
		Form_pg_attribute column = TupleDescAttr(SPI_tuptable->tupdesc, 0);
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
			answer = SPI_datumTransfer(value, column->attbyval, column->attlen);
	}
	SPI_finish();
	return answer;
}

/*
 * Is all that is known of one leaf, and nothing said but that the new ones
 * belong to it?  Then nobody has to be kept away but those who take
 * identifiers from leaves.
 */
static bool
only_adds(Known **known, int num, const Known *owner, bool any_extra)
{
	if (owner == NULL || any_extra)
		return false;
	for (int i = 0; i < num; i++)
	{
		if (known[i]->linked && known[i]->leaf != owner->leaf)
			return false;
	}
	return true;
}

/* The row of a canonical profile among the known ones, as of the snapshot of lk, or NULL. */
static ItemPointer
row_of_root(Known **known, int num, int64 root)
{
	for (int i = 0; i < num; i++)
		if (known[i]->linked && known[i]->leaf == root)
			return &known[i]->leaf_tid;
	return NULL;
}

/*
 * Does it still belong to its leaf?  If the row that was found is there under the
 * later snapshot, too, it is the same; else there may be another.
 */
static bool
is_still_of_leaf(Lookup *lk, Snapshot now, Known *known)
{
	return (ItemPointerIsValid(&known->link_tid) && table_tuple_fetch_row_version(lk->link.rel, &known->link_tid, now, lk->link_scan.slot)) ||
		mcdp_leaf_of(lk, now, known->identifier) == known->leaf;
}

/*
 * Lock the profiles, without waiting, unless the leaf is locked; and look
 * again: a merge, an unmerge or a split may have come between.  From here on
 * none can, or with the leaf locked none that matters.  Evidence that is there
 * already is no extra any more.
 */
static bool
lock_roots(Lookup *lk, Known **known, int num, const int64 *root, int num_roots, TimestampTz at, bool *extra, bool leaf_locked)
{
	Snapshot	now;
	bool		ok = true;

	for (int i = 0; i < num_roots && ok && !leaf_locked; i++)
		ok = mcdp_lock_root(lk, root[i], row_of_root(known, num, root[i]), false);
	if (num_roots == 0 || !ok)
		return ok;
	now = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < num && ok; i++)
	{
		bool		holds;

		ok = !known[i]->linked ||
			/* whoever holds the profile need not ask whether it is canonical */
			(leaf_locked || known[i]->leaf == known[i]->root ? is_still_of_leaf(lk, now, known[i]) :
			 mcdp_still_linked(lk, now, known[i]->identifier, known[i]->leaf, known[i]->root));
		if (ok && extra[i] && known[0]->linked && mcdp_find_edge(lk, now, known[0]->identifier, known[i]->identifier, at, &holds))
		{
			/* overruled, or of a later call: that row would have to be changed */
			ok = holds;
			extra[i] = false;
		}
	}
	UnregisterSnapshot(now);
	return ok;
}

/*
 * What evidence has to be written?  That about a new identifier stands in its
 * link, as its peer: the two are of one leaf, because the first one that is
 * known gives it to all that are new.  "extra": it needs a row of its own.
 * False when there is a row that would have to be changed.
 */
static bool
place_evidence(Lookup *lk, Known **known, int num, TimestampTz at, bool *extra)
{
	Known	   *via = known[0];

	extra[0] = false;
	for (int i = 1; i < num; i++)
	{
		Known	   *k = known[i];
		bool		holds;

		extra[i] = false;
		if (!k->linked)
			k->peer = via->identifier;
		else if (!via->linked && via->peer == 0)
			via->peer = k->identifier;
		else if (!via->linked)
			extra[i] = true;
		else if (k->leaf != via->leaf)
			extra[i] = true;	/* unless it is there: asked when the profiles are locked */
		else if (!mcdp_are_peers(via->identifier, via->peer, k->identifier, k->peer))
		{
			/* one that is overruled, or of a later call */
			if (mcdp_find_edge(lk, lk->snapshot, via->identifier, k->identifier, at, &holds) && !holds)
				return false;
			extra[i] = !holds;
		}
	}
	return true;
}

/*
 * Write what is new in the call.  "known" has the highest priority first.
 * Returns false when it is not a plain case, with nothing left behind.
 */
bool
mcdp_stitch_plain(Lookup *lk, Known **known, int num, const StitchCall *call, bool within, Stitched *result)
{
	Known	  **by_bytes;
	ItemPointerData *claimed;
	int			num_claimed = 0;
	bool		unknown = false;
	bool	   *extra;			/* evidence for known[0] and this one gets a row */
	bool		any_extra = false;
	Known	   *owner;
	int64	   *root;
	int			num_roots;
	bool		own_sub;
	bool		merge;
	bool		adds;
	text	   *kind;
	Target		link = {NULL};
	Target		edge = {NULL};
	int64		leaf;
	volatile bool ok = true;	/* changed within PG_TRY */
	volatile bool merging = false;
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner resources = CurrentResourceOwner;
	ResourceOwner volatile own_resources = NULL;	/* of the subtransaction */

	if (XactReadOnly || IsInParallelMode() || IsolationUsesXactSnapshot() ||
		!is_plain(lk, known, num, call, &kind, &owner, &merge))
		return false;

	root = palloc(num * sizeof(int64));
	num_roots = mcdp_distinct_roots(known, num, root);
	own_sub = num_roots > 1 && !within;
	/* in the order of the locks */
	by_bytes = palloc(num * sizeof(Known *));
	claimed = palloc(num * sizeof(ItemPointerData));
	extra = palloc(num * sizeof(bool));
	if (!place_evidence(lk, known, num, call->at, extra))
		return false;
	for (int i = 0; i < num; i++)
	{
		int			j;

		for (j = i; j > 0 && mcdp_compare_identifiers(lk, by_bytes[j - 1]->identifier, known[i]->identifier) > 0; j--)
			by_bytes[j] = by_bytes[j - 1];
		by_bytes[j] = known[i];
		unknown |= !known[i]->linked;
		any_extra |= extra[i];
	}

	if (any_extra && lk->edge.rel == NULL)
		lk->edge = mcdp_open_keyed(lk->schema, "extra_edge", "extra_edge_pkey");
	if ((unknown && !mcdp_target_open(&link, lk->link.rel, LINK_COLUMNS)) ||
		(any_extra && !mcdp_target_open_with(&edge, lk->edge.rel, EDGE_COLUMNS, link.estate)))
	{
		mcdp_target_close(&link);
		return false;
	}
	adds = only_adds(known, num, owner, any_extra);
	leaf = owner ? owner->leaf : nextval_internal(mcdp_relid("profile_id_seq", lk->schema), true);

	/*
	 * Whoever goes on to wait (_stitch_new) must hold nothing: neither the
	 * identifiers claimed so far, which are given up, nor some of several
	 * profiles.  All of a merge is done in the subtransaction, so that a row is
	 * locked and changed by the same one.
	 */
	if (own_sub)
	{
		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(caller);
		own_resources = CurrentResourceOwner;
		CurrentResourceOwner = resources;
	}
	PG_TRY();
	{
		bool		leaf_locked;
		uint32		token = 0;

		if (link.rel)
			token = mcdp_target_begin_trying();
		for (int i = 0; i < num && ok; i++)
		{
			if (by_bytes[i]->linked)
				continue;
			mcdp_set_link(&link, by_bytes[i]->identifier, leaf, call->at, call->source, by_bytes[i]->peer, call->message_id);
			ok = mcdp_target_try(&link, token);
			if (ok)
				claimed[num_claimed++] = link.slot->tts_tid;
		}
		leaf_locked = ok && adds && mcdp_link_lock(leaf);
		ok = ok && lock_roots(lk, known, num, root, num_roots, call->at, extra, leaf_locked);
		if (ok && num_claimed > 0)
		{
			Datum	   *fresh = palloc(num * sizeof(Datum));
			int			n = 0;

			for (int i = 0; i < num; i++)
				if (!known[i]->linked)
					fresh[n++] = known[i]->identifier;
			ok = !mcdp_claimed_tombstone(lk->schema, fresh, n);
		}
		if (link.rel)
			mcdp_target_end_trying(&link, claimed, num_claimed, ok);
		for (int i = 0; i < num && ok; i++)
		{
			int			k;

			for (k = 0; known[k] != by_bytes[i]; k++)
				;
			if (extra[k])
			{
				bool		first = mcdp_compare_identifiers(lk, known[0]->identifier, known[k]->identifier) < 0;

				/* nobody else can: it is of an identifier that we claimed, or of profiles that we hold */
				mcdp_set_edge(&edge, known[first ? 0 : k]->identifier, known[first ? k : 0]->identifier,
						 call->at, call->source, call->message_id);
				mcdp_target_insert_new(&edge);
			}
		}
		if (!ok && leaf_locked)
			mcdp_link_unlock(leaf);
		mcdp_target_close(&edge);
		mcdp_target_close(&link);
		if (ok && owner == NULL)
		{
			NewProfile	p = {leaf, kind, call->at};

			mcdp_make_profiles(lk, &p, 1);
		}
		if (ok && num_roots > 1)
		{
			MergePlan	plan = {NULL};

			CommandCounterIncrement();
			mcdp_plan_merges(&plan, lk, known, num, owner->root, leaf, call);
			if (own_sub)
				CurrentResourceOwner = own_resources;
			merging = true;
			/* who tags a set of profiles, or ticks, keeps merges away (30_tag) */
			ok = ConditionalLockRelationOid(mcdp_relid("profile_merge", lk->schema), RowExclusiveLock);
			if (ok)
				mcdp_do_merges(&plan);
			CurrentResourceOwner = resources;
		}
	}
	PG_CATCH();
	{
		if (own_sub)
		{
			ErrorData  *error;

			MemoryContextSwitchTo(caller);
			error = CopyErrorData();
			FlushErrorState();
			RollbackAndReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(caller);
			CurrentResourceOwner = resources;
			/* the circle is open again now that we have let go: _stitch_new goes on */
			if (merging && error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED)
			{
				FreeErrorData(error);
				return false;
			}
			ReThrowError(error);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (own_sub)
	{
		if (ok)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = resources;
	}
	if (!ok)
		return false;
	CommandCounterIncrement();

	result->leaf = known[0]->linked ? known[0]->leaf : leaf;
	result->root = owner ? root[0] : leaf;
	result->via = known[0]->identifier;
	return true;
}
