/*-------------------------------------------------------------------------
 *
 * statement.h
 *	  SQL statements that are planned once in a session.
 *
 * A statement is a static variable.  Its text names everything with its
 * schema, operators too where the caller's search_path counts, and no type of
 * ours: then its plan survives a new CREATE EXTENSION.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/statement.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_STATEMENT_H
#define MCDP_STATEMENT_H

#include "executor/spi.h"

typedef struct Statement
{
	const char *text;
	int			nargs;
	Oid			argtypes[4];
	SPIPlanPtr	plan;			/* NULL until it is used */
} Statement;

extern SPIPlanPtr mcdp_statement_plan(Statement *statement);

/*
 * Runs it within an open SPI connection and returns the number of rows, which
 * are in SPI_tuptable.  A question sees what the active snapshot sees, anything
 * else what there is now.
 */
extern uint64 mcdp_statement_ask(Statement *statement, Datum *args);
extern uint64 mcdp_statement_do(Statement *statement, Datum *args);

/* SPI_connect and SPI_finish. */
extern void mcdp_spi_connect(void);
extern void mcdp_spi_finish(void);

#endif							/* MCDP_STATEMENT_H */
