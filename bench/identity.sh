#!/bin/sh
#
# identity.sh - who is who: in bulk, online, and from messages.
#
# Makes a throw-away server and measures, side by side with alternatives,
#
#	components	connected_components over EDGES pairs of IDS texts; RIVALS (clickhouse
#				duckdb pgrouting) do it their way, answers must agree
#	identify	identify() with two identifiers, CLIENTS clients, SECONDS each, against
#				PL/pgSQL written by hand (identity_plpgsql.sql): PROFILES people are there,
#				70 % of the calls are about known pairs, 15 % bring a new device, 10 % a new
#				person, 5 % merge two people
#	import		import_identities: PAIRS pairs in one session and in four at once
#	ingest		ingest_inbox: MESSAGES whole messages, one session and four at once
#
# Prints Markdown.  PARTS chooses; OURS and RIVALS choose among the components'
# sides, POINTS (one in so many of the pairs) at which sizes memory is measured.
#
#	EDGES=10000000 IDS=12000000 PROFILES=2000000 sh bench/identity.sh
#	EDGES=100000 IDS=120000 PROFILES=20000 PAIRS=20000 MESSAGES=20000 SECONDS_EACH=3 RUNS=1 RIVALS= sh bench/identity.sh
# shellcheck disable=SC2154
set -eu

: "${EDGES:=10000000}" "${IDS:=12000000}" "${HUB:=20000}" "${PROFILES:=2000000}" "${PAIRS:=400000}" "${MESSAGES:=400000}"
: "${CLIENTS:=4}" "${SECONDS_EACH:=20}" "${RUNS:=3}" "${PARTS:=components identify import ingest}" "${RIVALS=clickhouse duckdb}" "${NPM_DIR:=}" "${MODES:=literal array simple prepared}" "${OURS=sized counted to_table alone read_only}" "${POINTS=100 10 1}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"
bench_start "$WORKERS"
psql -c 'CREATE EXTENSION marketing_cdp' -c "ALTER DATABASE bench SET search_path = public"
mkdir "$dir/csv"
cp "$top/bench/identity_rivals.mjs" "$dir/"
has() { case " $PARTS " in *" $1 "*) ;; *) return 1 ;; esac; }
ratio() { awk "BEGIN { printf \"%.2f\", $1 / ($2 > 0 ? $2 : 1) }"; }
per_second() { awk "BEGIN { printf \"%.0f\", $1 * 1000 / ($2 > 0 ? $2 : 1) }"; }
median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
load() { cut -d ' ' -f 1 /proc/loadavg; }
processor() { sed -n 's/^cpu  *//p' /proc/stat 2>/dev/null || :; }
stolen() { echo "$1 $(processor)" | awk 'NF > 10 { for (i = 1; i <= 8; i++) t += $(i + NF / 2) - $i; printf "%.0f %%", 100 * ($(8 + NF / 2) - $8) / (t > 0 ? t : 1) }'; }
pgbench() { PGOPTIONS='-c synchronous_commit=off -c search_path=public' "$bindir/pgbench" -n -h "$dir/socket" -U cdp "$@"; }

pg=$(psql -c 'SHOW server_version')
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
echo "# Identity, $(date -u +%Y-%m-%d)"
echo
echo "PostgreSQL $pg, ${cpu:-processor not known}, $(nproc) processors, $(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo); shared_buffers $SHARED_BUFFERS, work_mem $WORK_MEM, jit off."

# --- connected components ----------------------------------------------------------
squares="SELECT count(*), sum(n), sum(n * n), max(n) FROM"
by_count="$squares (SELECT count(*) AS n FROM cdp.connected_components('SELECT a, b FROM edges') GROUP BY component) s"
by_size="$squares (SELECT members AS n FROM cdp.component_sizes('SELECT a, b FROM edges')) s"
to_table="DROP TABLE IF EXISTS final; CREATE UNLOGGED TABLE final AS SELECT * FROM cdp.connected_components('SELECT a, b FROM edges')"
timed() { psql -c "SET client_min_messages = warning; SET max_parallel_workers_per_gather = 0" -c '\timing on' -c "$1" | awk -F'[ |]' '/^Time/ { t += $2; next } { a = $0 } END { printf "%.0f %s\n", t, a }'; }
pgrouting="SET work_mem = '1GB'; DROP TABLE IF EXISTS dict, e, cc;
CREATE UNLOGGED TABLE dict AS SELECT (row_number() OVER ())::int AS id, name FROM (SELECT a AS name FROM edges UNION SELECT b FROM edges) x; ANALYZE dict;
CREATE UNLOGGED TABLE e AS SELECT x.id AS u, y.id AS v FROM edges JOIN dict x ON x.name = edges.a JOIN dict y ON y.name = edges.b;
CREATE UNLOGGED TABLE cc AS SELECT node::int AS id, component::int AS c FROM pgr_connectedComponents('SELECT row_number() OVER () AS id, u::bigint AS source, v::bigint AS target, 1::float8 AS cost FROM e');
$squares (SELECT count(*) AS n FROM dict JOIN cc USING (id) GROUP BY c) s"
components() {
	say "making $EDGES edges of $IDS identifiers"
	psql -v ids="$IDS" -v edges="$EDGES" -v hub="$HUB" -f "$top/bench/identity_edges.sql"
	cat <<-MD

	## Connected components

	$EDGES pairs of $IDS texts. From the table of pairs to the sizes of the components; the smallest node in the order of bytes names ours, a number the others'. One round after the other.

	| | median of $RUNS | all | load |
	|---|---:|---|---:|
	MD
	# commands that print "ms answer"
	counted() { timed "$by_count"; }
	sized() { timed "$by_size"; }
	to_table() { timed "$to_table; SELECT count(*) FROM final" | awk '{ print $1 }'; }
	alone() { timed "SELECT count(*) FROM cdp.connected_components('SELECT a, b FROM edges')" | awk '{ print $1 }'; }
	read_only() { timed "SELECT sum(octet_length(a) + octet_length(b)) FROM edges" | awk '{ print $1 }'; }
	pgrouting() { timed "$pgrouting"; }
	clickhouse() { node "$dir/identity_rivals.mjs" clickhouse "$dir" 1 "$WORKERS"; }
	duckdb() { node "$dir/identity_rivals.mjs" duckdb "$dir" 1 "$WORKERS"; }
	title_of() {
		case $1 in
			sized) echo "\`component_sizes\`" ;;
			counted) echo "\`connected_components\`, then GROUP BY component" ;;
			to_table) echo "\`connected_components\` into a table" ;;
			alone) echo "\`connected_components\`, rows counted" ;;
			read_only) echo 'only reading the pairs (a sum of lengths)' ;;
			pgrouting) echo 'pgRouting, with a dictionary in SQL' ;;
			*) echo "$1, iterated contraction" ;;
		esac
	}
	sides=$OURS
	for rival in $RIVALS; do
		case $rival in
			pgrouting)
				psql -c 'CREATE EXTENSION IF NOT EXISTS pgrouting CASCADE' >/dev/null 2>&1 || { say 'no pgrouting'; continue; } ;;
			*)
				if [ ! -e "$dir/npm" ]; then
					if [ -n "$NPM_DIR" ]; then ln -s "$NPM_DIR" "$dir/npm"; else
						mkdir "$dir/npm"
						(cd "$dir/npm" && echo '{}' >package.json && npm install --no-audit --no-fund chdb @duckdb/node-api >"$dir/npm.log" 2>&1) || :
					fi
				fi
				[ -e "$dir/csv/edges.csv" ] || psql -c 'COPY edges TO STDOUT (FORMAT csv)' >"$dir/csv/edges.csv" ;;
		esac
		sides="$sides $rival"
	done
	: >"$dir/answers"
	run=0
	while [ $run -lt "$RUNS" ]; do
		for side in $sides; do
			"$side" >"$dir/run" 2>"$dir/$side.log" || { say "$side is left out: $(tail -1 "$dir/$side.log")"; continue; }
			say "$side: $(cat "$dir/run")"
			cut -d ' ' -f 1 "$dir/run" >>"$dir/runs.$side"
			cut -s -d ' ' -f 2 "$dir/run" >>"$dir/answers"
			rm -rf "$dir/clickhouse" "$dir/duckdb.db"
		done
		run=$((run + 1))
	done
	for side in $sides; do
		[ -s "$dir/runs.$side" ] || continue
		echo "| $(title_of "$side") | $(median <"$dir/runs.$side") ms | $(tr '\n' ' ' <"$dir/runs.$side") | $(load) |"
	done
	sort -u "$dir/answers" | grep . >"$dir/answers.u"
	[ "$(wc -l <"$dir/answers.u")" = 1 ] || { say 'the answers differ:'; cat "$dir/answers.u" >&2; exit 1; }
	echo
	echo "Components, identifiers, sum of squares and largest agree: $(cat "$dir/answers.u"). WORKERS=$WORKERS threads for ClickHouse and DuckDB; PostgreSQL used one process."
	[ -z "$POINTS" ] || printf '\n| identifiers | pairs | time | memory of the graph |\n|---:|---:|---:|---:|\n'
	for part in $POINTS; do
		n=$((EDGES / part))
		q="SELECT a, b FROM edges LIMIT $n"
		ms=$(timed "SELECT sum(members) FROM cdp.component_sizes('$q')")
		# the smallest limit that is enough, to 2 %
		low=1 high=$((1 + IDS * 120 / 1048576))
		while [ $((high - low)) -gt $((1 + high / 50)) ]; do
			middle=$(((low + high) / 2))
			if psql -c "SELECT count(*) FROM cdp.component_sizes('$q', '${middle}MB')" >/dev/null 2>&1; then high=$middle; else low=$middle; fi
		done
		echo "| ${ms#* } | $n | ${ms% *} ms | $high MB |"
	done
	psql -c 'DROP TABLE edges' -c 'DROP TABLE IF EXISTS final, dict, e, cc' 2>/dev/null
	rm -f "$dir/csv/edges.csv"
}
if has components; then components; fi

# --- people ------------------------------------------------------------------------
pair="'anonymous_id:anon-' || md5(g::text), 'email:user' || g || '@example.com'"
people() {
	[ ! -e "$dir/people" ] || return 0
	say "making $PROFILES people"
	psql -c "SET maintenance_work_mem = '1GB'" \
		-c "SELECT * FROM cdp.import_identities(\$q\$SELECT $pair FROM generate_series(1, $PROFILES) g\$q\$, at => '2026-01-01')" >/dev/null
	psql -c 'VACUUM ANALYZE' -c 'CHECKPOINT'
	: >"$dir/people"
}

# --- online ------------------------------------------------------------------------
calls() {	# the call with two values that the server puts together
	cat <<-PGBENCH
	\\set k random(1, 100)
	\\set u random(1, $PROFILES)
	\\set v random(1, $PROFILES)
	\\set n random(1, 1000000000)
	\\if :k <= 70
	SELECT $1anon-' || md5((:u)::text)$2user' || (:u)::text || '@example.com'$3;
	\\elif :k <= 85
	SELECT $1new-' || md5((:n)::text)$2user' || (:u)::text || '@example.com'$3;
	\\elif :k <= 95
	SELECT $1new-' || md5((:n)::text)$2new' || (:n)::text || '@example.com'$3;
	\\else
	SELECT $1anon-' || md5((:u)::text)$2user' || (:v)::text || '@example.com'$3;
	\\endif
	PGBENCH
}
literal_calls() {	# the same with values in the text of the statement, as clients of the simple protocol send it
	cat <<-PGBENCH
	\\set k random(1, 100)
	\\set u random(1, $PROFILES)
	\\set v random(1, $PROFILES)
	\\set n random(1, 1000000000)
	\\if :k <= 70
	SELECT $1visitor-:u$2user:u@example.com$3;
	\\elif :k <= 85
	SELECT $1new-:n$2user:u@example.com$3;
	\\elif :k <= 95
	SELECT $1new-:n$2new:n@example.com$3;
	\\else
	SELECT $1visitor-:u$2user:v@example.com$3;
	\\endif
	PGBENCH
}
identify() {
	people
	say 'a second anonymous id for everybody'
	psql -c "SELECT * FROM cdp.import_identities(\$q\$SELECT 'anonymous_id:visitor-' || g, 'email:user' || g || '@example.com' FROM generate_series(1, $PROFILES) g\$q\$, at => '2026-01-01')" >/dev/null
	psql -v profiles="$PROFILES" -f "$top/bench/identity_plpgsql.sql" \
		-c 'VACUUM ANALYZE hand_identifier, hand_profile, audited_identifier, audited_profile, audited_evidence, cdp.identifier_link, cdp.profile, cdp.tag_pending'
	for side in hand audited nobody; do
		name=${side}_identify
		[ $side != nobody ] || name=concat
		calls "$name('" ", '" ')' >"$dir/$side.sql"
		literal_calls "$name('" "', '" "')" >"$dir/$side.literal.sql"
		cp "$dir/$side.literal.sql" "$dir/$side.array.sql"
	done
	# \x3a is a colon: before a name it would make a variable of pgbench
	calls "cdp.identify(ARRAY[E'anonymous_id\\x3a" ", E'email\\x3a" '])' >"$dir/ours.sql"
	literal_calls "cdp.identify('{anonymous_id:" ",email:" "}')" >"$dir/ours.literal.sql"
	literal_calls "cdp.identify(ARRAY['anonymous_id:" "', 'email:" "'])" >"$dir/ours.array.sql"
	cat <<-MD

	## Online: two identifiers a call

	$PROFILES people, $CLIENTS clients, $SECONDS_EACH s a run, synchronous_commit off; 70 % known pairs, 15 % a new device, 10 % a new person, 5 % merges. The first run of each side
	does not count: what was loaded last is in memory then, and the rest is not. Each begins with a checkpoint (full-page images are part of the WAL). "hand" keeps no evidence, no record of merges and no rules; "audited" is the same with what identify guarantees (identity_plpgsql.sql says what it is spared).

	"literal" is the simple protocol with the values in the statement, ours as one literal, '{anonymous_id:…,email:…}', and "array" the same with ARRAY['anonymous_id:…', 'email:…'];
	in "simple" and "prepared" the server puts them together, with md5, before it calls. "nobody" is concat() in place of the call: what pgbench and the server
	can do at all. pgbench has a thread for each client; with fewer it is pgbench that is measured, which the server waits for. "stolen" is the share of the processors'
	time that a virtual machine did not get.

	| protocol | side | tps | mean latency | WAL bytes a call | load | stolen |
	|---|---|---:|---|---:|---:|---:|
	MD
	for mode in $MODES; do
		protocol=$mode script=
		case $mode in literal | array) protocol=simple script=.$mode ;; esac
		rm -f "$dir"/tps.*
		run=0
		while [ $run -le "$RUNS" ]; do
			for side in nobody hand ours audited; do
				psql -c CHECKPOINT
				lsn=$(psql -c 'SELECT pg_current_wal_insert_lsn()')
				before=$(processor)
				pgbench -M "$protocol" -c "$CLIENTS" -j "$CLIENTS" -T "$SECONDS_EACH" -f "$dir/$side$script.sql" bench >"$dir/pgbench.out" 2>"$dir/pgbench.err" || { cat "$dir/pgbench.err" >&2; exit 1; }
				n=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$dir/pgbench.out")
				wal=$(psql -c "SELECT round((pg_current_wal_insert_lsn() - '$lsn') / $n)")
				tps=$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$dir/pgbench.out")
				gone=$(stolen "$before")
				say "$mode $side: $tps tps, $wal bytes of WAL a call, stolen $gone"
				[ $run -gt 0 ] || continue
				echo "$tps" >>"$dir/tps.$side"
				echo "| $mode | $side | $tps | $(sed -n 's/^latency average = //p' "$dir/pgbench.out") | $wal | $(load) | $gone |"
			done
			run=$((run + 1))
		done
		for side in hand audited; do
			echo "| **$mode** | **ours / $side** | **$(ratio "$(median <"$dir/tps.ours")" "$(median <"$dir/tps.$side")")** | | | | |"
		done
	done
	echo
	echo 'One client, one kind of call, ms (simple protocol):'
	echo
	echo '| | known | new device | new person | merge |'
	echo '|---|---:|---:|---:|---:|'
	for side in hand ours audited; do
		row="| $side |"
		for k in 1 80 90 98; do
			sed "s/random(1, 100)\$/$k/" "$dir/$side.sql" >"$dir/one.sql"
			row="$row $(pgbench -c 1 -T 3 -f "$dir/one.sql" bench 2>/dev/null | sed -n 's/^latency average = \([0-9.]*\) ms/\1/p') |"
		done
		echo "$row"
	done
	psql -c 'DROP TABLE hand_identifier, hand_profile, audited_identifier, audited_profile, audited_evidence, audited_merge, audited_refused, audited_apart CASCADE'
}
if has identify; then identify; fi

# --- in bulk -----------------------------------------------------------------------
side_by_side() {	# milliseconds until CLIENTS commands that run at once are through; $i is which
	t0=$(now_ms)
	i=0
	while [ $i -lt "$CLIENTS" ]; do
		"$1" $i >/dev/null &
		i=$((i + 1))
	done
	wait
	echo $(($(now_ms) - t0))
}
import_one() { psql -c "SET synchronous_commit = off" -c "SELECT * FROM cdp.import_identities(\$q\$$1\$q\$, at => '2026-01-02')" >/dev/null; }
new_pairs() { import_one "SELECT 'anonymous_id:$2-' || md5(g::text), 'email:$2' || g || '@example.com' FROM generate_series(1, $1) g"; }
known_pairs() { import_one "SELECT $pair FROM (SELECT 1 + (hashint8extended(i, $2) & 1073741823) % $PROFILES AS g FROM generate_series(1, $1) i) x"; }
mixed_pairs() {
	import_one "SELECT CASE WHEN k < 70 THEN 'anonymous_id:anon-' || md5(g::text) ELSE 'anonymous_id:$2-' || md5(i::text) END, CASE WHEN k < 85 THEN 'email:user' || g ELSE 'email:$2' || i END || '@example.com'
		FROM (SELECT i, 1 + (hashint8extended(i, 7) & 1073741823) % $PROFILES AS g, (hashint8extended(i, 8) & 1073741823) % 100 AS k FROM generate_series(1, $1) i) x"
}
# A call of up to 100,000 pairs keeps the order of the locks: sessions run side by side.
each_new() { new_pairs $((PAIRS / CLIENTS)) "four$1"; }
each_known() { known_pairs $((PAIRS / CLIENTS)) "$1"; }
each_mixed() { mixed_pairs $((PAIRS / CLIENTS)) "mix$1"; }
import() {
	people
	cat <<-MD

	## Pairs in batches: import_identities

	$PROFILES people are there; known: pairs that say nothing new; mixed: 70 % known, 15 % a new device, 15 % a new person.

	| | one session | $CLIENTS at once, in all | load |
	|---|---:|---:|---:|
	MD
	for kind in known mixed new; do
		one=$(per_second $((PAIRS / CLIENTS)) "$(took ${kind}_pairs $((PAIRS / CLIENTS)) 9)")
		all=$(per_second "$PAIRS" "$(side_by_side each_$kind)")
		say "$kind pairs: $one/s, $CLIENTS sessions $all/s"
		echo "| $kind | $one pairs/s | $all pairs/s | $(load) |"
	done
}
if has import; then import; fi

message() {	# number of messages, name of the batch, condition for a new visitor, fields of the context, what else it says
	echo "INSERT INTO cdp.inbox (payload) SELECT jsonb_build_object('type', 'track', 'messageId', '$2-' || i, 'event', (ARRAY['Product Viewed', 'Product Added', 'Order Completed', 'Email Opened'])[1 + i % 4],
		'anonymousId', CASE WHEN $3 THEN '$2-' || md5((i / 3)::text) ELSE 'anon-' || md5(u::text) END,
		'timestamp', to_char(timestamptz '2026-03-01Z' + make_interval(secs => i), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
		'properties', jsonb_build_object('product_id', 'p' || i % 1000, 'value', i % 500, 'category', 'shoes', 'url', 'https://shop.example.com/p/' || i % 1000),
		'context', jsonb_build_object('ip', '10.1.2.3', 'locale', 'en-US', 'userAgent', 'Mozilla/5.0 (X11; Linux x86_64)', 'page', jsonb_build_object('path', '/p/' || i % 1000, 'referrer', 'https://www.example.com/'))
			|| $4) || $5
	FROM (SELECT i, 1 + (hashint8extended(i, hashtext('$2')) & 1073741823) % $PROFILES AS u, 1 + (hashint8extended(-i, hashtext('$2')) & 1073741823) % $PROFILES AS v FROM generate_series(1, $1) i) n"
}
known=false
tenth='i % 30 < 3'
most='i % 9 < 6'
nothing="'{}'::jsonb"
external="jsonb_build_object('externalIds', jsonb_build_array(jsonb_build_object('id', 'user' || u || '@example.com', 'type', 'email', 'collection', 'users', 'encoding', 'none')))"
merging="CASE WHEN i % 10 = 0 THEN jsonb_build_object('traits', jsonb_build_object('email', 'user' || v || '@example.com')) ELSE '{}'::jsonb END"
traits="CASE WHEN i % 5 = 0 THEN jsonb_build_object('type', 'identify', 'traits', jsonb_build_object('age', i % 80, 'city', 'c' || i % 500)) ELSE '{}'::jsonb END"
stores="jsonb_build_object('participants', jsonb_build_array('store:s' || u % 1000))"
others="CASE i % 50 WHEN 1 THEN jsonb_build_object('type', 'group', 'groupId', 'g' || u % 1000)
	WHEN 2 THEN jsonb_build_object('type', 'alias', 'previousId', 'anon-' || md5(u::text), 'userId', 'u' || u) ELSE $traits END"
drain() {	# one session: calls of 10,000 messages until there are none
	awk -v n="$((waiting / 10000 + 1))" 'BEGIN {
		print "SET synchronous_commit = off;\n\\set done false"
		while (n-- > 0) print "\\if :done\n\\else\nSELECT cdp.ingest_inbox(10000) = 0 AS done \\gset\n\\endif"
	}' | psql
}
fill() {	# number of messages …
	waiting=$1
	sent=$((sent + waiting))
	psql -c "$(message "$@")" -c 'VACUUM ANALYZE cdp.inbox'
}
ingest_row() {	# title, number of messages, name, condition, context, what else
	title=$1
	shift
	fill "$1" "one$2" "$3" "$4" "$5"
	one=$(per_second "$1" "$(took drain)")
	fill "$1" "four$2" "$3" "$4" "$5"
	all=$(per_second "$1" "$(side_by_side drain)")
	say "$title: $one/s, $CLIENTS sessions $all/s"
	echo "| $title | $one messages/s | $all messages/s | $(load) |"
}

# What each session does, seen from outside: samples of its wait events, and of
# its stack by perf.  A sample belongs to the innermost of these functions.
stages='mcdp__take_inbox=the inbox: rows found and deleted;read_messages=reading of the JSON, identifiers;find_repeated=message ids looked up;collect_names=identifiers sorted;look_up_names=identifiers looked up;plan_call=evidence, profiles looked up;write_claims=new identifiers;mcdp_make_profiles=new profiles;stitch_rest=merges;mcdp_messages_lock=profiles locked;mcdp_messages_store=members, other names, traits;claim_messages=message ids stored;store_events=events stored;store_tail=work rows stored;record_events=numbers for events;CommitTransaction=commit;mcdp__take_plain=other;plpgsql_exec_function=other;PostgresMain=other'
working="FROM pg_stat_activity WHERE query LIKE '%ingest_inbox%' AND state = 'active' AND pid <> pg_backend_pid()"
watch() {
	i=0
	while [ $i -lt 500 ]; do
		echo "SELECT coalesce(wait_event_type || ' ' || wait_event, 'at work') $working; SELECT pg_sleep(0.01);"
		i=$((i + 1))
	done | psql | grep . >"$dir/waits" || :
}
watch_stacks() {
	sleep 0.2
	perf record -q -F 997 -g -o "$dir/perf.data" -p "$(psql -c "SELECT string_agg(pid::text, ',') $working")" -- sleep 20 >/dev/null 2>&1 || :
}
break_down() {
	if ! command -v perf >/dev/null; then
		say 'no perf: no break-down'
		return 0
	fi
	fill "$MESSAGES" parts "$known" "$nothing" "$nothing"
	watch &
	watch_stacks &
	side_by_side drain >/dev/null
	wait
	perf script -i "$dir/perf.data" -F ip,sym 2>/dev/null | awk -v stages="$stages" '
		function count() { if (n > 0) { all++; if (stage == "") stage = "other"; t[stage]++; x[stage] += index_entry; w[stage] += wal } stage = ""; n = index_entry = wal = 0 }
		BEGIN { k = split(stages, a, ";"); for (i = 1; i <= k; i++) { split(a[i], b, "="); title[b[1]] = b[2]; if (!(b[2] in rank)) { rank[b[2]] = ++titles; by_rank[titles] = b[2] } } }
		NF == 0 { count(); next }
		{ n++; if (stage == "" && ($2 in title)) stage = title[$2]; if ($2 == "insert_index_entries") index_entry = 1; if ($2 == "XLogInsert") wal = 1 }
		END { count(); print "| processor time | % | of it index entries | of it WAL records |"; print "|---|---:|---:|---:|"
			for (i = 1; i <= titles; i++) if (t[by_rank[i]] >= all / 1000) printf "| %s | %.1f | %.1f | %.1f |\n", by_rank[i], 100 * t[by_rank[i]] / all, 100 * x[by_rank[i]] / all, 100 * w[by_rank[i]] / all }'
	echo
	sort "$dir/waits" | uniq -c | sort -rn | awk 'BEGIN { print "| what a session is doing | % of samples |"; print "|---|---:|" }
		{ n[NR] = $1; $1 = ""; what[NR] = $0; all += n[NR] } END { for (i = 1; i <= NR; i++) if (n[i] >= all / 100) printf "|%s | %.1f |\n", what[i], 100 * n[i] / all }'
}
ingest() {
	people
	sent=0
	cat <<-MD

	## Whole messages: ingest_inbox

	$MESSAGES messages of some 400 bytes, 10,000 a call, track if nothing else is said; new visitors: two messages in three are of somebody who was not there, three messages each;
	externalIds: a known second identifier there; merges: one message in ten names two people.

	| | one session | $CLIENTS drain one inbox | load |
	|---|---:|---:|---:|
	MD
	ingest_row 'known people' "$MESSAGES" known "$known" "$nothing" "$nothing"
	ingest_row 'known people, with context.externalIds' "$MESSAGES" external "$known" "$external" "$nothing"
	ingest_row 'one in ten of a new visitor' "$MESSAGES" tenth "$tenth" "$nothing" "$nothing"
	ingest_row 'two in three of a new visitor' "$MESSAGES" most "$most" "$nothing" "$nothing"
	ingest_row 'one in ten merges two people' "$MESSAGES" merging "$known" "$merging" "$nothing"
	ingest_row 'one in five sets two traits' "$MESSAGES" traits "$known" "$nothing" "$traits"
	ingest_row 'and one in fifty each is a group or alias' "$MESSAGES" others "$known" "$nothing" "$others"
	ingest_row 'each in one of 1,000 stores (participants)' "$MESSAGES" stores "$known" "$nothing" "$stores"
	printf '\nWhere it goes, %s sessions, known people:\n\n' "$CLIENTS"
	break_down
	[ "$(psql -c 'SELECT count(*) FROM cdp.rejected')" = 0 ] || { say 'messages were rejected'; exit 1; }
	[ "$(psql -c 'SELECT count(*) FROM cdp.event_message')" = "$sent" ] || { say 'messages were lost'; exit 1; }
}
if has ingest; then ingest; fi
