/*-------------------------------------------------------------------------
 *
 * criteria_store.c
 *	  Stored form of rules.
 *
 * Layout, version 1, behind the varlena header (one or four bytes):
 *
 *		byte		format version (1)
 *		node		the rule, in preorder:
 *			byte		op (CriteriaOp)
 *			TAG			string
 *			AND, OR		uint32 number of operands, then the operands
 *			NOT			its operand
 *			COMPARE		byte measure; a trait: string name,
 *						anything else: event, window;
 *						comparison
 *			SEQ			uint32 number of steps; each: byte flags (1 negated,
 *						2 has a gap), int64 gap if it has one, event;
 *						window
 *			ANY			event, its operand
 *
 *		event		byte flags: 1 has a name, 2 has conditions, and
 *					CriteriaLabelType << 4; string name; string label (of
 *					types LABEL and LABEL_SET); uint32 number of conditions,
 *					each: string key, comparison
 *		window		byte type (CriteriaWindowType); WITHIN: int64 older; AGO:
 *					int64 older, newer; DATES: int64 since, until
 *		comparison	byte cmp (CriteriaCmp), uint32 number of constants, each:
 *					byte type (CriteriaConstType); float8, int64 length,
 *					string, int64 date or one byte
 *		string		uint32 length, the bytes, a zero byte
 *
 * Numbers are in the machine's byte order and not aligned.  A rule has one
 * stored form, because the parser leaves nothing of its spelling: equal rules
 * are equal bytes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_store.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "core/mcdp.h"
#include "types/criteria.h"

#define CRITERIA_VERSION 1

#define STEP_NEGATED	1
#define STEP_HAS_GAP	2
#define EVENT_NAMED		1
#define EVENT_CONDITIONS 2
#define EVENT_LABEL_SHIFT 4

/* ---- writing ---- */

static void
write_byte(StringInfo out, uint8 value)
{
	appendStringInfoCharMacro(out, (char) value);
}

static void
write_uint32(StringInfo out, uint32 value)
{
	appendBinaryStringInfo(out, (char *) &value, sizeof(value));
}

static void
write_int64(StringInfo out, int64 value)
{
	appendBinaryStringInfo(out, (char *) &value, sizeof(value));
}

static void
write_string(StringInfo out, const char *str, int len)
{
	write_uint32(out, len);
	appendBinaryStringInfo(out, str, len);
	write_byte(out, 0);
}

static void
write_comparison(StringInfo out, CriteriaCmp cmp, const CriteriaConst *consts, int num_consts)
{
	write_byte(out, cmp);
	write_uint32(out, num_consts);
	for (int i = 0; i < num_consts; i++)
	{
		write_byte(out, consts[i].type);
		switch (consts[i].type)
		{
			case CRITERIA_NUMBER:
				appendBinaryStringInfo(out, (const char *) &consts[i].number, sizeof(double));
				break;
			case CRITERIA_LENGTH:
				write_int64(out, consts[i].length);
				break;
			case CRITERIA_TEXT:
				write_string(out, consts[i].text, consts[i].len);
				break;
			case CRITERIA_DATE:
				write_int64(out, consts[i].date);
				break;
			case CRITERIA_BOOLEAN:
				write_byte(out, consts[i].boolean);
				break;
			case CRITERIA_OTHER:
				break;
		}
	}
}

static void
write_event(StringInfo out, const CriteriaEvent *event)
{
	write_byte(out, (event->name ? EVENT_NAMED : 0) |
			   (event->conditions ? EVENT_CONDITIONS : 0) |
			   (event->label_type << EVENT_LABEL_SHIFT));
	if (event->name)
		write_string(out, event->name, event->name_len);
	if (event->label_type == CRITERIA_LABEL || event->label_type == CRITERIA_LABEL_SET)
		write_string(out, event->label, event->label_len);
	if (event->conditions)
	{
		uint32		n = 0;

		for (const CriteriaCondition *c = event->conditions; c != NULL; c = c->next)
			n++;
		write_uint32(out, n);
		for (const CriteriaCondition *c = event->conditions; c != NULL; c = c->next)
		{
			write_string(out, c->key, c->key_len);
			write_comparison(out, c->cmp, c->consts, c->num_consts);
		}
	}
}

static void
write_window(StringInfo out, const CriteriaWindow *window)
{
	write_byte(out, window->type);
	switch (window->type)
	{
		case CRITERIA_ALWAYS:
			break;
		case CRITERIA_WITHIN:
			write_int64(out, window->older);
			break;
		case CRITERIA_AGO:
			write_int64(out, window->older);
			write_int64(out, window->newer);
			break;
		case CRITERIA_DATES:
			write_int64(out, window->since);
			write_int64(out, window->until);
			break;
	}
}

static void
write_steps(StringInfo out, const CriteriaStep *steps)
{
	uint32		n = 0;

	for (const CriteriaStep *step = steps; step != NULL; step = step->next)
		n++;
	write_uint32(out, n);
	for (const CriteriaStep *step = steps; step != NULL; step = step->next)
	{
		write_byte(out, (step->negated ? STEP_NEGATED : 0) | (step->has_gap ? STEP_HAS_GAP : 0));
		if (step->has_gap)
			write_int64(out, step->gap);
		write_event(out, &step->event);
	}
}

static void
write_node(StringInfo out, const CriteriaNode *node)
{
	check_stack_depth();
	write_byte(out, node->op);
	switch (node->op)
	{
		case CRITERIA_ALL:
		case CRITERIA_NONE:
			break;
		case CRITERIA_TAG:
			write_string(out, node->name, node->name_len);
			break;
		case CRITERIA_AND:
		case CRITERIA_OR:
			write_uint32(out, node->num_children);
			for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
				write_node(out, child);
			break;
		case CRITERIA_NOT:
			write_node(out, node->child);
			break;
		case CRITERIA_COMPARE:
			write_byte(out, node->measure);
			if (node->measure == CRITERIA_TRAIT)
				write_string(out, node->name, node->name_len);
			else
			{
				write_event(out, &node->event);
				write_window(out, &node->window);
			}
			write_comparison(out, node->cmp, node->consts, node->num_consts);
			break;
		case CRITERIA_SEQ:
			write_steps(out, node->steps);
			write_window(out, &node->window);
			break;
		case CRITERIA_ANY:
			write_event(out, &node->event);
			write_node(out, node->child);
			break;
	}
}

Criteria *
mcdp_criteria_store(const CriteriaNode *node)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	write_byte(&out, CRITERIA_VERSION);
	write_node(&out, node);
	SET_VARSIZE(out.data, out.len);
	return (Criteria *) out.data;
}

/* ---- reading ---- */

/* Strings of the tree point into this copy of the stored bytes. */
typedef struct Reader
{
	const char *next;
	const char *end;
} Reader;

static void
corrupted(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored criteria value is damaged")));
}

static const char *
take(Reader *in, size_t n)
{
	const char *here = in->next;

	if (n > (size_t) (in->end - in->next))
		corrupted();
	in->next += n;
	return here;
}

static uint8
read_byte(Reader *in)
{
	return *(const uint8 *) take(in, 1);
}

static uint32
read_uint32(Reader *in)
{
	uint32		value;

	memcpy(&value, take(in, sizeof(value)), sizeof(value));
	return value;
}

/* A number of things of which each has at least one byte. */
static uint32
read_number_of(Reader *in)
{
	uint32		n = read_uint32(in);

	if (n == 0 || n > (size_t) (in->end - in->next))
		corrupted();
	return n;
}

static int64
read_int64(Reader *in)
{
	int64		value;

	memcpy(&value, take(in, sizeof(value)), sizeof(value));
	return value;
}

static const char *
read_string(Reader *in, int *len)
{
	uint32		n = read_uint32(in);
	const char *str = take(in, (size_t) n + 1);

	if (str[n] != '\0')
		corrupted();
	*len = (int) n;
	return str;
}

static CriteriaConst *
read_comparison(Reader *in, CriteriaCmp *cmp, int *num_consts)
{
	CriteriaConst *consts;
	uint32		n;

	*cmp = read_byte(in);
	n = read_number_of(in);
	if (*cmp < CRITERIA_EQ || *cmp > CRITERIA_BETWEEN || (*cmp == CRITERIA_BETWEEN && n != 2))
		corrupted();
	consts = palloc0(n * sizeof(CriteriaConst));
	for (uint32 i = 0; i < n; i++)
	{
		consts[i].type = read_byte(in);
		switch (consts[i].type)
		{
			case CRITERIA_NUMBER:
				memcpy(&consts[i].number, take(in, sizeof(double)), sizeof(double));
				break;
			case CRITERIA_LENGTH:
				consts[i].length = read_int64(in);
				break;
			case CRITERIA_TEXT:
				consts[i].text = read_string(in, &consts[i].len);
				break;
			case CRITERIA_DATE:
				consts[i].date = read_int64(in);
				break;
			case CRITERIA_BOOLEAN:
				consts[i].boolean = read_byte(in) != 0;
				break;
			default:
				corrupted();
		}
	}
	*num_consts = (int) n;
	return consts;
}

static void
read_event(Reader *in, CriteriaEvent *event)
{
	uint8		flags = read_byte(in);

	memset(event, 0, sizeof(*event));
	event->label_type = flags >> EVENT_LABEL_SHIFT;
	if (event->label_type > CRITERIA_LABEL_SET)
		corrupted();
	if (flags & EVENT_NAMED)
		event->name = read_string(in, &event->name_len);
	if (event->label_type == CRITERIA_LABEL || event->label_type == CRITERIA_LABEL_SET)
		event->label = read_string(in, &event->label_len);
	if (flags & EVENT_CONDITIONS)
	{
		CriteriaCondition **next = &event->conditions;
		uint32		n = read_number_of(in);

		for (uint32 i = 0; i < n; i++)
		{
			CriteriaCondition *c = palloc0(sizeof(CriteriaCondition));

			c->key = read_string(in, &c->key_len);
			c->consts = read_comparison(in, &c->cmp, &c->num_consts);
			*next = c;
			next = &c->next;
		}
	}
}

static void
read_window(Reader *in, CriteriaWindow *window)
{
	window->type = read_byte(in);
	switch (window->type)
	{
		case CRITERIA_ALWAYS:
			break;
		case CRITERIA_WITHIN:
			window->older = read_int64(in);
			break;
		case CRITERIA_AGO:
			window->older = read_int64(in);
			window->newer = read_int64(in);
			break;
		case CRITERIA_DATES:
			window->since = read_int64(in);
			window->until = read_int64(in);
			break;
		default:
			corrupted();
	}
}

static CriteriaStep *
read_steps(Reader *in)
{
	CriteriaStep *steps = NULL;
	CriteriaStep **next = &steps;
	uint32		n = read_number_of(in);

	if (n > CRITERIA_MAX_STEPS)
		corrupted();
	for (uint32 i = 0; i < n; i++)
	{
		CriteriaStep *step = palloc0(sizeof(CriteriaStep));
		uint8		flags = read_byte(in);

		step->negated = (flags & STEP_NEGATED) != 0;
		step->has_gap = (flags & STEP_HAS_GAP) != 0;
		if (step->has_gap)
			step->gap = read_int64(in);
		read_event(in, &step->event);
		*next = step;
		next = &step->next;
	}
	return steps;
}

static CriteriaNode *read_node(Reader *in);

static void
read_operands(Reader *in, CriteriaNode *node, uint32 n)
{
	node->num_children = (int) n;
	for (uint32 i = 0; i < n; i++)
	{
		CriteriaNode *child = read_node(in);

		if (i == 0)
			node->child = child;
		else
			node->last_child->next = child;
		node->last_child = child;
		node->depth = Max(node->depth, child->depth + 1);
	}
}

static CriteriaNode *
read_node(Reader *in)
{
	CriteriaNode *node = palloc0(sizeof(CriteriaNode));

	check_stack_depth();
	node->op = read_byte(in);
	node->depth = 1;
	switch (node->op)
	{
		case CRITERIA_ALL:
		case CRITERIA_NONE:
			break;
		case CRITERIA_TAG:
			node->name = read_string(in, &node->name_len);
			break;
		case CRITERIA_AND:
		case CRITERIA_OR:
			read_operands(in, node, read_number_of(in));
			break;
		case CRITERIA_NOT:
			read_operands(in, node, 1);
			break;
		case CRITERIA_COMPARE:
			node->measure = read_byte(in);
			if (node->measure < CRITERIA_TRAIT || node->measure > CRITERIA_TOP_LABEL)
				corrupted();
			if (node->measure == CRITERIA_TRAIT)
				node->name = read_string(in, &node->name_len);
			else
			{
				read_event(in, &node->event);
				read_window(in, &node->window);
			}
			node->consts = read_comparison(in, &node->cmp, &node->num_consts);
			break;
		case CRITERIA_SEQ:
			node->steps = read_steps(in);
			read_window(in, &node->window);
			break;
		case CRITERIA_ANY:
			read_event(in, &node->event);
			read_operands(in, node, 1);
			break;
		default:
			corrupted();
	}
	return node;
}

CriteriaNode *
mcdp_criteria_open(const Criteria *stored)
{
	size_t		len = VARSIZE_ANY_EXHDR(stored);
	char	   *bytes = palloc(len + 1);
	Reader		in;
	CriteriaNode *node;

	memcpy(bytes, VARDATA_ANY(stored), len);
	in.next = bytes;
	in.end = bytes + len;
	if (read_byte(&in) != CRITERIA_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("unsupported format version %d of type criteria", *(uint8 *) bytes)));
	node = read_node(&in);
	if (in.next != in.end)
		corrupted();
	return node;
}
