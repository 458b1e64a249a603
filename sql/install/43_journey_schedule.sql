/* 43_journey_schedule: journeys that time itself starts
 *
 * {"due": "purchase[@diapers]", "before": "3d"}: a row of purchase_due whose
 * due_at comes near writes a trigger for that instant in advance; when the row
 * changes (bought again), the trigger moves with it.
 *
 * {"every": "1w", "at": "2026-01-05T09:00", "who": criteria}: at each of these
 * instants everybody of the audience gets a trigger.
 *
 * Both count from the last run of the clock before the activation; instants
 * before it do not start anything.  Triggers are taken by advance_journeys like
 * any other, in the order of time.
 */

CREATE TABLE cdp.journey_schedule (
	journey	text PRIMARY KEY,
	next_at	timestamptz
);
COMMENT ON TABLE cdp.journey_schedule IS 'when active journeys that start by schedule are to start next';
COMMENT ON COLUMN cdp.journey_schedule.next_at IS 'NULL: at the next call of advance_journeys';

-- "purchase" (the event as a whole: label ''), "purchase[x]", "purchase[@set]";
-- "purchase[*]": each label by itself (label NULL).
CREATE FUNCTION cdp._due_ref(reference text, OUT event text, OUT label text)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(m[1], m[2]),
		   CASE WHEN m[3] IS NULL AND m[4] IS NULL THEN '' WHEN m[4] = '*' THEN NULL ELSE coalesce(m[3], btrim(m[4])) END
	FROM regexp_match(reference, '^\s*(?:"([^"]+)"|([^][{}"@$*\s](?:[^][{}"@$*]*[^][{}"@$*\s])?))\s*(?:\[\s*(?:"([^"]+)"|(\*|@?[^][{}"@$*]+))\s*\])?\s*$') AS m
	WHERE m IS NOT NULL;
END;
COMMENT ON FUNCTION cdp._due_ref(text) IS 'event and label of a repurchase clock that a journey listens to; label NULL is every label; event NULL when malformed';

CREATE FUNCTION cdp._last_tick() RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN (SELECT max(s.last_at) FROM cdp.task_state s);
END
$$;
COMMENT ON FUNCTION cdp._last_tick() IS 'the latest "now" that a run of the clock has had';

-- Which instants the rows of purchase_due start journeys at.
CREATE FUNCTION cdp._due_triggers(rows cdp.purchase_due[]) RETURNS TABLE (journey text, profile_id bigint, at timestamptz, label text, event text, last_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT j.name, d.profile_id, greatest(d.due_at - cdp._journey_duration(v.spec #>> '{entry,before}'), d.last_at), nullif(d.label, ''), d.event, d.last_at
	FROM unnest(rows) d
	JOIN cdp.profile p ON p.profile_id = d.profile_id
	JOIN cdp.journey_listener l ON l.source = 'due' AND l.purpose = 'entry'
	JOIN cdp.journey j ON j.name = l.journey AND j.kind = p.kind
	JOIN cdp.journey_version v ON v.journey = l.journey AND v.version = l.version
	CROSS JOIN LATERAL cdp._due_ref(v.spec #>> '{entry,due}') r
	WHERE d.due_at IS NOT NULL AND r.event = d.event
	  AND CASE WHEN r.label IS NULL THEN d.label <> '' AND left(d.label, 1) <> '@' ELSE r.label = d.label END;
END
$$;
COMMENT ON FUNCTION cdp._due_triggers(cdp.purchase_due[]) IS 'the journeys that rows of purchase_due start, and when';

CREATE FUNCTION cdp._due_event(of_journey text) RETURNS text
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN (SELECT r.event
			FROM cdp.journey j JOIN cdp.journey_version v ON v.journey = j.name AND v.version = j.active_version
			CROSS JOIN LATERAL cdp._due_ref(v.spec #>> '{entry,due}') r
			WHERE j.name = of_journey);
END
$$;
COMMENT ON FUNCTION cdp._due_event(text) IS 'the event whose due dates start a journey';

-- Of a profile with several leaves, the one that did last what is due again: the
-- profile itself if nobody is found.
CREATE FUNCTION cdp._due_leaf(of_journey text, profile bigint, of_label text, at timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	leaves	bigint[] := ARRAY(SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = profile);
	due		text := cdp._due_event(of_journey);
BEGIN
	IF cardinality(leaves) > 1 THEN
		profile := coalesce((
			SELECT t.profile_id
			FROM cdp.timeline_part t
			CROSS JOIN LATERAL cdp.timeline_events(cdp.slice(cdp.only_events(t.timeline, due), NULL, _due_leaf.at + interval '1 microsecond')) e
			WHERE t.profile_id = ANY (leaves) AND CASE
				WHEN of_label IS NULL THEN true
				WHEN starts_with(of_label, '@') THEN e.label IN (SELECT s.label FROM cdp.label_set s WHERE s.name = substr(of_label, 2))
				ELSE e.label = of_label END
			ORDER BY e.at DESC, t.profile_id LIMIT 1), profile);
	END IF;
	RETURN profile;
END
$$;
COMMENT ON FUNCTION cdp._due_leaf(text, bigint, text, timestamptz) IS 'whose run a due date begins: see 36_journey_merge';

-- Called when rows of purchase_due have changed.  Of the triggers they had, those
-- that the profile has bought before go, and those that are still to come.  What
-- lies in the past starts nothing, be it that history, a merge or a new prior says
-- so: only a purchase that has come late is acted on when it comes.
CREATE FUNCTION cdp._move_due_triggers(old_rows cdp.purchase_due[], new_rows cdp.purchase_due[], merged bigint[], now timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM journey_listener l WHERE l.source = 'due') THEN
		RETURN;
	END IF;
	DELETE FROM journey_trigger t USING unnest(old_rows) o JOIN unnest(new_rows) n USING (profile_id, event, label)
	WHERE t.source = 'due' AND t.profile_id = o.profile_id AND t.label IS NOT DISTINCT FROM nullif(o.label, '') AND _due_event(t.name) = o.event
	  AND t.at >= n.last_at AND (t.at > now OR n.last_at <> o.last_at);
	INSERT INTO journey_trigger (source, name, profile_id, at, label)
	SELECT 'due', d.journey, d.profile_id, d.at, d.label
	FROM _due_triggers(new_rows) d
	LEFT JOIN unnest(old_rows) o ON o.profile_id = d.profile_id AND o.event = d.event AND nullif(o.label, '') IS NOT DISTINCT FROM d.label
	WHERE d.at > now OR o.last_at IS DISTINCT FROM d.last_at AND d.profile_id <> ALL (merged)
		AND EXISTS (SELECT FROM profile leaf JOIN event e ON e.profile_id = leaf.profile_id
					WHERE leaf.canonical_id = d.profile_id AND e.at = d.last_at AND e.event = ANY (_raw_events(ARRAY[d.event])) AND NOT e.backfill)
	ORDER BY d.at;
END
$$;
COMMENT ON FUNCTION cdp._move_due_triggers(cdp.purchase_due[], cdp.purchase_due[], bigint[], timestamptz) IS 'journeys that a due date starts follow it';

CREATE FUNCTION cdp._remove_due_triggers() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	DELETE FROM journey_trigger t USING old_rows o
	WHERE t.source = 'due' AND t.profile_id = o.profile_id AND t.label IS NOT DISTINCT FROM nullif(o.label, '') AND _due_event(t.name) = o.event;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._remove_due_triggers() IS 'trigger: a due date that is gone starts nothing';
CREATE TRIGGER purchase_due_delete AFTER DELETE ON cdp.purchase_due REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION cdp._remove_due_triggers();

-- Called by activate, pause and archive with the journey row locked, after its
-- listeners have been rewritten; by simulate_journey for the time it asks about.
CREATE FUNCTION cdp._plan_journey(of_journey text, since timestamptz DEFAULT cdp._last_tick()) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	entry	jsonb;
	start	timestamptz;
	pause	interval;
BEGIN
	DELETE FROM cdp.journey_trigger t WHERE t.source IN ('due', 'schedule') AND t.name = of_journey;
	DELETE FROM cdp.journey_schedule s WHERE s.journey = of_journey;
	SELECT v.spec -> 'entry', coalesce(cdp._iso_time(v.spec #>> '{entry,at}'), cdp._iso_time(v.spec ->> 'from'))
	INTO entry, start
	FROM cdp.journey j JOIN cdp.journey_version v ON v.journey = j.name AND v.version = j.active_version
	WHERE j.name = of_journey AND j.status = 'active';
	IF entry ? 'due' THEN
		INSERT INTO cdp.journey_trigger (source, name, profile_id, at, label)
		SELECT 'due', d.journey, d.profile_id, d.at, d.label
		FROM cdp._due_triggers((SELECT array_agg(w) FROM cdp.purchase_due w, cdp._due_ref(entry ->> 'due') r
								WHERE w.event = r.event AND (r.label IS NULL OR w.label = r.label))) d
		WHERE d.journey = of_journey AND d.at > coalesce(since, '-infinity') ORDER BY d.at;
	ELSIF entry ? 'who' THEN
		pause := cdp._journey_duration(entry ->> 'every');
		IF pause IS NOT NULL AND start <= since THEN
			start := start + pause * (floor(extract(epoch FROM since - start) / extract(epoch FROM pause)) + 1);
		END IF;
		INSERT INTO cdp.journey_schedule (journey, next_at)
		SELECT of_journey, start WHERE pause IS NOT NULL OR start > coalesce(since, '-infinity');
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._plan_journey(text, timestamptz) IS 'makes the schedule, or the due dates after "since", of a journey what its status says';

CREATE FUNCTION cdp._before_schedules(at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(min(coalesce(p.next_at, _before_schedules.at)) - interval '1 microsecond', _before_schedules.at)
	FROM cdp.journey_schedule p JOIN cdp.journey j ON j.name = p.journey AND j.status = 'active'
	WHERE p.next_at IS NULL OR p.next_at <= _before_schedules.at;
END;
COMMENT ON FUNCTION cdp._before_schedules(timestamptz) IS 'this instant, or the last one before an audience is to enter, if that comes first';

-- Who calls has done all earlier work.  Another session may be at one of them:
-- who goes on meanwhile must stop before that instant, or else less important
-- journeys would take the slots of those that are about to enter: hence the result.
CREATE FUNCTION cdp._start_schedules(instant timestamptz, now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	s	record;
BEGIN
	FOR s IN
		SELECT p.journey, j.kind, (v.spec #>> '{entry,who}')::cdp.criteria AS who, cdp._journey_duration(v.spec #>> '{entry,every}') AS every
		FROM cdp.journey_schedule p
		JOIN cdp.journey j ON j.name = p.journey AND j.status = 'active'
		JOIN cdp.journey_version v ON v.journey = j.name AND v.version = j.active_version
		WHERE coalesce(p.next_at, now) = instant
		ORDER BY p.journey FOR UPDATE OF p SKIP LOCKED
	LOOP
		INSERT INTO cdp.journey_trigger (source, name, profile_id, at)
		SELECT 'schedule', s.journey, i, instant FROM cdp.rb_iterate(cdp.audience(s.who, instant, s.kind)) i;
		IF s.every IS NULL THEN
			DELETE FROM cdp.journey_schedule p WHERE p.journey = s.journey;
		ELSE
			UPDATE cdp.journey_schedule p SET next_at = instant + s.every WHERE p.journey = s.journey;
		END IF;
	END LOOP;
	RETURN cdp._before_schedules(now) >= instant;
END
$$;
COMMENT ON FUNCTION cdp._start_schedules(timestamptz, timestamptz) IS 'writes triggers for the audiences of schedules that start at an instant; false when another session is still at it';
