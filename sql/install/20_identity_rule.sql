/* 20_identity_rule: what may link profiles, and how far */

CREATE TABLE cdp.never_merge (
	profile_a	bigint NOT NULL,
	profile_b	bigint NOT NULL,
	reason		text,
	at			timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (profile_a, profile_b),
	CONSTRAINT never_merge_order_check CHECK (profile_a < profile_b)
);
COMMENT ON TABLE cdp.never_merge IS 'pairs of leaf profiles that evidence must not link again';
CREATE INDEX never_merge_profile_b_idx ON cdp.never_merge (profile_b);

CREATE SEQUENCE cdp.refusal_id_seq;
COMMENT ON SEQUENCE cdp.refusal_id_seq IS 'ids of identity refusals';
CREATE TABLE cdp.identity_refusal (
	refusal_id	bigint PRIMARY KEY DEFAULT nextval('cdp.refusal_id_seq'),
	at			timestamptz NOT NULL,
	identifiers	cdp.identifier[] NOT NULL,
	reason		text NOT NULL,
	source		text
);
COMMENT ON TABLE cdp.identity_refusal IS 'identifiers that a rule kept out of a link or merge, and why';

CREATE TABLE cdp.namespace_rule (
	namespace				text NOT NULL,
	kind					text NOT NULL,
	priority				int NOT NULL,
	max_per_profile			int,
	within					interval,
	never_merge_if_different boolean NOT NULL DEFAULT false,
	seeded					boolean NOT NULL DEFAULT false,
	quarantine_after		int,
	PRIMARY KEY (namespace, seeded),
	-- as identifiers have it, or the rule would never be found
	CONSTRAINT namespace_rule_namespace_check CHECK (namespace ~ '^[a-z0-9_.-]{1,63}$'),
	CONSTRAINT namespace_rule_kind_check CHECK (kind <> ''),
	CONSTRAINT namespace_rule_max_per_profile_check CHECK (max_per_profile >= 1),
	CONSTRAINT namespace_rule_within_check CHECK (within > interval '0'),
	CONSTRAINT namespace_rule_quarantine_after_check CHECK (quarantine_after >= 1)
);
COMMENT ON TABLE cdp.namespace_rule IS 'what an identifier namespace means and how far it may link profiles; writable';
COMMENT ON COLUMN cdp.namespace_rule.kind IS 'the kind of profile such identifiers name; left out: as seeded, else person';
COMMENT ON COLUMN cdp.namespace_rule.max_per_profile IS 'how many of them one profile may have; NULL = any number';
COMMENT ON COLUMN cdp.namespace_rule.within IS 'with max_per_profile: so many in any stretch of time shorter than this; NULL = ever';
COMMENT ON COLUMN cdp.namespace_rule.never_merge_if_different IS 'two profiles with different ones are never the same';
COMMENT ON COLUMN cdp.namespace_rule.priority IS 'higher decides first: the owner of an event, and which identifier stays when a rule is broken; left out: as seeded, else 50';

COMMENT ON COLUMN cdp.namespace_rule.quarantine_after IS 'one that was named together with more others than this links nobody any more; NULL = no such limit';

CREATE TABLE cdp.blocked_value (
	namespace	text NOT NULL DEFAULT '*',
	pattern		text NOT NULL,
	active		boolean NOT NULL DEFAULT true,
	seeded		boolean NOT NULL DEFAULT false,
	exact		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (namespace, pattern, seeded),
	CONSTRAINT blocked_value_namespace_check CHECK (namespace ~ '^([a-z0-9_.-]{1,63}|[*])$'),
	-- refuses what is not a regular expression
	CONSTRAINT blocked_value_pattern_check CHECK (exact OR ('' ~* ('^(?:' || pattern || ')$')) IS NOT NULL)
);
COMMENT ON TABLE cdp.blocked_value IS 'identifier values that never link anybody, in any case, whole values or regular expressions over the whole value; writable';
COMMENT ON COLUMN cdp.blocked_value.exact IS 'the pattern is the value itself, no regular expression';
COMMENT ON COLUMN cdp.blocked_value.namespace IS 'where it is blocked; * = everywhere';
COMMENT ON COLUMN cdp.blocked_value.active IS 'false in a user''s row lifts the seeded block with the same key';

CREATE TRIGGER keep_seeded BEFORE UPDATE OR DELETE ON cdp.namespace_rule
	FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();
CREATE TRIGGER seeded_defaults BEFORE INSERT OR UPDATE ON cdp.namespace_rule
	FOR EACH ROW WHEN (NEW.kind IS NULL OR NEW.priority IS NULL) EXECUTE FUNCTION cdp._seeded_defaults('namespace', 'kind', 'person', 'priority', '50');
CREATE TRIGGER keep_seeded BEFORE UPDATE OR DELETE ON cdp.blocked_value
	FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();

-- Sessions keep both tables in memory (src/store/identity_rules.c).
CREATE FUNCTION cdp._identity_rules_changed() RETURNS trigger
LANGUAGE C PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__identity_rules_changed';
COMMENT ON FUNCTION cdp._identity_rules_changed() IS 'tells all sessions that rules have changed';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cdp.namespace_rule
	FOR EACH STATEMENT EXECUTE FUNCTION cdp._identity_rules_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cdp.blocked_value
	FOR EACH STATEMENT EXECUTE FUNCTION cdp._identity_rules_changed();

-- No limits are seeded: what is shared, and how far, differs between companies.
INSERT INTO cdp.namespace_rule (namespace, kind, priority, seeded) VALUES
	('user_id',			'person',		100,	true),
	('external_id',		'person',		95,		true),
	('unionid',			'person',		90,		true),
	('openid',			'person',		85,		true),
	('email',			'person',		80,		true),
	('phone',			'person',		70,		true),
	('device_id',		'person',		30,		true),
	('anonymous_id',	'person',		20,		true),
	('store',			'store',		10,		true),
	('account',			'account',		10,		true),
	('rep',				'rep',			10,		true),
	('household',		'household',	10,		true);

INSERT INTO cdp.blocked_value (namespace, pattern, seeded) VALUES
	('*',		'null',								true),
	('*',		'\(null\)',							true),
	('*',		'nil',								true),
	('*',		'none',								true),
	('*',		'nan',								true),
	('*',		'n/?a',								true),
	('*',		'undefined',						true),
	('*',		'unknown',							true),
	('*',		'anonymous',						true),
	('*',		'guest',							true),
	('*',		'true|false',						true),
	('*',		'not[ _-]?(set|available|provided)',	true),
	('*',		'-1',								true),
	('*',		'0+',								true),
	('*',		'0{8}(-0{4}){3}-0{12}',				true),
	('*',		'[-_.?*#]+',						true),
	('*',		'\[object object\]',				true),
	('email',	'(null|nil|none|undefined|unknown|anonymous)@.*',	true),
	('phone',	'\+?0+',							true),
	-- not (\d)\1{6,}: see src/core/pattern_filter.c
	('phone',	'\+?(1{7,}|2{7,}|3{7,}|4{7,}|5{7,}|6{7,}|7{7,}|8{7,}|9{7,})', true);

CREATE VIEW cdp.namespace_rule_effective WITH (security_invoker) AS
	SELECT DISTINCT ON (r.namespace)
		r.namespace, r.kind, r.priority, r.max_per_profile, r.within, r.never_merge_if_different, r.quarantine_after, r.seeded
	FROM cdp.namespace_rule r
	ORDER BY r.namespace, r.seeded;
COMMENT ON VIEW cdp.namespace_rule_effective IS 'the rule in force for each namespace: the user''s row, or else the seeded one';

CREATE VIEW cdp.blocked_value_effective WITH (security_invoker) AS
	SELECT b.namespace, b.pattern, b.exact, b.seeded
	FROM (SELECT DISTINCT ON (r.namespace, r.pattern) r.*
		  FROM cdp.blocked_value r
		  ORDER BY r.namespace, r.pattern, r.seeded) b
	WHERE b.active;
COMMENT ON VIEW cdp.blocked_value_effective IS 'the blocked values in force';

CREATE FUNCTION cdp._is_blocked(identifier cdp.identifier) RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__is_blocked';
COMMENT ON FUNCTION cdp._is_blocked(cdp.identifier) IS 'does its value never link anybody?';

-- Two sets of identifiers that are to be one profile.  What one of them
-- breaks by itself is no reason: only what joining them would break.
CREATE FUNCTION cdp._rule_against(theirs cdp.identifier[], theirs_at timestamptz[], mine cdp.identifier[], mine_at timestamptz[])
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
	WITH rule AS MATERIALIZED (
		-- a length: 365 days to a year, and extract() takes 365.25
		SELECT r.namespace, r.max_per_profile, r.within, r.never_merge_if_different,
			   extract(epoch FROM r.within) - extract(year FROM r.within) * 21600 AS seconds
		FROM cdp.namespace_rule_effective r
		WHERE r.max_per_profile IS NOT NULL OR r.never_merge_if_different
	), member AS (
		SELECT r.*, m.identifier, m.at, m.joins,
			   lag(m.at, r.max_per_profile) OVER w AS first_at,
			   -- of the max_per_profile + 1 that end here, how many join?
			   m.joins_so_far - lag(m.joins_so_far, r.max_per_profile + 1, 0) OVER w AS joining
		FROM (SELECT u.*, sum(u.joins) OVER (PARTITION BY cdp.namespace(u.identifier) ORDER BY u.at, u.identifier) AS joins_so_far
			  FROM (SELECT t.identifier, t.at, 0 AS joins FROM unnest(theirs, theirs_at) t (identifier, at)
					UNION ALL
					SELECT t.identifier, t.at, 1 FROM unnest(mine, mine_at) t (identifier, at)) u) m
			JOIN rule r ON r.namespace = cdp.namespace(m.identifier)
		WINDOW w AS (PARTITION BY r.namespace ORDER BY m.at, m.identifier)
	), broken AS (
		SELECT m.namespace, 1 AS rank,
			   format('identifiers "%s" and "%s" are never of one profile',
					  cdp.min(m.identifier) FILTER (WHERE m.joins = 0), cdp.min(m.identifier) FILTER (WHERE m.joins = 1)) AS reason
		FROM member m
		WHERE m.never_merge_if_different
		GROUP BY m.namespace
		HAVING count(*) FILTER (WHERE m.joins = 0) > 0 AND count(*) FILTER (WHERE m.joins = 1) > 0
		UNION ALL
		SELECT m.namespace, 2,
			   format('a profile has at most %s identifiers of namespace "%s"%s', m.max_per_profile, m.namespace, ' within ' || m.within)
		FROM member m
		WHERE m.first_at IS NOT NULL
		  AND (m.within IS NULL OR extract(epoch FROM m.at - m.first_at) < m.seconds)
		  AND m.joining BETWEEN 1 AND m.max_per_profile
	)
	SELECT b.reason FROM broken b ORDER BY b.namespace, b.rank LIMIT 1;
$$;
COMMENT ON FUNCTION cdp._rule_against(cdp.identifier[], timestamptz[], cdp.identifier[], timestamptz[])
	IS 'which namespace_rule forbids that these identifiers and those are of one profile; NULL if none does';

CREATE FUNCTION cdp._moves_against(identifier cdp.identifier, at timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	reason	text;
BEGIN
	IF NOT EXISTS (SELECT FROM namespace_rule_effective r
				   WHERE r.namespace = namespace(_moves_against.identifier) AND r.max_per_profile IS NOT NULL AND r.within IS NOT NULL)
	THEN
		RETURN NULL;
	END IF;
	SELECT _rule_against(array_agg(o.identifier), array_agg(o.at), ARRAY[mine.identifier], ARRAY[_moves_against.at]) INTO reason
	FROM identifier_link mine
		JOIN profile leaf ON leaf.profile_id = mine.profile_id
		JOIN profile p ON p.canonical_id = leaf.canonical_id
		JOIN identifier_link o ON o.profile_id = p.profile_id
	WHERE mine.identifier = _moves_against.identifier AND mine.at > _moves_against.at
	  AND o.identifier <> mine.identifier AND namespace(o.identifier) = namespace(mine.identifier)
	GROUP BY mine.identifier;
	RETURN reason;
END
$$;
COMMENT ON FUNCTION cdp._moves_against(cdp.identifier, timestamptz)
	IS 'which limit within a time would be broken if the identifier had been linked to its profile that early; NULL if none';

-- Why the candidate (an identifier, its canonical profile if it has one) may
-- not join the profile made of these canonical profiles and these identifiers
-- yet to be linked; NULL if it may.  The link rows of claimed identifiers do
-- not count.  The caller holds the locks.
CREATE FUNCTION cdp._refusal(roots bigint[], added cdp.identifier[], candidate cdp.identifier, root bigint, at timestamptz,
							 claimed cdp.identifier[])
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	reason	text;
BEGIN
	IF root IS NOT NULL THEN
		SELECT format('profiles %s and %s are never to be merged%s', n.profile_a, n.profile_b, ': ' || n.reason) INTO reason
		FROM profile mine
			JOIN never_merge n ON mine.profile_id IN (n.profile_a, n.profile_b)
			JOIN profile other ON other.profile_id = n.profile_a + n.profile_b - mine.profile_id
		WHERE mine.canonical_id = root AND other.canonical_id = ANY (roots)
		ORDER BY n.profile_a, n.profile_b LIMIT 1;
		IF FOUND THEN
			RETURN reason;
		END IF;
	END IF;

	WITH rule AS MATERIALIZED (
		SELECT r.namespace FROM namespace_rule_effective r
		WHERE r.max_per_profile IS NOT NULL OR r.never_merge_if_different
	), present AS (
		SELECT l.identifier, l.at FROM profile p JOIN identifier_link l ON l.profile_id = p.profile_id
		WHERE p.canonical_id = ANY (roots) AND l.identifier <> ALL (claimed)
		UNION ALL
		SELECT a, _refusal.at FROM unnest(added) a
	), joining AS (
		SELECT l.identifier, l.at FROM profile p JOIN identifier_link l ON l.profile_id = p.profile_id
		WHERE p.canonical_id = root AND l.identifier <> ALL (claimed)
		UNION ALL
		SELECT candidate, _refusal.at WHERE root IS NULL
	)
	SELECT _rule_against(o.ids, o.ats, m.ids, m.ats) INTO reason
	FROM (SELECT array_agg(o.identifier) AS ids, array_agg(o.at) AS ats FROM present o JOIN rule r ON r.namespace = namespace(o.identifier)) o,
		 (SELECT array_agg(o.identifier) AS ids, array_agg(o.at) AS ats FROM joining o JOIN rule r ON r.namespace = namespace(o.identifier)) m;
	RETURN reason;
END
$$;
COMMENT ON FUNCTION cdp._refusal(bigint[], cdp.identifier[], cdp.identifier, bigint, timestamptz, cdp.identifier[])
	IS 'why an identifier may not join a profile, by never_merge and namespace_rule; NULL if it may';
