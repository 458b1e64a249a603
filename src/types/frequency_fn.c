/*-------------------------------------------------------------------------
 *
 * frequency_fn.c
 *	  When do quiet hours and frequency caps let one more message through?
 *
 * A cap allows max messages in any stretch of a length: of time (rolling), or
 * of days of a local calendar.  Both are places on a line of whole numbers,
 * microseconds or days.  max messages that lie within one stretch close the
 * places around them: those that share a stretch with all of them.
 *
 * Many messages are asked about at once, in the order in which they are
 * decided: one that may go out counts for the next of the same profile.
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

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

/* Nothing needs that many turns. */
#define MAX_TURNS 1000

typedef struct Cap
{
	int64		max;
	int64		length;			/* microseconds, or days */
	bool		days;
	Datum		zone;			/* of profiles that name none */
	bool		everywhere;		/* counts messages on all channels */
	Datum		name;
} Cap;

typedef struct Quiet
{
	TimeADT		since;
	TimeADT		until;
	Datum		zone;
} Quiet;

/* What a profile has got, in the order of time. */
typedef struct Got
{
	TimestampTz *at;
	bool	   *here;			/* on the channel asked about */
	int			num;
} Got;

PG_FUNCTION_INFO_V1(mcdp__sendable);

/*
 * The first place from this one on where there is room, the messages being in
 * order.  max of them from the i-th on that lie within one stretch close the
 * places from less than a length before the last to less than one after the
 * first; both ends only ever rise with i.
 */
static int64
free_place(const int64 *sent, int num, int64 max, int64 length, int64 place)
{
	if (max <= 0)
		return PG_INT64_MAX;
	for (int i = 0; i + max <= num; i++)
	{
		int64		last = sent[i + max - 1];

		if (last - sent[i] < length && place > last - length && place < sent[i] + length)
			place = sent[i] + length;
	}
	return place;
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

/* The first instant of a local day: midnight may come twice. */
static TimestampTz
day_begins(Datum zone, int64 day)
{
	TimestampTz midnight = instant_of(zone, day * USECS_PER_DAY);
	TimestampTz before = midnight - 3 * USECS_PER_HOUR;
	int64		back = (local_time(zone, before) - before) - (local_time(zone, midnight) - midnight);
	TimestampTz earlier = midnight - Max(back, 0);

	return local_day(zone, earlier) == day ? earlier : midnight;
}

/* The first instant from this one on that keeps a cap; DT_NOEND if none does. */
static TimestampTz
cap_free_at(const TimestampTz *sent, int num, int64 max, int64 length, bool days, Datum zone, TimestampTz at)
{
	int64	   *places;
	int64		place;
	int64		found;

	if (num < max)
		return at;
	if (!days)
	{
		found = free_place(sent, num, max, length, at);
		return found == PG_INT64_MAX ? DT_NOEND : found;
	}
	places = palloc(Max(num, 1) * sizeof(int64));
	for (int i = 0; i < num; i++)
		places[i] = local_day(zone, sent[i]);
	place = local_day(zone, at);
	found = free_place(places, num, max, length, place);
	pfree(places);
	return found == place ? at : found == PG_INT64_MAX ? DT_NOEND : day_begins(zone, found);
}

/* quiet hours */

static int64
utc_offset(Datum zone, TimestampTz at)
{
	return local_time(zone, at) - at;
}

/*
 * When a local clock next shows a time, or is set forward or back before that:
 * it may skip the time, or come to it once more.
 */
static TimestampTz
clock_reaches(TimestampTz at, Datum zone, TimeADT clock, TimeADT until)
{
	int64		offset = utc_offset(zone, at);
	int64		ahead = until - clock;
	TimestampTz late = at + (ahead <= 0 ? ahead + USECS_PER_DAY : ahead);
	TimestampTz early = at;

	if (utc_offset(zone, late - 1) == offset)
		return late;
	for (;;)
	{
		/* clocks change on full minutes of UTC */
		TimestampTz middle = (TimestampTz) ceil((double) (early + (late - early) / 2) / USECS_PER_MINUTE) * USECS_PER_MINUTE;

		if (middle >= late)
			return late;
		if (utc_offset(zone, middle) == offset)
			early = middle;
		else
			late = middle;
	}
}

/*
 * The first instant from this one on that is not quiet; own: 0 = names no zone.
 * With several quiet hours the end of one may lie in another: as many turns as
 * there can be ends, and changes of the clock, in a day or two, then it is quiet
 * for ever.
 */
static TimestampTz
quiet_end(const Quiet *quiet, int num, Datum own, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		return at;
	for (int turn = 0; turn < 3 * num + 2; turn++)
	{
		const Quiet *now = NULL;
		Datum		zone = 0;
		TimeADT		clock = 0;

		for (int i = 0; i < num; i++)
		{
			const Quiet *q = &quiet[i];
			Datum		its = own ? own : q->zone;
			int64		local = local_time(its, at);
			TimeADT		shows = local - (int64) floor((double) local / USECS_PER_DAY) * USECS_PER_DAY;

			if (q->since == q->until)
				return DT_NOEND;
			if (now == NULL && (q->since < q->until ? shows >= q->since && shows < q->until : shows >= q->since || shows < q->until))
			{
				now = q;
				zone = its;
				clock = shows;
			}
		}
		if (now == NULL)
			return at;
		at = clock_reaches(at, zone, clock, now->until);
	}
	return DT_NOEND;
}

/* many */

/* The rows of an array, each taken apart into values and nulls of num columns. */
static int
read_rows(ArrayType *array, int num_columns, Datum **values, bool **nulls)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(ARR_ELEMTYPE(array), -1);
	Datum	   *rows;
	int			num;

	if (desc->natts != num_columns)
		elog(ERROR, "unexpected number of columns: %d", desc->natts);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &rows, NULL, &num);
	*values = palloc(Max(num, 1) * num_columns * sizeof(Datum));
	*nulls = palloc(Max(num, 1) * num_columns * sizeof(bool));
	for (int i = 0; i < num; i++)
	{
		HeapTupleHeader header = DatumGetHeapTupleHeader(rows[i]);
		HeapTupleData tuple = {0};

		tuple.t_len = HeapTupleHeaderGetDatumLength(header);
		tuple.t_data = header;
		heap_deform_tuple(&tuple, desc, *values + i * num_columns, *nulls + i * num_columns);
	}
	return num;
}

static Cap *
read_caps(ArrayType *array, int *num)
{
	enum
	{
		MAX, SECONDS, DAYS, ZONE, EVERYWHERE, NAME, COLUMNS
	};
	Datum	   *v;
	bool	   *nulls;
	Cap		   *caps;

	*num = read_rows(array, COLUMNS, &v, &nulls);
	caps = palloc(Max(*num, 1) * sizeof(Cap));
	for (int i = 0; i < *num; i++, v += COLUMNS)
	{
		int32		days = DatumGetInt32(v[DAYS]);

		caps[i] = (Cap) {DatumGetInt32(v[MAX]), days > 0 ? days : (int64) rint(DatumGetFloat8(v[SECONDS]) * USECS_PER_SEC), days > 0,
		v[ZONE], DatumGetBool(v[EVERYWHERE]), v[NAME]};
	}
	return caps;
}

static Quiet *
read_quiet(ArrayType *array, int *num)
{
	enum
	{
		SINCE, UNTIL, ZONE, COLUMNS
	};
	Datum	   *v;
	bool	   *nulls;
	Quiet	   *quiet;

	*num = read_rows(array, COLUMNS, &v, &nulls);
	quiet = palloc(Max(*num, 1) * sizeof(Quiet));
	for (int i = 0; i < *num; i++, v += COLUMNS)
		quiet[i] = (Quiet) {DatumGetTimeADT(v[SINCE]), DatumGetTimeADT(v[UNTIL]), v[ZONE]};
	return quiet;
}

static void
add_message(Got *got, TimestampTz at)
{
	int			i = got->num++;

	for (; i > 0 && got->at[i - 1] > at; i--)
	{
		got->at[i] = got->at[i - 1];
		got->here[i] = got->here[i - 1];
	}
	got->at[i] = at;
	got->here[i] = true;
}

/*
 * What holds a message back, one after the other until nothing moves it any
 * more.  First quiet hours, then the cap that lets it go last (caps come in an
 * order of their own: of several the first); the first cap is named.
 */
static TimestampTz
sendable_at(const Cap *caps, int num_caps, const Quiet *quiet, int num_quiet, Datum own, const Got *got, TimestampTz at, Datum *capped_by)
{
	TimestampTz *here = palloc(Max(got->num, 1) * sizeof(TimestampTz));
	int			num_here = 0;

	for (int i = 0; i < got->num; i++)
		if (got->here[i])
			here[num_here++] = got->at[i];
	*capped_by = 0;
	for (int turn = 0; turn < MAX_TURNS; turn++)
	{
		TimestampTz moved;
		Datum		by = 0;

		at = quiet_end(quiet, num_quiet, own, at);
		if (TIMESTAMP_IS_NOEND(at))
			break;
		moved = at;
		for (int i = 0; i < num_caps; i++)
		{
			const Cap  *c = &caps[i];
			TimestampTz free = cap_free_at(c->everywhere ? got->at : here, c->everywhere ? got->num : num_here,
										   c->max, c->length, c->days, own ? own : c->zone, at);

			if (free > moved)
			{
				moved = free;
				by = c->name;
			}
		}
		if (by == 0)
			break;
		at = moved;
		if (*capped_by == 0)
			*capped_by = by;
	}
	pfree(here);
	return at;
}

/*
 * profiles, instants, lapses (NULL: never), zones (NULL: names none), caps,
 * quiet, and what they have got: by whom (ascending), when (ascending for each),
 * on this channel?  See _sendable in 37_frequency.
 */
Datum
mcdp__sendable(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			num_caps,
				num_quiet;
	Cap		   *caps = read_caps(PG_GETARG_ARRAYTYPE_P(4), &num_caps);
	Quiet	   *quiet = read_quiet(PG_GETARG_ARRAYTYPE_P(5), &num_quiet);
	Datum	   *profiles,
			   *instants,
			   *lapses,
			   *zones,
			   *got_by,
			   *got_at,
			   *got_here;
	bool	   *lapses_null,
			   *zones_null;
	int			num,
				num_got,
				n[5];
	int			next = 0;		/* of what they have got */
	Got			got = {0};
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "sendable", ALLOCSET_DEFAULT_SIZES);

	InitMaterializedSRF(fcinfo, 0);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &profiles, NULL, &num);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &instants, NULL, &n[0]);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &lapses, &lapses_null, &n[1]);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT, &zones, &zones_null, &n[2]);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(6), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &got_by, NULL, &num_got);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(7), TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &got_at, NULL, &n[3]);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(8), BOOLOID, 1, true, TYPALIGN_CHAR, &got_here, NULL, &n[4]);
	if (n[0] != num || n[1] != num || n[2] != num || n[3] != num_got || n[4] != num_got)
		elog(ERROR, "arrays of unequal length");
	got.at = palloc((num_got + num + 1) * sizeof(TimestampTz));
	got.here = palloc((num_got + num + 1) * sizeof(bool));
	for (int i = 0; i < num; i++)
	{
		int64		profile = DatumGetInt64(profiles[i]);
		Datum		values[3];
		bool		nulls[3] = {false};
		MemoryContext before = MemoryContextSwitchTo(per_row);
		TimestampTz at;

		CHECK_FOR_INTERRUPTS();
		if (i == 0 || profile != DatumGetInt64(profiles[i - 1]))
		{
			got.num = 0;
			for (; next < num_got && DatumGetInt64(got_by[next]) <= profile; next++)
				if (DatumGetInt64(got_by[next]) == profile)
				{
					got.at[got.num] = DatumGetTimestampTz(got_at[next]);
					got.here[got.num++] = DatumGetBool(got_here[next]);
				}
		}
		at = sendable_at(caps, num_caps, quiet, num_quiet, zones_null[i] ? 0 : zones[i], &got, DatumGetTimestampTz(instants[i]), &values[2]);
		if (values[2] == 0 && !TIMESTAMP_IS_NOEND(at) && (lapses_null[i] || at < DatumGetTimestampTz(lapses[i])))
			add_message(&got, at);
		values[0] = Int64GetDatum(i + 1);
		values[1] = TimestampTzGetDatum(at);
		nulls[2] = values[2] == 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextSwitchTo(before);
		MemoryContextReset(per_row);
	}
	return (Datum) 0;
}
