/*-------------------------------------------------------------------------
 *
 * timeline_build.c
 *	  Builds timelines from events in any order and from other timelines.
 *
 * A builder holds the events as they came, with codes given to names in order
 * of arrival.  When the stored form is asked for, names are sorted and codes
 * become ranks; then the events are sorted, unless they already are.  A run
 * is a stretch of events already in order: few long runs (timelines that were
 * added whole) are merged, many short ones sorted.
 *
 * Adding costs amortised constant time.  Asking for the stored form costs one
 * pass for sorted input, n log(runs) else.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_build.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/timeline_codec.h"
#include "types/timeline_names.h"
#include "utils/memutils.h"

/* More can never be stored: an event takes at least two bytes. */
#define MAX_EVENTS		((uint32) (MaxAllocSize / 2))

struct TimelineBuilder
{
	MemoryContext cx;
	uint32		n;
	uint32		space;
	TimelineEvent *events;
	TimelineNames names;
	TimelineNames labels;
	bool		sorted;			/* events are in order, codes are ranks */
	bool		planned;		/* plan is up to date */
	TimelinePlan plan;
};

TimelineBuilder *
mcdp_timeline_builder_create(MemoryContext cx)
{
	TimelineBuilder *b = MemoryContextAllocZero(cx, sizeof(TimelineBuilder));

	b->cx = cx;
	b->sorted = true;
	mcdp_timeline_names_init(&b->names, cx);
	mcdp_timeline_names_init(&b->labels, cx);
	return b;
}

/* ---------------------------------------------------------------- adding */

static inline TimelineEvent *
next_event(TimelineBuilder *b)
{
	if (b->n == b->space)
	{
		uint64		space = b->space == 0 ? 8 : (uint64) b->space * 2;

		if (b->n >= MAX_EVENTS)
			mcdp_timeline_too_large();
		space = Min(space, MAX_EVENTS);
		if (b->events == NULL)
			b->events = MemoryContextAlloc(b->cx, sizeof(TimelineEvent) * space);
		else
			b->events = repalloc_huge(b->events, sizeof(TimelineEvent) * space);
		b->space = (uint32) space;
	}
	b->planned = false;
	return &b->events[b->n];
}

/* Takes over the event that next_event() pointed to. */
static inline void
accept_event(TimelineBuilder *b)
{
	TimelineEvent *e = &b->events[b->n++];

	/* with equal instants the names decide, and codes are not ranks yet */
	if (b->sorted && b->n > 1 && e[-1].at >= e->at)
		b->sorted = false;
}

void
mcdp_timeline_builder_add(TimelineBuilder *b, TimestampTz at,
						  const char *event, int event_len,
						  const char *label, int label_len,
						  bool has_value, double value)
{
	TimelineEvent *e = next_event(b);

	if (TIMESTAMP_NOT_FINITE(at) || !IS_VALID_TIMESTAMP(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
				 errmsg("the time of an event must be finite")));
	e->at = at;
	e->event = mcdp_timeline_names_code(&b->names, event, event_len);
	e->label = label == NULL ? 0 : mcdp_timeline_names_code(&b->labels, label, label_len) + 1;
	e->value = has_value ? mcdp_timeline_value_key(value) : 0;
	accept_event(b);
}

void
mcdp_timeline_builder_add_view(TimelineBuilder *b, const TimelineView *v,
							   uint32 first, uint32 last, const bool *wanted)
{
	/* codes here, one more than code there; 0 = not met yet */
	uint32		few[64];
	uint32	   *names,
			   *labels;
	Size		need = (Size) v->event_dict.count + v->label_dict.count;

	if (v->unknown_columns > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("timeline has columns that this version of the extension does not know"),
				 errdetail("Merging or cutting it would lose them.")));
	if (first >= last)
		return;
	if (need <= lengthof(few))
		names = few;
	else
		names = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * need);
	memset(names, 0, sizeof(uint32) * need);
	labels = names + v->event_dict.count;

	for (uint32 i = first; i < last; i++)
	{
		uint32		name = timeline_event_code(v, i);
		uint32		label = timeline_label_code(v, i);
		TimelineEvent *e;
		double		value;
		int			len;
		const char *s;

		MCDP_CHECK_EVERY(i);
		if (wanted != NULL && !wanted[name])
			continue;
		if (names[name] == 0)
		{
			s = mcdp_timeline_event_name(v, name, &len);
			names[name] = mcdp_timeline_names_code(&b->names, s, len) + 1;
		}
		if (label != TIMELINE_NO_LABEL && labels[label] == 0)
		{
			s = mcdp_timeline_label_name(v, label, &len);
			labels[label] = mcdp_timeline_names_code(&b->labels, s, len) + 1;
		}
		e = next_event(b);
		e->at = timeline_at(v, i);
		e->event = names[name] - 1;
		e->label = label == TIMELINE_NO_LABEL ? 0 : labels[label];
		e->value = timeline_value(v, i, &value) ? mcdp_timeline_value_key(value) : 0;
		accept_event(b);
	}
	if (names != few)
		pfree(names);
}

/* --------------------------------------------------------------- sorting */

#define ST_SORT sort_events
#define ST_ELEMENT_TYPE TimelineEvent
#define ST_COMPARE(a, b) timeline_event_cmp(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* Merges [a, b) and [b, c) of "from" into "to". */
static void
merge_runs(const TimelineEvent *from, TimelineEvent *to, uint32 a, uint32 b, uint32 c)
{
	uint32		i = a,
				j = b,
				k = a;

	while (i < b && j < c)
	{
		MCDP_CHECK_EVERY(k);
		if (timeline_event_cmp(&from[i], &from[j]) <= 0)
			to[k++] = from[i++];
		else
			to[k++] = from[j++];
	}
	memcpy(to + k, from + i, sizeof(TimelineEvent) * (Size) (b - i));
	k += b - i;
	memcpy(to + k, from + j, sizeof(TimelineEvent) * (Size) (c - j));
}

/* Puts the events in order; codes are ranks. */
static void
order_events(TimelineBuilder *b)
{
	uint32		max_runs = b->n / 8 + 2;
	uint32	   *starts = MemoryContextAllocHuge(CurrentMemoryContext,
												sizeof(uint32) * ((Size) max_runs + 1));
	uint32		runs = 1;
	TimelineEvent *from = b->events,
			   *to;

	starts[0] = 0;
	for (uint32 i = 1; i < b->n; i++)
	{
		MCDP_CHECK_EVERY(i);
		if (timeline_event_cmp(&b->events[i - 1], &b->events[i]) > 0)
		{
			if (runs == max_runs)
			{
				/* many short runs: merging them all would be slower */
				pfree(starts);
				sort_events(b->events, b->n);
				return;
			}
			starts[runs++] = i;
		}
	}
	starts[runs] = b->n;

	if (runs > 1)
	{
		to = MemoryContextAllocHuge(b->cx, sizeof(TimelineEvent) * (Size) b->space);
		while (runs > 1)
		{
			TimelineEvent *swap = from;
			uint32		merged = 0;

			for (uint32 r = 0; r < runs; r += 2)
			{
				uint32		mid = starts[r + 1];
				uint32		end = r + 1 < runs ? starts[r + 2] : mid;

				CHECK_FOR_INTERRUPTS();
				merge_runs(from, to, starts[r], mid, end);
				starts[merged++] = starts[r];
			}
			starts[merged] = b->n;
			runs = merged;
			from = to;
			to = swap;
		}
		b->events = from;
		pfree(to);
	}
	pfree(starts);
}

static void
normalise(TimelineBuilder *b)
{
	uint32	   *names = mcdp_timeline_names_sort(&b->names);
	uint32	   *labels = mcdp_timeline_names_sort(&b->labels);

	if (names != NULL)
	{
		for (uint32 i = 0; i < b->n; i++)
		{
			MCDP_CHECK_EVERY(i);
			b->events[i].event = names[b->events[i].event];
		}
		pfree(names);
	}
	if (labels != NULL)
	{
		for (uint32 i = 0; i < b->n; i++)
		{
			MCDP_CHECK_EVERY(i);
			if (b->events[i].label != 0)
				b->events[i].label = labels[b->events[i].label - 1] + 1;
		}
		pfree(labels);
	}
	if (!b->sorted)
	{
		order_events(b);
		b->sorted = true;
	}
}

/* ------------------------------------------------------------- finishing */

/* The size of the stored form. */
size_t
mcdp_timeline_builder_size(TimelineBuilder *b)
{
	if (!b->planned)
	{
		TimelineStrings names,
					labels;

		normalise(b);
		names = mcdp_timeline_names_strings(&b->names);
		labels = mcdp_timeline_names_strings(&b->labels);
		mcdp_timeline_plan(&b->plan, b->events, b->n, &names, &labels);
		b->planned = true;
	}
	return b->plan.size;
}

/* Writes the stored form; "size" is what mcdp_timeline_builder_size() said. */
void
mcdp_timeline_builder_write(TimelineBuilder *b, Timeline *out, size_t size)
{
	TimelineStrings names,
				labels;

	if (mcdp_timeline_builder_size(b) != size)
		elog(ERROR, "timeline changed while it was written");
	names = mcdp_timeline_names_strings(&b->names);
	labels = mcdp_timeline_names_strings(&b->labels);
	mcdp_timeline_encode(&b->plan, b->events, b->n, &names, &labels, out);
}

Timeline *
mcdp_timeline_builder_finish(TimelineBuilder *b)
{
	size_t		size = mcdp_timeline_builder_size(b);
	Timeline   *t = palloc(size);

	mcdp_timeline_builder_write(b, t, size);
	return t;
}
