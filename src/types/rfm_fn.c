/*-------------------------------------------------------------------------
 *
 * rfm_fn.c
 *	  SQL functions about recency, frequency and money.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/rfm_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "core/length.h"
#include "types/rfm.h"
#include "types/timeline_datum.h"

PG_FUNCTION_INFO_V1(mcdp_rfm_values);

/* The codes of these labels, marked. */
static bool *
mark_labels(const TimelineView *v, ArrayType *names)
{
	bool	   *marks = palloc0((Size) v->label_dict.count + 1);
	Datum	   *items;
	bool	   *nulls;
	int			nitems;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nitems);
	for (int i = 0; i < nitems; i++)
	{
		text	   *name = nulls[i] ? NULL : DatumGetTextPP(items[i]);
		int			code = name == NULL ? -1 :
			mcdp_timeline_find_label(v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

		if (code >= 0)
			marks[code] = true;
	}
	return marks;
}

/*
 * rfm_values(t, at, event, within, labels)
 *
 * Not strict: within NULL = everything, labels NULL = any.
 */
Datum
mcdp_rfm_values(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	TimelineView v;
	TimestampTz at,
				since = DT_NOBEGIN;
	text	   *name;
	RfmValues	of;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	at = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be finite")));
	if (!PG_ARGISNULL(3) &&
		pg_sub_s64_overflow(at, mcdp_length_arg(PG_GETARG_INTERVAL_P(3), "within"), &since))
		since = DT_NOBEGIN;

	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
	name = PG_GETARG_TEXT_PP(2);
	mcdp_rfm_values_between(&v, mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)),
					PG_ARGISNULL(4) ? NULL : mark_labels(&v, PG_GETARG_ARRAYTYPE_P(4)),
					since, at, &of);

	if (of.frequency > 0)
	{
		nulls[0] = nulls[1] = false;
		values[0] = TimestampTzGetDatum(of.last);
		values[1] = Float8GetDatum((double) (at - of.last) / USECS_PER_DAY);
	}
	values[2] = Int64GetDatum(of.frequency);
	values[3] = Float8GetDatum(of.monetary);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
