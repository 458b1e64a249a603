/*-------------------------------------------------------------------------
 *
 * btree_run.h
 *	  Many entries of a btree, in order: inserted, or looked for.
 *
 * PostgreSQL goes down from the root for each.  Here a leaf that one key was on
 * is kept, and the next one looked for there first.  What is not plain is left
 * to PostgreSQL: a full page, a key that is there already or may be, a NULL.
 *
 * Keys should ascend; it works, slowly, if they do not.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/btree_run.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_BTREE_RUN_H
#define MCDP_BTREE_RUN_H

#include "nodes/execnodes.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

typedef struct BtreeRun BtreeRun;

/* the setting marketing_cdp.index_runs */
extern void mcdp_run_init(void);

/* For an index that is open; NULL if it is none for this. */
extern BtreeRun *mcdp_run_begin(Relation heap, Relation index, const IndexInfo *info);

/*
 * The entry of a row; false if it was left to index_insert.  The leaf stays
 * locked: leave it before anything else is done than forming the next entry.
 */
extern bool mcdp_run_insert(BtreeRun *run, Datum *values, bool *isnull, ItemPointer tid);

/*
 * The rows with this key, as far as there are entries: how many, or -1 if that
 * takes a scan.  Of an index of one column; keys must ascend.  A leaf stays pinned.
 */
extern int	mcdp_run_find(BtreeRun *run, Datum key, ItemPointerData *tids, int max);

/* Let the leaf go; the next key is looked for from the root. */
extern void mcdp_run_leave(BtreeRun *run);

extern void mcdp_run_end(BtreeRun *run);

#endif							/* MCDP_BTREE_RUN_H */
