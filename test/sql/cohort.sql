-- Cohort tables: retention and revenue by the period of the first order, with
-- what is not known yet shown as such.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 0;

-- three people, calendar months, in the middle of March
CREATE TEMP TABLE sale (who text, event text, at timestamptz, value float8);
INSERT INTO sale VALUES ('a', 'purchase', '2026-01-05', 10), ('a', 'purchase', '2026-01-05', 5), ('a', 'purchase', '2026-01-31 23:59:59.999999', 1), ('a', 'purchase', '2026-03-01', 7), ('a', 'view', '2026-02-10', 99),
	('b', 'purchase', '2026-01-01', NULL), ('b', 'purchase', '2026-02-01', 20), ('b', 'purchase', '2026-03-20', 1000),
	('c', 'purchase', '2026-02-28', 4), ('c', 'purchase', '2026-03-02', 6), ('d', 'purchase', '2025-12-31', 50), ('d', 'purchase', '2026-01-02', 50), ('e', 'view', '2026-01-02', 1);
CREATE TEMP VIEW person AS SELECT who, timeline_agg(at, event, value) AS t FROM sale GROUP BY who;
CREATE FUNCTION pg_temp.months(n int) RETURNS timestamptz[] LANGUAGE sql RETURN ARRAY(SELECT (timestamp '2026-01-01' + i * interval '1 month') AT TIME ZONE 'UTC' FROM generate_series(0, n) i);
SELECT c.* FROM (SELECT cohort_agg(t, 'purchase', pg_temp.months(4), '2026-03-16 12:00') AS s FROM person) x, cohort_rows(s) c;
-- everything is known, nothing is known, nobody
SELECT c.* FROM (SELECT cohort_agg(t, 'purchase', pg_temp.months(2), 'infinity') AS s FROM person) x, cohort_rows(s) c;
SELECT c.* FROM (SELECT cohort_agg(t, 'purchase', pg_temp.months(1), '2025-12-31') AS s FROM person) x, cohort_rows(s) c;
SELECT cohort_agg(t, 'purchase', pg_temp.months(1), '2026-12-31') IS NULL FROM person WHERE who = 'nobody';
SELECT c.* FROM (SELECT cohort_agg(t, 'sale', pg_temp.months(1), '2026-12-31') AS s FROM person) x, cohort_rows(s) c;
SELECT cohort_agg(t, 'purchase', NULL, '2026-12-31') IS NULL, cohort_agg(t, NULL, pg_temp.months(1), '2026-12-31') IS NULL FROM person;

-- what is refused
SELECT cohort_agg(t, 'purchase', '{}', '2026-12-31') FROM person;
SELECT cohort_agg(t, 'purchase', '{2026-01-01}', '2026-12-31') FROM person;
SELECT cohort_agg(t, 'purchase', '{2026-01-01,2026-01-01}', '2026-12-31') FROM person;
SELECT cohort_agg(t, 'purchase', '{2026-01-01,NULL}', '2026-12-31') FROM person;
SELECT cohort_agg(t, 'purchase', '{2026-01-01,infinity}', '2026-12-31') FROM person;
SELECT cohort_agg(t, 'purchase', pg_temp.months(1001), '2026-12-31') FROM person;
SELECT cohort_agg(t, 'purchase', pg_temp.months(1 + ascii(who) % 2), '2026-12-31') FROM person;
SELECT cohort_agg(t, 'purchase', pg_temp.months(1), at) FROM person, (VALUES (timestamptz '2026-12-31'), ('2026-12-30')) AS a (at);
SELECT cohort_agg(s) FROM (SELECT cohort_agg(t, 'purchase', pg_temp.months(n), '2026-12-31') AS s FROM person, generate_series(1, 2) n GROUP BY n) x;

-- a value: text and binary forms, and garbage
SELECT count(*) = 1 AS one, bool_and(r::text::cohort_state::text = r::text) AS same
FROM (SELECT cohort_agg(t, 'purchase', pg_temp.months(3), '2026-03-16') AS r FROM person) x;
SELECT length(cohort_state_send(r)) FROM (SELECT cohort_agg(t, 'purchase', pg_temp.months(3), '2026-03-16') AS r FROM person) x;
SELECT cohort_state 'x';
SELECT cohort_state '\x';
SELECT cohort_state '\x02000100';
SELECT cohort_state '\x0100010000000000000000000000000000000000010000000000000002000000000000000100000000000000000000000000000000000000000000';
SELECT cohort_state '\x010001000000000000000000000000000000000001000000000000000200000000000000010000000000000000000000000000000000000000000000';

-- 300 random people against plain SQL, in parts, by workers, in any order: the same bytes
CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TABLE cohort_sale AS
SELECT p, timestamptz '2025-11-15Z' + make_interval(days => pg_temp.dice('at' || p, i, 400)) AS at, (1 + pg_temp.dice('value' || p, i, 100000)) / 100.0::float8 AS value,
	   CASE pg_temp.dice('event' || p, i, 4) WHEN 0 THEN 'view' ELSE 'purchase' END AS event
FROM generate_series(1, 300) p, generate_series(1, pg_temp.dice('n', p, 9)) i;
CREATE TABLE cohort_person AS SELECT p, timeline_agg(at, event, value) AS t FROM cohort_sale GROUP BY p;
CREATE TEMP TABLE answer AS SELECT 'whole' AS way, cohort_agg(t, 'purchase', pg_temp.months(9), '2026-09-10') AS s FROM cohort_person;
INSERT INTO answer SELECT 'parts of ' || n, cohort_agg(s) FROM (SELECT n, cohort_agg(t, 'purchase', pg_temp.months(9), '2026-09-10') AS s FROM cohort_person, unnest('{2,7,50}'::int[]) n GROUP BY n, p % n) x GROUP BY n;
INSERT INTO answer SELECT 'backwards', cohort_agg(t, 'purchase', pg_temp.months(9), '2026-09-10') FROM (SELECT t FROM cohort_person ORDER BY p DESC) x;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; ALTER TABLE cohort_person SET (parallel_workers = 2);
CREATE FUNCTION cohort_months() RETURNS timestamptz[] LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '{2026-01-01Z,2026-02-01Z,2026-03-01Z,2026-04-01Z,2026-05-01Z,2026-06-01Z,2026-07-01Z,2026-08-01Z,2026-09-01Z,2026-10-01Z}'::timestamptz[];
EXPLAIN (COSTS OFF) SELECT cohort_agg(t, 'purchase', cohort_months(), '2026-09-10Z') FROM cohort_person;
INSERT INTO answer SELECT 'workers', s FROM (SELECT cohort_agg(t, 'purchase', cohort_months(), '2026-09-10Z') AS s FROM cohort_person) x;
RESET ALL; SET search_path = public, cdp; SET timezone = 'UTC';
SELECT count(*), count(DISTINCT s::text) AS different FROM answer;
WITH e AS (
	SELECT p, at, value, (extract(year FROM at) * 12 + extract(month FROM at))::int - 2026 * 12 - 1 AS month FROM cohort_sale WHERE event = 'purchase' AND at <= '2026-09-10'
), c AS (
	SELECT p, min(month) AS cohort FROM e GROUP BY p
), cell AS (
	SELECT c.cohort, e.month - c.cohort AS k, count(DISTINCT p) AS active, count(DISTINCT (p, at)) AS orders, sum(value::numeric) AS revenue FROM c JOIN e USING (p) WHERE c.cohort >= 0 GROUP BY 1, 2
)
SELECT count(*) AS cells, sum(r.active) AS active, count(*) FILTER (WHERE (r.active, r.orders, r.revenue::numeric) IS DISTINCT FROM (coalesce(c.active, 0), coalesce(c.orders, 0), coalesce(c.revenue, 0))) AS wrong,
	   count(*) FILTER (WHERE r.size <> coalesce(s.active, 0) OR abs(r.retention * r.size - r.active) > 1e-9) AS wrong_size
FROM answer, cohort_rows(answer.s) r LEFT JOIN cell c ON c.cohort = extract(month FROM r.cohort) - 1 AND c.k = r.period LEFT JOIN cell s ON s.cohort = extract(month FROM r.cohort) - 1 AND s.k = 0
WHERE way = 'whole';
DROP TABLE cohort_sale, cohort_person;
DROP FUNCTION cohort_months;
