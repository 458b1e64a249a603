-- import_identities and ingest_inbox do together what identify and ingest do one by one.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- what a pair can be
SELECT identify(ARRAY['user_id:1'], at => '2026-01-01'), identify(ARRAY['user_id:2'], at => '2026-01-01'), identify(ARRAY['store:S1'], at => '2026-01-01');
SELECT * FROM import_identities($$VALUES
	('user_id:1', 'email:One@x.org'),			-- a new one for somebody
	('anonymous_id:a', 'email:a@x.org'),		-- somebody new
	('anonymous_id:b', 'email:a@x.org'),		-- and another one
	('user_id:1', 'user_id:2'),					-- a merge
	('user_id:7', NULL), ('', 'user_id:8'), (NULL, ''),
	('user_id:9', 'store:S1'),					-- another kind is related
	('user_id:10', 'user_id:10'),
	('user_id:11', 'email:null@x.org'),			-- blocked
	('user_id:null', 'phone:000'),				-- nothing is left
	('nobody', 'user_id:12'), ('email:@', 'user_id:12')$$, 'crm', at => '2026-01-02');
SELECT l.identifier, l.source, l.at, p.profile_id, p.canonical_id, p.kind FROM identifier_link l JOIN profile p USING (profile_id) ORDER BY l.identifier;
SELECT a, b, at, source FROM identity_edge ORDER BY a, b;
SELECT payload, reason, sqlstate, at FROM rejected ORDER BY rejected_id;
SELECT identifiers, reason, source FROM identity_refusal ORDER BY refusal_id;
SELECT survivor, merged, cause, source, evidence FROM profile_merge;
-- again: nothing new
SELECT * FROM import_identities($$VALUES ('user_id:1', 'email:one@x.org'), ('anonymous_id:a', 'email:a@x.org'), ('user_id:2', 'user_id:1')$$, at => '2026-01-03');
SELECT count(*), count(DISTINCT profile_id) FROM identifier_link;
-- earlier than what is known
SELECT * FROM import_identities($$VALUES ('anonymous_id:a', 'email:a@x.org')$$, at => '2025-12-01');
SELECT l.identifier, l.at, p.first_at, e.at FROM identifier_link l JOIN profile p USING (profile_id) JOIN identity_edge e ON e.a = l.identifier WHERE l.identifier = 'anonymous_id:a';
SELECT * FROM import_identities($$SELECT 'account:' || i, 'erp:' || i FROM generate_series(1, 3) i$$, kind => 'account', at => '2026-01-02');
SELECT p.kind, count(*) FROM profile p GROUP BY 1 ORDER BY 1;
SELECT rb_cardinality(tagged(chr(1) || 'kind:person')), count(*) FROM profile WHERE kind = 'person' AND canonical_id = profile_id;

-- errors
SELECT * FROM import_identities(NULL);
SELECT * FROM import_identities('SELECT 1', at => NULL);
SELECT * FROM import_identities('SELECT 1, 2', at => 'infinity');
SELECT * FROM import_identities('SELECT ''user_id:1''');
SELECT * FROM import_identities('DELETE FROM inbox RETURNING 1, 2');
SELECT * FROM import_identities('SELECT');

-- Random calls in batches, and one by one: the same people, the same evidence, the same times.
CREATE FUNCTION dice(n int, m int, faces int) RETURNS int LANGUAGE sql IMMUTABLE RETURN (hashint8extended(n, m) & 1073741823) % faces;
CREATE FUNCTION name_of(n int) RETURNS text LANGUAGE sql IMMUTABLE
RETURN (ARRAY['user_id:u', 'email:e', 'anonymous_id:a', 'erp:x', 'store:s'])[1 + n % 5] || n / 5 || CASE n % 5 WHEN 1 THEN '@x.org' ELSE '' END;
CREATE FUNCTION start_over() RETURNS void LANGUAGE sql AS $$
	TRUNCATE profile, profile_queue, profile_batch, relation, identifier_link, extra_edge, profile_merge, identity_refusal, tag_pending, tag_chunk, tag_own, inbox, rejected, event_message, event, event_tail,
		timeline_part, segment_dirty, trait_value, trait_change;
	SELECT setval('profile_id_seq', 1, false) $$;
CREATE FUNCTION components() RETURNS TABLE (names text, evidence text, links text, first_at timestamptz) LANGUAGE sql AS $$
	SELECT string_agg(l.identifier::text, ' ' ORDER BY l.identifier),
		(SELECT string_agg(format('%s %s %s', e.a, e.b, e.at::date), ', ' ORDER BY e.a, e.b) FROM identity_edge e WHERE e.a = ANY (array_agg(l.identifier))),
		string_agg(l.at::date::text, ' ' ORDER BY l.identifier),
		min(p.first_at)
	FROM identifier_link l JOIN profile p USING (profile_id) GROUP BY p.canonical_id $$;
CREATE TABLE seen AS SELECT 0 AS seed, 0 AS way, * FROM components() LIMIT 0;
CREATE FUNCTION try(seed int, way int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM start_over();
	FOR i IN 0 .. 7 LOOP
		IF way = 0 OR dice(i, seed, 3) = 0 THEN
			PERFORM identify(ARRAY[name_of(dice(i * 100 + k, seed, 60)), name_of(dice(i * 100 + k, seed + 99, 60))], at => timestamptz '2026-01-01Z' + dice(i, seed + 7, 30) * interval '1 day')
			FROM generate_series(1, 12) k;
		ELSE
			PERFORM import_identities(format('SELECT name_of(dice(%s * 100 + k, %s, 60)), name_of(dice(%1$s * 100 + k, %2$s + 99, 60)) FROM generate_series(1, 12) k', i, seed),
									  at => timestamptz '2026-01-01Z' + dice(i, seed + 7, 30) * interval '1 day');
		END IF;
	END LOOP;
	INSERT INTO seen SELECT seed, way, * FROM components();
END $$;
SELECT count(try(s, w)) FROM generate_series(1, 12) s, generate_series(0, 1) w;
SELECT * FROM ((SELECT seed, names, evidence, links, first_at FROM seen WHERE way = 0 EXCEPT ALL SELECT seed, names, evidence, links, first_at FROM seen WHERE way = 1)
	UNION ALL (SELECT seed, '+ ' || names, evidence, links, first_at FROM seen WHERE way = 1 EXCEPT ALL SELECT seed, '+ ' || names, evidence, links, first_at FROM seen WHERE way = 0)) d ORDER BY 1, 2 LIMIT 10;
SELECT count(*) > 50 AS enough FROM seen;

-- Messages: one after the other, the inbox in one go (which merges fewer), and one after the other by queries, as those are that are not plain.
CREATE FUNCTION message(n int, seed int) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN jsonb_strip_nulls(jsonb_build_object(
	'type', (ARRAY['track', 'track', 'track', 'page', 'identify', 'screen', 'group', 'alias'])[1 + dice(n, seed, 8)],
	'messageId', CASE WHEN dice(n, seed + 1, 4) > 0 THEN 'm' || dice(n, seed + 2, 60) END,
	'event', (ARRAY['view', ' Order Completed ', 'cart', ''])[1 + dice(n, seed + 3, 25) % 4],
	'userId', CASE WHEN dice(n, seed + 4, 3) = 0 THEN to_jsonb('u' || dice(n, seed + 5, 20)) WHEN dice(n, seed + 4, 12) = 1 THEN to_jsonb(dice(n, seed + 5, 9)) END,
	'anonymousId', CASE WHEN dice(n, seed + 6, 3) > 0 THEN 'a' || dice(n, seed + 7, 40) END,
	'previousId', (ARRAY['u', 'u', 'a'])[1 + dice(n, seed + 16, 3)] || dice(n, seed + 8, 20), 'groupId', 'g' || dice(n, seed + 8, 3),
	'timestamp', CASE dice(n, seed + 9, 9) WHEN 0 THEN '2026-02-30T00:00:00Z' WHEN 1 THEN '2026-02-01 10:00+01' ELSE '2026-02-0' || 1 + n % 9 || 'T00:00:00.5Z' END,
	'name', CASE WHEN dice(n, seed + 10, 2) = 0 THEN 'Home' END,
	'properties', CASE dice(n, seed + 11, 6) WHEN 0 THEN '7' WHEN 1 THEN '{"name": "other", "value": 3}' WHEN 2 THEN '{}' ELSE '{"value": 5, "product_id": "p", "tags": [1, {"a": null}]}' END::jsonb,
	'context', CASE dice(n, seed + 12, 11) WHEN 7 THEN '{"externalIds": [{"type": "user_id", "id": 7}, {"type": "erp", "id": "e2", "encoding": "sha1", "collection": "users"}]}'
		WHEN 8 THEN '{"externalIds": [{"type": "x", "id": "acme", "collection": "accounts"}]}' WHEN 9 THEN '{"externalIds": [{"type": "erp"}, 7, {"type": "erp", "id": " 7 ", "encoding": "none"}]}' WHEN 0 THEN '{"traits": {"email": "C@x.org"}}' WHEN 1 THEN '{"device": {"id": " d1 "}}' WHEN 2 THEN '{"externalIds": [{"type": "erp", "id": "7"}]}'
		WHEN 3 THEN '{"ip": "::1", "device": {"model": "x"}}' ELSE '{}' END::jsonb,
	'traits', CASE dice(n, seed + 13, 5) WHEN 0 THEN '{"age": 30}' WHEN 1 THEN '{"email": "t@x.org", "age": 31}' ELSE '{}' END::jsonb,
	'participants', CASE dice(n, seed + 14, 12) WHEN 0 THEN '["store:S1"]' WHEN 1 THEN '["store:S2", "user_id:u1", "store:S2"]' WHEN 2 THEN '[]' WHEN 3 THEN '["anonymous_id:guest", "erp:7"]' END::jsonb,
	'identifiers', CASE WHEN dice(n, seed + 15, 10) = 0 THEN '["email:I@x.org"]' WHEN dice(n, seed + 15, 40) = 1 THEN '["nonsense"]' END::jsonb));
CREATE TABLE told (seed int, way int, what text, said text);
CREATE FUNCTION tell(seed int, way int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	m cdp._message;
BEGIN
	PERFORM start_over();
	IF way = 0 THEN
		PERFORM ingest(message(n, seed), '2026-03-01') FROM generate_series(1, 120) n;
	ELSIF way = 2 THEN
		FOR n IN 1 .. 120 LOOP
			m := _read_message(message(n, seed), '2026-03-01');
			IF m.reason IS NULL THEN
				PERFORM _take_or_split(ARRAY[m], false, false);
			ELSE
				INSERT INTO rejected (payload, reason, sqlstate, at) VALUES (m.payload, m.reason, m.sqlstate, m.received_at);
			END IF;
		END LOOP;
	ELSE
		INSERT INTO inbox (payload, received_at) SELECT message(n, seed), '2026-03-01' FROM generate_series(1, 120) n;
		PERFORM ingest_inbox(70); PERFORM ingest_inbox();
	END IF;
	INSERT INTO told SELECT seed, way, 'people', format('%s | %s', names, first_at) FROM components();
	INSERT INTO told SELECT seed, way, 'event', format('%s %s %s %s %s %s %s %s', message_id, at, received_at, event, via, properties, context,
			ARRAY(SELECT min(l.identifier) FROM unnest(participants) WITH ORDINALITY p (leaf, nr) JOIN identifier_link l ON l.profile_id = leaf GROUP BY nr ORDER BY nr)) FROM event;
	INSERT INTO told SELECT seed, way, 'tail', format('%s %s %s', e.message_id, t.at, (SELECT min(l.identifier) FROM identifier_link l WHERE l.profile_id = t.profile_id))
		FROM event_tail t JOIN event e USING (event_id) WHERE e.message_id IS NOT NULL;
	INSERT INTO told SELECT seed, way, 'refused', format('%s %s %s', reason, identifiers, at) FROM identity_refusal;
	INSERT INTO told SELECT seed, way, 'rejected', format('%s %s %s', reason, sqlstate, payload) FROM rejected;
	INSERT INTO told SELECT seed, way, 'evidence', format('%s %s %s %s %s', a, b, at, cause, message_id) FROM identity_edge;
	INSERT INTO told SELECT seed, way, 'merge', format('%s %s %s %s', cause, evidence, at, source) FROM profile_merge;
	INSERT INTO told SELECT seed, way, 'relation', format('%s %s %s %s %s', (SELECT min(l.identifier) FROM identifier_link l WHERE l.profile_id = r.a), relation,
			(SELECT min(l.identifier) FROM identifier_link l WHERE l.profile_id = r.b), since, until)
		FROM relation r;
	INSERT INTO told SELECT seed, way, 'trait', format('%s %s %s %s', (SELECT min(l.identifier) FROM identifier_link l WHERE l.profile_id = v.profile_id), name, value, at) FROM trait_value v;
	INSERT INTO told SELECT seed, way, 'history', format('%s %s %s %s', (SELECT min(l.identifier) FROM identifier_link l WHERE l.profile_id = v.profile_id), v.name, d::date,
			(SELECT c.value FROM trait_change c WHERE (c.profile_id, c.name) = (v.profile_id, v.name) AND c.at <= d ORDER BY c.at DESC, c.value DESC LIMIT 1))
		FROM trait_value v, generate_series(timestamptz '2026-02-01', '2026-02-12', '1 day') d;
	INSERT INTO told SELECT seed, way, 'messages', message_id || (event_id IS NULL) FROM event_message;
END $$;
SELECT count(tell(s, w)) FROM generate_series(1, 12) s, generate_series(0, 2) w;
SELECT * FROM generate_series(1, 2) w CROSS JOIN LATERAL (
	(SELECT seed, what, said FROM told WHERE way = 0 EXCEPT ALL SELECT seed, what, said FROM told WHERE way = w)
	UNION ALL (SELECT seed, what, '+ ' || said FROM told WHERE way = w EXCEPT ALL SELECT seed, what, '+ ' || said FROM told WHERE way = 0)) d
WHERE w = 2 OR what <> 'merge' ORDER BY 1, 2, 3, 4 LIMIT 10;
SELECT what, count(*) > 20 AS enough FROM told GROUP BY 1 ORDER BY 1;
-- what a helper may be called with by whoever may call it
SELECT _stitch_pairs(NULL, NULL, NULL, NULL, NULL, NULL, NULL);
DROP FUNCTION try, tell, components, start_over, message, name_of, dice; DROP TABLE seen, told;
