/*-------------------------------------------------------------------------
 *
 * audience_probe.h
 *	  What deciding by histories needs where no tables are read.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_probe.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_AUDIENCE_PROBE_H
#define MCDP_AUDIENCE_PROBE_H

#include "utils/jsonb.h"

#include "types/expected_gap.h"

#define AUDIENCE_ANSWERS	4	/* _audience_probe gives 4 * id + PlanAnswer */

/* Label sets and priors as mcdp_source_lookups gives them. */
typedef struct AudienceLookups
{
	Jsonb	   *json;
} AudienceLookups;

extern void mcdp_lookups_init(AudienceLookups *l, Datum json);
extern bool mcdp_lookups_label_set(const AudienceLookups *l, const char *set, const char *label, int len);
extern void mcdp_lookups_prior(const AudienceLookups *l, const char *event, const char *label,
							   McdpPriorGap *out);

#endif							/* MCDP_AUDIENCE_PROBE_H */
