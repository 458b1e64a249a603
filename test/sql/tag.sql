-- Tags: single and bulk changes, exclusive keys, expiry, triggers, merges.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

SELECT array_agg(identify(ARRAY['email:p' || g || '@example.com']::identifier[], at => '2026-01-01')) FROM generate_series(1, 6) g;

-- single
SELECT tag(1, 'vip'), tag(2, 'vip'), tag(2, 'city:shanghai'), tag(2, '大客户'), tag(2, 'a:b:c');
SELECT tagged('vip'), tagged('nobody'), tags_of(1), tags_of(2), tags_of(3), tags_of(99);
SELECT has_tag(1, 'vip'), has_tag(3, 'vip'), has_tag(99, 'vip'), has_tag(NULL, 'vip') IS NULL, tagged(NULL) IS NULL;
SELECT untag(1, 'vip'), untag(3, 'vip');
SELECT tagged('vip');
SELECT tag(1, 'vip'), tag(1, 'vip');
SELECT tagged('vip');

-- folded or not, the answer is the same
SELECT done > 0 AS done, lag FROM _fold_tags(now(), 1000);
SELECT count(*) AS pending FROM tag_pending;
SELECT tagged('vip'), tags_of(1), tags_of(2), has_tag(1, 'vip');
SELECT untag(1, 'vip');
SELECT tagged('vip'), tags_of(1), has_tag(1, 'vip');
SELECT done, lag FROM _fold_tags(now(), 1000);
SELECT tagged('vip'), tags_of(1), has_tag(1, 'vip');
SELECT done, lag FROM _fold_tags(now(), 1000);
-- the last member leaves no row behind
SELECT untag(2, 'vip');
SELECT done FROM _fold_tags(now(), 1000);
SELECT count(*) FROM tag_chunk WHERE tag = 'vip';

-- names
\set SHOW_CONTEXT never
SELECT tag(1, '');
SELECT tag(1, ':x');
SELECT tag(1, 'x:');
SELECT tag(1, E'x\ty');
SELECT tag(1, E'\x01kind:person');
SELECT tag(1, repeat('x', 256));
SELECT tag(1, repeat('x', 255));
SELECT untag(1, repeat('x', 255));
SELECT count(*) AS refused FROM unnest('{lifecycle:x,rfm:x,segment:x,consent:x.y,journey:x,held_out:x}'::text[]) t,
	LATERAL (SELECT _is_maintained(t)) m(m) WHERE m;
SELECT tag(1, 'lifecycle:churned');
SELECT untag(1, 'segment:x');
SELECT tag('{1,2}'::bitmap, 'rfm:champions');
SELECT untag('{1,2}'::bitmap, 'consent:marketing.email');
SELECT tag(1, 'lifecycle'), untag(1, 'lifecycle');
SELECT tag(99, 'x');
SELECT untag(99, 'x');
SELECT tag('{1,98,99}'::bitmap, 'x');
SELECT tag(NULL::bigint, 'x');
SELECT tag(1, NULL);
SELECT tag(NULL::bitmap, 'x');
SELECT tagged('x');

-- maintained tags: read, not listed
SELECT _tag_changes('lifecycle:churned', '{1,2}', NULL, '2026-01-01', 'event');
SELECT tagged('lifecycle:churned'), has_tag(1, 'lifecycle:churned'), tags_of(1);
SELECT _tag_changes('lifecycle:churned', '{3}', '{1}', '2026-01-01', 'event');
SELECT tagged('lifecycle:churned');
SELECT _tag_changes('lifecycle:churned', NULL, NULL, '2026-01-01', 'event');
SELECT _tag_changes('lifecycle:churned', '{}', '{2,3}', '2026-01-01', 'event');
SELECT tagged('lifecycle:churned');

-- bulk
SELECT tag('{1,2,3}'::bitmap, 'news'), tag('{3,4}'::bitmap, 'news'), untag('{1,6}'::bitmap, 'news');
SELECT tagged('news');
SELECT tag('{}'::bitmap, 'news'), untag('{}'::bitmap, 'news');
SELECT tagged('news');

-- exclusive keys
INSERT INTO tag_key (key, exclusive) VALUES ('city', true), ('free', false);
SELECT tags_of(2);
SELECT tag(2, 'city:beijing');
SELECT tags_of(2);
SELECT tag(2, 'city:beijing'), tag(3, 'city:beijing'), tag(4, 'city:xian'), tag(4, 'free:a'), tag(4, 'free:b'), tag(4, 'city');
SELECT done > 0 AS done FROM _fold_tags(now(), 1000);
SELECT tag(4, 'city:beijing'), tag('{2,5}'::bitmap, 'city:shanghai');
SELECT tags_of(2), tags_of(3), tags_of(4), tags_of(5);
SELECT tag('{2,3,4,5}'::bitmap, 'city:xian');
SELECT tagged('city:beijing'), tagged('city:shanghai'), tagged('city:xian'), tags_of(4);

-- expiry
SELECT tag(1, 'trial', '2026-02-01'), tag(2, 'trial', '2026-02-10'), tag('{3,4}'::bitmap, 'trial', '2026-02-20'), tag(5, 'trial', '2026-02-01');
SELECT tag(5, 'trial');					-- now for good
SELECT done, lag FROM _expire_tags('2026-01-31', 100);
SELECT done, lag FROM _expire_tags('2026-02-10', 1);
SELECT tagged('trial');
SELECT done, lag FROM _expire_tags('2026-02-10', 100);
SELECT tagged('trial');
SELECT tag(3, 'trial', '2026-03-01'), untag(4, 'trial');
SELECT tag, profile_id, expires_at FROM tag_expiry ORDER BY 1, 2;
SELECT done, lag FROM _expire_tags('2026-12-31', 100);
SELECT tagged('trial');
SELECT untag('{5}'::bitmap, 'trial');

-- journeys hear of real changes only
INSERT INTO journey_listener VALUES ('enters', 'vip', 'j', 1, 'entry'), ('leaves', 'vip', 'j', 1, 'exit'), ('leaves', 'city:xian', 'j', 1, 'exit'),
	('enters', 'lifecycle:churned', 'j', 1, 'entry');
SELECT tag(1, 'vip', at => '2026-03-01'), tag(1, 'vip', at => '2026-03-02'), untag(2, 'vip', '2026-03-03'), tag(2, 'other', at => '2026-03-03');
SELECT done > 0 AS done FROM _fold_tags(now(), 1000);
SELECT tag(1, 'vip', at => '2026-03-04'), untag(1, 'vip', '2026-03-05'), untag(1, 'vip', '2026-03-06');
SELECT tag('{1,2}'::bitmap, 'vip', '2026-04-01', '2026-03-07'), tag('{2,3}'::bitmap, 'vip', '2026-04-01', '2026-03-08');
SELECT tag(2, 'city:beijing', at => '2026-03-09'), tag('{3,4}'::bitmap, 'city:beijing', at => '2026-03-10');
SELECT done FROM _expire_tags('2026-05-01', 100);
SELECT source, name, profile_id, at FROM journey_trigger ORDER BY at, trigger_id;
DELETE FROM journey_trigger;
SELECT _tag_changes('lifecycle:churned', rb_build(ARRAY[n::bigint]), NULL, '2026-06-01', cause)
FROM unnest('{event,tag,time,backfill,merge,policy,first}'::text[]) WITH ORDINALITY c(cause, n) WHERE n <= 6;
SELECT source, name, profile_id FROM journey_trigger ORDER BY trigger_id;
DELETE FROM journey_trigger;

-- many: straight into the chunks
INSERT INTO profile (profile_id, kind, canonical_id, first_at) SELECT g, 'person', g, '2026-01-01' FROM generate_series(7, 70000) g;
SELECT _tag_changes(E'\x01kind:person', rb_fill('{}', 7, 70001), NULL, '2026-01-01', 'first');
SELECT tag(rb_fill('{}', 1, 70001), 'all');
SELECT count(*) AS pending FROM tag_pending WHERE tag = 'all';
SELECT chunk, members FROM tag_chunk WHERE tag = 'all' ORDER BY 1;
SELECT untag(40000, 'all'), tag(7, 'some');
SELECT rb_cardinality(tagged('all')), tags_of(40000), tags_of(69999);
SELECT untag(rb_fill('{}', 100, 40001), 'all');
SELECT chunk, members FROM tag_chunk WHERE tag = 'all' ORDER BY 1;
SELECT count(*) AS pending FROM tag_pending WHERE tag = 'all';
SELECT untag(rb_fill('{}', 1, 32768), 'all');
SELECT chunk, members FROM tag_chunk WHERE tag = 'all' ORDER BY 1;
SELECT _tag_changes('lifecycle:churned', rb_fill('{}', 1, 2001), NULL, '2026-07-01', 'time');
SELECT source, name, count(*), min(profile_id), max(profile_id) FROM journey_trigger GROUP BY 1, 2;
SELECT tag(rb_fill('{}', 1, 2001), 'city:lhasa');
SELECT rb_cardinality(tagged('city:lhasa'));
SELECT tagged('city:beijing'), tagged('city:xian'), tags_of(2);

-- folding in small steps: the chunk with most rows first
SELECT tag(p, 'x') FROM generate_series(1, 5) p \g /dev/null
SELECT tag(p, 'y') FROM generate_series(32768, 32775) p \g /dev/null
UPDATE tag_pending SET since = now();
SELECT done > 0 AS done FROM _fold_tags(now(), 1);
SELECT tag, count(*) FROM tag_pending WHERE tag IN ('x', 'y') GROUP BY 1;
UPDATE tag_pending SET since = now() - interval '1 hour' WHERE tag = 'x';
SELECT tag(p, 'y') FROM generate_series(32768, 32775) p \g /dev/null
SELECT done, lag < '1 min' AS rest_is_new FROM _fold_tags(now(), 1);
SELECT tag, count(*) FROM tag_pending WHERE tag IN ('x', 'y') GROUP BY 1;

-- merges: the tags move, a call that names the merged profile means the survivor
SELECT tag(5, 'city:lhasa'), tag(6, 'city:xian'), tag(6, 'vip'), tag(5, 'gold'), tag(6, 'trial', '2026-09-01'), tag(6, 'gold');
SELECT tags_of(5), tags_of(6);
SELECT merge(5, 6) > 0 AS merged;
SELECT tags_of(5), tags_of(6), tags FROM profile_merge;
SELECT tagged('gold'), tagged('trial'), has_tag(6, 'trial'), _universe('person', '2026-02-01') @> 6::bigint AS in_universe;
SELECT tag(6, 'by name'), tag('{6}'::bitmap, 'in bulk'), untag(6, 'gold');
SELECT tagged('by name'), tagged('in bulk'), tagged('gold');
SELECT tag, profile_id FROM tag_expiry WHERE tag = 'trial';
SELECT _has_tag(6, 'trial'), _has_tag(6, 'vip'), _all_tags_of(6);

-- the universe
SELECT kind, rb_cardinality(_universe(kind, at::timestamptz)) FROM (VALUES ('person', '2026-01-01'), ('person', '2025-12-31'), ('store', '2026-01-01')) v(kind, at);
UPDATE profile SET suppressed = true WHERE profile_id = 3;
UPDATE profile SET erased_at = '2026-02-01' WHERE profile_id = 4;
SELECT rb_range(_universe('person', '2026-01-01'), 0, 8);
UPDATE profile SET suppressed = false WHERE profile_id = 3;
SELECT rb_range(_universe('person', '2026-01-01'), 0, 8);
-- a canonical profile is as old as its oldest leaf; many or few younger ones
UPDATE profile SET first_at = '2026-03-01' WHERE profile_id IN (1, 5);
SELECT rb_range(_universe('person', '2026-02-01'), 0, 8), rb_range(_universe('person', '2026-03-01'), 0, 8);
UPDATE profile SET first_at = '2026-03-01' WHERE profile_id NOT IN (2, 6);
SELECT _universe('person', '2026-02-01'), rb_cardinality(_universe('person', '2026-03-01'));

-- instants: journeys reckon from them
SELECT tag(1, 'x', at => 'infinity');
SELECT tag(1, 'x', at => NULL);
SELECT tag(1, 'x', '-infinity');
SELECT untag(1, 'x', '-infinity');
SELECT tag('{1}'::bitmap, 'x', at => 'infinity');
SELECT untag('{1}'::bitmap, 'x', NULL);
SELECT tag(1, 'x', 'infinity'), tags_of(1);

-- toggling: folded or not, expiring, of a special key, merged
SELECT toggle_tag(1, 'fav') AS a, toggle_tag(1, 'fav') AS b, toggle_tag(1, 'fav') AS c, has_tag(1, 'fav');
SELECT done > 0 AS folded FROM _fold_tags('2026-05-01', 1000);
SELECT toggle_tag(1, 'fav'), has_tag(1, 'fav'), toggle_tag(1, 'fav'), has_tag(1, 'fav');
SELECT tag(1, 'soon', '2026-06-01'), toggle_tag(1, 'soon'), toggle_tag(1, 'soon'), (SELECT count(*) FROM tag_expiry WHERE (tag, profile_id) = ('soon', 1)) AS expires;
INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('mood', true, true);
SELECT toggle_tag(1, 'mood:good', '2026-05-01'), toggle_tag(1, 'mood:bad', '2026-05-02'), toggle_tag(1, 'mood:bad', '2026-05-03'), has_tag(1, 'mood:good'), has_tag(1, 'mood:bad');
SELECT tag, at, present FROM tag_history WHERE profile_id = 1 AND tag LIKE 'mood:%' ORDER BY at, tag;
SELECT tag(3, 'fav'), merge(1, 3) AS m \gset
SELECT toggle_tag(3, 'fav'), toggle_tag(3, 'other'), toggle_tag(3, 'other'), toggle_tag(1, 'other');
SELECT tags_of(3) = tags_of(1) AS one, has_tag(3, 'fav'), has_tag(1, 'other');
SELECT unmerge(:m, false);
SELECT has_tag(1, 'fav'), has_tag(3, 'fav'), has_tag(1, 'other'), has_tag(3, 'other');
SELECT toggle_tag(1, NULL);
SELECT toggle_tag(NULL, 'x');
SELECT toggle_tag(1, 'x', NULL);
SELECT toggle_tag(999999, 'x');
SELECT toggle_tag(1, 'segment:x');
SELECT toggle_tag(1, 'x', 'infinity');
