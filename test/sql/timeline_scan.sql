-- timeline: long histories, and histories stored in every way a row can hold them, give the same answers (fixed seeds)
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;

-- 1 … 3,000 events; times of every width, from all alike to all different
CREATE TEMP TABLE ev AS
SELECT h, timestamptz '2026-01-01' + pg_temp.dice(h * 10000 + i, 3, spread) * unit AS at, chr(97 + pg_temp.dice(h * 10000 + i, 4, 6)::int) AS event,
	CASE WHEN h % 2 = 0 THEN (ARRAY[NULL, 'x', 'y'])[1 + pg_temp.dice(h * 10000 + i, 5, 3)] END AS label, CASE WHEN h % 3 = 0 THEN pg_temp.dice(h * 10000 + i, 6, 100) END AS value
FROM (SELECT h, (ARRAY['1 us', '1 s', '1 day'])[1 + pg_temp.dice(h, 1, 3)]::interval AS unit, (ARRAY[10, 250, 5000, 100000])[1 + pg_temp.dice(h, 2, 4)] AS spread,
	(ARRAY[1, 5, 60, 64, 65, 200, 1000, 3000])[1 + h % 8] AS n FROM generate_series(1, 320) h) s, generate_series(1, n) i;
CREATE TEMP TABLE built AS SELECT h, timeline_agg(at, event, label, value) AS t FROM ev GROUP BY h;

-- the funnel over different names has a pass of its own: more than 256 names keep to the general one
CREATE TEMP TABLE question AS
SELECT h, k, steps[1:1 + pg_temp.dice(h * 10 + k, 12, 6)] AS steps, pg_temp.dice(h * 10 + k, 13, 20) * pg_temp.dice(h, 14, 1000) * (ARRAY['1 us', '1 s', '1 day'])[1 + pg_temp.dice(h, 1, 3)]::interval / 100 AS within
FROM (SELECT h, k, array_agg(s ORDER BY pg_temp.dice(h * 1000 + k * 10 + ascii(s), 11, 1000)) AS steps FROM generate_series(1, 320) h, generate_series(1, 5) k, unnest('{a,b,c,d,e,f}'::text[]) s GROUP BY h, k) s;
SELECT count(*) FILTER (WHERE window_funnel(t, steps, within) <> window_funnel(t || more, steps, within)) AS wrong, count(*) FILTER (WHERE window_funnel(t, steps, within) < cardinality(steps)) > 100 AS not_all, count(*) > 1000 AS many
FROM question JOIN built USING (h), (SELECT timeline_agg(timestamptz '1926-01-01' + i * interval '1 us', 'name ' || i) AS more FROM generate_series(1, 300) i) m;
-- no window at all, and the longest
SELECT count(*) FILTER (WHERE window_funnel(t, steps, '0') <> window_funnel(t || more, steps, '0')) AS wrong, count(*) FILTER (WHERE window_funnel(t, steps, '290000 years') <> window_funnel(t || more, steps, '290000 years')) AS wrong
FROM question JOIN built USING (h), (SELECT timeline_agg(timestamptz '1926-01-01' + i * interval '1 us', 'name ' || i) AS more FROM generate_series(1, 300) i) m WHERE k = 1;
SELECT window_funnel('{-4713-11-24T00:00:00Z "a", 294276-12-31T23:59:59.999999Z "b"}', '{a,b}', '290000 years'), window_funnel('{0001-01-01T00:00:00Z "a", 9999-12-31T23:59:59.999999Z "b"}', '{a,b}', '290000 years'),
	window_funnel('{0001-01-01T00:00:00Z "b", 0001-01-01T00:00:00Z "c", 9999-12-31T23:59:59.999999Z "a"}', '{c,b,a}', '290000 years');

-- short header, plain, out of line, compressed, compressed out of line
CREATE TABLE plain(h int, t timeline) WITH (toast_tuple_target = 8160);
CREATE TABLE outside(h int, t timeline);
CREATE TABLE compressed(h int, t timeline) WITH (toast_tuple_target = 128); ALTER TABLE compressed ALTER COLUMN t SET STORAGE EXTENDED;
CREATE TABLE kept(h int, t timeline); ALTER TABLE kept ALTER COLUMN t SET STORAGE MAIN;
INSERT INTO plain SELECT * FROM built; INSERT INTO outside SELECT * FROM built; INSERT INTO compressed SELECT * FROM built; INSERT INTO kept SELECT * FROM built;
SELECT count(*) FILTER (WHERE pg_column_size(p.t) < 127) > 10 AS short, count(*) FILTER (WHERE pg_column_size(c.t) < pg_column_size(o.t)) > 10 AS compressed,
	pg_relation_size('plain') > pg_relation_size('outside') AS inline FROM plain p JOIN outside o USING (h) JOIN compressed c USING (h);
SELECT store, count(*), count(*) FILTER (WHERE num_events(s.t) <> n) AS num_events, count(*) FILTER (WHERE first_at(s.t) <> first) AS first_at, count(*) FILTER (WHERE last_at(s.t) <> last) AS last_at,
	count(*) FILTER (WHERE num_events(s.t, 'b') <> nb) AS num_events_b, count(*) FILTER (WHERE num_events(s.t, 'b', 'x') <> nbx) AS num_events_bx, count(*) FILTER (WHERE last_at(s.t, 'b') IS DISTINCT FROM last_b) AS last_at_b,
	count(*) FILTER (WHERE total(s.t, 'b') <> sum) AS total, count(*) FILTER (WHERE s.t <> b.t) AS different, count(*) FILTER (WHERE num_sessions(s.t, '1 h') <> num_sessions(b.t, '1 h')) AS num_sessions
FROM (SELECT 'plain' AS store, * FROM plain UNION ALL SELECT 'outside', * FROM outside UNION ALL SELECT 'compressed', * FROM compressed UNION ALL SELECT 'kept', * FROM kept) s JOIN built b USING (h)
	JOIN (SELECT h, count(*) AS n, min(at) AS first, max(at) AS last, count(*) FILTER (WHERE event = 'b') AS nb, count(*) FILTER (WHERE event = 'b' AND label = 'x') AS nbx, max(at) FILTER (WHERE event = 'b') AS last_b,
		coalesce(sum(value) FILTER (WHERE event = 'b'), 0) AS sum FROM ev GROUP BY h) r USING (h) GROUP BY store ORDER BY store;
-- every width of times and of names: events of other names change the widths, and no answer
CREATE TEMP TABLE narrow AS
SELECT h, timeline_agg(timestamptz '2026-01-01' + pg_temp.dice(h * 100 + i, 21, 200) * interval '1 s', chr(97 + pg_temp.dice(h * 100 + i, 22, 4)::int)) AS t FROM generate_series(1, 20) h, generate_series(1, 16) i GROUP BY h;
SELECT names, span, count(*) FILTER (WHERE window_funnel(n.t, '{a,b,c,d}', '60 s') <> window_funnel(w.t, '{a,b,c,d}', '60 s')) AS funnel,
	count(*) FILTER (WHERE window_funnel(n.t, '{a,b,a}', '20 s') <> window_funnel(w.t, '{a,b,a}', '20 s')) AS repeated, count(*) FILTER (WHERE retention(n.t, 'a', 'b', 30, '7 s') <> retention(w.t, 'a', 'b', 30, '7 s')) AS retention,
	count(DISTINCT window_funnel(n.t, '{a,b,c,d}', '60 s')) > 1 AND count(DISTINCT retention(n.t, 'a', 'b', 30, '7 s')) > 5 AS differ, round(avg(pg_column_size(w.t)) / avg(num_events(w.t))) AS bytes
FROM (VALUES (200), (300), (70000)) x(names), (VALUES (200), (60000), (100000000), (2000000000000000)) y(span), LATERAL (
	SELECT timeline_agg(timestamptz '2026-01-01' + (i % 200) * (span / 200) * CASE WHEN span > 1000000000 THEN interval '1 us' ELSE interval '1 s' END + CASE WHEN span > 1000000000 THEN i * interval '1 us' ELSE '0' END, 'name ' || i) AS t
	FROM generate_series(1, names) i) noise, narrow n, LATERAL (SELECT n.t || noise.t AS t OFFSET 0) w GROUP BY names, span ORDER BY names, span;
DROP TABLE narrow;
-- a slice of a long history out of line reads what it needs; the same answers as in memory
CREATE TABLE long(h int, t timeline);
INSERT INTO long SELECT h, timeline_agg(timestamptz '2026-01-01' + pg_temp.dice(i, 81 + h, spread) * unit, 'e' || pg_temp.dice(i, 91, names), CASE WHEN h % 2 = 0 THEN 'l' || pg_temp.dice(i, 92, 3000) END, CASE WHEN h % 3 = 0 THEN pg_temp.dice(i, 93, 100000) / 7.0 END)
FROM (VALUES (1, interval '1 us', 3600000000000, 5), (2, '1 s', 1000000, 300), (3, '1 min', 60000, 3), (4, '1 day', 200, 70000), (6, '1 ms', 1000000000000, 1)) v(h, unit, spread, names), generate_series(1, 30000) i GROUP BY h;
INSERT INTO long SELECT h + 10, t FROM long; ALTER TABLE long ALTER COLUMN t SET STORAGE EXTENDED; INSERT INTO long SELECT h + 20, timeline_merge(t, '{}') FROM long WHERE h < 10;
SELECT min(pg_column_size(l.t)) > 131072 AS all_are_long, count(*) FILTER (WHERE slice(l.t, since, until) <> (SELECT coalesce(timeline_agg(at, event, label, value), '{}') FROM timeline_events(whole) WHERE at >= since AND at < until)) AS wrong,
	count(*) FILTER (WHERE slice(l.t, since, NULL) || slice(l.t, NULL, since) <> whole) AS open, count(*) FILTER (WHERE num_events(slice(l.t, since, until)) BETWEEN 1 AND 29999) > 8 AS some, count(*)
FROM long l, LATERAL (SELECT timeline_merge(l.t, '{}') AS whole, first_at(l.t) AS a, last_at(l.t) AS b OFFSET 0) w, (VALUES (1)) k(k),
	LATERAL (SELECT a + pg_temp.dice(l.h * 10 + k, 83, 500) / 1000.0 * (b - a) AS since, a + (pg_temp.dice(l.h * 10 + k, 84, 900) + 100) / 1000.0 * (b - a) AS until) r;
SELECT count(*) FILTER (WHERE slice(t, '-infinity', 'infinity') = t AND slice(t, first_at(t), NULL) = t AND slice(t, '-infinity', last_at(t)) || slice(t, last_at(t), 'infinity') = t AND slice(t, last_at(t) + interval '1 us', NULL) = '{}' AND slice(t, NULL, first_at(t)) = '{}') AS same FROM long;
DROP TABLE long;
-- values in every width of signed and unsigned integers, with and without NULL, at the edges
SELECT low, high, length(t::bytea) - length(bare::bytea) AS more_bytes, back = given AS same, t = t::text::timeline AS text, t = t::bytea::timeline AS binary, total(t, 'e') = sum AS total
FROM (SELECT low, high, timeline_agg(at, 'e', v) AS t, timeline_agg(at, 'e') AS bare, array_agg(v ORDER BY at) AS given, sum(v) AS sum
	FROM (VALUES (0, 127), (0, 128), (0, 254), (0, 255), (-1, 254), (-127, 127), (-128, 0), (-128, 254), (0, 32767), (0, 32768), (0, 65534), (0, 65535), (-1, 65534), (-32767, 32767), (-32768, 0), (0, 2147483647), (-2147483647, 0), (0, 2147483648)) r(low, high),
		LATERAL (SELECT timestamptz '2026-01-01' + i * interval '1 s' AS at, CASE i % 3 WHEN 0 THEN low WHEN 1 THEN high ELSE NULL END::float8 AS v FROM generate_series(0, 79) i) e GROUP BY low, high) s,
	LATERAL (SELECT array_agg(value ORDER BY at) AS back FROM timeline_events(t)) b ORDER BY high - low, low;
-- a state that is still growing, and nothing
SELECT n, num_events, first_at, last_at FROM (SELECT i AS n, num_events(timeline_agg(at, 'e') OVER w), first_at(timeline_agg(at, 'e') OVER w), last_at(timeline_agg(at, 'e') OVER w)
	FROM (SELECT i, timestamptz '2026-01-10' - i * interval '1 day' AS at FROM generate_series(1, 3) i) s WINDOW w AS (ORDER BY i)) s;
SELECT num_events('{}'), first_at('{}') IS NULL, last_at('{}') IS NULL, num_events('{}', 'a'), total('{}', 'a');
DROP TABLE plain, outside, compressed, kept;
-- as much as fits into 1 GB (4 GB of memory while it is built, so only in make test-oracle): 44 million events of 24 bytes do, 45 million do not, nor do names of 1.1 GB
\getenv histories ORACLE_HISTORIES
\if :{?histories}
DO $$
DECLARE
	t timeline;
BEGIN
	SELECT timeline_agg(timestamptz '2026-01-01' + i * interval '5000 s 1 us', 'e' || i % 70000, 'l' || i % 70000, i / 7.0) INTO t FROM generate_series(1, 1000000) i;
	ASSERT (SELECT num_events(timeline_agg(t)) FROM generate_series(1, 44)) = 44000000;
	BEGIN
		PERFORM timeline_agg(t) FROM generate_series(1, 45);
		ASSERT false, '45 million events fit';
	EXCEPTION WHEN program_limit_exceeded THEN NULL;
	END;
	BEGIN
		PERFORM timeline_agg('2026-01-01', i || repeat('x', 100000000)) FROM generate_series(1, 11) i;
		ASSERT false, 'names of 1.1 GB fit';
	EXCEPTION WHEN program_limit_exceeded THEN NULL;
	END;
END $$;
\endif
