SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;

-- Check whether any of our operator classes fail amvalidate
SELECT amname, opcname
FROM pg_opclass opc LEFT JOIN pg_am am ON am.oid = opcmethod
WHERE opc.oid >= 16384 AND NOT amvalidate(opc.oid);

-- canonical forms: every spelling on the left is the identifier on the right
SELECT i::identifier, i::identifier = canonical::identifier AS same
FROM (VALUES
	('email:ada@example.com', 'email:ada@example.com'),
	('  EMAIL: Ada@Example.COM  ', 'email:ada@example.com'),
	(E'email:\tada@example.com\n', 'email:ada@example.com'),
	('email: NULL ', 'email:null'),
	('phone:N/A', 'phone:n/a'),
	('phone:-1', 'phone:-1'),
	('email:Ärger@Beispiel.de', 'email:Ärger@beispiel.de'),
	('phone:+86 138-0013.8000', 'phone:+8613800138000'),
	('phone:0086 (138) 0013 8000', 'phone:+8613800138000'),
	('phone:138 0013 8000', 'phone:13800138000'),
	('phone:(0)7', 'phone:07'),
	('phone:0-0-49 30', 'phone:+4930'),
	('phone:00000', 'phone:+000'),
	('user_id:A:b C', 'user_id:A:b C'),
	('User_ID:A', 'user_id:A'),
	('x.y-z:1', 'x.y-z:1'),
	('store:上海', 'store:上海'),
	('a::', 'a::'),
	('phone:+49 (0)30 123', 'phone:+4930123'),
	('phone:0049(0)30 123', 'phone:+4930123'),
	('phone:+44(0) 20 (0)7', 'phone:+44207'),
	('phone:(0)30 (0)1', 'phone:03001'),
	('device_id:B5372DB0-C21E-11E4-8DFC-AA07A5B093DB', 'device_id:b5372db0-c21e-11e4-8dfc-aa07a5b093db'),
	('ios.idfa:7A3CBEA0-BDF5-11E4-8DFC-AA07A5B093DB', 'ios.idfa:7a3cbea0-bdf5-11e4-8dfc-aa07a5b093db'),
	('device_id:NoUUID-C21E', 'device_id:NoUUID-C21E'),
	('device_id:B5372DB0-C21E-11E4-8DFC-AA07A5B093DX', 'device_id:B5372DB0-C21E-11E4-8DFC-AA07A5B093DX'),
	('user_id:B5372DB0-C21E-11E4-8DFC-AA07A5B093DB', 'user_id:B5372DB0-C21E-11E4-8DFC-AA07A5B093DB'),
	('email.sha256:ABCDEF01', 'email.sha256:abcdef01'),
	('email.sha256:XYZ', 'email.sha256:XYZ'),
	('.md5:AB', '.md5:AB')
) v (i, canonical);

-- numbers of a country; those that say theirs keep it
SELECT number, region, phone_identifier(number, region)
FROM (VALUES ('030 1234567', 'DE'), ('(0)30 1234567', 'de'), ('+44 20 7946 0000', 'DE'), ('0044 (0)20 7946 0000', 'DE'), ('138 0013 8000', 'CN'), ('010-12345678', 'CN'),
	('06 1 234 5678', 'HU'), ('06 6982', 'IT'), ('8 916 123-45-67', 'RU'), ('(512) 555-0100', 'US'), ('1 512 555 0100', 'CA'), ('011 49 30 1234567', 'US'), ('0', 'DE'), ('612 345 678', 'ES')) v (number, region);
-- what stands for no number gets no code, and is blocked
SELECT number, phone_identifier(number, 'DE') AS phone, _is_blocked(phone_identifier(number, 'DE')) AS blocked
FROM unnest('{"null",N/A,-1,0,00000,9999999,1111111111,999999,111111112}'::text[]) number;
SELECT phone_identifier('1', 'XX');
SELECT phone_identifier('1', '');
SELECT phone_identifier('call me', 'DE');
SELECT phone_identifier(repeat('12', 253), 'DE');
SELECT phone_identifier(NULL, 'DE') IS NULL AND phone_identifier('1', NULL) IS NULL AS nothing;
-- aliases are folded on request only
SELECT a, email_identifier(a) AS plain, email_identifier(a, true) AS folded
FROM unnest(ARRAY['Ada.Byron+news@GoogleMail.com', 'ada.byron+a+b@example.com', '+x@example.com', '...@gmail.com', '.+x@gmail.com']) a;
SELECT email_identifier('ada', true);
SELECT email_identifier(NULL) IS NULL AS nothing;

-- what is not an identifier, and why
\set VERBOSITY default
CREATE FUNCTION why(i text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d text;
BEGIN
	PERFORM i::identifier;
	RETURN 'fine';
EXCEPTION WHEN invalid_text_representation THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
	RETURN format('%s: %s', left(SQLERRM, 90), d);
END
$$;
SELECT why(i) FROM (VALUES
	(''), (' '), ('ada'), ('ada@example.com'), (':x'), (' :x'), ('email:'), ('user_id:   '), ('e mail:x'), ('é:x'),
	('email :a@b'), ('email:ada'), ('email:a@b@c'), ('email:@b'), ('email:a@'), ('email:a b@c'), ('email:nul'),
	('phone:'), ('phone:+'), ('phone:00'), ('phone:--'), ('phone:12+3'), ('phone:++12'), ('phone:12a'), ('phone:１２'),
	(E'user_id:a\x01b'), (E'user_id:a\tb'), (E'user_id:a\x7f'), (repeat('n', 63) || ':x'), (repeat('n', 64) || ':x'),
	('u:' || repeat('x', 510)), ('u:' || repeat('x', 511)), ('u:' || repeat('é', 256)), ('u:' || repeat('x', 10) || repeat(' ', 1000)),
	('phone:' || repeat('- ', 300) || '1')
) v (i);
SELECT 'nonsense'::identifier;
SELECT NULL::identifier IS NULL AS null_stays_null;

-- the canonical form of a canonical form is itself, and binary goes round
CREATE TEMP TABLE ids AS
	SELECT DISTINCT i::identifier AS i
	FROM (SELECT 'user_id:' || chr(33 + n % 90) || ' ' || chr(200 + n) AS i FROM generate_series(1, 300) n
		  UNION ALL SELECT 'phone:00' || n || '-' || n FROM generate_series(0, 300) n
		  UNION ALL SELECT 'Email:U' || n || '@X.org' FROM generate_series(0, 300) n) v;
SELECT count(*), bool_and(i::text::identifier = i AND i::text::identifier::text = i::text) AS idempotent,
	bool_and(identifier(namespace(i), value(i)) = i) AS from_parts
FROM ids;
SELECT identifier_send('user_id:é');
SELECT format('%s/mcdp_identifier.bin', current_setting('data_directory')) AS file \gset
COPY (SELECT i FROM ids) TO :'file' (FORMAT binary);
CREATE TEMP TABLE back (i identifier);
COPY back FROM :'file' (FORMAT binary);
SELECT count(*) FROM ids JOIN back USING (i);
-- bytes from outside: another version, nothing, a bad value, another spelling
TRUNCATE back;
COPY (SELECT '\x02753a31'::bytea) TO :'file' (FORMAT binary);
COPY back FROM :'file' (FORMAT binary);
COPY (SELECT ''::bytea) TO :'file' (FORMAT binary);
COPY back FROM :'file' (FORMAT binary);
COPY (SELECT '\x017531'::bytea) TO :'file' (FORMAT binary);
COPY back FROM :'file' (FORMAT binary);
COPY (SELECT '\x01753aff'::bytea) TO :'file' (FORMAT binary);
COPY back FROM :'file' (FORMAT binary);
COPY (SELECT '\x01'::bytea || convert_to(' EMAIL:A@B.c ', 'UTF8')) TO :'file' (FORMAT binary);
COPY back FROM :'file' (FORMAT binary);
SELECT * FROM back;

-- order: by bytes, the same with all operators, in sorts and in joins
SELECT array_agg(i ORDER BY i) = array_agg(i ORDER BY i::text COLLATE "C") AS by_bytes FROM ids;
WITH few AS (SELECT i FROM ids ORDER BY identifier_hash(i) LIMIT 100)
SELECT bool_and((a.i < b.i) = (a.i::text COLLATE "C" < b.i::text) AND (a.i <= b.i) = (a.i::text COLLATE "C" <= b.i::text)
	AND (a.i = b.i) = (a.i::text = b.i::text) AND (a.i <> b.i) = (a.i::text <> b.i::text)
	AND (a.i >= b.i) = (a.i::text COLLATE "C" >= b.i::text) AND (a.i > b.i) = (a.i::text COLLATE "C" > b.i::text)
	AND identifier_cmp(a.i, b.i) = (a.i::text COLLATE "C" > b.i::text)::int - (a.i::text COLLATE "C" < b.i::text)::int) AS agree
FROM few a, few b;
SELECT min(i) = min(i::text COLLATE "C")::identifier AS least, max(i) = max(i::text COLLATE "C")::identifier AS greatest FROM ids;
SELECT 'u:a'::identifier < 'u:ab' AS prefix_first, 'email:A@B.c'::identifier = 'email:a@b.C' AS spelling;
CREATE INDEX ON ids USING btree (i);
CREATE INDEX ON ids USING hash (i);
ANALYZE ids;
SET enable_seqscan = off; SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT i FROM ids WHERE i > 'phone:+1' AND i < 'phone:+2' ORDER BY i;
SELECT count(*) FROM ids WHERE i > 'phone:+1' AND i < 'phone:+2';
RESET enable_seqscan; RESET enable_bitmapscan;
SET enable_mergejoin = off; SET enable_nestloop = off;
SELECT count(*) AS hashed FROM ids JOIN ids b USING (i);
SET enable_hashjoin = off; SET enable_mergejoin = on;
SELECT count(*) AS merged FROM ids JOIN ids b USING (i);
RESET enable_mergejoin; RESET enable_nestloop; RESET enable_hashjoin;
SELECT count(DISTINCT identifier_hash_extended(i, 0)) = count(*) AS spread,
	bool_and(identifier_hash_extended(i, 0) & 4294967295 = identifier_hash(i)::bigint & 4294967295) AS consistent FROM ids;

-- casts: text and varchar come in by themselves, alone and in arrays
CREATE FUNCTION pg_temp.list(identifier[]) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
SELECT pg_temp.list(ARRAY['email:A@b.c', 'phone:0049 30']);
SELECT pg_temp.list('{email:A@b.c,phone:0049 30,NULL}');
SELECT pg_temp.list(ARRAY['email:A@b.c'::varchar, NULL]);
SELECT pg_temp.list(array_agg('u:' || n)) FROM generate_series(1, 3) n;
SELECT pg_temp.list('{}');
CREATE TEMP TABLE t (a text, b varchar(20));
INSERT INTO t SELECT i, i FROM (VALUES ('email:A@b.c'::identifier)) v (i);
SELECT * FROM t WHERE a::identifier = 'email:a@B.C' AND a = b::identifier;
SELECT namespace('user_id:a:b'), value('user_id:a:b');
SELECT identifier('Email', ' A@b.c '), identifier('u', ':'), identifier(NULL, 'x') IS NULL AS null_in_null_out;
SELECT identifier('a:b', 'c');
SELECT identifier('', 'c');
DROP FUNCTION why(text);
