SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- History of people who are known already, in bulk and one by one: who belongs
-- together, since when, by which evidence, and whom the clock looks at again.
CREATE FUNCTION dice(n int, m int, faces int) RETURNS int LANGUAGE sql IMMUTABLE RETURN (hashint8extended(n, m) & 1073741823) % faces;
-- 15 people with three names each; one in ten messages is about two, one in seven has a new name
CREATE FUNCTION message(n int, seed int, days int) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN jsonb_strip_nulls(jsonb_build_object(
	'type', (ARRAY['track', 'page', 'identify'])[1 + dice(n, seed, 3)], 'event', 'x', 'messageId', 'm' || n, 'source', 's' || n % 3,
	'userId', CASE WHEN dice(n, seed + 1, 3) < 2 THEN 'u' || dice(n, seed + 2, 15) END,
	'anonymousId', CASE WHEN dice(n, seed + 1, 3) > 0 THEN 'a' || CASE WHEN dice(n, seed + 3, 10) = 0 THEN dice(n, seed + 4, 15) ELSE dice(n, seed + 2, 15) END END,
	'identifiers', to_jsonb(CASE dice(n, seed + 5, 7) WHEN 0 THEN ARRAY['till:t' || n / 2] WHEN 1 THEN ARRAY['till:t' || dice(n, seed + 2, 15)] WHEN 2 THEN ARRAY['cookie:c' || dice(n, seed + 6, 9)] END),
	'timestamp', to_char('2026-01-01'::timestamp + dice(n, seed + 7, days) * interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
CREATE TABLE seen (seed int, way int, what text, said text);
CREATE TABLE was (profile_id bigint, first_at timestamptz);
CREATE FUNCTION play(seed int, way int, OUT moved int) LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE was, profile, profile_queue, profile_batch, relation, identifier_link, extra_edge, profile_merge, identity_refusal, tag_pending, tag_chunk, tag_own, inbox, rejected, event_message, event, event_tail, segment_dirty;
	PERFORM setval('profile_id_seq', 1, false);
	-- as they are known: half of them by one call
	PERFORM identify(ARRAY['user_id:u' || n, 'anonymous_id:a' || n]::identifier[], at => '2026-03-01') FROM generate_series(0, 14) n WHERE dice(n, seed, 2) = 0;
	PERFORM ingest(message(n, seed + 20, 90), '2026-05-01') FROM generate_series(1, 40) n;
	TRUNCATE profile_queue, profile_batch;
	INSERT INTO was SELECT p.profile_id, p.first_at FROM profile p;
	FOR batch IN 0 .. 3 LOOP
		IF way = 0 THEN
			PERFORM ingest(message(n, seed, 80), '2026-05-01') FROM generate_series(batch * 30 + 100, batch * 30 + 129) n;
		ELSIF way = 1 THEN
			PERFORM ingest(jsonb_agg(message(n, seed, 80) ORDER BY n), '2026-05-01') FROM generate_series(batch * 30 + 100, batch * 30 + 129) n;
		ELSE
			INSERT INTO inbox (payload, received_at) SELECT message(n, seed, 80), '2026-05-01' FROM generate_series(batch * 30 + 100, batch * 30 + 129) n;
			PERFORM ingest_inbox();
		END IF;
	END LOOP;
	INSERT INTO seen SELECT seed, way, 'link', format('%s %s %s', l.identifier, l.at::date, min(k.identifier))
		FROM identifier_link l JOIN identifier_link k ON resolve(k.identifier) = resolve(l.identifier) GROUP BY l.identifier, l.at;
	INSERT INTO seen SELECT seed, way, 'evidence', format('%s %s %s', a, b, at::date) FROM identity_edge;
	INSERT INTO seen SELECT seed, way, 'profile', format('%s %s', min(l.identifier), min(p.first_at)::date) FROM profile p JOIN identifier_link l USING (profile_id) GROUP BY p.canonical_id;
	INSERT INTO seen SELECT seed, way, 'event', format('%s %s %s', e.message_id, e.via, e.at::date) FROM event e;
	-- begins earlier now, and the clock does not look at it from there
	INSERT INTO seen SELECT seed, way, 'not looked at', format('%s %s', p.profile_id, p.first_at) FROM profile p JOIN was w USING (profile_id)
		WHERE p.first_at < w.first_at AND NOT EXISTS (SELECT FROM profile_queue q WHERE canonical_id(q.profile_id) = p.canonical_id AND q.at <= p.first_at);
	moved := (SELECT count(*) FROM profile p JOIN was w USING (profile_id) WHERE p.first_at < w.first_at);
	INSERT INTO seen SELECT seed, way, 'before its profile', l.identifier::text FROM identifier_link l JOIN profile p USING (profile_id) WHERE p.first_at > l.at;
	-- evidence stands in one place
	INSERT INTO seen SELECT seed, way, 'twice', format('%s %s', a, b) FROM identity_edge GROUP BY a, b HAVING count(*) > 1;
	INSERT INTO seen SELECT seed, way, 'stray', l.identifier::text FROM identifier_link l JOIN identifier_link k ON k.identifier = l.peer WHERE k.profile_id <> l.profile_id;
END $$;
SELECT sum(p.moved) > 20 AS many_moved FROM generate_series(4, 6) s, generate_series(0, 2) w, play(s, w) p;
SELECT what, count(*) > 20 AS enough FROM seen WHERE way = 0 GROUP BY 1 ORDER BY 1;
SELECT w, d.* FROM generate_series(1, 2) w CROSS JOIN LATERAL (
	(SELECT seed, what, '- ' || said AS said FROM seen WHERE way = 0 EXCEPT ALL SELECT seed, what, '- ' || said FROM seen WHERE way = w)
	UNION ALL (SELECT seed, what, '+ ' || said FROM seen WHERE way = w EXCEPT ALL SELECT seed, what, '+ ' || said FROM seen WHERE way = 0)) d ORDER BY 1, 2, 3, 4 LIMIT 20;

-- a limit within a time stands against it, in bulk as well
TRUNCATE seen;
INSERT INTO namespace_rule (namespace, max_per_profile, within) VALUES ('till', 1, '20 days'), ('cookie', 2, '30 days');
SELECT sum(p.moved) > 5 AS some_moved FROM generate_series(7, 7) s, generate_series(0, 1) w, play(s, w) p;
SELECT count(*) > 0 AS refused FROM identity_refusal WHERE reason LIKE 'not linked that early%';
SELECT d.* FROM ((SELECT seed, what, '- ' || said AS said FROM seen WHERE way = 0 EXCEPT ALL SELECT seed, what, '- ' || said FROM seen WHERE way = 1)
	UNION ALL (SELECT seed, what, '+ ' || said FROM seen WHERE way = 1 EXCEPT ALL SELECT seed, what, '+ ' || said FROM seen WHERE way = 0)) d ORDER BY 1, 2, 3 LIMIT 20;
DROP FUNCTION play, message, dice;
DROP TABLE seen, was;
