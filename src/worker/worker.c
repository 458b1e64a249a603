/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Background workers that do the tasks of cdp.run whenever they are due.
 *
 * A worker serves one database, which has marketing_cdp.workers of them.  It
 * starts with the server when the library is in shared_preload_libraries and
 * the database in marketing_cdp.worker_databases, or when somebody calls
 * cdp.start_worker.  The first kind works as the bootstrap superuser, the second
 * as the extension's owner.  A database has as many places as it is to have
 * workers; a session-level advisory lock makes a worker the only one at its
 * place, and shows which process it is (cdp._workers).
 *
 * A worker asks whether something is due (cdp._is_urgent, cdp._due_tasks), which
 * looks at the heads of the queues and writes nothing.  What people wait for,
 * events that become messages, comes first; the other tasks take turns after
 * that, as long as a turn lasts, and then it is asked again.  So an event waits
 * for one slice of another task at most, and when there is more to do than can
 * be done the other tasks still have a sixth of the time.  What has no queue
 * gets its turn once a minute.  Only one worker at a time goes through the other
 * tasks; what is urgent they all do, each what the others have not locked.
 *
 * Between two looks the worker naps: shortly after something was done, then
 * twice as long each time, up to marketing_cdp.worker_naptime.  What cannot be
 * done now (somebody else holds the rows, a task fails) thus costs one try per
 * longest nap.  Every call is short, because "now" stands still during one.
 *
 * Errors inside a task are caught and noted by run.  Any other error ends the
 * process, and the postmaster starts it anew: that is its whole recovery.
 * SIGTERM cancels what is under way and ends the worker for good.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/worker/worker.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "core/compat.h"
#include "worker/worker.h"

#define EXTENSION "marketing_cdp"

/* naps, in milliseconds */
#define SHORTEST_NAP 10
#define NAP_WITHOUT_WORK 5000	/* no extension here, or no place */

/* of the other tasks, in milliseconds */
#define SHORTEST_TURN 20
#define SHORTEST_TIME_BETWEEN_ROUNDS 200	/* while something is urgent */
#define LONGEST_TIME_BETWEEN_ROUNDS 60000

/* How a worker was started; travels in bgw_extra. */
typedef struct WorkerStart
{
	char		database[NAMEDATALEN];	/* with the server; empty: by start_worker */
	Oid			database_oid;	/* by start_worker */
	Oid			owner_oid;
} WorkerStart;

StaticAssertDecl(sizeof(WorkerStart) <= BGW_EXTRALEN, "WorkerStart does not fit");

/* settings */
static char *worker_databases = NULL;
static int	worker_naptime = 500;
static int	workers = 1;

PGDLLEXPORT pg_noreturn void mcdp_worker_main(Datum main_arg);

/*
 * Describe a worker.
 */
static void
fill_worker(BackgroundWorker *worker, const WorkerStart *start, const char *database)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = 5;
	strlcpy(worker->bgw_library_name, EXTENSION, sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, "mcdp_worker_main", sizeof(worker->bgw_function_name));
	snprintf(worker->bgw_name, BGW_MAXLEN, EXTENSION " worker for %s", database);
	strlcpy(worker->bgw_type, EXTENSION " worker", sizeof(worker->bgw_type));
	memcpy(worker->bgw_extra, start, sizeof(*start));
}

/*
 * A list of names, written as in search_path.
 */
static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names;
	bool		ok = SplitIdentifierString(copy, ',', &names);

	if (!ok)
		GUC_check_errdetail("List syntax is invalid.");
	else
		list_free(names);
	pfree(copy);
	return ok;
}

void
mcdp_worker_init(void)
{
	List	   *names;
	ListCell   *lc;

	DefineCustomIntVariable("marketing_cdp.worker_naptime",
							"Longest time between two looks of the worker for something due.",
							NULL,
							&worker_naptime,
							500, SHORTEST_NAP, 60000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("marketing_cdp.workers",
							"How many workers a database has.",
							NULL,
							&workers,
							1, 1, 32,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomStringVariable("marketing_cdp.worker_databases",
							   "Databases that get workers when the server starts.",
							   NULL,
							   &worker_databases,
							   "",
							   PGC_POSTMASTER, GUC_LIST_INPUT,
							   check_databases, NULL, NULL);

	if (!SplitIdentifierString(pstrdup(worker_databases), ',', &names))
		return;					/* check_databases has seen it */
	foreach(lc, names)
	{
		BackgroundWorker worker;
		WorkerStart start = {0};

		strlcpy(start.database, lfirst(lc), NAMEDATALEN);
		fill_worker(&worker, &start, start.database);
		for (int i = 0; i < workers; i++)
			RegisterBackgroundWorker(&worker);
	}
}

/*
 * How many workers this database is to have.
 */
PG_FUNCTION_INFO_V1(mcdp__worker_places);
Datum
mcdp__worker_places(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(workers);
}

/*
 * Starts a worker for this database, which works as the owner of this very
 * function.  It may have ended when this returns: then all places were taken.
 */
PG_FUNCTION_INFO_V1(mcdp__start_worker);
Datum
mcdp__start_worker(PG_FUNCTION_ARGS)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	WorkerStart start = {0};
	pid_t		pid;
	BgwHandleStatus status;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	start.database_oid = MyDatabaseId;
	start.owner_oid = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);

	fill_worker(&worker, &start, get_database_name(MyDatabaseId));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not register background worker"),
				 errhint("You may need to increase max_worker_processes.")));
	status = WaitForBackgroundWorkerStartup(handle, &pid);
	if (status != BGWH_STARTED && status != BGWH_STOPPED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start background worker"),
				 errhint("More details may be available in the server log.")));
	PG_RETURN_VOID();
}

/*
 * SIGTERM: end as soon as possible, and not to come back.  A query under way
 * is cancelled.
 */
static void
end_worker(SIGNAL_ARGS)
{
	int			save_errno = errno;

	ShutdownRequestPending = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

static void
nap(long milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	if (ShutdownRequestPending)
		proc_exit(0);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * One question, in a transaction of its own; the answer, as text, NULL is empty.
 * Longer ones are cut off.
 */
static void
ask_text(const char *query, char *answer, int size)
{
	char	   *value;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(query, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "unexpected result of \"%s\"", query);
	value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	strlcpy(answer, value ? value : "", size);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/*
 * One question, given as an SQL expression: is it true?
 */
static bool
ask(const char *question)
{
	char		query[400];
	char		answer[2];

	snprintf(query, sizeof(query), "SELECT (%s)", question);
	ask_text(query, answer, sizeof(answer));
	return answer[0] == 't';
}

/*
 * Whether the extension is there; the bootstrap superuser does nothing for an
 * owner who is less, whose triggers it would run.
 */
static bool
is_installed(bool as_superuser)
{
	bool		installed;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid(EXTENSION, true));
	CommitTransactionCommand();
	if (installed && as_superuser &&
		!ask("SELECT r.rolsuper FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_roles r ON r.oid = e.extowner"
			 " WHERE e.extname = 'marketing_cdp'"))
		ereport(FATAL,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the owner of extension \"%s\" is not a superuser", EXTENSION),
				 errhint("Take the database out of marketing_cdp.worker_databases and call cdp.start_worker().")));
	return installed;
}

/*
 * Calls a procedure that commits.  That takes a portal: SPI would not let it.
 */
static void
call(const char *statement)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, EXTENSION " call", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	RawStmt    *parsed;
	List	   *plans;
	Portal		portal;
	QueryCompletion completion;

	debug_query_string = statement;
	pgstat_report_activity(STATE_RUNNING, statement);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();

	/* what the portal holds has to outlive the procedure's transactions */
	old = MemoryContextSwitchTo(context);
	parsed = linitial_node(RawStmt, pg_parse_query(statement));
	PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_plan_queries(pg_analyze_and_rewrite_fixedparams(parsed, statement, NULL, 0, NULL),
							statement, CURSOR_OPT_PARALLEL_OK, NULL);
	PopActiveSnapshot();
	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, statement, CreateCommandTag(parsed->stmt), plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	MemoryContextSwitchTo(old);

	mcdp_portal_run(portal, FETCH_ALL, true, None_Receiver, None_Receiver, &completion);
	PortalDrop(portal, false);

	CommitTransactionCommand();
	MemoryContextDelete(context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	debug_query_string = NULL;
}

/*
 * Calls some tasks, given as an SQL expression; true if they did something.
 */
static bool
run_tasks(const char *tasks, const char *budget, int max_rows)
{
	char		query[200];

	snprintf(query, sizeof(query), "CALL cdp._run_tasks(%s, pg_catalog.now(), '%s', %d)", tasks, budget, max_rows);
	call(query);
	snprintf(query, sizeof(query), "cdp._have_worked(%s)", tasks);
	return ask(query);
}

static pg_noreturn void
work(bool dynamic)
{
	int			place = -1;
	long		pause = SHORTEST_NAP;
	char		round[400] = "";	/* the other tasks whose turns are still to come, each with a comma after it */
	TimestampTz last_round = 0;
	TimestampTz last_full_round = 0;

	for (;;)
	{
		bool		urgent;
		bool		worked = false;
		long		share = SHORTEST_TURN;
		long		took;
		TimestampTz start;

		if (!is_installed(!dynamic))
		{
			if (dynamic)
			{
				ereport(LOG, (errmsg("background worker ends because extension \"%s\" is gone", EXTENSION)));
				proc_exit(0);
			}
			nap(NAP_WITHOUT_WORK);
			continue;
		}
		if (place < 0)
		{
			char		answer[12];

			ask_text("SELECT cdp._take_place()", answer, sizeof(answer));
			if (answer[0] == '\0')
			{
				if (dynamic)
					proc_exit(0);
				nap(NAP_WITHOUT_WORK);
				continue;
			}
			place = atoi(answer);
		}
		if (place >= workers)
		{
			ereport(LOG, (errmsg("background worker ends because marketing_cdp.workers is %d", workers)));
			proc_exit(0);
		}

		start = GetCurrentTimestamp();
		urgent = ask("cdp._is_urgent(pg_catalog.now())");
		if (urgent)
		{
			worked = run_tasks("cdp._urgent_tasks()", "0", 2000);
			took = TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
			share = Max(share, took / 5);
		}

		start = GetCurrentTimestamp();
		if (round[0] == '\0' &&
			(!urgent || TimestampDifferenceExceeds(last_round, start, SHORTEST_TIME_BETWEEN_ROUNDS)))
		{
			bool		full = TimestampDifferenceExceeds(last_full_round, start, LONGEST_TIME_BETWEEN_ROUNDS);

			ask_text(full ? "SELECT pg_catalog.array_to_string(cdp._other_tasks(), ',') || ','"
					 : "SELECT nullif(pg_catalog.array_to_string(cdp._due_tasks(pg_catalog.now()), ',') || ',', ',')",
					 round, sizeof(round));
			if (round[0] != '\0' && !ask("cdp._begin_round()"))
				round[0] = '\0';
			if (round[0] != '\0')
			{
				last_round = start;
				if (full)
					last_full_round = start;
			}
		}
		while (round[0] != '\0')
		{
			char	   *comma = strchr(round, ',');
			char		task[100];

			snprintf(task, sizeof(task), "'{%.*s}'", (int) (comma - round), round);
			worked |= run_tasks(task, "50 ms", 500);
			memmove(round, comma + 1, strlen(comma));
			if (round[0] == '\0')
				ask("cdp._end_round()");
			if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), share))
				break;
		}

		if (worked)
			pause = SHORTEST_NAP;
		nap(round[0] != '\0' ? 0 : pause);
		if (round[0] == '\0')
			pause = Min(pause * 2, worker_naptime);
	}
}

void
mcdp_worker_main(Datum main_arg)
{
	WorkerStart start;
	bool		dynamic;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	dynamic = start.database[0] == '\0';

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, end_worker);
	BackgroundWorkerUnblockSignals();

	PG_TRY();
	{
		if (dynamic)
			BackgroundWorkerInitializeConnectionByOid(start.database_oid, start.owner_oid, 0);
		else
			BackgroundWorkerInitializeConnection(start.database, NULL, 0);
		SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
		pgstat_report_appname(EXTENSION " worker");
		work(dynamic);
	}
	PG_CATCH();
	{
		if (ShutdownRequestPending)
			proc_exit(0);
		PG_RE_THROW();
	}
	PG_END_TRY();
	pg_unreachable();
}
