-- Expected gaps: the median gap between distinct instants, shrunk toward a prior.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';

-- an order of five lines is one order; gaps of 10, 20 and 60 days
CREATE TEMP TABLE one AS
SELECT timeline_agg(at::timestamptz, event, label) AS t
FROM (VALUES ('2026-01-01', 'purchase', 'diapers'), ('2026-01-01', 'purchase', 'diapers'), ('2026-01-01', 'purchase', 'milk'),
	('2026-01-01', 'purchase', NULL), ('2026-01-01', 'purchase', 'soap'), ('2026-01-11', 'purchase', 'diapers'),
	('2026-01-31', 'purchase', 'milk'), ('2026-04-01', 'purchase', NULL), ('2026-04-01', 'view', 'milk')) AS e (at, event, label);
SELECT expected_gap(t, 'purchase') AS own, median_gap(t, 'purchase') AS of_lines,
	   expected_gap(t, 'purchase', '30 days', 0) AS no_weight, expected_gap(t, 'purchase', '30 days', 1) AS one,
	   expected_gap(t, 'purchase', interval '30 days') AS one_by_default,
	   expected_gap(t, 'purchase', '30 days', 3) AS equal, expected_gap(t, 'purchase', '30 days', 1e300) AS prior
FROM one;
SELECT label, expected_gap(t, 'purchase', label, NULL, 1) AS own, expected_gap(t, 'purchase', label, '40 days', 1) AS shrunk
FROM one, unnest('{diapers,milk,soap,bread}'::text[]) label;

-- nobody knows: no gap and no prior, or a prior without weight
SELECT expected_gap(t, 'view'), expected_gap(t, 'view', NULL, 5), expected_gap(t, 'view', '9 days', 0), expected_gap(t, 'view', interval '9 days', NULL),
	   expected_gap('{}', 'view'), expected_gap(NULL, 'view', '9 days', 1), expected_gap(t, NULL, '9 days', 1)
FROM one;
SELECT expected_gap(t, 'view', '9 days', 1), expected_gap(t, 'sale', '1 month', 1), expected_gap('{}', 'view', '1 year', 1),
	   expected_gap(t, 'view', 'bread', '9 days', 1)
FROM one;

-- the ends of time
SELECT expected_gap(t, 'a'), expected_gap(t, 'a', '0', 1), expected_gap(t, 'a', interval '290000 years', 1e9)
FROM (SELECT timeline_agg(at, 'a') AS t FROM unnest('{4700-01-01 BC,294276-12-31}'::timestamptz[]) at) x;
SELECT expected_gap(t, 'a', interval '290000 years', 1), expected_gap(t, 'a', interval '290000 years', 1e-300)
FROM (SELECT timeline_agg(at, 'a') AS t FROM unnest('{2026-01-01,2026-01-01 00:00:00.000001}'::timestamptz[]) at) x;

-- what is refused
SELECT expected_gap('{}', 'a', '-1 day', 1);
SELECT expected_gap('{}', 'a', '1 day', -1);
SELECT expected_gap('{}', 'a', '1 day', 'NaN');
SELECT expected_gap('{}', 'a', '1 day', 'Infinity');

-- plain SQL over the rows: 400 random histories, some long, with equal instants and odd microseconds
CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TEMP TABLE event AS
SELECT p, timestamptz '2026-01-01Z' + make_interval(secs => CASE WHEN p % 3 = 0 THEN 0.000001 ELSE 3600 END * pg_temp.dice('at' || p, i, 400)) AS at,
	   CASE pg_temp.dice('event' || p, i, 3) WHEN 0 THEN 'view' ELSE 'purchase' END AS event,
	   (ARRAY['a', 'b', NULL])[1 + pg_temp.dice('label' || p, i, 3)] AS label
FROM generate_series(1, 400) p, generate_series(1, CASE WHEN p % 10 = 0 THEN 300 ELSE pg_temp.dice('n', p, 12) END) i;
CREATE TEMP TABLE person AS
SELECT p, timeline_agg(at, event, label) AS t, make_interval(hours => pg_temp.dice('prior', p, 100)) AS prior,
	   pg_temp.dice('weight', p, 7) / 2.0::float8 AS weight
FROM event GROUP BY p;
WITH instant AS (
	SELECT DISTINCT p, NULL AS label, at FROM event WHERE event = 'purchase'
	UNION ALL SELECT DISTINCT p, label, at FROM event WHERE event = 'purchase' AND label IS NOT NULL
), gap AS (
	SELECT p, label, at - lag(at) OVER (PARTITION BY p, label ORDER BY at) AS gap FROM instant
), own AS (
	SELECT p, label, count(gap) AS n, (extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY gap)) * 1000000)::bigint AS median FROM gap GROUP BY p, label
), answer AS (
	SELECT p, label, n, weight,
		   extract(epoch FROM CASE WHEN label IS NULL THEN expected_gap(t, 'purchase', prior, weight)
								   ELSE expected_gap(t, 'purchase', label, prior, weight) END) * 1000000 AS gap,
		   CASE WHEN n = 0 AND weight = 0 THEN NULL WHEN n = 0 THEN extract(epoch FROM prior) * 1000000
				ELSE (median + round((extract(epoch FROM prior) * 1000000 - median)::float8 * (weight / (n + weight))))::numeric END AS oracle
	FROM own JOIN person USING (p)
)
SELECT count(*) > 800 AS many, count(*) FILTER (WHERE n > 50) > 50 AS long_ones, count(oracle) < count(*) AS some_unknown,
	   count(*) FILTER (WHERE gap IS DISTINCT FROM oracle) AS wrong
FROM answer;
