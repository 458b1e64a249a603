/* 40_outbox: messages that a channel's sender claims and acknowledges */

CREATE SEQUENCE cdp.outbox_id_seq;
COMMENT ON SEQUENCE cdp.outbox_id_seq IS 'ids of messages';
CREATE TABLE cdp.outbox (
	id				bigint PRIMARY KEY DEFAULT nextval('cdp.outbox_id_seq'),
	idempotency_key	text NOT NULL UNIQUE,
	profile_id		bigint NOT NULL,
	recipient_id	bigint NOT NULL,
	address			text,
	channel			text NOT NULL,
	purpose			text NOT NULL,
	declared		boolean NOT NULL DEFAULT true,
	template		text NOT NULL,
	params			jsonb NOT NULL DEFAULT '{}',
	campaign		text,
	journey			text,
	version			int,
	run_id			bigint,
	step			text,
	variant			text,
	priority		int NOT NULL DEFAULT 50,
	due_at			timestamptz NOT NULL,
	expires_at		timestamptz,
	status			text NOT NULL DEFAULT 'pending',
	attempts		int NOT NULL DEFAULT 0,
	leased_until	timestamptz,
	CONSTRAINT outbox_status_check
		CHECK (status IN ('pending', 'claimed', 'sent', 'failed', 'dead', 'expired', 'ambiguous'))
);
COMMENT ON TABLE cdp.outbox IS 'messages decided by journeys; claim_messages hands them out, ack_message closes them';
COMMENT ON COLUMN cdp.outbox.declared IS 'consent to the purpose must have been granted (the journey names it); false: it must not have been refused';
COMMENT ON COLUMN cdp.outbox.idempotency_key IS 'journey run, step and visit: a channel that sees it twice drops the second';
CREATE INDEX outbox_claim_idx ON cdp.outbox (channel, priority DESC, due_at, id) WHERE status = 'pending';
CREATE INDEX outbox_leased_until_idx ON cdp.outbox (leased_until) WHERE status = 'claimed';
CREATE INDEX outbox_profile_id_idx ON cdp.outbox (profile_id);

CREATE SEQUENCE cdp.delivery_id_seq;
COMMENT ON SEQUENCE cdp.delivery_id_seq IS 'order of deliveries';
CREATE TABLE cdp.delivery (
	delivery_id	bigint PRIMARY KEY DEFAULT nextval('cdp.delivery_id_seq'),
	outbox_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	status		text NOT NULL,
	detail		text
);
COMMENT ON TABLE cdp.delivery IS 'what channels reported about each message';
CREATE INDEX delivery_outbox_id_idx ON cdp.delivery (outbox_id);

CREATE INDEX outbox_expires_at_idx ON cdp.outbox (expires_at) WHERE status = 'pending';
COMMENT ON COLUMN cdp.outbox.status IS 'pending -> claimed -> sent | failed (refused for good) | dead (gave up) | ambiguous (lease ran out); pending -> expired';
COMMENT ON COLUMN cdp.outbox.leased_until IS 'claimed: end of the lease; pending: not to be tried again before';

/*
 * A message is written once, in the transaction that decides it, and then
 * belongs to one sender at a time: claim_messages gives it out with a lease.
 * A sender that dies may or may not have handed the message to the channel,
 * and nobody can tell from here, so a lease that runs out makes it
 * "ambiguous": it is not sent again by itself.  An operator (or a sender that
 * asks its channel by idempotency_key) settles it with ack_message.
 */

CREATE FUNCTION cdp.claim_messages(channel text, max int, lease interval DEFAULT '30 s', at timestamptz DEFAULT now())
RETURNS SETOF cdp.outbox
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
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
	RETURN QUERY
	WITH chosen AS MATERIALIZED (
		SELECT o.id FROM cdp.outbox o
		WHERE o.channel = claim_messages.channel AND o.status = 'pending' AND o.due_at <= claim_messages.at
		  AND (o.expires_at IS NULL OR o.expires_at > claim_messages.at)
		  AND (o.leased_until IS NULL OR o.leased_until <= claim_messages.at)
		ORDER BY o.priority DESC, o.due_at, o.id
		LIMIT claim_messages.max FOR UPDATE SKIP LOCKED
	), claimed AS (
		UPDATE cdp.outbox o
		SET status = 'claimed', attempts = o.attempts + 1,
			leased_until = claim_messages.at + make_interval(secs => extract(epoch FROM claim_messages.lease)::double precision)
		FROM chosen c WHERE o.id = c.id
		RETURNING o.*
	)
	SELECT c.* FROM claimed c ORDER BY c.priority DESC, c.due_at, c.id;
END
$$;
COMMENT ON FUNCTION cdp.claim_messages(text, int, interval, timestamptz) IS 'hands out due messages of a channel, most important first, each to one caller at a time';

-- Waits between attempts: 1, 4, 16, 64 minutes; after the fifth the message is dead.
CREATE FUNCTION cdp._retry_after(attempts int) RETURNS interval
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN attempts < 5 THEN make_interval(mins => (4 ^ (greatest(attempts, 1) - 1))::int) END;
END;
COMMENT ON FUNCTION cdp._retry_after(int) IS 'wait before the next attempt, NULL after the last';

CREATE FUNCTION cdp.ack_message(id bigint, status text, detail text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	message	cdp.outbox;
	becomes	text;
	wait	interval;
BEGIN
	IF ack_message.id IS NULL OR ack_message.status IS NULL OR ack_message.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'id, status and at must not be null';
	ELSIF NOT isfinite(ack_message.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	ELSIF ack_message.status NOT IN ('sent', 'failed', 'bounced', 'dead') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unrecognized delivery status: "%s"', ack_message.status),
			HINT = 'Use sent, failed, bounced or dead.';
	END IF;
	SELECT o.* INTO message FROM cdp.outbox o WHERE o.id = ack_message.id FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('message %s does not exist', ack_message.id);
	ELSIF message.attempts = 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('message %s was never claimed', ack_message.id);
	END IF;
	wait := cdp._retry_after(message.attempts);
	becomes := CASE ack_message.status
		WHEN 'failed' THEN CASE WHEN wait IS NULL THEN 'dead' ELSE 'pending' END
		WHEN 'bounced' THEN 'failed'
		ELSE ack_message.status END;

	-- The same report again changes nothing.
	IF message.status = becomes THEN
		RETURN;
	END IF;
	-- A claim is open to every report; so is one nobody knows the end of.  It
	-- was sent after all: true whenever it comes.  A bounce follows a send.
	IF NOT (message.status IN ('claimed', 'ambiguous')
			OR becomes = 'sent' AND message.status IN ('pending', 'dead', 'expired')
			OR ack_message.status IN ('bounced', 'dead') AND message.status = 'pending'
			OR ack_message.status = 'bounced' AND message.status = 'sent') THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('message %s is already %s', ack_message.id, message.status);
	END IF;
	UPDATE cdp.outbox o SET status = becomes, leased_until = CASE becomes WHEN 'pending' THEN ack_message.at + wait END
	WHERE o.id = ack_message.id;
	INSERT INTO cdp.delivery (outbox_id, at, status, detail)
	VALUES (ack_message.id, ack_message.at, ack_message.status, ack_message.detail);
END
$$;
COMMENT ON FUNCTION cdp.ack_message(bigint, text, text, timestamptz) IS 'reports what became of a claimed message: sent, failed (to be tried again), bounced or dead';

-- "done" counts both kinds, "lag" is the age of the oldest one still left.
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
END
$$;
COMMENT ON FUNCTION cdp._release_messages(timestamptz, int) IS 'makes messages whose lease ran out ambiguous, and those nobody claimed in time expired';
