/*-------------------------------------------------------------------------
 *
 * bitmap_support_fn.c
 *	  What the planner is told about bitmap functions.
 *
 * "column <@ bitmap" (and rb_contains, @>) can use an index on the column: as
 * an array condition, column = ANY (cdp._rb_keys(bitmap)).  The executor
 * evaluates it once, when the index scan starts.  To estimate with it, the
 * planner would make the array and look at each of its elements; _rb_keys is
 * declared volatile to keep it from that.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/bitmap_support_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp_rb_iterate_support);
PG_FUNCTION_INFO_V1(mcdp_rb_contains_support);
PG_FUNCTION_INFO_V1(mcdp_rb_contains_sel);
PG_FUNCTION_INFO_V1(mcdp_rb_set_sel);
PG_FUNCTION_INFO_V1(mcdp_rb_set_joinsel);

#define MAX_LOOKUPS		0.1		/* per row of the table */
#define DEFAULT_SHARE	0.01	/* of the rows, for a bitmap not known yet */
#define OVERLAP_SHARE	0.1		/* bitmaps that share an id with another */
#define SUBSET_SHARE	0.01	/* bitmaps that hold, or are in, another */

/* Rows of rb_iterate(constant). */
Datum
mcdp_rb_iterate_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestRows))
	{
		SupportRequestRows *rows = (SupportRequestRows *) request;

		if (is_funcclause(rows->node))
		{
			Node	   *arg = linitial(((FuncExpr *) rows->node)->args);

			if (IsA(arg, Const))
			{
				Const	   *value = (Const *) arg;

				rows->rows = value->constisnull ? 0 :
					mcdp_bitmap_cardinality(value->constvalue);
				PG_RETURN_POINTER(request);
			}
		}
	}
	PG_RETURN_POINTER(NULL);
}

/* cdp._rb_keys, found beside the function the request is about. */
static Oid
keys_function(Oid beside, Oid argtype)
{
	char	   *schema = get_namespace_name(get_func_namespace(beside));

	if (schema == NULL)
		return InvalidOid;
	return LookupFuncName(list_make2(makeString(schema), makeString("_rb_keys")),
						  1, &argtype, true);
}

static List *
index_condition(SupportRequestIndexCondition *req)
{
	List	   *args;
	Node	   *id;
	Node	   *bitmap;
	Oid			eq;
	Oid			keys;
	ScalarArrayOpExpr *any;

	/*
	 * The planner does not see that the condition becomes an array condition,
	 * so it would not notice that a lower column of the index then yields no
	 * order (before PostgreSQL 17), or that the access method takes none.
	 */
	if (req->indexcol != 0 || !req->index->amsearcharray ||
		req->index->relam != BTREE_AM_OID)
		return NIL;
	if (is_opclause(req->node))
		args = ((OpExpr *) req->node)->args;
	else if (is_funcclause(req->node))
		args = ((FuncExpr *) req->node)->args;
	else
		return NIL;
	if (list_length(args) != 2 || req->indexarg > 1)
		return NIL;
	id = list_nth(args, req->indexarg);
	bitmap = list_nth(args, 1 - req->indexarg);
	if (exprType(id) != INT8OID ||
		!is_pseudo_constant_for_index(req->root, bitmap, req->index))
		return NIL;

	/* many lookups cost more than reading the table */
	if (IsA(bitmap, Const) && !((Const *) bitmap)->constisnull &&
		mcdp_bitmap_cardinality(((Const *) bitmap)->constvalue) >
		req->index->rel->tuples * MAX_LOOKUPS)
		return NIL;

	eq = get_opfamily_member(req->opfamily, INT8OID, INT8OID,
							 BTEqualStrategyNumber);
	keys = keys_function(req->funcid, exprType(bitmap));
	if (!OidIsValid(eq) || !OidIsValid(keys))
		return NIL;

	any = makeNode(ScalarArrayOpExpr);
	any->opno = eq;
	any->opfuncid = get_opcode(eq);
	any->useOr = true;
	any->inputcollid = InvalidOid;
	any->args = list_make2(id,
						   makeFuncExpr(keys, INT8ARRAYOID, list_make1(bitmap),
										InvalidOid, InvalidOid,
										COERCE_EXPLICIT_CALL));
	any->location = -1;
	return list_make1(any);
}

Datum
mcdp_rb_contains_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestIndexCondition))
	{
		SupportRequestIndexCondition *req = (SupportRequestIndexCondition *) request;
		List	   *condition = index_condition(req);

		if (condition != NIL)
		{
			req->lossy = false;
			PG_RETURN_POINTER(condition);
		}
	}
	PG_RETURN_POINTER(NULL);
}

/*
 * Selectivity of id <@ bitmap and bitmap @> id.  Looks at constants only: a
 * stable expression may be a whole audience, too dear to compute twice.
 */
Datum
mcdp_rb_contains_sel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	int			varRelid = PG_GETARG_INT32(3);
	double		selec = DEFAULT_SHARE;

	if (list_length(args) == 2)
	{
		int			id_arg = exprType(linitial(args)) == INT8OID ? 0 : 1;
		Node	   *bitmap = list_nth(args, 1 - id_arg);

		if (IsA(bitmap, Const))
		{
			Const	   *value = (Const *) bitmap;
			VariableStatData vardata;

			examine_variable(root, list_nth(args, id_arg), varRelid, &vardata);
			if (value->constisnull)
				selec = 0.0;
			else if (vardata.rel != NULL && vardata.rel->tuples >= 1)
			{
				bool		isdefault;
				double		distinct = get_variable_numdistinct(&vardata, &isdefault);

				selec = mcdp_bitmap_cardinality(value->constvalue) / Max(distinct, 1);
			}
			ReleaseVariableStats(vardata);
		}
	}
	CLAMP_PROBABILITY(selec);
	PG_RETURN_FLOAT8(selec);
}

static bool
is_overlap(Oid operator)
{
	char	   *name = get_opname(operator);

	return name != NULL && strcmp(name, "&&") == 0;
}

/* Does the left side of the operator hold the right one? */
static bool
is_contains(Oid operator)
{
	char	   *name = get_opname(operator);

	return name != NULL && strcmp(name, "@>") == 0;
}

/*
 * Selectivity of &&, @> and <@ between a column and another bitmap.  Nothing is
 * known of the sets in a column, but all about the empty one.
 */
Datum
mcdp_rb_set_sel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	Oid			operator = PG_GETARG_OID(1);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	int			varRelid = PG_GETARG_INT32(3);
	bool		overlap = is_overlap(operator);
	double		selec = overlap ? OVERLAP_SHARE : SUBSET_SHARE;
	VariableStatData vardata;
	Node	   *other;
	bool		var_on_left;

	if (!get_restriction_variable(root, args, varRelid, &vardata, &other, &var_on_left))
		PG_RETURN_FLOAT8(selec);
	if (IsA(other, Const) && ((Const *) other)->constisnull)
		selec = 0.0;
	else
	{
		if (IsA(other, Const) &&
			mcdp_bitmap_cardinality(((Const *) other)->constvalue) == 0)
		{
			if (overlap)
				selec = 0.0;
			else if (is_contains(operator) == var_on_left)
				selec = 1.0;
		}
		if (HeapTupleIsValid(vardata.statsTuple))
			selec *= 1.0 - ((Form_pg_statistic) GETSTRUCT(vardata.statsTuple))->stanullfrac;
	}
	ReleaseVariableStats(vardata);
	CLAMP_PROBABILITY(selec);
	PG_RETURN_FLOAT8(selec);
}

Datum
mcdp_rb_set_joinsel(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(is_overlap(PG_GETARG_OID(1)) ? OVERLAP_SHARE : SUBSET_SHARE);
}
