/*-------------------------------------------------------------------------
 *
 * attempt.h
 *	  Something that may have to be undone and begun again.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/attempt.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_ATTEMPT_H
#define MCDP_ATTEMPT_H

#include "utils/elog.h"

/*
 * Calls act(arg) in one subtransaction.  NULL when that is done; else all of it
 * is undone, its locks are let go, and this is the error.  Settings that act
 * makes (GUC_ACTION_SAVE) end with it.
 */
extern ErrorData *mcdp_attempt(void (*act) (void *arg), void *arg);

#endif							/* MCDP_ATTEMPT_H */
