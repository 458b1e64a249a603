/*-------------------------------------------------------------------------
 *
 * xid_fn.c
 *	  Which transactions may still be under way?
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/xid_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/procarray.h"

PG_FUNCTION_INFO_V1(mcdp__transactions);

/*
 * _transactions(OUT oldest xid8, OUT next xid8): transactions before "oldest"
 * are over, and no statement under way has a snapshot from before it ended;
 * those from "next" on have not begun to write.
 */
Datum
mcdp__transactions(PG_FUNCTION_ARGS)
{
	TransactionId oldest = GetOldestTransactionIdConsideredRunning();
	FullTransactionId next = ReadNextFullTransactionId();
	Datum		values[2];
	bool		isnull[2] = {false, false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* xid8 is passed as a 64-bit number is */
	values[0] = UInt64GetDatum(U64FromFullTransactionId(next) - (uint32) (XidFromFullTransactionId(next) - oldest));
	values[1] = UInt64GetDatum(U64FromFullTransactionId(next));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}
