/*-------------------------------------------------------------------------
 *
 * event_name_agg.c
 *	  Funnels, retention and patterns as aggregates over rows with names of
 *	  events: the questions that are asked of a timeline, with (at, event) in
 *	  its place.
 *
 * A name is compared with those of the question once a row; what comes out is
 * a row with conditions (event_state.h).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_name_agg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "core/length.h"
#include "types/event_rows.h"
#include "types/retention.h"
#include "types/state.h"
#include "types/timeline_match.h"

/* The bits of the event of argument 2. */
static inline uint64
bits_of_event(FunctionCallInfo fcinfo, const EventSite *site)
{
	text	   *event = (text *) DatumGetPointer(PG_GETARG_DATUM(2));

	if (VARATT_IS_COMPRESSED(event) || VARATT_IS_EXTERNAL(event))
		event = PG_GETARG_TEXT_PP(2);
	return event_steps_of(&site->steps, VARDATA_ANY(event), VARSIZE_ANY_EXHDR(event)) | site->any;
}

/* Adds the row (at, event) of arguments 1 and 2. */
static inline Datum
add_event(FunctionCallInfo fcinfo, EventSite *site)
{
	return event_row_add(fcinfo, site, true, PG_GETARG_TIMESTAMPTZ(1), bits_of_event(fcinfo, site));
}

/* (state, at, event, steps, within [, mode]) */
PG_FUNCTION_INFO_V1(mcdp_window_funnel_event_add);
Datum
mcdp_window_funnel_event_add(PG_FUNCTION_ARGS)
{
	EventSite  *site = event_site(fcinfo, EVENT_STATE_FUNNEL, 3, PG_NARGS() - 1);

	if (!site->ready)
	{
		mcdp_event_not_null(fcinfo, 3, "steps");
		mcdp_event_not_null(fcinfo, 4, "window");
		if (PG_NARGS() > 5)
			mcdp_event_not_null(fcinfo, 5, "mode");
	}
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return mcdp_keep_state(fcinfo);
	if (!site->ready)
	{
		mcdp_event_steps_read(&site->steps, fcinfo->flinfo->fn_mcxt, PG_GETARG_ARRAYTYPE_P(3));
		if (site->steps.n < 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("there must be at least one step")));
		site->like.nconditions = site->steps.n;
		mcdp_event_read_funnel(fcinfo, site, 4, 5);
		event_site_read(site);
	}
	PG_RETURN_DATUM(add_event(fcinfo, site));
}

/* The pattern of argument 3: its tests become steps, each with a bit. */
static void
read_pattern(FunctionCallInfo fcinfo, EventSite *site)
{
	text	   *source = PG_GETARG_TEXT_PP(3);
	const char *s = VARDATA_ANY(source);
	int			len = VARSIZE_ANY_EXHDR(source);
	MatchPattern *p;
	MatchError	err;
	MemoryContext old;

	if (mcdp_is_last_text(&site->text, s, len))
		return;
	site->text.len = -1;
	if (site->cx == NULL)
		site->cx = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "pattern", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(site->cx);
	old = MemoryContextSwitchTo(site->cx);
	p = palloc(sizeof(MatchPattern));
	if (!mcdp_pattern_parse(s, len, p, &err))
		mcdp_pattern_error(source, &err);
	MemoryContextSwitchTo(old);
	site->any = 0;
	for (int i = 0; i < p->ntests; i++)
	{
		const MatchTest *test = &p->tests[i];

		if (test->label != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("this pattern is not supported here"),
					 errdetail("Rows have no labels."),
					 errhint("Use timeline_agg(at, event, label).")));
		site->steps.names[i] = test->event;
		site->steps.lengths[i] = test->event == NULL ? -1 : test->event_len;
		if (test->event == NULL)
			site->any |= UINT64CONST(1) << i;
	}
	site->like.nconditions = site->steps.n = p->ntests;
	mcdp_set_last_text(fcinfo, &site->text, s, len);
	site->like.pattern = site->text.bytes;
	site->like.pattern_len = len;
}

/* (state, at, event, pattern) */
PG_FUNCTION_INFO_V1(mcdp_sequence_event_add);
Datum
mcdp_sequence_event_add(PG_FUNCTION_ARGS)
{
	EventSite  *site = event_site(fcinfo, EVENT_STATE_SEQUENCE, 3, 3);

	if (!site->ready)
		mcdp_event_not_null(fcinfo, 3, "pattern");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return mcdp_keep_state(fcinfo);
	if (!site->ready)
	{
		read_pattern(fcinfo, site);
		event_site_read(site);
	}
	PG_RETURN_DATUM(add_event(fcinfo, site));
}

/* One of the two names that retention is asked with. */
static void
read_name(FunctionCallInfo fcinfo, EventSite *site, int k, int arg)
{
	text	   *name = PG_GETARG_TEXT_PP(arg);
	int			len = VARSIZE_ANY_EXHDR(name);

	if (k == 1)
		site->any = len == 1 && *VARDATA_ANY(name) == '*' ? 2 : 0;
	if (site->steps.names[k] != NULL && site->steps.lengths[k] == len &&
		memcmp(site->steps.names[k], VARDATA_ANY(name), len) == 0)
		return;
	if (site->steps.names[k] != NULL)
		pfree((char *) site->steps.names[k]);
	site->steps.names[k] = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, len + 1);
	memcpy((char *) site->steps.names[k], VARDATA_ANY(name), len);
	site->steps.lengths[k] = len;
}

/* Adds the row (at, event) of arguments 1 and 2, if it may count. */
static inline Datum
add_return(FunctionCallInfo fcinfo, EventSite *site)
{
	ExpandedEventState *state = event_state_get(fcinfo, site);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);

	if (TIMESTAMP_NOT_FINITE(at))
		mcdp_event_infinite();
	if (at < state->end)
	{
		uint64		mask;

		if (at > state->first && site->any != 0)
			mask = site->any;	/* whatever its name is */
		else
		{
			mask = bits_of_event(fcinfo, site);
			if (at > state->first)
				mask &= ~UINT64CONST(1);
			else if (mask & 1)
				mcdp_event_state_begin(state, at);
		}
		event_state_add(state, at, mask);
	}
	return EOHPGetRWDatum(&state->hdr);
}

/* (state, at, event, cohort, returned, buckets, bucket [, align]) */
PG_FUNCTION_INFO_V1(mcdp_retention_event_add);
Datum
mcdp_retention_event_add(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"cohort", "returned", "number of buckets", "bucket", "alignment"};
	EventSite  *site = event_site(fcinfo, EVENT_STATE_RETURNS, 3, PG_NARGS() - 1);

	if (!site->ready)
	{
		for (int arg = 3; arg < PG_NARGS(); arg++)
			mcdp_event_not_null(fcinfo, arg, names[arg - 3]);
	}
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return mcdp_keep_state(fcinfo);
	if (!site->ready)
	{
		read_name(fcinfo, site, 0, 3);
		read_name(fcinfo, site, 1, 4);
		site->like.nconditions = 2;
		site->steps.n = site->any != 0 ? 1 : 2;
		site->like.buckets = PG_GETARG_INT32(5);
		site->like.detail = mcdp_length_arg(PG_GETARG_INTERVAL_P(6), "bucket");
		mcdp_check_buckets(PG_GETARG_INT32(5), site->like.detail);
		site->like.mode = PG_NARGS() > 7 && mcdp_align_day(PG_GETARG_TEXT_PP(7)) ? EVENT_STATE_ALIGN_DAY : 0;
		event_site_read(site);
	}
	PG_RETURN_DATUM(add_return(fcinfo, site));
}
