-- connected_components: every node with the smallest node of its component.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- what an edge is
SELECT * FROM connected_components($$VALUES ('b', 'a'), ('c', 'b'), ('y', 'x'), ('x', 'y'), ('q', 'q')$$);
-- NULL and '' join nothing; the other side stands alone
SELECT * FROM connected_components($$VALUES ('a', NULL), (NULL, 'b'), ('', 'c'), ('d', ''), ('', ''), (NULL, NULL), ('', NULL)$$);
SELECT count(*) FROM connected_components('SELECT 1, 2 WHERE false');
-- bytes decide, whatever the collation: upper case first, then lower, then what is beyond ASCII
SELECT * FROM connected_components($$VALUES ('é', 'z'), ('z', 'Z'), ('a', 'a '), ('10', '9'), ('日本', '本'), ('🙂', 'ÿ')$$) ORDER BY component COLLATE "C", node COLLATE "C";
-- a text that another one begins with is smaller
SELECT DISTINCT component FROM connected_components($$VALUES ('abcdefgh', 'abcdefg'), ('abcdefghijklmnopq', 'abcdefgh')$$);
-- columns that are not text
SELECT * FROM connected_components('SELECT 10, 9::bigint');
SELECT * FROM connected_components($$SELECT 'Email: A@B.c'::identifier, 'x'::varchar$$);
SELECT node || '|' AS node, component || '|' AS component FROM connected_components($$SELECT 'x '::char(4), '["b"]'::jsonb$$);
SELECT * FROM connected_components($$SELECT true, NULL$$);
-- in the select list
SELECT connected_components($$VALUES ('b', 'a'), ('d', 'd')$$);
SELECT (c.c).component, count(*) FROM (SELECT connected_components($$SELECT 'n' || i, 'n' || i % 3 FROM generate_series(0, 999) i$$) c) c GROUP BY 1 ORDER BY 1;
SELECT connected_components($$SELECT 'n' || i, 'n' || i % 3 FROM generate_series(0, 999) i$$) LIMIT 1;
SELECT * FROM connected_components($$WITH e AS (VALUES ('a', 'b')) SELECT * FROM e -- a remark$$) c JOIN (VALUES ('b')) v(node) USING (node);

-- the same as plain SQL, whatever the graph
CREATE TABLE edge (a text, b text);
CREATE VIEW brute AS
	WITH RECURSIVE both_ways AS (
		SELECT a, b FROM edge WHERE a <> '' AND b <> '' UNION SELECT b, a FROM edge WHERE a <> '' AND b <> ''
		UNION SELECT a, a FROM edge WHERE a <> '' UNION SELECT b, b FROM edge WHERE b <> ''
	), reach (root, node) AS (
		SELECT a, b FROM both_ways UNION SELECT r.root, e.b FROM reach r JOIN both_ways e ON e.a = r.node
	)
	SELECT node, min(root COLLATE "C") AS component FROM reach GROUP BY node;
CREATE FUNCTION differences() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM brute b FULL JOIN connected_components('SELECT a, b FROM edge') c ON b.node = c.node AND b.component = c.component
	WHERE b.node IS NULL OR c.node IS NULL $$;
CREATE FUNCTION dice(n int, m int, faces int) RETURNS int LANGUAGE sql IMMUTABLE RETURN (hashint8extended(n, m) & 1073741823) % faces;
CREATE FUNCTION name_of(n int) RETURNS text LANGUAGE sql IMMUTABLE
	RETURN CASE WHEN dice(n, 9, 20) = 0 THEN CASE n % 2 WHEN 0 THEN '' END
				ELSE substr(repeat(md5(n::text), 40), 1, 1 + dice(n, 8, (ARRAY[3, 12, 40, 700])[1 + n % 4])) || CASE WHEN n % 5 = 0 THEN 'ж' ELSE '' END END;
CREATE FUNCTION try(seed int, nodes int, edges int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE edge;
	INSERT INTO edge SELECT name_of(seed * 1000 + dice(i, seed, nodes)), name_of(seed * 1000 + dice(i, seed + 500, nodes)) FROM generate_series(1, edges) i;
	RETURN differences();
END $$;
SELECT sum(try(s, 5 + s * 3, 3 + s * 2)) AS differences, count(*) FROM generate_series(1, 30) s;

-- chains, hubs and many components, more than fit into the first dictionary
CREATE FUNCTION shape(query text) RETURNS TABLE (components bigint, nodes numeric, largest bigint, wrong bigint) LANGUAGE sql AS $$
	SELECT count(*), sum(n), max(n), count(*) FILTER (WHERE smallest <> component)
	FROM (SELECT component, count(*) AS n, min(node COLLATE "C") AS smallest FROM connected_components(query) GROUP BY component) c $$;
SELECT * FROM shape($$SELECT 'c' || i, 'c' || i + 1 FROM generate_series(1, 9999) i$$);
SELECT * FROM shape($$SELECT 'c' || i, 'c' || i + 1 FROM generate_series(1, 9999) i ORDER BY hashint8extended(i, 1)$$);
SELECT * FROM shape($$SELECT 'hub', 'leaf' || i FROM generate_series(1, 20000) i$$);
SELECT * FROM shape($$SELECT 'k' || i, 'k' || i / 7 * 7 FROM generate_series(0, 69999) i$$);
-- long texts, stored out of line
CREATE TABLE long_text AS SELECT string_agg(md5(i::text), '') AS t FROM generate_series(1, 4000) i;
SELECT components, nodes FROM shape($$SELECT t || i, t || i + 1 FROM long_text, generate_series(1, 3) i UNION ALL SELECT repeat('x', 1000000), t FROM long_text UNION ALL SELECT t, t FROM long_text$$);
SELECT length(node), length(component) FROM connected_components('SELECT t, ''a'' FROM long_text');

-- memory is bounded, and the error says what to do
SELECT count(*) FROM connected_components($$SELECT 'n' || i, 'm' || i FROM generate_series(1, 1000000) i$$, memory => '1MB');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM connected_components($$SELECT 'n' || i, 'm' || i FROM generate_series(1, 10000) i$$, memory => '2 MB');
SELECT count(*) FROM connected_components($$SELECT repeat('x', 3000000), 'a'$$, memory => '1MB');
SELECT * FROM connected_components('SELECT 1, 2', memory => 'much');
SELECT * FROM connected_components('SELECT 1, 2', memory => '1kB');
SELECT * FROM connected_components('SELECT 1, 2', memory => '-1');

-- sizes: the same as counting
CREATE FUNCTION sizes_differ(seed int, nodes int, edges int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE edge;
	INSERT INTO edge SELECT name_of(seed * 1000 + dice(i, seed, nodes)), name_of(seed * 1000 + dice(i, seed + 500, nodes)) FROM generate_series(1, edges) i;
	RETURN (SELECT count(*) FROM (SELECT component, count(*) AS members FROM brute GROUP BY 1) b FULL JOIN component_sizes('SELECT a, b FROM edge') c USING (component, members)
			WHERE b IS NULL OR c IS NULL);
END $$;
SELECT sum(sizes_differ(s, 5 + s * 3, 3 + s * 2)) AS differences FROM generate_series(31, 50) s;
SELECT component_sizes($$VALUES ('b', 'a'), ('d', 'd'), (NULL, '')$$);
SELECT * FROM component_sizes(NULL);

-- in FROM a scan of our own, which comes sorted if the query groups, joins or sorts by component; otherwise PostgreSQL's
TRUNCATE edge;
INSERT INTO edge SELECT 'prefix:' || hashint4(i % 50) || 'x', 'prefix:' || hashint4(i) || CASE WHEN i % 3 = 0 THEN 'x' ELSE '' END FROM generate_series(1, 2000) i;
SET enable_hashagg = off;
EXPLAIN (COSTS OFF) SELECT component, count(*) FROM connected_components('SELECT a, b FROM edge') GROUP BY component;
EXPLAIN (COSTS OFF) SELECT component, array_agg(node) FROM connected_components('SELECT a, b FROM edge') WHERE node LIKE '%x' GROUP BY component;
EXPLAIN (COSTS OFF) SELECT * FROM component_sizes('SELECT a, b FROM edge') WHERE members > 2 ORDER BY component;
EXPLAIN (COSTS OFF, VERBOSE) SELECT c.component, upper(c.node) FROM connected_components('SELECT a, b FROM edge') c WHERE c.node > 'p' OFFSET 1;
EXPLAIN (COSTS OFF) SELECT * FROM connected_components('SELECT a, b FROM edge') WITH ORDINALITY;
EXPLAIN (COSTS OFF) SELECT n FROM connected_components('SELECT a, b FROM edge') n;
EXPLAIN (COSTS OFF) SELECT * FROM edge e, LATERAL connected_components(format('VALUES (%L, %L)', e.a, e.b));
RESET enable_hashagg;
-- each way yields the same
CREATE TABLE plain AS SELECT node, component FROM ROWS FROM (connected_components('SELECT a, b FROM edge')) WITH ORDINALITY;
CREATE FUNCTION compare(query text) RETURNS TABLE (missing bigint, extra bigint, ordered boolean) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE TEMP TABLE got AS SELECT row_number() OVER () AS i, * FROM (' || query || ') q (node, component)';
	RETURN QUERY SELECT (SELECT count(*) FROM (SELECT * FROM plain EXCEPT ALL SELECT node, component FROM got) x),
		(SELECT count(*) FROM (SELECT node, component FROM got EXCEPT ALL SELECT * FROM plain) x),
		NOT EXISTS (SELECT FROM (SELECT component, lag(component) OVER (ORDER BY i) AS before FROM got) x WHERE before COLLATE "C" > component);
	DROP TABLE got;
END $$;
SELECT count(*), count(DISTINCT component), (SELECT count(*) FROM brute b JOIN plain p ON (b.node, b.component) = (p.node, p.component)) AS right FROM plain;
SELECT missing, extra FROM compare($$SELECT node, component FROM connected_components('SELECT a, b FROM edge')$$);
SELECT * FROM compare($$SELECT node, component FROM connected_components('SELECT a, b FROM edge') ORDER BY component COLLATE "C"$$);
SELECT * FROM compare($$SELECT node, component FROM connected_components('SELECT a, b FROM edge') ORDER BY component$$);
SELECT * FROM compare($$SELECT unnest(n), component FROM (SELECT component, array_agg(node) FROM connected_components('SELECT a, b FROM edge') GROUP BY component) g (component, n) ORDER BY component COLLATE "C"$$);
SELECT sum(n), count(*) = (SELECT count(DISTINCT component) FROM plain) AS right FROM (SELECT component, count(*) AS n FROM connected_components('SELECT a, b FROM edge') GROUP BY component) g JOIN plain p ON p.node = g.component;
-- sorting texts with much in common, one the beginning of another
SELECT count(*), bool_and(before < component COLLATE "C") AS ordered
FROM (SELECT component, lag(component) OVER () AS before FROM (SELECT * FROM component_sizes(
	$$SELECT repeat('x', (hashint4(i) & 1023)) || CASE WHEN i % 3 = 0 THEN 'y' ELSE repeat('é', i % 9) END, NULL FROM generate_series(1, 3000) i$$) ORDER BY component) c) x WHERE before IS NOT NULL;
SELECT count(*), min(component), count(component) FROM connected_components('SELECT a, b FROM edge') WHERE component LIKE '%x';
SELECT count(*) = (SELECT count(*) FROM plain WHERE component LIKE '%x') AS right FROM connected_components('SELECT a, b FROM edge') WHERE component LIKE '%x';
SELECT count(*) FROM connected_components('SELECT a, b FROM edge') WHERE node = component;
-- once more from the beginning: inner side of a join, another argument, a cursor that goes back
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
SELECT v.n, count(*), count(DISTINCT c.component) FROM generate_series(1, 3) v (n) LEFT JOIN connected_components('SELECT a, b FROM edge') c ON length(c.node) % 3 >= v.n - 1 GROUP BY 1 ORDER BY 1;
SELECT v.n, s.* FROM generate_series(1, 3) v (n) LEFT JOIN (SELECT component, count(*) FROM connected_components($$VALUES ('b', 'a'), ('c', 'b'), ('z', 'y')$$) GROUP BY 1) s ON s.count >= v.n ORDER BY 1, 2;
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material;
SELECT q, (SELECT string_agg(component || members, ' ' ORDER BY component) FROM component_sizes(q)) FROM (VALUES ($$VALUES ('b', 'a')$$), ($$VALUES ('d', 'c'), ('e', NULL)$$)) v (q);
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT * FROM connected_components($$VALUES ('b', 'a'), ('c', 'b')$$);
FETCH 2 FROM c; FETCH BACKWARD 1 FROM c; FETCH ALL FROM c;
COMMIT;
PREPARE p (text, text) AS SELECT component, count(*) FROM connected_components($1, $2) GROUP BY component;
EXECUTE p ($$VALUES ('b', 'a')$$, NULL);
EXECUTE p ($$VALUES ('b', 'a')$$, '1kB');
SET plan_cache_mode = force_generic_plan;
EXECUTE p ($$VALUES ('d', 'c')$$, '1MB');
RESET plan_cache_mode;
DEALLOCATE p;
-- rows that are changed meanwhile
UPDATE edge SET b = c.component FROM connected_components('SELECT a, b FROM edge') c WHERE c.node = edge.b AND edge.b <> c.component;
SELECT count(*) FILTER (WHERE a <> b), count(DISTINCT b) = (SELECT count(DISTINCT component) FROM plain) AS right FROM edge;
DROP TABLE plain; DROP FUNCTION compare, sizes_differ;

-- what is refused
SELECT * FROM connected_components(NULL);
SELECT * FROM connected_components('');
SELECT * FROM connected_components('SELECT 1');
SELECT * FROM connected_components('SELECT 1, 2, 3');
SELECT * FROM connected_components('SELECT 1, 2; SELECT 3, 4');
SELECT * FROM connected_components('INSERT INTO edge VALUES (''a'', ''b'') RETURNING a, b');
SELECT * FROM connected_components('WITH i AS (INSERT INTO edge VALUES (''a'', ''b'') RETURNING a, b) SELECT * FROM i');
SELECT * FROM connected_components('SELECT a, b FROM edge FOR UPDATE');
SELECT * FROM connected_components('CREATE TABLE x (a text, b text)');
SELECT * FROM connected_components('COPY edge TO STDOUT');
SELECT * FROM connected_components('SELECT a FROM');
SELECT * FROM connected_components('SELECT a, b FROM edge WHERE a = $1');
SELECT * FROM connected_components('SELECT 1, 1 / (i - 3) FROM generate_series(1, 5) i');
-- the caller's rights, and anybody may call
CREATE ROLE regress_components;
SET ROLE regress_components;
SELECT * FROM cdp.connected_components($$VALUES ('b', 'a')$$);
SELECT * FROM cdp.connected_components('SELECT a, b FROM edge');
SELECT * FROM cdp.component_sizes($$VALUES ('b', 'a')$$);
RESET ROLE;
REVOKE EXECUTE ON FUNCTION connected_components FROM PUBLIC;
SET ROLE regress_components;
SELECT * FROM cdp.connected_components($$VALUES ('b', 'a')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION connected_components TO PUBLIC;
DROP ROLE regress_components;
-- the snapshot is that of the caller's statement
BEGIN; TRUNCATE edge; INSERT INTO edge VALUES ('own', 'work'); SELECT * FROM connected_components('SELECT a, b FROM edge'); ROLLBACK;
DROP FUNCTION try, differences, name_of, dice, shape; DROP VIEW brute; DROP TABLE edge, long_text;
