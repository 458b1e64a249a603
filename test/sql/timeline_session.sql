-- timeline: gaps, sessions and paths, by example and against brute force (fixed seeds)
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set histories 8000
\getenv histories ORACLE_HISTORIES
\set fewer 3000
\getenv fewer ORACLE_HISTORIES

-- the example of the documentation
CREATE TEMP TABLE visit (person int, at timestamptz, event text, label text, value float8);
INSERT INTO visit VALUES
	(1, '2026-01-01 10:00+00', 'view', 'shoes', NULL), (1, '2026-01-03 10:00+00', 'cart', 'shoes', NULL),
	(1, '2026-01-03 10:05+00', 'purchase', 'shoes', 59.9), (2, '2026-01-02 09:00+00', 'view', 'hat', NULL),
	(1, '2026-02-01 08:00+00', 'view', 'hat', NULL);
CREATE TEMP TABLE history AS SELECT person, timeline_agg(at, event, label, value) AS t FROM visit GROUP BY person;
SELECT median_gap(t, 'view'), num_sessions(t, '30 min'), s.* FROM history, sessions(t, '30 min') s WHERE person = 1;
SELECT next_events(t, 'view', 2), previous_events(t, 'purchase', 5), next_events(t, 'refund', 1) FROM history WHERE person = 1;

-- a session breaks when more than the gap has passed
CREATE TEMP TABLE one AS SELECT '{2026-01-01T00:00:00Z "a", 2026-01-01T00:30:00Z "b", 2026-01-01T01:00:00.000001Z "c", 2026-01-01T01:00:00.000001Z "c", 2026-01-03T00:00:00Z "a"}'::timeline AS t;
SELECT gap, num_sessions(t, gap::interval), (SELECT string_agg(session || ': ' || events || ' ' || (ended_at - started_at), ', ') FROM sessions(t, gap::interval)) AS sessions
FROM one, unnest('{0,29:59.999999,30:00,30:00.000001,1 day,46:59:59.999999,2 days,1 month,1000 years}'::text[]) gap;
SELECT num_sessions('{}', '1 h'), count(*) FROM sessions('{}', '1 h');
SELECT num_sessions('{2026-01-01T00:00:00Z "a"}', '0'), s.* FROM sessions('{2026-01-01T00:00:00Z "a"}', '0') s;
SELECT num_sessions(NULL, '1 h') IS NULL, num_sessions('{}', NULL) IS NULL, (SELECT count(*) FROM sessions(NULL, '1 h')), (SELECT count(*) FROM sessions('{}', NULL));
-- the whole range of timestamps
SELECT num_sessions(t, '292000 years'), num_sessions(t, '1 day'), median_gap(t, 'a') FROM (SELECT '{-4713-11-24T00:00:00Z "a", 294276-12-31T23:59:59.999999Z "a"}'::timeline AS t) s;

-- median: odd and even numbers of gaps, none, ties
SELECT median_gap(t, 'a'), median_gap(t, 'b'), median_gap(t, 'c'), median_gap(t, 'zzz'), median_gap('{}', 'a') FROM one;
SELECT times, median_gap(timeline_agg(timestamptz '2026-01-01' + us * interval '1 us', 'e'), 'e') FROM unnest('{0 1,0 1 1,0 1 3,0 1 4,0 0 1,0 1 2 4 8,0 1 10 100 1000,0 86400000000 259200000001}'::text[]) times,
	unnest(string_to_array(times, ' ')::bigint[]) us GROUP BY times ORDER BY min(length(times)), times COLLATE "C";
SELECT median_gap(NULL, 'a') IS NULL, median_gap('{}', NULL) IS NULL;

-- paths: from the first occurrence, in the timeline's order
CREATE TEMP TABLE path AS SELECT '{2026-01-01T00:00:00Z "ad", 2026-01-02T00:00:00Z "view", 2026-01-03T00:00:00Z "view", 2026-01-03T00:00:00Z "cart", 2026-01-04T00:00:00Z "ad"}'::timeline AS t;
SELECT n, next_events(t, 'view', n), previous_events(t, 'view', n), next_events(t, 'ad', n), previous_events(t, 'ad', n), previous_events(t, 'cart', n) FROM path, unnest('{0,1,2,3,2147483647}'::int[]) n;
SELECT next_events(t, 'zzz', 3), previous_events(t, 'zzz', 0), next_events('{}', 'view', 3), next_events(NULL, 'view', 3), next_events(t, NULL, 3), previous_events(t, 'view', NULL) FROM path;
SELECT next_events(slice(t, '2026-01-03', NULL), 'view', 1), next_events(only_events(t, 'view', 'ad'), 'view', 9) FROM path;

\set VERBOSITY sqlstate
SELECT num_sessions(t, '-1 us') FROM one;
SELECT * FROM sessions('{}', '-1 us');
SELECT num_sessions(t, '300000 years') FROM one;
SELECT next_events(t, 'a', -1) FROM one;
SELECT previous_events(t, 'zzz', -1) FROM one;
\set VERBOSITY terse
SELECT num_sessions(t, '-1 us') FROM one;
SELECT next_events(t, 'a', -1) FROM one;
\set VERBOSITY default

-- random histories, times of every width and unit
CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;
CREATE TEMP TABLE ev AS
SELECT h, i AS id, timestamptz '2026-01-01' + pg_temp.dice(h * 1000 + i, 3, spread) * unit AS at, chr(97 + pg_temp.dice(h * 1000 + i, 4, 4)::int) AS event
FROM (SELECT h, (ARRAY['1 us', '1 ms', '1 s', '1 min', '1 h', '1 day'])[1 + pg_temp.dice(h, 1, 6)]::interval AS unit,
	(ARRAY[6, 40, 300, 70000])[1 + pg_temp.dice(h, 2, 4)]::bigint * CASE WHEN h % 7 = 0 THEN 100000 ELSE 1 END AS spread, CASE WHEN h % 50 = 0 THEN 400 ELSE pg_temp.dice(h, 6, 14) END AS n FROM generate_series(1, :histories) h) s, generate_series(1, n) i
WHERE spread * extract(epoch FROM unit) < 1e12;
CREATE TEMP TABLE built AS SELECT h, timeline_agg(at, event) AS t FROM ev GROUP BY h;
CREATE INDEX ON ev (h); ANALYZE ev, built;

-- median of the gaps by the definition
SELECT count(*) FILTER (WHERE median_gap(t, name) IS DISTINCT FROM expected) AS wrong, count(expected) > 6000 AS some, count(*) FILTER (WHERE expected IS NULL) > 6000 AS none
FROM built CROSS JOIN unnest('{a,b,e}'::text[]) name LEFT JOIN (
	SELECT h, event AS name, percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) AS expected
	FROM (SELECT h, event, at - lag(at) OVER (PARTITION BY h, event ORDER BY at) AS gap FROM ev) g GROUP BY h, event) x USING (h, name);
-- many gaps, most of them alike, or all different
SELECT kind, median_gap(t, 'e') = expected AS equal, num_events(t) FROM (
	SELECT kind, timeline_agg(at, 'e') AS t, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) FROM (SELECT at - lag(at) OVER (ORDER BY at) AS gap FROM unnest(array_agg(at)) at) g) AS expected
	FROM (SELECT kind, timestamptz '2026-01-01' + sum(CASE kind WHEN 'equal' THEN 7 WHEN 'two values' THEN CASE WHEN i % 2 = 0 THEN 3 ELSE 1000000007 END WHEN 'growing' THEN i * i WHEN 'low bytes' THEN i % 256 ELSE pg_temp.dice(i, 9, 1::bigint << 40) END) OVER (PARTITION BY kind ORDER BY i) * interval '1 us' AS at
		FROM unnest('{equal,two values,growing,low bytes,random}'::text[]) kind, generate_series(1, 3000) i) s GROUP BY kind) m ORDER BY kind;

-- sessions from the definition
CREATE TEMP TABLE question AS SELECT h, t, gap FROM built JOIN (
	SELECT DISTINCT ON (h) h, gap + CASE h % 3 WHEN 0 THEN interval '-1 us' WHEN 1 THEN interval '1 us' ELSE '0' END AS gap
	FROM (SELECT h, id, at - lag(at) OVER (PARTITION BY h ORDER BY at) AS gap FROM ev) g WHERE gap > '0' ORDER BY h, id) g USING (h);
CREATE TEMP TABLE expected AS
SELECT h, session, min(at) AS started_at, max(at) AS ended_at, count(*) AS events FROM (
	SELECT h, at, sum(CASE WHEN before IS NULL OR at - before > gap THEN 1 ELSE 0 END) OVER (PARTITION BY h ORDER BY at) AS session
	FROM (SELECT h, at, gap, lag(at) OVER (PARTITION BY h ORDER BY at) AS before FROM ev JOIN question USING (h)) b) s GROUP BY h, session;
SELECT count(*) > 30000 AS many, (SELECT count(*) FROM (SELECT h, s.* FROM question, sessions(t, gap) s EXCEPT SELECT * FROM expected) d) AS too_many,
	(SELECT count(*) FROM (SELECT * FROM expected EXCEPT SELECT h, s.* FROM question, sessions(t, gap) s) d) AS missing FROM expected;
SELECT count(*) FILTER (WHERE num_sessions(t, gap) <> n) AS wrong, max(n) > 100 AS many FROM question JOIN (SELECT h, count(*) AS n FROM expected GROUP BY h) e USING (h);

-- and over rows
SELECT count(*) > 30000 AS many, count(*) FILTER (WHERE session <> expected) AS wrong FROM (
	SELECT sessionize(at, gap) OVER (PARTITION BY h ORDER BY at) AS session, count(*) FILTER (WHERE before IS NULL OR at - before > gap) OVER (PARTITION BY h ORDER BY at) AS expected
	FROM (SELECT h, at, gap, lag(at) OVER (PARTITION BY h ORDER BY at) AS before FROM ev JOIN question USING (h)) b) s;

-- paths from the definition
CREATE TEMP TABLE place AS SELECT h, at, event, row_number() OVER (PARTITION BY h ORDER BY at, event COLLATE "C") AS place FROM ev;
CREATE INDEX ON place (h); ANALYZE place;
SELECT count(*) FILTER (WHERE next_events(t, name, n) IS DISTINCT FROM after) AS next_events, count(*) FILTER (WHERE previous_events(t, name, n) IS DISTINCT FROM before) AS previous_events, count(after) > 6000 AS some
FROM (SELECT t, name, n, CASE WHEN turn IS NOT NULL THEN ARRAY(SELECT event FROM place p WHERE p.h = b.h AND place > turn AND place <= turn + n ORDER BY place) END AS after,
	CASE WHEN turn IS NOT NULL THEN ARRAY(SELECT event FROM place p WHERE p.h = b.h AND place < turn AND place >= turn - n ORDER BY place) END AS before
	FROM built b CROSS JOIN unnest('{a,d,e}'::text[]) name CROSS JOIN unnest('{1,4}'::int[]) n CROSS JOIN LATERAL (SELECT min(place) AS turn FROM place p WHERE p.h = b.h AND event = name) f WHERE h <= :fewer) s;
