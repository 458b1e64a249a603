/* 40_outbox_claim: handing messages out
 *
 * Locks: the channel's pace (advisory, only if it has a limit), then rows of
 * outbox with SKIP LOCKED, so senders never wait for each other otherwise.
 */

-- Parts before the current one are closed, in their order, once nobody can add
-- to them; then the lanes that messages are claimed from are moved forward to
-- what is left.  One session at a time does this, the others go on without.
CREATE FUNCTION cdp._tend_outbox(of_channel text, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	locks	int := 'cdp.outbox'::regclass::oid::int;
	front	bigint;
	until	bigint;
	lane	record;
	next	record;
BEGIN
	-- An old snapshot does not see what it would have to put into lanes.
	IF current_setting('transaction_isolation') <> 'read committed' OR NOT pg_try_advisory_xact_lock(locks, -1) THEN
		RETURN;
	END IF;
	SELECT coalesce(max(f.part), 0) INTO front FROM cdp.outbox_front f;
	until := front;
	WHILE until < least((SELECT s.last_value >> 13 FROM cdp.outbox_id_seq s), front + 64) LOOP
		EXIT WHEN NOT pg_try_advisory_lock(locks, until::int);
		PERFORM pg_advisory_unlock(locks, until::int);
		until := until + 1;
	END LOOP;
	IF until > front THEN
		-- a snapshot later than the locks
		INSERT INTO cdp.outbox_lane (channel, priority, part, since, since_id)
		SELECT DISTINCT ON (o.channel, o.priority, o.id >> 13) o.channel, o.priority, o.id >> 13, o.due_at, o.id
		FROM cdp.outbox o
		WHERE o.id >= front << 13 AND o.id < until << 13 AND o.status = 'pending' AND o.attempts = 0
		ORDER BY o.channel, o.priority, o.id >> 13, o.due_at, o.id;
		INSERT INTO cdp.outbox_front AS f (part) VALUES (until)
		ON CONFLICT (only_row) DO UPDATE SET part = excluded.part;
	END IF;

	FOR lane IN
		SELECT l.ctid AS row_id, l.* FROM cdp.outbox_lane l
		WHERE (of_channel IS NULL OR l.channel = of_channel) AND l.since <= _tend_outbox.at
		ORDER BY l.channel, l.priority DESC, l.part
	LOOP
		SELECT o.due_at, o.id INTO next FROM cdp.outbox o
		WHERE o.channel = lane.channel AND o.status = 'pending' AND o.attempts = 0 AND o.id >> 13 = lane.part AND o.priority = lane.priority
		  AND (o.due_at, o.id) >= (lane.since, lane.since_id)
		ORDER BY o.due_at, o.id LIMIT 1;
		IF NOT FOUND THEN
			DELETE FROM cdp.outbox_lane l WHERE l.ctid = lane.row_id;
		ELSIF (next.due_at, next.id) > (lane.since, lane.since_id) THEN
			UPDATE cdp.outbox_lane l SET since = next.due_at, since_id = next.id WHERE l.ctid = lane.row_id;
		ELSIF of_channel IS NOT NULL THEN
			-- nobody has come this far
			EXIT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._tend_outbox(text, timestamptz) IS 'closes parts of the outbox and moves lanes (of a channel, or of all) past what has been claimed';

-- Who is gone, or may not be written to any more, since the message was decided:
-- the recipient, or the profile that a message to another is about; and what
-- would go to an address that has bounced.
CREATE FUNCTION cdp._hand_out(ids bigint[], until timestamptz, at timestamptz) RETURNS SETOF cdp.outbox
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	g		record;
	nobody	bigint[];
	refused	bigint[] := '{}';
	ruled	bigint[] := '{}';
BEGIN
	IF EXISTS (SELECT FROM cdp.suppression r WHERE r.active) THEN
		ruled := ARRAY(SELECT a.ids[n]
					   FROM (SELECT array_agg(o.id) AS ids, array_agg(p.canonical_id) AS profiles, array_agg(_hand_out.at) AS instants
							 FROM cdp.outbox o JOIN cdp.profile p ON p.profile_id = o.profile_id
							 WHERE o.id = ANY (ids) AND o.recipient_id = o.profile_id
								AND o.purpose = ANY (ARRAY(SELECT u.purpose FROM (SELECT DISTINCT x.purpose FROM cdp.outbox x WHERE x.id = ANY (ids)) u WHERE cdp._needs_consent(u.purpose)))) a,
						   unnest(cdp._ruled_out(a.profiles, a.instants)) n);
	END IF;
	FOR g IN
		SELECT o.purpose, o.channel, o.declared, array_agg(o.id) AS ids, array_agg(o.recipient_id) AS recipients,
			   array_agg(o.id) FILTER (WHERE o.recipient_id <> o.profile_id) AS about_others
		FROM cdp.outbox o WHERE o.id = ANY (ids) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
	LOOP
		nobody := cdp._not_consented(g.recipients, g.purpose, g.channel, g.declared, array_fill(_hand_out.at, ARRAY[cardinality(g.ids)]));
		IF nobody <> '{}' THEN
			refused := refused || ARRAY(SELECT m.id FROM unnest(g.ids, g.recipients) m(id, recipient) WHERE m.recipient = ANY (nobody));
		END IF;
		IF g.about_others IS NOT NULL THEN
			refused := refused || ARRAY(
				SELECT o.id FROM cdp.outbox o JOIN cdp.profile p ON p.profile_id = o.profile_id JOIN cdp.profile c ON c.profile_id = p.canonical_id
				WHERE o.id = ANY (g.about_others) AND (c.suppressed OR c.erased_at IS NOT NULL));
		END IF;
	END LOOP;
	refused := refused || ARRAY(
		SELECT o.id FROM cdp.outbox o
		CROSS JOIN LATERAL (SELECT FROM cdp.bounced_address b WHERE b.channel = o.channel AND b.address = o.address LIMIT 1) b
		WHERE o.id = ANY (ids));
	refused := refused || ruled;
	IF refused <> '{}' THEN
		ids := cdp._without(ids, refused);
		WITH closed AS (
			UPDATE cdp.outbox o SET status = 'refused', leased_until = NULL WHERE o.id = ANY (refused)
			RETURNING o.id, o.purpose, o.channel, o.recipient_id, o.profile_id, o.address
		)
		INSERT INTO cdp.delivery (outbox_id, at, status, detail)
		SELECT c.id, _hand_out.at, 'refused',
			   CASE WHEN (SELECT count(*) FROM cdp.profile p JOIN cdp.profile o ON o.profile_id = p.canonical_id
						  WHERE p.profile_id IN (c.recipient_id, c.profile_id) AND NOT o.suppressed AND o.erased_at IS NULL)
						 < CASE WHEN c.recipient_id = c.profile_id THEN 1 ELSE 2 END THEN 'profile is suppressed or erased'
					WHEN c.id = ANY (ruled) THEN 'profile is suppressed by a rule'
					WHEN EXISTS (SELECT FROM cdp.bounced_address b WHERE b.channel = c.channel AND b.address = c.address) THEN 'bounced: ' || c.channel
					ELSE format('consent: %s on %s', c.purpose, c.channel) END
		FROM closed c ORDER BY c.id;
	END IF;
	RETURN QUERY
	WITH claimed AS (
		UPDATE cdp.outbox o SET status = 'claimed', attempts = o.attempts + 1, leased_until = _hand_out.until
		WHERE o.id = ANY (ids)
		RETURNING o.*
	)
	SELECT c.* FROM claimed c ORDER BY c.priority DESC, c.due_at, c.id;
END
$$;
COMMENT ON FUNCTION cdp._hand_out(bigint[], timestamptz, timestamptz) IS 'claims messages that the caller has locked; those that may not go out any more are refused';

CREATE FUNCTION cdp.claim_messages(channel text, max int, lease interval DEFAULT '30 s', at timestamptz DEFAULT now())
RETURNS SETOF cdp.outbox
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
	until	timestamptz := claim_messages.at + make_interval(secs => extract(epoch FROM claim_messages.lease)::double precision);
	pace	int := (SELECT c.per_minute FROM cdp.channel_effective c WHERE c.name = claim_messages.channel);
	may		int := claim_messages.max;
	need	int;
	above	int := 2147483647;
	part	bigint;
	latest	bigint;
	lane	record;
	ids		bigint[];
	n		int;
BEGIN
	IF claim_messages.channel IS NULL OR claim_messages.max IS NULL OR claim_messages.lease IS NULL OR claim_messages.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'arguments of claim_messages must not be null';
	ELSIF NOT isfinite(claim_messages.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	ELSIF claim_messages.max < 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max must not be negative';
	ELSIF claim_messages.lease <= interval '0' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'lease must be longer than zero';
	END IF;

	IF pace IS NOT NULL THEN
		-- What others have claimed must be seen: no snapshot older than the lock.
		IF current_setting('transaction_isolation') <> 'read committed' THEN
			RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
				MESSAGE = format('channel "%s" has a limit per minute, which needs isolation level READ COMMITTED', claim_messages.channel);
		END IF;
		PERFORM pg_advisory_xact_lock('cdp.outbox_pace'::regclass::oid::int, hashtext(claim_messages.channel));
		may := least(may, pace - (
			SELECT coalesce(sum(p.claimed), 0) FROM cdp.outbox_pace p
			WHERE p.channel = claim_messages.channel
			  AND p.at > claim_messages.at - interval '60 s' AND p.at < claim_messages.at + interval '60 s'));
	END IF;

	IF nextval('cdp.outbox_claim_seq') % greatest(2048 / greatest(claim_messages.max, 1), 1) = 0
		OR (SELECT coalesce(max(f.part), 0) + 1 FROM cdp.outbox_front f) < (SELECT s.last_value >> 13 FROM cdp.outbox_id_seq s) THEN
		PERFORM cdp._tend_outbox(claim_messages.channel, claim_messages.at);
	END IF;

	need := may;
	-- By priority; of one priority first the lanes, old to new, then what lies in
	-- open parts and what is to be tried again.  Front and lanes are of one
	-- snapshot; the row without a part stands for "below all lanes".
	FOR lane IN
		SELECT l.priority, l.part, l.since, l.since_id, coalesce(f.part, 0) AS front
		FROM (SELECT x.priority, x.part, x.since, x.since_id FROM cdp.outbox_lane x
			  WHERE x.channel = claim_messages.channel AND x.since <= claim_messages.at
			  UNION ALL SELECT -2147483648, NULL, NULL, NULL) l
		LEFT JOIN cdp.outbox_front f ON true
		ORDER BY l.priority DESC, l.part
	LOOP
		-- Few parts are open.  A long transaction that writes messages may keep
		-- many so: then four at a time, for as many rows of each are locked.
		part := lane.front;
		latest := (SELECT s.last_value >> 13 FROM cdp.outbox_id_seq s);
		WHILE need > 0 AND lane.priority < above AND part <= latest LOOP
			ids := ARRAY(
				SELECT x.id
				FROM (SELECT o.id, o.priority, o.due_at
					  FROM generate_series(part, least(part + 3, latest)) p(part)
					  CROSS JOIN LATERAL (
						SELECT q.id, q.priority, q.due_at FROM cdp.outbox q
						WHERE q.channel = claim_messages.channel AND q.status = 'pending' AND q.attempts = 0 AND q.id >> 13 = p.part
						  AND q.priority > lane.priority AND q.priority <= above AND q.due_at <= claim_messages.at
						  AND (q.expires_at IS NULL OR q.expires_at > claim_messages.at)
						ORDER BY q.priority DESC, q.due_at, q.id LIMIT need FOR UPDATE SKIP LOCKED) o
					  UNION ALL
					  SELECT o.id, o.priority, o.due_at
					  FROM (SELECT q.id, q.priority, q.due_at FROM cdp.outbox q
							WHERE q.channel = claim_messages.channel AND q.status = 'pending' AND q.attempts > 0 AND q.leased_until <= claim_messages.at AND part = lane.front
							  AND q.priority > lane.priority AND q.priority <= above AND q.due_at <= claim_messages.at
							  AND (q.expires_at IS NULL OR q.expires_at > claim_messages.at)
							ORDER BY q.priority DESC, q.leased_until, q.id LIMIT need FOR UPDATE SKIP LOCKED) o) x
				ORDER BY x.priority DESC, x.due_at, x.id LIMIT need);
			RETURN QUERY SELECT h.* FROM cdp._hand_out(ids, until, claim_messages.at) h;
			GET DIAGNOSTICS n = ROW_COUNT;
			need := need - n;
			IF n = cardinality(ids) THEN	-- else some were refused: others may take their place
				part := part + 4;
			END IF;
		END LOOP;
		above := lane.priority;
		WHILE need > 0 AND lane.part IS NOT NULL LOOP
			ids := ARRAY(
				SELECT q.id FROM cdp.outbox q
				WHERE q.channel = claim_messages.channel AND q.status = 'pending' AND q.attempts = 0 AND q.id >> 13 = lane.part AND q.priority = lane.priority
				  AND (q.due_at, q.id) >= (lane.since, lane.since_id) AND q.due_at <= claim_messages.at
				  AND (q.expires_at IS NULL OR q.expires_at > claim_messages.at)
				ORDER BY q.due_at, q.id LIMIT need FOR UPDATE SKIP LOCKED);
			EXIT WHEN ids = '{}';
			RETURN QUERY SELECT h.* FROM cdp._hand_out(ids, until, claim_messages.at) h;
			GET DIAGNOSTICS n = ROW_COUNT;
			need := need - n;
			EXIT WHEN n = cardinality(ids);
		END LOOP;
		EXIT WHEN need <= 0;
	END LOOP;
	IF pace IS NOT NULL AND need < may THEN
		INSERT INTO cdp.outbox_pace (channel, at, claimed) VALUES (claim_messages.channel, claim_messages.at, may - need);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp.claim_messages(text, int, interval, timestamptz) IS 'hands out due messages of a channel, most important first, each to one caller at a time, as long as they may still go out';
