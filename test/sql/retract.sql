SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- folded and not folded, owner and participants
CREATE FUNCTION buy(id text, at timestamptz, properties jsonb DEFAULT '{"total": 5, "products": [{"sku": "a", "price": 2}, {"sku": "b", "price": 3}]}') RETURNS bigint
LANGUAGE sql AS $$ SELECT cdp.track('{email:ada@example.com}', 'Order Completed', properties, at, id, participants => '{store:S1,rep:r}') $$;
SELECT buy('o1', '2026-01-01'), buy('o2', '2026-01-02'), buy('o3', '2026-01-02');
SELECT task, done FROM tick('2026-01-10') WHERE task ~ 'timeline|lifecycle' ORDER BY task;
SELECT buy('o4', '2026-01-04');
SELECT stage FROM lifecycle_state WHERE profile_id = 1;
SELECT retract('o2', 'test order', '2026-01-11'), retract('o4', 'test order', '2026-01-11');
SELECT i, timeline_of(resolve(i)) FROM unnest('{email:ada@example.com,store:S1,rep:r}'::identifier[]) i;
SELECT count(*) FROM event_tail;
SELECT message_id FROM event ORDER BY event_id;
SELECT message_id, event_id, at, profile_id, participants, event, reason, retracted_at FROM event_retraction ORDER BY 1;
-- twice is once; a replay does not bring it back
SELECT retract('o2', 'again'), (SELECT reason FROM event_retraction WHERE message_id = 'o2');
SELECT buy('o2', '2026-01-02'), buy('o4', '2026-01-04');
SELECT ingest('{"type": "track", "userId": "u1", "event": "x", "messageId": "o2", "timestamp": "2026-01-02"}');
SELECT count(*) FROM event;
-- the lifecycle is corrected
SELECT stage FROM lifecycle_state WHERE profile_id = 1;
SELECT retract('o3', 'refunded in full', '2026-01-11');
SELECT task, done > 0 AS some FROM tick('2026-01-12') WHERE task ~ 'lifecycle' ORDER BY task;
SELECT stage, since FROM lifecycle_state WHERE profile_id = 1;
SELECT retract('o1', 'refunded in full', '2026-01-12');
SELECT count(*) FROM profile_timeline;
SELECT timeline_of(1);
SELECT count(*) > 0 AS ticked FROM tick('2026-01-13');
SELECT stage FROM lifecycle_state WHERE profile_id = 1;
-- what cannot be
SELECT ingest('{"type": "identify", "userId": "u1", "messageId": "i1", "traits": {"age": 3}}');
\set VERBOSITY terse
SELECT retract('nothing of the kind', 'x');
SELECT retract('i1', 'x');
SELECT retract(NULL, 'x');
SELECT retract('o1', NULL);
\set VERBOSITY default

-- after a merge; with a role that has changed since; in a closed and a sealed part
SELECT track('{user_id:u2}', 'visit', at => '2026-02-01', message_id => 'v1'), track('{user_id:u3}', 'visit', at => '2026-02-02', message_id => 'v2'),
	track('{user_id:u3}', 'visit', at => '2026-02-03', message_id => 'v3');
SELECT count(*) > 0 AS ticked FROM tick('2026-02-04');
SELECT merge(resolve('user_id:u2'), resolve('user_id:u3')) IS NOT NULL AS merged;
INSERT INTO event_role (event, as_event) VALUES ('visit', 'call');
SELECT retract('v2', 'x');
SELECT timeline_of(resolve('user_id:u2'));
SELECT retract('v1', 'x'), retract('v3', 'x');
SELECT timeline_of(resolve('user_id:u2'));
SELECT track('{user_id:u4}', 'sealed', jsonb_build_object('label', n), '2026-03-01'::timestamptz + n * interval '1 hour', 'z' || n) = 0 FROM generate_series(1, 3) n;
SELECT track('{user_id:u4}', 'sealed too', '{}', '2026-03-01 03:00', 'z4') = 0;
SELECT count(*) > 0 AS ticked FROM tick('2026-03-04');
UPDATE timeline_part SET sealed = true WHERE profile_id = resolve('user_id:u4');
DELETE FROM event WHERE profile_id = resolve('user_id:u4') AND message_id <> 'z1';
SELECT retract('z1', 'x'), retract('z2', 'x');
SELECT retract('z3', 'x');
SELECT timeline_of(resolve('user_id:u4'));
SELECT message_id, event FROM event_retraction WHERE message_id LIKE 'z%' ORDER BY 1;

-- A lapse that was only hidden by the order is told silently, with its instant; the next one, in its time, is not silent.
SELECT track('{user_id:u9}', 'Order Completed', at => '2026-01-01', message_id => 'kept'), track('{user_id:u9}', 'Order Completed', at => '2026-02-01', message_id => 'undone');
SELECT count(*) > 0 AS ticked FROM tick('2026-02-02');
SELECT retract('undone', 'test order', '2026-03-20');
SELECT count(*) > 0 AS ticked FROM tick('2026-03-21');
SELECT count(*) > 0 AS ticked FROM tick('2026-07-21');
SELECT at, from_stage, to_stage, cause FROM lifecycle_change WHERE profile_id = resolve('user_id:u9') ORDER BY at;
SELECT was_stage, is_stage, cause FROM lifecycle_correction WHERE profile_id = resolve('user_id:u9');

-- Any events, folded up to any point, merged, any of them retracted in any
-- order: everything is as if they had never been.
CREATE FUNCTION rnd(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN ((hashtextextended(seed, 0) % below + below) % below)::int;
CREATE FUNCTION play(prefix text, with_retracted boolean) RETURNS void LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	n	int;
BEGIN
	FOR n IN 1 .. 200 LOOP
		IF with_retracted OR rnd('gone' || n, 3) > 0 THEN
			PERFORM track(ARRAY[format('email:%s%s@x.org', prefix, rnd('who' || n, 8))::identifier],
				(ARRAY['Order Completed', 'view', 'page'])[1 + rnd('what' || n, 3)],
				jsonb_build_object('total', rnd('total' || n, 3), 'products', jsonb_build_array(jsonb_build_object('sku', rnd('sku' || n, 2), 'price', 1))),
				'2026-04-01'::timestamptz + rnd('at' || n, 20) * interval '1 hour', prefix || n,
				participants => ARRAY[format('store:%s%s', prefix, rnd('store' || n, 2))::identifier]);
		END IF;
		IF n IN (60, 120) THEN
			PERFORM _fold_timelines('2026-05-01', 100);
		ELSIF n = 100 THEN
			PERFORM merge(resolve(format('email:%s1@x.org', prefix)), resolve(format('email:%s2@x.org', prefix)), at => '2026-04-03');
		END IF;
		IF with_retracted AND n > 50 AND rnd('gone' || n - 50, 3) = 0 THEN
			PERFORM retract(prefix || (n - 50), 'random');
		END IF;
	END LOOP;
	IF with_retracted THEN
		FOR n IN 151 .. 200 LOOP
			IF rnd('gone' || n, 3) = 0 THEN
				PERFORM retract(prefix || n, 'random');
			END IF;
		END LOOP;
	END IF;
	WHILE (_advance_lifecycle('2026-05-02', 1000)).done > 0 LOOP
	END LOOP;
END
$$;
DO $$ BEGIN PERFORM public.play('a', true); END $$;
DO $$ BEGIN PERFORM public.play('b', false); END $$;
SELECT (SELECT count(*) FROM event_retraction WHERE reason = 'random') > 40 AS many, count(*) AS profiles,
	count(*) FILTER (WHERE timeline_of(a.profile_id) IS DISTINCT FROM timeline_of(b.profile_id)) AS timelines,
	count(*) FILTER (WHERE (s.stage, s.due_at) IS DISTINCT FROM (t.stage, t.due_at)) AS stages
FROM identifier_link a JOIN identifier_link b ON b.identifier::text = regexp_replace(a.identifier::text, ':a', ':b') AND a.identifier <> b.identifier
	LEFT JOIN lifecycle_state s ON s.profile_id = a.profile_id LEFT JOIN lifecycle_state t ON t.profile_id = b.profile_id;
SELECT count(*) > 0 AS due_ones, count(*) FILTER (WHERE n <> 2) AS different
FROM (SELECT count(*) AS n FROM purchase_due d JOIN identifier_link l USING (profile_id) WHERE l.identifier::text ~ ':[ab][0-9]'
	  GROUP BY regexp_replace(l.identifier::text, ':[ab]', ':'), d.event, d.label, d.orders, d.last_at, d.gaps, d.own_gap, d.due_at) x;
-- and rebuilding changes nothing
CREATE TABLE before AS SELECT l.identifier, timeline_of(l.profile_id) AS t FROM identifier_link l WHERE l.identifier::text ~ ':a[0-9]';
SELECT count(*) > 0 AS rebuilt FROM rebuild('timelines');
SELECT count(*) FILTER (WHERE b.t IS DISTINCT FROM timeline_of(l.profile_id)) AS different FROM before b JOIN identifier_link l USING (identifier);

-- nobody is in a segment because of it
SELECT define_segment('lookers', 'count(look) > 0') > 0 AS defined, track('{user_id:looker}', 'look', at => '2026-06-01Z', message_id => 'looked') > 0 AS tracked;
SELECT count(*) > 0 AS ticked FROM tick('2026-06-02Z');
SELECT members FROM segment WHERE name = 'lookers';
SELECT retract('looked', 'a test', '2026-06-03Z');
SELECT members FROM refresh_segments('lookers', '2026-06-03Z');

SET client_min_messages = warning;
DROP FUNCTION rnd, play, buy;
DROP TABLE before;
