-- count_each: counts position by position
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';

-- the longest array decides, NULL elements and NULL arrays count as nothing
SELECT count_each(a) FROM (VALUES ('{t,f,t}'::boolean[]), ('{t}'), (NULL), ('{NULL,t,NULL,t}'), ('{}')) v(a);
SELECT count_each(a) FROM (VALUES ('{}'::boolean[]), (NULL)) v(a);
SELECT count_each(a) IS NULL AS nothing FROM (VALUES (NULL::boolean[])) v(a);
SELECT count_each(a) IS NULL AS no_rows FROM (VALUES ('{t}'::boolean[])) v(a) WHERE false;
-- positions, not subscripts
SELECT count_each(a) FROM (VALUES ('[0:1]={t,f}'::boolean[]), ('[5:6]={t,t}')) v(a);
\set VERBOSITY terse
SELECT count_each('{{t},{f}}');
\set VERBOSITY default
-- the state in the hands of somebody else is not changed
DO $$
DECLARE
	a bigint[] := '{1,2}';
	b bigint[];
BEGIN
	b := _count_each_add(a, '{t,t,t}');
	RAISE NOTICE '% % %', a, b, _count_each_merge(b, a);
	RAISE NOTICE '% %', b, _count_each_merge(NULL, '{7}');
END $$;
\set VERBOSITY sqlstate
SELECT _count_each_add('{1,NULL}', '{t}');
SELECT _count_each_merge('{1}', '{NULL}');
\set VERBOSITY default

-- against plain SQL: grouped, as a window, in parallel workers
CREATE TABLE flags AS
SELECT i, i % 7 AS g, ARRAY(SELECT CASE (hashint8extended(i * 100 + k, 1) & 7) WHEN 0 THEN NULL WHEN 1 THEN true WHEN 2 THEN true ELSE false END FROM generate_series(1, i % 12) k) AS a FROM generate_series(1, 5000) i;
CREATE TEMP TABLE expected AS SELECT g, array_agg(n ORDER BY k) AS counts FROM (SELECT g, k, count(*) FILTER (WHERE f) AS n FROM flags, unnest(a) WITH ORDINALITY u(f, k) GROUP BY g, k) s GROUP BY g;
SELECT count(*) FILTER (WHERE count_each <> counts) AS wrong, count(*) FROM (SELECT g, count_each(a) FROM flags GROUP BY g) s JOIN expected USING (g);
SELECT count(*) FILTER (WHERE running <> (SELECT count_each(a) FROM flags f WHERE f.i <= s.i)) AS wrong, count(*) FROM (SELECT i, count_each(a) OVER (ORDER BY i) AS running FROM flags) s WHERE i <= 300;
ALTER TABLE flags SET (parallel_workers = 3); ANALYZE flags;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 3;
EXPLAIN (COSTS off) SELECT count_each(a) FROM flags;
CREATE TEMP TABLE answers AS SELECT (SELECT count_each(a) FROM flags) AS parallel;
SET max_parallel_workers_per_gather = 0;
SELECT parallel = (SELECT count_each(a) FROM flags) AS same, parallel FROM answers;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
DROP TABLE flags;

-- a cohort table: profiles by the day they first came, and how many of them came back k days later
CREATE TEMP TABLE visits AS SELECT p, timestamptz '2026-01-01' + (hashint8extended(p * 50 + i, 2) & 255) % 10 * interval '1 day' AS at FROM generate_series(1, 300) p, generate_series(1, 1 + p % 4) i;
SELECT day, count_each(r) FROM (SELECT first_at(t)::date AS day, retention(t, 'visit', '*', 4, '1 day', 'day') AS r FROM (SELECT timeline_agg(at, 'visit') AS t FROM visits GROUP BY p) s) c GROUP BY day ORDER BY day LIMIT 3;
SELECT day, array_agg(n ORDER BY k) FROM (SELECT day, k, count(DISTINCT p) FILTER (WHERE at::date = day + k) AS n FROM (SELECT p, at, min(at) OVER (PARTITION BY p)::date AS day FROM visits) v, generate_series(0, 3) k GROUP BY day, k) s GROUP BY day ORDER BY day LIMIT 3;
