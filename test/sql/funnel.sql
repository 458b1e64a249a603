-- funnels: what each mode means, by small histories; limits and errors
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';

-- 'A1 B2' is an event A at second 1 and an event B at second 2
CREATE FUNCTION pg_temp.history(h text) RETURNS timeline LANGUAGE sql IMMUTABLE AS
	$$ SELECT coalesce(timeline_agg(timestamptz '2026-01-01' + substr(e, 2)::int * interval '1 s', left(e, 1)), '{}') FROM unnest(string_to_array(h, ' ')) e $$;
CREATE FUNCTION pg_temp.modes(h text, steps text[], within interval, OUT plain int, OUT increase int, OUT dedup int, OUT "order" int, OUT once int) LANGUAGE sql IMMUTABLE AS
	$$ SELECT window_funnel(t, steps, within, ''), window_funnel(t, steps, within, 'strict_increase'), window_funnel(t, steps, within, 'strict_deduplication'),
		window_funnel(t, steps, within, 'strict_order'), window_funnel(t, steps, within, 'strict_once') FROM pg_temp.history(h) t $$;
CREATE TEMP TABLE example(id int GENERATED ALWAYS AS IDENTITY, history text, steps text[], within interval, why text);
INSERT INTO example(history, steps, within, why) VALUES
	('A1 B2 C3 D4', '{A,B,C,D}', '3 s', 'the window is inclusive'),
	('A1 B2 C3 D4', '{A,B,C,D}', '2 s', 'and measured from the first step'),
	('A1 A5 B6 C8', '{A,B,C}', '3 s', 'the best chain wins, not the first'),
	('A1 B2 A5 B6 C8', '{A,B,C}', '3 s', ''),
	('A1 B4 A5 C6', '{A,B,C}', '4 s', 'nor the last'),
	('B1 A1', '{A,B}', '0', 'equal times may advance, in any order'),
	('A1', '{A,A,A}', '0', 'one event, several steps'),
	('A1 A1', '{A,A,A}', '0', ''),
	('A1 A2 A3', '{A,A,A}', '9 s', ''),
	('A1 B2 C3 B4 D5', '{A,B,C,D}', '9 s', 'a repeat of B'),
	('A1 A2 B3', '{A,B}', '9 s', 'a repeat of A begins another chain'),
	('A1 B2 A3 C4', '{A,B,C}', '9 s', 'which here reaches less'),
	('A1 B2 B3 C4', '{A,B,C}', '9 s', 'the second B can be the one that counts'),
	('A1 B2 A3', '{A,B,A}', '9 s', 'the next step is no repeat'),
	('A1 B2 D3 C4', '{A,B,C,D}', '9 s', 'D comes between'),
	('A1 B2 X3 C4', '{A,B,C}', '9 s', 'so does what is no step'),
	('A1 X2 A3 B4', '{A,B}', '9 s', 'but not in the better chain'),
	('A1 X1 B2 X2', '{A,B}', '9 s', 'nor at the times of the first and the last'),
	('A1 B2 X2 C3', '{A,B,C}', '9 s', 'at any other time it is between'),
	('A1 B2 B2 C3', '{A,B,C}', '9 s', ''),
	('A1 B1 A2 B2', '{A,B,A,B}', '9 s', ''),
	('', '{A}', '1 s', ''), ('A1', '{}', '1 s', '');
SELECT history, steps, within, m.*, why FROM example, pg_temp.modes(history, steps, within) m ORDER BY id;

-- modes combine
SELECT mode, window_funnel(pg_temp.history('A1 A1 B2 C3'), '{A,A,B,C}', '9 s', mode) FROM unnest(ARRAY['', ' ', 'strict_once', 'strict_increase', 'strict_once,strict_order', ' strict_order , strict_once ', 'strict_order,strict_increase', 'strict_once,strict_once']) mode;
SELECT mode, window_funnel(pg_temp.history('A1 B2 B2 C3'), '{A,B,B,C}', '9 s', mode) FROM unnest(ARRAY['strict_order,strict_once', 'strict_order,strict_increase', 'strict_deduplication,strict_increase']) mode;

-- funnel_times: of the longest chains the one that begins first, then goes on first
SELECT h, within, funnel_times(pg_temp.history(h), '{A,B,C}', within) FROM (VALUES ('A1 A2 B3 C4 C5', interval '3 s'), ('A1 A2 B3 C4 C5', '2 s'), ('A1 B2 A3 C9', '2 s'), ('A7 C8', '1 h'), ('B1', '1 h'), ('C1 B1 A1', '0'), ('', '0')) v(h, within);
SELECT funnel_times('{}', '{}', '1 day'), funnel_times(t => '{}', steps => '{a}', within => '1 day'), funnel_times(NULL, '{a}', '0') IS NULL;

-- many ties, many steps
SELECT window_funnel(t, array_fill('a'::text, '{64}'), '0', 'strict_once') AS once, window_funnel(t, array_fill('a'::text, '{64}'), '0', 'strict_order,strict_once') AS exact, window_funnel(t, array_fill('a'::text, '{64}'), '0', 'strict_increase') AS increase
FROM (SELECT timeline_agg('2026-01-01', 'a') AS t FROM generate_series(1, 100000)) s;
SELECT mode, window_funnel(t, ARRAY(SELECT chr(97 + i % 3) FROM generate_series(0, 63) i), '1 year', mode) FROM unnest(ARRAY['strict_once', 'strict_order', 'strict_deduplication', 'strict_increase']) mode,
	(SELECT timeline_agg(timestamptz '2026-01-01' + i / 2 * interval '1 s', chr(97 + (i + i / 7) % 3)) AS t FROM generate_series(1, 100000) i) s;

SELECT window_funnel(NULL, '{a}', '1 day', '') IS NULL, window_funnel('{}'::timeline, '{a}', '1 day', NULL) IS NULL;
SELECT window_funnel('{}'::timeline, '{a}', '1 day', 'strict');
SELECT window_funnel('{}'::timeline, '{a}', '1 day', 'strict_order;strict_once');
SELECT window_funnel('{}'::timeline, '{a}', '1 day', 'strict_order,');
SELECT window_funnel('{}'::timeline, '{a}', '1 day', ',');
SELECT window_funnel('{}'::timeline, '{a}', '-1 day', 'strict_once');
SELECT funnel_times('{}', '{a,NULL}', '1 day');
SELECT funnel_times('{}', '{a}', '-1 day');
