/*-------------------------------------------------------------------------
 *
 * link_lock.c
 *	  Keeps apart who gives a leaf new identifiers and who takes some away.
 *
 * A call that only adds identifiers to one leaf does not care whether its
 * profile is merged or parted meanwhile: leaves stay what they are.  But a
 * split might take away the identifier that it was named together with, and
 * erase the whole leaf.  Locking the row of the profile prevents that but
 * writes to it: a page of WAL for the first lock after a checkpoint.  So these
 * are locks in memory, as in tag_lock.c: of a leaf, shared by those who add
 * identifiers, exclusive for split, erase and apply_rules.
 *
 * Who adds does not wait: when he cannot have the lock, or has MANY_LEAVES, he
 * locks the row of the profile, as everybody does who changes more than that.
 * Who takes away begins with this lock and takes all others after it, those of
 * identifiers too.  So nobody waits here who is waited for.  The table of locks is
 * small: for MANY_LEAVES it is a lock of table identifier_link.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/link_lock.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "store/stitch.h"

#define LINK_LOCK	0x6366		/* in place of 1 and 2, of which pg_advisory_lock has */
#define MANY_LEAVES	250

PG_FUNCTION_INFO_V1(mcdp__lock_links);
PG_FUNCTION_INFO_V1(mcdp__try_lock_links);

/* How many this transaction has taken so far (more, after a ROLLBACK TO). */
static int	num_taken = 0;

static void
forget(XactEvent event, void *arg)
{
	num_taken = 0;
}

static void
count(int num)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(forget, NULL);
		registered = true;
	}
	num_taken += num;
}

static LOCKTAG
tag_of(int64 leaf)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (leaf >> 32), (uint32) leaf, LINK_LOCK);
	return tag;
}

bool
mcdp_link_lock(int64 leaf)
{
	LOCKTAG		tag = tag_of(leaf);

	if (num_taken >= MANY_LEAVES || LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	count(1);
	return true;
}

void
mcdp_link_unlock(int64 leaf)
{
	LOCKTAG		tag = tag_of(leaf);

	(void) LockRelease(&tag, ShareLock, false);
}

/* _lock_links(leaves bigint[]), ascending */
Datum
mcdp__lock_links(PG_FUNCTION_ARGS)
{
	Datum	   *leaves;
	int			num;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &leaves, NULL, &num);
	if (num_taken + num > MANY_LEAVES)
	{
		LockRelationOid(get_relname_relid("identifier_link", get_namespace_oid("cdp", false)), ShareRowExclusiveLock);
		PG_RETURN_VOID();
	}
	for (int i = 0; i < num; i++)
	{
		LOCKTAG		tag = tag_of(DatumGetInt64(leaves[i]));

		CHECK_FOR_INTERRUPTS();
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
	}
	count(num);
	PG_RETURN_VOID();
}

/* _try_lock_links(leaves bigint[]) -> bigint: the same without waiting; 0, or a leaf that somebody else is at (then none is locked) */
Datum
mcdp__try_lock_links(PG_FUNCTION_ARGS)
{
	Datum	   *leaves;
	int			num;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &leaves, NULL, &num);
	if (num_taken + num > MANY_LEAVES)
	{
		if (num > 0 && !ConditionalLockRelationOid(get_relname_relid("identifier_link", get_namespace_oid("cdp", false)), ShareRowExclusiveLock))
			PG_RETURN_DATUM(leaves[0]);
		PG_RETURN_INT64(0);
	}
	for (int i = 0; i < num; i++)
	{
		LOCKTAG		tag = tag_of(DatumGetInt64(leaves[i]));

		if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
			continue;
		for (int j = 0; j < i; j++)
		{
			tag = tag_of(DatumGetInt64(leaves[j]));
			(void) LockRelease(&tag, ExclusiveLock, false);
		}
		PG_RETURN_DATUM(leaves[i]);
	}
	count(num);
	PG_RETURN_INT64(0);
}
