/*-------------------------------------------------------------------------
 *
 * profile_held.c
 *	  Who has a profile right now?
 *
 * Asked without waiting and without a trace: what the answer is worth is up to
 * the caller, who may be told the opposite a moment later.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/profile_held.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/multixact.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "store/access.h"
#include "store/relid.h"
#include "store/stitch.h"

PG_FUNCTION_INFO_V1(mcdp__held_profiles);

/* Is it of another transaction that is still under way? */
static bool
is_others(TransactionId xid)
{
	return !TransactionIdIsCurrentTransactionId(xid) && TransactionIdIsInProgress(xid);
}

bool
mcdp_row_is_held(BufferHeapTupleTableSlot *row)
{
	HeapTupleHeader header = row->base.tuple->t_data;
	TransactionId holder = InvalidTransactionId;
	uint16		infomask = 0;
	bool		result = false;

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

/* _held_profiles(ids bigint[]): those of them, in their order, whose rows other transactions have locked or changed. */
Datum
mcdp__held_profiles(PG_FUNCTION_ARGS)
{
	Datum	   *ids;
	int			num;
	int			num_held = 0;
	Oid			schema = mcdp_schema();
	Relation	rel = mcdp_open_to_read(get_relname_relid("profile", schema), AccessShareLock, ACL_SELECT);
	Oid			index = get_relname_relid("profile_pkey", schema);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &ids, NULL, &num);
	for (int i = 0; i < num; i++)
	{
		ScanKeyData key;
		SysScanDesc scan;

		CHECK_FOR_INTERRUPTS();
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, ids[i]);
		scan = systable_beginscan(rel, index, true, snapshot, 1, &key);
		if (HeapTupleIsValid(systable_getnext(scan)) && mcdp_row_is_held((BufferHeapTupleTableSlot *) scan->slot))
			ids[num_held++] = ids[i];
		systable_endscan(scan);
	}
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	PG_RETURN_ARRAYTYPE_P(construct_array(ids, num_held, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
