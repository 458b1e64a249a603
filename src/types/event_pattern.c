/*-------------------------------------------------------------------------
 *
 * event_pattern.c
 *	  Reads the two pattern languages.
 *
 * Over timelines:
 *
 *	   pattern = step { arrow [ "!" ] step }
 *	   arrow   = "->" [ "(" length ")" ]
 *	   step    = "*" | name [ "[" name "]" ]
 *	   name    = letters, digits and _, with - . / inside, or "double quoted"
 *	   length  = digits and one of s min h d w mo y
 *
 * Over rows, as in ClickHouse: (?N) the N-th condition, . any row, .* any
 * number of rows, (?t<=SECONDS) and <, >, >=, == for the time between the
 * steps around it.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_pattern.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "types/event_match.h"

typedef struct PatternReader
{
	const char *start;
	const char *p;
	const char *end;
	MatchError *err;
} PatternReader;

static bool
fail(PatternReader *r, const char *detail)
{
	strlcpy(r->err->detail, detail, sizeof(r->err->detail));
	r->err->offset = r->p - r->start;
	r->err->unsupported = false;
	return false;
}

static bool
refuse(PatternReader *r, const char *detail)
{
	fail(r, detail);
	r->err->unsupported = true;
	return false;
}

static void
skip_blanks(PatternReader *r)
{
	while (r->p < r->end && (*r->p == ' ' || (*r->p >= '\t' && *r->p <= '\r')))
		r->p++;
}

static bool
accept(PatternReader *r, const char *s)
{
	size_t		len = strlen(s);

	if (r->end - r->p < len || memcmp(r->p, s, len) != 0)
		return false;
	r->p += len;
	return true;
}

static bool
read_digits(PatternReader *r, int64 *n, bool *overflow)
{
	const char *first = r->p;

	*n = 0;
	*overflow = false;
	for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++)
		*overflow = *overflow || pg_mul_s64_overflow(*n, 10, n) ||
			pg_add_s64_overflow(*n, *r->p - '0', n);
	return r->p > first;
}

/* ------------------------------------------------------------- timelines */

static bool
in_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '_' || (c & 0x80) != 0;
}

static bool
read_name(PatternReader *r, const char *expected, const char **name, int *len)
{
	const char *first;

	skip_blanks(r);
	first = r->p;
	if (accept(r, "\""))
	{
		char	   *out = palloc(r->end - r->p + 1);

		*name = out;
		while (r->p < r->end)
		{
			if (*r->p == '"')
			{
				r->p++;
				if (r->p == r->end || *r->p != '"')
				{
					*len = out - *name;
					return true;
				}
			}
			*out++ = *r->p++;
		}
		r->p = first;
		return fail(r, "Found a double quote that is not closed");
	}
	while (r->p < r->end && in_name(*r->p))
	{
		const char *joint;

		r->p++;
		for (joint = r->p; joint < r->end && (*joint == '-' || *joint == '.' || *joint == '/'); joint++)
			;
		if (joint < r->end && in_name(*joint))
			r->p = joint;
	}
	if (r->p == first)
		return fail(r, expected);
	*len = r->p - first;
	*name = pnstrdup(first, *len);
	return true;
}

static bool
read_length(PatternReader *r, int64 *usec)
{
	static const struct
	{
		const char *unit;
		int64		usec;
	}			units[] = {
		{"s", USECS_PER_SEC},
		{"min", USECS_PER_MINUTE},
		{"h", USECS_PER_HOUR},
		{"d", USECS_PER_DAY},
		{"w", 7 * USECS_PER_DAY},
		{"mo", 30 * USECS_PER_DAY},
		{"y", 365 * USECS_PER_DAY},
	};
	const char *first;
	const char *unit;
	int64		n;
	bool		overflow;

	skip_blanks(r);
	first = r->p;
	if (read_digits(r, &n, &overflow))
	{
		for (unit = r->p; r->p < r->end && in_name(*r->p); r->p++)
			;
		for (int u = 0; u < lengthof(units); u++)
		{
			if (strlen(units[u].unit) != r->p - unit || memcmp(units[u].unit, unit, r->p - unit) != 0)
				continue;
			if (!overflow && !pg_mul_s64_overflow(n, units[u].usec, usec))
				return true;
			r->p = first;
			return fail(r, "Found a length that is too long");
		}
	}
	r->p = first;
	return fail(r, "Expected a length such as 12h, 30d, 2w, 3mo or 1y");
}

static bool
read_step(PatternReader *r, MatchTest *test)
{
	memset(test, 0, sizeof(MatchTest));
	skip_blanks(r);
	if (accept(r, "*"))
		return true;
	if (!read_name(r, "Expected the name of an event", &test->event, &test->event_len))
		return false;
	skip_blanks(r);
	if (accept(r, "["))
	{
		skip_blanks(r);
		if (r->p < r->end && (*r->p == '$' || *r->p == '@'))
			return refuse(r, "A bound label or a label set has a meaning in rules only");
		if (!read_name(r, "Expected a label", &test->label, &test->label_len))
			return false;
		skip_blanks(r);
		if (!accept(r, "]"))
			return fail(r, "Expected \"]\"");
		skip_blanks(r);
	}
	if (r->p < r->end && *r->p == '{')
		return refuse(r, "Conditions on properties have a meaning in rules only");
	return true;
}

bool
mcdp_pattern_parse(const char *s, int len, MatchPattern *p, MatchError *err)
{
	PatternReader r = {s, s, s + len, err};
	bool		has_gap = false;
	int64		gap = MATCH_NO_GAP;

	p->nsteps = p->ntrailing = p->ntests = 0;
	for (;;)
	{
		bool		negated;
		int			bit = p->ntests;
		const char *first;

		skip_blanks(&r);
		first = r.p;
		if (bit == MATCH_MAX_STEPS)
			return fail(&r, "Found more than 64 steps");
		negated = accept(&r, "!");
		if (negated && p->nsteps == 0)
		{
			r.p = first;
			return fail(&r, "Expected an event: a pattern begins with one that happened");
		}
		if (!read_step(&r, &p->tests[bit]))
			return false;
		p->ntests++;
		if (negated)
		{
			/* until a step follows, it is a trailing one */
			p->trailing[p->ntrailing].bit = bit;
			p->trailing[p->ntrailing++].gap = gap;
		}
		else
		{
			MatchStep  *step = &p->steps[p->nsteps++];

			memset(step, 0, sizeof(MatchStep));
			step->bit = bit;
			step->max_gap = gap;
			for (int i = 0; i < p->ntrailing; i++)
			{
				if (p->trailing[i].gap != MATCH_NO_GAP)
				{
					r.p = first;
					return fail(&r, "A length before a negated step has a meaning only at the end of a pattern, but a step follows");
				}
				step->forbidden |= UINT64CONST(1) << p->trailing[i].bit;
			}
			p->ntrailing = 0;
		}

		skip_blanks(&r);
		if (r.p == r.end)
			return true;
		if (!accept(&r, "->"))
			return fail(&r, "Expected \"->\"");
		skip_blanks(&r);
		gap = MATCH_NO_GAP;
		has_gap = accept(&r, "(");
		if (has_gap)
		{
			if (!read_length(&r, &gap))
				return false;
			skip_blanks(&r);
			if (!accept(&r, ")"))
				return fail(&r, "Expected \")\"");
		}
	}
}

/* ------------------------------------------------------------------ rows */

bool
mcdp_row_pattern_parse(const char *s, int len, int nconditions, MatchPattern *p, MatchError *err)
{
	PatternReader r = {s, s, s + len, err};
	bool		apart = true;	/* rows may lie between this step and the last */
	bool		timed = false;
	MatchStep	next = {0};

	p->nsteps = p->ntrailing = p->ntests = 0;
	next.max_gap = MATCH_NO_GAP;
	for (;;)
	{
		const char *first;
		bool		any = false;
		int64		n;
		bool		overflow;

		skip_blanks(&r);
		first = r.p;
		if (r.p == r.end)
		{
			if (p->nsteps == 0)
				return fail(&r, "Expected an event such as (?1)");
			if (timed)
				return fail(&r, "Expected an event: a time condition stands between two of them");
			return true;
		}
		if (accept(&r, ".*"))
		{
			apart = true;
			continue;
		}
		if (accept(&r, "(?t"))
		{
			bool		less = accept(&r, "<");
			bool		more = !less && accept(&r, ">");
			bool		equal = accept(&r, less || more ? "=" : "==");

			if (!less && !more && !equal)
				return fail(&r, "Expected <=, <, >=, > or ==");
			if (p->nsteps == 0)
			{
				r.p = first;
				return fail(&r, "Expected an event: a time condition stands between two of them");
			}
			if (!read_digits(&r, &n, &overflow))
				return fail(&r, "Expected a number of seconds");
			if (overflow || pg_mul_s64_overflow(n, USECS_PER_SEC, &n))
				return fail(&r, "Found a number of seconds that is too large");
			if (!accept(&r, ")"))
				return fail(&r, "Expected \")\"");
			if (!less)
				next.min_gap = Max(next.min_gap, more && !equal ? n + 1 : n);
			if (!more)
				next.max_gap = Min(next.max_gap, less && !equal ? n - 1 : n);
			apart = timed = true;
			continue;
		}
		if (accept(&r, "."))
			any = true;
		else if (!accept(&r, "(?"))
			return fail(&r, "Expected (?1), (?t<=1), . or .*");
		if (!any)
		{
			if (!read_digits(&r, &n, &overflow))
				return fail(&r, "Expected the number of a condition");
			if (overflow || n < 1 || n > nconditions)
			{
				r.p = first;
				return fail(&r, "Found the number of a condition that was not given");
			}
			if (!accept(&r, ")"))
				return fail(&r, "Expected \")\"");
		}
		if (p->nsteps == MATCH_MAX_STEPS)
			return fail(&r, "Found more than 64 events");
		next.bit = any ? -1 : (int) n - 1;
		next.adjacent = !apart;
		p->steps[p->nsteps++] = next;
		memset(&next, 0, sizeof(next));
		next.max_gap = MATCH_NO_GAP;
		apart = timed = false;
	}
}
