/*-------------------------------------------------------------------------
 *
 * timeline_pattern.c
 *	  Patterns over timelines.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_pattern.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "types/timeline_match.h"

/*
 * How often, at most "limit", among the events up to "at" (MATCH_AT_THE_END: all);
 * a length at the end of the pattern must have passed by then.
 */
int64
mcdp_timeline_pattern(const TimelineView *v, const MatchPattern *p, int64 at, int64 limit)
{
	uint32		seen = at == MATCH_AT_THE_END ? v->nevents : mcdp_timeline_first_after(v, at);
	uint64	   *by_event;
	uint64		any_event = 0;
	uint64		labelled = 0;
	uint32		label[MATCH_MAX_STEPS];
	uint64		impossible = 0;
	MatchEvent *events;
	size_t		n = 0;
	int64		count;

	by_event = palloc_extended(sizeof(uint64) * ((Size) v->event_dict.count + 1),
							   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < p->ntests; i++)
	{
		const MatchTest *test = &p->tests[i];
		uint64		bit = UINT64CONST(1) << i;
		int			code = 0;

		if (test->event == NULL)
			any_event |= bit;
		else
		{
			code = mcdp_timeline_find_event(v, test->event, test->event_len);
			if (code >= 0)
				by_event[code] |= bit;
		}
		if (code >= 0 && test->label != NULL)
		{
			code = mcdp_timeline_find_label(v, test->label, test->label_len);
			label[i] = (uint32) code;
			labelled |= bit;
		}
		if (code < 0)
			impossible |= bit;
	}
	for (int k = 0; k < p->nsteps; k++)
	{
		if (impossible & (UINT64CONST(1) << p->steps[k].bit))
		{
			pfree(by_event);
			return 0;
		}
	}

	events = palloc_extended(sizeof(MatchEvent) * ((Size) seen + 1), MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < seen; i++)
	{
		uint64		mask = (any_event | by_event[timeline_event_code(v, i)]) & ~impossible;

		MCDP_CHECK_EVERY(i);
		if (mask & labelled)
		{
			uint32		code = timeline_label_code(v, i);

			for (uint64 left = mask & labelled; left != 0; left &= left - 1)
			{
				if (label[pg_rightmost_one_pos64(left)] != code)
					mask &= ~(left & -left);
			}
		}
		if (mask != 0)
		{
			events[n].at = timeline_at(v, i);
			events[n++].mask = mask;
		}
	}
	pfree(by_event);
	count = mcdp_match_pattern(p, events, n, at, limit);
	pfree(events);
	return count;
}
