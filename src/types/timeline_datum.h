/*-------------------------------------------------------------------------
 *
 * timeline_datum.h
 *	  Timelines as arguments and results of SQL functions.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_datum.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TIMELINE_DATUM_H
#define MCDP_TIMELINE_DATUM_H

#include "fmgr.h"
#include "types/timeline.h"

/* Flat and aligned, whatever the datum was (toasted, short or expanded). */
#define DatumGetTimelineP(d)		((Timeline *) PG_DETOAST_DATUM(d))
#define PG_GETARG_TIMELINE_P(n)		DatumGetTimelineP(PG_GETARG_DATUM(n))
#define PG_RETURN_TIMELINE_P(x)		PG_RETURN_POINTER(x)

#endif							/* MCDP_TIMELINE_DATUM_H */
