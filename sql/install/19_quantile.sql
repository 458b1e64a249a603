/* 19_quantile: quantiles and scores by them, exact and in parallel
 *
 * Toolkit: knows no tables.
 */

CREATE TYPE cdp.quantile_state;
COMMENT ON TYPE cdp.quantile_state IS 'what quantile_edges has seen of a group of rows';
CREATE FUNCTION cdp.quantile_state_in(cstring) RETURNS cdp.quantile_state
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_quantile_state_in';
COMMENT ON FUNCTION cdp.quantile_state_in(cstring) IS 'I/O';
CREATE FUNCTION cdp.quantile_state_out(cdp.quantile_state) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_quantile_state_out';
COMMENT ON FUNCTION cdp.quantile_state_out(cdp.quantile_state) IS 'I/O';
CREATE FUNCTION cdp.quantile_state_recv(internal) RETURNS cdp.quantile_state
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_quantile_state_recv';
COMMENT ON FUNCTION cdp.quantile_state_recv(internal) IS 'I/O';
CREATE FUNCTION cdp.quantile_state_send(cdp.quantile_state) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_quantile_state_send';
COMMENT ON FUNCTION cdp.quantile_state_send(cdp.quantile_state) IS 'I/O';
CREATE TYPE cdp.quantile_state (
	INPUT = cdp.quantile_state_in,
	OUTPUT = cdp.quantile_state_out,
	RECEIVE = cdp.quantile_state_recv,
	SEND = cdp.quantile_state_send,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION cdp._quantile_edges_add(cdp.quantile_state, float8, float8[]) RETURNS cdp.quantile_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_quantile_edges_add';
COMMENT ON FUNCTION cdp._quantile_edges_add(cdp.quantile_state, float8, float8[]) IS 'adds a number to the state of quantile_edges';
CREATE FUNCTION cdp._quantile_edges_combine(cdp.quantile_state, cdp.quantile_state) RETURNS cdp.quantile_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_quantile_edges_combine';
COMMENT ON FUNCTION cdp._quantile_edges_combine(cdp.quantile_state, cdp.quantile_state) IS 'combines partial states of quantile_edges';
CREATE FUNCTION cdp._quantile_edges_final(cdp.quantile_state) RETURNS float8[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_quantile_edges_final';
COMMENT ON FUNCTION cdp._quantile_edges_final(cdp.quantile_state) IS 'result of quantile_edges';

CREATE AGGREGATE cdp.quantile_edges(x float8, fractions float8[]) (
	SFUNC = cdp._quantile_edges_add,
	STYPE = cdp.quantile_state,
	FINALFUNC = cdp._quantile_edges_final,
	COMBINEFUNC = cdp._quantile_edges_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.quantile_edges(float8, float8[]) IS 'quantiles of the numbers at the fractions, exact, between two numbers by linear interpolation';

CREATE FUNCTION cdp.quantile_score(x float8, edges float8[]) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_quantile_score';
COMMENT ON FUNCTION cdp.quantile_score(float8, float8[]) IS 'in which part between edges a number lies, from 1: one more than there are edges less than it';
