/* 31_trait: everything known about a profile as a value */

CREATE TABLE cdp.trait_rule (
	name			text COLLATE "C" PRIMARY KEY,
	type			text NOT NULL DEFAULT 'json',
	searchable		boolean NOT NULL DEFAULT false,
	survivorship	text NOT NULL DEFAULT 'latest',
	pii				boolean NOT NULL DEFAULT false,
	CONSTRAINT trait_rule_name_check CHECK (name <> ''),
	CONSTRAINT trait_rule_type_check CHECK (type IN ('number', 'text', 'date', 'boolean', 'json')),
	CONSTRAINT trait_rule_searchable_check CHECK (NOT searchable OR type <> 'json'),
	CONSTRAINT trait_rule_survivorship_check CHECK (survivorship IN ('latest', 'first', 'max', 'min'))
);
COMMENT ON TABLE cdp.trait_rule IS 'what is known about a trait beforehand; a trait without a row takes any value; writable';
COMMENT ON COLUMN cdp.trait_rule.type IS 'what a new value must be: number, text, date (a text "2026-01-31"), boolean, json (anything)';
COMMENT ON COLUMN cdp.trait_rule.searchable IS 'kept in bitmaps too, so that rules find it fast';
COMMENT ON COLUMN cdp.trait_rule.survivorship IS 'which of the values of merged profiles is the profile''s: the latest or first said, the greatest or smallest';
COMMENT ON COLUMN cdp.trait_rule.pii IS 'personal data: readable by those only who may see it';

CREATE TABLE cdp.trait_change (
	profile_id	bigint NOT NULL,
	name		text NOT NULL,
	value		jsonb NOT NULL,
	at			timestamptz NOT NULL,
	source		text
);
COMMENT ON TABLE cdp.trait_change IS 'every value of every trait of a leaf profile, with its time and source; null = removed';
CREATE INDEX trait_change_profile_id_idx ON cdp.trait_change (profile_id, name, at);

CREATE TABLE cdp.trait_value (
	name		text COLLATE "C" NOT NULL,
	profile_id	bigint NOT NULL,
	value		jsonb NOT NULL,
	number		double precision,
	at			timestamptz NOT NULL,
	PRIMARY KEY (name, profile_id)
);
COMMENT ON TABLE cdp.trait_value IS 'latest value of each trait of a leaf profile (the latest at wins; equal times: the greater jsonb)';
COMMENT ON COLUMN cdp.trait_value.number IS 'the value when it is a JSON number';
CREATE INDEX trait_value_profile_id_idx ON cdp.trait_value (profile_id);
COMMENT ON COLUMN cdp.trait_value.value IS 'JSON null: the trait was removed; the row stays so that older values cannot come back';

-- double precision where it fits; JSON numbers have no limits of their own.
CREATE FUNCTION cdp._number(value jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN jsonb_typeof(value) <> 'number' THEN NULL
				WHEN abs(value::numeric) > 1.797e308 THEN NULL
				WHEN abs(value::numeric) < 1e-300 THEN 0
				ELSE value::double precision END;
END;
COMMENT ON FUNCTION cdp._number(jsonb) IS 'a JSON number as double precision; NULL for anything else and for numbers beyond it';

-- types

CREATE FUNCTION cdp._fits_type(value jsonb, type text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE jsonb_typeof(value)
	WHEN 'null' THEN true
	WHEN 'number' THEN type IN ('number', 'json')
	WHEN 'boolean' THEN type IN ('boolean', 'json')
	WHEN 'string' THEN type IN ('text', 'json') OR type = 'date' AND cdp._iso_time(value #>> '{}') IS NOT NULL
	ELSE type = 'json'
END;
COMMENT ON FUNCTION cdp._fits_type(jsonb, text) IS 'can a trait of that type have this value? Null, which removes it, always';

CREATE FUNCTION cdp._misfits(traits jsonb) RETURNS TABLE (name text, type text, value jsonb)
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1
BEGIN ATOMIC
	SELECT r.name, r.type, traits -> r.name FROM cdp.trait_rule r
	WHERE r.type <> 'json' AND traits ? r.name AND NOT cdp._fits_type(traits -> r.name, r.type);
END;
COMMENT ON FUNCTION cdp._misfits(jsonb) IS 'those of some traits that are not what trait_rule says they are';

CREATE FUNCTION cdp._misfit(name text, type text, value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN format('trait "%s" must be a %s, not %s', name, type, left(value::text, 100));
COMMENT ON FUNCTION cdp._misfit(text, text, jsonb) IS 'the message for a value that does not fit';

-- setting

-- The latest "at" wins, ties go to the greater value: the same in any order
-- of arrival.  A value that was so already is not written to trait_change
-- again; only trait_value remembers when it was last said.
CREATE FUNCTION cdp._set_traits(leaf bigint, traits jsonb, at timestamptz, source text, backfill boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	misfit	record;
BEGIN
	IF jsonb_typeof(traits) <> 'object' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'traits must be a JSON object';
	ELSIF traits ? '' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a trait needs a name';
	END IF;
	FOR misfit IN SELECT f.* FROM _misfits(traits) f ORDER BY f.name LOOP
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = _misfit(misfit.name, misfit.type, misfit.value),
			HINT = 'See table trait_rule.';
	END LOOP;

	INSERT INTO trait_value AS v (name, profile_id, value, number, at)
	SELECT t.key, leaf, t.value, _number(t.value), _set_traits.at
	FROM jsonb_each(traits) t
	ORDER BY t.key COLLATE "C"
	ON CONFLICT (name, profile_id) DO UPDATE SET value = excluded.value, number = excluded.number, at = excluded.at
	WHERE (excluded.at, excluded.value) > (v.at, v.value);
	IF FOUND THEN
		INSERT INTO segment_dirty (input, members, cause) VALUES ('trait', rb_build(ARRAY[leaf]), CASE WHEN backfill THEN 'backfill' ELSE 'tag' END);
	END IF;

	-- Said again later than this, and not recorded because nothing stood
	-- between: now something does.
	INSERT INTO trait_change (profile_id, name, value, at, source)
	SELECT leaf, v.name, v.value, v.at, NULL
	FROM jsonb_each(traits) t JOIN trait_value v ON v.profile_id = leaf AND v.name = t.key COLLATE "C"
	WHERE v.at > _set_traits.at AND v.value <> t.value
	  AND NOT EXISTS (SELECT FROM trait_change c
					  WHERE c.profile_id = leaf AND c.name = v.name AND c.at > _set_traits.at);

	INSERT INTO trait_change (profile_id, name, value, at, source)
	SELECT leaf, t.key, t.value, _set_traits.at, _set_traits.source
	FROM jsonb_each(traits) t
		LEFT JOIN LATERAL (SELECT c.value FROM trait_change c
						   WHERE c.profile_id = leaf AND c.name = t.key AND c.at <= _set_traits.at
						   ORDER BY c.at DESC, c.value DESC LIMIT 1) before ON true
	WHERE before.value IS DISTINCT FROM t.value
	  AND NOT EXISTS (SELECT FROM trait_change c
					  WHERE c.profile_id = leaf AND c.name = t.key AND c.at = _set_traits.at AND c.value = t.value);

	-- Runs that wait for a date.
	INSERT INTO journey_trigger (source, name, profile_id, at)
	SELECT DISTINCT 'trait', l.name, leaf, _set_traits.at
	FROM journey_listener l WHERE l.source = 'trait' AND traits ? l.name;
END
$$;
COMMENT ON FUNCTION cdp._set_traits(bigint, jsonb, timestamptz, text, boolean) IS 'give a leaf profile these traits at this time; backfill: what follows starts no journey';

CREATE FUNCTION cdp._take_traits(leaf bigint, traits jsonb, at timestamptz, source text, message jsonb, received_at timestamptz, backfill boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	misfit	record;
BEGIN
	IF jsonb_typeof(traits) = 'object' THEN
		FOR misfit IN SELECT f.* FROM _misfits(traits) f ORDER BY f.name LOOP
			traits := traits - misfit.name;
			INSERT INTO rejected (payload, reason, sqlstate, at)
			VALUES (jsonb_set(message, '{traits}', jsonb_build_object(misfit.name, misfit.value)),
					_misfit(misfit.name, misfit.type, misfit.value), '22023', received_at);
		END LOOP;
	END IF;
	PERFORM _set_traits(leaf, traits, at, source, backfill);
END
$$;
COMMENT ON FUNCTION cdp._take_traits(bigint, jsonb, timestamptz, text, jsonb, timestamptz, boolean)
	IS 'the traits of a message: those that do not fit are put aside in table rejected, in a message like this one with nothing else';

CREATE FUNCTION cdp.set_trait(profile bigint, name text, value jsonb, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	id		bigint;
	traits	jsonb;
	attempt	int := 1;
	state	text;
	what	text;
BEGIN
	IF profile IS NULL OR set_trait.name IS NULL OR set_trait.value IS NULL OR set_trait.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'profile, name, value and at must not be null',
			HINT = 'The JSON value null removes a trait.';
	ELSIF NOT isfinite(set_trait.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	id := canonical_id(profile);
	IF id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s does not exist', profile);
	END IF;
	traits := jsonb_build_object(set_trait.name, set_trait.value);
	IF NOT EXISTS (SELECT FROM trait_index i WHERE i.trait = set_trait.name) THEN
		PERFORM _set_traits(id, traits, set_trait.at, NULL);
		RETURN;
	END IF;
	-- Its row and that of trait_pending, which a tick may hold and then set the trait, too: see 21_identity_lock.
	LOOP
		BEGIN
			PERFORM _hurry(attempt > 20);
			PERFORM _set_traits(id, traits, set_trait.at, NULL);
			RETURN;
		EXCEPTION WHEN deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT;
		END;
		attempt := _let_go(attempt, state, what, NULL);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp.set_trait(bigint, text, jsonb, timestamptz) IS 'give a profile a trait; the JSON value null removes it';

CREATE FUNCTION cdp.trait(profile bigint, name text) RETURNS jsonb
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT NULLIF(v.value, 'null')
	FROM cdp.profile me
		JOIN cdp.profile leaf ON leaf.canonical_id = me.canonical_id
		JOIN cdp.trait_value v ON v.profile_id = leaf.profile_id
		LEFT JOIN cdp.trait_rule r ON r.name = v.name AND r.survivorship <> 'latest'
	WHERE me.profile_id = trait.profile AND v.name = trait.name
	ORDER BY r.name IS NOT NULL AND v.value = 'null',
		CASE r.survivorship WHEN 'first' THEN v.at END,
		CASE r.survivorship WHEN 'min' THEN v.value END,
		CASE r.survivorship WHEN 'max' THEN v.value END DESC,
		v.at DESC, v.value DESC
	LIMIT 1;
END;
COMMENT ON FUNCTION cdp.trait(bigint, text) IS 'the present value of a trait, over all that was merged into the profile; NULL if it has none';
