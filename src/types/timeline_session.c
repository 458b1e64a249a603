/*-------------------------------------------------------------------------
 *
 * timeline_session.c
 *	  Gaps between events: sessions and the median gap.
 *
 * A gap is the difference between the times of two neighbouring events.  A
 * session is a longest run of events without a gap that exceeds a given one.
 * Both are found in the units in which times are stored: a difference of d
 * units exceeds a length of g microseconds when d > g / unit, rounded down.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_session.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "types/timeline.h"
#include "utils/memutils.h"

/* ---------------------------------------------------------------- sessions */

#define DEFINE_COUNT_BREAKS(name, time_type) \
static MCDP_VECTORISED uint32 \
name(const time_type *times, uint32 n, time_type gap) \
{ \
	uint32		breaks = 0; \
	\
	for (uint32 i = 1; i < n; i++) \
		breaks += (time_type) (times[i] - times[i - 1]) > gap; \
	return breaks; \
}

DEFINE_COUNT_BREAKS(count_breaks_8, uint8)
DEFINE_COUNT_BREAKS(count_breaks_16, uint16)
DEFINE_COUNT_BREAKS(count_breaks_32, uint32)
DEFINE_COUNT_BREAKS(count_breaks_64, uint64)

/* How many sessions there are; "gap" in microseconds, >= 0. */
uint32
mcdp_timeline_num_sessions(const TimelineView *v, int64 gap)
{
	uint64		units = (uint64) gap / (uint64) v->unit;
	uint32		n = v->nevents;

	if (n == 0)
		return 0;
	switch (v->time_width)
	{
		case 0:
			return 1 + count_breaks_8(v->times, n, (uint8) Min(units, PG_UINT8_MAX));
		case 1:
			return 1 + count_breaks_16(v->times, n, (uint16) Min(units, PG_UINT16_MAX));
		case 2:
			return 1 + count_breaks_32(v->times, n, (uint32) Min(units, PG_UINT32_MAX));
		default:
			return 1 + count_breaks_64(v->times, n, units);
	}
}

/* One past the last event of the session that begins with event "first". */
uint32
mcdp_timeline_session_end(const TimelineView *v, uint32 first, int64 gap)
{
	uint64		units = (uint64) gap / (uint64) v->unit;
	uint64		last = timeline_offset(v, first);
	uint32		i;

	for (i = first + 1; i < v->nevents; i++)
	{
		uint64		now = timeline_offset(v, i);

		MCDP_CHECK_EVERY(i);
		if (now - last > units)
			break;
		last = now;
	}
	return i;
}

/* -------------------------------------------------------------- median gap */

#define FEW_GAPS	32

/* The extremes of those numbers whose byte at "shift" is "digit". */
static void
range_of(const uint64 *x, uint32 n, int shift, uint32 digit, uint64 *min, uint64 *max)
{
	*min = PG_UINT64_MAX;
	*max = 0;
	for (uint32 i = 0; i < n; i++)
	{
		if ((x[i] >> shift & 0xff) == digit)
		{
			*min = Min(*min, x[i]);
			*max = Max(*max, x[i]);
		}
	}
}

/*
 * The one or two numbers in the middle of n > 0 unsorted ones, which are
 * overwritten.  Chooses by one byte after the other, the highest first: linear
 * whatever the numbers are.
 */
static void
middle_of(uint64 *x, uint32 n, uint64 *lower, uint64 *upper)
{
	uint32		lo = (n - 1) / 2,
				hi = n / 2;		/* ranks asked for, from 0 */

	for (int shift = 56; n > FEW_GAPS && shift >= 0; shift -= 8)
	{
		uint32		count[256] = {0};
		uint32		below = 0,
					kept = 0,
					digit;

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < n; i++)
			count[x[i] >> shift & 0xff]++;
		for (digit = 0; below + count[digit] <= lo; digit++)
			below += count[digit];
		if (below + count[digit] <= hi)
		{
			/* they part here: the last of this digit, the first of the next */
			uint64		ignore;
			uint32		next = digit + 1;

			while (count[next] == 0)
				next++;
			range_of(x, n, shift, digit, &ignore, lower);
			range_of(x, n, shift, next, upper, &ignore);
			return;
		}
		if (count[digit] == n)
			continue;
		for (uint32 i = 0; i < n; i++)
		{
			if ((x[i] >> shift & 0xff) == digit)
				x[kept++] = x[i];
		}
		n = kept;
		lo -= below;
		hi -= below;
	}

	/* Few are left, or all that are left are equal. */
	for (uint32 i = 1; n <= FEW_GAPS && i < n; i++)
	{
		uint64		gap = x[i];
		uint32		j = i;

		for (; j > 0 && x[j - 1] > gap; j--)
			x[j] = x[j - 1];
		x[j] = gap;
	}
	*lower = x[lo];
	*upper = x[hi];
}

/*
 * The median of the gaps between neighbouring events with this code, in
 * microseconds (up to 9.4e18: unsigned); of two in the middle their mean, half a
 * microsecond of their difference to even.  False when there are less than two such events.
 */
bool
mcdp_timeline_median_gap(const TimelineView *v, uint32 event, uint64 *median)
{
	uint64		few[FEW_GAPS];
	uint64	   *gaps = few;
	uint32		space = FEW_GAPS;
	uint32		n = 0;
	bool		any = false;
	uint64		last = 0,
				lower,
				upper,
				between;

	for (uint32 i = 0; i < v->nevents; i++)
	{
		uint64		now;

		MCDP_CHECK_EVERY(i);
		if (timeline_event_code(v, i) != event)
			continue;
		now = timeline_offset(v, i);
		if (any)
		{
			if (n == space)
			{
				uint64	   *more;

				space = (uint32) Min((uint64) space * 4, v->nevents);
				more = palloc_extended(sizeof(uint64) * (Size) space, MCXT_ALLOC_HUGE);
				memcpy(more, gaps, sizeof(uint64) * (Size) n);
				if (gaps != few)
					pfree(gaps);
				gaps = more;
			}
			gaps[n++] = now - last;
		}
		any = true;
		last = now;
	}
	if (n == 0)
		return false;

	middle_of(gaps, n, &lower, &upper);
	if (gaps != few)
		pfree(gaps);
	lower *= (uint64) v->unit;
	between = upper * (uint64) v->unit - lower;
	*median = lower + between / 2 + ((between & 3) == 3 ? 1 : 0);
	return true;
}
