/* 46_erase: a profile goes, with everything that is held about it
 *
 * erase		all rows and bits go.  Others' rows that name it are changed:
 *				participants of events, timelines of those who took part in its
 *				events, static segments.
 * anonymise	the same, but its events and timeline stay, as those of a new
 *				profile in no audience that nothing leads to from the old one.
 * suppress		everything stays, nothing is done with it any more.
 *
 * Who takes what is said in 45_personal_data; tombstones in 21_tombstone.
 *
 * Locks: the leaves, the identifiers and the canonical profiles, its own and those
 * of participants, as split does (_try_identities); against tags as a merge does;
 * traits' indexes; rows of event_tail, then part 0 of the timelines (_lock_events);
 * then rows that only somebody with the profile's lock touches, tag_pending,
 * chunks, and the outbox.
 *
 * Hot paths take no lock for what happens to people who are known already.  A
 * session that has looked up the profile just before may still write a row for
 * it afterwards.  Such a row belongs to a profile that is not there, so no
 * audience, journey or timeline shows it, and the task "erasures" removes it:
 * first all statements have to end that were under way when the erasure was
 * committed, then the transactions that they were part of.
 */

CREATE TABLE cdp.erasure_pending (
	erasure_id	bigint PRIMARY KEY,
	passes		int NOT NULL DEFAULT 0,
	next_xid	xid8
);
COMMENT ON TABLE cdp.erasure_pending IS 'erasures that a statement under way may still have missed; work rows, not dumped';
COMMENT ON COLUMN cdp.erasure_pending.next_xid IS 'the next pass is when all transactions before this one are over';

-- what else names a profile, and is found by no other index
CREATE INDEX event_message_profile_id_idx ON cdp.event_message (profile_id) WHERE event_id IS NULL;

CREATE FUNCTION cdp._transactions(OUT oldest xid8, OUT next xid8)
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__transactions';
COMMENT ON FUNCTION cdp._transactions() IS 'transactions before the oldest are over and no statement under way saw them running; those from next on have yet to begin';

-- removed is {"table": rows}.
CREATE FUNCTION cdp._add_count(removed jsonb, relation text, n bigint) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN n > 0 THEN removed || jsonb_build_object(relation, coalesce((removed ->> relation)::bigint, 0) + n) ELSE removed END;
COMMENT ON FUNCTION cdp._add_count(jsonb, text, bigint) IS 'counts with so many more rows of a table';

-- what goes

-- Folds of these events are waited for, then all folds of those who have them.
-- What is written from now on is left for later: its rows of event_tail may be
-- held by a fold that waits for us.
CREATE FUNCTION cdp._lock_events(leaves bigint[], OUT ids bigint[], OUT waiting bigint[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	-- may have events of others, that are not lost with theirs (46_split_settle)
	parted	bigint[] := ARRAY(SELECT l FROM unnest(leaves) l WHERE EXISTS (SELECT FROM split_pending p WHERE p.from_profile = l)
																OR NOT EXISTS (SELECT FROM profile p WHERE p.profile_id = l));
	others	bigint[];
BEGIN
	ids := ARRAY(SELECT e.event_id FROM event e
				 WHERE e.profile_id = ANY (leaves)
				   AND NOT (e.profile_id = ANY (parted) AND EXISTS (SELECT FROM identifier_link l WHERE l.identifier = e.via AND l.profile_id <> ALL (leaves))));
	SELECT coalesce(array_agg(l.event_id) FILTER (WHERE l.profile_id = ANY (leaves) AND (l.owner_id <> ALL (leaves) OR l.event_id = ANY (ids))), '{}') INTO waiting
	FROM (SELECT t.event_id, t.profile_id, t.owner_id FROM event_tail t WHERE t.profile_id = ANY (leaves) OR t.event_id = ANY (ids)
		  ORDER BY t.event_id, t.profile_id FOR UPDATE) l;
	others := ARRAY(SELECT u FROM event e, unnest(e.participants) u WHERE e.profile_id = ANY (leaves) AND e.event_id = ANY (ids));
	PERFORM FROM timeline_part p WHERE p.profile_id = ANY (leaves || others) AND p.part = 0 ORDER BY p.profile_id FOR UPDATE;
END
$$;
COMMENT ON FUNCTION cdp._lock_events(bigint[], OUT bigint[], OUT bigint[])
	IS 'locks the timelines of these leaves, and of those who took part in their events; ids: their events, waiting: events that wait to be folded into theirs';

-- Entries of its events in the timelines of those who took part.
CREATE FUNCTION cdp._erase_participations(leaves bigint[], ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	other	record;
	others	bigint[] := '{}';
	again	bigint[] := '{}';
BEGIN
	FOR other IN
		SELECT p.leaf, array_agg(e.event_id) AS ids, min(e.at) AS first_at,
			   timeline_agg(x.entries) FILTER (WHERE NOT EXISTS (SELECT FROM event_tail t WHERE t.profile_id = p.leaf AND t.event_id = e.event_id)) AS folded
		FROM event e
			CROSS JOIN LATERAL (SELECT DISTINCT u AS leaf FROM unnest(e.participants) u WHERE u <> ALL (leaves)) p
			CROSS JOIN LATERAL (SELECT timeline_agg(n.at, n.event, n.label, n.value) AS entries
								FROM _event_entries(e.at, e.event, e.source, e.properties) n) x
		WHERE e.profile_id = ANY (leaves) AND e.event_id = ANY (_erase_participations.ids) AND e.participants <> '{}'
		GROUP BY p.leaf ORDER BY p.leaf
	LOOP
		IF num_events(other.folded) > 0 AND NOT _take_entries(other.leaf, other.folded) THEN
			again := again || other.leaf;		-- event_role has changed since they were folded
		END IF;
		DELETE FROM event_tail t WHERE t.profile_id = other.leaf AND t.event_id = ANY (other.ids);
		DELETE FROM journey_trigger j WHERE j.event_id = ANY (other.ids);
		INSERT INTO profile_queue (profile_id, at, cause) VALUES (other.leaf, other.first_at, 'backfill');
		INSERT INTO segment_dirty (input, members, cause) VALUES ('event', rb_build(ARRAY[other.leaf]), 'backfill');
		others := others || other.leaf;
	END LOOP;
	IF again <> '{}' THEN
		UPDATE event e SET participants = '{}' WHERE e.profile_id = ANY (leaves) AND e.event_id = ANY (_erase_participations.ids) AND e.participants <> '{}';
		PERFORM _rebuild_timelines(a) FROM unnest(again) a ORDER BY a;
	END IF;
	PERFORM _forget_due_labels(others);
END
$$;
COMMENT ON FUNCTION cdp._erase_participations(bigint[], bigint[]) IS 'takes events of these leaves out of the timelines of their participants';

-- By ids alone: what a session may write that has looked up the profile
-- before it was erased.  The caller has locked the events (_lock_events).
CREATE FUNCTION cdp._erase_rows(leaves bigint[], ids bigint[], waiting bigint[], removed jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	gone		bitmap := rb_build(leaves);
	was_sealed	boolean;
	name		text;
	n			bigint;
	m			bigint;
BEGIN
	PERFORM _erase_participations(leaves, ids);
	DELETE FROM event_tail t WHERE t.profile_id = ANY (leaves) AND t.event_id = ANY (waiting);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'event_tail', n);
	was_sealed := EXISTS (SELECT FROM timeline_part p WHERE p.profile_id = ANY (leaves) AND p.sealed);
	DELETE FROM timeline_part p WHERE p.profile_id = ANY (leaves);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'timeline_part', n);
	WITH gone AS (
		DELETE FROM event e WHERE e.profile_id = ANY (leaves) AND e.event_id = ANY (ids) RETURNING e.message_id
	), known AS (
		DELETE FROM event_message x WHERE x.message_id IN (SELECT g.message_id FROM gone g) RETURNING 1
	)
	SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM known) INTO n, m;
	removed := _add_count(_add_count(removed, 'event', n), 'event_message', m);
	UPDATE event e SET participants = ARRAY(SELECT u FROM unnest(e.participants) WITH ORDINALITY o (u, nr) WHERE u <> ALL (leaves) ORDER BY nr)
	WHERE e.participants && leaves AND e.participants <> '{}';
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'event.participants', n);
	-- Messages that were no events, by index; when there were events whose rows
	-- are gone, only a look at all messages finds theirs.
	IF was_sealed THEN
		DELETE FROM event_message x WHERE x.profile_id = ANY (leaves)
			AND NOT EXISTS (SELECT FROM event e WHERE e.profile_id = x.profile_id AND e.event_id = x.event_id);
	ELSE
		DELETE FROM event_message x WHERE x.profile_id = ANY (leaves) AND x.event_id IS NULL;
	END IF;
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'event_message', n);
	WITH gone AS (
		DELETE FROM event_retraction r WHERE r.profile_id = ANY (leaves) RETURNING r.message_id
	), known AS (
		DELETE FROM event_message x WHERE x.message_id IN (SELECT g.message_id FROM gone g) RETURNING 1
	)
	SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM known) INTO n, m;
	removed := _add_count(_add_count(removed, 'event_retraction', n), 'event_message', m);
	UPDATE event_retraction r SET participants = ARRAY(SELECT u FROM unnest(r.participants) WITH ORDINALITY o (u, nr) WHERE u <> ALL (leaves) ORDER BY nr)
	WHERE r.participants && leaves;

	-- First: who is at it writes trait_change, too.
	DELETE FROM trait_value v WHERE v.profile_id = ANY (leaves);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'trait_value', n);
	DELETE FROM journey_duplicate d USING journey_state s WHERE s.run_id = d.run_id AND s.profile_id = ANY (leaves);
	FOR name IN SELECT t.relation FROM _profile_tables() t WHERE t.relation NOT IN ('identifier_link', 'event_tail', 'trait_pending') LOOP
		EXECUTE format('DELETE FROM cdp.%I t WHERE t.profile_id = ANY ($1)', name) USING leaves;
		GET DIAGNOSTICS n = ROW_COUNT;
		removed := _add_count(removed, name, n);
	END LOOP;
	DELETE FROM relation r WHERE r.a = ANY (leaves) OR r.b = ANY (leaves);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'relation', n);
	DELETE FROM relation_call r WHERE r.a = ANY (leaves) OR r.b = ANY (leaves);
	DELETE FROM never_merge r WHERE r.profile_a = ANY (leaves) OR r.profile_b = ANY (leaves);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'never_merge', n);
	DELETE FROM profile_merge r WHERE r.leaf_a = ANY (leaves) OR r.leaf_b = ANY (leaves) OR r.survivor = ANY (leaves) OR r.merged = ANY (leaves);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'profile_merge', n);

	UPDATE segment_change s SET entered = s.entered - gone, exited = s.exited - gone WHERE s.entered && gone OR s.exited && gone;
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'segment_change', n);
	UPDATE segment s SET given = s.given - gone WHERE s.given && gone;
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'segment', n);
	UPDATE segment_version s SET given = s.given - gone WHERE s.given && gone;
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'segment_version', n);
	-- Work rows.  Who has one in hand may wait for us; the task comes back for it.
	UPDATE profile_batch b SET members = b.members - gone
	WHERE b.ctid = ANY (ARRAY(SELECT o.ctid FROM profile_batch o WHERE o.members && gone FOR UPDATE SKIP LOCKED));
	UPDATE segment_dirty s SET members = s.members - gone
	WHERE s.ctid = ANY (ARRAY(SELECT o.ctid FROM segment_dirty o WHERE o.members && gone FOR UPDATE SKIP LOCKED));
	UPDATE segment_work s SET members = s.members - gone
	WHERE s.ctid = ANY (ARRAY(SELECT o.ctid FROM segment_work o WHERE o.members && gone FOR UPDATE SKIP LOCKED));
	UPDATE segment_due s SET members = s.members - gone
	WHERE s.ctid = ANY (ARRAY(SELECT o.ctid FROM segment_due o WHERE o.members && gone FOR UPDATE SKIP LOCKED));
	RETURN removed;
END
$$;
COMMENT ON FUNCTION cdp._erase_rows(bigint[], bigint[], bigint[], jsonb)
	IS 'removes everything that names these leaves by their ids, but tags, slices, messages and identifiers; adds to the counts';

-- How many of these profiles each segment counts: who has been merged away since its
-- last refresh has no bit any more, but a row for the next one (_gone_from_segments).
CREATE FUNCTION cdp._counted_in_segments(leaves bigint[], root bigint) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(jsonb_object_agg(m.name, m.n), '{}')
	FROM (
		SELECT i.name, cdp.rb_cardinality(cdp.rb_or_agg(i.ids)) AS n
		FROM (
			SELECT substr(t, 9) AS name, cdp.rb_build(ARRAY[root]) AS ids FROM cdp._all_tags_of(root) t WHERE starts_with(t, 'segment:')
			UNION ALL
			SELECT substr(d.input, 6), cdp.rb_and(d.members, cdp.rb_build(leaves)) FROM cdp.segment_dirty d
			WHERE starts_with(d.input, 'gone:') AND d.members OPERATOR(cdp.&&) cdp.rb_build(leaves)
			UNION ALL
			SELECT s.name, cdp.rb_and(w.members, cdp.rb_build(leaves)) FROM cdp.segment_work w JOIN cdp.segment s ON w.input = 'gone:' || s.name AND w.batch > s.batch_seen
			WHERE w.members OPERATOR(cdp.&&) cdp.rb_build(leaves)
		) i
		GROUP BY i.name
	) m;
END;
COMMENT ON FUNCTION cdp._counted_in_segments(bigint[], bigint) IS 'how many of these leaves of a profile each segment counts: {name: number}';

CREATE FUNCTION cdp._erase_tags(leaves bigint[], counted jsonb, removed jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	-- also those that a pending row takes away
	names	text[] := ARRAY(SELECT c.tag FROM unnest(leaves) l JOIN tag_chunk c ON c.chunk = l >> 15 AND _chunk_contains(c.members, l)
							UNION SELECT p.tag FROM tag_pending p WHERE p.profile_id = ANY (leaves) ORDER BY 1);
	name	text;
	n		bigint := (SELECT count(DISTINCT t) FROM unnest(leaves) l CROSS JOIN LATERAL _all_tags_of(l) t WHERE ascii(t) <> 1);
BEGIN
	UPDATE segment s SET members = s.members - (counted ->> s.name)::bigint WHERE counted ? s.name;
	-- All pending rows before the first chunk.
	PERFORM FROM tag_pending p WHERE p.profile_id = ANY (leaves) ORDER BY p.tag, p.profile_id FOR UPDATE;
	DELETE FROM tag_pending p WHERE p.profile_id = ANY (leaves);
	FOREACH name IN ARRAY names LOOP
		PERFORM _write_chunks(name, NULL, rb_build(leaves));
	END LOOP;
	RETURN _add_count(removed, 'tag', n);
END
$$;
COMMENT ON FUNCTION cdp._erase_tags(bigint[], jsonb, jsonb) IS 'takes every tag from a profile, also those the system keeps; counted: by segments';

-- The caller has locked the rows of trait_index; deleting trait_value has filled
-- trait_pending.
CREATE FUNCTION cdp._erase_traits(leaves bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	t record;
BEGIN
	FOR t IN
		-- values of texts are tags, and go with those
		SELECT i.trait, i.type, i.form FROM trait_index i
		WHERE i.state <> 'begun' AND i.type IN ('number', 'date') AND i.form IS NOT NULL
		  AND EXISTS (SELECT FROM trait_pending p WHERE p.trait = i.trait AND p.profile_id = ANY (leaves))
		ORDER BY i.trait
	LOOP
		PERFORM _fold_trait(t.trait, t.type = 'date', t.form, leaves);		-- no number: it fits any form
	END LOOP;
	DELETE FROM trait_pending p WHERE p.profile_id = ANY (leaves);
END
$$;
COMMENT ON FUNCTION cdp._erase_traits(bigint[]) IS 'takes the numbers of these leaves, whose traits are gone, out of the slices';

CREATE FUNCTION cdp._erase_messages(leaves bigint[], erasure bigint, removed jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	n bigint;
	m bigint;
BEGIN
	WITH gone AS (
		DELETE FROM outbox o WHERE o.profile_id = ANY (leaves) OR o.recipient_id = ANY (leaves) AND o.recipient_id <> o.profile_id RETURNING o.id, o.attempts, o.status
	), reported AS (
		DELETE FROM delivery d WHERE d.outbox_id IN (SELECT g.id FROM gone g) RETURNING 1
	), kept AS (
		INSERT INTO erased_message (id, erasure_id, status) SELECT g.id, erasure, g.status FROM gone g WHERE g.attempts > 0
	)
	SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM reported) INTO n, m;
	RETURN _add_count(_add_count(removed, 'outbox', n), 'delivery', m);
END
$$;
COMMENT ON FUNCTION cdp._erase_messages(bigint[], bigint, jsonb) IS 'removes messages about these leaves or to them';

-- What names it by an identifier.
CREATE FUNCTION cdp._erase_names(ids cdp.identifier[], leaves bigint[], erasure bigint, removed jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	id_values	text[] := _identifier_values(ids);
	n			bigint;
BEGIN
	IF ids <> '{}' THEN
		INSERT INTO tombstone_salt (salt)
		SELECT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'))	-- a secret, so no hash of anything known
		WHERE NOT EXISTS (SELECT FROM tombstone_salt)
		ON CONFLICT DO NOTHING;
		INSERT INTO tombstone (hash, erasure_id)
		SELECT _tombstone_hash(i), erasure FROM unnest(ids) i ORDER BY 1
		ON CONFLICT DO NOTHING;
	END IF;
	DELETE FROM extra_edge e WHERE e.a = ANY (ids) OR e.b = ANY (ids) AND e.inactive_at IS NOT NULL;
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'extra_edge', n);
	DELETE FROM identifier_split s WHERE s.identifier = ANY (ids) OR s.from_profile = ANY (leaves) OR s.to_profile = ANY (leaves);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'identifier_split', n);
	DELETE FROM split_pending s WHERE s.from_profile = ANY (leaves);		-- the erasure is settled instead
	DELETE FROM identity_refusal r
	WHERE r.identifiers && ids OR EXISTS (SELECT FROM unnest(ids) i WHERE strpos(r.reason, '"' || i::text || '"') > 0);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'identity_refusal', n);
	DELETE FROM quarantined_identifier q WHERE q.identifier = ANY (ids);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'quarantined_identifier', n);
	DELETE FROM identifier_link l WHERE l.profile_id = ANY (leaves);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'identifier_link', n);

	-- What is being taken right now is refused or, if it was looked up before, settled later.
	DELETE FROM inbox i
	WHERE i.inbox_id IN (SELECT o.inbox_id FROM inbox o WHERE _names_one_of(o.payload, ids, id_values) FOR UPDATE SKIP LOCKED);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'inbox', n);
	DELETE FROM rejected r WHERE _names_one_of(r.payload, ids, id_values) OR _tells(r.reason, id_values);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := _add_count(removed, 'rejected', n);
	UPDATE task_state t SET last_error = 'erased' WHERE _tells(t.last_error, id_values);
	UPDATE segment s SET error = 'erased' WHERE _tells(s.error, id_values);
	RETURN removed;
END
$$;
COMMENT ON FUNCTION cdp._erase_names(cdp.identifier[], bigint[], bigint, jsonb) IS 'removes these identifiers and whatever names them, and puts tombstones in their place';

-- the call

CREATE FUNCTION cdp._lock_for_erasure(profile bigint, wait boolean, OUT leaves bigint[], OUT ids cdp.identifier[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	own		bigint[] := ARRAY(SELECT o.profile_id FROM profile p JOIN profile o ON o.canonical_id = p.canonical_id WHERE p.profile_id = profile ORDER BY 1);
	others	bigint[];
BEGIN
	IF own = '{}' THEN
		RETURN;
	END IF;
	ids := ARRAY(SELECT l.identifier FROM identifier_link l WHERE l.profile_id = ANY (own) ORDER BY l.identifier);
	others := ARRAY(SELECT DISTINCT u FROM event e, unnest(e.participants) u WHERE e.profile_id = ANY (own) AND u <> ALL (own));
	PERFORM _try_identities(own, ids, own || others, wait);
	leaves := ARRAY(SELECT o.profile_id FROM profile p JOIN profile o ON o.canonical_id = p.canonical_id WHERE p.profile_id = profile ORDER BY 1);
	-- A call may have got the profile another identifier, or another participant, before it was locked.
	IF leaves <> own OR ids <> ARRAY(SELECT l.identifier FROM identifier_link l WHERE l.profile_id = ANY (own) ORDER BY l.identifier)
		OR NOT others @> ARRAY(SELECT DISTINCT u FROM event e, unnest(e.participants) u WHERE e.profile_id = ANY (own) AND u <> ALL (own)) THEN
		RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._lock_for_erasure(bigint, boolean) IS 'all leaves and identifiers of a canonical profile, locked, or CDP01; NULL when there is no such profile (any more)';

CREATE FUNCTION cdp._suppress_for_good(profile bigint, reason text, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	leaves	bigint[];
	runs	bigint[];
	n		bigint;
BEGIN
	PERFORM suppress(profile, reason, at);
	leaves := _leaves_of(profile);
	SELECT array_agg(s.run_id) INTO runs
	FROM (SELECT j.run_id FROM journey_state j WHERE j.profile_id = ANY (leaves) AND j.status = 'active' ORDER BY j.run_id FOR UPDATE) s;
	PERFORM _end_runs(runs, array_fill(_suppress_for_good.at, ARRAY[coalesce(cardinality(runs), 0)]), 'suppressed', NULL) WHERE runs IS NOT NULL;
	DELETE FROM journey_trigger t WHERE t.profile_id = ANY (leaves);
	WITH stopped AS (
		UPDATE outbox o SET status = 'expired'
		WHERE (o.profile_id = ANY (leaves) OR o.recipient_id = ANY (leaves) AND o.recipient_id <> o.profile_id) AND o.status = 'pending'
		RETURNING o.id
	), noted AS (
		INSERT INTO delivery (outbox_id, at, status, detail) SELECT s.id, _suppress_for_good.at, 'expired', 'suppressed' FROM stopped s ORDER BY s.id
	)
	SELECT count(*) INTO n FROM stopped;
	RETURN _add_count(_add_count('{}', 'journeys ended', cardinality(runs)), 'messages withdrawn', n);
END
$$;
COMMENT ON FUNCTION cdp._suppress_for_good(bigint, text, timestamptz) IS 'erase_profile with mode suppress';

CREATE FUNCTION cdp._erase_profile_once(profile bigint, mode text, reason text, at timestamptz, wait boolean) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	locked		record;
	events		record;
	root		bigint;
	number		bigint;
	known		jsonb;
	flying		bigint[];
	removed		jsonb := '{}';
	kept		jsonb := '{}';
	counted		jsonb;
	receipt		jsonb;
BEGIN
	IF _erase_profile_once.profile IS NULL OR _erase_profile_once.mode IS NULL OR _erase_profile_once.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'profile, mode and at must not be null';
	ELSIF _erase_profile_once.mode NOT IN ('erase', 'anonymise', 'suppress') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unrecognized mode: "%s"', _erase_profile_once.mode),
			HINT = 'Use "erase", "anonymise" or "suppress".';
	ELSIF NOT isfinite(_erase_profile_once.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	ELSIF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'cannot erase a profile under an old snapshot',
			HINT = 'Use isolation level read committed.';
	END IF;

	-- as a refresh, whose rows we may change
	IF wait THEN
		PERFORM pg_advisory_xact_lock(_segment_lock('pass'));
	ELSIF NOT pg_try_advisory_xact_lock(_segment_lock('pass')) THEN
		RAISE SQLSTATE 'CDP01' USING MESSAGE = 'lock', DETAIL = _segment_lock('pass')::text;
	END IF;
	PERFORM _hurry(wait);
	PERFORM _try_merges(wait);		-- before any profile, as in merge, and any tag
	SELECT l.leaves, l.ids INTO locked FROM _lock_for_erasure(_erase_profile_once.profile, wait) l;
	IF locked.leaves IS NULL THEN
		SELECT e.receipt INTO known FROM erased_profile p JOIN erasure e USING (erasure_id) WHERE p.profile_id = _erase_profile_once.profile;
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s does not exist', _erase_profile_once.profile);
		END IF;
		RETURN known;
	END IF;
	root := canonical_id(_erase_profile_once.profile);
	IF _erase_profile_once.mode = 'suppress' THEN
		SELECT e.receipt INTO known FROM erasure e JOIN profile p USING (profile_id)
		WHERE e.profile_id = root AND e.mode = 'suppress' AND p.suppressed ORDER BY e.erasure_id DESC LIMIT 1;
		IF FOUND THEN
			RETURN known;
		END IF;
	END IF;

	number := nextval('erasure_id_seq');
	IF _erase_profile_once.mode = 'suppress' THEN
		removed := _suppress_for_good(root, _erase_profile_once.reason, _erase_profile_once.at);
	ELSE
		PERFORM _lock_tags(locked.leaves);
		PERFORM FROM trait_index i WHERE i.trait IN (SELECT v.name FROM trait_value v WHERE v.profile_id = ANY (locked.leaves)) ORDER BY i.trait FOR UPDATE;
		SELECT l.ids, l.waiting INTO events FROM _lock_events(locked.leaves) l;
		PERFORM _count_erased_runs(locked.leaves);
		PERFORM _erase_begun_runs(locked.leaves, events.ids);
		PERFORM _erase_addresses(locked.leaves, locked.ids);
		IF _erase_profile_once.mode = 'anonymise' THEN
			kept := _anonymise(locked.leaves, locked.ids, root, events.ids, events.waiting, _erase_profile_once.at);
		END IF;
		counted := _counted_in_segments(locked.leaves, root);
		removed := _erase_rows(locked.leaves, events.ids, events.waiting, removed);
		removed := _erase_tags(locked.leaves, counted, removed);
		PERFORM _erase_traits(locked.leaves);
		removed := _erase_names(locked.ids, locked.leaves, number, removed);
		removed := _erase_messages(locked.leaves, number, removed);
		flying := ARRAY(SELECT m.id FROM erased_message m WHERE m.erasure_id = number AND m.status IN ('claimed', 'ambiguous') ORDER BY m.id);
		DELETE FROM profile p WHERE p.profile_id = ANY (locked.leaves);
		INSERT INTO erased_profile (profile_id, erasure_id) SELECT l, number FROM unnest(locked.leaves) l;
		INSERT INTO erasure_pending (erasure_id) VALUES (number);
	END IF;
	receipt := jsonb_strip_nulls(jsonb_build_object('erasure_id', number, 'profile_id', root, 'mode', _erase_profile_once.mode,
			'at', to_char(_erase_profile_once.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'reason', _erase_profile_once.reason))
		|| jsonb_build_object('profiles', cardinality(locked.leaves), 'identifiers', cardinality(locked.ids),
			CASE _erase_profile_once.mode WHEN 'suppress' THEN 'changed' ELSE 'removed' END, removed)
		|| CASE WHEN kept <> '{}' THEN jsonb_build_object('kept', kept) ELSE '{}' END
		|| CASE WHEN flying <> '{}' THEN jsonb_build_object('messages_in_flight', flying) ELSE '{}' END;
	INSERT INTO erasure (erasure_id, profile_id, mode, at, reason, receipt)
	VALUES (number, root, _erase_profile_once.mode, _erase_profile_once.at, _erase_profile_once.reason, receipt);
	RETURN receipt;
END
$$;
COMMENT ON FUNCTION cdp._erase_profile_once(bigint, text, text, timestamptz, boolean) IS 'an attempt at erase_profile, or CDP01 (see _let_go)';

CREATE FUNCTION cdp.erase_profile(profile bigint, mode text DEFAULT 'erase', reason text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	attempt	int := 1;
	state	text;
	what	text;
	which	text;
BEGIN
	LOOP
		BEGIN
			RETURN cdp._erase_profile_once(profile, mode, reason, at, attempt > 20);
		EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		attempt := cdp._let_go(attempt, state, what, which);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.erase_profile(bigint, text, text, timestamptz)
	IS 'removes a profile and those merged into it (erase), all but its events under another id (anonymise), or does nothing with it any more (suppress); returns the receipt';

-- settling

CREATE FUNCTION cdp._settle_erasures(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	e		record;
	x		record;
	events	record;
	leaves	bigint[];
	late	jsonb;
BEGIN
	done := 0;
	lag := '0';
	IF NOT EXISTS (SELECT FROM erasure_pending) OR NOT pg_try_advisory_xact_lock(_segment_lock('pass')) THEN
		RETURN;
	END IF;
	SELECT t.oldest, t.next INTO x FROM _transactions() t;	-- before looking: what ended until then is seen
	FOR e IN
		-- at once, when the statements have ended, and when their transactions have
		SELECT p.* FROM erasure_pending p WHERE p.next_xid IS NULL OR p.next_xid <= x.oldest
		ORDER BY p.erasure_id LIMIT max_rows FOR UPDATE SKIP LOCKED
	LOOP
		leaves := ARRAY(SELECT g.profile_id FROM erased_profile g WHERE g.erasure_id = e.erasure_id ORDER BY 1);
		LOCK TABLE profile_merge IN ROW EXCLUSIVE MODE;		-- before timelines, as rebuild
		BEGIN
			PERFORM _settle_split(l, now) FROM unnest(leaves) l;
		EXCEPTION WHEN SQLSTATE 'CDP01' THEN
			CONTINUE;
		END;
		SELECT l.ids, l.waiting INTO events FROM _lock_events(leaves) l;
		PERFORM _erase_begun_runs(leaves, events.ids);
		late := _erase_messages(leaves, e.erasure_id, _erase_rows(leaves, events.ids, events.waiting, '{}'));
		IF late <> '{}' THEN
			UPDATE erasure r SET receipt = r.receipt || jsonb_build_object('removed_later', (
				SELECT jsonb_object_agg(k, coalesce((r.receipt #>> ARRAY['removed_later', k])::bigint, 0) + coalesce((late ->> k)::bigint, 0))
				FROM (SELECT jsonb_object_keys(late) UNION SELECT jsonb_object_keys(coalesce(r.receipt -> 'removed_later', '{}'))) n (k)))
			WHERE r.erasure_id = e.erasure_id;
		END IF;
		IF e.passes = 2 THEN
			DELETE FROM erasure_pending p WHERE p.erasure_id = e.erasure_id;
		ELSE
			UPDATE erasure_pending p SET passes = p.passes + 1, next_xid = x.next WHERE p.erasure_id = e.erasure_id;
		END IF;
		done := done + 1;
	END LOOP;
	SELECT now - min(r.at) INTO lag FROM erasure_pending p JOIN erasure r USING (erasure_id);
	lag := coalesce(greatest(lag, '0'), '0');
END
$$;
COMMENT ON FUNCTION cdp._settle_erasures(timestamptz, int) IS 'task: removes what statements under way wrote for profiles that were erased meanwhile; done counts steps to an end';
