-- Adaptive lifecycle stages: thresholds are multiples of the expected gap after
-- the last order, held within bounds.  The oracle is plain SQL over the rows.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
\set SHOW_CONTEXT never
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';

-- one gap is 10 days, so at risk after 20 and churned after 50 days, unless that is too early or too late
INSERT INTO lifecycle_policy (name, kind, adaptive, at_risk_gaps, churned_gaps, at_risk_min, at_risk_max, churned_min, churned_max, prior_gap, prior_weight)
VALUES ('pace', 'person', true, 2, 5, '7 days', '100 days', '21 days', '200 days', NULL, 0),
	('floor', 'person', true, 2, 5, '25 days', '100 days', '60 days', '200 days', NULL, 0),
	('ceiling', 'person', true, 2, 5, '7 days', '15 days', '21 days', '22 days', NULL, 0),
	('prior', 'person', true, 2, 5, '7 days', '100 days', '21 days', '200 days', '30 days', 1),
	('shop', 'store', true, 2, 5, '7 days', '100 days', '21 days', '200 days', '30 days', 1);
CREATE TEMP TABLE twice AS
SELECT timeline_agg(at::timestamptz, event) AS t
FROM (VALUES ('2026-01-01', 'purchase'), ('2026-01-11', 'purchase'), ('2026-01-11', 'purchase'), ('2026-01-11', 'purchase'), ('2026-01-20', 'view')) AS e (at, event);
SELECT p.policy, e.what, e.value
FROM twice, unnest('{pace,floor,ceiling,prior,default}'::text[]) WITH ORDINALITY AS p (policy, n), lifecycle_explain(t, '2026-01-21', p.policy) e
WHERE p.n = 1 OR e.what ~ 'after|changes|prior|expected';
SELECT policy, lifecycle_due(t, '2026-01-10', policy) AS after_one, lifecycle_due(t, '2026-01-11', policy) AS after_two,
	   lifecycle(t, '2026-01-31', policy), lifecycle(t, '2026-01-31 00:00:00.000001', policy), lifecycle(t, '2026-03-03', policy)
FROM twice, unnest('{pace,floor,ceiling,prior}'::text[]) policy;
SELECT * FROM lifecycle_explain(timeline '{}', '2026-01-21', 'prior');
SELECT * FROM lifecycle_explain(timeline '{}', '2026-01-21', 'nobody''s');

-- what is refused
INSERT INTO lifecycle_policy (name, at_risk_gaps) VALUES ('x', 0);
INSERT INTO lifecycle_policy (name, at_risk_gaps) VALUES ('x', 4);
INSERT INTO lifecycle_policy (name, churned_gaps) VALUES ('x', 'NaN');
INSERT INTO lifecycle_policy (name, churned_min) VALUES ('x', '14 days');
INSERT INTO lifecycle_policy (name, at_risk_max) VALUES ('x', '13 days');
INSERT INTO lifecycle_policy (name, churned_max) VALUES ('x', '180 days');
INSERT INTO lifecycle_policy (name, prior_gap) VALUES ('x', '-1 day');
INSERT INTO lifecycle_policy (name, prior_weight) VALUES ('x', 'Infinity');
CREATE FUNCTION pg_temp.try(what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	changed lifecycle_rule;
BEGIN
	EXECUTE format('SELECT (x.r).* FROM (SELECT jsonb_populate_record(rule, %L) FROM lifecycle_policy_effective WHERE name = ''prior'') x (r)', what) INTO changed;
	RETURN lifecycle('{}', '2026-01-01', changed);
EXCEPTION WHEN OTHERS THEN
	RETURN format('%s (%s)', SQLERRM, SQLSTATE);
END $$;
SELECT what, pg_temp.try(what) FROM unnest('{"{}","{\"adaptive\": null}","{\"prior_gap\": null}","{\"churned_gaps\": null}","{\"adaptive\": false, \"churned_gaps\": null}",
	"{\"retained_orders\": 1}","{\"at_risk_gaps\": \"NaN\"}","{\"churned_gaps\": 2}","{\"at_risk_min\": \"0\"}","{\"churned_min\": \"7 days\"}","{\"at_risk_max\": \"-1 day\"}",
	"{\"churned_max\": \"1 day\"}","{\"prior_weight\": -1}","{\"prior_gap\": \"-1 day\"}","{\"purchase_event\": null}"}'::text[]) what;

-- 300 random histories, each under a rule of its own.  Times are whole hours,
-- so that edges are hit; instants are tried at both sides of each hour.
CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TEMP TABLE event AS
SELECT p, timestamptz '2026-01-01Z' + make_interval(hours => pg_temp.dice('at' || p, i, 40)) AS at,
	   CASE pg_temp.dice('event' || p, i, 3) WHEN 0 THEN 'view' ELSE 'purchase' END AS event
FROM generate_series(1, 300) p, generate_series(1, CASE WHEN p % 20 = 0 THEN 60 ELSE pg_temp.dice('n', p, 12) END) i;
CREATE TEMP TABLE person AS
SELECT p, t, ROW('purchase', 2 + pg_temp.dice('retained', p, 3), make_interval(hours => 1 + pg_temp.dice('risk', p, 6)),
				 make_interval(hours => 7 + pg_temp.dice('churn', p, 6)), true, 1 + pg_temp.dice('gaps', p, 4) / 2.0, 3.5 + pg_temp.dice('more', p, 3),
				 make_interval(hours => 1 + floor), make_interval(hours => 5 + pg_temp.dice('top', p, 12)), make_interval(hours => 3 + floor),
				 make_interval(hours => 17 + pg_temp.dice('top', p, 12)),
				 CASE WHEN p % 3 > 0 THEN make_interval(hours => pg_temp.dice('prior', p, 9)) END, pg_temp.dice('weight', p, 5) / 2.0)::lifecycle_rule AS rule
FROM (SELECT p, timeline_agg(at, event) AS t, pg_temp.dice('floor', p, 4) AS floor FROM event GROUP BY p) e;
CREATE TEMP TABLE instant AS
SELECT timestamptz '2026-01-01Z' + make_interval(hours => h, secs => us / 1e6) AS at
FROM generate_series(-2, 70) h, (VALUES (0), (1)) AS u (us);

-- thresholds after the last order up to "asked", in plain SQL
CREATE FUNCTION pg_temp.oracle(who int, asked timestamptz, r lifecycle_rule) RETURNS lifecycle_stage LANGUAGE sql AS $$
	WITH instant AS (
		SELECT DISTINCT at FROM event WHERE p = who AND event = r.purchase_event AND at <= asked
	), own AS (
		SELECT count(gap) AS n, extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY gap)) * 1000000 AS median
		FROM (SELECT at - lag(at) OVER (ORDER BY at) AS gap FROM instant) g
	), expected AS (
		SELECT CASE WHEN r.prior_gap IS NULL OR r.prior_weight = 0 THEN median
					WHEN n = 0 THEN prior
					ELSE median + round((prior - median)::float8 * (r.prior_weight / (n + r.prior_weight)))::numeric END AS gap
		FROM own, LATERAL (SELECT extract(epoch FROM r.prior_gap) * 1000000 AS prior) x
	), threshold AS (
		SELECT CASE WHEN gap IS NULL THEN r.at_risk_after
					ELSE least(greatest(round(r.at_risk_gaps * gap::float8) * interval '1 us', r.at_risk_min), r.at_risk_max) END AS risk,
			   CASE WHEN gap IS NULL THEN r.churned_after
					ELSE least(greatest(round(r.churned_gaps * gap::float8) * interval '1 us', r.churned_min), r.churned_max) END AS churn
		FROM expected
	)
	SELECT (CASE WHEN count(i.at) = 0 THEN 'potential' WHEN asked - max(i.at) > min(churn) THEN 'churned' WHEN asked - max(i.at) > min(risk) THEN 'at_risk'
			WHEN count(i.at) = 1 THEN 'first_purchase' WHEN count(i.at) < r.retained_orders THEN 'repeat' ELSE 'retained' END)::lifecycle_stage
	FROM threshold LEFT JOIN instant i ON true
$$;
SELECT count(*) > 5000 AS many, count(DISTINCT stage) AS stages, count(*) FILTER (WHERE stage <> oracle) AS wrong
FROM (SELECT lifecycle(t, at, rule) AS stage, pg_temp.oracle(p, at, rule) AS oracle FROM person, instant WHERE (p + extract(hour FROM at)::int) % 4 = 0) x;

-- the answer differs at lifecycle_due, not one microsecond before; NULL is never
SELECT count(*) > 4000 AS many, count(due) > 0 AS some_due,
	   count(*) FILTER (WHERE lifecycle(seen, due, rule) = stage) AS same_when_due,
	   count(*) FILTER (WHERE lifecycle(seen, due - interval '1 us', rule) <> stage) AS too_late,
	   count(*) FILTER (WHERE due <= at) AS not_later,
	   count(*) FILTER (WHERE due IS NULL AND lifecycle(seen, 'infinity', rule) <> stage) AS missed,
	   count(*) FILTER (WHERE due IS DISTINCT FROM lifecycle_due(t, at, rule)) AS saw_the_future
FROM (SELECT p.*, i.at, s.seen, lifecycle(s.seen, i.at, rule) AS stage, lifecycle_due(s.seen, i.at, rule) AS due
	  FROM person p, instant i, LATERAL (SELECT slice(p.t, '-infinity', i.at + interval '1 us') AS seen) s
	  WHERE p % 8 = 0) x;

-- a history is a chain of what lifecycle says; cut anywhere, the parts make the whole; the next change is its first
SELECT count(*) > 1000 AS many,
	   count(*) FILTER (WHERE from_stage = to_stage) AS nothing_changed,
	   count(*) FILTER (WHERE before IS NOT NULL AND before <> from_stage OR before IS NULL AND from_stage <> 'potential') AS broken,
	   count(*) FILTER (WHERE lifecycle(t, at, rule) <> to_stage) AS wrong_after,
	   count(*) FILTER (WHERE lifecycle(t, at - interval '1 us', rule) <> from_stage) AS wrong_before,
	   count(*) FILTER (WHERE (cause = 'event') <> (last_order = at)) AS wrong_cause
FROM (SELECT p.*, h.*, lag(h.to_stage) OVER (PARTITION BY p ORDER BY h.at) AS before
	  FROM person p, lifecycle_history(t, '-infinity', 'infinity', rule) h) x;
SELECT count(*) FILTER (WHERE whole IS DISTINCT FROM halves) AS wrong, count(*) FILTER (WHERE next IS DISTINCT FROM first) AS wrong_next,
	   count(*) FILTER (WHERE stage <> kept) AS wrong_stage
FROM (SELECT (SELECT array_agg(h) FROM lifecycle_history(t, '-infinity', 'infinity', rule) h) AS whole,
			 (SELECT array_agg(h) FROM (SELECT * FROM lifecycle_history(t, '-infinity', i.at, rule)
										UNION ALL SELECT * FROM lifecycle_history(t, i.at, 'infinity', rule)) h) AS halves,
			 _lifecycle_next(t, i.at, rule) AS next, (SELECT min(h.at) FROM lifecycle_history(t, i.at, 'infinity', rule) h) AS first,
			 lifecycle(t, i.at, rule) AS stage,
			 coalesce((SELECT to_stage FROM lifecycle_history(t, '-infinity', i.at, rule) h ORDER BY h.at DESC LIMIT 1), 'potential') AS kept
	  FROM person p, instant i WHERE p % 5 = 0) x;

-- fixed and adaptive are one when gaps are not known, and when the bounds leave no room
SELECT count(*) FILTER (WHERE lifecycle(t, at, jsonb_populate_record(rule, '{"adaptive": false, "at_risk_after": "5:00", "churned_after": "6:00"}'))
	<> lifecycle(t, at, jsonb_populate_record(rule, '{"at_risk_after": "5:00", "churned_after": "6:00", "at_risk_min": "5:00", "at_risk_max": "5:00", "churned_min": "6:00", "churned_max": "6:00"}'))) AS wrong
FROM person, instant WHERE p % 5 = 0;

-- a long history: hundreds of thousands of orders in one pass
SELECT lifecycle(t, '2026-03-01', rule), (SELECT count(*) FROM lifecycle_history(t, '-infinity', 'infinity', rule)) AS changes, n.orders, n.expected_gap
FROM (SELECT timeline_agg(timestamptz '2026-01-01Z' + i * (i % 7 + 1) * interval '1 s', 'purchase') AS t FROM generate_series(1, 200000) i) x,
	 (SELECT rule FROM lifecycle_policy_effective WHERE name = 'prior') r, _lifecycle_numbers(t, '2026-03-01', rule) n;
