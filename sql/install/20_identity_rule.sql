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
	kind					text NOT NULL DEFAULT 'person',
	priority				int NOT NULL DEFAULT 50,
	max_per_profile			int,
	within					interval,
	never_merge_if_different boolean NOT NULL DEFAULT false,
	seeded					boolean NOT NULL DEFAULT false,
	PRIMARY KEY (namespace, seeded),
	CONSTRAINT namespace_rule_max_per_profile_check CHECK (max_per_profile >= 1),
	CONSTRAINT namespace_rule_within_check CHECK (within > interval '0')
);
COMMENT ON TABLE cdp.namespace_rule IS 'what an identifier namespace means and how far it may link profiles; writable';
COMMENT ON COLUMN cdp.namespace_rule.kind IS 'the kind of profile such identifiers name';
COMMENT ON COLUMN cdp.namespace_rule.max_per_profile IS 'how many of them one profile may have; NULL = any number';
COMMENT ON COLUMN cdp.namespace_rule.within IS 'with max_per_profile: count only those linked less than this long before or after; NULL = ever';
COMMENT ON COLUMN cdp.namespace_rule.never_merge_if_different IS 'two profiles with different ones are never the same';
COMMENT ON COLUMN cdp.namespace_rule.priority IS 'higher decides first: the owner of an event, and which identifier stays when a rule is broken';

CREATE TABLE cdp.blocked_value (
	namespace	text NOT NULL DEFAULT '*',
	pattern		text NOT NULL,
	active		boolean NOT NULL DEFAULT true,
	seeded		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (namespace, pattern, seeded),
	-- refuses what is not a regular expression
	CONSTRAINT blocked_value_pattern_check CHECK (('' ~* ('^(?:' || pattern || ')$')) IS NOT NULL)
);
COMMENT ON TABLE cdp.blocked_value IS 'identifier values that never link anybody, as regular expressions over the whole value, in any case; writable';
COMMENT ON COLUMN cdp.blocked_value.namespace IS 'where it is blocked; * = everywhere';
COMMENT ON COLUMN cdp.blocked_value.active IS 'false in a user''s row lifts the seeded block with the same key';

CREATE TRIGGER keep_seeded BEFORE UPDATE OR DELETE ON cdp.namespace_rule
	FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();
CREATE TRIGGER keep_seeded BEFORE UPDATE OR DELETE ON cdp.blocked_value
	FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();

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
	('phone',	'\+?(\d)\1{6,}',					true);

CREATE VIEW cdp.namespace_rule_effective AS
	SELECT DISTINCT ON (r.namespace)
		r.namespace, r.kind, r.priority, r.max_per_profile, r.within, r.never_merge_if_different, r.seeded
	FROM cdp.namespace_rule r
	ORDER BY r.namespace, r.seeded;
COMMENT ON VIEW cdp.namespace_rule_effective IS 'the rule in force for each namespace: the user''s row, or else the seeded one';

CREATE VIEW cdp.blocked_value_effective AS
	SELECT b.namespace, b.pattern, b.seeded
	FROM (SELECT DISTINCT ON (r.namespace, r.pattern) r.*
		  FROM cdp.blocked_value r
		  ORDER BY r.namespace, r.pattern, r.seeded) b
	WHERE b.active;
COMMENT ON VIEW cdp.blocked_value_effective IS 'the blocked values in force';

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
		-- a length: 365 days to a year, and extract() takes 365.25
		SELECT r.namespace, r.max_per_profile, r.within, r.never_merge_if_different,
			   extract(epoch FROM r.within) - extract(year FROM r.within) * 21600 AS seconds
		FROM namespace_rule_effective r
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
	), both_sides AS (
		SELECT r.*, c.identifier AS mine, c.at AS mine_at,
			   (SELECT count(*) FROM present o
				WHERE namespace(o.identifier) = r.namespace
				  AND (r.within IS NULL OR abs(extract(epoch FROM o.at - c.at)) < r.seconds)) AS there,
			   (SELECT count(*) FROM joining o
				WHERE namespace(o.identifier) = r.namespace
				  AND (r.within IS NULL OR abs(extract(epoch FROM o.at - c.at)) < r.seconds)) AS here,
			   (SELECT min(o.identifier::text COLLATE "C") FROM present o
				WHERE namespace(o.identifier) = r.namespace AND o.identifier <> c.identifier) AS different
		FROM joining c JOIN rule r ON r.namespace = namespace(c.identifier)
	)
	SELECT CASE WHEN b.never_merge_if_different AND b.different IS NOT NULL
				THEN format('identifiers "%s" and "%s" are never of one profile', b.different, b.mine)
				ELSE format('a profile has at most %s identifiers of namespace "%s"%s', b.max_per_profile, b.namespace,
							' within ' || b.within) END INTO reason
	FROM both_sides b
	WHERE (b.never_merge_if_different AND b.different IS NOT NULL)
	   OR (b.there + b.here > b.max_per_profile AND (b.there > 0 OR root IS NULL))
	ORDER BY b.namespace, b.mine LIMIT 1;
	RETURN reason;
END
$$;
COMMENT ON FUNCTION cdp._refusal(bigint[], cdp.identifier[], cdp.identifier, bigint, timestamptz, cdp.identifier[])
	IS 'why an identifier may not join a profile, by never_merge and namespace_rule; NULL if it may';
