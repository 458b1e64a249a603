/*-------------------------------------------------------------------------
 *
 * expected_gap.c
 *	  How long a profile usually takes from one occurrence of an event to the
 *	  next.
 *
 * The median of the gaps so far is kept by two heaps, one of the smaller half
 * and one of the larger.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/expected_gap.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "types/expected_gap.h"
#include "utils/memutils.h"

/* ------------------------------------------------------------------- heaps */

static void
heap_init(McdpGapHeap *h)
{
	h->count = 0;
	h->space = MCDP_FEW_GAPS;
	h->items = h->few;
}

static void
heap_free(McdpGapHeap *h)
{
	if (h->items != h->few)
		pfree(h->items);
	heap_init(h);
}

static void
heap_push(McdpGapHeap *h, MemoryContext cx, uint64 item)
{
	uint32		i = h->count;

	if (i == h->space)
	{
		Size		space = (Size) h->space * 4;
		uint64	   *items = MemoryContextAllocExtended(cx, sizeof(uint64) * space, MCXT_ALLOC_HUGE);

		memcpy(items, h->items, sizeof(uint64) * (Size) i);
		if (h->items != h->few)
			pfree(h->items);
		h->items = items;
		h->space = (uint32) Min(space, PG_UINT32_MAX);
	}
	h->count++;
	while (i > 0 && h->items[(i - 1) / 2] > item)
	{
		h->items[i] = h->items[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	h->items[i] = item;
}

/* Takes the smallest one out and puts another in. */
static uint64
heap_replace(McdpGapHeap *h, uint64 item)
{
	uint64		smallest = h->items[0];
	uint32		i = 0;

	for (;;)
	{
		uint64		child = (uint64) i * 2 + 1;

		if (child + 1 < h->count && h->items[child + 1] < h->items[child])
			child++;
		if (child >= h->count || h->items[child] >= item)
			break;
		h->items[i] = h->items[child];
		i = (uint32) child;
	}
	h->items[i] = item;
	return smallest;
}

/* -------------------------------------------------------------------- gaps */

void
mcdp_gaps_init(McdpGaps *g, MemoryContext cx)
{
	g->cx = cx;
	g->any = false;
	g->last = 0;
	heap_init(&g->low);
	heap_init(&g->high);
}

void
mcdp_gaps_free(McdpGaps *g)
{
	heap_free(&g->low);
	heap_free(&g->high);
	g->any = false;
}

void
mcdp_gaps_add(McdpGaps *g, TimestampTz at)
{
	uint64		gap = (uint64) at - (uint64) g->last;
	bool		is_gap = g->any && gap > 0;

	g->any = true;
	g->last = at;
	if (!is_gap)
		return;

	/* By turns one half grows, with what the other half has to give for it. */
	if (g->low.count > g->high.count)
	{
		if (gap < ~g->low.items[0])
			gap = ~heap_replace(&g->low, ~gap);
		heap_push(&g->high, g->cx, gap);
	}
	else
	{
		if (g->high.count > 0 && gap > g->high.items[0])
			gap = heap_replace(&g->high, gap);
		heap_push(&g->low, g->cx, ~gap);
	}
}

bool
mcdp_gaps_median(const McdpGaps *g, int64 *median)
{
	uint64		lower,
				between = 0;

	if (g->low.count == 0)
		return false;
	lower = ~g->low.items[0];
	if (g->high.count == g->low.count)
		between = g->high.items[0] - lower;
	lower += between / 2 + ((between & 3) == 3 ? 1 : 0);
	*median = (int64) Min(lower, (uint64) PG_INT64_MAX);
	return true;
}

double
mcdp_gaps_dispersion(const McdpGaps *g)
{
	int64		median;
	double		sum = 0;

	if (!mcdp_gaps_median(g, &median))
		return 0;
	for (uint32 i = 0; i < g->low.count; i++)
		sum += fabs((double) ~g->low.items[i] - (double) median);
	for (uint32 i = 0; i < g->high.count; i++)
		sum += fabs((double) g->high.items[i] - (double) median);
	return sum / mcdp_gaps_count(g) / Max(median, 1);
}

bool
mcdp_shrink_gap(uint32 n, int64 median, const McdpPriorGap *prior, int64 *gap)
{
	bool		has_prior = prior->exists && prior->weight > 0;

	if (n == 0)
		*gap = prior->gap;
	else if (!has_prior)
		*gap = median;
	else
	{
		/* both are >= 0, so their difference fits; a double may round it outward */
		double		step = rint((double) (prior->gap - median) * (prior->weight / (n + prior->weight)));

		if (step >= (double) (PG_INT64_MAX - median))
			*gap = prior->gap;
		else
			*gap = Max(median + (int64) step, 0);
	}
	return n > 0 || has_prior;
}

bool
mcdp_gaps_expected(const McdpGaps *g, const McdpPriorGap *prior, int64 *gap)
{
	int64		median = 0;

	(void) mcdp_gaps_median(g, &median);
	return mcdp_shrink_gap(mcdp_gaps_count(g), median, prior, gap);
}

bool
mcdp_timeline_expected_gap(const TimelineView *v, uint32 nevents, int event, int label,
						   const McdpPriorGap *prior, int64 *gap,
						   bool *occurs, TimestampTz *last)
{
	McdpGaps	gaps;
	bool		known;

	mcdp_gaps_init(&gaps, CurrentMemoryContext);
	if (event >= 0 && label != MCDP_NO_SUCH_LABEL)
	{
		for (uint32 i = 0; i < nevents; i++)
		{
			MCDP_CHECK_EVERY(i);
			if (timeline_event_code(v, i) == (uint32) event &&
				(label == MCDP_ANY_LABEL || timeline_label_code(v, i) == (uint32) label))
				mcdp_gaps_add(&gaps, timeline_at(v, i));
		}
	}
	known = mcdp_gaps_expected(&gaps, prior, gap);
	if (occurs)
		*occurs = gaps.any;
	if (last)
		*last = gaps.last;
	mcdp_gaps_free(&gaps);
	return known;
}
