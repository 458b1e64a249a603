
/* 11_bitmap: a set of profile ids as one value
 *
 * Names as in pg_roaringbitmap, whose SQL carries over by search and replace;
 * ids are 0 .. 2^63-1.  Equal sets are equal bytes (src/types/bitmap.h).
 */

-- bitmap type

CREATE TYPE cdp.bitmap;

CREATE FUNCTION cdp.bitmap_in(cstring) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_in';
COMMENT ON FUNCTION cdp.bitmap_in(cstring) IS 'I/O';

CREATE FUNCTION cdp.bitmap_out(cdp.bitmap) RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_out';
COMMENT ON FUNCTION cdp.bitmap_out(cdp.bitmap) IS 'I/O';

CREATE FUNCTION cdp.bitmap_recv(internal) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_recv';
COMMENT ON FUNCTION cdp.bitmap_recv(internal) IS 'I/O';

CREATE FUNCTION cdp.bitmap_send(cdp.bitmap) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_send';
COMMENT ON FUNCTION cdp.bitmap_send(cdp.bitmap) IS 'I/O';

-- Roaring is compressed already, and rb_cardinality reads a slice only.
CREATE TYPE cdp.bitmap (
	INPUT = cdp.bitmap_in,
	OUTPUT = cdp.bitmap_out,
	RECEIVE = cdp.bitmap_recv,
	SEND = cdp.bitmap_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = external
);
COMMENT ON TYPE cdp.bitmap IS 'set of 64-bit profile ids, compressed (Roaring)';

-- bitmap constructors and casts

CREATE FUNCTION cdp.rb_build(bigint[]) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_build';
COMMENT ON FUNCTION cdp.rb_build(bigint[]) IS 'the set of the elements of an array';

CREATE FUNCTION cdp.bitmap(int[]) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_build';
COMMENT ON FUNCTION cdp.bitmap(int[]) IS 'the set of the elements of an array';

CREATE FUNCTION cdp.bitmap(bytea) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_from_bytea';
COMMENT ON FUNCTION cdp.bitmap(bytea) IS 'read the portable Roaring format, 64-bit or 32-bit';

CREATE FUNCTION cdp.rb_to_array(cdp.bitmap) RETURNS bigint[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_to_array';
COMMENT ON FUNCTION cdp.rb_to_array(cdp.bitmap) IS 'the ids in ascending order';

CREATE FUNCTION cdp.rb_to_int_array(cdp.bitmap) RETURNS int[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_to_int_array';
COMMENT ON FUNCTION cdp.rb_to_int_array(cdp.bitmap) IS 'the ids in ascending order; an error when one is no int';

CREATE FUNCTION cdp.rb_to_bytea(cdp.bitmap) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_to_bytea';
COMMENT ON FUNCTION cdp.rb_to_bytea(cdp.bitmap) IS 'write the 64-bit portable Roaring format';

CREATE CAST (bigint[] AS cdp.bitmap) WITH FUNCTION cdp.rb_build(bigint[]);
CREATE CAST (int[] AS cdp.bitmap) WITH FUNCTION cdp.bitmap(int[]);
CREATE CAST (bytea AS cdp.bitmap) WITH FUNCTION cdp.bitmap(bytea);
CREATE CAST (cdp.bitmap AS bigint[]) WITH FUNCTION cdp.rb_to_array(cdp.bitmap);
CREATE CAST (cdp.bitmap AS int[]) WITH FUNCTION cdp.rb_to_int_array(cdp.bitmap);
CREATE CAST (cdp.bitmap AS bytea) WITH FUNCTION cdp.rb_to_bytea(cdp.bitmap);

-- bitmap accessors

CREATE FUNCTION cdp.rb_cardinality(cdp.bitmap) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_cardinality';
COMMENT ON FUNCTION cdp.rb_cardinality(cdp.bitmap) IS 'number of ids';

CREATE FUNCTION cdp.rb_is_empty(cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_is_empty';
COMMENT ON FUNCTION cdp.rb_is_empty(cdp.bitmap) IS 'has it no id?';

CREATE FUNCTION cdp.rb_min(cdp.bitmap) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_min';
COMMENT ON FUNCTION cdp.rb_min(cdp.bitmap) IS 'smallest id; NULL when empty';

CREATE FUNCTION cdp.rb_max(cdp.bitmap) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_max';
COMMENT ON FUNCTION cdp.rb_max(cdp.bitmap) IS 'greatest id; NULL when empty';

CREATE FUNCTION cdp.rb_rank(cdp.bitmap, id bigint) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_rank';
COMMENT ON FUNCTION cdp.rb_rank(cdp.bitmap, bigint) IS 'number of ids that are <= id';

CREATE FUNCTION cdp.rb_index(cdp.bitmap, id bigint) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_index';
COMMENT ON FUNCTION cdp.rb_index(cdp.bitmap, bigint) IS 'position of id, from 0; -1 when it is not there';

CREATE FUNCTION cdp.rb_range_cardinality(cdp.bitmap, since bigint, until bigint) RETURNS bigint
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_range_cardinality';
COMMENT ON FUNCTION cdp.rb_range_cardinality(cdp.bitmap, bigint, bigint) IS 'number of ids in [since, until); NULL is no bound';

CREATE FUNCTION cdp.rb_iterate_support(internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_iterate_support';
COMMENT ON FUNCTION cdp.rb_iterate_support(internal) IS 'planner support of rb_iterate';

CREATE FUNCTION cdp.rb_iterate(cdp.bitmap) RETURNS SETOF bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1000 SUPPORT cdp.rb_iterate_support AS 'MODULE_PATHNAME', 'mcdp_rb_iterate';
COMMENT ON FUNCTION cdp.rb_iterate(cdp.bitmap) IS 'the ids as rows, ascending';

-- bitmap changes

CREATE FUNCTION cdp.rb_add(cdp.bitmap, id bigint) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_add';
COMMENT ON FUNCTION cdp.rb_add(cdp.bitmap, bigint) IS 'with id';

CREATE FUNCTION cdp.rb_remove(cdp.bitmap, id bigint) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_remove';
COMMENT ON FUNCTION cdp.rb_remove(cdp.bitmap, bigint) IS 'without id';

CREATE FUNCTION cdp.rb_fill(cdp.bitmap, since bigint, until bigint) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_fill';
COMMENT ON FUNCTION cdp.rb_fill(cdp.bitmap, bigint, bigint) IS 'with every id in [since, until); NULL is no bound';

CREATE FUNCTION cdp.rb_clear(cdp.bitmap, since bigint, until bigint) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_clear';
COMMENT ON FUNCTION cdp.rb_clear(cdp.bitmap, bigint, bigint) IS 'without the ids in [since, until); NULL is no bound';

CREATE FUNCTION cdp.rb_flip(cdp.bitmap, since bigint, until bigint) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_flip';
COMMENT ON FUNCTION cdp.rb_flip(cdp.bitmap, bigint, bigint) IS 'in [since, until), the ids that were not there; NULL is no bound';

CREATE FUNCTION cdp.rb_range(cdp.bitmap, since bigint, until bigint) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_range';
COMMENT ON FUNCTION cdp.rb_range(cdp.bitmap, bigint, bigint) IS 'only the ids in [since, until); NULL is no bound';

CREATE FUNCTION cdp.rb_select(cdp.bitmap, bitset_limit bigint, bitset_offset bigint DEFAULT 0, reverse boolean DEFAULT false, since bigint DEFAULT NULL, until bigint DEFAULT NULL) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_select';
COMMENT ON FUNCTION cdp.rb_select(cdp.bitmap, bigint, bigint, boolean, bigint, bigint) IS 'of the ids in [since, until), leave out bitset_offset and take bitset_limit, from the end when reverse';

CREATE FUNCTION cdp.rb_runoptimize(cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_runoptimize';
COMMENT ON FUNCTION cdp.rb_runoptimize(cdp.bitmap) IS 'the same bitmap: every stored one is optimised';

CREATE FUNCTION cdp.rb_sample(cdp.bitmap, n bigint, seed text) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_sample';
COMMENT ON FUNCTION cdp.rb_sample(cdp.bitmap, bigint, text) IS 'n of the ids, the same ones for the same seed';

-- bitmap algebra

CREATE FUNCTION cdp.rb_and(cdp.bitmap, cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_and';
COMMENT ON FUNCTION cdp.rb_and(cdp.bitmap, cdp.bitmap) IS 'the ids in both';

CREATE FUNCTION cdp.rb_or(cdp.bitmap, cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_or';
COMMENT ON FUNCTION cdp.rb_or(cdp.bitmap, cdp.bitmap) IS 'the ids in one or both';

CREATE FUNCTION cdp.rb_xor(cdp.bitmap, cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_xor';
COMMENT ON FUNCTION cdp.rb_xor(cdp.bitmap, cdp.bitmap) IS 'the ids in exactly one';

CREATE FUNCTION cdp.rb_andnot(cdp.bitmap, cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_andnot';
COMMENT ON FUNCTION cdp.rb_andnot(cdp.bitmap, cdp.bitmap) IS 'the ids in the first and not in the second';

CREATE FUNCTION cdp.rb_and_cardinality(cdp.bitmap, cdp.bitmap) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_and_cardinality';
COMMENT ON FUNCTION cdp.rb_and_cardinality(cdp.bitmap, cdp.bitmap) IS 'number of ids in both';

CREATE FUNCTION cdp.rb_or_cardinality(cdp.bitmap, cdp.bitmap) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_or_cardinality';
COMMENT ON FUNCTION cdp.rb_or_cardinality(cdp.bitmap, cdp.bitmap) IS 'number of ids in one or both';

CREATE FUNCTION cdp.rb_xor_cardinality(cdp.bitmap, cdp.bitmap) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_xor_cardinality';
COMMENT ON FUNCTION cdp.rb_xor_cardinality(cdp.bitmap, cdp.bitmap) IS 'number of ids in exactly one';

CREATE FUNCTION cdp.rb_andnot_cardinality(cdp.bitmap, cdp.bitmap) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_andnot_cardinality';
COMMENT ON FUNCTION cdp.rb_andnot_cardinality(cdp.bitmap, cdp.bitmap) IS 'number of ids in the first and not in the second';

CREATE FUNCTION cdp.rb_jaccard_dist(cdp.bitmap, cdp.bitmap) RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_jaccard_dist';
COMMENT ON FUNCTION cdp.rb_jaccard_dist(cdp.bitmap, cdp.bitmap) IS 'Jaccard similarity: ids in both / ids in one or both; NaN for two empty ones';

CREATE FUNCTION cdp.rb_equals(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_eq';
COMMENT ON FUNCTION cdp.rb_equals(cdp.bitmap, cdp.bitmap) IS 'have they the same ids?';

CREATE FUNCTION cdp.rb_intersect(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_intersect';
COMMENT ON FUNCTION cdp.rb_intersect(cdp.bitmap, cdp.bitmap) IS 'have they an id in common?';

CREATE FUNCTION cdp.rb_contains(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_contains';
COMMENT ON FUNCTION cdp.rb_contains(cdp.bitmap, cdp.bitmap) IS 'is every id of the second in the first?';

CREATE FUNCTION cdp.rb_contained(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_contained';
COMMENT ON FUNCTION cdp.rb_contained(cdp.bitmap, cdp.bitmap) IS 'is every id of the first in the second?';

CREATE FUNCTION cdp.rb_contains_support(internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_contains_support';
COMMENT ON FUNCTION cdp.rb_contains_support(internal) IS 'planner support of rb_contains: index on the id';

CREATE FUNCTION cdp.rb_contains_sel(internal, oid, internal, int) RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_contains_sel';
COMMENT ON FUNCTION cdp.rb_contains_sel(internal, oid, internal, int) IS 'selectivity of membership';

CREATE FUNCTION cdp.rb_set_sel(internal, oid, internal, int) RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_set_sel';
COMMENT ON FUNCTION cdp.rb_set_sel(internal, oid, internal, int) IS 'selectivity of containing and overlapping';

CREATE FUNCTION cdp.rb_set_joinsel(internal, oid, internal, smallint, internal) RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_set_joinsel';
COMMENT ON FUNCTION cdp.rb_set_joinsel(internal, oid, internal, smallint, internal) IS 'join selectivity of containing and overlapping';

CREATE FUNCTION cdp.rb_contains(cdp.bitmap, id bigint) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT cdp.rb_contains_support AS 'MODULE_PATHNAME', 'mcdp_rb_contains_id';
COMMENT ON FUNCTION cdp.rb_contains(cdp.bitmap, bigint) IS 'is id in the bitmap?';

CREATE FUNCTION cdp.rb_contained(id bigint, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SUPPORT cdp.rb_contains_support AS 'MODULE_PATHNAME', 'mcdp_rb_id_contained';
COMMENT ON FUNCTION cdp.rb_contained(bigint, cdp.bitmap) IS 'is id in the bitmap?';

CREATE FUNCTION cdp._rb_keys(cdp.bitmap) RETURNS bigint[]
LANGUAGE C VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_to_array';
COMMENT ON FUNCTION cdp._rb_keys(cdp.bitmap) IS 'rb_to_array for index conditions: volatile, so that the planner leaves it alone';

CREATE FUNCTION cdp._rb_id_or(id bigint, cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_id_or';
COMMENT ON FUNCTION cdp._rb_id_or(bigint, cdp.bitmap) IS 'implementation of | operator';

-- bitmap aggregates

CREATE FUNCTION cdp.rb_build_transfn(cdp.bitmap, bigint) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_build_transfn';
COMMENT ON FUNCTION cdp.rb_build_transfn(cdp.bitmap, bigint) IS 'transition of rb_build_agg';

CREATE FUNCTION cdp.rb_or_transfn(cdp.bitmap, cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_or_transfn';
COMMENT ON FUNCTION cdp.rb_or_transfn(cdp.bitmap, cdp.bitmap) IS 'transition of rb_or_agg';

CREATE FUNCTION cdp.rb_and_transfn(cdp.bitmap, cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_and_transfn';
COMMENT ON FUNCTION cdp.rb_and_transfn(cdp.bitmap, cdp.bitmap) IS 'transition of rb_and_agg';

CREATE FUNCTION cdp.rb_xor_transfn(cdp.bitmap, cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_rb_xor_transfn';
COMMENT ON FUNCTION cdp.rb_xor_transfn(cdp.bitmap, cdp.bitmap) IS 'transition of rb_xor_agg';

CREATE AGGREGATE cdp.rb_build_agg(bigint) (
	SFUNC = cdp.rb_build_transfn,
	STYPE = cdp.bitmap,
	COMBINEFUNC = cdp.rb_or_transfn,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.rb_build_agg(bigint) IS 'the set of the ids; NULLs are skipped';

CREATE AGGREGATE cdp.rb_build_cardinality_agg(bigint) (
	SFUNC = cdp.rb_build_transfn,
	STYPE = cdp.bitmap,
	FINALFUNC = cdp.rb_cardinality,
	COMBINEFUNC = cdp.rb_or_transfn,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.rb_build_cardinality_agg(bigint) IS 'number of different ids; NULLs are skipped';

CREATE AGGREGATE cdp.rb_or_agg(cdp.bitmap) (
	SFUNC = cdp.rb_or_transfn,
	STYPE = cdp.bitmap,
	COMBINEFUNC = cdp.rb_or_transfn,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.rb_or_agg(cdp.bitmap) IS 'the ids in any of the bitmaps; NULLs are skipped';

CREATE AGGREGATE cdp.rb_or_cardinality_agg(cdp.bitmap) (
	SFUNC = cdp.rb_or_transfn,
	STYPE = cdp.bitmap,
	FINALFUNC = cdp.rb_cardinality,
	COMBINEFUNC = cdp.rb_or_transfn,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.rb_or_cardinality_agg(cdp.bitmap) IS 'number of ids in any of the bitmaps; NULLs are skipped';

CREATE AGGREGATE cdp.rb_and_agg(cdp.bitmap) (
	SFUNC = cdp.rb_and_transfn,
	STYPE = cdp.bitmap,
	COMBINEFUNC = cdp.rb_and_transfn,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.rb_and_agg(cdp.bitmap) IS 'the ids in all of the bitmaps; NULLs are skipped';

CREATE AGGREGATE cdp.rb_and_cardinality_agg(cdp.bitmap) (
	SFUNC = cdp.rb_and_transfn,
	STYPE = cdp.bitmap,
	FINALFUNC = cdp.rb_cardinality,
	COMBINEFUNC = cdp.rb_and_transfn,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.rb_and_cardinality_agg(cdp.bitmap) IS 'number of ids in all of the bitmaps; NULLs are skipped';

CREATE AGGREGATE cdp.rb_xor_agg(cdp.bitmap) (
	SFUNC = cdp.rb_xor_transfn,
	STYPE = cdp.bitmap,
	COMBINEFUNC = cdp.rb_xor_transfn,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.rb_xor_agg(cdp.bitmap) IS 'the ids in an odd number of the bitmaps; NULLs are skipped';

CREATE AGGREGATE cdp.rb_xor_cardinality_agg(cdp.bitmap) (
	SFUNC = cdp.rb_xor_transfn,
	STYPE = cdp.bitmap,
	FINALFUNC = cdp.rb_cardinality,
	COMBINEFUNC = cdp.rb_xor_transfn,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.rb_xor_cardinality_agg(cdp.bitmap) IS 'number of ids in an odd number of the bitmaps; NULLs are skipped';

-- bitmap operators

CREATE OPERATOR cdp.& (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.rb_and,
	COMMUTATOR = OPERATOR(cdp.&)
);
COMMENT ON OPERATOR cdp.& (cdp.bitmap, cdp.bitmap) IS 'the ids in both';

CREATE OPERATOR cdp.| (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.rb_or,
	COMMUTATOR = OPERATOR(cdp.|)
);
COMMENT ON OPERATOR cdp.| (cdp.bitmap, cdp.bitmap) IS 'the ids in one or both';

CREATE OPERATOR cdp.# (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.rb_xor,
	COMMUTATOR = OPERATOR(cdp.#)
);
COMMENT ON OPERATOR cdp.# (cdp.bitmap, cdp.bitmap) IS 'the ids in exactly one';

CREATE OPERATOR cdp.- (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.rb_andnot
);
COMMENT ON OPERATOR cdp.- (cdp.bitmap, cdp.bitmap) IS 'the ids in the left one and not in the right one';

CREATE OPERATOR cdp.| (
	LEFTARG = cdp.bitmap, RIGHTARG = bigint, FUNCTION = cdp.rb_add,
	COMMUTATOR = OPERATOR(cdp.|)
);
COMMENT ON OPERATOR cdp.| (cdp.bitmap, bigint) IS 'with the id';

CREATE OPERATOR cdp.| (
	LEFTARG = bigint, RIGHTARG = cdp.bitmap, FUNCTION = cdp._rb_id_or,
	COMMUTATOR = OPERATOR(cdp.|)
);
COMMENT ON OPERATOR cdp.| (bigint, cdp.bitmap) IS 'with the id';

CREATE OPERATOR cdp.- (
	LEFTARG = cdp.bitmap, RIGHTARG = bigint, FUNCTION = cdp.rb_remove
);
COMMENT ON OPERATOR cdp.- (cdp.bitmap, bigint) IS 'without the id';

CREATE OPERATOR cdp.@> (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.rb_contains,
	COMMUTATOR = OPERATOR(cdp.<@),
	RESTRICT = cdp.rb_set_sel, JOIN = cdp.rb_set_joinsel
);
COMMENT ON OPERATOR cdp.@> (cdp.bitmap, cdp.bitmap) IS 'contains every id of';

CREATE OPERATOR cdp.<@ (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.rb_contained,
	COMMUTATOR = OPERATOR(cdp.@>),
	RESTRICT = cdp.rb_set_sel, JOIN = cdp.rb_set_joinsel
);
COMMENT ON OPERATOR cdp.<@ (cdp.bitmap, cdp.bitmap) IS 'every id is in';

CREATE OPERATOR cdp.@> (
	LEFTARG = cdp.bitmap, RIGHTARG = bigint, FUNCTION = cdp.rb_contains,
	COMMUTATOR = OPERATOR(cdp.<@),
	RESTRICT = cdp.rb_contains_sel, JOIN = cdp.rb_set_joinsel
);
COMMENT ON OPERATOR cdp.@> (cdp.bitmap, bigint) IS 'contains the id';

CREATE OPERATOR cdp.<@ (
	LEFTARG = bigint, RIGHTARG = cdp.bitmap, FUNCTION = cdp.rb_contained,
	COMMUTATOR = OPERATOR(cdp.@>),
	RESTRICT = cdp.rb_contains_sel, JOIN = cdp.rb_set_joinsel
);
COMMENT ON OPERATOR cdp.<@ (bigint, cdp.bitmap) IS 'the id is in';

CREATE OPERATOR cdp.&& (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.rb_intersect,
	COMMUTATOR = OPERATOR(cdp.&&),
	RESTRICT = cdp.rb_set_sel, JOIN = cdp.rb_set_joinsel
);
COMMENT ON OPERATOR cdp.&& (cdp.bitmap, cdp.bitmap) IS 'have ids in common';

-- bitmap comparison

CREATE FUNCTION cdp.bitmap_eq(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_eq';
COMMENT ON FUNCTION cdp.bitmap_eq(cdp.bitmap, cdp.bitmap) IS 'implementation of = operator';

CREATE FUNCTION cdp.bitmap_ne(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_ne';
COMMENT ON FUNCTION cdp.bitmap_ne(cdp.bitmap, cdp.bitmap) IS 'implementation of <> operator';

CREATE FUNCTION cdp.bitmap_lt(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_lt';
COMMENT ON FUNCTION cdp.bitmap_lt(cdp.bitmap, cdp.bitmap) IS 'implementation of < operator';

CREATE FUNCTION cdp.bitmap_le(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_le';
COMMENT ON FUNCTION cdp.bitmap_le(cdp.bitmap, cdp.bitmap) IS 'implementation of <= operator';

CREATE FUNCTION cdp.bitmap_gt(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_gt';
COMMENT ON FUNCTION cdp.bitmap_gt(cdp.bitmap, cdp.bitmap) IS 'implementation of > operator';

CREATE FUNCTION cdp.bitmap_ge(cdp.bitmap, cdp.bitmap) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_ge';
COMMENT ON FUNCTION cdp.bitmap_ge(cdp.bitmap, cdp.bitmap) IS 'implementation of >= operator';

CREATE FUNCTION cdp.bitmap_cmp(cdp.bitmap, cdp.bitmap) RETURNS int
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_cmp';
COMMENT ON FUNCTION cdp.bitmap_cmp(cdp.bitmap, cdp.bitmap) IS 'less-equal-greater';

CREATE FUNCTION cdp.bitmap_hash(cdp.bitmap) RETURNS int
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_hash';
COMMENT ON FUNCTION cdp.bitmap_hash(cdp.bitmap) IS 'hash';

CREATE FUNCTION cdp.bitmap_hash_extended(cdp.bitmap, seed bigint) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_bitmap_hash_extended';
COMMENT ON FUNCTION cdp.bitmap_hash_extended(cdp.bitmap, bigint) IS '64-bit hash';

CREATE OPERATOR cdp.= (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.bitmap_eq,
	COMMUTATOR = OPERATOR(cdp.=), NEGATOR = OPERATOR(cdp.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR cdp.= (cdp.bitmap, cdp.bitmap) IS 'same ids';

CREATE OPERATOR cdp.<> (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.bitmap_ne,
	COMMUTATOR = OPERATOR(cdp.<>), NEGATOR = OPERATOR(cdp.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR cdp.<> (cdp.bitmap, cdp.bitmap) IS 'not the same ids';

CREATE OPERATOR cdp.< (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.bitmap_lt,
	COMMUTATOR = OPERATOR(cdp.>), NEGATOR = OPERATOR(cdp.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR cdp.< (cdp.bitmap, cdp.bitmap) IS 'before, in a fixed order: fewer ids first';

CREATE OPERATOR cdp.<= (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.bitmap_le,
	COMMUTATOR = OPERATOR(cdp.>=), NEGATOR = OPERATOR(cdp.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR cdp.<= (cdp.bitmap, cdp.bitmap) IS 'before or equal, in a fixed order: fewer ids first';

CREATE OPERATOR cdp.> (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.bitmap_gt,
	COMMUTATOR = OPERATOR(cdp.<), NEGATOR = OPERATOR(cdp.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR cdp.> (cdp.bitmap, cdp.bitmap) IS 'after, in a fixed order: fewer ids first';

CREATE OPERATOR cdp.>= (
	LEFTARG = cdp.bitmap, RIGHTARG = cdp.bitmap, FUNCTION = cdp.bitmap_ge,
	COMMUTATOR = OPERATOR(cdp.<=), NEGATOR = OPERATOR(cdp.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR cdp.>= (cdp.bitmap, cdp.bitmap) IS 'after or equal, in a fixed order: fewer ids first';

-- bitmap operator classes

CREATE OPERATOR CLASS cdp.bitmap_ops DEFAULT FOR TYPE cdp.bitmap USING btree AS
	OPERATOR 1 cdp.<, OPERATOR 2 cdp.<=, OPERATOR 3 cdp.=, OPERATOR 4 cdp.>=, OPERATOR 5 cdp.>,
	FUNCTION 1 cdp.bitmap_cmp(cdp.bitmap, cdp.bitmap),
	FUNCTION 4 pg_catalog.btequalimage(oid);

CREATE OPERATOR CLASS cdp.bitmap_ops DEFAULT FOR TYPE cdp.bitmap USING hash AS
	OPERATOR 1 cdp.=,
	FUNCTION 1 cdp.bitmap_hash(cdp.bitmap),
	FUNCTION 2 cdp.bitmap_hash_extended(cdp.bitmap, bigint);
