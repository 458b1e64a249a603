-- Growth accounting, daily engagement and AARRR: published cases, then brute
-- force in plain SQL over random rows.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';

-- The published case of PostHog (posthog/queries/test/test_lifecycle.py, test_lifecycle_trend):
-- dormant 0 2 1 0 2 0 1 0, new 1 0 0 1 0 0 0 0, resurrecting 1 0 0 1 0 1 0 1, returning 1 1 0 0 0 0 0 0
CREATE TEMP TABLE posthog AS
SELECT p, timeline_agg(at, '$pageview') AS t
FROM (VALUES ('p1', '{2020-01-11 12:00Z,2020-01-12 12:00Z,2020-01-13 12:00Z,2020-01-15 12:00Z,2020-01-17 12:00Z,2020-01-19 12:00Z}'::timestamptz[]),
	('p2', '{2020-01-09 12:00Z,2020-01-12 12:00Z}'), ('p3', '{2020-01-12 12:00Z}'), ('p4', '{2020-01-15 12:00Z}')) AS e (p, ats), unnest(ats) at
GROUP BY p;
SELECT state, array_agg(n ORDER BY day)
FROM (SELECT state, day, (SELECT count(*) FROM posthog WHERE growth_state(t, day + interval '24 hours' - interval '1 us', '$pageview') = state) AS n
	  FROM unnest('{dormant,new,resurrecting,returning}'::text[]) state, generate_series(timestamptz '2020-01-12Z', '2020-01-19Z', '24 hours') day) x
GROUP BY state ORDER BY state;
-- the same from the history of each
SELECT h.state, array_agg(h.n ORDER BY day)
FROM (SELECT s.state, day, count(x.state) AS n
	  FROM unnest('{dormant,new,resurrecting,returning}'::text[]) AS s (state) CROSS JOIN generate_series(timestamptz '2020-01-12Z', '2020-01-19Z', '24 hours') day
	  LEFT JOIN (SELECT y.* FROM posthog, growth_history(t, '2020-01-12', '2020-01-20', '$pageview') y) x ON x.state = s.state AND x.period_start = day
	  GROUP BY s.state, day) h
GROUP BY h.state ORDER BY h.state;
-- the example of Amplitude's manual: active on 1-7 and 8-14 October is current on the 9th; active on 1 January but not on the 2nd is dormant
SELECT growth_state(t, '2018-10-09', '*', '7 days', '2018-10-01'), growth_state(t, '2018-10-15', '*', '7 days', '2018-10-01'),
	   growth_state(t, '2018-10-22', '*', '7 days', '2018-10-01'), growth_state(t, '2018-10-07 23:59:59', '*', '7 days', '2018-10-01')
FROM (SELECT timeline_agg(at, 'open') AS t FROM unnest('{2018-10-03Z,2018-10-09Z}'::timestamptz[]) at) x;

-- weeks begin on Mondays; what comes later in the day is not known yet
SELECT growth_state(t, at.at, 'open', '1 week') AS week, growth_state(t, at.at, 'open') AS day
FROM (SELECT timeline_agg(at, 'open') AS t FROM unnest('{2026-01-11 10:00Z,2026-01-12 10:00Z}'::timestamptz[]) at) x,		-- Sunday, Monday
	 unnest('{2026-01-11 09:59:59.999999Z,2026-01-11 10:00Z,2026-01-12 00:00Z,2026-01-12 09:59:59.999999Z,2026-01-12 10:00Z,2026-01-19Z,2026-01-26Z}'::timestamptz[]) AS at (at);

-- daily engagement at its edges: active on day 0, then n days later or not
SELECT n, engagement_state(timeline_agg(at, 'open'), timestamptz '2026-01-01 12:00Z' + n * interval '24 hours', 'open') AS active,
	   engagement_state(timeline_agg(at, 'open') FILTER (WHERE at < '2026-01-02Z'), timestamptz '2026-01-01 12:00Z' + n * interval '24 hours', 'open') AS not_active
FROM unnest('{-1,0,1,6,7,29,30,31}'::int[]) n, unnest(ARRAY[timestamptz '2026-01-01 08:00Z', timestamptz '2026-01-01 09:00Z' + n * interval '24 hours']) at
GROUP BY n ORDER BY n;

-- nothing, errors
SELECT growth_state('{}', '2026-01-01', '*'), growth_state(NULL, '2026-01-01', '*'), engagement_state('{}', '2026-01-01', 'x'),
	   (SELECT count(*) FROM growth_history('{}', '2026-01-01', '2026-02-01', '*')) AS n, (SELECT count(*) FROM growth_history(t, '2026-02-01', '2026-01-01', '*')) AS m,
	   (SELECT count(*) FROM growth_history(t, '2026-01-01', '2026-02-01', 'cart')) AS k
FROM (SELECT timeline_agg('2026-01-01Z'::timestamptz, 'view') AS t) x;
SELECT growth_state('{}', 'infinity', '*');
SELECT growth_state('{}', '2026-01-01', '*', '0');
SELECT growth_state('{}', '2026-01-01', '*', '-1 day');
SELECT growth_history('{}', '-infinity', '2026-01-01', '*');
SELECT engagement_state('{}', '2026-01-01', '*', week => 0);
SELECT engagement_state('{}', '2026-01-01', '*', week => 8, month => 7);
SELECT growth_state(t, '294276-12-31', '*', '290000 years', '294276-12-31'), (SELECT array_agg(h) FROM growth_history(t, '4000-01-01 BC', '294276-12-31', '*', '290000 years', '294276-12-31') h)
FROM (SELECT timeline_agg(at, 'a') AS t FROM unnest('{4700-01-01 BC,294276-12-31}'::timestamptz[]) at) x;

-- 200 random histories against plain SQL
CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TEMP TABLE event AS
SELECT p, timestamptz '2026-01-01Z' + make_interval(hours => pg_temp.dice('at' || p, i, 240)) AS at,
	   (ARRAY['view', 'open', 'sign_up', 'purchase', 'invite', 'message_sent'])[1 + pg_temp.dice('event' || p, i, 6)] AS event
FROM generate_series(1, 200) p, generate_series(1, pg_temp.dice('n', p, 14)) i;
CREATE TEMP TABLE person AS SELECT p, timeline_agg(at, event) AS t FROM event GROUP BY p;
CREATE TEMP TABLE instant AS
SELECT timestamptz '2026-01-01Z' + make_interval(hours => h) - make_interval(secs => 1e-6 * (h % 2)) AS at FROM generate_series(-2, 300, 7) h;
CREATE FUNCTION pg_temp.bin(at timestamptz, length interval, origin timestamptz) RETURNS bigint LANGUAGE sql
RETURN floor(extract(epoch FROM at - origin) / extract(epoch FROM length));
SELECT count(*) > 30000 AS many, count(DISTINCT state) AS states, count(*) FILTER (WHERE state IS DISTINCT FROM oracle) AS wrong,
	   count(*) FILTER (WHERE engaged IS DISTINCT FROM engaged_oracle) AS wrong_too
FROM (SELECT p, at, active, length, growth_state(t, at, active, length, origin) AS state, engagement_state(t, at, active, length, 3, 5, origin) AS engaged,
			 CASE WHEN a AND NOT c THEN 'new' WHEN a AND b THEN 'returning' WHEN a THEN 'resurrecting' WHEN b THEN 'dormant' WHEN c THEN 'inactive' END AS oracle,
			 CASE WHEN a AND NOT c THEN 'new' WHEN a AND ago < 3 THEN 'current' WHEN a AND ago < 5 THEN 'reactivated' WHEN a THEN 'resurrected'
				  WHEN ago < 3 THEN 'at_risk_wau' WHEN ago < 5 THEN 'at_risk_mau' WHEN c THEN 'dormant' END AS engaged_oracle
	  FROM person, instant, (VALUES ('*', interval '1 day', timestamptz '2001-01-01Z'), ('view', '1 day', '2026-01-01 05:00Z'), ('*', '31 hours', '2027-01-01Z'),
							 ('open', '2 hours', '2001-01-01Z'), ('none', '1 day', '2001-01-01Z')) AS q (active, length, origin),
		   LATERAL (SELECT coalesce(bool_or(bin = now), false) AS a, coalesce(bool_or(bin = now - 1), false) AS b, coalesce(bool_or(bin < now), false) AS c, max(now) - max(bin) FILTER (WHERE bin < now) AS ago
					FROM (SELECT pg_temp.bin(e.at, length, origin) AS bin, pg_temp.bin(instant.at, length, origin) AS now FROM event e
						  WHERE e.p = person.p AND e.at <= instant.at AND (e.event = active OR active = '*')) b) o) x;
-- a history says what growth_state says at the end of each period, without gaps, from the first active one on
SELECT count(*) > 5000 AS many, count(*) FILTER (WHERE h.state IS DISTINCT FROM growth_state(t, least(h.period_start + length, until) - interval '1 us', active, length, origin)) AS wrong,
	   count(*) FILTER (WHERE h.before <> h.period_start - length) AS gaps,
	   count(*) FILTER (WHERE h.before IS NULL AND h.period_start > since AND h.state <> 'new') AS late
FROM (SELECT p, t, active, length, origin, since, until, y.*, lag(y.period_start) OVER (PARTITION BY p, active, since ORDER BY y.period_start) AS before
	  FROM person, (VALUES ('*', interval '1 day', timestamptz '2001-01-01Z', timestamptz '2025-12-30Z', timestamptz '2026-01-20 11:00Z'),
						   ('view', '7 hours', '2026-01-01 05:00Z', '2026-01-03 02:00Z', '2026-01-09Z')) AS q (active, length, origin, since, until),
		   growth_history(t, since, until, active, length, origin) y) h;

-- AARRR: when each was first reached, in plain SQL
SELECT role_events('purchase'), role_events('activation'), role_events('referral'), role_events('message'), role_events('nothing');
SELECT count(*) > 5000 AS many, count(retained_at) > 1000 AS some, count(*) FILTER (WHERE (acquired_at, activated_at, retained_at, revenue_at, referral_at)
	IS DISTINCT FROM (o_acquired, o_activated, o_retained, o_revenue, o_referral)) AS wrong
FROM (SELECT a.*, o.*, (SELECT min(e.at) FROM event e WHERE e.p = person.p AND e.at <= instant.at AND e.event <> 'message_sent' AND e.at >= o.o_acquired + interval '1 day') AS o_retained
	  FROM person, instant, aarrr(t, at) a,
		   LATERAL (SELECT min(e.at) FILTER (WHERE event <> 'message_sent') AS o_acquired, min(e.at) FILTER (WHERE event = 'sign_up') AS o_activated,
						   min(e.at) FILTER (WHERE event = 'purchase') AS o_revenue, min(e.at) FILTER (WHERE event = 'invite') AS o_referral
					FROM event e WHERE e.p = person.p AND e.at <= instant.at) o) x;
-- by events of one's own choice; a return at the very instant is none
SELECT a.* FROM (SELECT timeline_agg(at::timestamptz, event) AS t FROM (VALUES ('2026-01-01', 'mail'), ('2026-01-02', 'visit'), ('2026-01-02', 'trial'), ('2026-01-03', 'mail'),
	('2026-01-05', 'visit'), ('2026-01-06', 'pay'), ('2026-01-07', 'share')) AS e (at, event)) x,
	(VALUES (interval '0'), ('3 days'), ('3 days 00:00:00.000001'), ('1 year')) AS r (after), aarrr(t, '2026-01-06 12:00', '{trial,NULL}', '{pay}', '{share}', '{mail,nothing}', after) a;
SELECT a.* FROM aarrr('{}', 'infinity') a;
SELECT aarrr('{}', 'infinity', '{}', '{}', '{}', '{}', '-1 day');
-- roles are what the table says; a source's own row and a user's row count
INSERT INTO event_role (event, as_event, role) VALUES ('Signed Up', 'sign_up', NULL), ('Trial Started', 'trial', 'activation'), ('visit_shop', NULL, 'activation');
SELECT role_events('activation');
