/*-------------------------------------------------------------------------
 *
 * audience_direct.c
 *	  Decides rules for few profiles, by their histories.
 *
 * Histories are read through the primary key, in order, without a query and
 * without workers: a few microseconds each.  Nearly everybody's history is one
 * row of timeline_part, his sole part; those of others (several parts or leaves,
 * or events still to be folded) are put together by _timelines_of.
 *
 * While a history is at hand it can also be asked when to look at the profile
 * again.  Only those are asked whom tags and traits leave open: for the others
 * it does not matter, and when it does, some tag or trait has changed.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_direct.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/compat.h"
#include "store/access.h"
#include "store/audience.h"
#include "store/audience_probe.h"
#include "store/chunk_scan.h"
#include "types/bitmap.h"
#include "types/timeline_datum.h"

#define BATCH	1000			/* histories put together at a time */

/* timeline_part (profile_id, part, sole, sealed, timeline): positions */
#define PART_SOLE		3
#define PART_TIMELINE	5

/* ---- rows by the first columns of a primary key ---- */

typedef struct KeyScan
{
	Relation	rel;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
} KeyScan;

static void
begin_key_scan(KeyScan *k, const char *table, const char *pkey, int nkeys)
{
	Oid			schema = get_namespace_oid("cdp", false);
	Oid			relid = get_relname_relid(table, schema);
	Oid			index_id = get_relname_relid(pkey, schema);

	if (!OidIsValid(relid) || !OidIsValid(index_id))
		elog(ERROR, "table \"%s\" or its primary key does not exist", table);
	k->rel = mcdp_open_to_read(relid, AccessShareLock, ACL_SELECT);
	k->index = index_open(index_id, AccessShareLock);
	k->slot = table_slot_create(k->rel, NULL);
	k->scan = mcdp_index_beginscan(k->rel, k->index, GetActiveSnapshot(), nkeys);
}

static bool
find_key(KeyScan *k, int64 id, int nkeys)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(0));
	index_rescan(k->scan, keys, nkeys, NULL, 0);
	return index_getnext_slot(k->scan, ForwardScanDirection, k->slot);
}

static void
end_key_scan(KeyScan *k)
{
	index_endscan(k->scan);
	ExecDropSingleTupleTableSlot(k->slot);
	index_close(k->index, AccessShareLock);
	table_close(k->rel, AccessShareLock);
}

/* ---- histories ---- */

/* Those that have to be put together. */
static void
take_batch(Oid bitmap_type, Rbuf *ids, TakeHistory take, void *arg)
{
	Datum		value = mcdp_rbuf_to_bitmap(ids);
	SPITupleTable *rows;
	uint64		nrows;

	if (SPI_execute_with_args("SELECT t.profile_id, t.timeline FROM cdp._timelines_of($1) t",
							  1, &bitmap_type, &value, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed");
	rows = SPI_tuptable;
	nrows = SPI_processed;
	for (uint64 i = 0; i < nrows; i++)
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		take(arg, DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull)),
			 SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));
	}
	SPI_freetuptable(rows);
	pfree(DatumGetPointer(value));
	mcdp_rbuf_clear(ids);
}

static void
take_split(MemoryContext cx, Oid bitmap_type, const Rbuf *split, TakeHistory take, void *arg)
{
	Rbuf	   *ids = mcdp_rbuf_create(cx);
	RbufIter	it;
	uint64		id;
	int			n = 0;

	mcdp_rbuf_iter_init(&it, split);
	while (mcdp_rbuf_iter_next(&it, &id))
	{
		mcdp_rbuf_add(ids, id);
		if (++n % BATCH == 0)
			take_batch(bitmap_type, ids, take, arg);
	}
	if (n % BATCH != 0)
		take_batch(bitmap_type, ids, take, arg);
	mcdp_rbuf_free(ids);
}

void
mcdp_histories_direct(MemoryContext cx, Oid bitmap_type, const Rbuf *ids, TakeHistory take, void *arg)
{
	Rbuf	   *merged = mcdp_chunk_members(cx, AUDIENCE_MERGED_TAG);
	Rbuf	   *split = mcdp_rbuf_create(cx);
	KeyScan		parts,
				tail;
	RbufIter	it;
	uint64		id;

	begin_key_scan(&parts, "timeline_part", "timeline_part_pkey", 2);
	begin_key_scan(&tail, "event_tail", "event_tail_pkey", 1);
	mcdp_rbuf_iter_init(&it, ids);
	while (mcdp_rbuf_iter_next(&it, &id))
	{
		bool		has_part,
					isnull;

		CHECK_FOR_INTERRUPTS();
		if (mcdp_rbuf_contains(merged, id))
		{
			mcdp_rbuf_add(split, id);
			continue;
		}
		has_part = find_key(&parts, (int64) id, 2);
		if (find_key(&tail, (int64) id, 1) ||
			(has_part && !DatumGetBool(slot_getattr(parts.slot, PART_SOLE, &isnull))))
			mcdp_rbuf_add(split, id);
		else if (has_part)
			take(arg, (int64) id, slot_getattr(parts.slot, PART_TIMELINE, &isnull));
	}
	end_key_scan(&tail);
	end_key_scan(&parts);
	take_split(cx, bitmap_type, split, take, arg);
	mcdp_rbuf_free(split);
	mcdp_rbuf_free(merged);
}

/* ---- one profile ---- */

typedef struct Direct
{
	PlanRun		run;			/* first: env.arg is this */
	AudienceRun *audience;
	AudienceLookups lookups;
	MemoryContext row_cx;
	Rbuf	   *result;
	Rbuf	   *seen;
	Rbuf	   *unknown;		/* the answer depends on properties … */
	Rbuf	   *else_yes;		/* … and is yes if nothing satisfies them */
} Direct;

static bool
direct_label_set(void *arg, const char *set, const char *label, int len)
{
	return mcdp_lookups_label_set(&((Direct *) arg)->lookups, set, label, len);
}

static void
direct_prior(void *arg, const char *event, const char *label, McdpPriorGap *out)
{
	mcdp_lookups_prior(&((Direct *) arg)->lookups, event, label, out);
}

static void
note_due(AudienceDues *dues, int64 id, TimestampTz at)
{
	if (dues->n == dues->space)
	{
		dues->space = Max(256, 2 * dues->space);
		dues->due = dues->due == NULL ?
			MemoryContextAllocHuge(dues->cx, dues->space * sizeof(AudienceDue)) :
			repalloc_huge(dues->due, dues->space * sizeof(AudienceDue));
	}
	dues->due[dues->n].id = id;
	dues->due[dues->n++].at = at;
}

static void
decide(void *arg, int64 id, Datum timeline)
{
	Direct	   *d = arg;
	MemoryContext old = MemoryContextSwitchTo(d->row_cx);
	AudienceDues *dues = d->audience->dues;
	TimelineView view;
	PlanAnswer	answer;

	mcdp_timeline_open(&view, DatumGetTimelineP(timeline));
	d->run.env.timeline = &view;
	answer = mcdp_plan_decide(&d->run, (uint64) id);
	mcdp_rbuf_add(d->seen, (uint64) id);
	if (answer == PLAN_YES)
		mcdp_rbuf_add(d->result, (uint64) id);
	else if (answer != PLAN_NO)
		mcdp_rbuf_add(d->unknown, (uint64) id);
	if (answer == PLAN_ASK_ELSE_YES)
		mcdp_rbuf_add(d->else_yes, (uint64) id);
	if (dues != NULL)
	{
		CriteriaEnv env = {.at = d->run.env.at,.timeline = &view,.label_set = direct_label_set,.prior = direct_prior,.arg = d};
		TimestampTz next = mcdp_criteria_next_change(d->audience->rule, &env);

		if (next != PG_INT64_MAX)
			note_due(dues, id, next);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->row_cx);
}

void
mcdp_audience_direct(AudienceRun *run, Datum lookups, Rbuf *result, Rbuf *seen,
					 Rbuf *unknown, Rbuf *else_yes)
{
	Direct		d = {.audience = run,.result = result,.seen = seen,.unknown = unknown,.else_yes = else_yes};

	for (int i = 1; i < run->plan->nsets; i++)
		if (run->sets[i] == NULL)
			run->sets[i] = mcdp_rbuf_create(run->cx);
	mcdp_plan_run_init(&d.run, run->plan, run->sets, run->at);
	d.run.env.label_set = direct_label_set;
	d.run.env.prior = direct_prior;
	d.run.env.arg = &d;
	mcdp_lookups_init(&d.lookups, lookups);
	d.row_cx = AllocSetContextCreate(run->cx, "audience direct", ALLOCSET_DEFAULT_SIZES);
	mcdp_histories_direct(run->cx, run->bitmap_type, run->sets[0], decide, &d);
	MemoryContextDelete(d.row_cx);
}
