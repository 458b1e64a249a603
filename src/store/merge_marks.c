/*-------------------------------------------------------------------------
 *
 * merge_marks.c
 *	  What every merge says of the profiles it is about.
 *
 * A leaf that was ever merged has a part 0 in timeline_part that is not the
 * whole timeline of a profile: 23_timeline_part says why.  Nearly always it has
 * had none, and gets one without events.
 *
 * In lock order, timelines before tags, each ascending.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/merge_marks.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/id_order.h"
#include "store/merge_rows.h"
#include "store/relid.h"
#include "store/statement.h"
#include "store/stitch.h"
#include "store/tag_point.h"

static Statement merge_timelines = {"SELECT cdp._merge_timelines($1)", 1, {INT8ARRAYOID}};

void
mcdp_merge_mark(MergeRows *rows, int64 leaf)
{
	if (rows->num_leaves == rows->max_leaves)
	{
		MemoryContext caller = MemoryContextSwitchTo(rows->context);

		rows->max_leaves = Max(2 * rows->max_leaves, 8);
		rows->leaf = rows->leaf ? repalloc_huge(rows->leaf, rows->max_leaves * sizeof(int64)) : palloc(rows->max_leaves * sizeof(int64));
		MemoryContextSwitchTo(caller);
	}
	rows->leaf[rows->num_leaves++] = leaf;
}

void
mcdp_merge_tag(MergeRows *rows, const char *tag, int64 id, bool present, bool unless_had)
{
	MemoryContext caller = MemoryContextSwitchTo(rows->context);

	if (rows->num_tags == rows->max_tags)
	{
		rows->max_tags = Max(2 * rows->max_tags, 8);
		rows->tag = rows->tag ? repalloc_huge(rows->tag, rows->max_tags * sizeof(MergeTag)) : palloc(rows->max_tags * sizeof(MergeTag));
	}
	/* the mark was not written in between */
	rows->tag[rows->num_tags++] = (MergeTag) {cstring_to_text(tag), id, present, unless_had, rows->num_leaves > 0};
	MemoryContextSwitchTo(caller);
}

/* A timeline without events. */
static Datum
empty_timeline(Relation rel)
{
	Form_pg_attribute type = TupleDescAttr(RelationGetDescr(rel), PART_TIMELINE - 1);
	Oid			in;
	Oid			param;

	getTypeInputInfo(type->atttypid, &in, &param);
	return OidInputFunctionCall(in, "{}", param, -1);
}

/* leaves that are left to _merge_timelines */
typedef struct Leaves
{
	Datum	   *leaf;
	int			num;
} Leaves;

static void
leave(TupleTableSlot *row, void *arg)
{
	Leaves	   *left = arg;
	bool		isnull;

	left->leaf[left->num++] = slot_getattr(row, PART_PROFILE_ID, &isnull);
}

/* Parts without events for leaves that have none. */
static void
make_parts(MergeRows *rows, const int64 *leaf, int num, Leaves *left)
{
	Target		t;
	Datum		empty;

	if (!mcdp_target_open_id(&t, mcdp_relid("timeline_part", mcdp_schema()), PART_COLUMNS, rows->estate))
	{
		for (int i = 0; i < num; i++)
			left->leaf[left->num++] = Int64GetDatum(leaf[i]);
		return;
	}
	empty = empty_timeline(t.rel);
	t.refused = leave;
	t.refused_arg = left;
	for (int i = 0; i < num; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mcdp_target_clear(&t);
		mcdp_target_set(&t, PART_PROFILE_ID, Int64GetDatum(leaf[i]));
		mcdp_target_set(&t, PART_PART, Int32GetDatum(0));
		mcdp_target_set(&t, PART_TIMELINE, empty);
		mcdp_target_set(&t, PART_SEALED, BoolGetDatum(false));
		mcdp_target_set(&t, PART_SOLE, BoolGetDatum(false));
		if (num > 2)
			(void) mcdp_target_gather(&t, true);
		else if (!mcdp_target_insert_alone(&t))
			left->leaf[left->num++] = Int64GetDatum(leaf[i]);
	}
	(void) mcdp_target_flush(&t, true);
	mcdp_target_close(&t);
	CommandCounterIncrement();
}

/*
 * What _merge_timelines does.  Those whose timelines were read together with
 * others before are left in rows->leaf.
 */
static void
group_timelines(MergeRows *rows)
{
	int64	   *without = palloc(rows->num_leaves * sizeof(int64));
	int			num_without = 0;
	Leaves		left = {palloc(rows->num_leaves * sizeof(Datum)), 0};
	Probe	   *probe = NULL;
	int			n = 0;

	qsort(rows->leaf, rows->num_leaves, sizeof(int64), mcdp_compare_ids);
	rows->num_leaves = qunique(rows->leaf, rows->num_leaves, sizeof(int64), mcdp_compare_ids);
	for (int i = 0; i < rows->num_leaves; i++)
	{
		ScanKeyData key[2];

		CHECK_FOR_INTERRUPTS();
		mcdp_probe_id_key(&key[0], PART_PROFILE_ID, rows->leaf[i]);
		ScanKeyInit(&key[1], PART_PART, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(0));
		if (probe)
			mcdp_probe_again(probe, key, 2);
		else
			probe = mcdp_probe_begin("timeline_part", "timeline_part_pkey", GetActiveSnapshot(), key, 2);
		if (!mcdp_probe_next(probe))
			without[num_without++] = rows->leaf[i];
		else if (DatumGetBool(mcdp_probe_value(probe, PART_SOLE)))
			left.leaf[left.num++] = Int64GetDatum(rows->leaf[i]);
		else
			rows->leaf[n++] = rows->leaf[i];
	}
	mcdp_probe_end(probe);
	rows->num_leaves = n;
	if (num_without > 0)
		make_parts(rows, without, num_without, &left);
	if (left.num > 0)
	{
		Datum		leaves = PointerGetDatum(construct_array(left.leaf, left.num, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));

		mcdp_spi_connect();
		mcdp_statement_do(&merge_timelines, &leaves);
		mcdp_spi_finish();
	}
	pfree(left.leaf);
	pfree(without);
}

/* Has the profile the tag already? */
static bool
is_had(MergeRows *rows, const MergeTag *t)
{
	return t->unless_had && (!t->if_grouped || bsearch(&t->id, rows->leaf, rows->num_leaves, sizeof(int64), mcdp_compare_ids) != NULL) &&
		mcdp_tag_probe(t->id, PointerGetDatum(t->tag), GetActiveSnapshot());
}

static void
put_tags(MergeRows *rows)
{
	PendingChange *changes = MemoryContextAllocHuge(CurrentMemoryContext, rows->num_tags * sizeof(PendingChange));
	int			num = 0;

	for (int i = 0; i < rows->num_tags; i++)
	{
		MergeTag   *t = &rows->tag[i];

		if (!is_had(rows, t))
			changes[num++] = (PendingChange) {PointerGetDatum(t->tag), t->id, t->present};
	}
	mcdp_spi_connect();
	mcdp_pending_put(changes, num);
	mcdp_spi_finish();
	for (int i = 0; i < rows->num_tags; i++)
		pfree(rows->tag[i].tag);
	pfree(changes);
}

void
mcdp_merge_marks_write(MergeRows *rows)
{
	if (rows->num_leaves + rows->num_tags == 0)
		return;
	PushCopiedSnapshot(GetTransactionSnapshot());
	UpdateActiveSnapshotCommandId();
	if (rows->num_leaves > 0)
		group_timelines(rows);
	if (rows->num_tags > 0)
		put_tags(rows);
	rows->num_leaves = rows->num_tags = 0;
	PopActiveSnapshot();
	CommandCounterIncrement();
}
