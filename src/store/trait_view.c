/*-------------------------------------------------------------------------
 *
 * trait_view.c
 *	  A trait opened for questions: its slices, and what overrides them.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/trait_view.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "core/iso_time.h"
#include "store/access.h"
#include "store/audience.h"
#include "store/statement.h"
#include "store/trait_index.h"
#include "types/criteria_eval.h"

#define BATCH				1000	/* profiles looked up together */

/* Slices count only if they were made for what trait_rule says now. */
static Statement rule = {
"SELECT r.type, i.form FROM cdp.trait_rule r"
" LEFT JOIN cdp.trait_index i ON i.trait OPERATOR(pg_catalog.=) r.name AND r.searchable"
"	AND i.type OPERATOR(pg_catalog.=) r.type AND i.survivorship OPERATOR(pg_catalog.=) r.survivorship"
" WHERE r.name OPERATOR(pg_catalog.=) $1",
1, {TEXTOID}
};
static Statement pending = {
"SELECT x.id FROM cdp.trait_pending q JOIN cdp.profile p ON p.profile_id OPERATOR(pg_catalog.=) q.profile_id,"
" LATERAL (VALUES (p.profile_id), (p.canonical_id)) AS x(id)"
" WHERE q.trait OPERATOR(pg_catalog.=) $1 GROUP BY x.id ORDER BY x.id",
1, {TEXTOID}
};


bool
mcdp_trait_number(bool dates, const CriteriaConst *value, double *number, bool *exact)
{
	*exact = true;
	if (dates)
	{
		TimestampTz at;

		if (value->type != CRITERIA_TEXT || !mcdp_iso_time(value->text, value->len, &at))
			return false;
		*number = (double) at;
		*exact = (TimestampTz) *number == at;
		return true;
	}
	if (value->type != CRITERIA_NUMBER || isnan(value->number))
		return false;
	*number = value->number;
	return true;
}

/* ---- overrides ---- */

typedef struct Taker
{
	TraitView  *view;
	const Rbuf *skip;			/* or NULL */
	uint32		max;
	bool		fits;			/* all had a magnitude in the form */
} Taker;

static void
add_override(Taker *taker, uint64 id, bool exists, double number)
{
	TraitView  *view = taker->view;
	TraitOverride *o;

	if (view->num_overrides == taker->max)
	{
		taker->max = Max(256, 2 * taker->max);
		view->overrides = view->overrides == NULL ?
			MemoryContextAllocHuge(view->cx, taker->max * sizeof(TraitOverride)) :
			repalloc_huge(view->overrides, taker->max * sizeof(TraitOverride));
	}
	o = &view->overrides[view->num_overrides++];
	o->id = id;
	o->exists = exists;
	memset(&o->number, 0, sizeof(o->number));
	if (exists && !mcdp_slice_from_number(view->form, number, &o->number))
		taker->fits = false;
}

static void
take_number(void *arg, uint64 id, const CriteriaConst *value)
{
	Taker	   *taker = arg;
	double		number;
	bool		exact;

	if ((taker->skip == NULL || !mcdp_rbuf_contains(taker->skip, id)) &&
		mcdp_trait_number(taker->view->dates, value, &number, &exact))
	{
		add_override(taker, id, true, number);
		taker->fits = taker->fits && exact;
	}
}

static int
by_id(const void *a, const void *b)
{
	uint64		x = ((const TraitOverride *) a)->id;
	uint64		y = ((const TraitOverride *) b)->id;

	return (x > y) - (x < y);
}

/* Those who wait to be folded, and whoever they were merged into. */
static bool
override_pending(TraitView *view)
{
	Taker		taker = {view, NULL, 0, true};
	int64	   *ids;
	Datum		arg = CStringGetTextDatum(view->trait);
	uint64		n;
	uint32		kept = 0;

	n = mcdp_statement_ask(&pending, &arg);
	if (n == 0)
	{
		SPI_freetuptable(SPI_tuptable);
		return true;
	}
	ids = MemoryContextAllocHuge(view->cx, n * sizeof(int64));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		ids[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		add_override(&taker, ids[i], false, 0);
	}
	SPI_freetuptable(SPI_tuptable);
	for (uint64 i = 0; i < n; i += BATCH)
		mcdp_source_traits(ids + i, Min(BATCH, n - i), view->trait, take_number, &taker);
	pfree(ids);

	/* The number, where there is one, comes second: it counts. */
	qsort(view->overrides, view->num_overrides, sizeof(TraitOverride), by_id);
	for (uint32 i = 0; i < view->num_overrides; i++)
	{
		if (kept > 0 && view->overrides[kept - 1].id == view->overrides[i].id)
		{
			if (view->overrides[i].exists)
				view->overrides[kept - 1] = view->overrides[i];
		}
		else
			view->overrides[kept++] = view->overrides[i];
	}
	view->num_overrides = kept;
	return taker.fits;
}

/* Canonical profiles with several leaves, and all their leaves. */
void
mcdp_trait_merged(MemoryContext cx, Rbuf **roots, Rbuf **leaves)
{
	int64		ids[BATCH];
	RbufIter	it;
	uint64		id;
	bool		more = true;

	*roots = mcdp_chunk_members(cx, AUDIENCE_MERGED_TAG);
	*leaves = mcdp_rbuf_create(cx);
	mcdp_rbuf_iter_init(&it, *roots);
	while (more)
	{
		int			n = 0;

		while (n < BATCH && (more = mcdp_rbuf_iter_next(&it, &id)))
			ids[n++] = (int64) id;
		if (n > 0)
			mcdp_source_leaves(ids, n, *leaves);
	}
}

/* Everybody; of merged profiles one of the leaves' values is looked up. */
static void
override_all(TraitView *view)
{
	Taker		taker = {view, NULL, 0, true};
	Rbuf	   *roots,
			   *leaves;
	int64		ids[BATCH];
	RbufIter	it;
	uint64		id;
	bool		more = true;

	mcdp_trait_merged(view->cx, &roots, &leaves);
	taker.skip = leaves;
	mcdp_source_all_traits(view->trait, take_number, &taker);
	taker.skip = NULL;
	mcdp_rbuf_iter_init(&it, roots);
	while (more)
	{
		int			n = 0;

		while (n < BATCH && (more = mcdp_rbuf_iter_next(&it, &id)))
			ids[n++] = (int64) id;
		if (n > 0)
			mcdp_source_traits(ids, n, view->trait, take_number, &taker);
	}
	mcdp_rbuf_free(roots);
	mcdp_rbuf_free(leaves);
	qsort(view->overrides, view->num_overrides, sizeof(TraitOverride), by_id);
}

/* ---- life ---- */

TraitView *
mcdp_trait_open(MemoryContext cx, const char *trait, bool only_slices)
{
	TraitView  *view = MemoryContextAllocZero(cx, sizeof(TraitView));
	Datum		arg = CStringGetTextDatum(trait);

	mcdp_check_trait(trait);
	view->cx = cx;
	view->trait = MemoryContextStrdup(cx, trait);
	view->form = SLICE_FORM_FLOAT;
	if (mcdp_statement_ask(&rule, &arg) > 0)
	{
		bool		isnull;
		char	   *type = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		int16		form = DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));

		view->dates = strcmp(type, "date") == 0;
		view->stored = !isnull;
		if (view->stored)
			view->form = form;
	}
	SPI_freetuptable(SPI_tuptable);

	if (view->stored && !override_pending(view))
	{
		/* Of the next fold another form will come. */
		view->stored = false;
		view->form = SLICE_FORM_FLOAT;
		view->num_overrides = 0;
	}
	if (view->stored)
		mcdp_slice_reader_begin(&view->reader, cx);
	else if (only_slices)
		return NULL;
	else
		override_all(view);
	return view;
}

void
mcdp_trait_close(TraitView *view)
{
	if (view->stored)
		mcdp_chunk_reader_end(&view->reader);
	if (view->overrides != NULL)
		pfree(view->overrides);
}

ChunkCursor *
mcdp_trait_cursor(TraitView *view, int slice)
{
	int64	   *waiting = NULL;

	if (view->num_overrides > 0)
	{
		waiting = MemoryContextAllocHuge(view->cx, view->num_overrides * sizeof(int64));
		for (uint32 i = 0; i < view->num_overrides; i++)
		{
			const TraitOverride *o = &view->overrides[i];

			waiting[i] = (int64) (o->id << 1 | (o->exists && mcdp_slice_bit(o->number, slice)));
		}
	}
	return mcdp_slice_cursor_begin(view->stored ? &view->reader : NULL, view->cx, view->trait,
								   slice, waiting, view->num_overrides);
}
