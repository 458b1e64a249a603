-- sequence_match, sequence_count: random histories and patterns against the definition (fixed seeds)
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set histories 30000
\getenv histories ORACLE_HISTORIES

CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;

-- is this an event (a name, name[x] or *)?  NULL is none
CREATE FUNCTION pg_temp.hits(test text, event text, label text) RETURNS boolean LANGUAGE sql IMMUTABLE AS
	$$ SELECT coalesce(split_part(test, '[', 1) IN (event, '*') AND (test NOT LIKE '%[%' OR label = 'x'), false) $$;

-- patterns of 1 to 3 steps: with labels, lengths, up to two forbidden events between steps and two at the end; up to 7 events at up to 7 instants
CREATE TEMP TABLE question AS
SELECT h, names, labels, CASE WHEN h % 2 = 0 THEN gaps END AS gaps, forbidden, forbidden2, final, final_gap, final2, final2_gap, CASE WHEN h % 3 = 0 THEN timestamptz '2026-01-01' + pg_temp.dice(h, 13, 9) * interval '1 s' ELSE 'infinity' END AS asked, 1 + pg_temp.dice(h, 8, 7) AS instants, pg_temp.dice(h, 9, 8) AS events,
	(SELECT string_agg(CASE WHEN k > 1 THEN coalesce(' -> !' || forbidden[k], '') || coalesce(' -> !' || forbidden2[k], '') || ' ->' || coalesce('(' || CASE WHEN h % 2 = 0 THEN gaps[k] END || 's) ', ' ') ELSE '' END
		|| names[k] || coalesce('[' || labels[k] || ']', ''), '' ORDER BY k) FROM generate_series(1, cardinality(names)) k)
		|| coalesce(' ->' || coalesce('(' || final_gap || 's)', '') || '!' || final, '') || coalesce(' ->' || coalesce('(' || final2_gap || 's)', '') || '!' || final2, '') AS pattern
FROM generate_series(1, :histories) h, LATERAL (SELECT
	ARRAY(SELECT (ARRAY['a', 'b', 'c', 'a', 'b', '*'])[1 + pg_temp.dice(h * 10 + k, 1, 6)] FROM generate_series(1, 1 + pg_temp.dice(h, 2, 3)) k) AS names) n, LATERAL (SELECT
	ARRAY(SELECT CASE WHEN names[k] <> '*' AND pg_temp.dice(h * 10 + k, 3, 4) = 0 THEN 'x' END FROM generate_series(1, cardinality(names)) k) AS labels,
	ARRAY(SELECT nullif(pg_temp.dice(h * 10 + k, 4, 5), 4) FROM generate_series(1, cardinality(names)) k) AS gaps,
	ARRAY(SELECT (ARRAY['a', 'b', 'c', 'a[x]', '*', NULL, NULL, NULL, NULL, NULL])[1 + pg_temp.dice(h * 10 + k, 5, 10)] FROM generate_series(1, cardinality(names)) k) AS forbidden,
	ARRAY(SELECT (ARRAY['a', 'c[x]', NULL, NULL, NULL, NULL, NULL, NULL])[1 + pg_temp.dice(h * 10 + k, 14, 8)] FROM generate_series(1, cardinality(names)) k) AS forbidden2,
	(ARRAY['a', 'b', 'c', 'b[x]', '*', NULL, NULL, NULL, NULL, NULL])[1 + pg_temp.dice(h, 6, 10)] AS final, nullif(pg_temp.dice(h, 7, 4), 3) AS final_gap,
	(ARRAY['b', 'a[x]', NULL, NULL, NULL, NULL, NULL, NULL])[1 + pg_temp.dice(h, 15, 8)] AS final2, nullif(pg_temp.dice(h, 16, 4), 3) AS final2_gap) p;
SELECT pattern FROM question WHERE h <= 16 ORDER BY h;
CREATE TEMP TABLE ev AS
SELECT h, i AS id, timestamptz '2026-01-01' + pg_temp.dice(h * 100 + i, 10, instants) * interval '1 s' AS at, chr(97 + pg_temp.dice(h * 100 + i, 11, 3)::int) AS event,
	(ARRAY['x', 'y', NULL])[1 + pg_temp.dice(h * 100 + i, 12, 3)] AS label FROM question, generate_series(1, events) i;
ALTER TABLE ev ADD PRIMARY KEY (h, id); ANALYZE ev;
CREATE TEMP TABLE built AS
SELECT h, pattern, asked, coalesce(t, '{}') AS t FROM question LEFT JOIN (SELECT h, timeline_agg(at, event, label) AS t FROM ev GROUP BY h) s USING (h);
-- what is seen when the question is asked
CREATE TEMP TABLE seen AS SELECT ev.* FROM ev JOIN question USING (h) WHERE at <= asked;
CREATE INDEX ON seen (h); ANALYZE seen;

-- every match: another event for each step, later or at the same time, not too late, nothing forbidden strictly between; and nothing forbidden after, for as long a time as must have passed
CREATE TEMP TABLE match AS
WITH RECURSIVE match(h, n, ids, times) AS (
	SELECT h, 1, ARRAY[id], ARRAY[at] FROM question JOIN seen USING (h) WHERE names[1] IN (event, '*') AND (labels[1] IS NULL OR label = labels[1])
	UNION ALL
	SELECT h, m.n + 1, ids || id, times || at FROM match m JOIN question q USING (h) JOIN seen ev USING (h)
	WHERE names[m.n + 1] IN (event, '*') AND (labels[m.n + 1] IS NULL OR label = labels[m.n + 1]) AND id <> ALL (ids) AND at >= times[m.n]
		AND (gaps[m.n + 1] IS NULL OR at - times[m.n] <= gaps[m.n + 1] * interval '1 s')
		AND NOT EXISTS (SELECT FROM seen x WHERE x.h = m.h AND (pg_temp.hits(forbidden[m.n + 1], x.event, x.label) OR pg_temp.hits(forbidden2[m.n + 1], x.event, x.label)) AND x.at > times[m.n] AND x.at < ev.at)
)
SELECT h, ids, times[1] AS begins, times[n] AS ends FROM match m JOIN question q USING (h)
WHERE n = cardinality(names) AND NOT EXISTS (SELECT FROM seen x WHERE x.h = m.h AND x.at > times[n]
		AND (pg_temp.hits(final, x.event, x.label) AND (final_gap IS NULL OR x.at <= times[n] + final_gap * interval '1 s') OR pg_temp.hits(final2, x.event, x.label) AND (final2_gap IS NULL OR x.at <= times[n] + final2_gap * interval '1 s')))
	AND (final IS NULL OR final_gap IS NULL OR times[n] + final_gap * interval '1 s' <= asked) AND (final2 IS NULL OR final2_gap IS NULL OR times[n] + final2_gap * interval '1 s' <= asked);
CREATE INDEX ON match (h); ANALYZE match;

-- as many as possible one after the other: no event in two of them, none begins before the last has ended
CREATE TEMP TABLE expected AS
WITH RECURSIVE row_of(h, how_many, used, ends) AS (
	SELECT h, 0, '{}'::bigint[], '-infinity'::timestamptz FROM question
	UNION
	SELECT r.h, how_many + 1, ARRAY(SELECT unnest(used || m.ids) ORDER BY 1), m.ends FROM row_of r JOIN match m ON m.h = r.h AND m.begins >= r.ends AND NOT m.ids && r.used
)
SELECT h, max(how_many) AS how_many FROM row_of GROUP BY h;
SELECT how_many, count(*) >= 100 AS many, count(*) FILTER (WHERE sequence_count(t, pattern, asked) <> how_many) AS wrong_count, count(*) FILTER (WHERE sequence_match(t, pattern, asked) <> (how_many > 0)) AS wrong_match
FROM expected JOIN built USING (h) GROUP BY how_many ORDER BY how_many;
-- without an instant there is no end to it
SELECT count(*) FILTER (WHERE sequence_count(t, pattern) <> sequence_count(t, pattern, 'infinity')) AS wrong_count, count(*) FILTER (WHERE sequence_match(t, pattern) <> sequence_match(t, pattern, 'infinity')) AS wrong_match FROM built;
-- wide codes and times
SELECT count(*) FILTER (WHERE sequence_count(t || more, pattern, asked) <> how_many) AS wrong, count(*) FROM expected JOIN built USING (h),
	(SELECT timeline_agg(timestamptz '1926-01-01' + i * interval '1 us', 'name ' || i, 'label ' || i) AS more FROM generate_series(1, 300) i) m WHERE h <= 1000 AND pattern NOT LIKE '%*%';
