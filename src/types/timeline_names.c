/*-------------------------------------------------------------------------
 *
 * timeline_names.c
 *	  Names of a timeline that is being built.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_names.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "types/timeline_names.h"
#include "utils/memutils.h"

/* A dictionary up to this size is searched from end to end. */
#define SMALL_DICT		8

void
mcdp_timeline_names_init(TimelineNames *nt, MemoryContext cx)
{
	memset(nt, 0, sizeof(*nt));
	nt->cx = cx;
	nt->sorted = true;
}

static void
hash_insert(TimelineNames *nt, uint32 index)
{
	uint32		slot = nt->items[index].hash & nt->mask;

	while (nt->slots[slot] != 0)
		slot = (slot + 1) & nt->mask;
	nt->slots[slot] = index + 1;
}

static void
hash_rebuild(TimelineNames *nt, uint32 nslots)
{
	if (nt->slots == NULL || nslots != nt->mask + 1)
	{
		if (nt->slots != NULL)
			pfree(nt->slots);
		nt->slots = NULL;
		nt->slots = MemoryContextAllocHuge(nt->cx, sizeof(uint32) * (Size) nslots);
		nt->mask = nslots - 1;
	}
	memset(nt->slots, 0, sizeof(uint32) * (Size) nslots);
	for (uint32 i = 0; i < nt->count; i++)
		hash_insert(nt, i);
}

static inline bool
name_is(const TimelineNames *nt, uint32 i, const char *s, uint32 len)
{
	return nt->items[i].len == len && memcmp(nt->bytes + nt->items[i].start, s, len) == 0;
}

static uint32
append_name(TimelineNames *nt, const char *s, uint32 len, uint32 hash)
{
	TimelineString *item;

	if (nt->count == nt->space)
	{
		uint32		space = Max(SMALL_DICT, nt->space * 2);

		if (nt->items == NULL)
			nt->items = MemoryContextAlloc(nt->cx, sizeof(TimelineString) * space);
		else
			nt->items = repalloc_huge(nt->items, sizeof(TimelineString) * (Size) space);
		nt->space = space;
	}
	if (nt->bytes == NULL || len > nt->bytes_space - nt->used)
	{
		uint64		space = Max(64, nt->bytes_space);

		while (len > space - nt->used)
			space *= 2;
		if (nt->used + (uint64) len > MaxAllocSize)
			mcdp_timeline_too_large();
		space = Min(space, MaxAllocSize);
		if (nt->bytes == NULL)
			nt->bytes = MemoryContextAlloc(nt->cx, space);
		else
			nt->bytes = repalloc(nt->bytes, space);
		nt->bytes_space = space;
	}
	item = &nt->items[nt->count];
	item->start = nt->used;
	item->len = len;
	item->hash = hash;
	memcpy(nt->bytes + nt->used, s, len);
	nt->used += len;

	if (nt->sorted && nt->count > 0)
	{
		TimelineString *prev = item - 1;

		nt->sorted = timeline_string_cmp(nt->bytes + prev->start, prev->len, s, len) < 0;
	}
	nt->count++;
	if (nt->slots != NULL)
	{
		if (nt->count > nt->mask / 2)
			hash_rebuild(nt, (nt->mask + 1) * 2);
		else
			hash_insert(nt, nt->count - 1);
	}
	return nt->count - 1;
}

uint32
mcdp_timeline_names_code(TimelineNames *nt, const char *s, uint32 len)
{
	uint32		hash;

	if (nt->last < nt->count && name_is(nt, nt->last, s, len))
		return nt->last;
	if (nt->slots == NULL)
	{
		for (uint32 i = 0; i < nt->count; i++)
		{
			if (name_is(nt, i, s, len))
				return nt->last = i;
		}
		if (nt->count < SMALL_DICT)
			return nt->last = append_name(nt, s, len, 0);
		for (uint32 i = 0; i < nt->count; i++)
			nt->items[i].hash = hash_bytes((const unsigned char *) nt->bytes + nt->items[i].start,
										   nt->items[i].len);
		hash_rebuild(nt, SMALL_DICT * 4);
	}

	hash = hash_bytes((const unsigned char *) s, len);
	for (uint32 slot = hash & nt->mask; nt->slots[slot] != 0; slot = (slot + 1) & nt->mask)
	{
		uint32		i = nt->slots[slot] - 1;

		if (nt->items[i].hash == hash && name_is(nt, i, s, len))
			return nt->last = i;
	}
	return nt->last = append_name(nt, s, len, hash);
}

static inline int
rank_cmp(const uint32 *a, const uint32 *b, const TimelineNames *nt)
{
	const TimelineString *x = &nt->items[*a],
			   *y = &nt->items[*b];

	return timeline_string_cmp(nt->bytes + x->start, x->len, nt->bytes + y->start, y->len);
}

#define ST_SORT sort_ranks
#define ST_ELEMENT_TYPE uint32
#define ST_COMPARE_ARG_TYPE const TimelineNames
#define ST_COMPARE(a, b, arg) rank_cmp(a, b, arg)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

uint32 *
mcdp_timeline_names_sort(TimelineNames *nt)
{
	uint32	   *order,
			   *new_code;
	TimelineString *items;

	if (nt->sorted)
		return NULL;
	order = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) nt->count);
	new_code = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) nt->count);
	items = MemoryContextAllocHuge(nt->cx, sizeof(TimelineString) * (Size) nt->space);
	for (uint32 i = 0; i < nt->count; i++)
		order[i] = i;
	sort_ranks(order, nt->count, nt);
	for (uint32 i = 0; i < nt->count; i++)
	{
		items[i] = nt->items[order[i]];
		new_code[order[i]] = i;
	}
	pfree(order);
	pfree(nt->items);
	nt->items = items;
	nt->sorted = true;
	nt->last = 0;
	if (nt->slots != NULL)
		hash_rebuild(nt, nt->mask + 1);
	return new_code;
}

TimelineStrings
mcdp_timeline_names_strings(const TimelineNames *nt)
{
	TimelineStrings s;

	s.count = nt->count;
	s.items = nt->items;
	s.bytes = nt->bytes;
	return s;
}
