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
#include "store/tag_history.h"
#include "types/bitmap.h"
#include "types/criteria_datum.h"

#define FETCH_ROWS		1000

typedef struct SourceQuery
{
	const char *text;
	int			nargs;
	Oid			argtypes[5];
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

static SourceQuery in_label_set = {
	"SELECT true FROM cdp.label_set s WHERE s.name = $1 AND s.label = $2",
	2, {TEXTOID, TEXTOID}
};
/* microseconds; a label's prior, else the event's */
#define PRIOR_GAP \
	" (1000000 * extract(epoch FROM cdp._shrink_gap(0, NULL, p.gap, 1)))::bigint"
static SourceQuery prior = {
	"SELECT" PRIOR_GAP ", p.weight FROM cdp.repurchase_prior p"
	" WHERE p.event = $1 AND p.label IN ($2, '') ORDER BY p.label = '' LIMIT 1",
	2, {TEXTOID, TEXTOID}
};
static SourceQuery lookups = {
	"SELECT pg_catalog.jsonb_build_object('label_sets',"
	" (SELECT pg_catalog.jsonb_object_agg(x.name, x.labels)"
	"  FROM (SELECT s.name, pg_catalog.jsonb_object_agg(s.label, true) AS labels"
	"   FROM cdp.label_set s WHERE s.name = ANY ($1) GROUP BY s.name) x),"
	" 'priors', (SELECT pg_catalog.jsonb_object_agg(x.event, x.labels)"
	"  FROM (SELECT p.event, pg_catalog.jsonb_object_agg(p.label, pg_catalog.jsonb_build_array(" PRIOR_GAP ", p.weight)) AS labels"
	"   FROM cdp.repurchase_prior p WHERE p.event = ANY ($2) GROUP BY p.event) x))",
	2, {TEXTARRAYOID, TEXTARRAYOID}
};
static SourceQuery first_at = {
	"SELECT pg_catalog.min(l.first_at) FROM cdp.profile l WHERE l.canonical_id = $1",
	1, {INT8OID}
};
static SourceQuery tag_change = {
	"SELECT pg_catalog.min(h.at) FROM cdp.profile l JOIN cdp.tag_history h ON h.profile_id = l.profile_id"
	" WHERE l.canonical_id = $1 AND h.tag = ANY ($2) AND h.at > $3",
	3, {INT8OID, TEXTARRAYOID, TIMESTAMPTZOID}
};
static SourceQuery event_entries = {
	"SELECT e.profile_id, e.at, e.event, e.label, e.value, e.properties FROM cdp._event_rows($1, $2, $3, $4, $5) e",
	5, {INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID}
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
mcdp_source_tagged(MemoryContext cx, const char *tag, TimestampTz at)
{
	if (mcdp_tag_history_matters(tag, at))
		return mcdp_tag_history_members(cx, tag, at);
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

List *
mcdp_source_kinds(MemoryContext cx)
{
	List	   *result = NIL;

	run_query(&kinds, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		kind = get_value(i, 1, &isnull);
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

	return run_question(&in_universe, args);
}

bool
mcdp_source_has_tag(int64 id, const char *tag, TimestampTz at)
{
	Datum		args[2] = {Int64GetDatum(id), CStringGetTextDatum(tag)};

	if (mcdp_tag_history_matters(tag, at))
		return mcdp_tag_history_has(id, tag, at);
	return run_question(&has_tag, args);
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

static Datum
id_array(const int64 *ids, int n)
{
	Datum	   *elems = palloc(n * sizeof(Datum));
	ArrayType  *array;

	for (int i = 0; i < n; i++)
		elems[i] = Int64GetDatum(ids[i]);
	array = construct_array(elems, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	pfree(elems);
	return PointerGetDatum(array);
}

void
mcdp_source_leaves(const int64 *ids, int n, Rbuf *result)
{
	Datum		arg = id_array(ids, n);
	bool		isnull;

	run_query(&leaves, &arg);
	for (uint64 i = 0; i < SPI_processed; i++)
		mcdp_rbuf_add(result, (uint64) DatumGetInt64(get_value(i, 1, &isnull)));
	SPI_freetuptable(SPI_tuptable);
	pfree(DatumGetPointer(arg));
}

void
mcdp_source_traits(const int64 *ids, int n, const char *name, SourceTakeTrait take, void *arg)
{
	Datum		args[2];

	args[0] = id_array(ids, n);
	args[1] = CStringGetTextDatum(name);
	stream_traits(&traits, args, take, arg);
	pfree(DatumGetPointer(args[0]));
}

void
mcdp_source_all_traits(const char *name, SourceTakeTrait take, void *arg)
{
	Datum		value = CStringGetTextDatum(name);

	stream_traits(&all_traits, &value, take, arg);
}

/* A part of a leaf that was merged says so under the leaf's own id. */
Rbuf *
mcdp_source_split_histories(MemoryContext cx)
{
	Rbuf	   *result = mcdp_chunk_members(cx, AUDIENCE_MERGED_TAG);
	Datum		value;
	bool		isnull;

	run_query(&split_histories, NULL);
	value = get_value(0, 1, &isnull);
	if (!isnull)
	{
		Rbuf	   *others = mcdp_bitmap_to_rbuf(cx, value);

		mcdp_rbuf_or(result, others);
		mcdp_rbuf_free(others);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

/* ---- what rules look up ---- */

bool
mcdp_source_in_label_set(const char *set, const char *label, int len)
{
	Datum		args[2] = {CStringGetTextDatum(set), PointerGetDatum(cstring_to_text_with_len(label, len))};

	return run_question(&in_label_set, args);
}

void
mcdp_source_prior(const char *event, const char *label, McdpPriorGap *out)
{
	Datum		args[2] = {CStringGetTextDatum(event), CStringGetTextDatum(label == NULL ? "" : label)};
	bool		isnull;

	run_query(&prior, args);
	if (SPI_processed > 0)
	{
		out->exists = true;
		out->gap = DatumGetInt64(get_value(0, 1, &isnull));
		out->weight = DatumGetFloat8(get_value(0, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

typedef struct LookupNames
{
	List	   *sets;
	List	   *events;			/* of due() */
} LookupNames;

static void
list_lookup(const CriteriaEvent *event, const CriteriaNode *node, void *arg)
{
	LookupNames *names = arg;

	if (event->label_type == CRITERIA_LABEL_SET)
		names->sets = lappend(names->sets, unconstify(char *, event->label));
	if (node->op == CRITERIA_COMPARE && node->measure == CRITERIA_DUE && event->name != NULL)
		names->events = lappend(names->events, unconstify(char *, event->name));
}

static Datum
text_array(List *strings)
{
	Datum	   *elems = palloc((list_length(strings) + 1) * sizeof(Datum));
	ListCell   *lc;
	int			n = 0;

	foreach(lc, strings)
		elems[n++] = CStringGetTextDatum(lfirst(lc));
	return PointerGetDatum(construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum
mcdp_source_lookups(const CriteriaNode *rule)
{
	LookupNames names = {NIL, NIL};
	Datum		args[2];
	Datum		result;
	bool		isnull;

	mcdp_criteria_visit_events(rule, list_lookup, &names);
	if (names.sets == NIL && names.events == NIL)
		return DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	args[0] = text_array(names.sets);
	args[1] = text_array(names.events);
	run_query(&lookups, args);
	result = get_value(0, 1, &isnull);
	result = SPI_datumTransfer(result, false, -1);
	SPI_freetuptable(SPI_tuptable);
	return result;
}

/* An instant later than "at", or never. */
static TimestampTz
run_instant(SourceQuery *query, Datum *args, TimestampTz at)
{
	TimestampTz result;
	bool		isnull;

	run_query(query, args);
	result = DatumGetTimestampTz(get_value(0, 1, &isnull));
	if (isnull || result <= at)
		result = PG_INT64_MAX;
	SPI_freetuptable(SPI_tuptable);
	return result;
}

static void
list_tag(const CriteriaNode *node, void *arg)
{
	List	  **tags = arg;

	*tags = lappend(*tags, unconstify(char *, node->name));
}

TimestampTz
mcdp_source_next_change(int64 id, const CriteriaNode *rule, TimestampTz at)
{
	List	   *tags = NIL;
	Datum		args[3] = {Int64GetDatum(id)};
	TimestampTz next = run_instant(&first_at, args, at);

	mcdp_criteria_visit_tags(rule, list_tag, &tags);
	if (tags != NIL)
	{
		args[1] = text_array(tags);
		args[2] = TimestampTzGetDatum(at);
		next = Min(next, run_instant(&tag_change, args, at));
	}
	return next;
}

/* ---- rows of events ---- */

uint64
mcdp_source_event_entries(const int64 *ids, int n, Datum names, TimestampTz since, TimestampTz until,
						  Datum rule)
{
	Datum		args[5] = {id_array(ids, n), names, TimestampTzGetDatum(since), TimestampTzGetDatum(until), rule};

	run_query(&event_entries, args);
	return SPI_processed;
}
