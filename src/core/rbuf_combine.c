/*-------------------------------------------------------------------------
 *
 * rbuf_combine.c
 *	  Set algebra on bitmaps as bytes, without making sets of them.
 *
 * Takes trusted bytes of the canonical 64-bit form (rbuf.h), walks the
 * containers of both in step and writes the result as it goes.
 *
 * How containers meet (ids in brackets as they are kept):
 *		bit set, bit set	64 bits at a time
 *		bit set, array		look up or change the bit of each id
 *		bit set, runs		the runs made a bit set
 *		array, array		merged; and: galloping when one is much shorter
 *		anything else		both as lists of runs (an id is a run of one)
 * A combination with a bit set is made in a bit set and then brought into
 * whatever form is shortest.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_combine.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/rbuf_write.h"

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

static inline bool
has_bit(const char *bits, uint32 low)
{
	return (((const unsigned char *) bits)[low / 8] >> (low % 8)) & 1;
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

			mcdp_rbuf_write_ids(w, a->key, s->ids, n);
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
		mcdp_rbuf_write_bits(w, a->key, s->bits);
	}
	else if (a->kind == KIND_ARRAY && b->kind == KIND_ARRAY)
	{
		uint32		n = merge_arrays(op, s->ids, (const u16 *) a->data, a->num,
									 (const u16 *) b->data, b->num);

		if (n <= MAX_ARRAY_IDS)
			mcdp_rbuf_write_ids(w, a->key, s->ids, n);
		else
		{
			memset(s->bits, 0, BITSET_BYTES);
			combine_bits_array(RBUF_OR, s->bits, s->ids, n);
			mcdp_rbuf_write_bits(w, a->key, s->bits);
		}
	}
	else
	{
		uint32		n = merge_runs(op, s->runs, as_runs(s->runs_a, a), a->num,
								   as_runs(s->runs_b, b), b->num);

		mcdp_rbuf_write_runs(w, a->key, s->runs, n);
	}
}

/* ---- whole bitmaps ---- */

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
		mcdp_rbuf_writer_init(&w, prefix, Min(len_a, len_b), Min(in_a, in_b), runs);
	else if (op == RBUF_ANDNOT)
		mcdp_rbuf_writer_init(&w, prefix, len_a, in_a, runs);
	else
		mcdp_rbuf_writer_init(&w, prefix, Max(len_a, len_b) + Min(len_a, len_b) / 2,
							  in_either, runs);

	while (!wa.done || !wb.done)
	{
		if (wa.key < wb.key)
		{
			if (keep_a)
				mcdp_rbuf_write_same(&w, &wa);
			else if (wb.done)
				break;
			walk_next(&wa);
		}
		else if (wb.key < wa.key)
		{
			if (keep_b)
				mcdp_rbuf_write_same(&w, &wb);
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
	return mcdp_rbuf_writer_finish(&w, len, cardinality);
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
	mcdp_rbuf_writer_init(&w, prefix, 0, most, runs);
	walk_to(&walk, first >> 16);
	for (; !walk.done && walk.key <= last_inclusive >> 16; walk_next(&walk))
	{
		uint32		lo = walk.key == first >> 16 ? first & 0xffff : 0;
		uint32		hi = walk.key == last_inclusive >> 16 ? last_inclusive & 0xffff : 0xffff;

		CHECK_FOR_INTERRUPTS();
		if (lo == 0 && hi == 0xffff)
		{
			mcdp_rbuf_write_same(&w, &walk);
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
	return mcdp_rbuf_writer_finish(&w, range_len, cardinality);
}
