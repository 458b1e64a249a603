/*-------------------------------------------------------------------------
 *
 * union_find.c
 *	  Connected components of a graph whose nodes are texts.
 *
 * Nodes are records, one after the other in blocks of memory:
 *
 *		uint32	up		the node above; for a root, the number of members of its
 *						tree with ROOT set
 *		text			a varlena, its header of one byte where it fits, so that it
 *						can be handed out as it is
 *
 * A node's number is where its record begins, counted in units of 8 bytes (or
 * more, if the graph may get so large that 31 bits would not do); the high bits
 * are the block.  Records do not cross blocks; one that is longer than a block
 * takes several that are one piece of memory.
 *
 * A dictionary finds the node of a text: open addressing over a 64-bit hash,
 * whose low half says where to look and whose high half is kept beside the
 * number; a text is compared in full before it counts as found.
 *
 * Components are a forest.  The root of a tree is its smallest text, so that
 * it need not be looked for in the end; paths are halved, so m edges over n
 * nodes take O(m log n) steps at worst and hardly more than m in practice.
 *
 * Nearly all of the time goes into waiting for memory: slot and record are at
 * no particular address, and there are millions of them.  So an edge goes
 * through stages, each of which asks for the memory that the next one will look
 * at, and STEP other edges are added between two stages: the waiting overlaps
 * with the work of whoever adds them.  Grouping the members of components at
 * the end and handing them out ask ahead in the same way.
 *
 * Memory: an array of slots (8 bytes, at most three in four taken), which is 11
 * to 21 bytes for each node, and the records: 4 bytes, the text with its header
 * of one or four bytes, and up to 7 bytes of padding.  The old slots are freed
 * before the new ones are made: these are filled from the texts.  In the end
 * the slots' memory sorts the nodes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/union_find.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "core/union_find_layout.h"

#define MIN_SHIFT		3

#define FIRST_SLOTS		1024
#define SLOTS_FILL(n)	((n) / 4 * 3)
#define MAX_SLOTS		(UINT64CONST(1) << 32)

#define MIN_BLOCK_SHIFT	13
#define MAX_BLOCK_SHIFT	26
#define FIRST_BYTES		4096	/* of the first block, which grows */
#define LARGE_PAGES_FROM (4 * 1024 * 1024)

static inline uint64
mix(uint64 a, uint64 b)
{
	unsigned __int128 product = (unsigned __int128) a * b;

	return (uint64) product ^ (uint64) (product >> 64);
}

static inline uint64
load8(const char *p)
{
	uint64		x;

	memcpy(&x, p, sizeof(x));
	return x;
}

/* Multiply and fold, 16 bytes a turn; the last ones may be read twice. */
static inline uint64
hash_bytes_64(const char *p, uint32 len)
{
	const uint64 k0 = UINT64CONST(0x9E3779B97F4A7C15);
	const uint64 k1 = UINT64CONST(0xD1B54A32D192ED03);
	uint64		h = k0 ^ len;
	uint64		a = 0,
				b = 0;

	if (len >= 8)
	{
		const char *end = p + len;

		for (; end - p > 16; p += 16)
			h = mix(load8(p) ^ k1, load8(p + 8) ^ h);
		a = load8(end - p >= 8 ? p : end - 8);
		b = load8(end - 8);
	}
	else
	{
		for (uint32 i = 0; i < len; i++)
			a = a << 8 | (unsigned char) p[i];
	}
	return mix(mix(a ^ k1, b ^ h) ^ k0, k1 ^ len);
}

/*
 * Make an array, or make it longer: from "old_bytes" to "bytes".  It is read at
 * places all over, so it gets large pages where there are such.
 */
void *
mcdp_graph_resize(McdpGraph *g, void *p, Size old_bytes, Size bytes)
{
	p = p ? repalloc_huge(p, bytes) : MemoryContextAllocHuge(g->context, bytes);
#ifdef MADV_HUGEPAGE
	if (bytes >= LARGE_PAGES_FROM)
	{
		uintptr_t	from = TYPEALIGN(4096, (uintptr_t) p);
		uintptr_t	to = TYPEALIGN_DOWN(4096, (uintptr_t) p + bytes);

		(void) madvise((void *) from, to - from, MADV_HUGEPAGE);	/* only a hint */
	}
#endif
	g->used += bytes - old_bytes;
	return p;
}

/* The slot of this text, or the free one where it belongs. */
static inline uint64
find_slot(const McdpGraph *g, const Probe *n)
{
	uint64		mask = g->num_slots - 1;

	for (uint64 s = n->hash & mask;; s = (s + 1) & mask)
	{
		uint64		slot = g->slots[s];

		if (slot == 0)
			return s;
		if (slot >> 32 == n->hash >> 32)
		{
			struct varlena *text = text_of(node_at(g, (uint32) slot));

			if (VARSIZE_ANY_EXHDR(text) == n->len &&
				memcmp(VARDATA_ANY(text), n->bytes, n->len) == 0)
				return s;
		}
	}
}

/* Make a dictionary of this size, in place of the one that is there. */
static bool
make_slots(McdpGraph *g, uint64 num_slots)
{
	uint64		mask = num_slots - 1;
	Place		place = first_place(g);

	if (g->slots)
	{
		pfree(g->slots);
		g->slots = NULL;
		g->used -= g->num_slots * sizeof(uint64);
	}
	if (num_slots > MAX_SLOTS || !fits(g, num_slots * sizeof(uint64)))
		return false;
	g->slots = mcdp_graph_resize(g, NULL, 0, num_slots * sizeof(uint64));
	memset(g->slots, 0, num_slots * sizeof(uint64));
	g->num_slots = num_slots;

	for (uint32 i = 0; i < g->num_nodes; i += AHEAD)
	{
		uint32		num = Min(AHEAD, g->num_nodes - i);
		uint64		hash[AHEAD];
		uint32		number[AHEAD];

		for (uint32 k = 0; k < num; k++)
		{
			struct varlena *t = text_of(walk(g, &place, &number[k]));

			hash[k] = hash_bytes_64(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
			__builtin_prefetch(&g->slots[hash[k] & mask], 1);
		}
		for (uint32 k = 0; k < num; k++)
		{
			uint64		s = hash[k] & mask;

			while (g->slots[s] != 0)
				s = (s + 1) & mask;
			g->slots[s] = (hash[k] >> 32 << 32) | number[k];
		}
		if (i % (AHEAD * 4096) == 0)
			CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* Make room for a record: the first block grows, then there are further ones. */
static bool
make_room(McdpGraph *g, Size bytes)
{
	Size		block_size = (Size) 1 << g->block_shift;
	Size		size = block_size;
	uint32		num = 1;

	if (g->num_blocks == 1 && g->block[0].end + bytes <= block_size)
	{
		for (size = g->filling_size; size < g->block[0].end + bytes;)
			size *= 2;
		if (!fits(g, size - g->filling_size))
			return false;
		g->block[0].start = mcdp_graph_resize(g, g->block[0].start, g->filling_size, size);
		g->filling_size = size;
		return true;
	}
	if (bytes > block_size)
	{
		size = bytes;
		num = (bytes - 1) / block_size + 1;
	}
	else if (!fits(g, size))
		size = bytes;
	if (!fits(g, size) || num > g->max_blocks - g->num_blocks)
		return false;
	g->block[g->num_blocks].start = mcdp_graph_resize(g, NULL, 0, size);
	for (uint32 i = 1; i < num; i++)	/* nothing begins there */
		g->block[g->num_blocks + i].start = g->block[g->num_blocks].start + i * block_size;
	g->filling = g->num_blocks;
	g->filling_size = size;
	g->num_blocks += num;
	return true;
}

/* The number of a text's node, made when there is none.  There is room in the dictionary. */
static bool
find_node(McdpGraph *g, Probe *n)
{
	uint64		s = find_slot(g, n);

	if (g->slots[s] == 0)
	{
		Size		header = n->len + VARHDRSZ_SHORT <= VARATT_SHORT_MAX ? VARHDRSZ_SHORT : VARHDRSZ;
		Size		bytes = record_size(g, n->len + header);
		Text	   *node;

		if (bytes > g->filling_size - g->block[g->filling].end && !make_room(g, bytes))
			return false;
		n->node = (((Size) g->filling << g->block_shift) + g->block[g->filling].end) >> g->shift;
		node = node_at(g, n->node);
		node->up = ROOT | 1;
		if (header == VARHDRSZ_SHORT)
			SET_VARSIZE_SHORT(node->text, n->len + header);
		else
			SET_VARSIZE(node->text, n->len + header);
		memcpy(node->text + header, n->bytes, n->len);
		g->slots[s] = (n->hash >> 32 << 32) | n->node;
		g->block[g->filling].end += bytes;
		g->num_nodes++;
	}
	else
		n->node = (uint32) g->slots[s];
	return true;
}

static inline void
join(McdpGraph *g, uint32 a, uint32 b)
{
	Text	   *x,
			   *y;

	a = find_root(g, a);
	b = find_root(g, b);
	if (a == b)
		return;
	x = node_at(g, a);
	y = node_at(g, b);
	if (mcdp_compare_texts(text_of(x), text_of(y)) < 0)
	{
		x->up += y->up & ~ROOT;
		y->up = a;
	}
	else
	{
		y->up += x->up & ~ROOT;
		x->up = b;
	}
}

static inline void
stage_text(McdpGraph *g, Probe *n, const char *bytes, uint32 len)
{
	n->len = len;
	n->bytes = n->copy;
	memcpy(n->copy, bytes, len);
	n->hash = hash_bytes_64(n->copy, len);
	__builtin_prefetch(&g->slots[n->hash & (g->num_slots - 1)], 1);
}

/* The first one with the same hash is very likely it. */
static inline void
stage_slot(const McdpGraph *g, const Probe *n)
{
	uint64		mask = g->num_slots - 1;
	uint64		s = n->hash & mask;

	if (n->len == 0)
		return;
	while (g->slots[s] != 0 && g->slots[s] >> 32 != n->hash >> 32)
		s = (s + 1) & mask;
	if (g->slots[s] != 0)
		prefetch_node(g, (uint32) g->slots[s]);
}

static inline bool
stage_node(McdpGraph *g, Probe *n)
{
	uint32		up;

	if (n->len == 0)
		return true;
	if (g->num_nodes == SLOTS_FILL(g->num_slots) && !make_slots(g, g->num_slots * 2))
		return false;
	if (!find_node(g, n))
		return false;
	up = node_at(g, n->node)->up;
	if (!(up & ROOT))
		prefetch_node(g, up);
	return true;
}

static inline void
stage_join(McdpGraph *g, const Edge *e)
{
	if (e->end[0].len > 0 && e->end[1].len > 0)
		join(g, e->end[0].node, e->end[1].node);
}

/* Each stage for the edge whose turn it is, when "n" edges (or more, to drain the stages) were added before. */
static inline bool
advance(McdpGraph *g, uint64 n)
{
	Edge	   *ring = g->staged;
	uint64		i;

	i = n - STEP;
	if (n >= STEP && i < g->num_staged)
	{
		stage_slot(g, &ring[i % STAGED_EDGES].end[0]);
		stage_slot(g, &ring[i % STAGED_EDGES].end[1]);
	}
	i = n - 2 * STEP;
	if (n >= 2 * STEP && i < g->num_staged)
	{
		if (!stage_node(g, &ring[i % STAGED_EDGES].end[0]) ||
			!stage_node(g, &ring[i % STAGED_EDGES].end[1]))
			return false;
	}
	i = n - 3 * STEP;
	if (n >= 3 * STEP && i < g->num_staged)
		stage_join(g, &ring[i % STAGED_EDGES]);
	return true;
}

/* Take the edges that are in the stages to the end, and begin anew. */
static bool
drain(McdpGraph *g)
{
	for (uint64 n = g->num_staged; n < g->num_staged + 3 * STEP; n++)
	{
		if (!advance(g, n))
			return false;
	}
	g->num_staged = 0;
	return true;
}

bool
mcdp_graph_add(McdpGraph *g, const char *a, uint32 a_len, const char *b, uint32 b_len)
{
	Edge	   *e;

	g->num_edges++;
	if (a_len > STAGED_BYTES || b_len > STAGED_BYTES)
	{
		Edge		alone;

		if (!drain(g))
			return false;
		alone.end[0] = (Probe) {.hash = hash_bytes_64(a, a_len), .len = a_len, .bytes = a};
		alone.end[1] = (Probe) {.hash = hash_bytes_64(b, b_len), .len = b_len, .bytes = b};
		if (!stage_node(g, &alone.end[0]) || !stage_node(g, &alone.end[1]))
			return false;
		stage_join(g, &alone);
		return true;
	}

	e = &g->staged[g->num_staged % STAGED_EDGES];
	stage_text(g, &e->end[0], a, a_len);
	stage_text(g, &e->end[1], b, b_len);
	g->num_staged++;
	return advance(g, g->num_staged - 1);
}

bool
mcdp_graph_finish(McdpGraph *g)
{
	mcdp_graph_rewind(g);
	return drain(g);
}

McdpGraph *
mcdp_graph_create(MemoryContext context, Size limit, double expected_edges)
{
	McdpGraph  *g = MemoryContextAllocZero(context, sizeof(McdpGraph));
	uint64		num_slots = FIRST_SLOTS;

	g->context = context;
	g->limit = limit;
	g->used = sizeof(McdpGraph);
	g->shift = MIN_SHIFT;
	while (limit * 2 >> g->shift >= ROOT)	/* a block may be used by half */
		g->shift++;
	g->block_shift = MIN_BLOCK_SHIFT;
	while (g->block_shift < MAX_BLOCK_SHIFT && limit / 32 >> g->block_shift > 1)
		g->block_shift++;
	g->max_blocks = limit * 2 / ((Size) 1 << g->block_shift) + 1;
	g->used += g->max_blocks * sizeof(g->block[0]);
	g->block = MemoryContextAllocZero(context, g->max_blocks * sizeof(g->block[0]));
	g->num_blocks = 1;
	g->block[0].end = (Size) 1 << g->shift;
	g->filling_size = FIRST_BYTES;
	while (g->filling_size < expected_edges && g->filling_size * 2 <= (Size) 1 << g->block_shift)
		g->filling_size *= 2;
	g->block[0].start = mcdp_graph_resize(g, NULL, 0, g->filling_size);

	/* an eighth of the memory is not much if the guess is wrong */
	while (SLOTS_FILL(num_slots) < expected_edges && num_slots * 2 * sizeof(uint64) <= limit / 8)
		num_slots *= 2;
	make_slots(g, num_slots);
	return g;
}

uint32
mcdp_graph_nodes(const McdpGraph *g)
{
	return g->num_nodes;
}

int64
mcdp_graph_edges(const McdpGraph *g)
{
	return g->num_edges;
}
