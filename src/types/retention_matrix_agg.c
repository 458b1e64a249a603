/*-------------------------------------------------------------------------
 *
 * retention_matrix_agg.c
 *	  Aggregate retention_matrix: the cohort table of many timelines.
 *
 * A timeline belongs to cohort c when its first cohort event lies in period c,
 * which is [since + c * bucket, since + (c + 1) * bucket).  Element [c][k]
 * counts the timelines of cohort c with a return in period c + k; [c][0] is the
 * size of the cohort.  The state is the result, changed in place.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/retention_matrix_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/length.h"
#include "types/counts.h"
#include "types/timeline_datum.h"
#include "types/timeline_match.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define MAX_ELEMENTS	10000000
#define FEW_BUCKETS		128

static ArrayType *
make_matrix(MemoryContext cx, int cohorts, int buckets)
{
	Size		size = ARR_OVERHEAD_NONULLS(2) + sizeof(int64) * (Size) cohorts * (Size) buckets;
	ArrayType  *a = MemoryContextAllocZero(cx, size);

	SET_VARSIZE(a, size);
	a->ndim = 2;
	a->elemtype = INT8OID;
	ARR_DIMS(a)[0] = cohorts;
	ARR_DIMS(a)[1] = buckets;
	ARR_LBOUND(a)[0] = ARR_LBOUND(a)[1] = 1;
	return a;
}

/* The state of argument 0 as a matrix that may be changed. */
static ArrayType *
get_matrix(FunctionCallInfo fcinfo, int cohorts, int buckets)
{
	MemoryContext cx;
	bool		aggregate = AggCheckCallContext(fcinfo, &cx);
	ArrayType  *old,
			   *a;

	if (!aggregate)
		cx = CurrentMemoryContext;
	if (PG_ARGISNULL(0))
		return make_matrix(cx, cohorts, buckets);
	old = PG_GETARG_ARRAYTYPE_P(0);
	if (ARR_NDIM(old) != 2 || ARR_HASNULL(old) || ARR_ELEMTYPE(old) != INT8OID ||
		ARR_DIMS(old)[0] != cohorts || ARR_DIMS(old)[1] != buckets)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("numbers of cohorts and buckets must be the same in all rows of a group")));
	if (aggregate && (Pointer) old == DatumGetPointer(PG_GETARG_DATUM(0)))
		return old;
	a = make_matrix(cx, cohorts, buckets);
	memcpy(COUNTS(a), COUNTS(old), sizeof(int64) * (Size) cohorts * (Size) buckets);
	return a;
}

/* (matrix, timeline, cohort, returned, since, cohorts, buckets, bucket) */
PG_FUNCTION_INFO_V1(mcdp_retention_matrix_add);
Datum
mcdp_retention_matrix_add(PG_FUNCTION_ARGS)
{
	Timeline   *t;
	text	   *name;
	TimestampTz since;
	int32		cohorts,
				buckets;
	int64		bucket;
	ArrayType  *matrix;
	TimelineView v;
	int			code;

	for (int arg = 1; arg <= 7; arg++)
	{
		if (PG_ARGISNULL(arg))
			return mcdp_keep_state(fcinfo);
	}
	since = PG_GETARG_TIMESTAMPTZ(4);
	cohorts = PG_GETARG_INT32(5);
	buckets = PG_GETARG_INT32(6);
	bucket = mcdp_length_arg(PG_GETARG_INTERVAL_P(7), "bucket");
	if (TIMESTAMP_NOT_FINITE(since))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the beginning of the first cohort must be finite")));
	if (cohorts < 1 || buckets < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("numbers of cohorts and buckets must be at least 1")));
	if ((int64) cohorts * buckets > MAX_ELEMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many cohorts and buckets"),
				 errdetail("A matrix has at most %d elements.", MAX_ELEMENTS)));
	if (bucket == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bucket must not be empty")));

	matrix = get_matrix(fcinfo, cohorts, buckets);
	t = PG_GETARG_TIMELINE_P(1);
	mcdp_timeline_open(&v, t);
	name = PG_GETARG_TEXT_PP(2);
	code = mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (code >= 0)
	{
		uint32		first = mcdp_timeline_first_of(&v, (uint32) code);
		TimestampTz at = timeline_at(&v, first);
		uint64		cohort = ((uint64) at - (uint64) since) / (uint64) bucket;

		if (at >= since && cohort < (uint64) cohorts)
		{
			int64	   *count = COUNTS(matrix) + cohort * (uint64) buckets;
			bool		few[FEW_BUCKETS];
			bool	   *came = buckets > FEW_BUCKETS ? palloc(buckets) : few;
			bool		any;

			name = PG_GETARG_TEXT_PP(3);
			any = VARSIZE_ANY_EXHDR(name) == 1 && *VARDATA_ANY(name) == '*';
			code = any ? -1 : mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
			mcdp_timeline_returns(&v, first, (TimestampTz) ((uint64) since + cohort * (uint64) bucket),
								  code, any, buckets, bucket, came);
			for (int k = 0; k < buckets; k++)
				count[k] += came[k];
			if (came != few)
				pfree(came);
		}
	}
	PG_FREE_IF_COPY(t, 1);
	PG_RETURN_POINTER(matrix);
}

/* (matrix, matrix) */
PG_FUNCTION_INFO_V1(mcdp_retention_matrix_merge);
Datum
mcdp_retention_matrix_merge(PG_FUNCTION_ARGS)
{
	ArrayType  *more,
			   *matrix;
	Size		n;

	if (PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	more = PG_GETARG_ARRAYTYPE_P(1);
	if (ARR_NDIM(more) != 2 || ARR_HASNULL(more))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("counts must be a matrix without NULL")));
	matrix = get_matrix(fcinfo, ARR_DIMS(more)[0], ARR_DIMS(more)[1]);
	n = (Size) ARR_DIMS(more)[0] * (Size) ARR_DIMS(more)[1];
	for (Size i = 0; i < n; i++)
		COUNTS(matrix)[i] += COUNTS(more)[i];
	PG_RETURN_POINTER(matrix);
}
