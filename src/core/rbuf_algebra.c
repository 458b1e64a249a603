/*-------------------------------------------------------------------------
 *
 * rbuf_algebra.c
 *	  Set algebra on bitmaps as bytes, without making sets of them.
 *
 * Takes trusted bytes of the canonical 64-bit form (rbuf.h) and walks the
 * containers of both in step.  Counting allocates nothing at all; combining
 * writes the canonical form of the result straight into one growing buffer.
 *
 * What profiles taught: with all operands in memory, three quarters of a
 * CRoaring-based rb_and went into making and freeing containers and into
 * bringing the result into canonical form, a tenth into the algebra itself.
 *
 * How containers meet (ids in brackets as they are kept):
 *		bit set, bit set	64 bits at a time
 *		bit set, array		look up each id
 *		bit set, runs		count the bits of each run
 *		array, array		SSE4.2 where the processor has it, galloping when
 *							one is much shorter
 *		anything, runs		both as lists of runs (an id is a run of one)
 * A combination with a bit set is made in a bit set and then brought into
 * whatever form is shortest.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_algebra.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/rbuf_form.h"

/* Not under the sanitizers, so that the fuzzer tries what other processors run. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#include <immintrin.h>
#define HAVE_X86_KERNELS 1
#endif

#define BITSET_WORDS		1024
#define GALLOP_FROM			32	/* times shorter */

/* Numbers in the bytes are at no particular alignment. */
typedef uint16 u16 __attribute__((aligned(1), may_alias));
typedef uint64 u64 __attribute__((aligned(1), may_alias));

typedef struct Run
{
	uint16		first;
	uint16		more;			/* length - 1 */
} __attribute__((packed, aligned(1), may_alias)) Run;

typedef enum Kind
{
	KIND_ARRAY,
	KIND_BITSET,
	KIND_RUNS
} Kind;

/* A walk over the containers of a bitmap. */
typedef struct Walk
{
	const char *bytes;
	size_t		len;
	size_t		next_part;		/* position of the key of the next part */
	uint64		parts_left;
	Part32		part;
	uint32		next;			/* container of the part to come */
	size_t		pos;			/* and its position in the part */
	uint32		part_key;

	/* the present container */
	bool		done;			/* there is none */
	uint64		key;			/* high 48 bits of its ids */
	Kind		kind;
	uint32		ids;
	uint32		num;			/* of ids in an array, of runs */
	const char *data;			/* ids, bits, or runs (after their number) */
	size_t		size;			/* bytes of the container */
} Walk;

static void
corrupted(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored bitmap is corrupted")));
}

static void
walk_next(Walk *w)
{
	McdpBadInput bad;

	while (w->next == w->part.num)
	{
		if (w->parts_left == 0)
		{
			w->done = true;
			w->key = PG_UINT64_MAX;
			return;
		}
		w->next_part += w->pos;
		if (w->len - w->next_part < sizeof(uint32))
			corrupted();
		w->part_key = get32(w->bytes + w->next_part);
		w->next_part += sizeof(uint32);
		if (!mcdp_rbuf_open_part(&w->part, w->bytes + w->next_part,
								 w->len - w->next_part, &bad))
			corrupted();
		w->parts_left--;
		w->next = 0;
		w->pos = w->part.body;
	}
	w->size = container_size(&w->part, w->next, w->pos);
	if (w->size == 0)
		corrupted();
	w->key = (uint64) w->part_key << 16 | container_key(&w->part, w->next);
	w->ids = container_ids(&w->part, w->next);
	w->data = w->part.start + w->pos;
	if (container_has_runs(&w->part, w->next))
	{
		w->kind = KIND_RUNS;
		w->num = get16(w->data);
		w->data += 2;
	}
	else
	{
		w->kind = w->ids <= MAX_ARRAY_IDS ? KIND_ARRAY : KIND_BITSET;
		w->num = w->ids;
	}
	w->pos += w->size;
	w->next++;
}

static void
walk_init(Walk *w, const char *bytes, size_t len)
{
	memset(w, 0, sizeof(Walk));
	if (len < sizeof(uint64))
		corrupted();
	w->bytes = bytes;
	w->len = len;
	w->parts_left = get64(bytes);
	w->next_part = sizeof(uint64);
	walk_next(w);
}

/* On to the first container whose key is not less. */
static inline void
walk_to(Walk *w, uint64 key)
{
	while (w->key < key)
		walk_next(w);
}

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

static inline bool
has_bit(const char *bits, uint32 low)
{
	return (((const unsigned char *) bits)[low / 8] >> (low % 8)) & 1;
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

/* The first place from "from" on that holds no less than low; num if none. */
static uint32
gallop(const u16 *ids, uint32 num, uint32 from, uint32 low)
{
	uint32		step = 1;
	uint32		lo = from;
	uint32		hi;

	while (lo + step < num && ids[lo + step] < low)
		step *= 2;
	hi = Min(lo + step, num);
	lo += step / 2;
	while (lo < hi)
	{
		uint32		mid = (lo + hi) / 2;

		if (ids[mid] < low)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
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
	while (!wa.done && !wb.done)
	{
		if (wa.key < wb.key)
			walk_to(&wa, wb.key);
		else if (wb.key < wa.key)
			walk_to(&wb, wa.key);
		else
		{
			sum += count_both(&wa, &wb);
			walk_next(&wa);
			walk_next(&wb);
			CHECK_FOR_INTERRUPTS();
		}
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
	while (!wa.done && !wb.done)
	{
		if (wa.key < wb.key)
			walk_to(&wa, wb.key);
		else if (wb.key < wa.key)
			walk_to(&wb, wa.key);
		else
		{
			if (count_both(&wa, &wb) > 0)
				return true;
			walk_next(&wa);
			walk_next(&wb);
			CHECK_FOR_INTERRUPTS();
		}
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

/* ---- writing the canonical form ---- */

typedef struct Written
{
	uint16		key;
	uint16		ids_less_one;
	bool		runs;
} Written;

/*
 * The part being written keeps room for its header in front of its containers,
 * which move when the header turned out to be of another length.
 */
typedef struct Writer
{
	char	   *bytes;
	size_t		used;
	size_t		max;
	uint64		parts;
	size_t		prefix;			/* bytes left to the caller in front */
	uint64		cardinality;

	bool		open;			/* a part is being written */
	uint32		part_key;
	size_t		part_start;		/* position of its key */
	size_t		body;			/* position of its first container */
	uint32		num;			/* containers written */
	uint32		most;			/* containers there is room for in the header */
	Written    *containers;		/* most of them */
	bool		any_runs;
	bool		expect_runs;
} Writer;

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
static void
writer_init(Writer *w, size_t prefix, size_t expected, uint64 most,
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

static char *
writer_finish(Writer *w, size_t *len, uint64 *cardinality)
{
	if (w->open)
		close_part(w);
	memcpy(w->bytes + w->prefix, &w->parts, sizeof(uint64));
	pfree(w->containers);
	*len = w->used - w->prefix;
	*cardinality = w->cardinality;
	return w->bytes;
}

static inline size_t
plain_size(uint32 ids)
{
	return ids <= MAX_ARRAY_IDS ? (size_t) 2 * ids : BITSET_BYTES;
}

static inline void
set_range(uint64 *bits, uint32 first, uint32 last)
{
	uint32		i = first / 64;
	uint32		end = last / 64;
	uint64		head = PG_UINT64_MAX << (first % 64);
	uint64		tail = PG_UINT64_MAX >> (63 - last % 64);

	if (i == end)
	{
		bits[i] |= head & tail;
		return;
	}
	bits[i] |= head;
	for (i++; i < end; i++)
		bits[i] = PG_UINT64_MAX;
	bits[end] |= tail;
}

static void
runs_to_bits(uint64 *bits, const Run *runs, uint32 num)
{
	memset(bits, 0, BITSET_BYTES);
	for (uint32 i = 0; i < num; i++)
		set_range(bits, runs[i].first, (uint32) runs[i].first + runs[i].more);
}

/* From runs, ascending and apart, in the shortest form. */
static void
write_runs(Writer *w, uint64 key, const Run *runs, uint32 num)
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
static void
write_ids(Writer *w, uint64 key, const uint16 *ids, uint32 num)
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
static void
write_bits(Writer *w, uint64 key, const uint64 *bits)
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
static void
write_same(Writer *w, const Walk *from)
{
	writer_key(w, from->key);
	memcpy(writer_room(w, from->size),
		   from->kind == KIND_RUNS ? from->data - 2 : from->data, from->size);
	written(w, from->key, from->ids, from->kind == KIND_RUNS, from->size);
}

/* ---- combining two containers ---- */

/* Room for what is made of two containers, once for a whole combination. */
typedef struct Scratch
{
	uint64		front;			/* 0: what lies before the first bit */
	uint64		bits[BITSET_WORDS];
	uint64		other[BITSET_WORDS];
	uint16		ids[2 * MAX_ARRAY_IDS];
	Run			runs_a[MAX_ARRAY_IDS];
	Run			runs_b[MAX_ARRAY_IDS];
	Run			runs[2 * MAX_ARRAY_IDS + 2];
} Scratch;

MCDP_VECTORISED static void
combine_bits(RbufOp op, uint64 *out, const u64 *a, const u64 *b)
{
	switch (op)
	{
		case RBUF_AND:
			for (int i = 0; i < BITSET_WORDS; i++)
				out[i] = a[i] & b[i];
			break;
		case RBUF_OR:
			for (int i = 0; i < BITSET_WORDS; i++)
				out[i] = a[i] | b[i];
			break;
		case RBUF_XOR:
			for (int i = 0; i < BITSET_WORDS; i++)
				out[i] = a[i] ^ b[i];
			break;
		case RBUF_ANDNOT:
			for (int i = 0; i < BITSET_WORDS; i++)
				out[i] = a[i] & ~b[i];
			break;
	}
}

/* Changes the bits of an array's ids: or, xor, andnot. */
static void
combine_bits_array(RbufOp op, uint64 *into, const u16 *ids, uint32 num)
{
	for (uint32 i = 0; i < num; i++)
	{
		uint64		bit = UINT64CONST(1) << (ids[i] % 64);

		if (op == RBUF_OR)
			into[ids[i] / 64] |= bit;
		else if (op == RBUF_XOR)
			into[ids[i] / 64] ^= bit;
		else
			into[ids[i] / 64] &= ~bit;
	}
}

/* The ids of an array that are in the bit set, or are not. */
static uint32
select_by_bits(uint16 *out, const u16 *ids, uint32 num, const char *bits,
			   bool wanted)
{
	uint32		n = 0;

	for (uint32 i = 0; i < num; i++)
	{
		out[n] = ids[i];
		n += has_bit(bits, ids[i]) == wanted;
	}
	return n;
}

static uint32
merge_arrays(RbufOp op, uint16 *out, const u16 *a, uint32 na,
			 const u16 *b, uint32 nb)
{
	uint32		i = 0;
	uint32		j = 0;
	uint32		n = 0;
	bool		take_a = op != RBUF_AND;	/* ids of a alone */
	bool		take_b = op == RBUF_OR || op == RBUF_XOR;
	bool		take_both = op == RBUF_AND || op == RBUF_OR;

	if (op == RBUF_AND && (uint64) Min(na, nb) * GALLOP_FROM < Max(na, nb))
	{
		if (na > nb)
			return merge_arrays(op, out, b, nb, a, na);
		for (; i < na; i++)
		{
			j = gallop(b, nb, j, a[i]);
			if (j == nb)
				break;
			out[n] = a[i];
			n += b[j] == a[i];
		}
		return n;
	}
	while (i < na && j < nb)
	{
		uint16		x = a[i];
		uint16		y = b[j];

		/* written before it is known to be wanted: no branch to mispredict */
		out[n] = Min(x, y);
		n += x == y ? take_both : x < y ? take_a : take_b;
		i += x <= y;
		j += y <= x;
	}
	if (take_a)
		for (; i < na; i++)
			out[n++] = a[i];
	if (take_b)
		for (; j < nb; j++)
			out[n++] = b[j];
	return n;
}

static const Run *
as_runs(Run *room, const Walk *w)
{
	const u16  *ids = (const u16 *) w->data;

	if (w->kind == KIND_RUNS)
		return (const Run *) w->data;
	for (uint32 i = 0; i < w->num; i++)
	{
		room[i].first = ids[i];
		room[i].more = 0;
	}
	return room;
}

/* Walks over the borders of both lists of runs in step. */
static uint32
merge_runs(RbufOp op, Run *out, const Run *a, uint32 na, const Run *b, uint32 nb)
{
	uint32		i = 0;			/* borders passed: an odd one is an end */
	uint32		j = 0;
	uint32		n = 0;
	uint32		begin = 0;
	bool		inside = false;

	while (i < 2 * na || j < 2 * nb)
	{
		uint32		next_a = 65537;
		uint32		next_b = 65537;
		uint32		at;
		bool		now;

		if (i < 2 * na)
			next_a = a[i / 2].first + (i % 2 ? (uint32) a[i / 2].more + 1 : 0);
		if (j < 2 * nb)
			next_b = b[j / 2].first + (j % 2 ? (uint32) b[j / 2].more + 1 : 0);
		at = Min(next_a, next_b);

		/* an end and a beginning at one place (ids as runs of one) are none */
		while (i < 2 * na &&
			   a[i / 2].first + (i % 2 ? (uint32) a[i / 2].more + 1 : 0) == at)
			i++;
		while (j < 2 * nb &&
			   b[j / 2].first + (j % 2 ? (uint32) b[j / 2].more + 1 : 0) == at)
			j++;
		switch (op)
		{
			case RBUF_AND:
				now = i % 2 && j % 2;
				break;
			case RBUF_OR:
				now = i % 2 || j % 2;
				break;
			case RBUF_XOR:
				now = i % 2 != j % 2;
				break;
			default:
				now = i % 2 && j % 2 == 0;
		}
		if (now == inside)
			continue;
		if (now)
			begin = at;
		else
		{
			out[n].first = begin;
			out[n].more = at - 1 - begin;
			n++;
		}
		inside = now;
	}
	return n;
}

static void
write_combined(Writer *w, RbufOp op, const Walk *a, const Walk *b, Scratch *s)
{
	if (a->kind == KIND_BITSET || b->kind == KIND_BITSET)
	{
		const Walk *array = a->kind == KIND_ARRAY ? a : b;
		const Walk *bits = a->kind == KIND_ARRAY ? b : a;

		if (array->kind == KIND_ARRAY &&
			(op == RBUF_AND || (op == RBUF_ANDNOT && array == a)))
		{
			uint32		n = select_by_bits(s->ids, (const u16 *) array->data,
										   array->num, bits->data, op == RBUF_AND);

			write_ids(w, a->key, s->ids, n);
			return;
		}
		if (array->kind == KIND_ARRAY)
		{
			memcpy(s->bits, bits->data, BITSET_BYTES);
			combine_bits_array(op, s->bits, (const u16 *) array->data, array->num);
		}
		else
		{
			const char *bits_a = a->data;
			const char *bits_b = b->data;

			if (a->kind == KIND_RUNS)
			{
				runs_to_bits(s->other, (const Run *) a->data, a->num);
				bits_a = (const char *) s->other;
			}
			else if (b->kind == KIND_RUNS)
			{
				runs_to_bits(s->other, (const Run *) b->data, b->num);
				bits_b = (const char *) s->other;
			}
			combine_bits(op, s->bits, (const u64 *) bits_a, (const u64 *) bits_b);
		}
		write_bits(w, a->key, s->bits);
	}
	else if (a->kind == KIND_ARRAY && b->kind == KIND_ARRAY)
	{
		uint32		n = merge_arrays(op, s->ids, (const u16 *) a->data, a->num,
									 (const u16 *) b->data, b->num);

		if (n <= MAX_ARRAY_IDS)
			write_ids(w, a->key, s->ids, n);
		else
		{
			memset(s->bits, 0, BITSET_BYTES);
			combine_bits_array(RBUF_OR, s->bits, s->ids, n);
			write_bits(w, a->key, s->bits);
		}
	}
	else
	{
		uint32		n = merge_runs(op, s->runs, as_runs(s->runs_a, a), a->num,
								   as_runs(s->runs_b, b), b->num);

		write_runs(w, a->key, s->runs, n);
	}
}

/*
 * How many containers a part of the result can have, and whether to expect
 * runs: that decides how much room its header gets.
 */
static void
foresee(const char *a, size_t len_a, const char *b, size_t len_b,
		uint64 *in_a, uint64 *in_b, uint64 *in_either, bool *runs)
{
	const char *bytes[2] = {a, b};
	size_t		len[2] = {len_a, len_b};
	Part32		part[2];
	uint64		most[2] = {0, 0};
	bool		single = true;
	uint32		i = 0;
	uint32		j = 0;

	*runs = false;
	for (int k = 0; k < 2; k++)
	{
		uint64		parts = get64(bytes[k]);
		size_t		pos = sizeof(uint64);

		single = single && parts == 1;
		for (uint64 n = 0; n < parts; n++)
		{
			McdpBadInput bad;
			size_t		size;

			pos += sizeof(uint32);
			if (pos > len[k] || !mcdp_rbuf_open_part(&part[k], bytes[k] + pos,
													 len[k] - pos, &bad))
				corrupted();
			most[k] = Max(most[k], part[k].num);
			*runs = *runs || part[k].run_flags != NULL;
			if (parts == 1)
				break;
			size = mcdp_rbuf_bytes_part_size(bytes[k] + pos, len[k] - pos);
			if (size == 0)
				corrupted();
			pos += size;
		}
	}
	*in_a = most[0];
	*in_b = most[1];
	*in_either = most[0] + most[1];
	if (!single)
		return;
	while (i < part[0].num && j < part[1].num)
	{
		uint32		x = container_key(&part[0], i);
		uint32		y = container_key(&part[1], j);

		i += x <= y;
		j += y <= x;
		*in_either -= x == y;
	}
}

/*
 * The canonical form of a combination, in the current context, behind "prefix"
 * bytes for the caller to fill.
 */
char *
mcdp_rbuf_bytes_combine(RbufOp op, const char *a, size_t len_a,
						const char *b, size_t len_b, size_t prefix,
						size_t *len, uint64 *cardinality)
{
	Writer		w;
	Walk		wa;
	Walk		wb;
	Scratch    *s = palloc(sizeof(Scratch));
	uint64		in_a;
	uint64		in_b;
	uint64		in_either;
	bool		runs;
	bool		keep_a = op != RBUF_AND;
	bool		keep_b = op == RBUF_OR || op == RBUF_XOR;

	s->front = 0;
	walk_init(&wa, a, len_a);
	walk_init(&wb, b, len_b);
	foresee(a, len_a, b, len_b, &in_a, &in_b, &in_either, &runs);
	if (op == RBUF_AND)
		writer_init(&w, prefix, Min(len_a, len_b), Min(in_a, in_b), runs);
	else if (op == RBUF_ANDNOT)
		writer_init(&w, prefix, len_a, in_a, runs);
	else
		writer_init(&w, prefix, Max(len_a, len_b) + Min(len_a, len_b) / 2,
					in_either, runs);

	while (!wa.done || !wb.done)
	{
		if (wa.key < wb.key)
		{
			if (keep_a)
				write_same(&w, &wa);
			else if (wb.done)
				break;
			walk_next(&wa);
		}
		else if (wb.key < wa.key)
		{
			if (keep_b)
				write_same(&w, &wb);
			else if (wa.done)
				break;
			walk_next(&wb);
		}
		else
		{
			write_combined(&w, op, &wa, &wb, s);
			walk_next(&wa);
			walk_next(&wb);
		}
		CHECK_FOR_INTERRUPTS();
	}
	pfree(s);
	return writer_finish(&w, len, cardinality);
}

/* The same of the ids first .. last_inclusive of a bitmap. */
char *
mcdp_rbuf_bytes_range(const char *bytes, size_t len, uint64 first,
					  uint64 last_inclusive, size_t prefix,
					  size_t *range_len, uint64 *cardinality)
{
	Writer		w;
	Walk		walk;
	Walk		inside;			/* a run that covers the range, at its ends */
	Run			run;
	Scratch    *s = palloc(sizeof(Scratch));
	uint64		most;
	uint64		unused;
	bool		runs;

	s->front = 0;
	walk_init(&walk, bytes, len);
	foresee(bytes, len, bytes, len, &most, &unused, &unused, &runs);
	writer_init(&w, prefix, 0, most, runs);
	walk_to(&walk, first >> 16);
	for (; !walk.done && walk.key <= last_inclusive >> 16; walk_next(&walk))
	{
		uint32		lo = walk.key == first >> 16 ? first & 0xffff : 0;
		uint32		hi = walk.key == last_inclusive >> 16 ? last_inclusive & 0xffff : 0xffff;

		CHECK_FOR_INTERRUPTS();
		if (lo == 0 && hi == 0xffff)
		{
			write_same(&w, &walk);
			continue;
		}
		run.first = lo;
		run.more = hi - lo;
		inside.key = walk.key;
		inside.kind = KIND_RUNS;
		inside.ids = hi - lo + 1;
		inside.num = 1;
		inside.data = (const char *) &run;
		write_combined(&w, RBUF_AND, &walk, &inside, s);
	}
	pfree(s);
	return writer_finish(&w, range_len, cardinality);
}

/* The same of ids in ascending order, repeats allowed. */
char *
mcdp_rbuf_bytes_from_ids(const uint64 *ids, size_t n, size_t prefix,
						 size_t *len, uint64 *cardinality)
{
	Writer		w;
	Scratch    *s = palloc(offsetof(Scratch, runs_a));
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
	writer_init(&w, prefix, expected, most, false);

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
			write_ids(&w, key, s->ids, num);
			continue;
		}
		memset(s->bits, 0, BITSET_BYTES);
		combine_bits_array(RBUF_OR, s->bits, s->ids, num);
		for (; i < n && ids[i] >> 16 == key; i++)
			s->bits[(ids[i] & 0xffff) / 64] |= UINT64CONST(1) << (ids[i] % 64);
		write_bits(&w, key, s->bits);
	}
	pfree(s);
	return writer_finish(&w, len, cardinality);
}
