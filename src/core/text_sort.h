/*-------------------------------------------------------------------------
 *
 * text_sort.h
 *	  A template: sort elements by the bytes of a text each.
 *
 * Eight bytes of the texts at a time are compared as a number, which stands in
 * the element; those that have them in common are sorted by what follows
 * (multikey quicksort, Bentley and Sedgewick 1997, with a larger alphabet).  So
 * identifiers of a namespace, which begin alike, are not read once for each
 * comparison.  Elements with equal texts come out in any order.
 *
 * Define before including it
 *
 *	TEXT_SORT			what it is to be called
 *	TEXT_SORT_ELEMENT	a struct with "uint64 key", which is for the sort alone
 *	TEXT_SORT_ARG		of what type the argument is that follows
 *	TEXT_SORT_OF(e, arg)		the text of *e, a struct varlena *: not compressed, without a byte 0
 *	TEXT_SORT_AHEAD(e, arg)		(optional) fetch what that reads into the processor's cache
 *
 * and get TEXT_SORT(element *, size_t num, arg *).  All are undefined after it.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/text_sort.h
 *
 *-------------------------------------------------------------------------
 */
#include "miscadmin.h"
#include "port/pg_bswap.h"

#include "core/text_order.h"

#define TEXT_SORT_JOIN(a, b) CppConcat(a, b)
#define TEXT_SORT_NAME(what) TEXT_SORT_JOIN(TEXT_SORT, what)

/* texts that have so many bytes in common are compared as a whole */
#define TEXT_SORT_LONG_PREFIX 256
#define TEXT_SORT_NUM_AHEAD 16

#define ST_SORT TEXT_SORT_NAME(_by_key)
#define ST_ELEMENT_TYPE TEXT_SORT_ELEMENT
#define ST_COMPARE(a, b) ((a)->key < (b)->key ? -1 : (a)->key > (b)->key)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT TEXT_SORT_NAME(_by_text)
#define ST_ELEMENT_TYPE TEXT_SORT_ELEMENT
#define ST_COMPARE(a, b, arg) mcdp_compare_texts(TEXT_SORT_OF(a, arg), TEXT_SORT_OF(b, arg))
#define ST_COMPARE_ARG_TYPE const TEXT_SORT_ARG
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* 8 bytes of a text as a number that sorts as they do.  What is beyond its end is smaller than anything. */
static uint64
TEXT_SORT_NAME(_key) (struct varlena *text, Size skip)
{
	Size		len = VARSIZE_ANY_EXHDR(text);
	uint64		key = 0;

	if (skip < len)
		memcpy(&key, VARDATA_ANY(text) + skip, Min(len - skip, sizeof(key)));
	return pg_ntoh64(key);
}

/* Those that have "skip" bytes in common. */
static void
TEXT_SORT_NAME(_from) (TEXT_SORT_ELEMENT *elements, size_t num, Size skip, const TEXT_SORT_ARG *arg)
{
	CHECK_FOR_INTERRUPTS();
	if (skip >= TEXT_SORT_LONG_PREFIX)
	{
		TEXT_SORT_NAME(_by_text) (elements, num, arg);
		return;
	}
	for (size_t i = 0; i < num; i++)
	{
#ifdef TEXT_SORT_AHEAD
		if (i + TEXT_SORT_NUM_AHEAD < num)
			TEXT_SORT_AHEAD(&elements[i + TEXT_SORT_NUM_AHEAD], arg);
#endif
		elements[i].key = TEXT_SORT_NAME(_key) (TEXT_SORT_OF(&elements[i], arg), skip);
	}
	TEXT_SORT_NAME(_by_key) (elements, num);
	for (size_t first = 0, end; first < num; first = end)
	{
		for (end = first + 1; end < num && elements[end].key == elements[first].key;)
			end++;
		/* a last byte 0 is beyond the end: these are equal */
		if (end - first > 1 && (elements[first].key & 0xff) != 0)
			TEXT_SORT_NAME(_from) (elements + first, end - first, skip + sizeof(uint64), arg);
	}
}

static void
TEXT_SORT(TEXT_SORT_ELEMENT *elements, size_t num, const TEXT_SORT_ARG *arg)
{
	TEXT_SORT_NAME(_from) (elements, num, 0, arg);
}

#undef TEXT_SORT
#undef TEXT_SORT_ELEMENT
#undef TEXT_SORT_ARG
#undef TEXT_SORT_OF
#undef TEXT_SORT_AHEAD
#undef TEXT_SORT_NAME
#undef TEXT_SORT_JOIN
#undef TEXT_SORT_LONG_PREFIX
#undef TEXT_SORT_NUM_AHEAD
