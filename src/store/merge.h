/*-------------------------------------------------------------------------
 *
 * merge.h
 *	  Two canonical profiles become one.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/merge.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_MERGE_H
#define MCDP_MERGE_H

#include "datatype/timestamp.h"

struct MergeRows;

/* columns of profile_merge; source and reason may be NULL */
typedef struct MergeCall
{
	int64		survivor;
	int64		merged;
	TimestampTz at;
	text	   *cause;
	text	   *source;
	text	   *reason;
	Datum		evidence;		/* identifier[] */
	int64		leaf_a;
	int64		leaf_b;
} MergeCall;

/* The caller holds the locks of both and has asked the rules.  Returns the merge id. */
extern int64 mcdp_merge_profiles(const MergeCall *call, struct MergeRows *rows);

#endif							/* MCDP_MERGE_H */
