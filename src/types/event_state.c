/*-------------------------------------------------------------------------
 *
 * event_state.c
 *	  The stored form of event_state; see event_state.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_state.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "types/event_state.h"
#include "utils/memutils.h"

#define HEADER_SIZE		offsetof(EventState, at)

static size_t
mask_width(int nconditions)
{
	return nconditions <= 8 ? 1 : nconditions <= 16 ? 2 : nconditions <= 32 ? 4 : 8;
}

static uint64
read_mask(const char *masks, size_t width, size_t i)
{
	uint16		two;
	uint32		four;
	uint64		eight;

	switch (width)
	{
		case 1:
			return ((const uint8 *) masks)[i];
		case 2:
			memcpy(&two, masks + 2 * i, 2);
			return two;
		case 4:
			memcpy(&four, masks + 4 * i, 4);
			return four;
		default:
			memcpy(&eight, masks + 8 * i, 8);
			return eight;
	}
}

size_t
mcdp_event_state_size(const EventStateData *d)
{
	size_t		each = sizeof(int64) + mask_width(d->nconditions);

	if (d->nevents > (MaxAllocSize - HEADER_SIZE - d->pattern_len) / each)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events in one group"),
				 errdetail("The state of an aggregate over events must be less than 1 GB.")));
	return HEADER_SIZE + d->nevents * each + d->pattern_len;
}

void
mcdp_event_state_write(const EventStateData *d, EventState *out, size_t size)
{
	size_t		width = mask_width(d->nconditions);
	char	   *masks = (char *) out + HEADER_SIZE + sizeof(int64) * d->nevents;

	SET_VARSIZE(out, size);
	out->version = EVENT_STATE_VERSION;
	out->kind = d->kind;
	out->nconditions = d->nconditions;
	out->mode = d->mode;
	out->nevents = d->nevents;
	out->extent = d->kind == EVENT_STATE_RETURNS ? d->buckets : d->pattern_len;
	out->detail = d->detail;
	for (size_t i = 0; i < d->nevents; i++)
		out->at[i] = d->events[i].at;

#define WRITE_MASKS(type) \
	for (size_t i = 0; i < d->nevents; i++) \
	{ \
		type		mask = (type) d->events[i].mask; \
		\
		memcpy(masks + sizeof(mask) * i, &mask, sizeof(mask)); \
	}
	switch (width)
	{
		case 1:
			WRITE_MASKS(uint8);
			break;
		case 2:
			WRITE_MASKS(uint16);
			break;
		case 4:
			WRITE_MASKS(uint32);
			break;
		default:
			WRITE_MASKS(uint64);
	}
#undef WRITE_MASKS
	if (d->pattern_len > 0)
		memcpy(masks + width * d->nevents, d->pattern, d->pattern_len);
}

int64
mcdp_event_state_end(const EventStateData *d, int64 first)
{
	int64		end;

	if (pg_mul_s64_overflow(d->buckets, d->detail, &end) || pg_add_s64_overflow(first, end, &end))
		return DT_NOEND;
	return end;
}

size_t
mcdp_event_state_trim(const EventStateData *d)
{
	size_t		first = 0,
				n;
	int64		begin,
				end;

	while (first < d->nevents && (d->events[first].mask & 1) == 0)
		first++;
	if (first == d->nevents)
		return d->nevents;
	begin = d->events[first].at;
	end = mcdp_event_state_end(d, begin);
	n = first;
	for (size_t i = first; i < d->nevents && d->events[i].at < end; i++)
	{
		MatchEvent	e = d->events[i];

		if (e.at > begin)
			e.mask &= ~UINT64CONST(1);
		if (e.mask != 0)
			d->events[n++] = e;
	}
	return n;
}

void
mcdp_event_state_open(const EventState *s, EventStateData *d)
{
	if (s->version != EVENT_STATE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("unknown version %d of a stored event_state", s->version)));
	d->kind = s->kind;
	d->nconditions = s->nconditions;
	d->mode = s->mode;
	d->detail = s->detail;
	d->buckets = s->kind == EVENT_STATE_RETURNS ? s->extent : 0;
	d->pattern_len = s->kind == EVENT_STATE_RETURNS ? 0 : s->extent;
	d->pattern = (const char *) s + VARSIZE(s) - d->pattern_len;
	d->nevents = s->nevents;
	d->events = NULL;
}

void
mcdp_event_state_read(const EventState *s, MatchEvent *events)
{
	size_t		width = mask_width(s->nconditions);
	const char *masks = (const char *) s + HEADER_SIZE + sizeof(int64) * (size_t) s->nevents;

	for (size_t i = 0; i < s->nevents; i++)
	{
		events[i].at = s->at[i];
		events[i].mask = width == 1 ? ((const uint8 *) masks)[i] : read_mask(masks, width, i);
	}
}

bool
mcdp_event_state_pattern(int kind, const char *s, int len, int nconditions, MatchPattern *p, MatchError *err)
{
	if (kind == EVENT_STATE_PATTERN)
		return mcdp_row_pattern_parse(s, len, nconditions, p, err);
	return mcdp_pattern_parse(s, len, p, err) && p->ntests == nconditions;
}

static bool
bad_input(McdpBadInput *bad, const char *reason, size_t offset)
{
	bad->reason = reason;
	bad->offset = offset;
	return false;
}

bool
mcdp_event_state_check(const char *bytes, size_t len, McdpBadInput *bad)
{
	const size_t skipped = sizeof(int32);
	EventState	head;
	size_t		width;
	uint64		conditions;
	const char *masks;
	MatchEvent	before = {0};
	int64		begin = DT_NOEND,	/* of a cohort, and the end of its last
									 * bucket */
				end = DT_NOEND;
	size_t		pattern_len;

	if (len < HEADER_SIZE - skipped)
		return bad_input(bad, "The value is shorter than its head.", len);
	memcpy((char *) &head + skipped, bytes, HEADER_SIZE - skipped);
	if (head.version != EVENT_STATE_VERSION)
		return bad_input(bad, "The version is unknown.", 0);
	if (head.kind < EVENT_STATE_FUNNEL || head.kind > EVENT_STATE_RETURNS)
		return bad_input(bad, "The kind is unknown.", 1);
	if (head.nconditions < 1 || head.nconditions > MATCH_MAX_STEPS)
		return bad_input(bad, "The number of conditions is not between 1 and 64.", 2);
	if (head.mode > (head.kind == EVENT_STATE_FUNNEL ? FUNNEL_ALL_MODES :
					 head.kind == EVENT_STATE_RETURNS ? EVENT_STATE_ALIGN_DAY : 0))
		return bad_input(bad, "The mode is unknown.", 3);
	if (head.nevents > 0 && head.kind == EVENT_STATE_RETENTION)
		return bad_input(bad, "A state of retention has no events.", 4);
	if (head.kind == EVENT_STATE_RETURNS)
	{
		if (head.nconditions != 2)
			return bad_input(bad, "The number of conditions is not 2.", 2);
		if (head.extent < 1 || head.extent > EVENT_STATE_MAX_BUCKETS)
			return bad_input(bad, "The number of buckets is out of range.", 8);
		if (head.detail < 1)
			return bad_input(bad, "A bucket is empty.", 12);
		pattern_len = 0;
	}
	else if (head.extent > 0 && head.kind != EVENT_STATE_PATTERN && head.kind != EVENT_STATE_SEQUENCE)
		return bad_input(bad, "A state of another kind has no pattern.", 8);
	else
		pattern_len = head.extent;
	width = mask_width(head.nconditions);
	conditions = head.nconditions == 64 ? ~UINT64CONST(0) : (UINT64CONST(1) << head.nconditions) - 1;
	if (head.kind == EVENT_STATE_FUNNEL || head.kind == EVENT_STATE_RETURNS ? head.detail < 0 :
		((uint64) head.detail & ~(head.kind == EVENT_STATE_RETENTION ? conditions : 0)) != 0)
		return bad_input(bad, "The window or the set of conditions met is out of range.", 12);
	if ((uint64) len != HEADER_SIZE - skipped + head.nevents * (uint64) (sizeof(int64) + width) + pattern_len)
		return bad_input(bad, "The length does not fit the number of events.", 4);

	masks = bytes + (HEADER_SIZE - skipped) + sizeof(int64) * (size_t) head.nevents;
	for (size_t i = 0; i < head.nevents; i++)
	{
		size_t		offset = HEADER_SIZE - skipped + sizeof(int64) * i;
		MatchEvent	pair[2];

		memcpy(&pair[1].at, bytes + offset, sizeof(int64));
		pair[1].mask = read_mask(masks, width, i);
		if (!IS_VALID_TIMESTAMP(pair[1].at))
			return bad_input(bad, "A time is out of range.", offset);
		if ((pair[1].mask & ~conditions) != 0)
			return bad_input(bad, "An event has a condition that there is not.", masks - bytes + i * width);
		if (pair[1].mask == 0 && (head.mode & FUNNEL_STRICT_ORDER) == 0)
			return bad_input(bad, "An event has no condition.", masks - bytes + i * width);
		if (head.kind == EVENT_STATE_RETURNS)
		{
			if (pair[1].at >= end || (pair[1].at > begin && (pair[1].mask & 1) != 0))
				return bad_input(bad, "An event does not count.", offset);
			if ((pair[1].mask & 1) != 0)
			{
				EventStateData d = {.buckets = head.extent, .detail = head.detail};

				begin = pair[1].at;
				end = mcdp_event_state_end(&d, begin);
			}
		}
		if (i > 0)
		{
			pair[0] = before;
			before = pair[1];
			mcdp_match_sort(pair, 2);
			if (pair[1].at != before.at || pair[1].mask != before.mask)
				return bad_input(bad, "Events are out of order.", offset);
		}
		before = pair[1];
	}
	if (head.kind == EVENT_STATE_PATTERN || head.kind == EVENT_STATE_SEQUENCE)
	{
		MatchPattern *pattern = palloc(sizeof(MatchPattern));
		MatchError	err;
		bool		ok = mcdp_event_state_pattern(head.kind, bytes + len - pattern_len, pattern_len,
												  head.nconditions, pattern, &err);

		pfree(pattern);
		if (!ok)
			return bad_input(bad, "The pattern is invalid.", len - pattern_len);
	}
	return true;
}
