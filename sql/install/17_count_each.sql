/* 17_count_each: counts position by position, for cohort tables
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
