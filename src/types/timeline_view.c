/*-------------------------------------------------------------------------
 *
 * timeline_view.c
 *	  Opens stored timelines and finds names and instants in them.
 *
 * The value is trusted: it was made by timeline_codec.c or has passed
 * timeline_check.c.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_view.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/timeline_codec.h"

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
	v->unit = timeline_unit(col[0].detail);
	v->events = (const char *) t + col[1].offset;
	v->event_width = col[1].encoding;
	timeline_open_dict(&v->event_dict, t, &col[2]);
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
				timeline_open_dict(&v->label_dict, t, &col[i]);
				break;
			case TIMELINE_COL_VALUE:
				v->values = data;
				v->value_encoding = col[i].encoding;
				v->value_divisor = timeline_power(col[i].detail);
				break;
			default:
				v->unknown_columns++;
		}
	}
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
