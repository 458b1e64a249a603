/*-------------------------------------------------------------------------
 *
 * tag_history.h
 *	  Tags of the past (30_tag_history.sql).
 *
 * The functions expect an open SPI connection and read with the active
 * snapshot.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_history.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TAG_HISTORY_H
#define MCDP_TAG_HISTORY_H

#include "core/rbuf.h"
#include "datatype/timestamp.h"
#include "types/criteria.h"

/* Was the tag, as far as its history is kept, another set at that instant? */
extern bool mcdp_tag_history_matters(const char *tag, TimestampTz at);

/* The same for some tag of a rule. */
extern bool mcdp_tag_history_matters_to(const CriteriaNode *rule, TimestampTz at);

/* Who had it then; did a canonical profile have it then? */
extern Rbuf *mcdp_tag_history_members(MemoryContext cx, const char *tag, TimestampTz at);
extern bool mcdp_tag_history_has(int64 id, const char *tag, TimestampTz at);

#endif							/* MCDP_TAG_HISTORY_H */
