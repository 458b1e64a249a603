/*-------------------------------------------------------------------------
 *
 * rbuf_write.h
 *	  The Writer: a bitmap in canonical form, container by container.
 *
 * For rbuf_write.c and rbuf_combine.c only.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_write.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RBUF_WRITE_H
#define MCDP_RBUF_WRITE_H

#include "core/rbuf_walk.h"

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

/* expected: bytes of the result, a guess; most: containers in any part. */
extern void mcdp_rbuf_writer_init(Writer *w, size_t prefix, size_t expected,
								  uint64 most, bool expect_runs);
extern char *mcdp_rbuf_writer_finish(Writer *w, size_t *len, uint64 *cardinality);

/*
 * Containers in ascending order of key, each in the shortest form; of no ids
 * none is written.  A bit set has a word of 0 in front of it.
 */
extern void mcdp_rbuf_write_runs(Writer *w, uint64 key, const Run *runs, uint32 num);
extern void mcdp_rbuf_write_ids(Writer *w, uint64 key, const uint16 *ids, uint32 num);
extern void mcdp_rbuf_write_bits(Writer *w, uint64 key, const uint64 *bits);
extern void mcdp_rbuf_write_same(Writer *w, const Walk *from);

/* ---- bit sets to be written ---- */

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

static inline void
runs_to_bits(uint64 *bits, const Run *runs, uint32 num)
{
	memset(bits, 0, BITSET_BYTES);
	for (uint32 i = 0; i < num; i++)
		set_range(bits, runs[i].first, (uint32) runs[i].first + runs[i].more);
}

/* Changes the bits of an array's ids: or, xor, andnot. */
static inline void
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

#endif							/* MCDP_RBUF_WRITE_H */
