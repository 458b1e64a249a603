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
LANGUAGE sql IMMUTABLE PARALLEL SAFE
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

CREATE FUNCTION cdp._misfits(traits jsonb[]) RETURNS TABLE (nr bigint, name text, type text, value jsonb)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
	SELECT t.nr, r.name, r.type, t.traits -> r.name
	FROM cdp.trait_rule r JOIN unnest(_misfits.traits) WITH ORDINALITY AS t (traits, nr) ON t.traits ? r.name
	WHERE r.type <> 'json' AND NOT cdp._fits_type(t.traits -> r.name, r.type);
END;
COMMENT ON FUNCTION cdp._misfits(jsonb[]) IS 'those of some traits that are not what trait_rule says they are; nr: in which of them';

CREATE FUNCTION cdp._misfit(name text, type text, value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN format('trait "%s" must be a %s, not %s', name, type, left(value::text, 100));
COMMENT ON FUNCTION cdp._misfit(text, text, jsonb) IS 'the message for a value that does not fit';

-- setting

-- The latest "at" wins, ties go to the greater value: the same in any order
-- of arrival.  A value that was so already is not written to trait_change
-- again; only trait_value remembers when it was last said, until something comes
-- to stand between.  Rows are locked by profile, then by name.
-- Planned once: to plan takes longer than to set a few.  Each step is to be a walk down an index, of
-- tables that are empty when the first call is planned, too: by reading it all it would be quadratic.
-- (What is then left to scan looks dear: hence jit = off.)
CREATE FUNCTION cdp._set_traits(leaves bigint[], traits jsonb[], ats timestamptz[], sources text[], backfill boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
	misfit	record;
	said	record;			-- of each trait in the order of time
BEGIN
	IF EXISTS (SELECT FROM unnest(traits) t WHERE jsonb_typeof(t) <> 'object') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'traits must be a JSON object';
	ELSIF EXISTS (SELECT FROM unnest(traits) t WHERE t ? '') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a trait needs a name';
	END IF;
	FOR misfit IN SELECT f.* FROM _misfits(traits) f ORDER BY f.nr, f.name LIMIT 1 LOOP
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = _misfit(misfit.name, misfit.type, misfit.value),
			HINT = 'See table trait_rule.';
	END LOOP;

	SELECT array_agg(s.leaf) AS leaf, array_agg(s.name) AS name, array_agg(s.value) AS value, array_agg(s.at) AS at, array_agg(s.source) AS source,
		   array_agg(v.value) AS old_value, array_agg(v.at) AS old_at
	INTO said
	FROM (SELECT DISTINCT ON (m.leaf, t.key COLLATE "C", m.at, t.value) m.leaf, t.key COLLATE "C" AS name, t.value, m.at, m.source
		  FROM unnest(leaves, traits, ats, sources) WITH ORDINALITY AS m (leaf, traits, at, source, nr) CROSS JOIN LATERAL jsonb_each(m.traits) t
		  ORDER BY m.leaf, t.key COLLATE "C", m.at, t.value, m.nr OFFSET 0) s
		LEFT JOIN LATERAL (SELECT v.value, v.at FROM trait_value v WHERE v.name = s.name AND v.profile_id = s.leaf FOR UPDATE) v ON true;
	IF said.leaf IS NULL THEN
		RETURN;
	END IF;

	WITH changed AS (
		INSERT INTO trait_value AS v (name, profile_id, value, number, at)
		SELECT DISTINCT ON (s.leaf, s.name COLLATE "C") s.name, s.leaf, s.value, _number(s.value), s.at
		FROM unnest(said.leaf, said.name, said.value, said.at) s (leaf, name, value, at)
		ORDER BY s.leaf, s.name COLLATE "C", s.at DESC, s.value DESC
		ON CONFLICT (name, profile_id) DO UPDATE SET value = excluded.value, number = excluded.number, at = excluded.at
		WHERE (excluded.at, excluded.value) > (v.at, v.value)
		RETURNING v.profile_id
	)
	INSERT INTO segment_dirty (input, members, cause)
	SELECT 'trait', rb_build_agg(c.profile_id), CASE WHEN backfill THEN 'backfill' ELSE 'tag' END FROM changed c HAVING count(*) > 0;

	INSERT INTO trait_change (profile_id, name, value, at, source)
	SELECT s.leaf, s.name, s.value, s.at, s.source
	FROM (SELECT w.leaf, w.name, w.value, w.at, max(w.source) AS source, lag(w.value) OVER same AS before, lag(w.at) OVER same AS before_at
		  FROM (SELECT * FROM unnest(said.leaf, said.name, said.value, said.at, said.source)
				UNION ALL SELECT o.leaf, o.name, o.value, o.at, NULL
				FROM unnest(said.leaf, said.name, said.old_value, said.old_at, said.at) o (leaf, name, value, at, said_at)
				WHERE o.at > o.said_at) w (leaf, name, value, at, source)
		  GROUP BY w.leaf, w.name, w.value, w.at
		  WINDOW same AS (PARTITION BY w.leaf, w.name ORDER BY w.at, w.value)) s
		LEFT JOIN LATERAL (SELECT c.value, c.at FROM trait_change c
						   WHERE c.profile_id = s.leaf AND c.name = s.name AND c.at <= s.at
						   ORDER BY c.at DESC, c.value DESC LIMIT 1) c ON true
	WHERE CASE WHEN s.before_at > c.at OR c.at IS NULL THEN s.before ELSE c.value END IS DISTINCT FROM s.value
	  AND (SELECT true FROM trait_change c WHERE c.profile_id = s.leaf AND c.name = s.name AND c.at = s.at AND c.value = s.value LIMIT 1) IS NULL;

	-- Runs that wait for a date.
	INSERT INTO journey_trigger (source, name, profile_id, at)
	SELECT DISTINCT 'trait', l.name, s.leaf, s.at
	FROM journey_listener l JOIN unnest(said.leaf, said.name, said.at) s (leaf, name, at) ON s.name = l.name
	WHERE l.source = 'trait';
END
$$;
COMMENT ON FUNCTION cdp._set_traits(bigint[], jsonb[], timestamptz[], text[], boolean) IS 'give leaf profiles these traits at these times; backfill: what follows starts no journey';

CREATE FUNCTION cdp._set_traits(leaf bigint, traits jsonb, at timestamptz, source text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT cdp._set_traits(ARRAY[leaf], ARRAY[traits], ARRAY[at], ARRAY[source], false);
END;
COMMENT ON FUNCTION cdp._set_traits(bigint, jsonb, timestamptz, text) IS 'give a leaf profile these traits at this time';

CREATE FUNCTION cdp._take_traits(leaves bigint[], traits jsonb[], ats timestamptz[], sources text[], messages jsonb[], received timestamptz[], backfill boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO rejected (payload, reason, sqlstate, at)
	SELECT jsonb_set(m.message, '{traits}', jsonb_build_object(f.name, f.value)), _misfit(f.name, f.type, f.value), '22023', m.received_at
	FROM _misfits(traits) f JOIN unnest(messages, received) WITH ORDINALITY AS m (message, received_at, nr) USING (nr)
	ORDER BY f.nr, f.name;
	IF FOUND THEN
		traits := ARRAY(SELECT m.traits - ARRAY(SELECT f.name FROM _misfits(ARRAY[m.traits]) f)
						FROM unnest(traits) WITH ORDINALITY AS m (traits, nr) ORDER BY m.nr);
	END IF;
	PERFORM _set_traits(leaves, traits, ats, sources, backfill);
END
$$;
COMMENT ON FUNCTION cdp._take_traits(bigint[], jsonb[], timestamptz[], text[], jsonb[], timestamptz[], boolean)
	IS 'the traits of messages: those that do not fit are put aside in table rejected, each in a message like its own with nothing else';

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
