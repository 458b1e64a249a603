/* 61_worker: a process of the server that calls run whenever something is due
 *
 * src/worker/worker.c says how it works.  A session-level advisory lock tells
 * that it is there; its key is that of 60_clock, with an object of its own.
 */

CREATE FUNCTION cdp._worker_lock(OUT class int, OUT object int) RETURNS record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT 'cdp.task_state'::regclass::oid::int, 0;
END;
COMMENT ON FUNCTION cdp._worker_lock() IS 'advisory lock that the worker of this database holds';

CREATE FUNCTION cdp._worker_pid() RETURNS int
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN (SELECT l.pid FROM pg_locks l JOIN _worker_lock() k ON l.classid = k.class::oid AND l.objid = k.object::oid AND l.objsubid = 2
			WHERE l.locktype = 'advisory' AND l.granted
			  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()));
END
$$;
COMMENT ON FUNCTION cdp._worker_pid() IS 'process id of the worker of this database, NULL when there is none';

-- What people wait for: an event on its way to a message.  The worker does these
-- before, and between, all others.
CREATE FUNCTION cdp._urgent_tasks() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '{extend_timelines,journeys}'::text[];
END;
COMMENT ON FUNCTION cdp._urgent_tasks() IS 'the tasks that the worker does first';

CREATE FUNCTION cdp._other_tasks() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT array_agg(t.task ORDER BY t.n) FROM unnest(cdp._tasks()) WITH ORDINALITY t(task, n) WHERE t.task <> ALL (cdp._urgent_tasks());
END;
COMMENT ON FUNCTION cdp._other_tasks() IS 'the tasks that take turns, in their order';

-- These two look at the head of each queue, by an index.
CREATE FUNCTION cdp._is_urgent(now timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
BEGIN
	RETURN coalesce((SELECT min(t.event_id) FROM event_tail t) IS NOT NULL
		OR (SELECT min(t.at) FROM journey_trigger t) <= now
		OR _next_due_run() <= now
		OR EXISTS (SELECT FROM journey_schedule t WHERE t.next_at IS NULL OR t.next_at <= now), false);
END
$$;
COMMENT ON FUNCTION cdp._is_urgent(timestamptz) IS 'is there anything for the urgent tasks to do at "now"?';

-- What has no queue (segments to refresh, partitions to make) is done anyway,
-- once a minute.
CREATE FUNCTION cdp._is_due(now timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
BEGIN
	RETURN coalesce((SELECT min(t.at) FROM profile_queue t) <= now
		OR (SELECT min(t.due_at) FROM lifecycle_state t) <= now
		OR (SELECT min(t.expires_at) FROM tag_expiry t) <= now
		OR EXISTS (SELECT FROM tag_pending)
		OR EXISTS (SELECT FROM trait_pending)
		OR EXISTS (SELECT FROM outbox t WHERE t.status = 'claimed' AND t.leased_until <= now)
		OR EXISTS (SELECT FROM outbox t WHERE t.status = 'pending' AND t.expires_at <= now), false);
END
$$;
COMMENT ON FUNCTION cdp._is_due(timestamptz) IS 'is there anything for the other tasks to do at "now"?';

CREATE FUNCTION cdp._have_worked(tasks text[]) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN EXISTS (SELECT FROM task_state t WHERE t.task = ANY (tasks) AND t.last_done > 0 AND NOT t.failing);
END
$$;
COMMENT ON FUNCTION cdp._have_worked(text[]) IS 'did one of these tasks get anything done when it was last called?';

CREATE FUNCTION cdp._start_worker() RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__start_worker';
COMMENT ON FUNCTION cdp._start_worker() IS 'starts a process and returns its id; it ends at once when there is one already';

CREATE FUNCTION cdp.start_worker() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	pid int;
BEGIN
	IF _worker_pid() IS NULL THEN
		PERFORM _start_worker();
	END IF;
	-- It holds its lock a moment after it starts.
	FOR attempt IN 1 .. 500 LOOP
		pid := _worker_pid();
		EXIT WHEN pid IS NOT NULL;
		PERFORM pg_sleep(0.01);
	END LOOP;
	IF pid IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the worker did not begin to work',
			HINT = 'More details may be available in the server log.';
	END IF;
	RETURN pid;
END
$$;
COMMENT ON FUNCTION cdp.start_worker() IS 'makes sure that this database has a worker until the server stops, and returns its process id';

-- As its owner: the worker works as the extension's owner or as a superuser, and
-- whoever may call this may end it.
CREATE FUNCTION cdp.stop_worker() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	pid int := _worker_pid();
BEGIN
	RETURN pid IS NOT NULL AND pg_terminate_backend(pid, 10000);
END
$$;
COMMENT ON FUNCTION cdp.stop_worker() IS 'ends the worker of this database; false when there was none';
