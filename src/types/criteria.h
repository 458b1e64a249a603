/*-------------------------------------------------------------------------
 *
 * criteria.h
 *	  The rule language: parsed rules, their stored form, point evaluation.
 *
 *		criteria_gram.y, criteria_scan.l	text -> tree
 *		criteria_parse.c	entry point of the parser, makers of nodes
 *		criteria_letter.c	which characters a name may have without quotes
 *		criteria_print.c	tree -> canonical text
 *		criteria_store.c	tree <-> stored bytes
 *		criteria_walk.c		what a rule needs: tags, traits, events, a label
 *		criteria_eval.c		does a rule hold for one profile at one instant, and
 *							the files listed in criteria_eval.h
 *		criteria_io.c, criteria_op.c, criteria_fn.c		SQL-callable functions
 *
 * Words: a rule is a tree of nodes; a term is a node that asks something (a
 * tag, a comparison, a sequence); a measure is what a comparison computes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TYPES_CRITERIA_H
#define MCDP_TYPES_CRITERIA_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

/* Stored form: a varlena; its bytes are described in criteria_store.c. */
typedef struct varlena Criteria;

#define CRITERIA_MAX_LENGTH		(1024 * 1024)	/* bytes of a rule's text */
#define CRITERIA_MAX_DEPTH		5000	/* nested parentheses, !, any() */
#define CRITERIA_MAX_STEPS		64	/* of a sequence */

/* These numbers are part of the stored form: never renumber. */
typedef enum CriteriaOp
{
	CRITERIA_ALL = 1,
	CRITERIA_NONE = 2,
	CRITERIA_TAG = 3,
	CRITERIA_AND = 4,			/* two or more operands */
	CRITERIA_OR = 5,			/* two or more operands */
	CRITERIA_NOT = 6,			/* one operand */
	CRITERIA_COMPARE = 7,
	CRITERIA_SEQ = 8,
	CRITERIA_ANY = 9			/* any(ev: operand) */
} CriteriaOp;

typedef enum CriteriaMeasure
{
	CRITERIA_TRAIT = 1,
	CRITERIA_COUNT = 2,
	CRITERIA_SUM = 3,
	CRITERIA_AVG = 4,
	CRITERIA_MIN = 5,
	CRITERIA_MAX = 6,
	CRITERIA_DAYS = 7,
	CRITERIA_LABELS = 8,
	CRITERIA_FIRST = 9,			/* how long ago */
	CRITERIA_LAST = 10,			/* how long ago */
	CRITERIA_DUE = 11,
	CRITERIA_FIRST_LABEL = 12,
	CRITERIA_LAST_LABEL = 13,
	CRITERIA_TOP_LABEL = 14
} CriteriaMeasure;

typedef enum CriteriaCmp
{
	CRITERIA_EQ = 1,
	CRITERIA_NE = 2,
	CRITERIA_LT = 3,
	CRITERIA_LE = 4,
	CRITERIA_GT = 5,
	CRITERIA_GE = 6,
	CRITERIA_IN = 7,			/* one or more constants */
	CRITERIA_BETWEEN = 8		/* two constants, both included */
} CriteriaCmp;

typedef enum CriteriaConstType
{
	CRITERIA_OTHER = 0,			/* a trait that no constant equals (array …) */
	CRITERIA_NUMBER = 1,
	CRITERIA_LENGTH = 2,		/* a duration, microseconds */
	CRITERIA_TEXT = 3,
	CRITERIA_DATE = 4,			/* the instant 00:00 UTC of that day */
	CRITERIA_BOOLEAN = 5
} CriteriaConstType;

typedef struct CriteriaConst
{
	CriteriaConstType type;
	double		number;
	int64		length;			/* microseconds */
	TimestampTz date;
	bool		boolean;
	const char *text;			/* ends with a NUL byte … */
	int			len;			/* … that is not counted */
} CriteriaConst;

typedef enum CriteriaWindowType
{
	CRITERIA_ALWAYS = 0,		/* no window given: event.at <= at */
	CRITERIA_WITHIN = 1,		/* 30d: at - older < event.at <= at */
	CRITERIA_AGO = 2,			/* 60d..30d: at - older <= event.at < at -
								 * newer */
	CRITERIA_DATES = 3			/* since <= event.at < until, cut at "at" */
} CriteriaWindowType;

typedef struct CriteriaWindow
{
	CriteriaWindowType type;
	int64		older;			/* WITHIN, AGO: microseconds */
	int64		newer;			/* AGO: microseconds */
	TimestampTz since;			/* DATES */
	TimestampTz until;
} CriteriaWindow;

typedef enum CriteriaLabelType
{
	CRITERIA_ANY_LABEL = 0,		/* view */
	CRITERIA_LABEL = 1,			/* view[shoes] */
	CRITERIA_BOUND_LABEL = 2,	/* view[$] */
	CRITERIA_LABEL_SET = 3		/* view[@diapers] */
} CriteriaLabelType;

/* key op const, between { and } */
typedef struct CriteriaCondition
{
	const char *key;
	int			key_len;
	CriteriaCmp cmp;
	int			num_consts;
	CriteriaConst *consts;
	struct CriteriaCondition *next;
} CriteriaCondition;

typedef struct CriteriaEvent
{
	const char *name;			/* NULL = *, every event */
	int			name_len;
	CriteriaLabelType label_type;
	const char *label;			/* the label, or the name of the label set */
	int			label_len;
	CriteriaCondition *conditions;
} CriteriaEvent;

/* One step of a sequence. */
typedef struct CriteriaStep
{
	bool		negated;		/* !x */
	bool		has_gap;		/* ->(7d) before this step */
	int64		gap;			/* microseconds */
	CriteriaEvent event;
	struct CriteriaStep *next;

	/* while it is read */
	int			number;			/* from 1 */
	bool		ends;			/* no step that happens may follow */
} CriteriaStep;

typedef struct CriteriaNode
{
	CriteriaOp	op;
	struct CriteriaNode *child; /* first operand of AND, OR, NOT, ANY */
	struct CriteriaNode *last_child;
	struct CriteriaNode *next;	/* next operand of the same parent */
	int			num_children;
	int			depth;			/* of the tree below, at least 1 */

	const char *name;			/* TAG: the whole tag ("city:shanghai");
								 * COMPARE of a TRAIT: its name */
	int			name_len;

	CriteriaMeasure measure;	/* COMPARE */
	CriteriaCmp cmp;
	int			num_consts;
	CriteriaConst *consts;
	CriteriaEvent event;		/* COMPARE of any other measure; ANY */
	CriteriaWindow window;		/* the same; SEQ */
	CriteriaStep *steps;		/* SEQ */

	int			set;			/* for the evaluation of sets,
								 * store/audience_plan.h */
} CriteriaNode;

/* Why a text is no rule. */
typedef struct CriteriaError
{
	char		detail[256];	/* a sentence, with the character's number */
	size_t		offset;			/* byte in the text */
	bool		limit;			/* too long or nested too deeply */
} CriteriaError;

/* ---- text and stored form ---- */

/*
 * Parse.  Returns a tree in CurrentMemoryContext, or NULL and fills err.
 * Raises nothing itself (palloc may).  text need not end with a NUL byte.
 */
extern CriteriaNode *mcdp_criteria_parse(const char *text, size_t len, CriteriaError *err);

/* Canonical text of a rule or of a part of it; and of a value. */
extern char *mcdp_criteria_print(const CriteriaNode *node);
extern const char *mcdp_criteria_measure_name(CriteriaMeasure measure); /* "count" */
extern void mcdp_criteria_print_const(StringInfo out, const CriteriaConst *value);

/* Stored form of a tree, and back (CurrentMemoryContext; nothing points into the argument). */
extern Criteria *mcdp_criteria_store(const CriteriaNode *node);
extern CriteriaNode *mcdp_criteria_open(const Criteria *stored);

/* ---- what a subtree needs ---- */

extern bool mcdp_criteria_needs_timeline(const CriteriaNode *node);
extern bool mcdp_criteria_needs_tags(const CriteriaNode *node);

/* Some [$] that no any() binds: evaluation needs env->label. */
extern bool mcdp_criteria_has_free_label(const CriteriaNode *node);

/* Conditions on properties. */
extern bool mcdp_criteria_needs_properties(const CriteriaNode *node);

/* Call visit for each TAG node, or each COMPARE of a TRAIT, from left to right. */
typedef void (*CriteriaVisit) (const CriteriaNode *node, void *arg);
extern void mcdp_criteria_visit_tags(const CriteriaNode *node, CriteriaVisit visit, void *arg);
extern void mcdp_criteria_visit_traits(const CriteriaNode *node, CriteriaVisit visit, void *arg);

/* Call visit for each event of a measure, an any() or a step, with its window. */
typedef void (*CriteriaVisitEvent) (const CriteriaEvent *event, const CriteriaNode *node, void *arg);
extern void mcdp_criteria_visit_events(const CriteriaNode *node, CriteriaVisitEvent visit, void *arg);

/* ---- point evaluation ---- */

struct TimelineView;
struct McdpPriorGap;

/* Callbacks that are NULL know nothing: no tag, no trait, an empty set, no prior. */
typedef struct CriteriaEnv
{
	TimestampTz at;
	const struct TimelineView *timeline;	/* NULL = no events */
	const char *label;			/* [$], NULL = not bound */

	bool		(*has_tag) (void *arg, const CriteriaNode *node);

	/*
	 * False = no such trait; a JSON number, string, boolean → the type of
	 * that name, anything else OTHER.
	 */
	bool		(*trait) (void *arg, const CriteriaNode *node, CriteriaConst *out);

	/* Instead, for callers that know the answer: does this comparison hold? */
	bool		(*trait_holds) (void *arg, const CriteriaNode *node);

	/* Is the label in the label set? */
	bool		(*label_set) (void *arg, const char *set, const char *label, int len);

	/*
	 * A byte per event of the timeline, 0 for those of this name whose
	 * properties do not satisfy its conditions; NULL = none does.  Without
	 * the callback, conditions raise feature_not_supported.
	 */
	const uint8 *(*conditions) (void *arg, const CriteriaEvent *event);

	/*
	 * Prior of due(event), due(event[label]), due(event[@set]) as "@set";
	 * *out says "none" before.
	 */
	void		(*prior) (void *arg, const char *event, const char *label, struct McdpPriorGap *out);
	void	   *arg;
} CriteriaEnv;

/* Two-valued, exactly the semantics of the language.  env is unchanged afterwards. */
extern bool mcdp_criteria_holds(const CriteriaNode *node, CriteriaEnv *env);

/*
 * Call visit for each distinct label of the events up to env->at, in bytewise
 * order, until it returns true; and so does this then.  The label is visit's.
 */
typedef bool (*CriteriaVisitLabel) (void *arg, const char *label);
extern bool mcdp_criteria_visit_labels(const CriteriaEvent *event, const CriteriaEnv *env,
									   CriteriaVisitLabel visit, void *arg);

/* The value a COMPARE node compares; false = nothing (no such event, no such trait). */
extern bool mcdp_criteria_value(const CriteriaNode *node, CriteriaEnv *env, CriteriaConst *out);

/*
 * Does a value satisfy "cmp consts" at this instant?  A value of another type
 * than the constant does not, whatever cmp is.
 */
extern bool mcdp_criteria_compare(const CriteriaConst *value, CriteriaCmp cmp,
								  const CriteriaConst *consts, int num_consts, TimestampTz at);

/*
 * The first instant after env->at at which the rule may hold or not hold
 * other than before if nothing happens: never too late, maybe too early.
 * PG_INT64_MAX = never.  Of env the traits, the label and the priors are used.
 */
extern TimestampTz mcdp_criteria_next_change(const CriteriaNode *node, CriteriaEnv *env);

#endif							/* MCDP_TYPES_CRITERIA_H */
