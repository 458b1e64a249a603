/*-------------------------------------------------------------------------
 *
 * rbuf_set.h
 *	  What a set is made of: its parts, each a bitmap of CRoaring.
 *
 * Written against the 32-bit C interface of CRoaring 0.2.66 (Debian 12);
 * 4.x differs in a few names only, see the macros in rbuf.c.
 *
 * A set is an array of parts in ascending order of key, each a Roaring bitmap
 * that is not empty.  Whatever could raise an error while a bitmap of CRoaring
 * has no owner is done before it is made.
 *
 * For rbuf.c and rbuf_portable.c only.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_set.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RBUF_SET_H
#define MCDP_RBUF_SET_H

#include "utils/memutils.h"

#include "core/rbuf_form.h"
#include "core/rbuf_library.h"

#define ADD_BATCH			4096	/* ids handed to CRoaring at a time */

typedef struct RbufPart
{
	uint32		key;			/* high 32 bits of the ids */
	roaring_bitmap_t *bits;		/* low 32 bits; NULL only while being made */
} RbufPart;

struct Rbuf
{
	MemoryContext cx;
	MemoryContextCallback callback;
	uint32		num;			/* parts in use */
	uint32		max;			/* parts there is room for */
	RbufPart   *parts;			/* NULL when max = 0 */
};

static inline void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("Failed while making a bitmap.")));
}

/* Room for at least num parts in all. */
static inline void
reserve(Rbuf *set, uint64 num)
{
	uint64		max = Max(set->max, 1);

	if (num <= set->max)
		return;
	while (max < num)
		max *= 2;
	if (max > PG_UINT32_MAX)
		out_of_memory();
	if (set->parts == NULL)
		set->parts = MemoryContextAllocHuge(set->cx, max * sizeof(RbufPart));
	else
		set->parts = repalloc_huge(set->parts, max * sizeof(RbufPart));
	set->max = max;
}

/* Index of the first part whose key is not less than key. */
static inline uint32
find_part(const Rbuf *set, uint32 key)
{
	uint32		lo = 0;
	uint32		hi = set->num;

	if (hi > 0 && set->parts[hi - 1].key < key)
		return hi;
	while (lo < hi)
	{
		uint32		mid = lo + (hi - lo) / 2;

		if (set->parts[mid].key < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The part of that key, made empty when missing: the caller then fills it. */
static inline roaring_bitmap_t *
make_part(Rbuf *set, uint32 key)
{
	uint32		i = find_part(set, key);
	roaring_bitmap_t *bits;

	if (i < set->num && set->parts[i].key == key)
		return set->parts[i].bits;
	reserve(set, (uint64) set->num + 1);
	bits = roaring_bitmap_create();
	if (bits == NULL)
		out_of_memory();
	memmove(&set->parts[i + 1], &set->parts[i],
			(set->num - i) * sizeof(RbufPart));
	set->parts[i].key = key;
	set->parts[i].bits = bits;
	set->num++;
	return bits;
}

#endif							/* MCDP_RBUF_SET_H */
