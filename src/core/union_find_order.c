/*-------------------------------------------------------------------------
 *
 * union_find_order.c
 *	  Handing out the components of a graph, in an order.
 *
 * Without one: roots and nodes as their records come.  Sorted: the roots by
 * their texts; the nodes in the order of their roots, by counting.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/union_find_order.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "core/union_find_layout.h"

#define TEXT_SORT sort_roots
#define TEXT_SORT_ELEMENT SortRoot
#define TEXT_SORT_ARG McdpGraph
#define TEXT_SORT_OF(root, g) text_of(node_at(g, (root)->node))
#define TEXT_SORT_AHEAD(root, g) prefetch_node(g, (root)->node)
#include "core/text_sort.h"

bool
mcdp_graph_sort(McdpGraph *g)
{
	Place		place = first_place(g);
	uint32		num = 0;
	uint32		number;
	Text	   *t;

	while ((t = walk(g, &place, &number)) != NULL)
		num += (t->up & ROOT) != 0;
	if (!fits(g, (num + 1) * sizeof(SortRoot)))
		return false;
	g->roots = mcdp_graph_resize(g, NULL, 0, (num + 1) * sizeof(SortRoot));
	place = first_place(g);
	while ((t = walk(g, &place, &number)) != NULL)
	{
		if (t->up & ROOT)
			g->roots[g->num_roots++].node = number;
	}
	sort_roots(g->roots, g->num_roots, g);
	return true;
}

/* The next root. */
static Text *
next_root(McdpGraph *g)
{
	Text	   *t;
	uint32		number;

	if (g->roots)
	{
		if (g->next == g->num_roots)
			return NULL;
		if (g->next + AHEAD < g->num_roots)
			prefetch_node(g, g->roots[g->next + AHEAD].node);
		return node_at(g, g->roots[g->next++].node);
	}
	while ((t = walk(g, &g->place, &number)) != NULL)
	{
		if (t->up & ROOT)
			break;
	}
	return t;
}

bool
mcdp_graph_next_component(McdpGraph *g, struct varlena **name, uint32 *members)
{
	Text	   *t = next_root(g);

	if (t == NULL)
		return false;
	*name = text_of(t);
	*members = t->up & ~ROOT;
	return true;
}

/* The next record, with the root right above it. */
static inline Text *
next_record(McdpGraph *g, uint32 *number, Text **root)
{
	Text	   *t;
	uint32		n;

	while (g->ahead.block <= g->place.block && g->ahead.offset < g->place.offset + AHEAD * 64 &&
		   (t = walk(g, &g->ahead, &n)) != NULL)
	{
		if (!(t->up & ROOT))
			prefetch_node(g, t->up);
	}
	t = walk(g, &g->place, number);
	if (t == NULL)
		return NULL;
	*root = t;
	if (!(t->up & ROOT))
	{
		t->up = find_root(g, *number);
		*root = node_at(g, t->up);
	}
	return t;
}

void
mcdp_graph_group(McdpGraph *g)
{
	Text	   *root;
	uint32		number;
	uint32		start = 0;

	/* A root says where its members go in the order ... */
	while ((root = next_root(g)) != NULL)
	{
		uint32		members = root->up & ~ROOT;

		root->up = ROOT | start;
		start += members;
	}

	/* ... and they take their places. */
	Assert(g->num_slots * sizeof(uint64) >= g->num_nodes * sizeof(uint32));
	mcdp_graph_rewind(g);
	for (uint32 i = 0; next_record(g, &number, &root) != NULL; i++)
	{
		((uint32 *) g->slots)[root->up++ & ~ROOT] = number;
		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	g->order = (uint32 *) g->slots;
	mcdp_graph_rewind(g);
}

bool
mcdp_graph_next_node(McdpGraph *g, struct varlena **node, struct varlena **name)
{
	Text	   *t,
			   *root;
	uint32		number;

	if (g->order)
	{
		if (g->next == g->num_nodes)
			return false;
		if (g->next + AHEAD < g->num_nodes)
			prefetch_node(g, g->order[g->next + AHEAD]);
		t = node_at(g, g->order[g->next++]);
		root = t->up & ROOT ? t : node_at(g, t->up);
	}
	else if ((t = next_record(g, &number, &root)) == NULL)
		return false;
	*node = text_of(t);
	*name = text_of(root);
	return true;
}

void
mcdp_graph_rewind(McdpGraph *g)
{
	g->place = g->ahead = first_place(g);
	g->next = 0;
}
