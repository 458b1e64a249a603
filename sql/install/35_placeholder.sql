/* 35_placeholder: {{…}} in the parameters of messages and traits
 *
 *		{{ profile_id }}
 *		{{ entry.label }}  also entry.value, entry.event, entry.at, entry.journey
 *		{{ entry.properties.NAME }}		a property of the event that started the run
 *		{{ context.KEY }}				what enter_journey was given
 *		{{ trait.NAME }}
 *		{{ tag.KEY }}					the value of a tag KEY:value
 *		{{ … | default: "text" }}		for what is missing or empty, as in Liquid
 *
 * create_journey refuses what is not understood.  Values are put in once, when
 * the message is written; what is put in is not looked at again.
 */

CREATE FUNCTION cdp._placeholder(holder text, OUT source text, OUT name text, OUT otherwise text)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(m[1], m[2]), m[3], coalesce(m[4], m[5])
	FROM regexp_match(holder, '^\s*(?:(profile_id|entry\.(?:label|value|event|at|journey))|(entry\.properties|context|trait|tag)\.([^|"''\s](?:[^|"'']*[^|"''\s])?))\s*(?:\|\s*default\s*:\s*(?:"([^"]*)"|''([^'']*)'')\s*)?$') AS m;
END;
COMMENT ON FUNCTION cdp._placeholder(text) IS 'the parts of a placeholder; all NULL when it is not understood';

CREATE FUNCTION cdp._spec_params(path text, params jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	param	record;
	holder	text;
BEGIN
	IF jsonb_typeof(params) <> 'object' THEN
		PERFORM cdp._spec_error(path, 'must be an object');
	END IF;
	FOR param IN SELECT e.key, e.value FROM jsonb_each(params) e ORDER BY e.key COLLATE "C" LOOP
		IF jsonb_typeof(param.value) IN ('object', 'array') THEN
			PERFORM cdp._spec_error(path || '.' || param.key, 'nested values are not supported', 'feature_not_supported');
		ELSIF jsonb_typeof(param.value) = 'string' THEN
			FOR holder IN SELECT m[1] FROM regexp_matches(param.value #>> '{}', '\{\{([^{}]*)\}\}', 'g') m LOOP
				IF (cdp._placeholder(holder)).source IS NULL THEN
					PERFORM cdp._spec_error(path || '.' || param.key, format('unrecognized placeholder "{{%s}}"', holder));
				END IF;
			END LOOP;
			IF regexp_replace(param.value #>> '{}', '\{\{[^{}]*\}\}', '', 'g') ~ '\{\{|\}\}' THEN
				PERFORM cdp._spec_error(path || '.' || param.key, 'unbalanced "{{" or "}}"');
			END IF;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._spec_params(text, jsonb) IS 'checks the parameters of a message, or the traits, of a journey spec';

-- The event may stand with another leaf of the profile, or have taken place with others.
CREATE FUNCTION cdp._entry_property(entry jsonb, profile bigint, name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	members	bigint[];
BEGIN
	IF NOT entry ? 'event_id' THEN
		RETURN NULL;
	END IF;
	members := ARRAY(SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = profile);
	RETURN (SELECT e.properties ->> name FROM cdp.event e
			WHERE e.at = (entry ->> 'at')::timestamptz AND e.event_id = (entry ->> 'event_id')::bigint
			  AND (e.profile_id = ANY (members) OR e.participants && members));
END
$$;
COMMENT ON FUNCTION cdp._entry_property(jsonb, bigint, text) IS 'a property of the event that started a run; NULL when there is none any more';

-- Parameters in pieces, so that many runs read them once: text, or what is to be put in.
CREATE TYPE cdp._piece AS (key text, no int, literal text, source text, name text, otherwise text);
COMMENT ON TYPE cdp._piece IS 'a piece of a parameter with placeholders';

CREATE FUNCTION cdp._pieces(params jsonb) RETURNS cdp._piece[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(array_agg(ROW(e.key, t.no, CASE t.no % 2 WHEN 1 THEN t.piece END, h.source, h.name, h.otherwise)::cdp._piece ORDER BY e.key, t.no), '{}')
	FROM jsonb_each(params) e
	CROSS JOIN LATERAL regexp_split_to_table(e.value #>> '{}', '\{\{|\}\}') WITH ORDINALITY AS t(piece, no)
	LEFT JOIN LATERAL cdp._placeholder(t.piece) h ON t.no % 2 = 0
	WHERE jsonb_typeof(e.value) = 'string' AND strpos(e.value #>> '{}', '{{') > 0;
END;
COMMENT ON FUNCTION cdp._pieces(jsonb) IS 'the parameters that have placeholders, in pieces, by key';

CREATE FUNCTION cdp._looked_up(source text, name text, run cdp.journey_state) RETURNS text
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN CASE source
		WHEN 'entry.properties' THEN cdp._entry_property(run.entry, run.profile_id, name)
		WHEN 'trait' THEN cdp.trait(run.profile_id, name) #>> '{}'
		WHEN 'tag' THEN (SELECT substr(t, length(name) + 2) FROM cdp._key_tags_of(run.profile_id, name) t ORDER BY t COLLATE "C" LIMIT 1) END;
END
$$;
COMMENT ON FUNCTION cdp._looked_up(text, text, cdp.journey_state) IS 'the value of a placeholder that does not stand in the run itself';

CREATE FUNCTION cdp._render(params jsonb, pieces cdp._piece[], run cdp.journey_state) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__render';
COMMENT ON FUNCTION cdp._render(jsonb, cdp._piece[], cdp.journey_state) IS 'fills the placeholders of parameters; one without a value becomes its default, or empty';

CREATE FUNCTION cdp._render_params(params jsonb, run cdp.journey_state) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT cdp._render(coalesce(params, '{}'), cdp._pieces(params), run);
END;
COMMENT ON FUNCTION cdp._render_params(jsonb, cdp.journey_state) IS 'fills the placeholders of all parameters of one run';
