/*-------------------------------------------------------------------------
 *
 * event_match_ties.c
 *	  Events of one instant, each for one step.
 *
 * Whether steps can be given different events is a bipartite matching; it is
 * made larger one step at a time along an augmenting path.  Events with the
 * same bits are interchangeable, so the search goes over steps and classes of
 * events: it takes steps x classes for each step added, however many events
 * there are.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_match_ties.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "types/event_match.h"

void
mcdp_ties_init(Ties *ties)
{
	memset(ties, 0, sizeof(Ties));
}

void
mcdp_ties_free(Ties *ties)
{
	if (ties->all != NULL)
	{
		pfree(ties->all);
		pfree(ties->classes);
	}
	if (ties->flow != NULL)
		pfree(ties->flow);
}

static int
compare_class(const void *a, const void *b)
{
	uint64		x = ((const TieClass *) a)->mask;
	uint64		y = ((const TieClass *) b)->mask;

	return x < y ? -1 : x > y;
}

/* The classes of an instant's events, in "all". */
void
mcdp_ties_gather(Ties *ties, const MatchEvent *events, size_t n, bool keep_empty)
{
	int			k = 0;

	if (n > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events at one instant")));
	if (n > ties->capacity)
	{
		if (ties->all != NULL)
		{
			pfree(ties->all);
			pfree(ties->classes);
		}
		ties->capacity = Max((int) n, 16);
		ties->all = palloc_extended(sizeof(TieClass) * (Size) ties->capacity, MCXT_ALLOC_HUGE);
		ties->classes = palloc_extended(sizeof(TieClass) * (Size) ties->capacity, MCXT_ALLOC_HUGE);
	}
	for (size_t i = 0; i < n; i++)
	{
		if (events[i].mask == 0 && !keep_empty)
			continue;
		if (k > 0 && ties->all[k - 1].mask == events[i].mask)
		{
			ties->all[k - 1].count++;
			continue;
		}
		ties->all[k].mask = events[i].mask;
		ties->all[k].count = 1;
		ties->all[k].used = 0;
		k++;
	}
	ties->nall = 0;
	if (k > 1)
		qsort(ties->all, k, sizeof(TieClass), compare_class);
	for (int i = 0; i < k; i++)
	{
		if (ties->nall > 0 && ties->all[ties->nall - 1].mask == ties->all[i].mask)
			ties->all[ties->nall - 1].count += ties->all[i].count;
		else
			ties->all[ties->nall++] = ties->all[i];
	}
}

/*
 * A matching of at most "at_most" units in all needs no more than that many
 * events for a step: whatever the others take, one is left.  (at_most 0 = no
 * bound known.)
 */
void
mcdp_ties_begin(Ties *ties, uint64 bits, bool all, uint32 at_most)
{
	uint32		enough[MATCH_MAX_STEPS] = {0};
	size_t		need;

	ties->nclasses = 0;
	ties->steps = 0;
	for (int i = 0; i < ties->nall; i++)
	{
		TieClass	c = ties->all[i];

		if (!all && (c.mask & bits) == 0)
			continue;
		if (at_most > 0)
		{
			bool		useful = false;

			for (uint64 left = c.mask; left != 0; left &= left - 1)
			{
				uint32	   *have = &enough[pg_rightmost_one_pos64(left)];

				useful |= *have < at_most;
				*have += c.count;
			}
			if (!useful)
				continue;
		}
		c.used = 0;
		ties->classes[ties->nclasses++] = c;
	}
	need = sizeof(uint32) * MATCH_MAX_STEPS * (size_t) ties->nclasses;
	if (need > ties->flow_size)
	{
		if (ties->flow != NULL)
			pfree(ties->flow);
		ties->flow = palloc_extended(need, MCXT_ALLOC_HUGE);
		ties->flow_size = need;
	}
}

bool
mcdp_ties_add(Ties *ties, int step)
{
	int			queue[MATCH_MAX_STEPS];
	int			from[MATCH_MAX_STEPS];
	int			through[MATCH_MAX_STEPS];
	uint64		seen = UINT64CONST(1) << step;
	int			head = 0,
				tail = 0;
	int			n = ties->nclasses;

	if (n == 0)
		return false;
	if ((ties->steps & seen) == 0)
	{
		/* its row of flow is cleared when first needed */
		memset(ties->flow + (size_t) step * n, 0, sizeof(uint32) * (size_t) n);
		ties->steps |= seen;
	}
	queue[tail++] = step;
	while (head < tail)
	{
		int			s = queue[head++];

		for (int c = 0; c < n; c++)
		{
			TieClass   *class = &ties->classes[c];
			uint64		others;

			if ((class->mask >> s & 1) == 0)
				continue;
			if (class->used < class->count)
			{
				class->used++;
				while (s != step)
				{
					ties->flow[(size_t) s * n + c]++;
					c = through[s];
					ties->flow[(size_t) s * n + c]--;
					s = from[s];
				}
				ties->flow[(size_t) s * n + c]++;
				return true;
			}
			/* full: a step that uses it may find another */
			for (others = ties->steps & class->mask & ~seen; others != 0; others &= others - 1)
			{
				int			o = pg_rightmost_one_pos64(others);

				if (ties->flow[(size_t) o * n + c] > 0)
				{
					seen |= UINT64CONST(1) << o;
					from[o] = s;
					through[o] = c;
					queue[tail++] = o;
				}
			}
		}
	}
	return false;
}
