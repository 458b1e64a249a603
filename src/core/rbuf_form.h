/*-------------------------------------------------------------------------
 *
 * rbuf_form.h
 *	  The portable Roaring form as bytes: how to find one's way in them.
 *
 * For rbuf_bytes.c, which describes the form, and the other rbuf files only.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_form.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_RBUF_FORM_H
#define MCDP_RBUF_FORM_H

#include "core/rbuf.h"

#define COOKIE_NO_RUNS		12346
#define COOKIE_RUNS			12347
#define MAX_CONTAINERS		65536
#define MAX_ARRAY_IDS		4096
#define BITSET_BYTES		8192
#define OFFSETS_FROM		4	/* with runs: offsets from this many on */
#define MIN_PART_BYTES		19	/* key and the smallest bitmap there is */

/* The header of one 32-bit bitmap. */
typedef struct Part32
{
	const char *start;
	size_t		len;			/* bytes there are, not bytes it takes */
	uint32		num;			/* containers */
	const char *run_flags;		/* NULL when there are no runs */
	const char *keys;			/* pairs of key and ids - 1 */
	const char *offsets;		/* NULL when left out */
	size_t		body;			/* position of the first container */
} Part32;

static inline uint16
get16(const char *p)
{
	const unsigned char *b = (const unsigned char *) p;

	return b[0] | b[1] << 8;
}

static inline uint32
get32(const char *p)
{
	return get16(p) | (uint32) get16(p + 2) << 16;
}

static inline uint64
get64(const char *p)
{
	return get32(p) | (uint64) get32(p + 4) << 32;
}

/* Not for rbuf_bytes.c, which raises no error. */
static inline void
corrupted(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored bitmap is corrupted")));
}

/* rbuf_bytes.c: reads the header and checks that it is whole. */
extern bool mcdp_rbuf_open_part(Part32 *part, const char *bytes, size_t len,
								McdpBadInput *bad);

static inline uint32
container_key(const Part32 *part, uint32 i)
{
	return get16(part->keys + (size_t) 4 * i);
}

static inline uint32
container_ids(const Part32 *part, uint32 i)
{
	return (uint32) get16(part->keys + (size_t) 4 * i + 2) + 1;
}

static inline bool
container_has_runs(const Part32 *part, uint32 i)
{
	return part->run_flags != NULL && (part->run_flags[i / 8] >> (i % 8) & 1) != 0;
}

/* Bytes of container i at position pos; 0 when it does not fit. */
static inline size_t
container_size(const Part32 *part, uint32 i, size_t pos)
{
	size_t		size;

	if (container_has_runs(part, i))
	{
		if (pos + 2 > part->len)
			return 0;
		size = 2 + (size_t) 4 * get16(part->start + pos);
	}
	else if (container_ids(part, i) <= MAX_ARRAY_IDS)
		size = (size_t) 2 * container_ids(part, i);
	else
		size = BITSET_BYTES;
	return pos + size <= part->len ? size : 0;
}

#endif							/* MCDP_RBUF_FORM_H */
