/*-------------------------------------------------------------------------
 *
 * identifier_io.c
 *	  Input, output, casts and accessors of the identifier type.
 *
 * The binary form is one byte, the version (1), and then the text, which is
 * converted between the encodings of client and server like any text.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/identifier_io.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "types/identifier.h"

#define IDENTIFIER_WIRE_VERSION 1

/* what an error message quotes of a very long input */
#define QUOTED_MAX 100

PG_FUNCTION_INFO_V1(mcdp_identifier_in);
PG_FUNCTION_INFO_V1(mcdp_identifier_out);
PG_FUNCTION_INFO_V1(mcdp_identifier_recv);
PG_FUNCTION_INFO_V1(mcdp_identifier_send);
PG_FUNCTION_INFO_V1(mcdp_identifier);
PG_FUNCTION_INFO_V1(mcdp_identifier_of);
PG_FUNCTION_INFO_V1(mcdp_phone_identifier);
PG_FUNCTION_INFO_V1(mcdp__identifier_text);
PG_FUNCTION_INFO_V1(mcdp_namespace);
PG_FUNCTION_INFO_V1(mcdp_value);

/*
 * Make an identifier of in[0 .. len), or raise an error with this SQLSTATE.
 */
static struct varlena *
make_identifier(const char *in, size_t len, int sqlstate)
{
	char		buf[MCDP_IDENTIFIER_MAX];
	size_t		buf_len;
	McdpBadInput bad;

	if (!mcdp_identifier_normalise(in, len, buf, &buf_len, &bad))
	{
		int			quoted = pg_mbcliplen(in, len, QUOTED_MAX);

		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("invalid input syntax for type %s: \"%.*s%s\"",
						"identifier", quoted, in, quoted < len ? "..." : ""),
				 errdetail_internal("%s", bad.reason)));
	}
	return (struct varlena *) cstring_to_text_with_len(buf, buf_len);
}

Datum
mcdp_identifier_in(PG_FUNCTION_ARGS)
{
	char	   *in = PG_GETARG_CSTRING(0);

	PG_RETURN_IDENTIFIER_P(make_identifier(in, strlen(in),
										   ERRCODE_INVALID_TEXT_REPRESENTATION));
}

Datum
mcdp_identifier_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(TextDatumGetCString(PG_GETARG_DATUM(0)));
}

Datum
mcdp_identifier_recv(PG_FUNCTION_ARGS)
{
	StringInfo	msg = (StringInfo) PG_GETARG_POINTER(0);
	int			version = pq_getmsgbyte(msg);
	char	   *in;
	int			len;

	if (version != IDENTIFIER_WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported identifier version number %d", version)));
	in = pq_getmsgtext(msg, msg->len - msg->cursor, &len);
	PG_RETURN_IDENTIFIER_P(make_identifier(in, len,
										   ERRCODE_INVALID_BINARY_REPRESENTATION));
}

Datum
mcdp_identifier_send(PG_FUNCTION_ARGS)
{
	struct varlena *id = PG_GETARG_IDENTIFIER_PP(0);
	StringInfoData msg;

	pq_begintypsend(&msg);
	pq_sendbyte(&msg, IDENTIFIER_WIRE_VERSION);
	pq_sendtext(&msg, VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
	PG_RETURN_BYTEA_P(pq_endtypsend(&msg));
}

/* identifier(text): the cast */
Datum
mcdp_identifier(PG_FUNCTION_ARGS)
{
	text	   *in = PG_GETARG_TEXT_PP(0);

	PG_RETURN_IDENTIFIER_P(make_identifier(VARDATA_ANY(in), VARSIZE_ANY_EXHDR(in),
										   ERRCODE_INVALID_TEXT_REPRESENTATION));
}

/* identifier(namespace text, value text): the constructor */
Datum
mcdp_identifier_of(PG_FUNCTION_ARGS)
{
	text	   *ns = PG_GETARG_TEXT_PP(0);
	text	   *value = PG_GETARG_TEXT_PP(1);
	int			ns_len = VARSIZE_ANY_EXHDR(ns);
	int			value_len = VARSIZE_ANY_EXHDR(value);
	char	   *in;

	/* A colon in the namespace would move its end. */
	if (memchr(VARDATA_ANY(ns), ':', ns_len) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid identifier namespace: \"%s\"", text_to_cstring(ns)),
				 errdetail("A namespace has ASCII letters, digits, \"_\", \".\" and \"-\" only.")));
	in = palloc((Size) ns_len + 1 + value_len);
	memcpy(in, VARDATA_ANY(ns), ns_len);
	in[ns_len] = ':';
	memcpy(in + ns_len + 1, VARDATA_ANY(value), value_len);
	PG_RETURN_IDENTIFIER_P(make_identifier(in, (size_t) ns_len + 1 + value_len,
										   ERRCODE_INVALID_TEXT_REPRESENTATION));
}

/* phone_identifier(number text, region text) */
Datum
mcdp_phone_identifier(PG_FUNCTION_ARGS)
{
	text	   *number = PG_GETARG_TEXT_PP(0);
	char	   *region = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			number_len = VARSIZE_ANY_EXHDR(number);
	char	   *in = palloc((Size) number_len + 6);
	struct varlena *id;
	char		buf[MCDP_IDENTIFIER_MAX + MCDP_PHONE_PREFIX_MAX];
	size_t		len;

	memcpy(in, "phone:", 6);
	memcpy(in + 6, VARDATA_ANY(number), number_len);
	id = make_identifier(in, (size_t) number_len + 6, ERRCODE_INVALID_TEXT_REPRESENTATION);
	len = VARSIZE_ANY_EXHDR(id) - 6;
	memcpy(buf, VARDATA_ANY(id), len + 6);
	for (char *c = region; *c != '\0'; c++)
		*c = pg_ascii_toupper((unsigned char) *c);
	if (!mcdp_phone_international(buf + 6, &len, region))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized region: \"%s\"", region),
				 errhint("A region is two letters of ISO 3166, such as \"DE\". A number with its country code needs none of the list: cast it.")));
	PG_RETURN_IDENTIFIER_P(make_identifier(buf, len + 6, ERRCODE_INVALID_TEXT_REPRESENTATION));
}

/* Where the namespace of a stored identifier ends. */
static int
namespace_len(struct varlena *id)
{
	char	   *colon = memchr(VARDATA_ANY(id), ':', VARSIZE_ANY_EXHDR(id));

	if (colon == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("identifier has no namespace")));
	return colon - VARDATA_ANY(id);
}

/* The bytes of an identifier are those of its text. */
Datum
mcdp__identifier_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
mcdp_namespace(PG_FUNCTION_ARGS)
{
	struct varlena *id = PG_GETARG_IDENTIFIER_PP(0);

	PG_RETURN_TEXT_P(cstring_to_text_with_len(VARDATA_ANY(id), namespace_len(id)));
}

Datum
mcdp_value(PG_FUNCTION_ARGS)
{
	struct varlena *id = PG_GETARG_IDENTIFIER_PP(0);
	int			skip = namespace_len(id) + 1;

	PG_RETURN_TEXT_P(cstring_to_text_with_len(VARDATA_ANY(id) + skip,
											  VARSIZE_ANY_EXHDR(id) - skip));
}
