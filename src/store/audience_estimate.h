/*-------------------------------------------------------------------------
 *
 * audience_estimate.h
 *	  What a plan is going to cost, and to find.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_estimate.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_AUDIENCE_ESTIMATE_H
#define MCDP_AUDIENCE_ESTIMATE_H

#include "lib/stringinfo.h"

#include "store/audience_plan.h"

typedef struct AudienceEstimate
{
	double		universe;		/* profiles */
	double		found;
	double		histories;		/* profiles whose history is read */
	double		properties;		/* … and rows of their events, at most */
	double		set_ms;			/* to find them all */
	double		point_ms;		/* to ask about one */
} AudienceEstimate;

/* Reads with the active snapshot; needs no SPI.  The plan goes into "out" unless that is NULL. */
extern void mcdp_audience_estimate(const AudiencePlan *plan, const char *kind,
								   AudienceEstimate *result, StringInfo out);

#endif							/* MCDP_AUDIENCE_ESTIMATE_H */
