/*-------------------------------------------------------------------------
 *
 * time_limit.h
 *	  A limit of time for part of a transaction.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/time_limit.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TIME_LIMIT_H
#define MCDP_TIME_LIMIT_H

/* Defines the setting. */
extern void mcdp_time_limit_init(void);

#endif							/* MCDP_TIME_LIMIT_H */
