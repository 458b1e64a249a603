/*-------------------------------------------------------------------------
 *
 * criteria_measure.c
 *	  What a comparison computes from the events of a timeline.
 *
 * One pass over the codes of the events in the window.  Nothing is allocated
 * per event; distinct labels take a number per label of the dictionary.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_measure.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"

#include "types/criteria_eval.h"

static bool
give_number(CriteriaConst *out, double number)
{
	out->type = CRITERIA_NUMBER;
	out->number = number;
	return true;
}

static bool
give_label(CriteriaConst *out, const CriteriaScan *s, uint32 code)
{
	if (code == TIMELINE_NO_LABEL)
		return false;
	out->type = CRITERIA_TEXT;
	out->text = mcdp_timeline_label_name(s->v, code, &out->len);
	return true;
}

static double
count_events(const CriteriaScan *s)
{
	uint32		n = 0;

	for (uint32 i = s->first; i < s->last; i++)
	{
		MCDP_CHECK_EVERY(i);
		n += criteria_scan_matches(s, i);
	}
	return n;
}

/* Calendar days, UTC; the events are in order. */
static double
count_days(const CriteriaScan *s)
{
	uint32		n = 0;
	int64		last_day = PG_INT64_MIN;

	for (uint32 i = s->first; i < s->last; i++)
	{
		TimestampTz at;
		int64		day;

		MCDP_CHECK_EVERY(i);
		if (!criteria_scan_matches(s, i))
			continue;
		at = timeline_at(s->v, i);
		day = at / USECS_PER_DAY - (at % USECS_PER_DAY < 0 ? 1 : 0);
		if (day != last_day)
			n++;
		last_day = day;
	}
	return n;
}

static double
count_distinct_labels(const CriteriaScan *s)
{
	uint32	   *counts = mcdp_criteria_count_labels(s);
	uint32		n = 0;

	if (counts == NULL)
		return 0;
	for (uint32 code = 0; code < s->v->label_dict.count; code++)
		n += counts[code] > 0;
	pfree(counts);
	return n;
}

/* The most frequent label; of equals the bytewise first, as codes are ranks. */
static uint32
top_label(const CriteriaScan *s)
{
	uint32	   *counts = mcdp_criteria_count_labels(s);
	uint32		top = TIMELINE_NO_LABEL;
	uint32		most = 0;

	if (counts == NULL)
		return TIMELINE_NO_LABEL;
	for (uint32 code = 0; code < s->v->label_dict.count; code++)
	{
		if (counts[code] > most)
		{
			most = counts[code];
			top = code;
		}
	}
	pfree(counts);
	return top;
}

/* Of the first or last event that has a label. */
static uint32
edge_label(const CriteriaScan *s, bool last)
{
	for (uint32 n = 0; n < s->last - s->first; n++)
	{
		uint32		i = last ? s->last - 1 - n : s->first + n;
		uint32		label = timeline_label_code(s->v, i);

		if (label != TIMELINE_NO_LABEL && criteria_scan_matches(s, i))
			return label;
	}
	return TIMELINE_NO_LABEL;
}

/* The first event from the start or from the end: how long ago. */
static bool
time_since(const CriteriaScan *s, bool last, TimestampTz at, CriteriaConst *out)
{
	for (uint32 n = 0; n < s->last - s->first; n++)
	{
		uint32		i = last ? s->last - 1 - n : s->first + n;

		if (criteria_scan_matches(s, i))
		{
			out->type = CRITERIA_LENGTH;
			if (pg_sub_s64_overflow(at, timeline_at(s->v, i), &out->length))
				out->length = PG_INT64_MAX;
			return true;
		}
	}
	return false;
}

/* Time until the next expected one; negative when it is overdue. */
static bool
time_until_due(const CriteriaScan *s, const CriteriaEvent *event, CriteriaConst *out)
{
	McdpPriorGap prior;
	McdpGaps	gaps;
	int64		gap;
	bool		found;

	mcdp_criteria_prior(event, s->env, &prior);
	mcdp_gaps_init(&gaps, CurrentMemoryContext);
	for (uint32 i = s->first; i < s->last; i++)
	{
		MCDP_CHECK_EVERY(i);
		if (criteria_scan_matches(s, i))
			mcdp_gaps_add(&gaps, timeline_at(s->v, i));
	}
	found = gaps.any && mcdp_gaps_expected(&gaps, &prior, &gap);
	if (found)
	{
		out->type = CRITERIA_LENGTH;
		out->length = mcdp_criteria_before(mcdp_criteria_after(gaps.last, gap), s->env->at);
	}
	mcdp_gaps_free(&gaps);
	return found;
}

/* sum, avg, min, max over the values that are not NULL; nothing if there is none */
static bool
aggregate_values(const CriteriaScan *s, CriteriaMeasure measure, CriteriaConst *out)
{
	uint32		n = 0;
	double		sum = 0;
	double		extreme = 0;

	for (uint32 i = s->first; i < s->last; i++)
	{
		double		value;

		MCDP_CHECK_EVERY(i);
		if (!criteria_scan_matches(s, i) || !timeline_value(s->v, i, &value))
			continue;
		sum += value;
		if (n == 0 ||
			(measure == CRITERIA_MIN && mcdp_criteria_compare_numbers(value, extreme) < 0) ||
			(measure == CRITERIA_MAX && mcdp_criteria_compare_numbers(value, extreme) > 0))
			extreme = value;
		n++;
	}
	if (n == 0)
		return false;
	return give_number(out, measure == CRITERIA_SUM ? sum :
					   measure == CRITERIA_AVG ? sum / n : extreme);
}

bool
mcdp_criteria_value(const CriteriaNode *node, CriteriaEnv *env, CriteriaConst *out)
{
	CriteriaScan s;
	bool		found;

	Assert(node->op == CRITERIA_COMPARE);
	memset(out, 0, sizeof(*out));
	if (node->measure == CRITERIA_TRAIT)
		return env->trait != NULL && env->trait(env->arg, node, out);

	if (!mcdp_criteria_scan_begin(&s, &node->event, &node->window, env))
		return (node->measure == CRITERIA_COUNT || node->measure == CRITERIA_DAYS ||
				node->measure == CRITERIA_LABELS) && give_number(out, 0);
	switch (node->measure)
	{
		case CRITERIA_COUNT:
			found = give_number(out, count_events(&s));
			break;
		case CRITERIA_DAYS:
			found = give_number(out, count_days(&s));
			break;
		case CRITERIA_LABELS:
			found = give_number(out, count_distinct_labels(&s));
			break;
		case CRITERIA_SUM:
		case CRITERIA_AVG:
		case CRITERIA_MIN:
		case CRITERIA_MAX:
			found = aggregate_values(&s, node->measure, out);
			break;
		case CRITERIA_FIRST:
			found = time_since(&s, false, env->at, out);
			break;
		case CRITERIA_LAST:
			found = time_since(&s, true, env->at, out);
			break;
		case CRITERIA_DUE:
			found = time_until_due(&s, &node->event, out);
			break;
		case CRITERIA_FIRST_LABEL:
			found = give_label(out, &s, edge_label(&s, false));
			break;
		case CRITERIA_LAST_LABEL:
			found = give_label(out, &s, edge_label(&s, true));
			break;
		case CRITERIA_TOP_LABEL:
			found = give_label(out, &s, top_label(&s));
			break;
		default:
			found = false;
			break;
	}
	mcdp_criteria_scan_end(&s);
	return found;
}
