/*-------------------------------------------------------------------------
 *
 * criteria_print.c
 *	  Canonical text of rules.
 *
 * What is printed parses back to the same tree, and two texts of one rule
 * print alike: quotes only where a name needs them, parentheses only where
 * the meaning needs them (and round a negated comparison, for the reader),
 * numbers in their shortest form, durations in the largest of d, h, min, s
 * that divides them.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_print.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/shortest_dec.h"
#include "miscadmin.h"

#include "types/criteria_parse.h"

static void print_node(StringInfo out, const CriteriaNode *node);

static void
print_quoted(StringInfo out, const char *str, int len)
{
	appendStringInfoChar(out, '"');
	for (int i = 0; i < len; i++)
	{
		if (str[i] == '"')
			appendStringInfoChar(out, '"');
		appendStringInfoChar(out, str[i]);
	}
	appendStringInfoChar(out, '"');
}

static void
print_name(StringInfo out, const char *str, int len)
{
	if (mcdp_criteria_is_plain(str, len))
		appendBinaryStringInfo(out, str, len);
	else
		print_quoted(out, str, len);
}

/* key:value is split at the first colon that has something on both sides. */
static void
print_tag(StringInfo out, const char *tag, int len)
{
	const char *colon = memchr(tag, ':', len);

	if (colon == NULL || colon == tag || colon == tag + len - 1)
		print_name(out, tag, len);
	else
	{
		print_name(out, tag, colon - tag);
		appendStringInfoChar(out, ':');
		print_name(out, colon + 1, len - (colon + 1 - tag));
	}
}

static void
print_length(StringInfo out, int64 usec)
{
	if (usec % USECS_PER_DAY == 0)
		appendStringInfo(out, INT64_FORMAT "d", usec / USECS_PER_DAY);
	else if (usec % USECS_PER_HOUR == 0)
		appendStringInfo(out, INT64_FORMAT "h", usec / USECS_PER_HOUR);
	else if (usec % USECS_PER_MINUTE == 0)
		appendStringInfo(out, INT64_FORMAT "min", usec / USECS_PER_MINUTE);
	else if (usec % USECS_PER_SEC == 0)
		appendStringInfo(out, INT64_FORMAT "s", usec / USECS_PER_SEC);
	else						/* no constant, a measured one */
	{
		int64		length = usec < 0 ? -usec : usec;

		appendStringInfo(out, "%s" INT64_FORMAT ".%06ds", usec < 0 ? "-" : "",
						 length / USECS_PER_SEC, (int) (length % USECS_PER_SEC));
	}
}

static void
print_date(StringInfo out, TimestampTz date)
{
	/* days since 0000-03-01, then years that begin in March */
	int64		days = date / USECS_PER_DAY + 730425;
	int			era = days / 146097;
	int			of_era = days % 146097;
	int			year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int			of_year = of_era - (365 * year + year / 4 - year / 100);
	int			month = (5 * of_year + 2) / 153;

	year += era * 400 + (month >= 10 ? 1 : 0);
	appendStringInfo(out, "%04d-%02d-%02d", year, month < 10 ? month + 3 : month - 9,
					 of_year - (153 * month + 2) / 5 + 1);
}

void
mcdp_criteria_print_const(StringInfo out, const CriteriaConst *value)
{
	char		number[DOUBLE_SHORTEST_DECIMAL_LEN];

	switch (value->type)
	{
		case CRITERIA_NUMBER:
			double_to_shortest_decimal_buf(value->number, number);
			appendStringInfoString(out, number);
			break;
		case CRITERIA_LENGTH:
			print_length(out, value->length);
			break;
		case CRITERIA_TEXT:
			print_quoted(out, value->text, value->len);
			break;
		case CRITERIA_DATE:
			print_date(out, value->date);
			break;
		case CRITERIA_BOOLEAN:
			appendStringInfoString(out, value->boolean ? "true" : "false");
			break;
		case CRITERIA_OTHER:
			break;
	}
}

const char *
mcdp_criteria_measure_name(CriteriaMeasure measure)
{
	static const char *const names[] = {
		NULL, "trait", "count", "sum", "avg", "min", "max", "days", "labels",
		"first", "last", "due", "first_label", "last_label", "top_label"
	};

	return names[measure];
}

static void
print_comparison(StringInfo out, CriteriaCmp cmp, const CriteriaConst *consts, int num_consts)
{
	static const char *const signs[] = {NULL, " = ", " != ", " < ", " <= ", " > ", " >= "};

	switch (cmp)
	{
		case CRITERIA_IN:
			appendStringInfoString(out, " in (");
			for (int i = 0; i < num_consts; i++)
			{
				if (i > 0)
					appendStringInfoString(out, ", ");
				mcdp_criteria_print_const(out, &consts[i]);
			}
			appendStringInfoChar(out, ')');
			break;
		case CRITERIA_BETWEEN:
			appendStringInfoString(out, " between ");
			mcdp_criteria_print_const(out, &consts[0]);
			appendStringInfoString(out, " and ");
			mcdp_criteria_print_const(out, &consts[1]);
			break;
		default:
			appendStringInfoString(out, signs[cmp]);
			mcdp_criteria_print_const(out, &consts[0]);
	}
}

static void
print_event(StringInfo out, const CriteriaEvent *event)
{
	if (event->name == NULL)
	{
		appendStringInfoChar(out, '*');
		return;
	}
	print_name(out, event->name, event->name_len);
	switch (event->label_type)
	{
		case CRITERIA_ANY_LABEL:
			break;
		case CRITERIA_LABEL:
			appendStringInfoChar(out, '[');
			print_name(out, event->label, event->label_len);
			appendStringInfoChar(out, ']');
			break;
		case CRITERIA_BOUND_LABEL:
			appendStringInfoString(out, "[$]");
			break;
		case CRITERIA_LABEL_SET:
			appendStringInfoString(out, "[@");
			print_name(out, event->label, event->label_len);
			appendStringInfoChar(out, ']');
			break;
	}
	for (const CriteriaCondition *c = event->conditions; c != NULL; c = c->next)
	{
		appendStringInfoString(out, c == event->conditions ? "{" : ", ");
		print_name(out, c->key, c->key_len);
		print_comparison(out, c->cmp, c->consts, c->num_consts);
	}
	if (event->conditions != NULL)
		appendStringInfoChar(out, '}');
}

static void
print_window(StringInfo out, const CriteriaWindow *window)
{
	switch (window->type)
	{
		case CRITERIA_ALWAYS:
			break;
		case CRITERIA_WITHIN:
			appendStringInfoString(out, ", ");
			print_length(out, window->older);
			break;
		case CRITERIA_AGO:
			appendStringInfoString(out, ", ");
			print_length(out, window->older);
			appendStringInfoString(out, "..");
			print_length(out, window->newer);
			break;
		case CRITERIA_DATES:
			appendStringInfoString(out, ", ");
			print_date(out, window->since);
			appendStringInfoString(out, "..");
			print_date(out, window->until);
			break;
	}
}

static void
print_steps(StringInfo out, const CriteriaStep *steps)
{
	for (const CriteriaStep *step = steps; step != NULL; step = step->next)
	{
		if (step != steps)
		{
			appendStringInfoString(out, " ->");
			if (step->has_gap)
			{
				appendStringInfoChar(out, '(');
				print_length(out, step->gap);
				appendStringInfoChar(out, ')');
			}
			appendStringInfoChar(out, ' ');
		}
		if (step->negated)
			appendStringInfoChar(out, '!');
		print_event(out, &step->event);
	}
}

/* An operand, in parentheses if it is weaker than the operator it stands under. */
static void
print_operand(StringInfo out, const CriteriaNode *node, bool parentheses)
{
	if (parentheses)
		appendStringInfoChar(out, '(');
	print_node(out, node);
	if (parentheses)
		appendStringInfoChar(out, ')');
}

static void
print_node(StringInfo out, const CriteriaNode *node)
{
	check_stack_depth();
	switch (node->op)
	{
		case CRITERIA_ALL:
			appendStringInfoString(out, "all");
			break;
		case CRITERIA_NONE:
			appendStringInfoString(out, "none");
			break;
		case CRITERIA_TAG:
			print_tag(out, node->name, node->name_len);
			break;
		case CRITERIA_AND:
		case CRITERIA_OR:
			for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
			{
				if (child != node->child)
					appendStringInfoString(out, node->op == CRITERIA_AND ? " & " : " | ");
				print_operand(out, child, child->op == CRITERIA_OR);
			}
			break;
		case CRITERIA_NOT:
			appendStringInfoChar(out, '!');
			print_operand(out, node->child,
						  node->child->op == CRITERIA_AND || node->child->op == CRITERIA_OR ||
						  node->child->op == CRITERIA_COMPARE);
			break;
		case CRITERIA_COMPARE:
			if (node->measure == CRITERIA_TRAIT)
				print_name(out, node->name, node->name_len);
			else
			{
				appendStringInfoString(out, mcdp_criteria_measure_name(node->measure));
				appendStringInfoChar(out, '(');
				print_event(out, &node->event);
				print_window(out, &node->window);
				appendStringInfoChar(out, ')');
			}
			print_comparison(out, node->cmp, node->consts, node->num_consts);
			break;
		case CRITERIA_SEQ:
			appendStringInfoString(out, "seq(");
			print_steps(out, node->steps);
			print_window(out, &node->window);
			appendStringInfoChar(out, ')');
			break;
		case CRITERIA_ANY:
			appendStringInfoString(out, "any(");
			print_event(out, &node->event);
			appendStringInfoString(out, ": ");
			print_node(out, node->child);
			appendStringInfoChar(out, ')');
			break;
	}
}

char *
mcdp_criteria_print(const CriteriaNode *node)
{
	StringInfoData out;

	initStringInfo(&out);
	print_node(&out, node);
	return out.data;
}
