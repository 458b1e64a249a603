/*-------------------------------------------------------------------------
 *
 * pattern_filter.h
 *	  Values that cannot match a regular expression, found out cheaply.
 *
 * Starting the server's engine for regular expressions costs more than
 * everything else that is asked about an identifier.  A filter lets through
 * every value that matches as a whole, in any case of its letters, and
 * perhaps some more: these are for the engine.
 *
 * Nothing here raises an error or allocates memory.  Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/pattern_filter.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_PATTERN_FILTER_H
#define MCDP_PATTERN_FILTER_H

#define FILTER_PLACES 256		/* characters and classes of a pattern */
#define FILTER_WORDS (FILTER_PLACES / 64)

typedef struct Places
{
	uint64		word[FILTER_WORDS];
} Places;

typedef struct PatternFilter
{
	int			num;
	bool		empty;			/* matches the empty value */
	Places		first;			/* where a match can begin */
	Places		last;			/* and end */
	Places		follow[FILTER_PLACES];	/* what can come after a place */
	Places		accepts[128];	/* the places where a character can stand */
} PatternFilter;

/* False when there is something in the pattern that we do not know. */
extern bool mcdp_filter_make(PatternFilter *filter, const char *pattern, size_t len);

/* False: the value does not match. */
extern bool mcdp_filter_passes(const PatternFilter *filter, const char *value, size_t len);

#endif							/* MCDP_PATTERN_FILTER_H */
