/*-------------------------------------------------------------------------
 *
 * union_find.h
 *	  Connected components of a graph whose nodes are texts.
 *
 * Wording:
 *	   - a node is a text of one byte or more, known by its bytes; nodes are
 *		 numbered from 0 in the order in which they first come up
 *	   - an edge joins two nodes; the nodes that edges join, directly or not,
 *		 are a component
 *	   - the name of a component is its smallest node, bytewise
 *
 * Usage: mcdp_graph_create, mcdp_graph_add for each edge, mcdp_graph_finish
 * once; then mcdp_graph_name for nodes in any order.
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
 * Bytes that a node takes beside its text (and the header of one or four
 * bytes): at best and at worst, the latter just after the dictionary grew.
 */
#define MCDP_NODE_BYTES_MIN	23
#define MCDP_NODE_BYTES_MAX	46

typedef struct McdpGraph McdpGraph;

/* The graph never takes more than "limit" bytes. */
extern McdpGraph *mcdp_graph_create(MemoryContext context, Size limit);

/*
 * Add an edge.  A text of length 0 is no node: it joins nothing, and the other
 * one is a node all the same.  The bytes are copied.  Returns false when the
 * graph would take more memory than it may.
 */
extern bool mcdp_graph_add(McdpGraph *g, const char *a, uint32 a_len,
						   const char *b, uint32 b_len);

/* Name the components.  Returns false as above. */
extern bool mcdp_graph_finish(McdpGraph *g);

extern uint32 mcdp_graph_nodes(const McdpGraph *g);
extern int64 mcdp_graph_edges(const McdpGraph *g);
extern Size mcdp_graph_memory(const McdpGraph *g);

/*
 * The texts of "num" nodes beginning with "first", and the names of their
 * components; they live as long as the graph does.
 */
extern void mcdp_graph_names(const McdpGraph *g, uint32 first, uint32 num,
							 struct varlena **node, struct varlena **name);

#endif							/* MCDP_UNION_FIND_H */
