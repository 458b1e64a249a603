#!/bin/sh
#
# latency.sh - how long an event takes to become a message in a sender's hands.
#
# Makes a throw-away server with fsync on, PROFILES people, JOURNEYS active
# journeys and BACKGROUND_WORKERS workers.  CLIENTS sessions track RATE events a
# second for SECONDS_LONG seconds; one in EVERY starts a journey that sends at once.
# CLAIMERS sessions claim and acknowledge meanwhile.  The latency of a message
# is the time from its event (the clock just before `track` was called, at which
# the message is due) to the moment its claimer has it.  Everything must have arrived, once.
# Then the worker is stopped, BACKLOG events come in, and it is measured how long
# the worker needs for their messages and for all the rest.
# Prints Markdown.
#
#	RATE=2000 SECONDS_LONG=30 EVERY="10 1" BACKLOG="25000 100000" sh bench/latency.sh
set -eu

: "${PROFILES:=200000}" "${JOURNEYS:=20}" "${RATE:=2000}" "${CLIENTS:=16}" "${CLAIMERS:=2}" "${EVERY=10 1}" "${NAPTIME:=500ms}" "${BACKGROUND_WORKERS:=1}" "${BACKLOG=25000 100000}"
SECONDS_LONG=${SECONDS_LONG:-30}
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"
bench_start 0
printf "fsync = on\nmarketing_cdp.worker_naptime = '%s'\nmarketing_cdp.workers = %s\n" "$NAPTIME" "$BACKGROUND_WORKERS" >>"$dir/data/postgresql.conf"
psql -c 'SELECT pg_reload_conf()' >/dev/null
psql -c 'CREATE EXTENSION marketing_cdp' -c "ALTER DATABASE bench SET search_path = public, cdp"
say "making $PROFILES people, $JOURNEYS journeys"
psql >/dev/null <<SQL
SELECT import_identities('SELECT ''user_id:u'' || n, ''email:u'' || n || ''@example.com'' FROM generate_series(1, $PROFILES) n');
SELECT create_journey('j' || n, jsonb_build_object('entry', jsonb_build_object('on', 'cart' || n, 'reentry', 'always'), 'purpose', 'transactional', 'start', 's',
	'steps', '{"s": {"send": {"channel": "email", "template": "t"}, "next": "end"}}'::jsonb)), activate_journey('j' || n) FROM generate_series(1, $JOURNEYS) n;
CALL run();
VACUUM ANALYZE;
CREATE UNLOGGED TABLE got (run_id bigint, seconds float8);
SELECT start_worker();
SQL
cat >"$dir/track.sql" <<SQL
\\set p random(1, $PROFILES)
\\set e random(1, :every)
\\set j random(1, $JOURNEYS)
SELECT cdp.track(ARRAY['user_id:u' || :p]::cdp.identifier[], CASE :e WHEN 1 THEN 'cart' ELSE 'view' END || :j, '{"value": 1}', clock_timestamp());
SQL
cat >"$dir/claim.sql" <<'SQL'
INSERT INTO got
SELECT x.run_id, x.seconds
FROM (SELECT c.run_id, extract(epoch FROM clock_timestamp() - c.due_at) AS seconds, cdp.ack_message(c.id, 'sent') FROM cdp.claim_messages('email', 200) c OFFSET 0) x;
\sleep 20 ms
SQL

echo "# From an event to a message, $(date +%F)"
echo
echo "$(psql -c 'SELECT version()' | cut -d, -f1), $(nproc) processors, fsync on; $PROFILES people, $JOURNEYS active journeys, $BACKGROUND_WORKERS background worker(s) on (naps up to $NAPTIME),"
echo "$CLIENTS sessions track, $CLAIMERS claim and acknowledge, all on the same machine."
echo
echo '| events/s asked | done | messages/s | p50 | p90 | p99 | max | load |'
echo '|---:|---:|---:|---:|---:|---:|---:|---:|'
for every in $EVERY; do
	psql -c 'TRUNCATE got' -c 'CHECKPOINT'
	"$bindir/pgbench" -n -h "$dir/socket" -U cdp -c "$CLAIMERS" -j 1 -T $((SECONDS_LONG + 15)) -f "$dir/claim.sql" bench >"$dir/claim.log" 2>&1 &
	before=$(psql -c "SELECT count(*) FROM cdp.event WHERE event LIKE 'cart%'")
	tps=$("$bindir/pgbench" -n -h "$dir/socket" -U cdp -c "$CLIENTS" -j 2 -R "$RATE" -T "$SECONDS_LONG" -D every="$every" -f "$dir/track.sql" bench | sed -n 's/^tps = \([0-9]*\).*/\1/p')
	wait
	asked=$(psql -c "SELECT count(*) - $before FROM cdp.event WHERE event LIKE 'cart%'")
	psql -c "SELECT format('| %s | %s | %s | %s ms | %s ms | %s ms | %s ms | $(cut -d' ' -f1 /proc/loadavg) |', $RATE, $tps, count(*) / $SECONDS_LONG,
		round((1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds))::numeric), round((1000 * percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds))::numeric),
		round((1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY seconds))::numeric), round((1000 * max(seconds))::numeric)) FROM got"
	[ "$(psql -c "SELECT count(*) = $asked AND count(DISTINCT run_id) = $asked FROM got")" = t ] || { say "not every message came once: $asked events"; exit 1; }
done

# seconds until a question is answered with t
wait_for() {
	t0=$(now_ms)
	until [ "$(psql -c "SELECT $1")" = t ]; do sleep 0.1; done
	awk "BEGIN { printf \"%.1f\", ($(now_ms) - $t0) / 1000 }"
}
if [ -n "$BACKLOG" ]; then
	echo
	echo 'A worker that begins with a backlog, one event in ten starts a journey:'
	echo
	echo '| events | folded and all messages written, seconds | all queues empty, seconds |'
	echo '|---:|---:|---:|'
fi
for n in $BACKLOG; do
	psql -c "SELECT stop_worker()" >/dev/null
	psql -c 'CHECKPOINT' >/dev/null
	before=$(psql -c "SELECT count(*) FROM cdp.outbox")
	psql -c "SELECT format('%s accepted, %s rejected', i.accepted, i.rejected) FROM import_events(\$q\$
		SELECT 'u' || (1 + n * 7919 % $PROFILES) AS user_id, CASE n % 10 WHEN 0 THEN 'cart' ELSE 'view' END || (1 + n / 10 % $JOURNEYS) AS event,
			   now() - make_interval(secs => ($n - n) / 1000000.0) AS at, 1 AS value FROM generate_series(1, $n) n \$q\$, 'bench', false) i" >&2
	psql -c 'SELECT start_worker()' >/dev/null
	messages=$(wait_for "(SELECT count(*) FROM event_tail) = 0 AND (SELECT count(*) FROM cdp.outbox) = $before + $n / 10")
	rest=$(wait_for "_due_tasks(now()) = '{}' AND NOT _is_urgent(now())")
	echo "| $n | $messages | $(awk "BEGIN { print $messages + $rest }") |"
done
psql -c "SELECT * FROM cdp.status() WHERE item LIKE '%failing' AND value = 'yes' OR item LIKE '%error'" >&2
