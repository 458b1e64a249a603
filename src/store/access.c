/*-------------------------------------------------------------------------
 *
 * access.c
 *	  May this user read a table that is about to be scanned without a query?
 *
 * A query checks privileges and applies policies; a scan of ours does not, so
 * it asks here first.  Policies are not applied but refused: a chunk of tags
 * belongs to 2^15 profiles at once.  A policy on table profile counts for
 * chunks too.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/access.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "store/access.h"
#include "store/statement.h"

static Statement is_personal = {
	"SELECT FROM cdp.trait_rule r WHERE r.name OPERATOR(pg_catalog.=) $1 AND r.pii",
	1, {TEXTOID}
};

bool
mcdp_may(Oid relid, AclMode privileges)
{
	return pg_class_aclmask(relid, GetUserId(), privileges, ACLMASK_ALL) == privileges;
}

Relation
mcdp_open_to_read(Oid relid, LOCKMODE lock, AclMode privileges)
{
	Relation	rel;

	if (privileges != ACL_NO_RIGHTS && !mcdp_may(relid, privileges))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(relid));
	rel = table_open(relid, lock);
	if (privileges != ACL_NO_RIGHTS && rel->rd_rel->relrowsecurity)
		mcdp_check_policies(relid);
	return rel;
}

void
mcdp_check_policies(Oid relid)
{
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security of table \"%s\" applies to role \"%s\"",
						get_rel_name(relid), GetUserNameFromId(GetUserId(), false)),
				 errdetail("The function reads tables without a query and cannot apply policies.")));
}

void
mcdp_check_trait(const char *trait)
{
	Oid			schema = get_namespace_oid("cdp", false);
	Datum		arg;
	uint64		found;

	/* as the policies of trait_value (89_privilege.sql) */
	if (check_enable_rls(get_relname_relid("trait_value", schema), InvalidOid, true) != RLS_ENABLED ||
		mcdp_may(get_relname_relid("identifier_link", schema), ACL_SELECT))
		return;
	arg = CStringGetTextDatum(trait);
	found = mcdp_statement_ask(&is_personal, &arg);
	SPI_freetuptable(SPI_tuptable);
	if (found > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for trait \"%s\"", trait),
				 errdetail("The trait is personal data (trait_rule.pii).")));
}
