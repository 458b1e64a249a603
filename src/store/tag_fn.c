/*-------------------------------------------------------------------------
 *
 * tag_fn.c
 *	  SQL-callable functions that read stored tags.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "store/chunk_scan.h"
#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp_tagged);
PG_FUNCTION_INFO_V1(mcdp__tag_size);

Datum
mcdp_tagged(PG_FUNCTION_ARGS)
{
	char	   *tag = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Rbuf	   *members;
	Datum		result;

	members = mcdp_chunk_members(CurrentMemoryContext, tag);
	result = mcdp_rbuf_to_bitmap(members);
	mcdp_rbuf_free(members);
	PG_RETURN_DATUM(result);
}

/* _tag_size(tag): how many members */
Datum
mcdp__tag_size(PG_FUNCTION_ARGS)
{
	char	   *tag = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ChunkReader reader;
	ChunkCursor *cursor;
	uint64		count = 0;
	int64		chunk = 0;

	mcdp_chunk_reader_begin(&reader, CurrentMemoryContext);
	cursor = mcdp_chunk_cursor_begin(&reader, tag);
	while ((chunk = mcdp_chunk_cursor_seek(cursor, chunk)) != CHUNK_NONE)
	{
		ChunkForm	form;
		const uint8 *bits = mcdp_chunk_cursor_bits(cursor, &form);

		CHECK_FOR_INTERRUPTS();
		count += bits == NULL ? CHUNK_IDS : form.array != NULL ? form.num : mcdp_bits_count(bits);
		chunk++;
	}
	mcdp_chunk_cursor_end(cursor);
	mcdp_chunk_reader_end(&reader);
	PG_RETURN_INT64((int64) count);
}
