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

#include <ctype.h>
#include <math.h>

#include "common/int.h"

#include "types/criteria_eval.h"
#include "types/criteria_parse.h"

static bool
two_digits(const char *s, int *out)
{
	if (!isdigit((unsigned char) s[0]) || !isdigit((unsigned char) s[1]))
		return false;
	*out = (s[0] - '0') * 10 + (s[1] - '0');
	return true;
}

/*
 * A trait's text as an instant: YYYY-MM-DD, or that and T or a blank and
 * HH:MM[:SS[.ffffff]] and maybe Z or +HH[[:]MM]; UTC if no zone is given.
 */
bool
mcdp_criteria_instant(const char *s, int len, TimestampTz *out)
{
	const char *end = s + len;
	int			hour,
				minute,
				second = 0;
	int64		fraction = 0;
	int64		zone = 0;
	bool		valid;

	if (len < 10 || !mcdp_criteria_read_date(s, 10, out, &valid) || !valid)
		return false;
	s += 10;
	if (s == end)
		return true;
	if ((*s != 'T' && *s != 't' && *s != ' ') || end - s < 6 ||
		!two_digits(s + 1, &hour) || s[3] != ':' || !two_digits(s + 4, &minute))
		return false;
	s += 6;
	if (end - s >= 3 && *s == ':')
	{
		if (!two_digits(s + 1, &second))
			return false;
		s += 3;
		if (s < end && *s == '.')
		{
			int64		unit = USECS_PER_SEC / 10;

			if (++s == end || !isdigit((unsigned char) *s))
				return false;
			for (; s < end && isdigit((unsigned char) *s); s++, unit /= 10)
				fraction += unit * (*s - '0');
		}
	}
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	if (s < end && (*s == 'Z' || *s == 'z'))
		s++;
	else if (end - s >= 3 && (*s == '+' || *s == '-'))
	{
		bool		west = *s == '-';
		int			zone_hour,
					zone_minute = 0;

		if (!two_digits(s + 1, &zone_hour))
			return false;
		s += 3;
		if (s < end && *s == ':')
			s++;
		if (end - s >= 2)
		{
			if (!two_digits(s, &zone_minute))
				return false;
			s += 2;
		}
		if (zone_hour > 15 || zone_minute > 59)
			return false;
		zone = zone_hour * USECS_PER_HOUR + zone_minute * USECS_PER_MINUTE;
		if (west)
			zone = -zone;
	}
	if (s != end)
		return false;
	*out += hour * USECS_PER_HOUR + minute * USECS_PER_MINUTE + second * USECS_PER_SEC +
		fraction - zone;
	return true;
}

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
		if (!mcdp_criteria_instant(value->text, value->len, &date))
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
