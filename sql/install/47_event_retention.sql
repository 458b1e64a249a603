/* 47_event_retention: how long events stay as they were told
 *
 * Of an event two things are kept: its row, with all properties and the
 * context, and its entries in timelines: name, time, label, value.  A period
 * in event_retention is about the row.  The entries stay; those whose row is
 * gone are moved to sealed parts of the timeline, which are truth from then
 * on: rebuild leaves them alone.
 *
 * A period is over for a whole month at once: when the month's last instant is
 * older than it.  So a partition is gone through once for each different
 * period, by profile, a batch at a time; rows go, and when none is left the
 * partition does.  It is gone through again when rows have been added to it
 * since, or a period or the meaning of an event was changed.
 *
 * Locks: part 0 of the timelines, ascending, as folding does; rows of event,
 * but those that somebody is at, who are taken next time.  Dropping takes
 * table event for itself, for an instant, and gives up rather than wait.
 */

CREATE TABLE cdp.event_retention (
	event	text PRIMARY KEY,
	keep	interval NOT NULL,
	CONSTRAINT event_retention_keep_check CHECK (keep > interval '0')
);
COMMENT ON TABLE cdp.event_retention IS 'how long the rows of an event are kept, under its own name or that in timelines; * = all others; no row = for ever; writable';
COMMENT ON COLUMN cdp.event_retention.keep IS 'a length: a month counts 30 days; rows go when their whole month (UTC) is older';

CREATE TABLE cdp.event_retention_state (
	partition		text PRIMARY KEY,
	after_profile	bigint,
	period			double precision NOT NULL,
	inserted		bigint NOT NULL,
	settings		bigint NOT NULL,
	begun_at		timestamptz NOT NULL,
	complete		boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE cdp.event_retention_state IS 'how far the rows of each partition of table event are gone through';
COMMENT ON COLUMN cdp.event_retention_state.after_profile IS 'profiles up to this one are done; NULL: all are';
COMMENT ON COLUMN cdp.event_retention_state.period IS 'the longest period that is over for this month, in seconds';
COMMENT ON COLUMN cdp.event_retention_state.inserted IS 'rows ever added to the partition, by the statistics, when this pass began';
COMMENT ON COLUMN cdp.event_retention_state.settings IS 'a hash of event_retention and event_role then';
COMMENT ON COLUMN cdp.event_retention_state.begun_at IS 'the "now" at which this pass began';
COMMENT ON COLUMN cdp.event_retention_state.complete IS 'false: some rows could not be taken in this pass';

CREATE FUNCTION cdp._keep_seconds(raw_event text, raw_source text) RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT cdp._seconds(r.keep)
	FROM cdp.event_retention r
	LEFT JOIN LATERAL (SELECT o.as_event FROM cdp.event_role o WHERE o.event = raw_event AND (o.source = '*' OR o.source = raw_source)
					   ORDER BY o.source = '*', o.seeded LIMIT 1) m ON true
	WHERE r.event = raw_event OR r.event = '*' OR r.event = m.as_event
	ORDER BY r.event = '*', r.event <> raw_event LIMIT 1;
END;
COMMENT ON FUNCTION cdp._keep_seconds(text, text) IS 'how long rows of an event are kept; NULL = for ever';

CREATE FUNCTION cdp._retention_settings() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT hashtextextended(coalesce((SELECT string_agg(r::text, E'\n' ORDER BY r.event) FROM cdp.event_retention r), '')
		|| coalesce((SELECT string_agg(format('%s %s %s', o.event, o.source, o.as_event), E'\n' ORDER BY o.event, o.source) FROM cdp.event_role o WHERE NOT o.seeded), ''), 0);
END;
COMMENT ON FUNCTION cdp._retention_settings() IS 'a number that changes with event_retention and event_role';

-- The caller holds part 0, unless there is none.
CREATE FUNCTION cdp._seal_entries(leaf bigint, entries cdp.timeline) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	target	int;
BEGIN
	IF NOT _take_entries(leaf, entries) THEN
		-- event_role has changed since they were folded
		PERFORM _rebuild_timelines(leaf);
		PERFORM _take_entries(leaf, entries);
	END IF;
	SELECT p.part INTO target FROM timeline_part p
	WHERE p.profile_id = leaf AND (p.sealed AND num_events(p.timeline) < _timeline_part_events() OR num_events(p.timeline) = 0)
	ORDER BY p.sealed DESC, p.part LIMIT 1;
	IF target IS NULL THEN
		SELECT coalesce(max(p.part) + 1, 0) INTO target FROM timeline_part p WHERE p.profile_id = leaf;
	END IF;
	INSERT INTO timeline_part AS p (profile_id, part, timeline, sealed, sole)
	VALUES (leaf, target, entries, true, false)
	ON CONFLICT (profile_id, part) DO UPDATE SET timeline = timeline_merge(p.timeline, excluded.timeline), sealed = true;

	-- What is empty goes, and part 0 is used before others.
	DELETE FROM timeline_part p WHERE p.profile_id = leaf AND p.part <> 0 AND num_events(p.timeline) = 0;
	IF EXISTS (SELECT FROM timeline_part p WHERE p.profile_id = leaf AND p.part = 0 AND num_events(p.timeline) = 0) THEN
		WITH first AS (
			DELETE FROM timeline_part p
			WHERE p.profile_id = leaf AND p.part = (SELECT min(o.part) FROM timeline_part o WHERE o.profile_id = leaf AND o.part <> 0)
			RETURNING p.timeline, p.sealed
		)
		UPDATE timeline_part p SET timeline = f.timeline, sealed = f.sealed FROM first f WHERE p.profile_id = leaf AND p.part = 0;
	END IF;
	UPDATE timeline_part p SET sole = n.sole
	FROM (SELECT count(*) = 1 AND (SELECT count(*) = 1 AND min(l.profile_id) = leaf FROM profile m JOIN profile l ON l.canonical_id = m.canonical_id
								   WHERE m.profile_id = leaf) AS sole
		  FROM timeline_part o WHERE o.profile_id = leaf) n
	WHERE p.profile_id = leaf AND p.part = 0 AND p.sole <> n.sole;
END
$$;
COMMENT ON FUNCTION cdp._seal_entries(bigint, cdp.timeline) IS 'moves entries of a leaf''s timeline to its sealed part';

-- Part 0 of everybody concerned is locked before any row is; what has not yet
-- reached all its timelines stays for the next time.
CREATE FUNCTION cdp._retire_rows(partition text, period double precision, profiles bigint[], OUT removed bigint, OUT missed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
DECLARE
	due			bigint[];		-- ids of events
	owners		bigint[];
	taken		bigint[];
	concerned	bigint[];
	leaf		record;
BEGIN
	EXECUTE format($query$
		WITH row AS MATERIALIZED (
			SELECT e.event_id, e.profile_id, e.participants, e.event, e.source FROM cdp.%1$I e WHERE e.profile_id = ANY ($1)
		), kept AS MATERIALIZED (
			SELECT k.event, k.source, cdp._keep_seconds(k.event, k.source) AS keep FROM (SELECT DISTINCT r.event, r.source FROM row r) k
		)
		SELECT array_agg(r.event_id ORDER BY r.profile_id, r.event_id), array_agg(r.profile_id ORDER BY r.profile_id, r.event_id),
			ARRAY(SELECT DISTINCT u FROM row w JOIN kept x ON x.event = w.event AND x.source IS NOT DISTINCT FROM w.source,
				  unnest(w.profile_id || w.participants) u WHERE x.keep <= $2 ORDER BY u)
		FROM row r JOIN kept k ON k.event = r.event AND k.source IS NOT DISTINCT FROM r.source
		WHERE k.keep <= $2$query$, partition) INTO due, owners, concerned USING profiles, period;
	removed := 0; missed := 0;
	IF due IS NULL THEN
		RETURN;
	END IF;
	PERFORM FROM timeline_part p WHERE p.profile_id = ANY (concerned) AND p.part = 0 ORDER BY p.profile_id FOR UPDATE;
	EXECUTE format($query$
		SELECT array_agg(x.event_id) FROM (
			SELECT e.event_id FROM unnest($1, $2) d (event_id, profile_id) JOIN cdp.%1$I e ON e.profile_id = d.profile_id AND e.event_id = d.event_id
			WHERE e.profile_id || e.participants <@ $3
			  AND NOT EXISTS (SELECT FROM cdp.event_tail t WHERE t.event_id = d.event_id)
			FOR UPDATE OF e SKIP LOCKED) x$query$, partition) INTO taken USING due, owners, concerned;
	FOR leaf IN EXECUTE format($query$
		SELECT l.id, cdp.timeline_agg(n.at, n.event, n.label, n.value) AS entries
		FROM cdp.%1$I e
		CROSS JOIN LATERAL (SELECT DISTINCT u AS id FROM unnest(e.profile_id || e.participants) u) l
		CROSS JOIN LATERAL cdp._event_entries(e.at, e.event, e.source, e.properties) n
		WHERE e.profile_id = ANY ($1) AND e.event_id = ANY ($2)
		GROUP BY l.id ORDER BY l.id$query$, partition) USING profiles, taken
	LOOP
		-- a participant who was erased has no timeline any more
		CONTINUE WHEN NOT EXISTS (SELECT FROM profile p WHERE p.profile_id = leaf.id);
		PERFORM _seal_entries(leaf.id, leaf.entries);
	END LOOP;
	EXECUTE format('DELETE FROM cdp.%I e WHERE e.profile_id = ANY ($1) AND e.event_id = ANY ($2)', partition) USING profiles, taken;
	GET DIAGNOSTICS removed = ROW_COUNT;
	missed := cardinality(due) - removed;
END
$$;
COMMENT ON FUNCTION cdp._retire_rows(text, double precision, bigint[], OUT bigint, OUT bigint)
	IS 'removes those rows of some profiles whose period is over, after their entries are sealed; missed: how many somebody is at';

-- False when somebody would have to be waited for, or a row is there.
CREATE FUNCTION cdp._drop_event_partition(partition text) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, cdp, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
	has_rows boolean;
BEGIN
	IF partition !~ '^event_[0-9]{4}_[0-9]{2}$'
		OR NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
					   WHERE i.inhparent = 'cdp.event'::regclass AND c.relname = partition AND c.relnamespace = 'cdp'::regnamespace) THEN
		RETURN false;
	END IF;
	LOCK TABLE cdp.event IN ACCESS EXCLUSIVE MODE;
	EXECUTE format('SELECT EXISTS (SELECT FROM cdp.%I)', partition) INTO has_rows;
	IF has_rows THEN
		RETURN false;
	END IF;
	EXECUTE format('DROP TABLE cdp.%I', partition);
	RETURN true;
EXCEPTION WHEN lock_not_available THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION cdp._drop_event_partition(text) IS 'drops a partition of table event that is empty, with the owner''s rights, since only he may; false if it is not, or in use';

CREATE FUNCTION cdp._retire_events(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	hash		bigint;
	p			record;
	s			event_retention_state;
	profiles	bigint[];
	batch		record;
	is_empty	boolean;
BEGIN
	done := 0;
	lag := '0';
	IF NOT EXISTS (SELECT FROM event_retention) OR NOT pg_try_advisory_xact_lock('event_retention'::regclass::oid::bigint) THEN
		RETURN;
	END IF;
	hash := _retention_settings();
	FOR p IN
		SELECT c.relname AS name, c.ends_at, max(x.keep) AS period, min(c.ends_at + make_interval(secs => x.keep)) AS due_at,
			pg_stat_get_tuples_inserted(c.oid) AS inserted
		FROM (SELECT k.oid, k.relname::text, (to_date(substr(k.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' AS ends_at
			  FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid
			  WHERE i.inhparent = 'cdp.event'::regclass AND k.relname ~ '^event_[0-9]{4}_[0-9]{2}$') c
			JOIN (SELECT DISTINCT _seconds(r.keep) AS keep FROM event_retention r) x ON c.ends_at + make_interval(secs => x.keep) <= _retire_events.now
		GROUP BY c.oid, c.relname, c.ends_at ORDER BY c.ends_at
	LOOP
		SELECT r.* INTO s FROM event_retention_state r WHERE r.partition = p.name;
		IF s.after_profile IS NULL OR s.period < p.period OR s.settings <> hash THEN
			-- Is there need for another pass?  One that left rows is not begun again at once.
			CONTINUE WHEN s.period >= p.period AND s.settings = hash AND s.inserted = p.inserted AND (s.complete OR s.begun_at >= _retire_events.now);
			INSERT INTO event_retention_state AS r (partition, after_profile, period, inserted, settings, begun_at)
			VALUES (p.name, 0, p.period, p.inserted, hash, _retire_events.now)
			ON CONFLICT (partition) DO UPDATE SET after_profile = 0, period = excluded.period, inserted = excluded.inserted, settings = excluded.settings,
				begun_at = excluded.begun_at, complete = true
			RETURNING r.* INTO s;
		END IF;
		EXECUTE format('SELECT array_agg(DISTINCT x.profile_id) FROM (SELECT e.profile_id FROM cdp.%I e WHERE e.profile_id > $1 ORDER BY e.profile_id LIMIT $2) x', p.name)
		INTO profiles USING s.after_profile, max_rows;
		IF profiles IS NOT NULL THEN
			SELECT * INTO batch FROM _retire_rows(p.name, p.period, profiles);
			UPDATE event_retention_state r SET after_profile = (SELECT max(u) FROM unnest(profiles) u), complete = r.complete AND batch.missed = 0
			WHERE r.partition = p.name;
			done := cardinality(profiles);
		ELSE
			UPDATE event_retention_state r SET after_profile = NULL WHERE r.partition = p.name;
			done := 1;
			EXECUTE format('SELECT NOT EXISTS (SELECT FROM cdp.%I)', p.name) INTO is_empty;
			IF is_empty AND _drop_event_partition(p.name) THEN
				DELETE FROM event_retention_state r WHERE r.partition = p.name;
			ELSIF is_empty THEN
				UPDATE event_retention_state r SET complete = false WHERE r.partition = p.name;
			END IF;
		END IF;
		lag := _retire_events.now - p.due_at;
		RETURN;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._retire_events(timestamptz, int) IS 'task: a batch of profiles whose events are old enough; done counts profiles and finished partitions';
