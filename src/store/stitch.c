/*-------------------------------------------------------------------------
 *
 * stitch.c
 *	  From identifiers to a profile: the part that only reads.
 *
 * Nearly every call names identifiers that are known and belong together.
 * _stitch answers those straight from the primary keys: one probe per
 * identifier and profile, and per piece of evidence that does not stand in one
 * of the links (21_identity.sql).  What is new is written by
 * stitch_write.c where that is plain; when profiles have to be merged or a
 * rule has a say, _stitch hands over to _stitch_new (21_identity.sql).
 *
 * Plans of SQL statements depend on statistics, and these say nothing about
 * a table that was empty a moment ago; a first bulk load would read it from
 * end to end for each call.  Hence index scans, and no choice.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "access/tableam.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "core/compat.h"
#include "store/access.h"
#include "store/relid.h"
#include "store/stitch.h"
#include "types/identifier.h"

/* of _stitch and _stitch_new */
#define STITCH_ARGS 5

PG_FUNCTION_INFO_V1(mcdp__look_up);
PG_FUNCTION_INFO_V1(mcdp__stitch);
PG_FUNCTION_INFO_V1(mcdp_identify);

Keyed
mcdp_open_keyed(Oid schema, const char *table, const char *index)
{
	Keyed		k;
	Oid			relid = mcdp_relid(table, schema);

	k.index = mcdp_relid(index, schema);
	if (!OidIsValid(relid) || !OidIsValid(k.index))
		elog(ERROR, "table \"%s\" or its primary key does not exist", table);
	k.rel = mcdp_open_to_read(relid, AccessShareLock, ACL_SELECT);
	return k;
}

/*
 * The first row with this key, in the slot; false if there is none.  A scan is
 * 28 kB of memory: one is kept, and looks with the snapshot that is asked for.
 */
static bool
probe(Prober *s, Keyed *k, Snapshot snapshot, ScanKey key, int num_keys)
{
	if (s->scan == NULL)
	{
		s->index = index_open(k->index, AccessShareLock);
		s->scan = mcdp_index_beginscan(k->rel, s->index, snapshot, num_keys);
		s->slot = table_slot_create(k->rel, NULL);
	}
	s->scan->xs_snapshot = snapshot;
	index_rescan(s->scan, key, num_keys, NULL, 0);
	return index_getnext_slot(s->scan, ForwardScanDirection, s->slot);
}

static void
scan_end(Prober *s)
{
	if (s->scan == NULL)
		return;
	ExecDropSingleTupleTableSlot(s->slot);
	index_endscan(s->scan);
	index_close(s->index, NoLock);
	s->scan = NULL;
}

void
mcdp_lookup_begin(Lookup *lk, Oid identifier_type)
{
	lk->schema = mcdp_schema();
	/* of its own, so that it sees what this transaction has just done */
	lk->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	lk->type = lookup_type_cache(identifier_type, TYPECACHE_EQ_OPR_FINFO | TYPECACHE_CMP_PROC_FINFO);
	lk->link = mcdp_open_keyed(lk->schema, "identifier_link", "identifier_link_pkey");
	lk->profile = mcdp_open_keyed(lk->schema, "profile", "profile_pkey");
	lk->edge.rel = NULL;
	lk->link_scan.scan = lk->profile_scan.scan = lk->edge_scan.scan = NULL;
	lk->rules = mcdp_identity_rules(lk->schema);
}

void
mcdp_lookup_end(Lookup *lk)
{
	scan_end(&lk->link_scan);
	scan_end(&lk->profile_scan);
	scan_end(&lk->edge_scan);
	if (lk->edge.rel)
		table_close(lk->edge.rel, NoLock);
	/* the locks stay until the end of the transaction, as after a query */
	table_close(lk->profile.rel, NoLock);
	table_close(lk->link.rel, NoLock);
	UnregisterSnapshot(lk->snapshot);
}

/* Key for an equality with an identifier. */
void
mcdp_identifier_key(Lookup *lk, ScanKey key, AttrNumber column, Datum identifier)
{
	ScanKeyEntryInitializeWithInfo(key, 0, column, BTEqualStrategyNumber, InvalidOid,
								   InvalidOid, &lk->type->eq_opr_finfo, identifier);
}

Datum
mcdp_get_column(HeapTuple tuple, Keyed *k, AttrNumber column)
{
	bool		isnull;
	Datum		result = heap_getattr(tuple, column, RelationGetDescr(k->rel), &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of table \"%s\"",
			 column, RelationGetRelationName(k->rel));
	return result;
}

/* The row of a profile, in a slot that lasts until the next one is looked for, or NULL. */
TupleTableSlot *
mcdp_find_profile(Lookup *lk, int64 id, Snapshot snapshot)
{
	ScanKeyData key;

	ScanKeyInit(&key, PROFILE_PROFILE_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	return probe(&lk->profile_scan, &lk->profile, snapshot, &key, 1) ? lk->profile_scan.slot : NULL;
}

/* Its link and profile, if it has one.  "others" are identifiers looked up before. */
static void
find_link(Lookup *lk, Known *known, Snapshot snapshot, const Known *others, int num_others)
{
	ScanKeyData key;
	TupleTableSlot *slot;
	bool		isnull;

	known->linked = false;
	known->peer = 0;
	known->kind = NULL;
	mcdp_identifier_key(lk, &key, 1, known->identifier);
	if (!probe(&lk->link_scan, &lk->link, snapshot, &key, 1))
		return;
	known->linked = true;
	known->leaf = DatumGetInt64(slot_getattr(lk->link_scan.slot, LINK_PROFILE_ID, &isnull));
	known->at = DatumGetTimestampTz(slot_getattr(lk->link_scan.slot, LINK_AT, &isnull));
	known->peer = slot_getattr(lk->link_scan.slot, LINK_PEER, &isnull);
	if (!isnull)
		known->peer = datumCopy(known->peer, false, -1);

	/* most calls are about one profile */
	for (int i = 0; i < num_others; i++)
	{
		if (others[i].linked && others[i].leaf == known->leaf)
		{
			known->root = others[i].root;
			known->kind = others[i].kind;
			return;
		}
	}
	slot = mcdp_find_profile(lk, known->leaf, snapshot);
	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("profile %lld of an identifier does not exist", (long long) known->leaf)));
	known->root = DatumGetInt64(slot_getattr(slot, PROFILE_CANONICAL_ID, &isnull));
	known->kind = DatumGetTextPCopy(slot_getattr(slot, PROFILE_KIND, &isnull));
}

/* The leaf that owns an identifier, or 0. */
int64
mcdp_leaf_of(Lookup *lk, Snapshot snapshot, Datum identifier)
{
	ScanKeyData key;
	bool		isnull;

	mcdp_identifier_key(lk, &key, 1, identifier);
	if (!probe(&lk->link_scan, &lk->link, snapshot, &key, 1))
		return 0;
	return DatumGetInt64(slot_getattr(lk->link_scan.slot, LINK_PROFILE_ID, &isnull));
}

/* What find_link does, under any snapshot. */
void
mcdp_find_link(Lookup *lk, Known *known, Snapshot snapshot)
{
	find_link(lk, known, snapshot, NULL, 0);
}

/* The priority of its namespace, and its kind if it has no profile yet. */
static void
find_rule(Lookup *lk, Known *known)
{
	struct varlena *id = DatumGetIdentifierPP(known->identifier);
	char	   *colon = memchr(VARDATA_ANY(id), ':', VARSIZE_ANY_EXHDR(id));
	const NamespaceRule *rule;

	if (colon == NULL)
		elog(ERROR, "identifier has no namespace");
	rule = mcdp_namespace_rule(lk->rules, VARDATA_ANY(id), colon - VARDATA_ANY(id));
	known->priority = rule ? rule->priority : DEFAULT_PRIORITY;
	if (!known->linked)
		known->kind = rule ? rule->kind : NULL;
}

int
mcdp_compare_identifiers(Lookup *lk, Datum a, Datum b)
{
	return DatumGetInt32(FunctionCall2(&lk->type->cmp_proc_finfo, a, b));
}

static bool
same_identifier(Lookup *lk, Datum a, Datum b)
{
	return DatumGetBool(FunctionCall2(&lk->type->eq_opr_finfo, a, b));
}

/*
 * Look up the elements of an array, each once, in the order given.  Returns
 * how many there are, or -1 if one of them is null.
 */
static int
look_up_all(Lookup *lk, ArrayType *array, Known **result)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	int			num = 0;
	Known	   *known;

	deconstruct_array(array, ARR_ELEMTYPE(array), lk->type->typlen, lk->type->typbyval,
					  lk->type->typalign, &elems, &nulls, &n);
	known = palloc(sizeof(Known) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		int			j;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			return -1;
		for (j = 0; j < num && !same_identifier(lk, known[j].identifier, elems[i]); j++)
			;
		if (j < num)
			continue;
		known[num].identifier = elems[i];
		find_link(lk, &known[num], lk->snapshot, known, num);
		num++;
	}
	/* one alone has no rank, and its kind only matters if it is new */
	for (int i = 0; i < num; i++)
	{
		if (num > 1 || !known[i].linked)
			find_rule(lk, &known[i]);
		else
			known[i].priority = DEFAULT_PRIORITY;
	}
	*result = known;
	return num;
}

/* Highest priority first, then as given.  Insertion sort: there are few. */
static Known **
by_priority(Known *known, int num)
{
	Known	  **order = palloc(sizeof(Known *) * Max(num, 1));

	for (int i = 0; i < num; i++)
	{
		int			j;

		for (j = i; j > 0 && order[j - 1]->priority < known[i].priority; j--)
			order[j] = order[j - 1];
		order[j] = &known[i];
	}
	return order;
}

/*
 * _look_up(identifiers, at): arrays with an element for each identifier,
 * highest priority first, then as given: identifiers, kinds (NULL: neither
 * profile nor rule), leaves and canonical profiles (NULL: unknown); and
 * whether one of them was linked later than "at" only.
 */
Datum
mcdp__look_up(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	Lookup		lk;
	Known	   *known;
	Known	  **order;
	int			num;
	bool		late = false;
	Datum	   *elems[4];
	bool	   *nulls[4];
	Oid			types[4] = {ARR_ELEMTYPE(array), TEXTOID, INT8OID, INT8OID};
	Datum		values[5];
	bool		isnull[5] = {false, false, false, false, false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	mcdp_lookup_begin(&lk, ARR_ELEMTYPE(array));
	num = look_up_all(&lk, array, &known);
	if (num < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("identifiers must not be null")));

	order = by_priority(known, num);
	for (int c = 0; c < 4; c++)
	{
		elems[c] = palloc0(sizeof(Datum) * Max(num, 1));
		nulls[c] = palloc0(sizeof(bool) * Max(num, 1));
	}
	for (int i = 0; i < num; i++)
	{
		elems[0][i] = order[i]->identifier;
		nulls[1][i] = order[i]->kind == NULL;
		elems[1][i] = PointerGetDatum(order[i]->kind);
		nulls[2][i] = nulls[3][i] = !order[i]->linked;
		if (order[i]->linked)
		{
			elems[2][i] = Int64GetDatum(order[i]->leaf);
			elems[3][i] = Int64GetDatum(order[i]->root);
			late |= order[i]->at > at;
		}
	}
	for (int c = 0; c < 4; c++)
	{
		int16		typlen;
		bool		typbyval;
		char		typalign;
		int			lbound = 1;

		get_typlenbyvalalign(types[c], &typlen, &typbyval, &typalign);
		values[c] = PointerGetDatum(construct_md_array(elems[c], nulls[c], 1, &num, &lbound,
													   types[c], typlen, typbyval, typalign));
	}
	values[4] = BoolGetDatum(late);
	mcdp_lookup_end(&lk);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}

/* identifiers are equal when their bytes are */
static bool
same_bytes(Datum a, Datum b)
{
	struct varlena *x = DatumGetIdentifierPP(a);
	struct varlena *y = DatumGetIdentifierPP(b);

	return VARSIZE_ANY_EXHDR(x) == VARSIZE_ANY_EXHDR(y) && memcmp(VARDATA_ANY(x), VARDATA_ANY(y), VARSIZE_ANY_EXHDR(x)) == 0;
}

bool
mcdp_are_peers(Datum a, Datum a_peer, Datum b, Datum b_peer)
{
	return (a_peer != 0 && same_bytes(a_peer, b)) || (b_peer != 0 && same_bytes(b_peer, a));
}

bool
mcdp_find_edge(Lookup *lk, Snapshot snapshot, Datum a, Datum b, TimestampTz at, bool *holds)
{
	ScanKeyData key[2];
	TupleTableSlot *slot;
	bool		isnull;

	if (lk->edge.rel == NULL)
		lk->edge = mcdp_open_keyed(lk->schema, "extra_edge", "extra_edge_pkey");
	if (mcdp_compare_identifiers(lk, a, b) > 0)
	{
		Datum		swap = a;

		a = b;
		b = swap;
	}
	mcdp_identifier_key(lk, &key[0], EDGE_A, a);
	mcdp_identifier_key(lk, &key[1], EDGE_B, b);
	*holds = false;
	if (!probe(&lk->edge_scan, &lk->edge, snapshot, key, 2))
		return false;
	slot = lk->edge_scan.slot;
	*holds = slot_attisnull(slot, EDGE_INACTIVE_AT) &&
		DatumGetTimestampTz(slot_getattr(slot, EDGE_AT, &isnull)) <= at;
	return true;
}

/*
 * Is the call about one profile, with nothing to be written?  Sets *owner to
 * the identifier that decides.
 */
static bool
nothing_new(Lookup *lk, Known *known, int num, text *kind, TimestampTz at, Known **owner)
{
	Known	   *first = known;
	bool		result = true;

	if (num < 1)
		return false;
	for (int i = 0; i < num; i++)
	{
		if (!known[i].linked || known[i].at > at || known[i].root != known[0].root)
			return false;
		if (known[i].priority > first->priority)
			first = &known[i];
	}

	/* Another kind than the one asked, but for the default one, is an error. */
	if (kind != NULL)
	{
		int			len = VARSIZE_ANY_EXHDR(kind);

		if (!(len == 6 && memcmp(VARDATA_ANY(kind), "person", 6) == 0) &&
			!(len == VARSIZE_ANY_EXHDR(first->kind) &&
			  memcmp(VARDATA_ANY(kind), VARDATA_ANY(first->kind), len) == 0))
			return false;
	}

	for (int i = 0; i < num && result; i++)
	{
		if (&known[i] != first && !mcdp_are_peers(first->identifier, first->peer, known[i].identifier, known[i].peer))
			(void) mcdp_find_edge(lk, lk->snapshot, first->identifier, known[i].identifier, at, &result);
	}
	*owner = first;
	return result;
}

/* Call _stitch_new(identifiers, kind, at, source, message_id) with the arguments of args. */
static Datum
stitch_new(FmgrInfo *flinfo, Oid array_type, NullableDatum *args)
{
	LOCAL_FCINFO(call, STITCH_ARGS);
	FmgrInfo   *more = flinfo->fn_extra;
	Datum		result;

	if (more == NULL)
	{
		Oid			types[STITCH_ARGS] = {array_type, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
		List	   *name = list_make2(makeString("cdp"), makeString("_stitch_new"));

		more = MemoryContextAlloc(flinfo->fn_mcxt, sizeof(FmgrInfo));
		fmgr_info_cxt(LookupFuncName(name, STITCH_ARGS, types, false), more, flinfo->fn_mcxt);
		flinfo->fn_extra = more;
	}
	InitFunctionCallInfoData(*call, more, STITCH_ARGS, InvalidOid, NULL, NULL);
	for (int i = 0; i < STITCH_ARGS; i++)
		call->args[i] = args[i];
	result = FunctionCallInvoke(call);
	if (call->isnull)
		elog(ERROR, "function %u returned NULL", more->fn_oid);
	return result;
}

/* What can be done without it; false when it is left to _stitch_new. */
static bool
stitch_here(NullableDatum *args, Stitched *who)
{
	ArrayType  *array;
	StitchCall	call;
	Lookup		lk;
	Known	   *known;
	Known	   *owner;
	int			num;
	bool		done;

	if (args[0].isnull || args[2].isnull || TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(args[2].value)))
		return false;			/* an error */
	array = DatumGetArrayTypeP(args[0].value);
	call.kind = args[1].isnull ? NULL : DatumGetTextPP(args[1].value);
	if (call.kind && VARSIZE_ANY_EXHDR(call.kind) == 0)
		return false;			/* as well */
	call.at = DatumGetTimestampTz(args[2].value);
	call.source = args[3].isnull ? NULL : DatumGetTextPP(args[3].value);
	call.message_id = args[4].isnull ? NULL : DatumGetTextPP(args[4].value);

	mcdp_lookup_begin(&lk, ARR_ELEMTYPE(array));
	num = look_up_all(&lk, array, &known);
	done = nothing_new(&lk, known, num, call.kind, call.at, &owner);
	if (done)
	{
		who->leaf = owner->leaf;
		who->root = owner->root;
		who->via = owner->identifier;
	}
	else if (num > 0)
		done = mcdp_stitch_plain(&lk, by_priority(known, num), num, &call, who);
	mcdp_lookup_end(&lk);
	return done;
}

bool
mcdp_stitch_one(Oid identifier_type, Datum *ids, int num, const StitchCall *call, Stitched *who)
{
	NullableDatum args[STITCH_ARGS] = {
		{PointerGetDatum(construct_array(ids, num, identifier_type, -1, false, TYPALIGN_INT)), false},
		{PointerGetDatum(call->kind), call->kind == NULL},
		{TimestampTzGetDatum(call->at), false},
		{PointerGetDatum(call->source), call->source == NULL},
		{PointerGetDatum(call->message_id), call->message_id == NULL}
	};

	return stitch_here(args, who);
}

/* _stitch(identifiers, kind, at, source, message_id, OUT leaf_id, OUT canonical_id, OUT via) */
Datum
mcdp__stitch(PG_FUNCTION_ARGS)
{
	Stitched	who;
	Datum		values[3];
	bool		isnull[3] = {false, false, false};
	TupleDesc	desc;

	if (!stitch_here(fcinfo->args, &who))
		return stitch_new(fcinfo->flinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), fcinfo->args);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(who.leaf);
	values[1] = Int64GetDatum(who.root);
	values[2] = who.via;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}

void
mcdp_set_traits(int64 leaf, Datum traits, TimestampTz at, text *source)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[4] = {INT8OID, JSONBOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[4] = {Int64GetDatum(leaf), traits, TimestampTzGetDatum(at), PointerGetDatum(source)};
	char		nulls[5] = {' ', ' ', ' ', source ? ' ' : 'n', 0};

	mcdp_run("SELECT cdp._set_traits($1, $2, $3, $4)", &plan, 4, types, values, nulls);
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

	if (!stitch_here(args, &who))
	{
		HeapTupleHeader row = DatumGetHeapTupleHeader(stitch_new(fcinfo->flinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), args));
		bool		isnull;

		who.leaf = DatumGetInt64(GetAttributeByNum(row, 1, &isnull));
		who.root = DatumGetInt64(GetAttributeByNum(row, 2, &isnull));
	}
	if (JB_ROOT_COUNT(traits) > 0)
		mcdp_set_traits(who.leaf, PG_GETARG_DATUM(1), PG_GETARG_TIMESTAMPTZ(2), PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3));
	PG_RETURN_INT64(who.root);
}
