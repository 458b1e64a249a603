/*-------------------------------------------------------------------------
 *
 * segment_fn.c
 *	  SQL-callable functions that keep segments (37_segment.sql).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/segment_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "store/access.h"
#include "store/audience.h"
#include "store/audience_probe.h"
#include "store/chunk_scan.h"
#include "store/row_insert.h"
#include "store/statement.h"
#include "store/suppression.h"
#include "types/bitmap.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp__audience_among);
PG_FUNCTION_INFO_V1(mcdp__look_at);
PG_FUNCTION_INFO_V1(mcdp__tagged_among);
PG_FUNCTION_INFO_V1(mcdp__tag_difference);
PG_FUNCTION_INFO_V1(mcdp__criteria_lookups);
PG_FUNCTION_INFO_V1(mcdp__criteria_dated_traits);
PG_FUNCTION_INFO_V1(mcdp__criteria_next);

/* Who of "among" (a bitmap, or NULL for everybody) is in the audience; within an SPI connection. */
static Rbuf *
audience_among(MemoryContext cx, const Criteria *criteria, const Datum *among, TimestampTz at, char *kind,
			   bool include_suppressed, Oid bitmap_type, AudienceDues *dues)
{
	CriteriaNode *rule = mcdp_criteria_open(criteria);
	Rbuf	   *members;
	uint64		everybody;

	if (mcdp_criteria_has_free_label(rule))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label \"$\" of the rule is not bound"),
				 errhint("Use it inside any(event: rule), or in the rules of a journey.")));
	if (!include_suppressed)
		rule = mcdp_suppression_apply(rule, kind);
	if (among != NULL && mcdp_universe_is_tag(kind, at))
	{
		/* Nobody else's chunks need be read. */
		Rbuf	   *candidates = mcdp_bitmap_to_rbuf(cx, *among);
		CriteriaNode tag = {.op = CRITERIA_TAG,.depth = 1};
		char	   *name = psprintf("\001kind:%s", kind);

		tag.name = name;
		tag.name_len = strlen(name);
		members = mcdp_rbuf_create(cx);
		(void) mcdp_chunk_rule_eval(&tag, candidates, NULL, members);
		everybody = mcdp_chunk_rule_eval(&tag, NULL, name, NULL);
	}
	else
	{
		Rbuf	   *universe = mcdp_source_universe(cx, kind, at);

		everybody = mcdp_rbuf_cardinality(universe);
		members = universe;
		if (among != NULL)
		{
			members = mcdp_bitmap_to_rbuf(cx, *among);
			mcdp_rbuf_and(members, universe);
		}
	}
	return mcdp_audience_among(cx, rule, members, everybody, at, bitmap_type, dues);
}

/* _audience_among(criteria, among, at, kind, include_suppressed); among NULL = everybody */
Datum
mcdp__audience_among(PG_FUNCTION_ARGS)
{
	MemoryContext cx;
	Rbuf	   *members;
	Datum		among;
	Datum		result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(4))
		PG_RETURN_NULL();
	cx = AllocSetContextCreate(CurrentMemoryContext, "audience", ALLOCSET_DEFAULT_SIZES);
	among = PG_GETARG_DATUM(1);
	mcdp_spi_connect();
	members = audience_among(cx, PG_GETARG_CRITERIA_PP(0), PG_ARGISNULL(1) ? NULL : &among, PG_GETARG_TIMESTAMPTZ(2),
							 text_to_cstring(PG_GETARG_TEXT_PP(3)), PG_GETARG_BOOL(4),
							 get_func_rettype(fcinfo->flinfo->fn_oid), NULL);
	mcdp_spi_finish();
	result = mcdp_rbuf_to_bitmap(members);
	MemoryContextDelete(cx);
	PG_RETURN_DATUM(result);
}

/* _tagged_among(tag, among) */
Datum
mcdp__tagged_among(PG_FUNCTION_ARGS)
{
	MemoryContext cx;
	Rbuf	   *members;
	Datum		result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	cx = AllocSetContextCreate(CurrentMemoryContext, "tagged", ALLOCSET_DEFAULT_SIZES);
	if (PG_ARGISNULL(1))
		members = mcdp_chunk_members(cx, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	else
	{
		CriteriaNode tag = {.op = CRITERIA_TAG,.depth = 1};
		char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

		tag.name = name;
		tag.name_len = strlen(name);
		members = mcdp_rbuf_create(cx);
		(void) mcdp_chunk_rule_eval(&tag, mcdp_bitmap_to_rbuf(cx, PG_GETARG_DATUM(1)), NULL, members);
	}
	result = mcdp_rbuf_to_bitmap(members);
	MemoryContextDelete(cx);
	PG_RETURN_DATUM(result);
}

/* ---- what has become of a tag? ---- */

/* The cursor's chunk if that is it, else an empty one. */
static const uint8 *
chunk_bits(ChunkCursor *cursor, int64 chunk, const uint8 *empty, const uint8 *full)
{
	const uint8 *bits;

	if (cursor->chunk != chunk)
		return empty;
	bits = mcdp_chunk_cursor_bits(cursor, NULL);
	return bits == NULL ? full : bits;
}

/* _tag_difference(present text, before text, OUT gained bitmap, OUT lost bitmap) */
Datum
mcdp__tag_difference(PG_FUNCTION_ARGS)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "tag difference",
											 ALLOCSET_DEFAULT_SIZES);
	uint8		empty[CHUNK_BITS_BYTES];
	uint8		full[CHUNK_BITS_BYTES];
	uint8		bits[CHUNK_BITS_BYTES];
	ChunkReader reader;
	ChunkCursor *present,
			   *before;
	Rbuf	   *gained = mcdp_rbuf_create(cx);
	Rbuf	   *lost = mcdp_rbuf_create(cx);
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	HeapTuple	tuple;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(empty, 0, sizeof(empty));
	memset(full, 0xff, sizeof(full));
	mcdp_chunk_reader_begin(&reader, cx);
	present = mcdp_chunk_cursor_begin(&reader, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	before = mcdp_chunk_cursor_begin(&reader, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	for (int64 chunk = 0;; chunk++)
	{
		int64		next_present = present->chunk >= chunk ? present->chunk : mcdp_chunk_cursor_seek(present, chunk);
		int64		next_before = before->chunk >= chunk ? before->chunk : mcdp_chunk_cursor_seek(before, chunk);
		const uint8 *a,
				   *b;

		CHECK_FOR_INTERRUPTS();
		chunk = Min(next_present, next_before);
		if (chunk == CHUNK_NONE)
			break;
		a = chunk_bits(present, chunk, empty, full);
		b = chunk_bits(before, chunk, empty, full);
		if (memcmp(a, b, CHUNK_BITS_BYTES) == 0)
			continue;
		mcdp_bits_andnot(bits, a, b);
		if (!mcdp_bits_empty(bits))
			mcdp_rbuf_or_slice(gained, chunk, bits);
		mcdp_bits_andnot(bits, b, a);
		if (!mcdp_bits_empty(bits))
			mcdp_rbuf_or_slice(lost, chunk, bits);
	}
	mcdp_chunk_cursor_end(present);
	mcdp_chunk_cursor_end(before);
	mcdp_chunk_reader_end(&reader);
	values[0] = mcdp_rbuf_to_bitmap(gained);
	values[1] = mcdp_rbuf_to_bitmap(lost);
	tuple = heap_form_tuple(BlessTupleDesc(desc), values, nulls);
	MemoryContextDelete(cx);
	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}

/* ---- when may a rule change by itself? ---- */

/* _criteria_lookups(criteria): label sets and priors that the rule needs */
Datum
mcdp__criteria_lookups(PG_FUNCTION_ARGS)
{
	CriteriaNode *rule = mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0));
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	Datum		result;

	mcdp_spi_connect();
	result = mcdp_source_lookups(rule);
	old = MemoryContextSwitchTo(caller);
	result = PointerGetDatum(PG_DETOAST_DATUM_COPY(result));
	MemoryContextSwitchTo(old);
	mcdp_spi_finish();
	PG_RETURN_DATUM(result);
}

typedef struct DatedTraits
{
	Datum	   *names;
	int			n;
	int			space;
} DatedTraits;

static void
add_dated(const CriteriaNode *node, void *arg)
{
	DatedTraits *dated = arg;
	bool		is_dated = false;

	for (int i = 0; i < node->num_consts; i++)
		if (node->consts[i].type == CRITERIA_LENGTH)
			is_dated = true;
	if (!is_dated)
		return;
	if (dated->n == dated->space)
	{
		dated->space = Max(16, 2 * dated->space);
		dated->names = dated->names == NULL ? palloc(dated->space * sizeof(Datum)) :
			repalloc(dated->names, dated->space * sizeof(Datum));
	}
	dated->names[dated->n++] = PointerGetDatum(cstring_to_text_with_len(node->name, node->name_len));
}

/* _criteria_dated_traits(criteria): traits compared with a length of time */
Datum
mcdp__criteria_dated_traits(PG_FUNCTION_ARGS)
{
	DatedTraits dated = {0};

	mcdp_criteria_visit_traits(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)), add_dated, &dated);
	PG_RETURN_ARRAYTYPE_P(construct_array(dated.names, dated.n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Instants are written down the coarser the farther they are: too early by at
 * most a 32nd of the time until then, so that there are few different ones.
 */
static TimestampTz
coarse(TimestampTz due, TimestampTz at)
{
	static const int64 units[] = {USECS_PER_DAY, 6 * USECS_PER_HOUR, USECS_PER_HOUR, 10 * USECS_PER_MINUTE, USECS_PER_MINUTE, USECS_PER_SEC};

	for (int i = 0; i < lengthof(units); i++)
	{
		if ((due - at) / 32 >= units[i])
			return due - (due % units[i] + units[i]) % units[i];
	}
	return due;
}

/* The rule and its lookups, kept for the next call from the same place. */
typedef struct NextRun
{
	CriteriaNode *rule;
	AudienceLookups lookups;
	Jsonb	   *traits;			/* of the profile in hand, or NULL */
} NextRun;

static bool
next_trait(void *arg, const CriteriaNode *node, CriteriaConst *out)
{
	NextRun    *run = arg;
	JsonbValue	buffer;
	JsonbValue *value;

	if (run->traits == NULL || !JB_ROOT_IS_OBJECT(run->traits))
		return false;
	value = getKeyJsonValueFromContainer(&run->traits->root, node->name, node->name_len, &buffer);
	return value != NULL && mcdp_criteria_from_json(value, out);
}

static bool
next_label_set(void *arg, const char *set, const char *label, int len)
{
	return mcdp_lookups_label_set(&((NextRun *) arg)->lookups, set, label, len);
}

static void
next_prior(void *arg, const char *event, const char *label, McdpPriorGap *out)
{
	mcdp_lookups_prior(&((NextRun *) arg)->lookups, event, label, out);
}

/*
 * _criteria_next(rule, history, at, traits, lookups): the first instant after
 * "at" at which the rule may answer differently if nothing happens, or some
 * time earlier.  rule and lookups must not change from call to call.
 */
Datum
mcdp__criteria_next(PG_FUNCTION_ARGS)
{
	NextRun    *run = fcinfo->flinfo->fn_extra;
	CriteriaEnv env = {.trait = next_trait,.label_set = next_label_set,.prior = next_prior};
	TimelineView history;
	TimestampTz next;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(4))
		PG_RETURN_NULL();
	if (run == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		run = palloc(sizeof(NextRun));
		run->rule = mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0));
		mcdp_lookups_init(&run->lookups, PointerGetDatum(PG_GETARG_JSONB_P_COPY(4)));
		MemoryContextSwitchTo(old);
		fcinfo->flinfo->fn_extra = run;
	}
	run->traits = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);
	env.at = PG_GETARG_TIMESTAMPTZ(2);
	env.arg = run;
	if (!PG_ARGISNULL(1))
	{
		mcdp_timeline_open(&history, PG_GETARG_TIMELINE_P(1));
		env.timeline = &history;
	}
	next = mcdp_criteria_next_change(run->rule, &env);
	if (next == PG_INT64_MAX)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(coarse(next, env.at));
}

/* ---- whom to look at again ---- */

/* segment_due (segment, due_at, members): positions */
#define DUE_SEGMENT		1
#define DUE_AT			2
#define DUE_MEMBERS		3
#define DUE_COLUMNS		3

static int
compare_dues(const void *a, const void *b)
{
	const AudienceDue *x = a,
			   *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

/* A row of segment_due for each instant. */
static void
write_dues(Datum segment, TimestampTz at, AudienceDues *dues)
{
	Relation	rel;
	Target		target;
	Rbuf	   *members = mcdp_rbuf_create(dues->cx);

	for (int64 i = 0; i < dues->n; i++)
		dues->due[i].at = coarse(dues->due[i].at, at);
	if (dues->n > 1)
		qsort(dues->due, dues->n, sizeof(AudienceDue), compare_dues);
	rel = mcdp_open_to_read(get_relname_relid("segment_due", get_namespace_oid("cdp", false)), RowExclusiveLock, ACL_SELECT);
	if (!mcdp_target_open(&target, rel, DUE_COLUMNS))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot insert into table \"segment_due\"")));
	for (int64 i = 0; i < dues->n; i++)
	{
		mcdp_rbuf_add(members, (uint64) dues->due[i].id);
		if (i + 1 < dues->n && dues->due[i + 1].at == dues->due[i].at)
			continue;
		CHECK_FOR_INTERRUPTS();
		mcdp_target_clear(&target);
		mcdp_target_set(&target, DUE_SEGMENT, segment);
		mcdp_target_set(&target, DUE_AT, TimestampTzGetDatum(dues->due[i].at));
		mcdp_target_set(&target, DUE_MEMBERS, mcdp_rbuf_to_bitmap(members));
		mcdp_target_insert_new(&target);
		mcdp_rbuf_clear(members);
	}
	mcdp_target_close(&target);
	table_close(rel, NoLock);
}

/* _look_at(segment, criteria, among, at, kind, include_suppressed) */
Datum
mcdp__look_at(PG_FUNCTION_ARGS)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "audience", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	AudienceDues dues = {.cx = cx};
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(3);
	Datum		among = PG_GETARG_DATUM(2);
	Rbuf	   *members;
	Datum		result;

	mcdp_spi_connect();
	members = audience_among(cx, PG_GETARG_CRITERIA_PP(1), &among, at, text_to_cstring(PG_GETARG_TEXT_PP(4)),
							 PG_GETARG_BOOL(5), get_func_rettype(fcinfo->flinfo->fn_oid), &dues);
	old = MemoryContextSwitchTo(cx);
	write_dues(PointerGetDatum(PG_GETARG_TEXT_PP(0)), at, &dues);
	MemoryContextSwitchTo(old);
	mcdp_spi_finish();
	result = mcdp_rbuf_to_bitmap(members);
	MemoryContextDelete(cx);
	PG_RETURN_DATUM(result);
}
