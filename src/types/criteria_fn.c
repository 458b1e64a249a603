/*-------------------------------------------------------------------------
 *
 * criteria_fn.c
 *	  Evaluation of rules on any table: criteria_holds.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/mcdp.h"
#include "types/criteria_datum.h"
#include "types/timeline_datum.h"

/* The symbol mcdp_criteria_holds is the evaluator itself. */
PG_FUNCTION_INFO_V1(mcdp_criteria_holds_fn);

/* The rule of the last call, opened; kept with the call site. */
typedef struct OpenedRule
{
	MemoryContext cx;			/* holds what follows */
	Criteria   *stored;
	CriteriaNode *node;
	bool		needs_tags;
	bool		has_free_label;
} OpenedRule;

static OpenedRule *
open_rule(FunctionCallInfo fcinfo, const Criteria *stored)
{
	OpenedRule *rule = fcinfo->flinfo->fn_extra;
	MemoryContext old;

	if (rule == NULL)
		rule = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
																 sizeof(OpenedRule));
	else if (rule->node != NULL &&
			 VARSIZE_ANY_EXHDR(stored) == VARSIZE_ANY_EXHDR(rule->stored) &&
			 memcmp(VARDATA_ANY(stored), VARDATA_ANY(rule->stored), VARSIZE_ANY_EXHDR(stored)) == 0)
		return rule;

	/* an error below leaves a rule without node, which is opened again */
	rule->node = NULL;
	if (rule->cx == NULL)
		rule->cx = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "opened criteria",
										 ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(rule->cx);
	old = MemoryContextSwitchTo(rule->cx);
	rule->stored = palloc(VARSIZE_ANY(stored));
	memcpy(rule->stored, stored, VARSIZE_ANY(stored));
	rule->node = mcdp_criteria_open(rule->stored);
	MemoryContextSwitchTo(old);

	if (mcdp_criteria_needs_properties(rule->node))
	{
		rule->node = NULL;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("criteria_holds cannot evaluate conditions on properties"),
				 errdetail("Timelines hold no properties.")));
	}
	rule->needs_tags = mcdp_criteria_needs_tags(rule->node);
	rule->has_free_label = mcdp_criteria_has_free_label(rule->node);
	return rule;
}

/* What the profile has beside its timeline. */
typedef struct Profile
{
	Datum	   *tags;
	bool	   *tag_nulls;
	int			num_tags;
	Jsonb	   *traits;			/* an object, or NULL */
	Jsonb	   *label_sets;		/* an object of arrays, or NULL */
} Profile;

bool
mcdp_criteria_from_json(const JsonbValue *value, CriteriaConst *out)
{
	memset(out, 0, sizeof(*out));
	switch (value->type)
	{
		case jbvNull:
			return false;
		case jbvNumeric:
			out->type = CRITERIA_NUMBER;
			out->number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
															 NumericGetDatum(value->val.numeric)));
			return true;
		case jbvString:
			out->type = CRITERIA_TEXT;
			out->text = value->val.string.val;
			out->len = value->val.string.len;
			return true;
		case jbvBool:
			out->type = CRITERIA_BOOLEAN;
			out->boolean = value->val.boolean;
			return true;
		default:
			out->type = CRITERIA_OTHER;
			return true;
	}
}

static bool
has_tag(void *arg, const CriteriaNode *node)
{
	Profile    *profile = arg;
	size_t		len = node->name_len;

	for (int i = 0; i < profile->num_tags; i++)
	{
		text	   *t;

		if (profile->tag_nulls[i])
			continue;
		t = DatumGetTextPP(profile->tags[i]);
		if (VARSIZE_ANY_EXHDR(t) == len && memcmp(VARDATA_ANY(t), node->name, len) == 0)
			return true;
	}
	return false;
}

static bool
trait(void *arg, const CriteriaNode *node, CriteriaConst *out)
{
	Profile    *profile = arg;
	JsonbValue	buffer;
	JsonbValue *value;

	if (profile->traits == NULL)
		return false;
	value = getKeyJsonValueFromContainer(&profile->traits->root, node->name, node->name_len, &buffer);
	if (value == NULL)
		return false;
	return mcdp_criteria_from_json(value, out);
}

static bool
label_set(void *arg, const char *set, const char *label, int len)
{
	Profile    *profile = arg;
	JsonbValue	buffer,
				member;
	JsonbValue *labels;

	if (profile->label_sets == NULL)
		return false;
	labels = getKeyJsonValueFromContainer(&profile->label_sets->root, set, strlen(set), &buffer);
	if (labels == NULL || labels->type != jbvBinary)
		return false;
	member.type = jbvString;
	member.val.string.val = unconstify(char *, label);
	member.val.string.len = len;
	return findJsonbValueFromContainer(labels->val.binary.data, JB_FARRAY, &member) != NULL;
}

static Jsonb *
get_object(FunctionCallInfo fcinfo, int arg, const char *what)
{
	Jsonb	   *object = PG_GETARG_JSONB_P(arg);

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", what)));
	return object;
}

/* criteria_holds(rule, history, at, tags, traits, label, label_sets) */
Datum
mcdp_criteria_holds_fn(PG_FUNCTION_ARGS)
{
	CriteriaEnv env = {.has_tag = has_tag,.trait = trait,.label_set = label_set};
	Profile		profile = {0};
	TimelineView history;
	OpenedRule *rule;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	rule = open_rule(fcinfo, PG_GETARG_CRITERIA_PP(0));
	env.at = PG_GETARG_TIMESTAMPTZ(2);
	env.arg = &profile;
	if (!PG_ARGISNULL(1))
	{
		mcdp_timeline_open(&history, PG_GETARG_TIMELINE_P(1));
		env.timeline = &history;
	}
	if (!PG_ARGISNULL(3) && rule->needs_tags)
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT,
						  &profile.tags, &profile.tag_nulls, &profile.num_tags);
	if (!PG_ARGISNULL(4))
		profile.traits = get_object(fcinfo, 4, "traits");
	if (!PG_ARGISNULL(6))
		profile.label_sets = get_object(fcinfo, 6, "label_sets");
	if (!PG_ARGISNULL(5))
		env.label = text_to_cstring(PG_GETARG_TEXT_PP(5));
	else if (rule->has_free_label)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no label is bound to [$]"),
				 errhint("Use [$] inside any(...), or give a label.")));

	PG_RETURN_BOOL(mcdp_criteria_holds(rule->node, &env));
}
