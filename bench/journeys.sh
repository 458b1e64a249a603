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
psql -c 'CREATE EXTENSION marketing_cdp' -c 'ALTER SYSTEM SET max_connections = 300' -c "ALTER SYSTEM SET synchronous_commit = 'on'"
as_user "$bindir/pg_ctl" -D "$dir/data" -l "$dir/server.log" -m fast -w restart >/dev/null
note() { echo "$1 $2" | tee -a "$dir/times" >&2; }
has() { case " $PARTS " in *" $1 "*) ;; *) return 1 ;; esac; }
rate() { awk "BEGIN { printf \"%.0f\", $1 * 1000 / $2 }"; }

# side_by_side SQL: in PROCS sessions; milliseconds until the last is through
side_by_side() {
	t0=$(now_ms)
	i=0
	while [ $i -lt "$PROCS" ]; do psql -c "$1" >"$dir/out.$i" & i=$((i + 1)); done
	wait
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
	WHILE EXISTS (SELECT FROM cdp.journey_state s WHERE s.status = 'active' AND s.due_at <= advance.at) LOOP
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
SQL

if has engine; then
	note entries "$(took psql -c "SELECT cdp.enter_journey('blast', cdp.rb_fill('{}', 1, $PROFILES + 1), '{}', '2026-02-01Z')")"
	psql -c 'ANALYZE cdp.journey_state'
	note sends "$(side_by_side "CALL advance('2026-02-01 01:00Z')")"
	psql -c "SELECT count(*) FROM cdp.outbox" | grep -qx "$PROFILES" || { say 'messages are missing'; exit 1; }
	psql -c 'VACUUM (ANALYZE) cdp.journey_state, cdp.journey_log, cdp.outbox'
	note waits "$(side_by_side "CALL advance('2026-02-02 01:00Z')")"
	psql -c "SELECT count(*) FROM cdp.journey_state WHERE status = 'ended'" | grep -qx "$PROFILES" || { say 'runs are missing'; exit 1; }
fi
