#!/bin/sh
#
# segment_refresh.sh - what a refresh of segments costs when little has changed,
# beside looking at everybody.
#
# Makes a throw-away server with PROFILES profiles of EVENTS purchases and views
# each over 60 days, and four segments (behaviour; behaviour and tags; tags;
# nested).  Times the first refresh, which looks at everybody; then ROUNDS times
# new events and tags for SHARE of the profiles, a minute later each, and the
# refresh that follows.  Every refresh is compared with the rule itself.
# Prints Markdown.
#
#	PROFILES=1000000 EVENTS=20 SHARE=0.001 ROUNDS=9 sh bench/segment_refresh.sh
set -eu

: "${PROFILES:=1000000}" "${EVENTS:=20}" "${SHARE:=0.001}" "${ROUNDS:=9}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"

bench_start 2
exec 3>&1 >/dev/null		# the report alone goes to standard output
psql -c 'CREATE EXTENSION marketing_cdp' -c "ALTER DATABASE bench SET search_path = public, cdp" -c "ALTER DATABASE bench SET timezone = 'UTC'"
say "making $PROFILES profiles with $EVENTS events each"
psql <<SQL
INSERT INTO profile (profile_id, kind, canonical_id, first_at)
SELECT n, 'person', n, '2026-01-01' FROM generate_series(1, $PROFILES) n;
SELECT setval('profile_id_seq', $PROFILES);
SELECT _tag_changes(chr(1) || 'kind:person', rb_fill('{}', 1, $PROFILES + 1), NULL, '2026-01-01', 'first');
INSERT INTO timeline_part (profile_id, part, timeline)
SELECT n, 0, timeline_agg('2026-01-01'::timestamptz + (hashint8extended(n * 100 + e, 1) & 8388607) * interval '0.618 s',
						  CASE WHEN e % 4 = 0 THEN 'purchase' ELSE 'view' END, 'p' || (hashint8extended(n * 100 + e, 2) & 31), 1)
FROM generate_series(1, $PROFILES) n, generate_series(1, $EVENTS) e GROUP BY n;
SELECT tag((SELECT rb_build_agg(n) FROM generate_series(1, $PROFILES) n WHERE n % 10 = 0), 'vip', at => '2026-03-01');
SELECT tag((SELECT rb_build_agg(n) FROM generate_series(1, $PROFILES) n WHERE n % 3 = 0), 'city:x', at => '2026-03-01');
SELECT _event_partition('2026-03-02');
VACUUM ANALYZE;
SELECT define_segment('behaviour', 'count(purchase, 30d) >= 2', at => '2026-03-01'), define_segment('mixed', 'vip & count(purchase, 30d) >= 2 & !city:x', at => '2026-03-01'),
	define_segment('tags', 'vip & !city:x', at => '2026-03-01'), define_segment('nested', 'segment:behaviour & !segment:mixed', at => '2026-03-01');
SQL
psql <<'SQL'
CREATE FUNCTION timed(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz := clock_timestamp();
BEGIN
	EXECUTE query;
	RETURN round(1000 * extract(epoch FROM clock_timestamp() - started), 1);
END
$$;
SQL
# milliseconds of a pass at an instant, in a session that has done one before
pass() {
	psql -c "SELECT count(*) FROM _refresh_segments(${1:-NULL}, (SELECT max(computed_at) FROM segment), ARRAY(SELECT name FROM segment WHERE stale))" -c "SELECT timed(format('SELECT _refresh_segments(%L, %L)', ${1:-NULL::text[]}, '$2'))" | tail -1
}
wrong() {
	psql -c "SELECT count(*) FROM segment s WHERE segment_members(s.name) <> audience(s.criteria, s.computed_at)"
}
each() {	# milliseconds of each segment and of the whole pass at an instant
	for name in behaviour mixed tags nested; do
		printf '%s ' "$(pass "ARRAY['$name']" "$1")"
	done
}
full=$(each '2026-03-02 00:00')
say "full: $full, wrong: $(wrong)"
psql -c 'VACUUM ANALYZE tag_chunk, tag_pending, segment_due, segment_work, segment_dirty'
# a pass with nothing to do, and one in which time has gone on by a minute
idle=$(pass '' '2026-03-02 00:00')
minute=$(pass '' '2026-03-02 00:01')
say "idle $idle, a minute later $minute"
changed=$(psql -c "SELECT round($PROFILES * $SHARE)")
{	# one session, as that of a worker is
	echo "SELECT count(*) FROM _refresh_segments(NULL, (SELECT max(computed_at) FROM segment), ARRAY(SELECT name FROM segment WHERE stale));"
	for round in $(seq 0 "$ROUNDS"); do
		at="2026-03-02 00:$(printf %02d $((round + 2)))"
		cat <<-SQL
		SELECT count(_record_event(1 + (hashint8extended(g, $round) & 1073741823) % $PROFILES, NULL, 'purchase', '{"value": 1}', '$at', NULL, NULL, false, '{}', '{}', '$at'))
		FROM generate_series(1, $changed) g;
		SELECT count(*) FROM (SELECT tag(1 + (hashint8extended(g, $round + 100) & 1073741823) % $PROFILES, 'vip', at => '$at') FROM generate_series(1, $changed / 10) g) x;
		SELECT sum((_fold_timelines('$at', 10000)).done) FROM generate_series(1, $changed / 10000 + 1);
		SELECT done FROM _fold_tags('$at', 10000);
		SELECT timed('SELECT _refresh_segments(NULL, ''$at'')') AS ms \gset
		SELECT 'round', :ms, (SELECT sum(rb_cardinality(entered | exited)) FROM segment_change WHERE at = '$at'),
			(SELECT count(*) FROM segment s WHERE segment_members(s.name) <> audience(s.criteria, s.computed_at));
		SQL
	done
} | psql | sed -n 's/^round|//p' >"$dir/rounds"
while IFS='|' read -r ms entered bad; do say "$ms ms, $entered changed, $bad wrong"; done <"$dir/rounds"
[ "$(cut -d'|' -f3 "$dir/rounds" | sort -u)" = 0 ] || { say 'a segment is wrong'; exit 1; }
rounds=$(tail -n +2 "$dir/rounds" | cut -d'|' -f1 | sort -n)	# the first one plans its queries
all=$(echo "$full" | tr ' ' '\n' | awk '{ s += $1 } END { print s }')
share() { awk "BEGIN { printf \"%.2f %%\", 100 * $1 / $all }"; }
cat >&3 <<REPORT
# Refreshing segments, $(date -u +%Y-%m-%d)

$PROFILES profiles with $EVENTS events each; $(nproc) processors, load average $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || echo '?').

| | ms | of the first |
|---|---:|---:|
| first refresh: behaviour, mixed, tags, nested | $full | |
| nothing changed, all four | $idle | $(share "$idle") |
| a minute later, all four | $minute | $(share "$minute") |
| $changed profiles with new events and $((changed / 10)) with a new tag, all four; median of $ROUNDS | **$(echo "$rounds" | sed -n "$(((ROUNDS + 1) / 2))p")** | **$(share "$(echo "$rounds" | sed -n "$(((ROUNDS + 1) / 2))p")")** |
| the same, fastest and slowest | $(echo "$rounds" | head -1), $(echo "$rounds" | tail -1) | $(share "$(echo "$rounds" | tail -1)") |

The rules: \`count(purchase, 30d) >= 2\`; \`vip & count(purchase, 30d) >= 2 & !city:x\`; \`vip & !city:x\`; \`segment:behaviour & !segment:mixed\`. Time goes on by a minute from one
refresh to the next. In a session that has refreshed before; every refresh left the segments equal to their rules.

segment_due: $(psql -c "SELECT count(*) || ' rows, ' || pg_size_pretty(pg_total_relation_size('segment_due')) FROM segment_due").
REPORT
