#!/bin/sh
#
# timeline_funnel.sh - one funnel, asked of timelines and of event rows.
#
# Makes a throw-away server, fills it with EVENTS events of PROFILES profiles
# (the same in every run), builds a timeline for each profile, and asks how many
# profiles went view -> cart -> checkout -> purchase within 7 days: with
# window_funnel over the timelines, and with plain SQL over the rows.  Answers
# must agree.  Prints Markdown.
#
#	EVENTS=20000000 PROFILES=1000000 WORKERS=4 RUNS=3 sh bench/timeline_funnel.sh
#
# Needs about 150 bytes of disk for each event under BENCH_DIR; KEEP=1 leaves
# the server running.
set -eu

: "${EVENTS:=20000000}" "${PROFILES:=1000000}" "${WORKERS:=4}" "${RUNS:=3}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

# --- a server of its own -----------------------------------------------------
bench_start "$WORKERS"

# --- data --------------------------------------------------------------------
say "making $EVENTS events of $PROFILES profiles"
make_ms=$(took psql -v events="$EVENTS" -v profiles="$PROFILES" -v workers="$WORKERS" -f "$top/bench/timeline_funnel.sql")
index_ms=$(took psql -c 'CREATE INDEX ON events (profile_id, at) INCLUDE (event)' -c 'VACUUM (ANALYZE) events')
say "building timelines"
build_ms=$(took psql -c "CREATE UNLOGGED TABLE timelines AS
	SELECT profile_id, cdp.timeline_agg(at, event, value) AS timeline FROM events GROUP BY profile_id" \
	-c "ALTER TABLE timelines SET (parallel_workers = $WORKERS)" -c 'VACUUM (ANALYZE) timelines')

# --- the question --------------------------------------------------------------
over_timelines="SELECT count(*) FILTER (WHERE n >= 1), count(*) FILTER (WHERE n >= 2), count(*) FILTER (WHERE n >= 3), count(*) FILTER (WHERE n >= 4)
FROM (SELECT cdp.window_funnel(timeline, '{view,cart,checkout,purchase}', '7 days') AS n FROM timelines) f"

# For each row, the latest start of a chain that has reached each step.  The
# default frame includes rows of the same instant: equal times may advance.
over_rows() {	# condition on profile_id
	echo "WITH f AS (SELECT profile_id, at, event FROM events WHERE event IN ('view', 'cart', 'checkout', 'purchase') AND $1),
a AS (SELECT *, max(at) FILTER (WHERE event = 'view') OVER w AS s1 FROM f WINDOW w AS (PARTITION BY profile_id ORDER BY at)),
b AS (SELECT *, max(s1) FILTER (WHERE event = 'cart' AND s1 >= at - interval '7 days') OVER w AS s2 FROM a WINDOW w AS (PARTITION BY profile_id ORDER BY at)),
c AS (SELECT *, max(s2) FILTER (WHERE event = 'checkout' AND s2 >= at - interval '7 days') OVER w AS s3 FROM b WINDOW w AS (PARTITION BY profile_id ORDER BY at)),
u AS (SELECT profile_id, count(s1) > 0 AS n1, count(s2) > 0 AS n2, count(s3) > 0 AS n3,
	count(*) FILTER (WHERE event = 'purchase' AND s3 >= at - interval '7 days') > 0 AS n4 FROM c GROUP BY profile_id)
SELECT count(*) FILTER (WHERE n1), count(*) FILTER (WHERE n2), count(*) FILTER (WHERE n3), count(*) FILTER (WHERE n4) FROM u"
}

serial='SET max_parallel_workers_per_gather = 0'
ordered='SET enable_seqscan = off; SET enable_bitmapscan = off'	# index order: no sort

# Each prints the answer and "Time: x ms" as the server session saw it.
timelines_serial() { psql -c "$serial" -c '\timing on' -c "$over_timelines"; }
timelines_parallel() {
	psql -c 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0' -c '\timing on' -c "$over_timelines"
}
rows_ordered() { psql -c "$serial; $ordered" -c '\timing on' -c "$(over_rows true)"; }
rows_sorted() {
	psql -c "$serial; SET work_mem = '2GB'; SET enable_indexscan = off; SET enable_indexonlyscan = off" \
		-c '\timing on' -c "$(over_rows true)"
}
# Window functions run in one process, so for all processors the rows are
# split into ranges of profiles, one connection for each; the slowest counts.
rows_parallel() {
	i=0
	while [ $i -lt "$WORKERS" ]; do
		psql -c "$serial; $ordered" -c '\timing on' -c "$(over_rows "profile_id > $PROFILES::bigint * $i / $WORKERS AND profile_id <= $PROFILES::bigint * ($i + 1) / $WORKERS")" >"$dir/part.$i" &
		i=$((i + 1))
	done
	wait
	awk -F'|' '/^Time/ { print; next } { for (k = 1; k <= 4; k++) s[k] += $k } END { print s[1] "|" s[2] "|" s[3] "|" s[4] }' "$dir"/part.*
}

best() {	# milliseconds of the fastest of RUNS, after one that is not counted
	"$1" | grep -v '^Time' >"$dir/answer.$1"
	run=0
	while [ $run -lt "$RUNS" ]; do
		"$1" | awk '/^Time/ { if ($2 > t) t = $2 } END { printf "%.0f\n", t }'
		run=$((run + 1))
	done | sort -n | head -1 >"$dir/best"
	say "$1: $(cat "$dir/best") ms, $(cat "$dir/answer.$1")"
	cat "$dir/best"
}
t1=$(best timelines_serial)
tn=$(best timelines_parallel)
rn=$(best rows_parallel)
r1=$(best rows_ordered)
rs=$(best rows_sorted)
cat "$dir"/answer.* | sort -u >"$dir/answers"
if [ "$(wc -l <"$dir/answers")" != 1 ]; then
	say 'the answers differ:'
	head "$dir"/answer.* >&2
	exit 1
fi

# --- report ----------------------------------------------------------------------
ratio() { awk "BEGIN { printf \"%.1f\", $1 / ($2 > 0 ? $2 : 1) }"; }
size() { psql -c "SELECT pg_size_pretty(sum(s)) FROM (VALUES ($1)) v(s)"; }
pg=$(psql -c 'SHOW server_version')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || echo '?')
cat <<REPORT
# Funnel over timelines and over rows, $(date -u +%Y-%m-%d)

$EVENTS events, $PROFILES profiles, 12 event names, 90 days, microsecond times; 4 steps within 7 days.
PostgreSQL $pg, ${cpu:-processor not known}, $(nproc) processors, $memory; shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off, $WORKERS parallel processes.
Warm cache, best of $RUNS.

| | one process | $WORKERS processes |
|---|---:|---:|
| \`window_funnel\` over timelines | $t1 ms | $tn ms |
| plain SQL over rows, index order (covering index) | $r1 ms | $rn ms |
| plain SQL over rows, sort (2 GB work_mem) | $rs ms | |
| ratio, rows (index order) / timelines | $(ratio "$r1" "$t1") | $(ratio "$rn" "$tn") |

Plain SQL on $WORKERS processes is $WORKERS connections with a range of profiles each, because window functions do not run in parallel workers.
All answers agree: $(cat "$dir/answers") profiles reached step 1|2|3|4.

| | size | made in |
|---|---:|---:|
| event rows | $(size "pg_table_size('events')") | $make_ms ms |
| covering index on (profile_id, at) | $(size "pg_indexes_size('events')") | $index_ms ms |
| timelines (times, names and values) | $(size "pg_table_size('timelines')") | $build_ms ms |
REPORT
