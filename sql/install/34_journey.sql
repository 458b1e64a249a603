/* 34_journey: what is to be done with whom, and how far each run has come */

CREATE SEQUENCE cdp.journey_id_seq;
COMMENT ON SEQUENCE cdp.journey_id_seq IS 'ids of journeys';
CREATE TABLE cdp.journey (
	name			text PRIMARY KEY,
	journey_id		bigint NOT NULL UNIQUE DEFAULT nextval('cdp.journey_id_seq'),
	kind			text NOT NULL,
	status			text NOT NULL DEFAULT 'draft',
	version			int NOT NULL,
	active_version	int,
	CONSTRAINT journey_status_check CHECK (status IN ('draft', 'active', 'paused', 'archived'))
);
COMMENT ON TABLE cdp.journey IS 'journeys by name, with their newest and their active version';

CREATE TABLE cdp.journey_version (
	journey		text NOT NULL,
	version		int NOT NULL,
	spec		jsonb NOT NULL,
	PRIMARY KEY (journey, version)
);
COMMENT ON TABLE cdp.journey_version IS 'every version of every journey; a run stays on the version it entered';

-- What active journeys listen to: kept by activate_journey and friends, read
-- on every event and tag change, so it stays tiny.
CREATE TABLE cdp.journey_listener (
	source		text NOT NULL,
	name		text NOT NULL,
	journey		text NOT NULL,
	version		int NOT NULL,
	purpose		text NOT NULL,
	PRIMARY KEY (source, name, journey, version, purpose),
	CONSTRAINT journey_listener_source_check CHECK (source IN ('event', 'enters', 'leaves')),
	CONSTRAINT journey_listener_purpose_check CHECK (purpose IN ('entry', 'exit', 'goal', 'wait_for'))
);
COMMENT ON TABLE cdp.journey_listener IS 'events and tags that active journeys wait for';

-- Work rows: something happened that a listener waits for.
CREATE SEQUENCE cdp.trigger_id_seq;
COMMENT ON SEQUENCE cdp.trigger_id_seq IS 'ids of journey triggers';
CREATE TABLE cdp.journey_trigger (
	trigger_id	bigint PRIMARY KEY DEFAULT nextval('cdp.trigger_id_seq'),
	source		text NOT NULL,
	name		text NOT NULL,
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	label		text,
	value		double precision,
	event_id	bigint
);
COMMENT ON TABLE cdp.journey_trigger IS 'events and tag changes that advance_journeys has yet to look at';
CREATE INDEX journey_trigger_at_idx ON cdp.journey_trigger (at);

CREATE SEQUENCE cdp.run_id_seq;
COMMENT ON SEQUENCE cdp.run_id_seq IS 'ids of journey runs';
CREATE TABLE cdp.journey_state (
	run_id		bigint PRIMARY KEY DEFAULT nextval('cdp.run_id_seq'),
	profile_id	bigint NOT NULL,
	journey		text NOT NULL,
	version		int NOT NULL,
	key			text NOT NULL DEFAULT '',
	step		text NOT NULL,
	visit		int NOT NULL DEFAULT 1,
	status		text NOT NULL DEFAULT 'active',
	entered_at	timestamptz NOT NULL,
	due_at		timestamptz,
	ended_at	timestamptz,
	outcome		text,
	label		text,
	entry		jsonb NOT NULL DEFAULT '{}',
	context		jsonb NOT NULL DEFAULT '{}',
	CONSTRAINT journey_state_status_check CHECK (status IN ('active', 'ended', 'failed'))
);
COMMENT ON TABLE cdp.journey_state IS 'one row per run: where a profile stands in a journey';
CREATE INDEX journey_state_due_at_idx ON cdp.journey_state (due_at) WHERE status = 'active';
CREATE INDEX journey_state_profile_id_idx ON cdp.journey_state (profile_id, journey);
-- At most one active run per profile, journey and key, under any concurrency.
CREATE UNIQUE INDEX journey_state_active_idx ON cdp.journey_state (journey, profile_id, key) WHERE status = 'active';

CREATE SEQUENCE cdp.journey_log_id_seq;
COMMENT ON SEQUENCE cdp.journey_log_id_seq IS 'order of journey log entries';
CREATE TABLE cdp.journey_log (
	log_id		bigint PRIMARY KEY DEFAULT nextval('cdp.journey_log_id_seq'),
	at			timestamptz NOT NULL,
	profile_id	bigint NOT NULL,
	journey		text NOT NULL,
	version		int,
	run_id		bigint,
	step		text,
	what		text NOT NULL,
	detail		text
);
COMMENT ON TABLE cdp.journey_log IS 'everything journeys decided, refusals with their reason';
CREATE INDEX journey_log_profile_id_idx ON cdp.journey_log (profile_id, journey);
CREATE INDEX journey_log_run_id_idx ON cdp.journey_log (run_id);

