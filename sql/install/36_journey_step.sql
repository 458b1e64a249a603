/* 36_journey_step: what runs do at a step
 *
 * A hundred campaigns have a few runs each that are due, and a statement costs
 * more than a run.  So runs of many journeys, versions and steps go through a
 * function together, each at an instant of its own (due_at): plans say what is
 * to be done at each of the steps, and each run (_due) names its plan.  Which
 * runs may go together is decided in 36_journey_turn.  The caller holds the rows
 * of their profiles.
 */

CREATE TYPE cdp._plan AS (journey text, version int, step text, spec jsonb, todo jsonb);
COMMENT ON TYPE cdp._plan IS 'a step of a version of a journey';
CREATE TYPE cdp._due AS (run_id bigint, profile_id bigint, plan int, alone boolean);
COMMENT ON TYPE cdp._due IS 'a run that is due at the step of a plan (its place among the plans); alone: its profile has nothing else due then';
CREATE TYPE cdp._move AS (run_id bigint, plan int, next text, detail text);
COMMENT ON TYPE cdp._move IS 'a run that has done the step of a plan, and where it goes';

CREATE FUNCTION cdp._kind(todo jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	kind	text;
BEGIN
	IF todo #> '{wait_until,trait}' IS NOT NULL THEN
		RETURN 'wait_until_trait';
	END IF;
	FOREACH kind IN ARRAY '{wait,wait_until,wait_for,if,switch,split,send,tag,untag,set_trait,journey}'::text[] LOOP
		IF todo ? kind THEN
			RETURN kind;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._kind(jsonb) IS 'what kind of step it is';

-- Each at its own instant: other journeys may begin there.  In the order of the
-- plans: of two tags of an exclusive key the later one stays.
CREATE FUNCTION cdp._tag_runs(plans cdp._plan[], items cdp._due[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	r	record;
BEGIN
	FOR r IN SELECT s.profile_id, s.due_at, (plans[i.plan]).todo ->> 'tag' AS tag, (plans[i.plan]).todo ->> 'untag' AS untag
			 FROM unnest(items) i
			 CROSS JOIN LATERAL (SELECT o.profile_id, o.due_at FROM cdp.journey_state o WHERE o.run_id = i.run_id OFFSET 0) s
			 ORDER BY i.profile_id, i.plan, i.run_id LOOP
		IF r.tag IS NOT NULL THEN
			PERFORM cdp.tag(r.profile_id, r.tag, NULL, r.due_at);
		ELSE
			PERFORM cdp.untag(r.profile_id, r.untag, r.due_at);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._tag_runs(cdp._plan[], cdp._due[]) IS 'does tag and untag steps';

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
-- then the run is at its plan's step, whatever its row says.
CREATE FUNCTION cdp._arrive(plans cdp._plan[], items cdp._due[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
	UPDATE cdp.journey_state s SET step = x.of_step, visit = s.visit + 1, arrived_at = s.due_at
	FROM (SELECT (plans[i.plan]).step AS of_step, o.ctid, o.step FROM unnest(items) i
		  CROSS JOIN LATERAL (SELECT o.ctid, o.step FROM cdp.journey_state o WHERE o.run_id = i.run_id OFFSET 0) o) x
	WHERE s.ctid = x.ctid AND x.step <> x.of_step;
END
$$;
COMMENT ON FUNCTION cdp._arrive(cdp._plan[], cdp._due[]) IS 'makes the rows of runs that went on to a step without a stop say so';

-- Puts runs that have done a step on their way to the next; "end" is the end.  The
-- log has what one profile does in the order of the plans.
CREATE FUNCTION cdp._go_on(plans cdp._plan[], moves cdp._move[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
	ended	bigint[] := ARRAY(SELECT m.run_id FROM unnest(moves) m WHERE m.next = 'end');
BEGIN
	WITH moved AS (
		UPDATE cdp.journey_state s SET step = m.next, visit = s.visit + CASE WHEN s.step = m.of_step THEN 1 ELSE 2 END, arrived_at = s.due_at,
			due_at = cdp._due_at(m.spec, m.next, m.delay, s.profile_id, s.due_at)
		FROM (SELECT g.plan, g.next, g.detail, p.step AS of_step, p.spec, p.delay, o.ctid
			  FROM (SELECT m.plan, m.next, m.detail, array_agg(m.run_id) AS runs FROM unnest(moves) m WHERE m.next <> 'end' GROUP BY m.plan, m.next, m.detail) g
			  CROSS JOIN LATERAL (SELECT (plans[g.plan]).step, (plans[g.plan]).spec, cdp._step_delay((plans[g.plan]).spec #> ARRAY['steps', g.next]) AS delay OFFSET 0) p
			  CROSS JOIN LATERAL unnest(g.runs) AS r(id)
			  CROSS JOIN LATERAL (SELECT o.ctid FROM cdp.journey_state o WHERE o.run_id = r.id OFFSET 0) o) m
		WHERE s.ctid = m.ctid
		RETURNING s.arrived_at AS at, s.profile_id, s.owner_id, s.journey, s.version, s.run_id, m.plan, m.of_step, m.detail
	), gone AS (
		UPDATE cdp.journey_state s
		SET step = m.of_step, visit = s.visit + CASE WHEN s.step = m.of_step THEN 0 ELSE 1 END, arrived_at = CASE WHEN s.step = m.of_step THEN s.arrived_at ELSE s.due_at END,
			status = 'ended', outcome = 'completed', ended_at = s.due_at, due_at = NULL
		FROM (SELECT m.plan, (plans[m.plan]).step AS of_step, m.detail, o.ctid FROM unnest(moves) m
			  CROSS JOIN LATERAL (SELECT o.ctid FROM cdp.journey_state o WHERE o.run_id = m.run_id OFFSET 0) o
			  WHERE m.next = 'end') m
		WHERE s.ctid = m.ctid
		RETURNING s.ended_at AS at, s.profile_id, s.owner_id, s.journey, s.version, s.run_id, m.plan, m.of_step, m.detail
	)
	INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
	SELECT w.at, coalesce(w.owner_id, w.profile_id), w.journey, w.version, w.run_id, w.of_step, w.what, w.detail
	FROM (SELECT m.*, 'step' AS what FROM moved m
		  UNION ALL SELECT g.*, 'step' FROM gone g
		  UNION ALL SELECT g.at, g.profile_id, g.owner_id, g.journey, g.version, g.run_id, g.plan, g.of_step, 'completed', 'ended' FROM gone g) w
	ORDER BY w.profile_id, w.plan, w.what DESC, w.run_id;
	IF ended <> '{}' THEN
		PERFORM cdp._unmark(ended);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._go_on(cdp._plan[], cdp._move[]) IS 'logs steps and moves their runs on; a wait begins at once, from the run''s own clock';

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

-- The runs of many journeys that began and are due together ask the same about a
-- profile: asked once.  since_arrival: since they came to their step, or since
-- they entered.
CREATE FUNCTION cdp._who_has_seen(runs bigint[], reference jsonb, since_arrival boolean) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	bound	boolean := EXISTS (SELECT FROM cdp._event_refs(reference) r WHERE r.bound);
BEGIN
	RETURN ARRAY(
		SELECT unnest(g.runs)
		FROM (SELECT array_agg(s.run_id) AS runs, (array_agg(s))[1] AS one, x.since
			  FROM cdp._runs(runs) s
			  CROSS JOIN LATERAL (SELECT CASE WHEN since_arrival THEN s.arrived_at ELSE s.entered_at END AS since) x
			  GROUP BY s.profile_id, x.since, s.due_at, CASE WHEN bound THEN s.label END) g
		WHERE cdp._event_seen(g.one, reference, g.since));
END
$$;
COMMENT ON FUNCTION cdp._who_has_seen(bigint[], jsonb, boolean) IS 'the runs for which _event_seen holds';

CREATE FUNCTION cdp._without(ids bigint[], gone bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN coalesce(cardinality(gone), 0) = 0 THEN ids ELSE
		ARRAY(SELECT r FROM unnest(ids) WITH ORDINALITY u(r, n) WHERE r NOT IN (SELECT unnest(gone)) ORDER BY n) END;
END;
COMMENT ON FUNCTION cdp._without(bigint[], bigint[]) IS 'the ids that are not gone';

CREATE FUNCTION cdp._without(items cdp._due[], gone bigint[]) RETURNS cdp._due[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF coalesce(cardinality(gone), 0) = 0 THEN
		RETURN items;
	END IF;
	RETURN ARRAY(SELECT i FROM unnest(items) WITH ORDINALITY AS u(run_id, profile_id, plan, alone, n)
				 CROSS JOIN LATERAL (SELECT (u.run_id, u.profile_id, u.plan, u.alone)::cdp._due AS i) x
				 WHERE u.run_id NOT IN (SELECT unnest(gone)) ORDER BY u.n);
END
$$;
COMMENT ON FUNCTION cdp._without(cdp._due[], bigint[]) IS 'the runs that are not gone';

CREATE FUNCTION cdp._who_matches(runs bigint[], rule text) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	parsed	cdp.criteria := rule::cdp.criteria;
BEGIN
	RETURN ARRAY(SELECT s.run_id FROM cdp._runs(runs) s WHERE cdp._matches(s.profile_id, parsed, s.due_at, s.label));
END
$$;
COMMENT ON FUNCTION cdp._who_matches(bigint[], text) IS 'the runs for whose profiles a rule holds, each at its instant';

-- A profile that comes to the same split again goes the same way.
CREATE FUNCTION cdp._split(branches jsonb, items cdp._due[]) RETURNS cdp._move[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
	nexts	text[];
	names	text[];
	below	double precision[];		-- the last branch takes whatever the shares leave
	moves	cdp._move[];
BEGIN
	SELECT array_agg(b.next ORDER BY b.no), array_agg(b.name ORDER BY b.no), (array_agg(b.below ORDER BY b.no))[:count(*)::int - 1]
	INTO nexts, names, below
	FROM (SELECT e.ordinality AS no, e.value ->> 'next' AS next, coalesce(e.value ->> 'name', e.value ->> 'next') AS name,
				 sum((e.value ->> 'share')::double precision) OVER (ORDER BY e.ordinality) AS below
		  FROM jsonb_array_elements(branches) WITH ORDINALITY e) b;
	WITH taken AS (
		UPDATE cdp.journey_state s SET variant = CASE WHEN s.variant = '' THEN names[x.n]
													  WHEN names[x.n] = ANY (string_to_array(s.variant, '/')) THEN s.variant
													  ELSE s.variant || '/' || names[x.n] END
		FROM (SELECT o.ctid, i.plan, 1 + (SELECT count(*)::int FROM unnest(below) b WHERE b <= o.draw) AS n
			  FROM unnest(items) i
			  CROSS JOIN LATERAL (SELECT o.ctid, cdp._draw(o.journey || '/' || o.step, o.profile_id) AS draw FROM cdp.journey_state o WHERE o.run_id = i.run_id OFFSET 0) o) x
		WHERE s.ctid = x.ctid
		RETURNING s.run_id, x.plan, x.n)
	SELECT array_agg((t.run_id, t.plan, nexts[t.n], names[t.n])::cdp._move) INTO moves FROM taken t;
	RETURN coalesce(moves, '{}');
END
$$;
COMMENT ON FUNCTION cdp._split(jsonb, cdp._due[]) IS 'deals runs out to the branches of a split, by the shares and by who it is';

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

CREATE FUNCTION cdp._do_steps(plans cdp._plan[], items cdp._due[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
	done	bigint := cardinality(items);
	moves	cdp._move[] := '{}';
	part	cdp._due[];
	gone	bigint[];
	ahead	int[];
	x		record;
	b		record;
BEGIN
	-- What ends a run comes before what it would do.
	gone := ARRAY(SELECT i.run_id FROM unnest(items) i
				  CROSS JOIN LATERAL (SELECT p.suppressed OR p.erased_at IS NOT NULL AS away FROM cdp.profile p WHERE p.profile_id = i.profile_id OFFSET 0) p
				  WHERE p.away);
	IF EXISTS (SELECT FROM cdp.suppression r WHERE r.active) THEN
		gone := gone || ARRAY(SELECT a.runs[n]
							  FROM (SELECT array_agg(s.run_id) AS runs, array_agg(s.profile_id) AS profiles, array_agg(s.due_at) AS instants
									FROM unnest(items) i CROSS JOIN LATERAL (SELECT o.* FROM cdp.journey_state o WHERE o.run_id = i.run_id OFFSET 0) s
									WHERE i.run_id <> ALL (gone) AND i.plan = ANY (ARRAY(
										SELECT p.no FROM unnest(plans) WITH ORDINALITY AS p(journey, version, step, spec, todo, no)
										WHERE cdp._needs_consent(coalesce(p.spec ->> 'purpose', 'marketing'))))) a,
								  unnest(cdp._ruled_out(a.profiles, a.instants)) n);
	END IF;
	IF gone <> '{}' THEN
		PERFORM cdp._end_due(gone, 'suppressed', NULL);
		items := cdp._without(items, gone);
	END IF;
	FOR x IN
		SELECT e.value ->> 'on' AS on_event, e.value ->> 'when' AS when_, array_agg(p.no) AS plans
		FROM unnest(plans) WITH ORDINALITY AS p(journey, version, step, spec, todo, no)
		CROSS JOIN LATERAL jsonb_array_elements(p.spec -> 'exit') WITH ORDINALITY e
		WHERE p.no IN (SELECT i.plan FROM unnest(items) i)
		GROUP BY e.ordinality, e.value ORDER BY e.ordinality, min(p.no)
	LOOP
		gone := ARRAY(SELECT i.run_id FROM unnest(items) i WHERE i.plan = ANY (x.plans));
		CONTINUE WHEN gone = '{}';
		IF x.on_event IS NOT NULL THEN
			gone := cdp._who_has_seen(gone, to_jsonb(x.on_event), false);
		ELSE
			gone := cdp._who_matches(gone, x.when_);
		END IF;
		CONTINUE WHEN gone = '{}';
		PERFORM cdp._end_due(gone, 'exited', coalesce(x.on_event, x.when_));
		items := cdp._without(items, gone);
	END LOOP;

	-- Nothing can come between the end of a wait and a message at the same
	-- instant when the profile has nothing else to do: one move for both.
	FOR x IN
		SELECT p.no, (p.journey, p.version, p.todo ->> 'next', p.spec, p.spec #> ARRAY['steps', p.todo ->> 'next'])::cdp._plan AS plan
		FROM unnest(plans) WITH ORDINALITY AS p(journey, version, step, spec, todo, no)
		WHERE cdp._kind(p.todo) IN ('wait', 'wait_until') AND p.spec #> ARRAY['steps', p.todo ->> 'next'] ? 'send'
		  AND p.no IN (SELECT i.plan FROM unnest(items) i WHERE i.alone) ORDER BY p.no
	LOOP
		plans := plans || x.plan;
		ahead[x.no] := cardinality(plans);
	END LOOP;
	IF ahead IS NOT NULL THEN
		INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
		SELECT s.due_at, coalesce(s.owner_id, s.profile_id), s.journey, s.version, s.run_id, s.step, 'step', cdp._step_detail((plans[i.plan]).todo)
		FROM unnest(items) i
		CROSS JOIN LATERAL (SELECT o.* FROM cdp.journey_state o WHERE o.run_id = i.run_id OFFSET 0) s
		WHERE i.alone AND ahead[i.plan] IS NOT NULL ORDER BY s.profile_id, s.run_id;
		done := done + (SELECT count(*) FROM unnest(items) i WHERE i.alone AND ahead[i.plan] IS NOT NULL);
		items := ARRAY(SELECT (i.run_id, i.profile_id, CASE WHEN i.alone THEN coalesce(ahead[i.plan], i.plan) ELSE i.plan END, i.alone)::cdp._due FROM unnest(items) i);
	END IF;

	-- Which way?  What everybody leaves the same way comes last.
	FOR x IN
		SELECT k.kind, k.how, array_agg(p.no ORDER BY p.no) AS plans
		FROM unnest(plans) WITH ORDINALITY AS p(journey, version, step, spec, todo, no)
		CROSS JOIN LATERAL (SELECT cdp._kind(p.todo) AS kind) t
		CROSS JOIN LATERAL (SELECT CASE WHEN t.kind = 'untag' THEN 'tag' ELSE t.kind END AS kind,
								   CASE WHEN t.kind IN ('if', 'switch', 'split', 'wait_for') THEN p.todo -> t.kind
										-- the time zone, the other journey, what to set: the plan's own
										WHEN t.kind IN ('wait_until_trait', 'set_trait', 'journey') THEN to_jsonb(p.no) END AS how) k
		WHERE p.no IN (SELECT i.plan FROM unnest(items) i)
		GROUP BY k.kind, k.how ORDER BY min(p.no)
	LOOP
		part := ARRAY(SELECT i FROM unnest(items) i WHERE i.plan = ANY (x.plans));
		CASE x.kind
			WHEN 'if' THEN
				gone := cdp._who_matches(ARRAY(SELECT i.run_id FROM unnest(part) i), x.how #>> '{}');
				moves := moves || ARRAY(SELECT (i.run_id, i.plan, (plans[i.plan]).todo ->> w.way, w.way)::cdp._move
										FROM unnest(part) i
										CROSS JOIN LATERAL (SELECT CASE WHEN i.run_id IN (SELECT unnest(gone)) THEN 'then' ELSE 'else' END AS way) w);
				CONTINUE;
			WHEN 'switch' THEN
				FOR b IN SELECT e.value ->> 'when' AS when_, e.value ->> 'next' AS next FROM jsonb_array_elements(x.how) WITH ORDINALITY e ORDER BY e.ordinality LOOP
					gone := cdp._who_matches(ARRAY(SELECT i.run_id FROM unnest(part) i), b.when_);
					CONTINUE WHEN gone = '{}';
					moves := moves || ARRAY(SELECT (i.run_id, i.plan, b.next, b.when_)::cdp._move FROM unnest(part) i WHERE i.run_id IN (SELECT unnest(gone)));
					part := cdp._without(part, gone);
				END LOOP;
				moves := moves || ARRAY(SELECT (i.run_id, i.plan, (plans[i.plan]).todo ->> 'else', 'else')::cdp._move FROM unnest(part) i);
				CONTINUE;
			WHEN 'split' THEN
				moves := moves || cdp._split(x.how, part);
				CONTINUE;
			WHEN 'wait_for' THEN
				gone := cdp._who_has_seen(ARRAY(SELECT i.run_id FROM unnest(part) i), x.how -> 'on', true);
				moves := moves || ARRAY(SELECT CASE WHEN i.run_id IN (SELECT unnest(gone)) THEN (i.run_id, i.plan, (plans[i.plan]).todo ->> 'next', 'next')::cdp._move
													ELSE (i.run_id, i.plan, (plans[i.plan]).todo ->> 'else', 'timeout')::cdp._move END FROM unnest(part) i);
				CONTINUE;
			WHEN 'wait_until_trait' THEN
				-- The date may have moved away in the meantime.
				WITH moved AS (
					UPDATE cdp.journey_state s SET due_at = w.at
					FROM (SELECT r.run_id, cdp._wait_until((plans[x.plans[1]]).todo -> 'wait_until', r.profile_id, r.arrived_at, (plans[x.plans[1]]).spec ->> 'timezone') AS at
						  FROM cdp._runs(ARRAY(SELECT i.run_id FROM unnest(part) i)) r) w
					WHERE s.run_id = w.run_id AND w.at > s.due_at
					RETURNING s.run_id)
				SELECT array_agg(m.run_id) INTO gone FROM moved m;
				moves := moves || ARRAY(SELECT (i.run_id, i.plan, (plans[i.plan]).todo ->> 'next', (plans[i.plan]).todo #>> '{wait_until,trait}')::cdp._move
										FROM unnest(cdp._without(part, gone)) i);
				CONTINUE;
			WHEN 'send' THEN
				part := cdp._send(plans, part);
			WHEN 'tag' THEN
				PERFORM cdp._tag_runs(plans, part);
			WHEN 'set_trait' THEN
				PERFORM cdp._set_traits(coalesce(s.owner_id, s.profile_id), cdp._render_params((plans[x.plans[1]]).todo -> 'set_trait', s), s.due_at, 'journey')
				FROM cdp._runs(ARRAY(SELECT i.run_id FROM unnest(part) i)) s;
			WHEN 'journey' THEN
				PERFORM cdp._start_journey((plans[x.plans[1]]).todo ->> 'journey', ARRAY(SELECT i.run_id FROM unnest(part) i));
			ELSE NULL;
		END CASE;
		moves := moves || ARRAY(SELECT (i.run_id, i.plan, (plans[i.plan]).todo ->> 'next', cdp._step_detail((plans[i.plan]).todo))::cdp._move FROM unnest(part) i);
	END LOOP;
	PERFORM cdp._go_on(plans, moves);
	RETURN done;
END
$$;
COMMENT ON FUNCTION cdp._do_steps(cdp._plan[], cdp._due[]) IS 'does one step of each of these runs at its own instant, a message after a wait at once for those who are alone; returns how many steps';

-- An error in one run fails that one alone; see _enter_each.
CREATE FUNCTION cdp._do_steps_each(plans cdp._plan[], items cdp._due[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	half	int := cardinality(items) / 2;
	reason	text;
BEGIN
	BEGIN
		RETURN cdp._do_steps(plans, items);
	EXCEPTION WHEN OTHERS THEN
		IF NOT cdp._concerns_one_run(SQLSTATE) THEN
			RAISE;
		END IF;
		reason := SQLERRM;
	END;
	IF EXISTS (SELECT FROM unnest(items) i WHERE i.alone) THEN	-- the culprit fails at its own step
		RETURN cdp._do_steps_each(plans, ARRAY(SELECT (i.run_id, i.profile_id, i.plan, false)::cdp._due FROM unnest(items) i));
	ELSIF half = 0 THEN
		PERFORM cdp._end_due(ARRAY[items[1].run_id], 'failed', reason);
		RETURN 1;
	END IF;
	RETURN cdp._do_steps_each(plans, items[:half]) + cdp._do_steps_each(plans, items[half + 1:]);
END
$$;
COMMENT ON FUNCTION cdp._do_steps_each(cdp._plan[], cdp._due[]) IS 'does one step of each of these runs so that an error in one run fails that one alone; returns how many steps';
