
/* 14_lifecycle: the stages a customer goes through, read from a timeline
 *
 * An order is a distinct instant of the purchase event.  At an instant: no
 * order yet is potential; longer than churned_after since the last order is
 * churned; longer than at_risk_after is at_risk; else the number of orders
 * decides: 1 first_purchase, fewer than retained_orders repeat, else retained.
 */

-- Their names are stored: they never change.
CREATE TYPE cdp.lifecycle_stage AS ENUM
	('potential', 'first_purchase', 'repeat', 'retained', 'at_risk', 'churned');
COMMENT ON TYPE cdp.lifecycle_stage IS 'stage of a customer''s life';

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

CREATE FUNCTION cdp._lifecycle_next(t cdp.timeline, at timestamptz, purchase_event text,
	retained_orders int, at_risk_after interval, churned_after interval) RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_lifecycle_next';
COMMENT ON FUNCTION cdp._lifecycle_next(cdp.timeline, timestamptz, text, int, interval, interval)
	IS 'the next change of stage after "at", with the events that the timeline already holds after it; NULL = none';
