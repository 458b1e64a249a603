/*-------------------------------------------------------------------------
 *
 * rbuf_write.c
 *	  Bitmaps in canonical form, straight into one growing buffer.
 *
 * What profiles taught: with all operands in memory, three quarters of a
 * CRoaring-based rb_and went into making and freeing containers and into
 * bringing the result into canonical form, a tenth into the algebra itself.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_write.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/rbuf_write.h"

/* ---- parts ---- */

static inline size_t
header_size(uint32 num, bool runs)
{
	if (!runs)
		return 8 + (size_t) 8 * num;
	return 4 + (num + 7) / 8 + (size_t) (num < OFFSETS_FROM ? 4 : 8) * num;
}

/* Room for that many bytes at the end. */
static inline char *
writer_room(Writer *w, size_t bytes)
{
	if (w->max - w->used < bytes)
	{
		size_t		max = Max(w->used + bytes, w->max + w->max / 2);

		w->bytes = repalloc_huge(w->bytes, max);
		w->max = max;
	}
	return w->bytes + w->used;
}

/* expected: bytes of the result, a guess; most: containers in any part. */
void
mcdp_rbuf_writer_init(Writer *w, size_t prefix, size_t expected, uint64 most,
					  bool expect_runs)
{
	memset(w, 0, sizeof(Writer));
	w->prefix = prefix;
	w->expect_runs = expect_runs;
	w->most = Min(Max(most, 1), MAX_CONTAINERS);
	w->max = prefix + sizeof(uint64) + expected + 64;
	w->bytes = palloc_extended(w->max, MCXT_ALLOC_HUGE);
	w->used = prefix + sizeof(uint64);
	w->containers = palloc(w->most * sizeof(Written));
}

static void
close_part(Writer *w)
{
	size_t		size = header_size(w->num, w->any_runs);
	char	   *head;
	char	   *keys;
	char	   *offsets;
	size_t		pos = size;
	size_t		body_size = w->used - w->body;
	const char *body;
	bool		has_offsets = !w->any_runs || w->num >= OFFSETS_FROM;

	w->open = false;
	if (w->num == 0)
	{
		w->used = w->part_start;
		return;
	}
	if (w->part_start + sizeof(uint32) + size > w->body)
		writer_room(w, w->part_start + sizeof(uint32) + size - w->body);
	head = w->bytes + w->part_start;
	memcpy(head, &w->part_key, sizeof(uint32));
	head += sizeof(uint32);
	if (head + size != w->bytes + w->body)
		memmove(head + size, w->bytes + w->body, body_size);
	body = head + size;
	w->used = w->part_start + sizeof(uint32) + size + body_size;
	if (w->any_runs)
	{
		uint32		cookie = COOKIE_RUNS | (w->num - 1) << 16;

		memcpy(head, &cookie, sizeof(cookie));
		memset(head + 4, 0, (w->num + 7) / 8);
		for (uint32 i = 0; i < w->num; i++)
			if (w->containers[i].runs)
				head[4 + i / 8] |= 1 << (i % 8);
		keys = head + 4 + (w->num + 7) / 8;
	}
	else
	{
		uint32		cookie = COOKIE_NO_RUNS;

		memcpy(head, &cookie, sizeof(cookie));
		memcpy(head + 4, &w->num, sizeof(uint32));
		keys = head + 8;
	}
	offsets = keys + (size_t) 4 * w->num;
	for (uint32 i = 0; i < w->num; i++)
	{
		const Written *c = &w->containers[i];
		uint32		ids = (uint32) c->ids_less_one + 1;
		uint32		offset = pos;

		memcpy(keys + (size_t) 4 * i, &c->key, 2);
		memcpy(keys + (size_t) 4 * i + 2, &c->ids_less_one, 2);
		if (has_offsets)
			memcpy(offsets + (size_t) 4 * i, &offset, 4);
		if (c->runs)
			pos += 2 + (size_t) 4 * get16(body + (pos - size));
		else
			pos += ids <= MAX_ARRAY_IDS ? (size_t) 2 * ids : BITSET_BYTES;
		w->cardinality += ids;
	}
	w->parts++;
}

/* A container was written at the end of the buffer. */
static void
written(Writer *w, uint64 key, uint32 ids, bool runs, size_t size)
{
	Written    *c = &w->containers[w->num++];

	c->key = (uint16) key;
	c->ids_less_one = ids - 1;
	c->runs = runs;
	w->any_runs |= runs;
	w->used += size;
}

/* Before the containers of that key; parts are opened and closed as needed. */
static void
writer_key(Writer *w, uint64 key)
{
	if (w->open && w->part_key == key >> 16)
		return;
	if (w->open)
		close_part(w);
	w->open = true;
	w->part_key = key >> 16;
	w->part_start = w->used;
	w->num = 0;
	w->any_runs = false;
	w->body = w->part_start + sizeof(uint32) + header_size(w->most, w->expect_runs);
	writer_room(w, w->body - w->part_start);
	w->used = w->body;
}

char *
mcdp_rbuf_writer_finish(Writer *w, size_t *len, uint64 *cardinality)
{
	if (w->open)
		close_part(w);
	memcpy(w->bytes + w->prefix, &w->parts, sizeof(uint64));
	pfree(w->containers);
	*len = w->used - w->prefix;
	*cardinality = w->cardinality;
	return w->bytes;
}

/* ---- containers ---- */

static inline size_t
plain_size(uint32 ids)
{
	return ids <= MAX_ARRAY_IDS ? (size_t) 2 * ids : BITSET_BYTES;
}

/* From runs, ascending and apart, in the shortest form. */
void
mcdp_rbuf_write_runs(Writer *w, uint64 key, const Run *runs, uint32 num)
{
	uint32		ids = 0;
	size_t		size = 2 + (size_t) 4 * num;
	char	   *to;

	for (uint32 i = 0; i < num; i++)
		ids += (uint32) runs[i].more + 1;
	if (ids == 0)
		return;
	writer_key(w, key);
	if (size < plain_size(ids))
	{
		uint16		n = num;

		to = writer_room(w, size);
		memcpy(to, &n, 2);
		memcpy(to + 2, runs, size - 2);
		written(w, key, ids, true, size);
	}
	else if (ids <= MAX_ARRAY_IDS)
	{
		u16		   *out = (u16 *) writer_room(w, (size_t) 2 * ids);

		for (uint32 i = 0; i < num; i++)
			for (uint32 k = 0; k <= runs[i].more; k++)
				*out++ = runs[i].first + k;
		written(w, key, ids, false, (size_t) 2 * ids);
	}
	else
	{
		uint64		bits[BITSET_WORDS];

		runs_to_bits(bits, runs, num);
		memcpy(writer_room(w, BITSET_BYTES), bits, BITSET_BYTES);
		written(w, key, ids, false, BITSET_BYTES);
	}
}

/* From ids, ascending, at most 4,096 of them. */
void
mcdp_rbuf_write_ids(Writer *w, uint64 key, const uint16 *ids, uint32 num)
{
	uint32		runs = num > 0;
	size_t		size = (size_t) 2 * num;
	char	   *to;

	if (num == 0)
		return;
	for (uint32 i = 1; i < num; i++)
		runs += ids[i] != (uint16) (ids[i - 1] + 1);
	writer_key(w, key);
	if (2 + (size_t) 4 * runs < size)
	{
		uint16		n = runs;
		Run		   *out;

		size = 2 + (size_t) 4 * runs;
		to = writer_room(w, size);
		memcpy(to, &n, 2);
		out = (Run *) (to + 2);
		for (uint32 i = 0; i < num;)
		{
			uint32		end = i + 1;

			while (end < num && ids[end] == (uint16) (ids[end - 1] + 1))
				end++;
			out->first = ids[i];
			out->more = end - i - 1;
			out++;
			i = end;
		}
		written(w, key, num, true, size);
		return;
	}
	memcpy(writer_room(w, size), ids, size);
	written(w, key, num, false, size);
}

/* Ids and runs of a bit set. */
MCDP_VECTORISED static void
measure_bits(const uint64 *bits, uint32 *ids, uint32 *runs)
{
	uint32		n = 0;
	uint32		r = 0;
	uint64		before = 0;		/* highest bit of the last word */

	for (int i = 0; i < BITSET_WORDS; i++)
	{
		n += __builtin_popcountll(bits[i]);
		r += __builtin_popcountll(bits[i] & ~(bits[i] << 1 | before));
		before = bits[i] >> 63;
	}
	*ids = n;
	*runs = r;
}

#ifdef HAVE_X86_KERNELS
/* bits[-1] is the caller's: 0. */
__attribute__((target("avx512f,avx512vpopcntdq"))) static void
measure_bits_avx512(const uint64 *bits, uint32 *ids, uint32 *runs)
{
	__m512i		n = _mm512_setzero_si512();
	__m512i		r = _mm512_setzero_si512();

	for (int i = 0; i < BITSET_WORDS; i += 8)
	{
		__m512i		v = _mm512_loadu_si512(bits + i);
		__m512i		before = _mm512_loadu_si512(bits + i - 1);
		__m512i		moved = _mm512_or_si512(_mm512_slli_epi64(v, 1), _mm512_srli_epi64(before, 63));

		n = _mm512_add_epi64(n, _mm512_popcnt_epi64(v));
		r = _mm512_add_epi64(r, _mm512_popcnt_epi64(_mm512_andnot_si512(moved, v)));
	}
	*ids = _mm512_reduce_add_epi64(n);
	*runs = _mm512_reduce_add_epi64(r);
}
#endif

#ifdef HAVE_X86_KERNELS
/* Writes up to 64 bytes more than it has to. */
__attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt"))) static void
bits_to_ids_avx512(u16 *out, const uint64 *bits)
{
	uint16		first[32];
	__m512i		ids;
	const __m512i step = _mm512_set1_epi16(32);

	for (int i = 0; i < 32; i++)
		first[i] = i;
	ids = _mm512_loadu_si512(first);
	for (int i = 0; i < BITSET_WORDS; i++)
	{
		uint32		low = (uint32) bits[i];
		uint32		high = bits[i] >> 32;

		_mm512_storeu_si512(out, _mm512_maskz_compress_epi16(low, ids));
		out += _mm_popcnt_u32(low);
		ids = _mm512_add_epi16(ids, step);
		_mm512_storeu_si512(out, _mm512_maskz_compress_epi16(high, ids));
		out += _mm_popcnt_u32(high);
		ids = _mm512_add_epi16(ids, step);
	}
}
#endif

/* From a bit set with a word of 0 in front of it. */
void
mcdp_rbuf_write_bits(Writer *w, uint64 key, const uint64 *bits)
{
	uint32		ids;
	uint32		runs;
	size_t		size;
	char	   *to;

#ifdef HAVE_X86_KERNELS
	if (__builtin_cpu_supports("avx512vpopcntdq"))
		measure_bits_avx512(bits, &ids, &runs);
	else
#endif
		measure_bits(bits, &ids, &runs);
	if (ids == 0)
		return;
	writer_key(w, key);
	size = 2 + (size_t) 4 * runs;
	if (size < plain_size(ids))
	{
		uint16		n = runs;
		Run		   *out;
		int32		begin = -1;

		to = writer_room(w, size);
		memcpy(to, &n, 2);
		out = (Run *) (to + 2);
		for (uint32 i = 0; i < BITSET_WORDS; i++)
		{
			uint64		edges = bits[i] ^ (bits[i] << 1 | bits[(int32) i - 1] >> 63);

			for (; edges != 0; edges &= edges - 1)
			{
				int32		at = i * 64 + __builtin_ctzll(edges);

				if (begin < 0)
					begin = at;
				else
				{
					out->first = begin;
					out->more = at - 1 - begin;
					out++;
					begin = -1;
				}
			}
		}
		if (begin >= 0)
		{
			out->first = begin;
			out->more = 65535 - begin;
		}
		written(w, key, ids, true, size);
	}
	else if (ids <= MAX_ARRAY_IDS)
	{
		u16		   *out;

		size = (size_t) 2 * ids;
		out = (u16 *) writer_room(w, size + 64);
#ifdef HAVE_X86_KERNELS
		if (__builtin_cpu_supports("avx512vbmi2"))
		{
			bits_to_ids_avx512(out, bits);
			written(w, key, ids, false, size);
			return;
		}
#endif
		for (uint32 i = 0; i < BITSET_WORDS; i++)
			for (uint64 word = bits[i]; word != 0; word &= word - 1)
				*out++ = i * 64 + __builtin_ctzll(word);
		written(w, key, ids, false, size);
	}
	else
	{
		memcpy(writer_room(w, BITSET_BYTES), bits, BITSET_BYTES);
		written(w, key, ids, false, BITSET_BYTES);
	}
}

/* A container as it is. */
void
mcdp_rbuf_write_same(Writer *w, const Walk *from)
{
	writer_key(w, from->key);
	memcpy(writer_room(w, from->size),
		   from->kind == KIND_RUNS ? from->data - 2 : from->data, from->size);
	written(w, from->key, from->ids, from->kind == KIND_RUNS, from->size);
}

/* ---- whole bitmaps ---- */

/* Room for the ids of one container. */
typedef struct Gathered
{
	uint64		front;			/* 0: what lies before the first bit */
	uint64		bits[BITSET_WORDS];
	uint16		ids[MAX_ARRAY_IDS];
} Gathered;

/*
 * The canonical form of ids in ascending order, repeats allowed, in the current
 * context, behind "prefix" bytes for the caller to fill.
 */
char *
mcdp_rbuf_bytes_from_ids(const uint64 *ids, size_t n, size_t prefix,
						 size_t *len, uint64 *cardinality)
{
	Writer		w;
	Gathered   *s = palloc(sizeof(Gathered));
	uint64		most = 0;
	uint64		expected = 0;
	size_t		i = 0;

	s->front = 0;

	/* most containers of a part, and bytes at most but for the header */
	for (size_t from = 0; from < n;)
	{
		uint64		part = ids[from] >> 32;
		uint64		num = 0;
		uint64		last = PG_UINT64_MAX;

		for (; from < n && ids[from] >> 32 == part; from++)
		{
			num += ids[from] >> 16 != last;
			last = ids[from] >> 16;
		}
		most = Max(most, num);
		expected += 16 + num * 9;
	}
	expected += Min(n * 2, most * BITSET_BYTES + BITSET_BYTES);
	mcdp_rbuf_writer_init(&w, prefix, expected, most, false);

	while (i < n)
	{
		uint64		key = ids[i] >> 16;
		uint32		num = 0;
		size_t		begin = i;

		CHECK_FOR_INTERRUPTS();
		for (; i < n && ids[i] >> 16 == key && num < MAX_ARRAY_IDS; i++)
		{
			s->ids[num] = (uint16) ids[i];
			num += i == begin || ids[i] != ids[i - 1];
		}
		if (i == n || ids[i] >> 16 != key)
		{
			mcdp_rbuf_write_ids(&w, key, s->ids, num);
			continue;
		}
		memset(s->bits, 0, BITSET_BYTES);
		combine_bits_array(RBUF_OR, s->bits, s->ids, num);
		for (; i < n && ids[i] >> 16 == key; i++)
			s->bits[(ids[i] & 0xffff) / 64] |= UINT64CONST(1) << (ids[i] % 64);
		mcdp_rbuf_write_bits(&w, key, s->bits);
	}
	pfree(s);
	return mcdp_rbuf_writer_finish(&w, len, cardinality);
}
