-- Local times: daylight saving, missing zones, dates that move.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'America/New_York';
\set VERBOSITY terse

-- the next such time of day: at once, later today, tomorrow; a clock that skips (29 March 2026, 02:00 -> 03:00 in Berlin) and one that comes twice (25 October)
SELECT at AT TIME ZONE zone AS local, time_of_day, days, _next_local(at, zone, time_of_day, days) AT TIME ZONE 'UTC' AS utc, _next_local(at, zone, time_of_day, days) AT TIME ZONE zone AS then_local
FROM (VALUES
	(timestamptz '2026-01-05 08:00Z', 'Europe/Berlin', time '09:00', NULL::int[]),
	('2026-01-05 08:00:01Z', 'Europe/Berlin', '09:00', NULL),
	('2026-01-05 08:00Z', 'Europe/Berlin', '09:00', '{1}'),
	('2026-01-05 08:00:01Z', 'Europe/Berlin', '09:00', '{1}'),
	('2026-01-05 08:00:01Z', 'Europe/Berlin', '09:00', '{5,7}'),
	('2026-03-28 12:00Z', 'Europe/Berlin', '02:30', NULL),
	('2026-03-29 00:59:59Z', 'Europe/Berlin', '02:30', NULL),
	('2026-03-29 01:30:01Z', 'Europe/Berlin', '02:30', NULL),
	('2026-10-24 12:00Z', 'Europe/Berlin', '02:30', NULL),
	('2026-10-25 01:30:01Z', 'Europe/Berlin', '02:30', NULL),
	('2026-01-05 23:30Z', 'Asia/Shanghai', '07:00', NULL),
	('2026-01-05 23:30Z', 'America/Los_Angeles', '00:00', NULL),
	('2026-10-10 12:00Z', 'America/Asuncion', '00:00', NULL)) v(at, zone, time_of_day, days);
-- never before, never more than 25 hours after, and on that minute unless the clock skips it
SELECT count(*), count(*) FILTER (WHERE n < at), count(*) FILTER (WHERE n > at + interval '25 h'),
	count(*) FILTER (WHERE (n AT TIME ZONE zone)::time <> t)
FROM (SELECT at, zone, t, _next_local(at, zone, t, NULL) AS n
	  FROM generate_series(timestamptz '2026-01-01Z', '2027-01-01Z', '7 h 13 min') at,
		unnest('{Europe/Berlin,America/New_York,Australia/Lord_Howe,Asia/Kathmandu,Pacific/Apia}'::text[]) zone,
		unnest('{00:00,02:15,12:00,23:59:59}'::time[]) t) x;

SELECT z, _zone(z, 'UTC') FROM unnest(ARRAY['Asia/Shanghai', 'UTC', 'Etc/GMT+5', 'Mars/Base', '', 'x; drop', NULL]) z;

-- dates in traits
SELECT value, wait, _trait_instant(value, wait, 'Asia/Tokyo', '2026-05-10Z') AT TIME ZONE 'UTC' AS utc
FROM (VALUES ('2026-05-20', jsonb '{}'), ('2026-05-20', '{"time": "09:00"}'), ('2026-05-20', '{"time": "09:00", "offset": "-3d"}'), ('2026-05-20', '{"offset": "+1w"}'),
	('2026-05-20', '{"offset": "-90min"}'), ('2026-05-20T18:00:00Z', '{}'), ('2026-05-20T18:00:00Z', '{"offset": "-2h"}'), ('2026-05-20T18:00:00Z', '{"time": "09:00"}'),
	('1990-05-20', '{"yearly": true}'), ('1990-05-09', '{"yearly": true, "time": "09:00"}'), ('1992-02-29', '{"yearly": true}'), ('2030-05-20', '{"yearly": true}'),
	('1990-05-12', '{"yearly": true, "offset": "-3d"}'), ('soon', '{}'), ('2026-02-30', '{}'), (NULL, '{}')) v(value, wait);

-- in a journey: the profile's zone, then the journey's, then UTC
SELECT create_journey('morning', '{"entry": {"manual": true}, "timezone": "Asia/Shanghai", "start": "a", "steps": {"a": {"wait_until": {"time": "09:00", "weekday": ["monday", "thursday"]}, "next": "end"}}}'), activate_journey('morning');
SELECT create_journey('birthday', '{"entry": {"manual": true}, "start": "a", "steps": {"a": {"wait_until": {"trait": "born", "offset": "-1d", "time": "10:00"}, "next": "b"}, "b": {"tag": "greeted", "next": "end"}}}'), activate_journey('birthday');
CREATE TEMP TABLE who AS SELECT w, identify(ARRAY['user_id:' || w]::identifier[], at => '2026-01-01Z') AS id FROM unnest('{shanghai,lima,nowhere,moves,dateless,past}'::text[]) w;
SELECT set_trait(id, 'timezone', to_jsonb(z), '2026-01-01Z') FROM who JOIN (VALUES ('lima', 'America/Lima'), ('nowhere', 'Atlantis/City')) v(w, z) USING (w);
SELECT set_trait(id, 'born', to_jsonb(d), '2026-01-01Z') FROM who JOIN (VALUES ('lima', '2026-02-10'), ('moves', '2026-02-10'), ('past', '2020-01-01')) v(w, d) USING (w);
SELECT w, enter_journey('morning', id, '{}', '2026-02-03 12:00Z') > 0 AS entered, enter_journey('birthday', id, '{}', '2026-02-03 12:00Z') > 0 AS entered FROM who ORDER BY w;
SELECT w, journey, due_at AT TIME ZONE 'UTC' AS due FROM journey_state JOIN who ON id = profile_id ORDER BY journey, w;
-- the date moves away, then back; another becomes known; the zone changes during the wait, which a clock time has been told already
SELECT set_trait(id, 'born', '"2026-03-01"', '2026-02-04Z') FROM who WHERE w = 'moves';
SELECT set_trait(id, 'born', '"2026-02-20"', '2026-02-05Z') FROM who WHERE w = 'dateless';
SELECT advance_journeys('2026-02-09 23:00Z') > 0;
SELECT w, s.step, s.status, due_at AT TIME ZONE 'UTC' AS due FROM journey_state s JOIN who ON id = profile_id WHERE journey = 'birthday' ORDER BY w;
SELECT set_trait(id, 'born', '"2026-02-08"', '2026-02-10Z') FROM who WHERE w = 'moves';
SELECT advance_journeys('2026-02-28Z') > 0;
SELECT w, l.at AT TIME ZONE 'UTC' AS utc, l.what, l.step FROM journey_log l JOIN who ON id = profile_id WHERE journey = 'birthday' AND l.step = 'b' AND what = 'step' ORDER BY w;
SELECT w, s.status, due_at FROM journey_state s JOIN who ON id = profile_id WHERE journey = 'birthday' AND status = 'active' ORDER BY w;

-- a zone that changes during a wait: the clock that counts is the one of the place where the profile is now; of what is due already nothing changes
SELECT create_journey('nine', '{"entry": {"manual": true}, "start": "a", "steps": {"a": {"wait_until": "09:00", "next": "b"}, "b": {"wait": "1h", "next": "end"}}}'), activate_journey('nine');
CREATE TEMP TABLE traveller AS SELECT w, identify(ARRAY['user_id:' || w]::identifier[], '{"timezone": "Europe/Berlin"}', '2026-01-01Z') AS id FROM unnest('{west,east,far,back,lost,late}'::text[]) w;
SELECT count(enter_journey('nine', id, '{}', '2026-02-03 05:00Z')) AS at_six_in_berlin FROM traveller;
DO $$
DECLARE
	m	record;
BEGIN
	FOR m IN SELECT t.id, v.z, v.at FROM pg_temp.traveller t JOIN (VALUES ('west', 'America/New_York', timestamptz '2026-02-03 06:00Z'), ('east', 'Asia/Tokyo', '2026-02-03 06:00Z'), ('far', 'Pacific/Kiritimati', '2026-02-03 07:59Z'),
			('back', 'Asia/Tokyo', '2026-02-03 06:00Z'), ('back', 'Europe/Berlin', '2026-02-03 07:00Z'), ('lost', 'Mars/Base', '2026-02-03 06:00Z'), ('late', 'Asia/Tokyo', '2026-02-03 08:01Z')) v(w, z, at) USING (w) ORDER BY v.at LOOP
		PERFORM cdp.set_trait(m.id, 'timezone', to_jsonb(m.z), m.at);
		PERFORM cdp.advance_journeys(m.at);
	END LOOP;
END $$;
SELECT advance_journeys('2026-02-05Z') > 0;
SELECT w, l.at AT TIME ZONE 'UTC' AS left_the_wait, l.at AT TIME ZONE _zone(trait(t.id, 'timezone') #>> '{}', 'UTC') AS local FROM journey_log l JOIN traveller t ON t.id = l.profile_id WHERE l.journey = 'nine' AND l.what = 'step' AND l.step = 'a' ORDER BY w;
-- where the clock is set forward or back: what it reaches next; when days begin
SELECT at AT TIME ZONE 'UTC' AS utc, zone, t, _clock_reaches(at, zone, t) AT TIME ZONE 'UTC' AS reached, _clock_reaches(at, zone, t) AT TIME ZONE zone AS shows
FROM (VALUES (timestamptz '2026-03-28 21:00Z', 'Europe/Berlin', time '02:30'), ('2026-10-24 21:00Z', 'Europe/Berlin', '02:30'), ('2026-10-25 00:30Z', 'Europe/Berlin', '02:30'), ('2026-10-25 00:30Z', 'Europe/Berlin', '08:00'),
	('2026-04-04 14:00Z', 'Australia/Lord_Howe', '01:45'), ('2026-10-03 14:00Z', 'Australia/Lord_Howe', '02:15'), ('2026-01-05 09:00Z', 'UTC', '09:00'), ('2026-01-05 09:00Z', 'UTC', '08:59:59')) v(at, zone, t);
SELECT day, zone, _day_begins(day, zone) AT TIME ZONE 'UTC' AS utc, _day_begins(day, zone) AT TIME ZONE zone AS shows
FROM (VALUES (date '2026-03-29', 'Europe/Berlin'), ('2026-03-29', 'Asia/Beirut'), ('2026-10-25', 'Asia/Beirut'), ('2026-11-01', 'America/Havana'), ('2026-03-08', 'America/Havana'), ('2011-12-30', 'Pacific/Apia'), ('2011-12-31', 'Pacific/Apia')) v(day, zone);
-- a day is what the clock shows: at its beginning it has this date, a microsecond before it has not
SELECT count(*), count(*) FILTER (WHERE (b AT TIME ZONE zone)::date <> day) AS late, count(*) FILTER (WHERE ((b - interval '1 microsecond') AT TIME ZONE zone)::date >= day) AS early
FROM (SELECT d::date AS day, zone, _day_begins(d::date, zone) AS b
	  FROM generate_series(timestamp '2026-01-01', timestamp '2026-12-31', '1 day') d, unnest('{Europe/Berlin,America/New_York,Australia/Lord_Howe,Asia/Kathmandu,Pacific/Apia,Asia/Beirut,America/Havana,America/Santiago,Atlantic/Azores}'::text[]) zone) x;

-- what is no time
CREATE FUNCTION pg_temp.try(v jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.create_journey('bad', jsonb_build_object('entry', jsonb '{"manual": true}', 'start', 'a', 'steps', jsonb_build_object('a', jsonb_build_object('wait_until', v, 'next', 'end'))));
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT v, pg_temp.try(v) FROM unnest(ARRAY[jsonb '"24:00"', '"9:00"', '{}', '{"weekday": "funday"}', '{"weekday": []}', '{"weekday": ["Monday", "sunday"], "time": "23:59:59"}', '{"trait": "born", "weekday": "monday"}',
	'{"time": "09:00", "offset": "1d"}', '{"trait": "born", "offset": "1 day"}', '{"trait": "born", "yearly": 1}', '{"trait": ""}', '3', '{"at": "x"}']) v;

-- somebody who waits for a date that is not known is not behind
SELECT identify(ARRAY['user_id:undated']::identifier[], at => '2026-01-01Z') > 0 AS made;
SELECT create_journey('undated', '{"entry": {"manual": true}, "start": "s", "steps": {"s": {"wait_until": {"trait": "no_such_date"}, "next": "end"}}}'), activate_journey('undated');
SELECT enter_journey('undated', resolve('user_id:undated'), at => '2026-01-02Z') > 0 AS entered;
SELECT archive_journey(name, '2026-01-02Z') FROM journey WHERE status = 'active' AND name <> 'undated';
SELECT advance_journeys('2026-01-02Z') >= 0 AS advanced;
SELECT due_at FROM journey_state WHERE journey = 'undated';
SELECT * FROM status('2026-01-03Z') WHERE item = 'journey runs due, oldest';
