/*-------------------------------------------------------------------------
 *
 * overlap_fn.c
 *	  SQL-callable: how many members tags have in common, two by two.
 *
 * All tags are gone through together, chunk by chunk, and every pair is
 * counted while the chunk is in the processor's cache.  A short array is
 * looked up position by position in the other's bit set.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/overlap_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "store/audience.h"
#include "store/chunk_scan.h"
#include "store/statement.h"
#include "types/bitmap.h"

#define SHORT_ARRAY			100		/* positions */

PG_FUNCTION_INFO_V1(mcdp__overlap);

/* A tag in the present chunk. */
typedef struct Part
{
	int			tag;
	const uint8 *bits;
	const uint8 *array;			/* or NULL; short */
	uint32		num;
} Part;

static uint32
count_both(const Part *a, const Part *b)
{
	if (a->array != NULL)
		return mcdp_bits_array_count(b->bits, a->array, a->num);
	if (b->array != NULL)
		return mcdp_bits_array_count(a->bits, b->array, b->num);
	return a == b ? mcdp_bits_count(a->bits) : mcdp_bits_and_count(a->bits, b->bits);
}

/* Adds the pairs of one chunk to counts[a * n + b], a <= b. */
static void
count_chunk(ChunkCursor **cursors, int n, int64 chunk, const uint8 *among,
			uint8 *space, const uint8 *full, Part *parts, uint64 *counts)
{
	int			num = 0;

	for (int i = 0; i < n; i++)
	{
		Part	   *part = &parts[num];
		ChunkForm	form;

		if (cursors[i]->chunk != chunk)
			continue;
		part->tag = i;
		part->bits = mcdp_chunk_cursor_bits(cursors[i], &form);
		if (part->bits == NULL)
			part->bits = full;
		part->array = NULL;
		if (among != NULL)
		{
			mcdp_bits_and(space + (size_t) i * CHUNK_BITS_BYTES, part->bits, among);
			part->bits = space + (size_t) i * CHUNK_BITS_BYTES;
		}
		else if (form.array != NULL && form.num <= SHORT_ARRAY)
		{
			part->array = form.array;
			part->num = form.num;
		}
		num++;
	}
	for (int i = 0; i < num; i++)
		for (int j = i; j < num; j++)
			counts[parts[i].tag * n + parts[j].tag] += count_both(&parts[i], &parts[j]);
}

/*
 * _overlap(tags text[], at timestamptz, kind text, without bitmap): for each
 * pair of places in the array, a <= b, how many of the universe have both tags.
 */
Datum
mcdp__overlap(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "overlap",
											 ALLOCSET_DEFAULT_SIZES);
	TimestampTz at;
	char	   *kind;
	Rbuf	   *without = NULL;
	ChunkReader reader;
	ChunkCursor **cursors;
	ChunkCursor *universe = NULL;
	Rbuf	   *candidates = NULL;
	uint8	   *space;
	uint8		full[CHUNK_BITS_BYTES];
	uint8		among[CHUNK_BITS_BYTES];
	Part	   *parts;
	uint64	   *counts;
	Datum	   *tags;
	bool	   *nulls;
	int			n;
	int64		chunk = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	at = PG_GETARG_TIMESTAMPTZ(1);
	kind = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!PG_ARGISNULL(3))
		without = mcdp_bitmap_to_rbuf(cx, PG_GETARG_DATUM(3));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &tags, &nulls, &n);
	if (n >= CHUNK_MAX_CURSORS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many tags to compare"),
				 errdetail("%d were given, at most %d can be.", n, CHUNK_MAX_CURSORS - 1)));
	for (int i = 0; i < n; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("tags must not be null")));

	if (!mcdp_universe_is_tag(kind, at))
	{
		mcdp_spi_connect();
		candidates = mcdp_source_universe(cx, kind, at);
		mcdp_spi_finish();
	}
	mcdp_chunk_reader_begin(&reader, cx);
	cursors = MemoryContextAlloc(cx, sizeof(ChunkCursor *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		cursors[i] = mcdp_chunk_cursor_begin(&reader, text_to_cstring(DatumGetTextPP(tags[i])));
	if (candidates == NULL)
		universe = mcdp_chunk_cursor_begin(&reader, psprintf("\001kind:%s", kind));
	space = MemoryContextAllocHuge(cx, (Size) Max(n, 1) * CHUNK_BITS_BYTES);
	parts = MemoryContextAlloc(cx, sizeof(Part) * Max(n, 1));
	counts = MemoryContextAllocZero(cx, sizeof(uint64) * Max(n * n, 1));
	memset(full, 0xff, sizeof(full));

	for (;; chunk++)
	{
		int64		next = CHUNK_NONE;
		const uint8 *with = among;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			next = Min(next, cursors[i]->chunk >= chunk ? cursors[i]->chunk :
					   mcdp_chunk_cursor_seek(cursors[i], chunk));
		chunk = next;
		if (chunk == CHUNK_NONE)
			break;
		if (candidates != NULL)
			mcdp_rbuf_get_slice(candidates, chunk, among);
		else if ((universe->chunk >= chunk ? universe->chunk :
				  mcdp_chunk_cursor_seek(universe, chunk)) == chunk)
			with = mcdp_chunk_cursor_bits(universe, NULL);
		else
			continue;
		if (without != NULL)
		{
			if (with != among)
				memcpy(among, with == NULL ? full : with, CHUNK_BITS_BYTES);
			mcdp_rbuf_get_slice(without, chunk, space);
			mcdp_bits_andnot(among, among, space);
			with = among;
		}
		count_chunk(cursors, n, chunk, with, space, full, parts, counts);
	}

	for (int i = 0; i < n; i++)
		mcdp_chunk_cursor_end(cursors[i]);
	if (universe != NULL)
		mcdp_chunk_cursor_end(universe);
	mcdp_chunk_reader_end(&reader);
	for (int i = 0; i < n; i++)
		for (int j = i; j < n; j++)
		{
			Datum		values[3] = {Int32GetDatum(i + 1), Int32GetDatum(j + 1),
			Int64GetDatum((int64) counts[i * n + j])};
			bool		isnull[3] = {false, false, false};

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
		}
	MemoryContextDelete(cx);
	return (Datum) 0;
}
