/*-------------------------------------------------------------------------
 *
 * criteria_parse.c
 *	  Entry point of the rule parser, and the makers its grammar calls.
 *
 * Makers build nodes with palloc and check what the grammar cannot: the type
 * of a constant, a day of the calendar, the depth of the tree.  A chain of
 * equal operators becomes one node, however it was parenthesised.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_parse.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "common/int.h"

#include "core/iso_time.h"
#include "types/criteria_parse.h"

CriteriaNode *
mcdp_criteria_parse(const char *text, size_t len, CriteriaError *err)
{
	CriteriaParser p = {0};

	memset(err, 0, sizeof(*err));
	p.text = text;
	p.len = len;
	p.err = err;
	if (len > CRITERIA_MAX_LENGTH)
	{
		err->limit = true;
		mcdp_criteria_fail(&p, CRITERIA_MAX_LENGTH, "A rule must have at most %d bytes.",
						   CRITERIA_MAX_LENGTH);
		return NULL;
	}
	if (len > 0 && memchr(text, '\0', len) != NULL)
	{
		mcdp_criteria_fail(&p, (const char *) memchr(text, '\0', len) - text,
						   "A rule must not contain a zero byte.");
		return NULL;
	}
	if (!mcdp_criteria_run_parser(&p) || p.failed)
		return NULL;
	return p.result;
}

void
mcdp_criteria_fail(CriteriaParser *p, int pos, const char *format,...)
{
	va_list		args;

	if (p->failed)
		return;
	p->failed = true;
	p->err->offset = pos;
	va_start(args, format);
	vsnprintf(p->err->detail, sizeof(p->err->detail), format, args);
	va_end(args);
}

const char *
mcdp_criteria_excerpt(const char *str, int len, char buf[48])
{
	int			n = 0;

	while (n < len)
	{
		int			step = mcdp_criteria_char_len(str + n, len - n);

		if (n + step > 40)
			break;
		n += step;
	}
	memcpy(buf, str, n);
	strcpy(buf + n, n < len ? "..." : "");
	return buf;
}

int
mcdp_criteria_character(const CriteriaParser *p, int pos)
{
	int			count = 1;

	for (int i = 0; i < pos && i < p->len; count++)
		i += mcdp_criteria_char_len(p->text + i, p->len - i);
	return count;
}

/* ---- numbers, durations, days ---- */

static int
skip_digits(const char *s, int i)
{
	while (isdigit((unsigned char) s[i]))
		i++;
	return i;
}

/* [-] digits [. digits] [e [+-] digits], or [-] . digits …: a number, not more. */
static bool
looks_like_number(CriteriaText word)
{
	const char *s = word.str;
	int			i = (s[0] == '-') ? 1 : 0;
	int			start = i;
	bool		digits;

	i = skip_digits(s, i);
	digits = i > start;
	if (s[i] == '.')
	{
		start = i + 1;
		i = skip_digits(s, start);
		if (i == start)
			return false;
		digits = true;
	}
	if (!digits)
		return false;
	if (s[i] == 'e' || s[i] == 'E')
	{
		i++;
		if (s[i] == '+' || s[i] == '-')
			i++;
		start = i;
		i = skip_digits(s, i);
		if (i == start)
			return false;
	}
	return i == word.len;
}

/* digits and a unit: 30d.  *overflow is set when it is one, but too long. */
static bool
length_of(CriteriaText word, int64 *usec, bool *overflow)
{
	static const struct
	{
		const char *unit;
		int64		usec;
	}			units[] =
	{
		{"s", USECS_PER_SEC},
		{"min", USECS_PER_MINUTE},
		{"h", USECS_PER_HOUR},
		{"d", USECS_PER_DAY},
		{"w", 7 * USECS_PER_DAY},
		{"mo", 30 * USECS_PER_DAY},
		{"y", 365 * USECS_PER_DAY},
	};
	int			digits = skip_digits(word.str, 0);
	int64		n = 0;

	*overflow = false;
	if (digits == 0)
		return false;
	for (size_t u = 0; u < lengthof(units); u++)
	{
		if (strcmp(word.str + digits, units[u].unit) != 0)
			continue;
		for (int i = 0; i < digits && !*overflow; i++)
			*overflow = pg_mul_s64_overflow(n, 10, &n) ||
				pg_add_s64_overflow(n, word.str[i] - '0', &n);
		if (!*overflow)
			*overflow = pg_mul_s64_overflow(n, units[u].usec, usec);
		return true;
	}
	return false;
}

bool
mcdp_criteria_read_length(CriteriaParser *p, int pos, CriteriaText word, int64 *usec)
{
	bool		overflow;
	char		buf[48];

	if (!length_of(word, usec, &overflow))
	{
		mcdp_criteria_fail(p, pos, "\"%s\" at character %d is no duration such as 12h, 30d, 2w, 3mo or 1y.",
						   mcdp_criteria_excerpt(word.str, word.len, buf),
						   mcdp_criteria_character(p, pos));
		return false;
	}
	if (overflow)
	{
		mcdp_criteria_fail(p, pos, "Duration \"%s\" at character %d is too long.",
						   mcdp_criteria_excerpt(word.str, word.len, buf),
						   mcdp_criteria_character(p, pos));
		return false;
	}
	return true;
}

static bool
check_date(CriteriaParser *p, int pos, CriteriaText word, bool valid)
{
	if (!valid)
		mcdp_criteria_fail(p, pos, "There is no day \"%s\" (character %d).",
						   word.str, mcdp_criteria_character(p, pos));
	return valid;
}

/* ---- constants ---- */

CriteriaConstCell *
mcdp_criteria_make_text(int pos, CriteriaText text)
{
	CriteriaConstCell *cell = palloc0(sizeof(CriteriaConstCell));

	cell->pos = pos;
	cell->value.type = CRITERIA_TEXT;
	cell->value.text = text.str;
	cell->value.len = text.len;
	return cell;
}

CriteriaConstCell *
mcdp_criteria_make_const(CriteriaParser *p, int pos, CriteriaText word)
{
	CriteriaConstCell *cell = palloc0(sizeof(CriteriaConstCell));
	CriteriaConst *value = &cell->value;
	bool		flag;
	char		buf[48];

	cell->pos = pos;
	if (strcmp(word.str, "true") == 0 || strcmp(word.str, "false") == 0)
	{
		value->type = CRITERIA_BOOLEAN;
		value->boolean = word.str[0] == 't';
	}
	else if (looks_like_number(word))
	{
		value->type = CRITERIA_NUMBER;
		value->number = strtod(word.str, NULL);
		if (isinf(value->number))
		{
			mcdp_criteria_fail(p, pos, "Number \"%s\" at character %d is out of range.",
							   mcdp_criteria_excerpt(word.str, word.len, buf),
							   mcdp_criteria_character(p, pos));
			return NULL;
		}
		if (value->number == 0)
			value->number = 0;	/* no -0 */
	}
	else if (mcdp_iso_date(word.str, word.len, &value->date, &flag))
	{
		value->type = CRITERIA_DATE;
		if (!check_date(p, pos, word, flag))
			return NULL;
	}
	else if (length_of(word, &value->length, &flag))
	{
		value->type = CRITERIA_LENGTH;
		if (flag && !mcdp_criteria_read_length(p, pos, word, &value->length))
			return NULL;
	}
	else
	{
		mcdp_criteria_fail(p, pos, "\"%s\" at character %d is no number, duration, date, true or false; "
						   "a text needs double quotes.",
						   mcdp_criteria_excerpt(word.str, word.len, buf),
						   mcdp_criteria_character(p, pos));
		return NULL;
	}
	return cell;
}

CriteriaComparison *
mcdp_criteria_make_comparison(CriteriaCmp cmp, CriteriaConstCell *value)
{
	CriteriaComparison *list = palloc(sizeof(CriteriaComparison));

	list->cmp = cmp;
	list->first = list->last = value;
	list->num_consts = 1;
	return list;
}

void
mcdp_criteria_add_const(CriteriaComparison *list, CriteriaConstCell *value)
{
	list->last->next = value;
	list->last = value;
	list->num_consts++;
}

static const char *
type_words(CriteriaConstType type)
{
	switch (type)
	{
		case CRITERIA_NUMBER:
			return "a number";
		case CRITERIA_LENGTH:
			return "a duration";
		case CRITERIA_TEXT:
			return "a quoted text";
		case CRITERIA_DATE:
			return "a date";
		case CRITERIA_BOOLEAN:
			return "true or false";
		case CRITERIA_OTHER:
			break;
	}
	return NULL;
}

/* Move the constants into an array, all of type "wanted" (OTHER = any). */
static CriteriaConst *
take_consts(CriteriaParser *p, const CriteriaComparison *right, CriteriaConstType wanted,
			const char *what)
{
	CriteriaConst *consts = palloc(right->num_consts * sizeof(CriteriaConst));
	int			n = 0;

	for (CriteriaConstCell *cell = right->first; cell != NULL; cell = cell->next)
	{
		if (wanted != CRITERIA_OTHER && cell->value.type != wanted)
		{
			mcdp_criteria_fail(p, cell->pos, "%s is compared with %s, but at character %d stands %s.",
							   what, type_words(wanted),
							   mcdp_criteria_character(p, cell->pos),
							   type_words(cell->value.type));
			return NULL;
		}
		consts[n++] = cell->value;
	}
	if (right->cmp == CRITERIA_BETWEEN && consts[0].type != consts[1].type)
	{
		mcdp_criteria_fail(p, right->last->pos,
						   "Both ends of \"between\" must be of one type, but at character %d stands %s.",
						   mcdp_criteria_character(p, right->last->pos),
						   type_words(consts[1].type));
		return NULL;
	}
	return consts;
}

/* ---- nodes ---- */

CriteriaNode *
mcdp_criteria_make(CriteriaOp op)
{
	CriteriaNode *node = palloc0(sizeof(CriteriaNode));

	node->op = op;
	node->depth = 1;
	return node;
}

static void
append_child(CriteriaNode *parent, CriteriaNode *child)
{
	if (parent->child == NULL)
		parent->child = child;
	else
		parent->last_child->next = child;
	parent->last_child = child;
	parent->num_children++;
	parent->depth = Max(parent->depth, child->depth + 1);
}

static CriteriaNode *
check_depth(CriteriaParser *p, int pos, CriteriaNode *node)
{
	if (node->depth <= CRITERIA_MAX_DEPTH)
		return node;
	mcdp_criteria_fail(p, pos, "The rule is nested too deeply at character %d.",
					   mcdp_criteria_character(p, pos));
	p->err->limit = true;
	return NULL;
}

CriteriaNode *
mcdp_criteria_make_unary(CriteriaParser *p, int pos, CriteriaOp op, CriteriaNode *operand)
{
	CriteriaNode *node = mcdp_criteria_make(op);

	append_child(node, operand);
	return check_depth(p, pos, node);
}

CriteriaNode *
mcdp_criteria_make_list(CriteriaParser *p, int pos, CriteriaOp op, CriteriaNode *left,
						CriteriaNode *right)
{
	CriteriaNode *node = left;

	if (left->op != op)
	{
		node = mcdp_criteria_make(op);
		append_child(node, left);
	}
	if (right->op == op)
	{
		node->last_child->next = right->child;
		node->last_child = right->last_child;
		node->num_children += right->num_children;
		node->depth = Max(node->depth, right->depth);
	}
	else
		append_child(node, right);
	return check_depth(p, pos, node);
}

/* A tag is one text; key:value and "key:value" are the same tag. */
CriteriaNode *
mcdp_criteria_make_tag(CriteriaParser *p, int pos, CriteriaText key, const CriteriaText *value)
{
	CriteriaNode *node = mcdp_criteria_make(CRITERIA_TAG);

	node->name = key.str;
	node->name_len = key.len;
	if (value != NULL)
	{
		char	   *tag = palloc((Size) key.len + value->len + 2);

		memcpy(tag, key.str, key.len);
		tag[key.len] = ':';
		memcpy(tag + key.len + 1, value->str, value->len + 1);
		node->name = tag;
		node->name_len = key.len + 1 + value->len;
	}
	if (node->name_len == 0)
	{
		mcdp_criteria_fail(p, pos, "The tag at character %d is empty.",
						   mcdp_criteria_character(p, pos));
		return NULL;
	}
	return node;
}

CriteriaNode *
mcdp_criteria_make_trait(CriteriaParser *p, int pos, CriteriaText name)
{
	CriteriaNode *node = mcdp_criteria_make(CRITERIA_COMPARE);

	node->measure = CRITERIA_TRAIT;
	node->name = name.str;
	node->name_len = name.len;
	if (name.len == 0)
	{
		mcdp_criteria_fail(p, pos, "The name of the trait at character %d is empty.",
						   mcdp_criteria_character(p, pos));
		return NULL;
	}
	return node;
}

CriteriaNode *
mcdp_criteria_make_measure(CriteriaMeasure measure, CriteriaEvent *event,
						   const CriteriaWindow *window)
{
	CriteriaNode *node = mcdp_criteria_make(CRITERIA_COMPARE);

	node->measure = measure;
	node->event = *event;
	node->window = *window;
	return node;
}

CriteriaNode *
mcdp_criteria_make_compare(CriteriaParser *p, int pos, CriteriaNode *measure,
						   CriteriaComparison *right)
{
	CriteriaConstType wanted = CRITERIA_NUMBER;
	char		what[32];

	switch (measure->measure)
	{
		case CRITERIA_TRAIT:
			wanted = CRITERIA_OTHER;
			break;
		case CRITERIA_FIRST:
		case CRITERIA_LAST:
		case CRITERIA_DUE:
			wanted = CRITERIA_LENGTH;
			break;
		case CRITERIA_FIRST_LABEL:
		case CRITERIA_LAST_LABEL:
		case CRITERIA_TOP_LABEL:
			wanted = CRITERIA_TEXT;
			break;
		default:
			break;
	}
	snprintf(what, sizeof(what), "\"%s\"", mcdp_criteria_measure_name(measure->measure));
	measure->cmp = right->cmp;
	measure->num_consts = right->num_consts;
	measure->consts = take_consts(p, right, wanted, what);
	return measure->consts ? measure : NULL;
}

CriteriaCondition *
mcdp_criteria_make_condition(CriteriaParser *p, CriteriaText key, CriteriaComparison *right)
{
	CriteriaCondition *condition = palloc0(sizeof(CriteriaCondition));

	condition->key = key.str;
	condition->key_len = key.len;
	condition->cmp = right->cmp;
	condition->num_consts = right->num_consts;
	condition->consts = take_consts(p, right, CRITERIA_OTHER, NULL);
	return condition->consts ? condition : NULL;
}

/*
 * Steps are a circular list.  A length before a negated step has a meaning at
 * the end of a sequence only: "and not for so long after".
 */
bool
mcdp_criteria_add_step(CriteriaParser *p, int pos, CriteriaStep *last, CriteriaStep *step)
{
	step->number = last->number + 1;
	if (step->number > CRITERIA_MAX_STEPS)
	{
		mcdp_criteria_fail(p, pos, "The sequence has more than %d steps at character %d.",
						   CRITERIA_MAX_STEPS, mcdp_criteria_character(p, pos));
		p->err->limit = true;
		return false;
	}
	if (last->ends && !step->negated)
	{
		mcdp_criteria_fail(p, pos, "A length before a negated step has a meaning only at the end of a sequence, but a step follows at character %d.",
						   mcdp_criteria_character(p, pos));
		return false;
	}
	step->ends = step->negated && (step->has_gap || last->ends);
	step->next = last->next;
	last->next = step;
	return true;
}

/* ---- windows ---- */

bool
mcdp_criteria_make_within(CriteriaParser *p, int pos, CriteriaText length, CriteriaWindow *out)
{
	memset(out, 0, sizeof(*out));
	out->type = CRITERIA_WITHIN;
	return mcdp_criteria_read_length(p, pos, length, &out->older);
}

bool
mcdp_criteria_make_range(CriteriaParser *p, int pos, CriteriaText from, int to_pos,
						 CriteriaText to, CriteriaWindow *out)
{
	bool		from_valid,
				to_valid;
	bool		from_date,
				to_date;

	memset(out, 0, sizeof(*out));
	from_date = mcdp_iso_date(from.str, from.len, &out->since, &from_valid);
	to_date = mcdp_iso_date(to.str, to.len, &out->until, &to_valid);
	if (from_date && to_date)
	{
		out->type = CRITERIA_DATES;
		if (!check_date(p, pos, from, from_valid) || !check_date(p, to_pos, to, to_valid))
			return false;
		if (out->since <= out->until)
			return true;
	}
	else
	{
		memset(out, 0, sizeof(*out));
		out->type = CRITERIA_AGO;
		if (from_date || to_date)
		{
			mcdp_criteria_fail(p, pos, "Both ends of the window at character %d must be dates, or both durations.",
							   mcdp_criteria_character(p, pos));
			return false;
		}
		if (!mcdp_criteria_read_length(p, pos, from, &out->older) ||
			!mcdp_criteria_read_length(p, to_pos, to, &out->newer))
			return false;
		if (out->older >= out->newer)
			return true;
	}
	mcdp_criteria_fail(p, pos, "The window at character %d ends before it begins.",
					   mcdp_criteria_character(p, pos));
	return false;
}
