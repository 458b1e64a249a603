/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  Background workers that call cdp.run.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/worker/worker.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_WORKER_H
#define MCDP_WORKER_H

/* Settings, and the workers of marketing_cdp.worker_databases; from _PG_init. */
extern void mcdp_worker_init(void);

#endif							/* MCDP_WORKER_H */
