-- sequence_match, sequence_count over timelines: the pattern language, limits, errors
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';

-- 'view1 cart2[sku]' is a view at second 1 and a cart with label sku at second 2
CREATE FUNCTION pg_temp.history(h text) RETURNS timeline LANGUAGE sql IMMUTABLE AS
	$$ SELECT coalesce(timeline_agg(timestamptz '2026-01-01' + m[2]::int * interval '1 s', m[1], m[3]), '{}') FROM regexp_matches(h, '([a-z_]+)(\d+)(?:\[(\w*)\])?', 'g') m $$;
CREATE TEMP TABLE example(id int GENERATED ALWAYS AS IDENTITY, history text, pattern text);
INSERT INTO example(history, pattern) VALUES
	('view1 cart2 view3', 'view -> cart -> !purchase -> view'), ('view1 cart2 purchase3 view4', 'view -> cart -> !purchase -> view'), ('view1 cart2 purchase3 cart4 view5', 'view -> cart -> !purchase -> view'),
	('b1 a1', 'a -> b'), ('a1', 'a -> a'), ('a1 a1', 'a -> a'), ('a1 b1', 'a -> b -> a'),
	('a1 b4', 'a ->(3s) b'), ('a1 b4', 'a ->(2s) b'), ('a1 a2 b4', 'a ->(2s) b'), ('a1 b3 c6', 'a ->(2s) b ->(3s) c'), ('a1 b3 c6', 'a ->(2s) b ->(2s) c'), ('a1 x2 b3', 'a -> !x ->(2s) b'),
	('a1 x1 b2 x2', 'a -> !x -> b'), ('a1 x2 a3 b4', 'a -> !x -> b'), ('a1 y2 b3', 'a -> !x -> !y -> b'),
	('cart1', 'cart ->(2h) !purchase'), ('cart1 purchase7201', 'cart ->(2h) !purchase'), ('cart1 purchase7202', 'cart ->(2h) !purchase'), ('cart1 purchase7202', 'cart -> !purchase'), ('cart1 purchase1', 'cart -> !purchase'),
	('cart1 purchase2 cart3', 'cart -> !purchase'), ('cart1 cart2', 'cart -> !cart'), ('cart1 x5', 'cart ->(3s) !x ->(5s) !y'), ('cart1 y5', 'cart ->(3s) !x ->(5s) !y'),
	('view1[hat] cart2[shoes]', 'view[hat] -> cart[shoes]'), ('view1[hat] cart2[shoes]', 'view[shoes] -> cart'), ('view1 cart2', 'view[""] -> cart'), ('view1[] cart2', 'view[""] -> cart'), ('view1[hat] view2[cap] cart3', 'view[hat] -> !view[cap] -> cart'),
	('view1[hat] view2[cap] cart3', 'view[hat] -> !view[hat] -> cart'), ('a1 b2 c3', 'a -> * -> c'), ('a1 c3', 'a -> * -> c'), ('a1 b2', 'b -> !*'), ('a1 b2', 'a -> !*'),
	('a1 b2 a3 b4 a5', 'a -> b'), ('a1 a2 a3 a4 a5', 'a -> a'), ('a1 b2 b3', 'a -> b'), ('a1 a2 b3 b4', 'a -> b'), ('a1 a1 b1 b1', 'a -> b'), ('a1 b2 a2 b3', 'a -> b'), ('a1 a1 a1', 'a'), ('', 'a'), ('a1', 'z'), ('a1', '!z'), ('a1', 'a -> !z');
SELECT history, pattern, sequence_match(pg_temp.history(history), pattern) AS match, sequence_count(pg_temp.history(history), pattern) AS count FROM example WHERE pattern <> '!z' ORDER BY id;

-- asked at an instant: what comes later is not seen, and a length at the end must have passed
SELECT seconds, bool_or(sequence_match(t, 'cart ->(2h) !purchase', at)) AS abandoned, bool_or(sequence_match(t, 'cart -> !purchase', at)) AS no_purchase, bool_or(sequence_match(t, 'cart -> purchase', at)) AS bought,
	sum(sequence_count(t, 'cart ->(10s) !x ->(2h) !purchase', at)) AS both, sum(sequence_count(t, '*', at)) AS seen
FROM unnest('{-1,0,1,7199,7200,7201,7300,7301}'::int[]) seconds, LATERAL (SELECT pg_temp.history('cart0 purchase7300') AS t, timestamptz '2026-01-01' + seconds * interval '1 s' AS at) s GROUP BY seconds ORDER BY seconds;
SELECT sequence_match(t, 'cart ->(2h) !purchase', 'infinity'), sequence_match(t, 'cart ->(2h) !purchase'), sequence_match(t, 'cart', '-infinity'), sequence_match(t, 'cart', NULL) IS NULL, sequence_count(t, 'cart ->(290000y) !purchase', '9999-01-01'),
	sequence_count(t, 'cart ->(0s) !purchase', '2026-01-01'), sequence_match('{2026-01-01T00:00:00Z "a"}', 'a ->(1h) !b', '2026-01-01 01:00Z'), sequence_count('{2026-01-01T00:00:00Z "a"}', 'a', '2026-01-01') FROM (SELECT pg_temp.history('cart0') AS t) s;

-- names: any script; quoted they may be anything; - . and / stand inside
SELECT pattern, sequence_match('{2026-01-01T00:00:00Z "a-b.c/d", 2026-01-01T00:00:01Z "購物車"["x -> y"], 2026-01-01T00:00:02Z "say ""hi"" !"}', pattern)
FROM unnest(ARRAY['a-b.c/d->購物車->"say ""hi"" !"', ' a-b.c/d  ->  "購物車" [ "x -> y" ] ', '"a-b.c/d"->(1min)*->( 1y )!x', E'a-b.c/d\n->\t*']) pattern;

-- a pattern that changes from row to row
SELECT string_agg(sequence_count('{2026-01-01T00:00:00Z "a", 2026-01-01T00:00:01Z "b"}', chr(97 + i % 3))::text, '' ORDER BY i) FROM generate_series(1, 9) i;
SELECT sequence_match(NULL, 'a') IS NULL, sequence_count('{}', NULL) IS NULL;

-- linear: a million events, nothing matches, nothing is tried twice
CREATE TEMP TABLE long AS SELECT timeline_agg(timestamptz '2026-01-01' + i * interval '1 s', CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END) AS t FROM generate_series(1, 1000000) i;
SELECT sequence_match(t, 'a -> a -> a -> a -> a -> a -> a -> a -> a -> c'), sequence_match(t, 'a -> b -> !a -> b -> a'), sequence_count(t, 'a -> b'), sequence_count(t, 'a ->(1s) b ->(1s) a'), sequence_count(t, 'a -> !b'),
	sequence_match(t, repeat('a -> ', 63) || 'b'), sequence_count(t, '*') FROM long;
-- and so are ties
SELECT sequence_count(t, 'a'), sequence_count(t, 'a -> b'), sequence_count(t, 'b -> a -> b') FROM (SELECT timeline_agg('2026-01-01', CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END) AS t FROM generate_series(1, 100000) i) s;

SELECT sequence_match('{}', '');
SELECT sequence_match('{}', '!a');
SELECT sequence_match('{}', 'a b');
SELECT sequence_match('{}', 'a ->');
SELECT sequence_match('{}', 'a -> -> b');
SELECT sequence_match('{}', 'a -> "b');
SELECT sequence_match('{}', 'a[b -> c');
SELECT sequence_match('{}', 'a[] -> c');
SELECT sequence_match('{}', 'a ->(b) c');
SELECT sequence_match('{}', 'a ->(7 days) c');
SELECT sequence_match('{}', 'a ->(7d c');
SELECT sequence_match('{}', 'a ->(99999999999999999999y) c');
SELECT sequence_match('{}', 'a ->(999999999y) c');
SELECT sequence_match('{}', 'é -> +');
SELECT sequence_match('{}', 'a ->(2h) !b -> c');
SELECT sequence_match('{}', 'a[$] -> c');
SELECT sequence_match('{}', 'a -> c[@set]');
SELECT sequence_count('{}', 'a{price > 1}');
SELECT sequence_count('{}', repeat('a -> ', 64) || 'a');
