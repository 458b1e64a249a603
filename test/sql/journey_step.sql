-- Steps: split, switch, wait_until, wait_for, set_trait, journey; holdout and control group.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set VERBOSITY terse

CREATE FUNCTION pg_temp.person(who text) RETURNS bigint LANGUAGE sql AS $$ SELECT cdp.identify(ARRAY['user_id:' || who]::cdp.identifier[], at => '2026-01-01Z') $$;
CREATE FUNCTION pg_temp.happens(who text, event text, at timestamptz, label text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	SELECT cdp.track(ARRAY['user_id:' || who]::cdp.identifier[], event, jsonb_strip_nulls(jsonb_build_object('product_id', label)), at)
$$;
CREATE FUNCTION pg_temp.clock(at timestamptz) RETURNS void LANGUAGE sql AS $$ SELECT cdp._fold_timelines(at, 100000); SELECT cdp.advance_journeys(at) $$;
CREATE FUNCTION pg_temp.make(name text, steps jsonb, more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	SELECT cdp.create_journey(name, jsonb_build_object('entry', jsonb '{"manual": true}', 'start', 'a', 'steps', steps) || more);
	SELECT cdp.activate_journey(name)
$$;
CREATE VIEW pg_temp.story AS
	SELECT l.journey, cdp.value(i.identifier) AS who, l.at, l.what, l.step, l.detail
	FROM cdp.journey_log l JOIN cdp.identifier_link i USING (profile_id) ORDER BY l.journey, who, l.log_id;

-- wait_for: the event, the timeout, an event of one instant with the arrival, the wrong label
SELECT pg_temp.make('hold', '{"a": {"wait_for": {"on": ["purchase[$]", "call"]}, "timeout": "3d", "next": "b", "else": "c"},
	"b": {"tag": "came", "next": "end"}, "c": {"tag": "stayed", "next": "end"}}');
SELECT enter_journey('hold', pg_temp.person(w), '{"label": "x"}', '2026-02-01Z') > 0 AS entered FROM unnest('{buys,late,other,calls,never,edge}'::text[]) w;
SELECT pg_temp.happens('buys', 'purchase', '2026-02-02 10:00Z', 'x'), pg_temp.happens('late', 'purchase', '2026-02-04 00:00:00.000001Z', 'x'),
	pg_temp.happens('other', 'purchase', '2026-02-02Z', 'y'), pg_temp.happens('calls', 'call', '2026-02-01 00:00:00.000001Z'), pg_temp.happens('never', 'call', '2026-02-01Z'),
	pg_temp.happens('edge', 'purchase', '2026-02-04Z', 'x');
SELECT pg_temp.clock('2026-02-10Z');
SELECT who, at, what, step, detail FROM pg_temp.story WHERE journey = 'hold' AND step = 'a' AND what = 'step';
-- a punctual clock says the same
SELECT enter_journey('hold', pg_temp.person(w || '2'), '{"label": "x"}', '2026-02-01Z') > 0 AS entered FROM unnest('{buys,edge,never}'::text[]) w;
SELECT pg_temp.happens('buys2', 'purchase', '2026-02-02 10:00Z', 'x'), pg_temp.happens('edge2', 'purchase', '2026-02-04Z', 'x');
SELECT count(pg_temp.clock(t)) FROM generate_series(timestamptz '2026-02-01Z', '2026-02-10Z', '6 h') t;
SELECT who, at, detail FROM pg_temp.story WHERE journey = 'hold' AND step = 'a' AND what = 'step' AND who LIKE '%2';

-- switch: the first that holds
SELECT pg_temp.make('which', '{"a": {"switch": [{"when": "gold", "next": "g"}, {"when": "gold | silver", "next": "s"}], "else": "o"},
	"g": {"tag": "to_g", "next": "end"}, "s": {"tag": "to_s", "next": "end"}, "o": {"tag": "to_o", "next": "end"}}');
SELECT tag(pg_temp.person('g1'), 'gold'), tag(pg_temp.person('g1'), 'silver'), tag(pg_temp.person('s1'), 'silver');
SELECT enter_journey('which', pg_temp.person(w), '{}', '2026-02-01Z') > 0 AS entered FROM unnest('{g1,s1,o1}'::text[]) w;
SELECT pg_temp.clock('2026-02-02Z');
SELECT w, tags_of(pg_temp.person(w)) FROM unnest('{g1,s1,o1}'::text[]) w;

-- split: shares, the same way every time, variants
SELECT pg_temp.make('ab', '{"a": {"split": [{"share": 0.2, "next": "b", "name": "small"}, {"share": 0.8, "next": "c"}]},
	"b": {"wait": "1d", "next": "end"}, "c": {"split": [{"share": 0.5, "next": "d"}, {"share": 0.5, "next": "end", "name": "rest"}]}, "d": {"wait": "1d", "next": "end"}}');
SELECT enter_journey('ab', (SELECT rb_build_agg(pg_temp.person('crowd' || g)) FROM generate_series(1, 1000) g), '{}', '2026-02-01Z');
SELECT advance_journeys('2026-02-03Z') > 0;
SELECT variant, count(*) BETWEEN share * 1000 - 60 AND share * 1000 + 60 AS fair
FROM journey_state JOIN (VALUES ('small', 0.2), ('c/d', 0.4), ('c/rest', 0.4)) v(variant, share) USING (variant) WHERE journey = 'ab' GROUP BY variant, share ORDER BY variant;
SELECT enter_journey('ab', (SELECT rb_build_agg(profile_id) FROM journey_state WHERE journey = 'ab'), '{}', '2026-03-01Z');
SELECT advance_journeys('2026-03-03Z') > 0;
SELECT count(*) AS changed_sides FROM (SELECT 1 FROM journey_state WHERE journey = 'ab' GROUP BY profile_id HAVING count(DISTINCT variant) > 1) x;
-- two places draw independently
SELECT abs(corr(_draw('p', g), _draw('q', g))) < 0.05 AS independent, min(_draw('p', g)) >= 0, max(_draw('p', g)) < 1, abs(avg(_draw('p', g)) - 0.5) < 0.02 FROM generate_series(1, 5000) g;

-- holdout and control group: a run row, no steps, goals still count
SELECT pg_temp.make('held', '{"a": {"send": {"channel": "push", "template": "t"}, "next": "end"}}', '{"holdout": 0.3, "goal": {"on": "purchase", "within": "7d"}}');
SELECT pg_temp.make('receipt', '{"a": {"send": {"channel": "push", "template": "t"}, "next": "end"}}', '{"purpose": "transactional"}');
INSERT INTO control_group VALUES (0.1, 'winter');
SELECT enter_journey(j, (SELECT rb_build_agg(pg_temp.person('crowd' || g)) FROM generate_series(1, 1000) g), '{}', '2026-02-01Z') FROM unnest('{held,receipt}'::text[]) j;
SELECT pg_temp.clock('2026-02-02Z');
SELECT journey, variant, status, outcome, count(*) > 60 AS many, bool_and(due_at IS NULL) AS done FROM journey_state WHERE journey IN ('held', 'receipt') GROUP BY 1, 2, 3, 4 ORDER BY 1, 2;
SELECT count(*) FROM outbox o JOIN journey_state s USING (run_id) WHERE s.variant <> '';
SELECT rb_equals(audience('held_out:held'), (SELECT rb_build_agg(profile_id) FROM journey_state WHERE journey = 'held' AND variant <> '')) AS tagged_held_out, audience_count('journey:held');
SELECT pg_temp.happens(i.value, 'purchase', '2026-02-03Z')
FROM (SELECT value(min(identifier)) FROM identifier_link JOIN journey_state s USING (profile_id) WHERE s.journey = 'held' AND variant = 'holdout') i(value);
SELECT pg_temp.clock('2026-02-04Z');
SELECT s.variant, l.what FROM journey_log l JOIN journey_state s USING (run_id) WHERE l.journey = 'held' AND l.what = 'goal';
-- the same people again
SELECT enter_journey('held', (SELECT rb_build_agg(profile_id) FROM journey_state WHERE journey = 'held'), '{}', '2026-03-01Z');
SELECT count(*) AS changed_sides FROM (SELECT 1 FROM journey_state WHERE journey = 'held' GROUP BY profile_id HAVING count(DISTINCT variant) > 1) x;
DELETE FROM control_group;

-- set_trait and journey
SELECT pg_temp.make('inner', '{"a": {"tag": "inside", "next": "end"}}', '{"entry": {"manual": true, "key": "label"}}');
SELECT pg_temp.make('outer', '{"a": {"set_trait": {"last_sku": "sku {{entry.label}}", "score": 5}, "next": "b"}, "b": {"journey": "inner", "next": "c"}, "c": {"journey": "nowhere", "next": "end"}}',
	'{"entry": {"manual": true, "key": "label"}}');
SELECT enter_journey('outer', pg_temp.person('o2'), jsonb_build_object('label', l), '2026-02-01Z') > 0 AS entered FROM unnest('{x,y}'::text[]) l;
SELECT pg_temp.clock('2026-02-02Z');
SELECT trait(pg_temp.person('o2'), 'last_sku'), trait(pg_temp.person('o2'), 'score'), tags_of(pg_temp.person('o2'));
SELECT journey, what, step, detail FROM pg_temp.story WHERE who = 'o2';
