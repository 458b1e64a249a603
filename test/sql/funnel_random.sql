-- funnels: random histories against the definition, every chain of events tried (fixed seeds)
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set histories 16000
\getenv histories ORACLE_HISTORIES

-- a number from 0 to below - 1, the same in every run
CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;

-- up to 7 events at up to 7 instants, so that ties are the rule; up to 5 steps over 2 or 3 names
CREATE TEMP TABLE question AS
SELECT h, ARRAY(SELECT chr(97 + pg_temp.dice(h * 10 + k, 1, 2 + h % 2)::int) FROM generate_series(1, 1 + pg_temp.dice(h, 2, 5)) k) AS steps,
	pg_temp.dice(h, 3, 7) * interval '1 s' AS within, pg_temp.dice(h, 4, 8) AS events FROM generate_series(1, :histories) h;
CREATE TEMP TABLE ev AS
SELECT h, i AS id, timestamptz '2026-01-01' + pg_temp.dice(h * 100 + i, 5, 2 + h % 6) * interval '1 s' AS at, chr(97 + pg_temp.dice(h * 100 + i, 6, 2 + h % 2 + h % 3 / 2)::int) AS event
FROM question, generate_series(1, events) i;
ALTER TABLE ev ADD PRIMARY KEY (h, id); ANALYZE ev;
CREATE TEMP TABLE built AS
SELECT h, steps, within, coalesce(t, '{}') AS t FROM question LEFT JOIN (SELECT h, timeline_agg(at, event) AS t FROM ev GROUP BY h) s USING (h);

-- every chain: events for steps 1 … n in the order of time, within the window
CREATE TEMP TABLE chain AS
WITH RECURSIVE chain(h, n, ids, times) AS (
	SELECT h, 1, ARRAY[id], ARRAY[at] FROM question JOIN ev USING (h) WHERE event = steps[1]
	UNION ALL
	SELECT h, c.n + 1, ids || id, times || at FROM chain c JOIN question USING (h) JOIN ev USING (h)
	WHERE event = steps[c.n + 1] AND at >= times[c.n] AND at - times[1] <= within
)
SELECT h, n, times,
	(SELECT bool_and(times[k] < times[k + 1]) IS NOT FALSE FROM generate_series(1, n - 1) k) AS increasing,
	(SELECT count(DISTINCT i) = n FROM unnest(ids) i) AS once,
	NOT EXISTS (SELECT FROM ev x WHERE x.h = chain.h AND x.id <> ALL (ids) AND x.at > times[1] AND x.at < times[n]) AS undisturbed,
	NOT EXISTS (SELECT FROM ev x, generate_series(1, n) k WHERE x.h = chain.h AND x.id <> ALL (ids) AND x.event = steps[k] AND x.at > times[k] AND x.at < times[n]) AS unrepeated
FROM chain JOIN question USING (h);
CREATE INDEX ON chain (h); ANALYZE chain;

-- every mode: the longest chain that keeps its rules
CREATE TEMP TABLE mode AS
SELECT m, array_to_string(ARRAY[CASE WHEN m & 1 > 0 THEN 'strict_increase' END, CASE WHEN m & 2 > 0 THEN 'strict_deduplication' END,
	CASE WHEN m & 4 > 0 THEN 'strict_order' END, CASE WHEN m & 8 > 0 THEN 'strict_once' END], ',') AS mode FROM generate_series(0, 15) m;
CREATE TEMP TABLE expected AS
SELECT m, mode, h, coalesce(max(n), 0) AS reached FROM mode CROSS JOIN question q
LEFT JOIN chain c USING (h) WHERE c.h IS NULL OR (increasing OR m & 1 = 0) AND (unrepeated OR m & 2 = 0) AND (undisturbed OR m & 4 = 0) AND (once OR m & 8 = 0)
GROUP BY m, mode, h;
SELECT mode, count(*) >= 16000 AS many, min(reached) AS least, max(reached) >= 4 AS far, count(*) FILTER (WHERE window_funnel(t, steps, within, mode) IS DISTINCT FROM reached) AS wrong
FROM expected JOIN built USING (h) GROUP BY m, mode ORDER BY m;
-- nine of them differ: strict_increase has strict_once in it, and strict_order strict_deduplication
SELECT count(DISTINCT answers) AS different FROM (SELECT mode, string_agg(reached::text, '' ORDER BY h) AS answers FROM expected GROUP BY mode) s;
SELECT count(*) FILTER (WHERE window_funnel(t, steps, within, '') <> window_funnel(t, steps, within)) AS wrong FROM built;

-- funnel_times: of the longest chains the one with the earliest first step, of these the earliest second …
SELECT count(*) >= 16000 AS many, count(*) FILTER (WHERE funnel_times(t, steps, within) IS DISTINCT FROM coalesce(times, '{}')) AS wrong,
	count(*) FILTER (WHERE cardinality(funnel_times(t, steps, within)) IS DISTINCT FROM window_funnel(t, steps, within)) AS lengths
FROM built LEFT JOIN (SELECT DISTINCT ON (h) h, times FROM chain ORDER BY h, n DESC, times) c USING (h);
