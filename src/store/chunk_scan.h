/*-------------------------------------------------------------------------
 *
 * chunk_scan.h
 *	  The members of tags, chunk by chunk, where they are stored.
 *
 * Wording:
 *	   - a reader has the tables of tags open, under one snapshot
 *	   - a cursor goes through the chunks of one tag, upwards, and merges the
 *		 changes that wait to be folded into them
 *
 * A chunk's bytes are read in their page, which stays pinned until the cursor
 * goes on: hence at most CHUNK_MAX_CURSORS of a reader at a time.
 *
 *		chunk_scan.c		readers and cursors
 *		chunk_rule.c		a rule made of tags only, evaluated chunk by chunk
 *		overlap_fn.c		SQL-callable: how many members tags have in common
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/chunk_scan.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_CHUNK_SCAN_H
#define MCDP_CHUNK_SCAN_H

#include "datatype/timestamp.h"
#include "access/genam.h"
#include "access/skey.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "core/chunk_set.h"
#include "core/rbuf.h"
#include "types/criteria.h"

#define CHUNK_MAX_CURSORS	200
#define CHUNK_NONE			PG_INT64_MAX	/* after the last chunk */

typedef struct ChunkReader
{
	MemoryContext cx;
	Snapshot	snapshot;
	Relation	chunks;
	Relation	chunks_index;
	Relation	pending;		/* NULL: a cursor is told what waits */
	Relation	pending_index;
} ChunkReader;

typedef struct ChunkCursor
{
	ChunkReader *reader;
	MemoryContext cx;
	int64		chunk;			/* the present one, or CHUNK_NONE */

	/* the stored side; the key without the chunk, which is the last column of it */
	ScanKeyData keys[3];
	int			nkeys;
	IndexScanDesc scan;			/* NULL: there is none */
	struct TupleTableSlot *slot;
	int64		stored_chunk;	/* at or after "chunk"; CHUNK_NONE at the end */
	const uint8 *bytes;			/* of the stored chunk */
	size_t		len;
	struct varlena *detoasted;	/* what bytes point into, if not a page */

	/* waiting changes, by id; those before next are done with */
	int64	   *waiting;		/* id << 1 | present */
	uint32		num_waiting;
	uint32		next;

	uint8	   *buffer;			/* CHUNK_BITS_BYTES */
} ChunkCursor;

/* Reads with the active snapshot, whoever asks must be allowed to. */
extern void mcdp_chunk_reader_begin(ChunkReader *reader, MemoryContext cx);
extern void mcdp_chunk_reader_end(ChunkReader *reader);

/* The same for slices of traits (trait_index.h): tag stands for trait there. */
extern void mcdp_slice_reader_begin(ChunkReader *reader, MemoryContext cx);

/* Stands before the first chunk. */
extern ChunkCursor *mcdp_chunk_cursor_begin(ChunkReader *reader, const char *tag);

/*
 * Of one slice; waiting changes (ascending id << 1 | present), which the cursor
 * frees, override what is stored.  With reader NULL nothing is.
 */
extern ChunkCursor *mcdp_slice_cursor_begin(ChunkReader *reader, MemoryContext cx, const char *trait,
											int slice, int64 *waiting, uint32 num_waiting);
extern void mcdp_chunk_cursor_end(ChunkCursor *cursor);

/*
 * Go on to the first chunk at or after "from", which must not be before the
 * present one, and return its number.  A chunk may turn out to be empty.
 */
extern int64 mcdp_chunk_cursor_seek(ChunkCursor *cursor, int64 from);

/*
 * The present chunk, valid until the cursor goes on: NULL when it has every
 * position.  form may be NULL; it is only set (form->array) when the chunk is
 * an array and nothing waits.
 */
extern const uint8 *mcdp_chunk_cursor_bits(ChunkCursor *cursor, ChunkForm *form);

/* The same, but an array is left as it is: of form's full, array and bits one is set. */
extern void mcdp_chunk_cursor_form(ChunkCursor *cursor, ChunkForm *form);

/* All members of a tag. */
extern Rbuf *mcdp_chunk_members(MemoryContext cx, const char *tag);

/*
 * Is the universe at this time simply the internal tag of the kind?  Not when
 * some profile is younger than that.
 */
extern bool mcdp_universe_is_tag(const char *kind, TimestampTz at);

/* ---- chunk_rule.c ---- */

/* Does the rule consist of tags, few enough to be evaluated by chunk? */
extern bool mcdp_chunk_rule_is(const CriteriaNode *rule);

/*
 * How many satisfy such a rule: among the candidates, or if that is NULL, among
 * the members of the tag "among".  The satisfying ones go into "result" unless
 * that is NULL.
 */
extern uint64 mcdp_chunk_rule_eval(const CriteriaNode *rule, const Rbuf *candidates,
								   const char *among, Rbuf *result);

#endif							/* MCDP_CHUNK_SCAN_H */
