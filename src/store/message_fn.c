/*-------------------------------------------------------------------------
 *
 * message_fn.c
 *	  Segment messages that are plain, many at once.
 *
 * They are read (message_read.c), stitched together (stitch_many.c), and what
 * they say is stored together: traits, members (message_store.c) and events
 * (event_insert.c).  What is not plain is left to _read_message and
 * _take_messages (24_ingest.sql).
 *
 * The stages are functions of their own, never inlined: bench/identity.sh tells
 * them apart in a profile.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/message_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "core/text_order.h"
#include "store/event_insert.h"
#include "store/message_store.h"
#include "store/stitch.h"

PG_FUNCTION_INFO_V1(mcdp__take_plain);

static pg_noinline void
read_messages(Jsonb **payload, Message *message, int num)
{
	for (int i = 0; i < num; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mcdp_read_message(payload[i], &message[i]);
	}
}

/* by message id, then in order */
static int
compare_ids(const void *x, const void *y)
{
	const Message *a = *(Message *const *) x;
	const Message *b = *(Message *const *) y;
	int			c = mcdp_compare_texts(a->message_id, b->message_id);

	return c != 0 ? c : (a > b) - (a < b);
}

/*
 * Of messages with the same id the first one counts: later ones are repeated,
 * or go the way of the first, which may have something wrong with it.  Repeated
 * are those, too, whose id is in event_message.
 */
static pg_noinline void
find_repeated(Message *message, int num, Oid schema)
{
	Keyed		table = mcdp_open_keyed(schema, "event_message", "event_message_pkey");
	Relation	index = index_open(table.index, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	IndexScanDesc scan = mcdp_index_beginscan(table.rel, index, snapshot, 1);
	TupleTableSlot *slot = table_slot_create(table.rel, NULL);
	bool		empty = RelationGetNumberOfBlocks(table.rel) == 0;
	Message   **order = MemoryContextAllocHuge(CurrentMemoryContext, Max(num, 1) * sizeof(Message *));
	int			n = 0;
	Message    *first = NULL;

	for (int i = 0; i < num; i++)
		if (message[i].message_id)
			order[n++] = &message[i];
	qsort(order, n, sizeof(Message *), compare_ids);
	for (int i = 0; i < n; i++)
	{
		Message    *m = order[i];
		ScanKeyData key;

		CHECK_FOR_INTERRUPTS();
		if (first && mcdp_compare_texts(first->message_id, m->message_id) == 0)
		{
			if (m->kind != MESSAGE_OTHER)
				m->kind = first->kind == MESSAGE_OTHER ? MESSAGE_OTHER : MESSAGE_REPEATED;
			m->first = first;
			continue;
		}
		first = m;
		if (m->kind == MESSAGE_OTHER || empty)
			continue;
		ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, index->rd_indcollation[0], F_TEXTEQ, PointerGetDatum(m->message_id));
		index_rescan(scan, &key, 1, NULL, 0);
		if (index_getnext_slot(scan, ForwardScanDirection, slot))
			m->kind = MESSAGE_REPEATED;
	}
	pfree(order);
	ExecDropSingleTupleTableSlot(slot);
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(table.rel, AccessShareLock);
}

/*
 * Those that could not be stitched together with the others, one by one: they
 * merge profiles, say.  From the first that is not plain on they are left.
 */
static pg_noinline void
stitch_rest(ManyCall *calls, int num, Oid identifier_type)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "stitch_rest", ALLOCSET_DEFAULT_SIZES);

	for (ManyCall *c = calls; c < calls + num; c++)
	{
		Stitched	who;

		if (c->is_foreign || c->done || c->later || c->after_foreign)
			continue;
		if (c->either)
			break;
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		c->done = mcdp_stitch_one(identifier_type, c->ids, c->num, &c->call, STITCH_ALONE, &who);
		MemoryContextSwitchTo(caller);
		if (!c->done)
			break;
		c->leaf = who.leaf;
		c->via = datumCopy(who.via, false, -1);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

/* Store the events, and what only has a message id. */
static pg_noinline void
record_events(Message *message, ManyCall *calls, TimestampTz *received, int num, bool backfill, Oid schema)
{
	Oid			sequence = get_relname_relid("event_id_seq", schema);
	NewEvent   *events = MemoryContextAllocHuge(CurrentMemoryContext, Max(num, 1) * sizeof(NewEvent));
	Datum		empty = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	int			n = 0;

	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];
		NewEvent   *e = &events[n];

		if (m->kind < MESSAGE_EVENT || (m->kind != MESSAGE_EVENT && m->message_id == NULL))
			continue;
		memset(e, 0, sizeof(*e));
		e->at = m->at;
		e->received_at = received[i];
		e->leaf = calls[m->call].leaf;
		e->source = m->source;
		e->message_id = m->message_id;
		if (m->kind == MESSAGE_EVENT)
		{
			e->event_id = nextval_internal(sequence, true);
			e->via = calls[m->call].via;
			e->event = m->event;
			e->properties = m->properties ? PointerGetDatum(m->properties) : empty;
			e->context = m->context ? PointerGetDatum(m->context) : empty;
			e->num_participants = m->num_others;
			e->participants = m->num_others ? palloc(m->num_others * sizeof(int64)) : NULL;
			for (int p = 0; p < m->num_others; p++)
				e->participants[p] = calls[m->call + 1 + p].leaf;
		}
		n++;
	}
	mcdp_record_events(schema, events, n, backfill);
	pfree(events);
}

/* Make the partitions that are missing, before any identifier is locked: see _event_partition. */
static void
make_partitions(Message *message, int num, bool locking, Oid schema)
{
	static SPIPlanPtr plan = NULL;
	Oid			type = TIMESTAMPTZOID;
	int			last = -1;		/* most messages are of the same month as the one before */

	for (int i = 0; i < num; i++)
	{
		Datum		at = TimestampTzGetDatum(message[i].at);
		int			month;

		if (message[i].kind != MESSAGE_EVENT)
			continue;
		month = mcdp_event_month(message[i].at);
		if (month == last)
			continue;
		last = month;
		if (OidIsValid(mcdp_event_partition(schema, month)))
			continue;
		if (locking)
			mcdp_lock_identities(true);
		mcdp_run("SELECT cdp._event_partition($1)", &plan, 1, &type, &at, NULL);
	}
}

static ManyCall *
add_call(ManyCall *c, Message *m, int first, int num)
{
	c->call.at = m->at;
	c->call.source = m->source;
	c->call.message_id = m->message_id;
	c->ids = m->ids + first;
	c->num = num;
	m->num_calls++;
	return c;
}

/* Its calls; returns how many. */
static int
add_calls(ManyCall *c, Message *m)
{
	if (m->num_ids > 0 || m->num_others == 0)
	{
		ManyCall   *first = add_call(c, m, 0, m->num_ids);

		first->is_foreign = m->kind == MESSAGE_OTHER;
		first->either = m->kind == MESSAGE_ALIAS;
	}
	/* each by itself: a store is never merged with its customer */
	for (int i = 0; i < m->num_others; i++)
		add_call(c + m->num_calls, m, m->num_ids + i, 1)->call.message_id = NULL;
	return m->num_calls;
}

/*
 * _take_plain(payloads jsonb[], received timestamptz[], backfill boolean, many boolean, in_order boolean, may_be_later boolean,
 *			   identifier regtype, OUT taken bigint, OUT rest int[], OUT later int[])
 *
 * Takes the plain ones; "rest" are the positions of the others, in order,
 * "later" those about profiles that another session holds.
 */
Datum
mcdp__take_plain(PG_FUNCTION_ARGS)
{
	Datum	   *payloads;
	Datum	   *received;
	bool	   *nulls;
	int			num;
	int			num_received;
	Jsonb	  **payload;
	TimestampTz *received_at;
	Message    *message;
	ManyCall   *calls;
	int			num_calls = 0;
	Size		num_others = 0;
	int			taken = 0;
	Datum	   *rest;
	int			num_rest = 0;
	Datum	   *later;
	int			num_later = 0;
	bool		backfill = PG_GETARG_BOOL(2);
	bool		many = PG_GETARG_BOOL(3);
	bool		in_order = PG_GETARG_BOOL(4);
	bool		may_be_later = PG_GETARG_BOOL(5);
	Oid			identifier_type = PG_GETARG_OID(6);
	bool		others = false;
	Lookup		lk;
	Datum		values[3];
	bool		isnull[3] = {false, false, false};
	TupleDesc	desc;
	Oid			schema = get_namespace_oid("cdp", false);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), JSONBOID, -1, false, TYPALIGN_INT, &payloads, &nulls, &num);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &received, NULL, &num_received);
	if (num != num_received)
		elog(ERROR, "arrays differ in length");
	payload = palloc(Max(num, 1) * sizeof(Jsonb *));
	received_at = palloc(Max(num, 1) * sizeof(TimestampTz));
	message = MemoryContextAllocExtended(CurrentMemoryContext, Max(num, 1) * sizeof(Message), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < num; i++)
	{
		payload[i] = DatumGetJsonbP(payloads[i]);
		received_at[i] = DatumGetTimestampTz(received[i]);
	}
	read_messages(payload, message, num);
	find_repeated(message, num, schema);
	make_partitions(message, num, many, schema);
	for (int i = 0; i < num; i++)
		num_others += message[i].num_others;

	calls = MemoryContextAllocExtended(CurrentMemoryContext, Max(num + num_others, 1) * sizeof(ManyCall), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];

		others |= m->kind == MESSAGE_OTHER;
		if (in_order && others)
		{
			if (m->kind >= MESSAGE_EVENT)
				m->kind = MESSAGE_OTHER;
			continue;
		}
		if (m->kind == MESSAGE_REPEATED)
			continue;
		if (m->kind == MESSAGE_OTHER)
			mcdp_read_names(payload[i], m);
		m->call = num_calls;
		num_calls += add_calls(&calls[num_calls], m);
	}
	mcdp_lookup_begin(&lk, identifier_type);
	mcdp_stitch_many(&lk, calls, num_calls, in_order, many, others, may_be_later);
	mcdp_lookup_end(&lk);
	/* who takes many and is the only one holds and waits */
	if (!many)
		mcdp_hurry(HURRY_LITTLE);
	else if (!mcdp_holds_identities(true))
		mcdp_hurry(HURRY_SOME);
	stitch_rest(calls, num_calls, identifier_type);
	mcdp_messages_lock(message, calls, num, many, may_be_later);

	rest = palloc(Max(num, 1) * sizeof(Datum));
	later = palloc(Max(num, 1) * sizeof(Datum));
	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];

		m->put_off = mcdp_message_is_later(m, calls) || (m->kind == MESSAGE_REPEATED && m->first && m->first->put_off);
		if (m->kind == MESSAGE_REPEATED ? m->first && m->first->kind == MESSAGE_OTHER : !mcdp_message_is_stitched(m, calls))
			m->kind = MESSAGE_OTHER;
		if (m->put_off)
			later[num_later++] = Int32GetDatum(i + 1);
		else if (m->kind == MESSAGE_OTHER)
			rest[num_rest++] = Int32GetDatum(i + 1);
		else
			taken++;
	}
	mcdp_messages_store(payload, message, calls, received_at, num, backfill);
	record_events(message, calls, received_at, num, backfill, schema);

	values[0] = Int64GetDatum(taken);
	values[1] = PointerGetDatum(construct_array(rest, num_rest, INT4OID, 4, true, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(later, num_later, INT4OID, 4, true, TYPALIGN_INT));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}
