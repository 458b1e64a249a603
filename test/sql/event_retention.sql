SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

CREATE FUNCTION rnd(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN ((hashtextextended(seed, 0) % below + below) % below)::int;
-- 40 people, some merged, two shops that take part; five months of events
CREATE FUNCTION load(first int, last int) RETURNS void LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT count(track(ARRAY['user_id:u' || rnd('who' || n, 40)]::identifier[], (ARRAY['view', 'Order Completed', 'Product Viewed', 'cart'])[1 + rnd('event' || n, 4)],
		jsonb_build_object('sku', 's' || rnd('sku' || n, 9), 'value', rnd('value' || n, 5), 'products', ARRAY[jsonb_build_object('sku', 'p' || n % 3)]),
		'2026-01-01Z'::timestamptz + rnd('at' || n, 150 * 24) * interval '1 h', 'm' || n, participants => CASE WHEN n % 3 = 0 THEN ARRAY['store:s' || n % 2]::identifier[] ELSE '{}' END))
	FROM generate_series(first, last) n
$$;
SELECT load(1, 400);
SELECT pg_stat_force_next_flush();	-- or the rows would be counted later, and looked at once more
SELECT count(merge(resolve(format('user_id:u%s', n)::identifier), resolve(format('user_id:u%s', n + 20)::identifier), at => '2026-06-01Z')) FROM generate_series(0, 6) n;
SELECT count(*) > 0 AS ticked FROM tick('2026-06-02Z');
CREATE TEMP TABLE was AS SELECT profile_id, timeline_of(profile_id) AS timeline, export_profile(profile_id) -> 'lifecycle' AS stage FROM profile;
CREATE FUNCTION differ() RETURNS bigint LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT count(*) FROM was WHERE (timeline_of(profile_id), export_profile(profile_id) -> 'lifecycle') IS DISTINCT FROM (timeline, stage)
		OR canonical_id(profile_id) = profile_id AND (SELECT t.timeline FROM profile_timeline t WHERE t.profile_id = was.profile_id) IS DISTINCT FROM nullif(timeline, '{}')
$$;
CREATE VIEW months AS SELECT to_char(at, 'YYYY-MM') AS month, event, count(*) AS rows FROM event GROUP BY 1, 2;

-- without periods nothing happens
SELECT done FROM _retire_events('2027-01-01Z', 1000);
SELECT count(*) AS rows FROM event;

-- what is wrong
INSERT INTO event_retention VALUES ('view', '0');
INSERT INTO event_retention VALUES ('view', NULL);

-- one event, under its own name or that in timelines; a month is over as a whole
INSERT INTO event_retention VALUES ('view', '60 days');
SELECT count(*) > 0 AS ticked FROM tick('2026-04-01 23:59Z');
SELECT month, string_agg(event || ' ' || rows, ', ' ORDER BY event) FROM months GROUP BY 1 ORDER BY 1;
SELECT count(*) > 0 AS ticked FROM tick('2026-04-02Z');
SELECT month, string_agg(event || ' ' || rows, ', ' ORDER BY event) FROM months GROUP BY 1 ORDER BY 1;
SELECT differ();
SELECT count(*) FILTER (WHERE sealed) > 20 AS sealed, count(*) FILTER (WHERE part > 0 AND NOT sealed) AS open_later_parts, bool_or(num_events(timeline) = 0 AND sole) AS empty_ones FROM timeline_part;
SELECT count(*) > 0 AS rebuilt FROM rebuild('timelines', '2026-06-02Z');
SELECT differ();
-- nothing more to do
SELECT done FROM _retire_events('2026-04-02Z', 1000);

-- the own name goes before that in timelines, that before *
INSERT INTO event_retention VALUES ('Product Viewed', '1000 days'), ('*', '90 days');
DO $$ BEGIN FOR n IN 1 .. 200 LOOP EXIT WHEN (cdp._retire_events('2026-06-02Z', 3)).done = 0; END LOOP; END $$;
SELECT month, string_agg(event || ' ' || rows, ', ' ORDER BY event) FROM months GROUP BY 1 ORDER BY 1;
SELECT differ();
SELECT count(*) > 0 AS rebuilt FROM rebuild('timelines', '2026-06-02Z');
SELECT differ();

-- all of it: the partitions go
UPDATE event_retention SET keep = '60 days' WHERE event = 'Product Viewed';
CALL run('2026-06-02Z');
SELECT relname FROM pg_class WHERE relnamespace = 'cdp'::regnamespace AND relname ~ '^event_2026_.*[0-9]$' ORDER BY 1;
SELECT partition, after_profile, complete FROM event_retention_state ORDER BY 1;
SELECT differ();

-- late arrivals open it again, and are retired like the rest
SELECT load(401, 480);
SELECT count(*) FROM event WHERE at < '2026-03-01Z';
CREATE TEMP TABLE before_fold AS SELECT profile_id, timeline_of(profile_id) AS timeline FROM profile;
SELECT pg_stat_force_next_flush();
CALL run('2026-06-03Z');
CALL run('2026-06-04Z');
SELECT task, last_error FROM task_state WHERE failing;
SELECT count(*) AS old_rows FROM event WHERE at < '2026-03-01Z';
SELECT count(*) AS different FROM before_fold WHERE timeline_of(profile_id) <> timeline;
SELECT count(*) > 0 AS rebuilt FROM rebuild('timelines', '2026-06-04Z');
SELECT count(*) AS different FROM before_fold WHERE timeline_of(profile_id) <> timeline;

-- what was folded under another meaning
SELECT track('{user_id:late}', 'Promo', '{"campaign": "c1", "code": "x"}', '2026-01-03Z') > 0 AS told, track('{user_id:late}', 'Promo', '{"campaign": "c1", "code": "y"}', '2026-05-03Z') > 0 AS told;
SELECT done FROM _fold_timelines('2026-06-04Z', 100);
SELECT timeline_of(resolve('user_id:late'));
INSERT INTO event_role (event, as_event, label_key) VALUES ('Promo', 'promotion', 'code');
CALL run('2026-06-05Z');
SELECT timeline_of(resolve('user_id:late')), (SELECT count(*) FROM event WHERE event = 'Promo') AS rows;

-- taken back, taken apart and erased after the rows are gone
SELECT retract('m' || n, 'mistake', '2026-06-06Z') FROM (SELECT min(substr(message_id, 2)::int) AS n FROM event_message m WHERE event_id IS NOT NULL AND NOT EXISTS (SELECT FROM event e WHERE e.event_id = m.event_id)
	AND (SELECT count(*) FROM event_message o WHERE o.at = m.at) = 1 AND substr(message_id, 2)::int % 3 > 0) x;
SELECT count(*) > 30 AS sealed_entries FROM export_records(resolve('store:s0')) WHERE relation = 'timeline_part';
SELECT resolve('user_id:u1') AS u1 \gset
SELECT count(*) AS records FROM export_records(:u1) WHERE relation IN ('timeline_part', 'event') \gset
SELECT :records > 10 AS many, erase_profile(:u1, 'anonymise', at => '2026-06-06Z') -> 'kept' ? 'event' AS kept;
SELECT num_events(timeline_of(max(profile_id))) >= :records AS all_there, count(*) AS one FROM profile WHERE erased_at IS NOT NULL;
SELECT count(*) FROM event_message WHERE profile_id = :u1;
SELECT erase_profile(resolve('user_id:u2')) ->> 'profiles' AS profiles;
SELECT count(*) AS orphans FROM timeline_part t WHERE NOT EXISTS (SELECT FROM profile p WHERE p.profile_id = t.profile_id);

DROP VIEW months;
DROP FUNCTION rnd, load, differ;
