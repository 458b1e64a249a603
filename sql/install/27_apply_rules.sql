/* 27_apply_rules: what the rules of today make of the evidence there is
 *
 * A rule that is made or tightened later changes nothing by itself.
 * simulate_rules shows what it would part, apply_rules parts it.  Both replay
 * the evidence of each profile that breaks a rule:
 *
 * 1. Every identifier is alone.  Blocked and quarantined ones stay so.
 * 2. Evidence joins two groups, unless that would break a rule of
 *    namespace_rule or never_merge (_rule_against): merges by hand first, as
 *    decided, and those of leaves that have lost all identifiers to a split; then pairs of identifiers that one call named together, those
 *    whose lower priority is higher first, then by the higher priority, time
 *    and bytes.  Identifiers that one message named together with one that
 *    is out are such a pair, too.
 * 3. An identifier that has no evidence at all stays with its leaf.
 *
 * The group of the canonical profile's first identifier keeps the profile.
 * What else it owns (tags, traits …) goes by leaf where a merge can be undone,
 * and stays where identifiers of one leaf are parted (see split).
 */

-- By identifiers of namespaces with quarantine_after; grows with identity_edge.
CREATE FUNCTION cdp._quarantine_due() RETURNS TABLE (identifier cdp.identifier, degree int, reason text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
	WITH rule AS MATERIALIZED (
		SELECT r.namespace, r.quarantine_after FROM cdp.namespace_rule_effective r WHERE r.quarantine_after IS NOT NULL
	)
	SELECT d.identifier, count(*)::int, format('named together with more than %s others', r.quarantine_after)
	FROM (SELECT e.a AS identifier FROM cdp.identity_edge e WHERE e.inactive_at IS NULL AND cdp.namespace(e.a) IN (SELECT rule.namespace FROM rule)
		  UNION ALL
		  SELECT e.b FROM cdp.identity_edge e WHERE e.inactive_at IS NULL AND cdp.namespace(e.b) IN (SELECT rule.namespace FROM rule)) d
		JOIN rule r ON r.namespace = cdp.namespace(d.identifier)
	WHERE NOT EXISTS (SELECT FROM cdp.quarantined_identifier q WHERE q.identifier OPERATOR(cdp.=) d.identifier)
	GROUP BY d.identifier, r.quarantine_after
	HAVING count(*) > r.quarantine_after;
$$;
COMMENT ON FUNCTION cdp._quarantine_due() IS 'identifiers that quarantine_after would put into quarantine today';

CREATE FUNCTION cdp._linked_outs() RETURNS TABLE (identifier cdp.identifier, reason text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH blocked AS MATERIALIZED (
		SELECT b.namespace, b.exact, CASE WHEN b.exact THEN lower(b.pattern) ELSE '^(?:' || b.pattern || ')$' END AS pattern
		FROM cdp.blocked_value_effective b
	)
	SELECT l.identifier, 'blocked value'
	FROM cdp.identifier_link l
	WHERE EXISTS (SELECT FROM blocked b
				  WHERE b.namespace IN ('*', cdp.namespace(l.identifier))
					AND CASE WHEN b.exact THEN lower(cdp.value(l.identifier)) = b.pattern ELSE cdp.value(l.identifier) ~* b.pattern END)
	UNION ALL
	SELECT q.identifier, 'in quarantine: ' || q.reason FROM cdp.quarantined_identifier q WHERE q.lifted_at IS NULL
	UNION ALL
	SELECT d.identifier, 'in quarantine: ' || d.reason FROM cdp._quarantine_due() d;
END;
COMMENT ON FUNCTION cdp._linked_outs() IS 'identifiers that link nobody by the rules of today';

CREATE FUNCTION cdp._rule_breakers(outs cdp.identifier[]) RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH rule AS MATERIALIZED (
		SELECT r.namespace, r.never_merge_if_different, r.max_per_profile,
			   extract(epoch FROM r.within) - extract(year FROM r.within) * 21600 AS seconds
		FROM cdp.namespace_rule_effective r
		WHERE r.max_per_profile IS NOT NULL OR r.never_merge_if_different
	), limited AS (
		SELECT p.canonical_id, r.never_merge_if_different, r.seconds, l.at,
			   count(*) OVER (PARTITION BY p.canonical_id, r.namespace) AS n,
			   lag(l.at, r.max_per_profile) OVER (PARTITION BY p.canonical_id, r.namespace ORDER BY l.at) AS first_at
		FROM rule r
			JOIN cdp.identifier_link l ON cdp.namespace(l.identifier) = r.namespace
			JOIN cdp.profile p ON p.profile_id = l.profile_id
	)
	SELECT m.canonical_id FROM limited m
	WHERE m.never_merge_if_different AND m.n > 1
	   OR m.first_at IS NOT NULL AND (m.seconds IS NULL OR extract(epoch FROM m.at - m.first_at) < m.seconds)
	UNION
	SELECT a.canonical_id
	FROM cdp.never_merge n JOIN cdp.profile a ON a.profile_id = n.profile_a JOIN cdp.profile b ON b.profile_id = n.profile_b
	WHERE a.canonical_id = b.canonical_id
	UNION
	SELECT p.canonical_id
	FROM unnest(outs) o JOIN cdp.identifier_link l ON l.identifier OPERATOR(cdp.=) o JOIN cdp.profile p ON p.profile_id = l.profile_id
	WHERE EXISTS (SELECT FROM cdp.profile leaf JOIN cdp.identifier_link k ON k.profile_id = leaf.profile_id
				  WHERE leaf.canonical_id = p.canonical_id AND k.identifier OPERATOR(cdp.<>) o)
	ORDER BY 1;
END;
COMMENT ON FUNCTION cdp._rule_breakers(cdp.identifier[]) IS 'canonical profiles that the rules of today, and identifiers that must be alone, do not allow';

-- A row for each identifier, and one without for each leaf: the group in which
-- the leaf itself ends up.  Groups are numbered by their first identifier.
CREATE FUNCTION cdp._replay_rules(root bigint, outs cdp.identifier[])
	RETURNS TABLE (leaf bigint, identifier cdp.identifier, grp int, reason text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	-- nodes: identifiers by priority, age and bytes, then leaves without any
	ids			identifier[];
	leaves		bigint[];
	ats			timestamptz[];
	limited		boolean[];		-- a rule counts them
	homes		int[];			-- the node with which the leaf goes
	-- evidence, in the order in which it counts; pairs that must not meet
	ends_a		int[];
	ends_b		int[];
	never_a		int[];
	never_b		int[];
	never_why	text[];
	-- groups: the lowest node leads; its limited nodes hang on a chain
	leader		int[];
	first		int[];
	next		int[];
	last		int[];
	why			text[];
	a			int;
	b			int;
	i			int;
	other		int;
	against		text;
	a_ids		identifier[];
	a_ats		timestamptz[];
	b_ids		identifier[];
	b_ats		timestamptz[];
BEGIN
	WITH rule AS MATERIALIZED (
		SELECT r.namespace, r.priority, r.max_per_profile IS NOT NULL OR r.never_merge_if_different AS limits FROM namespace_rule_effective r
	), node AS MATERIALIZED (
		SELECT p.profile_id AS leaf, l.identifier, l.at, coalesce(r.limits, false) AS limited,
			   coalesce(r.priority, 50) AS priority, l.identifier = ANY (outs) AS is_out,
			   row_number() OVER (ORDER BY l.identifier IS NULL, coalesce(r.priority, 50) DESC, l.at, l.identifier, p.profile_id)::int AS nr
		FROM profile p
			LEFT JOIN identifier_link l ON l.profile_id = p.profile_id
			LEFT JOIN rule r ON r.namespace = namespace(l.identifier)
		WHERE p.canonical_id = root
	), home AS MATERIALIZED (
		SELECT n.leaf, coalesce(min(n.nr) FILTER (WHERE n.is_out IS NOT TRUE), min(n.nr)) AS nr, bool_and(n.identifier IS NULL) AS bare FROM node n GROUP BY n.leaf
	), edge AS MATERIALIZED (
		SELECT x.nr AS x, y.nr AS y, x.is_out OR y.is_out AS is_out, x.is_out AS x_out,
			   least(x.priority, y.priority) AS low, greatest(x.priority, y.priority) AS high, e.at, e.a, e.b, e.message_id
		FROM _edges_of(ARRAY(SELECT n.identifier FROM node n WHERE n.identifier IS NOT NULL)) e
			JOIN node x ON x.identifier = e.a JOIN node y ON y.identifier = e.b
		WHERE e.inactive_at IS NULL
	), evidence AS (
		SELECT 1 AS class, m.merge_id, NULL::int AS low, NULL::int AS high, m.at, NULL::identifier AS a, NULL::identifier AS b, x.nr AS x, y.nr AS y
		FROM home x JOIN profile_merge m ON m.leaf_a = x.leaf AND m.undone_at IS NULL JOIN home y ON y.leaf = m.leaf_b
		WHERE m.cause = 'manual' OR x.bare OR y.bare
		UNION ALL
		SELECT 2, NULL, e.low, e.high, e.at, e.a, e.b, e.x, e.y FROM edge e WHERE NOT e.is_out
		UNION ALL
		SELECT 2, NULL, least(x.priority, y.priority), greatest(x.priority, y.priority), s.at, least(x.identifier, y.identifier), greatest(x.identifier, y.identifier), s.x, s.y
		FROM (SELECT e.at, lag(CASE WHEN e.x_out THEN e.y ELSE e.x END) OVER w AS x, CASE WHEN e.x_out THEN e.y ELSE e.x END AS y
			  FROM edge e WHERE e.is_out AND e.message_id IS NOT NULL
			  WINDOW w AS (PARTITION BY e.message_id, e.at, CASE WHEN e.x_out THEN e.x ELSE e.y END ORDER BY CASE WHEN e.x_out THEN e.y ELSE e.x END)) s
			JOIN node x ON x.nr = s.x JOIN node y ON y.nr = s.y
		WHERE NOT x.is_out AND NOT y.is_out
		UNION ALL
		SELECT 3, NULL, NULL, NULL, n.at, NULL, NULL, h.nr, n.nr
		FROM node n JOIN home h ON h.leaf = n.leaf AND h.nr <> n.nr
		WHERE NOT n.is_out AND n.nr NOT IN (SELECT e.x FROM edge e UNION ALL SELECT e.y FROM edge e)
	)
	SELECT o.ids, o.leaves, o.ats, o.limited, o.homes, v.a, v.b, w.a, w.b, w.why
	INTO ids, leaves, ats, limited, homes, ends_a, ends_b, never_a, never_b, never_why
	FROM (SELECT array_agg(n.identifier ORDER BY n.nr) AS ids, array_agg(n.leaf ORDER BY n.nr) AS leaves, array_agg(n.at ORDER BY n.nr) AS ats,
				 array_agg(n.limited ORDER BY n.nr) AS limited, array_agg(h.nr ORDER BY n.nr) AS homes
		  FROM node n JOIN home h ON h.leaf = n.leaf) o,
		 (SELECT coalesce(array_agg(e.x ORDER BY e.class, e.merge_id, e.low DESC, e.high DESC, e.at, e.a, e.b), '{}') AS a,
				 coalesce(array_agg(e.y ORDER BY e.class, e.merge_id, e.low DESC, e.high DESC, e.at, e.a, e.b), '{}') AS b
		  FROM evidence e) v,
		 (SELECT coalesce(array_agg(x.nr ORDER BY n.profile_a, n.profile_b), '{}') AS a, coalesce(array_agg(y.nr ORDER BY n.profile_a, n.profile_b), '{}') AS b,
				 array_agg(format('profiles %s and %s are never to be merged%s', n.profile_a, n.profile_b, ': ' || n.reason) ORDER BY n.profile_a, n.profile_b) AS why
		  FROM home x JOIN never_merge n ON n.profile_a = x.leaf JOIN home y ON y.leaf = n.profile_b) w;

	leader := ARRAY(SELECT generate_subscripts(ids, 1));
	first := ARRAY(SELECT CASE WHEN u.limited THEN u.nr::int END FROM unnest(limited) WITH ORDINALITY u (limited, nr) ORDER BY u.nr);
	last := first;
	next := array_fill(NULL::int, ARRAY[cardinality(ids)]);
	why := array_fill(NULL::text, ARRAY[cardinality(ids)]);

	FOR n IN 1 .. cardinality(ends_a) LOOP
		a := ends_a[n];
		WHILE leader[a] <> a LOOP
			leader[a] := leader[leader[a]];
			a := leader[a];
		END LOOP;
		b := ends_b[n];
		WHILE leader[b] <> b LOOP
			leader[b] := leader[leader[b]];
			b := leader[b];
		END LOOP;
		CONTINUE WHEN a = b;
		IF b < a THEN
			i := a; a := b; b := i;
		END IF;

		against := NULL;
		FOR k IN 1 .. cardinality(never_a) LOOP
			i := never_a[k];
			WHILE leader[i] <> i LOOP
				i := leader[i];
			END LOOP;
			CONTINUE WHEN i <> a AND i <> b;
			other := never_b[k];
			WHILE leader[other] <> other LOOP
				other := leader[other];
			END LOOP;
			IF other <> i AND (other = a OR other = b) THEN
				against := never_why[k];
				EXIT;
			END IF;
		END LOOP;
		IF against IS NULL AND first[a] IS NOT NULL AND first[b] IS NOT NULL THEN
			a_ids := '{}'; a_ats := '{}'; b_ids := '{}'; b_ats := '{}';
			i := first[a];
			WHILE i IS NOT NULL LOOP
				a_ids := a_ids || ids[i]; a_ats := a_ats || ats[i];
				i := next[i];
			END LOOP;
			i := first[b];
			WHILE i IS NOT NULL LOOP
				b_ids := b_ids || ids[i]; b_ats := b_ats || ats[i];
				i := next[i];
			END LOOP;
			against := _rule_against(a_ids, a_ats, b_ids, b_ats);
		END IF;
		IF against IS NOT NULL THEN
			why[a] := coalesce(why[a], against);
			why[b] := coalesce(why[b], against);
			CONTINUE;
		END IF;

		leader[b] := a;
		why[a] := coalesce(why[a], why[b]);
		IF first[a] IS NULL THEN
			first[a] := first[b];
			last[a] := last[b];
		ELSIF first[b] IS NOT NULL THEN
			next[last[a]] := first[b];
			last[a] := last[b];
		END IF;
	END LOOP;

	FOR n IN 1 .. cardinality(ids) LOOP
		a := n;
		WHILE leader[a] <> a LOOP
			a := leader[a];
		END LOOP;
		leaf := leaves[n];
		grp := a;
		reason := coalesce(why[a], 'nothing else links it');
		IF ids[n] IS NOT NULL THEN
			identifier := ids[n];
			RETURN NEXT;
		END IF;
		IF homes[n] = n THEN
			identifier := NULL;
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._replay_rules(bigint, cdp.identifier[]) IS 'the groups into which the rules part a canonical profile, when these identifiers must be alone';

-- The first group is the one that keeps the profile; the others are named.
CREATE FUNCTION cdp._rule_change(root bigint, leaves bigint[], ids cdp.identifier[], grps int[], whys text[],
								 outs cdp.identifier[], reasons text[]) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
	SELECT format('parts %s from it: %s',
				  coalesce(string_agg(r.identifier::text, ', ' ORDER BY r.identifier), string_agg('profile ' || r.leaf, ', ' ORDER BY r.leaf)),
				  coalesce(min(o.reason), min(r.why)))
	FROM unnest(leaves, ids, grps, whys) r (leaf, identifier, grp, why)
		LEFT JOIN unnest(outs, reasons) o (identifier, reason) ON o.identifier OPERATOR(cdp.=) r.identifier
	WHERE r.grp <> (SELECT h.grp FROM unnest(leaves, ids, grps) h (leaf, identifier, grp) WHERE h.leaf = root AND h.identifier IS NULL)
	GROUP BY r.grp
	ORDER BY r.grp;
$$;
COMMENT ON FUNCTION cdp._rule_change(bigint, bigint[], cdp.identifier[], int[], text[], cdp.identifier[], text[])
	IS 'what _replay_rules parts, in words';

CREATE FUNCTION cdp.simulate_rules() RETURNS TABLE (profile_id bigint, change text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	outs	identifier[];
	reasons	text[];
	root	bigint;
BEGIN
	SELECT coalesce(array_agg(o.identifier), '{}'), coalesce(array_agg(o.reason), '{}') INTO outs, reasons FROM _linked_outs() o;
	RETURN QUERY
	SELECT resolve(d.identifier), format('puts %s into quarantine: %s', d.identifier, d.reason)
	FROM _quarantine_due() d ORDER BY 1, d.identifier;
	FOR root IN SELECT b FROM _rule_breakers(outs) b LOOP
		RETURN QUERY
		SELECT root, c
		FROM (SELECT array_agg(r.leaf) AS leaves, array_agg(r.identifier) AS ids, array_agg(r.grp) AS grps, array_agg(r.reason) AS whys
			  FROM _replay_rules(root, outs) r) g
			CROSS JOIN LATERAL _rule_change(root, g.leaves, g.ids, g.grps, g.whys, outs, reasons) c;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.simulate_rules() IS 'what apply_rules would part; changes nothing';

-- The caller holds the profile.  Merges between groups are undone, so that
-- leaves go with all they have; identifiers that still are with a leaf of
-- another group are split off; what evidence joins is merged again.
CREATE FUNCTION cdp._part_by_rules(root bigint, outs cdp.identifier[], reasons text[], at timestamptz) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	leaves	bigint[];
	ids		identifier[];
	grps	int[];
	whys	text[];
	edges_a	identifier[];
	edges_b	identifier[];
	edges_at timestamptz[];
	merges	bigint[];
	one		record;
	a		bigint;
	b		bigint;
	fresh	bigint;
BEGIN
	SELECT array_agg(r.leaf), array_agg(r.identifier), array_agg(r.grp), array_agg(r.reason)
	INTO leaves, ids, grps, whys FROM _replay_rules(root, outs) r;
	RETURN QUERY SELECT c FROM _rule_change(root, leaves, ids, grps, whys, outs, reasons) c;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	INSERT INTO identity_refusal (at, identifiers, reason)
	SELECT _part_by_rules.at, array_agg(x.identifier ORDER BY x.identifier), 'apply_rules: ' || coalesce(min(o.reason), min(x.why))
	FROM unnest(leaves, ids, grps, whys) x (leaf, identifier, grp, why)
		LEFT JOIN unnest(outs, reasons) o (identifier, reason) ON o.identifier = x.identifier
	WHERE x.identifier IS NOT NULL
	  AND x.grp <> (SELECT h.grp FROM unnest(leaves, ids, grps) h (leaf, identifier, grp) WHERE h.leaf = root AND h.identifier IS NULL)
	GROUP BY x.grp ORDER BY x.grp;

	-- Evidence within a group holds on, whatever is undone on the way.
	SELECT array_agg(e.a ORDER BY x.grp, e.at, e.a, e.b), array_agg(e.b ORDER BY x.grp, e.at, e.a, e.b), array_agg(e.at ORDER BY x.grp, e.at, e.a, e.b)
	INTO edges_a, edges_b, edges_at
	FROM _edges_of(array_remove(ids, NULL)) e JOIN unnest(ids, grps) x (identifier, grp) ON x.identifier = e.a
		JOIN unnest(ids, grps) y (identifier, grp) ON y.identifier = e.b AND y.grp = x.grp
	WHERE e.inactive_at IS NULL;

	merges := ARRAY(
		SELECT m.merge_id
		FROM unnest(leaves, ids, grps) x (leaf, identifier, grp)
			JOIN profile_merge m ON m.leaf_a = x.leaf AND m.undone_at IS NULL
			JOIN unnest(leaves, ids, grps) y (leaf, identifier, grp) ON y.leaf = m.leaf_b AND y.identifier IS NULL
		WHERE x.identifier IS NULL AND x.grp <> y.grp);
	IF merges <> '{}' THEN
		PERFORM _undo_merges(root, merges, false, 'apply_rules', _part_by_rules.at);
	END IF;

	FOR one IN
		SELECT array_agg(x.identifier ORDER BY x.identifier) AS identifiers
		FROM unnest(leaves, ids, grps) x (leaf, identifier, grp)
			JOIN unnest(leaves, ids, grps) h (leaf, identifier, grp) ON h.leaf = x.leaf AND h.identifier IS NULL
			JOIN profile p ON p.profile_id = x.leaf
		WHERE x.identifier IS NOT NULL AND x.grp <> h.grp
		GROUP BY p.canonical_id, x.grp ORDER BY p.canonical_id, x.grp
	LOOP
		-- The rule keeps them apart, as long as there is one.
		fresh := _split_once(one.identifiers, 'apply_rules', _part_by_rules.at, true);
		DELETE FROM never_merge n WHERE n.profile_a = fresh OR n.profile_b = fresh;
	END LOOP;

	FOR one IN
		SELECT 1 AS class, u.nr, u.a, u.b, u.at FROM unnest(edges_a, edges_b, edges_at) WITH ORDINALITY u (a, b, at, nr)
		UNION ALL
		-- what no edge holds together: see _replay_rules
		SELECT 2, x.nr, f.identifier, x.identifier, _part_by_rules.at
		FROM unnest(ids, grps) WITH ORDINALITY x (identifier, grp, nr)
			JOIN (SELECT DISTINCT ON (u.grp) u.grp, u.identifier FROM unnest(ids, grps) WITH ORDINALITY u (identifier, grp, nr)
				  WHERE u.identifier IS NOT NULL ORDER BY u.grp, u.nr) f ON f.grp = x.grp
		WHERE x.identifier IS NOT NULL
		ORDER BY 1, 2
	LOOP
		a := (SELECT p.canonical_id FROM identifier_link l JOIN profile p ON p.profile_id = l.profile_id WHERE l.identifier = one.a);
		b := (SELECT p.canonical_id FROM identifier_link l JOIN profile p ON p.profile_id = l.profile_id WHERE l.identifier = one.b);
		IF a <> b THEN
			PERFORM _merge_profiles(least(a, b), greatest(a, b), one.at, 'identifiers', NULL, 'apply_rules', ARRAY[one.a, one.b]);
		END IF;
	END LOOP;

	UPDATE extra_edge e SET inactive_at = NULL
	FROM unnest(edges_a, edges_b) u (a, b) WHERE e.a = u.a AND e.b = u.b AND e.inactive_at IS NOT NULL;
	UPDATE extra_edge e SET inactive_at = _part_by_rules.at
	FROM unnest(ids, grps) x (identifier, grp), unnest(ids, grps) y (identifier, grp)
	WHERE e.a = x.identifier AND e.b = y.identifier AND x.grp <> y.grp AND e.inactive_at IS NULL;
END
$$;
COMMENT ON FUNCTION cdp._part_by_rules(bigint, cdp.identifier[], text[], timestamptz) IS 'part one profile as simulate_rules says; returns the changes';

CREATE FUNCTION cdp._apply_rules_once(at timestamptz, wait boolean) RETURNS TABLE (profile_id bigint, change text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	outs	identifier[];
	reasons	text[];
	roots	bigint[];
	root	bigint;
BEGIN
	IF _apply_rules_once.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'at must not be null';
	ELSIF NOT isfinite(_apply_rules_once.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	PERFORM _lock_identities(true);			-- it may be about many profiles, and goes on with all of them
	PERFORM _hurry(wait);
	RETURN QUERY
	WITH due AS MATERIALIZED (
		SELECT d.identifier, d.degree, d.reason, resolve(d.identifier) AS root FROM _quarantine_due() d
	), done AS (
		INSERT INTO quarantined_identifier (identifier, at, degree, reason)
		SELECT d.identifier, _apply_rules_once.at, d.degree, d.reason FROM due d ORDER BY d.identifier ON CONFLICT DO NOTHING
		RETURNING identifier
	)
	SELECT d.root, format('puts %s into quarantine: %s', d.identifier, d.reason) FROM due d JOIN done USING (identifier) ORDER BY 1, d.identifier;

	-- Look for them, lock them, look again.
	SELECT coalesce(array_agg(o.identifier), '{}') INTO outs FROM _linked_outs() o;
	roots := ARRAY(SELECT b FROM _rule_breakers(outs) b);
	roots := _try_identities(ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = ANY (roots) ORDER BY 1),
							  ARRAY(SELECT l.identifier FROM profile p JOIN identifier_link l ON l.profile_id = p.profile_id
									WHERE p.canonical_id = ANY (roots) ORDER BY l.identifier), roots, wait);
	SELECT coalesce(array_agg(o.identifier), '{}'), coalesce(array_agg(o.reason), '{}') INTO outs, reasons FROM _linked_outs() o;
	FOR root IN SELECT b FROM _rule_breakers(outs) b WHERE b = ANY (roots) LOOP
		RETURN QUERY SELECT root, c FROM _part_by_rules(root, outs, reasons, _apply_rules_once.at) c;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._apply_rules_once(timestamptz, boolean) IS 'an attempt at apply_rules, or CDP01 (see _let_go)';

CREATE FUNCTION cdp.apply_rules(at timestamptz DEFAULT now()) RETURNS TABLE (profile_id bigint, change text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	attempt	int := 1;
	state	text;
	what	text;
	which	text;
BEGIN
	LOOP
		BEGIN
			RETURN QUERY SELECT o.* FROM cdp._apply_rules_once(at, attempt > 20) o;
			RETURN;
		EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		attempt := cdp._let_go(attempt, state, what, which);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.apply_rules(timestamptz) IS 'part the profiles that the rules of today would not have let become one; returns what was done';
