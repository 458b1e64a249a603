/*-------------------------------------------------------------------------
 *
 * audience_source.c
 *	  What rules are evaluated on, fetched from the managed schema.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_source.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "store/access.h"
#include "store/audience.h"
#include "store/chunk_scan.h"
#include "store/source_query.h"
#include "store/tag_history.h"
#include "types/bitmap.h"
#include "types/criteria_datum.h"

#define FETCH_ROWS		1000

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
static SourceQuery kinds = {
	"SELECT pg_catalog.substr(k.tag, 7) FROM ("
	"SELECT c.tag FROM cdp.tag_chunk c WHERE c.tag >= pg_catalog.chr(1) || 'kind:' AND c.tag < pg_catalog.chr(1) || 'kind;'"
	" UNION SELECT n.tag FROM cdp.tag_pending n WHERE n.tag >= pg_catalog.chr(1) || 'kind:' AND n.tag < pg_catalog.chr(1) || 'kind;') k",
	0
};
static SourceQuery has_tag = {
	"SELECT " HAS_TAG("$1", "$2"),
	2, {INT8OID, TEXTOID}
};

/* Which of several leaves' values is the profile's: as in cdp.trait. */
#define LEAF_VALUES \
	" FROM cdp.profile l" \
	" JOIN cdp.trait_value v ON v.name = $2 AND v.profile_id = l.profile_id" \
	" LEFT JOIN cdp.trait_rule r ON r.name = v.name AND r.survivorship <> 'latest'"
#define BEST_VALUE \
	" r.name IS NOT NULL AND v.value = 'null'," \
	" CASE r.survivorship WHEN 'first' THEN v.at END," \
	" CASE r.survivorship WHEN 'min' THEN v.value END," \
	" CASE r.survivorship WHEN 'max' THEN v.value END DESC, v.at DESC, v.value DESC"

static SourceQuery trait = {
	"SELECT v.value" LEAF_VALUES " WHERE l.canonical_id = $1 ORDER BY" BEST_VALUE " LIMIT 1",
	2, {INT8OID, TEXTOID}
};
static SourceQuery traits = {
	"SELECT DISTINCT ON (l.canonical_id) l.canonical_id, v.value" LEAF_VALUES
	" WHERE l.canonical_id = ANY ($1) ORDER BY l.canonical_id," BEST_VALUE,
	2, {INT8ARRAYOID, TEXTOID}
};
static SourceQuery all_traits = {
	"SELECT v.profile_id, v.value FROM cdp.trait_value v WHERE v.name = $1",
	1, {TEXTOID}
};
static SourceQuery leaves = {
	"SELECT l.profile_id FROM cdp.profile l WHERE l.canonical_id = ANY ($1)",
	1, {INT8ARRAYOID}
};
static SourceQuery timeline = {
	"SELECT cdp.timeline_of($1)",
	1, {INT8OID}
};

static SourceQuery split_histories = {
	"SELECT cdp.rb_build_agg(x.id) FROM ("
	"SELECT p.profile_id AS id FROM cdp.timeline_part p WHERE NOT p.sole"
	" UNION ALL SELECT l.canonical_id FROM cdp.profile l"
	"  WHERE l.profile_id IN (SELECT t.profile_id FROM cdp.event_tail t)) x",
	0
};

Rbuf	   *
mcdp_source_tagged(MemoryContext cx, const char *tag, TimestampTz at)
{
	if (mcdp_tag_history_matters(tag, at))
		return mcdp_tag_history_members(cx, tag, at);
	return mcdp_chunk_members(cx, tag);
}

Rbuf	   *
mcdp_source_universe(MemoryContext cx, const char *kind, TimestampTz at)
{
	Datum		args[2] = {CStringGetTextDatum(kind), TimestampTzGetDatum(at)};
	Rbuf	   *members;
	bool		isnull;

	mcdp_source_run(&universe, args);
	members = mcdp_bitmap_to_rbuf(cx, mcdp_source_value(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return members;
}

List	   *
mcdp_source_kinds(MemoryContext cx)
{
	List	   *result = NIL;

	mcdp_source_run(&kinds, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		kind = mcdp_source_value(i, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(cx);

		result = lappend(result, TextDatumGetCString(kind));
		MemoryContextSwitchTo(old);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

bool
mcdp_source_in_universe(int64 id, TimestampTz at)
{
	Datum		args[2] = {Int64GetDatum(id), TimestampTzGetDatum(at)};

	return mcdp_source_question(&in_universe, args);
}

bool
mcdp_source_has_tag(int64 id, const char *tag, TimestampTz at)
{
	Datum		args[2] = {Int64GetDatum(id), CStringGetTextDatum(tag)};

	if (mcdp_tag_history_matters(tag, at))
		return mcdp_tag_history_has(id, tag, at);
	return mcdp_source_question(&has_tag, args);
}

/* False for null, which stands for a trait that was removed.  Text is copied. */
static bool
trait_from_jsonb(MemoryContext cx, Datum value, CriteriaConst *out)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	JsonbValue	scalar;

	if (!JB_ROOT_IS_SCALAR(jsonb) || !JsonbExtractScalar(&jsonb->root, &scalar))
		scalar.type = jbvBinary;
	if (!mcdp_criteria_from_json(&scalar, out))
		return false;
	if (out->type == CRITERIA_TEXT)
	{
		char	   *text = MemoryContextAlloc(cx, out->len + 1);

		memcpy(text, out->text, out->len);
		text[out->len] = '\0';
		out->text = text;
	}
	return true;
}

bool
mcdp_source_trait(MemoryContext cx, int64 id, const char *name, CriteriaConst *out)
{
	Datum		args[2] = {Int64GetDatum(id), CStringGetTextDatum(name)};
	bool		found = false;
	bool		isnull;

	mcdp_check_trait(name);
	mcdp_source_run(&trait, args);
	if (SPI_processed > 0)
		found = trait_from_jsonb(cx, mcdp_source_value(0, 1, &isnull), out);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

Timeline   *
mcdp_source_timeline(MemoryContext cx, int64 id)
{
	Datum		arg = Int64GetDatum(id);
	Timeline   *result = NULL;
	Datum		value;
	bool		isnull;

	mcdp_source_run(&timeline, &arg);
	value = mcdp_source_value(0, 1, &isnull);
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
	Portal		portal = SPI_cursor_open(NULL, mcdp_source_plan(query), args, NULL, true);
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
			uint64		id = (uint64) DatumGetInt64(mcdp_source_value(i, 1, &isnull));

			CHECK_FOR_INTERRUPTS();
			if (trait_from_jsonb(cx, mcdp_source_value(i, 2, &isnull), &value))
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
mcdp_source_leaves(const int64 *ids, int n, Rbuf *result)
{
	Datum		arg = mcdp_source_ids(ids, n);
	bool		isnull;

	mcdp_source_run(&leaves, &arg);
	for (uint64 i = 0; i < SPI_processed; i++)
		mcdp_rbuf_add(result, (uint64) DatumGetInt64(mcdp_source_value(i, 1, &isnull)));
	SPI_freetuptable(SPI_tuptable);
	pfree(DatumGetPointer(arg));
}

void
mcdp_source_traits(const int64 *ids, int n, const char *name, SourceTakeTrait take, void *arg)
{
	Datum		args[2];

	mcdp_check_trait(name);
	args[0] = mcdp_source_ids(ids, n);
	args[1] = CStringGetTextDatum(name);
	stream_traits(&traits, args, take, arg);
	pfree(DatumGetPointer(args[0]));
}

void
mcdp_source_all_traits(const char *name, SourceTakeTrait take, void *arg)
{
	Datum		value = CStringGetTextDatum(name);

	mcdp_check_trait(name);
	stream_traits(&all_traits, &value, take, arg);
}

/* A part of a leaf that was merged says so under the leaf's own id. */
Rbuf	   *
mcdp_source_split_histories(MemoryContext cx)
{
	Rbuf	   *result = mcdp_chunk_members(cx, AUDIENCE_MERGED_TAG);
	Datum		value;
	bool		isnull;

	mcdp_source_run(&split_histories, NULL);
	value = mcdp_source_value(0, 1, &isnull);
	if (!isnull)
	{
		Rbuf	   *others = mcdp_bitmap_to_rbuf(cx, value);

		mcdp_rbuf_or(result, others);
		mcdp_rbuf_free(others);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

double
mcdp_source_histories(double profiles)
{
	Oid			namespace = get_namespace_oid("cdp", true);
	HeapTuple	tuple = SearchSysCache2(RELNAMENSP, CStringGetDatum("timeline_part"),
										ObjectIdGetDatum(namespace));
	double		rows = -1;

	if (HeapTupleIsValid(tuple))
	{
		rows = ((Form_pg_class) GETSTRUCT(tuple))->reltuples;
		ReleaseSysCache(tuple);
	}
	return rows > 0 ? rows : profiles;
}
