CREATE TEMP TABLE o_foreseen (journey text, at timestamptz, step text, entered bigint, messages bigint);
CREATE TEMP TABLE o_result (w int, journey text, variant text, profiles bigint, messaged bigint, converted bigint, value float8);
CREATE TEMP TABLE o_stats (w int, journey text, step text, entered bigint, waiting bigint, left_step bigint, messages bigint, goals bigint);
CREATE TEMP TABLE all_run (w int, LIKE o_run); CREATE TEMP TABLE all_log (LIKE o_log); CREATE TEMP TABLE all_message (w int, who text, LIKE o_message); CREATE TEMP TABLE all_tag (LIKE o_tag); CREATE TEMP TABLE all_trait (LIKE o_trait);	-- of all worlds
CREATE TEMP TABLE all_stage (who text, stage text); CREATE TEMP TABLE all_member (LIKE o_member);

-- everything that is due, in the order of time; false: nothing was
CREATE FUNCTION pg_temp.advance(of_world int, c timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	t		timestamptz;
	worked	boolean := false;
BEGIN
	LOOP
		t := least((SELECT min(o.at) FROM o_trigger o WHERE o.at <= c), (SELECT min(r.due) FROM o_run r JOIN o_journey j USING (journey) WHERE r.status = 'active' AND j.status = 'active' AND r.due <= c),
				   (SELECT min(j.next) FROM o_journey j WHERE j.next <= c));
		EXIT WHEN t IS NULL;
		worked := true;
		PERFORM pg_temp.start_schedules(of_world, t);
		PERFORM pg_temp.take_triggers(t);
		PERFORM pg_temp.take_steps(t);
	END LOOP;
	RETURN worked;
END
$$;
-- How a journey will go on if nothing else happens: what has been recorded for this time happens for it alone.
CREATE FUNCTION pg_temp.foresee(of_world int, of_journey text, since timestamptz, horizon interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	steps	jsonb := (SELECT s.spec -> 'steps' FROM o_journey j JOIN spec s USING (journey, version) WHERE j.journey = of_journey AND j.status <> 'archived');
	logged	int := (SELECT coalesce(max(l.n), 0) FROM o_log l);
	visited	int := (SELECT coalesce(max(v.n), 0) FROM o_visit v);
	came	text[];
	sent	text[];
BEGIN
	IF steps IS NULL THEN
		RETURN;
	END IF;
	BEGIN
		UPDATE o_journey SET status = 'active' WHERE journey = of_journey;
		PERFORM pg_temp.plan(of_journey, since, since), pg_temp.plan_due(of_journey, since);
		DELETE FROM o_trigger t WHERE t.source = 'event' AND (t.at <= since OR NOT EXISTS (
			SELECT FROM spec s, jsonb_path_query(s.spec, 'strict $.**.on') e WHERE s.journey = of_journey AND e::text ~ ('"' || t.name || '\M')));
		PERFORM pg_temp.advance(of_world, since + horizon);
		came := ARRAY(SELECT v.step FROM o_visit v JOIN o_run r USING (run) WHERE r.journey = of_journey AND v.n > visited);
		sent := ARRAY(SELECT l.step FROM o_log l WHERE l.journey = of_journey AND l.n > logged AND l.what = 'sent');
		RAISE SQLSTATE 'ZZ000';
	EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
		NULL;
	END;
	INSERT INTO o_foreseen SELECT of_journey, since, k, cardinality(array_positions(came, k)), cardinality(array_positions(sent, k)) FROM jsonb_object_keys(steps) k;
END
$$;

CREATE FUNCTION pg_temp.replay(of_world int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	my_mode	text := pg_temp.mode(of_world);
	c		timestamptz;
	before	timestamptz := '-infinity';
	a		act;
	again	boolean;
BEGIN
	TRUNCATE o_trigger, o_journey, o_is, o_link, o_call, o_address, o_due, o_stage, o_member, o_stirred, o_run, o_visit, o_log, o_message, o_bounced, o_event, o_taken, o_tag, o_trait, o_decision;
	INSERT INTO o_is SELECT name, name FROM person WHERE w = of_world AND p <= 5;
	INSERT INTO o_address SELECT leaf, channel, value, since FROM address WHERE w = of_world;
	INSERT INTO o_journey SELECT DISTINCT journey, 'active', 1 FROM spec WHERE w = of_world;
	INSERT INTO o_trait SELECT p.name, x.name, to_jsonb(x.value), p.since FROM person p, LATERAL (VALUES ('day', p.day), ('timezone', p.zone), ('born', p.born)) x(name, value) WHERE p.w = of_world AND x.value IS NOT NULL;
	INSERT INTO o_decision SELECT p.name, d.purpose, d.channel, d.granted, d.at FROM decision d JOIN person p USING (w, p) WHERE d.w = of_world;
	FOR c IN SELECT k.at FROM clock k WHERE k.mode = my_mode ORDER BY k.at LOOP
		IF NOT isfinite(before) THEN
			PERFORM pg_temp.plan(j.journey, before, c) FROM o_journey j;
		END IF;
		FOR a IN SELECT * FROM act x WHERE x.w = of_world AND x.arrives > before AND x.arrives <= c ORDER BY x.n LOOP
			CASE a.kind
				WHEN 'event', 'history' THEN
					a.who := coalesce((SELECT i.leaf FROM o_is i WHERE i.leaf = a.who || 't' AND a.via = 'tablet'), a.who);
					INSERT INTO o_event VALUES (a.who, a.name, a.at, a.label, a.props, a.ref, a.via, a.arrives, a.kind = 'history');
					INSERT INTO o_stirred VALUES (a.who, a.kind);
					IF a.kind = 'event' THEN
						INSERT INTO o_trigger (leaf, source, name, at, label, props, ref) VALUES (a.who, 'event', a.name, a.at, a.label, a.props, a.ref);
					END IF;
				WHEN 'retract' THEN
					INSERT INTO o_stirred SELECT e.leaf, 'history' FROM o_event e WHERE e.ref = a.ref;
					INSERT INTO o_taken SELECT e.* FROM o_event e WHERE e.ref = a.ref;
					DELETE FROM o_event e WHERE e.ref = a.ref;
					DELETE FROM o_trigger e WHERE e.ref = a.ref;
				WHEN 'tag', 'untag' THEN PERFORM pg_temp.set_tag(pg_temp.who(a.who), a.name, a.kind = 'tag', a.at);
				WHEN 'trait', 'moves' THEN PERFORM pg_temp.put_trait(pg_temp.who(a.who), a.name, a.props, a.at);
				WHEN 'suppress', 'unsuppress' THEN
					INSERT INTO o_stirred SELECT a.who, 'policy' WHERE pg_temp.suppressed(pg_temp.who(a.who)) = (a.kind = 'unsuppress');
					INSERT INTO o_decision VALUES (pg_temp.who(a.who), '*', '*', a.kind = 'unsuppress', a.at);
				WHEN 'manual' THEN PERFORM pg_temp.enter(pg_temp.who(a.who), pg_temp.who(a.who), a.name, a.at, jsonb_strip_nulls(jsonb_build_object('label', a.label)), jsonb_strip_nulls(jsonb_build_object('label', a.label, 'k', 'by hand')));
				WHEN 'crowd' THEN PERFORM pg_temp.enter(x.who, x.who, a.name, a.at, '{"label": "x"}', '{"label": "x", "k": "all"}') FROM (SELECT DISTINCT i.who, pg_temp.id(i.who) AS id FROM o_is i ORDER BY id) x;
				WHEN 'merge' THEN PERFORM pg_temp.merge(a.name, a.label, a.ref, a.at);
				WHEN 'unmerge' THEN PERFORM pg_temp.unmerge(a.ref, a.at);
				WHEN 'split' THEN PERFORM pg_temp.split(a.name, a.label, a.at);
				WHEN 'erase' THEN PERFORM pg_temp.erase(a.who);
				WHEN 'pause' THEN UPDATE o_journey SET status = 'paused' WHERE journey = a.name;
				WHEN 'activate' THEN UPDATE o_journey SET status = 'active' WHERE journey = a.name;
				WHEN 'version' THEN UPDATE o_journey SET status = 'active', version = 2 WHERE journey = a.name;
				WHEN 'archive' THEN
					UPDATE o_journey SET status = 'archived' WHERE journey = a.name;
					PERFORM pg_temp.finish(r.run, a.at, 'archived', 'ended', 'journey was archived') FROM o_run r WHERE r.journey = a.name AND r.status = 'active';
			END CASE;
			IF a.kind IN ('pause', 'activate', 'version', 'archive') THEN
				PERFORM pg_temp.plan(a.name, before, c), pg_temp.plan_due(a.name, before);
			END IF;
		END LOOP;
		IF my_mode = 'late' THEN
			PERFORM pg_temp.foresee(of_world, x.journey, pg_temp.base() - interval '1 h', x.horizon) FROM prophecy x WHERE x.w = of_world;
		END IF;
		IF my_mode = 'punctual' THEN
			PERFORM pg_temp.move_due(of_world, c);
		END IF;
		PERFORM pg_temp.move_stages(of_world, before, c), pg_temp.look_at_segment(of_world, before, c);
		DELETE FROM o_stirred;
		DELETE FROM o_taken;
		-- what journeys do may move people in or out of the segment
		LOOP
			again := pg_temp.advance(of_world, c);
			EXIT WHEN NOT pg_temp.look_at_segment(of_world, c, c) AND NOT again;
		END LOOP;
		PERFORM pg_temp.lapse(c);
		IF my_mode = 'punctual' THEN
			PERFORM pg_temp.report(of_world, c);
			PERFORM pg_temp.foresee(of_world, x.journey, c, x.horizon) FROM prophecy x WHERE x.w = of_world AND x.at = c;
		END IF;
		before := c;
	END LOOP;
	-- the reports
	INSERT INTO o_result
	SELECT of_world, x.journey, x.variant, count(DISTINCT x.who), count(DISTINCT x.who) FILTER (WHERE x.messaged), count(DISTINCT x.who) FILTER (WHERE x.goals > 0), coalesce(sum(x.value), 0)
	FROM (SELECT r.journey, coalesce(nullif(r.variant, ''), 'all') AS variant, coalesce(pg_temp.who(r.who), r.who) AS who,
				 EXISTS (SELECT FROM o_message m WHERE m.run = r.run AND m.status IN ('pending', 'claimed', 'sent', 'ambiguous')) AS messaged, g.goals, g.value
		  FROM o_run r JOIN o_journey USING (journey), LATERAL (SELECT count(*) AS goals, sum(l.value) AS value FROM o_log l WHERE l.run = r.run AND l.what = 'goal') g WHERE r.outcome IS DISTINCT FROM 'merged') x
	GROUP BY 1, 2, 3;
	INSERT INTO o_stats
	SELECT of_world, j.journey, k.step, (SELECT count(*) FROM o_visit v JOIN o_run r USING (run) WHERE r.journey = j.journey AND v.step = k.step), (SELECT count(*) FROM o_run r WHERE r.journey = j.journey AND r.status = 'active' AND r.step = k.step), l.*
	FROM o_journey j CROSS JOIN LATERAL (SELECT DISTINCT jsonb_object_keys(s.spec -> 'steps') AS step FROM spec s WHERE s.journey = j.journey AND s.version <= (SELECT max(x.version) FROM act y, LATERAL (SELECT CASE y.kind WHEN 'version' THEN 2 ELSE 1 END AS version) x WHERE y.name = j.journey OR y.n = 1)) k
	CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE g.what = 'step'), count(*) FILTER (WHERE g.what = 'sent'), count(*) FILTER (WHERE g.what = 'goal') FROM o_log g WHERE g.journey = j.journey AND g.step = k.step) l;
	UPDATE o_run r SET who = coalesce(pg_temp.who(r.who), r.who);
	INSERT INTO all_run SELECT of_world, r.* FROM o_run r;
	INSERT INTO all_log TABLE o_log;
	INSERT INTO all_message SELECT of_world, pg_temp.who(m.owner), m.* FROM o_message m WHERE m.owner <> 'nobody';
	INSERT INTO all_tag TABLE o_tag;
	INSERT INTO all_trait TABLE o_trait;
	INSERT INTO all_stage SELECT s.who, s.stage FROM o_stage s;
	INSERT INTO all_member TABLE o_member;
END
$$;
