/*-------------------------------------------------------------------------
 *
 * tag_change.c
 *	  tag, untag and toggle_tag of one profile.
 *
 * What nearly every call is (a tag of no special key, for good, on a profile
 * that was never merged) is done here; everything else, and every refusal, is handed to
 * _tag_one, _untag_one and _toggle_one (30_tag.sql), which do the same in full.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_change.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/statement.h"
#include "store/tag_point.h"

#define MAX_TAG_BYTES		255

PG_FUNCTION_INFO_V1(mcdp_tag);
PG_FUNCTION_INFO_V1(mcdp_untag);
PG_FUNCTION_INFO_V1(mcdp_toggle_tag);

typedef enum Change
{
	TAG,
	UNTAG,
	TOGGLE
} Change;

static Statement lock_profile_row = {
	"SELECT p.canonical_id FROM cdp.profile p WHERE p.profile_id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE",
	1, {INT8OID}
};
static Statement note_own_tag = {
	"SELECT cdp._own_tag($1, $2, $3, NULL, NULL)",
	3, {INT8OID, TEXTOID, BOOLOID}
};
static Statement trigger_journeys = {
	"SELECT cdp._tag_trigger($1, $2, $3, $4)",
	4, {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID}
};
static Statement forget_expiry = {
	"DELETE FROM cdp.tag_expiry e"
	" WHERE e.tag OPERATOR(pg_catalog.=) $1 AND e.profile_id OPERATOR(pg_catalog.=) $2",
	2, {TEXTOID, INT8OID}
};

/* What there is now, for the next probes. */
static void
push_snapshot(void)
{
	PushCopiedSnapshot(GetTransactionSnapshot());
	UpdateActiveSnapshotCommandId();
}

/* See _is_maintained. */
bool
mcdp_tag_is_maintained(const char *tag, int len)
{
	static const char *const maintained[] = {
		"lifecycle", "rfm", "segment", "consent", "journey", "held_out"
	};
	const char *colon = memchr(tag, ':', len);

	if (len > 0 && tag[0] == '\001')
		return true;
	if (colon != NULL)
		for (int i = 0; i < lengthof(maintained); i++)
			if (colon - tag == (int) strlen(maintained[i]) && memcmp(tag, maintained[i], colon - tag) == 0)
				return true;
	return false;
}

/* Is this beyond doubt a tag that a user may set?  See _check_tag. */
static bool
is_plain_tag(const char *tag, int len, int *key_len)
{
	const char *colon = memchr(tag, ':', len);

	*key_len = colon == NULL ? len : colon - tag;
	if (len == 0 || len > MAX_TAG_BYTES || colon == tag || colon == tag + len - 1)
		return false;
	for (int i = 0; i < len; i++)
		if ((unsigned char) tag[i] < ' ' || tag[i] == '\177')
			return false;
	return !mcdp_tag_is_maintained(tag, len);
}

/* Is there a row in tag_key for it? */
static bool
is_special_key(const char *tag, int key_len)
{
	ScanKeyData key;
	Probe	   *probe;
	bool		result;

	mcdp_probe_text_key(&key, 1, PointerGetDatum(cstring_to_text_with_len(tag, key_len)), C_COLLATION_OID);
	probe = mcdp_probe_begin("tag_key", "tag_key_pkey", GetActiveSnapshot(), &key, 1);
	result = mcdp_probe_next(probe);
	mcdp_probe_end(probe);
	return result;
}

static bool
expires(Datum tag, int64 id)
{
	ScanKeyData keys[2];
	Probe	   *probe;
	bool		result;

	mcdp_probe_text_key(&keys[0], 1, tag, C_COLLATION_OID);
	mcdp_probe_id_key(&keys[1], 2, id);
	probe = mcdp_probe_begin("tag_expiry", "tag_expiry_pkey", GetActiveSnapshot(), keys, 2);
	result = mcdp_probe_next(probe);
	mcdp_probe_end(probe);
	return result;
}

/*
 * The canonical profile, locked against merges; 0 when there is none.  Profiles
 * without rows in tag_own are not part of a merge: the lock in memory is enough
 * for them, and merges take it before they look.
 *
 * Nearly every profile is its own canonical one, so that is what is locked
 * first, and looked at once.
 */
static int64
lock_canonical(int64 profile)
{
	int64		id = profile;

	if (IsolationUsesXactSnapshot() || mcdp_tag_locks_are_many())
		id = mcdp_canonical_id(profile, GetActiveSnapshot());

	while (id != 0)
	{
		int64		now = 0;
		bool		in_memory = mcdp_tag_lock_profile(id);

		if (in_memory)
		{
			Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

			now = mcdp_canonical_id(profile, latest);
			UnregisterSnapshot(latest);
		}
		else
		{
			Datum		arg = Int64GetDatum(id);
			bool		isnull;

			if (mcdp_statement_do(&lock_profile_row, &arg) > 0)
				now = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		}
		if (now == id)
			return id;
		if (in_memory)
			mcdp_tag_unlock_profile(id);	/* nobody waits with a lock that is out of order */
		if (IsolationUsesXactSnapshot())
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent merge")));
		id = now;
	}
	return 0;
}

/* Is it a merged profile, whose own tags are kept apart (30_tag_own)? */
static bool
has_own_tags(int64 id)
{
	ScanKeyData key;
	Probe	   *probe;
	bool		result;

	mcdp_probe_id_key(&key, 1, id);
	probe = mcdp_probe_begin("tag_own", "tag_own_pkey", GetActiveSnapshot(), &key, 1);
	result = mcdp_probe_next(probe);
	mcdp_probe_end(probe);
	return result;
}

/* Does a journey wait for this? */
static bool
is_listened_to(Datum source, Datum tag)
{
	ScanKeyData keys[2];
	Probe	   *probe;
	bool		result;

	mcdp_probe_text_key(&keys[0], 1, source, DEFAULT_COLLATION_OID);
	mcdp_probe_text_key(&keys[1], 2, tag, DEFAULT_COLLATION_OID);
	probe = mcdp_probe_begin("journey_listener", "journey_listener_pkey", GetActiveSnapshot(), keys, 2);
	result = mcdp_probe_next(probe);
	mcdp_probe_end(probe);
	return result;
}

/* False when it is for the functions in SQL; present: has it the tag now? */
static bool
change_tag(int64 profile, text *name, Change what, TimestampTz at, bool *present)
{
	const char *tag = VARDATA_ANY(name);
	int			key_len;
	bool		special;
	int64		id = 0;

	if (!is_plain_tag(tag, VARSIZE_ANY_EXHDR(name), &key_len) || TIMESTAMP_NOT_FINITE(at))
		return false;
	push_snapshot();
	special = is_special_key(tag, key_len);
	if (!special)
	{
		mcdp_spi_connect();
		id = lock_canonical(profile);
		PopActiveSnapshot();
		push_snapshot();		/* no merge can come between any more */
		/* with the lock in memory: a merge has the row's lock before that one */
		if (id != 0 && has_own_tags(id))
		{
			Datum		own[3] = {Int64GetDatum(id), PointerGetDatum(name), BoolGetDatum(what == TAG)};

			if (what == TOGGLE)
			{
				if (!mcdp_tag_locks_are_many())
					mcdp_tag_unlock_profile(id);
				id = 0;
			}
			else
				mcdp_statement_do(&note_own_tag, own);
		}
		if (id != 0)
		{
			Datum		args[4] = {0, PointerGetDatum(name), Int64GetDatum(id), TimestampTzGetDatum(at)};
			PendingWas	was = PENDING_OTHER;

			*present = what == TAG;
			if (what == TOGGLE)
				*present = mcdp_pending_toggle(args[1], id);
			else
				was = mcdp_pending_write(args[1], id, *present);
			PopActiveSnapshot();
			push_snapshot();	/* the row is ours now */
			args[0] = CStringGetTextDatum(*present ? "enters" : "leaves");
			if (was != PENDING_SAME && is_listened_to(args[0], args[1]) &&
				(was == PENDING_OTHER || mcdp_tag_probe_chunk(id, args[1], GetActiveSnapshot()) != *present))
				mcdp_statement_do(&trigger_journeys, args);
			if (expires(args[1], id))
				mcdp_statement_do(&forget_expiry, args + 1);
		}
		mcdp_spi_finish();
	}
	PopActiveSnapshot();
	return id != 0;
}

/* The same arguments to a function in SQL. */
static Datum
hand_over(FunctionCallInfo fcinfo, const char *name)
{
	FmgrInfo   *more = fcinfo->flinfo->fn_extra;
	LOCAL_FCINFO(call, 4);

	if (more == NULL)
	{
		Oid			types[4] = {INT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};

		more = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(FmgrInfo));
		fmgr_info_cxt(LookupFuncName(list_make2(makeString("cdp"), makeString((char *) name)),
									 PG_NARGS(), types, false),
					  more, fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = more;
	}
	InitFunctionCallInfoData(*call, more, PG_NARGS(), InvalidOid, NULL, NULL);
	for (int i = 0; i < PG_NARGS(); i++)
		call->args[i] = fcinfo->args[i];
	return FunctionCallInvoke(call);
}

/* tag(profile, tag, expires_at, at) */
Datum
mcdp_tag(PG_FUNCTION_ARGS)
{
	bool		present;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || !PG_ARGISNULL(2) || PG_ARGISNULL(3) ||
		!change_tag(PG_GETARG_INT64(0), PG_GETARG_TEXT_PP(1), TAG, PG_GETARG_TIMESTAMPTZ(3), &present))
		hand_over(fcinfo, "_tag_one");
	PG_RETURN_VOID();
}

/* untag(profile, tag, at) */
Datum
mcdp_untag(PG_FUNCTION_ARGS)
{
	bool		present;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) ||
		!change_tag(PG_GETARG_INT64(0), PG_GETARG_TEXT_PP(1), UNTAG, PG_GETARG_TIMESTAMPTZ(2), &present))
		hand_over(fcinfo, "_untag_one");
	PG_RETURN_VOID();
}

/* toggle_tag(profile, tag, at) */
Datum
mcdp_toggle_tag(PG_FUNCTION_ARGS)
{
	bool		present;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) ||
		!change_tag(PG_GETARG_INT64(0), PG_GETARG_TEXT_PP(1), TOGGLE, PG_GETARG_TIMESTAMPTZ(2), &present))
		return hand_over(fcinfo, "_toggle_one");
	PG_RETURN_BOOL(present);
}
