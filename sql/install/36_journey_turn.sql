/* 36_journey_turn: which steps are done together
 *
 * What is due about one profile at one instant is done in the order of journey,
 * version and step, and each step sees what those before it have done.  Runs of
 * different profiles have nothing to do with each other (unless entries are
 * limited: then every step goes by itself).  So the runs of one profile are dealt
 * out to turns, and all runs of a turn go together.  Most steps do not see what
 * others do, and need no turn of their own:
 *
 *		What steps change		tags; traits (set_trait); runs, and the tags journey:NAME
 *								and held_out:NAME (journey, and whatever ends); messages and
 *								their events message_sent, which no journey can listen to
 *		Who looks at that		a rule (if, switch, exit.when), a journey step (entry.when, what
 *								runs there are), set_trait and messages that put in a tag or a trait:
 *								_looks_around.  What depends on a trait (the time zone, a date) is
 *								changed by set_trait only, which has a turn of its own.
 *		Messages				count for the caps of the next: those of one channel and purpose are
 *								decided in their order in one go (_choose_channels), others, and what
 *								has several channels, one turn after the other; those of purposes
 *								that are not capped do not count.
 */

CREATE FUNCTION cdp._looks_around(plan cdp._plan) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN plan.todo ?| '{if,switch,journey,set_trait}' OR plan.spec -> 'exit' @? '$[*].when'
		OR coalesce(plan.todo #>> '{send,params}' ~ '\{\{\s*(tag|trait)\.', false);
END
$$;
COMMENT ON FUNCTION cdp._looks_around(cdp._plan) IS 'does a step depend on what others do at the same instant?';

-- NULL: its messages count for nothing, or it sends none.
CREATE FUNCTION cdp._competes_for(plan cdp._plan) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	send		jsonb := plan.todo -> 'send';
	with_purpose text := coalesce(plan.spec ->> 'purpose', 'marketing');
BEGIN
	-- (A message right after a wait is of a profile that has nothing else due.)
	IF send IS NULL OR NOT coalesce((SELECT u.capped FROM cdp.purpose_effective u WHERE u.name = with_purpose), true) THEN
		RETURN NULL;
	END IF;
	RETURN CASE WHEN cdp._sends_simply(send) THEN concat_ws('|', send ->> 'channel', with_purpose, plan.spec ? 'purpose')
				ELSE concat_ws('|', plan.journey, plan.version, plan.step) END;
END
$$;
COMMENT ON FUNCTION cdp._competes_for(cdp._plan) IS 'messages with the same answer are decided in one go';

-- Less important journeys come when the more important ones have nothing left
-- to do at this instant: who competes for a message that a cap allows.
CREATE FUNCTION cdp._take_steps(profiles bigint[], instants timestamptz[], limited boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	items	cdp._due[];
	plans	cdp._plan[];
	looks	boolean[];
	slots	text[];
	turns	int[];
	done	bigint := 0;
BEGIN
	WITH due AS MATERIALIZED (
		SELECT s.*, dense_rank() OVER (ORDER BY s.journey, s.version, s.step)::int AS plan
		FROM (SELECT s.*, v.priority, max(v.priority) OVER (PARTITION BY s.profile_id) AS first, count(*) OVER (PARTITION BY s.profile_id) AS num
			  FROM unnest(profiles, instants) AS w(profile_id, at)
			  CROSS JOIN LATERAL (SELECT o.run_id, o.profile_id, o.journey, o.version, o.step FROM cdp.journey_state o
								  WHERE o.profile_id = w.profile_id AND o.status = 'active' AND o.due_at + interval '0' = w.at OFFSET 0) s
			  JOIN cdp.journey j ON j.name = s.journey AND j.status = 'active'
			  JOIN cdp.journey_version v ON v.journey = s.journey AND v.version = s.version) s
		WHERE s.priority = s.first
	)
	SELECT (SELECT array_agg((d.run_id, d.profile_id, d.plan, d.num = 1)::cdp._due ORDER BY d.plan, d.profile_id, d.run_id) FROM due d),
		   (SELECT array_agg((x.journey, x.version, x.step, v.spec, v.spec #> ARRAY['steps', x.step])::cdp._plan ORDER BY x.plan)
			FROM (SELECT DISTINCT d.plan, d.journey, d.version, d.step FROM due d) x
			CROSS JOIN LATERAL (SELECT v.spec FROM cdp.journey_version v WHERE v.journey = x.journey AND v.version = x.version OFFSET 0) v)
	INTO items, plans;
	IF items IS NULL THEN
		RETURN 0;
	ELSIF limited THEN
		FOR n IN 1 .. cardinality(plans) LOOP
			done := done + cdp._do_steps_each(plans, ARRAY(SELECT i FROM unnest(items) i WHERE i.plan = n ORDER BY i.profile_id, i.run_id));
		END LOOP;
		RETURN done;
	END IF;

	looks := ARRAY(SELECT cdp._looks_around(plans[n]) FROM generate_subscripts(plans, 1) n ORDER BY n);
	slots := ARRAY(SELECT cdp._competes_for(plans[n]) FROM generate_subscripts(plans, 1) n ORDER BY n);
	IF NOT true = ANY (looks) AND (SELECT count(DISTINCT s) FROM unnest(slots) s) <= 1 THEN
		RETURN cdp._do_steps_each(plans, items);
	END IF;
	SELECT array_agg(t.turn ORDER BY t.n) INTO turns
	FROM (SELECT i.n, 1 + sum(i.new::int) OVER (PARTITION BY i.profile_id ORDER BY i.n) AS turn
		  FROM (SELECT i.n, i.profile_id,
					   coalesce(lag(i.plan) OVER w <> i.plan AND (looks[i.plan] OR looks[lag(i.plan) OVER w]
							OR slots[i.plan] IS NOT NULL AND min(slots[i.plan]) OVER p <> max(slots[i.plan]) OVER p), false) AS new
				FROM unnest(items) WITH ORDINALITY AS i(run_id, profile_id, plan, alone, n)
				WINDOW w AS (PARTITION BY i.profile_id ORDER BY i.n), p AS (PARTITION BY i.profile_id)) i) t;
	FOR n IN 1 .. (SELECT max(t) FROM unnest(turns) t) LOOP
		done := done + cdp._do_steps_each(plans, ARRAY(SELECT items[i] FROM generate_subscripts(turns, 1) i WHERE turns[i] = n ORDER BY i));
	END LOOP;
	RETURN done;
END
$$;
COMMENT ON FUNCTION cdp._take_steps(bigint[], timestamptz[], boolean)
	IS 'does one step of each of the most important runs that a profile (locked by the caller) has due at its instant; a message after a wait at once, if there is nothing else';
