-- bitmap: random sets against plain arrays, one form for one set, mutated bytes
SET search_path = public, cdp;

-- Sets of many shapes, the same in every run.  The shapes aim at what Roaring
-- keeps differently: arrays, bit sets, runs, runs of two (a tie between array
-- and runs), borders of containers, of parts and of the domain.
CREATE FUNCTION rnd(n bigint, seed bigint, below bigint) RETURNS bigint IMMUTABLE PARALLEL SAFE
	RETURN (hashint8extended(n, seed) & 9223372036854775807) % below;
CREATE FUNCTION ids_of(seed bigint) RETURNS bigint[] LANGUAGE sql STABLE AS $$
	SELECT coalesce(array_agg(DISTINCT id ORDER BY id), '{}') FROM (
		SELECT base + CASE seed % 9
			WHEN 0 THEN rnd(i, seed, 100)								-- few
			WHEN 1 THEN rnd(i, seed, 3000000)							-- sparse
			WHEN 2 THEN rnd(i, seed, 9000)								-- dense
			WHEN 3 THEN i												-- a run
			WHEN 4 THEN i / 2 * 5 + i % 2								-- runs of two
			WHEN 5 THEN i / 100 * 1000 + i % 100						-- runs
			WHEN 6 THEN 65536 - 500 + i									-- over the border of a container
			WHEN 7 THEN i * 2											-- every other id
			ELSE rnd(i, seed, 40) * 65536 + rnd(i, seed + 7, 3) END AS id
		FROM generate_series(0, CASE WHEN seed % 9 IN (2, 7) THEN 6000 + rnd(seed, 5, 4000) ELSE rnd(seed, 6, 3000) END) i,
			unnest(CASE seed % 5
				WHEN 0 THEN ARRAY[0]
				WHEN 1 THEN ARRAY[4294967296 - 1000]					-- over the border of a part
				WHEN 2 THEN ARRAY[0, 4294967296 * 3]
				WHEN 3 THEN ARRAY[65000, 9223372036851000000]			-- up to near the end
				ELSE ARRAY[4294967296 * 2, 4294967296 * 3, 4294967296 * 7] END) base) s
	WHERE rnd(seed, 8, 50) > 0 AND id >= 0
$$;
CREATE TABLE shape AS SELECT seed, ids_of(seed) AS ids FROM generate_series(0, 71) seed;
ALTER TABLE shape ADD b bitmap;
UPDATE shape SET b = rb_build(ids);
SELECT count(*), sum(cardinality(ids)) > 100000 AS many, count(*) FILTER (WHERE ids = '{}') AS empty,
	count(*) FILTER (WHERE position('\x3b30'::bytea IN b::bytea) > 0) > 15 AS runs,
	count(*) FILTER (WHERE position('\x3a30'::bytea IN b::bytea) > 0) > 15 AS others FROM shape;

-- the bytes are the same whichever version of CRoaring is underneath
SELECT md5(string_agg(b::bytea::text, ',' ORDER BY seed)) FROM shape;

-- what goes in comes out, by every way
SELECT bool_and(rb_to_array(b) = ids) AS "array", bool_and(b::text = '{' || array_to_string(ids, ',') || '}') AS "text out",
	bool_and(b::text::bitmap = b) AS "text in", bool_and(b::bytea::bitmap::bytea = b::bytea) AS bytes,
	bool_and(rb_cardinality(b) = cardinality(ids)) AS cardinality, bool_and(rb_min(b) IS NOT DISTINCT FROM ids[1] AND rb_max(b) IS NOT DISTINCT FROM ids[cardinality(ids)]) AS ends,
	bool_and(ARRAY(SELECT rb_iterate(b)) = ids) AS iterate
FROM shape;

-- one form for one set, however it was made
SELECT bool_and(b::bytea = (SELECT rb_build(array_agg(id ORDER BY rnd(id, 1, 1000000))) FROM unnest(ids || ids) id)::bytea) AS shuffled,
	bool_and(b::bytea = (SELECT coalesce(rb_build_agg(id ORDER BY rnd(id, 2, 1000000)), '{}') FROM unnest(ids) id)::bytea) AS agg,
	bool_and((SELECT coalesce(rb_or_agg(ARRAY[id]::bitmap ORDER BY rnd(id, 3, 1000000)), '{}') FROM unnest(ids[:2000]) id)::bytea = rb_build(ids[:2000])::bytea) AS or_agg,
	bool_and(b::bytea = (b - rb_range(b, 1000, NULL) | rb_range(b, 1000, NULL))::bytea) AS pieces,
	bool_and(b::bytea = rb_flip(rb_flip(b, 500, 70000), 500, 70000)::bytea) AS flipped_twice,
	bool_and(b::bytea = ((b # '{1,2,5,6,9,10,70000}') # '{1,2,5,6,9,10,70000}')::bytea) AS xored_twice,
	bool_and(b::bytea = (rb_fill(b, 0, 200000) & (rb_clear(b, 0, 200000) | rb_range(b, 0, 200000)))::bytea) AS filled_and_cut,
	bool_and(b::bytea = rb_runoptimize(b)::bytea) AS optimised
FROM shape;
-- n runs of two, and one id more, or two: ties between array and runs, made from either side
SELECT extra, bool_and(x::bytea = y::bytea) AS same, sum((x::bytea = rb_build(rb_to_array(y))::bytea)::int) = count(*) AS rebuilt,
	count(*) FILTER (WHERE position('\x3b30'::bytea IN x::bytea) > 0) AS with_runs, count(*) AS "all"
FROM (SELECT n, extra, rb_build_agg(id) AS x, (SELECT rb_or_agg(rb_fill('{}', 4 * k, 4 * k + 2 + CASE WHEN k < extra THEN 1 ELSE 0 END)) FROM generate_series(0, n - 1) k) AS y
	FROM unnest(ARRAY[2, 3, 10, 100, 1000, 2046, 2047, 2048, 2049, 3000]) n, generate_series(0, 2) extra,
		LATERAL (SELECT 4 * k + i AS id FROM generate_series(0, n - 1) k, generate_series(0, 2) i WHERE i < 2 OR k < extra) s GROUP BY n, extra) t
GROUP BY extra ORDER BY extra;
SELECT bool_and(rb_add(b, id)::bytea = rb_build(ids || id)::bytea) AS add, bool_and(rb_remove(b, id)::bytea = rb_build(array_remove(ids, id))::bytea) AS remove
FROM shape, LATERAL (SELECT rnd(seed, 11, 70000) UNION ALL SELECT ids[1 + rnd(seed, 12, cardinality(ids))] WHERE ids <> '{}') v (id);

-- algebra against arrays
CREATE TABLE pair AS
	SELECT x.ids AS p, y.ids AS q, x.b AS a, y.b AS b FROM shape x JOIN shape y ON (x.seed * 31 + y.seed * 17) % 25 = 0;
SELECT count(*) > 200 AS many FROM pair;
SELECT bool_and(a & b = rb_build(shared)) AS "and", bool_and(a | b = rb_build(p || q)) AS "or",
	bool_and(a - b = rb_build(only_p)) AS andnot, bool_and(a # b = rb_build(only_p || only_q)) AS "xor",
	bool_and(rb_and_cardinality(a, b) = cardinality(shared)) AS and_cardinality, bool_and(rb_andnot_cardinality(a, b) = cardinality(only_p)) AS andnot_cardinality,
	bool_and(rb_xor_cardinality(a, b) = cardinality(only_p) + cardinality(only_q)) AS xor_cardinality,
	bool_and(rb_or_cardinality(a, b) = cardinality(p) + cardinality(only_q)) AS or_cardinality,
	bool_and((a && b) = (shared <> '{}')) AS intersect, bool_and((a @> b) = (only_q = '{}')) AS contains, bool_and((a <@ b) = (only_p = '{}')) AS contained,
	bool_and((a | b) @> a AND (a & b) <@ a) AS bounds, bool_and((a = b) = (p = q)) AS equals,
	bool_and(rb_jaccard_dist(a, b) = CASE WHEN p = '{}' AND q = '{}' THEN 'NaN' ELSE cardinality(shared)::float8 / (cardinality(p) + cardinality(only_q)) END) AS jaccard
FROM (SELECT *, ARRAY(SELECT unnest(p) INTERSECT SELECT unnest(q)) AS shared, ARRAY(SELECT unnest(p) EXCEPT SELECT unnest(q)) AS only_p,
	ARRAY(SELECT unnest(q) EXCEPT SELECT unnest(p)) AS only_q FROM pair OFFSET 0) s;
-- and the results are as well-formed as bytes from outside must be
SELECT bool_and((a & b)::bytea::bitmap::bytea = (a & b)::bytea AND (a | b)::bytea::bitmap::bytea = (a | b)::bytea
	AND (a # b)::bytea::bitmap::bytea = (a # b)::bytea AND (a - b)::bytea::bitmap::bytea = (a - b)::bytea) AS well_formed FROM pair;

-- positions and ranges against arrays
SELECT bool_and(rb_contains(b, id) = (id = ANY (ids))) AS contains, bool_and(rb_rank(b, id) = (SELECT count(*) FROM unnest(ids) i WHERE i <= id)) AS rank,
	bool_and(rb_index(b, id) = coalesce(array_position(ids, id) - 1, -1)) AS index
FROM shape, LATERAL (SELECT ids[1 + rnd(k, seed, greatest(cardinality(ids), 1))] + k % 3 - 1 FROM generate_series(1, 6) k
	UNION ALL SELECT rnd(k, seed, 140000) FROM generate_series(1, 3) k) v (id) WHERE id IS NOT NULL;
SELECT bool_and(rb_range(b, lo, hi) = rb_build(inside)) AS range, bool_and(rb_range_cardinality(b, lo, hi) = cardinality(inside)) AS range_cardinality,
	bool_and(rb_clear(b, lo, hi) = rb_build(outside)) AS clear, bool_and(rb_fill(b, lo, hi) = rb_build(outside || filled)) AS fill,
	bool_and(rb_flip(b, lo, hi) = rb_build(outside || ARRAY(SELECT unnest(filled) EXCEPT SELECT unnest(inside)))) AS flip,
	bool_and(rb_select(b, 5, 2, false, lo, hi) = rb_build(inside[3:7])) AS "select",
	bool_and(rb_select(b, 5, 2, true, lo, hi) = rb_build(inside[cardinality(inside) - 6:cardinality(inside) - 2])) AS reverse
FROM (SELECT b, lo, hi, ARRAY(SELECT i FROM unnest(ids) i WHERE i >= lo AND i < hi) AS inside, ARRAY(SELECT i FROM unnest(ids) i WHERE i < lo OR i >= hi) AS outside,
		ARRAY(SELECT generate_series(lo, hi - 1)) AS filled
	FROM shape, LATERAL (SELECT base + rnd(k, seed, 66000) AS lo, base + rnd(k, seed, 66000) + rnd(k, seed + 1, 6000) AS hi
		FROM generate_series(1, 1) k, unnest(ARRAY[0, 4294967296 - 60000]) base) r OFFSET 0) s;

-- parallel = serial, byte for byte
CREATE TABLE many (id bigint, g int, b bitmap) WITH (parallel_workers = 2);
INSERT INTO many SELECT CASE WHEN n % 10 < 6 THEN n ELSE rnd(n, 1, 5000000000) END, n % 7, CASE WHEN n % 400 = 0 THEN rb_fill('{1}', n, n + 3000) | rnd(n, 3, 6000000000) END
FROM generate_series(1, 60000) n;
ANALYZE many;
CREATE FUNCTION results() RETURNS TABLE (name text, bytes bytea, n bigint) LANGUAGE sql STABLE PARALLEL SAFE AS $$
	WITH r AS (SELECT rb_build_agg(id) AS build, rb_or_agg(b) AS any_of, rb_xor_agg(b) AS odd, rb_and_agg(b) AS all_of,
		rb_build_cardinality_agg(id) AS build_n, rb_or_cardinality_agg(b) AS or_n, rb_xor_cardinality_agg(b) AS xor_n, rb_and_cardinality_agg(b) AS and_n FROM many)
	SELECT v.* FROM r, LATERAL (VALUES ('build', build::bytea, build_n), ('or', any_of::bytea, or_n), ('xor', odd::bytea, xor_n), ('and', all_of::bytea, and_n)) v (name, bytes, n)
	UNION ALL SELECT 'group ' || g, rb_build_agg(id)::bytea, rb_or_cardinality_agg(b) FROM many GROUP BY g
$$;
SET max_parallel_workers_per_gather = 0;
CREATE TEMP TABLE serial AS SELECT * FROM results();
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
DO $$
DECLARE
	line text;
	partial int := 0;
BEGIN
	FOR line IN EXPLAIN SELECT * FROM results() LOOP
		partial := partial + (line ~ 'Partial .*Aggregate')::int;
	END LOOP;
	RAISE NOTICE 'aggregated in workers: %', partial;
END
$$;
CREATE TEMP TABLE parallel AS SELECT * FROM results();
SELECT count(*), count(*) FILTER (WHERE name <> 'and' AND n > 10000) AS large FROM serial;
SELECT * FROM serial EXCEPT SELECT * FROM parallel;
SELECT * FROM parallel EXCEPT SELECT * FROM serial;
SELECT rb_build(array_agg(id))::bytea = (SELECT bytes FROM parallel WHERE name = 'build') AS same FROM many;
RESET max_parallel_workers_per_gather; RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;

-- Bytes that were changed: an error or a sound value, never anything else.
CREATE TABLE seed_bytes AS
	SELECT row_number() OVER (ORDER BY seed, form) AS n, bytes FROM (
		SELECT seed, 64 AS form, b::bytea AS bytes FROM shape WHERE length(b::bytea) BETWEEN 12 AND 20000
		UNION ALL SELECT seed, 32, substr(b::bytea, 13) FROM shape WHERE substr(b::bytea, 1, 12) = '\x010000000000000000000000') s;
CREATE FUNCTION mutated(bytes bytea, n bigint) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	len int := length(bytes);
BEGIN
	CASE n % 8
		WHEN 0 THEN RETURN substr(bytes, 1, rnd(n, 20, len)::int);
		WHEN 1 THEN RETURN bytes || '\x00';
		WHEN 2 THEN RETURN substr(bytes, 1, 1 + rnd(n, 20, len)::int) || substr(bytes, 1 + rnd(n, 21, len)::int);
		ELSE
			FOR i IN 1 .. 1 + n % 4 LOOP	-- most changes near the head, where the structure is
				bytes := set_byte(bytes, CASE WHEN rnd(n, 22 + i, 3) > 0 THEN rnd(n, 30 + i, least(len, 60)) ELSE rnd(n, 40 + i, len) END::int, rnd(n, 50 + i, 256)::int);
			END LOOP;
			RETURN bytes;
	END CASE;
END
$$;
DO $$
DECLARE
	changed bytea;
	b bitmap;
	ids bigint[];
	refused int := 0;
	taken int := 0;
BEGIN
	FOR k IN 1 .. 4000 LOOP
		SELECT mutated(bytes, k) INTO changed FROM seed_bytes WHERE n = 1 + k % (SELECT count(*) FROM seed_bytes);
		BEGIN
			b := changed::bitmap;
			taken := taken + 1;
			ids := rb_to_array(b);
			IF b::bytea::bitmap <> b OR cardinality(ids) <> rb_cardinality(b) OR rb_build(ids)::bytea <> b::bytea
				OR (SELECT count(*) FROM rb_iterate(b)) <> cardinality(ids) OR (b # rb_flip(b, 0, 100000)) <> rb_fill('{}', 0, 100000) THEN
				RAISE WARNING 'unsound value from %', changed;
			END IF;
		EXCEPTION WHEN invalid_binary_representation THEN
			refused := refused + 1;
		END;
	END LOOP;
	RAISE NOTICE 'several hundred of either: %', refused > 500 AND taken > 100;
END
$$;

-- 2,000 caught errors, each raised while a bitmap of 100 bit sets (800 kB
-- outside PostgreSQL's own memory) is held: the backend does not grow
CREATE FUNCTION resident_kb() RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT substring(pg_read_file('/proc/self/status', 0, 100000, true) FROM 'VmRSS:\s+(\d+)')::bigint
$$;
DO $$
DECLARE
	big bitmap := rb_build(ARRAY(SELECT generate_series(0, 6553599, 2)));
	before bigint;
BEGIN
	FOR k IN 1 .. 2200 LOOP
		IF k = 200 THEN
			before := resident_kb();
		END IF;
		BEGIN
			PERFORM rb_add(big, -k);
		EXCEPTION WHEN numeric_value_out_of_range THEN
			NULL;
		END;
	END LOOP;
	RAISE NOTICE 'grew by less than 20 MB: %', coalesce(resident_kb() - before < 20000, true);
END
$$;

DROP TABLE shape, pair, many, seed_bytes;
DROP FUNCTION rnd(bigint, bigint, bigint);
DROP FUNCTION ids_of(bigint);
DROP FUNCTION results();
DROP FUNCTION mutated(bytea, bigint);
DROP FUNCTION resident_kb();
