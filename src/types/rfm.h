/*-------------------------------------------------------------------------
 *
 * rfm.h
 *	  Recency, frequency and money of a timeline.
 *
 * Of the events with one name, and one of certain labels if that is asked
 * for, in a window (since, until]: the last instant, how many distinct instants
 * there are (an order of five lines is one order) and the sum of the values.
 * Where the timeline stores values as decimals (up to four places, say), they are
 * summed as such, so that sums that are equal in cents are equal here; else
 * the sum is compensated (Neumaier 1974).
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/rfm.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RFM_H
#define MCDP_RFM_H

#include "types/timeline.h"

typedef struct RfmValues
{
	int64		frequency;		/* 0: what follows means nothing */
	TimestampTz last;
	double		monetary;
} RfmValues;

/*
 * "event" is a code, -1 = does not occur; "labels" marks the codes of the
 * labels wanted, NULL = any label or none.
 */
extern void mcdp_rfm_values_between(const TimelineView *v, int event, const bool *labels,
							TimestampTz since, TimestampTz until, RfmValues *values);

#endif							/* MCDP_RFM_H */
