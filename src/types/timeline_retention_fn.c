/*-------------------------------------------------------------------------
 *
 * timeline_retention_fn.c
 *	  SQL function: retention over a timeline.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_retention_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/length.h"
#include "types/event_state.h"
#include "types/retention.h"
#include "types/timeline_datum.h"
#include "types/timeline_match.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static bool
text_is(const text * t, const char *s)
{
	return VARSIZE_ANY_EXHDR(t) == strlen(s) && memcmp(VARDATA_ANY(t), s, strlen(s)) == 0;
}

void
mcdp_check_buckets(int32 buckets, int64 bucket)
{
	if (buckets < 1 || buckets > EVENT_STATE_MAX_BUCKETS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of buckets must be between 1 and %d, not %d", EVENT_STATE_MAX_BUCKETS, buckets)));
	if (bucket == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bucket must not be empty")));
}

bool
mcdp_align_day(const text * align)
{
	if (text_is(align, "day"))
		return true;
	if (!text_is(align, "event"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized alignment: \"%s\"", text_to_cstring(align)),
				 errhint("Buckets are aligned to 'event' or 'day'.")));
	return false;
}

ArrayType *
mcdp_make_flags(int n)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + n;
	ArrayType  *a = palloc0(size);

	SET_VARSIZE(a, size);
	a->ndim = 1;
	a->elemtype = BOOLOID;
	ARR_DIMS(a)[0] = n;
	ARR_LBOUND(a)[0] = 1;
	return a;
}

static int
find_event(const TimelineView *v, const text * name)
{
	return mcdp_timeline_find_event(v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* retention(timeline, cohort, returned, buckets, bucket, align) */
PG_FUNCTION_INFO_V1(mcdp_retention);
Datum
mcdp_retention(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	text	   *cohort = PG_GETARG_TEXT_PP(1);
	text	   *returned = PG_GETARG_TEXT_PP(2);
	int32		buckets = PG_GETARG_INT32(3);
	int64		bucket = mcdp_length_arg(PG_GETARG_INTERVAL_P(4), "bucket");
	bool		any = text_is(returned, "*");
	bool		align_day = mcdp_align_day(PG_GETARG_TEXT_PP(5));
	TimelineView v;
	ArrayType  *result;

	mcdp_check_buckets(buckets, bucket);

	mcdp_timeline_open(&v, t);
	result = mcdp_make_flags(buckets);
	mcdp_timeline_retention(&v, find_event(&v, cohort), any ? -1 : find_event(&v, returned),
							any, buckets, bucket, align_day, (bool *) ARR_DATA_PTR(result));
	PG_FREE_IF_COPY(t, 0);
	PG_RETURN_ARRAYTYPE_P(result);
}
