/* Fuzz target: the stored form of a timeline, as recv and casts read it. */
#include "fuzz.h"

#include <math.h>

#include "types/timeline_match.h"
#include "utils/memutils.h"

/* Sometimes an event has any time, sometimes there are hundreds of names: every width occurs. */
size_t
fuzz_valid(uint8 *out, size_t max)
{
	TimelineBuilder *b = mcdp_timeline_builder_create(CurrentMemoryContext);
	static const int64 units[] = {1, 1000, USECS_PER_SEC, USECS_PER_MINUTE, USECS_PER_HOUR, USECS_PER_DAY};
	static const double odd[] = {NAN, INFINITY, -INFINITY, -0.0, 0, 2147483647, -2147483648.0, 255, 0.5, 1e300};
	int64		unit = units[fuzz_below(lengthof(units))];
	uint32		spread = 1 + fuzz_below(1 << fuzz_below(27));	/* days of it are time */
	bool		any_time = fuzz_below(8) == 0;
	bool		many = fuzz_below(16) == 0;
	uint32		names = many ? 600 : 5;
	bool		labels = fuzz_below(2);
	uint32		values = fuzz_below(6);
	Timeline   *t;
	size_t		size;

	for (uint32 n = fuzz_below(many ? 600 : 60); n > 0; n--)
	{
		char		event[8];
		char		label[8];
		int64		at = (int64) fuzz_below(spread) * unit;
		double		value = 0;

		(snprintf) (event, sizeof(event), "e%u", fuzz_below(names));
		if (many)
			(snprintf) (label, sizeof(label), "%u", fuzz_below(names));
		else
			(snprintf) (label, sizeof(label), "%.*s", (int) fuzz_below(7), "labels");
		if (any_time)
			at = MIN_TIMESTAMP + (int64) (fuzz_random() % (uint64) END_TIMESTAMP);
		switch (values)
		{
			case 1:
				value = fuzz_below(1 << (6 + fuzz_below(12)));
				break;
			case 2:
				value = fuzz_below(100000) / 100.0;
				break;
			case 3:
				value = (double) fuzz_random() * 1e-7;
				break;
			case 4:
				value = odd[fuzz_below(lengthof(odd))];
				break;
			case 5:
				value = (float) fuzz_below(1000000) / 7;
				break;
		}
		mcdp_timeline_builder_add(b, at, event, strlen(event),
								  labels && fuzz_below(3) ? label : NULL, strlen(label),
								  values > 0 && fuzz_below(4), value);
	}
	t = mcdp_timeline_builder_finish(b);
	size = VARSIZE(t) - VARHDRSZ;
	if (size > max)
		fuzz_fail("seeds are small");
	memcpy(out, VARDATA(t), size);
	return size;
}

/* The timeline with one more column, as a later version might write it. */
static Timeline *
with_unknown_column(const Timeline *t)
{
	size_t		head = offsetof(Timeline, columns) + t->ncolumns * sizeof(TimelineColumn);
	size_t		begin = TYPEALIGN64(8, head);
	size_t		shift = TYPEALIGN64(8, head + sizeof(TimelineColumn)) - begin;
	size_t		end = TYPEALIGN64(8, VARSIZE(t)) + shift;
	Timeline   *more = palloc0(end + 8);

	memcpy(more, t, head);
	memcpy((char *) more + begin + shift, (const char *) t + begin, VARSIZE(t) - begin);
	for (int i = 0; i < t->ncolumns; i++)
		more->columns[i].offset += shift;
	more->columns[more->ncolumns++] = (TimelineColumn) {.id = 200, .encoding = 9, .detail = 9, .offset = end, .length = 8};
	SET_VARSIZE(more, end + 8);
	return more;
}

static void
same_events(const TimelineView *a, const TimelineView *b)
{
	if (timeline_num_events(a) != timeline_num_events(b) || b->unknown_columns != 1)
		fuzz_fail("an unknown column is skipped");
	for (uint32 i = 0; i < timeline_num_events(a); i++)
	{
		double		x = 0,
					y = 0;

		if (timeline_at(a, i) != timeline_at(b, i) || timeline_event_code(a, i) != timeline_event_code(b, i) ||
			timeline_label_code(a, i) != timeline_label_code(b, i) ||
			timeline_value(a, i, &x) != timeline_value(b, i, &y) || memcmp(&x, &y, sizeof(x)) != 0)
			fuzz_fail("an unknown column changes nothing");
	}
}

/* The questions that have a pass of their own over the columns say what the others say. */
static void
same_answers(const TimelineView *v)
{
	int			codes[4];
	int			nsteps = 1 + fuzz_below(lengthof(codes));
	int64		within = (int64) (fuzz_random() >> (1 + fuzz_below(60)));
	int64		bucket = 1 + within / 16;
	int			buckets = 1 + fuzz_below(40);
	bool		by_day = fuzz_below(2);
	bool		in_columns[40],
				in_events[40];
	uint32		n = timeline_num_events(v);
	uint32		sessions = 0;
	MatchEvent *events = palloc(sizeof(MatchEvent) * n);
	uint64		median;

	for (int k = 0; k < nsteps; k++)
		codes[k] = (int) fuzz_below(v->event_dict.count);
	for (uint32 i = 0; i < n; i++)
	{
		events[i].at = timeline_at(v, i);
		events[i].mask = 0;
		for (int k = 0; k < nsteps; k++)
			events[i].mask |= (uint64) (timeline_event_code(v, i) == (uint32) codes[k]) << k;
	}
	if (mcdp_timeline_funnel(v, nsteps, codes, within) != mcdp_match_funnel(events, n, nsteps, within, 0))
		fuzz_fail("both funnels agree");
	mcdp_timeline_retention(v, codes[0], nsteps > 1 ? codes[1] : -1, false, buckets, bucket, by_day, in_columns);
	mcdp_match_retention(events, n, by_day, buckets, bucket, in_events);
	if (memcmp(in_columns, in_events, buckets) != 0)
		fuzz_fail("both retentions agree");
	for (uint32 i = 0; i < n; sessions++)
		i = mcdp_timeline_session_end(v, i, within);
	if (sessions != mcdp_timeline_num_sessions(v, within))
		fuzz_fail("there are as many sessions as are counted");
	(void) mcdp_timeline_median_gap(v, codes[0], &median);
	pfree(events);
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	McdpBadInput bad = {NULL, 0};
	Timeline   *t;
	Timeline   *again;
	TimelineView v;
	TimelineBuilder *b;

	if (!mcdp_timeline_check((const char *) bytes, len, &bad))
	{
		if (bad.reason == NULL || bad.offset > len)
			fuzz_fail("a refusal says why and where");
		return false;
	}
	t = palloc(len + VARHDRSZ);
	SET_VARSIZE(t, len + VARHDRSZ);
	memcpy(VARDATA(t), bytes, len);
	mcdp_timeline_open(&v, t);
	b = mcdp_timeline_builder_create(CurrentMemoryContext);
	for (uint32 i = 0; i < timeline_num_events(&v); i++)
	{
		int			elen;
		int			llen = 0;
		const char *event = mcdp_timeline_event_name(&v, timeline_event_code(&v, i), &elen);
		uint32		code = timeline_label_code(&v, i);
		const char *label = code == TIMELINE_NO_LABEL ? NULL : mcdp_timeline_label_name(&v, code, &llen);
		double		value = 0;
		bool		has_value = timeline_value(&v, i, &value);

		if (i > 0 && timeline_at(&v, i) < timeline_at(&v, i - 1))
			fuzz_fail("events are in the order of time");
		mcdp_timeline_builder_add(b, timeline_at(&v, i), event, elen, label, llen, has_value, value);
	}
	again = mcdp_timeline_builder_finish(b);
	if (VARSIZE(again) != VARSIZE(t) || memcmp(VARDATA(again), VARDATA(t), len) != 0)
		fuzz_fail("what is accepted is canonical");
	if (t->ncolumns > 0)
	{
		TimelineView later;

		mcdp_timeline_open(&later, with_unknown_column(t));
		same_events(&v, &later);
		same_answers(&v);
	}
	return true;
}
