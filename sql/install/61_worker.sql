/* 61_worker: processes of the server that do what run does whenever something is due
 *
 * src/worker/worker.c says how they work.  Session-level advisory locks tell
 * that they are there, and who goes through the tasks that are not urgent; their
 * class is that of 60_clock's locks, their objects are the places 0, 1, ... and -1.
 */

CREATE FUNCTION cdp._worker_places() RETURNS int
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__worker_places';
COMMENT ON FUNCTION cdp._worker_places() IS 'how many workers a database is to have: marketing_cdp.workers';

CREATE FUNCTION cdp._take_place() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	FOR place IN 0 .. _worker_places() - 1 LOOP
		IF pg_try_advisory_lock('task_state'::regclass::oid::int, place) THEN
			RETURN place;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._take_place() IS 'a place that no other worker has, from now on this session''s; NULL when there is none';

-- One worker at a time goes through the other tasks.
CREATE FUNCTION cdp._begin_round() RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN pg_try_advisory_lock('cdp.task_state'::regclass::oid::int, -1);
COMMENT ON FUNCTION cdp._begin_round() IS 'this worker goes through the other tasks; false when another one is at it';

CREATE FUNCTION cdp._end_round() RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN pg_advisory_unlock('cdp.task_state'::regclass::oid::int, -1);
COMMENT ON FUNCTION cdp._end_round() IS 'another worker may go through the other tasks';

CREATE FUNCTION cdp._workers() RETURNS int[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN ARRAY(SELECT l.pid FROM pg_locks l
				 WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 'task_state'::regclass AND l.objid::bigint < 32 AND l.objsubid = 2
				   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
				 ORDER BY l.objid);
END
$$;
COMMENT ON FUNCTION cdp._workers() IS 'process ids of the workers of this database, by place';

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

-- Segments have no queue, but what the others do is what they are about.  What
-- has no queue is done anyway, once a minute.
CREATE FUNCTION cdp._due_tasks(now timestamptz) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	tasks	text[] := '{}';
BEGIN
	IF EXISTS (SELECT FROM split_pending) THEN
		tasks := tasks || 'splits'::text;
	END IF;
	IF EXISTS (SELECT FROM erasure_pending) THEN
		tasks := tasks || 'erasures'::text;
	END IF;
	IF EXISTS (SELECT FROM tag_pending) THEN
		tasks := tasks || 'fold_tags'::text;
	END IF;
	IF (SELECT min(t.expires_at) FROM tag_expiry t) <= now THEN
		tasks := tasks || 'expire_tags'::text;
	END IF;
	IF EXISTS (SELECT FROM trait_pending) THEN
		tasks := tasks || 'fold_traits'::text;
	END IF;
	IF (SELECT min(t.at) FROM profile_queue t) <= now OR (SELECT min(t.at) FROM profile_batch t) <= now OR (SELECT min(t.due_at) FROM lifecycle_state t) <= now THEN
		tasks := tasks || 'lifecycle'::text;
	END IF;
	IF tasks <> '{}' AND EXISTS (SELECT FROM segment) THEN
		tasks := tasks || 'segments'::text;
	END IF;
	IF EXISTS (SELECT FROM outbox t WHERE t.status = 'claimed' AND t.leased_until <= now)
		OR EXISTS (SELECT FROM outbox t WHERE t.status = 'pending' AND t.expires_at <= now) THEN
		tasks := tasks || 'messages'::text;
	END IF;
	RETURN tasks;
END
$$;
COMMENT ON FUNCTION cdp._due_tasks(timestamptz) IS 'the tasks that are not urgent and have something to do at "now", in their order';

CREATE FUNCTION cdp._have_worked(tasks text[]) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN EXISTS (SELECT FROM task_state t WHERE t.task = ANY (tasks) AND t.last_done > 0 AND NOT t.failing);
END
$$;
COMMENT ON FUNCTION cdp._have_worked(text[]) IS 'did one of these tasks get anything done when it was last called?';

CREATE FUNCTION cdp._start_worker() RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__start_worker';
COMMENT ON FUNCTION cdp._start_worker() IS 'starts a process; it ends at once when all places are taken';

CREATE FUNCTION cdp.start_worker() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	places	int := _worker_places();
	pids	int[] := _workers();
	no_room	boolean := false;
BEGIN
	BEGIN
		FOR missing IN 1 .. places - cardinality(pids) LOOP
			PERFORM _start_worker();
		END LOOP;
	EXCEPTION WHEN configuration_limit_exceeded THEN
		no_room := true;		-- others may be starting them right now
	END;
	-- One takes its place a moment after it starts.
	FOR attempt IN 1 .. 500 LOOP
		pids := _workers();
		EXIT WHEN cardinality(pids) >= places;
		PERFORM pg_sleep(0.01);
	END LOOP;
	IF cardinality(pids) < places THEN
		RAISE EXCEPTION USING ERRCODE = CASE WHEN no_room THEN 'configuration_limit_exceeded' ELSE 'object_not_in_prerequisite_state' END,
			MESSAGE = 'the worker did not begin to work', DETAIL = format('%s of %s are at work.', cardinality(pids), places),
			HINT = CASE WHEN no_room THEN 'You may need to increase max_worker_processes.' ELSE 'More details may be available in the server log.' END;
	END IF;
	RETURN pids[1];
END
$$;
COMMENT ON FUNCTION cdp.start_worker() IS 'makes sure that this database has its workers until the server stops, and returns the process id of the first';

-- As its owner: a worker works as the extension's owner or as a superuser, and
-- whoever may call this may end it.
CREATE FUNCTION cdp.stop_worker() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	pids	int[] := _workers();
	pid		int;
	ended	boolean := pids <> '{}';
BEGIN
	FOREACH pid IN ARRAY pids LOOP
		ended := pg_terminate_backend(pid, 10000) AND ended;
	END LOOP;
	RETURN ended;
END
$$;
COMMENT ON FUNCTION cdp.stop_worker() IS 'ends the workers of this database; false when there was none, or one did not end';
