/* 18_components: who belongs together, from a query of pairs
 *
 * Toolkit: reads nothing but what the caller's query reads, with the caller's
 * rights (so everybody may call it, see 90_grants).
 */

CREATE FUNCTION cdp.connected_components(edges_query text, memory text DEFAULT NULL) RETURNS TABLE (node text, component text)
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1000000 AS 'MODULE_PATHNAME', 'mcdp_connected_components';
COMMENT ON FUNCTION cdp.connected_components(text, text)
	IS 'the connected components of the pairs of texts that a query yields: every node with the smallest node of its component';
