-- Random calls, merges, splits, undone merges and erasures against a replay of the
-- same calls without the merges that were undone, and without the events that were
-- taken back; everything is compared.  And what must hold of any state does hold:
-- with the merges that stand, and once more when most of them are undone.
-- Scenarios have themes in turn: few kinds of calls, so that these meet each other.
-- In some the raw events go, partition by partition, meanwhile.
--
-- ORACLE_MERGES=2000 ORACLE_SEED=2 in the environment make it long and different,
-- ORACLE_THEME=5 takes this theme only.  Else some are chosen: together they notice
-- when any statement of what is tested here that moves something is left out.
\set chosen '{8,9,34,11,27,83,76,21,53,14,78,63,71,79}'
\set scenarios 0
\set seed 0
\set theme -1
\set steps 40
\getenv scenarios ORACLE_MERGES
\getenv seed ORACLE_SEED
\getenv theme ORACLE_THEME
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET jit = off;		-- compiling the laws takes longer than looking

INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('city', true, true), ('b', false, true);
SELECT create_journey('wait', '{"entry": {"manual": true, "key": "label"}, "start": "hold", "steps": {"hold": {"wait": "3000d", "next": "end"}}}');
SELECT create_journey('birthday', '{"entry": {"manual": true, "key": "label"}, "start": "hold", "steps": {"hold": {"wait_until": {"trait": "born"}, "next": "end"}}}'),
	create_journey('half', '{"entry": {"manual": true, "key": "label"}, "holdout": 0.5, "start": "hold", "steps": {"hold": {"wait": "3000d", "next": "end"}}}');
SELECT activate_journey(j) FROM unnest('{wait,birthday,half}'::text[]) j;
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

-- How often each call comes.
CREATE TEMP TABLE theme (nr int PRIMARY KEY, name text, weights jsonb);
INSERT INTO theme VALUES
	(0, 'all but events that begin runs', '{"new": 4, "identify": 18, "merge": 6, "unmerge": 8, "split": 2, "erase": 3, "tag": 11, "untag": 6, "tag all": 6, "untag all": 3, "trait": 3, "track": 6, "relate": 3, "unrelate": 3, "consent": 4, "enter": 5, "suppress": 2, "tick": 7}'),
	(1, 'all but suppression', '{"new": 4, "identify": 14, "merge": 6, "unmerge": 8, "split": 2, "erase": 3, "tag": 8, "untag": 4, "tag all": 4, "untag all": 2, "trait": 2, "track": 5, "look": 20, "relate": 2, "unrelate": 2, "consent": 3, "enter": 4, "tick": 6}'),
	(2, 'links', '{"new": 1, "identify": 8, "merge": 8, "unmerge": 7, "split": 3, "track": 3, "tag": 2, "trait": 1, "erase": 1, "tick": 2}'),
	(3, 'tags', '{"new": 1, "identify": 2, "merge": 7, "unmerge": 6, "split": 1, "tag": 9, "untag": 4, "tag all": 4, "untag all": 3, "tick": 2}'),
	(4, 'relations', '{"new": 1, "identify": 2, "merge": 8, "unmerge": 5, "split": 2, "relate": 8, "unrelate": 10, "group": 4, "erase": 1}'),
	(5, 'runs', '{"identify": 2, "merge": 9, "unmerge": 8, "split": 1, "enter": 14, "born": 3, "tick": 2}'),
	(6, 'decisions', '{"new": 1, "identify": 2, "merge": 6, "unmerge": 6, "split": 1, "consent": 8, "suppress": 5, "trait": 3, "tick": 1}'),
	(7, 'events', '{"new": 1, "identify": 4, "merge": 5, "unmerge": 4, "split": 4, "track": 8, "look": 6, "tag": 3, "retract": 3, "fold": 3, "tick": 3, "erase": 1}');

-- A number 0 … n-1 that depends on the scenario, the step and what it is for.
CREATE FUNCTION pg_temp.r(scenario int, step int, what text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT mod(abs(hashtextextended(format('%s %s %s', scenario, step, what), 7)), greatest(n, 1))::int $$;

-- One call.  Profile ids in it are canonical ones; "without": merges that are
-- not to take place, "taken": messages that are taken back.  An identify that would make other merges than those it
-- made first, because some are missing, leaves out the identifiers concerned.
CREATE FUNCTION pg_temp.do_call(c jsonb, without bigint[], taken text[]) RETURNS void LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
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
				PERFORM unmerge(p, (c -> 'keep')::boolean, 'test', at);
			END IF;
		WHEN 'erase' THEN PERFORM erase_profile(p, at => at);
		WHEN 'split' THEN PERFORM split(ARRAY(SELECT jsonb_array_elements_text(c -> 'ids'))::identifier[], 'test', at);
		WHEN 'tag' THEN PERFORM tag(p, c ->> 'tag', (c ->> 'until')::timestamptz, at);
		WHEN 'untag' THEN PERFORM untag(p, c ->> 'tag', at);
		WHEN 'tag all' THEN PERFORM tag(rb_build(ARRAY(SELECT jsonb_array_elements_text(c -> 'set')::bigint)), c ->> 'tag', (c ->> 'until')::timestamptz, at);
		WHEN 'untag all' THEN PERFORM untag(rb_build(ARRAY(SELECT jsonb_array_elements_text(c -> 'set')::bigint)), c ->> 'tag', at);
		WHEN 'trait' THEN PERFORM set_trait(p, 'size', to_jsonb(c -> 'v'), at);
		WHEN 'track' THEN
			-- who was named was named
			IF c ->> 'message' = ANY (taken) THEN
				PERFORM identify(ARRAY[i]::identifier[], '{}', at) FROM unnest(ARRAY[c ->> 'id'] || ARRAY(SELECT jsonb_array_elements_text(c -> 'took part'))) i;
			ELSE
				PERFORM track(ARRAY[c ->> 'id']::identifier[], c ->> 'event', jsonb_build_object('value', 3) || CASE c ->> 'event' WHEN 'look' THEN jsonb_build_object('sku', c ->> 'sku') ELSE '{}' END,
					at, c ->> 'message', c ->> 'v', participants => ARRAY(SELECT jsonb_array_elements_text(c -> 'took part'))::identifier[]);
			END IF;
		WHEN 'retract' THEN
			IF without IS NULL THEN
				PERFORM retract(c ->> 'message', 'test', at);
			END IF;
		WHEN 'relate' THEN PERFORM relate(p, (c -> 'q')::bigint, c ->> 'relation', at, (c ->> 'until')::timestamptz, c ->> 'v');
		WHEN 'unrelate' THEN PERFORM unrelate(p, (c -> 'q')::bigint, c ->> 'relation', at);
		WHEN 'group' THEN PERFORM ingest(jsonb_build_object('type', 'group', 'identifiers', jsonb_build_array(c -> 'id'), 'groupId', 'g' || (c ->> 'v'), 'messageId', c ->> 'message', 'timestamp', at), at);
		WHEN 'consent' THEN PERFORM consent(p, 'marketing', (ARRAY['email', 'sms'])[1 + mod((c -> 'sku')::int, 2)], (c -> 'v')::int > 0, at);
		WHEN 'enter' THEN
			IF without IS NULL OR (c ->> 'entered')::boolean THEN
				PERFORM enter_journey(c ->> 'journey', p, jsonb_build_object('label', c ->> 'v'), at);
			END IF;
		WHEN 'born' THEN PERFORM set_trait(p, 'born', c -> 'born', at);
		WHEN 'suppress' THEN
			IF (c -> 'v')::int > 0 THEN
				PERFORM suppress(p, 'test', at);
			ELSE
				PERFORM unsuppress(p, 'test', at);
			END IF;
		WHEN 'fold' THEN PERFORM _fold_timelines(at, 100);
		WHEN 'tick' THEN
			PERFORM tick(at);
			IF (c -> 'v')::int > 0 THEN
				PERFORM ack_messages(ARRAY(SELECT (claim_messages('note', 1000, at => at)).id), 'delivered', at => at);
			END IF;
	END CASE;
END
$$;

-- Everything there is, as lines of text.  What a call that named a profile said is of
-- the profile that it went to: one of the leaves of what that is now.  (Which one is
-- seen in "suppressed" of who is merged, and in the ends of merges by hand.)
CREATE FUNCTION pg_temp.world() RETURNS text[] LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT array_agg(line ORDER BY line COLLATE "C") FROM (
		SELECT format('profile %s: %s, %s, %s', profile_id, canonical_id, first_at, suppressed AND profile_id = canonical_id) FROM profile
		UNION ALL SELECT format('link %s: %s, %s', identifier, profile_id, at) FROM identifier_link
		UNION ALL SELECT format('edge %s %s: %s', a, b, at) FROM identity_edge WHERE inactive_at IS NULL AND cause <> 'split' AND NOT EXISTS (SELECT FROM identifier_split)
		UNION ALL SELECT format('merge %s: %s %s %s %s %s %s', at, survivor, merged, cause, members, tags, CASE WHEN cause <> 'manual' THEN ARRAY[leaf_a, leaf_b] END) FROM profile_merge WHERE undone_at IS NULL
		UNION ALL SELECT format('tags of %s: %s', profile_id, ARRAY(SELECT replace(t, chr(1), '*') FROM _all_tags_of(profile_id) t WHERE NOT starts_with(t, 'rfm:') ORDER BY t COLLATE "C")) FROM profile
		UNION ALL SELECT format('tag %s of %s ends %s', tag, profile_id, expires_at) FROM tag_expiry
		UNION ALL SELECT format('no tag %s of %s ends', tag, profile_id) FROM tag_expiry WHERE NOT _has_tag(profile_id, tag)
		UNION ALL SELECT format('history of %s: %s %s at %s', profile_id, tag, array_agg(present ORDER BY history_id), at) FROM tag_history GROUP BY profile_id, tag, at
		UNION ALL SELECT format('%s at %s: %s', c, at, audience(c, at)) FROM unnest('{b,city:x}'::text[]) c, generate_series('2026-01-05Z'::timestamptz, '2026-03-30Z', '14 days') at
		UNION ALL SELECT format('trait of %s: %s %s %s', canonical_id(profile_id), name, value, at) FROM trait_value
		UNION ALL SELECT format('trait of %s was: %s %s %s', canonical_id(profile_id), name, value, at) FROM trait_change
		UNION ALL SELECT format('event of %s: %s %s with %s', profile_id, event, at, participants) FROM event
		UNION ALL SELECT format('message of %s: %s', profile_id, message_id) FROM event_message m WHERE NOT EXISTS (SELECT FROM event_retraction r WHERE r.message_id = m.message_id) AND m.message_id LIKE 'm%' AND m.message_id NOT LIKE 'message:%' AND event_id IS NOT NULL
		UNION ALL SELECT format('part %s of %s: %s %s', part, profile_id, sole, timeline) FROM timeline_part
		UNION ALL SELECT format('timeline of %s: %s', profile_id, timeline) FROM profile_timeline
		UNION ALL SELECT format('stage of %s: %s since %s, due %s', profile_id, stage, since, due_at) FROM lifecycle_state
		UNION ALL SELECT format('due of %s: %s', profile_id, d) FROM purchase_due d
		UNION ALL SELECT format('run of %s: %s %s %s %s', profile_id, journey, label, entered_at, due_at) FROM journey_state WHERE status = 'active'
		UNION ALL SELECT format('run of %s: %s %s %s %s %s', canonical_id(coalesce(owner_id, profile_id)), journey, label, step, outcome, ended_at) FROM journey_state WHERE journey IN ('seen', 'also') OR outcome = 'held_out'
		UNION ALL SELECT format('run of somebody else: %s', s) FROM journey_state s WHERE s.status = 'active' AND s.profile_id <> canonical_id(coalesce(s.owner_id, s.profile_id))
		UNION ALL SELECT format('message to %s: %s %s %s %s %s', canonical_id(recipient_id), canonical_id(o.profile_id), s.label, template, o.due_at, o.status) FROM outbox o JOIN journey_state s USING (run_id)
		UNION ALL SELECT format('message of somebody else: %s', o) FROM outbox o JOIN journey_state s USING (run_id) WHERE canonical_id(o.profile_id) <> canonical_id(s.profile_id)
		UNION ALL SELECT format('message to a stranger: %s', o) FROM outbox o WHERE status = 'pending' AND resolve(('tab:' || address)::identifier) <> canonical_id(recipient_id)
		UNION ALL SELECT format('log of %s: %s %s %s %s %s', l.profile_id, journey, s.label, l.at, l.step, what) FROM journey_log l JOIN journey_state s USING (run_id, journey) WHERE journey IN ('seen', 'also') AND what <> 'moved'
		UNION ALL SELECT format('journeys of %s: %s', profile_id, ARRAY(SELECT journey FROM journey_state s WHERE s.profile_id = p.profile_id AND status = 'active' GROUP BY 1 ORDER BY 1)) FROM profile p WHERE profile_id = canonical_id
		UNION ALL SELECT format('%s is %s of %s from %s to %s', a, relation, b, since, until) FROM relation
		UNION ALL SELECT format('%s is %s of %s at %s', profile_id, k, ARRAY(SELECT f FROM related(profile_id, k, t) f), t) FROM profile, unnest('{friend,member}'::text[]) k, unnest('{2026-02-01Z,2026-03-01Z,2030-01-01Z}'::timestamptz[]) t
		UNION ALL SELECT format('consent of %s: %s %s', profile_id, channel, consented(profile_id, 'marketing', channel, '2030-01-01Z')) FROM profile, unnest('{email,sms}'::text[]) channel
		UNION ALL SELECT format('decision of %s: %s %s %s %s', canonical_id(profile_id), purpose, channel, granted, at) FROM consent_log
		UNION ALL SELECT format('segment %s: %s', name, members) FROM segment
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

-- Tags that follow from something else, at once.
CREATE FUNCTION pg_temp.wrong_tags(profiles bigint[]) RETURNS SETOF text LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT format('tag %s of %s: %s', replace(t.tag, chr(1), '*'), p.profile_id, t.present) FROM profile p CROSS JOIN LATERAL (
		SELECT 'journey:' || j.name, EXISTS (SELECT FROM journey_state s WHERE s.profile_id = p.profile_id AND s.journey = j.name AND s.status = 'active') FROM journey j
		UNION ALL
		SELECT 'held_out:' || j.name, EXISTS (SELECT FROM journey_state s JOIN profile l USING (profile_id) WHERE l.canonical_id = p.profile_id AND s.journey = j.name AND s.outcome = 'held_out') FROM journey j
		UNION ALL
		SELECT chr(1) || 'kind:' || p.kind, p.profile_id = p.canonical_id AND NOT p.suppressed
		UNION ALL
		SELECT chr(1) || 'merged', EXISTS (SELECT FROM profile l WHERE l.canonical_id = p.profile_id AND l.profile_id <> p.profile_id)
		UNION ALL
		SELECT 'consent:marketing.' || c, p.profile_id = p.canonical_id AND consented(p.profile_id, 'marketing', c, 'infinity') FROM unnest('{email,sms}'::text[]) c
		) t (tag, present)
	WHERE p.profile_id = ANY (profiles) AND _has_tag(p.profile_id, t.tag) <> t.present
$$;

-- What holds of any state, after a tick.
CREATE FUNCTION pg_temp.broken_laws(now timestamptz) RETURNS text[] LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT coalesce(array_agg(law ORDER BY law), '{}') FROM (
		-- who
		SELECT format('members of merge %s', x.merge_id) FROM profile_merge x
		WHERE x.undone_at IS NULL AND NOT EXISTS (
			SELECT FROM _replay_merges(ARRAY(SELECT q.profile_id FROM profile p JOIN profile q ON q.canonical_id = p.canonical_id WHERE p.profile_id = x.leaf_a ORDER BY 1)) r
			WHERE (r.merge_id, r.survivor, r.merged, r.members) = (x.merge_id, x.survivor, x.merged, x.members))
		UNION ALL SELECT format('canonical id of %s', p.profile_id) FROM profile p
		WHERE p.canonical_id <> coalesce((SELECT x.survivor FROM profile_merge x WHERE x.undone_at IS NULL AND p.profile_id = ANY (x.members) ORDER BY x.merge_id DESC LIMIT 1), p.profile_id)
		UNION ALL SELECT format('never one: %s', n) FROM never_merge n WHERE canonical_id(n.profile_a) = canonical_id(n.profile_b)
		UNION ALL SELECT format('undone, but how? %s', x) FROM profile_merge x WHERE x.undone_at IS NOT NULL AND (x.undone_reason IS DISTINCT FROM 'test' OR x.kept_apart IS NULL)
		UNION ALL SELECT format('not kept apart: %s', x) FROM profile_merge x
		WHERE x.undone_at IS NOT NULL AND x.kept_apart AND NOT EXISTS (SELECT FROM never_merge n WHERE n.profile_a = least(x.leaf_a, x.leaf_b) AND n.profile_b = greatest(x.leaf_a, x.leaf_b))
		UNION ALL SELECT format('split not kept apart: %s', x) FROM identifier_split x
		WHERE NOT EXISTS (SELECT FROM never_merge n WHERE n.profile_a = least(x.from_profile, x.to_profile) AND n.profile_b = greatest(x.from_profile, x.to_profile))
		UNION ALL SELECT format('edge %s %s goes out', e.a, e.b) FROM identity_edge e WHERE e.inactive_at IS NULL AND resolve(e.a) <> resolve(e.b)
		UNION ALL SELECT format('evidence of %s strays', l.identifier) FROM identifier_link l LEFT JOIN identifier_link k ON k.identifier = l.peer
		WHERE l.peer IS NOT NULL AND (k.profile_id IS DISTINCT FROM l.profile_id OR k.peer = l.identifier
			OR EXISTS (SELECT FROM extra_edge e WHERE e.a = least(l.identifier, l.peer) AND e.b = greatest(l.identifier, l.peer)))
		UNION ALL SELECT format('%s is not where the last split put it', l.identifier) FROM identifier_link l
		WHERE l.profile_id <> (SELECT x.to_profile FROM identifier_split x WHERE x.identifier = l.identifier ORDER BY x.split_id DESC LIMIT 1)
		UNION ALL SELECT format('why is %s one with %s?', a.identifier, b.identifier) FROM identifier_link a JOIN identifier_link b ON hashtext(a.identifier || ' ' || b.identifier) % 20 = 0 AND a.identifier <> b.identifier
		WHERE (resolve(a.identifier) = resolve(b.identifier)) <> EXISTS (SELECT FROM why_linked(a.identifier, b.identifier) w WHERE w.from_id = a.identifier::text AND w.step = 1)
		UNION ALL SELECT format('graph of %s: %s', p.profile_id, n.node)
		FROM profile p CROSS JOIN LATERAL (
			(SELECT l.identifier::text FROM identifier_link l WHERE resolve(l.identifier) = p.profile_id
			 EXCEPT SELECT unnest(ARRAY[g.a, g.b]) FROM identity_graph(p.profile_id) g WHERE g.active)
			UNION ALL
			(SELECT unnest(ARRAY[g.a, g.b]) FROM identity_graph(p.profile_id) g WHERE g.active
			 EXCEPT SELECT l.identifier::text FROM identifier_link l WHERE resolve(l.identifier) = p.profile_id)
			) n (node)
		WHERE p.profile_id = p.canonical_id AND n.node IS NOT NULL AND n.node !~ '^profile '
		-- events
		UNION ALL SELECT format('event %s is not with %s', e.event_id, e.via) FROM event e JOIN identifier_link l ON l.identifier = e.via WHERE e.profile_id <> l.profile_id
		UNION ALL SELECT format('message %s is not with its event', m.message_id) FROM event e JOIN event_message m USING (message_id) WHERE m.profile_id <> e.profile_id
		UNION ALL SELECT format('event %s waits elsewhere', e.event_id) FROM event e JOIN event_tail t USING (event_id) WHERE t.owner_id <> e.profile_id OR t.profile_id <> ALL (e.profile_id || e.participants)
		UNION ALL SELECT format('parts of %s', p.profile_id) FROM timeline_part p
		WHERE NOT EXISTS (SELECT FROM timeline_part o WHERE o.profile_id = p.profile_id AND o.part = 0)
			OR p.sole <> (NOT EXISTS (SELECT FROM timeline_part o WHERE o.profile_id = p.profile_id AND o.part <> p.part)
				AND NOT EXISTS (SELECT FROM profile m JOIN profile l ON l.canonical_id = m.canonical_id WHERE m.profile_id = p.profile_id AND l.profile_id <> p.profile_id))
		-- runs
		UNION ALL SELECT format('run %s is not with its event', s.run_id) FROM journey_state s JOIN event e ON e.event_id = (s.entry ->> 'event_id')::bigint WHERE coalesce(s.owner_id, s.profile_id) <> e.profile_id
		UNION ALL SELECT format('log of run %s is not with its event', s.run_id) FROM journey_state s JOIN event e ON e.event_id = (s.entry ->> 'event_id')::bigint JOIN journey_log l USING (run_id)
		WHERE l.profile_id <> e.profile_id AND l.what NOT IN ('moved', 'resumed')
		UNION ALL SELECT format('message of run %s is another''s event', s.run_id) FROM event e JOIN journey_state s ON s.run_id::text = e.properties ->> 'run_id' WHERE e.source = 'journey' AND coalesce(s.owner_id, s.profile_id) <> e.profile_id
		UNION ALL SELECT format('active twice: run %s', s.run_id) FROM journey_state s JOIN journey_state o USING (profile_id, journey, key) WHERE s.status = 'active' AND o.status = 'active' AND s.run_id < o.run_id
		UNION ALL SELECT format('owner of run %s', s.run_id) FROM journey_state s WHERE s.owner_id = s.profile_id
		UNION ALL SELECT format('is run %s active or not?', s.run_id) FROM journey_state s WHERE s.status = 'active' AND (s.outcome IS NOT NULL OR s.ended_at IS NOT NULL)
		UNION ALL SELECT format('run %s was ended for none', s.run_id) FROM journey_state s WHERE (s.status = 'ended' AND s.outcome = 'merged' AND s.ended_at IS NOT NULL) <> EXISTS (SELECT FROM journey_duplicate d WHERE d.run_id = s.run_id)
		UNION ALL SELECT format('run %s gave way to %s', s.run_id, w.run_id) FROM journey_duplicate d JOIN journey_state s USING (run_id) JOIN journey_state w ON w.run_id = d.instead_of
		WHERE (s.journey, s.key) <> (w.journey, w.key) OR (w.entered_at, w.run_id) > (s.entered_at, s.run_id)
			OR canonical_id(coalesce(s.owner_id, s.profile_id)) <> canonical_id(coalesce(w.owner_id, w.profile_id))
		UNION ALL SELECT format('run %s is %s, says its log', s.run_id, s.status) FROM journey_state s
		WHERE (s.status = 'active') <> ((SELECT l.what FROM journey_log l WHERE l.run_id = s.run_id AND l.what IN ('entered', 'ended', 'exited', 'resumed', 'held_out') ORDER BY l.log_id DESC LIMIT 1) IN ('entered', 'resumed'))
		UNION ALL SELECT x FROM pg_temp.wrong_tags(ARRAY(SELECT p.profile_id FROM profile p)) x
		UNION ALL SELECT format('stage %s of %s', g, p.profile_id) FROM profile p CROSS JOIN unnest(enum_range(NULL::lifecycle_stage)) g
		WHERE _has_tag(p.profile_id, 'lifecycle:' || g) <> EXISTS (SELECT FROM lifecycle_state s WHERE s.profile_id = p.profile_id AND s.stage = g)
		UNION ALL SELECT format('birthday of run %s: due %s, born %s', s.run_id, s.due_at, trait(s.profile_id, 'born')) FROM journey_state s
		WHERE s.journey = 'birthday' AND s.status = 'active' AND s.due_at <> coalesce(((trait(s.profile_id, 'born') #>> '{}') || 'Z')::timestamptz, 'infinity')
		-- src/store/stitch.c trusts in that
		UNION ALL SELECT format('%s went along with no merge', p.profile_id) FROM profile p
		WHERE p.profile_id <> p.canonical_id AND NOT EXISTS (SELECT FROM profile_merge x WHERE x.merged = p.profile_id AND x.undone_at IS NULL)
		UNION ALL SELECT format('%s, who was merged, has %s', p.profile_id, replace(x, chr(1), '*')) FROM profile p, _all_tags_of(p.profile_id) x WHERE p.profile_id <> p.canonical_id AND x !~ '^\u0001seen:'
		UNION ALL SELECT format('memory of tags of %s', p.canonical_id)
		FROM (SELECT l.canonical_id, count(*) AS leaves, max((SELECT max(x.merge_id) FROM profile_merge x WHERE x.leaf_a = l.profile_id AND x.undone_at IS NULL)) AS last_merge FROM profile l GROUP BY 1) p
		WHERE (p.leaves > 1) <> EXISTS (SELECT FROM tag_own o WHERE o.profile_id = p.canonical_id AND o.after_merge >= coalesce(p.last_merge, 0))
		UNION ALL SELECT format('%s ends, which %s has not', e.tag, e.profile_id) FROM tag_expiry e WHERE NOT _has_tag(e.profile_id, e.tag)
		UNION ALL SELECT format('two of a kind: %s has %s and %s', p.profile_id, a, b) FROM profile p, _all_tags_of(p.profile_id) a, _all_tags_of(p.profile_id) b WHERE a < b AND starts_with(a, 'city:') AND starts_with(b, 'city:')
		UNION ALL SELECT format('history of %s: %s', h.profile_id, h.tag) FROM (
			SELECT t.*, lag(t.present) OVER w AS before, lead(t.present) OVER w AS after FROM tag_history t WINDOW w AS (PARTITION BY t.profile_id, t.tag ORDER BY t.at, t.history_id)) h
		WHERE (SELECT count(*) FROM profile p JOIN profile l ON l.canonical_id = p.canonical_id WHERE p.profile_id = h.profile_id) = 1
			AND (h.before = h.present OR h.after IS NULL AND h.present AND NOT _has_tag(h.profile_id, h.tag))
		-- decisions
		UNION ALL SELECT format('suppression of %s', p.profile_id) FROM profile p
		WHERE p.profile_id = p.canonical_id AND p.suppressed <> coalesce((SELECT NOT c.granted FROM _consent_in_force(p.profile_id, 'infinity') c WHERE c.purpose = '*'), false)
		UNION ALL SELECT format('decision of %s alone', p.profile_id) FROM profile p JOIN consent_log c USING (profile_id)
		WHERE c.purpose = 'marketing' AND NOT EXISTS (SELECT FROM profile l WHERE l.canonical_id = p.canonical_id AND l.profile_id <> p.profile_id)
			AND NOT EXISTS (SELECT FROM consent_log d WHERE d.profile_id = c.profile_id AND (d.purpose, d.channel) = (c.purpose, c.channel) AND d.at >= c.at AND d <> c)
			AND consented(p.profile_id, 'marketing', c.channel, 'infinity') <> c.granted
		-- what follows
		UNION ALL SELECT format('stage of %s, who was merged', p.profile_id) FROM profile p WHERE p.profile_id <> p.canonical_id
			AND (EXISTS (SELECT FROM lifecycle_state s WHERE s.profile_id = p.profile_id) OR EXISTS (SELECT FROM purchase_due d WHERE d.profile_id = p.profile_id))
		UNION ALL SELECT format('last stage of %s', s.profile_id) FROM lifecycle_state s
		WHERE NOT EXISTS (SELECT FROM lifecycle_correction c WHERE c.profile_id = s.profile_id)
			AND s.stage <> (SELECT c.to_stage FROM lifecycle_change c WHERE c.profile_id = s.profile_id ORDER BY c.tick_no DESC, c.at DESC LIMIT 1)
		UNION ALL SELECT format('%s entered, or left, the segment', p.profile_id) FROM profile p
		WHERE coalesce((SELECT c.entered @> p.profile_id FROM segment_change c WHERE c.segment = 'viewers' AND (c.entered @> p.profile_id OR c.exited @> p.profile_id) ORDER BY c.tick_no DESC, c.at DESC LIMIT 1), false)
			<> _has_tag(p.profile_id, 'segment:viewers')
		UNION ALL SELECT format('%s are counted in, %s are in the segment', members, rb_cardinality(tagged('segment:' || name))) FROM segment
		WHERE members <> rb_cardinality(tagged('segment:' || name))
	) w (law)
$$;

-- A merge by hand, and what comes of it: by plain SQL, and as simulate_merge has said.
CREATE FUNCTION pg_temp.said_of(p bigint) RETURNS TABLE (what text, detail text) LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT 'identifier', l.identifier::text FROM identifier_link l WHERE resolve(l.identifier) = p
	UNION ALL SELECT 'tag', t || coalesce((SELECT format(' until %s', to_json(e.expires_at) #>> '{}') FROM tag_expiry e WHERE e.tag = t COLLATE "C" AND e.profile_id = p), '') FROM unnest(tags_of(p)) t
	UNION ALL SELECT 'trait', format('%s: %s', n.name, trait(p, n.name)) FROM (SELECT DISTINCT v.name FROM trait_value v) n WHERE trait(p, n.name) IS NOT NULL
	UNION ALL SELECT 'run', format('%s, run %s', s.journey, s.run_id) FROM journey_state s WHERE s.profile_id = p AND s.status = 'active'
	UNION ALL SELECT 'consent', format('%s by %s: %s', c.purpose, c.channel, CASE WHEN c.granted THEN 'granted' ELSE 'refused' END) FROM _consent_in_force(p, 'infinity') c
	UNION ALL SELECT 'event', x.nr || ' ' || x.e FROM (SELECT e::text AS e, row_number() OVER (PARTITION BY e) AS nr FROM timeline_events(timeline_of(p)) e) x
$$;
CREATE FUNCTION pg_temp.wrong_merge(p bigint, q bigint, at timestamptz) RETURNS text[] LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	ours	text[] := ARRAY(SELECT format('%s %s', s.what, s.detail) FROM pg_temp.said_of(p) s);
	theirs	text[] := ARRAY(SELECT format('%s %s', s.what, s.detail) FROM pg_temp.said_of(q) s);
	said	text[] := ARRAY(SELECT format('%s %s', s.what, s.detail) FROM simulate_merge(p, q) s WHERE s.what <> 'merged');
	whose	bigint[] := ARRAY(SELECT l.profile_id FROM profile l WHERE l.canonical_id IN (p, q));
	events	timeline := timeline_of(p) || timeline_of(q);
	moves	timeline := timeline_of(q);
	bonds	bigint := (SELECT count(*) FROM relation r WHERE canonical_id(r.a) = q OR canonical_id(r.b) = q);
	becomes	text[];
	wrong	text[];
BEGIN
	PERFORM merge(p, q, NULL, at);
	becomes := ARRAY(SELECT format('%s %s', s.what, s.detail) FROM pg_temp.said_of(p) s);
	IF EXISTS (SELECT FROM consent_log d WHERE d.profile_id = ANY (whose) AND d.at >= wrong_merge.at) THEN
		-- said of both already
		ours := ARRAY(SELECT x FROM unnest(ours) x WHERE x !~ '^consent ');
		theirs := ARRAY(SELECT x FROM unnest(theirs) x WHERE x !~ '^consent ');
		said := ARRAY(SELECT x FROM unnest(said) x WHERE x !~ '^consent ');
		becomes := ARRAY(SELECT x FROM unnest(becomes) x WHERE x !~ '^consent ');
	END IF;
	wrong := ARRAY(
		SELECT format('%s is no more', x) FROM unnest(ours || theirs) x
		WHERE x ~ '^identifier ' AND x <> ALL (becomes)
		-- the survivor's tags, and those of the other that no exclusive key forbids
		UNION ALL SELECT format('%s is lost', x) FROM unnest(ours) x WHERE x ~ '^tag ' AND x <> ALL (becomes)
		UNION ALL SELECT format('%s is not gained', x) FROM unnest(theirs) x
		WHERE x ~ '^tag ' AND NOT x ~ '^tag city:' AND x <> ALL (becomes) AND NOT EXISTS (SELECT FROM unnest(ours) o WHERE o ~ '^tag ' AND split_part(o, ' ', 2) = split_part(x, ' ', 2))
		UNION ALL SELECT format('%s is not gained', x) FROM unnest(theirs) x WHERE x ~ '^tag city:' AND x <> ALL (becomes) AND NOT EXISTS (SELECT FROM unnest(ours) o WHERE o ~ '^tag city:')
		UNION ALL SELECT format('%s comes from nowhere', x) FROM unnest(becomes) x WHERE x ~ '^(tag|identifier|run|consent) ' AND x <> ALL (ours || theirs)
		UNION ALL SELECT format('%s is forbidden', x) FROM unnest(becomes) x WHERE x ~ '^tag city:' AND x <> ALL (ours) AND EXISTS (SELECT FROM unnest(ours) o WHERE o ~ '^tag city:')
		-- the latest value of a trait
		UNION ALL SELECT format('trait %s', v.name) FROM (
			SELECT DISTINCT ON (t.name) t.name, t.value FROM trait_value t WHERE t.profile_id = ANY (whose) ORDER BY t.name, t.at DESC, t.value DESC) v
		WHERE trait(p, v.name) IS DISTINCT FROM nullif(v.value, 'null')
		-- the run that entered first
		UNION ALL SELECT format('run %s', s.run_id) FROM (
			SELECT j.*, first_value(j.run_id) OVER (PARTITION BY j.journey, j.key ORDER BY j.entered_at, j.run_id) AS goes_on
			FROM journey_state j WHERE format('run %s, run %s', j.journey, j.run_id) = ANY (ours || theirs)) s
		WHERE (s.profile_id, s.status) IS DISTINCT FROM (p, 'active') AND s.run_id = s.goes_on
			OR s.run_id <> s.goes_on AND (s.status, s.outcome) IS DISTINCT FROM ('ended', 'merged')
		-- the most restrictive decision
		UNION ALL SELECT format('%s is not as strict', x) FROM unnest(ours || theirs) x WHERE x ~ '^consent .*refused$' AND x <> ALL (becomes)
		UNION ALL SELECT format('%s is forgotten', x) FROM unnest(ours || theirs) x WHERE x ~ '^consent .*granted$' AND x <> ALL (becomes) AND replace(x, 'granted', 'refused') <> ALL (becomes)
		UNION ALL SELECT format('run %s was not moved, says the log', s.run_id) FROM journey_state s
		WHERE format('run %s, run %s', s.journey, s.run_id) = ANY (theirs) AND s.status = 'active'
			AND NOT EXISTS (SELECT FROM journey_log l WHERE l.run_id = s.run_id AND l.what = 'moved' AND (l.at, l.profile_id) = (wrong_merge.at, p))
		UNION ALL SELECT x FROM pg_temp.wrong_tags(ARRAY[p, q]) x
		UNION ALL SELECT 'timeline' WHERE timeline_of(p) IS DISTINCT FROM events
		UNION ALL SELECT format('universe: %s', i) FROM unnest(ARRAY[p, q]) i WHERE audience('all', 'infinity') @> i <> (i = p AND NOT (SELECT c.suppressed FROM profile c WHERE c.profile_id = p)));
	-- what was said before
	RETURN wrong || ARRAY(
		WITH is_so (line) AS (
			SELECT format('survivor %s', p)
			UNION ALL SELECT x FROM unnest(theirs) x WHERE x ~ '^identifier '
			UNION ALL SELECT x FROM unnest(becomes) x WHERE x ~ '^(tag|consent) ' AND x <> ALL (ours)
			UNION ALL SELECT format('tag dropped %s: the key city is exclusive', split_part(x, ' ', 2)) FROM unnest(theirs) x
			WHERE x ~ '^tag city:' AND x <> ALL (becomes) AND NOT EXISTS (SELECT FROM unnest(ours) o WHERE o ~ '^tag ' AND split_part(o, ' ', 2) = split_part(x, ' ', 2))
			UNION ALL SELECT x FROM unnest(theirs) x WHERE x ~ '^run ' AND x = ANY (becomes)
			UNION ALL SELECT format('run ended %s, run %s: run %s entered first', s.journey, s.run_id, d.instead_of) FROM journey_state s JOIN journey_duplicate d USING (run_id)
			WHERE format('run %s, run %s', s.journey, s.run_id) = ANY (ours || theirs)
			UNION ALL SELECT format('events %s from %s to %s', num_events(moves), to_json(first_at(moves)) #>> '{}', to_json(last_at(moves)) #>> '{}') WHERE num_events(moves) > 0
			UNION ALL SELECT format('relations %s', bonds) WHERE bonds > 0
		)
		(SELECT format('was not said: %s', line) FROM is_so EXCEPT SELECT format('was not said: %s', x) FROM unnest(said) x)
		UNION ALL
		(SELECT format('was said: %s', x) FROM unnest(said) x WHERE x !~ '^trait ' EXCEPT SELECT format('was said: %s', line) FROM is_so)
		UNION ALL
		SELECT format('was said: %s', x) FROM unnest(said) x CROSS JOIN LATERAL (SELECT rtrim(split_part(x, ' ', 2), ':') AS name, substr(x, strpos(x, ': ') + 2) AS outcome) t
		WHERE x ~ '^trait ' AND NOT CASE
			WHEN t.outcome ~ ' is gained$' THEN format('trait %s: %s', t.name, regexp_replace(t.outcome, ' is gained$', '')) = ANY (becomes)
			WHEN t.outcome ~ ' is removed$' THEN trait(p, t.name) IS NULL
			WHEN t.outcome ~ ' stays, not ' THEN format('trait %s: %s', t.name, regexp_replace(t.outcome, ' stays, not .*', '')) = ANY (becomes)
			ELSE format('trait %s: %s', t.name, regexp_replace(t.outcome, ' replaces .*', '')) = ANY (becomes) END);
END
$$;

CREATE FUNCTION pg_temp.scenario(scenario int, steps int, OUT calls jsonb, OUT merges int, OUT undone int, OUT erased int, OUT dropped int, OUT difference text[])
LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	here text[];
	there text[];
	again text[];
	broken text[] := '{}';
	laws text[];
	wrong bigint := 0;
	without bigint[] := '{}';
	taken text[] := '{}';		-- messages that are taken back
	apart bigint[] := '{}';		-- merges whose profiles were to be kept apart
	seen jsonb := '{}';			-- who was who, after each step
	c jsonb;
	now timestamptz := '2026-01-01Z';
	before bigint;
	people bigint[];
	everybody text[];
	m bigint;
	leaf bigint;
	t theme := (SELECT x FROM theme x WHERE x.nr = scenario % (SELECT count(*) FROM theme));
	late boolean := scenario / 8 % 2 = 0;
	drops boolean := scenario % 3 = 0 AND NOT t.weights ? 'retract';
	what text;
BEGIN
	PERFORM set_config('client_min_messages', 'warning', true);
	-- what happened
	calls := '[]';
	BEGIN
		PERFORM setval('profile_id_seq', 1, false), setval('merge_id_seq', 1, false), setval('event_id_seq', 1, false);
		INSERT INTO event_retention SELECT '*', '20 days' WHERE drops;
		UPDATE tag_key SET keep_history = scenario / 16 % 2 = 0 WHERE key = 'city';
		PERFORM identify(ARRAY['store:s' || n]::identifier[], at => '2025-12-01Z') FROM generate_series(0, 1) n;
		FOR step IN 1 .. steps LOOP
			now := now + interval '50 h';
			people := ARRAY(SELECT profile_id FROM profile WHERE profile_id = canonical_id AND kind = 'person' ORDER BY 1);
			everybody := ARRAY(SELECT identifier::text FROM identifier_link JOIN profile USING (profile_id) WHERE kind = 'person' ORDER BY 1);
			what := CASE WHEN step <= 4 OR people = '{}' THEN 'new' ELSE (
				SELECT w.key FROM (SELECT e.key, sum(e.value::int) OVER (ORDER BY e.key) AS upto, sum(e.value::int) OVER () AS total FROM jsonb_each_text(t.weights) e) w
				WHERE w.upto > pg_temp.r(scenario, step, 'op', w.total::int) ORDER BY w.upto LIMIT 1) END;
			c := jsonb_build_object('op', CASE what WHEN 'new' THEN 'identify' WHEN 'look' THEN 'track' ELSE what END,
				'at', now - CASE WHEN late THEN pg_temp.r(scenario, step, 'late', 4) / 3 ELSE 0 END * interval '60 h', 'v', pg_temp.r(scenario, step, 'v', 2),
				'p', people[1 + pg_temp.r(scenario, step, 'p', cardinality(people))], 'q', people[1 + pg_temp.r(scenario, step, 'q', cardinality(people))],
				'tag', ('{a,b,city:x,city:y,city:z}'::text[])[1 + pg_temp.r(scenario, step, 'tag', 5)],
				'set', ARRAY(SELECT x FROM unnest(people) x WHERE pg_temp.r(scenario, step, 'set' || x, 2) = 0),
				'until', CASE WHEN pg_temp.r(scenario, step, 'ends', 3) = 0 THEN now + (1 + pg_temp.r(scenario, step, 'until', 12)) * interval '50 h' END,
				'id', everybody[1 + pg_temp.r(scenario, step, 'id', cardinality(everybody))], 'message', 'm' || step,
				'event', CASE what WHEN 'look' THEN 'look' ELSE ('{view,purchase}'::text[])[1 + pg_temp.r(scenario, step, 'event', 2)] END, 'sku', step, 'traits', '{}');
			CASE what
				WHEN 'new' THEN
					c := c || jsonb_build_object('ids', ARRAY['cookie:' || step, 'tab:' || step], 'traits', jsonb_build_object('name', step));
				WHEN 'identify' THEN
					c := c || jsonb_build_object(
						'ids', (SELECT array_agg(x) FROM (SELECT x FROM unnest(everybody) x ORDER BY pg_temp.r(scenario, step, x, 1000000) LIMIT 1 + pg_temp.r(scenario, step, 'size', 3)) o)
							|| CASE WHEN pg_temp.r(scenario, step, 'new', 4) = 0 THEN ARRAY['new:' || step] ELSE '{}' END,
						'traits', CASE WHEN pg_temp.r(scenario, step, 'name', 2) = 0 THEN jsonb_build_object('name', step) ELSE '{}' END);
				WHEN 'merge' THEN
					CONTINUE WHEN c -> 'p' = c -> 'q' OR EXISTS (
						SELECT FROM never_merge n WHERE canonical_id(n.profile_a) IN ((c -> 'p')::bigint, (c -> 'q')::bigint)
							AND canonical_id(n.profile_b) IN ((c -> 'p')::bigint, (c -> 'q')::bigint));
				WHEN 'unmerge' THEN
					SELECT x.merge_id INTO m FROM profile_merge x WHERE x.undone_at IS NULL ORDER BY pg_temp.r(scenario, step, 'm' || x.merge_id, 1000000) LIMIT 1;
					CONTINUE WHEN m IS NULL;
					without := without || m;		-- an erasure may take the record away
					c := c || jsonb_build_object('p', m, 'keep', pg_temp.r(scenario, step, 'keep', 2) = 0, 'at', now);
					apart := apart || CASE WHEN (c -> 'keep')::boolean THEN ARRAY[m] END;
				WHEN 'split' THEN
					-- some of the identifiers of one leaf, never all
					leaf := (SELECT l.profile_id FROM identifier_link l WHERE l.identifier = (c ->> 'id')::identifier);
					c := c || jsonb_build_object('ids', ARRAY(SELECT l.identifier::text FROM identifier_link l WHERE l.profile_id = leaf
						ORDER BY l.identifier = (c ->> 'id')::identifier DESC, l.identifier
						LIMIT 1 + pg_temp.r(scenario, step, 'many', (SELECT count(*)::int - 1 FROM identifier_link k WHERE k.profile_id = leaf))));
					CONTINUE WHEN jsonb_array_length(c -> 'ids') = (SELECT count(*) FROM identifier_link k WHERE k.profile_id = leaf);
					IF (SELECT p.suppressed FROM profile p WHERE p.profile_id = canonical_id(leaf)) THEN
						-- who is split off somebody suppressed is suppressed, too: that is not as without the merge
						before := (SELECT last_value FROM profile_id_seq);
						BEGIN
							m := split(ARRAY(SELECT jsonb_array_elements_text(c -> 'ids'))::identifier[], 'test', now);
							broken := broken || ARRAY(SELECT format('%s is not suppressed', m) WHERE NOT (SELECT p.suppressed FROM profile p WHERE p.profile_id = m) OR audience('all', 'infinity') @> m)
								|| ARRAY(SELECT x FROM unnest(pg_temp.broken_laws(now)) x WHERE x !~ 'the segment$');		-- that is noticed by a tick
							PERFORM tick(now);
							broken := broken || pg_temp.broken_laws(now);
							RAISE EXCEPTION USING ERRCODE = 'P0X01';
						EXCEPTION WHEN SQLSTATE 'P0X01' THEN
							PERFORM setval('profile_id_seq', before);
						END;
						CONTINUE;
					END IF;
					-- nor is it when he would be without the merge
					CONTINUE WHEN EXISTS (SELECT FROM profile p WHERE p.canonical_id = canonical_id(leaf) AND p.suppressed);
				WHEN 'relate' THEN
					c := c || jsonb_build_object('relation', 'friend') || coalesce((
						SELECT jsonb_build_object('relation', 'member', 'q', canonical_id) FROM profile
						WHERE kind = 'account' AND pg_temp.r(scenario, step, 'member', 2) = 0 ORDER BY profile_id LIMIT 1), '{}');
					CONTINUE WHEN c -> 'p' = c -> 'q';
				WHEN 'unrelate' THEN
					-- one of somebody who has been merged away, if there is one
					SELECT c || jsonb_build_object('p', canonical_id(r.a), 'q', canonical_id(r.b), 'relation', r.relation) INTO c FROM relation r
					WHERE canonical_id(r.a) <> canonical_id(r.b) AND (r.until IS NULL OR r.until > (c ->> 'at')::timestamptz)
					ORDER BY canonical_id(r.a) = r.a AND canonical_id(r.b) = r.b, pg_temp.r(scenario, step, format('%s %s', r.a, r.b), 1000000) LIMIT 1;
					CONTINUE WHEN c IS NULL;
				WHEN 'enter' THEN
					c := c || jsonb_build_object('at', now, 'journey', ('{wait,wait,birthday,half}'::text[])[1 + pg_temp.r(scenario, step, 'journey', 4)], 'v', pg_temp.r(scenario, step, 'v', 5) / 4);
				WHEN 'born' THEN
					c := c || jsonb_build_object('born', format('203%s-03-0%s', pg_temp.r(scenario, step, 'year', 10), 1 + step % 9));
				WHEN 'track' THEN
					c := c || jsonb_build_object('took part', CASE pg_temp.r(scenario, step, 'took part', 4) WHEN 0 THEN ARRAY['store:s' || (c ->> 'v')]
						WHEN 1 THEN ARRAY['store:s0', everybody[1 + pg_temp.r(scenario, step, 'other', cardinality(everybody))]] ELSE '{}' END);
				WHEN 'look' THEN
					c := c || '{"took part": []}';
				WHEN 'retract' THEN
					SELECT c || jsonb_build_object('message', x ->> 'message', 'at', now) INTO c FROM jsonb_array_elements(calls) x
					WHERE x ->> 'op' = 'track' AND x ->> 'event' <> 'look' AND x ->> 'message' <> ALL (taken)
						AND EXISTS (SELECT FROM event_message e WHERE e.message_id = x ->> 'message')
					ORDER BY pg_temp.r(scenario, step, x ->> 'message', 1000000) LIMIT 1;
					CONTINUE WHEN c IS NULL;
					taken := taken || (c ->> 'message');
				ELSE
			END CASE;
			SELECT coalesce(max(x.merge_id), 0) INTO before FROM profile_merge x;
			IF what = 'merge' THEN
				broken := broken || pg_temp.wrong_merge((c -> 'p')::bigint, (c -> 'q')::bigint, (c ->> 'at')::timestamptz);
			ELSIF what = 'enter' THEN
				m := (SELECT count(*) FROM journey_state);
				PERFORM pg_temp.do_call(c, NULL, NULL);
				c := c || jsonb_build_object('entered', m < (SELECT count(*) FROM journey_state));
			ELSE
				PERFORM pg_temp.do_call(c, NULL, NULL);
			END IF;
			IF what = 'unmerge' THEN
				broken := broken || ARRAY(SELECT format('record of the undone merge: %s', x) FROM profile_merge x WHERE x.merge_id = m AND (x.undone_at, x.kept_apart) IS DISTINCT FROM (now, (c -> 'keep')::boolean));
			END IF;
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
			IF NOT late THEN
				seen := seen || jsonb_build_object(now::text, (SELECT jsonb_object_agg(l.identifier::text, ARRAY[resolve(l.identifier), l.profile_id]) FROM identifier_link l));
			END IF;
			IF step % 15 = 0 THEN
				wrong := wrong + pg_temp.wrong_components();
			END IF;
		END LOOP;
		-- in the middle of it
		BEGIN
			PERFORM tick(now + interval '1 day');
			laws := pg_temp.broken_laws(now + interval '1 day');
			here := pg_temp.world();
			PERFORM rebuild('all', now + interval '1 day');
			again := pg_temp.world();
			IF drops THEN
				laws := laws || pg_temp.broken_laws(now + interval '1 day');
			END IF;
			laws := laws || ARRAY(SELECT 'rebuilt < ' || x FROM unnest(here) x WHERE x <> ALL (again) AND x !~ '^part ') || ARRAY(SELECT 'rebuilt > ' || x FROM unnest(again) x WHERE x <> ALL (here) AND x !~ '^part ');
			RAISE EXCEPTION USING ERRCODE = 'P0X01';
		EXCEPTION WHEN SQLSTATE 'P0X01' THEN
			broken := broken || laws;
		END;
		-- some more are undone at the end
		FOR m IN SELECT x.merge_id FROM profile_merge x
				 WHERE x.undone_at IS NULL AND pg_temp.r(scenario, x.merge_id::int, 'undo', 3) > scenario / 8 % 2 ORDER BY pg_temp.r(scenario, x.merge_id::int, 'order', 1000000)
		LOOP
			PERFORM unmerge(m, true, 'test', now);
			apart := apart || m;
		END LOOP;
		wrong := wrong + pg_temp.wrong_components();
		-- who was who then, of all that nobody who was erased was one with
		broken := broken || ARRAY(
			SELECT format('%s was %s at %s', i.key, i.value, x.key) FROM jsonb_each(seen) x CROSS JOIN LATERAL jsonb_each(x.value) i
			WHERE x.key::timestamptz < now AND resolve(i.key::identifier) IS NOT NULL AND resolve(i.key::identifier, x.key::timestamptz) IS DISTINCT FROM (i.value -> 0)::bigint
				AND NOT EXISTS (SELECT FROM jsonb_each(x.value) o JOIN erased_profile g ON g.profile_id = (o.value -> 1)::bigint WHERE o.value -> 0 = i.value -> 0));
		PERFORM tick(now + interval '1 day');
		broken := broken || pg_temp.broken_laws(now + interval '1 day');
		here := pg_temp.world();
		-- the same evidence again links nobody who is to be kept apart
		FOR c IN SELECT x FROM jsonb_array_elements(calls) x WHERE x ->> 'op' = 'identify' LOOP
			BEGIN
				PERFORM pg_temp.do_call(c, NULL, NULL);
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
	EXCEPTION
		WHEN SQLSTATE 'P0X01' THEN
		WHEN OTHERS THEN
			difference := ARRAY[sqlerrm, c::text];
			RETURN;
	END;

	-- what would have been
	BEGIN
		PERFORM setval('profile_id_seq', 1, false), setval('merge_id_seq', 1, false), setval('event_id_seq', 1, false);
		INSERT INTO event_retention SELECT '*', '20 days' WHERE drops;
		UPDATE tag_key SET keep_history = scenario / 16 % 2 = 0 WHERE key = 'city';
		PERFORM identify(ARRAY['store:s' || n]::identifier[], at => '2025-12-01Z') FROM generate_series(0, 1) n;
		FOR c IN SELECT x FROM jsonb_array_elements(calls) x LOOP
			PERFORM pg_temp.do_call(c, without, taken);
		END LOOP;
		PERFORM tick(now + interval '1 day');
		there := pg_temp.world();
		RAISE EXCEPTION USING ERRCODE = 'P0X01';
	EXCEPTION
		WHEN SQLSTATE 'P0X01' THEN
		WHEN OTHERS THEN
			difference := ARRAY['in the replay: ' || sqlerrm, c::text];
			RETURN;
	END;
	difference := ARRAY(SELECT '< ' || x FROM unnest(here) x WHERE x <> ALL (there)) || ARRAY(SELECT '> ' || x FROM unnest(there) x WHERE x <> ALL (here))
		|| CASE WHEN wrong > 0 THEN ARRAY[format('%s wrong pairs', wrong)] ELSE '{}' END || broken;
	IF cardinality(here) <> cardinality(there) AND difference = '{}' THEN
		difference := ARRAY['number of lines'];
	END IF;
END
$$;
SELECT set_config('merge_random.seed', :'seed', false) > '' AS seed, set_config('merge_random.scenarios', :'scenarios', false) > '' AS scenarios,
	set_config('merge_random.theme', :'theme', false) > '' AS theme, set_config('merge_random.steps', :'steps', false) > '' AS steps;

CREATE TEMP TABLE result AS
SELECT s, r.* FROM (
	SELECT unnest(:'chosen'::int[]) WHERE current_setting('merge_random.scenarios')::int = 0
	UNION ALL
	SELECT 1000000 * current_setting('merge_random.seed')::int + CASE WHEN t < 0 THEN n ELSE 8 * n + t END
	FROM generate_series(1, current_setting('merge_random.scenarios')::int) n, LATERAL (SELECT current_setting('merge_random.theme')::int) x (t)) o (s),
	pg_temp.scenario(s, current_setting('merge_random.steps')::int) r;
SELECT s, jsonb_array_length(calls) AS calls, merges, undone, difference[:20] FROM result WHERE difference <> '{}' ORDER BY s LIMIT 3;
SELECT sum(merges) > 2 * count(*) AS many_merges, sum(undone) > count(*) AS many_undone, sum(erased) * 3 >= count(*) AS many_erased, sum(dropped) * 3 >= count(*) AS some_dropped, count(*) FILTER (WHERE difference <> '{}') AS different,
	array_agg(s ORDER BY s) FILTER (WHERE difference <> '{}') AS these FROM result;
