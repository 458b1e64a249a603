/*-------------------------------------------------------------------------
 *
 * profile_insert.c
 *	  New profiles: their ids, rows, and what has to know of them.
 *
 * This does what _new_profile (21_identity.sql) does without a query, for many
 * at once.  One bitmap stands for their rows in profile_queue.  They are in the
 * universe by a waiting row each; where a batch fills a whole chunk, nobody
 * else can be in it, and it is written at once.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/profile_insert.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "core/chunk.h"
#include "core/text_order.h"
#include "store/relid.h"
#include "store/stitch.h"
#include "store/tag_point.h"
#include "types/bitmap.h"

/* From so many on a call makes a row of profile_batch in place of many of profile_queue. */
#define MANY_PROFILES 8

/*
 * Sessions that do this at the same time go one after the other: so each gets
 * neighbours, the rows and entries of which stand together.  The lock is let go
 * at once and stands in nobody else's way, calls of nextval included: it is
 * outside of the order of locks.
 */
void
mcdp_take_profile_ids(Oid schema, NewProfile *profile, int num)
{
	Oid			sequence = mcdp_relid("profile_id_seq", schema);

	if (num > 1)
		LockRelationOid(sequence, ShareUpdateExclusiveLock);
	for (int i = 0; i < num; i++)
		profile[i].id = nextval_internal(sequence, i == 0);
	if (num > 1)
		UnlockRelationOid(sequence, ShareUpdateExclusiveLock);
}

static void
set_profile(Target *t, const NewProfile *p)
{
	mcdp_target_set(t, PROFILE_PROFILE_ID, Int64GetDatum(p->id));
	mcdp_target_set_text(t, PROFILE_KIND, p->kind);
	mcdp_target_set(t, PROFILE_CANONICAL_ID, Int64GetDatum(p->id));
	mcdp_target_set(t, PROFILE_FIRST_AT, TimestampTzGetDatum(p->at));
	mcdp_target_set(t, PROFILE_SUPPRESSED, BoolGetDatum(false));
}

static Datum
tag_of_kind(text *kind)
{
	return CStringGetTextDatum(psprintf("\001kind:%s", text_to_cstring(kind)));
}

static void
set_pending(Target *t, const NewProfile *p)
{
	mcdp_target_set(t, PENDING_TAG, tag_of_kind(p->kind));
	mcdp_target_set(t, PENDING_PROFILE_ID, Int64GetDatum(p->id));
	mcdp_target_set(t, PENDING_PRESENT, BoolGetDatum(true));
	mcdp_target_set(t, PENDING_SINCE, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
}

static void
set_queue(Target *t, const NewProfile *p)
{
	mcdp_target_set(t, QUEUE_PROFILE_ID, Int64GetDatum(p->id));
	mcdp_target_set(t, QUEUE_AT, TimestampTzGetDatum(p->at));
	mcdp_target_set(t, QUEUE_CAUSE, CStringGetTextDatum("first"));
}

/* One row for all of them. */
static void
insert_batch(Target *t, const NewProfile *profile, int num)
{
	Rbuf	   *members = mcdp_rbuf_create(CurrentMemoryContext);
	TimestampTz at = profile[0].at;

	for (int i = 0; i < num; i++)
	{
		mcdp_rbuf_add(members, profile[i].id);
		at = Min(at, profile[i].at);
	}
	mcdp_target_clear(t);
	mcdp_target_set(t, BATCH_AT, TimestampTzGetDatum(at));
	mcdp_target_set(t, BATCH_MEMBERS, mcdp_rbuf_to_bitmap(members));
	mcdp_target_insert_new(t);
	mcdp_rbuf_free(members);
}

/* Of so many profiles, how many make up a whole chunk of one kind: all of its ids, or none. */
static int
whole_chunk(const NewProfile *profile, int num)
{
	if (num < CHUNK_IDS || profile[0].id % CHUNK_IDS != 0 || profile[CHUNK_IDS - 1].id != profile[0].id + CHUNK_IDS - 1)
		return 0;
	for (int i = 1; i < CHUNK_IDS; i++)
		if (profile[i].kind != profile[0].kind && mcdp_compare_texts(profile[i].kind, profile[0].kind) != 0)
			return 0;
	return CHUNK_IDS;
}

/*
 * What _new_profile does, or false if it has to be asked: profiles ascending
 * by id, that they are in the universe, and their rows in profile_queue, or
 * one for all of them in profile_batch.
 */
static bool
insert_profiles(Lookup *lk, const NewProfile *profile, int num)
{
	bool		batch = num >= MANY_PROFILES;
	bool		chunks = num >= CHUNK_IDS && mcdp_tag_may_write_chunks();
	Target		t[3] = {{NULL}, {NULL}, {NULL}};
	void		(*set[3]) (Target *, const NewProfile *) = {set_profile, set_pending, batch ? NULL : set_queue};
	bool		ok;

	ok = mcdp_target_open(&t[0], lk->profile.rel, PROFILE_COLUMNS) &&
		mcdp_target_open_id(&t[1], mcdp_relid("tag_pending", lk->schema), PENDING_COLUMNS, t[0].estate) &&
		mcdp_target_open_id(&t[2], mcdp_relid(batch ? "profile_batch" : "profile_queue", lk->schema), batch ? BATCH_COLUMNS : QUEUE_COLUMNS,
							t[0].estate);
	for (int table = 0; table < 3 && ok; table++)
	{
		for (int i = 0; i < num && set[table]; i++)
		{
			int			n = chunks && set[table] == set_pending ? whole_chunk(&profile[i], num - i) : 0;

			CHECK_FOR_INTERRUPTS();
			if (n > 0)
			{
				i += n - 1;
				continue;
			}
			mcdp_target_clear(&t[table]);
			set[table] (&t[table], &profile[i]);
			if (num > 1)
				(void) mcdp_target_gather(&t[table], false);
			else
				mcdp_target_insert_new(&t[table]);
		}
		(void) mcdp_target_flush(&t[table], false);
	}
	if (ok && batch)
		insert_batch(&t[2], profile, num);
	for (int i = 0; i < num && ok && chunks; i++)
	{
		int			n = whole_chunk(&profile[i], num - i);

		if (n > 0)
		{
			mcdp_tag_fill_chunk(tag_of_kind(profile[i].kind), profile[i].id / CHUNK_IDS);
			i += n - 1;
		}
	}
	for (int table = 2; table >= 0; table--)
		mcdp_target_close(&t[table]);
	return ok;
}

void
mcdp_make_profiles(Lookup *lk, const NewProfile *profile, int num)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[3] = {INT8OID, TEXTOID, TIMESTAMPTZOID};

	if (num == 0 || insert_profiles(lk, profile, num))
		return;
	for (int i = 0; i < num; i++)
	{
		Datum		values[3] = {Int64GetDatum(profile[i].id), PointerGetDatum(profile[i].kind), TimestampTzGetDatum(profile[i].at)};

		mcdp_run("SELECT cdp._new_profile($1, $2, $3)", &plan, 3, types, values, NULL);
	}
}
