/*-------------------------------------------------------------------------
 *
 * merge_rows.c
 *	  New rows that merges write.
 *
 * They are written without a query if the caller may write to the table and
 * nothing else happens on it.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/merge_rows.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "core/compat.h"
#include "store/merge_rows.h"
#include "store/relid.h"
#include "store/statement.h"
#include "store/stitch.h"

static const struct
{
	const char *name;
	int			columns;
}			tables[NUM_MERGE_TABLES] = {
	[INTO_QUEUE] = {"profile_queue", QUEUE_COLUMNS},
	[INTO_OWN] = {"tag_own", OWN_COLUMNS},
	[INTO_MERGE] = {"profile_merge", MERGE_COLUMNS}
};

void
mcdp_row_begin(Row *row)
{
	memset(row->null, true, sizeof(row->null));
}

void
mcdp_row_set(Row *row, AttrNumber column, Datum value)
{
	row->value[column - 1] = value;
	row->null[column - 1] = false;
}

void
mcdp_row_set_text(Row *row, AttrNumber column, text *value)
{
	if (value)
		mcdp_row_set(row, column, PointerGetDatum(value));
}

MergeRows *
mcdp_merge_rows_begin(bool many)
{
	MergeRows  *rows = palloc0(sizeof(MergeRows));

	rows->context = CurrentMemoryContext;
	rows->estate = CreateExecutorState();
	rows->many = many;
	return rows;
}

/* An INSERT: for somebody who might not do it here, or whom a trigger waits for. */
static void
insert_by_query(MergeTable table, Row *row)
{
	int			columns = tables[table].columns;
	Oid			relid = mcdp_relid(tables[table].name, mcdp_schema());
	Relation	rel;
	StringInfoData sql;
	Oid			types[MERGE_COLUMNS];
	char		nulls[MERGE_COLUMNS + 1] = {0};

	if (!OidIsValid(relid))
		elog(ERROR, "table \"%s\" does not exist", tables[table].name);
	rel = table_open(relid, RowExclusiveLock);
	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO cdp.%s (", tables[table].name);
	for (int i = 0; i < columns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		appendStringInfo(&sql, "%s%s", i ? ", " : "", quote_identifier(NameStr(att->attname)));
		types[i] = att->atttypid;
		nulls[i] = row->null[i] ? 'n' : ' ';
	}
	appendStringInfoString(&sql, ") VALUES (");
	for (int i = 0; i < columns; i++)
		appendStringInfo(&sql, "%s$%d", i ? ", " : "", i + 1);
	appendStringInfoChar(&sql, ')');
	mcdp_spi_connect();
	if (SPI_execute_with_args(sql.data, columns, types, row->value, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert into table \"%s\"", tables[table].name);
	mcdp_spi_finish();
	table_close(rel, NoLock);
}

static void
set_row(Target *t, MergeTable table, const Row *row)
{
	mcdp_target_clear(t);
	for (int i = 0; i < tables[table].columns; i++)
		if (!row->null[i])
			mcdp_target_set(t, i + 1, row->value[i]);
}

void
mcdp_merge_row(MergeRows *rows, MergeTable table, Row *row)
{
	Target	   *t = &rows->target[table];
	MemoryContext caller = MemoryContextSwitchTo(rows->context);
	bool		ok = t->rel || mcdp_target_open_id(t, mcdp_relid(tables[table].name, mcdp_schema()), tables[table].columns, rows->estate);

	if (ok)
	{
		set_row(t, table, row);
		if (rows->many)
			(void) mcdp_target_gather(t, false);
		else
		{
			mcdp_target_insert_new(t);
			mcdp_target_close(t);
		}
	}
	MemoryContextSwitchTo(caller);
	if (!ok)
	{
		mcdp_merge_rows_write(rows);
		insert_by_query(table, row);
	}
	if (!ok || !rows->many)
		CommandCounterIncrement();
}

void
mcdp_merge_rows_write(MergeRows *rows)
{
	MemoryContext caller = MemoryContextSwitchTo(rows->context);
	bool		any = false;

	mcdp_merge_marks_write(rows);
	for (int i = 0; i < NUM_MERGE_TABLES; i++)
	{
		if (rows->target[i].rel == NULL)
			continue;
		(void) mcdp_target_flush(&rows->target[i], false);
		mcdp_target_close(&rows->target[i]);
		any = true;
	}
	MemoryContextSwitchTo(caller);
	if (any)
		CommandCounterIncrement();
}

void
mcdp_merge_rows_end(MergeRows *rows)
{
	mcdp_merge_rows_write(rows);
	FreeExecutorState(rows->estate);
	pfree(rows);
}
