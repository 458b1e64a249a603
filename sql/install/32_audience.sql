/* 32_audience: who satisfies a rule
 *
 * Both ways of asking read with the snapshot of the statement they stand in,
 * so they agree with each other and with everything else in that statement.
 */

CREATE FUNCTION cdp.audience(criteria cdp.criteria, at timestamptz DEFAULT now(), kind text DEFAULT 'person') RETURNS cdp.bitmap
LANGUAGE c STABLE STRICT PARALLEL SAFE SET jit = off AS 'MODULE_PATHNAME', 'mcdp_audience_set';
COMMENT ON FUNCTION cdp.audience(cdp.criteria, timestamptz, text) IS 'the canonical profiles of a kind that satisfy a rule';

CREATE FUNCTION cdp.audience_count(criteria cdp.criteria, at timestamptz DEFAULT now(), kind text DEFAULT 'person') RETURNS bigint
LANGUAGE c STABLE STRICT PARALLEL SAFE SET jit = off AS 'MODULE_PATHNAME', 'mcdp_audience_count';
COMMENT ON FUNCTION cdp.audience_count(cdp.criteria, timestamptz, text) IS 'how many canonical profiles of a kind satisfy a rule';

CREATE FUNCTION cdp._matches_support(internal) RETURNS internal
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_matches_support';
COMMENT ON FUNCTION cdp._matches_support(internal) IS 'planner support: index conditions, selectivity and cost of matches';

-- Volatile, so that the planner leaves it alone.
CREATE FUNCTION cdp._matching_ids(criteria cdp.criteria, at timestamptz) RETURNS bigint[]
LANGUAGE c VOLATILE STRICT PARALLEL SAFE SUPPORT cdp._matches_support SET jit = off AS 'MODULE_PATHNAME', 'mcdp__matching_ids';
COMMENT ON FUNCTION cdp._matching_ids(cdp.criteria, timestamptz) IS 'whom matches holds for, for index conditions';

CREATE FUNCTION cdp.matches(profile bigint, criteria cdp.criteria, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000 SUPPORT cdp._matches_support AS 'MODULE_PATHNAME', 'mcdp_matches';
COMMENT ON FUNCTION cdp.matches(bigint, cdp.criteria, timestamptz) IS 'does a profile satisfy a rule? False for whoever is in no audience';

CREATE FUNCTION cdp._matches(profile bigint, rule cdp.criteria, at timestamptz, label text) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE COST 5000 AS 'MODULE_PATHNAME', 'mcdp__matches';
COMMENT ON FUNCTION cdp._matches(bigint, cdp.criteria, timestamptz, text) IS 'matches, with [$] bound to a label';

-- whoever asks for them by name

CREATE FUNCTION cdp.audience_with_suppressed(criteria cdp.criteria, at timestamptz DEFAULT now(), kind text DEFAULT 'person') RETURNS cdp.bitmap
LANGUAGE c STABLE STRICT PARALLEL SAFE SET jit = off AS 'MODULE_PATHNAME', 'mcdp_audience_with_suppressed';
COMMENT ON FUNCTION cdp.audience_with_suppressed(cdp.criteria, timestamptz, text) IS 'audience, with those whom rules of table suppression keep out';

CREATE FUNCTION cdp.matches_with_suppressed(profile bigint, criteria cdp.criteria, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000 AS 'MODULE_PATHNAME', 'mcdp_matches_with_suppressed';
COMMENT ON FUNCTION cdp.matches_with_suppressed(bigint, cdp.criteria, timestamptz) IS 'matches, for those whom rules of table suppression keep out too';

CREATE FUNCTION cdp._audience_among(criteria cdp.criteria, among cdp.bitmap, at timestamptz, kind text, include_suppressed boolean DEFAULT false) RETURNS cdp.bitmap
LANGUAGE c STABLE PARALLEL SAFE SET jit = off AS 'MODULE_PATHNAME', 'mcdp__audience_among';
COMMENT ON FUNCTION cdp._audience_among(cdp.criteria, cdp.bitmap, timestamptz, text, boolean) IS 'who of these profiles (NULL = all) is in the audience; costs follow their number';

CREATE FUNCTION cdp._excluded(kind text, at timestamptz DEFAULT now(), among cdp.bitmap DEFAULT NULL) RETURNS cdp.bitmap
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	rules cdp.criteria := cdp._suppression(kind);
BEGIN
	RETURN CASE WHEN rules IS NOT NULL THEN cdp._audience_among(rules, among, at, kind, true) END;
END
$$;
COMMENT ON FUNCTION cdp._excluded(text, timestamptz, cdp.bitmap) IS 'whom of these profiles (NULL = all) rules of table suppression keep out; NULL when there are none';

CREATE FUNCTION cdp._overlap(tags text[], at timestamptz, kind text, without cdp.bitmap, OUT a int, OUT b int, OUT in_both bigint) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__overlap';
COMMENT ON FUNCTION cdp._overlap(text[], timestamptz, text, cdp.bitmap) IS 'how many of the universe, and not of "without", have both tags, for each pair of places in the array, a <= b';

-- For whoever keeps answers: after an event, tag or trait of the profile ask
-- again; if there is none, ask again at this instant.
CREATE FUNCTION cdp._criteria_due(profile bigint, rule cdp.criteria, at timestamptz, label text DEFAULT NULL) RETURNS timestamptz
LANGUAGE c STABLE PARALLEL SAFE COST 5000 AS 'MODULE_PATHNAME', 'mcdp__criteria_due';
COMMENT ON FUNCTION cdp._criteria_due(bigint, cdp.criteria, timestamptz, text) IS 'the first instant after at at which the rule may answer differently about a canonical profile if nothing happens (never too late, maybe too early); NULL = never';

-- histories

CREATE FUNCTION cdp._is_candidate(candidates cdp.bitmap, profile bigint, history cdp.timeline) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'mcdp__is_candidate';
COMMENT ON FUNCTION cdp._is_candidate(cdp.bitmap, bigint, cdp.timeline) IS 'a step of audience(): is the profile among them? For a scan of all histories, most of which are not wanted';

CREATE FUNCTION cdp._audience_probe(rule cdp.criteria, at timestamptz, sets cdp.bitmap[], lookups jsonb, profile bigint, history cdp.timeline) RETURNS bigint
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'mcdp__audience_probe';
COMMENT ON FUNCTION cdp._audience_probe(cdp.criteria, timestamptz, cdp.bitmap[], jsonb, bigint, cdp.timeline) IS 'a step of audience(): 4 * profile + 0 no, 1 yes, 2 depends on properties; NULL when the profile is not in sets[1]';

CREATE FUNCTION cdp._may_satisfy(rule cdp.criteria, at timestamptz, properties jsonb) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'mcdp__may_satisfy';
COMMENT ON FUNCTION cdp._may_satisfy(cdp.criteria, timestamptz, jsonb) IS 'can an event with these properties, or an item of it, satisfy conditions of the rule, whatever its name?';

-- Events that give timeline entries with these names.
CREATE FUNCTION cdp._raw_events(names text[]) RETURNS text[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT array_agg(n)
	FROM (SELECT unnest(names) AS n
		  UNION
		  SELECT r.event FROM cdp.event_role r
		  WHERE r.as_event = ANY (names) OR r.items_key IS NOT NULL AND 'item' = ANY (names)) x;
END;
COMMENT ON FUNCTION cdp._raw_events(text[]) IS 'the names of events that may become timeline entries with one of these names';

-- Work is by index and proportional to the events of these profiles, whatever
-- the statistics say.
CREATE FUNCTION cdp._event_rows(profiles bigint[], names text[], since timestamptz, until timestamptz, rule text)
	RETURNS TABLE (profile_id bigint, at timestamptz, event text, label text, value double precision, properties jsonb, event_id bigint)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
	asked cdp.criteria := rule;
	raw text[] := cdp._raw_events(names);
BEGIN
	RETURN QUERY
	SELECT l.canonical_id, n.at, n.event, n.label, n.value, n.entry_properties, e.event_id
	FROM cdp.profile l
	CROSS JOIN LATERAL (
		SELECT o.event_id, o.at, o.event, o.source, o.properties FROM cdp.event o
		WHERE o.profile_id = l.profile_id AND o.event = ANY (raw) AND o.at >= since AND o.at <= until
			AND cdp._may_satisfy(asked, until, o.properties)
		UNION ALL
		SELECT o.event_id, o.at, o.event, o.source, o.properties FROM cdp.event o
		WHERE o.participants @> ARRAY[l.profile_id] AND o.participants <> '{}' AND o.profile_id <> l.profile_id
			AND o.event = ANY (raw) AND o.at >= since AND o.at <= until AND cdp._may_satisfy(asked, until, o.properties)
	) e
	CROSS JOIN LATERAL cdp._event_entries(e.at, e.event, e.source, e.properties) n
	WHERE l.canonical_id = ANY (profiles) AND n.event = ANY (names)
	ORDER BY l.canonical_id, n.at, n.event COLLATE "C", n.label COLLATE "C" NULLS FIRST, n.value NULLS FIRST;
END
$$;
COMMENT ON FUNCTION cdp._event_rows(bigint[], text[], timestamptz, timestamptz, text) IS 'the timeline entries with these names that stored events in [since, until] gave these canonical profiles, with their properties, in the order of timelines; those that satisfy no condition of the rule at until may be missing';

-- All of them at once: a scan of the months in question.
CREATE FUNCTION cdp._all_event_rows(names text[], since timestamptz, until timestamptz, rule text)
	RETURNS TABLE (profile_id bigint, at timestamptz, event text, label text, value double precision, properties jsonb)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	asked cdp.criteria := rule;
	raw text[] := cdp._raw_events(names);
BEGIN
	RETURN QUERY
	SELECT l.canonical_id, n.at, n.event, n.label, n.value, n.entry_properties
	FROM (
		SELECT o.profile_id AS leaf, o.at, o.event, o.source, o.properties FROM cdp.event o
		WHERE o.event = ANY (raw) AND o.at >= since AND o.at <= until AND cdp._may_satisfy(asked, until, o.properties)
		UNION ALL
		SELECT p.leaf, o.at, o.event, o.source, o.properties
		FROM cdp.event o CROSS JOIN LATERAL (SELECT DISTINCT unnest(o.participants)) p(leaf)
		WHERE o.participants <> '{}' AND p.leaf <> o.profile_id
			AND o.event = ANY (raw) AND o.at >= since AND o.at <= until AND cdp._may_satisfy(asked, until, o.properties)
	) e
	JOIN cdp.profile l ON l.profile_id = e.leaf
	CROSS JOIN LATERAL cdp._event_entries(e.at, e.event, e.source, e.properties) n
	WHERE n.event = ANY (names)
	ORDER BY l.canonical_id, n.at, n.event COLLATE "C", n.label COLLATE "C" NULLS FIRST, n.value NULLS FIRST;
END
$$;
COMMENT ON FUNCTION cdp._all_event_rows(text[], timestamptz, timestamptz, text) IS '_event_rows of all profiles';

-- explaining

CREATE FUNCTION cdp.audience_explain(criteria cdp.criteria, at timestamptz DEFAULT now(), kind text DEFAULT 'person') RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_audience_explain';
COMMENT ON FUNCTION cdp.audience_explain(cdp.criteria, timestamptz, text) IS 'how an audience is going to be found: the terms in order, with estimates';

CREATE FUNCTION cdp._outside(profile bigint, at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN cdp.matches(profile, 'all', at) THEN NULL
		ELSE coalesce((SELECT CASE WHEN p.canonical_id <> p.profile_id THEN 'merged into ' || p.canonical_id
								   WHEN p.erased_at IS NOT NULL THEN 'erased'
								   WHEN p.suppressed THEN 'suppressed'
								   WHEN NOT EXISTS (SELECT FROM cdp.profile l WHERE l.canonical_id = p.profile_id AND l.first_at <= at) THEN 'first seen later'
								   ELSE 'excluded' END
					   FROM cdp.profile p WHERE p.profile_id = profile), 'no such profile') END;
END;
COMMENT ON FUNCTION cdp._outside(bigint, timestamptz) IS 'why a profile is in no audience; NULL when it may be in one';

CREATE FUNCTION cdp._explain_match(profile bigint, criteria cdp.criteria, at timestamptz, outside text, OUT term text, OUT value text, OUT holds boolean, OUT depth int) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__explain_match';
COMMENT ON FUNCTION cdp._explain_match(bigint, cdp.criteria, timestamptz, text) IS 'explain_match of a profile that is outside of all audiences for this reason, or NULL';

CREATE FUNCTION cdp._matching_labels(profile bigint, criteria cdp.criteria, at timestamptz) RETURNS text[]
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__matching_labels';
COMMENT ON FUNCTION cdp._matching_labels(bigint, cdp.criteria, timestamptz) IS 'matching_labels of a profile that may be in an audience';

CREATE FUNCTION cdp.matching_labels(profile bigint, criteria cdp.criteria, at timestamptz DEFAULT now()) RETURNS text[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN cdp.matches(profile, 'all', at) THEN cdp._matching_labels(profile, criteria, at) ELSE '{}' END;
END;
COMMENT ON FUNCTION cdp.matching_labels(bigint, cdp.criteria, timestamptz) IS 'the labels with which [$] makes the rule hold, or, if any() binds it, those that make the any() hold';
