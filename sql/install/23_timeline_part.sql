/* 23_timeline_part: the stored timelines
 *
 * A leaf profile's history is kept in parts; a part is closed at about 8,192
 * events and only the last (open) one is ever rewritten.  A canonical
 * timeline is timeline_agg over the parts of all its leaves, plus the few
 * events that are still in event_tail.
 */

CREATE TABLE cdp.timeline_part (
	profile_id	bigint NOT NULL,
	part		int NOT NULL,
	sole		boolean NOT NULL DEFAULT true,		-- before the timeline: a scan need not look behind it
	sealed		boolean NOT NULL DEFAULT false,
	timeline	cdp.timeline NOT NULL,
	PRIMARY KEY (profile_id, part)
);
COMMENT ON TABLE cdp.timeline_part IS 'folded history of leaf profiles, in parts of about 8,192 events';
COMMENT ON COLUMN cdp.timeline_part.sealed IS 'its raw events are gone: no longer derived, rebuild leaves it alone';
COMMENT ON COLUMN cdp.timeline_part.sole IS 'this one part is the whole folded timeline of an unmerged profile: views read it straight';

-- The parts to be put together with others: few, so this stays small.
CREATE INDEX timeline_part_grouped_idx ON cdp.timeline_part (profile_id) WHERE NOT sole;

-- Part 0 of a leaf is also the leaf's lock: whoever adds to a leaf's parts, or
-- changes what "sole" says, first inserts or updates part 0 (leaves in
-- ascending order), and so waits for everybody else who does.  A leaf that was
-- ever merged has a part 0 that is not sole, without events if need be.

CREATE FUNCTION cdp._timeline_part_events() RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 8192;
COMMENT ON FUNCTION cdp._timeline_part_events() IS 'a part with at least this many events is closed';

-- reading

-- In PL/pgSQL so that it is planned once in a session, and so that the queries
-- that call it stay fit for parallel workers (a correlated subquery is not).
-- Starting its plan is dear: it is called only for leaves that have such events.
-- (A caller that wants plans of its own does not mean this one: planning each
-- time takes thirty times as long.)
CREATE FUNCTION cdp._unfolded(leaf bigint) RETURNS cdp.timeline
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = auto AS $$
BEGIN
	RETURN (SELECT cdp.timeline_agg(n.at, n.event, n.label, n.value)
			FROM cdp.event_tail t
			CROSS JOIN LATERAL (SELECT r.at, r.event, r.source, r.properties FROM cdp.event r
								WHERE r.profile_id = t.owner_id AND r.event_id = t.event_id AND r.at = t.at LIMIT 1) e
			CROSS JOIN LATERAL cdp._event_entries(e.at, e.event, e.source, e.properties) n
			WHERE t.profile_id = leaf);
END
$$;
COMMENT ON FUNCTION cdp._unfolded(bigint) IS 'the events of a leaf profile that are not yet folded into its parts; NULL when there are none';

-- The same in three forms: for a scan, for some profiles, for one.

-- A function, so that it is one step for the planner: if it put workers under
-- this small part of profile_timeline, it could put none above the whole.
CREATE FUNCTION cdp._composed_timelines() RETURNS TABLE (profile_id bigint, timeline cdp.timeline)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN QUERY
	SELECT l.canonical_id, cdp.timeline_agg(x.timeline)
	FROM (
		SELECT p.profile_id, p.timeline FROM cdp.timeline_part p
		WHERE p.sole AND p.profile_id IN (SELECT t.profile_id FROM cdp.event_tail t)
		UNION ALL
		SELECT p.profile_id, p.timeline FROM cdp.timeline_part p WHERE NOT p.sole
		UNION ALL
		SELECT t.profile_id, cdp._unfolded(t.profile_id) FROM (SELECT DISTINCT e.profile_id FROM cdp.event_tail e) t
	) AS x
	JOIN cdp.profile l ON l.profile_id = x.profile_id
	GROUP BY l.canonical_id
	HAVING cdp.num_events(cdp.timeline_agg(x.timeline)) > 0;
END
$$;
COMMENT ON FUNCTION cdp._composed_timelines() IS 'the timelines that have to be put together: of several parts or leaves, or with unfolded events';

CREATE VIEW cdp.profile_timeline WITH (security_invoker) AS
SELECT p.profile_id, p.timeline
FROM cdp.timeline_part p
WHERE p.sole AND NOT EXISTS (SELECT FROM cdp.event_tail t WHERE t.profile_id = p.profile_id)
UNION ALL
SELECT c.profile_id, c.timeline FROM cdp._composed_timelines() c;
COMMENT ON VIEW cdp.profile_timeline IS 'the timeline of every canonical profile that has events: all that is committed, folded or not';

CREATE FUNCTION cdp._timelines_of(candidates cdp.bitmap) RETURNS TABLE (profile_id bigint, timeline cdp.timeline)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT l.canonical_id, cdp.timeline_agg(x.timeline)
	FROM cdp.rb_iterate(candidates) AS c (id)
	CROSS JOIN LATERAL (SELECT o.profile_id, o.canonical_id FROM cdp.profile o WHERE o.canonical_id = c.id
						OFFSET 0) AS l		-- by index, however many profiles there are
	CROSS JOIN LATERAL (
		SELECT p.timeline FROM cdp.timeline_part p WHERE p.profile_id = l.profile_id
		UNION ALL
		SELECT cdp._unfolded(t.profile_id)
		FROM (SELECT e.profile_id FROM cdp.event_tail e WHERE e.profile_id = l.profile_id LIMIT 1) t
	) AS x
	GROUP BY l.canonical_id
	HAVING cdp.num_events(cdp.timeline_agg(x.timeline)) > 0;
END;
COMMENT ON FUNCTION cdp._timelines_of(cdp.bitmap) IS 'the timelines of these canonical profiles, as far as they have events; by index, for some of many';

CREATE FUNCTION cdp.timeline_of(profile bigint) RETURNS cdp.timeline
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	canonical bigint;
BEGIN
	SELECT p.canonical_id INTO canonical FROM cdp.profile p WHERE p.profile_id = profile;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	RETURN coalesce((SELECT cdp.timeline_agg(x.timeline)
					 FROM cdp.profile l
					 CROSS JOIN LATERAL (
						SELECT p.timeline FROM cdp.timeline_part p WHERE p.profile_id = l.profile_id
						UNION ALL
						SELECT cdp._unfolded(t.profile_id)
						FROM (SELECT e.profile_id FROM cdp.event_tail e WHERE e.profile_id = l.profile_id LIMIT 1) t
					 ) AS x
					 WHERE l.canonical_id = canonical), '{}');
END
$$;
COMMENT ON FUNCTION cdp.timeline_of(bigint) IS 'the whole timeline of a profile (of a merged one: of its canonical profile), folded or not; NULL when there is no such profile';

-- folding

-- One statement does it all, so that what is taken and what follows from it
-- share one snapshot.  Of a leaf that has a turn all events are taken, the
-- oldest arrival being its lock: journeys are to see them together, in the order
-- of time, however many sessions fold.  (One with more than max_rows has several
-- turns.)  Work is by index and proportional to the rows taken,
-- whatever the statistics say: hence no sequential scans.
CREATE FUNCTION cdp._fold_timelines(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp
SET enable_seqscan = off SET jit = off AS $$
DECLARE
	leaves bigint[];
	timelines cdp.timeline[];
	last_part int;
	is_closed boolean;
	missing cdp.event_tail[];
BEGIN
	WITH head AS MATERIALIZED (
		SELECT w.profile_id, min(w.event_id) AS event_id, count(*) AS num
		FROM (SELECT o.profile_id, o.event_id FROM cdp.event_tail o ORDER BY o.event_id LIMIT 4::bigint * max_rows) w
		GROUP BY w.profile_id
	), leaf AS MATERIALIZED (
		SELECT o.profile_id
		FROM (SELECT h.profile_id, h.event_id FROM head h ORDER BY h.event_id) f
		JOIN cdp.event_tail o ON o.profile_id = f.profile_id AND o.event_id = f.event_id
		LIMIT (SELECT ceil(max_rows * count(*) / sum(h.num)) FROM head h) FOR UPDATE OF o SKIP LOCKED
	), taken AS MATERIALIZED (
		DELETE FROM cdp.event_tail t
		WHERE t.ctid = ANY (ARRAY(SELECT x.ctid FROM leaf l
								  CROSS JOIN LATERAL (SELECT o.ctid FROM cdp.event_tail o WHERE o.profile_id = l.profile_id
													  ORDER BY o.event_id LIMIT max_rows FOR UPDATE SKIP LOCKED) x))
		RETURNING t.profile_id, t.event_id, t.owner_id, t.at
	), entry AS MATERIALIZED (
		SELECT k.profile_id, k.event_id, e.backfill, n.at, n.event, n.label, n.value
		FROM taken k
		CROSS JOIN LATERAL (SELECT r.at, r.event, r.source, r.properties, r.backfill FROM cdp.event r
							WHERE r.profile_id = k.owner_id AND r.event_id = k.event_id AND r.at = k.at LIMIT 1) e
		CROSS JOIN LATERAL cdp._event_entries(e.at, e.event, e.source, e.properties) n
	), piece AS MATERIALIZED (
		SELECT s.profile_id, s.nr / cdp._timeline_part_events() AS piece,
			   cdp.timeline_agg(s.at, s.event, s.label, s.value) AS timeline
		FROM (SELECT n.*, row_number() OVER (PARTITION BY n.profile_id ORDER BY n.at) - 1 AS nr FROM entry n) s
		GROUP BY 1, 2
	), grown AS (
		-- Locks part 0 of every leaf, in order, also where it is closed.
		INSERT INTO cdp.timeline_part AS p (profile_id, part, timeline)
		SELECT s.profile_id, 0, s.timeline FROM piece s WHERE s.piece = 0 ORDER BY s.profile_id
		ON CONFLICT (profile_id, part) DO UPDATE SET timeline = cdp.timeline_merge(p.timeline, excluded.timeline)
			WHERE cdp.num_events(p.timeline) < cdp._timeline_part_events() AND NOT p.sealed
		RETURNING p.profile_id
	), queued AS (
		-- The leaf: whoever takes the row asks for its canonical profile, which
		-- may be another one by then, after a merge or an unmerge.
		INSERT INTO cdp.profile_queue (profile_id, at, cause)
		SELECT n.profile_id, min(n.at), CASE WHEN n.backfill THEN 'backfill' ELSE 'event' END
		FROM entry n
		-- what is told in advance has to be looked at when its time comes
		GROUP BY n.profile_id, n.backfill, CASE WHEN n.at > _fold_timelines.now THEN n.at END
	), touched AS (
		INSERT INTO cdp.segment_dirty (input, members, cause)
		SELECT 'event', cdp.rb_build_agg(n.profile_id), CASE WHEN n.backfill THEN 'backfill' ELSE 'event' END
		FROM entry n
		GROUP BY n.backfill
	), triggered AS (
		INSERT INTO cdp.journey_trigger (source, name, profile_id, at, label, value, event_id)
		SELECT 'event', n.event, n.profile_id, n.at, n.label, n.value, n.event_id
		FROM entry n
		WHERE NOT n.backfill
			AND EXISTS (SELECT FROM cdp.journey_listener l WHERE l.source = 'event' AND l.name IN (n.event, '*'))
		ORDER BY n.at, n.event_id
	)
	SELECT (SELECT count(*) FROM taken),
		   (SELECT array_agg(ROW(k.*)::cdp.event_tail) FROM taken k
			WHERE NOT EXISTS (SELECT FROM entry n WHERE n.profile_id = k.profile_id AND n.event_id = k.event_id)),
		   array_agg(s.profile_id ORDER BY s.profile_id, s.piece), array_agg(s.timeline ORDER BY s.profile_id, s.piece)
	INTO done, missing, leaves, timelines
	FROM piece s
	WHERE s.piece > 0 OR s.profile_id NOT IN (SELECT g.profile_id FROM grown g);

	-- What part 0 did not take goes to the last part, or opens a new one.
	FOR i IN 1 .. coalesce(array_length(leaves, 1), 0) LOOP
		SELECT p.part, p.sealed OR cdp.num_events(p.timeline) >= cdp._timeline_part_events() INTO STRICT last_part, is_closed
		FROM cdp.timeline_part p WHERE p.profile_id = leaves[i] ORDER BY p.part DESC LIMIT 1;
		IF is_closed THEN
			UPDATE cdp.timeline_part p SET sole = false WHERE p.profile_id = leaves[i] AND p.part = 0 AND p.sole;
			INSERT INTO cdp.timeline_part (profile_id, part, timeline, sole)
			VALUES (leaves[i], last_part + 1, timelines[i], false);
		ELSE
			UPDATE cdp.timeline_part p SET timeline = cdp.timeline_merge(p.timeline, timelines[i])
			WHERE p.profile_id = leaves[i] AND p.part = last_part;
		END IF;
	END LOOP;

	-- Another session made a partition so lately that this session's plans do
	-- not know it.  Locking it makes it known, and the next batch finds it.
	IF missing IS NOT NULL THEN
		PERFORM cdp._lock_event_partition(m.month) FROM (SELECT DISTINCT date_trunc('month', t.at, 'UTC') AS month FROM unnest(missing) t) m;
		INSERT INTO cdp.event_tail (profile_id, event_id, owner_id, at)
		SELECT t.profile_id, t.event_id, t.owner_id, t.at FROM unnest(missing) t
		WHERE EXISTS (SELECT FROM cdp.event e WHERE e.profile_id = t.owner_id AND e.event_id = t.event_id AND e.at = t.at);
	END IF;

	SELECT greatest(now - t.at, interval '0') INTO lag FROM cdp.event_tail t ORDER BY t.event_id LIMIT 1;
	lag := coalesce(lag, interval '0');
END
$$;
COMMENT ON FUNCTION cdp._fold_timelines(timestamptz, int) IS 'moves about max_rows events, of whole profiles, oldest arrivals first, from event_tail into timelines, and queues what follows from them; lag is the age of the oldest that is left';

-- The functions of a merge are PL/pgSQL, which keeps its plans.
CREATE FUNCTION cdp._merge_timelines(leaves bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO cdp.timeline_part AS p (profile_id, part, timeline, sole)
	SELECT leaf, 0, '{}', false FROM unnest(leaves) leaf ORDER BY leaf
	ON CONFLICT (profile_id, part) DO UPDATE SET sole = false WHERE p.sole;
END
$$;
COMMENT ON FUNCTION cdp._merge_timelines(bigint[]) IS 'from now on the timelines of these leaves are read together with others';

-- One that is alone again is read straight again.
CREATE FUNCTION cdp._unmerge_timelines(leaves bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	alone bigint[] := ARRAY(SELECT min(p.profile_id) FROM cdp.profile p WHERE p.profile_id = ANY (leaves)
							GROUP BY p.canonical_id HAVING count(*) = 1 ORDER BY 1);
BEGIN
	PERFORM FROM cdp.timeline_part p WHERE p.profile_id = ANY (alone) AND p.part = 0 ORDER BY p.profile_id FOR UPDATE;
	alone := ARRAY(SELECT a FROM unnest(alone) a
				   WHERE NOT EXISTS (SELECT FROM cdp.timeline_part o WHERE o.profile_id = a AND o.part <> 0));
	DELETE FROM cdp.timeline_part p
	WHERE p.profile_id = ANY (alone) AND NOT p.sealed AND cdp.num_events(p.timeline) = 0;
	UPDATE cdp.timeline_part p SET sole = true WHERE p.profile_id = ANY (alone);
END
$$;
COMMENT ON FUNCTION cdp._unmerge_timelines(bigint[]) IS 'from now on the timelines of those of these leaves that stand alone are read alone';

CREATE FUNCTION cdp._rebuild_timelines(only_leaf bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
	rebuilt bigint;
BEGIN
	-- Folding and merging wait; readers go on.  For one leaf the caller holds part 0.
	IF only_leaf IS NULL THEN
		LOCK TABLE cdp.timeline_part IN EXCLUSIVE MODE;		-- nobody has a row locked that he is going to write
	END IF;
	DELETE FROM cdp.timeline_part p WHERE NOT p.sealed AND (only_leaf IS NULL OR p.profile_id = only_leaf);

	INSERT INTO cdp.timeline_part (profile_id, part, timeline, sole)
	-- beside sealed ones; part 0 first
	SELECT s.leaf, CASE WHEN sealed.has_first THEN sealed.last + 1 + s.piece WHEN s.piece > 0 THEN coalesce(sealed.last, 0) + s.piece ELSE 0 END,
		   s.timeline, false
	FROM (
		SELECT n.leaf, n.nr / cdp._timeline_part_events() AS piece,
			   cdp.timeline_agg(n.at, n.event, n.label, n.value) AS timeline
		FROM (
			SELECT l.leaf, n.*, row_number() OVER (PARTITION BY l.leaf ORDER BY n.at, n.event, n.label, n.value) - 1 AS nr
			FROM cdp.event e
			CROSS JOIN LATERAL (SELECT DISTINCT u.leaf FROM unnest(e.profile_id || e.participants) u (leaf)) l
			CROSS JOIN LATERAL cdp._event_entries(e.at, e.event, e.source, e.properties) n
			-- of one leaf by index
			WHERE (only_leaf IS NULL OR e.profile_id = only_leaf OR e.participants @> ARRAY[only_leaf] AND e.participants <> '{}')
				AND (only_leaf IS NULL OR l.leaf = only_leaf)
				AND NOT EXISTS (SELECT FROM cdp.event_tail t WHERE t.profile_id = l.leaf AND t.event_id = e.event_id)
		) n
		GROUP BY 1, 2
	) s
	CROSS JOIN LATERAL (SELECT max(p.part) AS last, bool_or(p.part = 0) AS has_first FROM cdp.timeline_part p WHERE p.profile_id = s.leaf) sealed;
	GET DIAGNOSTICS rebuilt = ROW_COUNT;
	INSERT INTO cdp.segment_dirty (input, cause) VALUES ('event', 'policy');

	INSERT INTO cdp.timeline_part (profile_id, part, timeline, sole)
	SELECT p.profile_id, 0, '{}', false FROM cdp.profile p
	WHERE (only_leaf IS NULL OR p.profile_id = only_leaf)
		AND (p.canonical_id <> p.profile_id
			OR EXISTS (SELECT FROM cdp.profile l WHERE l.canonical_id = p.profile_id AND l.profile_id <> p.profile_id)
			OR EXISTS (SELECT FROM cdp.timeline_part o WHERE o.profile_id = p.profile_id AND o.part > 0))
	ON CONFLICT DO NOTHING;

	UPDATE cdp.timeline_part p SET sole = true
	WHERE p.part = 0 AND (only_leaf IS NULL OR p.profile_id = only_leaf)
		AND NOT EXISTS (SELECT FROM cdp.timeline_part o WHERE o.profile_id = p.profile_id AND o.part <> 0)
		AND NOT EXISTS (SELECT FROM cdp.profile l WHERE l.canonical_id = p.profile_id AND l.profile_id <> p.profile_id)
		AND EXISTS (SELECT FROM cdp.profile l WHERE l.profile_id = p.profile_id AND l.canonical_id = p.profile_id);
	RETURN rebuilt;
END
$$;
COMMENT ON FUNCTION cdp._rebuild_timelines(bigint) IS 'works out all parts that are not sealed, or those of one leaf, from the stored events again; returns how many parts there are now';
