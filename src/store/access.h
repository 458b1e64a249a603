/*-------------------------------------------------------------------------
 *
 * access.h
 *	  May this user read a table that is about to be scanned without a query?
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/access.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_STORE_ACCESS_H
#define MCDP_STORE_ACCESS_H

#include "utils/acl.h"

/*
 * Has the user all of these privileges on a table?  (pg_class_aclcheck asks for
 * any of them.)
 */
extern bool mcdp_may(Oid relid, AclMode privileges);

/*
 * Opens a table to read it without a query, if the user has these privileges
 * on it; an error also when a policy of row-level security would apply.  With
 * ACL_NO_RIGHTS anybody may: for those who look at no row.
 */
extern Relation mcdp_open_to_read(Oid relid, LOCKMODE lock, AclMode privileges);

/* An error if a policy of row-level security applies to this user. */
extern void mcdp_check_policies(Oid relid);

/*
 * An error unless the user may see this trait's values: those of traits that
 * trait_rule calls pii are for those who may see identifiers.  Connected to
 * SPI.
 */
extern void mcdp_check_trait(const char *trait);

#endif							/* MCDP_STORE_ACCESS_H */
