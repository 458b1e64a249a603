/*-------------------------------------------------------------------------
 *
 * trait_queue_fn.c
 *	  Triggers that note whose indexed traits may have changed.
 *
 * They do next to nothing while no trait is indexed.  Which are is read with
 * the latest snapshot: a transaction with an old one must not miss an index
 * that was begun meanwhile.
 *
 * A pending row that exists is locked, not written: a fold that has not seen
 * this change must not take it away.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/trait_queue_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/statement.h"
#include "store/trait_index.h"

PG_FUNCTION_INFO_V1(mcdp__queue_traits);
PG_FUNCTION_INFO_V1(mcdp__queue_merged_traits);

#define ON_CONFLICT \
	" ON CONFLICT (trait, profile_id) DO UPDATE SET profile_id = excluded.profile_id WHERE false"

static Statement queue_changed = {
	"INSERT INTO cdp.trait_pending (trait, profile_id)"
	" SELECT DISTINCT c.name COLLATE \"C\", c.profile_id FROM changed c"
	" WHERE c.name OPERATOR(pg_catalog.=) ANY ($1) ORDER BY 1, 2" ON_CONFLICT,
	1, {TEXTARRAYOID}
};
static Statement queue_merged = {
	"INSERT INTO cdp.trait_pending (trait, profile_id)"
	" SELECT DISTINCT v.name COLLATE \"C\", p.id FROM cdp.trait_value v,"
	" (VALUES ($2), ($3), ($4)) AS p(id)"
	" WHERE v.profile_id OPERATOR(pg_catalog.=) $2 AND v.name OPERATOR(pg_catalog.=) ANY ($1) ORDER BY 1, 2" ON_CONFLICT,
	4, {TEXTARRAYOID, INT8OID, INT8OID, INT8OID}
};

/* The indexed traits, text[]; NULL when there are none. */
static ArrayType *
indexed_traits(void)
{
	Oid			relid = get_relname_relid("trait_index", get_namespace_oid("cdp", false));
	Relation	rel = table_open(relid, AccessShareLock);
	ArrayType  *result = NULL;

	if (RelationGetNumberOfBlocks(rel) > 0)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
		HeapTuple	tuple;
		Datum	   *names = palloc(sizeof(Datum) * 16);
		int			n = 0;
		int			max = 16;

		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			bool		isnull;

			if (n == max)
			{
				max *= 2;
				names = repalloc(names, sizeof(Datum) * max);
			}
			names[n++] = PointerGetDatum(DatumGetTextPCopy(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull)));
		}
		systable_endscan(scan);
		UnregisterSnapshot(snapshot);
		if (n > 0)
			result = construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT);
	}
	table_close(rel, AccessShareLock);
	return result;
}

bool
mcdp_trait_is_indexed(const char *name, int len)
{
	ArrayType  *traits = indexed_traits();
	Datum	   *names;
	int			num = 0;

	if (traits != NULL)
		deconstruct_array(traits, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &num);
	for (int i = 0; i < num; i++)
	{
		text	   *trait = DatumGetTextPP(names[i]);

		if (VARSIZE_ANY_EXHDR(trait) == len && memcmp(VARDATA_ANY(trait), name, len) == 0)
			return true;
	}
	return false;
}

static void
queue(TriggerData *trigger, Statement *statement, Datum *args)
{
	mcdp_spi_connect();
	if (SPI_register_trigger_data(trigger) < 0)
		elog(ERROR, "SPI_register_trigger_data failed");
	mcdp_statement_do(statement, args);
	mcdp_spi_finish();
}

/* After statements that change trait_value; the transition table is "changed". */
Datum
mcdp__queue_traits(PG_FUNCTION_ARGS)
{
	ArrayType  *traits;
	Datum		arg;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called by trigger manager");
	traits = indexed_traits();
	if (traits != NULL)
	{
		arg = PointerGetDatum(traits);
		queue((TriggerData *) fcinfo->context, &queue_changed, &arg);
	}
	PG_RETURN_POINTER(NULL);
}

/* After a profile was given another canonical profile. */
Datum
mcdp__queue_merged_traits(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	ArrayType  *traits;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		elog(ERROR, "not called by trigger manager");
	traits = indexed_traits();
	if (traits != NULL)
	{
		TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
		bool		isnull;
		Datum		args[4];

		/* profile: profile_id is the first column, canonical_id the third */
		args[0] = PointerGetDatum(traits);
		args[1] = heap_getattr(trigger->tg_newtuple, 1, desc, &isnull);
		args[2] = heap_getattr(trigger->tg_trigtuple, 3, desc, &isnull);
		args[3] = heap_getattr(trigger->tg_newtuple, 3, desc, &isnull);
		queue(trigger, &queue_merged, args);
	}
	PG_RETURN_POINTER(NULL);
}
