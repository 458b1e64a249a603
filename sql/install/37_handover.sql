/* 37_handover: identifiers of an audience, for a channel or an advertising platform */

CREATE FUNCTION cdp._reachable(audience cdp.bitmap, namespace text, purpose text, channel text, at timestamptz) RETURNS cdp.bitmap
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	ids cdp.bitmap;
	granted cdp.bitmap := '{}';
	refused cdp.bitmap := '{}';
	one text;
	sets record;
BEGIN
	IF audience IS NULL OR namespace IS NULL OR purpose IS NULL OR at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'audience, namespace, purpose and at must not be null';
	END IF;
	ids := cdp._canonical_set(audience);
	SELECT coalesce(cdp.rb_or_agg(cdp._audience_among('all', ids, at, substr(k, 7))), '{}') INTO ids
	FROM cdp._tags_of_key(chr(1) || 'kind') k;
	IF NOT cdp._needs_consent(purpose) THEN
		RETURN ids;
	END IF;
	FOR one IN
		SELECT _reachable.channel WHERE _reachable.channel IS NOT NULL
		UNION
		SELECT c.name FROM cdp.channel_effective c WHERE _reachable.channel IS NULL AND c.namespace = _reachable.namespace
		UNION
		SELECT _reachable.namespace WHERE _reachable.channel IS NULL
			AND NOT EXISTS (SELECT FROM cdp.channel_effective c WHERE c.namespace = _reachable.namespace)
	LOOP
		sets := cdp._consent_sets(ids, purpose, one, at);
		granted := cdp.rb_or(granted, sets.granted);
		refused := cdp.rb_or(refused, sets.refused);
	END LOOP;
	RETURN cdp.rb_andnot(granted, refused);
END
$$;
COMMENT ON FUNCTION cdp._reachable(cdp.bitmap, text, text, text, timestamptz) IS 'who of these profiles may be handed over: not suppressed, and consented on a channel of the namespace without refusing another';

CREATE FUNCTION cdp._identifiers_of(ids cdp.bitmap, namespace text) RETURNS TABLE (profile_id bigint, value text)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT DISTINCT p.canonical_id, cdp.value(l.identifier) COLLATE "C"
	FROM cdp.identifier_link l JOIN cdp.profile p ON p.profile_id = l.profile_id
	WHERE cdp.namespace(l.identifier) = _identifiers_of.namespace AND ids OPERATOR(cdp.@>) p.canonical_id;
END;
COMMENT ON FUNCTION cdp._identifiers_of(cdp.bitmap, text) IS 'identifiers of canonical profiles, of all their leaves';

CREATE FUNCTION cdp._hashed_identifiers(audience cdp.bitmap, namespace text, purpose text, channel text, at timestamptz)
RETURNS TABLE (profile_id bigint, value text)
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN QUERY
	SELECT h.profile_id, h.value
	FROM (SELECT i.profile_id, encode(sha256(convert_to(i.value, 'UTF8')), 'hex') COLLATE "C"
		  FROM cdp._identifiers_of(cdp._reachable(audience, namespace, purpose, channel, at), namespace) i) h(profile_id, value)
	ORDER BY h.profile_id, h.value;
END
$$;
COMMENT ON FUNCTION cdp._hashed_identifiers(cdp.bitmap, text, text, text, timestamptz) IS 'audience_identifiers for those who must not see identifiers: runs with the owner''s rights, and only hashes leave it';

CREATE FUNCTION cdp.audience_identifiers(audience cdp.bitmap, namespace text, purpose text, hash text DEFAULT NULL,
										 channel text DEFAULT NULL, at timestamptz DEFAULT now())
RETURNS TABLE (profile_id bigint, value text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF hash IS NULL THEN
		IF NOT has_function_privilege('cdp._identifiers_of(cdp.bitmap, text)', 'EXECUTE') THEN
			RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'permission denied for identifiers that are not hashed',
				HINT = 'Use hash => ''sha256'', or ask somebody with level admin.';
		END IF;
		RETURN QUERY
		SELECT i.profile_id, i.value
		FROM cdp._identifiers_of(cdp._reachable(audience, namespace, purpose, channel, at), namespace) i
		ORDER BY 1, 2;
	ELSIF hash = 'sha256' THEN
		RETURN QUERY SELECT h.profile_id, h.value FROM cdp._hashed_identifiers(audience, namespace, purpose, channel, at) h;
	ELSE
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown hash: "%s"', hash),
			HINT = 'Use "sha256".';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp.audience_identifiers(cdp.bitmap, text, text, text, text, timestamptz) IS 'the identifiers of those of an audience who may be reached for this purpose, hashed or, for admins, as they are';
