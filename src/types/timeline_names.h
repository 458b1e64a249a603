/*-------------------------------------------------------------------------
 *
 * timeline_names.h
 *	  Names of a timeline that is being built: each stands once, and its code is
 *	  its place, in the order they came until they are sorted.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_names.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TIMELINE_NAMES_H
#define MCDP_TIMELINE_NAMES_H

#include "types/timeline_codec.h"

typedef struct TimelineNames
{
	MemoryContext cx;
	uint32		count;
	uint32		space;			/* of items */
	TimelineString *items;
	char	   *bytes;
	uint32		used;			/* of bytes */
	uint32		bytes_space;
	uint32	   *slots;			/* hash table: index + 1, 0 = free; or NULL */
	uint32		mask;			/* number of slots - 1 */
	uint32		last;			/* the name found last */
	bool		sorted;
} TimelineNames;

/* Everything lives in cx. */
extern void mcdp_timeline_names_init(TimelineNames *nt, MemoryContext cx);

/* The code of a name, which is added when it is new. */
extern uint32 mcdp_timeline_names_code(TimelineNames *nt, const char *s, uint32 len);

/*
 * Puts the names in order.  Returns new_code[old code] (palloc'd), or NULL
 * when they were in order already.
 */
extern uint32 *mcdp_timeline_names_sort(TimelineNames *nt);

extern TimelineStrings mcdp_timeline_names_strings(const TimelineNames *nt);

#endif							/* MCDP_TIMELINE_NAMES_H */
