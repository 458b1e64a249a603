/*-------------------------------------------------------------------------
 *
 * chunk_rule.c
 *	  A rule made of tags only, evaluated chunk by chunk.
 *
 * Every tag of the rule has one cursor, and all go up together.  Where no
 * member can be is found out first (bound), from the numbers of the chunks
 * alone: a rare tag takes the others along in leaps.  Then the bit sets of
 * the chunk are combined (combine), those of stored bits in their pages.
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
	uint8	   *buffer;			/* of what has operands */
} ChunkNode;

/* What a node comes to in one chunk. */
typedef enum ChunkState
{
	CHUNK_IS_EMPTY,
	CHUNK_IS_FULL,
	CHUNK_IS_BITS
} ChunkState;

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
	if (node->child != NULL)
		node->buffer = MemoryContextAlloc(reader->cx, CHUNK_BITS_BYTES);
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
				result = Max(result, bound(child, result));
			return result;
		case CRITERIA_OR:
			result = CHUNK_NONE;
			for (ChunkNode *child = node->child; child != NULL; child = child->next)
				result = Min(result, bound(child, from));
			return result;
		default:
			return from;
	}
}

static ChunkState
invert(ChunkState state, uint8 *into, const uint8 **bits)
{
	if (state == CHUNK_IS_BITS)
	{
		mcdp_bits_not(into, *bits);
		*bits = into;
		return state;
	}
	return state == CHUNK_IS_EMPTY ? CHUNK_IS_FULL : CHUNK_IS_EMPTY;
}

/* What the node comes to in this chunk; *bits until the cursors go on. */
static ChunkState
combine(ChunkNode *node, int64 chunk, const uint8 **bits)
{
	bool		is_and = node->op == CRITERIA_AND;
	ChunkState	neutral = is_and ? CHUNK_IS_FULL : CHUNK_IS_EMPTY;
	ChunkState	state;

	switch (node->op)
	{
		case CRITERIA_ALL:
			return CHUNK_IS_FULL;
		case CRITERIA_TAG:
			if (node->cursor->chunk < chunk)
				mcdp_chunk_cursor_seek(node->cursor, chunk);
			if (node->cursor->chunk != chunk)
				return CHUNK_IS_EMPTY;
			*bits = mcdp_chunk_cursor_bits(node->cursor, NULL);
			return *bits == NULL ? CHUNK_IS_FULL : CHUNK_IS_BITS;
		case CRITERIA_NOT:
			return invert(combine(node->child, chunk, bits), node->buffer, bits);
		case CRITERIA_AND:
		case CRITERIA_OR:
			break;
		default:
			return CHUNK_IS_EMPTY;
	}

	state = neutral;
	for (ChunkNode *child = node->child; child != NULL; child = child->next)
	{
		bool		without = is_and && child->op == CRITERIA_NOT && state == CHUNK_IS_BITS;
		const uint8 *other = NULL;
		ChunkState	other_state = combine(without ? child->child : child, chunk, &other);

		if (without)
		{
			/* this & !other needs no complement */
			if (other_state == CHUNK_IS_FULL)
				return CHUNK_IS_EMPTY;
			if (other_state == CHUNK_IS_BITS)
			{
				mcdp_bits_andnot(node->buffer, *bits, other);
				*bits = node->buffer;
			}
		}
		else if (other_state != CHUNK_IS_BITS)
		{
			if (other_state != neutral)
				return other_state;
		}
		else if (state == CHUNK_IS_BITS)
		{
			if (is_and)
				mcdp_bits_and(node->buffer, *bits, other);
			else
				mcdp_bits_or(node->buffer, *bits, other);
			*bits = node->buffer;
		}
		else
		{
			state = CHUNK_IS_BITS;
			*bits = other;
		}
	}
	return state;
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
take(int64 chunk, ChunkState state, const uint8 *bits, Rbuf *result)
{
	uint64		first = (uint64) chunk << CHUNK_ID_BITS;

	if (state == CHUNK_IS_EMPTY)
		return 0;
	if (state == CHUNK_IS_FULL)
	{
		if (result != NULL)
			mcdp_rbuf_add_range(result, first, first + CHUNK_IDS - 1);
		return CHUNK_IDS;
	}
	if (result != NULL)
		mcdp_rbuf_or_slice(result, chunk, bits);
	return mcdp_bits_count(bits);
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
		both->buffer = MemoryContextAlloc(cx, CHUNK_BITS_BYTES);
		node = both;
	}
	for (;; chunk++)
	{
		const uint8 *bits = NULL;
		ChunkState	state;

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
		state = combine(node, chunk, &bits);
		if (candidates != NULL && state != CHUNK_IS_EMPTY)
		{
			uint8		mine[CHUNK_BITS_BYTES];

			mcdp_rbuf_get_slice(candidates, chunk, mine);
			if (state == CHUNK_IS_BITS)
				mcdp_bits_and(mine, mine, bits);
			count += take(chunk, CHUNK_IS_BITS, mine, result);
		}
		else
			count += take(chunk, state, bits, result);
	}
	for (NamedCursor *n = named; n != NULL; n = n->next)
		mcdp_chunk_cursor_end(n->cursor);
	mcdp_chunk_reader_end(&reader);
	MemoryContextDelete(cx);
	return count;
}
