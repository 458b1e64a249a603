-- window_funnel, retention, sequence_match, sequence_count over rows: random histories against the definition (fixed seeds)
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set histories 5000
\getenv histories ORACLE_HISTORIES
\set fewer 2000
\getenv fewer ORACLE_HISTORIES

CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;

-- rows with three conditions, none to all of them true, false or NULL; up to 7 rows at up to 7 instants
CREATE TEMP TABLE history AS SELECT h, 1 + pg_temp.dice(h, 1, 7) AS instants, pg_temp.dice(h, 2, 8) AS events, pg_temp.dice(h, 3, 7) * interval '1 s' AS within FROM generate_series(1, :histories) h;
CREATE TABLE event_row AS
SELECT h, i AS id, timestamptz '2026-01-01' + pg_temp.dice(h * 100 + i, 4, instants) * interval '1 s' AS at,
	(ARRAY[true, false, NULL, h % 2 = 0])[1 + pg_temp.dice(h * 100 + i, 5, 4)] AS a, (ARRAY[true, false, NULL, h % 2 = 0])[1 + pg_temp.dice(h * 100 + i, 6, 4)] AS b, (ARRAY[true, false, NULL, h % 2 = 0])[1 + pg_temp.dice(h * 100 + i, 7, 4)] AS c
FROM history, generate_series(1, events) i;
CREATE INDEX ON event_row (h); ALTER TABLE event_row SET (parallel_workers = 3); ANALYZE event_row;

-- funnels: every chain; one row may satisfy several steps
CREATE TEMP TABLE chain AS
WITH RECURSIVE chain(h, n, ids, times) AS (
	SELECT h, 1, ARRAY[id], ARRAY[at] FROM event_row WHERE a
	UNION ALL
	SELECT h, n + 1, ids || id, times || at FROM chain JOIN history USING (h) JOIN event_row USING (h)
	WHERE CASE n WHEN 1 THEN b WHEN 2 THEN c END AND at >= times[n] AND at - times[1] <= within
)
SELECT h, n, (SELECT bool_and(times[k] < times[k + 1]) IS NOT FALSE FROM generate_series(1, n - 1) k) AS increasing,
	(SELECT count(DISTINCT i) = n FROM unnest(ids) i) AS once,
	NOT EXISTS (SELECT FROM event_row x WHERE x.h = chain.h AND x.id <> ALL (ids) AND x.at > times[1] AND x.at < times[n]) AS undisturbed,
	NOT EXISTS (SELECT FROM event_row x, generate_series(1, n) k WHERE x.h = chain.h AND x.id <> ALL (ids) AND CASE k WHEN 1 THEN a WHEN 2 THEN b ELSE c END AND x.at > times[k] AND x.at < times[n]) AS unrepeated
FROM chain;
CREATE INDEX ON chain (h); ANALYZE chain;
CREATE TEMP TABLE mode AS
SELECT m, array_to_string(ARRAY[CASE WHEN m & 1 > 0 THEN 'strict_increase' END, CASE WHEN m & 2 > 0 THEN 'strict_deduplication' END,
	CASE WHEN m & 4 > 0 THEN 'strict_order' END, CASE WHEN m & 8 > 0 THEN 'strict_once' END], ',') AS mode FROM generate_series(0, 15) m;
CREATE TEMP TABLE answer AS SELECT m, mode, h, within, reached FROM mode CROSS JOIN history JOIN LATERAL (SELECT window_funnel(within, mode, at, a, b, c) AS reached FROM event_row e WHERE e.h = history.h) s ON true;
CREATE TEMP TABLE expected AS
SELECT m, h, coalesce(max(n), 0) AS reached FROM mode CROSS JOIN history q
LEFT JOIN chain c USING (h) WHERE c.h IS NULL OR (increasing OR m & 1 = 0) AND (unrepeated OR m & 2 = 0) AND (undisturbed OR m & 4 = 0) AND (once OR m & 8 = 0)
GROUP BY m, h;
SELECT mode, count(*) >= 5000 AS many, min(e.reached) AS least, max(e.reached) AS most, count(*) FILTER (WHERE a.reached IS DISTINCT FROM e.reached) AS wrong FROM answer a JOIN expected e USING (m, h) GROUP BY m, mode ORDER BY m;

-- patterns of 1 to 4 elements; rows of one time are in the order of their conditions
CREATE TEMP TABLE question AS
SELECT h, elements, links, (SELECT string_agg(CASE WHEN k > 1 THEN (ARRAY['', '.*', '(?t<=2)', '(?t>1)', '(?t>=1)(?t<4)', '.*(?t==2)', '(?t<2).*'])[links[k]] ELSE '' END || (ARRAY['(?1)', '(?2)', '(?3)', '.'])[elements[k]], '' ORDER BY k)
	FROM generate_series(1, cardinality(elements)) k) AS pattern
FROM history, LATERAL (SELECT ARRAY(SELECT 1 + pg_temp.dice(h * 10 + k, 8, 4) FROM generate_series(1, 1 + pg_temp.dice(h, 9, 4)) k) AS elements, ARRAY(SELECT 1 + pg_temp.dice(h * 10 + k, 10, 7) FROM generate_series(1, 4) k) AS links) p;
CREATE TEMP TABLE pos AS SELECT *, row_number() OVER (PARTITION BY h ORDER BY at, coalesce(a, false) DESC, coalesce(b, false) DESC, coalesce(c, false) DESC) AS p FROM event_row WHERE a OR b OR c;
CREATE INDEX ON pos (h); ANALYZE pos;
CREATE TEMP TABLE found AS
WITH RECURSIVE found(h, n, first, last, at) AS (
	SELECT h, 1, p, p, at FROM question JOIN pos USING (h) WHERE CASE elements[1] WHEN 1 THEN a WHEN 2 THEN b WHEN 3 THEN c ELSE true END
	UNION
	SELECT h, n + 1, first, p, pos.at FROM found JOIN question USING (h) JOIN pos USING (h)
	WHERE p > last AND CASE elements[n + 1] WHEN 1 THEN a WHEN 2 THEN b WHEN 3 THEN c WHEN 4 THEN true END
		AND CASE links[n + 1] WHEN 1 THEN p = last + 1 WHEN 2 THEN true WHEN 3 THEN pos.at - found.at <= '2 s' WHEN 4 THEN pos.at - found.at > '1 s'
			WHEN 5 THEN pos.at - found.at >= '1 s' AND pos.at - found.at < '4 s' WHEN 6 THEN pos.at - found.at = '2 s' ELSE pos.at - found.at < '2 s' END
)
SELECT h, first, last FROM found JOIN question USING (h) WHERE n = cardinality(elements);
CREATE TEMP TABLE counted AS
WITH RECURSIVE row_of(h, how_many, last) AS (
	SELECT h, 0::bigint, 0::bigint FROM question
	UNION
	SELECT h, how_many + 1, f.last FROM row_of r JOIN found f USING (h) WHERE f.first > r.last
)
SELECT h, max(how_many) AS how_many FROM row_of GROUP BY h;
CREATE TEMP TABLE sequences AS SELECT h, (SELECT sequence_count(pattern, at, a, b, c) FROM event_row e WHERE e.h = q.h) AS n, (SELECT sequence_match(pattern, at, a, b, c) FROM event_row e WHERE e.h = q.h) AS m FROM question q;
SELECT how_many, count(*) >= 5 AS some, count(*) FILTER (WHERE n <> how_many) AS wrong_count, count(*) FILTER (WHERE m <> (how_many > 0)) AS wrong_match FROM counted JOIN sequences USING (h) GROUP BY how_many ORDER BY how_many;

-- retention
SELECT count(*) >= 4000 AS many, count(*) FILTER (WHERE got <> expected) AS wrong FROM (
	SELECT retention(a, b, c) AS got, ARRAY[coalesce(bool_or(a), false), coalesce(bool_or(a) AND bool_or(b), false), coalesce(bool_or(a) AND bool_or(c), false)] AS expected FROM event_row GROUP BY h) s;

-- the same as over timelines
SELECT count(*) > 20000 AS many, count(*) FILTER (WHERE rows <> timeline) AS wrong FROM (
	SELECT window_funnel('3 s', mode, at, event = 'a', event = 'b', event = 'a', event = 'c') AS rows, window_funnel(timeline_agg(at, event), '{a,b,a,c}', '3 s', mode) AS timeline
	FROM (SELECT *, CASE WHEN a THEN 'a' WHEN b THEN 'b' WHEN c THEN 'c' ELSE 'd' END AS event FROM event_row) e, mode WHERE h <= :fewer GROUP BY h, mode) s;
SELECT count(*) >= 4000 AS many, count(*) FILTER (WHERE match <> match_rows) AS wrong_match, count(*) FILTER (WHERE n <> n_rows) AS wrong_count FROM (
	SELECT sequence_match('(?1).*(?2)', at, event = 'a', event = 'b') AS match_rows, sequence_match(timeline_agg(at, event), 'a -> b') AS match,
		sequence_count('(?1)(?t<=2)(?2).*(?1)', at, event = 'a', event = 'b') AS n_rows, sequence_count(timeline_agg(at, event), 'a ->(2s) b -> a') AS n
	FROM (SELECT h, at + id * interval '1 us' AS at, CASE WHEN a THEN 'a' WHEN b THEN 'b' ELSE 'd' END AS event FROM event_row) e GROUP BY h) s;

-- parallel and serial, hashed and sorted, all in one group or many: the same
CREATE FUNCTION pg_temp.all_of(by_what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($sql$ SELECT md5(string_agg(s::text, ' ' ORDER BY s.g)) FROM (
		SELECT %s AS g, window_funnel('5 s', '', at, a, b, c), window_funnel('5 s', 'strict_once', at, a, b, c), window_funnel('5 s', 'strict_order', at + h * interval '1 min', a, b, c),
			retention(a, b, c), sequence_count('(?1)(?2)', at + h * interval '1 min', a, b, c), sequence_match('(?1)(?t>10)(?3)', at, a, b, c) FROM event_row GROUP BY 1) s $sql$, by_what);
END $$;
SET max_parallel_workers_per_gather = 0;
CREATE TEMP TABLE serial AS SELECT g, pg_temp.all_of(g) AS answers FROM unnest('{1::int,id % 3,h}'::text[]) g;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 3;
EXPLAIN (COSTS off) SELECT window_funnel('5 s', '', at, a, b, c), retention(a, b, c), sequence_match('(?1)(?2)', at, a, b, c) FROM event_row;
SELECT g, answers = pg_temp.all_of(g) AS parallel FROM serial ORDER BY g;
SET enable_hashagg = off;
SELECT g, answers = pg_temp.all_of(g) AS sorted FROM serial ORDER BY g;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather; RESET enable_hashagg;
SET work_mem = '64kB'; SET hash_mem_multiplier = 1; SET enable_sort = off;
SELECT g, answers = pg_temp.all_of(g) AS spilled FROM serial ORDER BY g;
DROP TABLE event_row;
