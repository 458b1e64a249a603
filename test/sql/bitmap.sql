-- bitmap: the surface of the type; bitmap_random tries to break its algebra
SET search_path = public, cdp;

-- text form
SELECT '{}'::bitmap, ' { } '::bitmap, '{3,1,2}'::bitmap, E'{ 7 ,\t+7\n, 0 }'::bitmap, '{-0}'::bitmap;
SELECT '{9223372036854775807,4294967296,4294967295,0}'::bitmap;
SELECT ''::bitmap;
SELECT '{'::bitmap;
SELECT '{1'::bitmap;
SELECT '{1,}'::bitmap;
SELECT '{,}'::bitmap;
SELECT '{1 2}'::bitmap;
SELECT '{1} x'::bitmap;
SELECT '{1x}'::bitmap;
SELECT '{-x}'::bitmap;
SELECT 'é{1}'::bitmap;
SELECT '{1,é}'::bitmap;
SELECT ('{' || repeat('1,', 100) || 'é' || repeat('é', 100))::bitmap;
SELECT '{1,-2}'::bitmap;
SELECT '{9223372036854775808}'::bitmap;
SELECT '{99999999999999999999999999999}'::bitmap;
SELECT '{0000000000000000000000000000000009}'::bitmap;
-- the text of a bytea is read too: what pg_roaringbitmap puts into text dumps
SELECT '\x0000000000000000'::bitmap, ' \x3a300000010000000000020010000000010002000300'::bitmap;
SELECT ('{1,9999,4294967296}'::bitmap::bytea::text)::bitmap;
SELECT '\x'::bitmap;
SELECT '\x0z'::bitmap;

-- binary form: 64-bit is written, 64- and 32-bit are read
SELECT '{}'::bitmap::bytea, '{1,9999}'::bitmap::bytea, '{4294967296}'::bitmap::bytea, '{5,6,7}'::bitmap::bytea, '{5,6,7,8}'::bitmap::bytea;
SELECT bitmap_send('{1,9999}') = '{1,9999}'::bitmap::bytea AS same;
SELECT '\x0000000000000000'::bytea::bitmap, '\x0100000000000000000000003a30000001000000000001001000000001000f27'::bytea::bitmap;
SELECT '\x3a300000010000000000020010000000010002000300'::bytea::bitmap, '\x3a30000000000000'::bytea::bitmap, '\x3b300000010000030001000500 03 00'::bytea::bitmap;
\set VERBOSITY terse
SELECT ''::bytea::bitmap;
SELECT '\x00'::bytea::bitmap;
SELECT '\x000000000000000000'::bytea::bitmap;
\set VERBOSITY default
DO $$
DECLARE
	what text;
	bytes bytea;
	why text;
BEGIN
	FOR what, bytes IN VALUES
		('bytes follow the 64-bit form', '\x0100000000000000000000003a3000000100000000000000100000000100 00'::bytea),
		('bytes follow the 32-bit form', '\x3a3000000100000000000000100000000100 00'),
		('cut off in a container', '\x3a30000001000000000001001000000001 00'),
		('cut off in the header', '\x3a3000000100000000000000'),
		('no cookie', '\x010000000000000000000000 0030000001000000000000001000000001000000'),
		('empty part', '\x010000000000000000000000 3a30000000000000 0000000000000000'),
		('key out of the domain', '\x0100000000000000 00000080 3a3000000100000000000000100000000100'),
		('same part twice', '\x0200000000000000 00000000 3a3000000100000000000000100000000100 00000000 3a3000000100000000000000100000000100'),
		('more parts than bytes', '\xffffffffffffffff 00000000 3a3000000100000000000000100000000100'),
		('ids out of order', '\x3a300000 01000000 0000 0100 10000000 0200 0100'),
		('same id twice', '\x3a300000 01000000 0000 0100 10000000 0100 0100'),
		('containers out of order', '\x3a300000 02000000 0100 0000 0000 0000 18000000 1a000000 0100 0100'),
		('wrong offset', '\x3a300000 01000000 0000 0000 11000000 0100'),
		('too many containers', '\x3a300000 01000100 0000 0000 11000000 0100'),
		('unused run flag', '\x3b300000 03 0000 0300 0100 0500 0300'),
		('no runs', '\x3b300000 01 0000 0300 0000'),
		('runs do not add up', '\x3b300000 01 0000 0400 0100 0500 0300'),
		('run leaves its container', '\x3b300000 01 0000 0300 0100 fdff 0300'),
		('adjacent runs', '\x3b300000 01 0000 0300 0200 0500 0100 0700 0100'),
		('runs overlap', '\x3b300000 01 0000 0300 0200 0500 0100 0600 0100'),
		('bits do not add up', '\x3a300000 01000000 0000 0010 10000000'::bytea || decode(repeat('00', 8192), 'hex'))
	LOOP
		BEGIN
			PERFORM bytes::bitmap;
			RAISE WARNING 'accepted: %', what;
		EXCEPTION WHEN invalid_binary_representation THEN
			GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
			RAISE NOTICE '%: % %', what, SQLERRM, why;
		END;
	END LOOP;
END
$$;
-- a 32-bit bitmap that other software writes with runs where we write none, and a bit set
SELECT ('\x3a300000 01000000 0000 0010 10000000'::bytea || decode(repeat('ff', 512) || '01' || repeat('00', 7679), 'hex'))::bitmap = rb_fill('{}', 0, 4097) AS same;
SELECT rb_to_bytea('\x3b300000 01 0000 0100 0200 0500 0000 0700 0000'::bytea::bitmap);

-- through a file in binary
CREATE TABLE bitmap_wire (id int, b bitmap);
INSERT INTO bitmap_wire VALUES (1, NULL), (2, '{}'), (3, '{1,2,4294967296}'), (4, rb_fill('{}', 0, 1000000));
\copy bitmap_wire TO 'results/bitmap_wire.bin' (FORMAT binary)
\copy bitmap_wire FROM 'results/bitmap_wire.bin' (FORMAT binary)
SELECT id, count(*), count(DISTINCT b), min(rb_cardinality(b)) FROM bitmap_wire GROUP BY id ORDER BY id;
DROP TABLE bitmap_wire;

-- arrays
SELECT rb_build('{}'), rb_build(ARRAY[3, 1, 3]), rb_build('{{1,2},{3,4}}'), rb_build(NULL);
SELECT ARRAY[5, 6]::bitmap, ARRAY[5, 4294967296]::bitmap, '{}'::int[]::bitmap;
SELECT rb_to_array('{}'), rb_to_array('{9223372036854775807,0}'), '{3,2}'::bitmap::bigint[], '{3,2}'::bitmap::int[];
SELECT rb_build(ARRAY[1, NULL]);
SELECT rb_build(ARRAY[1, -1]);
SELECT ARRAY[1, -1]::int[]::bitmap;
SELECT '{1,2147483648}'::bitmap::int[];

-- questions
SELECT b, rb_cardinality(b), rb_is_empty(b), rb_min(b), rb_max(b)
FROM (VALUES ('{}'::bitmap), ('{1,10,100}'), ('{0,9223372036854775807}'), (NULL)) v (b);
SELECT id, rb_contains('{1,10,5000000000}', id), '{1,10,5000000000}'::bitmap @> id AS op, id <@ '{1,10,5000000000}'::bitmap AS commuted,
	rb_rank('{1,10,5000000000}', id), rb_index('{1,10,5000000000}', id)
FROM unnest(ARRAY[-1, 0, 1, 2, 10, 4294967296, 5000000000, 9223372036854775807]) id;
SELECT a, b, a & b AS "&", a | b AS "|", a # b AS "#", a - b AS "-", a @> b AS "@>", a <@ b AS "<@", a && b AS "&&", a = b AS "=", a <> b AS "<>"
FROM (VALUES ('{}'::bitmap, '{}'::bitmap), ('{}', '{3,4,5}'), ('{1,2,3}', '{}'), ('{1,2,3}', '{3,4,5}'), ('{1,2,3}', '{2,3}'),
	('{1,2,3}', '{1,2,3}'), ('{1,4294967297}', '{4294967297}'), ('{1}', '{4294967297}'), ('{1}', NULL)) v (a, b);
SELECT a, b, rb_and(a, b), rb_or(a, b), rb_xor(a, b), rb_andnot(a, b), rb_contains(a, b), rb_contained(a, b), rb_intersect(a, b), rb_equals(a, b),
	rb_and_cardinality(a, b) AS "and", rb_or_cardinality(a, b) AS "or", rb_xor_cardinality(a, b) AS "xor", rb_andnot_cardinality(a, b) AS "andnot"
FROM (VALUES ('{}'::bitmap, '{}'::bitmap), ('{}', '{3,4,5}'), ('{1,2,3}', '{3,4294967297}'), (NULL, '{1}')) v (a, b);
SELECT rb_jaccard_dist('{1,10,11,12}', '{1,10,100}'), rb_jaccard_dist('{}', '{1}'), rb_jaccard_dist('{}', '{}'), rb_jaccard_dist('{1}', '{1}');
SELECT '{1}'::bitmap | 5, 5 | '{1}'::bitmap, '{1,5}'::bitmap - 5, '{1,5}'::bitmap - 6;
SELECT rb_add('{1}', 9223372036854775807), rb_remove('{1,9223372036854775807}', 9223372036854775807), rb_remove('{}', 1), rb_add(NULL, 1);
SELECT rb_add('{1}', -1);
SELECT rb_remove('{1}', -1);
SELECT -1 | '{1}'::bitmap;

-- ranges: [since, until), NULL = no bound, below 0 = 0
SELECT since, until, rb_fill('{1,10,100}', since, until), rb_clear('{1,10,100}', since, until), rb_flip('{1,10,100}', since, until),
	rb_range('{1,10,100}', since, until), rb_range_cardinality('{1,10,100}', since, until)
FROM (VALUES (0, 0), (0, 2), (-5, 2), (10, 12), (12, 10), (10, 10), (-3, -1), (NULL, 2), (99, 101)) v (since, until);
SELECT rb_clear('{1,10}', 5, NULL), rb_range('{1,10}', 5, NULL), rb_range('{1,10}', NULL, NULL), rb_clear('{1,10}', NULL, NULL), rb_range_cardinality('{1,10}', NULL, NULL);
SELECT rb_fill('{}', 9223372036854775805, NULL), rb_flip('{9223372036854775806}', 9223372036854775805, NULL), rb_fill(NULL, 1, 2), rb_flip(NULL, 1, 2), rb_clear(NULL, 1, 2);
SELECT rb_cardinality(rb_fill('{}', 0, 1000000000)), rb_cardinality(rb_fill('{}', 5, 5000000000)), rb_cardinality(rb_flip(rb_fill('{}', 0, 5000000000), 1, 4999999999));
SELECT rb_fill('{}', NULL, NULL);
SELECT rb_flip('{}', 0, 1000000000000);
SELECT rb_cardinality(rb_clear(rb_fill('{}', 1, 5000000000), 0, NULL));

-- positions
SELECT rb_select('{0,1,2,10,100,1000}', 2), rb_select('{0,1,2,10,100,1000}', 2, 1), rb_select('{0,1,2,10,100,1000}', 2, 1, true),
	rb_select('{0,1,2,10,100,1000}', 2, 1, true, 1, 101), rb_select('{0,1,2,10,100,1000}', 100, 4), rb_select('{0,1}', 1, 2), rb_select('{}', 10);
SELECT rb_select('{0,1}', 0), rb_select('{0,1}', NULL), rb_select(NULL, 1), rb_select('{0,1,2}', 9223372036854775807, 1);
SELECT rb_select('{0,1}', -1);
SELECT rb_select('{0,1}', 1, -1);
SELECT rb_iterate('{1,10,9223372036854775807}');
SELECT rb_iterate('{}'), rb_iterate(NULL);
SELECT count(*), sum(id) FROM (SELECT rb_iterate(rb_fill('{}', 1, 100001)) AS id LIMIT 1000) s;
SELECT rb_runoptimize('{1,2,3}');

-- samples: deterministic, nested, n of them
SELECT rb_sample('{1,2,3}', 5, 'x'), rb_sample('{1,2,3}', 0, 'x'), rb_sample('{}', 2, 'x'), rb_sample('{1}', 1, NULL);
SELECT rb_sample(rb_fill('{}', 0, 1000), 5, 'a'), rb_sample(rb_fill('{}', 0, 1000), 5, 'b'), rb_sample(rb_fill('{}', 0, 1000), 5, '');
SELECT bool_and(rb_cardinality(s) = n) AS size, bool_and(all_ids @> s) AS subset, bool_and(coalesce(s @> lag, true)) AS nested
FROM (SELECT n, all_ids, s, lag(s) OVER (ORDER BY n) FROM (SELECT n, all_ids, rb_sample(all_ids, n, 'seed') AS s
	FROM rb_fill('{}', 100, 20000) all_ids, generate_series(0, 19900, 997) n) x) y;
-- every tenth of the range has about its share of a sample of 10,000
SELECT bool_and(abs(rb_range_cardinality(s, k * 10000, (k + 1) * 10000) - 1000) < 120) AS even
FROM rb_sample(rb_fill('{}', 0, 100000), 10000, 'even') s, generate_series(0, 9) k;
SELECT rb_sample('{1}', -1, 'x');

-- aggregates: NULLs are skipped, no input gives NULL
SELECT rb_build_agg(id), rb_build_cardinality_agg(id) FROM unnest(ARRAY[10, 1, NULL, 100, 10]) id;
SELECT rb_build_agg(id), rb_build_cardinality_agg(id) FROM unnest(ARRAY[NULL]::bigint[]) id;
SELECT rb_build_agg(1), rb_or_agg('{1}'), rb_and_agg('{1}'), rb_xor_agg('{1}'), rb_or_cardinality_agg('{1}'), rb_and_cardinality_agg('{1}'), rb_xor_cardinality_agg('{1}') WHERE false;
SELECT rb_build_agg(-1);
CREATE TEMP TABLE sets (id int, b bitmap);
INSERT INTO sets VALUES (0, NULL), (1, '{1,10,100}'), (2, NULL), (3, '{1,10,101}'), (4, '{1,100,102,5000000000}');
SELECT rb_or_agg(b), rb_and_agg(b), rb_xor_agg(b), rb_or_cardinality_agg(b), rb_and_cardinality_agg(b), rb_xor_cardinality_agg(b) FROM sets;
SELECT rb_or_agg(b), rb_and_agg(b), rb_xor_agg(b), rb_or_cardinality_agg(b), rb_and_cardinality_agg(b), rb_xor_cardinality_agg(b) FROM sets WHERE id IN (0, 2);
SELECT rb_or_agg(b), rb_and_agg(b), rb_xor_agg(b) FROM (VALUES ('{}'::bitmap)) v (b);
-- as window functions the state goes on changing after a result was taken
SELECT id, rb_or_agg(b) OVER w, rb_and_agg(b) OVER w, rb_xor_cardinality_agg(b) OVER w, rb_build_agg(id) OVER w, rb_build_cardinality_agg(id) OVER w
FROM sets WINDOW w AS (ORDER BY id);
SELECT id % 2 AS odd, rb_build_agg(id ORDER BY id DESC), rb_build_agg(DISTINCT id), rb_or_agg(b) FILTER (WHERE id > 1) FROM sets GROUP BY 1 ORDER BY 1;
SELECT count(*), sum(rb_cardinality(b)) FROM (SELECT g % 1000, rb_build_agg(g) AS b FROM generate_series(1, 100000) g GROUP BY 1) s;
SELECT rb_build_transfn(NULL, 1);
-- a value made by an aggregate lives on in plpgsql
DO $$
DECLARE
	b bitmap;
	c bitmap;
BEGIN
	SELECT rb_build_agg(g), rb_or_agg(ARRAY[g]::bitmap) INTO b, c FROM generate_series(1, 5) g;
	b := b | 6;
	c := c - 1;
	RAISE NOTICE '% % % %', b, c, b - c, rb_cardinality(b);
END
$$;

-- comparison, grouping, keys
SELECT amname, opcname FROM pg_opclass opc LEFT JOIN pg_am am ON am.oid = opcmethod WHERE opc.oid >= 16384 AND opcname LIKE 'bitmap%' AND NOT amvalidate(opc.oid);
SELECT b, count(*) FROM (VALUES ('{1,2}'::bitmap), ('{2,1}'), ('{}'), ('{3}'), ('{2,2,1}')) v (b) GROUP BY b ORDER BY b;
SET enable_hashagg = off;
SELECT DISTINCT b FROM (VALUES ('{1,2}'::bitmap), ('{2,1}'), ('{}'), ('{3}'), ('{2,2,1}')) v (b);
RESET enable_hashagg;
SELECT bool_and((x < y) = (bitmap_cmp(x, y) < 0) AND (x <= y) = (bitmap_cmp(x, y) <= 0) AND (x > y) = (bitmap_cmp(y, x) < 0) AND (x >= y) = (bitmap_cmp(y, x) <= 0)
	AND ((x = y) = (bitmap_cmp(x, y) = 0)) AND ((x = y) <= (bitmap_hash(x) = bitmap_hash(y))) AND ((x = y) <= (bitmap_hash_extended(x, 7) = bitmap_hash_extended(y, 7)))) AS consistent
FROM unnest(ARRAY['{}', '{1}', '{2}', '{1,2}', '{4294967296}']::bitmap[]) x, unnest(ARRAY['{}', '{1}', '{2}', '{2,1}', '{4294967296}']::bitmap[]) y;
CREATE TEMP TABLE unique_sets (b bitmap PRIMARY KEY);
INSERT INTO unique_sets VALUES ('{1,2,3}');
INSERT INTO unique_sets VALUES ('{3,2,1}');

-- toasted and short values
CREATE TEMP TABLE stored (b bitmap);
INSERT INTO stored SELECT rb_build_agg(g * 3) FROM generate_series(1, 100000) g;
INSERT INTO stored VALUES ('{7}');
SELECT rb_cardinality(b), rb_max(b), b @> 7, b @> 300000, b @> 299999 FROM stored ORDER BY 1;
-- several out of line ones asked in turn, many ids each
CREATE TEMP TABLE outside AS SELECT k, rb_build_agg(k + g * 11) AS b FROM generate_series(0, 2) k, generate_series(0, 20000) g GROUP BY k;
SELECT k, count(*) FILTER (WHERE b @> id) AS contained, bool_and((b @> id) = (id % 11 = k)) AS right_ones
FROM generate_series(0, 1000) id, outside GROUP BY k ORDER BY k;
SELECT attstorage FROM pg_attribute WHERE attrelid = 'stored'::regclass AND attname = 'b';

-- membership can use an index on the id; the array is made by the executor
CREATE TEMP TABLE person (id bigint PRIMARY KEY, twin bigint, band bigint);
INSERT INTO person SELECT g, g, g % 1000 FROM generate_series(1, 20000) g;
CREATE INDEX ON person USING hash (twin);
ANALYZE person;
PREPARE members(bitmap) AS SELECT id FROM person WHERE id <@ $1 ORDER BY id;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE members('{5,7,30000}');
EXECUTE members('{5,7,30000}');
EXECUTE members('{}');
EXECUTE members(NULL);
RESET plan_cache_mode;
EXPLAIN (COSTS OFF) SELECT id FROM person WHERE '{5,7,30000}'::bitmap @> id;
SELECT id FROM person WHERE '{5,7,30000}'::bitmap @> id ORDER BY id;
SELECT id FROM person WHERE rb_contains('{5,7,30000}'::bitmap, id) ORDER BY id;
-- only as the first column of a btree: elsewhere the planner could rely on an order that is not there
EXPLAIN (COSTS OFF) SELECT id FROM person WHERE '{5,7,30000}'::bitmap @> twin;
CREATE INDEX ON person (band, twin);
EXPLAIN (COSTS OFF) SELECT id FROM person WHERE band = 5 AND '{5,7,30000}'::bitmap @> twin;
SELECT id FROM person WHERE band = 5 AND '{5,7,30000}'::bitmap @> twin;
SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;
SELECT id FROM person WHERE '{5,7,30000}'::bitmap @> id ORDER BY id;
RESET enable_indexscan; RESET enable_bitmapscan; RESET enable_indexonlyscan;
EXPLAIN (COSTS OFF) SELECT * FROM person p JOIN stored s ON p.id <@ s.b;
-- a constant bitmap is estimated by its number of ids
CREATE FUNCTION estimated_rows(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END$$;
SELECT estimated_rows(format('SELECT FROM person WHERE id <@ %L::bitmap', b))
FROM (VALUES ('{}'::bitmap), ('{1,2,3,4,5}'), (rb_fill('{}', 1, 10001)), (rb_fill('{}', 1, 1000001))) v (b);
SELECT rb_cardinality(rb_build_agg(id)) FROM person WHERE id <@ (SELECT rb_build_agg(g) FROM generate_series(0, 30000, 3) g);
SELECT estimated_rows($$SELECT rb_iterate('{1,2,3}')$$), estimated_rows($$SELECT rb_iterate('{}')$$);
DROP FUNCTION estimated_rows(text);
-- anybody may use the index
CREATE ROLE mcdp_test_bitmap;
GRANT SELECT ON person TO mcdp_test_bitmap;
SET ROLE mcdp_test_bitmap;
SELECT id FROM person WHERE id <@ '{5,7,30000}'::bitmap;
RESET ROLE;
DROP OWNED BY mcdp_test_bitmap;
DROP ROLE mcdp_test_bitmap;

-- a limit: an array cannot hold as many ids as a bitmap
SELECT rb_to_array(rb_fill('{}', 0, 1000000000));
