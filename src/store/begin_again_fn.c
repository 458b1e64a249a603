/*-------------------------------------------------------------------------
 *
 * begin_again_fn.c
 *	  Calls that begin again when they have met others in a circle.
 *
 * They hold and wait, in the order of the locks (21_identity_lock.sql); but a
 * transaction of several calls keeps no order, and the server may blame
 * whoever meets it.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/begin_again_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "store/attempt.h"
#include "store/stitch.h"

PG_FUNCTION_INFO_V1(mcdp_begin_again);

typedef struct Call
{
	FunctionCallInfo fcinfo;
	Datum		result;
} Call;

/* of x or _x: _x_once, with the same arguments */
static FmgrInfo *
find_once(FmgrInfo *flinfo)
{
	FmgrInfo   *once = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(FmgrInfo));
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(flinfo->fn_oid));
	Form_pg_proc proc;
	char	   *name;
	List	   *names;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", flinfo->fn_oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	name = NameStr(proc->proname);
	names = list_make2(makeString(get_namespace_name(proc->pronamespace)), makeString(psprintf("%s%s_once", name[0] == '_' ? "" : "_", name)));
	fmgr_info_cxt(LookupFuncName(names, proc->pronargs, proc->proargtypes.values, false), once, flinfo->fn_mcxt);
	ReleaseSysCache(tuple);
	return once;
}

static void
invoke(void *arg)
{
	Call	   *call = arg;

	call->fcinfo->isnull = false;
	call->result = FunctionCallInvoke(call->fcinfo);
}

static void
open_circle(int attempt)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[1] = {INT4OID};
	Datum		values[1] = {Int32GetDatum(attempt)};

	mcdp_run("SELECT cdp._open_circle($1)", &plan, 1, types, values, NULL);
}

/* x(…): _x_once(…), which returns one value, or a set that is there as a whole when it is done */
Datum
mcdp_begin_again(PG_FUNCTION_ARGS)
{
	FmgrInfo   *self = fcinfo->flinfo;
	Call		call = {fcinfo};

	if (self->fn_extra == NULL)
		self->fn_extra = find_once(self);
	for (int attempt = 1;; attempt++)
	{
		ErrorData  *error;

		fcinfo->flinfo = self->fn_extra;
		error = mcdp_attempt(invoke, &call);
		fcinfo->flinfo = self;
		if (error == NULL)
			return call.result;
		if (error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
			ReThrowError(error);
		FreeErrorData(error);
		open_circle(attempt);
	}
}
