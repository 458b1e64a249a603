/*-------------------------------------------------------------------------
 *
 * rbuf_portable.c
 *	  Sets from bytes and to bytes: the portable form, and slices.
 *
 * rbuf.h describes the forms, rbuf_bytes.c checks bytes from outside.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_portable.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "core/rbuf_set.h"

#define FEW_IDS				64	/* in a container, to be added one by one */

/* ---- reading ---- */

/* Appends a part read from checked bytes. */
static void
append_part(Rbuf *set, uint32 key, const char *bytes, size_t len)
{
	roaring_bitmap_t *bits;

	reserve(set, (uint64) set->num + 1);
	bits = roaring_bitmap_portable_deserialize_safe(bytes, len);
	if (bits == NULL)
		out_of_memory();
	set->parts[set->num].key = key;
	set->parts[set->num].bits = bits;
	set->num++;
}

/* Reads checked bytes of the 64-bit form; false when they are not. */
static bool
read_64(Rbuf *set, const char *bytes, size_t len)
{
	uint64		num;
	size_t		pos = sizeof(num);

	if (len < sizeof(num))
		return false;
	memcpy(&num, bytes, sizeof(num));
	if (num > len / sizeof(uint32))
		return false;
	reserve(set, num);
	for (uint64 i = 0; i < num; i++)
	{
		uint32		key;
		size_t		size;

		if (len - pos < sizeof(key))
			return false;
		memcpy(&key, bytes + pos, sizeof(key));
		pos += sizeof(key);
		size = mcdp_rbuf_bytes_part_size(bytes + pos, len - pos);
		if (size == 0)
			return false;
		append_part(set, key, bytes + pos, size);
		pos += size;
		CHECK_FOR_INTERRUPTS();
	}
	return pos == len;
}

Rbuf *
mcdp_rbuf_read(MemoryContext cx, const char *bytes, size_t len,
			   McdpBadInput *bad)
{
	RbufForm	form;
	uint64		cardinality;
	Rbuf	   *set;

	if (!mcdp_rbuf_check(bytes, len, &form, &cardinality, bad))
		return NULL;
	set = mcdp_rbuf_create(cx);
	if (form == RBUF_FORM_64)
	{
		if (!read_64(set, bytes, len))
			elog(ERROR, "could not read a checked bitmap");
	}
	else if (cardinality > 0)
		append_part(set, 0, bytes, len);
	return set;
}

Rbuf *
mcdp_rbuf_read_trusted(MemoryContext cx, const char *bytes, size_t len)
{
	Rbuf	   *set = mcdp_rbuf_create(cx);

	if (!read_64(set, bytes, len))
		corrupted();
	return set;
}

/* Has it only arrays, of few ids? */
static bool
is_sparse(const Part32 *part)
{
	uint64		ids = 0;

	if (part->run_flags != NULL)
		return false;
	for (uint32 i = 0; i < part->num; i++)
	{
		if (container_ids(part, i) > MAX_ARRAY_IDS)
			return false;
		ids += container_ids(part, i);
	}
	return ids <= (uint64) FEW_IDS * part->num;
}

/* The containers of a sparse part follow its header, back to back. */
static void
add_sparse(roaring_bitmap_t *bits, const Part32 *part)
{
	uint32		batch[ADD_BATCH];
	size_t		filled = 0;
	size_t		pos = part->body;

	for (uint32 i = 0; i < part->num; i++)
	{
		uint32		base = container_key(part, i) << 16;
		uint32		num = container_ids(part, i);

		if (filled + num > ADD_BATCH)
		{
			roaring_bitmap_add_many(bits, filled, batch);
			filled = 0;
		}
		for (uint32 k = 0; k < num; k++)
			batch[filled++] = base | get16(part->start + pos + (size_t) 2 * k);
		pos += (size_t) 2 * num;
	}
	roaring_bitmap_add_many(bits, filled, batch);
}

/*
 * Trusted bytes of the 64-bit form into a set.  Few ids are added one by
 * one: for a union of many small bitmaps CRoaring would copy all that it has
 * of each container again and again.
 */
void
mcdp_rbuf_or_bytes(Rbuf *into, const char *bytes, size_t len)
{
	uint64		num;
	size_t		pos = sizeof(num);

	if (len < sizeof(num))
		corrupted();
	num = get64(bytes);
	for (uint64 i = 0; i < num; i++)
	{
		Part32		part;
		McdpBadInput bad;
		uint32		key;
		size_t		size;
		roaring_bitmap_t *bits;

		if (len - pos < sizeof(key))
			corrupted();
		key = get32(bytes + pos);
		pos += sizeof(key);
		size = mcdp_rbuf_bytes_part_size(bytes + pos, len - pos);
		if (size == 0 || !mcdp_rbuf_open_part(&part, bytes + pos, size, &bad))
			corrupted();
		bits = make_part(into, key);
		if (is_sparse(&part))
			add_sparse(bits, &part);
		else
		{
			roaring_bitmap_t *one = roaring_bitmap_portable_deserialize_safe(bytes + pos, size);

			if (one == NULL)
				out_of_memory();
			roaring_bitmap_or_inplace(bits, one);
			roaring_bitmap_free(one);
		}
		pos += size;
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- writing ---- */

/*
 * CRoaring leaves a container as it is when it counts the same space for runs
 * and for an array, so that the past decides; and 0.2.66 counts two bytes too
 * many for an array, 4.x does not.  Runs that take no less than an array, by
 * the true count, become an array here.
 */
static void
untie_runs(roaring_bitmap_t *bits)
{
	size_t		size = roaring_bitmap_portable_size_in_bytes(bits);
	char	   *bytes = palloc_extended(size, MCXT_ALLOC_HUGE);
	const unsigned char *b = (const unsigned char *) bytes;
	const unsigned char *head;
	uint32		num;
	size_t		pos;
	uint32		ids[MAX_ARRAY_IDS];

	roaring_bitmap_portable_serialize(bits, bytes);
	/* there are runs, so the header is that of cookie 12347: rbuf_bytes.c */
	num = (b[2] | b[3] << 8) + 1;
	head = b + 4 + (num + 7) / 8;
	pos = (head - b) + (size_t) 4 * num;
	if (num >= 4)
		pos += (size_t) 4 * num;

	for (uint32 i = 0; i < num; i++)
	{
		const unsigned char *key = head + (size_t) 4 * i;
		uint32		base = (uint32) (key[0] | key[1] << 8) << 16;
		uint32		card = (key[2] | key[3] << 8) + 1;
		uint32		runs;
		uint32		n = 0;

		if ((b[4 + i / 8] >> (i % 8) & 1) == 0)
		{
			pos += card <= MAX_ARRAY_IDS ? 2 * card : BITSET_BYTES;
			continue;
		}
		runs = b[pos] | b[pos + 1] << 8;
		if (2 + 4 * runs >= 2 * card && card <= MAX_ARRAY_IDS)
		{
			for (uint32 r = 0; r < runs; r++)
			{
				const unsigned char *run = b + pos + 2 + (size_t) 4 * r;
				uint32		first = run[0] | run[1] << 8;
				uint32		more = run[2] | run[3] << 8;

				for (uint32 k = 0; k <= more && n < MAX_ARRAY_IDS; k++)
					ids[n++] = base | (first + k);
			}
			roaring_bitmap_remove_range_closed(bits, base, base | 0xffff);
			roaring_bitmap_add_many(bits, n, ids);
		}
		pos += 2 + (size_t) 4 * runs;
	}
	pfree(bytes);
}

/* Afterwards equal sets are written as equal bytes. */
void
mcdp_rbuf_optimize(Rbuf *set)
{
	for (uint32 i = 0; i < set->num; i++)
	{
		if (roaring_bitmap_run_optimize(set->parts[i].bits))
			untie_runs(set->parts[i].bits);
		CHECK_FOR_INTERRUPTS();
	}
}

size_t
mcdp_rbuf_size(const Rbuf *set)
{
	size_t		size = sizeof(uint64);

	for (uint32 i = 0; i < set->num; i++)
		size += sizeof(uint32) +
			roaring_bitmap_portable_size_in_bytes(set->parts[i].bits);
	return size;
}

void
mcdp_rbuf_write(const Rbuf *set, char *out)
{
	uint64		num = set->num;

	memcpy(out, &num, sizeof(num));
	out += sizeof(num);
	for (uint32 i = 0; i < set->num; i++)
	{
		memcpy(out, &set->parts[i].key, sizeof(uint32));
		out += sizeof(uint32);
		out += roaring_bitmap_portable_serialize(set->parts[i].bits, out);
	}
}

/* ---- slices ---- */

void
mcdp_rbuf_get_slice(const Rbuf *set, uint64 slice, uint8 *bits4096)
{
	uint64		first = slice * RBUF_SLICE_IDS;
	RbufIter	it;
	uint64		id;

	memset(bits4096, 0, RBUF_SLICE_BYTES);
	mcdp_rbuf_iter_init_at(&it, set, first);
	while (mcdp_rbuf_iter_next(&it, &id) && id - first < RBUF_SLICE_IDS)
		bits4096[(id - first) / 8] |= 1 << (id % 8);
}

/*
 * More than 4,096 ids go in as a bitmap of one container in the portable
 * form, which CRoaring reads with a copy; fewer one by one.
 */
void
mcdp_rbuf_or_slice(Rbuf *set, uint64 slice, const uint8 *bits4096)
{
	uint64		first = slice * RBUF_SLICE_IDS;
	uint32		num = 0;
	roaring_bitmap_t *bits;

	for (int i = 0; i < RBUF_SLICE_BYTES; i += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, bits4096 + i, sizeof(word));
		num += __builtin_popcountll(word);
	}
	if (num == 0)
		return;
	bits = make_part(set, first >> 32);
	if (num > MAX_ARRAY_IDS)
	{
		char		bytes[16 + BITSET_BYTES];
		uint32		head[] = {12346, 1, 0, 16};
		roaring_bitmap_t *one;

		head[2] = (uint32) first >> 16 | (num - 1) << 16;
		memcpy(bytes, head, sizeof(head));
		memset(bytes + 16, 0, BITSET_BYTES);
		memcpy(bytes + 16 + first % 65536 / 8, bits4096, RBUF_SLICE_BYTES);
		one = roaring_bitmap_portable_deserialize_safe(bytes, sizeof(bytes));
		if (one == NULL)
			out_of_memory();
		roaring_bitmap_or_inplace(bits, one);
		roaring_bitmap_free(one);
	}
	else
	{
		uint32		ids[MAX_ARRAY_IDS];
		uint32		n = 0;

		for (int i = 0; i < RBUF_SLICE_BYTES; i++)
			for (uint8 byte = bits4096[i]; byte != 0; byte &= byte - 1)
				ids[n++] = (uint32) first + i * 8 + __builtin_ctz(byte);
		roaring_bitmap_add_many(bits, n, ids);
	}
}
