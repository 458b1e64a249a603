/* Fuzz target: the portable Roaring forms, 32- and 64-bit. */
#include "fuzz.h"

#include "core/rbuf.h"
#include "utils/palloc.h"

size_t
fuzz_valid(uint8 *out, size_t max)
{
	Rbuf	   *set = mcdp_rbuf_create(CurrentMemoryContext);
	uint32		pieces = fuzz_below(6);
	size_t		size;

	while (pieces-- > 0)
	{
		uint64		from = fuzz_random() >> (1 + fuzz_below(63));

		switch (fuzz_below(3))
		{
			case 0:				/* a run */
				mcdp_rbuf_add_range(set, from, from + fuzz_below(50000));
				break;
			case 1:				/* a few ids */
				for (uint32 n = fuzz_below(50); n > 0; n--)
					mcdp_rbuf_add(set, from + fuzz_below(100000));
				break;
			default:			/* dense */
				for (uint32 n = 6000; n > 0; n--)
					mcdp_rbuf_add(set, from + fuzz_below(20000));
		}
	}
	if (!mcdp_rbuf_is_empty(set))
	{
		uint64		most;

		if (mcdp_rbuf_max(set, &most) && most > RBUF_MAX_ID)
			fuzz_fail("seeds are in the domain");
	}
	mcdp_rbuf_optimize(set);
	size = mcdp_rbuf_size(set);
	if (size > max)
		size = 0;
	if (size > 0)
		mcdp_rbuf_write(set, (char *) out);
	/* every other time the 32-bit form, when there is just one part of key 0 */
	if (size > 12 && fuzz_below(2) == 0 && out[0] == 1 && memcmp(out + 1, "\0\0\0\0\0\0\0\0\0\0\0", 11) == 0)
	{
		size -= 12;
		memmove(out, out + 12, size);
	}
	mcdp_rbuf_free(set);
	return size;
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	McdpBadInput bad = {NULL, 0};
	Rbuf	   *set = mcdp_rbuf_read(CurrentMemoryContext, (const char *) bytes, len, &bad);
	Rbuf	   *copy;
	Rbuf	   *again;
	RbufIter	it;
	uint64		id;
	uint64		last = 0;
	uint64		n = 0;
	char	   *written;

	if (set == NULL)
	{
		if (bad.reason == NULL || bad.offset > len)
			fuzz_fail("a refusal says why and where");
		return false;
	}
	mcdp_rbuf_iter_init(&it, set);
	while (n < 100000 && mcdp_rbuf_iter_next(&it, &id))
	{
		if (n++ > 0 && id <= last)
			fuzz_fail("ids ascend");
		if (!mcdp_rbuf_contains(set, id))
			fuzz_fail("every id iterated is contained");
		last = id;
	}
	if (n < 100000 && n != mcdp_rbuf_cardinality(set))
		fuzz_fail("as many ids as the cardinality");

	copy = mcdp_rbuf_copy(CurrentMemoryContext, set);
	mcdp_rbuf_xor(copy, set);
	if (!mcdp_rbuf_is_empty(copy))
		fuzz_fail("x # x is empty");
	mcdp_rbuf_or(copy, set);
	mcdp_rbuf_and(copy, set);
	if (!mcdp_rbuf_equals(copy, set))
		fuzz_fail("({} | x) & x = x");

	mcdp_rbuf_optimize(set);
	written = palloc(mcdp_rbuf_size(set));
	mcdp_rbuf_write(set, written);
	again = mcdp_rbuf_read(CurrentMemoryContext, written, mcdp_rbuf_size(set), &bad);
	if (again == NULL || !mcdp_rbuf_equals(again, copy))
		fuzz_fail("what is written is read back");
	return true;
}
