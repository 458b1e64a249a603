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
#include "utils/builtins.h"

#include "store/chunk_scan.h"
#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp_tagged);

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
