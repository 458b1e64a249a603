-- What channels say about messages; only punctual clocks hear it, and their senders claim at every tick.
CREATE FUNCTION pg_temp.outcome(owner text, journey text, key text, entered timestamptz, step text, due timestamptz, attempt int, self boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT pg_temp.pick(concat_ws('/', owner, journey, key, extract(epoch FROM entered), step, extract(epoch FROM due), attempt, 'outcome'),
						'sent', 'sent', 'sent', 'opened', 'opened', 'bounced', 'failed', 'failed', 'nothing', 'nothing', CASE WHEN self THEN 'unsubscribed' ELSE 'failed' END)
$$;
-- about one that was claimed earlier, and perhaps is ambiguous by now
CREATE FUNCTION pg_temp.late_outcome(owner text, journey text, key text, entered timestamptz, step text, due timestamptz, c timestamptz, self boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT pg_temp.pick(concat_ws('/', owner, journey, key, extract(epoch FROM entered), step, extract(epoch FROM due), c, 'late'),
						'nothing', 'nothing', 'nothing', 'nothing', 'nothing', 'sent', 'opened', 'bounced', 'failed', 'failed', 'dead', CASE WHEN self THEN 'unsubscribed' ELSE 'sent' END)
$$;
CREATE FUNCTION pg_temp.lease(c timestamptz) RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT pg_temp.pick(c || 'lease', '30 s', '30 s', '3 h')::interval $$;

-- at the end of a tick: leases that are over, messages that nobody has claimed in time
CREATE FUNCTION pg_temp.lapse(c timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE o_message SET status = 'ambiguous' WHERE status = 'claimed' AND leased <= c;
	UPDATE o_message SET status = 'expired' WHERE status = 'pending' AND expires <= c;
END
$$;
CREATE FUNCTION pg_temp.settle(m o_message, said text, c timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	of_journey	text := (SELECT r.journey FROM o_run r WHERE r.run = m.run);
BEGIN
	CASE said
		WHEN 'nothing' THEN RETURN;
		WHEN 'failed' THEN	-- again next time, but not for ever
			UPDATE o_message x SET status = CASE WHEN x.attempts < 5 THEN 'pending' ELSE 'dead' END, again = c WHERE x.n = m.n;
		WHEN 'opened', 'unsubscribed' THEN
			UPDATE o_message x SET status = 'sent' WHERE x.n = m.n;
			INSERT INTO o_event (leaf, name, at, label, ref, arrived) VALUES (m.owner, 'message_' || said, c, of_journey, 'run/' || m.run, c);
			INSERT INTO o_stirred VALUES (m.owner, 'event');
			INSERT INTO o_trigger (leaf, source, name, at, label, ref) VALUES (m.owner, 'event', 'message_' || said, c, of_journey, 'run/' || m.run);
			INSERT INTO o_decision SELECT pg_temp.who(m.owner), m.purpose, m.channel, false, c WHERE said = 'unsubscribed' AND m.self;
		ELSE
			UPDATE o_message x SET status = said WHERE x.n = m.n;
			INSERT INTO o_bounced SELECT m.address, m.channel WHERE said = 'bounced' AND m.address IS NOT NULL
				AND NOT EXISTS (SELECT FROM o_bounced b WHERE b.address = m.address AND b.channel = m.channel);
	END CASE;
END
$$;
-- Senders report what is left of earlier claims and claim what they can get: of a channel with a pace the important ones first, then
-- those that are due first, then by id (which is that of the engine's).
CREATE FUNCTION pg_temp.report(of_world int, c timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	m		record;
	ch		record;
	room	int;
	said	text;
	me		text;
BEGIN
	PERFORM pg_temp.settle(x, pg_temp.late_outcome(x.owner, r.journey, r.key, r.entered, x.step, x.due, c, x.self), c)
	FROM o_message x JOIN o_run r USING (run) WHERE x.status IN ('claimed', 'ambiguous') AND x.owner <> 'nobody';
	FOR ch IN SELECT x.name, x.per_minute FROM channel x WHERE x.name IN ('mail' || of_world, 'text' || of_world) ORDER BY x.name LOOP
		room := ch.per_minute;
		FOR m IN SELECT x, r.journey, r.key, r.entered FROM o_message x JOIN o_run r USING (run)
				 WHERE x.channel = ch.name AND x.owner <> 'nobody' AND x.status = 'pending' AND x.due <= c AND (x.expires > c) IS NOT FALSE AND (x.again = c) IS NOT TRUE
				 ORDER BY x.priority DESC, x.due, CASE WHEN ch.per_minute IS NOT NULL THEN
					(SELECT min(o.id) FROM outbox o JOIN journey_state s ON s.run_id = o.run_id WHERE o.profile_id = pg_temp.id(x.owner) AND o.journey = r.journey AND s.key = r.key AND s.entered_at = r.entered AND o.step = x.step AND o.due_at = x.due) END, x.n LOOP
			EXIT WHEN room <= 0;
			me := pg_temp.who((m.x).owner);
			IF pg_temp.suppressed(me) OR (m.x).self AND NOT pg_temp.allowed(me, (m.x).purpose, (m.x).declared, (m.x).channel, c)
			   OR EXISTS (SELECT FROM o_bounced b WHERE b.address = (m.x).address AND b.channel = (m.x).channel) THEN
				UPDATE o_message x SET status = 'refused' WHERE x.n = (m.x).n;
			ELSE
				UPDATE o_message x SET status = 'claimed', attempts = x.attempts + 1, leased = c + pg_temp.lease(c) WHERE x.n = (m.x).n;
				room := room - 1;
			END IF;
		END LOOP;
	END LOOP;
	PERFORM pg_temp.settle(x, pg_temp.outcome(x.owner, r.journey, r.key, r.entered, x.step, x.due, x.attempts, x.self), c)
	FROM o_message x JOIN o_run r USING (run) WHERE x.status = 'claimed' AND x.leased = c + pg_temp.lease(c) AND x.owner <> 'nobody';
END
$$;
