/* 36_journey_run: entering journeys, and going on in them
 *
 * Locks.  Whoever changes a run holds the row of its canonical profile FOR NO
 * KEY UPDATE, so everything journeys decide about one profile happens one
 * after the other: two sessions can neither both find "no active run yet" nor
 * advance one run twice.  Order: journey rows (FOR SHARE, by name) -> keys of
 * exclusive tags -> profile rows -> limits of journeys -> journey_state ->
 * event_tail, tag_pending -> outbox.
 * advance_journeys takes profile rows with SKIP LOCKED only, so it never
 * waits for one; what it skipped stays due and is taken next time, with the
 * same result, because everything is reckoned from the run's own clock.
 *
 * Crashes.  The work row (a trigger, or due_at of a run) and all that follows
 * from it (entry, step, message, log, tag) change in one transaction: after a
 * crash either both are there or neither.  Should a step be done twice all
 * the same, the idempotency key is the same and the unique index stops it.
 *
 * Plans.  The entrances set enable_seqscan = off for everything below them: the
 * tables are empty when a session first plans for them, and the plan is kept.
 * (What is then left to scan looks dear: hence jit = off.)
 */

-- The tags journey:NAME (or held_out:NAME) of profiles of which the caller holds the rows.
-- They go to tag_pending, never to the chunks, so that sessions working on different
-- profiles do not wait for each other.  Starts nothing: no journey may listen
-- to it.
CREATE FUNCTION cdp._mark(tags text[], profiles bigint[], present boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO cdp.tag_pending AS t (tag, profile_id, present)
	SELECT DISTINCT m.tag COLLATE "C", m.p, _mark.present FROM unnest(tags, profiles) AS m(tag, p) ORDER BY 1, 2
	ON CONFLICT ON CONSTRAINT tag_pending_pkey DO UPDATE SET present = EXCLUDED.present;
END
$$;
COMMENT ON FUNCTION cdp._mark(text[], bigint[], boolean) IS 'sets or takes away one tag of each profile';

CREATE FUNCTION cdp._mark_journey(of_journey text, profiles bigint[], present boolean, key text DEFAULT 'journey') RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM cdp._mark(array_fill(key || ':' || of_journey, ARRAY[cardinality(profiles)]), profiles, present);
END
$$;
COMMENT ON FUNCTION cdp._mark_journey(text, bigint[], boolean, text) IS 'sets or takes away the tag journey:NAME, or another key''s';

CREATE FUNCTION cdp._unmark(runs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
	PERFORM cdp._mark(array_agg('journey:' || s.journey), array_agg(s.profile_id), false)
	FROM unnest(runs) AS r(id)
	CROSS JOIN LATERAL (SELECT o.profile_id, o.journey FROM cdp.journey_state o WHERE o.run_id = r.id OFFSET 0) s
	-- for each, by its index, whatever the planner believes
	WHERE (SELECT true FROM cdp.journey_state o
		   WHERE o.profile_id = s.profile_id AND o.journey = s.journey AND o.status = 'active' LIMIT 1) IS NULL;
END
$$;
COMMENT ON FUNCTION cdp._unmark(bigint[]) IS 'takes the tag journey:NAME from profiles whose last active run in it was one of these';

CREATE FUNCTION cdp._end_runs(runs bigint[], instants timestamptz[], with_outcome text, with_detail text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
	IF cardinality(runs) = 0 THEN
		RETURN;
	END IF;
	-- Each by its id.  To a join, the index on active runs looks as good while there
	-- are few of them, but it keeps all that have ended until it is vacuumed.
	WITH gone AS (
		UPDATE cdp.journey_state s
		SET status = CASE with_outcome WHEN 'failed' THEN 'failed' ELSE 'ended' END,
			outcome = with_outcome, ended_at = e.at, due_at = NULL
		FROM unnest(runs, instants) AS e(run_id, at)
		CROSS JOIN LATERAL (SELECT o.ctid, o.status FROM cdp.journey_state o WHERE o.run_id = e.run_id OFFSET 0) AS found
		WHERE s.ctid = found.ctid AND found.status = 'active'
		RETURNING s.*
	)
	INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
	SELECT x.ended_at, coalesce(x.owner_id, x.profile_id), x.journey, x.version, x.run_id, x.step,
		   CASE with_outcome WHEN 'exited' THEN 'exited' WHEN 'failed' THEN 'failed' ELSE 'ended' END,
		   coalesce(with_detail, with_outcome)
	FROM gone x ORDER BY x.profile_id, x.journey, x.run_id;

	PERFORM cdp._unmark(runs);
END
$$;
COMMENT ON FUNCTION cdp._end_runs(bigint[], timestamptz[], text, text) IS 'ends active runs, each at its instant, with this outcome';

CREATE FUNCTION cdp._end_due(runs bigint[], with_outcome text, with_detail text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM cdp._end_runs(array_agg(s.run_id), array_agg(s.due_at), with_outcome, with_detail) FROM cdp._runs(runs) s HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION cdp._end_due(bigint[], text, text) IS 'ends active runs at the instants at which they are due';

-- Errors that a run's own data cause are its own affair; the rest (lost
-- connections, deadlocks, full disks, cancelled statements, missing functions,
-- tables or privileges) concern the whole call.
CREATE FUNCTION cdp._concerns_one_run(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT left(code, 2) NOT IN ('08', '25', '40', '42', '53', '57', '58', 'F0') AND code NOT IN ('55006', '55P03')
		OR code IN ('42601', '42704');
END;
COMMENT ON FUNCTION cdp._concerns_one_run(text) IS 'whether an error with this SQLSTATE fails one run instead of the whole call';

-- Chance without dice: the same profile always draws the same number at the
-- same place.
CREATE FUNCTION cdp._draw(place text, profile bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (hashint8extended(profile, hashtextextended(place, 0)) & 9007199254740991) / 9007199254740992.0::double precision;
COMMENT ON FUNCTION cdp._draw(text, bigint) IS 'a number in [0, 1) that a profile draws at a named place';

-- Messages to related profiles are not the profile's to allow.
CREATE FUNCTION cdp._own_channels(spec jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN bool_and(jsonb_typeof(e.value #> '{send,to}') IS DISTINCT FROM 'object') THEN array_agg(DISTINCT c ORDER BY c) END
	FROM jsonb_each(spec -> 'steps') e
	CROSS JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(e.value #> '{send,channel}') WHEN 'array' THEN e.value #> '{send,channel}'
												 ELSE jsonb_build_array(e.value #> '{send,channel}') END) c
	WHERE e.value ? 'send';
END;
COMMENT ON FUNCTION cdp._own_channels(jsonb) IS 'the channels of all send steps of a journey; NULL: it has none, or it also writes to related profiles';

CREATE TYPE cdp._entry_set AS (journey text, profiles bigint[], instants timestamptz[], entries jsonb[], owners bigint[]);
COMMENT ON TYPE cdp._entry_set IS 'who is to enter a journey, when, what started the entry, and the leaf that it happened to (see 36_journey_merge; NULL = the profile)';

-- Entries into several journeys are decided together: to each of them the others
-- have not happened yet.  They only set the tags journey:NAME and held_out:NAME.
CREATE FUNCTION cdp._depends_on_entries(rule cdp.criteria) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN array_to_string(cdp._criteria_tags(rule), chr(10)) ~ '(?n)^(journey|held_out):';
END
$$;
COMMENT ON FUNCTION cdp._depends_on_entries(cdp.criteria) IS 'does a rule ask who has entered a journey?';

-- The caller holds the journey rows FOR SHARE and the profile rows, names each
-- journey once, and in each profile (canonical) once, always at the same instant,
-- and gives what started the entry: {"event": …, "label": …, "value": …}.
--
-- One statement for all journeys: a hundred campaigns that wait for the same event
-- have few entries each, and a statement costs more than an entry.  No row is
-- looked for among others: joins of sets whose size the planner does not know.
-- The control group stays out of everything that caps hold back; a holdout out
-- of one journey.
CREATE FUNCTION cdp._enter(sets cdp._entry_set[], with_context jsonb) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	entered	bigint[];
	tags	text[];
	marked	bigint[];
	control	boolean := EXISTS (SELECT FROM cdp.control_group);
	rules	boolean := EXISTS (SELECT FROM cdp.suppression r WHERE r.active);
BEGIN
	IF EXISTS (SELECT FROM unnest(sets) s JOIN cdp.journey j ON j.name = s.journey
			   JOIN cdp.journey_version v ON v.journey = j.name AND v.version = j.active_version WHERE cdp._limited(v.spec)) THEN
		PERFORM cdp._lock_limits();
	END IF;
	WITH plan AS MATERIALIZED (
		SELECT s.no, s.profiles, s.instants, s.entries, s.owners, j.name AS journey, j.status, j.kind, j.active_version AS version, v.spec,
			   (v.spec #>> '{entry,when}')::cdp.criteria AS rule, coalesce(v.spec #>> '{entry,reentry}', 'always') AS reentry,
			   cdp._journey_duration(v.spec #>> '{entry,cooldown}') AS rest, v.spec #>> '{entry,key}' = 'label' AS keyed,
			   cdp._iso_time(v.spec ->> 'from') AS since, cdp._iso_time(v.spec ->> 'to') AS until,
			   v.spec ->> 'start' AS first, cdp._step_delay(v.spec #> ARRAY['steps', v.spec ->> 'start']) AS delay,
			   u.purpose, rules AND cdp._needs_consent(u.purpose) AS ruled, v.spec ? 'purpose' AS declared, cdp._own_channels(v.spec) AS channels, coalesce(cdp._limited(v.spec), false) AS limited,
			   (v.spec ->> 'holdout')::double precision AS holdout,
			   control AND coalesce((SELECT x.capped FROM cdp.purpose_effective x WHERE x.name = u.purpose), true) AS controlled
		FROM unnest(sets) WITH ORDINALITY AS s(journey, profiles, instants, entries, owners, no)
		CROSS JOIN LATERAL (SELECT x.* FROM cdp.journey x WHERE x.name = s.journey OFFSET 0) j
		LEFT JOIN LATERAL (SELECT x.spec FROM cdp.journey_version x WHERE x.journey = j.name AND x.version = j.active_version OFFSET 0) v ON true
		CROSS JOIN LATERAL (SELECT coalesce(v.spec ->> 'purpose', 'marketing') AS purpose) u
	), consent AS MATERIALIZED (
		-- journeys that wait for the same often ask the same of the same people
		SELECT a.*, (SELECT cdp.rb_and_agg(cdp.rb_build(cdp._not_consented(a.profiles, a.purpose, c, a.declared, a.instants))) FROM unnest(a.channels) c) AS refused
		FROM (SELECT DISTINCT p.profiles, p.instants, p.purpose, p.channels, p.declared FROM plan p WHERE p.status = 'active' AND p.channels IS NOT NULL) a
	), excluded AS MATERIALIZED (
		SELECT a.*, (SELECT cdp.rb_build_agg(a.profiles[n]) FROM unnest(cdp._ruled_out(a.profiles, a.instants)) n) AS ids
		FROM (SELECT DISTINCT p.profiles, p.instants FROM plan p WHERE p.status = 'active' AND p.ruled) a
	), verdict AS MATERIALIZED (
		SELECT p.no, p.journey, p.version, p.first, p.limited, i.profile_id, i.at, i.entry, nullif(i.owner_id, i.profile_id) AS owner_id, k.label, k.key, v.reason, v.arm,
			   CASE WHEN v.reason IS NULL AND v.arm = '' THEN cdp._due_at(p.spec, p.first, p.delay, i.profile_id, i.at) END AS due_at
		FROM plan p
		LEFT JOIN consent c ON c.purpose = p.purpose AND c.declared = p.declared AND c.channels = p.channels AND c.profiles = p.profiles AND c.instants = p.instants
		LEFT JOIN excluded x ON p.ruled AND x.profiles = p.profiles AND x.instants = p.instants
		CROSS JOIN LATERAL unnest(p.profiles, p.instants, p.entries, p.owners) AS i(profile_id, at, entry, owner_id)
		CROSS JOIN LATERAL (SELECT i.entry ->> 'label' AS label, CASE WHEN p.keyed THEN coalesce(i.entry ->> 'label', '') ELSE '' END AS key) k
		CROSS JOIN LATERAL (SELECT w.kind, w.suppressed, w.erased_at FROM cdp.profile w WHERE w.profile_id = i.profile_id OFFSET 0) who
		-- the runs of the profile and all its leaves
		CROSS JOIN LATERAL (SELECT bool_or(s.status = 'active') AS running, count(*) > 0 AS entered, bool_or(s.entered_at = i.at) AS entered_now, max(s.ended_at) AS last_end
							FROM cdp.profile m
							CROSS JOIN LATERAL (SELECT s.status, s.entered_at, s.ended_at FROM cdp.journey_state s
												WHERE s.profile_id = m.profile_id AND s.journey = p.journey AND s.key = k.key OFFSET 0) s
							WHERE m.canonical_id = i.profile_id) past
		CROSS JOIN LATERAL (SELECT CASE
				WHEN p.status <> 'active' THEN 'journey is ' || p.status
				WHEN who.kind <> p.kind THEN format('kind: a %s, not a %s', who.kind, p.kind)
				WHEN who.suppressed OR who.erased_at IS NOT NULL THEN 'profile is suppressed or erased'
				WHEN cdp.rb_contains(x.ids, i.profile_id) THEN 'profile is suppressed by a rule'
				WHEN i.at < p.since THEN 'before the journey begins'
				WHEN i.at >= p.until THEN 'after the journey has ended'
				WHEN past.running THEN 'already in this journey'
				WHEN p.reentry = 'once' AND past.entered THEN 'reentry: once'
				WHEN p.reentry = 'cooldown' AND i.at < past.last_end + p.rest THEN 'reentry: cooldown'
				-- Two journeys that start each other would not stop otherwise, wherever in the past.
				WHEN past.entered_now THEN 'reentry: entered at this very instant'
				WHEN p.rule IS NOT NULL AND NOT cdp._matches(i.profile_id, p.rule, i.at, k.label) THEN 'entry.when does not hold'
				WHEN cdp.rb_contains(c.refused, i.profile_id) THEN format('consent: %s on %s', p.purpose, array_to_string(p.channels, ', '))
				END AS reason,
				CASE WHEN p.controlled AND EXISTS (SELECT FROM cdp.control_group g WHERE cdp._draw('control/' || g.salt, i.profile_id) < g.share) THEN 'control'
					 WHEN cdp._draw('holdout/' || p.journey, i.profile_id) < p.holdout THEN 'holdout'
					 ELSE '' END AS arm OFFSET 0) v
	), too_many AS MATERIALIZED (
		SELECT a.no, o.profile_id, o.reason
		FROM (SELECT v.no, array_agg(v.profile_id) AS profiles, array_agg(v.at) AS instants, array_agg(v.arm = '') AS stays
			  FROM verdict v WHERE v.reason IS NULL AND v.limited GROUP BY v.no) a
		JOIN plan p USING (no)
		CROSS JOIN LATERAL cdp._over_limit(p.journey, p.spec, a.profiles, a.instants, a.stays) o
	), decided AS MATERIALIZED (
		SELECT o.*, CASE WHEN o.why IS NULL THEN nextval('cdp.run_id_seq') END AS run_id
		FROM (SELECT v.*, coalesce(v.reason, t.reason) AS why FROM verdict v LEFT JOIN too_many t USING (no, profile_id) ORDER BY v.no, v.profile_id OFFSET 0) o
	), made AS (
		INSERT INTO cdp.journey_state (run_id, profile_id, owner_id, journey, version, key, step, entered_at, arrived_at, due_at, label, entry, context,
									   variant, counted, status, outcome, ended_at)
		SELECT d.run_id, d.profile_id, d.owner_id, d.journey, d.version, d.key, d.first, d.at, d.at, d.due_at, d.label, d.entry, with_context,
			   d.arm, d.limited, CASE WHEN d.arm = '' THEN 'active' ELSE 'ended' END, CASE WHEN d.arm <> '' THEN 'held_out' END,
			   CASE WHEN d.arm <> '' THEN d.at END
		FROM decided d WHERE d.run_id IS NOT NULL
	), logged AS (
		INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
		SELECT d.at, coalesce(d.owner_id, d.profile_id), d.journey, d.version, d.run_id, CASE WHEN d.run_id IS NOT NULL AND d.arm = '' THEN d.first END,
			   CASE WHEN d.run_id IS NULL THEN 'refused' WHEN d.arm = '' THEN 'entered' ELSE 'held_out' END,
			   coalesce(d.why, nullif(d.arm, ''), d.label)
		FROM decided d
	)
	SELECT array_agg(d.run_id), array_agg(CASE d.arm WHEN '' THEN 'journey:' ELSE 'held_out:' END || d.journey), array_agg(d.profile_id)
	INTO entered, tags, marked FROM decided d WHERE d.run_id IS NOT NULL;
	PERFORM cdp._mark(tags, marked, true);
	RETURN coalesce(entered, '{}');
END
$$;
COMMENT ON FUNCTION cdp._enter(cdp._entry_set[], jsonb) IS 'decides about entries and makes the runs; returns their ids';

-- As _enter, but an error in one entry refuses that one alone: the sets, and then
-- the culprit's, are halved until it is found, so the usual case costs one subtransaction.
CREATE FUNCTION cdp._enter_each(sets cdp._entry_set[], with_context jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	s		cdp._entry_set := sets[1];
	half	int := cardinality(sets) / 2;
	reason	text;
BEGIN
	BEGIN
		RETURN cardinality(cdp._enter(sets, with_context));
	EXCEPTION WHEN OTHERS THEN
		IF NOT cdp._concerns_one_run(SQLSTATE) THEN
			RAISE;
		END IF;
		reason := SQLERRM;
	END;
	IF half > 0 THEN
		RETURN cdp._enter_each(sets[:half], with_context) + cdp._enter_each(sets[half + 1:], with_context);
	END IF;
	half := cardinality(s.profiles) / 2;
	IF half = 0 THEN
		INSERT INTO cdp.journey_log (at, profile_id, journey, version, what, detail)
		SELECT s.instants[1], coalesce(s.owners[1], s.profiles[1]), j.name, j.active_version, 'refused', 'error: ' || reason
		FROM cdp.journey j WHERE j.name = s.journey;
		RETURN 0;
	END IF;
	RETURN cdp._enter_each(ARRAY[(s.journey, s.profiles[:half], s.instants[:half], s.entries[:half], s.owners[:half])::cdp._entry_set], with_context)
		 + cdp._enter_each(ARRAY[(s.journey, s.profiles[half + 1:], s.instants[half + 1:], s.entries[half + 1:], s.owners[half + 1:])::cdp._entry_set], with_context);
END
$$;
COMMENT ON FUNCTION cdp._enter_each(cdp._entry_set[], jsonb) IS 'enters profiles so that an error in one entry refuses that one alone; returns how many entered';

CREATE FUNCTION cdp._share_journey(of_journey text) RETURNS cdp.journey
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	j	cdp.journey;
BEGIN
	SELECT x.* INTO j FROM cdp.journey x WHERE x.name = of_journey FOR SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('journey "%s" does not exist', of_journey);
	END IF;
	RETURN j;
END
$$;
COMMENT ON FUNCTION cdp._share_journey(text) IS 'a journey whose status cannot change until the end of the transaction';

CREATE FUNCTION cdp.enter_journey(name text, profile bigint, context jsonb DEFAULT '{}', at timestamptz DEFAULT now())
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	j		cdp.journey;
	owner	bigint;
BEGIN
	IF enter_journey.name IS NULL OR enter_journey.profile IS NULL OR enter_journey.context IS NULL OR enter_journey.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'arguments of enter_journey must not be null';
	ELSIF jsonb_typeof(enter_journey.context) <> 'object' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'context must be a JSON object';
	ELSIF NOT isfinite(enter_journey.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	j := cdp._share_journey(enter_journey.name);
	owner := (cdp._lock_owners(ARRAY[enter_journey.profile]))[1];
	IF owner IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s does not exist', enter_journey.profile);
	END IF;
	RETURN (cdp._enter(ARRAY[(j.name, ARRAY[owner], ARRAY[enter_journey.at],
							  ARRAY[jsonb_strip_nulls(jsonb_build_object('label', enter_journey.context ->> 'label'))], NULL)::cdp._entry_set],
					   enter_journey.context))[1];
END
$$;
COMMENT ON FUNCTION cdp.enter_journey(text, bigint, jsonb, timestamptz) IS 'enters one profile; the run id, or NULL with the reason in journey_log';

-- It waits for nobody while it holds somebody, unless it is told to: see 21_identity_lock.
CREATE FUNCTION cdp._try_owners(profiles bigint[]) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
	held bigint[];
BEGIN
	held := ARRAY(SELECT p.profile_id FROM cdp.profile p
				  WHERE p.profile_id = ANY (ARRAY(SELECT m.canonical_id FROM cdp.profile m WHERE m.profile_id = ANY (profiles)))
				  ORDER BY p.profile_id FOR UPDATE SKIP LOCKED);
	-- with a look at what they are now
	RETURN ARRAY(SELECT m.profile_id FROM cdp.profile m LEFT JOIN unnest(held) h (id) ON h.id = m.canonical_id
				 WHERE m.profile_id = ANY (profiles) AND h.id IS NULL ORDER BY 1);
END
$$;
COMMENT ON FUNCTION cdp._try_owners(bigint[]) IS 'locks the canonical profiles of these without waiting; returns those of which somebody else has it, ascending';

CREATE FUNCTION cdp._lock_owners(profiles bigint[], waits boolean DEFAULT false) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	owners	bigint[];
	held	bigint[];
	attempt	int := 1;
	state	text;
	what	text;
	which	text;
BEGIN
	LOOP
		BEGIN
			PERFORM cdp._hurry(attempt > 20) WHERE NOT waits;
			-- Again when one of them was merged or set free while we waited.
			owners := ARRAY(SELECT DISTINCT m.canonical_id FROM cdp.profile m WHERE m.profile_id = ANY (profiles) ORDER BY 1);
			IF waits OR attempt > 20 THEN
				-- The strongest lock: who asks for that later stands behind those who wait for this one.
				PERFORM FROM cdp.profile p WHERE p.profile_id = ANY (owners) ORDER BY p.profile_id FOR UPDATE;
				held := owners;
			ELSE
				held := ARRAY(SELECT p.profile_id FROM cdp.profile p WHERE p.profile_id = ANY (owners) ORDER BY p.profile_id FOR NO KEY UPDATE SKIP LOCKED);
			END IF;
			IF held <> owners THEN
				RAISE SQLSTATE 'CDP01' USING MESSAGE = 'profile', DETAIL = (SELECT min(o) FROM (SELECT unnest(owners) EXCEPT SELECT unnest(held)) x (o))::text;
			ELSIF owners <> ARRAY(SELECT DISTINCT m.canonical_id FROM cdp.profile m WHERE m.profile_id = ANY (profiles) ORDER BY 1) THEN
				RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
			END IF;
			RETURN owners;
		EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		-- What met a circle while it waited has others in its hands still.
		attempt := cdp._let_go(attempt, state, what, which, CASE WHEN waits THEN 0 ELSE 25 END);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._lock_owners(bigint[], boolean) IS 'locks the canonical profiles of these; returns them in their order; waits: holding those that it has (a large call, see 21_identity_lock)';

CREATE FUNCTION cdp.enter_journey(name text, audience cdp.bitmap, context jsonb DEFAULT '{}', at timestamptz DEFAULT now())
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	j			cdp.journey;
	wanted		bigint[];
	owners		bigint[];
	entered		bigint := 0;
BEGIN
	IF enter_journey.name IS NULL OR enter_journey.audience IS NULL OR enter_journey.context IS NULL OR enter_journey.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'arguments of enter_journey must not be null';
	ELSIF jsonb_typeof(enter_journey.context) <> 'object' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'context must be a JSON object';
	ELSIF NOT isfinite(enter_journey.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	-- Who goes on to a second thousand keeps the first: see _lock_identities.
	IF cdp.rb_cardinality(enter_journey.audience) > 1000 THEN
		PERFORM cdp._lock_identities(true);
	END IF;
	j := cdp._share_journey(enter_journey.name);
	IF (SELECT cdp._limited(v.spec) FROM cdp.journey_version v WHERE v.journey = j.name AND v.version = j.active_version) THEN
		PERFORM cdp._lock_owners(cdp.rb_to_array(enter_journey.audience));
	END IF;
	FOR wanted IN
		SELECT array_agg(i.id ORDER BY i.id)
		FROM cdp.rb_iterate(enter_journey.audience) WITH ORDINALITY AS i(id, no)
		GROUP BY (i.no - 1) / 1000 ORDER BY (i.no - 1) / 1000
	LOOP
		owners := cdp._lock_owners(wanted);
		entered := entered + cdp._enter_each(ARRAY[(j.name, owners, array_fill(enter_journey.at, ARRAY[cardinality(owners)]),
			array_fill(jsonb_strip_nulls(jsonb_build_object('label', enter_journey.context ->> 'label')), ARRAY[cardinality(owners)]), NULL)::cdp._entry_set],
			enter_journey.context);
	END LOOP;
	RETURN entered;
END
$$;
COMMENT ON FUNCTION cdp.enter_journey(text, cdp.bitmap, jsonb, timestamptz) IS 'enters an audience; returns how many entered, the others have their reason in journey_log';

-- the clock

CREATE FUNCTION cdp._take_triggers(profiles bigint[], instants timestamptz[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	taken	cdp.journey_trigger[];
	owners	bigint[];		-- the leaf that each trigger names
	kinds	text[];			-- and what it is
	sets	cdp._entry_set[];
	turns	bigint[];
	depends	boolean;		-- does who enters one of these journeys depend on who has entered another one?
	one		cdp._entry_set;
	g		record;
BEGIN
	-- OFFSET 0 and "+ interval '0'" here and below: from each profile by the
	-- index on profile_id, whatever the planner believes about tables that were
	-- empty a moment ago.  Thousands of rows may be due at the same instant.
	WITH found AS MATERIALIZED (
		SELECT w.profile_id AS canonical_id, p.kind, x.trigger_id
		FROM unnest(profiles, instants) AS w(profile_id, at)
		CROSS JOIN LATERAL (SELECT p.profile_id, p.kind FROM cdp.profile p WHERE p.canonical_id = w.profile_id OFFSET 0) p
		CROSS JOIN LATERAL (SELECT t.trigger_id FROM cdp.journey_trigger t
							WHERE t.profile_id = p.profile_id AND t.at + interval '0' = w.at OFFSET 0) x
	), gone AS (
		DELETE FROM cdp.journey_trigger t USING found f WHERE t.trigger_id = f.trigger_id
		RETURNING t.trigger_id, t.source, t.name, f.canonical_id, t.at, t.label, t.value, t.event_id, t.profile_id, f.kind
	)
	SELECT array_agg(ROW(o.trigger_id, o.source, o.name, o.canonical_id, o.at, o.label, o.value, o.event_id)::cdp.journey_trigger), array_agg(o.profile_id), array_agg(o.kind)
	INTO taken, owners, kinds
	FROM (SELECT * FROM gone x ORDER BY x.canonical_id, x.source, x.name, x.label NULLS FIRST, x.value NULLS FIRST, x.trigger_id) o;
	IF taken IS NULL THEN
		RETURN 0;
	END IF;

	-- exits, of any version
	FOR g IN
		SELECT e.why, array_agg(e.run_id) AS runs, array_agg(e.at) AS instants
		FROM (SELECT DISTINCT ON (s.run_id) s.run_id, t.at, x.value ->> 'on' AS why
			  FROM unnest(taken) t
			  CROSS JOIN LATERAL (SELECT o.run_id, o.journey, o.version, o.label FROM cdp.journey_state o
								  WHERE o.profile_id = t.profile_id AND o.status = 'active' AND o.entered_at < t.at OFFSET 0) s
			  JOIN cdp.journey_version v ON v.journey = s.journey AND v.version = s.version
			  CROSS JOIN LATERAL jsonb_array_elements(v.spec -> 'exit') WITH ORDINALITY x
			  CROSS JOIN LATERAL cdp._event_ref(x.value ->> 'on') ref
			  WHERE t.source = 'event' AND ref.event = t.name
				AND CASE WHEN ref.bound THEN s.label = t.label ELSE ref.label IS NULL OR ref.label = t.label END
				AND (coalesce(ref.label_set, ref.conditions) IS NULL OR cdp._is_such(ref.label_set, ref.conditions, t.profile_id, t.name, t.label, t.at, t.event_id))
			  ORDER BY s.run_id, x.ordinality) e
		GROUP BY e.why ORDER BY e.why
	LOOP
		PERFORM cdp._end_runs(g.runs, g.instants, 'exited', g.why);
	END LOOP;

	-- What runs wait for: their work at this step is due now.
	UPDATE cdp.journey_state s SET due_at = w.at
	FROM (SELECT o.run_id, CASE WHEN t.source = 'event' THEN t.at
								WHEN step.wait_until ? 'trait' THEN greatest(t.at, cdp._wait_until(step.wait_until, o.profile_id, o.arrived_at, v.spec ->> 'timezone'))
								ELSE cdp._wait_until(step.wait_until, o.profile_id, greatest(t.at, o.arrived_at), v.spec ->> 'timezone') END AS at
		  FROM unnest(taken) t
		  CROSS JOIN LATERAL (SELECT * FROM cdp.journey_state o
							  WHERE o.profile_id = t.profile_id AND o.status = 'active' OFFSET 0) o
		  JOIN cdp.journey_version v ON v.journey = o.journey AND v.version = o.version
		  CROSS JOIN LATERAL (SELECT v.spec #> ARRAY['steps', o.step, 'wait_for', 'on'] AS wait_for,
									 v.spec #> ARRAY['steps', o.step, 'wait_until'] AS wait_until) step
		  WHERE CASE t.source
				WHEN 'event' THEN o.arrived_at < t.at AND t.at < o.due_at AND EXISTS (
										  SELECT FROM cdp._event_refs(step.wait_for) r
										  WHERE r.event = t.name AND CASE WHEN r.bound THEN o.label = t.label ELSE r.label IS NULL OR r.label = t.label END
											AND (coalesce(r.label_set, r.conditions) IS NULL OR cdp._is_such(r.label_set, r.conditions, t.profile_id, t.name, t.label, t.at, t.event_id)))
				WHEN 'trait' THEN (step.wait_until ->> 'trait' = t.name OR t.name = 'timezone' AND step.wait_until IS NOT NULL AND t.at <= o.due_at)
					-- what is in force now may be older than the wait, and known only since
					AND (o.arrived_at <= t.at OR EXISTS (
						SELECT FROM cdp.profile p CROSS JOIN LATERAL (SELECT v.at FROM cdp.trait_value v WHERE v.profile_id = p.profile_id AND v.name = t.name OFFSET 0) v
						WHERE p.canonical_id = t.profile_id AND v.at = t.at)) END) w
	WHERE s.run_id = w.run_id;

	-- goals, once per run, also after its end
	INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail, value)
	SELECT e.at, e.profile_id, e.journey, e.version, e.run_id, e.step, 'goal', e.name, e.value
	FROM (SELECT DISTINCT ON (s.run_id) s.run_id, t.at, coalesce(s.owner_id, s.profile_id) AS profile_id, s.journey, s.version, CASE s.outcome WHEN 'held_out' THEN NULL ELSE s.step END AS step, t.name, t.value
		  FROM unnest(taken) WITH ORDINALITY t(trigger_id, source, name, profile_id, at, label, value, event_id, ordinality)
		  JOIN cdp.journey_listener l ON l.source = t.source AND l.name = t.name AND l.purpose = 'goal'
		  CROSS JOIN LATERAL (SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = t.profile_id OFFSET 0) m
		  CROSS JOIN LATERAL (SELECT o.* FROM cdp.journey_state o
							  WHERE o.profile_id = m.profile_id AND o.journey = l.journey AND o.version = l.version OFFSET 0) s
		  JOIN cdp.journey_version v ON v.journey = s.journey AND v.version = s.version
		  CROSS JOIN LATERAL cdp._event_ref(v.spec #>> '{goal,on}') ref
		  WHERE t.at > s.entered_at AND t.at <= s.entered_at + cdp._journey_duration(v.spec #>> '{goal,within}')
			AND CASE WHEN ref.bound THEN s.label = t.label ELSE ref.label IS NULL OR ref.label = t.label END
			AND (coalesce(ref.label_set, ref.conditions) IS NULL OR cdp._is_such(ref.label_set, ref.conditions, t.profile_id, t.name, t.label, t.at, t.event_id))
			AND s.outcome IS DISTINCT FROM 'merged'
		  ORDER BY s.run_id, t.ordinality) e
	WHERE NOT EXISTS (SELECT FROM cdp.journey_log l WHERE l.run_id = e.run_id AND l.what = 'goal')
	ORDER BY e.profile_id, e.journey, e.run_id;

	-- Entries.  A profile that several triggers of one instant would enter is
	-- looked at once for each, one after the other.  What happens to other kinds of
	-- profiles than a journey is for is no entry, and not refused.
	WITH heard AS MATERIALIZED (
		-- plain: any such event does
		SELECT l.journey, j.kind, l.source, l.name, bool_or(l.source <> 'event' OR r.label IS NULL AND r.label_set IS NULL AND r.conditions IS NULL) AS plain,
			   jsonb_agg(jsonb_build_object('label', r.label, 'set', r.label_set, 'conditions', r.conditions)) AS refs,
			   coalesce(bool_or(cdp._depends_on_entries((v.spec #>> '{entry,when}')::cdp.criteria)), false) AS depends
		FROM cdp.journey_listener l
		JOIN cdp.journey j ON j.name = l.journey
		JOIN cdp.journey_version v ON v.journey = l.journey AND v.version = l.version
		LEFT JOIN LATERAL cdp._event_refs(v.spec #> '{entry,on}') r ON l.source = 'event' AND r.event = l.name
		WHERE l.purpose = 'entry' AND (l.source, l.name) IN (SELECT t.source, t.name FROM unnest(taken) t)
		GROUP BY l.journey, j.kind, l.source, l.name HAVING bool_or(l.source <> 'event' OR r.event IS NOT NULL)
	), happened AS MATERIALIZED (
		SELECT t.*, jsonb_strip_nulls(jsonb_build_object(t.source, t.name, 'label', t.label, 'value', t.value, 'event_id', t.event_id,
						'at', (to_jsonb(t.at AT TIME ZONE 'UTC') #>> '{}') || 'Z')) AS entry
		FROM unnest(taken, owners, kinds) WITH ORDINALITY t(trigger_id, source, name, profile_id, at, label, value, event_id, owner_id, kind, ordinality)
	)
	SELECT array_agg((w.journey, w.profiles, w.instants, w.entries, w.owners)::cdp._entry_set ORDER BY w.journey, w.turn), array_agg(w.turn ORDER BY w.journey, w.turn),
		   bool_or(w.depends) OR EXISTS (SELECT FROM cdp.suppression r WHERE r.active AND cdp._depends_on_entries(r.criteria))
	INTO sets, turns, depends
	FROM (SELECT c.journey, c.turn, bool_or(c.depends) AS depends, array_agg(c.profile_id ORDER BY c.profile_id) AS profiles,
				 array_agg(c.at ORDER BY c.profile_id) AS instants, array_agg(c.entry ORDER BY c.profile_id) AS entries,
				 array_agg(c.owner_id ORDER BY c.profile_id) AS owners
		  FROM (SELECT h.journey, h.depends, t.profile_id, t.at, t.entry,
					   CASE t.source WHEN 'due' THEN cdp._due_leaf(t.name, t.profile_id, t.label, t.at) ELSE t.owner_id END AS owner_id,
					   row_number() OVER (PARTITION BY h.journey, t.profile_id ORDER BY t.ordinality) AS turn
				FROM happened t
				JOIN heard h ON h.source = t.source AND h.name = t.name AND h.kind = t.kind
				WHERE h.plain OR EXISTS (
				  SELECT FROM jsonb_array_elements(h.refs) ref
				  WHERE (ref ->> 'label' IS NULL OR ref ->> 'label' = t.label)
					AND (coalesce(ref ->> 'set', ref ->> 'conditions') IS NULL OR cdp._is_such(ref ->> 'set', ref ->> 'conditions', t.profile_id, t.name, t.label, t.at, t.event_id)))) c
		  GROUP BY c.journey, c.turn) w;
	IF sets IS NULL THEN
		NULL;
	ELSIF depends THEN
		FOREACH one IN ARRAY sets LOOP
			PERFORM cdp._enter_each(ARRAY[one], '{}');
		END LOOP;
	ELSE
		FOR n IN 1 .. (SELECT max(t) FROM unnest(turns) t) LOOP
			PERFORM cdp._enter_each(array_agg(sets[i] ORDER BY i), '{}') FROM generate_subscripts(turns, 1) i WHERE turns[i] = n;
		END LOOP;
	END IF;
	RETURN cardinality(taken);
END
$$;
COMMENT ON FUNCTION cdp._take_triggers(bigint[], timestamptz[]) IS 'consumes the triggers of each profile (locked by the caller) at its instant: exits, goals, then entries';

-- From the oldest work on, by the indexes on time: first who, then their locks,
-- so that no plan can begin with everybody.  Several clocks find the same oldest
-- work: one that finds others at all of it looks further, and begins at a place
-- of its own, because a row that somebody holds costs more than one that is free.
CREATE FUNCTION cdp._claim_profiles(due timestamptz, most bigint) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_mergejoin = off SET enable_hashjoin = off AS $$
DECLARE
	reach		bigint := most;
	triggered	bigint[];
	running		bigint[];
	candidates	bigint[];
	turn		int;
	claimed		bigint[];
BEGIN
	LOOP
		triggered := ARRAY(
			SELECT p.canonical_id
			FROM (SELECT t.profile_id FROM cdp.journey_trigger t WHERE t.at <= due ORDER BY t.at LIMIT reach) t
			CROSS JOIN LATERAL (SELECT p.canonical_id FROM cdp.profile p WHERE p.profile_id = t.profile_id OFFSET 0) p);
		running := ARRAY(
			SELECT s.profile_id
			FROM cdp.journey j
			CROSS JOIN LATERAL (SELECT s.profile_id, s.due_at FROM cdp.journey_state s
								WHERE s.journey = j.name AND s.status = 'active' AND s.due_at > '-infinity' AND s.due_at <= due ORDER BY s.due_at LIMIT reach) s
			WHERE j.status = 'active' ORDER BY s.due_at LIMIT reach);
		candidates := ARRAY(SELECT DISTINCT c FROM unnest(triggered || running) c ORDER BY c);
		IF reach > most THEN
			turn := pg_backend_pid() % greatest(cardinality(candidates), 1);
			candidates := candidates[turn + 1:] || candidates[:turn];
		END IF;
		claimed := ARRAY(
			SELECT x.profile_id FROM (
				SELECT p.profile_id FROM unnest(candidates) c JOIN cdp.profile p ON p.profile_id = c
				WHERE p.canonical_id = c LIMIT most FOR NO KEY UPDATE OF p SKIP LOCKED) x);
		EXIT WHEN claimed <> '{}' OR greatest(cardinality(triggered), cardinality(running)) < reach OR most = 0;
		reach := reach * 4;
	END LOOP;
	RETURN claimed;
END
$$;
COMMENT ON FUNCTION cdp._claim_profiles(timestamptz, bigint) IS 'locks and returns the profiles with the oldest due work that nobody else is at';

CREATE FUNCTION cdp._next_due_run(after timestamptz DEFAULT '-infinity') RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
BEGIN
	RETURN (SELECT min(s.due_at)
			FROM cdp.journey j
			CROSS JOIN LATERAL (SELECT s.due_at FROM cdp.journey_state s
								WHERE s.journey = j.name AND s.status = 'active' AND s.due_at > '-infinity' AND s.due_at > after
								ORDER BY s.due_at LIMIT 1) s
			WHERE j.status = 'active');
END
$$;
COMMENT ON FUNCTION cdp._next_due_run(timestamptz) IS 'when the next run of an active journey after this instant is, or was, due';

/*
 * Everything that is due about one profile happens in the order of time:
 * triggers and steps of its earliest instant first, of one instant triggers
 * before steps, then the next instant, and so on.  Many profiles go through
 * this side by side, each at its own instant, so the work is done in sets.
 * That is why one late call gives the very same as many punctual ones.
 *
 * Where entries or runs are limited, profiles get into each other's way: then
 * everybody's work of one minute is done before anybody's of the next.
 */
CREATE FUNCTION cdp._advance_journeys(at timestamptz, max_runs int, one_batch boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off SET plan_cache_mode = auto AS $$
DECLARE
	done		bigint := 0;
	before		bigint;
	limited		boolean;
	tags		text[];
	keys		text[];
	until		timestamptz;	-- what comes before the next audience first
	horizon		timestamptz := '-infinity';
	batch		bigint[];
	profiles	bigint[];
	instants	timestamptz[];
BEGIN
	IF _advance_journeys.at IS NULL OR _advance_journeys.max_runs IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'arguments of advance_journeys must not be null';
	ELSIF NOT isfinite(_advance_journeys.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	ELSIF _advance_journeys.max_runs < 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_runs must not be negative';
	END IF;
	PERFORM FROM cdp.journey j WHERE j.status IN ('active', 'paused') ORDER BY j.name FOR SHARE;
	-- What steps take one by one: a bulk change of a tag that waits for our rows
	-- must not be waited for later.
	SELECT array_agg(k.key ORDER BY k.key), array_agg(k.key ORDER BY k.key) FILTER (WHERE k.exclusive) INTO tags, keys
	FROM (SELECT DISTINCT coalesce(x.key, t.tag) COLLATE "C" AS key, x.key IS NOT NULL AS exclusive
		  FROM cdp.journey j
		  JOIN cdp.journey_version v ON v.journey = j.name
		  CROSS JOIN LATERAL jsonb_each(v.spec -> 'steps') e
		  CROSS JOIN LATERAL (SELECT coalesce(e.value ->> 'tag', e.value ->> 'untag') AS tag) t
		  CROSS JOIN LATERAL (SELECT cdp._exclusive_key(t.tag) AS key) x
		  WHERE j.status = 'active' AND t.tag IS NOT NULL) k;
	PERFORM cdp._lock_tag_sets(tags, false);
	PERFORM pg_advisory_xact_lock_shared(cdp._key_lock(k)) FROM unnest(keys) k;

	limited := EXISTS (SELECT FROM cdp.journey j JOIN cdp.journey_version v ON v.journey = j.name AND v.version = j.active_version
					   WHERE j.status = 'active' AND cdp._limited(v.spec));
	-- Others hold this and wait for rows of ours.
	PERFORM cdp._lock_limits() WHERE limited AND NOT one_batch;
	until := cdp._before_schedules(_advance_journeys.at);
	LOOP
		IF limited THEN
			horizon := least(until, cdp._end_of_minute(least(
				(SELECT min(t.at) FROM cdp.journey_trigger t WHERE t.at > horizon AND t.at <= until),
				(SELECT r FROM cdp._next_due_run(horizon) r WHERE r <= until))));
		ELSE
			horizon := until;
		END IF;
		WHILE done < max_runs LOOP
			-- The profiles with the oldest work that nobody else is at.
			batch := cdp._claim_profiles(horizon, least(1000, max_runs - done));
			-- For a few, planning would take longer than the work (and a generic plan expects a few).
			PERFORM set_config('plan_cache_mode', CASE WHEN cardinality(batch) BETWEEN 1 AND 10 THEN 'force_generic_plan' ELSE 'auto' END, true);
			before := done;
			WHILE done < max_runs LOOP
				SELECT array_agg(w.profile_id ORDER BY w.profile_id), array_agg(w.at ORDER BY w.profile_id)
				INTO profiles, instants
				FROM (SELECT x.profile_id, min(x.at) AS at
					  FROM (SELECT b AS profile_id, t.at
							FROM unnest(batch) b
							CROSS JOIN LATERAL (SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = b OFFSET 0) p
							CROSS JOIN LATERAL (SELECT t.at FROM cdp.journey_trigger t
												WHERE t.profile_id = p.profile_id AND t.at + interval '0' <= horizon OFFSET 0) t
							UNION ALL
							SELECT b, s.due_at
							FROM unnest(batch) b
							CROSS JOIN LATERAL (SELECT o.journey, o.due_at FROM cdp.journey_state o
												WHERE o.profile_id = b AND o.status = 'active' AND o.due_at + interval '0' <= horizon OFFSET 0) s
							JOIN cdp.journey j ON j.name = s.journey AND j.status = 'active') x
					  GROUP BY x.profile_id) w;
				EXIT WHEN profiles IS NULL;
				done := done + cdp._take_triggers(profiles, instants) + cdp._take_steps(profiles, instants, limited);
			END LOOP;
			EXIT WHEN done = before;
		END LOOP;
		EXIT WHEN done >= max_runs;
		IF horizon = until THEN
			EXIT WHEN until = _advance_journeys.at OR NOT cdp._start_schedules(until + interval '1 microsecond', _advance_journeys.at);
			until := cdp._before_schedules(_advance_journeys.at);
		END IF;
	END LOOP;
	RETURN done;
END
$$;
COMMENT ON FUNCTION cdp._advance_journeys(timestamptz, int, boolean) IS 'advance_journeys; one_batch: the transaction ends with it';

CREATE FUNCTION cdp._advance_journeys_once(at timestamptz, max_runs int) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	-- In one transaction it goes on with all that it holds; so does a bulk load (21_identity_lock).
	PERFORM cdp._lock_identities(true, false);
	RETURN cdp._advance_journeys(_advance_journeys_once.at, _advance_journeys_once.max_runs, false);
END
$$;
COMMENT ON FUNCTION cdp._advance_journeys_once(timestamptz, int) IS 'an attempt at advance_journeys';

CREATE FUNCTION cdp.advance_journeys(at timestamptz DEFAULT now(), max_runs int DEFAULT 10000) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp.advance_journeys(timestamptz, int) IS 'consumes triggers and does the steps due at or before this instant; returns how many of both';
