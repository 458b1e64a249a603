/*-------------------------------------------------------------------------
 *
 * time_limit_fn.c
 *	  SQL functions _limit_begin and _limit_end: what stands between them must
 *	  not take longer than marketing_cdp.segment_timeout.
 *
 * When the time is up the query is cancelled, as by statement_timeout; the
 * caller catches that and asks _limit_end whether it was this limit.  Limits
 * do not nest.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/time_limit_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <signal.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timeout.h"

#include "store/time_limit.h"

PG_FUNCTION_INFO_V1(mcdp__limit_begin);
PG_FUNCTION_INFO_V1(mcdp__limit_end);

static int	segment_timeout = 300000;
static bool registered = false;
static TimeoutId timer;
static volatile sig_atomic_t reached = false;

void
mcdp_time_limit_init(void)
{
	DefineCustomIntVariable("marketing_cdp.segment_timeout",
							"Longest time that the refresh of one segment may take.",
							"0 is no limit. A refresh that takes longer fails alone.",
							&segment_timeout,
							300000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
}

/* In a signal handler. */
static void
time_is_up(void)
{
	reached = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

Datum
mcdp__limit_begin(PG_FUNCTION_ARGS)
{
	if (!registered)
	{
		timer = RegisterTimeout(USER_TIMEOUT, time_is_up);
		registered = true;
	}
	reached = false;
	if (segment_timeout > 0)
		enable_timeout_after(timer, segment_timeout);
	PG_RETURN_VOID();
}

/* _limit_end(): was the time up? */
Datum
mcdp__limit_end(PG_FUNCTION_ARGS)
{
	bool		result;

	if (registered)
		disable_timeout(timer, false);
	result = reached;
	if (result)
		QueryCancelPending = false; /* if nobody has looked at it yet */
	reached = false;
	PG_RETURN_BOOL(result);
}
