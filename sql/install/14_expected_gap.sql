
/* 14_expected_gap: how long a profile usually takes from one occurrence of an event to the next
 *
 * Gaps are those between distinct instants: five lines of one order are one
 * order.  With n gaps of median m and a prior p that weighs as much as w gaps:
 * (n m + w p) / (n + w).  The adaptive lifecycle stages, the repurchase clock
 * and the rule due(...) all use this one.
 */

CREATE FUNCTION cdp.expected_gap(t cdp.timeline, event text, prior interval DEFAULT NULL, prior_weight float8 DEFAULT 1)
	RETURNS interval
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_expected_gap';
COMMENT ON FUNCTION cdp.expected_gap(cdp.timeline, text, interval, float8)
	IS 'median gap between distinct instants of the event, shrunk toward a prior that weighs as much as so many gaps';

CREATE FUNCTION cdp.expected_gap(t cdp.timeline, event text, label text, prior interval, prior_weight float8)
	RETURNS interval
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_expected_gap';
COMMENT ON FUNCTION cdp.expected_gap(cdp.timeline, text, text, interval, float8)
	IS 'median gap between distinct instants of the event with this label, shrunk toward a prior that weighs as much as so many gaps';
