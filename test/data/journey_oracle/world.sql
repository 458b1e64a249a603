CREATE FUNCTION pg_temp.rnd(what text, n int) RETURNS int LANGUAGE sql IMMUTABLE RETURN mod(abs(hashtextextended(what, :seed) / 2), n)::int;
CREATE FUNCTION pg_temp.pick(what text, VARIADIC options text[]) RETURNS text LANGUAGE sql IMMUTABLE RETURN options[1 + pg_temp.rnd(what, cardinality(options))];
CREATE FUNCTION pg_temp.base() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '2026-03-27Z' $$;	-- Berlin springs forward on the 29th, Sydney falls back on the 5th
CREATE FUNCTION pg_temp.merges(w int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT w % 6 = 3 $$;	-- what else there is in a world
CREATE FUNCTION pg_temp.limits(w int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT w % 6 = 0 OR w % 3 = 2 $$;
CREATE FUNCTION pg_temp.purchase(w int) RETURNS text LANGUAGE sql IMMUTABLE RETURN pg_temp.pick(w || 'purchase', 'a', 'b', 'c');	-- what stages follow from
CREATE FUNCTION pg_temp.mode(w int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ('{punctual,sometimes,late}'::text[])[1 + w % 3] $$;


CREATE FUNCTION pg_temp.some_event(s text, w int, labelled boolean) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN CASE pg_temp.rnd(s || 'opened', 9) WHEN 0 THEN pg_temp.pick(s || 'report', 'message_opened', 'message_opened', 'message_unsubscribed') ELSE pg_temp.pick(s || 'ev', 'a', 'b', 'c') || w END
		|| pg_temp.pick(s || 'la', '', '', '', '', '[x]', format('[@set%s]', w), CASE WHEN labelled THEN '[$]' ELSE '' END, CASE WHEN labelled THEN '[$]' ELSE '[x]' END)
		|| pg_temp.pick(s || 'such', '', '', '', '', '', '{value > 5}', '{color = "red"}', '{color != "red", value >= 5}');
END
$$;
CREATE FUNCTION pg_temp.some_stage(s text) RETURNS text LANGUAGE sql IMMUTABLE RETURN pg_temp.pick(s || 'stage', 'potential', 'first_purchase', 'repeat', 'retained', 'at_risk', 'at_risk', 'churned');
CREATE FUNCTION pg_temp.some_term(s text, w int, labelled boolean) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN CASE pg_temp.rnd(s || 'term', 12)
		WHEN 0 THEN format('last(%s) > %s', pg_temp.some_event(s, w, labelled), pg_temp.pick(s || 'w', '6h', '1d', '2d'))
		WHEN 1 THEN 'gold' || w
		WHEN 2 THEN '!gold' || w
		WHEN 3 THEN format('tier = "%s"', pg_temp.pick(s || 'tier', 'one', 'two'))
		WHEN 4 THEN format('count(message_sent, %s) %s %s', pg_temp.pick(s || 'w', '6h', '1d', '2d'), pg_temp.pick(s || 'op', '<', '>='), 1 + pg_temp.rnd(s || 'n', 2))
		-- of another journey, whatever the name of s says which one this is
		WHEN 5 THEN format('%s:w%sj%s', pg_temp.pick(s || 'run', 'journey', '!journey', 'held_out'), w, 1 + (split_part(s, '/', 2)::int + pg_temp.rnd(s || 'which', 4)) % 5)
		-- the rule of the segment itself ("world/0/...") does not ask for it, and nobody asks between a merge and the tick
		WHEN 6 THEN CASE WHEN pg_temp.merges(w) THEN '!gold' || w ELSE pg_temp.pick(s || 'not', '', '!') || 'lifecycle:' || pg_temp.some_stage(s) END
		WHEN 7 THEN CASE WHEN pg_temp.merges(w) OR split_part(s, '/', 2) = '0' THEN 'gold' || w ELSE pg_temp.pick(s || 'not', '', '!') || 'segment:w' || w END
		ELSE format('count(%s%s) %s %s', pg_temp.some_event(s, w, labelled), pg_temp.pick(s || 'w', '', ', 12h', ', 1d', ', 3d'), pg_temp.pick(s || 'op', '>=', '=', '<'), pg_temp.rnd(s || 'n', 3))
	END;
END
$$;
CREATE FUNCTION pg_temp.some_rule(s text, w int, labelled boolean) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN pg_temp.some_term(s, w, labelled) || pg_temp.pick(s || 'and', '', '', ' & ' || pg_temp.some_term(s || 2, w, labelled), ' | ' || pg_temp.some_term(s || 3, w, labelled));
END
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
	entry	jsonb := CASE pg_temp.rnd(s || 'entry', 14)
		WHEN 0 THEN jsonb_build_object('enters', 'gold' || w)
		WHEN 1 THEN jsonb_build_object('leaves', 'gold' || w)
		WHEN 2 THEN jsonb_build_object('who', pg_temp.some_term(s || 'who', w, false)) ||
						pg_temp.pick(s || 'every', '{"at": "2026-03-29"}', '{"at": "2026-03-31T12:00Z"}', '{"at": "2026-03-28T06:00", "every": "2d"}', '{"at": "2026-03-28T05:00+01:00", "every": "1d"}', '{"at": "2026-03-20", "every": "36h"}', '{"every": "50h"}')::jsonb
		WHEN 5 THEN CASE WHEN punctual THEN jsonb_build_object('due', pg_temp.pick(s || 'due', 'a', 'b', 'b') || w || pg_temp.pick(s || 'label', '', '[*]', '[x]', format('[@set%s]', w)), 'before', pg_temp.pick(s || 'before', '3h', '7h', '1d')) ELSE jsonb_build_object('on', 'a' || w) END
		WHEN 3 THEN jsonb_build_object('on', jsonb_build_array('a' || w || pg_temp.pick(s || 'such', '', format('[@set%s]', w), '{color = "red"}'), 'b' || w || '[x]'))
		WHEN 4 THEN CASE WHEN punctual THEN jsonb '{"manual": true}' ELSE jsonb_build_object('on', 'c' || w) END
		WHEN 6 THEN jsonb_build_object(pg_temp.pick(s || 'way', 'enters', 'leaves'), 'segment:w' || w)
		WHEN 7 THEN jsonb_build_object(pg_temp.pick(s || 'way', 'enters', 'enters', 'leaves'), 'lifecycle:' || pg_temp.some_stage(s))
		WHEN 8 THEN jsonb_build_object('enters', 'lifecycle:at_risk')
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
	RETURN jsonb_strip_nulls(jsonb_build_object('entry', entry, 'start', 's1', 'steps', steps, 'kind', 'w' || w,
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
CREATE INDEX ON person (name);
-- what everybody is known by: login and tablet, and addresses
CREATE TEMP TABLE address AS SELECT x.w, x.name AS leaf, a.channel || x.w AS channel, x.name AS value, x.since FROM person x, (VALUES ('mail'), ('text')) a(channel) WHERE CASE a.channel WHEN 'mail' THEN x.mail ELSE x.text END;

CREATE TEMP TABLE happening AS	-- ref: a message id; via: an identifier
SELECT x.*, CASE WHEN pg_temp.merges(w) THEN pg_temp.pick(ref || 'via', 'login', 'login', 'tablet') ELSE 'login' END AS via, x.at + CASE WHEN w % 3 = 0 AND pg_temp.rnd(x::text || 'late', 7) = 0 THEN 2 + 2 * pg_temp.rnd(x::text || 'how', 12) ELSE 0 END * interval '1 h' AS arrives
FROM (
	SELECT w, format('w%sp%s', w, p) AS who, pg_temp.base() + slot * interval '2 h' AS at, 'event' AS kind, e.event || w AS name, nullif(e.label, '') AS label, concat_ws('/', 'm', w, p, slot, e.event, e.label) AS ref,
		   jsonb_strip_nulls(jsonb_build_object('product_id', nullif(e.label, ''), 'value', pg_temp.pick(format('%s/%s/%s value', w, p, slot), NULL, '5', '7.5')::float8, 'color', pg_temp.pick(format('%s/%s/%s %s', w, p, slot, e.label), NULL, 'red', 'blue'))) AS props
	FROM generate_series(1, :worlds) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('a', 'x'), ('a', 'y'), ('a', ''), ('b', 'x'), ('b', 'y'), ('c', 'x'), ('c', '')) e(event, label)
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, e.event, e.label), 12 + 12 * p) = 0
	UNION ALL	-- what is loaded afterwards (no orders of days to come)
	SELECT w, format('w%sp%s', w, p), pg_temp.base() + slot * interval '2 h', 'history', e.event || w, nullif(e.label, ''), concat_ws('/', 'h', w, p, slot, e.event, e.label),
		   jsonb_strip_nulls(jsonb_build_object('product_id', nullif(e.label, ''), 'color', 'red'))
	FROM generate_series(1, :worlds) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('a', 'x'), ('b', ''), ('c', 'x')) e(event, label)
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, e.event, e.label, 'history'), 60) = 0 AND (w % 3 = 0 OR e.event <> pg_temp.purchase(w))) x;
-- who NULL: something that is done to a journey, or to two people
CREATE TEMP TABLE act AS
SELECT row_number() OVER (ORDER BY x.arrives, x.who IS NOT NULL, x.kind <> 'event', x.kind IN ('retract', 'erase'), x.at, hashtext(concat_ws('/', x.w, x.who, x.kind, x.name, x.label))) AS n, x.*
FROM (
	TABLE happening
	UNION ALL	-- from here on for punctual clocks only
	SELECT w, who, at, 'retract', name, label, ref, props, via, arrives + pg_temp.pick(ref || 'back', '0 h', '2 h', '10 h')::interval FROM happening WHERE w % 3 = 0 AND pg_temp.rnd(ref || 'retract', 20) = 0
	UNION ALL
	SELECT w, format('w%sp%s', w, p), x.at, k.kind, CASE k.kind WHEN 'manual' THEN format('w%sj%s', w, 1 + pg_temp.rnd(format('%s/%s/%s j', w, p, slot), 5)) WHEN 'trait' THEN pg_temp.pick(format('%s/%s/%s tr', w, p, slot), 'day', 'day', 'tier', 'born', 'born') WHEN 'moves' THEN 'timezone' ELSE 'gold' || w END,
		   pg_temp.pick(format('%s/%s/%s ml', w, p, slot), NULL, 'x', 'y'), NULL,
		   to_jsonb(CASE k.kind WHEN 'moves' THEN pg_temp.pick(format('%s/%s/%s zone', w, p, slot), 'Europe/Berlin', 'Australia/Sydney', 'America/New_York', 'Mars/Base') ELSE pg_temp.pick(format('%s/%s/%s tv', w, p, slot), '2026-03-30', '2026-04-03', '2026-03-31T08:00:00Z', '2026-04-01', '1999-04-04', 'one', 'two') END), NULL, x.at
	FROM generate_series(3, :worlds, 3) w, generate_series(1, 5) p, generate_series(0, 107) slot, (VALUES ('tag', 60), ('untag', 70), ('trait', 60), ('moves', 60), ('manual', 25), ('suppress', 500), ('unsuppress', 300)) k(kind, rare), LATERAL (SELECT pg_temp.base() + slot * interval '2 h' AS at) x
	WHERE pg_temp.rnd(concat_ws('/', w, p, slot, k.kind), k.rare) = 0
	UNION ALL
	SELECT w, NULL, x.at, k.kind, format('w%sj%s', w, k.j), NULL, NULL, NULL, NULL, x.at
	FROM generate_series(3, :worlds, 3) w, (VALUES ('pause', 1, 2), ('activate', 1, 3), ('version', 2, 3), ('pause', 3, 1), ('version', 3, 2), ('pause', 4, 2), ('archive', 4, 4), ('archive', 5, 6), ('crowd', 1, 5), ('crowd', 2, 1), ('crowd', 5, 2)) k(kind, j, day),
		 LATERAL (SELECT pg_temp.base() + k.day * interval '24 h' + pg_temp.rnd(format('%s %s hour', w, k.kind), 12) * interval '2 h' AS at) x
	WHERE pg_temp.rnd(format('%s acts', w), 4) > 0
	UNION ALL	-- the fifth goes for good
	SELECT w, format('w%sp5', w), x.at, 'erase', NULL, NULL, NULL, NULL, NULL, x.at FROM generate_series(3, :worlds, 3) w, LATERAL (SELECT pg_temp.base() + (30 + pg_temp.rnd(w || 'erase', 60)) * interval '2 h' AS at) x WHERE pg_temp.merges(w) AND pg_temp.rnd(w || 'erased', 2) = 0
	UNION ALL	-- two become one, three, and two again, in any order; label: who is merged into whom, ref: which merge
	SELECT m.w, NULL, x.at, x.kind, format('w%sp%s', m.w, m.p), format('w%sp%s', m.w, 1 + (m.p + pg_temp.rnd(m.ref || 'second', 3)) % 4), m.ref, NULL, NULL, x.at
	FROM (SELECT w, k, format('w%s merge %s', w, k) AS ref, 1 + pg_temp.rnd(format('w%s merge %s', w, k), 4) AS p FROM generate_series(3, :worlds, 3) w, generate_series(1, 7) k WHERE pg_temp.merges(w)) m,
		 LATERAL (SELECT pg_temp.base() + pg_temp.rnd(m.ref || 'at', 100) * interval '2 h' AS at) y,
		 LATERAL (VALUES ('merge', y.at), ('unmerge', y.at + (1 + pg_temp.rnd(m.ref || 'for', 60)) * interval '2 h')) x(kind, at)
	WHERE x.kind = 'merge' OR pg_temp.rnd(m.ref || 'undone', 4) > 0
	UNION ALL	-- a tablet, and perhaps the letters, are somebody else's
	SELECT w, NULL, x.at, 'split', format('w%sp%s', w, p), pg_temp.pick(x.s || 'what', 'tablet', 'tablet', 'tablet mail'), NULL, NULL, NULL, x.at
	FROM generate_series(3, :worlds, 3) w, generate_series(1, 4) p, LATERAL (SELECT format('w%sp%s split', w, p) AS s, pg_temp.base() + (12 + pg_temp.rnd(format('w%sp%s split', w, p), 100)) * interval '2 h' AS at) x
	WHERE pg_temp.merges(w) AND pg_temp.rnd(x.s || 'is', 2) = 0) x;
INSERT INTO person (w, p, name, mail, text, rep, since) SELECT x.w, x.p + 10, x.name || 't', false, false, false, x.since FROM act a JOIN person x ON x.name = a.name WHERE a.kind = 'split';
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
INSERT INTO channel (name, namespace, per_minute) SELECT c || w, c, CASE WHEN w % 6 = 0 THEN pg_temp.pick(w || c || 'pace', NULL, NULL, '1', '2')::int END FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w;
INSERT INTO frequency_cap (channel, max, per, kind, tz)
SELECT c || w, CASE pg_temp.rnd(concat_ws('/', c, w, x.per, 'none'), 15) WHEN 0 THEN 0 ELSE 1 + pg_temp.rnd(concat_ws('/', c, w, x.per, 'max'), 2) END,
	   x.per::interval, x.kind, pg_temp.pick(concat_ws('/', c, w, 'tz'), 'UTC', 'Europe/Berlin')
FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w, (VALUES ('12 hours', 'rolling'), ('2 days', 'rolling'), ('1 day', 'calendar_day'), ('3 days', 'calendar_day')) x(per, kind)
WHERE pg_temp.rnd(concat_ws('/', c, w, x.per, x.kind), 5) < 2;
INSERT INTO frequency_cap (channel, max, per, kind) VALUES ('*', 3, '1 day', 'calendar_day'), ('*', 6, '4 days', 'rolling');
INSERT INTO quiet_hours SELECT c || w, x.since::time, x.until::time, pg_temp.pick(concat_ws('/', c, w, 'tz2'), 'UTC', 'America/New_York')
FROM unnest('{mail,text}'::text[]) c, generate_series(1, :worlds) w, (VALUES ('22:00', '08:00'), ('12:00', '14:00'), ('01:00', '02:00'), ('00:00', '00:00')) x(since, until)
WHERE pg_temp.rnd(concat_ws('/', c, w, x.since), CASE x.until WHEN '00:00' THEN 20 ELSE 4 END) = 0;
INSERT INTO repurchase_clock (kind, event, by, max_labels) SELECT 'w' || w, e || w, by, 1000000 FROM unnest('{a,b}'::text[]) e, generate_series(3, :worlds, 3) w, unnest('{event,label,label_set}'::text[]) by;
INSERT INTO repurchase_prior (event, gap, weight) SELECT 'b' || w, '27 h', 1e18 FROM generate_series(6, :worlds, 6) w;	-- which outweighs everything
INSERT INTO lifecycle_policy (name, kind, purchase_event, retained_orders, at_risk_after, churned_after)
SELECT 'w' || w, 'w' || w, pg_temp.purchase(w) || w, 3, pg_temp.pick(w || 'risk', '7 h', '1 day')::interval, pg_temp.pick(w || 'churn', '26 h', '3 days')::interval FROM generate_series(1, :worlds) w;
CREATE TEMP TABLE segment_rule AS SELECT w, pg_temp.some_rule(format('%s/0/segment', w), w, false) AS rule FROM generate_series(1, :worlds) w;
INSERT INTO label_set SELECT 'set' || w, l FROM generate_series(1, :worlds) w, unnest('{x,y}'::text[]) l WHERE l = 'x' OR w % 2 = 0;
CREATE TEMP TABLE prophecy AS	-- when a simulation is asked how a journey will go on
SELECT DISTINCT mode, w, format('w%sj%s', w, 1 + pg_temp.rnd(n || 'whose', 5)) AS journey, CASE mode WHEN 'punctual' THEN pg_temp.base() + pg_temp.rnd(n || 'asked', 100) * interval '2 h' ELSE '-infinity' END AS at,
	   CASE mode WHEN 'punctual' THEN pg_temp.pick(n || 'far', '7 h', '1 day', '3 days')::interval ELSE '241 h' END AS horizon
FROM (SELECT 'punctual' AS mode, n, 3 * (1 + pg_temp.rnd(n || 'world', greatest(1, :worlds / 3))) AS w FROM generate_series(1, 2 + :worlds / 25) n UNION ALL SELECT 'late', n, 2 + 3 * pg_temp.rnd(n || 'world', greatest(1, (:worlds + 1) / 3)) FROM generate_series(101, 101 + :worlds / 100) n) x
WHERE w <= :worlds;
