/*-------------------------------------------------------------------------
 *
 * audience_explain_fn.c
 *	  SQL-callable functions: audience_explain, explain_match,
 *	  matching_labels.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_explain_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "store/audience_estimate.h"
#include "store/statement.h"
#include "store/suppression.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp_audience_explain);
PG_FUNCTION_INFO_V1(mcdp__explain_match);
PG_FUNCTION_INFO_V1(mcdp__matching_labels);

/* audience_explain(criteria, at, kind): of what is evaluated, with the rules of suppression. */
Datum
mcdp_audience_explain(PG_FUNCTION_ARGS)
{
	CriteriaNode *rule = mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0));
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(2));
	MemoryContext cx = CurrentMemoryContext;
	AudienceEstimate estimate;
	StringInfoData out;

	mcdp_audience_check_rule(rule);
	mcdp_spi_connect();
	MemoryContextSwitchTo(cx);
	rule = mcdp_suppression_apply(rule, kind);
	mcdp_spi_finish();
	initStringInfo(&out);
	mcdp_audience_estimate(mcdp_plan_make(rule), kind, &estimate, &out);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* ---- one profile ---- */

static AudiencePoint *
open_point(FunctionCallInfo fcinfo, MemoryContext cx, const char *label)
{
	CriteriaNode *rule = mcdp_criteria_open(PG_GETARG_CRITERIA_PP(1));

	return mcdp_audience_point(cx, rule, PG_GETARG_INT64(0), PG_GETARG_TIMESTAMPTZ(2), label);
}

static bool
list_label(void *arg, const char *label)
{
	List	  **labels = arg;

	*labels = lappend(*labels, unconstify(char *, label));
	return false;
}

/*
 * The labels of the profile's events, "event" if that is not NULL, with which a
 * rule holds; in bytewise order.
 */
static List *
labels_that_hold(AudiencePoint *point, const CriteriaEvent *event, const CriteriaNode *rule)
{
	static const CriteriaEvent every = {0};
	const char *outer = point->env.label;
	List	   *labels = NIL;
	List	   *result = NIL;
	ListCell   *lc;

	(void) mcdp_criteria_visit_labels(event != NULL ? event : &every, &point->env, list_label, &labels);
	foreach(lc, labels)
	{
		CHECK_FOR_INTERRUPTS();
		point->env.label = lfirst(lc);
		if (mcdp_criteria_holds(rule, &point->env))
			result = lappend(result, lfirst(lc));
	}
	point->env.label = outer;
	return result;
}

static Datum
label_array(List *labels)
{
	Datum	   *elems = palloc((list_length(labels) + 1) * sizeof(Datum));
	ListCell   *lc;
	int			n = 0;

	foreach(lc, labels)
		elems[n++] = CStringGetTextDatum(lfirst(lc));
	return PointerGetDatum(construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* ---- explain_match ---- */

typedef struct ExplainedTerm
{
	const char *term;
	const char *value;			/* or NULL */
	bool		holds;
	int			depth;
} ExplainedTerm;

static char *
value_text(const CriteriaNode *node, CriteriaEnv *env)
{
	CriteriaConst value;
	StringInfoData out;

	if (node->op != CRITERIA_COMPARE || !mcdp_criteria_value(node, env, &value))
		return NULL;
	if (value.type == CRITERIA_OTHER)
		return pstrdup("no number, text or truth value");
	initStringInfo(&out);
	mcdp_criteria_print_const(&out, &value);
	return out.data;
}

/*
 * A rule, then its operands; composed ones are named by their operator.  Each
 * term is asked once.  Returns whether the rule holds.
 */
static bool
explain(AudiencePoint *point, const CriteriaNode *node, int depth, List **terms)
{
	ExplainedTerm *term = palloc0(sizeof(ExplainedTerm));

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	*terms = lappend(*terms, term);
	term->depth = depth;
	switch (node->op)
	{
		case CRITERIA_AND:
		case CRITERIA_OR:
			term->term = node->op == CRITERIA_AND ? "&" : "|";
			term->holds = node->op == CRITERIA_AND;
			for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
			{
				if (explain(point, child, depth + 1, terms) != (node->op == CRITERIA_AND))
					term->holds = node->op != CRITERIA_AND;
			}
			break;
		case CRITERIA_NOT:
			term->term = "!";
			term->holds = !explain(point, node->child, depth + 1, terms);
			break;
		case CRITERIA_ANY:
			{
				List	   *labels = labels_that_hold(point, &node->event, node->child);
				const char *outer = point->env.label;

				term->term = mcdp_criteria_print(node);
				term->holds = labels != NIL;
				if (labels == NIL)
					break;
				term->value = OidOutputFunctionCall(F_ARRAY_OUT, label_array(labels));
				point->env.label = linitial(labels);
				(void) explain(point, node->child, depth + 1, terms);
				point->env.label = outer;
				break;
			}
		default:
			term->term = mcdp_criteria_print(node);
			term->value = value_text(node, &point->env);
			term->holds = mcdp_criteria_holds(node, &point->env);
			break;
	}
	return term->holds;
}

/* _explain_match(profile, rule, at, outside): why the profile is in no audience, or NULL */
Datum
mcdp__explain_match(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext cx;
	MemoryContext old;
	AudiencePoint *point;
	ExplainedTerm *whole;
	List	   *terms = NIL;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	cx = AllocSetContextCreate(CurrentMemoryContext, "explain_match", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cx);
	point = open_point(fcinfo, cx, NULL);
	mcdp_audience_check_rule(point->rule);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (!PG_ARGISNULL(3))
	{
		terms = list_make1(palloc0(sizeof(ExplainedTerm)));
		((ExplainedTerm *) linitial(terms))->value = text_to_cstring(PG_GETARG_TEXT_PP(3));
	}
	else
	{
		mcdp_audience_point_history(point);
		(void) explain(point, point->rule, 0, &terms);
	}
	whole = linitial(terms);
	whole->term = mcdp_criteria_print(point->rule);
	foreach(lc, terms)
	{
		ExplainedTerm *term = lfirst(lc);
		Datum		values[4] = {CStringGetTextDatum(term->term)};
		bool		nulls[4] = {false};

		nulls[1] = term->value == NULL;
		if (term->value != NULL)
			values[1] = CStringGetTextDatum(term->value);
		values[2] = BoolGetDatum(term->holds);
		values[3] = Int32GetDatum(term->depth);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	if (SPI_finish() != SPI_OK_FINISH)	/* takes the terms along */
		elog(ERROR, "SPI_finish failed");
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cx);
	return (Datum) 0;
}

/* ---- matching_labels ---- */

/* The labels that each any() of a rule holds for, those inside others left out. */
static List *
labels_of_any(AudiencePoint *point, const CriteriaNode *node, List *labels)
{
	check_stack_depth();
	if (node->op == CRITERIA_ANY)
		return list_concat(labels, labels_that_hold(point, &node->event, node->child));
	for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
		labels = labels_of_any(point, child, labels);
	return labels;
}

static int
compare_labels(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* _matching_labels(profile, rule, at): the profile is in the universe */
Datum
mcdp__matching_labels(PG_FUNCTION_ARGS)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "matching_labels",
											 ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	AudiencePoint *point = open_point(fcinfo, cx, NULL);
	List	   *labels = NIL;
	List	   *distinct = NIL;
	ListCell   *lc;
	Datum		result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	mcdp_audience_point_history(point);
	if (mcdp_criteria_has_free_label(point->rule))
		distinct = labels_that_hold(point, NULL, point->rule);
	else if (mcdp_criteria_holds(point->rule, &point->env))
	{
		labels = labels_of_any(point, point->rule, NIL);
		list_sort(labels, compare_labels);
		foreach(lc, labels)
		{
			if (distinct == NIL || strcmp(llast(distinct), lfirst(lc)) != 0)
				distinct = lappend(distinct, lfirst(lc));
		}
	}
	MemoryContextSwitchTo(caller);
	result = label_array(distinct);
	if (SPI_finish() != SPI_OK_FINISH)	/* takes the labels along */
		elog(ERROR, "SPI_finish failed");
	MemoryContextDelete(cx);
	PG_RETURN_DATUM(result);
}
