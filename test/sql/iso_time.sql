-- ISO 8601 times in messages, traits and rules, beside PostgreSQL's own reading
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';

CREATE FUNCTION pg_temp.server_reads(t text) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN RETURN t::timestamptz; EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN RETURN NULL; END $$;
-- the grammar of docs/reference/ingest.md
CREATE FUNCTION pg_temp.is_iso(t text) RETURNS boolean LANGUAGE sql
RETURN t ~ '^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]| ?[+-]\d{2}(:?\d{2})?)?)?$' AND t !~ '^.{11}24' AND t !~ '^.{16}:60';
CREATE FUNCTION pg_temp.pick(i int, salt text, VARIADIC from_these text[]) RETURNS text LANGUAGE sql
RETURN from_these[1 + (hashtextextended(salt, i) & 65535) % cardinality(from_these)];

-- times put together of parts, the rarer the odder
CREATE TABLE spelling AS SELECT i AS n,
	CASE pg_temp.pick(i, 'year?', 'any', 'any', 'leap', 'odd') WHEN 'any' THEN to_char((hashtextextended('year', i) & 65535) % 9999 + 1, 'FM0000')
		WHEN 'leap' THEN pg_temp.pick(i, 'leap', '2024', '2000', '1900', '2100', '0004', '9996', '1600')
		ELSE pg_temp.pick(i, 'odd', '0001', '9999', '0000', '1899', '1900', '2199', '2200', '1970', '2026', '1999', '1582', '0999', '2999', '99', '10000') END
	|| pg_temp.pick(i, 'month', '-01-', '-02-', '-03-', '-04-', '-06-', '-11-', '-12-', '-02-', '-05-', '-07-', '-08-', '-09-', '-10-', '-12-', '-00-', '-13-', '-1-')
	|| pg_temp.pick(i, 'day', '01', '02', '09', '10', '15', '20', '28', '29', '30', '31', '29', '28', '30', '00', '32', '7')
	|| CASE WHEN i % 8 = 0 THEN '' ELSE pg_temp.pick(i, 'separator', 'T', 'T', 'T', 'T', 'T', ' ', ' ', ' ', 't', 't', '  ', '')
	|| pg_temp.pick(i, 'hour', '00', '01', '09', '12', '15', '19', '20', '22', '23', '23', '24', '25')
	|| pg_temp.pick(i, 'minute', ':00', ':01', ':10', ':29', ':30', ':45', ':59', ':59', ':60', '')
	|| CASE WHEN i % 7 = 0 THEN '' ELSE pg_temp.pick(i, 'second', ':00', ':07', ':19', ':30', ':42', ':59', ':59', ':60', ':61', ':') END
	|| CASE WHEN i % 3 = 0 THEN '' ELSE pg_temp.pick(i, 'point', '.', '.', '.', '.', '.', '.', '.', ',')
		|| left(pg_temp.pick(i, 'decimals?', '999999999999', '123456500000', '000000500000', '249999999999', to_char(hashtextextended('decimals', i) & 999999999999, 'FM000000000000'),
			to_char(hashtextextended('decimals', i) & 999999999999, 'FM000000000000')), ((hashtextextended('how many', i) & 65535) % 13)::int) END
	|| CASE WHEN i % 5 = 0 THEN '' ELSE pg_temp.pick(i, 'zone', 'Z', 'Z', 'z', '+00', '-00:00', '+08:00', '-0330', '+05:45', '+15:59', '-15:59', '+16', '+01:60', '+14:30', ' +02', ' -0330', '  +02', ' Z', '+1', '+', '-05:', '+08:00x', 'UTC', ' ') END END AS t
FROM generate_series(1, 60000) i;
-- and good ones with a character or two changed
INSERT INTO spelling SELECT n + 100000, overlay(t PLACING pg_temp.pick(n, 'character', '', '0', '9', '-', '+', ':', 'Z', 'T', '.', ' ', '1', '00', 'é', E'\t') FROM 1 + ((hashtextextended('where', n) & 65535) % length(t))::int FOR ((hashtextextended('how long', n) & 65535) % 3)::int)
FROM spelling WHERE _iso_time(t) IS NOT NULL;
-- what is taken is what the grammar says, when there is such a day, and means what it means to the server
CREATE TABLE reading AS SELECT n, t, _iso_time(t) AS ours, CASE WHEN pg_temp.is_iso(t) THEN pg_temp.server_reads(t) END AS servers FROM spelling;
SELECT t, ours, servers FROM reading WHERE ours IS DISTINCT FROM servers ORDER BY n LIMIT 10;
SELECT count(*) > 50000 AS many, count(ours) * 100 / count(*) BETWEEN 10 AND 50 AS some_good, count(DISTINCT ours) > 10000 AS various,
	count(*) FILTER (WHERE t LIKE '%-02-29%') > 100 AS leap, count(*) FILTER (WHERE t ~ '\.\d{7,}' AND ours IS NOT NULL) > 500 AS rounded,
	count(*) FILTER (WHERE pg_temp.is_iso(t) AND ours IS NULL) > 1000 AS no_such_day, min(ours), max(ours) FROM reading;

-- the limits, by hand
SELECT t, _iso_time(t) FROM unnest(ARRAY['0001-01-01', '0001-01-01T00:00+15:59', '9999-12-31T23:59:59.999999-15:59', '2024-02-29', '2023-02-29', '1900-02-29', '2000-02-29 12:00',
	'2026-12-31T23:59:59.9999994', '2026-12-31T23:59:59.9999995', '2026-01-01T00:00:00.0000005', '2026-01-01T00:00:00.0000015', '2026-01-01T00:00:00.1234567890123456789',
	'2026-01-01T24:00', '2016-12-31T23:59:60Z', '2026-01-01Z', '2026-01-01 ', '2026-01-01T', '2026-01-01T10', '2026-01-01T10:00Z+01', '20260101', '2026-01-01T10:00:00,5', '']) t;

-- a message, a trait and a rule read the same: in bulk (plain messages), one by one (others) and in a comparison
CREATE TABLE told AS SELECT DISTINCT ON (t) n, t, ours FROM reading WHERE n % 5 = 0 AND (t !~ '^(19|20|21)' OR t ~ '^(1900|1970|2024|2199)');
INSERT INTO inbox (payload, received_at) SELECT jsonb_build_object('type', 'track', 'userId', 'u1', 'event', 'told', 'messageId', n, 'timestamp', t), '2026-06-01Z' FROM told;
INSERT INTO inbox (payload, received_at) SELECT jsonb_build_object('type', 'track', 'userId', 'u1', 'event', 'told', 'messageId', -n, 'timestamp', t, 'participants', '[]'::jsonb), '2026-06-01Z' FROM told WHERE n % 40 = 0;
SELECT ingest_inbox(100000) > 100 AS taken;
ANALYZE told, event, rejected;
SELECT t, e.at, ours FROM told LEFT JOIN event e ON abs(e.message_id::int) = n
WHERE e.at IS DISTINCT FROM CASE WHEN ours >= '1900-01-01' AND ours < '2200-01-01' THEN ours END LIMIT 10;
SELECT r.sqlstate, r.reason, t FROM rejected r JOIN told ON abs((r.payload ->> 'messageId')::int) = n
WHERE (r.sqlstate = '22008') IS DISTINCT FROM (ours IS NOT NULL) OR (r.sqlstate = '22007') IS DISTINCT FROM (ours IS NULL) LIMIT 10;
SELECT identify(ARRAY['user_id:rule'], at => '2026-01-01Z') AS rule \gset
CREATE FUNCTION pg_temp.rule_reads(who bigint, n int, t text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM set_trait(who, 'seen', to_jsonb(t), '2026-01-01Z'::timestamptz + make_interval(secs => n)); RETURN matches(who, format('seen >= %s & seen < %s', day, day + 1)::criteria, '2026-06-01Z'); END $$;
SELECT count(*) > 300 AS several, count(*) FILTER (WHERE NOT ok) AS wrong FROM (SELECT pg_temp.rule_reads(:rule, row_number() OVER ()::int, t, ours::date) AS ok FROM told
	WHERE ours BETWEEN '0001-01-01' AND '9999-12-30' AND n % 15 = 0) x;
