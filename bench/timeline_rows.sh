#!/bin/sh
#
# timeline_rows.sh - the aggregates over event rows against hand-written SQL.
#
# For tables that have no timelines: how many profiles went
#
#	funnel      view -> cart -> checkout -> purchase within 7 days
#	sequence    view -> cart -> purchase, each within a day of the one before
#	matrix      cohorts by the day of the first view, 31 days
#	returns     came back on the seven days (of 24 hours) after the first view
#	retention   came on the first of eight days, and again on each of the others (by
#				names: whoever comes, whatever the event, has the name "came")
#
# asked of window_funnel, sequence_match, retention_matrix and retention over rows,
# by names of events ("at, event") and by conditions ("event = 'view'"), and of plain
# SQL: window functions that carry along the latest start of a chain that has reached
# each step, a bit for each day, bool_or.  Both read a covering index in its order,
# in one process and in WORKERS.  Window functions do not run in parallel workers, so
# for several processes both are split alike: the table has WORKERS partitions by
# profile, and there is a connection for each, which has counted its rows before (a
# new one takes a while to map the server's memory).  Next to it the floor that no aggregate can get below: the same
# rows scanned, filtered and grouped, with count(*).  And what one statement takes
# when PostgreSQL may use WORKERS processes for it.
#
# All answers must agree.  Prints Markdown.
#
#	EVENTS=20000000 PROFILES=400000 WORKERS=4 RUNS=3 sh bench/timeline_rows.sh
#
# QUESTIONS (default "funnel sequence matrix returns retention") asks some of them.
#
# The questions are read by name (eval):
# shellcheck disable=SC2034,SC2154
set -eu

: "${EVENTS:=20000000}" "${PROFILES:=400000}" "${WORKERS:=4}" "${RUNS:=3}"
: "${QUESTIONS:=funnel sequence matrix returns retention}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

bench_start "$WORKERS"
psql -c 'CREATE EXTENSION marketing_cdp'
say "making $EVENTS events of $PROFILES profiles"
psql -v events="$EVENTS" -v profiles="$PROFILES" -v workers="$WORKERS" -f "$top/bench/timeline.sql"
psql -c 'ALTER TABLE events RENAME TO unsplit' -c 'CREATE TABLE events (LIKE unsplit) PARTITION BY RANGE (profile_id)'
i=0
while [ $i -lt "$WORKERS" ]; do
	psql -c "CREATE UNLOGGED TABLE events_$i PARTITION OF events FOR VALUES FROM ($((PROFILES * i / WORKERS + 1))) TO ($((PROFILES * (i + 1) / WORKERS + 1)))" \
		-c "ALTER TABLE events_$i SET (parallel_workers = $WORKERS)"
	i=$((i + 1))
done
psql -c 'INSERT INTO events SELECT * FROM unsplit' -c 'DROP TABLE unsplit' \
	-c 'CREATE INDEX ON events (profile_id, at) INCLUDE (event)' -c 'VACUUM (ANALYZE) events'

# --- the questions -----------------------------------------------------------------
reached='count(*) FILTER (WHERE n >= 1), count(*) FILTER (WHERE n >= 2), count(*) FILTER (WHERE n >= 3), count(*) FILTER (WHERE n >= 4)'
w='OVER (PARTITION BY profile_id ORDER BY at)'
steps="event IN ('view', 'cart', 'checkout', 'purchase')"
name_funnel="SELECT $reached FROM (SELECT cdp.window_funnel(at, event, '{view,cart,checkout,purchase}', '7 days') AS n FROM events GROUP BY profile_id) f"
row_funnel="SELECT $reached FROM (SELECT cdp.window_funnel('7 days', '', at, event = 'view', event = 'cart', event = 'checkout', event = 'purchase') AS n
FROM events WHERE $steps GROUP BY profile_id) f"
# The default frame includes rows of the same instant: equal times may advance, as in
# window_funnel.  A frame of ROWS is faster, and right only as long as no two steps of
# a profile are at one time; that is so here, so it is asked as well.
sql_funnel="SELECT $reached FROM (SELECT CASE WHEN bool_or(event = 'purchase' AND s3 >= at - interval '7 days') THEN 4 WHEN count(s3) > 0 THEN 3 WHEN count(s2) > 0 THEN 2 WHEN count(s1) > 0 THEN 1 ELSE 0 END AS n
FROM (SELECT *, max(s2) FILTER (WHERE event = 'checkout' AND s2 >= at - interval '7 days') $w AS s3
FROM (SELECT *, max(s1) FILTER (WHERE event = 'cart' AND s1 >= at - interval '7 days') $w AS s2
FROM (SELECT profile_id, at, event, max(at) FILTER (WHERE event = 'view') $w AS s1 FROM events WHERE $steps) a) b) c GROUP BY profile_id) u"
floor_funnel="SELECT count(*) FROM (SELECT count(*) FROM events WHERE $steps GROUP BY profile_id) f"

three="event IN ('view', 'cart', 'purchase')"
name_sequence="SELECT count(*) FILTER (WHERE m) FROM (SELECT cdp.sequence_match(at, event, 'view ->(1d) cart ->(1d) purchase') AS m FROM events GROUP BY profile_id) s"
row_sequence="SELECT count(*) FILTER (WHERE m) FROM (SELECT cdp.sequence_match('(?1)(?t<=86400)(?2)(?t<=86400)(?3)', at, event = 'view', event = 'cart', event = 'purchase') AS m
FROM events WHERE $three GROUP BY profile_id) s"
sql_sequence="SELECT count(*) FILTER (WHERE m) FROM (SELECT bool_or(event = 'purchase' AND s2 >= at - interval '1 day') AS m
FROM (SELECT *, max(at) FILTER (WHERE event = 'cart' AND s1 >= at - interval '1 day') $w AS s2
FROM (SELECT profile_id, at, event, max(at) FILTER (WHERE event = 'view') $w AS s1 FROM events WHERE $three) a) b GROUP BY profile_id) u"
floor_sequence="SELECT count(*) FROM (SELECT count(*) FROM events WHERE $three GROUP BY profile_id) s"

by_rows() { echo "$1" | sed 's/ORDER BY at)/ORDER BY at ROWS UNBOUNDED PRECEDING)/'; }
frame_funnel=$(by_rows "$sql_funnel")
frame_sequence=$(by_rows "$sql_sequence")

# 90 cohorts x 31 days, one line for each
name_matrix="SELECT array_agg(n ORDER BY o) FROM (SELECT cdp.retention_matrix(s, '2026-01-01', 90) AS m
FROM (SELECT cdp.retention_state(at, event, 'view', '*', 31, '1 day') AS s FROM events GROUP BY profile_id) p) s, unnest(m) WITH ORDINALITY u(n, o)"
sql_matrix="SELECT array_agg(coalesce(n, 0) ORDER BY c, k) FROM generate_series(0, 89) c CROSS JOIN generate_series(0, 30) k LEFT JOIN (SELECT c0 AS c, k, count(*) AS n
FROM (SELECT min(day) FILTER (WHERE event = 'view') AS c0, bit_or(CASE WHEN day < 60 THEN 1::bigint << day ELSE 0 END) AS lo, bit_or(CASE WHEN day >= 60 THEN 1::bigint << (day - 60) ELSE 0 END) AS hi
	FROM (SELECT profile_id, event, at::date - date '2026-01-01' AS day FROM events) e GROUP BY profile_id) u, generate_series(0, 30) k
WHERE c0 + k < 90 AND CASE WHEN c0 + k < 60 THEN (lo >> (c0 + k)) & 1 ELSE (hi >> (c0 + k - 60)) & 1 END = 1 GROUP BY 1, 2) m USING (c, k)"

# a bit for each of the eight days; c0 is the time of the first view
name_returns="SELECT cdp.count_each(r) FROM (SELECT cdp.retention(at, event, 'view', '*', 8, '1 day') AS r FROM events GROUP BY profile_id) s"
sql_returns="SELECT ARRAY[count(*), $(for d in 1 2 3 4 5 6 7; do printf 'sum(bits >> %s & 1)%s' $d "$([ $d = 7 ] || echo ', ')"; done)]
FROM (SELECT bit_or(1 << floor(date_part('epoch', at - c0) / 86400)::int) AS bits
FROM (SELECT profile_id, at, min(at) FILTER (WHERE event = 'view') OVER (PARTITION BY profile_id) AS c0 FROM events) e
WHERE at >= c0 AND at < c0 + interval '8 days' GROUP BY profile_id) s"
floor_all="SELECT count(*) FROM (SELECT count(*) FROM events GROUP BY profile_id) f"

day() { printf "at >= '2026-02-0%s' AND at < '2026-02-0%s'" "$1" $(($1 + 1)); }
days=$(for d in 1 2 3 4 5 6 7 8; do printf '%s%s' "$([ $d = 1 ] || echo ', ')" "$(day $d)"; done)
name_retention="SELECT cdp.retention_matrix(s, '2026-02-01', 1) FROM (SELECT cdp.retention_state(at, 'came', 'came', '*', 8, '1 day') AS s
FROM events WHERE at >= '2026-02-01' AND at < '2026-02-09' GROUP BY profile_id) p"
row_retention="SELECT cdp.count_each(r) FROM (SELECT cdp.retention($days) AS r FROM events WHERE at >= '2026-02-01' AND at < '2026-02-09' GROUP BY profile_id) s"
sql_retention="SELECT ARRAY[count(*) FILTER (WHERE d1), count(*) FILTER (WHERE d1 AND d2), count(*) FILTER (WHERE d1 AND d3), count(*) FILTER (WHERE d1 AND d4), count(*) FILTER (WHERE d1 AND d5), count(*) FILTER (WHERE d1 AND d6), count(*) FILTER (WHERE d1 AND d7), count(*) FILTER (WHERE d1 AND d8)]
FROM (SELECT $(for d in 1 2 3 4 5 6 7 8; do printf '%sbool_or(%s) AS d%s' "$([ $d = 1 ] || echo ', ')" "$(day $d)" $d; done)
FROM events WHERE at >= '2026-02-01' AND at < '2026-02-09' GROUP BY profile_id) s"

floor_retention="SELECT count(*) FROM (SELECT count(*) FROM events WHERE at >= '2026-02-01' AND at < '2026-02-09' GROUP BY profile_id) s"

# --- asking ------------------------------------------------------------------------
# In the order of the index: no sort.  The slowest connection counts.
set_up='SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashagg = off; SET enable_partitionwise_aggregate = on'
ask() {	# question processes, or 0: one statement for all the processes there are
	i=0
	parts=$(($2 > 0 ? $2 : 1))
	while [ $i -lt $parts ]; do
		eval "sql=\$$1"
		warm=$floor_all
		if [ "$2" -gt 1 ]; then
			sql=$(echo "$sql" | sed "s/FROM events/FROM events_$i/")
			warm=$(echo "$warm" | sed "s/FROM events/FROM events_$i/")
		fi
		psql -c "$set_up" -c "SET max_parallel_workers_per_gather = $(($2 > 0 ? 0 : WORKERS - 1))" -c '\o /dev/null' -c "$warm" -c '\o' -c '\timing on' -c "$sql" >"$dir/part.$i" &
		i=$((i + 1))
	done
	wait
	: >"$dir/answer"
	i=0
	while [ $i -lt $parts ]; do
		tr -d '{}' <"$dir/part.$i" | grep -v '^Time' | tr ',' '|' >>"$dir/answer"
		i=$((i + 1))
	done
	awk -F'|' '{ for (k = 1; k <= NF; k++) s[k] += $k } END { for (k = 1; k <= NF; k++) printf "%s%s", s[k], k < NF ? "|" : "\n" }' "$dir/answer" >"$dir/sum"
	i=0
	while [ $i -lt $parts ]; do sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$dir/part.$i"; i=$((i + 1)); done | sort -n | tail -1
}
# The sides take turns, so that all meet the same load; the first turn does not count.
# Of several processes the slowest counts, so one that is disturbed spoils a turn:
# three times as many.
measure() {	# processes questions…: milliseconds of the fastest turn into ms.question.processes
	p=$1
	shift
	turns=$((p == 1 ? RUNS : 3 * RUNS))
	run=0
	while [ $run -le $turns ]; do
		for question; do
			ms=$(ask "$question" "$p")
			[ $run -eq 0 ] || echo "$ms" >>"$dir/runs.$question.$p"
			cp "$dir/sum" "$dir/answer.$question.$p"
		done
		run=$((run + 1))
	done
	for question; do sort -n "$dir/runs.$question.$p" | head -1 | awk '{ printf "%.0f\n", $1 }' >"$dir/ms.$question.$p"; done
}
ms() { cat "$dir/ms.$1.$2"; }

same() { cmp "$dir/answer.$1" "$dir/answer.$2" >&2 || exit 1; }

pg=$(psql -c 'SHOW server_version')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
cat <<REPORT
# Aggregates over rows and hand-written SQL, $(date -u +%Y-%m-%d)

$EVENTS events, $PROFILES profiles, 12 event names, 90 days, rows stored in order of time, in $WORKERS partitions by profile; covering index (profile_id, at) INCLUDE (event), read in its order by both.
PostgreSQL $pg, ${cpu:-processor not known}, $(nproc) processors; shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off. Warm cache, best of $RUNS (several processes: $((3 * RUNS))), the sides in turns; load average at the start $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo '?').

A session counts its rows before it is timed. "Names" takes (at, event), "conditions" takes event = 'view' and so on (and reads only rows with one of the steps, as the plain SQL does). Plain SQL has the meaning of the aggregates; with a frame of ROWS
it is faster, but wrong when two steps are at one time. The floor is the same scan, filter and grouping as conditions and plain SQL have, with count(*) as the only aggregate; for names it is that of all rows (for retention the same).

| | processes | aggregate | plain SQL | times | frame of ROWS | times | floor |
|---|---:|---:|---:|---:|---:|---:|---:|
REPORT
ratio() { awk "BEGIN { printf \"%.1f\", $1 / $2 }"; }
for q in $QUESTIONS; do
	sides=
	for side in name row sql frame floor; do
		eval "sql=\${${side}_$q:-}"
		[ -z "$sql" ] || sides="$sides ${side}_$q"
	done
	[ "${sides#* name_}" = "$sides" ] || [ "$q" = retention ] || sides="$sides floor_all"
	# shellcheck disable=SC2086	# a list of words
	for p in 1 "$WORKERS"; do measure "$p" $sides; done
	for form in name row; do
		eval "sql=\${${form}_$q:-} frame=\${frame_$q:-}"
		[ -n "$sql" ] || continue
		floor=floor_$q
		if [ $form = name ] && [ "$q" != retention ]; then floor=floor_all; fi
		for p in 1 "$WORKERS"; do
			mine=$(ms "${form}_$q" "$p")
			theirs=$(ms "sql_$q" "$p")
			say "$q, $form, $p: $mine, $theirs ms"
			same "${form}_$q.$p" "sql_$q.$p"
			same "${form}_$q.1" "${form}_$q.$p"
			printf '| %s, %s | %s | %s ms | %s ms | %s |' "$q" "$([ $form = name ] && echo names || echo conditions)" "$p" "$mine" "$theirs" "$(ratio "$theirs" "$mine")"
			if [ -n "$frame" ]; then
				theirs=$(ms "frame_$q" "$p")
				same "${form}_$q.$p" "frame_$q.$p"
				printf ' %s ms | %s |' "$theirs" "$(ratio "$theirs" "$mine")"
			else
				printf ' | |'
			fi
			printf ' %s ms |\n' "$(ms "$floor" "$p")"
		done
	done
done
cat <<REPORT

One statement that PostgreSQL may share out to $WORKERS processes (window functions cannot be):

| | aggregate | plain SQL | times |
|---|---:|---:|---:|
REPORT
for q in $QUESTIONS; do
	eval "sql=\${name_$q:-}"
	[ -n "$sql" ] || continue
	measure 0 "name_$q" "sql_$q"
	mine=$(ms "name_$q" 0)
	theirs=$(ms "sql_$q" 0)
	same "name_$q.0" "sql_$q.0"
	same "name_$q.0" "name_$q.1"
	printf '| %s, names | %s ms | %s ms | %s |\n' "$q" "$mine" "$theirs" "$(ratio "$theirs" "$mine")"
done
cat <<REPORT

Load average at the end $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo '?'). All answers agree.
REPORT
