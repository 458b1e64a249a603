-- timeline: random histories against plain SQL and brute force (fixed seeds)
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set histories 6000
\getenv histories ORACLE_HISTORIES
\set fewer 1500
\getenv fewer ORACLE_HISTORIES

-- a number from 0 to below - 1, the same in every run
CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;

-- small histories with many ties, in units from 1 us to 1 day
CREATE TEMP TABLE history AS
SELECT h, (ARRAY['1 us', '1 ms', '250 ms', '1 s', '1 min', '1 h', '1 day'])[1 + pg_temp.dice(h, 1, 7)]::interval AS unit, pg_temp.dice(h, 2, 10) AS n
FROM generate_series(1, :histories) h;
CREATE TEMP TABLE ev AS
SELECT h, h * 100 + i AS id, timestamptz '2026-01-01' + pg_temp.dice(h, 3, 1000000) * interval '1 us' + pg_temp.dice(h * 100 + i, 4, 12) * unit AS at,
	chr(97 + pg_temp.dice(h * 100 + i, 5, 4)::int) AS event,
	CASE WHEN pg_temp.dice(h, 6, 3) > 0 THEN (ARRAY[NULL, '', 'x', 'y'])[1 + pg_temp.dice(h * 100 + i, 7, 4)] END AS label,
	CASE pg_temp.dice(h, 8, 5) WHEN 0 THEN NULL WHEN 1 THEN pg_temp.dice(h * 100 + i, 9, 9) WHEN 2 THEN (ARRAY[NULL, 0.1, 1234.56, -0.5])[1 + pg_temp.dice(h * 100 + i, 9, 4)]
		WHEN 3 THEN (ARRAY[NULL, 'NaN', 'Infinity', '-0', '0.5'])[1 + pg_temp.dice(h * 100 + i, 9, 5)]::float8 ELSE pg_temp.dice(h * 100 + i, 9, 1::bigint << 60) / 7.0 END AS value
FROM history, generate_series(1, n) i;
CREATE INDEX ON ev (h); ANALYZE ev;
CREATE TEMP TABLE built AS
SELECT h, unit, coalesce(t, '{}') AS t FROM history LEFT JOIN (SELECT h, timeline_agg(at, event, label, value) AS t FROM ev GROUP BY h) s USING (h);
SELECT count(*) >= 6000 AS many, sum(num_events(t)) = (SELECT count(*) FROM ev) AS all_there FROM built;

-- the funnel, from its definition: every chain of events, none left out
CREATE TEMP TABLE question AS
SELECT h, ARRAY(SELECT chr(97 + pg_temp.dice(h * 10 + k, 11, 5 - (h % 2))::int) FROM generate_series(1, pg_temp.dice(h, 12, 6)) k) AS steps,
	pg_temp.dice(h, 13, 10) * unit - CASE WHEN pg_temp.dice(h, 13, 10) > 0 AND h % 3 = 0 THEN interval '1 us' ELSE '0' END AS within
FROM history;
CREATE TEMP TABLE oracle AS
WITH RECURSIVE chain(h, reached, first_at, last_at) AS (
	SELECT h, 1, at, at FROM question JOIN ev USING (h) WHERE event = steps[1]
	UNION
	SELECT h, reached + 1, first_at, at FROM chain JOIN question USING (h) JOIN ev USING (h)
	WHERE event = steps[reached + 1] AND at >= last_at AND at - first_at <= within
)
SELECT h, coalesce(max(reached), 0) AS reached FROM question LEFT JOIN chain USING (h) GROUP BY h;
SELECT reached, count(*) >= 30 AS many, count(*) FILTER (WHERE window_funnel(t, steps, within) IS DISTINCT FROM reached) AS wrong
FROM oracle JOIN question USING (h) JOIN built USING (h) GROUP BY reached ORDER BY reached;
-- the same with wider codes (many names), wider times (an event a century earlier) and other columns
SELECT count(*) FILTER (WHERE window_funnel(t || more, steps, within) IS DISTINCT FROM reached) AS wrong
FROM oracle JOIN question USING (h) JOIN built USING (h),
	(SELECT timeline_agg(timestamptz '1926-01-01' + i * interval '1 us', 'name ' || i) AS more FROM generate_series(1, 300) i) m WHERE h <= 400;
SELECT count(*) FILTER (WHERE window_funnel(t || more, steps, within) IS DISTINCT FROM reached) AS wrong
FROM oracle JOIN question USING (h) JOIN built USING (h),
	(SELECT timeline_agg(timestamptz '1926-01-01', 'name ' || i) AS more FROM generate_series(1, 70000) i) m WHERE h <= 20;

-- back to rows, and the questions without a name
SELECT count(*) AS differences FROM (
	(SELECT h, at, event, label, value::text FROM ev EXCEPT ALL SELECT h, e.at, e.event, e.label, e.value::text FROM built, timeline_events(t) e) UNION ALL
	(SELECT h, e.at, e.event, e.label, e.value::text FROM built, timeline_events(t) e EXCEPT ALL SELECT h, at, event, label, value::text FROM ev)) d;
SELECT count(*) FILTER (WHERE num_events(t) <> n) AS num_events, count(*) FILTER (WHERE first_at(t) IS DISTINCT FROM first) AS first_at, count(*) FILTER (WHERE last_at(t) IS DISTINCT FROM last) AS last_at,
	count(*) FILTER (WHERE active_days(t) <> days) AS active_days, count(*) FILTER (WHERE active_days(t, NULL, 'Asia/Tokyo') <> tdays) AS active_days_tz, count(*) >= 6000 AS many
FROM built JOIN (SELECT h, count(at) AS n, min(at) AS first, max(at) AS last, count(DISTINCT at::date) AS days, count(DISTINCT (at AT TIME ZONE 'Asia/Tokyo')::date) AS tdays FROM history LEFT JOIN ev USING (h) GROUP BY h) e USING (h);

-- every other question, against the rows
SELECT count(*) FILTER (WHERE num_events(t, name) <> n) AS num_events, count(*) FILTER (WHERE num_events(t, name, 'x') <> nx OR num_events(t, name, '') <> nempty) AS num_events_label,
	count(*) FILTER (WHERE total(t, name) <> sum) AS total, count(*) FILTER (WHERE total(t, name, 'x') <> sumx) AS total_label,
	count(*) FILTER (WHERE first_at(t, name) IS DISTINCT FROM first) AS first_at, count(*) FILTER (WHERE last_at(t, name) IS DISTINCT FROM last) AS last_at,
	count(*) FILTER (WHERE first_label(t, name) IS DISTINCT FROM flabel) AS first_label, count(*) FILTER (WHERE last_label(t, name) IS DISTINCT FROM llabel) AS last_label,
	count(*) FILTER (WHERE top_label(t, name) IS DISTINCT FROM top) AS top_label,
	count(*) FILTER (WHERE active_days(t, name) <> days) AS active_days, count(*) FILTER (WHERE active_days(t, name, 'Asia/Tokyo') <> tdays) AS active_days_tz, count(*) > 4000 AS many
FROM built JOIN (
	SELECT h, name, count(at) AS n, count(at) FILTER (WHERE label = 'x') AS nx, count(at) FILTER (WHERE label = '') AS nempty,
		coalesce(sum(value ORDER BY at, event, label COLLATE "C" NULLS FIRST, value NULLS FIRST), 0) AS sum,
		coalesce(sum(value ORDER BY at, event, value NULLS FIRST) FILTER (WHERE label = 'x'), 0) AS sumx, min(at) AS first, max(at) AS last,
		(array_agg(label ORDER BY at, label COLLATE "C") FILTER (WHERE label IS NOT NULL))[1] AS flabel,
		(array_agg(label ORDER BY at DESC, label COLLATE "C" DESC) FILTER (WHERE label IS NOT NULL))[1] AS llabel,
		(SELECT label FROM ev e WHERE e.h = g.h AND e.event = g.name AND label IS NOT NULL GROUP BY label ORDER BY count(*) DESC, label COLLATE "C" LIMIT 1) AS top,
		count(DISTINCT at::date) AS days, count(DISTINCT (at AT TIME ZONE 'Asia/Tokyo')::date) AS tdays
	FROM (SELECT h, chr(97 + k) AS name FROM history, generate_series(0, 4) k WHERE h <= :fewer) g LEFT JOIN (SELECT h, event AS name, at, event, label, value FROM ev) e USING (h, name) GROUP BY h, name
) expected USING (h);
SELECT count(*) FILTER (WHERE slice(t, a, b) <> coalesce(expected, '{}')) AS slice, count(*) >= 1000 AS many
FROM (SELECT h, t, a, b, (SELECT timeline_agg(at, event, label, value) FROM ev WHERE ev.h = built.h AND (at >= a OR a IS NULL) AND (at < b OR b IS NULL)) AS expected
	FROM built, LATERAL (SELECT CASE WHEN pg_temp.dice(h, 23, 10) > 0 THEN timestamptz '2026-01-01' + pg_temp.dice(h, 3, 1000000) * interval '1 us' + pg_temp.dice(h, 21, 12) * unit END AS a,
		CASE WHEN pg_temp.dice(h, 24, 10) > 0 THEN timestamptz '2026-01-01' + pg_temp.dice(h, 3, 1000000) * interval '1 us' + pg_temp.dice(h, 22, 14) * unit END AS b) r WHERE h <= :fewer) s;
SELECT count(*) FILTER (WHERE only_events(t, 'b', 'd', 'zzz') <> coalesce(expected, '{}')) AS only_events, count(*) >= 1000 AS many
FROM (SELECT t, (SELECT timeline_agg(at, event, label, value) FROM ev WHERE ev.h = built.h AND event IN ('b', 'd')) AS expected FROM built WHERE h <= :fewer) s;

-- rows → timeline → rows, exactly: years 1 … 9999, microseconds, any text, NULL and '' apart
CREATE TEMP TABLE wide AS
SELECT i % 50 AS h, timestamptz '0001-01-01' + pg_temp.dice(i, 31, 315537897600000000) / (ARRAY[1, 1000, 1000000, 3600000000])[1 + i % 4] * (ARRAY[1, 1000, 1000000, 3600000000])[1 + i % 4] * interval '1 us' AS at,
	(ARRAY['view', 'VIEW', '', 'naïve ☃ 購物車', E'quo"te\\ \'', E'line\nbreak\t', '{a,"b"}=[c] Z', repeat('long', 100)])[1 + pg_temp.dice(i, 32, 8)] AS event,
	(ARRAY[NULL, '', ' ', '"', ']', 'NULL', chr(128512), 'x' || i])[1 + pg_temp.dice(i, 33, 8)] AS label,
	(ARRAY[NULL, 0, '-0', 'NaN', '-Infinity', 1e-310, 0.1::float4::float8, pg_temp.dice(i, 35, 1000000) / 100.0, 2147483647, -2147483648, 2147483648])[1 + pg_temp.dice(i, 34, 11)]::float8 AS value
FROM generate_series(1, 20000) i;
CREATE TEMP TABLE wide_built AS SELECT h, timeline_agg(at, event, label, value) AS t FROM wide GROUP BY h;
SELECT count(*) AS differences FROM (
	(SELECT h, at, event, label, value::text FROM wide EXCEPT ALL SELECT h, e.at, e.event, e.label, e.value::text FROM wide_built, timeline_events(t) e) UNION ALL
	(SELECT h, e.at, e.event, e.label, e.value::text FROM wide_built, timeline_events(t) e EXCEPT ALL SELECT h, at, event, label, value::text FROM wide)) d;
-- in the documented order
SELECT count(*) AS out_of_order FROM (
	SELECT ordinality, row_number() OVER (PARTITION BY h ORDER BY at, event COLLATE "C", label COLLATE "C" NULLS FIRST, value NULLS FIRST, value::text COLLATE "C", ordinality) AS expected
	FROM wide_built, timeline_events(t) WITH ORDINALITY e) s WHERE ordinality <> expected;
-- one column at a time, every encoding of values alone
SELECT kind, count(*) FILTER (WHERE back IS DISTINCT FROM given) AS wrong, max(length(t::bytea)) AS bytes FROM (
	SELECT kind, t, given, (SELECT array_agg(value::text ORDER BY at) FROM timeline_events(t)) AS back FROM (
		SELECT kind, timeline_agg(at, 'e', value) AS t, array_agg(value::text ORDER BY at) AS given FROM (
			SELECT kind, i / 100 AS h, timestamptz '2026-01-01' + i * interval '1 s' AS at, CASE WHEN pg_temp.dice(i, 41, 3) > 0 THEN CASE kind
				WHEN 'small integers' THEN pg_temp.dice(i, 42, 255) - 127 WHEN 'integers' THEN pg_temp.dice(i, 42, 65535) - 32767 WHEN 'large integers' THEN pg_temp.dice(i, 42, 4294967295) - 2147483647
				WHEN 'prices' THEN pg_temp.dice(i, 42, 1000000) / 100.0 WHEN 'millionths' THEN pg_temp.dice(i, 42, 1000000000) / 1e6 WHEN 'float4' THEN (pg_temp.dice(i, 42, 1000000) / 7.0)::float4::float8
				ELSE pg_temp.dice(i, 42, 1000000) / 7.0 END::float8 END AS value
			FROM unnest('{small integers,integers,large integers,prices,millionths,float4,float8}'::text[]) kind, generate_series(1, 9999) i) r
		GROUP BY kind, h) s) b GROUP BY kind ORDER BY 3, 1;

-- text and binary forms read back to the same bytes, whatever the settings
SET extra_float_digits = -15; SET timezone = 'Asia/Kolkata'; SET datestyle = 'German';
SELECT count(*) FILTER (WHERE t::text::timeline <> t) AS text, count(*) FILTER (WHERE t::bytea::timeline <> t) AS binary,
	count(*) FILTER (WHERE t::text::timeline::bytea <> t::bytea) AS bytes FROM (SELECT t FROM built UNION ALL SELECT t FROM wide_built) s;
RESET extra_float_digits; SET timezone = 'UTC'; RESET datestyle;

-- any order of arrival, any tree of merges: the same bytes
SELECT count(*) FILTER (WHERE t <> asc_t) AS ascending, count(*) FILTER (WHERE t <> desc_t) AS descending, count(*) FILTER (WHERE t <> mixed_t) AS mixed FROM wide_built JOIN (
	SELECT h, timeline_agg(at, event, label, value ORDER BY at) AS asc_t, timeline_agg(at, event, label, value ORDER BY at DESC, event DESC) AS desc_t,
		timeline_agg(at, event, label, value ORDER BY hashfloat8(value), label, at) AS mixed_t FROM wide GROUP BY h) s USING (h);
SELECT parts, count(*) FILTER (WHERE t <> merged) AS wrong FROM wide_built JOIN (
	SELECT parts, h, timeline_agg(part ORDER BY hashtext(parts || ' ' || p)) AS merged FROM (
		SELECT parts, h, id % parts AS p, timeline_agg(at, event, label, value) AS part FROM (SELECT *, row_number() OVER (PARTITION BY h) AS id FROM wide) w, unnest('{1,2,3,7,100}'::int[]) parts GROUP BY 1, 2, 3) g
	GROUP BY parts, h) s USING (h) GROUP BY parts ORDER BY parts;
SELECT count(*) FILTER (WHERE a || b || c <> t) AS left_first, count(*) FILTER (WHERE c || (b || a) <> t) AS right_first,
	count(*) FILTER (WHERE (SELECT timeline_agg(p) FROM unnest(ARRAY[b, c, a]) p) <> t) AS all_at_once FROM built JOIN (
	SELECT h, coalesce(timeline_agg(at, event, label, value) FILTER (WHERE id % 3 = 0), '{}') AS a, coalesce(timeline_agg(at, event, label, value) FILTER (WHERE id % 3 = 1), '{}') AS b,
		coalesce(timeline_agg(at, event, label, value) FILTER (WHERE id % 3 = 2), '{}') AS c FROM ev GROUP BY h) s USING (h);
-- a state that is asked for its value again and again while it grows
SELECT count(*) FILTER (WHERE t <> expected) AS wrong, count(*) FROM (
	SELECT timeline_agg(at, event, label, value) OVER (ORDER BY id) AS t, id FROM (SELECT *, row_number() OVER () AS id FROM wide WHERE h = 7) w) s
	JOIN LATERAL (SELECT timeline_agg(at, event, label, value) AS expected FROM (SELECT *, row_number() OVER () AS id FROM wide WHERE h = 7) w WHERE w.id <= s.id) e ON s.id % 10 = 0;

-- parallel workers give the same bytes
ANALYZE wide;
CREATE TABLE wide_shared AS SELECT * FROM wide; ALTER TABLE wide_shared SET (parallel_workers = 3); ANALYZE wide_shared;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 3;
EXPLAIN (COSTS off) SELECT timeline_agg(at, event, label, value) FROM wide_shared;
CREATE TEMP TABLE answers AS SELECT (SELECT timeline_agg(at, event, label, value) FROM wide_shared) AS parallel;
SET max_parallel_workers_per_gather = 0;
SELECT parallel = (SELECT timeline_agg(at, event, label, value) FROM wide_shared) AS rows, parallel = (SELECT timeline_agg(t) FROM wide_built) AS merged, num_events(parallel) FROM answers;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
DROP TABLE wide_shared;

-- many groups at once: hashed, hashed in small memory (groups come and go), sorted, in grouping sets
CREATE TEMP TABLE many AS SELECT timestamptz '2026-01-01' + pg_temp.dice(i, 71, 1000000) * interval '1 s' AS at, 'e' || pg_temp.dice(i, 72, 12) AS event, pg_temp.dice(i, 73, 20000) AS h FROM generate_series(1, 60000) i;
ANALYZE many;
SET enable_sort = off; SET work_mem = '1GB';
EXPLAIN (COSTS off) SELECT h, timeline_agg(at, event) AS t FROM many GROUP BY h;
CREATE TEMP TABLE hashed AS SELECT h, timeline_agg(at, event) AS t FROM many GROUP BY h;
SET work_mem = '64kB'; SET hash_mem_multiplier = 1;
CREATE TEMP TABLE spilled AS SELECT h, timeline_agg(at, event) AS t FROM many GROUP BY h;
CREATE TEMP TABLE sets AS SELECT h, event, timeline_agg(at, event) AS t FROM many GROUP BY GROUPING SETS ((h), (event), ());
RESET enable_sort; SET enable_hashagg = off; SET work_mem = '1GB';
CREATE TEMP TABLE sorted AS SELECT h, timeline_agg(at, event) AS t FROM many GROUP BY h;
RESET enable_hashagg; RESET work_mem; RESET hash_mem_multiplier;
SELECT count(*) AS groups, sum(num_events(a.t)) AS events, count(*) FILTER (WHERE a.t <> b.t) AS spilled, count(*) FILTER (WHERE a.t <> c.t) AS sorted, count(*) FILTER (WHERE a.t <> d.t) AS sets
FROM hashed a JOIN spilled b USING (h) JOIN sorted c USING (h) JOIN sets d USING (h);
SELECT (SELECT timeline_agg(t) FROM sets WHERE event IS NOT NULL) = t AND (SELECT timeline_agg(t) FROM hashed) = t AS equal FROM sets WHERE h IS NULL AND event IS NULL;

-- changed bytes are refused or a timeline, never a crash: accepted ones say the same again
CREATE FUNCTION pg_temp.read(b bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t timeline;
BEGIN
	t := b::timeline;
	IF t::bytea <> b THEN RETURN 'changed when read'; END IF;
	IF t::text::timeline <> t THEN RETURN 'text differs'; END IF;
	IF coalesce((SELECT timeline_agg(e.at, e.event, e.label, e.value) FROM timeline_events(t) e), '{}') <> t THEN RETURN 'not canonical'; END IF;
	PERFORM window_funnel(t, '{a,b,c}', '1 day'), total(t, 'a'), top_label(t, 'b'), active_days(t);
	RETURN 'accepted';
EXCEPTION
	WHEN invalid_binary_representation OR character_not_in_repertoire THEN RETURN 'refused';
END $$;
SELECT read, count(*) > 100 AS many FROM (
	SELECT pg_temp.read(set_byte(b, pos, CASE WHEN h % 2 = 0 THEN pg_temp.dice(h, 51, 256)::int ELSE get_byte(b, pos) # (1 << pg_temp.dice(h, 52, 8)::int) END)) AS read
	FROM (SELECT h, t::bytea AS b, pg_temp.dice(h * 7 + k, 53, length(t::bytea))::int AS pos FROM built, generate_series(1, 2) k) s) r GROUP BY read ORDER BY read;
-- two bytes changed, the head more often
SELECT read, count(*) > 10 AS many FROM (
	SELECT pg_temp.read(set_byte(set_byte(b, pos, pg_temp.dice(h, 61, 256)::int), pos2, pg_temp.dice(h, 62, 4)::int)) AS read
	FROM (SELECT h, t::bytea AS b, pg_temp.dice(h, 63, length(t::bytea))::int AS pos, pg_temp.dice(h, 64, least(100, length(t::bytea)))::int AS pos2 FROM built) s) r GROUP BY read ORDER BY read;
-- cut off anywhere, something put in anywhere, zeroed words
SELECT read, count(*) FROM (SELECT pg_temp.read(substr(b, 1, n)) AS read FROM (SELECT t::bytea AS b FROM built WHERE h IN (5, 17, 123)) s, generate_series(0, length(b) - 1) n) r GROUP BY read ORDER BY read;
SELECT read, count(*) FROM (SELECT pg_temp.read(substr(b, 1, n) || '\x00' || substr(b, n + 1)) AS read FROM (SELECT t::bytea AS b FROM built WHERE h IN (5, 17, 123)) s, generate_series(0, length(b)) n) r GROUP BY read ORDER BY read;
SELECT read, count(*) > 0 AS some FROM (SELECT pg_temp.read(substr(b, 1, 4 * n) || f || substr(b, 4 * n + 5)) AS read FROM (SELECT t::bytea AS b FROM built WHERE h IN (5, 17, 123)) s, generate_series(0, length(b) / 4 - 1) n,
	unnest('{"\\xffffffff","\\x7fffffff","\\xffffff7f","\\x00000080","\\x00000000"}'::bytea[]) f) r GROUP BY read ORDER BY read;
