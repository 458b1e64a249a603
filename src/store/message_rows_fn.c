/*-------------------------------------------------------------------------
 *
 * message_rows_fn.c
 *	  The messages of many runs: their rows, and their events.
 *
 * A send step has chosen how and when each message goes out (_choice); here it
 * gets its key, its parameters are filled in, and its event message_sent is
 * written.  A run may come straight from the wait before the step: then its row
 * still names that step, and its visit is the one before.  The event is the
 * leaf's whose run it is.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/message_rows_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "store/event_insert.h"
#include "store/statement.h"

/* journey_state, _choice, _piece: positions */
enum
{
	RUN_RUN_ID, RUN_PROFILE_ID, RUN_JOURNEY, RUN_VERSION, RUN_KEY, RUN_STEP, RUN_VISIT, RUN_STATUS, RUN_ENTERED_AT, RUN_DUE_AT,
	RUN_ENDED_AT, RUN_OUTCOME, RUN_LABEL, RUN_ENTRY, RUN_CONTEXT, RUN_OWNER_ID, RUN_ARRIVED_AT, RUN_VARIANT, RUN_COUNTED, RUN_COLUMNS
};
enum
{
	CHOICE_RUN, CHOICE_RECIPIENT, CHOICE_CHANNEL, CHOICE_ADDRESS, CHOICE_GOES_AT, CHOICE_REASON, CHOICE_FREE_AT, CHOICE_PLAN, CHOICE_COLUMNS
};
enum
{
	PIECE_KEY, PIECE_NO, PIECE_LITERAL, PIECE_SOURCE, PIECE_NAME, PIECE_OTHERWISE, PIECE_COLUMNS
};
typedef struct Columns
{
	TupleDesc	desc;
	int			num;
	Datum	   *values;
	bool	   *nulls;
} Columns;

/* Runs through an array of rows. */
typedef struct Reader
{
	Datum	   *rows;
	int			num;
	Columns		columns;
} Reader;

typedef struct Renderer
{
	Reader		pieces;
	FmgrInfo	look_up;		/* _looked_up; fn_oid 0: not yet used */
	MemoryContext context;		/* lives as long as this does */
} Renderer;

typedef struct Messages
{
	Reader		choices;
	Columns		run;
	text	   *step;
} Messages;

PG_FUNCTION_INFO_V1(mcdp__render);
PG_FUNCTION_INFO_V1(mcdp__message_rows);
PG_FUNCTION_INFO_V1(mcdp__message_events);

static void
open_columns(Columns *c, Oid type, int num)
{
	c->desc = lookup_rowtype_tupdesc_copy(type, -1);
	if (c->desc->natts != num)
		elog(ERROR, "type %s has %d columns", format_type_be(type), c->desc->natts);
	c->num = num;
	c->values = palloc(num * sizeof(Datum));
	c->nulls = palloc(num * sizeof(bool));
}

static void
read_columns(Columns *c, Datum row)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	HeapTupleData tuple = {0};

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, c->desc, c->values, c->nulls);
}

static void
open_reader(Reader *r, ArrayType *array, int num_columns)
{
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &r->rows, NULL, &r->num);
	open_columns(&r->columns, ARR_ELEMTYPE(array), num_columns);
}

/* A column that is not NULL. */
static Datum
column_value(Columns *c, int column)
{
	if (c->nulls[column])
		elog(ERROR, "unexpected null in column \"%s\"", NameStr(TupleDescAttr(c->desc, column)->attname));
	return c->values[column];
}

/* A column that may be NULL; a copy only if it has to be put together. */
static text *
column_text(Columns *c, int column)
{
	return c->nulls[column] ? NULL : DatumGetTextPP(c->values[column]);
}

/* parameters */

static void
open_renderer(Renderer *r, ArrayType *pieces)
{
	memset(r, 0, sizeof(*r));
	open_reader(&r->pieces, pieces, PIECE_COLUMNS);
	r->context = CurrentMemoryContext;
}

/* object ->> name; NULL when there is none */
static text *
member_text(Datum object, Datum name)
{
	LOCAL_FCINFO(fcinfo, 2);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = object;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = name;
	fcinfo->args[1].isnull = false;
	result = jsonb_object_field_text(fcinfo);
	return fcinfo->isnull ? NULL : DatumGetTextPP(result);
}

/* What is asked of tables. */
static text *
looked_up(Renderer *r, Datum source, Datum name, Datum run, Oid run_type)
{
	LOCAL_FCINFO(fcinfo, 3);
	Datum		result;

	if (!OidIsValid(r->look_up.fn_oid))
	{
		Oid			types[3] = {TEXTOID, TEXTOID, run_type};

		fmgr_info_cxt(LookupFuncName(list_make2(makeString("cdp"), makeString("_looked_up")), 3, types, false), &r->look_up, r->context);
	}
	InitFunctionCallInfoData(*fcinfo, &r->look_up, 3, DEFAULT_COLLATION_OID, NULL, NULL);
	fcinfo->args[0].value = source;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = name;
	fcinfo->args[1].isnull = false;
	fcinfo->args[2].value = run;
	fcinfo->args[2].isnull = false;
	result = FunctionCallInvoke(fcinfo);
	return fcinfo->isnull ? NULL : DatumGetTextPP(result);
}

/* What stands in place of a placeholder; NULL or empty: nothing. */
static text *
placeholder_value(Renderer *r, Columns *run, Datum run_row)
{
	Columns    *piece = &r->pieces.columns;
	text	   *source = DatumGetTextPP(column_value(piece, PIECE_SOURCE));
	char	   *s = VARDATA_ANY(source);
	int			len = VARSIZE_ANY_EXHDR(source);

#define IS(what) (len == sizeof(what) - 1 && memcmp(s, what, sizeof(what) - 1) == 0)
	if (IS("profile_id"))
		return cstring_to_text(psprintf(INT64_FORMAT, DatumGetInt64(column_value(run, RUN_PROFILE_ID))));
	if (IS("context"))
		return member_text(column_value(run, RUN_CONTEXT), column_value(piece, PIECE_NAME));
	if (IS("entry.properties") || IS("trait") || IS("tag"))
		return looked_up(r, piece->values[PIECE_SOURCE], column_value(piece, PIECE_NAME), run_row, run->desc->tdtypeid);
#undef IS
	/* entry.label … */
	return member_text(column_value(run, RUN_ENTRY), PointerGetDatum(cstring_to_text_with_len(s + 6, len - 6)));
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, char *s, int len)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = s;
	v.val.string.len = len;
	(void) pushJsonbValue(state, token, &v);
}

/* The parameters, with those that have placeholders in place of what they were. */
static Jsonb *
render(Renderer *r, Jsonb *params, Columns *run, Datum run_row)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(&params->root);
	JsonbIteratorToken token;
	JsonbValue	v;
	StringInfoData value;
	Columns    *piece = &r->pieces.columns;
	text	   *key = NULL;

	if (r->pieces.num == 0)
		return params;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	(void) JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY || token == WJB_VALUE)
		(void) pushJsonbValue(&state, token, &v);
	initStringInfo(&value);
	for (int i = 0; i < r->pieces.num; i++)
	{
		text	   *of_key;

		read_columns(piece, r->pieces.rows[i]);
		of_key = DatumGetTextPP(column_value(piece, PIECE_KEY));
		if (key && (VARSIZE_ANY_EXHDR(key) != VARSIZE_ANY_EXHDR(of_key) ||
					memcmp(VARDATA_ANY(key), VARDATA_ANY(of_key), VARSIZE_ANY_EXHDR(key)) != 0))
		{
			push_text(&state, WJB_KEY, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
			push_text(&state, WJB_VALUE, pnstrdup(value.data, value.len), value.len);
			resetStringInfo(&value);
		}
		key = of_key;
		if (!piece->nulls[PIECE_LITERAL])
		{
			text	   *literal = column_text(piece, PIECE_LITERAL);

			appendBinaryStringInfo(&value, VARDATA_ANY(literal), VARSIZE_ANY_EXHDR(literal));
		}
		else
		{
			text	   *filling = placeholder_value(r, run, run_row);

			if (filling == NULL || VARSIZE_ANY_EXHDR(filling) == 0)
				filling = column_text(piece, PIECE_OTHERWISE);
			if (filling)
				appendBinaryStringInfo(&value, VARDATA_ANY(filling), VARSIZE_ANY_EXHDR(filling));
		}
	}
	push_text(&state, WJB_KEY, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	push_text(&state, WJB_VALUE, value.data, value.len);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Datum
mcdp__render(PG_FUNCTION_ARGS)
{
	Renderer	r;
	Columns		run;

	open_renderer(&r, PG_GETARG_ARRAYTYPE_P(1));
	open_columns(&run, get_fn_expr_argtype(fcinfo->flinfo, 2), RUN_COLUMNS);
	read_columns(&run, PG_GETARG_DATUM(2));
	PG_RETURN_JSONB_P(render(&r, PG_GETARG_JSONB_P(0), &run, PG_GETARG_DATUM(2)));
}

/* messages */

static void
open_messages(Messages *m, ArrayType *choices, text *step)
{
	open_reader(&m->choices, choices, CHOICE_COLUMNS);
	open_columns(&m->run, TupleDescAttr(m->choices.columns.desc, CHOICE_RUN)->atttypid, RUN_COLUMNS);
	m->step = step;
}

/* The i-th choice; false when nothing goes out. */
static bool
read_message(Messages *m, int i)
{
	read_columns(&m->choices.columns, m->choices.rows[i]);
	if (m->choices.columns.nulls[CHOICE_CHANNEL])
		return false;
	read_columns(&m->run, column_value(&m->choices.columns, CHOICE_RUN));
	return true;
}

/* prefix || journey/version/run/step/visit */
static text *
idempotency_key(Messages *m, const char *prefix)
{
	Columns    *run = &m->run;
	text	   *journey = DatumGetTextPP(column_value(run, RUN_JOURNEY));
	text	   *step = DatumGetTextPP(column_value(run, RUN_STEP));
	bool		there = VARSIZE_ANY_EXHDR(step) == VARSIZE_ANY_EXHDR(m->step) &&
		memcmp(VARDATA_ANY(step), VARDATA_ANY(m->step), VARSIZE_ANY_EXHDR(step)) == 0;
	char	   *s = psprintf("%s%.*s/%d/" INT64_FORMAT "/%.*s/%d", prefix,
							 (int) VARSIZE_ANY_EXHDR(journey), VARDATA_ANY(journey), DatumGetInt32(column_value(run, RUN_VERSION)), DatumGetInt64(column_value(run, RUN_RUN_ID)),
							 (int) VARSIZE_ANY_EXHDR(m->step), VARDATA_ANY(m->step), DatumGetInt32(column_value(run, RUN_VISIT)) + (there ? 0 : 1));

	return cstring_to_text(s);
}

/* The rows for table outbox, without what all of them share; see 41_message.sql. */
Datum
mcdp__message_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Messages	m;
	Jsonb	   *params = PG_GETARG_JSONB_P(2);
	Renderer	r;
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "message", ALLOCSET_DEFAULT_SIZES);

	InitMaterializedSRF(fcinfo, 0);
	open_messages(&m, PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_TEXT_PP(1));
	open_renderer(&r, PG_GETARG_ARRAYTYPE_P(3));
	for (int i = 0; i < m.choices.num; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(per_row);
		Columns    *run = &m.run;
		Columns    *choice = &m.choices.columns;
		enum
		{
			KEY, PROFILE_ID, RECIPIENT_ID, ADDRESS, CHANNEL, PARAMS, JOURNEY, VERSION, RUN_ID, VARIANT, GOES_AT, DUE_AT, COLUMNS
		};
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS] = {false};

		CHECK_FOR_INTERRUPTS();
		if (read_message(&m, i))
		{
			values[KEY] = PointerGetDatum(idempotency_key(&m, ""));
			values[PROFILE_ID] = column_value(run, RUN_PROFILE_ID);
			values[RECIPIENT_ID] = column_value(choice, CHOICE_RECIPIENT);
			values[ADDRESS] = choice->values[CHOICE_ADDRESS];
			nulls[ADDRESS] = choice->nulls[CHOICE_ADDRESS];
			values[CHANNEL] = column_value(choice, CHOICE_CHANNEL);
			values[PARAMS] = PointerGetDatum(render(&r, params, &m.run, column_value(choice, CHOICE_RUN)));
			values[JOURNEY] = column_value(run, RUN_JOURNEY);
			values[VERSION] = column_value(run, RUN_VERSION);
			values[RUN_ID] = column_value(run, RUN_RUN_ID);
			values[VARIANT] = column_value(run, RUN_VARIANT);
			nulls[VARIANT] = VARSIZE_ANY_EXHDR(DatumGetPointer(column_value(run, RUN_VARIANT))) == 0;
			values[GOES_AT] = column_value(choice, CHOICE_GOES_AT);
			values[DUE_AT] = column_value(run, RUN_DUE_AT);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
		MemoryContextSwitchTo(before);
		MemoryContextReset(per_row);
	}
	return (Datum) 0;
}

/* events */

static void
push_pair(JsonbParseState **state, const char *key, text *value)
{
	if (value == NULL || VARSIZE_ANY_EXHDR(value) == 0)
		return;
	push_text(state, WJB_KEY, unconstify(char *, key), strlen(key));
	push_text(state, WJB_VALUE, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

static Jsonb *
event_properties(Messages *m, text *campaign, text *template)
{
	JsonbParseState *state = NULL;
	JsonbValue	run_id;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_pair(&state, "journey", column_text(&m->run, RUN_JOURNEY));
	push_pair(&state, "campaign", campaign);
	push_pair(&state, "channel", column_text(&m->choices.columns, CHOICE_CHANNEL));
	push_pair(&state, "template", template);
	push_pair(&state, "step", m->step);
	push_text(&state, WJB_KEY, "run_id", 6);
	run_id.type = jbvNumeric;
	run_id.val.numeric = int64_to_numeric(DatumGetInt64(column_value(&m->run, RUN_RUN_ID)));
	(void) pushJsonbValue(&state, WJB_VALUE, &run_id);
	push_pair(&state, "variant", column_text(&m->run, RUN_VARIANT));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Did somebody else take one of these message ids? */
static bool
taken(NewEvent *events, int num)
{
	static Statement ask = {"SELECT FROM cdp.event_message m WHERE m.message_id OPERATOR(pg_catalog.=) ANY ($1) LIMIT 1", 1, {TEXTARRAYOID}};
	Datum	   *ids = palloc(num * sizeof(Datum));
	Datum		args[1];

	for (int i = 0; i < num; i++)
		ids[i] = PointerGetDatum(events[i].message_id);
	args[0] = PointerGetDatum(construct_array(ids, num, TEXTOID, -1, false, TYPALIGN_INT));
	return mcdp_statement_ask(&ask, args) > 0;
}

/* Leaves out those whose message id is taken; returns how many are left. */
static int
not_taken(NewEvent *events, int num)
{
	int			left = 0;

	mcdp_spi_connect();
	if (num == 0 || !taken(events, num))
		left = num;
	else
		for (int i = 0; i < num; i++)
			if (!taken(&events[i], 1))
				events[left++] = events[i];
	mcdp_spi_finish();
	return left;
}

Datum
mcdp__message_events(PG_FUNCTION_ARGS)
{
	Messages	m;
	text	   *campaign = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	text	   *template = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	Oid			schema = get_namespace_oid("cdp", false);
	Oid			sequence = get_relname_relid("event_id_seq", schema);
	Datum		context = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	text	   *event = cstring_to_text("message_sent");
	text	   *source = cstring_to_text("journey");
	NewEvent   *events;
	int			num = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_VOID();
	open_messages(&m, PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_TEXT_PP(1));
	events = palloc0(Max(m.choices.num, 1) * sizeof(NewEvent));
	for (int i = 0; i < m.choices.num; i++)
	{
		NewEvent   *e = &events[num];

		CHECK_FOR_INTERRUPTS();
		if (!read_message(&m, i))
			continue;
		num++;
		e->event_id = nextval_internal(sequence, true);
		e->at = e->received_at = DatumGetTimestampTz(column_value(&m.run, RUN_DUE_AT));
		e->leaf = DatumGetInt64(column_value(&m.run, m.run.nulls[RUN_OWNER_ID] ? RUN_PROFILE_ID : RUN_OWNER_ID));
		e->event = event;
		e->properties = PointerGetDatum(event_properties(&m, campaign, template));
		e->context = context;
		e->source = source;
		e->message_id = idempotency_key(&m, "message:");
	}
	mcdp_record_events(schema, events, not_taken(events, num), false);
	PG_RETURN_VOID();
}
