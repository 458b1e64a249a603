/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between PostgreSQL majors (15 is the floor).
 *
 * The only file that tests the server's version.  Include after postgres.h.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/compat.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_COMPAT_H
#define MCDP_COMPAT_H

#if PG_VERSION_NUM >= 160000
#include "varatt.h"				/* VARDATA and friends moved here in 16 */
#endif

#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* A scan of an index; needs access/genam.h. */
#if PG_VERSION_NUM >= 180000
#define mcdp_index_beginscan(rel, index, snapshot, keys) \
	index_beginscan(rel, index, snapshot, NULL, keys, 0)
#else
#define mcdp_index_beginscan(rel, index, snapshot, keys) \
	index_beginscan(rel, index, snapshot, keys, 0)
#endif

/* Whether a row with the same key is there, waiting for whoever is inserting it. */
#if PG_VERSION_NUM >= 180000
#define mcdp_check_index_constraints(info, slot, estate, tid) \
	ExecCheckIndexConstraints(info, slot, estate, tid, NULL, NIL)
#else
#define mcdp_check_index_constraints(info, slot, estate, tid) \
	ExecCheckIndexConstraints(info, slot, estate, tid, NIL)
#endif

/* Insertion into indexes, speculative if unsure; both need executor/executor.h. */
#if PG_VERSION_NUM >= 160000
#define mcdp_insert_index_tuples(info, slot, estate, unsure, conflict) \
	ExecInsertIndexTuples(info, slot, estate, false, unsure, conflict, NIL, false)
#else
#define mcdp_insert_index_tuples(info, slot, estate, unsure, conflict) \
	ExecInsertIndexTuples(info, slot, estate, false, unsure, conflict, NIL)
#endif

/* What an update of a row says about its indexes; needs access/tableam.h. */
#if PG_VERSION_NUM >= 160000
#define McdpUpdateIndexes TU_UpdateIndexes
#define mcdp_update_all_indexes(u) ((u) == TU_All)
#else
#define McdpUpdateIndexes bool
#define mcdp_update_all_indexes(u) (u)
#endif

/* Those that test/tap/015_bulk_index.pl has passed on: see store/btree_run.c. */
#define MCDP_KNOWS_NBTREE (PG_VERSION_NUM < 190000)

/* Does this session hold that lock in this very mode?  Needs storage/lock.h. */
#if PG_VERSION_NUM >= 170000
#define mcdp_lock_held(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define mcdp_lock_held(tag, mode) LockHeldByMe(tag, mode)
#endif

/* From the root of a btree to a leaf; needs access/nbtree.h. */
#if PG_VERSION_NUM >= 170000
#define mcdp_bt_search(index, heap, key, leaf, access) _bt_search(index, heap, key, leaf, access)
#elif PG_VERSION_NUM >= 160000
#define mcdp_bt_search(index, heap, key, leaf, access) _bt_search(index, heap, key, leaf, access, NULL)
#else
#define mcdp_bt_search(index, heap, key, leaf, access) _bt_search(index, key, leaf, access, NULL)
#endif

/* So many new pages of zeros at the end of a relation, pinned; needs storage/bufmgr.h and storage/lmgr.h. */
#if PG_VERSION_NUM >= 160000
#define mcdp_extend_relation(rel, count, buffers, num) \
	(void) ExtendBufferedRelBy(BMR_REL(rel), MAIN_FORKNUM, NULL, 0, count, buffers, num)
#else
#define mcdp_extend_relation(rel, count, buffers, num) \
	do { \
		LockRelationForExtension(rel, ExclusiveLock); \
		for (*(num) = 0; *(num) < (count); (*(num))++) \
			(buffers)[*(num)] = ReadBufferExtended(rel, MAIN_FORKNUM, P_NEW, RBM_NORMAL, NULL); \
		UnlockRelationForExtension(rel, ExclusiveLock); \
	} while (0)
#endif

/* Runs a portal to its end; needs tcop/pquery.h. */
#if PG_VERSION_NUM >= 180000
#define mcdp_portal_run(portal, count, top, dest, altdest, completion) \
	PortalRun(portal, count, top, dest, altdest, completion)
#else
#define mcdp_portal_run(portal, count, top, dest, altdest, completion) \
	PortalRun(portal, count, top, true, dest, altdest, completion)
#endif

/* Whether the present user may call a function; needs utils/acl.h and catalog/pg_proc.h. */
#if PG_VERSION_NUM >= 160000
#define mcdp_proc_aclcheck(oid) object_aclcheck(ProcedureRelationId, oid, GetUserId(), ACL_EXECUTE)
#else
#define mcdp_proc_aclcheck(oid) pg_proc_aclcheck(oid, GetUserId(), ACL_EXECUTE)
#endif

/* The order of an expression, if anybody cares; needs optimizer/paths.h. */
#if PG_VERSION_NUM >= 160000
#define mcdp_expression_pathkey(root, expr, op, relids) build_expression_pathkey(root, expr, op, relids, false)
#else
#define mcdp_expression_pathkey(root, expr, op, relids) build_expression_pathkey(root, expr, NULL, op, relids, false)
#endif

#endif							/* MCDP_COMPAT_H */
