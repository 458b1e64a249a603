/*-------------------------------------------------------------------------
 *
 * timeline_retention.c
 *	  Who came back: occurrences by buckets since the first of an event.
 *
 * Bucket k is [c0 + k * bucket, c0 + (k + 1) * bucket).  Events are in the
 * order of time, so the pass only compares with the end of the bucket that was
 * last marked; it divides once for each bucket it marks.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_retention.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "types/timeline_match.h"

typedef struct Retention
{
	uint64		since;			/* of bucket 0, from the base in microseconds;
								 * modulo 2^64 */
	uint64		bucket;
	uint64		unit;
	uint32		buckets;
	bool	   *out;
} Retention;

/*
 * Marks the bucket of an event "offset" units after the base; returns the
 * offset at which the next bucket begins, PG_UINT64_MAX when there is none.
 */
static uint64
mark(const Retention *r, uint64 offset)
{
	/* unsigned: two events may be further apart than an int64 can tell */
	uint64		k = (offset * r->unit - r->since) / r->bucket;
	uint64		end;

	if (k >= r->buckets)
		return PG_UINT64_MAX;
	r->out[k] = true;
	if (k + 1 == r->buckets || pg_mul_u64_overflow(k + 1, r->bucket, &end))
		return PG_UINT64_MAX;
	end += r->since;
	if (end <= offset * r->unit)
		return PG_UINT64_MAX;	/* it has wrapped round */
	return end / r->unit + (end % r->unit != 0);
}

#define DEFINE_RETENTION(name, time_type, code_type) \
static void \
name(const Retention *r, const time_type *times, const code_type *codes, \
	 uint32 first, uint32 n, uint32 code, bool any) \
{ \
	uint64		next = 0; \
	\
	for (uint32 i = first; i < n; i++) \
	{ \
		if (times[i] < next || !(any || codes[i] == code)) \
			continue; \
		next = mark(r, times[i]); \
		if (next == PG_UINT64_MAX) \
			break; \
	} \
}

DEFINE_RETENTION(retention_8_8, uint8, uint8)
DEFINE_RETENTION(retention_16_8, uint16, uint8)
DEFINE_RETENTION(retention_32_8, uint32, uint8)
DEFINE_RETENTION(retention_64_8, uint64, uint8)
DEFINE_RETENTION(retention_8_16, uint8, uint16)
DEFINE_RETENTION(retention_16_16, uint16, uint16)
DEFINE_RETENTION(retention_32_16, uint32, uint16)
DEFINE_RETENTION(retention_64_16, uint64, uint16)
DEFINE_RETENTION(retention_8_32, uint8, uint32)
DEFINE_RETENTION(retention_16_32, uint16, uint32)
DEFINE_RETENTION(retention_32_32, uint32, uint32)
DEFINE_RETENTION(retention_64_32, uint64, uint32)

/* Index of the first event with a code, nevents if none. */
static uint32
find_first(const TimelineView *v, uint32 code)
{
	uint32		i = 0;

	if (v->event_width == 0)
	{
		const char *found = v->nevents == 0 ? NULL : memchr(v->events, (int) code, v->nevents);

		return found == NULL ? v->nevents : (uint32) (found - (const char *) v->events);
	}
	while (i < v->nevents && timeline_event_code(v, i) != code)
		i++;
	return i;
}

/*
 * Codes are of events, -1 for a name that does not occur; any: every event
 * counts as a return.  bucket > 0 in microseconds; out has "buckets" elements.
 */
void
mcdp_timeline_retention(const TimelineView *v, int cohort, int returned, bool any,
						int buckets, int64 bucket, bool align_day, bool *out)
{
	Retention	r = {0, (uint64) bucket, (uint64) v->unit, (uint32) buckets, out};
	uint32		first;
	int64		since;

	memset(out, 0, buckets);
	if (cohort < 0)
		return;
	first = find_first(v, (uint32) cohort);
	if (first == v->nevents)
		return;
	out[0] = true;
	if (returned < 0 && !any)
		return;
	since = timeline_at(v, first);
	if (align_day)
	{
		int64		into_day = since % USECS_PER_DAY;

		since -= into_day < 0 ? into_day + USECS_PER_DAY : into_day;
		first = mcdp_timeline_first_from(v, since);
	}
	r.since = (uint64) since - (uint64) v->base;

#define RUN(name)	name(&r, v->times, v->events, first, v->nevents, (uint32) returned, any)
	switch (v->event_width * 4 + v->time_width)
	{
		case 0:
			RUN(retention_8_8);
			break;
		case 1:
			RUN(retention_16_8);
			break;
		case 2:
			RUN(retention_32_8);
			break;
		case 3:
			RUN(retention_64_8);
			break;
		case 4:
			RUN(retention_8_16);
			break;
		case 5:
			RUN(retention_16_16);
			break;
		case 6:
			RUN(retention_32_16);
			break;
		case 7:
			RUN(retention_64_16);
			break;
		case 8:
			RUN(retention_8_32);
			break;
		case 9:
			RUN(retention_16_32);
			break;
		case 10:
			RUN(retention_32_32);
			break;
		default:
			RUN(retention_64_32);
	}
#undef RUN
}
