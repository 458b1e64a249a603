/*-------------------------------------------------------------------------
 *
 * stitch_many_late.c
 *	  Identifiers that a call names earlier than they were known.
 *
 * Their links begin at the time of the earliest such call, and the leaves that
 * own them not later.  Evidence in the link would move with it, and goes to a
 * row of its own first (21_identity.sql).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many_late.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "store/stitch_many.h"

void
mcdp_many_begin_earlier(Many *m, ManyName *n, TimestampTz at)
{
	n->at = at;
	if (n->profile >= 0)
		return;					/* is new with its profile */
	if (!n->late)
		m->num_late++;
	n->late = true;
	if (n->linked)
		n->peer = 0;			/* is looked for in extra_edge from here on */
}

/*
 * One of the two functions of 21_identity.sql, with the names that are late.
 * New links of known leaves are inserted with the right time, only their leaf
 * has to be told.
 */
static void
move_back(Many *m, const char *sql, SPIPlanPtr *plan, Oid type)
{
	Oid			types[2] = {get_array_type(type), get_array_type(TIMESTAMPTZOID)};
	Datum	   *who;
	Datum	   *at;
	Datum		values[2];
	int			num = 0;

	if (m->num_late == 0)
		return;
	who = MemoryContextAllocHuge(CurrentMemoryContext, m->num_late * sizeof(Datum));
	at = MemoryContextAllocHuge(CurrentMemoryContext, m->num_late * sizeof(Datum));
	for (int i = 0; i < m->num_names; i++)
	{
		ManyName   *n = &m->name[i];

		if (!n->late || (type == TEXTOID && !n->linked))
			continue;
		who[num] = type == INT8OID ? Int64GetDatum(n->leaf) : n->id;
		at[num++] = TimestampTzGetDatum(n->at);
	}
	values[0] = PointerGetDatum(type == INT8OID ? construct_array(who, num, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)
								: construct_array(who, num, TEXTOID, -1, false, TYPALIGN_INT));
	values[1] = PointerGetDatum(construct_array(at, num, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	mcdp_run(sql, plan, 2, types, values, NULL);
	pfree(who);
	pfree(at);
}

void
mcdp_many_move_links_back(Many *m)
{
	static SPIPlanPtr plan = NULL;
	static SPIPlanPtr waiting_plan = NULL;

	if (m->waits)
		move_back(m, "SELECT cdp._move_links_back($1, $2, true)", &waiting_plan, TEXTOID);
	else
		move_back(m, "SELECT cdp._move_links_back($1, $2, false)", &plan, TEXTOID);
}

void
mcdp_many_move_profiles_back(Many *m)
{
	static SPIPlanPtr plan = NULL;

	move_back(m, "SELECT cdp._move_profiles_back($1, $2)", &plan, INT8OID);
}
