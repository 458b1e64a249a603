-- Every function of the extension is called with nothing, with empty values,
-- with arrays of NULLs and with limits, all together and mixed: it answers or
-- refuses, with an SQLSTATE of its own if it is public, and no backend crashes.
-- The functions are found in the catalog.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- sorts: 0 NULL, 1 to 3 odd values; NULL when there can be none
CREATE FUNCTION pg_temp.argument(type oid, sort int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name	text := format_type(type, NULL);
	t		pg_type := (SELECT x FROM pg_type x WHERE x.oid = type);
	given	text;
BEGIN
	IF name IN ('anyelement', 'anynonarray') THEN
		RETURN CASE sort WHEN 0 THEN 'NULL::int' ELSE '1' END;
	ELSIF name = 'anyarray' THEN
		RETURN (ARRAY['NULL', '''{}''', '''{NULL}''', '''{1,NULL}'''])[sort + 1] || '::int[]';
	ELSIF sort = 0 THEN
		RETURN 'NULL::' || name;
	ELSIF t.typcategory = 'A' THEN
		RETURN format((ARRAY['''{}''::%1$s', 'ARRAY[NULL]::%1$s', '(ARRAY[%2$s, NULL])::%1$s'])[sort], name, pg_temp.argument(t.typelem, sort));
	ELSIF t.typtype = 'c' THEN
		SELECT string_agg(CASE sort WHEN 1 THEN 'NULL' ELSE pg_temp.argument(a.atttypid, sort) END, ', ' ORDER BY a.attnum) INTO given
		FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped;
		RETURN format('ROW(%s)::%s', given, name);
	END IF;
	given := (CASE name
		WHEN 'boolean' THEN ARRAY['false', 'true', 'true']
		WHEN 'integer' THEN ARRAY['0', '-1', '2147483647']
		WHEN 'bigint' THEN ARRAY['0', '-1', '9223372036854775807']
		WHEN 'double precision' THEN ARRAY['NaN', '0', 'Infinity']
		WHEN 'text' THEN ARRAY['', 'x', 'all']
		WHEN 'jsonb' THEN ARRAY['{}', '[]', 'null']
		WHEN 'bytea' THEN ARRAY['', '\x00', '\xffffffffffffffffffffffff']
		WHEN 'timestamp with time zone' THEN ARRAY['infinity', '2026-01-01Z', '-infinity']
		WHEN 'interval' THEN ARRAY['0', '-1 day', '1 day']
		WHEN 'cdp.bitmap' THEN ARRAY['{}', '{0,1,9223372036854775807}', '{5}']
		WHEN 'bitmap' THEN ARRAY['{}', '{0,1,9223372036854775807}', '{5}']
		WHEN 'timeline' THEN ARRAY['{}', timeline_agg('2026-01-01Z', 'x')::text, timeline_agg('9999-01-01Z', 'x', '', 'NaN')::text]
		WHEN 'identifier' THEN ARRAY['x:1', 'email:a@example.com', 'x:1']
		WHEN 'criteria' THEN ARRAY['all', 'count(x{a > 1}) > 0 & a & b = 1', 'any(x: count(x[$]) > 0)']
		END)[sort];
	IF t.typtype = 'e' THEN
		given := (SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = type ORDER BY e.enumsortorder LIMIT 1);
	END IF;
	RETURN coalesce(quote_literal(given), 'NULL') || '::' || name;
END $$;

CREATE PROCEDURE pg_temp.call_all(INOUT answered int, INOUT refused int) LANGUAGE plpgsql AS $$
DECLARE
	f		record;
	args	text;
BEGIN
	FOR f IN
		SELECT p.proname AS name, p.proargtypes::oid[] AS types
		FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		WHERE d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'marketing_cdp') AND p.prokind = 'f'
		  AND NOT p.proargtypes::oid[] || p.prorettype && '{internal,cstring,trigger}'::regtype[]::oid[]
		  AND p.proname NOT IN ('start_worker', '_start_worker', 'stop_worker')
		ORDER BY p.proname, p.oid
	LOOP
		FOR sort IN 0 .. 11 LOOP
			args := (SELECT string_agg(pg_temp.argument(a, CASE WHEN sort < 4 THEN sort ELSE abs(hashint4(sort * 31 + i::int)) % 4 END), ', ' ORDER BY i)
					 FROM unnest(f.types) WITH ORDINALITY u(a, i));
			BEGIN
				SET LOCAL statement_timeout = '10s';
				EXECUTE format('SELECT count(*) FROM (SELECT cdp.%I(%s)) x', f.name, coalesce(args, ''));
				answered := answered + 1;
				RAISE EXCEPTION USING ERRCODE = 'CDP99';	-- nothing is kept
			EXCEPTION
				WHEN SQLSTATE 'CDP99' THEN
					NULL;
				WHEN query_canceled THEN
					RAISE WARNING 'no end: %(%)', f.name, args;
				WHEN OTHERS THEN
					IF SQLSTATE LIKE 'XX%' AND (f.name NOT LIKE '\_%' OR SQLERRM LIKE 'invalid memory%') THEN
						RAISE WARNING '%(%): %', f.name, args, SQLERRM;
					END IF;
					refused := refused + 1;
			END;
		END LOOP;
	END LOOP;
END $$;
CREATE TABLE called (answered int, refused int);
DO $$
DECLARE
	answered int := 0;
	refused int := 0;
BEGIN
	CALL pg_temp.call_all(answered, refused);
	INSERT INTO called VALUES (answered, refused);
END $$;
SELECT answered > 5000 AS answered, refused > 1000 AS refused FROM called;
DROP TABLE called;
DROP EXTENSION marketing_cdp CASCADE;
