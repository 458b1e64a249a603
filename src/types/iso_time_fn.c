/*-------------------------------------------------------------------------
 *
 * trait_fn.c
 *	  SQL-callable: is a text a date, as rules read it, and which?
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/trait_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "types/criteria_eval.h"

PG_FUNCTION_INFO_V1(mcdp__is_date);
PG_FUNCTION_INFO_V1(mcdp__journey_time);

/* _is_date(text) */
Datum
mcdp__is_date(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	TimestampTz date;

	PG_RETURN_BOOL(mcdp_criteria_instant(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &date));
}

/* _journey_time(text): the same as an instant; NULL if it is none */
Datum
mcdp__journey_time(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	TimestampTz date;

	if (!mcdp_criteria_instant(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &date))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(date);
}
