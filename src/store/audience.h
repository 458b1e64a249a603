/*-------------------------------------------------------------------------
 *
 * audience.h
 *	  Who satisfies a rule: set-wise for all profiles, point-wise for one.
 *
 *		audience_source.c	tags, traits, timelines, the universe, by SPI
 *		audience_lookup.c	label sets, priors, rows of events
 *		audience_event.c	conditions on properties, from the events' rows
 *		audience_plan.c		plans, for both ways of asking
 *		audience.c			evaluation of a rule for a set of profiles: sets …
 *		audience_history.c	… and histories
 *		audience_direct.c	the same for few, without a query
 *		audience_property.c	the same with properties of events
 *		audience_probe_fn.c what is called for each history, maybe by workers
 *		audience_point.c	evaluation of a rule for one profile
 *		audience_estimate.c what a plan is going to cost
 *		audience_fn.c		SQL-callable functions about sets …
 *		audience_match_fn.c … and about one profile
 *		audience_support_fn.c	what the planner is told about matches()
 *		audience_next_fn.c	when time alone changes who satisfies a rule
 *
 * Words: candidates are the canonical profiles that are still in question;
 * a history is a profile's timeline.
 *
 * The functions here expect an open SPI connection.  They read with the
 * snapshot that is active when they are called, so however many queries an
 * evaluation takes, it sees one state of the tables.  Like all SPI calls they
 * may leave the context of the connection behind as the current one.
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
#include "utils/jsonb.h"

#include "core/rbuf.h"
#include "store/audience_plan.h"
#include "types/criteria.h"
#include "types/expected_gap.h"
#include "types/timeline_datum.h"

/* Canonical profiles that may have more than one leaf (30_tag.sql). */
#define AUDIENCE_MERGED_TAG		"\001merged"

/* ---- audience_source.c, audience_lookup.c ---- */

/* The members of a tag as of "at", as far as its history is kept; in a set of that context. */
extern Rbuf *mcdp_source_tagged(MemoryContext cx, const char *tag, TimestampTz at);

/* Whom rules range over. */
extern Rbuf *mcdp_source_universe(MemoryContext cx, const char *kind, TimestampTz at);

/* The kinds of profiles there are, as strings in that context. */
extern List *mcdp_source_kinds(MemoryContext cx);

/* Is this one profile in the universe of its own kind? */
extern bool mcdp_source_in_universe(int64 id, TimestampTz at);

extern bool mcdp_source_has_tag(int64 id, const char *tag, TimestampTz at);

extern bool mcdp_source_in_label_set(const char *set, const char *label, int len);
extern void mcdp_source_prior(const char *event, const char *label, McdpPriorGap *out);

/*
 * The first instant after "at" at which something outside of its history
 * changes for a profile: it enters the universe, or a tag's change is dated
 * then.  PG_INT64_MAX = never.
 */
extern TimestampTz mcdp_source_next_change(int64 id, const CriteriaNode *rule, TimestampTz at);

/*
 * The label sets and priors that a rule needs, as JSON: {"label_sets": {set:
 * {label: true}}, "priors": {event: {label or "": [microseconds, weight]}}}.
 */
extern Datum mcdp_source_lookups(const CriteriaNode *rule);

/* False when there is none; text is allocated in that context. */
extern bool mcdp_source_trait(MemoryContext cx, int64 id, const char *name,
							  CriteriaConst *out);

/* Add all leaves of these canonical profiles to a set. */
extern void mcdp_source_leaves(const int64 *ids, int n, Rbuf *result);

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
 * The timeline entries with these names (text[]) of these profiles' stored
 * events in [since, until], with their properties: by profile, and then in the
 * order of timelines; without those that satisfy no condition of the rule (its
 * text) at "until".  Leaves the rows in SPI_tuptable and returns how many.
 */
extern uint64 mcdp_source_event_entries(const int64 *ids, int n, Datum names, TimestampTz since,
										TimestampTz until, Datum rule);

/* The same of all profiles, as a cursor. */
extern Portal mcdp_source_all_event_entries(Datum names, TimestampTz since, TimestampTz until, Datum rule);

/* How many events there are in the months of that time, about. */
extern double mcdp_source_events(TimestampTz since, TimestampTz until);

/*
 * Nearly everybody's history is stored as one row, his sole part; split ones
 * (several parts or leaves, or events still to be folded) have to be put
 * together.
 */
extern Rbuf *mcdp_source_split_histories(MemoryContext cx);

/* How many rows of histories there are, about; "profiles" when nobody has counted. */
extern double mcdp_source_histories(double profiles);

/* ---- audience_event.c ---- */

/* The conditions on properties in a rule; NULL when there are none. */
typedef struct EventConditions EventConditions;
extern EventConditions *mcdp_conditions_make(MemoryContext cx, const CriteriaNode *rule, TimestampTz at);

/* Read the rows of these profiles' events that some condition is about. */
extern void mcdp_conditions_fetch(EventConditions *c, const int64 *ids, int n);

/*
 * Or those of all profiles, ascending by profile, from a cursor: as many as "use"
 * is told to of a fetch serve for the profiles that they are of.
 */
extern Portal mcdp_conditions_open_all(const EventConditions *c);
extern void mcdp_conditions_use(EventConditions *c, SPITupleTable *rows, uint64 nrows);
extern int64 mcdp_conditions_profile(const SPITupleTable *rows, uint64 row);

/* How many events such a cursor has to look through, about. */
extern double mcdp_conditions_events(const EventConditions *c);

/* Find them in the timeline of one of them; the answers live until the next one. */
extern void mcdp_conditions_mark(EventConditions *c, int64 id, const TimelineView *v);

/* Does an event with these properties satisfy all conditions of "ev"? */
extern bool mcdp_conditions_hold(const CriteriaEvent *event, Jsonb *properties, TimestampTz at);

/* As CriteriaEnv.conditions says. */
extern const uint8 *mcdp_conditions_of(const EventConditions *c, const CriteriaEvent *event);

/* ---- audience.c ---- */

/*
 * The candidates that satisfy the rule, as a set of context cx.  The rule must
 * be without free [$].  bitmap_type is the type's oid.
 */
extern Rbuf *mcdp_audience(MemoryContext cx, CriteriaNode *rule,
						   const Rbuf *candidates, TimestampTz at,
						   Oid bitmap_type);

/* When to look at profiles again if nothing happens; in any order. */
typedef struct AudienceDue
{
	TimestampTz at;
	int64		id;
} AudienceDue;

typedef struct AudienceDues
{
	MemoryContext cx;
	AudienceDue *due;
	int64		n;
	int64		space;
} AudienceDues;

/*
 * The same when the candidates are some of so many profiles.  If dues is not
 * NULL, it also says when to look at those whose histories were asked again.
 */
extern Rbuf *mcdp_audience_among(MemoryContext cx, CriteriaNode *rule,
								 const Rbuf *candidates, uint64 universe,
								 TimestampTz at, Oid bitmap_type, AudienceDues *dues);

#define AUDIENCE_DIRECT				5000	/* histories, so many are read one
											 * by one */

#define AUDIENCE_SLICES_FROM		32	/* candidates, fewer are looked up */
#define AUDIENCE_MANY_CANDIDATES	20000	/* from here on, scan a whole
											 * trait */
#define AUDIENCE_SCAN_SHARE			0.06	/* of all histories: read all in one scan */

/* ---- audience_fn.c ---- */

/* Raises an error if there is a free [$]. */
extern void mcdp_audience_check_rule(const CriteriaNode *rule);

/* Everybody of any kind who satisfies a rule.  Connects to SPI itself. */
extern Rbuf *mcdp_audience_of_all_kinds(MemoryContext cx, CriteriaNode *rule, TimestampTz at);

/* ---- audience_history.c, for audience.c ---- */

typedef struct AudienceTag
{
	const char *name;
	Rbuf	   *members;
	struct AudienceTag *next;
} AudienceTag;

typedef struct AudienceRun
{
	MemoryContext cx;			/* of this evaluation */
	Oid			bitmap_type;
	CriteriaNode *rule;
	uint64		universe;		/* how many profiles there are, candidates or
								 * not */
	TimestampTz at;
	AudiencePlan *plan;
	Rbuf	  **sets;			/* see audience_plan.h; NULL = not yet */
	AudienceTag *tags;
	AudienceDues *dues;			/* or NULL */
} AudienceRun;

/*
 * Decides those of sets[0] who have a history: puts them into "seen", and into
 * "result" if the rule holds.
 */
extern void mcdp_audience_histories(AudienceRun *run, Rbuf *result, Rbuf *seen);

/*
 * ---- audience_direct.c ----
 *
 * The same, and unknown gets those of whom the answer depends on properties;
 * those of them of whom the rule holds if no property satisfies anything get
 * into else_yes as well.  lookups: see mcdp_source_lookups.
 */
extern void mcdp_audience_direct(AudienceRun *run, Datum lookups, Rbuf *result, Rbuf *seen,
								 Rbuf *unknown, Rbuf *else_yes);

/* Each one's history, in any order, one after the other; the datum lives during the call. */
typedef void (*TakeHistory) (void *arg, int64 id, Datum timeline);
extern void mcdp_histories_direct(MemoryContext cx, Oid bitmap_type, const Rbuf *ids, TakeHistory take, void *arg);

/* ---- audience_property.c ---- */

/* Who of those of whom the answer depends on properties satisfies the rule; "unknown" is used up. */
extern void mcdp_audience_properties(AudienceRun *run, Datum lookups, Rbuf *unknown, Rbuf *else_yes, Rbuf *result);

/* ---- audience_point.c ---- */

/* One canonical profile, of whom things are fetched when they are asked for. */
typedef struct AudiencePoint
{
	MemoryContext cx;
	int64		id;
	CriteriaNode *rule;
	CriteriaEnv env;			/* ready for mcdp_criteria_holds */
	bool		fetched;		/* is env.timeline what it shall be? */
	TimelineView view;
	EventConditions *conditions;
} AudiencePoint;

/* label is [$], or NULL. */
extern AudiencePoint *mcdp_audience_point(MemoryContext cx, CriteriaNode *rule, int64 id,
										  TimestampTz at, const char *label);

/* Before env is asked about histories. */
extern void mcdp_audience_point_history(AudiencePoint *point);

/* Does one canonical profile satisfy the rule?  label is [$], or NULL. */
extern bool mcdp_audience_matches(MemoryContext cx, CriteriaNode *rule,
								  int64 id, TimestampTz at, const char *label);

#endif							/* MCDP_AUDIENCE_H */
