/*-------------------------------------------------------------------------
 *
 * timeline_fn.c
 *	  SQL functions over timelines.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "pgtime.h"
#include "types/timeline_codec.h"
#include "types/timeline_datum.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* ------------------------------------------------------------------ rows */

typedef struct EventsState
{
	TimelineView v;
	text	  **names;			/* by code, made when first met */
	text	  **labels;
} EventsState;

static Datum
cached_name(text **cache, const TimelineDict *d, uint32 code)
{
	if (cache[code] == NULL)
	{
		int			len;
		const char *s = timeline_dict_string(d, code, &len);

		cache[code] = cstring_to_text_with_len(s, len);
	}
	return PointerGetDatum(cache[code]);
}

/* timeline_events(timeline): back to rows */
PG_FUNCTION_INFO_V1(mcdp_timeline_events);
Datum
mcdp_timeline_events(PG_FUNCTION_ARGS)
{
	FuncCallContext *fctx;
	EventsState *state;
	MemoryContext old;

	if (SRF_IS_FIRSTCALL())
	{
		TupleDesc	desc;

		fctx = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(fctx->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		fctx->tuple_desc = BlessTupleDesc(desc);
		state = palloc(sizeof(EventsState));
		mcdp_timeline_open(&state->v, (Timeline *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
		state->names = palloc0(sizeof(text *) * (Size) state->v.event_dict.count);
		state->labels = palloc0(sizeof(text *) * (Size) state->v.label_dict.count);
		fctx->max_calls = state->v.nevents;
		fctx->user_fctx = state;
		MemoryContextSwitchTo(old);
	}

	fctx = SRF_PERCALL_SETUP();
	state = fctx->user_fctx;
	if (fctx->call_cntr < fctx->max_calls)
	{
		uint32		i = (uint32) fctx->call_cntr;
		uint32		label = timeline_label_code(&state->v, i);
		double		value = 0;
		Datum		values[4] = {0};
		bool		nulls[4] = {false};

		old = MemoryContextSwitchTo(fctx->multi_call_memory_ctx);
		values[0] = TimestampTzGetDatum(timeline_at(&state->v, i));
		values[1] = cached_name(state->names, &state->v.event_dict, timeline_event_code(&state->v, i));
		if (label == TIMELINE_NO_LABEL)
			nulls[2] = true;
		else
			values[2] = cached_name(state->labels, &state->v.label_dict, label);
		MemoryContextSwitchTo(old);
		nulls[3] = !timeline_value(&state->v, i, &value);
		values[3] = Float8GetDatum(value);
		SRF_RETURN_NEXT(fctx, HeapTupleGetDatum(heap_form_tuple(fctx->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(fctx);
}

/* --------------------------------------------------- which events, by code */

/*
 * What a function with arguments (timeline [, event [, label]]) asks for.
 */
typedef struct Wanted
{
	TimelineView v;
	bool		none;			/* a name that does not occur: no event matches */
	bool		any_event;
	bool		any_label;
	uint32		event;
	uint32		label;
} Wanted;

static void
get_wanted(FunctionCallInfo fcinfo, Wanted *w, int nargs)
{
	int			code;
	text	   *name;

	mcdp_timeline_open(&w->v, PG_GETARG_TIMELINE_P(0));
	w->none = false;
	w->any_event = nargs < 2;
	w->any_label = nargs < 3;
	w->event = w->label = 0;
	if (nargs >= 2)
	{
		name = PG_GETARG_TEXT_PP(1);
		code = mcdp_timeline_find_event(&w->v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		w->none = code < 0;
		w->event = (uint32) code;
	}
	if (nargs >= 3)
	{
		name = PG_GETARG_TEXT_PP(2);
		code = mcdp_timeline_find_label(&w->v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		w->none = w->none || code < 0;
		w->label = (uint32) code;
	}
}

/* Index of the first wanted event from "i" on, nevents if there is none. */
static inline uint32
next_wanted(const Wanted *w, uint32 i)
{
	const TimelineView *v = &w->v;

	if (w->any_event)
		return i;
	for (; i < v->nevents; i++)
	{
		if (v->event_width == 0)
		{
			/* most events are others: let the C library pass over them */
			const uint8 *codes = v->events;
			const uint8 *p = memchr(codes + i, (int) w->event, v->nevents - i);

			CHECK_FOR_INTERRUPTS();
			if (p == NULL)
				return v->nevents;
			i = (uint32) (p - codes);
		}
		else if (timeline_event_code(v, i) != w->event)
			continue;
		if (w->any_label || timeline_label_code(v, i) == w->label)
			return i;
	}
	return v->nevents;
}

/* One past the last wanted event before "i", 0 if there is none. */
static inline uint32
last_wanted(const Wanted *w, uint32 i)
{
	while (i > 0 && !w->any_event &&
		   (timeline_event_code(&w->v, i - 1) != w->event ||
			(!w->any_label && timeline_label_code(&w->v, i - 1) != w->label)))
		i--;
	return i;
}

static MCDP_VECTORISED uint32
count_byte(const uint8 *codes, uint32 n, uint8 code)
{
	uint32		count = 0;

	for (uint32 i = 0; i < n; i++)
		count += codes[i] == code;
	return count;
}

/*
 * The head of a timeline, without reading the rest when that lies out of line:
 * what stands before the columns.
 */
static const Timeline *
get_head(Datum d)
{
	const Timeline *t;

	if (VARATT_IS_4B_U(DatumGetPointer(d)))
	{
		t = (const Timeline *) DatumGetPointer(d);
		mcdp_timeline_prefetch_next(t);
	}
	else
		t = (const Timeline *) PG_DETOAST_DATUM_SLICE(d, 0, offsetof(Timeline, columns) - VARHDRSZ);
	if (unlikely(t->version != TIMELINE_VERSION))
	{
		TimelineView v;

		mcdp_timeline_open(&v, t);	/* raises the error */
	}
	return t;
}

/* The last instant of a timeline that lies out of line: two short reads. */
static bool
last_of_external(Datum d, TimestampTz *at)
{
	const Timeline *t;
	const TimelineColumn *col;
	struct varlena *piece;
	uint64		distance = 0;

	/* the column of times is the first */
	t = (const Timeline *) PG_DETOAST_DATUM_SLICE(d, 0, offsetof(Timeline, columns) + sizeof(TimelineColumn) - VARHDRSZ);
	if (t->version != TIMELINE_VERSION || t->nevents == 0)
		return false;
	col = &t->columns[0];
	piece = PG_DETOAST_DATUM_SLICE(d, col->offset - VARHDRSZ + ((t->nevents - 1) << col->encoding), 1 << col->encoding);
	memcpy(&distance, VARDATA(piece), (size_t) 1 << col->encoding);	/* little-endian */
	*at = (TimestampTz) ((uint64) t->base + distance * (uint64) timeline_unit(col->detail));
	return true;
}

/* num_events(timeline [, event [, label]]) */
PG_FUNCTION_INFO_V1(mcdp_num_events);
Datum
mcdp_num_events(PG_FUNCTION_ARGS)
{
	Wanted		w;
	int64		count = 0;

	if (PG_NARGS() == 1)
		PG_RETURN_INT64(get_head(PG_GETARG_DATUM(0))->nevents);
	get_wanted(fcinfo, &w, PG_NARGS());
	if (w.none)
		PG_RETURN_INT64(0);
	if (w.any_label && w.v.event_width == 0)
		PG_RETURN_INT64(count_byte(w.v.events, w.v.nevents, (uint8) w.event));
	for (uint32 i = next_wanted(&w, 0); i < w.v.nevents; i = next_wanted(&w, i + 1))
		count++;
	PG_RETURN_INT64(count);
}

/* total(timeline, event [, label]): sum of the values, 0 when there is none */
PG_FUNCTION_INFO_V1(mcdp_total);
Datum
mcdp_total(PG_FUNCTION_ARGS)
{
	Wanted		w;
	double		sum = 0;

	get_wanted(fcinfo, &w, PG_NARGS());
	if (!w.none && w.v.values != NULL)
	{
		for (uint32 i = next_wanted(&w, 0); i < w.v.nevents; i = next_wanted(&w, i + 1))
		{
			double		value;

			if (timeline_value(&w.v, i, &value))
				sum += value;
		}
	}
	PG_RETURN_FLOAT8(sum);
}

/* first_at(timeline [, event]) */
PG_FUNCTION_INFO_V1(mcdp_first_at);
Datum
mcdp_first_at(PG_FUNCTION_ARGS)
{
	Wanted		w;
	uint32		i;

	if (PG_NARGS() == 1)
	{
		const Timeline *t = get_head(PG_GETARG_DATUM(0));

		if (t->nevents == 0)
			PG_RETURN_NULL();
		PG_RETURN_TIMESTAMPTZ(t->base);
	}
	get_wanted(fcinfo, &w, PG_NARGS());
	if (!w.none && (i = next_wanted(&w, 0)) < w.v.nevents)
		PG_RETURN_TIMESTAMPTZ(timeline_at(&w.v, i));
	PG_RETURN_NULL();
}

/* last_at(timeline [, event]) */
PG_FUNCTION_INFO_V1(mcdp_last_at);
Datum
mcdp_last_at(PG_FUNCTION_ARGS)
{
	Wanted		w;
	uint32		i;
	TimestampTz at;

	if (PG_NARGS() == 1 && VARATT_IS_EXTERNAL_ONDISK(PG_GETARG_POINTER(0)) &&
		last_of_external(PG_GETARG_DATUM(0), &at))
		PG_RETURN_TIMESTAMPTZ(at);
	get_wanted(fcinfo, &w, PG_NARGS());
	if (!w.none && (i = last_wanted(&w, w.v.nevents)) > 0)
		PG_RETURN_TIMESTAMPTZ(timeline_at(&w.v, i - 1));
	PG_RETURN_NULL();
}

/* ---------------------------------------------------------------- labels */

static Datum
label_result(FunctionCallInfo fcinfo, const TimelineView *v, uint32 label)
{
	int			len;
	const char *s;

	if (label == TIMELINE_NO_LABEL)
		PG_RETURN_NULL();
	s = mcdp_timeline_label_name(v, label, &len);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(s, len));
}

/* first_label(timeline, event): of the first such event that has one */
PG_FUNCTION_INFO_V1(mcdp_first_label);
Datum
mcdp_first_label(PG_FUNCTION_ARGS)
{
	Wanted		w;
	uint32		found = TIMELINE_NO_LABEL;

	get_wanted(fcinfo, &w, 2);
	if (!w.none && w.v.labels != NULL)
	{
		for (uint32 i = next_wanted(&w, 0); i < w.v.nevents && found == TIMELINE_NO_LABEL; i = next_wanted(&w, i + 1))
			found = timeline_label_code(&w.v, i);
	}
	return label_result(fcinfo, &w.v, found);
}

/* last_label(timeline, event) */
PG_FUNCTION_INFO_V1(mcdp_last_label);
Datum
mcdp_last_label(PG_FUNCTION_ARGS)
{
	Wanted		w;
	uint32		found = TIMELINE_NO_LABEL;

	get_wanted(fcinfo, &w, 2);
	if (!w.none && w.v.labels != NULL)
	{
		for (uint32 i = last_wanted(&w, w.v.nevents); i > 0 && found == TIMELINE_NO_LABEL; i = last_wanted(&w, i - 1))
			found = timeline_label_code(&w.v, i - 1);
	}
	return label_result(fcinfo, &w.v, found);
}

/* top_label(timeline, event): the most frequent, of equals the bytewise first */
PG_FUNCTION_INFO_V1(mcdp_top_label);
Datum
mcdp_top_label(PG_FUNCTION_ARGS)
{
	Wanted		w;
	uint32		found = TIMELINE_NO_LABEL;

	get_wanted(fcinfo, &w, 2);
	if (!w.none && w.v.labels != NULL)
	{
		uint32	   *count = palloc_extended(sizeof(uint32) * (Size) w.v.label_dict.count,
											MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		uint32		most = 0;

		for (uint32 i = next_wanted(&w, 0); i < w.v.nevents; i = next_wanted(&w, i + 1))
		{
			uint32		label = timeline_label_code(&w.v, i);

			if (label != TIMELINE_NO_LABEL)
				count[label]++;
		}
		for (uint32 i = 0; i < w.v.label_dict.count; i++)
		{
			if (count[i] > most)
			{
				most = count[i];
				found = i;
			}
		}
	}
	return label_result(fcinfo, &w.v, found);
}

/* ----------------------------------------------------------------- parts */

/* only_events(timeline, VARIADIC events) */
PG_FUNCTION_INFO_V1(mcdp_only_events);
Datum
mcdp_only_events(PG_FUNCTION_ARGS)
{
	TimelineView v;
	TimelineBuilder *b;
	Datum	   *names;
	bool	   *nulls;
	int			nnames;
	bool	   *wanted;

	mcdp_timeline_open(&v, PG_GETARG_TIMELINE_P(0));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &names, &nulls, &nnames);
	wanted = palloc0((Size) v.event_dict.count + 1);
	for (int k = 0; k < nnames; k++)
	{
		text	   *name = nulls[k] ? NULL : DatumGetTextPP(names[k]);
		int			code = name == NULL ? -1 :
			mcdp_timeline_find_event(&v, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

		if (code >= 0)
			wanted[code] = true;
	}
	b = mcdp_timeline_builder_create(CurrentMemoryContext);
	mcdp_timeline_builder_add_view(b, &v, 0, v.nevents, wanted);
	PG_RETURN_TIMELINE_P(mcdp_timeline_builder_finish(b));
}

/* ------------------------------------------------------------------ days */

/* The calendar day of an instant, UTC when tz is NULL. */
static int
day_of(TimestampTz at, pg_tz *tz)
{
	if (tz != NULL)
	{
		struct pg_tm tm;
		fsec_t		fsec;
		int			offset;

		if (timestamp2tm(at, &offset, &tm, &fsec, NULL, tz) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("timestamp out of range")));
		return date2j(tm.tm_year, tm.tm_mon, tm.tm_mday);
	}
	return (int) (at >= 0 ? at / USECS_PER_DAY : -1 - (-1 - at) / USECS_PER_DAY);
}

/* active_days(timeline [, event [, tz]]); a NULL event before tz means all */
PG_FUNCTION_INFO_V1(mcdp_active_days);
Datum
mcdp_active_days(PG_FUNCTION_ARGS)
{
	Wanted		w;
	pg_tz	   *tz = NULL;
	int			days = 0;
	int			newest = 0;
	uint64		seen = 0;		/* bit k: day newest - k was counted */

	if (PG_NARGS() > 2)
	{
		char	   *name;

		if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
			PG_RETURN_NULL();
		name = text_to_cstring(PG_GETARG_TEXT_PP(2));
		tz = strlen(name) <= TZ_STRLEN_MAX ? pg_tzset(name) : NULL;
		if (tz == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("time zone \"%s\" not recognized", name)));
	}
	get_wanted(fcinfo, &w, PG_NARGS() > 1 && !PG_ARGISNULL(1) ? 2 : 1);
	if (w.none)
		PG_RETURN_INT32(0);
	for (uint32 i = next_wanted(&w, 0); i < w.v.nevents; i = next_wanted(&w, i + 1))
	{
		int			day = day_of(timeline_at(&w.v, i), tz);

		MCDP_CHECK_EVERY(i);
		if (seen == 0 || day > newest)
		{
			uint32		ahead = seen == 0 ? 64 : (uint32) day - (uint32) newest;

			seen = ahead < 64 ? seen << ahead | 1 : 1;
			newest = day;
			days++;
		}
		else if ((seen >> (newest - day) & 1) == 0)
		{
			/* local time was set back across midnight to a day without events */
			seen |= UINT64CONST(1) << (newest - day);
			days++;
		}
	}
	PG_RETURN_INT32(days);
}
