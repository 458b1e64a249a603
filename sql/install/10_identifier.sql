
/* 10_identifier: one way to name somebody or something, namespace:value
 *
 * The text is normalised on input (src/types/identifier_norm.c), so that two
 * spellings of one address are equal before they reach a table.  Equality and
 * order go by bytes.
 */

-- identifier type

CREATE TYPE cdp.identifier;

CREATE FUNCTION cdp.identifier_in(cstring) RETURNS cdp.identifier
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_in';
COMMENT ON FUNCTION cdp.identifier_in(cstring) IS 'I/O';

CREATE FUNCTION cdp.identifier_out(cdp.identifier) RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_out';
COMMENT ON FUNCTION cdp.identifier_out(cdp.identifier) IS 'I/O';

CREATE FUNCTION cdp.identifier_recv(internal) RETURNS cdp.identifier
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_recv';
COMMENT ON FUNCTION cdp.identifier_recv(internal) IS 'I/O';

CREATE FUNCTION cdp.identifier_send(cdp.identifier) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_send';
COMMENT ON FUNCTION cdp.identifier_send(cdp.identifier) IS 'I/O';

-- At most 512 bytes: short headers, never out of line.
CREATE TYPE cdp.identifier (
	INPUT = cdp.identifier_in,
	OUTPUT = cdp.identifier_out,
	RECEIVE = cdp.identifier_recv,
	SEND = cdp.identifier_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = main
);
COMMENT ON TYPE cdp.identifier IS 'namespace:value in canonical form: one way to name a person, store, account …';

-- identifier constructors and accessors

CREATE FUNCTION cdp.identifier(text) RETURNS cdp.identifier
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier';
COMMENT ON FUNCTION cdp.identifier(text) IS 'normalise "namespace:value"';

CREATE FUNCTION cdp.identifier(namespace text, value text) RETURNS cdp.identifier
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_of';
COMMENT ON FUNCTION cdp.identifier(text, text) IS 'the identifier with this namespace and value, normalised';

CREATE FUNCTION cdp.phone_identifier(number text, region text) RETURNS cdp.identifier
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_phone_identifier';
COMMENT ON FUNCTION cdp.phone_identifier(text, text) IS 'the phone: identifier of a number as it is written in this region (ISO 3166), with its country code';

CREATE FUNCTION cdp.namespace(cdp.identifier) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_namespace';
COMMENT ON FUNCTION cdp.namespace(cdp.identifier) IS 'what comes before the first colon';

CREATE FUNCTION cdp.value(cdp.identifier) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_value';
COMMENT ON FUNCTION cdp.value(cdp.identifier) IS 'what comes after the first colon';

-- Aliases are the provider's affair, so the type itself does not fold them.
CREATE FUNCTION cdp.email_identifier(address text, fold_aliases boolean DEFAULT false) RETURNS cdp.identifier
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE
		WHEN NOT fold_aliases OR p.name = '' THEN cdp.identifier('email', address)
		WHEN p.domain IN ('gmail.com', 'googlemail.com') AND replace(p.name, '.', '') <> ''
			THEN cdp.identifier('email', replace(p.name, '.', '') || '@gmail.com')
		ELSE cdp.identifier('email', p.name || '@' || p.domain) END
	FROM (SELECT split_part(split_part(v, '@', 1), '+', 1) AS name, split_part(v, '@', 2) AS domain
		  FROM cdp.value(cdp.identifier('email', address)) v) p;
END;
COMMENT ON FUNCTION cdp.email_identifier(text, boolean)
	IS 'the email: identifier of an address; fold_aliases: without +tag, and at Gmail without dots';

-- identifier casts

CREATE CAST (text AS cdp.identifier) WITH FUNCTION cdp.identifier(text) AS IMPLICIT;
CREATE CAST (varchar AS cdp.identifier) WITH FUNCTION cdp.identifier(text) AS IMPLICIT;
-- With a function, although the bytes are the same: over a mere relabelling
-- PostgreSQL 18's planner looks for the collation of an index on identifiers,
-- which has none, when identifier::text is matched with a pattern.
CREATE FUNCTION cdp._identifier_text(identifier cdp.identifier) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__identifier_text';
COMMENT ON FUNCTION cdp._identifier_text(cdp.identifier) IS 'cast to text';
CREATE CAST (cdp.identifier AS text) WITH FUNCTION cdp._identifier_text(cdp.identifier) AS ASSIGNMENT;
CREATE CAST (cdp.identifier AS varchar) WITH FUNCTION cdp._identifier_text(cdp.identifier) AS ASSIGNMENT;

-- identifier operators

CREATE FUNCTION cdp.identifier_eq(cdp.identifier, cdp.identifier) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_eq';
COMMENT ON FUNCTION cdp.identifier_eq(cdp.identifier, cdp.identifier) IS 'implementation of = operator';

CREATE FUNCTION cdp.identifier_ne(cdp.identifier, cdp.identifier) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_ne';
COMMENT ON FUNCTION cdp.identifier_ne(cdp.identifier, cdp.identifier) IS 'implementation of <> operator';

CREATE FUNCTION cdp.identifier_lt(cdp.identifier, cdp.identifier) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_lt';
COMMENT ON FUNCTION cdp.identifier_lt(cdp.identifier, cdp.identifier) IS 'implementation of < operator';

CREATE FUNCTION cdp.identifier_le(cdp.identifier, cdp.identifier) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_le';
COMMENT ON FUNCTION cdp.identifier_le(cdp.identifier, cdp.identifier) IS 'implementation of <= operator';

CREATE FUNCTION cdp.identifier_gt(cdp.identifier, cdp.identifier) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_gt';
COMMENT ON FUNCTION cdp.identifier_gt(cdp.identifier, cdp.identifier) IS 'implementation of > operator';

CREATE FUNCTION cdp.identifier_ge(cdp.identifier, cdp.identifier) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_ge';
COMMENT ON FUNCTION cdp.identifier_ge(cdp.identifier, cdp.identifier) IS 'implementation of >= operator';

CREATE FUNCTION cdp.identifier_cmp(cdp.identifier, cdp.identifier) RETURNS int
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_cmp';
COMMENT ON FUNCTION cdp.identifier_cmp(cdp.identifier, cdp.identifier) IS 'less-equal-greater';

CREATE FUNCTION cdp.identifier_hash(cdp.identifier) RETURNS int
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_hash';
COMMENT ON FUNCTION cdp.identifier_hash(cdp.identifier) IS 'hash';

CREATE FUNCTION cdp.identifier_hash_extended(cdp.identifier, seed bigint) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_identifier_hash_extended';
COMMENT ON FUNCTION cdp.identifier_hash_extended(cdp.identifier, bigint) IS '64-bit hash';

CREATE OPERATOR cdp.= (
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier, FUNCTION = cdp.identifier_eq,
	COMMUTATOR = OPERATOR(cdp.=), NEGATOR = OPERATOR(cdp.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR cdp.= (cdp.identifier, cdp.identifier) IS 'equal, by bytes';

CREATE OPERATOR cdp.<> (
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier, FUNCTION = cdp.identifier_ne,
	COMMUTATOR = OPERATOR(cdp.<>), NEGATOR = OPERATOR(cdp.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR cdp.<> (cdp.identifier, cdp.identifier) IS 'not equal, by bytes';

CREATE OPERATOR cdp.< (
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier, FUNCTION = cdp.identifier_lt,
	COMMUTATOR = OPERATOR(cdp.>), NEGATOR = OPERATOR(cdp.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR cdp.< (cdp.identifier, cdp.identifier) IS 'less than, by bytes';

CREATE OPERATOR cdp.<= (
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier, FUNCTION = cdp.identifier_le,
	COMMUTATOR = OPERATOR(cdp.>=), NEGATOR = OPERATOR(cdp.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR cdp.<= (cdp.identifier, cdp.identifier) IS 'less than or equal, by bytes';

CREATE OPERATOR cdp.> (
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier, FUNCTION = cdp.identifier_gt,
	COMMUTATOR = OPERATOR(cdp.<), NEGATOR = OPERATOR(cdp.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR cdp.> (cdp.identifier, cdp.identifier) IS 'greater than, by bytes';

CREATE OPERATOR cdp.>= (
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier, FUNCTION = cdp.identifier_ge,
	COMMUTATOR = OPERATOR(cdp.<=), NEGATOR = OPERATOR(cdp.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR cdp.>= (cdp.identifier, cdp.identifier) IS 'greater than or equal, by bytes';

-- identifier operator classes

CREATE OPERATOR CLASS cdp.identifier_ops DEFAULT FOR TYPE cdp.identifier USING btree AS
	OPERATOR 1 cdp.<,
	OPERATOR 2 cdp.<=,
	OPERATOR 3 cdp.=,
	OPERATOR 4 cdp.>=,
	OPERATOR 5 cdp.>,
	FUNCTION 1 cdp.identifier_cmp(cdp.identifier, cdp.identifier),
	FUNCTION 4 pg_catalog.btequalimage(oid);

CREATE OPERATOR CLASS cdp.identifier_ops DEFAULT FOR TYPE cdp.identifier USING hash AS
	OPERATOR 1 cdp.=,
	FUNCTION 1 cdp.identifier_hash(cdp.identifier),
	FUNCTION 2 cdp.identifier_hash_extended(cdp.identifier, bigint);

-- identifier aggregates

CREATE FUNCTION cdp._identifier_smaller(cdp.identifier, cdp.identifier) RETURNS cdp.identifier
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__identifier_smaller';
COMMENT ON FUNCTION cdp._identifier_smaller(cdp.identifier, cdp.identifier) IS 'smaller of two';

CREATE FUNCTION cdp._identifier_larger(cdp.identifier, cdp.identifier) RETURNS cdp.identifier
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__identifier_larger';
COMMENT ON FUNCTION cdp._identifier_larger(cdp.identifier, cdp.identifier) IS 'larger of two';

CREATE AGGREGATE cdp.min(cdp.identifier) (
	SFUNC = cdp._identifier_smaller, STYPE = cdp.identifier, COMBINEFUNC = cdp._identifier_smaller,
	SORTOP = OPERATOR(cdp.<), PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.min(cdp.identifier) IS 'smallest identifier, by bytes';

CREATE AGGREGATE cdp.max(cdp.identifier) (
	SFUNC = cdp._identifier_larger, STYPE = cdp.identifier, COMBINEFUNC = cdp._identifier_larger,
	SORTOP = OPERATOR(cdp.>), PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.max(cdp.identifier) IS 'greatest identifier, by bytes';
