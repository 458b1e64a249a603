/*-------------------------------------------------------------------------
 *
 * bit_slice.c
 *	  Numbers as bit slices; bit_slice.h has the words.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/bit_slice.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "core/bit_slice.h"

#define CHUNK_WORDS			(CHUNK_BITS_BYTES / 8)
typedef uint64 u64 __attribute__((aligned(1), may_alias));

/*
 * Up to here a magnitude and its number are one to one: whole numbers up to
 * 2^53, and decimals while their neighbours are further apart than float8.
 */
#define MAX_WHOLE			(UINT64CONST(1) << 53)
#define MAX_DECIMAL			(UINT64CONST(1) << 49)

static const double unit_of_form[] = {1, 10, 1e2, 1e3, 1e4, 1e5, 1e6};

static uint64
max_magnitude(SliceForm form)
{
	if (form == SLICE_FORM_INTEGER)
		return MAX_WHOLE;
	/* days: microseconds of that many are still whole in a float8 */
	return form == SLICE_FORM_DAY ? (UINT64CONST(1) << 30) : MAX_DECIMAL;
}

/* The number of a magnitude; monotonous, and rounded once. */
static double
number_of(SliceForm form, uint64 magnitude)
{
	double		result;

	switch (form)
	{
		case SLICE_FORM_FLOAT:
			memcpy(&result, &magnitude, sizeof(result));
			return result;
		case SLICE_FORM_DAY:
			return (double) magnitude * (double) SLICE_DAY;
		default:
			return (double) magnitude / unit_of_form[form];
	}
}

uint64
mcdp_slice_floor(SliceForm form, double number, bool *exact)
{
	uint64		max;
	uint64		result;
	double		guess;

	if (form == SLICE_FORM_FLOAT)
	{
		if (number == 0)
			number = 0;			/* not -0 */
		memcpy(&result, &number, sizeof(result));
		*exact = true;
		return result;
	}
	max = max_magnitude(form);
	guess = form == SLICE_FORM_DAY ? number / (double) SLICE_DAY : number * unit_of_form[form];
	result = guess >= (double) max ? max : (uint64) guess;
	/* the guess may be one off */
	while (result > 0 && number_of(form, result) > number)
		result--;
	while (result < max && number_of(form, result + 1) <= number)
		result++;
	*exact = number_of(form, result) == number;
	return result;
}

bool
mcdp_slice_from_number(SliceForm form, double number, SliceNumber *out)
{
	bool		exact;

	out->negative = number < 0;
	out->magnitude = mcdp_slice_floor(form, fabs(number), &exact);
	return exact;
}

double
mcdp_slice_to_number(SliceForm form, SliceNumber slices)
{
	double		result = number_of(form, slices.magnitude);

	return slices.negative ? -result : result;
}

unsigned
mcdp_slice_forms(double number)
{
	static const SliceForm forms[] = {SLICE_FORM_INTEGER, SLICE_FORM_2, SLICE_FORM_4, SLICE_FORM_6, SLICE_FORM_DAY};
	unsigned	result = 0;

	for (int i = 0; i < lengthof(forms); i++)
	{
		SliceNumber ignored;

		if (mcdp_slice_from_number(forms[i], number, &ignored))
			result |= 1 << forms[i];
	}
	return result;
}

SliceForm
mcdp_slice_best_form(unsigned forms, bool days)
{
	if (days && (forms & 1 << SLICE_FORM_DAY) != 0)
		return SLICE_FORM_DAY;
	for (int form = SLICE_FORM_INTEGER; form <= SLICE_FORM_6; form += 2)
		if ((forms & 1 << form) != 0)
			return form;
	return SLICE_FORM_FLOAT;
}

/* Exact, as a decimal that strtod rounds; the digits are written from the end. */
double
mcdp_slice_sum(SliceForm form, const SliceSum *sum)
{
#ifdef HAVE_INT128
	char		text[64];
	char	   *p = text + sizeof(text) - 1;
	int128		total = 0;
	bool		negative;
	int			digits = form == SLICE_FORM_DAY ? 0 : form;

	for (int i = SLICE_MAGNITUDE_BITS - 1; i >= 0; i--)
		total = total * 2 + (int128) sum->counts[0][i] - (int128) sum->counts[1][i];
	if (form == SLICE_FORM_DAY)
		total *= SLICE_DAY;
	negative = total < 0;
	if (negative)
		total = -total;
	*p = '\0';
	for (int i = 0; total != 0 || i <= digits; i++, total /= 10)
	{
		if (i == digits && i > 0)
			*--p = '.';
		*--p = '0' + (int) (total % 10);
	}
	if (negative)
		*--p = '-';
	return strtod(p, NULL);
#else
	long double total = 0;

	for (int i = SLICE_MAGNITUDE_BITS - 1; i >= 0; i--)
		total = total * 2 + (long double) sum->counts[0][i] - (long double) sum->counts[1][i];
	return form == SLICE_FORM_DAY ? total * SLICE_DAY : total / unit_of_form[form];
#endif
}

MCDP_VECTORISED void
mcdp_slice_compare_step(uint8 *less, uint8 *equal, const uint8 *slice, bool bit)
{
	u64		   *l = (u64 *) less;
	u64		   *e = (u64 *) equal;
	const u64  *s = (const u64 *) slice;

	if (slice == NULL)
	{
		if (bit)
			for (int i = 0; i < CHUNK_WORDS; i++)
			{
				l[i] |= e[i];
				e[i] = 0;
			}
	}
	else if (bit)
		for (int i = 0; i < CHUNK_WORDS; i++)
		{
			l[i] |= e[i] & ~s[i];
			e[i] &= s[i];
		}
	else
		for (int i = 0; i < CHUNK_WORDS; i++)
			e[i] &= ~s[i];
}
