-- Garbage bytes to every in, recv and bytea cast of the extension's types: an
-- error with a proper SQLSTATE or a value that is as good as any other, never
-- a crash.  The types are found in the catalog, so a new one is covered as
-- soon as it has a sample below.  "make fuzz" feeds the same readers many more
-- inputs, under sanitizers.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

CREATE TEMP TABLE sample (type regtype, value text);
INSERT INTO sample
SELECT 'bitmap'::regtype, v FROM unnest(ARRAY['{}', '{0}', '{1,2,3}', '{5,4294967296,9223372036854775807}',
	(SELECT rb_build_agg(n)::text FROM generate_series(1, 3000) n),
	(SELECT rb_build_agg(n * 3)::text FROM generate_series(1, 8000) n)]) v
UNION ALL SELECT 'timeline'::regtype, v FROM unnest(ARRAY['{}',
	(SELECT timeline_agg(timestamptz '2026-01-01Z' + n * interval '7 min', 'e' || n % 3, nullif('l' || n % 4, 'l0'), nullif(n % 5, 0) / 4.0)::text
	 FROM generate_series(1, 40) n),
	(SELECT timeline_agg('2026-01-01Z', 'x')::text), (SELECT timeline_agg(timestamptz '2026-01-01Z' + n * interval '1 us', 'x', NULL, sqrt(n))::text
	 FROM generate_series(1, 10) n)]) v
UNION ALL SELECT 'criteria'::regtype, v FROM unnest(ARRAY['all', 'vip & !city:shanghai | age >= 18',
	'any(view: count(view[$], 7d) >= 3 & count(purchase[$], 60d..30d) = 0)', 'seq(view -> cart ->(2h) !purchase, 3d)']) v
UNION ALL SELECT 'event_state'::regtype, v FROM unnest(ARRAY[
	(SELECT _window_funnel_add(NULL, '1 day', 'strict_order', '2026-01-01Z', '{t,NULL,f}')::text), (SELECT _retention_add(NULL, '{t,f,t}')::text),
	(SELECT _event_state_combine(_sequence_add(NULL, '(?1).*(?9)(?t<=60).', '2026-01-02Z', array_fill(true, '{9}')), _sequence_add(NULL, '(?1).*(?9)(?t<=60).', '2026-01-01Z', array_fill(true, '{9}')))::text)]) v
UNION ALL SELECT 'quantile_state'::regtype, v FROM unnest(ARRAY[_quantile_edges_add(NULL, 1.5, '{0.5}')::text,
	(SELECT _quantile_edges_combine(_quantile_edges_add(NULL, 'NaN', '{0,1}'), _quantile_edges_add(_quantile_edges_add(NULL, '-Infinity', '{0,1}'), 7, '{0,1}'))::text)]) v
UNION ALL SELECT 'cohort_state'::regtype, v FROM unnest(ARRAY[(SELECT cohort_agg(timeline_agg, 'x', '{2026-01-01Z,2026-02-01Z,2026-02-03Z}', '2026-03-01Z')::text FROM (SELECT timeline_agg('2026-01-01Z', 'x', 7.5)) t),
	(SELECT cohort_agg('{}'::timeline, 'x', '{2026-01-01Z,2026-02-01Z}', 'infinity')::text)]) v
UNION ALL SELECT 'identifier'::regtype, v FROM unnest(ARRAY['email:ada@example.com', 'phone:+44 20 7946 0000', 'x:张三']) v
UNION ALL SELECT 'lifecycle_stage'::regtype, v::text FROM unnest(enum_range(NULL::lifecycle_stage)) v;

-- every type has samples
SELECT t.oid::regtype FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'marketing_cdp')
  AND t.typtype IN ('b', 'e') AND t.typelem = 0 AND t.oid NOT IN (SELECT type FROM sample);

CREATE FUNCTION pg_temp.die(seed bigint, sides int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT ((hashint8extended(seed, 4711) & 9223372036854775807) % sides)::int $$;

-- one to six changed, dropped or repeated bytes
CREATE FUNCTION pg_temp.mutate(b bytea, seed bigint) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	at int;
BEGIN
	FOR i IN 1 .. 1 + pg_temp.die(seed, 6) LOOP
		EXIT WHEN length(b) = 0;
		at := pg_temp.die(seed * 31 + i, CASE WHEN i % 2 = 0 THEN least(length(b), 48) ELSE length(b) END);
		CASE pg_temp.die(seed * 37 + i, 5)
			WHEN 0 THEN b := set_byte(b, at, pg_temp.die(seed * 41 + i, 256));
			WHEN 1 THEN b := set_byte(b, at, (ARRAY[0, 255, 127, 128, 1])[1 + pg_temp.die(seed * 43 + i, 5)]);
			WHEN 2 THEN b := substr(b, 1, at);
			WHEN 3 THEN b := substr(b, 1, at) || substr(b, at + 2 + pg_temp.die(seed * 47 + i, 8));
			ELSE b := substr(b, 1, at) || substr(b, greatest(1, at - 5));
		END CASE;
	END LOOP;
	RETURN b;
END $$;

-- COPY BINARY of a bytea writes just what COPY BINARY hands to a recv function.
CREATE FUNCTION pg_temp.feed(type regtype, way text, input bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	file text := current_setting('data_directory') || '/garbage.bin';
	ok boolean;
BEGIN
	CASE way
		WHEN 'in' THEN
			EXECUTE format('SELECT ($1::%s)::text::%1$s::text = ($1::%1$s)::text', type) INTO ok USING convert_from(input, 'UTF8');
		WHEN 'bytea' THEN
			EXECUTE format('SELECT ($1::%s)::text::%1$s::text = ($1::%1$s)::text', type) INTO ok USING input;
		WHEN 'recv' THEN
			EXECUTE format('COPY (SELECT %L::bytea) TO %L (FORMAT binary)', input, file);
			EXECUTE format('CREATE TEMP TABLE received (value %s)', type);
			EXECUTE format('COPY received FROM %L (FORMAT binary)', file);
			EXECUTE format('SELECT value::text::%s::text = value::text FROM received', type) INTO ok;
			DROP TABLE received;
	END CASE;
	RETURN CASE WHEN ok THEN 'accepted' ELSE 'BROKEN VALUE' END;
EXCEPTION WHEN OTHERS THEN
	-- 08P01 is the server's own word for a message that ends too early
	RETURN CASE WHEN left(SQLSTATE, 2) IN ('22', '54', '0A') OR SQLSTATE = '08P01' THEN 'error' ELSE 'BAD SQLSTATE ' || SQLSTATE || ': ' || SQLERRM END;
END $$;

CREATE TEMP TABLE way AS
SELECT DISTINCT type, way FROM sample, unnest(ARRAY['in', 'recv', 'bytea']) way
WHERE way <> 'bytea' OR EXISTS (SELECT FROM pg_cast WHERE castsource = 'bytea'::regtype AND casttarget = type);
SELECT type, string_agg(way, ', ' ORDER BY way) AS ways FROM way GROUP BY type ORDER BY type::text;

-- the wire form of each sample
CREATE FUNCTION pg_temp.wire(type regtype, value text) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	b bytea;
BEGIN
	EXECUTE format('SELECT %s($1::%s)', (SELECT typsend FROM pg_type WHERE oid = type), type) INTO b USING value;
	RETURN b;
END $$;

CREATE TEMP TABLE answer AS
SELECT w.type, w.way, pg_temp.feed(w.type, w.way, pg_temp.mutate(x.input, n * 1009 + hashtext(w.type::text || w.way))) AS answer
FROM way w
JOIN sample s USING (type)
CROSS JOIN LATERAL (SELECT CASE w.way WHEN 'in' THEN convert_to(s.value, 'UTF8') ELSE pg_temp.wire(s.type, s.value) END AS input) x
CROSS JOIN generate_series(1, 100) n;

-- nothing but accepted values and proper errors; some errors for every way
SELECT type, way, answer, count(*) FROM answer WHERE answer NOT IN ('accepted', 'error') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT type, way, count(*) > 100 AND count(*) FILTER (WHERE answer = 'error') > 20 AS tried
FROM answer GROUP BY 1, 2 ORDER BY type::text, way;
