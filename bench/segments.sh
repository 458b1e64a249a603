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
# tags for SECONDS_EACH, against a row to a tag and a row to 65,536 profiles.
# Answers must agree.  Prints Markdown.
#
#	PARTS="sets behaviour refresh churn" PROFILES=10000000 RUNS=9 ROUNDS=3 sh bench/segments.sh
#
# RIVAL_STAGE: a tree that "make install DESTDIR=..." of pg_roaringbitmap made,
# for a server that has it not installed.  NPM_DIR: a folder where "npm install
# chdb" was run.  Without them those columns stay empty.  KEEP=1 leaves the
# server running.
set -eu

: "${PARTS:=sets behaviour refresh churn}" "${PROFILES:=10000000}" "${WORKERS:=4}" "${RUNS:=9}" "${ROUNDS:=3}"
: "${RIVAL_STAGE:=}" "${NPM_DIR:=}" "${CLIENTS:=4}" "${SECONDS_EACH:=30}" "${EVENTS:=20000000}" "${ACTIVE:=1000000}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

bench_start 0
exec 3>&1 >/dev/null		# the report alone goes to standard output
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
CREATE TABLE tag_rival_chunk (tag int, chunk int, bm roaringbitmap NOT NULL, PRIMARY KEY (tag, chunk));
ALTER TABLE tag_rival_chunk ALTER bm SET STORAGE EXTERNAL;
INSERT INTO tag_rival_chunk SELECT tag, c, b
FROM tag_rival, generate_series(0, $PROFILES / 65536) c, LATERAL (SELECT rb_range(bm, c * 65536::bigint, (c + 1) * 65536::bigint) AS b OFFSET 0) x
WHERE NOT rb_is_empty(b);
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
		cdp.matrix) echo "SELECT $overlap_sum FROM cdp._overlap(ARRAY['t$(echo $matrix | sed "s/,/','t/g")'], now(), 'person', NULL)" ;;
		rival.q1) echo 'SELECT rival.rb_andnot_cardinality(rival.rb_and(a.bm, b.bm), c.bm) FROM tag_rival a, tag_rival b, tag_rival c WHERE a.tag = 0 AND b.tag = 40 AND c.tag = 80' ;;
		rival.q2) echo 'SELECT rival.rb_and_cardinality((SELECT rival.rb_or_agg(bm) FROM tag_rival WHERE tag IN (8, 41, 83)), bm) FROM tag_rival WHERE tag = 4' ;;
		rival.q3) echo 'SELECT rival.rb_andnot_cardinality(rival.rb_and(a.bm, b.bm), c.bm) FROM tag_rival a, tag_rival b, tag_rival c WHERE a.tag = 160 AND b.tag = 40 AND c.tag = 80' ;;
		rival.matrix) echo "SELECT $overlap_sum FROM (SELECT a.tag AS a, b.tag AS b, rival.rb_and_cardinality(a.bm, b.bm) AS in_both FROM tag_rival a JOIN tag_rival b ON a.tag <= b.tag AND a.tag IN ($matrix) AND b.tag IN ($matrix) OFFSET 0) m" ;;
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
	tags_size=$(psql -c "SELECT pg_size_pretty(pg_total_relation_size('cdp.tag_chunk'))")
	[ "$rival" = 0 ] || rival_size=$(psql -c "SELECT pg_size_pretty(pg_total_relation_size('tag_rival'))")
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
	tags $tags_size with indexes${rival_size:+, pg_roaringbitmap $rival_size}.
	Profiles loaded in $load_ms ms, all tags from bitmaps in $tag_ms ms.
	REPORT
}

# --- a rule with behaviour -------------------------------------------------------------
# ACTIVE profiles have events, and tags of their own.
behaviour() {
	say "making $EVENTS events of $ACTIVE profiles"
	psql -v events="$EVENTS" -v profiles="$ACTIVE" -v workers="$WORKERS" -f "$top/bench/timeline.sql"
	psql >/dev/null <<-SQL
	INSERT INTO cdp.timeline_part (profile_id, part, timeline) SELECT profile_id, 0, cdp.timeline_agg(at, event, value) FROM events GROUP BY profile_id ORDER BY profile_id;
	SELECT count(cdp.tag(cdp.rb_range(b, 1, $ACTIVE + 1), CASE tag WHEN 40 THEN 'vip' ELSE 'city:x' END)) FROM tag_bitmap WHERE tag IN (40, 80);
	CREATE TABLE has_tag AS SELECT CASE tag WHEN 40 THEN 'vip' ELSE 'city:x' END AS tag, i::int AS profile_id
	FROM tag_bitmap, cdp.rb_iterate(cdp.rb_range(b, 1, $ACTIVE + 1)) i WHERE tag IN (40, 80);
	ALTER TABLE has_tag ADD PRIMARY KEY (tag, profile_id);
	CREATE INDEX ON events (event, at) INCLUDE (profile_id);
	CREATE INDEX ON events (profile_id, event, at);
	VACUUM (ANALYZE);
	SQL
	at="timestamptz '2026-03-25Z'"
	window="event = 'purchase' AND at > $at - interval '30 days' AND at <= $at"
	{
		echo 'SET max_parallel_workers_per_gather = 4;'
		printf '%s\n' '\timing on'
		for run in $(seq 0 "$RUNS"); do
			echo "SELECT cdp.audience_count('vip & count(purchase, 30d) >= 2 & !city:x', $at);"
		done
	} | psql -f - >"$dir/out.behaviour.cdp"
	{
		echo 'SET max_parallel_workers_per_gather = 4;'
		printf '%s\n' '\timing on'
		for run in $(seq 0 "$RUNS"); do
			echo "SELECT count(*) FROM (SELECT profile_id FROM events WHERE $window GROUP BY profile_id HAVING count(*) >= 2) e
				JOIN has_tag v USING (profile_id) WHERE v.tag = 'vip' AND NOT EXISTS (SELECT FROM has_tag c WHERE c.tag = 'city:x' AND c.profile_id = v.profile_id);"
		done
	} | psql -f - >"$dir/out.behaviour.sql"
	{
		echo 'SET max_parallel_workers_per_gather = 4;'
		printf '%s\n' '\timing on'
		for run in $(seq 0 2); do
			echo "SELECT count(*) FROM has_tag v WHERE v.tag = 'vip' AND NOT EXISTS (SELECT FROM has_tag c WHERE c.tag = 'city:x' AND c.profile_id = v.profile_id)
				AND (SELECT count(*) FROM events e WHERE e.profile_id = v.profile_id AND $window) >= 2;"
		done
	} | psql -f - >"$dir/out.behaviour.probe"
	for side in cdp sql probe; do
		grep -v '^Time' "$dir/out.behaviour.$side" | sort -u >"$dir/answer.behaviour.$side"
		sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$dir/out.behaviour.$side" | tail -n +2 >"$dir/times.behaviour.$side"
		say "behaviour, $side: $(best behaviour $side) ms, answer $(cat "$dir/answer.behaviour.$side")"
	done
	same behaviour
}
behaviour_report() {
	cat <<-REPORT

	## A rule with behaviour

	\`vip & count(purchase, 30d) >= 2 & !city:x\` over $ACTIVE profiles with $EVENTS events (10 % and 2 % have the tags; $(cat "$dir/answer.behaviour.cdp") profiles): **$(best behaviour cdp) ms**.
	Plain SQL, all purchases of the 30 days from an index \`(event, at) INCLUDE (profile_id)\`, grouped and joined: $(best behaviour sql) ms;
	each candidate's purchases from an index \`(profile_id, event, at)\`: $(best behaviour probe) ms. All with up to 4 parallel workers.
	REPORT
}

# --- refreshing a segment, after "behaviour" ----------------------------------------------
# Once in full, then after a thousandth of the profiles changed a tag that matters.
refresh() {
	rule='vip & count(purchase, 30d) >= 2 & !city:x'
	{
		echo "SELECT count(cdp.define_segment('active', '$rule', at => $at));"
		printf '%s\n' '\timing on'
		echo "SELECT entered FROM cdp.refresh_segments('active', $at);"
		for run in 1 2 3; do
			printf '%s\n' '\timing off'
			echo "SELECT count(CASE WHEN cdp.has_tag(p, 'vip') THEN cdp.untag(p, 'vip') ELSE cdp.tag(p, 'vip') END) FROM generate_series($run, $ACTIVE, 1000) p;"
			printf '%s\n' '\timing on'
			echo "SELECT entered + exited FROM cdp.refresh_segments('active', $at + interval '$run s');"
		done
		printf '%s\n' '\timing off'
		echo "SELECT cdp.rb_equals(cdp.segment_members('active'), cdp.audience('$rule', $at + interval '3 s'));"
	} | psql -f - >"$dir/out.refresh"
	[ "$(tail -1 "$dir/out.refresh")" = t ] || { say 'the segment is wrong'; exit 1; }
	sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$dir/out.refresh" >"$dir/times.refresh"
	full_ms=$(head -1 "$dir/times.refresh")
	delta_ms=$(tail -n +2 "$dir/times.refresh" | sort -n | head -1)
	say "refresh: full $full_ms ms, 0.1 % changed $delta_ms ms"
}
refresh_report() {
	cat <<-REPORT

	Kept as a segment, the first refresh takes $full_ms ms; after $((ACTIVE / 1000)) of $ACTIVE profiles gained or lost the tag, $delta_ms ms ($(awk "BEGIN { printf \"%.1f\", 100 * $delta_ms / $full_ms }") %).
	REPORT
}

# --- churn ---------------------------------------------------------------------------
lsn() { psql -c 'SELECT pg_current_wal_lsn()'; }
wal_of() {	# from to: bytes, and those of them that are images of whole pages
	psql -c "SELECT pg_wal_lsn_diff('$2', '$1')"
	as_user "$bindir/pg_waldump" -z -p "$dir/data/pg_wal" -s "$1" -e "$2" 2>/dev/null | awk '$1 == "Total" { print $5 }'
}
percentiles() {	# files of pgbench: p50, p99 and greatest, in ms
	cat "$@" | awk '{ print $3 }' | sort -n | awk '{ t[NR] = $1 } END { printf "%.2f / %.2f / %.1f", t[int(NR * 0.5) + 1] / 1000, t[int(NR * 0.99) + 1] / 1000, t[NR] / 1000 }'
}
vacuum_wal() { tail -c "+$1" "$dir/server.log" | sed -n 's/.*WAL usage:.* \([0-9]*\) bytes.*/\1/p' | awk '{ s += $1 } END { print s + 0 }'; }	# autovacuum's, since that place in the log
size_of() { psql -c "SELECT sum(pg_total_relation_size(t)) FROM unnest('{$1}'::regclass[]) t"; }

# toggle NAME TABLES READER SCRIPT: changes a second, ms, WAL, commits to a flush, reader's ms (READER empty: nobody reads), growth
toggle() {
	echo "$4" >"$dir/toggle.sql"
	echo "$3;" >"$dir/reader.sql"
	psql -c CHECKPOINT
	before=$(size_of "$2")
	logged=$(($(wc -c <"$dir/server.log") + 1))
	psql -c "SELECT pg_stat_reset_shared('wal')"
	from=$(lsn)
	rm -f "$dir"/log.* "$dir"/reader.log.*
	[ -z "$3" ] || "$bindir/pgbench" -n -h "$dir/socket" -U cdp -c 1 -T "$SECONDS_EACH" -M prepared -l --log-prefix="$dir/reader.log" -f "$dir/reader.sql" bench >/dev/null 2>"$dir/reader.err" &
	"$bindir/pgbench" -n -h "$dir/socket" -U cdp -c "$CLIENTS" -j "$CLIENTS" -T "$SECONDS_EACH" -M prepared -l --log-prefix="$dir/log" -f "$dir/toggle.sql" bench >"$dir/pgbench.out" 2>&1 ||
		{ cat "$dir/pgbench.out" >&2; exit 1; }
	wait
	until=$(lsn)
	changes=$(cat "$dir"/log.* | wc -l)
	tps=$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$dir/pgbench.out")
	echo "$tps" >>"$dir/tps.$side${3:+.read}"
	wal_of "$from" "$until" >"$dir/wal"
	wal=$(($(sed -n 1p "$dir/wal") / changes))
	images=$(($(sed -n 2p "$dir/wal") / changes))
	vacuum=$(($(vacuum_wal "$logged") / changes))
	flush=$(psql -c "SELECT round($changes.0 / greatest(wal_sync, 1), 2) FROM pg_stat_wal")
	growth=$((($(size_of "$2") - before) / 1048576))
	[ -z "$3" ] || reading=$(percentiles "$dir"/reader.log.*)
	echo "| $1 | $tps | $(percentiles "$dir"/log.*) | $wal ($images) | $flush |${3:+ $reading |} $growth MB |" | tee -a "$dir/churn${3:+.read}" >&2
}
# churn_side SIDE READER [NAME]
churn_side() {
	side=$1
	case $1 in
		cdp) toggle "${3:-cdp, toggle_tag}" cdp.tag_chunk,cdp.tag_pending "$2" "$pick
SELECT cdp.toggle_tag(:p::bigint, 't' || :t::text);" ;;
		two) toggle 'cdp, has_tag, then tag or untag' cdp.tag_chunk,cdp.tag_pending "$2" "$pick
SELECT CASE WHEN cdp.has_tag(:p::bigint, 't' || :t::text) THEN cdp.untag(:p::bigint, 't' || :t::text) ELSE cdp.tag(:p::bigint, 't' || :t::text) END;" ;;
		chunk) toggle 'a bitmap of 65,536 profiles to a row' tag_rival_chunk "$2" "$pick
INSERT INTO tag_rival_chunk AS s VALUES (:t, :p::int >> 16, rival.rb_build(ARRAY[:p::int])) ON CONFLICT (tag, chunk) DO UPDATE SET bm = rival.rb_xor(s.bm, excluded.bm);" ;;
		tag) toggle 'a bitmap of a tag to a row' tag_rival "$2" "$pick
UPDATE tag_rival SET bm = CASE WHEN rival.rb_contains(bm, :p::int) THEN rival.rb_remove(bm, :p::int) ELSE rival.rb_add(bm, :p::int) END WHERE tag = :t;" ;;
		# what the disk allows: a commit with next to no WAL
		commit) toggle 'nothing but a commit' cdp.tag_pending "$2" "SELECT pg_logical_emit_message(true, '', '');" ;;
	esac
}
# Sides alternate, so that all meet the same disk.
churn() {
	: >"$dir/churn"
	: >"$dir/churn.read"
	rm -f "$dir"/tps.*
	psql -c 'ALTER SYSTEM SET fsync = on' -c 'ALTER SYSTEM SET log_autovacuum_min_duration = 0' -c 'SELECT pg_reload_conf()' >/dev/null
	sides='cdp tag two chunk commit'
	[ "$rival" != 0 ] || sides='cdp two commit'
	profiles=$((PROFILES - 1))
	pick="\\set p random(1, $profiles)
\\set t random(0, 199)"
	round=0
	while [ $round -lt "$ROUNDS" ]; do
		for one in $sides; do
			churn_side "$one" ''
			[ "$one" = cdp ] || [ "$one" = two ] || continue
			changed=$changes
			wide_vacuum=$vacuum
			fold
			[ "$round.$one" != 0.cdp ] || echo "Folding $waiting changes that waited ($per_chunk to a chunk): $fold_wal bytes of WAL a change ($fold_images of them images of pages), $fold_ms ms." >>"$dir/churn.notes"
			psql -c 'VACUUM cdp.tag_pending, cdp.tag_chunk'
		done
		round=$((round + 1))
		[ "$rival" = 0 ] || sides='cdp tag two'
	done
	# the same beside somebody who counts, again and again
	for one in $sides; do
		case $one in
			two) continue ;;
			tag) churn_side "$one" "$(question rival q1)" ;;
			*) churn_side "$one" "$(question cdp q1)" ;;
		esac
	done
	changed=$changes
	fold
	psql -c 'VACUUM cdp.tag_pending, cdp.tag_chunk'
	# fewer chunks: at least 20 changes to each of those of 200 tags, even in a slow round
	changed=$(($(sort -n "$dir/tps.cdp" | head -1) * SECONDS_EACH))
	narrow=$(((changed / 5000 + 1) * 32768))
	[ "$narrow" -lt "$PROFILES" ] || narrow=$((PROFILES - 1))
	pick="\\set p random(1, $narrow)
\\set t random(0, 199)"
	churn_side cdp '' "cdp, $narrow profiles"
	sed -i '$d' "$dir/tps.cdp"
	narrow_wal=$wal
	changed=$changes
	fold
	echo "Among $narrow profiles ($changed changes, $per_chunk waiting to a chunk) folding took $fold_wal bytes of WAL a change ($fold_images images), together **$((narrow_wal + fold_wal))**; $fold_ms ms.
All of the server's WAL counts; autovacuum wrote $wide_vacuum and $vacuum bytes a change of it in the two runs." >>"$dir/churn.notes"
	# What the tags say is what the changes say: every tag read anew.
	psql -c "SELECT count(*) FROM cdp.tag_catalog c WHERE c.members <> cdp.rb_cardinality(cdp.tagged(c.tag))" | grep -qx 0
}
times_of() {	# side [.read]: how many times the rounds of another did ours, the least and the middle one
	[ -e "$dir/tps.$1$2" ] || return 0
	paste "$dir/tps.cdp$2" "$dir/tps.$1$2" | awk 'NF == 2 { printf "%.1f\n", $1 / $2 }' | sort -n |
		awk -v name="$1" '{ r[NR] = $1 } END { if (NR == 1) print r[1]; else printf "%s at least, median %s", r[1], r[int((NR + 1) / 2)] }'
}
fold() {	# how dear is it to fold what waits?  per change that was made ($changed)
	waiting=$(psql -c 'SELECT count(*) FROM cdp.tag_pending')
	per_chunk=$(psql -c 'SELECT round(count(*)::numeric / greatest(count(DISTINCT (tag, profile_id >> 15)), 1), 1) FROM cdp.tag_pending')
	from=$(lsn)
	fold_ms=$(took psql -c "DO \$\$ BEGIN WHILE (SELECT done > 0 FROM cdp._fold_tags(now(), 1000)) LOOP COMMIT; END LOOP; END \$\$")
	until=$(lsn)
	wal_of "$from" "$until" >"$dir/wal"
	fold_wal=$(($(sed -n 1p "$dir/wal") / changed))
	fold_images=$(($(sed -n 2p "$dir/wal") / changed))
}
churn_report() {
	cat <<-REPORT

	## Changing single tags

	$CLIENTS clients toggle random (profile, tag) pairs for $SECONDS_EACH s with fsync on, each in a transaction of its own; $ROUNDS rounds in which the sides alternate.
	WAL from a checkpoint on; in parentheses, of it, images of whole pages.

	| | changes/s | ms, p50 / p99 / max | WAL bytes a change | commits to a flush | table growth |
	|---|---:|---:|---:|---:|---:|
	$(cat "$dir/churn")

	Round by round, changes a second are so many times those of a bitmap of a tag to a row: **$(times_of tag '')**; of \`has_tag\` with \`tag\` or \`untag\`: $(times_of two '').
	In the first round, of a bitmap of 65,536 profiles to a row: $(times_of chunk ''); of nothing but a commit: $(times_of commit '').

	Beside one more client that counts \`A & B & !C\` again and again, as fast as it can:

	| | changes/s | ms, p50 / p99 / max | WAL bytes a change | commits to a flush | reader's ms, p50 / p99 / max | table growth |
	|---|---:|---:|---:|---:|---:|---:|
	$(cat "$dir/churn.read")

	Times: $(times_of tag .read).

	$(cat "$dir/churn.notes")
	REPORT
}

for part in $PARTS; do
	$part
done

pg=$(psql -c 'SHOW server_version')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || echo '?')
{
cat <<REPORT
# Segments, $(date -u +%Y-%m-%d)

$PROFILES profiles, 200 tags, $(psql -c "SELECT sum(cdp.rb_cardinality(b)) FROM tag_bitmap") pairs.
PostgreSQL $pg, ${cpu:-processor not known}, $(nproc) processors, $memory; shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off.
Warm cache; load average $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || echo '?'). All answers agree.
REPORT
for part in $PARTS; do
	"${part}_report"
done
} >&3
