/*-------------------------------------------------------------------------
 *
 * event_insert.c
 *	  Events and their message ids into the tables, without a query.
 *
 * The same rows as _record_events (22_event.sql) writes: message ids in the
 * order of their bytes, then the events into their partitions and the work
 * rows.  These two go by their owner, for all their keys begin with it, the
 * events partition by partition: history in random order has all its months in
 * every batch.
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

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "core/compat.h"
#include "core/text_order.h"
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

typedef struct Month
{
	int			month;
	Target		target;
} Month;

/* the partitions of a batch */
typedef struct Months
{
	Month	   *month;
	int			num;
	int			max;
} Months;

int
mcdp_event_month(TimestampTz at)
{
	int			y,
				m,
				d;

	j2date(POSTGRES_EPOCH_JDATE + (int) floor((double) at / USECS_PER_DAY), &y, &m, &d);
	return y * 12 + m - 1;
}

Oid
mcdp_event_partition(Oid schema, int month)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "event_%04d_%02d", month / 12, month % 12 + 1);
	return get_relname_relid(name, schema);
}

static int
compare_owners(const void *x, const void *y)
{
	const NewEvent *a = *(NewEvent *const *) x;
	const NewEvent *b = *(NewEvent *const *) y;

	if (a->leaf != b->leaf)
		return a->leaf < b->leaf ? -1 : 1;
	return (a->event_id > b->event_id) - (a->event_id < b->event_id);
}

static int
compare_partitions(const void *x, const void *y)
{
	const NewEvent *a = *(NewEvent *const *) x;
	const NewEvent *b = *(NewEvent *const *) y;

	if (a->partition != b->partition)
		return a->partition < b->partition ? -1 : 1;
	return compare_owners(x, y);
}

static Datum
participants_of(const NewEvent *e)
{
	Datum	   *leaf = palloc(Max(e->num_participants, 1) * sizeof(Datum));

	for (int i = 0; i < e->num_participants; i++)
		leaf[i] = Int64GetDatum(e->participants[i]);
	return PointerGetDatum(construct_array(leaf, e->num_participants, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static int
compare_message_ids(const void *x, const void *y)
{
	text	   *a = (*(NewEvent *const *) x)->message_id;
	text	   *b = (*(NewEvent *const *) y)->message_id;

	return mcdp_compare_texts(a, b);
}

/* Open the partitions of all events and note which is whose; false if one is missing or not for us. */
static bool
open_months(Oid schema, NewEvent *events, int num, EState *estate, Months *months)
{
	int			m = 0;			/* most events are of the same month as the one before */

	for (int i = 0; i < num; i++)
	{
		int			month;

		if (events[i].event == NULL)
			continue;
		month = mcdp_event_month(events[i].at);
		if (m >= months->num || months->month[m].month != month)
		{
			for (m = 0; m < months->num && months->month[m].month != month; m++)
				;
			if (m == months->max)
			{
				months->max = Max(16, 2 * months->max);
				months->month = months->month ? repalloc(months->month, months->max * sizeof(Month)) : palloc(months->max * sizeof(Month));
			}
			if (m == months->num)
			{
				if (!mcdp_target_open_id(&months->month[m].target, mcdp_event_partition(schema, month), EVENT_COLUMNS, estate))
					return false;
				months->month[months->num++].month = month;
			}
		}
		events[i].partition = m;
	}
	return true;
}

static pg_noinline void
claim_messages(Target *t, NewEvent **order, int num)
{
	bool		ok = true;
	bool		isnull;

	qsort(order, num, sizeof(NewEvent *), compare_message_ids);
	for (int i = 0; i < num && ok; i++)
	{
		NewEvent   *e = order[i];

		CHECK_FOR_INTERRUPTS();
		mcdp_target_clear(t);
		mcdp_target_set_text(t, MESSAGE_MESSAGE_ID, e->message_id);
		if (e->event)
			mcdp_target_set(t, MESSAGE_EVENT_ID, Int64GetDatum(e->event_id));
		mcdp_target_set(t, MESSAGE_PROFILE_ID, Int64GetDatum(e->leaf));
		mcdp_target_set(t, MESSAGE_AT, TimestampTzGetDatum(e->at));
		ok = mcdp_target_gather(t, true);
	}
	if (!ok || !mcdp_target_flush(t, true))
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE('C', 'D', 'P', '0', '2')),
				 errmsg_internal("message"),
				 errdetail_internal("%s", TextDatumGetCString(slot_getattr(t->slot, MESSAGE_MESSAGE_ID, &isnull)))));
}

static pg_noinline void
store_events(Months *months, NewEvent **order, int num, bool backfill)
{
	Datum		none = PointerGetDatum(construct_empty_array(INT8OID));

	qsort(order, num, sizeof(NewEvent *), compare_partitions);
	for (int i = 0; i < num; i++)
	{
		NewEvent   *e = order[i];
		Target	   *t = &months->month[e->partition].target;

		CHECK_FOR_INTERRUPTS();
		mcdp_target_clear(t);
		mcdp_target_set(t, EVENT_EVENT_ID, Int64GetDatum(e->event_id));
		mcdp_target_set(t, EVENT_AT, TimestampTzGetDatum(e->at));
		mcdp_target_set(t, EVENT_RECEIVED_AT, TimestampTzGetDatum(e->received_at));
		mcdp_target_set(t, EVENT_PROFILE_ID, Int64GetDatum(e->leaf));
		if (e->via)
			mcdp_target_set(t, EVENT_VIA, e->via);
		mcdp_target_set(t, EVENT_PARTICIPANTS, e->num_participants > 0 ? participants_of(e) : none);
		mcdp_target_set_text(t, EVENT_EVENT, e->event);
		mcdp_target_set(t, EVENT_PROPERTIES, e->properties);
		mcdp_target_set(t, EVENT_CONTEXT, e->context);
		mcdp_target_set_text(t, EVENT_SOURCE, e->source);
		mcdp_target_set_text(t, EVENT_MESSAGE_ID, e->message_id);
		mcdp_target_set(t, EVENT_BACKFILL, BoolGetDatum(backfill));
		(void) mcdp_target_gather(t, false);
		if (i == num - 1 || order[i + 1]->partition != e->partition)
		{
			(void) mcdp_target_flush(t, false);
			mcdp_target_close(t);		/* what it holds for rows need not be there for each month */
		}
	}
}

/* an event for one of those whose it is */
typedef struct Tail
{
	int64		leaf;
	NewEvent   *event;
} Tail;

static int
compare_tails(const void *x, const void *y)
{
	const Tail *a = x;
	const Tail *b = y;

	if (a->leaf != b->leaf)
		return a->leaf < b->leaf ? -1 : 1;
	return (a->event->event_id > b->event->event_id) - (a->event->event_id < b->event->event_id);
}

static pg_noinline void
store_tail(Target *t, NewEvent **order, int num)
{
	Size		n = 0;
	Tail	   *tail;

	for (int i = 0; i < num; i++)
		n += 1 + order[i]->num_participants;
	tail = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(Tail));
	n = 0;
	for (int i = 0; i < num; i++)
	{
		tail[n++] = (Tail) {order[i]->leaf, order[i]};
		for (int p = 0; p < order[i]->num_participants; p++)
			tail[n++] = (Tail) {order[i]->participants[p], order[i]};
	}
	qsort(tail, n, sizeof(Tail), compare_tails);
	n = qunique(tail, n, sizeof(Tail), compare_tails);
	for (Size i = 0; i < n; i++)
	{
		NewEvent   *e = tail[i].event;

		CHECK_FOR_INTERRUPTS();
		mcdp_target_clear(t);
		mcdp_target_set(t, TAIL_PROFILE_ID, Int64GetDatum(tail[i].leaf));
		mcdp_target_set(t, TAIL_EVENT_ID, Int64GetDatum(e->event_id));
		mcdp_target_set(t, TAIL_OWNER_ID, Int64GetDatum(e->leaf));
		mcdp_target_set(t, TAIL_AT, TimestampTzGetDatum(e->at));
		(void) mcdp_target_gather(t, false);
	}
	(void) mcdp_target_flush(t, false);
	pfree(tail);
}

/* What _record_events does, or false if that has to. */
static bool
insert_events(Oid schema, NewEvent *events, int num, bool backfill)
{
	Target		parent = {NULL};
	Target		message = {NULL};
	Target		tail = {NULL};
	Months		months = {NULL};
	bool		ok;

	/* the parent for its triggers and against DETACH PARTITION */
	ok = mcdp_target_open_id(&parent, get_relname_relid("event", schema), EVENT_COLUMNS, NULL) &&
		mcdp_target_open_id(&message, get_relname_relid("event_message", schema), MESSAGE_COLUMNS, NULL) &&
		mcdp_target_open_id(&tail, get_relname_relid("event_tail", schema), TAIL_COLUMNS, NULL) &&
		open_months(schema, events, num, parent.estate, &months);
	if (ok)
	{
		NewEvent  **order = MemoryContextAllocHuge(CurrentMemoryContext, Max(num, 1) * sizeof(NewEvent *));
		int			n = 0;

		for (int i = 0; i < num; i++)
			if (events[i].message_id)
				order[n++] = &events[i];
		claim_messages(&message, order, n);
		n = 0;
		for (int i = 0; i < num; i++)
			if (events[i].event)
				order[n++] = &events[i];
		store_events(&months, order, n, backfill);
		store_tail(&tail, order, n);
		pfree(order);
	}
	for (int m = 0; m < months.num; m++)
		mcdp_target_close(&months.month[m].target);
	mcdp_target_close(&tail);
	mcdp_target_close(&message);
	mcdp_target_close(&parent);
	return ok;
}

/* Hand events to _record_events. */
static void
record_by_query(Oid schema, NewEvent *events, int num, bool backfill)
{
	static SPIPlanPtr plan = NULL;
	static Oid	plan_type = InvalidOid;
	Oid			event_type = get_rel_type_id(get_relname_relid("event", schema));
	Oid			array_type = get_array_type(event_type);
	TupleDesc	desc = lookup_rowtype_tupdesc(event_type, -1);
	Datum	   *rows = MemoryContextAllocHuge(CurrentMemoryContext, Max(num, 1) * sizeof(Datum));
	Datum		values[1];
	bool		isnull;

	if (desc->natts != EVENT_COLUMNS)
		elog(ERROR, "table event has %d columns", desc->natts);
	for (int i = 0; i < num; i++)
	{
		NewEvent   *e = &events[i];
		Datum		v[EVENT_COLUMNS] = {0};
		bool		nulls[EVENT_COLUMNS];

		memset(nulls, true, sizeof(nulls));
#define SET(column, value) (v[(column) - 1] = (value), nulls[(column) - 1] = false)
		SET(EVENT_AT, TimestampTzGetDatum(e->at));
		SET(EVENT_RECEIVED_AT, TimestampTzGetDatum(e->received_at));
		SET(EVENT_PROFILE_ID, Int64GetDatum(e->leaf));
		if (e->source)
			SET(EVENT_SOURCE, PointerGetDatum(e->source));
		if (e->message_id)
			SET(EVENT_MESSAGE_ID, PointerGetDatum(e->message_id));
		if (e->event)
		{
			SET(EVENT_EVENT_ID, Int64GetDatum(e->event_id));
			if (e->via)
				SET(EVENT_VIA, e->via);
			SET(EVENT_PARTICIPANTS, participants_of(e));
			SET(EVENT_EVENT, PointerGetDatum(e->event));
			SET(EVENT_PROPERTIES, e->properties);
			SET(EVENT_CONTEXT, e->context);
			SET(EVENT_BACKFILL, BoolGetDatum(backfill));
		}
#undef SET
		rows[i] = heap_copy_tuple_as_datum(heap_form_tuple(desc, v, nulls), desc);
	}
	values[0] = PointerGetDatum(construct_array(rows, num, event_type, -1, false, TYPALIGN_DOUBLE));
	SPI_connect();
	/* another type when the extension was made anew */
	if (plan != NULL && plan_type != array_type)
	{
		SPI_freeplan(plan);
		plan = NULL;
	}
	if (plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare("SELECT cdp._record_events($1)", 1, &array_type);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		plan = made;
		plan_type = array_type;
	}
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	if (DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) != num)
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE('C', 'D', 'P', '0', '2')),
				 errmsg("message was taken by another session")));
	SPI_finish();
	ReleaseTupleDesc(desc);
}

void
mcdp_record_events(Oid schema, NewEvent *events, int num, bool backfill)
{
	if (num > 0 && (IsolationUsesXactSnapshot() || !insert_events(schema, events, num, backfill)))
		record_by_query(schema, events, num, backfill);
}
