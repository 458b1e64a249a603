/*-------------------------------------------------------------------------
 *
 * criteria_io.c
 *	  Input and output of the criteria type.
 *
 * The binary form is one byte, the version (1), and then the canonical text,
 * which is converted between the encodings of client and server like any
 * text.  Both ways in go through the parser.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_io.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"

#include "core/mcdp.h"
#include "types/criteria_datum.h"

#define CRITERIA_WIRE_VERSION 1

/* what an error message quotes of a very long rule */
#define QUOTED_MAX 200

PG_FUNCTION_INFO_V1(mcdp_criteria_in);
PG_FUNCTION_INFO_V1(mcdp_criteria_out);
PG_FUNCTION_INFO_V1(mcdp_criteria_recv);
PG_FUNCTION_INFO_V1(mcdp_criteria_send);

/* canonical text may be longer than what was read, but never by this factor */
#define PRINT_GROWTH 4

/* Parse text[0 .. len), or raise an error. */
static Criteria *
make_criteria(const char *text, size_t len)
{
	CriteriaError err;
	CriteriaNode *node = mcdp_criteria_parse(text, len, &err);

	if (node == NULL)
	{
		int			quoted = pg_mbcliplen(text, (int) Min(len, (size_t) CRITERIA_MAX_LENGTH), QUOTED_MAX);

		if (err.limit)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("rule is too large"),
					 errdetail_internal("%s", err.detail)));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%.*s%s\"",
						"criteria", quoted, text, (size_t) quoted < len ? "..." : ""),
				 errdetail_internal("%s", err.detail)));
	}
	/* What is accepted must be accepted again as it is printed (dump, send). */
	if (len > CRITERIA_MAX_LENGTH / PRINT_GROWTH &&
		strlen(mcdp_criteria_print(node)) > CRITERIA_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("rule is too large"),
				 errdetail("A rule must have at most %d bytes in its canonical form.", CRITERIA_MAX_LENGTH)));
	return mcdp_criteria_store(node);
}

Datum
mcdp_criteria_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);

	PG_RETURN_CRITERIA_P(make_criteria(text, strlen(text)));
}

Datum
mcdp_criteria_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(mcdp_criteria_print(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0))));
}

Datum
mcdp_criteria_recv(PG_FUNCTION_ARGS)
{
	StringInfo	msg = (StringInfo) PG_GETARG_POINTER(0);
	int			version = pq_getmsgbyte(msg);
	char	   *text;
	int			len;

	if (version != CRITERIA_WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported format version %d of type %s", version, "criteria")));
	text = pq_getmsgtext(msg, msg->len - msg->cursor, &len);
	PG_RETURN_CRITERIA_P(make_criteria(text, len));
}

Datum
mcdp_criteria_send(PG_FUNCTION_ARGS)
{
	char	   *text = mcdp_criteria_print(mcdp_criteria_open(PG_GETARG_CRITERIA_PP(0)));
	StringInfoData out;

	pq_begintypsend(&out);
	pq_sendbyte(&out, CRITERIA_WIRE_VERSION);
	pq_sendtext(&out, text, strlen(text));
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}
