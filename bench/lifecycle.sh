#!/bin/sh
#
# lifecycle.sh - how long it takes to classify everybody, and what a day costs.
#
# Makes a throw-away server, fills it with EVENTS events of PROFILES profiles
# (those of timeline.sh), builds a timeline for each, and asks for the stage of
# everybody (fixed and adaptive), when it changes, RFM, AARRR, growth states and
# a cohort table.  ClickHouse is asked for the features of each profile alone: all
# of timeline.sh's, and just those that stages and RFM follow from.
#
# Then the managed side: the same timelines as profiles, classified for the first
# time, rebuilt, and a day on which 0.1 % of them buy.
#
#	EVENTS=50000000 PROFILES=1000000 WORKERS=4 RUNS=3 sh bench/lifecycle.sh
#
# MANAGED (default PROFILES, 0 = none): how many profiles the managed side has.
# RIVALS (default "clickhouse") and NPM_DIR as in timeline.sh.  Stops when an
# answer differs from plain SQL.  Prints Markdown.
# The questions are read by name (eval):
# shellcheck disable=SC2034,SC2154
set -eu

: "${EVENTS:=50000000}" "${PROFILES:=1000000}" "${MANAGED:=$PROFILES}" "${WORKERS:=4}" "${RUNS:=3}"
: "${RIVALS=clickhouse}" "${NPM_DIR:=}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

bench_start "$WORKERS"
mkdir "$dir/csv"
cp "$top/bench/timeline_rivals.mjs" "$dir/"
psql -c 'CREATE EXTENSION marketing_cdp'

say "making $EVENTS events of $PROFILES profiles"
psql -v events="$EVENTS" -v profiles="$PROFILES" -v workers="$WORKERS" -f "$top/bench/timeline.sql"
say 'building timelines'
psql -c 'CREATE UNLOGGED TABLE timelines (profile_id int, timeline cdp.timeline) WITH (toast_tuple_target = 8160)'
i=0
while [ $i -lt "$WORKERS" ]; do
	psql -c "SET max_parallel_workers_per_gather = 0; SET work_mem = '2GB'; SET synchronize_seqscans = on" \
		-c "INSERT INTO timelines SELECT profile_id, cdp.timeline_agg(at, event, value) FROM events WHERE profile_id % $WORKERS = $i GROUP BY profile_id" &
	i=$((i + 1))
done
wait
psql -c "ALTER TABLE timelines SET (parallel_workers = $WORKERS)" -c 'VACUUM (ANALYZE) timelines'

# --- the questions -------------------------------------------------------------
# rule: an InitPlan, so that it is read once and the scan stays parallel
psql -c "INSERT INTO cdp.lifecycle_policy (name, at_risk_after, churned_after, adaptive, prior_gap) VALUES ('default', '20 days', '45 days', false, NULL), ('pace', '20 days', '45 days', true, '30 days')"
at="timestamptz '2026-04-01Z'"
rule() { echo "(SELECT rule FROM cdp.lifecycle_policy_effective WHERE name = '$1')"; }
ql_stages="SELECT cdp.lifecycle(timeline, $at, $(rule default)) AS stage, count(*) FROM timelines GROUP BY 1 ORDER BY 1"
ql_adaptive="SELECT cdp.lifecycle(timeline, $at, $(rule pace)) AS stage, count(*) FROM timelines GROUP BY 1 ORDER BY 1"
ql_due="SELECT count(*), count(due), min(due) FROM (SELECT cdp.lifecycle_due(timeline, $at, $(rule default)) AS due FROM timelines OFFSET '0') d"
ql_orders="SELECT count(*), sum(orders), round(sum(sp)), round(sum(us) / 1e9) FROM (
	SELECT (v).frequency AS orders, (v).monetary AS sp, date_part('epoch', (v).last_at) * 1e6 - 1767225600000000 AS us
	FROM (SELECT cdp.rfm_values(timeline, $at) AS v FROM timelines OFFSET '0') x WHERE (v).frequency > 0) y"
ql_rfm="SELECT r, f, m, count(*) FROM cdp.rfm('SELECT profile_id, timeline FROM timelines', $at) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
ql_aarrr="SELECT count((a).acquired_at), count((a).activated_at), count((a).retained_at), count((a).revenue_at) FROM (
	SELECT cdp.aarrr(timeline, $at, '{signup}', '{purchase}', '{}', '{email_open}', '7 days') AS a FROM timelines OFFSET '0') x"
ql_growth="SELECT cdp.growth_state(timeline, $at, 'view', '7 days') AS state, count(*) FROM timelines GROUP BY 1 ORDER BY 1"
ql_cohorts="SELECT sum(active), round(sum(revenue)) FROM (SELECT cdp.cohort_agg(timeline, 'purchase', '{2026-01-01Z,2026-01-15Z,2026-02-01Z,2026-02-15Z,2026-03-01Z,2026-03-15Z,2026-04-01Z}', $at) AS s FROM timelines) x, cdp.cohort_rows(s)"
questions='stages adaptive due orders rfm aarrr growth cohorts'

# Plain SQL over the rows, once, where it is not too long a wait
sql_stages="SELECT stage, count(*) FROM (
	SELECT CASE WHEN last IS NULL THEN 'potential' WHEN $at - last > interval '45 days' THEN 'churned' WHEN $at - last > interval '20 days' THEN 'at_risk'
		WHEN orders = 1 THEN 'first_purchase' WHEN orders < 4 THEN 'repeat' ELSE 'retained' END::cdp.lifecycle_stage AS stage
	FROM (SELECT profile_id, max(at) FILTER (WHERE event = 'purchase') AS last, count(DISTINCT at) FILTER (WHERE event = 'purchase') AS orders FROM events GROUP BY profile_id) e) x
GROUP BY 1 ORDER BY 1"
sql_rfm="WITH v AS (SELECT profile_id, extract(epoch FROM $at - max(at))::float8 AS r, count(DISTINCT at)::float8 AS f, sum(value::numeric)::float8 AS m FROM events WHERE event = 'purchase' GROUP BY profile_id),
e AS (SELECT percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY r) AS r, percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY f) AS f,
	percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY m) AS m FROM v)
SELECT 6 - cdp.quantile_score(v.r, e.r), cdp.quantile_score(v.f, e.f), cdp.quantile_score(v.m, e.m), count(*) FROM v, e GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
sql_cohorts="WITH p AS (SELECT profile_id, at, value, width_bucket(at, '{2026-01-01Z,2026-01-15Z,2026-02-01Z,2026-02-15Z,2026-03-01Z,2026-03-15Z,2026-04-01Z}'::timestamptz[]) AS b FROM events WHERE event = 'purchase' AND at <= $at)
SELECT count(DISTINCT (profile_id, b)), round(sum(value)) FROM p"

ask() {	# question sql runs: milliseconds of the fastest run, after one that is not counted
	run=0
	while [ $run -le "$3" ]; do
		psql -c '\timing on' -c "$2" >"$dir/out"
		grep -v '^Time' "$dir/out" >"$dir/answer.$1"
		if [ $run -gt 0 ] || [ "$3" -eq 0 ]; then sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$dir/out"; fi
		run=$((run + 1))
	done | sort -n | head -1 | awk -v q="$1" '{ printf "%s %.0f\n", q, $1 }' | tee -a "$dir/times" >&2
}
for q in $questions; do
	eval "sql=\$ql_$q"
	ask "$q" "$sql" "$RUNS"
done
for q in stages rfm cohorts; do
	eval "sql=\$sql_$q"
	ask "sql_$q" "$sql" 0
	cmp "$dir/answer.$q" "$dir/answer.sql_$q" >&2 || { say "$q: plain SQL answers differently"; exit 1; }
done

# --- ClickHouse ------------------------------------------------------------------
case " $RIVALS " in *' clickhouse '*)
	if [ -n "$NPM_DIR" ]; then
		ln -s "$NPM_DIR" "$dir/npm"
	else
		mkdir "$dir/npm"
		(cd "$dir/npm" && echo '{}' >package.json && npm install --no-audit --no-fund chdb >"$dir/npm.log" 2>&1) || :
	fi
	say 'exporting event rows'
	for i in $(seq 0 $((WORKERS - 1))); do
		psql -c "COPY (SELECT profile_id, at AT TIME ZONE 'UTC', event, value FROM events WHERE profile_id % $WORKERS = $i) TO STDOUT (FORMAT csv)" >"$dir/csv/events_$i.csv" &
	done
	wait
	if node "$dir/timeline_rivals.mjs" clickhouse "$dir" "$RUNS" "$WORKERS" 'features orders' 2>"$dir/clickhouse.log" | sed 's/^/clickhouse_/' >"$dir/times.clickhouse"; then
		grep -v '_size' "$dir/times.clickhouse" | tee -a "$dir/times" >&2
		cmp "$dir/answer.orders" "$dir/answer.orders.clickhouse" >&2 || { say 'ClickHouse answers differently'; exit 1; }
		# again, so that both meet the same load
		for q in stages adaptive orders; do eval "sql=\$ql_$q"; ask "${q}_again" "$sql" "$RUNS"; done
	else
		say "clickhouse is left out: $(tail -1 "$dir/clickhouse.log")"
	fi
	rm -rf "$dir/csv" ;;
esac

# --- managed ---------------------------------------------------------------------
if [ "$MANAGED" -gt 0 ]; then
	say "making $MANAGED managed profiles"
	psql -v n="$MANAGED" <<-'SQL'
	DROP TABLE events;
	INSERT INTO cdp.profile (profile_id, kind, canonical_id, first_at) SELECT profile_id, 'person', profile_id, '2026-01-01Z' FROM timelines WHERE profile_id <= :n;
	INSERT INTO cdp.timeline_part (profile_id, part, timeline) SELECT profile_id, 0, timeline FROM timelines WHERE profile_id <= :n;
	INSERT INTO cdp.tag_pending (tag, profile_id, present) SELECT chr(1) || 'kind:person', profile_id, true FROM cdp.profile;
	INSERT INTO cdp.profile_queue (profile_id, at, cause) SELECT profile_id, '2026-01-01Z', 'event' FROM cdp.profile;
	SELECT cdp._fold_tags('2026-01-01Z', 2147483647) \g /dev/null
	VACUUM (ANALYZE) cdp.profile, cdp.timeline_part, cdp.profile_queue;
	SQL
	managed() {	# what sql: seconds
		psql -c '\timing on' -c "$2" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | awk -v q="$1" '{ printf "%s %.0f\n", q, $1 }' | tee -a "$dir/times" >&2
	}
	managed first "DO \$\$ DECLARE n bigint; BEGIN LOOP n := (cdp._advance_lifecycle('2026-04-01Z', 1000)).done; EXIT WHEN n = 0; COMMIT; END LOOP; END \$\$"
	psql -c 'VACUUM (ANALYZE) cdp.lifecycle_state, cdp.lifecycle_change, cdp.purchase_due, cdp.profile_queue'
	managed rebuild "SELECT cdp._rebuild_lifecycle('2026-04-01Z')"
	managed rfm_first "SELECT changed FROM cdp.refresh_rfm('default', '2026-04-01Z')"
	managed rfm_next "SELECT changed FROM cdp.refresh_rfm('default', '2026-04-01Z')"
	# half a day passes: some lapse; on it every thousandth profile buys once
	loop="DO \$\$ DECLARE n bigint; BEGIN LOOP n := (cdp._advance_lifecycle('2026-04-01 12:00Z', 1000)).done; EXIT WHEN n = 0; COMMIT; END LOOP; END \$\$"
	lapsing=$(psql -c "SELECT count(*) FROM cdp.lifecycle_state WHERE due_at <= '2026-04-01 12:00Z'")
	managed lapse "$loop"
	psql <<-'SQL'
	UPDATE cdp.timeline_part SET timeline = cdp.timeline_merge(timeline, (SELECT cdp.timeline_agg(timestamptz '2026-04-01 12:00Z', 'purchase', 10.0::float8))) WHERE profile_id % 1000 = 7;
	INSERT INTO cdp.profile_queue (profile_id, at, cause) SELECT profile_id, '2026-04-01 12:00Z', 'event' FROM cdp.profile WHERE profile_id % 1000 = 7;
	SQL
	managed day "$loop"
	managed nothing "SELECT cdp._advance_lifecycle('2026-04-01 12:00Z', 1000)"
	psql -c "SELECT count(*) FROM cdp.lifecycle_state s JOIN cdp.timeline_part p USING (profile_id) WHERE s.stage <> cdp.lifecycle(p.timeline, '2026-04-01 12:00Z', $(rule default))" |
		grep -qx 0 || { say 'stages are wrong'; exit 1; }
fi

# --- report ------------------------------------------------------------------------
time_of() { sed -n "s/^$1 //p" "$dir/times"; }
seconds() { awk "BEGIN { printf \"%.2f s\", $1 / 1000 }"; }
row() { ms=$(time_of "$2"); if [ -n "$ms" ]; then echo "| $1 | $(seconds "$ms") |"; fi; }
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
cat <<REPORT
# Lifecycle, $(date -u +%Y-%m-%d)

$EVENTS events, $PROFILES profiles. PostgreSQL $(psql -c 'SHOW server_version'), ${cpu:-processor not known}, $(nproc) processors; shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off,
$WORKERS parallel processes or threads. Warm cache, best of $RUNS. Load average at the end $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo '?'). Stages, RFM and cohorts agree with plain SQL over the rows.

| everybody, over timelines | |
|---|---:|
$(row 'stages, fixed thresholds' stages)
$(row 'stages, adaptive thresholds' adaptive)
$(row 'when each stage changes' due)
$(row 'orders, last order, money' orders)
$(row 'RFM scores and names, quintile edges' rfm)
$(row AARRR aarrr)
$(row 'growth state by week' growth)
$(row 'cohort table, retention and revenue' cohorts)
$(row 'stages, again after ClickHouse' stages_again)
$(row 'adaptive stages, again after ClickHouse' adaptive_again)

| the features alone | |
|---|---:|
$(row 'ClickHouse, all features of timeline.sh' clickhouse_features)
$(row 'ClickHouse, orders, last order, money' clickhouse_orders)
$(row 'plain SQL, stages from the rows' sql_stages)
$(row 'plain SQL, RFM from the rows' sql_rfm)
REPORT
if [ "$MANAGED" -gt 0 ]; then
	cat <<-REPORT

	| managed, $MANAGED profiles, one process | |
	|---|---:|
	$(row 'everybody for the first time: changes, states, tags, repurchase clock' first)
	$(row 'rebuild of the stages' rebuild)
	$(row 'a day: 0.1 % of the profiles buy' day)
	$(row "half a day passes: $lapsing lapse" lapse)
	$(row 'a moment at which nothing is due' nothing)
	$(row 'first refresh of RFM tags' rfm_first)
	$(row 'refresh of RFM tags that changes nothing' rfm_next)

	The day costs $(awk "BEGIN { printf \"%.2f %%\", 100 * $(time_of day) / $(time_of rebuild) }") of a rebuild and $(awk "BEGIN { printf \"%.2f %%\", 100 * $(time_of day) / $(time_of first) }") of classifying everybody for the first time.
	REPORT
fi
