/*-------------------------------------------------------------------------
 *
 * bit_slice.h
 *	  Numbers as bit slices: what stands in a slice, and steps over slices.
 *
 * After O'Neil and Quass, "Improved query performance with variant indexes"
 * (1997), and Rinfret, O'Neil and O'Neil, "Bit-sliced index arithmetic" (2001).
 *
 * Wording:
 *	   - a number is a float8, never NaN
 *	   - its magnitude is an integer of 63 bits that stands for its absolute
 *		 value: the greater, the greater; its form says how
 *	   - slice i (0 … 62) of a trait is the set of those in whose magnitude bit i
 *		 is 1; slice 63 is the set of those with a number below 0; slice 64 is
 *		 the set of those who have a number at all
 *
 * Forms:
 *		0, 2, 4, 6		the number is a decimal with so many digits behind the
 *						point; the magnitude is that without the point
 *		day				the number is a multiple of SLICE_DAY, as dates are in
 *						microseconds; the magnitude is in days
 *		float			the magnitude is the bits of the float8 without its sign
 * All numbers of a trait are in one form, and each can be had back exactly.
 *
 * Nothing here raises an error or allocates memory.  Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/bit_slice.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_BIT_SLICE_H
#define MCDP_BIT_SLICE_H

#include "core/chunk_set.h"

#define SLICE_MAGNITUDE_BITS	63
#define SLICE_NEGATIVE			63
#define SLICE_EXISTS			64
#define SLICE_COUNT				65

#define SLICE_DAY				(INT64CONST(86400) * 1000000)

typedef enum SliceForm
{
	SLICE_FORM_FLOAT = -1,
	SLICE_FORM_INTEGER = 0,
	SLICE_FORM_2 = 2,
	SLICE_FORM_4 = 4,
	SLICE_FORM_6 = 6,
	SLICE_FORM_DAY = 10
} SliceForm;

typedef struct SliceNumber
{
	uint64		magnitude;		/* below 2^63 */
	bool		negative;		/* never of 0 */
} SliceNumber;

/* False when the number has no magnitude in this form.  -0 is 0. */
extern bool mcdp_slice_from_number(SliceForm form, double number, SliceNumber *out);
extern double mcdp_slice_to_number(SliceForm form, SliceNumber slices);

/*
 * In which forms but float, which always is, there is room for the number: a
 * set of 1 << form.  And the best of those that all numbers have in common;
 * days are tried for dates only.
 */
extern unsigned mcdp_slice_forms(double number);
extern SliceForm mcdp_slice_best_form(unsigned forms, bool days);

/*
 * The greatest magnitude whose number is at most this one, which is not below
 * 0; *exact: it is this number.
 */
extern uint64 mcdp_slice_floor(SliceForm form, double number, bool *exact);

static inline bool
mcdp_slice_bit(SliceNumber number, int slice)
{
	return slice == SLICE_EXISTS ? true :
		slice == SLICE_NEGATIVE ? number.negative :
		(number.magnitude >> slice & 1) != 0;
}

/*
 * One step of the comparison with a constant, from the highest slice down:
 * "equal" are those whose bits so far are the constant's, "less" those that are
 * less.  slice is NULL when it is empty.
 */
extern void mcdp_slice_compare_step(uint8 *less, uint8 *equal, const uint8 *slice, bool bit);

/*
 * Sums.  Counts of the slices' members among some, those below 0 apart; they
 * may be added up over chunks.
 */
typedef struct SliceSum
{
	uint64		counts[2][SLICE_MAGNITUDE_BITS];	/* [negative][slice] */
} SliceSum;

/* The sum in any form but float, rounded once. */
extern double mcdp_slice_sum(SliceForm form, const SliceSum *sum);

#endif							/* MCDP_BIT_SLICE_H */
