/* 36_journey_merge: runs of profiles that become one, and two again
 *
 * A run is of the leaf that entered: the one that its trigger names (that of an
 * event the leaf of the event; that of a tag or a schedule the canonical profile
 * of then), for a due date the leaf that did it last, for enter_journey the
 * canonical profile, for a journey step the leaf of the run that does it.
 * profile_id is the canonical profile, as it is of messages, and owner_id the leaf
 * if that is another; events of messages and log rows name the leaf.
 *
 * Of two runs in the same journey with the same key only one can go on: the one
 * that entered first.  The other one ends as "merged", and journey_duplicate
 * keeps where it stood; it goes on from there when the two profiles are two
 * again.  What runs did meanwhile stays: see docs/internals/undo.md.
 */

CREATE TABLE cdp.journey_duplicate (
	run_id		bigint PRIMARY KEY,
	instead_of	bigint NOT NULL,
	due_at		timestamptz
);
COMMENT ON TABLE cdp.journey_duplicate IS 'runs that a merge ended';
COMMENT ON COLUMN cdp.journey_duplicate.instead_of IS 'the run that went on';
COMMENT ON COLUMN cdp.journey_duplicate.due_at IS 'when its next step was due';

-- In each profile, journey and key, the run that entered first goes on.  The
-- caller has locked the runs.
CREATE FUNCTION cdp._end_duplicates(runs bigint[], goes_on bigint[], at timestamptz, detail text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO cdp.journey_duplicate (run_id, instead_of, due_at)
	SELECT s.run_id, d.goes_on, s.due_at
	FROM unnest(runs, goes_on) AS d(run_id, goes_on) JOIN cdp.journey_state s USING (run_id)
	ORDER BY s.run_id;
	PERFORM cdp._end_runs(runs, array_fill(_end_duplicates.at, ARRAY[cardinality(runs)]), 'merged', detail);
END
$$;
COMMENT ON FUNCTION cdp._end_duplicates(bigint[], bigint[], timestamptz, text) IS 'ends runs in favour of others, so that they can go on later';

-- By the runs of all their leaves; those that were merged away have none.
CREATE FUNCTION cdp._mark_held_out(profiles bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	g		record;
BEGIN
	FOR g IN
		WITH held_out AS MATERIALIZED (
			SELECT DISTINCT l.canonical_id, s.journey
			FROM cdp.profile p JOIN cdp.profile l ON l.canonical_id = p.canonical_id
			CROSS JOIN LATERAL (SELECT x.journey FROM cdp.journey_state x WHERE x.profile_id = l.profile_id AND x.outcome = 'held_out' OFFSET 0) s
			WHERE p.profile_id = ANY (profiles)
		)
		SELECT x.journey, x.present, array_agg(x.profile_id) AS profiles
		FROM (SELECT j.journey, p AS profile_id, EXISTS (SELECT FROM held_out h WHERE h.canonical_id = p AND h.journey = j.journey) AS present
			  FROM (SELECT DISTINCT h.journey FROM held_out h) j, unnest(_mark_held_out.profiles) p) x
		WHERE x.present <> cdp._has_tag(x.profile_id, 'held_out:' || x.journey)
		GROUP BY x.journey, x.present ORDER BY x.journey, x.present
	LOOP
		PERFORM cdp._mark_journey(g.journey, g.profiles, g.present, 'held_out');
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._mark_held_out(bigint[]) IS 'makes the tags held_out:NAME of these profiles what their runs say';

-- A date or a time zone may be another one now: waits follow, as when it is set.
CREATE FUNCTION cdp._recall_traits(profiles bigint[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO cdp.journey_trigger (source, name, profile_id, at)
	SELECT DISTINCT 'trait', l.name, p.canonical_id, _recall_traits.at
	FROM cdp.profile p CROSS JOIN cdp.journey_listener l
	WHERE p.profile_id = ANY (profiles) AND l.source = 'trait'
	  AND EXISTS (SELECT FROM cdp.journey_state s WHERE s.profile_id = p.canonical_id AND s.journey = l.journey AND s.status = 'active');
END
$$;
COMMENT ON FUNCTION cdp._recall_traits(bigint[], timestamptz) IS 'runs that wait for a local time, or for a date in a trait, look at it again';

-- Called by merge with both profile rows locked.  Ended runs stay where they
-- are: re-entry looks at all leaves of a profile.  The merged profile's tags go
-- with all others.
CREATE FUNCTION cdp._merge_journeys(survivor bigint, merged bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	g		record;
BEGIN
	PERFORM FROM cdp.journey_state s WHERE s.profile_id IN (survivor, merged) AND s.status = 'active' ORDER BY s.run_id FOR UPDATE;
	PERFORM cdp._end_duplicates(array_agg(d.run_id ORDER BY d.run_id), array_agg(d.goes_on ORDER BY d.run_id), _merge_journeys.at,
								format('profile %s was merged into %s', merged, survivor))
	FROM (SELECT s.run_id, first_value(s.run_id) OVER (PARTITION BY s.journey, s.key ORDER BY s.entered_at, s.run_id) AS goes_on
		  FROM cdp.journey_state s WHERE s.profile_id IN (survivor, merged) AND s.status = 'active') d
	WHERE d.run_id <> d.goes_on
	HAVING count(*) > 0;
	INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
	SELECT _merge_journeys.at, survivor, s.journey, s.version, s.run_id, s.step, 'moved', format('from profile %s', merged)
	FROM cdp.journey_state s WHERE s.profile_id = merged AND s.status = 'active' ORDER BY s.journey, s.run_id;
	FOR g IN
		WITH moved AS (
			UPDATE cdp.journey_state s SET profile_id = survivor, owner_id = coalesce(s.owner_id, s.profile_id)
			WHERE s.profile_id = merged AND s.status = 'active' RETURNING s.journey
		)
		SELECT DISTINCT m.journey FROM moved m ORDER BY m.journey
	LOOP
		PERFORM cdp._mark_journey(g.journey, ARRAY[survivor], true);
	END LOOP;
	PERFORM cdp._mark_held_out(ARRAY[survivor]);
	PERFORM cdp._recall_traits(ARRAY[survivor], _merge_journeys.at);
END
$$;
COMMENT ON FUNCTION cdp._merge_journeys(bigint, bigint, timestamptz) IS 'moves the active runs of a merged profile to the survivor';

-- Called by unmerge, with the profile locked that the leaves were until now.
CREATE FUNCTION cdp._unmerge_journeys(leaves bigint[], at timestamptz, detail text DEFAULT 'a merge was undone') RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	ended		bigint[];
	goes_on		bigint[];
	resumed		bigint[];
	moved		bigint[];
	g			record;
BEGIN
	PERFORM FROM cdp.journey_state s
	WHERE s.profile_id = ANY (leaves)
	  AND (s.status = 'active' OR s.owner_id IS NOT NULL OR EXISTS (SELECT FROM cdp.journey_duplicate d WHERE d.run_id = s.run_id))
	ORDER BY s.run_id FOR UPDATE;

	-- Those that a merge ended compete again once the other run is another
	-- profile's.
	WITH rival AS MATERIALIZED (
		SELECT s.run_id, s.status, first_value(s.run_id) OVER (PARTITION BY o.canonical_id, s.journey, s.key ORDER BY s.entered_at, s.run_id) AS goes_on
		FROM cdp.journey_state s
		JOIN cdp.profile o ON o.profile_id = coalesce(s.owner_id, s.profile_id)
		JOIN cdp.journey j ON j.name = s.journey
		LEFT JOIN cdp.journey_duplicate d ON d.run_id = s.run_id
		LEFT JOIN cdp.journey_state w ON w.run_id = d.instead_of
		LEFT JOIN cdp.profile v ON v.profile_id = coalesce(w.owner_id, w.profile_id)
		WHERE s.profile_id = ANY (leaves) AND (s.status = 'active' OR v.canonical_id <> o.canonical_id AND j.status <> 'archived')
	), other AS (
		UPDATE cdp.journey_duplicate d SET instead_of = r.goes_on
		FROM rival r WHERE d.run_id = r.run_id AND r.goes_on <> r.run_id
	)
	SELECT array_agg(r.run_id ORDER BY r.run_id) FILTER (WHERE r.status = 'active' AND r.goes_on <> r.run_id),
		   array_agg(r.goes_on ORDER BY r.run_id) FILTER (WHERE r.status = 'active' AND r.goes_on <> r.run_id),
		   array_agg(r.run_id ORDER BY r.run_id) FILTER (WHERE r.status <> 'active' AND r.goes_on = r.run_id)
	INTO ended, goes_on, resumed
	FROM rival r;
	PERFORM cdp._end_duplicates(ended, goes_on, _unmerge_journeys.at, 'an earlier run goes on again') WHERE ended IS NOT NULL;

	WITH back AS (
		UPDATE cdp.journey_state s SET profile_id = o.canonical_id, owner_id = nullif(o.profile_id, o.canonical_id)
		FROM cdp.profile o, cdp.profile p
		WHERE s.profile_id = ANY (leaves) AND o.profile_id = coalesce(s.owner_id, s.profile_id) AND p.profile_id = s.profile_id
		  AND CASE WHEN s.status = 'active' THEN s.profile_id ELSE p.canonical_id END <> o.canonical_id
		RETURNING s.run_id
	)
	SELECT array_agg(b.run_id) INTO moved FROM back b;
	UPDATE cdp.journey_state s SET status = 'active', outcome = NULL, ended_at = NULL, due_at = d.due_at,
		profile_id = o.canonical_id, owner_id = nullif(o.profile_id, o.canonical_id)
	FROM cdp.journey_duplicate d, cdp.profile o
	WHERE s.run_id = ANY (resumed) AND d.run_id = s.run_id AND o.profile_id = coalesce(s.owner_id, s.profile_id);
	DELETE FROM cdp.journey_duplicate d WHERE d.run_id = ANY (resumed);
	INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
	SELECT _unmerge_journeys.at, s.profile_id, s.journey, s.version, s.run_id, s.step,
		   CASE WHEN s.run_id = ANY (resumed) THEN 'resumed' ELSE 'moved' END, _unmerge_journeys.detail
	FROM cdp.journey_state s
	WHERE s.run_id = ANY (resumed) OR s.run_id = ANY (moved) AND s.status = 'active'
	ORDER BY s.run_id;

	FOR g IN
		SELECT s.journey, p.present, array_agg(DISTINCT p.profile_id) AS profiles
		FROM (SELECT DISTINCT x.journey FROM cdp.journey_state x
			  WHERE x.run_id = ANY (moved) OR x.run_id = ANY (resumed) OR x.run_id = ANY (ended)) s
		CROSS JOIN LATERAL (
			SELECT l AS profile_id, EXISTS (SELECT FROM cdp.journey_state x
											WHERE x.profile_id = l AND x.journey = s.journey AND x.status = 'active') AS present
			FROM unnest(leaves) l) p
		WHERE p.present <> cdp._has_tag(p.profile_id, 'journey:' || s.journey)
		GROUP BY s.journey, p.present ORDER BY s.journey, p.present
	LOOP
		PERFORM cdp._mark_journey(g.journey, g.profiles, g.present);
	END LOOP;
	PERFORM cdp._mark_held_out(leaves);
	PERFORM cdp._recall_traits(leaves, _unmerge_journeys.at);
END
$$;
COMMENT ON FUNCTION cdp._unmerge_journeys(bigint[], timestamptz, text) IS 'gives runs back to the profiles that entered; those that a merge had ended go on';

-- Called by split: runs that events have begun go with these.  _unmerge_journeys
-- does the rest.
CREATE FUNCTION cdp._split_runs(leaf bigint, to_leaf bigint, events bigint[]) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	members	bigint[] := ARRAY(SELECT m.profile_id FROM cdp.profile p JOIN cdp.profile m ON m.canonical_id = p.canonical_id WHERE p.profile_id = leaf);
	runs	bigint[];
BEGIN
	runs := ARRAY(SELECT s.run_id FROM cdp.journey_state s JOIN unnest(events) e ON e = (s.entry ->> 'event_id')::bigint
				  WHERE s.profile_id = ANY (members) AND coalesce(s.owner_id, s.profile_id) = leaf ORDER BY s.run_id);
	IF runs <> '{}' THEN
		PERFORM FROM cdp.journey_state s WHERE s.run_id = ANY (runs) ORDER BY s.run_id FOR UPDATE;
		UPDATE cdp.journey_state s SET owner_id = to_leaf WHERE s.run_id = ANY (runs);
		UPDATE cdp.journey_log l SET profile_id = to_leaf WHERE l.run_id = ANY (runs) AND l.profile_id = leaf;
	END IF;
	RETURN runs;
END
$$;
COMMENT ON FUNCTION cdp._split_runs(bigint, bigint, bigint[]) IS 'gives the runs that these events of a leaf have begun to another leaf; returns them';

-- Called when identifiers, and runs, have left their profile: by unmerge and split.
CREATE FUNCTION cdp._part_messages(leaves bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	-- in the order of ids, as ack_messages does
	PERFORM FROM cdp.outbox o
	WHERE o.profile_id = ANY (leaves) OR o.recipient_id = ANY (leaves) AND o.recipient_id <> o.profile_id
	ORDER BY o.id FOR UPDATE;
	UPDATE cdp.outbox o SET profile_id = r.canonical_id, recipient_id = CASE o.recipient_id WHEN o.profile_id THEN r.canonical_id ELSE o.recipient_id END
	FROM cdp.journey_state s, cdp.profile r, cdp.profile p
	WHERE o.profile_id = ANY (leaves) AND s.run_id = o.run_id AND r.profile_id = coalesce(s.owner_id, s.profile_id)
	  AND p.profile_id = o.profile_id AND p.canonical_id <> r.canonical_id;
	-- No message that nobody has claimed yet goes to somebody else's address.
	UPDATE cdp.outbox o SET address = cdp._address(p.canonical_id, o.channel)
	FROM cdp.profile p
	WHERE (o.profile_id = ANY (leaves) AND o.recipient_id = o.profile_id OR o.recipient_id = ANY (leaves) AND o.recipient_id <> o.profile_id)
	  AND o.status = 'pending' AND o.address IS NOT NULL AND p.profile_id = o.recipient_id
	  AND NOT EXISTS (
		SELECT FROM cdp.channel_effective c, cdp.profile q JOIN cdp.identifier_link l ON l.profile_id = q.profile_id
		WHERE c.name = o.channel AND q.canonical_id = p.canonical_id AND cdp.namespace(l.identifier) = c.namespace AND cdp.value(l.identifier) = o.address);
END
$$;
COMMENT ON FUNCTION cdp._part_messages(bigint[]) IS 'messages go where their runs went, and those to come to no address that has left';
