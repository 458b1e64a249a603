/*-------------------------------------------------------------------------
 *
 * event_match.c
 *	  How far along a list of steps a history gets, in every mode.
 *
 * The definition (docs/reference/funnel.md has examples).  A chain of n steps
 * is events e1 … en such that
 *
 *	   - ek satisfies step k, e1.at <= … <= en.at, en.at - e1.at <= within;
 *	   - strict_increase: e1.at < … < en.at;
 *	   - strict_once: no event is two of them;
 *	   - strict_order: no other event x has e1.at < x.at < en.at;
 *	   - strict_deduplication: no other event x satisfies a step k with
 *		 ek.at < x.at < en.at.
 *
 * The answer is the largest n for which there is a chain.  Events of one
 * instant have no order: what is "between" is decided by time alone.
 *
 * One pass.  start[k] is the latest instant at which a chain of k steps began
 * that may still be continued: of two such chains the later start is never
 * worse.  At each instant a chain of j steps goes on to k steps when
 *
 *	   - the instant's events satisfy steps j+1 … k (each one by itself in mode
 *		 strict_once: a matching), and
 *	   - those of its events that would break the chain are all among the ones
 *		 used: every event in mode strict_order, those that satisfy a step
 *		 1 … j in mode strict_deduplication (another matching).  There are
 *		 both matchings at once when there is each (Mendelsohn and Dulmage).
 *
 * The latter is not asked of the first and the last instant of a chain.
 * Time: events x steps; more only at instants with several events.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_match.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "types/event_match.h"

static const struct
{
	const char *name;
	int			mode;
}			modes[] = {
	{"strict_increase", FUNNEL_STRICT_INCREASE},
	{"strict_deduplication", FUNNEL_STRICT_DEDUPLICATION},
	{"strict_order", FUNNEL_STRICT_ORDER},
	{"strict_once", FUNNEL_STRICT_ONCE}
};

bool
mcdp_funnel_mode(const char *s, int len, int *mode)
{
	const char *end = s + len;

	*mode = 0;
	while (s < end && *s == ' ')
		s++;
	if (s == end)
		return true;
	for (;;)
	{
		const char *word;
		int			found = 0;

		while (s < end && *s == ' ')
			s++;
		word = s;
		while (s < end && *s != ' ' && *s != ',')
			s++;
		for (int i = 0; i < lengthof(modes); i++)
		{
			if (strlen(modes[i].name) == s - word && memcmp(modes[i].name, word, s - word) == 0)
				found = modes[i].mode;
		}
		if (found == 0)
			return false;
		*mode |= found;
		while (s < end && *s == ' ')
			s++;
		if (s == end)
			return true;
		if (*s++ != ',')
			return false;
	}
}

typedef struct Funnel
{
	int			nsteps;
	int			mode;
	uint64		within;
	int			reached;
	int64		start[MATCH_MAX_STEPS + 1]; /* by number of steps, from 1 */
	Ties		ties;
} Funnel;

#define BIT(k)		(UINT64CONST(1) << (k))
#define LOW(k)		((k) >= 64 ? ~UINT64CONST(0) : BIT(k) - 1)

static inline bool
goes_on(const Funnel *f, int64 start, int64 now)
{
	return start != MATCH_NEVER && (uint64) now - (uint64) start <= f->within;
}

/* An instant with one event, or with several that are as good as one. */
static void
one_event(Funnel *f, int64 now, uint64 mask)
{
	int64		before = now;	/* start of a chain one step shorter, before
								 * this instant */
	int64		through = MATCH_NEVER;	/* the same, with this event used */
	int			top = f->reached;

	for (int k = 1; k <= f->nsteps; k++)
	{
		int64		old = k <= top ? f->start[k] : MATCH_NEVER;
		bool		broken = (f->mode & FUNNEL_STRICT_ORDER) != 0 ||
		((f->mode & FUNNEL_STRICT_DEDUPLICATION) != 0 && (mask & LOW(k)) != 0);
		int64		came = MATCH_NEVER;

		if (mask & BIT(k - 1))
		{
			if (goes_on(f, before, now))
				came = before;
			if ((f->mode & (FUNNEL_STRICT_INCREASE | FUNNEL_STRICT_ONCE)) == 0)
				came = Max(came, through);
		}
		if (k > top && came == MATCH_NEVER)
			break;
		f->start[k] = broken ? came : Max(old, came);
		f->reached = Max(f->reached, k);
		before = old;
		through = came;
	}
}

static void
several_events(Funnel *f, int64 now, const MatchEvent *events, size_t n)
{
	bool		once = (f->mode & FUNNEL_STRICT_ONCE) != 0;
	int64		next[MATCH_MAX_STEPS + 1];
	uint64		any = 0;
	int			top = f->reached;

	mcdp_ties_gather(&f->ties, events, n, (f->mode & FUNNEL_STRICT_ORDER) != 0);
	for (int c = 0; c < f->ties.nall; c++)
		any |= f->ties.all[c].mask;
	if ((f->mode & FUNNEL_STRICT_ORDER) == 0 && any == 0)
		return;
	for (int k = 1; k <= f->nsteps; k++)
		next[k] = MATCH_NEVER;

	/* j steps before this instant; 0: a chain that begins now */
	for (int j = top; j >= 0; j--)
	{
		int64		start = j == 0 ? now : f->start[j];
		bool		all = (f->mode & FUNNEL_STRICT_ORDER) != 0;
		uint64		repeats = (f->mode & FUNNEL_STRICT_DEDUPLICATION) != 0 ? LOW(j) : 0;
		uint64		must = 0;
		int			first = j + 1,
					last = j,
					limit = f->nsteps;

		CHECK_FOR_INTERRUPTS();
		if (start == MATCH_NEVER)
			continue;
		if (j > 0)
		{
			for (int c = 0; c < f->ties.nall; c++)
			{
				if (all || (f->ties.all[c].mask & repeats) != 0)
					must += f->ties.all[c].count;
			}
			if (must == 0)
				next[j] = Max(next[j], start);
			if (!goes_on(f, start, now))
				continue;
		}

		if ((f->mode & FUNNEL_STRICT_INCREASE) != 0)
			limit = Min(limit, j + 1);
		if (once)
		{
			mcdp_ties_begin(&f->ties, 0, true, f->nsteps);
			while (last < limit && mcdp_ties_add(&f->ties, last))
				last++;
		}
		else
		{
			while (last < limit && (any & BIT(last)) != 0)
				last++;
		}
		f->reached = Max(f->reached, last);

		if (must > last - j)
			continue;
		if (must > 0)
		{
			uint64		used = 0;

			mcdp_ties_begin(&f->ties, repeats, all, 0);
			for (first = j; first < last && used < must; first++)
				used += mcdp_ties_add(&f->ties, first);
			if (used < must)
				continue;
		}
		for (int k = first; k <= last; k++)
			next[k] = Max(next[k], start);
	}
	for (int k = 1; k <= f->reached; k++)
		f->start[k] = next[k];
}

int
mcdp_match_funnel(const MatchEvent *events, size_t n, int nsteps, int64 within, int mode)
{
	Funnel		f;
	size_t		i = 0;
	bool		plain = (mode & ~FUNNEL_STRICT_INCREASE) == 0;

	f.nsteps = nsteps;
	f.mode = mode;
	f.within = (uint64) within;
	f.reached = 0;
	mcdp_ties_init(&f.ties);
	while (i < n && f.reached < nsteps)
	{
		int64		now = events[i].at;
		size_t		first = i;
		uint64		mask = events[i].mask;

		CHECK_FOR_INTERRUPTS();
		for (i++; i < n && events[i].at == now; i++)
			mask |= events[i].mask;
		if (plain || i == first + 1)
		{
			if (mask != 0 || (mode & FUNNEL_STRICT_ORDER) != 0)
				one_event(&f, now, mask);
		}
		else
			several_events(&f, now, events + first, i - first);
	}
	mcdp_ties_free(&f.ties);
	return f.reached;
}

/*
 * For one first event the earliest next ones reach as far as any; and when the
 * first event moves on, so do they, so that each step's position only grows.
 */
bool
mcdp_match_funnel_times(const MatchEvent *events, size_t n, int nsteps, int64 within, int64 *times)
{
	size_t		pos[MATCH_MAX_STEPS] = {0};

	for (;;)
	{
		int			k;

		for (k = 0; k < nsteps; k++)
		{
			while (pos[k] < n && ((events[pos[k]].mask & BIT(k)) == 0 ||
								  (k > 0 && events[pos[k]].at < times[k - 1])))
				pos[k]++;
			if (pos[k] == n)
				return false;
			times[k] = events[pos[k]].at;
			if ((uint64) times[k] - (uint64) times[0] > (uint64) within)
				break;
		}
		if (k == nsteps)
			return true;
		CHECK_FOR_INTERRUPTS();
		pos[0]++;
	}
}

void
mcdp_match_returns(const MatchEvent *events, size_t n, size_t first, int64 since,
				   uint32 buckets, int64 bucket, bool *out)
{
	uint64		seen = 0;		/* so long after "since" ends the last bucket
								 * marked (should it overflow, that one is
								 * marked again) */

	memset(out, 0, buckets);
	out[0] = true;
	for (size_t i = first; i < n; i++)
	{
		/* unsigned: two events may be further apart than an int64 can tell */
		uint64		after = (uint64) events[i].at - (uint64) since;
		uint64		k;

		if ((events[i].mask & 2) == 0 || after < seen)
			continue;
		k = after / (uint64) bucket;
		if (k >= buckets)
			break;
		out[k] = true;
		seen = (k + 1) * (uint64) bucket;
	}
}

void
mcdp_match_retention(const MatchEvent *events, size_t n, bool align_day, uint32 buckets, int64 bucket, bool *out)
{
	size_t		first = 0;
	int64		since;

	while (first < n && (events[first].mask & 1) == 0)
		first++;
	if (first == n)
	{
		memset(out, 0, buckets);
		return;
	}
	since = events[first].at;
	if (align_day)
	{
		int64		into_day = since % USECS_PER_DAY;

		since -= into_day < 0 ? into_day + USECS_PER_DAY : into_day;
		while (first > 0 && events[first - 1].at >= since)
			first--;
	}
	mcdp_match_returns(events, n, first, since, buckets, bucket, out);
}

/* Those with bit 0 first, of these those with bit 1 first, and so on. */
static inline int
compare_event(const MatchEvent *a, const MatchEvent *b)
{
	uint64		differ = a->mask ^ b->mask;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if (differ == 0)
		return 0;
	return (a->mask & (differ & -differ)) != 0 ? -1 : 1;
}

#define ST_SORT sort_events
#define ST_ELEMENT_TYPE MatchEvent
#define ST_COMPARE(a, b) compare_event(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#define ST_CHECK_FOR_INTERRUPTS
#include "lib/sort_template.h"

void
mcdp_match_sort(MatchEvent *events, size_t n)
{
	for (size_t i = 1; i < n; i++)
	{
		if (compare_event(&events[i - 1], &events[i]) > 0)
		{
			sort_events(events, n);
			return;
		}
	}
}
