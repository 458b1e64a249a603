/*-------------------------------------------------------------------------
 *
 * components.h
 *	  connected_components and component_sizes: shared by the functions and
 *	  the plan node that runs them in FROM.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/components.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_COMPONENTS_H
#define MCDP_COMPONENTS_H

#include "core/union_find.h"

/* The graph of a query's rows, in "context"; both arguments are texts, "limit" how much memory it may use. */
extern McdpGraph *mcdp_components_read(const char *query, Size limit, MemoryContext context);

/* The argument "memory" in bytes; NULL means the default. */
extern Size mcdp_components_memory(const char *memory);

extern pg_noreturn void mcdp_components_out_of_memory(McdpGraph *graph, Size limit);

/* The plan node; from _PG_init. */
extern void mcdp_components_scan_init(void);

#endif							/* MCDP_COMPONENTS_H */
