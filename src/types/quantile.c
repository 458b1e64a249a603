/*-------------------------------------------------------------------------
 *
 * quantile.c
 *	  Keys, their order, and quantiles across sorted runs; see quantile.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/quantile.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "types/quantile.h"
#include "utils/memutils.h"

#define SIGN_BIT	UINT64CONST(0x8000000000000000)
#define NAN_BITS	UINT64CONST(0x7ff8000000000000)

uint64
mcdp_quantile_key(double x)
{
	uint64		bits = NAN_BITS;

	if (!isnan(x))
	{
		x += 0.0;				/* -0 becomes 0 */
		memcpy(&bits, &x, sizeof(bits));
	}
	return (bits & SIGN_BIT) ? ~bits : bits | SIGN_BIT;
}

double
mcdp_quantile_number(uint64 key)
{
	uint64		bits = (key & SIGN_BIT) ? key & ~SIGN_BIT : ~key;
	double		x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* ------------------------------------------------------------------ sorting */

#define FEW		64

static void
sort_few(uint64 *keys, size_t n)
{
	for (size_t i = 1; i < n; i++)
	{
		uint64		key = keys[i];
		size_t		j = i;

		for (; j > 0 && keys[j - 1] > key; j--)
			keys[j] = keys[j - 1];
		keys[j] = key;
	}
}

/*
 * Byte by byte, the lowest first; a byte that is the same in all keys (as the
 * low ones of whole numbers are) costs nothing.
 */
void
mcdp_quantile_sort(uint64 *keys, size_t n)
{
	size_t		(*count)[256];
	uint64	   *from = keys,
			   *to,
			   *room;
	bool		sorted = true;

	for (size_t i = 1; i < n && sorted; i++)
		sorted = keys[i - 1] <= keys[i];
	if (sorted)
		return;
	if (n <= FEW)
	{
		sort_few(keys, n);
		return;
	}

	count = palloc0(sizeof(*count) * 8);
	to = room = palloc_extended(sizeof(uint64) * n, MCXT_ALLOC_HUGE);
	for (size_t i = 0; i < n; i++)
	{
		for (int byte = 0; byte < 8; byte++)
			count[byte][keys[i] >> (8 * byte) & 0xff]++;
	}
	for (int byte = 0; byte < 8; byte++)
	{
		int			shift = 8 * byte;
		size_t		place = 0;
		uint64	   *was = from;

		if (count[byte][from[0] >> shift & 0xff] == n)
			continue;
		CHECK_FOR_INTERRUPTS();
		for (int digit = 0; digit < 256; digit++)
		{
			size_t		here = count[byte][digit];

			count[byte][digit] = place;
			place += here;
		}
		for (size_t i = 0; i < n; i++)
			to[count[byte][from[i] >> shift & 0xff]++] = from[i];
		from = to;
		to = was;
	}
	if (from != keys)
		memcpy(keys, from, sizeof(uint64) * n);
	pfree(room);
	pfree(count);
}

/* ---------------------------------------------------------------- quantiles */

/* How many keys of a run are at most "key"? */
static size_t
count_up_to(const QuantileRun *run, uint64 key)
{
	size_t		lo = 0,
				hi = run->n;

	while (lo < hi)
	{
		size_t		mid = lo + (hi - lo) / 2;

		if (run->keys[mid] <= key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The key of this rank, from 0: the least one that more keys than that are at most. */
static uint64
key_of_rank(const QuantileRun *runs, int nruns, size_t rank)
{
	uint64		lo = 0,
				hi = PG_UINT64_MAX;

	if (nruns == 1)
		return runs[0].keys[rank];
	while (lo < hi)
	{
		uint64		mid = lo + (hi - lo) / 2;
		size_t		n = 0;

		for (int i = 0; i < nruns; i++)
			n += count_up_to(&runs[i], mid);
		if (n > rank)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

double
mcdp_quantile_of(const QuantileRun *runs, int nruns, double fraction)
{
	size_t		n = 0;
	size_t		below;
	double		position,
				lower,
				upper;

	for (int i = 0; i < nruns; i++)
		n += runs[i].n;
	position = fraction * (double) (n - 1);
	below = Min((size_t) position, n - 1);
	lower = mcdp_quantile_number(key_of_rank(runs, nruns, below));
	position -= (double) below;
	if (position <= 0)
		return lower;
	upper = mcdp_quantile_number(key_of_rank(runs, nruns, Min(below + 1, n - 1)));
	if (lower == upper)
		return lower;			/* infinities too */
	return lower + position * (upper - lower);
}

/* ----------------------------------------------------------- outside bytes */

static bool
refuse(McdpBadInput *bad, const char *reason, size_t offset)
{
	bad->reason = reason;
	bad->offset = offset;
	return false;
}

bool
mcdp_quantile_check(const char *bytes, size_t len, McdpBadInput *bad)
{
	const size_t skipped = sizeof(int32);
	const size_t first = QUANTILE_HEADER - skipped;
	QuantileState head;
	uint64		before = 0;
	size_t		n;

	if (len < first)
		return refuse(bad, "The value is shorter than its head.", len);
	memcpy((char *) &head + skipped, bytes, first);
	if (head.version != QUANTILE_VERSION)
		return refuse(bad, "The version is unknown.", 0);
	if (head.zeroes[0] != 0 || head.zeroes[1] != 0 || head.zeroes[2] != 0 || head.zero != 0)
		return refuse(bad, "Reserved bytes are not zero.", 1);
	n = (len - first) / sizeof(double);
	if ((len - first) % sizeof(double) != 0 || head.nfractions > n)
		return refuse(bad, "The length does not fit the number of fractions.", 4);
	for (size_t i = 0; i < n; i++)
	{
		size_t		offset = first + sizeof(double) * i;
		double		x,
					again;
		uint64		key;

		memcpy(&x, bytes + offset, sizeof(x));
		key = mcdp_quantile_key(x);
		again = mcdp_quantile_number(key);
		if (memcmp(&again, &x, sizeof(x)) != 0)
			return refuse(bad, "A number is not in canonical form.", offset);
		if (i < head.nfractions)
		{
			if (!(x >= 0 && x <= 1))
				return refuse(bad, "A fraction is not between 0 and 1.", offset);
			continue;
		}
		if (key < before)
			return refuse(bad, "Numbers are out of order.", offset);
		before = key;
	}
	return true;
}
