/*-------------------------------------------------------------------------
 *
 * chunk_set.h
 *	  Chunks as bit sets, at full speed.
 *
 * chunk.h describes chunks and how their bytes are checked.  What stands in
 * tag_chunk was written by mcdp_chunk_write; here it is read without all of
 * that: bytes that are no chunk may give some set, never a wild access.
 *
 * A bit set is CHUNK_BITS_BYTES bytes at any alignment: one may stand in a
 * page of a table.
 *
 * Nothing here raises an error or allocates memory.  Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/chunk_set.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_CHUNK_SET_H
#define MCDP_CHUNK_SET_H

#include "core/chunk.h"

/* Stored bytes in short. */
typedef struct ChunkForm
{
	const uint8 *bits;			/* they are this bit set; or NULL */
	const uint8 *array;			/* they are these positions, 2 bytes each; or NULL */
	uint32		num;			/* how many positions, or runs */
	bool		full;			/* every position */
} ChunkForm;

/* False when the bytes are none of the three encodings. */
extern bool mcdp_chunk_form(const uint8 *bytes, size_t len, ChunkForm *form);

/* Expand into a bit set; false when they are no chunk, as far as is looked at. */
extern bool mcdp_chunk_expand_fast(const uint8 *bytes, size_t len, uint8 *bits);

/* into = a op b; into may be one of them. */
extern void mcdp_bits_and(uint8 *into, const uint8 *a, const uint8 *b);
extern void mcdp_bits_or(uint8 *into, const uint8 *a, const uint8 *b);
extern void mcdp_bits_andnot(uint8 *into, const uint8 *a, const uint8 *b);
extern void mcdp_bits_not(uint8 *into, const uint8 *a);

extern uint32 mcdp_bits_count(const uint8 *a);
extern uint32 mcdp_bits_and_count(const uint8 *a, const uint8 *b);
extern bool mcdp_bits_empty(const uint8 *a);

/* With arrays of positions, as stored. */
extern void mcdp_bits_set_array(uint8 *bits, const uint8 *array, uint32 num);
extern void mcdp_bits_clear_array(uint8 *bits, const uint8 *array, uint32 num);

/*
 * Those of an array that are in a set, or that are not; returns how many.
 * "into" may be the array itself.
 */
extern uint32 mcdp_array_filter(uint8 *into, const uint8 *array, uint32 num,
								const uint8 *bits, bool in);
extern uint32 mcdp_array_filter_array(uint8 *into, const uint8 *array, uint32 num,
									  const uint8 *other, uint32 num_other, bool in);

/* How many of an array's positions are in the bit set. */
extern uint32 mcdp_bits_array_count(const uint8 *bits, const uint8 *array, uint32 num);

static inline bool
mcdp_bits_has(const uint8 *bits, unsigned position)
{
	return (bits[position / 8] >> position % 8) & 1;
}

static inline void
mcdp_bits_set(uint8 *bits, unsigned position, bool present)
{
	uint8		bit = (uint8) (1 << position % 8);

	if (present)
		bits[position / 8] |= bit;
	else
		bits[position / 8] &= (uint8) ~bit;
}

#endif							/* MCDP_CHUNK_SET_H */
