/*-------------------------------------------------------------------------
 *
 * audience_property.c
 *	  Decides rules with conditions on properties, by histories and the rows of
 *	  table event that belong to them.
 *
 * For few profiles the rows are fetched by profile, in batches.  For many it is
 * cheaper to look through the events of the time in question once: those that
 * may satisfy some condition come ordered by profile, and only the profiles
 * that they are of need another look at their histories.  Of the others it is
 * known already what the rule says if nothing satisfies the conditions.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_property.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "store/audience.h"
#include "store/audience_probe.h"
#include "types/timeline_datum.h"

#define BATCH			1000	/* profiles whose rows are fetched together */
#define ROWS			5000	/* of the cursor */
#define ONE_BY_ONE		1000	/* so many profiles are always fetched by
								 * profile; … */
#define FETCH_COST		40		/* … one costs as much as looking at so many
								 * events */

typedef struct PropertyRun
{
	PlanRun		run;			/* first: env.arg is this */
	AudienceRun *audience;
	EventConditions *conditions;
	AudienceLookups lookups;
	MemoryContext row_cx;
	Rbuf	   *result;
} PropertyRun;

static const uint8 *
property_conditions(void *arg, const CriteriaEvent *event)
{
	return mcdp_conditions_of(((PropertyRun *) arg)->conditions, event);
}

static bool
property_label_set(void *arg, const char *set, const char *label, int len)
{
	return mcdp_lookups_label_set(&((PropertyRun *) arg)->lookups, set, label, len);
}

static void
property_prior(void *arg, const char *event, const char *label, McdpPriorGap *out)
{
	mcdp_lookups_prior(&((PropertyRun *) arg)->lookups, event, label, out);
}

/* One whose rows are at hand. */
static void
decide(void *arg, int64 id, Datum timeline)
{
	PropertyRun *p = arg;
	MemoryContext old = MemoryContextSwitchTo(p->row_cx);
	TimelineView view;

	mcdp_timeline_open(&view, DatumGetTimelineP(timeline));
	mcdp_conditions_mark(p->conditions, id, &view);
	p->run.env.timeline = &view;
	if (mcdp_plan_decide(&p->run, id) == PLAN_YES)
		mcdp_rbuf_add(p->result, (uint64) id);
	MemoryContextSwitchTo(old);
	MemoryContextReset(p->row_cx);
}

static void
decide_by_profile(PropertyRun *p, const Rbuf *unknown)
{
	AudienceRun *run = p->audience;
	Rbuf	   *batch = mcdp_rbuf_create(run->cx);
	RbufIter	it;
	int64		ids[BATCH];
	uint64		id;
	int			n = 0;

	mcdp_rbuf_iter_init(&it, unknown);
	for (;;)
	{
		bool		more = mcdp_rbuf_iter_next(&it, &id);

		if (more)
		{
			mcdp_rbuf_add(batch, id);
			ids[n++] = (int64) id;
		}
		if (n == BATCH || (!more && n > 0))
		{
			mcdp_conditions_fetch(p->conditions, ids, n);
			mcdp_histories_direct(run->cx, run->bitmap_type, batch, decide, p);
			mcdp_rbuf_clear(batch);
			n = 0;
		}
		if (!more)
			break;
	}
	mcdp_rbuf_free(batch);
}

/* Takes those who have rows out of "unknown". */
static void
decide_by_scan(PropertyRun *p, Rbuf *unknown)
{
	AudienceRun *run = p->audience;
	Portal		portal = mcdp_conditions_open_all(p->conditions);
	Rbuf	   *batch = mcdp_rbuf_create(run->cx);
	long		size = ROWS;
	bool		more = true;

	while (more)
	{
		SPITupleTable *rows;
		uint64		nrows;
		uint64		complete;

		CHECK_FOR_INTERRUPTS();
		SPI_scroll_cursor_fetch(portal, FETCH_FORWARD, size);
		rows = SPI_tuptable;
		nrows = complete = SPI_processed;
		more = nrows == (uint64) size;
		if (more)
		{
			/* The last profile may have further rows: it is for the next fetch. */
			int64		last = mcdp_conditions_profile(rows, nrows - 1);

			while (complete > 0 && mcdp_conditions_profile(rows, complete - 1) == last)
				complete--;
			SPI_scroll_cursor_move(portal, FETCH_BACKWARD, nrows - complete);
			if (complete == 0)
				size *= 2;
		}
		for (uint64 i = 0; i < complete; i++)
		{
			uint64		id = (uint64) mcdp_conditions_profile(rows, i);

			if (mcdp_rbuf_contains(unknown, id))
				mcdp_rbuf_add(batch, id);
		}
		mcdp_conditions_use(p->conditions, rows, complete);
		mcdp_histories_direct(run->cx, run->bitmap_type, batch, decide, p);
		mcdp_rbuf_andnot(unknown, batch);
		mcdp_rbuf_clear(batch);
	}
	SPI_cursor_close(portal);
	mcdp_rbuf_free(batch);
}

void
mcdp_audience_properties(AudienceRun *run, Datum lookups, Rbuf *unknown, Rbuf *else_yes, Rbuf *result)
{
	PropertyRun p = {.audience = run,.result = result};
	double		n = (double) mcdp_rbuf_cardinality(unknown);

	mcdp_plan_run_init(&p.run, run->plan, run->sets, run->at);
	p.run.env.conditions = property_conditions;
	p.run.env.label_set = property_label_set;
	p.run.env.prior = property_prior;
	p.run.env.arg = &p;
	p.conditions = mcdp_conditions_make(run->cx, run->rule, run->at);
	mcdp_lookups_init(&p.lookups, lookups);
	p.row_cx = AllocSetContextCreate(run->cx, "audience properties", ALLOCSET_DEFAULT_SIZES);
	if (n > ONE_BY_ONE && n * FETCH_COST > mcdp_conditions_events(p.conditions))
	{
		decide_by_scan(&p, unknown);
		mcdp_rbuf_and(unknown, else_yes);
		mcdp_rbuf_or(result, unknown);
	}
	else
		decide_by_profile(&p, unknown);
	MemoryContextDelete(p.row_cx);
}
