SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
\set SHOW_CONTEXT never

-- Every table with seeded rows guards them.
SELECT c.relname, EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgfoid = 'cdp._keep_seeded'::regproc) AS guarded,
	EXISTS (SELECT FROM pg_index i JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = ANY (i.indkey)
			WHERE i.indrelid = c.oid AND i.indisprimary AND k.attname = 'seeded') AS in_key
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'seeded'
WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'r' ORDER BY 1;

SELECT namespace, kind, priority FROM namespace_rule_effective ORDER BY priority DESC, namespace;
SELECT count(*) AS limits_seeded FROM namespace_rule WHERE max_per_profile IS NOT NULL OR never_merge_if_different;
CREATE TEMP TABLE seeds AS SELECT * FROM namespace_rule WHERE seeded;

-- UPDATE of a seeded row makes the user's row; the seeded one stays as it is
UPDATE namespace_rule SET priority = 1, max_per_profile = 3 WHERE namespace = 'email';
SELECT * FROM namespace_rule WHERE namespace = 'email' ORDER BY seeded;
SELECT * FROM namespace_rule_effective WHERE namespace = 'email';
-- a second one finds both: the user's row changes, once
UPDATE namespace_rule SET priority = priority + 1 WHERE namespace = 'email';
SELECT * FROM namespace_rule WHERE namespace = 'email' ORDER BY seeded;
-- DELETE of a user's row brings the seeded one back, of a seeded row is refused
DELETE FROM namespace_rule WHERE namespace = 'email' AND NOT seeded;
SELECT * FROM namespace_rule_effective WHERE namespace = 'email';
DELETE FROM namespace_rule WHERE namespace = 'email';
DELETE FROM blocked_value WHERE pattern = 'null';
DELETE FROM blocked_value;
-- several at once
UPDATE namespace_rule SET priority = 5 WHERE kind <> 'person';
SELECT namespace, priority, seeded FROM namespace_rule_effective WHERE kind <> 'person' ORDER BY 1;
SELECT count(*) AS seeds_changed FROM (TABLE seeds EXCEPT SELECT * FROM namespace_rule WHERE seeded) x;
-- a row with the same key overrides, another one adds
INSERT INTO namespace_rule (namespace, kind) VALUES ('phone', 'household'), ('loyalty', 'person');
SELECT namespace, kind, priority, seeded FROM namespace_rule_effective WHERE namespace IN ('phone', 'loyalty') ORDER BY 1;
-- what such a row leaves out is as seeded
INSERT INTO namespace_rule (namespace, max_per_profile) VALUES ('user_id', 2), ('anonymous_id', 9), ('badge', 1);
INSERT INTO namespace_rule (namespace, priority, kind) VALUES ('openid', 77, NULL);
SELECT namespace, kind, priority, max_per_profile FROM namespace_rule WHERE NOT seeded AND namespace IN ('user_id', 'anonymous_id', 'badge', 'openid') ORDER BY 1;
UPDATE namespace_rule SET priority = DEFAULT WHERE namespace IN ('openid', 'badge');
SELECT namespace, priority FROM namespace_rule WHERE NOT seeded AND namespace IN ('badge', 'openid') ORDER BY 1;
INSERT INTO purpose (name, quiet) VALUES ('transactional', true), ('survey', NULL);
INSERT INTO channel (name, per_minute) VALUES ('sms', 60);
SELECT * FROM purpose WHERE NOT seeded ORDER BY 1;
SELECT * FROM channel WHERE NOT seeded;
INSERT INTO channel (name) VALUES ('fax');
SELECT count(*) - count(DISTINCT namespace) AS doubles FROM namespace_rule_effective;

-- blocked values: add, lift, bring back
SELECT count(*) AS n FROM blocked_value_effective \gset
INSERT INTO blocked_value (pattern) VALUES ('kiosk');
UPDATE blocked_value SET active = false WHERE pattern = '-1';
SELECT count(*) - :n AS difference, bool_or(pattern = 'kiosk') AS added, bool_or(pattern = '-1') AS lifted FROM blocked_value_effective;
DELETE FROM blocked_value WHERE pattern = '-1' AND NOT seeded;
SELECT count(*) - :n AS difference FROM blocked_value_effective;
-- what the seeds block, and what they must leave alone
SELECT v, EXISTS (SELECT FROM blocked_value_effective b WHERE b.namespace = '*' AND v ~* ('^(?:' || b.pattern || ')$')) AS blocked
FROM unnest('{"null","NULL",(null),nil,undefined,Anonymous,none,unknown,-1,0,000,n/a,N/A,na,nan,guest,true,"not set",not_available,-,...,[object Object],00000000-0000-0000-0000-000000000000,"",nullable,anon1,10,007,0x0,unknown soldier,1,-10,a,truelove}'::text[]) v;

-- limits on the rules themselves
\set VERBOSITY terse
INSERT INTO namespace_rule (namespace, max_per_profile) VALUES ('x', 0);
INSERT INTO namespace_rule (namespace, within) VALUES ('x', '-1 day');
INSERT INTO blocked_value (pattern) VALUES ('[');
