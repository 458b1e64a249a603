/*-------------------------------------------------------------------------
 *
 * trait_fold.c
 *	  Keeping the slices of traits: building, and folding of changes.
 *
 * Both take the numbers as rules see them (audience_source.c), of whoever is
 * canonical under the active snapshot.  The caller has locked the trait's row
 * of trait_index: nobody else writes its slices.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/trait_fold.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "store/audience.h"
#include "store/statement.h"
#include "store/tag_point.h"
#include "store/trait_index.h"
#include "types/chunk.h"
#include "types/criteria_eval.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp__build_trait);
PG_FUNCTION_INFO_V1(mcdp__fold_trait);

#define FETCH_ROWS			1000

static Statement all_values = {
	"SELECT v.profile_id, v.value FROM cdp.trait_value v"
	" WHERE v.name OPERATOR(pg_catalog.=) $1 ORDER BY v.profile_id",
	1, {TEXTOID}
};
static Statement with_canonical = {
	"SELECT x.id FROM pg_catalog.unnest($1) AS u(id)"
	" LEFT JOIN cdp.profile p ON p.profile_id OPERATOR(pg_catalog.=) u.id,"	/* erased: has none */
	" LATERAL (VALUES (u.id), (coalesce(p.canonical_id, u.id))) AS x(id) GROUP BY x.id ORDER BY x.id",
	1, {INT8ARRAYOID}
};
static Statement write_row = {
	"INSERT INTO cdp.trait_slice (trait, slice, chunk, members) VALUES ($1, $2, $3, $4)"
	" ON CONFLICT (trait, slice, chunk) DO UPDATE SET members = excluded.members",
	4, {TEXTOID, INT2OID, INT8OID, BYTEAOID}
};
static Statement delete_row = {
	"DELETE FROM cdp.trait_slice s WHERE s.trait OPERATOR(pg_catalog.=) $1"
	" AND s.slice OPERATOR(pg_catalog.=) $2 AND s.chunk OPERATOR(pg_catalog.=) $3",
	3, {TEXTOID, INT2OID, INT8OID}
};

/* ---- the chunk that is written ---- */

typedef struct Writer
{
	MemoryContext cx;			/* of one chunk */
	Datum		trait;
	int64		chunk;
	uint8	   *slices[SLICE_COUNT];	/* bit sets, NULL = empty */
} Writer;

/* Write what a slice has in the chunk; nothing is stored of an empty one. */
static void
write_slice(Writer *w, int slice, const uint8 *bits)
{
	Datum		args[4] = {w->trait, Int16GetDatum(slice), Int64GetDatum(w->chunk)};
	bytea	   *members;

	if (bits == NULL || mcdp_bits_empty(bits))
	{
		mcdp_statement_do(&delete_row, args);
		return;
	}
	members = MemoryContextAlloc(w->cx, VARHDRSZ + CHUNK_MAX_BYTES);
	SET_VARSIZE(members, VARHDRSZ + mcdp_chunk_write(bits, (uint8 *) VARDATA(members)));
	args[3] = PointerGetDatum(members);
	mcdp_statement_do(&write_row, args);
}

static void
set_number(Writer *w, uint64 id, SliceNumber number, bool exists)
{
	for (int slice = 0; slice < SLICE_COUNT; slice++)
	{
		bool		bit = exists && mcdp_slice_bit(number, slice);

		if (bit && w->slices[slice] == NULL)
			w->slices[slice] = MemoryContextAllocZero(w->cx, CHUNK_BITS_BYTES);
		if (w->slices[slice] != NULL)
			mcdp_bits_set(w->slices[slice], id % CHUNK_IDS, bit);
	}
}

static void
start_chunk(Writer *w, int64 chunk)
{
	MemoryContextReset(w->cx);
	memset(w->slices, 0, sizeof(w->slices));
	w->chunk = chunk;
}

/* ---- building ---- */

/* The numbers of profiles that are several leaves, ascending. */
typedef struct Roots
{
	uint64	   *ids;
	double	   *numbers;
	uint32		num;
	uint32		max;
	bool		dates;
	bool		exact;
} Roots;

typedef struct Build
{
	bool		dates;
	unsigned	forms;			/* in which there is room for all, so far */
	bool		exact;
	SliceForm	form;
	Writer	   *writer;			/* NULL: only look */
	int64		count;
} Build;

static void
take_root(void *arg, uint64 id, const CriteriaConst *value)
{
	Roots	   *roots = arg;
	double		number;
	bool		exact;

	if (!mcdp_trait_number(roots->dates, value, &number, &exact))
		return;
	if (roots->num == roots->max)
	{
		roots->max = Max(256, 2 * roots->max);
		roots->ids = roots->num == 0 ? palloc(roots->max * sizeof(uint64)) :
			repalloc_huge(roots->ids, roots->max * sizeof(uint64));
		roots->numbers = roots->num == 0 ? palloc(roots->max * sizeof(double)) :
			repalloc_huge(roots->numbers, roots->max * sizeof(double));
	}
	roots->ids[roots->num] = id;
	roots->numbers[roots->num++] = number;
	roots->exact = roots->exact && exact;
}

static void
flush_chunk(Writer *w)
{
	if (w->chunk < 0)
		return;
	for (int slice = 0; slice < SLICE_COUNT; slice++)
		if (w->slices[slice] != NULL)
			write_slice(w, slice, w->slices[slice]);
}

static void
take_number(Build *build, uint64 id, double number)
{
	Writer	   *w = build->writer;
	SliceNumber slices;

	CHECK_FOR_INTERRUPTS();
	if (w == NULL)
	{
		build->forms &= mcdp_slice_forms(number);
		build->count++;
		return;
	}
	if ((int64) (id >> CHUNK_ID_BITS) != w->chunk)
	{
		flush_chunk(w);
		start_chunk(w, id >> CHUNK_ID_BITS);
	}
	mcdp_slice_from_number(build->form, number, &slices);
	set_number(w, id, slices, true);
}

/* All numbers of the trait in order of profiles; some were merged. */
static void
go_through(Build *build, Datum trait, const Roots *roots, const Rbuf *leaves)
{
	Portal		portal = SPI_cursor_open(NULL, mcdp_statement_plan(&all_values), &trait, NULL, true);
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "trait values",
											 ALLOCSET_DEFAULT_SIZES);
	uint32		root = 0;

	for (;;)
	{
		SPITupleTable *rows;
		uint64		nrows;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		rows = SPI_tuptable;	/* writing overwrites it */
		nrows = SPI_processed;
		if (nrows == 0)
			break;
		for (uint64 i = 0; i < nrows; i++)
		{
			MemoryContext old;
			bool		isnull;
			uint64		id = DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
			Jsonb	   *json;
			JsonbValue	scalar;
			CriteriaConst value;
			double		number = 0;
			bool		exact = true;
			bool		is_number;

			if (mcdp_rbuf_contains(leaves, id))
				continue;
			old = MemoryContextSwitchTo(cx);
			json = DatumGetJsonbP(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));
			if (!JB_ROOT_IS_SCALAR(json) || !JsonbExtractScalar(&json->root, &scalar))
				scalar.type = jbvBinary;
			is_number = mcdp_criteria_from_json(&scalar, &value) &&
				mcdp_trait_number(build->dates, &value, &number, &exact);
			MemoryContextSwitchTo(old);
			if (!is_number)
				continue;
			build->exact = build->exact && exact;
			for (; root < roots->num && roots->ids[root] < id; root++)
				take_number(build, roots->ids[root], roots->numbers[root]);
			take_number(build, id, number);
		}
		MemoryContextReset(cx);
		SPI_freetuptable(rows);
	}
	SPI_freetuptable(SPI_tuptable);
	for (; root < roots->num; root++)
		take_number(build, roots->ids[root], roots->numbers[root]);
	MemoryContextDelete(cx);
	SPI_cursor_close(portal);
}

/*
 * _build_trait(trait, dates, OUT form, OUT profiles): writes the slices of a
 * trait that has none; form is NULL when its numbers cannot be told apart as
 * float8.
 */
Datum
mcdp__build_trait(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Build		build = {PG_GETARG_BOOL(1), ~0, true, SLICE_FORM_FLOAT, NULL, 0};
	Roots		roots = {NULL, NULL, 0, 0, PG_GETARG_BOOL(1), true};
	Writer		writer = {NULL};
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "build trait",
											 ALLOCSET_DEFAULT_SIZES);
	Rbuf	   *merged,
			   *leaves;
	RbufIter	it;
	uint64		id;
	int64		ids[FETCH_ROWS];
	bool		more = true;
	bool		usable;

	mcdp_spi_connect();
	mcdp_trait_merged(cx, &merged, &leaves);
	mcdp_rbuf_iter_init(&it, merged);
	while (more)
	{
		int			n = 0;

		while (n < FETCH_ROWS && (more = mcdp_rbuf_iter_next(&it, &id)))
			ids[n++] = (int64) id;
		if (n > 0)
			mcdp_source_traits(ids, n, name, take_root, &roots);
	}

	writer.cx = AllocSetContextCreate(cx, "chunk of slices", ALLOCSET_DEFAULT_SIZES);
	writer.trait = PG_GETARG_DATUM(0);
	writer.chunk = -1;
	go_through(&build, writer.trait, &roots, leaves);
	usable = build.exact && roots.exact;
	if (usable)
	{
		build.form = mcdp_slice_best_form(build.forms, build.dates);
		build.writer = &writer;
		go_through(&build, writer.trait, &roots, leaves);
		flush_chunk(&writer);
	}
	mcdp_spi_finish();
	MemoryContextDelete(cx);
	if (!usable)
		PG_RETURN_NULL();
	PG_RETURN_INT16(build.form);
}

/* ---- folding ---- */

typedef struct Changes
{
	const int64 *ids;			/* ascending */
	SliceNumber *numbers;
	bool	   *exists;
	uint64		num;
	bool		dates;
	SliceForm	form;
	bool		fits;
} Changes;

static void
take_change(void *arg, uint64 id, const CriteriaConst *value)
{
	Changes    *c = arg;
	uint64		low = 0,
				high = c->num;
	double		number;
	bool		exact;

	if (!mcdp_trait_number(c->dates, value, &number, &exact))
		return;
	while (low < high)
	{
		uint64		middle = low + (high - low) / 2;

		if ((uint64) c->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	c->exists[low] = true;
	if (!exact || !mcdp_slice_from_number(c->form, number, &c->numbers[low]))
		c->fits = false;
}

/* The slice as it is stored; NULL when empty. */
static uint8 *
read_slice(Writer *w, int slice)
{
	ScanKeyData keys[3];
	Probe	   *probe;
	uint8	   *bits = NULL;

	mcdp_probe_text_key(&keys[0], 1, w->trait, C_COLLATION_OID);
	mcdp_probe_int2_key(&keys[1], 2, slice);
	mcdp_probe_id_key(&keys[2], 3, w->chunk);
	probe = mcdp_probe_begin("trait_slice", "trait_slice_pkey", GetActiveSnapshot(), keys, 3);
	if (mcdp_probe_next(probe))
	{
		bits = MemoryContextAlloc(w->cx, CHUNK_BITS_BYTES);
		mcdp_chunk_expand(DatumGetByteaPP(mcdp_probe_value(probe, 4)), bits);
	}
	mcdp_probe_end(probe);
	return bits;
}

static void
change_chunk(Writer *w, const Changes *c, uint64 from, uint64 until)
{
	uint8	   *before[SLICE_COUNT];

	start_chunk(w, c->ids[from] >> CHUNK_ID_BITS);
	for (int slice = 0; slice < SLICE_COUNT; slice++)
	{
		before[slice] = read_slice(w, slice);
		if (before[slice] == NULL)
			continue;
		w->slices[slice] = MemoryContextAlloc(w->cx, CHUNK_BITS_BYTES);
		memcpy(w->slices[slice], before[slice], CHUNK_BITS_BYTES);
	}
	for (uint64 i = from; i < until; i++)
		set_number(w, c->ids[i], c->numbers[i], c->exists[i]);
	for (int slice = 0; slice < SLICE_COUNT; slice++)
		if (w->slices[slice] != NULL &&
			(before[slice] == NULL || memcmp(before[slice], w->slices[slice], CHUNK_BITS_BYTES) != 0))
			write_slice(w, slice, w->slices[slice]);
}

/*
 * _fold_trait(trait, dates, form, profiles): puts the numbers of these profiles,
 * and of whoever they were merged into, into the slices.  False, and nothing
 * written, when one does not fit the form.
 */
Datum
mcdp__fold_trait(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum		profiles = PG_GETARG_DATUM(3);
	Changes		changes = {NULL, NULL, NULL, 0, PG_GETARG_BOOL(1), PG_GETARG_INT16(2), true};
	Writer		writer = {NULL};
	int64	   *ids;

	mcdp_spi_connect();
	changes.num = mcdp_statement_ask(&with_canonical, &profiles);
	ids = palloc(Max(changes.num, 1) * sizeof(int64));
	for (uint64 i = 0; i < changes.num; i++)
	{
		bool		isnull;

		ids[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	changes.ids = ids;
	changes.numbers = palloc0(Max(changes.num, 1) * sizeof(SliceNumber));
	changes.exists = palloc0(Max(changes.num, 1) * sizeof(bool));
	for (uint64 i = 0; i < changes.num; i += FETCH_ROWS)
		mcdp_source_traits(ids + i, Min(FETCH_ROWS, changes.num - i), name, take_change, &changes);
	if (changes.fits)
	{
		uint64		from = 0;

		writer.cx = AllocSetContextCreate(CurrentMemoryContext, "chunk of slices",
										  ALLOCSET_DEFAULT_SIZES);
		writer.trait = PG_GETARG_DATUM(0);
		for (uint64 i = 1; i <= changes.num; i++)
			if (i == changes.num || ids[i] >> CHUNK_ID_BITS != ids[from] >> CHUNK_ID_BITS)
			{
				CHECK_FOR_INTERRUPTS();
				change_chunk(&writer, &changes, from, i);
				from = i;
			}
	}
	mcdp_spi_finish();
	PG_RETURN_BOOL(changes.fits);
}
