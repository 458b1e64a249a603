/* 22_event: what happened
 *
 * The partitioned parent has no key and no index of its own: every monthly
 * partition gets them from the code that makes it (_event_partition), so that
 * pg_dump restores them in any order.
 */

CREATE SEQUENCE cdp.event_id_seq;
COMMENT ON SEQUENCE cdp.event_id_seq IS 'event ids';
CREATE TABLE cdp.event (
	event_id		bigint NOT NULL DEFAULT nextval('cdp.event_id_seq'),
	at				timestamptz NOT NULL,
	received_at		timestamptz NOT NULL,
	profile_id		bigint NOT NULL,
	via				cdp.identifier,
	participants	bigint[] NOT NULL DEFAULT '{}',
	event			text NOT NULL,
	properties		jsonb NOT NULL DEFAULT '{}',
	context			jsonb NOT NULL DEFAULT '{}',
	source			text,
	message_id		text,
	backfill		boolean NOT NULL DEFAULT false
) PARTITION BY RANGE (at);
COMMENT ON TABLE cdp.event IS 'every event, once, in monthly partitions (UTC)';
COMMENT ON COLUMN cdp.event.profile_id IS 'the leaf profile that owned the event on receipt; never rewritten';
COMMENT ON COLUMN cdp.event.via IS 'the identifier that decided the owner';
COMMENT ON COLUMN cdp.event.participants IS 'leaf profiles (store, rep …) in whose timelines the event stands too';
COMMENT ON COLUMN cdp.event.backfill IS 'loaded as history: changes derived state, starts no journey';

CREATE TABLE cdp.event_message (
	message_id	text PRIMARY KEY,
	event_id	bigint NOT NULL,
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL
);
COMMENT ON TABLE cdp.event_message IS 'message ids already taken (idempotency) and the event each one became';

CREATE TABLE cdp.event_role (
	event		text NOT NULL,
	source		text NOT NULL DEFAULT '*',
	as_event	text,
	role		text,
	label_key	text,
	value_key	text,
	items_key	text,
	seeded		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (event, source, seeded)
);
COMMENT ON TABLE cdp.event_role IS 'what an event means: its name, label, value and items in timelines; writable, applies to events folded from then on (rebuild applies it to all)';

-- Work rows: one for each timeline that an event has yet to reach.
CREATE TABLE cdp.event_tail (
	profile_id	bigint NOT NULL,
	event_id	bigint NOT NULL,
	owner_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	PRIMARY KEY (profile_id, event_id)
);
COMMENT ON TABLE cdp.event_tail IS 'events not yet folded into the timeline of this leaf profile';
COMMENT ON COLUMN cdp.event_tail.owner_id IS 'event.profile_id: with at and event_id it finds the event row';

CREATE SEQUENCE cdp.inbox_id_seq;
COMMENT ON SEQUENCE cdp.inbox_id_seq IS 'order of arrival in the inbox';
CREATE TABLE cdp.inbox (
	payload		jsonb NOT NULL,
	inbox_id	bigint PRIMARY KEY DEFAULT nextval('cdp.inbox_id_seq'),
	received_at	timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE cdp.inbox IS 'messages to be taken by ingest_inbox; COPY cdp.inbox (payload) FROM … fills it';

CREATE SEQUENCE cdp.rejected_id_seq;
COMMENT ON SEQUENCE cdp.rejected_id_seq IS 'ids of rejected messages';
CREATE TABLE cdp.rejected (
	rejected_id	bigint PRIMARY KEY DEFAULT nextval('cdp.rejected_id_seq'),
	payload		jsonb NOT NULL,
	reason		text NOT NULL,
	sqlstate	text NOT NULL,
	at			timestamptz NOT NULL
);
COMMENT ON TABLE cdp.rejected IS 'messages that could not be taken, with the reason; nothing is lost';

