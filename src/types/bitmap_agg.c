/*-------------------------------------------------------------------------
 *
 * bitmap_agg.c
 *	  Aggregates of bitmaps and of ids.
 *
 * The state of every aggregate is a bitmap: while it grows, an expanded object
 * that transition functions change in place; wherever it leaves the process
 * that made it (to the leader of a parallel query, to another node, to disk),
 * a plain value.  So no serialisation functions are needed, and an engine that
 * ships states as values can push the aggregates down.
 *
 * Ids that rb_build_agg receives are collected and added in sorted bulk.  A
 * group of few ids costs its array only: the value is made from that, and a
 * set of CRoaring's never.  Bitmaps are combined as bytes as long as they are
 * of about one size: three large ones are united without a set either.  When a
 * state has become much larger than what is added to it, it becomes a set,
 * which need not be copied to be changed.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/bitmap_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "types/bitmap.h"
#include "types/state.h"

#define MIN_PENDING		8
#define MAX_PENDING		65536	/* ids collected before they are added */
#define MUCH_LARGER		8		/* times the size of what is added */

typedef struct BitmapState
{
	ExpandedObjectHeader hdr;	/* must be first */
	Rbuf	   *set;			/* NULL: nothing added yet */
	uint64	   *pending;		/* ids still to be added, in any order */
	uint32		num_pending;
	uint32		max_pending;
	Size		flat_size;		/* of the set; 0: not known, or changed since */
	Bitmap	   *flat;			/* the value, while set is NULL; or NULL */
	bool		whole;			/* flat is all there is, not made of pending */
} BitmapState;

PG_FUNCTION_INFO_V1(mcdp_rb_build_transfn);
PG_FUNCTION_INFO_V1(mcdp_rb_or_transfn);
PG_FUNCTION_INFO_V1(mcdp_rb_and_transfn);
PG_FUNCTION_INFO_V1(mcdp_rb_xor_transfn);

static Size get_flat_size(ExpandedObjectHeader *eohptr);
static void flatten_into(ExpandedObjectHeader *eohptr, void *result,
						 Size allocated_size);

static const ExpandedObjectMethods state_methods = {
	get_flat_size,
	flatten_into
};

static void
forget_flat(BitmapState *state)
{
	if (state->flat != NULL)
		pfree(state->flat);
	state->flat = NULL;
	state->whole = false;
}

/* The set with everything that was pending added. */
static Rbuf *
settle(BitmapState *state)
{
	if (state->whole)
		state->set = mcdp_rbuf_read_trusted(state->hdr.eoh_context, state->flat->bytes,
											BITMAP_BYTES_LEN(state->flat));
	forget_flat(state);
	if (state->set == NULL)
		state->set = mcdp_rbuf_create(state->hdr.eoh_context);
	if (state->num_pending > 0)
	{
		mcdp_sort_ids(state->pending, state->num_pending);
		mcdp_rbuf_add_sorted(state->set, state->pending, state->num_pending);
		state->num_pending = 0;
		state->flat_size = 0;
	}
	return state->set;
}

/* Sorts the pending ids and leaves out repeats. */
static void
sort_pending(BitmapState *state)
{
	uint32		kept = 0;

	mcdp_sort_ids(state->pending, state->num_pending);
	for (uint32 i = 0; i < state->num_pending; i++)
	{
		if (kept == 0 || state->pending[i] != state->pending[kept - 1])
			state->pending[kept++] = state->pending[i];
	}
	state->num_pending = kept;
}

static Bitmap *
make_flat(BitmapState *state)
{
	size_t		len;
	uint64		cardinality;
	char	   *bytes;

	sort_pending(state);
	bytes = mcdp_rbuf_bytes_from_ids(state->pending, state->num_pending,
									 BITMAP_HEADER, &len, &cardinality);
	return (Bitmap *) DatumGetPointer(mcdp_bytes_to_bitmap(bytes, len, cardinality));
}

/*
 * Works in the object's own context: the caller's may be one that cannot free
 * (a sort keeps its tuples in a bump context from PostgreSQL 17 on).
 */
static Size
get_flat_size(ExpandedObjectHeader *eohptr)
{
	BitmapState *state = (BitmapState *) eohptr;
	MemoryContext caller = MemoryContextSwitchTo(eohptr->eoh_context);
	Size		size;

	if (state->set == NULL)
	{
		if (state->flat == NULL)
			state->flat = make_flat(state);
		size = VARSIZE(state->flat);
	}
	else
	{
		Rbuf	   *set = settle(state);

		if (state->flat_size == 0)
		{
			mcdp_rbuf_optimize(set);
			state->flat_size = mcdp_bitmap_flat_size(set);
		}
		size = state->flat_size;
	}
	MemoryContextSwitchTo(caller);
	return size;
}

static void
flatten_into(ExpandedObjectHeader *eohptr, void *result, Size allocated_size)
{
	BitmapState *state = (BitmapState *) eohptr;

	if (state->flat != NULL)
	{
		Assert(allocated_size == VARSIZE(state->flat));
		memcpy(result, state->flat, allocated_size);
		if (!state->whole)
			forget_flat(state);
		return;
	}
	Assert(allocated_size == state->flat_size);
	mcdp_bitmap_flatten(state->set, result, allocated_size);
}

/* The state behind an expanded datum, NULL when it is not one of ours. */
static BitmapState *
get_state(Datum value)
{
	ExpandedObjectHeader *eohptr;

	if (!VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value)))
		return NULL;
	eohptr = DatumGetEOHP(value);
	return eohptr->eoh_methods == &state_methods ? (BitmapState *) eohptr : NULL;
}

Rbuf *
mcdp_bitmap_state_set(Datum value)
{
	BitmapState *state = get_state(value);

	return state == NULL ? NULL : settle(state);
}

bool
mcdp_bitmap_state_cardinality(Datum value, uint64 *cardinality)
{
	BitmapState *state = get_state(value);

	if (state == NULL)
		return false;
	if (state->whole)
		*cardinality = state->flat->cardinality;
	else if (state->set == NULL)
	{
		sort_pending(state);
		*cardinality = state->num_pending;
	}
	else
		*cardinality = mcdp_rbuf_cardinality(settle(state));
	return true;
}

static MemoryContext
agg_context(FunctionCallInfo fcinfo)
{
	MemoryContext cx;

	if (!AggCheckCallContext(fcinfo, &cx))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("transition functions of bitmap aggregates cannot be called directly")));
	return cx;
}

static BitmapState *
new_state(MemoryContext agg_cx)
{
	static const char name[] = "bitmap aggregate states";
	MemoryContext cx = mcdp_state_context(agg_cx, name);
	BitmapState *state = MemoryContextAllocZero(cx, sizeof(BitmapState));

	EOH_init_header(&state->hdr, &state_methods, cx);
	return state;
}

/*
 * The state in argument 0, to be changed: the very object when it is a
 * read/write one of ours, else a new one that holds the same set.  NULL makes
 * an empty one.
 */
static BitmapState *
state_arg(FunctionCallInfo fcinfo, MemoryContext agg_cx)
{
	BitmapState *state;

	if (!PG_ARGISNULL(0) &&
		VARATT_IS_EXTERNAL_EXPANDED_RW(DatumGetPointer(PG_GETARG_DATUM(0))))
	{
		state = get_state(PG_GETARG_DATUM(0));
		if (state != NULL)
			return state;
	}
	state = new_state(agg_cx);
	if (!PG_ARGISNULL(0))
		state->set = mcdp_bitmap_to_rbuf(state->hdr.eoh_context, PG_GETARG_DATUM(0));
	return state;
}

/* What to return when argument 1 is NULL: the state as it was. */
static Datum
same_state(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
mcdp_rb_build_transfn(PG_FUNCTION_ARGS)
{
	MemoryContext cx = agg_context(fcinfo);
	BitmapState *state;
	uint64		id;

	if (PG_ARGISNULL(1))
		return same_state(fcinfo);
	id = mcdp_bitmap_check_id(PG_GETARG_INT64(1));
	state = state_arg(fcinfo, cx);
	if (state->whole)
		settle(state);
	forget_flat(state);

	if (state->num_pending == state->max_pending)
	{
		if (state->max_pending >= MAX_PENDING)
			settle(state);
		else if (state->pending == NULL)
		{
			state->pending = MemoryContextAlloc(state->hdr.eoh_context,
												MIN_PENDING * sizeof(uint64));
			state->max_pending = MIN_PENDING;
		}
		else
		{
			state->pending = repalloc(state->pending,
									  2 * state->max_pending * sizeof(uint64));
			state->max_pending *= 2;
		}
	}
	state->pending[state->num_pending++] = id;
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

static void
change_set(RbufOp op, Rbuf *into, const Rbuf *with)
{
	switch (op)
	{
		case RBUF_AND:
			mcdp_rbuf_and(into, with);
			break;
		case RBUF_OR:
			mcdp_rbuf_or(into, with);
			break;
		case RBUF_XOR:
			mcdp_rbuf_xor(into, with);
			break;
		case RBUF_ANDNOT:
			mcdp_rbuf_andnot(into, with);
			break;
	}
}

static void
change_state(RbufOp op, BitmapState *state, const Bitmap *with)
{
	Size		len = BITMAP_BYTES_LEN(with);
	Rbuf	   *set;
	Rbuf	   *other;

	if (state->whole && VARSIZE(state->flat) / MUCH_LARGER <= VARSIZE(with))
	{
		MemoryContext old = MemoryContextSwitchTo(state->hdr.eoh_context);
		size_t		new_len;
		uint64		cardinality;
		char	   *bytes;
		Bitmap	   *flat;

		bytes = mcdp_rbuf_bytes_combine(op, state->flat->bytes, BITMAP_BYTES_LEN(state->flat),
										with->bytes, len, BITMAP_HEADER,
										&new_len, &cardinality);
		flat = (Bitmap *) DatumGetPointer(mcdp_bytes_to_bitmap(bytes, new_len, cardinality));
		pfree(state->flat);
		state->flat = flat;
		MemoryContextSwitchTo(old);
		return;
	}
	set = settle(state);
	state->flat_size = 0;
	if (op == RBUF_OR)
	{
		mcdp_rbuf_or_bytes(set, with->bytes, len);
		return;
	}
	other = mcdp_rbuf_read_trusted(CurrentMemoryContext, with->bytes, len);
	change_set(op, set, other);
	mcdp_rbuf_free(other);
}

/* Also the combine functions: the set of argument 1 changes the state. */
static Datum
combine(FunctionCallInfo fcinfo, RbufOp op)
{
	MemoryContext cx = agg_context(fcinfo);
	BitmapState *state;
	Rbuf	   *other;
	Bitmap	   *with;

	if (PG_ARGISNULL(1))
		return same_state(fcinfo);
	if (PG_ARGISNULL(0))
	{
		Size		size;

		with = mcdp_bitmap_fetch_arg(fcinfo, 1);
		size = VARSIZE(with);
		state = new_state(cx);
		state->flat = MemoryContextAlloc(state->hdr.eoh_context, size);
		memcpy(state->flat, with, size);
		state->whole = true;
		mcdp_bitmap_release_arg(fcinfo, 1, with);
		PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
	}
	state = state_arg(fcinfo, cx);
	other = mcdp_bitmap_state_set(PG_GETARG_DATUM(1));
	if (other != NULL)
	{
		Rbuf	   *set = settle(state);

		state->flat_size = 0;
		change_set(op, set, other);
	}
	else
	{
		with = mcdp_bitmap_fetch_arg(fcinfo, 1);
		change_state(op, state, with);
		mcdp_bitmap_release_arg(fcinfo, 1, with);
	}
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

Datum
mcdp_rb_or_transfn(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, RBUF_OR);
}

Datum
mcdp_rb_and_transfn(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, RBUF_AND);
}

Datum
mcdp_rb_xor_transfn(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, RBUF_XOR);
}
