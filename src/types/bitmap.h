/*-------------------------------------------------------------------------
 *
 * bitmap.h
 *	  The bitmap type: a set of 64-bit profile ids as one value.
 *
 * Stored form, version 1:
 *		bytes 0-3	varlena header
 *		byte  4		format version, 1
 *		byte  5		flags, 0: none are defined
 *		bytes 6-7	0
 *		bytes 8-15	number of ids
 *		bytes 16-	the set in the canonical 64-bit portable form (rbuf.h)
 * Equal sets are equal bytes, so values are compared without being read.  The
 * number of ids stands in front to be had from a slice of a toasted value.
 *
 * In aggregates a bitmap is an expanded object, see bitmap_agg.c.
 *
 * Which file has what:
 *		bitmap_io.c			text and binary form, casts, stored <-> Rbuf
 *		bitmap_fetch_fn.c	values stored out of line: kept, or read in part
 *		bitmap_op.c			set algebra, comparison, operator classes
 *		bitmap_fn.c			everything else about one bitmap
 *		bitmap_agg.c		aggregates
 *		bitmap_support_fn.c	what the planner is told
 *
 * Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/bitmap.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_BITMAP_H
#define MCDP_BITMAP_H

#include "fmgr.h"

#include "core/rbuf.h"

#define BITMAP_FORMAT		1

typedef struct Bitmap
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		format;			/* BITMAP_FORMAT */
	uint8		flags;
	uint16		unused;
	uint64		cardinality;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];	/* portable form */
} Bitmap;

#define BITMAP_HEADER		offsetof(Bitmap, bytes)
#define BITMAP_BYTES_LEN(b) (VARSIZE(b) - BITMAP_HEADER)

/* The value in memory, detoasted; an error when it is not of our format. */
extern Bitmap *mcdp_bitmap_open(Datum value);

#define DatumGetBitmapP(d)		mcdp_bitmap_open(d)
#define PG_GETARG_BITMAP_P(n)	DatumGetBitmapP(PG_GETARG_DATUM(n))

/* The set as an Rbuf of that context; the value is left alone. */
extern Rbuf *mcdp_bitmap_to_rbuf(MemoryContext cx, Datum value);

/* The set as a value in the current context; puts the set in canonical form. */
extern Datum mcdp_rbuf_to_bitmap(Rbuf *set);

/*
 * The value whose bytes the functions mcdp_rbuf_bytes_ (rbuf.h) wrote behind
 * BITMAP_HEADER bytes.
 */
extern Datum mcdp_bytes_to_bitmap(char *bytes, Size len, uint64 cardinality);

/* Size and writing of the value of a set already in canonical form. */
extern Size mcdp_bitmap_flat_size(const Rbuf *set);
extern void mcdp_bitmap_flatten(const Rbuf *set, Bitmap *out, Size size);

/* Number of ids, from a slice or from an aggregate's state. */
extern uint64 mcdp_bitmap_cardinality(Datum value);

/* Errors when id is negative. */
extern uint64 mcdp_bitmap_check_id(int64 id);

/* Sorts ids ascending. */
extern void mcdp_sort_ids(uint64 *ids, size_t n);

/* The set of an aggregate's state, NULL when value is not one. */
extern Rbuf *mcdp_bitmap_state_set(Datum value);

/* Number of ids of the same; false when value is not one. */
extern bool mcdp_bitmap_state_cardinality(Datum value, uint64 *cardinality);

/*
 * bitmap_fetch_fn.c: argument n in memory, kept for the next calls when it is
 * stored out of line; mcdp_bitmap_release gives back what is not kept.
 */
extern Bitmap *mcdp_bitmap_fetch_arg(FunctionCallInfo fcinfo, int n);
extern void mcdp_bitmap_release_arg(FunctionCallInfo fcinfo, int n, Bitmap *bitmap);

/* Reading no more of a value stored out of line than the answer needs. */
extern bool mcdp_bitmap_arg_contains(FunctionCallInfo fcinfo, int n, uint64 id);
extern bool mcdp_bitmap_arg_end(FunctionCallInfo fcinfo, int n, bool last, uint64 *id);

#endif							/* MCDP_BITMAP_H */
