/* 25_merge: two profiles become one, and two again
 *
 * A merge is a link between two leaves; nothing that is kept by leaf moves.
 * The record keeps which two: for a merge by hand the profiles that were
 * named, else those that own the evidence.  These links form a forest, and
 * the profiles of a moment are its trees.  Who survives follows from the
 * links alone, taken in the order of their merges: of a merge by hand the
 * side of leaf_a, else the lower id.
 *
 * So undoing a merge is taking its link away and working out the rest anew
 * (_replay_merges), whatever was merged before or after it.  survivor, merged,
 * members and tags of the merges that stand say what comes of that.
 *
 * Locks: unmerge holds the canonical profile FOR UPDATE and updates the rows
 * of all that leave it, and its own without need: so that a session with an
 * older snapshot is told (40001).
 */

-- Every leaf of the set is there, or none that it is linked to.
CREATE FUNCTION cdp._replay_merges(leaves bigint[], as_of timestamptz DEFAULT NULL)
	RETURNS TABLE (merge_id bigint, survivor bigint, merged bigint, members bigint[], expired_to timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	-- by place in leaves, which are ascending
	root int[] := ARRAY(SELECT generate_subscripts(leaves, 1));
	next int[] := array_fill(NULL::int, ARRAY[cardinality(leaves)]);	-- of the same profile
	last int[] := root;
	m record;
	a int;
	b int;
	i int;
BEGIN
	FOR m IN
		SELECT x.merge_id, x.leaf_a, x.leaf_b, x.cause, x.expired_to FROM profile_merge x
		WHERE x.leaf_a = ANY (leaves)
			AND (x.undone_at IS NULL OR x.undone_at > as_of) AND (as_of IS NULL OR x.at <= as_of)
		ORDER BY x.merge_id
	LOOP
		a := root[width_bucket(m.leaf_a, leaves)];
		b := root[width_bucket(m.leaf_b, leaves)];
		-- the same once more, told late: both stood at as_of
		CONTINUE WHEN a = b;
		IF m.cause <> 'manual' AND b < a THEN
			i := a; a := b; b := i;
		END IF;
		merge_id := m.merge_id;
		survivor := leaves[a];
		merged := leaves[b];
		expired_to := m.expired_to;
		members := '{}';
		i := b;
		WHILE i IS NOT NULL LOOP
			members := members || leaves[i];
			root[i] := a;
			i := next[i];
		END LOOP;
		members := ARRAY(SELECT u FROM unnest(members) u ORDER BY u);
		next[last[a]] := b;
		last[a] := last[b];
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._replay_merges(bigint[], timestamptz)
	IS 'what the merges that stand (at that time) make of some leaves, ascending, that are linked with no others';

CREATE FUNCTION cdp._root_at(leaf bigint, as_of timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	linked bigint[];
	m record;
	root bigint := leaf;
BEGIN
	WITH RECURSIVE reach (id) AS (
		SELECT leaf
		UNION
		SELECT l.id
		FROM reach r CROSS JOIN LATERAL (
			SELECT x.leaf_b FROM profile_merge x
			WHERE x.leaf_a = r.id AND x.at <= as_of AND (x.undone_at IS NULL OR x.undone_at > as_of)
			UNION ALL
			SELECT x.leaf_a FROM profile_merge x
			WHERE x.leaf_b = r.id AND x.at <= as_of AND (x.undone_at IS NULL OR x.undone_at > as_of)) l (id)
	)
	SELECT array_agg(r.id ORDER BY r.id) INTO linked FROM reach r;
	IF cardinality(linked) > 1 THEN
		FOR m IN SELECT r.survivor, r.merged FROM _replay_merges(linked, as_of) r LOOP
			IF m.merged = root THEN
				root := m.survivor;
			END IF;
		END LOOP;
	END IF;
	RETURN root;
END
$$;
COMMENT ON FUNCTION cdp._root_at(bigint, timestamptz) IS 'the canonical profile of a leaf by the merges that stood at that time';

-- With the owner's rights: the lock needs a privilege to write the table, which
-- those who only tag and define segments have not.
CREATE FUNCTION cdp._lock_merges() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	LOCK TABLE profile_merge IN SHARE MODE;
END
$$;
COMMENT ON FUNCTION cdp._lock_merges() IS 'nobody is merged or unmerged until the end of the transaction';

-- The caller holds the locks of both and has asked the rules.  The parts that
-- few profiles have are functions here and elsewhere, _merge_…; whoever adds one
-- has it called in src/store/merge_fn.c, in lock order: what is the system's own
-- goes before tags are moved.
CREATE FUNCTION cdp._merge_profiles(survivor bigint, merged bigint, at timestamptz, cause text, source text, reason text,
									evidence cdp.identifier[]) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'mcdp__merge_profiles';
COMMENT ON FUNCTION cdp._merge_profiles(bigint, bigint, timestamptz, text, text, text, cdp.identifier[])
	IS 'link one canonical profile, with all that was merged into it, to another';

CREATE FUNCTION cdp._merge_once(survivor bigint, merged bigint, reason text, at timestamptz, wait boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	into_id		bigint;
	from_id		bigint;
	into_kind	text;
	from_kind	text;
	refusal		text;
BEGIN
	IF survivor IS NULL OR merged IS NULL OR _merge_once.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'survivor, merged and at must not be null';
	ELSIF NOT isfinite(_merge_once.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	LOCK TABLE profile_merge IN ROW EXCLUSIVE MODE;		-- before any profile: it may be waited for
	PERFORM _hurry(wait);
	PERFORM _try_profiles(ARRAY[survivor, merged], wait);
	SELECT p.canonical_id, p.kind INTO into_id, into_kind FROM profile p WHERE p.profile_id = survivor;
	SELECT p.canonical_id, p.kind INTO from_id, from_kind FROM profile p WHERE p.profile_id = merged;
	IF into_id IS NULL OR from_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('profile %s does not exist', CASE WHEN into_id IS NULL THEN survivor ELSE merged END);
	END IF;
	IF into_id = from_id THEN
		RAISE NOTICE USING MESSAGE = format('profiles %s and %s are one already', survivor, merged);
		RETURN NULL;
	END IF;
	IF into_kind <> from_kind THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('cannot merge a profile of kind "%s" into one of kind "%s"', from_kind, into_kind),
			HINT = 'Use relate() to connect profiles of different kinds.';
	END IF;
	refusal := _refusal(ARRAY[into_id], '{}', NULL, from_id, _merge_once.at, '{}');
	IF refusal IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('cannot merge profile %s into %s', from_id, into_id),
			DETAIL = format('A rule forbids it: %s.', refusal);
	END IF;
	RETURN _merge_profiles(into_id, from_id, _merge_once.at, 'manual', NULL, reason, '{}');
END
$$;
COMMENT ON FUNCTION cdp._merge_once(bigint, bigint, text, timestamptz, boolean) IS 'an attempt at merge, or CDP01 (see _let_go)';

CREATE FUNCTION cdp.merge(survivor bigint, merged bigint, reason text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	attempt	int := 1;
	state	text;
	what	text;
	which	text;
BEGIN
	LOOP
		BEGIN
			RETURN cdp._merge_once(survivor, merged, reason, at, attempt > 20);
		EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		attempt := cdp._let_go(attempt, state, what, which);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.merge(bigint, bigint, text, timestamptz)
	IS 'merge the second profile into the first; returns the merge id, or NULL if they are one already';

-- undoing

-- Evidence from one side to the other is overruled.  All identifiers of both
-- sides are looked up, so that an index by the first of an edge is enough.
-- Evidence in identifier_link is never about two leaves.
CREATE FUNCTION cdp._overrule_edges(leaves bigint[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	tied bigint[];
BEGIN
	UPDATE extra_edge e SET inactive_at = _overrule_edges.at
	FROM profile p JOIN identifier_link l ON l.profile_id = p.profile_id,
		 profile q JOIN identifier_link k ON k.profile_id = q.profile_id
	WHERE p.profile_id = ANY (leaves) AND e.a = l.identifier AND e.inactive_at IS NULL
	  AND k.identifier = e.b AND q.canonical_id <> p.canonical_id;
	-- A split may have taken away what else held them together: identifiers of
	-- one leaf, then of one profile.
	IF EXISTS (SELECT FROM identifier_split s WHERE s.from_profile = ANY (leaves)) THEN
		FOR tied IN
			SELECT array_agg(p.profile_id) FROM profile p
			WHERE p.profile_id = ANY (leaves)
			GROUP BY GROUPING SETS (p.profile_id, p.canonical_id) ORDER BY count(*), min(p.profile_id)
		LOOP
			PERFORM _bind_together(tied, _overrule_edges.at);
		END LOOP;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._overrule_edges(bigint[], timestamptz) IS 'evidence between profiles that were one links them no more';

-- What hangs on the canonical profile, after canonical_id has changed.
CREATE FUNCTION cdp._part_profiles(was bigint, leaves bigint[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	roots	bigint[] := ARRAY(SELECT DISTINCT p.canonical_id FROM profile p WHERE p.profile_id = ANY (leaves) ORDER BY p.canonical_id);
BEGIN
	PERFORM _unmerge_journeys(leaves, _part_profiles.at);
	PERFORM _unmerge_lifecycle(was, roots, _part_profiles.at);
	PERFORM _unmerge_traits(leaves);
	PERFORM _unmerge_relations(leaves);
	PERFORM _unmerge_timelines(leaves);
	PERFORM _unmerge_segments(was, roots);
	PERFORM _unmerge_tags(was, leaves, _part_profiles.at);
	PERFORM _unmerge_consent(roots);
	PERFORM _part_messages(leaves);
END
$$;
COMMENT ON FUNCTION cdp._part_profiles(bigint, bigint[], timestamptz)
	IS 'leaves that were one profile and are several now: each gets what is its own';

-- The caller holds the profile that these merges are of.
CREATE FUNCTION cdp._undo_merges(was bigint, merge_ids bigint[], keep_apart boolean, reason text, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	leaves	bigint[] := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = was ORDER BY p.profile_id);
BEGIN
	UPDATE profile_merge x SET undone_at = _undo_merges.at, undone_reason = _undo_merges.reason, kept_apart = _undo_merges.keep_apart
	WHERE x.merge_id = ANY (merge_ids);
	IF _undo_merges.keep_apart THEN
		INSERT INTO never_merge (profile_a, profile_b, reason, at)
		SELECT least(x.leaf_a, x.leaf_b), greatest(x.leaf_a, x.leaf_b),
			   coalesce(_undo_merges.reason, format('merge %s was undone', x.merge_id)), _undo_merges.at
		FROM profile_merge x WHERE x.merge_id = ANY (merge_ids) ORDER BY x.merge_id
		ON CONFLICT DO NOTHING;
	END IF;

	UPDATE profile_merge x SET survivor = r.survivor, merged = r.merged, members = r.members
	FROM _replay_merges(leaves) r
	WHERE x.merge_id = r.merge_id AND (x.survivor, x.merged, x.members) IS DISTINCT FROM (r.survivor, r.merged, r.members);
	-- The last merge that took a leaf along says where it is.
	UPDATE profile p SET canonical_id = coalesce(n.survivor, p.profile_id)
	FROM unnest(leaves) u (leaf)
	LEFT JOIN (SELECT DISTINCT ON (t.leaf) t.leaf, x.survivor
			   FROM profile_merge x CROSS JOIN LATERAL unnest(x.members) t (leaf)
			   WHERE x.leaf_a = ANY (leaves) AND x.undone_at IS NULL
			   ORDER BY t.leaf, x.merge_id DESC) n USING (leaf)
	WHERE p.profile_id = u.leaf AND (p.canonical_id <> coalesce(n.survivor, p.profile_id) OR p.profile_id = was);
	PERFORM _overrule_edges(leaves, _undo_merges.at);
	PERFORM _part_profiles(was, leaves, _undo_merges.at);
END
$$;
COMMENT ON FUNCTION cdp._undo_merges(bigint, bigint[], boolean, text, timestamptz)
	IS 'undo some merges of one profile at once: see unmerge';

CREATE FUNCTION cdp._unmerge_once(merge_id bigint, keep_apart boolean, reason text, at timestamptz, wait boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	m		profile_merge;
	was		bigint;
BEGIN
	IF _unmerge_once.merge_id IS NULL OR _unmerge_once.keep_apart IS NULL OR _unmerge_once.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'merge_id, keep_apart and at must not be null';
	ELSIF NOT isfinite(_unmerge_once.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	SELECT * INTO m FROM profile_merge x WHERE x.merge_id = _unmerge_once.merge_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('merge %s does not exist', _unmerge_once.merge_id);
	END IF;
	LOCK TABLE profile_merge IN ROW EXCLUSIVE MODE;		-- as in merge
	PERFORM _hurry(wait);
	PERFORM _try_profiles(ARRAY[m.leaf_a, m.leaf_b], wait);
	SELECT * INTO m FROM profile_merge x WHERE x.merge_id = _unmerge_once.merge_id;
	IF m.undone_at IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('merge %s is undone already', _unmerge_once.merge_id);
	END IF;
	SELECT p.canonical_id INTO was FROM profile p WHERE p.profile_id = m.leaf_a;
	PERFORM _undo_merges(was, ARRAY[_unmerge_once.merge_id], _unmerge_once.keep_apart, _unmerge_once.reason, _unmerge_once.at);
END
$$;
COMMENT ON FUNCTION cdp._unmerge_once(bigint, boolean, text, timestamptz, boolean) IS 'an attempt at unmerge, or CDP01 (see _let_go)';

CREATE FUNCTION cdp.unmerge(merge_id bigint, keep_apart boolean DEFAULT true, reason text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	attempt	int := 1;
	state	text;
	what	text;
	which	text;
BEGIN
	LOOP
		BEGIN
			PERFORM cdp._unmerge_once(merge_id, keep_apart, reason, at, attempt > 20);
			RETURN;
		EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		attempt := cdp._let_go(attempt, state, what, which);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.unmerge(bigint, boolean, text, timestamptz)
	IS 'undo a merge: what is left is what would be there without it; keep_apart: evidence must not link the two again';
