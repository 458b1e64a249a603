/*-------------------------------------------------------------------------
 *
 * rbuf_library.h
 *	  CRoaring, whoever else has brought one along.
 *
 * PostgreSQL loads libraries with RTLD_GLOBAL, and before 16 an extension
 * exports all it has.  One that carries a CRoaring of its own (pg_roaringbitmap
 * does) would take our calls, or we its: other versions, other ways to
 * allocate, a crashed server.  So the library is not linked but opened in a
 * scope of its own, and its functions are called through a table.  Code goes
 * on writing roaring_bitmap_add(…).
 *
 * CRoaring 1.0 and later (it has roaring/memory.h) is linked as usual: systems
 * that have it have a PostgreSQL that hides symbols.  There, and where
 * MCDP_LINK_ROARING asks for it (the fuzzer), loading only checks whose calls
 * we would get.
 *
 * Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_library.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RBUF_LIBRARY_H
#define MCDP_RBUF_LIBRARY_H

#include <roaring/roaring.h>

/* Raises an error when there is no CRoaring to be trusted. */
extern void mcdp_rbuf_load_library(void);

#if !defined(MCDP_LINK_ROARING) && !__has_include(<roaring/memory.h>)
#define MCDP_ROARING_TABLE

#define MCDP_ROARING_FUNCTIONS(F) \
	F(roaring_bitmap_add) \
	F(roaring_bitmap_add_many) \
	F(roaring_bitmap_add_range_closed) \
	F(roaring_bitmap_and_cardinality) \
	F(roaring_bitmap_and_inplace) \
	F(roaring_bitmap_andnot_inplace) \
	F(roaring_bitmap_copy) \
	F(roaring_bitmap_create) \
	F(roaring_bitmap_equals) \
	F(roaring_bitmap_flip_inplace) \
	F(roaring_bitmap_free) \
	F(roaring_bitmap_get_cardinality) \
	F(roaring_bitmap_intersect) \
	F(roaring_bitmap_is_empty) \
	F(roaring_bitmap_is_subset) \
	F(roaring_bitmap_maximum) \
	F(roaring_bitmap_minimum) \
	F(roaring_bitmap_or_inplace) \
	F(roaring_bitmap_portable_deserialize_safe) \
	F(roaring_bitmap_portable_serialize) \
	F(roaring_bitmap_portable_size_in_bytes) \
	F(roaring_bitmap_range_cardinality) \
	F(roaring_bitmap_rank) \
	F(roaring_bitmap_remove) \
	F(roaring_bitmap_remove_range_closed) \
	F(roaring_bitmap_run_optimize) \
	F(roaring_bitmap_select) \
	F(roaring_bitmap_xor_inplace) \
	F(roaring_init_iterator) \
	F(roaring_move_uint32_iterator_equalorlarger) \
	F(roaring_read_uint32_iterator)

typedef struct McdpRoaring
{
#define MEMBER(name) __typeof__(name) *name;
	MCDP_ROARING_FUNCTIONS(MEMBER)
#undef MEMBER
} McdpRoaring;

extern McdpRoaring mcdp_roaring;

#ifndef MCDP_RBUF_LIBRARY_C
#define roaring_bitmap_add mcdp_roaring.roaring_bitmap_add
#define roaring_bitmap_add_many mcdp_roaring.roaring_bitmap_add_many
#define roaring_bitmap_add_range_closed mcdp_roaring.roaring_bitmap_add_range_closed
#define roaring_bitmap_and_cardinality mcdp_roaring.roaring_bitmap_and_cardinality
#define roaring_bitmap_and_inplace mcdp_roaring.roaring_bitmap_and_inplace
#define roaring_bitmap_andnot_inplace mcdp_roaring.roaring_bitmap_andnot_inplace
#define roaring_bitmap_copy mcdp_roaring.roaring_bitmap_copy
#define roaring_bitmap_create mcdp_roaring.roaring_bitmap_create
#define roaring_bitmap_equals mcdp_roaring.roaring_bitmap_equals
#define roaring_bitmap_flip_inplace mcdp_roaring.roaring_bitmap_flip_inplace
#define roaring_bitmap_free mcdp_roaring.roaring_bitmap_free
#define roaring_bitmap_get_cardinality mcdp_roaring.roaring_bitmap_get_cardinality
#define roaring_bitmap_intersect mcdp_roaring.roaring_bitmap_intersect
#define roaring_bitmap_is_empty mcdp_roaring.roaring_bitmap_is_empty
#define roaring_bitmap_is_subset mcdp_roaring.roaring_bitmap_is_subset
#define roaring_bitmap_maximum mcdp_roaring.roaring_bitmap_maximum
#define roaring_bitmap_minimum mcdp_roaring.roaring_bitmap_minimum
#define roaring_bitmap_or_inplace mcdp_roaring.roaring_bitmap_or_inplace
#define roaring_bitmap_portable_deserialize_safe mcdp_roaring.roaring_bitmap_portable_deserialize_safe
#define roaring_bitmap_portable_serialize mcdp_roaring.roaring_bitmap_portable_serialize
#define roaring_bitmap_portable_size_in_bytes mcdp_roaring.roaring_bitmap_portable_size_in_bytes
#define roaring_bitmap_range_cardinality mcdp_roaring.roaring_bitmap_range_cardinality
#define roaring_bitmap_rank mcdp_roaring.roaring_bitmap_rank
#define roaring_bitmap_remove mcdp_roaring.roaring_bitmap_remove
#define roaring_bitmap_remove_range_closed mcdp_roaring.roaring_bitmap_remove_range_closed
#define roaring_bitmap_run_optimize mcdp_roaring.roaring_bitmap_run_optimize
#define roaring_bitmap_select mcdp_roaring.roaring_bitmap_select
#define roaring_bitmap_xor_inplace mcdp_roaring.roaring_bitmap_xor_inplace
#define roaring_init_iterator mcdp_roaring.roaring_init_iterator
#define roaring_move_uint32_iterator_equalorlarger mcdp_roaring.roaring_move_uint32_iterator_equalorlarger
#define roaring_read_uint32_iterator mcdp_roaring.roaring_read_uint32_iterator
#endif
#endif

#endif							/* MCDP_RBUF_LIBRARY_H */
