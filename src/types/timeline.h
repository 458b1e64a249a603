/*-------------------------------------------------------------------------
 *
 * timeline.h
 *	  A timeline: one profile's history of events in one value.
 *
 * An event is (at, event, label, value); label and value may be NULL.  A
 * timeline is a multiset of events in total order: at, then event bytewise,
 * then label (NULL first, bytewise), then value (NULL first, NaN greatest).
 * The stored form is described in timeline_codec.c.
 *
 * Reading: mcdp_timeline_open() fills a TimelineView on the caller's stack;
 * the inline functions below then read event i (0 <= i < num_events) without
 * allocating anything.  Event names and labels are compared by code: codes
 * are ranks in bytewise order, so comparing codes compares names.
 *
 * Nothing here knows fmgr; timeline_datum.h has the argument macros.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TIMELINE_H
#define MCDP_TIMELINE_H

#include "core/mcdp.h"
#include "datatype/timestamp.h"

/* One entry of the directory of columns. */
typedef struct TimelineColumn
{
	uint8		id;				/* TIMELINE_COL_… */
	uint8		encoding;		/* meaning depends on the column */
	uint16		detail;			/* time: unit; value: decimal places; else 0 */
	uint32		offset;			/* from the start of the value, multiple of 8 */
	uint32		length;			/* in bytes, without padding */
} TimelineColumn;

/* The stored value.  Do not read past the header by hand: open a view. */
typedef struct Timeline
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		version;		/* TIMELINE_VERSION */
	uint8		flags;			/* 0 */
	uint16		ncolumns;		/* entries in the directory */
	uint32		nevents;
	uint32		reserved;		/* 0 */
	int64		base;			/* instant of the first event; 0 when empty */
	TimelineColumn columns[FLEXIBLE_ARRAY_MEMBER];
} Timeline;

#define TIMELINE_VERSION		1
#define TIMELINE_NO_LABEL		PG_UINT32_MAX	/* code of a NULL label */

/* Encodings of the value column. */
#define TIMELINE_VALUE_FLOAT8	0
#define TIMELINE_VALUE_FLOAT4	1
#define TIMELINE_VALUE_INT8		2	/* 1 byte;  NULL is the smallest integer */
#define TIMELINE_VALUE_INT16	3
#define TIMELINE_VALUE_INT32	4
#define TIMELINE_VALUE_UINT8	5	/* NULL is the largest integer */
#define TIMELINE_VALUE_UINT16	6

/* NULL in a float column: NaNs that no other value is stored as. */
#define TIMELINE_NULL_FLOAT8	UINT64CONST(0x7ff8000000000001)
#define TIMELINE_NULL_FLOAT4	0x7fc00001U

/* A dictionary: strings in bytewise order, their codes are their positions. */
typedef struct TimelineDict
{
	uint32		count;
	uint8		width;			/* of one end offset: 0, 1, 2 = 1, 2, 4 bytes */
	const void *ends;			/* end of each string in bytes */
	const char *bytes;
} TimelineDict;

/* A reader over a stored timeline.  Lives as long as the value it reads. */
typedef struct TimelineView
{
	uint32		nevents;
	uint8		time_width;		/* 0 … 3 = 1, 2, 4, 8 bytes */
	uint8		event_width;	/* 0 … 2 = 1, 2, 4 bytes */
	uint8		label_width;	/* likewise */
	uint8		value_encoding; /* TIMELINE_VALUE_… */
	int64		base;			/* at(i) = base + times[i] * unit */
	int64		unit;
	const void *times;			/* never NULL unless empty */
	const void *events;
	const void *labels;			/* code + 1, 0 = NULL; NULL pointer: no labels */
	const void *values;			/* NULL pointer: no values */
	double		value_divisor;	/* of the integer encodings: 1, 10, 100 … */
	TimelineDict event_dict;
	TimelineDict label_dict;
	int			unknown_columns;	/* columns of later versions, skipped */
} TimelineView;

/* The trusted, stored value; raises an error if its version is not ours. */
extern void mcdp_timeline_open(TimelineView *v, const Timeline *t);

/*
 * Asks memory for the value that a scan will bring next (timeline_view.c).
 * Opening does so by itself.
 */
extern void mcdp_timeline_prefetch_next(const Timeline *t);

/*
 * Complete validation of outside bytes: "bytes" is the value without its
 * 4-byte varlena header, at any alignment.  What passes is canonical and safe
 * to open (names still have to be checked against the database encoding).
 */
extern bool mcdp_timeline_check(const char *bytes, size_t len, McdpBadInput *bad);

/* Code of a name, or -1 when it does not occur. */
extern int	mcdp_timeline_find_event(const TimelineView *v, const char *name, int len);
extern int	mcdp_timeline_find_label(const TimelineView *v, const char *name, int len);

/* Index of the first event with event.at > at, or >= at; nevents if none. */
extern uint32 mcdp_timeline_first_after(const TimelineView *v, TimestampTz at);
extern uint32 mcdp_timeline_first_from(const TimelineView *v, TimestampTz at);

/*
 * Building.  Events may come in any order; names are copied.  The builder
 * lives in the memory context given and stays usable after finish, which
 * returns a new value allocated in the current memory context.
 */
typedef struct TimelineBuilder TimelineBuilder;

extern TimelineBuilder *mcdp_timeline_builder_create(MemoryContext cx);
extern void mcdp_timeline_builder_add(TimelineBuilder *b, TimestampTz at,
									  const char *event, int event_len,
									  const char *label, int label_len,
									  bool has_value, double value);

/*
 * Adds events first … last-1 of another timeline, or those of them whose event
 * code is marked in "wanted" (NULL = all).
 */
extern void mcdp_timeline_builder_add_view(TimelineBuilder *b, const TimelineView *v,
										   uint32 first, uint32 last, const bool *wanted);
extern size_t mcdp_timeline_builder_size(TimelineBuilder *b);
extern void mcdp_timeline_builder_write(TimelineBuilder *b, Timeline *out, size_t size);
extern Timeline *mcdp_timeline_builder_finish(TimelineBuilder *b);

/* Gaps and sessions (timeline_session.c); "gap" in microseconds, >= 0. */
extern uint32 mcdp_timeline_num_sessions(const TimelineView *v, int64 gap);
extern uint32 mcdp_timeline_session_end(const TimelineView *v, uint32 first, int64 gap);
extern bool mcdp_timeline_median_gap(const TimelineView *v, uint32 event, uint64 *median);

/* The longest chain of steps within "within" microseconds (timeline_funnel.c). */
#define TIMELINE_MAX_STEPS		64
extern int	mcdp_timeline_funnel(const TimelineView *v, int nsteps, const int *step_codes,
								 int64 within);
extern int	mcdp_timeline_funnel_distinct(const TimelineView *v, int nsteps,
										  const int *step_codes, uint64 within);

static inline uint32
timeline_num_events(const TimelineView *v)
{
	return v->nevents;
}

static inline uint32
timeline_read_code(const void *codes, uint8 width, uint32 i)
{
	if (width == 0)
		return ((const uint8 *) codes)[i];
	if (width == 1)
		return ((const uint16 *) codes)[i];
	return ((const uint32 *) codes)[i];
}

/* Distance of event i from the base, in units. */
static inline uint64
timeline_offset(const TimelineView *v, uint32 i)
{
	switch (v->time_width)
	{
		case 0:
			return ((const uint8 *) v->times)[i];
		case 1:
			return ((const uint16 *) v->times)[i];
		case 2:
			return ((const uint32 *) v->times)[i];
		default:
			return ((const uint64 *) v->times)[i];
	}
}

static inline TimestampTz
timeline_at(const TimelineView *v, uint32 i)
{
	return (TimestampTz) ((uint64) v->base + timeline_offset(v, i) * (uint64) v->unit);
}

static inline uint32
timeline_event_code(const TimelineView *v, uint32 i)
{
	return timeline_read_code(v->events, v->event_width, i);
}

/* TIMELINE_NO_LABEL when the label is NULL */
static inline uint32
timeline_label_code(const TimelineView *v, uint32 i)
{
	if (v->labels == NULL)
		return TIMELINE_NO_LABEL;
	return timeline_read_code(v->labels, v->label_width, i) - 1;
}

static inline double
timeline_double_of_bits(uint64 bits)
{
	double		d;

	memcpy(&d, &bits, sizeof(d));
	return d;
}

/* False when the value is NULL. */
static inline bool
timeline_value(const TimelineView *v, uint32 i, double *out)
{
	if (v->values == NULL)
		return false;
	switch (v->value_encoding)
	{
		case TIMELINE_VALUE_INT8:
			*out = ((const int8 *) v->values)[i] / v->value_divisor;
			return ((const int8 *) v->values)[i] != PG_INT8_MIN;
		case TIMELINE_VALUE_INT16:
			*out = ((const int16 *) v->values)[i] / v->value_divisor;
			return ((const int16 *) v->values)[i] != PG_INT16_MIN;
		case TIMELINE_VALUE_UINT8:
			*out = ((const uint8 *) v->values)[i] / v->value_divisor;
			return ((const uint8 *) v->values)[i] != PG_UINT8_MAX;
		case TIMELINE_VALUE_UINT16:
			*out = ((const uint16 *) v->values)[i] / v->value_divisor;
			return ((const uint16 *) v->values)[i] != PG_UINT16_MAX;
		case TIMELINE_VALUE_INT32:
			*out = ((const int32 *) v->values)[i] / v->value_divisor;
			return ((const int32 *) v->values)[i] != PG_INT32_MIN;
		case TIMELINE_VALUE_FLOAT4:
			*out = ((const float *) v->values)[i];
			return ((const uint32 *) v->values)[i] != TIMELINE_NULL_FLOAT4;
		default:
			*out = ((const double *) v->values)[i];
			return ((const uint64 *) v->values)[i] != TIMELINE_NULL_FLOAT8;
	}
}

static inline const char *
timeline_dict_string(const TimelineDict *d, uint32 code, int *len)
{
	uint32		start = code == 0 ? 0 : timeline_read_code(d->ends, d->width, code - 1);

	*len = (int) (timeline_read_code(d->ends, d->width, code) - start);
	return d->bytes + start;
}

/* The name is not terminated by a zero byte. */
static inline const char *
mcdp_timeline_event_name(const TimelineView *v, uint32 code, int *len)
{
	return timeline_dict_string(&v->event_dict, code, len);
}

static inline const char *
mcdp_timeline_label_name(const TimelineView *v, uint32 code, int *len)
{
	return timeline_dict_string(&v->label_dict, code, len);
}

#endif							/* MCDP_TIMELINE_H */
