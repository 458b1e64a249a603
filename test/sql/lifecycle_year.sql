-- A year, with adaptive stages: what ticks recorded, replayed, is the stage at
-- any date; ticking through the year and rebuilding at its end agree; orders that
-- are taken back correct. Persons and stores by policies of their own.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';
INSERT INTO lifecycle_policy (name, kind, purchase_event, retained_orders, at_risk_after, churned_after, adaptive, at_risk_gaps, churned_gaps, at_risk_min, at_risk_max, churned_min, churned_max, prior_gap, prior_weight)
VALUES ('default', 'person', 'purchase', 4, '30 days', '60 days', true, 1.5, 3, '3 days', '60 days', '6 days', '90 days', '20 days', 1),
	('shops', 'store', 'restock', 3, '20 days', '40 days', true, 2, 3, '5 days', '50 days', '10 days', '70 days', NULL, 0);

CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TABLE ly_message AS
SELECT k.kind, p, i, timestamptz '2026-01-01Z' + make_interval(days => pg_temp.dice(k.kind || 'at' || p, i, 360) / (1 + pg_temp.dice('pace' || p, 1, 3)), hours => pg_temp.dice('h' || p, i, 2) * 7) AS at,
	   CASE pg_temp.dice('what' || p, i, 5) WHEN 0 THEN 'view' ELSE k.event END AS event
FROM (VALUES ('user_id:', 'purchase', 40), ('store:s', 'restock', 8)) AS k (kind, event, n), generate_series(1, k.n) p, generate_series(1, pg_temp.dice(k.kind || 'n', p, 16)) i;
SELECT count(*), count(DISTINCT (kind, p)) FROM ly_message;
CREATE FUNCTION ly_load(since timestamptz, until timestamptz) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(cdp.track(ARRAY[kind || p]::cdp.identifier[], event, '{}', at, format('%s%s-%s', kind, p, i))) FROM
		(SELECT * FROM ly_message WHERE at > since AND at <= until ORDER BY at, kind, p, i) m $$;
CREATE FUNCTION ly_name(profile bigint) RETURNS text LANGUAGE sql AS $$ SELECT min(l.identifier::text) FROM cdp.identifier_link l WHERE l.profile_id = profile $$;
-- replayed: the last thing that was recorded up to an instant
CREATE FUNCTION ly_replayed(now timestamptz) RETURNS TABLE (instants bigint, wrong bigint, unknown bigint) LANGUAGE sql SET search_path = public, cdp AS $$
	SELECT count(*), count(*) FILTER (WHERE recorded IS DISTINCT FROM lifecycle_at(profile_id, at)), count(*) FILTER (WHERE recorded IS NULL)
	FROM (SELECT s.profile_id, d.at, (SELECT c.to_stage FROM lifecycle_change c WHERE c.profile_id = s.profile_id AND c.at <= d.at ORDER BY c.at DESC, c.tick_no DESC LIMIT 1) AS recorded
		  FROM lifecycle_state s, generate_series(timestamptz '2026-01-02 03:00Z', now, '9 days 5 hours') AS d (at)) x $$;

-- every fifth day; the changes are at their exact instants all the same
SELECT sum((SELECT sum(t.done) FROM ly_load(d - interval '5 days', d) l, tick(d + 0 * l * interval '1 day') t)) > 0 AS worked
FROM (SELECT d FROM generate_series(timestamptz '2025-12-31Z', '2026-12-31Z', '5 days') d ORDER BY d) d;
SELECT kind, count(*) > 0 AS some FROM lifecycle_state JOIN profile USING (profile_id) GROUP BY kind ORDER BY kind;
SELECT cause, count(*) > 20 AS many FROM lifecycle_change GROUP BY cause ORDER BY cause;
SELECT count(*) AS corrections FROM lifecycle_correction;
SELECT to_stage, count(*) > 0 AS reached FROM lifecycle_change GROUP BY to_stage ORDER BY to_stage;
SELECT * FROM ly_replayed('2026-12-31');
-- reactivation is visible
SELECT count(*) > 0 AS reactivated FROM lifecycle_change WHERE from_stage = 'churned' AND to_stage IN ('repeat', 'retained') AND cause = 'event';
-- what is kept is what rebuild makes
CREATE TEMP TABLE kept AS TABLE lifecycle_state;
CREATE TEMP TABLE changes AS TABLE lifecycle_change;
SELECT task FROM rebuild('lifecycle', '2026-12-31');
SELECT (SELECT count(*) FROM (TABLE kept EXCEPT TABLE lifecycle_state) x) AS states, (SELECT count(*) FROM (TABLE lifecycle_change EXCEPT TABLE changes) x) AS changes,
	   (SELECT count(*) FROM lifecycle_correction) AS corrections;
-- and what one tick at the end makes of all at once, profile by profile
CREATE TEMP TABLE by_name AS SELECT ly_name(profile_id) AS who, at, from_stage, to_stage, cause FROM lifecycle_change;
CREATE TEMP TABLE state_by_name AS SELECT ly_name(profile_id) AS who, stage, since, due_at FROM lifecycle_state;
DO $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT c.oid FROM pg_class c WHERE relnamespace = 'cdp'::regnamespace AND relkind IN ('r', 'p')
			 AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND attname = 'seeded' AND NOT attisdropped) LOOP
		EXECUTE format('TRUNCATE %s', t);
	END LOOP;
END $$;
SELECT ly_load('-infinity', 'infinity') > 0 AS loaded;
SELECT sum(done) > 0 AS worked FROM tick('2026-12-31');
SELECT count(*) AS differ FROM (TABLE by_name EXCEPT SELECT ly_name(profile_id), at, from_stage, to_stage, cause FROM lifecycle_change) x;
SELECT count(*) AS differ FROM (SELECT ly_name(profile_id), at, from_stage, to_stage, cause FROM lifecycle_change EXCEPT TABLE by_name) x;
SELECT count(*) AS differ FROM (SELECT ly_name(profile_id) AS who, stage, since, due_at FROM lifecycle_state EXCEPT TABLE state_by_name) x;

-- a tick with nothing due touches nothing
CREATE TEMP TABLE rows AS SELECT ctid AS tid, xmin AS x, profile_id FROM lifecycle_state;
SELECT done FROM tick('2026-12-31') WHERE task = 'lifecycle';
SELECT count(*) AS touched FROM lifecycle_state s WHERE NOT EXISTS (SELECT FROM rows r WHERE r.tid = s.ctid AND r.x = s.xmin);

-- an order that never was: corrected, not a transition
CREATE TEMP TABLE last_one AS
SELECT format('user_id:%s-%s', p, i) AS message, p FROM ly_message m WHERE kind = 'user_id:' AND event = 'purchase'
	AND at = (SELECT max(x.at) FROM ly_message x WHERE x.kind = m.kind AND x.p = m.p AND x.event = 'purchase') ORDER BY at DESC, p LIMIT 1;
SELECT count(*) AS n, max(tick_no) > 0 FROM lifecycle_change;
SELECT retract(message, 'fraud', '2027-01-01') FROM last_one;
SELECT done FROM tick('2027-01-01') WHERE task = 'lifecycle';
SELECT k.cause, k.was_stage = c.to_stage AS was_recorded, k.is_stage = lifecycle_at(k.profile_id, k.at) AS is_right, s.stage = lifecycle_at(s.profile_id, '2027-01-01') AS kept_right
FROM lifecycle_correction k JOIN lifecycle_state s USING (profile_id), LATERAL (SELECT to_stage FROM lifecycle_change c WHERE c.profile_id = k.profile_id AND c.at <= k.at AND c.tick_no < k.tick_no ORDER BY c.at DESC LIMIT 1) c;
SELECT d.orders = (SELECT count(DISTINCT at) FROM ly_message m, last_one l WHERE m.kind = 'user_id:' AND m.p = l.p AND event = 'purchase') - 1 AS due_too
FROM purchase_due d, last_one l WHERE d.profile_id = resolve(('user_id:' || l.p)::identifier) AND d.label = '';

DROP TABLE ly_message;
DROP FUNCTION ly_load, ly_name, ly_replayed;
