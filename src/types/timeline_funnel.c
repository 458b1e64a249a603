/*-------------------------------------------------------------------------
 *
 * timeline_funnel.c
 *	  How far along a list of steps a timeline gets.
 *
 * This is the default mode, with a pass of its own over the stored columns;
 * the others (and the definition of them all) are in event_match.c.  The
 * answer is the largest n for which events e1 … en exist with the names of
 * steps 1 … n, e1.at <= e2.at <= … <= en.at and en.at - e1.at <= within.  One
 * event may be several of them (two equal steps, or the same name twice).
 *
 * One pass.  start[k] is the latest instant at which a chain that has reached
 * step k began: of two chains at the same step the later start is never worse,
 * so that is all there is to remember.  All events of one instant are taken
 * together and their steps in ascending order, because within an instant any
 * order is allowed.
 *
 * Time: events x steps at worst; in practice two array reads for each event.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_funnel.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "types/timeline_match.h"

#define STRETCH		65536		/* events between two looks at interrupts */

/*
 * The pass, for one width of times and one of codes.  mask[code] has bit k set
 * when step k is the event with that code.
 */
#define DEFINE_FUNNEL(name, time_type, code_type) \
static int \
name(const time_type *times, const code_type *codes, uint32 n, \
	 const uint64 *mask, int nsteps, uint64 within) \
{ \
	uint64		start[TIMELINE_MAX_STEPS]; \
	int			reached = 0; \
	uint32		i = 0; \
	\
	while (i < n) \
	{ \
		uint32		stop = Min(n, i + STRETCH); \
		\
		CHECK_FOR_INTERRUPTS(); \
		while (i < stop) \
		{ \
			uint64		steps = mask[codes[i]]; \
			time_type	now = times[i]; \
			\
			i++; \
			while (i < n && times[i] == now) \
				steps |= mask[codes[i++]]; \
			while (steps != 0) \
			{ \
				int			k = pg_rightmost_one_pos64(steps); \
				\
				steps &= steps - 1; \
				if (k > reached) \
					break; \
				if (k == 0) \
					start[0] = now; \
				else if (now - start[k - 1] <= within) \
					start[k] = start[k - 1]; \
				else \
					continue; \
				if (k == reached && ++reached == nsteps) \
					return reached; \
			} \
		} \
	} \
	return reached; \
}

DEFINE_FUNNEL(funnel_8_8, uint8, uint8)
DEFINE_FUNNEL(funnel_16_8, uint16, uint8)
DEFINE_FUNNEL(funnel_32_8, uint32, uint8)
DEFINE_FUNNEL(funnel_64_8, uint64, uint8)
DEFINE_FUNNEL(funnel_8_16, uint8, uint16)
DEFINE_FUNNEL(funnel_16_16, uint16, uint16)
DEFINE_FUNNEL(funnel_32_16, uint32, uint16)
DEFINE_FUNNEL(funnel_64_16, uint64, uint16)
DEFINE_FUNNEL(funnel_8_32, uint8, uint32)
DEFINE_FUNNEL(funnel_16_32, uint16, uint32)
DEFINE_FUNNEL(funnel_32_32, uint32, uint32)
DEFINE_FUNNEL(funnel_64_32, uint64, uint32)

/*
 * step_codes[k] is the event code of step k, -1 when the timeline has no such
 * event.  nsteps <= TIMELINE_MAX_STEPS, within >= 0 in microseconds.
 */
int
mcdp_timeline_funnel(const TimelineView *v, int nsteps, const int *step_codes, int64 within)
{
	uint64		few[256];
	uint64	   *mask = few;
	int			possible = 0;
	int			reached = 0;
	uint64		units = (uint64) within / (uint64) v->unit;

	/*
	 * Names are there only when events are: the first missing step is the
	 * limit.
	 */
	while (possible < nsteps && step_codes[possible] >= 0)
		possible++;
	if (possible <= 1)
		return possible;

	reached = mcdp_timeline_funnel_distinct(v, possible, step_codes, units);
	if (reached >= 0)
		return reached;
	reached = 0;

	if (v->event_dict.count > lengthof(few))
		mask = palloc_extended(sizeof(uint64) * (Size) v->event_dict.count, MCXT_ALLOC_HUGE);
	memset(mask, 0, sizeof(uint64) * (Size) v->event_dict.count);
	for (int k = 0; k < possible; k++)
		mask[step_codes[k]] |= UINT64CONST(1) << k;

#define RUN(name)	reached = name(v->times, v->events, v->nevents, mask, possible, units)
	switch (v->event_width * 4 + v->time_width)
	{
		case 0:
			RUN(funnel_8_8);
			break;
		case 1:
			RUN(funnel_16_8);
			break;
		case 2:
			RUN(funnel_32_8);
			break;
		case 3:
			RUN(funnel_64_8);
			break;
		case 4:
			RUN(funnel_8_16);
			break;
		case 5:
			RUN(funnel_16_16);
			break;
		case 6:
			RUN(funnel_32_16);
			break;
		case 7:
			RUN(funnel_64_16);
			break;
		case 8:
			RUN(funnel_8_32);
			break;
		case 9:
			RUN(funnel_16_32);
			break;
		case 10:
			RUN(funnel_32_32);
			break;
		default:
			RUN(funnel_64_32);
	}
#undef RUN
	if (mask != few)
		pfree(mask);
	return reached;
}

/* The events that satisfy a step (or all of them), for the general matcher. */
static MatchEvent *
read_steps(const TimelineView *v, int nsteps, const int *step_codes, bool keep_all, size_t *n)
{
	MatchEvent *events = palloc_extended(sizeof(MatchEvent) * ((Size) v->nevents + 1),
										 MCXT_ALLOC_HUGE);
	uint64	   *mask = palloc_extended(sizeof(uint64) * ((Size) v->event_dict.count + 1),
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	for (int k = 0; k < nsteps; k++)
		mask[step_codes[k]] |= UINT64CONST(1) << k;
	*n = 0;
	for (uint32 i = 0; i < v->nevents; i++)
	{
		uint64		steps = mask[timeline_event_code(v, i)];

		MCDP_CHECK_EVERY(i);
		if (steps != 0 || keep_all)
		{
			events[*n].at = timeline_at(v, i);
			events[(*n)++].mask = steps;
		}
	}
	pfree(mask);
	return events;
}

/* Every mode; arguments as above. */
int
mcdp_timeline_funnel_mode(const TimelineView *v, int nsteps, const int *step_codes,
						  int64 within, int mode)
{
	int			possible = 0;
	int			reached;
	MatchEvent *events;
	size_t		n;

	if (mode == 0)
		return mcdp_timeline_funnel(v, nsteps, step_codes, within);
	while (possible < nsteps && step_codes[possible] >= 0)
		possible++;
	if (possible <= 1)
		return possible;
	events = read_steps(v, possible, step_codes, (mode & FUNNEL_STRICT_ORDER) != 0, &n);
	reached = mcdp_match_funnel(events, n, possible, within, mode);
	pfree(events);
	return reached;
}

/* Sets the times of the first longest chain, returns how many. */
int
mcdp_timeline_funnel_times(const TimelineView *v, int nsteps, const int *step_codes,
						   int64 within, int64 *times)
{
	int			reached = mcdp_timeline_funnel(v, nsteps, step_codes, within);
	MatchEvent *events;
	size_t		n;

	if (reached > 0)
	{
		events = read_steps(v, reached, step_codes, false, &n);
		if (!mcdp_match_funnel_times(events, n, reached, within, times))
			reached = 0;		/* cannot happen */
		pfree(events);
	}
	return reached;
}
