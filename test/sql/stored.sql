-- Bytes that releases have written to disk: every later one reads them.  A row
-- is added when a form gets a new version, none is ever changed.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET client_min_messages = warning;

-- Two types that show and take any bytes, with the alignments that ours have.
CREATE TYPE raw8; CREATE FUNCTION raw8_in(cstring) RETURNS raw8 LANGUAGE internal IMMUTABLE STRICT AS 'byteain'; CREATE FUNCTION raw8_out(raw8) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
CREATE TYPE raw8 (INPUT = raw8_in, OUTPUT = raw8_out, ALIGNMENT = double, STORAGE = external);
CREATE TYPE raw4; CREATE FUNCTION raw4_in(cstring) RETURNS raw4 LANGUAGE internal IMMUTABLE STRICT AS 'byteain'; CREATE FUNCTION raw4_out(raw4) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
CREATE TYPE raw4 (INPUT = raw4_in, OUTPUT = raw4_out, ALIGNMENT = int4, STORAGE = external);
CREATE CAST (raw8 AS bitmap) WITHOUT FUNCTION; CREATE CAST (bitmap AS raw8) WITHOUT FUNCTION; CREATE CAST (raw8 AS timeline) WITHOUT FUNCTION; CREATE CAST (timeline AS raw8) WITHOUT FUNCTION;
CREATE CAST (raw8 AS cohort_state) WITHOUT FUNCTION; CREATE CAST (cohort_state AS raw8) WITHOUT FUNCTION;
CREATE CAST (raw4 AS identifier) WITHOUT FUNCTION; CREATE CAST (identifier AS raw4) WITHOUT FUNCTION; CREATE CAST (raw4 AS criteria) WITHOUT FUNCTION; CREATE CAST (criteria AS raw4) WITHOUT FUNCTION;

CREATE TABLE stored (since text, type regtype, what text, bytes text, value text);
INSERT INTO stored VALUES
	('0.1.0', 'identifier', 'identifier', '\x656d61696c3a616461406578616d706c652e636f6d', 'email:ada@example.com'),
	('0.1.0', 'bitmap', 'empty', '\x0100000000000000000000000000000000000000', '{}'),
	('0.1.0', 'bitmap', 'arrays, beyond 32 bits', '\x0100000004000000000000000200000000000000000000003a300000020000000000010001000000180000001c000000010002007011020000003a3000000100000000000000100000000000', '{1,2,70000,8589934592}'),
	('0.1.0', 'bitmap', 'runs', '\x010000009b860100000000000100000000000000000000003b300100030000faff01009f8601000500faff010000009f86', rb_fill('{}', 5, 100000)::text),
	('0.1.0', 'bitmap', 'a bit set', '\x0100000000800000000000000100000000000000000000003a300000010000000000ff7f10000000' || repeat('55', 8192), ARRAY(SELECT generate_series(0, 65535, 2))::text),
	('0.1.0', 'timeline', 'labels, values, microseconds', '\x01000600050000000000000000c8ac6c4fea020001030000600000002800000002000000880000000500000003000000900000001900000004000000b00000000500000005000000b80000001000000006020100c8000000050000000000000000000000010000000000000000f812bc0b00000000f812bc0b0000000098f20a49210000020200000100000003000000080e127075726368617365726566756e647669657700000000000000000101010200000002000000050a736b752d31c39c6ec3af80807d7de2',
		'{2026-01-01T10:00:00Z "view", 2026-01-01T10:00:00.000001Z "view"["sku-1"], 2026-01-02T00:00:00Z "purchase"["sku-1"]=12.5, 2026-01-02T00:00:00Z "purchase"["sku-1"]=12.5, 2027-03-01T00:00:00Z "refund"["Ünï"]=-3}'),
	('0.1.0', 'timeline', 'days', '\x0100030003000000000000000060e80a47ea02000100050040000000030000000200000048000000030000000300000050000000060000000000000000010200000000000000000000000000010000000178',
		'{2026-01-01T00:00:00Z "x", 2026-01-02T00:00:00Z "x", 2026-01-03T00:00:00Z "x"}'),
	('0.1.0', 'criteria', 'all', '\x0101', 'all'),
	('0.1.0', 'criteria', 'much', '\x01040a0000000303000000766970000502000000030d000000636974793a7368616e67686169000603090000004f646420227461672200070211080000007075726368617365000100000061000100403d7f5b0200000601000000010000000000000040070103000000616765000802000000010000000000003240010000000000003e40080300000000010400000076696577000200a0e3d08c0000000104000000636172740001010800000070757263686173650001002086593c00000009010400000076696577000702210400000076696577000100a0e3d08c0000000601000000010000000000000840070104000000626f726e0003010000000400000000000000000701040000006e616d65000702000000030100000061000301000000620007020301000000780001000000010000006b00010100000001000000000000f03f000501000000010000000000000000070b010800000070757263686173650000030100000002002086593c000000',
		'vip & (city:shanghai | !"Odd ""tag""") & count(purchase[a], 30d) >= 2 & age between 18 and 30 & seq(view ->(7d) cart -> !purchase, 3d) & any(view: count(view[$], 7d) >= 3) & born < 2000-01-01 & name in ("a", "b") & count(x{k = 1}) > 0 & due(purchase) < 3d'),
	('0.1.0', 'cohort_state', 'cohort_state', '\x010002000040c449d0ed02000060e80a47ea02000000fda7b6ec020000808bebe9ee0200010000000000000001000000000000000000000000001440000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000',
		(SELECT cohort_agg(t, 'p', '{2026-01-01Z,2026-02-01Z,2026-03-01Z}', '2026-02-15Z')::text FROM (SELECT timeline_agg('2026-01-05Z', 'p', 5::float8) AS t) x));

-- what it reads as, and whether today's writes are the same bytes (false: the form has a newer version now)
CREATE FUNCTION check_stored(s stored, OUT read boolean, OUT same boolean) LANGUAGE plpgsql AS $$
DECLARE
	raw text := CASE WHEN s.type IN ('identifier'::regtype, 'criteria'::regtype) THEN 'raw4' ELSE 'raw8' END;
	value text;
	bytes text;
BEGIN
	EXECUTE format('SELECT (%L::%s::%s)::text, (%L::%s)::%s::text', s.bytes, raw, s.type, s.value, s.type, raw) INTO value, bytes;
	read := value = s.value OR s.type = 'bitmap'::regtype AND value::bigint[] = s.value::bigint[];
	same := bytes = s.bytes;
END
$$;
SELECT since, type, what, c.* FROM stored s, check_stored(s) c;

-- bytes that only tables hold: chunks of tags and of bit slices
SELECT what, _chunk_cardinality(bytes), (SELECT array_agg(n) FROM generate_series(0, 32767) n WHERE _chunk_contains(bytes, n)) = members AS read,
	(SELECT added_members FROM _chunk_split(rb_build(members::bigint[]), '{}')) = bytes AS same
FROM (VALUES ('array', '\x1101000200ff7f'::bytea, '{1,2,32767}'::int[]), ('run', '\x120a001f4e', ARRAY(SELECT generate_series(10, 19999))),
			 ('bit set', decode('13' || repeat('55', 4096), 'hex'), ARRAY(SELECT generate_series(0, 32767, 2)))) c (what, bytes, members);
DROP FUNCTION check_stored; DROP TABLE stored; DROP TYPE raw4, raw8 CASCADE;
