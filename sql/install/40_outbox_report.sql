/* 40_outbox_report: what becomes of messages
 *
 * What channels report is kept in table delivery, each status of a message
 * once ("failed": once for each attempt), whatever the order of arrival.  What
 * the recipient did becomes an event in the timeline too, so that journeys,
 * rules and goals see it: message_delivered[journey], message_opened[journey] …
 *
 * Locks, for reports that take consent away: advisory locks of the consent, profile rows
 * (ascending); for those that are events: event_message, event_tail; then
 * outbox rows (ascending), bounced_address.
 */

-- Reports about what came after the sending.  "received": it did reach somebody,
-- so it was sent, and did not bounce for good, whatever else is said.
CREATE FUNCTION cdp._report_kinds() RETURNS TABLE (report text, becomes text, event text, received boolean, refuses boolean)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	VALUES ('sent', 'sent', NULL::text, false, false),
		   ('failed', 'pending', NULL, false, false),
		   ('dead', 'dead', 'message_failed', false, false),
		   ('bounced', 'failed', 'message_bounced', false, false),
		   ('delivered', 'sent', 'message_delivered', true, false),
		   ('opened', 'sent', 'message_opened', true, false),
		   ('clicked', 'sent', 'message_clicked', true, false),
		   ('complained', 'sent', 'message_complained', true, true),
		   ('unsubscribed', 'sent', 'message_unsubscribed', true, true);
END;
COMMENT ON FUNCTION cdp._report_kinds() IS 'what ack_message understands, what the message becomes, and the event that the report is';

INSERT INTO cdp.event_role (event, role, label_key, seeded)
SELECT k.event, 'message', 'journey', true FROM cdp._report_kinds() k WHERE k.event IS NOT NULL;

-- Waits between attempts: 1, 4, 16, 64 minutes; after the fifth the message is dead.
CREATE FUNCTION cdp._retry_after(attempts int) RETURNS interval
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN attempts < 5 THEN make_interval(mins => (4 ^ (greatest(attempts, 1) - 1))::int) END;
END;
COMMENT ON FUNCTION cdp._retry_after(int) IS 'wait before the next attempt, NULL after the last';

-- The event's message id lets each report of a message happen once.  Who complains or
-- unsubscribes refuses from then on: decided once too, so that a report that
-- comes again does not undo a consent given since.
CREATE FUNCTION cdp._report_events(ids bigint[], kind text, detail text, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	event	text;
	refuses	boolean;
	events	cdp.event[];
	r		record;
BEGIN
	SELECT k.event, k.refuses INTO STRICT event, refuses FROM cdp._report_kinds() k WHERE k.report = _report_events.kind;
	IF refuses THEN
		-- Two reports of one message, one after the other.
		PERFORM pg_advisory_xact_lock_shared(l.key)
		FROM (SELECT DISTINCT cdp._consent_lock('consent:' || o.purpose || '.' || o.channel) AS key FROM cdp.outbox o WHERE o.id = ANY (ids)) l
		ORDER BY l.key;
		PERFORM cdp._lock_owners(ARRAY(SELECT o.recipient_id FROM cdp.outbox o WHERE o.id = ANY (ids)));
	END IF;
	SELECT array_agg(ROW(nextval('cdp.event_id_seq'), _report_events.at, _report_events.at, coalesce(run.owner_id, run.profile_id, m.profile_id), NULL,
			CASE WHEN m.recipient_id <> m.profile_id THEN ARRAY[m.recipient_id] ELSE '{}' END, event,
			jsonb_strip_nulls(jsonb_build_object('journey', m.journey, 'campaign', m.campaign, 'channel', m.channel, 'template', m.template,
				'step', m.step, 'run_id', m.run_id, 'variant', m.variant, 'message', m.id, 'detail', _report_events.detail)),
			'{}', 'journey', m.message_id, false)::cdp.event ORDER BY m.profile_id, m.id)
	INTO events
	FROM (SELECT o.*, format('message:%s:%s', o.idempotency_key, _report_events.kind) AS message_id FROM cdp.outbox o WHERE o.id = ANY (ids)) m
	JOIN cdp.profile p ON p.profile_id = m.profile_id	-- erased meanwhile: no event
	LEFT JOIN cdp.journey_state run ON run.run_id = m.run_id	-- the leaf, see 36_journey_merge
	WHERE p.erased_at IS NULL AND NOT EXISTS (SELECT FROM cdp.event_message s WHERE s.message_id = m.message_id);
	IF events IS NULL THEN
		RETURN;
	END IF;
	PERFORM cdp._record_events(events);
	IF refuses THEN
		FOR r IN
			SELECT DISTINCT l.canonical_id, o.purpose, o.channel
			FROM unnest(events) e JOIN cdp.outbox o ON o.id = (e.properties ->> 'message')::bigint JOIN cdp.profile l ON l.profile_id = o.recipient_id
			ORDER BY 1, 2, 3
		LOOP
			PERFORM cdp.consent(r.canonical_id, r.purpose, r.channel, false, _report_events.at, kind);
		END LOOP;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._report_events(bigint[], text, text, timestamptz) IS 'puts a report about messages into timelines, and takes consent away if it does; a report that was there before does nothing';

CREATE FUNCTION cdp.ack_messages(ids bigint[], status text, detail text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	kind	record;
	usual	bigint[] := '{}';
	dead	bigint[];
	wrong	record;
	bounced	bigint[];
	changed	bigint;
BEGIN
	IF ack_messages.ids IS NULL OR array_position(ack_messages.ids, NULL) IS NOT NULL OR ack_messages.status IS NULL OR ack_messages.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'id, status and at must not be null';
	ELSIF NOT isfinite(ack_messages.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	SELECT k.* INTO kind FROM cdp._report_kinds() k WHERE k.report = ack_messages.status;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unrecognized delivery status: "%s"', ack_messages.status),
			HINT = 'Use sent, failed, bounced, dead, delivered, opened, clicked, complained or unsubscribed.';
	END IF;
	IF ack_messages.status = 'sent' THEN
		-- The usual report about the usual message.  (Of claimed ones only there
		-- is an index, which an old snapshot fills with dead entries.)  All rows
		-- in order first: two callers may report some of the same messages.
		PERFORM FROM cdp.outbox o WHERE o.id = ANY (ack_messages.ids) ORDER BY o.id FOR UPDATE;
		WITH written AS (
			UPDATE cdp.outbox o SET status = 'sent', leased_until = NULL
			WHERE o.id = ANY (ack_messages.ids) AND o.status IN ('claimed', 'ambiguous')
			RETURNING o.id
		), logged AS (
			INSERT INTO cdp.delivery (outbox_id, at, status, detail)
			SELECT w.id, ack_messages.at, 'sent', ack_messages.detail FROM written w ORDER BY w.id
			RETURNING outbox_id
		)
		SELECT coalesce(array_agg(l.outbox_id), '{}') INTO usual FROM logged l;
		IF cardinality(usual) = cardinality(ack_messages.ids) THEN
			RETURN cardinality(usual);
		END IF;
		ack_messages.ids := cdp._without(ack_messages.ids, usual);
	ELSIF kind.received OR ack_messages.status = 'bounced' THEN
		-- Before any row of outbox is locked; an error below takes it back.
		PERFORM cdp._report_events(ack_messages.ids, ack_messages.status, ack_messages.detail, ack_messages.at);
	END IF;

	PERFORM FROM cdp.outbox o WHERE o.id = ANY (ack_messages.ids) ORDER BY o.id FOR UPDATE;
	SELECT x.id, o.status, o.attempts INTO wrong
	FROM unnest(ack_messages.ids) x(id) LEFT JOIN cdp.outbox o ON o.id = x.id
	WHERE o.id IS NULL AND NOT EXISTS (SELECT FROM cdp.erased_message e WHERE e.id = x.id)	-- its recipient was erased meanwhile
	   OR o.attempts = 0
	   OR ack_messages.status IN ('failed', 'dead') AND o.status IN ('sent', 'failed', 'expired')
	   OR ack_messages.status = 'failed' AND o.status = 'dead' AND cdp._retry_after(o.attempts) IS NOT NULL
	ORDER BY x.id LIMIT 1;
	IF FOUND THEN
		IF wrong.status IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('message %s does not exist', wrong.id);
		ELSIF wrong.attempts = 0 THEN
			RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('message %s was never claimed', wrong.id);
		END IF;
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('message %s is already %s', wrong.id, wrong.status);
	END IF;

	-- What was not said before.  It was sent after all: true whenever it is
	-- said; a bounce follows a send, but what was opened did not bounce.
	WITH news AS MATERIALIZED (
		SELECT o.id, CASE
			WHEN ack_messages.status = 'failed' THEN CASE WHEN cdp._retry_after(o.attempts) IS NULL THEN 'dead' ELSE 'pending' END
			WHEN ack_messages.status = 'sent' AND o.status = 'failed' THEN o.status
			WHEN ack_messages.status = 'bounced' AND EXISTS (
				SELECT FROM cdp.delivery d JOIN cdp._report_kinds() k ON k.report = d.status WHERE d.outbox_id = o.id AND k.received) THEN o.status
			ELSE kind.becomes END AS becomes, o.attempts
		FROM cdp.outbox o
		WHERE o.id = ANY (ack_messages.ids)
		  AND CASE ack_messages.status WHEN 'failed' THEN o.status IN ('claimed', 'ambiguous')
			  ELSE NOT EXISTS (SELECT FROM cdp.delivery d WHERE d.outbox_id = o.id AND d.status = ack_messages.status) END
	), written AS (
		UPDATE cdp.outbox o SET status = n.becomes, leased_until = CASE n.becomes WHEN 'pending' THEN ack_messages.at + cdp._retry_after(n.attempts) END
		FROM news n WHERE o.id = n.id AND o.status <> n.becomes
		RETURNING o.id, o.status
	), logged AS (
		INSERT INTO cdp.delivery (outbox_id, at, status, detail)
		SELECT n.id, ack_messages.at, ack_messages.status, ack_messages.detail FROM news n ORDER BY n.id
		RETURNING outbox_id
	)
	SELECT (SELECT count(*) FROM logged), (SELECT array_agg(w.id ORDER BY w.id) FROM written w WHERE w.status = 'dead'),
		   (SELECT array_agg(n.id) FROM news n WHERE n.becomes = 'failed') INTO changed, dead, bounced;
	IF dead IS NOT NULL THEN
		PERFORM cdp._report_events(dead, 'dead', ack_messages.detail, ack_messages.at);
	END IF;
	IF kind.received THEN
		DELETE FROM cdp.bounced_address b WHERE b.outbox_id = ANY (ack_messages.ids);
	ELSIF ack_messages.status = 'bounced' AND bounced IS NOT NULL THEN
		PERFORM cdp._note_bounces(bounced, ack_messages.at, ack_messages.detail);
	END IF;
	RETURN changed + cardinality(usual);
END
$$;
COMMENT ON FUNCTION cdp.ack_messages(bigint[], text, text, timestamptz) IS 'ack_message of many messages; returns how many of the reports were new';

CREATE FUNCTION cdp.ack_message(id bigint, status text, detail text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM cdp.ack_messages(ARRAY[ack_message.id], ack_message.status, ack_message.detail, ack_message.at);
END
$$;
COMMENT ON FUNCTION cdp.ack_message(bigint, text, text, timestamptz)
	IS 'reports what became of a claimed message: sent, failed (to be tried again), bounced or dead, and later delivered, opened, clicked, complained or unsubscribed';

-- "done" counts all kinds, "lag" is the age of the oldest one still left (of those that are to be forgotten nobody asks).
CREATE FUNCTION cdp._release_messages(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	WITH late AS MATERIALIZED (
		SELECT o.id FROM cdp.outbox o
		WHERE o.status = 'claimed' AND o.leased_until <= _release_messages.now
		ORDER BY o.leased_until, o.id LIMIT max_rows FOR UPDATE SKIP LOCKED
	), stale AS MATERIALIZED (
		SELECT o.id FROM cdp.outbox o
		WHERE o.status = 'pending' AND o.expires_at <= _release_messages.now
		ORDER BY o.expires_at, o.id LIMIT max_rows FOR UPDATE SKIP LOCKED
	), closed AS (
		UPDATE cdp.outbox o SET status = c.becomes, leased_until = NULL
		FROM (SELECT l.id, 'ambiguous' AS becomes, 'the lease ran out without a report' AS why FROM late l
			  UNION ALL SELECT s.id, 'expired', 'not claimed in time' FROM stale s) c
		WHERE o.id = c.id
		RETURNING o.id, o.status, c.why
	), logged AS (
		INSERT INTO cdp.delivery (outbox_id, at, status, detail)
		SELECT c.id, _release_messages.now, c.status, c.why FROM closed c ORDER BY c.id
		RETURNING 1
	)
	SELECT count(*) INTO done FROM logged;
	lag := _release_messages.now - least(
		(SELECT min(o.leased_until) FROM cdp.outbox o WHERE o.status = 'claimed' AND o.leased_until <= _release_messages.now),
		(SELECT min(o.expires_at) FROM cdp.outbox o WHERE o.status = 'pending' AND o.expires_at <= _release_messages.now));
	done := done + cdp._forget_messages(_release_messages.now, max_rows);
	PERFORM cdp._tend_outbox(NULL, _release_messages.now);
	DELETE FROM cdp.outbox_pace p WHERE p.at <= _release_messages.now - interval '1 h';
END
$$;
COMMENT ON FUNCTION cdp._release_messages(timestamptz, int) IS 'makes messages whose lease ran out ambiguous, and those nobody claimed in time expired; deletes those that are kept no longer';
