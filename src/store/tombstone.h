/*-------------------------------------------------------------------------
 *
 * tombstone.h
 *	  Is an identifier of somebody who was erased?
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tombstone.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TOMBSTONE_H
#define MCDP_TOMBSTONE_H

#include "utils/snapshot.h"

/* Which of them are?  Sets found[] and says whether any. */
extern bool mcdp_find_tombstones(Oid schema, Snapshot snapshot, const Datum *identifiers, int num, bool *found);

/*
 * Is one of these, whose rows of identifier_link have just been inserted?  If
 * he was erased since they were looked up, that is seen here: the rows could
 * only be inserted after the old ones had gone.
 */
extern bool mcdp_claimed_tombstone(Oid schema, const Datum *identifiers, int num);

#endif							/* MCDP_TOMBSTONE_H */
