/*-------------------------------------------------------------------------
 *
 * criteria_compare.c
 *	  Does a value satisfy "cmp consts"?
 *
 * A value of another type than the constant satisfies nothing, whatever cmp
 * is.  A text compares with a date when it reads as one, and with a duration
 * by how long ago that was.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_compare.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"

#include "core/iso_time.h"
#include "types/criteria_eval.h"
#include "types/criteria_parse.h"

/* As the float8 type of the server: NaN is equal to NaN and greater than the rest. */
int
mcdp_criteria_compare_numbers(double a, double b)
{
	if (isnan(a) || isnan(b))
		return (isnan(a) ? 1 : 0) - (isnan(b) ? 1 : 0);
	return (a > b) - (a < b);
}

/* False when the two are of different types; *order is set otherwise. */
static bool
compare_consts(const CriteriaConst *value, const CriteriaConst *constant, TimestampTz at, int *order)
{
	TimestampTz date = value->date;
	int64		length = value->length;

	if (value->type == CRITERIA_TEXT &&
		(constant->type == CRITERIA_DATE || constant->type == CRITERIA_LENGTH))
	{
		if (!mcdp_iso_time(value->text, value->len, &date))
			return false;
		if (pg_sub_s64_overflow(at, date, &length))
			length = PG_INT64_MAX;	/* at infinity */
	}
	else if (value->type != constant->type)
		return false;

	switch (constant->type)
	{
		case CRITERIA_NUMBER:
			*order = mcdp_criteria_compare_numbers(value->number, constant->number);
			return true;
		case CRITERIA_LENGTH:
			*order = (length > constant->length) - (length < constant->length);
			return true;
		case CRITERIA_TEXT:
			*order = memcmp(value->text, constant->text, Min(value->len, constant->len));
			if (*order == 0)
				*order = value->len - constant->len;
			return true;
		case CRITERIA_DATE:
			*order = (date > constant->date) - (date < constant->date);
			return true;
		case CRITERIA_BOOLEAN:
			*order = (int) value->boolean - (int) constant->boolean;
			return true;
		case CRITERIA_OTHER:
			break;
	}
	return false;
}

bool
mcdp_criteria_compare(const CriteriaConst *value, CriteriaCmp cmp, const CriteriaConst *consts,
					  int num_consts, TimestampTz at)
{
	int			order;
	int			upper;

	if (cmp == CRITERIA_IN)
	{
		for (int i = 0; i < num_consts; i++)
		{
			if (compare_consts(value, &consts[i], at, &order) && order == 0)
				return true;
		}
		return false;
	}
	if (!compare_consts(value, &consts[0], at, &order))
		return false;
	switch (cmp)
	{
		case CRITERIA_EQ:
			return order == 0;
		case CRITERIA_NE:
			return order != 0;
		case CRITERIA_LT:
			return order < 0;
		case CRITERIA_LE:
			return order <= 0;
		case CRITERIA_GT:
			return order > 0;
		case CRITERIA_GE:
			return order >= 0;
		case CRITERIA_BETWEEN:
			return order >= 0 && compare_consts(value, &consts[1], at, &upper) && upper <= 0;
		case CRITERIA_IN:
			break;
	}
	return false;
}
