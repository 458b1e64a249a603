-- The clock: what tick and run do, in which order, how often, and what happens
-- when a task fails.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';

-- nothing there: one row per task, in order; the first tick makes partitions
SELECT task, done, lag, took >= '0' AS took FROM tick('2026-01-01');
SELECT sum(done) FROM tick('2026-01-01');
SELECT count(*) FROM task_state;

-- work, and how far behind it is before and after
SELECT count(track(ARRAY['user_id:' || n]::identifier[], CASE n % 2 WHEN 0 THEN 'purchase' ELSE 'view' END, '{}', '2026-01-01Z'::timestamptz + make_interval(hours => n)))
FROM generate_series(1, 2500) n;
SELECT * FROM status('2026-01-05 12:00') WHERE value NOT IN ('0', '00:00:00');
SELECT task, done, lag FROM tick('2026-01-05 12:00', '0');
SELECT task, done, lag FROM tick('2026-01-05 12:00');
SELECT sum(done) FROM tick('2026-01-05 12:00');
SELECT stage, count(*) FROM lifecycle_state GROUP BY stage ORDER BY stage;
SELECT * FROM status('2026-01-05 12:00') WHERE value NOT IN ('0', '00:00:00');

-- time goes on: the future comes when it is due, a clock set back does nothing
SELECT task, done FROM tick('2026-12-31') WHERE task = 'lifecycle';
SELECT task, done FROM tick('2026-01-31') WHERE task = 'lifecycle';
SELECT stage, count(*) FROM lifecycle_state GROUP BY stage ORDER BY stage;

-- run does the same with a commit after each batch
SELECT count(track(ARRAY['user_id:' || n]::identifier[], 'purchase', '{}', '2027-01-01Z')) FROM generate_series(1, 2500) n;
CALL run('2027-01-01 12:00');
SELECT task, last_at, CASE task WHEN 'tag_sizes' THEN sign(last_done) ELSE last_done END AS last_done, lag, failing, last_error FROM task_state ORDER BY array_position(_tasks(), task);	-- how many tags there are so far depends on how fast the others are
SELECT count(DISTINCT xmin::text) > 2 AS several_transactions FROM lifecycle_state;
SELECT stage, count(*) FROM lifecycle_state GROUP BY stage ORDER BY stage;
CALL run('2027-01-01 12:00');
SELECT sum(last_done) FROM task_state;

-- a tick_no belongs to one transaction, and they grow in the order of commits
SELECT count(*) > 3 AS several, bool_and(transactions = 1) AS one_each, bool_and(x >= before) IS NOT FALSE AS in_order
FROM (SELECT x, transactions, lag(x) OVER (ORDER BY tick_no) AS before
	  FROM (SELECT tick_no, min(xmin::text::bigint) AS x, count(DISTINCT xmin::text) AS transactions FROM lifecycle_change GROUP BY tick_no) t) y;

-- a task that fails does not stop the others, and its error is kept
SELECT track('{user_id:new}', 'purchase', '{}', '2027-02-01') > 0;
ALTER TABLE lifecycle_change ADD CONSTRAINT broken CHECK (at < '2027-02-01');
\set VERBOSITY terse
SELECT task, done FROM tick('2027-02-02');
CALL run('2027-02-02');
SELECT task, last_at, last_done, failing, last_sqlstate, last_error_at FROM task_state ORDER BY array_position(_tasks(), task);
SELECT * FROM status('2027-02-03') WHERE item ~ '(lifecycle|look)' AND item !~ 'behind';
SELECT num_events(timeline_of(resolve('user_id:new'))), (SELECT count(*) FROM event_tail) AS tail, (SELECT count(*) FROM profile_queue WHERE at <= '2027-02-03') AS queued;
ALTER TABLE lifecycle_change DROP CONSTRAINT broken;
CALL run('2027-02-03');
SELECT task, last_at, last_done, failing, last_sqlstate, last_error_at FROM task_state WHERE task = 'lifecycle';
SELECT stage FROM lifecycle_state WHERE profile_id = resolve('user_id:new');

-- run commits, so it cannot be part of a transaction
BEGIN;
CALL run('2027-02-03');
ROLLBACK;
-- nor is an operator or function of the caller's used by mistake
CREATE FUNCTION bad_ge(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not me'; END $$;
CREATE FUNCTION bad_eq(bigint, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not me'; END $$;
CREATE FUNCTION bad_eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not me'; END $$;
CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not me'; END $$;
CREATE OPERATOR >= (FUNCTION = bad_ge, LEFTARG = timestamptz, RIGHTARG = timestamptz);
CREATE OPERATOR = (FUNCTION = bad_eq, LEFTARG = bigint, RIGHTARG = int);
CREATE OPERATOR = (FUNCTION = bad_eq, LEFTARG = text, RIGHTARG = text);
SET search_path = public, pg_catalog;
CALL cdp.run('2027-02-04');
SET search_path = pg_catalog, public, cdp;
DROP OPERATOR public.>= (timestamptz, timestamptz);
DROP OPERATOR public.= (bigint, int);
DROP OPERATOR public.= (text, text);
DROP FUNCTION public.bad_ge, public.bad_eq(bigint, int), public.bad_eq(text, text), public.clock_timestamp();
SET search_path = public, cdp;
SELECT count(*), bool_or(failing) FROM task_state WHERE last_at = '2027-02-04';

-- what is refused
SELECT tick(NULL);
SELECT tick('infinity');
SELECT status(NULL);
SELECT tick('2027-02-04', '-1 s');
CALL run(NULL);
CALL run('2027-02-04', NULL);
SELECT rebuild('everything');
SELECT rebuild(NULL);
SELECT rebuild('all', NULL);

-- rebuild: the parts by name, the same shape as tick
SELECT task, done, lag, took >= '0' AS took FROM rebuild('timelines', '2027-02-04');
SELECT task, done, lag FROM rebuild('lifecycle', '2027-02-04');
SELECT task FROM rebuild('all', '2027-02-04');
SELECT sum(done) FROM tick('2027-02-04');

-- the worker does some tasks more often than others, and leaves none out
SELECT (SELECT array_agg(t ORDER BY t) FROM unnest(_urgent_tasks() || _other_tasks()) t) = (SELECT array_agg(t ORDER BY t) FROM unnest(_tasks()) t) AS all_once;
SELECT track('{user_id:urgent}', 'view', '{}', '2027-03-01Z') > 0 AS tracked;
SELECT _is_urgent('2027-03-02Z'), _due_tasks('2027-03-01Z');
CALL _run_tasks(_urgent_tasks(), '2027-03-02Z', '0', 1000);
SELECT task, last_done FROM task_state WHERE last_at = '2027-03-02Z' ORDER BY 1;
SELECT _is_urgent('2027-03-02Z'), _due_tasks('2027-03-02Z'), _have_worked('{extend_timelines}'), _have_worked('{journeys}');
CALL _run_tasks(_other_tasks(), '2027-03-02Z', '1 min', 1);
SELECT _is_urgent('2027-03-02Z'), _due_tasks('2027-03-02Z'), _have_worked(_other_tasks());
-- what cannot be locked, because there is none
SELECT _try_profiles(NULL, false), _try_profiles('{}', true), _claim_profiles('2027-03-02Z', 0), _claim_profiles(NULL, 10);
