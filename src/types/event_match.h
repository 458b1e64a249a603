/*-------------------------------------------------------------------------
 *
 * event_match.h
 *	  Funnels and patterns over a history: one definition for timelines and
 *	  for rows.
 *
 * A history is an array of MatchEvents in order of time.  An event is an
 * instant and a set of bits: bit k says that it satisfies step (or condition)
 * k + 1.  An instant is all events of one time: among themselves they have no
 * order, unless a pattern asks for one.
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_match.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_EVENT_MATCH_H
#define MCDP_EVENT_MATCH_H

#include "core/mcdp.h"
#include "datatype/timestamp.h"

#define MATCH_MAX_STEPS		64

typedef struct MatchEvent
{
	int64		at;
	uint64		mask;
} MatchEvent;

/* No instant: earlier than every one. */
#define MATCH_NEVER			PG_INT64_MIN

/* ------------------------------------------------ funnels (event_match.c) */

#define FUNNEL_STRICT_INCREASE			1
#define FUNNEL_STRICT_DEDUPLICATION		2
#define FUNNEL_STRICT_ORDER				4
#define FUNNEL_STRICT_ONCE				8
#define FUNNEL_ALL_MODES				15

/* Reads '' or mode names separated by commas. */
extern bool mcdp_funnel_mode(const char *s, int len, int *mode);

/*
 * How many steps are reached.  In mode FUNNEL_STRICT_ORDER the history must
 * have the events without bits too.
 */
extern int	mcdp_match_funnel(const MatchEvent *events, size_t n, int nsteps,
							  int64 within, int mode);

/*
 * The times of the first chain (lexicographically) of nsteps steps in the
 * default mode; false when there is none.
 */
extern bool mcdp_match_funnel_times(const MatchEvent *events, size_t n, int nsteps,
									int64 within, int64 *times);

/*
 * In which buckets of time there was an event with bit 1, counted from the
 * first one with bit 0 (align_day: from the beginning of its UTC day).  The
 * first is true by definition; without an event with bit 0 none is.
 */
extern void mcdp_match_retention(const MatchEvent *events, size_t n, bool align_day,
								 uint32 buckets, int64 bucket, bool *out);

/*
 * The same with buckets from an instant on, which no event from "first" on
 * precedes.
 */
extern void mcdp_match_returns(const MatchEvent *events, size_t n, size_t first, int64 since,
							   uint32 buckets, int64 bucket, bool *out);

/* Puts events in order of time, those of an instant by their lowest bits. */
extern void mcdp_match_sort(MatchEvent *events, size_t n);

/* ---------------------------------------------- ties (event_match_ties.c) */

/*
 * Which steps the events of one instant can satisfy together when each event
 * satisfies one: a matching, made larger step by step.  Events with the same
 * bits form a class.
 */
typedef struct TieClass
{
	uint64		mask;
	uint32		count;
	uint32		used;
} TieClass;

typedef struct Ties
{
	TieClass   *classes;
	int			nclasses;
	int			capacity;
	uint32	   *flow;			/* [step * nclasses + class]: events of class
								 * used for step */
	size_t		flow_size;
	uint64		steps;			/* those with flow */
	TieClass   *all;			/* of the instant; "classes" are some of them */
	int			nall;
} Ties;

extern void mcdp_ties_init(Ties *ties);
extern void mcdp_ties_free(Ties *ties);
extern void mcdp_ties_gather(Ties *ties, const MatchEvent *events, size_t n, bool keep_empty);

/* Begin a matching with the classes that have one of the bits (all: any). */
extern void mcdp_ties_begin(Ties *ties, uint64 bits, bool all, uint32 at_most);

/* One more unit of a step; false, and nothing changed, when that cannot be. */
extern bool mcdp_ties_add(Ties *ties, int step);

/* -------------- patterns (event_pattern.c reads, event_match_pattern.c runs) */

/* What a bit of an event's mask means in a pattern over timelines. */
typedef struct MatchTest
{
	const char *event;			/* NULL = any */
	int			event_len;
	const char *label;			/* NULL = any */
	int			label_len;
} MatchTest;

typedef struct MatchStep
{
	int			bit;			/* what it needs; -1 = any event (rows only) */
	bool		adjacent;		/* the very next event (rows only) */
	int64		min_gap;		/* since the previous step, inclusive */
	int64		max_gap;
	uint64		forbidden;		/* bits no event in between may have */
} MatchStep;

typedef struct MatchTrailing
{
	int			bit;			/* no such event … */
	int64		gap;			/* … for so long after the last step */
} MatchTrailing;

#define MATCH_NO_GAP		PG_INT64_MAX

typedef struct MatchPattern
{
	int			nsteps;
	MatchStep	steps[MATCH_MAX_STEPS];
	int			ntrailing;
	MatchTrailing trailing[MATCH_MAX_STEPS];
	int			ntests;
	MatchTest	tests[MATCH_MAX_STEPS]; /* timelines only */
} MatchPattern;

typedef struct MatchError
{
	char		detail[160];	/* a sentence */
	size_t		offset;			/* byte at which it was noticed */
	bool		unsupported;	/* a rule of its own, but not here */
} MatchError;

/* "view -> cart ->(2h) !purchase"; names are copied. */
extern bool mcdp_pattern_parse(const char *s, int len, MatchPattern *p, MatchError *err);

/* "(?1).*(?2)(?t<=3600)(?3)" over so many conditions */
extern bool mcdp_row_pattern_parse(const char *s, int len, int nconditions,
								   MatchPattern *p, MatchError *err);

/* All there is, and all lengths of time at the end of a pattern have passed. */
#define MATCH_AT_THE_END	PG_INT64_MAX

/*
 * How many times the pattern is found one after the other, at most "limit".
 * The first is for patterns over timelines, asked at "at": no event is later,
 * and a length at the end of the pattern must have passed by then.  The second
 * is for patterns over rows, where the events of an instant are in the order of
 * mcdp_match_sort.
 */
extern int64 mcdp_match_pattern(const MatchPattern *p, const MatchEvent *events, size_t n,
								int64 at, int64 limit);
extern int64 mcdp_match_row_pattern(const MatchPattern *p, const MatchEvent *events, size_t n,
									int64 limit);

/*
 * Is a pattern over timelines found at all, with at most "within" from its
 * first step to its last (MATCH_NO_GAP = any time)?
 */
extern bool mcdp_match_sequence(const MatchPattern *p, const MatchEvent *events, size_t n,
								int64 at, int64 within);

#endif							/* MCDP_EVENT_MATCH_H */
