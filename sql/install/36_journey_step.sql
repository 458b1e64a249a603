/* 36_journey_step: what runs do at a step
 *
 * Every function takes runs that are due at the same step of the same version,
 * each at an instant of its own (due_at), and does its work in sets.  The
 * caller holds the rows of their profiles.
 */

-- Each at its own instant: other journeys may begin there.
CREATE FUNCTION cdp._tag_runs(of_tag text, present boolean, runs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	r	record;
BEGIN
	FOR r IN SELECT s.profile_id, s.due_at FROM cdp._runs(runs) s LOOP
		IF present THEN
			PERFORM cdp.tag(r.profile_id, of_tag, NULL, r.due_at);
		ELSE
			PERFORM cdp.untag(r.profile_id, of_tag, r.due_at);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._tag_runs(text, boolean, bigint[]) IS 'does a tag or untag step';

CREATE FUNCTION cdp._step_delay(step jsonb) RETURNS interval
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN CASE
		WHEN step ? 'wait' THEN cdp._journey_duration(step ->> 'wait')
		WHEN step ? 'wait_for' THEN cdp._journey_duration(step ->> 'timeout')
		WHEN step ? 'wait_until' THEN NULL
		ELSE interval '0' END;
END
$$;
COMMENT ON FUNCTION cdp._step_delay(jsonb) IS 'how long after its arrival anybody leaves a step; NULL when that depends on who and when it is';

-- When the work of a step is to be done that a profile reaches at this instant.
-- delay is that of the step, so that sets look it up once.
CREATE FUNCTION cdp._due_at(spec jsonb, of_step text, delay interval, profile bigint, at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN delay IS NOT NULL THEN at + delay
			ELSE cdp._wait_until(spec #> ARRAY['steps', of_step, 'wait_until'], profile, at, spec ->> 'timezone') END;
COMMENT ON FUNCTION cdp._due_at(jsonb, text, interval, bigint, timestamptz) IS 'when a profile that comes to a step at this instant is to leave it';

-- A function of its own keeps the planner from asking an expensive question
-- about every run there is before it looks at the run's id.  OFFSET 0 keeps it
-- from walking through all of them, in the order of profiles, to save a sort.
CREATE FUNCTION cdp._runs(runs bigint[]) RETURNS SETOF cdp.journey_state
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN QUERY
	SELECT s.*
	FROM (SELECT DISTINCT unnest(runs) AS id) r
	CROSS JOIN LATERAL (SELECT o.* FROM cdp.journey_state o WHERE o.run_id = r.id OFFSET 0) s
	ORDER BY s.profile_id, s.run_id;
END
$$;
COMMENT ON FUNCTION cdp._runs(bigint[]) IS 'these runs';

-- A message right after a wait is written before its run has been moved to it:
-- then the run is at of_step, whatever its row says.
CREATE FUNCTION cdp._arrive(runs bigint[], of_step text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	UPDATE cdp.journey_state s SET step = of_step, visit = s.visit + 1, arrived_at = s.due_at WHERE s.run_id = ANY (runs) AND s.step <> of_step;
END
$$;
COMMENT ON FUNCTION cdp._arrive(bigint[], text) IS 'makes the rows of runs that went on to a step without a stop say so';

-- Puts runs that have done a step on their way to the next; "end" is the end.
CREATE FUNCTION cdp._go_on(spec jsonb, runs bigint[], of_step text, next text, with_detail text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	delay	interval := cdp._step_delay(spec #> ARRAY['steps', next]);
BEGIN
	IF cardinality(runs) = 0 THEN
		RETURN;
	END IF;
	IF next = 'end' THEN
		PERFORM cdp._arrive(runs, of_step);
		INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
		SELECT s.due_at, coalesce(s.owner_id, s.profile_id), s.journey, s.version, s.run_id, s.step, 'step', with_detail
		FROM cdp._runs(runs) s;
		PERFORM cdp._end_runs(array_agg(s.run_id), array_agg(s.due_at), 'completed', NULL)
		FROM cdp.journey_state s WHERE s.run_id = ANY (runs) HAVING count(*) > 0;
	ELSE
		WITH moved AS (
			UPDATE cdp.journey_state s SET step = next, visit = s.visit + CASE WHEN s.step = of_step THEN 1 ELSE 2 END, arrived_at = s.due_at,
				due_at = cdp._due_at(spec, next, delay, s.profile_id, s.due_at)
			WHERE s.run_id = ANY (runs)
			RETURNING s.arrived_at, s.profile_id, s.owner_id, s.journey, s.version, s.run_id
		)
		INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
		SELECT m.arrived_at, coalesce(m.owner_id, m.profile_id), m.journey, m.version, m.run_id, of_step, 'step', with_detail
		FROM moved m ORDER BY m.profile_id, m.run_id;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._go_on(jsonb, bigint[], text, text, text) IS 'logs a step and moves its runs on; a wait begins at once, from the run''s own clock';

-- Triggers end runs, and waits, at the instant of the event; this also sees
-- events that no trigger has brought yet.
CREATE FUNCTION cdp._event_seen(run cdp.journey_state, reference jsonb, since timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	past	cdp.timeline := cdp.slice(cdp.timeline_of(run.profile_id), since + interval '1 microsecond', run.due_at + interval '1 microsecond');
BEGIN
	RETURN EXISTS (
		SELECT FROM cdp._event_refs(reference) r
		WHERE CASE WHEN coalesce(r.label_set, r.conditions) IS NOT NULL THEN
						(SELECT count(*) FROM cdp.timeline_events(past) e
						 WHERE e.event = r.event AND CASE WHEN r.bound THEN e.label = run.label ELSE r.label IS NULL OR r.label = e.label END
						   AND cdp._is_such(r.label_set, r.conditions, run.profile_id, e.event, e.label, e.at))
				   WHEN r.bound THEN cdp.num_events(past, r.event, run.label)
				   WHEN r.label IS NOT NULL THEN cdp.num_events(past, r.event, r.label)
				   ELSE cdp.num_events(past, r.event) END > 0);
END
$$;
COMMENT ON FUNCTION cdp._event_seen(cdp.journey_state, jsonb, timestamptz) IS 'whether one of these events lies after an instant and not after the present step of a run';

CREATE FUNCTION cdp._without(runs bigint[], gone bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN coalesce(cardinality(gone), 0) = 0 THEN runs ELSE
		ARRAY(SELECT r FROM unnest(runs) WITH ORDINALITY u(r, n) WHERE r NOT IN (SELECT unnest(gone)) ORDER BY n) END;
END;
COMMENT ON FUNCTION cdp._without(bigint[], bigint[]) IS 'the runs that are not gone';

CREATE FUNCTION cdp._branch(spec jsonb, runs bigint[], of_step text, when_ text, next text, with_detail text) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	rule	cdp.criteria := when_::cdp.criteria;
	taken	bigint[] := ARRAY(SELECT s.run_id FROM cdp._runs(runs) s WHERE cdp._matches(s.profile_id, rule, s.due_at, s.label));
BEGIN
	PERFORM cdp._go_on(spec, taken, of_step, next, with_detail);
	RETURN cdp._without(runs, taken);
END
$$;
COMMENT ON FUNCTION cdp._branch(jsonb, bigint[], text, text, text, text) IS 'puts the runs for which a rule holds on their way; returns the others';

-- A profile that comes to the same split again goes the same way.
CREATE FUNCTION cdp._split(spec jsonb, branches jsonb, runs bigint[], of_step text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	b		record;
	taken	bigint[];
BEGIN
	FOR b IN
		SELECT e.value ->> 'next' AS next, coalesce(e.value ->> 'name', e.value ->> 'next') AS name,
			   CASE WHEN e.ordinality = jsonb_array_length(branches) THEN 1	-- whatever the shares add up to
					ELSE sum((e.value ->> 'share')::double precision) OVER (ORDER BY e.ordinality) END AS below
		FROM jsonb_array_elements(branches) WITH ORDINALITY e ORDER BY e.ordinality
	LOOP
		WITH taking AS (
			UPDATE cdp.journey_state s SET variant = CASE WHEN s.variant = '' THEN b.name
														  WHEN b.name = ANY (string_to_array(s.variant, '/')) THEN s.variant
														  ELSE s.variant || '/' || b.name END
			WHERE s.run_id = ANY (runs) AND cdp._draw(s.journey || '/' || s.step, s.profile_id) < b.below
			RETURNING s.run_id)
		SELECT array_agg(t.run_id) INTO taken FROM taking t;
		CONTINUE WHEN taken IS NULL;
		PERFORM cdp._go_on(spec, taken, of_step, b.next, b.name);
		runs := cdp._without(runs, taken);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._split(jsonb, jsonb, bigint[], text) IS 'deals runs out to the branches of a split, by the shares and by who it is';

-- Runs of one profile (under different keys) enter one after the other.
CREATE FUNCTION cdp._start_journey(other text, runs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	j	cdp.journey;
	g	record;
BEGIN
	-- advance_journeys holds those that were active when it began; one that is
	-- being changed right now counts as not active.
	SELECT x.* INTO j FROM cdp.journey x WHERE x.name = other AND x.status = 'active' FOR SHARE SKIP LOCKED;
	IF NOT FOUND THEN
		INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
		SELECT s.due_at, coalesce(s.owner_id, s.profile_id), s.journey, s.version, s.run_id, s.step, 'refused', format('journey "%s" is not active', other)
		FROM cdp._runs(runs) s;
		RETURN;
	END IF;
	FOR g IN
		SELECT array_agg(x.profile_id ORDER BY x.profile_id) AS profiles, array_agg(x.due_at ORDER BY x.profile_id) AS instants,
			   array_agg(x.entry ORDER BY x.profile_id) AS entries, array_agg(x.owner_id ORDER BY x.profile_id) AS owners
		FROM (SELECT s.profile_id, coalesce(s.owner_id, s.profile_id) AS owner_id, s.due_at, row_number() OVER (PARTITION BY s.profile_id ORDER BY s.run_id) AS turn,
					 s.entry || jsonb_build_object('journey', s.journey) AS entry
			  FROM cdp._runs(runs) s) x
		GROUP BY x.turn ORDER BY x.turn
	LOOP
		PERFORM cdp._enter_each(ARRAY[(j.name, g.profiles, g.instants, g.entries, g.owners)::cdp._entry_set], '{}');
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._start_journey(text, bigint[]) IS 'does a journey step: enters the profiles into another journey';

CREATE FUNCTION cdp._step_detail(step jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN coalesce(step ->> 'wait', step ->> 'tag', step ->> 'untag', step #>> '{send,template}', step ->> 'journey',
	step #>> '{wait_until,time}', step #>> '{wait_until}');
COMMENT ON FUNCTION cdp._step_detail(jsonb) IS 'what the log says about a step that everybody leaves the same way';

CREATE FUNCTION cdp._do_step(of_journey text, of_version int, of_step text, runs bigint[], alone bigint[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	spec	jsonb := (SELECT v.spec FROM cdp.journey_version v WHERE v.journey = of_journey AND v.version = of_version);
	todo	jsonb := spec #> ARRAY['steps', of_step];
	rule	cdp.criteria;
	ahead	jsonb := spec #> ARRAY['steps', todo ->> 'next'];
	done	bigint := cardinality(runs);
	gone	bigint[];
	x		record;
BEGIN
	-- What ends a run comes before what it would do.
	FOR x IN
		SELECT NULL::text AS on_event, NULL::text AS when_, 0 AS no
		UNION ALL
		SELECT e.value ->> 'on', e.value ->> 'when', e.ordinality
		FROM jsonb_array_elements(spec -> 'exit') WITH ORDINALITY e
		ORDER BY no
	LOOP
		IF x.no = 0 THEN
			gone := ARRAY(SELECT s.run_id FROM cdp.journey_state s JOIN cdp.profile p USING (profile_id)
						  WHERE s.run_id = ANY (runs) AND (p.suppressed OR p.erased_at IS NOT NULL));
		ELSIF x.on_event IS NOT NULL THEN
			gone := ARRAY(SELECT s.run_id FROM cdp._runs(runs) s WHERE cdp._event_seen(s, to_jsonb(x.on_event), s.entered_at));
		ELSE
			rule := x.when_::cdp.criteria;
			gone := ARRAY(SELECT s.run_id FROM cdp._runs(runs) s WHERE cdp._matches(s.profile_id, rule, s.due_at, s.label));
		END IF;
		CONTINUE WHEN gone = '{}';
		PERFORM cdp._end_runs(array_agg(s.run_id), array_agg(s.due_at), CASE x.no WHEN 0 THEN 'suppressed' ELSE 'exited' END,
							  coalesce(x.on_event, x.when_))
		FROM cdp.journey_state s WHERE s.run_id = ANY (gone);
		runs := cdp._without(runs, gone);
		alone := cdp._without(alone, gone);
	END LOOP;

	IF cardinality(runs) = 0 THEN
		RETURN done;
	END IF;

	-- Nothing can come between the end of a wait and a message at the same
	-- instant when the profile has nothing else to do: one move for both.
	IF alone <> '{}' AND todo ?| '{wait,wait_until}' AND todo #> '{wait_until,trait}' IS NULL AND ahead ? 'send' THEN
		PERFORM cdp._go_on(spec, cdp._without(runs, alone), of_step, todo ->> 'next', cdp._step_detail(todo));
		runs := alone;
		INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
		SELECT s.due_at, coalesce(s.owner_id, s.profile_id), s.journey, s.version, s.run_id, s.step, 'step', cdp._step_detail(todo) FROM cdp._runs(runs) s;
		of_step := todo ->> 'next';
		todo := ahead;
		done := done + cardinality(runs);
	END IF;

	-- Which way?
	CASE
		WHEN todo ? 'if' THEN
			runs := cdp._branch(spec, runs, of_step, todo ->> 'if', todo ->> 'then', 'then');
			PERFORM cdp._go_on(spec, runs, of_step, todo ->> 'else', 'else');
		WHEN todo ? 'switch' THEN
			FOR x IN SELECT e.value ->> 'when' AS when_, e.value ->> 'next' AS next FROM jsonb_array_elements(todo -> 'switch') WITH ORDINALITY e
					 ORDER BY e.ordinality LOOP
				runs := cdp._branch(spec, runs, of_step, x.when_, x.next, x.when_);
			END LOOP;
			PERFORM cdp._go_on(spec, runs, of_step, todo ->> 'else', 'else');
		WHEN todo ? 'split' THEN
			PERFORM cdp._split(spec, todo -> 'split', runs, of_step);
		WHEN todo ? 'wait_for' THEN
			gone := ARRAY(SELECT s.run_id FROM cdp._runs(runs) s WHERE cdp._event_seen(s, todo #> '{wait_for,on}', s.arrived_at));
			PERFORM cdp._go_on(spec, gone, of_step, todo ->> 'next', 'next');
			PERFORM cdp._go_on(spec, cdp._without(runs, gone), of_step, todo ->> 'else', 'timeout');
		WHEN todo #> '{wait_until,trait}' IS NOT NULL THEN
			-- The date may have moved away in the meantime.
			WITH moved AS (
				UPDATE cdp.journey_state s SET due_at = w.at
				FROM (SELECT r.run_id, cdp._wait_until(todo -> 'wait_until', r.profile_id, r.arrived_at, spec ->> 'timezone') AS at
					  FROM cdp._runs(runs) r) w
				WHERE s.run_id = w.run_id AND w.at > s.due_at
				RETURNING s.run_id)
			SELECT array_agg(m.run_id) INTO gone FROM moved m;
			PERFORM cdp._go_on(spec, cdp._without(runs, gone), of_step, todo ->> 'next', todo #>> '{wait_until,trait}');
		ELSE
			CASE
				WHEN todo ? 'send' THEN
					runs := cdp._send(spec, of_step, runs);
				WHEN todo ?| '{tag,untag}' THEN
					PERFORM cdp._tag_runs(coalesce(todo ->> 'tag', todo ->> 'untag'), todo ? 'tag', runs);
				WHEN todo ? 'set_trait' THEN
					PERFORM cdp._set_traits(coalesce(s.owner_id, s.profile_id), cdp._render_params(todo -> 'set_trait', s), s.due_at, 'journey')
					FROM cdp._runs(runs) s;
				WHEN todo ? 'journey' THEN
					PERFORM cdp._start_journey(todo ->> 'journey', runs);
				ELSE NULL;
			END CASE;
			PERFORM cdp._go_on(spec, runs, of_step, todo ->> 'next', cdp._step_detail(todo));
	END CASE;
	RETURN done;
END
$$;
COMMENT ON FUNCTION cdp._do_step(text, int, text, bigint[], bigint[]) IS 'does one step for runs that are due at it, each at its own instant; alone: those whose profiles have nothing else due then; returns how many steps';

-- An error in one run fails that one alone; see _enter_each.
CREATE FUNCTION cdp._do_step_each(of_journey text, of_version int, of_step text, runs bigint[], alone bigint[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	half	int := cardinality(runs) / 2;
	reason	text;
BEGIN
	BEGIN
		RETURN cdp._do_step(of_journey, of_version, of_step, runs, alone);
	EXCEPTION WHEN OTHERS THEN
		IF NOT cdp._concerns_one_run(SQLSTATE) THEN
			RAISE;
		END IF;
		reason := SQLERRM;
	END;
	IF alone <> '{}' THEN	-- the culprit fails at its own step
		RETURN cdp._do_step_each(of_journey, of_version, of_step, runs, NULL);
	ELSIF half = 0 THEN
		PERFORM cdp._end_runs(runs, ARRAY[s.due_at], 'failed', reason) FROM cdp.journey_state s WHERE s.run_id = runs[1];
		RETURN 1;
	END IF;
	RETURN cdp._do_step_each(of_journey, of_version, of_step, runs[:half], NULL)
		 + cdp._do_step_each(of_journey, of_version, of_step, runs[half + 1:], NULL);
END
$$;
COMMENT ON FUNCTION cdp._do_step_each(text, int, text, bigint[], bigint[]) IS 'does one step so that an error in one run fails that one alone; returns how many steps';
