/*-------------------------------------------------------------------------
 *
 * merge_fn.c
 *	  Two canonical profiles become one.
 *
 * Most profiles that are merged have little: two or three identifiers, some
 * events, no journey, no decision about consent.  So each part of a merge is
 * asked first whether the profiles have anything of that kind, with a probe of
 * an index; then, and only then, its function in SQL is called.  What every
 * merge writes is written here, without a query if the caller may write to the
 * table and nothing else happens on it.
 *
 * What belongs to identifiers and to leaves is not touched: see 25_merge.sql.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/merge_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "core/compat.h"
#include "store/access.h"
#include "store/merge.h"
#include "store/merge_rows.h"
#include "store/relid.h"
#include "store/row_insert.h"
#include "store/statement.h"
#include "store/stitch.h"
#include "store/tag_point.h"
#include "types/chunk.h"

#define MERGED_TAG "\001merged"

PG_FUNCTION_INFO_V1(mcdp__merge_profiles);
extern Datum mcdp__lock_tags(PG_FUNCTION_ARGS);

static Relation
open_table(Oid schema, const char *name, LOCKMODE mode)
{
	Oid			relid = mcdp_relid(name, schema);

	if (!OidIsValid(relid))
		elog(ERROR, "table \"%s\" does not exist", name);
	return table_open(relid, mode);
}

/* What there is now, for the next probes. */
static void
look_again(void)
{
	PopActiveSnapshot();
	PushCopiedSnapshot(GetTransactionSnapshot());
	UpdateActiveSnapshotCommandId();
}

/* Is there a row with this profile in the first column of the index? */
static bool
has_row(const char *table, const char *index, AttrNumber column, int64 profile)
{
	ScanKeyData key;
	Probe	   *probe;
	bool		result;

	if (mcdp_table_is_blank(table))
		return false;
	mcdp_probe_id_key(&key, column, profile);
	probe = mcdp_probe_begin(table, index, GetActiveSnapshot(), &key, 1);
	result = mcdp_probe_next(probe);
	mcdp_probe_end(probe);
	return result;
}

/* The parts that profiles have seldom; arguments: survivor, merged, at. */
static void
run_part(MergeRows *rows, Statement *statement, Datum *args)
{
	mcdp_merge_rows_write(rows);
	mcdp_spi_connect();
	mcdp_statement_do(statement, args);
	mcdp_spi_finish();
	look_again();
}

static Statement merge_journeys = {"SELECT cdp._merge_journeys($1, $2, $3)", 3, {INT8OID, INT8OID, TIMESTAMPTZOID}};
static Statement recall_traits = {"SELECT cdp._recall_traits(ARRAY[$1], $3)", 3, {INT8OID, INT8OID, TIMESTAMPTZOID}};
static Statement merge_lifecycle = {"SELECT cdp._merge_lifecycle($1, $2, $3)", 3, {INT8OID, INT8OID, TIMESTAMPTZOID}};
static Statement merge_purchase_due = {"SELECT cdp._merge_purchase_due($1)", 1, {INT8OID}};
static Statement merge_rfm = {"SELECT cdp._merge_rfm($1, $2, $3)", 3, {INT8OID, INT8OID, TIMESTAMPTZOID}};
static Statement merge_segments = {"SELECT cdp._merge_segments($1, $2, $3)", 3, {INT8OID, INT8OID, TIMESTAMPTZOID}};
static Statement merge_tags = {"SELECT cdp._merge_tags($1, $2, $3)", 3, {INT8OID, INT8OID, INT8OID}};
static Statement merge_consent = {"SELECT cdp._merge_consent($1)", 1, {INT8OID}};
static Statement move_leaves = {
	"UPDATE cdp.profile p SET canonical_id = $1 WHERE p.canonical_id OPERATOR(pg_catalog.=) $2", 2, {INT8OID, INT8OID}
};

/*
 * May this user update table profile, and does nothing else happen when it is
 * canonical_id that changes?  Of our own triggers one is about other columns,
 * the other about traits that are indexed.
 */
static bool
updatable(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		Trigger    *t = &triggers->triggers[i];

		if ((t->tgtype & TRIGGER_TYPE_UPDATE) && strcmp(t->tgname, "profile_keep_universe") != 0 &&
			!(strcmp(t->tgname, "profile_queue_traits") == 0 && mcdp_table_is_blank("trait_index")))
			return false;
	}
	return mcdp_may(RelationGetRelid(rel), ACL_UPDATE) &&
		check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_NONE &&
		!rel->rd_rel->relhasrules && RelationGetDescr(rel)->natts == PROFILE_COLUMNS;
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = DatumGetInt64(*(const Datum *) a);
	int64		y = DatumGetInt64(*(const Datum *) b);

	return (x > y) - (x < y);
}

/* A row of table profile gets another canonical_id. */
static void
update_profile(Relation rel, HeapTuple tuple, int64 survivor, EState *estate, ResultRelInfo *info, TupleTableSlot *slot)
{
	Datum		values[PROFILE_COLUMNS];
	bool		nulls[PROFILE_COLUMNS] = {false};
	bool		replaces[PROFILE_COLUMNS] = {false};
	TM_FailureData failure;
	LockTupleMode mode;
	McdpUpdateIndexes indexes;

	values[PROFILE_CANONICAL_ID - 1] = Int64GetDatum(survivor);
	replaces[PROFILE_CANONICAL_ID - 1] = true;
	ExecForceStoreHeapTuple(heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces), slot, true);
	slot->tts_tableOid = RelationGetRelid(rel);
	switch (table_tuple_update(rel, &tuple->t_self, slot, GetCurrentCommandId(true), GetActiveSnapshot(), InvalidSnapshot,
							   true, &failure, &mode, &indexes))
	{
		case TM_Ok:
			break;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update")));
			/* FALLTHROUGH */
		default:
			elog(ERROR, "profile was changed by somebody who did not lock it");
	}
	if (!mcdp_update_all_indexes(indexes))
		elog(ERROR, "canonical_id is not indexed");
	mcdp_insert_index_tuples(info, slot, estate, false, NULL);
	ResetPerTupleExprContext(estate);
}

/* The leaves of the merged profile go over to the survivor; returns them, ascending, and of what kind they are. */
static Datum *
move_profiles(Oid schema, MergeRows *rows, int64 survivor, int64 merged, int *num, char **kind)
{
	Relation	rel = open_table(schema, "profile", RowExclusiveLock);
	Oid			index = mcdp_relid("profile_canonical_id_idx", schema);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *tuples = NIL;
	ListCell   *lc;
	Datum	   *members;
	bool		isnull;

	mcdp_probe_id_key(&key, PROFILE_CANONICAL_ID, merged);
	scan = systable_beginscan(rel, index, true, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		tuples = lappend(tuples, heap_copytuple(tuple));
	systable_endscan(scan);
	members = palloc(Max(list_length(tuples), 1) * sizeof(Datum));
	*num = 0;
	*kind = "";
	foreach(lc, tuples)
	{
		members[(*num)++] = heap_getattr(lfirst(lc), PROFILE_PROFILE_ID, RelationGetDescr(rel), &isnull);
		*kind = TextDatumGetCString(heap_getattr(lfirst(lc), PROFILE_KIND, RelationGetDescr(rel), &isnull));
	}
	qsort(members, *num, sizeof(Datum), compare_ids);

	if (updatable(rel))
	{
		ResultRelInfo *info = makeNode(ResultRelInfo);
		TupleTableSlot *slot = table_slot_create(rel, NULL);

		InitResultRelInfo(info, rel, 1, NULL, 0);
		ExecOpenIndices(info, false);
		foreach(lc, tuples)
			update_profile(rel, lfirst(lc), survivor, rows->estate, info, slot);
		ExecDropSingleTupleTableSlot(slot);
		ExecCloseIndices(info);
		CommandCounterIncrement();
	}
	else
	{
		Datum		args[2] = {Int64GetDatum(survivor), Int64GetDatum(merged)};

		mcdp_merge_rows_write(rows);
		mcdp_spi_connect();
		mcdp_statement_do(&move_leaves, args);
		mcdp_spi_finish();
	}
	table_close(rel, NoLock);
	return members;
}

/* Is a row of tag_pending in place of that of tag_chunk? */
static bool
is_pending(Datum tag, int64 id)
{
	ScanKeyData key[2];
	Probe	   *probe;
	bool		result;

	mcdp_probe_text_key(&key[0], PENDING_TAG, tag, C_COLLATION_OID);
	mcdp_probe_id_key(&key[1], PENDING_PROFILE_ID, id);
	probe = mcdp_probe_begin("tag_pending", "tag_pending_pkey", GetActiveSnapshot(), key, 2);
	result = mcdp_probe_next(probe);
	mcdp_probe_end(probe);
	return result;
}

/*
 * The tags of some canonical profiles, maintained ones too: see _all_tags_of.
 * Not the internal ones, which stand before all others.
 */
static void
all_tags_of(const int64 *ids, int num, List **tags)
{
	Probe	   *probe = NULL;

	mcdp_pending_tags(ids, num, cstring_to_text("\002"), NULL, GetActiveSnapshot(), tags);
	for (int i = 0; i < num; i++)
	{
		ListCell   *lc;

		foreach(lc, tags[i])
			lfirst(lc) = text_to_cstring(lfirst(lc));
	}
	if (mcdp_table_is_blank("tag_chunk"))
		return;
	for (int i = 0; i < num; i++)
	{
		ScanKeyData key[2];

		mcdp_probe_id_key(&key[0], 2, ids[i] >> CHUNK_ID_BITS);
		ScanKeyEntryInitialize(&key[1], 0, 1, BTGreaterStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXT_GT, CStringGetTextDatum("\002"));
		if (probe)
			mcdp_probe_again(probe, key, 2);
		else
			probe = mcdp_probe_begin("tag_chunk", "tag_chunk_chunk_idx", GetActiveSnapshot(), key, 2);
		while (mcdp_probe_next(probe))
		{
			Datum		tag = mcdp_probe_value(probe, 1);

			CHECK_FOR_INTERRUPTS();
			if (mcdp_chunk_has(DatumGetByteaPP(mcdp_probe_value(probe, 3)), ids[i]) && !is_pending(tag, ids[i]))
				tags[i] = lappend(tags[i], TextDatumGetCString(tag));
		}
	}
	mcdp_probe_end(probe);
}

/* Only those that the system keeps? */
static bool
are_maintained(List *tags)
{
	ListCell   *lc;

	foreach(lc, tags)
		if (!mcdp_tag_is_maintained(lfirst(lc), strlen(lfirst(lc))))
			return false;
	return true;
}

/*
 * What _merge_tags does for profiles without tags of users: the merged one has
 * none any more, the survivor is a merged one.  "theirs" are the merged one's,
 * and was_merged says whether that has leaves already.
 */
static void
move_maintained_tags(MergeRows *rows, int64 survivor, int64 merged, int64 merge_id, const char *kind, List *theirs, bool was_merged)
{
	Row			row;
	ListCell   *lc;

	mcdp_row_begin(&row);
	mcdp_row_set(&row, OWN_PROFILE_ID, Int64GetDatum(survivor));
	mcdp_row_set(&row, OWN_AFTER_MERGE, Int64GetDatum(merge_id));
	mcdp_row_set(&row, OWN_TAG, CStringGetTextDatum("\001"));
	mcdp_row_set(&row, OWN_PRESENT, BoolGetDatum(true));
	mcdp_merge_row(rows, INTO_OWN, &row);

	mcdp_merge_tag(rows, psprintf("\001kind:%s", kind), merged, false, false);
	if (was_merged)
		mcdp_merge_tag(rows, MERGED_TAG, merged, false, false);
	mcdp_merge_tag(rows, MERGED_TAG, survivor, true, true);
	foreach(lc, theirs)
		mcdp_merge_tag(rows, lfirst(lc), merged, false, false);
}

/* Up to when tick had taken tags away; false if never. */
static bool
tags_expired_to(Oid schema, Datum *at)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull = true;

	if (mcdp_table_is_blank("tag_clock"))
		return false;
	rel = mcdp_open_to_read(mcdp_relid("tag_clock", schema), AccessShareLock, ACL_SELECT);
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		*at = heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return !isnull;
}

int64
mcdp_merge_profiles(const MergeCall *call, MergeRows *rows)
{
	Oid			schema = mcdp_schema();
	int64		id = nextval_internal(mcdp_relid("merge_id_seq", schema), true);
	int64		survivor = call->survivor;
	int64		merged = call->merged;
	Datum		both[2] = {Int64GetDatum(Min(survivor, merged)), Int64GetDatum(Max(survivor, merged))};
	Datum		args[3] = {Int64GetDatum(survivor), Int64GetDatum(merged), TimestampTzGetDatum(call->at)};
	int64		ids[2] = {survivor, merged};
	Datum	   *member;
	int			num;
	Datum		members;
	Datum		tags;
	Datum		expired_to = 0;
	List	   *tag[2];			/* the survivor's, theirs */
	Row			row;
	char	   *kind;
	bool		entered = false;
	bool		decided = false;

	/* before any tag: see 30_tag */
	LockRelationOid(mcdp_relid("profile_merge", schema), RowExclusiveLock);
	PushCopiedSnapshot(GetTransactionSnapshot());
	UpdateActiveSnapshotCommandId();
	member = move_profiles(schema, rows, survivor, merged, &num, &kind);
	members = PointerGetDatum(construct_array(member, num, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	look_again();

	/* In lock order, and what is the system's own goes before tags are moved. */
	for (int i = 0; i < num && !entered; i++)
		entered = has_row("journey_state", "journey_state_profile_id_idx", 2, DatumGetInt64(member[i]));
	if (entered)
		run_part(rows, &merge_journeys, args);
	else if (has_row("journey_state", "journey_state_profile_id_idx", 2, survivor))
		run_part(rows, &recall_traits, args);
	if (has_row("lifecycle_state", "lifecycle_state_pkey", 1, merged))
		run_part(rows, &merge_lifecycle, args);
	else
	{
		mcdp_row_begin(&row);
		mcdp_row_set(&row, QUEUE_PROFILE_ID, Int64GetDatum(survivor));
		mcdp_row_set(&row, QUEUE_AT, TimestampTzGetDatum(call->at));
		mcdp_row_set(&row, QUEUE_CAUSE, CStringGetTextDatum("merge"));
		mcdp_merge_row(rows, INTO_QUEUE, &row);
	}
	if (has_row("purchase_due", "purchase_due_pkey", 1, merged))
		run_part(rows, &merge_purchase_due, args + 1);
	if (!mcdp_table_is_blank("rfm_run"))
		run_part(rows, &merge_rfm, args);
	mcdp_merge_mark(rows, survivor);
	mcdp_merge_mark(rows, merged);
	/* whoever defines the first one waits for us: see 37_segment */
	if (!mcdp_table_is_blank("segment"))
		run_part(rows, &merge_segments, args);

	DirectFunctionCall1(mcdp__lock_tags, PointerGetDatum(construct_array(both, 2, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	look_again();
	all_tags_of(ids, 2, tag);
	if (are_maintained(tag[0]) && are_maintained(tag[1]))
	{
		move_maintained_tags(rows, survivor, merged, id, kind, tag[1], num > 1);
		tags = PointerGetDatum(construct_empty_array(TEXTOID));
	}
	else
	{
		Datum		tag_args[3] = {args[0], args[1], Int64GetDatum(id)};
		MemoryContext caller = CurrentMemoryContext;
		MemoryContext spi;
		bool		isnull;

		mcdp_merge_rows_write(rows);
		mcdp_spi_connect();
		if (mcdp_statement_do(&merge_tags, tag_args) != 1)
			elog(ERROR, "_merge_tags returned no row");
		tags = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		spi = MemoryContextSwitchTo(caller);
		tags = PointerGetDatum(DatumGetArrayTypePCopy(tags));
		MemoryContextSwitchTo(spi);
		mcdp_spi_finish();
	}

	look_again();
	mcdp_row_begin(&row);
	mcdp_row_set(&row, MERGE_MERGE_ID, Int64GetDatum(id));
	mcdp_row_set(&row, MERGE_SURVIVOR, args[0]);
	mcdp_row_set(&row, MERGE_MERGED, args[1]);
	mcdp_row_set(&row, MERGE_AT, args[2]);
	mcdp_row_set_text(&row, MERGE_CAUSE, call->cause);
	mcdp_row_set_text(&row, MERGE_SOURCE, call->source);
	mcdp_row_set_text(&row, MERGE_REASON, call->reason);
	mcdp_row_set(&row, MERGE_EVIDENCE, call->evidence);
	mcdp_row_set(&row, MERGE_MEMBERS, members);
	mcdp_row_set(&row, MERGE_TAGS, tags);
	mcdp_row_set(&row, MERGE_LEAF_A, Int64GetDatum(call->leaf_a));
	mcdp_row_set(&row, MERGE_LEAF_B, Int64GetDatum(call->leaf_b));
	if (tags_expired_to(schema, &expired_to))
		mcdp_row_set(&row, MERGE_EXPIRED_TO, expired_to);
	mcdp_merge_row(rows, INTO_MERGE, &row);

	for (int i = 0; i < num && !decided; i++)
		decided = has_row("consent_log", "consent_log_decision_idx", 2, DatumGetInt64(member[i]));
	if (decided)
		run_part(rows, &merge_consent, args);
	PopActiveSnapshot();
	return id;
}

/*
 * _merge_profiles(survivor bigint, merged bigint, at timestamptz, cause text, source text, reason text,
 *				   evidence identifier[]) -> bigint
 *
 * The first two of the evidence say which leaves are linked.
 */
Datum
mcdp__merge_profiles(PG_FUNCTION_ARGS)
{
	MergeCall	call;
	ArrayType  *evidence;
	Datum	   *ids;
	int			num;
	Lookup		lk;
	MergeRows  *rows;
	int64		id;

	for (int i = 0; i < 7; i++)
		if (PG_ARGISNULL(i) && i != 4 && i != 5)
			elog(ERROR, "argument %d must not be null", i + 1);
	evidence = PG_GETARG_ARRAYTYPE_P(6);
	call.survivor = call.leaf_a = PG_GETARG_INT64(0);
	call.merged = call.leaf_b = PG_GETARG_INT64(1);
	call.at = PG_GETARG_TIMESTAMPTZ(2);
	call.cause = PG_GETARG_TEXT_PP(3);
	call.source = PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4);
	call.reason = PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5);
	call.evidence = PointerGetDatum(evidence);

	mcdp_lookup_begin(&lk, ARR_ELEMTYPE(evidence));
	deconstruct_array(evidence, ARR_ELEMTYPE(evidence), lk.type->typlen, lk.type->typbyval, lk.type->typalign, &ids, NULL, &num);
	for (int i = 0; i < Min(num, 2); i++)
	{
		Known		known;

		known.identifier = ids[i];
		mcdp_find_link(&lk, &known, lk.snapshot);
		if (known.linked)
			*(i == 0 ? &call.leaf_a : &call.leaf_b) = known.leaf;
	}
	mcdp_lookup_end(&lk);
	rows = mcdp_merge_rows_begin(false);
	id = mcdp_merge_profiles(&call, rows);
	mcdp_merge_rows_end(rows);
	PG_RETURN_INT64(id);
}
