/*-------------------------------------------------------------------------
 *
 * components_scan.c
 *	  connected_components and component_sizes in FROM.
 *
 * PostgreSQL runs a function in FROM to its end and keeps its rows in a
 * tuplestore.  For millions of rows that costs as much as finding them, and
 * nobody learns that they can come in order.  So the planner is given another
 * way: a scan that hands the texts on where they are, only the columns that are
 * asked for, sorted by component where the query groups, joins or sorts by it
 * and the collation sorts by bytes.
 *
 * The planner's support function, which is called whenever such a call is
 * planned, loads this library (and the hook with it) and says which function it
 * is.  Calls that this way is not meant for (LATERAL arguments, WITH ORDINALITY,
 * ROWS FROM, rows that are locked or updated, whole rows) are left to PostgreSQL.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/components_scan.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "core/compat.h"
#include "store/components.h"

/* what custom_private says, after the function */
#define SORTED	1
#define SIZES	2				/* component_sizes */
#define NAMES	4				/* connected_components, but only components are asked for */

typedef struct ComponentsState
{
	CustomScanState css;
	List	   *args;
	int			what;
	MemoryContext context;
	McdpGraph  *graph;			/* NULL: the query has not run */
	struct varlena *name;		/* with NAMES: the present component */
	uint32		left;			/* ... rows of it */
} ComponentsState;

/* the functions, as of the last call of the support function for each */
static Oid	nodes_function;
static Oid	sizes_function;
static set_rel_pathlist_hook_type next_hook;

PG_FUNCTION_INFO_V1(mcdp_components_support);

Datum
mcdp_components_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestRows))
	{
		Oid			function = ((SupportRequestRows *) request)->funcid;
		char	   *name = get_func_name(function);

		if (name && strcmp(name, "component_sizes") == 0)
			sizes_function = function;
		else if (name && strcmp(name, "connected_components") == 0)
			nodes_function = function;
	}
	PG_RETURN_POINTER(NULL);	/* no other estimate */
}

static Var *
column_of(RelOptInfo *rel, AttrNumber attno, bool sizes)
{
	bool		is_text = !sizes || attno == 1;

	return makeVar(rel->relid, attno, is_text ? TEXTOID : INT8OID, -1, is_text ? DEFAULT_COLLATION_OID : InvalidOid, 0);
}

/* The call, if it is one of ours, and one that this scan is meant for. */
static FuncExpr *
our_call(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte)
{
	RangeTblFunction *rtf;
	FuncExpr   *call;

	if (rte->rtekind != RTE_FUNCTION || list_length(rte->functions) != 1 || rte->funcordinality)
		return NULL;
	rtf = linitial_node(RangeTblFunction, rte->functions);
	call = (FuncExpr *) rtf->funcexpr;
	if (!IsA(call, FuncExpr) || !OidIsValid(call->funcid) ||
		(call->funcid != nodes_function && call->funcid != sizes_function) ||
		list_length(call->args) != 2 || rtf->funccolnames != NIL)
		return NULL;
	/* a row that is fetched again after a lock would have to come from elsewhere */
	if ((root->parse->commandType != CMD_SELECT && root->parse->commandType != CMD_INSERT) || root->rowMarks != NIL)
		return NULL;
	if (rel->reloptkind != RELOPT_BASEREL || !bms_is_empty(rel->lateral_relids) || contain_subplans((Node *) call->args))
		return NULL;
	return call;
}

static Plan *make_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist, List *clauses, List *plans);
static Node *make_state(CustomScan *scan);

static const CustomPathMethods path_methods = {.CustomName = "components", .PlanCustomPath = make_plan};
static const CustomScanMethods scan_methods = {.CustomName = "components", .CreateCustomScanState = make_state};

static void
add_components_path(RelOptInfo *rel, Path *instead, FuncExpr *call, int what, List *pathkeys)
{
	CustomPath *path = makeNode(CustomPath);

	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.rows = rel->rows;
	path->path.startup_cost = instead->startup_cost;
	path->path.total_cost = instead->total_cost;
	path->path.pathkeys = pathkeys;
	path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_private = list_make2(makeInteger((int) call->funcid), makeInteger(what));
	path->methods = &path_methods;
	add_path(rel, (Path *) path);
}

/*
 * Whether the database's own collation is that of the C library's C locale.
 * (utils/pg_locale.h knows more, and wants the headers of ICU.)
 */
static bool
texts_sort_by_bytes(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	bool		isnull;
	char	   *name;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
	name = TextDatumGetCString(SysCacheGetAttr(DATABASEOID, tuple, Anum_pg_database_datcollate, &isnull));
	result = ((Form_pg_database) GETSTRUCT(tuple))->datlocprovider == COLLPROVIDER_LIBC &&
		(strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0);
	ReleaseSysCache(tuple);
	return result;
}

static void
set_components_paths(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	FuncExpr   *call;
	Bitmapset  *filtered = NULL;
	int			what = 0;
	Path	   *instead;
	List	   *pathkeys = NIL;

	if (next_hook)
		next_hook(root, rel, rti, rte);
	call = our_call(root, rel, rte);
	if (call == NULL || rel->pathlist == NIL)
		return;

	pull_varattnos((Node *) extract_actual_clauses(rel->baserestrictinfo, false), rti, &filtered);
	if (bms_is_member(-FirstLowInvalidHeapAttributeNumber, filtered) || rel->min_attr > 0 ||
		!bms_is_empty(rel->attr_needed[0 - rel->min_attr]))
		return;					/* the row as a whole */
	if (call->funcid == sizes_function)
		what |= SIZES;
	else if (!bms_is_member(1 - FirstLowInvalidHeapAttributeNumber, filtered) && bms_is_empty(rel->attr_needed[1 - rel->min_attr]))
		what |= NAMES;

	if (texts_sort_by_bytes())
		pathkeys = mcdp_expression_pathkey(root, (Expr *) column_of(rel, what & SIZES ? 1 : 2, what & SIZES),
										   lookup_type_cache(TEXTOID, TYPECACHE_LT_OPR)->lt_opr, rel->relids);
	instead = linitial(rel->pathlist);
	rel->pathlist = NIL;
	add_components_path(rel, instead, call, what, NIL);
	if (pathkeys != NIL)
		add_components_path(rel, instead, call, what | SORTED, pathkeys);
}

static Plan *
make_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist, List *clauses, List *plans)
{
	CustomScan *scan = makeNode(CustomScan);
	RangeTblEntry *rte = planner_rt_fetch(rel->relid, root);
	FuncExpr   *call = (FuncExpr *) linitial_node(RangeTblFunction, rte->functions)->funcexpr;
	bool		sizes = intVal(lsecond(path->custom_private)) & SIZES;

	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->flags = path->flags;
	scan->custom_exprs = copyObject(call->args);
	scan->custom_private = path->custom_private;
	for (AttrNumber attno = 1; attno <= 2; attno++)
		scan->custom_scan_tlist = lappend(scan->custom_scan_tlist,
										  makeTargetEntry((Expr *) column_of(rel, attno, sizes), attno, NULL, false));
	scan->methods = &scan_methods;
	return &scan->scan.plan;
}

static void
begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	ComponentsState *state = (ComponentsState *) node;
	CustomScan *scan = (CustomScan *) node->ss.ps.plan;
	Oid			function = (Oid) intVal(linitial(scan->custom_private));

	if (mcdp_proc_aclcheck(function) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
	state->what = intVal(lsecond(scan->custom_private));
	state->args = ExecInitExprList(scan->custom_exprs, &node->ss.ps);
	state->context = AllocSetContextCreate(estate->es_query_cxt, "connected_components", ALLOCSET_DEFAULT_SIZES);
}

static char *
argument(ComponentsState *state, int i)
{
	bool		isnull;
	Datum		value = ExecEvalExpr((ExprState *) list_nth(state->args, i), state->css.ss.ps.ps_ExprContext, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static void
read_graph(ComponentsState *state)
{
	MemoryContext caller = MemoryContextSwitchTo(state->context);
	Size		limit = mcdp_components_memory(argument(state, 1));
	McdpGraph  *graph = mcdp_components_read(argument(state, 0), limit, state->context);

	if (state->what & SORTED)
	{
		if (!mcdp_graph_sort(graph))
			mcdp_components_out_of_memory(graph, limit);
		if (!(state->what & (SIZES | NAMES)))
			mcdp_graph_group(graph);
	}
	state->graph = graph;
	MemoryContextSwitchTo(caller);
}

/* The next row, into the slot. */
static inline bool
fetch(ComponentsState *state, TupleTableSlot *slot)
{
	struct varlena *first = NULL,
			   *second;
	uint32		members;

	if (state->what & SIZES)
	{
		if (!mcdp_graph_next_component(state->graph, &first, &members))
			return false;
		slot->tts_values[1] = Int64GetDatum(members);
	}
	else
	{
		if (!(state->what & NAMES))
		{
			if (!mcdp_graph_next_node(state->graph, &first, &second))
				return false;
		}
		else
		{
			if (state->left == 0 && !mcdp_graph_next_component(state->graph, &state->name, &state->left))
				return false;
			state->left--;
			second = state->name;
		}
		slot->tts_values[1] = PointerGetDatum(second);
	}
	slot->tts_values[0] = PointerGetDatum(first);
	slot->tts_isnull[0] = first == NULL;
	slot->tts_isnull[1] = false;
	ExecStoreVirtualTuple(slot);
	return true;
}

static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	ComponentsState *state = (ComponentsState *) node;
	ExprContext *econtext = node->ss.ps.ps_ExprContext;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	if (state->graph == NULL)
		read_graph(state);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		ResetExprContext(econtext);
		ExecClearTuple(slot);
		if (!fetch(state, slot))
			return NULL;
		econtext->ecxt_scantuple = slot;
		if (ExecQual(node->ss.ps.qual, econtext))
			return node->ss.ps.ps_ProjInfo ? ExecProject(node->ss.ps.ps_ProjInfo) : slot;
		InstrCountFiltered1(node, 1);
	}
}

static void
rescan(CustomScanState *node)
{
	ComponentsState *state = (ComponentsState *) node;

	state->left = 0;
	if (node->ss.ps.chgParam != NULL)
	{
		MemoryContextReset(state->context);
		state->graph = NULL;
	}
	else if (state->graph)
		mcdp_graph_rewind(state->graph);
}

static void
end_scan(CustomScanState *node)
{
	MemoryContextDelete(((ComponentsState *) node)->context);
}

static Node *
make_state(CustomScan *scan)
{
	static const CustomExecMethods methods = {
		.CustomName = "components",
		.BeginCustomScan = begin_scan,
		.ExecCustomScan = exec_scan,
		.EndCustomScan = end_scan,
		.ReScanCustomScan = rescan,
	};
	ComponentsState *state = (ComponentsState *) newNode(sizeof(ComponentsState), T_CustomScanState);

	state->css.methods = &methods;
	return (Node *) state;
}

void
mcdp_components_scan_init(void)
{
	RegisterCustomScanMethods(&scan_methods);
	next_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_components_paths;
}
