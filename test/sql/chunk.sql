-- Chunks of tag members: three encodings, canonical, checked when read.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- Sets of positions that are best as an array, as runs and as bits.
CREATE TEMP TABLE shape (name text, positions int[]);
INSERT INTO shape
SELECT 'first', ARRAY[0]
UNION ALL SELECT 'last', ARRAY[32767]
UNION ALL SELECT 'first and last', ARRAY[0, 32767]
UNION ALL SELECT 'two neighbours: array and run are equally short', ARRAY[100, 101]
UNION ALL SELECT 'three neighbours', ARRAY[100, 101, 102]
UNION ALL SELECT 'all', array_agg(g) FROM generate_series(0, 32767) g
UNION ALL SELECT 'all but one', array_agg(g) FROM generate_series(0, 32767) g WHERE g <> 4711
UNION ALL SELECT 'every 17th', array_agg(g) FROM generate_series(0, 32767, 17) g
UNION ALL SELECT '2,048 apart: the longest array', array_agg(g) FROM generate_series(0, 32767, 16) g
UNION ALL SELECT '2,049: one more is bits', ARRAY[1] || array_agg(g) FROM generate_series(0, 32767, 16) g
UNION ALL SELECT '1,024 runs of 16: the longest runs', array_agg(g) FROM generate_series(0, 32767) g WHERE g % 32 < 16
UNION ALL SELECT 'every second', array_agg(g) FROM generate_series(0, 32767, 2) g
UNION ALL SELECT 'words'' edges', ARRAY[63, 64, 127, 128, 191, 192, 193, 255, 256]
UNION ALL SELECT 'random ' || n, array_agg(g ORDER BY g) FROM generate_series(1, 9) n, generate_series(0, 32767) g
	WHERE mod(abs(hashint8extended(g, n)), 1 << n) = 0 GROUP BY n
UNION ALL SELECT 'random runs ' || n, array_agg(g ORDER BY g) FROM generate_series(2, 8, 3) n, generate_series(0, 32767) g
	WHERE mod(abs(hashint8extended(g >> n, n)), 3) = 0 GROUP BY n;

-- Cut out of a bitmap (here as chunk 3), and read back.
CREATE TEMP TABLE chunk AS
SELECT s.name, s.positions, rb_build(s.positions::bigint[]) AS bits, c.chunk, c.added_members AS members
FROM shape s, _chunk_split(rb_build(ARRAY(SELECT p::bigint + 3 * 32768 FROM unnest(s.positions) p)), NULL) c;
SELECT name, chunk, CASE get_byte(members, 0) WHEN 17 THEN 'array' WHEN 18 THEN 'runs' WHEN 19 THEN 'bits' END AS encoding,
	octet_length(members) AS bytes, _chunk_cardinality(members) AS members, cardinality(positions) AS expected
FROM chunk ORDER BY name COLLATE "C";
SELECT name, encode(members, 'hex') FROM chunk WHERE octet_length(members) < 20 ORDER BY name COLLATE "C";

-- Always the shortest of the three.
SELECT c.name FROM chunk c, LATERAL (
	SELECT count(*) AS n, count(*) FILTER (WHERE before IS DISTINCT FROM p - 1) AS runs
	FROM (SELECT p, lag(p) OVER (ORDER BY p) AS before FROM unnest(c.positions) p) x) y
WHERE octet_length(c.members) - 1 <> least(2 * n, 4 * runs, 4096);

-- Membership of every position.
SELECT bool_and((SELECT count(*) FROM generate_series(0, 32767) g WHERE _chunk_contains(c.members, 3 * 32768 + g))
	= cardinality(c.positions)) AS no_others FROM chunk c;
SELECT bool_and(_chunk_contains(c.members, p + 32768)) AS every_member FROM chunk c, unnest(c.positions) p;

-- Changes: every pair of shapes, against bitmaps.
SELECT count(*) AS pairs, bool_and(_chunk_apply(a.members, b.members, NULL)
		= (SELECT x.added_members FROM _chunk_split(rb_or(a.bits, b.bits), NULL) x)) AS added,
	bool_and(_chunk_apply(a.members, NULL, b.members)
		= coalesce((SELECT x.added_members FROM _chunk_split(rb_andnot(a.bits, b.bits), NULL) x), '\x11')) AS removed,
	bool_and(_chunk_apply(NULL, a.members, b.members) = _chunk_apply(a.members, NULL, b.members)) AS removed_last
FROM chunk a, chunk b;
SELECT _chunk_apply(NULL, NULL, NULL), _chunk_apply('\x110500', NULL, '\x110500'), _chunk_apply('\x11', '\x110500', '\x11');

-- Several chunks, far apart, from both sets.
SELECT chunk, encode(added_members, 'hex') AS added, encode(removed_members, 'hex') AS removed
FROM _chunk_split('{0, 32767, 32768, 65536, 9223372036854775807}', '{1, 70000, 1099511627776}');
SELECT * FROM _chunk_split(NULL, NULL);
SELECT * FROM _chunk_split('{}', '{}');

-- Bytes that are no chunk.
CREATE FUNCTION pg_temp.try(members bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN _chunk_cardinality(members);
EXCEPTION WHEN data_corrupted THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || detail;
END
$$;
SELECT what, pg_temp.try(bytes) FROM (VALUES
	(1, 'nothing', '\x'::bytea),
	(2, 'empty chunk', '\x11'),
	(3, 'unknown version', '\x210000'),
	(4, 'unknown encoding', '\x140000'),
	(5, 'half a position', '\x1100'),
	(6, 'position 32768', '\x110080'),
	(7, 'twice the same', '\x1105000500'),
	(8, 'descending', '\x1105000400'),
	(9, 'three neighbours as an array', '\x11050006000700'),
	(10, 'no runs', '\x12'),
	(11, 'half a run', '\x120500'),
	(12, 'run ends before it starts', '\x1205000400'),
	(13, 'run too far', '\x1205000080'),
	(14, 'runs that touch', '\x12000005000600ff00'),
	(15, 'runs that overlap', '\x12000005000300ff00'),
	(16, 'one position as a run', '\x1205000500'),
	(17, 'short bits', '\x130000'),
	(18, 'few members as bits', '\x13' || decode(repeat('01', 1) || repeat('00', 4095), 'hex')),
	(19, 'all members as bits', '\x13' || decode(repeat('ff', 4096), 'hex')),
	(20, 'long bits', '\x13' || decode(repeat('55', 4097), 'hex')),
	(21, 'bits as they should be', '\x13' || decode(repeat('55', 4096), 'hex'))
) v(n, what, bytes) ORDER BY n;

-- Every byte of some chunks changed in some way: read as something else or
-- refused, and what is read is canonical.
SELECT bool_and(coalesce(_chunk_apply(bytes, NULL, NULL) = bytes, false)) AS canonical, count(*) > 500 AS many
FROM (SELECT set_byte(c.members, i, (get_byte(c.members, i) + d) % 256) AS bytes
	  FROM chunk c, generate_series(0, octet_length(c.members) - 1, 7) i, (VALUES (1), (128), (255)) v(d)
	  WHERE octet_length(c.members) < 2000) x
WHERE pg_temp.try(bytes) !~ '^XX001';
-- Looking for one member checks less, but reads nothing it may not.
SELECT count(*) FILTER (WHERE found IS NOT NULL) > 0 AS ran FROM (
	SELECT _chunk_contains(set_byte(c.members, i, (get_byte(c.members, i) + 77) % 256), g) AS found
	FROM chunk c, generate_series(1, octet_length(c.members) - 1, 97) i, generate_series(0, 32767, 1000) g) x;
\set VERBOSITY terse
SELECT _chunk_contains('\x', 5);
SELECT _chunk_contains('\x2100', 5);
SELECT _chunk_contains('\x1100', 5);
SELECT _chunk_contains('\x120000', 5);
SELECT _chunk_contains('\x1300', 5);
SELECT _chunk_apply('\x11', '\x99', NULL);
SELECT _chunk_apply('\x11', NULL, '\x99');
\set VERBOSITY default

-- A corrupted row is noticed by whoever reads it.
INSERT INTO tag_chunk VALUES ('bad', 0, '\x1105000400');
SELECT tagged('bad');
-- The longest row stays in its page.
INSERT INTO tag_chunk SELECT repeat('x', 255), 0, members FROM chunk WHERE name = 'every second';
SELECT pg_relation_size(reltoastrelid) AS toasted FROM pg_class WHERE oid = 'cdp.tag_chunk'::regclass;
