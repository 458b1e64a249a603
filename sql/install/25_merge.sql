/* 25_merge: two profiles become one, and two again */

-- The caller holds the locks of both and has asked the rules.
CREATE FUNCTION cdp._merge_profiles(survivor bigint, merged bigint, at timestamptz, cause text, source text, reason text,
									evidence cdp.identifier[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	members	bigint[];
	tags	text[];
	id		bigint;
BEGIN
	members := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = merged ORDER BY p.profile_id);
	UPDATE profile p SET canonical_id = survivor WHERE p.canonical_id = merged;

	-- In lock order, and what is the system's own goes before tags are moved.
	PERFORM _merge_journeys(survivor, merged, _merge_profiles.at);
	PERFORM _merge_lifecycle(survivor, merged, _merge_profiles.at);
	PERFORM _merge_timelines(survivor, merged);
	tags := _merge_tags(survivor, merged, members);

	INSERT INTO profile_merge (survivor, merged, at, cause, source, reason, evidence, members, tags, leaf_a, leaf_b)
	VALUES (survivor, merged, _merge_profiles.at, cause, source, reason, evidence, members, coalesce(tags, '{}'),
			coalesce((SELECT l.profile_id FROM identifier_link l WHERE l.identifier = evidence[1]), survivor),
			coalesce((SELECT l.profile_id FROM identifier_link l WHERE l.identifier = evidence[2]), merged))
	RETURNING merge_id INTO id;
	PERFORM _merge_consent(survivor, members);
	RETURN id;
END
$$;
COMMENT ON FUNCTION cdp._merge_profiles(bigint, bigint, timestamptz, text, text, text, cdp.identifier[])
	IS 'link one canonical profile, with all that was merged into it, to another';

CREATE FUNCTION cdp.merge(survivor bigint, merged bigint, reason text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	into_id		bigint;
	from_id		bigint;
	into_kind	text;
	from_kind	text;
	refusal		text;
BEGIN
	IF survivor IS NULL OR merged IS NULL OR merge.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'survivor, merged and at must not be null';
	ELSIF NOT isfinite(merge.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	PERFORM _lock_profiles(ARRAY[survivor, merged]);
	SELECT p.canonical_id, p.kind INTO into_id, into_kind FROM profile p WHERE p.profile_id = survivor;
	SELECT p.canonical_id, p.kind INTO from_id, from_kind FROM profile p WHERE p.profile_id = merged;
	IF into_id IS NULL OR from_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('profile %s does not exist', CASE WHEN into_id IS NULL THEN survivor ELSE merged END);
	END IF;
	IF into_id = from_id THEN
		RAISE NOTICE USING MESSAGE = format('profiles %s and %s are one already', survivor, merged);
		RETURN NULL;
	END IF;
	IF into_kind <> from_kind THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('cannot merge a profile of kind "%s" into one of kind "%s"', from_kind, into_kind),
			HINT = 'Use relate() to connect profiles of different kinds.';
	END IF;
	refusal := _refusal(ARRAY[into_id], '{}', NULL, from_id, merge.at, '{}');
	IF refusal IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('cannot merge profile %s into %s', from_id, into_id),
			DETAIL = format('A rule forbids it: %s.', refusal);
	END IF;
	RETURN _merge_profiles(into_id, from_id, merge.at, 'manual', NULL, reason, '{}');
END
$$;
COMMENT ON FUNCTION cdp.merge(bigint, bigint, text, timestamptz)
	IS 'merge the second profile into the first; returns the merge id, or NULL if they are one already';
