-- What starts a journey and what does not: events, tags and time do; history that comes late, merges, policies, new segments and rebuilding do not.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set VERBOSITY terse

CREATE FUNCTION pg_temp.who(who text) RETURNS bigint LANGUAGE sql AS $$ SELECT cdp.identify(ARRAY['user_id:' || who]::cdp.identifier[], at => '2025-01-01Z') $$;
CREATE FUNCTION pg_temp.buys(who text, at timestamptz, backfill boolean DEFAULT false) RETURNS bigint LANGUAGE sql AS $$
	SELECT cdp.track(ARRAY['user_id:' || who]::cdp.identifier[], 'purchase', '{"product_id": "x"}', at, backfill => backfill)
$$;
SELECT define_segment('big', 'count(purchase) >= 3') > 0 AS big, define_segment('gone', 'lifecycle:churned') > 0 AS gone;
SELECT count(create_journey(j, jsonb_build_object('entry', e, 'start', 'a', 'steps', jsonb '{"a": {"wait": "1h", "next": "end"}}'))), count(activate_journey(j))
FROM (VALUES ('churned', jsonb '{"enters": "lifecycle:churned"}'), ('first', '{"enters": "lifecycle:first_purchase"}'), ('no longer first', '{"leaves": "lifecycle:first_purchase"}'), ('big', '{"enters": "segment:big"}'), ('gone', '{"enters": "segment:gone"}'),
	('back', '{"leaves": "segment:gone"}'), ('vip', '{"enters": "vip"}'), ('common', '{"leaves": "vip"}'), ('bought', '{"on": "purchase"}'), ('allowed', '{"enters": "consent:marketing.email"}')) v(name, e), LATERAL (SELECT replace(name, ' ', '_') AS j) x;
CREATE FUNCTION pg_temp.entries() RETURNS TABLE (journey text, who text, at timestamptz) LANGUAGE sql AS $$
	SELECT l.journey, string_agg(cdp.value(i.identifier), '+' ORDER BY i.identifier), l.at FROM cdp.journey_log l JOIN cdp.profile p ON p.canonical_id = l.profile_id JOIN cdp.identifier_link i ON i.profile_id = p.profile_id WHERE l.what = 'entered' GROUP BY l.log_id, l.journey, l.at ORDER BY l.at, l.journey, 2
$$;
SELECT policy.at_risk_after, policy.churned_after FROM lifecycle_policy policy WHERE name = 'default';

-- events, tags, time
SELECT pg_temp.buys('ann', '2026-01-01Z') > 0, pg_temp.buys('ann', '2026-01-02Z') > 0, tag(pg_temp.who('bob'), 'vip', NULL, '2026-01-02Z'), consent(pg_temp.who('bob'), 'marketing', 'email', true, '2026-01-02Z');
SELECT count(*) > 0 AS ticked FROM tick('2026-01-02Z');
SELECT pg_temp.buys('ann', '2026-01-03Z') > 0, untag(pg_temp.who('bob'), 'vip', '2026-01-03Z'), pg_temp.buys('cid', '2026-01-03Z') > 0;
SELECT count(*) > 0 AS ticked FROM generate_series(timestamptz '2026-01-03Z', '2027-01-03Z', '7 days') t, tick(t);
SELECT pg_temp.buys('ann', '2027-01-04Z') > 0;
SELECT count(*) > 0 AS ticked FROM tick('2027-01-04Z');
SELECT * FROM pg_temp.entries();

-- history that comes late, a merge and its undoing, another policy, a new segment, rebuilding, retracting: nothing
CREATE TEMP TABLE so_far AS SELECT count(*) AS n FROM journey_log;
SELECT count(pg_temp.buys('dan', t, true)) FROM generate_series(timestamptz '2026-01-01Z', '2026-03-01Z', '10 days') t;
SELECT * FROM import_events($$ SELECT 'eve' AS user_id, 'purchase' AS event, t AS at, 'old-' || row_number() OVER () AS message_id FROM generate_series(timestamptz '2026-02-01Z', '2026-03-01Z', '7 days') t $$, 'old shop');
SELECT pg_temp.who('hal') > 0 AS hal;
SELECT count(*) > 0 AS ticked FROM tick('2027-01-05Z');
-- neither when something else has happened at that very instant
SELECT pg_temp.buys('hal', '2027-01-05 12:00Z', true) = track('{user_id:hal}'::identifier[], 'view', at => '2027-01-05 12:00Z') AS same;
SELECT count(*) > 0 AS ticked FROM tick('2027-01-05 13:00Z');
SELECT stage, (SELECT count(*) FROM pg_temp.entries() WHERE at >= '2027-01-05Z') AS entered FROM lifecycle_state WHERE profile_id = pg_temp.who('hal');
SELECT tag(pg_temp.who('fay'), 'vip', NULL, '2027-01-06Z'), consent(pg_temp.who('fay'), 'marketing', 'email', true, '2027-01-06Z'), count(pg_temp.buys(w, '2027-01-06Z')) FROM unnest('{fay,gus,gus}'::text[]) w;
SELECT count(*) > 0 AS ticked FROM tick('2027-01-06Z');
SELECT count(*) AS entered_by_themselves FROM pg_temp.entries() WHERE at = '2027-01-06Z';
UPDATE so_far SET n = (SELECT count(*) FROM journey_log);
SELECT merge(pg_temp.who('gus'), pg_temp.who('fay'), at => '2027-01-06Z') > 0 AS merged;
SELECT what, detail FROM journey_log l, so_far s WHERE l.log_id > s.n ORDER BY log_id;
SELECT has_tag(pg_temp.who('gus'), 'vip') AS vip_now, count(*) > 0 AS ticked FROM tick('2027-01-06Z');
SELECT segment_members('big') @> canonical_id(pg_temp.who('gus')) AS big_by_merge, segment_members('big') @> pg_temp.who('dan') AS big_by_history, segment_members('gone') @> pg_temp.who('eve') AS gone_by_history;
SELECT unmerge(merge_id) FROM profile_merge;
SELECT count(*) > 0 AS ticked FROM tick('2027-01-06Z');
SELECT count(*) > 0 AS ticked FROM tick('2027-01-06 00:30Z');
UPDATE lifecycle_policy SET at_risk_after = '10 min', churned_after = '20 min' WHERE name = 'default';
SELECT count(*) > 0 AS rebuilt FROM rebuild('all', '2027-01-06 12:00Z');
SELECT count(*) > 0 AS ticked FROM tick('2027-01-06 12:00Z');
SELECT rb_cardinality(tagged('lifecycle:churned')) > 3 AS many_churned;
SELECT create_journey('new', '{"entry": {"enters": "segment:new"}, "start": "a", "steps": {"a": {"wait": "1h", "next": "end"}}}'), activate_journey('new'), define_segment('new', 'count(purchase) > 0') > 0 AS new;
SELECT count(*) > 0 AS refreshed FROM refresh_segments('new', '2027-01-06 12:30Z');
SELECT count(retract(message_id, 'mistake')) AS retracted FROM event WHERE event = 'purchase' AND message_id IS NOT NULL;
SELECT count(*) > 0 AS ticked FROM tick('2027-01-06 13:00Z');
SELECT journey, what, detail, at FROM journey_log l, so_far s WHERE l.log_id > s.n AND l.what NOT IN ('step', 'ended', 'moved', 'resumed') ORDER BY log_id;
-- but whoever joins the segment later does
SELECT pg_temp.who('zoe') > 0, pg_temp.buys('zoe', '2027-01-07Z') > 0;
SELECT count(*) > 0 AS ticked FROM tick('2027-01-07Z');
SELECT journey, who FROM pg_temp.entries() WHERE at >= '2027-01-06 13:00Z' ORDER BY 1;

-- archiving leaves the log alone, and nothing in the schema can take it away
CREATE TEMP TABLE log_before AS SELECT * FROM journey_log;
SELECT archive_journey(name, '2027-01-08Z') FROM journey;
SELECT count(*) AS gone FROM (SELECT * FROM log_before EXCEPT SELECT * FROM journey_log) x;
SELECT count(*) = (SELECT count(DISTINCT name) FROM journey) AS versions_stay, (SELECT count(*) FROM journey_state WHERE status = 'active') AS active, (SELECT count(*) FROM journey_listener) AS listeners FROM journey_version;
SELECT conrelid::regclass, confrelid::regclass FROM pg_constraint WHERE contype = 'f' AND connamespace = 'cdp'::regnamespace AND confdeltype IN ('c', 'n', 'd') AND 'cdp.journey_log'::regclass IN (conrelid, confrelid);
