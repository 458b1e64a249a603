/* 18_components: who belongs together, from a query of pairs
 *
 * Toolkit: reads nothing but what the caller's query reads, with the caller's
 * rights (so everybody may call it, see 90_grants).
 */

CREATE FUNCTION cdp.components_support(internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_components_support';
COMMENT ON FUNCTION cdp.components_support(internal) IS 'planner support of connected_components and component_sizes: how they run in FROM';

CREATE FUNCTION cdp.connected_components(edges_query text, memory text DEFAULT NULL) RETURNS TABLE (node text, component text)
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1000000 SUPPORT cdp.components_support AS 'MODULE_PATHNAME', 'mcdp_connected_components';
COMMENT ON FUNCTION cdp.connected_components(text, text)
	IS 'the connected components of the pairs of texts that a query yields: every node with the smallest node of its component';

CREATE FUNCTION cdp.component_sizes(edges_query text, memory text DEFAULT NULL) RETURNS TABLE (component text, members bigint)
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 300000 SUPPORT cdp.components_support AS 'MODULE_PATHNAME', 'mcdp_component_sizes';
COMMENT ON FUNCTION cdp.component_sizes(text, text)
	IS 'the connected components of the pairs of texts that a query yields: their smallest nodes, and how many nodes each has';
