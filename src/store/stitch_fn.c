/*-------------------------------------------------------------------------
 *
 * stitch_fn.c
 *	  _stitch and identify, as SQL calls them.
 *
 * identify comes in two more forms that take text and nothing else.  They are
 * there for the calls that say only who it is, most of all: an argument that
 * is left out is read from the text of its default by the parser and then by
 * the planner, and an array of texts becomes one of identifiers in the
 * executor.  For a known pair all of that costs more than the answer.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "store/attempt.h"
#include "store/relid.h"
#include "store/stitch.h"
#include "store/trait_index.h"
#include "types/identifier.h"

/* of _stitch_new; _stitch_try has one more, _stitch two */
#define STITCH_ARGS 5

/* after so many attempts identify waits in the order of the locks: see 21_identity_lock.sql */
#define HASTY_ATTEMPTS 20

/* identify reads so many from a text by itself */
#define PLAIN_IDENTIFIERS 16

PG_FUNCTION_INFO_V1(mcdp__stitch);
PG_FUNCTION_INFO_V1(mcdp__stitch_known);
PG_FUNCTION_INFO_V1(mcdp_identify);
PG_FUNCTION_INFO_V1(mcdp_identify_texts);
PG_FUNCTION_INFO_V1(mcdp_identify_text);
extern Datum mcdp_identifier(PG_FUNCTION_ARGS);

/* What can be done here; false when it is left to _stitch_new, as errors are. */
static bool
stitch_here(NullableDatum *args, StitchHow how, Stitched *who)
{
	ArrayType  *array;
	StitchCall	call;
	Datum	   *ids;
	int			num;

	if (args[0].isnull || args[2].isnull || TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(args[2].value)))
		return false;
	array = DatumGetArrayTypeP(args[0].value);
	call.kind = args[1].isnull ? NULL : DatumGetTextPP(args[1].value);
	if (array_contains_nulls(array) || (call.kind && VARSIZE_ANY_EXHDR(call.kind) == 0))
		return false;
	call.at = DatumGetTimestampTz(args[2].value);
	call.source = args[3].isnull ? NULL : DatumGetTextPP(args[3].value);
	call.message_id = args[4].isnull ? NULL : DatumGetTextPP(args[4].value);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &ids, NULL, &num);
	return mcdp_stitch_one(ARR_ELEMTYPE(array), ids, num, &call, how, who);
}

/*
 * Call _stitch_new(identifiers, kind, at, source, message_id) with the arguments of args, or,
 * if the caller rolls back and tries again, _stitch_try.
 */
static Datum
stitch_new(FmgrInfo *flinfo, NullableDatum *args, bool alone, bool wait)
{
	LOCAL_FCINFO(call, STITCH_ARGS + 1);
	FmgrInfo   *more = flinfo->fn_extra;
	int			num = alone ? STITCH_ARGS : STITCH_ARGS + 1;
	Datum		result;

	if (more == NULL)
		flinfo->fn_extra = more = MemoryContextAllocZero(flinfo->fn_mcxt, 2 * sizeof(FmgrInfo));
	more += alone;
	if (!OidIsValid(more->fn_oid))
	{
		Oid			types[STITCH_ARGS + 1] = {get_array_type(mcdp_identifier_type()), TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, BOOLOID};
		List	   *name = list_make2(makeString("cdp"), makeString(alone ? "_stitch_new" : "_stitch_try"));

		fmgr_info_cxt(LookupFuncName(name, num, types, false), more, flinfo->fn_mcxt);
	}
	InitFunctionCallInfoData(*call, more, num, InvalidOid, NULL, NULL);
	for (int i = 0; i < STITCH_ARGS; i++)
		call->args[i] = args[i];
	call->args[STITCH_ARGS].value = BoolGetDatum(wait);
	call->args[STITCH_ARGS].isnull = false;
	result = FunctionCallInvoke(call);
	if (call->isnull)
		elog(ERROR, "function %u returned NULL", more->fn_oid);
	return result;
}

/* the answer as a row; who may be NULL */
static Datum
stitched_row(FunctionCallInfo fcinfo, const Stitched *who)
{
	Datum		values[3] = {0};
	bool		isnull[3] = {who == NULL, who == NULL, who == NULL};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (who)
	{
		values[0] = Int64GetDatum(who->leaf);
		values[1] = Int64GetDatum(who->root);
		values[2] = who->via;
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}

/* _stitch(identifiers, kind, at, source, message_id, alone, wait, OUT leaf_id, OUT canonical_id, OUT via) */
Datum
mcdp__stitch(PG_FUNCTION_ARGS)
{
	bool		alone = PG_GETARG_BOOL(5);
	Stitched	who;

	if (!stitch_here(fcinfo->args, alone ? STITCH_ALONE : STITCH_WITHIN, &who))
		return stitch_new(fcinfo->flinfo, fcinfo->args, alone, PG_GETARG_BOOL(6));
	PG_RETURN_DATUM(stitched_row(fcinfo, &who));
}

/* _stitch_known(identifiers, at, OUT leaf_id, OUT canonical_id, OUT via): NULLs when _stitch would have something to change */
Datum
mcdp__stitch_known(PG_FUNCTION_ARGS)
{
	NullableDatum args[STITCH_ARGS] = {fcinfo->args[0], {0, true}, fcinfo->args[1], {0, true}, {0, true}};
	Stitched	who;

	PG_RETURN_DATUM(stitched_row(fcinfo, stitch_here(args, STITCH_KNOWN, &who) ? &who : NULL));
}

/* args: identifiers, kind, at, source, message_id; without via */
static Stitched
stitch_by_query(FmgrInfo *flinfo, NullableDatum *args, bool alone, bool wait)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(stitch_new(flinfo, args, alone, wait));
	Stitched	who = {0};
	bool		isnull;

	who.leaf = DatumGetInt64(GetAttributeByNum(row, 1, &isnull));
	who.root = DatumGetInt64(GetAttributeByNum(row, 2, &isnull));
	return who;
}

/* The same args, and the same answer. */
static Stitched
stitch(FmgrInfo *flinfo, NullableDatum *args, bool alone, bool wait)
{
	Stitched	who;

	if (stitch_here(args, alone ? STITCH_ALONE : STITCH_WITHIN, &who))
		return who;
	return stitch_by_query(flinfo, args, alone, wait);
}

/* those that identify was called with */
static void
set_traits(FunctionCallInfo fcinfo, int64 leaf)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[4] = {INT8OID, JSONBOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[4] = {Int64GetDatum(leaf), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(3)};
	char		nulls[5] = {' ', ' ', ' ', PG_ARGISNULL(3) ? 'n' : ' ', 0};

	mcdp_run("SELECT cdp._set_traits($1, $2, $3, $4)", &plan, 4, types, values, nulls);
}

/* _let_go: after an attempt that ended with this error; the number of the next one. */
static int
let_go(ErrorData *error, int attempt)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[4] = {INT4OID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];

	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE && error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED &&
		error->sqlerrcode != MAKE_SQLSTATE('C', 'D', 'P', '0', '1'))
		ReThrowError(error);
	values[0] = Int32GetDatum(attempt);
	values[1] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
	values[2] = CStringGetTextDatum(error->message);
	values[3] = CStringGetTextDatum(error->detail ? error->detail : "");
	return DatumGetInt32(mcdp_run("SELECT cdp._let_go($1, $2, $3, $4)", &plan, 4, types, values, NULL));
}

/* Does setting these traits lock one row, and no more? */
static bool
is_one_row(Jsonb *traits)
{
	JsonbIterator *it = JsonbIteratorInit(&traits->root);
	JsonbValue	key;

	if (JB_ROOT_COUNT(traits) != 1)
		return false;
	(void) JsonbIteratorNext(&it, &key, true);	/* the object */
	(void) JsonbIteratorNext(&it, &key, true);
	return !mcdp_trait_is_indexed(key.val.string.val, key.val.string.len);
}

/* stitch_and_set, and what it found */
typedef struct StitchAndSet
{
	FunctionCallInfo fcinfo;
	NullableDatum *args;
	bool		wait;
	Stitched	who;
} StitchAndSet;

static void
stitch_and_set_once(void *arg)
{
	StitchAndSet *s = arg;

	mcdp_hurry(s->wait ? HURRY_PATIENT : HURRY_LITTLE);
	s->who = stitch(s->fcinfo->flinfo, s->args, false, s->wait);
	set_traits(s->fcinfo, s->who.leaf);
}

/*
 * Both in one attempt.  A bulk load takes rows of traits in the order of
 * its messages; so who holds one of them, or identifiers, and waits for another may
 * meet it in a circle.  Then, and when the stitching would have to wait, all
 * that this call holds is let go, and it begins again.
 *
 * In one: who waits for a subtransaction that has been committed within it
 * would wait for the whole transaction, and not wake up when this one is rolled back.
 */
static Stitched
stitch_and_set(FunctionCallInfo fcinfo, NullableDatum *args)
{
	StitchAndSet s = {fcinfo, args};
	ErrorData  *error;

	/* the usual case: nobody is locked, and one row of a trait */
	if (is_one_row(PG_GETARG_JSONB_P(1)) && stitch_here(args, STITCH_KNOWN, &s.who))
	{
		set_traits(fcinfo, s.who.leaf);
		return s.who;
	}
	for (int attempt = 1; (error = mcdp_attempt(stitch_and_set_once, &s)) != NULL;)
	{
		attempt = let_go(error, attempt);
		FreeErrorData(error);
		s.wait = attempt > HASTY_ATTEMPTS;
	}
	return s.who;
}

/* identify(identifiers, traits, at, source, kind) */
Datum
mcdp_identify(PG_FUNCTION_ARGS)
{
	NullableDatum args[STITCH_ARGS] = {fcinfo->args[0], fcinfo->args[4], fcinfo->args[2], fcinfo->args[3], {0, true}};
	Stitched	who;
	Jsonb	   *traits;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("traits must not be null")));
	traits = PG_GETARG_JSONB_P(1);
	if (!JB_ROOT_IS_OBJECT(traits))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("traits must be a JSON object")));

	if (JB_ROOT_COUNT(traits) > 0)
		who = stitch_and_set(fcinfo, args);
	else
		who = stitch(fcinfo->flinfo, args, true, true);
	PG_RETURN_INT64(who.root);
}

/*
 * What the defaults of the others say: no traits, now(), no source, a person.
 * Of these identifiers, or (ids NULL) those of an array, which may be null.
 */
static int64
identify_only(FmgrInfo *flinfo, const Datum *ids, int num, NullableDatum array)
{
	Oid			type = mcdp_identifier_type();
	StitchCall	call = {cstring_to_text("person"), GetCurrentTransactionStartTimestamp(), NULL, NULL};
	NullableDatum args[STITCH_ARGS] = {array, {PointerGetDatum(call.kind), false}, {TimestampTzGetDatum(call.at), false}, {0, true}, {0, true}};
	Stitched	who;

	if (ids == NULL)
		return stitch(flinfo, args, true, true).root;
	if (mcdp_stitch_one(type, ids, num, &call, STITCH_ALONE, &who))
		return who.root;
	args[0].value = PointerGetDatum(construct_array(unconstify(Datum *, ids), num, type, -1, false, TYPALIGN_INT));
	return stitch_by_query(flinfo, args, true, true).root;
}

/* identify(identifiers text[]), and varchar[] */
Datum
mcdp_identify_texts(PG_FUNCTION_ARGS)
{
	ArrayType  *array;
	Datum	   *ids;
	int			num;

	if (PG_ARGISNULL(0))
		PG_RETURN_INT64(identify_only(fcinfo->flinfo, NULL, 0, (NullableDatum) {0, true}));
	array = PG_GETARG_ARRAYTYPE_P(0);
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("identifiers must not be null")));
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &ids, NULL, &num);
	for (int i = 0; i < num; i++)
		ids[i] = DirectFunctionCall1(mcdp_identifier, ids[i]);
	PG_RETURN_INT64(identify_only(fcinfo->flinfo, ids, num, (NullableDatum) {0, false}));
}

/*
 * {a:b,c:d}: some identifiers, and nothing in them means anything but itself.
 * Returns how many, or 0: then the server shall read it, and say what is wrong.
 */
static int
read_plain(const char *p, int len, Datum *ids)
{
	const char *end = p + len - 1;
	int			num = 0;

	if (len < 2 || *p != '{' || *end != '}')
		return 0;
	while (p < end)
	{
		const char *start = ++p;	/* after { or , */
		char		buf[MCDP_IDENTIFIER_MAX];
		size_t		size;
		McdpBadInput bad;

		for (; p < end && *p != ','; p++)
			if (strchr("\"\\{} \t\n\r\v\f", *p) != NULL)
				return 0;
		if (num == PLAIN_IDENTIFIERS || !mcdp_identifier_normalise(start, p - start, buf, &size, &bad))
			return 0;
		ids[num++] = PointerGetDatum(cstring_to_text_with_len(buf, size));
	}
	return num;
}

/* identify(identifiers text): an array of identifiers in its text form */
Datum
mcdp_identify_text(PG_FUNCTION_ARGS)
{
	NullableDatum identifiers = {0, true};

	if (!PG_ARGISNULL(0))
	{
		text	   *in = PG_GETARG_TEXT_PP(0);
		Datum		ids[PLAIN_IDENTIFIERS];
		int			num = read_plain(VARDATA_ANY(in), VARSIZE_ANY_EXHDR(in), ids);

		if (num > 0)
			PG_RETURN_INT64(identify_only(fcinfo->flinfo, ids, num, (NullableDatum) {0, false}));
		identifiers.value = OidInputFunctionCall(F_ARRAY_IN, text_to_cstring(in), mcdp_identifier_type(), -1);
		identifiers.isnull = false;
	}
	PG_RETURN_INT64(identify_only(fcinfo->flinfo, NULL, 0, identifiers));
}
