/*-------------------------------------------------------------------------
 *
 * cohort_agg.c
 *	  Aggregate cohort_agg(t, event, edges, at), and its result as rows.
 *
 * The state is the result, changed in place.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/cohort_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "types/cohort.h"
#include "types/state.h"
#include "types/timeline_datum.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(mcdp_cohort_state_in);
PG_FUNCTION_INFO_V1(mcdp_cohort_state_out);
PG_FUNCTION_INFO_V1(mcdp_cohort_state_recv);
PG_FUNCTION_INFO_V1(mcdp_cohort_state_send);
PG_FUNCTION_INFO_V1(mcdp_cohort_agg_add);
PG_FUNCTION_INFO_V1(mcdp_cohort_agg_combine);
PG_FUNCTION_INFO_V1(mcdp_cohort_rows);

#define GETARG_COHORT_P(n)	((CohortState *) PG_DETOAST_DATUM(PG_GETARG_DATUM(n)))

Datum
mcdp_cohort_state_in(PG_FUNCTION_ARGS)
{
	return mcdp_state_in(fcinfo, "cohort_state", mcdp_cohort_check);
}

Datum
mcdp_cohort_state_out(PG_FUNCTION_ARGS)
{
	return mcdp_state_out(fcinfo, "cohort_state");
}

Datum
mcdp_cohort_state_recv(PG_FUNCTION_ARGS)
{
	return mcdp_state_recv(fcinfo, "cohort_state", mcdp_cohort_check);
}

Datum
mcdp_cohort_state_send(PG_FUNCTION_ARGS)
{
	return mcdp_state_send(fcinfo);
}

static void
refuse(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", what)));
}

/* The edges of argument 3 and the instant of argument 4 as an empty state. */
static CohortState *
make_state(FunctionCallInfo fcinfo, MemoryContext cx)
{
	ArrayType  *edges = PG_GETARG_ARRAYTYPE_P(3);
	int			nedges = ArrayGetNItems(ARR_NDIM(edges), ARR_DIMS(edges));
	const TimestampTz *edge = (const TimestampTz *) ARR_DATA_PTR(edges);
	CohortState *s;

	if (ARR_NDIM(edges) > 1 || ARR_HASNULL(edges) || nedges < 2)
		refuse("edges must be at least two instants, none of them null");
	if (nedges > COHORT_MAX_PERIODS + 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many periods"),
				 errdetail("There may be at most %d.", COHORT_MAX_PERIODS)));
	for (int i = 0; i < nedges; i++)
	{
		if (TIMESTAMP_NOT_FINITE(edge[i]) || (i > 0 && edge[i] <= edge[i - 1]))
			refuse("edges must be finite and ascend");
	}
	s = MemoryContextAllocZero(cx, COHORT_SIZE(nedges - 1));
	SET_VARSIZE(s, COHORT_SIZE(nedges - 1));
	s->version = COHORT_VERSION;
	s->nperiods = nedges - 1;
	s->at = PG_GETARG_TIMESTAMPTZ(4);
	memcpy(s->data, edge, sizeof(TimestampTz) * nedges);
	return s;
}

/* Argument 0 as something that may be changed: inside an aggregate itself, else a copy. */
static CohortState *
get_state(FunctionCallInfo fcinfo, MemoryContext cx)
{
	struct varlena *old = (struct varlena *) DatumGetPointer(PG_GETARG_DATUM(0));
	CohortState *s = (CohortState *) PG_DETOAST_DATUM(PG_GETARG_DATUM(0));

	if (cx == NULL || (void *) s != (void *) old)
	{
		CohortState *copy = MemoryContextAlloc(cx ? cx : CurrentMemoryContext, VARSIZE(s));

		memcpy(copy, s, VARSIZE(s));
		s = copy;
	}
	return s;
}

static bool
same_periods(const CohortState *a, const CohortState *b)
{
	return a->nperiods == b->nperiods && a->at == b->at &&
		memcmp(a->data, b->data, sizeof(TimestampTz) * (a->nperiods + 1)) == 0;
}

/* (state, timeline, event, edges, at) */
Datum
mcdp_cohort_agg_add(PG_FUNCTION_ARGS)
{
	MemoryContext cx = NULL;
	CohortState *s;
	TimelineView v;
	text	   *name;

	for (int arg = 1; arg <= 4; arg++)
	{
		if (PG_ARGISNULL(arg))
			return mcdp_keep_state(fcinfo);
	}
	if (!AggCheckCallContext(fcinfo, &cx))
		cx = NULL;
	if (PG_ARGISNULL(0))
		s = make_state(fcinfo, cx ? cx : CurrentMemoryContext);
	else
	{
		ArrayType  *edges = PG_GETARG_ARRAYTYPE_P(3);

		s = get_state(fcinfo, cx);
		if (s->at != PG_GETARG_TIMESTAMPTZ(4) || ARR_HASNULL(edges) ||
			ArrayGetNItems(ARR_NDIM(edges), ARR_DIMS(edges)) != s->nperiods + 1 ||
			memcmp(ARR_DATA_PTR(edges), s->data, sizeof(TimestampTz) * (s->nperiods + 1)) != 0)
			refuse("edges and at must be the same in all rows of a group");
	}
	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(1));
	name = PG_GETARG_TEXT_PP(2);
	mcdp_cohort_add(s, &v, mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)));
	PG_RETURN_POINTER(s);
}

Datum
mcdp_cohort_agg_combine(PG_FUNCTION_ARGS)
{
	MemoryContext cx = NULL;
	CohortState *s,
			   *more;

	if (PG_ARGISNULL(1))
		return mcdp_keep_state(fcinfo);
	if (!AggCheckCallContext(fcinfo, &cx))
		cx = NULL;
	more = GETARG_COHORT_P(1);
	if (PG_ARGISNULL(0))
	{
		s = MemoryContextAlloc(cx ? cx : CurrentMemoryContext, VARSIZE(more));
		memcpy(s, more, VARSIZE(more));
		PG_RETURN_POINTER(s);
	}
	s = get_state(fcinfo, cx);
	if (!same_periods(s, more))
		refuse("edges and at must be the same in all rows of a group");
	mcdp_cohort_merge(s, more);
	PG_RETURN_POINTER(s);
}

/* How much of [start, end) lies before "at", 0 … 1. */
static double
share_before(TimestampTz start, TimestampTz end, TimestampTz at)
{
	if (at >= end)
		return 1;
	if (at <= start)
		return 0;
	return ((double) at - (double) start) / ((double) end - (double) start);
}

typedef struct RowsState
{
	CohortState *s;
	int			cohort;
	int			k;
} RowsState;

/* cohort_rows(state) */
Datum
mcdp_cohort_rows(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	RowsState  *rows;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		TupleDesc	desc;

		context = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		context->tuple_desc = BlessTupleDesc(desc);
		rows = palloc0(sizeof(RowsState));
		rows->s = (CohortState *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0));
		context->user_fctx = rows;
		MemoryContextSwitchTo(caller);
	}

	context = SRF_PERCALL_SETUP();
	rows = context->user_fctx;
	if (rows->cohort < rows->s->nperiods)
	{
		const CohortState *s = rows->s;
		const TimestampTz *edge = cohort_edges(s);
		const CohortCell *cell = cohort_cells(s, rows->cohort);
		int			period = rows->cohort + rows->k;
		double		observed = share_before(edge[period], edge[period + 1], s->at);
		int64		size = cell[0].active;
		Datum		values[9];
		bool		nulls[9] = {false};

		cell += rows->k;
		values[0] = TimestampTzGetDatum(edge[rows->cohort]);
		values[1] = Int32GetDatum(rows->k);
		values[2] = TimestampTzGetDatum(edge[period]);
		values[3] = Float8GetDatum(observed);
		values[4] = Int64GetDatum(size);
		values[5] = Int64GetDatum(cell->active);
		values[6] = Float8GetDatum(size == 0 ? 0 : (double) cell->active / (double) size);
		values[7] = Int64GetDatum(cell->orders);
		values[8] = Float8GetDatum(cell->sum + cell->rest);
		for (int i = 4; i < 9; i++)
			nulls[i] = i == 4 ? share_before(edge[rows->cohort], edge[rows->cohort + 1], s->at) == 0 : observed == 0;
		nulls[6] |= size == 0;

		if (++rows->k == s->nperiods - rows->cohort)
		{
			rows->cohort++;
			rows->k = 0;
		}
		SRF_RETURN_NEXT(context,
						HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(context);
}
