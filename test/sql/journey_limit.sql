-- How many enter a journey, and how many are in it.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set VERBOSITY terse

CREATE FUNCTION pg_temp.make(name text, entry jsonb, more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	SELECT cdp.create_journey(name, jsonb_build_object('entry', jsonb '{"manual": true}' || entry, 'start', 'a', 'steps', jsonb '{"a": {"wait": "2h", "next": "end"}}') || more);
	SELECT cdp.activate_journey(name)
$$;
SELECT count(identify(ARRAY['user_id:u' || g]::identifier[], at => '2026-01-01Z')) FROM generate_series(1, 3000) g;

-- what a spec may say
CREATE FUNCTION pg_temp.try(v jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.make('try', v);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT v, pg_temp.try(v) FROM unnest(ARRAY[jsonb '{"cap": 5}', '{"cap": {}}', '{"cap": {"max": -1}}', '{"cap": {"max": 1.5}}', '{"cap": {"max": "5"}}', '{"cap": {"max": 5, "per": "soon"}}', '{"cap": {"max": 5, "days": 1}}', '{"cap": {"max": null}}',
	'{"cap": {"max": 0}}', '{"cap": {"max": 5, "per": "1d"}}', '{"concurrency": "all"}', '{"concurrency": 1e10}', '{"concurrency": 0}', '{"concurrency": 5, "cap": {"max": 7}}']) v;

-- nobody, at most so many, at most so many at once: by profile id, whatever is asked for at a time
SELECT pg_temp.make('closed', '{"cap": {"max": 0}}'), pg_temp.make('shut', '{"concurrency": 0}'), pg_temp.make('ever', '{"cap": {"max": 1500}}'), pg_temp.make('daily', '{"cap": {"max": 10, "per": "1d"}}'), pg_temp.make('three', '{"concurrency": 3}');
SELECT j, enter_journey(j, '{9,5,7,3,1}'::bitmap, '{}', '2026-02-01Z') FROM unnest('{closed,shut,three}'::text[]) j;
SELECT enter_journey('ever', rb_fill('{}', 1, 2001), '{}', '2026-02-01Z'), enter_journey('daily', rb_fill('{}', 1, 2001), '{}', '2026-02-01Z');
SELECT journey, what, detail, count(*), min(profile_id), max(profile_id) FROM journey_log WHERE what <> 'step' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
-- the window rolls, exactly; nobody may enter later into an earlier time that is full
SELECT enter_journey('daily', '{2001,2002}'::bitmap, '{}', '2026-02-01 23:59:59.999999Z'), enter_journey('daily', '{2001,2002}'::bitmap, '{}', '2026-02-02Z'), enter_journey('daily', '{2003,2004}'::bitmap, '{}', '2026-02-01 12:00Z');
SELECT enter_journey('ever', 2500, '{}', '2036-02-01Z'), enter_journey('daily', rb_fill('{}', 2100, 2120), '{}', '2026-01-31 12:00Z') AS earlier_full, enter_journey('daily', rb_fill('{}', 2100, 2120), '{}', '2026-01-30 12:00Z') AS earlier_free;
-- whoever has left makes room, from that instant on
SELECT enter_journey('three', 11, '{}', '2026-02-01 01:00Z') AS full, advance_journeys('2026-02-01 02:00Z') > 0 AS left_, enter_journey('three', 11, '{}', '2026-02-01 01:59:59Z') AS still_full, enter_journey('three', 11, '{}', '2026-02-01 02:00Z') > 0 AS free;
SELECT journey, profile_id, detail FROM journey_log WHERE what = 'refused' AND profile_id IN (11, 2001, 2003, 2500) ORDER BY log_id;
SELECT what, detail FROM why_no_message(2003, 'daily', '2026-03-01Z');

-- an entry into the past: it counts who was there at one time, not all who have been there since
SELECT pg_temp.make('overlap', '{"concurrency": 2}');
SELECT enter_journey('overlap', p, '{}', '2026-02-01Z'::timestamptz + p * interval '3 h') > 0 AS entered, advance_journeys('2026-02-01 01:00Z'::timestamptz + (p + 1) * interval '3 h') > 0 AS left_ FROM generate_series(1, 3) p;
SELECT enter_journey('overlap', 4, '{}', '2026-02-01 01:00Z') > 0 AS free, enter_journey('overlap', 5, '{}', '2026-02-01 01:00Z') > 0 AS full, enter_journey('overlap', 6, '{}', '2026-02-01 12:00Z') > 0 AS later;

-- held-out people count as entries, and never as active
SELECT pg_temp.make('half', '{"cap": {"max": 100}}', '{"holdout": 0.5}'), pg_temp.make('few', '{"concurrency": 20}', '{"holdout": 0.5}');
SELECT j, enter_journey(j, rb_fill('{}', 1, 1000), '{}', '2026-02-01Z') AS entered FROM unnest('{half,few}'::text[]) j;
SELECT journey, status, count(*) BETWEEN 40 AND 60 AS about_half, count(*) = 20 AS twenty FROM journey_state WHERE journey IN ('half', 'few') GROUP BY 1, 2 ORDER BY 1, 2;
-- a limit that comes later counts those who are there; one that goes away counts nobody
SELECT pg_temp.make('later', '{}'), enter_journey('later', rb_fill('{}', 1, 6), '{}', '2026-02-01Z');
SELECT pg_temp.make('later', '{"cap": {"max": 7}, "concurrency": 6}'), enter_journey('later', rb_fill('{}', 6, 10), '{}', '2026-02-01 01:00Z');
SELECT advance_journeys('2026-02-01 02:00Z') > 0, enter_journey('later', rb_fill('{}', 1, 6), '{}', '2026-02-01 02:00Z');
SELECT pg_temp.make('later', '{}'), enter_journey('later', rb_fill('{}', 1, 20), '{}', '2026-02-01 02:30Z'), pg_temp.make('later', '{"cap": {"max": 30}}'), enter_journey('later', rb_fill('{}', 100, 120), '{}', '2026-02-01 02:30Z');
SELECT detail, count(*) FROM journey_log WHERE journey = 'later' AND what = 'refused' GROUP BY detail ORDER BY detail;

-- Random: events start runs of several lengths.  However the clock goes, no stretch of 10 hours
-- has more than 4 entries, there are never more than 3 runs at once, and the same people enter.
SELECT create_journey(j, '{"entry": {"on": "go", "key": "label", "cap": {"max": 4, "per": "10h"}, "concurrency": 3}, "start": "a", "steps": {"a": {"wait_for": {"on": "stop"}, "timeout": "6h", "next": "end", "else": "b"}, "b": {"if": "count(go) > 3", "then": "c", "else": "end"}, "c": {"wait": "90min", "next": "end"}}}')
FROM unnest('{punctual,sometimes,late}'::text[]) j;
CREATE TEMP TABLE happening AS
SELECT 1 + (hashint8extended(g, 7) & 63) AS who, CASE WHEN hashint8extended(g, 8) & 3 = 0 THEN 'stop' ELSE 'go' END AS event, timestamptz '2026-03-01Z' + (hashint8extended(g, 9) & 1023) * interval '10 min' AS at, 'l' || (g & 1) AS label
FROM generate_series(1, 400) g;
CREATE FUNCTION pg_temp.play(j text, ticks timestamptz[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz;
BEGIN
	PERFORM cdp.activate_journey(j);
	PERFORM cdp.track(ARRAY['user_id:' || j || who]::cdp.identifier[], event, jsonb_build_object('product_id', label), at) FROM happening ORDER BY at, who, event, label;
	FOREACH t IN ARRAY ticks LOOP
		PERFORM cdp._fold_timelines(t, 100000);
		WHILE cdp.advance_journeys(t, 20) > 0 LOOP END LOOP;
	END LOOP;
	PERFORM cdp.archive_journey(j, '2026-03-10Z');
END $$;
SELECT pg_temp.play('punctual', ARRAY(SELECT generate_series(timestamptz '2026-03-01Z', '2026-03-09Z', '10 min')));
SELECT pg_temp.play('sometimes', ARRAY(SELECT generate_series(timestamptz '2026-03-01Z', '2026-03-09Z', '7 h')));
SELECT pg_temp.play('late', '{2026-03-09Z}');
CREATE TEMP VIEW run AS SELECT journey, profile_id, entered_at, ended_at FROM journey_state WHERE journey IN ('punctual', 'sometimes', 'late');
SELECT journey, count(*) > 60 AS entered,
	max((SELECT count(*) FROM run o WHERE o.journey = r.journey AND o.entered_at >= r.entered_at AND o.entered_at < r.entered_at + interval '10 h')) AS in_10_hours,
	max((SELECT count(*) FROM run o WHERE o.journey = r.journey AND o.entered_at <= r.entered_at AND o.ended_at > r.entered_at)) AS at_once
FROM run r GROUP BY journey ORDER BY journey;
SELECT journey, regexp_replace(detail, 'reentry.*|already.*', 'another') AS why, count(*) > 10 AS plenty FROM journey_log WHERE what = 'refused' AND journey IN ('punctual', 'sometimes', 'late') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS differ FROM (SELECT replace(value(i.identifier), s.journey, ''), s.key, s.entered_at, s.ended_at, count(*) FROM journey_state s JOIN identifier_link i USING (profile_id) WHERE s.journey IN ('punctual', 'sometimes', 'late') GROUP BY 1, 2, 3, 4 HAVING count(*) <> 3) x;
-- a punctual clock refuses nobody without need: entries before, in the order of profiles
SELECT count(*) AS refused, count(*) FILTER (WHERE CASE WHEN l.detail LIKE 'cap%' THEN
	(SELECT count(*) FROM journey_log o WHERE o.journey = l.journey AND o.what = 'entered' AND o.at > l.at - interval '10 h' AND o.log_id < l.log_id) < 4
	ELSE (SELECT count(*) FROM journey_state o JOIN journey_log e ON e.run_id = o.run_id AND e.what = 'entered' WHERE o.journey = l.journey AND e.log_id < l.log_id AND (o.ended_at >= l.at OR o.entered_at = l.at)) < 3 END) AS without_need
FROM journey_log l WHERE l.journey = 'punctual' AND l.what = 'refused' AND l.detail ~ '^(cap|concurrency)';
