/*-------------------------------------------------------------------------
 *
 * event_state_io.c
 *	  Text and binary forms of event_state.
 *
 * Binary: the stored form without the varlena header.  Text: the same in hex
 * digits, as bytea prints it (\x01…); nobody writes one by hand.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/event_state_io.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "types/event_state_datum.h"
#include "utils/builtins.h"

static EventState *
state_from_bytes(const char *bytes, size_t len)
{
	McdpBadInput bad;
	EventState *s;

	if (!mcdp_event_state_check(bytes, len, &bad))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type event_state at byte %zu", bad.offset),
				 errdetail_internal("%s", bad.reason)));
	s = palloc(len + sizeof(int32));
	SET_VARSIZE(s, len + sizeof(int32));
	memcpy((char *) s + sizeof(int32), bytes, len);
	return s;
}

PG_FUNCTION_INFO_V1(mcdp_event_state_in);
Datum
mcdp_event_state_in(PG_FUNCTION_ARGS)
{
	const char *s = PG_GETARG_CSTRING(0);
	size_t		len = strlen(s);
	char	   *bytes;
	uint64		n;

	if (len < 2 || s[0] != '\\' || s[1] != 'x')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type event_state"),
				 errdetail("Expected \"\\x\" and hexadecimal digits.")));
	bytes = palloc(len / 2 + 1);
	n = hex_decode(s + 2, len - 2, bytes);
	PG_RETURN_POINTER(state_from_bytes(bytes, n));
}

PG_FUNCTION_INFO_V1(mcdp_event_state_out);
Datum
mcdp_event_state_out(PG_FUNCTION_ARGS)
{
	EventState *s = PG_GETARG_EVENT_STATE_P(0);
	size_t		len = VARSIZE(s) - sizeof(int32);
	char	   *text;

	if (len > (MaxAllocSize - 3) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event_state is too large for its text form")));
	text = palloc(2 * len + 3);
	text[0] = '\\';
	text[1] = 'x';
	text[2 + hex_encode((char *) s + sizeof(int32), len, text + 2)] = '\0';
	PG_RETURN_CSTRING(text);
}

PG_FUNCTION_INFO_V1(mcdp_event_state_recv);
Datum
mcdp_event_state_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;

	PG_RETURN_POINTER(state_from_bytes(pq_getmsgbytes(buf, len), len));
}

PG_FUNCTION_INFO_V1(mcdp_event_state_send);
Datum
mcdp_event_state_send(PG_FUNCTION_ARGS)
{
	EventState *s = PG_GETARG_EVENT_STATE_P(0);
	bytea	   *result = palloc(VARSIZE(s));

	memcpy(result, s, VARSIZE(s));
	PG_RETURN_BYTEA_P(result);
}
