SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- import_events: what track() would have made of each row, as history
CREATE TABLE sale (shop_user text, mail text, what text, at timestamptz, amount numeric, item text, id text);
INSERT INTO sale VALUES
	('u1', 'Ada@Example.com', 'Order Completed', '2020-01-01', 12.50, 'shoes', 's1'),
	('u1', NULL, 'Order Completed', '2021-01-01', 20, NULL, 's2'),
	('u2', '', 'Order Completed', '2021-01-02', 30, 'hat', 's3'),
	(NULL, '', 'Order Completed', '2021-01-03', 40, 'hat', 's4'),		-- nobody
	('u3', NULL, NULL, '2021-01-03', 40, 'hat', 's5'),					-- no event
	('u3', NULL, 'visit', NULL, 40, 'hat', 's6'),						-- no time
	('u3', 'no address', 'visit', '2021-01-03', 40, 'hat', 's7'),
	('null', NULL, 'visit', '2021-01-03', 40, 'hat', 's8'),				-- blocked
	('u1', NULL, 'Order Completed', '2021-01-01', 20, NULL, 's2');		-- the same message
SELECT * FROM import_events($$ SELECT shop_user AS user_id, mail AS email, what AS event, at, amount AS revenue, item AS product_id, id AS message_id,
	ARRAY['store:S1'] AS participants FROM sale ORDER BY id -- all of it $$, 'shop');
SELECT event, at, via, properties, context, source, message_id, backfill FROM event ORDER BY event_id;
SELECT p.kind, t.timeline FROM profile_timeline t JOIN profile p USING (profile_id) ORDER BY t.profile_id;
SELECT payload ->> 'messageId' AS message, reason, sqlstate FROM rejected ORDER BY 1;
SELECT resolve('email:ada@example.com') = resolve('user_id:u1') AS stitched;
-- once more: accepted, nothing new
SELECT * FROM import_events('SELECT shop_user AS user_id, what AS event, at, id AS message_id FROM sale WHERE id IN (''s1'', ''s2'', ''s3'');', 'shop');
SELECT count(*) FROM event;
-- identifiers as an array or one, properties as a document, columns beside it; without backfill
SELECT * FROM import_events($$ SELECT '{user_id:u9,phone:+49 1}'::identifier[] AS identifiers, 'note' AS event, '2022-01-01'::date AS at, '{"a": 1, "b": 2}'::jsonb AS properties, 3 AS b, NULL::text AS c,
	'crm' AS source, '{"ip": "::1"}'::jsonb AS context $$, 'x', false);
SELECT * FROM import_events($$ SELECT 'erp:17' AS identifier, 'note' AS event, '2022-01-01 10:00+02'::timestamptz AS at, '[1]'::jsonb AS properties $$, 'x');
SELECT event, at, via, properties, context, source, backfill FROM event WHERE event = 'note';
-- what the query calls finds its names as the caller does
CREATE FUNCTION price(of text) RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT max(amount) FROM sale WHERE item = of); END $$;
SELECT * FROM import_events($$ SELECT 'erp:18' AS identifier, 'note' AS event, '2022-01-02'::date AS at, price('hat') AS revenue FROM generate_series(1, 2) $$, 'x');
SELECT set_traits($$ SELECT 'erp:18' AS identifier, price('hat') AS price $$, 'x');
SELECT properties FROM event WHERE at = '2022-01-02';
SHOW search_path;
-- the whole is what track() makes of the rows one by one
CREATE TABLE history AS
	SELECT n, format('email:h%s@x.org', n % 40) AS who, (ARRAY['view', 'cart', 'Order Completed'])[1 + n % 3] AS event,
		'2019-01-01'::timestamptz + (n * 7919 % 1000) * interval '1 day' AS at, n % 50 AS revenue, 'sku' || n % 5 AS product_id
	FROM generate_series(1, 2500) n;
SELECT * FROM import_events('SELECT who AS identifier, event, at, revenue, product_id, ''h'' || n AS message_id FROM history ORDER BY n', 'history');
CREATE TABLE imported AS SELECT l.identifier, timeline_of(l.profile_id) AS t FROM identifier_link l WHERE l.identifier::text LIKE 'email:h%';
DO $$ BEGIN PERFORM cdp.track(ARRAY[replace(who, 'email:h', 'email:k')]::cdp.identifier[], event, jsonb_build_object('revenue', revenue, 'product_id', product_id), at) FROM public.history ORDER BY n; END $$;
SELECT count(*), count(*) FILTER (WHERE i.t <> timeline_of(resolve(replace(i.identifier::text, ':h', ':k')))) AS different FROM imported i;
SELECT count(*) AS triggers FROM journey_trigger;
-- each batch has events of nearly three years
SELECT count(DISTINCT tableoid) AS months, count(*) FILTER (WHERE tableoid::regclass::text !~ to_char(at AT TIME ZONE 'UTC', 'YYYY_MM')) AS misplaced FROM event WHERE source = 'history';
-- what is no query of events
\set VERBOSITY terse
SELECT * FROM import_events(NULL, 'x');
SELECT * FROM import_events('SELECT 1', 'x', NULL);
SELECT * FROM import_events('SELECT 1 AS at, 2 AS event', 'x');
SELECT * FROM import_events('SELECT 1 AS at, 2 AS email', 'x');
SELECT * FROM import_events('SELECT FROM nothing_of_the_kind', 'x');
SELECT * FROM import_events('SELECT 1 AS at, 2 AS event, 3 AS email) q; DROP TABLE sale; SELECT * FROM (SELECT 1', 'x');
SELECT * FROM import_events('DELETE FROM sale RETURNING *', 'x');
SELECT * FROM import_events('WITH gone AS (DELETE FROM sale RETURNING *) SELECT * FROM gone', 'x');
SELECT * FROM import_events('SELECT * FROM sale WHERE false', 'x');
\set VERBOSITY default
SELECT count(*) FROM sale;

-- set_traits: a column is a trait; NULL says nothing; bad rows are put aside
TRUNCATE rejected;
CREATE TABLE crm (mail text, city text, age int, vip boolean, seen date);
INSERT INTO crm VALUES ('Ada@example.com', 'Jena', 36, true, '2022-02-01'), ('new@example.com', NULL, 20, NULL, '2022-02-01'), ('no address', 'x', 1, true, '2022-02-01'),
	('ada@example.com', 'Ulm', NULL, NULL, '2022-01-01'), ('null@example.com', 'x', 1, NULL, '2022-01-01'), ('ada@example.com', 'Bonn', NULL, NULL, NULL);
SELECT set_traits('SELECT ''email:'' || mail AS identifier, city, age, vip, seen AS at FROM crm', 'crm');
SELECT i, trait(resolve(i), 'city') AS city, trait(resolve(i), 'age') AS age, trait(resolve(i), 'vip') AS vip FROM unnest('{email:ada@example.com,email:new@example.com}'::identifier[]) i;
SELECT payload, reason, sqlstate FROM rejected ORDER BY rejected_id;
SELECT name, value, at, source FROM trait_change WHERE profile_id = resolve('email:ada@example.com') ORDER BY name, at;
-- by profile id; one that does not exist; a time for all
SELECT set_traits(format('SELECT v.id AS profile_id, 5 AS score FROM unnest(ARRAY[%s, 999999, NULL]) v (id)', resolve('email:ada@example.com')), 'model', '2023-01-01');
SELECT trait(resolve('email:ada@example.com'), 'score') AS score;
SELECT at FROM trait_change WHERE name = 'score';
SELECT payload, reason, sqlstate FROM rejected ORDER BY rejected_id DESC LIMIT 2;
\set VERBOSITY terse
SELECT set_traits('SELECT 1 AS age', 'x');
SELECT set_traits(NULL, 'x');
SELECT set_traits('SELECT 1 AS profile_id', 'x', NULL);
SELECT set_traits('SELECT 1 AS profile_id', 'x', 'infinity');
\set VERBOSITY default

SET client_min_messages = warning;
DROP FUNCTION price;
DROP TABLE sale, history, imported, crm;
