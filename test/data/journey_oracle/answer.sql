-- The oracle's state, and what it says when it is asked.  "who" is a whole person: the one that its leaves are at present; "leaf", "owner" one of its parts.
CREATE TEMP TABLE o_is (leaf text, who text);
CREATE TEMP TABLE o_link (n int, ref text, a text, b text, at timestamptz, stands boolean DEFAULT true, survivor text, loser text);	-- a merge of the leaves a and b, and which persons that made one
CREATE TEMP TABLE o_call (n int, who text, tag text, present boolean);
CREATE TEMP SEQUENCE o_n;	-- the order of calls and merges
CREATE TEMP TABLE o_address (leaf text, channel text, value text, since timestamptz);
CREATE TEMP TABLE o_journey (journey text, status text, version int, next timestamptz);	-- next: when its audience is to enter
CREATE TEMP TABLE o_run (run serial, who text, owner text, journey text, version int, key text, label text, entry jsonb, context jsonb, entered timestamptz, arrived timestamptz, step text, due timestamptz, status text DEFAULT 'active', outcome text, ended timestamptz, variant text, instead int);
CREATE TEMP TABLE o_visit (run int, step text, n serial);
CREATE TEMP TABLE o_log (n serial, who text, journey text, version int, run int, step text, at timestamptz, what text, detail text, value float8);
CREATE TEMP TABLE o_message (n serial, owner text, run int, step text, channel text, purpose text, declared boolean, self boolean, capped boolean, address text, params jsonb, at timestamptz, due timestamptz, expires timestamptz, variant text, priority int, status text DEFAULT 'pending', attempts int DEFAULT 0, leased timestamptz, again timestamptz);
CREATE TEMP TABLE o_bounced (address text, channel text);
CREATE TEMP TABLE o_event (leaf text, name text, at timestamptz, label text, props jsonb, ref text, via text, arrived timestamptz, history boolean DEFAULT false);	-- ref of a report: its run
CREATE TEMP TABLE o_taken (LIKE o_event);	-- taken back since the last tick
CREATE TEMP TABLE o_tag (who text, tag text);
CREATE TEMP TABLE o_trait (leaf text, name text, value jsonb, at timestamptz);
CREATE TEMP TABLE o_decision (leaf text, purpose text, channel text, granted boolean, at timestamptz);
CREATE TEMP TABLE o_trigger (n serial, leaf text, source text, name text, at timestamptz, label text, props jsonb, ref text);
CREATE TEMP TABLE o_due (who text, event text, label text, last timestamptz, due timestamptz);	-- label: '' for the event as a whole, @set1 for a set
CREATE TEMP TABLE o_stage (who text, stage text, known timestamptz, due timestamptz, leaves text[]);	-- as of "known", of these leaves; due: when it changes
CREATE TEMP TABLE o_member (who text);	-- of the segment
CREATE TEMP TABLE o_stirred (who text, how text);	-- to whom since the last tick an event, history, a merge or (un)suppression has come, or a stage without a trigger
CREATE TEMP TABLE o_now (who text, LIKE o_trigger);	-- what takes effect at this instant
CREATE TEMP TABLE o_cap AS SELECT * FROM frequency_cap;
CREATE TEMP TABLE o_quiet AS SELECT * FROM quiet_hours;
CREATE INDEX ON o_run (run); CREATE INDEX ON o_log (run);

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
-- who it was with the merges that stood then
CREATE FUNCTION pg_temp.who_at(l text, t timestamptz) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	next	text := l;
BEGIN
	WHILE next IS NOT NULL LOOP
		l := next;
		next := (SELECT x.survivor FROM o_link x WHERE x.stands AND x.loser = l AND x.at <= t);
	END LOOP;
	RETURN l;
END
$$;
-- The decision in force; NULL: there is none.  One replaces what was said before by the same or by whom it was one with; of those that are left one refusal is enough.
CREATE FUNCTION pg_temp.decided(me text, of_purpose text, of_channel text, t timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	d	o_decision[] := ARRAY(SELECT x FROM o_decision x WHERE x.leaf IN (SELECT pg_temp.leaves(me)) AND x.purpose = of_purpose AND x.channel = of_channel AND x.at <= t);
BEGIN
	RETURN (SELECT bool_and(x.granted) FROM unnest(d) x WHERE NOT EXISTS (SELECT FROM unnest(d) y WHERE y.at > x.at AND (y.leaf = x.leaf OR pg_temp.who_at(y.leaf, y.at) = pg_temp.who_at(x.leaf, y.at))));
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
	ELSIF rule LIKE 'gold%' THEN
		RETURN EXISTS (SELECT FROM o_tag x WHERE x.who = me AND x.tag = rule);
	ELSIF rule LIKE 'segment:%' THEN
		RETURN EXISTS (SELECT FROM o_member x WHERE x.who = me);
	ELSIF rule LIKE 'lifecycle:%' THEN
		RETURN EXISTS (SELECT FROM o_stage x WHERE x.who = me AND x.stage = substr(rule, 11));
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
-- Would a message at h be one too many, as far as is known at t?
CREATE FUNCTION pg_temp.breaks(c o_cap, me text, h timestamptz, t timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
	sent	timestamptz[] := ARRAY(SELECT m.due FROM o_message m WHERE m.owner IN (SELECT pg_temp.leaves(me)) AND m.self AND m.capped AND ((c).channel = '*' OR m.channel = (c).channel)
									AND (m.status IN ('claimed', 'sent', 'ambiguous') OR m.status = 'pending' AND (m.expires > t) IS NOT FALSE));
	zone	text := pg_temp.zone_of(me, (c).tz);
	days	int := extract(epoch FROM (c).per) / 86400;
BEGIN
	IF (c).kind = 'rolling' THEN	-- stretches begin with a message
		RETURN EXISTS (SELECT FROM unnest(sent || h) s WHERE s <= h AND s > h - (c).per
					   AND 1 + (SELECT count(*) FROM unnest(sent) x WHERE x >= s AND x < s + (c).per) > (c).max);
	END IF;
	RETURN EXISTS (SELECT FROM generate_series(0, days - 1) back, LATERAL (SELECT (h AT TIME ZONE zone)::date - back AS since) d
				   WHERE 1 + (SELECT count(*) FROM unnest(sent) x WHERE (x AT TIME ZONE zone)::date >= since AND (x AT TIME ZONE zone)::date < since + days) > (c).max);
END
$$;
-- the instants at which quiet hours or caps may end, in order: full hours, and so long after a message (one at a lapse of a stage is off by a microsecond)
CREATE FUNCTION pg_temp.instants(me text, since timestamptz, until timestamptz) RETURNS SETOF timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY SELECT since UNION SELECT generate_series(date_trunc('hour', since) + interval '1 h', until, '1 h')
	UNION SELECT m.due + c.per FROM o_message m, o_cap c WHERE m.owner IN (SELECT pg_temp.leaves(me)) AND m.due + c.per > since AND m.due + c.per < until ORDER BY 1;
END
$$;
CREATE FUNCTION pg_temp.sendable(me text, of_purpose text, of_channel text, t timestamptz, OUT due timestamptz, OUT cap text) LANGUAGE plpgsql STABLE AS $$
DECLARE
	quiet	boolean := of_purpose <> 'transactional';
	later	timestamptz[];
BEGIN
	SELECT min(h) INTO due FROM (SELECT h FROM pg_temp.instants(me, t, t + interval '4 days') h WHERE NOT (quiet AND pg_temp.is_quiet(me, of_channel, h)) LIMIT 1) x;
	IF due IS NULL THEN
		due := 'infinity';
	ELSIF of_purpose NOT IN ('transactional', 'news') AND EXISTS (SELECT FROM o_cap c WHERE c.channel IN (of_channel, '*') AND pg_temp.breaks(c, me, due, t)) THEN
		later := ARRAY(SELECT pg_temp.instants(me, due, due + interval '20 days'));
		-- by the cap that keeps it longest; not for ever unless a cap is 0
		SELECT format('%s per %s on %s', c.max, c.per, c.channel) INTO cap
		FROM o_cap c CROSS JOIN LATERAL (SELECT CASE c.max WHEN 0 THEN 'infinity' ELSE (SELECT h FROM unnest(later) h WHERE NOT pg_temp.breaks(c, me, h, t) LIMIT 1) END AS free) f
		WHERE c.channel IN (of_channel, '*') AND f.free > due ORDER BY f.free DESC, c.channel, c.per LIMIT 1;
		SELECT h INTO due FROM unnest(later) h
		WHERE NOT EXISTS (SELECT FROM o_cap c WHERE c.channel IN (of_channel, '*') AND c.max = 0)
		  AND NOT (quiet AND pg_temp.is_quiet(me, of_channel, h))
		  AND NOT EXISTS (SELECT FROM o_cap c WHERE c.channel IN (of_channel, '*') AND pg_temp.breaks(c, me, h, t)) LIMIT 1;
		due := coalesce(due, 'infinity');
	END IF;
END
$$;
-- Whose address on a channel: the newest one that has not bounced, NULL if there is none; bounced: there are some, and all have.
CREATE FUNCTION pg_temp.reach(me text, of_channel text, OUT address text, OUT bounced boolean) LANGUAGE plpgsql STABLE AS $$
BEGIN
	SELECT (array_agg(a.value ORDER BY a.since DESC) FILTER (WHERE b.address IS NULL))[1], coalesce(bool_and(b.address IS NOT NULL), false) INTO address, bounced
	FROM o_address a LEFT JOIN o_bounced b ON b.address = a.value AND b.channel = a.channel
	WHERE a.leaf IN (SELECT pg_temp.leaves(me)) AND a.channel = of_channel;
END
$$;
