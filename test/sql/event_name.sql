-- window_funnel, retention, sequence_match, sequence_count, retention_matrix over rows with names of events; conditions as arguments and as an array
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set histories 3000
\getenv histories ORACLE_HISTORIES
\set fewer 1500
\getenv fewer ORACLE_HISTORIES

-- the example of docs/reference/funnel.md
CREATE TEMP TABLE visit (person int, at timestamptz, event text);
INSERT INTO visit VALUES (1, '2026-01-01 10:00Z', 'view'), (1, '2026-01-03 10:00Z', 'cart'), (1, '2026-01-03 10:05Z', 'purchase'), (1, '2026-02-01 08:00Z', 'view'), (2, '2026-01-02 09:00Z', 'view');
SELECT person, window_funnel(at, event, '{view,cart,purchase}', '7 days'), sequence_match(at, event, 'view ->(2d) cart -> !view -> purchase'), sequence_count(at, event, 'view'), retention(at, event, 'view', '*', 4, '1 day', 'day'),
	retention(at, event, 'view', 'purchase', 4, '1 day') FROM visit GROUP BY person ORDER BY person;
SELECT retention_matrix(s, '2026-01-01', 2) FROM (SELECT retention_state(at, event, 'view', '*', 4, '1 day') AS s FROM visit GROUP BY person) p;

-- random histories of up to 8 events at up to 7 instants; a time or a name may be NULL: no event
CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;
CREATE TABLE name_row AS
SELECT h, i AS id, CASE WHEN pg_temp.dice(h * 100 + i, 1, 30) > 0 THEN timestamptz '1999-12-30 20:00' + pg_temp.dice(h * 100 + i, 2, 1 + pg_temp.dice(h, 3, 7)) * (ARRAY['1 s', '7 h', '1 day'])[1 + h % 3]::interval END AS at,
	(ARRAY['a', 'b', 'c', 'a long name', '', '*', 'd', NULL])[1 + pg_temp.dice(h * 100 + i, 4, 6 + h % 3)] AS event
FROM generate_series(1, :histories) h, generate_series(1, 1 + pg_temp.dice(h, 5, 8)) i;
CREATE INDEX ON name_row (h, at) INCLUDE (event); ALTER TABLE name_row SET (parallel_workers = 3); ANALYZE name_row;
CREATE TEMP TABLE built AS SELECT h, timeline_agg(at, event) AS t FROM name_row GROUP BY h;

-- the same as over timelines: every mode, steps that repeat, names that do not occur
CREATE TEMP TABLE mode AS
SELECT m, array_to_string(ARRAY[CASE WHEN m & 1 > 0 THEN 'strict_increase' END, CASE WHEN m & 2 > 0 THEN 'strict_deduplication' END,
	CASE WHEN m & 4 > 0 THEN 'strict_order' END, CASE WHEN m & 8 > 0 THEN 'strict_once' END], ',') AS mode FROM generate_series(0, 15) m;
SELECT steps, within, count(*) FILTER (WHERE rows > 0) > 1000 AS many, max(rows) AS most, count(*) FILTER (WHERE rows IS DISTINCT FROM coalesce(window_funnel(t, steps, within, mode), 0)) AS wrong FROM (
	SELECT h, mode, '{a,b,c}'::text[] AS steps, interval '1 day' AS within, window_funnel(at, event, '{a,b,c}', '1 day', mode) AS rows FROM name_row, mode GROUP BY h, mode
	UNION ALL SELECT h, mode, '{a,b,a,"a long name"}', '5 s', window_funnel(at, event, '{a,b,a,"a long name"}', '5 s', mode) FROM name_row, mode GROUP BY h, mode
	UNION ALL SELECT h, mode, '{"",*,b,none}', '1 year', window_funnel(at, event, '{"",*,b,none}', '1 year', mode) FROM name_row, mode GROUP BY h, mode
	UNION ALL SELECT h, '', '{a,a}', '0', window_funnel(at, event, '{a,a}', '0') FROM name_row GROUP BY h) s JOIN built USING (h) GROUP BY steps, within ORDER BY steps;

-- patterns; here they come from another row, so they change from group to group
CREATE TEMP TABLE pattern AS SELECT * FROM (VALUES ('a'), ('a -> b'), ('a ->(3s) b'), ('a -> !c -> b'), ('a ->(1d) !b'), ('a -> !*'), ('* -> * -> a'), ('a -> b -> a -> c'), ('"a long name" -> *'), ('none -> a'), ('a -> !none -> b'), ('b -> "*" ->(14h) ""')) v(p);
SELECT p, count(*) FILTER (WHERE n > 0) > 20 AS some, count(*) FILTER (WHERE n IS DISTINCT FROM coalesce(sequence_count(t, p), 0)) AS wrong_count, count(*) FILTER (WHERE m IS DISTINCT FROM coalesce(sequence_match(t, p), false)) AS wrong_match
FROM (SELECT h, p, (SELECT sequence_count(at, event, p) FROM name_row r WHERE r.h = b.h) AS n, (SELECT sequence_match(at, event, p) FROM name_row r WHERE r.h = b.h) AS m, t FROM built b, pattern WHERE h <= :fewer) s GROUP BY p ORDER BY p;

-- retention, with parameters that change as well
SELECT returned, align, count(*) > 3000 AS many, count(*) FILTER (WHERE true = ANY (got)) > 1000 AS some, count(*) FILTER (WHERE got IS DISTINCT FROM retention(t, 'a', returned, buckets, bucket, align)) AS wrong
FROM (SELECT b.h, t, returned, buckets, bucket, align, (SELECT retention(at, event, 'a', returned, buckets, bucket, align) FROM name_row r WHERE r.h = b.h) AS got
	FROM built b, unnest('{a,b,*}'::text[]) returned, (VALUES (4, interval '7 h'), (5, '1 day'), (200, '1 us'), (3, '2 s')) v(buckets, bucket), unnest('{event,day}'::text[]) align WHERE h <= :fewer * 2 / 3 AND t IS NOT NULL) s
GROUP BY returned, align ORDER BY returned, align;
SELECT count(*) > 2000 AS many, count(*) FILTER (WHERE r IS DISTINCT FROM retention(t, 'a', '*', 5, '1 h')) AS wrong FROM (SELECT h, retention(at, event, 'a', '*', 5, '1 h') AS r FROM name_row GROUP BY h) s JOIN built USING (h);
-- buckets far away
SELECT retention(at, event, 'a', 'b', 3, '200000 years'), retention(at, event, 'a', 'b', 2, '290000 years', 'day') FROM (VALUES (timestamptz '4713-01-01 BC', 'a'), ('294276-12-31', 'b')) v(at, event);
-- the cohort table
SELECT cohorts, sum(n) > 100 AS counted, (SELECT retention_matrix(s, '1999-12-30', cohorts) FROM (SELECT retention_state(at, event, 'a', 'b', 9, '1 day') AS s FROM name_row GROUP BY h) p) = m AS same
FROM (SELECT cohorts, retention_matrix(t, 'a', 'b', '1999-12-30', cohorts, 9, '1 day') AS m FROM built, unnest('{1,4,12}'::int[]) cohorts GROUP BY cohorts) s, unnest(m) n GROUP BY cohorts, m ORDER BY cohorts;
SELECT (SELECT retention_matrix(s, '1999-12-30', 2) FROM (SELECT retention_state(at, event, 'a', '*', 300, '1 h') AS s FROM name_row GROUP BY h) p) = (SELECT retention_matrix(t, 'a', '*', '1999-12-30', 2, 300, '1 h') FROM built) AS many_buckets;

-- conditions as arguments of their own and as an array: the same, NULL does not hold
CREATE TEMP TABLE cond AS SELECT h, at, id, event = 'a' AS a, event = 'b' AS b, nullif(event = 'c', false) AS c, id % 2 = 0 AS d FROM name_row;
SELECT count(*) > 2000 AS many, count(*) FILTER (WHERE f2 <> v2 OR f5 <> v5 OR f8 <> v8 OR f9 <> v9) AS wrong_funnel, count(*) FILTER (WHERE s2 <> w2 OR s8 <> w8 OR m3 <> (n3 > 0)) AS wrong_sequence, count(*) FILTER (WHERE r2 <> q2 OR r8 <> q8 OR r9 <> q9) AS wrong_retention FROM (
	SELECT window_funnel('1 day', 'strict_order', at, a, b) AS f2, window_funnel('1 day', 'strict_order', at, VARIADIC ARRAY[a, b]) AS v2,
		window_funnel('7 h', '', at, a, b, c, d, a) AS f5, window_funnel('7 h', '', at, VARIADIC ARRAY[a, b, c, d, a]) AS v5,
		window_funnel('2 d', 'strict_once', at, a, d, c, d, b, a, a, d) AS f8, window_funnel('2 d', 'strict_once', at, VARIADIC ARRAY[a, d, c, d, b, a, a, d]) AS v8,
		window_funnel('2 d', '', at, a, d, c, d, b, a, a, d, c) AS f9, window_funnel('2 d', '', at, VARIADIC ARRAY[a, d, c, d, b, a, a, d, c]) AS v9,
		sequence_count('(?1)(?2)', at, a, d) AS s2, sequence_count('(?1)(?2)', at, VARIADIC ARRAY[a, d]) AS w2, sequence_match('(?3).*(?1)', at, a, b, c) AS m3, sequence_count('(?3).*(?1)', at, VARIADIC ARRAY[a, b, c]) AS n3,
		sequence_count('(?1).(?7)', at, a, b, c, d, a, b, c, d) AS s8, sequence_count('(?1).(?7)', at, VARIADIC ARRAY[a, b, c, d, a, b, c, d]) AS w8,
		retention(a, c) AS r2, retention(VARIADIC ARRAY[a, c]) AS q2, retention(d, a, b, c, d, a, b, c) AS r8, retention(VARIADIC ARRAY[d, a, b, c, d, a, b, c]) AS q8, retention(d, a, b, c, d, a, b, c, d) AS r9, retention(VARIADIC ARRAY[d, a, b, c, d, a, b, c, d]) AS q9
	FROM cond GROUP BY h) s;

-- parallel and serial, hashed and sorted, spilled, all in one group or many: the same
CREATE FUNCTION pg_temp.all_of(by_what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($sql$ SELECT md5(string_agg(s::text, ' ' ORDER BY s.g)) FROM (
		SELECT %s AS g, window_funnel(at, event, '{a,b,c}', '1 day'), window_funnel(at, event, '{a,b,c}', '1 day', 'strict_order'), sequence_count(at, event, 'a -> !c ->(7h) b'), sequence_match(at, event, 'a -> * ->(1d) !a'),
			retention(at, event, 'a', '*', 9, '7 h'), retention_state(at, event, 'a', 'c', 9, '7 h'), retention(event = 'a', event = 'b') FROM name_row GROUP BY 1) s $sql$, by_what);
END $$;
SET max_parallel_workers_per_gather = 0;
CREATE TEMP TABLE serial AS SELECT g, pg_temp.all_of(g) AS answers FROM unnest('{1::int,id % 3,h}'::text[]) g;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 3;
EXPLAIN (COSTS off) SELECT window_funnel(at, event, '{a,b}', '1 day'), retention(at, event, 'a', 'b', 3, '1 day'), sequence_match(at, event, 'a -> b') FROM name_row;
SELECT g, answers = pg_temp.all_of(g) AS parallel FROM serial ORDER BY g;
SET enable_hashagg = off;
SELECT g, answers = pg_temp.all_of(g) AS sorted FROM serial ORDER BY g;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather; RESET enable_hashagg;
SET work_mem = '64kB'; SET hash_mem_multiplier = 1; SET enable_sort = off;
SELECT g, answers = pg_temp.all_of(g) AS spilled FROM serial ORDER BY g;
RESET work_mem; RESET hash_mem_multiplier; RESET enable_sort;

-- parameters of a prepared statement; as window functions, with FILTER, ORDER BY, DISTINCT
SET plan_cache_mode = force_generic_plan;
PREPARE funnel(text[], interval) AS SELECT window_funnel(at, event, $1, $2), window_funnel($2, '', at, event = $1[1], event = $1[2]), sequence_count(at, event, $1[1]) FROM visit WHERE person = 1;
EXECUTE funnel('{view,cart}', '2 days'); EXECUTE funnel('{view,cart}', '1 day'); EXECUTE funnel('{cart,purchase}', '5 min');
RESET plan_cache_mode;
SELECT at, window_funnel(at, event, '{view,cart,purchase}', '2 d') OVER (ORDER BY at) AS so_far, sequence_count(at, event, 'view') FILTER (WHERE event <> 'cart') OVER (ORDER BY at ROWS 1 PRECEDING) AS two_rows, retention(at, event, 'view', '*', 2, '1 day') OVER (ORDER BY at) AS came FROM visit WHERE person = 1 ORDER BY at;
-- what a window function gives away is not changed by others
SELECT at, length(event_state_send(s)) AS bytes, length(event_state_send(_event_state_combine(s, s))) AS twice FROM (SELECT at, retention_state(at, event, 'view', '*', 40, '1 day') OVER (ORDER BY at) AS s FROM visit WHERE person = 1) w ORDER BY at;
SELECT window_funnel(at, event, '{view,cart}', '7 d' ORDER BY at DESC), sequence_count(DISTINCT at, event, 'view') FROM visit, generate_series(1, 2) WHERE person = 1;
-- no rows, or none that is an event
SELECT window_funnel(at, event, '{a}', '1 day'), sequence_match(at, event, 'a'), sequence_count(at, event, 'a'), retention(at, event, 'a', '*', 2, '1 day'), retention_state(at, event, 'a', '*', 2, '1 day') FROM visit WHERE false;
SELECT window_funnel(at, NULL, '{a}', '1 day'), sequence_match(NULL::timestamptz, event, 'a'), retention(at, NULL, 'a', '*', 2, '1 day') FROM visit;

-- the state: equal sets of rows have equal bytes, which read back
CREATE TEMP TABLE state AS
SELECT 1 AS n, _sequence_event_add(_sequence_event_add(NULL, '2026-01-02', 'b', 'a -> !b -> a'), '2026-01-01', 'a', 'a -> !b -> a') AS s
UNION ALL SELECT 2, _sequence_event_add(_sequence_event_add(_sequence_event_add(NULL, '2026-01-01', 'a', 'a -> !b -> a'), '2026-01-01', 'x', 'a -> !b -> a'), '2026-01-02', 'b', 'a -> !b -> a')
UNION ALL SELECT 3, _retention_event_add(_retention_event_add(NULL, '2026-01-02', 'b', 'a', '*', 3, '1 day'), '2026-01-01', 'a', 'a', '*', 3, '1 day')
UNION ALL SELECT 4, _retention_event_add(NULL, '2026-01-02', 'b', 'a', 'b', 100000, '1 day', 'day')
UNION ALL SELECT 5, _window_funnel_event_add(NULL, '2026-01-02', 'b', '{a,b}', '1 day', 'strict_once,strict_order')
UNION ALL SELECT 6, _window_funnel_add(NULL, '1 day', 'strict_once,strict_order', '2026-01-02', '{f,t}');
SELECT n, s, s::text::event_state::text = s::text AS reads_back, length(event_state_send(s)) FROM state ORDER BY n;
SELECT _sequence_count_final(_event_state_combine(a.s, b.s)), _retention_final(_event_state_combine(c.s, c.s)) FROM state a, state b, state c WHERE a.n = 1 AND b.n = 2 AND c.n = 3;

-- mistakes
SELECT window_funnel(at, event, NULL, '1 day') FROM visit;
SELECT window_funnel(at, event, '{a}', NULL) FROM visit;
SELECT window_funnel(at, event, '{a}', '1 day', NULL) FROM visit;
SELECT window_funnel(at, event, '{}', '1 day') FROM visit;
SELECT window_funnel(at, event, '{a,NULL}', '1 day') FROM visit;
SELECT window_funnel(at, event, array_fill('a'::text, '{65}'), '1 day') FROM visit;
SELECT window_funnel(at, event, '{a}', '-1 day') FROM visit;
SELECT window_funnel(at, event, '{a}', '1 day', 'strict') FROM visit;
SELECT window_funnel('infinity'::timestamptz, event, '{a}', '1 day') FROM visit;
SELECT window_funnel(at, event, '{a}', person * interval '1 day') FROM visit;
SELECT window_funnel(at, event, CASE person WHEN 1 THEN '{a}' ELSE '{a,b}' END::text[], '1 day') FROM visit;
SELECT sequence_match(at, event, NULL) FROM visit;
SELECT sequence_match(at, event, 'a ->') FROM visit;
SELECT sequence_match(at, event, 'a[b]') FROM visit;
SELECT sequence_match(at, event, CASE person WHEN 1 THEN 'a' ELSE 'b' END) FROM visit;
SELECT retention(at, event, NULL, '*', 2, '1 day') FROM visit;
SELECT retention(at, event, 'a', NULL, 2, '1 day') FROM visit;
SELECT retention(at, event, 'a', '*', NULL, '1 day') FROM visit;
SELECT retention(at, event, 'a', '*', 2, NULL) FROM visit;
SELECT retention(at, event, 'a', '*', 2, '1 day', NULL) FROM visit;
SELECT retention(at, event, 'a', '*', 0, '1 day') FROM visit;
SELECT retention(at, event, 'a', '*', 100001, '1 day') FROM visit;
SELECT retention(at, event, 'a', '*', 2, '0') FROM visit;
SELECT retention(at, event, 'a', '*', 2, '1 day', 'week') FROM visit;
SELECT retention(at, event, 'a', '*', person, '1 day') FROM visit;
SELECT retention_matrix(s, 'infinity', 2) FROM state WHERE n = 3;
SELECT retention_matrix(s, '2026-01-01', 0) FROM state WHERE n = 3;
SELECT retention_matrix(s, '2026-01-01', 1000) FROM state WHERE n = 4;
SELECT retention_matrix(s, '2026-01-01', 2) FROM state WHERE n IN (3, 4);
SELECT retention_matrix(s, '2026-01-01', 2) FROM state WHERE n = 1;
SELECT _window_funnel_final(s) FROM state WHERE n = 1;
SELECT _sequence_count_final(s) FROM state WHERE n = 3;
SELECT _event_state_combine(a.s, b.s) FROM state a, state b WHERE a.n = 3 AND b.n = 4;
-- bytes from outside: an event after the last bucket, no bucket, one that is empty, a pattern of other names
SELECT overlay(s::text PLACING '01000000' FROM 19 FOR 8)::event_state FROM state WHERE n = 3;
SELECT overlay(s::text PLACING '00000000' FROM 19 FOR 8)::event_state FROM state WHERE n = 3;
SELECT overlay(s::text PLACING '0000000000000000' FROM 27 FOR 16)::event_state FROM state WHERE n = 3;
SELECT overlay(s::text PLACING '03' FROM 7 FOR 2)::event_state FROM state WHERE n = 3;
SELECT replace(s::text, encode('a -> !b -> a', 'hex'), encode('a -> !b     ', 'hex'))::event_state FROM state WHERE n = 1;
SELECT (left(s::text, 4) || '06' || substr(s::text, 7))::event_state FROM state WHERE n = 1;
DROP TABLE name_row;
