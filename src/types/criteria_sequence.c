/*-------------------------------------------------------------------------
 *
 * criteria_sequence.c
 *	  Sequences in rules: seq(view -> cart ->(2h) !purchase, 3d).
 *
 * A sequence is a pattern over timelines (event_match_pattern.c), whose steps
 * may also ask for a bound label, a label set or properties.  A duration as
 * window bounds the time from the first step to the last.  Of a range (60d..30d,
 * dates) only the events are seen, and its end stands for "at".
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_sequence.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "types/criteria_eval.h"
#include "types/event_match.h"

#define BIT(k)		(UINT64CONST(1) << (k))

/* The pattern, and for each of its bits the events it stands for. */
typedef struct Sequence
{
	MatchPattern pattern;
	CriteriaScan scans[MATCH_MAX_STEPS];
	uint64		possible;		/* bits with a scan */
} Sequence;

/* The last instant that the sequence sees. */
static TimestampTz
horizon(const CriteriaWindow *window, TimestampTz at)
{
	switch (window->type)
	{
		case CRITERIA_AGO:
			at = Min(at, mcdp_criteria_before(mcdp_criteria_before(at, window->newer), 1));
			break;
		case CRITERIA_DATES:
			at = Min(at, mcdp_criteria_before(window->until, 1));
			break;
		default:
			break;
	}
	return at;
}

/* False when a step that must happen does not. */
static bool
begin_steps(Sequence *q, const CriteriaNode *node, const CriteriaWindow *range, const CriteriaEnv *env)
{
	MatchPattern *p = &q->pattern;
	uint64		negated = 0;
	bool		possible = true;

	p->nsteps = p->ntrailing = p->ntests = 0;
	q->possible = 0;
	for (const CriteriaStep *step = node->steps; step != NULL; step = step->next)
	{
		int			bit = p->ntests++;

		if (mcdp_criteria_scan_begin(&q->scans[bit], &step->event, range, env))
			q->possible |= BIT(bit);
		else if (!step->negated)
			possible = false;
		if (step->negated)
		{
			/* until a step follows, it is a trailing one */
			p->trailing[p->ntrailing].bit = bit;
			p->trailing[p->ntrailing++].gap = step->has_gap ? step->gap : MATCH_NO_GAP;
			negated |= BIT(bit);
			continue;
		}
		memset(&p->steps[p->nsteps], 0, sizeof(MatchStep));
		p->steps[p->nsteps].bit = bit;
		p->steps[p->nsteps].max_gap = step->has_gap ? step->gap : MATCH_NO_GAP;
		p->steps[p->nsteps++].forbidden = negated;
		p->ntrailing = 0;
		negated = 0;
	}
	return possible;
}

/* The events that are a step or stand in the way of one. */
static size_t
take_events(const Sequence *q, const TimelineView *v, uint32 first, uint32 last, MatchEvent *events)
{
	uint64		any_event = 0;
	uint64	   *by_event = palloc_extended(sizeof(uint64) * ((Size) v->event_dict.count + 1),
										   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	size_t		n = 0;

	for (uint64 left = q->possible; left != 0; left &= left - 1)
	{
		int			bit = pg_rightmost_one_pos64(left);

		if (q->scans[bit].event < 0)
			any_event |= BIT(bit);
		else
			by_event[q->scans[bit].event] |= BIT(bit);
	}
	for (uint32 i = first; i < last; i++)
	{
		uint64		mask = any_event | by_event[timeline_event_code(v, i)];

		MCDP_CHECK_EVERY(i);
		for (uint64 left = mask; left != 0; left &= left - 1)
		{
			if (!criteria_scan_matches(&q->scans[pg_rightmost_one_pos64(left)], i))
				mask &= ~(left & -left);
		}
		if (mask != 0)
		{
			events[n].at = timeline_at(v, i);
			events[n++].mask = mask;
		}
	}
	pfree(by_event);
	return n;
}

bool
mcdp_criteria_sequence(const CriteriaNode *node, const CriteriaEnv *env)
{
	CriteriaWindow range = node->window;
	int64		within = MATCH_NO_GAP;
	Sequence   *q;
	bool		holds = false;
	uint32		first,
				last;

	if (range.type == CRITERIA_WITHIN)
	{
		within = range.older;
		range.type = CRITERIA_ALWAYS;
	}
	if (env->timeline == NULL || !mcdp_criteria_window(env->timeline, &range, env->at, &first, &last))
		return false;
	q = palloc(sizeof(Sequence));
	if (begin_steps(q, node, &range, env))
	{
		MatchEvent *events = palloc_extended(sizeof(MatchEvent) * (Size) (last - first),
											 MCXT_ALLOC_HUGE);
		size_t		n = take_events(q, env->timeline, first, last, events);

		holds = mcdp_match_sequence(&q->pattern, events, n, horizon(&range, env->at), within);
		pfree(events);
	}
	for (uint64 left = q->possible; left != 0; left &= left - 1)
		mcdp_criteria_scan_end(&q->scans[pg_rightmost_one_pos64(left)]);
	pfree(q);
	return holds;
}
