/*-------------------------------------------------------------------------
 *
 * timeline_op.c
 *	  Comparison, hashing and merging of timelines.
 *
 * The stored form is canonical, so timelines are equal when their bytes are.
 * The order is fixed but has no meaning: shorter values first, then bytewise.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_op.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "types/timeline_datum.h"

static int
compare(FunctionCallInfo fcinfo)
{
	Timeline   *a = PG_GETARG_TIMELINE_P(0);
	Timeline   *b = PG_GETARG_TIMELINE_P(1);
	size_t		asize = VARSIZE(a),
				bsize = VARSIZE(b);
	int			c;

	if (asize != bsize)
		c = asize < bsize ? -1 : 1;
	else
	{
		c = memcmp(a, b, asize);
		c = (c > 0) - (c < 0);
	}
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return c;
}

PG_FUNCTION_INFO_V1(mcdp_timeline_cmp);
Datum
mcdp_timeline_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

PG_FUNCTION_INFO_V1(mcdp_timeline_eq);
Datum
mcdp_timeline_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) == 0);
}

PG_FUNCTION_INFO_V1(mcdp_timeline_ne);
Datum
mcdp_timeline_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) != 0);
}

PG_FUNCTION_INFO_V1(mcdp_timeline_lt);
Datum
mcdp_timeline_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

PG_FUNCTION_INFO_V1(mcdp_timeline_le);
Datum
mcdp_timeline_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

PG_FUNCTION_INFO_V1(mcdp_timeline_gt);
Datum
mcdp_timeline_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

PG_FUNCTION_INFO_V1(mcdp_timeline_ge);
Datum
mcdp_timeline_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

PG_FUNCTION_INFO_V1(mcdp_timeline_hash);
Datum
mcdp_timeline_hash(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	uint32		h = hash_bytes((const unsigned char *) VARDATA(t), VARSIZE(t) - VARHDRSZ);

	PG_FREE_IF_COPY(t, 0);
	PG_RETURN_INT32((int32) h);
}

PG_FUNCTION_INFO_V1(mcdp_timeline_hash_extended);
Datum
mcdp_timeline_hash_extended(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	uint64		h = hash_bytes_extended((const unsigned char *) VARDATA(t),
										VARSIZE(t) - VARHDRSZ, PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(t, 0);
	PG_RETURN_INT64((int64) h);
}

/* timeline || timeline: all events of both; two ordered runs are merged */
PG_FUNCTION_INFO_V1(mcdp_timeline_merge);
Datum
mcdp_timeline_merge(PG_FUNCTION_ARGS)
{
	TimelineBuilder *b = mcdp_timeline_builder_create(CurrentMemoryContext);

	for (int arg = 0; arg < 2; arg++)
	{
		TimelineView v;

		mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(arg));
		mcdp_timeline_builder_add_view(b, &v, 0, v.nevents, NULL);
	}
	PG_RETURN_TIMELINE_P(mcdp_timeline_builder_finish(b));
}
