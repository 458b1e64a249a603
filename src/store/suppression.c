/*-------------------------------------------------------------------------
 *
 * suppression.c
 *	  Rules that keep profiles out of every audience (37_suppression.sql).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/suppression.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "store/suppression.h"
#include "store/tag_point.h"
#include "types/criteria_datum.h"
#include "types/criteria_parse.h"

/*
 * As text, so that the plans name no type of ours and survive a new CREATE
 * EXTENSION.
 */
#define RULES "SELECT pg_catalog.string_agg('(' || s.criteria::pg_catalog.text || ')', ' | ' ORDER BY s.name)" \
	" FROM cdp.suppression s WHERE s.active AND (s.kind IS NULL OR s.kind = "

typedef struct RuleQuery
{
	const char *text;
	Oid			argtype;
	SPIPlanPtr	plan;
} RuleQuery;

static RuleQuery of_kind = {RULES "$1)", TEXTOID};
static RuleQuery of_profile = {
	RULES "(SELECT p.kind FROM cdp.profile p WHERE p.profile_id = $1))", INT8OID
};

/* The rules as one, opened in the current context; NULL = none. */
static CriteriaNode *
get_rules(RuleQuery *query, Datum arg)
{
	MemoryContext caller = CurrentMemoryContext;
	CriteriaNode *result = NULL;
	Datum		value;
	bool		isnull;

	if (mcdp_table_is_blank("suppression"))
		return NULL;
	if (query->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(query->text, 1, &query->argtype);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_keepplan failed");
		query->plan = plan;
	}
	if (SPI_execute_plan(query->plan, &arg, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	MemoryContextSwitchTo(caller);	/* SPI left it */
	if (!isnull)
	{
		char	   *rules = TextDatumGetCString(value);
		CriteriaError err = {0};

		result = mcdp_criteria_parse(rules, strlen(rules), &err);
		if (result == NULL)
			ereport(ERROR,
					(errcode(err.limit ? ERRCODE_PROGRAM_LIMIT_EXCEEDED : ERRCODE_DATA_CORRUPTED),
					 errmsg("suppression rules cannot be read"),
					 errdetail_internal("%s", err.detail)));
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

static CriteriaNode *
apply(CriteriaNode *rule, CriteriaNode *others)
{
	CriteriaError err = {0};
	CriteriaParser p = {.err = &err};

	if (others == NULL)
		return rule;
	others = mcdp_criteria_make_unary(&p, 0, CRITERIA_NOT, others);
	/* the rule stands on the right: it is not changed there */
	if (others != NULL)
		rule = mcdp_criteria_make_list(&p, 0, CRITERIA_AND, others, rule);
	if (others == NULL || rule == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("rule is too large"),
				 errdetail("With the suppression rules it must be nested at most %d levels deep.", CRITERIA_MAX_DEPTH)));
	return rule;
}

CriteriaNode *
mcdp_suppression_apply(CriteriaNode *rule, const char *kind)
{
	return apply(rule, get_rules(&of_kind, CStringGetTextDatum(kind)));
}

CriteriaNode *
mcdp_suppression_apply_to(CriteriaNode *rule, int64 profile)
{
	return apply(rule, get_rules(&of_profile, Int64GetDatum(profile)));
}
