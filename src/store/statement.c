/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  SQL statements that are planned once in a session.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/statement.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "store/statement.h"

SPIPlanPtr
mcdp_statement_plan(Statement *statement)
{
	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statement->text, statement->nargs, statement->argtypes);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_keepplan failed");
		statement->plan = plan;
	}
	return statement->plan;
}

static uint64
run(Statement *statement, Datum *args, bool read_only)
{
	int			rc = SPI_execute_plan(mcdp_statement_plan(statement), args, NULL, read_only, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

uint64
mcdp_statement_ask(Statement *statement, Datum *args)
{
	return run(statement, args, true);
}

uint64
mcdp_statement_do(Statement *statement, Datum *args)
{
	return run(statement, args, false);
}

void
mcdp_spi_connect(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
mcdp_spi_finish(void)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}
