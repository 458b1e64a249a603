
/* 14_lifecycle: the stages a customer goes through, read from a timeline
 *
 * An order is a distinct instant of the purchase event.  At an instant: no
 * order yet is potential; longer than churned_after since the last order is
 * churned; longer than at_risk_after is at_risk; else the number of orders
 * decides: 1 first_purchase, fewer than retained_orders repeat, else retained.
 *
 * With an adaptive rule the two thresholds are multiples of the gap that is
 * expected after the last order, held within bounds.
 */

-- Their names are stored: they never change.
CREATE TYPE cdp.lifecycle_stage AS ENUM
	('potential', 'first_purchase', 'repeat', 'retained', 'at_risk', 'churned');
COMMENT ON TYPE cdp.lifecycle_stage IS 'stage of a customer''s life';

CREATE TYPE cdp.lifecycle_rule AS (
	purchase_event	text,
	retained_orders	int,
	at_risk_after	interval,
	churned_after	interval,
	adaptive		boolean,
	at_risk_gaps	float8,
	churned_gaps	float8,
	at_risk_min		interval,
	at_risk_max		interval,
	churned_min		interval,
	churned_max		interval,
	prior_gap		interval,
	prior_weight	float8
);
COMMENT ON TYPE cdp.lifecycle_rule IS 'what the stages follow from: the settings of a policy in one value';

-- fixed thresholds

CREATE FUNCTION cdp.lifecycle(t cdp.timeline, at timestamptz, purchase_event text,
	retained_orders int, at_risk_after interval, churned_after interval) RETURNS cdp.lifecycle_stage
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_lifecycle';
COMMENT ON FUNCTION cdp.lifecycle(cdp.timeline, timestamptz, text, int, interval, interval)
	IS 'the stage at an instant, by fixed thresholds';

CREATE FUNCTION cdp.lifecycle_due(t cdp.timeline, at timestamptz, purchase_event text,
	retained_orders int, at_risk_after interval, churned_after interval) RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_lifecycle_due';
COMMENT ON FUNCTION cdp.lifecycle_due(cdp.timeline, timestamptz, text, int, interval, interval)
	IS 'the first later instant at which lifecycle answers differently if nothing happens after "at"; NULL = never';

CREATE FUNCTION cdp.lifecycle_history(t cdp.timeline, since timestamptz, until timestamptz, purchase_event text,
	retained_orders int, at_risk_after interval, churned_after interval,
	OUT at timestamptz, OUT from_stage cdp.lifecycle_stage, OUT to_stage cdp.lifecycle_stage,
	OUT cause text, OUT last_order timestamptz) RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 4 AS 'MODULE_PATHNAME', 'mcdp_lifecycle_history';
COMMENT ON FUNCTION cdp.lifecycle_history(cdp.timeline, timestamptz, timestamptz, text, int, interval, interval)
	IS 'every change of stage in (since, until] at its exact instant, caused by an event or by time';

-- any rule

CREATE FUNCTION cdp.lifecycle(t cdp.timeline, at timestamptz, rule cdp.lifecycle_rule) RETURNS cdp.lifecycle_stage
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_lifecycle';
COMMENT ON FUNCTION cdp.lifecycle(cdp.timeline, timestamptz, cdp.lifecycle_rule) IS 'the stage at an instant, by a rule';

CREATE FUNCTION cdp.lifecycle_due(t cdp.timeline, at timestamptz, rule cdp.lifecycle_rule) RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_lifecycle_due';
COMMENT ON FUNCTION cdp.lifecycle_due(cdp.timeline, timestamptz, cdp.lifecycle_rule)
	IS 'the first later instant at which lifecycle answers differently if nothing happens after "at"; NULL = never';

CREATE FUNCTION cdp.lifecycle_history(t cdp.timeline, since timestamptz, until timestamptz, rule cdp.lifecycle_rule,
	OUT at timestamptz, OUT from_stage cdp.lifecycle_stage, OUT to_stage cdp.lifecycle_stage,
	OUT cause text, OUT last_order timestamptz) RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 4 AS 'MODULE_PATHNAME', 'mcdp_lifecycle_history';
COMMENT ON FUNCTION cdp.lifecycle_history(cdp.timeline, timestamptz, timestamptz, cdp.lifecycle_rule)
	IS 'every change of stage in (since, until] at its exact instant, caused by an event or by time';

CREATE FUNCTION cdp._lifecycle_next(t cdp.timeline, at timestamptz, rule cdp.lifecycle_rule) RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_lifecycle_next';
COMMENT ON FUNCTION cdp._lifecycle_next(cdp.timeline, timestamptz, cdp.lifecycle_rule)
	IS 'the next change of stage after "at", with the events that the timeline already holds after it; NULL = none';

CREATE FUNCTION cdp._lifecycle_numbers(t cdp.timeline, at timestamptz, rule cdp.lifecycle_rule,
	OUT orders bigint, OUT first_order timestamptz, OUT last_order timestamptz,
	OUT gaps bigint, OUT median_gap interval, OUT expected_gap interval,
	OUT at_risk_after interval, OUT churned_after interval,
	OUT stage cdp.lifecycle_stage, OUT due_at timestamptz) RETURNS record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_lifecycle_numbers';
COMMENT ON FUNCTION cdp._lifecycle_numbers(cdp.timeline, timestamptz, cdp.lifecycle_rule)
	IS 'what the stage at an instant follows from';
