/* 40_outbox: messages that journeys decided, and the queue they form
 *
 * A message is written once, in the transaction that decides it, and then
 * belongs to one sender at a time: claim_messages gives it out with a lease.
 * A sender that dies may or may not have handed the message to the channel,
 * and nobody can tell from here, so a lease that runs out makes it
 * "ambiguous": it is not sent again by itself.  An operator (or a sender that
 * asks its channel by idempotency_key) settles it with ack_message.
 *
 * The queue is cut into parts of 8,192 messages, by id, and the index from
 * which messages are claimed begins with the channel and the part.  So what is
 * through lies aside: while somebody holds an old snapshot, the entries of
 * claimed messages cannot be removed from the index, and every claim would
 * have to step over all of them.  Parts, old to new:
 *
 *		closed	nobody can add to it any more.  Nothing pending in it is a part
 *				nobody looks at; else it has lanes (outbox_lane), one for each
 *				channel and priority, that say where its first pending message
 *				is.  A lane is moved forward now and then, and dropped at its
 *				end.
 *		open	from outbox_front on: the part that new messages go to, and
 *				those before it that some transaction may still add to.
 *
 * Who writes messages holds a shared advisory lock on the part that is current
 * when he begins (_outbox_write), so a part is closed only if no such lock is
 * held on it or an earlier one: rows that are committed late are not missed.
 * All this is about messages that nobody has claimed yet.  Those that are to be
 * tried again (attempts > 0) are few, and have an index of their own.
 */

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
		CHECK (status IN ('pending', 'claimed', 'sent', 'failed', 'dead', 'expired', 'ambiguous', 'refused'))
);
COMMENT ON TABLE cdp.outbox IS 'messages decided by journeys; claim_messages hands them out, ack_message closes them';
COMMENT ON COLUMN cdp.outbox.declared IS 'consent to the purpose must have been granted (the journey names it); false: it must not have been refused';
COMMENT ON COLUMN cdp.outbox.idempotency_key IS 'journey run, step and visit: a channel that sees it twice drops the second';
CREATE INDEX outbox_claim_idx ON cdp.outbox (channel, (id >> 13), priority DESC, due_at, id) WHERE status = 'pending' AND attempts = 0;
CREATE INDEX outbox_retry_idx ON cdp.outbox (channel, priority DESC, leased_until, id) WHERE status = 'pending' AND attempts > 0;
CREATE INDEX outbox_expires_at_idx ON cdp.outbox (expires_at) WHERE status = 'pending' AND expires_at IS NOT NULL;
CREATE INDEX outbox_leased_until_idx ON cdp.outbox (leased_until) WHERE status = 'claimed';
CREATE INDEX outbox_profile_id_idx ON cdp.outbox (profile_id, due_at);
CREATE INDEX outbox_recipient_id_idx ON cdp.outbox (recipient_id) WHERE recipient_id <> profile_id;
COMMENT ON COLUMN cdp.outbox.status IS 'pending -> claimed -> sent | failed (bounced) | dead (gave up) | ambiguous (lease ran out); pending -> expired | refused (no consent any more)';
COMMENT ON COLUMN cdp.outbox.leased_until IS 'claimed: end of the lease; pending: not to be tried again before';

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

CREATE TABLE cdp.outbox_front (
	part		bigint NOT NULL,
	only_row	boolean PRIMARY KEY DEFAULT true,
	CONSTRAINT outbox_front_only_row_check CHECK (only_row)
);
COMMENT ON TABLE cdp.outbox_front IS 'the first part of the outbox (id >> 13) that is not closed; no row = 0';

CREATE TABLE cdp.outbox_lane (
	channel		text NOT NULL,
	priority	int NOT NULL,
	part		bigint NOT NULL,
	since		timestamptz NOT NULL,
	since_id	bigint NOT NULL
);
COMMENT ON TABLE cdp.outbox_lane IS 'closed parts of the outbox with messages that are pending: none comes before (since, since_id) in the order of (due_at, id)';
CREATE UNIQUE INDEX outbox_lane_idx ON cdp.outbox_lane (channel, priority DESC, part);

CREATE SEQUENCE cdp.outbox_claim_seq;
COMMENT ON SEQUENCE cdp.outbox_claim_seq IS 'counts claims: every so many of them one moves the lanes forward';

CREATE TABLE cdp.outbox_pace (
	channel	text NOT NULL,
	at		timestamptz NOT NULL,
	claimed	int NOT NULL
);
COMMENT ON TABLE cdp.outbox_pace IS 'claims of the last minutes, of channels with a limit per minute';
CREATE INDEX outbox_pace_idx ON cdp.outbox_pace (channel, at);

-- writing

CREATE FUNCTION cdp._outbox_write() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	part	bigint;
BEGIN
	-- A part that stops being current before it is locked may have been closed.
	LOOP
		part := (SELECT s.last_value >> 13 FROM cdp.outbox_id_seq s);
		PERFORM pg_advisory_xact_lock_shared('cdp.outbox'::regclass::oid::int, part::int);
		EXIT WHEN part = (SELECT s.last_value >> 13 FROM cdp.outbox_id_seq s);
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._outbox_write() IS 'keeps the part open that messages are about to be written to, until the transaction ends';
CREATE TRIGGER outbox_write BEFORE INSERT ON cdp.outbox
	FOR EACH STATEMENT EXECUTE FUNCTION cdp._outbox_write();

-- One notification for each channel and transaction: equal ones are one.
CREATE FUNCTION cdp._outbox_notify() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF coalesce(current_setting('marketing_cdp.notify', true), 'on')::boolean THEN
		PERFORM pg_notify('cdp_outbox', n.channel) FROM (SELECT DISTINCT w.channel FROM written w ORDER BY w.channel) n;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._outbox_notify() IS 'tells whoever listens to cdp_outbox on which channels there is something new';
CREATE TRIGGER outbox_notify AFTER INSERT ON cdp.outbox REFERENCING NEW TABLE AS written
	FOR EACH STATEMENT EXECUTE FUNCTION cdp._outbox_notify();
