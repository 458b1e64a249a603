-- Somebody may create objects in a schema that is on the caller's path: tables
-- called like ours, and functions and operators called like the server's for
-- pairs of types that it has none for, which would be a better match than a
-- cast.  Each of them is a trap; none may be touched by anything of ours.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET client_min_messages = warning;
SET jit = off; SET check_function_bodies = off;

CREATE SCHEMA trap;
CREATE FUNCTION trap._sprung(what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'P6666', MESSAGE = 'trap: ' || what; END $$;
DO $$
DECLARE
	types regtype[] := '{text,varchar,int,bigint,numeric,timestamptz,timestamp,date,interval,jsonb,name,float8,bool,regclass,text[]}';
	a regtype;
	b regtype;
	op text;
	f record;
	n int := 0;
	args text[];
	arg text;
BEGIN
	-- operators of two types, where none of exactly these types exists
	FOREACH a IN ARRAY types LOOP
		FOREACH b IN ARRAY types LOOP
			n := n + 1;
			EXECUTE format('CREATE FUNCTION trap.t%s(%s, %s) RETURNS bool LANGUAGE plpgsql AS $f$ BEGIN PERFORM trap._sprung(%L); RETURN true; END $f$', n, a, b, a || ' and ' || b);
			FOREACH op IN ARRAY '{=,<,<=,>,>=,||,+,-,*,/}'::text[] LOOP
				CONTINUE WHEN EXISTS (SELECT FROM pg_operator o WHERE o.oprname = op AND o.oprleft = a AND o.oprright = b AND o.oprnamespace IN ('pg_catalog'::regnamespace, 'cdp'::regnamespace));
				EXECUTE format('CREATE OPERATOR trap.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = trap.t%s)', op, a, b, n);
			END LOOP;
		END LOOP;
	END LOOP;
	-- functions of the server that are used anywhere in ours
	FOR f IN
		SELECT DISTINCT p.proname, p.pronargs FROM pg_proc p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.pronargs BETWEEN 1 AND 2
		  AND p.proname IN (SELECT (regexp_matches(o.prosrc, '([a-z_0-9]+)\(', 'g'))[1] FROM pg_proc o WHERE o.pronamespace = 'cdp'::regnamespace)
	LOOP
		FOREACH a IN ARRAY types[1:5] LOOP
			args := CASE f.pronargs WHEN 1 THEN ARRAY[a::text] ELSE ARRAY[format('%s, text', a), format('%s, int', a)] END;
			FOREACH arg IN ARRAY args LOOP
				CONTINUE WHEN to_regprocedure(format('pg_catalog.%I(%s)', f.proname, arg)) IS NOT NULL;
				EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN PERFORM trap._sprung(%L); END $f$', f.proname, arg, f.proname);
			END LOOP;
		END LOOP;
	END LOOP;
	-- tables and functions called like ours, empty and wrong
	FOR f IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relname !~ '^event_\d' LOOP
		EXECUTE format('CREATE TABLE trap.%I (nothing int)', f.relname);
		EXECUTE format('CREATE TEMP TABLE %I (nothing int)', f.relname);
	END LOOP;
	FOR f IN SELECT DISTINCT p.proname, p.pronargs, array_to_string(p.proargtypes::regtype[], ', ') AS args FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.prokind = 'f'
		AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) t WHERE t::regtype::text IN ('internal', 'cstring') OR t::regtype::text LIKE 'any%') AND p.prorettype <> 'trigger'::regtype AND p.provariadic = 0
	LOOP
		EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN PERFORM trap._sprung(%L); END $f$', f.proname, f.args, f.proname);
	END LOOP;
END
$$;
SELECT count(*) > 500 AS "many traps" FROM pg_operator WHERE oprnamespace = 'trap'::regnamespace;

-- The server's own schema comes first unless somebody says otherwise.
SET search_path = trap, public;
SELECT 'x'::text = 'x'::varchar;	-- a trap that works: this one is the caller's own doing

SELECT cdp.identify('{user_id:u1,email:one@example.com}', '{"age": 30, "city": "Rome", "born": "1990-01-01", "member": true}', '2026-01-01Z'), cdp.identify('{user_id:u2}', '{"age": 40}', '2026-01-01Z'), cdp.identify('{user_id:u3}', at => '2026-01-01Z');
INSERT INTO cdp.trait_rule (name, type, searchable) VALUES ('age', 'number', true), ('city', 'text', true), ('born', 'date', true), ('member', 'boolean', true);
INSERT INTO cdp.tag_key (key, exclusive, keep_history) VALUES ('city', true, true); INSERT INTO cdp.label_set VALUES ('new', 'p1'); INSERT INTO cdp.channel (name, namespace) VALUES ('email', 'email');
INSERT INTO cdp.namespace_rule (namespace, max_per_profile, within) VALUES ('phone', 2, '30 d'); INSERT INTO cdp.blocked_value (namespace, pattern) VALUES ('email', 'test.*');
INSERT INTO cdp.frequency_cap (channel, max, per, kind) VALUES ('*', 5, '1 day', 'rolling'); INSERT INTO cdp.quiet_hours (channel, since, until) VALUES ('sms', '22:00', '08:00');
SELECT cdp.track('{user_id:u1}', 'purchase', '{"value": 10, "product_id": "p1", "products": [{"product_id": "p1", "price": 3}]}', '2026-01-02Z', message_id => 'm', participants => '{store:S1}');
SELECT cdp.track('{user_id:u1}', 'Order Completed', '{"revenue": 10, "products": [{"product_id": "p1", "price": 3, "quantity": 2}]}', '2026-01-12Z'), cdp.track('{user_id:u2}', 'cart', '{}', '2026-01-02Z', 'm3'), cdp.track('{user_id:u3,email:one@example.com}', 'cart', '{}', '2026-01-03Z', 'm4');
SELECT cdp.ingest('[{"type": "identify", "userId": "u4", "traits": {"email": "four@example.com", "age": 50}}, {"type": "group", "userId": "u4", "groupId": "g"}, {"type": "alias", "userId": "u4", "previousId": "a4"}, {"type": "page", "userId": "u4", "name": "home"}, {"type": "nonsense"}]', '2026-01-03Z');
INSERT INTO cdp.inbox (payload) VALUES ('{"type": "track", "userId": "u5", "event": "view", "timestamp": "2026-01-03T00:00:00Z", "messageId": "i1"}'), ('{"type": "track", "userId": "u6", "anonymousId": "a6", "event": "purchase", "timestamp": "2026-01-03T00:00:00Z"}');
SELECT cdp.ingest_inbox(); SELECT * FROM cdp.import_events('SELECT ''user_id:u7'' AS identifier, ''purchase'' AS event, ''2026-01-03Z''::timestamptz AS at, 5 AS value', 'test');
SELECT * FROM cdp.import_identities('SELECT ''user_id:u7'', ''phone:+4917012345678''', 'test', at => '2026-01-03Z');
SELECT reason FROM cdp.rejected;
SELECT cdp.set_trait(2, 'age', '41', '2026-01-03Z'), cdp.set_traits('SELECT 2::bigint AS profile_id, 42 AS age', 'test', '2026-01-04Z'), cdp.trait(2, 'age');
SELECT cdp.tag(2, 'vip', at => '2026-01-03Z'), cdp.tag(2, 'city:rome', '2026-02-01Z', '2026-01-03Z'), cdp.tag('{1,2}'::cdp.bitmap, 'city:oslo', at => '2026-01-04Z'), cdp.untag(1, 'city:oslo', '2026-01-05Z'),
	cdp.untag('{2}'::cdp.bitmap, 'vip', '2026-01-05Z'), cdp.tag_from('SELECT 1::bigint AS profile_id', 'silver', at => '2026-01-05Z');
SELECT cdp.relate(1, 2, 'friend', '2026-01-03Z'); SELECT cdp.related(1, 'friend', '2026-01-04Z'), cdp.unrelate(1, 2, 'friend', '2026-01-05Z');
SELECT cdp.consent(1, 'marketing', 'email', true, '2026-01-03Z'), cdp.consent('{2}'::cdp.bitmap, 'marketing', 'email', true, '2026-01-03Z'), cdp.consented(1, 'marketing', 'email', '2026-01-04Z');
SELECT cdp.define_segment('buyers', 'count(purchase, 60d) >= 1 & age > 3 & !city:rome', at => '2026-01-05Z'), cdp.define_segment('nested', 'segment:buyers | due(purchase) < 3d', at => '2026-01-05Z'), cdp.define_static_segment('picked', '{1}', at => '2026-01-05Z');
SELECT cdp.create_journey('j', '{"entry": {"on": "purchase", "when": "age > 3", "key": "label", "reentry": "cooldown", "cooldown": "1d"}, "exit": [{"on": "refund"}], "goal": {"on": "view", "within": "7d"}, "holdout": 0.0, "start": "ab", "steps": {
	"ab": {"split": [{"share": 0.5, "name": "a", "next": "if"}, {"share": 0.5, "name": "b", "next": "if"}]}, "if": {"if": "count(purchase[$], 1d) = 0", "then": "send", "else": "send"},
	"send": {"send": {"channel": ["email", "sms"], "template": "t", "params": {"sku": "{{entry.label}}"}, "if_capped": "wait", "expires": "2d"}, "next": "w"},
	"w": {"wait": "1h", "next": "u"}, "u": {"wait_until": {"time": "09:00"}, "next": "for"}, "for": {"wait_for": {"on": "purchase"}, "timeout": "3d", "next": "tag", "else": "tag"},
	"tag": {"tag": "done", "next": "trait"}, "trait": {"set_trait": {"done": true}, "next": "end"}}}'), cdp.create_journey('m', '{"entry": {"manual": true}, "start": "w", "steps": {"w": {"wait": "1d", "next": "end"}}}');
SELECT cdp.activate_journey('j'), cdp.activate_journey('m');
SELECT cdp.enter_journey('m', 1, at => '2026-01-05Z'), cdp.enter_journey('m', '{2}'::cdp.bitmap, at => '2026-01-05Z');
SELECT cdp.track('{user_id:u2}', 'purchase', '{"value": 10, "product_id": "p2"}', '2026-01-06Z', 'm5');
SELECT count(*) > 0 AS done FROM cdp.tick('2026-01-06Z'); CALL cdp.run('2026-01-07Z'); CALL cdp.run('2026-01-20Z'); SELECT count(*) > 0 AS done FROM cdp.rebuild('all', '2026-01-20Z');
SELECT task, last_error FROM cdp.task_state WHERE last_error IS NOT NULL;
SELECT c, cdp.audience_count(c::cdp.criteria, '2026-01-20Z') FROM (VALUES ('all'), ('vip | city:oslo'), ('age >= 30 & born < 2000-01-01 & member = true & city = "Rome"'), ('count(purchase, 60d) >= 1 & sum(purchase) > 1 & last(view) < 70d & labels(purchase) >= 1'), ('seq(cart -> purchase, 30d)'), ('any(purchase: count(purchase[$]) >= 1)'),
	('count(purchase{value >= 1}) >= 1'), ('first_label(purchase) = "p1"'), ('due(purchase) < 30d'), ('segment:buyers & lifecycle:first_purchase'), ('days(*) >= 1')) v (c);
SELECT cdp.matches(2, 'count(purchase) > 0 & age > 3 & city:oslo', '2026-01-20Z'), count(*) FROM cdp.explain_match(2, 'count(purchase) > 0 & age > 3 & city:oslo', '2026-01-20Z') GROUP BY 1;
SELECT cdp.matching_labels(2, 'count(purchase[$]) > 0', '2026-01-20Z'), cdp.tags_of(2), cdp.has_tag(2, 'city:oslo'), cdp.tagged('vip'), cdp.segment_members('buyers');
SELECT count(*) > 0 AS rows FROM cdp.overlap('vip', 'buyers'), cdp.rfm_of('default', '2026-01-20Z'), cdp.lifecycle_flow('2026-01-01Z', '2026-02-01Z'), cdp.status('2026-01-20Z');
SELECT count(*) FROM cdp.rfm('SELECT profile_id, timeline FROM cdp.profile_timeline', '2026-01-20Z'); SELECT count(*) FROM cdp.rfm('SELECT profile_id, at, 1::float8 FROM cdp.event', '2026-01-20Z');
SELECT cdp.lifecycle_at(2, '2026-01-20Z'), cdp.lifecycle(cdp.timeline_of(2), '2026-01-20Z'), cdp.lifecycle_due(cdp.timeline_of(2), '2026-01-20Z'), cdp.aarrr(cdp.timeline_of(2), '2026-01-20Z');
SELECT cdp.trait_count('age'), cdp.trait_sum('age'), cdp.trait_quantile('age', 0.5), cdp.trait_min('age'), cdp.trait_range('age', 30, 40), cdp.trait_first_date('born');
SELECT count(*) FROM cdp.audience_identifiers('{1,2}'::cdp.bitmap, 'email', 'marketing', at => '2026-01-20Z'); SELECT count(*) FROM cdp.audience_identifiers('{1,2}'::cdp.bitmap, 'email', 'marketing', 'sha256', at => '2026-01-20Z');
SELECT count(*) >= 0 AS done FROM cdp.claim_messages('email', 10, at => '2026-01-20Z');
SELECT count(*) > 0 AS rows FROM cdp.journey_stats('j'), cdp.journey_results('j'); SELECT count(*) FROM cdp.journey_lift('j'); SELECT count(*) FROM cdp.journey_path(1); SELECT count(*) > 0 AS rows FROM cdp.why_no_message(1, 'j', '2026-01-20Z');
SELECT count(*) > 0 AS rows FROM cdp.simulate_journey('j', '2026-01-20Z', '2 days');
SELECT count(*) > 0 AS rows FROM cdp.simulate_merge(1, 2); SELECT cdp.unmerge(cdp.merge(1, 2, at => '2026-01-20Z'), at => '2026-01-21Z'); SELECT count(*) > 0 AS rows FROM cdp.why_linked('user_id:u1', 'email:one@example.com'); SELECT count(*) > 0 AS rows FROM cdp.identity_graph(1);
SELECT count(*) FROM cdp.simulate_rules(); SELECT count(*) FROM cdp.apply_rules('2026-01-21Z'); SELECT cdp.quarantine('phone:+4917012345678', 'test', '2026-01-21Z'), cdp.lift_quarantine('phone:+4917012345678', '2026-01-22Z');
SELECT cdp.split('{email:one@example.com}', 'not his', '2026-01-22Z') > 0 AS done; SELECT cdp.retract('m5', 'returned', '2026-01-22Z'), cdp.suppress(2, 'asked', '2026-01-22Z'), cdp.unsuppress(2, 'again', '2026-01-23Z'), cdp.drop_segment('picked', '2026-01-23Z'), cdp.archive_journey('m', '2026-01-23Z');
SELECT count(*) > 0 AS rows FROM cdp.refresh_segments(at => '2026-01-23Z'), cdp.refresh_rfm(at => '2026-01-23Z'); SELECT count(*) > 0 AS rows FROM cdp.segment_status, cdp.tag_catalog;
CREATE ROLE regress_trapped; SELECT cdp.grant_role('regress_trapped', 'analyst'), cdp.revoke_role('regress_trapped'); DROP ROLE regress_trapped;
SELECT count(*) FROM cdp.connected_components('SELECT ''a'', ''b''');
RESET search_path; SET client_min_messages = warning;
DROP SCHEMA trap CASCADE;
