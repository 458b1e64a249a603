/* 46_split_settle: events that came by an identifier just when it left
 *
 * Calls about people who are known already take no lock.  A session that has looked
 * up an identifier just before it is split away may still write an event for the
 * leaf that had it: a stray.  The task "splits" gives strays to the leaf that
 * the identifier is with now, as split would have done.  It looks for them when
 * a split is committed, when all statements have ended that were under way then, and
 * when the transactions that they were part of have.
 *
 * If the leaf that it was written for was erased since, its erasure is what is
 * settled in the same way, and it does that first (46_erase).
 *
 * A stray of somebody who was erased since becomes an event of his, of which
 * the leaf that it was written for has heard as a participant does, and his erasure is
 * to be settled again: that removes it everywhere.
 *
 * Locks: those of split, but it waits for no profile: one that is busy is left for the
 * next time.
 */

-- Each probed by itself: a leaf has few identifiers, whatever the planner thinks.
-- (Not BEGIN ATOMIC: pg_upgrade makes functions before the operators of the type.)
CREATE FUNCTION cdp._strays(leaf bigint) RETURNS TABLE (via cdp.identifier, to_leaf bigint, erasure_id bigint)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE ROWS 1 SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT v.via, l.profile_id, t.erasure_id
	FROM (SELECT DISTINCT e.via FROM event e WHERE e.profile_id = leaf AND e.via IS NOT NULL) v
		LEFT JOIN LATERAL (SELECT k.profile_id FROM identifier_link k WHERE k.identifier = v.via LIMIT 1) l ON true
		LEFT JOIN LATERAL (SELECT k.erasure_id FROM tombstone k WHERE l.profile_id IS NULL AND k.hash = _tombstone_hash(v.via) LIMIT 1) t ON true
	WHERE l.profile_id IS DISTINCT FROM leaf
	ORDER BY v.via;
END
$$;
COMMENT ON FUNCTION cdp._strays(bigint) IS 'identifiers by which events of a leaf came, and which are elsewhere now: with another leaf, or erased';

CREATE FUNCTION cdp._give_to_erased(leaf bigint, by cdp.identifier[], erasure bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	gone	bigint := (SELECT min(p.profile_id) FROM erased_profile p WHERE p.erasure_id = erasure);
	ids		bigint[];
BEGIN
	INSERT INTO erasure_pending AS p (erasure_id) VALUES (erasure)
	ON CONFLICT ON CONSTRAINT erasure_pending_pkey DO UPDATE SET passes = 0, next_xid = NULL;
	WITH given AS (
		UPDATE event e SET profile_id = gone, participants = array_remove(e.participants, leaf) || leaf
		WHERE e.profile_id = leaf AND e.via = ANY (by)
		RETURNING e.event_id, e.message_id
	), known AS (
		UPDATE event_message m SET profile_id = gone FROM given g WHERE m.message_id = g.message_id
	)
	SELECT array_agg(g.event_id) INTO ids FROM given g;
	PERFORM FROM event_tail t WHERE t.event_id = ANY (ids) ORDER BY t.event_id, t.profile_id FOR UPDATE;
	UPDATE event_tail t SET owner_id = gone WHERE t.event_id = ANY (ids);
	RETURN coalesce(cardinality(ids), 0);
END
$$;
COMMENT ON FUNCTION cdp._give_to_erased(bigint, cdp.identifier[], bigint) IS 'events of a leaf that came by these identifiers are of a profile that was erased, and go with it; returns how many';

CREATE FUNCTION cdp._settle_split(leaf bigint, at timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	strays		record;
	again		record;
	roots		bigint[];
	leaves		bigint[];
	s			record;
	leaf_gone	boolean := NOT EXISTS (SELECT FROM profile p WHERE p.profile_id = leaf);
	n			bigint := 0;
BEGIN
	SELECT array_agg(x.via) AS ids, array_agg(x.to_leaf) AS leaves, array_agg(x.erasure_id) AS erasures INTO strays FROM _strays(leaf) x;
	IF strays.ids IS NULL THEN
		RETURN 0;
	END IF;
	roots := _try_profiles(leaf || array_remove(strays.leaves, NULL), false);
	-- one of them may have gone on meanwhile
	SELECT array_agg(x.via) AS ids, array_agg(x.to_leaf) AS leaves, array_agg(x.erasure_id) AS erasures INTO again FROM _strays(leaf) x;
	IF again IS DISTINCT FROM strays THEN
		RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
	END IF;
	FOR s IN
		SELECT x.to_leaf, x.erasure_id, array_agg(x.via) AS ids FROM unnest(strays.ids, strays.leaves, strays.erasures) x (via, to_leaf, erasure_id)
		GROUP BY 1, 2 ORDER BY 1, 2
	LOOP
		IF s.to_leaf IS NOT NULL THEN
			n := n + _move_events(leaf, s.to_leaf, s.ids);
		ELSIF leaf_gone THEN
			NULL;			-- all that is left there goes
		ELSIF s.erasure_id IS NOT NULL THEN
			n := n + _give_to_erased(leaf, s.ids, s.erasure_id);
		ELSE
			-- erased, and then the tombstone was lifted: nobody knows whose it is
			UPDATE event e SET via = NULL WHERE e.profile_id = leaf AND e.via = ANY (s.ids);
		END IF;
	END LOOP;
	leaves := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = ANY (roots) ORDER BY p.profile_id);
	PERFORM _unmerge_journeys(leaves, _settle_split.at, 'split while the event arrived');
	PERFORM _unmerge_lifecycle(r, roots, _settle_split.at), _unmerge_segments(r, roots) FROM unnest(roots[:1]) r;
	PERFORM _part_messages(leaves);
	RETURN n;
END
$$;
COMMENT ON FUNCTION cdp._settle_split(bigint, timestamptz) IS 'gives the strays of a leaf to whom they are of; returns how many; or CDP01: somebody is at work on them';

-- One leaf that has any at a time, so that a batch holds no others while it waits for folds.
CREATE FUNCTION cdp._settle_splits(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	s		record;
	x		record;
	moved	bigint;
BEGIN
	done := 0;
	lag := '0';
	IF NOT EXISTS (SELECT FROM split_pending) THEN
		RETURN;
	END IF;
	SELECT t.oldest, t.next INTO x FROM _transactions() t;	-- before looking: what ended until then is seen
	FOR s IN
		SELECT p.* FROM split_pending p WHERE p.next_xid IS NULL OR p.next_xid <= x.oldest
		ORDER BY p.split_id, p.from_profile LIMIT max_rows FOR UPDATE SKIP LOCKED
	LOOP
		BEGIN
			moved := _settle_split(s.from_profile, now);
		EXCEPTION WHEN SQLSTATE 'CDP01' THEN
			CONTINUE;
		END;
		IF s.passes = 2 THEN
			DELETE FROM split_pending p WHERE p.split_id = s.split_id AND p.from_profile = s.from_profile;
		ELSE
			UPDATE split_pending p SET passes = p.passes + 1, next_xid = x.next WHERE p.split_id = s.split_id AND p.from_profile = s.from_profile;
		END IF;
		done := done + 1;
		EXIT WHEN moved > 0;
	END LOOP;
	SELECT greatest(coalesce(now - min(p.at), '0'), '0') INTO lag FROM split_pending p;
END
$$;
COMMENT ON FUNCTION cdp._settle_splits(timestamptz, int) IS 'task: gives events that were being written while their identifier was split away to whom it went to; done counts steps to an end';
