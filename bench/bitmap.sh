#!/bin/sh
#
# bitmap.sh - the same questions of sets, asked of cdp.bitmap and its rivals.
#
# Makes a throw-away server with tags of PROFILES profiles (densities 50 % to
# 0.01 %, a quarter of them in runs) and asks, of cdp.bitmap and, where the
# server can CREATE EXTENSION roaringbitmap, of pg_roaringbitmap's 64-bit type:
# cardinalities of three operands, a 12 x 12 overlap matrix, aggregates over
# many ids and many bitmaps, single look-ups.  The same of int[] with a GIN
# index, on ARRAY_PROFILES profiles.  Answers must agree.  Prints Markdown.
#
#	PROFILES=10000000 ARRAY_PROFILES=1000000 RUNS=9 ROUNDS=3 sh bench/bitmap.sh
#
# RIVAL_STAGE is a tree that "make install DESTDIR=..." of pg_roaringbitmap
# made, for a server that has it not installed.  About 3 GB of disk under
# BENCH_DIR; KEEP=1 leaves the server running.
set -eu

: "${PROFILES:=10000000}" "${ARRAY_PROFILES:=1000000}" "${WORKERS:=4}" "${RUNS:=9}" "${ROUNDS:=3}"
: "${BITMAPS:=10000}" "${BITMAP_IDS:=1000}" "${GROUP_COUNT:=1000000}" "${RIVAL_STAGE:=}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

# --- a server of its own -----------------------------------------------------
bench_start 0
[ -z "$RIVAL_STAGE" ] || cp -R "$RIVAL_STAGE/." "$dir/stage/"
psql -c 'CREATE EXTENSION marketing_cdp' -c 'CREATE SCHEMA rival'
rival=1
psql -c 'SET client_min_messages = error; CREATE EXTENSION roaringbitmap SCHEMA rival' 2>"$dir/rival.log" || rival=0

# --- data --------------------------------------------------------------------
matrix=0,4,13,21,35,42,57,66,79,90,105,140
say "making the tags of $PROFILES profiles"
psql -c 'CREATE UNLOGGED TABLE tag_bitmap (tag int, b cdp.bitmap)' \
	-c "CREATE TABLE tag_asked AS SELECT row_number() OVER (ORDER BY hashint4(t)) AS n, t
	FROM (SELECT unnest(ARRAY[$matrix,40,80,8,41,83,160]) AS t) u"
i=0
while [ $i -lt "$WORKERS" ]; do
	psql -v profiles="$PROFILES" -v tags_from=$((19 * i / WORKERS + 1)) -v tags_to=$((19 * (i + 1) / WORKERS + 1)) -f "$top/bench/bitmap.sql" &
	i=$((i + 1))
done
wait
psql <<SQL
CREATE INDEX ON tag_bitmap (tag);
CREATE UNLOGGED TABLE ids AS SELECT n AS id FROM generate_series(0, $PROFILES - 1) n;
CREATE UNLOGGED TABLE mixed AS SELECT id FROM ids ORDER BY hashint8(id);
CREATE UNLOGGED TABLE many AS SELECT k, cdp.rb_build_agg((hashint8extended(k * 100000::bigint + i, 5) & 9223372036854775807) % $PROFILES) AS b
	FROM generate_series(1, $BITMAPS) k, generate_series(1, $BITMAP_IDS) i GROUP BY k;
CREATE UNLOGGED TABLE small AS SELECT tag, cdp.rb_range(b, 0, $ARRAY_PROFILES) AS b FROM tag_bitmap;
CREATE INDEX ON small (tag);
CREATE UNLOGGED TABLE profile_tags AS SELECT profile_id, array_agg(tag ORDER BY tag) AS tags
	FROM small, cdp.rb_iterate(b) profile_id GROUP BY profile_id;
CREATE INDEX ON profile_tags (profile_id);
CREATE INDEX ON profile_tags USING gin (tags);
CREATE FUNCTION look_up(n int) RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE
	hits bigint := 0;
	found_it boolean;
BEGIN
	FOR i IN 1 .. n LOOP
		SELECT cdp.rb_contains(b, i * 7919::bigint % $PROFILES) INTO found_it FROM tag_bitmap WHERE tag = 0;
		hits := hits + found_it::int;
	END LOOP;
	RETURN hits;
END\$\$;
CREATE FUNCTION look_up_small(n int) RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE
	hits bigint := 0;
	found_it boolean;
BEGIN
	FOR i IN 1 .. n LOOP
		SELECT cdp.rb_contains(b, i * 7919::bigint % $ARRAY_PROFILES) INTO found_it FROM small WHERE tag = 0;
		hits := hits + found_it::int;
	END LOOP;
	RETURN hits;
END\$\$;
CREATE FUNCTION look_up_array(n int) RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE
	hits bigint := 0;
	found_it boolean;
BEGIN
	FOR i IN 1 .. n LOOP
		SELECT tags @> '{0}' INTO found_it FROM profile_tags WHERE profile_id = i * 7919::bigint % $ARRAY_PROFILES;
		hits := hits + coalesce(found_it, false)::int;
	END LOOP;
	RETURN hits;
END\$\$;
SQL
if [ "$rival" != 0 ]; then
	# Never both libraries in one session: see docs/reference/bitmap.md.
	psql -c 'CREATE UNLOGGED TABLE tag_ids AS SELECT tag, cdp.rb_to_array(b) AS ids FROM tag_bitmap' \
		-c 'CREATE UNLOGGED TABLE many_ids AS SELECT k, cdp.rb_to_array(b) AS ids FROM many'
	psql <<SQL
CREATE UNLOGGED TABLE tag_rival AS SELECT tag, rival.rb64_build(ids) AS b FROM tag_ids;
CREATE INDEX ON tag_rival (tag);
CREATE UNLOGGED TABLE many_rival AS SELECT k, rival.rb64_build(ids) AS b FROM many_ids;
DROP TABLE tag_ids, many_ids;
CREATE FUNCTION look_up_rival(n int) RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE
	hits bigint := 0;
	found_it boolean;
BEGIN
	FOR i IN 1 .. n LOOP
		SELECT rival.rb64_contains(b, i * 7919::bigint % $PROFILES) INTO found_it FROM tag_rival WHERE tag = 0;
		hits := hits + found_it::int;
	END LOOP;
	RETURN hits;
END\$\$;
SQL
fi
psql -c 'VACUUM (ANALYZE)'

# --- the questions -----------------------------------------------------------
# question SIDE NAME: prints the SQL.  Sides: ours, rival, over the same data;
# small (ours) and array, over ARRAY_PROFILES profiles.
question() {
	case $1 in
		ours) t=tag_bitmap many=many fn=cdp.rb ;;
		rival) t=tag_rival many=many_rival fn=rival.rb64 ;;
		small) t=small fn=cdp.rb ;;
		array) array_question "$2"; return ;;
	esac
	case $2 in
		q1) echo "SELECT ${fn}_andnot_cardinality(${fn}_and(a.b, b.b), c.b) FROM $t a, $t b, $t c WHERE a.tag = 0 AND b.tag = 40 AND c.tag = 80" ;;
		q2) echo "SELECT ${fn}_and_cardinality(${fn}_or(${fn}_or(a.b, b.b), c.b), d.b) FROM $t a, $t b, $t c, $t d WHERE a.tag = 8 AND b.tag = 41 AND c.tag = 83 AND d.tag = 4" ;;
		q2agg) echo "SELECT ${fn}_and_cardinality((SELECT ${fn}_or_agg(b) FROM $t WHERE tag IN (8, 41, 83)), b) FROM $t WHERE tag = 4" ;;
		q3) echo "SELECT ${fn}_andnot_cardinality(${fn}_and(a.b, b.b), c.b) FROM $t a, $t b, $t c WHERE a.tag = 160 AND b.tag = 40 AND c.tag = 80" ;;
		# (pairs of tags that share nobody do not show up in the rows of arrays)
		matrix) echo "SELECT sum(n), count(*) FILTER (WHERE n > 0), sum(n * (x * 200 + y)) FROM (SELECT a.tag AS x, b.tag AS y, ${fn}_and_cardinality(a.b, b.b) AS n FROM $t a JOIN $t b ON a.tag IN ($matrix) AND b.tag IN ($matrix)) m" ;;
		build) echo "SELECT ${fn}_cardinality(${fn}_build_agg(id)) FROM ids" ;;
		mixed) echo "SELECT ${fn}_cardinality(${fn}_build_agg(id)) FROM mixed" ;;
		groups) echo "SELECT count(*), sum(n) FROM (SELECT ${fn}_cardinality(${fn}_build_agg(id)) AS n FROM ids GROUP BY id % $GROUP_COUNT OFFSET 0) g" ;;
		or) echo "SELECT ${fn}_cardinality(${fn}_or_agg(b)) FROM $many" ;;
		contains)
			case $1 in
				ours) echo 'SELECT look_up(1000)' ;;
				rival) echo 'SELECT look_up_rival(1000)' ;;
				small) echo 'SELECT look_up_small(1000)' ;;
			esac ;;
	esac
}
array_question() {
	case $1 in
		q1) echo "SELECT count(*) FROM profile_tags WHERE tags @> '{0,40}' AND NOT tags @> '{80}'" ;;
		q2) echo "SELECT count(*) FROM profile_tags WHERE tags && '{8,41,83}' AND tags @> '{4}'" ;;
		q3) echo "SELECT count(*) FROM profile_tags WHERE tags @> '{160,40}' AND NOT tags @> '{80}'" ;;
		matrix) echo "SELECT sum(n), count(*), sum(n * (x * 200 + y)) FROM (SELECT x, y, count(*) AS n FROM profile_tags, unnest(tags) x, unnest(tags) y WHERE x IN ($matrix) AND y IN ($matrix) GROUP BY x, y) m" ;;
		contains) echo 'SELECT look_up_array(1000)' ;;
	esac
}

# Milliseconds of the fastest of all rounds, in a session that has asked before.
ask() {	# side name runs
	psql -c 'SET extra_float_digits = 0' -c "$(question "$1" "$2")" >"$dir/answer.$1.$2"
	{
		echo "$(question "$1" "$2");"
		printf '%s\n' '\timing on'
		run=0
		while [ $run -lt "$3" ]; do
			echo "$(question "$1" "$2");"
			run=$((run + 1))
		done
	} | psql -f - | awk '/^Time/ { print $2 }' >>"$dir/times.$1.$2"
}
same() {	# name side...
	name=$1
	shift
	for side in "$@"; do cat "$dir/answer.$side.$name"; done | sort -u >"$dir/answers"
	[ "$(wc -l <"$dir/answers")" = 1 ] && return
	say "the answers to $name differ:"
	head "$dir"/answer.*."$name" >&2
	exit 1
}
best() { [ -e "$dir/times.$1.$2" ] && sort -n "$dir/times.$1.$2" | head -1; }
compare() {	# name runs side side: rounds alternate, so that both meet the same load
	round=0
	rm -f "$dir/times.$3.$1" "$dir/times.$4.$1"
	while [ $round -lt "$ROUNDS" ]; do
		for side in "$3" "$4"; do
			[ "$side$rival" = rival0 ] || ask "$side" "$1" "$2"
		done
		round=$((round + 1))
	done
	if [ "$4$rival" != rival0 ]; then same "$1" "$3" "$4"; fi
	say "$1: $3 $(best "$3" "$1") ms, $4 $(best "$4" "$1" || echo -) ms"
}
: "${QUESTIONS:=q1 q2 q2agg q3 matrix contains build mixed groups or}"
for q in $QUESTIONS; do
	case $q in
		groups) runs=1 ;;
		build | mixed | or) runs=2 ;;
		*) runs=$RUNS ;;
	esac
	compare "$q" "$runs" ours rival
	case $q in
		q1 | q2 | q3 | matrix | contains) compare "$q" 2 small array ;;
	esac
done

# --- report ------------------------------------------------------------------
pg=$(psql -c 'SHOW server_version')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || echo '?')
version=$(psql -c "SELECT coalesce((SELECT extversion FROM pg_extension WHERE extname = 'roaringbitmap'), 'not installed')")
label() {
	case $1 in
		q1) echo 'A & B - C, cardinality (50 %, 10 %, 2 %)' ;;
		q2) echo '(A or B or C) & D, cardinality (40 %, 10 %, 2 %; 40 %)' ;;
		q2agg) echo "the same with \`rb_or_agg\`" ;;
		q3) echo 'A & B - C, cardinality (0.06 %, 10 %, 2 %)' ;;
		matrix) echo '12 × 12 overlap matrix' ;;
		contains) echo "1,000 queries of one \`rb_contains\` each" ;;
		build) echo "\`rb_build_agg\`, $PROFILES rows, ascending" ;;
		mixed) echo "\`rb_build_agg\`, $PROFILES rows, in random order" ;;
		groups) echo "\`rb_build_agg\`, $PROFILES rows, $GROUP_COUNT groups" ;;
		or) echo "\`rb_or_agg\`, $BITMAPS bitmaps of $BITMAP_IDS ids" ;;
	esac
}
row() {	# name side side
	a=$(best "$2" "$1" || :)
	b=$(best "$3" "$1" || :)
	ratio=$(awk "BEGIN { if (\"$b\" == \"\") print \"\"; else printf \"%.2f\", $a / ${b:-1} }")
	echo "| $(label "$1") | $a ms | ${b:--}${b:+ ms} | $ratio |"
}
cat <<REPORT
# Bitmaps, $(date -u +%Y-%m-%d)

PostgreSQL $pg, ${cpu:-processor not known}, $(nproc) processors, $memory; shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off, one process.
Warm cache, best of $RUNS in each of $ROUNDS alternating rounds (long questions: of 1 or 2); load average $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || echo '?'). All answers agree.

## $PROFILES profiles, against pg_roaringbitmap's 64-bit type ($version)

| | cdp.bitmap | pg_roaringbitmap | ratio |
|---|---:|---:|---:|
$(for q in $QUESTIONS; do row "$q" ours rival; done)

Stored size of the $(psql -c 'SELECT count(*) FROM tag_bitmap') tags: $(psql -c 'SELECT pg_size_pretty(sum(pg_column_size(b))) FROM tag_bitmap')$([ "$rival" = 0 ] || psql -c "SELECT ', pg_roaringbitmap ' || pg_size_pretty(sum(pg_column_size(b))) FROM tag_rival").

## $ARRAY_PROFILES profiles, against int[] with a GIN index

| | cdp.bitmap | int[] | ratio |
|---|---:|---:|---:|
$(for q in $QUESTIONS; do case $q in q1 | q2 | q3 | matrix | contains) row "$q" small array ;; esac; done)
REPORT
