/*-------------------------------------------------------------------------
 *
 * identity_rules.c
 *	  namespace_rule and blocked_value, as every call needs them.
 *
 * Both tables are small and every call asks them, so they are kept in memory.
 * A trigger on each tells all sessions when it has changed: in the way in
 * which they hear of a changed definition, when the change is committed.
 *
 * The blocked values of a namespace are put together into one regular
 * expression.  A pattern that refers back to a group of its own (\1) stays by
 * itself, because groups would be counted differently.  A filter
 * (core/pattern_filter.h) spares nearly all values the expression; patterns
 * that it does not know stand in one of their own.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/identity_rules.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/compat.h"
#include "core/pattern_filter.h"
#include "store/identity_rules.h"

/* positions */
#define RULE_NAMESPACE 1
#define RULE_KIND 2
#define RULE_PRIORITY 3
#define RULE_MAX_PER_PROFILE 4
#define RULE_NEVER_MERGE_IF_DIFFERENT 6
#define RULE_SEEDED 7
#define RULE_QUARANTINE_AFTER 8
#define BLOCK_NAMESPACE 1
#define BLOCK_PATTERN 2
#define BLOCK_ACTIVE 3
#define BLOCK_SEEDED 4
#define BLOCK_EXACT 5

/* a row of blocked_value while they are read */
typedef struct BlockRow
{
	char	   *namespace;
	char	   *pattern;
	bool		active;
	bool		seeded;
	bool		exact;
	bool		filtered;		/* core/pattern_filter.c knows the pattern */
} BlockRow;

/* something that blocks values: an expression, or a value in lower case */
typedef struct BlockedValue
{
	char	   *namespace;		/* "*" = all */
	int			namespace_len;
	char	   *exact;
	pg_wchar   *pattern;
	int			pattern_len;
	PatternFilter *filter;		/* or NULL */
	bool		compiled;
	regex_t		regex;
} BlockedValue;

static MemoryContext rules_context = NULL;
static IdentityRules *rules = NULL;
static Oid	rule_relid = InvalidOid;
static Oid	block_relid = InvalidOid;
static bool read_in_parallel = false;	/* under a snapshot that may be old */

PG_FUNCTION_INFO_V1(mcdp__identity_rules_changed);

/* Forget what was read.  Compiled expressions are not in a memory context before 16. */
static void
forget(void)
{
	if (rules)
	{
		ListCell   *lc;

		foreach(lc, rules->blocks)
		{
			BlockedValue *b = lfirst(lc);

			if (b->compiled)
				pg_regfree(&b->regex);
		}
	}
	rules = NULL;
	rule_relid = block_relid = InvalidOid;
	if (rules_context)
		MemoryContextReset(rules_context);
}

static void
relation_changed(Datum arg, Oid relid)
{
	/* nothing is freed here: somebody may be using it */
	if (relid == InvalidOid || relid == rule_relid || relid == block_relid)
		rule_relid = InvalidOid;
}

static Datum
get(HeapTuple tuple, Relation rel, AttrNumber column, bool *isnull)
{
	return heap_getattr(tuple, column, RelationGetDescr(rel), isnull);
}

static char *
get_string(HeapTuple tuple, Relation rel, AttrNumber column)
{
	bool		isnull;

	return TextDatumGetCString(get(tuple, rel, column, &isnull));
}

static void
read_rules(Relation rel, Snapshot snapshot)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;
	int			room = 16;

	rules->namespaces = palloc(room * sizeof(NamespaceRule));
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		NamespaceRule rule;
		bool		isnull;
		int			i;

		rule.namespace = get_string(tuple, rel, RULE_NAMESPACE);
		rule.namespace_len = strlen(rule.namespace);
		rule.kind = DatumGetTextPCopy(get(tuple, rel, RULE_KIND, &isnull));
		rule.priority = DatumGetInt32(get(tuple, rel, RULE_PRIORITY, &isnull));
		rule.seeded = DatumGetBool(get(tuple, rel, RULE_SEEDED, &isnull));
		get(tuple, rel, RULE_MAX_PER_PROFILE, &isnull);
		rule.limits = !isnull || DatumGetBool(get(tuple, rel, RULE_NEVER_MERGE_IF_DIFFERENT, &isnull));
		get(tuple, rel, RULE_QUARANTINE_AFTER, &isnull);
		rule.quarantines = !isnull;
		rules->limits |= rule.limits;
		rules->quarantines |= rule.quarantines;

		/* a user's row overrides the seeded one */
		for (i = 0; i < rules->num && strcmp(rules->namespaces[i].namespace, rule.namespace) != 0; i++)
			;
		if (i < rules->num && rule.seeded)
			continue;
		if (i == room)
		{
			room *= 2;
			rules->namespaces = repalloc(rules->namespaces, room * sizeof(NamespaceRule));
		}
		rules->namespaces[i] = rule;
		rules->num = Max(rules->num, i + 1);
	}
	systable_endscan(scan);
}

/* "pattern" is of the whole value. */
static void
add_block(const char *namespace, const char *exact, const char *pattern, bool filtered)
{
	BlockedValue *b = palloc0(sizeof(BlockedValue));

	b->namespace = pstrdup(namespace);
	b->namespace_len = strlen(namespace);
	if (exact)
		b->exact = str_tolower(exact, strlen(exact), DEFAULT_COLLATION_OID);
	else
	{
		char	   *anchored = psprintf("^(?:%s)$", pattern);

		b->pattern = palloc((strlen(anchored) + 1) * sizeof(pg_wchar));
		b->pattern_len = pg_mb2wchar_with_len(anchored, b->pattern, strlen(anchored));
		if (filtered)
		{
			b->filter = palloc(sizeof(PatternFilter));
			if (!mcdp_filter_make(b->filter, pattern, strlen(pattern)))
				b->filter = NULL;	/* too many places */
		}
	}
	rules->blocks = lappend(rules->blocks, b);
}

static bool
refers_back(const char *pattern)
{
	for (; *pattern; pattern++)
	{
		if (*pattern == '\\' && *++pattern >= '0' && *pattern <= '9')
			return true;
		if (*pattern == '\0')
			break;
	}
	return false;
}

static void
read_blocks(Relation rel, Snapshot snapshot)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;
	List	   *rows = NIL;
	ListCell   *lc,
			   *lc2;
	PatternFilter *filter = palloc(sizeof(PatternFilter));

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		BlockRow   *row = palloc(sizeof(BlockRow));
		bool		isnull;

		row->namespace = get_string(tuple, rel, BLOCK_NAMESPACE);
		row->pattern = get_string(tuple, rel, BLOCK_PATTERN);
		row->active = DatumGetBool(get(tuple, rel, BLOCK_ACTIVE, &isnull));
		row->seeded = DatumGetBool(get(tuple, rel, BLOCK_SEEDED, &isnull));
		row->exact = DatumGetBool(get(tuple, rel, BLOCK_EXACT, &isnull));
		row->filtered = mcdp_filter_make(filter, row->pattern, strlen(row->pattern));
		rows = lappend(rows, row);
	}
	systable_endscan(scan);
	pfree(filter);

	/* a user's row takes the place of the seeded one with the same key */
	foreach(lc, rows)
	{
		BlockRow   *user = lfirst(lc);

		foreach(lc2, rows)
		{
			BlockRow   *row = lfirst(lc2);

			if (!user->seeded && row->seeded &&
				strcmp(row->namespace, user->namespace) == 0 && strcmp(row->pattern, user->pattern) == 0)
				row->active = false;
		}
	}
	foreach(lc, rows)
	{
		BlockRow   *row = lfirst(lc);
		StringInfoData all;

		if (!row->active)
			continue;
		if (row->exact)
		{
			add_block(row->namespace, row->pattern, NULL, false);
			continue;
		}
		initStringInfo(&all);
		appendStringInfoString(&all, row->pattern);
		if (!refers_back(row->pattern))
		{
			/* with those of the same namespace that come later */
			foreach(lc2, rows)
			{
				BlockRow   *other = lfirst(lc2);

				if (other != row && other->active && !other->exact && !refers_back(other->pattern) &&
					other->filtered == row->filtered &&
					strcmp(other->namespace, row->namespace) == 0)
				{
					appendStringInfo(&all, "|%s", other->pattern);
					other->active = false;
				}
			}
		}
		add_block(row->namespace, NULL, all.data, row->filtered);
	}
}

const IdentityRules *
mcdp_identity_rules(Oid schema)
{
	static bool registered = false;
	MemoryContext caller;
	Oid			rule;
	Oid			block;
	Relation	rel;
	Snapshot	snapshot;

	if (rules && OidIsValid(rule_relid) && !read_in_parallel)
		return rules;
	forget();
	if (!registered)
	{
		rules_context = AllocSetContextCreate(TopMemoryContext, "marketing_cdp identity rules", ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		registered = true;
	}

	rule = get_relname_relid("namespace_rule", schema);
	block = get_relname_relid("blocked_value", schema);
	if (!OidIsValid(rule) || !OidIsValid(block))
		elog(ERROR, "tables of rules do not exist");
	caller = MemoryContextSwitchTo(rules_context);
	rules = palloc0(sizeof(IdentityRules));
	rel = table_open(rule, AccessShareLock);
	/* Changes from here on are heard of; what is read is of after that. */
	rule_relid = rule;
	block_relid = block;
	read_in_parallel = IsInParallelMode();
	snapshot = RegisterSnapshot(read_in_parallel ? GetTransactionSnapshot() : GetLatestSnapshot());
	PG_TRY();
	{
		read_rules(rel, snapshot);
		table_close(rel, AccessShareLock);
		rel = table_open(block, AccessShareLock);
		read_blocks(rel, snapshot);
		table_close(rel, AccessShareLock);
	}
	PG_CATCH();
	{
		rule_relid = InvalidOid;	/* half of it is missing */
		PG_RE_THROW();
	}
	PG_END_TRY();
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(caller);
	return rules;
}

const NamespaceRule *
mcdp_namespace_rule(const IdentityRules *r, const char *namespace, int len)
{
	for (int i = 0; i < r->num; i++)
	{
		if (r->namespaces[i].namespace_len == len && memcmp(r->namespaces[i].namespace, namespace, len) == 0)
			return &r->namespaces[i];
	}
	return NULL;
}

static bool
matches(BlockedValue *b, const pg_wchar *value, int len)
{
	int			rc;
	char		message[100];

	if (!b->compiled)
	{
		MemoryContext caller = MemoryContextSwitchTo(rules_context);

		rc = pg_regcomp(&b->regex, b->pattern, b->pattern_len, REG_ADVANCED | REG_ICASE | REG_NOSUB, DEFAULT_COLLATION_OID);
		MemoryContextSwitchTo(caller);
		if (rc != REG_OKAY)
		{
			CHECK_FOR_INTERRUPTS();		/* that is an error of the engine, too */
			pg_regerror(rc, &b->regex, message, sizeof(message));
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
					 errmsg("a blocked value of namespace \"%s\" is no regular expression: %s", b->namespace, message)));
		}
		b->compiled = true;
	}
	rc = pg_regexec(&b->regex, value, len, 0, NULL, 0, NULL, 0);
	if (rc != REG_OKAY && rc != REG_NOMATCH)
	{
		CHECK_FOR_INTERRUPTS();
		pg_regerror(rc, &b->regex, message, sizeof(message));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
				 errmsg("regular expression failed: %s", message)));
	}
	return rc == REG_OKAY;
}

bool
mcdp_is_blocked(const IdentityRules *r, const char *namespace, int namespace_len, const char *value, int value_len)
{
	pg_wchar   *wide = NULL;
	int			wide_len = 0;
	char	   *lower = NULL;
	ListCell   *lc;

	foreach(lc, r->blocks)
	{
		BlockedValue *b = lfirst(lc);

		if (!(b->namespace_len == 1 && b->namespace[0] == '*') &&
			!(b->namespace_len == namespace_len && memcmp(b->namespace, namespace, namespace_len) == 0))
			continue;
		if (b->exact)
		{
			if (!lower)
				lower = str_tolower(value, value_len, DEFAULT_COLLATION_OID);
			if (strcmp(lower, b->exact) == 0)
				return true;
			continue;
		}
		if (b->filter && !mcdp_filter_passes(b->filter, value, value_len))
			continue;
		if (!wide)
		{
			wide = palloc((value_len + 1) * sizeof(pg_wchar));
			wide_len = pg_mb2wchar_with_len(value, wide, value_len);
		}
		if (matches(b, wide, wide_len))
			return true;
	}
	return false;
}

/* Trigger, once for each statement that may have changed one of the tables. */
Datum
mcdp__identity_rules_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called as a trigger");
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}
