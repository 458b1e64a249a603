/*-------------------------------------------------------------------------
 *
 * stitch_many.h
 *	  Many calls at once: what their stages share.
 *
 * stitch_many_names.c	the identifiers of all calls, and what is known about them
 * stitch_many_plan.c	what each call changes, worked out in memory
 * stitch_many_held.c	the same around profiles that somebody else holds
 * stitch_many_late.c	what begins earlier than was known
 * stitch_many_write.c	all of it written, in the order of the locks
 *
 * Wording: a name is an identifier of these calls, each once.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/stitch_many.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_STITCH_MANY_H
#define MCDP_STITCH_MANY_H

#include "core/compat.h"
#include "store/merge_plan.h"
#include "store/stitch.h"

typedef struct ManyName
{
	Datum		id;
	bool		linked;			/* was so before */
	bool		claimed;		/* is to be linked now */
	bool		hangs;			/* on a call that is left to _stitch */
	bool		after_foreign;	/* hangs on one that is not for us */
	bool		waits;			/* on a call that is left for later */
	bool		busy;			/* linked before, and somebody else holds its profile */
	bool		involved;		/* linked before, and its profile gets something */
	bool		late;			/* of a profile that is known, and begins earlier than was known: at "at" */
	bool		quarantined;
	int8		blocked;		/* -1: not looked at */
	ItemPointerData link;		/* the row, linked before */
	int64		leaf;
	int64		root;			/* 0: linked before, and not looked up yet */
	ItemPointerData row;		/* of the leaf in table profile, when that was looked up */
	TimestampTz at;
	text	   *kind;			/* of the profile or else the namespace, or NULL */
	text	   *source;
	Datum		peer;			/* of the evidence that is or comes into the link, or 0 */
	text	   *message_id;		/* of what comes into it */
	int32		priority;
	int			profile;		/* in NewProfile[], or -1 */
} ManyName;

/* evidence: names by number, the smaller one first */
typedef struct Evidence
{
	int			a;
	int			b;
	TimestampTz at;
	int			call;
} Evidence;

/* a canonical profile that was there before */
typedef struct ManyRoot
{
	int64		id;
	ItemPointerData row;		/* as of the snapshot, if it is known */
} ManyRoot;

typedef struct Many
{
	Lookup	   *lk;
	ManyCall   *calls;
	ManyName   *name;
	ManyName   *before;			/* as they were looked up, if calls may be left for later */
	int			num_names;
	int		  **names_of;		/* of each call, highest priority first */
	int		   *num_of;
	int		  **given_of;		/* as given, of those that name one of two; else NULL */
	NewProfile *profile;
	int			num_profiles;
	Evidence   *evidence;
	int			num_evidence;
	ManyRoot   *root;			/* those that get something, or are merged */
	int			num_roots;
	int			num_claimed;
	int			num_late;
	MergePlan	merges;
	int			num_later;
	int			num_news;		/* calls that change something */
	bool		left;			/* some call is left to _stitch */
	bool		may_write;
	bool		may_merge;
	bool		waits;			/* else a single message, which waits for nobody */
	bool		locked;			/* the profiles are, and what is known about the names still holds */
} Many;

/* ---- stitch_many_names.c ---- */

/* The distinct identifiers of so many calls, by bytes, and what is known about them. */
extern void mcdp_many_names(Many *m, int num);

/* So many names of a call, as given: each once, highest priority first. */
extern void mcdp_many_order_names(Many *m, int c, int num);

/* ---- stitch_many_plan.c ---- */

/* What do the calls change? */
extern void mcdp_many_plan(Many *m, int num, bool in_order);

/* The new profiles get their ids, once it is certain that they are made. */
extern void mcdp_many_number(Many *m, int num);

/* One that has to be locked; those once more, ascending, each once. */
extern void mcdp_many_add_root(Many *m, const ManyName *name);
extern void mcdp_many_sort_roots(Many *m);

/* ---- stitch_many_held.c ---- */

/*
 * The same, but leaves for later what has to do with profiles that somebody
 * else holds.  Returns whether to wait for them all the same.
 */
extern bool mcdp_many_plan_around(Many *m, int num);

/*
 * Locks the profiles without waiting, if nothing comes before that in the order
 * of locks.  What others were faster with since is left for later, too.
 */
extern void mcdp_many_lock_around(Many *m, int num);

/* ---- stitch_many_late.c ---- */

/* A call at this time names it. */
extern void mcdp_many_begin_earlier(Many *m, ManyName *n, TimestampTz at);

/* Links go with the identifiers in the order of the locks, profiles with the profiles. */
extern void mcdp_many_move_links_back(Many *m);
extern void mcdp_many_move_profiles_back(Many *m);

/* ---- stitch_many_write.c ---- */

/* The calls are planned for what is not so any more. */
pg_noreturn extern void mcdp_many_void(const Many *m);

/* From here on nobody merges or parts it; false if it is no canonical profile any more, or somebody else's and we do not wait. */
extern bool mcdp_many_lock(Many *m, ManyRoot *root, bool wait);

/* Does the name still belong to its profile, which we have locked? */
extern bool mcdp_many_holds(Many *m, ManyName *n, Snapshot now, TupleTableSlot *slot);

/* All of it; CDP02 when another session was first with something, CDP01 when we do not wait for it. */
extern void mcdp_many_write(Many *m, bool wait);

#endif							/* MCDP_STITCH_MANY_H */
