-- Random lives of people who have to do with each other; some are erased.
-- Every string of a person and every id is unique, so brute force over all
-- tables finds what is left of somebody, and what others have lost.
-- Bigger: psql -v worlds=100 -f data_rights_random.sql
\if :{?worlds}
\else
\set worlds 2
\endif
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('city', true, true);
INSERT INTO trait_rule (name, type, searchable, pii) VALUES ('name', 'text', true, true), ('size', 'number', true, false), ('born', 'date', true, false);
SELECT count(_event_partition('2026-01-01Z'::timestamptz + n * interval '1 month')) FROM generate_series(0, 3) n;
SELECT create_journey('hello', '{"entry": {"manual": true, "key": "label"}, "start": "send", "steps": {"send": {"send": {"channel": "email", "template": "hello", "params": {"n": "{{trait.name}}"}}, "next": "hold"},
								"hold": {"wait": "3000d", "next": "end"}}}');
SELECT activate_journey('hello');
SELECT define_segment('viewers', '(a | city:y) & count(view) > 0') > 0 AS defined;
SELECT identify('{store:s0}', at => '2026-01-01Z', kind => 'store') < identify('{store:s1}', at => '2026-01-01Z', kind => 'store') AS shops;
SELECT max(done) > 0 AS ticked FROM tick('2026-01-01Z');

CREATE FUNCTION pg_temp.r(world int, step int, what text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT mod(abs(hashtextextended(format('%s %s %s', world, step, what), 7)), greatest(n, 1))::int $$;

-- Person n is whoever has the identifier user_id:person<n>w<world>x; all that is said about him holds that name.
CREATE FUNCTION pg_temp.live(world int, steps int) RETURNS void LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	now	timestamptz := '2026-01-02Z';
	w	text;
	v	text;
	p	bigint;
	q	bigint;
	m	bigint;
BEGIN
	FOR step IN 1 .. steps LOOP
		now := now + interval '17 h';
		w := format('person%sw%sx', pg_temp.r(world, step, 'who', 7), world);
		v := format('person%sw%sx', pg_temp.r(world, step, 'other', 7), world);
		p := resolve(('user_id:' || w)::identifier);
		q := resolve(('user_id:' || v)::identifier);
		BEGIN
			IF p IS NULL OR q IS NULL THEN
				PERFORM identify(ARRAY['user_id:' || x, format('email:%s@example.org', x)]::identifier[], jsonb_build_object('name', 'Dr. ' || x, 'size', step), now)
				FROM (VALUES (w), (v)) x (x) WHERE resolve(('user_id:' || x)::identifier) IS NULL;
				CONTINUE;
			END IF;
			CASE pg_temp.r(world, step, 'op', 19)
				WHEN 0, 1, 2 THEN PERFORM track(ARRAY['user_id:' || w]::identifier[], (ARRAY['view', 'Order Completed', 'cart'])[1 + step % 3],
					jsonb_build_object('sku', 'for ' || w, 'note', w, 'total', step, 'products', jsonb_build_array(jsonb_build_object('sku', 'item of ' || w))), now, format('message %s %s', w, step),
					context => jsonb_build_object('ip', w), participants => ARRAY['store:s' || step % 2]::identifier[]);
				WHEN 3 THEN PERFORM track(ARRAY['user_id:' || w]::identifier[], 'visit', jsonb_build_object('sku', 'n' || step), now, participants => ARRAY['user_id:' || v]::identifier[]);
				WHEN 4 THEN PERFORM identify(ARRAY['user_id:' || w, format('cookie:%sc%s', w, step)]::identifier[], jsonb_build_object('name', 'Prof. ' || w, 'born', '1990-01-0' || 1 + step % 9), now, 'form of ' || w);
				WHEN 5 THEN PERFORM identify(ARRAY[format('cookie:%sc%s', w, step), format('device_id:%sd%s', w, step)]::identifier[], at => now), set_trait(p, 'hobby', to_jsonb('hobby of ' || w), now);
				WHEN 6 THEN PERFORM tag(p, (ARRAY['a', 'city:x', 'city:y'])[1 + step % 3], now + interval '40 days', now);
				WHEN 7 THEN PERFORM untag(p, (ARRAY['a', 'city:x', 'city:y'])[1 + pg_temp.r(world, step, 'tag', 3)], now);
				WHEN 8 THEN PERFORM merge(p, q, w || ' is ' || v, now) WHERE p <> q;
				WHEN 9 THEN
					SELECT merge_id INTO m FROM profile_merge WHERE undone_at IS NULL ORDER BY pg_temp.r(world, step, 'm' || merge_id, 1000) LIMIT 1;
					PERFORM unmerge(m, step % 2 = 0, NULL, now) WHERE m IS NOT NULL;
				WHEN 10 THEN PERFORM split(ARRAY(SELECT l.identifier FROM identifier_link l WHERE resolve(l.identifier) = p ORDER BY md5(l.identifier::text || step) LIMIT 1), 'not ' || w, now);
				WHEN 11 THEN PERFORM consent(p, 'marketing', 'email', step % 4 > 0, now, 'said ' || w);
				WHEN 12 THEN PERFORM enter_journey('hello', p, jsonb_build_object('label', w), now);
				WHEN 13 THEN PERFORM relate(p, q, 'friend', now, source => w) WHERE p <> q;
				WHEN 14 THEN INSERT INTO inbox (payload) VALUES (jsonb_build_object('type', 'identify', 'userId', upper(w), 'traits', jsonb_build_object('email', w || '@Example.org')));
				WHEN 15 THEN PERFORM ingest(jsonb_build_object('type', 'track', 'userId', w), now), quarantine(('user_id:' || w)::identifier, 'by ' || w, now);
				WHEN 16 THEN PERFORM define_static_segment('static' || step, rb_build(ARRAY[p, q]));
				WHEN 17 THEN PERFORM claim_messages('email', 1, at => now), retract(message_id, 'said ' || w, now) FROM event_message WHERE event_id IS NOT NULL AND message_id LIKE 'message ' || w || '%'
					AND NOT EXISTS (SELECT FROM event_retraction r WHERE r.message_id = event_message.message_id) ORDER BY message_id LIMIT 1;
				ELSE PERFORM tick(now);
			END CASE;
		EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
			NULL;			-- a merge that is forbidden, a split that leaves nothing behind, somebody who was erased
		END;
	END LOOP;
END
$$;

-- Rows of all tables as text, and whose they are.
CREATE FUNCTION pg_temp.all_rows() RETURNS TABLE (place text, row_text text, id bigint) LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
BEGIN
	FOR place IN SELECT relation FROM _personal_data() ORDER BY 1 LOOP
		RETURN QUERY EXECUTE format('SELECT %L, t::text, (to_jsonb(t) ->> ''profile_id'')::bigint FROM cdp.%I t', place, place);
	END LOOP;
END
$$;
-- Columns in which one of these ids stands, or of a set that holds it.
CREATE FUNCTION pg_temp.places_of(ids bigint[]) RETURNS text LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	c record;
	found_here boolean;
	places text[] := '{}';
BEGIN
	FOR c IN
		SELECT t.relname, a.attname, CASE a.atttypid WHEN 'bigint'::regtype THEN '%I = ANY ($1)' WHEN 'bigint[]'::regtype THEN '%I && $1' ELSE '%I && rb_build($1)' END AS test
		FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid
		WHERE t.relnamespace = 'cdp'::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition AND a.attnum > 0 AND NOT a.attisdropped
			AND t.relname NOT IN ('erasure', 'erased_profile')
			AND (a.atttypid IN ('bigint[]'::regtype, 'bitmap'::regtype) OR a.atttypid = 'bigint'::regtype
				 AND a.attname IN ('profile_id', 'canonical_id', 'owner_id', 'recipient_id', 'survivor', 'merged', 'leaf_a', 'leaf_b', 'profile_a', 'profile_b', 'a', 'b', 'ended_a', 'ended_b', 'from_profile', 'to_profile'))
		ORDER BY 1, 2
	LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM cdp.%I WHERE ' || c.test || ')', c.relname, c.attname) INTO found_here USING ids;
		places := places || CASE WHEN found_here THEN ARRAY[c.relname || '.' || c.attname] END;
	END LOOP;
	RETURN array_to_string(places, ' ');
END
$$;
CREATE FUNCTION pg_temp.play(world int, steps int, OUT people bigint, OUT mode text, OUT was_found bigint, OUT left_over text, OUT ids_were int, OUT ids_left text, OUT in_a_set boolean, OUT shops_wrong bigint, OUT others_lost bigint)
LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	victim	bigint;
	leaves	bigint[];
	names	text;
	exports	jsonb;
BEGIN
	PERFORM set_config('client_min_messages', 'warning', true);
	PERFORM pg_temp.live(world, steps);
	people := (SELECT count(*) FROM profile WHERE kind = 'person');
	victim := (SELECT r FROM generate_series(0, 6) n, resolve(format('user_id:person%sw%sx', n, world)::identifier) r WHERE r IS NOT NULL ORDER BY pg_temp.r(world, n, 'victim', 1000000) LIMIT 1);
	leaves := ARRAY(SELECT profile_id FROM profile WHERE canonical_id = victim);
	-- whoever he was to others, too: identifiers that are somebody else's now do not count
	names := (SELECT string_agg(DISTINCT value(l.identifier), '|') FROM identifier_link l WHERE l.profile_id = ANY (leaves));
	mode := (ARRAY['erase', 'erase', 'anonymise'])[1 + world % 3];
	was_found := (SELECT count(*) FROM pg_temp.all_rows() a WHERE a.row_text ~* names);
	-- what others have that does not name him, as far as it is theirs alone
	CREATE TEMP TABLE theirs AS
		SELECT p.profile_id, r.relation, r.record FROM profile p CROSS JOIN LATERAL export_records(p.profile_id) r
		WHERE p.profile_id = p.canonical_id AND p.profile_id <> victim AND p.kind = 'person'
		  AND r.relation NOT IN ('event', 'relation', 'never_merge', 'profile_merge', 'identifier_split', 'extra_edge', 'identity_refusal', 'inbox', 'rejected', 'segment_change', 'lifecycle_state', 'outbox', 'delivery');
	ids_were := cardinality(string_to_array(pg_temp.places_of(leaves), ' '));
	PERFORM erase_profile(victim, mode, at => '2026-04-01Z');
	ids_left := pg_temp.places_of(leaves);
	SELECT string_agg(DISTINCT a.place, ' ') INTO left_over FROM pg_temp.all_rows() a
	WHERE a.row_text ~* ('(' || coalesce(names, 'nobody') || ')')
	  -- what others said of themselves when they had his name, or of him in words of their own
	  AND (a.place IN ('event', 'timeline_part') OR a.id NOT IN (SELECT p.profile_id FROM profile p) IS NOT FALSE)
	  AND a.place NOT IN ('never_merge', 'profile_merge', 'event_retraction', 'consent_log', 'relation', 'identifier_split', 'quarantined_identifier')
	  AND NOT EXISTS (SELECT FROM profile p JOIN identifier_link l USING (profile_id) WHERE strpos(a.row_text, value(l.identifier)) > 0);
	in_a_set := EXISTS (SELECT FROM tag_chunk c, unnest(leaves) i WHERE c.chunk = i >> 15 AND _chunk_contains(c.members, i))
		OR EXISTS (SELECT FROM trait_slice c, unnest(leaves) i WHERE c.chunk = i >> 15 AND _chunk_contains(c.members, i))
		OR EXISTS (SELECT FROM segment_change s WHERE s.entered && rb_build(leaves) OR s.exited && rb_build(leaves))
		OR EXISTS (SELECT FROM segment s WHERE s.given && rb_build(leaves));
	SELECT count(*) INTO others_lost FROM theirs t
	WHERE NOT EXISTS (SELECT FROM export_records(t.profile_id) r WHERE r.relation = t.relation AND r.record = t.record);
	DROP TABLE theirs;
	-- what the shops have is what rebuilding makes of the events that are left
	CREATE TEMP TABLE was AS SELECT p.profile_id, timeline_of(p.profile_id) AS timeline FROM profile p;
	PERFORM rebuild('timelines', '2026-04-01Z');
	SELECT count(*) INTO shops_wrong FROM was w WHERE timeline_of(w.profile_id) <> w.timeline;
	DROP TABLE was;
END
$$;
SELECT w AS world, p.people > 4 AS many, p.mode, p.was_found > 20 AS was_found, p.left_over, p.ids_were > 20 AS ids_were, p.ids_left, p.in_a_set, p.shops_wrong, p.others_lost FROM generate_series(1, :worlds) w, pg_temp.play(w, 80) p;
SELECT count(*) AS erased FROM erasure;
