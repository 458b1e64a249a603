/*-------------------------------------------------------------------------
 *
 * event_state_datum.h
 *	  event_state as argument and result of SQL functions.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_state_datum.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_EVENT_STATE_DATUM_H
#define MCDP_EVENT_STATE_DATUM_H

#include "fmgr.h"
#include "types/event_state.h"
#include "utils/memutils.h"

/* Flat and aligned, whatever the datum was (toasted, short or expanded). */
#define DatumGetEventStateP(d)		((EventState *) PG_DETOAST_DATUM(d))
#define PG_GETARG_EVENT_STATE_P(n)	DatumGetEventStateP(PG_GETARG_DATUM(n))

#endif							/* MCDP_EVENT_STATE_DATUM_H */
