/*-------------------------------------------------------------------------
 *
 * timeline_codec.h
 *	  What the files that know the stored form of a timeline share: the codec
 *	  (which describes it), the view, the check, the builder.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_codec.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TIMELINE_CODEC_H
#define MCDP_TIMELINE_CODEC_H

#include "types/timeline.h"

/* Columns, in the order in which they are stored. */
#define TIMELINE_COL_TIME			1
#define TIMELINE_COL_EVENT			2
#define TIMELINE_COL_EVENT_DICT		3
#define TIMELINE_COL_LABEL			4
#define TIMELINE_COL_LABEL_DICT		5
#define TIMELINE_COL_VALUE			6
#define TIMELINE_NUM_COLUMNS		6

#define TIMELINE_ALIGN(x)			TYPEALIGN64(8, (uint64) (x))	/* of a column */

/* Units of time, by the detail of their column. */
#define TIMELINE_LAST_UNIT			5

static inline int64
timeline_unit(int detail)
{
	static const int64 units[] = {
		1, INT64CONST(1000), USECS_PER_SEC, USECS_PER_MINUTE, USECS_PER_HOUR, USECS_PER_DAY
	};

	return units[detail];
}

/* 10^places: what integers are divided by, by the detail of their column. */
#define TIMELINE_LAST_PLACES		6

static inline double
timeline_power(int places)
{
	static const double powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000};

	return powers[places];
}

/* Bytes of a value. */
static inline int
timeline_value_width(uint8 encoding)
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

static inline void
timeline_open_dict(TimelineDict *d, const Timeline *t, const TimelineColumn *col)
{
	const char *p = (const char *) t + col->offset;

	memcpy(&d->count, p, sizeof(uint32));
	d->width = col->encoding;
	d->ends = p + sizeof(uint32);
	d->bytes = p + sizeof(uint32) + ((size_t) d->count << d->width);
}

/*
 * An event in memory.  "label" is the code plus one, 0 when NULL; "value" is
 * a key that sorts like the value, 0 when NULL.  So events compare as four
 * unsigned numbers (at: signed) once codes are ranks.
 */
typedef struct TimelineEvent
{
	TimestampTz at;
	uint32		event;
	uint32		label;
	uint64		value;
} TimelineEvent;

/* Strings in one buffer, string i is bytes[start, start + len). */
typedef struct TimelineString
{
	uint32		start;
	uint32		len;
	uint32		hash;			/* of use to timeline_names.c only */
} TimelineString;

typedef struct TimelineStrings
{
	uint32		count;
	const TimelineString *items;
	const char *bytes;
} TimelineStrings;

/* How a sorted list of events will be stored. */
typedef struct TimelinePlan
{
	int			ncolumns;
	TimelineColumn columns[TIMELINE_NUM_COLUMNS];
	size_t		size;			/* of the whole value */
} TimelinePlan;

/* Both want sorted events whose codes are ranks in sorted, used-up dictionaries. */
extern void mcdp_timeline_plan(TimelinePlan *plan, const TimelineEvent *events, uint32 n,
							   const TimelineStrings *names, const TimelineStrings *labels);
extern void mcdp_timeline_encode(const TimelinePlan *plan, const TimelineEvent *events, uint32 n,
								 const TimelineStrings *names, const TimelineStrings *labels,
								 Timeline *out);

extern uint64 mcdp_timeline_value_key(double value);

pg_noreturn extern void mcdp_timeline_too_large(void);

/* < 0, 0, > 0 */
static inline int
timeline_event_cmp(const TimelineEvent *a, const TimelineEvent *b)
{
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if (a->event != b->event)
		return a->event < b->event ? -1 : 1;
	if (a->label != b->label)
		return a->label < b->label ? -1 : 1;
	if (a->value != b->value)
		return a->value < b->value ? -1 : 1;
	return 0;
}

static inline int
timeline_string_cmp(const char *a, uint32 alen, const char *b, uint32 blen)
{
	int			c = memcmp(a, b, Min(alen, blen));

	if (c == 0 && alen != blen)
		c = alen < blen ? -1 : 1;
	return c;
}

#endif							/* MCDP_TIMELINE_CODEC_H */
