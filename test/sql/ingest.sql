-- Segment messages: every type, malformed ones, batches, the inbox
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';

-- times: ISO 8601, UTC unless it says otherwise, whatever the session's settings
SET timezone = 'America/New_York'; SET datestyle = 'SQL, DMY';
CREATE FUNCTION pg_temp.utc(t text) RETURNS text LANGUAGE sql AS $$ SELECT to_char(cdp._iso_time(t) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') $$;
SELECT t, pg_temp.utc(t) FROM unnest(ARRAY['2026-03-01T10:00:00.000Z', '2026-03-01T10:00:00.123456Z', '2026-03-01T10:00:00Z', '2026-03-01 10:00:00z',
	'2026-03-01T10:00Z', '2026-03-01T10:00:00', '2026-03-01', '2026-03-01T10:00:00+08:00', '2026-03-01T10:00:00-0330', '2026-03-01T10:00:00 +08',
	'2024-02-29', '2000-02-29T23:59:59.999999999Z', '1970-01-01T00:00:00Z', '2199-12-31T23:59:59Z',
	-- no times
	'2026-02-29', '1900-02-29', '2026-04-31', '2026-13-01', '2026-00-10', '2026-01-00', '2026-01-01T24:00:00Z', '2026-01-01T10:60:00Z', '2026-01-01T10:00:60Z',
	'0000-01-01', '01/03/2026', 'now', 'today', 'infinity', 'last Tuesday', '', ' 2026-01-01', '2026-01-01T10:00:00+16:00', '1772359200', '2026-01-01Z', '2026-01-01T10']) t;
SET timezone = 'UTC'; SET datestyle = 'ISO';
-- timestamp; else originalTimestamp, corrected by the sender's clock; else receivedAt; else the argument
SELECT m, _message_time(m::jsonb, '2026-06-01 12:00Z')
FROM unnest(ARRAY['{"timestamp": "2026-01-01T00:00:00Z", "originalTimestamp": "2026-01-02T00:00:00Z", "sentAt": "2026-01-02T00:00:00Z"}',
	'{"originalTimestamp": "2026-05-01T10:00:00Z", "sentAt": "2026-05-01T10:00:05Z", "receivedAt": "2026-05-02T08:00:00Z"}',
	'{"originalTimestamp": "2026-01-01T10:00:00Z", "sentAt": "2026-06-01T10:00:00Z"}',
	'{"originalTimestamp": "2026-05-01T10:00:00Z", "receivedAt": "2026-05-02T08:00:00Z"}',
	'{"sentAt": "2026-05-01T10:00:00Z", "receivedAt": "2026-05-02T08:00:00Z"}', '{"timestamp": null}', '{}']) m;
-- a difference is a length of time, also over a change of the clocks
SET timezone = 'America/New_York';
SELECT _message_time('{"originalTimestamp": "2026-03-07T12:00:00Z", "sentAt": "2026-03-09T12:00:00Z"}', '2026-03-09 12:00Z') AT TIME ZONE 'UTC' AS happened;
SET timezone = 'UTC';

-- who is named
SELECT m, _message_identifiers(m::jsonb) FROM unnest(ARRAY[
	'{"userId": "u1", "anonymousId": "a1"}', '{"userId": 12}', '{"userId": "", "anonymousId": "  "}', '{"userId": null}', '{"userId": {"a": 1}}', '{}',
	'{"context": {"device": {"id": "d1"}, "externalIds": [{"id": "x1", "type": "crm_id", "collection": "users", "encoding": "none"}, {"id": 5, "type": "till"}, {"type": "no_id"}, 7]}}',
	'{"type": "identify", "userId": "u1", "traits": {"email": "a@b.c", "phone": "+1 2"}, "context": {"traits": {"email": "old@b.c", "name": "x"}}}',
	'{"type": "track", "userId": "u1", "context": {"traits": {"email": "a@b.c"}}}',
	'{"type": "group", "userId": "u1", "traits": {"email": "office@b.c"}}',
	'{"type": "track", "identifiers": ["household:3", "email:a@b.c"]}', '{"context": null}', '{"context": {"traits": null, "device": null}}']) m;

-- every type
SELECT ingest('[
	{"type": "track", "userId": "u1", "event": "Order Completed", "messageId": "t1", "timestamp": "2026-03-01T10:00:00Z", "source": "shop",
	 "properties": {"revenue": 12, "products": [{"sku": "s1", "price": 6, "quantity": 2}]}, "context": {"ip": "::1"}, "participants": ["store:S1", "store:null"]},
	{"type": "page", "anonymousId": "a1", "name": "Home", "category": "Shop", "messageId": "p1", "timestamp": "2026-03-01T11:00:00Z", "properties": {"url": "/", "product_id": "no label of a page"}},
	{"type": "screen", "anonymousId": "a1", "name": "Start", "messageId": "s1", "timestamp": "2026-03-01T12:00:00Z"},
	{"type": "identify", "userId": "u1", "messageId": "i1", "timestamp": "2026-03-01T13:00:00Z", "traits": {"email": "Ada@Example.com", "age": 36}},
	{"type": "group", "userId": "u1", "groupId": "g1", "messageId": "g1", "timestamp": "2026-03-01T14:00:00Z", "traits": {"plan": "pro", "email": "office@example.com"}},
	{"type": "alias", "previousId": "a1", "userId": "u1", "messageId": "al1", "timestamp": "2026-03-01T15:00:00Z"}]', '2026-03-02Z');
SELECT * FROM rejected;
SELECT event, at, received_at, via, properties, context, source, message_id, backfill FROM event ORDER BY event_id;
SELECT identifier, profile_id, canonical_id(profile_id) FROM identifier_link ORDER BY 1;
SELECT kind, trait.name, trait.value FROM trait_value trait JOIN profile USING (profile_id) ORDER BY 1, 2;
SELECT p.kind, r.relation, q.kind, r.since FROM relation r JOIN profile p ON p.profile_id = r.a JOIN profile q ON q.profile_id = r.b;
SELECT p.kind, t.timeline FROM profile_timeline t JOIN profile p USING (profile_id) ORDER BY 1;
-- all of it again changes nothing
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM event) AS events, (SELECT count(*) FROM profile) AS profiles, (SELECT count(*) FROM trait_change) AS traits,
	(SELECT count(*) FROM relation) AS relations, (SELECT count(*) FROM profile_merge) AS merges;
SELECT ingest('[{"type": "track", "userId": "u2", "event": "Order Completed", "messageId": "t1"}, {"type": "identify", "userId": "u2", "messageId": "i1", "traits": {"age": 1}},
	{"type": "group", "userId": "u2", "groupId": "g2", "messageId": "g1"}, {"type": "alias", "previousId": "u2", "userId": "u3", "messageId": "al1"}]', '2026-03-03Z');
SELECT before = (SELECT ROW((SELECT count(*) FROM event), (SELECT count(*) FROM profile), (SELECT count(*) FROM trait_change),
	(SELECT count(*) FROM relation), (SELECT count(*) FROM profile_merge))::before) AS unchanged FROM before;
-- the same id twice in one batch: the first counts, and both were accepted
SELECT ingest('[{"type": "track", "userId": "u1", "event": "first", "messageId": "d1"}, {"type": "track", "userId": "u1", "event": "second", "messageId": "d1"}]', '2026-03-03Z');
SELECT event FROM event WHERE message_id = 'd1';
-- alias with the id of a known user; a second group message does not repeat the relation
SELECT ingest('[{"type": "identify", "userId": "old"}, {"type": "alias", "previousId": "old", "userId": "new"},
	{"type": "group", "userId": "u1", "groupId": "g1"}, {"type": "group", "groupId": "g3", "traits": {"size": 5}}]', '2026-03-04Z');
SELECT resolve('user_id:old') = resolve('user_id:new') AS one, resolve('anonymous_id:old'), resolve('account:g3') IS NOT NULL AS account_alone;
SELECT count(*) FROM relation;

-- one object; an empty array; nothing
SELECT ingest('{"type": "track", "userId": "u1", "event": "one"}', '2026-03-05Z'), ingest('[]', '2026-03-05Z');
\set VERBOSITY terse
SELECT ingest(NULL);
SELECT ingest('{}', NULL);
SELECT ingest('{}', 'infinity');
SELECT ingest_inbox(-1);
SELECT ingest_inbox(NULL);
\set VERBOSITY default

-- malformed: each with its own reason, and no trace of it elsewhere
CREATE TEMP TABLE malformed AS SELECT * FROM unnest(ARRAY[
	'1', '"text"', 'null', '[]', '{}', '{"type": null, "userId": "u"}', '{"type": "TRACK", "userId": "u", "event": "x"}', '{"type": "delete", "userId": "u"}', '{"type": {"a": 1}}',
	'{"type": "track", "userId": "u"}', '{"type": "track", "userId": "u", "event": ""}', '{"type": "track", "userId": "u", "event": 7}', '{"type": "track", "userId": "u", "event": null}',
	'{"type": "track", "event": "x"}', '{"type": "track", "event": "x", "userId": ""}', '{"type": "identify", "traits": {"age": 1}}', '{"type": "page"}',
	'{"type": "track", "userId": "null", "event": "x"}', '{"type": "track", "identifiers": ["no namespace"], "event": "x"}', '{"type": "track", "identifiers": "user_id:1", "event": "x"}',
	'{"type": "track", "identifiers": [1], "event": "x"}', '{"type": "track", "userId": "u", "participants": ["store"], "event": "x"}', '{"type": "track", "userId": "u", "participants": {"a": 1}, "event": "x"}',
	'{"type": "track", "userId": "u", "event": "x", "properties": [1]}', '{"type": "track", "userId": "u", "event": "x", "context": "c"}', '{"type": "identify", "userId": "u", "traits": "t"}',
	'{"type": "identify", "userId": "u", "context": {"traits": 1}}',
	'{"type": "identify", "userId": "u", "traits": {"email": "not an address"}}', '{"type": "identify", "userId": "u", "traits": {"phone": "call me"}}',
	'{"type": "track", "userId": "u", "event": "x", "context": {"externalIds": [{"id": "1", "type": "bad type"}]}}', '{"type": "track", "userId": "u\u0007", "event": "x"}',
	'{"type": "track", "userId": "u", "event": "x", "timestamp": "last Tuesday"}', '{"type": "track", "userId": "u", "event": "x", "timestamp": 1772359200}',
	'{"type": "track", "userId": "u", "event": "x", "originalTimestamp": "2026-02-30"}', '{"type": "track", "userId": "u", "event": "x", "timestamp": "2026-01-01T00:00:00Z", "sentAt": "?"}',
	'{"type": "track", "userId": "u", "event": "x", "timestamp": "1899-12-31T23:59:59Z"}', '{"type": "track", "userId": "u", "event": "x", "timestamp": "2200-01-01T00:00:00Z"}',
	'{"type": "group", "userId": "u"}', '{"type": "group", "userId": "u", "groupId": ""}', '{"type": "alias", "userId": "u"}', '{"type": "alias", "previousId": "u"}']) WITH ORDINALITY m (message, n);
-- (the one that is in order: only the times that are used are looked at)
SELECT ingest(message::jsonb, '2026-03-06Z') FROM malformed WHERE n = 35;
TRUNCATE rejected;
SELECT count(*) AS events, (SELECT count(*) FROM profile) AS profiles FROM event \gset
SELECT ingest(jsonb_agg(message::jsonb ORDER BY n), '2026-03-06Z') FROM malformed WHERE n <> 35;
SELECT left(r.payload::text, 100) AS payload, r.reason, r.sqlstate FROM rejected r ORDER BY rejected_id;
SELECT (SELECT count(*) FROM event) - :events AS more_events, (SELECT count(*) FROM profile) - :profiles AS more_profiles;
SELECT DISTINCT at FROM rejected;
-- a random byte changed anywhere in a good message: taken or put aside, never an error
TRUNCATE rejected;
CREATE FUNCTION pg_temp.parse(t text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN t::jsonb; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
WITH good AS (SELECT '{"type": "track", "userId": "u1", "event": "x", "timestamp": "2026-03-01T10:00:00.5+01:00", "sentAt": "2026-03-01T10:00:00Z", "properties": {"revenue": 1e2}, "context": {"device": {"id": 3}, "traits": {"email": "a@b.c"}}, "participants": ["store:1"], "identifiers": ["phone:+49 1"]}' AS m),
changed AS (SELECT pg_temp.parse(overlay(m PLACING (ARRAY['"', '{', '[', ':', '9', 'z', ' ', '-', '@', ',', '}', ']', '.', '1'])[1 + abs(hashint4(n)) % 14]
		FROM 1 + (abs(hashint4extended(n, 7)) % length(m))::int FOR 1)) AS m FROM good, generate_series(1, 3000) n)
SELECT count(*) > 1000 AS many, count(*) AS tried, ingest(jsonb_agg(m), '2026-03-06Z') AS taken FROM changed WHERE m IS NOT NULL \gset
SELECT :'many'::boolean AS many, :tried = :taken + count(*) AS all_accounted_for FROM rejected;
SELECT sqlstate, count(*) > 0 AS some FROM rejected GROUP BY 1 ORDER BY 1;

-- a poison message, wrong in a way that only taking it shows, in the middle of
-- a batch: put aside with its own reason, the rest goes in
TRUNCATE rejected;
INSERT INTO blocked_value (namespace, pattern) VALUES ('user_id', 'poison.*');
SELECT count(*) AS events FROM event \gset
INSERT INTO inbox (payload, received_at)
SELECT jsonb_build_object('type', 'track', 'userId', CASE WHEN n IN (1, 500, 501, 1777, 2500) THEN 'poison' || n ELSE 'good' || n % 50 END, 'event', 'x', 'messageId', 'batch' || n), '2026-03-07Z'
FROM generate_series(1, 2500) n;
SELECT ingest_inbox();
SELECT payload ->> 'userId' AS who, reason, sqlstate, at FROM rejected ORDER BY rejected_id;
SELECT count(*) - :events AS more_events, count(DISTINCT message_id) - count(message_id) AS doubled, (SELECT count(*) FROM inbox) AS left_over FROM event;

-- the inbox: oldest first, as many as asked, also arrays; backfill is marked; nothing is lost
TRUNCATE rejected;
COPY inbox (payload) FROM STDIN;
{"type": "track", "userId": "u1", "event": "inbox 1", "messageId": "in1"}
[{"type": "track", "userId": "u1", "event": "inbox 2", "messageId": "in2"}, {"type": "track", "userId": "u1"}, {"type": "track", "userId": "u1", "event": "inbox 3", "messageId": "in3"}]
{"type": "track", "userId": "u1", "event": "inbox 4", "messageId": "in1"}
{"type": "track", "userId": "u1", "event": "inbox 5", "timestamp": "2025-12-24T00:00:00Z"}
\.
SELECT ingest_inbox(0), (SELECT count(*) FROM inbox);
SELECT ingest_inbox(2);
SELECT count(*) FROM inbox;
SELECT ingest_inbox(backfill => true);
SELECT ingest_inbox();
SELECT event, at = received_at AS at_receipt, backfill FROM event WHERE event LIKE 'inbox%' ORDER BY event_id;
SELECT payload, reason FROM rejected;

-- what an alias merged says so
SELECT ingest('[{"type": "identify", "userId": "older"}, {"type": "identify", "userId": "newer"}, {"type": "alias", "previousId": "older", "userId": "newer"}]', '2026-09-04Z');
SELECT cause, evidence FROM cdp.profile_merge ORDER BY merge_id DESC LIMIT 1;

-- times, read together with others or one by one: what _iso_time says, or put aside
TRUNCATE rejected;
CREATE TEMP TABLE told AS
	SELECT row_number() OVER () AS n, t FROM (
		SELECT DISTINCT left(overlay(base PLACING (ARRAY['', '0', '9', '-', '+', ':', 'Z', 'T', '.', ' ', '1', '08', '+08:00', '-03:30'])[1 + abs(hashint4extended(i, 3)) % 14] FROM 1 + (abs(hashint4extended(i, 1)) % 28)::int FOR (abs(hashint4extended(i, 2)) % 3)::int), 34) AS t
		FROM unnest('{2026-03-01T10:00:00.123456Z,2026-12-31T23:59:59,2024-02-29,1900-01-01T00:30:00+01:00,2199-12-31T23:30:00-01,2026-03-01T10:00:00.5+05:30,2026-03-01T10:00:00-08:00,2026-03-01 10:00}'::text[]) base, generate_series(1, 250) i
		UNION SELECT day || fraction || zone FROM unnest('{2026-03-01T10:00:00,2024-02-29T23:59:59,2025-02-29T00:00:00,1900-01-01T00:30:00,2199-12-31T23:30:00,2026-03-01 10:00:00,2026-03-01T10:00,2026-03-01}'::text[]) day,
			unnest('{"",.5,.123456,.1234567,.}'::text[]) fraction, unnest('{"",Z,z,+00,+01:00,-08:30,+0530," +02",+15:59,-16:00,-3}'::text[]) zone) x;
INSERT INTO inbox (payload, received_at) SELECT jsonb_build_object('type', 'track', 'userId', 'u1', 'event', 'told', 'messageId', 'told' || n, 'timestamp', t), '2026-06-01Z' FROM told;
SELECT count(*) > 1000 AS many, ingest_inbox() BETWEEN 200 AND count(*) / 2 AS good_and_bad FROM told;
SELECT t, e.at, _iso_time(t) FROM told LEFT JOIN event e ON e.message_id = 'told' || n
WHERE e.at IS DISTINCT FROM CASE WHEN _iso_time(t) >= '1900-01-01Z' AND _iso_time(t) < '2200-01-01Z' THEN _iso_time(t) END LIMIT 5;
SELECT sqlstate, count(*) > 10 AS some FROM rejected GROUP BY 1 ORDER BY 1;
-- What is not plain (this alias is not, by its time) holds up those only who name what it may name, too; and these others, where it is new.
SELECT taken, rest FROM _try_plain(ARRAY['{"type": "alias", "previousId": " p1 ", "userId": "p2", "originalTimestamp": "2026-10-01"}', '{"type": "track", "userId": "p3", "event": "e", "timestamp": "2026-10-01"}', '{"type": "track", "anonymousId": "p4", "userId": "p1", "event": "e", "timestamp": "2026-10-01"}',
	'{"type": "identify", "identifiers": ["anonymous_id:p1", "user_id:p5"], "timestamp": "2026-10-01"}', '{"type": "page", "identifiers": ["user_id:p5"], "timestamp": "2026-10-01"}', '{"type": "page", "userId": "p6", "anonymousId": "p4", "timestamp": "2026-10-01"}', '{"type": "page", "userId": "p3", "timestamp": "2026-10-01"}']::jsonb[],
	array_fill('2026-10-01Z'::timestamptz, ARRAY[7]), false, true, false, false);
SELECT resolve('user_id:p3') > 0 AS taken, resolve('user_id:p1') AS held_up;
-- Those that are refused take nobody along; one of whom only a part is blocked is taken.
SELECT erase_profile(resolve('user_id:p3')) ->> 'mode' AS mode;
INSERT INTO inbox (payload) VALUES ('{"type": "track", "userId": "null", "anonymousId": "undefined", "event": "e"}'), ('{"type": "group", "userId": "p3", "groupId": "g9"}'), ('{"type": "track", "userId": "p3", "anonymousId": "p6", "event": "e"}'),
	('{"type": "group", "userId": "none", "groupId": "g9"}'), ('{"type": "track", "userId": "null", "anonymousId": "p7", "event": "e"}'), ('{"type": "alias", "userId": "null", "previousId": "p8"}');
SELECT ingest_inbox();
SELECT payload, reason, sqlstate FROM rejected ORDER BY rejected_id DESC LIMIT 4;
SELECT resolve('account:g9') > 0 AS g9, resolve('anonymous_id:p6') AS p6, resolve('anonymous_id:p7') > 0 AS p7, resolve('anonymous_id:p8') > 0 AS p8;
-- Of one id the first one that is not refused counts.
INSERT INTO inbox (payload) SELECT jsonb_build_object('type', 'track', 'messageId', 'same', 'userId', u, 'event', 'e', 'timestamp', '2026-10-01') FROM unnest('{null,p9,p10}'::text[]) u;
SELECT ingest_inbox();
SELECT resolve('user_id:p9') > 0 AS p9, resolve('user_id:p10') AS p10;
