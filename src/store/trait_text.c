/*-------------------------------------------------------------------------
 *
 * trait_text.c
 *	  Searchable traits that are texts or booleans: who has a value.
 *
 * The folded side of each value is an internal tag (31_trait_text.sql); the
 * profiles of trait_pending are looked up themselves, as for numbers
 * (trait_index.h).
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/trait_text.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "store/access.h"
#include "store/audience.h"
#include "store/trait_index.h"

#define BATCH			1000
#define MAX_VALUE		200		/* bytes; longer ones have no tag */

static SPIPlanPtr built_plan;
static SPIPlanPtr pending_plan;

static const char built_query[] =
"SELECT FROM cdp.trait_index i WHERE i.trait OPERATOR(pg_catalog.=) $1 AND i.type IN ('text', 'boolean') AND i.state = 'built'"
" AND EXISTS (SELECT FROM cdp.trait_rule r WHERE r.name = i.trait AND r.searchable AND r.type = i.type AND r.survivorship = i.survivorship)";
static const char pending_query[] =
"SELECT x.id FROM cdp.trait_pending q JOIN cdp.profile p ON p.profile_id OPERATOR(pg_catalog.=) q.profile_id,"
" LATERAL (VALUES (p.profile_id), (p.canonical_id)) AS x(id)"
" WHERE q.trait OPERATOR(pg_catalog.=) $1 GROUP BY x.id";

static uint64
run(SPIPlanPtr *plan, const char *query, const char *trait)
{
	Oid			type = TEXTOID;
	Datum		arg = CStringGetTextDatum(trait);

	if (*plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare(query, 1, &type);

		if (made == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(made) != 0)
			elog(ERROR, "SPI_keepplan failed");
		*plan = made;
	}
	if (SPI_execute_plan(*plan, &arg, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	return SPI_processed;
}

typedef struct Taker
{
	CriteriaCmp cmp;
	const CriteriaConst *consts;
	int			num_consts;
	TimestampTz at;
	Rbuf	   *result;
} Taker;

static void
take(void *arg, uint64 id, const CriteriaConst *value)
{
	Taker	   *t = arg;

	if (mcdp_criteria_compare(value, t->cmp, t->consts, t->num_consts, t->at))
		mcdp_rbuf_add(t->result, id);
}

Rbuf *
mcdp_trait_text(MemoryContext cx, const char *trait, CriteriaCmp cmp,
				const CriteriaConst *consts, int num_consts, TimestampTz at,
				const Rbuf *candidates)
{
	Taker		taker = {cmp, consts, num_consts, at, NULL};
	uint64		n;
	int64	   *ids;

	if (cmp != CRITERIA_EQ && cmp != CRITERIA_IN)
		return NULL;
	for (int i = 0; i < num_consts; i++)
		if ((consts[i].type != CRITERIA_TEXT && consts[i].type != CRITERIA_BOOLEAN) ||
			(consts[i].type == CRITERIA_TEXT && consts[i].len > MAX_VALUE))
			return NULL;
	mcdp_check_trait(trait);
	n = run(&built_plan, built_query, trait);
	SPI_freetuptable(SPI_tuptable);
	if (n == 0)
		return NULL;

	taker.result = mcdp_rbuf_create(cx);
	for (int i = 0; i < num_consts; i++)
	{
		char	   *tag = psprintf("\001trait:%s\001%s", trait,
								   consts[i].type == CRITERIA_TEXT ? psprintf("t%.*s", consts[i].len, consts[i].text) :
								   consts[i].boolean ? "btrue" : "bfalse");
		Rbuf	   *members = mcdp_chunk_members(cx, tag);

		mcdp_rbuf_or(taker.result, members);
		mcdp_rbuf_free(members);
	}

	n = run(&pending_plan, pending_query, trait);
	ids = MemoryContextAllocHuge(cx, (n + 1) * sizeof(int64));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		ids[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		mcdp_rbuf_remove(taker.result, (uint64) ids[i]);
	}
	SPI_freetuptable(SPI_tuptable);
	for (uint64 i = 0; i < n; i += BATCH)
		mcdp_source_traits(ids + i, (int) Min(BATCH, n - i), trait, take, &taker);
	pfree(ids);
	mcdp_rbuf_and(taker.result, candidates);
	return taker.result;
}
