/* 25_split: identifiers leave their profile
 *
 * The identifiers get a new leaf, and the events that came by them (via) go
 * with them: the one case in which event.profile_id is rewritten, as long as
 * the raw events are there.  In sealed parts of a timeline they cannot be told
 * from others, so these stay.  Runs that these events have begun go with them,
 * and so do the events of their messages.  Tags, traits, other runs, consent,
 * relations and participants of events name no identifier: they stay, too.
 * Events that are being written meanwhile follow later (46_split_settle).
 *
 * Locks: the leaves, the identifiers and those whose link says that they were named
 * together with one of them, their profile (_try_identities); rows of event_tail, then
 * part 0 of the timelines.  _stitch_try looks again at identifiers that were
 * ever split once it holds their profile.
 */

CREATE SEQUENCE cdp.split_id_seq;
COMMENT ON SEQUENCE cdp.split_id_seq IS 'ids of splits';
CREATE TABLE cdp.identifier_split (
	identifier		cdp.identifier NOT NULL,
	split_id		bigint NOT NULL,
	at				timestamptz NOT NULL,
	from_profile	bigint NOT NULL,
	to_profile		bigint NOT NULL,
	reason			text,
	PRIMARY KEY (identifier, split_id)
);
COMMENT ON TABLE cdp.identifier_split IS 'every identifier that a split took from one leaf profile to another';
CREATE INDEX identifier_split_from_profile_idx ON cdp.identifier_split (from_profile);
CREATE INDEX identifier_split_to_profile_idx ON cdp.identifier_split (to_profile);

-- see 46_split_settle
CREATE TABLE cdp.split_pending (
	from_profile	bigint,
	split_id		bigint,
	at				timestamptz NOT NULL,
	passes			int NOT NULL DEFAULT 0,
	next_xid		xid8,
	PRIMARY KEY (from_profile, split_id)
);
COMMENT ON TABLE cdp.split_pending IS 'leaves that lost identifiers to a split, for which a statement under way may still write events; work rows, not dumped';
COMMENT ON COLUMN cdp.split_pending.next_xid IS 'the next pass is when all transactions before this one are over';

-- Takes entries out of the open parts of a leaf's timeline; false if they are
-- not all there: event_role has changed since they were folded.
CREATE FUNCTION cdp._take_entries(leaf bigint, entries cdp.timeline) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	missing bigint;
BEGIN
	WITH entry AS MATERIALIZED (
		SELECT e.*, row_number() OVER (PARTITION BY e.at, e.event, e.label, e.value) AS copy FROM timeline_events(entries) e
	), present AS MATERIALIZED (
		SELECT p.part, e.*, row_number() OVER (PARTITION BY e.at, e.event, e.label, e.value ORDER BY p.part) AS copy
		FROM timeline_part p CROSS JOIN LATERAL timeline_events(p.timeline) e
		WHERE p.profile_id = leaf AND NOT p.sealed
		  -- of a store's thousands of parts, a few
		  AND EXISTS (SELECT FROM entry e WHERE e.at BETWEEN first_at(p.timeline) AND last_at(p.timeline))
	), verdict AS MATERIALIZED (
		SELECT p.*, e.at IS NOT NULL AS goes
		FROM present p LEFT JOIN entry e
			ON e.at = p.at AND e.event = p.event AND e.copy = p.copy
				AND (e.label, e.value) IS NOT DISTINCT FROM (p.label, p.value)
	), rest AS (
		SELECT v.part, timeline_agg(v.at, v.event, v.label, v.value) FILTER (WHERE NOT v.goes) AS timeline
		FROM verdict v GROUP BY v.part HAVING bool_or(v.goes)
	), written AS (
		UPDATE timeline_part p SET timeline = coalesce(r.timeline, '{}')
		FROM rest r WHERE p.profile_id = leaf AND p.part = r.part
	)
	SELECT num_events(entries) - count(*) FILTER (WHERE v.goes) INTO missing FROM verdict v;
	DELETE FROM timeline_part p WHERE p.profile_id = leaf AND p.sole AND num_events(p.timeline) = 0;
	RETURN missing = 0;
END
$$;
COMMENT ON FUNCTION cdp._take_entries(bigint, cdp.timeline) IS 'takes entries out of the open parts of a timeline; false if some are not there';

-- The caller holds the profiles.
CREATE FUNCTION cdp._move_events(leaf bigint, to_leaf bigint, by cdp.identifier[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	ids		bigint[];
	runs	bigint[];
	took_part	bigint[];		-- of these in which the leaf took part as well
	folded	timeline;
	gone	timeline;
	pieces	timeline[];
BEGIN
	runs := _split_runs(leaf, to_leaf, ARRAY(SELECT e.event_id FROM event e WHERE e.profile_id = leaf AND e.via = ANY (by)));
	WITH moved AS (
		UPDATE event e SET profile_id = to_leaf
		WHERE e.profile_id = leaf AND (e.via = ANY (by) OR runs <> '{}' AND e.source = 'journey' AND e.properties ->> 'run_id' = ANY (runs::text[]))
		RETURNING e.event_id, e.message_id
	), known AS (
		UPDATE event_message m SET profile_id = to_leaf FROM moved v WHERE m.message_id = v.message_id
	)
	SELECT array_agg(v.event_id ORDER BY v.event_id) INTO ids FROM moved v;
	IF ids IS NULL THEN
		RETURN 0;
	END IF;

	-- Folds of these events are waited for, then all folds of this leaf.
	PERFORM FROM event_tail t WHERE t.event_id = ANY (ids) ORDER BY t.event_id, t.profile_id FOR UPDATE;
	took_part := ARRAY(SELECT e.event_id FROM event e WHERE e.profile_id = to_leaf AND e.event_id = ANY (ids) AND e.participants @> ARRAY[leaf] AND e.participants <> '{}');
	UPDATE event_tail t SET owner_id = to_leaf, profile_id = CASE WHEN t.profile_id = leaf AND t.event_id <> ALL (took_part) THEN to_leaf ELSE t.profile_id END
	WHERE t.event_id = ANY (ids);
	INSERT INTO event_tail (profile_id, event_id, owner_id, at)
	SELECT to_leaf, t.event_id, to_leaf, t.at FROM event_tail t WHERE t.profile_id = leaf AND t.event_id = ANY (took_part) ORDER BY t.event_id;
	UPDATE journey_trigger t SET profile_id = to_leaf WHERE t.profile_id = leaf AND t.event_id = ANY (ids);
	PERFORM FROM timeline_part p WHERE p.profile_id = leaf AND p.part = 0 FOR UPDATE;

	SELECT timeline_agg(n.at, n.event, n.label, n.value), timeline_agg(n.at, n.event, n.label, n.value) FILTER (WHERE e.event_id <> ALL (took_part)) INTO folded, gone
	FROM event e CROSS JOIN LATERAL _event_entries(e.at, e.event, e.source, e.properties) n
	WHERE e.profile_id = to_leaf AND e.event_id = ANY (ids)
	  AND NOT EXISTS (SELECT FROM event_tail t WHERE t.profile_id = to_leaf AND t.event_id = e.event_id);
	IF folded IS NOT NULL THEN
		IF num_events(gone) > 0 AND NOT _take_entries(leaf, gone) THEN
			PERFORM _rebuild_timelines(leaf);
		END IF;
		SELECT array_agg(p.timeline ORDER BY p.piece) INTO pieces
		FROM (SELECT s.nr / _timeline_part_events() AS piece, timeline_agg(s.at, s.event, s.label, s.value) AS timeline
			  FROM (SELECT e.*, row_number() OVER (ORDER BY e.at, e.event, e.label, e.value) - 1 AS nr FROM timeline_events(folded) e) s
			  GROUP BY 1) p;
		INSERT INTO timeline_part (profile_id, part, timeline, sole)
		SELECT to_leaf, coalesce((SELECT max(p.part) FROM timeline_part p WHERE p.profile_id = to_leaf), -1) + u.n, u.timeline, false
		FROM unnest(pieces) WITH ORDINALITY u (timeline, n);
		UPDATE timeline_part p SET sole = NOT EXISTS (SELECT FROM timeline_part o WHERE o.profile_id = to_leaf AND o.part <> 0)
		WHERE p.profile_id = to_leaf AND p.part = 0;
	END IF;
	RETURN cardinality(ids);
END
$$;
COMMENT ON FUNCTION cdp._move_events(bigint, bigint, cdp.identifier[]) IS 'gives the events of a leaf that came by these identifiers to another leaf; returns how many';

-- Identifiers that stay together although what linked them has left get an
-- edge.
CREATE FUNCTION cdp._bind_together(leaves bigint[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO extra_edge AS e (a, b, at, cause)
	SELECT (min(min(c.node)) OVER ())::identifier, min(c.node)::identifier, _bind_together.at, 'split'
	FROM (SELECT k.node COLLATE "C" AS node, k.component FROM connected_components(format($query$
			WITH mine AS (SELECT l.identifier, l.profile_id, l.peer FROM cdp.identifier_link l WHERE l.profile_id = ANY (%1$L))
			SELECT e.a::text, e.b::text
			FROM mine m JOIN cdp.extra_edge e ON e.a OPERATOR(cdp.=) m.identifier AND e.inactive_at IS NULL
			WHERE e.b IN (SELECT o.identifier FROM mine o)
			UNION ALL
			SELECT m.identifier::text, m.peer::text FROM mine m WHERE m.peer IS NOT NULL
			UNION ALL
			-- merges by hand link profiles, whatever identifiers these have
			SELECT min(m.identifier)::text, ' ' || m.profile_id FROM mine m GROUP BY m.profile_id
			UNION ALL
			SELECT ' ' || x.leaf_a, ' ' || x.leaf_b FROM cdp.profile_merge x
			WHERE x.leaf_a = ANY (%1$L) AND x.cause = 'manual' AND x.undone_at IS NULL
			UNION ALL
			SELECT m.identifier::text, m.identifier::text FROM mine m$query$, leaves)) k
		  WHERE NOT starts_with(k.node, ' ')) c
	GROUP BY c.component
	ORDER BY min(c.node) OFFSET 1
	ON CONFLICT ON CONSTRAINT extra_edge_pkey
	DO UPDATE SET at = excluded.at, source = NULL, message_id = NULL, cause = 'split', inactive_at = NULL;
END
$$;
COMMENT ON FUNCTION cdp._bind_together(bigint[], timestamptz) IS 'the identifiers of these leaves are of one profile: a split said so';

CREATE FUNCTION cdp._split_once(identifiers cdp.identifier[], reason text, at timestamptz, wait boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	ids			identifier[] := ARRAY(SELECT DISTINCT i FROM unnest(identifiers) i ORDER BY i);
	sources		bigint[];			-- the leaf of each
	known		identifier[];
	named		identifier[];		-- and those whose links say that they were named together with one of them
	since		timestamptz;
	was			bigint[];
	leaves		bigint[];
	id			bigint;
	split_no	bigint;
	leaf		bigint;
BEGIN
	IF identifiers IS NULL OR array_position(identifiers, NULL) IS NOT NULL OR _split_once.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'identifiers and at must not be null';
	ELSIF ids = '{}' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at least one identifier is needed';
	ELSIF NOT isfinite(_split_once.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	-- by themselves, or an OR would be a scan of the table
	SELECT array_agg(i ORDER BY i) INTO named
	FROM (SELECT i FROM unnest(ids) i
		  UNION
		  SELECT l.identifier FROM identifier_link x JOIN identifier_link l ON l.profile_id = x.profile_id
		  WHERE x.identifier = ANY (ids) AND l.peer = ANY (ids)) n (i);
	sources := ARRAY(SELECT DISTINCT l.profile_id FROM identifier_link l WHERE l.identifier = ANY (ids) ORDER BY 1);
	PERFORM _hurry(wait);
	was := _try_identities(sources, named, sources, wait);
	-- another split may have moved one of them meanwhile
	IF sources <> ARRAY(SELECT DISTINCT l.profile_id FROM identifier_link l WHERE l.identifier = ANY (ids) ORDER BY 1) THEN
		RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
	END IF;
	SELECT array_agg(l.identifier ORDER BY l.identifier), array_agg(l.profile_id ORDER BY l.identifier), min(l.at) INTO known, sources, since
	FROM identifier_link l WHERE l.identifier = ANY (ids);
	IF cardinality(known) IS DISTINCT FROM cardinality(ids) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('identifier "%s" is not known', (SELECT i FROM unnest(ids) i WHERE i = ANY (known) IS NOT TRUE ORDER BY i LIMIT 1));
	ELSIF cardinality(was) > 1 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'identifiers belong to different profiles',
			DETAIL = format('Profiles %s.', array_to_string(was, ', '));
	END IF;
	leaves := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = was[1] ORDER BY p.profile_id);
	IF NOT EXISTS (SELECT FROM identifier_link l WHERE l.profile_id = ANY (leaves) AND l.identifier <> ALL (ids)) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('these are all identifiers of profile %s', was[1]),
			DETAIL = 'A split leaves at least one behind.';
	END IF;

	id := nextval('profile_id_seq');
	PERFORM _new_profile(id, (SELECT p.kind FROM profile p WHERE p.profile_id = was[1]), since);
	-- a decision of its own, so that it survives whatever is merged and unmerged later
	INSERT INTO consent_log (profile_id, purpose, channel, granted, at, source)
	SELECT id, '*', '*', false, _split_once.at, coalesce(_split_once.reason, 'split') FROM profile p WHERE p.profile_id = was[1] AND p.suppressed;
	PERFORM _derive_suppressed(id, NULL);
	split_no := nextval('split_id_seq');
	INSERT INTO identifier_split (identifier, split_id, at, from_profile, to_profile, reason)
	SELECT u.identifier, split_no, _split_once.at, u.leaf, id, _split_once.reason FROM unnest(known, sources) u (identifier, leaf);
	INSERT INTO split_pending (from_profile, split_id, at) SELECT DISTINCT s, split_no, _split_once.at FROM unnest(sources) s ORDER BY s;
	UPDATE identifier_link l SET profile_id = id WHERE l.identifier = ANY (ids);
	PERFORM _move_edges_out(ARRAY(SELECT l.identifier FROM identifier_link l JOIN identifier_link k ON k.identifier = l.peer
								  WHERE l.profile_id = ANY (sources || id) AND k.profile_id <> l.profile_id));
	INSERT INTO never_merge (profile_a, profile_b, reason, at)
	SELECT DISTINCT s, id, coalesce(_split_once.reason, 'split'), _split_once.at FROM unnest(sources) s ORDER BY s;

	-- So that a session with an older snapshot is told.
	UPDATE profile p SET canonical_id = p.canonical_id WHERE p.profile_id = was[1];
	PERFORM _overrule_edges(leaves || id, _split_once.at);
	-- Rows of event_tail of all leaves before the first timeline, as folds do.
	IF sources[1] <> ANY (sources) THEN
		PERFORM _lock_events(sources);
	END IF;
	FOR leaf IN SELECT DISTINCT s FROM unnest(sources) s ORDER BY s LOOP
		PERFORM _move_events(leaf, id, ids);
	END LOOP;
	PERFORM _unmerge_journeys(leaves || id, _split_once.at, format('split from profile %s', was[1]));
	PERFORM _unmerge_lifecycle(was[1], ARRAY[was[1], id], _split_once.at);
	PERFORM _unmerge_segments(was[1], ARRAY[was[1], id]);
	PERFORM _part_messages(leaves || id);
	RETURN id;
END
$$;
COMMENT ON FUNCTION cdp._split_once(cdp.identifier[], text, timestamptz, boolean) IS 'an attempt at split, or CDP01 (see _let_go)';

CREATE FUNCTION cdp.split(identifiers cdp.identifier[], reason text, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	attempt	int := 1;
	state	text;
	what	text;
	which	text;
BEGIN
	LOOP
		BEGIN
			RETURN cdp._split_once(identifiers, reason, at, attempt > 20);
		EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		attempt := cdp._let_go(attempt, state, what, which);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.split(cdp.identifier[], text, timestamptz)
	IS 'these identifiers are somebody else''s: they and the events that came by them go to a new profile; returns its id';
