SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- History that is loaded late fires nothing, whatever its messages say: each
-- journey here would be entered by the same messages as they come.
SELECT define_segment('old', 'age >= 18') > 0 AND define_segment('buyer', 'count(purchase) > 0') > 0 AND define_segment('old_buyer', 'segment:old & segment:buyer') > 0
	AND define_segment('big', 'seats > 5', 'account') > 0 AS defined;
SELECT count(create_journey(name, jsonb_build_object('entry', entry::jsonb, 'kind', kind, 'start', 'hold', 'steps', '{"hold": {"wait": "9d", "next": "end"}}'::jsonb)))
FROM (VALUES ('by_trait', '{"enters": "segment:old"}', 'person'), ('by_event', '{"on": "purchase"}', 'person'), ('by_events', '{"enters": "segment:buyer"}', 'person'),
	('by_both', '{"enters": "segment:old_buyer"}', 'person'), ('by_stage', '{"enters": "lifecycle:first_purchase"}', 'person'), ('by_account', '{"enters": "segment:big"}', 'account')) j (name, entry, kind);
SELECT count(activate_journey(name)) FROM journey;
SELECT count(identify(ARRAY['user_id:' || u]::identifier[], at => '2026-01-01')) FROM unnest('{known,late,slow}'::text[]) u;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-02');

-- of somebody known (also before he was), somebody new, by messages that are taken together and by one that is not (its time has another form)
CREATE TEMP TABLE history AS
	SELECT jsonb_build_object('timestamp', at, 'userId', u) || m::jsonb AS message
	FROM (VALUES ('known', '2026-01-01T12:00:00Z'), ('late', '2025-01-01T00:00:00Z'), ('slow', '2026-01-01 12:00:00Z'), ('new', '2025-06-01T00:00:00Z'), ('new and slow', '2025-06-01 00:00Z')) u (u, at),
		(VALUES ('{"type": "identify", "traits": {"age": 30}}'), ('{"type": "track", "event": "Order Completed", "properties": {"revenue": 5}}'),
			('{"type": "group", "groupId": "g", "traits": {"seats": 9}}')) m (m);
INSERT INTO inbox (payload) SELECT message FROM history;
SELECT ingest_inbox(backfill => true);
SELECT count(*) > 0 AS ticked FROM tick('2026-01-03');
SELECT segment, rb_cardinality(entered) AS entered, cause FROM segment_change ORDER BY 1, 2;
SELECT to_stage, cause, count(*) FROM lifecycle_change WHERE to_stage <> 'potential' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS runs FROM journey_state;
SELECT count(*) AS triggers FROM journey_trigger;
-- as they come they fire everything
UPDATE history SET message = message || jsonb_build_object('userId', message ->> 'userId' || ' 2', 'timestamp', '2026-01-03T12:00:00Z') || CASE WHEN message ? 'groupId' THEN '{"groupId": "g2"}' ELSE '{}' END::jsonb;
SELECT count(identify(ARRAY['user_id:' || (message ->> 'userId')]::identifier[], at => '2026-01-02')), identify('{account:g2}', at => '2026-01-02') > 0 FROM history;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-03 06:00');
INSERT INTO inbox (payload) SELECT message FROM history;
SELECT ingest_inbox();
SELECT count(*) > 0 AS ticked FROM tick('2026-01-04');
SELECT journey, count(*) FROM journey_state GROUP BY 1 ORDER BY journey COLLATE "C";
