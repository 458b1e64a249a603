-- A discrete-event oracle: random worlds of journeys with all kinds of steps, random histories and
-- clocks, replayed for one person after the other by a plain simulation that was written from
-- docs/reference/journey.md: same entries, messages, times and reasons.
-- ORACLE_WORLDS=300 ORACLE_SEED=7 in the environment make it long and different.  A world has five
-- journeys and five people; a third of the worlds has a punctual clock (and everything that can
-- happen from outside: reports of what became of messages, tags, traits, moves to another zone, events that arrive late or are loaded as history, entries by hand, pauses, versions, suppression, schedules), a third one that
-- ticks now and then in small bites, a third a single late tick.  Chance itself (splits, holdouts) is taken from _draw.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
\set VERBOSITY terse
\set worlds 8
\set seed 1
\getenv worlds ORACLE_WORLDS
\getenv seed ORACLE_SEED

CREATE FUNCTION pg_temp.rnd(what text, n int) RETURNS int LANGUAGE sql IMMUTABLE RETURN mod(abs(hashtextextended(what, :seed) / 2), n)::int;
CREATE FUNCTION pg_temp.pick(what text, VARIADIC options text[]) RETURNS text LANGUAGE sql IMMUTABLE RETURN options[1 + pg_temp.rnd(what, cardinality(options))];
CREATE FUNCTION pg_temp.base() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '2026-03-27Z' $$;	-- Berlin springs forward on the 29th, Sydney falls back on the 5th
CREATE FUNCTION pg_temp.mode(w int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ('{punctual,sometimes,late}'::text[])[1 + w % 3] $$;

-- random worlds: rules, specs, people, what happens

CREATE FUNCTION pg_temp.some_event(s text, w int, labelled boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE pg_temp.rnd(s || 'opened', 9) WHEN 0 THEN 'message_opened' ELSE pg_temp.pick(s || 'ev', 'a', 'b', 'c') || w END || CASE WHEN labelled THEN pg_temp.pick(s || 'la', '', '', '[$]', '[x]') ELSE pg_temp.pick(s || 'la', '', '[x]') END
$$;
CREATE FUNCTION pg_temp.some_term(s text, w int, labelled boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE pg_temp.rnd(s || 'term', 9)
		WHEN 0 THEN format('last(%s) > %s', pg_temp.some_event(s, w, labelled), pg_temp.pick(s || 'w', '6h', '1d', '2d'))
		WHEN 1 THEN 'gold' || w
		WHEN 2 THEN '!gold' || w
		WHEN 3 THEN format('tier = "%s"', pg_temp.pick(s || 'tier', 'one', 'two'))
		WHEN 4 THEN format('count(message_sent, %s) %s %s', pg_temp.pick(s || 'w', '6h', '1d', '2d'), pg_temp.pick(s || 'op', '<', '>='), 1 + pg_temp.rnd(s || 'n', 2))
		ELSE format('count(%s%s) %s %s', pg_temp.some_event(s, w, labelled), pg_temp.pick(s || 'w', '', ', 12h', ', 1d', ', 3d'), pg_temp.pick(s || 'op', '>=', '=', '<'), pg_temp.rnd(s || 'n', 3))
	END
$$;
CREATE FUNCTION pg_temp.some_rule(s text, w int, labelled boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT pg_temp.some_term(s, w, labelled) || pg_temp.pick(s || 'and', '', '', ' & ' || pg_temp.some_term(s || 2, w, labelled), ' | ' || pg_temp.some_term(s || 3, w, labelled))
$$;

CREATE FUNCTION pg_temp.some_send(s text, w int, i int) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('template', 's' || i,
		'channel', pg_temp.pick(s || 'ch', to_json('mail' || w)::text, to_json('text' || w)::text, format('["mail%s", "text%1$s"]', w), format('["text%s", "mail%1$s"]', w))::jsonb,
		'expires', pg_temp.pick(s || 'ex', NULL, NULL, '6h', '2d'), 'if_capped', pg_temp.pick(s || 'ic', NULL, 'skip', 'wait', 'wait', 'exit'),
		'to', pg_temp.pick(s || 'to', NULL, NULL, NULL, NULL, '"self"', '{"relation": "rep"}')::jsonb,
		'params', pg_temp.pick(s || 'pa', NULL, '{"l": "{{entry.label}}", "t": "a {{ trait.tier }}", "n": 3}', '{"v": "{{entry.value}}{{context.k}}", "e": "{{entry.event}} {{entry.at}}"}')::jsonb))
$$;

CREATE FUNCTION pg_temp.some_step(s text, w int, i int, next text, other text, back text, labelled boolean) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE pg_temp.rnd(s || 'kind', 20)
		WHEN 0 THEN jsonb_build_object('wait', pg_temp.pick(s, '7h', '1d', '2d'), 'next', back)
		WHEN 1 THEN jsonb_build_object('wait', pg_temp.pick(s, '2h', '12h', '2d'), 'next', next)
		WHEN 2 THEN jsonb_build_object('wait_until', pg_temp.pick(s, '"09:00"', '"02:00"', '{"time": "00:00"}')::jsonb, 'next', next)
		WHEN 3 THEN jsonb_build_object('wait_until', pg_temp.pick(s, '{"weekday": "monday"}', '{"weekday": ["sunday", "Wednesday"], "time": "02:00"}')::jsonb, 'next', next)
		WHEN 4 THEN jsonb_build_object('wait_until', pg_temp.pick(s, '{"trait": "day"}', '{"trait": "day", "time": "10:00"}', '{"trait": "day", "offset": "-1d", "time": "02:00"}', '{"trait": "day", "offset": "+12h"}')::jsonb, 'next', next)
		WHEN 5 THEN jsonb_build_object('wait_for', jsonb_build_object('on', CASE pg_temp.rnd(s || 'n', 2) WHEN 0 THEN to_jsonb(pg_temp.some_event(s, w, labelled))
									ELSE jsonb_build_array(pg_temp.some_event(s, w, labelled), 'c' || w) END), 'timeout', pg_temp.pick(s || 'to', '6h', '1d', '2d'), 'next', next, 'else', other)
		WHEN 6 THEN jsonb_build_object('wait_for', jsonb_build_object('on', pg_temp.some_event(s, w, labelled)), 'timeout', pg_temp.pick(s || 'to', '6h', '1d'), 'next', back, 'else', next)
		WHEN 7 THEN jsonb_build_object('if', pg_temp.some_rule(s, w, labelled), 'then', next, 'else', other)
		WHEN 8 THEN jsonb_build_object('switch', jsonb_build_array(jsonb_build_object('when', pg_temp.some_rule(s, w, labelled), 'next', other), jsonb_build_object('when', pg_temp.some_rule(s || 'b', w, labelled), 'next', next)), 'else', 'end')
		WHEN 9 THEN jsonb_build_object('split', jsonb_build_array(jsonb_build_object('share', 0.3, 'next', other, 'name', pg_temp.pick(s, 'left', 'A')), jsonb_build_object('share', 0.7, 'next', next)))
		WHEN 10 THEN jsonb_build_object(pg_temp.pick(s, 'tag', 'tag', 'untag'), 'gold' || w, 'next', next)
		WHEN 11 THEN jsonb_build_object('set_trait', pg_temp.pick(s, '{"tier": "one"}', '{"tier": "two", "day": "2026-03-31"}', '{"day": "2026-04-02T11:00:00Z", "last": "{{entry.label}}"}')::jsonb, 'next', next)
		WHEN 12 THEN jsonb_build_object('journey', format('w%sj%s', w, 1 + pg_temp.rnd(s, 6)), 'next', next)
		ELSE jsonb_build_object('send', pg_temp.some_send(s, w, i), 'next', next) END
$$;

CREATE FUNCTION pg_temp.some_spec(s text, w int) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	n		int := 2 + pg_temp.rnd(s || 'steps', 6);
	punctual boolean := pg_temp.mode(w) = 'punctual';
	entry	jsonb := CASE pg_temp.rnd(s || 'entry', 9)
		WHEN 0 THEN jsonb_build_object('enters', 'gold' || w)
		WHEN 1 THEN jsonb_build_object('leaves', 'gold' || w)
		WHEN 2 THEN CASE WHEN punctual THEN jsonb_build_object('who', format('world%s & %s', w, pg_temp.some_term(s || 'who', w, false)), 'at', pg_temp.pick(s, '2026-03-28T06:00', '2026-03-29', '2026-03-31T12:00Z')) ||
						pg_temp.pick(s || 'every', '{}', '{"every": "2d"}', '{"every": "36h"}')::jsonb ELSE jsonb_build_object('on', 'b' || w) END
		WHEN 3 THEN jsonb_build_object('on', jsonb_build_array('a' || w, 'b' || w || '[x]'))
		WHEN 4 THEN CASE WHEN punctual THEN jsonb '{"manual": true}' ELSE jsonb_build_object('on', 'c' || w) END
		ELSE jsonb_build_object('on', pg_temp.pick(s || 'on', 'a', 'a', 'b', 'c') || w) END;
	labelled boolean := entry ?| '{on,manual}';
	steps	jsonb := '{}';
	i		int;
	seen	text[] := '{s1}';
BEGIN
	entry := jsonb_strip_nulls(entry || jsonb_build_object('when', pg_temp.pick(s || 'when', NULL, NULL, pg_temp.some_rule(s || 'when', w, labelled)), 'key', CASE WHEN labelled THEN pg_temp.pick(s || 'key', NULL, NULL, 'label') END))
		|| pg_temp.pick(s || 'reentry', '{}', '{}', '{"reentry": "once"}', '{"reentry": "cooldown", "cooldown": "1d"}', '{"reentry": "always"}')::jsonb;
	FOR i IN 1 .. n LOOP
		steps := steps || jsonb_build_object('s' || i, pg_temp.some_step(s || i, w, i, CASE i WHEN n THEN 'end' ELSE 's' || i + 1 END,
			CASE pg_temp.rnd(s || i || 'oth', 3) WHEN 0 THEN 'end' ELSE 's' || least(n, i + 1 + pg_temp.rnd(s || i || 'other', 3)) END, CASE pg_temp.rnd(s || i || 'back', 3) WHEN 0 THEN 's1' WHEN 1 THEN 's' || i ELSE 'end' END, labelled));
		IF steps #>> ARRAY['s' || i, 'else'] = 's' || i OR (steps -> ('s' || i))::text ~ format('"next": "s%s"', i) AND NOT steps -> ('s' || i) ?| '{wait,wait_for}' OR steps #>> ARRAY['s' || i, 'switch', '0', 'next'] = 's' || i THEN
			steps := jsonb_set(steps, ARRAY['s' || i], jsonb_build_object('send', pg_temp.some_send(s || i || 'x', w, i), 'next', CASE i WHEN n THEN 'end' ELSE 's' || i + 1 END));
		END IF;
	END LOOP;
	FOR i IN 1 .. n LOOP	-- forward edges first, so one pass finds all that can be reached
		IF 's' || i = ANY (seen) THEN
			seen := seen || ARRAY(SELECT m[1] FROM regexp_matches((steps -> ('s' || i))::text, '"(?:next|then|else)": "(s\d)"', 'g') m);
		ELSE
			steps := steps - ('s' || i);
		END IF;
	END LOOP;
	RETURN jsonb_strip_nulls(jsonb_build_object('entry', entry, 'start', 's1', 'steps', steps,
		'exit', pg_temp.pick(s || 'exit', NULL, NULL, jsonb_build_array(jsonb_build_object('on', pg_temp.some_event(s || 'x', w, labelled)))::text, jsonb_build_array(jsonb_build_object('when', pg_temp.some_rule(s || 'x', w, labelled)))::text,
			jsonb_build_array(jsonb_build_object('when', pg_temp.some_rule(s || 'x', w, labelled)), jsonb_build_object('on', 'c' || w))::text)::jsonb,
		'goal', CASE pg_temp.rnd(s || 'goal', 3) WHEN 0 THEN jsonb_build_object('on', pg_temp.some_event(s || 'g', w, labelled), 'within', pg_temp.pick(s || 'w', '12h', '2d')) END,
		'holdout', CASE pg_temp.rnd(s || 'hold', 4) WHEN 0 THEN 0.2 END, 'priority', pg_temp.pick(s || 'prio', NULL, '10', '50', '90')::jsonb,
		'purpose', pg_temp.pick(s || 'purp', NULL, NULL, NULL, 'marketing', 'marketing', 'transactional', 'news'), 'campaign', pg_temp.pick(s || 'camp', NULL, 'spring'),
		'timezone', pg_temp.pick(s || 'tz', NULL, NULL, 'Australia/Sydney'), 'from', pg_temp.pick(s || 'from', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-03-29'), 'to', pg_temp.pick(s || 'until', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-04-02T06:00Z')));
END
$$;

CREATE TEMP TABLE spec AS
SELECT w, format('w%sj%s', w, j) AS journey, 1 + v AS version, x.spec, coalesce((x.spec ->> 'priority')::int, 50) AS priority, coalesce(x.spec ->> 'purpose', 'marketing') AS purpose
FROM generate_series(1, :worlds) w, generate_series(1, 5) j, generate_series(0, CASE WHEN w % 3 = 0 AND j IN (2, 3) THEN 1 ELSE 0 END) v, LATERAL (SELECT pg_temp.some_spec(format('%s/%s/%s', w, j, v), w) AS spec) x;
CREATE INDEX ON spec (journey, version); CREATE INDEX ON spec (w);
CREATE TEMP TABLE person AS
SELECT w, p, format('w%sp%s', w, p) AS name, NULL::bigint AS id, pg_temp.pick(format('%s/%s zone', w, p), NULL, 'Europe/Berlin', 'Australia/Sydney', 'America/New_York', 'Mars/Base') AS zone,
	   pg_temp.rnd(format('%s/%s mail', w, p), 4) > 0 AS mail, pg_temp.rnd(format('%s/%s text', w, p), 4) > 0 AS text, pg_temp.rnd(format('%s/%s rep', w, p), 4) > 0 AS rep, pg_temp.pick(format('%s/%s day', w, p), NULL, '2026-03-30', '2026-04-03', 'soon') AS day
FROM generate_series(1, :worlds) w, generate_series(1, 5) p;
-- who NULL: something that is done to a journey
CREATE TEMP TABLE act AS
SELECT row_number() OVER (ORDER BY l.arrives, who IS NOT NULL, kind <> 'event', x.at, hashtext(concat_ws('/', w, who, kind, name, label))) AS n, x.*, l.arrives
FROM (
	SELECT w, format('w%sp%s', w, p) AS who, pg_temp.base() + slot * interval '2 h' AS at, 'event' AS kind, e.event || w AS name, nullif(e.label, '') AS label, pg_temp.pick(format('%s/%s/%s value', w, p, slot), NULL, '5', '7.5') AS value
	FROM generate_series(1, :worlds) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('a', 'x'), ('a', 'y'), ('a', ''), ('b', 'x'), ('b', 'y'), ('c', 'x'), ('c', '')) e(event, label)
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, e.event, e.label), 12 + 12 * p) = 0
	UNION ALL	-- what is loaded afterwards
	SELECT w, format('w%sp%s', w, p), pg_temp.base() + slot * interval '2 h', 'history', e.event || w, nullif(e.label, ''), NULL
	FROM generate_series(1, :worlds) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('a', 'x'), ('b', ''), ('c', 'x')) e(event, label)
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, e.event, e.label, 'history'), 60) = 0
	UNION ALL	-- from here on for punctual clocks only
	SELECT w, format('w%sp%s', w, p), pg_temp.base() + slot * interval '2 h', k.kind, CASE k.kind WHEN 'manual' THEN format('w%sj%s', w, 1 + pg_temp.rnd(format('%s/%s/%s j', w, p, slot), 5)) WHEN 'trait' THEN pg_temp.pick(format('%s/%s/%s tr', w, p, slot), 'day', 'day', 'tier') WHEN 'moves' THEN 'timezone' ELSE 'gold' || w END,
		   pg_temp.pick(format('%s/%s/%s ml', w, p, slot), NULL, 'x', 'y'), CASE k.kind WHEN 'moves' THEN pg_temp.pick(format('%s/%s/%s zone', w, p, slot), 'Europe/Berlin', 'Australia/Sydney', 'America/New_York', 'Mars/Base') ELSE pg_temp.pick(format('%s/%s/%s tv', w, p, slot), '2026-03-30', '2026-04-03', '2026-03-31T08:00:00Z', '2026-04-01', 'one', 'two') END
	FROM generate_series(3, :worlds, 3) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('tag', 60), ('untag', 70), ('trait', 60), ('moves', 60), ('manual', 25), ('suppress', 500), ('unsuppress', 300)) k(kind, rare)
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, k.kind), k.rare) = 0
	UNION ALL
	SELECT w, NULL, pg_temp.base() + k.day * interval '24 h' + pg_temp.rnd(format('%s %s hour', w, k.kind), 12) * interval '2 h', k.kind, format('w%sj%s', w, k.j), NULL, NULL
	FROM generate_series(3, :worlds, 3) w, (VALUES ('pause', 1, 2), ('activate', 1, 3), ('version', 2, 3), ('pause', 3, 1), ('version', 3, 2), ('pause', 4, 2), ('archive', 4, 4), ('archive', 5, 6)) k(kind, j, day)
	WHERE pg_temp.rnd(format('%s acts', w), 4) > 0) x
CROSS JOIN LATERAL (SELECT at + CASE WHEN w % 3 = 0 AND kind IN ('event', 'history') AND pg_temp.rnd(x::text || 'late', 7) = 0 THEN 2 + 2 * pg_temp.rnd(x::text || 'how', 12) ELSE 0 END * interval '1 h' AS arrives) l
WHERE w % 3 = 0 OR kind IN ('event', 'history');
CREATE INDEX ON act (who, arrives);
CREATE TEMP TABLE decision AS
SELECT w, p, u.purpose, c.channel || w AS channel, g > 0 AS granted, pg_temp.base() + (CASE turn WHEN 1 THEN -24 ELSE 2 * pg_temp.rnd(concat_ws('/', w, p, u, c, turn, 'at'), 100) END) * interval '1 h' AS at
FROM generate_series(1, :worlds) w, generate_series(1, 5) p, (VALUES ('marketing', 6), ('news', 3), ('transactional', 1)) u(purpose, often), (VALUES ('mail'), ('text')) c(channel), generate_series(1, 3) turn,
	 LATERAL (SELECT pg_temp.rnd(concat_ws('/', w, p, u, c, turn), 5) AS g) x
WHERE pg_temp.rnd(concat_ws('/', w, p, u, c, turn, 'said'), 8) < u.often;
CREATE TEMP TABLE clock AS
SELECT mode, t AS at FROM (VALUES ('punctual', 1), ('sometimes', 12), ('late', 1000000)) m(mode, rare), generate_series(pg_temp.base(), pg_temp.base() + interval '240 h', '2 h') t
WHERE pg_temp.rnd(t::text || mode, rare) = 0 OR t = pg_temp.base() + interval '240 h';

INSERT INTO purpose (name, needs_consent, capped, quiet) VALUES ('news', true, false, true);
INSERT INTO channel (name, namespace) SELECT c || w, CASE c WHEN 'mail' THEN 'email' ELSE 'phone' END FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w;
INSERT INTO frequency_cap (channel, max, per, kind, tz)
SELECT c || w, CASE pg_temp.rnd(concat_ws('/', c, w, x.per, 'none'), 15) WHEN 0 THEN 0 ELSE 1 + pg_temp.rnd(concat_ws('/', c, w, x.per, 'max'), 2) END,
	   x.per::interval, x.kind, pg_temp.pick(concat_ws('/', c, w, 'tz'), 'UTC', 'Europe/Berlin')
FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w, (VALUES ('12 hours', 'rolling'), ('2 days', 'rolling'), ('1 day', 'calendar_day'), ('3 days', 'calendar_day')) x(per, kind)
WHERE pg_temp.rnd(concat_ws('/', c, w, x.per, x.kind), 5) < 2;
INSERT INTO frequency_cap (channel, max, per, kind) VALUES ('*', 3, '1 day', 'calendar_day'), ('*', 6, '4 days', 'rolling');
INSERT INTO quiet_hours SELECT c || w, x.since::time, x.until::time, pg_temp.pick(concat_ws('/', c, w, 'tz2'), 'UTC', 'America/New_York')
FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w, (VALUES ('22:00', '08:00'), ('12:00', '14:00'), ('01:00', '02:00'), ('00:00', '00:00')) x(since, until)
WHERE pg_temp.rnd(concat_ws('/', c, w, x.since), CASE x.until WHEN '00:00' THEN 20 ELSE 4 END) = 0;

-- the oracle's state: one person after the other
CREATE TEMP TABLE o_journey (journey text, status text, version int);
CREATE TEMP TABLE o_run (run serial, who text, journey text, version int, key text, label text, entry jsonb, context jsonb, entered timestamptz, arrived timestamptz, step text, due timestamptz, status text DEFAULT 'active', outcome text, ended timestamptz, variant text);
CREATE TEMP TABLE o_log (n serial, who text, journey text, version int, run int, step text, at timestamptz, what text, detail text);
CREATE TEMP TABLE o_message (who text, run int, step text, channel text, purpose text, declared boolean, self boolean, counts boolean, params jsonb, at timestamptz, due timestamptz, expires timestamptz, variant text, status text DEFAULT 'pending');
CREATE TEMP TABLE o_bounced (who text, channel text);
CREATE TEMP TABLE o_event (who text, name text, at timestamptz, label text);
CREATE TEMP TABLE o_tag (who text, tag text);
CREATE TEMP TABLE o_trait (who text, name text, value jsonb, at timestamptz);
CREATE TEMP TABLE o_trigger (n serial, source text, name text, at timestamptz, label text, value float8);
CREATE TEMP TABLE o_now (LIKE o_trigger);	-- what takes effect at this instant
CREATE TEMP TABLE o_cap AS SELECT * FROM frequency_cap;
CREATE TEMP TABLE o_quiet AS SELECT * FROM quiet_hours;
CREATE INDEX ON o_event (who); CREATE INDEX ON o_run (run); CREATE INDEX ON person (name); CREATE INDEX ON o_log (run); CREATE INDEX ON o_run (who); CREATE INDEX ON o_log (who); CREATE INDEX ON o_message (who); CREATE INDEX ON o_tag (who); CREATE INDEX ON o_trait (who);

CREATE FUNCTION pg_temp.length(d text) RETURNS interval LANGUAGE sql IMMUTABLE RETURN
	make_interval(hours => rtrim(d, 'hd')::int * CASE right(d, 1) WHEN 'h' THEN 1 ELSE 24 END);
CREATE FUNCTION pg_temp.refers(reference text, event text, label text, bound text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	m	text[] := regexp_match(reference, '^(\w+)(?:\[(.)\])?$');
BEGIN
	RETURN m[1] = event AND CASE m[2] IS NULL WHEN true THEN true ELSE coalesce(label = CASE m[2] WHEN '$' THEN bound ELSE m[2] END, false) END;
END
$$;
CREATE FUNCTION pg_temp.refers_any(reference jsonb, event text, label text, bound text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN CASE jsonb_typeof(reference) WHEN 'array' THEN (SELECT bool_or(pg_temp.refers(r, event, label, bound)) FROM jsonb_array_elements_text(reference) r)
			WHEN 'string' THEN pg_temp.refers(reference #>> '{}', event, label, bound) ELSE false END;
END
$$;
CREATE FUNCTION pg_temp.happened(me text, reference text, since timestamptz, t timestamptz, bound text) RETURNS int LANGUAGE plpgsql STABLE AS $$
DECLARE
	m	text[] := regexp_match(reference, '^(\w+)(?:\[(.)\])?$');
BEGIN
	RETURN (SELECT count(*) FROM o_event a WHERE a.who = me AND a.name = m[1] AND a.at > since AND a.at <= t
			AND (m[2] IS NULL OR a.label = CASE m[2] WHEN '$' THEN bound ELSE m[2] END));
END
$$;
CREATE FUNCTION pg_temp.trait_of(me text, which text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT t.value #>> '{}' FROM o_trait t WHERE t.who = me AND t.name = which);
END
$$;

CREATE FUNCTION pg_temp.holds(rule text, me text, t timestamptz, bound text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	m	text[];
	n	int;
BEGIN
	IF rule LIKE '% & %' THEN
		RETURN pg_temp.holds(split_part(rule, ' & ', 1), me, t, bound) AND pg_temp.holds(split_part(rule, ' & ', 2), me, t, bound);
	ELSIF rule LIKE '% | %' THEN
		RETURN pg_temp.holds(split_part(rule, ' | ', 1), me, t, bound) OR pg_temp.holds(split_part(rule, ' | ', 2), me, t, bound);
	ELSIF rule ~ '^(gold|world)' THEN
		RETURN EXISTS (SELECT FROM o_tag x WHERE x.who = me AND x.tag = rule);
	ELSIF rule LIKE '!gold%' THEN
		RETURN NOT EXISTS (SELECT FROM o_tag x WHERE x.who = me AND x.tag = substr(rule, 2));
	ELSIF rule LIKE 'tier%' THEN
		RETURN coalesce(pg_temp.trait_of(me, 'tier') = substring(rule, '"(.*)"'), false);
	ELSIF rule LIKE 'last%' THEN
		m := regexp_match(rule, '^last\((.*)\) > (\w+)$');
		RETURN pg_temp.happened(me, m[1], '-infinity', t, bound) > 0 AND pg_temp.happened(me, m[1], t - pg_temp.length(m[2]) - interval '1 microsecond', t, bound) = 0;
	END IF;
	m := regexp_match(rule, '^count\((\w+(?:\[.\])?)(?:, (\w+))?\) (\S+) (\d)$');
	IF m[1] = 'message_sent' THEN
		SELECT count(*) INTO n FROM o_message x WHERE x.who = me AND x.at <= t AND x.at > t - pg_temp.length(m[2]);
	ELSE
		n := pg_temp.happened(me, m[1], coalesce(t - pg_temp.length(m[2]), '-infinity'), t, bound);
	END IF;
	RETURN CASE m[3] WHEN '=' THEN n = m[4]::int WHEN '<' THEN n < m[4]::int ELSE n >= m[4]::int END;
END
$$;

-- Local times by looking at the clock every hour: the second of two, and later by what the clock skips.
CREATE FUNCTION pg_temp.clock_shows(day date, at time, zone text) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT coalesce(max(h) FILTER (WHERE h AT TIME ZONE zone = day + at), max(h) FILTER (WHERE h AT TIME ZONE zone = day + at + interval '1 h'))
			FROM generate_series((day + at) AT TIME ZONE 'UTC' - interval '15 h', (day + at) AT TIME ZONE 'UTC' + interval '13 h', '1 h') h);
END
$$;
CREATE FUNCTION pg_temp.zone_of(me text, otherwise text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT coalesce(nullif(pg_temp.trait_of(me, 'timezone'), 'Mars/Base'), otherwise, 'UTC'));
END
$$;
CREATE FUNCTION pg_temp.until(wait jsonb, me text, t timestamptz, otherwise text) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
	zone	text := pg_temp.zone_of(me, otherwise);
	value	text;
	day		date;
	days	text[];
BEGIN
	IF jsonb_typeof(wait) = 'string' THEN
		wait := jsonb_build_object('time', wait);
	END IF;
	IF wait ? 'trait' THEN
		value := pg_temp.trait_of(me, wait ->> 'trait');
		IF value IS NULL OR value !~ '^2026' THEN
			RETURN 'infinity';
		ELSIF value LIKE '%T%' AND NOT wait ? 'time' THEN
			RETURN greatest(t, value::timestamptz + CASE wait ->> 'offset' WHEN '-1d' THEN interval '-24 h' WHEN '+12h' THEN interval '12 h' ELSE '0' END);
		END IF;
		day := CASE WHEN value LIKE '%T%' THEN (value::timestamptz AT TIME ZONE zone)::date ELSE value::date END - CASE wait ->> 'offset' WHEN '-1d' THEN 1 ELSE 0 END;
		RETURN greatest(t, pg_temp.clock_shows(day, coalesce((wait ->> 'time')::time, '00:00'), zone) + CASE wait ->> 'offset' WHEN '+12h' THEN interval '12 h' ELSE '0' END);
	END IF;
	days := ARRAY(SELECT lower(d #>> '{}') FROM jsonb_array_elements(CASE jsonb_typeof(wait -> 'weekday') WHEN 'array' THEN wait -> 'weekday' WHEN 'string' THEN jsonb_build_array(wait -> 'weekday') END) d);
	RETURN (SELECT min(x.h) FROM (SELECT pg_temp.clock_shows(d::date, coalesce((wait ->> 'time')::time, '00:00'), zone) AS h
								  FROM generate_series(date_trunc('day', t AT TIME ZONE 'UTC') - interval '1 day', t AT TIME ZONE 'UTC' + CASE days WHEN '{}' THEN interval '2 days' ELSE '8 days' END, '1 day') d
								  WHERE days = '{}' OR to_char(d, 'fmday') = ANY (days)) x WHERE x.h >= t);
END
$$;

-- when a message may go out: hour by hour
CREATE FUNCTION pg_temp.is_quiet(me text, of_channel text, h timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	q		o_quiet;
	clock	time;
BEGIN
	FOR q IN SELECT * FROM o_quiet x WHERE x.channel = of_channel LOOP
		clock := (h AT TIME ZONE pg_temp.zone_of(me, q.tz))::time;
		IF q.since = q.until OR q.since < q.until AND clock >= q.since AND clock < q.until OR q.since > q.until AND (clock >= q.since OR clock < q.until) THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END
$$;
CREATE FUNCTION pg_temp.breaks(c o_cap, me text, h timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	sent	timestamptz[] := ARRAY(SELECT m.due FROM o_message m WHERE m.who = me AND m.self AND m.counts AND ((c).channel = '*' OR m.channel = (c).channel));
	hours	int := extract(epoch FROM (c).per) / 3600;
	zone	text := pg_temp.zone_of(me, (c).tz);
BEGIN
	IF (c).kind = 'rolling' THEN
		RETURN EXISTS (SELECT FROM generate_series(h - (hours - 1) * interval '1 h', h, '1 h') s
					   WHERE 1 + (SELECT count(*) FROM unnest(sent) x WHERE x >= s AND x < s + hours * interval '1 h') > (c).max);
	END IF;
	RETURN EXISTS (SELECT FROM generate_series(0, hours / 24 - 1) back, LATERAL (SELECT (h AT TIME ZONE zone)::date - back AS since) d
				   WHERE 1 + (SELECT count(*) FROM unnest(sent) x WHERE (x AT TIME ZONE zone)::date >= since AND (x AT TIME ZONE zone)::date < since + hours / 24) > (c).max);
END
$$;
CREATE FUNCTION pg_temp.sendable(me text, of_purpose text, of_channel text, t timestamptz, OUT due timestamptz, OUT cap text) LANGUAGE plpgsql STABLE AS $$
DECLARE
	quiet	boolean := of_purpose <> 'transactional';
	hours	int;
BEGIN
	SELECT min(h) INTO due FROM (SELECT h FROM generate_series(t, t + interval '4 days', '1 h') h WHERE NOT (quiet AND pg_temp.is_quiet(me, of_channel, h)) LIMIT 1) x;
	IF due IS NULL THEN
		due := 'infinity';
	ELSIF of_purpose NOT IN ('transactional', 'news') AND EXISTS (SELECT FROM o_cap c WHERE c.channel IN (of_channel, '*') AND pg_temp.breaks(c, me, due)) THEN
		-- by the cap that keeps it longest; not for ever unless a cap is 0
		SELECT format('%s per %s on %s', c.max, c.per, c.channel) INTO cap
		FROM o_cap c CROSS JOIN LATERAL (SELECT CASE c.max WHEN 0 THEN 'infinity' ELSE (SELECT h FROM generate_series(due, due + interval '20 days', '1 h') h WHERE NOT pg_temp.breaks(c, me, h) LIMIT 1) END AS free) f
		WHERE c.channel IN (of_channel, '*') AND f.free > due ORDER BY f.free DESC, c.channel, c.per LIMIT 1;
		SELECT h INTO due FROM generate_series(due, due + interval '20 days', '1 h') h
		WHERE NOT EXISTS (SELECT FROM o_cap c WHERE c.channel IN (of_channel, '*') AND c.max = 0)
		  AND NOT (quiet AND pg_temp.is_quiet(me, of_channel, h))
		  AND NOT EXISTS (SELECT FROM o_cap c WHERE c.channel IN (of_channel, '*') AND pg_temp.breaks(c, me, h)) LIMIT 1;
		due := coalesce(due, 'infinity');
	END IF;
END
$$;
CREATE FUNCTION pg_temp.allowed(me text, spec jsonb, of_channel text, t timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	latest	boolean;
BEGIN
	SELECT d.granted INTO latest FROM decision d WHERE format('w%sp%s', d.w, d.p) = me AND d.purpose = coalesce(spec ->> 'purpose', 'marketing') AND d.channel = of_channel AND d.at <= t ORDER BY d.at DESC, d.granted LIMIT 1;
	RETURN CASE WHEN spec ->> 'purpose' = 'transactional' THEN true WHEN spec ? 'purpose' THEN coalesce(latest, false) ELSE coalesce(latest, true) END;
END
$$;

CREATE FUNCTION pg_temp.say(r o_run, t timestamptz, what text, detail text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO o_log (who, journey, version, run, step, at, what, detail) VALUES (r.who, r.journey, r.version, r.run, r.step, t, what, detail);
END
$$;
CREATE FUNCTION pg_temp.finish(of_run int, t timestamptz, how text, what text, detail text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.say(r, t, what, detail) FROM o_run r WHERE r.run = of_run;
	UPDATE o_run SET status = 'ended', outcome = how, ended = t, due = NULL WHERE run = of_run;
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
	END IF;
END
$$;

CREATE FUNCTION pg_temp.enter(me person, of_journey text, t timestamptz, with_entry jsonb, with_context jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
	SELECT bool_or(x.status = 'active') AS inside, max(x.entered) AS entered, bool_or(x.entered = t) AS now, max(x.ended) AS ended INTO was FROM o_run x WHERE x.who = me.name AND x.journey = of_journey AND x.key = my_key;
	reason := CASE
		WHEN j.status <> 'active' THEN 'journey is ' || j.status
		WHEN EXISTS (SELECT FROM o_tag x WHERE x.who = me.name AND x.tag = 'suppressed') THEN 'profile is suppressed or erased'
		WHEN t < (spec ->> 'from')::timestamptz THEN 'before the journey begins'
		WHEN t >= (spec ->> 'to')::timestamptz THEN 'after the journey has ended'
		WHEN was.inside THEN 'already in this journey'
		WHEN spec #>> '{entry,reentry}' = 'once' AND was.entered IS NOT NULL THEN 'reentry: once'
		WHEN spec #>> '{entry,reentry}' = 'cooldown' AND t < was.ended + pg_temp.length(spec #>> '{entry,cooldown}') THEN 'reentry: cooldown'
		WHEN was.now THEN 'reentry: entered at this very instant'
		WHEN spec -> 'entry' ? 'when' AND NOT pg_temp.holds(spec #>> '{entry,when}', me.name, t, with_entry ->> 'label') THEN 'entry.when does not hold'
		WHEN channels <> '{}' AND NOT EXISTS (SELECT FROM jsonb_each(spec -> 'steps') e WHERE jsonb_typeof(e.value #> '{send,to}') = 'object') AND NOT EXISTS (SELECT FROM unnest(channels) c WHERE pg_temp.allowed(me.name, spec, c, t))
			THEN format('consent: %s on %s', coalesce(spec ->> 'purpose', 'marketing'), array_to_string(channels, ', ')) END;
	IF reason IS NOT NULL THEN
		INSERT INTO o_log (who, journey, version, at, what, detail) VALUES (me.name, of_journey, j.version, t, 'refused', reason);
		RETURN;
	END IF;
	IF coalesce(spec ->> 'purpose', 'marketing') = 'marketing' AND cdp._draw('control/oracle', me.id) < 0.1 THEN
		arm := 'control';
	ELSIF cdp._draw('holdout/' || of_journey, me.id) < (spec ->> 'holdout')::float8 THEN
		arm := 'holdout';
	END IF;
	INSERT INTO o_run (who, journey, version, key, label, entry, context, entered, arrived, step, due, variant)
	VALUES (me.name, of_journey, j.version, my_key, with_entry ->> 'label', with_entry, with_context, t, t, 's1', pg_temp.due_at(spec, 's1', me.name, t), arm) RETURNING * INTO r;
	IF arm = '' THEN
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
		IF present THEN
			INSERT INTO o_tag VALUES (me, which);
		ELSE
			DELETE FROM o_tag x WHERE x.who = me AND x.tag = which;
		END IF;
		INSERT INTO o_trigger (source, name, at) VALUES (CASE WHEN present THEN 'enters' ELSE 'leaves' END, which, t);
	END IF;
END
$$;
CREATE FUNCTION pg_temp.put_trait(me text, which text, new jsonb, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM o_trait x WHERE x.who = me AND x.name = which) THEN
		UPDATE o_trait x SET value = new, at = t WHERE x.who = me AND x.name = which AND (t, new) > (x.at, x.value);	-- the latest, of one instant the greater one
	ELSE
		INSERT INTO o_trait VALUES (me, which, new, t);
	END IF;
	INSERT INTO o_trigger (source, name, at) VALUES ('trait', which, t);
END
$$;
CREATE FUNCTION pg_temp.fill(template jsonb, r o_run) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_object_agg(e.key, CASE jsonb_typeof(e.value) WHEN 'string' THEN to_jsonb(
		replace(replace(replace(replace(replace(replace(e.value #>> '{}',
			'{{entry.label}}', coalesce(r.entry ->> 'label', '')), '{{ trait.tier }}', coalesce(pg_temp.trait_of(r.who, 'tier'), '')), '{{entry.value}}', coalesce(r.entry ->> 'value', '')),
			'{{context.k}}', coalesce(r.context ->> 'k', '')), '{{entry.event}}', coalesce(r.entry ->> 'event', '')), '{{entry.at}}', coalesce(r.entry ->> 'at', ''))) ELSE e.value END), '{}')
	FROM jsonb_each(coalesce(template, '{}')) e
$$;

-- what one run sends at a send step; false: it does not go on
CREATE FUNCTION pg_temp.send(me person, r o_run, spec jsonb, t timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
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
BEGIN
	IF NOT self AND NOT me.rep THEN
		PERFORM pg_temp.say(r, t, 'refused', 'nobody is related as "rep"');
		RETURN true;
	END IF;
	FOR c IN SELECT x FROM jsonb_array_elements_text(CASE WHEN listed THEN send -> 'channel' ELSE jsonb_build_array(send -> 'channel') END) x LOOP
		IF self AND EXISTS (SELECT FROM o_bounced b WHERE b.who = me.name AND b.channel = c) THEN
			why := why || ('bounced: ' || c);
			CONTINUE;
		ELSIF listed AND NOT (self AND CASE WHEN c LIKE 'mail%' THEN me.mail ELSE me.text END) THEN		-- representatives have no addresses
			why := why || ('no address for ' || c);
			CONTINUE;
		ELSIF self AND NOT pg_temp.allowed(me.name, spec, c, t) THEN
			why := why || format('consent: %s on %s', purpose, c);
			CONTINUE;
		END IF;
		SELECT x.due, x.cap INTO slot FROM pg_temp.sendable(me.name, CASE WHEN self THEN purpose ELSE 'transactional' END, c, t) x;
		IF slot.cap IS NOT NULL THEN
			why := why || ('capped: ' || slot.cap);
			held := true;
			opens := least(opens, slot.due);
		ELSIF slot.due = 'infinity' THEN
			why := why || 'quiet at all hours'::text;
		ELSIF slot.due >= lapses THEN
			why := why || 'quiet until it has expired'::text;
		ELSE
			INSERT INTO o_message VALUES (me.name, r.run, r.step, c, purpose, spec ? 'purpose' AND (self OR purpose = 'transactional'), self, purpose = 'marketing', pg_temp.fill(send -> 'params', r), t, slot.due, lapses, nullif(r.variant, ''));
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

CREATE FUNCTION pg_temp.seen(me text, reference jsonb, since timestamptz, t timestamptz, bound text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE jsonb_typeof(reference) WHEN 'array' THEN (SELECT bool_or(pg_temp.happened(me, r, since, t, bound) > 0) FROM jsonb_array_elements_text(reference) r)
			ELSE pg_temp.happened(me, reference #>> '{}', since, t, bound) > 0 END;
END
$$;

-- what a channel says about a message; punctual clocks hear it at once
CREATE FUNCTION pg_temp.outcome(who text, journey text, key text, entered timestamptz, step text, due timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT pg_temp.pick(concat_ws('/', who, journey, key, extract(epoch FROM entered), step, extract(epoch FROM due), 'outcome'), 'sent', 'sent', 'sent', 'opened', 'opened', 'bounced')
$$;
CREATE FUNCTION pg_temp.report(me person, c timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	m		record;
	latest	boolean;
	said	text;
BEGIN
	FOR m IN SELECT x.*, x.ctid AS id, r.journey, r.key, r.entered, x.self AND CASE WHEN x.channel LIKE 'mail%' THEN me.mail ELSE me.text END AS addressed FROM o_message x JOIN o_run r USING (run)
			 WHERE x.who = me.name AND x.status = 'pending' AND x.due <= c AND (x.expires > c) IS NOT FALSE LOOP
		SELECT d.granted INTO latest FROM decision d WHERE format('w%sp%s', d.w, d.p) = me.name AND d.purpose = m.purpose AND d.channel = m.channel AND d.at <= c ORDER BY d.at DESC, d.granted LIMIT 1;
		said := CASE
			WHEN EXISTS (SELECT FROM o_tag x WHERE x.who = me.name AND x.tag = 'suppressed') THEN 'refused'
			WHEN m.self AND NOT CASE WHEN m.declared THEN m.purpose = 'transactional' OR coalesce(latest, false) ELSE coalesce(latest, true) END THEN 'refused'
			WHEN m.addressed AND EXISTS (SELECT FROM o_bounced b WHERE b.who = me.name AND b.channel = m.channel) THEN 'refused'
			ELSE pg_temp.outcome(me.name, m.journey, m.key, m.entered, m.step, m.due) END;
		UPDATE o_message x SET status = said, counts = x.counts AND said NOT IN ('refused', 'bounced') WHERE x.ctid = m.id;
		IF said = 'opened' THEN
			INSERT INTO o_event VALUES (me.name, 'message_opened', c, m.journey);
			INSERT INTO o_trigger (source, name, at, label) VALUES ('event', 'message_opened', c, m.journey);
		END IF;
	END LOOP;
	INSERT INTO o_bounced SELECT DISTINCT x.who, x.channel FROM o_message x
	WHERE x.who = me.name AND x.status = 'bounced' AND x.self AND CASE WHEN x.channel LIKE 'mail%' THEN me.mail ELSE me.text END
	  AND NOT EXISTS (SELECT FROM o_bounced b WHERE b.who = x.who AND b.channel = x.channel);
END
$$;

-- runs of one person that are at one step at one instant: first who leaves, then the work
CREATE FUNCTION pg_temp.do_step(me person, spec jsonb, of_step text, runs int[], t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s		jsonb := spec -> 'steps' -> of_step;
	r		o_run;
	x		jsonb;
	b		record;
	draw	float8;
	stay	int[] := '{}';
	moved	timestamptz;
BEGIN
	FOR r IN SELECT * FROM o_run o WHERE o.run = ANY (runs) ORDER BY o.run LOOP
		IF EXISTS (SELECT FROM o_tag y WHERE y.who = me.name AND y.tag = 'suppressed') THEN
			PERFORM pg_temp.finish(r.run, t, 'suppressed', 'ended', 'suppressed');
			CONTINUE;
		END IF;
		SELECT e INTO x FROM jsonb_array_elements(spec -> 'exit') WITH ORDINALITY y(e, no)
		WHERE CASE WHEN e ? 'on' THEN pg_temp.seen(me.name, e -> 'on', r.entered, t, r.label) ELSE pg_temp.holds(e ->> 'when', me.name, t, r.label) END ORDER BY no LIMIT 1;
		IF FOUND THEN
			PERFORM pg_temp.finish(r.run, t, 'exited', 'exited', coalesce(x ->> 'on', x ->> 'when'));
		ELSE
			stay := stay || r.run;
		END IF;
	END LOOP;
	-- those that send do so one after the other, and go on together
	runs := stay;
	FOR r IN SELECT * FROM o_run o WHERE o.run = ANY (stay) ORDER BY o.run LOOP
		IF s ? 'send' THEN
			IF NOT pg_temp.send(me, r, spec, t) THEN
				runs := array_remove(runs, r.run);
			END IF;
		ELSIF s ?| '{tag,untag}' THEN
			PERFORM pg_temp.set_tag(me.name, coalesce(s ->> 'tag', s ->> 'untag'), s ? 'tag', t);
		ELSIF s ? 'set_trait' THEN
			PERFORM pg_temp.put_trait(me.name, e.key, e.value, t) FROM jsonb_each(pg_temp.fill(s -> 'set_trait', r)) e ORDER BY e.key;
		ELSIF s ? 'journey' THEN
			IF EXISTS (SELECT FROM o_journey j WHERE j.journey = s ->> 'journey' AND j.status = 'active') THEN
				PERFORM pg_temp.enter(me, s ->> 'journey', t, r.entry || jsonb_build_object('journey', r.journey), '{}');
			ELSE
				PERFORM pg_temp.say(r, t, 'refused', format('journey "%s" is not active', s ->> 'journey'));
			END IF;
		END IF;
	END LOOP;
	FOR r IN SELECT * FROM o_run o WHERE o.run = ANY (runs) ORDER BY o.run LOOP
		IF s ? 'if' THEN
			IF pg_temp.holds(s ->> 'if', me.name, t, r.label) THEN
				PERFORM pg_temp.go(r, spec, t, s ->> 'then', 'then');
			ELSE
				PERFORM pg_temp.go(r, spec, t, s ->> 'else', 'else');
			END IF;
		ELSIF s ? 'switch' THEN
			SELECT e INTO x FROM jsonb_array_elements(s -> 'switch') WITH ORDINALITY y(e, no) WHERE pg_temp.holds(e ->> 'when', me.name, t, r.label) ORDER BY no LIMIT 1;
			PERFORM pg_temp.go(r, spec, t, coalesce(x ->> 'next', s ->> 'else'), coalesce(x ->> 'when', 'else'));
		ELSIF s ? 'split' THEN
			draw := cdp._draw(r.journey || '/' || of_step, me.id);
			SELECT coalesce(e ->> 'name', e ->> 'next') AS name, e ->> 'next' AS next INTO b FROM jsonb_array_elements(s -> 'split') WITH ORDINALITY y(e, no) WHERE no = CASE WHEN draw < (s #>> '{split,0,share}')::float8 THEN 1 ELSE 2 END;
			r.variant := CASE WHEN r.variant = '' THEN b.name WHEN b.name = ANY (string_to_array(r.variant, '/')) THEN r.variant ELSE r.variant || '/' || b.name END;
			UPDATE o_run SET variant = r.variant WHERE run = r.run;
			PERFORM pg_temp.go(r, spec, t, b.next, b.name);
		ELSIF s ? 'wait_for' THEN
			IF pg_temp.seen(me.name, s #> '{wait_for,on}', r.arrived, t, r.label) THEN
				PERFORM pg_temp.go(r, spec, t, s ->> 'next', 'next');
			ELSE
				PERFORM pg_temp.go(r, spec, t, s ->> 'else', 'timeout');
			END IF;
		ELSIF s #> '{wait_until,trait}' IS NOT NULL THEN
			moved := pg_temp.until(s -> 'wait_until', me.name, r.arrived, spec ->> 'timezone');
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

CREATE FUNCTION pg_temp.take_triggers(me person, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r		record;
	x		record;
	e		record;
BEGIN
	DELETE FROM o_now;
	WITH gone AS (DELETE FROM o_trigger o WHERE o.at = t RETURNING *) INSERT INTO o_now SELECT * FROM gone;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	FOR r IN SELECT o.*, s.spec FROM o_run o JOIN spec s USING (journey, version) WHERE o.who = me.name AND o.status = 'active' AND o.entered < t ORDER BY o.run LOOP
		SELECT y.e ->> 'on' AS why INTO x FROM jsonb_array_elements(r.spec -> 'exit') WITH ORDINALITY y(e, no)
		WHERE EXISTS (SELECT FROM o_now n WHERE n.source = 'event' AND pg_temp.refers(y.e ->> 'on', n.name, n.label, r.label)) ORDER BY no LIMIT 1;
		IF FOUND THEN
			PERFORM pg_temp.finish(r.run, t, 'exited', 'exited', x.why);
		END IF;
	END LOOP;
	FOR r IN SELECT o.*, s.spec, s.spec -> 'steps' -> o.step AS todo FROM o_run o JOIN spec s USING (journey, version) WHERE o.who = me.name AND o.status = 'active' LOOP
		IF r.arrived < t AND t < r.due AND EXISTS (SELECT FROM o_now n WHERE n.source = 'event' AND pg_temp.refers_any(r.todo #> '{wait_for,on}', n.name, n.label, r.label)) THEN
			UPDATE o_run SET due = t WHERE run = r.run;
		ELSIF r.arrived <= t AND EXISTS (SELECT FROM o_now n WHERE n.source = 'trait' AND n.name = r.todo #>> '{wait_until,trait}') THEN
			UPDATE o_run SET due = greatest(t, pg_temp.until(r.todo -> 'wait_until', me.name, r.arrived, r.spec ->> 'timezone')) WHERE run = r.run;
		ELSIF r.todo ? 'wait_until' AND r.arrived <= t AND t <= r.due AND EXISTS (SELECT FROM o_now n WHERE n.source = 'trait' AND n.name = 'timezone') THEN
			UPDATE o_run SET due = CASE WHEN r.todo #> '{wait_until,trait}' IS NULL THEN pg_temp.until(r.todo -> 'wait_until', me.name, t, r.spec ->> 'timezone')
										ELSE greatest(t, pg_temp.until(r.todo -> 'wait_until', me.name, r.arrived, r.spec ->> 'timezone')) END WHERE run = r.run;
		END IF;
	END LOOP;
	FOR r IN SELECT o.*, s.spec #>> '{goal,on}' AS goal FROM o_run o JOIN spec s USING (journey, version) JOIN o_journey j USING (journey)
			 WHERE o.who = me.name AND s.spec ? 'goal' AND j.status <> 'archived' AND t > o.entered AND t <= o.entered + pg_temp.length(s.spec #>> '{goal,within}')
			   AND NOT EXISTS (SELECT FROM o_log l WHERE l.who = me.name AND l.run = o.run AND l.what = 'goal') ORDER BY o.run LOOP
		SELECT n.name INTO x FROM o_now n WHERE n.source = 'event' AND pg_temp.refers(r.goal, n.name, n.label, r.label) LIMIT 1;
		IF FOUND THEN
			INSERT INTO o_log (who, journey, version, run, step, at, what, detail) VALUES (me.name, r.journey, r.version, r.run, r.step, t, 'goal', x.name);
		END IF;
	END LOOP;
	FOR r IN SELECT j.journey, s.spec FROM o_journey j JOIN spec s USING (journey, version) WHERE j.status = 'active' ORDER BY j.journey LOOP
		FOR e IN SELECT * FROM o_now n WHERE CASE n.source WHEN 'event' THEN pg_temp.refers_any(r.spec #> '{entry,on}', n.name, n.label, NULL) WHEN 'schedule' THEN n.name = r.journey ELSE r.spec -> 'entry' ->> n.source = n.name END
				 ORDER BY n.source, n.name, n.label NULLS FIRST, n.value NULLS FIRST, n.n LOOP
			PERFORM pg_temp.enter(me, r.journey, t, jsonb_strip_nulls(jsonb_build_object(e.source, e.name, 'label', e.label, 'value', e.value, 'at', to_char(t, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))), '{}');
		END LOOP;
	END LOOP;
END
$$;

CREATE FUNCTION pg_temp.replay(me person) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	my_mode	text := pg_temp.mode(me.w);
	c		timestamptz;
	before	timestamptz := '-infinity';
	t		timestamptz;
	a		act;
	g		record;
BEGIN
	DELETE FROM o_trigger;
	DELETE FROM o_journey;
	INSERT INTO o_journey SELECT DISTINCT journey, 'active', 1 FROM spec WHERE w = me.w;
	INSERT INTO o_tag VALUES (me.name, 'world' || me.w);
	INSERT INTO o_trait SELECT me.name, x.name, to_jsonb(x.value), pg_temp.base() - interval '1 day' FROM (VALUES ('day', me.day), ('timezone', me.zone)) x(name, value) WHERE x.value IS NOT NULL;
	FOR c IN SELECT k.at FROM clock k WHERE k.mode = my_mode ORDER BY k.at LOOP
		FOR a IN SELECT * FROM act x WHERE (x.who = me.name OR x.who IS NULL AND x.w = me.w) AND x.arrives > before AND x.arrives <= c ORDER BY x.n LOOP
			CASE a.kind
				WHEN 'event' THEN
					INSERT INTO o_event VALUES (me.name, a.name, a.at, a.label);
					INSERT INTO o_trigger (source, name, at, label, value) VALUES ('event', a.name, a.at, a.label, a.value::float8);
				WHEN 'history' THEN INSERT INTO o_event VALUES (me.name, a.name, a.at, a.label);
				WHEN 'tag', 'untag' THEN PERFORM pg_temp.set_tag(me.name, a.name, a.kind = 'tag', a.at);
				WHEN 'trait', 'moves' THEN PERFORM pg_temp.put_trait(me.name, a.name, to_jsonb(a.value), a.at);
				WHEN 'suppress' THEN INSERT INTO o_tag VALUES (me.name, 'suppressed');
				WHEN 'unsuppress' THEN DELETE FROM o_tag x WHERE x.who = me.name AND x.tag = 'suppressed';
				WHEN 'manual' THEN PERFORM pg_temp.enter(me, a.name, a.at, jsonb_strip_nulls(jsonb_build_object('label', a.label)), jsonb_strip_nulls(jsonb_build_object('label', a.label, 'k', 'by hand')));
				WHEN 'pause' THEN UPDATE o_journey SET status = 'paused' WHERE journey = a.name;
				WHEN 'activate' THEN UPDATE o_journey SET status = 'active' WHERE journey = a.name;
				WHEN 'version' THEN UPDATE o_journey SET status = 'active', version = 2 WHERE journey = a.name;
				WHEN 'archive' THEN
					UPDATE o_journey SET status = 'archived' WHERE journey = a.name;
					PERFORM pg_temp.finish(r.run, a.at, 'archived', 'ended', 'journey was archived') FROM o_run r WHERE r.who = me.name AND r.journey = a.name AND r.status = 'active';
			END CASE;
		END LOOP;
		INSERT INTO o_trigger (source, name, at)
		SELECT 'schedule', j.journey, i FROM o_journey j JOIN spec s USING (journey, version),
			 generate_series((s.spec #>> '{entry,at}')::timestamptz, c, coalesce(pg_temp.length(s.spec #>> '{entry,every}'), '1000 h')) i
		WHERE s.spec -> 'entry' ? 'who' AND j.status = 'active' AND i > before AND NOT EXISTS (SELECT FROM o_tag x WHERE x.who = me.name AND x.tag = 'suppressed') AND pg_temp.holds(s.spec #>> '{entry,who}', me.name, i, NULL);
		LOOP
			t := least((SELECT min(o.at) FROM o_trigger o WHERE o.at <= c), (SELECT min(r.due) FROM o_run r JOIN o_journey j USING (journey) WHERE r.who = me.name AND r.status = 'active' AND j.status = 'active' AND r.due <= c));
			EXIT WHEN t IS NULL;
			PERFORM pg_temp.take_triggers(me, t);
			FOR g IN
				SELECT r.journey, r.version, r.step, r.spec, array_agg(r.run ORDER BY r.run) AS runs
				FROM (SELECT r.*, s.spec, s.priority, max(s.priority) OVER () AS top FROM o_run r JOIN o_journey j USING (journey) JOIN spec s ON s.journey = r.journey AND s.version = r.version
					  WHERE r.who = me.name AND r.status = 'active' AND j.status = 'active' AND r.due = t) r
				WHERE r.priority = r.top GROUP BY r.journey, r.version, r.step, r.spec ORDER BY r.journey, r.version, r.step
			LOOP
				PERFORM pg_temp.do_step(me, g.spec, g.step, g.runs, t);
			END LOOP;
		END LOOP;
		IF my_mode = 'punctual' THEN
			PERFORM pg_temp.report(me, c);
		END IF;
		before := c;
	END LOOP;
END
$$;

-- the engine
INSERT INTO control_group VALUES (0.1, 'oracle');
SELECT identify(ARRAY['rep:r']::identifier[], kind => 'rep', at => '2026-01-01Z') > 0 AS rep;
UPDATE person SET id = identify(array_remove(ARRAY['user_id:' || name, CASE WHEN mail THEN 'email:' || name || '@example.com' END, CASE WHEN text THEN format('phone:+86138%s%s', lpad(w::text, 6, '0'), lpad(p::text, 2, '0')) END], NULL)::identifier[],
	jsonb_strip_nulls(jsonb_build_object('timezone', zone, 'day', day)), pg_temp.base() - interval '1 day');
SELECT count(tag(id, 'world' || w, NULL, pg_temp.base() - interval '1 day')) > 0 AS tagged FROM person;
SELECT count(relate(id, resolve('rep:r'), 'rep', '2026-01-01Z')) > 0 AS related FROM person WHERE rep;
SELECT count(consent(x.id, d.purpose, d.channel, d.granted, d.at)) > 0 AS decided FROM decision d JOIN person x USING (w, p);

CREATE FUNCTION pg_temp.play(of_mode text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c		timestamptz;
	before	timestamptz := '-infinity';
	a		record;
BEGIN
	PERFORM cdp.create_journey(journey, spec), cdp.activate_journey(journey) FROM spec WHERE pg_temp.mode(w) = of_mode AND version = 1 ORDER BY journey;
	FOR c IN SELECT k.at FROM clock k WHERE k.mode = of_mode ORDER BY k.at LOOP
		FOR a IN SELECT x.*, y.id FROM act x LEFT JOIN person y ON y.name = x.who WHERE pg_temp.mode(x.w) = of_mode AND CASE of_mode WHEN 'punctual' THEN x.arrives > before AND x.arrives <= c ELSE NOT isfinite(before) END
				 ORDER BY CASE of_mode WHEN 'punctual' THEN x.n ELSE pg_temp.rnd(x.n || 'order', 1000000) END LOOP
			CASE a.kind
				WHEN 'event' THEN PERFORM cdp.track(ARRAY[('user_id:' || a.who)::cdp.identifier], a.name, jsonb_strip_nulls(jsonb_build_object('product_id', a.label, 'value', a.value::float8)), a.at);
				WHEN 'history' THEN PERFORM cdp.track(ARRAY[('user_id:' || a.who)::cdp.identifier], a.name, jsonb_strip_nulls(jsonb_build_object('product_id', a.label)), a.at, backfill => true);
				WHEN 'tag' THEN PERFORM cdp.tag(a.id, a.name, NULL, a.at);
				WHEN 'untag' THEN PERFORM cdp.untag(a.id, a.name, a.at);
				WHEN 'trait', 'moves' THEN PERFORM cdp.set_trait(a.id, a.name, to_jsonb(a.value), a.at);
				WHEN 'suppress' THEN PERFORM cdp.suppress(a.id, NULL, a.at);
				WHEN 'unsuppress' THEN PERFORM cdp.unsuppress(a.id, NULL, a.at);
				WHEN 'manual' THEN PERFORM cdp.enter_journey(a.name, a.id, jsonb_strip_nulls(jsonb_build_object('label', a.label, 'k', 'by hand')), a.at);
				WHEN 'pause' THEN PERFORM cdp.pause_journey(a.name);
				WHEN 'activate' THEN PERFORM cdp.activate_journey(a.name);
				WHEN 'version' THEN PERFORM cdp.create_journey(journey, spec), cdp.activate_journey(journey) FROM spec WHERE journey = a.name AND version = 2;
				WHEN 'archive' THEN PERFORM cdp.archive_journey(a.name, a.at);
			END CASE;
		END LOOP;
		PERFORM cdp._fold_timelines(c, 1000000);
		IF of_mode = 'sometimes' THEN
			WHILE cdp.advance_journeys(c, 1 + pg_temp.rnd(c::text || 'bite', 60)) > 0 LOOP
			END LOOP;
		ELSE
			WHILE cdp.advance_journeys(c) > 0 LOOP
			END LOOP;
		END IF;
		IF of_mode = 'punctual' THEN
			PERFORM cdp.ack_message(m.id, pg_temp.outcome(x.name, m.journey, s.key, s.entered_at, m.step, m.due_at), NULL, c)
			FROM (SELECT DISTINCT o.channel FROM cdp.outbox o WHERE o.status = 'pending') h, cdp.claim_messages(h.channel, 10000, at => c) m JOIN cdp.journey_state s USING (run_id) JOIN pg_temp.person x ON x.id = m.profile_id;
		END IF;
		INSERT INTO cdp.task_state (task, last_at) VALUES ('journeys', c) ON CONFLICT (task) DO UPDATE SET last_at = excluded.last_at;
		before := c;
	END LOOP;
	DELETE FROM cdp.task_state;
	INSERT INTO got_run SELECT x.w, x.name, s.journey, s.version, s.key, s.entered_at, s.step, s.due_at, s.status, s.outcome, s.ended_at, s.variant FROM cdp.journey_state s JOIN person x ON x.id = s.profile_id WHERE pg_temp.mode(x.w) = of_mode;
	PERFORM cdp.archive_journey(name, pg_temp.base() + interval '241 h') FROM cdp.journey WHERE status <> 'archived';
END
$$;
CREATE TEMP TABLE got_run (w int, who text, journey text, version int, key text, entered timestamptz, step text, due timestamptz, status text, outcome text, ended timestamptz, variant text);
SELECT pg_temp.play('punctual');
SELECT pg_temp.play('sometimes');
SELECT pg_temp.play('late');
SELECT count(pg_temp.replay(x)) > 0 AS replayed FROM person x;

-- who is where, and how
CREATE TEMP VIEW run_differs AS
SELECT coalesce(g.w, x.w) AS w, coalesce(g.who, o.who) AS who, coalesce(g.journey, o.journey) AS journey, coalesce(g.entered, o.entered) AS at, g.*::text AS engine, o.*::text AS oracle
FROM (SELECT who, journey, version, key, entered, step, due, status, outcome, ended, variant FROM o_run) o
FULL JOIN got_run g ON (g.who, g.journey, g.version, g.key, g.entered) = (o.who, o.journey, o.version, o.key, o.entered) LEFT JOIN person x ON x.name = o.who
WHERE (g.step, g.due, g.status, g.outcome, g.ended, g.variant) IS DISTINCT FROM (o.step, o.due, o.status, o.outcome, o.ended, o.variant);
-- what was said, in the order of each run
CREATE TEMP TABLE said AS
SELECT 'engine' AS by, x.w, x.name AS who, l.journey, l.version, s.key, s.entered_at AS entered, l.step, l.at, l.what, l.detail, row_number() OVER (PARTITION BY x.name, l.journey, l.run_id ORDER BY l.log_id) AS no
FROM journey_log l JOIN person x ON x.id = l.profile_id LEFT JOIN journey_state s USING (run_id) WHERE l.at <= pg_temp.base() + interval '240 h'
UNION ALL
SELECT 'oracle', x.w, l.who, l.journey, l.version, r.key, r.entered, l.step, l.at, l.what, l.detail, row_number() OVER (PARTITION BY l.who, l.journey, l.run ORDER BY l.n)
FROM o_log l JOIN person x ON x.name = l.who LEFT JOIN o_run r USING (run);
CREATE TEMP TABLE said_differs AS
SELECT min(s.by) AS by, s.w, s.who, s.journey, s.version, s.key, s.entered, s.step, s.at, s.what, s.detail, CASE WHEN s.entered IS NOT NULL THEN s.no END AS no
FROM said s GROUP BY s.w, s.who, s.journey, s.version, s.key, s.entered, s.step, s.at, s.what, s.detail, CASE WHEN s.entered IS NOT NULL THEN s.no END
HAVING count(*) FILTER (WHERE s.by = 'engine') <> count(*) FILTER (WHERE s.by = 'oracle');
-- messages
CREATE TEMP TABLE wrote AS
SELECT 'engine' AS by, CASE o.status WHEN 'failed' THEN 'bounced' ELSE o.status END AS status, x.w, x.name AS who, o.journey, o.version, s.key, s.entered_at AS entered, o.step, o.channel, o.purpose, o.declared, o.recipient_id = o.profile_id AS self, o.address, o.template, o.params, o.campaign, o.due_at AS due, o.expires_at AS expires, o.variant, o.priority
FROM outbox o JOIN person x ON x.id = o.profile_id JOIN journey_state s USING (run_id)
UNION ALL
SELECT 'oracle', CASE m.status WHEN 'opened' THEN 'sent' ELSE m.status END, x.w, m.who, r.journey, r.version, r.key, r.entered, m.step, m.channel, m.purpose, m.declared, m.self,
	   CASE WHEN NOT m.self THEN NULL WHEN m.channel LIKE 'mail%' AND x.mail THEN x.name || '@example.com' WHEN m.channel LIKE 'text%' AND x.text THEN format('+86138%s%s', lpad(x.w::text, 6, '0'), lpad(x.p::text, 2, '0')) END,
	   m.step, m.params, s.spec ->> 'campaign', m.due, m.expires, m.variant, s.priority
FROM o_message m JOIN person x ON x.name = m.who JOIN o_run r USING (run) JOIN spec s ON s.journey = r.journey AND s.version = r.version;
CREATE TEMP TABLE wrote_differs AS
SELECT min(by) AS by, status, w, who, journey, version, key, entered, step, channel, purpose, declared, self, address, template, params, campaign, due, expires, variant, priority
FROM wrote GROUP BY status, w, who, journey, version, key, entered, step, channel, purpose, declared, self, address, template, params, campaign, due, expires, variant, priority
HAVING count(*) FILTER (WHERE by = 'engine') <> count(*) FILTER (WHERE by = 'oracle');

SELECT count(*) AS runs FROM run_differs;
SELECT count(*) AS lines FROM said_differs;
SELECT count(*) AS messages FROM wrote_differs;
SELECT * FROM run_differs ORDER BY w, who, journey, at LIMIT 5;
SELECT * FROM said_differs ORDER BY w, who, at, journey, no LIMIT 10;
SELECT * FROM wrote_differs ORDER BY w, who, due LIMIT 5;
-- what is left of tags and traits
SELECT count(*) AS tags FROM person x WHERE has_tag(x.id, 'gold' || x.w) <> EXISTS (SELECT FROM o_tag t WHERE t.who = x.name AND t.tag = 'gold' || x.w);
SELECT count(*) AS traits FROM person x, unnest('{day,tier}'::text[]) n WHERE trait(x.id, n) #>> '{}' IS DISTINCT FROM pg_temp.trait_of(x.name, n);
-- all of it has come up
SELECT k AS status, (SELECT count(*) FROM o_message m WHERE m.status = k) > :worlds / 2 AS plenty FROM unnest('{bounced,opened,pending,sent}'::text[]) k;
SELECT what, count(*) > :worlds / 2 AS plenty FROM o_log GROUP BY what ORDER BY what;
SELECT count(DISTINCT regexp_replace(regexp_replace(detail, ';.*', ''), '^(consent|capped|no address|journey is|journey).*', '\1')) > 9 AS reasons FROM o_log WHERE what IN ('refused', 'waiting');
SELECT count(*) = 25 * :worlds AS cases FROM person x JOIN spec s USING (w) WHERE s.version = 1;
