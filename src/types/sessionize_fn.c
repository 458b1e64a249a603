/*-------------------------------------------------------------------------
 *
 * sessionize_fn.c
 *	  Window function: the number of the session a row belongs to.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/sessionize_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "core/length.h"
#include "fmgr.h"
#include "utils/timestamp.h"
#include "windowapi.h"

/* Of the partition so far. */
typedef struct SessionCount
{
	int64		session;		/* 0 before the first row with a time */
	TimestampTz last;
} SessionCount;

/* sessionize(at, gap): a new session begins when more than gap has passed */
PG_FUNCTION_INFO_V1(mcdp_sessionize);
Datum
mcdp_sessionize(PG_FUNCTION_ARGS)
{
	WindowObject winobj = PG_WINDOW_OBJECT();
	SessionCount *count = WinGetPartitionLocalMemory(winobj, sizeof(SessionCount));
	bool		at_null,
				gap_null;
	Datum		at_arg = WinGetFuncArgCurrent(winobj, 0, &at_null);
	Datum		gap_arg = WinGetFuncArgCurrent(winobj, 1, &gap_null);
	TimestampTz at;
	int64		gap;

	if (at_null || gap_null)
		PG_RETURN_NULL();
	at = DatumGetTimestampTz(at_arg);
	gap = mcdp_length_arg(DatumGetIntervalP(gap_arg), "gap");
	if (count->session > 0 && at < count->last)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sessionize needs the rows in order of time"),
				 errhint("Write OVER (PARTITION BY ... ORDER BY at).")));
	if (count->session == 0 || (uint64) at - (uint64) count->last > (uint64) gap)
		count->session++;
	count->last = at;
	PG_RETURN_INT64(count->session);
}
