/* 36_journey_limit: how many may enter a journey, and how many may be in it
 *
 * entry.cap {"max", "per"}: at most max entries in any stretch of that length
 * (without "per", ever); held-out people count, so that both sides of a
 * comparison are cut alike.  entry.concurrency: at most so many active runs at
 * any instant.  Both count the runs of all versions.
 *
 * Exact, whoever enters people at once: entries into such journeys are decided
 * under one advisory lock, held until the end of the transaction.  Instants need
 * not come in order (within a minute, advance_journeys goes from profile to
 * profile), so an entry looks at every stretch that it would lie in, and at
 * every later instant.
 *
 * The lock comes after the profile rows.  Who waits for it holds profiles, so
 * nobody may wait for a profile while holding it: advance_journeys never waits
 * for profiles, and enter_journey takes all of its audience first.
 */

CREATE FUNCTION cdp._limited(spec jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN spec -> 'entry' ?| '{cap,concurrency}';
COMMENT ON FUNCTION cdp._limited(jsonb) IS 'whether a journey limits its entries or runs';

CREATE FUNCTION cdp._lock_limits() RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT pg_advisory_xact_lock(hashtextextended('marketing_cdp journey limits', 0));
END;
COMMENT ON FUNCTION cdp._lock_limits() IS 'from here on nobody else enters a journey whose entries or runs are limited';

CREATE FUNCTION cdp._end_of_minute(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_timestamp(ceil(extract(epoch FROM at) / 60)::double precision * 60);
COMMENT ON FUNCTION cdp._end_of_minute(timestamptz) IS 'the next full minute, this one included';

-- Called by activate_journey with the journey row locked: nobody enters.
CREATE FUNCTION cdp._count_runs(of_journey text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF EXISTS (SELECT FROM cdp.journey j JOIN cdp.journey_version v ON v.journey = j.name AND v.version = j.active_version
			   WHERE j.name = of_journey AND cdp._limited(v.spec)) THEN
		UPDATE cdp.journey_state s SET counted = true WHERE s.journey = of_journey AND NOT s.counted;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._count_runs(text) IS 'makes earlier runs of a journey count for its limits, once it has some';

-- How many more may enter at an instant.  Of the stretches that begin at an
-- entry, or at the instant itself, the fullest decides.
CREATE FUNCTION cdp._cap_room(of_journey text, max bigint, per interval, at timestamptz, more timestamptz[]) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	near	bigint;
	instant	timestamptz := at;
BEGIN
	IF per IS NULL THEN
		RETURN max - cardinality(more) - (SELECT count(*) FROM (SELECT FROM cdp.journey_state s WHERE s.journey = of_journey AND s.counted LIMIT max) x);
	END IF;
	-- Usually nobody has entered later.
	SELECT count(*) INTO near
	FROM (SELECT FROM cdp.journey_state s WHERE s.journey = of_journey AND s.counted AND s.entered_at > instant - per AND s.entered_at <= instant LIMIT max) x;
	near := near + (SELECT count(*) FROM unnest(more) m WHERE m > instant - per AND m <= instant);
	IF near >= max OR NOT EXISTS (SELECT FROM cdp.journey_state s WHERE s.journey = of_journey AND s.counted AND s.entered_at > instant AND s.entered_at < instant + per) THEN
		RETURN max - near;
	END IF;
	RETURN max - (
		SELECT max(w.n)
		FROM (SELECT e.at, sum(e.n) OVER (ORDER BY e.at RANGE BETWEEN CURRENT ROW AND (per - interval '1 microsecond') FOLLOWING) AS n
			  FROM (SELECT s.entered_at AS at, 1 AS n FROM cdp.journey_state s
					WHERE s.journey = of_journey AND s.counted AND s.entered_at > instant - per AND s.entered_at < instant + per
					UNION ALL SELECT m, 1 FROM unnest(more) m WHERE m > instant - per
					UNION ALL SELECT instant, 0) e) w
		WHERE w.at <= instant);
END
$$;
COMMENT ON FUNCTION cdp._cap_room(text, bigint, interval, timestamptz, timestamptz[]) IS 'how many more may enter a journey at an instant, besides those (more) who have just been let in';

-- Usually nobody has left later than that: then all who are active are there at
-- once some time.  A run that ended as it began was never there.
CREATE FUNCTION cdp._most_inside(of_journey text, since timestamptz, enough bigint) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM cdp.journey_state s WHERE s.journey = of_journey AND s.counted AND s.ended_at > since AND s.ended_at > s.entered_at) THEN
		RETURN (SELECT count(*) FROM (SELECT FROM cdp.journey_state s WHERE s.journey = of_journey AND s.status = 'active' AND s.due_at > '-infinity' LIMIT enough) x);
	END IF;
	RETURN (
		SELECT coalesce(max(w.n), 0)
		FROM (SELECT sum(e.n) OVER (ORDER BY e.at, e.n) AS n
			  FROM (SELECT s.entered_at, 'infinity'::timestamptz AS ended_at FROM cdp.journey_state s WHERE s.journey = of_journey AND s.status = 'active' AND s.due_at > '-infinity'
					UNION ALL
					SELECT s.entered_at, s.ended_at FROM cdp.journey_state s WHERE s.journey = of_journey AND s.counted AND s.ended_at > since AND s.ended_at > s.entered_at) r
			  CROSS JOIN LATERAL (VALUES (greatest(r.entered_at, since), 1), (r.ended_at, -1)) e(at, n)) w);
END
$$;
COMMENT ON FUNCTION cdp._most_inside(text, timestamptz, bigint) IS 'how many runs of a journey are active at once, at the fullest instant from this one on (it is enough to know that there are so many)';

-- By instant, then by profile id.
CREATE FUNCTION cdp._over_limit(of_journey text, spec jsonb, profiles bigint[], instants timestamptz[], stays boolean[])
RETURNS TABLE (profile_id bigint, reason text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	cap		bigint := (spec #>> '{entry,cap,max}')::bigint;
	per		interval := cdp._journey_duration(spec #>> '{entry,cap,per}');
	most	bigint := (spec #>> '{entry,concurrency}')::bigint;
	inside	bigint := 0;	-- who has just been let in and stays
	room	bigint;
	seats	bigint;
	let_in	timestamptz[] := '{}';
	g		record;
BEGIN
	FOR g IN
		SELECT u.at, array_agg(u.profile_id ORDER BY u.profile_id) AS profiles, array_agg(u.stays ORDER BY u.profile_id) AS stays
		FROM unnest(profiles, instants, stays) u(profile_id, at, stays) GROUP BY u.at ORDER BY u.at
	LOOP
		IF cap IS NOT NULL THEN
			room := cdp._cap_room(of_journey, cap, per, g.at, let_in);
		END IF;
		IF most IS NOT NULL THEN
			seats := most - cdp._most_inside(of_journey, g.at, most) - inside;
		END IF;
		FOR i IN 1 .. cardinality(g.profiles) LOOP
			IF room <= 0 THEN
				RETURN QUERY SELECT g.profiles[i], 'cap: ' || cap || coalesce(' per ' || (spec #>> '{entry,cap,per}'), '');
			ELSIF seats <= 0 THEN
				RETURN QUERY SELECT g.profiles[i], 'concurrency: ' || most;
			ELSE
				let_in := let_in || g.at;
				room := room - 1;
				IF g.stays[i] THEN
					inside := inside + 1;
					seats := seats - 1;
				END IF;
			END IF;
		END LOOP;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._over_limit(text, jsonb, bigint[], timestamptz[], boolean[]) IS 'which of these profiles are too many for a journey; stays: not held out';
