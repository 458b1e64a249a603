/* 28_retract: an event that never was
 *
 * The one way an event leaves again: its row, its work rows and its entries in
 * the stored timelines of the owner and the participants.  Its message id
 * stays taken, so that a replay does not bring it back, and the record of the
 * retraction stays, without the event's properties.
 */

CREATE TABLE cdp.event_retraction (
	message_id		text PRIMARY KEY,
	event_id		bigint NOT NULL,
	at				timestamptz NOT NULL,
	profile_id		bigint NOT NULL,
	participants	bigint[] NOT NULL,
	event			text,
	reason			text NOT NULL,
	retracted_at	timestamptz NOT NULL
);
COMMENT ON TABLE cdp.event_retraction IS 'events that were taken back, and why';
COMMENT ON COLUMN cdp.event_retraction.event IS 'NULL: the event row was gone already, its timeline entry was found by its time';

-- The caller holds part 0 of the leaf.
CREATE FUNCTION cdp._remove_entry(leaf bigint, at timestamptz, event text, label text, value double precision) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	found_in	int;
	rest		timeline;
BEGIN
	SELECT p.part INTO found_in
	FROM timeline_part p
	WHERE p.profile_id = leaf
	  AND EXISTS (SELECT FROM timeline_events(slice(p.timeline, _remove_entry.at, _remove_entry.at + interval '1 microsecond')) e
				  WHERE e.event = _remove_entry.event AND e.label IS NOT DISTINCT FROM _remove_entry.label
					AND e.value IS NOT DISTINCT FROM _remove_entry.value)
	ORDER BY p.part DESC LIMIT 1;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	SELECT coalesce(timeline_agg(k.at, k.event, k.label, k.value), '{}') INTO rest
	FROM (SELECT e.*, row_number() OVER (PARTITION BY e.at, e.event, e.label, e.value) AS nr
		  FROM timeline_part p CROSS JOIN LATERAL timeline_events(p.timeline) e
		  WHERE p.profile_id = leaf AND p.part = found_in) k
	WHERE NOT (k.nr = 1 AND k.at = _remove_entry.at AND k.event = _remove_entry.event
			   AND k.label IS NOT DISTINCT FROM _remove_entry.label AND k.value IS NOT DISTINCT FROM _remove_entry.value);
	UPDATE timeline_part p SET timeline = rest WHERE p.profile_id = leaf AND p.part = found_in;
	-- A sole part without events is no row of profile_timeline.
	DELETE FROM timeline_part p WHERE p.profile_id = leaf AND p.part = found_in AND p.sole AND num_events(p.timeline) = 0;
	RETURN true;
END
$$;
COMMENT ON FUNCTION cdp._remove_entry(bigint, timestamptz, text, text, double precision)
	IS 'take one entry out of a leaf''s stored timeline; false if it is not there';

CREATE FUNCTION cdp._retract_once(message_id text, reason text, at timestamptz, wait boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	m		event_message;
	e		event;
	leaf	bigint;
	leaves	bigint[];
	unfolded bigint[];
	entry	record;
	missing	boolean;
	entries	bigint;
BEGIN
	IF _retract_once.message_id IS NULL OR _retract_once.reason IS NULL OR _retract_once.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'message_id, reason and at must not be null';
	END IF;
	PERFORM _hurry(wait);
	-- The profile is what two of us would wait for; event_message is locked by
	-- nobody else once it is there.  A split may have moved the event meanwhile.
	LOOP
		SELECT s.* INTO m FROM event_message s WHERE s.message_id = _retract_once.message_id;
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('message "%s" does not exist', _retract_once.message_id);
		ELSIF m.event_id IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('message "%s" was no event', _retract_once.message_id),
				HINT = 'What it said about identities is taken back with unmerge() or split().';
		END IF;
		EXIT WHEN m.profile_id = leaf;
		SELECT n.* INTO e FROM event n WHERE n.profile_id = m.profile_id AND n.event_id = m.event_id AND n.at = m.at;
		leaves := ARRAY(SELECT DISTINCT u FROM unnest(m.profile_id || coalesce(e.participants, '{}')) u ORDER BY u);
		PERFORM _try_profiles(leaves, wait);
		leaf := m.profile_id;
	END LOOP;
	INSERT INTO event_retraction (message_id, event_id, at, profile_id, participants, event, reason, retracted_at)
	VALUES (m.message_id, m.event_id, m.at, m.profile_id, coalesce(e.participants, '{}'), e.event, _retract_once.reason, _retract_once.at)
	ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN false;
	END IF;

	DELETE FROM event n WHERE n.profile_id = m.profile_id AND n.event_id = m.event_id AND n.at = m.at;
	-- Folds that have it in hand are waited for, and then it is folded; all rows of
	-- event_tail before the first timeline, as folds do.
	PERFORM FROM event_tail t WHERE t.profile_id = ANY (leaves) AND t.event_id = m.event_id ORDER BY t.profile_id FOR UPDATE;
	WITH gone AS (
		DELETE FROM event_tail t WHERE t.profile_id = ANY (leaves) AND t.event_id = m.event_id RETURNING t.profile_id
	)
	SELECT array_agg(g.profile_id) INTO unfolded FROM gone g;
	PERFORM FROM timeline_part p WHERE p.profile_id = ANY (leaves) AND p.part = 0 ORDER BY p.profile_id FOR UPDATE;
	FOREACH leaf IN ARRAY leaves LOOP
		CONTINUE WHEN leaf = ANY (unfolded);
		missing := false;
		IF e.event_id IS NOT NULL THEN
			FOR entry IN SELECT * FROM _event_entries(e.at, e.event, e.source, e.properties) LOOP
				missing := NOT _remove_entry(leaf, entry.at, entry.event, entry.label, entry.value) OR missing;
			END LOOP;
			IF missing THEN
				-- event_role has changed since it was folded
				PERFORM _rebuild_timelines(leaf);
			END IF;
		ELSE
			-- Its partition is gone: what stands at its instant is it, if that
			-- is one event.
			SELECT count(*) FILTER (WHERE n.event <> 'item') INTO entries
			FROM timeline_part p CROSS JOIN LATERAL timeline_events(slice(p.timeline, m.at, m.at + interval '1 microsecond')) n
			WHERE p.profile_id = leaf;
			IF entries <> 1 THEN
				RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
					MESSAGE = format('cannot tell which entry of profile %s is message "%s"', leaf, _retract_once.message_id),
					DETAIL = format('The event itself is gone, and its timeline has %s events at that instant.', entries);
			END IF;
			FOR entry IN
				SELECT n.* FROM timeline_part p CROSS JOIN LATERAL timeline_events(slice(p.timeline, m.at, m.at + interval '1 microsecond')) n
				WHERE p.profile_id = leaf
			LOOP
				PERFORM _remove_entry(leaf, entry.at, entry.event, entry.label, entry.value);
			END LOOP;
		END IF;
	END LOOP;

	DELETE FROM journey_trigger j
	WHERE j.event_id = m.event_id AND j.profile_id = ANY (leaves);
	-- "backfill": what follows is corrected, and starts no journey.
	INSERT INTO profile_queue (profile_id, at, cause)
	SELECT DISTINCT p.canonical_id, m.at, 'backfill' FROM profile p WHERE p.profile_id = ANY (leaves);
	INSERT INTO segment_dirty (input, members, cause) VALUES ('event', rb_build(leaves), 'backfill');
	RETURN true;
END
$$;
COMMENT ON FUNCTION cdp._retract_once(text, text, timestamptz, boolean) IS 'an attempt at retract, or CDP01 (see _let_go)';

CREATE FUNCTION cdp.retract(message_id text, reason text, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	attempt	int := 1;
	state	text;
	what	text;
	which	text;
BEGIN
	LOOP
		BEGIN
			RETURN cdp._retract_once(message_id, reason, at, attempt > 20);
		EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		attempt := cdp._let_go(attempt, state, what, which);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.retract(text, text, timestamptz)
	IS 'take an event back everywhere, for ever; false if that was done before';
