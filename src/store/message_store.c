/*-------------------------------------------------------------------------
 *
 * message_store.c
 *	  What plain messages say of members, other names and traits.
 *
 * It is stored by functions of SQL (20_relation, 24_ingest, 31_trait), which are
 * called once for all messages of a batch, with a column of values for each
 * argument.
 *
 * The stages are never inlined: bench/identity.sh tells them apart in a profile.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/message_store.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "core/id_order.h"
#include "store/message_store.h"

#define MAX_COLUMNS 6

/* arguments of a call about many messages */
typedef struct Columns
{
	int			num;			/* of columns */
	int			rows;
	const Oid  *type;
	bool		by_value[MAX_COLUMNS];
	Datum	   *value[MAX_COLUMNS];
	bool	   *isnull[MAX_COLUMNS];
} Columns;

static void
begin_columns(Columns *c, const Oid *type, int num, int max_rows)
{
	c->num = num;
	c->rows = 0;
	c->type = type;
	for (int i = 0; i < num; i++)
	{
		c->by_value[i] = get_typbyval(type[i]);
		c->value[i] = palloc(Max(max_rows, 1) * sizeof(Datum));
		c->isnull[i] = palloc(Max(max_rows, 1) * sizeof(bool));
	}
}

static void
end_columns(Columns *c)
{
	for (int i = 0; i < c->num; i++)
	{
		pfree(c->value[i]);
		pfree(c->isnull[i]);
	}
}

/* A null pointer is NULL. */
static void
add_row(Columns *c, const Datum *row)
{
	for (int i = 0; i < c->num; i++)
	{
		c->value[i][c->rows] = row[i];
		c->isnull[i][c->rows] = !c->by_value[i] && row[i] == 0;
	}
	c->rows++;
}

/* The answer, or 0 when there is nothing to ask. */
static Datum
call(Columns *c, const char *sql, SPIPlanPtr *plan)
{
	Oid			types[MAX_COLUMNS];
	Datum		values[MAX_COLUMNS];

	if (c->rows == 0)
		return 0;
	for (int i = 0; i < c->num; i++)
	{
		int			lower = 1;
		int16		len;
		bool		by_value;
		char		align;

		get_typlenbyvalalign(c->type[i], &len, &by_value, &align);
		types[i] = get_array_type(c->type[i]);
		values[i] = PointerGetDatum(construct_md_array(c->value[i], c->isnull[i], 1, &c->rows, &lower, c->type[i], len, by_value, align));
	}
	return mcdp_run(sql, plan, c->num, types, values, NULL);
}

bool
mcdp_message_is_stitched(const Message *m, const ManyCall *calls)
{
	int			num = 0;

	while (num < m->num_calls && calls[m->call + num].done)
		num++;
	return m->kind >= MESSAGE_EVENT && num == m->num_calls;
}

bool
mcdp_message_is_later(const Message *m, const ManyCall *calls)
{
	bool		later = false;

	for (int i = 0; i < m->num_calls; i++)
		later |= calls[m->call + i].later;
	return m->kind >= MESSAGE_EVENT && later;
}

/* The last call of a group is about its account. */
static ManyCall *
account_call(const Message *m, ManyCall *calls)
{
	return &calls[m->call + m->num_calls - 1];
}

/* The call about whom its traits are of, or NULL. */
static ManyCall *
call_with_traits(const Message *m, ManyCall *calls)
{
	if ((m->kind != MESSAGE_IDENTIFY && m->kind != MESSAGE_GROUP) || m->traits == NULL || JB_ROOT_COUNT(m->traits) == 0)
		return NULL;
	return &calls[m->call + m->num_calls - 1];
}

/* Which of the groups tell news of who is a member?  Nearly all of them were known before. */
static pg_noinline void
find_joins(Message *message, ManyCall *calls, int num)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, INT8OID, TIMESTAMPTZOID};
	Columns		c;
	int		   *of = palloc(Max(num, 1) * sizeof(int));
	Datum		news;

	begin_columns(&c, types, lengthof(types), num);
	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];
		Datum		row[lengthof(types)];

		if (m->kind != MESSAGE_GROUP || m->num_ids == 0 || !mcdp_message_is_stitched(m, calls))
			continue;
		row[0] = Int64GetDatum(calls[m->call].leaf);
		row[1] = Int64GetDatum(account_call(m, calls)->leaf);
		row[2] = TimestampTzGetDatum(m->at);
		of[c.rows] = i;
		add_row(&c, row);
	}
	news = call(&c, "SELECT cdp._new_members($1, $2, $3)", &plan);
	if (news)
	{
		ArrayType  *array = DatumGetArrayTypeP(news);
		int32	   *nr = (int32 *) ARR_DATA_PTR(array);

		for (int i = 0; i < ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)); i++)
			message[of[nr[i] - 1]].joins = true;
	}
	end_columns(&c);
	pfree(of);
}

/* The calls about those whose profiles have to be locked for it: at most two. */
static int
calls_to_lock(const Message *m, ManyCall *calls, bool many, ManyCall **of)
{
	ManyCall   *traits = call_with_traits(m, calls);
	int			n = 0;

	if (!mcdp_message_is_stitched(m, calls))
		return 0;
	if (traits && many)
		of[n++] = traits;
	if (m->joins)
		of[n++] = &calls[m->call];
	return n;
}

/* Ascending: of these calls those about the profiles are not done. */
static void
give_up(Message *message, ManyCall *calls, int num, bool many, const int64 *missed, int num_missed)
{
	for (int i = 0; i < num && num_missed > 0; i++)
	{
		ManyCall   *of[2];
		int			n = calls_to_lock(&message[i], calls, many, of);

		while (n-- > 0)
		{
			if (bsearch(&of[n]->leaf, missed, num_missed, sizeof(int64), mcdp_compare_ids) == NULL)
				continue;
			of[n]->done = false;
			of[n]->later = many;
		}
	}
}

/*
 * Of two who make somebody a member of the same account one has to see what the
 * other did: they lock the profile.  Who takes many messages locks those that get
 * traits, too: else those who merge them, or do a step of their journeys, would
 * wait for a row of a trait while we wait for another profile of theirs.
 *
 * Two batches of thousands nearly always have some in common: their messages may
 * be put off, if they are few, so that nobody waits.  (What they say of who is who
 * is done then, and known when they come again.)  If they are many it waits with
 * the others in its hands; a circle that comes of it is opened by _try_plain.  A
 * single message waits for nobody here and is left to _take_messages.
 */
void
mcdp_messages_lock(Message *message, ManyCall *calls, int num, bool many, bool may_be_later)
{
	static SPIPlanPtr try_plan = NULL;
	static SPIPlanPtr lock_plan = NULL;
	static const Oid types[] = {INT8OID};
	Columns		c;

	find_joins(message, calls, num);
	begin_columns(&c, types, lengthof(types), 2 * num);
	for (int i = 0; i < num; i++)
	{
		ManyCall   *of[2];
		int			n = calls_to_lock(&message[i], calls, many, of);

		while (n-- > 0)
			add_row(&c, (Datum[]) {Int64GetDatum(of[n]->leaf)});
	}
	if (c.rows > 0 && (may_be_later || !many))
	{
		ArrayType  *missed = DatumGetArrayTypeP(call(&c, "SELECT cdp._try_owners($1)", &try_plan));
		int			num_missed = ArrayGetNItems(ARR_NDIM(missed), ARR_DIMS(missed));

		if (!many || num_missed <= c.rows / 2)
		{
			give_up(message, calls, num, many, (int64 *) ARR_DATA_PTR(missed), num_missed);
			c.rows = 0;
		}
	}
	(void) call(&c, "SELECT cdp._lock_owners($1, true)", &lock_plan);
	end_columns(&c);
}

/* What an alias has told stands there like what other messages have. */
static pg_noinline void
label_aliases(Message *message, ManyCall *calls, int num)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID};
	Columns		c;

	begin_columns(&c, types, lengthof(types), num);
	for (int i = 0; i < num; i++)
	{
		const ManyCall *who = &calls[message[i].call];

		if (message[i].kind == MESSAGE_ALIAS)
			add_row(&c, (Datum[]) {who->named, who->via, Int64GetDatum(who->leaf), TimestampTzGetDatum(message[i].at)});
	}
	(void) call(&c, "SELECT cdp._label_alias(a.previous::cdp.identifier, a.via::cdp.identifier, a.leaf, a.at) FROM unnest($1, $2, $3, $4) a (previous, via, leaf, at)",
				&plan);
	end_columns(&c);
}

static pg_noinline void
take_members(Message *message, ManyCall *calls, int num)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID};
	Columns		c;

	begin_columns(&c, types, lengthof(types), num);
	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];

		if (m->kind == MESSAGE_GROUP && m->joins)
			add_row(&c, (Datum[]) {Int64GetDatum(calls[m->call].leaf), Int64GetDatum(account_call(m, calls)->leaf),
								   TimestampTzGetDatum(m->at), PointerGetDatum(m->source)});
	}
	(void) call(&c, "SELECT cdp._add_members($1, $2, $3, $4)", &plan);
	end_columns(&c);
}

static pg_noinline void
take_traits(Jsonb **payload, Message *message, ManyCall *calls, TimestampTz *received, int num, bool backfill)
{
	static SPIPlanPtr plan = NULL;
	static SPIPlanPtr backfill_plan = NULL;
	static const Oid types[] = {INT8OID, JSONBOID, TIMESTAMPTZOID, TEXTOID, JSONBOID, TIMESTAMPTZOID};
	Columns		c;

	begin_columns(&c, types, lengthof(types), num);
	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];
		ManyCall   *who = call_with_traits(m, calls);

		if (who)
			add_row(&c, (Datum[]) {Int64GetDatum(who->leaf), PointerGetDatum(m->traits), TimestampTzGetDatum(m->at),
								   PointerGetDatum(m->source), PointerGetDatum(payload[i]), TimestampTzGetDatum(received[i])});
	}
	if (backfill)
		(void) call(&c, "SELECT cdp._take_traits($1, $2, $3, $4, $5, $6, true)", &backfill_plan);
	else
		(void) call(&c, "SELECT cdp._take_traits($1, $2, $3, $4, $5, $6, false)", &plan);
	end_columns(&c);
}

void
mcdp_messages_store(Jsonb **payload, Message *message, ManyCall *calls, TimestampTz *received, int num, bool backfill)
{
	label_aliases(message, calls, num);
	take_members(message, calls, num);
	take_traits(payload, message, calls, received, num, backfill);
}
