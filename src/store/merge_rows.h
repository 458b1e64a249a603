/*-------------------------------------------------------------------------
 *
 * merge_rows.h
 *	  New rows that merges write.
 *
 * Those of many merges are gathered, and written together: at the end, or before
 * a query that may look at them.
 *
 *		merge_rows.c	rows that are new whatever there is
 *		merge_marks.c	what every merge says of profiles it was about: their timelines are
 *						read together with others (timeline_part), and which internal and
 *						maintained tags they have (tag_pending)
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/merge_rows.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_MERGE_ROWS_H
#define MCDP_MERGE_ROWS_H

#include "store/row_insert.h"

/* timeline_part, tag_own, profile_merge: positions; profile_queue: stitch.h */
enum
{
	PART_PROFILE_ID = 1, PART_PART, PART_SOLE, PART_SEALED, PART_TIMELINE, PART_COLUMNS = PART_TIMELINE
};
enum
{
	OWN_PROFILE_ID = 1, OWN_AFTER_MERGE, OWN_TAG, OWN_PRESENT, OWN_EXPIRES_AT, OWN_COLUMNS = OWN_EXPIRES_AT
};
enum
{
	MERGE_MERGE_ID = 1, MERGE_SURVIVOR, MERGE_MERGED, MERGE_AT, MERGE_CAUSE, MERGE_SOURCE, MERGE_REASON, MERGE_EVIDENCE,
	MERGE_MEMBERS, MERGE_TAGS, MERGE_UNDONE_AT, MERGE_LEAF_A, MERGE_LEAF_B, MERGE_EXPIRED_TO, MERGE_KEPT_APART,
	MERGE_UNDONE_REASON, MERGE_COLUMNS = MERGE_UNDONE_REASON
};

typedef enum MergeTable
{
	INTO_QUEUE, INTO_OWN, INTO_MERGE, NUM_MERGE_TABLES
} MergeTable;

/* a row that is being put together: column 1 is the first */
typedef struct Row
{
	Datum		value[MERGE_COLUMNS];
	bool		null[MERGE_COLUMNS];
} Row;

/* a tag that a profile gets or loses */
typedef struct MergeTag
{
	text	   *tag;
	int64		id;
	bool		present;
	bool		unless_had;		/* it may have it, */
	bool		if_grouped;		/* but only if its timeline was read together with others before */
} MergeTag;

typedef struct MergeRows
{
	MemoryContext context;		/* in which all of it lives */
	EState	   *estate;
	bool		many;			/* gather them */
	Target		target[NUM_MERGE_TABLES];	/* open, if rows have been gathered */
	int64	   *leaf;			/* whose timelines are read together with others from now on */
	int			num_leaves;
	int			max_leaves;
	MergeTag   *tag;
	int			num_tags;
	int			max_tags;
} MergeRows;

extern MergeRows *mcdp_merge_rows_begin(bool many);

extern void mcdp_row_begin(Row *row);
extern void mcdp_row_set(Row *row, AttrNumber column, Datum value);
extern void mcdp_row_set_text(Row *row, AttrNumber column, text *value);

/* A new row. */
extern void mcdp_merge_row(MergeRows *rows, MergeTable table, Row *row);

/* merge_marks.c: the timeline of the leaf is read together with others; the profile gets or loses a tag. */
extern void mcdp_merge_mark(MergeRows *rows, int64 leaf);
extern void mcdp_merge_tag(MergeRows *rows, const char *tag, int64 id, bool present, bool unless_had);
extern void mcdp_merge_marks_write(MergeRows *rows);

/* What has been gathered goes into the tables now. */
extern void mcdp_merge_rows_write(MergeRows *rows);
extern void mcdp_merge_rows_end(MergeRows *rows);

#endif							/* MCDP_MERGE_ROWS_H */
