/*-------------------------------------------------------------------------
 *
 * state_io.c
 *	  Text and binary forms of the states of aggregates.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/state_io.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "types/state.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

static Datum
state_from_bytes(const char *bytes, size_t len, const char *type, McdpStateCheck check)
{
	McdpBadInput bad;
	bytea	   *state;

	if (!check(bytes, len, &bad))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s at byte %zu", type, bad.offset),
				 errdetail_internal("%s", bad.reason)));
	state = palloc(len + VARHDRSZ);
	SET_VARSIZE(state, len + VARHDRSZ);
	memcpy(VARDATA(state), bytes, len);
	PG_RETURN_POINTER(state);
}

Datum
mcdp_state_in(FunctionCallInfo fcinfo, const char *type, McdpStateCheck check)
{
	const char *s = PG_GETARG_CSTRING(0);
	size_t		len = strlen(s);
	char	   *bytes;
	uint64		n;

	if (len < 2 || s[0] != '\\' || s[1] != 'x')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", type),
				 errdetail("Expected \"\\x\" and hexadecimal digits.")));
	bytes = palloc(len / 2 + 1);
	n = hex_decode(s + 2, len - 2, bytes);
	return state_from_bytes(bytes, n, type, check);
}

Datum
mcdp_state_out(FunctionCallInfo fcinfo, const char *type)
{
	bytea	   *state = PG_GETARG_BYTEA_P(0);
	size_t		len = VARSIZE(state) - VARHDRSZ;
	char	   *text;

	if (len > (MaxAllocSize - 3) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s is too large for its text form", type)));
	text = palloc(2 * len + 3);
	text[0] = '\\';
	text[1] = 'x';
	text[2 + hex_encode(VARDATA(state), len, text + 2)] = '\0';
	PG_RETURN_CSTRING(text);
}

Datum
mcdp_state_recv(FunctionCallInfo fcinfo, const char *type, McdpStateCheck check)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;

	return state_from_bytes(pq_getmsgbytes(buf, len), len, type, check);
}

Datum
mcdp_state_send(FunctionCallInfo fcinfo)
{
	bytea	   *state = PG_GETARG_BYTEA_P(0);
	bytea	   *result = palloc(VARSIZE(state));

	memcpy(result, state, VARSIZE(state));
	PG_RETURN_BYTEA_P(result);
}
