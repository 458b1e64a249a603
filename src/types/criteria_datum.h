/*-------------------------------------------------------------------------
 *
 * criteria_datum.h
 *	  Rules as arguments and results of SQL functions.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_datum.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TYPES_CRITERIA_DATUM_H
#define MCDP_TYPES_CRITERIA_DATUM_H

#include "fmgr.h"
#include "utils/jsonb.h"

#include "types/criteria.h"

/* Not compressed, not out of line, but maybe with a short header. */
#define DatumGetCriteriaPP(d)		((Criteria *) PG_DETOAST_DATUM_PACKED(d))
#define PG_GETARG_CRITERIA_PP(n)	DatumGetCriteriaPP(PG_GETARG_DATUM(n))
#define PG_RETURN_CRITERIA_P(x)		PG_RETURN_POINTER(x)

/*
 * A JSON value as the value of a trait or property; false for null, which is
 * none.  Text points into the value and has no NUL byte behind it.
 */
extern bool mcdp_criteria_from_json(const JsonbValue *value, CriteriaConst *out);

#endif							/* MCDP_TYPES_CRITERIA_DATUM_H */
