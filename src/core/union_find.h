/*-------------------------------------------------------------------------
 *
 * union_find.h
 *	  Connected components of a graph whose nodes are texts.
 *
 * Wording:
 *	   - a node is a text of one byte or more, known by its bytes
 *	   - an edge joins two nodes; the nodes that edges join, directly or not,
 *		 are a component, its members
 *	   - the name of a component is its smallest node, bytewise
 *
 * Usage: mcdp_graph_create; mcdp_graph_add for each edge; mcdp_graph_finish
 * once; then mcdp_graph_next_component or mcdp_graph_next_node until it returns
 * false.  For another order, mcdp_graph_sort and mcdp_graph_group before that.
 *
 * No table and no fmgr.  Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/union_find.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_UNION_FIND_H
#define MCDP_UNION_FIND_H

#include "core/mcdp.h"

/*
 * Bytes that a node takes beside its text: at best and at worst, the latter
 * just after the dictionary grew.
 */
#define MCDP_NODE_BYTES_MIN	16
#define MCDP_NODE_BYTES_MAX	34

typedef struct McdpGraph McdpGraph;

/*
 * The graph never takes more than "limit" bytes.  "expected_edges" is a guess:
 * the dictionary begins with room for about as many nodes.
 */
extern McdpGraph *mcdp_graph_create(MemoryContext context, Size limit, double expected_edges);

/*
 * Add an edge.  A text of length 0 is no node: it joins nothing, and the other
 * one is a node all the same.  The bytes are copied.  Returns false when the
 * graph would take more memory than it may.
 */
extern bool mcdp_graph_add(McdpGraph *g, const char *a, uint32 a_len,
						   const char *b, uint32 b_len);

/* All edges are there.  Returns false as above. */
extern bool mcdp_graph_finish(McdpGraph *g);

extern uint32 mcdp_graph_nodes(const McdpGraph *g);
extern int64 mcdp_graph_edges(const McdpGraph *g);

/*
 * Sort the components by name, bytewise.  Returns false as above.
 * Then, if nodes are wanted: put the members of each component side by side,
 * the components in the order sorted (or any); after this there are no numbers
 * of members any more.
 */
extern bool mcdp_graph_sort(McdpGraph *g);
extern void mcdp_graph_group(McdpGraph *g);

/* The next component, or the next node with the name of its component.  The texts live as long as the graph does. */
extern bool mcdp_graph_next_component(McdpGraph *g, struct varlena **name, uint32 *members);
extern bool mcdp_graph_next_node(McdpGraph *g, struct varlena **node, struct varlena **name);

/* Begin again. */
extern void mcdp_graph_rewind(McdpGraph *g);

#endif							/* MCDP_UNION_FIND_H */
