/*-------------------------------------------------------------------------
 *
 * timeline_slice_fn.c
 *	  slice(): the events of a stretch of time.
 *
 * Of a long timeline that lies out of line only what the slice needs is read:
 * the head, a few times to find its ends, and of each column the part between
 * them (dictionaries whole).  The pieces go to where they would be in a full
 * copy, the rest of which is never touched.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/timeline_slice_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "types/timeline_codec.h"
#include "types/timeline_datum.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Shorter ones are read whole: a piece costs as much as some 16 kB. */
#define LONG_TIMELINE	(128 * 1024)

/* So many bytes of times, or fewer, are read at once when looking for an instant. */
#define TIMES_AT_ONCE	4096

#define MAX_HEAD		(offsetof(Timeline, columns) + TIMELINE_NUM_COLUMNS * sizeof(TimelineColumn))

/* Copies bytes of a stored value to their place in the copy. */
static void
read_piece(Datum d, Timeline *copy, size_t offset, size_t len)
{
	struct varlena *piece;

	if (len == 0)
		return;
	piece = PG_DETOAST_DATUM_SLICE(d, offset - VARHDRSZ, len);
	memcpy((char *) copy + offset, VARDATA_ANY(piece), len);
	pfree(piece);
}

/* As mcdp_timeline_first_from, reading the times that it looks at. */
static uint32
find_from(Datum d, Timeline *copy, TimestampTz at)
{
	const TimelineColumn *times = &copy->columns[0];
	uint64		unit = timeline_unit(times->detail);
	int			shift = times->encoding;
	uint32		low = 0,
				high = copy->nevents;
	bool		all_read = false;

	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;
		size_t		offset = times->offset + ((size_t) middle << shift);
		uint64		distance = 0;

		if (!all_read)
		{
			all_read = ((size_t) (high - low) << shift) <= TIMES_AT_ONCE;
			if (all_read)
				read_piece(d, copy, times->offset + ((size_t) low << shift), (size_t) (high - low) << shift);
			else
				read_piece(d, copy, offset, (size_t) 1 << shift);
		}
		memcpy(&distance, (char *) copy + offset, (size_t) 1 << shift); /* little-endian */
		if ((TimestampTz) ((uint64) copy->base + distance * unit) < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * The timeline with what events *first … *last - 1 need, those in
 * [since, until); NULL when it is better read whole.
 */
static Timeline *
read_slice(Datum d, const TimestampTz *since, const TimestampTz *until, uint32 *first, uint32 *last)
{
	struct varatt_external pointer;
	Timeline   *copy;

	if (!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(d)) || (since == NULL && until == NULL))
		return NULL;
	VARATT_EXTERNAL_GET_POINTER(pointer, (struct varlena *) DatumGetPointer(d));
	if (VARATT_EXTERNAL_IS_COMPRESSED(pointer) || pointer.va_rawsize < LONG_TIMELINE)
		return NULL;

	copy = MemoryContextAllocHuge(CurrentMemoryContext, pointer.va_rawsize);
	SET_VARSIZE(copy, pointer.va_rawsize);
	read_piece(d, copy, VARHDRSZ, MAX_HEAD - VARHDRSZ);
	if (copy->version != TIMELINE_VERSION || copy->ncolumns > TIMELINE_NUM_COLUMNS)
	{
		pfree(copy);
		return NULL;
	}
	*first = since == NULL ? 0 : find_from(d, copy, *since);
	*last = until == NULL ? copy->nevents : find_from(d, copy, *until);
	for (int i = 0; i < copy->ncolumns; i++)
	{
		const TimelineColumn *col = &copy->columns[i];

		if (col->id == TIMELINE_COL_EVENT_DICT || col->id == TIMELINE_COL_LABEL_DICT)
			read_piece(d, copy, col->offset, col->length);
		else if (*first < *last)
		{
			size_t		width = col->length / copy->nevents;

			read_piece(d, copy, col->offset + *first * width, (*last - *first) * width);
		}
	}
	return copy;
}

/* slice(timeline, since, until): [since, until), NULL = unbounded */
PG_FUNCTION_INFO_V1(mcdp_slice);
Datum
mcdp_slice(PG_FUNCTION_ARGS)
{
	TimestampTz since = PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz until = PG_GETARG_TIMESTAMPTZ(2);
	TimelineView v;
	TimelineBuilder *b;
	Timeline   *t,
			   *result;
	uint32		first,
				last;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	t = read_slice(PG_GETARG_DATUM(0), PG_ARGISNULL(1) ? NULL : &since, PG_ARGISNULL(2) ? NULL : &until, &first, &last);
	if (t != NULL)
		mcdp_timeline_open(&v, t);
	else
	{
		t = PG_GETARG_TIMELINE_P(0);
		mcdp_timeline_open(&v, t);
		first = PG_ARGISNULL(1) ? 0 : mcdp_timeline_first_from(&v, since);
		last = PG_ARGISNULL(2) ? v.nevents : mcdp_timeline_first_from(&v, until);
	}
	b = mcdp_timeline_builder_create(CurrentMemoryContext);
	mcdp_timeline_builder_add_view(b, &v, first, last, NULL);
	result = mcdp_timeline_builder_finish(b);
	PG_FREE_IF_COPY(t, 0);
	PG_RETURN_TIMELINE_P(result);
}
