/*-------------------------------------------------------------------------
 *
 * stitch_probe.c
 *	  From identifiers to a profile: rows of the identity tables by their keys.
 *
 * Plans of SQL statements depend on statistics, and these say nothing about
 * a table that was empty a moment ago; a first bulk load would read it from
 * end to end for each call.  Hence index scans, and no choice.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_probe.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "fmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "core/compat.h"
#include "store/access.h"
#include "store/relid.h"
#include "store/stitch.h"

Keyed
mcdp_open_keyed(Oid schema, const char *table, const char *index)
{
	Keyed		k;
	Oid			relid = mcdp_relid(table, schema);

	k.index = mcdp_relid(index, schema);
	if (!OidIsValid(relid) || !OidIsValid(k.index))
		elog(ERROR, "table \"%s\" or its primary key does not exist", table);
	k.rel = mcdp_open_to_read(relid, AccessShareLock, ACL_SELECT);
	return k;
}

/* A scan is 28 kB of memory: one is kept, and looks with the snapshot that is asked for. */
static void
look_for(Prober *s, Keyed *k, Snapshot snapshot, ScanKey key, int num_keys)
{
	if (s->scan == NULL)
	{
		s->index = index_open(k->index, AccessShareLock);
		s->scan = mcdp_index_beginscan(k->rel, s->index, snapshot, num_keys);
		s->slot = NULL;
	}
	s->scan->xs_snapshot = snapshot;
	index_rescan(s->scan, key, num_keys, NULL, 0);
}

bool
mcdp_probe(Prober *s, Keyed *k, Snapshot snapshot, ScanKey key, int num_keys)
{
	look_for(s, k, snapshot, key, num_keys);
	if (s->slot == NULL)
		s->slot = table_slot_create(k->rel, NULL);
	return index_getnext_slot(s->scan, ForwardScanDirection, s->slot);
}

static void
scan_end(Prober *s)
{
	if (s->scan == NULL)
		return;
	if (s->slot)
		ExecDropSingleTupleTableSlot(s->slot);
	index_endscan(s->scan);
	index_close(s->index, NoLock);
	s->scan = NULL;
}

void
mcdp_lookup_begin(Lookup *lk, Oid identifier_type)
{
	lk->schema = mcdp_schema();
	/* of its own, so that it sees what this transaction has just done */
	lk->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	lk->type = lookup_type_cache(identifier_type, TYPECACHE_EQ_OPR_FINFO | TYPECACHE_CMP_PROC_FINFO);
	lk->link = mcdp_open_keyed(lk->schema, "identifier_link", "identifier_link_pkey");
	lk->profile = mcdp_open_keyed(lk->schema, "profile", "profile_pkey");
	lk->edge.rel = lk->merge.rel = NULL;
	lk->link_scan.scan = lk->profile_scan.scan = lk->edge_scan.scan = lk->merge_scan.scan = NULL;
	lk->rules = mcdp_identity_rules(lk->schema);
}

void
mcdp_lookup_end(Lookup *lk)
{
	scan_end(&lk->link_scan);
	scan_end(&lk->profile_scan);
	scan_end(&lk->edge_scan);
	scan_end(&lk->merge_scan);
	if (lk->edge.rel)
		table_close(lk->edge.rel, NoLock);
	if (lk->merge.rel)
		table_close(lk->merge.rel, NoLock);
	/* the locks stay until the end of the transaction, as after a query */
	table_close(lk->profile.rel, NoLock);
	table_close(lk->link.rel, NoLock);
	UnregisterSnapshot(lk->snapshot);
}

/* Key for an equality with an identifier. */
void
mcdp_identifier_key(Lookup *lk, ScanKey key, AttrNumber column, Datum identifier)
{
	ScanKeyEntryInitializeWithInfo(key, 0, column, BTEqualStrategyNumber, InvalidOid,
								   InvalidOid, &lk->type->eq_opr_finfo, identifier);
}

Datum
mcdp_get_column(HeapTuple tuple, Keyed *k, AttrNumber column)
{
	bool		isnull;
	Datum		result = heap_getattr(tuple, column, RelationGetDescr(k->rel), &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of table \"%s\"",
			 column, RelationGetRelationName(k->rel));
	return result;
}

int
mcdp_compare_identifiers(Lookup *lk, Datum a, Datum b)
{
	return DatumGetInt32(FunctionCall2(&lk->type->cmp_proc_finfo, a, b));
}

/* The row of a profile, in a slot that lasts until the next one is looked for, or NULL. */
TupleTableSlot *
mcdp_find_profile(Lookup *lk, int64 id, Snapshot snapshot)
{
	ScanKeyData key;

	ScanKeyInit(&key, PROFILE_PROFILE_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	return mcdp_probe(&lk->profile_scan, &lk->profile, snapshot, &key, 1) ? lk->profile_scan.slot : NULL;
}

/*
 * Might the leaf have been merged into another profile?  If so, a row of
 * profile_merge says so, undone or not, visible or not, and has an entry in
 * the index of those.  It is small, and its pages are at hand, when those of
 * table profile are not.  Nothing but yes or no is told, and a yes only means
 * that the profile has to be asked: so nobody needs a privilege for it.
 */
bool
mcdp_may_be_merged(Lookup *lk, int64 leaf)
{
	ScanKeyData key;

	if (lk->merge.rel == NULL)
	{
		lk->merge.rel = mcdp_open_to_read(mcdp_relid("profile_merge", lk->schema), AccessShareLock, ACL_NO_RIGHTS);
		lk->merge.index = mcdp_relid("profile_merge_merged_idx", lk->schema);
	}
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(leaf));
	look_for(&lk->merge_scan, &lk->merge, lk->snapshot, &key, 1);
	return index_getnext_tid(lk->merge_scan.scan, ForwardScanDirection) != NULL;
}

/* The leaf that owns an identifier, or 0. */
int64
mcdp_leaf_of(Lookup *lk, Snapshot snapshot, Datum identifier)
{
	ScanKeyData key;
	bool		isnull;

	mcdp_identifier_key(lk, &key, 1, identifier);
	if (!mcdp_probe(&lk->link_scan, &lk->link, snapshot, &key, 1))
		return 0;
	return DatumGetInt64(slot_getattr(lk->link_scan.slot, LINK_PROFILE_ID, &isnull));
}

bool
mcdp_find_edge(Lookup *lk, Snapshot snapshot, Datum a, Datum b, TimestampTz at, bool *holds)
{
	ScanKeyData key[2];
	TupleTableSlot *slot;
	bool		isnull;

	if (lk->edge.rel == NULL)
		lk->edge = mcdp_open_keyed(lk->schema, "extra_edge", "extra_edge_pkey");
	if (mcdp_compare_identifiers(lk, a, b) > 0)
	{
		Datum		swap = a;

		a = b;
		b = swap;
	}
	mcdp_identifier_key(lk, &key[0], EDGE_A, a);
	mcdp_identifier_key(lk, &key[1], EDGE_B, b);
	*holds = false;
	if (!mcdp_probe(&lk->edge_scan, &lk->edge, snapshot, key, 2))
		return false;
	slot = lk->edge_scan.slot;
	*holds = slot_attisnull(slot, EDGE_INACTIVE_AT) &&
		DatumGetTimestampTz(slot_getattr(slot, EDGE_AT, &isnull)) <= at;
	return true;
}
