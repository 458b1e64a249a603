/*-------------------------------------------------------------------------
 *
 * union_find_layout.h
 *	  The graph in memory: for union_find.c, which builds it and says what it
 *	  looks like, and union_find_order.c, which hands it out.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/union_find_layout.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_UNION_FIND_LAYOUT_H
#define MCDP_UNION_FIND_LAYOUT_H

#include "core/text_order.h"
#include "core/union_find.h"

#define ROOT			((uint32) 1 << 31)

#define STEP			16
#define STAGED_EDGES	64		/* a power of two; more than three steps */
#define STAGED_BYTES	112		/* longer texts are not staged */

/* how many nodes ahead memory is asked for in walks over all of them */
#define AHEAD			16

typedef struct Text			/* a record */
{
	uint32		up;
	char		text[FLEXIBLE_ARRAY_MEMBER];
} Text;

/* a text on its way to its node; len 0 = none */
typedef struct Probe
{
	uint64		hash;
	uint32		len;
	uint32		node;
	const char *bytes;
	char		copy[STAGED_BYTES];
} Probe;

typedef struct Edge
{
	Probe		end[2];
} Edge;

/* a root to be sorted: 8 bytes of its text, as a number */
typedef struct SortRoot
{
	uint64		key;
	uint32		node;
} SortRoot;

/* of a record */
typedef struct Place
{
	uint32		block;
	Size		offset;
} Place;

struct McdpGraph
{
	MemoryContext context;
	Size		limit;
	Size		used;
	int64		num_edges;

	/* dictionary: high half of the hash, number of the node; 0 = free */
	uint64	   *slots;
	uint64		num_slots;		/* a power of two */

	/* records; number 0 is nobody's */
	struct
	{
		char	   *start;
		Size		end;		/* bytes taken */
	}		   *block;
	uint32		filling;		/* the block where the next record goes */
	Size		filling_size;
	uint32		num_blocks;
	uint32		max_blocks;
	int			shift;			/* of a number to get bytes */
	int			block_shift;	/* of a place in bytes to get the block */
	uint32		num_nodes;

	/* when finished: what is handed out next */
	Place		place;
	Place		ahead;			/* up to here memory was asked for */
	SortRoot   *roots;			/* in the order of the texts, or NULL */
	uint32		num_roots;
	uint32	   *order;			/* the nodes, grouped; made of the slots; or NULL */
	uint32		next;			/* in roots or order */

	uint64		num_staged;		/* edges that went into the ring */
	Edge		staged[STAGED_EDGES];
};

static inline Text *
node_at(const McdpGraph *g, uint32 number)
{
	Size		place = (Size) number << g->shift;

	return (Text *) (g->block[place >> g->block_shift].start + (place & (((Size) 1 << g->block_shift) - 1)));
}

static inline struct varlena *
text_of(Text *n)
{
	return (struct varlena *) n->text;
}

static inline Size
record_size(const McdpGraph *g, Size text_size)
{
	return TYPEALIGN((Size) 1 << g->shift, offsetof(Text, text) + text_size);
}

/* The record at this place, which goes on to the next; NULL at the end. */
static inline Text *
walk(const McdpGraph *g, Place *place, uint32 *number)
{
	Text	   *t;

	while (place->offset == g->block[place->block].end)
	{
		if (place->block + 1 == g->num_blocks)
			return NULL;
		place->block++;
		place->offset = 0;
	}
	t = (Text *) (g->block[place->block].start + place->offset);
	*number = (((Size) place->block << g->block_shift) + place->offset) >> g->shift;
	place->offset += record_size(g, VARSIZE_ANY(text_of(t)));
	return t;
}

static inline Place
first_place(const McdpGraph *g)
{
	return (Place) {0, (Size) 1 << g->shift};
}

/* A record may lie on two lines of the cache. */
static inline void
prefetch_node(const McdpGraph *g, uint32 number)
{
	char	   *p = (char *) node_at(g, number);

	__builtin_prefetch(p, 1);
	__builtin_prefetch(p + 40);
}

static inline bool
fits(McdpGraph *g, Size more)
{
	return more <= g->limit && g->used <= g->limit - more;
}

/*
 * Make an array, or make it longer: from "old_bytes" to "bytes".
 */
extern void *mcdp_graph_resize(McdpGraph *g, void *p, Size old_bytes, Size bytes);

static inline uint32
find_root(const McdpGraph *g, uint32 number)
{
	for (;;)
	{
		Text	   *n = node_at(g, number);
		uint32		above;

		if (n->up & ROOT)
			return number;
		above = node_at(g, n->up)->up;
		if (above & ROOT)
			return n->up;
		number = n->up = above;
	}
}

#endif							/* MCDP_UNION_FIND_LAYOUT_H */
