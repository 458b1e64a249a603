/* 35_journey_time: local times in journeys
 *
 * A profile lives in the time zone that its trait "timezone" names, or else in
 * that of the journey (spec.timezone), or else in UTC.  A local time that a
 * clock skips comes as much later as the clock skipped; of one that comes
 * twice the second is meant (PostgreSQL's rules).  Nothing depends on the
 * session's TimeZone.
 */

CREATE FUNCTION cdp._zone(name text, otherwise text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	-- PostgreSQL takes POSIX rules too: what ends in a number is one, but for these names.
	IF name ~* '^([a-z]+(-[a-z]+)?(/[a-z_]+(-[a-z]+)*)*|etc/gmt[+-]?[0-9]{1,2}|gmt[+-]?0|(est5e|cst6c|mst7m|pst8p)dt)$' THEN
		PERFORM timestamp '2000-01-01' AT TIME ZONE name;
		RETURN name;
	END IF;
	RETURN otherwise;
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN otherwise;
END
$$;
COMMENT ON FUNCTION cdp._zone(text, text) IS 'a time zone by its name, or the other one when there is none of that name';

CREATE FUNCTION cdp._profile_zone(profile bigint, otherwise text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN cdp._zone(cdp.trait(profile, 'timezone') #>> '{}', coalesce(otherwise, 'UTC'));
COMMENT ON FUNCTION cdp._profile_zone(bigint, text) IS 'time zone of a profile: its trait "timezone", or else the other one, or else UTC';

CREATE FUNCTION cdp._weekday(name text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT array_position('{monday,tuesday,wednesday,thursday,friday,saturday,sunday}', lower(name));
END;
COMMENT ON FUNCTION cdp._weekday(text) IS 'ISO number of a weekday, Monday is 1; NULL when there is no such day';

-- The next instant, not before "at", at which a local clock shows this time on
-- one of these days (NULL = any).  At most eight days are looked at: a clock
-- that skips a time shows it later on the same day.
CREATE FUNCTION cdp._next_local(at timestamptz, zone text, time_of_day time, weekdays int[]) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT min(c.instant)
	FROM (SELECT (d.day + time_of_day) AT TIME ZONE zone AS instant
		  FROM (SELECT (at AT TIME ZONE zone)::date + n AS day FROM generate_series(-1, 8) n) d
		  WHERE weekdays IS NULL OR extract(isodow FROM d.day)::int = ANY (weekdays)) c
	WHERE c.instant >= at;
END;
COMMENT ON FUNCTION cdp._next_local(timestamptz, text, time, int[]) IS 'the next instant at which a local clock shows this time, on one of these weekdays';

-- A date in a trait: "2026-05-01", or an instant, of which the local date counts
-- when a time of day is asked for.  NULL: the trait holds no date.
CREATE FUNCTION cdp._trait_instant(value text, wait jsonb, zone text, at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	instant		timestamptz := cdp._iso_time(value);
	shift		interval := coalesce(cdp._journey_duration(ltrim(wait ->> 'offset', '+-')), '0');
	shift_days	int := extract(epoch FROM shift) / 86400;
	day			date;
	years		int;
BEGIN
	IF instant IS NULL THEN
		RETURN NULL;
	END IF;
	IF wait ->> 'offset' LIKE '-%' THEN
		shift := -shift;
		shift_days := -shift_days;
	END IF;
	day := CASE WHEN value ~ '^\d{4}-\d\d-\d\d$' THEN value::date
				WHEN wait ?| '{time,yearly}' THEN (instant AT TIME ZONE zone)::date END;
	IF day IS NULL THEN
		RETURN instant + shift;
	END IF;
	-- Whole days are days of the calendar.
	IF extract(epoch FROM shift)::bigint % 86400 = 0 THEN
		shift := '0';
	ELSE
		shift_days := 0;
	END IF;
	IF wait -> 'yearly' = 'true' THEN
		years := greatest(extract(year FROM at - make_interval(days => shift_days) - shift)::int - extract(year FROM day)::int - 2, 0);
		RETURN (SELECT min(c.instant)
				FROM (SELECT ((day + make_interval(years => years + n))::date + shift_days + coalesce((wait ->> 'time')::time, '00:00'))
							 AT TIME ZONE zone + shift AS instant
					  FROM generate_series(0, 4) n) c
				WHERE c.instant >= at);
	END IF;
	RETURN (day + shift_days + coalesce((wait ->> 'time')::time, '00:00')) AT TIME ZONE zone + shift;
END
$$;
COMMENT ON FUNCTION cdp._trait_instant(text, jsonb, text, timestamptz) IS 'the instant that a wait_until step makes of the value of its trait';

-- What has passed already is not waited for; a date that is not known yet is
-- waited for until it is.
CREATE FUNCTION cdp._wait_until(wait jsonb, profile bigint, at timestamptz, otherwise text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	zone	text := cdp._profile_zone(profile, otherwise);
BEGIN
	IF jsonb_typeof(wait) = 'string' THEN
		wait := jsonb_build_object('time', wait);
	END IF;
	IF wait ? 'trait' THEN
		RETURN greatest(at, coalesce(cdp._trait_instant(cdp.trait(profile, wait ->> 'trait') #>> '{}', wait, zone, at), 'infinity'));
	END IF;
	RETURN cdp._next_local(at, zone, coalesce((wait ->> 'time')::time, '00:00'),
		(SELECT array_agg(cdp._weekday(e #>> '{}'))
		 FROM jsonb_array_elements(CASE jsonb_typeof(wait -> 'weekday') WHEN 'array' THEN wait -> 'weekday'
								   WHEN 'string' THEN jsonb_build_array(wait -> 'weekday') END) e));
END
$$;
COMMENT ON FUNCTION cdp._wait_until(jsonb, bigint, timestamptz, text) IS 'when a wait_until step that a profile reaches at this instant is over';
