/*-------------------------------------------------------------------------
 *
 * expected_gap_fn.c
 *	  SQL functions about expected gaps.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/expected_gap_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "core/length.h"
#include "types/expected_gap.h"
#include "types/timeline_datum.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(mcdp_expected_gap);

/*
 * expected_gap(timeline, event, prior, prior_weight)
 * expected_gap(timeline, event, label, prior, prior_weight)
 *
 * Not strict: a NULL prior is no prior.
 */
Datum
mcdp_expected_gap(PG_FUNCTION_ARGS)
{
	int			first = PG_NARGS() - 2; /* of the prior's arguments */
	McdpPriorGap prior = {false, 0, 0};
	TimelineView v;
	int			event,
				label = MCDP_ANY_LABEL;
	text	   *name;
	int64		gap;

	for (int i = 0; i < first; i++)
	{
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	}
	if (!PG_ARGISNULL(first) && !PG_ARGISNULL(first + 1))
	{
		prior.exists = true;
		prior.gap = mcdp_length_arg(PG_GETARG_INTERVAL_P(first), "prior");
		prior.weight = PG_GETARG_FLOAT8(first + 1);
		if (!(prior.weight >= 0) || isinf(prior.weight))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("prior_weight must be finite and not negative")));
	}

	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
	name = PG_GETARG_TEXT_PP(1);
	event = mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (first == 3)
	{
		name = PG_GETARG_TEXT_PP(2);
		label = mcdp_timeline_find_label(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		if (label < 0)
			label = MCDP_NO_SUCH_LABEL;
	}
	if (!mcdp_timeline_expected_gap(&v, timeline_num_events(&v), event, label, &prior, &gap, NULL, NULL))
		PG_RETURN_NULL();

	PG_RETURN_INTERVAL_P(mcdp_interval_of_length(gap));
}
