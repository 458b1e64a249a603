/* Fuzz target: the stored form of a timeline, as recv and casts read it. */
#include "fuzz.h"

#include "types/timeline.h"
#include "utils/memutils.h"

size_t
fuzz_valid(uint8 *out, size_t max)
{
	TimelineBuilder *b = mcdp_timeline_builder_create(CurrentMemoryContext);
	static const int64 units[] = {1, 1000, 1000000, 60 * 1000000};
	int64		unit = units[fuzz_below(lengthof(units))];
	uint32		spread = 1 + fuzz_below(1 << fuzz_below(30));
	bool		labels = fuzz_below(2);
	uint32		values = fuzz_below(4);
	Timeline   *t;
	size_t		size;

	for (uint32 n = fuzz_below(60); n > 0; n--)
	{
		char		event[8];
		char		label[8];
		double		value = 0;

		(snprintf) (event, sizeof(event), "e%u", fuzz_below(5));
		(snprintf) (label, sizeof(label), "%.*s", (int) fuzz_below(7), "labels");
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
		}
		mcdp_timeline_builder_add(b, (int64) fuzz_below(spread) * unit, event, strlen(event),
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
	}
	return true;
}
