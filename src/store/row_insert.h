/*-------------------------------------------------------------------------
 *
 * row_insert.h
 *	  Rows into our own tables without a query.
 *
 * Rows are inserted as ON CONFLICT DO NOTHING does it (speculatively): when
 * there is one with the same key, or may be because another transaction has
 * just inserted it, nothing is left behind.
 *
 * Nothing is done for somebody who might not do it in SQL, nor past triggers,
 * row security or columns that we do not know: mcdp_target_open says so.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/row_insert.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_ROW_INSERT_H
#define MCDP_ROW_INSERT_H

#include "executor/tuptable.h"
#include "nodes/execnodes.h"

/* what an index waits for */
typedef struct LateEntry
{
	int64		key;
	ItemPointerData tid;
} LateEntry;

typedef struct Target
{
	Relation	rel;			/* NULL: not open */
	EState	   *estate;
	bool		own_estate;
	ResultRelInfo *info;
	TupleTableSlot *slot;
	TupleTableSlot **gathered;	/* NULL: none yet; slot is not one of them */
	int			num_gathered;
	Size		bytes_gathered;
	struct BtreeRun **run;		/* of each index: NULL, or for entries of rows that were gathered */
	LateEntry **late;			/* of each index: NULL, or entries of rows that were gathered */
	int			num_late;
	int			max_late;
	void		(*refused) (TupleTableSlot *row, void *arg);	/* or NULL: see mcdp_target_gather */
	void	   *refused_arg;
} Target;

extern bool mcdp_target_open(Target *t, Relation rel, int columns);

/* Several that are open at the same time can do with the one of the first. */
extern bool mcdp_target_open_with(Target *t, Relation rel, int columns, EState *estate);

/* The same for a table by its OID; false if there is none.  estate may be NULL. */
extern bool mcdp_target_open_id(Target *t, Oid relid, int columns, EState *estate);
extern void mcdp_target_close(Target *t);

/* What has been set since the last clear becomes a row in the slot; inserting does that itself. */
extern void mcdp_target_store(Target *t);

/* A row: clear, set what is not null, insert; false if there is one, or may be. */
extern void mcdp_target_clear(Target *t);
extern void mcdp_target_set(Target *t, AttrNumber column, Datum value);
extern void mcdp_target_set_text(Target *t, AttrNumber column, text *value);
extern bool mcdp_target_insert(Target *t);

/*
 * Rows that are to be there all or none: begin, try each (false: there is one
 * with its key, or may be), end.  Until then others who insert such a key wait
 * for that moment only; what is not kept is gone at once, and no lock stays behind.
 */
extern uint32 mcdp_target_begin_trying(void);
extern bool mcdp_target_try(Target *t, uint32 token);
extern void mcdp_target_end_trying(Target *t, ItemPointerData *tids, int num, bool keep);

/*
 * The same with half the WAL, for a caller who has made sure that nobody else is
 * inserting this key; if somebody is all the same, a dead row is left behind.
 */
extern bool mcdp_target_insert_alone(Target *t);

/* The same for a row whose key cannot be there yet; it is an error if it is. */
extern void mcdp_target_insert_new(Target *t);

/*
 * Many rows: gather each in place of inserting it, and flush in the end.  They
 * are written to the table together, and to its indexes one by one in the
 * order given, or in that of the index where nobody waits there.  Unsure: false if there was a row with such a key, which
 * the slot has then.  The caller has to abort before he waits for whoever inserted it:
 * our row is in the index, too, and two who wait so would wait for each other.
 * If the target has a function for that, it is told of each such row instead,
 * and a dead row is left behind.
 */
extern bool mcdp_target_gather(Target *t, bool unsure);
extern bool mcdp_target_flush(Target *t, bool unsure);

/* row_index.c: its index entries; false if unsure and there is a row with its key, or may be */
extern bool mcdp_target_index(Target *t, bool unsure);

/* Is there a row with this key?  Waits for whoever is inserting or deleting it. */
extern bool mcdp_target_wait(Target *t);

#endif							/* MCDP_ROW_INSERT_H */
