/* Fuzz target: the text of a rule, its stored form (behind a byte 1), and its evaluation. */
#include "fuzz.h"

#include "types/criteria.h"
#include "types/expected_gap.h"
#include "types/timeline.h"
#include "utils/memutils.h"

static const char *const terms[] = {
	"vip", "city:shanghai", "\"two words\":\"x\"", "all", "none", "age >= 18", "age between 1 and 2", "city in (\"a\", \"b\")",
	"count(purchase, 30d) >= 2", "count(view[shoes], 60d..30d) = 0", "sum(purchase, 1y) > 1000.5", "last(view) < 7d",
	"first(view) >= 2w", "days(*, 30d) > 3", "labels(view) != 2", "top_label(view) = \"shoes\"", "avg(purchase) <= -1e3",
	"any(view: count(view[$], 7d) >= 3 & count(purchase[$], 7d) = 0)", "seq(view -> cart ->(2h) !purchase, 3d)",
	"seq(purchase[shoes] -> !view{a = 1} -> *, 60d..5d)", "seq(view[@diapers] -> view ->(3d) !purchase)", "labels(view[@x]) > 1",
	"any(view[@diapers]: seq(view[$] -> view{n >= 2} -> !purchase) | due(view[$]) < 30d)", "born > 18y", "due(view[@diapers]{n < 3}) > 1d",
	"count(purchase[@diapers]{price > 10, brand = \"x\"}, 2026-01-01..2026-02-01) > 0", "due(purchase) < 3d",
	"\xe4\xbc\x9a\xe5\x91\x98", "registered < 2026-01-01", "active = true"
};

static size_t
valid_text(uint8 *out)
{
	size_t		len = 0;
	uint32		open = 0;

	for (uint32 n = 1 + fuzz_below(5); n > 0; n--)
	{
		const char *term = terms[fuzz_below(lengthof(terms))];

		if (fuzz_below(3) == 0)
			out[len++] = '!';
		if (fuzz_below(3) == 0)
		{
			out[len++] = '(';
			open++;
		}
		memcpy(out + len, term, strlen(term));
		len += strlen(term);
		if (open > 0 && fuzz_below(2))
		{
			out[len++] = ')';
			open--;
		}
		if (n > 1)
		{
			memcpy(out + len, fuzz_below(2) ? " & " : " | ", 3);
			len += 3;
		}
	}
	while (open-- > 0)
		out[len++] = ')';
	return len;
}

#define STORED	1				/* no rule's text begins with this byte */

size_t
fuzz_valid(uint8 *out, size_t max)
{
	size_t		len = valid_text(out);
	CriteriaError err = {{0}};
	Criteria   *stored;

	if (fuzz_below(3) > 0)
		return len;
	stored = mcdp_criteria_store(mcdp_criteria_parse((char *) out, len, &err));
	out[0] = STORED;
	len = VARSIZE(stored) - VARHDRSZ;
	memcpy(out + 1, VARDATA(stored), len);
	return len + 1;
}

static bool
has_tag(void *arg, const CriteriaNode *node)
{
	return (node->name_len & 1) == 0;
}

static bool
trait(void *arg, const CriteriaNode *node, CriteriaConst *out)
{
	static const char *const dates[] = {"1970-01-01", "1971-02-03T04:05:06.7+08:00", "1971-02-03 04:05Z", "x", "99999999"};

	memset(out, 0, sizeof(*out));
	out->type = node->name_len % 7;
	out->number = node->name_len;
	out->text = dates[node->name_len % lengthof(dates)];
	out->len = strlen(out->text);
	return out->type != CRITERIA_DATE && out->type != CRITERIA_LENGTH && out->type <= CRITERIA_BOOLEAN;
}

static bool
label_set(void *arg, const char *set, const char *label, int len)
{
	return (strlen(set) & 1) == 0;
}

static const uint8 *
conditions(void *arg, const CriteriaEvent *event)
{
	static const uint8 marks[12] = {0, 1, 1, 0, 1};

	return event->name_len % 3 == 0 ? NULL : marks;
}

static void
prior(void *arg, const char *event, const char *label, struct McdpPriorGap *out)
{
	out->exists = true;
	out->gap = INT64CONST(86400000000);
	out->weight = 1;
}

static void
evaluate(CriteriaNode *node, CriteriaNode *same)
{
	static const TimestampTz day = INT64CONST(86400000000);
	TimelineBuilder *b = mcdp_timeline_builder_create(CurrentMemoryContext);
	TimelineView v;
	CriteriaEnv env = {.at = 400 * day,.label = "shoes",.has_tag = has_tag,.trait = trait,
		.label_set = label_set,.conditions = conditions,.prior = prior};
	TimestampTz next;
	bool		holds;

	for (int i = 0; i < 12; i++)
		mcdp_timeline_builder_add(b, (390 + i) * day, i % 3 ? "view" : "purchase", i % 3 ? 4 : 8,
								  i % 2 ? "shoes" : NULL, 5, i % 4 != 0, i * 1.5);
	mcdp_timeline_open(&v, mcdp_timeline_builder_finish(b));
	env.timeline = &v;
	holds = mcdp_criteria_holds(node, &env);
	if (holds != mcdp_criteria_holds(same, &env))
		fuzz_fail("the same rule gives the same answer");

	/* Nothing changes before the instant at which it may. */
	next = mcdp_criteria_next_change(node, &env);
	if (next <= env.at)
		fuzz_fail("the next change is not in the past");
	env.at = next == PG_INT64_MAX ? 90000 * day : next - 1;
	if (holds != mcdp_criteria_holds(node, &env))
		fuzz_fail("the answer does not change before the next change");
}

/* Damaged bytes are refused, or are some rule. */
static bool
one_stored(const uint8 *bytes, size_t len)
{
	Criteria   *stored = palloc(VARHDRSZ + len);
	CriteriaNode *node;

	SET_VARSIZE(stored, VARHDRSZ + len);
	memcpy(VARDATA(stored), bytes, len);
	node = mcdp_criteria_open(stored);
	(void) mcdp_criteria_print(node);
	evaluate(node, node);
	return true;
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	CriteriaError err = {{0}};
	CriteriaNode *node = mcdp_criteria_parse((const char *) bytes, len, &err);
	CriteriaNode *opened;
	Criteria   *stored;
	Criteria   *again;
	char	   *text;

	if (len > 0 && bytes[0] == STORED)
		return one_stored(bytes + 1, len - 1);
	if (node == NULL)
	{
		if (err.detail[0] == '\0' || err.offset > len)
			fuzz_fail("a refusal says why and where");
		return false;
	}
	stored = mcdp_criteria_store(node);
	opened = mcdp_criteria_open(stored);
	text = mcdp_criteria_print(opened);
	node = mcdp_criteria_parse(text, strlen(text), &err);
	if (node == NULL)
		fuzz_fail("what is printed parses");
	again = mcdp_criteria_store(node);
	if (VARSIZE(again) != VARSIZE(stored) || memcmp(again, stored, VARSIZE(stored)) != 0)
		fuzz_fail("what is printed parses back to the same value");
	if (strcmp(mcdp_criteria_print(node), text) != 0)
		fuzz_fail("canonical text prints as itself");

	if (node->depth < 500)
		evaluate(node, opened);
	return true;
}
