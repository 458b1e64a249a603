-- quantile_edges, quantile_score: against percentile_cont, and in every way an aggregate is run (fixed seeds)
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;

-- by hand: n numbers, the quantile at p lies at position p (n - 1)
SELECT quantile_edges(x, '{0,0.2,0.25,0.5,0.75,0.8,1}') FROM unnest('{10,20,30,40,50}'::float8[]) x;
SELECT quantile_edges(x, '{0.5}'), quantile_edges(x, '{}'), quantile_edges(x, '{1,0,0.5,0.5}') FROM unnest('{4,1,2,3}'::int[]) x;
-- one number, NULLs, none
SELECT quantile_edges(x, '{0,0.3,1}') FROM unnest('{NULL,7,NULL}'::float8[]) x;
SELECT quantile_edges(x, '{0.5}') IS NULL AS nothing FROM unnest('{NULL}'::float8[]) x;
SELECT quantile_edges(x, '{0.5}') IS NULL AS no_rows FROM unnest('{}'::float8[]) x;
-- NaN is greatest, infinities are numbers, -0 is 0
SELECT quantile_edges(x, '{0,0.25,0.5,0.75,1}') FROM unnest('{NaN,-Infinity,Infinity,-0,1}'::float8[]) x;
SELECT quantile_edges(x, '{0.1,0.5,0.9}') FROM unnest('{Infinity,Infinity,-Infinity,-Infinity}'::float8[]) x;
SELECT quantile_edges(x, '{0.1,0.9}') FROM unnest('{NaN,NaN}'::float8[]) x;
SELECT quantile_edges(x, '{-0}') FROM unnest('{-0}'::float8[]) x;

-- scores: ties share one, an edge belongs to the lower part
SELECT x, quantile_score(x, '{10,20,20,40}') FROM unnest('{-Infinity,9,10,10.5,20,20.5,40,41,Infinity,NaN}'::float8[]) x;
SELECT quantile_score(1, '{}'), quantile_score(NULL, '{1}') IS NULL, quantile_score(1, NULL) IS NULL, quantile_score('NaN', '{NaN}'), quantile_score('Infinity', '{NaN}');

\set VERBOSITY terse
SELECT quantile_edges(x, '{0.5,1.1}') FROM unnest('{1}'::float8[]) x;
SELECT quantile_edges(x, '{-0.1}') FROM unnest('{1}'::float8[]) x;
SELECT quantile_edges(x, '{NaN}') FROM unnest('{1}'::float8[]) x;
SELECT quantile_edges(x, '{0.5,NULL}') FROM unnest('{1}'::float8[]) x;
SELECT quantile_edges(x, NULL) FROM unnest('{1}'::float8[]) x;
SELECT quantile_edges(x, '{{0.5}}') FROM unnest('{1}'::float8[]) x;
SELECT quantile_edges(x, ARRAY[x]) FROM unnest('{0.5,1}'::float8[]) x;
SELECT quantile_score(1, '{1,NULL}');
SELECT _quantile_edges_combine(_quantile_edges_add(NULL, 1, '{0.5}'), _quantile_edges_add(NULL, 1, '{0.6}'));
SELECT '\x02'::quantile_state;
SELECT 'x'::quantile_state;
\set VERBOSITY default

-- states are values: equal whatever the order, the same in text and as bytes
SELECT _quantile_edges_add(_quantile_edges_add(NULL, 1, '{0.5}'), 2, '{0.5}')::text = _quantile_edges_add(_quantile_edges_add(NULL, 2, '{0.5}'), 1, '{0.5}')::text AS same,
	_quantile_edges_final(_quantile_edges_add(_quantile_edges_add(NULL, 1, '{0.5}'), 2, '{0.5}')::text::quantile_state) AS through_text, _quantile_edges_final(NULL) IS NULL AS none;

-- random numbers of many kinds against percentile_cont
CREATE TABLE number AS
SELECT g, i, CASE g % 8 WHEN 0 THEN pg_temp.dice(i, g, 10)::float8 WHEN 1 THEN pg_temp.dice(i, g, 1000000) / 100.0 WHEN 2 THEN pg_temp.dice(i, g, 1::bigint << 50) - (1::bigint << 49)
	WHEN 3 THEN exp(pg_temp.dice(i, g, 1200) - 600) WHEN 4 THEN i WHEN 5 THEN -i WHEN 6 THEN CASE WHEN i % 5 > 0 THEN sin(i) END ELSE 7 END AS x
FROM generate_series(0, 63) g, generate_series(1, (ARRAY[1, 2, 3, 10, 63, 64, 65, 3000])[1 + g / 8]) i;
\set p '''{0,0.001,0.2,0.25,0.4,0.5,0.6,0.75,0.8,0.99,0.999,1}''::float8[]'
CREATE TEMP TABLE expected AS SELECT g, percentile_cont(:p) WITHIN GROUP (ORDER BY x) AS edges FROM number GROUP BY g;
SELECT count(*) FILTER (WHERE edges IS DISTINCT FROM got) AS wrong, count(*) FROM expected JOIN (SELECT g, quantile_edges(x, :p) AS got FROM number GROUP BY g) s USING (g);
-- combined from parts by hand
CREATE FUNCTION pg_temp.combine(states quantile_state[]) RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE
	all_of_them quantile_state;
	one quantile_state;
BEGIN
	FOREACH one IN ARRAY states LOOP
		all_of_them := _quantile_edges_combine(all_of_them, one);
	END LOOP;
	RETURN _quantile_edges_final(all_of_them);
END $$;
CREATE AGGREGATE pg_temp.state_of(float8, float8[]) (SFUNC = _quantile_edges_add, STYPE = quantile_state);
SELECT parts, count(*) FILTER (WHERE edges IS DISTINCT FROM pg_temp.combine(states)) AS wrong FROM expected JOIN (
	SELECT g, parts, array_agg(state ORDER BY part DESC) AS states FROM (SELECT g, parts, i % parts AS part, pg_temp.state_of(x, :p) AS state FROM number, unnest('{1,2,7,100}'::int[]) parts GROUP BY 1, 2, 3) s GROUP BY g, parts) p USING (g) GROUP BY parts ORDER BY parts;
-- as a window: the state is asked again and again while it grows
SELECT count(*) FILTER (WHERE running IS DISTINCT FROM (SELECT percentile_cont('{0,0.3,1}'::float8[]) WITHIN GROUP (ORDER BY x) FROM number f WHERE f.g = s.g AND f.i <= s.i)) AS wrong, count(*)
FROM (SELECT g, i, quantile_edges(x, '{0,0.3,1}') OVER (PARTITION BY g ORDER BY i) AS running FROM number) s WHERE i <= 200;
-- hashed, sorted, in small memory, in grouping sets
SET enable_sort = off; SET work_mem = '64kB'; SET hash_mem_multiplier = 1;
CREATE TEMP TABLE sets AS SELECT g, i % 3 AS third, quantile_edges(x, :p) AS edges FROM number GROUP BY GROUPING SETS ((g), (g, i % 3), ());
RESET enable_sort; RESET work_mem; RESET hash_mem_multiplier;
SELECT count(*) FILTER (WHERE sets.edges IS DISTINCT FROM e.edges) AS wrong, count(*) FROM sets JOIN (SELECT g, i % 3 AS third, percentile_cont(:p) WITHIN GROUP (ORDER BY x) AS edges FROM number GROUP BY GROUPING SETS ((g), (g, i % 3), ())) e
	ON sets.g IS NOT DISTINCT FROM e.g AND sets.third IS NOT DISTINCT FROM e.third;
-- in parallel workers
ALTER TABLE number SET (parallel_workers = 3); ANALYZE number;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 3;
EXPLAIN (COSTS off) SELECT quantile_edges(x, '{0.5}') FROM number;
CREATE TEMP TABLE answers AS SELECT (SELECT quantile_edges(x, :p) FROM number) AS edges;
SET max_parallel_workers_per_gather = 0;
SELECT edges = (SELECT percentile_cont(:p) WITHIN GROUP (ORDER BY x) FROM number) AS same, edges FROM answers;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;

-- quintiles of different numbers are those of ntile; ties share a score
SELECT count(*) FILTER (WHERE score <> tile) AS wrong, count(*) FROM (
	SELECT quantile_score(k, e) AS score, ntile(5) OVER (ORDER BY k) AS tile FROM (SELECT pg_temp.dice(i, 1, 1000000) * 10000 + i AS k FROM generate_series(1, 5000) i) n, (
		SELECT quantile_edges(pg_temp.dice(i, 1, 1000000) * 10000 + i, '{0.2,0.4,0.6,0.8}') AS e FROM generate_series(1, 5000) i) q) s;
SELECT x, quantile_score(x, (SELECT quantile_edges(y, '{0.2,0.4,0.6,0.8}') FROM unnest('{1,1,1,1,1,1,2,3,4,5}'::float8[]) y)) AS score FROM unnest('{1,2,3,4,5}'::float8[]) x;
-- edges as a row holds them: short, plain, compressed
CREATE TEMP TABLE edge AS SELECT n, array_agg(i::float8 ORDER BY i) AS e FROM unnest('{0,1,4,12,13,14,100,3000}'::int[]) n, generate_series(1, n) i GROUP BY n;
INSERT INTO edge VALUES (0, '{}'), (-1, '{NULL}'), (2, '[5:6]={1,2}');
SELECT n, quantile_score(0, e) AS none, quantile_score(2.5, e) AS "2.5", quantile_score(1e9, e) = n + 1 AS all FROM edge WHERE n >= 0 ORDER BY n;
\set VERBOSITY terse
SELECT quantile_score(1, e) FROM edge WHERE n = -1;
\set VERBOSITY default
DROP TABLE number;
