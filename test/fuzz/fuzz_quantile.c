/* Fuzz target: the stored form of quantile_state, as in and recv read it. */
#include "fuzz.h"

#include <math.h>

#include "types/quantile.h"
#include "utils/memutils.h"

static const double some[] = {0, -0.0, 1, -1, 0.5, 1e300, -1e300, 1e-310, INFINITY, -INFINITY, NAN};

size_t
fuzz_valid(uint8 *out, size_t max)
{
	QuantileState *s = palloc0(max + VARHDRSZ);
	uint64		keys[100];
	uint32		n = fuzz_below(fuzz_below(2) ? 6 : 100);
	size_t		size;

	s->version = QUANTILE_VERSION;
	s->nfractions = fuzz_below(4);
	for (uint32 i = 0; i < s->nfractions; i++)
		s->numbers[i] = fuzz_below(101) / 100.0;
	for (uint32 i = 0; i < n; i++)
		keys[i] = mcdp_quantile_key(fuzz_below(2) ? some[fuzz_below(lengthof(some))] : (double) fuzz_random() / 7);
	mcdp_quantile_sort(keys, n);
	for (uint32 i = 0; i < n; i++)
		s->numbers[s->nfractions + i] = mcdp_quantile_number(keys[i]);
	size = QUANTILE_HEADER + sizeof(double) * (s->nfractions + n) - VARHDRSZ;
	if (size > max)
		fuzz_fail("seeds are small");
	memcpy(out, (char *) s + VARHDRSZ, size);
	return size;
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	McdpBadInput bad = {NULL, 0};
	QuantileState *s;
	QuantileRun runs[3];
	uint64	   *keys;
	size_t		n,
				third;
	double		before = -INFINITY;

	if (!mcdp_quantile_check((const char *) bytes, len, &bad))
	{
		if (bad.reason == NULL || bad.offset > len)
			fuzz_fail("a refusal says why and where");
		return false;
	}
	s = palloc(len + VARHDRSZ);
	memcpy((char *) s + VARHDRSZ, bytes, len);
	n = (len + VARHDRSZ - QUANTILE_HEADER) / sizeof(double) - s->nfractions;
	keys = palloc(sizeof(uint64) * (n + 1));
	for (size_t i = 0; i < n; i++)
	{
		keys[i] = mcdp_quantile_key(s->numbers[s->nfractions + i]);
		if (i > 0 && keys[i] < keys[i - 1])
			fuzz_fail("what is accepted is in order");
	}
	if (n == 0)
		return true;
	third = fuzz_below(n + 1);
	runs[0].keys = keys;
	runs[0].n = third;
	runs[1].keys = keys + third;
	runs[1].n = n - third;
	for (int i = 0; i <= 4; i++)
	{
		QuantileRun whole = {keys, n};
		double		one = mcdp_quantile_of(&whole, 1, i / 4.0);
		double		two = mcdp_quantile_of(runs, 2, i / 4.0);

		if (memcmp(&one, &two, sizeof(double)) != 0 && !(isnan(one) && isnan(two)))
			fuzz_fail("the answer does not depend on the runs");
		if (one < before)
			fuzz_fail("quantiles ascend");
		before = one;
	}
	return true;
}
