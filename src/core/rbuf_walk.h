/*-------------------------------------------------------------------------
 *
 * rbuf_walk.h
 *	  A walk over the containers of a bitmap as bytes.
 *
 * Takes trusted bytes of the canonical 64-bit form (rbuf.h).  For
 * rbuf_count.c, rbuf_write.c and rbuf_combine.c only: what they do with every
 * container is here, to be inlined.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_walk.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RBUF_WALK_H
#define MCDP_RBUF_WALK_H

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

static inline void
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

static inline void
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

/* The first place from "from" on that holds no less than low; num if none. */
static inline uint32
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

#endif							/* MCDP_RBUF_WALK_H */
