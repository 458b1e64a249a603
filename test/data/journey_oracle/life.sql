-- When a schedule comes next that was not due at the last tick; without a time of its own at the next one.
CREATE FUNCTION pg_temp.plan(of_journey text, before timestamptz, c timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	spec	jsonb := (SELECT s.spec FROM spec s JOIN o_journey j USING (journey, version) WHERE s.journey = of_journey AND j.status = 'active');
	start	timestamptz := coalesce((spec #>> '{entry,at}')::timestamptz, (spec ->> 'from')::timestamptz);
BEGIN
	UPDATE o_journey j SET next = CASE WHEN NOT spec -> 'entry' ? 'who' THEN NULL WHEN start IS NULL THEN c ELSE
		(SELECT min(i) FROM generate_series(start, greatest(start, c) + interval '3 days', coalesce(pg_temp.length(spec #>> '{entry,every}'), '1000 h')) i WHERE i > before) END
	WHERE j.journey = of_journey;
END
$$;
CREATE FUNCTION pg_temp.start_schedules(of_world int, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO o_trigger (leaf, source, name, at)
	SELECT i.who, 'schedule', j.journey, t FROM o_journey j JOIN spec s USING (journey, version), (SELECT x.who FROM o_is x JOIN person p ON p.name = x.leaf GROUP BY x.who HAVING min(p.since) <= t) i
	WHERE j.next = t AND NOT pg_temp.suppressed(i.who) AND pg_temp.holds(s.spec #>> '{entry,who}', i.who, t, NULL);
	UPDATE o_journey j SET next = t + pg_temp.length(s.spec #>> '{entry,every}') FROM spec s WHERE j.next = t AND s.journey = j.journey AND s.version = j.version;
END
$$;

-- When people are expected to do it again: the last time, and what is expected of everybody or the median of their gaps.
CREATE FUNCTION pg_temp.expected(me text, of_event text, of_label text, OUT last timestamptz, OUT due timestamptz) LANGUAGE plpgsql STABLE AS $$
DECLARE
	times	timestamptz[] := ARRAY(SELECT DISTINCT e.at FROM o_event e WHERE e.leaf IN (SELECT pg_temp.leaves(me)) AND e.name = of_event
									AND CASE WHEN of_label = '' THEN true WHEN of_label LIKE '@%' THEN e.label IN (SELECT s.label FROM label_set s WHERE '@' || s.name = of_label) ELSE e.label = of_label END ORDER BY 1);
BEGIN
	last := times[cardinality(times)];
	due := last + coalesce((SELECT p.gap FROM repurchase_prior p WHERE p.event = of_event),
						   (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY times[i + 1] - times[i]) FROM generate_series(1, cardinality(times) - 1) i));
END
$$;
-- The journeys that such a date starts, and when: so long before it, but not before the last time.
CREATE FUNCTION pg_temp.due_starts(d o_due) RETURNS TABLE (journey text, at timestamptz) LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY
	SELECT j.journey, greatest((d).due - pg_temp.length(s.spec #>> '{entry,before}'), (d).last) FROM o_journey j JOIN spec s USING (journey, version)
	CROSS JOIN LATERAL regexp_match(s.spec #>> '{entry,due}', '^(\w+)(?:\[(.*)\])?$') m
	WHERE j.status = 'active' AND (d).due IS NOT NULL AND m[1] = (d).event AND CASE WHEN m[2] = '*' THEN (d).label !~ '^(@|$)' ELSE coalesce(m[2], '') = (d).label END;
END
$$;
CREATE FUNCTION pg_temp.plan_due(of_journey text, before timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM o_trigger t WHERE t.source = 'due' AND t.name = of_journey;
	INSERT INTO o_trigger (leaf, source, name, at, label) SELECT d.who, 'due', x.journey, x.at, nullif(d.label, '') FROM o_due d, pg_temp.due_starts(d) x WHERE x.journey = of_journey AND x.at > before;
END
$$;
-- At a tick: what has changed moves.  A new date that has passed already starts something only if an event that has just come
-- is the last time, not if a merge or history brought it.
CREATE FUNCTION pg_temp.move_due(of_world int, c timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	d	record;
	x	o_due;
BEGIN
	FOR d IN SELECT i.who, e || of_world AS event, l.label, o AS old FROM (SELECT DISTINCT pg_temp.who(y.who) AS who FROM o_stirred y) i CROSS JOIN unnest('{a,b}'::text[]) e CROSS JOIN unnest(ARRAY['', 'x', 'y', '@set' || of_world]) l(label)
			 LEFT JOIN o_due o ON o.who = i.who AND o.event = e || of_world AND o.label = l.label LOOP
		SELECT d.who, d.event, d.label, y.last, y.due INTO x FROM pg_temp.expected(d.who, d.event, d.label) y;
		CONTINUE WHEN (x.last, x.due) IS NOT DISTINCT FROM ((d.old).last, (d.old).due);
		DELETE FROM o_due o WHERE o.who = d.who AND o.event = d.event AND o.label = d.label;
		-- who does it before the date does not wait for it any more
		DELETE FROM o_trigger t USING o_journey j JOIN spec s USING (journey, version) WHERE t.source = 'due' AND t.leaf = d.who AND t.label IS NOT DISTINCT FROM nullif(d.label, '') AND j.journey = t.name AND s.spec #>> '{entry,due}' ~ ('^' || d.event || '(\[|$)') AND (x.last IS NULL OR t.at >= x.last AND (t.at > c OR x.last <> (d.old).last));
		IF x.last IS NOT NULL THEN
			INSERT INTO o_due SELECT x.*;
			INSERT INTO o_trigger (leaf, source, name, at, label)
			SELECT d.who, 'due', y.journey, y.at, nullif(d.label, '') FROM pg_temp.due_starts(x) y
			WHERE y.at > c OR x.last IS DISTINCT FROM (d.old).last AND NOT EXISTS (SELECT FROM o_stirred z WHERE pg_temp.who(z.who) = d.who AND z.how = 'merge')
				AND EXISTS (SELECT FROM o_event e WHERE e.leaf IN (SELECT pg_temp.leaves(d.who)) AND e.name = d.event AND e.at = x.last AND e.ref LIKE 'm/%');
		END IF;
	END LOOP;
END
$$;

-- Stages: orders are distinct instants of the purchase event.
CREATE FUNCTION pg_temp.stage_at(me text, t timestamptz, p lifecycle_policy) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	n		bigint;
	last	timestamptz;
BEGIN
	SELECT count(DISTINCT e.at), max(e.at) INTO n, last FROM o_event e WHERE e.leaf IN (SELECT pg_temp.leaves(me)) AND e.name = (p).purchase_event AND e.at <= t;
	RETURN CASE WHEN n = 0 THEN 'potential' WHEN t - last > (p).churned_after THEN 'churned' WHEN t - last > (p).at_risk_after THEN 'at_risk'
				WHEN n = 1 THEN 'first_purchase' WHEN n < (p).retained_orders THEN 'repeat' ELSE 'retained' END;
END
$$;
-- every change in (since, until], with the order that it follows from
CREATE FUNCTION pg_temp.stages(me text, since timestamptz, until timestamptz, p lifecycle_policy) RETURNS TABLE (at timestamptz, stage text, last timestamptz) LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY
	SELECT x.t, pg_temp.stage_at(me, x.t, p), (SELECT max(e.at) FROM o_event e WHERE e.leaf IN (SELECT pg_temp.leaves(me)) AND e.name = (p).purchase_event AND e.at <= x.t)
	FROM (SELECT DISTINCT e.at + later AS t FROM o_event e, unnest(ARRAY['0', (p).at_risk_after + interval '1 us', (p).churned_after + interval '1 us']) later
		  WHERE e.leaf IN (SELECT pg_temp.leaves(me)) AND e.name = (p).purchase_event AND e.at + later > since AND e.at + later <= until) x
	WHERE pg_temp.stage_at(me, x.t, p) <> pg_temp.stage_at(me, x.t - interval '1 us', p) ORDER BY 1;
END
$$;
-- At a tick, for whom something has come or whose time has come.  Journeys hear of the last change, if orders or time made it: not if a merge
-- did, or history (loaded, or taken back), also by a lapse that it tells of only now.
CREATE FUNCTION pg_temp.move_stages(of_world int, before timestamptz, c timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	p		lifecycle_policy := (SELECT x FROM lifecycle_policy x WHERE x.kind = 'w' || of_world);
	me		text;
	kept	o_stage;
	stage	text;
	l		record;
	moved	boolean;
	heard	boolean;
BEGIN
	DELETE FROM o_stage s WHERE NOT EXISTS (SELECT FROM o_is i WHERE i.who = s.who);
	FOR me IN SELECT DISTINCT i.who FROM o_is i ORDER BY 1 LOOP
		SELECT * INTO kept FROM o_stage s WHERE s.who = me;
		CONTINUE WHEN FOUND AND (kept.due > c) IS NOT FALSE AND NOT EXISTS (SELECT FROM o_stirred s WHERE pg_temp.who(s.who) = me AND s.how <> 'policy');
		stage := pg_temp.stage_at(me, c, p);
		SELECT x.*, EXISTS (SELECT FROM o_event e WHERE e.leaf IN (SELECT pg_temp.leaves(me)) AND e.name = p.purchase_event AND e.at = x.last AND NOT e.history) AS real,
			   EXISTS (SELECT FROM o_event e WHERE e.leaf IN (SELECT pg_temp.leaves(me)) AND e.name = p.purchase_event AND e.at = x.last AND greatest(e.at, e.arrived) > before) AS new
		INTO l FROM pg_temp.stages(me, coalesce(kept.known, '-infinity'), c, p) x ORDER BY x.at DESC LIMIT 1;
		moved := EXISTS (SELECT FROM o_stirred s WHERE pg_temp.who(s.who) = me AND s.how = 'merge')
			AND (kept.who IS NULL OR kept.stage <> pg_temp.stage_at(me, kept.known, p)
				 OR EXISTS (SELECT FROM pg_temp.stages(me, kept.known, c, p) x JOIN o_event e ON e.at = x.last WHERE e.name = p.purchase_event AND e.leaf IN (SELECT pg_temp.leaves(me)) AND e.leaf <> ALL (kept.leaves) AND x.at < c));
		heard := CASE
			WHEN moved THEN kept.who IS NOT NULL AND l.at = c AND l.last = c
			-- it would not have lapsed by then with an order that has been taken back since
			WHEN EXISTS (SELECT FROM o_taken e WHERE e.leaf IN (SELECT pg_temp.leaves(me)) AND e.name = p.purchase_event AND e.arrived <= before AND e.at > l.last AND e.at <= l.at) THEN false
			WHEN l.at IS NOT NULL THEN l.real OR l.at > l.last AND NOT l.new
			-- an order has come late, and what was thought before was wrong
			ELSE EXISTS (SELECT FROM o_event e WHERE e.leaf IN (SELECT pg_temp.leaves(me)) AND e.name = p.purchase_event AND e.arrived > before AND e.at <= kept.known AND NOT e.history) END;
		IF heard AND stage IS DISTINCT FROM kept.stage THEN
			INSERT INTO o_trigger (leaf, source, name, at)
			SELECT me, x.source, 'lifecycle:' || x.stage, (SELECT max(y.at) FROM pg_temp.stages(me, '-infinity', c, p) y) FROM (VALUES ('leaves', kept.stage), ('enters', stage)) x(source, stage) WHERE x.stage IS NOT NULL;
		END IF;
		IF NOT heard AND stage IS DISTINCT FROM kept.stage THEN
			INSERT INTO o_stirred VALUES (me, 'stage');
		END IF;
		DELETE FROM o_stage s WHERE s.who = me;
		INSERT INTO o_stage VALUES (me, stage, CASE WHEN kept.who IS NULL OR l.at IS NOT NULL OR moved OR kept.stage <> stage THEN c ELSE kept.known END,
			(SELECT min(x.at) FROM pg_temp.stages(me, c, 'infinity', p) x), ARRAY(SELECT pg_temp.leaves(me)));
	END LOOP;
END
$$;

-- The segment: at a tick; with its first look nobody enters, nor with history (or a stage that it moved), a merge or suppression, unless an event came as well
-- and nothing but what is younger than the last look made the difference.
CREATE FUNCTION pg_temp.look_at_segment(of_world int, before timestamptz, c timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	rule	text := (SELECT s.rule FROM segment_rule s WHERE s.w = of_world);
	m		record;
	changed	boolean := false;
BEGIN
	DELETE FROM o_member x WHERE NOT EXISTS (SELECT FROM o_is i WHERE i.who = x.who);
	FOR m IN SELECT x.*, ARRAY(SELECT s.how FROM o_stirred s WHERE pg_temp.who(s.who) = x.who) AS how
			 FROM (SELECT i.who, EXISTS (SELECT FROM o_member y WHERE y.who = i.who) AS was, NOT pg_temp.suppressed(i.who) AND pg_temp.holds(rule, i.who, c, NULL) AS inside FROM (SELECT DISTINCT z.who FROM o_is z) i) x
			 WHERE x.was <> x.inside ORDER BY pg_temp.id(x.who) LOOP
		changed := true;
		IF isfinite(before) AND (NOT m.how && ('{merge,policy}'::text[] || CASE WHEN rule ~ '(count|last)' THEN '{history}'::text[] END || CASE WHEN rule ~ 'lifecycle:' THEN '{stage}'::text[] END)
								 OR 'event' = ANY (m.how) AND (NOT pg_temp.suppressed(m.who) AND pg_temp.holds(rule, m.who, before, NULL)) = m.was) THEN
			INSERT INTO o_trigger (leaf, source, name, at) VALUES (m.who, CASE WHEN m.inside THEN 'enters' ELSE 'leaves' END, 'segment:w' || of_world, c);
		END IF;
		DELETE FROM o_member x WHERE x.who = m.who;
		INSERT INTO o_member SELECT m.who WHERE m.inside;
	END LOOP;
	RETURN changed;
END
$$;

-- All merges that stand, and all calls, once more: who is whom, and who has which tags.
CREATE FUNCTION pg_temp.replay_merges() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	x	record;
BEGIN
	UPDATE o_is SET who = leaf;
	UPDATE o_link SET survivor = NULL, loser = NULL;
	DELETE FROM o_tag;
	FOR x IN SELECT l.n, l.a, l.b, NULL::text AS tag, NULL::boolean AS present FROM o_link l WHERE l.stands UNION ALL SELECT c.n, c.who, NULL, c.tag, c.present FROM o_call c ORDER BY 1 LOOP
		IF x.b IS NOT NULL THEN
			UPDATE o_link l SET survivor = pg_temp.who(x.a), loser = pg_temp.who(x.b) WHERE l.n = x.n RETURNING l.survivor, l.loser INTO x.a, x.b;
			UPDATE o_is SET who = x.a WHERE who = x.b;
			INSERT INTO o_tag SELECT x.a, t.tag FROM o_tag t WHERE t.who = x.b EXCEPT TABLE o_tag;
			DELETE FROM o_tag t WHERE t.who = x.b;
		ELSE
			DELETE FROM o_tag t WHERE t.who = x.a AND t.tag = x.tag;
			INSERT INTO o_tag SELECT x.a, x.tag WHERE x.present;
		END IF;
	END LOOP;
END
$$;
-- Two people become one.  Of two runs in one journey with one key the earlier goes on.
CREATE FUNCTION pg_temp.merge(first text, second text, of_ref text, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	survivor	text := pg_temp.who(first);
	merged		text := pg_temp.who(second);
	r			o_run;
	go			int;
BEGIN
	IF survivor = merged THEN
		RETURN;
	END IF;
	FOR r IN SELECT * FROM o_run o WHERE o.who IN (survivor, merged) AND o.status = 'active' ORDER BY o.run LOOP
		SELECT o.run INTO go FROM o_run o WHERE o.who IN (survivor, merged) AND o.status = 'active' AND o.journey = r.journey AND o.key = r.key ORDER BY o.entered, o.run LIMIT 1;
		IF go <> r.run THEN
			PERFORM pg_temp.finish(r.run, t, 'merged', 'ended', format('profile %s was merged into %s', pg_temp.id(merged), pg_temp.id(survivor)));
			UPDATE o_run SET instead = go WHERE run = r.run;
		END IF;
	END LOOP;
	INSERT INTO o_log (who, journey, version, run, step, at, what, detail)
	SELECT survivor, o.journey, o.version, o.run, o.step, t, 'moved', format('from profile %s', pg_temp.id(merged)) FROM o_run o WHERE o.who = merged AND o.status = 'active';
	UPDATE o_run o SET who = survivor WHERE o.who = merged AND o.status = 'active';
	INSERT INTO o_link (n, ref, a, b, at) VALUES (nextval('o_n'), of_ref, survivor, merged, t);
	PERFORM pg_temp.replay_merges();
	INSERT INTO o_trigger (leaf, source, name, at) SELECT survivor, 'trait', n, t FROM unnest('{born,day,timezone}'::text[]) n;	-- it may be another one now
	INSERT INTO o_stirred VALUES (survivor, 'merge');
	DELETE FROM o_due d WHERE d.who = merged;
	DELETE FROM o_trigger x WHERE x.leaf = merged AND x.source = 'due';
END
$$;
-- These leaves, one person until now, are several: what was each one's goes with it.
CREATE FUNCTION pg_temp.part(leaves text[], t timestamptz, why text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r	record;
BEGIN
	INSERT INTO o_trigger (leaf, source, name, at) SELECT DISTINCT pg_temp.who(l), 'trait', n, t FROM unnest(leaves) l, unnest('{born,day,timezone}'::text[]) n;
	INSERT INTO o_stirred SELECT l, 'merge' FROM unnest(leaves) l;
	DELETE FROM o_due d WHERE NOT EXISTS (SELECT FROM o_is i WHERE i.who = d.who);
	-- Who comes together now, each with those that another one's run had ended: the earliest goes on.
	FOR r IN SELECT o.*, pg_temp.who(o.owner) AS whose, first_value(o.run) OVER (PARTITION BY pg_temp.who(o.owner), o.journey, o.key ORDER BY o.entered, o.run) AS first
			 FROM o_run o LEFT JOIN o_run i ON i.run = o.instead JOIN o_journey j ON j.journey = o.journey
			 WHERE o.owner = ANY (leaves) AND (o.status = 'active' OR o.outcome = 'merged' AND pg_temp.who(i.owner) <> pg_temp.who(o.owner) AND j.status <> 'archived') ORDER BY o.status, o.run LOOP
		IF r.status = 'active' AND r.first <> r.run THEN
			PERFORM pg_temp.finish(r.run, t, 'merged', 'ended', 'an earlier run goes on again');
			UPDATE o_run SET instead = r.first WHERE run = r.run;
		ELSIF r.status <> 'active' AND r.first <> r.run THEN
			UPDATE o_run SET instead = r.first WHERE run = r.run;
		ELSIF r.status <> 'active' OR r.who <> r.whose THEN
			UPDATE o_run SET status = 'active', outcome = NULL, ended = NULL, instead = NULL WHERE run = r.run;
			INSERT INTO o_log (who, journey, version, run, step, at, what, detail) VALUES (r.whose, r.journey, r.version, r.run, r.step, t, CASE r.status WHEN 'active' THEN 'moved' ELSE 'resumed' END, why);
		END IF;
	END LOOP;
	UPDATE o_run SET who = pg_temp.who(owner) WHERE owner = ANY (leaves);
	-- Messages go with their runs, and to no address that somebody else has, unless they have been claimed.
	UPDATE o_message m SET address = (SELECT x.address FROM pg_temp.reach(pg_temp.who(m.owner), m.channel) x)
	WHERE m.owner = ANY (leaves) AND m.self AND m.status = 'pending' AND m.address IS NOT NULL
	  AND NOT EXISTS (SELECT FROM o_address a WHERE a.leaf IN (SELECT pg_temp.leaves(pg_temp.who(m.owner))) AND a.channel = m.channel AND a.value = m.address);
END
$$;
CREATE FUNCTION pg_temp.unmerge(of_ref text, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	leaves	text[] := ARRAY(SELECT pg_temp.leaves(pg_temp.who(l.a)) FROM o_link l WHERE l.ref = of_ref);
BEGIN
	UPDATE o_link SET stands = false WHERE ref = of_ref;
	PERFORM pg_temp.replay_merges();
	PERFORM pg_temp.part(leaves, t, 'a merge was undone');
END
$$;
-- What came by the identifiers goes with them.
CREATE FUNCTION pg_temp.split(old text, what text, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	new		text := old || 't';
	runs	int[];
BEGIN
	INSERT INTO o_decision SELECT new, '*', '*', false, t WHERE pg_temp.suppressed(pg_temp.who(old));
	INSERT INTO o_is VALUES (new, new);
	UPDATE o_address a SET leaf = new WHERE a.leaf = old AND a.channel LIKE 'mail%' AND what LIKE '%mail';
	runs := ARRAY(SELECT r.run FROM o_run r JOIN o_event e ON e.ref = r.entry ->> 'ref' WHERE r.owner = old AND e.leaf = old AND e.via = 'tablet');
	UPDATE o_event e SET leaf = new WHERE e.leaf = old AND (e.via = 'tablet' OR e.ref = ANY (SELECT 'run/' || r FROM unnest(runs) r));
	UPDATE o_trigger x SET leaf = new FROM o_event e WHERE x.leaf = old AND x.source = 'event' AND e.ref = x.ref AND e.name = x.name AND e.leaf = new;
	UPDATE o_run SET owner = new WHERE run = ANY (runs);
	UPDATE o_message SET owner = new WHERE run = ANY (runs);
	UPDATE o_log SET who = new WHERE run = ANY (runs) AND who = old;
	PERFORM pg_temp.part(ARRAY(SELECT pg_temp.leaves(pg_temp.who(old))) || new, t, format('split from profile %s', pg_temp.id(pg_temp.who(old))));
END
$$;

-- Nothing of somebody stays but what reports have counted.
CREATE FUNCTION pg_temp.erase(me text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM o_is WHERE leaf = me;
	DELETE FROM o_event WHERE leaf = me;
	DELETE FROM o_trigger WHERE leaf = me;
	DELETE FROM o_tag WHERE who = me;
	DELETE FROM o_call WHERE who = me;
	DELETE FROM o_trait WHERE leaf = me;
	DELETE FROM o_due WHERE who = me;
	DELETE FROM o_stirred WHERE who = me;
	UPDATE o_run SET who = 'nobody', owner = 'nobody', status = 'ended' WHERE who = me;
	UPDATE o_log SET who = 'nobody' WHERE who = me;
	UPDATE o_message SET owner = 'nobody' WHERE owner = me;
END
$$;
