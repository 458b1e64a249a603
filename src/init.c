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

PG_MODULE_MAGIC;

void		_PG_init(void);

/* There are no settings yet; the prefix is ours from the first release. */
void
_PG_init(void)
{
	mcdp_rbuf_load_library();
	MarkGUCPrefixReserved("marketing_cdp");
}
