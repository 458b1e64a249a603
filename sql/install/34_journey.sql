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
	priority	int NOT NULL GENERATED ALWAYS AS (coalesce((spec ->> 'priority')::int, 50)) STORED,
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
	CONSTRAINT journey_listener_source_check CHECK (source IN ('event', 'enters', 'leaves', 'trait', 'due', 'schedule')),
	CONSTRAINT journey_listener_purpose_check CHECK (purpose IN ('entry', 'exit', 'goal', 'wait_for', 'wait_until'))
);
COMMENT ON TABLE cdp.journey_listener IS 'what active journeys wait for: events, tags, traits; due dates and schedules under the journey''s own name';

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
	owner_id	bigint,
	arrived_at	timestamptz NOT NULL,
	variant		text NOT NULL DEFAULT '',
	counted		boolean NOT NULL DEFAULT false,
	CONSTRAINT journey_state_status_check CHECK (status IN ('active', 'ended', 'failed'))
);
COMMENT ON TABLE cdp.journey_state IS 'one row per run: where a profile stands in a journey';
COMMENT ON COLUMN cdp.journey_state.owner_id IS 'the leaf that entered, if it is merged into another profile; NULL = profile_id';
COMMENT ON COLUMN cdp.journey_state.arrived_at IS 'when the run came to its present step';
COMMENT ON COLUMN cdp.journey_state.variant IS 'the branches it took at splits; "holdout" and "control" did not take part';
COMMENT ON COLUMN cdp.journey_state.counted IS 'its journey limits entries or runs, see 36_journey_limit: keeps the indexes for that small';
-- By journey, so that the backlog of a paused one is not in the way.  Who means
-- this index says "due_at > '-infinity'": no other plan may walk through it.
CREATE INDEX journey_state_due_at_idx ON cdp.journey_state (journey, due_at) WHERE status = 'active' AND due_at > '-infinity';
CREATE INDEX journey_state_profile_id_idx ON cdp.journey_state (profile_id, journey);
-- At most one active run per profile, journey and key, under any concurrency.
-- The profile first: no plan may walk through this index for want of the profile's.
CREATE UNIQUE INDEX journey_state_active_idx ON cdp.journey_state (profile_id, journey, key) WHERE status = 'active';
CREATE INDEX journey_state_entered_at_idx ON cdp.journey_state (journey, entered_at) WHERE counted;
CREATE INDEX journey_state_ended_at_idx ON cdp.journey_state (journey, ended_at) WHERE counted AND ended_at IS NOT NULL;

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
	detail		text,
	value		double precision
);
COMMENT ON TABLE cdp.journey_log IS 'everything journeys decided, refusals with their reason';
COMMENT ON COLUMN cdp.journey_log.value IS 'of a goal: the value of its event';
CREATE INDEX journey_log_profile_id_idx ON cdp.journey_log (profile_id, journey);
CREATE INDEX journey_log_run_id_idx ON cdp.journey_log (run_id);


-- What one profile has due: advance_journeys goes from profile to profile.
CREATE INDEX journey_trigger_profile_id_idx ON cdp.journey_trigger (profile_id);

-- Sends stand in the timeline as message_sent[journey].
INSERT INTO cdp.event_role (event, role, label_key, seeded) VALUES ('message_sent', 'message', 'journey', true);

-- making, activating, pausing, archiving

CREATE FUNCTION cdp.create_journey(name text, spec jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	made	cdp.journey;
BEGIN
	IF create_journey.name IS NULL OR create_journey.spec IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name and spec of a journey must not be null';
	-- of any script: to the server only ASCII has letters if its locale is "C"
	ELSIF create_journey.name !~ '^([[:alnum:]_]|[^\u0001-\u007f])(([[:alnum:]_./-]|[^\u0001-\u007f])*([[:alnum:]_]|[^\u0001-\u007f]))?$' OR length(create_journey.name) > 100 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid journey name: "%s"', create_journey.name),
			DETAIL = 'A name has 1 to 100 letters, digits or "_", and "-", "." or "/" between them.';
	END IF;
	PERFORM cdp._check_journey(create_journey.spec);

	INSERT INTO cdp.journey AS j (name, kind, version)
	VALUES (create_journey.name, coalesce(create_journey.spec ->> 'kind', 'person'), 1)
	ON CONFLICT ON CONSTRAINT journey_pkey DO UPDATE SET version = j.version + 1
	RETURNING j.* INTO made;
	IF made.status = 'archived' THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('journey "%s" is archived', made.name);
	ELSIF made.kind <> coalesce(create_journey.spec ->> 'kind', 'person') THEN
		PERFORM cdp._spec_error('kind', format('journey "%s" is for profiles of kind "%s"', made.name, made.kind));
	END IF;
	INSERT INTO cdp.journey_version (journey, version, spec) VALUES (made.name, made.version, create_journey.spec);
	RETURN made.version;
END
$$;
COMMENT ON FUNCTION cdp.create_journey(text, jsonb) IS 'validates a journey and stores it as the next version of this name; returns the version';

CREATE FUNCTION cdp._lock_journey(of_journey text) RETURNS cdp.journey
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	found_	cdp.journey;
BEGIN
	IF of_journey IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name of a journey must not be null';
	END IF;
	SELECT j.* INTO found_ FROM cdp.journey j WHERE j.name = of_journey FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('journey "%s" does not exist', of_journey);
	END IF;
	RETURN found_;
END
$$;
COMMENT ON FUNCTION cdp._lock_journey(text) IS 'locks a journey for a change of its status';

-- Entries: of the active version while the journey is active.  Exits and what
-- steps wait for: of the active version and of every version that somebody is
-- still in.  Goals: of every version, for they count after the end of a run too.
CREATE FUNCTION cdp._listen(of_journey text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	j	cdp.journey := (SELECT x FROM cdp.journey x WHERE x.name = of_journey);
BEGIN
	DELETE FROM cdp.journey_listener l WHERE l.journey = of_journey;
	IF j.status IN ('draft', 'archived') THEN
		PERFORM cdp._plan_journey(of_journey);
		RETURN;
	END IF;
	INSERT INTO cdp.journey_listener (source, name, journey, version, purpose)
	SELECT DISTINCT w.source, w.name, j.name, v.version, w.purpose
	FROM cdp.journey_version v
	CROSS JOIN LATERAL (
		SELECT 'event' AS source, r.event AS name, 'entry' AS purpose FROM cdp._event_refs(v.spec #> '{entry,on}') r
		UNION ALL
		SELECT k, v.spec -> 'entry' ->> k, 'entry' FROM unnest('{enters,leaves}'::text[]) k WHERE v.spec -> 'entry' ? k
		UNION ALL
		SELECT CASE k WHEN 'who' THEN 'schedule' ELSE k END, j.name, 'entry' FROM unnest('{due,who}'::text[]) k WHERE v.spec -> 'entry' ? k
		UNION ALL
		SELECT 'event', (cdp._event_ref(x ->> 'on')).event, 'exit' FROM jsonb_array_elements(v.spec -> 'exit') x WHERE x ? 'on'
		UNION ALL
		SELECT 'event', (cdp._event_ref(v.spec #>> '{goal,on}')).event, 'goal' WHERE v.spec ? 'goal'
		UNION ALL
		SELECT 'event', r.event, 'wait_for'
		FROM jsonb_each(v.spec -> 'steps') e CROSS JOIN LATERAL cdp._event_refs(e.value #> '{wait_for,on}') r
		UNION ALL
		SELECT 'trait', e.value #>> '{wait_until,trait}', 'wait_until'
		FROM jsonb_each(v.spec -> 'steps') e WHERE e.value #> '{wait_until,trait}' IS NOT NULL
		UNION ALL
		SELECT 'trait', 'timezone', 'wait_until' FROM jsonb_each(v.spec -> 'steps') e WHERE e.value ? 'wait_until'
	) w
	WHERE v.journey = j.name AND CASE w.purpose
		WHEN 'entry' THEN v.version = j.active_version AND j.status = 'active'
		WHEN 'goal' THEN v.version <= j.active_version
		ELSE v.version = j.active_version
			OR v.version IN (SELECT s.version FROM cdp.journey_state s WHERE s.journey = j.name AND s.status = 'active') END;
	PERFORM cdp._plan_journey(of_journey);
END
$$;
COMMENT ON FUNCTION cdp._listen(text) IS 'rewrites the listeners of a journey after its status or version changed';

CREATE FUNCTION cdp.activate_journey(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF (cdp._lock_journey(activate_journey.name)).status = 'archived' THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('journey "%s" is archived', activate_journey.name);
	END IF;
	UPDATE cdp.journey j SET status = 'active', active_version = j.version WHERE j.name = activate_journey.name;
	PERFORM cdp._count_runs(activate_journey.name);
	PERFORM cdp._listen(activate_journey.name);
END
$$;
COMMENT ON FUNCTION cdp.activate_journey(text) IS 'makes the newest version the one that is entered; also ends a pause';

CREATE FUNCTION cdp.pause_journey(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	was	text := (cdp._lock_journey(pause_journey.name)).status;
BEGIN
	IF was NOT IN ('active', 'paused') THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('journey "%s" is not active', pause_journey.name);
	END IF;
	UPDATE cdp.journey j SET status = 'paused' WHERE j.name = pause_journey.name;
	PERFORM cdp._listen(pause_journey.name);
END
$$;
COMMENT ON FUNCTION cdp.pause_journey(text) IS 'no entries and no steps until activate_journey; exits still take effect';

CREATE FUNCTION cdp.archive_journey(name text, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	runs	bigint[];
BEGIN
	IF archive_journey.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'at must not be null';
	END IF;
	PERFORM cdp._lock_journey(archive_journey.name);
	UPDATE cdp.journey j SET status = 'archived' WHERE j.name = archive_journey.name;
	PERFORM cdp._listen(archive_journey.name);
	-- Nobody can enter any more (entries lock the journey row for share); the
	-- runs there are belong to profiles that a merge may be moving.
	PERFORM FROM cdp.profile p
	WHERE p.profile_id IN (SELECT s.profile_id FROM cdp.journey_state s
						   WHERE s.journey = archive_journey.name AND s.status = 'active')
	ORDER BY p.profile_id FOR NO KEY UPDATE;
	runs := ARRAY(SELECT s.run_id FROM cdp.journey_state s
				  WHERE s.journey = archive_journey.name AND s.status = 'active' ORDER BY s.profile_id, s.run_id);
	PERFORM cdp._end_runs(runs, array_fill(archive_journey.at, ARRAY[cardinality(runs)]), 'archived', 'journey was archived');
END
$$;
COMMENT ON FUNCTION cdp.archive_journey(text, timestamptz) IS 'ends a journey for good; its active runs end with outcome archived, its versions and log stay';

