/*-------------------------------------------------------------------------
 *
 * source_query.c
 *	  Queries that evaluation of rules runs again and again.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/source_query.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "store/source_query.h"

SPIPlanPtr
mcdp_source_plan(SourceQuery *query)
{
	if (query->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(query->text, query->nargs, query->argtypes);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_keepplan failed");
		query->plan = plan;
	}
	return query->plan;
}

void
mcdp_source_run(SourceQuery *query, Datum *args)
{
	int			rc = SPI_execute_plan(mcdp_source_plan(query), args, NULL, true, 0);

	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
}

Datum
mcdp_source_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

bool
mcdp_source_question(SourceQuery *query, Datum *args)
{
	bool		isnull,
				result;

	mcdp_source_run(query, args);
	result = SPI_processed > 0 && DatumGetBool(mcdp_source_value(0, 1, &isnull)) && !isnull;
	SPI_freetuptable(SPI_tuptable);
	return result;
}

Datum
mcdp_source_ids(const int64 *ids, int n)
{
	Datum	   *elems = palloc(n * sizeof(Datum));
	ArrayType  *array;

	for (int i = 0; i < n; i++)
		elems[i] = Int64GetDatum(ids[i]);
	array = construct_array(elems, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	pfree(elems);
	return PointerGetDatum(array);
}
