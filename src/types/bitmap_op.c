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

#include "common/hashfn.h"
#include "utils/float.h"

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
combine(FunctionCallInfo fcinfo, RbufOp op)
{
	Bitmap	   *a = mcdp_bitmap_fetch_arg(fcinfo, 0);
	Bitmap	   *b = mcdp_bitmap_fetch_arg(fcinfo, 1);
	size_t		len;
	uint64		cardinality;
	char	   *bytes;

	bytes = mcdp_rbuf_bytes_combine(op, a->bytes, BITMAP_BYTES_LEN(a),
									b->bytes, BITMAP_BYTES_LEN(b),
									BITMAP_HEADER, &len, &cardinality);
	mcdp_bitmap_release_arg(fcinfo, 0, a);
	mcdp_bitmap_release_arg(fcinfo, 1, b);
	return mcdp_bytes_to_bitmap(bytes, len, cardinality);
}

Datum
mcdp_rb_and(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, RBUF_AND);
}

Datum
mcdp_rb_or(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, RBUF_OR);
}

Datum
mcdp_rb_xor(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, RBUF_XOR);
}

Datum
mcdp_rb_andnot(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, RBUF_ANDNOT);
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
	Bitmap	   *a = mcdp_bitmap_fetch_arg(fcinfo, 0);
	Bitmap	   *b = mcdp_bitmap_fetch_arg(fcinfo, 1);
	Counts		counts;

	counts.a = a->cardinality;
	counts.b = b->cardinality;
	counts.both = mcdp_rbuf_bytes_and_cardinality(a->bytes, BITMAP_BYTES_LEN(a),
												  b->bytes, BITMAP_BYTES_LEN(b));
	mcdp_bitmap_release_arg(fcinfo, 0, a);
	mcdp_bitmap_release_arg(fcinfo, 1, b);
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

	PG_RETURN_FLOAT8(either == 0 ? get_float8_nan() : (double) counts.both / (double) either);
}

/* ---- containment ---- */

/* Is every id of argument part in argument whole? */
static bool
is_subset(FunctionCallInfo fcinfo, int part, int whole)
{
	Bitmap	   *p;
	Bitmap	   *w;
	bool		result;

	if (mcdp_bitmap_cardinality(PG_GETARG_DATUM(part)) >
		mcdp_bitmap_cardinality(PG_GETARG_DATUM(whole)))
		return false;
	p = mcdp_bitmap_fetch_arg(fcinfo, part);
	w = mcdp_bitmap_fetch_arg(fcinfo, whole);
	result = mcdp_rbuf_bytes_is_subset(p->bytes, BITMAP_BYTES_LEN(p),
									   w->bytes, BITMAP_BYTES_LEN(w));
	mcdp_bitmap_release_arg(fcinfo, part, p);
	mcdp_bitmap_release_arg(fcinfo, whole, w);
	return result;
}

Datum
mcdp_rb_contains(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_subset(fcinfo, 1, 0));
}

Datum
mcdp_rb_contained(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_subset(fcinfo, 0, 1));
}

/* A negative number is in no bitmap: no error, as an index would not see it. */
Datum
mcdp_rb_contains_id(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(1);

	PG_RETURN_BOOL(id >= 0 && mcdp_bitmap_arg_contains(fcinfo, 0, id));
}

Datum
mcdp_rb_id_contained(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);

	PG_RETURN_BOOL(id >= 0 && mcdp_bitmap_arg_contains(fcinfo, 1, id));
}

Datum
mcdp_rb_intersect(PG_FUNCTION_ARGS)
{
	Bitmap	   *a = mcdp_bitmap_fetch_arg(fcinfo, 0);
	Bitmap	   *b = mcdp_bitmap_fetch_arg(fcinfo, 1);
	bool		result;

	result = mcdp_rbuf_bytes_intersects(a->bytes, BITMAP_BYTES_LEN(a),
										b->bytes, BITMAP_BYTES_LEN(b));
	mcdp_bitmap_release_arg(fcinfo, 0, a);
	mcdp_bitmap_release_arg(fcinfo, 1, b);
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
