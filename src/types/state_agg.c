/*-------------------------------------------------------------------------
 *
 * state_agg.c
 *	  Memory of the states of aggregates.
 *
 * All states of one aggregate context share one memory context, a child of it.
 * With one for each group, a hash aggregate would walk them all whenever it
 * adds a group (it adds up the memory of its children): quadratic.  Sharing is
 * safe because a state is always changed in place: nobody replaces it, so
 * nobody deletes it, with its context, before the aggregate context goes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/state_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/memnodes.h"
#include "types/state.h"
#include "utils/memutils.h"

MemoryContext
mcdp_state_context(MemoryContext agg_context, const char *name)
{
	for (MemoryContext cx = agg_context->firstchild; cx != NULL; cx = cx->nextchild)
	{
		if (cx->name == name)
			return cx;
	}
	return AllocSetContextCreateInternal(agg_context, name, ALLOCSET_DEFAULT_SIZES);
}
