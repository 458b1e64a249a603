/*-------------------------------------------------------------------------
 *
 * timeline_check.c
 *	  Complete validation of timelines that come from outside.
 *
 * Bounds first, so that every later read stays inside; then the order of names
 * and events; then every choice of the encoding is made again and must agree.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_check.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/timeline_codec.h"
#include "utils/memutils.h"

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
	timeline_open_dict(&d, t, col);
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
		if (col->offset != TIMELINE_ALIGN(end))
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
		cols[TIMELINE_COL_TIME]->detail > TIMELINE_LAST_UNIT)
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

		if (col->encoding > TIMELINE_VALUE_UINT16 || col->detail > TIMELINE_LAST_PLACES ||
			(col->encoding <= TIMELINE_VALUE_FLOAT4 && col->detail != 0) ||
			col->length != (uint64) t->nevents * timeline_value_width(col->encoding))
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

		MCDP_CHECK_EVERY(i);
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
