-- Local times: daylight saving, missing zones, dates that move.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'America/New_York';
\set VERBOSITY terse

-- the next such time of day: at once, later today, tomorrow; a clock that skips (29 March 2026, 02:00 -> 03:00 in Berlin, 00:00 -> 01:00 in Beirut) and one that comes twice (25 October)
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
	('2026-03-28 12:00Z', 'Asia/Beirut', '00:00', NULL),
	('2026-03-28 12:00Z', 'Asia/Beirut', '00:00', '{7}'),
	('2026-03-28 22:00:01Z', 'Asia/Beirut', '00:00', '{7}')) v(at, zone, time_of_day, days);
-- never before, never more than 25 hours after, and on that minute unless the clock skips it
SELECT count(*), count(*) FILTER (WHERE n < at), count(*) FILTER (WHERE n > at + interval '25 h'),
	count(*) FILTER (WHERE (n AT TIME ZONE zone)::time <> t)
FROM (SELECT at, zone, t, _next_local(at, zone, t, NULL) AS n
	  FROM generate_series(timestamptz '2026-01-01Z', '2027-01-01Z', '7 h 13 min') at,
		unnest('{Europe/Berlin,America/New_York,Australia/Lord_Howe,Asia/Kathmandu,Pacific/Apia}'::text[]) zone,
		unnest('{00:00,02:15,12:00,23:59:59}'::time[]) t) x;

SELECT z, _zone(z, 'UTC') FROM unnest(ARRAY['Asia/Shanghai', 'UTC', 'Etc/GMT+5', 'Mars/Base', '', 'x; drop', NULL]) z;
-- all that there are, and nothing else that PostgreSQL would take for one
SELECT count(*) > 400 AS many, count(*) FILTER (WHERE _zone(name, NULL) IS NULL) AS unknown FROM pg_timezone_names WHERE name !~ '^(posix|right)/';
SELECT z, timestamp '2026-01-01' AT TIME ZONE z IS NOT NULL AS taken, _zone(z, NULL) FROM unnest('{Mars/Base5,UTC+3,Foo5,<+03>-3}'::text[]) z;

-- dates in traits
SELECT value, wait, _trait_instant(value, wait, 'Asia/Tokyo', '2026-05-10Z') AT TIME ZONE 'UTC' AS utc
FROM (VALUES ('2026-05-20', jsonb '{}'), ('2026-05-20', '{"time": "09:00"}'), ('2026-05-20', '{"time": "09:00", "offset": "-3d"}'), ('2026-05-20', '{"offset": "+1w"}'),
	('2026-05-20', '{"offset": "-90min"}'), ('2026-05-20T18:00:00Z', '{}'), ('2026-05-20T18:00:00Z', '{"offset": "-2h"}'), ('2026-05-20T18:00:00Z', '{"time": "09:00"}'),
	('1990-05-20', '{"yearly": true}'), ('1990-05-09', '{"yearly": true, "time": "09:00"}'), ('1992-02-29', '{"yearly": true}'), ('2030-05-20', '{"yearly": true}'),
	('1990-05-12', '{"yearly": true, "offset": "-3d"}'), ('1990-05-20', '{"yearly": true, "offset": "-9y"}'), ('1990-05-20', '{"yearly": true, "offset": "+26281h"}'), ('soon', '{}'), ('2026-02-30', '{}'), (NULL, '{}')) v(value, wait);
-- what is a date to a wait is one to a rule: nothing else, and nothing that would stop the clock
SELECT v, _iso_time(v) AT TIME ZONE 'UTC' AS utc, _fits_type(to_jsonb(v), 'date') <> (_iso_time(v) IS NOT NULL) AS differs
FROM unnest('{2026-05-01,2026-05-01 10:00,2026-05-01t10:00:00z,2026-05-01T10:00:00.1234567Z,2026-05-01T10:00:00+0530,2026-05-01T10:00:00-08,2026-05-01T10:00:00+15:59,2026-05-01T10:00:00+16:00,2026-05-01T10:00:00+99:99,2026-05-01T24:00:00Z,0000-01-01,9999-12-31T23:59:59-15:59,infinity,now,1e400}'::text[]) v;

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
-- what becomes known during a wait may be older than it: a date and a zone that another system has sent late; one that is not in force any more moves nothing
CREATE TEMP TABLE learnt AS SELECT w, identify(ARRAY['user_id:' || w]::identifier[], t, '2026-01-01Z') AS id FROM (VALUES ('learn1', jsonb '{}'), ('learn2', '{"born": "2026-02-20"}'), ('learn3', '{"born": "2026-02-20", "timezone": "Asia/Tokyo"}')) v(w, t);
SELECT count(enter_journey(j, id, '{}', '2026-02-03 05:00Z')) FROM learnt, unnest('{birthday,nine}'::text[]) j;
SELECT set_trait(id, 'timezone', '"Asia/Tokyo"', '2026-02-03 06:00Z') FROM learnt WHERE w = 'learn3';
SELECT advance_journeys('2026-02-03 06:30Z') > 0;
SELECT set_trait(id, 'born', '"2026-02-15"', '2026-01-31Z'), set_trait(id, 'timezone', '"America/New_York"', '2026-01-31Z') FROM learnt WHERE w IN ('learn1', 'learn2');
SELECT set_trait(id, 'timezone', '"Europe/Berlin"', '2026-01-31Z') FROM learnt WHERE w = 'learn3';
SELECT advance_journeys('2026-02-03 07:00Z') >= 0;
-- nor do values that are none stop the clock for the others
SELECT set_trait(id, n, v, '2026-02-03 07:30Z') FROM learnt, unnest('{born,timezone}'::text[]) n, unnest('{"\"2026-05-01T10:00:00+99:99\"",1e400,"{\"a\": 1}","\"UTC+99\""}'::jsonb[]) v WHERE w = 'learn2';
SELECT advance_journeys('2026-02-03 07:30Z') >= 0;
SELECT w, s.journey, s.due_at AT TIME ZONE 'UTC' AS due, trait(id, 'timezone') AS zone FROM journey_state s JOIN learnt ON id = profile_id WHERE journey IN ('birthday', 'nine') ORDER BY 2, 1;
-- quiet hours and caps alone: when may a message go out that is decided at this instant?
CREATE FUNCTION pg_temp.may_go(at timestamptz, zone text, quiet cdp._quiet[], caps cdp._cap[] DEFAULT '{}', got timestamptz[] DEFAULT '{}') RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
	SELECT s.due_at FROM cdp._sendable('{1}', ARRAY[at], '{NULL}', ARRAY[zone], caps, quiet, array_fill(1::bigint, ARRAY[cardinality(got)]), got, array_fill(true, ARRAY[cardinality(got)])) s
$$;
-- quiet from this time on: where the clock is set forward past the end they end there, where it is set back they may come twice
SELECT at AT TIME ZONE 'UTC' AS utc, zone, since, until, due AT TIME ZONE 'UTC' AS due, due AT TIME ZONE zone AS shows
FROM (VALUES (timestamptz '2026-03-28 21:00Z', 'Europe/Berlin', time '22:00', time '02:30'), ('2026-10-24 21:00Z', 'Europe/Berlin', '22:00', '02:30'), ('2026-10-25 00:30Z', 'Europe/Berlin', '22:00', '02:30'), ('2026-10-25 01:15Z', 'Europe/Berlin', '22:00', '02:30'),
	('2026-10-25 00:30Z', 'Europe/Berlin', '22:00', '08:00'), ('2026-04-04 14:00Z', 'Australia/Lord_Howe', '22:00', '01:45'), ('2026-10-03 14:00Z', 'Australia/Lord_Howe', '22:00', '02:15'), ('2026-10-25 00:15Z', 'Europe/Berlin', '02:00', '02:30'), ('2026-10-25 01:15Z', 'Europe/Berlin', '02:00', '02:30'),
	('2026-03-28 12:00Z', 'Asia/Beirut', '09:00', '00:00'), ('2026-01-05 09:00Z', 'UTC', '08:00', '09:00'), ('2026-01-05 08:59:59.999999Z', 'UTC', '08:00', '09:00'), ('2026-01-05 09:00Z', 'UTC', '00:00', '24:00'), ('2026-01-05 09:00Z', 'UTC', '05:00', '05:00')) v(at, zone, since, until),
	LATERAL (SELECT pg_temp.may_go(at, zone, ARRAY[(since, until, 'UTC')::_quiet])) x(due);
-- random ones, up to three at once, against a look at every quarter of an hour (all clocks are set on one)
SELECT setseed(0.25);
CREATE TEMP TABLE night AS SELECT g, zone, timestamptz '2026-01-01Z' + CASE g % 4 WHEN 0 THEN 365 * random() * interval '1 day' ELSE day - timestamp '2026-01-01' + (random() * 60 - 30) * interval '1 h' END AS at,
	(SELECT array_agg((time '00:00' + floor(random() * 96) * interval '15 min', time '00:00' + floor(random() * 96) * interval '15 min', 'UTC')::_quiet) FROM generate_series(0, g % 3)) AS quiet
FROM generate_series(1, 300) g, LATERAL (SELECT (ARRAY['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Beirut', 'America/Havana', 'Asia/Kathmandu', 'America/Santiago'])[1 + g % 7], (ARRAY['2026-03-29', '2026-03-08', '2026-04-05', '2026-03-29', '2026-11-01', '2026-06-01', '2026-09-06'])[1 + g % 7]::timestamp) z(zone, day);
SELECT count(*), count(*) FILTER (WHERE slow > at AND slow < 'infinity') > 50 AS some_wait, count(*) FILTER (WHERE slow = 'infinity') AS for_ever, count(*) FILTER (WHERE slow <> pg_temp.may_go(at, zone, quiet)) AS wrong
FROM night n, LATERAL (
	SELECT coalesce(min(t), 'infinity') FROM (SELECT n.at UNION ALL SELECT to_timestamp(ceil(extract(epoch FROM n.at) / 900) * 900 + 900 * q) FROM generate_series(0, 288) q) x(t), LATERAL (SELECT (t AT TIME ZONE zone)::time) c(clock)
	WHERE NOT EXISTS (SELECT FROM unnest(quiet) q WHERE q.since = q.until OR CASE WHEN q.since < q.until THEN clock >= q.since AND clock < q.until ELSE clock >= q.since OR clock < q.until END)) s(slow);
-- one message a day of the calendar: the next one goes out when the next day begins, which has its date, and the microsecond before it has not
CREATE FUNCTION pg_temp.next_day(day date, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
	SELECT pg_temp.may_go(noon, zone, '{}', ARRAY[(1, 86400, 1, 'UTC', true, 'one a day')::cdp._cap], ARRAY[noon]) FROM (SELECT (day + time '12:00') AT TIME ZONE zone) x(noon)
$$;
SELECT day, zone, next AT TIME ZONE 'UTC' AS utc, next AT TIME ZONE zone AS shows
FROM (VALUES (date '2026-03-28', 'Europe/Berlin'), ('2026-03-28', 'Asia/Beirut'), ('2026-10-24', 'Asia/Beirut'), ('2026-10-31', 'America/Havana'), ('2026-03-07', 'America/Havana'), ('2011-12-29', 'Pacific/Apia')) v(day, zone), LATERAL (SELECT pg_temp.next_day(day, zone)) n(next);
SELECT count(*), count(*) FILTER (WHERE (b AT TIME ZONE zone)::date <> day + 1) AS late, count(*) FILTER (WHERE ((b - interval '1 microsecond') AT TIME ZONE zone)::date > day) AS early
FROM (SELECT d::date AS day, zone, pg_temp.next_day(d::date, zone) AS b
	  FROM generate_series(timestamp '2026-01-01', timestamp '2026-12-31', '1 day') d, unnest('{Europe/Berlin,America/New_York,Australia/Lord_Howe,Asia/Kathmandu,Pacific/Apia,Asia/Beirut,America/Havana,America/Santiago,Atlantic/Azores}'::text[]) zone) x;

-- all of it in journeys: who leaves the wait when, and when the message after it may go out (quiet from 22:00 to 08:00, or all day); what differs
INSERT INTO channel (name, namespace) VALUES ('post', 'user_id'), ('never', 'user_id');
INSERT INTO quiet_hours VALUES ('post', '22:00', '08:00', 'UTC'), ('never', '07:00', '07:00', 'UTC');
CREATE TEMP TABLE tz_case AS SELECT format('case%s', row_number() OVER ()) AS j, v.* FROM (VALUES
	('a time that is skipped comes later', 'Europe/Berlin', 'UTC', jsonb '"02:30"', timestamptz '2026-03-28 20:00Z', NULL, timestamptz '2026-03-29 01:30Z', timestamptz '2026-03-29 06:00Z'),
	('of two the second', 'Europe/Berlin', 'UTC', '"02:30"', '2026-10-24 20:00Z', NULL, '2026-10-25 01:30Z', '2026-10-25 07:00Z'),
	('between the two', 'Europe/Berlin', 'UTC', '"02:30"', '2026-10-25 00:45Z', NULL, '2026-10-25 01:30Z', '2026-10-25 07:00Z'),
	('a day without midnight', 'Asia/Beirut', 'UTC', '"00:00"', '2026-03-28 12:00Z', NULL, '2026-03-28 22:00Z', '2026-03-29 05:00Z'),
	('a Sunday without midnight', 'Asia/Beirut', 'UTC', '{"weekday": "sunday"}', '2026-03-28 12:00Z', NULL, '2026-03-28 22:00Z', '2026-03-29 05:00Z'),
	('a half-hour change', 'Australia/Lord_Howe', 'UTC', '"02:15"', '2026-10-03 10:00Z', NULL, '2026-10-03 15:45Z', '2026-10-03 21:00Z'),
	('a zone that does not exist is none', 'Atlantis/City', 'America/New_York', '"09:00"', '2026-03-28 12:00Z', NULL, '2026-03-28 13:00Z', '2026-03-28 13:00Z'),
	('no zone at all', NULL, 'UTC', '"09:00"', '2026-03-28 12:00Z', NULL, '2026-03-29 09:00Z', '2026-03-29 09:00Z'),
	('moves west during the wait', 'Europe/Berlin', 'UTC', '"09:00"', '2026-02-03 05:00Z', 'America/New_York', '2026-02-03 14:00Z', '2026-02-03 14:00Z'),
	('moves east: it is late there', 'Europe/Berlin', 'UTC', '"09:00"', '2026-02-03 05:00Z', 'Asia/Tokyo', '2026-02-04 00:00Z', '2026-02-04 00:00Z'),
	('moves to nowhere', 'Asia/Tokyo', 'Europe/Berlin', '"09:00"', '2026-02-03 05:00Z', 'Atlantis/City', '2026-02-03 08:00Z', '2026-02-03 08:00Z'),
	('quiet hours begin', 'UTC', 'UTC', '"22:00"', '2026-02-03 12:00Z', NULL, '2026-02-03 22:00Z', '2026-02-04 08:00Z'),
	('a second before', 'UTC', 'UTC', '"21:59:59"', '2026-02-03 12:00Z', NULL, '2026-02-03 21:59:59Z', '2026-02-03 21:59:59Z'),
	('quiet hours end', 'UTC', 'UTC', '"08:00"', '2026-02-03 12:00Z', NULL, '2026-02-04 08:00Z', '2026-02-04 08:00Z'),
	('a second before that', 'UTC', 'UTC', '"07:59:59"', '2026-02-03 12:00Z', NULL, '2026-02-04 07:59:59Z', '2026-02-04 08:00Z'),
	('never', 'UTC', 'UTC', '"12:00"', '2026-02-03 06:00Z', NULL, '2026-02-03 12:00Z', NULL)) v(name, zone, otherwise, wait, at, moves, leaves, due);
SELECT count(create_journey(j, jsonb_build_object('entry', jsonb '{"manual": true}', 'start', 'w', 'timezone', otherwise, 'steps', jsonb_build_object('w', jsonb_build_object('wait_until', wait, 'next', 's'),
	's', jsonb_build_object('send', jsonb_build_object('channel', CASE name WHEN 'never' THEN 'never' ELSE 'post' END, 'template', 't'), 'next', 'end'))))) FROM tz_case;
SELECT count(*) FROM tz_case, activate_journey(j);
SELECT count(identify(ARRAY['user_id:' || j]::identifier[], jsonb_strip_nulls(jsonb_build_object('timezone', zone)), '2026-01-01Z')) FROM tz_case;
SELECT count(enter_journey(j, resolve(('user_id:' || j)::identifier), '{}', at)) AS entered FROM tz_case;
SELECT count(*) AS moved FROM tz_case, set_trait(resolve(('user_id:' || j)::identifier), 'timezone', to_jsonb(moves), at + interval '1 h') WHERE moves IS NOT NULL;
SELECT advance_journeys('2026-11-01Z') > 0 AS advanced;
SELECT c.name, c.leaves AT TIME ZONE 'UTC' AS expected, l.at AT TIME ZONE 'UTC' AS left_the_wait, c.due AT TIME ZONE 'UTC' AS expected, o.due_at AT TIME ZONE 'UTC' AS due
FROM tz_case c LEFT JOIN journey_log l ON l.journey = c.j AND l.what = 'step' AND l.step = 'w' LEFT JOIN outbox o ON o.journey = c.j
WHERE (l.at, o.due_at) IS DISTINCT FROM (c.leaves, c.due);
SELECT l.detail FROM tz_case c JOIN journey_log l ON l.journey = c.j AND l.what = 'refused';

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
SELECT count(*) > 0 AS archived FROM journey j, archive_journey(j.name, '2026-01-02Z') WHERE j.status = 'active' AND j.name <> 'undated';
SELECT advance_journeys('2026-01-02Z') >= 0 AS advanced;
SELECT due_at FROM journey_state WHERE journey = 'undated';
SELECT * FROM status('2026-01-03Z') WHERE item = 'journey runs due, oldest';
