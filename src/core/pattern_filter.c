/*-------------------------------------------------------------------------
 *
 * pattern_filter.c
 *	  Values that cannot match a regular expression, found out cheaply.
 *
 * The pattern is read into its automaton of positions (Glushkov 1961): a place
 * is a character or a class of the pattern; which places come first, last and
 * after which others follows from its structure.  A value is run through it as
 * a set of places; that set is empty after a character or two of nearly every
 * value.
 *
 * Where the pattern says more than that, the filter lets more through: x{3,5}
 * is x+, x{0,2} is x*, \1 is .*, and a value with a character beyond ASCII
 * (there are some that fold to ASCII letters) always passes.
 *
 * Known: | ( ) (?: ) [ ] [^ ] . * + ? {m,n}, also followed by ?, \d \w \s,
 * \ and a sign, \1.  Not known: everything else, such as ^ $ \y [[:alpha:]]
 * (?= ) and characters beyond ASCII.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/pattern_filter.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bitutils.h"

#include "core/pattern_filter.h"

#define MAX_DEPTH 32

/* part of a pattern */
typedef struct Part
{
	bool		empty;			/* can be nothing */
	Places		first;
	Places		last;
} Part;

typedef struct Reader
{
	PatternFilter *filter;
	const char *at;
	const char *end;
	int			depth;
} Reader;

/* characters of ASCII */
typedef struct Class
{
	bool		has[128];
} Class;

static bool read_choice(Reader *r, Part *part);

static void
add_places(Places *to, const Places *from)
{
	for (int w = 0; w < FILTER_WORDS; w++)
		to->word[w] |= from->word[w];
}

static void
add_follow(PatternFilter *f, const Places *after, const Places *first)
{
	for (int p = 0; p < f->num; p++)
	{
		if (after->word[p / 64] >> (p % 64) & 1)
			add_places(&f->follow[p], first);
	}
}

/* c in both cases */
static void
class_add(Class *class, int c)
{
	class->has[c] = true;
	if (c >= 'a' && c <= 'z')
		class->has[c - 'a' + 'A'] = true;
	if (c >= 'A' && c <= 'Z')
		class->has[c - 'A' + 'a'] = true;
}

static void
class_add_range(Class *class, int from, int to)
{
	for (int c = from; c <= to; c++)
		class_add(class, c);
}

/* A place where one of these can stand. */
static bool
make_place(Reader *r, const Class *class, Part *part)
{
	PatternFilter *f = r->filter;
	int			p = f->num;

	if (p == FILTER_PLACES)
		return false;
	f->num++;
	memset(part, 0, sizeof(*part));
	part->first.word[p / 64] = part->last.word[p / 64] = UINT64CONST(1) << (p % 64);
	for (int c = 0; c < 128; c++)
	{
		if (class->has[c])
			f->accepts[c].word[p / 64] |= UINT64CONST(1) << (p % 64);
	}
	return true;
}

/* A character of the pattern, or -1. */
static int
next_char(Reader *r)
{
	if (r->at == r->end || (unsigned char) *r->at >= 128 || *r->at == '\0')
		return -1;
	return *r->at++;
}

static bool
is_next(const Reader *r, char c)
{
	return r->at < r->end && *r->at == c;
}

/* After [ */
static bool
read_class(Reader *r, Part *part)
{
	Class		class = {{false}};
	bool		others = is_next(r, '^');
	bool		begin = true;

	if (others)
		r->at++;
	for (;; begin = false)
	{
		int			from = next_char(r);
		int			to;

		if (from < 0 || from == '\\' || (from == '[' && (is_next(r, ':') || is_next(r, '.') || is_next(r, '='))))
			return false;
		if (from == ']' && !begin)
			break;
		to = from;
		if (is_next(r, '-') && r->end - r->at > 1 && r->at[1] != ']')
		{
			r->at++;
			to = next_char(r);
			if (to < from || to == '\\' || to == '[')
				return false;
		}
		if (others)
			memset(class.has + from, true, to - from + 1);
		else
			class_add_range(&class, from, to);
	}
	for (int c = 0; others && c < 128; c++)
		class.has[c] = !class.has[c];
	return make_place(r, &class, part);
}

/* After \ */
static bool
read_escape(Reader *r, Part *part)
{
	Class		class = {{false}};
	int			c = next_char(r);

	switch (c)
	{
		case 'w':
			class_add_range(&class, 'a', 'z');
			class_add(&class, '_');
			/* FALLTHROUGH */
		case 'd':
			class_add_range(&class, '0', '9');
			break;
		case 's':
			class_add(&class, ' ');
			class_add_range(&class, '\t', '\r');
			break;
		case 'D':
		case 'W':
		case 'S':
			memset(class.has, true, sizeof(class.has));
			break;
		default:
			if (c >= '1' && c <= '9' && !(r->at < r->end && *r->at >= '0' && *r->at <= '9'))
			{
				/* what a group was: anything */
				memset(class.has, true, sizeof(class.has));
				if (!make_place(r, &class, part))
					return false;
				part->empty = true;
				add_follow(r->filter, &part->last, &part->first);
				return true;
			}
			if (c <= ' ' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
				return false;
			class_add(&class, c);
	}
	return make_place(r, &class, part);
}

static bool
read_atom(Reader *r, Part *part)
{
	Class		class = {{false}};
	int			c = next_char(r);
	bool		ok;

	switch (c)
	{
		case '(':
			if (is_next(r, '?'))
			{
				r->at++;
				if (next_char(r) != ':')
					return false;
			}
			if (++r->depth > MAX_DEPTH)
				return false;
			ok = read_choice(r, part) && next_char(r) == ')';
			r->depth--;
			return ok;
		case '[':
			return read_class(r, part);
		case '\\':
			return read_escape(r, part);
		case '.':
			memset(class.has, true, sizeof(class.has));
			break;
		case -1:
		case '^':
		case '$':
		case '*':
		case '+':
		case '?':
		case '{':
			return false;
		default:
			class_add(&class, c);
	}
	return make_place(r, &class, part);
}

/* An atom and how often. */
static bool
read_piece(Reader *r, Part *part)
{
	bool		many = false;
	int			least;

	if (!read_atom(r, part))
		return false;
	if (r->at == r->end)
		return true;
	switch (*r->at)
	{
		case '*':
			part->empty = many = true;
			break;
		case '+':
			many = true;
			break;
		case '?':
			part->empty = true;
			break;
		case '{':
			many = true;
			for (least = 0, r->at++; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
				least |= *r->at - '0';
			part->empty |= least == 0;
			while (r->at < r->end && (*r->at == ',' || (*r->at >= '0' && *r->at <= '9')))
				r->at++;
			if (!is_next(r, '}'))
				return false;
			break;
		default:
			return true;
	}
	r->at++;
	if (is_next(r, '?'))
		r->at++;				/* rather few than many: the same matches */
	if (is_next(r, '*') || is_next(r, '+') || is_next(r, '?') || is_next(r, '{'))
		return false;
	if (many)
		add_follow(r->filter, &part->last, &part->first);
	return true;
}

/* Pieces one after the other. */
static bool
read_branch(Reader *r, Part *part)
{
	memset(part, 0, sizeof(*part));
	part->empty = true;
	while (r->at < r->end && *r->at != '|' && *r->at != ')')
	{
		Part		piece;

		if (!read_piece(r, &piece))
			return false;
		add_follow(r->filter, &part->last, &piece.first);
		if (part->empty)
			add_places(&part->first, &piece.first);
		if (!piece.empty)
			memset(&part->last, 0, sizeof(Places));
		add_places(&part->last, &piece.last);
		part->empty &= piece.empty;
	}
	return true;
}

static bool
read_choice(Reader *r, Part *part)
{
	if (!read_branch(r, part))
		return false;
	while (is_next(r, '|'))
	{
		Part		other;

		r->at++;
		if (!read_branch(r, &other))
			return false;
		part->empty |= other.empty;
		add_places(&part->first, &other.first);
		add_places(&part->last, &other.last);
	}
	return true;
}

bool
mcdp_filter_make(PatternFilter *filter, const char *pattern, size_t len)
{
	Reader		r = {filter, pattern, pattern + len, 0};
	Part		all;

	memset(filter, 0, sizeof(*filter));
	if (!read_choice(&r, &all) || r.at != r.end)
		return false;
	filter->empty = all.empty;
	filter->first = all.first;
	filter->last = all.last;
	return true;
}

bool
mcdp_filter_passes(const PatternFilter *filter, const char *value, size_t len)
{
	Places		here;
	uint64		any = 0;

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = value[i];
		Places		next = filter->first;

		if (c >= 128)
			return true;
		if (i > 0)
		{
			memset(&next, 0, sizeof(next));
			for (int w = 0; w < FILTER_WORDS; w++)
			{
				for (uint64 left = here.word[w]; left; left &= left - 1)
					add_places(&next, &filter->follow[w * 64 + pg_rightmost_one_pos64(left)]);
			}
		}
		any = 0;
		for (int w = 0; w < FILTER_WORDS; w++)
			any |= here.word[w] = next.word[w] & filter->accepts[c].word[w];
		if (!any)
			return false;
	}
	if (len == 0)
		return filter->empty;
	any = 0;
	for (int w = 0; w < FILTER_WORDS; w++)
		any |= here.word[w] & filter->last.word[w];
	return any != 0;
}
