/* 46_erase_begun: what an erased profile's events began for others
 *
 * An event stands in the timelines of its participants, and may have begun runs
 * of theirs: a representative is told about a new lead.  A run's entry holds the
 * label, value and id of the event, its key and log the label, and its messages
 * what they took from the event's properties.  What a label says is up to
 * event_role (it may be a name), and what is left to do in such a run is about
 * somebody who is not there any more.  So the run ends, with outcome "erased",
 * messages that wait are withdrawn, and the rest goes: what stays is that there
 * was such a run, and its numbers.
 *
 * Found by the runs of the participants; of events whose rows are gone
 * (event_retention) nobody can tell any more what they began.
 */

-- The caller holds the profiles and those of participants, and has locked the
-- events (_lock_events), which are still there.
CREATE FUNCTION cdp._erase_begun_runs(leaves bigint[], ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	others	bigint[] := ARRAY(
		SELECT DISTINCT m.profile_id
		FROM event e CROSS JOIN LATERAL unnest(e.participants) u
			JOIN profile p ON p.profile_id = u JOIN profile m ON m.canonical_id = p.canonical_id
		WHERE e.profile_id = ANY (leaves) AND e.event_id = ANY (ids) AND e.participants <> '{}' AND u <> ALL (leaves));
	runs	bigint[];
	active	bigint[];
	ends	timestamptz[];
BEGIN
	SELECT array_agg(s.run_id), array_agg(s.run_id) FILTER (WHERE s.status = 'active'), array_agg(s.arrived_at) FILTER (WHERE s.status = 'active')
	INTO runs, active, ends
	FROM (SELECT j.run_id, j.status, j.arrived_at FROM journey_state j
		  WHERE j.profile_id = ANY (others) AND (j.entry ->> 'event_id')::bigint = ANY (ids) ORDER BY j.run_id FOR UPDATE) s;
	IF runs IS NULL THEN
		RETURN;
	END IF;
	PERFORM _end_runs(active, ends, 'erased', NULL) WHERE active IS NOT NULL;
	DELETE FROM journey_duplicate d WHERE d.run_id = ANY (runs);
	UPDATE journey_state s SET entry = s.entry - '{label,value,event_id}'::text[], label = NULL, key = ''
	WHERE s.run_id = ANY (runs);
	UPDATE journey_log l SET detail = NULL WHERE l.run_id = ANY (runs) AND l.what = 'entered';
	PERFORM FROM outbox o WHERE o.profile_id = ANY (others) AND o.run_id = ANY (runs) ORDER BY o.id FOR UPDATE;
	WITH emptied AS (
		UPDATE outbox o SET params = '{}', status = CASE o.status WHEN 'pending' THEN 'expired' ELSE o.status END
		WHERE o.profile_id = ANY (others) AND o.run_id = ANY (runs)
		RETURNING o.id, o.status
	)
	INSERT INTO delivery (outbox_id, at, status, detail)
	SELECT o.id, o.due_at, 'expired', 'erased' FROM emptied e JOIN outbox o ON o.id = e.id WHERE o.status = 'pending' ORDER BY o.id;
END
$$;
COMMENT ON FUNCTION cdp._erase_begun_runs(bigint[], bigint[]) IS 'ends runs of others that events of these leaves have begun, and empties what they say';

-- A message of somebody who was parted from this profile (unmerge, split) may
-- have gone to its address.
CREATE FUNCTION cdp._erase_addresses(leaves bigint[], ids cdp.identifier[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	others	bigint[] := ARRAY(
		SELECT x FROM profile_merge m CROSS JOIN LATERAL unnest(ARRAY[m.leaf_a, m.leaf_b, m.survivor, m.merged] || m.members) x
		WHERE m.undone_at IS NOT NULL AND (m.leaf_a = ANY (leaves) OR m.leaf_b = ANY (leaves) OR m.survivor = ANY (leaves) OR m.merged = ANY (leaves))
		UNION
		SELECT x FROM identifier_split s CROSS JOIN LATERAL unnest(ARRAY[s.from_profile, s.to_profile]) x
		WHERE s.from_profile = ANY (leaves) OR s.to_profile = ANY (leaves));
BEGIN
	PERFORM FROM outbox o WHERE o.profile_id = ANY (others) AND o.profile_id <> ALL (leaves) ORDER BY o.id FOR UPDATE;
	UPDATE outbox o SET address = NULL
	WHERE o.profile_id = ANY (others) AND o.profile_id <> ALL (leaves) AND lower(o.address) = ANY (_identifier_values(ids)) AND o.status <> 'pending';
END
$$;
COMMENT ON FUNCTION cdp._erase_addresses(bigint[], cdp.identifier[]) IS 'takes addresses of these leaves out of messages of profiles that they were parted from';
