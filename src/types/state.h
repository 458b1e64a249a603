/*-------------------------------------------------------------------------
 *
 * state.h
 *	  What the state types of aggregates share.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/state.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_STATE_H
#define MCDP_STATE_H

#include "core/mcdp.h"
#include "fmgr.h"

/*
 * The memory context that all states of an aggregate share, made when first
 * asked for (state_agg.c).  Contexts of different types are told apart by the
 * address of their names.
 */
extern MemoryContext mcdp_state_context(MemoryContext agg_context, const char *name);

/* A row that changes nothing: the state in argument 0, or NULL. */
static inline Datum
mcdp_keep_state(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/*
 * Text and binary forms (state_io.c).  Binary: the stored form without the
 * varlena header, completely checked when read.  Text: the same in hex digits,
 * as bytea prints it (\x01…); nobody writes one by hand.
 */
typedef bool (*McdpStateCheck) (const char *bytes, size_t len, McdpBadInput *bad);

extern Datum mcdp_state_in(FunctionCallInfo fcinfo, const char *type, McdpStateCheck check);
extern Datum mcdp_state_out(FunctionCallInfo fcinfo, const char *type);
extern Datum mcdp_state_recv(FunctionCallInfo fcinfo, const char *type, McdpStateCheck check);
extern Datum mcdp_state_send(FunctionCallInfo fcinfo);

#endif							/* MCDP_STATE_H */
