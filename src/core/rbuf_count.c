/*-------------------------------------------------------------------------
 *
 * rbuf_count.c
 *	  Questions about bitmaps as bytes, without making sets of them.
 *
 * Walks the containers of both in step; allocates nothing at all.
 *
 * How containers meet (ids in brackets as they are kept):
 *		bit set, bit set	64 bits at a time
 *		bit set, array		look up each id
 *		bit set, runs		count the bits of each run
 *		array, array		SSE4.2 where the processor has it, galloping when
 *							one is much shorter
 *		runs, array			gallop to the ends of each run
 *		runs, runs			both in step
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_count.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "core/rbuf_walk.h"

/* ---- counting what two containers share ---- */

MCDP_VECTORISED static uint32
bits_and_bits(const u64 *a, const u64 *b)
{
	uint32		sum = 0;

	for (int i = 0; i < BITSET_WORDS; i++)
		sum += __builtin_popcountll(a[i] & b[i]);
	return sum;
}

#ifdef HAVE_X86_KERNELS
/* Eight words at a time, each counted by one instruction. */
__attribute__((target("avx512f,avx512vpopcntdq"))) static uint32
bits_and_bits_avx512(const u64 *a, const u64 *b)
{
	__m512i		sum = _mm512_setzero_si512();

	for (int i = 0; i < BITSET_WORDS; i += 8)
		sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_and_si512(_mm512_loadu_si512(a + i),
																		 _mm512_loadu_si512(b + i))));
	return _mm512_reduce_add_epi64(sum);
}

/*
 * Blocks of eight ids, all compared with all by one instruction.  What is left
 * over when one array has no whole block any more is for the caller.
 */
__attribute__((target("sse4.2,popcnt"))) static uint32
array_and_array_sse(const u16 *a, uint32 na, const u16 *b, uint32 nb,
					uint32 *done_a, uint32 *done_b)
{
	uint32		i = 0;
	uint32		j = 0;
	uint32		sum = 0;

	while (i + 8 <= na && j + 8 <= nb)
	{
		__m128i		va = _mm_loadu_si128((const __m128i *) (a + i));
		__m128i		vb = _mm_loadu_si128((const __m128i *) (b + j));
		uint16		max_a = a[i + 7];
		uint16		max_b = b[j + 7];
		__m128i		hits = _mm_cmpestrm(vb, 8, va, 8,
										_SIDD_UWORD_OPS | _SIDD_CMP_EQUAL_ANY | _SIDD_BIT_MASK);

		sum += _mm_popcnt_u32(_mm_extract_epi32(hits, 0));
		i += 8 * (max_a <= max_b);
		j += 8 * (max_b <= max_a);
	}
	*done_a = i;
	*done_b = j;
	return sum;
}
#endif

static uint32
count_bits_and_bits(const char *a, const char *b)
{
#ifdef HAVE_X86_KERNELS
	if (__builtin_cpu_supports("avx512vpopcntdq"))
		return bits_and_bits_avx512((const u64 *) a, (const u64 *) b);
#endif
	return bits_and_bits((const u64 *) a, (const u64 *) b);
}

static uint32
count_bits_and_array(const char *bits, const char *ids, uint32 num)
{
	const u16  *a = (const u16 *) ids;
	const u64  *w = (const u64 *) bits;
	uint32		sum = 0;

	for (uint32 i = 0; i < num; i++)
		sum += (w[a[i] / 64] >> (a[i] % 64)) & 1;
	return sum;
}

/* How many bits of first .. last are set. */
MCDP_VECTORISED static uint32
bits_in_range(const u64 *bits, uint32 first, uint32 last)
{
	uint32		i = first / 64;
	uint32		end = last / 64;
	uint64		head = PG_UINT64_MAX << (first % 64);
	uint64		tail = PG_UINT64_MAX >> (63 - last % 64);
	uint32		sum;

	if (i == end)
		return __builtin_popcountll(bits[i] & head & tail);
	sum = __builtin_popcountll(bits[i] & head);
	for (i++; i < end; i++)
		sum += __builtin_popcountll(bits[i]);
	return sum + __builtin_popcountll(bits[end] & tail);
}

static uint32
count_bits_and_runs(const char *bits, const char *runs, uint32 num)
{
	const Run  *r = (const Run *) runs;
	uint32		sum = 0;

	for (uint32 i = 0; i < num; i++)
		sum += bits_in_range((const u64 *) bits, r[i].first,
							 (uint32) r[i].first + r[i].more);
	return sum;
}

static uint32
count_array_and_array(const char *ids_a, uint32 na, const char *ids_b, uint32 nb)
{
	const u16  *a = (const u16 *) ids_a;
	const u16  *b = (const u16 *) ids_b;
	uint32		i = 0;
	uint32		j = 0;
	uint32		sum = 0;

	if (na > nb)
		return count_array_and_array(ids_b, nb, ids_a, na);
	if (na * GALLOP_FROM < nb)
	{
		for (; i < na; i++)
		{
			j = gallop(b, nb, j, a[i]);
			if (j == nb)
				break;
			sum += b[j] == a[i];
		}
		return sum;
	}
#ifdef HAVE_X86_KERNELS
	if (__builtin_cpu_supports("sse4.2"))
		sum = array_and_array_sse(a, na, b, nb, &i, &j);
#endif
	while (i < na && j < nb)
	{
		uint16		x = a[i];
		uint16		y = b[j];

		sum += x == y;
		i += x <= y;
		j += y <= x;
	}
	return sum;
}

static uint32
count_array_and_runs(const char *ids, uint32 na, const char *runs, uint32 num)
{
	const u16  *a = (const u16 *) ids;
	const Run  *r = (const Run *) runs;
	uint32		i = 0;
	uint32		sum = 0;

	for (uint32 k = 0; k < num && i < na; k++)
	{
		uint32		begin = gallop(a, na, i, r[k].first);

		i = gallop(a, na, begin, (uint32) r[k].first + r[k].more + 1);
		sum += i - begin;
	}
	return sum;
}

static uint32
count_runs_and_runs(const char *runs_a, uint32 na, const char *runs_b, uint32 nb)
{
	const Run  *a = (const Run *) runs_a;
	const Run  *b = (const Run *) runs_b;
	uint32		i = 0;
	uint32		j = 0;
	uint32		sum = 0;

	while (i < na && j < nb)
	{
		uint32		end_a = (uint32) a[i].first + a[i].more + 1;
		uint32		end_b = (uint32) b[j].first + b[j].more + 1;
		uint32		begin = Max(a[i].first, b[j].first);
		uint32		end = Min(end_a, end_b);

		if (begin < end)
			sum += end - begin;
		i += end_a <= end_b;
		j += end_b <= end_a;
	}
	return sum;
}

static uint32
count_both(const Walk *a, const Walk *b)
{
	const Walk *swap;

	/* order: array, bit set, runs */
	if (a->kind > b->kind)
	{
		swap = a;
		a = b;
		b = swap;
	}
	if (a->kind == KIND_ARRAY)
	{
		if (b->kind == KIND_ARRAY)
			return count_array_and_array(a->data, a->num, b->data, b->num);
		if (b->kind == KIND_BITSET)
			return count_bits_and_array(b->data, a->data, a->num);
		return count_array_and_runs(a->data, a->num, b->data, b->num);
	}
	if (a->kind == KIND_BITSET)
	{
		if (b->kind == KIND_BITSET)
			return count_bits_and_bits(a->data, b->data);
		return count_bits_and_runs(a->data, b->data, b->num);
	}
	return count_runs_and_runs(a->data, a->num, b->data, b->num);
}


/* Goes on to the next container that both have; false when there is none. */
static inline bool
walk_meet(Walk *a, Walk *b)
{
	while (!a->done && !b->done)
	{
		if (a->key < b->key)
			walk_to(a, b->key);
		else if (b->key < a->key)
			walk_to(b, a->key);
		else
			return true;
	}
	return false;
}

/* ---- questions about two bitmaps ---- */

uint64
mcdp_rbuf_bytes_and_cardinality(const char *a, size_t len_a,
								const char *b, size_t len_b)
{
	Walk		wa;
	Walk		wb;
	uint64		sum = 0;

	walk_init(&wa, a, len_a);
	walk_init(&wb, b, len_b);
	for (; walk_meet(&wa, &wb); walk_next(&wa))
	{
		CHECK_FOR_INTERRUPTS();
		sum += count_both(&wa, &wb);
	}
	return sum;
}

bool
mcdp_rbuf_bytes_intersects(const char *a, size_t len_a,
						   const char *b, size_t len_b)
{
	Walk		wa;
	Walk		wb;

	walk_init(&wa, a, len_a);
	walk_init(&wb, b, len_b);
	for (; walk_meet(&wa, &wb); walk_next(&wa))
	{
		CHECK_FOR_INTERRUPTS();
		if (count_both(&wa, &wb) > 0)
			return true;
	}
	return false;
}

bool
mcdp_rbuf_bytes_is_subset(const char *part, size_t len_part,
						  const char *whole, size_t len_whole)
{
	Walk		wp;
	Walk		ww;

	walk_init(&wp, part, len_part);
	walk_init(&ww, whole, len_whole);
	for (; !wp.done; walk_next(&wp))
	{
		walk_to(&ww, wp.key);
		if (ww.key != wp.key || wp.ids > ww.ids ||
			count_both(&wp, &ww) != wp.ids)
			return false;
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* ---- questions about one ---- */

/* The smallest or the greatest id; false when there is none. */
bool
mcdp_rbuf_bytes_end(const char *bytes, size_t len, bool last, uint64 *id)
{
	Walk		w;
	RbufContainer c;
	const char *data = NULL;

	for (walk_init(&w, bytes, len); !w.done; walk_next(&w))
	{
		c.high = w.key << 16;
		c.ids = w.ids;
		c.runs = w.kind == KIND_RUNS;
		data = c.runs ? w.data - 2 : w.data;
		if (!last)
			break;
	}
	if (data == NULL)
		return false;
	*id = last ? mcdp_rbuf_container_max(&c, data) : mcdp_rbuf_container_min(&c, data);
	return true;
}

/* How many ids of the container are <= low. */
static uint32
container_rank(const Walk *w, uint32 low)
{
	const Run  *r = (const Run *) w->data;
	uint32		sum = 0;

	if (w->kind == KIND_BITSET)
		return bits_in_range((const u64 *) w->data, 0, low);
	if (w->kind == KIND_ARRAY)
		return gallop((const u16 *) w->data, w->num, 0, low + 1);
	for (uint32 i = 0; i < w->num && r[i].first <= low; i++)
		sum += Min(low - r[i].first, r[i].more) + 1;
	return sum;
}

/* How many ids are <= id. */
uint64
mcdp_rbuf_bytes_rank(const char *bytes, size_t len, uint64 id)
{
	Walk		w;
	uint64		sum = 0;

	for (walk_init(&w, bytes, len); !w.done && w.key <= id >> 16; walk_next(&w))
		sum += w.key < id >> 16 ? w.ids : container_rank(&w, id & 0xffff);
	return sum;
}
