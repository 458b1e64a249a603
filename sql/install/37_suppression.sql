/* 37_suppression: who is in no audience, whatever the rule
 *
 * One by one: suppress() and unsuppress() are decisions like those of consent,
 * kept in consent_log with purpose and channel "*" (a refusal is to be
 * suppressed), so that they come through merges the same way: one refusal is
 * enough until somebody decides for the merged profile.  profile.suppressed of
 * the canonical profile follows from them; the universe leaves it out.
 *
 * By rule: table suppression.  Its rules are put to every rule that is asked,
 * as "& !(…)", so set and point agree and no refresh is needed.
 */

CREATE TABLE cdp.suppression (
	name		text PRIMARY KEY,
	criteria	cdp.criteria NOT NULL,
	kind		text,
	active		boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE cdp.suppression IS 'rules that keep profiles out of every audience; writable';
COMMENT ON COLUMN cdp.suppression.kind IS 'the kind of profiles it is for; NULL = all';

CREATE FUNCTION cdp._check_suppression() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	inner_one text := (SELECT t FROM unnest(cdp._criteria_tags(NEW.criteria)) t WHERE starts_with(t, 'segment:') LIMIT 1);
BEGIN
	IF inner_one IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('a suppression rule must not name "%s"', inner_one),
			DETAIL = 'Segments leave out who is suppressed, so it would depend on itself.';
	END IF;
	PERFORM cdp._audience_among(NEW.criteria, '{}', '-infinity', 'person', true);	-- can it be evaluated?
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION cdp._check_suppression() IS 'trigger: refuses rules that cannot serve as suppression';
CREATE TRIGGER check_suppression BEFORE INSERT OR UPDATE ON cdp.suppression
	FOR EACH ROW EXECUTE FUNCTION cdp._check_suppression();
CREATE TRIGGER suppression_segments AFTER INSERT OR UPDATE OR DELETE ON cdp.suppression
	FOR EACH ROW EXECUTE FUNCTION cdp._segments_touched('', '');

CREATE FUNCTION cdp._suppression(kind text) RETURNS cdp.criteria
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN (SELECT string_agg('(' || s.criteria::text || ')', ' | ' ORDER BY s.name)::cdp.criteria FROM cdp.suppression s
			WHERE s.active AND (s.kind IS NULL OR s.kind = _suppression.kind));
END
$$;
COMMENT ON FUNCTION cdp._suppression(text) IS 'who of a kind is suppressed by rule; NULL = no rules';

-- Journeys ask about many, each at an instant of its own.  Rules of tags and
-- values are the same at any instant: asked once for all.
CREATE FUNCTION cdp._ruled_out(profiles bigint[], instants timestamptz[]) RETURNS int[]
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
DECLARE
	timeless boolean;
BEGIN
	SELECT bool_and(cdp._criteria_events(s.criteria) = '{}' AND cdp._criteria_dated_traits(s.criteria) = '{}'
					AND NOT EXISTS (SELECT FROM unnest(cdp._criteria_tags(s.criteria)) t WHERE cdp._keeps_history(t)))
	INTO timeless FROM cdp.suppression s WHERE s.active;
	RETURN CASE
		WHEN timeless IS NULL THEN '{}'
		WHEN timeless THEN ARRAY(
			SELECT m.n::int
			FROM (SELECT p.kind, max(m.at) AS at, cdp.rb_build_agg(m.id) AS ids
				  FROM unnest(profiles, instants) m(id, at)
				  CROSS JOIN LATERAL (SELECT p.kind FROM cdp.profile p WHERE p.profile_id = m.id OFFSET 0) p GROUP BY p.kind) k
			CROSS JOIN LATERAL (SELECT cdp._excluded(k.kind, k.at, k.ids) AS ids OFFSET 0) e
			JOIN unnest(profiles) WITH ORDINALITY m(id, n) ON cdp.rb_contains(e.ids, m.id) ORDER BY 1)
		ELSE ARRAY(
			WITH m AS MATERIALIZED (
				SELECT m.*, p.kind FROM unnest(profiles, instants) WITH ORDINALITY m(id, at, n)
				CROSS JOIN LATERAL (SELECT p.kind FROM cdp.profile p WHERE p.profile_id = m.id OFFSET 0) p
			), k AS MATERIALIZED (
				SELECT m.kind, cdp._suppression(m.kind) AS rules FROM m GROUP BY m.kind
			)
			SELECT m.n::int FROM k JOIN m USING (kind) WHERE cdp.matches_with_suppressed(m.id, k.rules, m.at) ORDER BY 1) END;
END
$$;
COMMENT ON FUNCTION cdp._ruled_out(bigint[], timestamptz[]) IS 'which of these canonical profiles (by place) rules of table suppression keep out, each at an instant of its own';

-- single profiles

CREATE FUNCTION cdp._derive_suppressed(id bigint, otherwise boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	is_suppressed boolean := coalesce((SELECT NOT d.granted FROM cdp._consent_in_force(id, 'infinity') d WHERE d.purpose = '*' AND d.channel = '*'), otherwise);
BEGIN
	UPDATE cdp.profile p SET suppressed = is_suppressed WHERE p.profile_id = id AND p.suppressed <> is_suppressed;
END
$$;
COMMENT ON FUNCTION cdp._derive_suppressed(bigint, boolean) IS 'makes profile.suppressed what its decisions say; otherwise: if there are none (NULL = as it is)';

CREATE FUNCTION cdp._set_suppressed(profile bigint, reason text, at timestamptz, granted boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	id bigint;
BEGIN
	PERFORM cdp._check_tag_time(NULL, _set_suppressed.at);
	id := cdp._lock_canonical(profile, true);
	INSERT INTO cdp.consent_log (profile_id, purpose, channel, granted, at, source)
	VALUES (id, '*', '*', _set_suppressed.granted, _set_suppressed.at, _set_suppressed.reason)
	ON CONFLICT DO NOTHING;
	PERFORM cdp._derive_suppressed(id, NULL);
END
$$;
COMMENT ON FUNCTION cdp._set_suppressed(bigint, text, timestamptz, boolean) IS 'suppress and unsuppress';

CREATE FUNCTION cdp.suppress(profile bigint, reason text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT cdp._set_suppressed(profile, reason, at, false);
END;
COMMENT ON FUNCTION cdp.suppress(bigint, text, timestamptz) IS 'from now on the profile is in no audience';

CREATE FUNCTION cdp.unsuppress(profile bigint, reason text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT cdp._set_suppressed(profile, reason, at, true);
END;
COMMENT ON FUNCTION cdp.unsuppress(bigint, text, timestamptz) IS 'the profile may be in audiences again';

-- explaining

CREATE FUNCTION cdp._suppressed_by(profile bigint, at timestamptz, outside text) RETURNS TABLE (term text, value text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF outside = 'suppressed' THEN
		RETURN QUERY SELECT 'not suppressed', NULL::text;
	ELSIF outside = 'excluded' THEN
		RETURN QUERY
		SELECT format('not suppressed by "%s"', s.name), s.criteria::text
		FROM cdp.suppression s JOIN cdp.profile p ON p.profile_id = profile
		WHERE s.active AND (s.kind IS NULL OR s.kind = p.kind) AND cdp.matches_with_suppressed(profile, s.criteria, at)
		ORDER BY s.name COLLATE "C";
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._suppressed_by(bigint, timestamptz, text) IS 'what of suppression keeps a profile out that is outside of all audiences for this reason';

CREATE FUNCTION cdp.explain_match(profile bigint, criteria cdp.criteria, at timestamptz DEFAULT now())
	RETURNS TABLE (term text, value text, holds boolean, depth int)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH o AS MATERIALIZED (SELECT cdp._outside(profile, at) AS why)
	SELECT e.term, e.value, e.holds, e.depth FROM o, cdp._explain_match(profile, criteria, at, o.why) e
	UNION ALL
	SELECT s.term, s.value, false, 1 FROM o, cdp._suppressed_by(profile, at, o.why) s;
END;
COMMENT ON FUNCTION cdp.explain_match(bigint, cdp.criteria, timestamptz) IS 'why a profile is in an audience, or not: the rule and then each of its terms, with what was measured';
