/*-------------------------------------------------------------------------
 *
 * cohort.c
 *	  Cohort tables: who came first when, and what became of them.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/cohort.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>


#include "types/cohort.h"

/* cell->sum + cell->rest + value, exact but for the last bits of rest */
static void
add_value(CohortCell *cell, double value)
{
	double		total = cell->sum + value;

	if (!isfinite(total))
	{
		cell->sum = total;
		cell->rest = 0;
	}
	else
	{
		double		part = total - cell->sum;
		double		rest = cell->rest + ((cell->sum - (total - part)) + (value - part));

		cell->sum = total + rest;
		cell->rest = rest - (cell->sum - total);
	}
}

/* The period of an instant; the caller knows that it is not before the first. */
static int
period_of(const CohortState *s, TimestampTz at, int from)
{
	const TimestampTz *edge = cohort_edges(s);
	int			low = from,
				high = s->nperiods; /* edge[low] <= at, and high is beyond */

	while (high - low > 1)
	{
		int			middle = (low + high) / 2;

		if (edge[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

void
mcdp_cohort_add(CohortState *s, const TimelineView *v, int event)
{
	const TimestampTz *edge = cohort_edges(s);
	uint32		end = mcdp_timeline_first_after(v, s->at);
	int			cohort = -1;
	int			period = 0;
	TimestampTz last = 0;
	CohortCell *cells = NULL;

	if (event < 0)
		return;
	for (uint32 i = 0; i < end; i++)
	{
		TimestampTz at;
		bool		is_new;
		double		value;

		MCDP_CHECK_EVERY(i);
		if (timeline_event_code(v, i) != (uint32) event)
			continue;
		at = timeline_at(v, i);
		if (at >= edge[s->nperiods])
			return;
		if (cohort < 0)
		{
			if (at < edge[0])
				return;			/* of an earlier cohort */
			cohort = period = period_of(s, at, 0);
			cells = cohort_cells(s, cohort);
			cells[0].active++;
			is_new = true;
		}
		else
		{
			is_new = at != last;
			if (at >= edge[period + 1])
			{
				period = period_of(s, at, period);
				cells[period - cohort].active++;
			}
		}
		cells[period - cohort].orders += is_new;
		last = at;
		if (timeline_value(v, i, &value))
			add_value(&cells[period - cohort], value);
	}
}

void
mcdp_cohort_merge(CohortState *s, const CohortState *more)
{
	CohortCell *to = cohort_cells(s, 0);
	const CohortCell *from = cohort_cells(more, 0);

	for (Size i = 0; i < COHORT_NCELLS(s->nperiods); i++)
	{
		to[i].active += from[i].active;
		to[i].orders += from[i].orders;
		add_value(&to[i], from[i].sum);
		add_value(&to[i], from[i].rest);
	}
}

bool
mcdp_cohort_check(const char *bytes, size_t len, McdpBadInput *bad)
{
	size_t		head = offsetof(CohortState, data) - VARHDRSZ;
	uint16		n;
	int64		before = 0;

#define REFUSE(where, why)	\
	do { bad->offset = (where); bad->reason = (why); return false; } while (0)

	if (len < head)
		REFUSE(len, "too short");
	if ((uint8) bytes[0] != COHORT_VERSION)
		REFUSE(0, "unknown version");
	if (bytes[1] != 0)
		REFUSE(1, "reserved byte is not 0");
	memcpy(&n, bytes + 2, sizeof(n));
	if (n < 1 || n > COHORT_MAX_PERIODS)
		REFUSE(2, "number of periods out of range");
	if (len != COHORT_SIZE(n) - VARHDRSZ)
		REFUSE(len, "wrong length");
	for (int i = 0; i <= n; i++)
	{
		int64		edge;

		memcpy(&edge, bytes + head + sizeof(edge) * i, sizeof(edge));
		if (i > 0 && edge <= before)
			REFUSE(head + sizeof(edge) * i, "edges do not ascend");
		before = edge;
	}
	for (Size i = 0; i < COHORT_NCELLS(n); i++)
	{
		CohortCell	cell;
		size_t		where = head + sizeof(int64) * ((Size) n + 1) + sizeof(cell) * i;

		memcpy(&cell, bytes + where, sizeof(cell));
		if (cell.active < 0 || cell.orders < cell.active || cell.orders > PG_INT64_MAX / 2)
			REFUSE(where, "impossible counts");
	}
	return true;
}
