-- The queue in parts: whatever is written, claimed, retried and closed in which
-- order, a claim returns as many as there are, the most important, none twice.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
\set VERBOSITY terse

INSERT INTO profile (profile_id, kind, canonical_id, first_at) VALUES (1, 'person', 1, '2026-01-01Z');
INSERT INTO purpose (name, needs_consent, capped, quiet) VALUES ('note', false, false, false);
CREATE SEQUENCE k;
CREATE FUNCTION write(n int, priority int, due timestamptz, channel text DEFAULT 'email', expires timestamptz DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	INSERT INTO cdp.outbox (idempotency_key, profile_id, recipient_id, channel, purpose, template, priority, due_at, expires_at)
	SELECT 'k' || nextval('k'), 1, 1, write.channel, 'note', 't', write.priority, write.due, write.expires FROM generate_series(1, n);
$$;
-- the next message is the first of a later part
CREATE FUNCTION next_part(parts int DEFAULT 1) RETURNS void LANGUAGE sql AS $$
	SELECT setval('cdp.outbox_id_seq', ((last_value >> 13) + parts) << 13, false) FROM cdp.outbox_id_seq;
$$;

-- by hand: three parts
SELECT write(3, 50, '2026-03-01Z'), write(2, 90, '2026-03-02Z');
SELECT next_part();
SELECT write(2, 50, '2026-02-01Z'), write(1, 70, '2026-03-01Z');
SELECT next_part(2);
SELECT write(2, 90, '2026-03-01Z'), write(1, 20, '2026-03-01Z'), write(1, 50, '2026-03-01Z', 'sms');
SELECT _tend_outbox(NULL, '2026-03-01Z');
SELECT part, part = (SELECT last_value >> 13 FROM outbox_id_seq) AS current FROM outbox_front;
SELECT * FROM outbox_lane ORDER BY 1, 2, 3;
-- the newest part, then the lane of 70, then those of 50, old to new, then the newest part again
SELECT id >> 13 AS part, id & 8191 AS n, priority, due_at FROM claim_messages('email', 4, '30 s', '2026-03-01Z');
SELECT _tend_outbox(NULL, '2026-03-01Z');
SELECT * FROM outbox_lane ORDER BY 1, 2, 3;
SELECT id >> 13 AS part, id & 8191 AS n, priority, due_at FROM claim_messages('email', 100, '30 s', '2026-03-01Z');
-- what is left is due later; a message that failed is found though its part was left
SELECT _tend_outbox(NULL, '2026-03-01Z');
SELECT * FROM outbox_lane ORDER BY 1, 2, 3;
SELECT ack_message(8192, 'failed', NULL, '2026-03-01Z');
SELECT id, attempts FROM claim_messages('email', 100, '30 s', '2026-03-01 00:01Z');
SELECT id, priority FROM claim_messages('email', 100, '30 s', '2026-03-02Z');
SELECT id FROM claim_messages('sms', 100, '30 s', '2026-03-02Z');
SELECT _tend_outbox(NULL, '2026-03-02Z');
SELECT * FROM outbox_lane;
-- an old snapshot closes nothing
SELECT next_part();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT _tend_outbox(NULL, '2026-03-02Z');
SELECT part FROM outbox_front;
COMMIT;
-- those of channels, and of a channel only
SELECT write(1, 50, '2026-03-03Z', 'sms'), write(1, 50, '2026-03-03Z', 'email'), next_part();
SELECT done FROM _release_messages('2026-03-03Z', 0);
SELECT channel, count(*) FROM outbox_lane GROUP BY 1 ORDER BY 1;
TRUNCATE outbox, outbox_front, outbox_lane; ALTER SEQUENCE outbox_id_seq RESTART;

-- at random, against the plain question
CREATE FUNCTION pg_temp.play(rounds int, seed double precision) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	clock	timestamptz := '2026-03-01Z';
	what	double precision;
	want	int;
	may		int;
	got		bigint[];
	worst	int;
	best	int;
	claims	bigint := 0;
BEGIN
	PERFORM setseed(seed);
	FOR i IN 1 .. rounds LOOP
		what := random();
		clock := clock + make_interval(secs => round((random() * 40)::numeric, 0)::int);
		IF what < 0.35 THEN
			PERFORM write((random() * 12)::int, 10 * (random() * 4)::int, clock + make_interval(secs => (random() * 400 - 100)::int),
						  CASE WHEN random() < 0.8 THEN 'email' ELSE 'sms' END,
						  CASE WHEN random() < 0.2 THEN clock + make_interval(secs => (random() * 500)::int) END);
		ELSIF what < 0.55 THEN
			PERFORM next_part(1 + random()::int);
		ELSIF what < 0.65 THEN
			PERFORM _tend_outbox(CASE WHEN random() < 0.5 THEN 'email' END, clock);
		ELSIF what < 0.70 THEN
			PERFORM _release_messages(clock, 5);
		ELSIF what < 0.80 THEN
			PERFORM ack_message(o.id, CASE WHEN random() < 0.5 THEN 'failed' ELSE 'sent' END, NULL, clock)
			FROM (SELECT * FROM outbox WHERE status IN ('claimed', 'ambiguous') ORDER BY id LIMIT 5) o;
		ELSE
			want := 1 + (random() * 20)::int;
			SELECT count(*) INTO may FROM outbox o
			WHERE o.channel = 'email' AND o.status = 'pending' AND o.due_at <= clock AND (o.expires_at > clock) IS NOT FALSE AND (o.leased_until <= clock) IS NOT FALSE;
			SELECT array_agg(c.id), min(c.priority) INTO got, worst FROM claim_messages('email', want, '30 s', clock) c;
			claims := claims + coalesce(cardinality(got), 0);
			SELECT max(o.priority) INTO best FROM outbox o
			WHERE o.channel = 'email' AND o.status = 'pending' AND o.due_at <= clock AND (o.expires_at > clock) IS NOT FALSE AND (o.leased_until <= clock) IS NOT FALSE;
			ASSERT coalesce(cardinality(got), 0) = least(want, may), format('round %s: %s of %s', i, cardinality(got), least(want, may));
			ASSERT best IS NULL OR worst IS NULL OR worst >= best, format('round %s: %s before %s', i, worst, best);
			ASSERT (SELECT count(*) = cardinality(got) FROM outbox o WHERE o.id = ANY (got) AND o.status = 'claimed') IS NOT FALSE, 'claimed';
		END IF;
	END LOOP;
	RETURN format('%s claimed, %s', CASE WHEN claims > rounds / 2 THEN 'many' ELSE claims::text END,
				  CASE WHEN (SELECT count(DISTINCT part) FROM outbox_lane) > 10 THEN 'many parts' ELSE 'few parts' END);
END
$$;
SELECT pg_temp.play(400, 0.11);
TRUNCATE outbox, outbox_front, outbox_lane, delivery; ALTER SEQUENCE outbox_id_seq RESTART;
SELECT pg_temp.play(400, 0.47);

-- the queue is read by its index however little the planner knows
EXPLAIN (COSTS OFF) SELECT id FROM outbox WHERE channel = 'email' AND status = 'pending' AND attempts = 0 AND id >> 13 = 7 AND priority = 50 AND (due_at, id) >= ('2026-03-01Z', 5) ORDER BY due_at, id LIMIT 3;
