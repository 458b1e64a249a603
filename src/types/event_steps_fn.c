/*-------------------------------------------------------------------------
 *
 * event_steps_fn.c
 *	  Reads the names of a funnel's steps.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_steps_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "types/event_steps.h"

void
mcdp_event_steps_read(EventSteps *steps, MemoryContext cx, ArrayType *array)
{
	Datum	   *names;
	bool	   *nulls;
	int			n;

	if (steps->array != NULL && VARSIZE(steps->array) == VARSIZE(array) &&
		memcmp(steps->array, array, VARSIZE(array)) == 0)
		return;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("steps must be a one-dimensional array")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("steps must not contain NULL")));
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (n > MATCH_MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many steps"),
				 errdetail("A funnel has at most %d steps, not %d.", MATCH_MAX_STEPS, n)));

	if (steps->array != NULL)
	{
		pfree(steps->array);
		steps->array = NULL;
	}
	steps->array = MemoryContextAlloc(cx, VARSIZE(array));
	memcpy(steps->array, array, VARSIZE(array));
	deconstruct_array(steps->array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	steps->n = n;
	for (int k = 0; k < n; k++)
	{
		/* elements of an array are never compressed or out of line */
		steps->names[k] = VARDATA_ANY(DatumGetPointer(names[k]));
		steps->lengths[k] = VARSIZE_ANY_EXHDR(DatumGetPointer(names[k]));
	}
	pfree(names);
	pfree(nulls);
}
