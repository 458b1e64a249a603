/*-------------------------------------------------------------------------
 *
 * chunk.c
 *	  Stored form of a chunk of tag members; chunk.h describes the bytes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/chunk.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "core/chunk.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"

#define CHUNK_WORDS			(CHUNK_BITS_BYTES / 8)

static inline uint64
get_word(const uint8 *bits, int i)
{
	uint64		word;

	memcpy(&word, bits + i * 8, sizeof(word));
#ifdef WORDS_BIGENDIAN
	word = pg_bswap64(word);
#endif
	return word;
}

static inline void
put_word(uint8 *bits, int i, uint64 word)
{
#ifdef WORDS_BIGENDIAN
	word = pg_bswap64(word);
#endif
	memcpy(bits + i * 8, &word, sizeof(word));
}

static inline unsigned
get_position(const uint8 *bytes, size_t i)
{
	return bytes[2 * i] | (unsigned) bytes[2 * i + 1] << 8;
}

static inline uint8 *
put_position(uint8 *out, unsigned position)
{
	*out++ = (uint8) (position & 0xff);
	*out++ = (uint8) (position >> 8);
	return out;
}

/* A run starts where a bit is set and the one below it is not. */
static void
measure(const uint8 *bits, size_t *members, size_t *runs)
{
	uint64		carry = 0;

	*members = 0;
	*runs = 0;
	for (int i = 0; i < CHUNK_WORDS; i++)
	{
		uint64		word = get_word(bits, i);

		*members += pg_popcount64(word);
		*runs += pg_popcount64(word & ~(word << 1 | carry));
		carry = word >> 63;
	}
}

static int
best_encoding(size_t members, size_t runs)
{
	size_t		array_size = 2 * members;
	size_t		runs_size = 4 * runs;

	if (array_size <= runs_size && array_size <= CHUNK_BITS_BYTES)
		return CHUNK_ARRAY;
	return runs_size <= CHUNK_BITS_BYTES ? CHUNK_RUNS : CHUNK_BITS;
}

static bool
refuse(McdpBadInput *bad, const char *reason, size_t offset)
{
	bad->reason = reason;
	bad->offset = offset;
	return false;
}

/* Set the positions first … last. */
static void
set_range(uint8 *bits, unsigned first, unsigned last)
{
	unsigned	first_word = first / 64,
				last_word = last / 64;
	uint64		from = ~UINT64CONST(0) << first % 64;
	uint64		upto = ~UINT64CONST(0) >> (63 - last % 64);

	if (first_word == last_word)
	{
		put_word(bits, first_word, get_word(bits, first_word) | (from & upto));
		return;
	}
	put_word(bits, first_word, get_word(bits, first_word) | from);
	for (unsigned i = first_word + 1; i < last_word; i++)
		put_word(bits, i, ~UINT64CONST(0));
	put_word(bits, last_word, get_word(bits, last_word) | upto);
}

static bool
read_array(const uint8 *bytes, size_t len, uint8 *bits, McdpBadInput *bad)
{
	size_t		members = (len - 1) / 2,
				runs = 0;
	unsigned	previous = 0;

	if ((len - 1) % 2 != 0 || members > CHUNK_IDS)
		return refuse(bad, "An array of positions has a wrong length.", len);
	memset(bits, 0, CHUNK_BITS_BYTES);
	for (size_t i = 0; i < members; i++)
	{
		unsigned	position = get_position(bytes + 1, i);

		if (position >= CHUNK_IDS)
			return refuse(bad, "A position is too large.", 1 + 2 * i);
		if (i > 0 && position <= previous)
			return refuse(bad, "Positions are not ascending.", 1 + 2 * i);
		runs += i == 0 || position != previous + 1;
		previous = position;
		bits[position / 8] |= (uint8) (1 << position % 8);
	}
	if (best_encoding(members, runs) != CHUNK_ARRAY)
		return refuse(bad, "The encoding is not the shortest one.", 0);
	return true;
}

static bool
read_runs(const uint8 *bytes, size_t len, uint8 *bits, McdpBadInput *bad)
{
	size_t		runs = (len - 1) / 4,
				members = 0;
	unsigned	previous = 0;	/* end of the previous run */

	if ((len - 1) % 4 != 0 || runs == 0)
		return refuse(bad, "A list of runs has a wrong length.", len);
	memset(bits, 0, CHUNK_BITS_BYTES);
	for (size_t i = 0; i < runs; i++)
	{
		unsigned	first = get_position(bytes + 1, 2 * i),
					last = get_position(bytes + 1, 2 * i + 1);

		if (last >= CHUNK_IDS)
			return refuse(bad, "A position is too large.", 1 + 4 * i);
		if (first > last || (i > 0 && first <= previous + 1))
			return refuse(bad, "Runs are not ascending.", 1 + 4 * i);
		set_range(bits, first, last);
		members += last - first + 1;
		previous = last;
	}
	if (best_encoding(members, runs) != CHUNK_RUNS)
		return refuse(bad, "The encoding is not the shortest one.", 0);
	return true;
}

static bool
read_bits(const uint8 *bytes, size_t len, uint8 *bits, McdpBadInput *bad)
{
	size_t		members,
				runs;

	if (len != CHUNK_MAX_BYTES)
		return refuse(bad, "A bit set has a wrong length.", len);
	memcpy(bits, bytes + 1, CHUNK_BITS_BYTES);
	measure(bits, &members, &runs);
	if (best_encoding(members, runs) != CHUNK_BITS)
		return refuse(bad, "The encoding is not the shortest one.", 0);
	return true;
}

bool
mcdp_chunk_read(const uint8 *bytes, size_t len, uint8 *bits, McdpBadInput *bad)
{
	if (len == 0)
		return refuse(bad, "There are no bytes.", 0);
	switch (bytes[0])
	{
		case CHUNK_HEADER(CHUNK_ARRAY):
			return read_array(bytes, len, bits, bad);
		case CHUNK_HEADER(CHUNK_RUNS):
			return read_runs(bytes, len, bits, bad);
		case CHUNK_HEADER(CHUNK_BITS):
			return read_bits(bytes, len, bits, bad);
		default:
			return refuse(bad, "The format version or encoding is unknown.", 0);
	}
}

/* Position of the first bit at or after "from" that is "value", or CHUNK_IDS. */
static unsigned
next_bit(const uint8 *bits, unsigned from, bool value)
{
	while (from < CHUNK_IDS)
	{
		uint64		word = get_word(bits, from / 64);

		if (!value)
			word = ~word;
		word &= ~UINT64CONST(0) << from % 64;
		if (word != 0)
			return from / 64 * 64 + pg_rightmost_one_pos64(word);
		from = (from / 64 + 1) * 64;
	}
	return CHUNK_IDS;
}

size_t
mcdp_chunk_write(const uint8 *bits, uint8 *out)
{
	size_t		members,
				runs;
	int			encoding;
	uint8	   *p = out;

	measure(bits, &members, &runs);
	encoding = best_encoding(members, runs);
	*p++ = CHUNK_HEADER(encoding);
	if (encoding == CHUNK_BITS)
	{
		memcpy(p, bits, CHUNK_BITS_BYTES);
		return CHUNK_MAX_BYTES;
	}
	for (unsigned first = next_bit(bits, 0, true); first < CHUNK_IDS;)
	{
		unsigned	end = next_bit(bits, first, false);

		if (encoding == CHUNK_RUNS)
		{
			p = put_position(p, first);
			p = put_position(p, end - 1);
		}
		else
			for (unsigned position = first; position < end; position++)
				p = put_position(p, position);
		first = next_bit(bits, end, true);
	}
	return p - out;
}

/* Is position in the ascending array, or in one of the ascending runs? */
static bool
find_in_list(const uint8 *list, size_t entries, bool are_runs, unsigned position)
{
	size_t		low = 0,
				high = entries;

	while (low < high)			/* the last entry that starts at or before it */
	{
		size_t		middle = low + (high - low) / 2;

		if (get_position(list, are_runs ? 2 * middle : middle) <= position)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return false;
	if (are_runs)
		return position <= get_position(list, 2 * (low - 1) + 1);
	return get_position(list, low - 1) == position;
}

bool
mcdp_chunk_find(const uint8 *bytes, size_t len, unsigned position, bool *found,
				McdpBadInput *bad)
{
	Assert(position < CHUNK_IDS);
	if (len == 0)
		return refuse(bad, "There are no bytes.", 0);
	switch (bytes[0])
	{
		case CHUNK_HEADER(CHUNK_ARRAY):
			if ((len - 1) % 2 != 0)
				return refuse(bad, "An array of positions has a wrong length.", len);
			*found = find_in_list(bytes + 1, (len - 1) / 2, false, position);
			return true;
		case CHUNK_HEADER(CHUNK_RUNS):
			if ((len - 1) % 4 != 0)
				return refuse(bad, "A list of runs has a wrong length.", len);
			*found = find_in_list(bytes + 1, (len - 1) / 4, true, position);
			return true;
		case CHUNK_HEADER(CHUNK_BITS):
			if (len != CHUNK_MAX_BYTES)
				return refuse(bad, "A bit set has a wrong length.", len);
			*found = (bytes[1 + position / 8] >> position % 8) & 1;
			return true;
		default:
			return refuse(bad, "The format version or encoding is unknown.", 0);
	}
}

int
mcdp_chunk_count(const uint8 *bits)
{
	size_t		members,
				runs;

	measure(bits, &members, &runs);
	return (int) members;
}

void
mcdp_chunk_change(uint8 *into, const uint8 *added, const uint8 *removed)
{
	for (int i = 0; i < CHUNK_WORDS; i++)
	{
		uint64		word = get_word(into, i);

		if (added != NULL)
			word |= get_word(added, i);
		if (removed != NULL)
			word &= ~get_word(removed, i);
		put_word(into, i, word);
	}
}
