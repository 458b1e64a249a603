SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- a chain of calls, a message, an alias, a merge by hand
SELECT identify('{anonymous_id:a1,email:ada@example.com}', at => '2026-01-01', source => 'shop');
SELECT track('{email:ada@example.com,phone:+49301}', 'call', at => '2026-01-02', message_id => 'm-1', source => 'phone desk');
SELECT ingest('[{"type": "alias", "previousId": "a1", "userId": "u1", "messageId": "m-2", "timestamp": "2026-01-03"}]', '2026-01-03');
SELECT identify('{store_card:17}', at => '2026-01-04'), identify('{email:lady@example.com,store_card:17}', at => '2026-01-05');
SELECT merge(resolve('phone:+49301'), resolve('store_card:17'), 'same address', at => '2026-01-06');
SELECT * FROM why_linked('user_id:u1', 'store_card:17');
SELECT * FROM why_linked('store_card:17', 'user_id:u1');
SELECT * FROM identity_graph(1);
-- of a merged profile: the same
SELECT count(*) FROM identity_graph(2);
-- itself, strangers, nobody, nothing
SELECT identify('{email:else@example.com}', at => '2026-01-01') \gset
SELECT count(*) FROM why_linked('user_id:u1', 'user_id:u1');
SELECT count(*) FROM why_linked('user_id:u1', 'email:else@example.com');
SELECT count(*) FROM why_linked('user_id:u1', 'user_id:u2');
SELECT count(*) FROM why_linked('user_id:u2', 'user_id:u1');
SELECT count(*) FROM why_linked(NULL, 'user_id:u1');
SELECT (SELECT count(*) FROM identity_graph(NULL)) AS nothing, (SELECT count(*) FROM identity_graph(99)) AS nobody;
-- one without evidence is there, too
SELECT * FROM identity_graph(:identify);
-- evidence that was overruled is shown, and leads nowhere
SELECT _move_edges_out(array_agg(identifier)) FROM identifier_link;
UPDATE extra_edge SET inactive_at = '2026-02-01' WHERE a = 'email:ada@example.com' AND b = 'phone:+49301';
SELECT * FROM identity_graph(1) WHERE NOT active;
SELECT * FROM why_linked('phone:+49301', 'email:ada@example.com');

-- Random calls and merges: a path between any two of a profile and only
-- those, every step of it evidence, no shorter one (by brute force).
TRUNCATE profile, profile_queue, identifier_link, extra_edge, profile_merge, relation, tag_pending, tag_chunk;
CREATE FUNCTION rnd(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN ((hashtextextended(seed, 0) % below + below) % below)::int;
CREATE TABLE call AS
	SELECT n, ARRAY(SELECT format('%s:%s', (ARRAY['erp', 'cookie', 'user_id'])[1 + rnd(format('ns %s %s', n, k), 3)], 100 + rnd(format('value %s %s', n, k), 32))::identifier
		FROM generate_series(0, rnd('size' || n, 3)) k) AS ids
	FROM generate_series(1, 60) n;
DO $$ BEGIN PERFORM cdp.identify(ids, at => '2026-01-01'::timestamptz + n * interval '1 hour') FROM call; END $$;
SET client_min_messages = error;
DO $$
BEGIN
	PERFORM cdp.merge(a.profile_id, b.profile_id, at => '2026-02-01')
	FROM (SELECT l.profile_id, row_number() OVER (ORDER BY identifier) n FROM cdp.identifier_link l) a
		JOIN (SELECT l.profile_id, row_number() OVER (ORDER BY identifier DESC) n FROM cdp.identifier_link l) b USING (n)
	WHERE a.n % 6 = 0;
END
$$;
RESET client_min_messages;
CREATE TABLE way AS
	WITH RECURSIVE edge AS MATERIALIZED (
		SELECT a::text, b::text FROM identity_edge UNION ALL SELECT b::text, a::text FROM identity_edge
		UNION ALL SELECT _node_of_leaf(leaf_a), _node_of_leaf(leaf_b) FROM profile_merge WHERE cause = 'manual'
		UNION ALL SELECT _node_of_leaf(leaf_b), _node_of_leaf(leaf_a) FROM profile_merge WHERE cause = 'manual'
	), walk (a, b, steps) AS (
		SELECT identifier::text, identifier::text, 0 FROM identifier_link
		UNION
		SELECT w.a, e.b, w.steps + 1 FROM walk w JOIN edge e ON e.a = w.b WHERE w.steps < 12
	)
	SELECT a, b, min(steps) AS steps FROM walk GROUP BY a, b;
CREATE TABLE answer AS
	SELECT x.identifier AS a, y.identifier AS b, resolve(x.identifier) = resolve(y.identifier) AS together, w.*
	FROM identifier_link x CROSS JOIN identifier_link y LEFT JOIN LATERAL why_linked(x.identifier, y.identifier) w ON true
	WHERE rnd(x.identifier || ' ' || y.identifier, 8) = 0;
CREATE INDEX ON answer (a, b);
ANALYZE answer;
SELECT (SELECT count(*) FROM profile_merge WHERE cause = 'manual') > 3 AS merges, max(step) > 4 AS long_ways FROM answer;
SELECT count(*) FILTER (WHERE together AND a <> b) > 100 AS pairs,
	count(*) FILTER (WHERE (steps IS NOT NULL) <> (together AND a <> b)) AS wrong_pairs,
	count(*) FILTER (WHERE steps <> shortest) AS not_shortest,
	count(*) FILTER (WHERE NOT whole) AS broken
FROM (SELECT a.a, a.b, a.together, max(a.step) AS steps, min(w.steps) AS shortest,
		bool_and(CASE WHEN a.step IS NULL THEN true ELSE
			(CASE WHEN a.step = 1 THEN a.from_id = a.a::text ELSE EXISTS (SELECT FROM answer p WHERE p.a = a.a AND p.b = a.b AND p.step = a.step - 1 AND p.to_id = a.from_id) END)
			AND (a.step < (SELECT max(step) FROM answer p WHERE p.a = a.a AND p.b = a.b) OR a.to_id = a.b::text) END) AS whole
	  FROM answer a LEFT JOIN way w ON w.a = a.a::text AND w.b = a.b::text AND w.a <> w.b
	  GROUP BY a.a, a.b, a.together) x;
-- the graph of each profile: its identifiers, and all the edges there are
WITH graph AS MATERIALIZED (SELECT g.* FROM profile p, identity_graph(p.profile_id) g WHERE p.profile_id = p.canonical_id)
SELECT (SELECT count(*) FROM identity_edge) + (SELECT count(*) FROM profile_merge WHERE cause = 'manual') - count(*) FILTER (WHERE b IS NOT NULL) AS missing,
	(SELECT count(*) FROM identifier_link WHERE identifier::text NOT IN (SELECT a FROM graph UNION ALL SELECT b FROM graph WHERE b IS NOT NULL)) AS lost
FROM graph;

SET client_min_messages = warning;
DROP TABLE call, way, answer;
DROP FUNCTION rnd;
