-- What channels report: events in the timeline, consent, in any order and any number of times.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
\set VERBOSITY terse

SELECT identify(ARRAY['email:ada@example.com'], '{}', '2026-03-01Z') AS ada, identify(ARRAY['email:rep@example.com'], '{}', '2026-03-01Z') AS rep, identify(ARRAY['email:bob@example.com'], '{}', '2026-03-01Z') AS bob \gset
SELECT relate(:bob, :rep, 'rep', '2026-03-01Z');
SELECT consent(p, 'marketing', 'email', true, '2026-03-01Z') FROM unnest(ARRAY[:ada, :bob]) p;
SELECT create_journey('hello', '{"entry": {"manual": true}, "purpose": "marketing", "campaign": "spring", "start": "mail", "goal": {"on": "message_clicked[hello]", "within": "7d"},
	"steps": {"mail": {"send": {"channel": "email", "template": "hi"}, "next": "wait"},
			  "wait": {"wait_for": {"on": "message_opened[hello]"}, "timeout": "2d", "next": "warm", "else": "end"},
			  "warm": {"tag": "warm", "next": "end"}}}');
SELECT create_journey('visit', '{"entry": {"manual": true}, "start": "mail",
	"steps": {"mail": {"send": {"channel": "email", "template": "call", "to": {"relation": "rep"}}, "next": "end"}}}');
SELECT activate_journey('hello'), activate_journey('visit');
SELECT enter_journey('hello', :ada, '{}', '2026-03-02Z') > 0, enter_journey('visit', :bob, '{}', '2026-03-02 00:01Z') > 0, enter_journey('hello', :bob, '{}', '2026-03-02 00:02Z') > 0;
SELECT advance_journeys('2026-03-02 01:00Z') > 0;
SELECT id, profile_id, recipient_id, journey FROM claim_messages('email', 9, '30 s', '2026-03-02 01:00Z');

-- an opening that comes before the report of the sending: it was sent, then
SELECT ack_message(1, 'opened', 'Mail 16', '2026-03-02 02:00Z');
SELECT status FROM outbox WHERE id = 1;
SELECT ack_message(1, 'sent', 'provider id 5', '2026-03-02 01:01Z'), ack_message(1, 'delivered', NULL, '2026-03-02 01:02Z'), ack_message(1, 'opened', 'again', '2026-03-02 09:00Z');
SELECT ack_message(1, 'bounced', 'nonsense', '2026-03-02 10:00Z'), ack_message(1, 'clicked', '/offer', '2026-03-02 11:00Z');
SELECT status FROM outbox WHERE id = 1;
SELECT ack_message(1, 'failed', NULL, '2026-03-02 12:00Z');
SELECT at, status, detail FROM delivery WHERE outbox_id = 1 ORDER BY delivery_id;
SELECT at, event, label, value FROM timeline_events(timeline_of(:ada));
SELECT properties - 'run_id' AS properties, message_id FROM event WHERE event = 'message_clicked';

-- the journey goes on, and reaches its goal
SELECT task, done FROM tick('2026-03-02 12:00Z') WHERE task IN ('extend_timelines', 'journeys');
SELECT tags_of(:ada), matches(:ada, 'count(message_opened[hello]) = 1 & count(message_clicked, 7d) >= 1', '2026-03-02 12:00Z');
SELECT variant, profiles, messaged, converted FROM journey_results('hello');
SELECT * FROM why_message(1) WHERE what <> 'started by';

-- a representative's opening stands with both
SELECT ack_messages(ARRAY[2, 2, 3], 'sent', NULL, '2026-03-02 01:05Z');
SELECT ack_messages(ARRAY[2, 2, 3], 'sent', NULL, '2026-03-02 01:06Z');
SELECT ack_messages(ARRAY[2, 3], 'opened', NULL, '2026-03-02 03:00Z');
SELECT p, at, event, label FROM unnest(ARRAY[:bob, :rep]) p, timeline_events(timeline_of(p)) WHERE event = 'message_opened' ORDER BY 1, 2, 4;

-- who unsubscribes refuses; reported again later, that is no new decision
SELECT ack_message(3, 'unsubscribed', 'link', '2026-03-03Z');
SELECT consented(:bob, 'marketing', 'email', '2026-03-02'), consented(:bob, 'marketing', 'email', '2026-03-03');
SELECT consent(:bob, 'marketing', 'email', true, '2026-03-04Z');
SELECT ack_message(3, 'unsubscribed', 'link', '2026-03-05Z');
SELECT consented(:bob, 'marketing', 'email', '2026-03-06');
SELECT ack_message(2, 'complained', NULL, '2026-03-06Z');
SELECT profile_id = :rep AS is_rep, purpose, channel, granted, at, source FROM consent_log WHERE NOT granted ORDER BY consent_id;
SELECT enter_journey('hello', :ada, '{}', '2026-03-07Z') > 0, enter_journey('visit', :bob, '{}', '2026-03-07Z') > 0;
SELECT advance_journeys('2026-03-07Z') > 0;
SELECT what, detail FROM why_no_message(:bob, 'visit', '2026-03-07Z') WHERE at = '2026-03-07Z';

-- giving up is an event too, however it comes
SELECT id FROM claim_messages('email', 9, '30 s', '2026-03-07Z') \gset
SELECT ack_message(:id, 'failed', NULL, '2026-03-07Z');
UPDATE outbox SET attempts = 4 WHERE id = :id;
SELECT attempts FROM claim_messages('email', 9, '30 s', '2026-03-08Z');
SELECT ack_message(:id, 'failed', 'no answer', '2026-03-08Z'), ack_message(:id, 'failed', 'no answer', '2026-03-08Z');
SELECT status FROM outbox WHERE id = :id;
SELECT at, event, properties ->> 'detail' AS detail FROM event WHERE event IN ('message_failed', 'message_bounced') ORDER BY at;

-- any order of arrival gives the same
CREATE FUNCTION outcome(reports text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r	text;
	m	bigint;
	n	int := 0;
	got	text;
BEGIN
	INSERT INTO cdp.outbox (idempotency_key, profile_id, recipient_id, channel, purpose, template, journey, due_at)
	VALUES ('o' || (SELECT last_value FROM cdp.outbox_id_seq), 1, 1, 'email', 'transactional', 't', 'o', '2026-04-01Z') RETURNING id INTO m;
	PERFORM cdp.claim_messages('email', 9, '30 s', '2026-04-01Z');
	FOREACH r IN ARRAY reports LOOP
		PERFORM cdp.ack_message(m, r, NULL, timestamptz '2026-04-01Z' + make_interval(mins => n));
		n := n + 1;
	END LOOP;
	SELECT o.status || ' ' || (SELECT string_agg(d.status, ' ' ORDER BY d.status) FROM cdp.delivery d WHERE d.outbox_id = m)
		|| ' ' || coalesce((SELECT string_agg(e.event, ' ' ORDER BY e.event) FROM cdp.event e WHERE (e.properties ->> 'message')::bigint = m), '') INTO got
	FROM cdp.outbox o WHERE o.id = m;
	RETURN got;
END
$$;
WITH RECURSIVE ways(way, left_) AS (
	SELECT '{}'::text[], s.set FROM (VALUES ('{sent,bounced}'::text[]), ('{sent,delivered,opened,bounced}'), ('{sent,sent,clicked}'), ('{bounced,bounced}'), ('{unsubscribed,sent}')) s(set)
	UNION ALL
	SELECT w.way || w.left_[i], w.left_[:i - 1] || w.left_[i + 1:] FROM ways w, generate_subscripts(w.left_, 1) i
)
SELECT outcome, count(*) FROM (SELECT outcome(way) FROM ways WHERE left_ = '{}') o GROUP BY 1 ORDER BY 1;

-- errors
INSERT INTO outbox (idempotency_key, profile_id, recipient_id, channel, purpose, template, due_at) VALUES ('x', 1, 1, 'fax', 'marketing', 't', '2026-04-01Z') RETURNING id \gset
SELECT ack_message(:id, 'opened', NULL, '2026-04-02Z');
SELECT ack_messages(ARRAY[1, NULL], 'sent');
SELECT ack_messages(ARRAY[1, 99999], 'opened');
SELECT ack_message(1, 'read');
SELECT ack_messages('{}', 'sent');
SELECT count(*) FROM event WHERE event = 'message_opened' AND at > '2026-04-01 01:00Z';

-- kept for so long, and as long as caps count
SELECT done FROM _release_messages('2027-01-01Z', 100000) \g /dev/null
INSERT INTO outbox (idempotency_key, profile_id, recipient_id, channel, purpose, template, due_at) VALUES ('waits', 1, 1, 'fax', 'marketing', 't', '2026-01-01Z');
SELECT count(*) AS messages FROM outbox;
INSERT INTO outbox_retention VALUES ('1 day');
INSERT INTO frequency_cap (channel, max, per) VALUES ('*', 5, '300 days');
SELECT done FROM _release_messages('2027-01-01Z', 100000);
UPDATE frequency_cap SET per = '2 days';
SELECT done FROM _release_messages('2026-04-05Z', 3);
SELECT done > 0 FROM _release_messages('2027-01-01Z', 100000);
SELECT idempotency_key, status FROM outbox ORDER BY id; SELECT count(*) FROM delivery;
