#!/bin/sh
#
# journeys.sh - how fast journeys advance and messages go out, beside a job queue.
#
# Makes a throw-away server with PROFILES profiles and, with PROCS sessions side by side:
#
#	engine		one journey, wait 1 h -> send an email -> wait 1 day -> end, everybody
#				due at the same instant: entries, waits and messages a second
#	outbox		claim_messages and ack_messages, BATCH at a time, until nothing is left
#	snapshot	the same while another session holds an old snapshot, beside the same
#				claims on a queue in one index: the first and the last tenth of them
#	jobs		graphile-worker (npm, optional): as many jobs, added in bulk, run by PROCS
#				worker processes: jobs that do nothing, tuned for throughput and as it comes,
#				and the same journey as a chain of jobs (wait, write the message, wait)
#
#	PROFILES=100000 PROCS=4 BATCH=100 PARTS="engine outbox snapshot jobs" sh bench/journeys.sh
#
# NPM_DIR: a folder with node_modules/graphile-worker (default: npm install into
# the bench folder).  Prints Markdown.
# shellcheck disable=SC2154
set -eu

: "${PROFILES:=100000}" "${PROCS:=4}" "${BATCH:=100}" "${PARTS=engine outbox snapshot jobs}" "${NPM_DIR:=}" "${SNAPSHOT_MESSAGES:=400000}" "${PLAIN_JOBS:=20000}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

bench_start 0
psql -c 'CREATE EXTENSION marketing_cdp' -c 'ALTER SYSTEM SET max_connections = 300'
as_user "$bindir/pg_ctl" -D "$dir/data" -l "$dir/server.log" -m fast -w restart >/dev/null
note() { echo "$1 $2" | tee -a "$dir/times" >&2; }
has() { case " $PARTS " in *" $1 "*) ;; *) return 1 ;; esac; }
rate() { awk "BEGIN { printf \"%.0f\", $1 * 1000 / $2 }"; }

# side_by_side SQL: in PROCS sessions; milliseconds until the last is through
side_by_side() {
	t0=$(now_ms)
	i=0 sessions=
	while [ $i -lt "$PROCS" ]; do psql -c "$1" >"$dir/out.$i" & sessions="$sessions $!" i=$((i + 1)); done
	# shellcheck disable=SC2086	# a list of words
	wait $sessions
	echo $(($(now_ms) - t0))
}

psql -v n="$PROFILES" <<-'SQL'
INSERT INTO cdp.profile (profile_id, kind, canonical_id, first_at) SELECT n, 'person', n, '2026-01-01Z' FROM generate_series(1, :n) n;
INSERT INTO cdp.identifier_link (identifier, profile_id, at) SELECT ('email:u' || n || '@example.com')::cdp.identifier, n, '2026-01-01Z' FROM generate_series(1, :n) n;
INSERT INTO cdp.tag_pending (tag, profile_id, present) SELECT chr(1) || 'kind:person', profile_id, true FROM cdp.profile;
SELECT cdp._fold_tags('2026-01-01Z', 2147483647) \g /dev/null
INSERT INTO cdp.consent_log (profile_id, purpose, channel, granted, at) SELECT n, 'marketing', 'email', true, '2026-01-01Z' FROM generate_series(1, :n) n;
SELECT cdp.create_journey('blast', '{"entry": {"manual": true}, "purpose": "marketing", "start": "wait", "steps": {
	"wait": {"wait": "1h", "next": "mail"},
	"mail": {"send": {"channel": "email", "template": "spring", "params": {"id": "{{profile_id}}", "from": "shop"}}, "next": "rest"},
	"rest": {"wait": "1d", "next": "end"}}}') \g /dev/null
SELECT cdp.activate_journey('blast') \g /dev/null
VACUUM (ANALYZE);
-- a worker, until nothing is due or what is due is in other hands
CREATE PROCEDURE advance(at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	WHILE cdp._next_due_run() <= advance.at LOOP
		PERFORM cdp.advance_journeys(advance.at, 2000);
		COMMIT;
	END LOOP;
END $$;
CREATE PROCEDURE drain(batch int) LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[];
BEGIN
	LOOP
		SELECT array_agg(c.id) INTO ids FROM cdp.claim_messages('email', batch, '30 s', '2026-02-02Z') c;
		COMMIT;
		EXIT WHEN ids IS NULL;
		PERFORM cdp.ack_messages(ids, 'sent', NULL, '2026-02-02Z');
		COMMIT;
	END LOOP;
END $$;
CREATE PROCEDURE drain_single(batch int) LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[];
	i bigint;
BEGIN
	LOOP
		SELECT array_agg(c.id) INTO ids FROM cdp.claim_messages('email', batch, '30 s', '2026-02-02Z') c;
		COMMIT;
		EXIT WHEN ids IS NULL;
		FOREACH i IN ARRAY ids LOOP
			PERFORM cdp.ack_message(i, 'sent', NULL, '2026-02-02Z');
			COMMIT;
		END LOOP;
	END LOOP;
END $$;
SQL

messages() {	# how many: due messages, beside the journeys'
	psql -c "INSERT INTO cdp.outbox (idempotency_key, profile_id, recipient_id, address, channel, purpose, template, params, due_at)
		SELECT 'm' || nextval('message_no'), 1 + n % $PROFILES, 1 + n % $PROFILES, 'u@example.com', 'email', 'marketing', 'spring', '{\"id\": \"7\"}', '2026-02-01Z' FROM generate_series(1, $1) n"
}
psql -c 'CREATE SEQUENCE message_no'
claimed() {	# how many must have been sent
	psql -c "SELECT count(*) FROM cdp.outbox WHERE status = 'sent'" | grep -qx "$1" || { say 'messages are not sent'; exit 1; }
}

if has engine; then
	note entries "$(took psql -c "SELECT cdp.enter_journey('blast', cdp.rb_fill('{}', 1, $PROFILES + 1), '{}', '2026-02-01Z')")"
	psql -c 'VACUUM (ANALYZE) cdp.journey_state'
	note sends "$(side_by_side "CALL advance('2026-02-01 01:00Z')")"
	psql -c "SELECT count(*) FROM cdp.outbox" | grep -qx "$PROFILES" || { say 'messages are missing'; exit 1; }
	psql -c 'VACUUM (ANALYZE) cdp.journey_state, cdp.journey_log, cdp.outbox'
	note waits "$(side_by_side "CALL advance('2026-02-02 01:00Z')")"
	psql -c "SELECT count(*) FROM cdp.journey_state WHERE status = 'ended'" | grep -qx "$PROFILES" || { say 'runs are missing'; exit 1; }
	psql -c 'TRUNCATE cdp.outbox, cdp.outbox_lane, cdp.outbox_front, cdp.delivery'
fi

if has outbox; then
	messages "$PROFILES"
	psql -c 'VACUUM (ANALYZE) cdp.outbox'
	note drain "$(side_by_side "CALL drain($BATCH)")"
	claimed "$PROFILES"
	psql -c 'TRUNCATE cdp.outbox, cdp.outbox_lane, cdp.outbox_front, cdp.delivery'
	messages "$PROFILES"
	psql -c 'VACUUM (ANALYZE) cdp.outbox'
	note drain_large "$(side_by_side 'CALL drain(1000)')"
	claimed "$PROFILES"
	psql -c 'TRUNCATE cdp.outbox, cdp.outbox_lane, cdp.outbox_front, cdp.delivery'
	messages "$((PROFILES / 10))"
	note drain_single "$(side_by_side "CALL drain_single($BATCH)")"
	claimed "$((PROFILES / 10))"
fi

if has snapshot; then
	psql <<-'SQL'
	-- what a queue in one index does: the same columns, the same claim, no parts, no questions about consent
	CREATE TABLE plain (LIKE cdp.outbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
	ALTER TABLE plain ADD PRIMARY KEY (id);
	CREATE UNIQUE INDEX ON plain (idempotency_key);
	CREATE INDEX ON plain (profile_id);
	CREATE INDEX ON plain (channel, priority DESC, due_at, id) WHERE status = 'pending';
	CREATE INDEX ON plain (leased_until) WHERE status = 'claimed';
	CREATE TABLE progress (at timestamptz DEFAULT clock_timestamp(), n int);
	CREATE PROCEDURE drain_noted(batch int) LANGUAGE plpgsql AS $$
	DECLARE
		ids bigint[];
	BEGIN
		LOOP
			SELECT array_agg(c.id) INTO ids FROM cdp.claim_messages('email', batch, '30 s', '2026-02-02Z') c;
			COMMIT;
			EXIT WHEN ids IS NULL;
			PERFORM cdp.ack_messages(ids, 'sent', NULL, '2026-02-02Z');
			INSERT INTO progress (n) VALUES (cardinality(ids));
			COMMIT;
		END LOOP;
	END $$;
	CREATE FUNCTION claim_plain(batch int) RETURNS bigint[] LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
	DECLARE
		ids bigint[];
	BEGIN
		WITH chosen AS MATERIALIZED (
			SELECT o.id FROM plain o
			WHERE o.channel = 'email' AND o.status = 'pending' AND o.due_at <= '2026-02-02Z' AND (o.expires_at IS NULL OR o.expires_at > '2026-02-02Z')
			ORDER BY o.priority DESC, o.due_at, o.id LIMIT batch FOR UPDATE SKIP LOCKED
		), claimed AS (
			UPDATE plain o SET status = 'claimed', attempts = o.attempts + 1, leased_until = '2026-02-02 00:00:30Z' FROM chosen c WHERE o.id = c.id RETURNING o.id
		)
		SELECT array_agg(c.id) INTO ids FROM claimed c;
		RETURN ids;
	END $$;
	CREATE PROCEDURE drain_plain(batch int) LANGUAGE plpgsql AS $$
	DECLARE
		ids bigint[];
	BEGIN
		LOOP
			ids := claim_plain(batch);
			COMMIT;
			EXIT WHEN ids IS NULL;
			UPDATE plain o SET status = 'sent', leased_until = NULL WHERE o.id = ANY (ids);
			INSERT INTO progress (n) VALUES (cardinality(ids));
			COMMIT;
		END LOOP;
	END $$;
	SQL
	psql -c 'TRUNCATE cdp.outbox, cdp.outbox_lane, cdp.outbox_front, cdp.delivery'
	for side in noted plain; do
		for hold in free held; do
			psql -c 'TRUNCATE cdp.outbox, cdp.outbox_lane, cdp.outbox_front, cdp.delivery, plain, progress'
			messages "$SNAPSHOT_MESSAGES"
			if [ $side = plain ]; then
				psql -c "INSERT INTO plain SELECT * FROM cdp.outbox" -c 'TRUNCATE cdp.outbox'
			fi
			psql -c 'VACUUM (ANALYZE) cdp.outbox, plain'
			keeper=
			if [ $hold = held ]; then
				psql -c 'BEGIN ISOLATION LEVEL REPEATABLE READ' -c 'SELECT count(*) FROM cdp.profile' -c 'SELECT pg_sleep(3600)' >"$dir/keeper" 2>&1 &
				keeper=$!
				while ! psql -c "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'" | grep -q 1; do sleep 0.1; done
			fi
			side_by_side "CALL drain_$side($BATCH)" >/dev/null
			if [ -n "$keeper" ]; then
				psql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'" >/dev/null
				wait $keeper || :
			fi
			psql -F ' ' -c "WITH p AS (SELECT at, sum(n) OVER (ORDER BY at, n) AS done, sum(n) OVER () AS total FROM progress)
				SELECT '${side}_${hold}_first', round(0.1 * max(total) / extract(epoch FROM max(at) FILTER (WHERE done <= 0.1 * total) - min(at))) FROM p
				UNION ALL SELECT '${side}_${hold}_last', round(0.1 * max(total) / extract(epoch FROM max(at) - max(at) FILTER (WHERE done <= 0.9 * total))) FROM p
				UNION ALL SELECT '${side}_${hold}_all', round(max(total) / extract(epoch FROM max(at) - min(at))) FROM p" | tee -a "$dir/times" >&2
		done
	done
fi

if has jobs; then
	cp "$top/bench/journeys_rivals.mjs" "$dir/"
	if [ -n "$NPM_DIR" ]; then
		ln -s "$NPM_DIR" "$dir/npm"
	else
		mkdir "$dir/npm"
		(cd "$dir/npm" && echo '{}' >package.json && npm install --no-audit --no-fund graphile-worker >"$dir/npm.log" 2>&1) || :
	fi
	url="postgresql://cdp@$(echo "$dir/socket" | sed 's,/,%2F,g')/$database"
	if node "$dir/journeys_rivals.mjs" "$url" "$dir" setup 2>"$dir/jobs.log"; then
		psql -c 'CREATE TABLE job_message (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, idempotency_key text UNIQUE, profile_id bigint, channel text, template text, params jsonb)'
		for way in tuned plain chain tuned_chain; do
			jobs=$PROFILES
			[ $way = tuned ] || jobs=$PLAIN_JOBS
			note "jobs_${way}_add" "$(took psql -c "SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(SELECT json_populate_record(NULL::graphile_worker.job_spec,
				json_build_object('identifier', CASE WHEN '$way' LIKE '%chain' THEN 'mail' ELSE 'send' END, 'payload', json_build_object('id', n))) FROM generate_series(1, $jobs) n))")"
			psql -c 'VACUUM (ANALYZE)'
			i=0
			while [ $i -lt "$PROCS" ]; do node "$dir/journeys_rivals.mjs" "$url" "$dir" "$way" >"$dir/jobs.$i" 2>>"$dir/jobs.log" & i=$((i + 1)); done
			wait
			cat "$dir"/jobs.? | awk -v w="$way" -v want="$jobs" '{ n += $1; if ($2 > ms) ms = $2 } END { if (n != want) { print w ": " n " of " want > "/dev/stderr"; exit 1 } print "jobs_" w, ms }' | tee -a "$dir/times" >&2
		done
	else
		say "graphile-worker is left out: $(tail -1 "$dir/jobs.log")"
	fi
fi

# --- report ------------------------------------------------------------------
time_of() { sed -n "s/^$1 //p" "$dir/times" | tail -1; }
per() { ms=$(time_of "$3"); if [ -n "$ms" ]; then echo "| $1 | $(rate "$2" "$ms") |"; fi; }
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
cat <<REPORT
# Journeys, $(date -u +%Y-%m-%d)

$PROFILES profiles, $PROCS sessions side by side. PostgreSQL $(psql -c 'SHOW server_version'), ${cpu:-processor not known}, $(nproc) processors; shared_buffers $SHARED_BUFFERS, fsync off on both sides.
Load average at the end $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo '?').

| everybody due at one instant | a second |
|---|---:|
$(per 'entries, one session' "$PROFILES" entries)
$(per 'steps: a wait that is over, then a message (consent, address, placeholders, event, log)' "$((2 * PROFILES))" sends)
$(per 'messages, in that' "$PROFILES" sends)
$(per 'waits that are over, to the end of the journey' "$PROFILES" waits)
$(per "messages claimed and acknowledged, $BATCH at a time" "$PROFILES" drain)
$(per 'messages claimed and acknowledged, 1,000 at a time' "$PROFILES" drain_large)
$(per "messages claimed $BATCH at a time and acknowledged one by one" "$((PROFILES / 10))" drain_single)
$(per 'graphile-worker: jobs that do nothing, tuned for throughput (local queue of 500, completions together)' "$PROFILES" jobs_tuned)
$(per 'graphile-worker: jobs that do nothing, as it comes' "$PLAIN_JOBS" jobs_plain)
$(per 'graphile-worker, as it comes: jobs that write a message and add the next job' "$PLAIN_JOBS" jobs_chain)
$(per 'graphile-worker, tuned: jobs that write a message and add the next job' "$PLAIN_JOBS" jobs_tuned_chain)
$(per 'graphile-worker: jobs added, in bulk, one session' "$PROFILES" jobs_tuned_add)
REPORT
snap() { echo "| $1 | $(time_of "$2_first") | $(time_of "$2_last") | $(time_of "$2_all") |"; }
if has snapshot; then
	cat <<-REPORT

	$SNAPSHOT_MESSAGES messages claimed and acknowledged, $BATCH at a time, a second:

	| | first tenth | last tenth | all |
	|---|---:|---:|---:|
	$(snap 'outbox' noted_free)
	$(snap 'outbox, while another session holds an old snapshot' noted_held)
	$(snap 'a queue in one index' plain_free)
	$(snap 'a queue in one index, while another session holds an old snapshot' plain_held)
	REPORT
fi
