/*-------------------------------------------------------------------------
 *
 * bitmap_op.c
 *	  Set algebra and comparison of bitmaps.
 *
 * The order of the btree class has no meaning beyond being fixed: by number
 * of ids, then by bytes.  Equality needs no reading, equal sets being equal
 * bytes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/bitmap_op.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/hashfn.h"

#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp_rb_and);
PG_FUNCTION_INFO_V1(mcdp_rb_or);
PG_FUNCTION_INFO_V1(mcdp_rb_xor);
PG_FUNCTION_INFO_V1(mcdp_rb_andnot);
PG_FUNCTION_INFO_V1(mcdp_rb_and_cardinality);
PG_FUNCTION_INFO_V1(mcdp_rb_or_cardinality);
PG_FUNCTION_INFO_V1(mcdp_rb_xor_cardinality);
PG_FUNCTION_INFO_V1(mcdp_rb_andnot_cardinality);
PG_FUNCTION_INFO_V1(mcdp_rb_jaccard_dist);
PG_FUNCTION_INFO_V1(mcdp_rb_contains);
PG_FUNCTION_INFO_V1(mcdp_rb_contained);
PG_FUNCTION_INFO_V1(mcdp_rb_contains_id);
PG_FUNCTION_INFO_V1(mcdp_rb_id_contained);
PG_FUNCTION_INFO_V1(mcdp_rb_intersect);
PG_FUNCTION_INFO_V1(mcdp_bitmap_cmp);
PG_FUNCTION_INFO_V1(mcdp_bitmap_eq);
PG_FUNCTION_INFO_V1(mcdp_bitmap_ne);
PG_FUNCTION_INFO_V1(mcdp_bitmap_lt);
PG_FUNCTION_INFO_V1(mcdp_bitmap_le);
PG_FUNCTION_INFO_V1(mcdp_bitmap_ge);
PG_FUNCTION_INFO_V1(mcdp_bitmap_gt);
PG_FUNCTION_INFO_V1(mcdp_bitmap_hash);
PG_FUNCTION_INFO_V1(mcdp_bitmap_hash_extended);

/* ---- algebra ---- */

static Datum
combine(FunctionCallInfo fcinfo, void (*change) (Rbuf *into, const Rbuf *with))
{
	Rbuf	   *into = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(0));
	Rbuf	   *with = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(1));
	Datum		result;

	change(into, with);
	result = mcdp_rbuf_to_bitmap(into);
	mcdp_rbuf_free(into);
	mcdp_rbuf_free(with);
	return result;
}

Datum
mcdp_rb_and(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, mcdp_rbuf_and);
}

Datum
mcdp_rb_or(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, mcdp_rbuf_or);
}

Datum
mcdp_rb_xor(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, mcdp_rbuf_xor);
}

Datum
mcdp_rb_andnot(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, mcdp_rbuf_andnot);
}

/* ---- cardinalities: from the cached counts and that of the intersection ---- */

typedef struct Counts
{
	uint64		a;
	uint64		b;
	uint64		both;
} Counts;

static Counts
count(FunctionCallInfo fcinfo)
{
	Rbuf	   *a = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(0));
	Rbuf	   *b = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(1));
	Counts		counts;

	counts.a = mcdp_bitmap_cardinality(PG_GETARG_DATUM(0));
	counts.b = mcdp_bitmap_cardinality(PG_GETARG_DATUM(1));
	counts.both = mcdp_rbuf_and_cardinality(a, b);
	mcdp_rbuf_free(a);
	mcdp_rbuf_free(b);
	return counts;
}

Datum
mcdp_rb_and_cardinality(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(count(fcinfo).both);
}

Datum
mcdp_rb_or_cardinality(PG_FUNCTION_ARGS)
{
	Counts		counts = count(fcinfo);

	PG_RETURN_INT64(counts.a + counts.b - counts.both);
}

Datum
mcdp_rb_xor_cardinality(PG_FUNCTION_ARGS)
{
	Counts		counts = count(fcinfo);

	PG_RETURN_INT64(counts.a + counts.b - 2 * counts.both);
}

Datum
mcdp_rb_andnot_cardinality(PG_FUNCTION_ARGS)
{
	Counts		counts = count(fcinfo);

	PG_RETURN_INT64(counts.a - counts.both);
}

/* Despite its name the similarity; two empty sets are equal, hence 1. */
Datum
mcdp_rb_jaccard_dist(PG_FUNCTION_ARGS)
{
	Counts		counts = count(fcinfo);
	uint64		either = counts.a + counts.b - counts.both;

	PG_RETURN_FLOAT8(either == 0 ? 1.0 : (double) counts.both / (double) either);
}

/* ---- containment ---- */

static bool
is_subset(Datum part, Datum whole)
{
	Rbuf	   *a;
	Rbuf	   *b;
	bool		result;

	if (mcdp_bitmap_cardinality(part) > mcdp_bitmap_cardinality(whole))
		return false;
	a = mcdp_bitmap_to_rbuf(CurrentMemoryContext, part);
	b = mcdp_bitmap_to_rbuf(CurrentMemoryContext, whole);
	result = mcdp_rbuf_is_subset(a, b);
	mcdp_rbuf_free(a);
	mcdp_rbuf_free(b);
	return result;
}

Datum
mcdp_rb_contains(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_subset(PG_GETARG_DATUM(1), PG_GETARG_DATUM(0)));
}

Datum
mcdp_rb_contained(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_subset(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

/*
 * A bitmap stored out of line is read once, not for each id asked about: the
 * same one comes with every row of "id <@ (SELECT members FROM ...)".
 */
typedef struct FetchedBitmap
{
	struct varatt_external pointer;
	Bitmap	   *bitmap;
} FetchedBitmap;

static Bitmap *
fetch(FunctionCallInfo fcinfo, Datum value)
{
	FetchedBitmap *last = fcinfo->flinfo->fn_extra;
	struct varatt_external pointer;
	MemoryContext old;

	VARATT_EXTERNAL_GET_POINTER(pointer, DatumGetPointer(value));
	if (last != NULL && last->bitmap != NULL &&
		memcmp(&last->pointer, &pointer, sizeof(pointer)) == 0)
		return last->bitmap;

	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	if (last == NULL)
		fcinfo->flinfo->fn_extra = last = palloc0(sizeof(FetchedBitmap));
	if (last->bitmap != NULL)
		pfree(last->bitmap);
	last->bitmap = NULL;
	last->bitmap = DatumGetBitmapP(value);
	last->pointer = pointer;
	MemoryContextSwitchTo(old);
	return last->bitmap;
}

/* A negative number is in no bitmap: no error, as an index would not see it. */
static bool
has_id(FunctionCallInfo fcinfo, Datum value, int64 id)
{
	Bitmap	   *bitmap;
	bool		result;

	if (id < 0)
		return false;
	if (VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)) &&
		fcinfo->flinfo != NULL)
	{
		bitmap = fetch(fcinfo, value);
		return mcdp_rbuf_bytes_contains(bitmap->bytes, BITMAP_BYTES_LEN(bitmap), id);
	}
	bitmap = DatumGetBitmapP(value);
	result = mcdp_rbuf_bytes_contains(bitmap->bytes, BITMAP_BYTES_LEN(bitmap), id);
	if ((Pointer) bitmap != DatumGetPointer(value))
		pfree(bitmap);
	return result;
}

Datum
mcdp_rb_contains_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(has_id(fcinfo, PG_GETARG_DATUM(0), PG_GETARG_INT64(1)));
}

Datum
mcdp_rb_id_contained(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(has_id(fcinfo, PG_GETARG_DATUM(1), PG_GETARG_INT64(0)));
}

Datum
mcdp_rb_intersect(PG_FUNCTION_ARGS)
{
	Rbuf	   *a = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(0));
	Rbuf	   *b = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(1));
	bool		result = mcdp_rbuf_intersects(a, b);

	mcdp_rbuf_free(a);
	mcdp_rbuf_free(b);
	PG_RETURN_BOOL(result);
}

/* ---- comparison ---- */

static int
compare(FunctionCallInfo fcinfo)
{
	Bitmap	   *a = PG_GETARG_BITMAP_P(0);
	Bitmap	   *b = PG_GETARG_BITMAP_P(1);
	Size		len_a = BITMAP_BYTES_LEN(a);
	Size		len_b = BITMAP_BYTES_LEN(b);
	int			result;

	if (a->cardinality != b->cardinality)
		result = a->cardinality < b->cardinality ? -1 : 1;
	else
	{
		result = memcmp(a->bytes, b->bytes, Min(len_a, len_b));
		if (result == 0 && len_a != len_b)
			result = len_a < len_b ? -1 : 1;
	}
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

/* Different counts are told apart without reading the rest. */
static bool
equal(FunctionCallInfo fcinfo)
{
	if (mcdp_bitmap_cardinality(PG_GETARG_DATUM(0)) !=
		mcdp_bitmap_cardinality(PG_GETARG_DATUM(1)))
		return false;
	return compare(fcinfo) == 0;
}

Datum
mcdp_bitmap_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

Datum
mcdp_bitmap_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(equal(fcinfo));
}

Datum
mcdp_bitmap_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!equal(fcinfo));
}

Datum
mcdp_bitmap_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

Datum
mcdp_bitmap_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

Datum
mcdp_bitmap_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

Datum
mcdp_bitmap_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

Datum
mcdp_bitmap_hash(PG_FUNCTION_ARGS)
{
	Bitmap	   *bitmap = PG_GETARG_BITMAP_P(0);
	uint32		hash = hash_bytes((unsigned char *) bitmap->bytes,
								  BITMAP_BYTES_LEN(bitmap));

	PG_FREE_IF_COPY(bitmap, 0);
	PG_RETURN_INT32(hash);
}

Datum
mcdp_bitmap_hash_extended(PG_FUNCTION_ARGS)
{
	Bitmap	   *bitmap = PG_GETARG_BITMAP_P(0);
	uint64		hash = hash_bytes_extended((unsigned char *) bitmap->bytes,
										   BITMAP_BYTES_LEN(bitmap),
										   PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(bitmap, 0);
	PG_RETURN_INT64(hash);
}
