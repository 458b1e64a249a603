/* Fuzz target: the stored form of event_state, as in and recv read it. */
#include "fuzz.h"

#include "types/event_state.h"
#include "utils/memutils.h"

static const char *const patterns[] = {"(?1)", "(?1).*(?1)", "(?1)(?t<=3600).(?t>2)(?1)", "...*."};
static const char *const sequences[] = {"a", "a -> b", "a ->(2h) !b", "a -> !* -> b -> a", "a[x] -> b[x]"};

size_t
fuzz_valid(uint8 *out, size_t max)
{
	EventStateData d = {0};
	EventState *s;
	size_t		size;

	d.kind = 1 + fuzz_below(5);
	d.nconditions = 1 + fuzz_below(fuzz_below(2) ? 8 : 64);
	if (d.kind == EVENT_STATE_FUNNEL)
	{
		d.mode = fuzz_below(16);
		d.detail = fuzz_below(1000);
	}
	if (d.kind == EVENT_STATE_RETENTION)
		d.detail = fuzz_below(2);
	else
		d.nevents = fuzz_below(12);
	if (d.kind == EVENT_STATE_PATTERN)
	{
		d.pattern = patterns[fuzz_below(lengthof(patterns))];
		d.pattern_len = strlen(d.pattern);
	}
	if (d.kind == EVENT_STATE_SEQUENCE)
	{
		MatchPattern *p = palloc(sizeof(MatchPattern));
		MatchError	err;

		d.pattern = sequences[fuzz_below(lengthof(sequences))];
		d.pattern_len = strlen(d.pattern);
		if (!mcdp_pattern_parse(d.pattern, d.pattern_len, p, &err))
			fuzz_fail("the pattern is valid");
		d.nconditions = p->ntests;
	}
	if (d.kind == EVENT_STATE_RETURNS)
	{
		d.nconditions = 2;
		d.mode = fuzz_below(2);
		d.buckets = 1 + fuzz_below(fuzz_below(2) ? 4 : EVENT_STATE_MAX_BUCKETS);
		d.detail = 1 + fuzz_below(3000000);
	}
	d.events = palloc(sizeof(MatchEvent) * (d.nevents + 1));
	for (size_t i = 0; i < d.nevents; i++)
	{
		d.events[i].at = fuzz_below(6) * INT64CONST(1000000);
		d.events[i].mask = fuzz_random() >> (64 - d.nconditions);
		if (d.events[i].mask == 0 && (d.mode & FUNNEL_STRICT_ORDER) == 0)
			d.events[i].mask = 1;
	}
	mcdp_match_sort(d.events, d.nevents);
	if (d.kind == EVENT_STATE_RETURNS)
		d.nevents = mcdp_event_state_trim(&d);
	size = mcdp_event_state_size(&d);
	s = palloc(size);
	mcdp_event_state_write(&d, s, size);
	if (size - VARHDRSZ > max)
		fuzz_fail("seeds are small");
	memcpy(out, VARDATA(s), size - VARHDRSZ);
	return size - VARHDRSZ;
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	McdpBadInput bad = {NULL, 0};
	EventState *s;
	EventState *again;
	EventStateData d;
	MatchPattern *p;
	MatchError	err;
	size_t		size;
	bool	   *came;
	int			plain,
				strict;

	if (!mcdp_event_state_check((const char *) bytes, len, &bad))
	{
		if (bad.reason == NULL || bad.offset > len)
			fuzz_fail("a refusal says why and where");
		return false;
	}
	s = palloc(len + VARHDRSZ);
	SET_VARSIZE(s, len + VARHDRSZ);
	memcpy(VARDATA(s), bytes, len);
	mcdp_event_state_open(s, &d);
	d.events = palloc(sizeof(MatchEvent) * (d.nevents + 1));
	mcdp_event_state_read(s, d.events);
	mcdp_match_sort(d.events, d.nevents);
	if (d.kind == EVENT_STATE_RETURNS)
		d.nevents = mcdp_event_state_trim(&d);
	size = mcdp_event_state_size(&d);
	again = palloc(size);
	mcdp_event_state_write(&d, again, size);
	if (size != len + VARHDRSZ || memcmp(VARDATA(again), bytes, len) != 0)
		fuzz_fail("what is accepted is canonical");
	switch (d.kind)
	{
		case EVENT_STATE_FUNNEL:
			plain = mcdp_match_funnel(d.events, d.nevents, d.nconditions, d.detail, 0);
			strict = mcdp_match_funnel(d.events, d.nevents, d.nconditions, d.detail, d.mode);
			if (strict > plain || (plain > 0) != (strict > 0))
				fuzz_fail("a mode only takes away");
			break;
		case EVENT_STATE_PATTERN:
		case EVENT_STATE_SEQUENCE:
			p = palloc(sizeof(MatchPattern));
			if (!mcdp_event_state_pattern(d.kind, d.pattern, d.pattern_len, d.nconditions, p, &err))
				fuzz_fail("the pattern has been checked");
			if ((d.kind == EVENT_STATE_PATTERN ? mcdp_match_row_pattern(p, d.events, d.nevents, PG_INT64_MAX) :
				 mcdp_match_pattern(p, d.events, d.nevents, MATCH_AT_THE_END, PG_INT64_MAX)) > (int64) d.nevents)
				fuzz_fail("no event is in two matches");
			break;
		case EVENT_STATE_RETURNS:
			came = palloc(d.buckets);
			mcdp_match_retention(d.events, d.nevents, d.mode == EVENT_STATE_ALIGN_DAY, d.buckets, d.detail, came);
			for (uint32 k = 1; k < d.buckets; k++)
			{
				if (came[k] && !came[0])
					fuzz_fail("who returns was there");
			}
			break;
	}
	return true;
}
