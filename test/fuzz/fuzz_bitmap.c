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

/* The input before, in canonical form: the other operand. */
static char before[1 << 20];
static size_t before_len = 0;

static char *
write_set(Rbuf *set, size_t *len)
{
	char	   *bytes;

	mcdp_rbuf_optimize(set);
	*len = mcdp_rbuf_size(set);
	bytes = palloc(*len);
	mcdp_rbuf_write(set, bytes);
	return bytes;
}

/* Algebra on bytes gives what algebra on sets gives, byte for byte. */
static void
compare_algebra(const char *a, size_t len_a, const char *b, size_t len_b)
{
	static void (*const on_sets[]) (Rbuf *, const Rbuf *) = {
		mcdp_rbuf_and, mcdp_rbuf_or, mcdp_rbuf_xor, mcdp_rbuf_andnot
	};
	Rbuf	   *set_b = mcdp_rbuf_read_trusted(CurrentMemoryContext, b, len_b);

	for (RbufOp op = RBUF_AND; op <= RBUF_ANDNOT; op++)
	{
		Rbuf	   *set_a = mcdp_rbuf_read_trusted(CurrentMemoryContext, a, len_a);
		size_t		len;
		size_t		expected_len;
		uint64		cardinality;
		char	   *made = mcdp_rbuf_bytes_combine(op, a, len_a, b, len_b, 3, &len, &cardinality);
		char	   *expected;

		on_sets[op] (set_a, set_b);
		expected = write_set(set_a, &expected_len);
		if (len != expected_len || memcmp(made + 3, expected, len) != 0)
			fuzz_fail("a combination of bytes equals that of sets");
		if (cardinality != mcdp_rbuf_cardinality(set_a))
			fuzz_fail("a combination is counted");
		if (op == RBUF_AND && cardinality != mcdp_rbuf_bytes_and_cardinality(a, len_a, b, len_b))
			fuzz_fail("and is counted");
		if (op == RBUF_AND && (cardinality > 0) != mcdp_rbuf_bytes_intersects(a, len_a, b, len_b))
			fuzz_fail("intersects");
		if (op == RBUF_ANDNOT && (cardinality == 0) != mcdp_rbuf_bytes_is_subset(a, len_a, b, len_b))
			fuzz_fail("is subset");
		if (op == RBUF_OR)
		{
			Rbuf	   *either = mcdp_rbuf_read_trusted(CurrentMemoryContext, a, len_a);

			mcdp_rbuf_or_bytes(either, b, len_b);
			if (!mcdp_rbuf_equals(either, set_a))
				fuzz_fail("or with bytes");
			mcdp_rbuf_free(either);
		}
		mcdp_rbuf_free(set_a);
	}
	mcdp_rbuf_free(set_b);
}

/* Looks up ids by a part of the bytes at a time. */
static void
compare_pieces(const Rbuf *set, const char *bytes, size_t len, uint64 id)
{
	RbufContainer c;
	size_t		want = 1 + fuzz_below(40);
	size_t		have;
	size_t		pos;
	size_t		size;
	RbufFound	found;
	uint64		end;
	bool		expected = mcdp_rbuf_contains(set, id);

	if (mcdp_rbuf_bytes_contains(bytes, len, id) != expected)
		fuzz_fail("bytes contain");
	if (mcdp_rbuf_bytes_rank(bytes, len, id) != mcdp_rbuf_rank(set, id))
		fuzz_fail("rank of bytes");
	do
	{
		char	   *head;

		have = Min(want, len);
		head = palloc(have);	/* just that much, for the sanitizer to see */
		memcpy(head, bytes, have);
		found = mcdp_rbuf_bytes_locate(head, have, len, RBUF_CONTAINER_OF, id, &c, &want);
		if (found == RBUF_MORE && want <= have)
			fuzz_fail("more is more");
	} while (found == RBUF_MORE);
	if (found == RBUF_NONE && expected)
		fuzz_fail("a container that is there is found");
	if (found == RBUF_FOUND)
	{
		char	   *piece;

		mcdp_rbuf_container_need(&c, id, &pos, &size);
		piece = palloc(size);
		memcpy(piece, bytes + pos, size);
		if (mcdp_rbuf_container_contains(&c, piece, id) != expected)
			fuzz_fail("a piece contains");
	}
	if (id < RBUF_MAX_ID)
	{
		Rbuf	   *cut = mcdp_rbuf_copy(CurrentMemoryContext, set);
		uint64		first = id - Min(id, fuzz_below(100000));
		uint64		cardinality;
		size_t		made_len;
		size_t		expected_len;
		char	   *made = mcdp_rbuf_bytes_range(bytes, len, first, id, 0, &made_len, &cardinality);
		char	   *expected;

		if (first > 0)
			mcdp_rbuf_remove_range(cut, 0, first - 1);
		mcdp_rbuf_remove_range(cut, id + 1, RBUF_MAX_ID);
		expected = write_set(cut, &expected_len);
		if (made_len != expected_len || memcmp(made, expected, made_len) != 0 ||
			cardinality != mcdp_rbuf_cardinality(cut))
			fuzz_fail("a range of bytes equals that of a set");
		mcdp_rbuf_free(cut);
	}
	if (mcdp_rbuf_min(set, &id) != mcdp_rbuf_bytes_end(bytes, len, false, &end) ||
		(!mcdp_rbuf_is_empty(set) && id != end))
		fuzz_fail("least id");
	if (mcdp_rbuf_max(set, &id) != mcdp_rbuf_bytes_end(bytes, len, true, &end) ||
		(!mcdp_rbuf_is_empty(set) && id != end))
		fuzz_fail("greatest id");
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
	size_t		size;

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

	written = write_set(set, &size);
	again = mcdp_rbuf_read(CurrentMemoryContext, written, mcdp_rbuf_size(set), &bad);
	if (again == NULL || !mcdp_rbuf_equals(again, copy))
		fuzz_fail("what is written is read back");

	compare_pieces(set, written, size, last);
	compare_pieces(set, written, size, last ^ fuzz_below(70000));
	compare_pieces(set, written, size, fuzz_random() >> 1);
	if (before_len > 0)
	{
		compare_algebra(written, size, before, before_len);
		compare_algebra(before, before_len, written, size);
	}
	if (size <= sizeof(before))
	{
		memcpy(before, written, size);
		before_len = size;
	}
	return true;
}
