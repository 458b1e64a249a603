/*-------------------------------------------------------------------------
 *
 * quantile_agg.c
 *	  Aggregate quantile_edges(x, fractions).
 *
 * The state is an expanded object: keys in one array, runs first, then those
 * that came since, unsorted.  A worker sorts its keys when its state is asked
 * for, so that the process that combines only lays runs side by side.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/quantile_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "types/quantile.h"
#include "types/state.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#define MAX_RUNS		64		/* more are made one */

typedef struct ExpandedQuantiles
{
	ExpandedObjectHeader hdr;
	uint32		nfractions;
	double	   *fractions;
	uint64	   *keys;
	size_t		n;
	size_t		capacity;
	int			nruns;
	size_t		ends[MAX_RUNS]; /* one past each run */
} ExpandedQuantiles;

static inline size_t
sorted_up_to(const ExpandedQuantiles *state)
{
	return state->nruns == 0 ? 0 : state->ends[state->nruns - 1];
}

/* Sorts what came since the last run (all: everything) into a run. */
static void
make_run(ExpandedQuantiles *state, bool all)
{
	MemoryContext caller;
	size_t		first;

	if (state->nruns == MAX_RUNS)
		all = true;
	first = all ? 0 : sorted_up_to(state);
	if (first == state->n || (all && state->nruns == 1 && sorted_up_to(state) == state->n))
		return;
	/* the caller's context may be one that cannot free */
	caller = MemoryContextSwitchTo(state->hdr.eoh_context);
	mcdp_quantile_sort(state->keys + first, state->n - first);
	MemoryContextSwitchTo(caller);
	if (all)
		state->nruns = 0;
	state->ends[state->nruns++] = state->n;
}

static Size
state_flat_size(ExpandedObjectHeader *eohptr)
{
	ExpandedQuantiles *state = (ExpandedQuantiles *) eohptr;

	if (state->n > (MaxAllocSize - QUANTILE_HEADER) / sizeof(double) - state->nfractions)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many numbers in one group"),
				 errdetail("The state of quantile_edges must be less than 1 GB.")));
	return QUANTILE_HEADER + sizeof(double) * (state->nfractions + state->n);
}

static void
state_flatten_into(ExpandedObjectHeader *eohptr, void *result, Size allocated_size)
{
	ExpandedQuantiles *state = (ExpandedQuantiles *) eohptr;
	QuantileState *flat = result;

	make_run(state, true);
	memset(flat, 0, QUANTILE_HEADER);
	SET_VARSIZE(flat, allocated_size);
	flat->version = QUANTILE_VERSION;
	flat->nfractions = state->nfractions;
	memcpy(flat->numbers, state->fractions, sizeof(double) * state->nfractions);
	for (size_t i = 0; i < state->n; i++)
		flat->numbers[state->nfractions + i] = mcdp_quantile_number(state->keys[i]);
}

static const ExpandedObjectMethods state_methods = {
	state_flat_size,
	state_flatten_into
};

static ExpandedQuantiles *
make_state(FunctionCallInfo fcinfo, const double *fractions, uint32 nfractions)
{
	static const char name[] = "quantile states";
	MemoryContext agg_context,
				cx;
	ExpandedQuantiles *state;

	if (AggCheckCallContext(fcinfo, &agg_context))
		cx = mcdp_state_context(agg_context, name);
	else
		cx = AllocSetContextCreate(CurrentMemoryContext, "quantile state", ALLOCSET_SMALL_SIZES);
	state = MemoryContextAllocZero(cx, sizeof(ExpandedQuantiles));
	EOH_init_header(&state->hdr, &state_methods, cx);
	state->nfractions = nfractions;
	state->fractions = MemoryContextAlloc(cx, sizeof(double) * (Size) nfractions + 1);
	memcpy(state->fractions, fractions, sizeof(double) * (Size) nfractions);
	return state;
}

/* Room for so many more keys; returns where they go. */
static uint64 *
make_room(ExpandedQuantiles *state, size_t more)
{
	size_t		need = state->n + more;

	if (need > state->capacity)
	{
		state->capacity = Max(Max(need, 2 * state->capacity), 8);
		state->keys = state->keys == NULL ?
			MemoryContextAllocHuge(state->hdr.eoh_context, sizeof(uint64) * state->capacity) :
			repalloc_huge(state->keys, sizeof(uint64) * state->capacity);
	}
	return state->keys + state->n;
}

/* Adds the numbers of a flat state, which are sorted, as a run. */
static void
add_flat(ExpandedQuantiles *state, const QuantileState *flat)
{
	size_t		n = (VARSIZE(flat) - QUANTILE_HEADER) / sizeof(double) - flat->nfractions;
	const double *numbers = flat->numbers + flat->nfractions;
	uint64	   *keys;

	make_run(state, false);
	keys = make_room(state, n);
	for (size_t i = 0; i < n; i++)
		keys[i] = mcdp_quantile_key(numbers[i]);
	state->n += n;
	make_run(state, false);
}

/*
 * The state in argument 0 as something that can be added to, for these
 * fractions.
 */
static ExpandedQuantiles *
get_state(FunctionCallInfo fcinfo, const double *fractions, uint32 nfractions)
{
	Datum		d = PG_GETARG_DATUM(0);
	ExpandedQuantiles *state;

	if (PG_ARGISNULL(0))
		return make_state(fcinfo, fractions, nfractions);
	if (VARATT_IS_EXTERNAL_EXPANDED_RW(DatumGetPointer(d)) &&
		DatumGetEOHP(d)->eoh_methods == &state_methods)
		state = (ExpandedQuantiles *) DatumGetEOHP(d);
	else
	{
		const QuantileState *flat = (const QuantileState *) PG_DETOAST_DATUM(d);

		state = make_state(fcinfo, flat->numbers, flat->nfractions);
		add_flat(state, flat);
	}
	if (state->nfractions != nfractions ||
		memcmp(state->fractions, fractions, sizeof(double) * (Size) nfractions) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fractions must be the same in all rows of a group")));
	return state;
}

/* The fractions of a call site, kept from row to row. */
typedef struct Fractions
{
	ArrayType  *array;			/* what they were read from */
	uint32		n;
	double	   *fractions;
} Fractions;

static const Fractions *
get_fractions(FunctionCallInfo fcinfo, int arg)
{
	Fractions  *last = fcinfo->flinfo->fn_extra;
	MemoryContext cx = fcinfo->flinfo->fn_mcxt;
	ArrayType  *array;
	const double *given;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("fractions must not be NULL")));
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (last != NULL && last->array != NULL && VARSIZE(last->array) == VARSIZE(array) &&
		memcmp(last->array, array, VARSIZE(array)) == 0)
	{
		PG_FREE_IF_COPY(array, arg);
		return last;
	}

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fractions must be a one-dimensional array")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("fractions must not contain NULL")));
	if (last == NULL)
		fcinfo->flinfo->fn_extra = last = MemoryContextAllocZero(cx, sizeof(Fractions));
	else if (last->array != NULL)
	{
		pfree(last->array);
		pfree(last->fractions);
		last->array = NULL;
	}
	last->n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	given = (const double *) ARR_DATA_PTR(array);
	for (uint32 i = 0; i < last->n; i++)
	{
		if (!(given[i] >= 0 && given[i] <= 1))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("fraction %g is not between 0 and 1", given[i])));
	}
	last->fractions = MemoryContextAlloc(cx, sizeof(double) * (Size) last->n + 1);
	for (uint32 i = 0; i < last->n; i++)
		last->fractions[i] = given[i] + 0.0;	/* -0 becomes 0 */
	last->array = MemoryContextAlloc(cx, VARSIZE(array));
	memcpy(last->array, array, VARSIZE(array));
	return last;
}

/* (state, x, fractions); NULL is passed over */
PG_FUNCTION_INFO_V1(mcdp_quantile_edges_add);
Datum
mcdp_quantile_edges_add(PG_FUNCTION_ARGS)
{
	const Fractions *f;
	ExpandedQuantiles *state;

	if (PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	f = get_fractions(fcinfo, 2);
	state = get_state(fcinfo, f->fractions, f->n);
	*make_room(state, 1) = mcdp_quantile_key(PG_GETARG_FLOAT8(1));
	state->n++;
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/* (state, state) */
PG_FUNCTION_INFO_V1(mcdp_quantile_edges_combine);
Datum
mcdp_quantile_edges_combine(PG_FUNCTION_ARGS)
{
	ExpandedQuantiles *state;
	QuantileState *flat;

	if (PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	flat = (QuantileState *) PG_GETARG_VARLENA_P(1);
	state = get_state(fcinfo, flat->numbers, flat->nfractions);
	add_flat(state, flat);
	PG_FREE_IF_COPY(flat, 1);
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/*
 * The quantiles.  The state comes as a read-only pointer; sorting does not
 * change its value.
 */
PG_FUNCTION_INFO_V1(mcdp_quantile_edges_final);
Datum
mcdp_quantile_edges_final(PG_FUNCTION_ARGS)
{
	ExpandedQuantiles *state;
	QuantileRun runs[MAX_RUNS];
	Datum	   *edges;
	Datum		d = PG_GETARG_DATUM(0);

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(d)) &&
		DatumGetEOHP(d)->eoh_methods == &state_methods)
		state = (ExpandedQuantiles *) DatumGetEOHP(d);
	else
	{
		const QuantileState *flat = (const QuantileState *) PG_DETOAST_DATUM(d);

		state = make_state(fcinfo, flat->numbers, flat->nfractions);
		add_flat(state, flat);
	}
	if (state->n == 0)
		PG_RETURN_NULL();		/* only a state from outside */
	make_run(state, false);
	for (int i = 0; i < state->nruns; i++)
	{
		size_t		first = i == 0 ? 0 : state->ends[i - 1];

		runs[i].keys = state->keys + first;
		runs[i].n = state->ends[i] - first;
	}
	edges = palloc(sizeof(Datum) * (Size) state->nfractions + 1);
	for (uint32 i = 0; i < state->nfractions; i++)
		edges[i] = Float8GetDatum(mcdp_quantile_of(runs, state->nruns, state->fractions[i]));
	PG_RETURN_ARRAYTYPE_P(construct_array(edges, state->nfractions, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
