/*-------------------------------------------------------------------------
 *
 * row_index.c
 *	  The index entries of one row.
 *
 * The server compiles the predicate of a partial index anew for each
 * statement, which costs as much as an entry of the index.  Those of ours are
 * simple, and answered from the row.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/row_index.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/index.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "core/compat.h"
#include "store/row_insert.h"

typedef enum Answer
{
	YES,
	NO,							/* false or null */
	UNDECIDED
} Answer;

/* The value of a column of the row, if that is what the expression is. */
static bool
is_column(Node *node, TupleTableSlot *slot, NullableDatum *value)
{
	if (!IsA(node, Var) || ((Var *) node)->varattno <= 0)
		return false;
	value->value = slot_getattr(slot, ((Var *) node)->varattno, &value->isnull);
	return true;
}

/* column = 'text' */
static Answer
is_text(OpExpr *clause, TupleTableSlot *slot)
{
	NullableDatum column;
	Const	   *constant = lsecond(clause->args);
	text	   *a,
			   *b;

	/* with these, texts are equal when their bytes are */
	if (clause->opfuncid != F_TEXTEQ || (clause->inputcollid != DEFAULT_COLLATION_OID && clause->inputcollid != C_COLLATION_OID) ||
		!IsA(constant, Const) || constant->constisnull || !is_column(linitial(clause->args), slot, &column))
		return UNDECIDED;
	if (column.isnull)
		return NO;
	a = DatumGetTextPP(column.value);
	b = DatumGetTextPP(constant->constvalue);
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0 ? YES : NO;
}

static Answer
ask(Node *clause, TupleTableSlot *slot)
{
	NullableDatum column;

	if (IsA(clause, NullTest) && !((NullTest *) clause)->argisrow && is_column((Node *) ((NullTest *) clause)->arg, slot, &column))
		return column.isnull == (((NullTest *) clause)->nulltesttype == IS_NULL) ? YES : NO;
	if (IsA(clause, BoolExpr) && ((BoolExpr *) clause)->boolop == NOT_EXPR && is_column(linitial(((BoolExpr *) clause)->args), slot, &column))
		return !column.isnull && !DatumGetBool(column.value) ? YES : NO;
	if (IsA(clause, OpExpr) && list_length(((OpExpr *) clause)->args) == 2)
		return is_text((OpExpr *) clause, slot);
	return UNDECIDED;
}

/* Does the predicate of the index hold for the row? */
static bool
belongs(Target *t, IndexInfo *info)
{
	bool		undecided = false;
	ListCell   *lc;

	foreach(lc, info->ii_Predicate)
	{
		Answer		answer = ask(lfirst(lc), t->slot);

		if (answer == NO)
			return false;
		undecided |= answer == UNDECIDED;
	}
	if (!undecided)
		return true;
	if (info->ii_PredicateState == NULL)
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, t->estate);
	GetPerTupleExprContext(t->estate)->ecxt_scantuple = t->slot;
	return ExecQual(info->ii_PredicateState, GetPerTupleExprContext(t->estate));
}

bool
mcdp_target_index(Target *t, bool unsure)
{
	bool		ok = true;

	for (int i = 0; i < t->info->ri_NumIndices && ok; i++)
	{
		Relation	index = t->info->ri_IndexRelationDescs[i];
		IndexInfo  *info = t->info->ri_IndexRelationInfo[i];
		bool		unique = index->rd_index->indisunique;
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		if (!info->ii_ReadyForInserts || !belongs(t, info))
			continue;
		if (info->ii_Expressions != NIL)
			GetPerTupleExprContext(t->estate)->ecxt_scantuple = t->slot;
		FormIndexDatum(info, t->slot, t->estate, values, isnull);
		ok = index_insert(index, values, isnull, &t->slot->tts_tid, t->rel,
						  !unique ? UNIQUE_CHECK_NO : unsure ? UNIQUE_CHECK_PARTIAL : UNIQUE_CHECK_YES, false, info) ||
			!unique;
	}
	ResetPerTupleExprContext(t->estate);
	return ok;
}
