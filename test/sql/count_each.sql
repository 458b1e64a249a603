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

-- funnel_counts, retention_matrix: what window_funnel and retention say of each timeline, counted (fixed seeds)
CREATE TABLE history AS SELECT p, timeline_agg(timestamptz '2026-01-01' + (hashint8extended(p * 50 + i, 3) & 1048575) % 691200 * interval '1 s', (ARRAY['a', 'b', 'c'])[1 + (hashint8extended(p * 50 + i, 4) & 255) % 3]) AS t
FROM generate_series(1, 500) p, generate_series(1, 1 + p % 9) i GROUP BY p;
INSERT INTO history VALUES (0, '{}'), (-1, NULL);
SELECT funnel_counts(t, '{a,b,c}', '3 days'), funnel_counts(t, '{a,b,c}', '3 days') = ARRAY[count(*) FILTER (WHERE n >= 1), count(*) FILTER (WHERE n >= 2), count(*) FILTER (WHERE n >= 3)] AS same
FROM (SELECT t, window_funnel(t, '{a,b,c}', '3 days') AS n FROM history) s;
SELECT mode, funnel_counts(t, '{a,b,a,c}', '5 days', mode) = ARRAY[count(*) FILTER (WHERE n >= 1), count(*) FILTER (WHERE n >= 2), count(*) FILTER (WHERE n >= 3), count(*) FILTER (WHERE n >= 4)] AS same
FROM (SELECT mode, t, window_funnel(t, '{a,b,a,c}', '5 days', mode) AS n FROM history, unnest('{"",strict_increase,strict_deduplication,strict_order,strict_once}'::text[]) mode) s GROUP BY mode ORDER BY mode;
SELECT p % 3 AS g, funnel_counts(t, CASE WHEN p % 2 = 0 THEN '{a,b}'::text[] ELSE '{b,c,a}' END, '1 day') FROM history WHERE p > 480 GROUP BY g ORDER BY g;
-- nobody, nothing asked, nothing known
SELECT funnel_counts(t, '{z,a}', '1 day'), funnel_counts(t, '{}', '1 day'), funnel_counts(t, NULL, '1 day'), funnel_counts(t, '{a}', NULL), funnel_counts(t, '{a}', '1 day', NULL) FROM history;
SELECT funnel_counts(t, '{a}', '1 day') IS NULL AS only_null, retention_matrix(t, 'a', '*', '2026-01-01', 1, 1, '1 day') IS NULL AS only_null FROM history WHERE t IS NULL;

-- the matrix, from retention by cohorts of a day
CREATE FUNCTION pg_temp.days(returned text, since timestamptz, cohorts int, buckets int, bucket interval) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT array_agg(counts ORDER BY c) FROM (SELECT c, array_agg((SELECT count(*) FROM history WHERE first_at(t, 'a') >= since + c * bucket AND first_at(t, 'a') < since + (c + 1) * bucket
		AND (k = 0 OR EXISTS (SELECT FROM timeline_events(t) e WHERE returned IN ('*', e.event) AND e.at >= since + (c + k) * bucket AND e.at < since + (c + k + 1) * bucket))) ORDER BY k) AS counts
	FROM generate_series(0, cohorts - 1) c, generate_series(0, buckets - 1) k GROUP BY c) s $$;
SELECT retention_matrix(t, 'a', '*', '2026-01-01', 8, 4, '1 day') FROM history;
SELECT returned, since, cohorts, buckets, bucket, retention_matrix(t, 'a', returned, since, cohorts, buckets, bucket) = pg_temp.days(returned, since, cohorts, buckets, bucket) AS same
FROM history, (VALUES ('*', timestamptz '2026-01-01', 8, 4, interval '1 day'), ('b', '2026-01-01', 8, 9, '1 day'), ('a', '2025-12-31 18:30', 4, 3, '2 days'), ('c', '2026-01-02 00:00:01', 30, 130, '1 h'), ('z', '2026-01-01', 2, 2, '4 days'), ('*', '2026-01-04', 3, 3, '1 day'), ('b', '2020-01-01', 3, 3, '1000 days'))
	q(returned, since, cohorts, buckets, bucket) GROUP BY returned, since, cohorts, buckets, bucket ORDER BY 2, 1, 3;
SELECT (SELECT array_agg(count_each ORDER BY day) FROM (SELECT day, count_each(r) FROM (SELECT first_at(t, 'a')::date AS day, retention(t, 'a', 'b', 4, '1 day', 'day') AS r FROM history) s WHERE day IS NOT NULL GROUP BY day) d) = retention_matrix(t, 'a', 'b', '2026-01-01', 8, 4, '1 day') AS same FROM history;
-- nobody; far away; the ends of time
SELECT retention_matrix(t, 'z', '*', '2026-01-01', 2, 2, '1 day'), retention_matrix(t, 'a', '*', '2030-01-01', 1, 2, '1 day'), retention_matrix(t, 'a', '*', '1000-01-01', 1, 2, '1 day'), retention_matrix(t, NULL, '*', '2026-01-01', 2, 2, '1 day') FROM history;
SELECT retention_matrix('{-4713-11-24T00:00:00Z "a", 294276-12-31T23:59:59.999999Z "a"}', 'a', 'a', '4714-11-24 00:00Z BC', 1, 3, '150000 years'), retention_matrix('{294276-12-31T23:59:59.999999Z "a"}', 'a', 'a', '4714-11-24 00:00Z BC', 3, 1, '150000 years');
\set VERBOSITY terse
SELECT retention_matrix(t, 'a', '*', 'infinity', 2, 2, '1 day') FROM history;
SELECT retention_matrix(t, 'a', '*', '2026-01-01', 0, 2, '1 day') FROM history;
SELECT retention_matrix(t, 'a', '*', '2026-01-01', 2, -1, '1 day') FROM history;
SELECT retention_matrix(t, 'a', '*', '2026-01-01', 100000, 101, '1 day') FROM history;
SELECT retention_matrix(t, 'a', '*', '2026-01-01', 2, 2, '0') FROM history;
SELECT retention_matrix(t, 'a', '*', '2026-01-01', 2, 2, '-1 day') FROM history;
SELECT retention_matrix(t, 'a', '*', '2026-01-01', 2, 2 + p % 2, '1 day') FROM history WHERE p > 0;
SELECT funnel_counts(t, '{a,NULL}', '1 day') FROM history;
SELECT funnel_counts(t, '{a}', '-1 day') FROM history;
SELECT funnel_counts(t, '{a}', '1 day', 'strict') FROM history;
SELECT _retention_matrix_merge('{{1,2},{3,4}}', '{{1,2}}'), 1;
SELECT _retention_matrix_merge('{{1,2},{3,4}}', '{1,2}'), 1;
SELECT _retention_matrix_merge('{{1,2},{3,4}}', '{{1,NULL}}'), 1;
\set VERBOSITY default
-- the state in the hands of somebody else is not changed
DO $$
DECLARE
	a bigint[] := '{{1,2},{3,4}}';
	b bigint[];
BEGIN
	b := _retention_matrix_add(a, '{2026-01-02T00:00:00Z "a", 2026-01-03T00:00:00Z "a"}', 'a', 'a', '2026-01-01', 2, 2, '1 day');
	RAISE NOTICE '% % % %', a, b, _retention_matrix_merge(b, a), b;
	b := _funnel_counts_add('{5,7}', '{2026-01-02T00:00:00Z "a"}', '{a,b,c}', '1 day');
	RAISE NOTICE '%', b;
END $$;
-- growing windows; in parallel workers
SELECT count(*) FILTER (WHERE running <> (SELECT funnel_counts(t, '{a,b}', '1 day') FROM history h WHERE h.p <= s.p) OR matrix <> (SELECT retention_matrix(t, 'a', 'b', '2026-01-01', 8, 4, '1 day') FROM history h WHERE h.p <= s.p)) AS wrong, count(*)
FROM (SELECT p, funnel_counts(t, '{a,b}', '1 day') OVER w AS running, retention_matrix(t, 'a', 'b', '2026-01-01', 8, 4, '1 day') OVER w AS matrix FROM history WINDOW w AS (ORDER BY p)) s WHERE p BETWEEN 1 AND 200;
ALTER TABLE history SET (parallel_workers = 3); ANALYZE history;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 3;
EXPLAIN (COSTS off) SELECT retention_matrix(t, 'a', 'b', '2026-01-01', 8, 4, '1 day'), funnel_counts(t, '{a,b}', '1 day') FROM history;
CREATE TEMP TABLE counted AS SELECT retention_matrix(t, 'a', 'b', '2026-01-01', 8, 4, '1 day') AS matrix, funnel_counts(t, '{a,b}', '1 day') AS counts FROM history;
SET max_parallel_workers_per_gather = 0;
SELECT matrix = (SELECT retention_matrix(t, 'a', 'b', '2026-01-01', 8, 4, '1 day') FROM history) AS same, counts = (SELECT funnel_counts(t, '{a,b}', '1 day') FROM history) AS same FROM counted;
DROP TABLE history;
