/*-------------------------------------------------------------------------
 *
 * criteria_eval.h
 *	  What the files that evaluate rules share.  Nobody else needs it.
 *
 *		criteria_scan_events.c	the events of a timeline that an "ev" is about
 *		criteria_measure.c		what a comparison computes from them
 *		criteria_compare.c		does a value compare
 *		criteria_sequence.c		seq(...)
 *		criteria_eval.c			whole rules
 *		criteria_next.c			when time alone may change the answer
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_eval.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TYPES_CRITERIA_EVAL_H
#define MCDP_TYPES_CRITERIA_EVAL_H

#include "types/criteria.h"
#include "types/expected_gap.h"
#include "types/timeline.h"

/* ---- criteria_scan_events.c ---- */

/* Is a label of the dictionary in the label set asked for? */
typedef enum CriteriaInSet
{
	CRITERIA_NOT_ASKED = 0,
	CRITERIA_IN_SET = 1,
	CRITERIA_NOT_IN_SET = 2
} CriteriaInSet;

typedef struct CriteriaScan
{
	const TimelineView *v;
	uint32		first;			/* the window: events first … last-1 */
	uint32		last;
	int			event;			/* code, -1 = every event */
	int			label;			/* code, -1 = every label */
	const uint8 *conditions;	/* a byte per event of the timeline, not 0:
								 * its properties satisfy; NULL = not asked */
	uint8	   *in_set;			/* CriteriaInSet by code of the label; NULL =
								 * no label set */
	const char *set;
	const CriteriaEnv *env;
} CriteriaScan;

/* at - length, but never before the beginning of time; at + length likewise. */
extern TimestampTz mcdp_criteria_before(TimestampTz at, int64 length);
extern TimestampTz mcdp_criteria_after(TimestampTz at, int64 length);

/* The events first … last-1 of a window at env->at; false when there are none. */
extern bool mcdp_criteria_window(const TimelineView *v, const CriteriaWindow *window,
								 TimestampTz at, uint32 *first, uint32 *last);

/*
 * False when no event can match; *s is filled otherwise, and is to be ended.
 */
extern bool mcdp_criteria_scan_begin(CriteriaScan *s, const CriteriaEvent *event,
									 const CriteriaWindow *window, const CriteriaEnv *env);
extern void mcdp_criteria_scan_end(CriteriaScan *s);

extern bool mcdp_criteria_label_in_set(const CriteriaScan *s, uint32 label);

static inline bool
criteria_scan_matches(const CriteriaScan *s, uint32 i)
{
	if ((s->event >= 0 && timeline_event_code(s->v, i) != (uint32) s->event) ||
		(s->conditions != NULL && s->conditions[i] == 0))
		return false;
	if (s->label >= 0)
		return timeline_label_code(s->v, i) == (uint32) s->label;
	return s->in_set == NULL ||
		mcdp_criteria_label_in_set(s, timeline_label_code(s->v, i));
}

/* How often each label of the dictionary occurs; NULL when none can. */
extern uint32 *mcdp_criteria_count_labels(const CriteriaScan *s);

/* What is expected of this event before anything is known of the profile. */
extern void mcdp_criteria_prior(const CriteriaEvent *event, const CriteriaEnv *env,
								McdpPriorGap *prior);

/* ---- criteria_compare.c ---- */

extern int	mcdp_criteria_compare_numbers(double a, double b);


/* ---- criteria_sequence.c ---- */

extern bool mcdp_criteria_sequence(const CriteriaNode *node, const CriteriaEnv *env);

#endif							/* MCDP_TYPES_CRITERIA_EVAL_H */
