/*-------------------------------------------------------------------------
 *
 * audience_event.c
 *	  Conditions on properties, which timelines do not hold.
 *
 * The rows of the events in question are read, made timeline entries of (by
 * the same function that folding uses), and found again in the timeline: both
 * are in the same order, so they are walked in step.  Entries that are equal
 * are interchangeable.  An entry without a row (its partition was dropped, or
 * event_role has changed since it was folded) satisfies no condition.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_event.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "types/criteria_datum.h"
#include "types/criteria_eval.h"

typedef struct Wanted
{
	const CriteriaEvent *event;
	uint8	   *marks;			/* a byte per event of the timeline in hand;
								 * NULL = all 0 */
} Wanted;

struct EventConditions
{
	MemoryContext cx;
	MemoryContext mark_cx;
	Wanted	   *wanted;
	int			n;
	TimestampTz since;			/* no window begins earlier */
	TimestampTz at;
	Datum		names;			/* text[] */
	Datum		rule;			/* its text */
	SPITupleTable *rows;		/* of the last fetch, by profile and in
								 * timeline order */
	uint64		nrows;
};

static void
count_event(const CriteriaEvent *event, const CriteriaNode *node, void *arg)
{
	if (event->conditions != NULL)
		((EventConditions *) arg)->n++;
}

static TimestampTz
window_begin(const CriteriaNode *node, TimestampTz at)
{
	const CriteriaWindow *window = &node->window;

	/* a sequence's duration is not counted from "at", and any() has no window */
	if (window->type == CRITERIA_AGO || (window->type == CRITERIA_WITHIN && node->op == CRITERIA_COMPARE))
		return mcdp_criteria_before(at, window->older);
	return window->type == CRITERIA_DATES ? window->since : DT_NOBEGIN;
}

static void
take_event(const CriteriaEvent *event, const CriteriaNode *node, void *arg)
{
	EventConditions *c = arg;

	if (event->conditions == NULL)
		return;
	c->wanted[c->n++].event = event;
	c->since = Min(c->since, window_begin(node, c->at));
}

EventConditions *
mcdp_conditions_make(MemoryContext cx, const CriteriaNode *rule, TimestampTz at)
{
	MemoryContext old = MemoryContextSwitchTo(cx);
	EventConditions *c = palloc0(sizeof(EventConditions));
	Datum	   *names;

	c->cx = cx;
	c->at = at;
	c->since = DT_NOEND;
	mcdp_criteria_visit_events(rule, count_event, c);
	if (c->n == 0)
	{
		MemoryContextSwitchTo(old);
		return NULL;
	}
	c->wanted = palloc0(c->n * sizeof(Wanted));
	c->n = 0;
	mcdp_criteria_visit_events(rule, take_event, c);
	names = palloc(c->n * sizeof(Datum));
	for (int i = 0; i < c->n; i++)
		names[i] = CStringGetTextDatum(c->wanted[i].event->name);
	c->names = PointerGetDatum(construct_array(names, c->n, TEXTOID, -1, false, TYPALIGN_INT));
	c->rule = CStringGetTextDatum(mcdp_criteria_print(rule));
	c->mark_cx = AllocSetContextCreate(cx, "event conditions", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);
	return c;
}

/* Columns of a row: profile_id, at, event, label, value, properties. */
#define ROW_PROFILE		1
#define ROW_AT			2
#define ROW_EVENT		3
#define ROW_LABEL		4
#define ROW_VALUE		5
#define ROW_PROPERTIES	6

static Datum
row_value(const EventConditions *c, uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(c->rows->vals[row], c->rows->tupdesc, column, isnull);
}

static int64
row_profile(const EventConditions *c, uint64 row)
{
	bool		isnull;

	return DatumGetInt64(row_value(c, row, ROW_PROFILE, &isnull));
}

void
mcdp_conditions_fetch(EventConditions *c, const int64 *ids, int n)
{
	if (c->rows != NULL)
		SPI_freetuptable(c->rows);
	c->rows = NULL;
	c->nrows = mcdp_source_event_entries(ids, n, c->names, c->since, c->at, c->rule);
	c->rows = SPI_tuptable;
}

/* The rows of all profiles, ascending: those of a fetch from this cursor are for mcdp_conditions_use. */
Portal
mcdp_conditions_open_all(const EventConditions *c)
{
	return mcdp_source_all_event_entries(c->names, c->since, c->at, c->rule);
}

double
mcdp_conditions_events(const EventConditions *c)
{
	return mcdp_source_events(c->since, c->at);
}

void
mcdp_conditions_use(EventConditions *c, SPITupleTable *rows, uint64 nrows)
{
	if (c->rows != NULL)
		SPI_freetuptable(c->rows);
	c->rows = rows;
	c->nrows = nrows;
}

int64
mcdp_conditions_profile(const SPITupleTable *rows, uint64 row)
{
	bool		isnull;

	return DatumGetInt64(SPI_getbinval(rows->vals[row], rows->tupdesc, ROW_PROFILE, &isnull));
}

/* ---- finding rows in a timeline ---- */

static int
compare_bytes(const char *a, int alen, const char *b, int blen)
{
	int			order = memcmp(a, b, Min(alen, blen));

	return order != 0 ? order : alen - blen;
}

/* Entry i against a row, in the order of timelines. */
static int
compare_entry(const TimelineView *v, uint32 i, const EventConditions *c, uint64 row)
{
	bool		isnull;
	int64		at = DatumGetTimestampTz(row_value(c, row, ROW_AT, &isnull));
	text	   *name;
	const char *own;
	int			len;
	int			order;
	double		value = 0,
				own_value = 0;
	bool		has_value;
	uint32		label;
	Datum		datum;

	if (timeline_at(v, i) != at)
		return timeline_at(v, i) < at ? -1 : 1;

	name = DatumGetTextPP(row_value(c, row, ROW_EVENT, &isnull));
	own = mcdp_timeline_event_name(v, timeline_event_code(v, i), &len);
	order = compare_bytes(own, len, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (order != 0)
		return order;

	datum = row_value(c, row, ROW_LABEL, &isnull);
	label = timeline_label_code(v, i);
	if (isnull || label == TIMELINE_NO_LABEL)
		order = (label != TIMELINE_NO_LABEL) - !isnull;
	else
	{
		name = DatumGetTextPP(datum);
		own = mcdp_timeline_label_name(v, label, &len);
		order = compare_bytes(own, len, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	}
	if (order != 0)
		return order;

	datum = row_value(c, row, ROW_VALUE, &isnull);
	if (!isnull)
		value = DatumGetFloat8(datum);
	has_value = timeline_value(v, i, &own_value);
	if (isnull || !has_value)
		return has_value - !isnull;
	return (own_value > value) - (own_value < value);	/* JSON has no NaN */
}

static bool
condition_holds(const CriteriaCondition *condition, Jsonb *properties, TimestampTz at)
{
	JsonbValue	buffer;
	JsonbValue *json = getKeyJsonValueFromContainer(&properties->root, condition->key,
													condition->key_len, &buffer);
	CriteriaConst value;

	return json != NULL && mcdp_criteria_from_json(json, &value) &&
		mcdp_criteria_compare(&value, condition->cmp, condition->consts, condition->num_consts, at);
}

bool
mcdp_conditions_hold(const CriteriaEvent *event, Jsonb *properties, TimestampTz at)
{
	for (const CriteriaCondition *c = event->conditions; c != NULL; c = c->next)
		if (!condition_holds(c, properties, at))
			return false;
	return true;
}

static void
mark_entry(EventConditions *c, const TimelineView *v, uint32 i, uint64 row)
{
	bool		isnull;
	Datum		datum = row_value(c, row, ROW_PROPERTIES, &isnull);
	Jsonb	   *properties;
	const char *name;
	int			len;

	if (isnull)
		return;
	properties = DatumGetJsonbP(datum);
	if (!JB_ROOT_IS_OBJECT(properties))
		return;
	name = mcdp_timeline_event_name(v, timeline_event_code(v, i), &len);
	for (int k = 0; k < c->n; k++)
	{
		Wanted	   *wanted = &c->wanted[k];

		if (wanted->event->name_len != len || memcmp(wanted->event->name, name, len) != 0 ||
			!mcdp_conditions_hold(wanted->event, properties, c->at))
			continue;
		if (wanted->marks == NULL)
			wanted->marks = palloc0(timeline_num_events(v));
		wanted->marks[i] = 1;
	}
}

void
mcdp_conditions_mark(EventConditions *c, int64 id, const TimelineView *v)
{
	MemoryContext old = MemoryContextSwitchTo(c->mark_cx);
	uint64		row = 0,
				end = c->nrows;
	uint32		i = 0;

	MemoryContextReset(c->mark_cx);
	for (int k = 0; k < c->n; k++)
		c->wanted[k].marks = NULL;
	while (row < end)			/* the first row of this profile */
	{
		uint64		middle = row + (end - row) / 2;

		if (row_profile(c, middle) < id)
			row = middle + 1;
		else
			end = middle;
	}
	for (; row < c->nrows && row_profile(c, row) == id; row++)
	{
		bool		isnull;
		TimestampTz at = DatumGetTimestampTz(row_value(c, row, ROW_AT, &isnull));
		int			order = -1;

		CHECK_FOR_INTERRUPTS();
		if (i < timeline_num_events(v) && timeline_at(v, i) < at)
			i = mcdp_timeline_first_from(v, at);
		while (i < timeline_num_events(v) && (order = compare_entry(v, i, c, row)) < 0)
			i++;
		if (order == 0)
			mark_entry(c, v, i++, row);
	}
	MemoryContextSwitchTo(old);
}

const uint8 *
mcdp_conditions_of(const EventConditions *c, const CriteriaEvent *event)
{
	for (int k = 0; k < c->n; k++)
		if (c->wanted[k].event == event)
			return c->wanted[k].marks;
	elog(ERROR, "conditions of event \"%s\" were not fetched", event->name);
}
