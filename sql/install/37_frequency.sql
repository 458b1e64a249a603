/* 37_frequency: how often, and at what time of day, profiles may be written to
 *
 * Both look at a message's due_at, the instant from which it may be claimed.
 * Caps count the messages of a canonical profile (all its leaves) whose purpose
 * is capped and that may have reached or may still reach it (not a related
 * profile): pending, claimed, sent and ambiguous ones.  The caller holds the profile's row, so what is
 * counted cannot change before its own message is written.
 */

CREATE TABLE cdp.frequency_cap (
	channel	text NOT NULL,
	max		int NOT NULL,
	per		interval NOT NULL,
	kind	text NOT NULL DEFAULT 'rolling',
	tz		text NOT NULL DEFAULT 'UTC',
	PRIMARY KEY (channel, per, kind),
	CONSTRAINT frequency_cap_max_check CHECK (max >= 0),
	CONSTRAINT frequency_cap_kind_check CHECK (kind IN ('rolling', 'calendar_day')),
	CONSTRAINT frequency_cap_per_check CHECK (per > interval '0' AND (kind = 'rolling' OR (extract(epoch FROM per) - extract(year FROM per) * 21600)::bigint % 86400 = 0)),
	CONSTRAINT frequency_cap_tz_check CHECK (cdp._zone(tz, NULL) IS NOT NULL)
);
COMMENT ON TABLE cdp.frequency_cap IS 'at most max messages per stretch of time on a channel, * = all together; no row = no limit, max 0 = none; writable';
COMMENT ON COLUMN cdp.frequency_cap.per IS 'a length (1 month = 30 days); for calendar_day whole days';
COMMENT ON COLUMN cdp.frequency_cap.kind IS 'rolling: in any stretch of that length; calendar_day: on so many consecutive days of the profile''s calendar';
COMMENT ON COLUMN cdp.frequency_cap.tz IS 'for profiles without a trait "timezone"';

CREATE TABLE cdp.quiet_hours (
	channel	text NOT NULL,
	since	time NOT NULL,
	until	time NOT NULL,
	tz		text NOT NULL DEFAULT 'UTC',
	PRIMARY KEY (channel, since, until),
	CONSTRAINT quiet_hours_tz_check CHECK (cdp._zone(tz, NULL) IS NOT NULL)
);
COMMENT ON TABLE cdp.quiet_hours IS 'local times [since, until) at which no message goes out on a channel, * = all; since = until is the whole day; writable';
COMMENT ON COLUMN cdp.quiet_hours.tz IS 'for profiles without a trait "timezone"';

CREATE TABLE cdp.control_group (
	share	double precision NOT NULL,
	salt	text NOT NULL PRIMARY KEY,
	CONSTRAINT control_group_share_check CHECK (share >= 0 AND share <= 1)
);
COMMENT ON TABLE cdp.control_group IS 'a share of all profiles that stays out of every journey whose purpose is capped; writable';
COMMENT ON COLUMN cdp.control_group.salt IS 'another salt draws another group';

-- A length in seconds: extract() takes a year for 365.25 days.
CREATE FUNCTION cdp._seconds(length interval) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (extract(epoch FROM length) - extract(year FROM length) * 21600)::double precision;
COMMENT ON FUNCTION cdp._seconds(interval) IS 'a length in seconds: a month is 30 days, a year 365';

CREATE TYPE cdp._cap AS (max int, seconds double precision, days int, zone text, everywhere boolean, name text);
COMMENT ON TYPE cdp._cap IS 'a frequency cap; days 0: rolling; zone: of profiles that name none; everywhere: counts messages on all channels';
CREATE TYPE cdp._quiet AS (since time, until time, zone text);
COMMENT ON TYPE cdp._quiet IS 'quiet hours; zone: of profiles that name none';

CREATE FUNCTION cdp._sendable(profiles bigint[], instants timestamptz[], lapses timestamptz[], zones text[], caps cdp._cap[], quiet cdp._quiet[],
	got_by bigint[], got_at timestamptz[], got_here boolean[]) RETURNS TABLE (n bigint, due_at timestamptz, capped_by text)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__sendable';
COMMENT ON FUNCTION cdp._sendable(bigint[], timestamptz[], timestamptz[], text[], cdp._cap[], cdp._quiet[], bigint[], timestamptz[], boolean[])
	IS 'what _sendable_many says, from all that it depends on; profiles and got_by ascend, got_at does for each';

-- What holds messages back, one after the other until nothing moves them any more:
-- quiet hours, then caps.  The messages are asked about in the order in which they
-- are decided, those of one profile (ascending) after each other; each that
-- neither a cap nor its end (lapses) holds back counts for the next.  What the
-- profiles have got is read once: a calendar day has at most 25 hours, and
-- touches on others.
CREATE FUNCTION cdp._sendable_many(profiles bigint[], instants timestamptz[], lapses timestamptz[], purpose text, channel text)
RETURNS TABLE (n bigint, due_at timestamptz, capped_by text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET intervalstyle = 'postgres' SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	caps		cdp._cap[] := '{}';
	quiet		cdp._quiet[] := '{}';
	uncapped	text[];
	reach		interval;
	zones		text[];
	got_by		bigint[];
	got_at		timestamptz[];
	got_here	boolean[];
BEGIN
	IF coalesce((SELECT u.quiet FROM cdp.purpose_effective u WHERE u.name = _sendable_many.purpose), true) THEN
		quiet := ARRAY(SELECT (h.since, h.until, h.tz)::cdp._quiet FROM cdp.quiet_hours h WHERE h.channel IN (_sendable_many.channel, '*') ORDER BY h.channel, h.since);
	END IF;
	IF coalesce((SELECT u.capped FROM cdp.purpose_effective u WHERE u.name = _sendable_many.purpose), true) THEN
		SELECT coalesce(array_agg((c.max, cdp._seconds(c.per), CASE c.kind WHEN 'rolling' THEN 0 ELSE (cdp._seconds(c.per) / 86400)::int END, c.tz, c.channel = '*',
								   format('%s per %s on %s', c.max, c.per, c.channel))::cdp._cap ORDER BY c.channel, c.per, c.kind), '{}'),
			   make_interval(secs => max(cdp._seconds(c.per))) + interval '48 h'
		INTO caps, reach
		FROM cdp.frequency_cap c WHERE c.channel IN (_sendable_many.channel, '*');
	END IF;
	IF reach IS NOT NULL THEN
		uncapped := ARRAY(SELECT u.name FROM cdp.purpose_effective u WHERE NOT u.capped);
		SELECT array_agg(g.profile_id ORDER BY g.profile_id, g.due_at), array_agg(g.due_at ORDER BY g.profile_id, g.due_at), array_agg(g.here ORDER BY g.profile_id, g.due_at)
		INTO got_by, got_at, got_here
		FROM (SELECT u.id AS profile_id, o.due_at, o.channel = _sendable_many.channel AS here
			  FROM (SELECT a.id, min(a.at) AS at FROM unnest(profiles, instants) AS a(id, at) GROUP BY a.id) u
			  CROSS JOIN LATERAL (SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = u.id OFFSET 0) m
			  CROSS JOIN LATERAL (SELECT o.due_at, o.channel, o.purpose FROM cdp.outbox o
								  WHERE o.profile_id = m.profile_id AND o.due_at > u.at - reach AND o.recipient_id = o.profile_id
									AND o.status IN ('pending', 'claimed', 'sent', 'ambiguous')
									-- one that has expired by then reaches nobody any more, whether or not the clock has marked it
									AND NOT (o.status = 'pending' AND coalesce(o.expires_at <= u.at, false)) OFFSET 0) o
			  WHERE o.purpose <> ALL (uncapped)) g;
	END IF;
	IF caps <> '{}' OR quiet <> '{}' THEN
		zones := ARRAY(
			SELECT CASE WHEN EXISTS (SELECT FROM cdp.profile p CROSS JOIN LATERAL (SELECT FROM cdp.trait_value v WHERE v.profile_id = p.profile_id AND v.name = 'timezone' OFFSET 0) v
									 WHERE p.canonical_id = a.id)
						THEN cdp._zone(cdp.trait(a.id, 'timezone') #>> '{}', NULL) END
			FROM unnest(profiles) WITH ORDINALITY AS a(id, n) ORDER BY a.n);
	END IF;
	RETURN QUERY
	SELECT s.n, s.due_at, s.capped_by
	FROM cdp._sendable(profiles, instants, lapses, coalesce(zones, array_fill(NULL::text, ARRAY[cardinality(profiles)])), caps, quiet,
					   coalesce(got_by, '{}'), coalesce(got_at, '{}'), coalesce(got_here, '{}')) s;
END
$$;
COMMENT ON FUNCTION cdp._sendable_many(bigint[], timestamptz[], timestamptz[], text, text)
	IS 'for each message the first instant from its own on at which it may go out, and the first cap that moved it, if one did';

CREATE FUNCTION cdp._sendable_at(profile bigint, purpose text, channel text, at timestamptz, OUT due_at timestamptz, OUT capped_by text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.due_at, s.capped_by FROM cdp._sendable_many(ARRAY[profile], ARRAY[at], ARRAY[NULL::timestamptz], purpose, channel) s;
END;
COMMENT ON FUNCTION cdp._sendable_at(bigint, text, text, timestamptz) IS 'the first instant from this one on at which a message to a profile may go out, and the first cap that moved it, if one did';
