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

