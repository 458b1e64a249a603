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

/* quantile_score(x, edges): 1 and how many edges are less than x; NaN is greatest */
PG_FUNCTION_INFO_V1(mcdp_quantile_score);
Datum
mcdp_quantile_score(PG_FUNCTION_ARGS)
{
	float8		x = PG_GETARG_FLOAT8(0);
	ArrayType  *edges = PG_GETARG_ARRAYTYPE_P(1);
	int			n = ArrayGetNItems(ARR_NDIM(edges), ARR_DIMS(edges));
	const float8 *edge = (const float8 *) ARR_DATA_PTR(edges);
	int			score = 1;

	if (array_contains_nulls(edges))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("edges must not contain NULL")));
	for (int i = 0; i < n; i++)
		score += float8_lt(edge[i], x);
	PG_FREE_IF_COPY(edges, 1);
	PG_RETURN_INT32(score);
}
