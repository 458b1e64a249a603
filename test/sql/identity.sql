SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- one person by degrees
SELECT identify(ARRAY['anonymous_id:a1'], at => '2026-01-01') AS id;
SELECT identify(ARRAY['anonymous_id:a1', 'EMAIL: Ada@Example.com'], at => '2026-01-02') AS id;
SELECT identify('{email:ada@example.com,phone:+49 30 1}', at => '2026-01-03', source => 'shop') AS id;
SELECT identify(ARRAY['phone:0049301'::varchar], at => '2026-01-04') AS id;
-- the same again: nothing new, nothing written
SELECT identify(ARRAY['anonymous_id:a1', 'email:ada@example.com'], at => '2026-01-05'), identify(ARRAY['phone:+49301', 'phone:+49301'], at => '2026-01-03');
SELECT pg_current_xact_id_if_assigned() IS NULL AS reads_only
FROM (SELECT identify(ARRAY['anonymous_id:a1', 'email:ada@example.com'], at => '2026-01-05') OFFSET 0) x;
SELECT profile_id, kind, canonical_id, first_at FROM profile ORDER BY 1;
SELECT * FROM identifier_link ORDER BY 1;
SELECT a, b, at, source, message_id, cause FROM identity_edge ORDER BY 1, 2;
SELECT profile_id, at, cause FROM profile_queue ORDER BY 1, 2;
-- new evidence between what is one profile already is kept
SELECT identify(ARRAY['anonymous_id:a1', 'phone:+49301'], at => '2026-01-06') AS id;
SELECT a, b, at, source, message_id, cause FROM identity_edge WHERE b = 'phone:+49301' ORDER BY 1;

-- an earlier call that arrives late moves the beginnings
SELECT identify(ARRAY['phone:+49301', 'email:ada@example.com'], at => '2025-12-01') AS id;
SELECT first_at FROM profile WHERE profile_id = 1;
SELECT * FROM identifier_link ORDER BY 1;
SELECT a, b, at FROM identity_edge ORDER BY 1, 2;
SELECT profile_id, at, cause FROM profile_queue ORDER BY 1, 2;

-- two people turn out to be one: the lowest profile survives, links stay
SELECT identify(ARRAY['user_id:7', 'device_id:d'], at => '2026-02-01') AS id;
SELECT identify(ARRAY['user_id:8'], at => '2026-02-01') AS id;
SELECT identify(ARRAY['device_id:d', 'email:ada@example.com', 'user_id:8'], at => '2026-02-02', source => 'till') AS id;
SELECT profile_id, canonical_id, first_at FROM profile ORDER BY 1;
SELECT identifier, profile_id FROM identifier_link ORDER BY 1;
SELECT merge_id, survivor, merged, at, cause, source, reason, evidence, members, tags FROM profile_merge ORDER BY 1;
SELECT a, b, at FROM identity_edge WHERE at >= '2026-02-01' ORDER BY 1, 2;
-- new identifiers go to the leaf of the highest known one, whoever survives
SELECT identify(ARRAY['openid:o', 'device_id:d', 'anonymous_id:a1'], at => '2026-02-03') AS id;
SELECT profile_id FROM identifier_link WHERE identifier = 'openid:o';
SELECT * FROM _stitch(ARRAY['device_id:d', 'anonymous_id:a1', 'user_id:8'], NULL, '2026-02-04', NULL);
SELECT * FROM _stitch(ARRAY['device_id:d'], NULL, '2026-02-04', NULL);

-- resolve, now and then
SELECT resolve('user_id:7'), resolve('User_ID: 7'), resolve('user_id:none of them') IS NULL AS nobody, resolve(NULL) IS NULL AS nothing;
SELECT at, resolve('user_id:7', at) AS user_id, resolve('device_id:d', at) AS device_id, resolve('email:ada@example.com', at) AS email
FROM unnest('{2025-11-30, 2025-12-01, 2026-01-31, 2026-02-01, "2026-02-01 23:59:59.999999", 2026-02-02, infinity}'::timestamptz[]) at;
SELECT canonical_id(2), canonical_id(1), canonical_id(99) IS NULL AS nobody, canonical_id(NULL) IS NULL AS nothing;

-- what may not be called
\set VERBOSITY sqlstate
SELECT identify(NULL);
SELECT identify('{}');
SELECT identify('{NULL}');
SELECT identify('{email:a@b.c,NULL}');
SELECT identify(ARRAY['nonsense']);
SELECT identify(ARRAY['email:a@b.c'], at => NULL);
SELECT identify(ARRAY['email:a@b.c'], at => 'infinity');
SELECT identify(ARRAY['email:a@b.c'], traits => NULL);
SELECT identify(ARRAY['email:a@b.c'], traits => '[]');
\set VERBOSITY default
SELECT identify(ARRAY['user_id:null']);
SELECT identify(ARRAY['user_id:0000', 'phone:000-00', 'Email:None@x.y']);
SELECT resolve('email:a@b.c') IS NULL AS nothing_left_behind, count(*) AS refusals FROM identity_refusal;

-- blocked values are left out, not silently
SELECT identify(ARRAY['user_id:NULL', 'user_id:undefined', 'email:b@b.c', 'anonymous_id:00000000-0000-0000-0000-000000000000', 'phone:+1111 11111'],
	at => '2026-03-01', source => 'sdk') AS id;
SELECT identify(ARRAY['user_id:nullable', 'user_id:10', 'email:b@b.c'], at => '2026-03-01') AS id;
SELECT at, identifiers, reason, source FROM identity_refusal ORDER BY refusal_id;
SELECT identifier, profile_id FROM identifier_link WHERE profile_id = 4 ORDER BY 1;
-- a block of one's own, for one namespace, and one that is lifted
INSERT INTO blocked_value (namespace, pattern) VALUES ('device_id', 'kiosk-\d+');
UPDATE blocked_value SET active = false WHERE pattern = 'guest';
SELECT identify(ARRAY['device_id:KIOSK-17', 'email:c@b.c', 'anonymous_id:kiosk-17', 'user_id:Guest'], at => '2026-03-01') AS id;
SELECT identifier FROM identifier_link WHERE profile_id = 5 ORDER BY 1;
INSERT INTO blocked_value (pattern) VALUES ('(unbalanced');

-- kinds: an identifier of another kind gets a profile of its own and a relation
SELECT identify(ARRAY['store:SH-001', 'user_id:20', 'rep:r1', 'store:SH-002'], at => '2026-03-02') AS id;
SELECT identify(ARRAY['user_id:20', 'store:SH-001'], at => '2026-03-05') AS id;
SELECT identify(ARRAY['user_id:21', 'store:SH-001', 'household:h'], at => '2026-03-03') AS id;
SELECT identify(ARRAY['user_id:20', 'household:h'], at => '2026-03-03') AS id;
SELECT identify(ARRAY['user_id:20', 'store:SH-001'], at => '2026-03-01') AS id;
SELECT p.profile_id, p.kind, l.identifier, p.first_at FROM profile p JOIN identifier_link l USING (profile_id) WHERE p.profile_id >= 6 ORDER BY 1, 3;
SELECT * FROM relation ORDER BY a, b, since;
SELECT related(resolve('user_id:20'), 'store', '2026-03-01') AS early, related(resolve('user_id:20'), 'store', '2026-03-02') AS later;
-- the kind of a call: asked, that of the first namespace, or the call's for namespaces without a rule
CREATE TEMP TABLE call AS
	SELECT n, identify(ids::identifier[], at => '2026-03-04', kind => kind) AS profile_id
	FROM (VALUES (1, '{store:SH-003}', 'person'), (2, '{erp:9}', 'account'), (3, '{erp:9,account:9}', 'account'), (4, '{erp:10}', 'person'),
		(5, '{erp:11,store:SH-004}', NULL), (6, '{email:shop@x.org}', 'store'), (7, '{erp:12}', NULL), (8, '{erp:13,store:SH-005}', 'person')) v (n, ids, kind);
SELECT n, kind FROM call JOIN profile USING (profile_id) ORDER BY n;
SELECT resolve('erp:9') = resolve('account:9') AS same_account, resolve('erp:11') = resolve('store:SH-004') AS same_store;
SELECT identify(ARRAY['user_id:20'], at => '2026-03-04', kind => 'store');

-- limits: the lowest-priority identifier is left out, with the reason
INSERT INTO namespace_rule (namespace, priority, max_per_profile) VALUES ('device_id', 30, 2);
SELECT identify(ARRAY['device_id:1', 'device_id:2', 'device_id:3', 'user_id:30'], at => '2026-04-01') AS id;
SELECT identify(ARRAY['user_id:30', 'device_id:4'], at => '2026-04-02') AS id;
SELECT identify(ARRAY['user_id:31', 'device_id:3', 'device_id:4'], at => '2026-04-03') AS id;
-- would make four devices
SELECT identify(ARRAY['user_id:31', 'device_id:1'], at => '2026-04-04') AS id;
SELECT resolve('user_id:30') AS "30", resolve('user_id:31') AS "31", resolve('device_id:1') AS d1, resolve('device_id:3') AS d3, resolve('device_id:4') AS d4;
SELECT at, identifiers, reason FROM identity_refusal WHERE at >= '2026-04-01' ORDER BY refusal_id;
-- what is left out takes nothing along: the rest still finds its way
SELECT identify(ARRAY['user_id:31', 'device_id:1', 'email:31@x.org'], at => '2026-04-05') AS id;
SELECT resolve('email:31@x.org') = resolve('user_id:31') AS linked;
SELECT merge(resolve('user_id:30'), resolve('user_id:31'));
-- within a time
UPDATE namespace_rule SET max_per_profile = 1, within = '1 year' WHERE namespace = 'device_id' AND NOT seeded;
SELECT identify(ARRAY['user_id:40', 'device_id:41'], at => '2026-01-01') AS id;
SELECT identify(ARRAY['user_id:40', 'device_id:42'], at => '2026-12-31 23:59:59.999999') AS id;
SELECT identify(ARRAY['user_id:40', 'device_id:43'], at => '2027-01-01') AS id;
SELECT identifier FROM identifier_link WHERE profile_id = resolve('user_id:40') ORDER BY 1;
DELETE FROM namespace_rule WHERE NOT seeded;

-- never_merge_if_different
UPDATE namespace_rule SET never_merge_if_different = true WHERE namespace = 'user_id';
SELECT identify(ARRAY['user_id:50', 'email:50@x.org'], at => '2026-05-01') AS id;
SELECT identify(ARRAY['user_id:51', 'phone:+51'], at => '2026-05-01') AS id;
SELECT identify(ARRAY['email:50@x.org', 'phone:+51'], at => '2026-05-02') AS id;
SELECT identify(ARRAY['user_id:52', 'email:50@x.org', 'anonymous_id:52'], at => '2026-05-03') AS id;
SELECT identify(ARRAY['user_id:53', 'user_id:54', 'anonymous_id:53'], at => '2026-05-03') AS id;
SELECT at, identifiers, reason FROM identity_refusal WHERE at >= '2026-05-01' AND at < '2026-12-01' ORDER BY refusal_id;
SELECT identifier, resolve(identifier) FROM identifier_link
WHERE value(identifier) ~ '^(5[0-4](@.*)?|\+51)$' ORDER BY 2, 1;
SELECT merge(resolve('user_id:50'), resolve('user_id:51'));
DELETE FROM namespace_rule WHERE NOT seeded;

-- pairs that are kept apart: their leaves, whatever is merged
INSERT INTO never_merge (profile_a, profile_b, reason)
	SELECT least(resolve('user_id:50'), resolve('user_id:51')), greatest(resolve('user_id:50'), resolve('user_id:51')), 'twins';
SELECT merge(resolve('user_id:52'), resolve('user_id:51')) IS NOT NULL AS merged;
SELECT identify(ARRAY['user_id:50', 'user_id:52'], at => '2026-06-01') = resolve('user_id:50') AS still;
SELECT merge(resolve('user_id:50'), resolve('user_id:52'));
SELECT identifiers, regexp_replace(reason, '\d+', 'N', 'g') AS reason FROM identity_refusal WHERE at = '2026-06-01';

-- merging by hand
SELECT identify(ARRAY['user_id:60'], at => '2026-07-01') AS a, identify(ARRAY['user_id:61'], at => '2026-07-01') AS b,
	identify(ARRAY['user_id:62'], at => '2026-07-01') AS c, identify(ARRAY['user_id:63'], at => '2026-07-01') AS d \gset
SELECT merge(:b, :a, 'same shop card', at => '2026-07-02') IS NOT NULL AS first, merge(:d, :c) IS NOT NULL AS second;
-- names of merged profiles mean the survivor
SELECT merge(:c, :a, at => '2026-07-03') IS NOT NULL AS third;
SELECT survivor = :d AS survivor, merged = :b AS merged, members = ARRAY[:a, :b]::bigint[] AS members, cause FROM profile_merge ORDER BY merge_id DESC LIMIT 1;
SELECT canonical_id(p) = :d AS all_one FROM unnest(ARRAY[:a, :b, :c, :d]) p;
SELECT resolve('user_id:60') = :d AS now, resolve('user_id:60', '2026-07-02') = :b AS before, resolve('user_id:60', '2026-07-01') = :a AS at_first;
\set VERBOSITY terse
SELECT merge(:a, :d) IS NULL AS already;
SELECT merge(:a, :a) IS NULL AS itself;
\set VERBOSITY default
SELECT merge(1, 99999);
SELECT merge(99999, 1);
SELECT merge(NULL, 1);
SELECT merge(resolve('user_id:60'), resolve('store:SH-001'));

-- relations
SELECT identify(ARRAY['user_id:70'], at => '2026-08-01') AS p, identify(ARRAY['user_id:71'], at => '2026-08-01') AS q,
	identify(ARRAY['rep:70'], at => '2026-08-01') AS r, identify(ARRAY['rep:71'], at => '2026-08-01') AS s \gset
SELECT relate(:p, :r, 'adviser', '2026-08-01'), relate(:p, :s, 'adviser', '2026-08-10', '2026-08-20', 'crm');
SELECT relate(:p, :r, 'adviser', '2026-08-01');
SELECT at::date, array(SELECT r = :r FROM related(:p, 'adviser', at) r) AS is_first
FROM unnest('{2026-07-31, 2026-08-01, 2026-08-10, 2026-08-20}'::timestamptz[]) at;
SELECT array(SELECT related(:r, 'adviser', '2026-08-02')) AS one_way_only, array(SELECT related(:p, 'boss', '2026-08-02')) AS by_name;
-- over merges, both ends
SELECT merge(:q, :p) IS NOT NULL AND merge(:s, :r) IS NOT NULL AS merged;
SELECT array(SELECT related(:p, 'adviser', '2026-08-15')) = ARRAY[:s]::bigint[] AS merged_away,
	array(SELECT related(:q, 'adviser', '2026-08-15')) = ARRAY[:s]::bigint[] AS survivor;
SELECT unrelate(:q, :s, 'adviser', '2026-08-15'), unrelate(:q, :s, 'adviser', '2026-08-15') AS again, unrelate(:q, :s, 'boss') AS other;
SELECT a = :p AS a, b = :r AS b, since, until FROM relation WHERE relation = 'adviser' ORDER BY since;
SELECT relate(:q, :s, 'adviser', '2026-09-01'), unrelate(:q, :s, 'adviser', '2026-09-01') AS never_was;
SELECT count(*) FROM relation WHERE since = '2026-09-01';
\set VERBOSITY sqlstate
SELECT identify('{user_id:nobody}', kind => '');
SELECT identify('{user_id:nobody,user_id:else}', kind => '');
SELECT import_identities('SELECT 1, 2', kind => '');
SELECT relate(:p, :q, 'self');
SELECT relate(:p, 99999, 'x');
SELECT merge(:p, :r, at => 'infinity');
SELECT relate(99999, :p, 'x');
SELECT relate(:p, :r, '');
SELECT relate(:p, NULL, 'x');
SELECT relate(:p, :r, 'x', '2026-01-02', '2026-01-02');
SELECT unrelate(99999, :r, 'x');
\set VERBOSITY default

-- every way to write a call: a known pair, so that all of them have to agree
SELECT identify(ARRAY['user_id:80', 'email:80@x.org']::identifier[], '{}', '2026-10-01') AS who \gset
CREATE DOMAIN mail_address AS varchar;
SELECT identify('{user_id:80,"Email: 80@X.org"}') = :who AS literal, identify(identifiers => '{user_id:80,email:80@x.org}') = :who AS named;
SELECT identify(ARRAY['user_id:80', 'email:80@x.org']) = :who AS literals, identify(identifiers => ARRAY['user_id:80', 'email:80@x.org']) = :who AS named,
	identify(ARRAY['user_id:80', 'email:80@x.org']::text[]) = :who AS texts, identify(ARRAY['user_id:80', 'email:80@x.org']::varchar[]) = :who AS varchars,
	identify(ARRAY['user_id:80', 'email:80@x.org']::identifier[]) = :who AS identifiers, identify('{user_id:80,email:80@x.org}'::text) = :who AS text,
	identify(ARRAY['user_id:80'::mail_address, 'email:80@x.org']) = :who AS domain_and_literal,
	identify(ARRAY['user_id:80'::identifier, 'email:80@x.org']) = :who AS identifier_and_literal,
	identify(ARRAY[['user_id:80'], ['email:80@x.org']]) = :who AS two_dimensions, identify('{{user_id:80},{email:80@x.org}}') = :who AS in_text;
SELECT identify('{user_id:80}', '{}') = :who AS traits, identify('{user_id:80}', at => '2026-10-02') = :who AS at, identify(ARRAY['user_id:80'], '{}') = :who AS traits,
	identify(source => 'x', identifiers => ARRAY['user_id:80']) = :who AS source, identify('{user_id:80}', kind => 'person') = :who AS kind,
	identify(ARRAY['user_id:80']::varchar[], '{}', '2026-10-02', NULL, 'person') = :who AS positions;
PREPARE who AS SELECT identify($1);
EXECUTE who('{user_id:80,email:80@x.org}') \gset prepared_
SELECT :prepared_identify = :who AS prepared;
DEALLOCATE who;
DROP DOMAIN mail_address;
-- what they write is the same: nothing is said but who, and when the transaction began
BEGIN;
SELECT identify('{user_id:81,email:81@x.org}') <> identify(ARRAY['user_id:82', 'email:82@x.org']) AS two,
	identify(ARRAY['user_id:83', 'email:83@x.org']::identifier[]) > 0 AS three;
SELECT count(*), bool_and(l.at = now()) AS now, bool_and(l.source IS NULL AND l.message_id IS NULL) AS nothing_else, array_agg(l.peer ORDER BY l.identifier) AS peers,
	count(DISTINCT p.profile_id) AS profiles, bool_and(p.kind = 'person' AND p.first_at = now()) AS persons
FROM identifier_link l JOIN profile p USING (profile_id) WHERE l.identifier::text ~ ':8[123]';
COMMIT;
\set VERBOSITY terse
SELECT identify(NULL);
SELECT identify(NULL::text[]);
SELECT identify('{user_id:80,NULL}');
SELECT identify(ARRAY['user_id:80', NULL]);
SELECT identify('{}');
SELECT identify('{}'::text[]);
SELECT identify('user_id:80');
SELECT identify(ARRAY['user_id:80', 'user_id']);
SELECT identify('{user_id:80,user_id}');
\set VERBOSITY default

-- a text is read as the server reads an array: the same answer, or the same error
CREATE FUNCTION pg_temp.outcome(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE call INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT count(*) AS texts, count(*) FILTER (WHERE o.as_text ~ '^\d+$') > 10 AS answered,
	array_agg(ROW(t, o.as_text, o.as_array)::text) FILTER (WHERE o.as_text IS DISTINCT FROM o.as_array) AS differ
FROM unnest(ARRAY['{user_id:80,email:80@x.org}', '{email:80@X.ORG,User_Id:80}', '{user_id:80,user_id:80}', '{email:é80@x.org}', '{user_id:80,}', '{,user_id:80}', '{user_id:80,,email:80@x.org}',
		'{ user_id:80 , email:80@x.org }', ' {user_id:80} ', '{user_id:80}x', '{user_id:80', 'user_id:80}', '{user_id:80}}', '[1:1]={user_id:80}', '[0:0]={user_id:80}', '{"user_id:80"}', '{user_id:"80"}',
		'{user\_id:80}', '{user_id:80\}', '{NULL}', '{user_id:80,nuLL}', '{{user_id:80}}', '{user_id:{80}', '{email:8 0@x.org}', E'{user_id:80,\temail:80@x.org}', E'{user_id:80,\vemail:80@x.org}',
		E'{user_id:80\u00a0}', '{}', '{ }', '', '{', '}', '{,}', '{user_id:}', '{:80}', '{80}', '{user_id:' || repeat('8', 700) || '}',
		(SELECT '{' || string_agg('device_id:many' || n, ',') || '}' FROM generate_series(1, 16) n), (SELECT '{' || string_agg('device_id:many' || n, ',') || '}' FROM generate_series(1, 17) n)]) t
CROSS JOIN LATERAL (SELECT pg_temp.outcome(format('SELECT identify(%L)', t)) AS as_text, pg_temp.outcome(format('SELECT identify(%L::identifier[])', t)) AS as_array) o;

-- as many as a message may name, and no more
SELECT identify(ARRAY(SELECT 'device_id:many' || n FROM generate_series(1, 1000) n)) > 0 AS a_thousand;
SELECT identify(ARRAY(SELECT 'device_id:many' || n FROM generate_series(1, 1001) n));

-- Evidence in one link says what is to be known about the other identifier: a call before it, and one that names a third, look at that one, too.
SELECT identify('{user_id:90,device_id:90}', at => '2026-11-03') AS who \gset
SELECT identifier, peer, at::date FROM identifier_link WHERE profile_id = :who ORDER BY identifier;
SELECT identify('{user_id:90}', at => '2026-11-01') = :who AS user_before, identify('{device_id:90,user_id:90}', at => '2026-11-02') = :who AS both_before,
	identify('{device_id:90,anonymous_id:90}', at => '2026-11-04') = :who AS third, identify('{anonymous_id:90,device_id:90,user_id:90}', at => '2026-11-05') = :who AS all_three,
	identify('{anonymous_id:90,device_id:90,user_id:90}', at => '2026-11-06') = :who AS again;
SELECT identifier, peer, at::date FROM identifier_link WHERE profile_id = :who ORDER BY identifier;
SELECT a, b, at::date FROM identity_edge WHERE a IN ('user_id:90', 'device_id:90', 'anonymous_id:90') ORDER BY a, b;
SELECT split('{device_id:90}', 'another') AS other \gset
SELECT identify('{device_id:90,user_id:90}', at => '2026-11-07') IN (:who, :other) AS not_one_again, resolve('device_id:90') <> resolve('user_id:90') AS two;

-- Who is new in a shop is not that shop, though his namespace has no rule, whatever call says so first.
SELECT track(ARRAY['erp:14', 'store:SH-006'], 'visit', at => '2026-12-01') > 0 AS tracked,
	ingest('[{"type": "track", "event": "visit", "identifiers": ["erp:15", "store:SH-006"]}, {"type": "identify", "identifiers": ["erp:16", "erp:14"]}]', '2026-12-01'),
	identify(ARRAY['erp:17', 'store:SH-006'], at => '2026-12-01') > 0 AS identified;
SELECT n, p.kind, related(p.profile_id, 'store', '2026-12-01') = resolve('store:SH-006') AS in_store FROM generate_series(14, 17) n, profile p WHERE p.profile_id = resolve(identifier('erp', n::text)) ORDER BY 1;

-- nothing ends up pointing nowhere: canonical ids are roots, links are to leaves that exist
SELECT count(*) FILTER (WHERE r.canonical_id <> r.profile_id) AS chains, count(*) FILTER (WHERE r.profile_id IS NULL OR r.kind <> p.kind) AS lost
FROM profile p LEFT JOIN profile r ON r.profile_id = p.canonical_id;
SELECT count(*) AS orphans FROM identifier_link l WHERE NOT EXISTS (SELECT FROM profile p WHERE p.profile_id = l.profile_id);
SELECT count(*) AS unqueued FROM profile p WHERE NOT EXISTS (SELECT FROM profile_queue q WHERE q.profile_id = p.profile_id);
