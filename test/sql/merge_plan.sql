-- Many merges in one batch: to the last row what the calls do one after the other, also when they are undone.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

CREATE FUNCTION dice(n int, m int, faces int) RETURNS int LANGUAGE sql IMMUTABLE RETURN (hashint8extended(n, m) & 1073741823) % faces;
CREATE FUNCTION name_of(n int) RETURNS text LANGUAGE sql IMMUTABLE
RETURN (ARRAY['user_id:u', 'email:e', 'anonymous_id:a', 'erp:x'])[1 + n % 4] || n / 4 || CASE n % 4 WHEN 1 THEN '@x.org' ELSE '' END;
CREATE FUNCTION start_over() RETURNS void LANGUAGE sql AS $$
	TRUNCATE profile, profile_queue, profile_batch, relation, identifier_link, extra_edge, profile_merge, never_merge, identity_refusal, tag_pending, tag_chunk, tag_own, inbox, rejected,
		event_message, event, event_tail, timeline_part, segment_dirty, trait_value, trait_change;
	SELECT setval('profile_id_seq', 1, false), setval('merge_id_seq', 1, false) $$;
CREATE TABLE seen (seed int, way int, stage text, what text);
CREATE FUNCTION look(seed int, way int, stage text) RETURNS void LANGUAGE sql AS $$
	SELECT _queue_batches('infinity', 100000);
	INSERT INTO seen
	SELECT seed, way, stage, format('link %s', to_jsonb(l) - '{peer,message_id}'::text[]) FROM identifier_link l
	UNION ALL SELECT seed, way, stage, format('edge %s %s', to_jsonb(e) - 'inactive_at', e.inactive_at IS NULL) FROM identity_edge e
	UNION ALL SELECT seed, way, stage, format('profile %s', to_jsonb(p)) FROM profile p
	UNION ALL SELECT seed, way, stage, format('merge %s %s', to_jsonb(m) - 'undone_at', m.undone_at IS NULL) FROM profile_merge m
	UNION ALL SELECT seed, way, stage, format('tag %s %s', ltrim(t, chr(1)), tagged(t)) FROM (SELECT DISTINCT tag FROM tag_pending UNION SELECT DISTINCT tag FROM tag_chunk) k (t)
	UNION ALL SELECT seed, way, stage, format('tag of %s: %s', profile_id, tags_of(profile_id)) FROM profile WHERE canonical_id = profile_id
	UNION ALL SELECT seed, way, stage, format('own %s', to_jsonb(o)) FROM tag_own o
	UNION ALL SELECT seed, way, stage, format('timeline %s %s %s', profile_id, part, sole) FROM timeline_part
	UNION ALL SELECT seed, way, stage, format('events of %s: %s', p.profile_id, num_events(timeline_of(p.profile_id))) FROM profile p WHERE canonical_id = profile_id
	UNION ALL SELECT seed, way, stage, format('rejected %s', to_jsonb(r)) FROM rejected r
	UNION ALL SELECT seed, way, stage, format('queue %s %s %s', profile_id, at, cause) FROM profile_queue $$;
-- Thirty people of one to three identifiers, some with tags; then calls of one to three identifiers, known and new ones.
-- way 0: one by one; 1: pairs together; 2: messages together
CREATE FUNCTION try(seed int, way int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	at timestamptz;
	one bigint;
BEGIN
	PERFORM start_over();
	FOR i IN 0 .. 29 LOOP
		one := identify(ARRAY(SELECT name_of(i * 4 + k)::identifier FROM generate_series(0, dice(i, seed, 3)) k), at => '2026-01-01Z');
		PERFORM tag(one, 't' || dice(i, seed + 1, 5)) WHERE dice(i, seed + 2, 2) = 0;
	END LOOP;
	FOR i IN 0 .. 2 LOOP
		at := timestamptz '2026-01-02Z' + i * interval '1 day';
		IF way = 0 AND seed % 2 = 0 THEN
			PERFORM identify(ARRAY[name_of(dice(i * 100 + k, seed + 3, 130)), name_of(dice(i * 100 + k, seed + 4, 130))], at => at, source => 's') FROM generate_series(1, 12) k;
		ELSIF way = 1 THEN
			PERFORM import_identities(format('SELECT name_of(dice(%s * 100 + k, %s + 3, 130)), name_of(dice(%1$s * 100 + k, %2$s + 4, 130)) FROM generate_series(1, 12) k', i, seed), 's', at => at);
		ELSE
			INSERT INTO inbox (payload, received_at)
			SELECT jsonb_build_object('type', 'track', 'event', 'view', 'source', 's', 'timestamp', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'identifiers',
									  ARRAY(SELECT name_of(dice(i * 100 + k, seed + 3 + j, 130)) FROM generate_series(0, dice(k, seed, 3)) j)), at
			FROM generate_series(1, 12) k;
			IF way = 0 THEN
				WHILE EXISTS (SELECT FROM inbox) LOOP
					PERFORM ingest_inbox(1);
				END LOOP;
			ELSE
				PERFORM ingest_inbox();
			END IF;
		END IF;
	END LOOP;
	PERFORM look(seed, least(way, 1), 'merged');
	PERFORM unmerge(m.merge_id, m.merge_id % 2 = 0) FROM (SELECT merge_id FROM profile_merge ORDER BY dice(merge_id::int, seed, 1000)) m;
	PERFORM look(seed, least(way, 1), 'undone');
END $$;
SELECT count(try(s, CASE w WHEN 0 THEN 0 ELSE 1 + s % 2 END)) FROM generate_series(1, 6) s, generate_series(0, 1) w;
SELECT * FROM ((SELECT seed, stage, what FROM seen WHERE way = 0 EXCEPT ALL SELECT seed, stage, what FROM seen WHERE way = 1)
	UNION ALL (SELECT seed, stage, '+ ' || what FROM seen WHERE way = 1 EXCEPT ALL SELECT seed, stage, '+ ' || what FROM seen WHERE way = 0)) d ORDER BY 1, 2, 3 LIMIT 10;
SELECT split_part(what, ' ', 1) AS what, count(*) > 100 AS enough FROM seen GROUP BY 1 ORDER BY 1;

-- More than the table of locks takes one by one, in chains and in rings; and into one.
SELECT start_over();
SELECT * FROM import_identities($$SELECT 'user_id:' || i, NULL FROM generate_series(1, 600) i$$, at => '2026-01-01');
SELECT * FROM import_identities($$SELECT 'user_id:' || i, 'user_id:' || 1 + i % 200 FROM generate_series(200, 1, -1) i$$, at => '2026-01-02');
SELECT * FROM import_identities($$SELECT 'user_id:' || 201, 'user_id:' || i FROM generate_series(201, 400) i$$, at => '2026-01-02');
SELECT * FROM import_identities($$SELECT 'user_id:' || i, 'user_id:' || i + 1 FROM generate_series(401, 599) i$$, at => '2026-01-02');
SELECT canonical_id, count(*) FROM profile GROUP BY 1 ORDER BY 1;
SELECT count(*), count(*) FILTER (WHERE survivor > merged) AS wrong FROM profile_merge;

DROP FUNCTION try, look, start_over, name_of, dice; DROP TABLE seen;
