/* 37_consent_many: consent of many at once
 *
 * What _message_consented says, for a set: those whose decisions agree are
 * answered in one query, the few others are asked one by one.
 */

CREATE FUNCTION cdp._not_consented(profiles bigint[], purpose text, channel text, declared boolean, instants timestamptz[]) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	free	boolean := _not_consented.declared AND NOT cdp._needs_consent(_not_consented.purpose);
	purposes text[] := ARRAY[_not_consented.purpose] || CASE WHEN NOT _not_consented.declared THEN '{*}'::text[] END;
	channels text[] := ARRAY[_not_consented.channel] || CASE WHEN NOT _not_consented.declared THEN '{*}'::text[] END;
BEGIN
	RETURN ARRAY(
		SELECT m.id
		FROM unnest(profiles, instants) WITH ORDINALITY AS m(id, at, n)
		LEFT JOIN LATERAL (
			SELECT c.profile_id FROM cdp.profile p JOIN cdp.profile c ON c.profile_id = p.canonical_id
			WHERE p.profile_id = m.id AND NOT c.suppressed AND c.erased_at IS NULL LIMIT 1) o ON true
		LEFT JOIN LATERAL (
			SELECT bool_and(l.granted) AS every_, bool_or(l.granted) AS some_
			FROM cdp.profile p
			CROSS JOIN LATERAL (SELECT l.granted, l.channel, l.at FROM cdp.consent_log l
								WHERE l.profile_id = p.profile_id AND l.purpose = ANY (purposes) OFFSET 0) l
			WHERE p.canonical_id = o.profile_id AND l.channel = ANY (channels) AND l.at <= m.at AND NOT free) d ON true
		WHERE CASE
			WHEN o.profile_id IS NULL THEN true
			WHEN free THEN false
			WHEN d.every_ IS NULL THEN _not_consented.declared
			WHEN d.every_ = d.some_ THEN NOT d.every_
			ELSE NOT cdp._message_consented(m.id, _not_consented.purpose, _not_consented.channel, _not_consented.declared, m.at) END
		ORDER BY m.n);
END
$$;
COMMENT ON FUNCTION cdp._not_consented(bigint[], text, text, boolean, timestamptz[]) IS 'those to whom such a message must not go, each asked at an instant of its own';
