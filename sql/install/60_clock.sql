
/* 60_clock: whatever is due, done when somebody calls
 *
 * A task is one kind of work: it does at most so many rows per call (a batch)
 * and says how many it did and how far behind it still is.  tick does all
 * tasks in one transaction; run commits after each batch.  Both go through
 * the tasks in the same order, again and again until a whole round finds
 * nothing, because one task makes work for another: a journey's message is an
 * event that has to reach a timeline.
 *
 * clock_timestamp() is read here and nowhere else, to stop when the budget is
 * spent and to say how long a task took.  It decides nothing: "now" does.
 */

CREATE TABLE cdp.task_state (
	task			text PRIMARY KEY,
	last_at			timestamptz,
	last_done		bigint,
	lag				interval,
	failing			boolean NOT NULL DEFAULT false,
	last_error		text,
	last_sqlstate	text,
	last_error_at	timestamptz
);
COMMENT ON TABLE cdp.task_state IS 'what run or tick last did for each task, and the last error of each';
COMMENT ON COLUMN cdp.task_state.last_at IS 'the "now" of the last run or tick that finished the task';
COMMENT ON COLUMN cdp.task_state.failing IS 'the last run could not finish the task';
COMMENT ON COLUMN cdp.task_state.last_error_at IS 'the "now" of the run that failed';

CREATE FUNCTION cdp._tasks() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT ARRAY['splits', 'erasures', 'fold_tags', 'expire_tags', 'fold_traits', 'extend_timelines', 'lifecycle', 'repurchase', 'rfm', 'segments', 'journeys', 'messages', 'partitions', 'retention', 'tag_sizes'];
END;
COMMENT ON FUNCTION cdp._tasks() IS 'the tasks of the clock, in their order';

-- A tick does many batches in one transaction, so the order of its locks is not
-- that of a batch: nobody else works while one is under way (it holds this lock
-- exclusively), and a run that comes then finds nothing to do, lag unknown.
-- Batches are small: compiling their queries would cost more than running them.
CREATE FUNCTION cdp._run_task(task text, now timestamptz, max_rows int, OUT done bigint, OUT lag interval) RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
BEGIN
	IF NOT pg_try_advisory_xact_lock_shared('task_state'::regclass::oid::bigint) THEN
		done := 0;
		RETURN;
	END IF;
	CASE task
		WHEN 'splits' THEN
			SELECT t.done, t.lag INTO done, lag FROM _settle_splits(now, max_rows) t;
		WHEN 'erasures' THEN
			SELECT t.done, t.lag INTO done, lag FROM _settle_erasures(now, max_rows) t;
		WHEN 'fold_tags' THEN
			SELECT t.done, t.lag INTO done, lag FROM _fold_tags(now, max_rows) t;
		WHEN 'expire_tags' THEN
			SELECT t.done, t.lag INTO done, lag FROM _expire_tags(now, max_rows) t;
		WHEN 'fold_traits' THEN
			SELECT t.done, t.lag INTO done, lag FROM _fold_traits(now, max_rows) t;
		WHEN 'extend_timelines' THEN
			SELECT t.done, t.lag INTO done, lag FROM _fold_timelines(now, max_rows) t;
		WHEN 'lifecycle' THEN
			SELECT t.done, t.lag INTO done, lag FROM _advance_lifecycle(now, max_rows) t;
		WHEN 'repurchase' THEN
			SELECT t.done, t.lag INTO done, lag FROM _advance_repurchase(now, max_rows) t;
		WHEN 'rfm' THEN
			SELECT t.done, t.lag INTO done, lag FROM _advance_rfm(now, max_rows) t;
		WHEN 'segments' THEN
			SELECT t.done, t.lag INTO done, lag FROM _advance_segments(now, max_rows) t;
		WHEN 'journeys' THEN
			done := _advance_journeys(now, max_rows, true);
			lag := now - least((SELECT min(t.at) FROM journey_trigger t WHERE t.at <= now),
							   (SELECT r FROM _next_due_run() r WHERE r <= now));
		WHEN 'messages' THEN
			SELECT t.done, t.lag INTO done, lag FROM _release_messages(now, max_rows) t;
		WHEN 'partitions' THEN
			SELECT t.done, t.lag INTO done, lag FROM _make_partitions(now) t;
		WHEN 'retention' THEN
			SELECT t.done, t.lag INTO done, lag FROM _retire_events(now, max_rows) t;
		WHEN 'tag_sizes' THEN
			done := _note_tag_sizes(now);
	END CASE;
	done := coalesce(done, 0);
	lag := greatest(coalesce(lag, '0'), '0');
END
$$;
COMMENT ON FUNCTION cdp._run_task(text, timestamptz, int) IS 'one batch of one task; nothing while a tick of another session is under way';

CREATE FUNCTION cdp._check_clock(now timestamptz, budget interval) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF now IS NULL OR budget IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'now and budget must not be null';
	ELSIF NOT isfinite(now) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'now must be finite';
	ELSIF budget < '0' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'budget must not be negative';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_clock(timestamptz, interval) IS 'arguments of tick and run';

-- They go on with all that they hold, as a bulk load (21_identity_lock): one at a time.
-- What others may hold while they wait comes before any row.
CREATE FUNCTION cdp._lock_for_all(rebuild boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	FOR attempt IN 1 .. 100 LOOP
		BEGIN
			PERFORM _lock_identities(true);
			IF rebuild THEN
				PERFORM pg_advisory_xact_lock('lifecycle_change'::regclass::oid::bigint);
				PERFORM pg_advisory_xact_lock(_segment_lock('pass'));
				-- It scores who was merged again, tags in its hands; so does refresh_rfm with all.
				PERFORM pg_advisory_xact_lock('rfm_run'::regclass::oid::bigint);
				PERFORM _lock_merges();
			ELSE
				PERFORM pg_advisory_xact_lock('task_state'::regclass::oid::bigint);
				-- Tasks take this lock before they change tags (30_tag).  Here the next
				-- task comes after the tags of the one before.  Nor does anybody tag
				-- profiles meanwhile: he would hold one of the rows that a task
				-- needs, and wait for another that the task before has changed.
				LOCK TABLE profile_merge IN SHARE ROW EXCLUSIVE MODE;
				LOCK TABLE tag_own IN SHARE ROW EXCLUSIVE MODE;
				PERFORM _lock_limits();			-- nor enters journeys whose entries are limited
			END IF;
			RETURN;
		EXCEPTION WHEN deadlock_detected THEN
			PERFORM _open_circle(attempt);
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._lock_for_all(boolean) IS 'what tick, or (true) rebuild, holds to the end of the transaction';

CREATE FUNCTION cdp.tick(now timestamptz DEFAULT now(), budget interval DEFAULT '1 min')
RETURNS TABLE (task text, done bigint, lag interval, took interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	tasks text[] := _tasks();
	dones bigint[] := array_fill(0::bigint, ARRAY[cardinality(tasks)]);
	lags interval[];
	tooks interval[] := array_fill('0'::interval, ARRAY[cardinality(tasks)]);
	deadline timestamptz;
	started timestamptz;
	batch record;
	worked boolean;
BEGIN
	PERFORM _check_clock(now, budget);
	deadline := clock_timestamp() + budget;
	PERFORM _lock_for_all(false);
	LOOP
		worked := false;
		FOR i IN 1 .. cardinality(tasks) LOOP
			started := clock_timestamp();
			LOOP
				FOR attempt IN 1 .. 100 LOOP
					BEGIN
						SELECT t.done, t.lag INTO batch FROM _run_task(tasks[i], now, 10000) t;
						EXIT;
					EXCEPTION WHEN deadlock_detected THEN
						PERFORM _open_circle(attempt);
					END;
				END LOOP;
				dones[i] := dones[i] + batch.done;
				lags[i] := batch.lag;
				worked := worked OR batch.done > 0;
				EXIT WHEN batch.done = 0 OR clock_timestamp() >= deadline;
			END LOOP;
			tooks[i] := tooks[i] + (clock_timestamp() - started);
		END LOOP;
		EXIT WHEN NOT worked OR clock_timestamp() >= deadline;
	END LOOP;
	PERFORM _note_task(u.task, now, u.done, u.lag, NULL, NULL) FROM unnest(tasks, dones, lags) u(task, done, lag);
	RETURN QUERY SELECT u.* FROM unnest(tasks, dones, lags, tooks) u;
END
$$;
COMMENT ON FUNCTION cdp.tick(timestamptz, interval) IS 'do what is due at "now" in one transaction; an error undoes it all';

CREATE FUNCTION cdp._note_task(task text, now timestamptz, done bigint, lag interval, error_state text, error text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	-- Whoever is at it now notes the same; a tick is at it until it commits, and
	-- nobody is to wait for that.
	IF NOT pg_try_advisory_xact_lock('task_state'::regclass::oid::int, hashtext(_note_task.task)) THEN
		RETURN;
	ELSIF error_state IS NULL THEN
		INSERT INTO task_state AS s (task, last_at, last_done, lag)
		VALUES (_note_task.task, now, done, _note_task.lag)
		ON CONFLICT ON CONSTRAINT task_state_pkey DO UPDATE SET last_at = excluded.last_at, last_done = excluded.last_done,
			lag = coalesce(excluded.lag, s.lag), failing = false;
	ELSE
		INSERT INTO task_state AS s (task, failing, last_error, last_sqlstate, last_error_at)
		VALUES (_note_task.task, true, error, error_state, now)
		ON CONFLICT ON CONSTRAINT task_state_pkey DO UPDATE SET failing = true, last_error = excluded.last_error,
			last_sqlstate = excluded.last_sqlstate, last_error_at = excluded.last_error_at;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._note_task(text, timestamptz, bigint, interval, text, text) IS 'keep what a run did for a task, or its error';

-- Commits, so it carries no SET clause and qualifies everything.  A batch that
-- fails is rolled back by its own block and ends its task for this run, unless
-- it only lost against another session: then it is tried again.  It waits for
-- nobody for long: a bulk load goes on with all that it holds, and may want what we hold.  A task that
-- never runs out of work gives way to the others after its slice of time.
CREATE PROCEDURE cdp._run_tasks(tasks text[], now timestamptz, budget interval, max_rows int)
LANGUAGE plpgsql AS $$
DECLARE
	n pg_catalog.int4 := pg_catalog.cardinality(tasks);
	dones pg_catalog.int8[] := pg_catalog.array_fill(0::pg_catalog.int8, ARRAY[n]);
	lags pg_catalog.interval[];
	failed pg_catalog.bool[] := pg_catalog.array_fill(false, ARRAY[n]);
	retries pg_catalog.int4 := 10;
	deadline pg_catalog.timestamptz;
	until pg_catalog.timestamptz;
	batch_done pg_catalog.int8;
	batch_lag pg_catalog.interval;
	error_state pg_catalog.text;
	error pg_catalog.text;
	worked pg_catalog.bool;
BEGIN
	PERFORM cdp._check_clock(now, budget);
	deadline := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) budget;
	LOOP
		worked := false;
		FOR i IN 1 .. n LOOP
			until := LEAST(deadline, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) LEAST(budget OPERATOR(pg_catalog./) 5, '1 s'));
			WHILE NOT failed[i] LOOP
				error_state := NULL;
				BEGIN
					PERFORM cdp._hurry_batch();
					SELECT t.done, t.lag INTO STRICT batch_done, batch_lag
					FROM cdp._run_task(tasks[i], now, max_rows) t;
				EXCEPTION WHEN OTHERS THEN
					GET STACKED DIAGNOSTICS error_state = RETURNED_SQLSTATE, error = MESSAGE_TEXT;
				END;
				IF error_state IS NULL THEN
					dones[i] := dones[i] OPERATOR(pg_catalog.+) batch_done;
					lags[i] := batch_lag;
					IF batch_done OPERATOR(pg_catalog.>) 0 THEN
						worked := true;
					END IF;
				ELSIF pg_catalog.array_position(ARRAY['40001', '40P01'], error_state) IS NOT NULL AND retries OPERATOR(pg_catalog.>) 0 THEN
					retries := retries OPERATOR(pg_catalog.-) 1;
					batch_done := 1;
				ELSIF error_state OPERATOR(pg_catalog.=) '55P03' THEN
					batch_done := 1;		-- until the end of its slice of time
				ELSE
					failed[i] := true;
					PERFORM cdp._note_task(tasks[i], now, NULL, NULL, error_state, error);
				END IF;
				-- Folding moves what is stored already: if a crash loses it, it is
				-- done again, with the same result.  No need to wait for the disk.
				IF pg_catalog.starts_with(tasks[i], 'fold_') OR tasks[i] OPERATOR(pg_catalog.=) 'extend_timelines' THEN
					PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
				END IF;
				COMMIT;
				EXIT WHEN batch_done OPERATOR(pg_catalog.=) 0
					OR pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>=) until;
			END LOOP;
		END LOOP;
		EXIT WHEN NOT worked OR pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>=) deadline;
	END LOOP;
	-- A crash may lose the note, not the work.
	PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
	PERFORM cdp._note_task(u.task, now, u.done, u.lag, NULL, NULL)
	FROM ROWS FROM (pg_catalog.unnest(tasks), pg_catalog.unnest(dones), pg_catalog.unnest(lags), pg_catalog.unnest(failed)) u (task, done, lag, failed)
	WHERE NOT u.failed;
	COMMIT;
END
$$;
COMMENT ON PROCEDURE cdp._run_tasks(text[], timestamptz, interval, int)
	IS 'some tasks of run, in batches of max_rows';

CREATE PROCEDURE cdp.run(now timestamptz DEFAULT now(), budget interval DEFAULT '1 min')
LANGUAGE plpgsql AS $$
BEGIN
	CALL cdp._run_tasks(cdp._tasks(), now, budget, 1000);
END
$$;
COMMENT ON PROCEDURE cdp.run(timestamptz, interval)
	IS 'do what is due at "now" in batches with a commit after each; a failing task does not stop the others';

CREATE FUNCTION cdp._rebuild_once(what text, now timestamptz)
RETURNS TABLE (task text, done bigint, lag interval, took interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	started timestamptz;
BEGIN
	IF what IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'what must not be null';
	ELSIF what NOT IN ('all', 'timelines', 'lifecycle', 'purchase_due', 'segments', 'traits') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('cannot rebuild "%s"', what),
			HINT = 'Use "all", "timelines", "traits", "lifecycle", "purchase_due" or "segments".';
	END IF;
	PERFORM _check_clock(now, '0');
	PERFORM _lock_for_all(true);
	lag := '0';
	IF what IN ('all', 'timelines') THEN
		started := clock_timestamp();
		task := 'timelines';
		done := _rebuild_timelines();
		took := clock_timestamp() - started;
		RETURN NEXT;
	END IF;
	IF what IN ('all', 'traits') THEN
		started := clock_timestamp();
		task := 'traits';
		done := _rebuild_trait_indexes();
		took := clock_timestamp() - started;
		RETURN NEXT;
	END IF;
	IF what IN ('all', 'lifecycle') THEN
		started := clock_timestamp();
		task := 'lifecycle';
		done := _rebuild_lifecycle(now);
		took := clock_timestamp() - started;
		RETURN NEXT;
	END IF;
	IF what IN ('all', 'purchase_due') THEN
		started := clock_timestamp();
		task := 'purchase_due';
		done := _rebuild_purchase_due(now);
		took := clock_timestamp() - started;
		RETURN NEXT;
	END IF;
	IF what IN ('all', 'segments') THEN
		started := clock_timestamp();
		task := 'segments';
		done := _rebuild_segments(now);
		took := clock_timestamp() - started;
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._rebuild_once(text, timestamptz) IS 'an attempt at rebuild';

CREATE FUNCTION cdp.rebuild(what text DEFAULT 'all', now timestamptz DEFAULT now())
RETURNS TABLE (task text, done bigint, lag interval, took interval)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp.rebuild(text, timestamptz) IS 'derive timelines, lifecycle stages and segments again from the truth';

CREATE FUNCTION cdp.status(now timestamptz DEFAULT now()) RETURNS TABLE (item text, value text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM _check_clock(now, '0');
	RETURN QUERY
	SELECT 'extension'::text, e.extversion || CASE WHEN e.extversion <> _library_version() THEN ', library ' || _library_version() ELSE '' END
	FROM pg_extension e WHERE e.extname = 'marketing_cdp'
	-- what waits for a task, and since when
	UNION ALL SELECT 'events to fold', count(*)::text FROM event_tail
	UNION ALL SELECT 'events to fold, oldest', coalesce(now - min(at), '0')::text FROM event_tail WHERE at <= now
	UNION ALL SELECT 'tag changes to fold', count(*)::text FROM tag_pending
	UNION ALL SELECT 'tag changes to fold, oldest', greatest(coalesce(now - min(since), '0'), '0')::text FROM tag_pending
	UNION ALL SELECT 'tags to expire', count(*)::text FROM tag_expiry WHERE expires_at <= now
	UNION ALL SELECT 'trait changes to fold', count(*)::text FROM trait_pending
	UNION ALL SELECT 'trait changes to fold, oldest', greatest(coalesce(now - min(since), '0'), '0')::text FROM trait_pending
	UNION ALL SELECT 'profiles to look at', (count(*) + (SELECT coalesce(sum(rb_cardinality(b.members)), 0) FROM profile_batch b WHERE b.at <= now))::text FROM profile_queue WHERE at <= now
	UNION ALL SELECT 'profiles to look at, oldest', coalesce(now - least(min(at), (SELECT min(b.at) FROM profile_batch b WHERE b.at <= now)), '0')::text FROM profile_queue WHERE at <= now
	UNION ALL SELECT 'lifecycle stages due', count(*)::text FROM lifecycle_state WHERE due_at <= now
	UNION ALL SELECT 'lifecycle stages due, oldest', coalesce(now - min(due_at), '0')::text FROM lifecycle_state WHERE due_at <= now
	UNION ALL SELECT 'segments failing', count(*)::text FROM segment WHERE error IS NOT NULL
	UNION ALL SELECT 'segments behind', count(*)::text FROM segment WHERE computed_at IS NULL OR computed_at + coalesce(refresh_every, '0') < now
	UNION ALL SELECT 'segments behind, oldest', coalesce(greatest(max(now - computed_at - coalesce(refresh_every, '0')), '0'), '0')::text FROM segment
	UNION ALL SELECT 'journey triggers', count(*)::text FROM journey_trigger WHERE at <= now
	UNION ALL SELECT 'journey runs due', count(*)::text FROM journey_state s JOIN journey j ON j.name = s.journey AND j.status = 'active'
		WHERE s.status = 'active' AND s.due_at <= now
	UNION ALL SELECT 'journey runs due, oldest', coalesce((SELECT now - r FROM _next_due_run() r WHERE r <= now), '0')::text
	UNION ALL SELECT 'journey runs stuck', count(*)::text FROM journey_state s JOIN journey j ON j.name = s.journey AND j.status = 'active'
		WHERE s.status = 'active' AND s.due_at <= now - interval '1 hour'
	UNION ALL SELECT 'journey runs failed', count(*)::text FROM journey_state WHERE status = 'failed'
	UNION ALL SELECT 'messages to claim', count(*)::text FROM outbox WHERE status = 'pending' AND due_at <= now
	UNION ALL SELECT 'messages to claim, oldest', coalesce(now - min(due_at), '0')::text FROM outbox WHERE status = 'pending' AND due_at <= now
	UNION ALL SELECT 'messages claimed, lease over', count(*)::text FROM outbox WHERE status = 'claimed' AND leased_until <= now
	UNION ALL SELECT 'messages ambiguous', count(*)::text FROM outbox WHERE status = 'ambiguous'
	UNION ALL SELECT 'addresses that bounced', count(*)::text FROM bounced_address
	UNION ALL SELECT 'caps and quiet hours of unknown channels', count(*)::text
		FROM (SELECT c.channel FROM frequency_cap c UNION ALL SELECT q.channel FROM quiet_hours q) r
		WHERE r.channel <> '*' AND NOT EXISTS (SELECT FROM channel k WHERE k.name = r.channel)
	UNION ALL SELECT 'messages in inbox', count(*)::text FROM inbox
	UNION ALL SELECT 'messages in inbox, oldest', greatest(coalesce(now - min(received_at), '0'), '0')::text FROM inbox
	UNION ALL SELECT 'messages rejected', count(*)::text FROM rejected
	UNION ALL SELECT 'splits under way', count(DISTINCT split_id)::text FROM split_pending
	UNION ALL SELECT 'erasures under way', count(*)::text FROM erasure_pending
	UNION ALL SELECT 'months of events ready', count(*)::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'event'::regclass AND c.relname >= _event_partition_name(now)
	UNION ALL SELECT 'worker', CASE cardinality(w) WHEN 0 THEN 'none' WHEN 1 THEN 'process ' || w[1] ELSE 'processes ' || array_to_string(w, ', ') END
		FROM _workers() w
	-- what run did
	UNION ALL
	SELECT w.item, w.value
	FROM (SELECT u.n, k.m, 'task ' || u.task || k.what,
				 CASE k.m WHEN 1 THEN to_char(s.last_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
						  WHEN 2 THEN s.lag::text
						  WHEN 3 THEN CASE WHEN s.failing THEN 'yes' ELSE 'no' END
						  ELSE format('%s: %s (at %s)', s.last_sqlstate, s.last_error,
									  to_char(s.last_error_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
				 END
		  FROM unnest(_tasks()) WITH ORDINALITY u (task, n) JOIN task_state s ON s.task = u.task,
			   (VALUES (1, ', last run'), (2, ', behind by'), (3, ', failing'), (4, ', last error')) k (m, what)
		  WHERE k.m < 4 OR s.last_error IS NOT NULL
		  ORDER BY u.n, k.m) w (n, m, item, value);
END
$$;
COMMENT ON FUNCTION cdp.status(timestamptz) IS 'lengths of queues, how far behind each is, what run last did and its last errors';
