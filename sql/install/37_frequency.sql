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
	CONSTRAINT frequency_cap_per_check CHECK (per > interval '0' AND (kind = 'rolling' OR extract(epoch FROM per)::bigint % 86400 = 0)),
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

-- With several quiet hours the end of one may lie in another: as many turns as
-- there can be ends, and changes of the clock, in a day or two, then it is quiet
-- for ever.  own: the time zone that the profile names.
CREATE FUNCTION cdp._quiet_end(own text, channel text, at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	q		record;
	turns	int := (SELECT 3 * count(*) + 2 FROM cdp.quiet_hours h WHERE h.channel IN (_quiet_end.channel, '*'));
BEGIN
	FOR turn IN 1 .. turns LOOP
		SELECT h.until, h.since = h.until AS always, x.zone INTO q
		FROM cdp.quiet_hours h
		CROSS JOIN LATERAL (SELECT CASE WHEN own IS NULL THEN h.tz ELSE cdp._zone(own, h.tz) END AS zone) x
		CROSS JOIN LATERAL (SELECT (at AT TIME ZONE x.zone)::time AS clock) l
		WHERE h.channel IN (_quiet_end.channel, '*')
		  AND CASE WHEN h.since < h.until THEN l.clock >= h.since AND l.clock < h.until ELSE l.clock >= h.since OR l.clock < h.until END
		ORDER BY h.since = h.until DESC, h.channel, h.since LIMIT 1;
		IF NOT FOUND THEN
			RETURN at;
		ELSIF q.always THEN
			EXIT;
		END IF;
		at := cdp._clock_reaches(at, q.zone, q.until);
	END LOOP;
	RETURN 'infinity';
END
$$;
COMMENT ON FUNCTION cdp._quiet_end(text, text, timestamptz) IS 'the first instant from this one on that is not quiet on a channel for who lives in a time zone; infinity when there is none';

CREATE FUNCTION cdp._quiet_until(profile bigint, channel text, at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN cdp._quiet_end(cdp.trait(profile, 'timezone') #>> '{}', channel, at);
COMMENT ON FUNCTION cdp._quiet_until(bigint, text, timestamptz) IS 'the first instant from this one on that is not quiet for a profile on a channel; infinity when there is none';

-- Instants from which a cap could be kept: this one, and each at which a message
-- that counts is long enough ago.
CREATE FUNCTION cdp._cap_free_at(sent timestamptz[], max int, seconds double precision, days int, zone text, at timestamptz) RETURNS timestamptz
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__cap_free_at';
COMMENT ON FUNCTION cdp._cap_free_at(timestamptz[], int, double precision, int, text, timestamptz)
	IS 'the first instant from this one on at which one more message would keep a cap, after those sent (ascending); days 0: rolling; infinity when there is none';

-- What holds a message back, one after the other until nothing moves it any more.
-- What the profile has got is read once: a calendar day has at most 25 hours, and
-- touches on others.
CREATE FUNCTION cdp._sendable_at(profile bigint, purpose text, channel text, at timestamptz, OUT due_at timestamptz, OUT capped_by text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET intervalstyle = 'postgres' AS $$
DECLARE
	rule		record;
	free		record;
	own			text;
	reach		interval;
	members		bigint[];
	got			timestamptz[];	-- on any channel
	got_here	timestamptz[];
BEGIN
	due_at := at;
	SELECT coalesce(bool_and(u.quiet), true) AS quiet, coalesce(bool_and(u.capped), true) AS capped INTO rule
	FROM cdp.purpose_effective u WHERE u.name = _sendable_at.purpose;
	own := cdp.trait(profile, 'timezone') #>> '{}';
	IF rule.capped THEN
		reach := (SELECT make_interval(secs => max(cdp._seconds(c.per))) + interval '48 h' FROM cdp.frequency_cap c WHERE c.channel IN (_sendable_at.channel, '*'));
		members := ARRAY(SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = _sendable_at.profile);
		SELECT coalesce(array_agg(o.due_at ORDER BY o.due_at), '{}'),
			   coalesce(array_agg(o.due_at ORDER BY o.due_at) FILTER (WHERE o.channel = _sendable_at.channel), '{}')
		INTO got, got_here
		FROM cdp.outbox o
		WHERE o.profile_id = ANY (members) AND o.recipient_id = o.profile_id AND o.status IN ('pending', 'claimed', 'sent', 'ambiguous')
		  AND o.due_at > _sendable_at.at - reach
		  AND coalesce((SELECT u.capped FROM cdp.purpose_effective u WHERE u.name = o.purpose), true);
	END IF;
	FOR turn IN 1 .. 1000 LOOP
		IF rule.quiet THEN
			due_at := cdp._quiet_end(own, channel, due_at);
		END IF;
		EXIT WHEN reach IS NULL OR due_at = 'infinity';
		SELECT f.at, format('%s per %s on %s', c.max, c.per, c.channel) AS cap INTO free
		FROM cdp.frequency_cap c
		CROSS JOIN LATERAL (
			SELECT CASE WHEN cardinality(s.sent) < c.max THEN due_at
				ELSE cdp._cap_free_at(s.sent, c.max, cdp._seconds(c.per), CASE c.kind WHEN 'rolling' THEN 0 ELSE (cdp._seconds(c.per) / 86400)::int END,
					CASE WHEN own IS NULL THEN c.tz ELSE cdp._zone(own, c.tz) END, due_at) END AS at
			FROM (SELECT CASE c.channel WHEN '*' THEN got ELSE got_here END AS sent) s) f
		WHERE c.channel IN (_sendable_at.channel, '*') AND f.at > due_at
		ORDER BY f.at DESC, c.channel, c.per LIMIT 1;
		EXIT WHEN NOT FOUND;
		due_at := free.at;
		capped_by := coalesce(capped_by, free.cap);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._sendable_at(bigint, text, text, timestamptz) IS 'the first instant from this one on at which a message to a profile may go out, and the first cap that moved it, if one did';
