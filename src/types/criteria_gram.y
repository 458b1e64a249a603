%{
/*-------------------------------------------------------------------------
 *
 * criteria_gram.y
 *	  Grammar of the rule language.
 *
 * The parser is reentrant, allocates with palloc, and raises nothing: the
 * first mistake is left in CriteriaParser.err.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/criteria_gram.y
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/criteria_parse.h"

#include "types/criteria_gram.h"

/* A position is that of the first symbol of the right side. */
#define YYLLOC_DEFAULT(Current, Rhs, N) \
	((Current) = (N) ? YYRHSLOC(Rhs, 1) : YYRHSLOC(Rhs, 0))

/* Stacks grow in palloc'ed memory; a rule nested too deeply exhausts them. */
#define YYSTACK_USE_ALLOCA 0
#define YYMALLOC palloc
#define YYFREE	 pfree
#define YYMAXDEPTH (5 * CRITERIA_MAX_DEPTH)	/* any(ev: … has four symbols */

/* Leave the parser when a maker has reported a mistake. */
#define MUST(x) \
	do { \
		if (!(x)) \
			YYABORT; \
	} while (0)

extern int	mcdp_criteria_yylex(MCDP_CRITERIA_YYSTYPE *value, MCDP_CRITERIA_YYLTYPE *pos, void *scanner);
static void mcdp_criteria_yyerror(MCDP_CRITERIA_YYLTYPE *pos, CriteriaParser *p, void *scanner, const char *message);

static const CriteriaWindow always = {CRITERIA_ALWAYS};
%}

%require "3.6"
%define api.prefix {mcdp_criteria_yy}
%define api.pure full
%define api.location.type {int}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%parse-param {CriteriaParser *p} {void *scanner}
%lex-param {void *scanner}

%code requires {
#include "types/criteria_parse.h"
}

%union {
	CriteriaText text;
	CriteriaNode *node;
	CriteriaEvent *event;
	CriteriaCondition *condition;
	CriteriaStep *step;
	CriteriaConstCell *constant;
	CriteriaComparison *comparison;
	CriteriaWindow window;
	CriteriaMeasure measure;
	CriteriaCmp cmp;
	struct
	{
		bool		has_gap;
		int64		usec;
	}			gap;
}

%token <text> WORD QUOTED NUMBER
%token <text> ALL NONE IN BETWEEN AND ANY SEQ
%token <text> COUNT SUM AVG MIN MAX DAYS LABELS FIRST LAST DUE
%token <text> FIRST_LABEL LAST_LABEL TOP_LABEL
%token ARROW DOTS NE LE GE
%token BAD			/* the scanner has reported a mistake */

%type <node> rule term tag compare measure any seq
%type <text> name any_name reserved
%type <measure> window_measure plain_measure
%type <event> event event_label
%type <condition> conditions condition_list condition
%type <comparison> comparison constants
%type <constant> constant
%type <cmp> operator
%type <window> window_option window
%type <step> pattern step
%type <gap> arrow

%left '|'
%left '&'
%precedence '!'

%%

start:
	rule
		{
			(void) yynerrs;		/* bison counts, gcc 16 complains */
			p->result = $1;
		}
	;

rule:
	term
	| rule '|' rule				{ MUST($$ = mcdp_criteria_make_list(p, @2, CRITERIA_OR, $1, $3)); }
	| rule '&' rule				{ MUST($$ = mcdp_criteria_make_list(p, @2, CRITERIA_AND, $1, $3)); }
	| '!' rule					{ MUST($$ = mcdp_criteria_make_unary(p, @1, CRITERIA_NOT, $2)); }
	| '(' rule ')'				{ $$ = $2; }
	;

term:
	ALL							{ $$ = mcdp_criteria_make(CRITERIA_ALL); }
	| NONE						{ $$ = mcdp_criteria_make(CRITERIA_NONE); }
	| tag
	| compare
	| seq
	| any
	;

tag:
	name						{ MUST($$ = mcdp_criteria_make_tag(p, @1, $1, NULL)); }
	| name ':' any_name			{ MUST($$ = mcdp_criteria_make_tag(p, @1, $1, &$3)); }
	;

compare:
	measure comparison			{ MUST($$ = mcdp_criteria_make_compare(p, @1, $1, $2)); }
	;

measure:
	name						{ MUST($$ = mcdp_criteria_make_trait(p, @1, $1)); }
	| window_measure '(' event window_option ')'
								{ $$ = mcdp_criteria_make_measure($1, $3, &$4); }
	| plain_measure '(' event ')'
								{ $$ = mcdp_criteria_make_measure($1, $3, &always); }
	;

window_measure:
	COUNT						{ $$ = CRITERIA_COUNT; }
	| SUM						{ $$ = CRITERIA_SUM; }
	| AVG						{ $$ = CRITERIA_AVG; }
	| MIN						{ $$ = CRITERIA_MIN; }
	| MAX						{ $$ = CRITERIA_MAX; }
	| DAYS						{ $$ = CRITERIA_DAYS; }
	| LABELS					{ $$ = CRITERIA_LABELS; }
	| TOP_LABEL					{ $$ = CRITERIA_TOP_LABEL; }
	;

plain_measure:
	FIRST						{ $$ = CRITERIA_FIRST; }
	| LAST						{ $$ = CRITERIA_LAST; }
	| DUE						{ $$ = CRITERIA_DUE; }
	| FIRST_LABEL				{ $$ = CRITERIA_FIRST_LABEL; }
	| LAST_LABEL				{ $$ = CRITERIA_LAST_LABEL; }
	;

any:
	ANY '(' event ':' rule ')'
								{
									MUST($$ = mcdp_criteria_make_unary(p, @1, CRITERIA_ANY, $5));
									$$->event = *$3;
								}
	;

seq:
	SEQ '(' pattern window_option ')'
								{
									$$ = mcdp_criteria_make(CRITERIA_SEQ);
									$$->steps = $3->next;
									$3->next = NULL;
									$$->window = $4;
								}
	;

/* A circular list; its value is the last step. */
pattern:
	event						{
									$$ = palloc0(sizeof(CriteriaStep));
									$$->event = *$1;
									$$->number = 1;
									$$->next = $$;
								}
	| pattern arrow step		{
									$3->has_gap = $2.has_gap;
									$3->gap = $2.usec;
									MUST(mcdp_criteria_add_step(p, @3, $1, $3));
									$$ = $3;
								}
	;

arrow:
	ARROW						{
									$$.has_gap = false;
									$$.usec = 0;
								}
	| ARROW '(' WORD ')'		{
									$$.has_gap = true;
									MUST(mcdp_criteria_read_length(p, @3, $3, &$$.usec));
								}
	;

step:
	event						{
									$$ = palloc0(sizeof(CriteriaStep));
									$$->event = *$1;
								}
	| '!' event					{
									$$ = palloc0(sizeof(CriteriaStep));
									$$->event = *$2;
									$$->negated = true;
								}
	;

event:
	'*'							{ $$ = palloc0(sizeof(CriteriaEvent)); }
	| any_name event_label conditions
								{
									$$ = $2;
									$$->name = $1.str;
									$$->name_len = $1.len;
									$$->conditions = $3;
								}
	;

event_label:
	%empty						{ $$ = palloc0(sizeof(CriteriaEvent)); }
	| '[' any_name ']'			{
									$$ = palloc0(sizeof(CriteriaEvent));
									$$->label_type = CRITERIA_LABEL;
									$$->label = $2.str;
									$$->label_len = $2.len;
								}
	| '[' '$' ']'				{
									$$ = palloc0(sizeof(CriteriaEvent));
									$$->label_type = CRITERIA_BOUND_LABEL;
								}
	| '[' '@' any_name ']'		{
									$$ = palloc0(sizeof(CriteriaEvent));
									$$->label_type = CRITERIA_LABEL_SET;
									$$->label = $3.str;
									$$->label_len = $3.len;
								}
	;

conditions:
	%empty						{ $$ = NULL; }
	| '{' condition_list '}'	{
									$$ = $2->next;
									$2->next = NULL;
								}
	;

/* A circular list; its value is the last condition. */
condition_list:
	condition					{
									$$ = $1;
									$$->next = $$;
								}
	| condition_list ',' condition
								{
									$3->next = $1->next;
									$1->next = $3;
									$$ = $3;
								}
	;

condition:
	any_name comparison			{ MUST($$ = mcdp_criteria_make_condition(p, $1, $2)); }
	;

comparison:
	operator constant			{ $$ = mcdp_criteria_make_comparison($1, $2); }
	| IN '(' constants ')'		{ $$ = $3; }
	| BETWEEN constant AND constant
								{
									$$ = mcdp_criteria_make_comparison(CRITERIA_BETWEEN, $2);
									mcdp_criteria_add_const($$, $4);
								}
	;

operator:
	'='							{ $$ = CRITERIA_EQ; }
	| NE						{ $$ = CRITERIA_NE; }
	| '<'						{ $$ = CRITERIA_LT; }
	| LE						{ $$ = CRITERIA_LE; }
	| '>'						{ $$ = CRITERIA_GT; }
	| GE						{ $$ = CRITERIA_GE; }
	;

constants:
	constant					{ $$ = mcdp_criteria_make_comparison(CRITERIA_IN, $1); }
	| constants ',' constant	{
									mcdp_criteria_add_const($1, $3);
									$$ = $1;
								}
	;

constant:
	WORD						{ MUST($$ = mcdp_criteria_make_const(p, @1, $1)); }
	| NUMBER					{ MUST($$ = mcdp_criteria_make_const(p, @1, $1)); }
	| QUOTED					{ $$ = mcdp_criteria_make_text(@1, $1); }
	;

window_option:
	%empty						{ $$ = always; }
	| ',' window				{ $$ = $2; }
	;

window:
	WORD						{ MUST(mcdp_criteria_make_within(p, @1, $1, &$$)); }
	| WORD DOTS WORD			{ MUST(mcdp_criteria_make_range(p, @1, $1, @3, $3, &$$)); }
	;

/* At the start of a term a reserved word means itself … */
name:
	WORD
	| QUOTED
	| FIRST_LABEL
	| LAST_LABEL
	| TOP_LABEL
	;

/* … and where only a name can stand, it is a name. */
any_name:
	name
	| reserved
	;

reserved:
	ALL | NONE | IN | BETWEEN | AND | ANY | SEQ
	| COUNT | SUM | AVG | MIN | MAX | DAYS | LABELS | FIRST | LAST | DUE
	;

%%

/*
 * What the parser would have liked to see, in a reader's words; NULL = said
 * by another token of the same set.  A character's name is 'c'.
 */
static const char *
phrase(yysymbol_kind_t symbol, bool term)
{
	static const struct
	{
		const char *name;
		const char *words;
	}			phrases[] =
	{
		{"end of file", "the end"}, {"')'", "\")\""},
		{"'&'", "\"&\""}, {"'|'", "\"|\""}, {"':'", "\":\""}, {"','", "\",\""},
		{"'['", "\"[\""}, {"']'", "\"]\""}, {"'{'", "\"{\""}, {"'}'", "\"}\""},
		{"'*'", "\"*\""}, {"'$'", "\"$\""}, {"'@'", "\"@\""},
		{"ARROW", "\"->\""}, {"DOTS", "\"..\""}, {"'='", "a comparison"},
	};
	const char *name = yysymbol_name(symbol);

	if (strcmp(name, "'!'") == 0)
		return term ? "a condition" : "\"!\"";
	if (strcmp(name, "'('") == 0)
		return term ? NULL : "\"(\"";
	for (size_t i = 0; i < lengthof(phrases); i++)
	{
		if (strcmp(phrases[i].name, name) == 0)
			return phrases[i].words;
	}
	return NULL;
}

static bool
is_expected(const yysymbol_kind_t *expected, int n, const char *name)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(yysymbol_name(expected[i]), name) == 0)
			return true;
	}
	return false;
}

/* Called by the parser at the first token that does not fit. */
static int
yyreport_syntax_error(const yypcontext_t *context, CriteriaParser *p, void *scanner)
{
	yysymbol_kind_t expected[YYNTOKENS];
	int			n;
	bool		term;
	const char *list[YYNTOKENS];
	int			listed = 0;
	char		what[200];
	char		word[48];

	if (p->failed)
		return 0;				/* the scanner knows better */

	n = yypcontext_expected_tokens(context, expected, YYNTOKENS);
	term = is_expected(expected, n, "'!'") && is_expected(expected, n, "'('") &&
		!is_expected(expected, n, "'*'");
	if (!term && is_expected(expected, n, "ALL"))
		list[listed++] = "a name";
	else if (!term && is_expected(expected, n, "NUMBER"))
		list[listed++] = "a constant";
	else if (!term && is_expected(expected, n, "WORD"))
		list[listed++] = "a duration or date";
	if (!term && is_expected(expected, n, "AND") && n == 1)
		list[listed++] = "\"and\"";
	for (int i = 0; i < n; i++)
	{
		const char *words = phrase(expected[i], term);

		if (words != NULL)
			list[listed++] = words;
	}

	what[0] = '\0';
	for (int i = 0; i < listed; i++)
	{
		strlcat(what, i == 0 ? "" : i == listed - 1 ? " or " : ", ", sizeof(what));
		strlcat(what, list[i], sizeof(what));
	}
	if (p->token_len == 0)
		mcdp_criteria_fail(p, p->pos, "Found the end at character %d, expected %s.",
						   mcdp_criteria_character(p, p->pos), what);
	else
		mcdp_criteria_fail(p, p->pos, p->text[p->pos] == '"' ?
						   "Found %s at character %d, expected %s." :
						   "Found \"%s\" at character %d, expected %s.",
						   mcdp_criteria_excerpt(p->text + p->pos, p->token_len, word),
						   mcdp_criteria_character(p, p->pos), what);
	return 0;
}

/* With errors of syntax reported above, only an exhausted stack comes here. */
static void
mcdp_criteria_yyerror(MCDP_CRITERIA_YYLTYPE *pos, CriteriaParser *p, void *scanner, const char *message)
{
	mcdp_criteria_fail(p, *pos, "The rule is nested too deeply at character %d.",
					   mcdp_criteria_character(p, *pos));
	p->err->limit = true;
}
