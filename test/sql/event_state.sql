-- window_funnel, retention, sequence_match, sequence_count over rows, sessionize: published cases, overloads, the state type, errors
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';

-- ClickHouse, documentation of windowFunnel: one user's chain, in four days
CREATE TEMP TABLE trend(at timestamptz, event int);
INSERT INTO trend VALUES ('2019-01-29 10:00', 1003), ('2019-01-31 09:00', 1007), ('2019-01-30 08:00', 1009), ('2019-02-01 08:00', 1010);
SELECT window_funnel('70 days', '', at, event = 1003, event = 1009, event = 1007, event = 1010) FROM trend;
-- windows are inclusive; NULL conditions do not hold; a NULL time is no event
SELECT within, window_funnel(within, '', at, event = 1003, event = 1009) AS inclusive, window_funnel(within, '', at, event = 1003, nullif(event, 1009) = 1009) AS with_null FROM trend, unnest('{22:00,21:59:59.999999}'::interval[]) within GROUP BY within ORDER BY within;
SELECT window_funnel('1 day', '', CASE WHEN event <> 1003 THEN at END, event = 1003, event = 1009) FROM trend;
-- StarRocks and Doris, documentation of window_funnel: A-B-C-B-D and A-B-D-C
CREATE FUNCTION pg_temp.letters(h text) RETURNS TABLE (at timestamptz, event text) LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '2020-01-02' + n * interval '1 min', e FROM unnest(string_to_array(h, '-')) WITH ORDINALITY u(e, n) $$;
SELECT h, mode, (SELECT window_funnel('1 h', mode, at, event = 'A', event = 'B', event = 'C', event = 'D') FROM pg_temp.letters(h)) FROM unnest('{A-B-C-B-D,A-B-D-C,A-B-C-D,A-X-B-C-D,B-A-C-D}'::text[]) h, unnest(ARRAY['', 'strict_deduplication', 'strict_order', 'strict_increase', 'strict_once']) mode;
-- one row, several steps
SELECT window_funnel('0', '', at, true, true, true), window_funnel('0', 'strict_once', at, true, true, true), window_funnel('0', 'strict_increase', at, true, true, true) FROM trend WHERE event = 1003;
-- ClickHouse, documentation of sequenceMatch and sequenceCount
CREATE TEMP TABLE seq AS SELECT timestamptz '2026-01-01' + t * interval '1 s' AS at, n FROM (VALUES (1, 1), (2, 3), (3, 2)) v(t, n);
SELECT sequence_match('(?1)(?2)', at, n = 1, n = 2), sequence_match('(?1)(?2)', at, n = 1, n = 2, n = 3), sequence_match('(?1)(?2)', at, n = 1, n = 2, n = 4) FROM seq;
INSERT INTO seq SELECT at + interval '3 s', n FROM seq;
SELECT sequence_count('(?1).*(?2)', at, n = 1, n = 2), sequence_count('(?1)(?2)', at, n = 1, n = 2, n = 3), sequence_count('(?1).(?2)', at, n = 1, n = 2, n = 3), sequence_count('(?1)(?t<=2)(?2)', at, n = 1, n = 2), sequence_count('(?1)(?t<2)(?2)', at, n = 1, n = 2),
	sequence_count('(?1)(?t>2)(?2)', at, n = 1, n = 2), sequence_count('(?1)(?t==5)(?2)', at, n = 1, n = 2), sequence_count('.*(?3).*', at, n = 1, n = 2, n = 3), sequence_count(' (?1) .* (?1) ', at, n = 1) FROM seq;
-- ClickHouse, documentation of retention
CREATE TEMP TABLE visit AS SELECT date '2020-01-01' + d AS day, u FROM generate_series(0, 2) d, generate_series(0, 14) u WHERE u < 5 * (d + 1);
SELECT sum(r[1]::int), sum(r[2]::int), sum(r[3]::int) FROM (SELECT u, retention(day = '2020-01-01', day = '2020-01-02', day = '2020-01-03') AS r FROM visit GROUP BY u) s;
-- no rows
SELECT window_funnel('1 day', '', at, true) AS funnel, sequence_match('(?1)', at, true) AS match, sequence_count('(?1)', at, true) AS count, retention(true) AS retention FROM trend WHERE false;
SELECT window_funnel('1 day', '', at, VARIADIC ARRAY[true, NULL]), window_funnel('1 day', '', at, VARIADIC NULL), retention(VARIADIC ARRAY[true, true, NULL]) FROM trend;
SELECT window_funnel('1 day', '', at, VARIADIC array_fill(true, '{64}')), cardinality(retention(VARIADIC array_fill(true, '{64}'))), sequence_match('(?64)', at, VARIADIC array_fill(true, '{64}')) FROM trend;

-- overloads: literals without a type find their way
SELECT window_funnel('{2026-01-01T00:00:00Z "a"}', '{a}', '1 day'), retention('{2026-01-01T00:00:00Z "a"}', 'a', '*', 2, '1 day'), retention('{2026-01-01T00:00:00Z "a"}', 'a', '*', 2, '1 day', 'day'), retention('t', 'f'),
	sequence_match('{2026-01-01T00:00:00Z "a"}', 'a'), sequence_count('{2026-01-01T00:00:00Z "a"}', 'a'), sequence_match('(?1)', '2026-01-01', true), sequence_count('(?1)', '2026-01-01', 't', 'f'), window_funnel('1 day', '', '2026-01-01', 't', 'f');
SELECT window_funnel('{2026-01-01T00:00:00Z "a", 2026-01-01T00:00:01Z "b"}', '{a,b}', '1 day', ''), window_funnel('{2026-01-01T00:00:00Z "a"}', '{a,a}', '1 day', 'strict_once'), window_funnel('1 day', '', '2026-01-01', true), window_funnel('1 day', '', timestamptz '2026-01-01', 't');
SELECT window_funnel(t, '{a}', '1 day', ''), sequence_match(t, 'a') FROM (SELECT timeline_agg('2026-01-01', 'a') AS t) s;

-- as window functions, with FILTER, ORDER BY
SELECT n, sequence_count('(?1).*(?2)', at, n = 1, n = 2) OVER (ORDER BY at), window_funnel('1 day', '', at, n = 3, n = 1) FILTER (WHERE n <> 2) OVER (ORDER BY at ROWS 1 PRECEDING) FROM seq ORDER BY at;
SELECT sequence_match('(?1)(?2)', at, n = 1, n = 2 ORDER BY at DESC) FROM seq WHERE n < 3;

-- '.*' over a million rows: linear, no limit of steps
SELECT sequence_match('(?1).*(?2).*(?1).*(?2).*(?1).*(?3)', at, i % 2 = 0, i % 2 = 1, i > 1000000), sequence_count('(?1).*(?2)', at, i % 2 = 0, i % 2 = 1), sequence_match('(?1)(?t>=500000)(?2)(?t>=499999)(?1)', at, i % 2 = 0, i % 2 = 1),
	sequence_match('(?1)(?t==999998)(?1)', at, i % 2 = 0), sequence_match('(?1)(?t==999999)(?1)', at, i % 2 = 0), window_funnel('1 year', 'strict_once', at, i % 2 = 0, i % 2 = 1, i > 1000000)
FROM (SELECT i, timestamptz '2026-01-01' + i * interval '1 s' AS at FROM generate_series(1, 1000000) i) r;

-- the state: equal sets of rows have equal bytes, which read back
CREATE TEMP TABLE state AS
SELECT _window_funnel_add(_window_funnel_add(NULL, '1 day', 'strict_order', '2026-01-02', '{t,f,NULL}'), '1 day', 'strict_order', '2026-01-01', '{f,f,f}') AS s
UNION ALL SELECT _window_funnel_add(_window_funnel_add(NULL, '1 day', 'strict_order', '2026-01-01', '{f,f,f}'), '1 day', 'strict_order', '2026-01-02', '{t,f,f}')
UNION ALL SELECT _sequence_add(_sequence_add(NULL, '(?1).*(?9)', '2026-01-02', array_fill(true, '{9}')), '(?1).*(?9)', '2026-01-01', array_fill(false, '{9}'))
UNION ALL SELECT _retention_add(_retention_add(NULL, '{t,f}'), '{f,t}')
UNION ALL SELECT _window_funnel_add(NULL, '0', '', '2026-01-01', array_fill(true, ARRAY[n])) FROM unnest('{17,33}'::int[]) n;
SELECT s, s::text::event_state::text = s::text AS reads_back, length(event_state_send(s)) FROM state;
SELECT _window_funnel_final(s), _window_funnel_final(_event_state_combine(s, s)), _event_state_combine(NULL, s)::text = s::text AS copied FROM state LIMIT 2;
SELECT _retention_final(_event_state_combine(_retention_add(NULL, '{t,f}'), _retention_add(NULL, '{f,t}'))), _event_state_combine(NULL, NULL) IS NULL;
SELECT pg_column_size(s) FROM state ORDER BY 1 DESC LIMIT 1;

-- sessionize: a new session when more than the gap has passed
SELECT at, sessionize(at, '30 min') OVER (ORDER BY at), sessionize(at, '0') OVER (ORDER BY at) FROM unnest('{2026-01-01 10:00,2026-01-01 10:30,2026-01-01 11:00:00.000001,2026-01-01 11:00:00.000001,2026-01-02,NULL,infinity}'::timestamptz[]) at ORDER BY at;
SELECT u, sessionize(at, '1 day') OVER (PARTITION BY u ORDER BY at) FROM (VALUES (1, timestamptz '2026-01-01'), (1, '2026-01-05'), (2, '2026-01-05'), (2, '2026-01-06')) v(u, at);
SELECT count(*), count(*) FILTER (WHERE a IS DISTINCT FROM b) AS wrong, max(a) FROM (
	SELECT sessionize(at, '10 min') OVER (PARTITION BY u ORDER BY at) AS a, sum(fresh) OVER (PARTITION BY u ORDER BY at ROWS UNBOUNDED PRECEDING) AS b
	FROM (SELECT *, (coalesce(at - lag(at) OVER (PARTITION BY u ORDER BY at) > '10 min', true))::int AS fresh FROM (SELECT i % 100 AS u, timestamptz '2026-01-01' + (hashint8extended(i, 1) & 1048575) * interval '1 s' AS at FROM generate_series(1, 50000) i) r) f) s;
-- and it agrees with sessions(timeline, gap)
SELECT count(DISTINCT session) = num_sessions(t, '10 min') AS same FROM (SELECT sessionize(at, '10 min') OVER (ORDER BY at) AS session, timeline_agg(at, 'x') OVER () AS t FROM (SELECT timestamptz '2026-01-01' + (hashint8extended(i, 1) & 1048575) * interval '1 s' AS at FROM generate_series(1, 500) i) r) s GROUP BY t;

-- mistakes
SELECT window_funnel('-1 day', '', at, true) FROM trend;
SELECT window_funnel('1 day', 'strict', at, true) FROM trend;
SELECT window_funnel(NULL, '', at, true) FROM trend;
SELECT window_funnel('1 day', NULL, at, true) FROM trend;
SELECT sequence_match(NULL, at, true) FROM trend;
SELECT window_funnel('1 day', '', 'infinity', true);
SELECT window_funnel('1 day', '', at, VARIADIC '{}') FROM trend;
SELECT window_funnel('1 day', '', at, VARIADIC '{{t}}') FROM trend;
SELECT window_funnel('1 day', '', at, VARIADIC array_fill(true, '{65}')) FROM trend;
SELECT window_funnel(event * interval '1 s', '', at, true) FROM trend;
SELECT sequence_count('(?' || event - 1002 || ')', at, true, true, true, true, true, true, true, true) FROM trend;
SELECT retention(VARIADIC array_fill(true, ARRAY[event - 1002])) FROM trend;
SELECT sequence_match(p, '2026-01-01', true) FROM (SELECT '' AS p) s;
SELECT sequence_match('.*', '2026-01-01', true);
SELECT sequence_match('(?2)', '2026-01-01', true);
SELECT sequence_match('(?0)', '2026-01-01', true);
SELECT sequence_match('(?1', '2026-01-01', true);
SELECT sequence_match('(?1)x', '2026-01-01', true);
SELECT sequence_match('(?t<5)(?1)', '2026-01-01', true);
SELECT sequence_match('(?1).*(?1)(?t<=3600)', '2026-01-01', true);
SELECT sequence_match('(?1)(?t=5)(?1)', '2026-01-01', true);
SELECT sequence_match('(?1)(?t<=99999999999999)(?1)', '2026-01-01', true);
SELECT sequence_match(repeat('(?1)', 65), '2026-01-01', true);
SELECT ''::event_state;
SELECT '\x'::event_state;
SELECT '\x01'::event_state;
SELECT '\x0g'::event_state;
SELECT _retention_final(_window_funnel_add(NULL, '1 day', '', '2026-01-01', '{t}'));
SELECT _event_state_combine(_retention_add(NULL, '{t}'), _retention_add(NULL, '{t,f}'));
SELECT sessionize(at, '1 day') OVER (ORDER BY at DESC) FROM trend;
SELECT sessionize(at, '-1 day') OVER (ORDER BY at) FROM trend;
