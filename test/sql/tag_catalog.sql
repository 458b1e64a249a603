-- Names in any script, the catalog of tags, their sizes by day, tags from a query.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT count(identify(ARRAY['user_id:' || g]::identifier[], at => '2026-01-01')) FROM generate_series(1, 6) g;

-- names: by function and in rules, folded or not
CREATE TABLE name (n int, tag text, rule criteria);
INSERT INTO name VALUES (1, '大客户', '大客户'), (2, '城市:上海', '城市:上海'), (3, 'khách-hàng:Đà-Nẵng', 'khách-hàng:Đà-Nẵng'), (4, '🎉', '"🎉"'), (5, 'vip 🎉:"New York"', '"vip 🎉:""New York"""'),
	(6, 'a b', '"a b"'), (1, 'say "hi"', '"say ""hi"""'), (2, 'all', '"all"'), (3, 'count(x)', '"count(x)"'), (4, 'Straße', 'Straße'), (5, E'e\u0301', E'"e\u0301"'), (6, repeat('字', 85), repeat('字', 85)::criteria);
SELECT count(tag(n, tag)) FROM name;
SELECT tag, rule FROM name WHERE NOT (has_tag(n, tag) AND tagged(tag) = rb_build(ARRAY[n]) AND audience(rule, '2026-02-01') = rb_build(ARRAY[n]) AND matches(n, rule, '2026-02-01') AND rule::text::criteria = rule);
SELECT done FROM _fold_tags('2026-02-01', 1000);
SELECT tag, rule FROM name WHERE NOT (has_tag(n, tag) AND tagged(tag) = rb_build(ARRAY[n]) AND audience(rule, '2026-02-01') = rb_build(ARRAY[n]) AND audience_count(rule, '2026-02-01') = 1);
SELECT audience('大客户 | "🎉" & Straße', '2026-02-01'), tags_of(1), tags_of(5);
SELECT tag(7 - n, 'é'), tag(7 - n, tag) FROM name WHERE n = 5;		-- not the same as e and an accent
SELECT tagged('é'), tagged(E'e\u0301');
SELECT untag(n, tag) FROM name WHERE n > 2;
DELETE FROM name WHERE n > 2;

-- the catalog
INSERT INTO tag_key (key, exclusive) VALUES ('城市', true);
SELECT _tag_changes('lifecycle:potential', '{1,2,3}', NULL, '2026-01-01', 'first');
SELECT tag, key, maintained, exclusive, members, pending FROM tag_catalog WHERE members > 0 OR maintained ORDER BY tag COLLATE "C";
SELECT count(*) AS just_folded_away FROM tag_catalog WHERE members = 0;
SELECT done > 0 AS done FROM _fold_tags('2026-02-01', 1000);
SELECT tag, key, maintained, exclusive, members, pending FROM tag_catalog ORDER BY tag COLLATE "C";
SELECT members FROM tag_catalog WHERE tag = '大客户';
SELECT members FROM tag_catalog WHERE key = '城市';
-- sizes are those of tagged, whatever waits
INSERT INTO profile (profile_id, kind, canonical_id, first_at) SELECT g, 'person', g, '2026-01-01' FROM generate_series(7, 70000) g;
SELECT _tag_changes(chr(1) || 'kind:person', rb_fill('{}', 7, 70001), NULL, '2026-01-01', 'first');
SELECT tag(rb_fill('{}', 1, 70001), 'everybody'), tag(rb_build_agg(g), 'even') FROM generate_series(2, 70000, 2) g;
SELECT tag(rb_build_agg(g), 'rare') FROM generate_series(5, 70000, 60) g;
SELECT count(tag(g, 'rare')), count(untag(g + 1, 'even')) FROM generate_series(1, 1000, 7) g;
SELECT tag, members, members = rb_cardinality(tagged(tag)) AS right FROM tag_catalog WHERE tag IN ('everybody', 'even', 'rare') ORDER BY tag;

-- sizes by day
SELECT done FROM tick('2026-03-01 23:00Z') WHERE task = 'tag_sizes';
SELECT tag(1, 'new'), untag(rb_fill('{}', 1, 60001), 'everybody');
SELECT done FROM tick('2026-03-01 23:59Z') WHERE task = 'tag_sizes';
SELECT done FROM tick('2026-03-02 00:00Z') WHERE task = 'tag_sizes';
SELECT tag, day, members FROM tag_size WHERE tag IN ('everybody', 'new') ORDER BY tag, day;
SELECT done FROM tick('2026-03-01 12:00Z') WHERE task = 'tag_sizes';		-- earlier than before: harmless

-- from a query, under the caller's search path
CREATE TABLE gold (profile_id bigint, score int);
INSERT INTO gold VALUES (1, 5), (2, 7), (2, 7), (NULL, 9), (3, 1);
SELECT tag_from('SELECT profile_id FROM gold WHERE score > 4', 'gold'), tag_from('SELECT profile_id, score FROM gold', 'trial', '2026-04-01');
SELECT tagged('gold'), tagged('trial'), (SELECT count(*) FROM tag_expiry WHERE tag = 'trial') AS expire;
SELECT tag_from('SELECT profile_id FROM gold WHERE false', 'gold'), tag_from('SELECT g AS profile_id FROM generate_series(1, 25000) g', 'many'), tagged('gold');
SELECT rb_cardinality(tagged('many'));
\set SHOW_CONTEXT never
SELECT tag_from('SELECT score FROM gold', 'gold');
SELECT tag_from('SELECT 99999999 AS profile_id', 'gold');
SELECT tag_from('SELECT profile_id FROM gold', 'lifecycle:x');
SELECT tag_from('DELETE FROM gold RETURNING profile_id', 'gold');
SELECT tag_from(NULL, 'gold');
SELECT pg_relation_size(reltoastrelid) AS toasted FROM pg_class WHERE oid = 'cdp.tag_chunk'::regclass;

-- more single changes, and more merges, than there are locks in memory for
SELECT count(tag(g, 'lots')) FROM generate_series(1, 600) g;
SELECT rb_cardinality(tagged('lots'));
BEGIN;
SELECT count(merge(g, g + 1)) FROM generate_series(1001, 1400, 2) g;
SELECT count(tag(g, 'later')) FROM generate_series(1001, 1400) g;
COMMIT;
SELECT rb_cardinality(tagged('later')), rb_range(tagged('later'), 1001, 1010);
SELECT count(*) FROM profile p, _all_tags_of(p.profile_id) WHERE p.canonical_id <> p.profile_id;
