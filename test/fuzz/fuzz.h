/*
 * fuzz.h - one fuzz target: a source of valid inputs and a function that must
 * survive any bytes.  driver.c mutates the former and feeds the latter;
 * libFuzzer can drive LLVMFuzzerTestOneInput directly.
 */
#ifndef MCDP_FUZZ_H
#define MCDP_FUZZ_H

#include "postgres.h"

/* Deterministic numbers: the same seed gives the same run. */
extern uint64 fuzz_random(void);
static inline uint32
fuzz_below(uint32 n)
{
	return (uint32) (fuzz_random() % n);
}

/* Writes a valid input of at most max bytes, returns its length. */
extern size_t fuzz_valid(uint8 *out, size_t max);

/* Feeds bytes to the reader; true when it took them. */
extern bool fuzz_one(const uint8 *bytes, size_t len);

/* Fails the run: a property of accepted values does not hold. */
extern void fuzz_fail(const char *property) pg_attribute_noreturn();

/* The same with errors caught and memory released afterwards. */
extern size_t fuzz_valid_guarded(uint8 *out, size_t max);
extern bool fuzz_guarded(const uint8 *bytes, size_t len);

#endif
