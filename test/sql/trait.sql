SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never

SELECT identify(ARRAY['user_id:1'], '{"name": "Ada", "age": 36, "vip": true, "tags": ["a", 1], "note": null, "": 1}', '2026-01-01') AS no_name;
SELECT identify(ARRAY['user_id:1'], '{"name": "Ada", "age": 36, "vip": true, "tags": ["a", 1], "note": null}', '2026-01-01', 'crm') AS p \gset
SELECT n, trait(:p, n) FROM unnest('{name,age,vip,tags,note,other}'::text[]) n;
SELECT name, value, at, source FROM trait_change ORDER BY name;
SELECT name, value, number, at FROM trait_value ORDER BY name;
-- what is so already is not written again; the same call twice changes nothing
SELECT identify(ARRAY['user_id:1'], '{"name": "Ada", "age": 36}', '2026-01-01') = :p AS same;
SELECT identify(ARRAY['user_id:1'], '{"name": "Ada", "age": 36.0}', '2026-01-03') = :p AS same;
SELECT name, value, at, source FROM trait_change WHERE name IN ('name', 'age') ORDER BY name, at;
-- the latest wins, whenever it arrives; history keeps both
SELECT set_trait(:p, 'age', '37', '2026-02-01'), set_trait(:p, 'age', '35', '2026-01-02');
SELECT trait(:p, 'age');
SELECT value, at FROM trait_change WHERE name = 'age' ORDER BY at;
SELECT set_trait(:p, 'name', '"Ida"', '2026-01-02');
SELECT trait(:p, 'name') AS said_again_on_the_third, (SELECT array_agg(value::text || at::date ORDER BY at) FROM trait_change WHERE name = 'name') AS changes;
-- removed: an older value does not come back
SELECT set_trait(:p, 'vip', 'null', '2026-03-01'), set_trait(:p, 'vip', 'false', '2026-02-01');
SELECT trait(:p, 'vip') IS NULL AS removed;
SELECT set_trait(:p, 'vip', 'true', '2026-03-02'), trait(:p, 'vip');
SELECT trait(:p, 'vip');
-- equal times: the greater value
SELECT set_trait(:p, 'x', '1', '2026-01-01'), set_trait(:p, 'x', '2', '2026-01-01'), set_trait(:p, 'x', '1', '2026-01-01');
SELECT trait(:p, 'x'), (SELECT count(*) FROM trait_change WHERE name = 'x') AS changes;
-- numbers of any size
SELECT set_trait(:p, 'big', '1e400', '2026-01-01'), set_trait(:p, 'small', '-1e-400', '2026-01-01'), set_trait(:p, 'pi', '3.14', '2026-01-01'),
	set_trait(:p, 'text', '"3.14"', '2026-01-01');
SELECT name, number FROM trait_value WHERE name IN ('big', 'small', 'pi', 'text') ORDER BY name;
SELECT trait(:p, 'big') = '1e400' AS exact;

-- over a merge: the latest of all leaves; calls by identifier go to their leaf, by profile id to the survivor
SELECT identify(ARRAY['user_id:2'], '{"age": 50, "city": "Jena"}', '2026-01-15') AS q \gset
SELECT merge(:p, :q) IS NOT NULL AS merged;
SELECT n, trait(:p, n), trait(:q, n) FROM unnest('{age,city,name}'::text[]) n;
SELECT identify(ARRAY['user_id:2'], '{"age": 51}', '2026-04-01') = :p AS same, set_trait(:q, 'city', '"Ulm"', '2026-04-01');
SELECT profile_id = :p AS on_survivor, name, value FROM trait_value WHERE at = '2026-04-01' ORDER BY name;
SELECT trait(:p, 'age'), trait(:q, 'city');
-- removed on one leaf, and older on the other: gone
SELECT set_trait(:p, 'city', 'null', '2026-05-01'), trait(:p, 'city') IS NULL AS gone;
SELECT trait(:p, 'city') IS NULL AS gone;

-- errors
SELECT trait(99999, 'age') IS NULL AS nobody, trait(NULL, 'age') IS NULL AS nothing, trait(:p, NULL) IS NULL AS no_name;
SELECT set_trait(99999, 'age', '1');
\set VERBOSITY sqlstate
SELECT set_trait(NULL, 'age', '1');
SELECT set_trait(:p, NULL, '1');
SELECT set_trait(:p, 'age', NULL);
SELECT set_trait(:p, 'age', '1', NULL);
SELECT set_trait(:p, 'age', '1', 'infinity');
SELECT set_trait(:p, '', '1');
SELECT identify(ARRAY['user_id:1'], '3');
\set VERBOSITY default

-- Any order of arrival gives the same present values, and a history that
-- answers for any time in between like the calls themselves.
CREATE TABLE said AS
	SELECT n, 'user_id:u' || (hashint8extended(n, 1) & 1) AS who, chr(97 + (hashint8extended(n, 2) & 1)::int) AS name,
		to_jsonb((hashint8extended(n, 3) & 3)::int) AS value, '2026-06-01'::timestamptz + (hashint8extended(n, 4) & 31) * interval '1 day' AS at
	FROM generate_series(1, 120) n;
CREATE FUNCTION arrive(ordering text) RETURNS text LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	s	record;
BEGIN
	TRUNCATE trait_change, trait_value, profile, identifier_link, profile_merge, profile_queue, tag_pending, tag_chunk;
	FOR s IN EXECUTE 'SELECT * FROM said ORDER BY ' || ordering LOOP
		PERFORM identify(ARRAY[s.who], jsonb_build_object(s.name, s.value), s.at);
	END LOOP;
	RETURN (SELECT string_agg(format('%s %s %s %s', l.identifier, v.name, v.value, v.at::date), ', ' ORDER BY l.identifier, v.name)
			FROM trait_value v JOIN identifier_link l USING (profile_id));
END
$$;
SELECT string_agg(format('%s %s %s %s', who, name, value, at::date), ', ' ORDER BY who, name) AS expected
FROM (SELECT DISTINCT ON (who, name) * FROM said ORDER BY who, name, at DESC, value DESC) s;
SELECT arrive('n');
SELECT arrive('n DESC');
SELECT arrive('at, value');
-- in order of time the history is exact
SELECT count(*) AS wrong
FROM (SELECT DISTINCT who, name FROM said) k, generate_series('2026-06-01'::timestamptz, '2026-07-05', '12 hours') t
WHERE (SELECT value FROM said s WHERE s.who = k.who AND s.name = k.name AND s.at <= t ORDER BY s.at DESC, s.value DESC LIMIT 1)
	IS DISTINCT FROM
	(SELECT c.value FROM trait_change c WHERE c.profile_id = resolve(k.who) AND c.name = k.name AND c.at <= t ORDER BY c.at DESC, c.value DESC LIMIT 1);
SELECT arrive('at DESC, value DESC');

SET client_min_messages = warning;
DROP FUNCTION arrive;
DROP TABLE said;

-- rules: types
SELECT identify(ARRAY['user_id:typed'], at => '2026-01-01') AS q \gset
INSERT INTO trait_rule (name, type) VALUES ('age', 'number'), ('born', 'date'), ('nick', 'text'), ('vip', 'boolean'), ('any', 'json');
SELECT set_trait(:q, 'age', '"old"');
SELECT set_trait(:q, 'born', '"1990-02-30"');
SELECT set_trait(:q, 'born', '19900101');
SELECT set_trait(:q, 'nick', '1');
SELECT set_trait(:q, 'vip', '"true"');
SELECT identify(ARRAY['user_id:u1'], '{"nick": "a", "age": [1]}');
SELECT set_trait(:q, 'age', '41', '2027-01-01'), set_trait(:q, 'born', '"1990-02-28"'), set_trait(:q, 'born', '"1990-02-28T10:00:00Z"', '2027-01-01'), set_trait(:q, 'nick', '"x"'),
	set_trait(:q, 'vip', 'false'), set_trait(:q, 'any', '[1]'), set_trait(:q, 'vip', 'null', '2027-01-01');
SELECT n, trait(:q, n) FROM unnest('{age,born,nick,vip,any}'::text[]) n;
-- in a message the rest goes in, and nothing is lost
SELECT ingest('{"type": "identify", "userId": "mixed", "messageId": "m1", "timestamp": "2026-01-01", "traits": {"age": "x", "born": "soon", "city": "Ulm", "nick": "m"}}');
SELECT n, trait(resolve('user_id:mixed'), n) FROM unnest('{age,born,city,nick}'::text[]) n;
SELECT payload -> 'traits' AS traits, payload ->> 'userId' AS who, reason, sqlstate FROM rejected ORDER BY reason;
INSERT INTO trait_rule (name, type, searchable) VALUES ('blob', 'json', true);
INSERT INTO trait_rule (name, type) VALUES ('x', 'money');
INSERT INTO trait_rule (name, survivorship) VALUES ('x', 'best');
INSERT INTO trait_rule (name) VALUES ('');

-- rules: which of the values of merged profiles counts, for one and for all alike
SELECT array_agg(identify(ARRAY['user_id:s' || g], jsonb_build_object('l', g % 3, 'f', g % 3, 'hi', g % 3, 'lo', g % 3), '2026-01-01'::timestamptz + (g * 7 % 5) * interval '1 day')) AS p
FROM generate_series(1, 4) g \gset
SELECT (:'p'::bigint[])[1] AS p1, (:'p'::bigint[])[2] AS p2, (:'p'::bigint[])[3] AS p3, (:'p'::bigint[])[4] AS p4 \gset
INSERT INTO trait_rule (name, survivorship) VALUES ('l', 'latest'), ('f', 'first'), ('hi', 'max'), ('lo', 'min');
SELECT v.name, v.profile_id - :p1 AS leaf, v.value, v.at::date FROM trait_value v WHERE v.profile_id >= :p1 AND v.name = 'l' ORDER BY 2;
SELECT merge(:p1, :p2) > 0, merge(:p1, :p3) > 0, merge(:p1, :p4) > 0;
SELECT n, trait(:p1, n), audience(format('%s = %s', quote_ident(n), trait(:p1, n))::criteria, 'infinity') @> :p1 AS audience, matches(:p1, format('%s = %s', n, trait(:p1, n))::criteria, 'infinity') AS matches,
	audience(format('%s != %s', n, trait(:p1, n))::criteria, 'infinity') @> :p1 AS audience_not
FROM unnest('{l,f,hi,lo}'::text[]) n;
-- a removed value counts only where the latest does
SELECT set_trait(:p1, n, 'null', '2026-02-01') FROM unnest('{l,f,hi,lo}'::text[]) n;
SELECT n, trait(:p1, n), matches(:p1, format('%s >= 0', n)::criteria, 'infinity'), audience(format('%s >= 0', n)::criteria, 'infinity') @> :p1 AS audience FROM unnest('{l,f,hi,lo}'::text[]) n;
