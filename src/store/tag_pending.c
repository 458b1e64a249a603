/*-------------------------------------------------------------------------
 *
 * tag_pending.c
 *	  Waiting changes of tags: one of one profile, and which a profile has.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_pending.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "core/compat.h"
#include "store/access.h"
#include "store/row_insert.h"
#include "store/statement.h"
#include "store/tag_point.h"

PG_FUNCTION_INFO_V1(mcdp__set_tag);
PG_FUNCTION_INFO_V1(mcdp__pending_tags);

static Statement insert_pending = {
	"INSERT INTO cdp.tag_pending (tag, profile_id, present) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
	3, {TEXTOID, INT8OID, BOOLOID}
};
static Statement update_pending = {
	"UPDATE cdp.tag_pending p SET present = $3"
	" WHERE p.tag OPERATOR(pg_catalog.=) $1 AND p.profile_id OPERATOR(pg_catalog.=) $2 AND p.present OPERATOR(pg_catalog.<>) $3",
	3, {TEXTOID, INT8OID, BOOLOID}
};
static Statement lock_pending = {
	"SELECT p.present FROM cdp.tag_pending p"
	" WHERE p.tag OPERATOR(pg_catalog.=) $1 AND p.profile_id OPERATOR(pg_catalog.=) $2 FOR UPDATE",
	2, {TEXTOID, INT8OID}
};

/* Is there a row, or is somebody inserting or deleting one?  Waits for nobody. */
static bool
is_taken(Datum tag, int64 id)
{
	SnapshotData dirty;
	ScanKeyData keys[2];
	Probe	   *probe;
	bool		result;

	InitDirtySnapshot(dirty);
	mcdp_probe_text_key(&keys[0], PENDING_TAG, tag, C_COLLATION_OID);
	mcdp_probe_id_key(&keys[1], PENDING_PROFILE_ID, id);
	probe = mcdp_probe_begin("tag_pending", "tag_pending_pkey", &dirty, keys, 2);
	result = mcdp_probe_next(probe);
	mcdp_probe_end(probe);
	return result;
}

/*
 * Make the row, unless there is one.  An INSERT with ON CONFLICT would do, but
 * writes a second record to the WAL to say that there was no conflict.
 */
static bool
insert_row(Target *target, Datum *args)
{
	Datum		tag = args[0];
	int64		id = DatumGetInt64(args[1]);
	bool		result = false;

	mcdp_tag_lock_change(tag, id);
	if (!is_taken(tag, id))
	{
		if (target->rel == NULL)
			result = mcdp_statement_do(&insert_pending, args) > 0;
		else
			result = mcdp_target_insert_alone(target);
	}
	mcdp_tag_unlock_change(tag, id);

	/* An old snapshot: a query says whether it may go on. */
	if (!result && (target->rel == NULL || IsolationUsesXactSnapshot()))
		return mcdp_statement_do(&insert_pending, args) > 0;
	if (!result)
		(void) mcdp_target_wait(target);
	return result;
}

/* Open unless the user must not, or other things happen then: see row_insert.h. */
static void
open_target(Target *target)
{
	Oid			relid = get_relname_relid("tag_pending", get_namespace_oid("cdp", false));
	Relation	rel;

	if (!OidIsValid(relid))
		elog(ERROR, "table \"tag_pending\" does not exist");
	rel = table_open(relid, RowExclusiveLock);
	(void) mcdp_target_open(target, rel, PENDING_COLUMNS);
	table_close(rel, NoLock);
}

bool
mcdp_pending_set(Datum tag, int64 id, bool present)
{
	Datum		args[3] = {tag, Int64GetDatum(id), BoolGetDatum(present)};
	Target		target;
	bool		had = present;

	open_target(&target);
	if (target.rel != NULL)
	{
		mcdp_target_clear(&target);
		mcdp_target_set(&target, PENDING_PROFILE_ID, args[1]);
		mcdp_target_set(&target, PENDING_SINCE, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
		mcdp_target_set(&target, PENDING_PRESENT, args[2]);
		mcdp_target_set(&target, PENDING_TAG, tag);
	}
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (insert_row(&target, args))
		{
			/* what there is now: a fold may have got in between */
			PushCopiedSnapshot(GetTransactionSnapshot());
			UpdateActiveSnapshotCommandId();
			had = mcdp_tag_probe_chunk(id, tag, GetActiveSnapshot());
			PopActiveSnapshot();
			break;
		}
		if (mcdp_statement_do(&update_pending, args) > 0)
		{
			had = !present;
			break;
		}
		/* As it should be, or being changed right now, or folded meanwhile. */
		if (mcdp_statement_do(&lock_pending, args) > 0)
		{
			bool		isnull;

			had = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
			if (had == present)
				break;
		}
	}
	mcdp_target_close(&target);
	return had != present;
}

/* _set_tag(name, id, present) */
Datum
mcdp__set_tag(PG_FUNCTION_ARGS)
{
	bool		result;

	mcdp_spi_connect();
	result = mcdp_pending_set(PointerGetDatum(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT64(1), PG_GETARG_BOOL(2));
	mcdp_spi_finish();
	PG_RETURN_BOOL(result);
}

/* ---- the tags of one profile ---- */

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
	Oid			schema = get_namespace_oid("cdp", false);
	Oid			relid = get_relname_relid("tag_pending", schema);
	Oid			index_id = get_relname_relid("tag_pending_pkey", schema);
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
