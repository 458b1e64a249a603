/*-------------------------------------------------------------------------
 *
 * timeline_retention.c
 *	  Who came back: occurrences by buckets since the first of an event.
 *
 * Bucket k is [c0 + k * bucket, c0 + (k + 1) * bucket).  Events are in the
 * order of time, so the pass only compares with the end of the bucket that was
 * last marked; it divides once for each bucket it marks (multiplies, when the
 * numbers are small enough for that to be exact).
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
	double		per_bucket;		/* 1 / bucket */
	uint64		unit;
	uint32		buckets;
	bool	   *out;
} Retention;

/* x / bucket, rounded down */
static inline uint64
bucket_of(const Retention *r, uint64 x)
{
	uint64		k;

	if (unlikely(x >= UINT64CONST(1) << 52))
		return x / r->bucket;
	/* a division takes longer than all the rest; this is off by one at most */
	k = (uint64) (int64) ((double) (int64) x * r->per_bucket);
	if (k * r->bucket > x)
		return k - 1;
	return k + (x - k * r->bucket >= r->bucket);
}

/*
 * Marks the bucket of an event "offset" units after the base; returns the
 * offset at which the next bucket begins, PG_UINT64_MAX when there is none.
 */
static uint64
mark(const Retention *r, uint64 offset)
{
	/* unsigned: two events may be further apart than an int64 can tell */
	uint64		k = bucket_of(r, offset * r->unit - r->since);
	uint64		end;

	if (k >= r->buckets)
		return PG_UINT64_MAX;
	r->out[k] = true;
	if (k + 1 == r->buckets || pg_mul_u64_overflow(k + 1, r->bucket, &end))
		return PG_UINT64_MAX;
	end += r->since;
	if (end <= offset * r->unit)
		return PG_UINT64_MAX;	/* it has wrapped round */
	return r->unit == 1 ? end : end / r->unit + (end % r->unit != 0);
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

uint32
mcdp_timeline_first_of(const TimelineView *v, uint32 code)
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

void
mcdp_timeline_returns(const TimelineView *v, uint32 first, TimestampTz since,
					  int returned, bool any, int buckets, int64 bucket, bool *out)
{
	Retention	r = {0, (uint64) bucket, 1 / (double) bucket, (uint64) v->unit, (uint32) buckets, out};

	memset(out, 0, buckets);
	out[0] = true;
	if (returned < 0 && !any)
		return;
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

void
mcdp_timeline_retention(const TimelineView *v, int cohort, int returned, bool any,
						int buckets, int64 bucket, bool align_day, bool *out)
{
	uint32		first = cohort < 0 ? v->nevents : mcdp_timeline_first_of(v, (uint32) cohort);
	int64		since;

	if (first == v->nevents)
	{
		memset(out, 0, buckets);
		return;
	}
	since = timeline_at(v, first);
	if (align_day)
	{
		int64		into_day = since % USECS_PER_DAY;

		since -= into_day < 0 ? into_day + USECS_PER_DAY : into_day;
		while (first > 0 && timeline_at(v, first - 1) >= since)
			first--;
	}
	mcdp_timeline_returns(v, first, since, returned, any, buckets, bucket, out);
}
