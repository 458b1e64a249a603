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
SELECT * FROM tag_own;
SELECT profile_id, part, sole FROM timeline_part ORDER BY 1, 2;
