/*-------------------------------------------------------------------------
 *
 * suppression.h
 *	  Rules that keep profiles out of every audience.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/suppression.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_SUPPRESSION_H
#define MCDP_SUPPRESSION_H

#include "executor/spi.h"

#include "types/criteria.h"

/*
 * The rule and not the suppression rules of this kind, in the current context;
 * the rule itself is left as it is and may be part of the result.  Expects an
 * open SPI connection.
 */
extern CriteriaNode *mcdp_suppression_apply(CriteriaNode *rule, const char *kind);

/* The same for the kind of a profile. */
extern CriteriaNode *mcdp_suppression_apply_to(CriteriaNode *rule, int64 profile);

#endif							/* MCDP_SUPPRESSION_H */
