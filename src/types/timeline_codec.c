/*-------------------------------------------------------------------------
 *
 * timeline_codec.c
 *	  Stored format of the timeline type, and how it is written.
 *
 * An event is (at, event, label, value).  Events are stored in total order,
 * column by column, so that one pass over two short arrays (times and event
 * codes) answers a funnel.  Names live in dictionaries inside the value: it
 * needs no catalog and can be sent anywhere.
 *
 * Layout, version 1.  All numbers are little-endian; every column begins at a
 * multiple of 8 bytes from the start of the value and the gaps are zero bytes.
 *
 *		bytes 0-3	varlena header
 *		byte  4		format version, 1
 *		byte  5		flags, 0
 *		bytes 6-7	number of columns c
 *		bytes 8-11	number of events n
 *		bytes 12-15	0
 *		bytes 16-23	base: instant of the first event, int64 microseconds
 *					since 2000-01-01 00:00 UTC; 0 when n = 0
 *		12 c bytes	directory, one entry for each column, ids ascending:
 *			byte  0		column id
 *			byte  1		encoding
 *			bytes 2-3	detail
 *			bytes 4-7	offset of the column from the start of the value
 *			bytes 8-11	its length in bytes, without padding
 *
 * An empty timeline has no columns; any other has columns 1, 2 and 3.
 *
 *	id 1, times.  n unsigned integers: distance from the base in units.
 *		encoding: log2 of their width in bytes, 0 … 3.
 *		detail: index of the unit in 1 us, 1 ms, 1 s, 1 min, 1 h, 1 day.
 *		The unit is the largest that divides every distance, the width the
 *		smallest that holds the last one: microseconds are always exact.
 *	id 2, event codes.  n unsigned integers, positions in column 3.
 *		encoding: log2 of the width, 0 … 2, the smallest that holds count - 1.
 *	id 3, event names.  uint32 count; count unsigned integers, the end of each
 *		name counted from the start of the text; the text.  Names are distinct,
 *		in bytewise order, each is used.
 *		encoding: log2 of the width of an end, 0 … 2, the smallest that holds
 *		the length of the text.
 *	id 4, label codes, as column 2: position in column 5 plus one, 0 = NULL;
 *		the smallest width that holds count.  Absent when all labels are NULL.
 *	id 5, labels, as column 3.  Present when column 4 is.
 *	id 6, values.  Absent when all are NULL.  The first encoding that holds
 *		every value exactly:
 *		encoding 2, 5, 3, 6, 4: int8, uint8, int16, uint16, int32 k; the value is
 *			k / 10^detail.  detail is the fewest decimal places that serve, 0 … 6.
 *			NULL is the smallest signed, the largest unsigned integer.
 *		encoding 1: float4.  Bits 0x7fc00001 are NULL, 0x7fc00000 is NaN.
 *		encoding 0: float8.  Bits 0x7ff8000000000001 are NULL,
 *			0x7ff8000000000000 is NaN.
 *		So infinities and -0 are kept (-0 sorts before 0) and all NaNs are one.
 *
 * A reader skips columns whose id it does not know.  Bytes from outside may
 * have known columns only (a merge would lose the others).
 *
 * Every choice above follows from the events, so the form is canonical: equal
 * multisets of events have equal bytes.
 *
 * A value is at most 1 GB.  An event costs 2 to 24 bytes, a name its text once:
 * 44 million events always fit beside short names; with times in whole seconds
 * (within 136 years), at most 256 names and no labels or values 214 million;
 * never more than 536 million.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_codec.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "types/timeline_codec.h"
#include "utils/memutils.h"

#ifdef WORDS_BIGENDIAN
#error "timelines are stored little-endian; big-endian machines are not supported"
#endif

StaticAssertDecl(offsetof(Timeline, base) == 16, "timeline header has no holes");
StaticAssertDecl(offsetof(Timeline, columns) == 24, "timeline header is 24 bytes");
StaticAssertDecl(sizeof(TimelineColumn) == 12, "directory entries are 12 bytes");

#define SIGN_BIT	UINT64CONST(0x8000000000000000)
#define NAN_FLOAT8	UINT64CONST(0x7ff8000000000000)
#define NAN_FLOAT4	0x7fc00000U

#define STRETCH		65536		/* events written between two looks at interrupts */

/* ---------------------------------------------------------------- values */

static uint64
bits_of_double(double d)
{
	uint64		bits;

	memcpy(&bits, &d, sizeof(bits));
	return bits;
}

/* A number that sorts like the value, NaN greatest; never 0, which is NULL. */
uint64
mcdp_timeline_value_key(double value)
{
	uint64		bits = isnan(value) ? NAN_FLOAT8 : bits_of_double(value);

	return (bits & SIGN_BIT) ? ~bits : bits | SIGN_BIT;
}

static double
value_of_key(uint64 key)
{
	return timeline_double_of_bits((key & SIGN_BIT) ? key & ~SIGN_BIT : ~key);
}

/* Is d exactly k / 10^places for an int32 k (not the smallest, which is NULL)? */
static bool
as_scaled(double d, int places, int32 *k)
{
	double		x = d * timeline_power(places);

	if (!(fabs(x) <= PG_INT32_MAX))
		return false;			/* NaN too */
	*k = (int32) rint(x);
	return bits_of_double(*k / timeline_power(places)) == bits_of_double(d);
}

/* Is d exactly a float4? */
static bool
as_float4(double d, float *f)
{
	if (isnan(d))
	{
		uint32		bits = NAN_FLOAT4;

		memcpy(f, &bits, sizeof(bits));
		return true;
	}
	if (fabs(d) > FLT_MAX && !isinf(d))
		return false;
	*f = (float) d;
	return bits_of_double((double) *f) == bits_of_double(d);
}

/* Chooses encoding and places; false when every value is NULL. */
static bool
plan_values(const TimelineEvent *events, uint32 n, uint8 *encoding, uint16 *detail)
{
	bool		any = false;
	bool		float4_fits = true;
	bool		negative = false;
	int			places = 0;
	int32		k,
				largest = 0;
	float		f;

	/*
	 * What is exact with few places is exact with more, as long as k fits, so
	 * the fewest places for all are the most that one of them needs.
	 */
	for (uint32 i = 0; i < n; i++)
	{
		double		d;

		MCDP_CHECK_EVERY(i);
		if (events[i].value == 0)
			continue;
		any = true;
		d = value_of_key(events[i].value);
		while (places <= TIMELINE_LAST_PLACES && !as_scaled(d, places, &k))
			places++;
		if (places > TIMELINE_LAST_PLACES)
			break;
	}
	if (!any)
		return false;

	for (uint32 i = 0; i < n && places <= TIMELINE_LAST_PLACES; i++)
	{
		MCDP_CHECK_EVERY(i);
		if (events[i].value == 0)
			continue;
		if (!as_scaled(value_of_key(events[i].value), places, &k))
			places = TIMELINE_LAST_PLACES + 1;
		else
		{
			largest = Max(largest, abs(k));
			negative = negative || k < 0;
		}
	}
	if (places <= TIMELINE_LAST_PLACES)
	{
		*encoding = largest <= PG_INT8_MAX ? TIMELINE_VALUE_INT8 :
			!negative && largest < PG_UINT8_MAX ? TIMELINE_VALUE_UINT8 :
			largest <= PG_INT16_MAX ? TIMELINE_VALUE_INT16 :
			!negative && largest < PG_UINT16_MAX ? TIMELINE_VALUE_UINT16 : TIMELINE_VALUE_INT32;
		*detail = places;
		return true;
	}

	for (uint32 i = 0; i < n && float4_fits; i++)
	{
		MCDP_CHECK_EVERY(i);
		if (events[i].value != 0)
			float4_fits = as_float4(value_of_key(events[i].value), &f);
	}
	*encoding = float4_fits ? TIMELINE_VALUE_FLOAT4 : TIMELINE_VALUE_FLOAT8;
	*detail = 0;
	return true;
}

static void
write_values(char *p, const TimelineColumn *col, const TimelineEvent *events, uint32 from, uint32 to)
{
	for (uint32 i = from; i < to; i++)
	{
		bool		null = events[i].value == 0;
		double		d = null ? 0 : value_of_key(events[i].value);
		int32		k = 0;

		switch (col->encoding)
		{
			case TIMELINE_VALUE_INT8:
				as_scaled(d, col->detail, &k);
				((int8 *) p)[i] = null ? PG_INT8_MIN : (int8) k;
				break;
			case TIMELINE_VALUE_INT16:
				as_scaled(d, col->detail, &k);
				((int16 *) p)[i] = null ? PG_INT16_MIN : (int16) k;
				break;
			case TIMELINE_VALUE_UINT8:
				as_scaled(d, col->detail, &k);
				((uint8 *) p)[i] = null ? PG_UINT8_MAX : (uint8) k;
				break;
			case TIMELINE_VALUE_UINT16:
				as_scaled(d, col->detail, &k);
				((uint16 *) p)[i] = null ? PG_UINT16_MAX : (uint16) k;
				break;
			case TIMELINE_VALUE_INT32:
				as_scaled(d, col->detail, &k);
				((int32 *) p)[i] = null ? PG_INT32_MIN : k;
				break;
			case TIMELINE_VALUE_FLOAT4:
				if (null)
					((uint32 *) p)[i] = TIMELINE_NULL_FLOAT4;
				else
					as_float4(d, (float *) p + i);
				break;
			default:
				((uint64 *) p)[i] = null ? TIMELINE_NULL_FLOAT8 : bits_of_double(d);
		}
	}
}

/* --------------------------------------------------------------- writing */

/* log2 of the number of bytes that hold x */
static uint8
width_for(uint64 x)
{
	return x <= PG_UINT8_MAX ? 0 : x <= PG_UINT16_MAX ? 1 : x <= PG_UINT32_MAX ? 2 : 3;
}

static uint64
total_length(const TimelineStrings *s)
{
	uint64		sum = 0;

	for (uint32 i = 0; i < s->count; i++)
		sum += s->items[i].len;
	return sum;
}

void
mcdp_timeline_too_large(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("timeline is too large"),
			 errdetail("A timeline must not exceed 1 GB.")));
}

static void
plan_column(TimelinePlan *plan, uint8 id, uint8 encoding, uint16 detail, uint64 length)
{
	TimelineColumn *col = &plan->columns[plan->ncolumns++];

	/* offset is filled in when the number of columns is known */
	if (length > MaxAllocSize)
		length = MaxAllocSize;	/* refused below */
	col->id = id;
	col->encoding = encoding;
	col->detail = detail;
	col->length = (uint32) length;
}

static void
plan_dict(TimelinePlan *plan, uint8 id, const TimelineStrings *s)
{
	uint64		bytes = total_length(s);
	uint8		width = width_for(bytes);

	plan_column(plan, id, width, 0,
				sizeof(uint32) + ((uint64) s->count << width) + bytes);
}

void
mcdp_timeline_plan(TimelinePlan *plan, const TimelineEvent *events, uint32 n,
				   const TimelineStrings *names, const TimelineStrings *labels)
{
	uint64		size;

	plan->ncolumns = 0;
	if (n > 0)
	{
		uint64		base = (uint64) events[0].at;
		int			unit = TIMELINE_LAST_UNIT;
		uint64		span;
		uint8		width,
					encoding;
		uint16		detail;

		for (uint32 i = 0; i < n && unit > 0; i++)
		{
			MCDP_CHECK_EVERY(i);
			while (unit > 0 && ((uint64) events[i].at - base) % timeline_unit(unit) != 0)
				unit--;
		}
		span = ((uint64) events[n - 1].at - base) / timeline_unit(unit);
		width = width_for(span);
		plan_column(plan, TIMELINE_COL_TIME, width, unit, (uint64) n << width);

		width = width_for(names->count - 1);
		plan_column(plan, TIMELINE_COL_EVENT, width, 0, (uint64) n << width);
		plan_dict(plan, TIMELINE_COL_EVENT_DICT, names);
		if (labels->count > 0)
		{
			width = width_for(labels->count);
			plan_column(plan, TIMELINE_COL_LABEL, width, 0, (uint64) n << width);
			plan_dict(plan, TIMELINE_COL_LABEL_DICT, labels);
		}
		if (plan_values(events, n, &encoding, &detail))
			plan_column(plan, TIMELINE_COL_VALUE, encoding, detail,
						(uint64) n * timeline_value_width(encoding));
	}

	size = offsetof(Timeline, columns) + plan->ncolumns * sizeof(TimelineColumn);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		size = TIMELINE_ALIGN(size);
		plan->columns[i].offset = (uint32) Min(size, MaxAllocSize);
		size += plan->columns[i].length;
	}
	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("timeline is too large"),
				 errdetail("A timeline of %u events would exceed the limit of 1 GB.", n)));
	plan->size = size;
}

static void
write_numbers(char *p, uint8 width, uint32 i, uint64 x)
{
	switch (width)
	{
		case 0:
			((uint8 *) p)[i] = (uint8) x;
			break;
		case 1:
			((uint16 *) p)[i] = (uint16) x;
			break;
		case 2:
			((uint32 *) p)[i] = (uint32) x;
			break;
		default:
			((uint64 *) p)[i] = x;
	}
}

static void
write_dict(char *p, uint8 width, const TimelineStrings *s)
{
	char	   *ends = p + sizeof(uint32);
	char	   *text = ends + ((size_t) s->count << width);
	uint32		end = 0;

	memcpy(p, &s->count, sizeof(uint32));
	for (uint32 i = 0; i < s->count; i++)
	{
		memcpy(text + end, s->bytes + s->items[i].start, s->items[i].len);
		end += s->items[i].len;
		write_numbers(ends, width, i, end);
	}
}

/* Events from … to - 1 in one of the columns with an entry for each. */
static void
write_events(char *p, const TimelineColumn *col, const TimelineEvent *events, uint32 from, uint32 to)
{
	switch (col->id)
	{
		case TIMELINE_COL_TIME:
			for (uint32 i = from; i < to; i++)
				write_numbers(p, col->encoding, i,
							  ((uint64) events[i].at - (uint64) events[0].at) / timeline_unit(col->detail));
			break;
		case TIMELINE_COL_EVENT:
			for (uint32 i = from; i < to; i++)
				write_numbers(p, col->encoding, i, events[i].event);
			break;
		case TIMELINE_COL_LABEL:
			for (uint32 i = from; i < to; i++)
				write_numbers(p, col->encoding, i, events[i].label);
			break;
		case TIMELINE_COL_VALUE:
			write_values(p, col, events, from, to);
			break;
	}
}

void
mcdp_timeline_encode(const TimelinePlan *plan, const TimelineEvent *events, uint32 n,
					 const TimelineStrings *names, const TimelineStrings *labels,
					 Timeline *out)
{
	size_t		end = offsetof(Timeline, columns) + plan->ncolumns * sizeof(TimelineColumn);

	SET_VARSIZE(out, plan->size);
	out->version = TIMELINE_VERSION;
	out->flags = 0;
	out->ncolumns = plan->ncolumns;
	out->nevents = n;
	out->reserved = 0;
	out->base = n > 0 ? events[0].at : 0;
	memcpy(out->columns, plan->columns, plan->ncolumns * sizeof(TimelineColumn));

	for (int i = 0; i < plan->ncolumns; i++)
	{
		const TimelineColumn *col = &plan->columns[i];
		char	   *p = (char *) out + col->offset;

		memset((char *) out + end, 0, col->offset - end);
		end = col->offset + col->length;

		if (col->id == TIMELINE_COL_EVENT_DICT)
			write_dict(p, col->encoding, names);
		else if (col->id == TIMELINE_COL_LABEL_DICT)
			write_dict(p, col->encoding, labels);
		else
		{
			for (uint32 from = 0; from < n; from += STRETCH)
			{
				CHECK_FOR_INTERRUPTS();
				write_events(p, col, events, from, Min(n, from + STRETCH));
			}
		}
	}
}
