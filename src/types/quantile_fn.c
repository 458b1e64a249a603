/*-------------------------------------------------------------------------
 *
 * quantile_fn.c
 *	  SQL function: quantile_score.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/quantile_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "core/mcdp.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/float.h"

/*
 * The array of argument 1.  A few numbers that come from a row have a short
 * header and lie unaligned: moved to the stack, where detoasting would allocate
 * for every call.
 */
typedef union ShortArray
{
	ArrayType	array;
	char		bytes[VARATT_SHORT_MAX + VARHDRSZ];
	int64		align;
} ShortArray;

static ArrayType *
get_edges(FunctionCallInfo fcinfo, ShortArray *room)
{
	struct varlena *p = (struct varlena *) PG_GETARG_POINTER(1);

	if (!VARATT_IS_SHORT(p) || VARATT_IS_EXTERNAL(p))
		return PG_GETARG_ARRAYTYPE_P(1);
	SET_VARSIZE(room, VARSIZE_SHORT(p) - VARHDRSZ_SHORT + VARHDRSZ);
	memcpy(VARDATA(room), VARDATA_SHORT(p), VARSIZE_SHORT(p) - VARHDRSZ_SHORT);
	return &room->array;
}

/* quantile_score(x, edges): 1 and how many edges are less than x; NaN is greatest */
PG_FUNCTION_INFO_V1(mcdp_quantile_score);
Datum
mcdp_quantile_score(PG_FUNCTION_ARGS)
{
	float8		x = PG_GETARG_FLOAT8(0);
	ShortArray	room;
	ArrayType  *edges = get_edges(fcinfo, &room);
	int			n = ArrayGetNItems(ARR_NDIM(edges), ARR_DIMS(edges));
	const float8 *edge = (const float8 *) ARR_DATA_PTR(edges);
	int			score = 1;

	if (ARR_HASNULL(edges) && array_contains_nulls(edges))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("edges must not contain NULL")));
	for (int i = 0; i < n; i++)
		score += float8_lt(edge[i], x);
	PG_RETURN_INT32(score);
}
