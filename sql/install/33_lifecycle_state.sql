/* 33_lifecycle_state: the stage of every profile, kept by tick
 *
 * A change of stage is recorded at the exact instant it took place, however
 * late the tick that found it.  Each profile has a frontier, known_at: what
 * was recorded up to it stays.  Facts that turn up later and contradict it (a
 * late or backfilled event, a merge, another policy) are recorded as what
 * they are: a lifecycle_correction, or a change with cause merge or policy.
 *
 * The stage, since and due_at in lifecycle_state always follow the timeline
 * as it is known now.
 */

CREATE TABLE cdp.lifecycle_state (
	profile_id	bigint PRIMARY KEY,
	stage		cdp.lifecycle_stage NOT NULL,
	since		timestamptz NOT NULL,
	due_at		timestamptz,
	known_at	timestamptz NOT NULL,
	policy_hash	int NOT NULL
);
COMMENT ON TABLE cdp.lifecycle_state IS 'the present stage of each canonical profile, and when it will change if nothing happens';
COMMENT ON COLUMN cdp.lifecycle_state.since IS 'when the present stage began, by the timeline as known now';
COMMENT ON COLUMN cdp.lifecycle_state.due_at IS 'the next instant at which the stage changes; NULL = not by itself';
COMMENT ON COLUMN cdp.lifecycle_state.known_at IS 'the clock when a change was last recorded: what happens after it is a transition, what turns up before it a correction';
COMMENT ON COLUMN cdp.lifecycle_state.policy_hash IS 'fingerprint of the policy that was applied';
CREATE INDEX lifecycle_state_due_at_idx ON cdp.lifecycle_state (due_at);

CREATE SEQUENCE cdp.tick_no_seq;
COMMENT ON SEQUENCE cdp.tick_no_seq IS 'numbers of ticks';
CREATE TABLE cdp.lifecycle_change (
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	from_stage	cdp.lifecycle_stage,
	to_stage	cdp.lifecycle_stage NOT NULL,
	cause		text NOT NULL,
	tick_no		bigint NOT NULL,
	CONSTRAINT lifecycle_change_cause_check
		CHECK (cause IN ('event', 'tag', 'time', 'backfill', 'merge', 'policy', 'first'))
);
COMMENT ON TABLE cdp.lifecycle_change IS 'every change of stage at the instant it took place';
CREATE INDEX lifecycle_change_profile_id_idx ON cdp.lifecycle_change (profile_id, at);
CREATE INDEX lifecycle_change_tick_no_idx ON cdp.lifecycle_change (tick_no);

CREATE TABLE cdp.lifecycle_correction (
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	was_stage	cdp.lifecycle_stage NOT NULL,
	is_stage	cdp.lifecycle_stage NOT NULL,
	cause		text NOT NULL,
	tick_no		bigint NOT NULL
);
COMMENT ON TABLE cdp.lifecycle_correction IS 'stages that turned out wrong when a late or backfilled event arrived: not transitions';
CREATE INDEX lifecycle_correction_profile_id_idx ON cdp.lifecycle_correction (profile_id, at);

-- stages of profiles

CREATE FUNCTION cdp.lifecycle_at(profile bigint, at timestamptz) RETURNS cdp.lifecycle_stage
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	who record;
BEGIN
	SELECT p.canonical_id, (SELECT min(leaf.first_at) FROM profile leaf WHERE leaf.canonical_id = p.canonical_id) AS first_at, r.rule
	INTO who
	FROM profile p JOIN _lifecycle_policies() r USING (kind)
	WHERE p.profile_id = profile;
	IF NOT FOUND OR at < who.first_at THEN
		RETURN NULL;
	END IF;
	RETURN coalesce(lifecycle(timeline_of(who.canonical_id), at, who.rule), 'potential');
END
$$;
COMMENT ON FUNCTION cdp.lifecycle_at(bigint, timestamptz)
	IS 'the stage of a profile at any instant, from its timeline; NULL before it was first seen';

CREATE FUNCTION cdp.lifecycle_explain(profile bigint, at timestamptz, policy text DEFAULT NULL) RETURNS TABLE (what text, value text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 20 SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	who record;
BEGIN
	SELECT p.canonical_id, p.kind, (SELECT min(leaf.first_at) FROM profile leaf WHERE leaf.canonical_id = p.canonical_id) AS first_at,
		   r.policy, r.rule
	INTO who
	FROM profile p LEFT JOIN _lifecycle_policies() r USING (kind)
	WHERE p.profile_id = profile;
	IF NOT FOUND OR at IS NULL THEN
		RETURN;
	ELSIF lifecycle_explain.policy IS NOT NULL THEN
		who.policy := lifecycle_explain.policy;
		who.rule := _lifecycle_rule(lifecycle_explain.policy);
	END IF;
	RETURN QUERY VALUES ('profile', who.canonical_id::text), ('kind', who.kind), ('first seen', _utc(who.first_at)), ('policy', who.policy);
	IF who.policy IS NOT NULL AND at >= who.first_at THEN
		RETURN QUERY SELECT e.what, e.value FROM _lifecycle_explain(timeline_of(who.canonical_id), at, who.rule) e;
	END IF;
	RETURN QUERY
	SELECT x.what, x.value
	FROM lifecycle_state s CROSS JOIN LATERAL (VALUES ('kept stage', s.stage::text), ('kept since', _utc(s.since)), ('kept until', _utc(s.due_at))) AS x (what, value)
	WHERE s.profile_id = who.canonical_id AND x.value IS NOT NULL;
END
$$;
COMMENT ON FUNCTION cdp.lifecycle_explain(bigint, timestamptz, text)
	IS 'the numbers behind the stage of a profile at an instant, and the stage that is kept; policy NULL = the one that drives it';

CREATE FUNCTION cdp.lifecycle_flow(since timestamptz, until timestamptz)
RETURNS TABLE (from_stage cdp.lifecycle_stage, to_stage cdp.lifecycle_stage, profiles bigint)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
BEGIN
	IF until < since THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'until must not be earlier than since';
	END IF;
	RETURN QUERY
	WITH who AS (
		SELECT p.canonical_id AS profile_id, min(p.first_at) AS first_at
		FROM profile p
		WHERE p.kind = 'person' AND p.erased_at IS NULL
		GROUP BY p.canonical_id
		HAVING min(p.first_at) <= until
	), placed AS (
		SELECT CASE WHEN w.first_at <= since
					THEN coalesce(lifecycle(t.timeline, since, r.rule), 'potential')
			   END AS a,
			   coalesce(lifecycle(t.timeline, until, r.rule), 'potential') AS b
		FROM who w JOIN _lifecycle_policies() r ON r.kind = 'person' LEFT JOIN profile_timeline t USING (profile_id)
	)
	SELECT placed.a, placed.b, count(*) FROM placed GROUP BY placed.a, placed.b ORDER BY placed.a NULLS FIRST, placed.b;
END
$$;
COMMENT ON FUNCTION cdp.lifecycle_flow(timestamptz, timestamptz)
	IS 'how many persons were in which stage at since and until; NULL = not there yet at since';

-- keeping lifecycle_state

-- What one batch of profiles has gone through since it was last looked at, all
-- in one statement.  The arrays run in parallel: canonical profiles with, for
-- each, the earliest instant of a new event, of a backfilled one, and the
-- instant of the latest merge (NULL = none).  The caller has locked the
-- profile rows and is the only one to record changes.  Work is by index,
-- whatever the statistics say, and compiling the query costs more than running it.
CREATE FUNCTION cdp._lifecycle_batch(profiles bigint[], event_at timestamptz[], backfill_at timestamptz[],
	merge_at timestamptz[], now timestamptz, rebuilt boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
	tick bigint := nextval('tick_no_seq');
	last_tick timestamptz := (SELECT t.last_at FROM task_state t WHERE t.task = 'lifecycle' AND t.last_at <= now);
	moved record;
BEGIN
	FOR moved IN
	WITH policy AS MATERIALIZED (
		SELECT * FROM _lifecycle_policies()
	), history AS MATERIALIZED (
		SELECT * FROM _timelines_of(rb_build(profiles))
	), asked AS MATERIALIZED (
		SELECT a.profile_id, p.canonical_id, p.erased_at, a.event_at, a.backfill_at, a.merge_at, t.timeline, r.policy_hash,
			   r.rule,
			   (SELECT min(leaf.first_at) FROM profile leaf WHERE leaf.canonical_id = a.profile_id) AS first_at,
			   s.stage AS kept_stage, s.since AS kept_since, s.due_at AS kept_due, s.known_at AS kept_known,
			   s.policy_hash AS kept_hash,
			   -- without a row but with recorded changes it has come back from a merge
			   -- and with a new policy, what no tick has changed since is known as of the last tick
			   coalesce(s.stage, c.to_stage) AS was,
			   coalesce(CASE WHEN s.policy_hash <> r.policy_hash AND (s.due_at > last_tick) IS NOT FALSE AND coalesce(a.event_at, a.backfill_at, a.merge_at) IS NULL
							 THEN greatest(s.known_at, last_tick) ELSE s.known_at END, c.at) AS known,
			   CASE WHEN s.profile_id IS NULL AND c.to_stage IS NOT NULL OR s.profile_id IS NOT NULL AND a.merge_at IS NOT NULL THEN 'merge'
					WHEN s.policy_hash <> r.policy_hash THEN 'policy'
			   END AS moved_by
		FROM unnest(profiles, event_at, backfill_at, merge_at) AS a (profile_id, event_at, backfill_at, merge_at)
		JOIN profile p ON p.profile_id = a.profile_id
		JOIN policy r ON r.kind = p.kind
		LEFT JOIN lifecycle_state s ON s.profile_id = a.profile_id
		LEFT JOIN LATERAL (SELECT lc.to_stage, lc.at FROM lifecycle_change lc
						   WHERE s.profile_id IS NULL AND lc.profile_id = a.profile_id
						   ORDER BY lc.at DESC, lc.tick_no DESC LIMIT 1) c ON true
		LEFT JOIN history t ON t.profile_id = a.profile_id
	), placed AS MATERIALIZED (
		SELECT a.*,
			   -- look at everything again when something may have changed before "known"
			   CASE WHEN a.was IS NULL THEN a.first_at
					WHEN rebuilt OR a.moved_by IS NOT NULL OR least(a.event_at, a.backfill_at) <= a.known
					THEN least(a.first_at, a.known)
					ELSE a.known
			   END AS walk_from,
			   CASE WHEN a.moved_by = 'policy' THEN now
					WHEN a.moved_by = 'merge' THEN least(greatest(a.merge_at, a.known), now)
			   END AS move_at,
			   coalesce(lifecycle(a.timeline, now, a.rule),
						'potential') AS stage,
			   _lifecycle_next(a.timeline, now, a.rule) AS due_at,
			   CASE WHEN a.was IS NOT NULL THEN
			   coalesce(lifecycle(a.timeline, a.known, a.rule),
						'potential') END AS was_really
		FROM asked a
		WHERE a.canonical_id = a.profile_id AND a.erased_at IS NULL
		  AND a.first_at <= now AND (a.known IS NULL OR a.known <= now)
	), walked AS MATERIALIZED (
		SELECT p.profile_id, h.at, h.from_stage, h.to_stage, h.cause, h.last_order
		FROM placed p, LATERAL lifecycle_history(p.timeline, p.walk_from, now, p.rule) h
	), seen AS MATERIALIZED (
		SELECT p.*,
			   CASE WHEN p.moved_by IS NULL THEN false
					WHEN p.was <> p.was_really THEN true
					-- what changed before the merge goes back to an order of the other one
					WHEN p.moved_by = 'merge' THEN EXISTS (
						SELECT FROM walked w JOIN profile_merge m ON m.survivor = p.profile_id AND m.undone_at IS NULL
						JOIN event e ON e.profile_id = ANY (m.members) AND e.at = w.last_order AND e.at < m.at
						WHERE w.profile_id = p.profile_id AND w.at > p.known AND w.at < p.move_at
						  AND EXISTS (SELECT FROM _event_entries(e.at, e.event, e.source, e.properties) n WHERE n.event = (p.rule).purchase_event))
					ELSE false
			   END AS is_moved,
			   p.moved_by IS NULL AND p.was IS NOT NULL AND p.was <> p.was_really AS is_corrected,
			   coalesce(w.since, CASE WHEN p.walk_from > p.first_at AND p.kept_since IS NOT NULL THEN p.kept_since ELSE p.first_at END) AS since
		FROM placed p LEFT JOIN (SELECT profile_id, max(at) AS since FROM walked GROUP BY profile_id) w USING (profile_id)
	), change AS MATERIALIZED (
		-- a profile not seen before
		SELECT s.profile_id, s.first_at AS at, NULL::lifecycle_stage AS from_stage,
			   coalesce(lifecycle(s.timeline, s.first_at, s.rule),
						'potential') AS to_stage,
			   'first' AS cause
		FROM seen s WHERE s.was IS NULL
		UNION ALL
		-- what a merge or a new policy did at once, unless an event at that very instant did it
		SELECT s.profile_id, s.move_at, s.was, m.to_stage,
			   CASE WHEN EXISTS (SELECT FROM walked w WHERE w.profile_id = s.profile_id AND w.at = s.move_at AND w.cause = 'event')
					THEN 'event' ELSE s.moved_by END
		FROM seen s, LATERAL (SELECT coalesce(lifecycle(s.timeline, s.move_at, s.rule), 'potential') AS to_stage) m
		WHERE s.is_moved AND s.was <> m.to_stage
		UNION ALL
		-- events and time
		SELECT s.profile_id, w.at, w.from_stage, w.to_stage,
			   CASE WHEN s.kept_stage IS NULL AND s.was IS NOT NULL THEN 'merge'
					WHEN (w.cause = 'event' OR s.backfill_at <= w.at AND w.at IS DISTINCT FROM s.kept_due)
						AND coalesce((SELECT bool_and(e.backfill) FROM profile leaf JOIN event e ON e.profile_id = leaf.profile_id
									  WHERE leaf.canonical_id = s.profile_id AND e.at = w.last_order
										AND EXISTS (SELECT FROM _event_entries(e.at, e.event, e.source, e.properties) n WHERE n.event = (s.rule).purchase_event)),
									 -- an order in which it only took part
									 s.backfill_at <= w.last_order AND (s.event_at <= w.last_order) IS NOT TRUE)
					THEN 'backfill'
					-- what kept it from lapsing has been taken back
					WHEN w.cause = 'time' AND s.backfill_at <= w.at AND w.at < s.kept_due THEN 'backfill'
					ELSE w.cause
			   END
		FROM seen s JOIN walked w USING (profile_id)
		WHERE w.at > coalesce(CASE WHEN s.is_moved THEN s.move_at ELSE s.known END, '-infinity')
	), correction AS (
		SELECT s.profile_id, s.known AS at, s.was, s.was_really,
			   CASE WHEN rebuilt THEN 'rebuild' WHEN s.event_at <= s.known THEN 'event'
					WHEN s.backfill_at <= s.known THEN 'backfill' ELSE 'event' END AS cause
		FROM seen s WHERE s.is_corrected
	), write_change AS (
		INSERT INTO lifecycle_change (profile_id, at, from_stage, to_stage, cause, tick_no)
		SELECT c.profile_id, c.at, c.from_stage, c.to_stage, c.cause, tick FROM change c ORDER BY c.profile_id, c.at
	), write_correction AS (
		INSERT INTO lifecycle_correction (profile_id, at, was_stage, is_stage, cause, tick_no)
		SELECT c.profile_id, c.at, c.was, c.was_really, c.cause, tick FROM correction c
	), last_change AS (
		SELECT DISTINCT ON (profile_id) profile_id, cause, to_stage FROM change ORDER BY profile_id, at DESC
	), result AS MATERIALIZED (
		SELECT s.profile_id, s.stage, s.since, s.due_at, s.policy_hash, s.kept_stage, s.merge_at,
			   CASE WHEN l.profile_id IS NULL AND NOT s.is_corrected AND NOT s.is_moved THEN s.known ELSE now END AS known_at,
			   (s.stage, s.since, s.due_at, s.policy_hash) IS DISTINCT FROM (s.kept_stage, s.kept_since, s.kept_due, s.kept_hash)
			   OR l.profile_id IS NOT NULL OR s.is_corrected OR s.is_moved AS is_new,
			   -- somebody whose very first event is an order has entered that stage by an event
			   CASE WHEN s.kept_stage IS NULL AND s.merge_at IS NOT NULL
						 AND EXISTS (SELECT FROM identifier_split x WHERE x.to_profile = s.profile_id) THEN 'merge'
					WHEN l.cause = 'first' AND l.to_stage <> 'potential' AND s.backfill_at IS NULL THEN 'event'
					WHEN l.cause IS NOT NULL THEN l.cause
					WHEN s.is_corrected THEN replace(c.cause, 'rebuild', 'backfill')
					ELSE 'backfill'
			   END AS tag_cause
		FROM seen s LEFT JOIN last_change l USING (profile_id) LEFT JOIN correction c USING (profile_id)
	), write_state AS (
		INSERT INTO lifecycle_state AS s (profile_id, stage, since, due_at, known_at, policy_hash)
		SELECT r.profile_id, r.stage, r.since, r.due_at, r.known_at, r.policy_hash FROM result r WHERE r.is_new ORDER BY r.profile_id
		ON CONFLICT (profile_id) DO UPDATE SET stage = excluded.stage, since = excluded.since, due_at = excluded.due_at,
			known_at = excluded.known_at, policy_hash = excluded.policy_hash
	), tags AS (
		SELECT r.profile_id, 'lifecycle:' || r.stage AS tag, r.tag_cause, true AS present
		FROM result r WHERE r.stage IS DISTINCT FROM r.kept_stage
		UNION ALL
		SELECT r.profile_id, 'lifecycle:' || r.kept_stage, r.tag_cause, false
		FROM result r WHERE r.stage <> r.kept_stage
		UNION ALL
		-- a merge may have brought the tag of another stage along
		SELECT r.profile_id, 'lifecycle:' || other, 'merge', false
		FROM result r, unnest(enum_range(NULL::lifecycle_stage)) other
		WHERE r.merge_at IS NOT NULL AND other NOT IN (r.stage, coalesce(r.kept_stage, r.stage))
	)
	SELECT g.tag_cause AS cause, array_agg(g.tag ORDER BY g.tag COLLATE "C") AS names,
		   array_agg(g.added ORDER BY g.tag COLLATE "C") AS added, array_agg(g.removed ORDER BY g.tag COLLATE "C") AS removed
	FROM (SELECT t.tag_cause, t.tag,
				 rb_build(coalesce(array_agg(t.profile_id) FILTER (WHERE t.present), '{}')) AS added,
				 rb_build(coalesce(array_agg(t.profile_id) FILTER (WHERE NOT t.present), '{}')) AS removed
		  FROM tags t GROUP BY t.tag_cause, t.tag) g
	GROUP BY g.tag_cause ORDER BY g.tag_cause
	LOOP
		PERFORM _change_tags(moved.names, moved.added, moved.removed, now, moved.cause);
	END LOOP;
	-- Journeys hear of the instant at which the stage changed, not of the tick
	-- that found out: a late tick starts the same runs as a punctual one.
	UPDATE journey_trigger t SET at = s.since
	FROM lifecycle_state s
	WHERE t.profile_id = ANY (profiles) AND s.profile_id = t.profile_id AND s.since < now AND t.at = now
	  AND t.source IN ('enters', 'leaves') AND starts_with(t.name, 'lifecycle:');
END
$$;
COMMENT ON FUNCTION cdp._lifecycle_batch(bigint[], timestamptz[], timestamptz[], timestamptz[], timestamptz, boolean)
	IS 'record what profiles went through since they were last looked at: changes, corrections, state, tags';

-- A batch need not be due as a whole: it goes on until enough are.
CREATE FUNCTION cdp._queue_batches(now timestamptz, max_rows int) RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	batch record;
	taken bitmap;
	due bigint := 0;
	n bigint;
BEGIN
	WHILE due < max_rows LOOP
		SELECT b.ctid AS id, b.members INTO batch FROM profile_batch b WHERE b.at <= now ORDER BY b.at LIMIT 1 FOR UPDATE SKIP LOCKED;
		EXIT WHEN NOT FOUND;
		taken := rb_select(batch.members, max_rows);
		WITH queued AS (
			INSERT INTO profile_queue (profile_id, at, cause)
			SELECT p.profile_id, p.first_at, 'first' FROM profile p
			WHERE p.profile_id = ANY (rb_to_array(taken)) AND p.erased_at IS NULL ORDER BY p.profile_id
			RETURNING at
		)
		SELECT count(*) INTO n FROM queued q WHERE q.at <= now;
		due := due + n;
		DELETE FROM profile_batch b WHERE b.ctid = batch.id AND rb_equals(batch.members, taken);
		UPDATE profile_batch b SET members = rb_andnot(b.members, taken) WHERE b.ctid = batch.id;
	END LOOP;
	RETURN due;
END
$$;
COMMENT ON FUNCTION cdp._queue_batches(timestamptz, int) IS 'puts profiles that were made in bulk into profile_queue, until so many of them are due; returns how many';

-- tick_no has to grow in the order of commits, so one transaction at a time
-- records changes; whoever comes second has nothing to do.
CREATE FUNCTION cdp._advance_lifecycle(now timestamptz, max_rows int, OUT done bigint, OUT lag interval) RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
	profiles bigint[];
	event_at timestamptz[];
	backfill_at timestamptz[];
	merge_at timestamptz[];
	oldest timestamptz;
BEGIN
	done := 0;
	IF pg_try_advisory_xact_lock('lifecycle_change'::regclass::oid::bigint) THEN
		PERFORM _queue_batches(now, max_rows);
		-- What waits, oldest first.  A clock that was set back leaves alone what it knows already.
		-- A merge joined the timelines when it was made, even if its "at" is still to come.
		WITH waiting AS (
			(SELECT (SELECT p.canonical_id FROM profile p WHERE p.profile_id = q.profile_id) AS profile_id, q.at
			 FROM profile_queue q
			 WHERE q.at <= now
			   AND (SELECT s.known_at FROM profile p JOIN lifecycle_state s ON s.profile_id = p.canonical_id
					WHERE p.profile_id = q.profile_id) > now IS NOT TRUE
			 ORDER BY q.at LIMIT max_rows)
			UNION ALL
			(SELECT (SELECT p.canonical_id FROM profile p WHERE p.profile_id = q.profile_id), q.at
			 FROM profile_queue q
			 WHERE q.cause = 'merge' AND q.at > now
			   AND (SELECT s.known_at FROM profile p JOIN lifecycle_state s ON s.profile_id = p.canonical_id
					WHERE p.profile_id = q.profile_id) > now IS NOT TRUE
			 ORDER BY q.at LIMIT max_rows)
			UNION ALL
			(SELECT s.profile_id, s.due_at FROM lifecycle_state s WHERE s.due_at <= now ORDER BY s.due_at LIMIT max_rows)
		), first_ones AS (
			SELECT w.profile_id FROM waiting w GROUP BY w.profile_id ORDER BY min(w.at), w.profile_id LIMIT max_rows
		), locked AS (
			-- a profile that is being merged right now can wait
			SELECT p.profile_id FROM profile p WHERE p.profile_id IN (SELECT f.profile_id FROM first_ones f)
			ORDER BY p.profile_id FOR SHARE SKIP LOCKED
		)
		SELECT array_agg(l.profile_id ORDER BY l.profile_id) INTO profiles FROM locked l;

		IF profiles IS NOT NULL THEN
			WITH taken AS (
				DELETE FROM profile_queue WHERE ctid = ANY (ARRAY(
					SELECT q.ctid FROM profile leaf JOIN profile_queue q USING (profile_id)
					WHERE leaf.canonical_id = ANY (profiles) AND (q.at <= now OR q.cause = 'merge')
					FOR UPDATE OF q SKIP LOCKED))
				RETURNING profile_id, at, cause
			), facts AS (
				SELECT leaf.canonical_id AS profile_id,
					   min(t.at) FILTER (WHERE t.cause IN ('event', 'first')) AS event_at,
					   min(t.at) FILTER (WHERE t.cause = 'backfill') AS backfill_at,
					   max(t.at) FILTER (WHERE t.cause = 'merge') AS merge_at
				FROM taken t JOIN profile leaf USING (profile_id)
				GROUP BY leaf.canonical_id
			)
			SELECT array_agg(f.event_at ORDER BY u.n), array_agg(f.backfill_at ORDER BY u.n), array_agg(f.merge_at ORDER BY u.n)
			INTO event_at, backfill_at, merge_at
			FROM unnest(profiles) WITH ORDINALITY u (profile_id, n) LEFT JOIN facts f USING (profile_id);

			PERFORM _lifecycle_batch(profiles, event_at, backfill_at, merge_at, now, false);
			PERFORM _update_purchase_due(m.ids, now, m.merged)
			FROM (SELECT array_agg(u.id ORDER BY u.id) AS ids, coalesce(array_agg(u.id) FILTER (WHERE u.c IS NOT NULL), '{}') AS merged
				  FROM unnest(profiles, event_at, backfill_at, merge_at) AS u (id, a, b, c)
				  WHERE coalesce(u.a, u.b, u.c) IS NOT NULL) m
			WHERE m.ids IS NOT NULL;
			PERFORM _rescore_rfm(m.ids)
			FROM (SELECT rb_build_agg(u.id) AS ids FROM unnest(profiles, merge_at) AS u (id, at) WHERE u.at IS NOT NULL) m
			WHERE m.ids IS NOT NULL;
			-- one that has no stages any more (its kind lost its policy) must not come up again
			UPDATE lifecycle_state s SET due_at = NULL WHERE s.profile_id = ANY (profiles) AND s.due_at <= now;
			done := cardinality(profiles);
		END IF;
	END IF;

	SELECT least((SELECT min(q.at) FROM profile_queue q WHERE q.at <= now),
				 (SELECT min(b.at) FROM profile_batch b WHERE b.at <= now),
				 (SELECT min(s.due_at) FROM lifecycle_state s WHERE s.due_at <= now)) INTO oldest;
	lag := coalesce(now - oldest, '0');
END
$$;
COMMENT ON FUNCTION cdp._advance_lifecycle(timestamptz, int)
	IS 'task: look at profiles that something happened to or whose time has come';

CREATE FUNCTION cdp._merge_lifecycle(survivor bigint, merged bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	was lifecycle_stage;
BEGIN
	DELETE FROM lifecycle_state s WHERE s.profile_id = merged RETURNING s.stage INTO was;
	IF was IS NOT NULL THEN
		PERFORM _tag_changes('lifecycle:' || was, rb_build('{}'), rb_build(ARRAY[merged]), at, 'merge');
	END IF;
	INSERT INTO profile_queue (profile_id, at, cause) VALUES (survivor, at, 'merge');
END
$$;
COMMENT ON FUNCTION cdp._merge_lifecycle(bigint, bigint, timestamptz)
	IS 'part of merge: the merged profile has no stage of its own any more, the survivor is to be looked at';

CREATE FUNCTION cdp._unmerge_lifecycle(was bigint, roots bigint[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF was <> ALL (roots) THEN
		DELETE FROM lifecycle_state s WHERE s.profile_id = was;
		PERFORM _merge_purchase_due(was);
	END IF;
	INSERT INTO profile_queue (profile_id, at, cause)
	SELECT r, _unmerge_lifecycle.at, 'merge' FROM unnest(roots) r ORDER BY r;
END
$$;
COMMENT ON FUNCTION cdp._unmerge_lifecycle(bigint, bigint[], timestamptz)
	IS 'part of unmerge: all of these, one profile until now, are to be looked at';

CREATE FUNCTION cdp._rebuild_lifecycle(now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	batch bigint[];
	nothing timestamptz[];
	last_one bigint := 0;
	looked_at bigint := 0;
	one_stage lifecycle_stage;
	right_ones bitmap;
	tagged_ones bitmap;
BEGIN
	PERFORM pg_advisory_xact_lock('lifecycle_change'::regclass::oid::bigint);
	PERFORM _lock_merges();
	WHILE (_advance_lifecycle(now, 10000)).done > 0 LOOP
	END LOOP;

	DELETE FROM lifecycle_state s
	WHERE NOT EXISTS (SELECT FROM profile p JOIN _lifecycle_policies() r USING (kind)
					  WHERE p.profile_id = s.profile_id AND p.canonical_id = p.profile_id AND p.erased_at IS NULL);
	LOOP
		WITH next_ones AS (
			SELECT p.profile_id FROM profile p
			WHERE p.profile_id > last_one AND p.canonical_id = p.profile_id AND p.erased_at IS NULL
			ORDER BY p.profile_id LIMIT 1000
		)
		SELECT array_agg(n.profile_id ORDER BY n.profile_id), max(n.profile_id) INTO batch, last_one FROM next_ones n;
		EXIT WHEN batch IS NULL;
		nothing := array_fill(NULL::timestamptz, ARRAY[cardinality(batch)]);
		PERFORM _lifecycle_batch(batch, nothing, nothing, nothing, now, true);
		looked_at := looked_at + cardinality(batch);
	END LOOP;

	FOREACH one_stage IN ARRAY enum_range(NULL::lifecycle_stage) LOOP
		SELECT rb_build(coalesce(array_agg(s.profile_id), '{}')) INTO right_ones
		FROM lifecycle_state s WHERE s.stage = one_stage;
		tagged_ones := tagged('lifecycle:' || one_stage);
		PERFORM _tag_changes('lifecycle:' || one_stage, rb_andnot(right_ones, tagged_ones), rb_andnot(tagged_ones, right_ones), now, 'backfill');
	END LOOP;
	RETURN looked_at;
END
$$;
COMMENT ON FUNCTION cdp._rebuild_lifecycle(timestamptz)
	IS 'work out every stage from the timelines again; what turns out different is recorded as a correction';
