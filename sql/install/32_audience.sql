/* 32_audience: who satisfies a rule
 *
 * Both ways of asking read with the snapshot of the statement they stand in,
 * so they agree with each other and with everything else in that statement.
 */

CREATE FUNCTION cdp.audience(criteria cdp.criteria, at timestamptz DEFAULT now(), kind text DEFAULT 'person') RETURNS cdp.bitmap
LANGUAGE c STABLE STRICT PARALLEL SAFE SET jit = off AS 'MODULE_PATHNAME', 'mcdp_audience_set';
COMMENT ON FUNCTION cdp.audience(cdp.criteria, timestamptz, text) IS 'the canonical profiles of a kind that satisfy a rule';

CREATE FUNCTION cdp.audience_count(criteria cdp.criteria, at timestamptz DEFAULT now(), kind text DEFAULT 'person') RETURNS bigint
LANGUAGE c STABLE STRICT PARALLEL SAFE SET jit = off AS 'MODULE_PATHNAME', 'mcdp_audience_count';
COMMENT ON FUNCTION cdp.audience_count(cdp.criteria, timestamptz, text) IS 'how many canonical profiles of a kind satisfy a rule';

CREATE FUNCTION cdp.matches(profile bigint, criteria cdp.criteria, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_matches';
COMMENT ON FUNCTION cdp.matches(bigint, cdp.criteria, timestamptz) IS 'does a profile satisfy a rule? False for whoever is in no audience';

CREATE FUNCTION cdp._matches(profile bigint, rule cdp.criteria, at timestamptz, label text) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__matches';
COMMENT ON FUNCTION cdp._matches(bigint, cdp.criteria, timestamptz, text) IS 'matches, with [$] bound to a label';

CREATE FUNCTION cdp._audience_among(criteria cdp.criteria, among cdp.bitmap, at timestamptz, kind text) RETURNS cdp.bitmap
LANGUAGE c STABLE STRICT PARALLEL SAFE SET jit = off AS 'MODULE_PATHNAME', 'mcdp__audience_among';
COMMENT ON FUNCTION cdp._audience_among(cdp.criteria, cdp.bitmap, timestamptz, text) IS 'who of these profiles is in the audience; costs follow their number';

CREATE FUNCTION cdp._overlap(tags text[], at timestamptz, kind text, OUT a int, OUT b int, OUT in_both bigint) RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__overlap';
COMMENT ON FUNCTION cdp._overlap(text[], timestamptz, text) IS 'how many of the universe have both tags, for each pair of places in the array, a <= b';
