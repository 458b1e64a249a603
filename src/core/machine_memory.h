/*-------------------------------------------------------------------------
 *
 * machine_memory.h
 *	  How much memory there is to use.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/machine_memory.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_MACHINE_MEMORY_H
#define MCDP_MACHINE_MEMORY_H

/* Bytes of memory of the machine, or of the container if that may use less; 0 if nobody says. */
extern uint64 mcdp_machine_memory(void);

#endif							/* MCDP_MACHINE_MEMORY_H */
