-- Somebody about whom nearly every table says something is erased: no table names any
-- of his ids or words any more, and what he did has left nothing with others.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- ids that no other number is like: rows are searched as text, sets are written as lists
SELECT setval('profile_id_seq', 7700000);
SELECT identify('{store:s}', at => '2025-12-01') AS shop, identify('{user_id:max}', at => '2025-12-01') AS max,
	identify('{user_id:zoe-of-row-1,cookie:zoe}', '{"name": "zoe", "size": 3}', '2025-12-02') AS zoe, identify('{user_id:zoe-of-row-2}', at => '2025-12-03') AS zoe2, identify('{user_id:zack}', at => '2025-12-03') AS zack \gset
CREATE FUNCTION find() RETURNS text LANGUAGE plpgsql SET search_path = public, cdp AS $$
DECLARE
	place text;
	n bigint;
	places text[] := '{}';
BEGIN
	FOR place IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname COLLATE "C" LOOP
		EXECUTE format('SELECT count(*) FROM cdp.%I t WHERE t::text ~ ''\m(7700003|7700004)\M|zoe''', place) INTO n;
		places := places || CASE WHEN n > 0 THEN ARRAY[place] END;
	END LOOP;
	RETURN array_to_string(places, ' ');
END
$$;
CREATE FUNCTION in_chunks(ids bigint[]) RETURNS TABLE (tags boolean, slices boolean) LANGUAGE sql SET search_path = public, cdp AS $$
	SELECT EXISTS (SELECT FROM tag_chunk c, unnest(ids) i WHERE c.chunk = i >> 15 AND _chunk_contains(c.members, i)), EXISTS (SELECT FROM trait_slice c, unnest(ids) i WHERE c.chunk = i >> 15 AND _chunk_contains(c.members, i))
$$;

INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('city', true, true);
INSERT INTO trait_rule (name, type, searchable, pii) VALUES ('size', 'number', true, false), ('born', 'date', true, false);
INSERT INTO purpose (name, needs_consent, capped, quiet) VALUES ('service', false, false, false);
INSERT INTO repurchase_clock (event, by) VALUES ('purchase', 'event');
SELECT create_journey(n, jsonb_build_object('entry', e::jsonb, 'kind', k, 'purpose', 'service', 'start', 'send', 'steps', '{"send": {"send": {"channel": "email", "template": "t", "to": "self"}, "next": "hold"}, "hold": {"wait": "300d", "next": "end"}}'::jsonb))
FROM (VALUES ('hello', '{"manual": true}', 'person'), ('sold', '{"on": "gift", "key": "label"}', 'store')) v (n, e, k);
SELECT activate_journey(j) FROM unnest('{hello,sold}'::text[]) j;
SELECT define_segment('viewers', 'count(view, 30d) > 0') > 0 AS defined, define_static_segment('given', rb_build(ARRAY[:zoe, :max])) > 0 AS given;

-- an event whose row is gone
SELECT track('{user_id:zoe-of-row-1}', 'view', at => '2025-12-05', message_id => 'old of zoe', participants => '{store:s}') = :zoe AS zoe;
SELECT track('{user_id:anna-of-row}', 'view', jsonb_build_object('sku', sku), '2025-12-05') = :zack + 1 AS anna FROM unnest('{"for anna-of-row",tea}'::text[]) sku;
SELECT count(*) > 0 AS ticked FROM tick('2025-12-06');
UPDATE timeline_part SET sealed = true;
DROP TABLE cdp.event_2025_12;
-- who: one and not, in part somebody else's
SELECT merge(:zoe, :zoe2, 'zoe is zoe', '2026-01-02') AS m, merge(:zack, :max, at => '2026-01-02') AS other \gset
SELECT merge(:zoe, :zack, at => '2026-01-03') AS wrong \gset
SELECT tag(:zoe, 'city:ulm', '2027-01-01', '2026-01-03'), enter_journey('hello', :zoe, '{}', '2026-01-03') > 0 AS entered, relate(:zoe, :shop, 'customer', '2026-01-03');
SELECT unmerge(:wrong, at => '2026-01-04');
SELECT identify('{email:zoe@example.org,user_id:zoe-of-row-2,device_id:d}', at => '2026-01-04') = :zoe AS zoe, split('{device_id:d}', 'not of zoe', '2026-01-04') > 0 AS split_off;
SELECT set_trait(:zoe, 'size', '4', '2026-01-05'), consent(:zoe2, 'marketing', 'email', true, '2026-01-05', 'zoe said so'), ingest('{"type": "identify", "userId": "zoe-of-row-1", "messageId": "of zoe", "timestamp": "2026-01-05"}', '2026-01-05') AS taken;
-- what he took part in, and one of that taken back
SELECT track('{user_id:max}', 'visit', at => '2026-01-05', participants => '{user_id:zoe-of-row-2}') = :zack AS zack, track('{user_id:max}', 'visit', at => '2026-01-06', message_id => 'r', participants => '{user_id:zoe-of-row-2}') = :zack AS zack;
SELECT retract('r', 'a mistake', '2026-01-06');
-- what others have of his: folded, folded by another role, and with a run that has not begun
SELECT track('{user_id:zoe-of-row-1}', e, jsonb_build_object('sku', 'for zoe', 'value', 5), '2026-01-07', participants => '{store:s,user_id:max}') = :zoe AS zoe FROM unnest('{purchase,present}'::text[]) e;
SELECT track('{user_id:zoe-of-row-1}', e, at => '2026-01-07', participants => '{user_id:eva}') = :zoe AS zoe FROM unnest('{purchase,view}'::text[]) e;
SELECT count(*) > 0 AS ticked FROM generate_series(1, 5) n, tick('2026-01-08'::timestamptz + n * interval '1 min');
SELECT (SELECT stage FROM lifecycle_state WHERE profile_id = resolve('user_id:eva')) AS eva, segment_members('viewers') @> resolve('user_id:eva') AS viewer, timeline_of(:zack) AS zack, timeline_of(:shop) AS shop;
INSERT INTO event_role (event, as_event) VALUES ('present', 'gift');
SELECT members FROM refresh_segments('viewers', '2026-01-08 01:00');
SELECT enter_journey('hello', :zoe2, '{}', '2026-01-08') IS NULL AS already, identify('{user_id:zoe-of-row-3}', at => '2026-01-08') AS zoe3 \gset
SELECT relate(:zoe3, :shop, 'customer', '2026-01-09'), enter_journey('hello', :zoe3, '{}', '2026-01-09') > 0 AS entered, merge(:zoe, :zoe3, at => '2026-01-10') > 0 AS merged;
SELECT untag(:zoe, 'city:ulm', '2026-01-10'), unrelate(:zoe3, :shop, 'customer', '2026-01-11');
SELECT count(*) > 0 AS claimed FROM claim_messages('email', 10, at => '2026-01-11') m, LATERAL ack_message(m.id, 'sent', 'to zoe', at => '2026-01-11');
SELECT track('{user_id:zoe-of-row-1}', 'gift', '{"sku": "of zoe"}', '2026-01-11', participants => '{store:s}') = :zoe AS zoe;
SELECT done > 0 AS folded FROM _fold_timelines('2026-01-12', 100);
SELECT count(*) FROM journey_trigger WHERE profile_id = :shop;
SELECT track('{user_id:zoe-of-row-1}', 'gift', '{"sku": "late of zoe"}', '2026-01-12', participants => '{store:s}') = :zoe AS zoe, set_trait(:zoe, 'born', '"1990-01-01"', '2026-01-12'), set_trait(:zoe, 'size', '5', '2026-01-12');
-- work that waits, and errors that were met
INSERT INTO profile_batch VALUES ('2026-01-12', rb_build(ARRAY[:zoe, :max]));
INSERT INTO segment_work VALUES (1, '', rb_build(ARRAY[:zoe, :max]), 'event');
INSERT INTO task_state (task, last_error) VALUES ('a task', 'no such person: zoe-of-row-1');
UPDATE segment SET error = 'not a number: zoe-of-row-1' WHERE name = 'given';
SELECT find(), (SELECT count(*) FROM journey_duplicate) AS duplicate;
SELECT * FROM in_chunks(ARRAY[:zoe, :zoe2, :zoe3]);

SELECT erase_profile(:zoe, at => '2026-01-15') -> 'removed' AS removed;
SELECT find();
SELECT (SELECT count(*) FROM delivery) AS delivery, (SELECT count(*) FROM journey_duplicate) AS duplicate, (SELECT count(*) FROM erasure_pending) AS to_be_settled;
SELECT * FROM in_chunks(ARRAY[:zoe, :zoe2, :zoe3]);
SELECT last_error, (SELECT error FROM segment WHERE name = 'given') FROM task_state WHERE task = 'a task';
SELECT (SELECT members FROM segment_work) AS work, (SELECT members FROM profile_batch) AS batch;
DELETE FROM segment_work;
-- what a call wrote that had looked him up before, and what was begun by it
INSERT INTO event (event_id, at, received_at, profile_id, participants, event, properties, context, message_id, backfill)
	VALUES (nextval('event_id_seq'), '2026-01-14', '2026-01-14', :zoe, ARRAY[:shop]::bigint[], 'gift', '{"sku": "later of zoe"}', '{}', 'late of zoe', false);
INSERT INTO event_message (message_id, event_id, at, profile_id) SELECT message_id, event_id, at, profile_id FROM event WHERE message_id = 'late of zoe';
INSERT INTO event_tail (profile_id, event_id, owner_id, at) SELECT p, event_id, :zoe, at FROM event, unnest(ARRAY[:zoe, :shop]) p WHERE message_id = 'late of zoe';
SELECT done > 0 AS folded FROM _fold_timelines('2026-01-15', 100);
SELECT advance_journeys('2026-01-15') > 0 AS advanced;
SELECT find();
SELECT done, lag FROM _settle_erasures('2026-01-15', 10);
SELECT find();
SELECT receipt -> 'removed_later' AS later FROM erasure;
SELECT status, outcome, label FROM journey_state WHERE profile_id = :shop;
DELETE FROM journey_state WHERE profile_id = :shop;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-16');
SELECT (SELECT stage FROM lifecycle_state WHERE profile_id = resolve('user_id:eva')) AS eva, segment_members('viewers') @> resolve('user_id:eva') AS viewer, timeline_of(:zack) AS zack, timeline_of(:shop) AS shop, (SELECT count(*) FROM journey_state WHERE profile_id = :shop) AS runs;
SELECT find();
SELECT trait_count('size'), trait_first_date('born');
SELECT event, participants FROM event ORDER BY event_id;

-- Messages that were no events, of somebody whose events are all there; who took part in one is in no segment because of it.
SELECT track('{user_id:eva}', 'view', at => '2026-01-16', participants => '{user_id:ida}') = resolve('user_id:eva') AS eva;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-16 12:00');
SELECT segment_members('viewers') @> resolve('user_id:ida') AS viewer;
SELECT ingest('{"type": "identify", "userId": "eva", "messageId": "of eva", "timestamp": "2026-01-16"}', '2026-01-16') AS taken;
SELECT erase_profile(resolve('user_id:eva'), at => '2026-01-17') -> 'removed' -> 'event_message' AS removed, (SELECT count(*) FROM event_message WHERE message_id = 'of eva') AS was;
SELECT count(*) AS message FROM event_message WHERE message_id = 'of eva';
SELECT count(*) > 0 AS ticked FROM tick('2026-01-17 12:00');
SELECT segment_members('viewers') @> resolve('user_id:ida') AS viewer;
-- The timeline of somebody whose events are gone is kept without a name.
SELECT erase_profile(resolve('user_id:anna-of-row'), 'anonymise', at => '2026-01-17') ->> 'mode' AS mode;
SELECT timeline_of(max(profile_id)) AS anna, resolve('user_id:anna-of-row') FROM profile;
-- A label that tells an identifier leaves the due dates of who took part, at once; all else follows with the clock.
SELECT define_segment('for nina', 'count(purchase["for nina-of-row"], 30d) > 0'::criteria) > 0 AS defined;
SELECT track('{user_id:nina-of-row}', 'purchase', jsonb_build_object('sku', sku), '2026-01-18', participants => '{user_id:ida}') > 0 AS nina FROM unnest('{"for nina-of-row",tea}'::text[]) sku;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-18 12:00');
SELECT label, orders, segment_members('for nina') @> resolve('user_id:ida') AS in_segment FROM purchase_due WHERE profile_id = resolve('user_id:ida') ORDER BY label COLLATE "C";
SELECT erase_profile(resolve('user_id:nina-of-row'), 'anonymise', at => '2026-01-19') ->> 'mode' AS mode;
SELECT label, orders, segment_members('for nina') @> resolve('user_id:ida') AS in_segment FROM purchase_due WHERE profile_id = resolve('user_id:ida') ORDER BY label COLLATE "C";
SELECT count(*) > 0 AS ticked FROM tick('2026-01-19 12:00');
SELECT label, orders, segment_members('for nina') @> resolve('user_id:ida') AS in_segment FROM purchase_due WHERE profile_id = resolve('user_id:ida') ORDER BY label COLLATE "C";
-- Who was merged since the last refresh is still counted in the segment, until then or until erased.
SELECT define_segment('both', 'vip') > 0 AS defined, count(tag(identify(ARRAY[i]::identifier[], at => '2026-01-20'), 'vip', at => '2026-01-20')) FROM unnest('{user_id:mia,user_id:kim,user_id:moe,user_id:pia}'::text[]) i;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-20 12:00');
SELECT members FROM segment WHERE name = 'both';
SELECT identify('{user_id:older}', at => '2026-01-20') > 0 AS older;
SELECT merge(resolve('user_id:older'), resolve('user_id:mia'), at => '2026-01-21') > 0 AS merged, merge(resolve('user_id:kim'), resolve('user_id:moe'), at => '2026-01-21') > 0 AS both_members;
SELECT erase_profile(resolve(i), at => '2026-01-21') ->> 'profiles' AS profiles FROM unnest('{user_id:mia,user_id:kim}'::identifier[]) i;
SELECT members FROM segment WHERE name = 'both';
SELECT count(*) > 0 AS ticked FROM tick('2026-01-21 12:00');
SELECT members, segment_members('both') FROM segment WHERE name = 'both';

SET client_min_messages = warning;
DROP FUNCTION find, in_chunks;
