-- Lifecycle stages of a timeline: exact edges, when they change, and how they
-- follow each other.  The oracle is plain SQL over the rows.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';

SELECT enum_range(NULL::lifecycle_stage);

-- every rule at its exact edge: orders on 1, 2, 3 and 4 January (and a second
-- line of the first order: one instant is one order), views that do not count
CREATE TEMP TABLE four AS
SELECT timeline_agg(at::timestamptz, event) AS t
FROM (VALUES ('2026-01-01', 'purchase'), ('2026-01-01', 'purchase'), ('2026-01-02', 'purchase'), ('2026-01-03', 'purchase'),
	('2026-01-04', 'purchase'), ('2025-12-25', 'view'), ('2026-06-01', 'view')) AS e (at, event);
SELECT at.at, lifecycle(t, at.at::timestamptz, 'purchase', 4, '60 days', '180 days') AS stage,
	   lifecycle_due(t, at.at::timestamptz, 'purchase', 4, '60 days', '180 days') AS due
FROM four, (VALUES ('-infinity'), ('2025-12-31 23:59:59.999999'), ('2026-01-01'), ('2026-01-01 23:59:59.999999'), ('2026-01-02'),
	('2026-01-03 23:59:59.999999'), ('2026-01-04'), ('2026-03-05'), ('2026-03-05 00:00:00.000001'),
	('2026-07-03'), ('2026-07-03 00:00:00.000001'), ('infinity')) AS at (at);

-- lengths: a month is 30 days, a year 365, a day 24 hours
SELECT lifecycle(t, timestamptz '2026-01-01' + length, 'a', 2, '1 month', '1 year') AS at_edge,
	   lifecycle(t, timestamptz '2026-01-01' + length + '1 us', 'a', 2, '1 month', '1 year') AS after
FROM (SELECT timeline_agg('2026-01-01Z'::timestamptz, 'a') AS t) t, (VALUES (interval '720 hours'), ('8760 hours')) AS l (length);

-- the whole story, and any part of it: (since, until]
SELECT h.* FROM four, lifecycle_history(t, '-infinity', 'infinity', 'purchase', 3, '60 days', '180 days') h;
SELECT h.at, h.to_stage FROM four, lifecycle_history(t, '2026-01-01', '2026-01-03', 'purchase', 3, '60 days', '180 days') h;
SELECT h.* FROM four, lifecycle_history(t, '2026-01-03', '2026-01-03', 'purchase', 3, '60 days', '180 days') h;
SELECT h.* FROM four, lifecycle_history(t, '2026-02-03', '2026-01-03', 'purchase', 3, '60 days', '180 days') h;

-- the order comes at the very instant that would have lapsed: no lapse; one microsecond later: it lapses first
SELECT e.second, h.at, h.to_stage, h.cause
FROM (VALUES ('2026-01-03 00:00:00.000001'), ('2026-01-03 00:00:00.000002')) AS e (second),
	 LATERAL (SELECT timeline_agg(at::timestamptz, 'purchase') AS t FROM (VALUES ('2026-01-01'), (e.second)) AS a (at)) t,
	 lifecycle_history(t.t, '-infinity', '2026-01-04', 'purchase', 5, '2 days', '3 days') h;

-- no such event, an empty timeline, nothing at all
SELECT lifecycle(t, 'infinity', 'sale', 4, '60 days', '180 days'), lifecycle_due(t, 'infinity', 'sale', 4, '60 days', '180 days'),
	   (SELECT count(*) FROM lifecycle_history(t, '-infinity', 'infinity', 'sale', 4, '60 days', '180 days'))
FROM four;
SELECT lifecycle(only_events(t, 'sale'), 'infinity', 'sale', 4, '60 days', '180 days') FROM four;
SELECT lifecycle(NULL::timeline, now(), 'sale', 4, '60 days', '180 days') IS NULL AS strict,
	   (SELECT count(*) FROM lifecycle_history(NULL, '-infinity', 'infinity', 'sale', 4, '60 days', '180 days'));

-- the ends of time: what lies beyond never comes
SELECT lifecycle_due(t, '294276-12-31', 'a', 2, '1 day', '2 days'), lifecycle(t, '294276-12-31 23:59', 'a', 2, '1 minute', '2 days'),
	   lifecycle_due(t, '294276-12-31', 'a', 2, '200000 years', '280000 years')
FROM (SELECT timeline_agg('294276-12-31Z'::timestamptz, 'a') AS t) t;
SELECT lifecycle(t, '294276-12-31', 'a', 2, '1 day', '280000 years')
FROM (SELECT timeline_agg('4700-01-01 BC'::timestamptz, 'a') AS t) t;

-- what is refused
SELECT lifecycle(t, now(), 'purchase', 1, '60 days', '180 days') FROM four;
SELECT lifecycle(t, now(), 'purchase', 4, '0 days', '180 days') FROM four;
SELECT lifecycle(t, now(), 'purchase', 4, '180 days', '180 days') FROM four;
SELECT lifecycle(t, now(), 'purchase', 4, '-1 days', '180 days') FROM four;
SELECT lifecycle_due(t, now(), 'purchase', 4, '12 months', '364 days') FROM four;
SELECT lifecycle_history(t, now(), now(), 'purchase', 4, '60 days', '-1 month') FROM four;

-- 300 random histories and thresholds against plain SQL.  Times are whole
-- hours, thresholds too, so that edges are hit; instants are tried at both
-- sides of each hour.
CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TEMP TABLE event AS
SELECT p, timestamptz '2026-01-01Z' + make_interval(hours => pg_temp.dice('at' || p, i, 40)) AS at,
	   CASE pg_temp.dice('event' || p, i, 3) WHEN 0 THEN 'view' ELSE 'purchase' END AS event
FROM generate_series(1, 300) p, generate_series(1, pg_temp.dice('n', p, 12)) i;
CREATE TEMP TABLE person AS
SELECT p, 2 + pg_temp.dice('retained', p, 3) AS retained, make_interval(hours => 1 + pg_temp.dice('risk', p, 6)) AS risk,
	   make_interval(hours => 7 + pg_temp.dice('churn', p, 6)) AS churn, t
FROM generate_series(1, 300) p JOIN (SELECT p, timeline_agg(at, event) AS t FROM event GROUP BY p) e USING (p);
CREATE TEMP TABLE instant AS
SELECT timestamptz '2026-01-01Z' + make_interval(hours => h, secs => us / 1e6) AS at
FROM generate_series(-2, 60) h, (VALUES (-1), (0), (1), (2)) AS u (us);

CREATE FUNCTION pg_temp.oracle(who int, asked timestamptz, retained int, risk interval, churn interval) RETURNS lifecycle_stage LANGUAGE sql AS $$
	SELECT (CASE WHEN count(*) = 0 THEN 'potential' WHEN asked - max(at) > churn THEN 'churned' WHEN asked - max(at) > risk THEN 'at_risk'
			WHEN count(DISTINCT at) = 1 THEN 'first_purchase' WHEN count(DISTINCT at) < retained THEN 'repeat' ELSE 'retained' END)::lifecycle_stage
	FROM event WHERE p = who AND event = 'purchase' AND at <= asked
$$;
SELECT count(*) AS persons, count(DISTINCT t) AS different FROM person;
SELECT count(*) > 50000 AS many, count(*) FILTER (WHERE lifecycle(t, at, 'purchase', retained, risk, churn)
												 <> pg_temp.oracle(p, at, retained, risk, churn)) AS wrong
FROM person, instant;

-- the answer differs at lifecycle_due, not one microsecond before, nor at any
-- instant between; and when it is NULL, never: with what came up to "at" only
SELECT count(*) AS asked, count(due) > 0 AS some_due,
	   count(*) FILTER (WHERE lifecycle(seen, due, 'purchase', retained, risk, churn) = stage) AS same_when_due,
	   count(*) FILTER (WHERE lifecycle(seen, due - interval '1 us', 'purchase', retained, risk, churn) <> stage) AS too_late,
	   count(*) FILTER (WHERE due <= at) AS not_later,
	   count(*) FILTER (WHERE due IS NULL AND lifecycle(seen, 'infinity', 'purchase', retained, risk, churn) <> stage) AS missed,
	   count(*) FILTER (WHERE due IS DISTINCT FROM lifecycle_due(t, at, 'purchase', retained, risk, churn)) AS saw_the_future
FROM (SELECT p.*, i.at, s.seen, lifecycle(s.seen, i.at, 'purchase', retained, risk, churn) AS stage,
			 lifecycle_due(s.seen, i.at, 'purchase', retained, risk, churn) AS due
	  FROM person p, instant i, LATERAL (SELECT slice(p.t, '-infinity', i.at + interval '1 us') AS seen) s
	  WHERE p % 10 = 0) x;

-- a history is a chain: each change starts where the one before ended, changes
-- something, and its ends are what lifecycle says there; between changes lifecycle stays
SELECT count(*) > 500 AS many,
	   count(*) FILTER (WHERE from_stage = to_stage) AS nothing_changed,
	   count(*) FILTER (WHERE before IS NOT NULL AND before <> from_stage OR before IS NULL AND from_stage <> 'potential') AS broken,
	   count(*) FILTER (WHERE lifecycle(t, at, 'purchase', retained, risk, churn) <> to_stage) AS wrong_after,
	   count(*) FILTER (WHERE lifecycle(t, at - interval '1 us', 'purchase', retained, risk, churn) <> from_stage) AS wrong_before,
	   count(*) FILTER (WHERE (cause = 'event') <> (last_order = at)) AS wrong_cause,
	   count(*) FILTER (WHERE last_order <> last_at(slice(t, '-infinity', at + interval '1 us'), 'purchase')) AS wrong_order
FROM (SELECT p.*, h.*, lag(h.to_stage) OVER (PARTITION BY p ORDER BY h.at) AS before
	  FROM person p, lifecycle_history(t, '-infinity', 'infinity', 'purchase', retained, risk, churn) h) x;
SELECT count(*) FILTER (WHERE lifecycle(t, i.at, 'purchase', retained, risk, churn) <> coalesce(h.to_stage, 'potential')) AS wrong
FROM person p CROSS JOIN instant i LEFT JOIN LATERAL
	(SELECT to_stage FROM lifecycle_history(t, '-infinity', i.at, 'purchase', retained, risk, churn) ORDER BY at DESC LIMIT 1) h ON true
WHERE p % 5 = 0;

-- two halves make the whole, wherever it is cut
SELECT count(*) FILTER (WHERE whole IS DISTINCT FROM halves) AS wrong
FROM (SELECT (SELECT array_agg(h) FROM lifecycle_history(t, '-infinity', 'infinity', 'purchase', retained, risk, churn) h) AS whole,
			 (SELECT array_agg(h) FROM (SELECT * FROM lifecycle_history(t, '-infinity', i.at, 'purchase', retained, risk, churn)
										UNION ALL SELECT * FROM lifecycle_history(t, i.at, 'infinity', 'purchase', retained, risk, churn)) h) AS halves
	  FROM person p, instant i WHERE p % 5 = 0) x;

-- the next change with the future known is the first one of the rest
SELECT count(*) FILTER (WHERE _lifecycle_next(t, i.at, ROW('purchase', retained, risk, churn, false,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::lifecycle_rule) IS DISTINCT FROM
	(SELECT min(h.at) FROM lifecycle_history(t, i.at, 'infinity', 'purchase', retained, risk, churn) h)) AS wrong
FROM person p, instant i WHERE p % 5 = 0;
