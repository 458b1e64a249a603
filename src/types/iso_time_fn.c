/*-------------------------------------------------------------------------
 *
 * iso_time_fn.c
 *	  SQL-callable: the instant that a text names.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/iso_time_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "core/iso_time.h"

PG_FUNCTION_INFO_V1(mcdp__iso_time);

/* _iso_time(text); NULL if it is none */
Datum
mcdp__iso_time(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	TimestampTz at;

	if (!mcdp_iso_time(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &at))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(at);
}
