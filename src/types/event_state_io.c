/*-------------------------------------------------------------------------
 *
 * event_state_io.c
 *	  Text and binary forms of event_state; see state.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_state_io.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/event_state.h"
#include "types/state.h"

PG_FUNCTION_INFO_V1(mcdp_event_state_in);
Datum
mcdp_event_state_in(PG_FUNCTION_ARGS)
{
	return mcdp_state_in(fcinfo, "event_state", mcdp_event_state_check);
}

PG_FUNCTION_INFO_V1(mcdp_event_state_out);
Datum
mcdp_event_state_out(PG_FUNCTION_ARGS)
{
	return mcdp_state_out(fcinfo, "event_state");
}

PG_FUNCTION_INFO_V1(mcdp_event_state_recv);
Datum
mcdp_event_state_recv(PG_FUNCTION_ARGS)
{
	return mcdp_state_recv(fcinfo, "event_state", mcdp_event_state_check);
}

PG_FUNCTION_INFO_V1(mcdp_event_state_send);
Datum
mcdp_event_state_send(PG_FUNCTION_ARGS)
{
	return mcdp_state_send(fcinfo);
}
