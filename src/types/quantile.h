/*-------------------------------------------------------------------------
 *
 * quantile.h
 *	  Exact quantiles of many numbers, gathered in parts.
 *
 * The p-quantile of n sorted numbers x(0) … x(n-1) is taken at position
 * p (n - 1), between two numbers by linear interpolation (Hyndman and Fan
 * 1996, type 7; what percentile_cont gives).
 *
 * Numbers are held as keys: unsigned integers that sort like the numbers, NaN
 * greatest.  A run is a sorted part of them.  Each process sorts its own
 * numbers, and a quantile is found across runs without merging them, by
 * bisection over the 64 bits of a key: runs x 64 x log n steps.
 *
 * Stored form of a state, in the machine's byte order:
 *
 *		int32	varlena header
 *		uint8	version 1
 *		uint8	0, three times
 *		uint32	number of fractions
 *		uint32	0
 *		float8	the fractions, each between 0 and 1
 *		float8	the numbers, sorted; -0 is 0 and all NaN are one
 *
 * so equal states have equal bytes.  The limit is 1 GB: 134 million numbers.
 *
 * Nothing here knows fmgr.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/quantile.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_QUANTILE_H
#define MCDP_QUANTILE_H

#include "core/mcdp.h"

#define QUANTILE_VERSION	1

typedef struct QuantileState
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		version;
	uint8		zeroes[3];
	uint32		nfractions;
	uint32		zero;
	double		numbers[FLEXIBLE_ARRAY_MEMBER]; /* fractions first */
} QuantileState;

#define QUANTILE_HEADER		offsetof(QuantileState, numbers)

/* A sorted part of the keys. */
typedef struct QuantileRun
{
	const uint64 *keys;
	size_t		n;
} QuantileRun;

extern uint64 mcdp_quantile_key(double x);
extern double mcdp_quantile_number(uint64 key);

/* Sorts keys; needs as much room again, allocated here for the time being. */
extern void mcdp_quantile_sort(uint64 *keys, size_t n);

/* The quantile at a fraction (0 … 1) of the numbers in all runs, at least one. */
extern double mcdp_quantile_of(const QuantileRun *runs, int nruns, double fraction);

/* Complete validation of outside bytes, without the varlena header. */
extern bool mcdp_quantile_check(const char *bytes, size_t len, McdpBadInput *bad);

#endif							/* MCDP_QUANTILE_H */
