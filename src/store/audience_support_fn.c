/*-------------------------------------------------------------------------
 *
 * audience_support_fn.c
 *	  What the planner is told about matches().
 *
 * "matches(column, rule, at)" can use an index on the column, as the condition
 * column = ANY (cdp._matching_ids(rule, at)): the audience, which the executor
 * makes once, when the index scan starts.  The condition is exact: matches()
 * holds for just those ids.  _matching_ids is declared volatile so that the
 * planner does not make the audience itself.
 *
 * Without an index, matches() makes the audience, too, when it is asked about
 * many rows (audience_match_fn.c): its cost is that of the audience, and
 * little for each row.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_support_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "store/audience.h"
#include "store/audience_estimate.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp_matches_support);

#define MAX_LOOKUPS		0.1		/* per row of the table; many cost more than
								 * reading it */
#define UNITS_PER_MS	100		/* of the planner's costs: a page read in
								 * order is 0.01 ms */
#define UNKNOWN_SHARE	0.05	/* of a rule that is no constant */
#define UNKNOWN_MS		10

/* Estimates of a constant rule; false for others. */
static bool
estimate_rule(Node *rule, AudienceEstimate *estimate)
{
	MemoryContext cx,
				old;
	CriteriaNode *node;

	if (!IsA(rule, Const) || ((Const *) rule)->constisnull || !ActiveSnapshotSet())
		return false;
	cx = AllocSetContextCreate(CurrentMemoryContext, "audience estimate", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cx);
	node = mcdp_criteria_open(DatumGetCriteriaPP(((Const *) rule)->constvalue));
	mcdp_audience_estimate(mcdp_plan_make(node), "person", estimate, NULL);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cx);
	return true;
}

static double
share_found(Node *rule)
{
	AudienceEstimate estimate;

	if (!estimate_rule(rule, &estimate) || estimate.universe < 1)
		return UNKNOWN_SHARE;
	return estimate.found / estimate.universe;
}

static Node *
index_condition(SupportRequestIndexCondition * req)
{
	Oid			argtypes[2];
	List	   *args;
	Node	   *rule;
	Node	   *at;
	char	   *schema;
	Oid			eq;
	Oid			ids;
	ScalarArrayOpExpr *any;

	/* As bitmap_support_fn.c explains: the first column of a btree only. */
	if (req->indexcol != 0 || req->indexarg != 0 || !req->index->amsearcharray ||
		req->index->relam != BTREE_AM_OID || !is_funcclause(req->node))
		return NULL;
	args = ((FuncExpr *) req->node)->args;
	if (list_length(args) != 3 || exprType(linitial(args)) != INT8OID)
		return NULL;
	rule = lsecond(args);
	at = lthird(args);
	if (!is_pseudo_constant_for_index(req->root, rule, req->index) ||
		!is_pseudo_constant_for_index(req->root, at, req->index) ||
		share_found(rule) > MAX_LOOKUPS)
		return NULL;

	argtypes[0] = exprType(rule);
	argtypes[1] = exprType(at);
	schema = get_namespace_name(get_func_namespace(req->funcid));
	eq = get_opfamily_member(req->opfamily, INT8OID, INT8OID, BTEqualStrategyNumber);
	if (schema == NULL || !OidIsValid(eq))
		return NULL;
	ids = LookupFuncName(list_make2(makeString(schema), makeString("_matching_ids")), 2, argtypes, true);
	if (!OidIsValid(ids))
		return NULL;

	any = makeNode(ScalarArrayOpExpr);
	any->opno = eq;
	any->opfuncid = get_opcode(eq);
	any->useOr = true;
	any->inputcollid = InvalidOid;
	any->args = list_make2(linitial(args),
						   makeFuncExpr(ids, INT8ARRAYOID, list_make2(rule, at),
										InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL));
	any->location = -1;
	return (Node *) any;
}

Datum
mcdp_matches_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestIndexCondition))
	{
		SupportRequestIndexCondition *req = (SupportRequestIndexCondition *) request;
		Node	   *condition = index_condition(req);

		if (condition != NULL)
		{
			req->lossy = false;
			PG_RETURN_POINTER(list_make1(condition));
		}
	}
	else if (IsA(request, SupportRequestSelectivity))
	{
		SupportRequestSelectivity *req = (SupportRequestSelectivity *) request;

		if (list_length(req->args) == 3)
		{
			req->selectivity = share_found(lsecond(req->args));
			req->selectivity = Min(Max(req->selectivity, 0.0), 1.0);
			PG_RETURN_POINTER(req);
		}
	}
	else if (IsA(request, SupportRequestCost))
	{
		/* Of matches(profile, rule, at), and of _matching_ids(rule, at). */
		SupportRequestCost *req = (SupportRequestCost *) request;

		if (req->node != NULL && is_funcclause(req->node))
		{
			List	   *args = ((FuncExpr *) req->node)->args;
			int			nargs = list_length(args);
			AudienceEstimate estimate;

			if (nargs < 2 || nargs > 3)
				PG_RETURN_POINTER(NULL);
			if (!estimate_rule(list_nth(args, nargs - 2), &estimate))
				estimate.set_ms = UNKNOWN_MS;
			req->startup = nargs == 3 ? estimate.set_ms * UNITS_PER_MS : 0;
			req->per_tuple = nargs == 3 ? 10 * cpu_operator_cost : estimate.set_ms * UNITS_PER_MS;
			PG_RETURN_POINTER(req);
		}
	}
	PG_RETURN_POINTER(NULL);
}
