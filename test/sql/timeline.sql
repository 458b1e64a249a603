-- timeline: the type, its functions, limits and errors
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';

-- text form: sorted, canonical, independent of settings
SELECT '{}'::timeline, ' { } '::timeline = '{}';
SELECT '{2026-01-02T03:04:05Z "view"["sku 1"]=9.99, 2026-01-01T00:00:00.000001Z "view", 2026-01-02T03:04:05Z "view"}'::timeline;
SELECT $${ 2026-01-01T00:00:00Z"a" , 2026-01-01T00:00:00.5Z "a" [ "" ] = -0 ,2026-01-01T00:00:00Z "say ""hi"" \ {x}, y" = 1e-320 }$$::timeline;
SELECT '{-4713-11-24T00:00:00Z "a", 0000-02-29T00:00:00Z "b", 294276-12-31T23:59:59.999999Z "c"}'::timeline;
SET timezone = 'Asia/Kolkata'; SET datestyle = 'SQL, DMY'; SET extra_float_digits = -15;
SELECT '{2026-01-02T03:04:05Z "a"=0.1}'::timeline, timeline_agg('2026-01-02 03:04:05+00', 'a', 0.1::float8)::text;
RESET timezone; RESET datestyle; RESET extra_float_digits; SET timezone = 'UTC';
-- every kind of value, in order: NULL, -Infinity, …, -0, 0, …, Infinity, NaN
SELECT timeline_agg('2026-01-01', 'e', v) FROM unnest('{NaN,0,1,-1,NULL,Infinity,-0,-Infinity,0.1,1e300,4.9e-324,NaN}'::float8[]) v;
SELECT t = t::text::timeline, t = t::bytea::timeline, num_events(t)
FROM (SELECT timeline_agg('2026-01-01', 'e', v) AS t FROM unnest('{NaN,0,1,-1,NULL,Infinity,-0,-Infinity,0.1,1e300,4.9e-324}'::float8[]) v) s;

-- text that is none
SELECT ''::timeline;
SELECT '{'::timeline;
SELECT '{2026-01-01T00:00:00Z}'::timeline;
SELECT '{2026-01-01T00:00:00Z "a",}'::timeline;
SELECT '{2026-01-01T00:00:00Z "a"} x'::timeline;
SELECT '{2026-01-01T00:00:00Z "a}'::timeline;
SELECT '{2026-01-01T00:00:00Z "a"["b"}'::timeline;
SELECT '{2026-01-01T00:00:00Z "a"=}'::timeline;
SELECT '{2026-01-01T00:00:00Z "a"=1.2.3}'::timeline;
SELECT '{2026-01-01T00:00:00Z "a"=1e999}'::timeline;
SELECT '{2026-01-01T00:00:00Z "a"=0x10}'::timeline;
SELECT '{2026-01-01 00:00:00Z "a"}'::timeline;
SELECT '{2026-01-01T00:00:00+01 "a"}'::timeline;
SELECT '{2026-02-29T00:00:00Z "a"}'::timeline;
SELECT '{2026-01-01T24:00:00Z "a"}'::timeline;
SELECT '{294277-01-01T00:00:00Z "a"}'::timeline;
SELECT '{-9999-01-01T00:00:00Z "a"}'::timeline;
SELECT '{infinity "a"}'::timeline;
SELECT '{2026-01-01T00:00:00Z "é" x}'::timeline;

-- aggregates: NULL time or name is no event; NULL label and value are kept apart from '' and 0
CREATE TEMP TABLE ev(at timestamptz, event text, label text, value float8);
INSERT INTO ev VALUES
	('2026-01-03', 'cart', 'sku', 5), ('2026-01-01', 'view', NULL, NULL), ('2026-01-01', 'view', '', 0),
	('2026-01-01', 'view', '', NULL), ('2026-01-01', 'view', NULL, 0), (NULL, 'view', 'x', 1), ('2026-01-02', NULL, 'x', 1), ('2026-01-01', '', NULL, NULL);
SELECT timeline_agg(at, event, label, value) FROM ev;
SELECT timeline_agg(at, event, label) FROM ev;
SELECT timeline_agg(at, event, value) FROM ev;
SELECT timeline_agg(at, event) FROM ev;
SELECT e.* FROM (SELECT timeline_agg(at, event, label, value) AS t FROM ev) s, timeline_events(t) e;
SELECT timeline_agg(at, event) IS NULL AS no_rows FROM ev WHERE false;
SELECT timeline_agg(at, event) IS NULL AS no_events FROM ev WHERE event IS NULL;
SELECT timeline_agg(t) FROM (VALUES ('{2026-01-02T00:00:00Z "b"}'::timeline), (NULL), ('{2026-01-01T00:00:00Z "a"}'), ('{}')) v(t);
SELECT '{2026-01-02T00:00:00Z "b", 2026-01-03T00:00:00Z "b"}'::timeline || '{2026-01-01T00:00:00Z "a", 2026-01-02T00:00:00Z "b"["x"]}';
SELECT '{}'::timeline || '{}', timeline_merge('{}', NULL) IS NULL;
-- equal events are kept
SELECT t || t, num_events(t || t || t) FROM (SELECT '{2026-01-01T00:00:00Z "a"=1}'::timeline AS t) s;
-- as a window function and FILTER, DISTINCT inside, an aggregate state that grows
SELECT at, timeline_agg(at, event) FILTER (WHERE event = 'view') OVER (ORDER BY at, label, value) FROM ev WHERE label IS NOT NULL AND event IS NOT NULL ORDER BY at, label, value;
SELECT timeline_agg(DISTINCT at, event) FROM ev;

\set VERBOSITY terse
SELECT timeline_agg('infinity', 'a');
SELECT timeline_agg('-infinity', 'a');
\set VERBOSITY default

-- the state in the hands of somebody else
SELECT _timeline_agg_add(NULL, '2026-01-02', 'b'), _timeline_agg_add('{2026-01-02T00:00:00Z "b"}', '2026-01-01', 'a', 'l', 1), _timeline_agg_merge(NULL, NULL), _timeline_agg_merge('{}', NULL);
DO $$
DECLARE
	t timeline;
	u timeline;
BEGIN
	FOR i IN REVERSE 3..1 LOOP
		t := _timeline_agg_add(t, timestamptz '2026-01-01' + i * interval '1 day', 'e' || i);
		u := t;
		t := _timeline_agg_add(t, '2026-02-01', 'x');
	END LOOP;
	RAISE NOTICE '%', t;
	RAISE NOTICE '%', u;
END $$;

-- questions
CREATE TEMP TABLE one AS SELECT '{2026-01-01T00:00:00Z "view"["a"], 2026-01-01T08:00:00Z "view"["b"], 2026-01-02T00:00:00Z "view"["b"], 2026-01-03T00:00:00Z "view",
	2026-01-03T12:00:00Z "purchase"["b"]=10.5, 2026-01-04T23:30:00Z "purchase"["a"]=4.5, 2026-01-05T00:30:00Z "purchase"["a"]}'::timeline AS t;
SELECT num_events(t), num_events(t, 'view'), num_events(t, 'view', 'b'), num_events(t, 'refund'), num_events(t, 'view', 'zzz'), num_events('{}'), num_events('{}', 'view') FROM one;
SELECT total(t, 'purchase'), total(t, 'purchase', 'a'), total(t, 'view'), total(t, 'refund'), total('{}', 'view') FROM one;
SELECT first_at(t), last_at(t), first_at(t, 'purchase'), last_at(t, 'view'), first_at(t, 'refund'), last_at('{}') FROM one;
SELECT first_label(t, 'view'), last_label(t, 'view'), top_label(t, 'view'), top_label(t, 'purchase'), first_label(t, 'refund'), top_label('{}', 'view') FROM one;
SELECT active_days(t), active_days(t, 'view'), active_days(t, 'purchase'), active_days(t, 'refund'), active_days('{}') FROM one;
SELECT active_days(t, 'purchase', 'UTC'), active_days(t, 'purchase', 'Europe/Berlin'), active_days(t, NULL, 'Asia/Shanghai'), active_days(t, 'view', NULL) FROM one;
-- local time may be set back to an earlier day (Alaska, 1867-10-19, by 24 h): distinct days are counted
SELECT active_days('{1867-10-18T12:00:00Z "a", 1867-10-19T01:00:00Z "a", 1867-10-19T12:00:00Z "a"}', 'a', 'America/Juneau') AS days,
	array_agg(to_char(at AT TIME ZONE 'America/Juneau', 'MM-DD')) FROM unnest('{1867-10-18 12:00+0, 1867-10-19 01:00+0, 1867-10-19 12:00+0}'::timestamptz[]) at;
SELECT active_days(t, 'view', 'Nowhere/Land') FROM one;
SELECT slice(t, '2026-01-02', '2026-01-03 12:00'), slice(t, NULL, '2026-01-01 00:00:00.000001'), slice(t, '2026-01-05', NULL) FROM one;
SELECT slice(t, NULL, NULL) = t, slice(t, '-infinity', 'infinity') = t, slice(t, '2027-01-01', '2026-01-01'), slice(NULL, NULL, NULL) FROM one;
SELECT only_events(t, 'purchase'), only_events(t, 'purchase', NULL, 'x', 'view') = t, only_events(t, VARIADIC '{}'), only_events(t, VARIADIC NULL) FROM one;

-- funnel
SELECT window_funnel(t, '{view,purchase}', '7 days'), window_funnel(t, '{purchase,view}', '7 days'), window_funnel(t, '{view,refund,purchase}', '7 days'),
	window_funnel(t, '{}', '1 day'), window_funnel(t, '{refund}', '1 day'), window_funnel('{}', '{view}', '1 day') FROM one;
-- the window is inclusive, and the best chain wins: the last view before the purchase is 12 h away
SELECT w, window_funnel(t, '{view,purchase}', w::interval) FROM one, unnest('{0,11:59:59.999999,12:00,1 day}'::text[]) w;
-- one event satisfies equal steps; at one instant any order will do
SELECT window_funnel('{2026-01-01T00:00:00Z "view"}', '{view,view,view}', '0'), window_funnel('{2026-01-01T00:00:00Z "b", 2026-01-01T00:00:00Z "a"}', '{b,a,b,a}', '0');
-- lengths: a month has 30 days, a year 365
SELECT x, window_funnel(timeline_agg(at, e), '{a,b}', x::interval) FROM unnest('{1 month,30 days,720:00,1 year,13 months}'::text[]) x,
	(VALUES ('2026-01-01'::timestamptz, 'a'), ('2026-01-31', 'b')) v(at, e) GROUP BY x ORDER BY x;
SELECT x, window_funnel(timeline_agg(at, e), '{a,b}', x::interval) FROM unnest('{1 year -1 us,1 year,12 months}'::text[]) x,
	(VALUES ('2026-01-01'::timestamptz, 'a'), ('2027-01-01', 'b')) v(at, e) GROUP BY x ORDER BY x;
-- 64 steps, and steps that change from row to row
SELECT window_funnel('{2026-01-01T00:00:00Z "a"}', array_fill('a'::text, '{64}'), '0');
SELECT n, window_funnel(t => t, steps => ('{view,purchase,view}'::text[])[1:n], within => '7 days'), window_funnel(t, ('{view,purchase,view}'::text[])[1:n], '7 days', '') FROM one, generate_series(1, 3) n;
SELECT window_funnel(NULL, '{a}', '1 day') IS NULL, window_funnel('{}', NULL, '1 day') IS NULL, window_funnel('{}', '{a}', NULL) IS NULL;
\set VERBOSITY sqlstate
SELECT window_funnel(t, '{view}', '-1 us') FROM one;
SELECT window_funnel(t, '{view}', '1 day -25 hours') FROM one;
SELECT window_funnel(t, '{view}', '300000 years') FROM one;
SELECT window_funnel(t, '{view,NULL}', '1 day') FROM one;
SELECT window_funnel(t, '{{view},{cart}}', '1 day') FROM one;
SELECT window_funnel(t, array_fill('a'::text, '{65}'), '1 day') FROM one;
SELECT window_funnel(t, '{view}', '1 day', 'fast') FROM one;
\set VERBOSITY default

-- more names than one byte counts, more labels than two bytes count
SELECT num_events(t), num_events(t, 'e00299'), window_funnel(t, '{e00000,e00299,e00001}', '1 day'), t = t::text::timeline, t = t::bytea::timeline
FROM (SELECT timeline_agg(timestamptz '2026-01-01' + i * interval '1 s', 'e' || lpad((i % 300)::text, 5, '0')) AS t FROM generate_series(0, 899) i) s;
SELECT num_events(t), num_events(t, 'e', 'l70000'), num_events(t, 'f69999', 'l69999'), window_funnel(t, '{f00001,e,f69999,f69999}', '30 days'), t = t::bytea::timeline
FROM (SELECT timeline_agg(timestamptz '2026-01-01' + i * interval '1 us', CASE WHEN i % 2 = 0 THEN 'e' ELSE 'f' || lpad(i::text, 5, '0') END, 'l' || i) AS t FROM generate_series(1, 140000) i) s;

-- size: second-exact times without labels take 5 bytes an event, and no column that is not needed
SELECT n, length(timeline_agg(timestamptz '2026-01-01' + i * interval '1 s', 'view')::bytea) AS bytes
FROM unnest('{1,100,1000,100000}'::int[]) n, generate_series(1, n) i GROUP BY n ORDER BY n;
SELECT length('{}'::timeline::bytea), length('{2026-01-01T00:00:00Z "a"}'::timeline::bytea);

-- equality classes
SELECT count(DISTINCT t), count(*), min(hash) = max(hash) FROM (SELECT t, timeline_hash(t) AS hash FROM (VALUES ('{2026-01-01T00:00:00Z "a", 2026-01-02T00:00:00Z "b"}'::timeline),
	('{2026-01-02T00:00:00Z "b", 2026-01-01T00:00:00Z "a"}')) v(t)) s;
SELECT a = b AS eq, a <> b AS ne, a < b AS lt, a <= b AS le, a > b AS gt, a >= b AS ge, timeline_cmp(a, b) FROM (VALUES ('{}'::timeline, '{2026-01-01T00:00:00Z "a"}'::timeline), ('{}', '{}')) v(a, b);
CREATE TEMP TABLE keyed(t timeline PRIMARY KEY);
INSERT INTO keyed SELECT timeline_agg(timestamptz '2026-01-01', 'e' || i) FROM generate_series(1, 100) i GROUP BY i % 10;
SELECT count(*) FROM keyed a JOIN keyed b USING (t);
SET enable_hashjoin = off; SET enable_nestloop = off;
SELECT count(*) FROM keyed a JOIN keyed b USING (t);
RESET enable_hashjoin; RESET enable_nestloop;

-- binary form: what is no timeline is refused with a reason
SELECT '\x'::bytea::timeline;
SELECT '\x02000000000000000000000000000000000000000000'::bytea::timeline;
SELECT set_byte(b, 0, 2)::timeline FROM (SELECT '{2026-01-01T00:00:00Z "a"}'::timeline::bytea AS b) s;
SELECT set_byte(b, 20, 99)::timeline FROM (SELECT '{2026-01-01T00:00:00Z "a"}'::timeline::bytea AS b) s;
SELECT (b || '\x00')::timeline FROM (SELECT '{2026-01-01T00:00:00Z "a"}'::timeline::bytea AS b) s;
SELECT set_byte(b, length(b) - 1, 255)::timeline FROM (SELECT '{2026-01-01T00:00:00Z "a"}'::timeline::bytea AS b) s;
-- the order of unsorted bytes: swap the two times
SELECT set_byte(set_byte(b, 60, 1), 61, 0)::timeline FROM (SELECT '{2026-01-01T00:00:00Z "a", 2026-01-02T00:00:00Z "b"}'::timeline::bytea AS b) s;
-- this form is frozen: every later release must read it
SELECT '{2026-01-01T00:00:00Z "purchase"["sku 1"]=9.99, 2026-01-02T00:00:00.5Z "view"}'::timeline::bytea;
SELECT '\x0100060002000000000000000060e80a47ea020001020100600000000800000002000000680000000200000003000000700000001200000004000000880000000200000005000000900000000a00000006030200a00000000400000000000000f45d2605000100000000000002000000080c70757263686173657669657700000000000001000000000000000100000005736b752031000000000000e7030080'::bytea::timeline;
-- binary transfer
CREATE TEMP TABLE sent(t timeline);
INSERT INTO sent SELECT t FROM one UNION ALL VALUES ('{}'::timeline), (NULL);
SELECT timeline_send(t) = t::bytea FROM sent;
\copy sent TO 'timeline_sent.bin' WITH (FORMAT binary)
CREATE TEMP TABLE received (LIKE sent);
\copy received FROM 'timeline_sent.bin' WITH (FORMAT binary)
SELECT t FROM received EXCEPT ALL SELECT t FROM sent;
SELECT count(*), count(t) FROM received;
\! rm -f timeline_sent.bin
