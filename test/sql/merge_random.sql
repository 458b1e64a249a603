-- Random calls, merges, splits, undone merges and erasures against a replay of the
-- same calls without the merges that were undone; everything is compared.
-- In every third scenario the raw events go, partition by partition, meanwhile.
--
-- ORACLE_MERGES=2000 ORACLE_SEED=2 in the environment make it long and different.
\set scenarios 6
\set seed 0
\set steps 45
\getenv scenarios ORACLE_MERGES
\getenv seed ORACLE_SEED
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

INSERT INTO tag_key (key, exclusive) VALUES ('city', true);
SELECT create_journey('wait', '{"entry": {"manual": true, "key": "label"}, "start": "hold", "steps": {"hold": {"wait": "3000d", "next": "end"}}}');
SELECT activate_journey('wait');
-- Runs that events begin, with everything that a run leaves behind.  What one
-- decides must not depend on other events: no conditions, and a key of its own each.
INSERT INTO purpose (name, needs_consent, capped, quiet) VALUES ('service', false, false, false);
INSERT INTO channel (name, namespace) VALUES ('note', 'tab');
SELECT create_journey('seen', '{"entry": {"on": "look", "key": "label"}, "purpose": "service", "start": "send", "steps": {
	"send": {"send": {"channel": "note", "template": "t"}, "next": "mark"}, "mark": {"set_trait": {"seen": "{{entry.label}}"}, "next": "other"},
	"other": {"journey": "also", "next": "hold"}, "hold": {"wait": "170h", "next": "again"}, "again": {"send": {"channel": "note", "template": "u"}, "next": "end"}}}');
SELECT create_journey('also', '{"entry": {"manual": true, "key": "label"}, "start": "hold", "steps": {"hold": {"wait": "230h", "next": "end"}}}');
SELECT activate_journey('seen'), activate_journey('also');
INSERT INTO trait_rule (name, type, searchable) VALUES ('size', 'number', true);
SELECT define_segment('viewers', '(a | city:y) & count(view) > 0') > 0 AS defined;
SELECT _event_partition('2026-01-01Z'::timestamptz + n * interval '1 month') IS NOT NULL AS made FROM generate_series(0, 24) n GROUP BY 1;

-- A number 0 … n-1 that depends on the scenario, the step and what it is for.
CREATE FUNCTION pg_temp.r(scenario int, step int, what text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT mod(abs(hashtextextended(format('%s %s %s', scenario, step, what), 7)), greatest(n, 1))::int $$;

-- One call.  Profile ids in it are canonical ones; "without": merges that are
-- not to take place.  An identify that would make other merges than those it
-- made first, because some are missing, leaves out the identifiers concerned.
CREATE FUNCTION pg_temp.do_call(c jsonb, without bigint[]) RETURNS void LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	ids identifier[];
	anchor bigint;
	allowed bigint[];
	at timestamptz := c ->> 'at';
	p bigint := c ->> 'p';
BEGIN
	CASE c ->> 'op'
		WHEN 'identify' THEN
			ids := ARRAY(SELECT jsonb_array_elements_text(c -> 'ids'))::identifier[];
			IF without IS NOT NULL THEN
				anchor := (SELECT resolve(i) FROM unnest(ids) WITH ORDINALITY u (i, n) WHERE resolve(i) IS NOT NULL ORDER BY n LIMIT 1);
				allowed := anchor || ARRAY(SELECT canonical_id(l::bigint) FROM jsonb_array_elements(c -> 'merges') m, unnest(ARRAY[m -> 'a', m -> 'b']) l
										   WHERE (m -> 'id')::bigint <> ALL (without));
				ids := ARRAY(SELECT i FROM unnest(ids) WITH ORDINALITY u (i, n) WHERE resolve(i) IS NULL OR resolve(i) = ANY (allowed) ORDER BY n);
			END IF;
			PERFORM identify(ids, c -> 'traits', at);
			-- the call has named them all the same
			IF without IS NOT NULL THEN
				PERFORM _move_edges_out(ARRAY(SELECT l.identifier FROM identifier_link l
					WHERE l.identifier::text IN (SELECT jsonb_array_elements_text(c -> 'ids')) AND l.at > (c ->> 'at')::timestamptz));
				UPDATE identifier_link l SET at = least(l.at, (c ->> 'at')::timestamptz) WHERE l.identifier::text IN (SELECT jsonb_array_elements_text(c -> 'ids'));
				UPDATE profile l SET first_at = least(l.first_at, (c ->> 'at')::timestamptz)
				WHERE l.profile_id IN (SELECT k.profile_id FROM identifier_link k WHERE k.identifier::text IN (SELECT jsonb_array_elements_text(c -> 'accepted')));
			END IF;
		WHEN 'merge' THEN
			IF (c #> '{merges,0,id}')::bigint <> ALL (without) IS NOT FALSE THEN
				PERFORM merge(p, (c -> 'q')::bigint, NULL, at);
			END IF;
		WHEN 'unmerge' THEN
			IF without IS NULL THEN
				PERFORM unmerge(p, (c -> 'keep')::boolean, NULL, at);
			END IF;
		WHEN 'erase' THEN PERFORM erase_profile(p, at => at);
		WHEN 'split' THEN PERFORM split(ARRAY(SELECT jsonb_array_elements_text(c -> 'ids'))::identifier[], 'test', at);
		WHEN 'tag' THEN PERFORM tag(p, c ->> 'tag', (c ->> 'until')::timestamptz, at);
		WHEN 'untag' THEN PERFORM untag(p, c ->> 'tag', at);
		WHEN 'tag all' THEN PERFORM tag(rb_build(ARRAY(SELECT jsonb_array_elements_text(c -> 'set')::bigint)), c ->> 'tag', (c ->> 'until')::timestamptz, at);
		WHEN 'untag all' THEN PERFORM untag(rb_build(ARRAY(SELECT jsonb_array_elements_text(c -> 'set')::bigint)), c ->> 'tag', at);
		WHEN 'trait' THEN PERFORM set_trait(p, 'size', to_jsonb(c -> 'v'), at);
		WHEN 'track' THEN PERFORM track(ARRAY[c ->> 'id']::identifier[], c ->> 'event', jsonb_build_object('value', 3) || CASE c ->> 'event' WHEN 'look' THEN jsonb_build_object('sku', c ->> 'sku') ELSE '{}' END, at, source => c ->> 'v');
		WHEN 'relate' THEN PERFORM relate(p, (c -> 'q')::bigint, 'friend', at);
		WHEN 'unrelate' THEN PERFORM unrelate(p, (c -> 'q')::bigint, 'friend', at);
		WHEN 'consent' THEN PERFORM consent(p, 'marketing', 'email', (c -> 'v')::int > 0, at);
		WHEN 'enter' THEN
			IF (c ->> 'entered')::boolean THEN
				PERFORM enter_journey('wait', p, jsonb_build_object('label', c ->> 'v'), at);
			END IF;
		WHEN 'suppress' THEN UPDATE profile SET suppressed = (c -> 'v')::int > 0 WHERE profile_id = p;
		WHEN 'tick' THEN
			PERFORM tick(at);
			IF (c -> 'v')::int > 0 THEN
				PERFORM ack_messages(ARRAY(SELECT (claim_messages('note', 1000, at => at)).id), 'delivered', at => at);
			END IF;
	END CASE;
END
$$;

-- Everything there is, as lines of text.
CREATE FUNCTION pg_temp.world() RETURNS text[] LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT array_agg(line ORDER BY line COLLATE "C") FROM (
		SELECT format('profile %s: %s, %s, %s', profile_id, canonical_id, first_at, suppressed) FROM profile
		UNION ALL SELECT format('link %s: %s, %s', identifier, profile_id, at) FROM identifier_link
		UNION ALL SELECT format('edge %s %s: %s', a, b, at) FROM identity_edge WHERE inactive_at IS NULL AND cause <> 'split' AND NOT EXISTS (SELECT FROM identifier_split)
		UNION ALL SELECT format('merge %s: %s %s %s %s %s %s %s', at, survivor, merged, cause, members, tags, leaf_a, leaf_b) FROM profile_merge WHERE undone_at IS NULL
		UNION ALL SELECT format('tags of %s: %s', profile_id, ARRAY(SELECT replace(t, chr(1), '*') FROM _all_tags_of(profile_id) t WHERE NOT starts_with(t, 'rfm:') ORDER BY t COLLATE "C")) FROM profile
		UNION ALL SELECT format('tag %s of %s ends %s', tag, profile_id, expires_at) FROM tag_expiry
		UNION ALL SELECT format('no tag %s of %s ends', tag, profile_id) FROM tag_expiry WHERE NOT _has_tag(profile_id, tag)
		UNION ALL SELECT format('trait of %s: %s %s %s', profile_id, name, value, at) FROM trait_value
		UNION ALL SELECT format('trait of %s was: %s %s %s', profile_id, name, value, at) FROM trait_change
		UNION ALL SELECT format('event of %s: %s %s', profile_id, event, at) FROM event
		UNION ALL SELECT format('part %s of %s: %s %s', part, profile_id, sole, timeline) FROM timeline_part
		UNION ALL SELECT format('timeline of %s: %s', profile_id, timeline) FROM profile_timeline
		UNION ALL SELECT format('stage of %s: %s since %s, due %s', profile_id, stage, since, due_at) FROM lifecycle_state
		UNION ALL SELECT format('due of %s: %s', profile_id, d) FROM purchase_due d
		UNION ALL SELECT format('run of %s: %s %s %s', profile_id, label, entered_at, due_at) FROM journey_state WHERE status = 'active'
		UNION ALL SELECT format('run of %s: %s %s %s %s %s', coalesce(owner_id, profile_id), journey, label, step, outcome, ended_at) FROM journey_state WHERE journey <> 'wait'
		UNION ALL SELECT format('run of somebody else: %s', s) FROM journey_state s WHERE s.status = 'active' AND s.profile_id <> canonical_id(coalesce(s.owner_id, s.profile_id))
		UNION ALL SELECT format('message to %s: %s %s %s %s %s', canonical_id(recipient_id), canonical_id(o.profile_id), s.label, template, o.due_at, o.status) FROM outbox o JOIN journey_state s USING (run_id)
		UNION ALL SELECT format('message of somebody else: %s', o) FROM outbox o JOIN journey_state s USING (run_id) WHERE canonical_id(o.profile_id) <> canonical_id(s.profile_id)
		UNION ALL SELECT format('message to a stranger: %s', o) FROM outbox o WHERE status = 'pending' AND resolve(('tab:' || address)::identifier) <> canonical_id(recipient_id)
		UNION ALL SELECT format('log of %s: %s %s %s %s %s', l.profile_id, journey, s.label, l.at, l.step, what) FROM journey_log l JOIN journey_state s USING (run_id, journey) WHERE journey <> 'wait' AND what <> 'moved'
		UNION ALL SELECT format('journeys of %s: %s', profile_id, ARRAY(SELECT journey FROM journey_state s WHERE s.profile_id = p.profile_id AND status = 'active' GROUP BY 1 ORDER BY 1)) FROM profile p WHERE profile_id = canonical_id
		UNION ALL SELECT format('%s is a friend of %s', profile_id, ARRAY(SELECT f FROM related(profile_id, 'friend', '2030-01-01Z') f)) FROM profile
		UNION ALL SELECT format('consent of %s: %s', profile_id, consented(profile_id, 'marketing', 'email', '2030-01-01Z')) FROM profile
		UNION ALL SELECT format('decision of %s: %s %s', profile_id, granted, at) FROM consent_log
		UNION ALL SELECT format('%s: %s', c, audience(c, '2030-01-01Z')) FROM unnest(ARRAY['all', 'size >= 1', 'city:x | segment:viewers', 'count(purchase) > 1'])c
	) w (line)
$$;

-- Are the profiles what surviving evidence and merges by hand make of them?
CREATE FUNCTION pg_temp.wrong_components() RETURNS bigint LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	WITH RECURSIVE link (a, b) AS MATERIALIZED (
		SELECT a::text, b::text FROM identity_edge WHERE inactive_at IS NULL
		UNION ALL SELECT ' ' || leaf_a, ' ' || leaf_b FROM profile_merge WHERE undone_at IS NULL AND cause = 'manual'
		-- an identifier speaks for its leaf where a merge by hand names that
		UNION ALL SELECT min(identifier)::text, ' ' || profile_id FROM identifier_link GROUP BY profile_id
	), both_ways AS MATERIALIZED (
		SELECT a, b FROM link UNION SELECT b, a FROM link
	), reach (a, b) AS (
		SELECT identifier::text, identifier::text FROM identifier_link
		UNION
		SELECT r.a, w.b FROM reach r JOIN both_ways w ON w.a = r.b
	), component AS MATERIALIZED (
		SELECT r.a, min(r.b) AS label FROM reach r GROUP BY 1
	)
	SELECT count(*) FILTER (WHERE g.labels > 1) + count(*) - count(DISTINCT g.label)
	FROM (SELECT resolve(x.identifier) AS root, min(x.label) AS label, count(DISTINCT x.label) AS labels
		  FROM (SELECT l.identifier, c.label FROM identifier_link l JOIN component c ON c.a = l.identifier::text) x
		  GROUP BY 1) g
$$;

CREATE FUNCTION pg_temp.scenario(scenario int, steps int, OUT calls jsonb, OUT merges int, OUT undone int, OUT erased int, OUT dropped int, OUT difference text[])
LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	here text[];
	there text[];
	wrong bigint := 0;
	without bigint[] := '{}';
	apart bigint[] := '{}';		-- merges whose profiles were to be kept apart
	c jsonb;
	now timestamptz := '2026-01-01Z';
	before bigint;
	people bigint[];
	everybody text[];
	m bigint;
	leaf bigint;
BEGIN
	PERFORM set_config('client_min_messages', 'warning', true);
	-- what happened
	calls := '[]';
	BEGIN
		PERFORM setval('profile_id_seq', 1, false), setval('merge_id_seq', 1, false), setval('event_id_seq', 1, false);
		INSERT INTO event_retention SELECT '*', '20 days' WHERE scenario % 3 = 0;
		FOR step IN 1 .. steps LOOP
			now := now + interval '50 h';
			people := ARRAY(SELECT profile_id FROM profile WHERE profile_id = canonical_id ORDER BY 1);
			everybody := ARRAY(SELECT identifier::text FROM identifier_link ORDER BY 1);
			c := jsonb_build_object('at', now - pg_temp.r(scenario, step, 'late', 4) / 3 * interval '60 h', 'v', pg_temp.r(scenario, step, 'v', 2),
				'p', people[1 + pg_temp.r(scenario, step, 'p', cardinality(people))], 'q', people[1 + pg_temp.r(scenario, step, 'q', cardinality(people))],
				'tag', ('{a,b,city:x,city:y,city:z}'::text[])[1 + pg_temp.r(scenario, step, 'tag', 5)],
				'set', ARRAY(SELECT x FROM unnest(people) x WHERE pg_temp.r(scenario, step, 'set' || x, 2) = 0),
				'until', CASE WHEN pg_temp.r(scenario, step, 'ends', 3) = 0 THEN now + (1 + pg_temp.r(scenario, step, 'until', 12)) * interval '50 h' END,
				'id', everybody[1 + pg_temp.r(scenario, step, 'id', cardinality(everybody))],
				'event', ('{view,purchase}'::text[])[1 + pg_temp.r(scenario, step, 'event', 2)], 'sku', step, 'traits', '{}');
			c := c || CASE
				WHEN step <= 4 OR pg_temp.r(scenario, step, 'op', 100) < 4 THEN jsonb_build_object('op', 'identify', 'ids', ARRAY['cookie:' || step, 'tab:' || step], 'traits', jsonb_build_object('name', step))
				-- (runs of whoever is suppressed end, whatever merge made it so)
				WHEN scenario % 2 = 1 AND pg_temp.r(scenario, step, 'look', 4) = 0 THEN '{"op": "track", "event": "look"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 22 THEN jsonb_build_object('op', 'identify',
					'ids', (SELECT array_agg(x) FROM (SELECT x FROM unnest(everybody) x ORDER BY pg_temp.r(scenario, step, x, 1000000) LIMIT 1 + pg_temp.r(scenario, step, 'size', 3)) o)
						|| CASE WHEN pg_temp.r(scenario, step, 'new', 4) = 0 THEN ARRAY['new:' || step] ELSE '{}' END,
					'traits', CASE WHEN pg_temp.r(scenario, step, 'name', 2) = 0 THEN jsonb_build_object('name', step) ELSE '{}' END)
				WHEN pg_temp.r(scenario, step, 'op', 100) < 28 THEN '{"op": "merge"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 36 THEN '{"op": "unmerge"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 38 THEN '{"op": "split"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 41 THEN '{"op": "erase"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 52 THEN '{"op": "tag"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 58 THEN '{"op": "untag"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 64 THEN '{"op": "tag all"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 67 THEN '{"op": "untag all"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 70 THEN '{"op": "trait"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 76 THEN '{"op": "track"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 82 THEN CASE pg_temp.r(scenario, step, 'unrelate', 2) WHEN 0 THEN '{"op": "unrelate"}' ELSE '{"op": "relate"}' END::jsonb
				WHEN pg_temp.r(scenario, step, 'op', 100) < 86 THEN '{"op": "consent"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 91 THEN '{"op": "enter"}'
				WHEN pg_temp.r(scenario, step, 'op', 100) < 93 AND scenario % 2 = 0 THEN '{"op": "suppress"}'
				ELSE '{"op": "tick"}' END;
			-- all may be erased
			CONTINUE WHEN CASE c ->> 'op' WHEN 'identify' THEN c -> 'ids' IN ('[]', 'null') WHEN 'tick' THEN false ELSE people = '{}' END;
			IF c ->> 'op' = 'unrelate' THEN
				-- one of somebody who has been merged away, if there is one
				c := c || coalesce((SELECT jsonb_build_object('p', canonical_id(r.a), 'q', canonical_id(r.b), 'at', now) FROM relation r
									WHERE canonical_id(r.a) <> canonical_id(r.b) AND r.until IS NULL
									ORDER BY canonical_id(r.a) = r.a AND canonical_id(r.b) = r.b, pg_temp.r(scenario, step, format('%s %s', r.a, r.b), 1000000) LIMIT 1), '{}');
			END IF;
			IF c ->> 'op' IN ('merge', 'relate', 'unrelate') THEN
				CONTINUE WHEN c -> 'p' = c -> 'q' OR c ->> 'op' = 'merge' AND EXISTS (
					SELECT FROM never_merge n WHERE canonical_id(n.profile_a) IN ((c -> 'p')::bigint, (c -> 'q')::bigint)
						AND canonical_id(n.profile_b) IN ((c -> 'p')::bigint, (c -> 'q')::bigint));
			ELSIF c ->> 'op' = 'unmerge' THEN
				SELECT x.merge_id INTO m FROM profile_merge x WHERE x.undone_at IS NULL ORDER BY pg_temp.r(scenario, step, 'm' || x.merge_id, 1000000) LIMIT 1;
				CONTINUE WHEN m IS NULL;
				without := without || m;		-- an erasure may take the record away
				c := c || jsonb_build_object('p', m, 'keep', pg_temp.r(scenario, step, 'keep', 2) = 0, 'at', now);
				apart := apart || CASE WHEN (c -> 'keep')::boolean THEN ARRAY[m] END;
			ELSIF c ->> 'op' = 'split' THEN
				-- some of the identifiers of one leaf, never all
				leaf := (SELECT l.profile_id FROM identifier_link l WHERE l.identifier = (c ->> 'id')::identifier);
				c := jsonb_set(c, '{ids}', to_jsonb(ARRAY(SELECT l.identifier::text FROM identifier_link l WHERE l.profile_id = leaf
					ORDER BY l.identifier = (c ->> 'id')::identifier DESC, l.identifier
					LIMIT 1 + pg_temp.r(scenario, step, 'many', (SELECT count(*)::int - 1 FROM identifier_link k WHERE k.profile_id = leaf)))));
				-- (who is split off somebody suppressed is suppressed, too)
				CONTINUE WHEN jsonb_array_length(c -> 'ids') = (SELECT count(*) FROM identifier_link k WHERE k.profile_id = leaf)
					OR (SELECT bool_or(p.suppressed) FROM profile p WHERE p.canonical_id = canonical_id(leaf));
			ELSIF c ->> 'op' = 'enter' THEN
				c := c || jsonb_build_object('entered', NOT EXISTS (
					SELECT FROM journey_state s WHERE canonical_id(s.profile_id) = (c -> 'p')::bigint AND s.label = c ->> 'v' AND s.status = 'active')
					AND NOT (SELECT suppressed FROM profile WHERE profile_id = (c -> 'p')::bigint), 'at', now);
			END IF;
			SELECT coalesce(max(x.merge_id), 0) INTO before FROM profile_merge x;
			PERFORM pg_temp.do_call(c, NULL);
			IF c ->> 'op' = 'identify' THEN
				-- a leaf that has a refused one is as old as it was
				c := c || jsonb_build_object('accepted', (
					SELECT coalesce(jsonb_agg(l.identifier::text), '[]') FROM identifier_link l
					WHERE l.identifier::text IN (SELECT jsonb_array_elements_text(c -> 'ids')) AND l.profile_id NOT IN (
						SELECT k.profile_id FROM identifier_link k WHERE k.identifier::text IN (SELECT jsonb_array_elements_text(c -> 'ids'))
						AND resolve(k.identifier) <> resolve((c #>> '{ids,0}')::identifier))));
			END IF;
			c := c || jsonb_build_object('merges', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', x.merge_id, 'a', x.leaf_a, 'b', x.leaf_b) ORDER BY x.merge_id), '[]')
													FROM profile_merge x WHERE x.merge_id > before));
			calls := calls || c;
			IF step % 15 = 0 THEN
				wrong := wrong + pg_temp.wrong_components();
			END IF;
		END LOOP;
		-- some more are undone at the end
		FOR m IN SELECT x.merge_id FROM profile_merge x
				 WHERE x.undone_at IS NULL AND pg_temp.r(scenario, x.merge_id::int, 'undo', 3) > 0 ORDER BY pg_temp.r(scenario, x.merge_id::int, 'order', 1000000)
		LOOP
			PERFORM unmerge(m, at => now);
			apart := apart || m;
		END LOOP;
		wrong := wrong + pg_temp.wrong_components();
		PERFORM tick(now + interval '1 day');
		here := pg_temp.world();
		-- the same evidence again links nobody who is to be kept apart
		FOR c IN SELECT x FROM jsonb_array_elements(calls) x WHERE x ->> 'op' = 'identify' LOOP
			BEGIN
				PERFORM pg_temp.do_call(c, NULL);
			EXCEPTION WHEN object_not_in_prerequisite_state THEN	-- of somebody who was erased
			END;
		END LOOP;
		wrong := wrong + pg_temp.wrong_components() + (SELECT count(*) FROM profile_merge x WHERE x.merge_id = ANY (apart) AND canonical_id(x.leaf_a) = canonical_id(x.leaf_b));
		dropped := (SELECT count(*) FROM generate_series(0, 24) n WHERE to_regclass('cdp.' || _event_partition_name('2026-01-01Z'::timestamptz + n * interval '1 month')) IS NULL);
		without := ARRAY(SELECT x.merge_id FROM profile_merge x WHERE x.undone_at IS NOT NULL UNION SELECT unnest(without));
		merges := (SELECT count(*) FROM profile_merge);
		undone := cardinality(without);
		erased := (SELECT count(*) FROM erased_profile);
		RAISE EXCEPTION USING ERRCODE = 'P0X01';
	EXCEPTION WHEN SQLSTATE 'P0X01' THEN
	END;

	-- what would have been
	BEGIN
		PERFORM setval('profile_id_seq', 1, false), setval('merge_id_seq', 1, false), setval('event_id_seq', 1, false);
		INSERT INTO event_retention SELECT '*', '20 days' WHERE scenario % 3 = 0;
		FOR c IN SELECT x FROM jsonb_array_elements(calls) x LOOP
			PERFORM pg_temp.do_call(c, without);
		END LOOP;
		PERFORM tick(now + interval '1 day');
		there := pg_temp.world();
		RAISE EXCEPTION USING ERRCODE = 'P0X01';
	EXCEPTION WHEN SQLSTATE 'P0X01' THEN
	END;
	difference := ARRAY(SELECT '< ' || x FROM unnest(here) x WHERE x <> ALL (there)) || ARRAY(SELECT '> ' || x FROM unnest(there) x WHERE x <> ALL (here))
		|| CASE WHEN wrong > 0 THEN ARRAY[format('%s wrong pairs', wrong)] ELSE '{}' END;
	IF cardinality(here) <> cardinality(there) AND difference = '{}' THEN
		difference := ARRAY['number of lines'];
	END IF;
END
$$;
SELECT set_config('merge_random.seed', :'seed', false) > '' AS seed, set_config('merge_random.scenarios', :'scenarios', false) > '' AS scenarios, set_config('merge_random.steps', :'steps', false) > '' AS steps;

CREATE TEMP TABLE result AS
SELECT s, r.* FROM generate_series(1, current_setting('merge_random.scenarios')::int) n, LATERAL (SELECT n + 1000000 * current_setting('merge_random.seed')::int) o (s),
	pg_temp.scenario(s, current_setting('merge_random.steps')::int) r;
SELECT s, jsonb_array_length(calls) AS calls, merges, undone, difference[:20] FROM result WHERE difference <> '{}' ORDER BY s LIMIT 3;
SELECT sum(merges) > 2 * count(*) AS many_merges, sum(undone) > count(*) AS many_undone, sum(erased) >= count(*) AS many_erased, sum(dropped) * 3 >= count(*) AS some_dropped, count(*) FILTER (WHERE difference <> '{}') AS different FROM result;
