-- Who is made in bulk is looked at like everybody else, when his time has come; a bitmap stands for many until then.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

SELECT * FROM import_identities($$SELECT 'user_id:' || i, 'email:' || i || '@x.org' FROM generate_series(1, 50) i$$, at => '2026-01-01');
-- in one batch: twelve of today, eight whose time is still to come
SELECT ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'purchase', 'userId', 'v' || i, 'timestamp', CASE WHEN i % 5 < 3 THEN '2026-01-02T00:00:00Z' ELSE '2027-01-02T00:00:00Z' END)) FROM generate_series(1, 20) i), '2026-01-02');
SELECT at, rb_cardinality(members) FROM profile_batch ORDER BY 1;
SELECT count(*) FROM profile_queue;
SELECT value FROM status('2026-01-03') WHERE item ~ '^profiles to look at' ORDER BY item;
SELECT value FROM status('2025-01-03') WHERE item ~ '^profiles to look at' ORDER BY item;
SELECT _due_tasks('2026-01-03'), rb_cardinality(audience('all', '2026-01-03'));

-- one is erased, two are merged, one was there earlier than he was known to be
SELECT erase_profile(resolve('user_id:3')) ->> 'mode';
SELECT rb_cardinality(members) FROM profile_batch ORDER BY at LIMIT 1;
SELECT merge(resolve('user_id:1'), resolve('user_id:2')) > 0, identify('{user_id:4}', at => '2025-06-01') > 0;

-- some at a time
SELECT _queue_batches('2025-12-31', 10);
SELECT _queue_batches('2026-01-03', 10);
SELECT (SELECT count(*) FROM profile_queue WHERE cause = 'first' AND at <= '2026-01-03') AS queued, (SELECT sum(rb_cardinality(members)) FROM profile_batch) AS left_over;
SELECT count(*), min(lag) FROM tick('2026-01-03') WHERE task = 'lifecycle';
SELECT (SELECT count(*) FROM profile_batch) AS batches, (SELECT count(*) FROM profile_queue WHERE at <= '2026-01-03') AS queued, (SELECT count(*) FROM profile_queue) AS later;
SELECT stage, count(*), min(since) FROM lifecycle_state GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM profile p WHERE p.canonical_id = p.profile_id AND p.first_at <= '2026-01-03' AND NOT EXISTS (SELECT FROM lifecycle_state s WHERE s.profile_id = p.profile_id);
SELECT count(*) FROM tick('2027-01-03') WHERE task = 'lifecycle';
SELECT stage, count(*) FROM lifecycle_state GROUP BY 1 ORDER BY 1;
CREATE TABLE before AS SELECT * FROM lifecycle_state;
SELECT count(*) FROM rebuild('lifecycle');
SELECT count(*) AS different FROM (SELECT profile_id, stage, since FROM before EXCEPT SELECT profile_id, stage, since FROM lifecycle_state) d;
DROP TABLE before;

-- A batch that fills a whole chunk of the universe writes it at once; the others of it wait.
SELECT nextval('profile_id_seq') < 1000 AS few;
SELECT * FROM import_identities($$SELECT 'user_id:c' || i, 'email:c' || i || '@x.org' FROM generate_series(1, 70000) i$$, at => '2026-01-04');
SELECT chunk, _chunk_cardinality(members) FROM tag_chunk WHERE tag = chr(1) || 'kind:person' ORDER BY chunk;
CREATE FUNCTION universe() RETURNS TABLE (members bigint, missing bigint, too_many bigint) LANGUAGE sql AS $$
	SELECT rb_cardinality(u), rb_cardinality(rb_andnot(p, u)), rb_cardinality(rb_andnot(u, p))
	FROM audience('all', '2027-01-05') u,
		(SELECT rb_build_agg(profile_id) AS p FROM profile WHERE canonical_id = profile_id AND NOT suppressed AND erased_at IS NULL) x
$$;
SELECT * FROM universe();
SELECT max(profile_id) - min(profile_id) = count(*) - 1 AS neighbours, count(*) FROM profile WHERE first_at = '2026-01-04';
SELECT count(*) AS waiting FROM tag_pending WHERE tag = chr(1) || 'kind:person' AND profile_id BETWEEN 32768 AND 65535;
-- whoever is in it is merged, parted, erased and suppressed like everybody else
SELECT merge(resolve('user_id:c40000'), resolve('user_id:c40001')) > 0 AS merged;
SELECT * FROM universe();
SELECT unmerge(max(merge_id)) IS NOT NULL AS parted FROM profile_merge;
SELECT erase_profile(resolve('user_id:c40002')) ->> 'mode', erase_profile(resolve('user_id:c40003'), 'suppress') ->> 'mode';
SELECT * FROM universe();
SELECT done > 37000 AS folded FROM _fold_tags('2026-01-05', 100000);
SELECT * FROM universe();
