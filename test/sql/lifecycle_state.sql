-- Stages of profiles: ticking often or once gives the same; late facts are
-- corrections; tags, flow and rebuild agree with the timelines.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';

-- policies: seeded, overridden, chosen by name
SELECT name, kind, purchase_event, retained_orders, at_risk_after, churned_after, adaptive, seeded FROM lifecycle_policy;
UPDATE lifecycle_policy SET at_risk_after = '30 days', churned_after = '90 days' WHERE name = 'default';
INSERT INTO lifecycle_policy (name, at_risk_after, churned_after) VALUES ('strict', '7 days', '14 days');
SELECT name, at_risk_after, churned_after, seeded FROM lifecycle_policy ORDER BY name, seeded;
SELECT name, at_risk_after, churned_after, seeded FROM lifecycle_policy_effective ORDER BY name;
DELETE FROM lifecycle_policy WHERE name = 'default' AND seeded;
INSERT INTO lifecycle_policy (name, retained_orders) VALUES ('x', 1);
INSERT INTO lifecycle_policy (name, at_risk_after) VALUES ('x', '0');
INSERT INTO lifecycle_policy (name, churned_after) VALUES ('x', '60 days');
SELECT lifecycle(t, '2026-01-10'), lifecycle(t, '2026-01-10', 'strict'), lifecycle(t, '2026-01-10', policy => 'default'),
	   lifecycle_due(t, '2026-01-10'), lifecycle_due(t, '2026-01-10', 'strict'), lifecycle(NULL::timeline, '2026-01-10')
FROM (SELECT timeline_agg('2026-01-01Z'::timestamptz, 'purchase') AS t) t;
SELECT lifecycle('{}', '2026-01-10', 'nobody''s');

-- A year of events of 60 people in random order, with equal instants, whole
-- days (so that events meet ticks and thresholds) and orders that keep or
-- lose people.
CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TABLE ls_message AS
SELECT p, i, timestamptz '2026-01-01Z' + make_interval(days => pg_temp.dice('at' || p, i, 330) / (1 + pg_temp.dice('pace' || p, 1, 3)),
			  secs => CASE pg_temp.dice('sec' || p, i, 3) WHEN 0 THEN 0 ELSE 0.000001 * pg_temp.dice('us' || p, i, 3) END) AS at,
	   CASE pg_temp.dice('what' || p, i, 3) WHEN 0 THEN 'view' ELSE 'purchase' END AS event
FROM generate_series(1, 60) p, generate_series(1, pg_temp.dice('n', p, 12)) i;
SELECT count(*), count(DISTINCT p) FROM ls_message;

CREATE FUNCTION ls_load(since timestamptz, until timestamptz) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(track(ARRAY['user_id:' || p]::identifier[], event, '{}', at, format('m%s-%s', p, i))) FROM
		(SELECT * FROM ls_message WHERE at > since AND at <= until ORDER BY at, p, i) m
$$;
-- what is kept, by name of the person instead of a profile id that depends on the order of arrival
CREATE FUNCTION ls_state() RETURNS TABLE (who text, stage lifecycle_stage, since timestamptz) LANGUAGE sql AS $$
	SELECT value(l.identifier), s.stage, s.since FROM lifecycle_state s JOIN identifier_link l USING (profile_id) $$;
CREATE FUNCTION ls_change() RETURNS TABLE (who text, at timestamptz, from_stage lifecycle_stage, to_stage lifecycle_stage) LANGUAGE sql AS $$
	SELECT value(l.identifier), c.at, c.from_stage, c.to_stage FROM lifecycle_change c JOIN identifier_link l USING (profile_id) $$;
-- the managed side against the timelines: everything that has to agree at "now"
CREATE FUNCTION ls_check(now timestamptz) RETURNS TABLE (what text, wrong bigint) LANGUAGE sql AS $$
	SELECT 'profiles without a state', count(*) FROM profile p
	WHERE p.canonical_id = p.profile_id AND first_at <= now AND NOT EXISTS (SELECT FROM lifecycle_state s WHERE s.profile_id = p.profile_id)
	UNION ALL
	SELECT 'states of merged profiles', count(*) FROM lifecycle_state s JOIN profile p USING (profile_id) WHERE p.canonical_id <> p.profile_id
	UNION ALL
	SELECT 'stage is not what the timeline says', count(*) FROM lifecycle_state s
	WHERE s.stage <> lifecycle(timeline_of(s.profile_id), now) OR s.stage IS DISTINCT FROM lifecycle_at(s.profile_id, now)
	UNION ALL
	SELECT 'since is not when it began', count(*) FROM lifecycle_state s JOIN profile p USING (profile_id)
	WHERE lifecycle_at(s.profile_id, s.since) IS DISTINCT FROM s.stage
	   OR lifecycle_at(s.profile_id, s.since - interval '1 us') IS NOT DISTINCT FROM s.stage
	UNION ALL
	SELECT 'due is not when it ends', count(*) FROM lifecycle_state s
	WHERE s.due_at <= now OR lifecycle_at(s.profile_id, s.due_at) = s.stage OR lifecycle_at(s.profile_id, s.due_at - interval '1 us') <> s.stage
	UNION ALL
	SELECT 'tag differs from the state of ' || stage, rb_xor_cardinality(tagged('lifecycle:' || stage),
		(SELECT rb_build(coalesce(array_agg(profile_id), '{}')) FROM lifecycle_state s WHERE s.stage = e.stage))
	FROM unnest(enum_range(NULL::lifecycle_stage)) AS e (stage)
	UNION ALL
	SELECT 'queue rows left', count(*) FROM profile_queue WHERE at <= now
$$;

-- nobody has ever been here; the policies stay
CREATE FUNCTION ls_reset() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT c.oid FROM pg_class c WHERE relnamespace = 'cdp'::regnamespace AND relkind IN ('r', 'p')
			 AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND attname = 'seeded' AND NOT attisdropped) LOOP
		EXECUTE format('TRUNCATE %s', t);
	END LOOP;
END
$$;

-- 1. everything loaded, one tick at the end
SELECT ls_load('-infinity', 'infinity');
SELECT task, done FROM tick('2026-12-31') WHERE task IN ('extend_timelines', 'lifecycle');
SELECT * FROM ls_check('2026-12-31') WHERE wrong > 0;
CREATE TABLE once_state AS SELECT * FROM ls_state();
CREATE TABLE once_change AS SELECT * FROM ls_change();
SELECT stage, count(*) FROM once_state GROUP BY stage ORDER BY stage;
SELECT count(*) FROM once_change;
SELECT count(*) AS corrections FROM lifecycle_correction;

-- the changes are a chain per person, and say what lifecycle_at says
SELECT count(*) FILTER (WHERE before IS DISTINCT FROM from_stage) AS broken,
	   count(*) FILTER (WHERE lifecycle_at(profile_id, at) IS DISTINCT FROM to_stage) AS wrong_after,
	   count(*) FILTER (WHERE lifecycle_at(profile_id, at - interval '1 us') IS DISTINCT FROM from_stage) AS wrong_before,
	   count(*) FILTER (WHERE (cause = 'first') <> (from_stage IS NULL)) AS wrong_cause
FROM (SELECT c.*, lag(to_stage) OVER (PARTITION BY profile_id ORDER BY at) AS before FROM lifecycle_change c) x;
SELECT cause, count(*) > 0 FROM lifecycle_change GROUP BY cause ORDER BY cause;

-- the flow equals plain SQL over the changes, whatever the two instants
SELECT count(*) AS asked, count(*) FILTER (WHERE flow IS DISTINCT FROM plain) AS wrong
FROM (SELECT (SELECT array_agg((f.from_stage, f.to_stage, f.profiles) ORDER BY f.from_stage, f.to_stage) FROM lifecycle_flow(a, b) f) AS flow,
	   (SELECT array_agg((x.f, x.t, x.n) ORDER BY x.f, x.t)
		FROM (SELECT f, t, count(*) AS n
			  FROM (SELECT (SELECT to_stage FROM lifecycle_change c WHERE c.profile_id = s.profile_id AND c.at <= a ORDER BY at DESC LIMIT 1) AS f,
						   (SELECT to_stage FROM lifecycle_change c WHERE c.profile_id = s.profile_id AND c.at <= b ORDER BY at DESC LIMIT 1) AS t
					FROM lifecycle_state s) y
			  WHERE t IS NOT NULL GROUP BY f, t) x) AS plain
	  FROM (SELECT timestamptz '2025-12-31Z' + d * interval '31 days' AS a, timestamptz '2025-12-31Z' + (d + e) * interval '31 days' AS b
			FROM generate_series(0, 10) d, generate_series(0, 2) e) z) q;
SELECT * FROM lifecycle_flow('2026-02-01', '2026-01-01');

-- 2. the same loaded at once, then ticked every third day (with days left out)
SELECT ls_reset();
SELECT ls_load('-infinity', 'infinity');
CREATE TABLE ls_day AS SELECT d FROM generate_series(timestamptz '2025-12-30Z', '2026-12-31Z', '3 days') d;
SELECT sum(t.done) > 0 AS worked FROM ls_day, tick(d) t;
SELECT task, done FROM tick('2026-12-31') WHERE task = 'lifecycle';
SELECT * FROM ls_check('2026-12-31') WHERE wrong > 0;
SELECT 'state' AS differs, s::text FROM (TABLE once_state EXCEPT SELECT * FROM ls_state()) s
UNION ALL SELECT 'state', s::text FROM (SELECT * FROM ls_state() EXCEPT TABLE once_state) s
UNION ALL SELECT 'change', c::text FROM (TABLE once_change EXCEPT SELECT * FROM ls_change()) c
UNION ALL SELECT 'change', c::text FROM (SELECT * FROM ls_change() EXCEPT TABLE once_change) c;
SELECT count(*) FROM lifecycle_change;
SELECT count(*) AS corrections FROM lifecycle_correction;

-- 3. the events arrive from day to day, with a tick after each day
SELECT ls_reset();
SELECT sum((SELECT sum(t.done) FROM ls_load(d - interval '3 days', d) l, tick(d + 0 * l * interval '1 day') t)) > 0 AS worked
FROM (SELECT d FROM ls_day ORDER BY d) d;
SELECT * FROM ls_check('2026-12-31') WHERE wrong > 0;
SELECT 'state' AS differs, s::text FROM (TABLE once_state EXCEPT SELECT * FROM ls_state()) s
UNION ALL SELECT 'state', s::text FROM (SELECT * FROM ls_state() EXCEPT TABLE once_state) s
UNION ALL SELECT 'change', c::text FROM (TABLE once_change EXCEPT SELECT * FROM ls_change()) c
UNION ALL SELECT 'change', c::text FROM (SELECT * FROM ls_change() EXCEPT TABLE once_change) c;
SELECT count(*) FROM lifecycle_change;
SELECT count(*) AS corrections FROM lifecycle_correction;
SELECT count(*) AS out_of_order FROM (SELECT at < lag(at) OVER (PARTITION BY profile_id ORDER BY tick_no, at) AS bad FROM lifecycle_change) c WHERE bad;

-- rebuilt = incremental; a second tick at the same instant, or an earlier one, does nothing
CREATE TABLE ls_before AS TABLE lifecycle_state;
SELECT task, done > 0 AS worked FROM rebuild('all', '2026-12-31');
SELECT (SELECT count(*) FROM (TABLE lifecycle_state EXCEPT TABLE ls_before) x) AS states,
	   (SELECT count(*) FROM lifecycle_change) - (SELECT count(*) FROM once_change) AS changes, (SELECT count(*) FROM lifecycle_correction) AS corrections;
SELECT * FROM ls_check('2026-12-31') WHERE wrong > 0;
SELECT sum(done) FROM tick('2026-12-31');
SELECT done FROM tick('2026-06-01') WHERE task = 'lifecycle';
SELECT (SELECT count(*) FROM lifecycle_change) - (SELECT count(*) FROM once_change) AS changes;

-- rebuild finds what somebody broke
UPDATE lifecycle_state SET stage = 'potential', due_at = NULL WHERE profile_id = (SELECT min(profile_id) FROM lifecycle_state WHERE stage = 'churned');
SELECT _tag_changes('lifecycle:retained', '{7,8,9}', '{}', '2026-12-31', 'policy');
SELECT count(*) FROM ls_check('2026-12-31') WHERE wrong > 0;
SELECT task FROM rebuild('lifecycle', '2026-12-31');
SELECT * FROM ls_check('2026-12-31') WHERE wrong > 0;
SELECT was_stage, is_stage, cause FROM lifecycle_correction;

-- 4. events in random order of arrival, ticks in between: the states end up the same
SELECT ls_reset();
CREATE FUNCTION ls_shuffled(part int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(track(ARRAY['user_id:' || p]::identifier[], event, '{}', at, format('m%s-%s', p, i))) FROM
		(SELECT *, hashtextextended(p || '-' || i, 7) AS h FROM ls_message ORDER BY h) m WHERE h & 7 = part
$$;
SELECT ls_shuffled(0), (SELECT count(*) > 5 FROM tick('2026-02-01')) AS ticked;
SELECT ls_shuffled(1), (SELECT count(*) > 5 FROM tick('2026-05-01')) AS ticked;
SELECT ls_shuffled(2), (SELECT count(*) > 5 FROM tick('2026-07-01')) AS ticked;
SELECT ls_shuffled(3), (SELECT count(*) > 5 FROM tick('2026-08-15')) AS ticked;
SELECT count(ls_shuffled(g)) FROM generate_series(4, 7) g;
SELECT task, done > 0 AS worked FROM tick('2026-12-31') WHERE task = 'lifecycle';
SELECT * FROM ls_check('2026-12-31') WHERE wrong > 0;
SELECT 'state' AS differs, s::text FROM (TABLE once_state EXCEPT SELECT * FROM ls_state()) s
UNION ALL SELECT 'state', s::text FROM (SELECT * FROM ls_state() EXCEPT TABLE once_state) s;
-- what was recorded stays, and corrections explain every break of the chain
SELECT count(*) > 0 AS some FROM lifecycle_correction;
SELECT count(*) AS unexplained
FROM (SELECT c.*, lag(to_stage) OVER w AS before, lag(tick_no) OVER w AS tick_before FROM lifecycle_change c WINDOW w AS (PARTITION BY profile_id ORDER BY at)) x
WHERE before IS DISTINCT FROM from_stage
  AND NOT EXISTS (SELECT FROM lifecycle_correction k WHERE k.profile_id = x.profile_id AND k.was_stage = before AND k.is_stage = x.from_stage);

-- 5. one story at a time
SELECT ls_reset();
CREATE FUNCTION ls_story(who text) RETURNS TABLE (at timestamptz, from_stage lifecycle_stage, to_stage lifecycle_stage, cause text) LANGUAGE sql AS $$
	SELECT at, from_stage, to_stage, cause FROM lifecycle_change
	WHERE profile_id = (SELECT profile_id FROM identifier_link WHERE identifier = who::identifier) ORDER BY at, tick_no $$;
-- a late event is seen at its instant as long as it contradicts nothing that was recorded …
SELECT count(track('{user_id:late}', 'purchase', at => at)) FROM unnest('{2026-01-01,2026-01-20}'::timestamptz[]) at;
SELECT done FROM tick('2026-01-21') WHERE task = 'lifecycle';
SELECT track('{user_id:late}', 'view', at => '2026-01-25') > 0;
SELECT done FROM tick('2026-01-26') WHERE task = 'lifecycle';
SELECT count(track('{user_id:late}', 'purchase', at => at)) FROM unnest('{2026-01-24,2026-01-25 12:00}'::timestamptz[]) at;
SELECT done FROM tick('2026-01-27') WHERE task = 'lifecycle';
SELECT * FROM ls_story('user_id:late');
-- … and a correction when it does: at risk, one thought
SELECT done FROM tick('2026-03-01') WHERE task = 'lifecycle';
SELECT track('{user_id:late}', 'purchase', at => '2026-02-20') > 0;
SELECT done FROM tick('2026-03-02') WHERE task = 'lifecycle';
SELECT * FROM ls_story('user_id:late');
SELECT at, was_stage, is_stage, cause FROM lifecycle_correction;
SELECT stage, since, due_at, known_at FROM lifecycle_state;
SELECT * FROM ls_check('2026-03-02') WHERE wrong > 0;

-- a backfill is silent, also what time did to it; an order today is not
SELECT track('{user_id:old}', 'view', at => '2026-03-03') > 0;
SELECT count(track('{user_id:old}', 'purchase', at => at, backfill => true)) FROM unnest('{2025-12-01,2025-12-05}'::timestamptz[]) at;
SELECT done FROM tick('2026-03-04') WHERE task = 'lifecycle';
SELECT * FROM ls_story('user_id:old');
SELECT track('{user_id:old}', 'purchase', at => '2026-03-05') > 0;
SELECT done FROM tick('2026-04-10') WHERE task = 'lifecycle';
SELECT * FROM ls_story('user_id:old') WHERE at > '2026-03-05' OR at = '2026-03-05';
SELECT count(track('{user_id:old}', 'purchase', at => at, backfill => true)) FROM unnest('{2026-04-01}'::timestamptz[]) at;
SELECT done FROM tick('2026-04-11') WHERE task = 'lifecycle';
SELECT at, was_stage, is_stage, cause FROM lifecycle_correction ORDER BY at;
SELECT * FROM ls_check('2026-04-11') WHERE wrong > 0;

-- a merge: the survivor takes over what the other bought, the other has no stage
SELECT track('{user_id:m1}', 'purchase', at => '2026-05-01') > 0, track('{email:m2@example.com}', 'purchase', at => '2026-05-02') > 0;
SELECT done FROM tick('2026-05-03') WHERE task = 'lifecycle';
SELECT identify('{user_id:m1,email:m2@example.com}', at => '2026-05-04') = resolve('user_id:m1');
SELECT done FROM tick('2026-05-05') WHERE task = 'lifecycle';
SELECT * FROM ls_story('user_id:m1');
SELECT * FROM ls_check('2026-05-05') WHERE wrong > 0;
-- an order that brings two together: the order did it when the other one never bought
SELECT track('{anonymous_id:m3}', 'view', at => '2026-05-04') > 0, track('{user_id:m4}', 'view', at => '2026-05-04') > 0;
SELECT done FROM tick('2026-05-05') WHERE task = 'lifecycle';
SELECT track('{anonymous_id:m3,user_id:m4}', 'purchase', at => '2026-05-06') > 0;
SELECT done FROM tick('2026-05-07') WHERE task = 'lifecycle';
SELECT * FROM ls_story('anonymous_id:m3');
SELECT * FROM ls_check('2026-05-07') WHERE wrong > 0;
-- a merge that nothing follows from
SELECT identify('{user_id:m4,email:m5@example.com}', at => '2026-05-08') > 0;
SELECT done FROM tick('2026-05-09') WHERE task = 'lifecycle';
SELECT count(*) FROM ls_story('anonymous_id:m3');

-- parted again: both go on from what was recorded of them, and say what they would without the merge
UPDATE profile SET canonical_id = profile_id WHERE profile_id = (SELECT profile_id FROM identifier_link WHERE identifier = 'email:m2@example.com');
UPDATE profile_merge SET undone_at = '2026-05-09' WHERE survivor = resolve('user_id:m1');
INSERT INTO profile_queue SELECT resolve(i), '2026-05-09', 'merge' FROM unnest('{user_id:m1,email:m2@example.com}'::identifier[]) i;
SELECT done FROM tick('2026-05-09 12:00') WHERE task = 'lifecycle';
SELECT * FROM ls_story('user_id:m1');
SELECT * FROM ls_story('email:m2@example.com');
SELECT value(identifier), stage, since, due_at FROM identifier_link JOIN lifecycle_state USING (profile_id) WHERE value(identifier) ~ '^m[12]' ORDER BY 1;
SELECT * FROM ls_check('2026-05-09 12:00') WHERE wrong > 0;

-- another policy: everybody moves at once, silently
UPDATE lifecycle_policy SET at_risk_after = '2 days', churned_after = '400 days' WHERE name = 'default';
SELECT task FROM rebuild('lifecycle', '2026-05-10');
SELECT * FROM ls_story('user_id:m1');
SELECT * FROM ls_story('user_id:m4');
SELECT stage, since, due_at, known_at FROM lifecycle_state WHERE profile_id = resolve('user_id:m4');
SELECT * FROM ls_check('2026-05-10') WHERE wrong > 0;

-- who is told: journeys hear of what events and time did, not of merges, policies and loaded history
SELECT ls_reset();
INSERT INTO journey_listener (source, name, journey, version, purpose)
SELECT 'enters', 'lifecycle:' || stage, 'nobody', 1, 'entry' FROM unnest(enum_range(NULL::lifecycle_stage)) stage;
CREATE FUNCTION ls_told(now timestamptz) RETURNS TABLE (who text, name text, at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM _fold_timelines(now, 1000);
	PERFORM _advance_lifecycle(now, 1000);
	RETURN QUERY WITH told AS (DELETE FROM journey_trigger RETURNING *)
	SELECT (SELECT value(min(l.identifier::text)::identifier) FROM identifier_link l JOIN profile p USING (profile_id) WHERE p.canonical_id = t.profile_id),
		   t.name, t.at FROM told t ORDER BY 1, 2;
END
$$;
SELECT track('{user_id:buys_at_once}', 'purchase', at => '2026-06-01') > 0, track('{user_id:looks}', 'view', at => '2026-06-01') > 0,
	   track('{user_id:history}', 'purchase', at => '2026-06-01', backfill => true) > 0;
SELECT * FROM ls_told('2026-06-02');
SELECT track('{user_id:looks}', 'purchase', at => '2026-06-02 12:00') > 0, track('{user_id:history}', 'purchase', at => '2026-06-02', backfill => true) > 0;
SELECT * FROM ls_told('2026-06-03');
SELECT identify('{user_id:buys_at_once,user_id:looks}', at => '2026-06-03') > 0;
SELECT * FROM ls_told('2026-06-03 12:00');
SELECT * FROM ls_told('2026-06-20');
DELETE FROM journey_listener;

-- kinds: no policy, no stages; a policy of their own, the same code
SELECT track('{store:s1}', 'purchase', at => '2026-05-10') > 0;
SELECT done FROM tick('2026-05-11') WHERE task = 'lifecycle';
SELECT lifecycle_at(resolve('store:s1'), '2026-05-12'), (SELECT count(*) FROM lifecycle_state WHERE profile_id = resolve('store:s1'));
INSERT INTO lifecycle_policy (name, kind, at_risk_after, churned_after) VALUES ('shops', 'store', '1 day', '2 days');
SELECT task FROM rebuild('lifecycle', '2026-05-12 12:00');
SELECT * FROM ls_story('store:s1');
DELETE FROM lifecycle_policy WHERE name = 'shops';
SELECT done FROM tick('2026-06-01') WHERE task = 'lifecycle';
SELECT lifecycle_at(resolve('store:s1'), '2026-05-12'), (SELECT due_at FROM lifecycle_state WHERE profile_id = resolve('store:s1'));
SELECT task FROM rebuild('lifecycle', '2026-06-02');
SELECT count(*) FROM lifecycle_state WHERE profile_id = resolve('store:s1');
SELECT tags.stage FROM unnest(enum_range(NULL::lifecycle_stage)) AS tags (stage) WHERE tagged('lifecycle:' || stage) @> resolve('store:s1');

-- The clock is set to a past day, the merge says nothing about its time (now):
-- timelines are joined at once, so the next tick sees it.
SELECT track('{user_id:past1}', 'purchase', at => '2025-05-01') > 0, track('{user_id:past2}', 'purchase', at => '2025-05-02') > 0;
SELECT done FROM tick('2025-05-03') WHERE task = 'lifecycle';
SELECT merge(resolve('user_id:past1'), resolve('user_id:past2'), at => '2032-01-01') > 0;
SELECT done FROM tick('2025-05-04') WHERE task = 'lifecycle';
SELECT done FROM tick('2025-05-04') WHERE task = 'lifecycle';
SELECT * FROM ls_story('user_id:past1');
SELECT stage, since, due_at, has_tag(profile_id, 'lifecycle:repeat'), has_tag(profile_id, 'lifecycle:first_purchase')
FROM lifecycle_state WHERE profile_id = resolve('user_id:past2');

-- lifecycle_at: a merged profile answers for its canonical one; nobody is nobody
SELECT lifecycle_at(p.profile_id, '2026-05-05') FROM profile p WHERE p.canonical_id = resolve('user_id:m1') ORDER BY 1;
SELECT lifecycle_at(-1, '2026-05-05'), lifecycle_at(resolve('user_id:m1'), '2020-01-01'), lifecycle_at(NULL, '2026-05-05');

DROP TABLE ls_message, ls_day, ls_before, once_state, once_change;
DROP FUNCTION ls_load, ls_state, ls_change, ls_check, ls_reset, ls_shuffled, ls_story, ls_told;
