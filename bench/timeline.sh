#!/bin/sh
#
# timeline.sh - the same questions to timelines, plain SQL, ClickHouse and DuckDB.
#
# Makes a throw-away server, fills it with EVENTS events of PROFILES profiles
# (the same in every run), builds a timeline for each profile, and asks
#
#	funnel      view -> cart -> checkout -> purchase within 7 days
#	retention   cohorts by the day of the first view, 31 days
#	features    12 checksums over first, last, purchases, money, mean gap,
#	            sessions and three quintiles of each profile
#	median_gap  the median time between purchases of each profile
#
# All answers must agree.  Prints Markdown.
#
#	EVENTS=50000000 PROFILES=1000000 WORKERS=4 RUNS=3 sh bench/timeline.sh
#
# RIVALS (default "sql clickhouse duckdb") are optional: the last two run inside
# node, from packages that are installed into BENCH_DIR/npm (or found in NPM_DIR);
# what cannot be installed is left out.  Needs about 300 bytes of disk for each
# event under BENCH_DIR; KEEP=1 leaves the server running.
# The questions are read by name (eval):
# shellcheck disable=SC2034,SC2154
set -eu

: "${EVENTS:=50000000}" "${PROFILES:=1000000}" "${WORKERS:=4}" "${RUNS:=3}"
: "${RIVALS=sql clickhouse duckdb}" "${NPM_DIR:=}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

# --- a server of its own -----------------------------------------------------
bench_start "$WORKERS"
mkdir "$dir/csv"
cp "$top/bench/timeline_rivals.mjs" "$dir/"
psql -c 'CREATE EXTENSION marketing_cdp'

# --- data --------------------------------------------------------------------
say "making $EVENTS events of $PROFILES profiles"
make_ms=$(took psql -v events="$EVENTS" -v profiles="$PROFILES" -v workers="$WORKERS" -f "$top/bench/timeline.sql")

# Each worker builds its share of the profiles from start to end: an aggregate
# over all of them would hand half-made timelines from process to process.
# Rows stay inline up to a page (toast_tuple_target): a scan that has to fetch
# values from the TOAST table spends more time there than on the question.
say "building timelines"
psql -c 'CREATE UNLOGGED TABLE timelines (profile_id int, timeline cdp.timeline) WITH (toast_tuple_target = 8160)'
build() {
	i=0
	while [ $i -lt "$WORKERS" ]; do
		psql -c "SET max_parallel_workers_per_gather = 0; SET work_mem = '2GB'; SET synchronize_seqscans = on" \
			-c "INSERT INTO timelines SELECT profile_id, cdp.timeline_agg(at, event, value) FROM events WHERE profile_id % $WORKERS = $i GROUP BY profile_id" &
		i=$((i + 1))
	done
	wait
}
build_ms=$(took build)
psql -c "ALTER TABLE timelines SET (parallel_workers = $WORKERS)" -c 'VACUUM (ANALYZE) timelines' \
	-c "SELECT sum(cdp.num_events(timeline)) = $EVENTS FROM timelines" | grep -qx t || { say 'events were lost'; exit 1; }

# --- the questions over timelines ----------------------------------------------
ql_funnel="SELECT n[1], n[2], n[3], n[4] FROM (SELECT cdp.funnel_counts(timeline, '{view,cart,checkout,purchase}', '7 days') AS n FROM timelines) f"
ql_retention="SELECT (o - 1) / 31, (o - 1) % 31, n FROM (SELECT cdp.retention_matrix(timeline, 'view', '*', '2026-01-01', 90, 31, '1 day') AS m FROM timelines) s, unnest(m) WITH ORDINALITY u(n, o)
WHERE n > 0 ORDER BY 1, 2"

# The functions that these two have in them, one row for each profile.  OFFSET '0'
# (a bigint constant) keeps the inner query apart, so that what it computes is
# computed once and not wherever it is used, and still lets it run in parallel
# workers (OFFSET 0 does not).
ql_window_funnel="SELECT count(*) FILTER (WHERE n >= 1), count(*) FILTER (WHERE n >= 2), count(*) FILTER (WHERE n >= 3), count(*) FILTER (WHERE n >= 4)
FROM (SELECT cdp.window_funnel(timeline, '{view,cart,checkout,purchase}', '7 days') AS n FROM timelines OFFSET '0') f"
ql_count_each="SELECT day::date - date '2026-01-01', k - 1, n FROM (
	SELECT day, cdp.count_each(r) AS counts
	FROM (SELECT date_bin('1 day', cdp.first_at(timeline, 'view'), '2026-01-01') AS day, cdp.retention(timeline, 'view', '*', 31, '1 day', 'day') AS r FROM timelines OFFSET '0') p
	WHERE day IS NOT NULL GROUP BY day) m, unnest(counts) WITH ORDINALITY u(n, k) WHERE n > 0 ORDER BY 1, 2"

# Quintiles: the edges in a first pass, then each profile's scores by them.  Ties are
# broken by the profile's number, as ntile does below (which wants the number of
# profiles to divide by five).  Scores stand in the outermost query: a subquery
# that uses another's result cannot be shared out to workers.
checksums="count(*), div(sum(first_s::bigint) - count(*) * 1767225600, 1000), div(sum(last_s::bigint) - count(*) * 1767225600, 1000),
	sum(np), round(sum(sp)::numeric, 0), round(sum(CASE WHEN np > 1 THEN date_part('epoch', lp - fp) / (np - 1) / 3600 END)::numeric, 0), sum(sessions)"
scores() { echo "sum($1), sum($1 * $2), sum($1 * $3), sum($2 * $3), count(*) FILTER (WHERE $1 = 5 AND $2 = 5 AND $3 = 5)"; }
profiles="SELECT profile_id, date_part('epoch', cdp.first_at(timeline)) AS first_s, date_part('epoch', cdp.last_at(timeline)) AS last_s, cdp.num_events(timeline, 'purchase') AS np,
	round(cdp.total(timeline, 'purchase') * 100) / 100 AS sp, cdp.first_at(timeline, 'purchase') AS fp, cdp.last_at(timeline, 'purchase') AS lp, cdp.num_sessions(timeline, '30 min') AS sessions FROM timelines OFFSET '0'"
tie="* ($PROFILES + 1) + profile_id"
ql_edges="SELECT cdp.quantile_edges(date_part('epoch', cdp.last_at(timeline)), '{0.2,0.4,0.6,0.8}') AS r, cdp.quantile_edges(cdp.num_events(timeline, 'purchase') $tie, '{0.2,0.4,0.6,0.8}') AS f,
	cdp.quantile_edges(round(cdp.total(timeline, 'purchase') * 100) $tie, '{0.2,0.4,0.6,0.8}') AS m FROM timelines"
ql_features="WITH e AS MATERIALIZED ($ql_edges)
SELECT $checksums, $(scores 'cdp.quantile_score(last_s, (SELECT r FROM e))' "cdp.quantile_score(np $tie, (SELECT f FROM e))" "cdp.quantile_score(round(sp * 100) $tie, (SELECT m FROM e))")
FROM ($profiles) u"
quintiles="ntile(5) OVER (ORDER BY last_s, profile_id) AS r, ntile(5) OVER (ORDER BY np, profile_id) AS f, ntile(5) OVER (ORDER BY sp, profile_id) AS m"
ql_ntile="SELECT $checksums, $(scores r f m) FROM (SELECT *, $quintiles FROM ($profiles) u) x"
# the part without the quintiles
ql_each="SELECT $checksums FROM ($profiles) u"

ql_median_gap="SELECT count(gap), round(sum(date_part('epoch', gap))::numeric, 0) FROM (SELECT cdp.median_gap(timeline, 'purchase') AS gap FROM timelines OFFSET '0') m"

# --- and over rows ---------------------------------------------------------------
# funnel: for each row, the latest start of a chain that has reached each step; the
# default frame includes rows of the same instant: equal times may advance.
sql_funnel="WITH f AS (SELECT profile_id, at, event FROM events WHERE event IN ('view', 'cart', 'checkout', 'purchase')),
a AS (SELECT *, max(at) FILTER (WHERE event = 'view') OVER w AS s1 FROM f WINDOW w AS (PARTITION BY profile_id ORDER BY at)),
b AS (SELECT *, max(s1) FILTER (WHERE event = 'cart' AND s1 >= at - interval '7 days') OVER w AS s2 FROM a WINDOW w AS (PARTITION BY profile_id ORDER BY at)),
c AS (SELECT *, max(s2) FILTER (WHERE event = 'checkout' AND s2 >= at - interval '7 days') OVER w AS s3 FROM b WINDOW w AS (PARTITION BY profile_id ORDER BY at)),
u AS (SELECT profile_id, count(s1) > 0 AS n1, count(s2) > 0 AS n2, count(s3) > 0 AS n3,
	count(*) FILTER (WHERE event = 'purchase' AND s3 >= at - interval '7 days') > 0 AS n4 FROM c GROUP BY profile_id)
SELECT count(*) FILTER (WHERE n1), count(*) FILTER (WHERE n2), count(*) FILTER (WHERE n3), count(*) FILTER (WHERE n4) FROM u"
# retention: one bit for each of 90 days in two bigints
sql_retention="WITH u AS (SELECT profile_id, min(day) FILTER (WHERE event = 'view') AS c0, bit_or(CASE WHEN day < 60 THEN 1::bigint << day ELSE 0 END) AS lo, bit_or(CASE WHEN day >= 60 THEN 1::bigint << (day - 60) ELSE 0 END) AS hi
	FROM (SELECT profile_id, event, (at AT TIME ZONE 'UTC')::date - date '2026-01-01' AS day FROM events) e GROUP BY profile_id)
SELECT c0, k, count(*) FROM u, generate_series(0, 30) k
WHERE c0 IS NOT NULL AND c0 + k < 90 AND CASE WHEN c0 + k < 60 THEN (lo >> (c0 + k)) & 1 ELSE (hi >> (c0 + k - 60)) & 1 END = 1 GROUP BY 1, 2 ORDER BY 1, 2"
sql_features="SELECT $checksums, $(scores r f m) FROM (SELECT *, $quintiles FROM (
	SELECT profile_id, date_part('epoch', min(at)) AS first_s, date_part('epoch', max(at)) AS last_s, count(*) FILTER (WHERE event = 'purchase') AS np, round(coalesce(sum(value) FILTER (WHERE event = 'purchase'), 0)::numeric, 2) AS sp,
		min(at) FILTER (WHERE event = 'purchase') AS fp, max(at) FILTER (WHERE event = 'purchase') AS lp, count(*) FILTER (WHERE before IS NULL OR at - before > interval '30 min') AS sessions
	FROM (SELECT *, lag(at) OVER (PARTITION BY profile_id ORDER BY at) AS before FROM events) e GROUP BY profile_id) u) x"
sql_median_gap="SELECT count(gap), round(sum(date_part('epoch', gap))::numeric, 0) FROM (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY at - before) AS gap
	FROM (SELECT profile_id, at, lag(at) OVER (PARTITION BY profile_id ORDER BY at) AS before FROM events WHERE event = 'purchase') g GROUP BY profile_id) m"

# --- asking ----------------------------------------------------------------------
questions='funnel retention features median_gap'
ask() {	# engine question sql runs: milliseconds of the fastest run, after one that is not counted (if there are more)
	run=0
	while [ $run -le "$4" ]; do
		psql -c '\timing on' -c "$3" >"$dir/out"
		grep -v '^Time' "$dir/out" >"$dir/answer.$2.$1"
		if [ $run -gt 0 ] || [ "$4" -eq 0 ]; then sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$dir/out"; fi
		run=$((run + 1))
	done | sort -n | head -1 | awk -v q="$2" '{ printf "%s %.0f\n", q, $1 }' >>"$dir/times.$1"
	say "$1 $(tail -1 "$dir/times.$1")"
}
engines=timelines
for q in $questions; do
	eval "sql=\$ql_$q"
	ask timelines "$q" "$sql" "$RUNS"
done
for q in window_funnel count_each ntile edges each; do
	eval "sql=\$ql_$q"
	ask timelines "$q" "$sql" "$RUNS"
done
for q in funnel.window_funnel retention.count_each features.ntile; do
	cmp "$dir/answer.${q%.*}.timelines" "$dir/answer.${q#*.}.timelines" >&2 || exit 1
done

for rival in $RIVALS; do
	case $rival in
		sql)
			say 'indexing event rows'
			index_ms=$(took psql -c 'CREATE INDEX ON events (profile_id, at) INCLUDE (event, value)' -c 'VACUUM (ANALYZE) events')
			for q in $questions; do
				eval "sql=\$sql_$q"
				ask sql "$q" "$sql" 0
			done ;;
		clickhouse|duckdb)
			if [ ! -e "$dir/npm" ]; then
				if [ -n "$NPM_DIR" ]; then
					ln -s "$NPM_DIR" "$dir/npm"
				else
					mkdir "$dir/npm"
					(cd "$dir/npm" && echo '{}' >package.json && npm install --no-audit --no-fund chdb @duckdb/node-api >"$dir/npm.log" 2>&1) || :
				fi
			fi
			if [ -z "$(ls "$dir/csv")" ]; then
				say 'exporting event rows'
				for i in $(seq 0 $((WORKERS - 1))); do
					psql -c "COPY (SELECT profile_id, at AT TIME ZONE 'UTC', event, value FROM events WHERE profile_id % $WORKERS = $i) TO STDOUT (FORMAT csv)" >"$dir/csv/events_$i.csv" &
				done
				wait
			fi
			if ! node "$dir/timeline_rivals.mjs" "$rival" "$dir" "$RUNS" "$WORKERS" >"$dir/times.$rival" 2>"$dir/$rival.log"; then
				say "$rival is left out: $(tail -1 "$dir/$rival.log")"
				rm -f "$dir/times.$rival" "$dir"/answer.*."$rival"
				continue
			fi
			sed "s/^/$rival /" "$dir/times.$rival" >&2 ;;
		*) say "unrecognized rival: $rival"; exit 2 ;;
	esac
	engines="$engines $rival"
done

# --- answers agree? ----------------------------------------------------------------
for q in $questions; do
	for e in $engines; do
		if ! cmp -s "$dir/answer.$q.timelines" "$dir/answer.$q.$e"; then
			say "$q: $e answers differently"
			head -5 "$dir/answer.$q.timelines" "$dir/answer.$q.$e" >&2
			[ -n "$KEEP" ] || exit 1
		fi
	done
done

# --- report ------------------------------------------------------------------------
time_of() { sed -n "s/^$2 //p" "$dir/times.$1"; }
seconds() { awk "BEGIN { printf \"%.2f s\", $1 / 1000 }"; }
size() { psql -c "SELECT pg_size_pretty(sum(s)) FROM (VALUES ($1)) v(s)"; }
pg=$(psql -c 'SHOW server_version')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || echo '?')
cat <<REPORT
# Timelines, plain SQL and column stores, $(date -u +%Y-%m-%d)

$EVENTS events, $PROFILES profiles, 12 event names, a value on each event, 90 days, microsecond times.
PostgreSQL $pg, ${cpu:-processor not known}, $(nproc) processors, $memory; shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off, $WORKERS parallel processes or threads.
Warm cache, best of $RUNS (plain SQL: one run). Load average at the end $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo '?'). All answers agree.

REPORT
{
	printf '| |'; for e in $engines; do printf ' %s |' "$e"; done
	printf '\n|---|'; for e in $engines; do printf -- '---:|'; done
	for q in $questions; do
		printf '\n| %s |' "$q"
		mine=$(time_of timelines "$q")
		for e in $engines; do
			ms=$(time_of "$e" "$q")
			if [ "$e" = timelines ]; then printf ' %s |' "$(seconds "$ms")"
			else printf ' %s (x %s) |' "$(seconds "$ms")" "$(awk "BEGIN { printf \"%.1f\", $ms / ($mine > 0 ? $mine : 1) }")"; fi
		done
	done
	printf '\n\n'
}
cat <<REPORT
(x n): n times as long as over timelines.

| the same otherwise, over timelines | |
|---|---:|
| funnel: \`window_funnel\` in a subquery, four counts | $(seconds "$(time_of timelines window_funnel)") |
| retention: \`count_each(retention(…))\` by day | $(seconds "$(time_of timelines count_each)") |
| features: quintiles by \`ntile\`, as the others have them | $(seconds "$(time_of timelines ntile)") |
| of the features, the edges of the quintiles | $(seconds "$(time_of timelines edges)") |
| of the features, all but the quintiles | $(seconds "$(time_of timelines each)") |

| | size | made in |
|---|---:|---:|
| event rows | $(size "pg_table_size('events')") | $(seconds "$make_ms") |
| covering index on (profile_id, at) | $(size "pg_indexes_size('events')") | $(seconds "${index_ms:-0}") |
| timelines, $WORKERS processes | $(size "pg_table_size('timelines')") | $(seconds "$build_ms") |
REPORT
for e in $engines; do
	case $e in
		clickhouse|duckdb) echo "| $e | $(time_of "$e" size | tr _ ' ') | $(seconds "$(time_of "$e" load)") |" ;;
	esac
done
