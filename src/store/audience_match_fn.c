/*-------------------------------------------------------------------------
 *
 * audience_match_fn.c
 *	  SQL-callable functions: matches, _matches.
 *
 * One call asks about one profile.  A query that asks about many, one after
 * the other, soon is cheaper off with the whole audience: when the single
 * answers have cost as much as that would, it is made, and further calls look
 * into it.  It counts as long as the same rule is asked at the same instant
 * under the same snapshot.
 *
 * _matches is asked by journeys, each profile at an instant of its own.  Many
 * journeys may have the same rule: it remembers what it said.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/audience_match_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/audience.h"
#include "store/audience_estimate.h"
#include "store/suppression.h"
#include "types/criteria_datum.h"

PG_FUNCTION_INFO_V1(mcdp_matches);
PG_FUNCTION_INFO_V1(mcdp_matches_with_suppressed);
PG_FUNCTION_INFO_V1(mcdp__matches);

#define FIRST_CALLS		32		/* before costs are thought about */

/* What a snapshot sees: the same, if all of this is. */
typedef struct Seen
{
	TransactionId xmin;
	TransactionId xmax;
	CommandId	curcid;
	SubTransactionId subxact;	/* a rolled back one takes its changes along */
	bool		suboverflowed;
	int			nxids;
	TransactionId *xids;
} Seen;

/* A rule that was opened, kept for the next call from the same place. */
typedef struct OpenRule
{
	MemoryContext cx;
	Criteria   *stored;
	CriteriaNode *rule;

	/* whom it was asked about, and under which circumstances */
	MemoryContext set_cx;
	TimestampTz at;
	Seen		seen;
	double		calls;
	double		enough;			/* calls after which a set is made */
	Rbuf	   *set;
} OpenRule;

static OpenRule *
open_rule(FunctionCallInfo fcinfo)
{
	OpenRule   *open = fcinfo->flinfo->fn_extra;
	Criteria   *stored = PG_GETARG_CRITERIA_PP(1);
	MemoryContext old;

	if (open != NULL && open->stored != NULL &&
		VARSIZE_ANY_EXHDR(open->stored) == VARSIZE_ANY_EXHDR(stored) &&
		memcmp(VARDATA_ANY(open->stored), VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(stored)) == 0)
		return open;
	if (open == NULL)
	{
		open = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(OpenRule));
		open->cx = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "criteria",
										 ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = open;
	}
	open->stored = NULL;
	open->calls = 0;
	open->set = NULL;
	open->set_cx = NULL;
	MemoryContextReset(open->cx);
	old = MemoryContextSwitchTo(open->cx);
	open->rule = mcdp_criteria_open(stored);
	open->stored = palloc(VARSIZE_ANY(stored));
	memcpy(open->stored, stored, VARSIZE_ANY(stored));
	MemoryContextSwitchTo(old);
	return open;
}

/* ---- many calls ---- */

/* A copied snapshot has lost those that overflowed, though it says how many there were. */
static int
num_subxids(Snapshot snapshot)
{
	return snapshot->subxip == NULL ? 0 : Max(snapshot->subxcnt, 0);
}

static void
take_snapshot(Seen *seen, Snapshot snapshot)
{
	int			nsubxids = num_subxids(snapshot);

	seen->xmin = snapshot->xmin;
	seen->xmax = snapshot->xmax;
	seen->curcid = snapshot->curcid;
	seen->subxact = GetCurrentSubTransactionId();
	seen->suboverflowed = snapshot->suboverflowed;
	seen->nxids = snapshot->xcnt + nsubxids;
	seen->xids = palloc((seen->nxids + 1) * sizeof(TransactionId));
	memcpy(seen->xids, snapshot->xip, snapshot->xcnt * sizeof(TransactionId));
	if (nsubxids > 0)
		memcpy(seen->xids + snapshot->xcnt, snapshot->subxip, nsubxids * sizeof(TransactionId));
}

static bool
is_seen(const Seen *seen, Snapshot snapshot)
{
	int			nsubxids = num_subxids(snapshot);

	return seen->xmin == snapshot->xmin && seen->xmax == snapshot->xmax &&
		seen->curcid == snapshot->curcid && seen->subxact == GetCurrentSubTransactionId() &&
		seen->suboverflowed == snapshot->suboverflowed &&
		seen->nxids == snapshot->xcnt + nsubxids &&
		memcmp(seen->xids, snapshot->xip, snapshot->xcnt * sizeof(TransactionId)) == 0 &&
		(nsubxids == 0 ||
		 memcmp(seen->xids + snapshot->xcnt, snapshot->subxip, nsubxids * sizeof(TransactionId)) == 0);
}

/* The audience, if by now it pays to have it. */
static const Rbuf *
get_set(OpenRule *open, TimestampTz at)
{
	Snapshot	snapshot = GetActiveSnapshot();
	MemoryContext old;

	if (open->calls == 0 || at != open->at || !is_seen(&open->seen, snapshot))
	{
		if (open->set_cx == NULL)
			open->set_cx = AllocSetContextCreate(open->cx, "audience", ALLOCSET_DEFAULT_SIZES);
		MemoryContextReset(open->set_cx);
		open->set = NULL;
		open->at = at;
		open->calls = 0;
		open->enough = FIRST_CALLS;
		old = MemoryContextSwitchTo(open->set_cx);
		take_snapshot(&open->seen, snapshot);
		MemoryContextSwitchTo(old);
	}
	open->calls++;
	if (open->calls == FIRST_CALLS)
	{
		AudienceEstimate estimate;

		old = MemoryContextSwitchTo(open->set_cx);
		mcdp_audience_estimate(mcdp_plan_make(open->rule), "person", &estimate, NULL);
		open->enough = FIRST_CALLS + 1 + estimate.set_ms / estimate.point_ms;
		MemoryContextSwitchTo(old);
	}
	if (open->set == NULL && open->calls > open->enough)
		open->set = mcdp_audience_of_all_kinds(open->set_cx, open->rule, at);
	return open->set;
}

/* ---- functions ---- */

static bool
matches(CriteriaNode *rule, int64 id, TimestampTz at, const char *label, bool suppress)
{
	MemoryContext cx = AllocSetContextCreate(CurrentMemoryContext, "matches",
											 ALLOCSET_SMALL_SIZES);
	bool		result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	result = mcdp_source_in_universe(id, at);
	if (result && suppress)
		rule = mcdp_suppression_apply_to(rule, id);
	result = result && mcdp_audience_matches(cx, rule, id, at, label);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	MemoryContextDelete(cx);
	return result;
}

/* matches(profile, criteria, at) */
Datum
mcdp_matches(PG_FUNCTION_ARGS)
{
	OpenRule   *open = open_rule(fcinfo);
	int64		id = PG_GETARG_INT64(0);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
	const Rbuf *set;

	mcdp_audience_check_rule(open->rule);
	set = get_set(open, at);
	if (set != NULL)
		PG_RETURN_BOOL(id >= 0 && mcdp_rbuf_contains(set, (uint64) id));
	PG_RETURN_BOOL(matches(open->rule, id, at, NULL, true));
}

/* matches_with_suppressed(profile, criteria, at) */
Datum
mcdp_matches_with_suppressed(PG_FUNCTION_ARGS)
{
	OpenRule   *open = open_rule(fcinfo);

	mcdp_audience_check_rule(open->rule);
	PG_RETURN_BOOL(matches(open->rule, PG_GETARG_INT64(0), PG_GETARG_TIMESTAMPTZ(2), NULL, false));
}

/* ---- the same question from many journeys ---- */

#define MEMO_RULES		64
#define MEMO_ANSWERS	100000

typedef struct AskedRule
{
	Criteria   *stored;
	CriteriaNode *rule;
	bool		free_label;		/* the answer depends on the label, too */
} AskedRule;

typedef struct Question
{
	int64		id;
	TimestampTz at;
	int64		rule;
} Question;

typedef struct Answer
{
	Question	question;		/* hash key: must be first */
	bool		holds;
} Answer;

typedef struct Memo
{
	MemoryContext cx;			/* all that follows */
	int			num_rules;
	int			last;			/* asked rule */
	AskedRule	rules[MEMO_RULES];
	Seen		seen;
	HTAB	   *answers;		/* from the second call on */
} Memo;

static Memo *
open_memo(FunctionCallInfo fcinfo)
{
	Memo	   *memo = fcinfo->flinfo->fn_extra;

	if (memo == NULL)
	{
		memo = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Memo));
		memo->cx = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "matches memo", ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = memo;
	}
	return memo;
}

static void
forget(Memo *memo)
{
	memo->num_rules = 0;
	memo->answers = NULL;
	MemoryContextReset(memo->cx);
}

static bool
is_rule(const AskedRule *asked, Criteria *stored)
{
	return VARSIZE_ANY_EXHDR(asked->stored) == VARSIZE_ANY_EXHDR(stored) &&
		memcmp(VARDATA_ANY(asked->stored), VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(stored)) == 0;
}

static AskedRule *
find_rule(Memo *memo, Criteria *stored)
{
	AskedRule  *asked;
	MemoryContext old;

	if (memo->num_rules > 0 && is_rule(&memo->rules[memo->last], stored))
		return &memo->rules[memo->last];
	for (int i = 0; i < memo->num_rules; i++)
		if (is_rule(&memo->rules[i], stored))
		{
			memo->last = i;
			return &memo->rules[i];
		}
	if (memo->num_rules == MEMO_RULES)
		forget(memo);
	asked = &memo->rules[memo->num_rules];
	old = MemoryContextSwitchTo(memo->cx);
	asked->rule = mcdp_criteria_open(stored);
	asked->stored = palloc(VARSIZE_ANY(stored));
	memcpy(asked->stored, stored, VARSIZE_ANY(stored));
	asked->free_label = mcdp_criteria_has_free_label(asked->rule);
	MemoryContextSwitchTo(old);
	memo->last = memo->num_rules++;
	return asked;
}

/* What has been said under this snapshot; NULL: nothing yet, it is the first call. */
static HTAB *
answers(Memo *memo)
{
	Snapshot	snapshot = GetActiveSnapshot();
	HASHCTL		ctl = {.keysize = sizeof(Question), .entrysize = sizeof(Answer), .hcxt = memo->cx};
	MemoryContext old;

	if (memo->seen.xids != NULL && is_seen(&memo->seen, snapshot))
	{
		if (memo->answers != NULL && hash_get_num_entries(memo->answers) >= MEMO_ANSWERS)
		{
			hash_destroy(memo->answers);
			memo->answers = NULL;
		}
		if (memo->answers == NULL)
			memo->answers = hash_create("answers of matches", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		return memo->answers;
	}
	if (memo->answers != NULL)
		hash_destroy(memo->answers);
	memo->answers = NULL;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(memo));
	if (memo->seen.xids != NULL)
		pfree(memo->seen.xids);
	take_snapshot(&memo->seen, snapshot);
	MemoryContextSwitchTo(old);
	return NULL;
}

/*
 * _matches(profile, criteria, at, label): [$] is the label.  NULL, for somebody
 * whose journey began with an event without one, is no event's label: stored
 * labels are never empty.
 */
Datum
mcdp__matches(PG_FUNCTION_ARGS)
{
	Memo	   *memo;
	AskedRule  *asked;
	HTAB	   *said;
	Answer	   *answer = NULL;
	Question	question;
	bool		holds;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	memo = open_memo(fcinfo);
	asked = find_rule(memo, PG_GETARG_CRITERIA_PP(1));
	question = (Question) {PG_GETARG_INT64(0), PG_GETARG_TIMESTAMPTZ(2), asked - memo->rules};
	said = asked->free_label ? NULL : answers(memo);
	if (said != NULL)
		answer = hash_search(said, &question, HASH_FIND, NULL);
	if (answer != NULL)
		PG_RETURN_BOOL(answer->holds);
	holds = matches(asked->rule, question.id, question.at, PG_ARGISNULL(3) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(3)), true);
	if (said != NULL)
	{
		answer = hash_search(said, &question, HASH_ENTER, NULL);
		answer->holds = holds;
	}
	PG_RETURN_BOOL(holds);
}
