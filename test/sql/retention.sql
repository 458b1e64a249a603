-- retention over timelines
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set histories 40000
\getenv histories ORACLE_HISTORIES

CREATE TEMP TABLE one AS SELECT '{2026-01-01T12:00:00Z "view", 2026-01-02T11:59:59.999999Z "buy", 2026-01-02T12:00:00Z "view", 2026-01-04T00:00:00Z "buy", 2026-01-09T00:00:00Z "view"}'::timeline AS t;
-- bucket k begins k buckets after the first cohort event and has its beginning in it, not its end
SELECT retention(t, 'view', '*', 4, '1 day'), retention(t, 'view', 'buy', 4, '1 day'), retention(t, 'view', 'view', 8, '1 day') FROM one;
-- or after the start of its day
SELECT retention(t, 'view', '*', 4, '1 day', 'day'), retention(t, 'view', 'buy', 4, '1 day', 'day'), retention(t, 'view', 'view', 9, '1 day', 'day') FROM one;
SELECT retention(t => t, cohort => 'buy', returned => 'view', buckets => 3, bucket => '12 hours', align => 'event') FROM one;
-- element 0 is true by definition, even when the return never happens
SELECT retention(t, 'view', 'refund', 3, '1 day'), retention(t, 'buy', 'refund', 1, '1 us') FROM one;
-- no cohort event: all false
SELECT retention(t, 'refund', '*', 3, '1 day'), retention('{}', 'view', '*', 2, '1 day') FROM one;
-- with align day, what came before the cohort event on its day counts where it falls
SELECT retention('{2026-01-01T05:30:00Z "a", 2026-01-01T23:00:00Z "b"}', 'b', 'a', 24, '1 hour', 'day');
-- a day before 2000, and before Christ
SELECT retention('{1999-12-31T23:59:59.999999Z "a", 2000-01-01T00:00:00Z "a"}', 'a', 'a', 3, '1 day', 'day'), retention('{-4713-11-24T05:00:00Z "a", -4713-11-25T00:00:00Z "a"}', 'a', 'a', 3, '1 day', 'day');
-- lengths
SELECT retention(t, 'view', '*', 3, '1 month'), retention(t, 'view', '*', 3, '290000 years') FROM one;
SELECT retention('{-4713-11-24T00:00:00Z "a", 294276-12-31T23:59:59.999999Z "a"}', 'a', 'a', 3, '250000 years');
SELECT cardinality(retention(t, 'view', '*', 100000, '1 us')) FROM one;
SELECT retention(NULL, 'a', '*', 1, '1 day') IS NULL, retention('{}', NULL, '*', 1, '1 day') IS NULL, retention('{}', 'a', '*', 1, '1 day', NULL) IS NULL;
SELECT retention(t, 'view', '*', 0, '1 day') FROM one;
SELECT retention(t, 'view', '*', 100001, '1 day') FROM one;
SELECT retention(t, 'view', '*', 3, '0') FROM one;
SELECT retention(t, 'view', '*', 3, '-1 day') FROM one;
SELECT retention(t, 'view', '*', 3, '1 day', 'week') FROM one;

-- against the definition: random histories
CREATE FUNCTION pg_temp.dice(i bigint, seed int, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	$$ SELECT (hashint8extended(i, seed) & 9223372036854775807) % below $$;
CREATE TEMP TABLE question AS
SELECT h, chr(97 + pg_temp.dice(h, 1, 4)::int) AS cohort, (ARRAY['a', 'b', 'c', 'z', '*'])[1 + pg_temp.dice(h, 2, 5)] AS returned, 1 + pg_temp.dice(h, 3, 12)::int AS buckets,
	(ARRAY['1 us', '7 us', '1 s', '90 min', '1 day', '36 h', '1 week'])[1 + h % 7]::interval AS unit,
	(ARRAY['event', 'day'])[1 + pg_temp.dice(h, 4, 2)] AS align, 1 + pg_temp.dice(h, 5, 4) AS factor FROM generate_series(1, :histories) h;
CREATE TEMP TABLE ev AS
SELECT h, timestamptz '2026-01-01' + pg_temp.dice(h, 6, 100000000000) * interval '1 us' + pg_temp.dice(h * 100 + i, 7, 20) * unit + pg_temp.dice(h * 100 + i, 8, 2) * pg_temp.dice(h * 100 + i, 9, 3) * interval '1 us' AS at,
	chr(97 + pg_temp.dice(h * 100 + i, 10, 3)::int) AS event FROM question, generate_series(1, pg_temp.dice(h, 11, 9)) i;
CREATE INDEX ON ev (h); ANALYZE ev;
CREATE TEMP TABLE answers AS
SELECT h, retention(coalesce((SELECT timeline_agg(at, event) FROM ev WHERE ev.h = q.h), '{}'), cohort, returned, buckets, factor * unit, align) AS got,
	(SELECT array_agg(coalesce(c0 IS NOT NULL AND (k = 0 OR EXISTS (SELECT FROM ev WHERE ev.h = q.h AND returned IN (event, '*') AND at >= c0 + k * factor * unit AND at < c0 + (k + 1) * factor * unit)), false) ORDER BY k)
	 FROM generate_series(0, buckets - 1) k, (SELECT CASE align WHEN 'day' THEN date_trunc('day', min(at)) ELSE min(at) END AS c0 FROM ev WHERE ev.h = q.h AND event = cohort) c) AS expected
FROM question q;
SELECT count(*) >= 40000 AS many, count(*) FILTER (WHERE got IS DISTINCT FROM expected) AS wrong, count(*) FILTER (WHERE true = ALL (got)) > 100 AS full_ones, count(*) FILTER (WHERE false = ALL (got)) > 100 AS none FROM answers;
-- wide codes and wide times
SELECT count(*) FILTER (WHERE retention(t || more, 'view', 'buy', 4, '1 day') IS DISTINCT FROM retention(t, 'view', 'buy', 4, '1 day')
	OR retention(t || more, 'view', 'buy', 4, '1 day', 'day') IS DISTINCT FROM retention(t, 'view', 'buy', 4, '1 day', 'day')) AS wrong, count(*)
FROM one, unnest('{10,300,70000}'::int[]) names, unnest('{1 min,1 day,10 years}'::interval[]) earlier,
	LATERAL (SELECT timeline_agg(timestamptz '2026-01-01 12:00' - earlier + i * interval '1 us', 'name ' || i) AS more FROM generate_series(1, names) i) m;
