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

#include "common/hashfn.h"
#include "types/timeline_codec.h"
#include "utils/memutils.h"

/* More can never be stored: an event takes at least two bytes. */
#define MAX_EVENTS		((uint32) (MaxAllocSize / 2))

/* A dictionary up to this size is searched from end to end. */
#define SMALL_DICT		8

/* Names in the order they came, or sorted. */
typedef struct NameTable
{
	uint32		count;
	uint32		space;			/* of items */
	TimelineString *items;
	char	   *bytes;
	uint32		used;			/* of bytes */
	uint32		bytes_space;
	uint32	   *slots;			/* hash table: index + 1, 0 = free; or NULL */
	uint32		mask;			/* number of slots - 1 */
	uint32		last;			/* the name found last */
	bool		sorted;
} NameTable;

struct TimelineBuilder
{
	MemoryContext cx;
	uint32		n;
	uint32		space;
	TimelineEvent *events;
	NameTable	names;
	NameTable	labels;
	bool		sorted;			/* events are in order, codes are ranks */
	bool		planned;		/* plan is up to date */
	TimelinePlan plan;
};

static void
too_large(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("timeline is too large"),
			 errdetail("A timeline must not exceed 1 GB.")));
}

TimelineBuilder *
mcdp_timeline_builder_create(MemoryContext cx)
{
	TimelineBuilder *b = MemoryContextAllocZero(cx, sizeof(TimelineBuilder));

	b->cx = cx;
	b->sorted = true;
	b->names.sorted = true;
	b->labels.sorted = true;
	return b;
}

/* ----------------------------------------------------------------- names */

static void
hash_insert(NameTable *nt, uint32 index)
{
	uint32		slot = nt->items[index].hash & nt->mask;

	while (nt->slots[slot] != 0)
		slot = (slot + 1) & nt->mask;
	nt->slots[slot] = index + 1;
}

static void
hash_rebuild(TimelineBuilder *b, NameTable *nt, uint32 nslots)
{
	if (nt->slots == NULL || nslots != nt->mask + 1)
	{
		if (nt->slots != NULL)
			pfree(nt->slots);
		nt->slots = NULL;
		nt->slots = MemoryContextAllocHuge(b->cx, sizeof(uint32) * (Size) nslots);
		nt->mask = nslots - 1;
	}
	memset(nt->slots, 0, sizeof(uint32) * (Size) nslots);
	for (uint32 i = 0; i < nt->count; i++)
		hash_insert(nt, i);
}

static inline bool
name_is(const NameTable *nt, uint32 i, const char *s, uint32 len)
{
	return nt->items[i].len == len && memcmp(nt->bytes + nt->items[i].start, s, len) == 0;
}

static uint32
append_name(TimelineBuilder *b, NameTable *nt, const char *s, uint32 len, uint32 hash)
{
	TimelineString *item;

	if (nt->count == nt->space)
	{
		uint32		space = Max(SMALL_DICT, nt->space * 2);

		if (nt->items == NULL)
			nt->items = MemoryContextAlloc(b->cx, sizeof(TimelineString) * space);
		else
			nt->items = repalloc_huge(nt->items, sizeof(TimelineString) * (Size) space);
		nt->space = space;
	}
	if (nt->bytes == NULL || len > nt->bytes_space - nt->used)
	{
		uint64		space = Max(64, nt->bytes_space);

		while (len > space - nt->used)
			space *= 2;
		if (nt->used + (uint64) len > MaxAllocSize)
			too_large();
		space = Min(space, MaxAllocSize);
		if (nt->bytes == NULL)
			nt->bytes = MemoryContextAlloc(b->cx, space);
		else
			nt->bytes = repalloc(nt->bytes, space);
		nt->bytes_space = space;
	}
	item = &nt->items[nt->count];
	item->start = nt->used;
	item->len = len;
	item->hash = hash;
	memcpy(nt->bytes + nt->used, s, len);
	nt->used += len;

	if (nt->sorted && nt->count > 0)
	{
		TimelineString *prev = item - 1;

		nt->sorted = timeline_string_cmp(nt->bytes + prev->start, prev->len, s, len) < 0;
	}
	nt->count++;
	if (nt->slots != NULL)
	{
		if (nt->count > nt->mask / 2)
			hash_rebuild(b, nt, (nt->mask + 1) * 2);
		else
			hash_insert(nt, nt->count - 1);
	}
	return nt->count - 1;
}

static uint32
intern(TimelineBuilder *b, NameTable *nt, const char *s, uint32 len)
{
	uint32		hash;

	if (nt->last < nt->count && name_is(nt, nt->last, s, len))
		return nt->last;
	if (nt->slots == NULL)
	{
		for (uint32 i = 0; i < nt->count; i++)
		{
			if (name_is(nt, i, s, len))
				return nt->last = i;
		}
		if (nt->count < SMALL_DICT)
			return nt->last = append_name(b, nt, s, len, 0);
		for (uint32 i = 0; i < nt->count; i++)
			nt->items[i].hash = hash_bytes((const unsigned char *) nt->bytes + nt->items[i].start,
										   nt->items[i].len);
		hash_rebuild(b, nt, SMALL_DICT * 4);
	}

	hash = hash_bytes((const unsigned char *) s, len);
	for (uint32 slot = hash & nt->mask; nt->slots[slot] != 0; slot = (slot + 1) & nt->mask)
	{
		uint32		i = nt->slots[slot] - 1;

		if (nt->items[i].hash == hash && name_is(nt, i, s, len))
			return nt->last = i;
	}
	return nt->last = append_name(b, nt, s, len, hash);
}

/* ---------------------------------------------------------------- adding */

static inline TimelineEvent *
next_event(TimelineBuilder *b)
{
	if (b->n == b->space)
	{
		uint64		space = b->space == 0 ? 8 : (uint64) b->space * 2;

		if (b->n >= MAX_EVENTS)
			too_large();
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
	e->event = intern(b, &b->names, event, event_len);
	e->label = label == NULL ? 0 : intern(b, &b->labels, label, label_len) + 1;
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
			names[name] = intern(b, &b->names, s, len) + 1;
		}
		if (label != TIMELINE_NO_LABEL && labels[label] == 0)
		{
			s = mcdp_timeline_label_name(v, label, &len);
			labels[label] = intern(b, &b->labels, s, len) + 1;
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

static inline int
rank_cmp(const uint32 *a, const uint32 *b, const NameTable *nt)
{
	const TimelineString *x = &nt->items[*a],
			   *y = &nt->items[*b];

	return timeline_string_cmp(nt->bytes + x->start, x->len, nt->bytes + y->start, y->len);
}

#define ST_SORT sort_ranks
#define ST_ELEMENT_TYPE uint32
#define ST_COMPARE_ARG_TYPE const NameTable
#define ST_COMPARE(a, b, arg) rank_cmp(a, b, arg)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT sort_events
#define ST_ELEMENT_TYPE TimelineEvent
#define ST_COMPARE(a, b) timeline_event_cmp(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * Puts the names in order.  Returns new_code[old code] (palloc'd), or NULL
 * when they were in order already.
 */
static uint32 *
sort_names(TimelineBuilder *b, NameTable *nt)
{
	uint32	   *order,
			   *new_code;
	TimelineString *items;

	if (nt->sorted)
		return NULL;
	order = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) nt->count);
	new_code = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) nt->count);
	items = MemoryContextAllocHuge(b->cx, sizeof(TimelineString) * (Size) nt->space);
	for (uint32 i = 0; i < nt->count; i++)
		order[i] = i;
	sort_ranks(order, nt->count, nt);
	for (uint32 i = 0; i < nt->count; i++)
	{
		items[i] = nt->items[order[i]];
		new_code[order[i]] = i;
	}
	pfree(order);
	pfree(nt->items);
	nt->items = items;
	nt->sorted = true;
	nt->last = 0;
	if (nt->slots != NULL)
		hash_rebuild(b, nt, nt->mask + 1);
	return new_code;
}

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
	uint32	   *names = sort_names(b, &b->names);
	uint32	   *labels = sort_names(b, &b->labels);

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

static TimelineStrings
strings_of(const NameTable *nt)
{
	TimelineStrings s;

	s.count = nt->count;
	s.items = nt->items;
	s.bytes = nt->bytes;
	return s;
}

/* The size of the stored form. */
size_t
mcdp_timeline_builder_size(TimelineBuilder *b)
{
	if (!b->planned)
	{
		TimelineStrings names,
					labels;

		normalise(b);
		names = strings_of(&b->names);
		labels = strings_of(&b->labels);
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
	names = strings_of(&b->names);
	labels = strings_of(&b->labels);
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
