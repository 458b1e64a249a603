/*-------------------------------------------------------------------------
 *
 * event_steps.h
 *	  The names of a funnel's steps, as an argument that seldom changes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_steps.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_EVENT_STEPS_H
#define MCDP_EVENT_STEPS_H

#include "types/event_match.h"
#include "utils/array.h"

typedef struct EventSteps
{
	ArrayType  *array;			/* what they were read from; NULL = nothing */
	int			n;
	const char *names[MATCH_MAX_STEPS];
	int			lengths[MATCH_MAX_STEPS];
} EventSteps;

/*
 * Reads a text[], unless it is what was read last; memory comes from cx.
 * NULL as an element, more than one dimension or too many are errors.
 */
extern void mcdp_event_steps_read(EventSteps *steps, MemoryContext cx, ArrayType *array);

/* Bit k: this is the name of step k + 1. */
static inline uint64
event_steps_of(const EventSteps *steps, const char *name, int len)
{
	uint64		mask = 0;

	for (int k = 0; k < steps->n; k++)
	{
		/* the first byte tells most names apart, without a call */
		if (steps->lengths[k] == len &&
			(len == 0 || (*steps->names[k] == *name && memcmp(steps->names[k], name, len) == 0)))
			mask |= UINT64CONST(1) << k;
	}
	return mask;
}

#endif							/* MCDP_EVENT_STEPS_H */
