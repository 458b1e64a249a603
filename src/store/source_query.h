/*-------------------------------------------------------------------------
 *
 * source_query.h
 *	  Queries that evaluation of rules runs again and again.
 *
 * Every query is read only, so SPI runs it under the active snapshot instead
 * of a new one.  Plans are kept for the life of the session; they name no type
 * of ours, so they survive a new CREATE EXTENSION.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/source_query.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_SOURCE_QUERY_H
#define MCDP_SOURCE_QUERY_H

#include "executor/spi.h"

typedef struct SourceQuery
{
	const char *text;
	int			nargs;
	Oid			argtypes[5];
	SPIPlanPtr	plan;
} SourceQuery;

extern SPIPlanPtr mcdp_source_plan(SourceQuery *query);

/* The result is in SPI_tuptable; the caller frees it. */
extern void mcdp_source_run(SourceQuery *query, Datum *args);
extern Datum mcdp_source_value(uint64 row, int column, bool *isnull);

/* One boolean, false when there is no row. */
extern bool mcdp_source_question(SourceQuery *query, Datum *args);

/* An argument of type bigint[]. */
extern Datum mcdp_source_ids(const int64 *ids, int n);

#endif							/* MCDP_SOURCE_QUERY_H */
