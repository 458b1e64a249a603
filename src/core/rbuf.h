/*-------------------------------------------------------------------------
 *
 * rbuf.h
 *	  A mutable set of 64-bit ids in memory: the one bridge to CRoaring.
 *
 * Wording:
 *	   - an id is a number 0 .. 2^63-1
 *	   - a part holds the ids that share their high 32 bits, the part's key,
 *		 as one 32-bit Roaring bitmap of the low 32 bits
 *	   - a container is Roaring's own unit of 2^16 ids inside a part
 *	   - a slice is 2^15 ids, the unit in which tags are stored
 *
 * An Rbuf belongs to a memory context.  CRoaring allocates with malloc, which
 * an error would leak, so a reset callback of the context frees it.
 *
 * Portable form, written and read (all numbers little endian):
 *		uint64		number of parts
 *		per part, in ascending order of key:
 *		uint32		key, at most 0x7fffffff
 *		...			32-bit portable Roaring bitmap, never empty
 * The 32-bit portable form alone is read as well.  Both begin with a number
 * from which they could be told apart only by guessing: a 64-bit form is
 * recognised by being valid as a whole, and only bytes that are not are tried
 * as the 32-bit form.  No bytes are valid as both (rbuf_bytes.c says why).
 *
 * Canonical: after mcdp_rbuf_optimize equal sets give equal bytes, whatever
 * made them and whichever version of CRoaring.  A container is written as
 * runs (2 bytes, 4 per run) when that is shorter than the other form, which is
 * an array (2 bytes per id) up to 4,096 ids and a bit set (8,192 bytes) above.
 *
 * Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RBUF_H
#define MCDP_RBUF_H

#include "core/mcdp.h"

#define RBUF_MAX_ID			((uint64) PG_INT64_MAX)
#define RBUF_SLICE_IDS		32768
#define RBUF_SLICE_BYTES	(RBUF_SLICE_IDS / 8)

typedef struct Rbuf Rbuf;

/*
 * Life.  mcdp_rbuf_free gives back all but a few bytes, which stay with the
 * context.  mcdp_rbuf_read checks everything; mcdp_rbuf_read_trusted reads the
 * 64-bit form from bytes that mcdp_rbuf_write wrote.
 */
extern Rbuf *mcdp_rbuf_create(MemoryContext cx);
extern Rbuf *mcdp_rbuf_read(MemoryContext cx, const char *bytes, size_t len,
							McdpBadInput *bad);
extern Rbuf *mcdp_rbuf_read_trusted(MemoryContext cx, const char *bytes,
									size_t len);
extern Rbuf *mcdp_rbuf_copy(MemoryContext cx, const Rbuf *set);
extern void mcdp_rbuf_free(Rbuf *set);
extern void mcdp_rbuf_clear(Rbuf *set);

/* Single ids and ranges; add_sorted wants ascending ids, repeats allowed. */
extern void mcdp_rbuf_add(Rbuf *set, uint64 id);
extern void mcdp_rbuf_remove(Rbuf *set, uint64 id);
extern void mcdp_rbuf_add_sorted(Rbuf *set, const uint64 *ids, size_t n);
extern void mcdp_rbuf_add_range(Rbuf *set, uint64 first, uint64 last_inclusive);
extern void mcdp_rbuf_remove_range(Rbuf *set, uint64 first, uint64 last_inclusive);
extern void mcdp_rbuf_flip_range(Rbuf *set, uint64 first, uint64 last_inclusive);

/* Questions.  min and max are false for the empty set. */
extern bool mcdp_rbuf_contains(const Rbuf *set, uint64 id);
extern uint64 mcdp_rbuf_cardinality(const Rbuf *set);
extern bool mcdp_rbuf_is_empty(const Rbuf *set);
extern bool mcdp_rbuf_equals(const Rbuf *a, const Rbuf *b);
extern bool mcdp_rbuf_min(const Rbuf *set, uint64 *id);
extern bool mcdp_rbuf_max(const Rbuf *set, uint64 *id);
extern uint64 mcdp_rbuf_rank(const Rbuf *set, uint64 id);	/* ids <= id */
extern bool mcdp_rbuf_nth(const Rbuf *set, uint64 n, uint64 *id);	/* from 0 */

/* Algebra in place. */
extern void mcdp_rbuf_and(Rbuf *into, const Rbuf *with);
extern void mcdp_rbuf_or(Rbuf *into, const Rbuf *with);
extern void mcdp_rbuf_xor(Rbuf *into, const Rbuf *with);
extern void mcdp_rbuf_andnot(Rbuf *into, const Rbuf *with);

/* into | the set of trusted bytes of the 64-bit form. */
extern void mcdp_rbuf_or_bytes(Rbuf *into, const char *bytes, size_t len);

/* The portable 64-bit form. */
extern void mcdp_rbuf_optimize(Rbuf *set);
extern size_t mcdp_rbuf_size(const Rbuf *set);
extern void mcdp_rbuf_write(const Rbuf *set, char *out);

/*
 * Streaming in ascending order.  The set must not change meanwhile.
 */
#define RBUF_ITER_BATCH		256

typedef struct RbufIter
{
	const Rbuf *set;
	uint64		next_in_part;	/* low 32 bits to go on from; 2^32 = done */
	uint32		part;			/* index of the part being read */
	uint32		pos;			/* next id in batch */
	uint32		filled;			/* ids in batch */
	uint64		high;			/* key of the batch, shifted into place */
	uint32		batch[RBUF_ITER_BATCH];
} RbufIter;

extern void mcdp_rbuf_iter_init(RbufIter *it, const Rbuf *set);
extern void mcdp_rbuf_iter_init_at(RbufIter *it, const Rbuf *set, uint64 first);
extern bool mcdp_rbuf_iter_fill(RbufIter *it);

static inline bool
mcdp_rbuf_iter_next(RbufIter *it, uint64 *id)
{
	if (it->pos >= it->filled && !mcdp_rbuf_iter_fill(it))
		return false;
	*id = it->high | it->batch[it->pos++];
	return true;
}

/*
 * A slice (ids slice * 2^15 and on) as a bit set of 4,096 bytes, id 0 in the
 * lowest bit of byte 0.
 */
extern void mcdp_rbuf_get_slice(const Rbuf *set, uint64 slice, uint8 *bits4096);
extern void mcdp_rbuf_or_slice(Rbuf *set, uint64 slice, const uint8 *bits4096);

/*
 * rbuf_bytes.c: the portable form without building a set; no ereport, no
 * palloc, no CRoaring.  mcdp_rbuf_check accepts the 64- and the 32-bit form
 * and tells which it saw; the others take checked bytes of the 64-bit form.
 */
typedef enum RbufForm
{
	RBUF_FORM_64,
	RBUF_FORM_32
} RbufForm;

extern bool mcdp_rbuf_check(const char *bytes, size_t len, RbufForm *form,
							uint64 *cardinality, McdpBadInput *bad);
extern bool mcdp_rbuf_bytes_contains(const char *bytes, size_t len, uint64 id);
extern size_t mcdp_rbuf_bytes_part_size(const char *bytes, size_t len);

/*
 * One container of a bitmap that is not all at hand: locate it from the first
 * bytes, get those it needs, ask.  For bitmaps of one part; others are read
 * whole.
 */
typedef enum RbufWanted
{
	RBUF_FIRST_CONTAINER,
	RBUF_LAST_CONTAINER,
	RBUF_CONTAINER_OF			/* an id */
} RbufWanted;

typedef enum RbufFound
{
	RBUF_FOUND,
	RBUF_NONE,					/* there is no such container */
	RBUF_MORE,					/* needs more of the first bytes */
	RBUF_WHOLE					/* needs all bytes */
} RbufFound;

typedef struct RbufContainer
{
	uint64		high;			/* the high 48 bits of its ids, in place */
	uint32		ids;
	bool		runs;
	size_t		pos;			/* of its bytes */
	size_t		size;
} RbufContainer;

extern RbufFound mcdp_rbuf_bytes_locate(const char *bytes, size_t have, size_t len,
										RbufWanted wanted, uint64 id,
										RbufContainer *found, size_t *want);
extern void mcdp_rbuf_container_need(const RbufContainer *c, uint64 id,
									 size_t *pos, size_t *size);
extern bool mcdp_rbuf_container_contains(const RbufContainer *c,
										 const char *bytes, uint64 id);
extern uint64 mcdp_rbuf_container_min(const RbufContainer *c, const char *bytes);
extern uint64 mcdp_rbuf_container_max(const RbufContainer *c, const char *bytes);

/*
 * Algebra on trusted bytes of the canonical 64-bit form: rbuf_count.c asks,
 * rbuf_combine.c combines, rbuf_write.c makes a bitmap of ids.  Results are in
 * canonical form, palloc'ed, behind "prefix" bytes that are left to the
 * caller; len does not count those.
 */
typedef enum RbufOp
{
	RBUF_AND,
	RBUF_OR,
	RBUF_XOR,
	RBUF_ANDNOT
} RbufOp;

extern uint64 mcdp_rbuf_bytes_and_cardinality(const char *a, size_t len_a,
											  const char *b, size_t len_b);
extern bool mcdp_rbuf_bytes_intersects(const char *a, size_t len_a,
									   const char *b, size_t len_b);
extern bool mcdp_rbuf_bytes_is_subset(const char *part, size_t len_part,
									  const char *whole, size_t len_whole);
extern bool mcdp_rbuf_bytes_end(const char *bytes, size_t len, bool last,
								uint64 *id);
extern uint64 mcdp_rbuf_bytes_rank(const char *bytes, size_t len, uint64 id);
extern char *mcdp_rbuf_bytes_combine(RbufOp op, const char *a, size_t len_a,
									 const char *b, size_t len_b, size_t prefix,
									 size_t *len, uint64 *cardinality);
extern char *mcdp_rbuf_bytes_range(const char *bytes, size_t len, uint64 first,
								   uint64 last_inclusive, size_t prefix,
								   size_t *range_len, uint64 *cardinality);
extern char *mcdp_rbuf_bytes_from_ids(const uint64 *ids, size_t n, size_t prefix,
									  size_t *len, uint64 *cardinality);

#endif							/* MCDP_RBUF_H */
