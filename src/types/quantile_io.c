/*-------------------------------------------------------------------------
 *
 * quantile_io.c
 *	  Text and binary forms of quantile_state; see state.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/quantile_io.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/quantile.h"
#include "types/state.h"

PG_FUNCTION_INFO_V1(mcdp_quantile_state_in);
Datum
mcdp_quantile_state_in(PG_FUNCTION_ARGS)
{
	return mcdp_state_in(fcinfo, "quantile_state", mcdp_quantile_check);
}

PG_FUNCTION_INFO_V1(mcdp_quantile_state_out);
Datum
mcdp_quantile_state_out(PG_FUNCTION_ARGS)
{
	return mcdp_state_out(fcinfo, "quantile_state");
}

PG_FUNCTION_INFO_V1(mcdp_quantile_state_recv);
Datum
mcdp_quantile_state_recv(PG_FUNCTION_ARGS)
{
	return mcdp_state_recv(fcinfo, "quantile_state", mcdp_quantile_check);
}

PG_FUNCTION_INFO_V1(mcdp_quantile_state_send);
Datum
mcdp_quantile_state_send(PG_FUNCTION_ARGS)
{
	return mcdp_state_send(fcinfo);
}
