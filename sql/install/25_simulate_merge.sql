/* 25_simulate_merge: what merge would do, without doing it */

CREATE FUNCTION cdp.simulate_merge(a bigint, b bigint) RETURNS TABLE (what text, detail text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	into_id		bigint := canonical_id(a);
	from_id		bigint := canonical_id(b);
	refusal		text;
	survivors	bigint[];
	members		bigint[];
BEGIN
	IF a IS NULL OR b IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'a and b must not be null';
	ELSIF into_id IS NULL OR from_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('profile %s does not exist', CASE WHEN into_id IS NULL THEN a ELSE b END);
	END IF;
	IF into_id = from_id THEN
		refusal := format('profiles %s and %s are one already', a, b);
	ELSIF (SELECT p.kind FROM profile p WHERE p.profile_id = into_id) <> (SELECT p.kind FROM profile p WHERE p.profile_id = from_id) THEN
		refusal := 'profiles of different kinds';
	ELSE
		-- "now" matters for nothing: no identifier is added
		refusal := _refusal(ARRAY[into_id], '{}', NULL, from_id, '-infinity', '{}');
	END IF;
	IF refusal IS NOT NULL THEN
		what := 'refused'; detail := refusal;
		RETURN NEXT;
		IF into_id = from_id THEN
			RETURN;
		END IF;
	END IF;
	survivors := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = into_id ORDER BY 1);
	members := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = from_id ORDER BY 1);

	RETURN QUERY SELECT 'survivor', into_id::text;
	RETURN QUERY SELECT 'merged', p::text FROM unnest(members) p ORDER BY p <> from_id, p;
	RETURN QUERY SELECT 'identifier', l.identifier::text FROM identifier_link l WHERE l.profile_id = ANY (members) ORDER BY l.identifier;

	-- the order in which trait() takes them
	RETURN QUERY
	WITH best AS (
		SELECT s.side, v.name, v.value, row_number() OVER (PARTITION BY v.name ORDER BY
				r.name IS NOT NULL AND v.value = 'null',
				CASE r.survivorship WHEN 'first' THEN v.at END, CASE r.survivorship WHEN 'min' THEN v.value END,
				CASE r.survivorship WHEN 'max' THEN v.value END DESC, v.at DESC, v.value DESC) AS rank
		FROM (SELECT 1 AS side, u FROM unnest(survivors) u UNION ALL SELECT 2, u FROM unnest(members) u) s (side, leaf)
			JOIN trait_value v ON v.profile_id = s.leaf
			LEFT JOIN trait_rule r ON r.name = v.name AND r.survivorship <> 'latest'
	), outcome AS (
		SELECT n.name, trait(into_id, n.name) AS mine, trait(from_id, n.name) AS theirs, nullif(w.value, 'null') AS becomes
		FROM (SELECT DISTINCT x.name FROM best x WHERE x.side = 2) n JOIN best w ON w.name = n.name AND w.rank = 1
	)
	SELECT 'trait', CASE
			WHEN o.mine IS NULL THEN format('%s: %s is gained', o.name, o.becomes)
			WHEN o.becomes IS NULL THEN format('%s: %s is removed', o.name, o.mine)
			WHEN o.becomes = o.mine THEN format('%s: %s stays, not %s', o.name, o.mine, coalesce(o.theirs, 'null'))
			ELSE format('%s: %s replaces %s', o.name, o.becomes, o.mine) END
	FROM outcome o
	WHERE o.mine IS DISTINCT FROM o.theirs AND (o.mine IS NOT NULL OR o.becomes IS NOT NULL)
	ORDER BY o.name COLLATE "C";

	RETURN QUERY
	WITH mine AS MATERIALIZED (
		SELECT t FROM _all_tags_of(into_id) t WHERE NOT _is_maintained(t)
	), theirs AS MATERIALIZED (
		SELECT t.tag, _exclusive_key(t.tag) AS key, row_number() OVER (PARTITION BY _exclusive_key(t.tag) ORDER BY t.tag COLLATE "C") AS nth
		FROM _all_tags_of(from_id) AS t (tag)
		WHERE NOT _is_maintained(t.tag) AND t.tag NOT IN (SELECT m.t FROM mine m)
	)
	SELECT CASE WHEN o.gone THEN 'tag dropped' ELSE 'tag' END, CASE WHEN o.gone THEN format('%s: the key %s is exclusive', o.tag, o.key)
		WHEN e.expires_at IS NOT NULL THEN format('%s until %s', o.tag, to_json(e.expires_at) #>> '{}') ELSE o.tag END
	FROM (SELECT t.tag, t.key, t.key IS NOT NULL AND (t.nth > 1 OR EXISTS (SELECT FROM mine m WHERE starts_with(m.t, t.key || ':'))) AS gone FROM theirs t) o
		LEFT JOIN tag_expiry e ON e.tag = o.tag COLLATE "C" AND e.profile_id = from_id
	ORDER BY o.gone, o.tag COLLATE "C";

	RETURN QUERY
	SELECT CASE WHEN r.run_id = r.goes_on THEN 'run' ELSE 'run ended' END,
		   CASE WHEN r.run_id = r.goes_on THEN format('%s, run %s', r.journey, r.run_id)
				ELSE format('%s, run %s: run %s entered first', r.journey, r.run_id, r.goes_on) END
	FROM (SELECT s.*, first_value(s.run_id) OVER (PARTITION BY s.journey, s.key ORDER BY s.entered_at, s.run_id) AS goes_on
		  FROM journey_state s WHERE s.profile_id IN (into_id, from_id) AND s.status = 'active') r
	WHERE r.profile_id = from_id OR r.run_id <> r.goes_on
	ORDER BY r.run_id <> r.goes_on, r.journey COLLATE "C", r.run_id;

	RETURN QUERY
	SELECT 'consent', format('%s by %s: %s', d.purpose, d.channel, CASE WHEN d.becomes THEN 'granted' ELSE 'refused' END)
	FROM (SELECT x.purpose, x.channel, bool_and(x.granted) AS becomes, bool_and(x.granted) FILTER (WHERE x.id = into_id) AS was
		  FROM (SELECT i.id, c.* FROM unnest(ARRAY[into_id, from_id]) i (id) CROSS JOIN LATERAL _consent_in_force(i.id, 'infinity') c) x
		  GROUP BY 1, 2) d
	WHERE d.becomes IS DISTINCT FROM d.was
	ORDER BY d.purpose COLLATE "C", d.channel COLLATE "C";

	RETURN QUERY
	SELECT 'events', format('%s from %s to %s', num_events(t), to_json(first_at(t)) #>> '{}', to_json(last_at(t)) #>> '{}')
	FROM timeline_of(from_id) t WHERE num_events(t) > 0;
	RETURN QUERY
	SELECT 'relations', count(*)::text FROM relation r WHERE r.a = ANY (members) OR r.b = ANY (members) HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION cdp.simulate_merge(bigint, bigint) IS 'what merge(a, b) would move, add, drop and end; changes nothing';
