/*-------------------------------------------------------------------------
 *
 * rbuf_bytes.c
 *	  The portable Roaring form as bytes: complete check, look-ups.
 *
 * CRoaring's own reader trusts what the bytes say about themselves: a bitmap
 * with a few bytes changed is read without complaint and crashes the process
 * when it is used.  So every byte from outside passes mcdp_rbuf_check first.
 * Knows neither the server nor CRoaring and allocates nothing.
 *
 * 32-bit portable form, all numbers little endian:
 *		uint32		12346: no runs;  uint32 n, the number of containers
 *		 or
 *		uint32		low half 12347: maybe runs;  high half n - 1;
 *					(n + 7) / 8 bytes, one bit per container: it has runs
 *		n times		uint16 key (the high half of its ids), uint16 ids - 1
 *		n times		uint32 position of the container from the first byte;
 *					left out when there may be runs and n < 4
 *		n times		the container, one of
 *			runs		uint16 r, then r times uint16 first, uint16 length - 1
 *			array		uint16 per id, ascending		(up to 4,096 ids)
 *			bit set		8,192 bytes						(more than 4,096 ids)
 *
 * 64-bit portable form: see rbuf.h.
 *
 * No bytes are valid in both forms.  The 32-bit one read as 64-bit begins with
 * a count of at least 12346 + 65536 * (n - 1) parts (or over 2^32 of them), of
 * at least 19 bytes each, while its own length is at most 8,205 n + 8 bytes.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_bytes.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "core/rbuf_form.h"

static bool
refuse(McdpBadInput *bad, const char *reason, size_t offset)
{
	bad->reason = reason;
	bad->offset = offset;
	return false;
}

/* Reads the header and checks that it is whole; false leaves a reason. */
bool
mcdp_rbuf_open_part(Part32 *part, const char *bytes, size_t len, McdpBadInput *bad)
{
	size_t		pos;
	uint32		cookie;

	if (len < 8)
		return refuse(bad, "The bitmap is cut off in its header.", len);
	cookie = get32(bytes);
	part->start = bytes;
	part->len = len;
	part->run_flags = NULL;
	if (cookie == COOKIE_NO_RUNS)
	{
		part->num = get32(bytes + 4);
		pos = 8;
		if (part->num > MAX_CONTAINERS)
			return refuse(bad, "The bitmap has too many containers.", 4);
	}
	else if ((cookie & 0xffff) == COOKIE_RUNS)
	{
		part->num = (cookie >> 16) + 1;
		part->run_flags = bytes + 4;
		pos = 4 + (part->num + 7) / 8;
	}
	else
		return refuse(bad, "The bitmap begins with an unrecognized number.", 0);

	part->keys = bytes + pos;
	pos += (size_t) 4 * part->num;
	part->offsets = NULL;
	if (part->run_flags == NULL || part->num >= OFFSETS_FROM)
	{
		part->offsets = bytes + pos;
		pos += (size_t) 4 * part->num;
	}
	part->body = pos;
	if (pos > len)
		return refuse(bad, "The bitmap is cut off in its header.", len);
	return true;
}

/* Position of container i of a checked bitmap. */
static size_t
container_pos(const Part32 *part, uint32 i)
{
	size_t		pos = part->body;

	if (part->offsets != NULL)
		return get32(part->offsets + (size_t) 4 * i);
	for (uint32 j = 0; j < i; j++)
		pos += container_size(part, j, pos);
	return pos;
}

static const char *
check_runs(const char *p, uint32 ids)
{
	uint32		num = get16(p);
	uint32		sum = 0;
	int64		last = -2;		/* last id of the run before */

	if (num == 0)
		return "A container of runs has none.";
	for (uint32 i = 0; i < num; i++)
	{
		uint32		first = get16(p + 2 + (size_t) 4 * i);
		uint32		more = get16(p + 4 + (size_t) 4 * i);

		if ((int64) first <= last + 1)
			return "The runs of a container are not in order.";
		last = (int64) first + more;
		if (last > 65535)
			return "A run reaches beyond its container.";
		sum += more + 1;
	}
	return sum == ids ? NULL : "The runs of a container do not add up.";
}

static const char *
check_array(const char *p, uint32 ids)
{
	for (uint32 i = 1; i < ids; i++)
		if (get16(p + (size_t) 2 * i) <= get16(p + (size_t) 2 * (i - 1)))
			return "The ids of a container are not in order.";
	return NULL;
}

static const char *
check_bitset(const char *p, uint32 ids)
{
	uint32		sum = 0;

	for (int i = 0; i < BITSET_BYTES; i += 8)
	{
		uint64		word;

		memcpy(&word, p + i, sizeof(word));
		sum += __builtin_popcountll(word);
	}
	return sum == ids ? NULL : "The bits of a container do not add up.";
}

/*
 * Checks one 32-bit bitmap at the start of bytes.  Sets what it takes of them
 * and how many ids it holds.
 */
static bool
check_part(const char *bytes, size_t len, size_t *size, uint64 *cardinality,
		   McdpBadInput *bad)
{
	Part32		part;
	size_t		pos;
	uint64		sum = 0;

	if (!mcdp_rbuf_open_part(&part, bytes, len, bad))
		return false;
	if (part.run_flags != NULL && part.num % 8 != 0 &&
		((unsigned char) part.run_flags[part.num / 8]) >> (part.num % 8) != 0)
		return refuse(bad, "The bitmap marks containers it does not have.", 4);

	pos = part.body;
	for (uint32 i = 0; i < part.num; i++)
	{
		uint32		ids = container_ids(&part, i);
		const char *reason;
		size_t		csize;

		if (i > 0 && container_key(&part, i) <= container_key(&part, i - 1))
			return refuse(bad, "The containers of the bitmap are not in order.",
						  part.keys - bytes + (size_t) 4 * i);
		if (part.offsets != NULL && get32(part.offsets + (size_t) 4 * i) != pos)
			return refuse(bad, "A container is not where the bitmap says.",
						  part.offsets - bytes + (size_t) 4 * i);
		csize = container_size(&part, i, pos);
		if (csize == 0)
			return refuse(bad, "The bitmap is cut off in a container.", len);
		if (container_has_runs(&part, i))
			reason = check_runs(bytes + pos, ids);
		else if (ids <= MAX_ARRAY_IDS)
			reason = check_array(bytes + pos, ids);
		else
			reason = check_bitset(bytes + pos, ids);
		if (reason != NULL)
			return refuse(bad, reason, pos);
		pos += csize;
		sum += ids;
	}
	*size = pos;
	*cardinality = sum;
	return true;
}

/* Checks the 64-bit form; bad->offset counts from its first byte. */
static bool
check_64(const char *bytes, size_t len, uint64 *cardinality, McdpBadInput *bad)
{
	uint64		num;
	size_t		pos = 8;
	int64		last_key = -1;
	uint64		sum = 0;

	if (len < 8)
		return refuse(bad, "The bitmap is cut off in its header.", len);
	num = get64(bytes);
	if (num > (len - 8) / MIN_PART_BYTES)
		return refuse(bad, "The bitmap has fewer parts than it says.", 0);
	for (uint64 i = 0; i < num; i++)
	{
		size_t		size;
		uint64		ids;
		uint32		key;

		if (len - pos < 4)
			return refuse(bad, "The bitmap is cut off between its parts.", len);
		key = get32(bytes + pos);
		if ((int64) key <= last_key)
			return refuse(bad, "The parts of the bitmap are not in order.", pos);
		if (key > RBUF_MAX_ID >> 32)
			return refuse(bad, "An id is greater than 9223372036854775807.", pos);
		last_key = key;
		pos += 4;
		if (!check_part(bytes + pos, len - pos, &size, &ids, bad))
		{
			bad->offset += pos;
			return false;
		}
		if (ids == 0)
			return refuse(bad, "A part of the bitmap is empty.", pos);
		sum += ids;
		pos += size;
	}
	if (pos != len)
		return refuse(bad, "Bytes follow the end of the bitmap.", pos);
	*cardinality = sum;
	return true;
}

static bool
check_32(const char *bytes, size_t len, uint64 *cardinality, McdpBadInput *bad)
{
	size_t		size;

	if (!check_part(bytes, len, &size, cardinality, bad))
		return false;
	if (size != len)
		return refuse(bad, "Bytes follow the end of the bitmap.", size);
	return true;
}

/*
 * Checks outside bytes completely: after it returned true, CRoaring may read
 * them.  The reason for a refusal is that of the form the first bytes look
 * like.
 */
bool
mcdp_rbuf_check(const char *bytes, size_t len, RbufForm *form,
				uint64 *cardinality, McdpBadInput *bad)
{
	McdpBadInput bad32;
	bool		looks_32;

	if (check_64(bytes, len, cardinality, bad))
	{
		*form = RBUF_FORM_64;
		return true;
	}
	if (check_32(bytes, len, cardinality, &bad32))
	{
		*form = RBUF_FORM_32;
		return true;
	}
	looks_32 = len >= 4 && (get32(bytes) == COOKIE_NO_RUNS ||
							get16(bytes) == COOKIE_RUNS);
	if (looks_32)
		*bad = bad32;
	return false;
}

/*
 * How many bytes the 32-bit bitmap at the start of checked bytes takes; 0 when
 * they are not what they should be.
 */
size_t
mcdp_rbuf_bytes_part_size(const char *bytes, size_t len)
{
	Part32		part;
	McdpBadInput bad;
	size_t		pos;
	size_t		size;

	if (!mcdp_rbuf_open_part(&part, bytes, len, &bad))
		return 0;
	if (part.num == 0)
		return part.body;
	if (part.offsets == NULL)
	{
		pos = part.body;
		for (uint32 i = 0; i < part.num; i++)
		{
			size = container_size(&part, i, pos);
			if (size == 0)
				return 0;
			pos += size;
		}
		return pos;
	}
	pos = container_pos(&part, part.num - 1);
	size = container_size(&part, part.num - 1, pos);
	return size == 0 ? 0 : pos + size;
}

static bool
runs_contain(const char *p, uint32 low)
{
	uint32		lo = 0;
	uint32		hi = get16(p);

	/* the last run that begins at or before low, if any, is lo - 1 */
	while (lo < hi)
	{
		uint32		mid = (lo + hi) / 2;

		if (get16(p + 2 + (size_t) 4 * mid) <= low)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 &&
		low - get16(p + 2 + (size_t) 4 * (lo - 1)) <= get16(p + 4 + (size_t) 4 * (lo - 1));
}

static bool
array_contains(const char *p, uint32 num, uint32 low)
{
	uint32		lo = 0;
	uint32		hi = num;

	while (lo < hi)
	{
		uint32		mid = (lo + hi) / 2;
		uint32		value = get16(p + (size_t) 2 * mid);

		if (value == low)
			return true;
		if (value < low)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* The first container whose key is not less. */
static uint32
find_container(const Part32 *part, uint32 key)
{
	uint32		lo = 0;
	uint32		hi = part->num;

	while (lo < hi)
	{
		uint32		mid = (lo + hi) / 2;

		if (container_key(part, mid) < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool
part_contains(const char *bytes, size_t len, uint32 id)
{
	Part32		part;
	McdpBadInput bad;
	uint32		lo;
	uint32		low = id & 0xffff;
	size_t		pos;

	if (!mcdp_rbuf_open_part(&part, bytes, len, &bad))
		return false;
	lo = find_container(&part, id >> 16);
	if (lo == part.num || container_key(&part, lo) != id >> 16)
		return false;
	pos = container_pos(&part, lo);
	if (container_size(&part, lo, pos) == 0)
		return false;
	if (container_has_runs(&part, lo))
		return runs_contain(bytes + pos, low);
	if (container_ids(&part, lo) <= MAX_ARRAY_IDS)
		return array_contains(bytes + pos, container_ids(&part, lo), low);
	return (bytes[pos + low / 8] >> (low % 8) & 1) != 0;
}

/* Is id in the set?  Takes checked bytes of the 64-bit form. */
bool
mcdp_rbuf_bytes_contains(const char *bytes, size_t len, uint64 id)
{
	uint64		num = len < 8 ? 0 : get64(bytes);
	size_t		pos = 8;

	for (uint64 i = 0; i < num && pos + 4 <= len; i++)
	{
		uint32		key = get32(bytes + pos);
		size_t		size;

		pos += 4;
		if (key == id >> 32)
			return part_contains(bytes + pos, len - pos, (uint32) id);
		if (key > id >> 32)
			return false;
		size = mcdp_rbuf_bytes_part_size(bytes + pos, len - pos);
		if (size == 0)
			return false;
		pos += size;
	}
	return false;
}

/* ---- one container of bytes that are not all at hand ---- */

/*
 * Where a container lies, from the first have bytes of the 64-bit form of len
 * bytes.  RBUF_MORE: *want bytes are needed; RBUF_WHOLE: all of them are,
 * because the header does not tell.
 */
RbufFound
mcdp_rbuf_bytes_locate(const char *bytes, size_t have, size_t len,
					   RbufWanted wanted, uint64 id,
					   RbufContainer *found, size_t *want)
{
	const size_t start = 12;	/* of the one part */
	Part32		part;
	McdpBadInput bad;
	uint32		i = 0;
	size_t		end;

	*want = Min(start + 8, len);
	if (have < 8)
		return RBUF_MORE;
	if (get64(bytes) == 0)
		return RBUF_NONE;
	if (get64(bytes) > 1 || len < start + 8)
		return RBUF_WHOLE;
	if (have < *want)
		return RBUF_MORE;
	if (wanted == RBUF_CONTAINER_OF && get32(bytes + 8) != id >> 32)
		return RBUF_NONE;
	if (!mcdp_rbuf_open_part(&part, bytes + start, have - start, &bad))
	{
		uint32		cookie = get32(bytes + start);
		size_t		num;

		num = cookie == COOKIE_NO_RUNS ? get32(bytes + start + 4) : (cookie >> 16) + 1;
		*want = Min(start + 8 + num / 8 + 1 + 8 * num, len);
		return *want > have ? RBUF_MORE : RBUF_WHOLE;
	}
	if (part.offsets == NULL || part.num == 0)
		return RBUF_WHOLE;

	if (wanted == RBUF_LAST_CONTAINER)
		i = part.num - 1;
	else if (wanted == RBUF_CONTAINER_OF)
	{
		i = find_container(&part, (uint32) id >> 16);
		if (i == part.num || container_key(&part, i) != (uint32) id >> 16)
			return RBUF_NONE;
	}
	end = len - start;
	if (i + 1 < part.num)
		end = get32(part.offsets + (size_t) 4 * (i + 1));
	found->high = (uint64) get32(bytes + 8) << 32 | (uint64) container_key(&part, i) << 16;
	found->ids = container_ids(&part, i);
	found->runs = container_has_runs(&part, i);
	found->pos = start + get32(part.offsets + (size_t) 4 * i);
	if (start + end <= found->pos || start + end > len)
		return RBUF_WHOLE;
	found->size = start + end - found->pos;
	return RBUF_FOUND;
}

static inline bool
is_bitset(const RbufContainer *c)
{
	return !c->runs && c->ids > MAX_ARRAY_IDS;
}

/* The byte of a bit set that holds id, else everything. */
void
mcdp_rbuf_container_need(const RbufContainer *c, uint64 id, size_t *pos, size_t *size)
{
	*pos = c->pos;
	*size = c->size;
	if (is_bitset(c))
	{
		*pos += (id & 0xffff) / 8;
		*size = 1;
	}
}

/* Takes the bytes that mcdp_rbuf_container_need asked for. */
bool
mcdp_rbuf_container_contains(const RbufContainer *c, const char *bytes, uint64 id)
{
	uint32		low = id & 0xffff;

	if (c->runs)
		return runs_contain(bytes, low);
	if (is_bitset(c))
		return (bytes[0] >> (low % 8) & 1) != 0;
	return array_contains(bytes, c->ids, low);
}

/* Smallest and greatest id; these take the whole container. */
uint64
mcdp_rbuf_container_min(const RbufContainer *c, const char *bytes)
{
	uint32		i = 0;

	if (c->runs)
		return c->high | get16(bytes + 2);
	if (!is_bitset(c))
		return c->high | get16(bytes);
	while (i < BITSET_BYTES - 1 && bytes[i] == 0)
		i++;
	return c->high | (i * 8 + __builtin_ctz((unsigned char) bytes[i] | 0x100));
}

uint64
mcdp_rbuf_container_max(const RbufContainer *c, const char *bytes)
{
	uint32		i = BITSET_BYTES - 1;

	if (c->runs)
	{
		const char *last = bytes + 2 + (size_t) 4 * (get16(bytes) - 1);

		return c->high | (get16(last) + get16(last + 2));
	}
	if (!is_bitset(c))
		return c->high | get16(bytes + (size_t) 2 * (c->ids - 1));
	while (i > 0 && bytes[i] == 0)
		i--;
	return c->high | (i * 8 + 31 - __builtin_clz((unsigned char) bytes[i] | 1));
}
