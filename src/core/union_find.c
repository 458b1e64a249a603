/*-------------------------------------------------------------------------
 *
 * union_find.c
 *	  Connected components of a graph whose nodes are texts.
 *
 * A dictionary turns each text into the number of a node: open addressing
 * over a 64-bit hash, whose low half says where to look and whose high half
 * is kept beside the number; a text is compared in full before it counts as
 * found.  Components are a forest over the numbers: union by size, path
 * halving.
 *
 * Nearly all of the time goes into waiting for memory: each text is three
 * places at no particular address (slot, node, bytes), and there are millions
 * of them.  So edges are gathered into batches, and a batch goes through one
 * place after the other, asking for the next place of all its texts before it
 * looks at the first.  Naming the components at the end does the same.
 *
 * Memory: an array of slots (8 bytes, at most three in four taken) and, for as
 * many nodes as they can take, a pointer and a link (8 + 4 bytes): 17 bytes
 * for each slot, which is 23 to 46 for each node.  The texts stand one after
 * the other in blocks, as varlena values with a short header where it fits,
 * so that they can be handed out as they are.  The old slots are freed before
 * the new ones are made: these are filled from the texts.
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

#include "core/union_find.h"

#define FIRST_SLOTS		4096
#define SLOTS_FILL(n)	((n) / 4 * 3)
#define SLOTS_BYTES(n)	((n) * 8 + SLOTS_FILL(n) * 12)
#define MAX_SLOTS		(UINT64CONST(1) << 31)

#define FIRST_BLOCK		(8 * 1024)	/* of texts */
#define LAST_BLOCK		(32 * 1024 * 1024)
#define LARGE_PAGES_FROM (4 * 1024 * 1024)

#define BATCH_EDGES		256
#define BATCH_BYTES		(32 * 1024)

/* how many nodes ahead memory is asked for in walks over all of them */
#define AHEAD			16

/* a text of the present batch */
typedef struct Probe
{
	const char *bytes;
	uint32		len;
	uint32		node;
	uint64		hash;
} Probe;

struct McdpGraph
{
	MemoryContext context;
	Size		limit;
	Size		used;
	int64		num_edges;

	/* dictionary: high half of the hash, number of the node + 1; 0 = free */
	uint64	   *slots;
	uint64		num_slots;		/* a power of two */

	uint32		num_nodes;
	struct varlena **text;

	/*
	 * While edges come: the node above, or -size of the tree for its root.
	 * When finished: the root, or ~(the smallest node) for a root.
	 */
	int32	   *link;

	char	   *block;			/* free rest of the last block of texts */
	Size		block_left;
	Size		next_block;

	Probe		name[2 * BATCH_EDGES];
	int			num_names;
	Size		batch_used;
	char		batch[BATCH_BYTES];
};

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
static void *
resize(McdpGraph *g, void *p, Size old_bytes, Size bytes)
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

static inline bool
fits(McdpGraph *g, Size more)
{
	return more <= g->limit && g->used <= g->limit - more;
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
			struct varlena *text = g->text[(uint32) slot - 1];

			if (VARSIZE_ANY_EXHDR(text) == n->len &&
				memcmp(VARDATA_ANY(text), n->bytes, n->len) == 0)
				return s;
		}
	}
}

static void
free_slots(McdpGraph *g)
{
	if (g->slots)
	{
		pfree(g->slots);
		g->slots = NULL;
		g->used -= g->num_slots * sizeof(uint64);
	}
}

/* Double the dictionary and what goes with it, or make the first one. */
static bool
grow(McdpGraph *g)
{
	uint64		old_slots = g->num_slots;
	uint64		num_slots = old_slots > 0 ? old_slots * 2 : FIRST_SLOTS;
	uint64		mask = num_slots - 1;

	free_slots(g);
	if (num_slots > MAX_SLOTS || !fits(g, SLOTS_BYTES(num_slots) - SLOTS_FILL(old_slots) * (sizeof(g->text[0]) + sizeof(g->link[0]))))
		return false;
	g->text = resize(g, g->text, SLOTS_FILL(old_slots) * sizeof(g->text[0]), SLOTS_FILL(num_slots) * sizeof(g->text[0]));
	g->link = resize(g, g->link, SLOTS_FILL(old_slots) * sizeof(g->link[0]), SLOTS_FILL(num_slots) * sizeof(g->link[0]));
	g->slots = resize(g, NULL, 0, num_slots * sizeof(g->slots[0]));
	memset(g->slots, 0, num_slots * sizeof(g->slots[0]));
	g->num_slots = num_slots;

	for (uint32 i = 0; i < g->num_nodes; i += AHEAD)
	{
		uint32		num = Min(AHEAD, g->num_nodes - i);
		uint64		hash[AHEAD];

		for (uint32 k = 0; k < num; k++)
		{
			struct varlena *t = g->text[i + k];

			hash[k] = hash_bytes_64(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
			__builtin_prefetch(&g->slots[hash[k] & mask], 1);
		}
		for (uint32 k = 0; k < num; k++)
		{
			uint64		s = hash[k] & mask;

			while (g->slots[s] != 0)
				s = (s + 1) & mask;
			g->slots[s] = (hash[k] >> 32 << 32) | (i + k + 1);
		}
		if (i % (AHEAD * 4096) == 0)
			CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* Room for a text in the blocks, or NULL. */
static struct varlena *
text_alloc(McdpGraph *g, Size bytes)
{
	char	   *result;

	if (bytes > g->block_left)
	{
		Size		want = bytes > g->next_block / 8 ? bytes : g->next_block;

		if (!fits(g, want))
			return NULL;
		result = resize(g, NULL, 0, want);
		if (want == bytes)
			return (struct varlena *) result;	/* one of its own */
		g->block = result;
		g->block_left = want;
		g->next_block = Min(g->next_block * 2, LAST_BLOCK);
	}
	result = g->block;
	g->block += bytes;
	g->block_left -= bytes;
	return (struct varlena *) result;
}

/* The number of a text's node, made when there is none.  There is room in the dictionary. */
static bool
find_node(McdpGraph *g, Probe *n)
{
	uint64		s = find_slot(g, n);

	if (g->slots[s] == 0)
	{
		Size		header = n->len + VARHDRSZ_SHORT <= VARATT_SHORT_MAX ? VARHDRSZ_SHORT : VARHDRSZ;
		struct varlena *text;

		if (header == VARHDRSZ_SHORT)
		{
			text = text_alloc(g, n->len + header);
			if (text == NULL)
				return false;
			SET_VARSIZE_SHORT(text, n->len + header);
		}
		else
		{
			/* four bytes of header are read as a number: aligned */
			Size		skip = (uintptr_t) g->block & 3 ? 4 - ((uintptr_t) g->block & 3) : 0;

			skip = Min(skip, g->block_left);
			g->block += skip;
			g->block_left -= skip;
			text = text_alloc(g, n->len + header);
			if (text == NULL)
				return false;
			SET_VARSIZE(text, n->len + header);
		}
		memcpy((char *) text + header, n->bytes, n->len);
		g->text[g->num_nodes] = text;
		g->link[g->num_nodes] = -1;
		g->num_nodes++;
		g->slots[s] = (n->hash >> 32 << 32) | g->num_nodes;
	}
	n->node = (uint32) g->slots[s] - 1;
	return true;
}

static inline uint32
find_root(int32 *link, uint32 node)
{
	int32		up;

	while ((up = link[node]) >= 0)
	{
		int32		above = link[up];

		if (above < 0)
			return up;
		link[node] = above;
		node = above;
	}
	return node;
}

static inline void
join(int32 *link, uint32 a, uint32 b)
{
	a = find_root(link, a);
	b = find_root(link, b);
	if (a == b)
		return;
	if (link[a] > link[b])		/* a is the smaller tree */
	{
		uint32		swap = a;

		a = b;
		b = swap;
	}
	link[a] += link[b];
	link[b] = a;
}

/* Take the edges gathered: see the head of this file. */
static bool
take_batch(McdpGraph *g)
{
	Probe	   *name = g->name;
	int			num = g->num_names;
	uint64		mask;

	g->num_names = 0;
	g->batch_used = 0;
	while (g->num_nodes + num > SLOTS_FILL(g->num_slots))
	{
		if (!grow(g))
			return false;
	}

	mask = g->num_slots - 1;
	for (int i = 0; i < num; i++)
		__builtin_prefetch(&g->slots[name[i].hash & mask]);
	/* The first one with the same hash is very likely it. */
	for (int i = 0; i < num; i++)
	{
		uint64		s = name[i].hash & mask;

		while (g->slots[s] != 0 && g->slots[s] >> 32 != name[i].hash >> 32)
			s = (s + 1) & mask;
		name[i].node = (uint32) g->slots[s];
		if (name[i].node != 0)
			__builtin_prefetch(&g->text[name[i].node - 1]);
	}
	for (int i = 0; i < num; i++)
	{
		if (name[i].node != 0)
		{
			__builtin_prefetch(g->text[name[i].node - 1]);
			__builtin_prefetch(&g->link[name[i].node - 1], 1);
		}
	}
	for (int i = 0; i < num; i++)
	{
		if (name[i].len > 0 && !find_node(g, &name[i]))
			return false;
	}
	for (int i = 0; i < num; i++)
	{
		int32		up = name[i].len > 0 ? g->link[name[i].node] : -1;

		if (up >= 0)
			__builtin_prefetch(&g->link[up], 1);
	}
	for (int i = 0; i < num; i += 2)
	{
		if (name[i].len > 0 && name[i + 1].len > 0)
			join(g->link, name[i].node, name[i + 1].node);
	}
	return true;
}

static inline void
batch_name(McdpGraph *g, const char *bytes, uint32 len, bool copy)
{
	Probe	   *n = &g->name[g->num_names++];

	if (copy && len > 0)
	{
		bytes = memcpy(g->batch + g->batch_used, bytes, len);
		g->batch_used += len;
	}
	n->bytes = bytes;
	n->len = len;
	n->hash = hash_bytes_64(bytes, len);
}

bool
mcdp_graph_add(McdpGraph *g, const char *a, uint32 a_len, const char *b, uint32 b_len)
{
	Size		bytes = (Size) a_len + b_len;

	g->num_edges++;
	if (g->num_names == 2 * BATCH_EDGES || bytes > BATCH_BYTES - g->batch_used)
	{
		if (!take_batch(g))
			return false;
	}
	batch_name(g, a, a_len, bytes <= BATCH_BYTES);
	batch_name(g, b, b_len, bytes <= BATCH_BYTES);
	/* texts that are too long to be gathered are taken where they are */
	return bytes <= BATCH_BYTES || take_batch(g);
}

/* Order of two texts by bytes. */
static inline int
compare_texts(struct varlena *a, struct varlena *b)
{
	Size		a_len = VARSIZE_ANY_EXHDR(a);
	Size		b_len = VARSIZE_ANY_EXHDR(b);
	int			c = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_len, b_len));

	return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

bool
mcdp_graph_finish(McdpGraph *g)
{
	int32	   *link;

	if (!take_batch(g))
		return false;
	free_slots(g);
	link = g->link;

	/* Every node under its root ... */
	for (uint32 i = 0; i < g->num_nodes; i++)
	{
		if (i + AHEAD < g->num_nodes && link[i + AHEAD] >= 0)
			__builtin_prefetch(&link[link[i + AHEAD]]);
		if (link[i] >= 0)
			link[i] = find_root(link, i);
		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	/* ... which says who is the smallest: at first itself, unless there is but one. */
	for (uint32 i = 0; i < g->num_nodes; i++)
	{
		if (link[i] < 0)
			link[i] = ~(int32) i;
	}
	for (uint32 i = 0; i < g->num_nodes; i++)
	{
		uint32		root = link[i];

		if (i + 3 * AHEAD < g->num_nodes && link[i + 3 * AHEAD] >= 0)
			__builtin_prefetch(&link[link[i + 3 * AHEAD]], 1);
		if (i + 2 * AHEAD < g->num_nodes && link[i + 2 * AHEAD] >= 0)
			__builtin_prefetch(&g->text[~link[link[i + 2 * AHEAD]]]);
		if (i + AHEAD < g->num_nodes && link[i + AHEAD] >= 0)
			__builtin_prefetch(g->text[~link[link[i + AHEAD]]]);
		if (link[i] >= 0 && compare_texts(g->text[i], g->text[~link[root]]) < 0)
			link[root] = ~(int32) i;
		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	return true;
}

void
mcdp_graph_names(const McdpGraph *g, uint32 first, uint32 num,
				 struct varlena **node, struct varlena **name)
{
	const int32 *link = g->link;
	uint32		ahead = Min(num, g->num_nodes - Min(first + num, g->num_nodes));

	/* for the next call, if it goes on from here */
	for (uint32 i = first + num; i < first + num + ahead; i++)
	{
		if (link[i] >= 0)
			__builtin_prefetch(&link[link[i]]);
	}
	for (uint32 i = 0; i < num; i++)
	{
		int32		up = link[first + i];

		name[i] = (struct varlena *) &g->text[~(up < 0 ? up : link[up])];
		__builtin_prefetch(name[i]);
	}
	for (uint32 i = 0; i < num; i++)
	{
		node[i] = g->text[first + i];
		name[i] = *(struct varlena **) name[i];
		__builtin_prefetch(name[i]);
	}
}

McdpGraph *
mcdp_graph_create(MemoryContext context, Size limit)
{
	McdpGraph  *g = MemoryContextAllocZero(context, sizeof(McdpGraph));

	g->context = context;
	g->limit = limit;
	g->used = sizeof(McdpGraph);
	g->next_block = FIRST_BLOCK;
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

Size
mcdp_graph_memory(const McdpGraph *g)
{
	return g->used;
}
