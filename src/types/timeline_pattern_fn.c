/*-------------------------------------------------------------------------
 *
 * timeline_pattern_fn.c
 *	  SQL functions: patterns over timelines.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_pattern_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "types/timeline_datum.h"
#include "types/timeline_match.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

StaticAssertDecl(MATCH_AT_THE_END == DT_NOEND, "infinity is the end of time");

/* The pattern of a call site, kept from row to row. */
typedef struct OpenPattern
{
	MemoryContext cx;
	text	   *source;
	MatchPattern pattern;
} OpenPattern;

void
mcdp_pattern_error(const text * source, const MatchError *err)
{
	ereport(ERROR,
			(errcode(err->unsupported ? ERRCODE_FEATURE_NOT_SUPPORTED : ERRCODE_INVALID_PARAMETER_VALUE),
			 err->unsupported ? errmsg("this pattern is not supported here") : errmsg("invalid pattern"),
			 errdetail("%s, at character %d.", err->detail,
					   pg_mbstrlen_with_len(VARDATA_ANY(source), err->offset) + 1)));
}

static const MatchPattern *
get_pattern(FunctionCallInfo fcinfo, int arg)
{
	OpenPattern *open = fcinfo->flinfo->fn_extra;
	text	   *source = PG_GETARG_TEXT_PP(arg);
	int			len = VARSIZE_ANY_EXHDR(source);
	MatchError	err;
	MemoryContext old;
	bool		ok;

	if (open != NULL && open->source != NULL && VARSIZE_ANY_EXHDR(open->source) == len &&
		memcmp(VARDATA_ANY(open->source), VARDATA_ANY(source), len) == 0)
	{
		PG_FREE_IF_COPY(source, arg);
		return &open->pattern;
	}
	if (open == NULL)
	{
		open = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(OpenPattern));
		open->cx = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "pattern", ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = open;
	}
	open->source = NULL;
	MemoryContextReset(open->cx);
	old = MemoryContextSwitchTo(open->cx);
	ok = mcdp_pattern_parse(VARDATA_ANY(source), len, &open->pattern, &err);
	if (ok)
		open->source = cstring_to_text_with_len(VARDATA_ANY(source), len);
	MemoryContextSwitchTo(old);
	if (!ok)
		mcdp_pattern_error(source, &err);
	return &open->pattern;
}

static int64
count_pattern(FunctionCallInfo fcinfo, int64 limit)
{
	Timeline   *t = PG_GETARG_TIMELINE_P(0);
	const MatchPattern *pattern = get_pattern(fcinfo, 1);
	TimestampTz at = PG_NARGS() > 2 ? PG_GETARG_TIMESTAMPTZ(2) : MATCH_AT_THE_END;
	TimelineView v;
	int64		count;

	mcdp_timeline_open(&v, t);
	count = mcdp_timeline_pattern(&v, pattern, at, limit);
	PG_FREE_IF_COPY(t, 0);
	return count;
}

/* sequence_match(timeline, pattern [, at]); at infinity is the end of time */
PG_FUNCTION_INFO_V1(mcdp_sequence_match);
Datum
mcdp_sequence_match(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(count_pattern(fcinfo, 1) > 0);
}

/* sequence_count(timeline, pattern [, at]) */
PG_FUNCTION_INFO_V1(mcdp_sequence_count);
Datum
mcdp_sequence_count(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) count_pattern(fcinfo, PG_INT32_MAX));
}
