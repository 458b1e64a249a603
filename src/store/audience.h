/*-------------------------------------------------------------------------
 *
 * audience.h
 *	  Who satisfies a rule: set-wise for all profiles, point-wise for one.
 *
 *		audience_source.c	tags, traits, timelines, the universe, by SPI
 *		audience.c			evaluation of a rule for a set of profiles
 *		audience_point.c	evaluation of a rule for one profile
 *		audience_fn.c		SQL-callable functions
 *
 * Words: candidates are the canonical profiles that are still in question;
 * a history is a profile's timeline.
 *
 * The functions here expect an open SPI connection.  They read with the
 * snapshot that is active when they are called, so however many queries an
 * evaluation takes, it sees one state of the tables.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_AUDIENCE_H
#define MCDP_AUDIENCE_H

#include "executor/spi.h"

#include "core/rbuf.h"
#include "types/criteria.h"
#include "types/timeline_datum.h"

/* Canonical profiles that may have more than one leaf (30_tag.sql). */
#define AUDIENCE_MERGED_TAG		"\001merged"

/* ---- audience_source.c ---- */

/* The members of a tag, in a set of that context. */
extern Rbuf *mcdp_source_tagged(MemoryContext cx, const char *tag);

/* Whom rules range over. */
extern Rbuf *mcdp_source_universe(MemoryContext cx, const char *kind, TimestampTz at);

/* Is this one profile in the universe of its own kind? */
extern bool mcdp_source_in_universe(int64 id, TimestampTz at);

extern bool mcdp_source_has_tag(int64 id, const char *tag);

/* False when there is none; text is allocated in that context. */
extern bool mcdp_source_trait(MemoryContext cx, int64 id, const char *name,
							  CriteriaConst *out);

/* NULL when the profile has no events. */
extern Timeline *mcdp_source_timeline(MemoryContext cx, int64 id);

/*
 * Traits of many profiles: "take" is called once for each of the n profiles
 * that has the trait, in ascending order.  The value lives during the call.
 */
typedef void (*SourceTakeTrait) (void *arg, uint64 id, const CriteriaConst *value);
extern void mcdp_source_traits(const int64 *ids, int n, const char *name,
							   SourceTakeTrait take, void *arg);

/* The same for every leaf profile, in any order, leaves told apart. */
extern void mcdp_source_all_traits(const char *name, SourceTakeTrait take, void *arg);

/*
 * Histories, as rows (profile_id, timeline).  Nearly everybody's is stored as
 * one row, his sole part; split ones (several parts or leaves, or events still
 * to be folded) have to be put together.  bitmap_type is the type's oid.
 */
extern Rbuf *mcdp_source_split_histories(MemoryContext cx);
extern Portal mcdp_source_timelines(Rbuf *candidates, Oid bitmap_type);

/*
 * Sole parts of these candidates, or with NULL of everybody: the caller skips
 * those of split histories.
 */
extern Portal mcdp_source_sole_timelines(Rbuf *candidates, Oid bitmap_type);

/* ---- audience.c ---- */

/*
 * The candidates that satisfy the rule, as a set of context cx.  The rule must
 * be one that evaluation knows, without free [$].
 */
extern Rbuf *mcdp_audience(MemoryContext cx, const CriteriaNode *rule,
						   const Rbuf *candidates, TimestampTz at,
						   Oid bitmap_type);

/* The same when the candidates are some of so many profiles. */
extern Rbuf *mcdp_audience_among(MemoryContext cx, const CriteriaNode *rule,
								 const Rbuf *candidates, uint64 universe,
								 TimestampTz at, Oid bitmap_type);

/* ---- audience_point.c ---- */

/* Does one canonical profile satisfy the rule?  label is [$], or NULL. */
extern bool mcdp_audience_matches(MemoryContext cx, const CriteriaNode *rule,
								  int64 id, TimestampTz at, const char *label);

#endif							/* MCDP_AUDIENCE_H */
