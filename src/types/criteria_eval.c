/*-------------------------------------------------------------------------
 *
 * criteria_eval.c
 *	  Does a rule hold for one profile at one instant?
 *
 * Logic is two-valued: a comparison with nothing (no such event, no such
 * trait, a value of another type) is false, for != too, and ! is complement.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_eval.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "types/criteria_eval.h"

bool
mcdp_criteria_visit_labels(const CriteriaEvent *event, const CriteriaEnv *env,
						   CriteriaVisitLabel visit, void *arg)
{
	static const CriteriaWindow always = {CRITERIA_ALWAYS};
	CriteriaScan s;
	uint32	   *counts;
	bool		stop = false;

	if (!mcdp_criteria_scan_begin(&s, event, &always, env))
		return false;
	counts = mcdp_criteria_count_labels(&s);
	mcdp_criteria_scan_end(&s);
	if (counts == NULL)
		return false;
	for (uint32 code = 0; code < s.v->label_dict.count && !stop; code++)
	{
		const char *name;
		int			len;

		if (counts[code] == 0)
			continue;
		CHECK_FOR_INTERRUPTS();
		name = mcdp_timeline_label_name(s.v, code, &len);
		stop = visit(arg, pnstrdup(name, len));
	}
	pfree(counts);
	return stop;
}

typedef struct AnyLabel
{
	const CriteriaNode *operand;
	CriteriaEnv *env;
} AnyLabel;

static bool
holds_with_label(void *arg, const char *label)
{
	AnyLabel   *any = arg;
	bool		holds;

	any->env->label = label;
	holds = mcdp_criteria_holds(any->operand, any->env);
	pfree(unconstify(char *, label));
	return holds;
}

/* Does the operand hold with [$] = some label of the matching events? */
static bool
any_label_holds(const CriteriaNode *node, CriteriaEnv *env)
{
	const char *outer = env->label;
	AnyLabel	any = {node->child, env};
	bool		holds = mcdp_criteria_visit_labels(&node->event, env, holds_with_label, &any);

	env->label = outer;
	return holds;
}

bool
mcdp_criteria_holds(const CriteriaNode *node, CriteriaEnv *env)
{
	CriteriaConst value;

	check_stack_depth();
	switch (node->op)
	{
		case CRITERIA_ALL:
			return true;
		case CRITERIA_NONE:
			return false;
		case CRITERIA_TAG:
			return env->has_tag != NULL && env->has_tag(env->arg, node);
		case CRITERIA_AND:
			for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
			{
				if (!mcdp_criteria_holds(child, env))
					return false;
			}
			return true;
		case CRITERIA_OR:
			for (const CriteriaNode *child = node->child; child != NULL; child = child->next)
			{
				if (mcdp_criteria_holds(child, env))
					return true;
			}
			return false;
		case CRITERIA_NOT:
			return !mcdp_criteria_holds(node->child, env);
		case CRITERIA_COMPARE:
			if (node->measure == CRITERIA_TRAIT && env->trait_holds != NULL)
				return env->trait_holds(env->arg, node);
			return mcdp_criteria_value(node, env, &value) &&
				mcdp_criteria_compare(&value, node->cmp, node->consts, node->num_consts, env->at);
		case CRITERIA_SEQ:
			return mcdp_criteria_sequence(node, env);
		case CRITERIA_ANY:
			return any_label_holds(node, env);
	}
	return false;
}
