/*-------------------------------------------------------------------------
 *
 * trait_index_fn.c
 *	  SQL-callable questions about a trait among an audience.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/trait_index_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "store/statement.h"
#include "store/trait_index.h"
#include "types/bitmap.h"

PG_FUNCTION_INFO_V1(mcdp_trait_sum);
PG_FUNCTION_INFO_V1(mcdp_trait_avg);
PG_FUNCTION_INFO_V1(mcdp_trait_min);
PG_FUNCTION_INFO_V1(mcdp_trait_max);
PG_FUNCTION_INFO_V1(mcdp_trait_first_date);
PG_FUNCTION_INFO_V1(mcdp_trait_last_date);
PG_FUNCTION_INFO_V1(mcdp_trait_count);
PG_FUNCTION_INFO_V1(mcdp_trait_quantile);
PG_FUNCTION_INFO_V1(mcdp_trait_quantiles);
PG_FUNCTION_INFO_V1(mcdp_trait_top);
PG_FUNCTION_INFO_V1(mcdp_trait_between);
PG_FUNCTION_INFO_V1(mcdp_trait_between_dates);

/* A trait and those who are asked about. */
typedef struct Question
{
	MemoryContext cx;
	TraitView  *view;
	TraitWork  *work;
} Question;

/* False when there is nobody, or a name is NULL. */
static bool
begin(FunctionCallInfo fcinfo, int audience_arg, bool dates, Question *q)
{
	char	   *name;
	Rbuf	   *audience = NULL;

	if (PG_ARGISNULL(0))
		return false;
	q->cx = AllocSetContextCreate(CurrentMemoryContext, "trait", ALLOCSET_DEFAULT_SIZES);
	if (audience_arg > 0 && !PG_ARGISNULL(audience_arg))
		audience = mcdp_bitmap_to_rbuf(q->cx, PG_GETARG_DATUM(audience_arg));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	mcdp_spi_connect();
	q->view = mcdp_trait_open(q->cx, name, false);
	if (q->view->dates != dates)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg(dates ? "trait \"%s\" is not of type date" : "trait \"%s\" is of type date", name),
				 dates ? errhint("Its type stands in trait_rule.") : 0));
	q->work = mcdp_trait_work(q->view, audience);
	return true;
}

static void
end(Question *q)
{
	mcdp_trait_close(q->view);
	mcdp_spi_finish();
	MemoryContextDelete(q->cx);
}

/* trait_count(name, audience) */
Datum
mcdp_trait_count(PG_FUNCTION_ARGS)
{
	Question	q;
	int64		result;

	if (!begin(fcinfo, 1, false, &q))
		PG_RETURN_NULL();
	result = (int64) q.work->count;
	end(&q);
	PG_RETURN_INT64(result);
}

/* trait_sum(name, audience); NULL of nobody, as sum() */
Datum
mcdp_trait_sum(PG_FUNCTION_ARGS)
{
	Question	q;
	double		result = 0;
	bool		nobody;

	if (!begin(fcinfo, 1, false, &q))
		PG_RETURN_NULL();
	nobody = q.work->count == 0;
	if (!nobody)
		result = mcdp_trait_sum_of(q.view, q.work);
	end(&q);
	if (nobody)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(result);
}

/* trait_avg(name, audience) */
Datum
mcdp_trait_avg(PG_FUNCTION_ARGS)
{
	Question	q;
	double		result = 0;
	uint64		count;

	if (!begin(fcinfo, 1, false, &q))
		PG_RETURN_NULL();
	count = q.work->count;
	if (count > 0)
		result = mcdp_trait_sum_of(q.view, q.work) / (double) count;
	end(&q);
	if (count == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(result);
}

/* The least number, or the greatest; false of nobody. */
static bool
edge(FunctionCallInfo fcinfo, bool dates, bool greatest, double *result)
{
	Question	q;
	uint64		count;

	if (!begin(fcinfo, 1, dates, &q))
		return false;
	count = q.work->count;
	if (count > 0)
		*result = mcdp_trait_select(q.view, q.work, greatest ? count - 1 : 0);
	end(&q);
	return count > 0;
}

Datum
mcdp_trait_min(PG_FUNCTION_ARGS)
{
	double		result;

	if (!edge(fcinfo, false, false, &result))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(result);
}

Datum
mcdp_trait_max(PG_FUNCTION_ARGS)
{
	double		result;

	if (!edge(fcinfo, false, true, &result))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(result);
}

static Datum
date_of(double number)
{
	return DirectFunctionCall1(timestamp_date, TimestampGetDatum((Timestamp) number));
}

/* trait_first_date(name, audience), trait_last_date(name, audience) */
Datum
mcdp_trait_first_date(PG_FUNCTION_ARGS)
{
	double		result;

	if (!edge(fcinfo, true, false, &result))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(date_of(result));
}

Datum
mcdp_trait_last_date(PG_FUNCTION_ARGS)
{
	double		result;

	if (!edge(fcinfo, true, true, &result))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(date_of(result));
}

/* ---- quantiles ---- */

/* Linear between the two nearest, as percentile_cont. */
static double
quantile(Question *q, double fraction)
{
	double		rank = fraction * (double) (q->work->count - 1);
	uint64		low = (uint64) floor(rank);
	uint64		high = (uint64) ceil(rank);
	double		first = mcdp_trait_select(q->view, q->work, low);
	double		second;

	if (low == high)
		return first;
	second = mcdp_trait_select(q->view, q->work, high);
	return first + (rank - (double) low) * (second - first);
}

static void
check_fraction(double fraction)
{
	if (isnan(fraction) || fraction < 0 || fraction > 1)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("fraction %g is not between 0 and 1", fraction)));
}

/* trait_quantile(name, fraction, audience) */
Datum
mcdp_trait_quantile(PG_FUNCTION_ARGS)
{
	Question	q;
	double		result = 0;
	bool		nobody;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	check_fraction(PG_GETARG_FLOAT8(1));
	if (!begin(fcinfo, 2, false, &q))
		PG_RETURN_NULL();
	nobody = q.work->count == 0;
	if (!nobody)
		result = quantile(&q, PG_GETARG_FLOAT8(1));
	end(&q);
	if (nobody)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(result);
}

/* trait_quantile(name, fractions, audience) */
Datum
mcdp_trait_quantiles(PG_FUNCTION_ARGS)
{
	Question	q;
	Datum	   *fractions;
	bool	   *nulls;
	int			n;
	bool		nobody;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &fractions, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("fractions must not be null")));
		check_fraction(DatumGetFloat8(fractions[i]));
	}
	if (!begin(fcinfo, 2, false, &q))
		PG_RETURN_NULL();
	nobody = q.work->count == 0;
	if (!nobody)
		for (int i = 0; i < n; i++)
			fractions[i] = Float8GetDatum(quantile(&q, DatumGetFloat8(fractions[i])));
	end(&q);
	if (nobody)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(construct_array(fractions, n, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
										  TYPALIGN_DOUBLE));
}

/* ---- the greatest ---- */

typedef struct Found
{
	uint64		id;
	double		number;
} Found;

typedef struct FoundList
{
	Found	   *found;
	uint64		num;
	uint64		max;
} FoundList;

static void
take_found(void *arg, uint64 id, double number)
{
	FoundList  *list = arg;

	if (list->num < list->max)
	{
		list->found[list->num].id = id;
		list->found[list->num++].number = number;
	}
}

static int
by_number_desc(const void *a, const void *b)
{
	const Found *x = a;
	const Found *y = b;

	if (x->number != y->number)
		return x->number > y->number ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

/* trait_top(name, n, audience): equal numbers by ascending profile */
Datum
mcdp_trait_top(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Question	q;
	uint64		n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(1))
		return (Datum) 0;
	if (PG_GETARG_INT32(1) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must not be negative")));
	if (!begin(fcinfo, 2, false, &q))
		return (Datum) 0;
	n = Min((uint64) PG_GETARG_INT32(1), q.work->count);
	if (n > 0)
	{
		double		least = mcdp_trait_select(q.view, q.work, q.work->count - n);
		TraitWork  *less;
		TraitWork  *equal;
		TraitWork  *more = q.work;
		FoundList	list = {NULL, 0, n};

		mcdp_trait_compare(q.view, q.work, least, &less, &equal);
		for (uint32 i = 0; i < more->num; i++)
		{
			mcdp_bits_andnot(more->chunks[i].bits, more->chunks[i].bits, less->chunks[i].bits);
			mcdp_bits_andnot(more->chunks[i].bits, more->chunks[i].bits, equal->chunks[i].bits);
		}
		list.found = MemoryContextAllocHuge(q.cx, n * sizeof(Found));
		mcdp_trait_each(q.view, more, take_found, &list);
		/* of those who are equal to the least, the first ones */
		for (uint32 i = 0; i < equal->num && list.num < n; i++)
			for (unsigned position = 0; position < CHUNK_IDS && list.num < n; position++)
				if (mcdp_bits_has(equal->chunks[i].bits, position))
					take_found(&list, ((uint64) equal->chunks[i].chunk << CHUNK_ID_BITS) + position, least);
		qsort(list.found, list.num, sizeof(Found), by_number_desc);
		for (uint64 i = 0; i < list.num; i++)
		{
			Datum		values[2] = {Int64GetDatum((int64) list.found[i].id), Float8GetDatum(list.found[i].number)};
			bool		nulls[2] = {false, false};

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	end(&q);
	return (Datum) 0;
}

/* ---- ranges ---- */

/* Those in [since, until); NULL is no limit. */
static Datum
between(FunctionCallInfo fcinfo, bool dates, const double *since, const double *until)
{
	Question	q;
	Rbuf	   *set;
	Datum		result;

	if (!begin(fcinfo, 0, dates, &q))
		PG_RETURN_NULL();
	for (int i = 0; i < 2; i++)
	{
		const double *limit = i == 0 ? since : until;
		TraitWork  *less;
		TraitWork  *equal;

		if (limit == NULL)
			continue;
		mcdp_trait_compare(q.view, q.work, *limit, &less, &equal);
		for (uint32 c = 0; c < q.work->num; c++)
		{
			uint8	   *bits = q.work->chunks[c].bits;

			if (i == 0)
				mcdp_bits_andnot(bits, bits, less->chunks[c].bits);
			else
				mcdp_bits_and(bits, bits, less->chunks[c].bits);
		}
	}
	set = mcdp_rbuf_create(q.cx);
	for (uint32 c = 0; c < q.work->num; c++)
		if (!mcdp_bits_empty(q.work->chunks[c].bits))
			mcdp_rbuf_or_slice(set, q.work->chunks[c].chunk, q.work->chunks[c].bits);
	mcdp_trait_close(q.view);
	mcdp_spi_finish();
	result = mcdp_rbuf_to_bitmap(set);
	MemoryContextDelete(q.cx);
	PG_RETURN_DATUM(result);
}

/* trait_range(name, since float8, until float8) */
Datum
mcdp_trait_between(PG_FUNCTION_ARGS)
{
	double		limits[2];

	for (int i = 0; i < 2; i++)
	{
		limits[i] = PG_ARGISNULL(i + 1) ? 0 : PG_GETARG_FLOAT8(i + 1);
		if (isnan(limits[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("limits must not be NaN")));
	}
	return between(fcinfo, false, PG_ARGISNULL(1) ? NULL : &limits[0], PG_ARGISNULL(2) ? NULL : &limits[1]);
}

/* trait_range(name, since date, until date) */
Datum
mcdp_trait_between_dates(PG_FUNCTION_ARGS)
{
	double		limits[2];

	for (int i = 0; i < 2; i++)
	{
		DateADT		date = PG_ARGISNULL(i + 1) ? 0 : PG_GETARG_DATEADT(i + 1);

		limits[i] = DATE_IS_NOBEGIN(date) ? -INFINITY :
			DATE_IS_NOEND(date) ? INFINITY : (double) date * (double) SLICE_DAY;
	}
	return between(fcinfo, true, PG_ARGISNULL(1) ? NULL : &limits[0], PG_ARGISNULL(2) ? NULL : &limits[1]);
}
