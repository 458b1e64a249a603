/*-------------------------------------------------------------------------
 *
 * length.c
 *	  Intervals as lengths.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/length.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "core/length.h"

McdpLengthStatus
mcdp_length_of_interval(const Interval *span, int64 *usec)
{
	/* fits: |months| < 2^31, so |days| < 2^31 * 31 + 2^31 */
	int64		days = (int64) (span->month / 12) * 365 +
		(int64) (span->month % 12) * 30 + span->day;
	int64		result;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &result) ||
		pg_add_s64_overflow(result, span->time, &result))
	{
		/* with opposite signs the sum may fit although the product does not */
		return (days < 0) ? MCDP_LENGTH_NEGATIVE : MCDP_LENGTH_TOO_LONG;
	}
	if (result < 0)
		return MCDP_LENGTH_NEGATIVE;
	*usec = result;
	return MCDP_LENGTH_OK;
}

int64
mcdp_length_arg(const Interval *span, const char *what)
{
	int64		usec = 0;

	switch (mcdp_length_of_interval(span, &usec))
	{
		case MCDP_LENGTH_OK:
			break;
		case MCDP_LENGTH_NEGATIVE:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s must not be negative", what)));
			break;
		case MCDP_LENGTH_TOO_LONG:
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
					 errmsg("%s is too long", what),
					 errdetail("A length must be less than 292,000 years.")));
			break;
	}
	return usec;
}

Interval *
mcdp_interval_of_length(int64 usec)
{
	Interval   *result = palloc(sizeof(Interval));

	result->month = 0;
	result->day = (int32) (usec / USECS_PER_DAY);
	result->time = usec % USECS_PER_DAY;
	return result;
}
