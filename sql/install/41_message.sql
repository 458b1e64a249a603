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

CREATE TYPE cdp._choice AS (run cdp.journey_state, recipient bigint, channel text, address text, goes_at timestamptz, reason text, free_at timestamptz);
COMMENT ON TYPE cdp._choice IS 'how and when a run''s message may go out, or why it may not';

-- _choose_channel for runs that come in the order in which they send, those of one
-- profile after each other.  One channel and the profile itself: a few queries for
-- all of them, and the message of one run counts for the next.  Lists and related
-- profiles are asked about one by one: then the runs are of different profiles.
CREATE FUNCTION cdp._choose_channels(spec jsonb, send jsonb, runs bigint[]) RETURNS SETOF cdp._choice
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	purpose		text := coalesce(spec ->> 'purpose', 'marketing');
	option		text := CASE jsonb_typeof(send -> 'channel') WHEN 'string' THEN send ->> 'channel' END;
	space		text := (SELECT c.namespace FROM cdp.channel_effective c WHERE c.name = option);
	expires		interval := cdp._journey_duration(send ->> 'expires');
	free		boolean := (SELECT NOT u.quiet AND NOT u.capped FROM cdp.purpose_effective u WHERE u.name = purpose);
	some_bounced boolean := EXISTS (SELECT FROM cdp.bounced_address b WHERE b.channel = option);
	bounced		bigint[] := '{}';	-- profiles
	refused		bigint[];			-- profiles
	asked		bigint[];
	profiles	bigint[];
	instants	timestamptz[];
BEGIN
	IF option IS NULL OR jsonb_typeof(send -> 'to') = 'object' THEN
		RETURN QUERY
		SELECT s, c.recipient, c.channel, c.address, c.due_at, c.reason, c.free_at
		FROM cdp._runs(runs) s CROSS JOIN LATERAL cdp._choose_channel(spec, send, s.profile_id, s.due_at) c;
		RETURN;
	END IF;
	IF some_bounced THEN
		bounced := ARRAY(SELECT DISTINCT s.profile_id FROM cdp._runs(runs) s
						 WHERE cdp._has_bounced(s.profile_id, option) AND cdp._address(s.profile_id, option) IS NULL);
	END IF;
	SELECT cdp._not_consented(array_agg(s.profile_id), purpose, option, spec ? 'purpose', array_agg(s.due_at))
	INTO refused FROM cdp._runs(runs) s;
	SELECT array_agg(s.run_id ORDER BY s.profile_id, s.run_id), array_agg(s.profile_id ORDER BY s.profile_id, s.run_id), array_agg(s.due_at ORDER BY s.profile_id, s.run_id)
	INTO asked, profiles, instants
	FROM cdp._runs(runs) s WHERE s.profile_id <> ALL (refused) AND s.profile_id <> ALL (bounced);
	asked := coalesce(asked, '{}');

	RETURN QUERY
	WITH slot AS MATERIALIZED (
		SELECT a.run_id, f.due_at, f.capped_by
		FROM unnest(asked) WITH ORDINALITY AS a(run_id, n)
		JOIN cdp._sendable_many(coalesce(profiles, '{}'), coalesce(instants, '{}'), ARRAY(SELECT i.at + expires FROM unnest(instants) WITH ORDINALITY AS i(at, n) ORDER BY i.n), purpose, option) f USING (n)
		WHERE free IS NOT TRUE
		UNION ALL
		SELECT a.run_id, a.at, NULL FROM unnest(asked, instants) AS a(run_id, at) WHERE free
	), verdict AS MATERIALIZED (
		SELECT s AS run, s.profile_id, f.due_at, f.capped_by, CASE
			WHEN s.profile_id = ANY (bounced) THEN 'bounced: ' || option
			WHEN f.run_id IS NULL THEN format('consent: %s on %s', purpose, option)
			WHEN f.capped_by IS NOT NULL THEN 'capped: ' || f.capped_by
			WHEN f.due_at = 'infinity' THEN 'quiet at all hours'
			WHEN f.due_at >= s.due_at + expires THEN 'quiet until it has expired' END AS reason
		FROM cdp._runs(runs) s LEFT JOIN slot f ON f.run_id = s.run_id
	)
	SELECT v.run, v.profile_id, CASE WHEN v.reason IS NULL THEN option END, CASE WHEN v.reason IS NULL THEN (
			SELECT cdp.value(l.identifier)
			FROM cdp.profile p
			CROSS JOIN LATERAL (SELECT l.identifier, l.at FROM cdp.identifier_link l WHERE l.profile_id = p.profile_id OFFSET 0) l
			WHERE p.canonical_id = v.profile_id AND cdp.namespace(l.identifier) = space
			  AND NOT (some_bounced AND EXISTS (SELECT FROM cdp.bounced_address b WHERE b.channel = option AND b.address = cdp.value(l.identifier)))
			ORDER BY l.at DESC, l.identifier LIMIT 1) END,
		CASE WHEN v.reason IS NULL THEN v.due_at END, v.reason, CASE WHEN v.capped_by IS NOT NULL THEN v.due_at END
	FROM verdict v;
END
$$;
COMMENT ON FUNCTION cdp._choose_channels(jsonb, jsonb, bigint[]) IS 'how and when the messages of runs may go out';

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

-- Two runs of one profile send one after the other: the second counts the
-- message of the first.  Event and log name the leaf whose run it is.
CREATE FUNCTION cdp._send(spec jsonb, of_step text, runs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	send		jsonb := spec #> ARRAY['steps', of_step, 'send'];
	if_capped	text := coalesce(send ->> 'if_capped', 'skip');
	expires		interval := cdp._journey_duration(send ->> 'expires');
	with_purpose text := coalesce(spec ->> 'purpose', 'marketing');
	named		boolean := spec ? 'purpose';
	campaign	text := spec ->> 'campaign';
	template	text := send ->> 'template';
	priority	int := coalesce((spec ->> 'priority')::int, 50);
	batch		bigint[];
	choices		cdp._choice[];
	held		bigint[];
	stay		bigint[];
	until		timestamptz[];
	params		jsonb := coalesce(send -> 'params', '{}');
	pieces		cdp._piece[] := cdp._pieces(params);
BEGIN
	FOR batch IN
		SELECT array_agg(x.run_id) FROM (SELECT s.run_id, row_number() OVER (PARTITION BY s.profile_id ORDER BY s.run_id) AS turn FROM cdp._runs(runs) s) x
		GROUP BY x.turn ORDER BY x.turn
	LOOP
		-- The runs come as values: a join with their table would be planned for
		-- as many rows as the planner believes any set has.
		choices := ARRAY(SELECT c FROM cdp._choose_channels(spec, send, batch) c ORDER BY (c.run).profile_id);
		INSERT INTO cdp.outbox (idempotency_key, profile_id, recipient_id, address, channel, purpose, declared, template, params,
								campaign, journey, version, run_id, step, variant, priority, due_at, expires_at)
		SELECT m.idempotency_key, m.profile_id, m.recipient_id, m.address, m.channel, with_purpose,
			   named AND (m.profile_id = m.recipient_id OR cdp._declared(spec, m.profile_id, m.recipient_id)), template, m.params_,
			   campaign, m.journey, m.version, m.run_id, of_step, m.variant, priority, m.goes_at, m.due_at + expires
		FROM cdp._message_rows(choices, of_step, params, pieces) m;
		PERFORM cdp._message_events(choices, of_step, campaign, template);
		WITH choice AS MATERIALIZED (
			SELECT (c.run).due_at, coalesce((c.run).owner_id, (c.run).profile_id) AS owner_id, (c.run).journey, (c.run).version, (c.run).run_id, c.channel, c.reason, c.free_at,
				   CASE WHEN c.channel IS NULL AND c.free_at IS NOT NULL THEN if_capped END AS capped
			FROM unnest(choices) c
		), logged AS (
			INSERT INTO cdp.journey_log (at, profile_id, journey, version, run_id, step, what, detail)
			SELECT c.due_at, c.owner_id, c.journey, c.version, c.run_id, of_step,
				   CASE WHEN c.channel IS NOT NULL THEN 'sent' WHEN c.capped = 'wait' AND c.free_at < 'infinity' THEN 'waiting' ELSE 'refused' END,
				   coalesce(c.channel, c.reason)
			FROM choice c
		)
		SELECT array_agg(c.run_id) FILTER (WHERE c.capped = 'wait' AND c.free_at < 'infinity'),
			   array_agg(c.free_at) FILTER (WHERE c.capped = 'wait' AND c.free_at < 'infinity'),
			   array_agg(c.run_id) FILTER (WHERE c.capped = 'exit')
		INTO stay, until, held
		FROM choice c;
		IF stay IS NOT NULL THEN
			PERFORM cdp._arrive(stay, of_step);
			UPDATE cdp.journey_state s SET due_at = w.free_at
			FROM unnest(stay, until) AS w(run_id, free_at) WHERE s.run_id = w.run_id;
		END IF;
		IF held IS NOT NULL THEN
			PERFORM cdp._arrive(held, of_step);
			PERFORM cdp._end_runs(array_agg(s.run_id), array_agg(s.due_at), 'capped', NULL) FROM cdp.journey_state s WHERE s.run_id = ANY (held);
		END IF;
		runs := cdp._without(cdp._without(runs, stay), held);
	END LOOP;
	RETURN runs;
END
$$;
COMMENT ON FUNCTION cdp._send(jsonb, text, bigint[]) IS 'does a send step: writes messages, each also as an event message_sent[journey]; returns the runs that go on';
