SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- A kiosk's device was taken for a person's.
SELECT identify('{email:a@example.com,phone:+49301,device_id:d,cookie:x}', '{"name": "A"}', '2026-01-01Z') AS a;
SELECT track('{device_id:d}', 'view', '{"sku": "s1"}', '2026-01-02Z', 'm1', participants => '{store:s}') AS d1,
	   track('{email:a@example.com}', 'view', '{"sku": "s2"}', '2026-01-03Z', 'm2') AS a1,
	   track('{device_id:d}', 'purchase', '{"value": 5}', '2026-01-04Z', 'm3') AS d2,
	   track('{cookie:x}', 'view', '{"sku": "s1"}', '2026-01-02Z', 'm5') AS x1;
SELECT tag(1, 'vip');
SELECT count(*) > 0 AS ticked FROM tick('2026-01-05Z');
SELECT track('{device_id:d}', 'view', '{"sku": "s3"}', '2026-01-06Z', 'm4', participants => '{store:s}') AS d3;
SELECT create_journey('buyers', '{"entry": {"enters": "lifecycle:first_purchase"}, "start": "hold", "steps": {"hold": {"wait": "30d", "next": "end"}}}');
SELECT activate_journey('buyers');

SELECT split('{device_id:d}', 'a kiosk', '2026-01-07Z') AS kiosk;
SELECT identifier, profile_id, at FROM identifier_link ORDER BY 1;
SELECT split_id, identifier, at, from_profile, to_profile, reason FROM identifier_split;
SELECT profile_a, profile_b, reason FROM never_merge;
SELECT a, b, at, cause, inactive_at FROM identity_edge ORDER BY a, b;
SELECT event_id, profile_id, via, event, participants FROM event ORDER BY 1;
SELECT message_id, profile_id FROM event_message ORDER BY 1;
SELECT profile_id, event_id, owner_id FROM event_tail ORDER BY 1, 2;
-- folded or not, each event is where it belongs; the store has both
SELECT profile_id, part, sole, timeline FROM timeline_part ORDER BY 1, 2;
SELECT profile_id, timeline_of(profile_id) FROM profile ORDER BY 1;
CREATE TEMP TABLE before AS SELECT profile_id, timeline_of(profile_id) AS timeline FROM profile;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-08Z');
SELECT count(*) AS changed FROM before WHERE timeline_of(profile_id) <> timeline;
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT count(*) AS changed FROM before WHERE timeline_of(profile_id) <> timeline;
-- tags and traits stay; stages follow the events, and start nothing
SELECT p.profile_id, tags_of(p.profile_id), trait(p.profile_id, 'name'), s.stage, s.since FROM profile p LEFT JOIN lifecycle_state s USING (profile_id) WHERE kind = 'person' ORDER BY 1;
SELECT count(*) AS runs FROM journey_state;

-- the same evidence is refused from now on, and the past is known
SELECT identify('{email:a@example.com,device_id:d,email:n@example.com}', at => '2026-01-09Z');
SELECT identifiers, reason FROM identity_refusal;
SELECT resolve('email:n@example.com'), resolve('device_id:d'), resolve('device_id:d', '2026-01-06Z'), resolve('device_id:d', '2026-01-07Z'), resolve('device_id:d', '2025-12-31Z');
-- a message that comes again names who owns it now
SELECT track('{device_id:d}', 'purchase', '{"value": 5}', '2026-01-04Z', 'm3');

-- It was the link between the others: they stay together all the same.
SELECT identify('{user_id:1,cookie:p}', at => '2026-02-01Z') AS p, identify('{user_id:2,cookie:q}', at => '2026-02-02Z') AS q,
	   identify('{user_id:1,device_id:z,cookie:r}', at => '2026-02-03Z') AS r \gset
SELECT identify('{device_id:z,user_id:2}', at => '2026-02-04Z') = :p AS one;
SELECT leaf_a = :q, leaf_b = :p, evidence FROM profile_merge;
SELECT split('{user_id:1}', 'a typing error', '2026-02-05Z') AS u \gset
SELECT identifier, profile_id - :p AS leaf, resolve(identifier) - :p AS profile FROM identifier_link WHERE profile_id >= :p ORDER BY 1;
SELECT a, b, at, cause, inactive_at FROM identity_edge WHERE at >= '2026-02-01Z' ORDER BY a, b;
-- and the merge can be undone as before
SELECT unmerge(1, at => '2026-02-06Z');
SELECT identifier, profile_id - :p AS leaf, resolve(identifier) - :p AS profile FROM identifier_link WHERE profile_id >= :p ORDER BY 1;
SELECT a, b, at, cause, inactive_at FROM identity_edge WHERE at >= '2026-02-01Z' AND inactive_at IS NULL ORDER BY a, b;

-- Entries as they were folded, although events mean something else by now.
SELECT identify('{x:1,y:1}', at => '2026-03-01Z') AS x \gset
SELECT track('{y:1}', 'seen', '{"sku": "k"}', '2026-03-02Z'), track('{x:1}', 'seen', '{"sku": "k"}', '2026-03-02Z') \gset
SELECT count(*) > 0 AS ticked FROM tick('2026-03-03Z');
INSERT INTO event_role (event, as_event) VALUES ('seen', 'view');
SELECT split('{y:1}', 'test', '2026-03-04Z') AS y \gset
SELECT timeline_of(:x), timeline_of(:y);

-- Who owned an event and took part in it as well has taken part still: folded or not, as rebuilding says.
SELECT identify('{x:5,y:5}', at => '2026-03-10Z') AS x \gset
SELECT track('{y:5}', 'met', '{"sku": "k1"}', '2026-03-11Z', participants => '{x:5}') \gset
SELECT count(*) > 0 AS ticked FROM tick('2026-03-12Z');
SELECT track('{y:5}', 'met', '{"sku": "k2"}', '2026-03-13Z', participants => '{x:5}') \gset
SELECT split('{y:5}', 'test', '2026-03-14Z') AS y \gset
SELECT timeline_of(:x), timeline_of(:y);
SELECT count(*) > 0 AS ticked FROM tick('2026-03-15Z');
SELECT timeline_of(:x), timeline_of(:y);
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT timeline_of(:x), timeline_of(:y);

-- A sealed part is left alone.
SELECT identify('{x:2,y:2}', at => '2026-04-01Z') AS x \gset
SELECT track('{y:2}', 'seen', '{"sku": "k"}', '2026-04-02Z') \gset
SELECT count(*) > 0 AS ticked FROM tick('2026-04-03Z');
UPDATE timeline_part SET sealed = true WHERE profile_id = :x;
DROP TABLE cdp.event_2026_04;
SELECT track('{y:2}', 'seen', '{"sku": "later"}', '2026-05-02Z') \gset
SELECT split('{y:2}', 'test', '2026-05-04Z') AS y \gset
SELECT timeline_of(:x), timeline_of(:y);

-- who was suppressed stays so
UPDATE profile SET suppressed = true WHERE profile_id = :x;
SELECT identify('{x:2,z:2}', at => '2026-05-05Z') = :x AS known;
SELECT split('{z:2}', 'test', '2026-05-06Z') AS z \gset
SELECT suppressed, matches(:z, 'all', '2026-06-01Z') FROM profile WHERE profile_id = :z;

-- wrong input
\set SHOW_CONTEXT never
SELECT split(NULL, 'x');
SELECT split('{}', 'x');
SELECT split('{x:1,NULL}', 'x');
SELECT split('{x:1}', 'x', 'infinity');
SELECT split('{x:1}', 'x');
SELECT split('{email:a@example.com,device_id:d}', 'x');
SELECT split('{email:nobody@example.com,device_id:d}', 'x');
