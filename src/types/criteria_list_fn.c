/*-------------------------------------------------------------------------
 *
 * criteria_list_fn.c
 *	  SQL functions: what a rule names.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_list_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "core/mcdp.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp__criteria_tags);
PG_FUNCTION_INFO_V1(mcdp__criteria_traits);
PG_FUNCTION_INFO_V1(mcdp__criteria_events);
PG_FUNCTION_INFO_V1(mcdp__criteria_label_sets);
PG_FUNCTION_INFO_V1(mcdp__criteria_has_free_label);

typedef struct Names
{
	const char **names;
	int			n;
	int			space;
} Names;

static void
add_name(Names *names, const char *name)
{
	if (names->n == names->space)
	{
		names->space = Max(64, 2 * names->space);
		names->names = names->names == NULL ? palloc(names->space * sizeof(char *)) :
			repalloc(names->names, names->space * sizeof(char *));
	}
	names->names[names->n++] = name;
}

static void
add_node(const CriteriaNode *node, void *arg)
{
	add_name(arg, node->name);
}

static void
add_event(const CriteriaEvent *event, const CriteriaNode *node, void *arg)
{
	add_name(arg, event->name == NULL ? "*" : event->name);
}

static void
add_label_set(const CriteriaEvent *event, const CriteriaNode *node, void *arg)
{
	if (event->label_type == CRITERIA_LABEL_SET)
		add_name(arg, event->label);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static Datum
text_array(Names *names)
{
	Datum	   *elems = palloc(names->n * sizeof(Datum));
	int			n = 0;

	if (names->n > 0)
		qsort(names->names, names->n, sizeof(char *), compare_names);
	for (int i = 0; i < names->n; i++)
	{
		if (i == 0 || strcmp(names->names[i - 1], names->names[i]) != 0)
			elems[n++] = CStringGetTextDatum(names->names[i]);
	}
	return PointerGetDatum(construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* _criteria_tags(criteria) */
Datum
mcdp__criteria_tags(PG_FUNCTION_ARGS)
{
	Names		names = {0};

	mcdp_criteria_visit_tags(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)), add_node, &names);
	PG_RETURN_DATUM(text_array(&names));
}

/* _criteria_traits(criteria) */
Datum
mcdp__criteria_traits(PG_FUNCTION_ARGS)
{
	Names		names = {0};

	mcdp_criteria_visit_traits(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)), add_node, &names);
	PG_RETURN_DATUM(text_array(&names));
}

/* _criteria_events(criteria) */
Datum
mcdp__criteria_events(PG_FUNCTION_ARGS)
{
	Names		names = {0};

	mcdp_criteria_visit_events(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)), add_event, &names);
	PG_RETURN_DATUM(text_array(&names));
}

/* _criteria_label_sets(criteria) */
Datum
mcdp__criteria_label_sets(PG_FUNCTION_ARGS)
{
	Names		names = {0};

	mcdp_criteria_visit_events(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)), add_label_set, &names);
	PG_RETURN_DATUM(text_array(&names));
}

/* _criteria_has_free_label(criteria) */
Datum
mcdp__criteria_has_free_label(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mcdp_criteria_has_free_label(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0))));
}
