-- Frequency caps, quiet hours, channels, recipients.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'Pacific/Auckland';
\set VERBOSITY terse

CREATE FUNCTION pg_temp.person(who text) RETURNS bigint LANGUAGE sql AS $$ SELECT cdp.identify(ARRAY['user_id:' || who]::cdp.identifier[], at => '2026-01-01Z') $$;
CREATE FUNCTION pg_temp.make(name text, send jsonb, more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	SELECT cdp.create_journey(name, jsonb_build_object('entry', jsonb '{"manual": true, "key": "label"}', 'start', 'a', 'steps',
		jsonb_build_object('a', jsonb_build_object('send', jsonb '{"template": "t", "channel": "push"}' || send, 'next', 'end'))) || more);
	SELECT cdp.activate_journey(name)
$$;

-- quiet hours: [since, until) of a local clock; around midnight; several; the whole day; clocks that skip and repeat
INSERT INTO quiet_hours VALUES ('night', '22:00', '08:00', 'Europe/Berlin'), ('two', '20:00', '23:00', 'UTC'), ('two', '22:30', '07:00', 'UTC'), ('never', '00:00', '00:00', 'UTC'),
	('halves', '00:00', '12:00', 'UTC'), ('halves', '12:00', '00:00', 'UTC'), ('small', '02:00', '02:30', 'Europe/Berlin');
SELECT c, at AT TIME ZONE 'UTC' AS utc, CASE WHEN isfinite(q) THEN (q AT TIME ZONE 'UTC')::text ELSE q::text END AS allowed_utc
FROM (VALUES ('night', timestamptz '2026-01-10 20:59:59Z'), ('night', '2026-01-10 21:00Z'), ('night', '2026-01-11 06:59:59Z'), ('night', '2026-01-11 07:00Z'), ('night', '2026-03-28 22:00Z'), ('night', '2026-10-24 22:00Z'),
	('two', '2026-01-10 19:59Z'), ('two', '2026-01-10 20:00Z'), ('two', '2026-01-10 23:30Z'), ('never', '2026-01-10Z'), ('halves', '2026-01-10Z'), ('other', '2026-01-10Z'),
	('small', '2026-03-29 00:59Z'), ('small', '2026-03-29 01:00Z'), ('small', '2026-10-25 00:15Z'), ('small', '2026-10-25 01:15Z')) v(c, at),
	LATERAL (SELECT (_sendable_at(pg_temp.person('q'), 'marketing', c, at)).due_at) x(q);
SELECT set_trait(pg_temp.person('tokyo'), 'timezone', '"Asia/Tokyo"', '2026-01-01Z');
SELECT (_sendable_at(pg_temp.person('tokyo'), 'marketing', 'night', at)).due_at AT TIME ZONE 'UTC' AS tokyo FROM unnest('{2026-01-10 12:00Z,2026-01-10 13:00Z}'::timestamptz[]) at;
-- '*' is every channel; a message that would expire meanwhile is not sent; transactional ones do not wait
TRUNCATE quiet_hours;
INSERT INTO quiet_hours VALUES ('*', '22:00', '08:00', 'UTC');
SELECT pg_temp.make('waits', '{"expires": "1d"}'), pg_temp.make('lapses', '{"expires": "2h"}'), pg_temp.make('receipt', '{}', '{"purpose": "transactional"}');
SELECT enter_journey(j, pg_temp.person('n'), '{}', '2026-01-10 23:00Z') > 0 AS entered FROM unnest('{waits,lapses,receipt}'::text[]) j;
SELECT advance_journeys('2026-01-11Z');
SELECT journey, due_at AT TIME ZONE 'UTC' AS due, expires_at AT TIME ZONE 'UTC' AS expires FROM outbox ORDER BY journey;
SELECT journey, what, detail FROM journey_log WHERE what = 'refused' ORDER BY log_id;
-- … and is not handed out before
SELECT count(*) FROM claim_messages('push', 10, at => '2026-01-11 07:59:59Z');
SELECT journey FROM claim_messages('push', 10, at => '2026-01-11 08:00Z');

-- channels: the first that has an address and is free; recipients
TRUNCATE quiet_hours;
SELECT identify(ARRAY['user_id:m', 'phone:+8613800138000']::identifier[], at => '2026-01-01Z') = pg_temp.person('m') AS same, identify(ARRAY['user_id:both', 'phone:+8613800138001', 'email:both@example.com']::identifier[], at => '2026-01-01Z') = pg_temp.person('both') AS same,
	identify(ARRAY['rep:r1']::identifier[], kind => 'rep', at => '2026-01-01Z') > 0 AS rep;
INSERT INTO frequency_cap (channel, max, per) VALUES ('email', 1, '1 day'), ('sms', 0, '1 day');
SELECT pg_temp.make('list', '{"channel": ["email", "sms", "wechat"]}'), pg_temp.make('texts', '{"channel": "sms"}'), pg_temp.make('tells', '{"channel": "email", "to": {"relation": "rep"}}');
SELECT relate(pg_temp.person('m'), resolve('rep:r1'), 'rep', '2026-01-01Z');
SELECT enter_journey('list', pg_temp.person(w), jsonb_build_object('label', l), '2026-01-12Z') > 0 AS entered FROM unnest('{m,both,n}'::text[]) w, unnest('{x,y}'::text[]) l;
SELECT enter_journey('tells', pg_temp.person('m'), jsonb_build_object('label', l), '2026-01-12Z') > 0 AS entered FROM unnest('{x,y}'::text[]) l;
SELECT enter_journey('tells', pg_temp.person('both'), '{}', '2026-01-12Z') > 0 AS entered;
SELECT enter_journey('texts', pg_temp.person('n'), '{}', '2026-01-12Z') > 0 AS entered;
SELECT advance_journeys('2026-01-12Z');
SELECT l.journey, value(i.identifier) AS who, l.what, l.detail, o.address, o.recipient_id = resolve('rep:r1') AS to_rep
FROM journey_log l JOIN identifier_link i ON i.profile_id = l.profile_id AND namespace(i.identifier) = 'user_id' LEFT JOIN outbox o USING (run_id)
WHERE l.what IN ('sent', 'refused') AND l.journey IN ('list', 'texts', 'tells') ORDER BY l.log_id;

-- of one slot: the more important journey, whoever comes first by name
TRUNCATE frequency_cap;
INSERT INTO frequency_cap (channel, max, per) VALUES ('*', 1, '7 days');
SELECT pg_temp.make('a_minor', '{}', '{"priority": 10}'), pg_temp.make('b_major', '{}', '{"priority": 90}'), pg_temp.make('c_exits', '{"if_capped": "exit"}', '{"priority": 20}'), pg_temp.make('d_waits', '{"if_capped": "wait"}', '{"priority": 5}');
SELECT enter_journey(j, pg_temp.person('slot'), '{}', '2026-02-01Z') > 0 AS entered FROM unnest('{a_minor,b_major,c_exits,d_waits}'::text[]) j;
SELECT advance_journeys('2026-02-07Z') > 0, advance_journeys('2026-02-09Z') > 0;
SELECT s.journey, s.status, s.outcome, o.due_at AT TIME ZONE 'UTC' AS sent, l.what, l.detail
FROM journey_state s LEFT JOIN outbox o USING (run_id) LEFT JOIN journey_log l ON l.run_id = s.run_id AND l.what IN ('refused', 'waiting')
WHERE s.profile_id = pg_temp.person('slot') ORDER BY s.journey;
-- what never reached anybody leaves its slot
SELECT ack_message(m.id, 'bounced', at => '2026-02-09Z') FROM claim_messages('push', 10, at => '2026-02-09Z') m WHERE m.profile_id = pg_temp.person('slot') AND m.journey = 'd_waits';
SELECT (_sendable_at(pg_temp.person('slot'), 'marketing', 'push', '2026-02-09Z')).due_at AT TIME ZONE 'UTC' AS free;
-- merged profiles share their slots
SELECT enter_journey('b_major', pg_temp.person('slot2'), '{}', '2026-03-01Z') > 0 AS entered;
SELECT advance_journeys('2026-03-01Z');
SELECT merge(pg_temp.person('slot'), pg_temp.person('slot2'), at => '2026-03-02Z') > 0 AS merged;
SELECT (_sendable_at(pg_temp.person('slot'), 'marketing', 'push', '2026-03-02Z')).*;

-- one that has expired by then keeps no slot, whether or not a clock came between; a minute before it does
SELECT pg_temp.make('brief', '{"expires": "1h"}'), pg_temp.make('next', '{}');
SELECT enter_journey(j, pg_temp.person(w), '{}', at) > 0 AS entered
FROM (VALUES ('brief', 'late', timestamptz '2026-03-10Z'), ('next', 'late', '2026-03-10 01:00Z'), ('brief', 'soon', '2026-03-10Z'), ('next', 'soon', '2026-03-10 00:59Z')) v(j, w, at);
SELECT advance_journeys('2026-03-10 01:00Z');
SELECT value(i.identifier) AS who, l.journey, l.what FROM journey_log l JOIN identifier_link i USING (profile_id) WHERE l.journey IN ('brief', 'next') AND l.what IN ('sent', 'refused') ORDER BY 1, 2;

-- a calendar day is whole days; a year has 365
INSERT INTO frequency_cap (channel, max, per, kind) VALUES ('post', 1, '1 year 1 month', 'calendar_day');
INSERT INTO frequency_cap (channel, max, per, kind) VALUES ('post', 1, '36 hours', 'calendar_day');

-- Random: caps of both kinds at once, three journeys, a message every few hours.
TRUNCATE frequency_cap; DELETE FROM quiet_hours;
INSERT INTO frequency_cap (channel, max, per, kind, tz) VALUES ('push', 2, '3 days', 'rolling', 'UTC'), ('*', 2, '1 day', 'calendar_day', 'America/New_York'), ('*', 5, '7 days', 'calendar_day', 'UTC'), ('sms', 1, '30 hours', 'rolling', 'UTC');
INSERT INTO quiet_hours VALUES ('sms', '21:00', '09:00', 'Asia/Shanghai');
SELECT pg_temp.make('r_push', '{"channel": "push"}', '{"priority": 60}'), pg_temp.make('r_sms', '{"channel": "sms"}'), pg_temp.make('r_wait', '{"channel": "push", "if_capped": "wait"}', '{"priority": 70}');
SELECT setseed(0.5);
CREATE TEMP TABLE wish AS SELECT p, j, timestamptz '2026-04-01Z' + floor(random() * 40 * 24 * 60) * interval '1 min' AS at, n FROM generate_series(1, 12) p, unnest('{r_push,r_sms,r_wait}'::text[]) j, generate_series(1, 10) n;
SELECT count(enter_journey(j, pg_temp.person('w' || p), jsonb_build_object('label', n), at)) FROM wish;
SELECT set_trait(pg_temp.person('w' || p), 'timezone', to_jsonb((ARRAY['Asia/Shanghai', 'America/New_York', 'Europe/Berlin'])[1 + p % 3]), '2026-01-01Z') FROM generate_series(1, 9) p;
SELECT count(advance_journeys(t)) FROM generate_series(timestamptz '2026-04-01Z', '2026-06-20Z', '1 day') t;
CREATE TEMP TABLE message AS SELECT o.id, o.profile_id, o.channel, o.due_at, l.log_id, coalesce(trait(o.profile_id, 'timezone') #>> '{}', 'none') AS zone
FROM outbox o JOIN journey_log l ON l.run_id = o.run_id AND l.what = 'sent' WHERE o.journey LIKE 'r\_%';
-- how many a stretch that begins at this message, or instant, holds
CREATE FUNCTION pg_temp.held(c frequency_cap, of_profile bigint, since timestamptz, before bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
	SELECT count(*) FROM message m, LATERAL (SELECT CASE m.zone WHEN 'none' THEN c.tz ELSE m.zone END) y(z)
	WHERE m.profile_id = of_profile AND m.log_id < before AND (c.channel = '*' OR m.channel = c.channel)
	  AND CASE c.kind WHEN 'rolling' THEN m.due_at >= since AND m.due_at < since + make_interval(secs => extract(epoch FROM c.per))
		  ELSE (m.due_at AT TIME ZONE z)::date - (since AT TIME ZONE z)::date BETWEEN 0 AND extract(epoch FROM c.per) / 86400 - 1 END
$$;
SELECT count(*) > 80 AS sent FROM message;
SELECT what, count(*) > 30 AS plenty FROM journey_log WHERE journey LIKE 'r\_%' AND what IN ('refused', 'waiting') GROUP BY what ORDER BY what;
-- no cap is ever exceeded, no message goes out in quiet hours
SELECT c.channel, c.kind, max(pg_temp.held(c, m.profile_id, m.due_at, 9999999)) <= c.max AS kept, max(pg_temp.held(c, m.profile_id, m.due_at, 9999999)) = c.max AS reached
FROM frequency_cap c JOIN message m ON c.channel IN ('*', m.channel) GROUP BY c.channel, c.kind, c.per, c.max ORDER BY c.channel, c.kind, c.per;
SELECT count(*) FROM message m WHERE channel = 'sms' AND (due_at AT TIME ZONE CASE zone WHEN 'none' THEN 'Asia/Shanghai' ELSE zone END)::time NOT BETWEEN '09:00' AND '20:59:59.999999';
-- and no message is held back without need: with it, what had been decided before would exceed a cap (quiet hours first)
INSERT INTO purpose (name, needs_consent, capped) VALUES ('only quiet', false, false);
SELECT count(*) AS held_back, count(*) FILTER (WHERE NOT EXISTS (
	SELECT FROM frequency_cap c, LATERAL (SELECT (_sendable_at(l.profile_id, 'only quiet', x.channel, l.at)).due_at) q(at)
	WHERE c.channel IN ('*', x.channel) AND (
		pg_temp.held(c, l.profile_id, q.at, l.log_id) >= c.max
		OR EXISTS (SELECT FROM message m WHERE m.profile_id = l.profile_id AND m.log_id < l.log_id AND m.due_at <= q.at AND c.channel IN ('*', m.channel)
				   AND pg_temp.held(c, l.profile_id, m.due_at, l.log_id) >= c.max
				   AND CASE c.kind WHEN 'rolling' THEN m.due_at > q.at - make_interval(secs => extract(epoch FROM c.per)) ELSE m.due_at > q.at - c.per - interval '26 h' END)))) AS without_need
FROM journey_log l CROSS JOIN LATERAL (SELECT CASE l.journey WHEN 'r_sms' THEN 'sms' ELSE 'push' END) x(channel)
WHERE l.journey LIKE 'r\_%' AND l.what IN ('refused', 'waiting');
-- who waits gets a message in the end
SELECT count(*) FROM journey_state s WHERE journey = 'r_wait' AND status = 'active';
SELECT count(*) FROM journey_state s WHERE journey = 'r_wait' AND NOT EXISTS (SELECT FROM outbox o WHERE o.run_id = s.run_id);
