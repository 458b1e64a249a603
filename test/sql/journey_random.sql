-- Random journeys, random histories, random clocks: whatever the clock does,
-- the messages and the log are those of a plain simulation of one profile.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';
\set VERBOSITY terse

CREATE FUNCTION pg_temp.rnd(seed text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
	SELECT ((hashtextextended(seed, 20260301) % n + n) % n)::int
$$;
-- a rule the oracle understands: count(EVENT[$]?, WINDOW?) OP NUMBER
CREATE FUNCTION pg_temp.some_rule(seed text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT format('count(%s%s%s) %s %s', (ARRAY['a', 'b'])[1 + pg_temp.rnd(seed || 'ev', 2)],
				  CASE pg_temp.rnd(seed || 'bound', 3) WHEN 0 THEN '[$]' ELSE '' END,
				  (ARRAY['', ', 12h', ', 1d', ', 3d'])[1 + pg_temp.rnd(seed || 'window', 4)],
				  (ARRAY['>=', '='])[1 + pg_temp.rnd(seed || 'op', 2)], pg_temp.rnd(seed || 'n', 3))
$$;
-- Steps s1 … sn; each leads to the next one, some waits back.
CREATE FUNCTION pg_temp.some_spec(seed text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	n		int := 3 + pg_temp.rnd(seed || 'steps', 4);
	steps	jsonb := '{}';
	next	text;
	other	text;
BEGIN
	FOR i IN 1 .. n LOOP
		next := CASE i WHEN n THEN 'end' ELSE 's' || i + 1 END;
		other := 's' || 1 + pg_temp.rnd(seed || i || 'other', n + 1);
		IF substr(other, 2)::int <= i OR other = 's' || n + 1 THEN
			other := 'end';
		END IF;
		steps := steps || jsonb_build_object('s' || i, CASE pg_temp.rnd(seed || i || 'kind', 4)
			WHEN 0 THEN jsonb_build_object('send', jsonb_build_object('channel', 'push', 'template', 's' || i), 'next', next)
			WHEN 1 THEN jsonb_build_object('if', pg_temp.some_rule(seed || i), 'then', next, 'else', other)
			WHEN 2 THEN jsonb_build_object('wait', (ARRAY['6h', '12h', '1d'])[1 + pg_temp.rnd(seed || i || 'wait', 3)], 'next', next)
			ELSE jsonb_build_object('wait', '2d', 'next', CASE WHEN pg_temp.rnd(seed || i || 'back', 3) = 0 AND i = n THEN 's1' ELSE next END)
			END);
	END LOOP;
	RETURN jsonb_build_object('start', 's1', 'steps', steps, 'entry', jsonb_strip_nulls(jsonb_build_object(
				'on', 'a', 'when', CASE pg_temp.rnd(seed || 'when', 2) WHEN 0 THEN pg_temp.some_rule(seed) END,
				'key', CASE pg_temp.rnd(seed || 'key', 2) WHEN 0 THEN 'label' END)
			|| (ARRAY[jsonb '{}', '{"reentry": "once"}', '{"reentry": "cooldown", "cooldown": "1d"}'])[1 + pg_temp.rnd(seed || 'reentry', 3)]))
		|| (ARRAY[jsonb '{}', '{"exit": [{"on": "b"}]}', '{"exit": [{"on": "b[$]"}]}', '{"exit": [{"when": "count(b, 12h) >= 2"}]}'])
				[1 + pg_temp.rnd(seed || 'exit', 4)];
END
$$;

CREATE TEMP TABLE history AS		-- 12 people, 10 days, every 6 hours something may happen
SELECT who, event, label, timestamptz '2026-03-01Z' + slot * interval '6 h' AS at
FROM generate_series(1, 12) who, generate_series(0, 39) slot, (VALUES ('a', 'x'), ('a', 'y'), ('a', NULL), ('b', 'x'), ('b', 'y')) e(event, label)
WHERE pg_temp.rnd(concat_ws('/', 'h', who, slot, event, label), 12 + 4 * (who % 5)) = 0;
CREATE TEMP TABLE spec AS SELECT n, pg_temp.some_spec('spec' || n) AS spec FROM generate_series(1, 12) n;

-- the oracle: one person, one journey
CREATE FUNCTION pg_temp.rule_holds(rule text, of_who int, at timestamptz, run_label text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	m	text[] := regexp_match(rule, '^count\((\w)(\[\$\])?(?:, (\d+)([hd]))?\) (>=|=) (\d)$');
	n	int;
BEGIN
	SELECT count(*) INTO n FROM history h
	WHERE h.who = of_who AND h.event = m[1] AND (m[2] IS NULL OR h.label = run_label) AND h.at <= rule_holds.at
	  AND (m[3] IS NULL OR h.at > rule_holds.at - m[3]::int * CASE m[4] WHEN 'h' THEN interval '1 h' ELSE interval '24 h' END);
	RETURN CASE m[5] WHEN '=' THEN n = m[6]::int ELSE n >= m[6]::int END;
END
$$;
CREATE FUNCTION pg_temp.oracle(spec jsonb, of_who int, until timestamptz) RETURNS TABLE (at timestamptz, key text, what text, step text) LANGUAGE plpgsql STABLE AS $$
DECLARE
	clock	timestamptz := '2026-03-01Z';
	runs	jsonb := '[]';		-- {"key", "label", "entered", "step", "due", "ended"}
	r		jsonb;
	s		jsonb;
	e		record;
	i		int;
	ends	boolean;
	last_	jsonb;
BEGIN
	WHILE clock <= until LOOP
		-- exits by event
		FOR i IN 0 .. jsonb_array_length(runs) - 1 LOOP
			r := runs -> i;
			IF NOT r ? 'ended' AND (r ->> 'entered')::timestamptz < clock AND EXISTS (
				SELECT FROM history h WHERE h.who = of_who AND h.at = clock AND h.event = 'b'
				  AND (spec #>> '{exit,0,on}' = 'b' OR spec #>> '{exit,0,on}' = 'b[$]' AND h.label = r ->> 'label')) THEN
				runs := jsonb_set(runs, ARRAY[i::text], r || jsonb_build_object('ended', clock));
				RETURN QUERY SELECT clock, r ->> 'key', 'exited', r ->> 'step';
			END IF;
		END LOOP;
		-- entries
		FOR e IN SELECT h.label FROM history h WHERE h.who = of_who AND h.at = clock AND h.event = 'a' ORDER BY h.label NULLS FIRST LOOP
			r := jsonb_strip_nulls(jsonb_build_object('key', CASE WHEN spec -> 'entry' ? 'key' THEN coalesce(e.label, '') ELSE '' END,
				'label', e.label, 'entered', clock, 'step', 's1', 'due', clock + coalesce(pg_temp.pause(spec, 's1'), '0')));
			SELECT x INTO last_ FROM jsonb_array_elements(runs) WITH ORDINALITY y(x, no) WHERE x -> 'key' = r -> 'key' ORDER BY no DESC LIMIT 1;
			IF (CASE
				WHEN last_ IS NOT NULL AND NOT last_ ? 'ended' THEN true
				WHEN last_ IS NOT NULL AND spec #>> '{entry,reentry}' = 'once' THEN true
				WHEN last_ IS NOT NULL AND spec #>> '{entry,reentry}' = 'cooldown' AND clock < (last_ ->> 'ended')::timestamptz + interval '24 h' THEN true
				WHEN last_ IS NOT NULL AND (last_ ->> 'entered')::timestamptz = clock THEN true
				WHEN spec -> 'entry' ? 'when' THEN NOT pg_temp.rule_holds(spec #>> '{entry,when}', of_who, clock, e.label)
				ELSE false END) THEN
				RETURN QUERY SELECT clock, NULL, 'refused', NULL;
			ELSE
				runs := runs || r;
				RETURN QUERY SELECT clock, r ->> 'key', 'entered', 's1';
			END IF;
		END LOOP;
		-- steps, until none is due
		i := 0;
		WHILE i < jsonb_array_length(runs) LOOP
			r := runs -> i;
			IF r ? 'ended' OR (r ->> 'due')::timestamptz <> clock THEN
				i := i + 1;
				CONTINUE;
			END IF;
			s := spec -> 'steps' -> (r ->> 'step');
			ends := CASE
				WHEN NOT spec ? 'exit' THEN false
				WHEN spec #> '{exit,0}' ? 'when' THEN pg_temp.rule_holds(spec #>> '{exit,0,when}', of_who, clock, r ->> 'label')
				ELSE EXISTS (SELECT FROM history h
							 WHERE h.who = of_who AND h.event = 'b' AND h.at > (r ->> 'entered')::timestamptz AND h.at <= clock
							   AND (spec #>> '{exit,0,on}' = 'b' OR h.label = r ->> 'label')) END;
			IF ends THEN
				runs := jsonb_set(runs, ARRAY[i::text], r || jsonb_build_object('ended', clock));
				RETURN QUERY SELECT clock, r ->> 'key', 'exited', r ->> 'step';
				CONTINUE;
			END IF;
			IF s ? 'send' THEN
				RETURN QUERY SELECT clock, r ->> 'key', 'sent', r ->> 'step';
			END IF;
			RETURN QUERY SELECT clock, r ->> 'key', 'step', r ->> 'step';
			s := s -> CASE WHEN NOT s ? 'if' THEN 'next' WHEN pg_temp.rule_holds(s ->> 'if', of_who, clock, r ->> 'label') THEN 'then' ELSE 'else' END;
			IF s = '"end"' THEN
				RETURN QUERY SELECT clock, r ->> 'key', 'ended', r ->> 'step';
				runs := jsonb_set(runs, ARRAY[i::text], r || jsonb_build_object('ended', clock));
			ELSE
				runs := jsonb_set(runs, ARRAY[i::text], r || jsonb_build_object('step', s, 'due', clock + coalesce(pg_temp.pause(spec, s #>> '{}'), '0')));
			END IF;
		END LOOP;
		clock := clock + interval '6 h';
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.pause(spec jsonb, step text) RETURNS interval LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE spec #>> ARRAY['steps', step, 'wait'] WHEN '6h' THEN interval '6 h' WHEN '12h' THEN '12 h' WHEN '1d' THEN '24 h' WHEN '2d' THEN '48 h' END
$$;

CREATE TEMP TABLE expected AS
SELECT n, who, o.* FROM spec, generate_series(1, 12) who, pg_temp.oracle(spec, who, '2026-03-15Z') o;
SELECT what, count(*) > 20 AS plenty FROM expected GROUP BY what ORDER BY what;

-- Three rounds with people and journeys of their own: a punctual clock, one
-- that ticks now and then in small bites, and a single late call.
CREATE TEMP TABLE got (round text, n int, who int, at timestamptz, key text, what text, step text, log_id bigint);
CREATE FUNCTION pg_temp.play(round text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	clock	timestamptz;
BEGIN
	PERFORM cdp.create_journey(round || n, spec), cdp.activate_journey(round || n) FROM spec ORDER BY n;
	PERFORM cdp.track(ARRAY[format('user_id:%s%s', round, h.who)::cdp.identifier], h.event,
					  jsonb_strip_nulls(jsonb_build_object('product_id', h.label)), h.at)
	FROM history h ORDER BY pg_temp.rnd(concat_ws('/', round, h), 1000000);
	FOR clock IN SELECT t FROM generate_series(timestamptz '2026-03-01Z', '2026-03-15Z', '6 h') t
				 WHERE CASE round WHEN 'punctual' THEN true WHEN 'sometimes' THEN pg_temp.rnd(t::text, 9) = 0 END OR t = '2026-03-15Z' LOOP
		PERFORM cdp._fold_timelines(clock, 100000);
		IF round = 'sometimes' THEN
			WHILE cdp.advance_journeys(clock, 1 + pg_temp.rnd(clock::text || 'bite', 60)) > 0 LOOP
			END LOOP;
		ELSE
			PERFORM cdp.advance_journeys(clock);
		END IF;
	END LOOP;
	INSERT INTO got
	SELECT round, replace(l.journey, round, '')::int, replace(cdp.value(i.identifier), round, '')::int, l.at, s.key, l.what, l.step, l.log_id
	FROM cdp.journey_log l
	JOIN cdp.identifier_link i USING (profile_id)
	LEFT JOIN cdp.journey_state s USING (run_id)
	WHERE l.journey LIKE round || '%';
	PERFORM cdp.archive_journey(round || n) FROM spec;
END
$$;
SELECT pg_temp.play('punctual');
SELECT pg_temp.play('sometimes');
SELECT pg_temp.play('late');

SELECT round, count(*) = (SELECT count(*) FROM expected) AS as_many FROM got GROUP BY round ORDER BY round;
SELECT * FROM (SELECT round, n, who, at, key, what, step FROM got EXCEPT ALL SELECT r, e.* FROM expected e, unnest('{punctual,sometimes,late}'::text[]) r) x ORDER BY 1, 2, 3, 4 LIMIT 10;
SELECT * FROM (SELECT r AS round, e.* FROM expected e, unnest('{punctual,sometimes,late}'::text[]) r EXCEPT ALL SELECT round, n, who, at, key, what, step FROM got) x ORDER BY 1, 2, 3, 4 LIMIT 10;
-- for one person and journey also in the same order
SELECT count(DISTINCT story) AS orders_differ FROM (
	SELECT n, who, md5(string_agg(concat_ws('/', at, key, what, step), ',' ORDER BY log_id)) AS story FROM got GROUP BY round, n, who) x
GROUP BY n, who HAVING count(DISTINCT story) > 1;
-- and the outbox holds just these messages
SELECT count(*) FROM (
	(SELECT journey, step, due_at FROM outbox EXCEPT ALL SELECT r || n, step, at FROM expected, unnest('{punctual,sometimes,late}'::text[]) r WHERE what = 'sent')
	UNION ALL
	(SELECT r || n, step, at FROM expected, unnest('{punctual,sometimes,late}'::text[]) r WHERE what = 'sent' EXCEPT ALL SELECT journey, step, due_at FROM outbox)) x;
