/*-------------------------------------------------------------------------
 *
 * timeline_codec.c
 *	  Stored format of the timeline type.
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

static const int64 units[] = {
	1, INT64CONST(1000), USECS_PER_SEC, USECS_PER_MINUTE, USECS_PER_HOUR, USECS_PER_DAY
};

#define LAST_UNIT	((int) lengthof(units) - 1)

static const double powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000};

#define LAST_POWER	((int) lengthof(powers) - 1)

#define SIGN_BIT	UINT64CONST(0x8000000000000000)
#define NAN_FLOAT8	UINT64CONST(0x7ff8000000000000)
#define NAN_FLOAT4	0x7fc00000U

#define ALIGN8(x)	TYPEALIGN64(8, (uint64) (x))

/* --------------------------------------------------------------- reading */

static void
open_dict(TimelineDict *d, const Timeline *t, const TimelineColumn *col)
{
	const char *p = (const char *) t + col->offset;

	memcpy(&d->count, p, sizeof(uint32));
	d->width = col->encoding;
	d->ends = p + sizeof(uint32);
	d->bytes = p + sizeof(uint32) + ((size_t) d->count << d->width);
}

static inline void
open_empty(TimelineView *v)
{
	memset(v, 0, sizeof(*v));
	v->unit = 1;
	v->value_divisor = 1;
}

/*
 * A scan of many timelines waits for memory: each value lies in a dozen cache
 * lines, and the processor does not guess them, because a heap page is filled
 * from its end, so that the next row lies just before this one.  Asking for it
 * now, while this one is worked on, halves the time of a scan.  A prefetch of
 * what is not there (a copy of a toasted value, the start of a page) costs
 * next to nothing and cannot fail.
 */
#define PREFETCH_LINES		12

void
mcdp_timeline_prefetch_next(const Timeline *t)
{
	static const Timeline *last = NULL; /* several questions to one value */

	if (t == last)
		return;
	last = t;
	for (int k = 1; k <= PREFETCH_LINES; k++)
		__builtin_prefetch((const void *) ((uintptr_t) t - 64 * k));
}

void
mcdp_timeline_open(TimelineView *v, const Timeline *t)
{
	const TimelineColumn *col = t->columns;

	mcdp_timeline_prefetch_next(t);
	if (unlikely(t->version != TIMELINE_VERSION))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored timeline has format version %d, expected %d",
						t->version, TIMELINE_VERSION)));

	open_empty(v);
	if (t->ncolumns == 0)
		return;

	/* Events have times, codes and names, in this order. */
	v->nevents = t->nevents;
	v->base = t->base;
	v->times = (const char *) t + col[0].offset;
	v->time_width = col[0].encoding;
	v->unit = units[col[0].detail];
	v->events = (const char *) t + col[1].offset;
	v->event_width = col[1].encoding;
	open_dict(&v->event_dict, t, &col[2]);
	for (int i = 3; i < t->ncolumns; i++)
	{
		const char *data = (const char *) t + col[i].offset;

		switch (col[i].id)
		{
			case TIMELINE_COL_LABEL:
				v->labels = data;
				v->label_width = col[i].encoding;
				break;
			case TIMELINE_COL_LABEL_DICT:
				open_dict(&v->label_dict, t, &col[i]);
				break;
			case TIMELINE_COL_VALUE:
				v->values = data;
				v->value_encoding = col[i].encoding;
				v->value_divisor = powers[col[i].detail];
				break;
			default:
				v->unknown_columns++;
		}
	}
}

int64
mcdp_timeline_unit(const TimelineColumn *times)
{
	return units[times->detail];
}

static int
find_string(const TimelineDict *d, const char *name, int len)
{
	uint32		lo = 0,
				hi = d->count;

	while (lo < hi)
	{
		uint32		mid = lo + (hi - lo) / 2;
		int			slen;
		const char *s = timeline_dict_string(d, mid, &slen);
		int			c;

		/* most names part at the first byte: spare them the call */
		if (slen > 0 && len > 0 && *s != *name)
			c = (int) (unsigned char) *s - (int) (unsigned char) *name;
		else
			c = timeline_string_cmp(s, slen, name, len);

		if (c == 0)
			return (int) mid;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return -1;
}

int
mcdp_timeline_find_event(const TimelineView *v, const char *name, int len)
{
	return find_string(&v->event_dict, name, len);
}

int
mcdp_timeline_find_label(const TimelineView *v, const char *name, int len)
{
	return find_string(&v->label_dict, name, len);
}

uint32
mcdp_timeline_first_after(const TimelineView *v, TimestampTz at)
{
	uint32		lo = 0,
				hi = v->nevents;

	while (lo < hi)
	{
		uint32		mid = lo + (hi - lo) / 2;

		if (timeline_at(v, mid) > at)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

uint32
mcdp_timeline_first_from(const TimelineView *v, TimestampTz at)
{
	if (at == PG_INT64_MIN)
		return 0;
	return mcdp_timeline_first_after(v, at - 1);
}

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
	double		x = d * powers[places];

	if (!(fabs(x) <= PG_INT32_MAX))
		return false;			/* NaN too */
	*k = (int32) rint(x);
	return bits_of_double(*k / powers[places]) == bits_of_double(d);
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

		if (events[i].value == 0)
			continue;
		any = true;
		d = value_of_key(events[i].value);
		while (places <= LAST_POWER && !as_scaled(d, places, &k))
			places++;
		if (places > LAST_POWER)
			break;
	}
	if (!any)
		return false;

	for (uint32 i = 0; i < n && places <= LAST_POWER; i++)
	{
		if (events[i].value == 0)
			continue;
		if (!as_scaled(value_of_key(events[i].value), places, &k))
			places = LAST_POWER + 1;
		else
		{
			largest = Max(largest, abs(k));
			negative = negative || k < 0;
		}
	}
	if (places <= LAST_POWER)
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
		if (events[i].value != 0)
			float4_fits = as_float4(value_of_key(events[i].value), &f);
	}
	*encoding = float4_fits ? TIMELINE_VALUE_FLOAT4 : TIMELINE_VALUE_FLOAT8;
	*detail = 0;
	return true;
}

static int
value_width(uint8 encoding)
{
	switch (encoding)
	{
		case TIMELINE_VALUE_INT8:
		case TIMELINE_VALUE_UINT8:
			return 1;
		case TIMELINE_VALUE_INT16:
		case TIMELINE_VALUE_UINT16:
			return 2;
		case TIMELINE_VALUE_FLOAT8:
			return 8;
		default:
			return 4;
	}
}

static void
write_values(char *p, const TimelineColumn *col, const TimelineEvent *events, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
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
		int			unit = LAST_UNIT;
		uint64		span;
		uint8		width,
					encoding;
		uint16		detail;

		for (uint32 i = 0; i < n && unit > 0; i++)
		{
			while (unit > 0 && ((uint64) events[i].at - base) % units[unit] != 0)
				unit--;
		}
		span = ((uint64) events[n - 1].at - base) / units[unit];
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
						(uint64) n * value_width(encoding));
	}

	size = offsetof(Timeline, columns) + plan->ncolumns * sizeof(TimelineColumn);
	for (int i = 0; i < plan->ncolumns; i++)
	{
		size = ALIGN8(size);
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

		switch (col->id)
		{
			case TIMELINE_COL_TIME:
				for (uint32 j = 0; j < n; j++)
					write_numbers(p, col->encoding, j,
								  ((uint64) events[j].at - (uint64) events[0].at) / units[col->detail]);
				break;
			case TIMELINE_COL_EVENT:
				for (uint32 j = 0; j < n; j++)
					write_numbers(p, col->encoding, j, events[j].event);
				break;
			case TIMELINE_COL_LABEL:
				for (uint32 j = 0; j < n; j++)
					write_numbers(p, col->encoding, j, events[j].label);
				break;
			case TIMELINE_COL_EVENT_DICT:
				write_dict(p, col->encoding, names);
				break;
			case TIMELINE_COL_LABEL_DICT:
				write_dict(p, col->encoding, labels);
				break;
			case TIMELINE_COL_VALUE:
				write_values(p, col, events, n);
				break;
		}
	}
}

/* -------------------------------------------------------------- checking */

static bool
refuse(McdpBadInput *bad, const char *reason, size_t offset)
{
	bad->reason = reason;
	bad->offset = offset > sizeof(int32) ? offset - sizeof(int32) : 0;
	return false;
}

/* Is column "col" n numbers of its width, at most 2^max_width bytes each? */
static bool
check_numbers(const TimelineColumn *col, uint32 n, int max_width)
{
	return col->encoding <= max_width && col->length == ((uint64) n << col->encoding);
}

/* Bounds first, then order; fills strings (palloc'd) for the comparison. */
static bool
check_dict(const Timeline *t, const TimelineColumn *col, TimelineStrings *s, McdpBadInput *bad)
{
	TimelineDict d;
	TimelineString *items;
	uint64		fixed;
	uint32		end = 0;

	if (col->encoding > 2 || col->detail != 0 || col->length < sizeof(uint32))
		return refuse(bad, "A dictionary is malformed.", col->offset);
	open_dict(&d, t, col);
	fixed = sizeof(uint32) + ((uint64) d.count << d.width);
	if (d.count == 0 || fixed > col->length)
		return refuse(bad, "A dictionary is malformed.", col->offset);

	items = palloc_extended(sizeof(TimelineString) * (Size) d.count, MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < d.count; i++)
	{
		uint32		next = timeline_read_code(d.ends, d.width, i);

		if (next < end || next > col->length - fixed)
			return refuse(bad, "A name ends outside its dictionary.", col->offset);
		items[i].start = end;
		items[i].len = next - end;
		items[i].hash = 0;
		end = next;
		if (i > 0 && timeline_string_cmp(d.bytes + items[i - 1].start, items[i - 1].len,
										 d.bytes + items[i].start, items[i].len) >= 0)
			return refuse(bad, "Names are not in order.", col->offset);
	}
	if (end != col->length - fixed)
		return refuse(bad, "A dictionary has bytes left over.", col->offset);
	s->count = d.count;
	s->items = items;
	s->bytes = d.bytes;
	return true;
}

static bool
all_used(const bool *used, uint32 n)
{
	return memchr(used, 0, n) == NULL;
}

/*
 * Everything but the canonical form: after this the value is safe to open and
 * its events are in order.
 */
static bool
check_structure(const Timeline *t, size_t size, TimelineEvent **events,
				TimelineStrings *names, TimelineStrings *labels, McdpBadInput *bad)
{
	const TimelineColumn *cols[TIMELINE_NUM_COLUMNS + 1] = {NULL};
	size_t		end;
	TimelineView v;
	bool	   *used,
			   *label_used;
	TimelineEvent *e;

	*events = NULL;
	memset(names, 0, sizeof(*names));
	memset(labels, 0, sizeof(*labels));

	if (t->version != TIMELINE_VERSION)
		return refuse(bad, "The format version is not supported.", 4);
	if (t->flags != 0 || t->reserved != 0)
		return refuse(bad, "Reserved bits are set.", 5);
	if (t->ncolumns > TIMELINE_NUM_COLUMNS)
		return refuse(bad, "A column is not known to this version.", 6);
	end = offsetof(Timeline, columns) + t->ncolumns * sizeof(TimelineColumn);
	if (end > size)
		return refuse(bad, "The value is too short.", size);

	for (int i = 0; i < t->ncolumns; i++)
	{
		const TimelineColumn *col = &t->columns[i];
		size_t		entry = (const char *) col - (const char *) t;

		if (col->id < 1 || col->id > TIMELINE_NUM_COLUMNS)
			return refuse(bad, "A column is not known to this version.", entry);
		if (i > 0 && col->id <= col[-1].id)
			return refuse(bad, "Columns are not in order.", entry);
		if (col->offset != ALIGN8(end))
			return refuse(bad, "A column is not where it must be.", entry);
		if (col->offset > size || col->length > size - col->offset)
			return refuse(bad, "A column ends outside the value.", entry);
		end = (size_t) col->offset + col->length;
		cols[col->id] = col;
	}
	if (end != size)
		return refuse(bad, "The value has bytes left over.", end);

	if (t->nevents == 0)
	{
		if (t->ncolumns != 0 || t->base != 0)
			return refuse(bad, "An empty timeline has columns or a base.", 6);
		return true;
	}

	if (cols[TIMELINE_COL_TIME] == NULL || cols[TIMELINE_COL_EVENT] == NULL ||
		cols[TIMELINE_COL_EVENT_DICT] == NULL ||
		(cols[TIMELINE_COL_LABEL] == NULL) != (cols[TIMELINE_COL_LABEL_DICT] == NULL))
		return refuse(bad, "A column is missing.", 6);
	if (!check_numbers(cols[TIMELINE_COL_TIME], t->nevents, 3) ||
		cols[TIMELINE_COL_TIME]->detail > LAST_UNIT)
		return refuse(bad, "The column of times is malformed.", cols[TIMELINE_COL_TIME]->offset);
	if (!check_numbers(cols[TIMELINE_COL_EVENT], t->nevents, 2) ||
		cols[TIMELINE_COL_EVENT]->detail != 0)
		return refuse(bad, "The column of events is malformed.", cols[TIMELINE_COL_EVENT]->offset);
	if (!check_dict(t, cols[TIMELINE_COL_EVENT_DICT], names, bad))
		return false;
	if (cols[TIMELINE_COL_LABEL] != NULL)
	{
		if (!check_numbers(cols[TIMELINE_COL_LABEL], t->nevents, 2) ||
			cols[TIMELINE_COL_LABEL]->detail != 0)
			return refuse(bad, "The column of labels is malformed.", cols[TIMELINE_COL_LABEL]->offset);
		if (!check_dict(t, cols[TIMELINE_COL_LABEL_DICT], labels, bad))
			return false;
	}
	if (cols[TIMELINE_COL_VALUE] != NULL)
	{
		const TimelineColumn *col = cols[TIMELINE_COL_VALUE];

		if (col->encoding > TIMELINE_VALUE_UINT16 || col->detail > LAST_POWER ||
			(col->encoding <= TIMELINE_VALUE_FLOAT4 && col->detail != 0) ||
			col->length != (uint64) t->nevents * value_width(col->encoding))
			return refuse(bad, "The column of values is malformed.", col->offset);
	}

	/* Now every read below stays inside. */
	mcdp_timeline_open(&v, t);
	used = palloc0(names->count);
	label_used = palloc0((Size) labels->count + 1);
	*events = e = palloc_extended(sizeof(TimelineEvent) * (Size) v.nevents, MCXT_ALLOC_HUGE);
	if (!IS_VALID_TIMESTAMP(v.base))
		return refuse(bad, "A timestamp is out of range.", offsetof(Timeline, base));
	for (uint32 i = 0; i < v.nevents; i++)
	{
		uint64		distance = timeline_offset(&v, i);
		double		value;

		if (distance > ((uint64) (END_TIMESTAMP - 1) - (uint64) v.base) / (uint64) v.unit)
			return refuse(bad, "A timestamp is out of range.", cols[TIMELINE_COL_TIME]->offset);
		e[i].at = timeline_at(&v, i);
		e[i].event = timeline_event_code(&v, i);
		if (e[i].event >= names->count)
			return refuse(bad, "An event code is out of range.", cols[TIMELINE_COL_EVENT]->offset);
		used[e[i].event] = true;
		e[i].label = timeline_label_code(&v, i) + 1;
		if (e[i].label > labels->count)
			return refuse(bad, "A label code is out of range.", cols[TIMELINE_COL_LABEL]->offset);
		label_used[e[i].label] = true;
		e[i].value = timeline_value(&v, i, &value) ? mcdp_timeline_value_key(value) : 0;
		if (i > 0 && timeline_event_cmp(&e[i - 1], &e[i]) > 0)
			return refuse(bad, "Events are not in order.", cols[TIMELINE_COL_TIME]->offset);
	}
	if (e[0].at != v.base)
		return refuse(bad, "The base is not the first instant.", offsetof(Timeline, base));
	if (!all_used(used, names->count) || !all_used(label_used + 1, labels->count))
		return refuse(bad, "A dictionary has a name that is not used.",
					  cols[TIMELINE_COL_EVENT_DICT]->offset);
	return true;
}

bool
mcdp_timeline_check(const char *bytes, size_t len, McdpBadInput *bad)
{
	size_t		size = len + sizeof(int32);
	MemoryContext cx,
				old;
	bool		ok = false;

	if (size < offsetof(Timeline, columns))
		return refuse(bad, "The value is too short.", 0);
	if (size > MaxAllocSize)
		return refuse(bad, "The value is too long.", 0);

	cx = AllocSetContextCreate(CurrentMemoryContext, "timeline check", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cx);
	{
		Timeline   *t = palloc(size);
		TimelineEvent *events;
		TimelineStrings names,
					labels;

		SET_VARSIZE(t, size);
		memcpy((char *) t + sizeof(int32), bytes, len);
		if (check_structure(t, size, &events, &names, &labels, bad))
		{
			/* Every choice of the encoding is made again and must agree. */
			TimelinePlan plan;

			mcdp_timeline_plan(&plan, events, t->nevents, &names, &labels);
			if (plan.size == size)
			{
				Timeline   *again = palloc(size);

				mcdp_timeline_encode(&plan, events, t->nevents, &names, &labels, again);
				ok = memcmp(again, t, size) == 0;
			}
			if (!ok)
				refuse(bad, "The value is not in canonical form.", 0);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cx);
	return ok;
}
