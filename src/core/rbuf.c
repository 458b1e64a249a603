/*-------------------------------------------------------------------------
 *
 * rbuf.c
 *	  A mutable set of 64-bit ids in memory: the one bridge to CRoaring.
 *
 * rbuf_set.h describes what a set is made of; rbuf_portable.c makes sets from
 * bytes and bytes from sets.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "core/rbuf_set.h"

/* 4.x renamed the iterator's functions and brought roaring64.h */
#if defined(__has_include)
#if __has_include(<roaring/roaring64.h>)
#define ITER_INIT			roaring_iterator_init
#define ITER_SEEK			roaring_uint32_iterator_move_equalorlarger
#define ITER_READ			roaring_uint32_iterator_read
#endif
#endif
#ifndef ITER_INIT
#define ITER_INIT			roaring_init_iterator
#define ITER_SEEK			roaring_move_uint32_iterator_equalorlarger
#define ITER_READ			roaring_read_uint32_iterator
#endif

#define LOW_MAX				((uint64) PG_UINT32_MAX)

/*
 * Filling 2^38 ids takes some 300 MB of runs, one per container.  A wider
 * range is a mistake rather than a set.
 */
#define MAX_FILL_IDS		(UINT64CONST(1) << 38)

static void
free_bits(RbufPart *part)
{
	if (part->bits != NULL)
		roaring_bitmap_free(part->bits);
	part->bits = NULL;
}

/* Also runs when the context goes away, after its children have. */
static void
free_parts(void *arg)
{
	Rbuf	   *set = arg;

	for (uint32 i = 0; i < set->num; i++)
		free_bits(&set->parts[i]);
	set->num = 0;
}

Rbuf *
mcdp_rbuf_create(MemoryContext cx)
{
	Rbuf	   *set = MemoryContextAllocZero(cx, sizeof(Rbuf));

	set->cx = cx;
	set->callback.func = free_parts;
	set->callback.arg = set;
	MemoryContextRegisterResetCallback(cx, &set->callback);
	return set;
}

void
mcdp_rbuf_clear(Rbuf *set)
{
	free_parts(set);
}

/* The struct itself stays: the context's callback still points to it. */
void
mcdp_rbuf_free(Rbuf *set)
{
	free_parts(set);
	if (set->parts != NULL)
		pfree(set->parts);
	set->parts = NULL;
	set->max = 0;
}

static const roaring_bitmap_t *
get_part(const Rbuf *set, uint32 key)
{
	uint32		i = find_part(set, key);

	return i < set->num && set->parts[i].key == key ? set->parts[i].bits : NULL;
}

/* Takes away the parts from index i on that are empty (or NULL). */
static void
drop_empty(Rbuf *set, uint32 i)
{
	uint32		kept = i;

	for (; i < set->num; i++)
	{
		RbufPart	part = set->parts[i];

		if (part.bits == NULL || roaring_bitmap_is_empty(part.bits))
			free_bits(&part);
		else
			set->parts[kept++] = part;
	}
	set->num = kept;
}

Rbuf *
mcdp_rbuf_copy(MemoryContext cx, const Rbuf *set)
{
	Rbuf	   *copy = mcdp_rbuf_create(cx);

	reserve(copy, set->num);
	for (uint32 i = 0; i < set->num; i++)
	{
		roaring_bitmap_t *bits = roaring_bitmap_copy(set->parts[i].bits);

		if (bits == NULL)
			out_of_memory();
		copy->parts[i].key = set->parts[i].key;
		copy->parts[i].bits = bits;
		copy->num = i + 1;
		CHECK_FOR_INTERRUPTS();
	}
	return copy;
}

/* ---- single ids and ranges ---- */

void
mcdp_rbuf_add(Rbuf *set, uint64 id)
{
	Assert(id <= RBUF_MAX_ID);
	roaring_bitmap_add(make_part(set, id >> 32), (uint32) id);
}

void
mcdp_rbuf_remove(Rbuf *set, uint64 id)
{
	uint32		i = find_part(set, id >> 32);

	if (i == set->num || set->parts[i].key != id >> 32)
		return;
	roaring_bitmap_remove(set->parts[i].bits, (uint32) id);
	if (roaring_bitmap_is_empty(set->parts[i].bits))
		drop_empty(set, i);
}

/* Ids without a gap or a repeat. */
static bool
is_run(const uint32 *ids, size_t n)
{
	bool		run = ids[n - 1] - ids[0] == n - 1;

	for (size_t i = 1; i < n && run; i++)
		run = ids[i] == ids[0] + i;
	return run;
}

void
mcdp_rbuf_add_sorted(Rbuf *set, const uint64 *ids, size_t n)
{
	uint32		batch[ADD_BATCH];
	size_t		i = 0;

	while (i < n)
	{
		uint32		key = ids[i] >> 32;
		size_t		filled = 0;

		Assert(ids[i] <= RBUF_MAX_ID);
		CHECK_FOR_INTERRUPTS();
		while (i < n && filled < ADD_BATCH && ids[i] >> 32 == key)
			batch[filled++] = (uint32) ids[i++];
		if (filled > 1 && is_run(batch, filled))
			roaring_bitmap_add_range_closed(make_part(set, key), batch[0], batch[filled - 1]);
		else
			roaring_bitmap_add_many(make_part(set, key), filled, batch);
	}
}

/* The share of a range that falls into the part of that key. */
static inline uint32
range_low(uint32 key, uint64 first)
{
	return key == first >> 32 ? (uint32) first : 0;
}

static inline uint32
range_high(uint32 key, uint64 last)
{
	return key == last >> 32 ? (uint32) last : PG_UINT32_MAX;
}

static void
check_fill(uint64 first, uint64 last)
{
	if (last - first >= MAX_FILL_IDS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("range of ids is too large"),
				 errdetail("A range to fill or flip can span at most " UINT64_FORMAT " ids.",
						   MAX_FILL_IDS)));
}

void
mcdp_rbuf_add_range(Rbuf *set, uint64 first, uint64 last_inclusive)
{
	if (first > last_inclusive)
		return;
	check_fill(first, last_inclusive);
	for (uint64 key = first >> 32; key <= last_inclusive >> 32; key++)
	{
		roaring_bitmap_add_range_closed(make_part(set, key),
										range_low(key, first),
										range_high(key, last_inclusive));
		CHECK_FOR_INTERRUPTS();
	}
}

void
mcdp_rbuf_flip_range(Rbuf *set, uint64 first, uint64 last_inclusive)
{
	uint32		begin = find_part(set, first >> 32);

	if (first > last_inclusive)
		return;
	check_fill(first, last_inclusive);
	for (uint64 key = first >> 32; key <= last_inclusive >> 32; key++)
	{
		roaring_bitmap_flip_inplace(make_part(set, key),
									range_low(key, first),
									(uint64) range_high(key, last_inclusive) + 1);
		CHECK_FOR_INTERRUPTS();
	}
	drop_empty(set, begin);
}

/*
 * CRoaring 0.2.66 leaves a bit set that has just 4,096 ids after a range was
 * removed, and would write it as such, with a header that says array.  Taking
 * out one more id makes it an array; putting it back leaves it one.
 */
static void
mend_container(roaring_bitmap_t *bits, uint32 low)
{
	uint32		base = low & 0xffff0000;
	roaring_uint32_iterator_t it;
	uint32		id;

	if (roaring_bitmap_range_cardinality(bits, base, (uint64) base + 65536) != MAX_ARRAY_IDS)
		return;
	ITER_INIT(bits, &it);
	if (!ITER_SEEK(&it, base))
		return;
	id = it.current_value;
	roaring_bitmap_remove(bits, id);
	roaring_bitmap_add(bits, id);
}

void
mcdp_rbuf_remove_range(Rbuf *set, uint64 first, uint64 last_inclusive)
{
	uint32		begin = find_part(set, first >> 32);

	if (first > last_inclusive)
		return;
	for (uint32 i = begin; i < set->num; i++)
	{
		uint32		key = set->parts[i].key;

		if (key > last_inclusive >> 32)
			break;
		roaring_bitmap_remove_range_closed(set->parts[i].bits,
										   range_low(key, first),
										   range_high(key, last_inclusive));
		mend_container(set->parts[i].bits, range_low(key, first));
		mend_container(set->parts[i].bits, range_high(key, last_inclusive));
	}
	drop_empty(set, begin);
}

/* ---- questions ---- */

bool
mcdp_rbuf_contains(const Rbuf *set, uint64 id)
{
	const roaring_bitmap_t *bits = get_part(set, id >> 32);

	return bits != NULL && roaring_bitmap_contains(bits, (uint32) id);
}

uint64
mcdp_rbuf_cardinality(const Rbuf *set)
{
	uint64		sum = 0;

	for (uint32 i = 0; i < set->num; i++)
		sum += roaring_bitmap_get_cardinality(set->parts[i].bits);
	return sum;
}

bool
mcdp_rbuf_is_empty(const Rbuf *set)
{
	return set->num == 0;
}

bool
mcdp_rbuf_equals(const Rbuf *a, const Rbuf *b)
{
	if (a->num != b->num)
		return false;
	for (uint32 i = 0; i < a->num; i++)
		if (a->parts[i].key != b->parts[i].key ||
			!roaring_bitmap_equals(a->parts[i].bits, b->parts[i].bits))
			return false;
	return true;
}

bool
mcdp_rbuf_min(const Rbuf *set, uint64 *id)
{
	if (set->num == 0)
		return false;
	*id = (uint64) set->parts[0].key << 32 |
		roaring_bitmap_minimum(set->parts[0].bits);
	return true;
}

bool
mcdp_rbuf_max(const Rbuf *set, uint64 *id)
{
	const RbufPart *last;

	if (set->num == 0)
		return false;
	last = &set->parts[set->num - 1];
	*id = (uint64) last->key << 32 | roaring_bitmap_maximum(last->bits);
	return true;
}

uint64
mcdp_rbuf_rank(const Rbuf *set, uint64 id)
{
	uint64		sum = 0;

	for (uint32 i = 0; i < set->num && set->parts[i].key <= id >> 32; i++)
	{
		if (set->parts[i].key == id >> 32)
			sum += roaring_bitmap_rank(set->parts[i].bits, (uint32) id);
		else
			sum += roaring_bitmap_get_cardinality(set->parts[i].bits);
	}
	return sum;
}

bool
mcdp_rbuf_nth(const Rbuf *set, uint64 n, uint64 *id)
{
	for (uint32 i = 0; i < set->num; i++)
	{
		uint64		ids = roaring_bitmap_get_cardinality(set->parts[i].bits);
		uint32		low;

		if (n < ids)
		{
			if (!roaring_bitmap_select(set->parts[i].bits, (uint32) n, &low))
				elog(ERROR, "could not select an id of a bitmap");
			*id = (uint64) set->parts[i].key << 32 | low;
			return true;
		}
		n -= ids;
	}
	return false;
}

/* ---- algebra ---- */

/*
 * Makes parts for the keys that only "with" has, as copies of its own.  The
 * keys that both have are marked in "both" (one flag per part of with).
 */
static void
adopt_missing(Rbuf *into, const Rbuf *with, bool *both)
{
	uint32		i = 0;
	uint32		missing = 0;
	uint32		to;

	for (uint32 j = 0; j < with->num; j++)
	{
		while (i < into->num && into->parts[i].key < with->parts[j].key)
			i++;
		both[j] = i < into->num && into->parts[i].key == with->parts[j].key;
		if (!both[j])
			missing++;
	}
	if (missing == 0)
		return;

	/* merge from the back, new parts empty-handed until all is in place */
	reserve(into, (uint64) into->num + missing);
	i = into->num;
	to = into->num + missing;
	for (uint32 j = with->num; j > 0; j--)
	{
		if (both[j - 1])
			continue;
		while (i > 0 && into->parts[i - 1].key > with->parts[j - 1].key)
			into->parts[--to] = into->parts[--i];
		to--;
		into->parts[to].key = with->parts[j - 1].key;
		into->parts[to].bits = NULL;
	}
	into->num += missing;

	i = 0;
	for (uint32 j = 0; j < with->num; j++)
	{
		if (both[j])
			continue;
		while (into->parts[i].key < with->parts[j].key)
			i++;
		into->parts[i].bits = roaring_bitmap_copy(with->parts[j].bits);
		if (into->parts[i].bits == NULL)
			out_of_memory();
		CHECK_FOR_INTERRUPTS();
	}
}

static bool *
make_flags(uint32 num)
{
	return palloc_extended(Max(num, 1), MCXT_ALLOC_HUGE);
}

void
mcdp_rbuf_or(Rbuf *into, const Rbuf *with)
{
	bool	   *both;

	if (into == with || with->num == 0)
		return;
	both = make_flags(with->num);
	adopt_missing(into, with, both);
	for (uint32 j = 0; j < with->num; j++)
	{
		if (both[j])
			roaring_bitmap_or_inplace(make_part(into, with->parts[j].key),
									  with->parts[j].bits);
		CHECK_FOR_INTERRUPTS();
	}
	pfree(both);
}

void
mcdp_rbuf_xor(Rbuf *into, const Rbuf *with)
{
	bool	   *both;

	if (into == with)
	{
		mcdp_rbuf_clear(into);
		return;
	}
	if (with->num == 0)
		return;
	both = make_flags(with->num);
	adopt_missing(into, with, both);
	for (uint32 j = 0; j < with->num; j++)
	{
		if (both[j])
			roaring_bitmap_xor_inplace(make_part(into, with->parts[j].key),
									   with->parts[j].bits);
		CHECK_FOR_INTERRUPTS();
	}
	drop_empty(into, 0);
	pfree(both);
}

void
mcdp_rbuf_and(Rbuf *into, const Rbuf *with)
{
	if (into == with)
		return;
	for (uint32 i = 0; i < into->num; i++)
	{
		const roaring_bitmap_t *bits = get_part(with, into->parts[i].key);

		if (bits == NULL)
			free_bits(&into->parts[i]);
		else
			roaring_bitmap_and_inplace(into->parts[i].bits, bits);
	}
	drop_empty(into, 0);
}

void
mcdp_rbuf_andnot(Rbuf *into, const Rbuf *with)
{
	if (into == with)
	{
		mcdp_rbuf_clear(into);
		return;
	}
	for (uint32 i = 0; i < into->num; i++)
	{
		const roaring_bitmap_t *bits = get_part(with, into->parts[i].key);

		if (bits != NULL)
			roaring_bitmap_andnot_inplace(into->parts[i].bits, bits);
	}
	drop_empty(into, 0);
}

/* ---- streaming ---- */

void
mcdp_rbuf_iter_init_at(RbufIter *it, const Rbuf *set, uint64 first)
{
	it->set = set;
	it->part = find_part(set, first >> 32);
	it->next_in_part = 0;
	if (it->part < set->num && set->parts[it->part].key == first >> 32)
		it->next_in_part = first & LOW_MAX;
	it->pos = it->filled = 0;
	it->high = 0;
}

void
mcdp_rbuf_iter_init(RbufIter *it, const Rbuf *set)
{
	mcdp_rbuf_iter_init_at(it, set, 0);
}

/*
 * Reads the next batch; false at the end.  CRoaring's iterator is set up anew
 * for every batch, so that RbufIter needs none of its types.
 */
bool
mcdp_rbuf_iter_fill(RbufIter *it)
{
	for (; it->part < it->set->num; it->part++, it->next_in_part = 0)
	{
		const RbufPart *part = &it->set->parts[it->part];
		roaring_uint32_iterator_t from;

		if (it->next_in_part > LOW_MAX)
			continue;
		ITER_INIT(part->bits, &from);
		if (it->next_in_part > 0 &&
			!ITER_SEEK(&from, (uint32) it->next_in_part))
			continue;
		it->filled = ITER_READ(&from, it->batch, RBUF_ITER_BATCH);
		it->pos = 0;
		if (it->filled == 0)
			continue;
		it->high = (uint64) part->key << 32;
		it->next_in_part = (uint64) it->batch[it->filled - 1] + 1;
		return true;
	}
	it->pos = it->filled = 0;
	return false;
}
