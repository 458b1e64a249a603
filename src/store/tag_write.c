/*-------------------------------------------------------------------------
 *
 * tag_write.c
 *	  Changes of many members of one tag, written into its chunks.
 *
 * Chunk by chunk, ascending: the row is locked, changed in memory, and
 * written if it has changed; a chunk that has become empty has no row.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_write.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/chunk_set.h"
#include "store/statement.h"
#include "types/bitmap.h"
#include "types/chunk.h"

PG_FUNCTION_INFO_V1(mcdp__write_chunks);

#define THE_ROW " WHERE c.tag OPERATOR(pg_catalog.=) $1 AND c.chunk OPERATOR(pg_catalog.=) $2"

static Statement lock_row = {
	"SELECT c.members FROM cdp.tag_chunk c" THE_ROW " FOR UPDATE", 2, {TEXTOID, INT8OID}
};
static Statement update_row = {
	"UPDATE cdp.tag_chunk c SET members = $3" THE_ROW, 3, {TEXTOID, INT8OID, BYTEAOID}
};
static Statement delete_row = {
	"DELETE FROM cdp.tag_chunk c" THE_ROW, 2, {TEXTOID, INT8OID}
};
static Statement insert_row = {
	"INSERT INTO cdp.tag_chunk (tag, chunk, members) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
	3, {TEXTOID, INT8OID, BYTEAOID}
};

/* added and removed are bit sets; removing comes last. */
static void
write_chunk(Datum tag, int64 chunk, const uint8 *added, const uint8 *removed)
{
	union
	{
		struct varlena header;
		char		bytes[VARHDRSZ + CHUNK_MAX_BYTES];
	}			members;
	Datum		args[3] = {tag, Int64GetDatum(chunk), PointerGetDatum(&members)};

	for (;;)
	{
		uint8		bits[CHUNK_BITS_BYTES];
		uint8		before[CHUNK_BITS_BYTES];
		bool		exists = mcdp_statement_do(&lock_row, args) > 0;

		if (exists)
		{
			bool		isnull;
			Datum		stored = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

			mcdp_chunk_expand(DatumGetByteaPP(stored), before);
		}
		else
			memset(before, 0, sizeof(before));
		SPI_freetuptable(SPI_tuptable);
		mcdp_bits_or(bits, before, added);
		mcdp_bits_andnot(bits, bits, removed);
		if (memcmp(bits, before, sizeof(bits)) == 0)
			return;
		if (mcdp_bits_empty(bits))
		{
			mcdp_statement_do(&delete_row, args);
			return;
		}
		SET_VARSIZE(&members, VARHDRSZ + mcdp_chunk_write(bits, (uint8 *) members.bytes + VARHDRSZ));
		if (exists)
		{
			mcdp_statement_do(&update_row, args);
			return;
		}
		if (mcdp_statement_do(&insert_row, args) > 0)
			return;
		/* Somebody has just made the row: once more. */
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

	if (PG_ARGISNULL(0))
		PG_RETURN_VOID();
	cx = AllocSetContextCreate(CurrentMemoryContext, "write chunks", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < 2; i++)
		if (!PG_ARGISNULL(1 + i))
			sets[i] = mcdp_bitmap_to_rbuf(cx, PG_GETARG_DATUM(1 + i));
	mcdp_spi_connect();
	while ((chunk = Min(next_chunk(sets[0], chunk), next_chunk(sets[1], chunk))) != PG_INT64_MAX)
	{
		uint8		changes[2][CHUNK_BITS_BYTES];

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < 2; i++)
		{
			if (sets[i] != NULL)
				mcdp_rbuf_get_slice(sets[i], chunk, changes[i]);
			else
				memset(changes[i], 0, CHUNK_BITS_BYTES);
		}
		write_chunk(PG_GETARG_DATUM(0), chunk, changes[0], changes[1]);
		chunk++;
	}
	mcdp_spi_finish();
	MemoryContextDelete(cx);
	PG_RETURN_VOID();
}
