/*-------------------------------------------------------------------------
 *
 * tag_history.c
 *	  Tags of the past.
 *
 * Whether a key has a row in tag_key is looked up first, by index: for nearly
 * every tag that is all.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_history.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/tag_history.h"
#include "store/tag_point.h"
#include "types/bitmap.h"

typedef struct HistoryQuery
{
	const char *text;
	int			nargs;
	Oid			argtypes[3];
	SPIPlanPtr	plan;
} HistoryQuery;

static HistoryQuery matters = {
	"SELECT cdp._keeps_history($1) AND EXISTS (SELECT FROM cdp.tag_history h WHERE h.tag = $1 AND h.at > $2)",
	2, {TEXTOID, TIMESTAMPTZOID}
};
static HistoryQuery members = {
	"SELECT cdp._tagged_at($1, $2)",
	2, {TEXTOID, TIMESTAMPTZOID}
};
static HistoryQuery has = {
	"SELECT cdp._has_tag_at($3, $1, $2)",
	3, {TEXTOID, TIMESTAMPTZOID, INT8OID}
};

/* One value, which is never null; the caller frees SPI_tuptable. */
static Datum
ask(HistoryQuery *query, Datum *args)
{
	bool		isnull;

	if (query->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(query->text, query->nargs, query->argtypes);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_keepplan failed");
		query->plan = plan;
	}
	if (SPI_execute_plan(query->plan, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
}

bool
mcdp_tag_history_matters(const char *tag, TimestampTz at)
{
	Datum		args[2] = {CStringGetTextDatum(tag), TimestampTzGetDatum(at)};
	ScanKeyData key;
	Probe	   *probe;
	bool		result;

	mcdp_probe_text_key(&key, 1, PointerGetDatum(cstring_to_text_with_len(tag, strcspn(tag, ":"))), C_COLLATION_OID);
	probe = mcdp_probe_begin("tag_key", "tag_key_pkey", GetActiveSnapshot(), &key, 1);
	result = mcdp_probe_next(probe);
	mcdp_probe_end(probe);
	if (result)
	{
		result = DatumGetBool(ask(&matters, args));
		SPI_freetuptable(SPI_tuptable);
	}
	return result;
}

typedef struct AnyTag
{
	TimestampTz at;
	bool		matters;
} AnyTag;

static void
look_at_tag(const CriteriaNode *node, void *arg)
{
	AnyTag	   *any = arg;

	if (!any->matters)
		any->matters = mcdp_tag_history_matters(node->name, any->at);
}

bool
mcdp_tag_history_matters_to(const CriteriaNode *rule, TimestampTz at)
{
	AnyTag		any = {at, false};

	mcdp_criteria_visit_tags(rule, look_at_tag, &any);
	return any.matters;
}

Rbuf *
mcdp_tag_history_members(MemoryContext cx, const char *tag, TimestampTz at)
{
	Datum		args[2] = {CStringGetTextDatum(tag), TimestampTzGetDatum(at)};
	Rbuf	   *result = mcdp_bitmap_to_rbuf(cx, ask(&members, args));

	SPI_freetuptable(SPI_tuptable);
	return result;
}

bool
mcdp_tag_history_has(int64 id, const char *tag, TimestampTz at)
{
	Datum		args[3] = {CStringGetTextDatum(tag), TimestampTzGetDatum(at), Int64GetDatum(id)};
	bool		result = DatumGetBool(ask(&has, args));

	SPI_freetuptable(SPI_tuptable);
	return result;
}
