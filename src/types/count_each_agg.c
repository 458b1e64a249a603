/*-------------------------------------------------------------------------
 *
 * count_each_agg.c
 *	  Aggregate count_each(boolean[]) -> bigint[]: for each position, in how
 *	  many arrays there is true.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/count_each_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "types/counts.h"

/* Number of elements of a one-dimensional array. */
static int
num_elements(ArrayType *a)
{
	if (ARR_NDIM(a) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("count_each needs one-dimensional arrays")));
	return ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
}

static ArrayType *
make_counts(MemoryContext cx, int n)
{
	Size		size = n == 0 ? ARR_OVERHEAD_NONULLS(0) : ARR_OVERHEAD_NONULLS(1) + sizeof(int64) * (Size) n;
	ArrayType  *a = MemoryContextAllocZero(cx, size);

	SET_VARSIZE(a, size);
	a->elemtype = INT8OID;
	if (n > 0)
	{
		a->ndim = 1;
		ARR_DIMS(a)[0] = n;
		ARR_LBOUND(a)[0] = 1;
	}
	return a;
}

ArrayType *
mcdp_get_counts(FunctionCallInfo fcinfo, int n)
{
	MemoryContext cx;
	bool		aggregate = AggCheckCallContext(fcinfo, &cx);
	ArrayType  *old,
			   *a;
	int			m;

	if (!aggregate)
		cx = CurrentMemoryContext;
	if (PG_ARGISNULL(0))
		return make_counts(cx, n);

	old = PG_GETARG_ARRAYTYPE_P(0);
	m = num_elements(old);
	if (ARR_HASNULL(old) || ARR_ELEMTYPE(old) != INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("counts must not be NULL")));
	if (aggregate && n <= m && (Pointer) old == DatumGetPointer(PG_GETARG_DATUM(0)))
		return old;
	a = make_counts(cx, Max(m, n));
	memcpy(COUNTS(a), COUNTS(old), sizeof(int64) * (Size) m);
	return a;
}

/* (counts, boolean[]) */
PG_FUNCTION_INFO_V1(mcdp_count_each_add);
Datum
mcdp_count_each_add(PG_FUNCTION_ARGS)
{
	ArrayType  *flags,
			   *counts;
	int			n;

	if (PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	flags = PG_GETARG_ARRAYTYPE_P(1);
	n = num_elements(flags);
	counts = mcdp_get_counts(fcinfo, n);
	if (!ARR_HASNULL(flags))
	{
		const bool *flag = (const bool *) ARR_DATA_PTR(flags);

		for (int i = 0; i < n; i++)
			COUNTS(counts)[i] += flag[i];
	}
	else
	{
		/* elements that are NULL take no room */
		const bool *flag = (const bool *) ARR_DATA_PTR(flags);
		const bits8 *present = ARR_NULLBITMAP(flags);

		for (int i = 0; i < n; i++)
		{
			if (present[i / 8] & (1 << (i % 8)))
				COUNTS(counts)[i] += *flag++;
		}
	}
	PG_RETURN_POINTER(counts);
}

/* (counts, counts) */
PG_FUNCTION_INFO_V1(mcdp_count_each_merge);
Datum
mcdp_count_each_merge(PG_FUNCTION_ARGS)
{
	ArrayType  *more,
			   *counts;
	int			n;

	if (PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	more = PG_GETARG_ARRAYTYPE_P(1);
	n = num_elements(more);
	if (ARR_HASNULL(more))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("counts must not be NULL")));
	counts = mcdp_get_counts(fcinfo, n);
	for (int i = 0; i < n; i++)
		COUNTS(counts)[i] += COUNTS(more)[i];
	PG_RETURN_POINTER(counts);
}
