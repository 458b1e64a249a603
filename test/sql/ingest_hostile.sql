SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- Messages that somebody made to do harm: nested thousands of times, huge,
-- with too many names.  They are taken or put aside, and afterwards
-- everything about everybody else goes on.
SELECT identify('{user_id:ada,email:ada@example.com,crm:1}', '{"age": 30}', '2026-01-01') AS ada;
CREATE FUNCTION nested(times int, opening text, inside text, closing text) RETURNS jsonb LANGUAGE sql RETURN (repeat(opening, times) || inside || repeat(closing, times))::jsonb;
CREATE TEMP TABLE message AS
	SELECT * FROM (VALUES
		('arrays', nested(3000, '[', '', ']')),
		('objects', nested(3000, '{"a": ', '1', '}')),
		('batches', nested(1000, '{"batch": [', '{"type": "track", "event": "x", "userId": "u"}', ']}')),
		('properties', jsonb_build_object('type', 'track', 'userId', 'u', 'event', 'x', 'properties', nested(3000, '{"a": ', '1', '}'))),
		('context', jsonb_build_object('type', 'track', 'userId', 'u', 'event', 'x', 'context', nested(3000, '{"traits": ', '1', '}'))),
		('traits', jsonb_build_object('type', 'identify', 'userId', 'u', 'traits', nested(3000, '{"a": ', '[]', '}'))),
		('an id', jsonb_build_object('type', 'track', 'event', 'x', 'userId', nested(3000, '{"a": ', '[]', '}'))),
		('long id', jsonb_build_object('type', 'track', 'event', 'x', 'userId', repeat('u', 100000))),
		('long event', jsonb_build_object('type', 'track', 'event', repeat('x', 100000), 'userId', 'u')),
		('long type', jsonb_build_object('type', repeat('x', 100000), 'userId', 'u')),
		('long time', jsonb_build_object('type', 'track', 'event', 'x', 'userId', 'u', 'timestamp', repeat('2', 100000))),
		('long group', jsonb_build_object('type', 'group', 'groupId', repeat('x', 100000), 'userId', 'u')),
		('long trait', jsonb_build_object('type', 'identify', 'userId', 'u', 'traits', jsonb_build_object(repeat('x', 100000), 1))),
		('long value', jsonb_build_object('type', 'track', 'event', 'x', 'userId', 'u', 'properties', jsonb_build_object('name', repeat('x', 100000)))),
		('many ids', jsonb_build_object('type', 'track', 'event', 'x', 'identifiers', (SELECT jsonb_agg('a:' || n) FROM generate_series(1, 5000) n))),
		('many external ids', jsonb_build_object('type', 'track', 'event', 'x', 'context', jsonb_build_object('externalIds', (SELECT jsonb_agg(jsonb_build_object('type', 'b', 'id', n)) FROM generate_series(1, 5000) n)))),
		('many participants', jsonb_build_object('type', 'track', 'event', 'x', 'userId', 'u', 'participants', (SELECT jsonb_agg('store:' || n) FROM generate_series(1, 5000) n))),
		('a thousand ids', jsonb_build_object('type', 'track', 'event', 'x', 'identifiers', (SELECT jsonb_agg('c:' || n) FROM generate_series(1, 1000) n)))) m (what, message);
SELECT what, (ingest(message, '2026-01-02')) AS taken FROM message;
SELECT left(reason, 70) AS reason, sqlstate FROM rejected ORDER BY rejected_id;
-- the same once more, in bulk
INSERT INTO inbox (payload, received_at) SELECT message, '2026-01-03' FROM message;
SELECT ingest_inbox();
-- the clock, a person's export and erasure, which look through what was put aside
SELECT count(*) AS tasks, (SELECT count(*) FROM task_state WHERE failing) AS failing FROM tick('2026-01-04');
INSERT INTO inbox (payload) VALUES (jsonb_build_array(nested(3000, '[', '"ada"', ']'), '{"type": "track", "event": "x", "context": {"externalIds": [{"type": "crm", "id": 1}]}}'::jsonb)),
	('{"batch": [{"type": "track", "userId": "ada", "event": "x"}], "sentAt": "?"}');
SELECT jsonb_array_length(export_profile(resolve('user_id:ada')) #> '{records,inbox}') AS of_ada;
SELECT length(export_profile(resolve('user_id:u'))::text) > 100000 AS of_u;
SELECT erase_profile(resolve('user_id:ada')) #> '{removed,inbox}' AS removed, erase_profile(resolve('user_id:u')) IS NOT NULL AS erased;
SELECT count(*) FROM inbox;
DROP FUNCTION nested;
