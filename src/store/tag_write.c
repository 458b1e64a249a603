/*-------------------------------------------------------------------------
 *
 * tag_write.c
 *	  Changes of many members of one tag, written into its chunks.
 *
 * Chunk by chunk, ascending: the row is read, changed in memory, and written if
 * it has changed; a chunk that has become empty has no row.  A row that somebody
 * else has changed since it was read is read anew.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_write.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/chunk_set.h"
#include "core/compat.h"
#include "store/access.h"
#include "store/relid.h"
#include "store/row_insert.h"
#include "store/tag_point.h"
#include "types/bitmap.h"
#include "types/chunk.h"

PG_FUNCTION_INFO_V1(mcdp__write_chunks);

/* tag_chunk (tag, chunk, members): positions */
#define CHUNK_TAG			1
#define CHUNK_CHUNK			2
#define CHUNK_MEMBERS		3
#define CHUNK_COLUMNS		3

typedef struct Writer
{
	Target		target;
	Relation	pkey;
	TupleTableSlot *stored;		/* the row in hand */
	Datum		tag;
} Writer;

/* What there is now. */
static void
push_snapshot(void)
{
	PushCopiedSnapshot(GetTransactionSnapshot());
	UpdateActiveSnapshotCommandId();
}

static void
begin_writing(Writer *w, Datum tag)
{
	Oid			schema = get_namespace_oid("cdp", false);
	Oid			relid = get_relname_relid("tag_chunk", schema);
	Oid			index_id = get_relname_relid("tag_chunk_pkey", schema);
	Relation	rel;

	if (!OidIsValid(relid) || !OidIsValid(index_id))
		elog(ERROR, "table \"tag_chunk\" or its primary key does not exist");
	rel = mcdp_open_to_read(relid, RowExclusiveLock, ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE);
	if (!mcdp_target_open(&w->target, rel, CHUNK_COLUMNS))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"tag_chunk\" must have no triggers and no rules")));
	w->pkey = index_open(index_id, RowExclusiveLock);
	w->stored = table_slot_create(rel, NULL);
	w->tag = tag;
	table_close(rel, NoLock);
	push_snapshot();
}

static void
end_writing(Writer *w)
{
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(w->stored);
	index_close(w->pkey, NoLock);
	mcdp_target_close(&w->target);
	CommandCounterIncrement();
}

/* The row of a chunk, into w->stored. */
static bool
find_row(Writer *w, int64 chunk)
{
	IndexScanDesc scan = mcdp_index_beginscan(w->target.rel, w->pkey, GetActiveSnapshot(), 2);
	ScanKeyData keys[2];
	bool		found;

	ScanKeyEntryInitialize(&keys[0], 0, CHUNK_TAG, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, w->tag);
	ScanKeyInit(&keys[1], CHUNK_CHUNK, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(chunk));
	index_rescan(scan, keys, 2, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, w->stored);
	index_endscan(scan);
	return found;
}

/* A new version of the row that w->stored is. */
static TM_Result
update_row(Writer *w)
{
	ResultRelInfo *info = w->target.info;
	TupleTableSlot *slot = w->target.slot;
	McdpUpdateIndexes update_indexes;
	LockTupleMode lock_mode;
	TM_FailureData failure;
	TM_Result	result;

	mcdp_target_store(&w->target);
	result = table_tuple_update(w->target.rel, &w->stored->tts_tid, slot, GetCurrentCommandId(true),
								GetActiveSnapshot(), InvalidSnapshot, true, &failure, &lock_mode, &update_indexes);
	if (result != TM_Ok || !update_indexes)
		return result;
	for (int i = 0; i < info->ri_NumIndices; i++)
	{
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		FormIndexDatum(info->ri_IndexRelationInfo[i], slot, w->target.estate, values, nulls);
		index_insert(info->ri_IndexRelationDescs[i], values, nulls, &slot->tts_tid, w->target.rel,
					 info->ri_IndexRelationDescs[i]->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
					 true, info->ri_IndexRelationInfo[i]);
	}
	return TM_Ok;
}

static TM_Result
delete_row(Writer *w)
{
	TM_FailureData failure;

	return table_tuple_delete(w->target.rel, &w->stored->tts_tid, GetCurrentCommandId(true), GetActiveSnapshot(),
							  InvalidSnapshot, true, &failure, false);
}

/* added and removed are bit sets; removing comes last. */
static void
write_chunk(Writer *w, int64 chunk, const uint8 *added, const uint8 *removed)
{
	union
	{
		struct varlena header;
		char		bytes[VARHDRSZ + CHUNK_MAX_BYTES];
	}			members;

	for (;;)
	{
		uint8		bits[CHUNK_BITS_BYTES];
		uint8		before[CHUNK_BITS_BYTES];
		bool		exists = find_row(w, chunk);
		TM_Result	result = TM_Ok;

		if (exists)
		{
			bool		isnull;

			mcdp_chunk_expand(DatumGetByteaPP(slot_getattr(w->stored, CHUNK_MEMBERS, &isnull)), before);
		}
		else
			memset(before, 0, sizeof(before));
		mcdp_bits_or(bits, before, added);
		mcdp_bits_andnot(bits, bits, removed);
		if (memcmp(bits, before, sizeof(bits)) == 0)
			return;
		if (mcdp_bits_empty(bits))
			result = delete_row(w);
		else
		{
			SET_VARSIZE(&members, VARHDRSZ + mcdp_chunk_write(bits, (uint8 *) members.bytes + VARHDRSZ));
			mcdp_target_clear(&w->target);
			mcdp_target_set(&w->target, CHUNK_TAG, w->tag);
			mcdp_target_set(&w->target, CHUNK_CHUNK, Int64GetDatum(chunk));
			mcdp_target_set(&w->target, CHUNK_MEMBERS, PointerGetDatum(&members));
			if (exists)
				result = update_row(w);
			else if (!mcdp_target_insert(&w->target))
			{
				(void) mcdp_target_wait(&w->target);
				result = TM_Updated;
			}
		}
		if (result == TM_Ok)
			return;
		if (result != TM_Updated && result != TM_Deleted)
			elog(ERROR, "unexpected result %d of changing a row of \"tag_chunk\"", result);
		if (IsolationUsesXactSnapshot())
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update")));
		CHECK_FOR_INTERRUPTS();
		PopActiveSnapshot();
		push_snapshot();
	}
}

/* The first chunk at or after "from" in which the set has a member. */
static int64
next_chunk(const Rbuf *set, int64 from)
{
	RbufIter	it;
	uint64		id;

	if (set == NULL || from > (int64) (RBUF_MAX_ID >> CHUNK_ID_BITS))
		return PG_INT64_MAX;
	mcdp_rbuf_iter_init_at(&it, set, (uint64) from << CHUNK_ID_BITS);
	return mcdp_rbuf_iter_next(&it, &id) ? (int64) (id >> CHUNK_ID_BITS) : PG_INT64_MAX;
}

/* _write_chunks(name, added, removed) */
Datum
mcdp__write_chunks(PG_FUNCTION_ARGS)
{
	MemoryContext cx;
	Rbuf	   *sets[2] = {NULL, NULL};
	int64		chunk = 0;
	Writer		writer;

	if (PG_ARGISNULL(0))
		PG_RETURN_VOID();
	cx = AllocSetContextCreate(CurrentMemoryContext, "write chunks", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < 2; i++)
		if (!PG_ARGISNULL(1 + i))
			sets[i] = mcdp_bitmap_to_rbuf(cx, PG_GETARG_DATUM(1 + i));
	begin_writing(&writer, PointerGetDatum(PG_GETARG_TEXT_PP(0)));
	for (;;)
	{
		int64		next[2] = {next_chunk(sets[0], chunk), next_chunk(sets[1], chunk)};
		uint8		changes[2][CHUNK_BITS_BYTES];

		CHECK_FOR_INTERRUPTS();
		chunk = Min(next[0], next[1]);
		if (chunk == PG_INT64_MAX)
			break;
		for (int i = 0; i < 2; i++)
		{
			if (sets[i] != NULL)
				mcdp_rbuf_get_slice(sets[i], chunk, changes[i]);
			else
				memset(changes[i], 0, CHUNK_BITS_BYTES);
		}
		write_chunk(&writer, chunk, changes[0], changes[1]);
		chunk++;
	}
	end_writing(&writer);
	MemoryContextDelete(cx);
	PG_RETURN_VOID();
}

bool
mcdp_tag_may_write_chunks(void)
{
	Oid			relid = mcdp_relid("tag_chunk", mcdp_schema());
	Target		target;

	if (!OidIsValid(relid) || !mcdp_may(relid, ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE) ||
		!mcdp_target_open_id(&target, relid, CHUNK_COLUMNS, NULL))
		return false;
	mcdp_target_close(&target);
	return true;
}

void
mcdp_tag_fill_chunk(Datum tag, int64 chunk)
{
	Writer		writer;
	uint8		added[CHUNK_BITS_BYTES];
	uint8		removed[CHUNK_BITS_BYTES] = {0};

	memset(added, 0xff, sizeof(added));
	begin_writing(&writer, tag);
	write_chunk(&writer, chunk, added, removed);
	end_writing(&writer);
}
