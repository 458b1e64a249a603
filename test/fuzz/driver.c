/*
 * driver.c - runs a fuzz target over mutated valid inputs.
 *
 *	fuzz_NAME RUNS [SEED]
 *
 * Valid inputs come from a pool, of which one is renewed every 32 runs: making
 * them costs more than reading them.  Most inputs carry one to eight mutations, every sixteenth is left as it is
 * and must be accepted; each lies in a buffer of exactly its size, so that the
 * sanitizer sees any byte read too far.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_INPUT (256 * 1024)
#define POOL 64

static struct
{
	size_t		len;
	uint8		bytes[MAX_INPUT / 2];
}			pool[POOL];

static uint64 state = 1;

uint64
fuzz_random(void)
{
	uint64		z = (state += UINT64CONST(0x9e3779b97f4a7c15));	/* splitmix64 */

	z = (z ^ (z >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void
fuzz_fail(const char *property)
{
	(fprintf) (stderr, "property does not hold: %s\n", property);
	abort();
}

static size_t
mutate(uint8 *b, size_t len)
{
	static const uint8 extremes[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, ':', '{', '(', '"'};
	size_t		at = len > 0 ? fuzz_random() % len : 0;

	/* the first bytes hold counts and offsets: hit them more often */
	if (len > 64 && fuzz_below(3) == 0)
		at = fuzz_below(64);

	switch (fuzz_below(8))
	{
		case 0:					/* flip a bit */
			if (len > 0)
				b[at] ^= 1 << fuzz_below(8);
			return len;
		case 1:					/* any byte */
			if (len > 0)
				b[at] = (uint8) fuzz_random();
			return len;
		case 2:					/* an extreme byte, maybe several */
			for (uint32 n = fuzz_below(8) + 1; n-- > 0 && at < len; at++)
				b[at] = extremes[fuzz_below(lengthof(extremes))];
			return len;
		case 3:					/* cut the end */
			return at;
		case 4:					/* drop a few bytes */
			{
				size_t		n = fuzz_below(9);

				n = Min(n, len - at);
				memmove(b + at, b + at + n, len - at - n);
				return len - n;
			}
		case 5:					/* insert a few bytes */
			{
				size_t		n = fuzz_below(9);

				if (len + n > MAX_INPUT)
					return len;
				memmove(b + at + n, b + at, len - at);
				while (n-- > 0)
				{
					b[at + n] = (uint8) fuzz_random();
					len++;
				}
				return len;
			}
		case 6:					/* add or subtract one in a number */
			if (len > 0)
				b[at] += fuzz_below(2) ? 1 : -1;
			return len;
		default:				/* copy one place over another */
			if (len > 0)
			{
				size_t		from = fuzz_random() % len;
				size_t		n = fuzz_below(17);

				n = Min(n, len - Max(at, from));
				memmove(b + at, b + from, n);
			}
			return len;
	}
}

int
main(int argc, char **argv)
{
	static uint8 work[MAX_INPUT];
	uint64		runs = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
	uint64		accepted = 0;

	state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	for (uint64 run = 0; run < runs; run++)
	{
		uint32		pick = run < POOL ? run : fuzz_below(POOL);
		bool		intact = run % 16 == 0;
		size_t		len;
		uint8	   *exact;
		bool		taken;

		if (run < POOL || run % 32 == 0)
			pool[pick].len = fuzz_valid_guarded(pool[pick].bytes, MAX_INPUT / 2);
		len = pool[pick].len;
		memcpy(work, pool[pick].bytes, len);
		if (!intact)
			for (uint32 n = fuzz_below(8) + 1; n-- > 0;)
				len = mutate(work, len);
		exact = (malloc) (len > 0 ? len : 1);
		memcpy(exact, work, len);
		taken = fuzz_guarded(exact, len);
		(free) (exact);
		if (intact && !taken)
			fuzz_fail("a valid input is accepted");
		accepted += taken;
	}
	(printf) ("%s: %llu inputs, %llu accepted\n", argv[0], (unsigned long long) runs, (unsigned long long) accepted);
	return 0;
}

/* For libFuzzer: link without main (-Dmain=unused_main). */
int			LLVMFuzzerTestOneInput(const uint8 *bytes, size_t len);
int
LLVMFuzzerTestOneInput(const uint8 *bytes, size_t len)
{
	fuzz_guarded(bytes, len);
	return 0;
}
