/*-------------------------------------------------------------------------
 *
 * chunk_set.c
 *	  Chunks as bit sets, at full speed.
 *
 * The loops over words are for the compiler to vectorise; bytes of a bit set
 * and of a word are in the same order on both sides of each, so which end
 * comes first does not matter.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/chunk_set.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "core/chunk_set.h"

#define CHUNK_WORDS			(CHUNK_BITS_BYTES / 8)

/* Not under the sanitizers, so that the fuzzer tries what other processors run. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#include <immintrin.h>
#define HAVE_X86_KERNELS 1
#endif

/* Bit sets are at no particular alignment. */
typedef uint64 u64 __attribute__((aligned(1), may_alias));

typedef uint16 u16 __attribute__((aligned(1), may_alias));

/* Whatever the bytes are, a position of the chunk. */
static inline unsigned
get_position(const uint8 *bytes, uint32 i)
{
#ifdef WORDS_BIGENDIAN
	return (bytes[2 * i] | (unsigned) bytes[2 * i + 1] << 8) & (CHUNK_IDS - 1);
#else
	return ((const u16 *) bytes)[i] & (CHUNK_IDS - 1);
#endif
}

/* The word that has a position, and its bit there. */
static inline u64 *
word_of(uint8 *bits, unsigned position, uint64 *bit)
{
#ifdef WORDS_BIGENDIAN
	*bit = UINT64CONST(1) << (56 - position % 64 / 8 * 8 + position % 8);
#else
	*bit = UINT64CONST(1) << position % 64;
#endif
	return (u64 *) bits + position / 64;
}

bool
mcdp_chunk_form(const uint8 *bytes, size_t len, ChunkForm *form)
{
	memset(form, 0, sizeof(*form));
	if (len == 0 || len > CHUNK_MAX_BYTES)
		return false;
	switch (bytes[0])
	{
		case CHUNK_HEADER(CHUNK_ARRAY):
			form->array = bytes + 1;
			form->num = (len - 1) / 2;
			return true;
		case CHUNK_HEADER(CHUNK_RUNS):
			form->num = (len - 1) / 4;
			form->full = form->num == 1 && get_position(bytes + 1, 0) == 0 &&
				get_position(bytes + 1, 1) == CHUNK_IDS - 1;
			return true;
		case CHUNK_HEADER(CHUNK_BITS):
			form->bits = bytes + 1;
			return len == CHUNK_MAX_BYTES;
		default:
			return false;
	}
}

/* Set the positions first … last. */
static void
set_range(uint8 *bits, unsigned first, unsigned last)
{
	unsigned	first_byte = first / 8,
				last_byte = last / 8;
	uint8		from = (uint8) (0xff << first % 8);
	uint8		upto = (uint8) (0xff >> (7 - last % 8));

	if (first_byte == last_byte)
	{
		bits[first_byte] |= from & upto;
		return;
	}
	bits[first_byte] |= from;
	memset(bits + first_byte + 1, 0xff, last_byte - first_byte - 1);
	bits[last_byte] |= upto;
}

bool
mcdp_chunk_expand_fast(const uint8 *bytes, size_t len, uint8 *bits)
{
	ChunkForm	form;
	int			previous = -1;
	bool		wrong = false;

	if (!mcdp_chunk_form(bytes, len, &form))
		return false;
	if (form.bits != NULL)
	{
		memcpy(bits, form.bits, CHUNK_BITS_BYTES);
		return true;
	}
	memset(bits, 0, CHUNK_BITS_BYTES);
	if (form.array != NULL)
		for (uint32 i = 0; i < form.num; i++)
		{
			int			position = get_position(form.array, i);
			uint64		bit;
			u64		   *word = word_of(bits, position, &bit);

			wrong |= position <= previous;
			previous = position;
			*word |= bit;
		}
	else
		for (uint32 i = 0; i < form.num; i++)
		{
			int			first = get_position(bytes + 1, 2 * i);
			int			last = get_position(bytes + 1, 2 * i + 1);

			if (first <= previous || first > last)
				return false;
			set_range(bits, first, last);
			previous = last;
		}
	return !wrong;
}

/* ---- algebra ---- */

#define DEFINE_OP(name, expression) \
MCDP_VECTORISED void \
name(uint8 *into, const uint8 *a, const uint8 *b) \
{ \
	u64		   *i = (u64 *) into; \
	const u64  *x = (const u64 *) a; \
	const u64  *y = (const u64 *) b; \
\
	for (int n = 0; n < CHUNK_WORDS; n++) \
		i[n] = expression; \
}

DEFINE_OP(mcdp_bits_and, x[n] & y[n])
DEFINE_OP(mcdp_bits_or, x[n] | y[n])
DEFINE_OP(mcdp_bits_andnot, x[n] & ~y[n])

MCDP_VECTORISED void
mcdp_bits_not(uint8 *into, const uint8 *a)
{
	u64		   *i = (u64 *) into;
	const u64  *x = (const u64 *) a;

	for (int n = 0; n < CHUNK_WORDS; n++)
		i[n] = ~x[n];
}

/* ---- counting ---- */

MCDP_VECTORISED static uint32
and_count(const u64 *a, const u64 *b)
{
	uint32		sum = 0;

	for (int i = 0; i < CHUNK_WORDS; i++)
		sum += __builtin_popcountll(a[i] & b[i]);
	return sum;
}

#ifdef HAVE_X86_KERNELS
/* Eight words at a time, each counted by one instruction. */
__attribute__((target("avx512f,avx512vpopcntdq"))) static uint32
and_count_avx512(const u64 *a, const u64 *b)
{
	__m512i		sum = _mm512_setzero_si512();

	for (int i = 0; i < CHUNK_WORDS; i += 8)
		sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_and_si512(_mm512_loadu_si512(a + i),
																		 _mm512_loadu_si512(b + i))));
	return _mm512_reduce_add_epi64(sum);
}
#endif

uint32
mcdp_bits_and_count(const uint8 *a, const uint8 *b)
{
#ifdef HAVE_X86_KERNELS
	if (__builtin_cpu_supports("avx512vpopcntdq"))
		return and_count_avx512((const u64 *) a, (const u64 *) b);
#endif
	return and_count((const u64 *) a, (const u64 *) b);
}

uint32
mcdp_bits_count(const uint8 *a)
{
	return mcdp_bits_and_count(a, a);
}

bool
mcdp_bits_empty(const uint8 *a)
{
	const u64  *x = (const u64 *) a;

	for (int n = 0; n < CHUNK_WORDS; n += 8)
		if ((x[n] | x[n + 1] | x[n + 2] | x[n + 3] | x[n + 4] | x[n + 5] | x[n + 6] | x[n + 7]) != 0)
			return false;
	return true;
}

/* ---- arrays of positions ---- */

void
mcdp_bits_set_array(uint8 *bits, const uint8 *array, uint32 num)
{
	for (uint32 i = 0; i < num; i++)
	{
		uint64		bit;
		u64		   *word = word_of(bits, get_position(array, i), &bit);

		*word |= bit;
	}
}

void
mcdp_bits_clear_array(uint8 *bits, const uint8 *array, uint32 num)
{
	for (uint32 i = 0; i < num; i++)
	{
		uint64		bit;
		u64		   *word = word_of(bits, get_position(array, i), &bit);

		*word &= ~bit;
	}
}

uint32
mcdp_array_filter(uint8 *into, const uint8 *array, uint32 num, const uint8 *bits, bool in)
{
	uint32		kept = 0;

	for (uint32 i = 0; i < num; i++)
	{
		uint8		low = array[2 * i];
		uint8		high = array[2 * i + 1];

		into[2 * kept] = low;
		into[2 * kept + 1] = high;
		kept += mcdp_bits_has(bits, get_position(array, i)) == in;
	}
	return kept;
}

uint32
mcdp_array_filter_array(uint8 *into, const uint8 *array, uint32 num,
						const uint8 *other, uint32 num_other, bool in)
{
	uint32		kept = 0;
	uint32		at = 0;			/* all before are less than the position */

	for (uint32 i = 0; i < num; i++)
	{
		unsigned	position = get_position(array, i);
		uint32		step = 1;
		uint32		low = at;

		/* gallop */
		while (at < num_other && get_position(other, at) < position)
		{
			low = at + 1;
			at += step;
			step *= 2;
		}
		at = Min(at, num_other);
		while (low < at)
		{
			uint32		middle = low + (at - low) / 2;

			if (get_position(other, middle) < position)
				low = middle + 1;
			else
				at = middle;
		}
		if ((at < num_other && get_position(other, at) == position) == in)
		{
			into[2 * kept] = (uint8) (position & 0xff);
			into[2 * kept + 1] = (uint8) (position >> 8);
			kept++;
		}
	}
	return kept;
}

uint32
mcdp_bits_array_count(const uint8 *bits, const uint8 *array, uint32 num)
{
	uint32		sum = 0;

	for (uint32 i = 0; i < num; i++)
	{
		unsigned	position = get_position(array, i);

		sum += (bits[position / 8] >> position % 8) & 1;
	}
	return sum;
}
