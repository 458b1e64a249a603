-- What happened: partitions, track, roles and timeline entries
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';

-- partitions: by UTC month, whatever the session's zone
SET timezone = 'Asia/Shanghai';
SELECT _event_partition('2026-01-31 23:59:59.999999Z'), _event_partition('2026-01-01 00:00Z'), _event_partition('2026-02-01 00:00Z');
SET timezone = 'UTC';
GRANT SELECT, INSERT ON event TO PUBLIC;
CREATE ROLE mcdp_test_reader;
GRANT SELECT ON event TO mcdp_test_reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA cdp GRANT DELETE ON TABLES TO PUBLIC;
SELECT _event_partition('1900-01-01Z'), _event_partition('2199-12-31 23:59:59.999999Z');
ALTER DEFAULT PRIVILEGES IN SCHEMA cdp REVOKE DELETE ON TABLES FROM PUBLIC;
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), obj_description(c.oid),
	c.relowner = p.relowner AS same_owner,
	(SELECT string_agg(pg_get_indexdef(i.indexrelid), '; ') FROM pg_index i WHERE i.indrelid = c.oid) AS indexes,
	EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') AS is_member
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid JOIN pg_class p ON p.oid = inhparent
WHERE inhparent = 'event'::regclass ORDER BY 1;
-- made later: the parent's privileges, not the defaults
SELECT c.relname, a.grantee = 0 AS is_public, a.privilege_type, a.is_grantable
FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname = 'event_2199_12' AND a.grantee <> c.relowner ORDER BY 2, 3;
SELECT has_table_privilege('mcdp_test_reader', 'event_2026_01', 'SELECT') AS older_partition;
REVOKE ALL ON event, event_1900_01, event_2199_12 FROM PUBLIC, mcdp_test_reader;
DROP ROLE mcdp_test_reader;
SELECT * FROM _make_partitions('2025-12-31 23:59Z');
SELECT * FROM _make_partitions('2026-01-01 00:00Z');

\set VERBOSITY terse
SELECT _event_partition('1899-12-31 23:59:59.999999Z');
SELECT _event_partition('2200-01-01Z');
SELECT _event_partition('infinity');
SELECT _event_partition('-infinity');
SELECT _event_partition(NULL);

-- track: the canonical id comes back, the event row holds the rest
SELECT track('{email:ada@example.com}', '  view ', '{"product_id": "shoes"}', '2026-03-01 10:00Z');
SELECT track(ARRAY['email:ADA@example.com', 'phone:+44 20 7946 0000'], 'purchase', '{"value": 80}', '2026-03-02 09:00Z',
	'm1', 'shop', false, '{"ip": "::1"}', ARRAY['store:S1', 'rep:7', 'store:S1'], '2026-03-02 09:00:05Z');
SELECT event_id, at, profile_id, via, participants, event, properties, context, source, message_id, backfill FROM event ORDER BY 1;
SELECT received_at - at AS received_after FROM event WHERE message_id = 'm1';
SELECT profile_id, kind, canonical_id FROM profile ORDER BY 1;
SELECT * FROM event_tail ORDER BY event_id, profile_id;
SELECT * FROM event_message;
-- participants are never merged with the owner nor with each other
SELECT count(*) FROM profile_merge;

-- the owner stands once in its own event's timelines, also as participant
SELECT track('{email:ada@example.com}', 'self', '{}', '2026-03-02 10:00Z', participants => '{email:ada@example.com,email:eve@example.com}');
SELECT t.profile_id, e.event FROM event_tail t JOIN event e USING (event_id) WHERE e.event = 'self' ORDER BY 1;
-- a participant whose value is blocked is left out, and that is recorded; one that was there before the block stays
SELECT track('{email:ada@example.com}', 'scan', at => '2026-03-02 11:00Z', participants => '{store:null,store:S1,store:kiosk-1}', source => 'till') IS NOT NULL AS taken;
INSERT INTO blocked_value (namespace, pattern) VALUES ('store', 'kiosk-.*');
SELECT track('{email:ada@example.com}', 'scan', at => '2026-03-02 11:00Z', participants => '{store:kiosk-1,store:kiosk-2}') IS NOT NULL AS taken;
SELECT event, ARRAY(SELECT identifier FROM identifier_link l WHERE l.profile_id = ANY (e.participants) ORDER BY 1) AS participants FROM event e WHERE event = 'scan' ORDER BY event_id;
SELECT at, identifiers, reason, source FROM identity_refusal ORDER BY refusal_id;
DELETE FROM event WHERE event = 'scan'; DELETE FROM event_tail t WHERE NOT EXISTS (SELECT FROM event e WHERE e.event_id = t.event_id); DELETE FROM blocked_value WHERE NOT seeded;

-- a repeated message id changes nothing: no event, no identifier, no profile
SELECT track('{email:new@example.com,email:ada@example.com}', 'other', '{}', '2027-03-02 09:00Z', 'm1');
SELECT resolve('email:new@example.com'), (SELECT count(*) FROM event), to_regclass('event_2027_03');
-- … and answers with what has become of its profile
SELECT track('{user_id:9}', 'seen', '{}', '2026-03-03Z', 'm9') AS ninth \gset
SELECT merge(1, :ninth) IS NOT NULL AS merged;
SELECT track('{user_id:9}', 'seen', '{}', '2026-03-03Z', 'm9'), track('{user_id:9}', 'seen again', '{}', '2026-03-03Z', 'm10');
-- the event keeps the leaf that owned it
SELECT profile_id = :ninth AS leaf FROM event WHERE event = 'seen again';
-- an empty message id is none
SELECT track('{user_id:9}', 'twice', '{}', '2026-03-04Z', ''), track('{user_id:9}', 'twice', '{}', '2026-03-04Z', '');
SELECT count(*), count(message_id) FROM event WHERE event = 'twice';
-- NULL where there is a default means the default
SELECT track('{user_id:9}', 'nulls', NULL, '2026-03-04Z', NULL, NULL, NULL, NULL, NULL);
SELECT properties, context, participants, backfill FROM event WHERE event = 'nulls';

-- errors: clear, and nothing of the call stays
SELECT count(*) AS events, (SELECT count(*) FROM profile) AS profiles FROM event \gset
SELECT track(NULL, 'x');
SELECT track('{}', 'x');
SELECT track('{user_id:10}', NULL);
SELECT track('{user_id:10}', '  ');
SELECT track('{user_id:10}', repeat('x', 201));
SELECT track('{user_id:10}', 'x', '[1]');
SELECT track('{user_id:10}', 'x', '"a"');
SELECT track('{user_id:10}', 'x', context => '1');
SELECT track('{user_id:10}', 'x', at => NULL);
SELECT track('{user_id:10}', 'x', at => 'infinity');
SELECT track('{user_id:10}', 'x', at => '1800-01-01Z');
SELECT track('{user_id:10}', 'x', message_id => repeat('m', 201));
SELECT track('{user_id:null}', 'x');
SELECT track('{user_id:10}', 'x', participants => ARRAY['store:S1', NULL]::identifier[]);
SELECT track('{nonsense}', 'x');
SELECT count(*) - :events AS more_events, (SELECT count(*) FROM profile) - :profiles AS more_profiles FROM event;
\set VERBOSITY default

-- what an event becomes in a timeline
CREATE FUNCTION pg_temp.entries(event text, properties jsonb, source text = NULL) RETURNS TABLE (event text, label text, value float8)
LANGUAGE sql AS $$ SELECT e.event, e.label, e.value FROM cdp._event_entries('2026-01-01Z', $1, $3, $2) e $$;
-- default keys, in their order; the first number, the first scalar
SELECT left(p::text, 60) AS properties, e.label, e.value
FROM unnest(ARRAY['{}', '{"revenue": 1, "total": 2, "value": 3, "amount": 4}', '{"total": 2, "value": 3, "amount": 4}',
	'{"value": 3, "amount": 4}', '{"amount": 4}', '{"revenue": null, "total": "x", "value": {}, "amount": 4}',
	'{"revenue": "12.50"}', '{"revenue": " -7 "}', '{"revenue": "1e3"}', '{"revenue": "12 EUR"}', '{"revenue": ""}', '{"revenue": true}',
	'{"revenue": 1e-400}', '{"revenue": 1e400}', '{"revenue": -1e400}', '{"revenue": "1234567890123456789012345678901"}',
	'{"product_id": "p", "sku": "s", "campaign": "c", "channel": "h", "name": "n"}', '{"sku": "s", "campaign": "c", "name": "n"}',
	'{"campaign": "c", "channel": "h", "name": "n"}', '{"channel": "h", "name": "n"}', '{"name": "n"}',
	'{"product_id": 12, "sku": "s"}', '{"product_id": false}', '{"product_id": null, "sku": "s"}', '{"product_id": {"a": 1}, "sku": ["s"], "name": "n"}',
	'{"product_id": "", "sku": "s"}']::jsonb[]) p, pg_temp.entries('x', p) e;
-- keys given by the role are the only ones
INSERT INTO event_role (event, as_event, label_key, value_key) VALUES ('Kauf', 'purchase', 'filiale', 'betrag');
SELECT p, e.* FROM unnest(ARRAY['{"filiale": "Ulm", "betrag": 3.5}', '{"name": "n", "value": 1}', '{"filiale": ["a"], "betrag": "viel"}']::jsonb[]) p,
	pg_temp.entries('Kauf', p) e;
-- items
SELECT e.* FROM pg_temp.entries('Order Completed', '{"total": 100, "products": [
	{"product_id": "a", "price": 10, "quantity": 3}, {"sku": "b", "price": "2.5"}, {"name": "c", "total": 7, "price": 1, "quantity": 9},
	{"product_id": "d", "price": 4, "quantity": "many"}, {"product_id": "e", "price": "free", "quantity": 2}, {}, "no object", null, [1],
	{"product_id": "f", "price": 1e150, "quantity": 1e150}, {"product_id": "g", "price": 1e-160, "quantity": 1e-160}]}') e;
SELECT e.* FROM unnest(ARRAY['{"products": {"product_id": "a"}}', '{"products": []}', '{"products": null}', '{"products": "x"}']::jsonb[]) p,
	pg_temp.entries('Order Completed', p) e;
-- the row's label key comes first for items too
INSERT INTO event_role (event, as_event, label_key, items_key) VALUES ('Bon', 'purchase', 'artikel', 'zeilen');
SELECT e.* FROM pg_temp.entries('Bon', '{"zeilen": [{"artikel": "x", "sku": "y", "amount": 1}, {"sku": "y", "amount": 2}]}') e;

-- seeds, users' rows, rows for one source
SELECT e.* FROM unnest(ARRAY['Product Viewed', 'Product Added', 'Order Completed', 'Order Refunded', 'purchase', 'page', 'Coupon Applied', 'unheard of']) n,
	pg_temp.entries(n, '{"product_id": "p", "coupon_id": "c", "name": "n", "value": 1}') e;
INSERT INTO event_role (event, source, as_event) VALUES ('Product Viewed', '*', 'looked'), ('Product Viewed', 'app', 'app_view');
SELECT s, e.event FROM unnest(ARRAY['app', 'web', '*', NULL]) s, pg_temp.entries('Product Viewed', '{}', s) e;
SELECT event, source, as_event, role, seeded FROM event_role_effective WHERE event LIKE 'Product V%' ORDER BY 1, 2;
DELETE FROM event_role WHERE event = 'Product Viewed' AND NOT seeded;
SELECT s, e.event FROM unnest(ARRAY['app', NULL]) s, pg_temp.entries('Product Viewed', '{}', s) e;
-- a seeded row is overridden, never changed
UPDATE event_role SET as_event = 'seen' WHERE event = 'Product Viewed';
SELECT as_event, role, seeded FROM event_role WHERE event = 'Product Viewed' ORDER BY seeded;
SELECT e.event FROM pg_temp.entries('Product Viewed', '{}') e;
DELETE FROM event_role WHERE event = 'Product Added';
INSERT INTO event_role (event, as_event) VALUES ('x', '');
-- the function disappears into the query that calls it
CREATE FUNCTION pg_temp.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT count(*) FROM pg_temp.plan($$SELECT n.event FROM cdp.event_message m, cdp._event_entries(m.at, m.message_id, NULL, '{}') n$$) line
WHERE line LIKE '%event_entries%';
