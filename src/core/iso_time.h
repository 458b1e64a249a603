/*-------------------------------------------------------------------------
 *
 * iso_time.h
 *	  Dates and times of ISO 8601, as messages, traits and rules have them.
 *
 *	time = date [("T" | "t" | " ") HH ":" MM [":" SS ["." digit {digit}]] [zone]]
 *	date = YYYY "-" MM "-" DD				0001-01-01 to 9999-12-31
 *	zone = "Z" | "z" | [" "] ("+" | "-") HH [[":"] MM]		to 15:59
 *
 * A date alone is the beginning of that day; without a zone it is UTC.  Hours
 * go to 23, minutes and seconds to 59: 24:00 and leap seconds, which PostgreSQL
 * takes for the day and the minute that follow, are no times.  Parts of a
 * second are rounded to microseconds as PostgreSQL does it.  Whatever is taken
 * means the same to the server's timestamptz input under TimeZone UTC.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/iso_time.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_ISO_TIME_H
#define MCDP_ISO_TIME_H

#include "datatype/timestamp.h"

/* False if the text is not a time of this form, or there is no such day. */
extern bool mcdp_iso_time(const char *s, size_t len, TimestampTz *at);

/* False if the text is not a date in shape; *valid tells whether there is such a day. */
extern bool mcdp_iso_date(const char *s, size_t len, TimestampTz *at, bool *valid);

#endif							/* MCDP_ISO_TIME_H */
