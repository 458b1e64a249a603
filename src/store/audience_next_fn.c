/*-------------------------------------------------------------------------
 *
 * audience_next_fn.c
 *	  SQL function _criteria_due: when time alone may change who satisfies a
 *	  rule.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_next_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp__criteria_due);

/* _criteria_due(profile, rule, at, label) */
Datum
mcdp__criteria_due(PG_FUNCTION_ARGS)
{
	MemoryContext cx;
	MemoryContext old;
	AudiencePoint *point;
	TimestampTz next;
	TimestampTz other;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	cx = AllocSetContextCreate(CurrentMemoryContext, "criteria due", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(cx);
	point = mcdp_audience_point(cx, mcdp_criteria_open(PG_GETARG_CRITERIA_PP(1)),
								PG_GETARG_INT64(0), PG_GETARG_TIMESTAMPTZ(2),
								PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	MemoryContextSwitchTo(cx);
	if (mcdp_criteria_needs_timeline(point->rule))
		mcdp_audience_point_history(point);
	next = mcdp_criteria_next_change(point->rule, &point->env);
	other = mcdp_source_next_change(point->id, point->rule, point->env.at);
	next = Min(next, other);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cx);
	if (next >= DT_NOEND)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}
