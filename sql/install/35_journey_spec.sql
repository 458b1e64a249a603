/* 35_journey_spec: what a journey's specification may say
 *
 * Small readers, each raising an error that names the path in the JSON.
 * create_journey calls _check_journey, which calls the rest: what it lets
 * through needs no checks when runs read it.
 */

CREATE FUNCTION cdp._spec_error(path text, problem text, code text DEFAULT 'invalid_parameter_value') RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = code, MESSAGE = format('%s: %s', path, problem);
END
$$;
COMMENT ON FUNCTION cdp._spec_error(text, text, text) IS 'raises an error of a journey spec, naming the path';

CREATE FUNCTION cdp._spec_object(path text, value jsonb, known text[], later text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	prefix	text := CASE path WHEN 'spec' THEN '' ELSE path || '.' END;
	key		text;
BEGIN
	IF value IS NULL THEN
		PERFORM cdp._spec_error(path, 'is missing');
	ELSIF jsonb_typeof(value) <> 'object' THEN
		PERFORM cdp._spec_error(path, 'must be an object');
	END IF;
	FOR key IN SELECT k FROM jsonb_object_keys(value) k ORDER BY k COLLATE "C" LOOP
		IF key = ANY (later) THEN
			PERFORM cdp._spec_error(prefix || key, 'is not supported', 'feature_not_supported');
		ELSIF key <> ALL (known) THEN
			PERFORM cdp._spec_error(prefix || key, 'unrecognized key');
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._spec_object(text, jsonb, text[], text[]) IS 'refuses keys of a journey spec that are not understood (known) or not yet supported (later)';

CREATE FUNCTION cdp._spec_text(path text, value jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF value IS NULL THEN
		PERFORM cdp._spec_error(path, 'is missing');
	ELSIF jsonb_typeof(value) <> 'string' OR value #>> '{}' = '' THEN
		PERFORM cdp._spec_error(path, 'must be a text that is not empty');
	END IF;
	RETURN value #>> '{}';
END
$$;
COMMENT ON FUNCTION cdp._spec_text(text, jsonb) IS 'a text of a journey spec';

CREATE FUNCTION cdp._spec_count(path text, value jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF value IS NULL THEN
		PERFORM cdp._spec_error(path, 'is missing');
	ELSIF coalesce(value #>> '{}', '') !~ '^([0-9]{1,9})$' OR jsonb_typeof(value) <> 'number' THEN
		PERFORM cdp._spec_error(path, 'must be a whole number from 0 to 999999999');
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._spec_count(text, jsonb) IS 'checks a number of people in a journey spec';

-- Durations are lengths (1 month = 30 days) and are kept in seconds: adding
-- days to a timestamptz would depend on the session's time zone.
CREATE FUNCTION cdp._journey_duration(duration text) RETURNS interval
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	m		text[] := regexp_match(duration, '^([0-9]{1,9})(min|mo|[smhdwy])$');
	seconds	bigint := m[1]::bigint * CASE m[2] WHEN 's' THEN 1 WHEN 'min' THEN 60 WHEN 'm' THEN 60 WHEN 'h' THEN 3600 WHEN 'd' THEN 86400
											   WHEN 'w' THEN 7 * 86400 WHEN 'mo' THEN 30 * 86400 WHEN 'y' THEN 365 * 86400 END;
BEGIN
	RETURN CASE WHEN seconds <= 3650 * 86400 THEN make_interval(secs => seconds) END;
END
$$;
COMMENT ON FUNCTION cdp._journey_duration(text) IS 'length of a duration such as 30min, 12h, 3d, 2w, 3mo or 1y, at most ten years; NULL when malformed';

CREATE FUNCTION cdp._spec_duration(path text, value jsonb) RETURNS interval
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	length	interval := cdp._journey_duration(cdp._spec_text(path, value));
BEGIN
	IF length IS NULL THEN
		PERFORM cdp._spec_error(path, format('invalid duration "%s"', value #>> '{}'));
	ELSIF length = interval '0' THEN
		PERFORM cdp._spec_error(path, 'must be longer than zero');
	END IF;
	RETURN length;
END
$$;
COMMENT ON FUNCTION cdp._spec_duration(text, jsonb) IS 'a duration of a journey spec';

-- Also refuses [$] where nothing binds it: better now than in the middle of a
-- run.
CREATE FUNCTION cdp._spec_criteria(path text, value jsonb, may_bind boolean) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	rule	text := cdp._spec_text(path, value);
	why		text;
BEGIN
	IF cdp._criteria_has_free_label(rule::cdp.criteria) AND NOT may_bind THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'no label is bound to [$]';
	END IF;
EXCEPTION WHEN syntax_error OR data_exception OR feature_not_supported OR program_limit_exceeded THEN
	GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
	PERFORM cdp._spec_error(path, concat_ws(': ', SQLERRM, rtrim(nullif(why, ''), '.')),
							CASE SQLSTATE WHEN '0A000' THEN 'feature_not_supported' ELSE 'invalid_parameter_value' END);
END
$$;
COMMENT ON FUNCTION cdp._spec_criteria(text, jsonb, boolean) IS 'checks a criteria of a journey spec';

-- "purchase", "purchase[SKU-1]", "purchase[$]"; names and labels may be "quoted".
CREATE FUNCTION cdp._event_ref(reference text, OUT event text, OUT label text, OUT bound boolean, OUT label_set text, OUT conditions text)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(m[1], m[2]),
		   CASE WHEN m[3] = '' AND m[5] IS DISTINCT FROM '$' THEN coalesce(m[4], m[5]) END,
		   coalesce(m[3] = '' AND m[5] = '$', false),
		   CASE WHEN m[3] = '@' THEN coalesce(m[4], m[5]) END,
		   m[6]
	FROM regexp_match(reference, '^\s*(?:"([^"]+)"|([^][{}"@$*\s](?:[^][{}"@$*]*[^][{}"@$*\s])?))\s*(?:\[\s*(@?)(?:"([^"]+)"|([^][{}"@$*\s](?:[^][{}"@$*]*[^][{}"@$*\s])?|\$))\s*\])?\s*(\{.*\})?\s*$') AS m
	WHERE m IS NOT NULL AND (m[3] = '@' AND m[5] = '$') IS NOT TRUE;
END;
COMMENT ON FUNCTION cdp._event_ref(text)
	IS 'event and label that a journey listens to; bound: the label is that of the entry ([$]); label_set, conditions: see _is_such; all NULL when malformed';

-- None when there is none.
CREATE FUNCTION cdp._event_refs(reference jsonb) RETURNS TABLE (event text, label text, bound boolean, label_set text, conditions text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT r.event, r.label, r.bound, r.label_set, r.conditions
	FROM jsonb_array_elements(CASE jsonb_typeof(reference) WHEN 'array' THEN reference WHEN 'string' THEN jsonb_build_array(reference) END) o
	CROSS JOIN LATERAL cdp._event_ref(o #>> '{}') r;
END;
COMMENT ON FUNCTION cdp._event_refs(jsonb) IS 'the same of one event or an array of events';

-- Conditions are about an entry's own properties, an item's too: _event_rows
-- brings those that may do, the name "item" would let all of them through.
CREATE FUNCTION cdp._is_such(label_set text, conditions text, profile bigint, event text, label text, at timestamptz, event_id bigint DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	IF label_set IS NOT NULL AND NOT EXISTS (SELECT FROM cdp.label_set s WHERE s.name = label_set AND s.label = _is_such.label) THEN
		RETURN false;
	END IF;
	RETURN conditions IS NULL OR EXISTS (
		SELECT FROM cdp._event_rows(ARRAY[profile], ARRAY[event], at, at, format('count("%s"%s) > 0', event, conditions)) r
		WHERE r.label IS NOT DISTINCT FROM _is_such.label AND r.event_id = coalesce(_is_such.event_id, r.event_id) AND cdp._may_satisfy(format('count(entry%s) > 0', conditions)::cdp.criteria, at, r.properties));
END
$$;
COMMENT ON FUNCTION cdp._is_such(text, text, bigint, text, text, timestamptz, bigint)
	IS 'is the label of an event of a canonical profile in this set, and do the properties of it, or of any such event at this instant, satisfy conditions? NULL asks nothing';

CREATE FUNCTION cdp._spec_event(path text, value jsonb, may_bind boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	reference	text := cdp._spec_text(path, value);
	ref			record;
BEGIN
	SELECT e.* INTO ref FROM cdp._event_ref(reference) e;
	IF reference ~ '^\s*\*' THEN
		PERFORM cdp._spec_error(path, 'journeys cannot listen to every event: their own messages are events', 'feature_not_supported');
	ELSIF ref.event IS NULL THEN
		PERFORM cdp._spec_error(path, format('invalid event "%s"', reference));
	ELSIF ref.bound AND NOT may_bind THEN
		PERFORM cdp._spec_error(path, '[$] stands for the label of the entry event and cannot be used here');
	ELSIF ref.event = 'message_sent' THEN
		PERFORM cdp._spec_error(path, 'journeys cannot listen to their own messages', 'feature_not_supported');
	ELSIF ref.conditions IS NOT NULL THEN
		BEGIN
			PERFORM format('count(entry%s) > 0', ref.conditions)::cdp.criteria;
		EXCEPTION WHEN syntax_error OR data_exception OR program_limit_exceeded THEN
			PERFORM cdp._spec_error(path, format('invalid conditions "%s"', ref.conditions));
		END;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._spec_event(text, jsonb, boolean) IS 'checks an event of a journey spec';

CREATE FUNCTION cdp._spec_tag(path text, value jsonb, listens boolean) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	tag	text := cdp._spec_text(path, value);
BEGIN
	IF listens THEN
		IF tag ~ '^(journey|held_out):' THEN
			PERFORM cdp._spec_error(path, format('a journey cannot be entered by tag "%s"', tag), 'feature_not_supported');
		ELSIF tag ~ '[[:cntrl:]]' THEN
			PERFORM cdp._spec_error(path, 'invalid tag');
		END IF;
	ELSE
		BEGIN
			PERFORM cdp._check_tag(tag);
		EXCEPTION WHEN data_exception OR insufficient_privilege OR program_limit_exceeded OR invalid_name OR reserved_name THEN
			PERFORM cdp._spec_error(path, SQLERRM);
		END;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._spec_tag(text, jsonb, boolean) IS 'checks a tag that a journey listens to or sets';

-- The targets of a step.
CREATE FUNCTION cdp._step_targets(step jsonb) RETURNS TABLE (key text, target text)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT k, step ->> k FROM unnest('{next,then,else}'::text[]) k WHERE step ? k
	UNION ALL
	SELECT format('%s[%s].next', k, e.ordinality - 1), e.value ->> 'next'
	FROM unnest('{split,switch}'::text[]) k
	CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(step -> k) WHEN 'array' THEN step -> k END) WITH ORDINALITY e;
END;
COMMENT ON FUNCTION cdp._step_targets(jsonb) IS 'the steps that may follow this one';

CREATE FUNCTION cdp._spec_name(path text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF name = '' OR name ~ '[[:cntrl:]/]' OR length(name) > 100 THEN
		PERFORM cdp._spec_error(path, 'invalid name');
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._spec_name(text, text) IS 'checks the name of a step or of a branch';

-- One event or several.
CREATE FUNCTION cdp._spec_events(path text, value jsonb, may_bind boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF jsonb_typeof(value) IS DISTINCT FROM 'array' THEN
		PERFORM cdp._spec_event(path, value, may_bind);
	ELSIF value = '[]' THEN
		PERFORM cdp._spec_error(path, 'must name an event');
	ELSE
		PERFORM cdp._spec_event(format('%s[%s]', path, e.n - 1), e.item, may_bind)
		FROM jsonb_array_elements(value) WITH ORDINALITY e(item, n);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._spec_events(text, jsonb, boolean) IS 'checks an event, or an array of events, of a journey spec';

-- "09:00", or an object: the next such time of day, weekday, or date of a trait.
CREATE FUNCTION cdp._spec_wait_until(path text, value jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	day	record;
BEGIN
	IF jsonb_typeof(value) = 'string' THEN
		value := jsonb_build_object('time', value);
	END IF;
	PERFORM cdp._spec_object(path, value, '{time,weekday,trait,offset,yearly}', '{}');
	IF value ? 'time' AND cdp._spec_text(path || '.time', value -> 'time') !~ '^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$' THEN
		PERFORM cdp._spec_error(path || '.time', format('invalid time of day "%s"', value ->> 'time'));
	END IF;
	FOR day IN SELECT e AS name
			   FROM jsonb_array_elements(CASE jsonb_typeof(_spec_wait_until.value -> 'weekday') WHEN 'array' THEN _spec_wait_until.value -> 'weekday'
										 ELSE jsonb_build_array(_spec_wait_until.value -> 'weekday') END) e
			   WHERE _spec_wait_until.value ? 'weekday' LOOP
		IF cdp._weekday(cdp._spec_text(path || '.weekday', day.name)) IS NULL THEN
			PERFORM cdp._spec_error(path || '.weekday', format('unrecognized weekday "%s"', day.name #>> '{}'));
		END IF;
	END LOOP;
	IF value -> 'weekday' = '[]' THEN
		PERFORM cdp._spec_error(path || '.weekday', 'must name a day');
	ELSIF value ? 'trait' THEN
		PERFORM cdp._spec_text(path || '.trait', value -> 'trait');
		IF value ? 'weekday' THEN
			PERFORM cdp._spec_error(path, 'must not have both "trait" and "weekday"');
		ELSIF value ? 'offset' AND cdp._journey_duration(ltrim(cdp._spec_text(path || '.offset', value -> 'offset'), '+-')) IS NULL THEN
			PERFORM cdp._spec_error(path || '.offset', format('invalid duration "%s"', value ->> 'offset'));
		ELSIF value ? 'yearly' AND jsonb_typeof(value -> 'yearly') <> 'boolean' THEN
			PERFORM cdp._spec_error(path || '.yearly', 'must be true or false');
		END IF;
	ELSIF value ?| '{offset,yearly}' THEN
		PERFORM cdp._spec_error(path, '"offset" and "yearly" need a "trait"');
	ELSIF NOT value ?| '{time,weekday}' THEN
		PERFORM cdp._spec_error(path, 'must have "time", "weekday" or "trait"');
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._spec_wait_until(text, jsonb) IS 'checks what a wait_until step waits for';

CREATE FUNCTION cdp._spec_split(path text, value jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	branch	record;
	sum_	numeric := 0;
	names	text[] := '{}';
BEGIN
	IF jsonb_typeof(value) <> 'array' OR jsonb_array_length(value) < 2 THEN
		PERFORM cdp._spec_error(path, 'must be an array of at least two branches');
	END IF;
	FOR branch IN SELECT format('%s[%s]', _spec_split.path, e.n - 1) AS path, e.item AS value
				  FROM jsonb_array_elements(_spec_split.value) WITH ORDINALITY e(item, n) LOOP
		PERFORM cdp._spec_object(branch.path, branch.value, '{share,next,name}', '{}');
		IF jsonb_typeof(branch.value -> 'share') IS DISTINCT FROM 'number' OR (branch.value ->> 'share')::numeric NOT BETWEEN 0 AND 1 OR scale((branch.value ->> 'share')::numeric) > 100 THEN
			PERFORM cdp._spec_error(branch.path || '.share', 'must be a number from 0 to 1');
		END IF;
		sum_ := sum_ + (branch.value ->> 'share')::numeric;
		PERFORM cdp._spec_text(branch.path || '.next', branch.value -> 'next');
		IF branch.value ? 'name' THEN
			PERFORM cdp._spec_name(branch.path || '.name', cdp._spec_text(branch.path || '.name', branch.value -> 'name'));
		END IF;
		IF coalesce(branch.value ->> 'name', branch.value ->> 'next') IN ('all', 'control', 'holdout') THEN
			PERFORM cdp._spec_error(branch.path || '.name', format('"%s" is a variant of every journey, another name is needed', coalesce(branch.value ->> 'name', branch.value ->> 'next')));
		END IF;
		names := names || coalesce(branch.value ->> 'name', branch.value ->> 'next');
	END LOOP;
	IF abs(sum_ - 1) > 0.000001 THEN
		PERFORM cdp._spec_error(path, format('the shares must add up to 1, not %s', sum_));
	ELSIF (SELECT count(DISTINCT n) FROM unnest(names) n) < cardinality(names) THEN
		PERFORM cdp._spec_error(path, 'two branches have the same name');
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._spec_split(text, jsonb) IS 'checks the branches of a split step';

CREATE FUNCTION cdp._spec_send(path text, send jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM cdp._spec_object(path, send, '{channel,template,params,expires,to,if_capped}', '{}');
	IF jsonb_typeof(send -> 'channel') IS DISTINCT FROM 'array' THEN
		PERFORM cdp._spec_text(path || '.channel', send -> 'channel');
	ELSIF send -> 'channel' = '[]' THEN
		PERFORM cdp._spec_error(path || '.channel', 'must name a channel');
	ELSE
		PERFORM cdp._spec_text(format('%s.channel[%s]', path, e.n - 1), e.item)
		FROM jsonb_array_elements(send -> 'channel') WITH ORDINALITY e(item, n);
	END IF;
	PERFORM cdp._spec_text(path || '.template', send -> 'template');
	IF send ? 'to' AND send -> 'to' <> '"self"' THEN
		IF jsonb_typeof(send -> 'to') <> 'object' THEN
			PERFORM cdp._spec_error(path || '.to', 'must be "self" or {"relation": name}');
		END IF;
		PERFORM cdp._spec_object(path || '.to', send -> 'to', '{relation}', '{}');
		PERFORM cdp._spec_text(path || '.to.relation', send #> '{to,relation}');
	END IF;
	IF send ? 'if_capped' AND cdp._spec_text(path || '.if_capped', send -> 'if_capped') NOT IN ('skip', 'wait', 'exit') THEN
		PERFORM cdp._spec_error(path || '.if_capped', 'must be "skip", "wait" or "exit"');
	END IF;
	IF send ? 'params' THEN
		PERFORM cdp._spec_params(path || '.params', send -> 'params');
	END IF;
	IF send ? 'expires' THEN
		PERFORM cdp._spec_duration(path || '.expires', send -> 'expires');
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._spec_send(text, jsonb) IS 'checks the message of a send step';

-- By itself: that the targets exist is checked when all steps are known.
CREATE FUNCTION cdp._check_step(path text, step jsonb, labelled boolean) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	verbs	text[] := '{wait,wait_until,wait_for,if,switch,split,send,tag,untag,set_trait,journey}';
	verb	text;
	branch	record;
BEGIN
	PERFORM cdp._spec_object(path, step, verbs || '{next,then,else,timeout}', '{}');
	IF (SELECT count(*) FROM jsonb_object_keys(step) k WHERE k = ANY (verbs)) <> 1 THEN
		PERFORM cdp._spec_error(path, 'must have exactly one of "' || array_to_string(verbs, '", "') || '"');
	END IF;
	SELECT k INTO STRICT verb FROM jsonb_object_keys(step) k WHERE k = ANY (verbs);
	PERFORM cdp._spec_object(path, step, verb || CASE verb
		WHEN 'if' THEN '{then,else}' WHEN 'switch' THEN '{else}' WHEN 'split' THEN '{}' WHEN 'wait_for' THEN '{timeout,next,else}'
		ELSE '{next}'::text[] END, '{}');

	CASE verb
		WHEN 'wait' THEN
			PERFORM cdp._spec_duration(path || '.wait', step -> 'wait');
		WHEN 'wait_until' THEN
			PERFORM cdp._spec_wait_until(path || '.wait_until', step -> 'wait_until');
		WHEN 'wait_for' THEN
			PERFORM cdp._spec_object(path || '.wait_for', step -> 'wait_for', '{on}', '{}');
			PERFORM cdp._spec_events(path || '.wait_for.on', step #> '{wait_for,on}', labelled);
			PERFORM cdp._spec_duration(path || '.timeout', step -> 'timeout');
		WHEN 'if' THEN
			PERFORM cdp._spec_criteria(path || '.if', step -> 'if', labelled);
		WHEN 'switch' THEN
			IF jsonb_typeof(step -> 'switch') <> 'array' OR step -> 'switch' = '[]' THEN
				PERFORM cdp._spec_error(path || '.switch', 'must be an array of branches');
			END IF;
			FOR branch IN SELECT format('%s.switch[%s]', _check_step.path, e.ordinality - 1) AS path, e.value
						  FROM jsonb_array_elements(step -> 'switch') WITH ORDINALITY e LOOP
				PERFORM cdp._spec_object(branch.path, branch.value, '{when,next}', '{}');
				PERFORM cdp._spec_criteria(branch.path || '.when', branch.value -> 'when', labelled);
			END LOOP;
		WHEN 'split' THEN
			PERFORM cdp._spec_split(path || '.split', step -> 'split');
		WHEN 'send' THEN
			PERFORM cdp._spec_send(path || '.send', step -> 'send');
		WHEN 'set_trait' THEN
			IF jsonb_typeof(step -> 'set_trait') = 'object' AND (step #> '{set_trait}' = '{}' OR step -> 'set_trait' ? '') THEN
				PERFORM cdp._spec_error(path || '.set_trait', 'must name a trait');
			END IF;
			PERFORM cdp._spec_params(path || '.set_trait', step -> 'set_trait');
		WHEN 'journey' THEN
			PERFORM cdp._spec_text(path || '.journey', step -> 'journey');
		ELSE
			PERFORM cdp._spec_tag(path || '.' || verb, step -> verb, false);
	END CASE;
	FOREACH verb IN ARRAY CASE verb
			WHEN 'if' THEN '{then,else}' WHEN 'switch' THEN '{else}' WHEN 'split' THEN '{}' WHEN 'wait_for' THEN '{next,else}'
			ELSE '{next}'::text[] END LOOP
		PERFORM cdp._spec_text(path || '.' || verb, step -> verb);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._check_step(text, jsonb, boolean) IS 'checks one step of a journey spec';

-- Walks along all ways, steps by number, and never twice along one: who comes to a
-- step that is on the way here has found a loop.  Waits end a way; a wait_until
-- does not, it may be over at once.
CREATE FUNCTION cdp._endless_step(steps jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	names	text[];
	targets	int[];		-- of all steps, those of one after each other
	next	int[];		-- the place there of the next target of a step
	ends	int[];		-- and of its last one
	state	int[];		-- 0: not seen, 1: on the way here, 2: seen with all that follows
	way		int[] := '{}';
	depth	int := 0;
	here	int;
	there	int;
BEGIN
	WITH step AS MATERIALIZED (
		SELECT (row_number() OVER (ORDER BY e.key COLLATE "C"))::int AS no, e.key, e.value
		FROM jsonb_each(steps) e WHERE NOT e.value ?| '{wait,wait_for}'
	), edge AS MATERIALIZED (
		SELECT s.no, t.no AS target, (row_number() OVER (ORDER BY s.no, x.ordinality))::int AS place
		FROM step s CROSS JOIN LATERAL cdp._step_targets(s.value) WITH ORDINALITY x JOIN step t ON t.key = x.target
	)
	SELECT array_agg(s.key ORDER BY s.no), (SELECT array_agg(e.target ORDER BY e.place) FROM edge e),
		   array_agg(coalesce(p.first, 1) ORDER BY s.no), array_agg(coalesce(p.last, 0) ORDER BY s.no), array_agg(0 ORDER BY s.no)
	INTO names, targets, next, ends, state
	FROM step s LEFT JOIN (SELECT e.no, min(e.place) AS first, max(e.place) AS last FROM edge e GROUP BY e.no) p USING (no);

	FOR start IN 1 .. coalesce(cardinality(names), 0) LOOP
		there := start;
		LOOP
			IF state[there] = 0 THEN
				state[there] := 1;
				depth := depth + 1;
				way[depth] := there;
			ELSIF state[there] = 1 THEN
				RETURN names[there];
			END IF;
			WHILE depth > 0 AND next[way[depth]] > ends[way[depth]] LOOP
				state[way[depth]] := 2;
				depth := depth - 1;
			END LOOP;
			EXIT WHEN depth = 0;
			here := way[depth];
			there := targets[next[here]];
			next[here] := next[here] + 1;
		END LOOP;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._endless_step(jsonb) IS 'a step on a loop in which nobody waits; NULL when there is none';

CREATE FUNCTION cdp._check_journey(spec jsonb) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	entry	jsonb := spec -> 'entry';
	labelled boolean := jsonb_typeof(entry) = 'object' AND entry ?| '{on,due,manual}';	-- the others have no label
	part	record;
	key		text;
	path	text;
	step	jsonb;
	found_	text;
	number_	numeric;
BEGIN
	PERFORM cdp._spec_object('spec', spec,
		'{entry,exit,goal,priority,purpose,campaign,kind,from,to,start,steps,holdout,timezone}', '{}');

	-- entry
	PERFORM cdp._spec_object('entry', entry, '{on,enters,leaves,due,before,every,at,who,manual,when,reentry,cooldown,key,cap,concurrency}', '{}');
	IF (SELECT count(*) FROM jsonb_object_keys(entry) k WHERE k IN ('on', 'enters', 'leaves', 'due', 'who', 'manual')) <> 1 THEN
		PERFORM cdp._spec_error('entry', 'must have exactly one of "on", "enters", "leaves", "due", "who" and "manual"');
	ELSIF entry ? 'before' AND NOT entry ? 'due' THEN
		PERFORM cdp._spec_error('entry.before', 'needs "due"');
	ELSIF entry ?| '{every,at}' <> entry ? 'who' THEN
		PERFORM cdp._spec_error('entry', '"who" needs "every" or "at", and they need "who"');
	END IF;
	IF entry ? 'on' THEN
		PERFORM cdp._spec_events('entry.on', entry -> 'on', false);
	ELSIF entry ? 'manual' THEN
		IF entry -> 'manual' <> 'true' THEN
			PERFORM cdp._spec_error('entry.manual', 'must be true');
		END IF;
	ELSIF entry ? 'due' THEN
		IF (cdp._due_ref(cdp._spec_text('entry.due', entry -> 'due'))).event IS NULL THEN
			PERFORM cdp._spec_error('entry.due', format('invalid event "%s"', entry ->> 'due'));
		END IF;
		PERFORM cdp._spec_duration('entry.before', entry -> 'before');
	ELSIF entry ? 'who' THEN
		PERFORM cdp._spec_criteria('entry.who', entry -> 'who', false);
		IF entry ? 'every' THEN
			PERFORM cdp._spec_duration('entry.every', entry -> 'every');
		END IF;
		IF entry ? 'at' AND cdp._iso_time(cdp._spec_text('entry.at', entry -> 'at')) IS NULL THEN
			PERFORM cdp._spec_error('entry.at', format('invalid time "%s"', entry ->> 'at'));
		END IF;
	ELSIF entry ? 'enters' THEN
		PERFORM cdp._spec_tag('entry.enters', entry -> 'enters', true);
	ELSE
		PERFORM cdp._spec_tag('entry.leaves', entry -> 'leaves', true);
	END IF;
	IF entry ? 'when' THEN
		PERFORM cdp._spec_criteria('entry.when', entry -> 'when', labelled);
	END IF;
	IF entry ? 'reentry' AND cdp._spec_text('entry.reentry', entry -> 'reentry') NOT IN ('once', 'always', 'cooldown') THEN
		PERFORM cdp._spec_error('entry.reentry', 'must be "once", "always" or "cooldown"');
	END IF;
	IF entry ->> 'reentry' = 'cooldown' THEN
		PERFORM cdp._spec_duration('entry.cooldown', entry -> 'cooldown');
	ELSIF entry ? 'cooldown' THEN
		PERFORM cdp._spec_error('entry.cooldown', 'needs "reentry": "cooldown"');
	END IF;
	IF entry ? 'key' THEN
		IF cdp._spec_text('entry.key', entry -> 'key') <> 'label' THEN
			PERFORM cdp._spec_error('entry.key', 'must be "label"');
		ELSIF NOT entry ?| '{on,due,manual}' THEN
			PERFORM cdp._spec_error('entry.key', 'this entry has no label');
		END IF;
	END IF;

	IF entry ? 'cap' THEN
		PERFORM cdp._spec_object('entry.cap', entry -> 'cap', '{max,per}', '{}');
		PERFORM cdp._spec_count('entry.cap.max', entry #> '{cap,max}');
		IF entry -> 'cap' ? 'per' THEN
			PERFORM cdp._spec_duration('entry.cap.per', entry #> '{cap,per}');
		END IF;
	END IF;
	IF entry ? 'concurrency' THEN
		PERFORM cdp._spec_count('entry.concurrency', entry -> 'concurrency');
	END IF;

	-- exit, goal
	IF spec ? 'exit' THEN
		IF jsonb_typeof(spec -> 'exit') <> 'array' THEN
			PERFORM cdp._spec_error('exit', 'must be an array');
		END IF;
		FOR part IN SELECT e.value, format('exit[%s]', e.ordinality - 1) AS path
					FROM jsonb_array_elements(spec -> 'exit') WITH ORDINALITY e LOOP
			PERFORM cdp._spec_object(part.path, part.value, '{on,when}', '{}');
			IF part.value ? 'on' = part.value ? 'when' THEN
				PERFORM cdp._spec_error(part.path, 'must have exactly one of "on" and "when"');
			ELSIF part.value ? 'on' THEN
				PERFORM cdp._spec_event(part.path || '.on', part.value -> 'on', labelled);
			ELSE
				PERFORM cdp._spec_criteria(part.path || '.when', part.value -> 'when', labelled);
			END IF;
		END LOOP;
	END IF;
	IF spec ? 'goal' THEN
		PERFORM cdp._spec_object('goal', spec -> 'goal', '{on,within}', '{}');
		PERFORM cdp._spec_event('goal.on', spec #> '{goal,on}', labelled);
		PERFORM cdp._spec_duration('goal.within', spec #> '{goal,within}');
	END IF;

	-- settings
	IF spec ? 'priority' THEN
		IF jsonb_typeof(spec -> 'priority') <> 'number' OR spec ->> 'priority' !~ '^(100|[0-9]{1,2})$' THEN
			PERFORM cdp._spec_error('priority', 'must be a whole number from 0 to 100');
		END IF;
	END IF;
	IF spec ? 'holdout' THEN
		number_ := CASE WHEN jsonb_typeof(spec -> 'holdout') = 'number' THEN (spec ->> 'holdout')::numeric END;
		-- also as a double precision
		IF number_ IS NULL OR number_ < 0 OR number_ >= 1 OR scale(number_) > 100 OR number_::double precision = 1 THEN
			PERFORM cdp._spec_error('holdout', 'must be a number from 0 to less than 1');
		END IF;
	END IF;
	IF spec ? 'timezone' AND cdp._zone(cdp._spec_text('timezone', spec -> 'timezone'), NULL) IS NULL THEN
		PERFORM cdp._spec_error('timezone', format('unrecognized time zone "%s"', spec ->> 'timezone'));
	END IF;
	FOREACH key IN ARRAY '{purpose,campaign,kind}'::text[] LOOP
		IF spec ? key THEN
			PERFORM cdp._spec_text(key, spec -> key);
		END IF;
	END LOOP;
	FOREACH key IN ARRAY '{from,to}'::text[] LOOP
		IF spec ->> key IS NOT NULL THEN
			IF cdp._iso_time(cdp._spec_text(key, spec -> key)) IS NULL THEN
				PERFORM cdp._spec_error(key, format('invalid time "%s"', spec ->> key));
			END IF;
		END IF;
	END LOOP;
	IF cdp._iso_time(spec ->> 'to') <= cdp._iso_time(spec ->> 'from') THEN
		PERFORM cdp._spec_error('to', 'must be later than "from"');
	END IF;

	-- steps, each by itself
	PERFORM cdp._spec_text('start', spec -> 'start');
	IF spec -> 'steps' IS NULL THEN
		PERFORM cdp._spec_error('steps', 'is missing');
	ELSIF jsonb_typeof(spec -> 'steps') <> 'object' THEN
		PERFORM cdp._spec_error('steps', 'must be an object');
	ELSIF (SELECT count(*) FROM jsonb_object_keys(spec -> 'steps')) > 1000 THEN
		PERFORM cdp._spec_error('steps', 'must be at most 1000', 'program_limit_exceeded');
	ELSIF NOT spec -> 'steps' ? (spec ->> 'start') THEN
		PERFORM cdp._spec_error('start', format('no such step "%s"', spec ->> 'start'));
	END IF;
	FOR key, step IN SELECT e.key, e.value FROM jsonb_each(spec -> 'steps') e ORDER BY e.key COLLATE "C" LOOP
		path := 'steps.' || key;
		IF key = 'end' THEN
			PERFORM cdp._spec_error(path, '"end" is built in');
		END IF;
		PERFORM cdp._spec_name(path, key);
		PERFORM cdp._check_step(path, step, labelled);
		FOR part IN SELECT t.key, t.target FROM cdp._step_targets(step) t LOOP
			IF part.target IS NULL THEN
				PERFORM cdp._spec_error(path || '.' || part.key, 'is missing');
			ELSIF part.target <> 'end' AND NOT spec -> 'steps' ? part.target THEN
				PERFORM cdp._spec_error(path || '.' || part.key, format('no such step "%s"', part.target));
			END IF;
		END LOOP;
	END LOOP;

	-- the graph
	WITH RECURSIVE edge AS MATERIALIZED (
		SELECT e.key AS name, t.target FROM jsonb_each(spec -> 'steps') e CROSS JOIN LATERAL cdp._step_targets(e.value) t
	), reached(name) AS (
		SELECT spec ->> 'start'
		UNION
		SELECT e.target FROM reached r JOIN edge e USING (name)
	)
	SELECT k INTO found_ FROM jsonb_object_keys(spec -> 'steps') k
	WHERE k NOT IN (SELECT r.name FROM reached r) ORDER BY k COLLATE "C" LIMIT 1;
	IF found_ IS NOT NULL THEN
		PERFORM cdp._spec_error('steps.' || found_, 'cannot be reached from the start');
	END IF;
	found_ := cdp._endless_step(spec -> 'steps');
	IF found_ IS NOT NULL THEN
		PERFORM cdp._spec_error('steps.' || found_, 'is on a loop without a wait');
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_journey(jsonb) IS 'validates a whole journey spec; an error names the path';

