/*-------------------------------------------------------------------------
 *
 * audience_source.c
 *	  What rules are evaluated on, fetched from the managed schema.
 *
 * Every query is read only, so SPI runs it under the active snapshot instead
 * of a new one.  Plans are kept for the life of the session; they name no type
 * of ours, so they survive a new CREATE EXTENSION.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_source.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "store/chunk_scan.h"
#include "types/bitmap.h"

#define FETCH_ROWS		1000

typedef struct SourceQuery
{
	const char *text;
	int			nargs;
	Oid			argtypes[2];
	SPIPlanPtr	plan;
} SourceQuery;

/* cdp._has_tag, which SQL would not inline */
#define HAS_TAG(id, tag) \
	"coalesce((SELECT n.present FROM cdp.tag_pending n" \
	" WHERE n.tag = " tag " AND n.profile_id = " id ")," \
	" (SELECT cdp._chunk_contains(c.members, " id ") FROM cdp.tag_chunk c" \
	" WHERE c.tag = " tag " AND c.chunk = " id " >> 15), false)"

static SourceQuery universe = {
	"SELECT cdp._universe($1, $2)",
	2, {TEXTOID, TIMESTAMPTZOID}
};
static SourceQuery in_universe = {
	"SELECT p.canonical_id = p.profile_id AND "
	HAS_TAG("p.profile_id", "(pg_catalog.chr(1) || 'kind:' || p.kind)")
	" AND (p.first_at <= $2 OR EXISTS (SELECT FROM cdp.profile l"
	"	   WHERE l.canonical_id = p.profile_id AND l.first_at <= $2))"
	" FROM cdp.profile p WHERE p.profile_id = $1",
	2, {INT8OID, TIMESTAMPTZOID}
};
static SourceQuery has_tag = {
	"SELECT " HAS_TAG("$1", "$2"),
	2, {INT8OID, TEXTOID}
};
static SourceQuery trait = {
	"SELECT v.value FROM cdp.profile l"
	" JOIN cdp.trait_value v ON v.name = $2 AND v.profile_id = l.profile_id"
	" WHERE l.canonical_id = $1 ORDER BY v.at DESC, v.value DESC LIMIT 1",
	2, {INT8OID, TEXTOID}
};
static SourceQuery traits = {
	"SELECT DISTINCT ON (l.canonical_id) l.canonical_id, v.value FROM cdp.profile l"
	" JOIN cdp.trait_value v ON v.name = $2 AND v.profile_id = l.profile_id"
	" WHERE l.canonical_id = ANY ($1) ORDER BY l.canonical_id, v.at DESC, v.value DESC",
	2, {INT8ARRAYOID, TEXTOID}
};
static SourceQuery all_traits = {
	"SELECT v.profile_id, v.value FROM cdp.trait_value v WHERE v.name = $1",
	1, {TEXTOID}
};
static SourceQuery timeline = {
	"SELECT cdp.timeline_of($1)",
	1, {INT8OID}
};

static SourceQuery split_histories = {
	"SELECT cdp.rb_build_agg(l.canonical_id) FROM cdp.profile l WHERE l.profile_id IN ("
	"SELECT p.profile_id FROM cdp.timeline_part p WHERE NOT p.sole"
	" UNION SELECT t.profile_id FROM cdp.event_tail t)",
	0
};

static SPIPlanPtr
get_plan(SourceQuery *query)
{
	if (query->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(query->text, query->nargs, query->argtypes);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_keepplan failed");
		query->plan = plan;
	}
	return query->plan;
}

/* The result is in SPI_tuptable; the caller frees it. */
static void
run_query(SourceQuery *query, Datum *args)
{
	int			rc = SPI_execute_plan(get_plan(query), args, NULL, true, 0);

	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
}

static Datum
get_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/* One boolean, false when there is no row. */
static bool
run_question(SourceQuery *query, Datum *args)
{
	bool		isnull,
				result;

	run_query(query, args);
	result = SPI_processed > 0 && DatumGetBool(get_value(0, 1, &isnull)) && !isnull;
	SPI_freetuptable(SPI_tuptable);
	return result;
}

Rbuf *
mcdp_source_tagged(MemoryContext cx, const char *tag)
{
	return mcdp_chunk_members(cx, tag);
}

Rbuf *
mcdp_source_universe(MemoryContext cx, const char *kind, TimestampTz at)
{
	Datum		args[2] = {CStringGetTextDatum(kind), TimestampTzGetDatum(at)};
	Rbuf	   *members;
	bool		isnull;

	run_query(&universe, args);
	members = mcdp_bitmap_to_rbuf(cx, get_value(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return members;
}

bool
mcdp_source_in_universe(int64 id, TimestampTz at)
{
	Datum		args[2] = {Int64GetDatum(id), TimestampTzGetDatum(at)};

	return run_question(&in_universe, args);
}

bool
mcdp_source_has_tag(int64 id, const char *tag)
{
	Datum		args[2] = {Int64GetDatum(id), CStringGetTextDatum(tag)};

	return run_question(&has_tag, args);
}

/* False for null, which stands for a trait that was removed. */
static bool
trait_from_jsonb(MemoryContext cx, Datum value, CriteriaConst *out)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	JsonbValue	scalar;

	memset(out, 0, sizeof(*out));
	out->type = CRITERIA_OTHER;
	if (!JB_ROOT_IS_SCALAR(jsonb) || !JsonbExtractScalar(&jsonb->root, &scalar))
		return true;
	switch (scalar.type)
	{
		case jbvNull:
			return false;
		case jbvNumeric:
			out->type = CRITERIA_NUMBER;
			out->number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
															 NumericGetDatum(scalar.val.numeric)));
			break;
		case jbvBool:
			out->type = CRITERIA_BOOLEAN;
			out->boolean = scalar.val.boolean;
			break;
		case jbvString:
			{
				char	   *text = MemoryContextAlloc(cx, scalar.val.string.len + 1);

				memcpy(text, scalar.val.string.val, scalar.val.string.len);
				text[scalar.val.string.len] = '\0';
				out->type = CRITERIA_TEXT;
				out->text = text;
				out->len = scalar.val.string.len;
				break;
			}
		default:
			break;
	}
	return true;
}

bool
mcdp_source_trait(MemoryContext cx, int64 id, const char *name, CriteriaConst *out)
{
	Datum		args[2] = {Int64GetDatum(id), CStringGetTextDatum(name)};
	bool		found = false;
	bool		isnull;

	run_query(&trait, args);
	if (SPI_processed > 0)
		found = trait_from_jsonb(cx, get_value(0, 1, &isnull), out);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

Timeline *
mcdp_source_timeline(MemoryContext cx, int64 id)
{
	Datum		arg = Int64GetDatum(id);
	Timeline   *result = NULL;
	Datum		value;
	bool		isnull;

	run_query(&timeline, &arg);
	value = get_value(0, 1, &isnull);
	if (!isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(cx);

		result = (Timeline *) PG_DETOAST_DATUM_COPY(value);
		MemoryContextSwitchTo(old);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

/* Hand the rows (id, value) of a query on to "take". */
static void
stream_traits(SourceQuery *query, Datum *args, SourceTakeTrait take, void *arg)
{
	Portal		portal = SPI_cursor_open(NULL, get_plan(query), args, NULL, true);
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "traits",
											 ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(cx);
			CriteriaConst value;
			bool		isnull;
			uint64		id = (uint64) DatumGetInt64(get_value(i, 1, &isnull));

			CHECK_FOR_INTERRUPTS();
			if (trait_from_jsonb(cx, get_value(i, 2, &isnull), &value))
				take(arg, id, &value);
			MemoryContextSwitchTo(old);
		}
		MemoryContextReset(cx);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	MemoryContextDelete(cx);
	SPI_cursor_close(portal);
}

void
mcdp_source_traits(const int64 *ids, int n, const char *name, SourceTakeTrait take, void *arg)
{
	Datum	   *elems = palloc(n * sizeof(Datum));
	Datum		args[2];

	for (int i = 0; i < n; i++)
		elems[i] = Int64GetDatum(ids[i]);
	args[0] = PointerGetDatum(construct_array(elems, n, INT8OID, sizeof(int64),
											  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[1] = CStringGetTextDatum(name);
	stream_traits(&traits, args, take, arg);
	pfree(elems);
	pfree(DatumGetPointer(args[0]));
}

void
mcdp_source_all_traits(const char *name, SourceTakeTrait take, void *arg)
{
	Datum		value = CStringGetTextDatum(name);

	stream_traits(&all_traits, &value, take, arg);
}

Rbuf *
mcdp_source_split_histories(MemoryContext cx)
{
	Rbuf	   *result;
	Datum		value;
	bool		isnull;

	run_query(&split_histories, NULL);
	value = get_value(0, 1, &isnull);
	result = isnull ? mcdp_rbuf_create(cx) : mcdp_bitmap_to_rbuf(cx, value);
	SPI_freetuptable(SPI_tuptable);
	return result;
}

/* These name a type of ours, so their plans are made anew each time. */
static Portal
open_for_set(const char *query, Rbuf *set, Oid bitmap_type)
{
	Datum		arg = mcdp_rbuf_to_bitmap(set);

	return SPI_cursor_open_with_args(NULL, query, 1, &bitmap_type, &arg, NULL, true, 0);
}

Portal
mcdp_source_timelines(Rbuf *candidates, Oid bitmap_type)
{
	return open_for_set("SELECT t.profile_id, t.timeline FROM cdp._timelines_of($1) t",
						candidates, bitmap_type);
}

Portal
mcdp_source_sole_timelines(Rbuf *candidates, Oid bitmap_type)
{
	if (candidates == NULL)
		return SPI_cursor_open_with_args(NULL,
										 "SELECT p.profile_id, p.timeline FROM cdp.timeline_part p WHERE p.sole",
										 0, NULL, NULL, NULL, true, 0);
	return open_for_set("SELECT p.profile_id, p.timeline FROM cdp.timeline_part p"
						" WHERE p.sole AND $1 OPERATOR(cdp.@>) p.profile_id",
						candidates, bitmap_type);
}
