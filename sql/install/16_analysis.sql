-- What was done in which order: funnels, retention and patterns.

-- over timelines

CREATE FUNCTION cdp.window_funnel(t cdp.timeline, steps text[], within interval) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_window_funnel';
COMMENT ON FUNCTION cdp.window_funnel(cdp.timeline, text[], interval) IS 'how many of the steps were reached, in order, within a window';
CREATE FUNCTION cdp.window_funnel(t cdp.timeline, steps text[], within interval, mode text) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_window_funnel';
COMMENT ON FUNCTION cdp.window_funnel(cdp.timeline, text[], interval, text) IS 'how many of the steps were reached, in order, within a window, in a mode';
CREATE FUNCTION cdp.funnel_times(t cdp.timeline, steps text[], within interval) RETURNS timestamptz[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_funnel_times';
COMMENT ON FUNCTION cdp.funnel_times(cdp.timeline, text[], interval) IS 'when the steps were reached: the times of the first longest chain';
CREATE FUNCTION cdp.retention(t cdp.timeline, cohort text, returned text, buckets int, bucket interval, align text DEFAULT 'event') RETURNS boolean[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_retention';
COMMENT ON FUNCTION cdp.retention(cdp.timeline, text, text, int, interval, text) IS 'in which buckets of time after the first cohort event there was a return';
CREATE FUNCTION cdp.sequence_match(t cdp.timeline, pattern text) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'mcdp_sequence_match';
COMMENT ON FUNCTION cdp.sequence_match(cdp.timeline, text) IS 'whether a pattern such as view -> cart ->(2h) !purchase is found';
CREATE FUNCTION cdp.sequence_count(t cdp.timeline, pattern text) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'mcdp_sequence_count';
COMMENT ON FUNCTION cdp.sequence_count(cdp.timeline, text) IS 'how often a pattern is found, one match after the other';
