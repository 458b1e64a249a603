-- Addresses that bounce: nothing is sent there any more, by any journey and for any purpose; another address is used, a new one works again.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO';
\set VERBOSITY terse
CREATE FUNCTION pg_temp.make(name text, send jsonb) RETURNS void LANGUAGE sql AS $$
	SELECT cdp.create_journey(name, jsonb_build_object('entry', jsonb '{"manual": true}', 'purpose', 'transactional', 'start', 'a', 'steps', jsonb_build_object('a', jsonb_build_object('send', jsonb '{"template": "t"}' || send, 'next', 'end'))));
	SELECT cdp.activate_journey(name)
$$;
SELECT pg_temp.make('mail', '{"channel": "email"}'), pg_temp.make('either', '{"channel": ["email", "sms"]}'), pg_temp.make('push', '{"channel": "push"}'), pg_temp.make('rep', '{"channel": "email", "to": {"relation": "rep"}}');
CREATE TEMP TABLE who AS SELECT w, identify(ARRAY['user_id:' || w, 'email:' || w || '@example.com']::identifier[], at => '2026-01-01Z') AS id FROM unnest('{ann,bob,cat,dan,eve}'::text[]) w;
SELECT identify('{user_id:bob,phone:+8613800138000}', at => '2026-01-01Z') > 0 AS made, identify('{user_id:cat,email:old@example.com}', at => '2025-12-01Z') > 0 AS made, relate(w.id, a.id, 'rep', '2026-01-01Z') FROM who w, who a WHERE w.w = 'dan' AND a.w = 'ann';
-- enters everybody into a journey on a day, and says what became of it
CREATE FUNCTION pg_temp.send(j text, day date) RETURNS TABLE (who text, what text, detail text, address text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.enter_journey(j, cdp.rb_build_agg(id), '{}', day AT TIME ZONE 'UTC') FROM pg_temp.who;
	PERFORM cdp.advance_journeys(day AT TIME ZONE 'UTC');
	RETURN QUERY SELECT p.w, l.what, l.detail, o.address FROM cdp.journey_log l JOIN pg_temp.who p ON cdp.canonical_id(p.id) = l.profile_id LEFT JOIN cdp.outbox o USING (run_id)
	WHERE l.what IN ('sent', 'refused') AND l.at = day AT TIME ZONE 'UTC' ORDER BY 1;
END
$$;
SELECT * FROM pg_temp.send('mail', '2026-02-01');
-- two messages wait for ann when her address bounces; cat's newest does, bob's does
SELECT * FROM pg_temp.send('either', '2026-02-02') WHERE who = 'ann';
SELECT count(*) FROM claim_messages('email', 5, at => '2026-02-02Z') m WHERE m.journey = 'mail';
SELECT ack_messages(array_agg(o.id ORDER BY o.id DESC), 'bounced', 'no such mailbox', '2026-02-02 01:00Z') FROM outbox o JOIN who p ON p.id = o.profile_id WHERE o.journey = 'mail' AND p.w IN ('ann', 'bob', 'cat');
SELECT b.channel, b.address, b.at, w, b.detail FROM bounced_address b JOIN who ON id = profile_id ORDER BY 2;
SELECT value FROM status() WHERE item = 'addresses that bounced';
-- what was decided before is refused when it is claimed
SELECT w FROM claim_messages('email', 100, at => '2026-02-02 02:00Z') m JOIN who p ON p.id = m.profile_id ORDER BY w;
SELECT o.journey, w, o.status, d.status AS report, d.detail FROM outbox o JOIN who p ON p.id = o.profile_id JOIN delivery d ON d.outbox_id = o.id ORDER BY 2, 1, delivery_id;
SELECT what, detail FROM why_no_message((SELECT id FROM who WHERE w = 'ann'), 'either', '2026-02-03Z') WHERE what = 'message';
-- from then on: another channel, an older address, nothing; a channel without addresses is not concerned
SELECT * FROM pg_temp.send('either', '2026-02-03');
SELECT * FROM pg_temp.send('mail', '2026-02-04');
SELECT * FROM pg_temp.send('push', '2026-02-05') WHERE who = 'ann';
SELECT * FROM pg_temp.send('rep', '2026-02-06') WHERE who = 'dan';
SELECT what, detail FROM why_no_message((SELECT id FROM who WHERE w = 'ann'), 'mail', '2026-02-05Z') WHERE what = 'refused';
-- with a cap or quiet hours in force each is asked by itself: the same
INSERT INTO quiet_hours VALUES ('email', '01:00', '02:00');
UPDATE purpose SET quiet = true WHERE name = 'transactional';
SELECT * FROM pg_temp.send('mail', '2026-02-07');
DELETE FROM quiet_hours;
-- a new address works; the same one again does not, whoever has it by a merge
SELECT identify('{user_id:ann,email:ann2@example.com}', at => '2026-02-08Z') > 0 AS made, identify('{user_id:bob,email:bob@example.com}', at => '2026-02-08Z') > 0 AS made;
SELECT * FROM pg_temp.send('mail', '2026-02-09') WHERE who IN ('ann', 'bob');
SELECT merge((SELECT id FROM who WHERE w = 'dan'), (SELECT id FROM who WHERE w = 'bob'), at => '2026-02-10Z') > 0 AS merged;
SELECT * FROM pg_temp.send('mail', '2026-02-10') WHERE who IN ('bob', 'dan');
-- it has reached somebody after all, whatever comes first: the address works; a repeated report changes nothing
SELECT ack_message(o.id, 'opened', at => '2026-02-11Z') FROM outbox o JOIN who p ON p.id = o.profile_id WHERE o.journey = 'mail' AND o.due_at = '2026-02-01Z' AND p.w = 'cat';
SELECT ack_message(o.id, 'bounced', at => '2026-02-11Z') FROM outbox o JOIN who p ON p.id = o.profile_id WHERE o.journey = 'mail' AND o.due_at = '2026-02-01Z' AND p.w = 'cat';
SELECT m.address, ack_message(m.id, 'delivered', at => '2026-02-11Z'), ack_message(m.id, 'bounced', at => '2026-02-11Z') FROM claim_messages('email', 1, at => '2026-02-11Z') m;
SELECT address FROM bounced_address ORDER BY 1;
-- an operator may try again; the report that comes again does not count again
DELETE FROM bounced_address WHERE address = 'ann@example.com';
SELECT ack_message(o.id, 'bounced', at => '2026-02-11Z') FROM outbox o WHERE o.address = 'ann@example.com' AND o.journey = 'mail' AND o.due_at = '2026-02-01Z';
SELECT address FROM bounced_address ORDER BY 1;
-- it is personal data: exported, and gone when the profile is erased
SELECT export_profile((SELECT id FROM who WHERE w = 'bob')) #>> '{records,bounced_address,0,address}' AS exported;
SELECT erase_profile((SELECT id FROM who WHERE w = 'bob')) IS NOT NULL AS erased;
SELECT count(*) FROM bounced_address;
-- rules for channels that nobody has defined are not refused (the channel may come later), but shown
INSERT INTO frequency_cap (channel, max, per) VALUES ('emial', 1, '1 day'), ('*', 9, '1 day'), ('sms', 9, '1 day');
INSERT INTO quiet_hours VALUES ('pigeon', '01:00', '02:00'), ('*', '03:00', '03:01');
SELECT value FROM status() WHERE item = 'caps and quiet hours of unknown channels';
