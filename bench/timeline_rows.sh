#!/bin/sh
#
# timeline_rows.sh - the aggregates over event rows against hand-written SQL.
#
# For tables that have no timelines: how many profiles went
#
#	funnel      view -> cart -> checkout -> purchase within 7 days
#	sequence    view -> cart -> purchase, each within a day of the one before
#	retention   came on the first of eight days, and again on each of the others
#
# asked of window_funnel, sequence_match and retention over rows, and of plain SQL
# (window functions that carry along the latest start of a chain that has reached
# each step; bool_or), both in the order of the same covering index, in one
# process and in WORKERS.  Window functions do not run in parallel workers, so for
# several processes both are split alike: a connection for each range of profiles.
# All answers must agree.  Prints Markdown.
#
#	EVENTS=20000000 PROFILES=400000 WORKERS=4 RUNS=3 sh bench/timeline_rows.sh
#
# The questions are read by name (eval):
# shellcheck disable=SC2034,SC2154
set -eu

: "${EVENTS:=20000000}" "${PROFILES:=400000}" "${WORKERS:=4}" "${RUNS:=3}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

bench_start "$WORKERS"
psql -c 'CREATE EXTENSION marketing_cdp'
say "making $EVENTS events of $PROFILES profiles"
psql -v events="$EVENTS" -v profiles="$PROFILES" -v workers="$WORKERS" -f "$top/bench/timeline.sql"
psql -c 'CREATE INDEX ON events (profile_id, at) INCLUDE (event)' -c 'VACUUM (ANALYZE) events'

# --- the questions; RANGE is a condition on profile_id ---------------------------
reached='count(*) FILTER (WHERE n >= 1), count(*) FILTER (WHERE n >= 2), count(*) FILTER (WHERE n >= 3), count(*) FILTER (WHERE n >= 4)'
w='OVER (PARTITION BY profile_id ORDER BY at)'
row_funnel="SELECT $reached FROM (SELECT cdp.window_funnel('7 days', '', at, event = 'view', event = 'cart', event = 'checkout', event = 'purchase') AS n
FROM events WHERE event IN ('view', 'cart', 'checkout', 'purchase') AND RANGE GROUP BY profile_id) f"
# the default frame includes rows of the same instant: equal times may advance
sql_funnel="SELECT $reached FROM (SELECT CASE WHEN bool_or(event = 'purchase' AND s3 >= at - interval '7 days') THEN 4 WHEN count(s3) > 0 THEN 3 WHEN count(s2) > 0 THEN 2 WHEN count(s1) > 0 THEN 1 ELSE 0 END AS n
FROM (SELECT *, max(s2) FILTER (WHERE event = 'checkout' AND s2 >= at - interval '7 days') $w AS s3
FROM (SELECT *, max(s1) FILTER (WHERE event = 'cart' AND s1 >= at - interval '7 days') $w AS s2
FROM (SELECT profile_id, at, event, max(at) FILTER (WHERE event = 'view') $w AS s1 FROM events WHERE event IN ('view', 'cart', 'checkout', 'purchase') AND RANGE) a) b) c GROUP BY profile_id) u"

row_sequence="SELECT count(*) FILTER (WHERE m) FROM (SELECT cdp.sequence_match('(?1)(?t<=86400)(?2)(?t<=86400)(?3)', at, event = 'view', event = 'cart', event = 'purchase') AS m
FROM events WHERE event IN ('view', 'cart', 'purchase') AND RANGE GROUP BY profile_id) s"
sql_sequence="SELECT count(*) FILTER (WHERE m) FROM (SELECT bool_or(event = 'purchase' AND s2 >= at - interval '1 day') AS m
FROM (SELECT *, max(at) FILTER (WHERE event = 'cart' AND s1 >= at - interval '1 day') $w AS s2
FROM (SELECT profile_id, at, event, max(at) FILTER (WHERE event = 'view') $w AS s1 FROM events WHERE event IN ('view', 'cart', 'purchase') AND RANGE) a) b GROUP BY profile_id) u"

day() { printf "at >= '2026-02-0%s' AND at < '2026-02-0%s'" "$1" $(($1 + 1)); }
days=$(for d in 1 2 3 4 5 6 7 8; do printf '%s%s' "$([ $d = 1 ] || echo ', ')" "$(day $d)"; done)
row_retention="SELECT cdp.count_each(r) FROM (SELECT cdp.retention($days) AS r FROM events WHERE at >= '2026-02-01' AND at < '2026-02-09' AND RANGE GROUP BY profile_id) s"
sql_retention="SELECT ARRAY[count(*) FILTER (WHERE d1), count(*) FILTER (WHERE d1 AND d2), count(*) FILTER (WHERE d1 AND d3), count(*) FILTER (WHERE d1 AND d4), count(*) FILTER (WHERE d1 AND d5), count(*) FILTER (WHERE d1 AND d6), count(*) FILTER (WHERE d1 AND d7), count(*) FILTER (WHERE d1 AND d8)]
FROM (SELECT $(for d in 1 2 3 4 5 6 7 8; do printf '%sbool_or(%s) AS d%s' "$([ $d = 1 ] || echo ', ')" "$(day $d)" $d; done)
FROM events WHERE at >= '2026-02-01' AND at < '2026-02-09' AND RANGE GROUP BY profile_id) s"

# --- asking ------------------------------------------------------------------------
# In the order of the index: no sort.  The slowest connection counts.
set_up='SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashagg = off'
ask() {	# question processes
	i=0
	while [ $i -lt "$2" ]; do
		eval "sql=\$$1"
		sql=$(echo "$sql" | sed "s/RANGE/profile_id > $PROFILES::bigint * $i \/ $2 AND profile_id <= $PROFILES::bigint * ($i + 1) \/ $2/")
		psql -c "$set_up" -c '\timing on' -c "$sql" >"$dir/part.$i" &
		i=$((i + 1))
	done
	wait
	tr -d '{}' <"$dir/part.0" | grep -v '^Time' | tr ',' '|' >"$dir/answer"
	i=1
	while [ $i -lt "$2" ]; do
		tr -d '{}' <"$dir/part.$i" | grep -v '^Time' | tr ',' '|' >>"$dir/answer"
		i=$((i + 1))
	done
	awk -F'|' '{ for (k = 1; k <= NF; k++) s[k] += $k } END { for (k = 1; k <= NF; k++) printf "%s%s", s[k], k < NF ? "|" : "\n" }' "$dir/answer" >"$dir/sum"
	i=0
	while [ $i -lt "$2" ]; do sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$dir/part.$i"; i=$((i + 1)); done | sort -n | tail -1
}
best() {	# question processes: milliseconds of the fastest of RUNS, after one that is not counted
	ask "$1" "$2" >/dev/null
	run=0
	while [ $run -lt "$RUNS" ]; do
		ask "$1" "$2"
		run=$((run + 1))
	done | sort -n | head -1 | awk '{ printf "%.0f\n", $1 }'
	cp "$dir/sum" "$dir/answer.$1.$2"
}

pg=$(psql -c 'SHOW server_version')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
cat <<REPORT
# Aggregates over rows and hand-written SQL, $(date -u +%Y-%m-%d)

$EVENTS events, $PROFILES profiles, 12 event names, 90 days; covering index (profile_id, at) INCLUDE (event), read in its order by both.
PostgreSQL $pg, ${cpu:-processor not known}, $(nproc) processors; shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off. Warm cache, best of $RUNS.

| | one process | | | $WORKERS processes | | |
|---|---:|---:|---:|---:|---:|---:|
| | aggregate | plain SQL | times | aggregate | plain SQL | times |
REPORT
for q in funnel sequence retention; do
	printf '| %s |' "$q"
	for p in 1 "$WORKERS"; do
		mine=$(best "row_$q" "$p")
		theirs=$(best "sql_$q" "$p")
		say "$q, $p: $mine, $theirs ms, $(cat "$dir/answer.sql_$q.$p")"
		cmp "$dir/answer.row_$q.$p" "$dir/answer.sql_$q.$p" >&2 || exit 1
		cmp "$dir/answer.row_$q.1" "$dir/answer.row_$q.$p" >&2 || exit 1
		printf ' %s ms | %s ms | %s |' "$mine" "$theirs" "$(awk "BEGIN { printf \"%.1f\", $theirs / $mine }")"
	done
	printf '\n'
done
cat <<REPORT

Load average at the end $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo '?'). All answers agree.
REPORT
