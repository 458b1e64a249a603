/*-------------------------------------------------------------------------
 *
 * bitmap_io.c
 *	  The bitmap type: text and binary form, casts, stored form.
 *
 * Text form: {1,2,3}.  Input takes the ids in any order, repeated, with
 * blanks, or the hexadecimal text of the bytea form; output is ascending.  Binary form and bytea: the portable Roaring
 * form (rbuf.h), without the header of the stored form.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/bitmap_io.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "types/bitmap.h"

#define RADIX_BITS		11
#define RADIX_MASK		((1 << RADIX_BITS) - 1)
#define MIN_RADIX		2048	/* fewer ids are sorted by comparing */
#define SHOWN_INPUT		64		/* bytes of a malformed literal to repeat */

PG_FUNCTION_INFO_V1(mcdp_bitmap_in);
PG_FUNCTION_INFO_V1(mcdp_bitmap_out);
PG_FUNCTION_INFO_V1(mcdp_bitmap_recv);
PG_FUNCTION_INFO_V1(mcdp_bitmap_send);
PG_FUNCTION_INFO_V1(mcdp_rb_build);
PG_FUNCTION_INFO_V1(mcdp_rb_to_array);
PG_FUNCTION_INFO_V1(mcdp_rb_to_int_array);
PG_FUNCTION_INFO_V1(mcdp_rb_from_bytea);
PG_FUNCTION_INFO_V1(mcdp_rb_to_bytea);

#define ST_SORT sort_uint64
#define ST_ELEMENT_TYPE uint64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* ---- stored form ---- */

Bitmap *
mcdp_bitmap_open(Datum value)
{
	Bitmap	   *bitmap = (Bitmap *) PG_DETOAST_DATUM(value);

	if (VARSIZE(bitmap) < BITMAP_HEADER || bitmap->format != BITMAP_FORMAT)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored bitmap has an unsupported format")));
	return bitmap;
}

Rbuf *
mcdp_bitmap_to_rbuf(MemoryContext cx, Datum value)
{
	Rbuf	   *state = mcdp_bitmap_state_set(value);
	Rbuf	   *set;
	Bitmap	   *bitmap;

	if (state != NULL)
		return mcdp_rbuf_copy(cx, state);
	bitmap = mcdp_bitmap_open(value);
	set = mcdp_rbuf_read_trusted(cx, bitmap->bytes, BITMAP_BYTES_LEN(bitmap));
	if ((Pointer) bitmap != DatumGetPointer(value))
		pfree(bitmap);
	return set;
}

static void
check_size(Size size)
{
	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("bitmap is too large"),
				 errdetail("It would take %zu bytes, must be at most %zu.",
						   size, (Size) MaxAllocSize)));
}

Size
mcdp_bitmap_flat_size(const Rbuf *set)
{
	Size		size = BITMAP_HEADER + mcdp_rbuf_size(set);

	check_size(size);
	return size;
}

void
mcdp_bitmap_flatten(const Rbuf *set, Bitmap *out, Size size)
{
	memset(out, 0, BITMAP_HEADER);
	SET_VARSIZE(out, size);
	out->format = BITMAP_FORMAT;
	out->cardinality = mcdp_rbuf_cardinality(set);
	mcdp_rbuf_write(set, out->bytes);
}

Datum
mcdp_bytes_to_bitmap(char *bytes, Size len, uint64 cardinality)
{
	Bitmap	   *bitmap = (Bitmap *) bytes;

	check_size(BITMAP_HEADER + len);
	memset(bitmap, 0, BITMAP_HEADER);
	SET_VARSIZE(bitmap, BITMAP_HEADER + len);
	bitmap->format = BITMAP_FORMAT;
	bitmap->cardinality = cardinality;
	return PointerGetDatum(bitmap);
}

Datum
mcdp_rbuf_to_bitmap(Rbuf *set)
{
	Size		size;
	Bitmap	   *bitmap;

	mcdp_rbuf_optimize(set);
	size = mcdp_bitmap_flat_size(set);
	bitmap = palloc(size);
	mcdp_bitmap_flatten(set, bitmap, size);
	return PointerGetDatum(bitmap);
}

uint64
mcdp_bitmap_cardinality(Datum value)
{
	Size		len = BITMAP_HEADER - VARHDRSZ;
	struct varlena *slice;
	Bitmap		header;
	uint64		cardinality;

	if (mcdp_bitmap_state_cardinality(value, &cardinality))
		return cardinality;
	slice = PG_DETOAST_DATUM_SLICE(value, 0, len);
	if (VARSIZE_ANY_EXHDR(slice) < len)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored bitmap has an unsupported format")));
	memcpy((char *) &header + VARHDRSZ, VARDATA_ANY(slice), len);
	if (header.format != BITMAP_FORMAT)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored bitmap has an unsupported format")));
	pfree(slice);
	return header.cardinality;
}

/* ---- ids ---- */

uint64
mcdp_bitmap_check_id(int64 id)
{
	if (id < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("id of a bitmap is out of range: " INT64_FORMAT, id),
				 errdetail("Ids are between 0 and 9223372036854775807.")));
	return id;
}

/*
 * By 11 bits at a time, from the lowest, and only where ids differ: three
 * passes for profiles numbered up to some billions.
 */
static void
radix_sort(uint64 *ids, size_t n)
{
	uint64	   *room = palloc_extended(n * sizeof(uint64), MCXT_ALLOC_HUGE);
	uint64	   *from = ids;
	uint64	   *to = room;
	uint64		differ = 0;

	for (size_t i = 1; i < n; i++)
		differ |= ids[i] ^ ids[0];
	for (int shift = 0; shift < 64 && differ >> shift != 0; shift += RADIX_BITS)
	{
		size_t		place[1 << RADIX_BITS] = {0};
		size_t		sum = 0;
		uint64	   *swap = from;

		if ((differ >> shift & RADIX_MASK) == 0)
			continue;
		for (size_t i = 0; i < n; i++)
			place[from[i] >> shift & RADIX_MASK]++;
		for (int i = 0; i <= RADIX_MASK; i++)
		{
			size_t		num = place[i];

			place[i] = sum;
			sum += num;
		}
		for (size_t i = 0; i < n; i++)
			to[place[from[i] >> shift & RADIX_MASK]++] = from[i];
		from = to;
		to = swap;
		CHECK_FOR_INTERRUPTS();
	}
	if (from != ids)
		memcpy(ids, from, n * sizeof(uint64));
	pfree(room);
}

void
mcdp_sort_ids(uint64 *ids, size_t n)
{
	bool		sorted = true;

	for (size_t i = 1; i < n && sorted; i++)
		sorted = ids[i - 1] <= ids[i];
	if (sorted)
		return;
	if (n < MIN_RADIX)
		sort_uint64(ids, n);
	else
		radix_sort(ids, n);
}

/* A bitmap of ids in any order; sorts them. */
static Datum
make_bitmap(uint64 *ids, size_t n)
{
	size_t		len;
	uint64		cardinality;
	char	   *bytes;

	mcdp_sort_ids(ids, n);
	bytes = mcdp_rbuf_bytes_from_ids(ids, n, BITMAP_HEADER, &len, &cardinality);
	return mcdp_bytes_to_bitmap(bytes, len, cardinality);
}

static Datum bitmap_from_bytes(const char *bytes, size_t len);

/* ---- text form ---- */

static void
malformed(const char *str, const char *at, const char *expected)
{
	int			len = strlen(str);
	int			shown = pg_mbcliplen(str, len, SHOWN_INPUT);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type bitmap: \"%.*s%s\"",
					shown, str, shown < len ? "..." : ""),
			 errdetail("Expected %s at character %d.", expected,
					   pg_mbstrlen_with_len(str, at - str) + 1)));
}

static const char *
skip_blanks(const char *p)
{
	while (*p == ' ' || (*p >= '\t' && *p <= '\r'))
		p++;
	return p;
}

/* Reads the id at *p and moves past it. */
static uint64
parse_id(const char *str, const char **p)
{
	const char *begin = *p;
	const char *at = begin;
	bool		negative = (*at == '-');
	bool		overflow = false;
	uint64		id = 0;

	if (*at == '-' || *at == '+')
		at++;
	if (*at < '0' || *at > '9')
		malformed(str, begin, "an id");
	for (; *at >= '0' && *at <= '9'; at++)
	{
		if (id > (RBUF_MAX_ID - (*at - '0')) / 10)
			overflow = true;
		id = id * 10 + (*at - '0');
	}
	if (overflow || (negative && id != 0))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("id of a bitmap is out of range: %.*s",
						(int) Min(at - begin, SHOWN_INPUT), begin),
				 errdetail("Ids are between 0 and 9223372036854775807.")));
	*p = at;
	return id;
}

Datum
mcdp_bitmap_in(PG_FUNCTION_ARGS)
{
	char	   *str = PG_GETARG_CSTRING(0);
	const char *p = skip_blanks(str);
	size_t		n = 0;
	size_t		max = 64;
	uint64	   *ids;
	Datum		result;

	if (p[0] == '\\' && p[1] == 'x')
	{
		/* the text form of a bytea, as pg_roaringbitmap writes by default */
		bytea	   *bytes = DatumGetByteaPP(DirectFunctionCall1(byteain, CStringGetDatum(p)));

		PG_RETURN_DATUM(bitmap_from_bytes(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)));
	}
	ids = palloc(max * sizeof(uint64));
	if (*p != '{')
		malformed(str, p, "\"{\"");
	p = skip_blanks(p + 1);
	if (*p == '}')
		p++;
	else
	{
		for (;;)
		{
			if (n == max)
			{
				max *= 2;
				ids = repalloc_huge(ids, max * sizeof(uint64));
				CHECK_FOR_INTERRUPTS();
			}
			ids[n++] = parse_id(str, &p);
			p = skip_blanks(p);
			if (*p == '}')
				break;
			if (*p != ',')
				malformed(str, p, "\",\" or \"}\"");
			p = skip_blanks(p + 1);
		}
		p++;
	}
	p = skip_blanks(p);
	if (*p != '\0')
		malformed(str, p, "the end");

	result = make_bitmap(ids, n);
	pfree(ids);
	PG_RETURN_DATUM(result);
}

Datum
mcdp_bitmap_out(PG_FUNCTION_ARGS)
{
	Rbuf	   *set = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(0));
	StringInfoData buf;
	RbufIter	it;
	uint64		id;
	char		separator = '{';
	uint32		i = 0;

	initStringInfo(&buf);
	mcdp_rbuf_iter_init(&it, set);
	while (mcdp_rbuf_iter_next(&it, &id))
	{
		enlargeStringInfo(&buf, MAXINT8LEN + 2);
		buf.data[buf.len++] = separator;
		buf.len += pg_ulltoa_n(id, buf.data + buf.len);
		separator = ',';
		if (++i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	appendStringInfoString(&buf, separator == '{' ? "{}" : "}");
	mcdp_rbuf_free(set);
	PG_RETURN_CSTRING(buf.data);
}

/* ---- binary form ---- */

static Datum
bitmap_from_bytes(const char *bytes, size_t len)
{
	McdpBadInput bad;
	Rbuf	   *set = mcdp_rbuf_read(CurrentMemoryContext, bytes, len, &bad);
	Datum		result;

	if (set == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of a bitmap, at byte %zu", bad.offset),
				 errdetail("%s", bad.reason)));
	result = mcdp_rbuf_to_bitmap(set);
	mcdp_rbuf_free(set);
	return result;
}

Datum
mcdp_bitmap_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;

	PG_RETURN_DATUM(bitmap_from_bytes(pq_getmsgbytes(buf, len), len));
}

static bytea *
bitmap_to_bytes(Datum value)
{
	Bitmap	   *bitmap = DatumGetBitmapP(value);
	Size		len = BITMAP_BYTES_LEN(bitmap);
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bitmap->bytes, len);
	return result;
}

Datum
mcdp_bitmap_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(bitmap_to_bytes(PG_GETARG_DATUM(0)));
}

Datum
mcdp_rb_to_bytea(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(bitmap_to_bytes(PG_GETARG_DATUM(0)));
}

Datum
mcdp_rb_from_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_DATUM(bitmap_from_bytes(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)));
}

/* ---- arrays ---- */

/* From bigint[] or int[]. */
Datum
mcdp_rb_build(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	uint64	   *ids;
	Datum		result;

	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("array of ids must not contain nulls")));
	ids = palloc_extended(Max(n, 1) * sizeof(uint64), MCXT_ALLOC_HUGE);
	if (ARR_ELEMTYPE(array) == INT4OID)
	{
		const int32 *from = (const int32 *) ARR_DATA_PTR(array);

		for (int i = 0; i < n; i++)
			ids[i] = mcdp_bitmap_check_id(from[i]);
	}
	else
	{
		const int64 *from = (const int64 *) ARR_DATA_PTR(array);

		Assert(ARR_ELEMTYPE(array) == INT8OID);
		for (int i = 0; i < n; i++)
			ids[i] = mcdp_bitmap_check_id(from[i]);
	}
	result = make_bitmap(ids, n);
	pfree(ids);
	PG_RETURN_DATUM(result);
}

/* An array of n elements, its values left to be filled in. */
static ArrayType *
make_array(Oid elemtype, Size elemsize, uint64 n)
{
	ArrayType  *array;
	Size		size;

	if (n == 0)
		return construct_empty_array(elemtype);
	if (n > (MaxAllocSize - ARR_OVERHEAD_NONULLS(1)) / elemsize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("bitmap is too large for an array"),
				 errdetail("It has " UINT64_FORMAT " ids.", n)));
	size = ARR_OVERHEAD_NONULLS(1) + n * elemsize;
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = elemtype;
	ARR_DIMS(array)[0] = n;
	ARR_LBOUND(array)[0] = 1;
	return array;
}

Datum
mcdp_rb_to_array(PG_FUNCTION_ARGS)
{
	Rbuf	   *set = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(0));
	ArrayType  *array = make_array(INT8OID, sizeof(int64), mcdp_rbuf_cardinality(set));
	int64	   *to = (int64 *) ARR_DATA_PTR(array);
	RbufIter	it;
	uint64		id;

	mcdp_rbuf_iter_init(&it, set);
	while (mcdp_rbuf_iter_next(&it, &id))
		*to++ = id;
	mcdp_rbuf_free(set);
	PG_RETURN_ARRAYTYPE_P(array);
}

Datum
mcdp_rb_to_int_array(PG_FUNCTION_ARGS)
{
	Rbuf	   *set = mcdp_bitmap_to_rbuf(CurrentMemoryContext, PG_GETARG_DATUM(0));
	ArrayType  *array;
	int32	   *to;
	RbufIter	it;
	uint64		id;

	if (mcdp_rbuf_max(set, &id) && id > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("integer out of range"),
				 errdetail("The bitmap has the id " UINT64_FORMAT ".", id)));
	array = make_array(INT4OID, sizeof(int32), mcdp_rbuf_cardinality(set));
	to = (int32 *) ARR_DATA_PTR(array);
	mcdp_rbuf_iter_init(&it, set);
	while (mcdp_rbuf_iter_next(&it, &id))
		*to++ = id;
	mcdp_rbuf_free(set);
	PG_RETURN_ARRAYTYPE_P(array);
}
