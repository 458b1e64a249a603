/*-------------------------------------------------------------------------
 *
 * trait_ask.c
 *	  Questions to the slices of a trait.
 *
 * Comparison, selection and sums after O'Neil and Quass (1997): slices are gone
 * through from the highest to the lowest, and what is left of the work gets
 * smaller.  A slice costs a look at one stored chunk for each chunk of the
 * work, whatever the number of profiles in it.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/trait_ask.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "store/trait_index.h"

/* ---- work ---- */

static TraitWork *
make_work(MemoryContext cx, uint32 max)
{
	TraitWork  *work = MemoryContextAllocZero(cx, sizeof(TraitWork));

	work->chunks = MemoryContextAllocHuge(cx, Max(max, 1) * sizeof(TraitChunk));
	return work;
}

static uint8 *
add_chunk(MemoryContext cx, TraitWork *work, int64 chunk)
{
	TraitChunk *c = &work->chunks[work->num++];

	c->chunk = chunk;
	c->bits = MemoryContextAlloc(cx, CHUNK_BITS_BYTES);
	return c->bits;
}

/* The same chunks, with nobody or everybody of the work in them. */
static TraitWork *
copy_work(MemoryContext cx, const TraitWork *work, bool members)
{
	TraitWork  *copy = make_work(cx, work->num);

	for (uint32 i = 0; i < work->num; i++)
	{
		uint8	   *bits = add_chunk(cx, copy, work->chunks[i].chunk);

		if (members)
			memcpy(bits, work->chunks[i].bits, CHUNK_BITS_BYTES);
		else
			memset(bits, 0, CHUNK_BITS_BYTES);
	}
	copy->count = members ? work->count : 0;
	return copy;
}

void
mcdp_trait_work_free(TraitWork *work)
{
	for (uint32 i = 0; i < work->num; i++)
		pfree(work->chunks[i].bits);
	pfree(work->chunks);
	pfree(work);
}

/* What the cursor has in this chunk: NULL when nothing. */
static const uint8 *
bits_at(ChunkCursor *cursor, int64 chunk)
{
	static uint8 full[CHUNK_BITS_BYTES];
	const uint8 *bits;

	CHECK_FOR_INTERRUPTS();
	if ((cursor->chunk >= chunk ? cursor->chunk : mcdp_chunk_cursor_seek(cursor, chunk)) != chunk)
		return NULL;
	bits = mcdp_chunk_cursor_bits(cursor, NULL);
	if (bits != NULL)
		return bits;
	if (full[0] == 0)
		memset(full, 0xff, sizeof(full));
	return full;
}

TraitWork *
mcdp_trait_work(TraitView *view, const Rbuf *audience)
{
	TraitWork  *work = make_work(view->cx, 64);
	uint32		max = 64;
	ChunkCursor *cursor = mcdp_trait_cursor(view, SLICE_EXISTS);
	int64		chunk = 0;

	while (chunk <= (int64) (RBUF_MAX_ID >> CHUNK_ID_BITS))
	{
		const uint8 *bits;
		uint8	   *mine;
		uint32		count;

		if (audience != NULL)
		{
			RbufIter	it;
			uint64		id;

			mcdp_rbuf_iter_init_at(&it, audience, (uint64) chunk << CHUNK_ID_BITS);
			if (!mcdp_rbuf_iter_next(&it, &id))
				break;
			chunk = (int64) (id >> CHUNK_ID_BITS);
		}
		if (cursor->chunk < chunk && mcdp_chunk_cursor_seek(cursor, chunk) == CHUNK_NONE)
			break;
		if (cursor->chunk != chunk)
		{
			chunk = cursor->chunk;
			continue;
		}
		bits = bits_at(cursor, chunk);
		if (work->num == max)
		{
			max *= 2;
			work->chunks = repalloc_huge(work->chunks, max * sizeof(TraitChunk));
		}
		mine = add_chunk(view->cx, work, chunk);
		if (audience != NULL)
		{
			mcdp_rbuf_get_slice(audience, chunk, mine);
			mcdp_bits_and(mine, mine, bits);
		}
		else
			memcpy(mine, bits, CHUNK_BITS_BYTES);
		count = mcdp_bits_count(mine);
		work->count += count;
		if (count == 0)
		{
			work->num--;
			pfree(mine);
		}
		chunk++;
	}
	mcdp_chunk_cursor_end(cursor);
	return work;
}

/* Those of the work in a slice, or not in it. */
static TraitWork *
split_work(TraitView *view, const TraitWork *work, int slice, bool in)
{
	TraitWork  *part = copy_work(view->cx, work, !in);
	ChunkCursor *cursor = mcdp_trait_cursor(view, slice);

	part->count = 0;
	for (uint32 i = 0; i < work->num; i++)
	{
		const uint8 *bits = bits_at(cursor, work->chunks[i].chunk);

		if (bits != NULL)
		{
			if (in)
				mcdp_bits_and(part->chunks[i].bits, work->chunks[i].bits, bits);
			else
				mcdp_bits_andnot(part->chunks[i].bits, work->chunks[i].bits, bits);
		}
		part->count += mcdp_bits_count(part->chunks[i].bits);
	}
	mcdp_chunk_cursor_end(cursor);
	return part;
}

/* ---- comparison ---- */

void
mcdp_trait_compare(TraitView *view, const TraitWork *work, double number,
				   TraitWork **less, TraitWork **equal)
{
	bool		below = number < 0;
	TraitWork  *negatives = split_work(view, work, SLICE_NEGATIVE, true);
	bool		exact;
	uint64		magnitude = mcdp_slice_floor(view->form, fabs(number), &exact);
	TraitWork  *smaller = copy_work(view->cx, work, false);	/* in magnitude */
	TraitWork  *same = copy_work(view->cx, work, false);

	/* Of those on the constant's side of 0 … */
	for (uint32 i = 0; i < work->num; i++)
	{
		if (below)
			memcpy(same->chunks[i].bits, negatives->chunks[i].bits, CHUNK_BITS_BYTES);
		else
			mcdp_bits_andnot(same->chunks[i].bits, work->chunks[i].bits, negatives->chunks[i].bits);
	}
	for (int slice = SLICE_MAGNITUDE_BITS - 1; slice >= 0; slice--)
	{
		ChunkCursor *cursor = mcdp_trait_cursor(view, slice);
		bool		bit = (magnitude >> slice & 1) != 0;

		for (uint32 i = 0; i < work->num; i++)
			if (!mcdp_bits_empty(same->chunks[i].bits))
				mcdp_slice_compare_step(smaller->chunks[i].bits, same->chunks[i].bits,
										bits_at(cursor, work->chunks[i].chunk), bit);
		mcdp_chunk_cursor_end(cursor);
	}

	/* … "smaller" and "same" are known; from them, with the others: */
	for (uint32 i = 0; i < work->num; i++)
	{
		uint8	   *s = smaller->chunks[i].bits;
		uint8	   *e = same->chunks[i].bits;
		const uint8 *n = negatives->chunks[i].bits;

		if (below)
		{
			/* less are those further from 0 */
			mcdp_bits_or(s, s, e);
			mcdp_bits_andnot(s, n, s);
		}
		else
		{
			mcdp_bits_or(s, s, n);
			if (!exact)
				mcdp_bits_or(s, s, e);
		}
		if (!exact)
			memset(e, 0, CHUNK_BITS_BYTES);
		smaller->count += mcdp_bits_count(s);
		same->count += mcdp_bits_count(e);
	}
	mcdp_trait_work_free(negatives);
	*less = smaller;
	*equal = same;
}

static void
give(Rbuf *result, const TraitWork *work)
{
	for (uint32 i = 0; i < work->num; i++)
		if (!mcdp_bits_empty(work->chunks[i].bits))
			mcdp_rbuf_or_slice(result, work->chunks[i].chunk, work->chunks[i].bits);
}

Rbuf *
mcdp_trait_range(MemoryContext cx, const char *trait, CriteriaCmp cmp,
				 const CriteriaConst *consts, int num_consts, TimestampTz at,
				 const Rbuf *candidates)
{
	MemoryContext own = AllocSetContextCreate(cx, "trait range", ALLOCSET_DEFAULT_SIZES);
	TraitView  *view;
	TraitWork  *work;
	Rbuf	   *result = NULL;
	double	   *numbers;
	bool		ago = false;	/* constants are lengths: how long ago */

	if (consts[0].type == CRITERIA_TEXT || consts[0].type == CRITERIA_BOOLEAN)
	{
		result = mcdp_trait_text(cx, trait, cmp, consts, num_consts, at, candidates);
		goto done;
	}
	for (int i = 0; i < num_consts; i++)
		if (consts[i].type != consts[0].type)
			goto done;
	if (consts[0].type != CRITERIA_NUMBER && consts[0].type != CRITERIA_DATE &&
		consts[0].type != CRITERIA_LENGTH)
		goto done;
	view = mcdp_trait_open(own, trait, true);
	if (view == NULL)
		goto done;
	if (view->dates != (consts[0].type != CRITERIA_NUMBER))
	{
		mcdp_trait_close(view);
		goto done;
	}
	numbers = MemoryContextAlloc(own, num_consts * sizeof(double));
	for (int i = 0; i < num_consts; i++)
	{
		TimestampTz date = consts[i].date;

		if (consts[i].type == CRITERIA_NUMBER)
		{
			numbers[i] = consts[i].number;
			continue;
		}
		if (consts[i].type == CRITERIA_LENGTH)
		{
			ago = true;
			date = at - consts[i].length;
		}
		numbers[i] = (double) date;
		if ((TimestampTz) numbers[i] != date)
		{
			mcdp_trait_close(view);
			goto done;
		}
	}

	work = mcdp_trait_work(view, candidates);
	result = mcdp_rbuf_create(cx);
	if (cmp == CRITERIA_BETWEEN)
	{
		TraitWork  *less[2];
		TraitWork  *equal[2];

		for (int i = 0; i < 2; i++)
			mcdp_trait_compare(view, work, numbers[ago ? 1 - i : i], &less[i], &equal[i]);
		for (uint32 i = 0; i < work->num; i++)
		{
			uint8	   *bits = less[1]->chunks[i].bits;

			mcdp_bits_or(bits, bits, equal[1]->chunks[i].bits);
			mcdp_bits_andnot(bits, bits, less[0]->chunks[i].bits);
		}
		give(result, less[1]);
	}
	else
		for (int c = 0; c < num_consts; c++)
		{
			TraitWork  *less;
			TraitWork  *equal;

			mcdp_trait_compare(view, work, numbers[c], &less, &equal);
			for (uint32 i = 0; i < work->num; i++)
			{
				uint8	   *l = less->chunks[i].bits;
				uint8	   *e = equal->chunks[i].bits;
				const uint8 *w = work->chunks[i].bits;

				/* leave the answer in e; a greater length ago is a lesser date */
				switch (cmp)
				{
					case CRITERIA_NE:
						mcdp_bits_andnot(e, w, e);
						break;
					case CRITERIA_LT:
					case CRITERIA_LE:
					case CRITERIA_GT:
					case CRITERIA_GE:
						if ((cmp == CRITERIA_LT || cmp == CRITERIA_LE) == ago)
						{
							mcdp_bits_or(l, l, e);
							mcdp_bits_andnot(l, w, l);
						}
						if (cmp == CRITERIA_LT || cmp == CRITERIA_GT)
							memcpy(e, l, CHUNK_BITS_BYTES);
						else
							mcdp_bits_or(e, e, l);
						break;
					default:	/* = and in */
						break;
				}
			}
			give(result, equal);
			mcdp_trait_work_free(less);
			mcdp_trait_work_free(equal);
		}
	mcdp_trait_close(view);
done:
	MemoryContextDelete(own);
	return result;
}

/* ---- selection ---- */

double
mcdp_trait_select(TraitView *view, const TraitWork *work, uint64 before)
{
	TraitWork  *negatives = split_work(view, work, SLICE_NEGATIVE, true);
	SliceNumber found = {0, false};
	TraitWork  *left;

	Assert(before < work->count);
	if (before < negatives->count)
	{
		/* the greater the magnitude, the earlier */
		found.negative = true;
		before = negatives->count - 1 - before;
		left = negatives;
	}
	else
	{
		before -= negatives->count;
		left = split_work(view, work, SLICE_NEGATIVE, false);
	}
	for (int slice = SLICE_MAGNITUDE_BITS - 1; slice >= 0; slice--)
	{
		TraitWork  *with = split_work(view, left, slice, true);
		uint64		without = left->count - with->count;

		if (before < without)
		{
			if (with->count > 0)
				for (uint32 i = 0; i < left->num; i++)
					mcdp_bits_andnot(left->chunks[i].bits, left->chunks[i].bits, with->chunks[i].bits);
			left->count = without;
		}
		else
		{
			found.magnitude |= UINT64CONST(1) << slice;
			before -= without;
			for (uint32 i = 0; i < left->num; i++)
				memcpy(left->chunks[i].bits, with->chunks[i].bits, CHUNK_BITS_BYTES);
			left->count = with->count;
		}
		mcdp_trait_work_free(with);
	}
	if (left != negatives)
		mcdp_trait_work_free(left);
	mcdp_trait_work_free(negatives);
	return mcdp_slice_to_number(view->form, found);
}

/* ---- one by one ---- */

void
mcdp_trait_each(TraitView *view, const TraitWork *work, TraitTake take, void *arg)
{
	ChunkCursor *cursors[SLICE_COUNT - 1];

	for (int slice = 0; slice < SLICE_COUNT - 1; slice++)
		cursors[slice] = mcdp_trait_cursor(view, slice);
	for (uint32 i = 0; i < work->num; i++)
	{
		const uint8 *slices[SLICE_MAGNITUDE_BITS];	/* those that are not empty */
		int			number_of[SLICE_MAGNITUDE_BITS];
		int			num = 0;
		const uint8 *negative = bits_at(cursors[SLICE_NEGATIVE], work->chunks[i].chunk);
		const uint8 *members = work->chunks[i].bits;
		uint64		first = (uint64) work->chunks[i].chunk << CHUNK_ID_BITS;

		for (int slice = 0; slice < SLICE_MAGNITUDE_BITS; slice++)
		{
			slices[num] = bits_at(cursors[slice], work->chunks[i].chunk);
			number_of[num] = slice;
			num += slices[num] != NULL;
		}
		for (unsigned position = 0; position < CHUNK_IDS; position++)
		{
			SliceNumber number = {0, false};

			if (position % 8 == 0 && members[position / 8] == 0)
			{
				position += 7;
				continue;
			}
			if (!mcdp_bits_has(members, position))
				continue;
			for (int s = 0; s < num; s++)
				number.magnitude |= (uint64) mcdp_bits_has(slices[s], position) << number_of[s];
			number.negative = negative != NULL && mcdp_bits_has(negative, position);
			take(arg, first + position, mcdp_slice_to_number(view->form, number));
		}
	}
	for (int slice = 0; slice < SLICE_COUNT - 1; slice++)
		mcdp_chunk_cursor_end(cursors[slice]);
}

/* ---- sums ---- */

/* Neumaier (1974). */
typedef struct FloatSum
{
	double		sum;
	double		rest;
} FloatSum;

static void
add_float(void *arg, uint64 id, double number)
{
	FloatSum   *s = arg;
	double		sum = s->sum + number;

	if (fabs(s->sum) >= fabs(number))
		s->rest += (s->sum - sum) + number;
	else
		s->rest += (number - sum) + s->sum;
	s->sum = sum;
}

double
mcdp_trait_sum_of(TraitView *view, const TraitWork *work)
{
	SliceSum	sum;
	TraitWork  *negatives;

	if (view->form == SLICE_FORM_FLOAT)
	{
		FloatSum	s = {0, 0};

		mcdp_trait_each(view, work, add_float, &s);
		return isinf(s.sum) ? s.sum : s.sum + s.rest;
	}
	memset(&sum, 0, sizeof(sum));
	negatives = split_work(view, work, SLICE_NEGATIVE, true);
	for (int slice = 0; slice < SLICE_MAGNITUDE_BITS; slice++)
	{
		ChunkCursor *cursor = mcdp_trait_cursor(view, slice);

		for (uint32 i = 0; i < work->num; i++)
		{
			const uint8 *bits = bits_at(cursor, work->chunks[i].chunk);

			if (bits == NULL)
				continue;
			sum.counts[0][slice] += mcdp_bits_and_count(work->chunks[i].bits, bits);
			if (negatives->count > 0)
				sum.counts[1][slice] += mcdp_bits_and_count(negatives->chunks[i].bits, bits);
		}
		mcdp_chunk_cursor_end(cursor);
		sum.counts[0][slice] -= sum.counts[1][slice];
	}
	return mcdp_slice_sum(view->form, &sum);
}
