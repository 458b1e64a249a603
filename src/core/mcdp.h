/*-------------------------------------------------------------------------
 *
 * mcdp.h
 *	  What every file of the extension may use.  Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/mcdp.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_H
#define MCDP_H

#include "miscadmin.h"

#include "core/compat.h"

/*
 * Inner loops over long arrays are compiled for several processors and the
 * right one is chosen when the library is loaded.  Never -march=native: the
 * library may run on another machine than the one that built it.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define MCDP_VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define MCDP_VECTORISED
#endif

/*
 * For loops over very long arrays: a look at interrupts every 65,536 rounds, none
 * in a short loop.
 */
#define MCDP_CHECK_EVERY(i) \
	do { if (((i) & 0xFFFF) == 0xFFFF) CHECK_FOR_INTERRUPTS(); } while (0)

/*
 * Why a reader of outside bytes refused them.  Readers return false and set
 * this; they raise no error themselves, so that they run outside the server.
 */
typedef struct McdpBadInput
{
	const char *reason;			/* static text, in the style of errdetail */
	size_t		offset;			/* byte at which it was noticed */
} McdpBadInput;

#endif							/* MCDP_H */
