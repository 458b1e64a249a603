/*-------------------------------------------------------------------------
 *
 * tag_fold.c
 *	  Taking waiting changes of tags out of tag_pending.
 *
 * A row is deleted where it is found, without being locked first: half the
 * WAL of SELECT FOR UPDATE SKIP LOCKED and DELETE.  A row that somebody else is
 * at, or has changed since the snapshot, stays for the next time.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_fold.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "core/chunk.h"
#include "core/rbuf.h"
#include "store/access.h"
#include "store/tag_point.h"
#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp__take_pending);

/* What was taken of one tag. */
typedef struct Taken
{
	MemoryContext cx;
	Rbuf	   *sets[2];		/* removed, added */
	int64		rows;
} Taken;

static void
put_row(ReturnSetInfo *rsinfo, Datum tag, Taken *taken)
{
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	values[0] = tag;
	for (int i = 0; i < 2; i++)
	{
		nulls[1 + i] = mcdp_rbuf_is_empty(taken->sets[1 - i]);
		values[1 + i] = nulls[1 + i] ? (Datum) 0 : mcdp_rbuf_to_bitmap(taken->sets[1 - i]);
		mcdp_rbuf_clear(taken->sets[1 - i]);
	}
	values[3] = Int64GetDatum(taken->rows);
	if (taken->rows > 0)
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	taken->rows = 0;
}

/* The rows of one tag and chunk. */
static void
take_chunk(Relation rel, Relation index, TupleTableSlot *slot, Datum tag, int64 chunk, Taken *taken)
{
	Snapshot	snapshot = GetActiveSnapshot();
	IndexScanDesc scan = mcdp_index_beginscan(rel, index, snapshot, 3);
	ScanKeyData keys[3];

	ScanKeyEntryInitialize(&keys[0], 0, PENDING_KEY_TAG, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, tag);
	ScanKeyInit(&keys[1], PENDING_KEY_PROFILE_ID, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(chunk << CHUNK_ID_BITS));
	ScanKeyInit(&keys[2], PENDING_KEY_PROFILE_ID, BTLessEqualStrategyNumber, F_INT8LE,
				Int64GetDatum((chunk << CHUNK_ID_BITS) + CHUNK_IDS - 1));
	index_rescan(scan, keys, 3, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		int64		id = DatumGetInt64(slot_getattr(slot, PENDING_PROFILE_ID, &isnull));
		bool		present = DatumGetBool(slot_getattr(slot, PENDING_PRESENT, &isnull));
		ItemPointerData tid = slot->tts_tid;
		TM_FailureData failure;

		CHECK_FOR_INTERRUPTS();
		if (table_tuple_delete(rel, &tid, GetCurrentCommandId(true), snapshot, InvalidSnapshot,
							   false, &failure, false) != TM_Ok)
			continue;
		mcdp_rbuf_add(taken->sets[present], (uint64) id);
		taken->rows++;
	}
	index_endscan(scan);
}

/*
 * _take_pending(tags text[], chunks bigint[], OUT tag, OUT added, OUT removed,
 * OUT rows): deletes the waiting changes of these tags and chunks, sorted by
 * tag, and returns them, a row to a tag.
 */
Datum
mcdp__take_pending(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			schema = get_namespace_oid("cdp", false);
	Oid			relid = get_relname_relid("tag_pending", schema);
	Oid			index_id = get_relname_relid("tag_pending_pkey", schema);
	Relation	rel;
	Relation	index;
	TupleTableSlot *slot;
	Taken		taken;
	Datum	   *tags;
	Datum	   *chunks;
	int			n;
	int			num_chunks;

	if (!OidIsValid(relid) || !OidIsValid(index_id))
		elog(ERROR, "table \"tag_pending\" or its primary key does not exist");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &tags, NULL, &n);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &chunks, NULL, &num_chunks);
	if (n != num_chunks)
		elog(ERROR, "arrays of different length");

	InitMaterializedSRF(fcinfo, 0);
	rel = mcdp_open_to_read(relid, RowExclusiveLock, ACL_SELECT | ACL_DELETE);
	index = index_open(index_id, RowExclusiveLock);
	slot = table_slot_create(rel, NULL);
	taken.cx = AllocSetContextCreate(CurrentMemoryContext, "taken tags", ALLOCSET_DEFAULT_SIZES);
	taken.sets[0] = mcdp_rbuf_create(taken.cx);
	taken.sets[1] = mcdp_rbuf_create(taken.cx);
	taken.rows = 0;
	for (int i = 0; i < n; i++)
	{
		take_chunk(rel, index, slot, tags[i], DatumGetInt64(chunks[i]), &taken);
		if (i == n - 1 || !DatumGetBool(OidFunctionCall2Coll(F_TEXTEQ, C_COLLATION_OID, tags[i], tags[i + 1])))
			put_row(rsinfo, tags[i], &taken);
	}
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, RowExclusiveLock);
	table_close(rel, NoLock);
	MemoryContextDelete(taken.cx);
	return (Datum) 0;
}
