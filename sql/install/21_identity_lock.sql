/* 21_identity_lock: who waits for whom
 *
 * What stitching needs:
 *
 * 1. Unknown identifiers are claimed by inserting their rows of
 *    identifier_link.  (Advisory locks would fill the lock table in a bulk load.)
 *    Somebody who is known since later than the call has his row locked.
 * 2. The canonical profiles concerned are locked FOR UPDATE.
 *
 * No order of these would do: a bulk load takes people in the order of its
 * messages, and goes on to the next ones with all that it holds.  So there are three
 * kinds of callers:
 *
 * A small call (one message, one decision) waits for nobody while it holds any of
 * these.  It tries: when somebody else has what it needs it lets go of all it
 * holds (a subtransaction is rolled back), waits for that one thing with empty hands,
 * and begins again (SQLSTATE CDP01, _await).  So nobody ever waits for
 * one who waits.  Should others always be faster, it waits in the order above in the
 * end.  Where it does not know whom it may meet (a row of a trait, a message id)
 * it does not wait for long, and then lets go as well (_hurry).  The batches
 * of the clock (60_clock) do the same (_hurry_batch).
 *
 * A large call (a bulk load, all that breaks a rule, tick, rebuild) holds and waits, as
 * long as it takes.  There is one at a time: see _lock_identities, which comes before all
 * that others may wait for.  A batch of messages becomes one when somebody
 * keeps it waiting (_ingest_patiently).  One that turns out not to be the first with an identifier
 * or a message id is void, and waits when it has let go of all.
 *
 * Who changes tags of a set of profiles keeps merges away first (30_tag), and
 * waits for those who change single tags, who wait for nobody with a tag in their hands.
 *
 * That leaves circles of a large call with small ones that have not let go yet.
 * Small ones do before deadlock_timeout, if that is not very short; and whoever
 * finds itself in a circle lets go of everything and begins again (_open_circle;
 * for those who keep the order, src/store/begin_again_fn.c).
 *
 * In a transaction of several calls a small one does not let go of what earlier ones
 * have taken.  The server has to find that circle, and looks for it when somebody
 * has waited for deadlock_timeout, once.  So those who wait with empty hands
 * do so for longer than that every other time (_await), and those who have
 * tried twenty times do (_hurry).  Nobody gives up because it takes long.
 *
 * Whoever changes a profile row, a leaf's too, holds the lock of its
 * canonical profile.  A call that only adds identifiers to one leaf locks the
 * leaf instead, in memory (src/store/link_lock.c); whoever takes some away from
 * leaves (split, erase, apply_rules) locks it, too (_try_identities).  A call with nothing new takes no lock and writes nothing.
 */

-- Ascending: see src/store/link_lock.c.
CREATE FUNCTION cdp._lock_links(leaves bigint[]) RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__lock_links';
COMMENT ON FUNCTION cdp._lock_links(bigint[]) IS 'until the end of the transaction nobody gives these leaves identifiers without locking their profile';

CREATE FUNCTION cdp._try_lock_links(leaves bigint[]) RETURNS bigint
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__try_lock_links';
COMMENT ON FUNCTION cdp._try_lock_links(bigint[]) IS 'the same without waiting: 0, or a leaf that somebody is giving identifiers, and none is locked';

-- Volatile: it looks at the present, under a snapshot of its own.
CREATE FUNCTION cdp._are_roots(leaves bigint[], roots bigint[]) RETURNS boolean
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN NOT EXISTS (SELECT FROM profile p WHERE p.profile_id = ANY (leaves) AND p.canonical_id <> ALL (roots));
END
$$;
COMMENT ON FUNCTION cdp._are_roots(bigint[], bigint[]) IS 'are the canonical profiles of these profiles among those';

-- What _lock_identities takes (src/store/identity_lock.c).
CREATE FUNCTION cdp._identities_key() RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__identities_key';
COMMENT ON FUNCTION cdp._identities_key() IS 'advisory lock of the one transaction that takes many messages and changes identities';

CREATE FUNCTION cdp._holds_identities() RETURNS boolean
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__holds_identities';
COMMENT ON FUNCTION cdp._holds_identities() IS 'is this transaction one that takes many messages and changes identities?';

-- An attempt waits for nobody for long, where it does not know whom it may meet
-- either: they may be in a circle, and the other may be unable to open it (he has
-- let go, but we wait for a subtransaction of his, see _let_go).  It holds until
-- the subtransaction ends in which it is called, or a function with a SET clause.
--
-- Less than deadlock_timeout is too short for the server to look for a circle.  So
-- whoever has waited for some time waits longer than that: in a transaction of several
-- calls what an earlier call took is not let go.
CREATE FUNCTION cdp._hurry(wait boolean) RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__hurry';
COMMENT ON FUNCTION cdp._hurry(boolean) IS 'from now on the calling function waits for a lock 0.3 s (wait: 0.3 s longer than deadlock_timeout), unless the user has said how long';

CREATE FUNCTION cdp._hurry_batch() RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__hurry_batch';
COMMENT ON FUNCTION cdp._hurry_batch() IS 'from now on the calling function waits for a lock 0.7 s, unless the user has said how long';

-- The other one in the circle has not woken up yet: asking again at once would win.
CREATE FUNCTION cdp._open_circle(attempt int, most int DEFAULT 20) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF attempt >= most THEN
		RAISE EXCEPTION USING ERRCODE = 'deadlock_detected', MESSAGE = 'deadlock detected',
			DETAIL = format('The call has let go of its locks and begun again %s times.', attempt);
	END IF;
	PERFORM pg_sleep(0.01 * least(attempt, 100));
END
$$;
COMMENT ON FUNCTION cdp._open_circle(int, int) IS 'called by whoever has met others in a circle and let go: before the next attempt; gives up after so many';

-- A transaction that takes many messages locks people in the order of
-- the messages, and two of them would wait for each other.  So only one of them
-- at a time changes identities and traits; the others go on as long as they
-- only tell what happened to people who are known already, which locks nobody.
-- Calls about one message or decision do not take this lock: they wait for nobody
-- while they hold anybody (above).
--
-- Who waits for this lock holds nothing yet.  PostgreSQL may give him the blame for
-- a circle all the same, if somebody in it stands behind him in the queue: then
-- he stands in the queue again.
CREATE FUNCTION cdp._lock_identities(wait boolean, alone boolean DEFAULT true) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	key bigint := cdp._identities_key();
	taken boolean := CASE WHEN alone THEN pg_try_advisory_xact_lock(key) ELSE pg_try_advisory_xact_lock_shared(key) END;
	circles int := 0;
BEGIN
	WHILE wait AND NOT taken LOOP
		BEGIN
			IF alone THEN
				PERFORM pg_advisory_xact_lock(key);
			ELSE
				PERFORM pg_advisory_xact_lock_shared(key);
			END IF;
			taken := true;
		EXCEPTION WHEN deadlock_detected THEN
			circles := circles + 1;
			PERFORM cdp._open_circle(circles, 10);
		END;
	END LOOP;
	RETURN taken;
END
$$;
COMMENT ON FUNCTION cdp._lock_identities(boolean, boolean)
	IS 'from now on this transaction is the only one (or one of those that are not alone) that takes many messages and changes identities; false if it is another and we do not wait';

-- With empty hands: what it gets it gives back.  A circle is the affair of a large
-- call of which this is a part.
--
-- It looks again now and then: who waits for a row waits for the transaction that
-- had it, and does not hear that this one has let go of it and goes on (rolled
-- back more than one subtransaction).  Every other time after long enough to find a
-- circle with what earlier calls of the transaction hold.
CREATE FUNCTION cdp._await(what text, which text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	long		boolean := false;
	circles		int := 0;
BEGIN
	LOOP
		BEGIN
			PERFORM _hurry(long);		-- rolled back, too
			CASE what
				WHEN 'profile' THEN
					PERFORM FROM profile p WHERE p.profile_id = which::bigint FOR UPDATE;
				WHEN 'leaf' THEN
					PERFORM _lock_links(ARRAY[which::bigint]);
				WHEN 'identifier' THEN
					-- who claims it, who changes it
					INSERT INTO identifier_link (identifier, profile_id, at) VALUES (which::identifier, 0, '-infinity') ON CONFLICT DO NOTHING;
					PERFORM FROM identifier_link l WHERE l.identifier = which::identifier FOR UPDATE;
				WHEN 'message' THEN
					INSERT INTO event_message (message_id, profile_id, at) VALUES (which, 0, '-infinity') ON CONFLICT DO NOTHING;
				WHEN 'merges' THEN
					LOCK TABLE profile_merge IN ROW EXCLUSIVE MODE;
				WHEN 'lock' THEN
					PERFORM pg_advisory_xact_lock(which::bigint);
				ELSE
					NULL;
			END CASE;
			RAISE SQLSTATE 'CDP01';
		EXCEPTION
			WHEN SQLSTATE 'CDP01' THEN
				RETURN;
			WHEN lock_not_available THEN
				IF current_setting('lock_timeout') <> '0' THEN
					RAISE;
				END IF;
				long := NOT long;
			-- With empty hands it only stands in somebody's way who has let go, and it need not.
			WHEN deadlock_detected THEN
				circles := circles + 1;
				IF circles >= 5 OR _holds_identities() THEN
					RAISE;
				END IF;
				PERFORM pg_sleep(0.01 * circles);
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._await(text, text) IS 'waits for whoever has this profile, leaf, identifier, message id or advisory lock, or keeps merges away; holds nothing afterwards';

-- For calls that are tried as a whole, in one subtransaction each time.  In one: who waits
-- for a subtransaction that has been committed within it would wait for the whole
-- transaction, and not wake up when that one is rolled back.
CREATE FUNCTION cdp._let_go(attempt int, state text, what text, which text, circles int DEFAULT 40) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF state = '55P03' THEN						-- lock_not_available
		IF current_setting('lock_timeout') <> '0' THEN
			RAISE EXCEPTION USING ERRCODE = state, MESSAGE = what;		-- the user's own, not that of _hurry
		ELSIF attempt > 20 THEN
			RETURN attempt;						-- who only waits does so as long as it takes
		END IF;
	ELSIF state = 'CDP01' AND attempt < 100 THEN
		PERFORM _await(what, which);
	ELSE
		PERFORM _open_circle(attempt, circles);
	END IF;
	RETURN attempt + 1;
END
$$;
COMMENT ON FUNCTION cdp._let_go(int, text, text, text, int)
	IS 'after an attempt that ended with this state: waits for what CDP01 said, or for those whom it met in a circle; the number of the next attempt, which is in earnest from 21 on';

-- The caller goes on to change profiles: nobody who changes sets of tags, or ticks, does so meanwhile (30_tag).
CREATE FUNCTION cdp._try_merges(wait boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF wait THEN
		LOCK TABLE profile_merge IN ROW EXCLUSIVE MODE;
	ELSE
		LOCK TABLE profile_merge IN ROW EXCLUSIVE MODE NOWAIT;
	END IF;
EXCEPTION WHEN lock_not_available THEN
	IF wait THEN
		RAISE;
	END IF;
	RAISE SQLSTATE 'CDP01' USING MESSAGE = 'merges';
END
$$;
COMMENT ON FUNCTION cdp._try_merges(boolean) IS 'until the end of the transaction nobody keeps merges away; or CDP01: without waiting it cannot be done';

-- In a subtransaction of the caller, who catches CDP01: message and detail
-- are what _await is to wait for.
CREATE FUNCTION cdp._try_profiles(leaves bigint[], wait boolean) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	roots	bigint[] := ARRAY(SELECT DISTINCT p.canonical_id FROM profile p WHERE p.profile_id = ANY (leaves) ORDER BY p.canonical_id);
	root	bigint;
	present	bigint;
BEGIN
	FOREACH root IN ARRAY roots LOOP
		IF wait THEN
			SELECT p.canonical_id INTO present FROM profile p WHERE p.profile_id = root FOR UPDATE;
		ELSE
			SELECT p.canonical_id INTO present FROM profile p WHERE p.profile_id = root FOR UPDATE SKIP LOCKED;
			IF NOT FOUND THEN				-- or erased
				RAISE SQLSTATE 'CDP01' USING MESSAGE = 'profile', DETAIL = root::text;
			END IF;
		END IF;
		IF present IS DISTINCT FROM root THEN	-- merged, or erased
			RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
		END IF;
	END LOOP;
	IF NOT _are_roots(leaves, roots) THEN
		RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
	END IF;
	RETURN roots;
END
$$;
COMMENT ON FUNCTION cdp._try_profiles(bigint[], boolean) IS 'lock the canonical profiles of these profiles, in ascending order, and return them; or CDP01: without waiting it cannot be done';

-- For those who take identifiers away.  What they looked at before may be another
-- by now: they look again.
CREATE FUNCTION cdp._try_identities(leaves bigint[], ids cdp.identifier[], profiles bigint[], wait boolean) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	roots	bigint[];
	held	identifier[];
	busy	text;
BEGIN
	IF wait THEN
		PERFORM _lock_links(leaves);
		PERFORM FROM identifier_link l WHERE l.identifier = ANY (ids) ORDER BY l.identifier FOR UPDATE;
		RETURN _try_profiles(profiles, true);
	END IF;
	roots := _try_profiles(profiles, false);
	held := ARRAY(SELECT l.identifier FROM identifier_link l WHERE l.identifier = ANY (ids) ORDER BY l.identifier FOR UPDATE SKIP LOCKED);
	busy := (SELECT l.identifier FROM identifier_link l WHERE l.identifier = ANY (ids) AND l.identifier <> ALL (held) LIMIT 1);
	IF busy IS NOT NULL THEN
		RAISE SQLSTATE 'CDP01' USING MESSAGE = 'identifier', DETAIL = busy;
	END IF;
	busy := nullif(_try_lock_links(leaves), 0);
	IF busy IS NOT NULL THEN
		RAISE SQLSTATE 'CDP01' USING MESSAGE = 'leaf', DETAIL = busy;
	END IF;
	RETURN roots;
END
$$;
COMMENT ON FUNCTION cdp._try_identities(bigint[], cdp.identifier[], bigint[], boolean)
	IS 'nobody links or parts these leaves and identifiers until the transaction ends; locks the canonical profiles and returns them, ascending; or CDP01, as _try_profiles';
