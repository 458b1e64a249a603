/*-------------------------------------------------------------------------
 *
 * row_insert.c
 *	  Rows into our own tables without a query.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/row_insert.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "core/compat.h"
#include "store/access.h"
#include "store/btree_run.h"
#include "store/row_insert.h"

#define GATHER_ROWS 500
#define GATHER_BYTES (1024 * 1024)

/* May this user insert into the table, and does nothing else happen then? */
static bool
writable(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	return mcdp_may(RelationGetRelid(rel), ACL_INSERT) &&
		(!rel->rd_rel->relrowsecurity || check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_NONE) &&
		!(triggers && (triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
					   triggers->trig_insert_before_statement || triggers->trig_insert_after_statement)) &&
		!rel->rd_rel->relhasrules;
}

bool
mcdp_target_open(Target *t, Relation rel, int columns)
{
	return mcdp_target_open_with(t, rel, columns, NULL);
}

bool
mcdp_target_open_with(Target *t, Relation rel, int columns, EState *estate)
{
	return mcdp_target_open_id(t, RelationGetRelid(rel), columns, estate);
}

bool
mcdp_target_open_id(Target *t, Oid relid, int columns, EState *estate)
{
	t->rel = NULL;
	if (!OidIsValid(relid))
		return false;
	t->rel = table_open(relid, RowExclusiveLock);
	if (RelationGetDescr(t->rel)->natts != columns || !writable(t->rel))
	{
		table_close(t->rel, NoLock);
		t->rel = NULL;
		return false;
	}
	t->own_estate = estate == NULL;
	t->estate = estate ? estate : CreateExecutorState();
	t->info = makeNode(ResultRelInfo);
	InitResultRelInfo(t->info, t->rel, 1, NULL, 0);
	ExecOpenIndices(t->info, false);
	t->slot = table_slot_create(t->rel, NULL);
	t->gathered = NULL;
	t->late = NULL;
	t->run = NULL;
	t->num_gathered = t->num_late = t->max_late = 0;
	t->bytes_gathered = 0;
	t->refused = NULL;
	for (int i = 0; i < t->info->ri_NumIndices; i++)
	{
		Form_pg_index index = t->info->ri_IndexRelationDescs[i]->rd_index;

		if (index->indisexclusion || !index->indimmediate)
		{
			mcdp_target_close(t);
			return false;
		}
	}
	return true;
}

void
mcdp_target_close(Target *t)
{
	if (t->rel == NULL)
		return;
	Assert(t->num_gathered == 0 && t->num_late == 0);
	for (int i = 0; t->gathered && i < GATHER_ROWS && t->gathered[i]; i++)
		ExecDropSingleTupleTableSlot(t->gathered[i]);
	ExecDropSingleTupleTableSlot(t->slot);
	for (int i = 0; t->run && i < t->info->ri_NumIndices; i++)
		if (t->run[i])
			mcdp_run_end(t->run[i]);
	ExecCloseIndices(t->info);
	if (t->own_estate)
		FreeExecutorState(t->estate);
	table_close(t->rel, NoLock);	/* the lock stays until the end of the transaction */
	t->rel = NULL;
}

void
mcdp_target_clear(Target *t)
{
	ExecClearTuple(t->slot);
	memset(t->slot->tts_isnull, true, sizeof(bool) * RelationGetDescr(t->rel)->natts);
}

void
mcdp_target_set(Target *t, AttrNumber column, Datum value)
{
	t->slot->tts_values[column - 1] = value;
	t->slot->tts_isnull[column - 1] = false;
}

void
mcdp_target_set_text(Target *t, AttrNumber column, text *value)
{
	if (value)
		mcdp_target_set(t, column, PointerGetDatum(value));
}

void
mcdp_target_store(Target *t)
{
	if (!TTS_EMPTY(t->slot))
		return;
	ExecStoreVirtualTuple(t->slot);
	t->slot->tts_tableOid = RelationGetRelid(t->rel);
	ExecMaterializeSlot(t->slot);
}

uint32
mcdp_target_begin_trying(void)
{
	return SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
}

bool
mcdp_target_try(Target *t, uint32 token)
{
	bool		ok;

	mcdp_target_store(t);
	table_tuple_insert_speculative(t->rel, t->slot, GetCurrentCommandId(true), 0, NULL, token);
	ok = mcdp_target_index(t, true);
	if (!ok)
		heap_abort_speculative(t->rel, &t->slot->tts_tid);
	return ok;
}

void
mcdp_target_end_trying(Target *t, ItemPointerData *tids, int num, bool keep)
{
	for (int i = 0; i < num; i++)
	{
		if (keep)
			heap_finish_speculative(t->rel, &tids[i]);
		else
			heap_abort_speculative(t->rel, &tids[i]);
	}
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
}

bool
mcdp_target_insert(Target *t)
{
	uint32		token = mcdp_target_begin_trying();
	bool		ok = mcdp_target_try(t, token);

	mcdp_target_end_trying(t, &t->slot->tts_tid, ok ? 1 : 0, true);
	return ok;
}

bool
mcdp_target_insert_alone(Target *t)
{
	bool		ok;

	mcdp_target_store(t);
	table_tuple_insert(t->rel, t->slot, GetCurrentCommandId(true), 0, NULL);
	ok = mcdp_target_index(t, true);
	if (!ok)
	{
		CommandCounterIncrement();
		simple_table_tuple_delete(t->rel, &t->slot->tts_tid, GetActiveSnapshot());
	}
	return ok;
}

/*
 * An index of one bigint that says nothing about what may be inserted: its
 * entries wait until all rows are there, and go in by key.  So entries of
 * neighbours meet on one page, and those of new profiles at the end of the index,
 * where no search is needed.
 */
static bool
is_late(Target *t, int i)
{
	Relation	index = t->info->ri_IndexRelationDescs[i];
	IndexInfo  *info = t->info->ri_IndexRelationInfo[i];
	AttrNumber	column = info->ii_IndexAttrNumbers[0];

	return info->ii_ReadyForInserts && !index->rd_index->indisunique && info->ii_NumIndexAttrs == 1 && info->ii_Predicate == NIL &&
		column > 0 && TupleDescAttr(RelationGetDescr(t->rel), column - 1)->atttypid == INT8OID &&
		TupleDescAttr(RelationGetDescr(t->rel), column - 1)->attnotnull && index->rd_rel->relam == BTREE_AM_OID;
}

static void
remember_late_entries(Target *t, int i, int num)
{
	AttrNumber	column = t->info->ri_IndexRelationInfo[i]->ii_IndexAttrNumbers[0];
	LateEntry  *late = t->late[i] + t->num_late;

	for (int r = 0; r < num; r++)
	{
		bool		isnull;

		late[r].key = DatumGetInt64(slot_getattr(t->gathered[r], column, &isnull));
		late[r].tid = t->gathered[r]->tts_tid;
	}
}

static inline int
compare_late(const LateEntry *a, const LateEntry *b)
{
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return ItemPointerCompare(unconstify(ItemPointerData *, &a->tid), unconstify(ItemPointerData *, &b->tid));
}

#define ST_SORT sort_late
#define ST_ELEMENT_TYPE LateEntry
#define ST_COMPARE(a, b) compare_late(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static void
insert_late_entries(Target *t)
{
	for (int i = 0; i < t->info->ri_NumIndices && t->num_late > 0; i++)
	{
		if (t->late[i] == NULL)
			continue;
		sort_late(t->late[i], t->num_late);
		for (int e = 0; e < t->num_late; e++)
		{
			Datum		key = Int64GetDatum(t->late[i][e].key);
			bool		isnull = false;

			CHECK_FOR_INTERRUPTS();
			if (t->run[i] == NULL || !mcdp_run_insert(t->run[i], &key, &isnull, &t->late[i][e].tid))
				(void) index_insert(t->info->ri_IndexRelationDescs[i], &key, &isnull, &t->late[i][e].tid, t->rel,
									UNIQUE_CHECK_NO, false, t->info->ri_IndexRelationInfo[i]);
		}
		if (t->run[i])
			mcdp_run_leave(t->run[i]);
	}
	t->num_late = 0;
}

static void
begin_runs(Target *t)
{
	if (t->run)
		return;
	t->run = palloc0(Max(t->info->ri_NumIndices, 1) * sizeof(BtreeRun *));
	for (int i = 0; i < t->info->ri_NumIndices; i++)
		t->run[i] = mcdp_run_begin(t->rel, t->info->ri_IndexRelationDescs[i], t->info->ri_IndexRelationInfo[i]);
}

/* Make room for so many more; late[i] is NULL where an index does not wait. */
static void
expect_late_entries(Target *t, int num)
{
	int			n = t->info->ri_NumIndices;

	if (t->num_late + num <= t->max_late)
		return;
	if (t->late == NULL)
		t->late = palloc0(Max(n, 1) * sizeof(LateEntry *));
	t->max_late = Max(2 * t->max_late, num);
	for (int i = 0; i < n; i++)
	{
		if (t->late[i])
			t->late[i] = repalloc_huge(t->late[i], t->max_late * sizeof(LateEntry));
		else if (t->refused == NULL && is_late(t, i))
			t->late[i] = MemoryContextAllocHuge(CurrentMemoryContext, t->max_late * sizeof(LateEntry));
	}
}

/* A row with its key is there already, or may be. */
static void
take_back(Target *t, TupleTableSlot *row)
{
	/* our own row would be the one that is found */
	CommandCounterIncrement();
	simple_table_tuple_delete(t->rel, &row->tts_tid, InvalidSnapshot);
}

/*
 * Index entries of all gathered rows, one index after the other, so that its
 * upper pages stay in the processor's cache.  Returns the number of a row
 * that is there already, or may be, or -1; in place of that such rows are
 * taken back and cleared if there is a function that wants to know of them.
 */
static pg_noinline int
insert_index_entries(Target *t, int num, bool unsure)
{
	ExprContext *econtext = GetPerTupleExprContext(t->estate);

	begin_runs(t);
	expect_late_entries(t, num);
	for (int i = 0; i < t->info->ri_NumIndices; i++)
	{
		Relation	index = t->info->ri_IndexRelationDescs[i];
		IndexInfo  *info = t->info->ri_IndexRelationInfo[i];
		IndexUniqueCheck unique = !index->rd_index->indisunique ? UNIQUE_CHECK_NO : unsure ? UNIQUE_CHECK_PARTIAL : UNIQUE_CHECK_YES;

		if (!info->ii_ReadyForInserts)
			continue;
		if (t->late[i])
		{
			remember_late_entries(t, i, num);
			continue;
		}
		if (info->ii_Predicate != NIL && info->ii_PredicateState == NULL)
			info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, t->estate);
		for (int r = 0; r < num; r++)
		{
			TupleTableSlot *slot = t->gathered[r];
			Datum		values[INDEX_MAX_KEYS];
			bool		isnull[INDEX_MAX_KEYS];
			bool		ok;

			CHECK_FOR_INTERRUPTS();
			if (TTS_EMPTY(slot))
				continue;
			econtext->ecxt_scantuple = slot;
			if (info->ii_Predicate != NIL && !ExecQual(info->ii_PredicateState, econtext))
				continue;
			FormIndexDatum(info, slot, t->estate, values, isnull);
			ok = (t->run[i] && mcdp_run_insert(t->run[i], values, isnull, &slot->tts_tid)) ||
				index_insert(index, values, isnull, &slot->tts_tid, t->rel, unique, false, info);
			ResetPerTupleExprContext(t->estate);
			if (unique != UNIQUE_CHECK_PARTIAL || ok)
				continue;
			if (t->refused == NULL)
				return r;
			take_back(t, slot);
			t->refused(slot, t->refused_arg);
			ExecClearTuple(slot);
		}
		if (t->run[i])
			mcdp_run_leave(t->run[i]);
	}
	t->num_late += num;
	return -1;
}

static bool
write_gathered(Target *t, bool unsure)
{
	int			num = t->num_gathered;
	int			conflict;

	t->num_gathered = 0;
	t->bytes_gathered = 0;
	if (num == 0)
		return true;
	table_multi_insert(t->rel, t->gathered, num, GetCurrentCommandId(true), 0, NULL);
	conflict = insert_index_entries(t, num, unsure);
	if (conflict >= 0)
	{
		t->num_late = 0;
		ExecCopySlot(t->slot, t->gathered[conflict]);
		return false;
	}
	for (int r = 0; r < num; r++)
		ExecClearTuple(t->gathered[r]);
	/*
	 * The WAL writer looks only now and then.  Sessions that fill the buffers in
	 * between have to write them themselves, page by page, one waiting for the
	 * other.
	 */
	XLogSetAsyncXactLSN(XactLastRecEnd);
	return true;
}

bool
mcdp_target_flush(Target *t, bool unsure)
{
	if (!write_gathered(t, unsure))
		return false;
	insert_late_entries(t);
	return true;
}

bool
mcdp_target_gather(Target *t, bool unsure)
{
	TupleTableSlot *slot = t->slot;

	mcdp_target_store(t);
	t->bytes_gathered += ExecFetchSlotHeapTuple(slot, false, NULL)->t_len;
	if (t->gathered == NULL)
		t->gathered = palloc0(GATHER_ROWS * sizeof(TupleTableSlot *));
	if (t->gathered[t->num_gathered] == NULL)
		t->gathered[t->num_gathered] = table_slot_create(t->rel, NULL);
	t->slot = t->gathered[t->num_gathered];
	t->gathered[t->num_gathered++] = slot;
	if (t->num_gathered < GATHER_ROWS && t->bytes_gathered < GATHER_BYTES)
		return true;
	return write_gathered(t, unsure);
}

void
mcdp_target_insert_new(Target *t)
{
	mcdp_target_store(t);
	table_tuple_insert(t->rel, t->slot, GetCurrentCommandId(true), 0, NULL);
	(void) mcdp_target_index(t, false);
}

bool
mcdp_target_wait(Target *t)
{
	ItemPointerData tid;
	MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(t->info));

	/* what ExecOpenIndices would do for rows that nobody waits for, too */
	for (int i = 0; i < t->info->ri_NumIndices; i++)
	{
		IndexInfo  *index = t->info->ri_IndexRelationInfo[i];

		if (index->ii_Unique && index->ii_UniqueOps == NULL)
			BuildSpeculativeIndexInfo(t->info->ri_IndexRelationDescs[i], index);
	}
	MemoryContextSwitchTo(caller);
	mcdp_target_store(t);
	return !mcdp_check_index_constraints(t->info, t->slot, t->estate, &tid);
}
