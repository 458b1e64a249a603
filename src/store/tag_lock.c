/*-------------------------------------------------------------------------
 *
 * tag_lock.c
 *	  Keeps changes of single tags and merges of profiles apart.
 *
 * A change of a tag belongs to the canonical profile.  A merge moves the tags
 * it sees; a change it does not see yet, because its transaction is still
 * under way, would stay behind.  Locking the row of the profile prevents that
 * but writes to it: a page of WAL for the first lock after a checkpoint, more
 * than everything else that a change of a tag writes.  So these are locks in
 * memory: of a profile, shared by those who change its tags, exclusive for a
 * merge; and one of "all", shared by the former.
 *
 * The table of locks is small.  A transaction that has changed the tags of
 * MANY_PROFILES locks the further profiles' rows instead; one that has merged
 * MANY_PROFILES takes "all", in a mode that keeps away those who change tags
 * but not others who merge: these have locked the rows of their profiles.  Both only cost time.
 *
 * A third kind is of a tag of a profile, and held only while a row is inserted
 * into tag_pending (tag_pending.c).
 *
 * A fourth kind is of a tag: who changes it for a set of profiles takes their rows
 * by profile, but a journey's clock takes tags as its runs come to them.  So these
 * two keep apart, each kind among itself does not.  It comes before all other locks of tags.
 *
 * In the order of locks these stand before tag_pending.  They carry a number
 * of ours where the functions pg_advisory_lock have 1 and 2, so that nobody
 * else takes them.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_lock.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"

#include "store/tag_point.h"

#define TAG_LOCK			0x6364	/* in place of 1 and 2 */
#define CHANGE_LOCK			0x6365
#define SET_LOCK			0x6367	/* link_lock.c has 0x6366 */
#define MANY_PROFILES		250
#define ALL_PROFILES		0

PG_FUNCTION_INFO_V1(mcdp__lock_tags);
PG_FUNCTION_INFO_V1(mcdp__lock_tag_sets);
PG_FUNCTION_INFO_V1(mcdp__unshare);

/* How many this transaction has taken so far (more, after a ROLLBACK TO). */
static int	num_changed = 0;
static int	num_merged = 0;
static bool registered = false;

static void
forget(XactEvent event, void *arg)
{
	num_changed = num_merged = 0;
}

static void
lock_profile(int64 id, LOCKMODE mode)
{
	LOCKTAG		tag;

	if (!registered)
	{
		RegisterXactCallback(forget, NULL);
		registered = true;
	}
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (id >> 32), (uint32) id, TAG_LOCK);
	(void) LockAcquire(&tag, mode, false, false);
}

bool
mcdp_tag_locks_are_many(void)
{
	return num_changed >= MANY_PROFILES;
}

bool
mcdp_tag_lock_profile(int64 id)
{
	if (mcdp_tag_locks_are_many())
		return false;
	num_changed++;
	lock_profile(ALL_PROFILES, ShareLock);
	lock_profile(id, ShareLock);
	return true;
}

/* It was not the right one after all. */
void
mcdp_tag_unlock_profile(int64 id)
{
	LOCKTAG		tag;

	num_changed--;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (id >> 32), (uint32) id, TAG_LOCK);
	(void) LockRelease(&tag, ShareLock, false);
}

static void
set_change_lock(LOCKTAG *lock, Datum tag, int64 id)
{
	text	   *name = DatumGetTextPP(tag);
	uint64		hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), (uint64) id);

	SET_LOCKTAG_ADVISORY(*lock, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, CHANGE_LOCK);
}

void
mcdp_tag_lock_change(Datum tag, int64 id)
{
	LOCKTAG		lock;

	set_change_lock(&lock, tag, id);
	(void) LockAcquire(&lock, ExclusiveLock, false, false);
}

void
mcdp_tag_unlock_change(Datum tag, int64 id)
{
	LOCKTAG		lock;

	set_change_lock(&lock, tag, id);
	(void) LockRelease(&lock, ExclusiveLock, false);
}

/* So many merges are to come: what is too much for the table is locked before any profile is. */
void
mcdp_tag_lock_merges(int num)
{
	if (num > (MANY_PROFILES - num_merged) / 2)
	{
		num_merged = MANY_PROFILES;
		lock_profile(ALL_PROFILES, RowExclusiveLock);
	}
}

/*
 * _lock_tags(profiles bigint[]): nobody changes a single tag of these profiles
 * until the end of this transaction; whoever is at it is waited for.  What he
 * did is seen by the next statement.
 */
Datum
mcdp__lock_tags(PG_FUNCTION_ARGS)
{
	Datum	   *ids;
	bool	   *nulls;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &ids, &nulls, &n);
	if (num_merged + n > MANY_PROFILES)
	{
		lock_profile(ALL_PROFILES, RowExclusiveLock);
		PG_RETURN_VOID();
	}
	for (int64 last = -1;;)
	{
		int64		least = PG_INT64_MAX;

		/* ascending, and there are few */
		for (int i = 0; i < n; i++)
			if (!nulls[i] && DatumGetInt64(ids[i]) > last)
				least = Min(least, DatumGetInt64(ids[i]));
		if (least == PG_INT64_MAX)
			break;
		lock_profile(least, ExclusiveLock);
		num_merged++;
		last = least;
	}
	PG_RETURN_VOID();
}

/*
 * _lock_tag_sets(tags text[], sets boolean): these tags, ascending, are changed
 * for sets of profiles, or (not sets) for many profiles as they come, until the end of the
 * transaction.
 */
Datum
mcdp__lock_tag_sets(PG_FUNCTION_ARGS)
{
	Datum	   *tags;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &tags, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		text	   *name = DatumGetTextPP(tags[i]);
		uint64		hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), 0);
		LOCKTAG		lock;

		CHECK_FOR_INTERRUPTS();
		SET_LOCKTAG_ADVISORY(lock, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, SET_LOCK);
		(void) LockAcquire(&lock, PG_GETARG_BOOL(1) ? RowExclusiveLock : ShareLock, false, false);
	}
	PG_RETURN_VOID();
}

/*
 * _unshare(key bigint): takes back one pg_advisory_xact_lock_shared(key), for a
 * caller who has done nothing under it yet and is going to wait.
 */
Datum
mcdp__unshare(PG_FUNCTION_ARGS)
{
	int64		key = PG_GETARG_INT64(0);
	LOCKTAG		lock;

	SET_LOCKTAG_ADVISORY(lock, MyDatabaseId, (uint32) (key >> 32), (uint32) key, 1);
	/* Do we have it?  It would warn otherwise. */
	switch (LockAcquire(&lock, ShareLock, false, true))
	{
		case LOCKACQUIRE_NOT_AVAIL:
			break;
		case LOCKACQUIRE_OK:
			(void) LockRelease(&lock, ShareLock, false);
			break;
		default:
			(void) LockRelease(&lock, ShareLock, false);
			(void) LockRelease(&lock, ShareLock, false);
	}
	PG_RETURN_VOID();
}
