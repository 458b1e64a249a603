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
#include "utils/builtins.h"
#include "utils/guc.h"

#include "core/rbuf_library.h"
#include "store/btree_run.h"
#include "store/components.h"
#include "store/time_limit.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(mcdp__library_version);

void		_PG_init(void);

/* Read by the trigger outbox_notify. */
static bool notify = true;

void
_PG_init(void)
{
	mcdp_rbuf_load_library();
	mcdp_worker_init();
	mcdp_components_scan_init();
	mcdp_time_limit_init();
	mcdp_run_init();
	DefineCustomBoolVariable("marketing_cdp.notify",
							 "Notify channel cdp_outbox when messages are written.",
							 "NOTIFY takes a lock of the whole server while its transaction commits.",
							 &notify, true, PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("marketing_cdp");
}

/* default_version of the control file that this library was built with */
Datum
mcdp__library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(MCDP_VERSION));
}
