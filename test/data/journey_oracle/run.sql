-- what runs go through
CREATE FUNCTION pg_temp.say(r o_run, t timestamptz, what text, detail text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO o_log (who, journey, version, run, step, at, what, detail) VALUES (r.owner, r.journey, r.version, r.run, r.step, t, what, detail);
END
$$;
CREATE FUNCTION pg_temp.finish(of_run int, t timestamptz, how text, what text, detail text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.say(r, t, what, detail) FROM o_run r WHERE r.run = of_run;
	UPDATE o_run SET status = 'ended', outcome = how, ended = t, due = CASE how WHEN 'merged' THEN due END WHERE run = of_run;
END
$$;
CREATE FUNCTION pg_temp.due_at(spec jsonb, step text, me text, t timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
	s	jsonb := spec -> 'steps' -> step;
BEGIN
	RETURN CASE WHEN s ? 'wait' THEN t + pg_temp.length(s ->> 'wait') WHEN s ? 'wait_for' THEN t + pg_temp.length(s ->> 'timeout')
				WHEN s ? 'wait_until' THEN pg_temp.until(s -> 'wait_until', me, t, spec ->> 'timezone') ELSE t END;
END
$$;
CREATE FUNCTION pg_temp.go(r o_run, spec jsonb, t timestamptz, next text, detail text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.say(r, t, 'step', detail);
	IF next = 'end' THEN
		PERFORM pg_temp.finish(r.run, t, 'completed', 'ended', 'completed');
	ELSE
		UPDATE o_run SET step = next, arrived = t, due = pg_temp.due_at(spec, next, r.who, t) WHERE run = r.run;
		INSERT INTO o_visit VALUES (r.run, next);
	END IF;
END
$$;

-- How many there are: in the fullest stretch of that length that this instant lies in; at the fullest instant from this one on.
CREATE FUNCTION pg_temp.entries(of_journey text, per interval, t timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
	entered	timestamptz[] := ARRAY(SELECT r.entered FROM o_run r WHERE r.journey = of_journey);
BEGIN
	IF per IS NULL THEN
		RETURN cardinality(entered);
	END IF;
	RETURN (SELECT max((SELECT count(*) FROM unnest(entered) e WHERE e > h - per AND e <= h)) FROM unnest(entered || t) h WHERE h >= t AND h < t + per);
END
$$;
CREATE FUNCTION pg_temp.inside(of_journey text, t timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT max((SELECT count(*) FROM o_run r WHERE r.journey = of_journey AND r.outcome IS DISTINCT FROM 'held_out' AND r.entered <= h AND coalesce(r.ended, 'infinity') > h))
			FROM (SELECT t UNION SELECT r.entered FROM o_run r WHERE r.journey = of_journey AND r.entered > t) x(h));
END
$$;

CREATE FUNCTION pg_temp.enter(me text, leaf text, of_journey text, t timestamptz, with_entry jsonb, with_context jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	j		o_journey := (SELECT x FROM o_journey x WHERE x.journey = of_journey);
	spec	jsonb := (SELECT s.spec FROM spec s WHERE s.journey = of_journey AND s.version = j.version);
	channels text[] := ARRAY(SELECT DISTINCT c FROM jsonb_each(spec -> 'steps') e, jsonb_array_elements_text(CASE jsonb_typeof(e.value #> '{send,channel}') WHEN 'array' THEN e.value #> '{send,channel}' ELSE jsonb_build_array(e.value #> '{send,channel}') END) c WHERE e.value ? 'send' ORDER BY c);
	my_key	text := CASE WHEN spec #>> '{entry,key}' = 'label' THEN coalesce(with_entry ->> 'label', '') ELSE '' END;
	arm		text := '';
	reason	text;
	was		record;
	r		o_run;
BEGIN
	SELECT bool_or(x.status = 'active') AS inside, max(x.entered) AS entered, bool_or(x.entered = t) AS now, max(x.ended) AS ended INTO was FROM o_run x WHERE x.who IN (SELECT pg_temp.leaves(me)) AND x.journey = of_journey AND x.key = my_key;
	reason := CASE
		WHEN j.status <> 'active' THEN 'journey is ' || j.status
		WHEN pg_temp.suppressed(me) THEN 'profile is suppressed or erased'
		WHEN t < (spec ->> 'from')::timestamptz THEN 'before the journey begins'
		WHEN t >= (spec ->> 'to')::timestamptz THEN 'after the journey has ended'
		WHEN was.inside THEN 'already in this journey'
		WHEN spec #>> '{entry,reentry}' = 'once' AND was.entered IS NOT NULL THEN 'reentry: once'
		WHEN spec #>> '{entry,reentry}' = 'cooldown' AND t < was.ended + pg_temp.length(spec #>> '{entry,cooldown}') THEN 'reentry: cooldown'
		WHEN was.now THEN 'reentry: entered at this very instant'
		WHEN spec -> 'entry' ? 'when' AND NOT pg_temp.holds(spec #>> '{entry,when}', me, t, with_entry ->> 'label') THEN 'entry.when does not hold'
		WHEN channels <> '{}' AND NOT EXISTS (SELECT FROM jsonb_each(spec -> 'steps') e WHERE jsonb_typeof(e.value #> '{send,to}') = 'object')
			AND NOT EXISTS (SELECT FROM unnest(channels) c WHERE pg_temp.allowed(me, coalesce(spec ->> 'purpose', 'marketing'), spec ? 'purpose', c, t))
			THEN format('consent: %s on %s', coalesce(spec ->> 'purpose', 'marketing'), array_to_string(channels, ', '))
		WHEN spec -> 'entry' ? 'cap' AND pg_temp.entries(of_journey, pg_temp.length(spec #>> '{entry,cap,per}'), t) >= (spec #>> '{entry,cap,max}')::int THEN 'cap: ' || (spec #>> '{entry,cap,max}') || coalesce(' per ' || (spec #>> '{entry,cap,per}'), '')
		WHEN spec -> 'entry' ? 'concurrency' AND pg_temp.inside(of_journey, t) >= (spec #>> '{entry,concurrency}')::int THEN 'concurrency: ' || (spec #>> '{entry,concurrency}') END;
	IF reason IS NOT NULL THEN
		INSERT INTO o_log (who, journey, version, at, what, detail) VALUES (leaf, of_journey, j.version, t, 'refused', reason);
		RETURN;
	END IF;
	IF coalesce(spec ->> 'purpose', 'marketing') = 'marketing' AND cdp._draw('control/oracle', pg_temp.id(me)) < 0.1 THEN
		arm := 'control';
	ELSIF cdp._draw('holdout/' || of_journey, pg_temp.id(me)) < (spec ->> 'holdout')::float8 THEN
		arm := 'holdout';
	END IF;
	INSERT INTO o_run (who, owner, journey, version, key, label, entry, context, entered, arrived, step, due, variant)
	VALUES (me, leaf, of_journey, j.version, my_key, with_entry ->> 'label', with_entry, with_context, t, t, 's1', pg_temp.due_at(spec, 's1', me, t), arm) RETURNING * INTO r;
	IF arm = '' THEN
		INSERT INTO o_visit VALUES (r.run, 's1');
		PERFORM pg_temp.say(r, t, 'entered', r.label);
	ELSE
		UPDATE o_run SET status = 'ended', outcome = 'held_out', ended = t, due = NULL WHERE run = r.run;
		r.step := NULL;
		PERFORM pg_temp.say(r, t, 'held_out', arm);
	END IF;
END
$$;

CREATE FUNCTION pg_temp.set_tag(me text, which text, present boolean, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF present <> EXISTS (SELECT FROM o_tag x WHERE x.who = me AND x.tag = which) THEN
		INSERT INTO o_trigger (leaf, source, name, at) VALUES (me, CASE WHEN present THEN 'enters' ELSE 'leaves' END, which, t);
	END IF;
	INSERT INTO o_call VALUES (nextval('o_n'), me, which, present);
	DELETE FROM o_tag x WHERE x.who = me AND x.tag = which;
	INSERT INTO o_tag SELECT me, which WHERE present;
END
$$;
CREATE FUNCTION pg_temp.put_trait(l text, which text, new jsonb, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO o_trait VALUES (l, which, new, t);
	INSERT INTO o_trigger (leaf, source, name, at) VALUES (l, 'trait', which, t);
END
$$;
CREATE FUNCTION pg_temp.fill(template jsonb, r o_run) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_object_agg(e.key, CASE jsonb_typeof(e.value) WHEN 'string' THEN to_jsonb(
		replace(replace(replace(replace(replace(replace(replace(e.value #>> '{}',
			'{{entry.label}}', coalesce(r.entry ->> 'label', '')), '{{ trait.tier }}', coalesce(pg_temp.trait_of(r.who, 'tier'), '')), '{{entry.value}}', coalesce(r.entry ->> 'value', '')),
			'{{context.k}}', coalesce(r.context ->> 'k', '')), '{{entry.event}}', coalesce(r.entry ->> 'event', '')), '{{entry.at}}', coalesce(r.entry ->> 'at', '')),
			'{{entry.properties.color}}', coalesce((SELECT v.props ->> 'color' FROM o_event v WHERE v.ref = r.entry ->> 'ref'), ''))) ELSE e.value END), '{}')
	FROM jsonb_each(coalesce(template, '{}')) e
$$;

-- what one run sends at a send step; false: it does not go on
CREATE FUNCTION pg_temp.send(r o_run, spec jsonb, t timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	send	jsonb := spec -> 'steps' -> r.step -> 'send';
	listed	boolean := jsonb_typeof(send -> 'channel') = 'array';
	self	boolean := jsonb_typeof(send -> 'to') IS DISTINCT FROM 'object';
	purpose	text := coalesce(spec ->> 'purpose', 'marketing');
	lapses	timestamptz := t + pg_temp.length(send ->> 'expires');
	why		text[] := '{}';
	opens	timestamptz;
	held	boolean := false;
	c		text;
	slot	record;
	a		record;
BEGIN
	IF NOT self AND NOT EXISTS (SELECT FROM person p WHERE p.name IN (SELECT pg_temp.leaves(r.who)) AND p.rep) THEN
		PERFORM pg_temp.say(r, t, 'refused', 'nobody is related as "rep"');
		RETURN true;
	END IF;
	FOR c IN SELECT x FROM jsonb_array_elements_text(CASE WHEN listed THEN send -> 'channel' ELSE jsonb_build_array(send -> 'channel') END) x LOOP
		SELECT NULL::text AS address, false AS bounced INTO a;		-- representatives have no addresses
		IF self THEN
			SELECT x.* INTO a FROM pg_temp.reach(r.who, c) x;
		END IF;
		IF a.bounced THEN
			why := why || ('bounced: ' || c);
			CONTINUE;
		ELSIF listed AND a.address IS NULL THEN
			why := why || ('no address for ' || c);
			CONTINUE;
		ELSIF self AND NOT pg_temp.allowed(r.who, purpose, spec ? 'purpose', c, t) THEN
			why := why || format('consent: %s on %s', purpose, c);
			CONTINUE;
		END IF;
		SELECT x.due, x.cap INTO slot FROM pg_temp.sendable(r.who, CASE WHEN self THEN purpose ELSE 'transactional' END, c, t) x;
		IF slot.cap IS NOT NULL THEN
			why := why || ('capped: ' || slot.cap);
			held := true;
			opens := least(opens, slot.due);
		ELSIF slot.due = 'infinity' THEN
			why := why || 'quiet at all hours'::text;
		ELSIF slot.due >= lapses THEN
			why := why || 'quiet until it has expired'::text;
		ELSE
			INSERT INTO o_message (owner, run, step, channel, purpose, declared, self, capped, address, params, at, due, expires, variant, priority)
			VALUES (r.owner, r.run, r.step, c, purpose, spec ? 'purpose' AND (self OR purpose = 'transactional'), self, purpose = 'marketing', a.address, pg_temp.fill(send -> 'params', r), t, slot.due, lapses, nullif(r.variant, ''), coalesce((spec ->> 'priority')::int, 50));
			PERFORM pg_temp.say(r, t, 'sent', c);
			RETURN true;
		END IF;
	END LOOP;
	IF held AND opens < 'infinity' AND send ->> 'if_capped' = 'wait' THEN
		PERFORM pg_temp.say(r, t, 'waiting', array_to_string(why, '; '));
		UPDATE o_run SET due = opens WHERE run = r.run;
		RETURN false;
	END IF;
	PERFORM pg_temp.say(r, t, 'refused', array_to_string(why, '; '));
	IF held AND send ->> 'if_capped' = 'exit' THEN
		PERFORM pg_temp.finish(r.run, t, 'capped', 'ended', 'capped');
		RETURN false;
	END IF;
	RETURN true;
END
$$;

-- runs that are at one step at one instant: first who leaves, then the work
CREATE FUNCTION pg_temp.do_step(spec jsonb, of_step text, runs int[], t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s		jsonb := spec -> 'steps' -> of_step;
	r		o_run;
	x		jsonb;
	b		record;
	draw	float8;
	stay	int[] := '{}';
	moved	timestamptz;
BEGIN
	FOR r IN SELECT o.* FROM unnest(runs) WITH ORDINALITY u(run, no) JOIN o_run o USING (run) ORDER BY u.no LOOP
		IF pg_temp.suppressed(r.who) THEN
			PERFORM pg_temp.finish(r.run, t, 'suppressed', 'ended', 'suppressed');
			CONTINUE;
		END IF;
		SELECT e INTO x FROM jsonb_array_elements(spec -> 'exit') WITH ORDINALITY y(e, no)
		WHERE CASE WHEN e ? 'on' THEN pg_temp.happened(r.who, e -> 'on', r.entered, t, r.label) > 0 ELSE pg_temp.holds(e ->> 'when', r.who, t, r.label) END ORDER BY no LIMIT 1;
		IF FOUND THEN
			PERFORM pg_temp.finish(r.run, t, 'exited', 'exited', coalesce(x ->> 'on', x ->> 'when'));
		ELSE
			stay := stay || r.run;
		END IF;
	END LOOP;
	-- those that send do so one after the other, and go on together
	runs := stay;
	FOR r IN SELECT o.* FROM unnest(stay) WITH ORDINALITY u(run, no) JOIN o_run o USING (run) ORDER BY u.no LOOP
		IF s ? 'send' THEN
			IF NOT pg_temp.send(r, spec, t) THEN
				runs := array_remove(runs, r.run);
			END IF;
		ELSIF s ?| '{tag,untag}' THEN
			PERFORM pg_temp.set_tag(r.who, coalesce(s ->> 'tag', s ->> 'untag'), s ? 'tag', t);
		ELSIF s ? 'set_trait' THEN
			PERFORM pg_temp.put_trait(r.owner, e.key, e.value, t) FROM jsonb_each(pg_temp.fill(s -> 'set_trait', r)) e ORDER BY e.key;
		ELSIF s ? 'journey' THEN
			IF EXISTS (SELECT FROM o_journey j WHERE j.journey = s ->> 'journey' AND j.status = 'active') THEN
				PERFORM pg_temp.enter(r.who, r.owner, s ->> 'journey', t, r.entry || jsonb_build_object('journey', r.journey), '{}');
			ELSE
				PERFORM pg_temp.say(r, t, 'refused', format('journey "%s" is not active', s ->> 'journey'));
			END IF;
		END IF;
	END LOOP;
	FOR r IN SELECT o.* FROM unnest(runs) WITH ORDINALITY u(run, no) JOIN o_run o USING (run) ORDER BY u.no LOOP
		IF s ? 'if' THEN
			IF pg_temp.holds(s ->> 'if', r.who, t, r.label) THEN
				PERFORM pg_temp.go(r, spec, t, s ->> 'then', 'then');
			ELSE
				PERFORM pg_temp.go(r, spec, t, s ->> 'else', 'else');
			END IF;
		ELSIF s ? 'switch' THEN
			SELECT e INTO x FROM jsonb_array_elements(s -> 'switch') WITH ORDINALITY y(e, no) WHERE pg_temp.holds(e ->> 'when', r.who, t, r.label) ORDER BY no LIMIT 1;
			PERFORM pg_temp.go(r, spec, t, coalesce(x ->> 'next', s ->> 'else'), coalesce(x ->> 'when', 'else'));
		ELSIF s ? 'split' THEN
			draw := cdp._draw(r.journey || '/' || of_step, pg_temp.id(r.who));
			SELECT coalesce(e ->> 'name', e ->> 'next') AS name, e ->> 'next' AS next INTO b FROM jsonb_array_elements(s -> 'split') WITH ORDINALITY y(e, no) WHERE no = CASE WHEN draw < (s #>> '{split,0,share}')::float8 THEN 1 ELSE 2 END;
			r.variant := CASE WHEN r.variant = '' THEN b.name WHEN b.name = ANY (string_to_array(r.variant, '/')) THEN r.variant ELSE r.variant || '/' || b.name END;
			UPDATE o_run SET variant = r.variant WHERE run = r.run;
			PERFORM pg_temp.go(r, spec, t, b.next, b.name);
		ELSIF s ? 'wait_for' THEN
			IF pg_temp.happened(r.who, s #> '{wait_for,on}', r.arrived, t, r.label) > 0 THEN
				PERFORM pg_temp.go(r, spec, t, s ->> 'next', 'next');
			ELSE
				PERFORM pg_temp.go(r, spec, t, s ->> 'else', 'timeout');
			END IF;
		ELSIF s #> '{wait_until,trait}' IS NOT NULL THEN
			moved := pg_temp.until(s -> 'wait_until', r.who, r.arrived, spec ->> 'timezone');
			IF moved > t THEN
				UPDATE o_run SET due = moved WHERE run = r.run;
			ELSE
				PERFORM pg_temp.go(r, spec, t, s ->> 'next', s #>> '{wait_until,trait}');
			END IF;
		ELSE
			PERFORM pg_temp.go(r, spec, t, s ->> 'next', coalesce(s ->> 'wait', s ->> 'tag', s ->> 'untag', s #>> '{send,template}', s ->> 'journey', s #>> '{wait_until,time}', s ->> 'wait_until'));
		END IF;
	END LOOP;
END
$$;
-- one step of each of the most important runs that somebody has due
CREATE FUNCTION pg_temp.take_steps(t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	g	record;
BEGIN
	FOR g IN
		SELECT r.journey, r.version, r.step, r.spec, array_agg(r.run ORDER BY pg_temp.id(r.who), r.run) AS runs
		FROM (SELECT r.*, s.spec, s.priority, max(s.priority) OVER (PARTITION BY r.who) AS top FROM o_run r JOIN o_journey j USING (journey) JOIN spec s ON s.journey = r.journey AND s.version = r.version
			  WHERE r.status = 'active' AND j.status = 'active' AND r.due = t) r
		WHERE r.priority = r.top GROUP BY r.journey, r.version, r.step, r.spec ORDER BY r.journey, r.version, r.step
	LOOP
		PERFORM pg_temp.do_step(g.spec, g.step, g.runs, t);
	END LOOP;
END
$$;

CREATE FUNCTION pg_temp.take_triggers(t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r		record;
	x		record;
	e		record;
BEGIN
	DELETE FROM o_now;
	WITH gone AS (DELETE FROM o_trigger o WHERE o.at = t RETURNING *) INSERT INTO o_now SELECT pg_temp.who(g.leaf), g.* FROM gone g;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	FOR r IN SELECT o.*, s.spec FROM o_run o JOIN spec s USING (journey, version) WHERE o.status = 'active' AND o.entered < t ORDER BY o.run LOOP
		SELECT y.e ->> 'on' AS why INTO x FROM jsonb_array_elements(r.spec -> 'exit') WITH ORDINALITY y(e, no)
		WHERE EXISTS (SELECT FROM o_now n WHERE n.who = r.who AND n.source = 'event' AND pg_temp.refers(y.e ->> 'on', n.name, n.label, r.label, n.props)) ORDER BY no LIMIT 1;
		IF FOUND THEN
			PERFORM pg_temp.finish(r.run, t, 'exited', 'exited', x.why);
		END IF;
	END LOOP;
	FOR r IN SELECT o.*, s.spec, s.spec -> 'steps' -> o.step AS todo FROM o_run o JOIN spec s USING (journey, version) WHERE o.status = 'active' LOOP
		IF r.arrived < t AND t < r.due AND EXISTS (SELECT FROM o_now n WHERE n.who = r.who AND n.source = 'event' AND pg_temp.refers_any(r.todo #> '{wait_for,on}', n.name, n.label, r.label, n.props)) THEN
			UPDATE o_run SET due = t WHERE run = r.run;
		ELSIF r.arrived <= t AND EXISTS (SELECT FROM o_now n WHERE n.who = r.who AND n.source = 'trait' AND n.name = r.todo #>> '{wait_until,trait}') THEN
			UPDATE o_run SET due = greatest(t, pg_temp.until(r.todo -> 'wait_until', r.who, r.arrived, r.spec ->> 'timezone')) WHERE run = r.run;
		ELSIF r.todo ? 'wait_until' AND r.arrived <= t AND t <= r.due AND EXISTS (SELECT FROM o_now n WHERE n.who = r.who AND n.source = 'trait' AND n.name = 'timezone') THEN
			UPDATE o_run SET due = CASE WHEN r.todo #> '{wait_until,trait}' IS NULL THEN pg_temp.until(r.todo -> 'wait_until', r.who, t, r.spec ->> 'timezone')
										ELSE greatest(t, pg_temp.until(r.todo -> 'wait_until', r.who, r.arrived, r.spec ->> 'timezone')) END WHERE run = r.run;
		END IF;
	END LOOP;
	FOR r IN SELECT o.*, s.spec #>> '{goal,on}' AS goal FROM o_run o JOIN spec s USING (journey, version) JOIN o_journey j USING (journey)
			 WHERE s.spec ? 'goal' AND j.status <> 'archived' AND o.outcome IS DISTINCT FROM 'merged' AND t > o.entered AND t <= o.entered + pg_temp.length(s.spec #>> '{goal,within}')
			   AND NOT EXISTS (SELECT FROM o_log l WHERE l.run = o.run AND l.what = 'goal') ORDER BY o.run LOOP
		SELECT n.name, n.props INTO x FROM o_now n WHERE n.who = pg_temp.who(r.who) AND n.source = 'event' AND pg_temp.refers(r.goal, n.name, n.label, r.label, n.props)
		ORDER BY n.name, n.label NULLS FIRST, n.props -> 'value' NULLS FIRST LIMIT 1;
		IF FOUND THEN
			INSERT INTO o_log (who, journey, version, run, step, at, what, detail, value) VALUES (r.owner, r.journey, r.version, r.run, CASE r.outcome WHEN 'held_out' THEN NULL ELSE r.step END, t, 'goal', x.name, (x.props ->> 'value')::float8);
		END IF;
	END LOOP;
	-- everybody's first one, then everybody's second one
	FOR e IN SELECT j.journey, j.version, n.*, row_number() OVER (PARTITION BY j.journey, n.who ORDER BY n.source, n.name, n.label NULLS FIRST, n.props -> 'value' NULLS FIRST, n.n) AS turn
			 FROM o_journey j JOIN spec s USING (journey, version) JOIN o_now n ON CASE WHEN n.source = 'event' THEN pg_temp.refers_any(s.spec #> '{entry,on}', n.name, n.label, NULL, n.props) WHEN n.source IN ('due', 'schedule') THEN n.name = j.journey ELSE s.spec -> 'entry' ->> n.source = n.name END
			 WHERE j.status = 'active' ORDER BY j.journey, turn, pg_temp.id(n.who) LOOP
		IF e.source = 'due' THEN	-- it is whoever's who did it last
			SELECT coalesce(min(z.leaf), e.leaf) INTO e.leaf FROM (SELECT v.leaf, rank() OVER (ORDER BY v.at DESC, pg_temp.id(v.leaf)) AS no FROM o_event v JOIN spec s ON s.journey = e.journey AND s.version = e.version
				WHERE v.leaf IN (SELECT pg_temp.leaves(e.who)) AND v.at <= t AND v.name = substring(s.spec #>> '{entry,due}', '^\w+') AND CASE WHEN e.label IS NULL THEN true WHEN e.label LIKE '@%' THEN v.label IN (SELECT l.label FROM label_set l WHERE '@' || l.name = e.label) ELSE v.label = e.label END) z WHERE z.no = 1;
		END IF;
		PERFORM pg_temp.enter(e.who, e.leaf, e.journey, t, jsonb_strip_nulls(jsonb_build_object(e.source, e.name, 'label', e.label, 'value', e.props -> 'value', 'at', to_char(t, 'YYYY-MM-DD"T"HH24:MI:SS' || CASE WHEN t = date_trunc('second', t) THEN '' ELSE '.US' END) || 'Z', 'ref', e.ref)), '{}');
	END LOOP;
END
$$;
