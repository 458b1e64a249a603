/*-------------------------------------------------------------------------
 *
 * retention_matrix_agg.c
 *	  Aggregate retention_matrix: the cohort table of many timelines, or of
 *	  what retention_state has gathered from rows.
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
#include "types/event_rows.h"
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

static void
count_returns(ArrayType *matrix, int64 cohort, const bool *came, int buckets)
{
	int64	   *count = COUNTS(matrix) + cohort * buckets;

	for (int k = 0; k < buckets; k++)
		count[k] += came[k];
}

/* What both forms are asked with; a bucket is a period, too. */
static void
check_size(TimestampTz since, int32 cohorts, int32 buckets, int64 bucket)
{
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
}

/* The cohort that one first seen "at" belongs to, -1 = none. */
static int64
cohort_of(TimestampTz at, TimestampTz since, int32 cohorts, int64 bucket)
{
	uint64		cohort = ((uint64) at - (uint64) since) / (uint64) bucket;

	return at >= since && cohort < (uint64) cohorts ? (int64) cohort : -1;
}

/* When its period begins; unsigned: that may be more after "since" than an int64 can tell. */
static TimestampTz
cohort_since(int64 cohort, TimestampTz since, int64 bucket)
{
	return (TimestampTz) ((uint64) since + (uint64) cohort * (uint64) bucket);
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
	check_size(since, cohorts, buckets, bucket);
	matrix = get_matrix(fcinfo, cohorts, buckets);
	t = PG_GETARG_TIMELINE_P(1);
	mcdp_timeline_open(&v, t);
	name = PG_GETARG_TEXT_PP(2);
	code = mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (code >= 0)
	{
		uint32		first = mcdp_timeline_first_of(&v, (uint32) code);
		int64		cohort = cohort_of(timeline_at(&v, first), since, cohorts, bucket);

		if (cohort >= 0)
		{
			bool		few[FEW_BUCKETS];
			bool	   *came = buckets > FEW_BUCKETS ? palloc(buckets) : few;
			bool		any;

			name = PG_GETARG_TEXT_PP(3);
			any = VARSIZE_ANY_EXHDR(name) == 1 && *VARDATA_ANY(name) == '*';
			code = any ? -1 : mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
			mcdp_timeline_returns(&v, first, cohort_since(cohort, since, bucket), code, any, buckets, bucket, came);
			count_returns(matrix, cohort, came, buckets);
			if (came != few)
				pfree(came);
		}
	}
	PG_FREE_IF_COPY(t, 1);
	PG_RETURN_POINTER(matrix);
}

/* (matrix, event_state, since, cohorts) */
PG_FUNCTION_INFO_V1(mcdp_retention_matrix_state_add);
Datum
mcdp_retention_matrix_state_add(PG_FUNCTION_ARGS)
{
	EventStateData d;
	TimestampTz since;
	int32		cohorts;
	ArrayType  *matrix;
	size_t		first = 0;

	for (int arg = 1; arg <= 3; arg++)
	{
		if (PG_ARGISNULL(arg))
			return mcdp_keep_state(fcinfo);
	}
	since = PG_GETARG_TIMESTAMPTZ(2);
	cohorts = PG_GETARG_INT32(3);
	mcdp_event_state_see(PG_GETARG_DATUM(1), &d);
	if (d.kind != EVENT_STATE_RETURNS)
		mcdp_event_state_wrong_kind();
	check_size(since, cohorts, d.buckets, d.detail);
	matrix = get_matrix(fcinfo, cohorts, d.buckets);
	while (first < d.nevents && (d.events[first].mask & 1) == 0)
		first++;
	if (first < d.nevents)
	{
		int64		cohort = cohort_of(d.events[first].at, since, cohorts, d.detail);

		if (cohort >= 0)
		{
			bool		few[FEW_BUCKETS];
			bool	   *came = d.buckets > FEW_BUCKETS ? palloc(d.buckets) : few;

			mcdp_match_returns(d.events, d.nevents, first, cohort_since(cohort, since, d.detail),
							   d.buckets, d.detail, came);
			count_returns(matrix, cohort, came, d.buckets);
		}
	}
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
