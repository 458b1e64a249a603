/*-------------------------------------------------------------------------
 *
 * tombstone.c
 *	  Is an identifier of somebody who was erased?
 *
 * Asked of identifiers that are to be linked for the first time.  As long as
 * nobody was ever erased that is a look at the length of an empty table; then
 * it is one SHA-256 and one probe of an index for each.  See 21_tombstone.sql.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tombstone.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/relid.h"
#include "store/stitch.h"
#include "store/tag_point.h"
#include "store/tombstone.h"
#include "types/identifier.h"

/* tombstone, tombstone_salt: positions */
#define TOMBSTONE_HASH 1
#define SALT_SALT 1

PG_FUNCTION_INFO_V1(mcdp__is_tombstone);

/* The secret, or NULL. */
static bytea *
read_salt(Oid schema, Snapshot snapshot)
{
	Keyed		table = mcdp_open_keyed(schema, "tombstone_salt", "tombstone_salt_pkey");
	SysScanDesc scan = systable_beginscan(table.rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	bytea	   *salt = NULL;

	if (HeapTupleIsValid(tuple))
		salt = DatumGetByteaPCopy(mcdp_get_column(tuple, &table, SALT_SALT));
	systable_endscan(scan);
	table_close(table.rel, AccessShareLock);
	return salt;
}

/* What _tombstone_hash says: of the secret and the identifier in UTF-8. */
static bytea *
hash_identifier(bytea *salt, Datum identifier)
{
	struct varlena *id = DatumGetIdentifierPP(identifier);
	int			len = VARSIZE_ANY_EXHDR(id);
	char	   *utf8 = pg_server_to_any(VARDATA_ANY(id), len, PG_UTF8);
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	bytea	   *hash = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);

	if (utf8 != VARDATA_ANY(id))
		len = strlen(utf8);
	SET_VARSIZE(hash, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (uint8 *) VARDATA_ANY(salt), VARSIZE_ANY_EXHDR(salt)) < 0 ||
		pg_cryptohash_update(ctx, (uint8 *) utf8, len) < 0 ||
		pg_cryptohash_final(ctx, (uint8 *) VARDATA(hash), PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute SHA256 hash: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
	return hash;
}

bool
mcdp_find_tombstones(Oid schema, Snapshot snapshot, const Datum *identifiers, int num, bool *found)
{
	Keyed		table = mcdp_open_keyed(schema, "tombstone", "tombstone_pkey");
	bytea	   *salt = NULL;
	bool		any = false;

	memset(found, false, num * sizeof(bool));
	if (RelationGetNumberOfBlocks(table.rel) > 0)
		salt = read_salt(schema, snapshot);
	for (int i = 0; i < num && salt; i++)
	{
		bytea	   *hash = hash_identifier(salt, identifiers[i]);
		ScanKeyData key;
		SysScanDesc scan;

		CHECK_FOR_INTERRUPTS();
		ScanKeyInit(&key, TOMBSTONE_HASH, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(hash));
		scan = systable_beginscan(table.rel, table.index, true, snapshot, 1, &key);
		found[i] = HeapTupleIsValid(systable_getnext(scan));
		systable_endscan(scan);
		any |= found[i];
		pfree(hash);
	}
	table_close(table.rel, AccessShareLock);
	return any;
}

bool
mcdp_claimed_tombstone(Oid schema, const Datum *identifiers, int num)
{
	Snapshot	now;
	bool	   *found;
	bool		any;

	if (mcdp_table_is_blank("tombstone"))
		return false;
	now = RegisterSnapshot(GetLatestSnapshot());
	found = palloc(Max(num, 1) * sizeof(bool));
	any = mcdp_find_tombstones(schema, now, identifiers, num, found);
	pfree(found);
	UnregisterSnapshot(now);
	return any;
}

/* _is_tombstone(identifier) */
Datum
mcdp__is_tombstone(PG_FUNCTION_ARGS)
{
	Datum		identifier = PG_GETARG_DATUM(0);
	bool		found;

	(void) mcdp_find_tombstones(mcdp_schema(), GetActiveSnapshot(), &identifier, 1, &found);
	PG_RETURN_BOOL(found);
}
