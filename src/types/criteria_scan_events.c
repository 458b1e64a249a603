/*-------------------------------------------------------------------------
 *
 * criteria_scan_events.c
 *	  The events of a timeline that an "ev" of a rule is about.
 *
 * Event and label are looked up in the dictionary of the timeline first: if
 * one of them does not occur, no event is looked at.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_scan_events.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"

#include "types/criteria_eval.h"

TimestampTz
mcdp_criteria_before(TimestampTz at, int64 length)
{
	TimestampTz result;

	return pg_sub_s64_overflow(at, length, &result) ? PG_INT64_MIN : result;
}

TimestampTz
mcdp_criteria_after(TimestampTz at, int64 length)
{
	TimestampTz result;

	return pg_add_s64_overflow(at, length, &result) ? PG_INT64_MAX : result;
}

bool
mcdp_criteria_window(const TimelineView *v, const CriteriaWindow *window, TimestampTz at,
					 uint32 *first, uint32 *last)
{
	uint32		end = PG_UINT32_MAX;

	*first = 0;
	*last = mcdp_timeline_first_after(v, at);
	switch (window->type)
	{
		case CRITERIA_ALWAYS:
			break;
		case CRITERIA_WITHIN:
			*first = mcdp_timeline_first_after(v, mcdp_criteria_before(at, window->older));
			break;
		case CRITERIA_AGO:
			*first = mcdp_timeline_first_from(v, mcdp_criteria_before(at, window->older));
			end = mcdp_timeline_first_from(v, mcdp_criteria_before(at, window->newer));
			break;
		case CRITERIA_DATES:
			*first = mcdp_timeline_first_from(v, window->since);
			end = mcdp_timeline_first_from(v, window->until);
			break;
	}
	*last = Min(*last, end);
	return *first < *last;
}

/* The label that an "ev" asks for; false when it asks for none or for a set. */
static bool
wanted_label(const CriteriaEvent *event, const CriteriaEnv *env, const char **label, int *len)
{
	switch (event->label_type)
	{
		case CRITERIA_ANY_LABEL:
		case CRITERIA_LABEL_SET:
			return false;
		case CRITERIA_LABEL:
			*label = event->label;
			*len = event->label_len;
			break;
		case CRITERIA_BOUND_LABEL:
			if (env->label == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("no label is bound to [$]"),
						 errhint("Use [$] inside any(...), or give a label.")));
			*label = env->label;
			*len = strlen(env->label);
			break;
	}
	return true;
}

bool
mcdp_criteria_scan_begin(CriteriaScan *s, const CriteriaEvent *event,
						 const CriteriaWindow *window, const CriteriaEnv *env)
{
	const TimelineView *v = env->timeline;
	const char *label;
	int			label_len;
	bool		labelled = wanted_label(event, env, &label, &label_len);

	if (v == NULL || timeline_num_events(v) == 0)
		return false;
	s->v = v;
	s->env = env;
	s->event = s->label = -1;
	s->conditions = NULL;
	s->in_set = NULL;
	if (event->name != NULL)
	{
		s->event = mcdp_timeline_find_event(v, event->name, event->name_len);
		if (s->event < 0)
			return false;
	}
	if (labelled)
	{
		s->label = mcdp_timeline_find_label(v, label, label_len);
		if (s->label < 0)
			return false;
	}
	if (!mcdp_criteria_window(v, window, env->at, &s->first, &s->last))
		return false;
	if (event->conditions != NULL)
	{
		if (env->conditions == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("conditions on properties cannot be evaluated without the events' rows")));
		s->conditions = env->conditions(env->arg, event);
		if (s->conditions == NULL)
			return false;		/* no event satisfies them */
	}
	if (event->label_type == CRITERIA_LABEL_SET)
	{
		if (v->labels == NULL)
			return false;
		s->set = event->label;
		s->in_set = palloc0(v->label_dict.count);
	}
	return true;
}

void
mcdp_criteria_scan_end(CriteriaScan *s)
{
	if (s->in_set != NULL)
		pfree(s->in_set);
}

bool
mcdp_criteria_label_in_set(const CriteriaScan *s, uint32 label)
{
	if (label == TIMELINE_NO_LABEL)
		return false;
	if (s->in_set[label] == CRITERIA_NOT_ASKED)
	{
		int			len;
		const char *name = mcdp_timeline_label_name(s->v, label, &len);

		s->in_set[label] = s->env->label_set != NULL &&
			s->env->label_set(s->env->arg, s->set, name, len) ? CRITERIA_IN_SET : CRITERIA_NOT_IN_SET;
	}
	return s->in_set[label] == CRITERIA_IN_SET;
}

uint32 *
mcdp_criteria_count_labels(const CriteriaScan *s)
{
	uint32	   *counts;

	if (s->v->labels == NULL)
		return NULL;
	counts = palloc_extended(sizeof(uint32) * (Size) s->v->label_dict.count,
							 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = s->first; i < s->last; i++)
	{
		uint32		label = timeline_label_code(s->v, i);

		MCDP_CHECK_EVERY(i);
		if (label != TIMELINE_NO_LABEL && criteria_scan_matches(s, i))
			counts[label]++;
	}
	return counts;
}

void
mcdp_criteria_prior(const CriteriaEvent *event, const CriteriaEnv *env, McdpPriorGap *prior)
{
	const char *label = NULL;
	char	   *key = NULL;
	int			len = 0;

	memset(prior, 0, sizeof(*prior));
	if (env->prior == NULL || event->name == NULL)
		return;
	if (event->label_type == CRITERIA_LABEL_SET)
		key = psprintf("@%s", event->label);
	else if (wanted_label(event, env, &label, &len) && len > 0 && label[0] != '@')
		key = pnstrdup(label, len);
	env->prior(env->arg, event->name, key, prior);
	if (key != NULL)
		pfree(key);
}
