/*-------------------------------------------------------------------------
 *
 * components_fn.c
 *	  connected_components, component_sizes: the graph of a query's rows.
 *
 * The rows go from the executor straight into the graph (union_find.h), none
 * is kept.  The functions hand the answer on row by row.  In FROM they are
 * rarely called at all: see components_scan.c.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/components_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "parser/parse_coerce.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "core/machine_memory.h"
#include "store/components.h"

/* one of the two columns: how it becomes text */
typedef struct Column
{
	bool		as_it_is;		/* text, or stored like one */
	bool		by_output;		/* through the type's output function, else a cast */
	FmgrInfo	convert;
} Column;

/* where the query's rows go */
typedef struct Receiver
{
	DestReceiver pub;
	McdpGraph  *graph;
	MemoryContext row_context;	/* for values that are not texts as they are */
	Column		column[2];
	bool		full;			/* the graph takes no more */
} Receiver;

/* what is still to be returned, row by row */
typedef struct Rest
{
	McdpGraph  *graph;
	TupleDesc	desc;
	HeapTupleHeader row;		/* the last one returned */
} Rest;

#define ROW_BYTES (MAXALIGN(SizeofHeapTupleHeader) + 2 * VARATT_SHORT_MAX)

PG_FUNCTION_INFO_V1(mcdp_connected_components);
PG_FUNCTION_INFO_V1(mcdp_component_sizes);

void
mcdp_components_out_of_memory(McdpGraph *graph, Size limit)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("connected_components needs more than %zu MB of memory", limit / (1024 * 1024)),
			 errdetail("There were %u nodes in the first %lld edges.",
					   mcdp_graph_nodes(graph), (long long) mcdp_graph_edges(graph)),
			 errhint("Each node takes %d to %d bytes and its text. Raise the argument \"memory\" if the machine has so much.",
					 MCDP_NODE_BYTES_MIN, MCDP_NODE_BYTES_MAX)));
}

static void
receive_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receive_shutdown(DestReceiver *self)
{
}

/* A column of the row as text, or NULL. */
static struct varlena *
get_text(Receiver *r, TupleTableSlot *slot, int i)
{
	Column	   *c = &r->column[i];
	Datum		value = slot->tts_values[i];

	if (slot->tts_isnull[i])
		return NULL;
	if (!c->as_it_is)
		return c->by_output ?
			cstring_to_text(OutputFunctionCall(&c->convert, value)) :
			DatumGetTextPP(FunctionCall1(&c->convert, value));
	return PG_DETOAST_DATUM_PACKED(value);
}

static inline bool
is_plain(Receiver *r, TupleTableSlot *slot, int i)
{
	return slot->tts_isnull[i] ||
		(r->column[i].as_it_is &&
		 !VARATT_IS_EXTERNAL(slot->tts_values[i]) && !VARATT_IS_COMPRESSED(slot->tts_values[i]));
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *r = (Receiver *) self;
	bool		plain;
	MemoryContext caller = NULL;
	struct varlena *a,
			   *b;

	slot_getallattrs(slot);
	plain = is_plain(r, slot, 0) && is_plain(r, slot, 1);
	if (!plain)
		caller = MemoryContextSwitchTo(r->row_context);
	a = get_text(r, slot, 0);
	b = get_text(r, slot, 1);
	r->full = !mcdp_graph_add(r->graph,
							  a ? VARDATA_ANY(a) : NULL, a ? VARSIZE_ANY_EXHDR(a) : 0,
							  b ? VARDATA_ANY(b) : NULL, b ? VARSIZE_ANY_EXHDR(b) : 0);
	if (!plain)
	{
		MemoryContextSwitchTo(caller);
		MemoryContextReset(r->row_context);
	}
	return !r->full;			/* false stops the query */
}

/* Look at what the query yields, and refuse all but SELECT of two columns. */
static void
check_query(SPIPlanPtr plan, Receiver *r)
{
	List	   *sources = SPI_plan_get_plan_sources(plan);
	CachedPlanSource *source = list_length(sources) == 1 ? linitial(sources) : NULL;
	Query	   *query = source && list_length(source->query_list) == 1 ? linitial(source->query_list) : NULL;

	if (query == NULL || query->commandType != CMD_SELECT || query->hasModifyingCTE ||
		query->rowMarks != NIL || source->resultDesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("edges_query must be one SELECT that changes and locks nothing")));
	if (source->resultDesc->natts != 2)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("edges_query must yield two columns"),
				 errdetail("It yields %d.", source->resultDesc->natts)));

	for (int i = 0; i < 2; i++)
	{
		Column	   *c = &r->column[i];
		Oid			type = TupleDescAttr(source->resultDesc, i)->atttypid;
		Oid			function;

		switch (find_coercion_pathway(TEXTOID, getBaseType(type), COERCION_EXPLICIT, &function))
		{
			case COERCION_PATH_RELABELTYPE:
				c->as_it_is = true;
				break;
			case COERCION_PATH_FUNC:
				fmgr_info(function, &c->convert);
				break;
			case COERCION_PATH_COERCEVIAIO:
				{
					bool		is_varlena;

					getTypeOutputInfo(type, &function, &is_varlena);
					fmgr_info(function, &c->convert);
					c->by_output = true;
				}
				break;
			default:
				ereport(ERROR,
						(errcode(ERRCODE_CANNOT_COERCE),
						 errmsg("edges_query yields type %s, which cannot be cast to text", format_type_be(type))));
		}
	}
}

/* A quarter of what the machine or the container has, but never less than maintenance_work_mem. */
static Size
default_memory(void)
{
	Size		least = (Size) maintenance_work_mem * 1024;
	Size		quarter = mcdp_machine_memory() / 4;

	return Max(least, quarter);
}

/* Bytes that a text such as "2GB" means; a number alone is kilobytes, as in settings. */
Size
mcdp_components_memory(const char *text)
{
	int			kb;
	const char *hint = NULL;

	if (text == NULL)
		return default_memory();
	if (!parse_int(text, &kb, GUC_UNIT_KB, &hint) || kb < 64)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid amount of memory: \"%s\"", text),
				 hint ? errhint("%s", hint) : errhint("It is at least 64kB.")));
	return (Size) kb * 1024;
}

McdpGraph *
mcdp_components_read(const char *query, Size limit, MemoryContext context)
{
	Receiver	r = {0};
	SPIPlanPtr	plan;
	CachedPlan *cached;
	SPIExecuteOptions options = {0};
	int			rc;

	r.pub.receiveSlot = receive_row;
	r.pub.rStartup = receive_startup;
	r.pub.rShutdown = receive_shutdown;
	r.pub.rDestroy = receive_shutdown;
	r.pub.mydest = DestTuplestore;	/* SPI looks only for its own */

	if (query == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("edges_query must not be null")));
	SPI_connect();
	r.row_context = AllocSetContextCreate(CurrentMemoryContext, "row of connected_components", ALLOCSET_DEFAULT_SIZES);
	plan = SPI_prepare_cursor(query, 0, NULL, CURSOR_OPT_PARALLEL_OK);
	if (plan == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("edges_query cannot be run: %s", SPI_result_code_string(SPI_result))));
	check_query(plan, &r);
	cached = SPI_plan_get_cached_plan(plan);
	r.graph = mcdp_graph_create(context, limit, linitial_node(PlannedStmt, cached->stmt_list)->planTree->plan_rows);
	ReleaseCachedPlan(cached, NULL);
	options.read_only = true;
	options.dest = &r.pub;
	rc = SPI_execute_plan_extended(plan, &options);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(rc));
	if (r.full || !mcdp_graph_finish(r.graph))
		mcdp_components_out_of_memory(r.graph, limit);
	SPI_finish();
	return r.graph;
}

/* The first call: arguments, result type, the graph. */
static Rest *
begin(FunctionCallInfo fcinfo)
{
	FuncCallContext *call;
	MemoryContext caller;
	Rest	   *rest;

	call = SRF_FIRSTCALL_INIT();
	caller = MemoryContextSwitchTo(call->multi_call_memory_ctx);
	rest = palloc0(sizeof(Rest));
	if (get_call_result_type(fcinfo, NULL, &rest->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rest->desc = BlessTupleDesc(rest->desc);
	rest->row = palloc0(ROW_BYTES);
	HeapTupleHeaderSetTypeId(rest->row, rest->desc->tdtypeid);
	HeapTupleHeaderSetTypMod(rest->row, rest->desc->tdtypmod);
	HeapTupleHeaderSetNatts(rest->row, 2);
	rest->row->t_infomask = HEAP_HASVARWIDTH;
	rest->row->t_hoff = MAXALIGN(SizeofHeapTupleHeader);
	ItemPointerSetInvalid(&rest->row->t_ctid);
	MemoryContextSwitchTo(caller);
	rest->graph = mcdp_components_read(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)),
									   mcdp_components_memory(PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1))),
									   call->multi_call_memory_ctx);
	call->user_fctx = rest;
	return rest;
}

/*
 * A row of two texts.  Nearly all of them have the header of one byte and need
 * no alignment: such a row is put together here, where the last one was, which
 * takes a fraction of the time.
 */
static Datum
row_of_texts(Rest *rest, struct varlena *a, struct varlena *b)
{
	Datum		values[2] = {PointerGetDatum(a), PointerGetDatum(b)};
	bool		nulls[2] = {false, false};

	if (VARATT_IS_SHORT(a) && VARATT_IS_SHORT(b))
	{
		char	   *p = (char *) rest->row + rest->row->t_hoff;
		Size		a_size = VARSIZE_SHORT(a);
		Size		b_size = VARSIZE_SHORT(b);

		memcpy(p, a, a_size);
		memcpy(p + a_size, b, b_size);
		HeapTupleHeaderSetDatumLength(rest->row, rest->row->t_hoff + a_size + b_size);
		return PointerGetDatum(rest->row);
	}
	return HeapTupleGetDatum(heap_form_tuple(rest->desc, values, nulls));
}

/* connected_components(edges_query text, memory text) -> table(node text, component text) */
Datum
mcdp_connected_components(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	Rest	   *rest;
	struct varlena *node,
			   *name;

	if (SRF_IS_FIRSTCALL())
		(void) begin(fcinfo);

	call = SRF_PERCALL_SETUP();
	rest = call->user_fctx;
	if (mcdp_graph_next_node(rest->graph, &node, &name))
		SRF_RETURN_NEXT(call, row_of_texts(rest, node, name));
	SRF_RETURN_DONE(call);
}

/* component_sizes(edges_query text, memory text) -> table(component text, members bigint) */
Datum
mcdp_component_sizes(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	Rest	   *rest;
	struct varlena *name;
	uint32		members;

	if (SRF_IS_FIRSTCALL())
		(void) begin(fcinfo);

	call = SRF_PERCALL_SETUP();
	rest = call->user_fctx;
	if (mcdp_graph_next_component(rest->graph, &name, &members))
	{
		Datum		values[2] = {PointerGetDatum(name), Int64GetDatum(members)};
		bool		nulls[2] = {false, false};

		SRF_RETURN_NEXT(call, HeapTupleGetDatum(heap_form_tuple(rest->desc, values, nulls)));
	}
	SRF_RETURN_DONE(call);
}
