/*-------------------------------------------------------------------------
 *
 * segment_fn.c
 *	  SQL-callable functions that keep segments (37_segment.sql).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/segment_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "types/bitmap.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp__audience_among);

/* _audience_among(criteria, among bitmap, at, kind) */
Datum
mcdp__audience_among(PG_FUNCTION_ARGS)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "audience",
											 ALLOCSET_DEFAULT_SIZES);
	CriteriaNode *rule = mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0));
	Rbuf	   *among = mcdp_bitmap_to_rbuf(cx, PG_GETARG_DATUM(1));
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(3));
	Rbuf	   *universe,
			   *members;
	Datum		result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	universe = mcdp_source_universe(cx, kind, at);
	mcdp_rbuf_and(among, universe);
	members = mcdp_audience_among(cx, rule, among, mcdp_rbuf_cardinality(universe), at,
								  get_func_rettype(fcinfo->flinfo->fn_oid));
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	result = mcdp_rbuf_to_bitmap(members);
	MemoryContextDelete(cx);
	PG_RETURN_DATUM(result);
}
