/*-------------------------------------------------------------------------
 *
 * criteria_eval.c
 *	  Does a rule hold for one profile at one instant?
 *
 * Logic is two-valued: a comparison with nothing (no such event, no such
 * trait, a value of another type) is false, for != too, and ! is complement.
 *
 * A measure looks its event and label up in the dictionary of the timeline
 * and, if both occur, passes over the codes of the events in its window once.
 * Nothing is allocated per event; distinct labels take a byte per label of
 * the dictionary.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_eval.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "common/int.h"
#include "miscadmin.h"

#include "types/criteria_parse.h"
#include "types/timeline.h"

/* ---- the events a measure is about ---- */

typedef struct Scan
{
	const TimelineView *v;
	uint32		first;			/* the window: events first … last-1 */
	uint32		last;
	int			event;			/* code, -1 = every event */
	int			label;			/* code, -1 = every label */
} Scan;

/* Callers should have asked mcdp_criteria_unsupported first. */
static void
not_supported(const CriteriaNode *node)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("evaluation of \"%s\" in a rule is not supported",
					mcdp_criteria_unsupported(node))));
}

static TimestampTz
before(TimestampTz at, int64 length)
{
	TimestampTz result;

	if (pg_sub_s64_overflow(at, length, &result))
		return PG_INT64_MIN;
	return result;
}

/* False when no event can match; *s is filled otherwise. */
static bool
scan_begin(Scan *s, const CriteriaEvent *event, const CriteriaWindow *window, const CriteriaEnv *env)
{
	const TimelineView *v = env->timeline;
	const char *label = NULL;
	int			label_len = 0;

	switch (event->label_type)
	{
		case CRITERIA_ANY_LABEL:
			break;
		case CRITERIA_LABEL:
			label = event->label;
			label_len = event->label_len;
			break;
		case CRITERIA_BOUND_LABEL:
			if (env->label == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("no label is bound to [$]"),
						 errhint("Use [$] inside any(...), or give a label.")));
			label = env->label;
			label_len = strlen(env->label);
			break;
		case CRITERIA_LABEL_SET:
			return false;		/* refused by the caller */
	}

	if (v == NULL || timeline_num_events(v) == 0)
		return false;
	s->v = v;
	s->event = s->label = -1;
	if (event->name != NULL)
	{
		s->event = mcdp_timeline_find_event(v, event->name, event->name_len);
		if (s->event < 0)
			return false;
	}
	if (label != NULL)
	{
		s->label = mcdp_timeline_find_label(v, label, label_len);
		if (s->label < 0)
			return false;
	}

	s->first = 0;
	s->last = mcdp_timeline_first_after(v, env->at);
	switch (window->type)
	{
		case CRITERIA_ALWAYS:
			break;
		case CRITERIA_WITHIN:
			s->first = mcdp_timeline_first_after(v, before(env->at, window->older));
			break;
		case CRITERIA_AGO:
			s->first = mcdp_timeline_first_from(v, before(env->at, window->older));
			s->last = Min(s->last, mcdp_timeline_first_from(v, before(env->at, window->newer)));
			break;
		case CRITERIA_DATES:
			s->first = mcdp_timeline_first_from(v, window->since);
			s->last = Min(s->last, mcdp_timeline_first_from(v, window->until));
			break;
	}
	return s->first < s->last;
}

static inline bool
scan_matches(const Scan *s, uint32 i)
{
	return (s->event < 0 || timeline_event_code(s->v, i) == (uint32) s->event) &&
		(s->label < 0 || timeline_label_code(s->v, i) == (uint32) s->label);
}

/* How often each label of the dictionary occurs; NULL when none can. */
static uint32 *
count_labels(const Scan *s)
{
	uint32	   *counts;

	if (s->v->labels == NULL)
		return NULL;
	counts = palloc_extended(sizeof(uint32) * (Size) s->v->label_dict.count,
							 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = s->first; i < s->last; i++)
	{
		uint32		label = timeline_label_code(s->v, i);

		if (label != TIMELINE_NO_LABEL && scan_matches(s, i))
			counts[label]++;
	}
	return counts;
}

/* ---- measures ---- */

static bool
give_number(CriteriaConst *out, double number)
{
	out->type = CRITERIA_NUMBER;
	out->number = number;
	return true;
}

static bool
give_label(CriteriaConst *out, const Scan *s, uint32 code)
{
	if (code == TIMELINE_NO_LABEL)
		return false;
	out->type = CRITERIA_TEXT;
	out->text = mcdp_timeline_label_name(s->v, code, &out->len);
	return true;
}

static double
count_events(const Scan *s)
{
	uint32		n = 0;

	for (uint32 i = s->first; i < s->last; i++)
		n += scan_matches(s, i);
	return n;
}

/* Calendar days, UTC; the events are in order. */
static double
count_days(const Scan *s)
{
	uint32		n = 0;
	int64		last_day = PG_INT64_MIN;

	for (uint32 i = s->first; i < s->last; i++)
	{
		TimestampTz at;
		int64		day;

		if (!scan_matches(s, i))
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
count_distinct_labels(const Scan *s)
{
	uint32	   *counts = count_labels(s);
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
top_label(const Scan *s)
{
	uint32	   *counts = count_labels(s);
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
edge_label(const Scan *s, bool last)
{
	for (uint32 n = 0; n < s->last - s->first; n++)
	{
		uint32		i = last ? s->last - 1 - n : s->first + n;
		uint32		label = timeline_label_code(s->v, i);

		if (label != TIMELINE_NO_LABEL && scan_matches(s, i))
			return label;
	}
	return TIMELINE_NO_LABEL;
}

/* The first event from the start or from the end: how long ago. */
static bool
time_since(const Scan *s, bool last, TimestampTz at, CriteriaConst *out)
{
	for (uint32 n = 0; n < s->last - s->first; n++)
	{
		uint32		i = last ? s->last - 1 - n : s->first + n;

		if (scan_matches(s, i))
		{
			out->type = CRITERIA_LENGTH;
			if (pg_sub_s64_overflow(at, timeline_at(s->v, i), &out->length))
				out->length = PG_INT64_MAX;
			return true;
		}
	}
	return false;
}

/* As the float8 type of the server: NaN is equal to NaN and greater than the rest. */
static int
compare_numbers(double a, double b)
{
	if (isnan(a) || isnan(b))
		return (isnan(a) ? 1 : 0) - (isnan(b) ? 1 : 0);
	return (a > b) - (a < b);
}

/* sum, avg, min, max over the values that are not NULL; nothing if there is none */
static bool
aggregate_values(const Scan *s, CriteriaMeasure measure, CriteriaConst *out)
{
	uint32		n = 0;
	double		sum = 0;
	double		extreme = 0;

	for (uint32 i = s->first; i < s->last; i++)
	{
		double		value;

		if (!scan_matches(s, i) || !timeline_value(s->v, i, &value))
			continue;
		sum += value;
		if (n == 0 ||
			(measure == CRITERIA_MIN && compare_numbers(value, extreme) < 0) ||
			(measure == CRITERIA_MAX && compare_numbers(value, extreme) > 0))
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
	Scan		s;
	bool		some;

	Assert(node->op == CRITERIA_COMPARE);
	memset(out, 0, sizeof(*out));
	if (node->measure == CRITERIA_TRAIT)
		return env->trait != NULL && env->trait(env->arg, node->name, out);

	if (node->measure == CRITERIA_DUE || node->event.conditions != NULL ||
		node->event.label_type == CRITERIA_LABEL_SET)
		not_supported(node);
	some = scan_begin(&s, &node->event, &node->window, env);
	switch (node->measure)
	{
		case CRITERIA_COUNT:
			return give_number(out, some ? count_events(&s) : 0);
		case CRITERIA_DAYS:
			return give_number(out, some ? count_days(&s) : 0);
		case CRITERIA_LABELS:
			return give_number(out, some ? count_distinct_labels(&s) : 0);
		default:
			break;
	}
	if (!some)
		return false;
	switch (node->measure)
	{
		case CRITERIA_SUM:
		case CRITERIA_AVG:
		case CRITERIA_MIN:
		case CRITERIA_MAX:
			return aggregate_values(&s, node->measure, out);
		case CRITERIA_FIRST:
			return time_since(&s, false, env->at, out);
		case CRITERIA_LAST:
			return time_since(&s, true, env->at, out);
		case CRITERIA_FIRST_LABEL:
			return give_label(out, &s, edge_label(&s, false));
		case CRITERIA_LAST_LABEL:
			return give_label(out, &s, edge_label(&s, true));
		case CRITERIA_TOP_LABEL:
			return give_label(out, &s, top_label(&s));
		default:
			return false;
	}
}

/* ---- comparisons ---- */

static bool
two_digits(const char *s, int *out)
{
	if (!isdigit((unsigned char) s[0]) || !isdigit((unsigned char) s[1]))
		return false;
	*out = (s[0] - '0') * 10 + (s[1] - '0');
	return true;
}

/*
 * A trait's text as an instant: YYYY-MM-DD, or that and T or a blank and
 * HH:MM[:SS[.ffffff]] and maybe Z or +HH[[:]MM]; UTC if no zone is given.
 */
static bool
instant_of(const char *s, int len, TimestampTz *out)
{
	const char *end = s + len;
	int			hour,
				minute,
				second = 0;
	int64		fraction = 0;
	int64		zone = 0;
	bool		valid;

	if (len < 10 || !mcdp_criteria_read_date(s, 10, out, &valid) || !valid)
		return false;
	s += 10;
	if (s == end)
		return true;
	if ((*s != 'T' && *s != 't' && *s != ' ') || end - s < 6 ||
		!two_digits(s + 1, &hour) || s[3] != ':' || !two_digits(s + 4, &minute))
		return false;
	s += 6;
	if (end - s >= 3 && *s == ':')
	{
		if (!two_digits(s + 1, &second))
			return false;
		s += 3;
		if (s < end && *s == '.')
		{
			int64		unit = USECS_PER_SEC / 10;

			if (++s == end || !isdigit((unsigned char) *s))
				return false;
			for (; s < end && isdigit((unsigned char) *s); s++, unit /= 10)
				fraction += unit * (*s - '0');
		}
	}
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	if (s < end && (*s == 'Z' || *s == 'z'))
		s++;
	else if (end - s >= 3 && (*s == '+' || *s == '-'))
	{
		bool		west = *s == '-';
		int			zone_hour,
					zone_minute = 0;

		if (!two_digits(s + 1, &zone_hour))
			return false;
		s += 3;
		if (s < end && *s == ':')
			s++;
		if (end - s >= 2)
		{
			if (!two_digits(s, &zone_minute))
				return false;
			s += 2;
		}
		if (zone_hour > 15 || zone_minute > 59)
			return false;
		zone = zone_hour * USECS_PER_HOUR + zone_minute * USECS_PER_MINUTE;
		if (west)
			zone = -zone;
	}
	if (s != end)
		return false;
	*out += hour * USECS_PER_HOUR + minute * USECS_PER_MINUTE + second * USECS_PER_SEC +
		fraction - zone;
	return true;
}

/* False when the two are of different types; *order is set otherwise. */
static bool
compare_consts(const CriteriaConst *value, const CriteriaConst *constant, int *order)
{
	TimestampTz date = value->date;

	if (constant->type == CRITERIA_DATE && value->type == CRITERIA_TEXT)
	{
		if (!instant_of(value->text, value->len, &date))
			return false;
	}
	else if (value->type != constant->type)
		return false;

	switch (constant->type)
	{
		case CRITERIA_NUMBER:
			*order = compare_numbers(value->number, constant->number);
			return true;
		case CRITERIA_LENGTH:
			*order = (value->length > constant->length) - (value->length < constant->length);
			return true;
		case CRITERIA_TEXT:
			*order = memcmp(value->text, constant->text, Min(value->len, constant->len));
			if (*order == 0)
				*order = value->len - constant->len;
			return true;
		case CRITERIA_DATE:
			*order = (date > constant->date) - (date < constant->date);
			return true;
		case CRITERIA_BOOLEAN:
			*order = (int) value->boolean - (int) constant->boolean;
			return true;
		case CRITERIA_OTHER:
			break;
	}
	return false;
}

bool
mcdp_criteria_compare(const CriteriaConst *value, CriteriaCmp cmp, const CriteriaConst *consts,
					  int num_consts)
{
	int			order;
	int			upper;

	if (cmp == CRITERIA_IN)
	{
		for (int i = 0; i < num_consts; i++)
		{
			if (compare_consts(value, &consts[i], &order) && order == 0)
				return true;
		}
		return false;
	}
	if (!compare_consts(value, &consts[0], &order))
		return false;
	switch (cmp)
	{
		case CRITERIA_EQ:
			return order == 0;
		case CRITERIA_NE:
			return order != 0;
		case CRITERIA_LT:
			return order < 0;
		case CRITERIA_LE:
			return order <= 0;
		case CRITERIA_GT:
			return order > 0;
		case CRITERIA_GE:
			return order >= 0;
		case CRITERIA_BETWEEN:
			return order >= 0 && compare_consts(value, &consts[1], &upper) && upper <= 0;
		case CRITERIA_IN:
			break;
	}
	return false;
}

/* ---- rules ---- */

/* Does the operand hold with [$] = some label of the matching events? */
static bool
any_label_holds(const CriteriaNode *node, CriteriaEnv *env)
{
	static const CriteriaWindow always = {CRITERIA_ALWAYS};
	const char *outer = env->label;
	bool		holds = false;
	uint32	   *counts;
	Scan		s;

	if (node->event.conditions != NULL || node->event.label_type == CRITERIA_LABEL_SET)
		not_supported(node);
	if (!scan_begin(&s, &node->event, &always, env))
		return false;
	counts = count_labels(&s);
	if (counts == NULL)
		return false;
	for (uint32 code = 0; code < s.v->label_dict.count && !holds; code++)
	{
		const char *name;
		char	   *label;
		int			len;

		if (counts[code] == 0)
			continue;
		CHECK_FOR_INTERRUPTS();
		name = mcdp_timeline_label_name(s.v, code, &len);
		label = pnstrdup(name, len);
		env->label = label;
		holds = mcdp_criteria_holds(node->child, env);
		pfree(label);
	}
	env->label = outer;
	pfree(counts);
	return holds;
}

bool
mcdp_criteria_holds(const CriteriaNode *node, CriteriaEnv *env)
{
	CriteriaConst value;

	check_stack_depth();
	switch (node->op)
	{
		case CRITERIA_ALL:
			return true;
		case CRITERIA_NONE:
			return false;
		case CRITERIA_TAG:
			return env->has_tag != NULL && env->has_tag(env->arg, node->name);
		case CRITERIA_AND:
			for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
			{
				if (!mcdp_criteria_holds(child, env))
					return false;
			}
			return true;
		case CRITERIA_OR:
			for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
			{
				if (mcdp_criteria_holds(child, env))
					return true;
			}
			return false;
		case CRITERIA_NOT:
			return !mcdp_criteria_holds(node->child, env);
		case CRITERIA_COMPARE:
			return mcdp_criteria_value(node, env, &value) &&
				mcdp_criteria_compare(&value, node->cmp, node->consts, node->num_consts);
		case CRITERIA_SEQ:
			not_supported(node);
			return false;
		case CRITERIA_ANY:
			return any_label_holds(node, env);
	}
	return false;
}
