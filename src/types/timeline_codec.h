/*-------------------------------------------------------------------------
 *
 * timeline_codec.h
 *	  What the timeline's builder and its codec share.
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
	uint32		hash;			/* of use to the builder only */
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
