#!/bin/sh
#
# segments.sh - audiences of tags, and changing tags, beside what one would use
# instead.
#
# Makes a throw-away server with PROFILES profiles and 200 tags (densities 50 %
# to 0.01 %, a quarter of them in runs) and asks of the managed schema, of
# pg_roaringbitmap (one bitmap to a tag) and of ClickHouse bitmaps: counts of
# A & B & !C, of (A | B | C) & D, and a 12 x 12 overlap matrix.  Then a rule
# with behaviour, against plain SQL; then CLIENTS clients that toggle single
# tags for SECONDS, against a row to a tag and a row to 65,536 profiles.
# Answers must agree.  Prints Markdown.
#
#	PARTS="sets behaviour churn" PROFILES=10000000 RUNS=9 ROUNDS=3 sh bench/segments.sh
#
# RIVAL_STAGE: a tree that "make install DESTDIR=..." of pg_roaringbitmap made,
# for a server that has it not installed.  NPM_DIR: a folder where "npm install
# chdb" was run.  Without them those columns stay empty.  KEEP=1 leaves the
# server running.
set -eu

: "${PARTS:=sets behaviour churn}" "${PROFILES:=10000000}" "${WORKERS:=4}" "${RUNS:=9}" "${ROUNDS:=3}"
: "${RIVAL_STAGE:=}" "${NPM_DIR:=}" "${CLIENTS:=4}" "${SECONDS_EACH:=30}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

bench_start 0
[ -z "$RIVAL_STAGE" ] || cp -R "$RIVAL_STAGE/." "$dir/stage/"
psql -c 'CREATE EXTENSION marketing_cdp' -c 'CREATE SCHEMA rival' -c 'ALTER DATABASE bench SET search_path = public'
rival=1
psql -c 'SET client_min_messages = error; CREATE EXTENSION roaringbitmap SCHEMA rival' 2>"$dir/rival.log" || rival=0

# --- data: the tags of bench/bitmap.sh, all of them ------------------------------
matrix=0,4,13,21,35,42,57,66,79,90,105,140
asked=$matrix,40,80,8,41,83,160
say "making the tags of $PROFILES profiles"
psql -c 'CREATE UNLOGGED TABLE tag_bitmap (tag int, b cdp.bitmap)' \
	-c 'CREATE TABLE tag_asked AS SELECT row_number() OVER (ORDER BY hashint4(t)) AS n, t FROM generate_series(0, 199) t'
i=0
while [ $i -lt "$WORKERS" ]; do
	psql -v profiles="$PROFILES" -v tags_from=$((200 * i / WORKERS + 1)) -v tags_to=$((200 * (i + 1) / WORKERS + 1)) -f "$top/bench/bitmap.sql" &
	i=$((i + 1))
done
wait
# Profile ids begin with 1.
say 'loading them'
load_ms=$(took psql <<SQL
UPDATE tag_bitmap SET b = cdp.rb_remove(b, 0);
INSERT INTO cdp.profile (profile_id, kind, canonical_id, first_at)
SELECT n, 'person', n, '2026-01-01Z' FROM generate_series(1, $PROFILES - 1) n;
SELECT cdp._tag_changes(chr(1) || 'kind:person', cdp.rb_fill(cdp.rb_build('{}'), 1, $PROFILES), NULL, '2026-01-01Z', 'first');
SQL
)
tag_ms=$(took psql -c "SELECT count(cdp.tag(b, 't' || tag)) FROM (SELECT * FROM tag_bitmap ORDER BY tag OFFSET 0) t")
if [ "$rival" != 0 ]; then
	# Never both libraries in one session: see docs/reference/bitmap.md.  The
	# 64-bit form of ids below 2^32 is 12 bytes and the 32-bit form.
	psql -c 'CREATE UNLOGGED TABLE tag_bytes AS SELECT tag, substring(b::bytea FROM 13) AS bytes FROM tag_bitmap'
	psql <<SQL
SET search_path = public, rival;
CREATE TABLE tag_rival (tag int PRIMARY KEY, bm roaringbitmap NOT NULL);
ALTER TABLE tag_rival ALTER bm SET STORAGE EXTERNAL;
INSERT INTO tag_rival SELECT tag, rb_build(rb_to_array(bytes::roaringbitmap)) FROM tag_bytes;
DROP TABLE tag_bytes;
SQL
fi
psql -c 'VACUUM (ANALYZE)' -c CHECKPOINT

# --- asking ------------------------------------------------------------------------
label() {
	case $1 in
		q1) echo 'A & B & !C (50 %, 10 %, 2 %)' ;;
		q2) echo '(A or B or C) & D (40 %, 10 %, 2 %; 40 %)' ;;
		q3) echo 'A & B & !C (0.06 %, 10 %, 2 %)' ;;
		matrix) echo '12 × 12 overlap matrix' ;;
		behaviour) echo "\`vip & count(purchase, 30d) >= 2 & !city:x\`" ;;
	esac
}
question() {	# side name
	case $1.$2 in
		cdp.q1) echo "SELECT cdp.audience_count('t0 & t40 & !t80')" ;;
		cdp.q2) echo "SELECT cdp.audience_count('(t8 | t41 | t83) & t4')" ;;
		cdp.q3) echo "SELECT cdp.audience_count('t160 & t40 & !t80')" ;;
		cdp.matrix) echo "SELECT $overlap_sum FROM cdp._overlap(ARRAY['t$(echo $matrix | sed "s/,/','t/g")'], now(), 'person')" ;;
		rival.q1) echo 'SELECT rival.rb_andnot_cardinality(rival.rb_and(a.bm, b.bm), c.bm) FROM tag_rival a, tag_rival b, tag_rival c WHERE a.tag = 0 AND b.tag = 40 AND c.tag = 80' ;;
		rival.q2) echo 'SELECT rival.rb_and_cardinality((SELECT rival.rb_or_agg(bm) FROM tag_rival WHERE tag IN (8, 41, 83)), bm) FROM tag_rival WHERE tag = 4' ;;
		rival.q3) echo 'SELECT rival.rb_andnot_cardinality(rival.rb_and(a.bm, b.bm), c.bm) FROM tag_rival a, tag_rival b, tag_rival c WHERE a.tag = 160 AND b.tag = 40 AND c.tag = 80' ;;
		rival.matrix) echo "SELECT $overlap_sum FROM (SELECT a.tag AS a, b.tag AS b, rival.rb_and_cardinality(a.bm, b.bm) AS in_both FROM tag_rival a JOIN tag_rival b ON a.tag <= b.tag AND a.tag IN ($matrix) AND b.tag IN ($matrix)) m" ;;
	esac
}
overlap_sum="count(*), sum(in_both), sum(in_both % 1009), max(in_both)"

# Milliseconds of all runs, in a session that has asked before.
ask() {	# side name runs
	psql -c "$(question "$1" "$2")" >"$dir/answer.$2.$1"
	{
		echo "$(question "$1" "$2");"
		printf '%s\n' '\timing on'
		run=0
		while [ $run -lt "$3" ]; do
			echo "$(question "$1" "$2");"
			run=$((run + 1))
		done
	} | psql -f - | awk '/^Time/ { print $2 }' >>"$dir/times.$2.$1"
}
best() { [ -e "$dir/times.$1.$2" ] && sort -n "$dir/times.$1.$2" | head -1; }
middle() { [ -e "$dir/times.$1.$2" ] && sort -n "$dir/times.$1.$2" | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }'; }
same() {	# name
	[ "$(sort -u "$dir"/answer."$1".* | wc -l)" = 1 ] && return
	say "the answers to $1 differ:"
	head "$dir"/answer."$1".* >&2
	exit 1
}
sets() {
	if [ -n "$NPM_DIR" ]; then
		ln -sfn "$NPM_DIR" "$dir/npm"
		for tag in $(echo $asked | tr , ' '); do
			psql -c "COPY (SELECT tag, i FROM tag_bitmap, cdp.rb_iterate(b) i WHERE tag = $tag) TO STDOUT (FORMAT csv)" >"$dir/tags_$tag.csv"
		done
		node "$top/bench/segments_clickhouse.mjs" "$dir" load >&2 || rm "$dir/npm"
		rm -f "$dir"/tags_*.csv
	fi
	round=0
	while [ $round -lt "$ROUNDS" ]; do		# rounds alternate, so that all meet the same load
		for name in q1 q2 q3 matrix; do
			ask cdp $name "$RUNS"
			[ "$rival" = 0 ] || ask rival $name "$RUNS"
		done
		[ ! -e "$dir/npm" ] || node "$top/bench/segments_clickhouse.mjs" "$dir" "$RUNS" >&2
		round=$((round + 1))
	done
	for name in q1 q2 q3 matrix; do
		same $name
		say "$name: cdp $(best $name cdp) ($(middle $name cdp)), rival $(best $name rival || echo -) ($(middle $name rival || echo -)), clickhouse $(best $name clickhouse || echo -)"
	done
}
cell() {	# name side: milliseconds and how many times ours
	ms=$(best "$1" "$2") || { printf -- '- |'; return; }
	printf '%.2f ms (× %s) |' "$ms" "$(awk "BEGIN { printf \"%.1f\", $ms / $(best "$1" cdp) }")"
}
sets_report() {
	echo
	echo '## Sets'
	echo
	echo '| | cdp | pg_roaringbitmap | ClickHouse bitmaps |'
	echo '|---|---:|---:|---:|'
	for name in q1 q2 q3 matrix; do
		printf '| %s | %.2f ms | ' "$(label $name)" "$(best $name cdp)"
		cell $name rival
		printf ' '
		cell $name clickhouse
		echo
	done
	cat <<-REPORT

	One process each (ClickHouse: $WORKERS threads); best of $RUNS runs in each of $ROUNDS alternating rounds, in a session that has asked before; median of ours:
	$(for name in q1 q2 q3 matrix; do printf '%s %.2f ms, ' $name "$(middle $name cdp)"; done)
	tags $(psql -c "SELECT pg_size_pretty(pg_total_relation_size('cdp.tag_chunk'))") with indexes$([ "$rival" = 0 ] || psql -c "SELECT ', pg_roaringbitmap ' || pg_size_pretty(pg_total_relation_size('tag_rival'))").
	Profiles loaded in $load_ms ms, all tags from bitmaps in $tag_ms ms.
	REPORT
}

for part in $PARTS; do
	$part
done

pg=$(psql -c 'SHOW server_version')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || echo '?')
cat <<REPORT
# Segments, $(date -u +%Y-%m-%d)

$PROFILES profiles, 200 tags, $(psql -c "SELECT sum(cdp.rb_cardinality(b)) FROM tag_bitmap") pairs.
PostgreSQL $pg, ${cpu:-processor not known}, $(nproc) processors, $memory; shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off.
Warm cache; load average $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || echo '?'). All answers agree.
REPORT
for part in $PARTS; do
	"${part}_report"
done
