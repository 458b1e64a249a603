-- What releases have sent in binary (COPY, drivers, replication): files that
-- they wrote, every later release reads them.  test/data/wire-X.bin is written
-- anew for a form that gets a new version (\copy made TO … (FORMAT binary)),
-- and the files of releases are never changed.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC';

CREATE TABLE made (since text, n int, identifier identifier, bitmap bitmap, timeline timeline, criteria criteria, stage lifecycle_stage, cohort cohort_state, retention event_state, funnel event_state, sequence event_state, quantile quantile_state);
INSERT INTO made VALUES ('0.1.0', 1, 'a:b', '{}', '{}', 'none', 'potential', (SELECT cohort_agg(t, 'p', '{2026-01-01Z,2026-02-01Z}', '2026-01-15Z') FROM (VALUES ('{}'::timeline)) x (t)),
	_retention_add(NULL, '{t,f,t}'), _window_funnel_add(NULL, '1 day', 'strict_order', '2026-01-01Z', '{t,f}'), _sequence_add(NULL, '(?1)(?t<=60)(?2)', '2026-01-01Z', '{t,f}'), _quantile_edges_add(NULL, 1, '{0.5}'));
INSERT INTO made
SELECT '0.1.0', 2, 'email:Ünï@example.com', rb_fill('{1,9223372036854775807}', 70000, 200000) | ARRAY(SELECT generate_series(300000, 340000, 2))::bitmap,
	timeline_agg(timestamptz '2026-01-01Z' + n * interval '7 h 1 us', (ARRAY['view', 'cart', 'purchase'])[1 + n % 3], nullif('p' || n % 4, 'p3'), CASE WHEN n % 3 = 2 THEN n / 2.0 END),
	'vip & (city:"New York" | !x) & seq(view -> !cart -> purchase ->(2h) !refund, 30d) & any(view[@new]: count(purchase[$]{price > 3, kind = "a"}, 60d..30d) >= 2) & top_label(view) in ("p1", "p2") & born between 1990-01-01 and 2000-01-01',
	'churned', (SELECT cohort_agg(t, 'p', '{2026-01-01Z,2026-01-05Z,2026-02-01Z}', '2026-01-15Z') FROM (SELECT timeline_agg(timestamptz '2026-01-01Z' + m * interval '7 h', 'p', m::float8) AS t FROM generate_series(1, 40) m) x),
	retention_state(timestamptz '2026-01-01Z' + n * interval '7 h', (ARRAY['view', 'cart', 'purchase'])[1 + n % 3], 'view', 'purchase', 5, '1 day'),
	(SELECT _event_state_combine(_window_funnel_event_add(NULL, '2026-01-01Z', 'a', '{a,b}', '1 day'), _window_funnel_event_add(NULL, '2026-01-01 01:00Z', 'b', '{a,b}', '1 day'))),
	(SELECT _event_state_combine(_sequence_event_add(NULL, '2026-01-01Z', 'a', 'a -> b'), _sequence_event_add(NULL, '2026-01-01 01:00Z', 'b', 'a -> b'))),
	(SELECT _quantile_edges_combine(_quantile_edges_add(NULL, -0.5, '{0.2,0.8}'), _quantile_edges_add(NULL, 'Infinity', '{0.2,0.8}')))
FROM generate_series(1, 40) n;
INSERT INTO made (since, n) VALUES ('0.1.0', 3);

CREATE TABLE sent (LIKE made);
\copy sent FROM 'test/data/wire-0.1.0.bin' (FORMAT binary)
-- read as what it was, and sent today as the same bytes
CREATE VIEW form AS
	SELECT w.which, w.since, w.n, f.*
	FROM (SELECT 'made' AS which, * FROM made UNION ALL SELECT 'sent', * FROM sent) w, LATERAL (VALUES
		(1, 'identifier', identifier::text, identifier_send(identifier)), (2, 'bitmap', bitmap::text, bitmap_send(bitmap)), (3, 'timeline', timeline::text, timeline_send(timeline)),
		(4, 'criteria', criteria::text, criteria_send(criteria)), (5, 'lifecycle_stage', stage::text, enum_send(stage)), (6, 'cohort_state', cohort::text, cohort_state_send(cohort)),
		(7, 'retention', retention::text, event_state_send(retention)), (8, 'funnel', funnel::text, event_state_send(funnel)), (9, 'sequence', sequence::text, event_state_send(sequence)),
		(10, 'quantile_state', quantile::text, quantile_state_send(quantile))) f (o, form, value, bytes);
SELECT s.since, s.n, s.form, s.value IS NOT DISTINCT FROM m.value AS read, s.bytes IS NOT DISTINCT FROM m.bytes AS same, length(s.bytes) AS bytes, left(s.value, 50) AS value
FROM form s JOIN form m USING (since, n, o) WHERE s.which = 'sent' AND m.which = 'made' ORDER BY s.since, s.n, s.o;
-- no type of ours is forgotten
SELECT t.oid::regtype FROM pg_type t WHERE t.typnamespace = 'cdp'::regnamespace AND t.typrelid = 0 AND t.typelem = 0
  AND t.oid NOT IN (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = 'sent'::regclass AND a.attnum > 0);
-- and the states go on where they were
SELECT n, _window_funnel_final(funnel), _sequence_count_final(sequence), _retention_final(_event_state_combine(retention, retention)) FROM sent WHERE retention IS NOT NULL ORDER BY n;
DROP VIEW form; DROP TABLE made, sent;
