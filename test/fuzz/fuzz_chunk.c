/* Fuzz target: the stored members of a tag chunk. */
#include "fuzz.h"

#include "core/chunk.h"

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
	if (!taken)
		return false;
	size = mcdp_chunk_write(bits, written);
	if (size != len || memcmp(written, bytes, len) != 0)
		fuzz_fail("what is accepted is canonical");
	return true;
}
