
/* 39_purchase_due: the repurchase clock
 *
 * When each profile is expected to buy again: the last order plus the expected
 * gap, of all orders (label ''), of one label ('diapers') and of a set of
 * labels, a category ('@baby').  A label that itself begins with @ has no row
 * of its own.
 *
 * The expected gap is the profile's own median gap between distinct instants,
 * shrunk toward the prior of that label, else of the event (expected_gap in
 * 14).  Priors are medians of the profiles' medians, refreshed by the clock;
 * the rule due(ev) reads the same ones, so row and rule agree.
 *
 * Rows follow the timeline through the lifecycle task: a profile that something
 * happened to has its rows made again, no other row is touched.  On a merge the
 * merged profile's rows go and the survivor's are made again; on an unmerge
 * both profiles' are (their queue rows with cause merge see to it).
 */

CREATE TABLE cdp.repurchase_clock (
	kind			text NOT NULL DEFAULT 'person',
	event			text NOT NULL DEFAULT 'purchase',
	by				text NOT NULL,
	min_orders		int NOT NULL DEFAULT 1,
	max_labels		int NOT NULL DEFAULT 50,
	prior_weight	float8 NOT NULL DEFAULT 2,
	min_profiles	int NOT NULL DEFAULT 5,
	seeded			boolean NOT NULL DEFAULT false,
	PRIMARY KEY (kind, event, by, seeded),
	CONSTRAINT repurchase_clock_by_check CHECK (by IN ('event', 'label', 'label_set')),
	CONSTRAINT repurchase_clock_min_orders_check CHECK (min_orders >= 1),
	CONSTRAINT repurchase_clock_max_labels_check CHECK (max_labels >= 0),
	CONSTRAINT repurchase_clock_prior_weight_check CHECK (prior_weight >= 0 AND prior_weight < 'Infinity'),
	CONSTRAINT repurchase_clock_min_profiles_check CHECK (min_profiles >= 1)
);
COMMENT ON TABLE cdp.repurchase_clock IS 'what purchase_due holds, per kind of profile and event: the event as a whole, each label, each label set; writable, max_labels 0 = nothing; a change reaches a profile when it is next looked at, and all with rebuild(''purchase_due'')';
COMMENT ON COLUMN cdp.repurchase_clock.min_orders IS 'a row from so many orders on';
COMMENT ON COLUMN cdp.repurchase_clock.max_labels IS 'at most so many rows of a profile: those bought last';
COMMENT ON COLUMN cdp.repurchase_clock.prior_weight IS 'how many gaps of a profile''s own the prior counts for';
COMMENT ON COLUMN cdp.repurchase_clock.min_profiles IS 'a prior from so many profiles with a gap on';

INSERT INTO cdp.repurchase_clock (by, seeded) VALUES ('event', true), ('label', true), ('label_set', true);

CREATE TRIGGER repurchase_clock_keep_seeded BEFORE UPDATE OR DELETE ON cdp.repurchase_clock
FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();

CREATE VIEW cdp.repurchase_clock_effective WITH (security_invoker) AS
SELECT DISTINCT ON (c.kind, c.event, c.by) c.kind, c.event, c.by, c.min_orders, c.max_labels, c.prior_weight, c.min_profiles, c.seeded
FROM cdp.repurchase_clock c ORDER BY c.kind, c.event, c.by, c.seeded;
COMMENT ON VIEW cdp.repurchase_clock_effective IS 'the settings that apply: a user''s row overrides the seeded one';

-- Priors know no kinds: an event usually belongs to one.
CREATE FUNCTION cdp._repurchase_settings() RETURNS TABLE (event text, by text, weight float8, min_profiles int)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 3
BEGIN ATOMIC
	SELECT c.event, c.by, max(c.prior_weight), min(c.min_profiles)
	FROM cdp.repurchase_clock_effective c WHERE c.max_labels > 0 GROUP BY c.event, c.by;
END;
COMMENT ON FUNCTION cdp._repurchase_settings() IS 'how priors are worked out';

CREATE FUNCTION cdp._repurchase_by(label text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN label = '' THEN 'event' WHEN left(label, 1) = '@' THEN 'label_set' ELSE 'label' END;
COMMENT ON FUNCTION cdp._repurchase_by(text) IS 'what a label of purchase_due stands for';

CREATE TABLE cdp.repurchase_prior (
	event		text NOT NULL,
	label		text NOT NULL DEFAULT '',
	gap			interval NOT NULL,
	weight		float8 NOT NULL DEFAULT 2,
	profiles	bigint,
	at			timestamptz,
	given		boolean NOT NULL DEFAULT true,
	PRIMARY KEY (event, label),
	CONSTRAINT repurchase_prior_gap_check CHECK (gap >= interval '0'),
	CONSTRAINT repurchase_prior_weight_check CHECK (weight >= 0 AND weight < 'Infinity')
);
COMMENT ON TABLE cdp.repurchase_prior IS 'the gap expected of somebody without a history, per event and label ('''' = the event as a whole, @set = a label set); worked out by the clock; a row of a user (given) stays';
COMMENT ON COLUMN cdp.repurchase_prior.weight IS 'how many gaps of a profile''s own it counts for';
COMMENT ON COLUMN cdp.repurchase_prior.profiles IS 'of how many profiles it is the median';
CREATE TRIGGER repurchase_prior_segments AFTER INSERT OR DELETE ON cdp.repurchase_prior
	FOR EACH ROW EXECUTE FUNCTION cdp._segments_touched('prior', '');
CREATE TRIGGER repurchase_prior_segments_update AFTER UPDATE ON cdp.repurchase_prior
	FOR EACH ROW WHEN ((OLD.gap, OLD.weight) IS DISTINCT FROM (NEW.gap, NEW.weight)) EXECUTE FUNCTION cdp._segments_touched('prior', '');
COMMENT ON COLUMN cdp.repurchase_prior.at IS 'when it was worked out';

CREATE TABLE cdp.purchase_due (
	profile_id		bigint NOT NULL,
	event			text NOT NULL,
	label			text NOT NULL,
	orders			bigint NOT NULL,
	last_at			timestamptz NOT NULL,
	gaps			bigint NOT NULL,
	own_gap			interval,
	dispersion		float8,
	expected_gap	interval,
	due_at			timestamptz,
	confidence		float8 NOT NULL,
	PRIMARY KEY (profile_id, event, label)
);
COMMENT ON TABLE cdp.purchase_due IS 'when each canonical profile is expected to buy again, per event and label ('''' = any, @set = a label set); past = overdue, NULL = nobody knows';
COMMENT ON COLUMN cdp.purchase_due.own_gap IS 'median of its gaps between distinct instants';
COMMENT ON COLUMN cdp.purchase_due.dispersion IS 'mean distance of the gaps from their median, as a share of it';
COMMENT ON COLUMN cdp.purchase_due.expected_gap IS 'own gap, shrunk toward the prior';
COMMENT ON COLUMN cdp.purchase_due.confidence IS '0 … 1: gaps / (gaps + prior weight) / (1 + dispersion)';
-- Partial, so that nobody looks a profile's row up by it.
CREATE INDEX purchase_due_due_at_idx ON cdp.purchase_due (event, label, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE cdp.repurchase_run (
	at		timestamptz PRIMARY KEY,
	priors	bigint NOT NULL,
	changed	bigint NOT NULL
);
COMMENT ON TABLE cdp.repurchase_run IS 'when priors were worked out, how many there are, and how many rows of purchase_due that changed';

-- what the timelines say

CREATE FUNCTION cdp._repurchase_gaps(t cdp.timeline, at timestamptz, event text, by_label boolean, labels text[], sets text[],
	OUT label text, OUT orders bigint, OUT last_at timestamptz, OUT gaps bigint, OUT median_gap interval, OUT dispersion float8)
	RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50 ROWS 5 AS 'MODULE_PATHNAME', 'mcdp__repurchase_gaps';
COMMENT ON FUNCTION cdp._repurchase_gaps(cdp.timeline, timestamptz, text, boolean, text[], text[])
	IS 'gaps of an event up to an instant: of all, of each label, of the sets of labels that two parallel arrays (sorted by set) give';

CREATE FUNCTION cdp._shrink_gap(gaps bigint, median_gap interval, prior interval, prior_weight float8) RETURNS interval
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__shrink_gap';
COMMENT ON FUNCTION cdp._shrink_gap(bigint, interval, interval, float8) IS 'the formula of expected_gap; NULL = nobody knows';

CREATE FUNCTION cdp._labels_of(t cdp.timeline, event text) RETURNS text[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp__labels_of';
COMMENT ON FUNCTION cdp._labels_of(cdp.timeline, text) IS 'the different labels of an event in a timeline';

-- Lengths of days have 24 hours here, so that is how they are added.
CREATE FUNCTION cdp._after_gap(at timestamptz, gap interval) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (at AT TIME ZONE 'UTC' + gap) AT TIME ZONE 'UTC';
COMMENT ON FUNCTION cdp._after_gap(timestamptz, interval) IS 'an instant and a length, whatever the time zone';

CREATE FUNCTION cdp._repurchase_confidence(gaps bigint, dispersion float8, weight float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN gaps = 0 THEN 0 ELSE gaps / (gaps + weight) / (1 + dispersion) END;
COMMENT ON FUNCTION cdp._repurchase_confidence(bigint, float8, float8) IS 'how much an expected gap is worth, 0 … 1: many gaps, and regular ones';

CREATE FUNCTION cdp._purchase_due_of(profiles cdp.bitmap, at timestamptz) RETURNS SETOF cdp.purchase_due
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET jit = off AS $$
BEGIN
	RETURN QUERY
	WITH clock AS MATERIALIZED (
		SELECT c.kind, c.event, min(c.min_orders) FILTER (WHERE c.by = 'event') AS event_min,
			   min(c.min_orders) FILTER (WHERE c.by = 'label') AS label_min, min(c.min_orders) FILTER (WHERE c.by = 'label_set') AS set_min,
			   min(c.max_labels) FILTER (WHERE c.by = 'label') AS max_labels, min(c.max_labels) FILTER (WHERE c.by = 'label_set') AS max_sets
		FROM repurchase_clock_effective c WHERE c.max_labels > 0 GROUP BY c.kind, c.event
	), setting AS MATERIALIZED (
		SELECT s.* FROM _repurchase_settings() s
	), gap AS (
		SELECT t.profile_id, c.event, g.*,
			   row_number() OVER (PARTITION BY t.profile_id, c.event, g.label = '', left(g.label, 1) = '@' ORDER BY g.last_at DESC, g.label COLLATE "C") AS nr, c.max_labels, c.max_sets
		FROM _timelines_of(profiles) t
		JOIN profile p ON p.profile_id = t.profile_id AND p.erased_at IS NULL
		JOIN clock c ON c.kind = p.kind
		CROSS JOIN LATERAL (SELECT coalesce(array_agg(s.label ORDER BY s.name), '{}') AS labels, coalesce(array_agg(s.name ORDER BY s.name), '{}') AS sets
							FROM label_set s WHERE c.set_min IS NOT NULL AND s.label = ANY (_labels_of(t.timeline, c.event))) k
		CROSS JOIN LATERAL _repurchase_gaps(t.timeline, _purchase_due_of.at, c.event, c.label_min IS NOT NULL, k.labels, k.sets) g
		WHERE g.orders >= CASE WHEN g.label = '' THEN c.event_min WHEN left(g.label, 1) = '@' THEN c.set_min ELSE c.label_min END
	)
	SELECT g.profile_id, g.event, g.label, g.orders, g.last_at, g.gaps, g.median_gap, g.dispersion, x.gap, _after_gap(g.last_at, x.gap),
		   _repurchase_confidence(g.gaps, g.dispersion, coalesce(p.weight, p0.weight, s.weight))
	FROM gap g
	JOIN setting s ON s.event = g.event AND s.by = _repurchase_by(g.label)
	LEFT JOIN repurchase_prior p ON p.event = g.event AND p.label = g.label
	LEFT JOIN repurchase_prior p0 ON p0.event = g.event AND p0.label = ''
	CROSS JOIN LATERAL (SELECT _shrink_gap(g.gaps, g.median_gap, coalesce(p.gap, p0.gap), coalesce(p.weight, p0.weight)) AS gap) x
	WHERE g.label = '' OR g.nr <= CASE WHEN left(g.label, 1) = '@' THEN g.max_sets ELSE g.max_labels END;
END
$$;
COMMENT ON FUNCTION cdp._purchase_due_of(cdp.bitmap, timestamptz) IS 'the rows that purchase_due ought to have of these canonical profiles';

-- merged: those of these profiles to which a merge, not an event, may have brought new dates.
CREATE FUNCTION cdp._update_purchase_due(profiles bigint[], at timestamptz, merged bigint[] DEFAULT '{}') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
	changed bigint;
	old_rows purchase_due[];
	new_rows purchase_due[];
BEGIN
	WITH want AS MATERIALIZED (
		SELECT w.* FROM _purchase_due_of(rb_build(profiles), _update_purchase_due.at) w
	), gone AS (
		DELETE FROM purchase_due d
		WHERE d.profile_id = ANY (profiles)
		  AND NOT EXISTS (SELECT FROM want w WHERE w.profile_id = d.profile_id AND w.event = d.event AND w.label = d.label)
		RETURNING 1
	), written AS (
		-- only what differs: a conflict locks the row even when it updates nothing
		INSERT INTO purchase_due AS d
		SELECT w.* FROM want w
		LEFT JOIN purchase_due k ON k.profile_id = w.profile_id AND k.event = w.event AND k.label = w.label
		WHERE k IS DISTINCT FROM w ORDER BY w.profile_id, w.event, w.label
		ON CONFLICT ON CONSTRAINT purchase_due_pkey DO UPDATE SET orders = excluded.orders, last_at = excluded.last_at, gaps = excluded.gaps,
			own_gap = excluded.own_gap, dispersion = excluded.dispersion, expected_gap = excluded.expected_gap, due_at = excluded.due_at,
			confidence = excluded.confidence
		RETURNING d.*
	)
	SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM written), ARRAY(SELECT w::purchase_due FROM written w),
		   ARRAY(SELECT k FROM written w JOIN purchase_due k ON k.profile_id = w.profile_id AND k.event = w.event AND k.label = w.label)
	INTO changed, new_rows, old_rows;
	PERFORM _move_due_triggers(old_rows, new_rows, merged, _update_purchase_due.at);

	-- What has been told in advance comes up when its time has come.
	INSERT INTO profile_queue (profile_id, at, cause)
	SELECT n.profile_id, n.at, 'event'
	FROM (SELECT t.profile_id, first_at(slice(t.timeline, _update_purchase_due.at + interval '1 microsecond', NULL)) AS at
		  FROM _timelines_of(rb_build(profiles)) t WHERE last_at(t.timeline) > _update_purchase_due.at) n
	WHERE NOT EXISTS (SELECT FROM profile_queue q WHERE q.profile_id = n.profile_id AND q.at = n.at AND q.cause = 'event');
	RETURN changed;
END
$$;
COMMENT ON FUNCTION cdp._update_purchase_due(bigint[], timestamptz, bigint[])
	IS 'part of the lifecycle task: make the rows of these profiles what their timelines say';

CREATE FUNCTION cdp._merge_purchase_due(merged bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	DELETE FROM cdp.purchase_due d WHERE d.profile_id = merged;
END
$$;
COMMENT ON FUNCTION cdp._merge_purchase_due(bigint) IS 'part of merge: the merged profile has no rows any more; the lifecycle task makes the survivor''s again';

-- The next tick makes all rows again, but a label may be the words of somebody who is to be
-- forgotten now.  Who has a row in hand may wait for us: that one is left to the tick.
CREATE FUNCTION cdp._forget_due_labels(leaves bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	WITH said AS MATERIALIZED (
		SELECT h.profile_id, timeline_of(h.profile_id) AS timeline
		FROM (SELECT DISTINCT d.profile_id FROM profile p JOIN purchase_due d ON d.profile_id = p.canonical_id
			  WHERE p.profile_id = ANY (leaves) AND d.label <> '') h
	)
	DELETE FROM purchase_due d
	WHERE d.ctid = ANY (ARRAY(
		SELECT o.ctid FROM said s JOIN purchase_due o USING (profile_id)
		WHERE _repurchase_by(o.label) = 'label' AND num_events(s.timeline, o.event, o.label) = 0
		FOR UPDATE OF o SKIP LOCKED));
END
$$;
COMMENT ON FUNCTION cdp._forget_due_labels(bigint[]) IS 'part of erasure: rows of these profiles for labels that their timelines no longer have go at once';

CREATE FUNCTION cdp._rebuild_purchase_due(now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	batch bigint[];
	last_one bigint := 0;
	looked_at bigint := 0;
BEGIN
	PERFORM pg_advisory_xact_lock('lifecycle_change'::regclass::oid::bigint);
	PERFORM _lock_merges();
	DELETE FROM purchase_due d WHERE NOT EXISTS (SELECT FROM profile p WHERE p.profile_id = d.profile_id AND p.canonical_id = p.profile_id);
	LOOP
		WITH next_ones AS (
			SELECT p.profile_id FROM profile p
			WHERE p.profile_id > last_one AND p.canonical_id = p.profile_id
			ORDER BY p.profile_id LIMIT 1000
		)
		SELECT array_agg(n.profile_id ORDER BY n.profile_id), max(n.profile_id) INTO batch, last_one FROM next_ones n;
		EXIT WHEN batch IS NULL;
		PERFORM _update_purchase_due(batch, now, merged => batch);
		looked_at := looked_at + cardinality(batch);
	END LOOP;
	RETURN looked_at;
END
$$;
COMMENT ON FUNCTION cdp._rebuild_purchase_due(timestamptz) IS 'make all rows of purchase_due again, with the priors there are';

-- priors

-- Only this and the lifecycle task change rows, and a merge or an erasure takes them away:
-- nobody is waited for with others in hand, and whose merge fails is looked at later.
CREATE FUNCTION cdp._refresh_repurchase(at timestamptz) RETURNS cdp.repurchase_run
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
DECLARE
	run repurchase_run;
	listens boolean := EXISTS (SELECT FROM journey_listener l WHERE l.source = 'due');
	rows purchase_due[];
BEGIN
	WITH found AS MATERIALIZED (
		SELECT d.event, d.label, percentile_cont(0.5) WITHIN GROUP (ORDER BY d.own_gap) AS gap, count(*) AS n
		FROM purchase_due d WHERE d.own_gap IS NOT NULL GROUP BY d.event, d.label
	), good AS MATERIALIZED (
		SELECT f.event, f.label, f.gap, s.weight, f.n
		FROM found f JOIN _repurchase_settings() s ON s.event = f.event AND s.by = _repurchase_by(f.label)
		WHERE f.n >= s.min_profiles
	), gone AS (
		DELETE FROM repurchase_prior p
		WHERE NOT p.given AND NOT EXISTS (SELECT FROM good g WHERE g.event = p.event AND g.label = p.label)
	)
	INSERT INTO repurchase_prior AS p (event, label, gap, weight, profiles, at, given)
	SELECT g.event, g.label, g.gap, g.weight, g.n, _refresh_repurchase.at, false FROM good g
	ON CONFLICT ON CONSTRAINT repurchase_prior_pkey DO UPDATE SET gap = excluded.gap, weight = excluded.weight, profiles = excluded.profiles, at = excluded.at
	WHERE NOT p.given;

	WITH changed AS MATERIALIZED (
		SELECT n.* FROM (
			SELECT x.profile_id, x.event, x.label, x.last_at, x.expected_gap, x.confidence,
				   _shrink_gap(x.gaps, x.own_gap, coalesce(p.gap, p0.gap), coalesce(p.weight, p0.weight)) AS gap,
				   _repurchase_confidence(x.gaps, x.dispersion, coalesce(p.weight, p0.weight, s.weight)) AS sure
			FROM purchase_due x
			JOIN _repurchase_settings() s ON s.event = x.event AND s.by = _repurchase_by(x.label)
			LEFT JOIN repurchase_prior p ON p.event = x.event AND p.label = x.label
			LEFT JOIN repurchase_prior p0 ON p0.event = x.event AND p0.label = '') n
		WHERE (n.expected_gap, n.confidence) IS DISTINCT FROM (n.gap, n.sure)
	), held AS MATERIALIZED (
		SELECT d.profile_id, d.event, d.label FROM purchase_due d JOIN changed c ON c.profile_id = d.profile_id AND c.event = d.event AND c.label = d.label
		FOR UPDATE OF d SKIP LOCKED
	), written AS (
		UPDATE purchase_due d SET expected_gap = c.gap, due_at = _after_gap(c.last_at, c.gap), confidence = c.sure
		FROM held h JOIN changed c ON c.profile_id = h.profile_id AND c.event = h.event AND c.label = h.label
		WHERE d.profile_id = h.profile_id AND d.event = h.event AND d.label = h.label
		RETURNING d.*
	), busy AS (
		INSERT INTO profile_queue (profile_id, at, cause)
		SELECT DISTINCT c.profile_id, _refresh_repurchase.at, 'backfill' FROM changed c
		WHERE NOT EXISTS (SELECT FROM held h WHERE h.profile_id = c.profile_id AND h.event = c.event AND h.label = c.label)
	)
	SELECT array_agg(w::purchase_due) FILTER (WHERE listens), count(*) INTO rows, run.changed FROM written w;
	PERFORM _move_due_triggers(rows, rows, '{}', _refresh_repurchase.at);
	run.at := at;
	run.priors := (SELECT count(*) FROM repurchase_prior);
	INSERT INTO repurchase_run AS r SELECT run.*
	ON CONFLICT ON CONSTRAINT repurchase_run_pkey DO UPDATE SET priors = excluded.priors, changed = r.changed + excluded.changed;
	RETURN run;
END
$$;
COMMENT ON FUNCTION cdp._refresh_repurchase(timestamptz) IS 'priors: medians of the profiles'' medians; then the rows of purchase_due that they change';

CREATE FUNCTION cdp._refresh_repurchase_once(at timestamptz) RETURNS TABLE (priors bigint, changed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	run repurchase_run;
BEGIN
	IF at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'at must not be null';
	END IF;
	PERFORM pg_advisory_xact_lock('lifecycle_change'::regclass::oid::bigint);
	run := _refresh_repurchase(at);
	priors := run.priors;
	changed := run.changed;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION cdp._refresh_repurchase_once(timestamptz) IS 'an attempt at refresh_repurchase';

CREATE FUNCTION cdp.refresh_repurchase(at timestamptz DEFAULT now()) RETURNS TABLE (priors bigint, changed bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp.refresh_repurchase(timestamptz) IS 'work out the priors of the repurchase clock now, and the rows of purchase_due that they change';

CREATE FUNCTION cdp._repurchase_every() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '7 days';
COMMENT ON FUNCTION cdp._repurchase_every() IS 'the clock works out priors when this has passed since the last time';

CREATE FUNCTION cdp._advance_repurchase(now timestamptz, max_rows int, OUT done bigint, OUT lag interval) RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	last_at timestamptz := (SELECT max(r.at) FROM repurchase_run r);
BEGIN
	done := 0;
	lag := '0';
	IF last_at + _repurchase_every() <= now OR last_at IS NULL AND EXISTS (SELECT FROM purchase_due) THEN
		IF pg_try_advisory_xact_lock('lifecycle_change'::regclass::oid::bigint) THEN
			PERFORM _refresh_repurchase(now);
			done := 1;
		ELSE
			lag := coalesce(now - (last_at + _repurchase_every()), '0');
		END IF;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._advance_repurchase(timestamptz, int) IS 'task: work out the priors of the repurchase clock when their time has come';
