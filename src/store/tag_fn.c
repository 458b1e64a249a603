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

#include "store/audience.h"
#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp_tagged);

Datum
mcdp_tagged(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *tag = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Rbuf	   *members;
	Datum		result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	members = mcdp_source_tagged(caller, tag);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	result = mcdp_rbuf_to_bitmap(members);
	mcdp_rbuf_free(members);
	PG_RETURN_DATUM(result);
}
