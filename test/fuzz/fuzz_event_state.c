/* Fuzz target: the stored form of event_state, as in and recv read it. */
#include "fuzz.h"

#include "types/event_state.h"
#include "utils/memutils.h"

static const char *const patterns[] = {"(?1)", "(?1).*(?1)", "(?1)(?t<=3600).(?t>2)(?1)", "...*."};

size_t
fuzz_valid(uint8 *out, size_t max)
{
	EventStateData d = {0};
	EventState *s;
	size_t		size;

	d.kind = 1 + fuzz_below(3);
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
	d.events = palloc(sizeof(MatchEvent) * (d.nevents + 1));
	for (size_t i = 0; i < d.nevents; i++)
	{
		d.events[i].at = fuzz_below(6) * INT64CONST(1000000);
		d.events[i].mask = fuzz_random() >> (64 - d.nconditions);
		if (d.events[i].mask == 0 && (d.mode & FUNNEL_STRICT_ORDER) == 0)
			d.events[i].mask = 1;
	}
	mcdp_match_sort(d.events, d.nevents);
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
			p = palloc(sizeof(MatchPattern));
			if (!mcdp_row_pattern_parse(d.pattern, d.pattern_len, d.nconditions, p, &err))
				fuzz_fail("the pattern has been checked");
			if (mcdp_match_row_pattern(p, d.events, d.nevents, PG_INT64_MAX) > (int64) d.nevents)
				fuzz_fail("no event is in two matches");
			break;
	}
	return true;
}
