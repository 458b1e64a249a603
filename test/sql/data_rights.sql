SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- The list of tables against the catalog: nothing is missing, nothing too much,
-- and what looks as if it named a person is not listed as if it did not.
SELECT coalesce(c.relname, d.relation) AS not_in_both
FROM (SELECT relname FROM pg_class WHERE relnamespace = 'cdp'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition) c
FULL JOIN _personal_data() d ON d.relation = c.relname
WHERE c.relname IS NULL OR d.relation IS NULL ORDER BY 1;
SELECT d.relation, a.attname, d.held FROM _personal_data() d
JOIN pg_attribute a ON a.attrelid = ('cdp.' || d.relation)::regclass AND a.attnum > 0 AND NOT a.attisdropped
WHERE d.held = 'none' AND d.note NOT IN ('receipts', 'settings', 'definitions', 'how far a partition is', 'ids of events, of the last pass only')
  AND (a.atttypid IN ('identifier'::regtype, 'identifier[]'::regtype, 'bitmap'::regtype, 'timeline'::regtype, 'jsonb'::regtype, 'bigint[]'::regtype)
	OR a.attname ~ '(profile|leaf|owner|recipient|message)(_id)?$')
ORDER BY 1, 2;
SELECT d.relation FROM _personal_data() d WHERE d.held = 'rows'
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = ('cdp.' || d.relation)::regclass AND a.attname = 'profile_id');
-- a table that nobody has put into the list yet, and one of a user's own
CREATE TABLE cdp.forgotten (profile_id bigint, secret text); CREATE TABLE cdp.mine (profile_id text);
ALTER EXTENSION marketing_cdp ADD TABLE cdp.forgotten;
SELECT * FROM _profile_tables() WHERE relation = 'forgotten';
SELECT * FROM _profile_tables() WHERE relation = 'mine';
ALTER EXTENSION marketing_cdp DROP TABLE cdp.forgotten;
DROP TABLE cdp.forgotten, cdp.mine;

-- Ada and all that can be known about her; Bob, who has to do with her.
CREATE FUNCTION make_them() RETURNS void LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	ada bigint; bob bigint; other bigint; shop bigint; m record;
BEGIN
	INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('city', true, true) ON CONFLICT DO NOTHING;
	INSERT INTO trait_rule (name, type, searchable, pii) VALUES ('name', 'text', true, true), ('size', 'number', true, false), ('mail', 'text', true, true)
		ON CONFLICT DO NOTHING;
	PERFORM _event_partition(t) FROM unnest('{2026-01-01Z,2026-02-01Z,2026-03-01Z}'::timestamptz[]) t;
	PERFORM tick('2026-01-01Z');
	ada := identify('{email:ada.lovelace@example.org,cookie:adacookie1}', '{"name": "Ada Lovelace", "mail": "ada.lovelace@example.org", "size": 7, "eyes": "greyish-blue"}', '2026-01-02Z', source => 'crm of Ada Lovelace');
	other := identify('{phone:+4917012345678,cookie:adacookie2}', '{"name": "A. Lovelace", "size": 8}', '2026-01-03Z');
	bob := identify('{email:bob@example.org,cookie:bobcookie}', '{"name": "Bob", "size": 9}', '2026-01-02Z');
	shop := identify('{store:shop-1}', at => '2026-01-02Z', kind => 'store');
	PERFORM tag(ada, 'vip', at => '2026-01-04Z'), tag(ada, 'city:london', '2027-01-01Z', '2026-01-04Z'), tag(ada, 'city:paris', '2027-01-01Z', '2026-01-05Z'), tag(bob, 'vip', at => '2026-01-04Z');
	PERFORM tag(other, 'knits', at => '2026-01-04Z');
	PERFORM track('{cookie:adacookie1}', 'Order Completed', '{"total": 30, "note": "for Ada Lovelace", "products": [{"sku": "yarn", "price": 30}]}', '2026-01-05Z', 'order-ada-1',
				  context => '{"ip": "203.0.113.99"}', participants => '{store:shop-1}');
	PERFORM track('{cookie:adacookie2}', 'view', '{"product_id": "ada.lovelace@example.org"}', '2026-01-06Z', 'view-ada-1', participants => '{store:shop-1}');
	PERFORM track('{cookie:bobcookie}', 'Order Completed', '{"total": 5, "products": [{"sku": "tea", "price": 5}]}', '2026-01-06Z', 'order-bob-1', participants => '{store:shop-1}');
	PERFORM track('{cookie:adacookie1}', 'view', '{"product_id": "mistake of Ada Lovelace"}', '2026-01-07Z', 'view-ada-2');
	PERFORM retract('view-ada-2', 'Ada Lovelace said so', '2026-01-08Z');
	PERFORM merge(ada, other, 'same Ada Lovelace', '2026-01-09Z');
	PERFORM identify('{cookie:adacookie1,user_id:ada-at-work,cookie:adacookie3}', at => '2026-01-10Z');
	PERFORM split('{cookie:adacookie3}', 'not Ada Lovelace', '2026-01-11Z');
	SELECT merge(resolve('cookie:adacookie3'), bob, 'perhaps', '2026-01-11 01:00Z') AS id INTO m;
	PERFORM unmerge(m.id, true, 'no', '2026-01-11 02:00Z');
	PERFORM quarantine('cookie:adacookie2', 'seen with Ada Lovelace', '2026-01-12Z');
	PERFORM identify('{cookie:adacookie2,cookie:bobcookie}', at => '2026-01-12Z');
	PERFORM relate(ada, bob, 'friend', '2026-01-12Z', source => 'Ada Lovelace''s address book'), relate(bob, other, 'debtor', '2026-01-12Z');
	PERFORM consent(ada, 'marketing', 'email', true, '2026-01-12Z', 'form of Ada Lovelace'), consent(bob, 'marketing', 'email', true, '2026-01-12Z');
	PERFORM define_static_segment('given', rb_build(ARRAY[ada, other, bob])), define_segment('rule', 'vip & size > 1');
	PERFORM create_journey('hello', '{"entry": {"manual": true}, "start": "send", "steps": {"send": {"send": {"channel": "email", "template": "hello", "params": {"n": "{{trait.name}}"}}, "next": "hold"},
									"hold": {"wait": "300d", "next": "end"}}}');
	PERFORM activate_journey('hello');
	PERFORM enter_journey('hello', ada, '{"why": "Ada Lovelace"}', '2026-01-13Z'), enter_journey('hello', bob, '{}', '2026-01-13Z');
	PERFORM tick('2026-01-14Z');
	PERFORM track('{cookie:adacookie1}', 'view', '{"product_id": "socks", "referrer": "ada.lovelace@example.org"}', '2026-01-14 01:00Z', participants => '{store:shop-1}');
	INSERT INTO inbox (payload) VALUES ('{"type": "track", "event": "view", "anonymousId": "x", "identifiers": ["cookie:adacookie2"]}'),
		('{"batch": [{"type": "identify", "userId": "q", "traits": {"email": " ADA.Lovelace@Example.ORG"}}]}'),
		('{"type": "track", "event": "view", "userId": "zed"}');
	PERFORM ingest('{"type": "track", "event": "view", "phone": "0170", "identifiers": ["phone:+49 170 12345678", "email:ada.lovelace@example.org bad"]}', '2026-01-14Z');
	PERFORM untag(ada, 'knits', '2026-01-14Z');		-- waits to be folded
	PERFORM ingest('{"type": "screen", "userId": 3, "identifiers": ["email:nobody"]}', '2026-01-14Z');
END
$$;
SELECT make_them();
SELECT resolve('email:ada.lovelace@example.org') AS ada, resolve('email:bob@example.org') AS bob, resolve('store:shop-1') AS shop, resolve('cookie:adacookie3') AS split_off \gset
SELECT count(*) > 0 AS claimed FROM claim_messages('email', 10, at => '2026-01-14Z') m WHERE m.profile_id = :ada;

-- exporting

CREATE TEMP TABLE export AS SELECT export_profile(:ada) AS x;
SELECT x - 'records' AS summary FROM export;
SELECT r.key, jsonb_array_length(r.value) AS rows FROM export, jsonb_each(x -> 'records') r ORDER BY r.key COLLATE "C";
-- the same as rows, and the same for a merged leaf
SELECT (SELECT count(*) FROM export_records(:ada)) = (SELECT sum(jsonb_array_length(r.value)) FROM export, jsonb_each(x -> 'records') r) AS same,
	export_profile((x -> 'merged_profiles' -> 0)::bigint) = x AS by_leaf FROM export;
SELECT export_profile(4711);
SELECT export_profile(NULL);

-- By brute force: every row of every table as text.
CREATE FUNCTION find_strings(strings text[]) RETURNS TABLE (place regclass, row_text text) LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
BEGIN
	FOR place IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition ORDER BY c.relname LOOP
		RETURN QUERY EXECUTE format('SELECT %L::regclass, t::text FROM %s t WHERE lower(t::text) ~ $1', place, place)
			USING (SELECT string_agg(s, '|') FROM unnest(strings) s);
	END LOOP;
END
$$;
\set strings '''{lovelace,adacookie1,adacookie2,4917012345678,ada-at-work,greyish,203.0.113.99,-ada-,yarn}'''
SELECT count(DISTINCT f.place) > 15 AS in_many_tables FROM find_strings(:strings) f;

-- and by ids: every bigint, bigint[], bitmap and chunk
CREATE FUNCTION find_ids(ids bigint[]) RETURNS TABLE (place regclass, col name, n bigint) LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	what text;
BEGIN
	FOR place, col, what IN
		SELECT a.attrelid, a.attname, CASE a.atttypid WHEN 'bigint'::regtype THEN format('%I = ANY ($1)', a.attname)
			WHEN 'bigint[]'::regtype THEN format('%I && $1', a.attname)
			WHEN 'bitmap'::regtype THEN format('%I OPERATOR(cdp.&&) cdp.rb_build($1)', a.attname)
			ELSE 'EXISTS (SELECT FROM unnest($1) i WHERE chunk = i >> 15 AND cdp._chunk_contains(members, i))' END
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
		WHERE c.relnamespace = 'cdp'::regnamespace AND a.attnum > 0 AND a.atttypid IN ('bigint'::regtype, 'bigint[]'::regtype, 'bitmap'::regtype, 'bytea'::regtype)
		  AND c.relname NOT IN ('erasure', 'erased_profile', 'tombstone', 'tombstone_salt', 'segment_pass')
		  AND a.attname !~ '^(.*_)?(version|n|nr|rows|members|orders|gaps|batch|tick_no|done|profiles|changed|priors|messaged|converted)$|(event|merge|refusal|split|run|trigger|log|consent|history|inbox|rejected|delivery|outbox|journey|erasure)_id$|^id$|after_merge|instead_of|at_step|left_step|^messages$|^goals$|last_done|^chunk$'
		  OR c.relname IN ('tag_chunk', 'trait_slice', 'segment_due', 'segment_dirty', 'segment_work', 'profile_batch') AND a.attname = 'members'
		ORDER BY c.relname, a.attnum
	LOOP
		EXECUTE format('SELECT count(*) FROM %s WHERE %s', place, what) INTO n USING ids;
		IF n > 0 THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
SELECT array_agg(profile_id) AS leaves FROM profile WHERE canonical_id = :ada \gset
SELECT count(DISTINCT place) > 25 AS in_many_tables FROM find_ids(:'leaves');

-- erasing

CREATE TEMP TABLE bob_before AS SELECT export_profile(:bob) AS x;
CREATE TEMP TABLE results AS SELECT * FROM journey_results('hello');
SELECT timeline_of(:shop) AS shop;
SELECT jsonb_pretty(erase_profile(:ada, 'erase', 'asked by letter', '2026-01-15Z'));
SELECT * FROM find_strings(:strings) WHERE row_text !~ 'adacookie3';
SELECT * FROM find_ids(:'leaves');
-- Bob is who he was, but for Ada; the shop has what Bob bought; the journey counts what it did
SELECT key, o.value AS was, n.value AS is
FROM (SELECT k.* FROM bob_before, jsonb_each((x - 'records') || (x -> 'records')) k) o FULL JOIN (SELECT k.* FROM jsonb_each((export_profile(:bob) - 'records') || (export_profile(:bob) -> 'records')) k) n USING (key)
WHERE o.value IS DISTINCT FROM n.value AND key NOT IN ('profile_merge', 'extra_edge') ORDER BY 1;
SELECT timeline_of(:shop) AS shop;
SELECT timeline_of(:shop) = (SELECT timeline FROM profile_timeline WHERE profile_id = :shop) AS same, count(*) AS rebuilt FROM rebuild('timelines');
SELECT timeline_of(:shop) AS shop;
SELECT * FROM journey_results('hello') EXCEPT SELECT * FROM results;
SELECT step, entered, waiting, left_step, messages FROM journey_stats('hello');
SELECT audience('all', '2026-02-01Z') AS all, tagged('vip') AS vip, segment_members('given') AS given, segment_members('rule') AS rule, trait_count('size') AS sizes, trait_sum('size') AS sum;
SELECT name, members FROM segment ORDER BY 1;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-16Z');
SELECT name, members FROM segment ORDER BY 1;
SELECT * FROM find_strings(:strings) WHERE row_text !~ 'adacookie3';
SELECT * FROM find_ids(:'leaves');

-- again: the same receipt; unknown profiles; wrong arguments
SELECT erase_profile(:ada) = (SELECT receipt FROM erasure) AS same_receipt, erase_profile((:'leaves'::bigint[])[2], 'anonymise') ->> 'mode' AS mode, count(*) FROM erasure;
SELECT erase_profile(4711);
SELECT erase_profile(NULL);
SELECT erase_profile(:bob, 'forget');
SELECT erase_profile(:bob, at => 'infinity');
SELECT export_profile(:ada);
SELECT tag(:ada, 'vip');
SELECT set_trait(:ada, 'size', '3');
SELECT tag(rb_build(ARRAY[:ada, :bob]::bigint[]), 'vip');
SELECT merge(:bob, :ada);
SELECT enter_journey('hello', :ada);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT erase_profile(:bob);
ROLLBACK;
-- what a channel had in hand
SELECT ack_message((receipt #>> '{messages_in_flight,0}')::bigint, 'sent', 'to ada.lovelace@example.org', '2026-01-15Z') FROM erasure;
SELECT ack_message(4711, 'sent');

-- coming back

SELECT identify('{email:ada.lovelace@example.org}');
SELECT identify('{cookie:new1,phone:+49 170 12345678}', '{"name": "Ada Lovelace"}');
SELECT identify('{cookie:bobcookie,user_id:ada-at-work}');
SELECT track('{user_id:ada-at-work}', 'view', '{"name": "Ada Lovelace"}');
SELECT resolve('cookie:new1') IS NULL AND resolve('user_id:ada-at-work') IS NULL AS nothing_came;
-- in bulk: refused without what was said
TRUNCATE rejected;
SELECT ingest('[{"type": "track", "event": "view", "userId": "ada-at-work", "properties": {"name": "Ada Lovelace"}},
	{"type": "identify", "anonymousId": "anon1", "traits": {"email": "Ada.Lovelace@example.org", "name": "Ada Lovelace"}},
	{"type": "alias", "userId": "new-id", "previousId": "ada-at-work"},
	{"type": "track", "userId": "ada-at-work"},
	{"type": "track", "event": "view", "userId": "carl", "timestamp": "2026-01-20T00:00:00Z"}]');
INSERT INTO inbox (payload) SELECT jsonb_build_object('type', 'identify', 'anonymousId', 'anon' || n, 'traits', jsonb_build_object('email', CASE WHEN n = 3 THEN 'ada.lovelace@example.org' ELSE 'n' || n || '@x.org' END)) FROM generate_series(1, 5) n;
SELECT ingest_inbox();
SELECT * FROM import_events($$SELECT '2026-01-20Z'::timestamptz AS at, 'view' AS event, 'ada.lovelace@example.org' AS email, 'Ada Lovelace' AS who$$, 'shop');
SELECT * FROM import_identities($$SELECT 'cookie:c' || n, CASE WHEN n = 2 THEN 'cookie:adacookie1' ELSE 'cookie:d' || n END FROM generate_series(1, 3) n$$, 'pairs');
SELECT set_traits($$SELECT 'cookie:adacookie1' AS identifier, 'Ada Lovelace' AS name UNION ALL SELECT 'cookie:bobcookie', 'Bob'$$, 'crm');
SELECT payload, reason, sqlstate FROM rejected ORDER BY rejected_id;
SELECT * FROM find_strings(:strings) WHERE row_text !~ 'adacookie3';
-- as a participant she is left out
SELECT track('{cookie:bobcookie}', 'gift', at => '2026-01-20Z', participants => '{store:shop-1,user_id:ada-at-work}') = :bob AS bob;
SELECT participants = ARRAY[:shop]::bigint[] AS only_the_shop FROM event WHERE event = 'gift';
-- until she wants to be back
SELECT lift_tombstone('user_id:ada-at-work', 'signed up again', '2026-02-01Z'), lift_tombstone('user_id:ada-at-work', 'signed up again', '2026-02-01Z');
SELECT identify('{user_id:ada-at-work}') > :bob AS somebody_new;
SELECT lift_tombstone('user_id:x', NULL);
SELECT erasure_id, mode, at, reason, receipt #>> '{removed,tombstone}' AS tombstones FROM erasure ORDER BY 1;

-- a split-off identifier is somebody else, and who knows nobody is erased too
SELECT erase_profile(:split_off) ->> 'identifiers' AS identifiers;
SELECT * FROM find_strings('{adacookie}');

-- anonymising

SELECT tag(:bob, 'city:rome', at => '2026-01-20Z');
CREATE TEMP TABLE was AS SELECT timeline_of(:bob) AS bob, timeline_of(:shop) AS shop;
SELECT max(profile_id) AS last FROM profile \gset
SELECT jsonb_pretty(erase_profile(:bob, 'anonymise', at => '2026-02-20 10:00Z') - 'removed');
SELECT p.profile_id > :last AS new_id, p.kind, p.first_at, p.suppressed, p.erased_at, timeline_of(p.profile_id) = was.bob AS same_timeline, timeline_of(:shop) = was.shop AS same_shop
FROM profile p, was WHERE p.erased_at IS NOT NULL;
SELECT f.place, f.row_text FROM find_strings('{bob}') f;
SELECT * FROM find_ids(ARRAY[:bob]::bigint[]);
SELECT via, participants = ARRAY[:shop]::bigint[] AS at_the_shop, event, properties, context, message_id FROM event WHERE profile_id = (SELECT profile_id FROM profile WHERE erased_at IS NOT NULL) ORDER BY at;
SELECT name, value FROM trait_value WHERE profile_id = (SELECT profile_id FROM profile WHERE erased_at IS NOT NULL);
SELECT audience('all', '2026-03-01Z') && (SELECT rb_build_agg(profile_id) FROM profile WHERE erased_at IS NOT NULL) AS in_an_audience;
SELECT timeline_of(p.profile_id) = was.bob AS same_timeline, timeline_of(:shop) = was.shop AS same_shop, (SELECT count(*) > 0 FROM rebuild('timelines')) AS rebuilt
FROM profile p, was WHERE p.erased_at IS NOT NULL;
SELECT timeline_of(p.profile_id) = was.bob AS same_timeline, timeline_of(:shop) = was.shop AS same_shop FROM profile p, was WHERE p.erased_at IS NOT NULL;
SELECT identify('{email:bob@example.org}');

-- what tells an identifier or a trait that goes
SELECT identify('{email:carla@example.org}', '{"name": "Carla"}', '2026-02-01Z') AS carla \gset
SELECT track('{email:carla@example.org}', 'Signed Up', '{"name": "Carla", "amount": 3}', '2026-02-02Z', participants => '{store:shop-1}') = :carla AS carla,
	track('{email:carla@example.org}', 'view', '{"product_id": "gift for carla@example.org", "sku": "s1"}', '2026-02-03Z') = :carla AS carla;
SELECT count(*) > 0 AS ticked FROM tick('2026-02-04Z');
SELECT track('{email:carla@example.org}', 'view', '{"product_id": "Carla"}', '2026-02-05Z', participants => '{store:shop-1}') = :carla AS carla;
SELECT erase_profile(:carla, 'anonymise', at => '2026-02-20Z') -> 'kept' AS kept;
SELECT timeline_of(max(profile_id)) AS carla, timeline_of(:shop) AS shop FROM profile;
SELECT count(*) FROM find_strings('{carla}');
SELECT count(*) FROM rebuild('timelines') HAVING count(*) < 0;
SELECT timeline_of(max(profile_id)) AS carla, timeline_of(:shop) AS shop FROM profile;

-- suppressing

SELECT identify('{email:dora@example.org}', at => '2026-02-01Z') AS dora \gset
SELECT consent(:dora, 'marketing', 'email', true, '2026-02-01Z'), enter_journey('hello', :dora, '{}', '2026-02-01Z') > 0 AS entered;
SELECT count(*) > 0 AS ticked FROM tick('2026-02-01 01:00Z');
SELECT status FROM outbox WHERE profile_id = :dora;
SELECT erase_profile(:dora, 'suppress', 'on the phone', '2026-02-02Z') - '{profile_id,erasure_id}'::text[] AS receipt;
SELECT erase_profile(:dora, 'suppress') = (SELECT receipt FROM erasure ORDER BY erasure_id DESC LIMIT 1) AS same_receipt;
SELECT status, (SELECT detail FROM delivery d WHERE d.outbox_id = o.id) FROM outbox o WHERE profile_id = :dora;
SELECT status, outcome FROM journey_state WHERE profile_id = :dora;
SELECT audience('all', '2026-03-01Z') @> :dora AS in_an_audience, resolve('email:dora@example.org') = :dora AS still_there;
SELECT enter_journey('hello', :dora, '{}', '2026-02-03Z');
SELECT unsuppress(:dora, 'changed her mind', '2026-02-04Z');
SELECT audience('all', '2026-03-01Z') @> :dora AS in_an_audience;
SELECT erase_profile(:dora, at => '2026-02-20Z') ->> 'mode' AS mode;
SELECT count(*) FROM find_strings('{dora}');

-- settled, once nobody is left who was under way
CALL run('2026-03-01Z');
CALL run('2026-03-01Z');
SELECT count(*) AS pending FROM erasure_pending;
SELECT count(*) FILTER (WHERE receipt ? 'removed_later') AS removed_later FROM erasure;

DROP FUNCTION make_them, find_strings, find_ids;

-- suppressing somebody who has no active run
SELECT erase_profile(identify(ARRAY['email:quiet@example.com']), 'suppress') ->> 'mode' AS mode;

-- To every call an erased id is one that never was; only the exports tell.
SELECT identify('{email:erin@example.org}', at => '2026-03-02Z') AS erin \gset
SELECT erase_profile(:erin, at => '2026-03-03Z') ->> 'mode' AS mode;
CREATE FUNCTION answer(call text, profile bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	EXECUTE format(replace(call, '$', '%1$s'), profile) INTO said;
	RETURN coalesce(said, 'nothing');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || replace(SQLERRM, profile::text, '$');
END
$$;
SELECT call, answer(call, :erin) AS erased, nullif(answer(call, 999999), answer(call, :erin)) AS never
FROM unnest('{canonical_id($),timeline_of($),tags_of($),"has_tag($, ''x'')","trait($, ''size'')","matches($, ''all'')","explain_match($, ''all'')","lifecycle_at($, ''2026-03-03Z'')",
	"consented($, ''marketing'', ''email'', ''2026-03-03Z'')","related($, ''friend'', ''2026-03-03Z'')",identity_graph($),"why_no_message($, ''hello'', ''2026-03-03Z'')","simulate_merge($, 1)",export_profile($),export_records($),
	"tag($, ''x'')","untag($, ''x'')","tag(''{$}''::bitmap, ''x'')","untag(''{$}''::bitmap, ''x'')","set_trait($, ''size'', ''3'')","merge($, 1)","relate($, 1, ''friend'')","unrelate($, 1, ''friend'')","consent($, ''marketing'', ''email'', true)","consent(''{$}''::bitmap, ''marketing'', ''email'', true)",
	suppress($),unsuppress($),"enter_journey(''hello'', $)","enter_journey(''hello'', ''{$}''::bitmap)","audience_identifiers(''{$}'', ''email'', ''marketing'')","define_static_segment(''s'', ''{$}'')",
	"set_traits(''SELECT $::bigint AS profile_id, 3 AS size'', ''test'')"}'::text[]) WITH ORDINALITY c (name, n), LATERAL (SELECT 'SELECT ' || name) s (call) ORDER BY n;
DROP FUNCTION answer;
-- in a set with others it is no member; an id that never was is named, and nothing is changed
SELECT identify('{email:here@example.org}', at => '2026-03-02Z') AS here \gset
SELECT tag(rb_build(ARRAY[:erin, :here]::bigint[]), 'in-a-set'), consent(rb_build(ARRAY[:erin, :here]::bigint[]), 'marketing', 'push', true, '2026-03-03Z'), define_static_segment('in-a-set', rb_build(ARRAY[:erin, :here]::bigint[]), at => '2026-03-03Z');
SELECT tagged('in-a-set') = rb_build(ARRAY[:here]::bigint[]) AS tagged, tagged('consent:marketing.push') = rb_build(ARRAY[:here]::bigint[]) AS consented, (SELECT array_agg(profile_id) FROM consent_log WHERE channel = 'push') = ARRAY[:here]::bigint[] AS logged,
	members FROM refresh_segments('in-a-set', '2026-03-04Z');
SELECT untag(rb_build(ARRAY[:erin, :here]::bigint[]), 'in-a-set');
SELECT tag(rb_build(ARRAY[:erin, :here, 999999]::bigint[]), 'in-a-set');
SELECT consent(rb_build(ARRAY[:erin, :here]::bigint[]) | rb_fill('{}', 999900, 999930), 'marketing', 'push', false, '2026-03-03Z');
SELECT tagged('in-a-set'), count(*) FROM consent_log WHERE channel = 'push';

-- However a message spells an identifier, it names it; nothing that only looks like it does.
SELECT i, m FROM (VALUES
	('phone:+390551234', '{"type": "identify", "userId": "x", "traits": {"phone": " 00 39 (0)(055) 12-3.4 "}}'), ('phone:+390551234', '{"identifiers": ["PHONE: +39 055 1234"]}'),
	('phone:0', '{"identifiers": ["phone: (0)"]}'), ('phone:010', '{"identifiers": ["phone:(0)1-0"]}'), ('phone:170', '{"type": "identify", "userId": "x", "traits": {"phone": 170}}'), ('phone:unknown', '{"identifiers": ["phone:UnKnown"]}'),
	('email:a@b.c', '{"type": "identify", "userId": "x", "traits": {"email": " A@B.C\t"}}'), ('user_id:7', '{"type": "track", "event": "e", "userId": 7}'), ('user_id:7.10', '{"userId": 7.10}'),
	('user_id:a"b\c', '{"type": "alias", "userId": "x", "previousId": "a\"b\\c"}'), ('user_id:"', '[{"batch": [{"userId": "\u0022"}]}]'), ('user_id:ÄÖ', '{"userId": "\u00c4\u00d6"}'), ('user_id:I/i', '{"userId": "I\/i"}'),
	('account:5', '{"type": "group", "userId": "x", "groupId": "5"}'), ('store:s1', '{"userId": "x", "participants": ["Store: s1 "]}'),
	('user.sha256:abc1', '{"userId": "x", "context": {"externalIds": [{"id": "ABC1", "type": "user", "encoding": "sha256"}]}}'),
	('device_id:6d92078a-8246-4ba4-ae5b-76104861e7dc', '{"userId": "x", "context": {"device": {"id": "6D92078A-8246-4BA4-AE5B-76104861E7DC"}}}')) x (i, m)
WHERE _names_one_of(m::jsonb, ARRAY['user_id:zz', i]::identifier[], '{}') IS NOT TRUE;
SELECT i, m FROM (VALUES
	('phone:+390551234', '{"identifiers": ["phone:0390551234"]}'), ('phone:170', '{"userId": "170"}'), ('user_id:7', '{"userId": "77"}'), ('user_id:AB', '{"userId": "ab"}'), ('user_id:7', '{"anonymousId": "7"}')) x (i, m)
WHERE _names_one_of(m::jsonb, ARRAY['user_id:zz', i]::identifier[], '{}') IS NOT FALSE;
SELECT _names_one_of('{"userId": "x"}', '{}', '{}') AS nobody;
