-- bitmap: algebra on the stored bytes, values stored out of line, the format
SET search_path = public, cdp;
CREATE FUNCTION rnd(n bigint, seed bigint, below bigint) RETURNS bigint IMMUTABLE PARALLEL SAFE
	RETURN (hashint8extended(n, seed) & 9223372036854775807) % below;

-- Every kind of container against every other, in both orders, among them all
-- that lie at a border between two kinds.  The oracle of the counts is a bit
-- string; a result is right when it has as many ids as that and none that it
-- must not have.  (The fuzzer compares with CRoaring's sets, byte for byte.)
CREATE TABLE kind AS SELECT k, name, rb_build(ARRAY[]::bigint[]) | coalesce(rb_build_agg(i) FILTER (WHERE p), '{}') AS b,
		string_agg(p::int::text, '' ORDER BY i)::varbit AS bits
	FROM generate_series(0, 65535) i, LATERAL (VALUES
		(0, 'empty', false),
		(1, 'one', i = 40000),
		(2, 'ends', i IN (0, 65535)),
		(3, 'short array', rnd(i, 1, 600) = 0),
		(4, 'array', rnd(i, 2, 20) = 0),
		(5, 'another array', rnd(i, 3, 25) = 0),
		(6, '4,096 ids', i % 16 = 3),
		(7, '4,097 ids', i % 16 = 3 OR i = 65534),
		(8, 'bit set', rnd(i, 4, 2) = 0),
		(9, 'dense', rnd(i, 5, 50) > 0),
		(10, 'full', true),
		(11, 'all but one', i <> 30000),
		(12, 'two runs', i BETWEEN 100 AND 20000 OR i BETWEEN 40000 AND 40100),
		(13, '2,047 runs', i % 32 < 20 AND i >= 32),
		(14, '2,048 runs', i % 32 < 20),
		(15, 'runs of two', i % 100 < 2),
		(16, 'runs of three', i % 100 < 3),
		(17, 'upper half', i >= 32768)) v (k, name, p)
	GROUP BY k, name;
SELECT k, name, rb_cardinality(b), length(b::bytea) AS bytes, CASE WHEN rb_is_empty(b) THEN '' WHEN substr(b::bytea, 13, 1) = '\x3b' THEN 'runs'
	WHEN rb_cardinality(b) > 4096 THEN 'bit set' ELSE 'array' END AS kept_as FROM kind ORDER BY k;
-- alone, and with containers before, between and after that only one has, in the same and in another part
CREATE TABLE met AS SELECT x.k AS i, y.k AS j, around, x.b | around_a AS a, y.b | around_b AS b, x.bits AS bits_a, y.bits AS bits_b,
		rb_cardinality(around_a & around_b) AS extra_both, rb_cardinality(around_a) AS extra_a, rb_cardinality(around_b) AS extra_b
	FROM kind x, kind y, (VALUES (1, '{}'::bitmap, '{}'::bitmap), (2, '{65536,200000,4294967296,30064771072}', '{131072,200000,8589934592,30064771072,30064771073}')) v (around, around_a, around_b);
SELECT around, count(*), bool_and(rb_and_cardinality(a, b) = shared) AS "and", bool_and(rb_or_cardinality(a, b) = n_a + n_b - shared) AS "or",
	bool_and(rb_xor_cardinality(a, b) = n_a + n_b - 2 * shared) AS "xor", bool_and(rb_andnot_cardinality(a, b) = n_a - shared) AS andnot,
	bool_and((a && b) = (shared > 0)) AS intersect, bool_and((a @> b) = (shared = n_b)) AS contains, bool_and((a <@ b) = (shared = n_a)) AS contained
FROM (SELECT *, bit_count(bits_a & bits_b) + extra_both AS shared, bit_count(bits_a) + extra_a AS n_a, bit_count(bits_b) + extra_b AS n_b FROM met OFFSET 0) m
GROUP BY around ORDER BY around;
SELECT around, bool_and((a & b)::bytea = i::bytea) AS "and", bool_and((a | b)::bytea = (SELECT rb_or_agg(x) FROM (VALUES (a), (b)) v (x))::bytea) AS "or",
	bool_and((a # b)::bytea = (SELECT rb_xor_agg(x) FROM (VALUES (a), (b)) v (x))::bytea) AS "xor",
	bool_and((a - b)::bytea = (SELECT rb_xor_agg(x) FROM (VALUES (a), (i)) v (x))::bytea) AS andnot,
	bool_and((a | b)::bytea::bitmap = (a | b) AND (a & b)::bytea::bitmap = (a & b) AND (a # b)::bytea::bitmap = (a # b) AND (a - b)::bytea::bitmap = (a - b)) AS well_formed,
	bool_and(rb_cardinality(a | b) = rb_or_cardinality(a, b) AND rb_cardinality(a & b) = rb_and_cardinality(a, b)
		AND rb_cardinality(a # b) = rb_xor_cardinality(a, b) AND rb_cardinality(a - b) = rb_andnot_cardinality(a, b)) AS counted
FROM (SELECT around, a, b, (SELECT rb_and_agg(x) FROM (VALUES (a), (b)) v (x)) AS i FROM met OFFSET 0) m GROUP BY around ORDER BY around;
SELECT around, bool_and((a & b) <@ a AND (a & b) <@ b) AS "and", bool_and((a | b) @> a AND (a | b) @> b) AS "or",
	bool_and((a # b) <@ (a | b) AND NOT (a # b) && (a & b)) AS "xor", bool_and((a - b) <@ a AND NOT (a - b) && b) AS andnot FROM met GROUP BY around ORDER BY around;
-- a bitmap with itself, and three operands
SELECT bool_and(a & a = a) AS "and", bool_and(a | a = a) AS "or", bool_and(rb_is_empty(a # a)) AS "xor", bool_and(rb_is_empty(a - a)) AS andnot, bool_and(a @> a) AS contains FROM met;
SELECT count(*), bool_and(rb_andnot_cardinality(x.b & y.b, z.b) = bit_count(x.bits & y.bits & ~ z.bits)) AS q1,
	bool_and(rb_and_cardinality(x.b | y.b, z.b) = bit_count((x.bits | y.bits) & z.bits)) AS q2,
	bool_and(rb_xor_cardinality(x.b # y.b, z.b) = bit_count(x.bits # y.bits # z.bits)) AS q3
FROM kind x, kind y, kind z WHERE (x.k + y.k + z.k) % 3 = 0;
-- aggregates, in orders that change what their state is, against the operators one by one
CREATE FUNCTION folded(op text, bs bitmap[], OUT result bitmap) LANGUAGE plpgsql AS $$
BEGIN
	result := bs[1];
	FOR i IN 2 .. cardinality(bs) LOOP
		result := CASE op WHEN 'or' THEN result | bs[i] WHEN 'and' THEN result & bs[i] ELSE result # bs[i] END;
	END LOOP;
END
$$;
CREATE TABLE series AS SELECT s, array_agg(b ORDER BY rnd(k, s, 1000000)) AS bs
	FROM generate_series(1, 15) s, (SELECT k, b FROM kind UNION ALL SELECT 100 + i, ARRAY[i * 70000, i]::bitmap FROM generate_series(1, 20) i) v WHERE rnd(k, s + 100, 4) > 0 GROUP BY s;
SELECT count(*), bool_and((SELECT rb_or_agg(b ORDER BY n) FROM unnest(bs) WITH ORDINALITY u (b, n)) = folded('or', bs)) AS "or",
	bool_and((SELECT rb_xor_agg(b ORDER BY n) FROM unnest(bs) WITH ORDINALITY u (b, n)) = folded('xor', bs)) AS "xor",
	bool_and((SELECT rb_and_agg(b ORDER BY n) FROM unnest(bs[:3]) WITH ORDINALITY u (b, n)) = folded('and', bs[:3])) AS "and",
	bool_and((SELECT rb_or_cardinality_agg(b ORDER BY n) FROM unnest(bs) WITH ORDINALITY u (b, n)) = rb_cardinality(folded('or', bs))) AS or_cardinality,
	bool_and((SELECT rb_xor_cardinality_agg(b) FROM unnest(bs) b) = rb_cardinality(folded('xor', bs))) AS xor_cardinality,
	bool_and((SELECT bool_and(so_far = folded('xor', bs[:n::int])) FROM (SELECT n, rb_xor_agg(b) OVER (ORDER BY n) AS so_far FROM unnest(bs) WITH ORDINALITY u (b, n)) w)) AS running
FROM series;
DROP TABLE series;
DROP FUNCTION folded(text, bitmap[]);
-- positions
SELECT bool_and(rb_rank(b, id) = bit_count(substring(bits FOR id + 1))) AS rank, bool_and(rb_contains(b, id) = (get_bit(bits, id) = 1)) AS contains,
	bool_and(rb_index(b, id) = CASE WHEN get_bit(bits, id) = 1 THEN bit_count(substring(bits FOR id + 1)) - 1 ELSE -1 END) AS index,
	bool_and(rb_range_cardinality(b, id, 40001) = bit_count(substring(bits FROM id + 1 FOR greatest(40001 - id, 0)))) AS range_cardinality
FROM kind, (SELECT unnest(ARRAY[0, 1, 63, 64, 4095, 30000, 40000, 40001, 65534, 65535]) UNION ALL SELECT rnd(n, 6, 65536)::int FROM generate_series(1, 30) n) v (id);
SELECT bool_and(rb_range(b, lo, hi) = b & rb_fill('{}', lo, hi)) AS range, bool_and(rb_cardinality(rb_range(b, lo, hi)) = bit_count(substring(bits FROM lo + 1 FOR greatest(hi - lo, 0)))) AS counted,
	bool_and(rb_range(b, lo, NULL)::bytea::bitmap = b - rb_fill('{}', 0, lo)) AS from_lo, bool_and(rb_range(b, NULL, hi) | rb_range(b, hi, NULL) = b) AS parted
FROM kind, (SELECT rnd(n, 8, 65537)::int AS lo, rnd(n, 9, 65537)::int AS hi FROM generate_series(1, 20) n) v;
SELECT bool_and(rb_min(b) IS NOT DISTINCT FROM nullif(position(B'1' IN bits), 0) - 1) AS min,
	bool_and(rb_max(b) IS NOT DISTINCT FROM 65536 - nullif(position('1' IN reverse(bits::text)), 0)) AS max FROM kind;
-- what is left of a bit set after clearing a range, around the border to an array
SELECT left_over, bool_and(rb_clear(b, 2 * left_over, NULL)::bytea = want) AS cleared, bool_and(rb_select(b, left_over)::bytea = want) AS selected, bool_and(rb_range(b, NULL, 2 * left_over)::bytea = want) AS range,
	bool_and((b - rb_fill('{}', 2 * left_over, 100000))::bytea = want) AS andnot, bool_and(rb_flip(b | rb_fill('{}', 2 * left_over, 100000), 2 * left_over, 100000)::bytea = want) AS flipped
FROM generate_series(4095::bigint, 4098) left_over, LATERAL (SELECT rb_build(ARRAY(SELECT 2 * i FROM generate_series(0, 9999) i)) AS b, rb_build(ARRAY(SELECT 2 * i FROM generate_series(0, left_over - 1) i))::bytea AS want) s
GROUP BY left_over ORDER BY left_over;
-- from ids, sorted and not, with repeats, in each kind
SELECT bool_and(rb_build(ids)::bytea = b::bytea) AS ascending, bool_and(rb_build(ids || ids)::bytea = b::bytea) AS repeated,
	bool_and((SELECT coalesce(rb_build_agg(id ORDER BY rnd(id, 7, 1000000)), '{}') FROM unnest(ids || ids) id)::bytea = b::bytea) AS aggregated,
	bool_and((SELECT coalesce(rb_or_agg(x), '{}') FROM (SELECT rb_build_agg(id) AS x FROM unnest(ids) id GROUP BY id % 700) s)::bytea = b::bytea) AS small_unions
FROM (SELECT b, rb_to_array(b) AS ids FROM kind OFFSET 0) k;
SELECT rb_build(array_agg(id * 4294967295)) = rb_build_agg(id * 4294967295) AS spread FROM generate_series(0, 5000) id;
-- sorting many ids: differing in high, in low, in all bits
SELECT bits, (SELECT bool_and(a < b) FROM (SELECT id AS a, lead(id) OVER (ORDER BY ord) AS b FROM rb_iterate(built) WITH ORDINALITY i (id, ord)) s WHERE b IS NOT NULL) AS ascending,
	rb_cardinality(built) = n AS complete
FROM (SELECT bits, rb_build(array_agg(rnd(i, bits, 9223372036854775807) >> bits)) AS built, count(DISTINCT rnd(i, bits, 9223372036854775807) >> bits) AS n
	FROM generate_series(1, 5000) i, unnest(ARRAY[0, 20, 45]) bits GROUP BY bits) s ORDER BY bits;
SELECT rb_cardinality(rb_build(array_agg(rnd(i, 9, 100) << 50))) FROM generate_series(1, 5000) i;

-- Values stored out of line.  The first question of a query reads slices, the
-- next ones the whole; the oracle is the same value in memory.
CREATE TABLE far (k int, what text, b bitmap);
INSERT INTO far VALUES
	(1, 'bit sets', rb_build(ARRAY(SELECT i + rnd(i, 11, 2) FROM generate_series(0, 1000000, 3) i))),
	(2, 'arrays', rb_build(ARRAY(SELECT i * 30 + rnd(i, 12, 30) FROM generate_series(1, 60000) i))),
	(3, 'runs', rb_build(ARRAY(SELECT i / 20 * 50 + i % 20 FROM generate_series(1, 300000) i))),
	(4, 'runs in three containers, no offsets', rb_build(ARRAY(SELECT i / 20 * 50 + i % 20 FROM generate_series(1, 60000) i))),
	(5, 'two parts', rb_build(ARRAY(SELECT 4294967296 - 500000 + i * 5 + rnd(i, 13, 4) FROM generate_series(1, 200000) i))),
	(6, 'a part that is not the first', rb_build(ARRAY(SELECT 8589934592 + i * 17 FROM generate_series(1, 20000) i))),
	(7, 'long header', rb_build(ARRAY(SELECT i * 65536 * 3 + rnd(i, 14, 65536) FROM generate_series(1, 3000) i)));
CREATE TABLE far_compressed (LIKE far);
ALTER TABLE far_compressed ALTER b SET STORAGE extended;
INSERT INTO far_compressed SELECT k, what, b | '{0}'::bitmap - 0 FROM far;
SELECT pg_relation_size(reltoastrelid) > 300000 AS stored_out_of_line FROM pg_class WHERE oid = 'far'::regclass;
CREATE FUNCTION ask(which int, id bigint, OUT has boolean, OUT least_id bigint, OUT greatest_id bigint, OUT has_compressed boolean) LANGUAGE plpgsql AS $$
BEGIN
	SELECT b @> id INTO has FROM far WHERE k = which;
	SELECT rb_min(b) INTO least_id FROM far WHERE k = which;
	SELECT rb_max(b) INTO greatest_id FROM far WHERE k = which;
	SELECT id <@ b INTO has_compressed FROM far_compressed WHERE k = which;
END
$$;
SELECT k, what, count(*), bool_or((x).has) AND NOT bool_and((x).has) AS both_answers, bool_and((x).has = expected) AS has,
	bool_and((x).least_id = ids[1]) AS min, bool_and((x).greatest_id = ids[cardinality(ids)]) AS max, bool_and((x).has_compressed = expected) AS compressed
FROM (SELECT k, what, ids, ask(k, id) AS x, id = ANY (ids) AS expected
	FROM (SELECT k, what, rb_to_array(b) AS ids FROM far OFFSET 0) f,
		LATERAL (SELECT ids[1 + rnd(n, k, cardinality(ids))] + n % 2 AS id FROM generate_series(1, 40) n
			UNION SELECT unnest(ARRAY[0, ids[1] - 1, ids[cardinality(ids)] + 1, 4294967296 * 5, 9223372036854775807])) v OFFSET 0) s
GROUP BY k, what ORDER BY k;
-- many ids of one value, then of several in turn
SELECT k, bool_and((b @> id) = (id = ANY (ids))) AS one_after_the_other
FROM far, LATERAL (SELECT rb_to_array(b) AS ids) i, LATERAL (SELECT ids[n * 7] + n % 2 AS id FROM generate_series(1, 100) n) v GROUP BY k ORDER BY k;
-- every pair, with room for all of them and for hardly any
CREATE FUNCTION matrix() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(format('%s %s %s %s', x.k, y.k, rb_and_cardinality(x.b, y.b), rb_cardinality(x.b | y.b)), ',' ORDER BY x.k, y.k))
	FROM (SELECT * FROM far UNION ALL SELECT k + 10, what, b FROM far_compressed) x, (SELECT * FROM far UNION ALL SELECT k + 10, what, b FROM far_compressed) y
$$;
SET work_mem = '64kB';
CREATE TEMP TABLE answer AS SELECT matrix();
SET work_mem = '32MB';
INSERT INTO answer SELECT matrix();
RESET work_mem;
INSERT INTO answer SELECT md5(string_agg(format('%s %s %s %s', x.k, y.k, n, rb_cardinality(x.b) + rb_cardinality(y.b) - n), ',' ORDER BY x.k, y.k))
	FROM (SELECT k + plus AS k, b | '{}'::bitmap AS b FROM far, unnest(ARRAY[0, 10]) plus) x, (SELECT k + plus AS k, b | '{}'::bitmap AS b FROM far, unnest(ARRAY[0, 10]) plus) y,
		LATERAL (SELECT rb_cardinality(rb_and_agg(b)) AS n FROM (VALUES (x.b), (y.b)) v (b)) c;
SELECT count(*), count(DISTINCT matrix) AS different FROM answer;
-- an error while values are held, then the same again
SELECT rb_and_cardinality(x.b, y.b), 1 / (x.k - 3) FROM far x, far y WHERE y.k = 2 AND x.k <= 3 ORDER BY x.k;
SELECT rb_and_cardinality(x.b, y.b) = rb_cardinality(x.b & y.b) AS again FROM far x, far y WHERE y.k = 2 AND x.k = 3;

-- the planner knows about the empty bitmap, and about nulls
CREATE FUNCTION estimated_rows(condition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT FROM guess WHERE ' || condition INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END$$;
CREATE TEMP TABLE guess AS SELECT CASE WHEN i % 2 = 0 THEN ARRAY[i]::bitmap END AS b FROM generate_series(1, 10000) i;
ANALYZE guess;
SELECT c, estimated_rows(c) FROM unnest(ARRAY['b @> $${}$$', '$${}$$ <@ b', 'b <@ $${}$$', 'b && $${}$$', 'b && $${5}$$', 'b @> $${5}$$', '$${5}$$ @> b', 'b && NULL']) c;
SELECT estimated_rows('b && (SELECT b FROM guess LIMIT 1)'), estimated_rows('EXISTS (SELECT FROM guess g WHERE g.b @> guess.b)') > 0 AS joined;
DROP FUNCTION estimated_rows(text);

-- many groups: states share what they can
SELECT count(*), sum(n), min(n), max(n) FROM (SELECT rb_cardinality(rb_build_agg(i)) AS n FROM generate_series(1, 200000) i GROUP BY i % 40000) g;
SELECT count(*), sum(n), min(n), max(n) FROM (SELECT rb_or_cardinality_agg(b) AS n FROM (SELECT i, ARRAY[i, i + 1]::bitmap AS b FROM generate_series(1, 40000) i OFFSET 0) s GROUP BY i % 20000) g;
-- a state is read, goes on, is read again
SELECT string_agg(format('%s %s', b, n), ' ' ORDER BY i) FROM (SELECT i, rb_build_agg(i % 3) OVER w AS b, rb_build_cardinality_agg(i % 3) OVER w AS n
	FROM generate_series(1, 5) i WINDOW w AS (ORDER BY i)) s;

-- The format, written here from its published description and nothing else:
-- multiples of 1,000 below 100,000, multiples of 3 of 300,000 to 600,000, all of
-- 700,000 to 800,000, so arrays, bit sets and runs.
CREATE FUNCTION le(n bigint, bytes int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(set_byte('\x00', 0, (n >> (8 * i) & 255)::int), '' ORDER BY i) FROM generate_series(0, bytes - 1) i
$$;
CREATE FUNCTION le2(n bigint) RETURNS bytea IMMUTABLE RETURN set_byte(set_byte('\x0000', 0, (n & 255)::int), 1, (n >> 8)::int);
CREATE TABLE format AS
WITH id AS (
	SELECT k AS id FROM generate_series(0, 99999, 1000) k UNION ALL SELECT 3 * k FROM generate_series(100000, 199999) k UNION ALL SELECT generate_series(700000, 799999)
), container AS (
	SELECT id >> 16 AS key, count(*) AS n, array_agg((id & 65535) ORDER BY id) AS lows FROM id GROUP BY 1
), plain AS (
	SELECT key, n, CASE WHEN n <= 4096 THEN (SELECT string_agg(le2(low), '' ORDER BY low) FROM unnest(lows) low)
		ELSE (SELECT string_agg(set_byte('\x00', 0, coalesce(v, 0)::int), '' ORDER BY b) FROM generate_series(0, 8191) b
			LEFT JOIN (SELECT low / 8 AS b, sum(1 << low % 8) AS v FROM unnest(lows) low GROUP BY 1) s USING (b)) END AS body,
		(SELECT le2(count(*)) || string_agg(le2(first) || le2(num - 1), '' ORDER BY first)
		 FROM (SELECT min(low) AS first, count(*) AS num FROM (SELECT low, low - row_number() OVER (ORDER BY low) AS run FROM unnest(lows) low) r GROUP BY run) s) AS run_body
	FROM container
), chosen AS (
	SELECT with_runs, key, n, CASE WHEN with_runs AND length(run_body) < length(body) THEN run_body ELSE body END AS body,
		with_runs AND length(run_body) < length(body) AS is_run FROM plain, (VALUES (false), (true)) v (with_runs)
), placed AS (
	SELECT *, count(*) OVER w AS containers, sum(length(body)) OVER (w ORDER BY key) - length(body) AS before FROM chosen WINDOW w AS (PARTITION BY with_runs)
)
SELECT with_runs, CASE WHEN with_runs THEN le(12347 + (max(containers) - 1) * 65536, 4) || (SELECT string_agg(set_byte('\x00', 0, v::int), '' ORDER BY b)
			FROM (SELECT (row_number - 1) / 8 AS b, sum(CASE WHEN is_run THEN 1 << ((row_number - 1) % 8)::int ELSE 0 END) AS v
				FROM (SELECT is_run, row_number() OVER (ORDER BY key) FROM placed q WHERE q.with_runs) r GROUP BY 1) f)
		ELSE le(12346, 4) || le(max(containers), 4) END
	|| string_agg(le(key, 2) || le(n - 1, 2), '' ORDER BY key)
	|| string_agg(le((before + CASE WHEN with_runs THEN 4 + (containers + 7) / 8 ELSE 8 END + 8 * containers)::bigint, 4), '' ORDER BY key)
	|| string_agg(body, '' ORDER BY key) AS bytes
FROM placed GROUP BY with_runs;
CREATE TABLE described AS SELECT (SELECT rb_build_agg(k) FROM generate_series(0, 99999, 1000) k) | (SELECT rb_build_agg(3 * k) FROM generate_series(100000::bigint, 199999) k)
	| rb_fill('{}', 700000, 800000) AS b;
SELECT with_runs, length(bytes), md5(bytes), bytes::bitmap = b AS read_32, ('\x010000000000000000000000'::bytea || bytes)::bitmap = b AS read_64,
	b::bytea = '\x010000000000000000000000'::bytea || bytes AS written FROM format, described ORDER BY with_runs;
-- two parts, each with its key before it
SELECT rb_cardinality(x), x = b | rb_build(ARRAY(SELECT 21474836480 + id FROM rb_iterate(b) id)) AS read, x::bytea = bytes AS written
FROM described, (SELECT le(2, 8) || le(0, 4) || bytes || le(5, 4) || bytes AS bytes FROM format WHERE with_runs) f, LATERAL (SELECT bytes::bitmap AS x) y;
-- cut off anywhere it is refused
DO $$
DECLARE
	cut bytea;
	refused int := 0;
BEGIN
	FOR cut IN SELECT substr(bytes, 1, length(bytes) - n) FROM format, generate_series(1, 200) n LOOP
		BEGIN
			PERFORM cut::bitmap;
		EXCEPTION WHEN invalid_binary_representation THEN
			refused := refused + 1;
		END;
	END LOOP;
	RAISE NOTICE 'refused: %', refused;
END
$$;

DROP TABLE kind, met, far, far_compressed, format, described;
DROP FUNCTION rnd(bigint, bigint, bigint);
DROP FUNCTION ask(int, bigint);
DROP FUNCTION matrix();
DROP FUNCTION le(bigint, int);
DROP FUNCTION le2(bigint);
