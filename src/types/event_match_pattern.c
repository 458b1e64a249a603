/*-------------------------------------------------------------------------
 *
 * event_match_pattern.c
 *	  How often a pattern is found in a history.
 *
 * A match is a different event for each step, in the order of time, so that
 * between two neighbouring steps the time is within the bounds of the latter
 * and no event strictly between the two (by time) has a forbidden bit; and
 * after the last step no event has a trailing bit, for as long as that says,
 * and that long a time has passed when the question is asked.
 * Matches follow each other: no event is in two, and none begins before the
 * one before has ended.
 *
 * The earliest end is the best: where two chains of events cross, the earlier
 * half of one goes with the later half of the other.  So one pass suffices.
 * Of the chains that have reached step k only the one that did so last counts:
 * it is nearest to all that comes, and least can lie in between.  (With a lower
 * bound on the time between two steps all of them count; then the times are
 * kept in a queue, whose head only moves on.)  For the same reason one of these
 * chains is also the one that began last, which is best if the whole may take
 * only so long.  Nothing is ever tried again: the time is events x steps, and
 * more only at instants with several events.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_match_pattern.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "types/event_match.h"

#define BIT(k)		(UINT64CONST(1) << (k))

static inline uint64
between(int64 earlier, int64 later)
{
	return (uint64) later - (uint64) earlier;
}

/* ------------------------------------------------------------- timelines */

typedef struct Search
{
	const MatchPattern *p;
	int64		limit;
	int64		count;
	int64		within;			/* from the first step to the last */
	int64		reached[MATCH_MAX_STEPS + 1];	/* by number of steps: when,
												 * the latest */
	int64		begun[MATCH_MAX_STEPS + 1]; /* and when that chain began */
	int64		forbidden[MATCH_MAX_STEPS]; /* by step: when such an event was
											 * last */
	Ties		ties;
} Search;

/* May a chain of k steps go on to step k + 1 now? */
static inline bool
may_go_on(const Search *s, int k, int64 now)
{
	const MatchStep *step = &s->p->steps[k];

	if (k == 0)
		return true;
	return s->reached[k] != MATCH_NEVER &&
		between(s->reached[k], now) <= (uint64) step->max_gap &&
		(step->forbidden == 0 || s->forbidden[k] <= s->reached[k]);
}

/* When a chain of k steps began that goes on now. */
static inline int64
began(const Search *s, int k, int64 now)
{
	return k == 0 ? now : s->begun[k];
}

static void
found(Search *s, int64 how_many)
{
	s->count += how_many;
	for (int k = 1; k < s->p->nsteps; k++)
		s->reached[k] = MATCH_NEVER;
}

static void
search_one(Search *s, int64 now, uint64 mask, bool may_end)
{
	for (int k = s->p->nsteps - 1; k >= 0; k--)
	{
		if ((mask & BIT(s->p->steps[k].bit)) == 0 || !may_go_on(s, k, now))
			continue;
		if (k < s->p->nsteps - 1)
		{
			s->reached[k + 1] = now;
			s->begun[k + 1] = began(s, k, now);
		}
		else if (may_end && between(began(s, k, now), now) <= (uint64) s->within)
		{
			found(s, 1);
			return;
		}
	}
}

/*
 * Several events at one instant: from each number of steps reached before, as
 * many further ones as there are different events for, over the end of the
 * pattern into the next match.
 */
static void
search_several(Search *s, int64 now, const MatchEvent *events, size_t n, uint64 steps, bool may_end)
{
	int			nsteps = s->p->nsteps;
	int64		best = 0;
	int64		next[MATCH_MAX_STEPS + 1];
	int64		begun[MATCH_MAX_STEPS + 1];

	mcdp_ties_gather(&s->ties, events, n, false);
	for (int k = 1; k < nsteps; k++)
		next[k] = MATCH_NEVER;
	for (int k = nsteps - 1; k >= 0; k--)
	{
		int			from = k,
					at = k;
		int64		ends = 0;
		int64		start = began(s, k, now);

		if (!may_go_on(s, k, now))
			continue;
		mcdp_ties_begin(&s->ties, steps, false, 0);
		while ((at < nsteps - 1 || (may_end && between(start, now) <= (uint64) s->within)) &&
			   mcdp_ties_add(&s->ties, s->p->steps[at].bit))
		{
			CHECK_FOR_INTERRUPTS();
			if (++at == nsteps)
			{
				from = at = 0;
				start = now;
				if (s->count + ++ends >= s->limit)
					break;
			}
		}
		if (ends < best)
			continue;
		if (ends > best)
		{
			best = ends;
			for (int i = 1; i < nsteps; i++)
				next[i] = MATCH_NEVER;
		}
		for (int i = from + 1; i <= at; i++)
		{
			begun[i] = next[i] == MATCH_NEVER ? start : Max(begun[i], start);
			next[i] = now;
		}
	}
	if (best > 0)
		found(s, best);
	for (int k = 1; k < nsteps; k++)
	{
		if (next[k] != MATCH_NEVER)
		{
			s->reached[k] = next[k];
			s->begun[k] = begun[k];
		}
	}
}

/*
 * For the first event of each instant: may a match end there?  With "at", only
 * if by then the time of every trailing step has passed.
 */
static bool *
find_ends(const MatchPattern *p, const MatchEvent *events, size_t n, int64 at)
{
	bool	   *may_end = palloc_extended(n + 1, MCXT_ALLOC_HUGE);
	int64		next[MATCH_MAX_STEPS];

	for (int i = 0; i < p->ntrailing; i++)
		next[i] = MATCH_NEVER;
	for (size_t end = n; end > 0;)
	{
		size_t		first = end - 1;
		int64		now = events[first].at;
		uint64		mask = events[first].mask;

		while (first > 0 && events[first - 1].at == now)
			mask |= events[--first].mask;
		may_end[first] = true;
		for (int i = 0; i < p->ntrailing; i++)
		{
			int64		gap = p->trailing[i].gap;

			if (next[i] != MATCH_NEVER && (gap == MATCH_NO_GAP || between(now, next[i]) <= (uint64) gap))
				may_end[first] = false;
			if (gap != MATCH_NO_GAP && at != MATCH_AT_THE_END && between(now, at) < (uint64) gap)
				may_end[first] = false; /* too early to tell */
			if (mask & BIT(p->trailing[i].bit))
				next[i] = now;
		}
		end = first;
	}
	return may_end;
}

static int64
search(const MatchPattern *p, const MatchEvent *events, size_t n, int64 at, int64 limit, int64 within)
{
	Search		s;
	bool	   *may_end = NULL;
	uint64		all_forbidden = 0;
	uint64		all_steps = 0;

	s.p = p;
	s.limit = limit;
	s.within = within;
	s.count = 0;
	mcdp_ties_init(&s.ties);
	for (int k = 0; k < p->nsteps; k++)
	{
		s.reached[k + 1] = s.forbidden[k] = MATCH_NEVER;
		all_forbidden |= p->steps[k].forbidden;
		all_steps |= BIT(p->steps[k].bit);
	}
	if (p->ntrailing > 0)
		may_end = find_ends(p, events, n, at);

	for (size_t i = 0; i < n && s.count < limit;)
	{
		size_t		first = i;
		int64		now = events[i].at;
		uint64		mask = events[i].mask;
		bool		end = may_end == NULL || may_end[first];

		CHECK_FOR_INTERRUPTS();
		for (i++; i < n && events[i].at == now; i++)
			mask |= events[i].mask;
		if (i == first + 1)
			search_one(&s, now, mask, end);
		else if (mask & all_steps)
			search_several(&s, now, events + first, i - first, all_steps, end);
		if (mask & all_forbidden)
		{
			for (int k = 1; k < p->nsteps; k++)
			{
				if (mask & p->steps[k].forbidden)
					s.forbidden[k] = now;
			}
		}
	}
	if (may_end != NULL)
		pfree(may_end);
	mcdp_ties_free(&s.ties);
	return Min(s.count, limit);
}

int64
mcdp_match_pattern(const MatchPattern *p, const MatchEvent *events, size_t n, int64 at, int64 limit)
{
	return search(p, events, n, at, limit, MATCH_NO_GAP);
}

bool
mcdp_match_sequence(const MatchPattern *p, const MatchEvent *events, size_t n, int64 at, int64 within)
{
	return search(p, events, n, at, 1, within) > 0;
}

/* ------------------------------------------------------------------ rows */

/* When a step was found, while a later one asks for a time since then. */
typedef struct Times
{
	int64	   *at;
	size_t		n;
	size_t		capacity;
	size_t		head;			/* those before are too long ago by now, or
								 * one later is not too recent */
} Times;

static void
add_time(Times *t, int64 at)
{
	if (t->n == t->capacity)
	{
		t->capacity = Max(2 * t->capacity, 64);
		t->at = t->at == NULL ? palloc(sizeof(int64) * t->capacity) :
			repalloc_huge(t->at, sizeof(int64) * t->capacity);
	}
	t->at[t->n++] = at;
}

/* Was there one at least min and at most max ago? */
static bool
has_time(Times *t, int64 now, int64 min, int64 max)
{
	while (t->head + 1 < t->n && between(t->at[t->head + 1], now) >= (uint64) min)
		t->head++;
	return t->head < t->n && between(t->at[t->head], now) >= (uint64) min &&
		between(t->at[t->head], now) <= (uint64) max;
}

/* Conditions with anything between them, and no least time? */
static bool
is_plain(const MatchPattern *p)
{
	for (int k = 0; k < p->nsteps; k++)
	{
		const MatchStep *step = &p->steps[k];

		if (step->bit < 0 || step->adjacent || step->min_gap > 0 || step->max_gap < step->min_gap)
			return false;
	}
	return true;
}

/* Such a pattern: a row changes only the steps that it is a row of. */
static int64
match_plain(const MatchPattern *p, const MatchEvent *events, size_t n, int64 limit)
{
	int64		count = 0;
	int64		latest[MATCH_MAX_STEPS];
	int			last = p->nsteps - 1;

	for (int k = 0; k < last; k++)
		latest[k] = MATCH_NEVER;
	for (size_t i = 0; i < n && count < limit; i++)
	{
		int64		now = events[i].at;
		uint64		mask = events[i].mask;

		CHECK_FOR_INTERRUPTS();
		for (int k = last; k >= 0; k--)
		{
			const MatchStep *step = &p->steps[k];

			if ((mask & BIT(step->bit)) == 0 ||
				(k > 0 && (latest[k - 1] == MATCH_NEVER || between(latest[k - 1], now) > (uint64) step->max_gap)))
				continue;
			if (k < last)
				latest[k] = now;
			else
			{
				count++;
				for (int j = 0; j < last; j++)
					latest[j] = MATCH_NEVER;
				break;
			}
		}
	}
	return count;
}

int64
mcdp_match_row_pattern(const MatchPattern *p, const MatchEvent *events, size_t n, int64 limit)
{
	int64		count = 0;
	int64		latest[MATCH_MAX_STEPS];	/* when each step was found last */
	bool		just[MATCH_MAX_STEPS];	/* by the row before? */
	Times		times[MATCH_MAX_STEPS];
	int			nsteps = p->nsteps;

	if (is_plain(p))
		return match_plain(p, events, n, limit);
	for (int k = 0; k < nsteps; k++)
	{
		latest[k] = MATCH_NEVER;
		just[k] = false;
		times[k] = (Times) {0};
	}
	for (size_t i = 0; i < n && count < limit; i++)
	{
		int64		now = events[i].at;

		CHECK_FOR_INTERRUPTS();

		/*
		 * from the last step down: those before are as they were before this
		 * row
		 */
		for (int k = nsteps - 1; k >= 0; k--)
		{
			const MatchStep *step = &p->steps[k];
			bool		hit = step->bit < 0 || (events[i].mask & BIT(step->bit)) != 0;

			if (hit && k > 0)
			{
				if (step->adjacent)
					hit = just[k - 1];
				else if (step->max_gap < step->min_gap)
					hit = false;
				else if (step->min_gap > 0)
					hit = has_time(&times[k - 1], now, step->min_gap, step->max_gap);
				else
					hit = latest[k - 1] != MATCH_NEVER &&
						between(latest[k - 1], now) <= (uint64) step->max_gap;
			}
			just[k] = hit;
			if (!hit)
				continue;
			if (k == nsteps - 1)
			{
				count++;
				for (int j = 0; j < nsteps; j++)
				{
					latest[j] = MATCH_NEVER;
					just[j] = false;
					times[j].n = times[j].head = 0;
				}
				break;
			}
			latest[k] = now;
			if (p->steps[k + 1].min_gap > 0)
				add_time(&times[k], now);
		}
	}
	for (int k = 0; k < nsteps; k++)
	{
		if (times[k].at != NULL)
			pfree(times[k].at);
	}
	return count;
}
