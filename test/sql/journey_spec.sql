-- What a spec may say: every error names its path, whatever the kind of step, and no spec that is accepted can run for ever at one instant.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set VERBOSITY terse
CREATE FUNCTION pg_temp.try(spec jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.create_journey('try', spec);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION pg_temp.steps(steps jsonb, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('entry', jsonb '{"on": "cart"}', 'start', 'a', 'steps', steps) || more $$;

-- each kind of step, first as it should be, then what is wrong with it
SELECT step, pg_temp.try(pg_temp.steps(jsonb_build_object('a', step::jsonb, 'b', jsonb '{"tag": "x", "next": "end"}')))
FROM (VALUES (1, '{"switch": [{"when": "vip", "next": "b"}, {"when": "count(buy[$]) > 1", "next": "end"}], "else": "end"}'), (2, '{"switch": [{"when": "vip", "next": "b"}, {"when": "vip &", "next": "end"}], "else": "end"}'),
	(3, '{"switch": [{"when": "vip"}], "else": "b"}'), (4, '{"switch": [{"when": "vip", "next": "c"}], "else": "b"}'), (5, '{"switch": [{"next": "b"}], "else": "end"}'), (6, '{"switch": [{"when": "vip", "next": "b"}]}'), (7, '{"switch": [{"when": "vip", "next": "b", "then": "end"}], "else": "end"}'), (8, '{"switch": ["vip"], "else": "b"}'),
	(10, '{"split": [{"share": 0.5, "next": "b"}, {"share": 0.5, "next": "end"}]}'), (11, '{"split": [{"share": 0.5, "next": "b"}, {"share": 0.6, "next": "end"}]}'), (12, '{"split": [{"share": "half", "next": "b"}, {"share": 0.5, "next": "end"}]}'), (13, '{"split": [{"share": -1, "next": "b"}, {"share": 2, "next": "end"}]}'),
	(14, '{"split": [{"share": 0.5, "next": "b"}, {"share": 0.5}]}'), (15, '{"split": [{"share": 0.5, "next": "b"}, {"share": 0.5, "next": "b"}]}'), (16, '{"split": [{"share": 0.5, "next": "b", "name": "x/y"}, {"share": 0.5, "next": "end"}]}'), (17, '{"split": [{"share": 0.5, "next": "b"}, {"share": 0.5, "next": "end"}], "next": "b"}'),
	(20, '{"wait_for": {"on": ["buy", "call"]}, "timeout": "1d", "next": "b", "else": "end"}'), (21, '{"wait_for": {"on": ["buy", "call["]}, "timeout": "1d", "next": "b", "else": "end"}'), (22, '{"wait_for": {"on": "buy"}, "next": "b", "else": "end"}'), (23, '{"wait_for": {"on": "buy"}, "timeout": "1d", "next": "b"}'),
	(24, '{"wait_for": {"when": "vip"}, "timeout": "1d", "next": "b", "else": "end"}'), (25, '{"wait_for": {}, "timeout": "1d", "next": "b", "else": "end"}'),
	(30, '{"send": {"channel": ["email", "sms"], "template": "t", "to": {"relation": "rep"}, "if_capped": "wait"}, "next": "b"}'), (31, '{"send": {"channel": ["email", ""], "template": "t"}, "next": "b"}'), (32, '{"send": {"channel": [], "template": "t"}, "next": "b"}'), (33, '{"send": {"channel": "email", "template": "t", "to": "rep"}, "next": "b"}'),
	(34, '{"send": {"channel": "email", "template": "t", "to": {"role": "rep"}}, "next": "b"}'), (35, '{"send": {"channel": "email", "template": "t", "if_capped": "retry"}, "next": "b"}'), (36, '{"send": {"channel": "email", "template": "t", "purpose": "marketing"}, "next": "b"}'), (37, '{"send": "email", "next": "b"}'),
	(40, '{"set_trait": {"last": "{{entry.label}}", "n": 3, "gone": null}, "next": "b"}'), (41, '{"set_trait": {"last": "{{entry.lable}}"}, "next": "b"}'), (42, '{"set_trait": ["last"], "next": "b"}'), (43, '{"set_trait": {"last": {"a": 1}}, "next": "b"}'),
	(50, '{"journey": "other", "next": "b"}'), (51, '{"journey": "", "next": "b"}'), (52, '{"untag": "x:y", "next": "b"}'), (53, '{"untag": "segment:big", "next": "b"}'), (54, '{"wait": "1d", "then": "b"}'), (55, '{"jump": "b"}'), (56, '"b"'), (57, 'null'), (58, '{"set_trait": {"": 1}, "next": "b"}'), (59, '{"split": [{"share": 0.5, "next": "b", "name": "control"}, {"share": 0.5, "next": "end"}]}'), (60, '{"split": [{"share": 0.5, "next": "b", "name": "all"}, {"share": 0.5, "next": "end"}]}'), (61, '{"split": [{"share": 0.5, "next": "b", "name": "holdout"}, {"share": 0.5, "next": "end"}]}'), (62, '{"split": [{"share": 1e-400, "next": "b"}, {"share": 1, "next": "end"}]}')) v(no, step) ORDER BY no;

-- what cannot be reached, and loops: any step in the ring may be the one that is named, but it is on the ring
SELECT steps, pg_temp.try(pg_temp.steps(steps::jsonb))
FROM (VALUES (1, '{"a": {"tag": "x", "next": "end"}, "b": {"tag": "x", "next": "end"}}'), (2, '{"a": {"tag": "x", "next": "end"}, "b": {"wait": "1d", "next": "b"}}'), (3, '{"a": {"tag": "x", "next": "a"}}'),
	(4, '{"a": {"tag": "x", "next": "b"}, "b": {"untag": "x", "next": "c"}, "c": {"if": "vip", "then": "b", "else": "end"}}'), (5, '{"a": {"wait_until": "09:00", "next": "a"}}'), (6, '{"a": {"wait": "1s", "next": "a"}}'),
	(7, '{"a": {"wait_for": {"on": "buy"}, "timeout": "1d", "next": "a", "else": "a"}}'), (8, '{"a": {"split": [{"share": 0.9, "next": "a"}, {"share": 0.1, "next": "end"}]}}'), (9, '{"a": {"switch": [{"when": "none", "next": "a"}], "else": "end"}}'),
	(10, '{"a": {"send": {"channel": "email", "template": "t"}, "next": "b"}, "b": {"wait_until": {"trait": "day"}, "next": "a"}}'), (11, '{"a": {"wait": "1d", "next": "b"}, "b": {"tag": "x", "next": "c"}, "c": {"untag": "x", "next": "b"}}')) v(no, steps) ORDER BY no;

-- random graphs against the definition: a step that leads back to itself with nothing but steps that do not wait in between
CREATE TEMP TABLE graph AS
SELECT g, jsonb_object_agg('s' || n, CASE k WHEN 0 THEN jsonb_build_object('wait', '1h', 'next', a) WHEN 1 THEN jsonb_build_object('wait_for', jsonb '{"on": "x"}', 'timeout', '1d', 'next', a, 'else', b)
	WHEN 2 THEN jsonb_build_object('switch', jsonb_build_array(jsonb_build_object('when', 'x', 'next', a)), 'else', b) WHEN 3 THEN jsonb_build_object('if', 'x', 'then', a, 'else', b) ELSE jsonb_build_object('tag', 'x', 'next', a) END) AS steps
FROM (SELECT g, n, abs(hashint8extended(g * 100 + n, 1) % 8) AS k, to_json('s' || abs(hashint8extended(g * 100 + n, 2) % 12)) AS a, to_json('s' || abs(hashint8extended(g * 100 + n, 3) % 12)) AS b FROM generate_series(1, 400) g, generate_series(0, 7) n) x GROUP BY g;
WITH RECURSIVE edge AS (
	SELECT g, e.key, t.target FROM graph CROSS JOIN LATERAL jsonb_each(steps) e CROSS JOIN LATERAL _step_targets(e.value) t WHERE NOT e.value ?| '{wait,wait_for}'
), reaches AS (
	TABLE edge UNION SELECT r.g, r.key, e.target FROM reaches r JOIN edge e ON e.g = r.g AND e.key = r.target
)
SELECT named IS NOT NULL AS endless, count(*) > 50 AS many, count(*) FILTER (WHERE (named IS NULL) <> (r.loops IS NULL) OR named <> ALL (r.loops)) AS wrong
FROM (SELECT g, _endless_step(steps) AS named FROM graph) x LEFT JOIN (SELECT g, array_agg(key) AS loops FROM reaches WHERE key = target GROUP BY g) r USING (g) GROUP BY 1 ORDER BY 1;
-- the most steps there may be, in a row
SELECT pg_temp.try(pg_temp.steps((SELECT jsonb_object_agg(CASE n WHEN 1 THEN 'a' ELSE 's' || n END, jsonb_build_object('tag', 'x', 'next', CASE n WHEN 1000 THEN 'end' ELSE 's' || n + 1 END)) FROM generate_series(1, 1000) n)));

-- the other settings
SELECT more, pg_temp.try(pg_temp.steps('{"a": {"tag": "x", "next": "end"}}', more::jsonb))
FROM (VALUES (1, '{"holdout": 1}'), (2, '{"holdout": -0.1}'), (3, '{"holdout": 0}'), (4, '{"holdout": "5%"}'), (5, '{"timezone": "Mars/Base"}'), (6, '{"timezone": "Asia/Shanghai"}'), (7, '{"from": "2026-03-01", "to": "2026-02-01"}'), (8, '{"from": "2026-03-01", "to": "2026-03-01"}'),
	(9, '{"campaign": 7}'), (10, '{"kind": ""}'), (11, '{"priority": -1}'), (12, '{"priority": 101}'), (17, '{"priority": 50.0}'), (18, '{"priority": 100}'), (13, '{"goal": {"on": ["a"], "within": "1d"}}'), (14, '{"goal": {"on": "a", "within": "0d"}}'), (15, '{"exit": [{"on": ["a"]}]}'), (16, '{"exit": []}'), (19, '{"holdout": 1e-400}'), (20, '{"holdout": 0.99999999999999999999}')) v(no, more) ORDER BY no;

-- two journeys that start each other stop: nobody enters twice at one instant
SELECT create_journey('ping', '{"entry": {"manual": true}, "start": "a", "steps": {"a": {"journey": "pong", "next": "end"}}}'), create_journey('pong', '{"entry": {"manual": true}, "start": "a", "steps": {"a": {"journey": "ping", "next": "end"}}}'),
	activate_journey('ping'), activate_journey('pong');
-- and so do two that hand a tag back and forth
SELECT create_journey('on', '{"entry": {"enters": "lamp"}, "start": "a", "steps": {"a": {"untag": "lamp", "next": "end"}}}'), create_journey('off', '{"entry": {"leaves": "lamp"}, "start": "a", "steps": {"a": {"tag": "lamp", "next": "end"}}}'), activate_journey('on'), activate_journey('off');
SELECT identify('{user_id:u}', at => '2026-01-01Z') > 0 AS made;
SELECT enter_journey('ping', resolve('user_id:u'), '{}', '2026-01-02Z') > 0 AS entered, tag(resolve('user_id:u'), 'lamp', NULL, '2026-01-02Z');
SELECT advance_journeys('2026-01-03Z') BETWEEN 1 AND 20 AS stops, advance_journeys('2026-01-03Z') AS nothing_left;
SELECT journey, what, detail FROM journey_log WHERE what IN ('entered', 'refused') ORDER BY log_id;
-- also when it is an entry into a past that later entries have followed
SELECT enter_journey('ping', resolve('user_id:u'), '{}', '2026-01-01 12:00Z') > 0 AS entered, advance_journeys('2026-01-03Z') BETWEEN 1 AND 20 AS stops;
-- names: letters of any script, whatever the locale of the database
CREATE FUNCTION pg_temp.named(name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.create_journey(name, '{"entry": {"manual": true}, "start": "a", "steps": {"a": {"wait": "1h", "next": "end"}}}');
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
SELECT left(x, 20) AS name, pg_temp.named(x) FROM unnest(ARRAY['有名', 'Ünï.1', 'x/y.z-1', repeat('a', 100), repeat('a', 101), '', 'a b', '-a', 'a-', 'a:b', 'a"b', E'a\nb']) x;
