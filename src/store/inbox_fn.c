/*-------------------------------------------------------------------------
 *
 * inbox_fn.c
 *	  Rows of the inbox, taken out of it without a query.
 *
 * DELETE ... WHERE ctid = ANY (SELECT ... FOR UPDATE SKIP LOCKED) writes each
 * row twice, to lock it and to delete it, and asks the lock manager about each
 * that another session holds.  Here a row is deleted if that needs no
 * waiting, else passed over.
 *
 * Sessions look one after the other, so that each gets rows that stand
 * together: what one person did at about the same time.  They hold the lock
 * only for that, and wait for nothing meanwhile.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/inbox_fn.c
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
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/compat.h"

#include "store/access.h"

/* inbox: positions */
#define INBOX_PAYLOAD 1
#define INBOX_INBOX_ID 2
#define INBOX_RECEIVED_AT 3
#define INBOX_COLUMNS 3

/* of the primary key; btrees lock no pages in this way */
#define LOCKED_PAGE 0

/* After so much nothing more is taken, whatever was asked for: all of it is in memory. */
#define TAKE_BYTES (64 * 1024 * 1024)
#define TAKE_ROWS 10000

PG_FUNCTION_INFO_V1(mcdp__take_inbox);

/* May this user do so, and does nothing else happen then? */
static bool
deletable(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	return !XactReadOnly && !IsInParallelMode() && !IsolationUsesXactSnapshot() &&
		RelationGetDescr(rel)->natts == INBOX_COLUMNS &&
		mcdp_may(RelationGetRelid(rel), ACL_SELECT | ACL_UPDATE | ACL_DELETE) &&
		check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_NONE &&
		!(triggers && (triggers->trig_delete_before_row || triggers->trig_delete_after_row ||
					   triggers->trig_delete_before_statement || triggers->trig_delete_after_statement)) &&
		!rel->rd_rel->relhasrules;
}

/*
 * _take_inbox(after bigint, max_rows bigint, OUT payloads jsonb[], OUT received timestamptz[], OUT last_id bigint)
 *
 * The oldest rows behind that one, at most so many, of those that nobody holds.
 * NULL: there are none (last_id NULL), or it has to be done by a query
 * (last_id as given).
 */
Datum
mcdp__take_inbox(PG_FUNCTION_ARGS)
{
	int64		after = PG_GETARG_INT64(0);
	int64		max_rows = Max(0, Min(PG_GETARG_INT64(1), TAKE_ROWS));
	Oid			schema = get_namespace_oid("cdp", false);
	Relation	rel = table_open(get_relname_relid("inbox", schema), RowExclusiveLock);
	Datum	   *payloads;
	Datum	   *received;
	int			num = 0;
	Size		bytes = 0;
	Datum		values[3];
	bool		isnull[3] = {true, true, true};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (deletable(rel))
	{
		Relation	index = index_open(get_relname_relid("inbox_pkey", schema), AccessShareLock);
		Snapshot	snapshot;
		IndexScanDesc scan;
		TupleTableSlot *slot = table_slot_create(rel, NULL);
		CommandId	cid = GetCurrentCommandId(true);
		ScanKeyData key;

		payloads = palloc(max_rows * sizeof(Datum));
		received = palloc(max_rows * sizeof(Datum));
		LockPage(index, LOCKED_PAGE, ExclusiveLock);
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		scan = mcdp_index_beginscan(rel, index, snapshot, 1);
		ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
		index_rescan(scan, &key, 1, NULL, 0);
		while (num < max_rows && bytes < TAKE_BYTES && index_getnext_slot(scan, ForwardScanDirection, slot))
		{
			TM_FailureData failure;
			bool		null;

			CHECK_FOR_INTERRUPTS();
			if (table_tuple_delete(rel, &slot->tts_tid, cid, snapshot, InvalidSnapshot, false, &failure, false) != TM_Ok)
				continue;
			payloads[num] = JsonbPGetDatum(DatumGetJsonbPCopy(slot_getattr(slot, INBOX_PAYLOAD, &null)));
			received[num] = slot_getattr(slot, INBOX_RECEIVED_AT, &null);
			after = DatumGetInt64(slot_getattr(slot, INBOX_INBOX_ID, &null));
			bytes += VARSIZE(DatumGetPointer(payloads[num]));
			num++;
		}
		UnlockPage(index, LOCKED_PAGE, ExclusiveLock);
		ExecDropSingleTupleTableSlot(slot);
		index_endscan(scan);
		UnregisterSnapshot(snapshot);
		index_close(index, AccessShareLock);
		if (num > 0)
		{
			values[0] = PointerGetDatum(construct_array(payloads, num, JSONBOID, -1, false, TYPALIGN_INT));
			values[1] = PointerGetDatum(construct_array(received, num, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
			values[2] = Int64GetDatum(after);
			isnull[0] = isnull[1] = isnull[2] = false;
		}
	}
	else
	{
		values[2] = Int64GetDatum(after);
		isnull[2] = false;
	}
	table_close(rel, NoLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}
