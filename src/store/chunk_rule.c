/*-------------------------------------------------------------------------
 *
 * chunk_rule.c
 *	  A rule made of tags only, evaluated chunk by chunk.
 *
 * Every tag of the rule has one cursor, and all go up together.  Where no
 * member can be is found out first (bound), from the numbers of the chunks
 * alone: a rare tag takes the others along in leaps.  Then what the tags have
 * in the chunk is combined (combine), where it is stored: an array of few
 * positions is filtered by the others, bit sets are combined as a whole.
 *
 * No set is built unless one is asked for.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/chunk_rule.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "store/chunk_scan.h"

#define MAX_NODES			1000
#define MAX_DEPTH			100

/* A node of the rule; op as in CriteriaNode, only those of sets. */
typedef struct ChunkNode
{
	CriteriaOp	op;
	ChunkCursor *cursor;		/* of a tag */
	struct ChunkNode *child;
	struct ChunkNode *next;
	int			num_children;

	/* of what has operands: */
	uint8	   *buffer;			/* CHUNK_BITS_BYTES */
	ChunkForm  *values;			/* of the operands in the present chunk … */
	bool	   *without;		/* … and whether to leave them out: & !tag */
} ChunkNode;

/* What a node comes to in one chunk: a form with nothing set, or an array of none, is empty. */
static const ChunkForm nobody = {NULL, NULL, 0, false};
static const ChunkForm everybody = {NULL, NULL, 0, true};

typedef struct NamedCursor
{
	const char *name;
	ChunkCursor *cursor;
	struct NamedCursor *next;
} NamedCursor;

/* ---- which rules ---- */

static bool
count_nodes(const CriteriaNode *node, int *nodes, int *tags)
{
	switch (node->op)
	{
		case CRITERIA_TAG:
			(*tags)++;
			break;
		case CRITERIA_ALL:
		case CRITERIA_NONE:
		case CRITERIA_AND:
		case CRITERIA_OR:
		case CRITERIA_NOT:
			break;
		default:
			return false;
	}
	if (++*nodes > MAX_NODES || *tags >= CHUNK_MAX_CURSORS)
		return false;
	for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
		if (!count_nodes(child, nodes, tags))
			return false;
	return true;
}

bool
mcdp_chunk_rule_is(const CriteriaNode *rule)
{
	int			nodes = 0;
	int			tags = 0;

	return rule->depth <= MAX_DEPTH && count_nodes(rule, &nodes, &tags);
}

/* ---- making ready ---- */

static ChunkCursor *
get_cursor(ChunkReader *reader, NamedCursor **named, const char *tag)
{
	NamedCursor *n;

	for (n = *named; n != NULL; n = n->next)
		if (strcmp(n->name, tag) == 0)
			return n->cursor;
	n = MemoryContextAlloc(reader->cx, sizeof(NamedCursor));
	n->name = tag;
	n->cursor = mcdp_chunk_cursor_begin(reader, tag);
	n->next = *named;
	*named = n;
	return n->cursor;
}

static void
make_room(MemoryContext cx, ChunkNode *node)
{
	for (ChunkNode *child = node->child; child != NULL; child = child->next)
		node->num_children++;
	if (node->num_children == 0)
		return;
	node->buffer = MemoryContextAlloc(cx, CHUNK_BITS_BYTES);
	node->values = MemoryContextAlloc(cx, node->num_children * sizeof(ChunkForm));
	node->without = MemoryContextAlloc(cx, node->num_children * sizeof(bool));
}

static ChunkNode *
prepare(ChunkReader *reader, NamedCursor **named, const CriteriaNode *rule)
{
	ChunkNode  *node = MemoryContextAllocZero(reader->cx, sizeof(ChunkNode));
	ChunkNode **last = &node->child;

	node->op = rule->op;
	if (rule->op == CRITERIA_TAG)
		node->cursor = get_cursor(reader, named, rule->name);
	for (const CriteriaNode *child = rule->child; child != NULL; child = child->next)
	{
		*last = prepare(reader, named, child);
		last = &(*last)->next;
	}
	make_room(reader->cx, node);
	return node;
}

/* ---- one chunk ---- */

/*
 * The first chunk at or after "from" in which the node may have members.
 * Cursors never go back, so "from" must not either.
 */
static int64
bound(ChunkNode *node, int64 from)
{
	int64		result;

	switch (node->op)
	{
		case CRITERIA_NONE:
			return CHUNK_NONE;
		case CRITERIA_TAG:
			/* it may have gone ahead already */
			return from <= node->cursor->chunk ? node->cursor->chunk :
				mcdp_chunk_cursor_seek(node->cursor, from);
		case CRITERIA_AND:
			result = from;
			for (ChunkNode *child = node->child; child != NULL; child = child->next)
			{
				int64		next = bound(child, result);

				result = Max(result, next);
			}
			return result;
		case CRITERIA_OR:
			result = CHUNK_NONE;
			for (ChunkNode *child = node->child; child != NULL; child = child->next)
			{
				int64		next = bound(child, from);

				result = Min(result, next);
			}
			return result;
		default:
			return from;
	}
}

static inline bool
is_empty(const ChunkForm *value)
{
	return !value->full && value->bits == NULL && value->num == 0;
}

static ChunkForm
from_bits(const uint8 *bits)
{
	ChunkForm	value = {bits, NULL, 0, false};

	return value;
}

static ChunkForm
invert(const ChunkForm *value, uint8 *into)
{
	if (value->full)
		return nobody;
	if (is_empty(value))
		return everybody;
	if (value->bits != NULL)
		mcdp_bits_not(into, value->bits);
	else
	{
		memset(into, 0xff, CHUNK_BITS_BYTES);
		mcdp_bits_clear_array(into, value->array, value->num);
	}
	return from_bits(into);
}

/* Filter the shortest array by all others. */
static ChunkForm
intersect_array(ChunkNode *node, int shortest)
{
	ChunkForm	result = node->values[shortest];

	for (int i = 0; i < node->num_children && result.num > 0; i++)
	{
		const ChunkForm *value = &node->values[i];
		bool		in = !node->without[i];

		if (i == shortest || value->full || is_empty(value))
			continue;			/* those that leave nobody were seen before */
		result.num = value->bits != NULL ?
			mcdp_array_filter(node->buffer, result.array, result.num, value->bits, in) :
			mcdp_array_filter_array(node->buffer, result.array, result.num,
									value->array, value->num, in);
		result.array = node->buffer;
	}
	return result;
}

static ChunkForm
intersect(ChunkNode *node)
{
	const uint8 *bits = NULL;	/* so far; NULL = everybody */
	int			shortest = -1;

	for (int i = 0; i < node->num_children; i++)
	{
		const ChunkForm *value = &node->values[i];

		if (node->without[i] ? value->full : is_empty(value))
			return nobody;
		if (!node->without[i] && value->array != NULL &&
			(shortest < 0 || value->num < node->values[shortest].num))
			shortest = i;
	}
	if (shortest >= 0)
		return intersect_array(node, shortest);

	/* what is in first, then what is out */
	for (int without = 0; without < 2; without++)
		for (int i = 0; i < node->num_children; i++)
		{
			const ChunkForm *value = &node->values[i];

			if (node->without[i] != (without == 1) || value->full || is_empty(value))
				continue;
			if (!node->without[i])
			{
				if (bits == NULL)
				{
					bits = value->bits;
					continue;
				}
				mcdp_bits_and(node->buffer, bits, value->bits);
			}
			else if (bits == NULL)
				(void) invert(value, node->buffer);
			else if (value->bits != NULL)
				mcdp_bits_andnot(node->buffer, bits, value->bits);
			else
			{
				if (bits != node->buffer)
					memcpy(node->buffer, bits, CHUNK_BITS_BYTES);
				mcdp_bits_clear_array(node->buffer, value->array, value->num);
			}
			bits = node->buffer;
		}
	return bits == NULL ? everybody : from_bits(bits);
}

static ChunkForm
unite(ChunkNode *node)
{
	ChunkForm	result = nobody;
	int			first = -1;

	for (int i = 0; i < node->num_children; i++)
	{
		if (node->values[i].full)
			return everybody;
		/* begin with a bit set, if there is one */
		if (!is_empty(&node->values[i]) &&
			(first < 0 || (node->values[first].bits == NULL && node->values[i].bits != NULL)))
			first = i;
	}
	if (first < 0)
		return nobody;
	result = node->values[first];
	for (int i = 0; i < node->num_children; i++)
	{
		const ChunkForm *value = &node->values[i];

		if (i == first || is_empty(value))
			continue;
		if (value->bits != NULL)
			mcdp_bits_or(node->buffer, result.bits, value->bits);
		else
		{
			if (result.bits == NULL)
			{
				memset(node->buffer, 0, CHUNK_BITS_BYTES);
				mcdp_bits_set_array(node->buffer, result.array, result.num);
			}
			else if (result.bits != node->buffer)
				memcpy(node->buffer, result.bits, CHUNK_BITS_BYTES);
			mcdp_bits_set_array(node->buffer, value->array, value->num);
		}
		result = from_bits(node->buffer);
	}
	return result;
}

/* What the node comes to in this chunk, until the cursors go on. */
static ChunkForm
combine(ChunkNode *node, int64 chunk)
{
	ChunkForm	value;
	int			i = 0;

	switch (node->op)
	{
		case CRITERIA_ALL:
			return everybody;
		case CRITERIA_TAG:
			if (node->cursor->chunk < chunk)
				mcdp_chunk_cursor_seek(node->cursor, chunk);
			if (node->cursor->chunk != chunk)
				return nobody;
			mcdp_chunk_cursor_form(node->cursor, &value);
			return value;
		case CRITERIA_NOT:
			value = combine(node->child, chunk);
			return invert(&value, node->buffer);
		case CRITERIA_AND:
		case CRITERIA_OR:
			for (ChunkNode *child = node->child; child != NULL; child = child->next, i++)
			{
				node->without[i] = node->op == CRITERIA_AND && child->op == CRITERIA_NOT;
				node->values[i] = combine(node->without[i] ? child->child : child, chunk);
			}
			return node->op == CRITERIA_AND ? intersect(node) : unite(node);
		default:
			return nobody;
	}
}

/* ---- all chunks ---- */

/* The first chunk at or after "from" in which the set has a member. */
static int64
next_chunk_of(const Rbuf *set, int64 from)
{
	RbufIter	it;
	uint64		id;

	if (from > (int64) (RBUF_MAX_ID >> CHUNK_ID_BITS))
		return CHUNK_NONE;
	mcdp_rbuf_iter_init_at(&it, set, (uint64) from << CHUNK_ID_BITS);
	return mcdp_rbuf_iter_next(&it, &id) ? (int64) (id >> CHUNK_ID_BITS) : CHUNK_NONE;
}

static uint64
take(int64 chunk, const ChunkForm *value, Rbuf *result)
{
	uint64		first = (uint64) chunk << CHUNK_ID_BITS;
	uint8		bits[CHUNK_BITS_BYTES];

	if (value->full)
	{
		if (result != NULL)
			mcdp_rbuf_add_range(result, first, first + CHUNK_IDS - 1);
		return CHUNK_IDS;
	}
	if (value->bits == NULL)
	{
		if (result != NULL && value->num > 0)
		{
			memset(bits, 0, sizeof(bits));
			mcdp_bits_set_array(bits, value->array, value->num);
			mcdp_rbuf_or_slice(result, chunk, bits);
		}
		return value->num;
	}
	if (result != NULL)
		mcdp_rbuf_or_slice(result, chunk, value->bits);
	return mcdp_bits_count(value->bits);
}

uint64
mcdp_chunk_rule_eval(const CriteriaNode *rule, const Rbuf *candidates, const char *among,
					 Rbuf *result)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "rule by chunk",
											 ALLOCSET_DEFAULT_SIZES);
	ChunkReader reader;
	NamedCursor *named = NULL;
	ChunkNode  *node;
	uint8		filtered[CHUNK_BITS_BYTES];
	uint64		count = 0;
	int64		chunk = 0;

	mcdp_chunk_reader_begin(&reader, cx);
	node = prepare(&reader, &named, rule);
	if (candidates == NULL)
	{
		ChunkNode  *tag = MemoryContextAllocZero(cx, sizeof(ChunkNode));
		ChunkNode  *both = MemoryContextAllocZero(cx, sizeof(ChunkNode));

		tag->op = CRITERIA_TAG;
		tag->cursor = get_cursor(&reader, &named, among);
		tag->next = node;
		both->op = CRITERIA_AND;
		both->child = tag;
		make_room(cx, both);
		node = both;
	}
	for (;; chunk++)
	{
		ChunkForm	value;

		CHECK_FOR_INTERRUPTS();
		for (int64 next = chunk;;)
		{
			chunk = candidates == NULL ? next : next_chunk_of(candidates, next);
			if (chunk == CHUNK_NONE)
				break;
			next = bound(node, chunk);
			if (next == chunk || next == CHUNK_NONE)
			{
				chunk = next;
				break;
			}
		}
		if (chunk == CHUNK_NONE)
			break;
		value = combine(node, chunk);
		if (candidates != NULL && !is_empty(&value))
		{
			uint8		mine[CHUNK_BITS_BYTES];

			mcdp_rbuf_get_slice(candidates, chunk, mine);
			if (value.bits != NULL)
				mcdp_bits_and(mine, mine, value.bits);
			else if (value.array != NULL)
			{
				value.num = mcdp_array_filter(filtered, value.array, value.num, mine, true);
				value.array = filtered;
			}
			if (value.array == NULL)
				value = from_bits(mine);
			count += take(chunk, &value, result);
		}
		else
			count += take(chunk, &value, result);
	}
	for (NamedCursor *n = named; n != NULL; n = n->next)
		mcdp_chunk_cursor_end(n->cursor);
	mcdp_chunk_reader_end(&reader);
	MemoryContextDelete(cx);
	return count;
}
