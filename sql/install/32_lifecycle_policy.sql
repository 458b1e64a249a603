
/* 32_lifecycle_policy: the thresholds of the stages, by name
 *
 * A policy belongs to one kind of profile.  With several policies of one kind,
 * "default" drives the stages, else the first by name; the others are there
 * for questions.
 */

CREATE TABLE cdp.lifecycle_policy (
	name			text NOT NULL,
	kind			text NOT NULL DEFAULT 'person',
	purchase_event	text NOT NULL DEFAULT 'purchase',
	retained_orders	int NOT NULL DEFAULT 4,
	at_risk_after	interval NOT NULL DEFAULT '60 days',
	churned_after	interval NOT NULL DEFAULT '180 days',
	adaptive		boolean NOT NULL DEFAULT false,
	at_risk_gaps	float8 NOT NULL DEFAULT 2,
	churned_gaps	float8 NOT NULL DEFAULT 4,
	at_risk_min		interval NOT NULL DEFAULT '14 days',
	at_risk_max		interval NOT NULL DEFAULT '180 days',
	churned_min		interval NOT NULL DEFAULT '30 days',
	churned_max		interval NOT NULL DEFAULT '365 days',
	prior_gap		interval,
	prior_weight	float8 NOT NULL DEFAULT 2,
	seeded			boolean NOT NULL DEFAULT false,
	PRIMARY KEY (name, seeded),
	CONSTRAINT lifecycle_policy_retained_orders_check CHECK (retained_orders >= 2),
	CONSTRAINT lifecycle_policy_at_risk_after_check CHECK (at_risk_after > interval '0'),
	CONSTRAINT lifecycle_policy_churned_after_check CHECK (churned_after > at_risk_after),
	CONSTRAINT lifecycle_policy_gaps_check CHECK (at_risk_gaps > 0 AND churned_gaps > at_risk_gaps AND churned_gaps < 'Infinity'),
	CONSTRAINT lifecycle_policy_min_check CHECK (at_risk_min > interval '0' AND churned_min > at_risk_min),
	CONSTRAINT lifecycle_policy_max_check CHECK (at_risk_max >= at_risk_min AND churned_max >= churned_min AND churned_max > at_risk_max),
	CONSTRAINT lifecycle_policy_prior_check CHECK (prior_gap >= interval '0' AND prior_weight >= 0 AND prior_weight < 'Infinity')
);
COMMENT ON TABLE cdp.lifecycle_policy IS 'thresholds of the lifecycle stages, per kind of profile; writable; a changed policy reaches a profile when it is next looked at, and all of them with rebuild(''lifecycle'')';
COMMENT ON COLUMN cdp.lifecycle_policy.at_risk_after IS 'threshold; of an adaptive policy, for profiles without an expected gap';
COMMENT ON COLUMN cdp.lifecycle_policy.churned_after IS 'threshold; of an adaptive policy, for profiles without an expected gap';
COMMENT ON COLUMN cdp.lifecycle_policy.adaptive IS 'the thresholds follow from the expected gap of each profile';
COMMENT ON COLUMN cdp.lifecycle_policy.at_risk_gaps IS 'adaptive: at risk after so many expected gaps …';
COMMENT ON COLUMN cdp.lifecycle_policy.at_risk_min IS '… but not earlier than this …';
COMMENT ON COLUMN cdp.lifecycle_policy.at_risk_max IS '… nor later than this; the same for churned';
COMMENT ON COLUMN cdp.lifecycle_policy.prior_gap IS 'adaptive: the gap that is expected of somebody without a history; NULL = fixed thresholds until the second order';
COMMENT ON COLUMN cdp.lifecycle_policy.prior_weight IS 'adaptive: how many gaps of the profile''s own the prior gap counts for';

INSERT INTO cdp.lifecycle_policy (name, kind, purchase_event, retained_orders, at_risk_after, churned_after, seeded)
VALUES ('default', 'person', 'purchase', 4, '60 days', '180 days', true);

CREATE TRIGGER lifecycle_policy_keep_seeded BEFORE UPDATE OR DELETE ON cdp.lifecycle_policy
FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();

CREATE VIEW cdp.lifecycle_policy_effective WITH (security_invoker) AS
SELECT DISTINCT ON (p.name) p.name, p.kind, p.purchase_event, p.retained_orders, p.at_risk_after, p.churned_after, p.adaptive, p.seeded,
	   ROW(p.purchase_event, p.retained_orders, p.at_risk_after, p.churned_after, p.adaptive, p.at_risk_gaps, p.churned_gaps,
		   p.at_risk_min, p.at_risk_max, p.churned_min, p.churned_max, p.prior_gap, p.prior_weight)::cdp.lifecycle_rule AS rule
FROM cdp.lifecycle_policy p
ORDER BY p.name, p.seeded;
COMMENT ON VIEW cdp.lifecycle_policy_effective IS 'the policies that apply: a user''s row overrides the seeded one';

CREATE FUNCTION cdp._lifecycle_rule(policy text) RETURNS cdp.lifecycle_rule
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	found_rule lifecycle_rule;
BEGIN
	SELECT (p.rule).* INTO found_rule FROM lifecycle_policy_effective p WHERE p.name = policy;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('lifecycle policy "%s" does not exist', policy);
	END IF;
	RETURN found_rule;
END
$$;
COMMENT ON FUNCTION cdp._lifecycle_rule(text) IS 'settings of a policy by name';

-- The hash leaves out what a policy that is not adaptive does not use: editing
-- that changes nothing.
CREATE FUNCTION cdp._lifecycle_policies() RETURNS TABLE (kind text, policy text, policy_hash int, rule cdp.lifecycle_rule)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 3
BEGIN ATOMIC
	SELECT DISTINCT ON (p.kind) p.kind, p.name,
		   CASE WHEN p.adaptive THEN hash_record(p.rule)
				ELSE hash_record((p.purchase_event, p.retained_orders, p.at_risk_after, p.churned_after)) END,
		   p.rule
	FROM cdp.lifecycle_policy_effective p
	ORDER BY p.kind, p.name <> 'default', p.name COLLATE "C";
END;
COMMENT ON FUNCTION cdp._lifecycle_policies() IS 'the policy that drives the stages of each kind of profile';

CREATE FUNCTION cdp.lifecycle(t cdp.timeline, at timestamptz, policy text DEFAULT 'default') RETURNS cdp.lifecycle_stage
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN cdp.lifecycle(t, at, cdp._lifecycle_rule(policy));
COMMENT ON FUNCTION cdp.lifecycle(cdp.timeline, timestamptz, text) IS 'the stage at an instant, by a policy';

CREATE FUNCTION cdp.lifecycle_due(t cdp.timeline, at timestamptz, policy text DEFAULT 'default') RETURNS timestamptz
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN cdp.lifecycle_due(t, at, cdp._lifecycle_rule(policy));
COMMENT ON FUNCTION cdp.lifecycle_due(cdp.timeline, timestamptz, text)
	IS 'the first later instant at which lifecycle answers differently if nothing happens after "at"; NULL = never';

-- explaining

CREATE FUNCTION cdp._utc(at timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
COMMENT ON FUNCTION cdp._utc(timestamptz) IS 'an instant in UTC, the same whatever the settings';

CREATE FUNCTION cdp._lifecycle_explain(t cdp.timeline, at timestamptz, rule cdp.lifecycle_rule)
RETURNS TABLE (what text, value text)
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 16
BEGIN ATOMIC
	SELECT x.what, x.value
	FROM cdp._lifecycle_numbers(t, at, rule) n
	CROSS JOIN LATERAL (VALUES
		(1, 'purchase event', (rule).purchase_event),
		(2, 'orders', n.orders::text),
		(3, 'first order', cdp._utc(n.first_order)),
		(4, 'last order', cdp._utc(n.last_order)),
		(5, 'since the last order', CASE WHEN isfinite(at) THEN (at - n.last_order)::text END),
		(6, 'retained from orders', (rule).retained_orders::text),
		(7, 'own gaps', CASE WHEN (rule).adaptive THEN n.gaps::text END),
		(8, 'median gap', CASE WHEN (rule).adaptive THEN n.median_gap::text END),
		(9, 'prior gap', CASE WHEN (rule).adaptive THEN (rule).prior_gap::text END),
		(10, 'prior weight', CASE WHEN (rule).adaptive AND (rule).prior_gap IS NOT NULL THEN (rule).prior_weight::text END),
		(11, 'expected gap', CASE WHEN (rule).adaptive THEN n.expected_gap::text END),
		(12, 'at risk after', n.at_risk_after || CASE WHEN n.expected_gap IS NOT NULL AND (rule).adaptive
			THEN format(' = %s gaps, at least %s, at most %s', (rule).at_risk_gaps, (rule).at_risk_min, (rule).at_risk_max)
			ELSE '' END),
		(13, 'churned after', n.churned_after || CASE WHEN n.expected_gap IS NOT NULL AND (rule).adaptive
			THEN format(' = %s gaps, at least %s, at most %s', (rule).churned_gaps, (rule).churned_min, (rule).churned_max)
			ELSE '' END),
		(14, 'stage', n.stage::text),
		(15, 'changes at', coalesce(cdp._utc(n.due_at), 'never'))
	) AS x (n, what, value)
	WHERE x.value IS NOT NULL
	ORDER BY x.n;
END;
COMMENT ON FUNCTION cdp._lifecycle_explain(cdp.timeline, timestamptz, cdp.lifecycle_rule) IS 'the numbers behind a stage';

CREATE FUNCTION cdp.lifecycle_explain(t cdp.timeline, at timestamptz, policy text DEFAULT 'default') RETURNS TABLE (what text, value text)
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 16
BEGIN ATOMIC
	SELECT 'policy', policy
	UNION ALL
	SELECT e.what, e.value FROM cdp._lifecycle_explain(t, at, cdp._lifecycle_rule(policy)) e;
END;
COMMENT ON FUNCTION cdp.lifecycle_explain(cdp.timeline, timestamptz, text) IS 'the numbers behind the stage at an instant, by a policy';
