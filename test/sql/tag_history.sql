-- Tags of the past: for keys that keep history, at any instant.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

SELECT count(identify(ARRAY['user_id:u' || g]::identifier[], at => '2026-01-01')) FROM generate_series(1, 8) g;
-- before history is kept: the present answers for any time
SELECT tag(1, 'vip', at => '2026-01-02'), tag(2, 'vip', at => '2026-01-02'), tag(1, 'other', at => '2026-01-02');
INSERT INTO tag_key (key, keep_history) VALUES ('vip', true), ('lifecycle', true);
INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('city', true, true);
SELECT audience('vip', '2026-01-01'), audience('vip', '2026-02-01');
SELECT untag(1, 'vip', '2026-02-01'), tag(3, 'vip', at => '2026-02-02'), tag('{3,4,5}'::bitmap, 'vip', '2026-03-01', '2026-02-03'), untag(3, 'vip', '2026-02-04'),
	tag(6, 'city:ulm', at => '2026-02-01'), tag(6, 'city:jena', at => '2026-02-05'), tag(7, 'other', at => '2026-02-05');
SELECT tag, profile_id, at::date, present FROM tag_history ORDER BY history_id;
SELECT at::date, audience('vip', at), audience('city:ulm', at), audience('city:jena', at), audience('!vip & city:ulm', at), audience('other', at) AS no_history
FROM generate_series('2026-01-31'::timestamptz, '2026-02-06', '1 day') at;
-- point and set agree, and the count
SELECT count(*) AS wrong FROM generate_series('2026-01-31'::timestamptz, '2026-02-06', '12 hours') at, profile p, unnest('{vip,!vip,vip & !city:ulm,city:jena | vip}'::criteria[]) rule
WHERE matches(p.profile_id, rule, at) <> (audience(rule, at) @> p.profile_id) OR audience_count(rule, at) <> rb_cardinality(audience(rule, at));
-- expiry, at its time
SELECT done FROM _expire_tags('2026-03-05', 100);
SELECT at, audience('vip', at) FROM unnest('{2026-02-28 23:59:59,2026-03-01,2026-03-04}'::timestamptz[]) at;
-- what is given back in time counts as of the last change
SELECT tag(1, 'vip', at => '2026-01-15');
SELECT at::date, audience('vip', at) @> 1 AS had FROM unnest('{2026-01-14,2026-01-16,2026-02-01,2026-02-02}'::timestamptz[]) at;

-- merged: what each had itself; from then on what is done to the one profile
SELECT tag(7, 'vip', at => '2026-03-01'), tag(8, 'vip', at => '2026-03-02'), untag(8, 'vip', '2026-03-03');
SELECT merge(8, 7, at => '2026-03-04') AS m \gset
SELECT untag(8, 'vip', '2026-03-06'), tag(7, 'vip', at => '2026-03-08'), untag(7, 'vip', '2026-03-09');
SELECT at::date, audience('vip', at) @> 8 AS had, matches(8, 'vip', at) AS matches FROM generate_series('2026-02-28'::timestamptz, '2026-03-10', '1 day') at;
-- undone: as if it had not been
SELECT unmerge(:m, at => '2026-03-10');
SELECT profile_id, at::date, present FROM tag_history WHERE profile_id IN (7, 8) ORDER BY history_id;
SELECT at::date, audience('vip', at) @> 7 AS seven, audience('vip', at) @> 8 AS eight FROM generate_series('2026-02-28'::timestamptz, '2026-03-10', '1 day') at;

-- What ended by itself while they were one ended for each: the survivor's own, one that it
-- gained, one that its exclusive key did not let in.
SELECT identify('{user_id:e1}', at => '2026-04-01') AS a, identify('{user_id:e2}', at => '2026-04-01') AS b \gset
SELECT tag(:a, 'city:ulm', '2026-04-05', '2026-04-01'), tag(:b, 'city:jena', '2026-04-06', '2026-04-01'), tag(:b, 'vip', '2026-04-05', '2026-04-02'), merge(:a, :b, at => '2026-04-03') AS m \gset
SELECT done FROM _expire_tags('2026-04-08', 100);
SELECT unmerge(:m, at => '2026-04-09');
SELECT profile_id - :a AS who, tag, at::date, present FROM tag_history WHERE profile_id IN (:a, :b) ORDER BY 1, 2, 3;
SELECT at::date, audience('city:ulm', at) @> :a AS a_ulm, audience('city:jena', at) @> :b AS b_jena, audience('vip', at) @> :b AS b_vip, audience('vip', at) @> :a AS a_vip
FROM generate_series('2026-04-01'::timestamptz, '2026-04-09', '2 days') at;

-- What changes nothing while they are one, but would have changed one alone; what was before is as it was.
SELECT identify('{user_id:f1}', at => '2026-04-01') AS a, identify('{user_id:f2}', at => '2026-04-01') AS b \gset
SELECT tag(:b, 'vip', at => '2026-04-02'), merge(:a, :b, at => '2026-04-03') AS m \gset
SELECT tag(:a, 'vip', at => '2026-04-04'), tag(:a, 'vip', at => '2026-04-05'), untag(:a, 'vip', '2026-04-06'), tag(:a, 'vip', '2026-04-08', '2026-04-07');
SELECT done FROM _expire_tags('2026-04-09', 100);
SELECT present, at::date FROM tag_history WHERE profile_id IN (:a, :b) ORDER BY history_id;
SELECT at::date, audience('vip', at) @> :a AS had FROM generate_series('2026-04-01'::timestamptz, '2026-04-09', '1 day') at;
-- it had ended before it was given again
SELECT tag(:a, 'vip', at => '2026-04-10');
SELECT unmerge(:m, at => '2026-04-11');
SELECT profile_id - :a AS who, present, at::date FROM tag_history WHERE profile_id IN (:a, :b) ORDER BY history_id;
SELECT count(*) AS nothing_is_kept FROM tag_call;

-- Tags that the system keeps: of one and of both, what they had then.
INSERT INTO tag_key (key, keep_history) VALUES ('rfm', true), ('segment', true);
SELECT define_segment('small', 'sum(purchase) < 10 & count(purchase) > 0', at => '2026-05-01') > 0 AS defined;
SELECT identify('{user_id:g1}', at => '2026-05-01') AS a, identify('{user_id:g2}', at => '2026-05-01') AS b \gset
SELECT track('{user_id:g2}', 'purchase', '{"value": 5}', '2026-05-02') = :b AS b;
SELECT track('{user_id:g1}', 'purchase', '{"value": 50}', '2026-05-02'::timestamptz + n * interval '1 h') = :a AS a FROM generate_series(1, 2) n;
CREATE TABLE kept (at timestamptz, leaf bigint, tag text);
CREATE FUNCTION keep(now timestamptz) RETURNS TABLE (who bigint, tags text[]) LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT tick(now);
	INSERT INTO kept SELECT now + interval '12 h', l.profile_id, t.tag
	FROM profile p JOIN profile l ON l.canonical_id = p.profile_id CROSS JOIN LATERAL _all_tags_of(p.profile_id) t (tag)
	WHERE p.profile_id >= resolve('user_id:g1') AND t.tag ~ '^(lifecycle|rfm|segment):';
	SELECT leaf - resolve('user_id:g1'), array_agg(tag ORDER BY tag COLLATE "C") FROM kept WHERE at = now + interval '12 h' GROUP BY 1 ORDER BY 1;
$$;
CREATE VIEW not_so AS SELECT at::date, tag, audience(tag::criteria, at) AS answer, k.ids AS kept
FROM (SELECT DISTINCT at FROM kept) i CROSS JOIN (SELECT DISTINCT tag FROM kept) t
	CROSS JOIN LATERAL (SELECT coalesce(rb_build_agg(canonical_id(k.leaf)), '{}') FROM kept k WHERE (k.at, k.tag) = (i.at, t.tag)) k (ids)
WHERE rb_fill(audience(tag::criteria, at), 1, resolve('user_id:g1')) <> rb_fill(k.ids, 1, resolve('user_id:g1'));
SELECT * FROM keep('2026-05-10');
SELECT merge(:a, :b, at => '2026-05-11') AS m \gset
SELECT * FROM keep('2026-05-12');
TABLE not_so;
-- Undone: what was noted while they were one stays with the survivor, and what each had before is as it was.
SELECT unmerge(:m, at => '2026-05-13');
SELECT * FROM keep('2026-05-14');
SELECT at, tag, kept @> :a AS a_then, answer @> :a AS a, kept @> :b AS b_then, answer @> :b AS b FROM not_so ORDER BY tag;
-- One that is the survivor no more, and merged itself: :y, which the evidence that is left makes a leaf of :x.
SELECT identify('{user_id:h1}', at => '2026-05-15') AS x, identify('{user_id:h2}', at => '2026-05-15') AS y, identify('{user_id:h3}', at => '2026-05-15') AS z \gset
SELECT track('{user_id:h3}', 'purchase', '{"value": 5}', '2026-05-15') AS id, track('{user_id:h1}', 'purchase', '{"value": 2}', '2026-05-16') AS id, merge(:z, :x, at => '2026-05-17') AS m \gset
SELECT identify('{user_id:h1,user_id:h2}', at => '2026-05-18') = :y AS y;
SELECT * FROM keep('2026-05-19') WHERE who >= :x - resolve('user_id:g1');
SELECT unmerge(:m, at => '2026-05-20');
SELECT canonical_id(:y) = :x AS a_leaf;
SELECT * FROM keep('2026-05-21') WHERE who >= :x - resolve('user_id:g1');
SELECT at, tag, answer, kept FROM not_so WHERE at > '2026-05-14';
SELECT tag, at::date, present FROM tag_history WHERE profile_id = :y ORDER BY tag, history_id;
-- The end of a tag, which a later call about another one came after, is noted once.
INSERT INTO tag_key (key, keep_history) VALUES ('trial', true), ('plan', true);
SELECT merge(identify('{user_id:t1}', at => '2026-06-01'), identify('{user_id:t2}', at => '2026-06-01'), at => '2026-06-02') > 0 AS merged;
SELECT tag(resolve('user_id:t1'), 'trial', '2026-06-04', at => '2026-06-03');
SELECT count(*) > 0 AS ticked FROM tick('2026-06-05');
SELECT untag(resolve('user_id:t1'), 'plan:a', '2026-06-06');
SELECT unmerge((SELECT max(merge_id) FROM profile_merge), at => '2026-06-07');
SELECT tag, at, present FROM tag_history WHERE profile_id = resolve('user_id:t1') ORDER BY history_id;

-- more than a thousand at once
SELECT rb_build_agg(identify(ARRAY['user_id:m' || n], at => '2026-06-01')) AS many FROM generate_series(1, 1100) n \gset
SELECT tag(rb_min(:'many'), 'vip', at => '2026-06-02'), tag(:'many'::bitmap, 'vip', at => '2026-06-03'), untag(:'many'::bitmap, 'vip', '2026-06-05');
SELECT at::date, rb_cardinality(audience('vip', at) & :'many') AS had FROM generate_series('2026-06-01'::timestamptz, '2026-06-05', '1 day') at;

-- Random changes and merges: at every instant, the state that was seen then.
TRUNCATE tag_history, tag_chunk, tag_pending, tag_expiry, tag_own, profile, identifier_link, profile_merge, profile_queue;
CREATE TABLE seen (at timestamptz, leaf bigint);
DO $$
DECLARE
	t timestamptz := '2026-01-01';
	r bigint;
	a bigint;
	b bigint;
BEGIN
	FOR g IN 1 .. 40 LOOP
		PERFORM identify(ARRAY['user_id:r' || g], at => t);
	END LOOP;
	FOR i IN 1 .. 250 LOOP
		r := hashint8extended(i, 7) & 1073741823;
		SELECT profile_id INTO a FROM profile ORDER BY profile_id OFFSET r % 40 LIMIT 1;
		SELECT profile_id INTO b FROM profile ORDER BY profile_id OFFSET (r >> 8) % 40 LIMIT 1;
		t := t + interval '1 hour';
		CASE (r >> 16) % 8
			WHEN 0, 1, 2 THEN PERFORM tag(a, 'vip', at => t);
			WHEN 3, 4 THEN PERFORM untag(a, 'vip', t);
			WHEN 5 THEN PERFORM tag(rb_build_agg(profile_id), 'vip', at => t) FROM profile WHERE profile_id % 11 = r % 11;
			WHEN 6 THEN PERFORM untag(rb_build_agg(profile_id), 'vip', t) FROM profile WHERE profile_id % 7 = r % 7;
			ELSE
				IF canonical_id(a) <> canonical_id(b) AND i % 3 = 0 THEN
					PERFORM merge(a, b, at => t);
				ELSE
					PERFORM _fold_tags(t, 10);
				END IF;
		END CASE;
		INSERT INTO seen SELECT t, p.profile_id FROM profile p WHERE _has_tag(p.canonical_id, 'vip');
	END LOOP;
END
$$;
SELECT (SELECT count(*) > 200 FROM tag_history) AS changes, (SELECT count(*) FROM profile_merge) AS merges;
SELECT count(*) AS instants, count(*) FILTER (WHERE a IS DISTINCT FROM s) AS wrong_sets
FROM (SELECT t, audience('vip', t) AS a, (SELECT coalesce(rb_build_agg(p.canonical_id), '{}') FROM seen s JOIN profile p ON p.profile_id = s.leaf WHERE s.at = t) AS s
	  FROM generate_series('2026-01-01 01:00'::timestamptz, '2026-01-11 10:00', '1 hour') t) x;
SELECT count(*) AS wrong FROM generate_series('2026-01-01 01:00'::timestamptz, '2026-01-11 10:00', '9 hours') t, profile p
WHERE p.canonical_id = p.profile_id AND matches(p.profile_id, 'vip', t) <> (audience('vip', t) @> p.profile_id);

SET client_min_messages = warning;
DROP TABLE seen, kept CASCADE;
DROP FUNCTION keep;
