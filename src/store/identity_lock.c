/*-------------------------------------------------------------------------
 *
 * identity_lock.c
 *	  The lock of those who take many messages, and how long anybody waits.
 *
 * Who waits for whom: sql/install/21_identity_lock.sql.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/identity_lock.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

#include "core/compat.h"
#include "store/stitch.h"

/* ms; the first two are less than deadlock_timeout, if that is not very short */
#define WAIT_LITTLE	300
#define WAIT_SOME	700

PG_FUNCTION_INFO_V1(mcdp__identities_key);
PG_FUNCTION_INFO_V1(mcdp__holds_identities);
PG_FUNCTION_INFO_V1(mcdp__hurry);
PG_FUNCTION_INFO_V1(mcdp__hurry_batch);

static int64
identities_key(void)
{
	Datum		name = CStringGetTextDatum("marketing_cdp identities");

	return DatumGetInt64(DirectFunctionCall2Coll(hashtextextended, DEFAULT_COLLATION_OID, name, Int64GetDatum(0)));
}

Datum
mcdp__identities_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(identities_key());
}

/*
 * Sessions that do this do not wait for each other in a circle, but one that
 * goes on to other calls has no order to keep: it goes alone.
 */
void
mcdp_lock_identities(bool alone)
{
	Datum		key = Int64GetDatum(identities_key());

	if (alone)
		DirectFunctionCall1(pg_advisory_xact_lock_int8, key);
	else
		DirectFunctionCall1(pg_advisory_xact_lock_shared_int8, key);
}

/* alone: none but this transaction; else: it is one of several, or the only one */
bool
mcdp_holds_identities(bool alone)
{
	uint64		key = identities_key();
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, 1);
	return mcdp_lock_held(&tag, ExclusiveLock) || (!alone && mcdp_lock_held(&tag, ShareLock));
}

Datum
mcdp__holds_identities(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mcdp_holds_identities(false));
}

/*
 * From now on wait so long for a lock, unless the user has said how long: until
 * the level of settings ends, which is that of a subtransaction or of a function with
 * a SET clause.  (SET LOCAL would last to the end of the transaction.)
 */
void
mcdp_hurry(Hurry how)
{
	int			ms = how == HURRY_LITTLE ? WAIT_LITTLE : how == HURRY_SOME ? WAIT_SOME : Min(DeadlockTimeout, INT_MAX - WAIT_LITTLE) + WAIT_LITTLE;
	char		value[32];

	if (LockTimeout != 0)
		return;
	snprintf(value, sizeof(value), "%dms", ms);
	set_config_option("lock_timeout", value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* _hurry(wait) */
Datum
mcdp__hurry(PG_FUNCTION_ARGS)
{
	mcdp_hurry(PG_GETARG_BOOL(0) ? HURRY_PATIENT : HURRY_LITTLE);
	PG_RETURN_VOID();
}

Datum
mcdp__hurry_batch(PG_FUNCTION_ARGS)
{
	mcdp_hurry(HURRY_SOME);
	PG_RETURN_VOID();
}
