/*-------------------------------------------------------------------------
 *
 * tag_pending_read.c
 *	  Waiting changes of tags: which tags profiles have by them.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_pending_read.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "core/compat.h"
#include "store/access.h"
#include "store/relid.h"
#include "store/tag_point.h"

PG_FUNCTION_INFO_V1(mcdp__pending_tags);

/* The next tag in the index at or after one, or NULL: dead rows count too. */
static text *
next_tag(IndexScanDesc scan, ScanKey key, text *from, StrategyNumber strategy, RegProcedure compare)
{
	bool		isnull;

	ScanKeyEntryInitialize(key, 0, PENDING_KEY_TAG, strategy, InvalidOid, C_COLLATION_OID, compare,
						   PointerGetDatum(from));
	index_rescan(scan, key, 1, NULL, 0);
	if (index_getnext_tid(scan, ForwardScanDirection) == NULL)
		return NULL;
	return DatumGetTextPCopy(index_getattr(scan->xs_itup, PENDING_KEY_TAG, scan->xs_itupdesc, &isnull));
}

void
mcdp_pending_tags(const int64 *ids, int num, text *since, text *until, Snapshot snapshot, List **result)
{
	Oid			schema = mcdp_schema();
	Oid			relid = mcdp_relid("tag_pending", schema);
	Oid			index_id = mcdp_relid("tag_pending_pkey", schema);
	Relation	rel,
				index;
	IndexScanDesc tags,
				rows;
	ScanKeyData tag_key,
				row_keys[2];
	TupleTableSlot *slot;
	text	   *tag;

	for (int i = 0; i < num; i++)
		result[i] = NIL;
	if (!OidIsValid(relid) || !OidIsValid(index_id))
		elog(ERROR, "table \"tag_pending\" or its primary key does not exist");
	rel = mcdp_open_to_read(relid, AccessShareLock, ACL_SELECT);
	index = index_open(index_id, AccessShareLock);
	slot = table_slot_create(rel, NULL);
	tags = mcdp_index_beginscan(rel, index, snapshot, 1);
	tags->xs_want_itup = true;
	rows = mcdp_index_beginscan(rel, index, snapshot, 2);
	for (tag = next_tag(tags, &tag_key, since ? since : cstring_to_text(""), BTGreaterEqualStrategyNumber, F_TEXT_GE);
		 tag != NULL && (until == NULL || DatumGetBool(DirectFunctionCall2Coll(text_lt, C_COLLATION_OID, PointerGetDatum(tag), PointerGetDatum(until))));
		 tag = next_tag(tags, &tag_key, tag, BTGreaterStrategyNumber, F_TEXT_GT))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		ScanKeyEntryInitialize(&row_keys[0], 0, PENDING_KEY_TAG, BTEqualStrategyNumber, InvalidOid,
							   C_COLLATION_OID, F_TEXTEQ, PointerGetDatum(tag));
		for (int i = 0; i < num; i++)
		{
			ScanKeyInit(&row_keys[1], PENDING_KEY_PROFILE_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(ids[i]));
			index_rescan(rows, row_keys, 2, NULL, 0);
			if (index_getnext_slot(rows, ForwardScanDirection, slot) &&
				DatumGetBool(slot_getattr(slot, PENDING_PRESENT, &isnull)))
				result[i] = lappend(result[i], tag);
		}
	}
	index_endscan(rows);
	index_endscan(tags);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

/* _pending_tags(id, since text, until text) */
Datum
mcdp__pending_tags(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		id = PG_ARGISNULL(0) ? -1 : PG_GETARG_INT64(0);
	List	   *tags;
	ListCell   *lc;
	bool		no = false;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	mcdp_pending_tags(&id, 1, PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1),
					  PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2), GetActiveSnapshot(), &tags);
	foreach(lc, tags)
	{
		Datum		value = PointerGetDatum(lfirst(lc));

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &no);
	}
	return (Datum) 0;
}
