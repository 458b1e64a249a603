/*-------------------------------------------------------------------------
 *
 * btree_run.c
 *	  Many entries of a btree, in order: inserted, or looked for.
 *
 * An entry goes where PostgreSQL would put it (nbtinsert.c), with the same
 * lock on the same leaf and the same WAL record: all that is left out is the
 * way down from the root.  An entry with an equal one beside it, of which a unique
 * index would have to be asked, and one that would split its page are not ours.
 *
 * It is the server's business, and we do it because a third of a bulk load
 * is the way down (bench/identity.sh, import: four sessions bring 1.6 times as many
 * new pairs in a second).  So it is done with those major versions only that
 * test/tap/015_bulk_index.pl has passed on, and can be switched off
 * (marketing_cdp.index_runs): all of it can be left to the server at any time.
 *
 * Pages: a btree that grows takes its pages one by one, and sessions wait for
 * each other to do so.  The more splits a run meets, the more pages it gives
 * the index at a time, by way of its free space map.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/btree_run.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/nbtxlog.h"
#include "access/xact.h"
#include "access/xloginsert.h"
#include "catalog/pg_am.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/guc.h"
#include "utils/rel.h"

#include "core/compat.h"
#include "store/btree_run.h"

#define BEYOND	(MaxOffsetNumber + 1)	/* of a place: on a page on the right, or maybe */

#define FEW_SPLITS 4
#define MAX_PAGES 64
#define LARGE_ENTRY (BLCKSZ / 8)

struct BtreeRun
{
	Relation	heap;
	Relation	index;
	BTScanInsert key;
	Buffer		leaf;			/* pinned */
	bool		locked;
	OffsetNumber next;			/* on it: what is before is less than the next key, */
	XLogRecPtr	lsn;			/* if it is as it was then, or still locked */
	BlockNumber full;			/* index_insert has just had this one to make room on, */
	BlockNumber right;			/* which had this one on its right */
	int			splits;			/* since we gave it pages: */
	int			given;			/* so many */
};

static bool enabled = true;

void
mcdp_run_init(void)
{
	DefineCustomBoolVariable("marketing_cdp.index_runs",
							 "Bulk loads go through indexes leaf by leaf.",
							 "If off, every index entry is looked for and inserted from the root.",
							 &enabled, true, PGC_SUSET, 0, NULL, NULL, NULL);
}

BtreeRun *
mcdp_run_begin(Relation heap, Relation index, const IndexInfo *info)
{
	BtreeRun   *run;

	if (!enabled || !MCDP_KNOWS_NBTREE ||
		index->rd_rel->relam != BTREE_AM_OID || info->ii_Predicate != NIL || info->ii_Expressions != NIL ||
		index->rd_index->indisexclusion || !index->rd_index->indimmediate || IsolationIsSerializable())
		return NULL;
	run = palloc0(sizeof(BtreeRun));
	run->heap = heap;
	run->index = index;
	run->leaf = InvalidBuffer;
	run->full = InvalidBlockNumber;
	run->key = _bt_mkscankey(index, NULL);
	_bt_metaversion(index, &run->key->heapkeyspace, &run->key->allequalimage);
	run->key->keysz = IndexRelationGetNumberOfKeyAttributes(index);
	if (run->key->heapkeyspace)
		return run;
	mcdp_run_end(run);			/* from before PostgreSQL 12 */
	return NULL;
}

void
mcdp_run_end(BtreeRun *run)
{
	mcdp_run_leave(run);
	pfree(run->key);
	pfree(run);
}

static void
set_key(BtreeRun *run, Datum *values, ItemPointer tid)
{
	run->key->anynullkeys = false;
	run->key->scantid = tid;
	for (int i = 0; i < run->key->keysz; i++)
	{
		run->key->scankeys[i].sk_argument = values[i];
		run->key->scankeys[i].sk_flags &= ~SK_ISNULL;
	}
}

void
mcdp_run_leave(BtreeRun *run)
{
	if (!BufferIsValid(run->leaf))
		return;
	if (run->locked)
		_bt_unlockbuf(run->index, run->leaf);
	ReleaseBuffer(run->leaf);
	run->leaf = InvalidBuffer;
	run->locked = false;
}

/*
 * The first place on the leaf, from "low" on, that is not before the key.  All
 * before low is less.
 */
static OffsetNumber
find_place(BtreeRun *run, OffsetNumber low, bool *equal)
{
	Page		page = BufferGetPage(run->leaf);
	OffsetNumber max = PageGetMaxOffsetNumber(page);
	OffsetNumber high = max + 1;
	int32		c;

	*equal = false;
	if (low <= max)
	{
		/* mostly it is the next one */
		c = _bt_compare(run->index, run->key, page, low);
		*equal = c == 0;
		if (c <= 0)
			return low;
		low++;
	}
	if (!P_RIGHTMOST(BTPageGetOpaque(page)) && _bt_compare(run->index, run->key, page, P_HIKEY) >= 0)
		return BEYOND;
	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		c = _bt_compare(run->index, run->key, page, middle);
		if (c <= 0)
		{
			*equal = c == 0;
			high = middle;
		}
		else
			low = middle + 1;
	}
	return low;
}

/* From the root to the leaf of the key, which is locked then; false if there is none, or none for us. */
static bool
go_down(BtreeRun *run, int access)
{
	BTStack		stack = mcdp_bt_search(run->index, run->heap, run->key, &run->leaf, access);
	BTPageOpaque opaque;

	_bt_freestack(stack);
	if (!BufferIsValid(run->leaf))
		return false;
	run->locked = true;
	opaque = BTPageGetOpaque(BufferGetPage(run->leaf));
	if (P_IGNORE(opaque) || P_INCOMPLETE_SPLIT(opaque))
	{
		mcdp_run_leave(run);
		return false;
	}
	run->next = P_FIRSTDATAKEY(opaque);
	if (run->full != InvalidBlockNumber && (BufferGetBlockNumber(run->leaf) != run->full || opaque->btpo_next != run->right))
		run->splits++;
	run->full = InvalidBlockNumber;
	return true;
}

/*
 * The leaf is full.  If the index has been splitting leaves, give it pages for
 * more.  They are all zeros, as after a crash, and one that is never used is found by VACUUM.
 */
static void
give_pages(BtreeRun *run)
{
	Buffer		buffers[MAX_PAGES];
	BlockNumber first = InvalidBlockNumber;
	BlockNumber last = 0;
	uint32		num;

	if (run->splits < Max(run->given, FEW_SPLITS))
		return;
	run->given = run->given == 0 ? FEW_SPLITS : Min(2 * run->given, MAX_PAGES);
	run->splits = 0;
	mcdp_extend_relation(run->index, run->given, buffers, &num);
	for (uint32 i = 0; i < num; i++)
	{
		BlockNumber block = BufferGetBlockNumber(buffers[i]);

		ReleaseBuffer(buffers[i]);
		RecordFreeIndexPage(run->index, block);
		first = Min(first, block);
		last = Max(last, block);
	}
	FreeSpaceMapVacuumRange(run->index, first, last + 1);
}

static void
add_entry(BtreeRun *run, IndexTuple entry, Size size, OffsetNumber place)
{
	Page		page = BufferGetPage(run->leaf);

	CheckForSerializableConflictIn(run->index, NULL, BufferGetBlockNumber(run->leaf));
	START_CRIT_SECTION();
	if (PageAddItem(page, (Item) entry, size, place, false, false) == InvalidOffsetNumber)
		elog(PANIC, "failed to add an entry to block %u in index \"%s\"",
			 BufferGetBlockNumber(run->leaf), RelationGetRelationName(run->index));
	MarkBufferDirty(run->leaf);
	if (RelationNeedsWAL(run->index))
	{
		xl_btree_insert record = {.offnum = place};
		XLogRecPtr	lsn;

		XLogBeginInsert();
		XLogRegisterData((char *) &record, SizeOfBtreeInsert);
		XLogRegisterBuffer(0, run->leaf, REGBUF_STANDARD);
		XLogRegisterBufData(0, (char *) entry, IndexTupleSize(entry));
		lsn = XLogInsert(RM_BTREE_ID, XLOG_BTREE_INSERT_LEAF);
		PageSetLSN(page, lsn);
	}
	END_CRIT_SECTION();
	run->next = place + 1;
}

/* Where on the leaf that we have, if it is for the key; else that is left. */
static OffsetNumber
place_on_leaf(BtreeRun *run, bool *equal)
{
	OffsetNumber place;

	if (!BufferIsValid(run->leaf))
		return BEYOND;
	if (_bt_compare(run->index, run->key, BufferGetPage(run->leaf), run->next - 1) <= 0)
		place = BEYOND;			/* keys do not ascend */
	else
		place = find_place(run, run->next, equal);
	if (place == BEYOND)
		mcdp_run_leave(run);
	return place;
}

bool
mcdp_run_insert(BtreeRun *run, Datum *values, bool *isnull, ItemPointer tid)
{
	IndexTuple	entry;
	Size		size;
	OffsetNumber place;
	bool		equal;
	bool		full;

	for (int i = 0; i < run->key->keysz; i++)
	{
		if (isnull[i])
		{
			mcdp_run_leave(run);
			return false;
		}
	}
	entry = index_form_tuple(RelationGetDescr(run->index), values, isnull);
	entry->t_tid = *tid;
	size = MAXALIGN(IndexTupleSize(entry));
	/* in a unique index equal keys meet, whatever their rows */
	set_key(run, values, run->index->rd_index->indisunique ? NULL : &entry->t_tid);

	place = place_on_leaf(run, &equal);
	if (place == BEYOND && go_down(run, BT_WRITE))
		place = find_place(run, run->next, &equal);
	if (!BufferIsValid(run->leaf))
	{
		pfree(entry);
		return false;
	}
	full = PageGetFreeSpace(BufferGetPage(run->leaf)) < size;
	if (place != BEYOND && !equal && !full && size <= LARGE_ENTRY)
	{
		add_entry(run, entry, size, place);
		pfree(entry);
		return true;
	}
	if (full)
	{
		run->full = BufferGetBlockNumber(run->leaf);
		run->right = BTPageGetOpaque(BufferGetPage(run->leaf))->btpo_next;
	}
	mcdp_run_leave(run);
	pfree(entry);
	if (full)
		give_pages(run);
	return false;
}

/* The leaf that we have is pinned only: anything may have happened to it but that it serves another index. */
static void
lock_again(BtreeRun *run)
{
	BTPageOpaque opaque;

	_bt_lockbuf(run->index, run->leaf, BT_READ);
	run->locked = true;
	opaque = BTPageGetOpaque(BufferGetPage(run->leaf));
	if (P_IGNORE(opaque))
		mcdp_run_leave(run);
	else if (!RelationNeedsWAL(run->index) || PageGetLSN(BufferGetPage(run->leaf)) != run->lsn)
		run->next = P_FIRSTDATAKEY(opaque);
}

/* The rows of the entries from this place on that are equal to the key; -1 if there may be more elsewhere. */
static int
equal_rows(BtreeRun *run, OffsetNumber place, ItemPointerData *tids, int max)
{
	Page		page = BufferGetPage(run->leaf);
	int			num = 0;

	for (; place <= PageGetMaxOffsetNumber(page); place++)
	{
		ItemId		id = PageGetItemId(page, place);
		IndexTuple	entry = (IndexTuple) PageGetItem(page, id);

		if (_bt_compare(run->index, run->key, page, place) != 0)
			return num;
		if (ItemIdIsDead(id))
			continue;
		if (BTreeTupleIsPosting(entry) || num == max)
			return -1;
		tids[num++] = entry->t_tid;
	}
	return P_RIGHTMOST(BTPageGetOpaque(page)) ? num : -1;
}

int
mcdp_run_find(BtreeRun *run, Datum key, ItemPointerData *tids, int max)
{
	OffsetNumber place = BEYOND;
	bool		equal = false;
	int			num = 0;

	set_key(run, &key, NULL);
	pgstat_count_index_scan(run->index);
	if (BufferIsValid(run->leaf))
		lock_again(run);
	if (BufferIsValid(run->leaf))
	{
		place = find_place(run, run->next, &equal);
		if (place == BEYOND)
			mcdp_run_leave(run);
	}
	if (place == BEYOND)
	{
		if (!go_down(run, BT_READ))
			return -1;
		place = find_place(run, run->next, &equal);
	}
	if (place == BEYOND)
	{
		mcdp_run_leave(run);
		return -1;
	}
	if (equal)
		num = equal_rows(run, place, tids, max);
	run->next = place;
	run->lsn = PageGetLSN(BufferGetPage(run->leaf));
	_bt_unlockbuf(run->index, run->leaf);
	run->locked = false;
	return num;
}
