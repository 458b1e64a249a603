/*-------------------------------------------------------------------------
 *
 * chunk.h
 *	  The members of one tag among 2^15 consecutive profile ids.
 *
 * Wording:
 *	   - a chunk covers the ids chunk * 2^15 … chunk * 2^15 + 32767
 *	   - a position is the distance of an id from the first of its chunk
 *	   - a bit set is the chunk in memory: 4,096 bytes, position 0 in the
 *		 lowest bit of byte 0 (the slices of rbuf.h)
 *
 * Stored form (tag_chunk.members; all numbers little endian):
 *		byte 0		format version 1 in the high half, encoding in the low one
 *		array (1)	the positions, ascending, 2 bytes each; none = empty chunk
 *		runs (2)	the runs, ascending: first and last position, 2 bytes each;
 *					between two runs at least one position is missing
 *		bits (3)	the bit set, 4,096 bytes
 * A chunk is written in the shortest of the three, the earlier one when two
 * are equally short, so equal chunks have equal bytes, and no chunk takes more
 * than 4,097.  The reader refuses any other spelling.
 *
 * Nothing here raises an error or allocates memory.  Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/chunk.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_CHUNK_H
#define MCDP_CHUNK_H

#include "core/mcdp.h"

#define CHUNK_ID_BITS		15
#define CHUNK_IDS			(1 << CHUNK_ID_BITS)
#define CHUNK_BITS_BYTES	(CHUNK_IDS / 8)
#define CHUNK_MAX_BYTES		(1 + CHUNK_BITS_BYTES)
#define CHUNK_EMPTY_BYTES	1

/* the first byte */
#define CHUNK_VERSION		1
#define CHUNK_ARRAY			1
#define CHUNK_RUNS			2
#define CHUNK_BITS			3
#define CHUNK_HEADER(e)		((uint8) (CHUNK_VERSION << 4 | (e)))

/*
 * Expand stored bytes into a bit set.  Returns false and fills "bad" when they
 * are not a chunk; the bit set is undefined then.
 */
extern bool mcdp_chunk_read(const uint8 *bytes, size_t len, uint8 *bits,
							McdpBadInput *bad);

/*
 * Write a bit set to "out", which has room for CHUNK_MAX_BYTES.  Returns the
 * number of bytes written.
 */
extern size_t mcdp_chunk_write(const uint8 *bits, uint8 *out);

/*
 * Is a position in the stored chunk?  Looks only at the bytes it needs, and
 * checks only those: false with "bad" filled when they cannot be right.
 */
extern bool mcdp_chunk_find(const uint8 *bytes, size_t len, unsigned position,
							bool *found, McdpBadInput *bad);

/* Bit sets: how many members; into = (into | added) & ~removed (NULL = none). */
extern int	mcdp_chunk_count(const uint8 *bits);
extern void mcdp_chunk_change(uint8 *into, const uint8 *added, const uint8 *removed);

#endif							/* MCDP_CHUNK_H */
