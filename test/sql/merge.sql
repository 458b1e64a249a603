SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- Undoing merges: what is there after is what would be there without.

INSERT INTO tag_key (key, exclusive) VALUES ('city', true);
SELECT create_journey('cart', '{"entry": {"manual": true}, "start": "hold", "steps": {"hold": {"wait": "30d", "next": "end"}}}');
SELECT activate_journey('cart');

SELECT identify('{email:a@example.com}', '{"name": "A"}', '2026-01-01Z') AS a,
	   identify('{email:b@example.com}', '{"name": "B", "age": 30}', '2026-01-02Z') AS b,
	   identify('{email:c@example.com}', '{}', '2026-01-03Z') AS c;
SELECT tag(1, 'both'), tag(1, 'city:x'), tag(2, 'both'), tag(2, 'city:y'), tag(2, 'b', '2026-06-01Z'), tag(3, 'c');
SELECT enter_journey('cart', 1, '{}', '2026-01-05Z') AS a, enter_journey('cart', 2, '{}', '2026-01-04Z') AS b, enter_journey('cart', 3, '{}', '2026-01-06Z') AS c;
SELECT track('{email:a@example.com}', 'view', at => '2026-01-05Z'), track('{email:b@example.com}', 'purchase', '{"value": 5}', at => '2026-01-06Z');
SELECT consent(2, 'marketing', 'email', true, '2026-01-05Z');
SELECT count(*) > 0 AS ticked FROM tick('2026-01-07Z');

-- everything about each profile that is canonical, and what each leaf has
CREATE FUNCTION look() RETURNS TABLE (id bigint, leaves bigint[], tags text[], kept text[], name jsonb, age jsonb, stage lifecycle_stage, events int, runs text[])
LANGUAGE sql SET search_path = public, cdp AS $$
	SELECT p.profile_id, ARRAY(SELECT l.profile_id FROM profile l WHERE l.canonical_id = p.profile_id ORDER BY 1),
		tags_of(p.profile_id) || ARRAY(SELECT e.tag || ' ' || e.expires_at::date FROM tag_expiry e WHERE e.profile_id = p.profile_id ORDER BY 1),
		ARRAY(SELECT replace(t, chr(1), '*') FROM _all_tags_of(p.profile_id) t WHERE _is_maintained(t) AND NOT starts_with(t, 'rfm:') ORDER BY t COLLATE "C"),
		trait(p.profile_id, 'name'), trait(p.profile_id, 'age'), s.stage, num_events(timeline_of(p.profile_id)),
		ARRAY(SELECT r.run_id || ' ' || r.status || coalesce(' ' || r.outcome, '') || ' ' || r.due_at::date FROM journey_state r WHERE r.profile_id = p.profile_id ORDER BY r.run_id)
	FROM profile p LEFT JOIN lifecycle_state s USING (profile_id)
	WHERE p.canonical_id = p.profile_id ORDER BY 1
$$;
SELECT * FROM look();
CREATE TEMP TABLE before AS SELECT * FROM look();
SELECT set_trait(1, 'shoe', '40', '2026-01-03Z'), set_trait(2, 'shoe', '41', '2025-01-01Z');
SELECT * FROM simulate_merge(1, 2);
SELECT * FROM simulate_merge(2, 1);
SELECT * FROM simulate_merge(1, 1);
SELECT * FROM simulate_merge(1, 99);
SELECT * FROM simulate_merge(1, NULL);
-- nothing of it has happened
SELECT * FROM look() EXCEPT SELECT * FROM before;
SELECT identify('{email:a@example.com,email:b@example.com}', at => '2026-01-08Z');
SELECT * FROM look();
SELECT resolve('email:b@example.com'), resolve('email:b@example.com', '2026-01-07Z'), resolve('email:b@example.com', '2026-01-08Z');
SELECT count(*) > 0 AS ticked FROM tick('2026-01-08Z');
SELECT unmerge(1, at => '2026-01-09Z');
SELECT count(*) > 0 AS ticked FROM tick('2026-01-09Z');
SELECT * FROM look();
SELECT * FROM look() EXCEPT SELECT * FROM before;
SELECT merge_id, survivor, merged, at, cause, undone_at, kept_apart FROM profile_merge;
SELECT profile_a, profile_b, reason, at FROM never_merge;
SELECT a, b, at, inactive_at FROM identity_edge;
SELECT resolve('email:b@example.com'), resolve('email:b@example.com', '2026-01-08Z'), resolve('email:b@example.com', '2026-01-09Z');
SELECT count(*) AS own_tags FROM tag_own;
SELECT profile_id, part, sole FROM timeline_part ORDER BY 1, 2;

-- the same evidence once more: refused, and recorded
SELECT identify('{email:a@example.com,email:b@example.com}', at => '2026-01-10Z');
SELECT identifiers, reason FROM identity_refusal;
SELECT merge(1, 2);
SELECT * FROM simulate_merge(1, 2) WHERE what = 'refused';
-- unless it need not be kept apart
DELETE FROM never_merge;
SELECT identify('{email:a@example.com,email:b@example.com}', at => '2026-01-11Z'), unmerge(2, false, 'by mistake', '2026-01-12Z');
SELECT merge_id, survivor, merged, undone_at, kept_apart, undone_reason FROM profile_merge WHERE merge_id = 2;
SELECT identify('{email:a@example.com,email:b@example.com}', at => '2026-01-13Z');
SELECT a, b, at, inactive_at FROM identity_edge;
SELECT resolve('email:b@example.com', t) FROM generate_series('2026-01-10Z'::timestamptz, '2026-01-13Z', '1 day') t;

-- An inner merge is undone while an outer one stands: c was linked with b, so
-- it goes with b.  What calls named 1 for meanwhile stays with 1.
SELECT identify('{email:b@example.com,email:c@example.com}', at => '2026-01-14Z');
SELECT merge_id, survivor, merged, members, leaf_a, leaf_b, tags FROM profile_merge WHERE undone_at IS NULL;
SELECT tag(2, 'city:z'), tag(3, 'late'), tag('{2}'::bitmap, 'all'), untag(1, 'c'), set_trait(3, 'n', '1', '2026-01-14Z');
SELECT unmerge(3, at => '2026-01-15Z');
SELECT id, leaves, tags, name, events, runs FROM look();
SELECT trait(1, 'n'), trait(2, 'n');
SELECT merge_id, survivor, merged, members, leaf_a, leaf_b, tags FROM profile_merge WHERE undone_at IS NULL;
SELECT resolve('email:c@example.com', t) FROM generate_series('2026-01-13Z'::timestamptz, '2026-01-15Z', '1 day') t;

-- wrong input
\set SHOW_CONTEXT never
SELECT unmerge(3);
SELECT unmerge(99);
SELECT unmerge(NULL);
SELECT unmerge(4, NULL);
SELECT unmerge(4, at => 'infinity');

-- Raw events that are gone make no difference.
SELECT identify('{email:d@example.com}', at => '2026-02-01Z') AS d, identify('{email:e@example.com}', at => '2026-02-01Z') AS e \gset
SELECT track('{email:d@example.com}', 'view', at => '2026-02-02Z'), track('{email:e@example.com}', 'purchase', '{"value": 7}', '2026-02-03Z'),
	   merge(:d, :e, at => '2026-02-04Z') AS m \gset
SELECT track('{email:e@example.com}', 'view', at => '2026-02-05Z') = :d AS of_d;
SELECT count(*) > 0 AS ticked FROM tick('2026-02-06Z');
UPDATE timeline_part SET sealed = true;
DROP TABLE cdp.event_2026_02;
SELECT unmerge(:m, at => '2026-02-07Z');
SELECT timeline_of(:d) AS d, timeline_of(:e) AS e;
SELECT count(*) > 0 AS ticked FROM tick('2026-02-08Z');
SELECT s.profile_id = :d AS d, s.stage, s.since, p.sole, p.sealed FROM lifecycle_state s JOIN timeline_part p USING (profile_id) WHERE s.profile_id IN (:d, :e) ORDER BY 1 DESC;

-- Merges by hand the other way round: who survives follows from what is left.
SELECT identify('{x:1}', at => '2026-03-01Z') AS x1, identify('{x:2}', at => '2026-03-01Z') AS x2, identify('{x:3}', at => '2026-03-01Z') AS x3 \gset
SELECT tag(:x1, 'city:o');
SELECT merge(:x3, :x1, at => '2026-03-02Z') AS first \gset
SELECT identify('{x:1,x:2}', at => '2026-03-03Z') = :x2 AS into_2;
SELECT tag(:x3, 'named 3, of 2', '2026-12-01Z'), enter_journey('cart', :x1, '{}', '2026-03-03Z') > 0 AS run;
SELECT tag(rb_build(ARRAY[:x3]), 'city:p'), tag(rb_build(ARRAY[:x3]), 'city:q');
INSERT INTO repurchase_clock (event, by) VALUES ('purchase', 'event');
SELECT define_segment('buyers', 'count(purchase) > 1') > 0 AS defined;
SELECT track('{x:2}', 'purchase', '{"value": 5}', '2026-03-03Z'::timestamptz + n * interval '1 h') = :x2 AS of_2 FROM generate_series(1, 2) n;
SELECT count(*) > 0 AS ticked FROM tick('2026-03-03 12:00Z');
-- 2 is the profile, and no profile any more
CREATE VIEW of_them AS SELECT x.n, ARRAY(SELECT s.stage FROM lifecycle_state s WHERE s.profile_id = p.id) AS stage, EXISTS (SELECT FROM purchase_due d WHERE d.profile_id = p.id) AS due,
	ARRAY(SELECT replace(t, chr(1), '*') FROM _all_tags_of(p.id) t WHERE NOT starts_with(t, 'rfm:') ORDER BY t COLLATE "C") AS tags, ARRAY(SELECT e.tag FROM tag_expiry e WHERE e.profile_id = p.id) AS ending
FROM unnest('{x:1,x:2,x:3}'::identifier[]) WITH ORDINALITY x (i, n) CROSS JOIN LATERAL (SELECT l.profile_id FROM identifier_link l WHERE l.identifier = x.i) p (id) ORDER BY 1;
SELECT * FROM of_them;
SELECT members, (SELECT rb_cardinality(segment_members('buyers'))) AS are FROM segment;
SELECT survivor - :x1 AS survivor, merged - :x1 AS merged, tags FROM profile_merge WHERE undone_at IS NULL AND leaf_a IN (:x1, :x3) ORDER BY merge_id;
SELECT unmerge(:first, at => '2026-03-04Z');
SELECT * FROM of_them;
SELECT survivor - :x1 AS survivor, merged - :x1 AS merged, tags FROM profile_merge WHERE undone_at IS NULL AND leaf_a IN (:x1, :x3) ORDER BY merge_id;
SELECT count(*) > 0 AS ticked FROM tick('2026-03-05Z');
SELECT * FROM of_them;
SELECT members, segment_members('buyers') = rb_build(ARRAY[:x1]) AS are FROM segment;
SELECT entered = rb_build(ARRAY[:x1]) AS x1_entered, exited = rb_build(ARRAY[:x2]) AS x2_left FROM segment_change WHERE segment = 'buyers' ORDER BY tick_no DESC LIMIT 1;
SELECT resolve('x:1') = :x1 AS x1, resolve('x:2') = :x1 AS x2, resolve('x:3') = :x3 AS x3, tags_of(:x1), tags_of(:x3);
SELECT profile_id = :x1 AS of_1, owner_id = :x2 AS by_2 FROM journey_state WHERE entered_at = '2026-03-03Z';
SELECT what, detail FROM journey_log WHERE run_id IN (SELECT run_id FROM journey_state WHERE entered_at = '2026-03-03Z') ORDER BY log_id;

-- Merged again, as of a time at which the first merge still stood.
SELECT identify('{x:7}', at => '2026-05-01Z') AS x7, identify('{x:8}', at => '2026-05-01Z') AS x8 \gset
SELECT identify('{x:7,x:8}', at => '2026-05-02Z') = :x7 AS one;
SELECT max(merge_id) AS merge_id FROM profile_merge \gset
SELECT unmerge(:merge_id, false, at => '2026-05-10Z');
SELECT identify('{x:7,x:8}', at => '2026-05-03Z') = :x7 AS again;
SELECT resolve('x:8', t) - :x7 AS one FROM generate_series('2026-05-01Z'::timestamptz, '2026-05-11Z', '5 days') t;
