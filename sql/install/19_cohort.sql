
/* 19_cohort: who came first when, and what became of them
 *
 * Toolkit: knows no tables.
 */

CREATE TYPE cdp.cohort_state;
COMMENT ON TYPE cdp.cohort_state IS 'a cohort table of some timelines: see cohort_rows';
CREATE FUNCTION cdp.cohort_state_in(cstring) RETURNS cdp.cohort_state
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_cohort_state_in';
COMMENT ON FUNCTION cdp.cohort_state_in(cstring) IS 'I/O';
CREATE FUNCTION cdp.cohort_state_out(cdp.cohort_state) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_cohort_state_out';
COMMENT ON FUNCTION cdp.cohort_state_out(cdp.cohort_state) IS 'I/O';
CREATE FUNCTION cdp.cohort_state_recv(internal) RETURNS cdp.cohort_state
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_cohort_state_recv';
COMMENT ON FUNCTION cdp.cohort_state_recv(internal) IS 'I/O';
CREATE FUNCTION cdp.cohort_state_send(cdp.cohort_state) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_cohort_state_send';
COMMENT ON FUNCTION cdp.cohort_state_send(cdp.cohort_state) IS 'I/O';
CREATE TYPE cdp.cohort_state (
	INPUT = cdp.cohort_state_in,
	OUTPUT = cdp.cohort_state_out,
	RECEIVE = cdp.cohort_state_recv,
	SEND = cdp.cohort_state_send,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION cdp._cohort_agg_add(cdp.cohort_state, cdp.timeline, text, timestamptz[], timestamptz) RETURNS cdp.cohort_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_cohort_agg_add';
COMMENT ON FUNCTION cdp._cohort_agg_add(cdp.cohort_state, cdp.timeline, text, timestamptz[], timestamptz) IS 'adds a timeline to the state of cohort_agg';
CREATE FUNCTION cdp._cohort_agg_combine(cdp.cohort_state, cdp.cohort_state) RETURNS cdp.cohort_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_cohort_agg_combine';
COMMENT ON FUNCTION cdp._cohort_agg_combine(cdp.cohort_state, cdp.cohort_state) IS 'adds two cohort tables';

CREATE AGGREGATE cdp.cohort_agg(t cdp.timeline, event text, edges timestamptz[], at timestamptz) (
	SFUNC = cdp._cohort_agg_add,
	STYPE = cdp.cohort_state,
	COMBINEFUNC = cdp._cohort_agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.cohort_agg(cdp.timeline, text, timestamptz[], timestamptz)
	IS 'cohort table by the period of the first such event: returns, orders and revenue in each later period, as far as they are known at an instant';
CREATE AGGREGATE cdp.cohort_agg(s cdp.cohort_state) (
	SFUNC = cdp._cohort_agg_combine,
	STYPE = cdp.cohort_state,
	COMBINEFUNC = cdp._cohort_agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.cohort_agg(cdp.cohort_state) IS 'one cohort table of several';

CREATE FUNCTION cdp.cohort_rows(s cdp.cohort_state, OUT cohort timestamptz, OUT period int, OUT period_start timestamptz,
	OUT observed float8, OUT size bigint, OUT active bigint, OUT retention float8, OUT orders bigint, OUT revenue float8) RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 78 AS 'MODULE_PATHNAME', 'mcdp_cohort_rows';
COMMENT ON FUNCTION cdp.cohort_rows(cdp.cohort_state)
	IS 'a cohort table as rows; observed says how much of a period had passed, and what had not begun is NULL';
