/*-------------------------------------------------------------------------
 *
 * repurchase_fn.c
 *	  SQL functions of the repurchase clock: the gaps between the orders of a
 *	  timeline, as a whole, of each label and of each set of labels.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/repurchase_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "core/length.h"
#include "types/expected_gap.h"
#include "types/timeline_datum.h"

PG_FUNCTION_INFO_V1(mcdp__repurchase_gaps);
PG_FUNCTION_INFO_V1(mcdp__shrink_gap);
PG_FUNCTION_INFO_V1(mcdp__labels_of);

/* Groups: 0 is the whole, then one for each label of the dictionary, then one for each set. */
typedef struct RepurchaseState
{
	TimelineView v;
	int			nsets;
	text	  **sets;			/* their names */
	McdpGaps   *groups;
	uint32		ngroups;
	uint32		next;			/* group to return */
} RepurchaseState;

/* A set that a label is in, in a list for each label. */
typedef struct SetOfLabel
{
	int			set;
	struct SetOfLabel *next;
} SetOfLabel;

/* The two arrays run in parallel: a label, and a set it is in. */
static SetOfLabel **
read_sets(RepurchaseState *state, ArrayType *labels, ArrayType *sets)
{
	SetOfLabel **of_label = palloc0(sizeof(SetOfLabel *) * ((Size) state->v.label_dict.count + 1));
	Datum	   *label,
			   *set;
	bool	   *label_null,
			   *set_null;
	int			nlabels,
				nsets;

	deconstruct_array(labels, TEXTOID, -1, false, TYPALIGN_INT, &label, &label_null, &nlabels);
	deconstruct_array(sets, TEXTOID, -1, false, TYPALIGN_INT, &set, &set_null, &nsets);
	if (nlabels != nsets)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("labels and sets must be equally many")));
	state->sets = palloc(sizeof(text *) * ((Size) nsets + 1));
	for (int i = 0; i < nsets; i++)
	{
		text	   *name;
		int			code;
		SetOfLabel *entry;

		if (label_null[i] || set_null[i])
			continue;
		name = DatumGetTextPP(set[i]);
		if (state->nsets == 0 ||
			VARSIZE_ANY(state->sets[state->nsets - 1]) != VARSIZE_ANY(name) ||
			memcmp(state->sets[state->nsets - 1], name, VARSIZE_ANY(name)) != 0)
			state->sets[state->nsets++] = name;
		name = DatumGetTextPP(label[i]);
		code = mcdp_timeline_find_label(&state->v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		if (code < 0)
			continue;
		entry = palloc(sizeof(SetOfLabel));
		entry->set = state->nsets - 1;
		entry->next = of_label[code];
		of_label[code] = entry;
	}
	return of_label;
}

/* The name under which a group is returned; NULL: not at all. */
static text *
group_name(const RepurchaseState *state, uint32 group)
{
	const char *s;
	int			len;
	text	   *set;
	text	   *result;

	if (group == 0)
		return cstring_to_text("");
	if (group <= state->v.label_dict.count)
	{
		s = mcdp_timeline_label_name(&state->v, group - 1, &len);
		/* could be taken for the whole, or for a set */
		return len == 0 || *s == '@' ? NULL : cstring_to_text_with_len(s, len);
	}
	set = state->sets[group - 1 - state->v.label_dict.count];
	result = palloc(VARHDRSZ + 1 + VARSIZE_ANY_EXHDR(set));
	SET_VARSIZE(result, VARHDRSZ + 1 + VARSIZE_ANY_EXHDR(set));
	*VARDATA(result) = '@';
	memcpy(VARDATA(result) + 1, VARDATA_ANY(set), VARSIZE_ANY_EXHDR(set));
	return result;
}

/* _repurchase_gaps(t, at, event, by_label, labels, sets); sets are sorted */
Datum
mcdp__repurchase_gaps(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	RepurchaseState *state;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		TupleDesc	desc;
		text	   *name = PG_GETARG_TEXT_PP(2);
		bool		by_label = PG_GETARG_BOOL(3);
		SetOfLabel **of_label;
		uint32		nlabels,
					n;
		int			event;

		context = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		context->tuple_desc = BlessTupleDesc(desc);

		state = palloc0(sizeof(RepurchaseState));
		mcdp_timeline_open(&state->v, (Timeline *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
		of_label = read_sets(state, DatumGetArrayTypePCopy(PG_GETARG_DATUM(4)),
							 DatumGetArrayTypePCopy(PG_GETARG_DATUM(5)));
		nlabels = state->v.label_dict.count;
		state->ngroups = 1 + nlabels + state->nsets;
		state->groups = palloc_extended(sizeof(McdpGaps) * (Size) state->ngroups, MCXT_ALLOC_HUGE);
		for (uint32 i = 0; i < state->ngroups; i++)
			mcdp_gaps_init(&state->groups[i], context->multi_call_memory_ctx);

		event = mcdp_timeline_find_event(&state->v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		n = event < 0 ? 0 : mcdp_timeline_first_after(&state->v, PG_GETARG_TIMESTAMPTZ(1));
		for (uint32 i = 0; i < n; i++)
		{
			TimestampTz at;
			uint32		label;

			MCDP_CHECK_EVERY(i);
			if (timeline_event_code(&state->v, i) != (uint32) event)
				continue;
			at = timeline_at(&state->v, i);
			mcdp_gaps_add(&state->groups[0], at);
			label = timeline_label_code(&state->v, i);
			if (label == TIMELINE_NO_LABEL)
				continue;
			if (by_label)
				mcdp_gaps_add(&state->groups[1 + label], at);
			for (SetOfLabel *s = of_label[label]; s != NULL; s = s->next)
				mcdp_gaps_add(&state->groups[1 + nlabels + s->set], at);
		}
		context->user_fctx = state;
		MemoryContextSwitchTo(caller);
	}

	context = SRF_PERCALL_SETUP();
	state = context->user_fctx;
	while (state->next < state->ngroups)
	{
		McdpGaps   *g = &state->groups[state->next];
		text	   *name = g->any ? group_name(state, state->next) : NULL;
		Datum		values[6];
		bool		nulls[6] = {false};
		int64		median = 0;

		state->next++;
		if (name == NULL)
			continue;
		values[0] = PointerGetDatum(name);
		values[1] = Int64GetDatum((int64) mcdp_gaps_count(g) + 1);
		values[2] = TimestampTzGetDatum(g->last);
		values[3] = Int64GetDatum((int64) mcdp_gaps_count(g));
		nulls[4] = nulls[5] = !mcdp_gaps_median(g, &median);
		values[4] = nulls[4] ? (Datum) 0 : IntervalPGetDatum(mcdp_interval_of_length(median));
		values[5] = nulls[5] ? (Datum) 0 : Float8GetDatum(mcdp_gaps_dispersion(g));
		SRF_RETURN_NEXT(context,
						HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(context);
}

/* _shrink_gap(gaps, median_gap, prior, prior_weight) */
Datum
mcdp__shrink_gap(PG_FUNCTION_ARGS)
{
	int64		n = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	int64		median = 0;
	int64		gap;
	McdpPriorGap prior = {false, 0, 0};

	if (n > 0 && PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (n > 0)
		median = mcdp_length_arg(PG_GETARG_INTERVAL_P(1), "median_gap");
	if (!PG_ARGISNULL(2) && !PG_ARGISNULL(3))
	{
		prior.exists = true;
		prior.gap = mcdp_length_arg(PG_GETARG_INTERVAL_P(2), "prior");
		prior.weight = PG_GETARG_FLOAT8(3);
	}
	if (!mcdp_shrink_gap((uint32) Min(n, PG_UINT32_MAX), median, &prior, &gap))
		PG_RETURN_NULL();
	PG_RETURN_INTERVAL_P(mcdp_interval_of_length(gap));
}

/* _labels_of(t, event): in no particular order */
Datum
mcdp__labels_of(PG_FUNCTION_ARGS)
{
	TimelineView v;
	text	   *name = PG_GETARG_TEXT_PP(1);
	int			event;
	bool	   *seen;
	Datum	   *labels;
	int			nlabels = 0;

	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
	event = mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	seen = palloc0((Size) v.label_dict.count + 1);
	labels = palloc(sizeof(Datum) * ((Size) v.label_dict.count + 1));
	for (uint32 i = 0; event >= 0 && i < v.nevents && nlabels < v.label_dict.count; i++)
	{
		uint32		label;
		int			len;
		const char *s;

		MCDP_CHECK_EVERY(i);
		if (timeline_event_code(&v, i) != (uint32) event)
			continue;
		label = timeline_label_code(&v, i);
		if (label == TIMELINE_NO_LABEL || seen[label])
			continue;
		seen[label] = true;
		s = mcdp_timeline_label_name(&v, label, &len);
		labels[nlabels++] = PointerGetDatum(cstring_to_text_with_len(s, len));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(labels, nlabels, TEXTOID, -1, false, TYPALIGN_INT));
}
