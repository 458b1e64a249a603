/*-------------------------------------------------------------------------
 *
 * event_insert.c
 *	  Events and their message ids into the tables, without a query.
 *
 * The same rows in the same order as _record_events (22_event.sql) writes
 * them: message ids by their order, then the events into their partitions,
 * then the work rows.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/event_insert.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "store/event_insert.h"
#include "store/row_insert.h"

/* event, event_message, event_tail: positions */
enum
{
	EVENT_EVENT_ID = 1, EVENT_AT, EVENT_RECEIVED_AT, EVENT_PROFILE_ID, EVENT_VIA, EVENT_PARTICIPANTS, EVENT_EVENT,
	EVENT_PROPERTIES, EVENT_CONTEXT, EVENT_SOURCE, EVENT_MESSAGE_ID, EVENT_BACKFILL, EVENT_COLUMNS = EVENT_BACKFILL
};
enum
{
	MESSAGE_MESSAGE_ID = 1, MESSAGE_EVENT_ID, MESSAGE_PROFILE_ID, MESSAGE_AT, MESSAGE_COLUMNS = MESSAGE_AT
};
enum
{
	TAIL_PROFILE_ID = 1, TAIL_EVENT_ID, TAIL_OWNER_ID, TAIL_AT, TAIL_COLUMNS = TAIL_AT
};

#define MAX_MONTHS 24			/* of one batch */

typedef struct Month
{
	int			month;
	Target		target;
} Month;

Oid
mcdp_event_partition(Oid schema, TimestampTz at, int *month)
{
	char		name[NAMEDATALEN];
	int			y,
				mo,
				d;

	j2date(POSTGRES_EPOCH_JDATE + (int) floor((double) at / USECS_PER_DAY), &y, &mo, &d);
	*month = y * 12 + mo;
	snprintf(name, sizeof(name), "event_%04d_%02d", y, mo);
	return get_relname_relid(name, schema);
}

static int
compare_message_ids(const void *x, const void *y, void *collation)
{
	const NewEvent *a = *(NewEvent *const *) x;
	const NewEvent *b = *(NewEvent *const *) y;

	return DatumGetInt32(DirectFunctionCall2Coll(bttextcmp, *(Oid *) collation, PointerGetDatum(a->message_id), PointerGetDatum(b->message_id)));
}

/* Partitions of all events; false if one is missing or not for us. */
static bool
open_months(Oid schema, NewEvent *events, int num, Month *months, int *num_months, int *month_of)
{
	for (int i = 0; i < num; i++)
	{
		int			month;
		int			m = *num_months - 1;
		Oid			relid;

		if (events[i].event == NULL)
			continue;
		relid = mcdp_event_partition(schema, events[i].at, &month);
		for (; m >= 0 && months[m].month != month; m--)
			;
		if (m < 0)
		{
			m = *num_months;
			if (m == MAX_MONTHS || !mcdp_target_open_id(&months[m].target, relid, EVENT_COLUMNS))
				return false;
			months[m].month = month;
			(*num_months)++;
		}
		month_of[i] = m;
	}
	return true;
}

static void
claim_messages(Target *t, NewEvent *events, int num)
{
	NewEvent  **order = palloc(Max(num, 1) * sizeof(NewEvent *));
	Oid			collation = TupleDescAttr(RelationGetDescr(t->rel), MESSAGE_MESSAGE_ID - 1)->attcollation;
	int			n = 0;
	bool		ok = true;

	for (int i = 0; i < num; i++)
		if (events[i].message_id)
			order[n++] = &events[i];
	qsort_arg(order, n, sizeof(NewEvent *), compare_message_ids, &collation);
	for (int i = 0; i < n && ok; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mcdp_target_clear(t);
		mcdp_target_set_text(t, MESSAGE_MESSAGE_ID, order[i]->message_id);
		if (order[i]->event)
			mcdp_target_set(t, MESSAGE_EVENT_ID, Int64GetDatum(order[i]->event_id));
		mcdp_target_set(t, MESSAGE_PROFILE_ID, Int64GetDatum(order[i]->leaf));
		mcdp_target_set(t, MESSAGE_AT, TimestampTzGetDatum(order[i]->at));
		ok = mcdp_target_gather(t, true);
	}
	if (!ok || !mcdp_target_flush(t, true))
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE('C', 'D', 'P', '0', '2')),
				 errmsg("message was taken by another session")));
	pfree(order);
}

bool
mcdp_insert_events(Oid schema, NewEvent *events, int num, bool backfill)
{
	Target		parent = {NULL};
	Target		message = {NULL};
	Target		tail = {NULL};
	Month		months[MAX_MONTHS];
	int			num_months = 0;
	int		   *month_of = palloc(Max(num, 1) * sizeof(int));
	Datum		none = PointerGetDatum(construct_empty_array(INT8OID));
	bool		ok;

	/* the parent for its triggers and against DETACH PARTITION */
	ok = mcdp_target_open_id(&parent, get_relname_relid("event", schema), EVENT_COLUMNS) &&
		mcdp_target_open_id(&message, get_relname_relid("event_message", schema), MESSAGE_COLUMNS) &&
		mcdp_target_open_id(&tail, get_relname_relid("event_tail", schema), TAIL_COLUMNS) &&
		open_months(schema, events, num, months, &num_months, month_of);
	if (ok)
		claim_messages(&message, events, num);
	for (int i = 0; i < num && ok; i++)
	{
		NewEvent   *e = &events[i];
		Target	   *t;

		if (e->event == NULL)
			continue;
		CHECK_FOR_INTERRUPTS();
		t = &months[month_of[i]].target;
		mcdp_target_clear(t);
		mcdp_target_set(t, EVENT_EVENT_ID, Int64GetDatum(e->event_id));
		mcdp_target_set(t, EVENT_AT, TimestampTzGetDatum(e->at));
		mcdp_target_set(t, EVENT_RECEIVED_AT, TimestampTzGetDatum(e->received_at));
		mcdp_target_set(t, EVENT_PROFILE_ID, Int64GetDatum(e->leaf));
		mcdp_target_set(t, EVENT_VIA, e->via);
		mcdp_target_set(t, EVENT_PARTICIPANTS, none);
		mcdp_target_set_text(t, EVENT_EVENT, e->event);
		mcdp_target_set(t, EVENT_PROPERTIES, e->properties);
		mcdp_target_set(t, EVENT_CONTEXT, e->context);
		mcdp_target_set_text(t, EVENT_SOURCE, e->source);
		mcdp_target_set_text(t, EVENT_MESSAGE_ID, e->message_id);
		mcdp_target_set(t, EVENT_BACKFILL, BoolGetDatum(backfill));
		(void) mcdp_target_gather(t, false);

		mcdp_target_clear(&tail);
		mcdp_target_set(&tail, TAIL_PROFILE_ID, Int64GetDatum(e->leaf));
		mcdp_target_set(&tail, TAIL_EVENT_ID, Int64GetDatum(e->event_id));
		mcdp_target_set(&tail, TAIL_OWNER_ID, Int64GetDatum(e->leaf));
		mcdp_target_set(&tail, TAIL_AT, TimestampTzGetDatum(e->at));
		(void) mcdp_target_gather(&tail, false);
	}
	for (int m = 0; m < num_months; m++)
	{
		if (ok)
			(void) mcdp_target_flush(&months[m].target, false);
		mcdp_target_close(&months[m].target);
	}
	if (ok)
		(void) mcdp_target_flush(&tail, false);
	mcdp_target_close(&tail);
	mcdp_target_close(&message);
	mcdp_target_close(&parent);
	pfree(month_of);
	return ok;
}
