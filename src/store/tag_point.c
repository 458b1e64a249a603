/*-------------------------------------------------------------------------
 *
 * tag_point.c
 *	  Probes of primary keys; does one profile have a tag?
 *
 * The columns are known by position: they keep it for ever, new ones are
 * added at the end.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_point.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/access.h"
#include "store/relid.h"
#include "store/tag_point.h"
#include "types/chunk.h"

PG_FUNCTION_INFO_V1(mcdp_has_tag);
PG_FUNCTION_INFO_V1(mcdp__has_tag);

struct Probe
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
};

Probe *
mcdp_probe_begin(const char *table, const char *index, Snapshot snapshot, ScanKey keys, int nkeys)
{
	Probe	   *probe = palloc(sizeof(Probe));
	Oid			schema = mcdp_schema();
	Oid			relid = mcdp_relid(table, schema);
	Oid			index_id = mcdp_relid(index, schema);

	if (!OidIsValid(relid) || !OidIsValid(index_id))
		elog(ERROR, "table \"%s\" or its index \"%s\" does not exist", table, index);
	probe->rel = mcdp_open_to_read(relid, AccessShareLock, ACL_SELECT);
	probe->scan = systable_beginscan(probe->rel, index_id, true, snapshot, nkeys, keys);
	return probe;
}

void
mcdp_probe_again(Probe *probe, ScanKey keys, int nkeys)
{
	IndexScanDesc scan = probe->scan->iscan;

	if (scan == NULL)			/* ignore_system_indexes */
	{
		table_rescan(probe->scan->scan, keys);
		return;
	}
	/* as systable_beginscan has it */
	for (int i = 0; i < nkeys; i++)
	{
		int			column = 1;

		while (scan->indexRelation->rd_index->indkey.values[column - 1] != keys[i].sk_attno)
			column++;
		keys[i].sk_attno = column;
	}
	index_rescan(scan, keys, nkeys, NULL, 0);
}

bool
mcdp_probe_next(Probe *probe)
{
	probe->tuple = systable_getnext(probe->scan);
	return HeapTupleIsValid(probe->tuple);
}

Datum
mcdp_probe_value(Probe *probe, AttrNumber column)
{
	bool		isnull;
	Datum		result = heap_getattr(probe->tuple, column, RelationGetDescr(probe->rel), &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of table \"%s\"",
			 column, RelationGetRelationName(probe->rel));
	return result;
}

void
mcdp_probe_end(Probe *probe)
{
	systable_endscan(probe->scan);
	table_close(probe->rel, AccessShareLock);
	pfree(probe);
}

void
mcdp_probe_text_key(ScanKey key, AttrNumber column, Datum value, Oid collation)
{
	ScanKeyEntryInitialize(key, 0, column, BTEqualStrategyNumber, InvalidOid,
						   collation, F_TEXTEQ, value);
}

void
mcdp_probe_int2_key(ScanKey key, AttrNumber column, int16 value)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(value));
}

void
mcdp_probe_id_key(ScanKey key, AttrNumber column, int64 value)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(value));
}

/*
 * Asked so often, of so many tables, that locking them would cost more than all
 * the rest.  Somebody may have written the table anew (VACUUM FULL) and emptied
 * the file that we look at; but then we have been told before the file was
 * emptied, and look again.
 */
bool
mcdp_table_is_blank(const char *table)
{
	Oid			relid = mcdp_relid(table, mcdp_schema());
	Relation	rel = OidIsValid(relid) ? RelationIdGetRelation(relid) : NULL;
	Oid			file;
	bool		result;

	if (rel == NULL)
		elog(ERROR, "table \"%s\" does not exist", table);
	do
	{
		file = rel->rd_rel->relfilenode;
		result = RelationGetNumberOfBlocks(rel) == 0;
		AcceptInvalidationMessages();
	} while (rel->rd_rel->relfilenode != file);
	RelationClose(rel);
	return result;
}

int64
mcdp_canonical_id(int64 profile, Snapshot snapshot)
{
	ScanKeyData key;
	Probe	   *probe;
	int64		result = 0;

	mcdp_probe_id_key(&key, 1, profile);
	probe = mcdp_probe_begin("profile", "profile_pkey", snapshot, &key, 1);
	if (mcdp_probe_next(probe))
		result = DatumGetInt64(mcdp_probe_value(probe, 3));
	mcdp_probe_end(probe);
	return result;
}

bool
mcdp_tag_probe_chunk(int64 id, Datum tag, Snapshot snapshot)
{
	ScanKeyData keys[2];
	Probe	   *probe;
	bool		result = false;

	mcdp_probe_text_key(&keys[0], 1, tag, C_COLLATION_OID);
	mcdp_probe_id_key(&keys[1], 2, id >> CHUNK_ID_BITS);
	probe = mcdp_probe_begin("tag_chunk", "tag_chunk_pkey", snapshot, keys, 2);
	if (mcdp_probe_next(probe))
		result = mcdp_chunk_has(DatumGetByteaPP(mcdp_probe_value(probe, 3)), id);
	mcdp_probe_end(probe);
	return result;
}

bool
mcdp_tag_probe(int64 id, Datum tag, Snapshot snapshot)
{
	ScanKeyData keys[2];
	Probe	   *probe;
	bool		waits;
	bool		result = false;

	mcdp_probe_text_key(&keys[0], PENDING_TAG, tag, C_COLLATION_OID);
	mcdp_probe_id_key(&keys[1], PENDING_PROFILE_ID, id);
	probe = mcdp_probe_begin("tag_pending", "tag_pending_pkey", snapshot, keys, 2);
	waits = mcdp_probe_next(probe);
	if (waits)
		result = DatumGetBool(mcdp_probe_value(probe, PENDING_PRESENT));
	mcdp_probe_end(probe);
	return waits ? result : mcdp_tag_probe_chunk(id, tag, snapshot);
}

/* has_tag(profile, tag) */
Datum
mcdp_has_tag(PG_FUNCTION_ARGS)
{
	int64		id = mcdp_canonical_id(PG_GETARG_INT64(0), GetActiveSnapshot());

	PG_RETURN_BOOL(id != 0 && mcdp_tag_probe(id, PointerGetDatum(PG_GETARG_TEXT_PP(1)),
											 GetActiveSnapshot()));
}

/* _has_tag(id, tag), of a canonical profile */
Datum
mcdp__has_tag(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mcdp_tag_probe(PG_GETARG_INT64(0), PointerGetDatum(PG_GETARG_TEXT_PP(1)),
								  GetActiveSnapshot()));
}
