
/* 14_growth: where a timeline stands in the words of product analytics
 *
 * Growth accounting (new, returning, resurrecting, dormant), daily engagement
 * with a week and a month of memory, and AARRR.  Periods are lengths counted
 * from an origin; the default one is a Monday, so that weeks begin on Mondays.
 */

CREATE FUNCTION cdp.growth_state(t cdp.timeline, at timestamptz, active_event text,
	period interval DEFAULT '1 day', origin timestamptz DEFAULT '2001-01-01Z') RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_growth_state';
COMMENT ON FUNCTION cdp.growth_state(cdp.timeline, timestamptz, text, interval, timestamptz)
	IS 'new, returning, resurrecting, dormant or inactive in the period of an instant; NULL = never active yet';

CREATE FUNCTION cdp.growth_history(t cdp.timeline, since timestamptz, until timestamptz, active_event text,
	period interval DEFAULT '1 day', origin timestamptz DEFAULT '2001-01-01Z',
	OUT period_start timestamptz, OUT state text) RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 30 AS 'MODULE_PATHNAME', 'mcdp_growth_history';
COMMENT ON FUNCTION cdp.growth_history(cdp.timeline, timestamptz, timestamptz, text, interval, timestamptz)
	IS 'growth_state in every period of [since, until), from the first active one on';

CREATE FUNCTION cdp.engagement_state(t cdp.timeline, at timestamptz, active_event text,
	day interval DEFAULT '1 day', week int DEFAULT 7, month int DEFAULT 30, origin timestamptz DEFAULT '2001-01-01Z') RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_engagement_state';
COMMENT ON FUNCTION cdp.engagement_state(cdp.timeline, timestamptz, text, interval, int, int, timestamptz)
	IS 'new, current, reactivated, resurrected, at_risk_wau, at_risk_mau or dormant on the day of an instant; NULL = never active yet';

CREATE FUNCTION cdp.aarrr(t cdp.timeline, at timestamptz, activation text[], revenue text[], referral text[],
	passive text[] DEFAULT '{}', return_after interval DEFAULT '1 day',
	OUT acquired_at timestamptz, OUT activated_at timestamptz, OUT retained_at timestamptz,
	OUT revenue_at timestamptz, OUT referral_at timestamptz) RETURNS record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_aarrr';
COMMENT ON FUNCTION cdp.aarrr(cdp.timeline, timestamptz, text[], text[], text[], text[], interval)
	IS 'when acquisition, activation, retention, revenue and referral were reached, up to an instant; NULL = not yet';
