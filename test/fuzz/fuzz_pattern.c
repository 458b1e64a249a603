/* Fuzz target: the text of a pattern, in either language, and its search. */
#include "fuzz.h"

#include "types/event_match.h"
#include "types/timeline_match.h"
#include "utils/memutils.h"

static const char *const steps[] = {"a", "b", "*", "a[x]", "\"b\"[\"\"]", "c-d"};
static const char *const arrows[] = {" -> ", "->", "-> !b ->", "->!a[x]->!*->(0s)", "->(3s)", " -> ( 1min ) "};
static const char *const ends[] = {"", "->!a", " ->(2s) !*", "->!c-d->(1s)!b"};
static const char *const elements[] = {"(?1)", "(?2)", "(?3)", "."};
static const char *const links[] = {"", ".*", "(?t<=3)", "(?t>1)", "(?t>=1)(?t<5)", ".*(?t==2)"};

#define ANY_OF(list)	list[fuzz_below(lengthof(list))]

static size_t
append(uint8 *out, size_t len, const char *part)
{
	memcpy(out + len, part, strlen(part));
	return len + strlen(part);
}

size_t
fuzz_valid(uint8 *out, size_t max)
{
	size_t		len = 0;
	bool		rows = fuzz_below(2);

	out[len++] = rows;
	for (uint32 n = fuzz_below(6) + 1; n > 0; n--)
	{
		len = append(out, len, rows ? ANY_OF(elements) : ANY_OF(steps));
		if (n > 1)
			len = append(out, len, rows ? ANY_OF(links) : ANY_OF(arrows));
	}
	return append(out, len, rows ? "" : ANY_OF(ends));
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	static const char *const names[] = {"a", "b", "c-d"};
	MatchPattern *p = palloc(sizeof(MatchPattern));
	MatchError	err = {{0}};
	const char *text = (const char *) bytes + 1;
	int64		count,
				once,
				at;
	int			n = fuzz_below(14);

	if (len == 0)
		return false;
	if (!((bytes[0] & 1) ? mcdp_row_pattern_parse(text, len - 1, 3, p, &err) : mcdp_pattern_parse(text, len - 1, p, &err)))
	{
		if (err.detail[0] == '\0' || err.offset > len - 1)
			fuzz_fail("a refusal says why and where");
		return false;
	}
	if (bytes[0] & 1)
	{
		MatchEvent *events = palloc(sizeof(MatchEvent) * (n + 1));

		for (int i = 0; i < n; i++)
		{
			events[i].at = (int64) fuzz_below(6) * 1000000;
			events[i].mask = fuzz_below(8);
		}
		mcdp_match_sort(events, n);
		count = mcdp_match_row_pattern(p, events, n, PG_INT64_MAX);
		once = mcdp_match_row_pattern(p, events, n, 1);
	}
	else
	{
		TimelineBuilder *b = mcdp_timeline_builder_create(CurrentMemoryContext);
		TimelineView v;

		for (int i = 0; i < n; i++)
		{
			const char *name = names[fuzz_below(3)];

			mcdp_timeline_builder_add(b, (int64) fuzz_below(6) * 1000000, name, strlen(name),
									  fuzz_below(2) ? "x" : NULL, 1, false, 0);
		}
		mcdp_timeline_open(&v, mcdp_timeline_builder_finish(b));
		at = fuzz_below(2) ? MATCH_AT_THE_END : (int64) fuzz_below(10) * 1000000;
		count = mcdp_timeline_pattern(&v, p, at, PG_INT64_MAX);
		once = mcdp_timeline_pattern(&v, p, at, 1);
	}
	if (count > n || once != (count > 0))
		fuzz_fail("a match is counted as often as there are events for it");
	return true;
}
