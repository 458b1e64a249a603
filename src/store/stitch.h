/*-------------------------------------------------------------------------
 *
 * stitch.h
 *	  From identifiers to a profile.
 *
 * Which file defines what: stitch_probe.c finds rows by their keys, stitch.c
 * looks identifiers up, stitch_write.c writes what is new in the plain cases,
 * stitch_fn.c is what SQL calls, stitch_many*.c does so for many calls at once,
 * identity_rules.c knows the rules.  All other cases are _stitch_new's
 * (21_identity.sql).
 *
 * The columns are known by position: they keep it for ever, new ones are
 * added at the end.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_STITCH_H
#define MCDP_STITCH_H

#include "access/genam.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/typcache.h"

#include "store/identity_rules.h"
#include "store/row_insert.h"

/* identifier_link, profile, extra_edge, quarantined_identifier: positions */
#define LINK_IDENTIFIER 1
#define LINK_PROFILE_ID 2
#define LINK_AT 3
#define LINK_SOURCE 4
#define LINK_PEER 5
#define LINK_MESSAGE_ID 6
#define LINK_COLUMNS 6
#define PROFILE_PROFILE_ID 1
#define PROFILE_KIND 2
#define PROFILE_CANONICAL_ID 3
#define PROFILE_FIRST_AT 4
#define PROFILE_SUPPRESSED 5
#define PROFILE_COLUMNS 6
#define EDGE_A 1
#define EDGE_B 2
#define EDGE_AT 3
#define EDGE_SOURCE 4
#define EDGE_MESSAGE_ID 5
#define EDGE_CAUSE 6
#define EDGE_INACTIVE_AT 7
#define EDGE_COLUMNS 7
#define QUARANTINED_IDENTIFIER 1
/* profile_queue, profile_batch: positions; tag_pending: see tag_point.h */
#define QUEUE_PROFILE_ID 1
#define QUEUE_AT 2
#define QUEUE_CAUSE 3
#define QUEUE_COLUMNS 3
#define BATCH_AT 1
#define BATCH_MEMBERS 2
#define BATCH_COLUMNS 2

/* a table and its primary key */
typedef struct Keyed
{
	Relation	rel;
	Oid			index;
} Keyed;

/* look-ups by its first columns, one after the other */
typedef struct Prober
{
	IndexScanDesc scan;			/* NULL: not begun */
	Relation	index;
	TupleTableSlot *slot;
} Prober;

typedef struct Lookup
{
	Oid			schema;
	Snapshot	snapshot;
	TypeCacheEntry *type;		/* of identifier */
	const IdentityRules *rules;
	Keyed		link;
	Keyed		profile;
	Keyed		edge;			/* extra_edge, and profile_merge by the merged profile: opened when they are needed */
	Keyed		merge;
	Prober		link_scan;
	Prober		profile_scan;
	Prober		edge_scan;
	Prober		merge_scan;
} Lookup;

/* what is known about one identifier */
typedef struct Known
{
	Datum		identifier;
	bool		linked;			/* the next seven are set */
	bool		implied;		/* by what another one's link says: at may be earlier, peer is not known */
	ItemPointerData link_tid;	/* its row, as of the snapshot; invalid if implied */
	ItemPointerData leaf_tid;	/* that of the leaf in table profile; invalid: not read, nor is kind */
	int64		leaf;
	TimestampTz at;
	Datum		peer;			/* of the evidence in the link, or 0 */
	int64		root;
	text	   *kind;			/* of the profile or else the namespace, or NULL */
	int32		priority;
} Known;

/* one call of _stitch: texts may be NULL */
typedef struct StitchCall
{
	text	   *kind;
	TimestampTz at;
	text	   *source;
	text	   *message_id;
} StitchCall;

typedef enum StitchHow
{
	STITCH_KNOWN,				/* only if nothing is to be changed */
	STITCH_ALONE,				/* what it cannot do leaves no lock behind */
	STITCH_WITHIN				/* the same, but the caller rolls back a subtransaction of his */
} StitchHow;

/* and its answer */
typedef struct Stitched
{
	int64		leaf;
	int64		root;
	Datum		via;
} Stitched;

/* one of many calls */
typedef struct ManyCall
{
	StitchCall	call;
	Datum	   *ids;			/* as given */
	int			num;
	bool		is_foreign;		/* somebody else makes it, later: what is new in it is not for the calls after it */
	bool		either;			/* of the last two ids it names the first if that is known by then, else the second */

	/* the answer */
	bool		done;			/* else it is left to _stitch, or */
	bool		later;			/* somebody else holds its profile: nothing was done */
	bool		after_foreign;	/* not done, as it may hang on one that is foreign */
	int64		leaf;
	Datum		via;
	Datum		named;			/* which of the last two */
} ManyCall;

/* stitch_probe.c */
extern Keyed mcdp_open_keyed(Oid schema, const char *table, const char *index);
extern void mcdp_lookup_begin(Lookup *lk, Oid identifier_type);
extern void mcdp_lookup_end(Lookup *lk);
extern void mcdp_identifier_key(Lookup *lk, ScanKey key, AttrNumber column, Datum identifier);
extern int	mcdp_compare_identifiers(Lookup *lk, Datum a, Datum b);
extern Datum mcdp_get_column(HeapTuple tuple, Keyed *k, AttrNumber column);
/* the first row with this key, in the slot; false if there is none */
extern bool mcdp_probe(Prober *s, Keyed *k, Snapshot snapshot, ScanKey key, int num_keys);
extern int64 mcdp_leaf_of(Lookup *lk, Snapshot snapshot, Datum identifier);
extern TupleTableSlot *mcdp_find_profile(Lookup *lk, int64 id, Snapshot snapshot);
extern bool mcdp_may_be_merged(Lookup *lk, int64 leaf);
/* whether there is a row of extra_edge for the pair (in any order), and if so, whether it says all */
extern bool mcdp_find_edge(Lookup *lk, Snapshot snapshot, Datum a, Datum b, TimestampTz at, bool *holds);

/* stitch.c */
extern void mcdp_find_link(Lookup *lk, Known *known, Snapshot snapshot);
/* Does one of two links say that they were named together? */
extern bool mcdp_are_peers(Datum a, Datum a_peer, Datum b, Datum b_peer);
/* What _stitch does, or false, with nothing left behind, when it is left to _stitch_new. */
extern bool mcdp_stitch_one(Oid identifier_type, const Datum *ids, int num, const StitchCall *call, StitchHow how, Stitched *who);

typedef struct NewProfile
{
	int64		id;
	text	   *kind;
	TimestampTz at;
} NewProfile;

/* profile_insert.c */
extern void mcdp_take_profile_ids(Oid schema, NewProfile *profile, int num);
extern void mcdp_make_profiles(Lookup *lk, const NewProfile *profile, int num);

/* identity_lock.c */
typedef enum Hurry
{
	HURRY_LITTLE,				/* an attempt that may fail */
	HURRY_SOME,					/* a batch that may fail */
	HURRY_PATIENT				/* until the server has looked for a circle, too */
} Hurry;
extern void mcdp_hurry(Hurry how);
extern void mcdp_lock_identities(bool alone);
extern bool mcdp_holds_identities(bool alone);

/* stitch_write.c */
extern Datum mcdp_run(const char *sql, SPIPlanPtr *plan, int num, Oid *types, Datum *values, const char *nulls);
extern bool mcdp_stitch_plain(Lookup *lk, Known **known, int num, const StitchCall *call, bool within, Stitched *result);
extern text *mcdp_kind_of_call(text *asked, text *first, bool some_without);
extern bool mcdp_identifier_is_blocked(const IdentityRules *rules, Datum identifier);
extern bool mcdp_identifier_is_limited(const IdentityRules *rules, Datum identifier, bool joins);
extern bool mcdp_merges_freely(Lookup *lk);
extern bool mcdp_any_quarantined(Lookup *lk, Known **known, int num);
/* tid: its row as of the snapshot of lk, or NULL */
extern bool mcdp_lock_root(Lookup *lk, int64 root, ItemPointer tid, bool wait);
extern bool mcdp_still_linked(Lookup *lk, Snapshot now, Datum identifier, int64 leaf, int64 root);
extern void mcdp_set_link(Target *t, Datum identifier, int64 leaf, TimestampTz at, text *source, Datum peer, text *message_id);
extern void mcdp_set_edge(Target *t, Datum a, Datum b, TimestampTz at, text *source, text *message_id);

/* profile_held.c: has another transaction locked or changed this row? */
extern bool mcdp_row_is_held(BufferHeapTupleTableSlot *row);

/* link_lock.c: until the end of the transaction nobody takes identifiers away from the leaf; false: he may */
extern bool mcdp_link_lock(int64 leaf);
extern void mcdp_link_unlock(int64 leaf);

/*
 * stitch_many.c
 *
 * in_order: after one that is left to _stitch all are; locking: other sessions
 * may do the same; others: the transaction goes on to calls that are not here;
 * may_be_later: calls whose profiles somebody else holds may be left for another
 * transaction, if they are few.
 */
extern void mcdp_stitch_many(Lookup *lk, ManyCall *calls, int num, bool in_order, bool locking, bool others, bool may_be_later);

#endif							/* MCDP_STITCH_H */
