/*-------------------------------------------------------------------------
 *
 * identity_rules.h
 *	  namespace_rule and blocked_value, as every call needs them.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/identity_rules.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_IDENTITY_RULES_H
#define MCDP_IDENTITY_RULES_H

#include "nodes/pg_list.h"

#define DEFAULT_PRIORITY 50

/* the row in force for a namespace */
typedef struct NamespaceRule
{
	char	   *namespace;
	int			namespace_len;
	text	   *kind;
	int32		priority;
	bool		seeded;
	bool		limits;			/* max_per_profile or never_merge_if_different */
	bool		quarantines;	/* quarantine_after */
} NamespaceRule;

typedef struct IdentityRules
{
	int			num;
	NamespaceRule *namespaces;
	bool		limits;			/* some row has max_per_profile or never_merge_if_different */
	bool		quarantines;	/* some row has quarantine_after */
	List	   *blocks;			/* see identity_rules.c */
} IdentityRules;

/* The rules of now; they stay valid until the next catalog access. */
extern const IdentityRules *mcdp_identity_rules(Oid schema);

/* The rule for a namespace, or NULL. */
extern const NamespaceRule *mcdp_namespace_rule(const IdentityRules *rules, const char *namespace, int len);

/* Is the value of this identifier blocked? */
extern bool mcdp_is_blocked(const IdentityRules *rules, const char *namespace, int namespace_len,
							const char *value, int value_len);

#endif							/* MCDP_IDENTITY_RULES_H */
