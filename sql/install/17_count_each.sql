/* 17_count_each: counts position by position, for funnels and cohort tables
 *
 * Toolkit: knows no tables.
 */

CREATE FUNCTION cdp._count_each_add(bigint[], boolean[]) RETURNS bigint[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_count_each_add';
COMMENT ON FUNCTION cdp._count_each_add(bigint[], boolean[]) IS 'adds an array to the state of count_each';
CREATE FUNCTION cdp._count_each_merge(bigint[], bigint[]) RETURNS bigint[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_count_each_merge';
COMMENT ON FUNCTION cdp._count_each_merge(bigint[], bigint[]) IS 'adds two states of count_each';
CREATE AGGREGATE cdp.count_each(flags boolean[]) (
	SFUNC = cdp._count_each_add,
	STYPE = bigint[],
	COMBINEFUNC = cdp._count_each_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.count_each(boolean[]) IS 'for each position, in how many of the arrays there is true';

-- what a function says of each timeline, counted in one step

CREATE FUNCTION cdp._funnel_counts_add(bigint[], cdp.timeline, text[], interval) RETURNS bigint[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_funnel_counts_add';
COMMENT ON FUNCTION cdp._funnel_counts_add(bigint[], cdp.timeline, text[], interval) IS 'adds a timeline to the state of funnel_counts';
CREATE FUNCTION cdp._funnel_counts_add(bigint[], cdp.timeline, text[], interval, text) RETURNS bigint[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_funnel_counts_add';
COMMENT ON FUNCTION cdp._funnel_counts_add(bigint[], cdp.timeline, text[], interval, text) IS 'adds a timeline to the state of funnel_counts';
CREATE AGGREGATE cdp.funnel_counts(t cdp.timeline, steps text[], within interval) (
	SFUNC = cdp._funnel_counts_add,
	STYPE = bigint[],
	COMBINEFUNC = cdp._count_each_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.funnel_counts(cdp.timeline, text[], interval) IS 'for each step, how many timelines reached it, in order, within a window';
CREATE AGGREGATE cdp.funnel_counts(t cdp.timeline, steps text[], within interval, mode text) (
	SFUNC = cdp._funnel_counts_add,
	STYPE = bigint[],
	COMBINEFUNC = cdp._count_each_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.funnel_counts(cdp.timeline, text[], interval, text) IS 'for each step, how many timelines reached it, in order, within a window, in a mode';

CREATE FUNCTION cdp._retention_matrix_add(bigint[], cdp.timeline, text, text, timestamptz, int, int, interval) RETURNS bigint[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_retention_matrix_add';
COMMENT ON FUNCTION cdp._retention_matrix_add(bigint[], cdp.timeline, text, text, timestamptz, int, int, interval) IS 'adds a timeline to the state of retention_matrix';
CREATE FUNCTION cdp._retention_matrix_merge(bigint[], bigint[]) RETURNS bigint[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_retention_matrix_merge';
COMMENT ON FUNCTION cdp._retention_matrix_merge(bigint[], bigint[]) IS 'adds two states of retention_matrix';
CREATE AGGREGATE cdp.retention_matrix(t cdp.timeline, cohort text, returned text, since timestamptz, cohorts int, buckets int, bucket interval) (
	SFUNC = cdp._retention_matrix_add,
	STYPE = bigint[],
	COMBINEFUNC = cdp._retention_matrix_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.retention_matrix(cdp.timeline, text, text, timestamptz, int, int, interval) IS 'cohort table: for each period of the first cohort event, in how many timelines there was a return in that period and the following ones';

-- the same over rows: a state for each profile first

CREATE FUNCTION cdp._retention_state_final(cdp.event_state) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_retention_state_final';
COMMENT ON FUNCTION cdp._retention_state_final(cdp.event_state) IS 'result of retention_state';
CREATE AGGREGATE cdp.retention_state(at timestamptz, event text, cohort text, returned text, buckets int, bucket interval) (
	SFUNC = cdp._retention_event_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._retention_state_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.retention_state(timestamptz, text, text, text, int, interval) IS 'what retention sees of a group of rows, for retention_matrix';
CREATE FUNCTION cdp._retention_matrix_add(bigint[], cdp.event_state, timestamptz, int) RETURNS bigint[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_retention_matrix_state_add';
COMMENT ON FUNCTION cdp._retention_matrix_add(bigint[], cdp.event_state, timestamptz, int) IS 'adds a group of rows to the state of retention_matrix';
CREATE AGGREGATE cdp.retention_matrix(s cdp.event_state, since timestamptz, cohorts int) (
	SFUNC = cdp._retention_matrix_add,
	STYPE = bigint[],
	COMBINEFUNC = cdp._retention_matrix_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.retention_matrix(cdp.event_state, timestamptz, int) IS 'cohort table of what retention_state has seen: for each period of the first cohort event, in how many groups there was a return in that period and the following ones';
