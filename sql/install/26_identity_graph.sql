/* 26_identity_graph: why identifiers belong together
 *
 * A node is an identifier.  An edge is evidence: two identifiers that one
 * call named together (identity_edge), or a merge by hand, which joins the
 * first identifiers of two leaves (a leaf without any is the node "profile
 * 7").  Edges are found from the identifiers of the profile through primary
 * keys; what was overruled since may end outside and has an index of its own.
 */

CREATE FUNCTION cdp._node_of_leaf(leaf bigint) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
	SELECT coalesce((SELECT l.identifier::text
					 FROM cdp.identifier_link l
						LEFT JOIN cdp.namespace_rule_effective r ON r.namespace = cdp.namespace(l.identifier)
					 WHERE l.profile_id = leaf
					 ORDER BY coalesce(r.priority, 50) DESC, l.at, l.identifier LIMIT 1),
					format('profile %s', leaf));
$$;
COMMENT ON FUNCTION cdp._node_of_leaf(bigint) IS 'the first identifier of a leaf profile: by priority, then the oldest';

-- rank 1 is evidence; 2 says where an identifier was put, for what has lost
-- its evidence (an edge of a call that was overruled …).
CREATE FUNCTION cdp._identity_edges(root bigint)
	RETURNS TABLE (a text, b text, evidence text, at timestamptz, active boolean, rank int)
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 100 SET search_path = pg_catalog, cdp, pg_temp AS $$
	WITH leaf AS MATERIALIZED (
		SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = root
	), link AS MATERIALIZED (
		SELECT l.identifier, l.profile_id, l.at, l.source FROM leaf JOIN cdp.identifier_link l ON l.profile_id = leaf.profile_id
	), edge AS (
		SELECT e.a, e.b, e.at, e.source, e.message_id, e.cause, e.inactive_at FROM cdp._edges_of(ARRAY(SELECT l.identifier FROM link l)) e
		UNION
		SELECT e.a, e.b, e.at, e.source, e.message_id, e.cause, e.inactive_at FROM link l JOIN cdp.extra_edge e ON e.b OPERATOR(cdp.=) l.identifier
		WHERE e.inactive_at IS NOT NULL
	), merge AS MATERIALIZED (
		SELECT m.leaf_a, m.leaf_b, m.merge_id, m.cause, m.reason, m.source, m.at, m.undone_at
		FROM leaf JOIN cdp.profile_merge m ON m.leaf_a = leaf.profile_id
		UNION
		SELECT m.leaf_a, m.leaf_b, m.merge_id, m.cause, m.reason, m.source, m.at, m.undone_at
		FROM leaf JOIN cdp.profile_merge m ON m.leaf_b = leaf.profile_id
	), node AS MATERIALIZED (
		SELECT n.leaf, cdp._node_of_leaf(n.leaf) AS id
		FROM (SELECT profile_id FROM leaf UNION SELECT m.leaf_a FROM merge m UNION SELECT m.leaf_b FROM merge m) n (leaf)
	)
	SELECT e.a::text, e.b::text,
		   CASE e.cause WHEN 'alias' THEN 'alias' WHEN 'split' THEN 'left together by split' ELSE 'named together' END
			|| coalesce(', source "' || e.source || '"', '') || coalesce(', message "' || e.message_id || '"', ''),
		   e.at, e.inactive_at IS NULL, 1
	FROM edge e
	UNION ALL
	SELECT a.id, b.id,
		   format('merge %s%s%s', m.merge_id, CASE m.cause WHEN 'manual' THEN ' by hand' ELSE '' END, ': ' || m.reason)
			|| coalesce(', source "' || m.source || '"', ''),
		   m.at, m.undone_at IS NULL, CASE m.cause WHEN 'manual' THEN 1 ELSE 2 END
	FROM merge m JOIN node a ON a.leaf = m.leaf_a JOIN node b ON b.leaf = m.leaf_b
	UNION ALL
	SELECT n.id, l.identifier::text, format('linked to profile %s', l.profile_id) || coalesce(', source "' || l.source || '"', ''), l.at, true, 2
	FROM link l JOIN node n ON n.leaf = l.profile_id
	WHERE l.identifier::text <> n.id;
$$;
COMMENT ON FUNCTION cdp._identity_edges(bigint) IS 'everything that holds a canonical profile together, or did';

CREATE FUNCTION cdp.identity_graph(profile bigint) RETURNS TABLE (a text, b text, evidence text, at timestamptz, active boolean)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	WITH edge AS MATERIALIZED (
		SELECT e.a, e.b, e.evidence, e.at, e.active
		FROM cdp.profile me CROSS JOIN LATERAL cdp._identity_edges(me.canonical_id) e
		WHERE me.profile_id = identity_graph.profile AND e.rank = 1
	)
	SELECT g.a, g.b, g.evidence, g.at, g.active
	FROM (SELECT e.a, e.b, e.evidence, e.at, e.active FROM edge e
		  UNION ALL
		  SELECT l.identifier::text, NULL, format('linked to profile %s', l.profile_id) || coalesce(', source "' || l.source || '"', ''), l.at, true
		  FROM cdp.profile me
			JOIN cdp.profile leaf ON leaf.canonical_id = me.canonical_id
			JOIN cdp.identifier_link l ON l.profile_id = leaf.profile_id
		  WHERE me.profile_id = identity_graph.profile
			AND l.identifier::text NOT IN (SELECT e.a FROM edge e WHERE e.active UNION ALL SELECT e.b FROM edge e WHERE e.active)) g
	ORDER BY g.a COLLATE "C", g.b COLLATE "C", g.at;
END;
COMMENT ON FUNCTION cdp.identity_graph(bigint) IS 'the identifiers of a profile and the evidence between them; b is NULL for one without any';

CREATE FUNCTION cdp.why_linked(a cdp.identifier, b cdp.identifier)
	RETURNS TABLE (step int, from_id text, to_id text, evidence text, at timestamptz)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	root		bigint := resolve(why_linked.a);
	texts		text[];			-- the nodes, by number
	start		int;
	goal		int;
	starts		int[];			-- where the edges of a node begin
	targets		int[];			-- and lead to, oldest evidence first
	reasons		text[];
	times		timestamptz[];
	came_by		int[];			-- the edge by which the search came to a node; 0 not yet
	origins		int[];			-- where an edge begins
	queue		int[];
	head		int := 1;
	node		int;
	path		int[] := '{}';
BEGIN
	IF root IS NULL OR resolve(why_linked.b) IS DISTINCT FROM root OR why_linked.a = why_linked.b THEN
		RETURN;
	END IF;
	FOR least_rank IN 1 .. 2 LOOP
		WITH one_way AS MATERIALIZED (
			SELECT e.a AS source, e.b AS target, e.evidence, e.at FROM _identity_edges(root) e WHERE e.active AND e.rank <= least_rank
		), edge AS (
			SELECT o.source, o.target, o.evidence, o.at FROM one_way o
			UNION ALL
			SELECT o.target, o.source, o.evidence, o.at FROM one_way o
		), node AS MATERIALIZED (
			SELECT n.id, row_number() OVER (ORDER BY n.id COLLATE "C")::int AS nr
			FROM (SELECT e.source AS id FROM edge e UNION SELECT why_linked.a::text UNION SELECT why_linked.b::text) n
		), numbered AS MATERIALIZED (
			SELECT s.nr AS source, t.nr AS target, e.evidence, e.at, row_number() OVER (ORDER BY s.nr, e.at, t.nr, e.evidence)::int AS nr
			FROM edge e JOIN node s ON s.id = e.source JOIN node t ON t.id = e.target
		)
		SELECT (SELECT array_agg(n.id ORDER BY n.nr) FROM node n),
			   (SELECT n.nr FROM node n WHERE n.id = why_linked.a::text), (SELECT n.nr FROM node n WHERE n.id = why_linked.b::text),
			   (SELECT array_agg(coalesce(f.first, 0) ORDER BY n.nr) FROM node n
				LEFT JOIN (SELECT e.source, min(e.nr) AS first FROM numbered e GROUP BY e.source) f ON f.source = n.nr),
			   (SELECT array_agg(e.target ORDER BY e.nr) FROM numbered e),
			   (SELECT array_agg(e.evidence ORDER BY e.nr) FROM numbered e),
			   (SELECT array_agg(e.at ORDER BY e.nr) FROM numbered e),
			   (SELECT array_agg(e.source ORDER BY e.nr) FROM numbered e)
		INTO texts, start, goal, starts, targets, reasons, times, origins;

		came_by := array_fill(0, ARRAY[cardinality(texts)]);
		came_by[start] := -1;
		queue := ARRAY[start];
		head := 1;
		WHILE head <= cardinality(queue) AND came_by[goal] = 0 LOOP
			node := starts[queue[head]];
			WHILE node > 0 AND node <= cardinality(targets) AND origins[node] = queue[head] LOOP
				IF came_by[targets[node]] = 0 THEN
					came_by[targets[node]] := node;
					queue := queue || targets[node];
				END IF;
				node := node + 1;
			END LOOP;
			head := head + 1;
		END LOOP;
		EXIT WHEN came_by[goal] <> 0;
	END LOOP;

	node := goal;
	WHILE came_by[node] > 0 LOOP
		path := path || came_by[node];
		node := origins[came_by[node]];
	END LOOP;
	FOR i IN REVERSE cardinality(path) .. 1 LOOP
		step := cardinality(path) - i + 1;
		from_id := texts[origins[path[i]]];
		to_id := texts[targets[path[i]]];
		evidence := reasons[path[i]];
		why_linked.at := times[path[i]];
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.why_linked(cdp.identifier, cdp.identifier)
	IS 'the shortest chain of evidence from one identifier to another of the same profile; no rows if they are of different ones';
