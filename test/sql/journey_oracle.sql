-- A discrete-event oracle: random worlds of journeys with all kinds of steps, random histories and
-- clocks, replayed by a plain simulation that was written from docs/reference/journey.md: same
-- entries, messages, times, reasons, reports and simulations.
-- ORACLE_WORLDS=120 ORACLE_SEED=7 in the environment make it long and different (about two seconds a world; the work of 300 grows faster).  A world is
-- a kind of profiles with stages and a segment of its own, has five journeys and five people; a third of the worlds has a punctual
-- clock and everything that can happen from outside (leases that run out, early and late reports of what became of messages, tags,
-- traits, moves to another zone, events that arrive late, are loaded as history or taken back, entries by hand, pauses, versions,
-- suppression; in every second one channels with a pace, in the others merges of up to four, unmerges in any order, splits
-- and erasures), a third one that ticks now and then in small bites, a third a single late tick.  Entries are limited in
-- the first and in the third kind.  Chance itself (splits, holdouts) is taken from _draw.
--
-- The worlds are in ../data/journey_oracle/world.sql, the simulation in answer.sql (what holds at an instant), run.sql (what
-- runs go through), message.sql (what becomes of messages), life.sql (what becomes of people), replay.sql (one clock for all).
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
\set VERBOSITY terse
\set worlds 5
\set seed 1
\getenv worlds ORACLE_WORLDS
\getenv seed ORACLE_SEED

\getenv abs_srcdir PG_ABS_SRCDIR
\set world :abs_srcdir '/data/journey_oracle/world.sql'
\set answer :abs_srcdir '/data/journey_oracle/answer.sql'
\set run :abs_srcdir '/data/journey_oracle/run.sql'
\set message :abs_srcdir '/data/journey_oracle/message.sql'
\set life :abs_srcdir '/data/journey_oracle/life.sql'
\set replay :abs_srcdir '/data/journey_oracle/replay.sql'
\set ECHO none
\i :world
\i :answer
\i :run
\i :message
\i :life
\i :replay
\set ECHO all

-- the engine
INSERT INTO control_group VALUES (0.1, 'oracle');
SELECT identify(ARRAY['rep:r']::identifier[], kind => 'rep', at => '2026-01-01Z') > 0 AS rep;
CREATE TEMP TABLE merge_id (ref text, id bigint);
CREATE TEMP TABLE got_foreseen (LIKE o_foreseen);
CREATE TEMP TABLE left_behind (journey text, at timestamptz, tab text);
-- all rows of all tables
CREATE FUNCTION pg_temp.everything() RETURNS TABLE (tab text, rows bigint, hash numeric) LANGUAGE plpgsql AS $$
BEGIN
	FOR tab IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'r' LOOP
		RETURN QUERY EXECUTE format('SELECT $1, count(*), sum(hashtextextended(t::text, 0)::numeric) FROM cdp.%I t', tab) USING tab;
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.simulate(of_mode text, c timestamptz, since timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	x	prophecy;
BEGIN
	FOR x IN SELECT y.* FROM prophecy y JOIN cdp.journey j ON j.name = y.journey WHERE y.mode = of_mode AND y.at = c AND j.status <> 'archived' LOOP
		CREATE TEMP TABLE before AS SELECT * FROM pg_temp.everything();
		INSERT INTO got_foreseen SELECT x.journey, since, s.* FROM cdp.simulate_journey(x.journey, since, x.horizon) s;
		INSERT INTO left_behind SELECT x.journey, since, e.tab FROM before b FULL JOIN pg_temp.everything() e USING (tab) WHERE (b.rows, b.hash) IS DISTINCT FROM (e.rows, e.hash);
		DROP TABLE before;
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.play(of_mode text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c		timestamptz;
	before	timestamptz := '-infinity';
	a		record;
	todo	text;
	done	bigint;
	worked	bigint;
BEGIN
	UPDATE person x SET id = y.id
	FROM (SELECT z.name, cdp.identify((ARRAY['login:' || z.name, 'tablet:' || z.name] || ARRAY(SELECT format('%s:%s', rtrim(o.channel, '0123456789'), o.value) FROM address o WHERE o.leaf = z.name ORDER BY 1))::cdp.identifier[],
									  jsonb_strip_nulls(jsonb_build_object('timezone', z.zone, 'day', z.day, 'born', z.born)), z.since, kind => 'w' || z.w) AS id
		  FROM (SELECT * FROM person WHERE pg_temp.mode(w) = of_mode AND p <= 5 ORDER BY w, p) z) y
	WHERE x.name = y.name;
	PERFORM cdp.relate(x.id, cdp.resolve('rep:r'), 'rep', '2026-01-01Z') FROM person x WHERE pg_temp.mode(x.w) = of_mode AND x.rep;
	PERFORM cdp.consent(x.id, d.purpose, d.channel, d.granted, d.at) FROM decision d JOIN person x USING (w, p) WHERE pg_temp.mode(d.w) = of_mode;
	PERFORM cdp.define_segment('w' || r.w, r.rule::cdp.criteria, 'w' || r.w, at => pg_temp.base()) FROM segment_rule r WHERE pg_temp.mode(r.w) = of_mode;
	PERFORM cdp.create_journey(journey, spec), cdp.activate_journey(journey) FROM spec WHERE pg_temp.mode(w) = of_mode AND version = 1 ORDER BY journey;
	FOR c IN SELECT k.at FROM clock k WHERE k.mode = of_mode ORDER BY k.at LOOP
		FOR a IN SELECT x.*, y.id FROM act x LEFT JOIN person y ON y.name = x.who WHERE pg_temp.mode(x.w) = of_mode AND CASE of_mode WHEN 'punctual' THEN x.arrives > before AND x.arrives <= c ELSE NOT isfinite(before) END
				 ORDER BY CASE of_mode WHEN 'punctual' THEN x.n ELSE pg_temp.rnd(x.n || 'order', 1000000) END LOOP
			CASE a.kind
				WHEN 'event', 'history' THEN PERFORM cdp.track(ARRAY[format('%s:%s', a.via, a.who)::cdp.identifier], a.name, a.props, a.at, a.ref, backfill => a.kind = 'history');
				WHEN 'retract' THEN PERFORM cdp.retract(a.ref, 'a mistake', a.arrives);
				WHEN 'tag' THEN PERFORM cdp.tag(a.id, a.name, NULL, a.at);
				WHEN 'untag' THEN PERFORM cdp.untag(a.id, a.name, a.at);
				WHEN 'trait', 'moves' THEN PERFORM cdp.set_trait(a.id, a.name, a.props, a.at);
				WHEN 'suppress' THEN PERFORM cdp.suppress(a.id, NULL, a.at);
				WHEN 'unsuppress' THEN PERFORM cdp.unsuppress(a.id, NULL, a.at);
				WHEN 'manual' THEN PERFORM cdp.enter_journey(a.name, a.id, jsonb_strip_nulls(jsonb_build_object('label', a.label, 'k', 'by hand')), a.at);
				WHEN 'crowd' THEN PERFORM cdp.enter_journey(a.name, (SELECT cdp.rb_build_agg(y.id) FROM person y WHERE y.w = a.w), '{"label": "x", "k": "all"}', a.at);
				WHEN 'erase' THEN PERFORM cdp.erase_profile(a.id, 'erase', 'oracle', a.at);
				WHEN 'merge' THEN INSERT INTO merge_id SELECT a.ref, cdp.merge(pg_temp.id(a.name), pg_temp.id(a.label), 'oracle', a.at);
				WHEN 'unmerge' THEN PERFORM cdp.unmerge(m.id, false, 'oracle', a.at) FROM merge_id m WHERE m.ref = a.ref AND m.id IS NOT NULL;
				WHEN 'split' THEN
					UPDATE person SET id = cdp.split(ARRAY(SELECT k || ':' || a.name FROM unnest('{tablet,mail}'::text[]) k WHERE a.label LIKE '%' || k || '%' AND (k = 'tablet' OR EXISTS (SELECT FROM address x WHERE x.leaf = a.name AND x.channel LIKE 'mail%')))::cdp.identifier[], 'oracle', a.at)
					WHERE name = a.name || 't';
				WHEN 'pause' THEN PERFORM cdp.pause_journey(a.name);
				WHEN 'activate' THEN PERFORM cdp.activate_journey(a.name);
				WHEN 'version' THEN PERFORM cdp.create_journey(journey, spec), cdp.activate_journey(journey) FROM spec WHERE journey = a.name AND version = 2;
				WHEN 'archive' THEN PERFORM cdp.archive_journey(a.name, a.at);
			END CASE;
		END LOOP;
		IF of_mode = 'late' THEN
			PERFORM pg_temp.simulate('late', before, pg_temp.base() - interval '1 h');
		END IF;
		-- what run does, but not how often priors are worked out
		LOOP
			worked := 0;
			FOREACH todo IN ARRAY '{extend_timelines,lifecycle,segments,journeys,messages}'::text[] LOOP
				LOOP
					done := (SELECT t.done FROM cdp._run_task(todo, c, CASE of_mode WHEN 'sometimes' THEN 1 + pg_temp.rnd(c::text || 'bite', 60) ELSE 1000000 END) t);
					worked := worked + done;
					EXIT WHEN done = 0 OR of_mode <> 'sometimes' AND todo NOT IN ('segments', 'journeys');
				END LOOP;
			END LOOP;
			EXIT WHEN worked = 0;
		END LOOP;
		IF of_mode = 'punctual' THEN
			PERFORM cdp.ack_message(m.id, m.said, NULL, c)	-- what is left of earlier claims, then new ones
			FROM (SELECT o.id, pg_temp.late_outcome(x.name, o.journey, s.key, s.entered_at, o.step, o.due_at, c, o.recipient_id = o.profile_id) AS said
				  FROM cdp.outbox o JOIN cdp.journey_state s USING (run_id) JOIN pg_temp.person x ON x.id = coalesce(s.owner_id, s.profile_id) WHERE o.status IN ('claimed', 'ambiguous')) m WHERE m.said <> 'nothing';
			PERFORM cdp.ack_message(m.id, m.said, NULL, c)
			FROM (SELECT m.id, pg_temp.outcome(x.name, m.journey, s.key, s.entered_at, m.step, m.due_at, m.attempts, m.recipient_id = m.profile_id) AS said
				  FROM (SELECT DISTINCT o.channel FROM cdp.outbox o WHERE o.status = 'pending') h, cdp.claim_messages(h.channel, 10000, pg_temp.lease(c), c) m JOIN cdp.journey_state s USING (run_id) JOIN pg_temp.person x ON x.id = coalesce(s.owner_id, s.profile_id)) m WHERE m.said <> 'nothing';
			PERFORM pg_temp.simulate('punctual', c, c);
		END IF;
		INSERT INTO cdp.task_state (task, last_at) VALUES ('journeys', c) ON CONFLICT (task) DO UPDATE SET last_at = excluded.last_at;
		before := c;
	END LOOP;
	DELETE FROM cdp.task_state;
	INSERT INTO got_run SELECT x.w, x.name, s.journey, s.version, s.key, s.entered_at, s.step, s.due_at, s.status, s.outcome, s.ended_at, s.variant, y.name FROM cdp.journey_state s JOIN person x ON x.id = cdp.canonical_id(s.profile_id) JOIN person y ON y.id = coalesce(s.owner_id, s.profile_id) WHERE pg_temp.mode(x.w) = of_mode;
	INSERT INTO got_result SELECT s.w, s.journey, r.* FROM spec s, cdp.journey_results(s.journey) r WHERE pg_temp.mode(s.w) = of_mode AND s.version = 1;
	INSERT INTO got_stats SELECT s.w, s.journey, r.* FROM spec s, cdp.journey_stats(s.journey) r WHERE pg_temp.mode(s.w) = of_mode AND s.version = 1;
	INSERT INTO got_member SELECT x.name FROM person x WHERE pg_temp.mode(x.w) = of_mode AND cdp.canonical_id(x.id) = x.id AND cdp.has_tag(x.id, 'segment:w' || x.w);
	PERFORM cdp.archive_journey(name, pg_temp.base() + interval '241 h') FROM cdp.journey WHERE status <> 'archived';
END
$$;
CREATE TEMP TABLE got_run (w int, who text, journey text, version int, key text, entered timestamptz, step text, due timestamptz, status text, outcome text, ended timestamptz, variant text, owner text);
CREATE TEMP TABLE got_member (LIKE o_member);
CREATE TEMP TABLE got_result (LIKE o_result);
CREATE TEMP TABLE got_stats (LIKE o_stats);
SELECT pg_temp.play('punctual');
SELECT pg_temp.play('sometimes');
SELECT pg_temp.play('late');
SELECT count(pg_temp.replay(w)) > 0 AS replayed FROM generate_series(1, :worlds) w;

-- who is where, and how
CREATE TEMP VIEW run_differs AS
SELECT coalesce(g.w, x.w) AS w, coalesce(g.who, o.who) AS who, coalesce(g.journey, o.journey) AS journey, coalesce(g.entered, o.entered) AS at, g.*::text AS engine, o.*::text AS oracle
FROM (SELECT who, owner, journey, version, key, entered, step, CASE status WHEN 'active' THEN due END AS due, status, outcome, ended, variant FROM all_run WHERE who <> 'nobody') o
FULL JOIN got_run g ON (g.who, g.owner, g.journey, g.version, g.key, g.entered) = (o.who, o.owner, o.journey, o.version, o.key, o.entered) LEFT JOIN person x ON x.name = o.who
WHERE (g.step, g.due, g.status, g.outcome, g.ended, g.variant) IS DISTINCT FROM (o.step, o.due, o.status, o.outcome, o.ended, o.variant);
-- what was said, in the order of each run
CREATE TEMP TABLE said AS
SELECT 'engine' AS by, x.w, x.name AS who, l.journey, l.version, y.name AS owner, s.key, s.entered_at AS entered, l.step, l.at, l.what, l.detail, row_number() OVER (PARTITION BY l.journey, l.run_id ORDER BY l.log_id) AS no
FROM journey_log l JOIN person x ON x.id = l.profile_id LEFT JOIN journey_state s USING (run_id) LEFT JOIN person y ON y.id = coalesce(s.owner_id, s.profile_id) WHERE l.at <= pg_temp.base() + interval '240 h' AND (l.detail LIKE 'kind: %') IS NOT TRUE
UNION ALL
SELECT 'oracle', x.w, l.who, l.journey, l.version, r.owner, r.key, r.entered, l.step, l.at, l.what, l.detail, row_number() OVER (PARTITION BY l.journey, l.run ORDER BY l.n)
FROM all_log l JOIN person x ON x.name = l.who LEFT JOIN all_run r ON r.run = l.run AND r.w = x.w;
CREATE TEMP TABLE said_differs AS
SELECT min(s.by) AS by, s.w, s.who, s.journey, s.version, s.owner, s.key, s.entered, s.step, s.at, s.what, s.detail, CASE WHEN s.entered IS NOT NULL THEN s.no END AS no
FROM said s GROUP BY s.w, s.who, s.journey, s.version, s.owner, s.key, s.entered, s.step, s.at, s.what, s.detail, CASE WHEN s.entered IS NOT NULL THEN s.no END
HAVING count(*) FILTER (WHERE s.by = 'engine') <> count(*) FILTER (WHERE s.by = 'oracle');
-- messages
CREATE TEMP TABLE wrote AS
SELECT 'engine' AS by, CASE o.status WHEN 'failed' THEN 'bounced' ELSE o.status END AS status, x.w, x.name AS who, o.journey, o.version, y.name AS owner, s.key, s.entered_at AS entered, o.step, o.channel, o.purpose, o.declared, o.recipient_id = o.profile_id AS self, o.address, o.template, o.params, o.campaign, o.due_at AS due, o.expires_at AS expires, o.variant, o.priority
FROM outbox o JOIN person x ON x.id = canonical_id(o.profile_id) JOIN journey_state s USING (run_id) JOIN person y ON y.id = coalesce(s.owner_id, s.profile_id)
UNION ALL
SELECT 'oracle', m.status, m.w, m.who, r.journey, r.version, r.owner, r.key, r.entered, m.step, m.channel, m.purpose, m.declared, m.self,
	   m.address, m.step, m.params, s.spec ->> 'campaign', m.due, m.expires, m.variant, m.priority
FROM all_message m JOIN all_run r USING (run, w) JOIN spec s ON s.journey = r.journey AND s.version = r.version;
CREATE TEMP TABLE wrote_differs AS
SELECT min(by) AS by, status, w, who, journey, version, owner, key, entered, step, channel, purpose, declared, self, address, template, params, campaign, due, expires, variant, priority
FROM wrote GROUP BY status, w, who, journey, version, owner, key, entered, step, channel, purpose, declared, self, address, template, params, campaign, due, expires, variant, priority
HAVING count(*) FILTER (WHERE by = 'engine') <> count(*) FILTER (WHERE by = 'oracle');
CREATE TEMP VIEW reported_differs AS
SELECT 'results' AS what, w, journey, coalesce(g.variant, o.variant) AS which, g.*::text AS engine, o.*::text AS oracle FROM got_result g FULL JOIN o_result o USING (w, journey, variant) WHERE g.*::text IS DISTINCT FROM o.*::text
UNION ALL
SELECT 'stats', w, journey, coalesce(g.step, o.step), g.*::text, o.*::text FROM got_stats g FULL JOIN o_stats o USING (w, journey, step) WHERE g.*::text IS DISTINCT FROM o.*::text;

CREATE TEMP VIEW foreseen_differs AS
SELECT journey, at, step, g.*::text AS engine, o.*::text AS oracle FROM got_foreseen g FULL JOIN o_foreseen o USING (journey, at, step) WHERE g.*::text IS DISTINCT FROM o.*::text;

SELECT count(*) AS runs FROM run_differs;
SELECT count(*) AS lines FROM said_differs;
SELECT count(*) AS messages FROM wrote_differs;
SELECT count(*) AS reports FROM reported_differs;
SELECT count(*) AS steps FROM foreseen_differs;
SELECT * FROM run_differs ORDER BY w, at, who, journey LIMIT 5;
SELECT * FROM said_differs ORDER BY w, at, who, journey, no LIMIT 10;
SELECT * FROM wrote_differs ORDER BY w, who, due LIMIT 5;
SELECT * FROM reported_differs ORDER BY w, journey, which LIMIT 5;
SELECT * FROM foreseen_differs ORDER BY at, journey, step LIMIT 5;
TABLE left_behind;
-- who is who in the end, in which stage and segment, and what is left of tags and traits
SELECT count(*) AS stages FROM person x WHERE canonical_id(x.id) = x.id AND (SELECT s.stage::text FROM lifecycle_state s WHERE s.profile_id = x.id) IS DISTINCT FROM (SELECT s.stage FROM all_stage s WHERE s.who = x.name);
SELECT g.who AS engine, o.who AS oracle FROM got_member g FULL JOIN all_member o USING (who) WHERE g.who IS NULL OR o.who IS NULL ORDER BY 1, 2 LIMIT 5;
SELECT count(*) AS tags FROM person x WHERE canonical_id(x.id) = x.id AND has_tag(x.id, 'gold' || x.w) <> EXISTS (SELECT FROM all_tag t WHERE t.who = x.name AND t.tag = 'gold' || x.w);
SELECT count(*) AS traits FROM person x, unnest('{day,tier,born}'::text[]) n WHERE (SELECT nullif(v.value, 'null') #>> '{}' FROM trait_value v WHERE v.profile_id = x.id AND v.name = n) IS DISTINCT FROM (SELECT t.value #>> '{}' FROM all_trait t WHERE t.leaf = x.name AND t.name = n ORDER BY t.at DESC, t.value DESC LIMIT 1);
-- what has not come up, in 100 worlds or more
CREATE FUNCTION pg_temp.of_all(what text[]) RETURNS SETOF text LANGUAGE sql AS $$ SELECT x FROM unnest(what) x WHERE (SELECT max(w) FROM person) >= 100 $$;
SELECT 'message' AS what, pg_temp.of_all('{ambiguous,bounced,claimed,dead,expired,pending,refused,sent}'::text[]) AS missing EXCEPT SELECT 'message', status FROM all_message ORDER BY 2;
SELECT 'line' AS what, pg_temp.of_all('{ended,entered,exited,goal,held_out,moved,refused,resumed,sent,step,waiting}'::text[]) AS missing EXCEPT SELECT 'line', l.what FROM all_log l ORDER BY 2;
SELECT 'outcome' AS what, pg_temp.of_all('{archived,capped,completed,exited,held_out,merged,suppressed}'::text[]) AS missing EXCEPT SELECT 'outcome', outcome FROM all_run ORDER BY 2;
SELECT 'cause' AS what, pg_temp.of_all(ARRAY['due', 'enters', 'event', 'journey', 'leaves', 'schedule', 'by hand']) AS missing EXCEPT SELECT 'cause', k FROM all_run r, jsonb_object_keys(CASE WHEN r.entry ?| '{due,enters,event,leaves,schedule}' THEN r.entry ELSE '{"by hand": 0}' END) k ORDER BY 2;
SELECT 'tag' AS what, pg_temp.of_all('{gold,lifecycle,segment}'::text[]) AS missing EXCEPT SELECT 'tag', substring(coalesce(entry ->> 'enters', entry ->> 'leaves'), '^[a-z]+') FROM all_run ORDER BY 2;
SELECT 'simulated' AS what, pg_temp.of_all('{entered,messages}'::text[]) AS missing EXCEPT SELECT 'simulated', x.what FROM o_foreseen f, LATERAL (VALUES ('entered', f.entered), ('messages', f.messages)) x(what, n) WHERE x.n > 0 ORDER BY 2;
SELECT 'reason' AS what, pg_temp.of_all('{already in this journey,bounced,cap,capped,concurrency,consent,entry.when does not hold,no address,profile is suppressed or erased,reentry}'::text[]) AS missing
EXCEPT SELECT 'reason', regexp_replace(detail, '(:| for) .*', '') FROM all_log WHERE what = 'refused' ORDER BY 2;
SELECT count(*) = 25 * :worlds AS cases FROM person x JOIN spec s USING (w) WHERE s.version = 1 AND x.p <= 5;
