/*-------------------------------------------------------------------------
 *
 * audience_event_fn.c
 *	  SQL function _may_satisfy: a look at an event's properties before it is
 *	  made timeline entries of, which costs more.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_event_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp__may_satisfy);

/* The events of a rule that have conditions; kept with the call site. */
typedef struct OpenConditions
{
	const CriteriaEvent **events;
	int			n;
	bool		any;			/* items have properties of their own: no
								 * answer here */
} OpenConditions;

static void
take_event(const CriteriaEvent *event, const CriteriaNode *node, void *arg)
{
	OpenConditions *open = arg;

	if (event->conditions == NULL)
		return;
	open->events = open->events == NULL ? palloc(sizeof(CriteriaEvent *)) :
		repalloc(open->events, (open->n + 1) * sizeof(CriteriaEvent *));
	open->events[open->n++] = event;
	open->any |= strcmp(event->name, "item") == 0;
}

/* _may_satisfy(rule, at, properties): the rule is a parameter of the query */
Datum
mcdp__may_satisfy(PG_FUNCTION_ARGS)
{
	OpenConditions *open = fcinfo->flinfo->fn_extra;
	Jsonb	   *properties;
	bool		result = false;

	if (open == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		open = palloc0(sizeof(OpenConditions));
		mcdp_criteria_visit_events(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)), take_event, open);
		fcinfo->flinfo->fn_extra = open;
		MemoryContextSwitchTo(old);
	}
	if (open->any)
		PG_RETURN_BOOL(true);
	properties = PG_GETARG_JSONB_P(2);
	for (int i = 0; i < open->n && !result; i++)
		result = JB_ROOT_IS_OBJECT(properties) &&
			mcdp_conditions_hold(open->events[i], properties, PG_GETARG_TIMESTAMPTZ(1));
	PG_FREE_IF_COPY(properties, 2);
	PG_RETURN_BOOL(result);
}
