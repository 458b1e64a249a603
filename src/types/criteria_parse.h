/*-------------------------------------------------------------------------
 *
 * criteria_parse.h
 *	  What scanner, grammar and parser of rules share.  Nobody else needs it.
 *
 * Positions are byte offsets into the text.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_parse.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_TYPES_CRITERIA_PARSE_H
#define MCDP_TYPES_CRITERIA_PARSE_H

#include "types/criteria.h"

/* A word or a quoted text, copied, with a NUL byte behind it. */
typedef struct CriteriaText
{
	const char *str;
	int			len;
} CriteriaText;

/* Constants as they are read. */
typedef struct CriteriaConstCell
{
	CriteriaConst value;
	int			pos;
	struct CriteriaConstCell *next;
} CriteriaConstCell;

/* "cmp consts": the right side of a comparison. */
typedef struct CriteriaComparison
{
	CriteriaCmp cmp;
	CriteriaConstCell *first;
	CriteriaConstCell *last;
	int			num_consts;
} CriteriaComparison;

typedef struct CriteriaParser
{
	const char *text;
	size_t		len;
	size_t		next;			/* where the scanner stands */
	int			pos;			/* the last token … */
	int			token_len;		/* … and its length */
	CriteriaError *err;
	bool		failed;			/* err is filled */
	CriteriaNode *result;
} CriteriaParser;

/* Fill err, unless it is filled already: FORMAT, then the arguments. */
extern void mcdp_criteria_fail(CriteriaParser *p, int pos, const char *format,...) pg_attribute_printf(3, 4);

/* The first bytes of a word as they appear in a message. */
extern const char *mcdp_criteria_excerpt(const char *str, int len, char buf[48]);

/* 1-based number of the character at a byte offset. */
extern int	mcdp_criteria_character(const CriteriaParser *p, int pos);

/* Makers.  Those that return a pointer return NULL after a failure, bool ones false. */
extern CriteriaNode *mcdp_criteria_make(CriteriaOp op);
extern CriteriaNode *mcdp_criteria_make_tag(CriteriaParser *p, int pos, CriteriaText key, const CriteriaText *value);
extern CriteriaNode *mcdp_criteria_make_list(CriteriaParser *p, int pos, CriteriaOp op, CriteriaNode *left, CriteriaNode *right);
extern CriteriaNode *mcdp_criteria_make_unary(CriteriaParser *p, int pos, CriteriaOp op, CriteriaNode *operand);
extern CriteriaNode *mcdp_criteria_make_compare(CriteriaParser *p, int pos, CriteriaNode *measure, CriteriaComparison *right);
extern CriteriaNode *mcdp_criteria_make_measure(CriteriaMeasure measure, CriteriaEvent *event, const CriteriaWindow *window);
extern CriteriaNode *mcdp_criteria_make_trait(CriteriaParser *p, int pos, CriteriaText name);
extern CriteriaCondition *mcdp_criteria_make_condition(CriteriaParser *p, CriteriaText key, CriteriaComparison *right);
extern bool mcdp_criteria_add_step(CriteriaParser *p, int pos, CriteriaStep *last, CriteriaStep *step);
extern CriteriaConstCell *mcdp_criteria_make_const(CriteriaParser *p, int pos, CriteriaText word);
extern CriteriaConstCell *mcdp_criteria_make_text(int pos, CriteriaText text);
extern CriteriaComparison *mcdp_criteria_make_comparison(CriteriaCmp cmp, CriteriaConstCell *value);
extern void mcdp_criteria_add_const(CriteriaComparison *list, CriteriaConstCell *value);
extern bool mcdp_criteria_make_within(CriteriaParser *p, int pos, CriteriaText length, CriteriaWindow *out);
extern bool mcdp_criteria_make_range(CriteriaParser *p, int pos, CriteriaText from, int to_pos, CriteriaText to, CriteriaWindow *out);
extern bool mcdp_criteria_read_length(CriteriaParser *p, int pos, CriteriaText word, int64 *usec);

/* criteria_letter.c: which characters a name may have without quotes */

/* Bytes from the start of str that are letters of any script, digits or one of _ - . / */
extern int	mcdp_criteria_name_span(const char *str, int len);

/* Length of the first character, which is a blank outside ASCII; 0 if it is not. */
extern int	mcdp_criteria_blank_span(const char *str, int len);

/* Length of the first character, at least 1. */
extern int	mcdp_criteria_char_len(const char *str, int len);

/* May this name stand without quotes? */
extern bool mcdp_criteria_is_plain(const char *str, int len);

/* Is it a reserved word? (criteria_scan.l) */
extern bool mcdp_criteria_is_reserved(const char *str, int len);

/* criteria_scan.l, for criteria_parse.c: scan and run the grammar, true if it is a rule */
extern bool mcdp_criteria_run_parser(CriteriaParser *p);

#endif							/* MCDP_TYPES_CRITERIA_PARSE_H */
