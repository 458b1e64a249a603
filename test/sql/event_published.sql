-- What ClickHouse, StarRocks and Doris publish about their functions, asked of ours: equal but where the reason stands beside it
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';

-- 'a1 b2' is an event a at second 1 and b at second 2; the steps are letters
CREATE FUNCTION pg_temp.events(h text) RETURNS TABLE (at timestamptz, event text) LANGUAGE sql IMMUTABLE AS
	$$ SELECT timestamptz '2026-01-01' + substr(e, 2)::int * interval '1 s', left(e, 1) FROM unnest(string_to_array(h, ' ')) e $$;
CREATE FUNCTION pg_temp.over_timeline(h text, steps text, within interval, mode text) RETURNS int LANGUAGE sql AS
	$$ SELECT window_funnel(timeline_agg(at, event), string_to_array(steps, NULL), within, mode) FROM pg_temp.events(h) $$;
CREATE FUNCTION pg_temp.over_rows(h text, steps text, within interval, mode text) RETURNS int LANGUAGE sql AS
	$$ SELECT window_funnel(within, mode, at, VARIADIC ARRAY(SELECT event = s FROM unnest(string_to_array(steps, NULL)) WITH ORDINALITY u(s, k) ORDER BY k)) FROM pg_temp.events(h) $$;
CREATE TEMP TABLE published (id int GENERATED ALWAYS AS IDENTITY, source text, history text, steps text, seconds int, mode text, theirs int, reason text);

-- ClickHouse, tests/queries/0_stateless/00632_aggregation_window_funnel; there strict is the former name of strict_deduplication
INSERT INTO published(source, history, steps, seconds, mode, theirs, reason)
SELECT 'clickhouse', history, steps, seconds, mode, theirs, reason FROM (VALUES
	('a0 b1 c2 d3 e4 f5 g6 h7 i8', 'a', 10000, '', 1, NULL), ('a0 b1 c2 d3 e4 f5 g6 h7 i8', 'ab', 10000, '', 2, NULL), ('a0 b1 c2 d3 e4 f5 g6 h7 i8', 'abc', 10000, '', 3, NULL),
	('a0 b1 c2 d3 e4 f5 g6 h7 i8', 'abci', 10000, '', 4, NULL), ('a0 b1 c2 d3 e4 f5 g6 h7 i8', 'a', 1, '', 1, NULL), ('a0 b1 c2 d3 e4 f5 g6 h7 i8', 'defgh', 2, '', 3, NULL),
	('a0 b1 c2 d3 e4 f5 g6 h7 i8', 'defgh', 3, '', 4, NULL), ('a0 b1 c2 d3 e4 f5 g6 h7 i8', 'defgh', 4, '', 5, NULL), ('b1 c2 d3 e4 f5 g6 h7 i8', 'bi', 10000, '', 2, NULL), ('b1 c2 d3 e4 f5 g6 h7 i8', 'ib', 10000, '', 1, NULL),
	('a0 b10 c20 d30 e40 f50 f51 g60 h70 i80', 'abcdefg', 10000, 'strict_deduplication', 6, 'the best chain wins: f51 for f'), ('a0 b10 c20 d30 e40 f50 f51 g60 h70 i80', 'abcdefg', 10000, '', 7, NULL),
	('a1 b2 c3 b4 d5', 'abcd', 86400, 'strict_deduplication', 3, NULL),
	('a0 b1 c1 d1 e2', 'abcde', 10000, '', 5, NULL), ('a0 b1 c1 d1 e2', 'abcde', 10000, 'strict_increase', 2, NULL), ('a0 b1 c1 d1 e2', 'eee', 10000, '', 3, NULL), ('a0 b1 c1 d1 e2', 'eee', 10000, 'strict_once', 1, NULL), ('a0 b1 c1 d1 e2', 'eee', 10000, 'strict_increase', 1, NULL)) v(history, steps, seconds, mode, theirs, reason);
INSERT INTO published(source, history, steps, seconds, mode, theirs, reason)
SELECT 'clickhouse', history, 'abc', 86400, mode, theirs, CASE WHEN other THEN 'strict_order has strict_deduplication in it' END FROM (VALUES
	('a1 b2 c3', 3, 3, 3, false), ('a1 d2 b3 c4', 3, 1, 1, false), ('a1 a2 b3 b4 c5 c6', 3, 3, 2, true), ('a1 a2 a3 a4 b5 b6 c7 c8', 3, 3, 2, true), ('a1 a2 b3 b4 d5 c6 c7', 3, 2, 2, false), ('c1 c2 b3 b4 a5 a6', 1, 1, 1, false)) v(history, plain, strict, combined, differs),
	LATERAL (VALUES ('', plain, false), ('strict_order', strict, differs), ('strict_deduplication,strict_order', combined, false)) m(mode, theirs, other);
INSERT INTO published(source, history, steps, seconds, mode, theirs, reason)
SELECT 'clickhouse', history, 'ffs', 200, mode, theirs, NULL FROM (VALUES ('f180 f220 s250', 3), ('f100 f250', 2), ('s200 f210 s230', 1)) v(history, theirs), unnest('{"strict_once,strict_increase",strict_once,"strict_once,strict_deduplication"}'::text[]) mode;
INSERT INTO published(source, history, steps, seconds, mode, theirs, reason)
SELECT 'clickhouse', history, steps, 86400, 'strict_order', theirs, reason FROM (VALUES
	('a1 c2 b3', 'abc', 1, NULL), ('a1 b2 a3 c4', 'abc', 2, NULL), ('a1 b2 a3 b4 c5', 'abc', 2, 'the best chain wins: a3 b4 c5'), ('a1 b2 c3 b4 d5', 'abc', 3, NULL), ('a1 b2 c3 a4 b5 c6 d7', 'abc', 3, NULL), ('a1 b2 a3 c4', 'abcd', 2, NULL),
	('a1 b2 a3 b4 c5', 'abcd', 2, 'the best chain wins: a3 b4 c5'), ('a1 b2 c3 b4 d5', 'abcd', 4, 'strict_order has strict_deduplication in it'), ('a1 c2 b3', 'abcd', 1, NULL), ('a1 b2 c3 a4 b5 c6 d7', 'abcd', 3, 'the best chain wins: a4 b5 c6 d7'),
	('b1 v2 b3 p4', 'bvp', 2, NULL), ('b1 v2 v3 b4 p5', 'bvp', 2, NULL), ('b1 v2 p3', 'bvp', 3, NULL), ('b1 v2 b3 p4', 'bvbp', 1, 'a name may be two of the steps'), ('b1 v2 v3 b4 p5', 'bvbp', 1, 'a name may be two of the steps'), ('b1 v2 p3', 'bvbp', 1, 'a name may be two of the steps')) v(history, steps, theirs, reason);

-- StarRocks, documentation of window_funnel: modes 0, 1, 2, 4; seconds since 11:00
INSERT INTO published(source, history, steps, seconds, mode, theirs)
SELECT 'starrocks', history, 'bcop', seconds, mode, theirs FROM (VALUES
	('b0 c600 o1200 p1800 b0', 1800, '', 4), ('o0 p600', 1800, '', 0), ('b1200 c3600', 1800, '', 1), ('b3000 c3600', 1800, '', 2), ('b3000 c3600 o600', 1800, '', 2), ('b3000 c3600 o4200', 1800, '', 3),
	('b0 c600 o1740 c1790 p1800 c2400', 1800, '', 4), ('b0 c600 o1740 c1790 p1800 c2400', 1800, 'strict_deduplication', 3), ('b1', 1800, 'strict_deduplication', 1),
	('b0 c600 p1800 o1860', 1900, '', 3), ('b0 c600 p1800 o1860', 1900, 'strict_order', 2), ('b1', 1900, 'strict_order', 1)) v(history, seconds, mode, theirs);
INSERT INTO published(source, history, steps, seconds, mode, theirs) VALUES
	('starrocks', 'b0 c1 o31', 'bco', 1900, '', 3), ('starrocks', 'b3 c3 o63', 'bco', 1900, '', 3), ('starrocks', 'b0 c1 o31', 'bco', 1900, 'strict_increase', 3), ('starrocks', 'b3 c3 o63', 'bco', 1900, 'strict_increase', 1);

-- Doris, documentation of WINDOW_FUNNEL: default, deduplication, fixed, increase; x is login2, which is no step
INSERT INTO published(source, history, steps, seconds, mode, theirs) VALUES
	('doris', 'l60 v120 o240 p600', 'lvop', 300, '', 3), ('doris', 'l0 v60 o120', 'lvop', 300, '', 3), ('doris', 'l0 v60', 'lvop', 300, '', 2),
	('doris', 'l60 v120 l180 o240 p600', 'lvop', 3600, 'strict_deduplication', 2), ('doris', 'l0 v60 o120', 'lvop', 3600, 'strict_deduplication', 3),
	('doris', 'l60 v120 o180 x240 p600', 'lvop', 3600, 'strict_order', 3), ('doris', 'l0 v60 o120', 'lvop', 3600, 'strict_order', 3),
	('doris', 'l60 v120 o240 p240', 'lvop', 3600, 'strict_increase', 3), ('doris', 'l0 v60', 'lvop', 3600, 'strict_increase', 2);
-- and its tests, window_funnel.groovy and window_funnel_v2.groovy
INSERT INTO published(source, history, steps, seconds, mode, theirs, reason)
SELECT 'doris', history, steps, seconds, mode, theirs, reason FROM (VALUES
	('a0 b10022 c20041 d30244', 'ab', 1, '', 1, NULL), ('a0 b10022 c20041 d30244', 'ab', 20000, '', 2, NULL), ('l60 v120 o240 p600', 'lvop', 10800, '', 4, NULL), ('l60 v120 o240 p600', 'lvop', 30, '', 1, NULL), ('l0 v60 x120', 'lvop', 10800, '', 2, NULL), ('x0 v60', 'lvop', 10800, '', 0, NULL),
	('a0 b10022 b10023 c12841 d15844', 'abcd', 20000, '', 4, NULL), ('a0 b10022 b10023 c12841 d15844', 'abcd', 20000, 'strict_deduplication', 2, 'the best chain wins: the second b'),
	('l60 v120 o240 l240 x240 x240 p600', 'lvop', 3600, 'strict_deduplication', 3, NULL), ('l60 v120 o240 x240 v240 p600', 'lvop', 3600, 'strict_deduplication', 3, 'the best chain wins: v240'), ('a0 b1 a2 c3', 'abc', 86400, 'strict_deduplication', 2, NULL),
	('l60 v120 o240 p600', 'lvop', 3600, 'strict_order', 4, NULL), ('l60 v120 o240 p600', 'lvpo', 20000, 'strict_order', 2, NULL), ('a0 b10022 c12841 d15844', 'dcba', 20000, 'strict_order', 1, NULL), ('l60 v120 x180 o240 p600', 'lvop', 3600, 'strict_order', 4, 'what is no step lies between, too'),
	('a0 b10022 c10023 d15844', 'abcd', 20000, 'strict_increase', 4, NULL), ('a0 b10022 c10022 d15844', 'abcd', 20000, 'strict_increase', 2, NULL), ('a0 a50 b50 c60', 'abc', 100, 'strict_increase', 3, NULL), ('a0 a50 b51 c52', 'abc', 5, 'strict_increase', 3, NULL), ('a0 b10 a50', 'abc', 100, 'strict_increase', 2, NULL)) v(history, steps, seconds, mode, theirs, reason);

CREATE TEMP TABLE asked AS SELECT p.*, pg_temp.over_timeline(history, steps, seconds * interval '1 s', mode) AS ours, pg_temp.over_rows(history, steps, seconds * interval '1 s', mode) AS over_rows FROM published p;
SELECT source, count(*), count(*) FILTER (WHERE ours = theirs) AS equal, count(*) FILTER (WHERE (ours <> theirs) <> (reason IS NOT NULL)) AS unexplained, count(*) FILTER (WHERE ours <> over_rows) AS forms_differ FROM asked GROUP BY source ORDER BY source;
SELECT history, steps, mode, theirs, ours, reason FROM asked WHERE ours <> theirs ORDER BY id;

-- ClickHouse, the same file: conditions that overlap
SELECT window_funnel('4 s', '', at, event <= 1007, event >= 1002, event <= 1006, event >= 1004) = 4 AS same FROM (SELECT timestamptz '2026-01-01' + i * interval '1 s' AS at, 1000 + i AS event FROM generate_series(1, 8) i) e;
-- and conditions that are NULL.  The last answer for u = 4 is 1 there: the row without a condition ends the search, though the row after it is both steps
SELECT u, window_funnel('1 day', '', at, a = 'a1', a = 'a2') AS "2 2 0 0", window_funnel('1 day', '', at, a = 'a1', b = 'b2') AS "2 1 0 0", window_funnel('1 day', '', at, a IS NULL AND b IS NULL) AS "0 0 1 0",
	window_funnel('1 day', '', at, a IS NULL, b = 'b3') AS "0 0 1 2", window_funnel('1 day', 'strict_order', at, a IS NULL, b = 'b3') AS "0 0 1 1"
FROM (SELECT u, timestamptz '2026-01-01' + s * interval '1 s' AS at, a, b FROM (VALUES (1, 1, 'a1', 'b1'), (2, 1, 'a2', 'b2'), (1, 2, 'a1', NULL), (2, 2, 'a2', NULL), (1, 3, NULL, NULL), (1, 4, NULL, 'b1'), (2, 4, 'a2', NULL), (3, 4, NULL, 'b3')) v(s, u, a, b)) r GROUP BY u ORDER BY u;

-- Doris, the same tests: conditions that overlap; there a row is one step in mode fixed, so strict_once is asked for.  One row a day with the number v
CREATE FUNCTION pg_temp.numbers(v int[], conditions text, within interval, mode text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	EXECUTE format('SELECT window_funnel($1, $2, timestamptz ''2020-01-01'' + day * interval ''1 day'', %s) FROM unnest($3) WITH ORDINALITY u(v, day)', conditions) INTO n USING within, mode, v;
	RETURN n;
END $$;
SELECT v, conditions, mode, theirs, ours, CASE WHEN ours <> theirs THEN reason END AS reason FROM (SELECT *, pg_temp.numbers(v, conditions, interval '10 days', mode) AS ours FROM (VALUES
	('{1,1,3}'::int[], 'v = 1, v <> 2, v = 3', 'strict_deduplication', 3, NULL), ('{3,1}', 'v > 2, v < 5, v > 0', 'strict_order,strict_once', 2, NULL), ('{1,3,-1}', 'v > 0, v > 2, v < 0', 'strict_order,strict_once', 3, NULL),
	('{3}', 'v >= 0, v >= 1, v >= 2', 'strict_order,strict_once', 1, NULL), ('{0,3}', 'v >= 0, v >= 1, v >= 2', 'strict_order,strict_once', 2, NULL), ('{1,3,2}', 'v = 1, v > 1, v > 2', 'strict_order,strict_once', 2, NULL),
	('{0,2,3}', 'v >= 0, v >= 1, v >= 2, v >= 3', 'strict_order,strict_once', 3, NULL), ('{1,2}', 'v >= 1, v >= 1, v >= 2', 'strict_order,strict_once', 2, NULL), ('{0,1,2,3}', 'v >= 0, v >= 1, v >= 2, v >= 3', 'strict_order,strict_once', 4, NULL),
	('{1,5}', 'v = 1, v = 2, v > 2', 'strict_order,strict_once', 1, NULL), ('{1,5,1,2}', 'v > 0, v = 2', 'strict_order,strict_once', 2, NULL), ('{1,2,2,3}', 'v > 0, v > 1, v > 2', 'strict_order,strict_once', 3, NULL),
	('{1,1,1,2,3}', 'v > 0, v > 1, v > 2', 'strict_order,strict_once', 3, NULL), ('{1,0,2,3}', 'v = 1, v = 2, v = 3', 'strict_order,strict_once', 3, 'what is no step lies between, too'), ('{1,2,2,3}', 'v = 1, v = 2, v = 3', 'strict_order,strict_once', 2, NULL),
	('{10,5,5,20}', 'v > 8, v < 8, v > 15', 'strict_order,strict_once', 2, NULL)) d(v, conditions, mode, theirs, reason)) s;

-- Doris, documentation of SEQUENCE_COUNT and SEQUENCE_MATCH: two tables, and the numbers that stand there
SELECT sequence_count('(?1)(?2)', at, n = 1, n = 3) AS "1", sequence_count('(?1)(?2)', at, n = 1, n = 2) AS "2", sequence_count('(?1)(?t>=3600)(?2)', at, n = 1, n = 2) AS "2", sequence_match('(?1)(?2)', at, n = 1, n = 3) AS t, sequence_match('(?1)(?t>=3600)(?2)', at, n = 1, n = 2) AS t
FROM (VALUES (timestamptz '2022-11-02 10:41:00', 1), ('2022-11-02 13:28:02', 2), ('2022-11-02 16:15:01', 1), ('2022-11-02 19:05:04', 2), ('2022-11-02 20:08:44', 3)) v(at, n);
SELECT sequence_count('(?1)(?2)', at, n = 1, n = 2) AS "0", sequence_count('(?1)(?2).*', at, n = 1, n = 2) AS "0", sequence_count('(?1)(?t>3600)(?2)', at, n = 1, n = 7) AS "0", sequence_count('(?1)(?2)', at, n = 1, n = 5) AS "1", sequence_count('(?1)(?2)', at, n = 1, n = 5, n = 4) AS "0", sequence_count('(?1)(?2)', at, n = 1, n = 5, n = 6) AS "1",
	sequence_match('(?1)(?2)', at, n = 1, n = 5, n = 4) AS f, sequence_match('(?1)(?2)', at, n = 1, n = 5, n = 6) AS t
FROM (VALUES (timestamptz '2022-11-02 10:41:00', 1), ('2022-11-02 11:41:00', 7), ('2022-11-02 16:15:01', 3), ('2022-11-02 19:05:04', 4), ('2022-11-02 21:24:12', 5)) v(at, n);
-- of RETENTION: [1], [1,1], [1,1,1]; [1], [1,1], [1,1,0]; [1], [1,0], [1,0,0]
SELECT u, retention(d = 12), retention(d = 12, d = 13), retention(d = 12, d = 13, d = 14) FROM (VALUES (0, 12), (0, 13), (0, 14), (1, 12), (1, 13), (2, 12)) v(u, d) GROUP BY u ORDER BY u;
-- StarRocks, documentation of retention: 327825 comes back, 460237 comes on the second day only
SELECT u, retention(d = '1022-11-20' AND p = '4-NOT SPECI', d = '1022-11-21' AND p = '4-LONG') FROM (VALUES (date '1022-11-20', '4-NOT SPECI', 309050), ('1222-10-31', '2-HIGH', 492238), ('1380-09-30', '5-LOW', 460237), ('1022-11-20', '4-NOT SPECI', 327825), ('1022-11-21', '4-LONG', 460237), ('1022-11-21', '4-LONG', 327825)) v(d, p, u) GROUP BY u ORDER BY u;

-- ClickHouse, tests of sequenceMatch and sequenceCount (00131_sequence_aggregate): twelve rows, four conditions.  There '' and '.*' are patterns too
CREATE TEMP TABLE twelve AS SELECT timestamptz '2026-01-01' + (i - 1) * interval '1 s' AS at, data FROM unnest('{0,0,0,0,1,2,0,0,0,0,1,1}'::int[]) WITH ORDINALITY u(data, i);
SELECT count(*) AS patterns, count(*) FILTER (WHERE n <> theirs) AS counts_differ, count(*) FILTER (WHERE m <> (theirs > 0)) AS matches_differ FROM (
	SELECT p, theirs, sequence_count(p, at, data = 0, data = 1, data = 2, data = 3) AS n, sequence_match(p, at, data = 0, data = 1, data = 2, data = 3) AS m FROM twelve,
		(VALUES ('.', 12), ('(?1)', 8), ('(?2)', 3), ('(?3)', 1), ('(?4)', 0), ('(?1)(?1)', 4), ('(?1)(?1)(?1)', 2), ('(?1)(?1)(?1)(?1)', 2), ('(?1)(?1)(?1)(?1)(?1)', 0), ('(?1)(?1)(?1)(?1)(?2)', 2), ('(?1)(?t>10)(?2)', 1), ('(?1)(?t>11)(?2)', 0),
			('(?1)(?t<11)(?2)', 2), ('(?1)(?t<3)(?3)', 1), ('(?1)(?t<=2)(?3)', 1), ('(?1)(?t<2)(?3)', 0), ('(?2)(?t>=7)(?2)', 1), ('(?2)(?t>7)(?2)', 0), ('(?2)(?3)(?1)', 1)) v(p, theirs) GROUP BY p, theirs) s;
