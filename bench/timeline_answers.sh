#!/bin/sh
#
# timeline_answers.sh - where our aggregates over rows and ClickHouse's differ.
#
# No times: answers.  The same questions about the same rows, of ours and of the
# ClickHouse in the npm package chdb: HISTORIES histories of one to eight rows with
# three conditions each, of which none, some or all hold; some are NULL for us and
# false for ClickHouse, which would pass over the whole row.  In
# half of the histories every row has a time of its own, in the other half rows
# share times.  Prints Markdown, and fails when answers differ that must not: the
# default mode, strict_once and retention always, sequences when no two rows have one
# time (there ClickHouse leaves their order open).  docs/reference/funnel.md says why the others do.
#
#	HISTORIES=100000 SEED=1 [NPM_DIR=...] sh bench/timeline_answers.sh
set -eu

: "${HISTORIES:=100000}" "${SEED:=1}" "${NPM_DIR:=}"
top=$(cd "$(dirname "$0")/.." && pwd)
SHARED_BUFFERS=256MB
# shellcheck source=bench/server
. "$top/bench/server"

bench_start 0
mkdir "$dir/answers"
chmod 777 "$dir/answers"
if [ -n "$NPM_DIR" ]; then
	ln -s "$NPM_DIR" "$dir/npm"
else
	mkdir "$dir/npm"
	(cd "$dir/npm" && echo '{}' >package.json && npm install --no-audit --no-fund chdb >"$dir/npm.log" 2>&1)
fi

# which histories must have equal answers | ours | ClickHouse's
cat >"$dir/questions" <<'QUESTIONS'
all|window_funnel('3 s', '', at, a, b, c)|windowFunnel(3)(s, a, b, c)
all|window_funnel('5 s', 'strict_once', at, a, b, c)|windowFunnel(5, 'strict_once')(s, a, b, c)
-|window_funnel('3 s', 'strict_increase', at, a, b, c)|windowFunnel(3, 'strict_increase')(s, a, b, c)
-|window_funnel('5 s', 'strict_deduplication', at, a, b, c)|windowFunnel(5, 'strict_deduplication')(s, a, b, c)
-|window_funnel('5 s', 'strict_order', at, a, b, c)|windowFunnel(5, 'strict_order')(s, a, b, c)
distinct|sequence_count('(?1)(?2)', at, a, b, c)|sequenceCount('(?1)(?2)')(t, a, b, c)
distinct|sequence_count('(?1).*(?2)', at, a, b, c)|sequenceCount('(?1).*(?2)')(t, a, b, c)
distinct|sequence_count('(?1)(?t<=2)(?2)', at, a, b, c)|sequenceCount('(?1)(?t<=2)(?2)')(t, a, b, c)
distinct|sequence_count('(?1)(?t>2)(?3)', at, a, b, c)|sequenceCount('(?1)(?t>2)(?3)')(t, a, b, c)
distinct|sequence_match('(?1).*(?2).*(?3)', at, a, b, c)::int|sequenceMatch('(?1).*(?2).*(?3)')(t, a, b, c)
distinct|sequence_match('(?1)(?t>=2)(?2)(?t<=4)(?3)', at, a, b, c)::int|sequenceMatch('(?1)(?t>=2)(?2)(?t<=4)(?3)')(t, a, b, c)
all|array_to_string(retention(a, b, c)::int[], '')|arrayStringConcat(arrayMap(x -> toString(x), retention(a, b, c)))
QUESTIONS
ours=$(cut -d'|' -f2 "$dir/questions" | paste -sd,)
theirs=$(cut -d'|' -f3 "$dir/questions" | paste -sd,)

psql -c 'CREATE EXTENSION marketing_cdp' -c "CREATE FUNCTION dice(h int, i int, n int) RETURNS int LANGUAGE sql IMMUTABLE RETURN (hashint8extended(h * 100 + i, n + 100 * $SEED) & 1048575)" \
	-c "CREATE TABLE history AS SELECT h, CASE WHEN h % 2 = 1 THEN 2 * i ELSE dice(h, i, 1) % (1 + h % 9) END AS s,
		(ARRAY[true, false, NULL, false])[1 + dice(h, i, 2) % 4] AS a, (ARRAY[true, false, NULL, false])[1 + dice(h, i, 3) % 4] AS b, (ARRAY[true, false, NULL, false])[1 + dice(h, i, 4) % 4] AS c
	FROM generate_series(1, $HISTORIES) h, generate_series(1, 1 + h % 8) i"
psql -c "COPY (SELECT h, s, coalesce(a, false)::int, coalesce(b, false)::int, coalesce(c, false)::int FROM history) TO STDOUT (FORMAT csv)" >"$dir/answers/rows.csv"
psql -c 'SET search_path = cdp, public' -F '|' -c "SELECT h, $ours FROM (SELECT h, timestamptz '2026-01-01' + s * interval '1 s' AS at, a, b, c FROM history) r GROUP BY h ORDER BY h" >"$dir/answers/ours"
# shellcheck disable=SC2016	# the program is node's
version=$(FILE="$dir/answers/rows.csv" NPM="$dir/npm" OUT="$dir/answers/theirs" QUESTIONS="$theirs" node -e '
	const { FILE, NPM, OUT, QUESTIONS } = process.env;
	const { Session } = require("node:module").createRequire(NPM + "/x.js")("chdb");
	const session = new Session(OUT + ".db");
	const rows = `(SELECT h, s, toDateTime(s) AS t, a, b, c FROM file("${FILE}", CSV, "h UInt32, s UInt32, a UInt8, b UInt8, c UInt8"))`.replaceAll("\"", "\x27");
	require("node:fs").writeFileSync(OUT, String(session.query(`SELECT h, ${QUESTIONS} FROM ${rows} GROUP BY h ORDER BY h`, "TSV")).replaceAll("\t", "|"));
	console.log(String(session.query("SELECT version()", "TSV")).trim());')

cat <<REPORT
# Answers of ours and of ClickHouse $version

$HISTORIES random histories, seed $SEED; of half of them every row has a time of its own. How many differ, and of how many of these ours is greater.

| | times differ | ours greater | shared times | ours greater |
|---|---:|---:|---:|---:|
REPORT
cut -d'|' -f1,2 "$dir/questions" >"$dir/asked"
paste -d'|' "$dir/answers/ours" "$dir/answers/theirs" | awk -F'|' -v asked="$dir/asked" '
	BEGIN { while ((getline line < asked) > 0) { n++; cut = index(line, "|"); must[n] = substr(line, 1, cut - 1); name[n] = substr(line, cut + 1) } }
	$1 != $(n + 2) || NF != 2 * n + 2 { print "rows do not match: " $0 > "/dev/stderr"; bad = 1; exit }
	{ for (k = 1; k <= n; k++) if ($(k + 1) != $(n + k + 2)) { differ[k, $1 % 2]++; if ($(k + 1) > $(n + k + 2)) more[k, $1 % 2]++ } }
	END {
		for (k = 1; k <= n; k++) {
			printf "| `%s` | %d | %d | %d | %d |\n", name[k], differ[k, 1], more[k, 1], differ[k, 0], more[k, 0]
			if (must[k] != "-" && differ[k, 1] > 0 || must[k] == "all" && differ[k, 0] > 0) bad = 1
		}
		exit bad
	}'
