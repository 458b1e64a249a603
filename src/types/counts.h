/*-------------------------------------------------------------------------
 *
 * counts.h
 *	  Aggregates whose state is their result: an array of counts (bigint[])
 *	  that is changed in place and grows to the longest that is needed.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/counts.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_COUNTS_H
#define MCDP_COUNTS_H

#include "core/mcdp.h"
#include "types/state.h"
#include "utils/array.h"

#define COUNTS(a)	((int64 *) ARR_DATA_PTR(a))

/*
 * The state of argument 0 with room for n counts, as something that may be
 * changed: inside an aggregate the state itself, else a copy.
 */
extern ArrayType *mcdp_get_counts(FunctionCallInfo fcinfo, int n);

#endif							/* MCDP_COUNTS_H */
