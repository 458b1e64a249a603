/*-------------------------------------------------------------------------
 *
 * init.c
 *	  Entry point of the library.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/init.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "core/rbuf_library.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	mcdp_rbuf_load_library();
	mcdp_worker_init();
	MarkGUCPrefixReserved("marketing_cdp");
}
