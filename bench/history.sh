#!/bin/sh
#
# history.sh - years of history, in the order of time and in random order.
#
# Makes a throw-away server and loads MESSAGES messages of PEOPLE people over
# three years (45 % track, 45 % page, 10 % identify with traits; most name a
# user, a visitor or both, identify an address too), sorted by time and as they
# come, each into a database of its own, with
#
#	inbox	ingest_inbox(backfill => true), 10,000 messages a call, a transaction each
#	live	the same without backfill
#	import	import_events of the events among them, in one transaction
#
# and folds with extend_timelines what was loaded.  Prints Markdown.
#
#	MESSAGES="100000 300000 1000000" PEOPLE=200000 sh bench/history.sh
# shellcheck disable=SC2154
set -eu

: "${MESSAGES:=100000 300000 1000000}" "${PEOPLE:=200000}" "${PARTS:=inbox live import}" "${ORDERS:=ordered random}" "${SHARED_BUFFERS:=2GB}" "${FOLD:=yes}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"
bench_start 0
psql -c 'CREATE EXTENSION marketing_cdp'
load() { cut -d ' ' -f 1 /proc/loadavg; }
per_second() { awk "BEGIN { printf \"%.0f\", $1 * 1000 / ($2 > 0 ? $2 : 1) }"; }

# Random numbers of message i; the time is one of the microseconds of three years.
history="SELECT i, at, p, k, 'user-' || p AS user_id, 'visitor-' || p || '-' || k % 3 AS anonymous_id, 'person' || p || '@example.com' AS email
	FROM (SELECT i, timestamptz '2023-01-01Z' + make_interval(secs => (hashint8extended(i, 1) & 1073741823) / 1073741824.0 * 1096 * 86400) AS at,
			1 + (hashint8extended(i, 2) & 1073741823) % $PEOPLE AS p, (hashint8extended(i, 3) & 1073741823) % 100 AS k
		FROM generate_series(1, :messages) i) n"
messages="SELECT jsonb_strip_nulls(jsonb_build_object('type', CASE WHEN k < 45 THEN 'track' WHEN k < 90 THEN 'page' ELSE 'identify' END, 'messageId', 'history-' || i,
		'event', CASE WHEN k < 45 THEN (ARRAY['Product Viewed', 'Product Added', 'Order Completed', 'Email Opened'])[1 + i % 4] END,
		'userId', CASE WHEN k % 4 < 3 OR k >= 90 THEN user_id END, 'anonymousId', CASE WHEN k % 4 > 1 THEN anonymous_id END,
		'timestamp', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
		'properties', CASE WHEN k < 90 THEN jsonb_build_object('product_id', 'p' || i % 1000, 'value', i % 500, 'url', 'https://shop.example.com/p/' || i % 1000) END,
		'traits', CASE WHEN k >= 90 THEN jsonb_build_object('email', email, 'age', 20 + i % 50, 'city', 'city' || i % 7) END,
		'context', jsonb_build_object('locale', 'en-US', 'page', jsonb_build_object('path', '/p/' || i % 1000)))) AS payload
	FROM ($history) h"
rows="SELECT CASE WHEN k < 45 THEN (ARRAY['Product Viewed', 'Product Added', 'Order Completed', 'Email Opened'])[1 + i % 4] ELSE 'page' END AS event, at,
		CASE WHEN k % 4 < 3 THEN user_id END AS user_id, CASE WHEN k % 4 > 1 THEN anonymous_id END AS anonymous_id,
		'history-' || i AS message_id, 'p' || i % 1000 AS product_id, i % 500 AS value
	FROM ($history) h WHERE k < 90"

drain() {	# calls of 10,000 messages until there are none; the time of each call
	awk -v n="$((messages / 10000 + 2))" -v backfill="$1" 'BEGIN {
		print "SET synchronous_commit = off;\n\\set done false"
		while (n-- > 0) print "\\if :done\n\\else\nSELECT cdp.ingest_inbox(10000, " backfill ") = 0 AS done, round(extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000) AS ms \\gset\n\\echo :ms\n\\endif"
	}' | psql >"$dir/calls"
}
import() { psql -c 'SET synchronous_commit = off' -c "SELECT * FROM cdp.import_events('TABLE public.history', 'bench')" >"$dir/accepted"; }
fold() { psql -c 'SET synchronous_commit = off' -c "CALL cdp._run_tasks('{extend_timelines}', '2026-02-01Z', '1 hour', 10000)"; }
# mean of the first and the last fifth of the calls
growth() { awk '{ t[NR] = $1 } END { k = int((NR - 1) / 5); if (k < 1) k = 1; for (i = 1; i <= k; i++) { a += t[i]; b += t[NR - i] } printf "%.0f → %.0f ms", a / k, b / k }' "$dir/calls"; }

measure() {	# part, order
	"$bindir/createdb" -h "$dir/socket" -U cdp -T bench "history_$1"
	database=history_$1
	order='ORDER BY at'
	[ "$2" = ordered ] || order='ORDER BY i'
	if [ "$1" = import ]; then
		echo "CREATE TABLE public.history AS $rows $order; ANALYZE public.history;" | psql -v messages="$messages"
	else
		echo "INSERT INTO cdp.inbox (payload) $messages_sql $order;" | psql -v messages="$messages"
	fi
	psql -c 'VACUUM ANALYZE' -c CHECKPOINT
	case $1 in
		inbox) ms=$(took drain true) calls=$(growth) ;;
		live) ms=$(took drain false) calls=$(growth) ;;
		import) ms=$(took import) calls= ;;
	esac
	[ "$(psql -c 'SELECT count(*) FROM cdp.rejected')" = 0 ] || { say 'messages were rejected'; exit 1; }
	n=$(psql -c 'SELECT count(*) FROM cdp.event_message')
	folded=
	if [ "$FOLD" = yes ]; then
		fold_ms=$(took fold)
		folded="$fold_ms ms"
	fi
	say "$1 $2 $messages: $ms ms $calls, folded in $folded"
	echo "| $1 | $2 | $messages | $ms ms | $(per_second "$n" "$ms") | $calls | $folded | $(load) |"
	database=bench
	"$bindir/dropdb" -h "$dir/socket" -U cdp "history_$1"
}
messages_sql=$messages
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
cat <<-MD
# History in the order of time and in random order, $(date -u +%Y-%m-%d)

PostgreSQL $(psql -c 'SHOW server_version'), ${cpu:-processor not known}, $(nproc) processors; shared_buffers $SHARED_BUFFERS, jit off, synchronous_commit off, one session. $PEOPLE people, three years.

| what | order | messages | time | a second | a call, first and last fifth | folded in | load |
|---|---|---:|---:|---:|---|---:|---:|
MD
for messages in $MESSAGES; do
	for part in $PARTS; do
		for order in $ORDERS; do measure "$part" "$order"; done
	done
done
