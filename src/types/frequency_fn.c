/*-------------------------------------------------------------------------
 *
 * frequency_fn.c
 *	  When does a frequency cap let one more message through?
 *
 * A cap allows max messages in any stretch of a length: of time (rolling), or
 * of days of a local calendar.  Both are places on a line of whole numbers,
 * microseconds or days.  A message can go to a place if no stretch that holds
 * it has max messages already; of those stretches the ones that begin at a
 * message, or at the place itself, are the fullest.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/frequency_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(mcdp__cap_free_at);

/* Is there room at this place?  The messages are in order. */
static bool
room_at(const int64 *sent, int num, int64 max, int64 length, int64 place)
{
	int			end = 0;		/* of the stretch that begins at i */

	for (int i = 0; i < num && sent[i] <= place; i++)
	{
		if (sent[i] <= place - length)
			continue;
		while (end < num && sent[end] < sent[i] + length)
			end++;
		if (end - i >= max)
			return false;
	}
	/* the stretch that begins at the place */
	for (end = 0; end < num && sent[end] < place; end++)
		;
	for (int i = end; i < num && sent[i] < place + length; i++)
		if (i - end + 1 >= max)
			return false;
	return max > 0;
}

/* The local time of an instant, and the instant of a local time, in microseconds. */
static int64
local_time(Datum zone, TimestampTz at)
{
	return DatumGetTimestamp(DirectFunctionCall2(timestamptz_zone, zone, TimestampTzGetDatum(at)));
}

static TimestampTz
instant_of(Datum zone, Timestamp local)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamp_zone, zone, TimestampGetDatum(local)));
}

static int64
local_day(Datum zone, TimestampTz at)
{
	return (int64) floor((double) local_time(zone, at) / USECS_PER_DAY);
}

/* As _day_begins in SQL: midnight may come twice. */
static TimestampTz
day_begins(Datum zone, int64 day)
{
	TimestampTz midnight = instant_of(zone, day * USECS_PER_DAY);
	int64		before = midnight - 3 * USECS_PER_HOUR;
	int64		back = (local_time(zone, before) - before) - (local_time(zone, midnight) - midnight);
	TimestampTz earlier = midnight - Max(back, 0);

	return local_day(zone, earlier) == day ? earlier : midnight;
}

/* sent (ascending), max, seconds, days (0: rolling), zone, at */
Datum
mcdp__cap_free_at(PG_FUNCTION_ARGS)
{
	Datum	   *instants;
	int			num;
	int64		max = PG_GETARG_INT32(1);
	int64		days = PG_GETARG_INT32(3);
	int64		length = days > 0 ? days : (int64) rint(PG_GETARG_FLOAT8(2) * USECS_PER_SEC);
	Datum		zone = PG_GETARG_DATUM(4);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(5);
	int64		place = days > 0 ? local_day(zone, at) : at;
	int64	   *sent;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &instants, NULL, &num);
	sent = palloc(Max(num, 1) * sizeof(int64));
	for (int i = 0; i < num; i++)
	{
		TimestampTz t = DatumGetTimestampTz(instants[i]);

		sent[i] = days > 0 ? local_day(zone, t) : t;
	}
	if (room_at(sent, num, max, length, place))
		PG_RETURN_TIMESTAMPTZ(at);
	/* else it can only be where a message leaves the stretch */
	for (int i = 0; i < num; i++)
	{
		int64		next = sent[i] + length;

		CHECK_FOR_INTERRUPTS();
		if (next > place && room_at(sent, num, max, length, next))
			PG_RETURN_TIMESTAMPTZ(days > 0 ? day_begins(zone, next) : next);
	}
	PG_RETURN_TIMESTAMPTZ(DT_NOEND);
}
