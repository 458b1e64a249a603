/*-------------------------------------------------------------------------
 *
 * length.h
 *	  Intervals as lengths.
 *
 * Every interval used as a window, gap, threshold or bucket is a length: a
 * day has 24 hours, a month 30 days, a year (12 months) 365 days.  A length is
 * never negative.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/length.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_LENGTH_H
#define MCDP_LENGTH_H

#include "core/mcdp.h"
#include "datatype/timestamp.h"

typedef enum McdpLengthStatus
{
	MCDP_LENGTH_OK,
	MCDP_LENGTH_NEGATIVE,
	MCDP_LENGTH_TOO_LONG		/* does not fit 64-bit microseconds */
} McdpLengthStatus;

extern McdpLengthStatus mcdp_length_of_interval(const Interval *span, int64 *usec);

/*
 * The same for an argument: microseconds, or an error that names "what"
 * (invalid_parameter_value, datetime_field_overflow).
 */
extern int64 mcdp_length_arg(const Interval *span, const char *what);

/* The other way: days and a time, like the difference of two timestamps. */
extern Interval *mcdp_interval_of_length(int64 usec);

#endif							/* MCDP_LENGTH_H */
