/* 42_journey_report: what journeys have done, and why */

CREATE FUNCTION cdp._check_journey_name(name text) RETURNS void
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM cdp.journey j WHERE j.name = _check_journey_name.name) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('journey "%s" does not exist', _check_journey_name.name);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_journey_name(text) IS 'refuses a journey that does not exist';

CREATE FUNCTION cdp.journey_stats(name text)
RETURNS TABLE (step text, entered bigint, waiting bigint, left_step bigint, messages bigint, goals bigint)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	PERFORM cdp._check_journey_name(journey_stats.name);
	RETURN QUERY
	SELECT st.step,
		   coalesce(r.at_step, 0) + coalesce(l.left_step, 0) + coalesce(e.at_step + e.left_step, 0), coalesce(r.waiting, 0),
		   coalesce(l.left_step, 0) + coalesce(e.left_step, 0), coalesce(l.messages, 0) + coalesce(e.messages, 0),
		   coalesce(l.goals, 0) + coalesce(e.goals, 0)
	FROM (SELECT DISTINCT k AS step FROM cdp.journey_version v, jsonb_object_keys(v.spec -> 'steps') AS k
		  WHERE v.journey = journey_stats.name) AS st
	LEFT JOIN (SELECT s.step, count(*) FILTER (WHERE coalesce(s.outcome NOT IN ('completed', 'held_out'), true)) AS at_step,
					  count(*) FILTER (WHERE s.status = 'active') AS waiting
			   FROM cdp.journey_state s WHERE s.journey = journey_stats.name GROUP BY s.step) AS r ON r.step = st.step
	LEFT JOIN (SELECT g.step, count(*) FILTER (WHERE g.what = 'step') AS left_step,
					  count(*) FILTER (WHERE g.what = 'sent') AS messages, count(*) FILTER (WHERE g.what = 'goal') AS goals
			   FROM cdp.journey_log g WHERE g.journey = journey_stats.name GROUP BY g.step) AS l ON l.step = st.step
	LEFT JOIN cdp.erased_step e ON e.journey = journey_stats.name AND e.step = st.step
	ORDER BY st.step COLLATE "C";
END
$$;
COMMENT ON FUNCTION cdp.journey_stats(text) IS 'how many runs came to each step, stand there and left it, all versions together';

-- Who was messaged and who converted count once, however often they entered.
CREATE FUNCTION cdp.journey_results(name text)
RETURNS TABLE (variant text, profiles bigint, messaged bigint, converted bigint, value double precision)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	PERFORM cdp._check_journey_name(journey_results.name);
	RETURN QUERY
	WITH run AS (
		SELECT CASE s.variant WHEN '' THEN 'all' ELSE s.variant END AS variant, p.canonical_id AS profile_id,
			   EXISTS (SELECT FROM cdp.outbox o
					   WHERE o.run_id = s.run_id AND o.status IN ('pending', 'claimed', 'sent', 'ambiguous')) AS messaged,
			   g.at IS NOT NULL AS converted, g.value
		FROM cdp.journey_state s
		JOIN cdp.profile p USING (profile_id)
		LEFT JOIN cdp.journey_log g ON g.run_id = s.run_id AND g.what = 'goal'
		WHERE s.journey = journey_results.name AND s.outcome IS DISTINCT FROM 'merged'
	)
	SELECT x.variant, sum(x.profiles)::bigint, sum(x.messaged)::bigint, sum(x.converted)::bigint, sum(x.value)
	FROM (SELECT r.variant, count(DISTINCT r.profile_id) AS profiles, count(DISTINCT r.profile_id) FILTER (WHERE r.messaged) AS messaged,
				 count(DISTINCT r.profile_id) FILTER (WHERE r.converted) AS converted, coalesce(sum(r.value), 0) AS value
		  FROM run r GROUP BY r.variant
		  UNION ALL
		  SELECT e.variant, e.profiles, e.messaged, e.converted, e.value FROM cdp.erased_run e WHERE e.journey = journey_results.name) x
	GROUP BY x.variant ORDER BY x.variant COLLATE "C";
END
$$;
COMMENT ON FUNCTION cdp.journey_results(text) IS 'profiles, messaged and converted ones, and the value of their goals, by variant; holdout and control are variants';

-- z of two proportions, pooled: beyond 1.96 either way is chance in one case of twenty.
CREATE FUNCTION cdp.journey_lift(name text, baseline text DEFAULT 'holdout')
RETURNS TABLE (variant text, profiles bigint, rate double precision, baseline_rate double precision, lift double precision, z double precision)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT r.variant, r.profiles, r.rate, b.rate, r.rate / nullif(b.rate, 0) - 1,
		   (r.rate - b.rate) / nullif(sqrt(x.pooled * (1 - x.pooled) * (1.0 / r.profiles + 1.0 / b.profiles)), 0)
	FROM (SELECT j.*, j.converted::double precision / j.profiles AS rate FROM cdp.journey_results(journey_lift.name) j) r
	JOIN (SELECT j.*, j.converted::double precision / j.profiles AS rate FROM cdp.journey_results(journey_lift.name) j) b ON b.variant = baseline
	CROSS JOIN LATERAL (SELECT (r.converted + b.converted)::double precision / (r.profiles + b.profiles) AS pooled) x
	WHERE r.variant <> baseline
	ORDER BY r.variant COLLATE "C";
END;
COMMENT ON FUNCTION cdp.journey_lift(text, text) IS 'how much more often each variant converts than the holdout (or another variant), and how sure that is';

CREATE FUNCTION cdp.journey_path(run_id bigint) RETURNS TABLE (at timestamptz, step text, what text, detail text)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	IF NOT EXISTS (SELECT FROM cdp.journey_state s WHERE s.run_id = journey_path.run_id) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('run %s does not exist', journey_path.run_id);
	END IF;
	RETURN QUERY
	SELECT l.at, l.step, l.what, l.detail FROM cdp.journey_log l WHERE l.run_id = journey_path.run_id ORDER BY l.log_id;
END
$$;
COMMENT ON FUNCTION cdp.journey_path(bigint) IS 'everything one run has gone through';

CREATE FUNCTION cdp.why_message(id bigint) RETURNS TABLE (at timestamptz, what text, detail text)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	IF NOT EXISTS (SELECT FROM cdp.outbox o WHERE o.id = why_message.id) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('message %s does not exist', why_message.id);
	END IF;
	RETURN QUERY
	WITH message AS (	-- without what analysts may not read
		SELECT o.id, o.run_id, o.step, o.due_at, o.channel, o.purpose, o.priority, o.expires_at FROM cdp.outbox o WHERE o.id = why_message.id)
	SELECT x.at, x.what, x.detail
	FROM (SELECT 1 AS part, s.entered_at AS at, 'started by' AS what, (s.entry - 'event_id')::text AS detail, 0 AS n
		  FROM message m JOIN cdp.journey_state s USING (run_id)
		  UNION ALL
		  SELECT 2, l.at, l.what, concat_ws(': ', l.step, l.detail), l.log_id
		  FROM message m JOIN cdp.journey_log l USING (run_id)
		  -- a loop may have sent at this step before
		  WHERE l.log_id <= (SELECT f.log_id FROM cdp.journey_log f
							 WHERE f.run_id = m.run_id AND f.step = m.step AND f.what = 'sent' ORDER BY f.log_id
							 OFFSET (SELECT count(*) FROM cdp.outbox o WHERE o.run_id = m.run_id AND o.step = m.step AND o.id < m.id) LIMIT 1)
		  UNION ALL
		  SELECT 3, m.due_at, 'may go out', concat_ws(', ', m.channel, 'purpose ' || m.purpose, 'priority ' || m.priority, 'until ' || (m.expires_at AT TIME ZONE 'UTC')::text || 'Z'), 0
		  FROM message m
		  UNION ALL
		  SELECT 4, d.at, d.status, d.detail, d.delivery_id FROM message m JOIN cdp.delivery d ON d.outbox_id = m.id) x
	ORDER BY x.part, x.n;
END
$$;
COMMENT ON FUNCTION cdp.why_message(bigint) IS 'what led to a message, from the entry of its run on, and what became of it';

-- A type, so that both the argument and the column can be called "at".
CREATE TYPE cdp._reason AS (at timestamptz, what text, detail text);
COMMENT ON TYPE cdp._reason IS 'a row of why_no_message';

CREATE FUNCTION cdp.why_no_message(profile bigint, journey text, at timestamptz DEFAULT now()) RETURNS SETOF cdp._reason
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	j		cdp.journey;
	owner	cdp.profile;
	members	bigint[];
	kept	int;
BEGIN
	IF why_no_message.profile IS NULL OR why_no_message.journey IS NULL OR why_no_message.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'arguments of why_no_message must not be null';
	END IF;
	SELECT x.* INTO j FROM cdp.journey x WHERE x.name = why_no_message.journey;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('journey "%s" does not exist', why_no_message.journey);
	END IF;
	SELECT p.* INTO owner FROM cdp.profile l JOIN cdp.profile p ON p.profile_id = l.canonical_id WHERE l.profile_id = why_no_message.profile;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s does not exist', why_no_message.profile);
	END IF;
	members := ARRAY(SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = owner.profile_id);
	IF j.status <> 'active' THEN
		RETURN QUERY SELECT NULL::timestamptz, 'journey'::text, 'is ' || j.status;
	END IF;
	IF owner.kind <> j.kind THEN
		RETURN QUERY SELECT NULL::timestamptz, 'profile', format('is a %s, the journey is for a %s', owner.kind, j.kind);
	END IF;
	IF owner.suppressed OR owner.erased_at IS NOT NULL THEN
		RETURN QUERY SELECT owner.erased_at, 'profile', 'is suppressed or erased';
	END IF;
	RETURN QUERY
	SELECT NULL::timestamptz, 'profile', 'is ' || substr(r.term, 5) || ': ' || r.value
	FROM cdp._suppressed_by(owner.profile_id, why_no_message.at, 'excluded') r;
	RETURN QUERY
	SELECT l.at, l.what, concat_ws(': ', l.step, l.detail)
	FROM cdp.journey_log l
	WHERE l.profile_id = ANY (members) AND l.journey = j.name AND l.at <= why_no_message.at ORDER BY l.log_id;
	GET DIAGNOSTICS kept = ROW_COUNT;
	IF kept = 0 THEN
		RETURN QUERY SELECT NULL::timestamptz, 'entry', 'nothing has started it: ' || (v.spec -> 'entry')::text
		FROM cdp.journey_version v WHERE v.journey = j.name AND v.version = coalesce(j.active_version, j.version);
	END IF;
	RETURN QUERY
	SELECT s.due_at, 'now', format('at step "%s"%s', s.step, CASE WHEN s.due_at = 'infinity' THEN ', until a date is known' ELSE '' END)
	FROM cdp.journey_state s WHERE s.profile_id = ANY (members) AND s.journey = j.name AND s.status = 'active' ORDER BY s.run_id;
	RETURN QUERY
	SELECT o.due_at, 'message', concat_ws(': ', o.channel || ' ' || o.status,
		(SELECT d.detail FROM cdp.delivery d WHERE d.outbox_id = o.id ORDER BY d.delivery_id DESC LIMIT 1))
	FROM cdp.outbox o WHERE o.profile_id = ANY (members) AND o.journey = j.name AND o.due_at <= why_no_message.at ORDER BY o.id;
END
$$;
COMMENT ON FUNCTION cdp.why_no_message(bigint, text, timestamptz) IS 'everything that kept a journey from writing to a profile, up to an instant';

-- Mermaid takes quoted labels; in them it looks for entities (#35;), HTML and Markdown (`).
CREATE FUNCTION cdp._mermaid_text(label text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '"' || replace(replace(replace(replace(replace(replace(label, '#', '#35;'), '"', '#quot;'), '<', '#lt;'), '>', '#gt;'), '`', '#96;'), E'\n', ' ') || '"';
COMMENT ON FUNCTION cdp._mermaid_text(text) IS 'a label of a Mermaid diagram';

CREATE FUNCTION cdp.journey_diagram(name text) RETURNS text
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	spec	jsonb;
BEGIN
	SELECT v.spec INTO spec FROM cdp.journey j JOIN cdp.journey_version v ON v.journey = j.name AND v.version = coalesce(j.active_version, j.version)
	WHERE j.name = journey_diagram.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('journey "%s" does not exist', journey_diagram.name);
	END IF;
	RETURN (
		WITH step AS (
			SELECT e.key, e.value, 's' || row_number() OVER (ORDER BY e.key COLLATE "C") AS node,
				   (SELECT k FROM jsonb_object_keys(e.value) k
					WHERE k IN ('wait', 'wait_until', 'wait_for', 'if', 'switch', 'split', 'send', 'tag', 'untag', 'set_trait', 'journey')) AS verb
			FROM jsonb_each(spec -> 'steps') e
		)
		SELECT E'flowchart TD\n'
			|| format(E'  entry([%s])\n', cdp._mermaid_text((spec -> 'entry')::text))
			|| (SELECT string_agg(format(CASE WHEN s.verb IN ('if', 'switch', 'split') THEN E'  %s{%s}\n' ELSE E'  %s[%s]\n' END, s.node,
						cdp._mermaid_text(s.key || ': ' || s.verb || CASE WHEN s.verb IN ('switch', 'split') THEN ''
							ELSE ' ' || CASE jsonb_typeof(s.value -> s.verb) WHEN 'string' THEN s.value ->> s.verb ELSE (s.value -> s.verb)::text END END)),
						'' ORDER BY s.key COLLATE "C") FROM step s)
			|| E'  end_([end])\n'
			|| format(E'  entry --> %s\n', (SELECT s.node FROM step s WHERE s.key = spec ->> 'start'))
			|| (SELECT string_agg(format(E'  %s -->%s %s\n', s.node,
						CASE WHEN t.key = 'next' AND s.verb <> 'wait_for' THEN ''
							 ELSE '|' || cdp._mermaid_text(CASE
								WHEN t.key LIKE 'split%' THEN trim_scale(100 * (s.value -> 'split' -> substring(t.key, '\d+')::int ->> 'share')::numeric) || ' %'
								WHEN t.key LIKE 'switch%' THEN s.value -> 'switch' -> substring(t.key, '\d+')::int ->> 'when'
								WHEN s.verb = 'wait_for' AND t.key = 'else' THEN 'after ' || (s.value ->> 'timeout')
								ELSE t.key END) || '|' END,
						coalesce(n.node, 'end_')), '' ORDER BY s.key COLLATE "C", t.ordinality)
				FROM step s CROSS JOIN LATERAL cdp._step_targets(s.value) WITH ORDINALITY t LEFT JOIN step n ON n.key = t.target));
END
$$;
COMMENT ON FUNCTION cdp.journey_diagram(text) IS 'the active version of a journey (or its newest) as a Mermaid flowchart';

/*
 * The engine itself, in a subtransaction that is rolled back: what it made is
 * counted first.  Only sequences move on.  The journey counts as active; what
 * has happened in the time asked about and would have started something in it
 * happens again, everything else goes on as it is.
 */
-- With the owner's rights: it does what the clock would, and all of it is undone.
CREATE FUNCTION cdp.simulate_journey(name text, at timestamptz DEFAULT now(), horizon interval DEFAULT '7 days')
RETURNS TABLE (step text, entered bigint, messages bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	until	timestamptz;
	first	bigint;
	first_run bigint;
	found_	jsonb;
BEGIN
	IF simulate_journey.name IS NULL OR simulate_journey.at IS NULL OR horizon IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'arguments of simulate_journey must not be null';
	ELSIF NOT isfinite(simulate_journey.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	ELSIF horizon < interval '0' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'horizon must not be negative';
	ELSIF (SELECT j.status FROM cdp.journey j WHERE j.name = simulate_journey.name) = 'archived' THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('journey "%s" is archived', simulate_journey.name);
	END IF;
	until := simulate_journey.at + make_interval(secs => cdp._seconds(horizon));
	BEGIN
		PERFORM cdp.activate_journey(simulate_journey.name);
		-- as if activated at "at", when the clock calls for the first time
		PERFORM cdp._plan_journey(simulate_journey.name, simulate_journey.at);
		UPDATE cdp.journey_schedule s SET next_at = simulate_journey.at WHERE s.journey = simulate_journey.name AND s.next_at IS NULL;
		first := nextval('cdp.journey_log_id_seq');
		first_run := nextval('cdp.run_id_seq');
		INSERT INTO cdp.journey_trigger (source, name, profile_id, at, label, value, event_id)
		SELECT DISTINCT 'event', e.event, p.canonical_id, e.at, e.label, e.value, r.event_id
		FROM cdp.event r
		JOIN cdp.profile p ON p.profile_id = ANY (r.profile_id || r.participants)
		CROSS JOIN LATERAL cdp._event_entries(r.at, r.event, r.source, r.properties) e
		JOIN (SELECT DISTINCT l.name FROM cdp.journey_listener l WHERE l.journey = simulate_journey.name AND l.source = 'event') l ON l.name = e.event
		WHERE r.at > simulate_journey.at AND r.at <= until AND NOT r.backfill
		  AND NOT EXISTS (SELECT FROM cdp.journey_trigger t WHERE t.event_id = r.event_id);
		WHILE cdp._advance_journeys(until, 10000, false) > 0 LOOP
		END LOOP;
		-- Runs come to each step that they pass, and to the one where they stand;
		-- those that there were before stood at the first of these already.
		WITH done AS MATERIALIZED (
			SELECT l.run_id, l.step, l.what, l.log_id FROM cdp.journey_log l
			WHERE l.journey = simulate_journey.name AND l.log_id > first AND l.what IN ('step', 'sent')
		), come AS (
			SELECT d.run_id, d.step, d.run_id > first_run OR row_number() OVER (PARTITION BY d.run_id ORDER BY d.log_id) > 1 AS counts
			FROM done d WHERE d.what = 'step'
			UNION ALL
			SELECT s.run_id, s.step, true FROM (SELECT DISTINCT d.run_id FROM done d WHERE d.what = 'step' AND d.run_id <= first_run) d
			JOIN cdp.journey_state s USING (run_id) WHERE s.outcome IS DISTINCT FROM 'completed'
			UNION ALL
			SELECT s.run_id, s.step, true FROM cdp.journey_state s
			WHERE s.run_id > first_run AND s.journey = simulate_journey.name AND coalesce(s.outcome NOT IN ('completed', 'held_out'), true)
		)
		SELECT jsonb_object_agg(x.step, jsonb_build_array(x.entered, x.messages)) INTO found_
		FROM (SELECT u.step, count(*) FILTER (WHERE u.comes) AS entered, count(*) FILTER (WHERE NOT u.comes) AS messages
			  FROM (SELECT c.step, true AS comes FROM come c WHERE c.counts
					UNION ALL SELECT d.step, false FROM done d WHERE d.what = 'sent') u
			  GROUP BY u.step) x;
		RAISE SQLSTATE 'CDP02';
	EXCEPTION WHEN SQLSTATE 'CDP02' THEN
		NULL;
	END;
	RETURN QUERY
	SELECT k, coalesce((found_ -> k ->> 0)::bigint, 0), coalesce((found_ -> k ->> 1)::bigint, 0)
	FROM cdp.journey j JOIN cdp.journey_version v ON v.journey = j.name AND v.version = j.version, jsonb_object_keys(v.spec -> 'steps') k
	WHERE j.name = simulate_journey.name ORDER BY k COLLATE "C";
END
$$;
COMMENT ON FUNCTION cdp.simulate_journey(text, timestamptz, interval) IS 'what the newest version of a journey would do in some time: runs that come to each step, and messages; changes nothing';
