/*-------------------------------------------------------------------------
 *
 * trait_index.h
 *	  Traits that are numbers or dates, as bit slices: questions to sets.
 *
 * trait_index says of which traits slices are kept, trait_slice holds them
 * (core/bit_slice.h), trait_pending names profiles whose number may have
 * changed: those are looked up themselves.  So an answer is exact under the
 * snapshot it is asked with, whatever has been folded.
 *
 *		trait_view.c		a trait opened for questions
 *		trait_ask.c			questions
 *		trait_fold.c		keeping slices: building, folding, dropping
 *		trait_queue_fn.c	triggers that fill trait_pending
 *		trait_index_fn.c	SQL-callable functions
 *
 * Words: the work is a set of those who are asked about, each with a number,
 * chunk by chunk; slices are gone through one after the other, each over all
 * chunks of the work.
 *
 * All functions expect an open SPI connection and read with the active
 * snapshot.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/trait_index.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TRAIT_INDEX_H
#define MCDP_TRAIT_INDEX_H

#include "core/bit_slice.h"
#include "core/rbuf.h"
#include "store/chunk_scan.h"

/*
 * ---- for rules ----
 *
 * Who of the candidates satisfies "trait cmp constants" at this instant, as a
 * set of that context; NULL when slices cannot tell: there are none, or the
 * constants are of another type than the trait.
 */
extern Rbuf *mcdp_trait_range(MemoryContext cx, const char *trait, CriteriaCmp cmp,
							  const CriteriaConst *consts, int num_consts, TimestampTz at,
							  const Rbuf *candidates);

/* ---- trait_text.c: the same when the constants are texts or booleans ---- */

extern Rbuf *mcdp_trait_text(MemoryContext cx, const char *trait, CriteriaCmp cmp,
							 const CriteriaConst *consts, int num_consts, TimestampTz at,
							 const Rbuf *candidates);

/* ---- trait_view.c ---- */

/* A profile that is not to be read from the slices. */
typedef struct TraitOverride
{
	uint64		id;
	SliceNumber number;
	bool		exists;
} TraitOverride;

typedef struct TraitView
{
	MemoryContext cx;
	const char *trait;
	bool		dates;			/* the numbers are microseconds since 2000 */
	SliceForm	form;
	bool		stored;			/* there are slices */
	ChunkReader reader;			/* of them */
	TraitOverride *overrides;	/* ascending */
	uint32		num_overrides;
} TraitView;

/*
 * Opens a trait.  Without slices that can be used, every number is an override
 * (one scan of the trait), unless only slices are wanted: then NULL.
 */
extern TraitView *mcdp_trait_open(MemoryContext cx, const char *trait, bool only_slices);
extern void mcdp_trait_close(TraitView *view);

extern ChunkCursor *mcdp_trait_cursor(TraitView *view, int slice);

/* The number of a value, if it is one of the type; dates may be too fine for a float8. */
extern bool mcdp_trait_number(bool dates, const CriteriaConst *value, double *number, bool *exact);

/* Canonical profiles with several leaves, and all their leaves. */
extern void mcdp_trait_merged(MemoryContext cx, Rbuf **roots, Rbuf **leaves);

/* ---- trait_ask.c ---- */

typedef struct TraitChunk
{
	int64		chunk;
	uint8	   *bits;
} TraitChunk;

typedef struct TraitWork
{
	TraitChunk *chunks;			/* ascending, none is empty */
	uint32		num;
	uint64		count;			/* members */
} TraitWork;

/* Those of an audience (NULL = all) who have a number. */
extern TraitWork *mcdp_trait_work(TraitView *view, const Rbuf *audience);
extern void mcdp_trait_work_free(TraitWork *work);

/* Of some work: who is less than a number, and who equal to it. */
extern void mcdp_trait_compare(TraitView *view, const TraitWork *work, double number,
							   TraitWork **less, TraitWork **equal);

/* The number with so many before it (fewer than there are in the work). */
extern double mcdp_trait_select(TraitView *view, const TraitWork *work, uint64 before);

extern double mcdp_trait_sum_of(TraitView *view, const TraitWork *work);

/* Call take with every member of the work and its number, ascending ids. */
typedef void (*TraitTake) (void *arg, uint64 id, double number);
extern void mcdp_trait_each(TraitView *view, const TraitWork *work, TraitTake take, void *arg);

/* ---- trait_queue_fn.c: needs no SPI ---- */

extern bool mcdp_trait_is_indexed(const char *name, int len);

#endif							/* MCDP_TRAIT_INDEX_H */
