/*-------------------------------------------------------------------------
 *
 * chunk.h
 *	  Stored chunks as values: tag_chunk.members is a bytea.
 *
 * These raise data_corrupted for bytes that are not a chunk.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/chunk.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TYPES_CHUNK_H
#define MCDP_TYPES_CHUNK_H

#include "core/chunk.h"

pg_noreturn extern void mcdp_chunk_corrupted(const McdpBadInput *bad);

/* Into a bit set of CHUNK_BITS_BYTES. */
extern void mcdp_chunk_expand(const bytea *members, uint8 *bits);

/* Is this profile, whose chunk it is, a member? */
extern bool mcdp_chunk_has(const bytea *members, uint64 id);

#endif							/* MCDP_TYPES_CHUNK_H */
