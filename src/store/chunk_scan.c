/*-------------------------------------------------------------------------
 *
 * chunk_scan.c
 *	  The members of tags, chunk by chunk, where they are stored.
 *
 * tag_chunk and tag_pending are read through their primary keys, without the
 * executor.  The columns are known by position: they keep it for ever, new
 * ones are added at the end.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/chunk_scan.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/access.h"
#include "store/chunk_scan.h"
#include "store/tag_point.h"
#include "types/chunk.h"

/* tag_chunk (tag, chunk, members), trait_slice (trait, slice, chunk, members): positions of columns */
#define CHUNK_COLUMN(cursor) ((cursor)->nkeys + 1)
#define MEMBERS_COLUMN(cursor) ((cursor)->nkeys + 2)

/* Skipping so many chunks row by row costs as much as a new descent. */
#define MANY_STEPS			4

static Relation
open_table(Oid schema, const char *name, const char *index_name, AclMode privileges, Relation *index)
{
	Oid			relid = get_relname_relid(name, schema);
	Oid			index_id = get_relname_relid(index_name, schema);

	if (!OidIsValid(relid) || !OidIsValid(index_id))
		elog(ERROR, "table \"%s\" or its primary key does not exist", name);
	mcdp_check_policies(get_relname_relid("profile", schema));
	*index = index_open(index_id, AccessShareLock);
	return mcdp_open_to_read(relid, AccessShareLock, privileges);
}

void
mcdp_chunk_reader_begin(ChunkReader *reader, MemoryContext cx)
{
	Oid			schema = get_namespace_oid("cdp", false);

	reader->cx = cx;
	reader->snapshot = GetActiveSnapshot();
	reader->chunks = open_table(schema, "tag_chunk", "tag_chunk_pkey", ACL_SELECT, &reader->chunks_index);
	reader->pending = open_table(schema, "tag_pending", "tag_pending_pkey", ACL_SELECT, &reader->pending_index);
}

void
mcdp_slice_reader_begin(ChunkReader *reader, MemoryContext cx)
{
	reader->cx = cx;
	reader->snapshot = GetActiveSnapshot();
	/* Who may see the trait's values was asked before: mcdp_check_trait. */
	reader->chunks = open_table(get_namespace_oid("cdp", false), "trait_slice", "trait_slice_pkey",
								ACL_NO_RIGHTS, &reader->chunks_index);
	reader->pending = NULL;
}

void
mcdp_chunk_reader_end(ChunkReader *reader)
{
	index_close(reader->chunks_index, AccessShareLock);
	table_close(reader->chunks, AccessShareLock);
	if (reader->pending == NULL)
		return;
	index_close(reader->pending_index, AccessShareLock);
	table_close(reader->pending, AccessShareLock);
}

static void
key_of_name(ScanKey key, const char *name)
{
	ScanKeyEntryInitialize(key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(name));
}

/* The changes that wait, in order of profiles. */
static void
read_waiting(ChunkCursor *cursor)
{
	ChunkReader *reader = cursor->reader;
	TupleTableSlot *slot = table_slot_create(reader->pending, NULL);
	IndexScanDesc scan = mcdp_index_beginscan(reader->pending, reader->pending_index,
										 reader->snapshot, 1);
	uint32		max = 0;

	index_rescan(scan, cursor->keys, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		int64		id = DatumGetInt64(slot_getattr(slot, PENDING_PROFILE_ID, &isnull));
		bool		present = DatumGetBool(slot_getattr(slot, PENDING_PRESENT, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (cursor->num_waiting == max)
		{
			max = Max(64, 2 * max);
			cursor->waiting = cursor->waiting == NULL ?
				MemoryContextAllocHuge(cursor->cx, max * sizeof(int64)) :
				repalloc_huge(cursor->waiting, max * sizeof(int64));
		}
		cursor->waiting[cursor->num_waiting++] = (int64) ((uint64) id << 1 | present);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

static int64
waiting_id(const ChunkCursor *cursor, uint32 i)
{
	return (int64) ((uint64) cursor->waiting[i] >> 1);
}

/* The stored chunk that the scan comes to next. */
static void
next_stored(ChunkCursor *cursor)
{
	Datum		members;
	struct varlena *value;
	bool		isnull;

	if (cursor->detoasted != NULL)
		pfree(cursor->detoasted);
	cursor->detoasted = NULL;
	if (!index_getnext_slot(cursor->scan, ForwardScanDirection, cursor->slot))
	{
		cursor->stored_chunk = CHUNK_NONE;
		return;
	}
	cursor->stored_chunk = DatumGetInt64(slot_getattr(cursor->slot, CHUNK_COLUMN(cursor), &isnull));
	members = slot_getattr(cursor->slot, MEMBERS_COLUMN(cursor), &isnull);
	value = (struct varlena *) DatumGetPointer(members);
	if (VARATT_IS_COMPRESSED(value) || VARATT_IS_EXTERNAL(value))
	{
		MemoryContext old = MemoryContextSwitchTo(cursor->cx);

		value = cursor->detoasted = detoast_attr(value);
		MemoryContextSwitchTo(old);
	}
	cursor->bytes = (const uint8 *) VARDATA_ANY(value);
	cursor->len = VARSIZE_ANY_EXHDR(value);
}

static void
start_stored(ChunkCursor *cursor, int64 from)
{
	if (cursor->scan == NULL)
	{
		cursor->stored_chunk = CHUNK_NONE;
		return;
	}
	ScanKeyInit(&cursor->keys[cursor->nkeys], CHUNK_COLUMN(cursor), BTGreaterEqualStrategyNumber,
				F_INT8GE, Int64GetDatum(from));
	index_rescan(cursor->scan, cursor->keys, cursor->nkeys + 1, NULL, 0);
	next_stored(cursor);
}

static ChunkCursor *
create_cursor(ChunkReader *reader, MemoryContext cx, const char *name, int nkeys)
{
	MemoryContext old = MemoryContextSwitchTo(cx);
	ChunkCursor *cursor = palloc0(sizeof(ChunkCursor));

	cursor->reader = reader;
	cursor->cx = cx;
	cursor->nkeys = nkeys;
	key_of_name(&cursor->keys[0], name);
	if (reader != NULL)
	{
		cursor->slot = table_slot_create(reader->chunks, NULL);
		cursor->scan = mcdp_index_beginscan(reader->chunks, reader->chunks_index, reader->snapshot,
									   nkeys + 1);
	}
	cursor->buffer = palloc(CHUNK_BITS_BYTES);
	cursor->chunk = -1;
	cursor->stored_chunk = -1;
	MemoryContextSwitchTo(old);
	return cursor;
}

ChunkCursor *
mcdp_chunk_cursor_begin(ChunkReader *reader, const char *tag)
{
	ChunkCursor *cursor = create_cursor(reader, reader->cx, tag, 1);

	read_waiting(cursor);
	return cursor;
}

ChunkCursor *
mcdp_slice_cursor_begin(ChunkReader *reader, MemoryContext cx, const char *trait, int slice,
						int64 *waiting, uint32 num_waiting)
{
	ChunkCursor *cursor = create_cursor(reader, cx, trait, 2);

	ScanKeyInit(&cursor->keys[1], 2, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(slice));
	cursor->waiting = waiting;
	cursor->num_waiting = num_waiting;
	return cursor;
}

void
mcdp_chunk_cursor_end(ChunkCursor *cursor)
{
	if (cursor->scan != NULL)
	{
		index_endscan(cursor->scan);
		ExecDropSingleTupleTableSlot(cursor->slot);
	}
	if (cursor->detoasted != NULL)
		pfree(cursor->detoasted);
	if (cursor->waiting != NULL)
		pfree(cursor->waiting);
	pfree(cursor->buffer);
	pfree(DatumGetPointer(cursor->keys[0].sk_argument));
	pfree(cursor);
}

int64
mcdp_chunk_cursor_seek(ChunkCursor *cursor, int64 from)
{
	int64		waiting = CHUNK_NONE;

	Assert(from >= cursor->chunk);
	if (cursor->chunk == from)
		return from;
	if (cursor->stored_chunk == -1)
		start_stored(cursor, from);
	for (int steps = 0; cursor->stored_chunk < from; steps++)
	{
		if (steps < MANY_STEPS)
			next_stored(cursor);
		else
			start_stored(cursor, from);
	}
	while (cursor->next < cursor->num_waiting &&
		   waiting_id(cursor, cursor->next) >> CHUNK_ID_BITS < from)
		cursor->next++;
	if (cursor->next < cursor->num_waiting)
		waiting = waiting_id(cursor, cursor->next) >> CHUNK_ID_BITS;
	cursor->chunk = Min(cursor->stored_chunk, waiting);
	return cursor->chunk;
}

/* Not a chunk: say why. */
static void
corrupted(const ChunkCursor *cursor)
{
	McdpBadInput bad = {"The bytes contradict each other.", 0};

	mcdp_chunk_read(cursor->bytes, cursor->len, cursor->buffer, &bad);
	mcdp_chunk_corrupted(&bad);
}

const uint8 *
mcdp_chunk_cursor_bits(ChunkCursor *cursor, ChunkForm *form)
{
	bool		waits = cursor->next < cursor->num_waiting &&
		waiting_id(cursor, cursor->next) >> CHUNK_ID_BITS == cursor->chunk;
	ChunkForm	own;

	if (form == NULL)
		form = &own;
	if (cursor->stored_chunk != cursor->chunk)
	{
		memset(form, 0, sizeof(*form));
		memset(cursor->buffer, 0, CHUNK_BITS_BYTES);
	}
	else
	{
		if (!mcdp_chunk_form(cursor->bytes, cursor->len, form))
			corrupted(cursor);
		if (!waits && form->full)
			return NULL;
		if (!waits && form->bits != NULL)
			return form->bits;
		if (!mcdp_chunk_expand_fast(cursor->bytes, cursor->len, cursor->buffer))
			corrupted(cursor);
	}
	if (waits)
	{
		form->array = NULL;
		for (uint32 i = cursor->next; i < cursor->num_waiting &&
			 waiting_id(cursor, i) >> CHUNK_ID_BITS == cursor->chunk; i++)
			mcdp_bits_set(cursor->buffer, waiting_id(cursor, i) % CHUNK_IDS,
						  cursor->waiting[i] & 1);
	}
	return cursor->buffer;
}

void
mcdp_chunk_cursor_form(ChunkCursor *cursor, ChunkForm *form)
{
	bool		waits = cursor->next < cursor->num_waiting &&
		waiting_id(cursor, cursor->next) >> CHUNK_ID_BITS == cursor->chunk;

	if (!waits && cursor->stored_chunk == cursor->chunk &&
		mcdp_chunk_form(cursor->bytes, cursor->len, form) && form->array != NULL)
		return;
	form->bits = mcdp_chunk_cursor_bits(cursor, NULL);
	form->full = form->bits == NULL;
	form->array = NULL;
	form->num = 0;
}

Rbuf *
mcdp_chunk_members(MemoryContext cx, const char *tag)
{
	Rbuf	   *members = mcdp_rbuf_create(cx);
	ChunkReader reader;
	ChunkCursor *cursor;
	int64		chunk = 0;

	mcdp_chunk_reader_begin(&reader, CurrentMemoryContext);
	cursor = mcdp_chunk_cursor_begin(&reader, tag);
	while ((chunk = mcdp_chunk_cursor_seek(cursor, chunk)) != CHUNK_NONE)
	{
		const uint8 *bits = mcdp_chunk_cursor_bits(cursor, NULL);

		CHECK_FOR_INTERRUPTS();
		if (bits == NULL)
			mcdp_rbuf_add_range(members, (uint64) chunk << CHUNK_ID_BITS,
								((uint64) chunk << CHUNK_ID_BITS) + CHUNK_IDS - 1);
		else
			mcdp_rbuf_or_slice(members, chunk, bits);
		chunk++;
	}
	mcdp_chunk_cursor_end(cursor);
	mcdp_chunk_reader_end(&reader);
	return members;
}

bool
mcdp_universe_is_tag(const char *kind, TimestampTz at)
{
	Relation	index;
	Relation	profile = open_table(get_namespace_oid("cdp", false), "profile",
									 "profile_kind_first_at_idx", ACL_SELECT, &index);
	TupleTableSlot *slot = table_slot_create(profile, NULL);
	IndexScanDesc scan = mcdp_index_beginscan(profile, index, GetActiveSnapshot(), 2);
	ScanKeyData keys[2];
	bool		younger;

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(kind));
	ScanKeyInit(&keys[1], 2, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT, TimestampTzGetDatum(at));
	index_rescan(scan, keys, 2, NULL, 0);
	younger = index_getnext_slot(scan, ForwardScanDirection, slot);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(profile, AccessShareLock);
	return !younger;
}
