/*-------------------------------------------------------------------------
 *
 * retention.h
 *	  Arguments and result of retention, over timelines and over rows.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/retention.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RETENTION_H
#define MCDP_RETENTION_H

#include "core/mcdp.h"
#include "utils/array.h"

/* These raise errors when an argument is not what it must be. */
extern void mcdp_check_buckets(int32 buckets, int64 bucket);
extern bool mcdp_align_day(const text * align); /* or 'event' */

/* A boolean[] of so many elements, all false. */
extern ArrayType *mcdp_make_flags(int n);

#endif							/* MCDP_RETENTION_H */
