/* Fuzz target: the stored form of cohort_state, as in and recv read it. */
#include "fuzz.h"

#include "types/cohort.h"
#include "utils/memutils.h"

size_t
fuzz_valid(uint8 *out, size_t max)
{
	int			n = 1 + fuzz_below(5);
	CohortState *s = palloc0(COHORT_SIZE(n));
	CohortCell *cell;

	s->version = COHORT_VERSION;
	s->nperiods = n;
	s->at = (TimestampTz) fuzz_random();
	for (int i = 0; i <= n; i++)
		s->data[i] = (i == 0 ? -1000 : s->data[i - 1]) + 1 + fuzz_below(1000);
	cell = cohort_cells(s, 0);
	for (Size i = 0; i < COHORT_NCELLS(n); i++)
	{
		cell[i].active = fuzz_below(100);
		cell[i].orders = cell[i].active + fuzz_below(100);
		cell[i].sum = fuzz_below(100000) / 100.0;
	}
	if (COHORT_SIZE(n) - VARHDRSZ > max)
		fuzz_fail("seeds are small");
	memcpy(out, (char *) s + VARHDRSZ, COHORT_SIZE(n) - VARHDRSZ);
	return COHORT_SIZE(n) - VARHDRSZ;
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	McdpBadInput bad = {NULL, 0};
	CohortState *s;
	TimelineBuilder *b;
	TimelineView v;
	int64		orders = 0,
				active = 0;
	const CohortCell *cell;

	if (!mcdp_cohort_check((const char *) bytes, len, &bad))
	{
		if (bad.reason == NULL || bad.offset > len)
			fuzz_fail("a refusal says why and where");
		return false;
	}
	s = palloc(len + VARHDRSZ);
	memcpy((char *) s + VARHDRSZ, bytes, len);
	if (len + VARHDRSZ != COHORT_SIZE(s->nperiods))
		fuzz_fail("what is accepted has its length");
	cell = cohort_cells(s, 0);
	for (Size i = 0; i < COHORT_NCELLS(s->nperiods); i++)
		orders -= cell[i].orders;
	for (Size i = 0; i < COHORT_NCELLS(s->nperiods); i++)
		active -= cell[i].active;

	/* A timeline around the edges adds at most its orders. */
	b = mcdp_timeline_builder_create(CurrentMemoryContext);
	for (int i = 0; i < 8; i++)
	{
		TimestampTz edge = s->data[fuzz_below(s->nperiods + 1)];

		if (IS_VALID_TIMESTAMP(edge))
			mcdp_timeline_builder_add(b, edge + (edge > 0 ? -1 : 1) * (int64) fuzz_below(3), "a", 1, NULL, -1, true, 1);
	}
	mcdp_timeline_open(&v, mcdp_timeline_builder_finish(b));
	mcdp_cohort_add(s, &v, mcdp_timeline_find_event(&v, "a", 1));
	for (Size i = 0; i < COHORT_NCELLS(s->nperiods); i++)
	{
		orders += cell[i].orders;
		active += cell[i].active;
	}
	if (orders < 0 || orders > v.nevents || active < 0 || active > orders)
		fuzz_fail("counts follow the timeline");
	mcdp_cohort_merge(s, s);
	return true;
}
