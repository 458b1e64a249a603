-- A discrete-event oracle: random worlds of journeys with all kinds of steps, random histories and
-- clocks, replayed by a plain simulation that was written from docs/reference/journey.md: same
-- entries, messages, times, reasons and reports.
-- ORACLE_WORLDS=300 ORACLE_SEED=7 in the environment make it long and different (600 at most: 1,000 profiles go side by side).  A world has five
-- journeys and five people; a third of the worlds has a punctual clock and everything that can happen
-- from outside (reports of what became of messages, tags, traits, moves to another zone, events that
-- arrive late, are loaded as history or taken back, entries by hand, pauses, versions, suppression,
-- channels with a pace; merges, unmerges and erasures in every second one), a third one that ticks now and then
-- in small bites, a third a single late tick.  Entries are limited in the first and in the third kind.
-- Chance itself (splits, holdouts) is taken from _draw.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
\set VERBOSITY terse
\set worlds 6
\set seed 1
\getenv worlds ORACLE_WORLDS
\getenv seed ORACLE_SEED

CREATE FUNCTION pg_temp.rnd(what text, n int) RETURNS int LANGUAGE sql IMMUTABLE RETURN mod(abs(hashtextextended(what, :seed) / 2), n)::int;
CREATE FUNCTION pg_temp.pick(what text, VARIADIC options text[]) RETURNS text LANGUAGE sql IMMUTABLE RETURN options[1 + pg_temp.rnd(what, cardinality(options))];
CREATE FUNCTION pg_temp.base() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '2026-03-27Z' $$;	-- Berlin springs forward on the 29th, Sydney falls back on the 5th
CREATE FUNCTION pg_temp.merges(w int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT w % 6 = 3 $$;	-- what else there is in a world
CREATE FUNCTION pg_temp.limits(w int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT w % 6 = 0 OR w % 3 = 2 $$;
CREATE FUNCTION pg_temp.mode(w int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ('{punctual,sometimes,late}'::text[])[1 + w % 3] $$;

-- random worlds: rules, specs, people, what happens

CREATE FUNCTION pg_temp.some_event(s text, w int, labelled boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE pg_temp.rnd(s || 'opened', 9) WHEN 0 THEN pg_temp.pick(s || 'report', 'message_opened', 'message_opened', 'message_unsubscribed') ELSE pg_temp.pick(s || 'ev', 'a', 'b', 'c') || w END
		|| pg_temp.pick(s || 'la', '', '', '', '', '[x]', format('[@set%s]', w), CASE WHEN labelled THEN '[$]' ELSE '' END, CASE WHEN labelled THEN '[$]' ELSE '[x]' END)
		|| pg_temp.pick(s || 'such', '', '', '', '', '', '{value > 5}', '{color = "red"}', '{color != "red", value >= 5}')
$$;
CREATE FUNCTION pg_temp.some_term(s text, w int, labelled boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE pg_temp.rnd(s || 'term', 10)
		WHEN 0 THEN format('last(%s) > %s', pg_temp.some_event(s, w, labelled), pg_temp.pick(s || 'w', '6h', '1d', '2d'))
		WHEN 1 THEN 'gold' || w
		WHEN 2 THEN '!gold' || w
		WHEN 3 THEN format('tier = "%s"', pg_temp.pick(s || 'tier', 'one', 'two'))
		WHEN 4 THEN format('count(message_sent, %s) %s %s', pg_temp.pick(s || 'w', '6h', '1d', '2d'), pg_temp.pick(s || 'op', '<', '>='), 1 + pg_temp.rnd(s || 'n', 2))
		-- of another journey, whatever the name of s says which one this is
		WHEN 5 THEN format('%s:w%sj%s', pg_temp.pick(s || 'run', 'journey', '!journey', 'held_out'), w, 1 + (split_part(s, '/', 2)::int + pg_temp.rnd(s || 'which', 4)) % 5)
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
		'params', pg_temp.pick(s || 'pa', NULL, '{"l": "{{entry.label}}", "t": "a {{ trait.tier }}", "n": 3}', '{"v": "{{entry.value}}{{context.k}}", "e": "{{entry.event}} {{entry.at}}", "c": "{{entry.properties.color}}"}')::jsonb))
$$;

CREATE FUNCTION pg_temp.some_step(s text, w int, i int, next text, other text, back text, labelled boolean) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE pg_temp.rnd(s || 'kind', 20)
		WHEN 0 THEN jsonb_build_object('wait', pg_temp.pick(s, '7h', '1d', '2d'), 'next', back)
		WHEN 1 THEN jsonb_build_object('wait', pg_temp.pick(s, '2h', '12h', '2d'), 'next', next)
		WHEN 2 THEN jsonb_build_object('wait_until', pg_temp.pick(s, '"09:00"', '"02:00"', '{"time": "00:00"}')::jsonb, 'next', next)
		WHEN 3 THEN jsonb_build_object('wait_until', pg_temp.pick(s, '{"weekday": "monday"}', '{"weekday": ["sunday", "Wednesday"], "time": "02:00"}')::jsonb, 'next', next)
		WHEN 4 THEN jsonb_build_object('wait_until', pg_temp.pick(s, '{"trait": "born", "yearly": true}', '{"trait": "born", "yearly": true, "time": "10:00", "offset": "-1d"}', '{"trait": "born", "yearly": true, "offset": "+12h"}', '{"trait": "day"}', '{"trait": "day", "time": "10:00"}', '{"trait": "day", "offset": "-1d", "time": "02:00"}', '{"trait": "day", "offset": "+12h"}')::jsonb, 'next', next)
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
	entry	jsonb := CASE pg_temp.rnd(s || 'entry', 10)
		WHEN 0 THEN jsonb_build_object('enters', 'gold' || w)
		WHEN 1 THEN jsonb_build_object('leaves', 'gold' || w)
		WHEN 2 THEN jsonb_build_object('who', format('world%s & %s', w, pg_temp.some_term(s || 'who', w, false))) ||
						pg_temp.pick(s || 'every', '{"at": "2026-03-29"}', '{"at": "2026-03-31T12:00Z"}', '{"at": "2026-03-28T06:00", "every": "2d"}', '{"at": "2026-03-28T05:00+01:00", "every": "1d"}', '{"at": "2026-03-20", "every": "36h"}', '{"every": "50h"}')::jsonb
		WHEN 5 THEN CASE WHEN punctual THEN jsonb_build_object('due', pg_temp.pick(s || 'due', 'a', 'b', 'b') || w || pg_temp.pick(s || 'label', '', '[*]', '[x]', format('[@set%s]', w)), 'before', pg_temp.pick(s || 'before', '3h', '7h', '1d')) ELSE jsonb_build_object('on', 'a' || w) END
		WHEN 3 THEN jsonb_build_object('on', jsonb_build_array('a' || w || pg_temp.pick(s || 'such', '', format('[@set%s]', w), '{color = "red"}'), 'b' || w || '[x]'))
		WHEN 4 THEN CASE WHEN punctual THEN jsonb '{"manual": true}' ELSE jsonb_build_object('on', 'c' || w) END
		ELSE jsonb_build_object('on', pg_temp.pick(s || 'on', 'a', 'a', 'b', 'c') || w) END;
	labelled boolean := entry ?| '{on,manual,due}';
	steps	jsonb := '{}';
	i		int;
	seen	text[] := '{s1}';
BEGIN
	entry := jsonb_strip_nulls(entry || jsonb_build_object('when', pg_temp.pick(s || 'when', NULL, NULL, pg_temp.some_rule(s || 'when', w, labelled)), 'key', CASE WHEN labelled THEN pg_temp.pick(s || 'key', NULL, NULL, 'label') END))
		|| CASE WHEN pg_temp.limits(w) THEN pg_temp.pick(s || 'limit', '{}', '{}', '{"concurrency": 2}', '{"cap": {"max": 3, "per": "1d"}}', '{"cap": {"max": 2, "per": "7h"}, "concurrency": 1}', '{"cap": {"max": 6}}')::jsonb ELSE '{}' END
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
	   pg_temp.rnd(format('%s/%s mail', w, p), 4) > 0 AS mail, pg_temp.rnd(format('%s/%s text', w, p), 4) > 0 AS text, pg_temp.rnd(format('%s/%s rep', w, p), 4) > 0 AS rep,
	   pg_temp.pick(format('%s/%s day', w, p), NULL, '2026-03-30', '2026-04-03', 'soon') AS day, pg_temp.pick(format('%s/%s born', w, p), NULL, '1990-03-31', '1988-04-02', '1992-02-29', '2030-04-01', '1970-12-31T23:30:00Z') AS born,
	   pg_temp.base() - interval '1 day' + p * interval '1 min' AS since
FROM generate_series(1, :worlds) w, generate_series(1, 5) p;

CREATE TEMP TABLE happening AS	-- ref: a message id
SELECT x.*, x.at + CASE WHEN w % 3 = 0 AND pg_temp.rnd(x::text || 'late', 7) = 0 THEN 2 + 2 * pg_temp.rnd(x::text || 'how', 12) ELSE 0 END * interval '1 h' AS arrives
FROM (
	SELECT w, format('w%sp%s', w, p) AS who, pg_temp.base() + slot * interval '2 h' AS at, 'event' AS kind, e.event || w AS name, nullif(e.label, '') AS label, concat_ws('/', 'm', w, p, slot, e.event, e.label) AS ref,
		   jsonb_strip_nulls(jsonb_build_object('product_id', nullif(e.label, ''), 'value', pg_temp.pick(format('%s/%s/%s value', w, p, slot), NULL, '5', '7.5')::float8, 'color', pg_temp.pick(format('%s/%s/%s %s', w, p, slot, e.label), NULL, 'red', 'blue'))) AS props
	FROM generate_series(1, :worlds) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('a', 'x'), ('a', 'y'), ('a', ''), ('b', 'x'), ('b', 'y'), ('c', 'x'), ('c', '')) e(event, label)
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, e.event, e.label), 12 + 12 * p) = 0
	UNION ALL	-- what is loaded afterwards
	SELECT w, format('w%sp%s', w, p), pg_temp.base() + slot * interval '2 h', 'history', e.event || w, nullif(e.label, ''), concat_ws('/', 'h', w, p, slot, e.event, e.label),
		   jsonb_strip_nulls(jsonb_build_object('product_id', nullif(e.label, ''), 'color', 'red'))
	FROM generate_series(1, :worlds) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('a', 'x'), ('b', ''), ('c', 'x')) e(event, label)
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, e.event, e.label, 'history'), 60) = 0) x;
-- who NULL: something that is done to a journey, or to two people
CREATE TEMP TABLE act AS
SELECT row_number() OVER (ORDER BY x.arrives, x.who IS NOT NULL, x.kind <> 'event', x.kind IN ('retract', 'erase'), x.at, hashtext(concat_ws('/', x.w, x.who, x.kind, x.name, x.label))) AS n, x.*
FROM (
	TABLE happening
	UNION ALL	-- from here on for punctual clocks only
	SELECT w, who, at, 'retract', name, label, ref, props, arrives + pg_temp.pick(ref || 'back', '0 h', '2 h', '10 h')::interval FROM happening WHERE w % 3 = 0 AND pg_temp.rnd(ref || 'retract', 20) = 0
	UNION ALL
	SELECT w, format('w%sp%s', w, p), x.at, k.kind, CASE k.kind WHEN 'manual' THEN format('w%sj%s', w, 1 + pg_temp.rnd(format('%s/%s/%s j', w, p, slot), 5)) WHEN 'trait' THEN pg_temp.pick(format('%s/%s/%s tr', w, p, slot), 'day', 'day', 'tier', 'born', 'born') WHEN 'moves' THEN 'timezone' ELSE 'gold' || w END,
		   pg_temp.pick(format('%s/%s/%s ml', w, p, slot), NULL, 'x', 'y'), NULL,
		   to_jsonb(CASE k.kind WHEN 'moves' THEN pg_temp.pick(format('%s/%s/%s zone', w, p, slot), 'Europe/Berlin', 'Australia/Sydney', 'America/New_York', 'Mars/Base') ELSE pg_temp.pick(format('%s/%s/%s tv', w, p, slot), '2026-03-30', '2026-04-03', '2026-03-31T08:00:00Z', '2026-04-01', '1999-04-04', 'one', 'two') END), x.at
	FROM generate_series(3, :worlds, 3) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('tag', 60), ('untag', 70), ('trait', 60), ('moves', 60), ('manual', 25), ('suppress', 500), ('unsuppress', 300)) k(kind, rare), LATERAL (SELECT pg_temp.base() + slot * interval '2 h' AS at) x
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, k.kind), k.rare) = 0
	UNION ALL
	SELECT w, NULL, x.at, k.kind, format('w%sj%s', w, k.j), NULL, NULL, NULL, x.at
	FROM generate_series(3, :worlds, 3) w, (VALUES ('pause', 1, 2), ('activate', 1, 3), ('version', 2, 3), ('pause', 3, 1), ('version', 3, 2), ('pause', 4, 2), ('archive', 4, 4), ('archive', 5, 6), ('crowd', 1, 5), ('crowd', 2, 1), ('crowd', 5, 2)) k(kind, j, day),
		 LATERAL (SELECT pg_temp.base() + k.day * interval '24 h' + pg_temp.rnd(format('%s %s hour', w, k.kind), 12) * interval '2 h' AS at) x
	WHERE pg_temp.rnd(format('%s acts', w), 4) > 0
	UNION ALL	-- the fifth goes for good
	SELECT w, format('w%sp5', w), x.at, 'erase', NULL, NULL, NULL, NULL, x.at FROM generate_series(3, :worlds, 3) w, LATERAL (SELECT pg_temp.base() + (30 + pg_temp.rnd(w || 'erase', 60)) * interval '2 h' AS at) x WHERE pg_temp.merges(w) AND pg_temp.rnd(w || 'erased', 2) = 0
	UNION ALL	-- two become one, two again, and one
	SELECT w, NULL, x.at, k.kind, format('w%sp%s', w, CASE WHEN pg_temp.rnd(format('%s %s first', w, pair), 2) = 0 THEN pair ELSE pair + 1 END), format('w%sp%s', w, CASE WHEN pg_temp.rnd(format('%s %s first', w, pair), 2) = 0 THEN pair + 1 ELSE pair END), NULL, NULL, x.at
	FROM generate_series(3, :worlds, 3) w, unnest('{1,3}'::int[]) pair, (VALUES ('merge', 1), ('unmerge', 3), ('merge', 6), ('unmerge', 8)) k(kind, day),
		 LATERAL (SELECT pg_temp.base() + k.day * interval '24 h' + pg_temp.rnd(format('%s %s %s merge hour', w, pair, k.day), 24) * interval '2 h' AS at) x
	WHERE pg_temp.merges(w)) x;
DELETE FROM act a USING act e WHERE e.kind = 'erase' AND a.who = e.who AND a.n > e.n;
CREATE INDEX ON act (w, arrives);
CREATE TEMP TABLE decision AS
SELECT w, p, u.purpose, c.channel || w AS channel, g > 0 AS granted, pg_temp.base() + (CASE turn WHEN 1 THEN -24 ELSE 2 * pg_temp.rnd(concat_ws('/', w, p, u, c, turn, 'at'), 100) END) * interval '1 h' AS at
FROM generate_series(1, :worlds) w, generate_series(1, 5) p, (VALUES ('marketing', 6), ('news', 3), ('transactional', 1)) u(purpose, often), (VALUES ('mail'), ('text')) c(channel), generate_series(1, 3) turn,
	 LATERAL (SELECT pg_temp.rnd(concat_ws('/', w, p, u, c, turn), 5) AS g) x
WHERE pg_temp.rnd(concat_ws('/', w, p, u, c, turn, 'said'), 8) < u.often;
CREATE TEMP TABLE clock AS
SELECT mode, t AS at FROM (VALUES ('punctual', 1), ('sometimes', 12), ('late', 1000000)) m(mode, rare), generate_series(pg_temp.base(), pg_temp.base() + interval '240 h', '2 h') t
WHERE pg_temp.rnd(t::text || mode, rare) = 0 OR t = pg_temp.base() + interval '240 h';

INSERT INTO purpose (name, needs_consent, capped, quiet) VALUES ('news', true, false, true);
INSERT INTO channel (name, namespace, per_minute) SELECT c || w, CASE c WHEN 'mail' THEN 'email' ELSE 'phone' END, CASE WHEN w % 3 = 0 THEN pg_temp.pick(w || c || 'pace', NULL, NULL, '1', '2')::int END FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w;
INSERT INTO frequency_cap (channel, max, per, kind, tz)
SELECT c || w, CASE pg_temp.rnd(concat_ws('/', c, w, x.per, 'none'), 15) WHEN 0 THEN 0 ELSE 1 + pg_temp.rnd(concat_ws('/', c, w, x.per, 'max'), 2) END,
	   x.per::interval, x.kind, pg_temp.pick(concat_ws('/', c, w, 'tz'), 'UTC', 'Europe/Berlin')
FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w, (VALUES ('12 hours', 'rolling'), ('2 days', 'rolling'), ('1 day', 'calendar_day'), ('3 days', 'calendar_day')) x(per, kind)
WHERE pg_temp.rnd(concat_ws('/', c, w, x.per, x.kind), 5) < 2;
INSERT INTO frequency_cap (channel, max, per, kind) VALUES ('*', 3, '1 day', 'calendar_day'), ('*', 6, '4 days', 'rolling');
INSERT INTO quiet_hours SELECT c || w, x.since::time, x.until::time, pg_temp.pick(concat_ws('/', c, w, 'tz2'), 'UTC', 'America/New_York')
FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w, (VALUES ('22:00', '08:00'), ('12:00', '14:00'), ('01:00', '02:00'), ('00:00', '00:00')) x(since, until)
WHERE pg_temp.rnd(concat_ws('/', c, w, x.since), CASE x.until WHEN '00:00' THEN 20 ELSE 4 END) = 0;
INSERT INTO repurchase_clock (event, by, max_labels) SELECT e || w, by, 1000000 FROM unnest('{a,b}'::text[]) e, generate_series(3, :worlds, 3) w, unnest('{event,label,label_set}'::text[]) by;
INSERT INTO repurchase_prior (event, gap, weight) SELECT 'b' || w, '27 h', 1e18 FROM generate_series(6, :worlds, 6) w;	-- which outweighs everything
INSERT INTO label_set SELECT 'set' || w, l FROM generate_series(1, :worlds) w, unnest('{x,y}'::text[]) l WHERE l = 'x' OR w % 2 = 0;

-- The oracle's state.  "who" is a whole person: the one that its leaves are at present; "leaf", "owner" one of its parts.
CREATE TEMP TABLE o_is (leaf text, who text, since timestamptz);	-- since when they are one
CREATE TEMP TABLE o_journey (journey text, status text, version int, next timestamptz);	-- next: when its audience is to enter
CREATE TEMP TABLE o_run (run serial, who text, owner text, journey text, version int, key text, label text, entry jsonb, context jsonb, entered timestamptz, arrived timestamptz, step text, due timestamptz, status text DEFAULT 'active', outcome text, ended timestamptz, variant text, instead int);
CREATE TEMP TABLE o_visit (run int, step text);
CREATE TEMP TABLE o_log (n serial, who text, journey text, version int, run int, step text, at timestamptz, what text, detail text, value float8);
CREATE TEMP TABLE o_message (n serial, who text, owner text, run int, step text, channel text, purpose text, declared boolean, self boolean, counts boolean, address text, params jsonb, at timestamptz, due timestamptz, expires timestamptz, variant text, priority int, status text DEFAULT 'pending', attempts int DEFAULT 0);
CREATE TEMP TABLE o_bounced (leaf text, channel text);	-- whose address
CREATE TEMP TABLE o_event (leaf text, name text, at timestamptz, label text, props jsonb, ref text);
CREATE TEMP TABLE o_tag (who text, tag text);
CREATE TEMP TABLE o_own_tag (who text, tag text);	-- that it would have without the merge
CREATE TEMP TABLE o_trait (leaf text, name text, value jsonb, at timestamptz);
CREATE TEMP TABLE o_decision (leaf text, purpose text, channel text, granted boolean, at timestamptz);
CREATE TEMP TABLE o_trigger (n serial, leaf text, source text, name text, at timestamptz, label text, props jsonb, ref text);
CREATE TEMP TABLE o_due (who text, event text, label text, last timestamptz, due timestamptz);	-- label: '' for the event as a whole, @set1 for a set
CREATE TEMP TABLE o_stirred (who text, how text);	-- to whom an event, history or a merge has come since the last tick
CREATE TEMP TABLE o_now (who text, LIKE o_trigger);	-- what takes effect at this instant
CREATE TEMP TABLE o_cap AS SELECT * FROM frequency_cap;
CREATE TEMP TABLE o_quiet AS SELECT * FROM quiet_hours;
CREATE INDEX ON person (name); CREATE INDEX ON o_run (run); CREATE INDEX ON o_log (run);
CREATE TEMP TABLE all_run (LIKE o_run); CREATE TEMP TABLE all_log (LIKE o_log); CREATE TEMP TABLE all_message (LIKE o_message); CREATE TEMP TABLE all_tag (LIKE o_tag); CREATE TEMP TABLE all_trait (LIKE o_trait);	-- of all worlds

CREATE FUNCTION pg_temp.who(l text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT i.who FROM o_is i WHERE i.leaf = l);
END
$$;
CREATE FUNCTION pg_temp.leaves(me text) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY SELECT i.leaf FROM o_is i WHERE i.who = me;
END
$$;
CREATE FUNCTION pg_temp.id(l text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT p.id FROM person p WHERE p.name = l);
END
$$;

CREATE FUNCTION pg_temp.length(d text) RETURNS interval LANGUAGE sql IMMUTABLE RETURN
	make_interval(hours => rtrim(d, 'hd')::int * CASE right(d, 1) WHEN 'h' THEN 1 ELSE 24 END);
-- is this event meant?  a1, a1[x], a1[$], a1[@set1], a1[x]{value > 5, color = "red"}
CREATE FUNCTION pg_temp.refers(reference text, event text, label text, bound text, props jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	m	text[] := regexp_match(reference, '^(\w+)(?:\[(\S+)\])?(?:\{(.*)\})?$');
BEGIN
	RETURN m[1] = event
		AND CASE WHEN m[2] IS NULL THEN true WHEN m[2] LIKE '@%' THEN EXISTS (SELECT FROM label_set s WHERE s.name = substr(m[2], 2) AND s.label = refers.label)
				 ELSE coalesce(label = CASE m[2] WHEN '$' THEN bound ELSE m[2] END, false) END
		AND CASE m[3] WHEN 'value > 5' THEN coalesce((props ->> 'value')::float8 > 5, false)
				 WHEN 'color = "red"' THEN coalesce(props ->> 'color' = 'red', false)
				 WHEN 'color != "red", value >= 5' THEN coalesce(props ->> 'color' <> 'red' AND (props ->> 'value')::float8 >= 5, false) ELSE m[3] IS NULL END;
END
$$;
-- of several events, which one?
CREATE FUNCTION pg_temp.refers_any(reference jsonb, event text, label text, bound text, props jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE jsonb_typeof(reference) WHEN 'array' THEN (SELECT bool_or(pg_temp.refers(r, event, label, bound, props)) FROM jsonb_array_elements_text(reference) r)
			WHEN 'string' THEN pg_temp.refers(reference #>> '{}', event, label, bound, props) ELSE false END;
END
$$;
CREATE FUNCTION pg_temp.happened(me text, reference jsonb, since timestamptz, t timestamptz, bound text) RETURNS int LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT count(*) FROM o_event a WHERE a.at > since AND a.at <= t AND reference::text LIKE '%' || a.name || '%' AND a.leaf IN (SELECT pg_temp.leaves(me)) AND pg_temp.refers_any(reference, a.name, a.label, bound, a.props));
END
$$;
CREATE FUNCTION pg_temp.trait_of(me text, which text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT t.value #>> '{}' FROM o_trait t WHERE t.leaf IN (SELECT pg_temp.leaves(me)) AND t.name = which ORDER BY t.at DESC, t.value DESC LIMIT 1);
END
$$;
-- The decision in force; NULL: there is none.  What was said since they are one replaces what each had said, of which one refusal is enough.
CREATE FUNCTION pg_temp.decided(me text, of_purpose text, of_channel text, t timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	one	timestamptz := (SELECT max(i.since) FROM o_is i WHERE i.who = me);
	d	o_decision[] := ARRAY(SELECT x FROM o_decision x WHERE x.leaf IN (SELECT pg_temp.leaves(me)) AND x.purpose = of_purpose AND x.channel = of_channel AND x.at <= t);
BEGIN
	IF EXISTS (SELECT FROM unnest(d) x WHERE x.at >= one) THEN
		RETURN (SELECT bool_and(x.granted) FROM unnest(d) x WHERE x.at = (SELECT max(y.at) FROM unnest(d) y));
	END IF;
	RETURN (SELECT bool_and(x.granted) FROM unnest(d) x WHERE x.at = (SELECT max(y.at) FROM unnest(d) y WHERE y.leaf = x.leaf));
END
$$;
CREATE FUNCTION pg_temp.suppressed(me text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN NOT coalesce(pg_temp.decided(me, '*', '*', 'infinity'), true);
END
$$;
CREATE FUNCTION pg_temp.allowed(me text, of_purpose text, declared boolean, of_channel text, t timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN declared AND of_purpose = 'transactional' OR coalesce(pg_temp.decided(me, of_purpose, of_channel, t), NOT declared);
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
	ELSIF rule LIKE '!%' THEN
		RETURN NOT pg_temp.holds(substr(rule, 2), me, t, bound);
	ELSIF rule ~ '^(gold|world)' THEN
		RETURN EXISTS (SELECT FROM o_tag x WHERE x.who = me AND x.tag = rule);
	ELSIF rule LIKE 'journey:%' THEN
		RETURN EXISTS (SELECT FROM o_run r WHERE r.who = me AND r.journey = substr(rule, 9) AND r.status = 'active');
	ELSIF rule LIKE 'held\_out:%' THEN
		RETURN EXISTS (SELECT FROM o_run r WHERE r.who IN (SELECT pg_temp.leaves(me)) AND r.journey = substr(rule, 10) AND r.outcome = 'held_out');
	ELSIF rule LIKE 'tier%' THEN
		RETURN coalesce(pg_temp.trait_of(me, 'tier') = substring(rule, '"(.*)"'), false);
	ELSIF rule LIKE 'last%' THEN
		m := regexp_match(rule, '^last\((.*)\) > (\w+)$');
		RETURN pg_temp.happened(me, to_jsonb(m[1]), '-infinity', t, bound) > 0 AND pg_temp.happened(me, to_jsonb(m[1]), t - pg_temp.length(m[2]) - interval '1 microsecond', t, bound) = 0;
	END IF;
	m := regexp_match(rule, '^count\((\w+(?:\[\S+?\])?(?:\{[^}]*\})?)(?:, (\w+))?\) (\S+) (\d)$');
	IF m[1] = 'message_sent' THEN
		SELECT count(*) INTO n FROM o_message x WHERE x.owner IN (SELECT pg_temp.leaves(me)) AND x.at <= t AND x.at > t - pg_temp.length(m[2]);
	ELSE
		n := pg_temp.happened(me, to_jsonb(m[1]), coalesce(t - pg_temp.length(m[2]), '-infinity'), t, bound);
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
	hours	interval := CASE wait ->> 'offset' WHEN '+12h' THEN '12 h' ELSE '0' END;
	days	text[];
BEGIN
	IF jsonb_typeof(wait) = 'string' THEN
		wait := jsonb_build_object('time', wait);
	END IF;
	IF wait ? 'trait' THEN
		value := pg_temp.trait_of(me, wait ->> 'trait');
		IF value IS NULL OR value !~ '^\d{4}-' THEN
			RETURN 'infinity';
		ELSIF value LIKE '%T%' AND NOT wait ?| '{time,yearly}' THEN
			RETURN greatest(t, value::timestamptz + CASE wait ->> 'offset' WHEN '-1d' THEN interval '-24 h' ELSE hours END);
		END IF;
		day := CASE WHEN value LIKE '%T%' THEN (value::timestamptz AT TIME ZONE zone)::date ELSE value::date END;
		-- every anniversary, or the day itself; a day of the calendar earlier, or some hours later
		RETURN (SELECT greatest(t, min(x.h)) FROM (
					SELECT pg_temp.clock_shows((day + y * interval '1 year')::date - CASE wait ->> 'offset' WHEN '-1d' THEN 1 ELSE 0 END, coalesce((wait ->> 'time')::time, '00:00'), zone) + hours AS h
					FROM generate_series(0, CASE WHEN wait ? 'yearly' THEN 60 ELSE 0 END) y) x
				WHERE NOT wait ? 'yearly' OR x.h >= t);
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
	sent	timestamptz[] := ARRAY(SELECT m.due FROM o_message m WHERE m.owner IN (SELECT pg_temp.leaves(me)) AND m.self AND m.counts AND ((c).channel = '*' OR m.channel = (c).channel));
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
-- Whose address on a channel: the newest one that has not bounced, NULL if there is none; bounced: there are some, and all have.
CREATE FUNCTION pg_temp.reach(me text, of_channel text, OUT leaf text, OUT bounced boolean) LANGUAGE plpgsql STABLE AS $$
BEGIN
	SELECT (array_agg(p.name ORDER BY p.since DESC) FILTER (WHERE b.leaf IS NULL))[1], coalesce(bool_and(b.leaf IS NOT NULL), false) INTO leaf, bounced
	FROM person p LEFT JOIN o_bounced b ON b.leaf = p.name AND b.channel = of_channel
	WHERE p.name IN (SELECT pg_temp.leaves(me)) AND CASE WHEN of_channel LIKE 'mail%' THEN p.mail ELSE p.text END;
END
$$;

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
BEGIN
	IF per IS NULL THEN
		RETURN (SELECT count(*) FROM o_run r WHERE r.journey = of_journey);
	END IF;
	RETURN (SELECT max((SELECT count(*) FROM o_run r WHERE r.journey = of_journey AND r.entered > h - per AND r.entered <= h)) FROM generate_series(t, t + per - interval '1 h', '1 h') h);
END
$$;
CREATE FUNCTION pg_temp.inside(of_journey text, t timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT max((SELECT count(*) FROM o_run r WHERE r.journey = of_journey AND r.outcome IS DISTINCT FROM 'held_out' AND r.entered <= h AND coalesce(r.ended, 'infinity') > h))
			FROM generate_series(t, greatest(t, (SELECT max(r.entered) FROM o_run r WHERE r.journey = of_journey)), '1 h') h);
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
	DELETE FROM o_tag x WHERE x.who = me AND x.tag = which;
	DELETE FROM o_own_tag x WHERE x.who = me AND x.tag = which;
	IF present THEN
		INSERT INTO o_tag VALUES (me, which);
		INSERT INTO o_own_tag VALUES (me, which);
	END IF;
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
		SELECT NULL::text AS leaf, false AS bounced INTO a;		-- representatives have no addresses
		IF self THEN
			SELECT x.* INTO a FROM pg_temp.reach(r.who, c) x;
		END IF;
		IF a.bounced THEN
			why := why || ('bounced: ' || c);
			CONTINUE;
		ELSIF listed AND a.leaf IS NULL THEN
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
			INSERT INTO o_message (who, owner, run, step, channel, purpose, declared, self, counts, address, params, at, due, expires, variant, priority)
			VALUES (r.who, r.owner, r.run, r.step, c, purpose, spec ? 'purpose' AND (self OR purpose = 'transactional'), self, purpose = 'marketing', a.leaf, pg_temp.fill(send -> 'params', r), t, slot.due, lapses, nullif(r.variant, ''), coalesce((spec ->> 'priority')::int, 50));
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

-- What a channel says about a message; punctual clocks hear it at once.  Which messages a channel with a pace takes first: the
-- important ones, then those that are due first, then by id (which is that of the engine's).
CREATE FUNCTION pg_temp.outcome(who text, journey text, key text, entered timestamptz, step text, due timestamptz, attempt int, self boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT pg_temp.pick(concat_ws('/', who, journey, key, extract(epoch FROM entered), step, extract(epoch FROM due), attempt, 'outcome'), 'sent', 'sent', 'sent', 'opened', 'opened', 'bounced', 'failed', 'failed', CASE WHEN self THEN 'unsubscribed' ELSE 'failed' END)
$$;
CREATE FUNCTION pg_temp.report(of_world int, c timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	m		record;
	ch		record;
	room	int;
	said	text;
	me		text;
BEGIN
	FOR ch IN SELECT x.name, x.per_minute FROM channel x WHERE x.name IN ('mail' || of_world, 'text' || of_world) ORDER BY x.name LOOP
		room := ch.per_minute;
		FOR m IN SELECT x.*, r.journey, r.key, r.entered FROM o_message x JOIN o_run r USING (run)
				 WHERE x.channel = ch.name AND x.who <> 'nobody' AND x.status = 'pending' AND x.due <= c AND (x.expires > c) IS NOT FALSE
				 ORDER BY x.priority DESC, x.due, CASE WHEN ch.per_minute IS NOT NULL THEN
					(SELECT min(o.id) FROM outbox o JOIN journey_state s ON s.run_id = o.run_id WHERE o.profile_id = pg_temp.id(x.who) AND o.journey = r.journey AND s.key = r.key AND s.entered_at = r.entered AND o.step = x.step AND o.due_at = x.due) END, x.n LOOP
			EXIT WHEN room <= 0;
			me := pg_temp.who(m.who);
			said := CASE
				WHEN pg_temp.suppressed(me) THEN 'refused'
				WHEN m.self AND NOT pg_temp.allowed(me, m.purpose, m.declared, m.channel, c) THEN 'refused'
				WHEN EXISTS (SELECT FROM o_bounced b WHERE b.leaf = m.address AND b.channel = m.channel) THEN 'refused'
				ELSE pg_temp.outcome(m.owner, m.journey, m.key, m.entered, m.step, m.due, m.attempts + 1, m.self) END;
			room := room - CASE said WHEN 'refused' THEN 0 ELSE 1 END;
			IF said = 'failed' THEN		-- again next time, but not for ever
				said := CASE m.attempts WHEN 4 THEN 'dead' ELSE 'pending' END;
			END IF;
			UPDATE o_message x SET status = said, attempts = x.attempts + 1, counts = x.counts AND said NOT IN ('refused', 'bounced', 'dead') WHERE x.n = m.n;
			IF said IN ('opened', 'unsubscribed') THEN
				INSERT INTO o_event VALUES (m.owner, 'message_' || said, c, m.journey);
				INSERT INTO o_trigger (leaf, source, name, at, label) VALUES (m.owner, 'event', 'message_' || said, c, m.journey);
			END IF;
		END LOOP;
	END LOOP;
	INSERT INTO o_decision SELECT DISTINCT pg_temp.who(x.who), x.purpose, x.channel, false, c FROM o_message x WHERE x.status = 'unsubscribed' AND x.who <> 'nobody';
	UPDATE o_message SET status = 'opened' WHERE status = 'unsubscribed';
	INSERT INTO o_bounced SELECT DISTINCT x.address, x.channel FROM o_message x
	WHERE x.channel IN ('mail' || of_world, 'text' || of_world) AND x.status = 'bounced' AND x.address IS NOT NULL
	  AND NOT EXISTS (SELECT FROM o_bounced b WHERE b.leaf = x.address AND b.channel = x.channel);
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
		PERFORM pg_temp.enter(e.who, e.leaf, e.journey, t, jsonb_strip_nulls(jsonb_build_object(e.source, e.name, 'label', e.label, 'value', e.props -> 'value', 'at', to_char(t, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'ref', e.ref)), '{}');
	END LOOP;
END
$$;

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
	DELETE FROM o_stirred;
END
$$;

-- Two people become one.  Of two runs in one journey with one key the earlier goes on.
CREATE FUNCTION pg_temp.merge(survivor text, merged text, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r	o_run;
	go	int;
BEGIN
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
	UPDATE o_is SET who = survivor, since = t WHERE leaf IN (survivor, merged);
	INSERT INTO o_tag SELECT survivor, x.tag FROM o_tag x WHERE x.who = merged AND NOT EXISTS (SELECT FROM o_tag y WHERE y.who = survivor AND y.tag = x.tag);
	DELETE FROM o_tag x WHERE x.who = merged;
	INSERT INTO o_trigger (leaf, source, name, at) SELECT survivor, 'trait', n, t FROM unnest('{born,day,timezone}'::text[]) n;	-- it may be another one now
	INSERT INTO o_stirred VALUES (survivor, 'merge');
	DELETE FROM o_due d WHERE d.who = merged;
	DELETE FROM o_trigger x WHERE x.leaf = merged AND x.source = 'due';
END
$$;
CREATE FUNCTION pg_temp.unmerge(survivor text, merged text, t timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r	record;
BEGIN
	UPDATE o_is SET who = leaf, since = NULL WHERE leaf IN (survivor, merged);
	INSERT INTO o_trigger (leaf, source, name, at) SELECT l, 'trait', n, t FROM unnest(ARRAY[survivor, merged]) l, unnest('{born,day,timezone}'::text[]) n;
	INSERT INTO o_stirred VALUES (survivor, 'merge'), (merged, 'merge');
	DELETE FROM o_tag x WHERE x.who IN (survivor, merged);
	INSERT INTO o_tag SELECT * FROM o_own_tag x WHERE x.who IN (survivor, merged);
	-- Who comes together now, each with those that another one's run had ended: the earliest goes on.
	FOR r IN SELECT o.*, first_value(o.run) OVER (PARTITION BY o.owner, o.journey, o.key ORDER BY o.entered, o.run) AS first
			 FROM o_run o LEFT JOIN o_run i ON i.run = o.instead JOIN o_journey j ON j.journey = o.journey
			 WHERE o.owner IN (survivor, merged) AND (o.status = 'active' OR o.outcome = 'merged' AND i.owner <> o.owner AND j.status <> 'archived') ORDER BY o.status, o.run LOOP
		IF r.status = 'active' AND r.first <> r.run THEN
			PERFORM pg_temp.finish(r.run, t, 'merged', 'ended', 'an earlier run goes on again');
			UPDATE o_run SET instead = r.first, who = owner WHERE run = r.run;
		ELSIF r.status <> 'active' AND r.first <> r.run THEN
			UPDATE o_run SET instead = r.first WHERE run = r.run;
		ELSIF r.status <> 'active' OR r.who <> r.owner THEN
			UPDATE o_run SET status = 'active', outcome = NULL, ended = NULL, instead = NULL, who = owner WHERE run = r.run;
			INSERT INTO o_log (who, journey, version, run, step, at, what, detail) VALUES (r.owner, r.journey, r.version, r.run, r.step, t, CASE r.status WHEN 'active' THEN 'moved' ELSE 'resumed' END, 'a merge was undone');
		END IF;
	END LOOP;
	UPDATE o_run SET who = owner WHERE owner IN (survivor, merged);
	-- Messages go with their runs, and to no address of the other one that nobody has them for yet.
	UPDATE o_message m SET who = m.owner WHERE m.owner IN (survivor, merged);
	UPDATE o_message m SET address = (SELECT x.leaf FROM pg_temp.reach(m.owner, m.channel) x) WHERE m.owner IN (survivor, merged) AND m.self AND m.status = 'pending' AND m.address <> m.owner;
END
$$;

-- Nothing of somebody stays but what reports have counted.
CREATE FUNCTION pg_temp.erase(me text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM o_is WHERE leaf = me;
	DELETE FROM o_event WHERE leaf = me;
	DELETE FROM o_trigger WHERE leaf = me;
	DELETE FROM o_tag WHERE who = me;
	DELETE FROM o_trait WHERE leaf = me;
	DELETE FROM o_due WHERE who = me;
	DELETE FROM o_stirred WHERE who = me;
	UPDATE o_run SET who = 'nobody', owner = 'nobody', status = 'ended' WHERE who = me;
	UPDATE o_log SET who = 'nobody' WHERE who = me;
	UPDATE o_message SET who = 'nobody', owner = 'nobody' WHERE who = me;
END
$$;

CREATE FUNCTION pg_temp.replay(of_world int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	my_mode	text := pg_temp.mode(of_world);
	c		timestamptz;
	before	timestamptz := '-infinity';
	t		timestamptz;
	a		act;
BEGIN
	TRUNCATE o_trigger, o_journey, o_is, o_due, o_stirred, o_run, o_visit, o_log, o_message, o_bounced, o_event, o_tag, o_own_tag, o_trait, o_decision;
	INSERT INTO o_is SELECT name, name FROM person WHERE w = of_world;
	INSERT INTO o_journey SELECT DISTINCT journey, 'active', 1 FROM spec WHERE w = of_world;
	INSERT INTO o_tag SELECT leaf, 'world' || of_world FROM o_is;
	INSERT INTO o_own_tag SELECT leaf, 'world' || of_world FROM o_is;
	INSERT INTO o_trait SELECT p.name, x.name, to_jsonb(x.value), p.since FROM person p, LATERAL (VALUES ('day', p.day), ('timezone', p.zone), ('born', p.born)) x(name, value) WHERE p.w = of_world AND x.value IS NOT NULL;
	INSERT INTO o_decision SELECT p.name, d.purpose, d.channel, d.granted, d.at FROM decision d JOIN person p USING (w, p) WHERE d.w = of_world;
	FOR c IN SELECT k.at FROM clock k WHERE k.mode = my_mode ORDER BY k.at LOOP
		IF NOT isfinite(before) THEN
			PERFORM pg_temp.plan(j.journey, before, c) FROM o_journey j;
		END IF;
		FOR a IN SELECT * FROM act x WHERE x.w = of_world AND x.arrives > before AND x.arrives <= c ORDER BY x.n LOOP
			CASE a.kind
				WHEN 'event' THEN
					INSERT INTO o_event VALUES (a.who, a.name, a.at, a.label, a.props, a.ref);
					INSERT INTO o_stirred VALUES (a.who, 'event');
					INSERT INTO o_trigger (leaf, source, name, at, label, props, ref) VALUES (a.who, 'event', a.name, a.at, a.label, a.props, a.ref);
				WHEN 'history' THEN
					INSERT INTO o_event VALUES (a.who, a.name, a.at, a.label, a.props, a.ref);
					INSERT INTO o_stirred VALUES (a.who, 'event');
				WHEN 'retract' THEN
					INSERT INTO o_stirred VALUES (a.who, 'event');
					DELETE FROM o_event e WHERE e.ref = a.ref;
					DELETE FROM o_trigger e WHERE e.ref = a.ref;
				WHEN 'tag', 'untag' THEN PERFORM pg_temp.set_tag(pg_temp.who(a.who), a.name, a.kind = 'tag', a.at);
				WHEN 'trait', 'moves' THEN PERFORM pg_temp.put_trait(pg_temp.who(a.who), a.name, a.props, a.at);
				WHEN 'suppress', 'unsuppress' THEN INSERT INTO o_decision VALUES (pg_temp.who(a.who), '*', '*', a.kind = 'unsuppress', a.at);
				WHEN 'manual' THEN PERFORM pg_temp.enter(pg_temp.who(a.who), pg_temp.who(a.who), a.name, a.at, jsonb_strip_nulls(jsonb_build_object('label', a.label)), jsonb_strip_nulls(jsonb_build_object('label', a.label, 'k', 'by hand')));
				WHEN 'crowd' THEN PERFORM pg_temp.enter(x.who, x.who, a.name, a.at, '{"label": "x"}', '{"label": "x", "k": "all"}') FROM (SELECT DISTINCT i.who, pg_temp.id(i.who) AS id FROM o_is i ORDER BY id) x;
				WHEN 'merge' THEN PERFORM pg_temp.merge(a.name, a.label, a.at);
				WHEN 'unmerge' THEN PERFORM pg_temp.unmerge(a.name, a.label, a.at);
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
		IF my_mode = 'punctual' THEN
			PERFORM pg_temp.move_due(of_world, c);
		END IF;
		LOOP
			t := least((SELECT min(o.at) FROM o_trigger o WHERE o.at <= c), (SELECT min(r.due) FROM o_run r JOIN o_journey j USING (journey) WHERE r.status = 'active' AND j.status = 'active' AND r.due <= c),
					   (SELECT min(j.next) FROM o_journey j WHERE j.next <= c));
			EXIT WHEN t IS NULL;
			PERFORM pg_temp.start_schedules(of_world, t);
			PERFORM pg_temp.take_triggers(t);
			PERFORM pg_temp.take_steps(t);
		END LOOP;
		IF my_mode = 'punctual' THEN
			PERFORM pg_temp.report(of_world, c);
		END IF;
		before := c;
	END LOOP;
	-- the reports
	INSERT INTO o_result
	SELECT of_world, x.journey, x.variant, count(DISTINCT x.who), count(DISTINCT x.who) FILTER (WHERE x.messaged), count(DISTINCT x.who) FILTER (WHERE x.goals > 0), coalesce(sum(x.value), 0)
	FROM (SELECT r.journey, coalesce(nullif(r.variant, ''), 'all') AS variant, coalesce(pg_temp.who(r.who), r.who) AS who,
				 EXISTS (SELECT FROM o_message m WHERE m.run = r.run AND m.status IN ('pending', 'sent', 'opened')) AS messaged, g.goals, g.value
		  FROM o_run r JOIN o_journey USING (journey), LATERAL (SELECT count(*) AS goals, sum(l.value) AS value FROM o_log l WHERE l.run = r.run AND l.what = 'goal') g WHERE r.outcome IS DISTINCT FROM 'merged') x
	GROUP BY 1, 2, 3;
	INSERT INTO o_stats
	SELECT of_world, j.journey, k.step, (SELECT count(*) FROM o_visit v JOIN o_run r USING (run) WHERE r.journey = j.journey AND v.step = k.step), (SELECT count(*) FROM o_run r WHERE r.journey = j.journey AND r.status = 'active' AND r.step = k.step), l.*
	FROM o_journey j CROSS JOIN LATERAL (SELECT DISTINCT jsonb_object_keys(s.spec -> 'steps') AS step FROM spec s WHERE s.journey = j.journey AND s.version <= (SELECT max(x.version) FROM act y, LATERAL (SELECT CASE y.kind WHEN 'version' THEN 2 ELSE 1 END AS version) x WHERE y.name = j.journey OR y.n = 1)) k
	CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE g.what = 'step'), count(*) FILTER (WHERE g.what = 'sent'), count(*) FILTER (WHERE g.what = 'goal') FROM o_log g WHERE g.journey = j.journey AND g.step = k.step) l;
	INSERT INTO all_run TABLE o_run;
	INSERT INTO all_log TABLE o_log;
	INSERT INTO all_message TABLE o_message;
	INSERT INTO all_tag TABLE o_tag;
	INSERT INTO all_trait TABLE o_trait;
END
$$;
CREATE TEMP TABLE o_result (w int, journey text, variant text, profiles bigint, messaged bigint, converted bigint, value float8);
CREATE TEMP TABLE o_stats (w int, journey text, step text, entered bigint, waiting bigint, left_step bigint, messages bigint, goals bigint);

-- the engine
INSERT INTO control_group VALUES (0.1, 'oracle');
SELECT identify(ARRAY['rep:r']::identifier[], kind => 'rep', at => '2026-01-01Z') > 0 AS rep;
UPDATE person x SET id = y.id FROM (SELECT name, identify(array_remove(ARRAY['user_id:' || name, CASE WHEN mail THEN 'email:' || name || '@example.com' END, CASE WHEN text THEN format('phone:+86138%s%s', lpad(w::text, 6, '0'), lpad(p::text, 2, '0')) END], NULL)::identifier[],
	jsonb_strip_nulls(jsonb_build_object('timezone', zone, 'day', day, 'born', born)), since) AS id FROM (SELECT * FROM person ORDER BY w, p) z) y WHERE x.name = y.name;
SELECT count(tag(id, 'world' || w, NULL, since)) > 0 AS tagged FROM person;
SELECT count(relate(id, resolve('rep:r'), 'rep', '2026-01-01Z')) > 0 AS related FROM person WHERE rep;
SELECT count(consent(x.id, d.purpose, d.channel, d.granted, d.at)) > 0 AS decided FROM decision d JOIN person x USING (w, p);

CREATE TEMP TABLE merge_id (survivor text, id bigint);
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
				WHEN 'event', 'history' THEN PERFORM cdp.track(ARRAY[('user_id:' || a.who)::cdp.identifier], a.name, a.props, a.at, a.ref, backfill => a.kind = 'history');
				WHEN 'retract' THEN PERFORM cdp.retract(a.ref, 'a mistake', a.arrives);
				WHEN 'tag' THEN PERFORM cdp.tag(a.id, a.name, NULL, a.at);
				WHEN 'untag' THEN PERFORM cdp.untag(a.id, a.name, a.at);
				WHEN 'trait', 'moves' THEN PERFORM cdp.set_trait(a.id, a.name, a.props, a.at);
				WHEN 'suppress' THEN PERFORM cdp.suppress(a.id, NULL, a.at);
				WHEN 'unsuppress' THEN PERFORM cdp.unsuppress(a.id, NULL, a.at);
				WHEN 'manual' THEN PERFORM cdp.enter_journey(a.name, a.id, jsonb_strip_nulls(jsonb_build_object('label', a.label, 'k', 'by hand')), a.at);
				WHEN 'crowd' THEN PERFORM cdp.enter_journey(a.name, (SELECT cdp.rb_build_agg(y.id) FROM person y WHERE y.w = a.w), '{"label": "x", "k": "all"}', a.at);
				WHEN 'erase' THEN PERFORM cdp.erase_profile(a.id, 'erase', 'oracle', a.at);
				WHEN 'merge' THEN INSERT INTO merge_id SELECT a.name, cdp.merge(pg_temp.id(a.name), pg_temp.id(a.label), 'oracle', a.at);
				WHEN 'unmerge' THEN PERFORM cdp.unmerge((SELECT max(m.id) FROM merge_id m WHERE m.survivor = a.name), false, 'oracle', a.at);
				WHEN 'pause' THEN PERFORM cdp.pause_journey(a.name);
				WHEN 'activate' THEN PERFORM cdp.activate_journey(a.name);
				WHEN 'version' THEN PERFORM cdp.create_journey(journey, spec), cdp.activate_journey(journey) FROM spec WHERE journey = a.name AND version = 2;
				WHEN 'archive' THEN PERFORM cdp.archive_journey(a.name, a.at);
			END CASE;
		END LOOP;
		PERFORM cdp._fold_timelines(c, 1000000), cdp._advance_lifecycle(c, 1000000);
		WHILE cdp.advance_journeys(c, CASE of_mode WHEN 'sometimes' THEN 1 + pg_temp.rnd(c::text || 'bite', 60) ELSE 1000000 END) > 0 LOOP
		END LOOP;
		IF of_mode = 'punctual' THEN
			PERFORM cdp.ack_message(m.id, pg_temp.outcome(x.name, m.journey, s.key, s.entered_at, m.step, m.due_at, m.attempts, m.recipient_id = m.profile_id), NULL, c)
			FROM (SELECT DISTINCT o.channel FROM cdp.outbox o WHERE o.status = 'pending') h, cdp.claim_messages(h.channel, 10000, at => c) m JOIN cdp.journey_state s USING (run_id) JOIN pg_temp.person x ON x.id = coalesce(s.owner_id, s.profile_id);
		END IF;
		INSERT INTO cdp.task_state (task, last_at) VALUES ('journeys', c) ON CONFLICT (task) DO UPDATE SET last_at = excluded.last_at;
		before := c;
	END LOOP;
	DELETE FROM cdp.task_state;
	INSERT INTO got_run SELECT x.w, x.name, s.journey, s.version, s.key, s.entered_at, s.step, s.due_at, s.status, s.outcome, s.ended_at, s.variant, y.name FROM cdp.journey_state s JOIN person x ON x.id = s.profile_id JOIN person y ON y.id = coalesce(s.owner_id, s.profile_id) WHERE pg_temp.mode(x.w) = of_mode;
	INSERT INTO got_result SELECT s.w, s.journey, r.* FROM spec s, cdp.journey_results(s.journey) r WHERE pg_temp.mode(s.w) = of_mode AND s.version = 1;
	INSERT INTO got_stats SELECT s.w, s.journey, r.* FROM spec s, cdp.journey_stats(s.journey) r WHERE pg_temp.mode(s.w) = of_mode AND s.version = 1;
	PERFORM cdp.archive_journey(name, pg_temp.base() + interval '241 h') FROM cdp.journey WHERE status <> 'archived';
END
$$;
CREATE TEMP TABLE got_run (w int, who text, journey text, version int, key text, entered timestamptz, step text, due timestamptz, status text, outcome text, ended timestamptz, variant text, owner text);
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
FROM journey_log l JOIN person x ON x.id = l.profile_id LEFT JOIN journey_state s USING (run_id) LEFT JOIN person y ON y.id = coalesce(s.owner_id, s.profile_id) WHERE l.at <= pg_temp.base() + interval '240 h'
UNION ALL
SELECT 'oracle', x.w, l.who, l.journey, l.version, r.owner, r.key, r.entered, l.step, l.at, l.what, l.detail, row_number() OVER (PARTITION BY l.journey, l.run ORDER BY l.n)
FROM all_log l JOIN person x ON x.name = l.who LEFT JOIN all_run r USING (run);
CREATE TEMP TABLE said_differs AS
SELECT min(s.by) AS by, s.w, s.who, s.journey, s.version, s.owner, s.key, s.entered, s.step, s.at, s.what, s.detail, CASE WHEN s.entered IS NOT NULL THEN s.no END AS no
FROM said s GROUP BY s.w, s.who, s.journey, s.version, s.owner, s.key, s.entered, s.step, s.at, s.what, s.detail, CASE WHEN s.entered IS NOT NULL THEN s.no END
HAVING count(*) FILTER (WHERE s.by = 'engine') <> count(*) FILTER (WHERE s.by = 'oracle');
-- messages
CREATE TEMP TABLE wrote AS
SELECT 'engine' AS by, CASE o.status WHEN 'failed' THEN 'bounced' ELSE o.status END AS status, x.w, x.name AS who, o.journey, o.version, y.name AS owner, s.key, s.entered_at AS entered, o.step, o.channel, o.purpose, o.declared, o.recipient_id = o.profile_id AS self, o.address, o.template, o.params, o.campaign, o.due_at AS due, o.expires_at AS expires, o.variant, o.priority
FROM outbox o JOIN person x ON x.id = o.profile_id JOIN journey_state s USING (run_id) JOIN person y ON y.id = coalesce(s.owner_id, s.profile_id)
UNION ALL
SELECT 'oracle', CASE m.status WHEN 'opened' THEN 'sent' ELSE m.status END, x.w, m.who, r.journey, r.version, r.owner, r.key, r.entered, m.step, m.channel, m.purpose, m.declared, m.self,
	   CASE WHEN m.channel LIKE 'mail%' THEN a.name || '@example.com' ELSE format('+86138%s%s', lpad(a.w::text, 6, '0'), lpad(a.p::text, 2, '0')) END,
	   m.step, m.params, s.spec ->> 'campaign', m.due, m.expires, m.variant, m.priority
FROM all_message m JOIN person x ON x.name = m.who JOIN all_run r USING (run) JOIN spec s ON s.journey = r.journey AND s.version = r.version LEFT JOIN person a ON a.name = m.address;
UPDATE wrote SET address = NULL WHERE address = '+86138';
CREATE TEMP TABLE wrote_differs AS
SELECT min(by) AS by, status, w, who, journey, version, owner, key, entered, step, channel, purpose, declared, self, address, template, params, campaign, due, expires, variant, priority
FROM wrote GROUP BY status, w, who, journey, version, owner, key, entered, step, channel, purpose, declared, self, address, template, params, campaign, due, expires, variant, priority
HAVING count(*) FILTER (WHERE by = 'engine') <> count(*) FILTER (WHERE by = 'oracle');
CREATE TEMP VIEW reported_differs AS
SELECT 'results' AS what, w, journey, coalesce(g.variant, o.variant) AS which, g.*::text AS engine, o.*::text AS oracle FROM got_result g FULL JOIN o_result o USING (w, journey, variant) WHERE g.*::text IS DISTINCT FROM o.*::text
UNION ALL
SELECT 'stats', w, journey, coalesce(g.step, o.step), g.*::text, o.*::text FROM got_stats g FULL JOIN o_stats o USING (w, journey, step) WHERE g.*::text IS DISTINCT FROM o.*::text;

SELECT count(*) AS runs FROM run_differs;
SELECT count(*) AS lines FROM said_differs;
SELECT count(*) AS messages FROM wrote_differs;
SELECT count(*) AS reports FROM reported_differs;
SELECT * FROM run_differs ORDER BY w, at, who, journey LIMIT 5;
SELECT * FROM said_differs ORDER BY w, at, who, journey, no LIMIT 10;
SELECT * FROM wrote_differs ORDER BY w, who, due LIMIT 5;
SELECT * FROM reported_differs ORDER BY w, journey, which LIMIT 5;
-- what is left of tags and traits
SELECT count(*) AS tags FROM person x WHERE canonical_id(x.id) = x.id AND has_tag(x.id, 'gold' || x.w) <> EXISTS (SELECT FROM all_tag t WHERE t.who = x.name AND t.tag = 'gold' || x.w);
SELECT count(*) AS traits FROM person x, unnest('{day,tier,born}'::text[]) n WHERE (SELECT nullif(v.value, 'null') #>> '{}' FROM trait_value v WHERE v.profile_id = x.id AND v.name = n) IS DISTINCT FROM (SELECT t.value #>> '{}' FROM all_trait t WHERE t.leaf = x.name AND t.name = n ORDER BY t.at DESC, t.value DESC LIMIT 1);
-- what has not come up, in 100 worlds or more
CREATE FUNCTION pg_temp.of_all(what text[]) RETURNS SETOF text LANGUAGE sql AS $$ SELECT x FROM unnest(what) x WHERE (SELECT max(w) FROM person) >= 100 $$;
SELECT 'message' AS what, pg_temp.of_all('{bounced,dead,opened,pending,refused,sent}'::text[]) AS missing EXCEPT SELECT 'message', status FROM all_message ORDER BY 2;
SELECT 'line' AS what, pg_temp.of_all('{ended,entered,exited,goal,held_out,moved,refused,resumed,sent,step,waiting}'::text[]) AS missing EXCEPT SELECT 'line', l.what FROM all_log l ORDER BY 2;
SELECT 'outcome' AS what, pg_temp.of_all('{archived,capped,completed,exited,held_out,merged,suppressed}'::text[]) AS missing EXCEPT SELECT 'outcome', outcome FROM all_run ORDER BY 2;
SELECT 'cause' AS what, pg_temp.of_all(ARRAY['due', 'enters', 'event', 'journey', 'leaves', 'schedule', 'by hand']) AS missing EXCEPT SELECT 'cause', k FROM all_run r, jsonb_object_keys(CASE WHEN r.entry ?| '{due,enters,event,leaves,schedule}' THEN r.entry ELSE '{"by hand": 0}' END) k ORDER BY 2;
SELECT 'reason' AS what, pg_temp.of_all('{already in this journey,bounced,cap,capped,concurrency,consent,entry.when does not hold,no address,profile is suppressed or erased,reentry}'::text[]) AS missing
EXCEPT SELECT 'reason', regexp_replace(detail, '(:| for) .*', '') FROM all_log WHERE what = 'refused' ORDER BY 2;
SELECT count(*) = 25 * :worlds AS cases FROM person x JOIN spec s USING (w) WHERE s.version = 1;
