/* Fuzz target: the stored members of a tag chunk. */
#include "fuzz.h"

#include "core/bit_slice.h"
#include "core/chunk_set.h"

size_t
fuzz_valid(uint8 *out, size_t max)
{
	uint8		bits[CHUNK_BITS_BYTES] = {0};
	uint32		wanted = 1 + fuzz_below(1 << fuzz_below(15));
	uint32		run = 1 + fuzz_below(1 << fuzz_below(9));

	/* wanted members in runs of about the same length */
	for (uint32 n = 0; n < wanted; n += run)
	{
		uint32		from = fuzz_below(CHUNK_IDS);

		for (uint32 id = from; id < Min(from + run, CHUNK_IDS); id++)
			bits[id / 8] |= 1 << (id % 8);
	}
	return mcdp_chunk_write(bits, out);
}

/* The readers that check little: safe on any bytes, right on good ones. */
static void
fast_readers(const uint8 *bytes, size_t len, const uint8 *right)
{
	uint8		bits[CHUNK_BITS_BYTES];
	uint8		array[CHUNK_MAX_BYTES];
	ChunkForm	form;

	if (mcdp_chunk_expand_fast(bytes, len, bits) && right != NULL && memcmp(bits, right, sizeof(bits)) != 0)
		fuzz_fail("both readers read the same");
	if (!mcdp_chunk_form(bytes, len, &form))
	{
		if (right != NULL)
			fuzz_fail("a chunk has a form");
		return;
	}
	if (form.array != NULL)
	{
		uint32		in = mcdp_array_filter(array, form.array, form.num, right != NULL ? right : bits, true);

		if (right != NULL && (in != form.num || mcdp_bits_count(right) != form.num ||
							  mcdp_bits_array_count(right, form.array, form.num) != form.num ||
							  mcdp_array_filter(array, form.array, form.num, right, false) != 0))
			fuzz_fail("an array is what its bits say");
		if (mcdp_array_filter_array(array, form.array, form.num, form.array, form.num, true) != form.num && right != NULL)
			fuzz_fail("an array has all of itself");
		mcdp_bits_clear_array(bits, form.array, form.num);
		if (right != NULL && !mcdp_bits_empty(bits))
			fuzz_fail("without itself it is empty");
	}
}

/* Any number keeps its value and its order in every form that has room for it. */
static void
slices(const uint8 *bytes)
{
	static const SliceForm forms[] = {SLICE_FORM_FLOAT, SLICE_FORM_INTEGER, SLICE_FORM_2, SLICE_FORM_4, SLICE_FORM_6, SLICE_FORM_DAY};
	double		number;

	memcpy(&number, bytes, sizeof(number));
	if (number != number)
		return;
	for (int variant = 0; variant < 3; variant++)
	{
		/* as it is, as a decimal of few digits, as a whole number */
		double		n = variant == 0 || !(number > -1e15 && number < 1e15) ? number :
			(double) (int64) number / (variant == 1 ? 100 : 1);

		for (int i = 0; i < lengthof(forms); i++)
		{
			SliceNumber a;
			SliceNumber b;
			bool		exact;

			if (mcdp_slice_from_number(forms[i], n, &a) && mcdp_slice_to_number(forms[i], a) != n)
				fuzz_fail("a number comes back");
			b.negative = false;
			b.magnitude = mcdp_slice_floor(forms[i], n < 0 ? -n : n, &exact);
			if (mcdp_slice_to_number(forms[i], b) > (n < 0 ? -n : n))
				fuzz_fail("floor is at most the number");
		}
	}
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	uint8		bits[CHUNK_BITS_BYTES];
	uint8		written[CHUNK_MAX_BYTES];
	size_t		size;
	McdpBadInput bad = {NULL, 0};
	bool		taken = mcdp_chunk_read(bytes, len, bits, &bad);

	if (!taken && (bad.reason == NULL || bad.offset > len))
		fuzz_fail("a refusal says why and where");

	/* looking at a few bytes only must be safe on any bytes */
	for (int i = 0; i < 16; i++)
	{
		uint32		id = fuzz_below(CHUNK_IDS);
		bool		found = false;

		if (mcdp_chunk_find(bytes, len, id, &found, &bad) && taken &&
			found != ((bits[id / 8] >> (id % 8)) & 1))
			fuzz_fail("find says what read says");
	}
	fast_readers(bytes, len, taken ? bits : NULL);
	if (len >= sizeof(double))
		slices(bytes);
	if (!taken)
		return false;
	size = mcdp_chunk_write(bits, written);
	if (size != len || memcmp(written, bytes, len) != 0)
		fuzz_fail("what is accepted is canonical");
	return true;
}
