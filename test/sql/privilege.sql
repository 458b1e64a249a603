-- Levels, and what each may call and see; nothing for PUBLIC.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC';

-- Every table, view and public function is in the matrix, which names nothing
-- else.  A new one?  sql/install/89_privilege.sql asks what it holds.
SELECT c.relname AS "table without a class" FROM pg_class c
WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind IN ('r', 'p', 'v')
  AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid) AND c.relname NOT IN (SELECT name FROM _table_classes()) ORDER BY 1;
SELECT DISTINCT p.proname AS "function without levels" FROM pg_proc p
WHERE p.pronamespace = 'cdp'::regnamespace AND (p.provolatile <> 'i' OR p.prokind = 'p') AND NOT starts_with(p.proname, '_')
  AND p.proname NOT IN (SELECT name FROM _function_levels()) ORDER BY 1;
-- What runs with the owner's rights is granted to levels by name.
SELECT p.oid::regprocedure AS "owner's rights without levels" FROM pg_proc p
WHERE p.pronamespace = 'cdp'::regnamespace AND p.prosecdef AND p.proname NOT IN (SELECT name FROM _function_levels()) ORDER BY 1;
SELECT name FROM _table_classes() WHERE to_regclass('cdp.' || name) IS NULL;
SELECT name FROM _function_levels() f WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.proname = f.name);
SELECT name FROM (SELECT name FROM _table_classes() UNION ALL SELECT name FROM _function_levels()) x GROUP BY name HAVING count(*) > 1;
SELECT class FROM _table_classes() EXCEPT SELECT class FROM _class_privileges();
SELECT t.name, h FROM _table_classes() t, unnest(t.hidden) h
WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = ('cdp.' || t.name)::regclass AND a.attname = h);

-- The page of the documentation says the same.
\set doc `cat docs/reference/privilege.md`
SELECT line AS "not in docs/reference/privilege.md"
FROM (SELECT format('| %s | %s | %s | %s | %s | ALL |', class, coalesce(analyst, '-'), coalesce(reader, '-'), coalesce(writer, '-'), coalesce(marketer, '-')) FROM _class_privileges()
	  UNION ALL
	  SELECT format('| %s | %s |', class, string_agg(format('`%s`%s', name, ' without ' || array_to_string(hidden, ', ')), ', ' ORDER BY name)) FROM _table_classes() GROUP BY class
	  UNION ALL
	  SELECT format('| %s | %s |', array_to_string(levels, ', '), string_agg(format('`%s`', name), ', ' ORDER BY name)) FROM _function_levels() WHERE NOT starts_with(name, '_') GROUP BY levels) x (line)
WHERE strpos(:'doc', line || E'\n') = 0;

-- A world: two events, traits of which one is personal, a segment, a journey.
INSERT INTO trait_rule (name, type, searchable, pii) VALUES ('age', 'number', true, false), ('salary', 'number', true, true), ('birth_name', 'text', true, true), ('city', 'text', true, false);
SELECT identify('{user_id:1,email:ada@example.com}', '{"age": 36, "salary": 900, "birth_name": "Byron", "city": "London"}', '2026-01-01Z'),
	identify('{user_id:2,email:bob@example.com}', '{"age": 50, "salary": 100, "city": "Leeds"}', '2026-01-01Z');
SELECT track('{user_id:1}', 'purchase', '{"value": 10, "brand": "x"}', '2026-01-02Z', 'm1');
SELECT tag(1, 'vip', at => '2026-01-02Z'), consent(1, 'marketing', 'email', true, '2026-01-02Z');
SELECT count(*) > 0 AS ticked FROM tick('2026-01-03Z');
SELECT trait, state FROM trait_index ORDER BY 1;	-- texts that are personal have no tags that anybody might read

CREATE ROLE regress_nobody; CREATE ROLE regress_analyst; CREATE ROLE regress_reader; CREATE ROLE regress_writer; CREATE ROLE regress_marketer; CREATE ROLE regress_admin;
SELECT grant_role('regress_analyst', 'analyst'), grant_role('regress_reader', 'reader'), grant_role('regress_writer', 'writer'),
	grant_role('regress_marketer', 'marketer'), grant_role('regress_admin', 'admin');

-- What each level may: a call that is undone, as that role.
CREATE TABLE call (n int GENERATED ALWAYS AS IDENTITY, call text);
CREATE FUNCTION try(role text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	BEGIN
		EXECUTE format('SET LOCAL ROLE %I', role);
		EXECUTE call;
		RAISE EXCEPTION USING ERRCODE = 'P9999';
	EXCEPTION
		WHEN SQLSTATE 'P9999' THEN RETURN 'yes';
		WHEN insufficient_privilege THEN RETURN '-';
		WHEN OTHERS THEN RETURN SQLSTATE || ': ' || SQLERRM;
	END;
END
$$;
INSERT INTO call (call) VALUES
	-- toolkit
	($$SELECT rb_cardinality('{1,2}'), num_events(timeline_agg('2026-01-01Z', 'x')), 'a:b'::identifier$$),
	($$SELECT connected_components('SELECT ''a'', ''b''')$$),
	-- tables
	($$SELECT * FROM profile$$), ($$SELECT * FROM tag_chunk$$), ($$SELECT * FROM profile_timeline$$), ($$SELECT event, properties, at FROM event$$),
	($$SELECT via FROM event$$), ($$SELECT context FROM event$$), ($$SELECT * FROM identifier_link$$), ($$SELECT payload FROM inbox$$), ($$SELECT address FROM outbox$$),
	($$SELECT * FROM trait_slice$$), ($$SELECT value FROM trait_value WHERE name = 'age'$$),
	($$INSERT INTO tag_key (key) VALUES ('k')$$), ($$UPDATE trait_rule SET pii = false$$), ($$INSERT INTO blocked_value (namespace, pattern) VALUES ('email', 'x')$$),
	($$INSERT INTO role_level VALUES ('regress_nobody', 'admin')$$), ($$DELETE FROM profile$$), ($$DELETE FROM event$$), ($$UPDATE profile SET suppressed = false$$),
	-- questions
	($$SELECT audience('all'), audience_count('vip & age > 30 & count(purchase, 365d) >= 0')$$),
	($$SELECT audience('count(purchase{brand = "x"}) >= 1')$$),
	($$SELECT audience('city = "London"')$$), ($$SELECT audience('birth_name = "Byron"')$$), ($$SELECT audience('salary > 500')$$), ($$SELECT trait_sum('age')$$), ($$SELECT trait_sum('salary')$$),
	($$SELECT matches(1, 'vip & age > 30 & count(purchase) > 0'), explain_match(1, 'vip'), has_tag(1, 'vip'), tags_of(1), tagged('vip'), trait(1, 'age'), timeline_of(1)$$),
	($$SELECT matches(1, 'salary > 500')$$),
	($$SET LOCAL enable_seqscan = off; SELECT profile_id FROM profile WHERE matches(profile_id, 'nobody')$$),		-- by index: _matching_ids()
	($$SELECT overlap('vip', 'lifecycle:first_purchase'), lifecycle_flow('2026-01-01Z', '2026-02-01Z'), rfm_of('default'), lifecycle_at(1, '2026-01-03Z')$$),
	($$SELECT * FROM lifecycle_state, segment_status, tag_catalog, purchase_due$$), ($$SELECT status()$$),
	($$SELECT resolve('email:ada@example.com')$$), ($$SELECT _look_up('{email:ada@example.com}', now())$$), ($$SELECT why_linked('user_id:1', 'email:ada@example.com')$$), ($$SELECT simulate_merge(1, 2)$$),
	($$SELECT * FROM journey_state; SELECT * FROM journey_log; SELECT status FROM outbox; SELECT survivor FROM profile_merge$$),
	($$SELECT audience_identifiers('{1}'::bitmap, 'email', 'marketing', 'sha256', at => '2026-01-03Z')$$),
	($$SELECT audience_identifiers('{1}'::bitmap, 'email', 'marketing', at => '2026-01-03Z')$$), ($$SELECT _identifiers_of('{1}', 'email')$$),
	-- what comes in
	($$SELECT identify('{user_id:1,email:new@example.com}', '{"age": 37}', '2026-01-03Z')$$), ($$SELECT identify('{user_id:1,user_id:2}', at => '2026-01-03Z')$$),
	($$SELECT identify('{user_id:3,email:ada@example.com}', at => '2026-01-03Z')$$),
	($$SELECT track('{user_id:9}', 'purchase', '{"value": 1}', '2026-01-03Z', 'm2', participants => '{store:S1}')$$),
	($$SELECT track('{user_id:9}', 'purchase', '{"value": 1}', '2029-01-03Z', 'm3')$$),
	($$SELECT 1 / ingest('{"type": "track", "userId": "4", "event": "Order Completed", "messageId": "m4", "timestamp": "2026-01-03T00:00:00Z"}')$$),
	($$INSERT INTO inbox (payload) VALUES ('{"type": "identify", "userId": "5", "traits": {"age": 3}}'); SELECT 1 / ingest_inbox()$$),
	($$SELECT 1 / accepted FROM import_events('SELECT ''user_id:7'' AS user_id, ''x'' AS event, ''2026-01-03Z''::timestamptz AS at', 'test')$$),
	($$SELECT import_identities('SELECT ''user_id:1'', ''email:w@example.com''', 'test')$$),
	($$SELECT set_trait(1, 'age', '38', '2026-01-03Z')$$), ($$SELECT set_traits('SELECT 1::bigint AS profile_id, 38 AS age', 'test', '2026-01-03Z')$$),
	($$SELECT tag(2, 'vip', at => '2026-01-03Z'), untag(1, 'vip', '2026-01-03Z')$$), ($$SELECT tag('{1,2}'::bitmap, 'gold', at => '2026-01-03Z'), untag('{1,2}'::bitmap, 'vip', '2026-01-03Z')$$),
	($$SELECT tag_from('SELECT 1::bigint AS profile_id', 'silver', at => '2026-01-03Z')$$),
	($$SELECT relate(1, 2, 'friend', '2026-01-03Z'), unrelate(1, 2, 'friend', '2026-01-04Z')$$), ($$SELECT consent(2, 'marketing', 'email', true, '2026-01-03Z')$$),
	($$SELECT suppress(2, 'asked', '2026-01-03Z')$$), ($$SELECT retract('m1', 'returned')$$), ($$SELECT claim_messages('email', 10, at => '2026-01-03Z')$$),
	-- campaigns
	($$SELECT define_segment('rich', 'count(purchase) > 0 & age > 3', at => '2026-01-03Z'); SELECT refresh_segments('rich', '2026-01-03Z'), segment_members('rich'); SELECT drop_segment('rich', '2026-01-04Z')$$),
	($$SELECT define_static_segment('picked', '{1}', at => '2026-01-03Z')$$),
	($$SELECT create_journey('j', '{"entry": {"manual": true}, "start": "s", "steps": {"s": {"send": {"channel": "email", "template": "t"}, "next": "end"}}}'), activate_journey('j')$$),
	($$SELECT create_journey('j', '{"entry": {"manual": true}, "start": "s", "steps": {"s": {"send": {"channel": "email", "template": "t"}, "next": "end"}}}'); SELECT activate_journey('j');
		SELECT enter_journey('j', 1, at => '2026-01-03Z'), enter_journey('j', '{2}'::bitmap, at => '2026-01-03Z'); SELECT journey_stats('j'), journey_results('j'), journey_diagram('j'),
		why_no_message(1, 'j', '2026-01-03Z'); SELECT pause_journey('j'), archive_journey('j', '2026-01-03Z')$$),
	($$SELECT create_journey('j', '{"entry": {"on": "purchase"}, "start": "s", "steps": {"s": {"send": {"channel": "email", "template": "t"}, "next": "end"}}}'); SELECT activate_journey('j');
		SELECT simulate_journey('j', '2026-01-03Z', '2 days')$$),
	($$SELECT refresh_rfm(at => '2026-01-03Z')$$),
	-- whoever is in charge
	($$SELECT unmerge(merge(1, 2))$$), ($$SELECT split('{email:ada@example.com}', 'not hers')$$), ($$SELECT quarantine('email:ada@example.com', 'test'); SELECT lift_quarantine('email:ada@example.com')$$),
	($$SELECT simulate_rules(), apply_rules()$$), ($$SELECT tick('2026-01-03Z')$$), ($$SELECT rebuild('all', '2026-01-03Z')$$), ($$SELECT advance_journeys('2026-01-03Z')$$),
	($$SELECT grant_role('regress_nobody', 'admin')$$), ($$SELECT revoke_role('regress_reader')$$);
\pset format unaligned
SELECT left(regexp_replace(c.call, '\s+', ' ', 'g'), 110) AS call, try('regress_nobody', call) AS nobody, try('regress_analyst', call) AS analyst, try('regress_reader', call) AS reader,
	try('regress_writer', call) AS writer, try('regress_marketer', call) AS marketer, try('regress_admin', call) AS admin
FROM call c ORDER BY n;

-- Whatever column of whatever relation a level was given can be read, and an analyst's questions are answered, also about messages.
CREATE FUNCTION unreadable(role text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c record;
BEGIN
	FOR c IN
		SELECT a.attrelid::regclass AS relation, a.attname AS name FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE r.relnamespace = 'cdp'::regnamespace AND r.relkind IN ('r', 'p', 'v') AND has_column_privilege(role, r.oid, a.attnum, 'SELECT') ORDER BY 1, 2
	LOOP
		IF try(role, format('SELECT %I FROM %s LIMIT 1', c.name, c.relation)) <> 'yes' THEN
			RETURN NEXT c.relation || '.' || c.name;
		END IF;
	END LOOP;
END
$$;
SELECT r, u FROM unnest('{regress_nobody,regress_analyst,regress_reader,regress_writer,regress_marketer,regress_admin}'::text[]) r, unreadable(r) u;
SELECT create_journey('told', '{"entry": {"manual": true}, "purpose": "transactional", "start": "s", "steps": {"s": {"send": {"channel": "email", "template": "t"}, "next": "end"}}}'), activate_journey('told'),
	enter_journey('told', 1, at => '2026-01-03Z') > 0 AS entered;
SELECT advance_journeys('2026-01-03Z') > 0 AS advanced;
SELECT r.name AS role, c.call, t.said
FROM unnest('{analyst,marketer}'::text[]) r (name), unnest(ARRAY[$$aarrr(timeline_of(1), '2026-01-03Z')$$, $$audience_explain('vip & age > 30')$$, $$audience_with_suppressed('vip')$$, $$matches_with_suppressed(1, 'vip')$$,
	'canonical_id(1)', $$consented(1, 'marketing', 'email', '2026-01-03Z')$$, $$journey_lift('told')$$, $$journey_path((SELECT run_id FROM journey_state))$$, $$lifecycle(timeline_of(1), '2026-01-03Z')$$,
	$$lifecycle_due(timeline_of(1), '2026-01-03Z')$$, $$lifecycle_explain(1, '2026-01-03Z')$$, $$matching_labels(1, 'any(purchase: count(purchase[$]) > 0)')$$, $$related(1, 'friend', '2026-01-03Z')$$,
	$$rfm('SELECT profile_id, timeline FROM profile_timeline', '2026-01-03Z')$$, $$rfm_segment_of('555')$$, $$role_events('purchase')$$, $$segment_members('rich')$$, $$component_sizes('SELECT ''a'', ''b''')$$,
	$$trait_avg('age')$$, $$trait_count('age')$$, $$trait_max('age')$$, $$trait_min('age')$$, $$trait_quantile('age', 0.5)$$, $$trait_range('age', 1, 99)$$, $$trait_top('age', 1)$$,
	$$trait_first_date('age')$$, $$trait_last_date('age')$$, 'why_message((SELECT id FROM outbox))', $$why_no_message(1, 'told', '2026-01-03Z')$$,
	$$sequence_match('{}', 'a'), sequence_count('{}', 'a'), window_funnel('{}', '{a}', '1 day', '')$$]) c (call), try('regress_' || r.name, 'SELECT ' || c.call) t (said)
WHERE t.said <> 'yes' ORDER BY 1, 2;
-- no question was forgotten
\set this_test `cat test/sql/privilege.sql`
SELECT f.name FROM _function_levels() f WHERE 'analyst' = ANY (f.levels) AND strpos(:'this_test', f.name || '(') = 0;

-- Only admins run the clock, which commits.
SET ROLE regress_marketer; CALL run('2026-01-04Z'); SET ROLE regress_admin; CALL run('2026-01-04Z'); RESET ROLE;
-- Whose traits are personal is hidden from queries too; \d of a table shows why.
SET ROLE regress_analyst; SELECT name FROM trait_value UNION ALL SELECT name FROM trait_change ORDER BY 1; SELECT trait(1, 'salary'), trait(1, 'age'); RESET ROLE;
SET ROLE regress_writer; SELECT count(*) FROM trait_value WHERE name = 'salary'; RESET ROLE;
-- What is made later: the partitions of months to come have the privileges of their parent.
SELECT track('{user_id:1}', 'view', '{}', '2031-05-05Z', 'm5') > 0 AS tracked;
SELECT r, has_table_privilege(r, 'cdp.event_2031_05', 'SELECT') AS "select", has_table_privilege(r, 'cdp.event_2031_05', 'DELETE') AS "delete"
FROM unnest('{regress_nobody,regress_analyst,regress_reader,regress_writer,regress_marketer,regress_admin}'::text[]) r;
SET ROLE regress_analyst; SELECT event, properties FROM event WHERE at > '2031-01-01Z'; RESET ROLE;
-- Objects of the user's own in schema cdp are nobody's business; what an upgrade
-- brings is granted with it.
CREATE TABLE cdp.later (); CREATE FUNCTION cdp.later() RETURNS int STABLE RETURN 1; REVOKE ALL ON FUNCTION cdp.later() FROM PUBLIC;
CREATE VIEW later AS SELECT r AS role, has_table_privilege(r, 'cdp.later', 'SELECT') AS "table", has_function_privilege(r, 'cdp.later()', 'EXECUTE') AS function
FROM unnest('{regress_admin,regress_reader}'::text[]) r;
SELECT grant_role('regress_admin', 'admin'), grant_role('regress_reader', 'reader');
TABLE later;
ALTER EXTENSION marketing_cdp ADD TABLE cdp.later; ALTER EXTENSION marketing_cdp ADD FUNCTION cdp.later();
TABLE later;
ALTER EXTENSION marketing_cdp DROP TABLE cdp.later; ALTER EXTENSION marketing_cdp DROP FUNCTION cdp.later();
DROP VIEW later; DROP TABLE cdp.later; DROP FUNCTION cdp.later();
-- A role that was dropped leaves its levels to nobody of the same name.
CREATE ROLE regress_dropped; SELECT grant_role('regress_dropped', 'admin'); DROP OWNED BY regress_dropped; DROP ROLE regress_dropped;
CREATE ROLE regress_dropped; SELECT grant_role('regress_dropped', 'analyst'), grant_role('regress_dropped', 'writer'), revoke_role('regress_dropped', 'writer');
SELECT level, has_table_privilege('regress_dropped', 'cdp.identifier_link', 'SELECT') AS identifiers FROM role_level WHERE role = 'regress_dropped';
DROP OWNED BY regress_dropped; DROP ROLE regress_dropped;

-- Levels add up; one can be taken alone; then nothing is left.
SELECT grant_role('regress_analyst', 'writer'), has_table_privilege('regress_analyst', 'cdp.identifier_link', 'SELECT');
SELECT revoke_role('regress_analyst', 'writer'), has_table_privilege('regress_analyst', 'cdp.identifier_link', 'SELECT'), has_table_privilege('regress_analyst', 'cdp.profile', 'SELECT');
SELECT * FROM role_level ORDER BY 1, 2;
SELECT revoke_role(role) FROM (SELECT DISTINCT role FROM role_level) r;
-- What works without queries asks for all the privileges that a query would need.
SELECT grant_role('regress_writer', 'writer'), grant_role('regress_admin', 'admin');
GRANT SELECT, INSERT ON cdp.tag_pending TO regress_writer; REVOKE UPDATE ON cdp.tag_pending FROM regress_writer; REVOKE DELETE ON cdp.tag_pending FROM regress_admin;
SELECT has_table_privilege('regress_writer', 'cdp.tag_pending', 'SELECT') AS "select", has_table_privilege('regress_writer', 'cdp.tag_pending', 'UPDATE') AS "update",
	has_table_privilege('regress_admin', 'cdp.tag_pending', 'DELETE') AS "delete";
\set SHOW_CONTEXT never
SET ROLE regress_writer; SELECT tag(2, 'asked', at => '2026-01-05Z'); SELECT untag(2, 'asked', at => '2026-01-05Z');
SET ROLE regress_admin; SELECT done FROM _fold_tags('2026-01-06Z', 100); RESET ROLE;
\set SHOW_CONTEXT errors
SELECT present FROM tag_pending WHERE tag = 'asked';
SELECT revoke_role('regress_writer'), revoke_role('regress_admin');
SELECT r.rolname, d.classid::regclass, d.objid FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::regclass
WHERE r.rolname LIKE 'regress\_%' AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database());
DROP ROLE regress_nobody, regress_analyst, regress_reader, regress_writer, regress_marketer, regress_admin;

-- What cannot be
SELECT grant_role('regress_no_such_role', 'reader');
SELECT grant_role(current_user, 'owner');
SELECT grant_role(NULL, 'reader'); SELECT grant_role(current_user, NULL); SELECT revoke_role(NULL);
-- Names are names, whatever stands in them.
CREATE ROLE "regress ""q""; DROP TABLE cdp.profile; --";
SELECT grant_role('regress "q"; DROP TABLE cdp.profile; --', 'marketer'), revoke_role('regress "q"; DROP TABLE cdp.profile; --');
DROP ROLE "regress ""q""; DROP TABLE cdp.profile; --";
DROP TABLE call; DROP FUNCTION try;
