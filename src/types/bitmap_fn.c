/*-------------------------------------------------------------------------
 *
 * bitmap_fn.c
 *	  Functions of one bitmap: single ids, ranges, positions, rows, samples.
 *
 * A range is [since, until).  NULL is no bound; a bound below 0 is 0, as there
 * are no ids below.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/bitmap_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp_rb_cardinality);
PG_FUNCTION_INFO_V1(mcdp_rb_is_empty);
PG_FUNCTION_INFO_V1(mcdp_rb_min);
PG_FUNCTION_INFO_V1(mcdp_rb_max);
PG_FUNCTION_INFO_V1(mcdp_rb_add);
PG_FUNCTION_INFO_V1(mcdp_rb_id_or);
PG_FUNCTION_INFO_V1(mcdp_rb_remove);
PG_FUNCTION_INFO_V1(mcdp_rb_rank);
PG_FUNCTION_INFO_V1(mcdp_rb_index);
PG_FUNCTION_INFO_V1(mcdp_rb_runoptimize);
PG_FUNCTION_INFO_V1(mcdp_rb_fill);
PG_FUNCTION_INFO_V1(mcdp_rb_clear);
PG_FUNCTION_INFO_V1(mcdp_rb_flip);
PG_FUNCTION_INFO_V1(mcdp_rb_range);
PG_FUNCTION_INFO_V1(mcdp_rb_range_cardinality);
PG_FUNCTION_INFO_V1(mcdp_rb_select);
PG_FUNCTION_INFO_V1(mcdp_rb_sample);
PG_FUNCTION_INFO_V1(mcdp_rb_iterate);

static Rbuf *
set_arg(FunctionCallInfo fcinfo, int n)
{
	return mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(n));
}

static Datum
finish(Rbuf *set)
{
	Datum		result = mcdp_rbuf_to_bitmap(set);

	mcdp_rbuf_free(set);
	return result;
}

/* ---- the whole ---- */

/* Also the final function of the _cardinality_agg aggregates. */
Datum
mcdp_rb_cardinality(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(mcdp_bitmap_cardinality(PG_GETARG_DATUM(0)));
}

Datum
mcdp_rb_is_empty(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mcdp_bitmap_cardinality(PG_GETARG_DATUM(0)) == 0);
}

Datum
mcdp_rb_min(PG_FUNCTION_ARGS)
{
	uint64		id;

	if (!mcdp_bitmap_arg_end(fcinfo, 0, false, &id))
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

Datum
mcdp_rb_max(PG_FUNCTION_ARGS)
{
	uint64		id;

	if (!mcdp_bitmap_arg_end(fcinfo, 0, true, &id))
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

/* Every stored bitmap is optimised: there is nothing to do. */
Datum
mcdp_rb_runoptimize(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(PG_GETARG_BITMAP_P(0));
}

/* ---- single ids ---- */

static Datum
add(Rbuf *set, int64 id)
{
	mcdp_rbuf_add(set, mcdp_bitmap_check_id(id));
	return finish(set);
}

Datum
mcdp_rb_add(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(add(set_arg(fcinfo, 0), PG_GETARG_INT64(1)));
}

Datum
mcdp_rb_id_or(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(add(set_arg(fcinfo, 1), PG_GETARG_INT64(0)));
}

Datum
mcdp_rb_remove(PG_FUNCTION_ARGS)
{
	Rbuf	   *set = set_arg(fcinfo, 0);

	mcdp_rbuf_remove(set, mcdp_bitmap_check_id(PG_GETARG_INT64(1)));
	PG_RETURN_DATUM(finish(set));
}

static uint64
rank(const Bitmap *bitmap, uint64 id)
{
	return mcdp_rbuf_bytes_rank(bitmap->bytes, BITMAP_BYTES_LEN(bitmap), id);
}

/* How many ids are <= id. */
Datum
mcdp_rb_rank(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(1);
	Bitmap	   *bitmap;
	uint64		ids;

	if (id < 0)
		PG_RETURN_INT64(0);
	bitmap = mcdp_bitmap_fetch_arg(fcinfo, 0);
	ids = rank(bitmap, id);
	mcdp_bitmap_release_arg(fcinfo, 0, bitmap);
	PG_RETURN_INT64(ids);
}

/* Position of id, from 0; -1 when it is not there. */
Datum
mcdp_rb_index(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(1);
	Bitmap	   *bitmap;
	int64		index = -1;

	if (id < 0)
		PG_RETURN_INT64(-1);
	bitmap = mcdp_bitmap_fetch_arg(fcinfo, 0);
	if (mcdp_rbuf_bytes_contains(bitmap->bytes, BITMAP_BYTES_LEN(bitmap), id))
		index = rank(bitmap, id) - 1;
	mcdp_bitmap_release_arg(fcinfo, 0, bitmap);
	PG_RETURN_INT64(index);
}

/* ---- ranges ---- */

/* The range in arguments n and n + 1; false when nothing is in it. */
static bool
range_arg(FunctionCallInfo fcinfo, int n, uint64 *first, uint64 *last)
{
	int64		since = PG_ARGISNULL(n) ? 0 : PG_GETARG_INT64(n);
	int64		until = PG_ARGISNULL(n + 1) ? 0 : PG_GETARG_INT64(n + 1);

	*first = Max(since, 0);
	*last = RBUF_MAX_ID;
	if (PG_ARGISNULL(n + 1))
		return true;
	if (until <= 0 || (uint64) until <= *first)
		return false;
	*last = until - 1;
	return true;
}

static void
keep_range(Rbuf *set, uint64 first, uint64 last)
{
	if (first > 0)
		mcdp_rbuf_remove_range(set, 0, first - 1);
	if (last < RBUF_MAX_ID)
		mcdp_rbuf_remove_range(set, last + 1, RBUF_MAX_ID);
}

static Datum
change_range(FunctionCallInfo fcinfo,
			 void (*change) (Rbuf *set, uint64 first, uint64 last))
{
	Rbuf	   *set;
	uint64		first;
	uint64		last;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	set = set_arg(fcinfo, 0);
	if (range_arg(fcinfo, 1, &first, &last))
		change(set, first, last);
	PG_RETURN_DATUM(finish(set));
}

Datum
mcdp_rb_fill(PG_FUNCTION_ARGS)
{
	return change_range(fcinfo, mcdp_rbuf_add_range);
}

Datum
mcdp_rb_clear(PG_FUNCTION_ARGS)
{
	return change_range(fcinfo, mcdp_rbuf_remove_range);
}

Datum
mcdp_rb_flip(PG_FUNCTION_ARGS)
{
	return change_range(fcinfo, mcdp_rbuf_flip_range);
}

Datum
mcdp_rb_range(PG_FUNCTION_ARGS)
{
	Bitmap	   *bitmap;
	uint64		first;
	uint64		last;
	size_t		len;
	uint64		cardinality;
	char	   *bytes;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (!range_arg(fcinfo, 1, &first, &last))
	{
		bytes = mcdp_rbuf_bytes_from_ids(NULL, 0, BITMAP_HEADER, &len, &cardinality);
		PG_RETURN_DATUM(mcdp_bytes_to_bitmap(bytes, len, cardinality));
	}
	bitmap = mcdp_bitmap_fetch_arg(fcinfo, 0);
	bytes = mcdp_rbuf_bytes_range(bitmap->bytes, BITMAP_BYTES_LEN(bitmap), first, last,
								  BITMAP_HEADER, &len, &cardinality);
	mcdp_bitmap_release_arg(fcinfo, 0, bitmap);
	PG_RETURN_DATUM(mcdp_bytes_to_bitmap(bytes, len, cardinality));
}

Datum
mcdp_rb_range_cardinality(PG_FUNCTION_ARGS)
{
	Bitmap	   *bitmap;
	uint64		first;
	uint64		last;
	uint64		n;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (!range_arg(fcinfo, 1, &first, &last))
		PG_RETURN_INT64(0);
	bitmap = mcdp_bitmap_fetch_arg(fcinfo, 0);
	n = rank(bitmap, last);
	if (first > 0)
		n -= rank(bitmap, first - 1);
	mcdp_bitmap_release_arg(fcinfo, 0, bitmap);
	PG_RETURN_INT64(n);
}

/*
 * rb_select(bitmap, limit, offset, reverse, since, until): of the ids in the
 * range, leave out the first "offset" (the last ones when reverse) and take
 * the next "limit".
 */
Datum
mcdp_rb_select(PG_FUNCTION_ARGS)
{
	Rbuf	   *set;
	int64		limit;
	int64		offset;
	uint64		first;
	uint64		last;
	uint64		num;

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	limit = PG_GETARG_INT64(1);
	offset = PG_GETARG_INT64(2);
	if (limit < 0 || offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("limit and offset must not be negative")));

	set = set_arg(fcinfo, 0);
	if (range_arg(fcinfo, 4, &first, &last))
		keep_range(set, first, last);
	else
		mcdp_rbuf_clear(set);

	num = mcdp_rbuf_cardinality(set);
	if (limit == 0 || (uint64) offset >= num)
		mcdp_rbuf_clear(set);
	else
	{
		uint64		take = Min((uint64) limit, num - offset);
		uint64		begin = PG_GETARG_BOOL(3) ? num - offset - take : offset;

		if (!mcdp_rbuf_nth(set, begin, &first) ||
			!mcdp_rbuf_nth(set, begin + take - 1, &last))
			elog(ERROR, "could not select ids of a bitmap");
		keep_range(set, first, last);
	}
	PG_RETURN_DATUM(finish(set));
}

/* ---- samples ---- */

typedef struct Draw
{
	uint64		rank;			/* hash of seed and id */
	uint64		id;
} Draw;

static inline bool
draws_after(const Draw *a, const Draw *b)
{
	return a->rank > b->rank || (a->rank == b->rank && a->id > b->id);
}

/* Restores the heap (last draw on top) below place i. */
static void
sift_down(Draw *heap, uint64 num, uint64 i)
{
	Draw		moved = heap[i];

	for (;;)
	{
		uint64		child = 2 * i + 1;

		if (child >= num)
			break;
		if (child + 1 < num && draws_after(&heap[child + 1], &heap[child]))
			child++;
		if (!draws_after(&heap[child], &moved))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

/* FNV-1a, then the finaliser of splitmix64: the same on every platform. */
static uint64
hash_seed(const char *bytes, Size len)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);

	for (Size i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) bytes[i]) * UINT64CONST(0x100000001b3);
	return hash;
}

static inline uint64
mix(uint64 x)
{
	x += UINT64CONST(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/*
 * rb_sample(bitmap, n, seed): the n ids whose hashes are smallest.  So a
 * smaller sample is part of a larger one of the same seed, and an id that
 * joins the bitmap displaces at most one other.
 */
Datum
mcdp_rb_sample(PG_FUNCTION_ARGS)
{
	int64		n = PG_GETARG_INT64(1);
	text	   *seed = PG_GETARG_TEXT_PP(2);
	uint64		salt;
	Rbuf	   *set;
	Draw	   *heap;
	uint64		num = 0;
	uint64	   *ids;
	RbufIter	it;
	uint64		id;
	uint32		seen = 0;

	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("size of a sample must not be negative")));
	set = set_arg(fcinfo, 0);
	if ((uint64) n >= mcdp_rbuf_cardinality(set))
		PG_RETURN_DATUM(finish(set));
	if (n == 0)
	{
		mcdp_rbuf_clear(set);
		PG_RETURN_DATUM(finish(set));
	}
	if ((uint64) n > MaxAllocHugeSize / sizeof(Draw))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sample is too large")));

	salt = mix(hash_seed(VARDATA_ANY(seed), VARSIZE_ANY_EXHDR(seed)));
	heap = palloc_extended(n * sizeof(Draw), MCXT_ALLOC_HUGE);
	mcdp_rbuf_iter_init(&it, set);
	while (mcdp_rbuf_iter_next(&it, &id))
	{
		Draw		draw = {mix(salt ^ mix(id)), id};

		if (num < (uint64) n)
		{
			heap[num++] = draw;
			if (num == (uint64) n)
				for (uint64 i = num / 2; i > 0; i--)
					sift_down(heap, num, i - 1);
		}
		else if (draws_after(&heap[0], &draw))
		{
			heap[0] = draw;
			sift_down(heap, num, 0);
		}
		if (++seen % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
	}

	ids = palloc_extended(num * sizeof(uint64), MCXT_ALLOC_HUGE);
	for (uint64 i = 0; i < num; i++)
		ids[i] = heap[i].id;
	mcdp_sort_ids(ids, num);
	mcdp_rbuf_clear(set);
	mcdp_rbuf_add_sorted(set, ids, num);
	pfree(heap);
	pfree(ids);
	PG_RETURN_DATUM(finish(set));
}

/* ---- rows ---- */

Datum
mcdp_rb_iterate(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	uint64		id;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		RbufIter   *it;

		call = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		it = palloc(sizeof(RbufIter));
		mcdp_rbuf_iter_init(it, set_arg(fcinfo, 0));
		call->user_fctx = it;
		MemoryContextSwitchTo(old);
	}
	call = SRF_PERCALL_SETUP();
	if (mcdp_rbuf_iter_next(call->user_fctx, &id))
		SRF_RETURN_NEXT(call, Int64GetDatum(id));
	SRF_RETURN_DONE(call);
}
