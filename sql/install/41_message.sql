/* 41_message: whether a send step sends, to whom, how and when
 *
 * The caller of _send holds the row of each run's profile, so caps are counted
 * under it: of two sessions that write to one profile the second sees what the
 * first has written.  A message to a related profile (its representative …) is
 * no message to a customer: caps and quiet hours leave it alone.
 */

CREATE FUNCTION cdp._address(of_profile bigint, of_channel text) RETURNS text
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	space	text := (SELECT c.namespace FROM cdp.channel_effective c WHERE c.name = of_channel);
BEGIN
	RETURN (SELECT cdp.value(l.identifier)
			FROM cdp.profile p
			CROSS JOIN LATERAL (SELECT l.identifier, l.at FROM cdp.identifier_link l WHERE l.profile_id = p.profile_id OFFSET 0) l
			WHERE p.canonical_id = of_profile AND cdp.namespace(l.identifier) = space
			  AND NOT EXISTS (SELECT FROM cdp.bounced_address b WHERE b.channel = of_channel AND b.address = cdp.value(l.identifier))
			ORDER BY l.at DESC, l.identifier LIMIT 1);
END
$$;
COMMENT ON FUNCTION cdp._address(bigint, text) IS 'the newest identifier of a canonical profile in the namespace of a channel that has not bounced';

-- What the consent of a recipient is held to.  A related profile is written to
-- on behalf of the profile: it may refuse, but need not have granted anything.
CREATE FUNCTION cdp._declared(spec jsonb, profile bigint, recipient bigint) RETURNS boolean
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN spec ? 'purpose' AND (profile = recipient OR NOT cdp._needs_consent(spec ->> 'purpose'));
COMMENT ON FUNCTION cdp._declared(jsonb, bigint, bigint) IS 'whether consent to the purpose of a journey must have been granted, or only not refused';

-- The first channel that is reachable, consented and not held back.  A single channel is
-- taken without an address, too: its sender may know one.
CREATE FUNCTION cdp._choose_channel(spec jsonb, send jsonb, profile bigint, at timestamptz,
	OUT recipient bigint, OUT channel text, OUT address text, OUT due_at timestamptz, OUT reason text, OUT free_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	purpose	text := coalesce(spec ->> 'purpose', 'marketing');
	lapses	timestamptz := at + cdp._journey_duration(send ->> 'expires');
	option	text;
	slot	record;
BEGIN
	IF jsonb_typeof(send -> 'to') = 'object' THEN
		recipient := (SELECT r FROM cdp.related(profile, send #>> '{to,relation}', at) r LIMIT 1);
		IF recipient IS NULL THEN
			reason := format('nobody is related as "%s"', send #>> '{to,relation}');
			RETURN;
		END IF;
	ELSE
		recipient := profile;
	END IF;

	FOR option IN SELECT jsonb_array_elements_text(CASE jsonb_typeof(send -> 'channel') WHEN 'array' THEN send -> 'channel'
												   ELSE jsonb_build_array(send -> 'channel') END) LOOP
		address := cdp._address(recipient, option);
		IF address IS NULL AND cdp._has_bounced(recipient, option) THEN
			reason := concat_ws('; ', reason, 'bounced: ' || option);
			CONTINUE;
		ELSIF address IS NULL AND jsonb_typeof(send -> 'channel') = 'array' THEN
			reason := concat_ws('; ', reason, 'no address for ' || option);
			CONTINUE;
		END IF;
		IF NOT cdp._message_consented(recipient, purpose, option, cdp._declared(spec, profile, recipient), at) THEN
			reason := concat_ws('; ', reason, format('consent: %s on %s', purpose, option));
			CONTINUE;
		END IF;
		IF recipient <> profile THEN
			due_at := at;
		ELSE
			SELECT s.due_at, s.capped_by INTO slot FROM cdp._sendable_at(profile, purpose, option, at) s;
			IF slot.capped_by IS NOT NULL THEN
				reason := concat_ws('; ', reason, 'capped: ' || slot.capped_by);
				free_at := least(free_at, slot.due_at);
				CONTINUE;
			ELSIF slot.due_at = 'infinity' OR slot.due_at >= lapses THEN
				reason := concat_ws('; ', reason, CASE slot.due_at WHEN 'infinity' THEN 'quiet at all hours' ELSE 'quiet until it has expired' END);
				CONTINUE;
			END IF;
			due_at := slot.due_at;
		END IF;
		channel := option;
		reason := NULL;
		RETURN;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._choose_channel(jsonb, jsonb, bigint, timestamptz) IS 'how and when a message may go out; else channel is NULL, with the reasons and when a cap would let it';

CREATE FUNCTION cdp._sends_simply(send jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN jsonb_typeof(send -> 'channel') = 'string' AND jsonb_typeof(send -> 'to') IS DISTINCT FROM 'object';
COMMENT ON FUNCTION cdp._sends_simply(jsonb) IS 'does a message go to the profile itself, on one channel?';

CREATE TYPE cdp._choice AS (run cdp.journey_state, recipient bigint, channel text, address text, goes_at timestamptz, reason text, free_at timestamptz, plan int);
COMMENT ON TYPE cdp._choice IS 'how and when a run''s message may go out, or why it may not';

-- _choose_channel for runs that come in the order in which they send, those of one
-- profile after each other.  One channel and the profile itself (of all plans, and
-- the same purpose): a few queries for all of them, and the message of one run
-- counts for the next.  What is asked about profiles is asked once for each: firsts
-- says at which run.  Lists and related profiles are asked about one by one: then
-- the runs are of one plan and of different profiles.
CREATE FUNCTION cdp._choose_channels(plans cdp._plan[], items cdp._due[]) RETURNS SETOF cdp._choice
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	spec		jsonb := (plans[items[1].plan]).spec;
	send		jsonb := (plans[items[1].plan]).todo -> 'send';
	purpose		text := coalesce(spec ->> 'purpose', 'marketing');
	option		text := send ->> 'channel';
	space		text := (SELECT c.namespace FROM cdp.channel_effective c WHERE c.name = option);
	expires		interval[];			-- by plan
	some_bounced boolean := EXISTS (SELECT FROM cdp.bounced_address b WHERE b.channel = option);
	profiles	bigint[];			-- from here on by run
	instants	timestamptz[];
	firsts		int[];
	addresses	text[];
	reasons		text[];
	dues		timestamptz[];
	caps		text[];
	refused		bigint[];
BEGIN
	IF NOT cdp._sends_simply(send) THEN
		RETURN QUERY
		SELECT s, c.recipient, c.channel, c.address, c.due_at, c.reason, c.free_at, items[1].plan
		FROM cdp._runs(ARRAY(SELECT i.run_id FROM unnest(items) i)) s CROSS JOIN LATERAL cdp._choose_channel(spec, send, s.profile_id, s.due_at) c;
		RETURN;
	END IF;
	expires := ARRAY(SELECT cdp._journey_duration(p.todo #>> '{send,expires}') FROM unnest(plans) WITH ORDINALITY AS p(journey, version, step, spec, todo, n) ORDER BY p.n);
	SELECT array_agg(i.profile_id ORDER BY i.n), array_agg(i.due_at ORDER BY i.n), array_agg(i.first ORDER BY i.n)
	INTO profiles, instants, firsts
	FROM (SELECT i.n, i.profile_id, s.due_at, min(i.n) OVER (PARTITION BY i.profile_id)::int AS first
		  FROM unnest(items) WITH ORDINALITY AS i(run_id, profile_id, plan, alone, n)
		  CROSS JOIN LATERAL (SELECT o.due_at FROM cdp.journey_state o WHERE o.run_id = i.run_id OFFSET 0) s) i;
	refused := cdp._not_consented(ARRAY(SELECT profiles[n] FROM generate_subscripts(firsts, 1) n WHERE firsts[n] = n ORDER BY n), purpose, option, spec ? 'purpose',
								  ARRAY(SELECT instants[n] FROM generate_subscripts(firsts, 1) n WHERE firsts[n] = n ORDER BY n));
	addresses := ARRAY(
		SELECT CASE WHEN firsts[n] = n THEN (
			SELECT cdp.value(l.identifier)
			FROM cdp.profile p
			CROSS JOIN LATERAL (SELECT l.identifier, l.at FROM cdp.identifier_link l WHERE l.profile_id = p.profile_id OFFSET 0) l
			WHERE p.canonical_id = profiles[n] AND cdp.namespace(l.identifier) = space
			  AND NOT (some_bounced AND EXISTS (SELECT FROM cdp.bounced_address b WHERE b.channel = option AND b.address = cdp.value(l.identifier)))
			ORDER BY l.at DESC, l.identifier LIMIT 1) END
		FROM generate_subscripts(firsts, 1) n ORDER BY n);
	reasons := ARRAY(
		SELECT CASE WHEN some_bounced AND addresses[firsts[n]] IS NULL AND cdp._has_bounced(profiles[n], option) THEN 'bounced: ' || option
					WHEN profiles[n] IN (SELECT unnest(refused)) THEN format('consent: %s on %s', purpose, option) END
		FROM generate_subscripts(firsts, 1) n ORDER BY n);
	IF (SELECT u.quiet OR u.capped FROM cdp.purpose_effective u WHERE u.name = purpose) IS NOT FALSE THEN
		-- who is refused already takes nobody's place: has lapsed
		SELECT array_agg(f.due_at ORDER BY f.n), array_agg(f.capped_by ORDER BY f.n) INTO dues, caps
		FROM cdp._sendable_many(profiles, instants, ARRAY(SELECT CASE WHEN reasons[n] IS NULL THEN instants[n] + expires[items[n].plan] ELSE '-infinity' END
														  FROM generate_subscripts(reasons, 1) n ORDER BY n), purpose, option) f;
		reasons := ARRAY(
			SELECT CASE
				WHEN reasons[n] IS NOT NULL THEN reasons[n]
				WHEN caps[n] IS NOT NULL THEN 'capped: ' || caps[n]
				WHEN dues[n] = 'infinity' THEN 'quiet at all hours'
				WHEN dues[n] >= instants[n] + expires[items[n].plan] THEN 'quiet until it has expired' END
			FROM generate_subscripts(reasons, 1) n ORDER BY n);
	ELSE
		dues := instants;
	END IF;
	RETURN QUERY
	SELECT s.run, i.profile_id, CASE WHEN reasons[i.n] IS NULL THEN option END, CASE WHEN reasons[i.n] IS NULL THEN addresses[firsts[i.n]] END,
		   CASE WHEN reasons[i.n] IS NULL THEN dues[i.n] END, reasons[i.n], CASE WHEN starts_with(reasons[i.n], 'capped: ') THEN dues[i.n] END, i.plan
	FROM unnest(items) WITH ORDINALITY AS i(run_id, profile_id, plan, alone, n)
	CROSS JOIN LATERAL (SELECT o AS run FROM cdp.journey_state o WHERE o.run_id = i.run_id OFFSET 0) s;
END
$$;
COMMENT ON FUNCTION cdp._choose_channels(cdp._plan[], cdp._due[]) IS 'how and when the messages of runs may go out';

-- One row for each message, in the order of the choices: its idempotency key (journey,
-- version, run, step and visit) and parameters.  The key is the same whenever the step is done.
CREATE FUNCTION cdp._message_rows(choices cdp._choice[], of_step text, params jsonb, pieces cdp._piece[])
RETURNS TABLE (idempotency_key text, profile_id bigint, recipient_id bigint, address text, channel text, params_ jsonb,
	journey text, version int, run_id bigint, variant text, goes_at timestamptz, due_at timestamptz)
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__message_rows';
COMMENT ON FUNCTION cdp._message_rows(cdp._choice[], text, jsonb, cdp._piece[]) IS 'the messages that a send step writes, without what they all share';

CREATE FUNCTION cdp._message_events(choices cdp._choice[], of_step text, campaign text, template text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__message_events';
COMMENT ON FUNCTION cdp._message_events(cdp._choice[], text, text, text) IS 'stores messages as events message_sent';

-- The messages of one plan and profile, if they are not simple, one after the
-- other: the second run counts the message of the first.  Event and log name the
-- leaf whose run it is.
CREATE FUNCTION cdp._send(plans cdp._plan[], items cdp._due[]) RETURNS cdp._due[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
	batch		cdp._due[];
	choices		cdp._choice[];
	held		bigint[];
	stay		bigint[];
	until		timestamptz[];
	part		cdp._due[];
BEGIN
	FOR batch IN
		SELECT array_agg((i.run_id, i.profile_id, i.plan, i.alone)::cdp._due ORDER BY i.profile_id, i.plan, i.run_id)
		FROM (SELECT i.*, k.key, CASE WHEN k.simple THEN 1 ELSE row_number() OVER (PARTITION BY i.plan, i.profile_id ORDER BY i.run_id) END AS turn
			  FROM unnest(items) i
			  CROSS JOIN LATERAL (SELECT cdp._sends_simply((plans[i.plan]).todo -> 'send') AS simple OFFSET 0) x
			  CROSS JOIN LATERAL (SELECT x.simple, CASE WHEN x.simple THEN concat_ws('|', (plans[i.plan]).todo #>> '{send,channel}', (plans[i.plan]).spec ->> 'purpose')
														ELSE '|' || i.plan END AS key) k) i
		GROUP BY i.key, i.turn ORDER BY min(i.plan), i.turn
	LOOP
		-- The runs come as values: a join with their table would be planned for
		-- as many rows as the planner believes any set has.
		choices := ARRAY(SELECT c FROM cdp._choose_channels(plans, batch) c);
		INSERT INTO cdp.outbox (idempotency_key, profile_id, recipient_id, address, channel, purpose, declared, template, params,
								campaign, journey, version, run_id, step, variant, priority, due_at, expires_at)
		SELECT m.idempotency_key, m.profile_id, m.recipient_id, m.address, m.channel, coalesce(p.spec ->> 'purpose', 'marketing'),
			   p.spec ? 'purpose' AND (m.profile_id = m.recipient_id OR cdp._declared(p.spec, m.profile_id, m.recipient_id)), p.template, m.params_,
			   p.campaign, m.journey, m.version, m.run_id, p.step, m.variant, p.priority, m.goes_at, m.due_at + p.expires
		FROM (SELECT c.plan, array_agg(c ORDER BY (c.run).profile_id, (c.run).run_id) AS choices FROM unnest(choices) c WHERE c.channel IS NOT NULL GROUP BY c.plan ORDER BY c.plan) g
		CROSS JOIN LATERAL (SELECT (plans[g.plan]).step, (plans[g.plan]).spec, (plans[g.plan]).todo #>> '{send,template}' AS template, (plans[g.plan]).spec ->> 'campaign' AS campaign,
								   coalesce(((plans[g.plan]).spec ->> 'priority')::int, 50) AS priority, cdp._journey_duration((plans[g.plan]).todo #>> '{send,expires}') AS expires,
								   coalesce((plans[g.plan]).todo #> '{send,params}', '{}') AS params OFFSET 0) p
		CROSS JOIN LATERAL cdp._message_rows(g.choices, p.step, p.params, cdp._pieces(p.params)) m;
		PERFORM cdp._message_events(g.choices, (plans[g.plan]).step, (plans[g.plan]).spec ->> 'campaign', (plans[g.plan]).todo #>> '{send,template}')
		FROM (SELECT c.plan, array_agg(c ORDER BY (c.run).profile_id, (c.run).run_id) AS choices FROM unnest(choices) c WHERE c.channel IS NOT NULL GROUP BY c.plan ORDER BY c.plan) g;
		WITH choice AS MATERIALIZED (
			SELECT (c.run).due_at, coalesce((c.run).owner_id, (c.run).profile_id) AS owner_id, (c.run).journey, (c.run).version, (c.run).run_id, (plans[c.plan]).step, c.channel, c.reason, c.free_at,
				   CASE WHEN c.channel IS NULL AND c.free_at IS NOT NULL THEN coalesce((plans[c.plan]).todo #>> '{send,if_capped}', 'skip') END AS capped
			FROM unnest(choices) c
		), logged AS (
			INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
			SELECT c.due_at, c.owner_id, c.journey, c.version, c.run_id, c.step,
				   CASE WHEN c.channel IS NOT NULL THEN 'sent' WHEN c.capped = 'wait' AND c.free_at < 'infinity' THEN 'waiting' ELSE 'refused' END,
				   coalesce(c.channel, c.reason)
			FROM choice c
		)
		SELECT array_agg(c.run_id) FILTER (WHERE c.capped = 'wait' AND c.free_at < 'infinity'),
			   array_agg(c.free_at) FILTER (WHERE c.capped = 'wait' AND c.free_at < 'infinity'),
			   array_agg(c.run_id) FILTER (WHERE c.capped = 'exit')
		INTO stay, until, held
		FROM choice c;
		IF stay IS NOT NULL OR held IS NOT NULL THEN
			part := ARRAY(SELECT i FROM unnest(batch) i WHERE i.run_id IN (SELECT unnest(stay || held)));
			PERFORM cdp._arrive(plans, part);
			items := cdp._without(items, stay || held);
		END IF;
		IF stay IS NOT NULL THEN
			UPDATE cdp.journey_state s SET due_at = w.free_at
			FROM (SELECT o.ctid, u.free_at FROM unnest(stay, until) AS u(run_id, free_at)
				  CROSS JOIN LATERAL (SELECT o.ctid FROM cdp.journey_state o WHERE o.run_id = u.run_id OFFSET 0) o) w
			WHERE s.ctid = w.ctid;
		END IF;
		IF held IS NOT NULL THEN
			PERFORM cdp._end_due(held, 'capped', NULL);
		END IF;
	END LOOP;
	RETURN items;
END
$$;
COMMENT ON FUNCTION cdp._send(cdp._plan[], cdp._due[]) IS 'does send steps: writes messages, each also as an event message_sent[journey]; returns the runs that go on';
