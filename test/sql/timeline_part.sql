-- Stored timelines: at any moment, folded or not, merged or not, they are
-- timeline_agg over the event rows, as plain SQL works it out
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';

-- The oracle knows these two events only: "look" is a view with label and
-- value, "buy" a purchase with items.
INSERT INTO event_role (event, as_event, label_key, value_key, items_key) VALUES ('look', 'view', 'what', 'worth', NULL), ('buy', 'purchase', 'shop', 'sum', 'lines');
CREATE VIEW pg_temp.oracle AS
WITH entry AS (
	SELECT l.leaf, e.at, 'view' AS event, e.properties ->> 'what' AS label, (e.properties ->> 'worth')::float8 AS value
	FROM event e, LATERAL (SELECT DISTINCT u AS leaf FROM unnest(e.participants || e.profile_id) u) l WHERE e.event = 'look'
	UNION ALL
	SELECT l.leaf, e.at, 'purchase', e.properties ->> 'shop', (e.properties ->> 'sum')::float8
	FROM event e, LATERAL (SELECT DISTINCT u AS leaf FROM unnest(e.participants || e.profile_id) u) l WHERE e.event = 'buy'
	UNION ALL
	SELECT l.leaf, e.at, 'item', i ->> 'sku', (i ->> 'amount')::float8
	FROM event e, LATERAL (SELECT DISTINCT u AS leaf FROM unnest(e.participants || e.profile_id) u) l, jsonb_array_elements(e.properties -> 'lines') i WHERE e.event = 'buy')
SELECT p.canonical_id AS profile_id, timeline_agg(n.at, n.event, n.label, n.value) AS timeline
FROM entry n JOIN profile p ON p.profile_id = n.leaf GROUP BY 1;

-- Everything that must hold at any moment; the names of what does not.
CREATE FUNCTION pg_temp.broken() RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(what ORDER BY what) FROM (
		SELECT 'profile_timeline' AS what WHERE EXISTS (
			SELECT FROM cdp.profile_timeline t FULL JOIN pg_temp.oracle o USING (profile_id) WHERE t.timeline::bytea IS DISTINCT FROM o.timeline::bytea)
		UNION ALL
		SELECT 'timeline_of' WHERE EXISTS (
			SELECT FROM cdp.profile p LEFT JOIN pg_temp.oracle o ON o.profile_id = p.canonical_id
			WHERE cdp.timeline_of(p.profile_id)::bytea IS DISTINCT FROM coalesce(o.timeline, '{}')::bytea)
		UNION ALL
		SELECT '_timelines_of' WHERE EXISTS (
			SELECT FROM (SELECT * FROM cdp._timelines_of((SELECT cdp.rb_build_agg(profile_id) FROM cdp.profile WHERE profile_id % 3 <> 0))) t
			FULL JOIN (SELECT * FROM pg_temp.oracle WHERE profile_id % 3 <> 0) o USING (profile_id) WHERE t.timeline::bytea IS DISTINCT FROM o.timeline::bytea)
		UNION ALL
		SELECT 'sole' WHERE EXISTS (
			SELECT FROM cdp.timeline_part t
			WHERE t.sole <> ((SELECT count(*) FROM cdp.profile l WHERE l.canonical_id = cdp.canonical_id(t.profile_id)) = 1
				AND (SELECT count(*) FROM cdp.timeline_part o WHERE o.profile_id = t.profile_id) = 1))
		UNION ALL
		SELECT 'lock row' WHERE EXISTS (
			SELECT FROM cdp.profile p WHERE p.canonical_id <> p.profile_id
				AND (SELECT count(*) FROM cdp.timeline_part t WHERE t.part = 0 AND NOT t.sole AND t.profile_id IN (p.profile_id, p.canonical_id)) <> 2)
	) x $$;

-- Random calls: 700 events in random order of time, late ones too, one in six
-- with participants of other kinds or the same; folds of random size; merges.
SET plan_cache_mode = force_generic_plan;
DO $$
DECLARE
	r bigint;
	n int;
	wrong text[];
	folds int := 0;
	merges int := 0;
	checks int := 0;
BEGIN
	FOR n IN 1 .. 700 LOOP
		r := abs(hashint8extended(n, 1) / 2);
		PERFORM cdp.track(ARRAY['user_id:u' || r % 23]::cdp.identifier[],
			CASE WHEN r % 3 = 0 THEN 'buy' ELSE 'look' END,
			CASE WHEN r % 3 = 0
				THEN jsonb_build_object('shop', 'S' || r % 4, 'sum', (r % 1000) / 10.0, 'lines', (SELECT coalesce(jsonb_agg(jsonb_build_object('sku', 'k' || i, 'amount', r % (i + 7))), '[]') FROM generate_series(1, r % 4) i))
				ELSE jsonb_strip_nulls(jsonb_build_object('what', CASE WHEN r % 5 > 0 THEN 'p' || r % 6 END, 'worth', CASE WHEN r % 7 > 2 THEN r % 50 END)) END,
			timestamptz '2026-01-01Z' + (r / 1000 % 5000000) * interval '1 second',
			backfill => r % 11 = 0,
			participants => CASE r / 7 % 12 WHEN 0 THEN ARRAY['store:s' || r % 3] WHEN 1 THEN ARRAY['store:s' || r % 3, 'rep:r' || r % 2, 'user_id:u' || r % 29] ELSE '{}' END::cdp.identifier[]);
		IF r / 13 % 9 = 0 THEN
			PERFORM cdp._fold_timelines('2026-06-01Z', 1 + (r / 17 % 40)::int);
			folds := folds + 1;
		END IF;
		IF r / 19 % 53 = 0 THEN
			PERFORM cdp.merge(cdp.resolve('user_id:u' || r % 23), cdp.resolve('user_id:u' || r / 23 % 23), at => '2026-06-01Z')
			WHERE cdp.resolve(('user_id:u' || r / 23 % 23)::cdp.identifier) <> cdp.resolve(('user_id:u' || r % 23)::cdp.identifier);
			merges := merges + 1;
		END IF;
		IF n % 20 = 0 THEN
			wrong := pg_temp.broken();
			checks := checks + 1;
			IF wrong IS NOT NULL THEN
				RAISE EXCEPTION 'after step %: %', n, wrong;
			END IF;
		END IF;
	END LOOP;
	RAISE NOTICE '% folds, % merges, % checks', folds, merges, checks;
END
$$;
SET plan_cache_mode = auto;
SELECT count(*) > 0 AS some_unfolded FROM event_tail;
-- rebuild changes nothing, twice
CREATE TEMP TABLE before AS SELECT profile_id, part, timeline, sole FROM timeline_part;
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT pg_temp.broken();
SELECT count(*) AS differences FROM before b FULL JOIN timeline_part p USING (profile_id, part) WHERE (b.timeline, b.sole) IS DISTINCT FROM (p.timeline, p.sole);
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT pg_temp.broken();
-- fold the rest; rebuild again
SELECT done = (SELECT count(*) FROM event_tail) AS all_done, lag FROM _fold_timelines('2026-06-01Z', 100000);
SELECT pg_temp.broken(), (SELECT count(*) FROM event_tail);
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT pg_temp.broken();
SELECT * FROM _fold_timelines('2026-06-01Z', 100);
SELECT * FROM _fold_timelines('2026-06-01Z', 0);

-- merged profiles without any events, and then with
SELECT identify('{email:a@example.com}', at => '2026-01-01Z') AS a, identify('{email:b@example.com}', at => '2026-01-01Z') AS b \gset
SELECT merge(:a, :b, at => '2026-01-01Z') IS NOT NULL AS merged;
SELECT timeline_of(:a), timeline_of(:b), timeline_of(-1), timeline_of(NULL), (SELECT count(*) FROM profile_timeline WHERE profile_id IN (:a, :b));
SELECT pg_temp.broken();
SELECT track('{email:b@example.com}', 'look', '{"what": "x"}', '2026-01-02Z') = :a AS canonical;
SELECT timeline_of(:a), timeline_of(:b), (SELECT timeline FROM profile_timeline WHERE profile_id = :a) AS in_view;
SELECT done FROM _fold_timelines('2026-06-01Z', 100);
SELECT timeline_of(:a), timeline_of(:b), (SELECT timeline FROM profile_timeline WHERE profile_id = :a) AS in_view;
SELECT pg_temp.broken();

-- what follows from folding
TRUNCATE profile_queue;
INSERT INTO journey_listener (source, name, journey, version, purpose) VALUES ('event', 'item', 'j', 1, 'entry'), ('event', 'item', 'k', 1, 'exit'), ('event', 'purchase', 'j', 1, 'goal'), ('enters', 'view', 'j', 1, 'entry');
SELECT track('{email:b@example.com}', 'look', '{"what": "x"}', '2026-01-05Z'), track('{email:b@example.com}', 'look', '{}', '2026-01-03Z'),
	track('{email:a@example.com}', 'look', '{}', '2026-01-04Z', backfill => true), track('{email:a@example.com}', 'buy', '{"lines": [{"sku": "z"}]}', '2026-01-02Z', backfill => true);
SELECT track('{email:b@example.com}', 'buy', '{"shop": "S", "sum": 5, "lines": [{"sku": "k1", "amount": 2}, {"sku": "k2", "amount": 3}]}', '2026-01-06Z', participants => '{store:new}') > 0 AS bought;
-- all of one profile at once
SELECT done, lag FROM _fold_timelines('2026-06-01Z', 3);
SELECT done, lag FROM _fold_timelines('2026-01-07Z', 100);
-- one row per fold, leaf and cause, from the earliest instant
SELECT CASE canonical_id(q.profile_id) WHEN :a THEN 'a' ELSE 'store' END AS who, q.at, q.cause FROM profile_queue q WHERE cause <> 'first' ORDER BY 1, 2, 3;
-- each entry somebody waits for once per timeline, with what rules can ask about; never a backfilled one
SELECT source, name, CASE canonical_id(profile_id) WHEN :a THEN 'a' ELSE 'store' END AS who, at, label, value, event_id = (SELECT max(event_id) FROM event) AS this_event FROM journey_trigger ORDER BY who, name, label;

-- parts: closed from 8,192 events on; a huge batch makes several
SELECT identify('{store:big}', at => '2026-01-01Z', kind => 'store') AS big \gset
CREATE FUNCTION pg_temp.many(leaf bigint, first int, last int) RETURNS bigint LANGUAGE sql AS $$
	SELECT cdp._record_events(array_agg(ROW(nextval('cdp.event_id_seq'), timestamptz '2026-01-01Z' + (hashint4(n) % 1000000) * interval '1 s', '2026-02-01Z', leaf, NULL,
		'{}', 'look', jsonb_build_object('what', 'p' || n % 7), '{}', NULL, NULL, false)::cdp.event))
	FROM generate_series(first, last) n $$;
CREATE FUNCTION pg_temp.parts(leaf bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(part || ': ' || cdp.num_events(timeline) || CASE WHEN sole THEN ' sole' ELSE '' END || CASE WHEN sealed THEN ' sealed' ELSE '' END, ', ' ORDER BY part)
	FROM cdp.timeline_part WHERE profile_id = leaf $$;
SELECT pg_temp.many(:big, 1, 8191), (SELECT done FROM _fold_timelines('2026-02-01Z', 100000));
SELECT pg_temp.parts(:big);
SELECT pg_temp.many(:big, 8192, 8192), (SELECT done FROM _fold_timelines('2026-02-01Z', 100000));
SELECT done FROM _fold_timelines('2026-02-01Z', 100000);
SELECT pg_temp.parts(:big);
SELECT pg_temp.many(:big, 8193, 8193);
SELECT done FROM _fold_timelines('2026-02-01Z', 100000);
SELECT pg_temp.parts(:big);
SELECT pg_temp.many(:big, 8194, 28194);
SELECT pg_temp.broken();
SELECT done FROM _fold_timelines('2026-02-01Z', 100000);
SELECT pg_temp.parts(:big);
SELECT num_events(timeline_of(:big)), pg_temp.broken();
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT pg_temp.parts(:big), pg_temp.broken();

-- a sealed part stays as it is; what comes later goes elsewhere
UPDATE timeline_part SET sealed = true WHERE profile_id = :big;
CREATE TEMP TABLE kept AS SELECT timeline_of(:big) AS timeline;
DELETE FROM event WHERE profile_id = :big;
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT pg_temp.parts(:big), timeline_of(:big) = timeline AS same FROM kept;
SELECT pg_temp.many(:big, 1, 3);
SELECT done FROM _fold_timelines('2026-02-01Z', 100000);
SELECT pg_temp.parts(:big);
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT pg_temp.parts(:big), num_events(timeline_of(:big)) - num_events(timeline) AS more FROM kept;

-- what has come since then fills part 0, sealed is what comes after it: rebuilt, part 0 is
-- there, sets are what the timelines say, and what comes later is added
SELECT identify('{user_id:old}', at => '2026-01-01Z') AS old, identify('{user_id:gone}', at => '2026-01-01Z') AS gone \gset
INSERT INTO timeline_part (profile_id, part, timeline, sealed, sole)
SELECT p, 1, timeline_agg('2026-01-02Z', 'visit', NULL, 1.0), true, false FROM unnest(ARRAY[:old, :gone]) p GROUP BY p;
INSERT INTO timeline_part (profile_id, part, timeline, sole) VALUES (:old, 0, '{}', false), (:gone, 0, '{}', false);
SELECT track('{user_id:old}', 'visit', at => '2026-01-03Z') = :old AS tracked, (SELECT done FROM _fold_timelines('2026-02-01Z', 100)) AS folded;
SELECT pg_temp.parts(:old), pg_temp.parts(:gone), rb_to_array(audience('count(visit) > 1', '2026-02-01Z')) = ARRAY[:old]::bigint[] AS found;
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT pg_temp.parts(:old), pg_temp.parts(:gone), rb_to_array(audience('count(visit) > 1', '2026-02-01Z')) = ARRAY[:old]::bigint[] AS found;
SELECT track('{user_id:gone}', 'visit', at => '2026-01-03Z') = :gone AS tracked, (SELECT done FROM _fold_timelines('2026-02-01Z', 100)) AS folded;
SELECT pg_temp.parts(:gone), timeline_of(:gone), rb_to_array(audience('count(visit) > 1', '2026-02-01Z')) = ARRAY[:old, :gone]::bigint[] AS found;
