/*-------------------------------------------------------------------------
 *
 * timeline_io.c
 *	  Text and binary forms of timelines.
 *
 * Text form, events in order:
 *
 *		{2026-01-02T03:04:05Z "view", 2026-01-02T03:04:05.678900Z "cart"["sku 1"]=9.99}
 *
 * that is, an instant in UTC (astronomical years: 0000 is 1 BC), the name,
 * then the label in brackets and the value after "=" unless NULL.  Names are
 * always quoted, a quote inside is doubled, nothing else is special.  Values
 * are the shortest decimals that read back exactly.  No setting matters.
 * Input may have blanks between the parts, and events in any order.
 *
 * Binary form: the stored form without the varlena header, beginning with the
 * format version.  Names are in the database encoding.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_io.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "types/timeline_datum.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* ---------------------------------------------------------------- output */

static void
append_instant(StringInfo buf, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("timestamp in a stored timeline is out of range")));
	appendStringInfo(buf, "%s%04d-%02d-%02dT%02d:%02d:%02d",
					 tm.tm_year < 0 ? "-" : "", abs(tm.tm_year), tm.tm_mon, tm.tm_mday,
					 tm.tm_hour, tm.tm_min, tm.tm_sec);
	if (fsec != 0)
		appendStringInfo(buf, ".%06d", (int) fsec);
	appendStringInfoChar(buf, 'Z');
}

static void
append_quoted(StringInfo buf, const char *s, int len)
{
	appendStringInfoChar(buf, '"');
	for (;;)
	{
		const char *quote = memchr(s, '"', len);

		if (quote == NULL)
			break;
		appendBinaryStringInfo(buf, s, quote - s + 1);
		appendStringInfoChar(buf, '"');
		len -= quote - s + 1;
		s = quote + 1;
	}
	appendBinaryStringInfo(buf, s, len);
	appendStringInfoChar(buf, '"');
}

PG_FUNCTION_INFO_V1(mcdp_timeline_out);
Datum
mcdp_timeline_out(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	TimelineView v;
	StringInfoData buf;

	mcdp_timeline_open(&v, t);
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (uint32 i = 0; i < v.nevents; i++)
	{
		int			len;
		const char *name = mcdp_timeline_event_name(&v, timeline_event_code(&v, i), &len);
		uint32		label = timeline_label_code(&v, i);
		double		value;

		CHECK_FOR_INTERRUPTS();
		if (i > 0)
			appendStringInfoString(&buf, ", ");
		append_instant(&buf, timeline_at(&v, i));
		appendStringInfoChar(&buf, ' ');
		append_quoted(&buf, name, len);
		if (label != TIMELINE_NO_LABEL)
		{
			name = mcdp_timeline_label_name(&v, label, &len);
			appendStringInfoChar(&buf, '[');
			append_quoted(&buf, name, len);
			appendStringInfoChar(&buf, ']');
		}
		if (timeline_value(&v, i, &value))
		{
			char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];

			double_to_shortest_decimal_buf(value, digits);
			appendStringInfoChar(&buf, '=');
			appendStringInfoString(&buf, digits);
		}
	}
	appendStringInfoChar(&buf, '}');
	PG_RETURN_CSTRING(buf.data);
}

/* ----------------------------------------------------------------- input */

typedef struct Parser
{
	const char *input;
	const char *p;
} Parser;

static void
syntax_error(const Parser *parser, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type timeline"),
			 errdetail("Expected %s at character %d.", expected,
					   pg_mbstrlen_with_len(parser->input, parser->p - parser->input) + 1)));
}

static void
skip_blanks(Parser *parser)
{
	while (*parser->p == ' ' || (*parser->p >= '\t' && *parser->p <= '\r'))
		parser->p++;
}

static bool
accept(Parser *parser, char c)
{
	if (*parser->p != c)
		return false;
	parser->p++;
	return true;
}

/* Between min and max decimal digits. */
static int
read_digits(Parser *parser, int min, int max, int *ndigits)
{
	int			n = 0,
				x = 0;

	while (n < max && *parser->p >= '0' && *parser->p <= '9')
	{
		x = x * 10 + (*parser->p++ - '0');
		n++;
	}
	if (n < min)
		syntax_error(parser, "a time such as 2026-01-02T03:04:05.678Z");
	if (ndigits)
		*ndigits = n;
	return x;
}

static TimestampTz
read_instant(Parser *parser)
{
	static const char between[] = "--T::";
	const char *start = parser->p;
	bool		negative = accept(parser, '-');
	int			part[6];
	fsec_t		fsec = 0;
	struct pg_tm tm;
	Timestamp	at;

	for (int i = 0; i < 6; i++)
	{
		part[i] = read_digits(parser, i == 0 ? 4 : 2, i == 0 ? 6 : 2, NULL);
		if (i < 5 && !accept(parser, between[i]))
			syntax_error(parser, "a time such as 2026-01-02T03:04:05.678Z");
	}
	if (accept(parser, '.'))
	{
		int			n;

		fsec = read_digits(parser, 1, 6, &n);
		for (; n < 6; n++)
			fsec *= 10;
	}
	if (!accept(parser, 'Z'))
		syntax_error(parser, "a time such as 2026-01-02T03:04:05.678Z");

	memset(&tm, 0, sizeof(tm));
	tm.tm_year = negative ? -part[0] : part[0];
	tm.tm_mon = part[1];
	tm.tm_mday = part[2];
	tm.tm_hour = part[3];
	tm.tm_min = part[4];
	tm.tm_sec = part[5];
	if (tm.tm_mon < 1 || tm.tm_mon > MONTHS_PER_YEAR || tm.tm_mday < 1 ||
		tm.tm_mday > day_tab[isleap(tm.tm_year)][tm.tm_mon - 1] ||
		tm.tm_hour >= HOURS_PER_DAY || tm.tm_min >= MINS_PER_HOUR || tm.tm_sec >= SECS_PER_MINUTE ||
		tm2timestamp(&tm, fsec, NULL, &at) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
				 errmsg("date/time field value out of range: \"%.*s\"",
						(int) (parser->p - start), start)));
	return at;
}

/* A quoted name, palloc'd. */
static char *
read_quoted(Parser *parser, int *len)
{
	StringInfoData buf;

	if (!accept(parser, '"'))
		syntax_error(parser, "a name in double quotes");
	initStringInfo(&buf);
	for (;;)
	{
		const char *quote = strchr(parser->p, '"');

		if (quote == NULL)
		{
			parser->p += strlen(parser->p);
			syntax_error(parser, "a closing double quote");
		}
		appendBinaryStringInfo(&buf, parser->p, quote - parser->p);
		parser->p = quote + 1;
		if (!accept(parser, '"'))
			break;
		appendStringInfoChar(&buf, '"');
	}
	*len = buf.len;
	return buf.data;
}

static double
read_number(Parser *parser)
{
	static const struct
	{
		const char *word;
		double		value;
	}			words[] = {
		{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}
	};
	size_t		len;
	char	   *digits,
			   *end;
	double		value;

	for (int i = 0; i < lengthof(words); i++)
	{
		len = strlen(words[i].word);
		if (strncmp(parser->p, words[i].word, len) == 0)
		{
			parser->p += len;
			return words[i].value;
		}
	}

	len = strspn(parser->p, "+-.0123456789eE");
	digits = pnstrdup(parser->p, len);
	errno = 0;
	value = strtod(digits, &end);
	if (len == 0 || *end != '\0' || end == digits)
		syntax_error(parser, "a number");
	/* a denormal number is one, though strtod reports it as out of range */
	if (errno == ERANGE && (value == 0 || isinf(value)))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("\"%s\" is out of range for type double precision", digits)));
	pfree(digits);
	parser->p += len;
	return value;
}

PG_FUNCTION_INFO_V1(mcdp_timeline_in);
Datum
mcdp_timeline_in(PG_FUNCTION_ARGS)
{
	TimelineBuilder *b = mcdp_timeline_builder_create(CurrentMemoryContext);
	Parser		parser;

	parser.input = parser.p = PG_GETARG_CSTRING(0);
	skip_blanks(&parser);
	if (!accept(&parser, '{'))
		syntax_error(&parser, "\"{\"");
	skip_blanks(&parser);
	if (!accept(&parser, '}'))
	{
		do
		{
			TimestampTz at;
			char	   *event,
					   *label = NULL;
			int			event_len,
						label_len = 0;
			bool		has_value = false;
			double		value = 0;

			CHECK_FOR_INTERRUPTS();
			skip_blanks(&parser);
			at = read_instant(&parser);
			skip_blanks(&parser);
			event = read_quoted(&parser, &event_len);
			skip_blanks(&parser);
			if (accept(&parser, '['))
			{
				skip_blanks(&parser);
				label = read_quoted(&parser, &label_len);
				skip_blanks(&parser);
				if (!accept(&parser, ']'))
					syntax_error(&parser, "\"]\"");
				skip_blanks(&parser);
			}
			if (accept(&parser, '='))
			{
				skip_blanks(&parser);
				value = read_number(&parser);
				has_value = true;
				skip_blanks(&parser);
			}
			mcdp_timeline_builder_add(b, at, event, event_len, label, label_len,
									  has_value, value);
			pfree(event);
			if (label)
				pfree(label);
		} while (accept(&parser, ','));
		if (!accept(&parser, '}'))
			syntax_error(&parser, "\",\" or \"}\"");
	}
	skip_blanks(&parser);
	if (*parser.p != '\0')
		syntax_error(&parser, "end of input");
	PG_RETURN_TIMELINE_P(mcdp_timeline_builder_finish(b));
}

/* ---------------------------------------------------------------- binary */

static void
check_names(const TimelineDict *d)
{
	for (uint32 i = 0; i < d->count; i++)
	{
		int			len;
		const char *s = timeline_dict_string(d, i, &len);

		if (!pg_verify_mbstr(GetDatabaseEncoding(), s, len, true))
			report_invalid_encoding(GetDatabaseEncoding(), s, len);
	}
}

/* A checked copy of bytes from outside, or an error. */
static Timeline *
timeline_from_bytes(const char *bytes, size_t len)
{
	McdpBadInput bad;
	Timeline   *t;
	TimelineView v;

	if (!mcdp_timeline_check(bytes, len, &bad))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type timeline at byte %zu", bad.offset),
				 errdetail_internal("%s", bad.reason)));
	t = palloc(len + sizeof(int32));
	SET_VARSIZE(t, len + sizeof(int32));
	memcpy((char *) t + sizeof(int32), bytes, len);
	mcdp_timeline_open(&v, t);
	check_names(&v.event_dict);
	check_names(&v.label_dict);
	return t;
}

PG_FUNCTION_INFO_V1(mcdp_timeline_recv);
Datum
mcdp_timeline_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;

	PG_RETURN_TIMELINE_P(timeline_from_bytes(pq_getmsgbytes(buf, len), len));
}

PG_FUNCTION_INFO_V1(mcdp_timeline_send);
Datum
mcdp_timeline_send(PG_FUNCTION_ARGS)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	size_t		size = VARSIZE(t);
	bytea	   *result = palloc(size);

	memcpy(result, t, size);
	PG_RETURN_BYTEA_P(result);
}

PG_FUNCTION_INFO_V1(mcdp_timeline_from_bytea);
Datum
mcdp_timeline_from_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_TIMELINE_P(timeline_from_bytes(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)));
}
