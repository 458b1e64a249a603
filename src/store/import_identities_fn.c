/*-------------------------------------------------------------------------
 *
 * import_identities_fn.c
 *	  Pairs of identifiers, as many as a query yields.
 *
 * import_identities reads the query through a cursor, under the caller's
 * search_path, and hands batches to _import_pairs (28_identity_import.sql),
 * which asks _stitch_pairs for all that can be done together (stitch_many.c).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/import_identities_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "store/stitch.h"
#include "types/identifier.h"

#define PAIRS_AT_ONCE 100000

PG_FUNCTION_INFO_V1(mcdp__stitch_pairs);
PG_FUNCTION_INFO_V1(mcdp_import_identities);

/*
 * _stitch_pairs(a text[], b text[], at timestamptz, source text, kind text, alone boolean, identifier regtype) -> int[]
 *
 * NULL and '' name nobody.  The answer are the positions of the pairs that are
 * left to _stitch, and of those that are not identifiers.
 */
Datum
mcdp__stitch_pairs(PG_FUNCTION_ARGS)
{
	Datum	   *side[2];
	bool	   *nulls[2];
	int			num[2];
	ManyCall   *calls;
	Datum	   *rest;
	int			num_rest = 0;
	bool		others;
	Lookup		lk;

	for (int i = 0; i < 7; i++)
		if (PG_ARGISNULL(i) && i != 3)
			elog(ERROR, "argument %d must not be null", i + 1);
	others = PG_GETARG_BOOL(5);
	for (int s = 0; s < 2; s++)
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(s), TEXTOID, -1, false, TYPALIGN_INT, &side[s], &nulls[s], &num[s]);
	if (num[0] != num[1])
		elog(ERROR, "arrays differ in length");
	calls = MemoryContextAllocExtended(CurrentMemoryContext, Max(num[0], 1) * sizeof(ManyCall), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	rest = palloc(Max(num[0], 1) * sizeof(Datum));
	for (int i = 0; i < num[0]; i++)
	{
		ManyCall   *c = &calls[i];

		c->call.at = PG_GETARG_TIMESTAMPTZ(2);
		c->call.source = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
		c->call.kind = PG_GETARG_TEXT_PP(4);
		c->ids = palloc(2 * sizeof(Datum));
		for (int s = 0; s < 2; s++)
		{
			text	   *t = nulls[s][i] ? NULL : (text *) DatumGetPointer(side[s][i]);
			char		out[MCDP_IDENTIFIER_MAX];
			size_t		out_len = sizeof(out);
			McdpBadInput bad;

			if (t == NULL || VARSIZE_ANY_EXHDR(t) == 0)
				continue;
			if (!mcdp_identifier_normalise(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), out, &out_len, &bad))
			{
				c->num = -1;
				break;
			}
			c->ids[c->num++] = PointerGetDatum(cstring_to_text_with_len(out, out_len));
		}
		if (c->num < 0)
		{
			c->num = 0;
			others = true;
		}
	}
	mcdp_lookup_begin(&lk, PG_GETARG_OID(6));
	mcdp_stitch_many(&lk, calls, num[0], false, true, others, false);
	mcdp_lookup_end(&lk);
	for (int i = 0; i < num[0]; i++)
	{
		if (!calls[i].done)
			rest[num_rest++] = Int32GetDatum(i + 1);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(rest, num_rest, INT4OID, 4, true, TYPALIGN_INT));
}

/* pairs of the query, in a memory context of their own */
typedef struct Batch
{
	MemoryContext context;
	int			num;
	Datum		side[2];		/* text[] */
} Batch;

static Batch *
fetch_batch(Portal portal)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "import_identities", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Batch	   *batch = palloc(sizeof(Batch));
	int			lbound = 1;

	SPI_cursor_fetch(portal, true, PAIRS_AT_ONCE);
	batch->context = context;
	batch->num = SPI_processed;
	for (int s = 0; s < 2; s++)
	{
		Datum	   *side = palloc(Max(batch->num, 1) * sizeof(Datum));
		bool	   *nulls = palloc(Max(batch->num, 1) * sizeof(bool));

		for (int i = 0; i < batch->num; i++)
			side[i] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, s + 1, &nulls[i]);
		batch->side[s] = PointerGetDatum(construct_md_array(side, nulls, 1, &batch->num, &lbound, TEXTOID, -1, false, TYPALIGN_INT));
		pfree(nulls);
		pfree(side);
	}
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(caller);
	return batch;
}

/* Stitch them; returns how many were put aside. */
static int64
take_batch(Batch *batch, Datum *args, const char *nulls)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[6] = {TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, BOOLOID};
	MemoryContext caller = MemoryContextSwitchTo(batch->context);
	bool		null;
	int64		rejected;

	args[0] = batch->side[0];
	args[1] = batch->side[1];
	SPI_connect();
	if (plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare("SELECT cdp._import_pairs($1, $2, $3, $4, $5, $6)", 6, types);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		plan = made;
	}
	if (SPI_execute_plan(plan, args, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	rejected = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	SPI_finish();
	MemoryContextSwitchTo(caller);
	return rejected;
}

/* import_identities(query text, source text, kind text, at timestamptz, OUT accepted bigint, OUT rejected bigint) */
Datum
mcdp_import_identities(PG_FUNCTION_ARGS)
{
	Datum		args[6];
	char		arg_nulls[7] = {' ', ' ', ' ', PG_ARGISNULL(1) ? 'n' : ' ', ' ', ' ', 0};
	int64		accepted = 0;
	int64		rejected = 0;
	Batch	   *batch;
	StringInfoData query;
	Portal		portal;
	TupleDesc	desc;
	Datum		values[2];
	bool		isnull[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("query, kind and at must not be null")));
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(3)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be finite")));
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(2)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind must not be empty")));
	initStringInfo(&query);
	appendStringInfo(&query, "SELECT q.a::pg_catalog.text, q.b::pg_catalog.text FROM (%s\n) AS q (a, b)",
					 text_to_cstring(PG_GETARG_TEXT_PP(0)));

	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, query.data, 0, NULL, NULL, NULL, true, CURSOR_OPT_NO_SCROLL);
	args[2] = PG_GETARG_DATUM(3);
	args[3] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	args[4] = PG_GETARG_DATUM(2);
	args[5] = BoolGetDatum(false);
	batch = fetch_batch(portal);
	while (batch->num > 0)
	{
		Batch	   *next = fetch_batch(portal);

		/* The order of the locks is kept within a batch only: several go alone. */
		if (next->num > 0)
			args[5] = BoolGetDatum(true);
		rejected += take_batch(batch, args, arg_nulls);
		accepted += batch->num;
		MemoryContextDelete(batch->context);
		batch = next;
	}
	SPI_cursor_close(portal);
	SPI_finish();

	values[0] = Int64GetDatum(accepted - rejected);
	values[1] = Int64GetDatum(rejected);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}
