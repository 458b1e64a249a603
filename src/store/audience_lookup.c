/*-------------------------------------------------------------------------
 *
 * audience_lookup.c
 *	  What rules look up besides tags, traits and timelines: label sets,
 *	  priors, rows of events; and when any of it changes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_lookup.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "store/source_query.h"

static SourceQuery in_label_set = {
	"SELECT true FROM cdp.label_set s WHERE s.name = $1 AND s.label = $2",
	2, {TEXTOID, TEXTOID}
};

/* microseconds; a label's prior, else the event's */
#define PRIOR_GAP \
	" (1000000::numeric OPERATOR(pg_catalog.*) extract(epoch FROM cdp._shrink_gap(0, NULL, p.gap, 1)))::bigint"
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

bool
mcdp_source_in_label_set(const char *set, const char *label, int len)
{
	Datum		args[2] = {CStringGetTextDatum(set), PointerGetDatum(cstring_to_text_with_len(label, len))};

	return mcdp_source_question(&in_label_set, args);
}

void
mcdp_source_prior(const char *event, const char *label, McdpPriorGap *out)
{
	Datum		args[2] = {CStringGetTextDatum(event), CStringGetTextDatum(label == NULL ? "" : label)};
	bool		isnull;

	mcdp_source_run(&prior, args);
	if (SPI_processed > 0)
	{
		out->exists = true;
		out->gap = DatumGetInt64(mcdp_source_value(0, 1, &isnull));
		out->weight = DatumGetFloat8(mcdp_source_value(0, 2, &isnull));
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
	mcdp_source_run(&lookups, args);
	result = mcdp_source_value(0, 1, &isnull);
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

	mcdp_source_run(query, args);
	result = DatumGetTimestampTz(mcdp_source_value(0, 1, &isnull));
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
		TimestampTz tagged;

		args[1] = text_array(tags);
		args[2] = TimestampTzGetDatum(at);
		tagged = run_instant(&tag_change, args, at);
		next = Min(next, tagged);
	}
	return next;
}

/* ---- rows of events ---- */

uint64
mcdp_source_event_entries(const int64 *ids, int n, Datum names, TimestampTz since, TimestampTz until,
						  Datum rule)
{
	Datum		args[5] = {mcdp_source_ids(ids, n), names, TimestampTzGetDatum(since), TimestampTzGetDatum(until), rule};

	mcdp_source_run(&event_entries, args);
	return SPI_processed;
}

/* An instant that the name of a partition can be made of. */
#define NEAR(n)	"least(greatest($" n ", '2000-01-01'), '2200-01-01')"

static SourceQuery events = {
	"SELECT coalesce(sum(CASE WHEN c.reltuples < 0 THEN pg_catalog.pg_relation_size(c.oid) / 250.0 ELSE c.reltuples END), 0)::float8"
	" FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'cdp.event'::pg_catalog.regclass"
	" AND c.relname >= cdp._event_partition_name(" NEAR("1") ") AND c.relname <= cdp._event_partition_name(" NEAR("2") ")",
	2, {TIMESTAMPTZOID, TIMESTAMPTZOID}
};
static SourceQuery all_entries = {
	"SELECT e.profile_id, e.at, e.event, e.label, e.value, e.properties FROM cdp._all_event_rows($1, $2, $3, $4) e",
	4, {TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID}
};

double
mcdp_source_events(TimestampTz since, TimestampTz until)
{
	Datum		args[2] = {TimestampTzGetDatum(since), TimestampTzGetDatum(until)};
	bool		isnull;
	double		result;

	mcdp_source_run(&events, args);
	result = DatumGetFloat8(mcdp_source_value(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return result;
}

Portal
mcdp_source_all_event_entries(Datum names, TimestampTz since, TimestampTz until, Datum rule)
{
	Datum		args[4] = {names, TimestampTzGetDatum(since), TimestampTzGetDatum(until), rule};

	return SPI_cursor_open(NULL, mcdp_source_plan(&all_entries), args, NULL, true);
}
