/*-------------------------------------------------------------------------
 *
 * chunk_fn.c
 *	  SQL-callable functions over stored chunks of tag members.
 *
 * They are internal: tag_chunk is written and read by functions only.
 * core/chunk.h describes the bytes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/chunk_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "types/bitmap.h"
#include "types/chunk.h"
#include "utils/tuplestore.h"

StaticAssertDecl(CHUNK_IDS == RBUF_SLICE_IDS, "a chunk is a slice");

PG_FUNCTION_INFO_V1(mcdp__chunk_apply);
PG_FUNCTION_INFO_V1(mcdp__chunk_contains);
PG_FUNCTION_INFO_V1(mcdp__chunk_cardinality);
PG_FUNCTION_INFO_V1(mcdp__chunk_split);

void
mcdp_chunk_corrupted(const McdpBadInput *bad)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("corrupted chunk of tag members"),
			 errdetail("At byte %zu: %s", bad->offset, bad->reason)));
}

void
mcdp_chunk_expand(const bytea *members, uint8 *bits)
{
	McdpBadInput bad;

	if (!mcdp_chunk_read((const uint8 *) VARDATA_ANY(members),
						 VARSIZE_ANY_EXHDR(members), bits, &bad))
		mcdp_chunk_corrupted(&bad);
}

bool
mcdp_chunk_has(const bytea *members, uint64 id)
{
	McdpBadInput bad;
	bool		found;

	if (!mcdp_chunk_find((const uint8 *) VARDATA_ANY(members),
						 VARSIZE_ANY_EXHDR(members), id % CHUNK_IDS, &found, &bad))
		mcdp_chunk_corrupted(&bad);
	return found;
}

static bytea *
chunk_from_bits(const uint8 *bits)
{
	uint8		bytes[CHUNK_MAX_BYTES];
	size_t		len = mcdp_chunk_write(bits, bytes);
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return result;
}

/*
 * _chunk_apply(members, added, removed): NULL stands for the empty chunk, and
 * removing comes last.  The result may be the empty chunk, which is not kept
 * in the table.
 */
Datum
mcdp__chunk_apply(PG_FUNCTION_ARGS)
{
	uint8		bits[CHUNK_BITS_BYTES];
	uint8		change[CHUNK_BITS_BYTES];

	if (PG_ARGISNULL(0))
		memset(bits, 0, sizeof(bits));
	else
		mcdp_chunk_expand(PG_GETARG_BYTEA_PP(0), bits);
	if (!PG_ARGISNULL(1))
	{
		mcdp_chunk_expand(PG_GETARG_BYTEA_PP(1), change);
		mcdp_chunk_change(bits, change, NULL);
	}
	if (!PG_ARGISNULL(2))
	{
		mcdp_chunk_expand(PG_GETARG_BYTEA_PP(2), change);
		mcdp_chunk_change(bits, NULL, change);
	}
	PG_RETURN_BYTEA_P(chunk_from_bits(bits));
}

/* The caller has found the row of the profile's own chunk. */
Datum
mcdp__chunk_contains(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mcdp_chunk_has(PG_GETARG_BYTEA_PP(0), (uint64) PG_GETARG_INT64(1)));
}

Datum
mcdp__chunk_cardinality(PG_FUNCTION_ARGS)
{
	uint8		bits[CHUNK_BITS_BYTES];

	mcdp_chunk_expand(PG_GETARG_BYTEA_PP(0), bits);
	PG_RETURN_INT32(mcdp_chunk_count(bits));
}

/* The first chunk at or after "from" in which the set has a member. */
static bool
next_chunk(const Rbuf *set, uint64 from, uint64 *chunk)
{
	RbufIter	it;
	uint64		id;

	if (set == NULL)
		return false;
	mcdp_rbuf_iter_init_at(&it, set, from << CHUNK_ID_BITS);
	if (!mcdp_rbuf_iter_next(&it, &id))
		return false;
	*chunk = id >> CHUNK_ID_BITS;
	return true;
}

/*
 * _chunk_split(added bitmap, removed bitmap): one row per chunk that either
 * has members in, ascending; NULL where the chunk would be empty.
 */
Datum
mcdp__chunk_split(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Rbuf	   *sets[2] = {NULL, NULL};
	uint64		from = 0;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < 2; i++)
		if (!PG_ARGISNULL(i))
			sets[i] = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(i));

	for (;;)
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, false};
		uint64		chunk = PG_UINT64_MAX,
					found;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < 2; i++)
			if (next_chunk(sets[i], from, &found))
				chunk = Min(chunk, found);
		if (chunk == PG_UINT64_MAX)
			break;
		values[0] = Int64GetDatum((int64) chunk);
		for (int i = 0; i < 2; i++)
		{
			uint8		bits[CHUNK_BITS_BYTES];
			bytea	   *bytes;

			nulls[i + 1] = true;
			if (sets[i] == NULL)
				continue;
			mcdp_rbuf_get_slice(sets[i], chunk, bits);
			bytes = chunk_from_bits(bits);
			nulls[i + 1] = VARSIZE(bytes) - VARHDRSZ == CHUNK_EMPTY_BYTES;
			values[i + 1] = PointerGetDatum(bytes);
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		for (int i = 0; i < 2; i++)
			if (sets[i] != NULL)
				pfree(DatumGetPointer(values[i + 1]));
		if (chunk >= RBUF_MAX_ID >> CHUNK_ID_BITS)
			break;
		from = chunk + 1;
	}
	for (int i = 0; i < 2; i++)
		if (sets[i] != NULL)
			mcdp_rbuf_free(sets[i]);
	return (Datum) 0;
}
