/*-------------------------------------------------------------------------
 *
 * tag_point.h
 *	  One tag of one profile: asking and changing, without the executor where
 *	  that is possible.
 *
 *		tag_point.c		probes of primary keys; has_tag
 *		tag_change.c	tag and untag of one profile
 *		tag_pending.c	the row that says so until it is folded
 *		tag_pending_read.c	which tags these rows give to a profile
 *		tag_lock.c		keeps changes of single tags and merges apart
 *		tag_write.c		many members at once, into the chunks
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/tag_point.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TAG_POINT_H
#define MCDP_TAG_POINT_H

#include "access/skey.h"
#include "access/tupdesc.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

/*
 * ---- tag_point.c ----
 *
 * A probe finds the rows of one key through an index, with the snapshot given.
 * The keys' sk_attno counts columns of the table.
 */
typedef struct Probe Probe;

extern Probe *mcdp_probe_begin(const char *table, const char *index,
							   Snapshot snapshot, ScanKey keys, int nkeys);
/* another key of the same columns; what was found before is gone */
extern void mcdp_probe_again(Probe *probe, ScanKey keys, int nkeys);
extern bool mcdp_probe_next(Probe *probe);
extern Datum mcdp_probe_value(Probe *probe, AttrNumber column);
extern void mcdp_probe_end(Probe *probe);

extern void mcdp_probe_text_key(ScanKey key, AttrNumber column, Datum value, Oid collation);
extern void mcdp_probe_int2_key(ScanKey key, AttrNumber column, int16 value);
extern void mcdp_probe_id_key(ScanKey key, AttrNumber column, int64 value);

/* Has a table of ours never had a row (since TRUNCATE)?  Costs next to nothing. */
extern bool mcdp_table_is_blank(const char *table);

/* The canonical profile, or 0 when there is no such profile. */
extern int64 mcdp_canonical_id(int64 profile, Snapshot snapshot);

/* Does a canonical profile have the tag (a text), folded or not? */
extern bool mcdp_tag_probe(int64 id, Datum tag, Snapshot snapshot);

/* The folded side alone. */
extern bool mcdp_tag_probe_chunk(int64 id, Datum tag, Snapshot snapshot);

/*
 * ---- tag_pending.c ----
 *
 * tag_pending: positions of columns, and those of its primary key.
 */
#define PENDING_PROFILE_ID	1
#define PENDING_SINCE		2
#define PENDING_PRESENT		3
#define PENDING_TAG			4
#define PENDING_COLUMNS		4
#define PENDING_KEY_TAG		1
#define PENDING_KEY_PROFILE_ID 2

/*
 * Give a tag to a canonical profile or take it away, within an SPI connection;
 * was that a change?  Whoever changes the same tag of the same profile waits
 * here, nobody else does.
 */
extern bool mcdp_pending_set(Datum tag, int64 id, bool present);

/* The same for several, of which the last one of a tag and profile counts; nobody asks what they were. */
typedef struct PendingChange
{
	Datum		tag;
	int64		id;
	bool		present;
} PendingChange;

extern void mcdp_pending_put(const PendingChange *changes, int num);

/* The same for one, and what it was before as far as that is known. */
typedef enum PendingWas
{
	PENDING_SAME,				/* a waiting row said so already */
	PENDING_OTHER,				/* one said the contrary */
	PENDING_NEW					/* there was none: the chunk says what was */
} PendingWas;

extern PendingWas mcdp_pending_write(Datum tag, int64 id, bool present);

/* Give the tag to a profile that has it not, or take it away; has it the tag now? */
extern bool mcdp_pending_toggle(Datum tag, int64 id);

/*
 * The tags in [since, until), NULL = unbounded, that a waiting change gives to
 * each of some profiles, as texts.  Skips from tag to tag, and looks each up.
 */
extern void mcdp_pending_tags(const int64 *ids, int num, text *since, text *until, Snapshot snapshot, List **result);

/*
 * ---- tag_lock.c ----
 *
 * Whoever changes a single tag of a profile locks the profile against being
 * merged, without a trace in the table.  False when this transaction has
 * locked very many already: then the profile's row has to be locked.
 */
extern bool mcdp_tag_lock_profile(int64 id);
extern bool mcdp_tag_locks_are_many(void);
extern void mcdp_tag_lock_merges(int num);
extern void mcdp_tag_unlock_profile(int64 id);

/*
 * ---- tag_write.c ----
 *
 * May this user change chunks without a query?
 */
extern bool mcdp_tag_may_write_chunks(void);

/* Everybody in this chunk has the tag. */
extern void mcdp_tag_fill_chunk(Datum tag, int64 chunk);

/* ---- tag_change.c ---- */

/* Does the system keep this tag, so that users may use but not set it? */
extern bool mcdp_tag_is_maintained(const char *tag, int len);

/*
 * One session at a time inserts a row for this tag of this profile.  Whoever
 * has this lock waits for nothing else, and gives it back at once.
 */
extern void mcdp_tag_lock_change(Datum tag, int64 id);
extern void mcdp_tag_unlock_change(Datum tag, int64 id);

#endif							/* MCDP_TAG_POINT_H */
