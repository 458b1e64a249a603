
/* 13_criteria: the rule language
 *
 * A criteria value is a parsed rule: who is in, who is out.  Text is read once
 * (src/types/criteria_gram.y) and printed canonically; two texts of one rule
 * are one value.
 */

-- criteria type

CREATE TYPE cdp.criteria;

CREATE FUNCTION cdp.criteria_in(cstring) RETURNS cdp.criteria
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_in';
COMMENT ON FUNCTION cdp.criteria_in(cstring) IS 'I/O';

CREATE FUNCTION cdp.criteria_out(cdp.criteria) RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_out';
COMMENT ON FUNCTION cdp.criteria_out(cdp.criteria) IS 'I/O';

CREATE FUNCTION cdp.criteria_recv(internal) RETURNS cdp.criteria
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_recv';
COMMENT ON FUNCTION cdp.criteria_recv(internal) IS 'I/O';

CREATE FUNCTION cdp.criteria_send(cdp.criteria) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_send';
COMMENT ON FUNCTION cdp.criteria_send(cdp.criteria) IS 'I/O';

CREATE TYPE cdp.criteria (
	INPUT = cdp.criteria_in,
	OUTPUT = cdp.criteria_out,
	RECEIVE = cdp.criteria_recv,
	SEND = cdp.criteria_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE cdp.criteria IS 'a parsed rule: tags, traits and behaviour, joined by & | !';

-- criteria casts

CREATE CAST (text AS cdp.criteria) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (text AS cdp.criteria) IS 'parse a rule';
CREATE CAST (varchar AS cdp.criteria) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (varchar AS cdp.criteria) IS 'parse a rule';
CREATE CAST (cdp.criteria AS text) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (cdp.criteria AS text) IS 'canonical text of a rule';
CREATE CAST (cdp.criteria AS varchar) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (cdp.criteria AS varchar) IS 'canonical text of a rule';

-- criteria comparison

CREATE FUNCTION cdp.criteria_eq(cdp.criteria, cdp.criteria) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_eq';
COMMENT ON FUNCTION cdp.criteria_eq(cdp.criteria, cdp.criteria) IS 'implementation of = operator';

CREATE FUNCTION cdp.criteria_ne(cdp.criteria, cdp.criteria) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_ne';
COMMENT ON FUNCTION cdp.criteria_ne(cdp.criteria, cdp.criteria) IS 'implementation of <> operator';

CREATE FUNCTION cdp.criteria_lt(cdp.criteria, cdp.criteria) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_lt';
COMMENT ON FUNCTION cdp.criteria_lt(cdp.criteria, cdp.criteria) IS 'implementation of < operator';

CREATE FUNCTION cdp.criteria_le(cdp.criteria, cdp.criteria) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_le';
COMMENT ON FUNCTION cdp.criteria_le(cdp.criteria, cdp.criteria) IS 'implementation of <= operator';

CREATE FUNCTION cdp.criteria_gt(cdp.criteria, cdp.criteria) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_gt';
COMMENT ON FUNCTION cdp.criteria_gt(cdp.criteria, cdp.criteria) IS 'implementation of > operator';

CREATE FUNCTION cdp.criteria_ge(cdp.criteria, cdp.criteria) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_ge';
COMMENT ON FUNCTION cdp.criteria_ge(cdp.criteria, cdp.criteria) IS 'implementation of >= operator';

CREATE FUNCTION cdp.criteria_cmp(cdp.criteria, cdp.criteria) RETURNS int
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_cmp';
COMMENT ON FUNCTION cdp.criteria_cmp(cdp.criteria, cdp.criteria) IS 'less-equal-greater';

CREATE FUNCTION cdp.criteria_hash(cdp.criteria) RETURNS int
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_hash';
COMMENT ON FUNCTION cdp.criteria_hash(cdp.criteria) IS 'hash';

CREATE FUNCTION cdp.criteria_hash_extended(cdp.criteria, bigint) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_hash_extended';
COMMENT ON FUNCTION cdp.criteria_hash_extended(cdp.criteria, bigint) IS 'hash';

-- criteria algebra

CREATE FUNCTION cdp.criteria_and(cdp.criteria, cdp.criteria) RETURNS cdp.criteria
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_and';
COMMENT ON FUNCTION cdp.criteria_and(cdp.criteria, cdp.criteria) IS 'implementation of & operator';

CREATE FUNCTION cdp.criteria_or(cdp.criteria, cdp.criteria) RETURNS cdp.criteria
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_or';
COMMENT ON FUNCTION cdp.criteria_or(cdp.criteria, cdp.criteria) IS 'implementation of | operator';

CREATE FUNCTION cdp.criteria_not(cdp.criteria) RETURNS cdp.criteria
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_criteria_not';
COMMENT ON FUNCTION cdp.criteria_not(cdp.criteria) IS 'implementation of ! operator';

-- criteria operators

CREATE OPERATOR cdp.= (
	LEFTARG = cdp.criteria, RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_eq,
	COMMUTATOR = OPERATOR(cdp.=), NEGATOR = OPERATOR(cdp.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR cdp.= (cdp.criteria, cdp.criteria) IS 'the same rule';
CREATE OPERATOR cdp.<> (
	LEFTARG = cdp.criteria, RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_ne,
	COMMUTATOR = OPERATOR(cdp.<>), NEGATOR = OPERATOR(cdp.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR cdp.<> (cdp.criteria, cdp.criteria) IS 'different rules';
CREATE OPERATOR cdp.< (
	LEFTARG = cdp.criteria, RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_lt,
	COMMUTATOR = OPERATOR(cdp.>), NEGATOR = OPERATOR(cdp.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR cdp.< (cdp.criteria, cdp.criteria) IS 'less, in the order of indexes';
CREATE OPERATOR cdp.<= (
	LEFTARG = cdp.criteria, RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_le,
	COMMUTATOR = OPERATOR(cdp.>=), NEGATOR = OPERATOR(cdp.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR cdp.<= (cdp.criteria, cdp.criteria) IS 'less or equal, in the order of indexes';
CREATE OPERATOR cdp.> (
	LEFTARG = cdp.criteria, RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_gt,
	COMMUTATOR = OPERATOR(cdp.<), NEGATOR = OPERATOR(cdp.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR cdp.> (cdp.criteria, cdp.criteria) IS 'greater, in the order of indexes';
CREATE OPERATOR cdp.>= (
	LEFTARG = cdp.criteria, RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_ge,
	COMMUTATOR = OPERATOR(cdp.<=), NEGATOR = OPERATOR(cdp.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR cdp.>= (cdp.criteria, cdp.criteria) IS 'greater or equal, in the order of indexes';

CREATE OPERATOR cdp.& (
	LEFTARG = cdp.criteria, RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_and
);
COMMENT ON OPERATOR cdp.& (cdp.criteria, cdp.criteria) IS 'both rules hold';
CREATE OPERATOR cdp.| (
	LEFTARG = cdp.criteria, RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_or
);
COMMENT ON OPERATOR cdp.| (cdp.criteria, cdp.criteria) IS 'one of the rules holds, or both';
CREATE OPERATOR cdp.! (
	RIGHTARG = cdp.criteria, FUNCTION = cdp.criteria_not
);
COMMENT ON OPERATOR cdp.! (NONE, cdp.criteria) IS 'the rule does not hold';

-- criteria operator classes

CREATE OPERATOR CLASS cdp.criteria_ops
	DEFAULT FOR TYPE cdp.criteria USING btree AS
	OPERATOR 1 cdp.< ,
	OPERATOR 2 cdp.<= ,
	OPERATOR 3 cdp.= ,
	OPERATOR 4 cdp.>= ,
	OPERATOR 5 cdp.> ,
	FUNCTION 1 cdp.criteria_cmp(cdp.criteria, cdp.criteria);
COMMENT ON OPERATOR CLASS cdp.criteria_ops USING btree IS 'order by bytes';

CREATE OPERATOR CLASS cdp.criteria_ops
	DEFAULT FOR TYPE cdp.criteria USING hash AS
	OPERATOR 1 cdp.= ,
	FUNCTION 1 cdp.criteria_hash(cdp.criteria),
	FUNCTION 2 cdp.criteria_hash_extended(cdp.criteria, bigint);
COMMENT ON OPERATOR CLASS cdp.criteria_ops USING hash IS 'equality by bytes';

-- criteria evaluation

CREATE FUNCTION cdp.criteria_holds(rule cdp.criteria, history cdp.timeline, at timestamptz, tags text[] DEFAULT '{}', traits jsonb DEFAULT '{}', label text DEFAULT NULL, label_sets jsonb DEFAULT '{}') RETURNS boolean
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'mcdp_criteria_holds_fn';
COMMENT ON FUNCTION cdp.criteria_holds(cdp.criteria, cdp.timeline, timestamptz, text[], jsonb, text, jsonb) IS 'does the rule hold at an instant for somebody with this history, these tags and traits; label is what [$] stands for, label_sets are arrays of labels by name';

-- what a rule names: each once, in bytewise order

CREATE FUNCTION cdp._criteria_tags(cdp.criteria) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__criteria_tags';
COMMENT ON FUNCTION cdp._criteria_tags(cdp.criteria) IS 'the tags that a rule asks for (segment:x, lifecycle:y and the like included)';

CREATE FUNCTION cdp._criteria_traits(cdp.criteria) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__criteria_traits';
COMMENT ON FUNCTION cdp._criteria_traits(cdp.criteria) IS 'the traits that a rule asks for';

CREATE FUNCTION cdp._criteria_events(cdp.criteria) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__criteria_events';
COMMENT ON FUNCTION cdp._criteria_events(cdp.criteria) IS 'the events that a rule asks for; * among them when every event counts';

CREATE FUNCTION cdp._criteria_label_sets(cdp.criteria) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__criteria_label_sets';
COMMENT ON FUNCTION cdp._criteria_label_sets(cdp.criteria) IS 'the label sets that a rule asks for';

CREATE FUNCTION cdp._criteria_has_free_label(cdp.criteria) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__criteria_has_free_label';
COMMENT ON FUNCTION cdp._criteria_has_free_label(cdp.criteria) IS 'is there a [$] that no any() of the rule binds?';
