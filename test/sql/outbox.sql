-- The outbox: claims, leases, reports, retries.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
\set VERBOSITY terse

INSERT INTO profile (profile_id, kind, canonical_id, first_at) SELECT n, 'person', n, '2026-01-01Z' FROM generate_series(1, 9) n;
SELECT consent(n, 'marketing', c, true, '2026-01-01Z') FROM generate_series(1, 9) n, unnest('{email,sms}'::text[]) c \g /dev/null
INSERT INTO outbox (idempotency_key, profile_id, recipient_id, channel, purpose, template, priority, due_at, expires_at)
SELECT 'k' || n, n, n, CASE WHEN n = 9 THEN 'sms' ELSE 'email' END, 'marketing', 'hello', p, timestamptz '2026-03-01Z' + d, timestamptz '2026-03-01Z' + e
FROM (VALUES (1, 50, interval '2 h', NULL::interval), (2, 50, '1 h', NULL), (3, 90, '3 h', NULL), (4, 50, '1 h', NULL),
			 (5, 10, '0', NULL), (6, 50, '9 h', NULL), (7, 99, '1 h', '3 h'), (8, 99, '1 h', '4 h'), (9, 50, '0', NULL)) v(n, p, d, e);

-- most important first, then oldest; not what is not due (6), has expired (7) or goes elsewhere (9)
SELECT id, priority, due_at, status, attempts, leased_until FROM claim_messages('email', 3, '30 s', '2026-03-01 03:00Z');
SELECT id, leased_until FROM claim_messages('email', 100, '1 day', '2026-03-01 03:00Z');
SELECT id FROM claim_messages('email', 100, '30 s', '2026-03-01 03:00Z');
SELECT id FROM claim_messages('sms', 0, '30 s', '2026-03-01 03:00Z');
SELECT id FROM claim_messages('pigeon', 10, '30 s', '2026-03-01 03:00Z');

-- sent, and the same report again
SELECT ack_message(8, 'sent', 'provider id 77', '2026-03-01 03:01Z');
SELECT ack_message(8, 'sent', 'provider id 77', '2026-03-01 03:02Z');
SELECT ack_message(8, 'failed', NULL, '2026-03-01 03:02Z');
SELECT ack_message(8, 'dead', NULL, '2026-03-01 03:02Z');
-- a bounce comes after the send
SELECT ack_message(8, 'bounced', 'mailbox full', '2026-03-01 04:00Z');
SELECT ack_message(8, 'bounced', 'mailbox full', '2026-03-01 04:00Z');
SELECT ack_message(8, 'sent', NULL, '2026-03-01 04:01Z');
SELECT at, status, detail FROM delivery WHERE outbox_id = 8 ORDER BY delivery_id;
SELECT status, leased_until FROM outbox WHERE id = 8;

-- failed: again after 1, 4, 16 and 64 minutes, then dead
SELECT ack_message(3, 'failed', 'timeout', '2026-03-01 03:00Z');
SELECT ack_message(3, 'failed', 'timeout', '2026-03-01 03:00Z');
SELECT status, attempts, due_at, leased_until FROM outbox WHERE id = 3;
SELECT id FROM claim_messages('email', 100, '30 s', '2026-03-01 03:00:59.999999Z');
DO $$
DECLARE
	clock	timestamptz := '2026-03-01 03:01Z';
	m		outbox;
BEGIN
	FOR i IN 2 .. 5 LOOP
		SELECT * INTO STRICT m FROM claim_messages('email', 100, '30 s', clock);
		RAISE NOTICE 'attempt % of message % at %', m.attempts, m.id, clock;
		PERFORM ack_message(m.id, 'failed', 'timeout', clock);
		SELECT * INTO m FROM outbox WHERE id = 3;
		ASSERT m.status = 'dead' OR NOT EXISTS (SELECT FROM claim_messages('email', 100, '30 s', m.leased_until - interval '1 us'));
		RAISE NOTICE '%, not before %', m.status, m.leased_until;
		clock := m.leased_until;
	END LOOP;
END
$$;
SELECT id FROM claim_messages('email', 100, '30 s', '2026-03-01 08:59Z');
SELECT count(*) FROM delivery WHERE outbox_id = 3;
-- it was sent after all: that is true whenever it is said
SELECT ack_message(3, 'sent', 'late report', '2026-03-02Z');
SELECT status FROM outbox WHERE id = 3;

-- a lease that runs out: nobody knows, so nobody sends it again
SELECT * FROM _release_messages('2026-03-01 03:00:29Z', 100);
SELECT * FROM _release_messages('2026-03-01 03:00:30Z', 100);
SELECT id, status, attempts, leased_until FROM outbox WHERE id <> 3 ORDER BY id;
SELECT id FROM claim_messages('email', 100, '30 s', '2026-03-01 05:00Z');
SELECT * FROM _release_messages('2026-03-02 03:00Z', 2);
SELECT * FROM _release_messages('2026-03-02 04:00Z', 100);
SELECT id, status FROM outbox ORDER BY id;
-- whoever knows settles it
SELECT ack_message(1, 'sent', 'found at the provider', '2026-03-02Z'), ack_message(2, 'failed', 'not found at the provider', '2026-03-02Z'),
	   ack_message(4, 'dead', 'given up', '2026-03-02Z');
SELECT id, status, leased_until FROM outbox WHERE id IN (1, 2, 4) ORDER BY id;
SELECT id, attempts FROM claim_messages('email', 100, '30 s', '2026-03-02 00:01Z');

-- nobody claimed it in time
SELECT outbox_id, at, status, detail FROM delivery WHERE outbox_id IN (5, 7) ORDER BY 1, 2;
SELECT ack_message(7, 'sent', NULL, '2026-03-02Z');

-- errors
SELECT ack_message(12345, 'sent');
SELECT ack_message(NULL, 'sent');
SELECT ack_message(1, 'lost');
SELECT * FROM claim_messages('email', -1);
SELECT * FROM claim_messages('email', 1, '0 s');
SELECT * FROM claim_messages(NULL, 1);
SELECT * FROM claim_messages('email', 1, at => 'infinity');
SELECT ack_message(1, 'sent', at => '-infinity');

-- at most so many a minute, in any minute
TRUNCATE outbox, delivery; ALTER SEQUENCE outbox_id_seq RESTART;
UPDATE channel SET per_minute = 5 WHERE name = 'sms';
INSERT INTO outbox (idempotency_key, profile_id, recipient_id, channel, purpose, template, due_at)
SELECT c || n, 1, 1, c, 'marketing', 'hello', '2026-03-01Z' FROM generate_series(1, 30) n, unnest('{sms,email}'::text[]) c;
SELECT count(*) FROM claim_messages('sms', 3, '30 s', '2026-03-01 00:00:00Z');
SELECT count(*) FROM claim_messages('sms', 100, '30 s', '2026-03-01 00:00:20Z');
SELECT count(*) FROM claim_messages('sms', 100, '30 s', '2026-03-01 00:00:59.999999Z');
SELECT count(*) FROM claim_messages('email', 100, '30 s', '2026-03-01 00:00:59Z');
SELECT count(*) FROM claim_messages('sms', 100, '30 s', '2026-03-01 00:01:00Z');
SELECT count(*) FROM claim_messages('sms', 100, '30 s', '2026-03-01 00:01:20Z');
-- a clock that goes back makes no room
SELECT count(*) FROM claim_messages('sms', 100, '30 s', '2026-03-01 00:00:30Z');
SELECT * FROM outbox_pace ORDER BY at;
UPDATE channel SET per_minute = 0 WHERE name = 'sms';
SELECT count(*) FROM claim_messages('sms', 100, '30 s', '2026-03-01 00:05Z');
UPDATE channel SET per_minute = NULL WHERE name = 'sms';
SELECT count(*) FROM claim_messages('sms', 7, '30 s', '2026-03-01 00:05Z');
UPDATE channel SET per_minute = 100 WHERE name = 'sms';
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM claim_messages('sms', 1); COMMIT;
SELECT done FROM _release_messages('2026-03-01 01:00:10Z', 0); SELECT count(*) FROM outbox_pace;

-- whether it may still go out is asked again; the next ones take the place
TRUNCATE outbox, delivery; ALTER SEQUENCE outbox_id_seq RESTART;
SELECT suppress(2, 'asked for it', '2026-03-01Z');
SELECT consent(3, 'marketing', 'email', false, '2026-03-01 01:00Z'), consent(5, 'marketing', 'sms', false, '2026-03-01 01:00Z');
UPDATE profile SET erased_at = '2026-03-01Z' WHERE profile_id = 6;
INSERT INTO outbox (idempotency_key, profile_id, recipient_id, channel, purpose, declared, template, due_at)
SELECT 'c' || n, p, r, 'email', u, d, 'hello', '2026-03-01Z'
FROM (VALUES (1, 1, 1, 'marketing', true), (2, 2, 2, 'marketing', true), (3, 3, 3, 'marketing', true), (4, 3, 3, 'transactional', true), (5, 5, 5, 'marketing', true),
			 (6, 4, 4, 'news', true), (7, 4, 4, 'news', false), (8, 6, 1, 'marketing', true), (9, 7, 7, 'marketing', true), (10, 8, 8, 'marketing', true)) v(n, p, r, u, d);
SELECT id, status FROM claim_messages('email', 3, '30 s', '2026-03-01 02:00Z');
SELECT id, status FROM claim_messages('email', 9, '30 s', '2026-03-01 02:00Z');
SELECT o.id, o.status, o.attempts, d.at, d.status AS report, d.detail FROM outbox o LEFT JOIN delivery d ON d.outbox_id = o.id ORDER BY o.id;
SELECT * FROM why_message(3);
SELECT ack_message(3, 'sent');
-- what was decided at the time of the claim counts
SELECT id FROM claim_messages('email', 9, '30 s', '2026-03-01 03:00Z');
SELECT done FROM _release_messages('2026-03-01 03:00Z', 100);
SELECT ack_message(1, 'failed', NULL, '2026-03-01 03:00Z'), consent(1, 'marketing', 'email', false, '2026-03-01 03:10Z');
SELECT id FROM claim_messages('email', 9, '30 s', '2026-03-01 03:20Z');
SELECT status, attempts, leased_until FROM outbox WHERE id = 1;
