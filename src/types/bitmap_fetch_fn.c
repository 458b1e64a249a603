/*-------------------------------------------------------------------------
 *
 * bitmap_fetch_fn.c
 *	  Bitmap arguments that are stored out of line.
 *
 * Fetching a value of a megabyte takes longer than any question about two of
 * them (some 600 rows of a TOAST table, and a copy).  So
 *
 *		a function keeps the last values it fetched, up to work_mem: a matrix
 *		of overlaps fetches each bitmap about once, not once for each pair;
 *		a question about one id, the smallest or the greatest reads a slice
 *		with the header and one with the container, and fetches the whole
 *		value only when it is asked about the same value again.
 *
 * What is left of a fetch was, half of it, the kernel handing out fresh pages.
 * So the room for fetched values is kept by the session, up to work_mem, and
 * used again by the next query.
 *
 * A value is recognised by its TOAST pointer, which names one value only for
 * as long as a query runs.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/bitmap_fetch_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "types/bitmap.h"

#define MAX_KEPT		64
#define MAX_SPARE		64
#define FIRST_SLICE		1980	/* bytes: within one row of the TOAST table */

/* Room for one value; the session's when it is not in use. */
typedef struct Room
{
	Bitmap	   *bitmap;
	Size		size;
} Room;

typedef struct KeptBitmap
{
	struct varatt_external pointer;
	Room		room;
	uint64		used;			/* when, by the count of fetches */
} KeptBitmap;

typedef struct FetchState
{
	MemoryContextCallback callback;
	uint64		now;
	Size		bytes;			/* of all values kept */
	int			num;
	struct varatt_external sliced;	/* the last value read in part */
	KeptBitmap	kept[MAX_KEPT];
} FetchState;

static Room spare[MAX_SPARE];
static int	num_spare;
static Size spare_bytes;
static MemoryContext room_cx;

static Room
take_room(Size size)
{
	Room		room;
	int			best = -1;

	for (int i = 0; i < num_spare; i++)
	{
		if (spare[i].size >= size && spare[i].size / 2 <= size &&
			(best < 0 || spare[i].size < spare[best].size))
			best = i;
	}
	if (best >= 0)
	{
		room = spare[best];
		spare[best] = spare[--num_spare];
		spare_bytes -= room.size;
		return room;
	}
	if (room_cx == NULL)
		room_cx = AllocSetContextCreate(TopMemoryContext, "bitmap rooms",
										ALLOCSET_SMALL_SIZES);
	room.size = size + size / 8;
	room.bitmap = MemoryContextAllocHuge(room_cx, room.size);
	return room;
}

static void
give_room(Room room)
{
	if (num_spare == MAX_SPARE || spare_bytes + room.size > work_mem * (Size) 1024)
	{
		pfree(room.bitmap);
		return;
	}
	spare[num_spare++] = room;
	spare_bytes += room.size;
}

/* When the query ends, or fails. */
static void
give_all(void *arg)
{
	FetchState *state = arg;

	while (state->num > 0)
		give_room(state->kept[--state->num].room);
}

/* Is it a value of which parts can be read? */
static bool
is_sliceable(Datum value, struct varatt_external *pointer)
{
	if (!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		return false;
	VARATT_EXTERNAL_GET_POINTER(*pointer, DatumGetPointer(value));
	return !VARATT_EXTERNAL_IS_COMPRESSED(*pointer);
}

static FetchState *
get_state(FunctionCallInfo fcinfo)
{
	FetchState *state = fcinfo->flinfo->fn_extra;

	if (state == NULL)
	{
		state = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(FetchState));
		state->callback.func = give_all;
		state->callback.arg = state;
		MemoryContextRegisterResetCallback(fcinfo->flinfo->fn_mcxt, &state->callback);
		fcinfo->flinfo->fn_extra = state;
	}
	return state;
}

static KeptBitmap *
find_kept(FetchState *state, const struct varatt_external *pointer)
{
	for (int i = 0; i < state->num; i++)
	{
		if (memcmp(&state->kept[i].pointer, pointer, sizeof(*pointer)) == 0)
		{
			state->kept[i].used = ++state->now;
			return &state->kept[i];
		}
	}
	return NULL;
}

/* Lets go of the value that was used longest ago. */
static void
drop_oldest(FetchState *state)
{
	KeptBitmap *oldest = &state->kept[0];

	for (int i = 1; i < state->num; i++)
		if (state->kept[i].used < oldest->used)
			oldest = &state->kept[i];
	state->bytes -= oldest->room.size;
	give_room(oldest->room);
	*oldest = state->kept[--state->num];
}

/* The value used last stays: it may be the other argument. */
static Bitmap *
fetch_kept(FetchState *state, Datum value, const struct varatt_external *pointer)
{
	KeptBitmap *found = find_kept(state, pointer);
	Size		size = pointer->va_rawsize;
	Room		room;

	if (found != NULL)
		return found->room.bitmap;
	while (state->num > 1 &&
		   (state->num == MAX_KEPT || state->bytes + size > work_mem * (Size) 1024))
		drop_oldest(state);

	/* in its place before it is filled, so that it is not lost to an error */
	room = take_room(size);
	found = &state->kept[state->num++];
	memset(&found->pointer, 0, sizeof(found->pointer));
	found->room = room;
	found->used = ++state->now;
	state->bytes += room.size;
	if (VARATT_EXTERNAL_IS_COMPRESSED(*pointer))
	{
		Bitmap	   *bitmap = DatumGetBitmapP(value);

		memcpy(room.bitmap, bitmap, VARSIZE(bitmap));
		pfree(bitmap);
	}
	else
	{
		int32		len = VARATT_EXTERNAL_GET_EXTSIZE(*pointer);
		Relation	toast = table_open(pointer->va_toastrelid, AccessShareLock);

		SET_VARSIZE(room.bitmap, len + VARHDRSZ);
		table_relation_fetch_toast_slice(toast, pointer->va_valueid, len, 0, len,
										 (struct varlena *) room.bitmap);
		table_close(toast, AccessShareLock);
		mcdp_bitmap_open(PointerGetDatum(room.bitmap));
	}
	found->pointer = *pointer;
	return room.bitmap;
}

Bitmap *
mcdp_bitmap_fetch_arg(FunctionCallInfo fcinfo, int n)
{
	Datum		value = PG_GETARG_DATUM(n);
	struct varatt_external pointer;

	if (fcinfo->flinfo == NULL ||
		!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		return DatumGetBitmapP(value);
	VARATT_EXTERNAL_GET_POINTER(pointer, DatumGetPointer(value));
	return fetch_kept(get_state(fcinfo), value, &pointer);
}

void
mcdp_bitmap_release_arg(FunctionCallInfo fcinfo, int n, Bitmap *bitmap)
{
	Pointer		value = DatumGetPointer(PG_GETARG_DATUM(n));

	if ((Pointer) bitmap == value)
		return;
	if (fcinfo->flinfo == NULL || !VARATT_IS_EXTERNAL_ONDISK(value))
		pfree(bitmap);
}

/* Bytes of the portable form, from a slice of the stored value. */
static const char *
read_slice(Datum value, size_t pos, size_t *len)
{
	struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, BITMAP_HEADER - VARHDRSZ + pos, *len);

	if (VARSIZE_ANY_EXHDR(slice) < *len)
		*len = VARSIZE_ANY_EXHDR(slice);
	return VARDATA_ANY(slice);
}

/*
 * Finds a container in the value by its first bytes.  RBUF_WHOLE when the
 * value should be fetched as a whole: because it must, or because this is not
 * the first question about it.
 */
static RbufFound
locate(FunctionCallInfo fcinfo, int n, RbufWanted wanted, uint64 id,
	   RbufContainer *container)
{
	Datum		value = PG_GETARG_DATUM(n);
	struct varatt_external pointer;
	RbufFound	found;
	size_t		total;
	size_t		have;
	size_t		want = FIRST_SLICE;
	const char *bytes;

	if (!is_sliceable(value, &pointer))
		return RBUF_WHOLE;
	if (fcinfo->flinfo != NULL)
	{
		FetchState *state = get_state(fcinfo);

		if (memcmp(&state->sliced, &pointer, sizeof(pointer)) == 0 ||
			find_kept(state, &pointer) != NULL)
			return RBUF_WHOLE;
		state->sliced = pointer;
	}
	total = VARATT_EXTERNAL_GET_EXTSIZE(pointer);
	if (total < BITMAP_HEADER - VARHDRSZ + sizeof(uint64))
		return RBUF_WHOLE;
	total -= BITMAP_HEADER - VARHDRSZ;
	for (;;)
	{
		have = Min(want, total);
		bytes = read_slice(value, 0, &have);
		found = mcdp_rbuf_bytes_locate(bytes, have, total, wanted, id, container, &want);
		if (found != RBUF_MORE)
			return found;
		if (want <= have)
			return RBUF_WHOLE;
	}
}

bool
mcdp_bitmap_arg_contains(FunctionCallInfo fcinfo, int n, uint64 id)
{
	RbufContainer container;
	Bitmap	   *bitmap;
	bool		result;
	size_t		pos;
	size_t		size;
	size_t		got;
	const char *bytes;

	switch (locate(fcinfo, n, RBUF_CONTAINER_OF, id, &container))
	{
		case RBUF_NONE:
			return false;
		case RBUF_FOUND:
			mcdp_rbuf_container_need(&container, id, &pos, &size);
			got = size;
			bytes = read_slice(PG_GETARG_DATUM(n), pos, &got);
			if (got == size)
				return mcdp_rbuf_container_contains(&container, bytes, id);
			break;
		default:
			break;
	}
	bitmap = mcdp_bitmap_fetch_arg(fcinfo, n);
	result = mcdp_rbuf_bytes_contains(bitmap->bytes, BITMAP_BYTES_LEN(bitmap), id);
	mcdp_bitmap_release_arg(fcinfo, n, bitmap);
	return result;
}

/* The smallest or the greatest id; false when there is none. */
bool
mcdp_bitmap_arg_end(FunctionCallInfo fcinfo, int n, bool last, uint64 *id)
{
	RbufContainer container;
	Bitmap	   *bitmap;
	bool		result;
	size_t		got;
	const char *bytes;

	switch (locate(fcinfo, n, last ? RBUF_LAST_CONTAINER : RBUF_FIRST_CONTAINER,
				   0, &container))
	{
		case RBUF_NONE:
			return false;
		case RBUF_FOUND:
			got = container.size;
			bytes = read_slice(PG_GETARG_DATUM(n), container.pos, &got);
			if (got == container.size)
			{
				*id = last ? mcdp_rbuf_container_max(&container, bytes) :
					mcdp_rbuf_container_min(&container, bytes);
				return true;
			}
			break;
		default:
			break;
	}
	bitmap = mcdp_bitmap_fetch_arg(fcinfo, n);
	result = mcdp_rbuf_bytes_end(bitmap->bytes, BITMAP_BYTES_LEN(bitmap), last, id);
	mcdp_bitmap_release_arg(fcinfo, n, bitmap);
	return result;
}
