/*-------------------------------------------------------------------------
 *
 * tag_pending.c
 *	  Waiting changes of tags: made, of one profile or of several.
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
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "core/text_order.h"
#include "store/access.h"
#include "store/relid.h"
#include "store/row_insert.h"
#include "store/statement.h"
#include "store/tag_point.h"

/* From so many on rows are written together. */
#define MANY_CHANGES 6

PG_FUNCTION_INFO_V1(mcdp__set_tag);

static Statement insert_pending = {
	"INSERT INTO cdp.tag_pending (tag, profile_id, present) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
	3, {TEXTOID, INT8OID, BOOLOID}
};
static Statement update_pending = {
	"UPDATE cdp.tag_pending p SET present = $3"
	" WHERE p.tag OPERATOR(pg_catalog.=) $1 AND p.profile_id OPERATOR(pg_catalog.=) $2 AND p.present OPERATOR(pg_catalog.<>) $3",
	3, {TEXTOID, INT8OID, BOOLOID}
};
static Statement toggle_pending = {
	"UPDATE cdp.tag_pending p SET present = NOT p.present"
	" WHERE p.tag OPERATOR(pg_catalog.=) $1 AND p.profile_id OPERATOR(pg_catalog.=) $2 RETURNING p.present",
	2, {TEXTOID, INT8OID}
};
static Statement lock_pending = {
	"SELECT p.present FROM cdp.tag_pending p"
	" WHERE p.tag OPERATOR(pg_catalog.=) $1 AND p.profile_id OPERATOR(pg_catalog.=) $2 FOR UPDATE",
	2, {TEXTOID, INT8OID}
};

/* The primary key, if the target has it open. */
static Relation
open_pkey(Target *target)
{
	Oid			id = mcdp_relid("tag_pending_pkey", mcdp_schema());

	for (int i = 0; target->rel && i < target->info->ri_NumIndices; i++)
	{
		Relation	index = target->info->ri_IndexRelationDescs[i];

		if (RelationGetRelid(index) == id && !target->rel->rd_rel->relrowsecurity && mcdp_may(RelationGetRelid(target->rel), ACL_SELECT))
			return index;
	}
	return NULL;
}

/* Look-ups of rows that are there, or that somebody is inserting or deleting. */
typedef struct Taken
{
	SnapshotData dirty;
	IndexScanDesc scan;			/* NULL: by probes */
	TupleTableSlot *slot;
} Taken;

static void
begin_taken(Taken *taken, Target *target)
{
	Relation	pkey = open_pkey(target);

	InitDirtySnapshot(taken->dirty);
	taken->scan = NULL;
	if (pkey == NULL)
		return;
	taken->scan = mcdp_index_beginscan(target->rel, pkey, &taken->dirty, 2);
	taken->slot = table_slot_create(target->rel, NULL);
}

static void
end_taken(Taken *taken)
{
	if (taken->scan == NULL)
		return;
	ExecDropSingleTupleTableSlot(taken->slot);
	index_endscan(taken->scan);
}

/* Waits for nobody. */
static bool
is_taken(Taken *taken, Datum tag, int64 id)
{
	ScanKeyData keys[2];
	Probe	   *probe;
	bool		result;

	if (taken->scan)
	{
		mcdp_probe_text_key(&keys[0], PENDING_KEY_TAG, tag, C_COLLATION_OID);
		mcdp_probe_id_key(&keys[1], PENDING_KEY_PROFILE_ID, id);
		index_rescan(taken->scan, keys, 2, NULL, 0);
		return index_getnext_slot(taken->scan, ForwardScanDirection, taken->slot);
	}
	mcdp_probe_text_key(&keys[0], PENDING_TAG, tag, C_COLLATION_OID);
	mcdp_probe_id_key(&keys[1], PENDING_PROFILE_ID, id);
	probe = mcdp_probe_begin("tag_pending", "tag_pending_pkey", &taken->dirty, keys, 2);
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
	Taken		taken;

	mcdp_tag_lock_change(tag, id);
	begin_taken(&taken, target);
	if (!is_taken(&taken, tag, id))
	{
		if (target->rel == NULL)
			result = mcdp_statement_do(&insert_pending, args) > 0;
		else
			result = mcdp_target_insert_alone(target);
	}
	end_taken(&taken);
	mcdp_tag_unlock_change(tag, id);

	/* An old snapshot: a query says whether it may go on. */
	if (!result && (target->rel == NULL || IsolationUsesXactSnapshot()))
		return mcdp_statement_do(&insert_pending, args) > 0;
	return result;
}

/* Open unless the user must not, or other things happen then: see row_insert.h. */
static void
open_target(Target *target)
{
	Oid			relid = mcdp_relid("tag_pending", mcdp_schema());

	if (!OidIsValid(relid))
		elog(ERROR, "table \"tag_pending\" does not exist");
	(void) mcdp_target_open_id(target, relid, PENDING_COLUMNS, NULL);
}

/* Does nothing else happen when a row is updated, and may this user do it? */
static bool
updatable(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	return !(triggers && (triggers->trig_update_before_row || triggers->trig_update_after_row ||
						  triggers->trig_update_before_statement || triggers->trig_update_after_statement)) &&
		mcdp_may(RelationGetRelid(rel), ACL_SELECT | ACL_UPDATE);
}

/*
 * Change the row that is there without a query; false if that is not as simple
 * as it looks: it says so already, is not there any more, or is somebody's.
 */
static bool
change_row(Target *target, Datum *args)
{
	SysScanDesc scan;
	Snapshot	now;
	ScanKeyData keys[2];
	HeapTuple	tuple;
	bool		isnull;
	bool		result = false;

	if (target->rel == NULL || IsolationUsesXactSnapshot() || !updatable(target->rel))
		return false;
	now = RegisterSnapshot(GetLatestSnapshot());
	mcdp_probe_text_key(&keys[0], PENDING_TAG, args[0], C_COLLATION_OID);
	mcdp_probe_id_key(&keys[1], PENDING_PROFILE_ID, DatumGetInt64(args[1]));
	scan = systable_beginscan(target->rel, mcdp_relid("tag_pending_pkey", mcdp_schema()), true, now, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) &&
		DatumGetBool(heap_getattr(tuple, PENDING_PRESENT, RelationGetDescr(target->rel), &isnull)) != DatumGetBool(args[2]))
	{
		Datum		values[PENDING_COLUMNS];
		bool		nulls[PENDING_COLUMNS] = {false};
		bool		replaces[PENDING_COLUMNS] = {false};
		TupleTableSlot *slot = table_slot_create(target->rel, NULL);
		TM_FailureData failure;
		LockTupleMode mode;
		McdpUpdateIndexes indexes;

		values[PENDING_PRESENT - 1] = args[2];
		replaces[PENDING_PRESENT - 1] = true;
		ExecForceStoreHeapTuple(heap_modify_tuple(tuple, RelationGetDescr(target->rel), values, nulls, replaces), slot, true);
		slot->tts_tableOid = RelationGetRelid(target->rel);
		result = table_tuple_update(target->rel, &tuple->t_self, slot, GetCurrentCommandId(true), now, InvalidSnapshot,
									true, &failure, &mode, &indexes) == TM_Ok;
		if (result && mcdp_update_all_indexes(indexes))
			mcdp_insert_index_tuples(target->info, slot, target->estate, false, NULL);
		ResetPerTupleExprContext(target->estate);
		ExecDropSingleTupleTableSlot(slot);
	}
	systable_endscan(scan);
	UnregisterSnapshot(now);
	return result;
}

/* args: tag, profile_id, present */
static void
prepare_row(Target *target, Datum *args)
{
	if (target->rel == NULL)
		return;
	mcdp_target_clear(target);
	mcdp_target_set(target, PENDING_PROFILE_ID, args[1]);
	mcdp_target_set(target, PENDING_SINCE, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	mcdp_target_set(target, PENDING_PRESENT, args[2]);
	mcdp_target_set(target, PENDING_TAG, args[0]);
}

static PendingWas
write_row(Target *target, Datum tag, int64 id, bool present)
{
	Datum		args[3] = {tag, Int64GetDatum(id), BoolGetDatum(present)};

	prepare_row(target, args);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (insert_row(target, args))
			return PENDING_NEW;
		if (change_row(target, args))
			return PENDING_OTHER;
		if (target->rel != NULL && !IsolationUsesXactSnapshot())
			(void) mcdp_target_wait(target);
		if (mcdp_statement_do(&update_pending, args) > 0)
			return PENDING_OTHER;
		/* As it should be, or being changed right now, or folded meanwhile. */
		if (mcdp_statement_do(&lock_pending, args) > 0)
		{
			bool		isnull;

			if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) == present)
				return PENDING_SAME;
		}
	}
}

PendingWas
mcdp_pending_write(Datum tag, int64 id, bool present)
{
	Target		target;
	PendingWas	result;

	open_target(&target);
	result = write_row(&target, tag, id, present);
	mcdp_target_close(&target);
	return result;
}

static int
compare_changes(const void *x, const void *y)
{
	const PendingChange *a = *(const PendingChange *const *) x;
	const PendingChange *b = *(const PendingChange *const *) y;
	int			c = mcdp_compare_texts(DatumGetTextPP(a->tag), DatumGetTextPP(b->tag));

	if (c != 0)
		return c;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return (a > b) - (a < b);
}

static bool
same_row(const PendingChange *a, const PendingChange *b)
{
	return a->id == b->id && mcdp_compare_texts(DatumGetTextPP(a->tag), DatumGetTextPP(b->tag)) == 0;
}

/* Somebody made the row at the same moment: it is left. */
static void
leave(TupleTableSlot *row, void *arg)
{
	List	  **left = arg;
	PendingChange *change = palloc(sizeof(PendingChange));
	bool		isnull;

	change->tag = datumCopy(slot_getattr(row, PENDING_TAG, &isnull), false, -1);
	change->id = DatumGetInt64(slot_getattr(row, PENDING_PROFILE_ID, &isnull));
	change->present = DatumGetBool(slot_getattr(row, PENDING_PRESENT, &isnull));
	*left = lappend(*left, change);
}

/* Those that nobody has a row for yet, together; returns the others. */
static List *
put_new(Target *target, const PendingChange *const *change, int num)
{
	List	   *left = NIL;
	Taken		taken;

	target->refused = leave;
	target->refused_arg = &left;
	begin_taken(&taken, target);
	for (int i = 0; i < num; i++)
	{
		Datum		args[3] = {change[i]->tag, Int64GetDatum(change[i]->id), BoolGetDatum(change[i]->present)};

		CHECK_FOR_INTERRUPTS();
		if (is_taken(&taken, change[i]->tag, change[i]->id))
		{
			left = lappend(left, unconstify(PendingChange *, change[i]));
			continue;
		}
		prepare_row(target, args);
		(void) mcdp_target_gather(target, true);
	}
	end_taken(&taken);
	(void) mcdp_target_flush(target, true);
	target->refused = NULL;
	CommandCounterIncrement();
	return left;
}

void
mcdp_pending_put(const PendingChange *changes, int num)
{
	const PendingChange **order = palloc(Max(num, 1) * sizeof(PendingChange *));
	Target		target;
	List	   *left = NIL;
	ListCell   *lc;
	int			n = 0;

	for (int i = 0; i < num; i++)
		order[i] = &changes[i];
	qsort(order, num, sizeof(PendingChange *), compare_changes);
	for (int i = 0; i < num; i++)
		if (i + 1 == num || !same_row(order[i], order[i + 1]))
			order[n++] = order[i];

	open_target(&target);
	if (n >= MANY_CHANGES && target.rel && !IsolationUsesXactSnapshot())
		left = put_new(&target, order, n);
	else
		for (int i = 0; i < n; i++)
			left = lappend(left, unconstify(PendingChange *, order[i]));
	foreach(lc, left)
	{
		PendingChange *c = lfirst(lc);

		(void) write_row(&target, c->tag, c->id, c->present);
	}
	mcdp_target_close(&target);
	list_free(left);
	pfree(order);
}

/* The row is ours and was not there: what did the chunk say? */
static bool
had_before(Datum tag, int64 id, Snapshot snapshot)
{
	bool		result;

	PushCopiedSnapshot(snapshot);
	UpdateActiveSnapshotCommandId();
	result = mcdp_tag_probe_chunk(id, tag, GetActiveSnapshot());
	PopActiveSnapshot();
	return result;
}

bool
mcdp_pending_set(Datum tag, int64 id, bool present)
{
	PendingWas	was = mcdp_pending_write(tag, id, present);

	/* what there is now: a fold may have got in between */
	if (was == PENDING_NEW)
		return had_before(tag, id, GetTransactionSnapshot()) != present;
	return was == PENDING_OTHER;
}

bool
mcdp_pending_toggle(Datum tag, int64 id)
{
	Datum		args[3] = {tag, Int64GetDatum(id)};
	Target		target;
	bool		present;

	open_target(&target);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		PushCopiedSnapshot(GetTransactionSnapshot());
		UpdateActiveSnapshotCommandId();
		present = !mcdp_tag_probe(id, tag, GetActiveSnapshot());
		PopActiveSnapshot();
		args[2] = BoolGetDatum(present);
		prepare_row(&target, args);
		if (insert_row(&target, args))
		{
			/* others may have toggled it and had it folded since */
			if (had_before(tag, id, GetLatestSnapshot()) != present)
				break;
			if (IsolationUsesXactSnapshot())
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update")));
			CommandCounterIncrement();
		}
		else if (target.rel != NULL && !IsolationUsesXactSnapshot())
			(void) mcdp_target_wait(&target);
		if (mcdp_statement_do(&toggle_pending, args) > 0)
		{
			bool		isnull;

			present = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
			break;
		}
	}
	mcdp_target_close(&target);
	return present;
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
