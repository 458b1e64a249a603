/*-------------------------------------------------------------------------
 *
 * iso_time.c
 *	  Dates and times of ISO 8601.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/iso_time.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "core/iso_time.h"

#define DATE_LENGTH 10
#define MAX_ZONE_HOUR 15
#define MAX_DECIMALS 15			/* further ones change no microsecond; a double has all of these */

typedef struct Reader
{
	const char *next;
	const char *end;
} Reader;

static bool
is_digit(const Reader *r)
{
	return r->next < r->end && *r->next >= '0' && *r->next <= '9';
}

static bool
skip(Reader *r, char c)
{
	if (r->next == r->end || *r->next != c)
		return false;
	r->next++;
	return true;
}

static bool
number(Reader *r, int digits, int *value)
{
	*value = 0;
	for (; digits > 0; digits--, r->next++)
	{
		if (!is_digit(r))
			return false;
		*value = *value * 10 + (*r->next - '0');
	}
	return true;
}

/* The digits behind the point. */
static bool
decimals(Reader *r, int64 *usec)
{
	int64		n = 0;
	double		unit = 1;
	int			digits = 0;

	for (; is_digit(r); r->next++, digits++)
	{
		if (digits < MAX_DECIMALS)
		{
			n = n * 10 + (*r->next - '0');
			unit *= 10;
		}
	}
	*usec = (int64) rint((double) n / unit * USECS_PER_SEC);
	return digits > 0;
}

static bool
zone(Reader *r, int64 *east)
{
	int			sign;
	int			hour;
	int			minute = 0;

	*east = 0;
	if (r->next == r->end || skip(r, 'Z') || skip(r, 'z'))
		return true;
	(void) skip(r, ' ');
	if (skip(r, '+'))
		sign = 1;
	else if (skip(r, '-'))
		sign = -1;
	else
		return false;
	if (!number(r, 2, &hour) || ((skip(r, ':') || r->next < r->end) && !number(r, 2, &minute)))
		return false;
	*east = sign * (hour * USECS_PER_HOUR + minute * USECS_PER_MINUTE);
	return hour <= MAX_ZONE_HOUR && minute < MINS_PER_HOUR;
}

bool
mcdp_iso_date(const char *s, size_t len, TimestampTz *at, bool *valid)
{
	static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	Reader		r = {s, s + len};
	int			year;
	int			month;
	int			day;
	int			days;
	bool		leap;

	if (len != DATE_LENGTH || !number(&r, 4, &year) || !skip(&r, '-') ||
		!number(&r, 2, &month) || !skip(&r, '-') || !number(&r, 2, &day))
		return false;
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	*valid = year >= 1 && month >= 1 && month <= 12 && day >= 1 &&
		day <= month_days[month - 1] + (month == 2 && leap ? 1 : 0);
	if (!*valid)
		return true;

	/* days since 2000-01-01, counting years from March */
	if (month <= 2)
	{
		year--;
		month += 12;
	}
	days = year * 365 + year / 4 - year / 100 + year / 400 +
		(153 * (month - 3) + 2) / 5 + day - 1 - 730425;
	*at = days * USECS_PER_DAY;
	return true;
}

bool
mcdp_iso_time(const char *s, size_t len, TimestampTz *at)
{
	Reader		r = {s + DATE_LENGTH, s + len};
	int			hour;
	int			minute;
	int			second = 0;
	int64		usec = 0;
	int64		east;
	bool		valid;

	if (len < DATE_LENGTH || !mcdp_iso_date(s, DATE_LENGTH, at, &valid) || !valid)
		return false;
	if (len == DATE_LENGTH)
		return true;
	if ((!skip(&r, 'T') && !skip(&r, 't') && !skip(&r, ' ')) ||
		!number(&r, 2, &hour) || !skip(&r, ':') || !number(&r, 2, &minute))
		return false;
	if (skip(&r, ':') && (!number(&r, 2, &second) || (skip(&r, '.') && !decimals(&r, &usec))))
		return false;
	if (!zone(&r, &east) || r.next != r.end ||
		hour >= HOURS_PER_DAY || minute >= MINS_PER_HOUR || second >= SECS_PER_MINUTE)
		return false;
	*at += hour * USECS_PER_HOUR + minute * USECS_PER_MINUTE + second * USECS_PER_SEC + usec - east;
	return true;
}
