/*-------------------------------------------------------------------------
 *
 * stitch.c
 *	  From identifiers to a profile: the part that only reads.
 *
 * Nearly every call names identifiers that are known and belong together.
 * _stitch answers those straight from indexes: one probe per identifier that
 * no other one's link speaks of, one that says whether its profile was ever
 * merged into another, and one per piece of evidence that does not stand in
 * one of the links (21_identity.sql).  What is new is written by
 * stitch_write.c where that is plain; when profiles have to be merged or a
 * rule has a say, _stitch hands over to _stitch_new (21_identity.sql).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "store/stitch.h"
#include "types/identifier.h"

#define MAX_IDENTIFIERS 1000	/* of one call, or one message */

PG_FUNCTION_INFO_V1(mcdp__max_identifiers);
PG_FUNCTION_INFO_V1(mcdp__look_up);

/* _max_identifiers() */
Datum
mcdp__max_identifiers(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(MAX_IDENTIFIERS);
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

/* Its canonical profile, and of what kind that is. */
static void
read_profile(Lookup *lk, Known *known, Snapshot snapshot)
{
	TupleTableSlot *slot = mcdp_find_profile(lk, known->leaf, snapshot);
	bool		isnull;

	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("profile %lld of an identifier does not exist", (long long) known->leaf)));
	known->leaf_tid = slot->tts_tid;
	known->root = DatumGetInt64(slot_getattr(slot, PROFILE_CANONICAL_ID, &isnull));
	known->kind = DatumGetTextPCopy(slot_getattr(slot, PROFILE_KIND, &isnull));
}

/* Those of which only the canonical profile was asked so far. */
static void
read_profiles(Lookup *lk, Known *const *known, int num)
{
	for (int i = 0; i < num; i++)
	{
		int			j;

		if (!known[i]->linked || ItemPointerIsValid(&known[i]->leaf_tid))
			continue;
		for (j = 0; j < i && !(known[j]->linked && known[j]->leaf == known[i]->leaf); j++)
			;
		if (j == i)
			read_profile(lk, known[i], lk->snapshot);
		else
		{
			known[i]->leaf_tid = known[j]->leaf_tid;
			known[i]->kind = known[j]->kind;
		}
	}
}

/* Its link and canonical profile, if it has one.  "others" are identifiers looked up before. */
static void
find_link(Lookup *lk, Known *known, Snapshot snapshot, Known *const *others, int num_others)
{
	ScanKeyData key;
	bool		isnull;

	known->linked = known->implied = false;
	known->peer = 0;
	mcdp_identifier_key(lk, &key, 1, known->identifier);
	if (!mcdp_probe(&lk->link_scan, &lk->link, snapshot, &key, 1))
		return;
	known->linked = true;
	known->link_tid = lk->link_scan.slot->tts_tid;
	known->leaf = DatumGetInt64(slot_getattr(lk->link_scan.slot, LINK_PROFILE_ID, &isnull));
	known->at = DatumGetTimestampTz(slot_getattr(lk->link_scan.slot, LINK_AT, &isnull));
	known->peer = slot_getattr(lk->link_scan.slot, LINK_PEER, &isnull);
	if (!isnull)
		known->peer = datumCopy(known->peer, false, -1);

	/* most calls are about one profile */
	for (int i = 0; i < num_others; i++)
	{
		if (others[i]->linked && others[i]->leaf == known->leaf)
		{
			known->root = others[i]->root;
			known->kind = others[i]->kind;
			known->leaf_tid = others[i]->leaf_tid;
			return;
		}
	}
	/* with others that are not of this leaf there is something to write, for which the profile has to be read */
	if (num_others > 0 || mcdp_may_be_merged(lk, known->leaf))
		read_profile(lk, known, snapshot);
	else
	{
		known->root = known->leaf;
		ItemPointerSetInvalid(&known->leaf_tid);
	}
}

/*
 * Does the evidence in the link of another one say what is to be known about
 * it?  They are of one leaf, and it was known by then (21_identity.sql).
 */
static bool
is_implied(Known *known, Known *const *others, int num_others)
{
	for (int i = 0; i < num_others; i++)
	{
		const Known *other = others[i];

		if (!other->linked || other->peer == 0 || !same_bytes(other->peer, known->identifier))
			continue;
		known->linked = known->implied = true;
		ItemPointerSetInvalid(&known->link_tid);
		known->leaf_tid = other->leaf_tid;
		known->leaf = other->leaf;
		known->at = other->at;
		known->peer = 0;
		known->root = other->root;
		known->kind = other->kind;
		return true;
	}
	return false;
}

/* What find_link does, under any snapshot. */
void
mcdp_find_link(Lookup *lk, Known *known, Snapshot snapshot)
{
	find_link(lk, known, snapshot, NULL, 0);
}

/* The priority of its namespace, and its kind as long as no profile is found. */
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
	known->kind = rule ? rule->kind : NULL;
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
 * Look up identifiers, each once.  Returns them with the highest priority
 * first, then as given.  The others are asked first: they came later, nearly
 * always, and their evidence spares a look at the one they came with.  They are
 * compared each with each: nobody has more than MAX_IDENTIFIERS.
 */
static Known **
look_up_all(Lookup *lk, const Datum *ids, int n, int *num)
{
	Known	   *known;
	Known	  **order;

	if (n > MAX_IDENTIFIERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot take %d identifiers in one call", n),
				 errdetail("At most %d identifiers can belong together in one call.", MAX_IDENTIFIERS)));
	known = palloc(sizeof(Known) * Max(n, 1));
	*num = 0;
	for (int i = 0; i < n; i++)
	{
		int			j;

		CHECK_FOR_INTERRUPTS();
		for (j = 0; j < *num && !same_bytes(known[j].identifier, ids[i]); j++)
			;
		if (j < *num)
			continue;
		known[j].identifier = ids[i];
		find_rule(lk, &known[j]);
		(*num)++;
	}
	order = by_priority(known, *num);
	for (int i = *num - 1; i >= 0; i--)
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_implied(order[i], &order[i + 1], *num - i - 1))
			find_link(lk, order[i], lk->snapshot, &order[i + 1], *num - i - 1);
	}
	return order;
}

/* Whoever writes has to know all about them.  Was there anything to look up? */
static bool
look_up_implied(Lookup *lk, Known **known, int num)
{
	bool		any = false;

	for (int i = 0; i < num; i++)
	{
		if (known[i]->implied)
		{
			find_link(lk, known[i], lk->snapshot, NULL, 0);
			any = true;
		}
	}
	return any;
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
	Datum	   *ids;
	bool	   *id_nulls;
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
	deconstruct_array(array, ARR_ELEMTYPE(array), lk.type->typlen, lk.type->typbyval, lk.type->typalign, &ids, &id_nulls, &num);
	for (int i = 0; i < num; i++)
	{
		if (id_nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("identifiers must not be null")));
	}
	order = look_up_all(&lk, ids, num, &num);
	read_profiles(&lk, order, num);
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

/*
 * Is the call about one profile, with nothing to be written?  "known" has the
 * highest priority first.
 */
static bool
nothing_new(Lookup *lk, Known **known, int num, text *kind, TimestampTz at)
{
	Known	   *first;
	bool		result = true;

	if (num < 1)
		return false;
	first = known[0];
	for (int i = 0; i < num; i++)
	{
		if (!known[i]->linked || known[i]->at > at || known[i]->root != first->root)
			return false;
	}

	/* Another kind than the one asked, but for the default one, is an error. */
	if (kind != NULL)
	{
		int			len = VARSIZE_ANY_EXHDR(kind);

		if (!(len == 6 && memcmp(VARDATA_ANY(kind), "person", 6) == 0))
		{
			read_profiles(lk, &first, 1);
			if (len != VARSIZE_ANY_EXHDR(first->kind) || memcmp(VARDATA_ANY(kind), VARDATA_ANY(first->kind), len) != 0)
				return false;
		}
	}

	for (int i = 1; i < num && result; i++)
	{
		if (!mcdp_are_peers(first->identifier, first->peer, known[i]->identifier, known[i]->peer))
			(void) mcdp_find_edge(lk, lk->snapshot, first->identifier, known[i]->identifier, at, &result);
	}
	return result;
}

bool
mcdp_stitch_one(Oid identifier_type, const Datum *ids, int num, const StitchCall *call, StitchHow how, Stitched *who)
{
	Lookup		lk;
	Known	  **known;
	bool		done;

	mcdp_lookup_begin(&lk, identifier_type);
	known = look_up_all(&lk, ids, num, &num);
	done = nothing_new(&lk, known, num, call->kind, call->at) ||
		(look_up_implied(&lk, known, num) && nothing_new(&lk, known, num, call->kind, call->at));
	if (done)
	{
		who->leaf = known[0]->leaf;
		who->root = known[0]->root;
		who->via = known[0]->identifier;
	}
	else if (num > 0 && how != STITCH_KNOWN)
	{
		read_profiles(&lk, known, num);
		done = mcdp_stitch_plain(&lk, known, num, call, how == STITCH_WITHIN, who);
	}
	mcdp_lookup_end(&lk);
	return done;
}
