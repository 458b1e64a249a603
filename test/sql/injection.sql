-- Names and values that look like SQL, JSON paths, patterns or formats are
-- taken as they are; objects in other schemas are never taken for ours.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET client_min_messages = warning;

CREATE TABLE nasty (n int GENERATED ALWAYS AS IDENTITY, s text);
INSERT INTO nasty (s) VALUES ($$a'b$$), ($$a"b$$), ($$'; DROP TABLE cdp.profile; --$$), ($$"; DROP TABLE cdp.profile; --$$), ($$a\b$$), ($$a\'; SELECT 1; --$$),
	(E'line\nbreak'), (E'tab\tcr\r'), ('$1'), ('%s %I %L %%'), ('a$$b$body$c'), ('/* a */ -- b'), ('{a,b}'), ('{"a": 1}'), ('a,b'), ('a:b'), ('(a|b)*'), ('.*'), ('[x]'),
	('{{entry.label}}'), ('NULL'), ('null'), ('true'), ('0'), ('*'), ('Ünïcödé 漢字 😀'), (repeat('x', 63)), (repeat('x', 64)), (repeat('漢', 30)), (repeat('y', 300)), (E'\x01\x1f\x7f'), (E'\\000'), ('\x00');


-- For every word ($1, and its number $2): one call in a transaction of its own.
-- What is not true is a line, what is refused is a line for each reason.
CREATE FUNCTION each(what text, call text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	w record;
	ok boolean;
	refused text[] := '{}';
BEGIN
	FOR w IN SELECT * FROM nasty ORDER BY n LOOP
		BEGIN
			EXECUTE 'SELECT ' || call INTO ok USING w.s, w.n;
			IF ok IS NOT TRUE THEN
				RETURN NEXT format('%s: wrong for %s', what, to_jsonb(w.s));
			END IF;
		EXCEPTION WHEN OTHERS THEN
			refused := refused || format('%s: %s %s', what, SQLSTATE, replace(SQLERRM, w.s, '<s>'));
		END;
	END LOOP;
	RETURN QUERY SELECT format('%s (%s words)', r, count(*)) FROM unnest(refused) r GROUP BY r ORDER BY r COLLATE "C";
END
$$;
CREATE FUNCTION who(n int) RETURNS identifier[] LANGUAGE sql IMMUTABLE RETURN ARRAY[identifier('user_id', 'owner ' || n)];
-- a word in a rule
CREATE FUNCTION q(s text) RETURNS text LANGUAGE sql IMMUTABLE RETURN '"' || replace(s, '"', '""') || '"';

-- identifiers, events, properties, sources, message ids
SELECT each('identifier', $$value(identifier('user_id', $1)) = btrim($1)$$);
SELECT each('identify', $$identify(who($2), at => '2026-01-01Z', source => $1) > 0$$);
SELECT each('track', $$track(who($2), $1, jsonb_build_object('label', $1, 'sku', $1, $1, $1), '2026-01-02Z', $1, $1, context => jsonb_build_object($1, $1)) = resolve((who($2))[1])$$);
SELECT each('event', $$length($1) = 300 OR EXISTS (SELECT FROM event WHERE event = $1 AND properties ->> $1 = $1 AND message_id = $1 AND source = $1 AND context ->> $1 = $1)$$);
SELECT each('timeline', $$event = $1 AND label = $1 FROM timeline_events(timeline_of(resolve((who($2))[1]))) WHERE $1 IN (SELECT message_id FROM event)
	UNION ALL SELECT true WHERE $1 NOT IN (SELECT message_id FROM event)$$);
SELECT each('rule about an event', $$audience(format('count(%s) >= 1 & count(%1$s[%1$s]) >= 1 & count(%1$s{%1$s = %1$s}) >= 1', q($1))::criteria, '2026-01-03Z') @> resolve((who($2))[1])
	OR $1 NOT IN (SELECT message_id FROM event)$$);
SELECT each('ingest', $$length($1) = 300 OR ingest(jsonb_build_object('type', 'track', 'userId', 'owner ' || $2, 'event', 'x', 'messageId', 'i' || $1, 'properties', jsonb_build_object($1, $1), 'timestamp', '2026-01-02T00:00:00Z')) = 1$$);
SELECT each('retract', $$retract($1, $1) IS NOT NULL$$);

-- traits, relations, kinds
SELECT each('set_trait', $$set_trait(resolve((who($2))[1]), $1, to_jsonb($1), '2026-01-03Z') IS NOT NULL$$);
SELECT each('trait', $$trait(resolve((who($2))[1]), $1) = to_jsonb($1)$$);
SELECT each('rule about a trait', $$audience(format('%s = %1$s', q($1))::criteria, '2026-01-03Z') @> resolve((who($2))[1])$$);
INSERT INTO trait_rule (name, type, searchable) SELECT s, 'text', true FROM nasty;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-03Z');
SELECT each('searchable trait', $$audience(format('%s = %1$s', q($1))::criteria, '2026-01-03Z') @> resolve((who($2))[1])$$);
SELECT each('relate', $$relate(1, 2, $1, '2026-01-01Z') IS NOT NULL$$);
SELECT each('related', $$related(1, $1, '2026-01-03Z') = 2$$);
SELECT each('kind', $$identify(ARRAY[identifier('account_id', 'k' || $2)], at => '2026-01-01Z', kind => $1) > 0$$);
SELECT each('kind in rules', $$audience_count('all', '2026-01-03Z', $1) = 1$$);

-- tags, segments, models
SELECT each('tag', $$tag(1, $1, at => '2026-01-03Z') IS NOT NULL$$);
SELECT each('has_tag', $$has_tag(1, $1) = ($1 = ANY (tags_of(1)))$$);
SELECT each('bulk tag', $$tag('{2,3}'::bitmap, $1, at => '2026-01-03Z') IS NOT NULL$$);
SELECT each('tagged', $$tagged($1) IN ('{}', '{1,2,3}', '{2,3}')$$);
SELECT each('tag in a rule', $$(rb_cardinality(tagged($1)) = 0) OR audience(q($1)::criteria, '2026-01-03Z') = tagged($1)$$);
SELECT each('untag', $$untag(1, $1, '2026-01-03Z') IS NOT NULL$$);
SELECT each('segment', $$define_segment($1, 'all', at => '2026-01-03Z') > 0$$);
SELECT count(*) FROM refresh_segments(at => '2026-01-03Z');
SELECT each('segment_members', $$segment_members($1) = audience('all', '2026-01-03Z') OR $1 NOT IN (SELECT name FROM segment)$$);
SELECT each('drop_segment', $$drop_segment($1, '2026-01-04Z') IS NOT NULL$$);
INSERT INTO rfm_model (name, event) SELECT s, s FROM nasty WHERE s ~ '^\w+$';
SELECT each('refresh_rfm', $$profiles >= 0 FROM refresh_rfm($1, '2026-01-04Z')$$);
SELECT each('rfm_of', $$count(*) >= 0 FROM rfm_of($1, '2026-01-04Z')$$);
SELECT each('lifecycle policy', $$lifecycle(timeline_of(1), '2026-01-04Z', $1) IS NOT NULL$$);

-- consent, journeys, messages
SELECT each('consent', $$consent(1, $1, $1, true, '2026-01-03Z') IS NOT NULL$$);
SELECT each('consented', $$consented(1, $1, $1, '2026-01-04Z') IS NOT NULL$$);
SELECT each('create_journey', $$create_journey($1, jsonb_build_object('entry', '{"manual": true}'::jsonb, 'start', $1, 'campaign', $1, 'purpose', $1,
	'steps', jsonb_build_object($1, jsonb_build_object('send', jsonb_build_object('channel', $1, 'template', $1, 'params', jsonb_build_object('p', $1)), 'next', 'end')))) = 1$$);
SELECT each('activate_journey', $$activate_journey($1) IS NOT NULL$$);
INSERT INTO channel (name, namespace) SELECT name, 'user_id' FROM journey ON CONFLICT DO NOTHING;
SELECT each('enter_journey', $$enter_journey($1, 1, jsonb_build_object('label', $1, $1, $1), '2026-01-03Z') > 0$$);
SELECT count(*) > 0 AS ticked FROM tick('2026-01-04Z');
SELECT each('message', $$count(*) = (SELECT count(*) FROM outbox WHERE template = $1) FROM claim_messages($1, 10, at => '2026-01-04Z') WHERE template = $1 AND campaign = $1$$);
SELECT count(*) AS messages, count(*) = (SELECT count(*) FROM journey) AS "one for each" FROM outbox;
SELECT each('reports', $$$1 NOT IN (SELECT name FROM journey) OR (SELECT count(*) FROM journey_stats($1), journey_results($1), journey_diagram($1)) > 0 AND (SELECT count(*) FROM why_no_message(1, $1, '2026-01-05Z')) > 0$$);

-- where names become SQL, or could
SELECT each('overlap', $$count(*) >= 0 FROM overlap($1, 'vip')$$);
SELECT each('split', $$count(*) = 2 FROM split_audience('{1,2,3}', '{0.5,0.5}', $1)$$);
SELECT each('connected_components', $$count(*) >= 0 FROM connected_components(format('SELECT %L, %L', $1, 'x'))$$);
SELECT each('import_events', $$accepted = 1 FROM import_events(format('SELECT %L AS user_id, %L AS event, ''2026-01-03Z''::timestamptz AS at, %L AS %I', 'u' || $2, 'imported', $1, $1), $1)$$);
SELECT each('set_traits', $$set_traits(format('SELECT %s AS profile_id, %L AS %I', resolve((who($2))[1]), $1, $1), $1) = 1$$);
SELECT each('tag_from', $$tag_from('SELECT 1::bigint AS profile_id', $1, at => '2026-01-05Z') IS NOT NULL$$);

-- Every query that is given as text is one query, run with its caller's rights.
CREATE TABLE victim (); CREATE ROLE regress_injector; SELECT grant_role('regress_injector', 'writer');
CREATE TABLE attack (a text);
INSERT INTO attack VALUES ('SELECT 1, 2; DROP TABLE victim'), ('SELECT 1, 2) q; DROP TABLE victim; SELECT (1, 2'), ('SELECT 1, 2) AS q (a, b); DROP TABLE victim; --'),
	('SELECT 1, 2) i LIMIT 0) AS q (a, b) ON true; DROP TABLE victim; --'), ('DROP TABLE victim'), ('DELETE FROM victim'), ('WITH x AS (DELETE FROM victim RETURNING 1) SELECT 1, 2 FROM x'),
	('SELECT 1, rolpassword FROM pg_authid'), ('TABLE victim'), (''), ('-- nothing'), ('SELECT 1, 2 -- and a comment'), ('SELECT 1, 2 /* open');
CREATE FUNCTION try_query(query text) RETURNS TABLE (f text, said text) LANGUAGE plpgsql AS $$
DECLARE
	call text;
BEGIN
	FOREACH call IN ARRAY ARRAY['connected_components($1)', 'import_events($1, ''t'')', 'import_identities($1, ''t'')', 'set_traits($1, ''t'')', 'tag_from($1, ''t'')', 'rfm($1, now())'] LOOP
		f := split_part(call, '(', 1);
		BEGIN
			SET LOCAL ROLE regress_injector;
			EXECUTE format('SELECT count(*) FROM cdp.%s', call) USING query;
			said := 'runs';
		EXCEPTION WHEN OTHERS THEN
			said := SQLSTATE || ' ' || SQLERRM;
		END;
		RESET ROLE;
		RETURN NEXT;
	END LOOP;
END
$$;
SELECT a AS query, string_agg(format('%s: %s', f, said), E'\n' ORDER BY f) AS said FROM attack, try_query(a) GROUP BY a ORDER BY a COLLATE "C";
SELECT count(*) FROM victim;
DROP TABLE victim, attack; DROP FUNCTION try_query; SELECT revoke_role('regress_injector'); DROP ROLE regress_injector;

SELECT count(*) FROM profile WHERE profile_id = 1;
DROP FUNCTION each, who, q; DROP TABLE nasty;
