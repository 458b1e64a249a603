/*-------------------------------------------------------------------------
 *
 * relid.h
 *	  The OIDs of our own schema and relations, remembered.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/relid.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RELID_H
#define MCDP_RELID_H

/* The OID of schema cdp; an error if there is none. */
extern Oid	mcdp_schema(void);

/* The OID of type identifier. */
extern Oid	mcdp_identifier_type(void);

/* What get_relname_relid answers; remembered for names that are literals. */
extern Oid	mcdp_relid(const char *name, Oid schema);

#endif							/* MCDP_RELID_H */
