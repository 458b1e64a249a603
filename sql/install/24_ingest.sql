/* 24_ingest: messages of the Segment specification, one by one or in bulk
 *
 * A message is read once, by _read_message, which never raises an error: what
 * is wrong is in "reason" and "sqlstate".  Good messages are taken together;
 * only when that raises (an identifier that a rule refuses …) are they split
 * until the one that raised is alone.
 */

CREATE SEQUENCE cdp.inbox_id_seq;
COMMENT ON SEQUENCE cdp.inbox_id_seq IS 'order of arrival in the inbox';
CREATE TABLE cdp.inbox (
	payload		jsonb NOT NULL,
	inbox_id	bigint PRIMARY KEY DEFAULT nextval('cdp.inbox_id_seq'),
	received_at	timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE cdp.inbox IS 'messages to be taken by ingest_inbox; COPY cdp.inbox (payload) FROM … fills it';

CREATE SEQUENCE cdp.rejected_id_seq;
COMMENT ON SEQUENCE cdp.rejected_id_seq IS 'ids of rejected messages';
CREATE TABLE cdp.rejected (
	rejected_id	bigint PRIMARY KEY DEFAULT nextval('cdp.rejected_id_seq'),
	payload		jsonb NOT NULL,
	reason		text NOT NULL,
	sqlstate	text NOT NULL,
	at			timestamptz NOT NULL
);
COMMENT ON TABLE cdp.rejected IS 'messages that could not be taken, with the reason; nothing is lost';

-- one message

CREATE TYPE cdp._message AS (
	payload		jsonb,
	received_at	timestamptz,
	type		text,
	at			timestamptz,
	message_id	text,
	source		text,
	identifiers	text[],
	reason		text,
	sqlstate	text
);
COMMENT ON TYPE cdp._message IS 'one message as read by _read_message; reason is NULL when it is in order';

-- Without a zone the time is UTC: the result must not depend on settings.
CREATE FUNCTION cdp._iso_time(value text) RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__iso_time';
COMMENT ON FUNCTION cdp._iso_time(text) IS 'the instant that an ISO 8601 text names (UTC when it names no zone); NULL when it is not one';

CREATE FUNCTION cdp._json_id(value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(value) IN ('string', 'number') THEN nullif(btrim(value #>> '{}', E' \t\n\r'), '') END;
COMMENT ON FUNCTION cdp._json_id(jsonb) IS 'an id given as JSON string or number; NULL when it is blank or something else';

CREATE FUNCTION cdp._message_time(message jsonb, received_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	happened timestamptz := cdp._iso_time(message ->> 'timestamp');
	original timestamptz;
	sent timestamptz;
	received timestamptz;
BEGIN
	IF happened IS NOT NULL THEN
		RETURN happened;
	END IF;
	original := cdp._iso_time(message ->> 'originalTimestamp');
	sent := cdp._iso_time(message ->> 'sentAt');
	received := coalesce(cdp._iso_time(message ->> 'receivedAt'), received_at);
	IF original IS NULL OR sent IS NULL THEN
		RETURN coalesce(original, received);
	END IF;
	-- In UTC, so that the difference is a plain length of time.
	RETURN (received AT TIME ZONE 'UTC' - (sent AT TIME ZONE 'UTC' - original AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC';
END
$$;
COMMENT ON FUNCTION cdp._message_time(jsonb, timestamptz) IS 'when a message happened: timestamp, else originalTimestamp corrected by the sender''s clock skew, else when it was received';

CREATE FUNCTION cdp._message_identifiers(message jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	context jsonb := message -> 'context';
	traits jsonb := context -> 'traits';
	names text[];
	id text;
	value jsonb;
BEGIN
	id := cdp._json_id(message -> 'userId');
	IF id IS NOT NULL THEN names := names || ('user_id:' || id); END IF;
	id := cdp._json_id(message -> 'anonymousId');
	IF id IS NOT NULL THEN names := names || ('anonymous_id:' || id); END IF;
	IF context IS NOT NULL THEN
		id := cdp._json_id(context #> '{device,id}');
		IF id IS NOT NULL THEN names := names || ('device_id:' || id); END IF;
		IF jsonb_typeof(context -> 'externalIds') = 'array' THEN
			FOR value IN SELECT jsonb_array_elements(context -> 'externalIds') LOOP
				id := cdp._json_id(value -> 'id');
				IF id IS NOT NULL THEN
					-- an encoded value is another one than the plain one
					names := names || (CASE WHEN value ->> 'collection' = 'accounts' THEN 'account' ELSE coalesce(cdp._json_id(value -> 'type'), '') END
									   || coalesce('.' || nullif(nullif(cdp._json_id(value -> 'encoding'), 'none'), ''), '') || ':' || id);
				END IF;
			END LOOP;
		END IF;
	END IF;
	IF message ->> 'type' = 'identify' THEN
		traits := coalesce(nullif(traits, 'null'), '{}') || coalesce(nullif(message -> 'traits', 'null'), '{}');
	END IF;
	IF traits IS NOT NULL THEN
		id := cdp._json_id(traits -> 'email');
		IF id IS NOT NULL THEN names := names || ('email:' || id); END IF;
		id := cdp._json_id(traits -> 'phone');
		IF id IS NOT NULL THEN names := names || ('phone:' || id); END IF;
	END IF;
	IF message ? 'identifiers' AND jsonb_typeof(message -> 'identifiers') = 'array' THEN
		names := names || ARRAY(SELECT jsonb_array_elements_text(message -> 'identifiers'));
	END IF;
	RETURN nullif(names, '{}');
END
$$;
COMMENT ON FUNCTION cdp._message_identifiers(jsonb) IS 'everything in a Segment message that names its profile, as texts namespace:value; NULL when nothing does';

-- identifier_in says the same, but raises.
CREATE FUNCTION cdp._identifier_problem(identifier text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN identifier IS NULL THEN 'identifier must not be null'
	WHEN octet_length(identifier) > 512
		OR identifier !~ '^[A-Za-z0-9_.-]{1,63}:[^[:cntrl:]]*[^[:cntrl:] ][^[:cntrl:]]*$'
		OR identifier ~* '^(email|phone):'
			AND identifier !~* '^[^:]*: *(null|[(]null[)]|nil|none|nan|n/a|undefined|unknown|anonymous|guest|true|false|not set|-1|[[]object object[]]) *$'
			AND (identifier ~* '^email:' AND identifier !~ '^[^:]*: *[^@[:space:]]+@[^@[:space:]]+ *$'
				OR identifier ~* '^phone:' AND identifier !~ '^[^:]*:[ .()-]*[+]?[ .()-]*[0-9][0-9 .()-]*$')
	THEN format('invalid input syntax for type identifier: "%s"', left(identifier, 100))
END;
COMMENT ON FUNCTION cdp._identifier_problem(text) IS 'what is wrong with the text of an identifier, or NULL; every wrong one that this misses raises an error later';

CREATE FUNCTION cdp._read_message(payload jsonb, received_at timestamptz) RETURNS cdp._message
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	m cdp._message;
	field text;
	names text[];
BEGIN
	m.payload := payload;
	m.received_at := received_at;
	m.sqlstate := '22023';		-- invalid_parameter_value
	IF payload IS NULL OR jsonb_typeof(payload) <> 'object' THEN
		m.reason := 'message is not a JSON object';
		RETURN m;
	END IF;
	m.type := payload ->> 'type';
	IF m.type IS NULL THEN
		m.reason := 'message has no "type"';
		RETURN m;
	ELSIF m.type NOT IN ('track', 'identify', 'page', 'screen', 'group', 'alias') THEN
		m.reason := format('unrecognized message type: "%s"', left(m.type, 100));
		RETURN m;
	END IF;

	FOREACH field IN ARRAY '{properties,traits,context}'::text[] LOOP
		IF jsonb_typeof(payload -> field) NOT IN ('object', 'null') THEN
			m.reason := format('"%s" is not a JSON object', field);
			RETURN m;
		END IF;
	END LOOP;
	IF jsonb_typeof(payload #> '{context,traits}') NOT IN ('object', 'null') THEN
		m.reason := '"context.traits" is not a JSON object';
		RETURN m;
	END IF;
	FOREACH field IN ARRAY '{identifiers,participants}'::text[] LOOP
		IF payload ? field THEN
			IF jsonb_typeof(payload -> field) <> 'array'
				OR EXISTS (SELECT FROM jsonb_array_elements(payload -> field) e WHERE jsonb_typeof(e) <> 'string') THEN
				m.reason := format('"%s" is not an array of texts', field);
				RETURN m;
			END IF;
		END IF;
	END LOOP;

	m.message_id := cdp._json_id(payload -> 'messageId');
	m.source := payload ->> 'source';
	m.identifiers := cdp._message_identifiers(payload);
	IF m.type = 'alias' AND cdp._json_id(payload -> 'previousId') IS NULL THEN
		m.reason := 'alias has no "previousId"';
		RETURN m;
	END IF;
	IF m.type = 'group' THEN
		IF cdp._json_id(payload -> 'groupId') IS NULL THEN
			m.reason := 'group has no "groupId"';
			RETURN m;
		END IF;
		names := names || ('account:' || cdp._json_id(payload -> 'groupId'));
	ELSIF m.identifiers IS NULL THEN
		m.reason := 'message names nobody: no user, anonymous or other id';
		RETURN m;
	END IF;
	IF m.type = 'track' THEN
		IF coalesce(jsonb_typeof(payload -> 'event'), 'null') <> 'string' THEN
			m.reason := 'track has no "event"';
			RETURN m;
		END IF;
		field := btrim(payload ->> 'event');
	ELSE
		field := NULL;
	END IF;
	m.reason := cdp._event_problem(field, m.message_id, payload -> 'properties', payload -> 'context');
	IF m.reason IS NOT NULL THEN
		RETURN m;
	END IF;

	m.sqlstate := '22P02';		-- invalid_text_representation
	names := names || m.identifiers;
	IF m.type = 'alias' THEN
		names := names || ('user_id:' || cdp._json_id(payload -> 'previousId'));
	END IF;
	IF payload ? 'participants' THEN
		names := names || ARRAY(SELECT jsonb_array_elements_text(payload -> 'participants'));
	END IF;
	IF cardinality(names) > cdp._max_identifiers() THEN
		m.sqlstate := '54000';	-- program_limit_exceeded
		m.reason := format('message names more than %s identifiers', cdp._max_identifiers());
		RETURN m;
	END IF;
	FOREACH field IN ARRAY names LOOP
		m.reason := cdp._identifier_problem(field);
		IF m.reason IS NOT NULL THEN
			RETURN m;
		END IF;
	END LOOP;

	m.sqlstate := '22007';		-- invalid_datetime_format
	FOREACH field IN ARRAY '{timestamp,originalTimestamp,sentAt,receivedAt}'::text[] LOOP
		CONTINUE WHEN coalesce(jsonb_typeof(payload -> field), 'null') = 'null';
		m.at := cdp._iso_time(payload ->> field);
		IF m.at IS NULL THEN
			m.reason := format('"%s" is not an ISO 8601 time: "%s"', field, left(payload ->> field, 100));
			RETURN m;
		END IF;
		EXIT WHEN field = 'timestamp';
	END LOOP;
	IF m.at IS NULL OR payload ->> 'timestamp' IS NULL THEN
		m.at := cdp._message_time(payload, received_at);
	END IF;
	IF m.at < '1900-01-01 00:00:00+00' OR m.at >= '2200-01-01 00:00:00+00' THEN
		m.sqlstate := '22008';	-- datetime_field_overflow
		m.reason := format('event time out of range: "%s"', m.at AT TIME ZONE 'UTC');
		RETURN m;
	END IF;
	m.sqlstate := NULL;
	RETURN m;
END
$$;
COMMENT ON FUNCTION cdp._read_message(jsonb, timestamptz) IS 'reads a Segment message; what is wrong with it is in reason and sqlstate, never an error';

CREATE FUNCTION cdp._tells_news(identifiers cdp.identifier[], participants cdp.identifier[], at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	known record;
BEGIN
	SELECT * INTO known FROM cdp._look_up(identifiers, at);
	IF known.late OR array_position(known.leaves, NULL) IS NOT NULL OR known.roots[1] <> ANY (known.roots) THEN
		RETURN true;
	ELSIF cardinality(known.ids) > 1 AND EXISTS (
			SELECT FROM unnest(known.ids[2:]) AS o (id)
			WHERE NOT cdp._has_evidence(known.ids[1], o.id, _tells_news.at)) THEN
		RETURN true;
	ELSIF cardinality(participants) > 0 THEN
		SELECT * INTO known FROM cdp._look_up(participants, at);
		RETURN known.late OR array_position(known.leaves, NULL) IS NOT NULL;
	END IF;
	RETURN false;
END
$$;
COMMENT ON FUNCTION cdp._tells_news(cdp.identifier[], cdp.identifier[], timestamptz) IS 'whether stitching these would change anything';

-- A link that somebody else is changing stays: he holds it and waits for profiles, and we may hold some.
CREATE FUNCTION cdp._label_alias(previous cdp.identifier, via cdp.identifier, leaf bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
BEGIN
	PERFORM cdp._move_edges_out(ARRAY(SELECT l.identifier FROM cdp.identifier_link l
									  WHERE l.identifier OPERATOR(cdp.=) ANY (ARRAY[previous, via]) AND l.peer OPERATOR(cdp.=) ANY (ARRAY[previous, via])
										AND l.at = _label_alias.at FOR UPDATE SKIP LOCKED));
	UPDATE cdp.extra_edge t SET cause = 'alias'
	WHERE t.a OPERATOR(cdp.=) CASE WHEN previous OPERATOR(cdp.<) via THEN previous ELSE via END
	  AND t.b OPERATOR(cdp.=) CASE WHEN previous OPERATOR(cdp.<) via THEN via ELSE previous END
	  AND t.at = _label_alias.at AND t.cause <> 'alias';
	UPDATE cdp.profile_merge x SET cause = 'alias'
	WHERE x.leaf_a = leaf AND x.at = _label_alias.at AND x.cause = 'identifiers' AND x.undone_at IS NULL
	  AND cardinality(x.evidence) = 2 AND x.evidence OPERATOR(pg_catalog.@>) ARRAY[previous, via];
END
$$;
COMMENT ON FUNCTION cdp._label_alias(cdp.identifier, cdp.identifier, bigint, timestamptz)
	IS 'the evidence and the merge that an alias has just made say so: its previous id, the identifier that decided, and its leaf';

-- Calls made in order of arrival; events are stored together at the end.
CREATE FUNCTION cdp._take_messages(messages cdp._message[], backfill boolean, many boolean, wait boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	m record;
	owner record;
	account bigint;			-- of a group
	traits jsonb;
	described bigint;		-- whose traits these are
	joins boolean;
	to_lock bigint[];
	previous cdp.identifier;
	participants cdp.identifier[];
	participant cdp.identifier;
	missing timestamptz;
	unlocked boolean := many AND NOT cdp._lock_identities(false);
	e cdp.event;
	events cdp.event[] := '{}';
BEGIN
	-- Before any identifier is locked: see _event_partition.
	PERFORM cdp._hurry(wait) WHERE unlocked OR NOT many;
	FOR missing IN
		SELECT n.month AT TIME ZONE 'UTC'
		FROM (SELECT DISTINCT date_trunc('month', t.at AT TIME ZONE 'UTC') AS month
			  FROM unnest(messages) t WHERE t.type IN ('track', 'page', 'screen')) n
		WHERE to_regclass('cdp.' || cdp._event_partition_name(n.month AT TIME ZONE 'UTC')) IS NULL
	LOOP
		IF unlocked THEN
			RAISE SQLSTATE 'CDP03';			-- caught in _ingest_patiently
		END IF;
		PERFORM cdp._event_partition(missing);
	END LOOP;

	FOR m IN
		SELECT t.payload, t.received_at, t.type, t.at, t.message_id, t.source, t.identifiers::cdp.identifier[] AS identifiers
		FROM (SELECT u.*, row_number() OVER (PARTITION BY u.message_id ORDER BY u.nr) AS copy
			  FROM unnest(messages) WITH ORDINALITY
				AS u (payload, received_at, type, at, message_id, source, identifiers, reason, sqlstate, nr)) t
		WHERE t.message_id IS NULL
			OR t.copy = 1 AND NOT EXISTS (SELECT FROM cdp.event_message seen WHERE seen.message_id = t.message_id)
		ORDER BY t.nr
	LOOP
		e := NULL;
		e.at := m.at;
		e.received_at := m.received_at;
		e.source := m.source;
		e.message_id := m.message_id;
		participants := '{}';
		IF m.payload ? 'participants' THEN
			participants := ARRAY(SELECT p.name::cdp.identifier
								  FROM jsonb_array_elements_text(m.payload -> 'participants') WITH ORDINALITY AS p (name, nr) ORDER BY p.nr);
		END IF;
		IF unlocked AND (m.type IN ('identify', 'group', 'alias') OR cdp._tells_news(m.identifiers, participants, m.at)) THEN
			RAISE SQLSTATE 'CDP03';
		END IF;

		IF m.type IN ('track', 'page', 'screen') THEN
			SELECT * INTO STRICT owner FROM cdp._stitch(m.identifiers, NULL, m.at, m.source, m.message_id, many, wait);
			e.event_id := nextval('cdp.event_id_seq');
			e.profile_id := owner.leaf_id;
			e.via := owner.via;
			e.participants := '{}';
			FOREACH participant IN ARRAY participants LOOP
				e.participants := array_remove(e.participants || cdp._participant_leaf(participant, m.at, m.source, many, wait), NULL);
			END LOOP;
			e.properties := coalesce(nullif(m.payload -> 'properties', 'null'), '{}');
			e.context := coalesce(nullif(m.payload -> 'context', 'null'), '{}');
			e.backfill := backfill;
			IF m.type = 'track' THEN
				e.event := btrim(m.payload ->> 'event');
			ELSE
				e.event := m.type;
				IF m.payload ? 'name' THEN
					e.properties := e.properties || jsonb_build_object('name', m.payload -> 'name');
				END IF;
				IF m.payload ? 'category' THEN
					e.properties := e.properties || jsonb_build_object('category', m.payload -> 'category');
				END IF;
			END IF;
			events := events || e;
		ELSIF m.type IN ('identify', 'group') THEN
			IF m.type = 'group' THEN
				SELECT * INTO STRICT owner
				FROM cdp._stitch(ARRAY[cdp.identifier('account', cdp._json_id(m.payload -> 'groupId'))], NULL, m.at, m.source, NULL, many, wait);
				account := owner.leaf_id;
			END IF;
			IF m.identifiers IS NOT NULL THEN
				SELECT * INTO STRICT owner FROM cdp._stitch(m.identifiers, NULL, m.at, m.source, m.message_id, many, wait);
			END IF;
			traits := nullif(nullif(m.payload -> 'traits', 'null'), '{}');
			described := CASE m.type WHEN 'group' THEN account ELSE owner.leaf_id END;
			joins := m.type = 'group' AND m.identifiers IS NOT NULL AND cdp._new_members(ARRAY[owner.leaf_id], ARRAY[account], ARRAY[m.at]) <> '{}';
			-- as mcdp_messages_lock
			to_lock := CASE WHEN joins THEN ARRAY[owner.leaf_id] END || CASE WHEN many AND traits IS NOT NULL THEN ARRAY[described] END;
			IF many OR wait THEN
				PERFORM cdp._lock_owners(to_lock, true) WHERE to_lock IS NOT NULL;
			ELSIF to_lock IS NOT NULL AND cdp._try_owners(to_lock) <> '{}' THEN
				RAISE SQLSTATE 'CDP01' USING MESSAGE = 'profile', DETAIL = cdp.canonical_id(owner.leaf_id)::text;
			END IF;
			IF joins THEN
				PERFORM cdp._add_members(ARRAY[owner.leaf_id], ARRAY[account], ARRAY[m.at], ARRAY[m.source]);
			END IF;
			IF traits IS NOT NULL THEN
				PERFORM cdp._take_traits(ARRAY[described], ARRAY[traits], ARRAY[m.at], ARRAY[m.source], ARRAY[m.payload], ARRAY[m.received_at], backfill);
			END IF;
		ELSE
			-- The previous id is an old user id when there is such a user, else an anonymous one.
			previous := cdp.identifier('user_id', cdp._json_id(m.payload -> 'previousId'));
			IF NOT EXISTS (SELECT FROM cdp.identifier_link l WHERE l.identifier OPERATOR(cdp.=) previous) THEN
				PERFORM cdp._refuse_erased(ARRAY[previous]);
				previous := cdp.identifier('anonymous_id', cdp._json_id(m.payload -> 'previousId'));
			END IF;
			SELECT * INTO STRICT owner FROM cdp._stitch(m.identifiers || previous, NULL, m.at, m.source, m.message_id, many, wait);
			PERFORM cdp._label_alias(previous, owner.via, owner.leaf_id, m.at);
		END IF;
		IF e.event IS NULL AND e.message_id IS NOT NULL THEN
			e.profile_id := owner.leaf_id;
			events := events || e;
		END IF;
	END LOOP;
	-- Another session took one of the messages after we had looked: it must
	-- leave no trace here, so the batch is undone and done again without it.
	IF cdp._record_events(events) < cardinality(events) THEN
		RAISE SQLSTATE 'CDP02' USING MESSAGE = 'message was taken by another session';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._take_messages(cdp._message[], boolean, boolean, boolean)
	IS 'does what these messages say, in their order; those whose message id was seen are left out; many: the transaction takes others too; wait: long, if it must';

CREATE FUNCTION cdp._is_hopeless(message cdp._message) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	blocked boolean;
	erased boolean;
BEGIN
	SELECT bool_and(i.blocked) AND NOT bool_and(i.linked), bool_or(NOT i.blocked AND NOT i.linked AND cdp._is_tombstone(i.id))
	INTO blocked, erased
	FROM (SELECT n.id, cdp._is_blocked(n.id) AS blocked, EXISTS (SELECT FROM cdp.identifier_link l WHERE l.identifier OPERATOR(cdp.=) n.id) AS linked
		  FROM unnest(message.identifiers::cdp.identifier[]) n (id) OFFSET 0) i;
	RETURN coalesce(blocked AND message.type <> 'alias' OR erased, false);
EXCEPTION
	WHEN data_exception THEN	-- no identifier at all, and _identifier_problem has missed it
		RETURN true;
END
$$;
COMMENT ON FUNCTION cdp._is_hopeless(cdp._message) IS 'whether stitching is as good as sure to refuse it: its identifiers are blocked, or one is of somebody who was erased';

CREATE FUNCTION cdp._take_or_split(messages cdp._message[], backfill boolean, many boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	n int := coalesce(array_length(messages, 1), 0);
	attempt int := 1;
	state text;
	what text;
	which text;
	refused cdp._message[];
	others cdp._message[];
	taken bigint := 0;
BEGIN
	IF n = 0 THEN
		RETURN 0;
	END IF;
	LOOP
		BEGIN
			PERFORM cdp._take_messages(messages, backfill, many, attempt > 20);
			RETURN n;
		EXCEPTION
			WHEN SQLSTATE 'CDP02' THEN
				CONTINUE;							-- one that is stored, so there is an end to this
			WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
				IF many AND sqlstate = '55P03' THEN
					RAISE;							-- _ingest_patiently goes on with more patience
				END IF;
				GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
			WHEN OTHERS THEN
				IF sqlstate ~ '^(40|53|57|58|CDP)' THEN
					RAISE;				-- not the message's fault: the caller tries again
				ELSIF n > 1 THEN
					EXIT;
				END IF;
				INSERT INTO cdp.rejected (payload, reason, sqlstate, at)
				VALUES (cdp._rejected_payload(messages[1].payload), sqlerrm, sqlstate, messages[1].received_at);
				RETURN 0;
		END;
		-- A circle that stays is not only about these messages.
		attempt := cdp._let_go(attempt, state, what, which, CASE WHEN many THEN 3 ELSE 40 END);
	END LOOP;
	-- Each that is sure to be refused would bring down all the others with it, again and again.
	SELECT array_agg(m) FILTER (WHERE h.hopeless), array_agg(m) FILTER (WHERE NOT h.hopeless) INTO refused, others
	FROM unnest(messages) m CROSS JOIN LATERAL (SELECT cdp._is_hopeless(m) OFFSET 0) h (hopeless);
	IF refused IS NOT NULL THEN
		FOR i IN 1 .. cardinality(refused) LOOP
			taken := taken + cdp._take_or_split(refused[i : i], backfill, many);
		END LOOP;
		RETURN taken + cdp._take_or_split(others, backfill, many);
	END IF;
	RETURN cdp._take_or_split(messages[: n / 2], backfill, many) + cdp._take_or_split(messages[n / 2 + 1 :], backfill, many);
END
$$;
COMMENT ON FUNCTION cdp._take_or_split(cdp._message[], boolean, boolean) IS 'takes messages; when that fails, each half by itself, down to the message that is put aside; returns how many were taken';

-- {"batch": [...], "context": {...}, "sentAt": ...}: what stands beside the
-- batch holds for each of its messages that does not say otherwise.
CREATE FUNCTION cdp._single_messages(payload jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE ROWS 100 SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	message jsonb;
	shared jsonb;
BEGIN
	FOR message IN SELECT m FROM jsonb_array_elements(CASE jsonb_typeof(payload) WHEN 'array' THEN payload ELSE jsonb_build_array(payload) END) m LOOP
		IF jsonb_typeof(message) = 'object' AND NOT message ? 'type' AND jsonb_typeof(message -> 'batch') = 'array' THEN
			shared := message - 'batch';
			RETURN QUERY
			SELECT CASE WHEN jsonb_typeof(b) = 'object' THEN
				shared || b || CASE WHEN jsonb_typeof(shared -> 'context') = 'object' AND coalesce(jsonb_typeof(b -> 'context'), 'object') = 'object'
									THEN jsonb_build_object('context', (shared -> 'context') || coalesce(b -> 'context', '{}')) ELSE '{}' END
				ELSE b END
			FROM jsonb_array_elements(message -> 'batch') b;
		ELSE
			RETURN NEXT message;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._single_messages(jsonb) IS 'the messages of a payload: an array of them, or of batches, or one';

-- The usual messages, without a query for each (src/store/message_fn.c).
CREATE FUNCTION cdp._take_plain(payloads jsonb[], received timestamptz[], backfill boolean, many boolean, in_order boolean, may_be_later boolean,
								identifier regtype, OUT taken bigint, OUT rest int[], OUT later int[])
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__take_plain';
COMMENT ON FUNCTION cdp._take_plain(jsonb[], timestamptz[], boolean, boolean, boolean, boolean, regtype)
	IS 'takes those messages that say nothing unusual and need no rule (in_order: up to the first of the others); rest: the positions of the others; later: of those about profiles that another session holds, if they may be put off and are few';

CREATE FUNCTION cdp._try_plain(payloads jsonb[], received timestamptz[], backfill boolean, many boolean, in_order boolean, may_be_later boolean,
							   OUT taken bigint, OUT rest int[], OUT later int[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	what text;
	which text;
BEGIN
	FOR attempt IN 1 .. 10 LOOP
		BEGIN
			SELECT t.taken, t.rest, t.later INTO taken, rest, later
			FROM cdp._take_plain(payloads, received, backfill, many, in_order, may_be_later, 'cdp.identifier') t;
			RETURN;
		EXCEPTION
			WHEN SQLSTATE 'CDP02' OR deadlock_detected THEN
				-- another session was first with something: look again
				GET STACKED DIAGNOSTICS what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
			WHEN SQLSTATE 'CDP01' THEN
				EXIT;			-- or is at it, and a single message waits for nobody here
			WHEN lock_not_available THEN
				IF many OR current_setting('lock_timeout') <> '0' THEN
					RAISE;
				END IF;
				EXIT;
			WHEN OTHERS THEN
				IF sqlstate ~ '^(40|53|57|58)' THEN
					RAISE;
				END IF;
				EXIT;			-- some message is to blame: one by one
		END;
		PERFORM cdp._await(what, which);
	END LOOP;
	taken := 0;
	rest := ARRAY(SELECT generate_series(1, cardinality(payloads)));
	later := '{}';
END
$$;
COMMENT ON FUNCTION cdp._try_plain(jsonb[], timestamptz[], boolean, boolean, boolean, boolean) IS '_take_plain, again when another session came between; an error leaves all of them';

CREATE FUNCTION cdp._ingest(payloads jsonb[], received timestamptz[], backfill boolean, many boolean, in_order boolean DEFAULT false,
							may_be_later boolean DEFAULT false, OUT accepted bigint, OUT later bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	plain record;
	good cdp._message[];
	slice CONSTANT int := 500;		-- as much has to be done again when one raises an error
BEGIN
	IF EXISTS (SELECT FROM unnest(payloads) p WHERE jsonb_typeof(p) = 'array' OR p ? 'batch') THEN
		SELECT coalesce(array_agg(a.message ORDER BY p.nr, a.nr), '{}'), coalesce(array_agg(p.received_at ORDER BY p.nr, a.nr), '{}')
		INTO payloads, received
		FROM unnest(payloads, received) WITH ORDINALITY AS p (payload, received_at, nr)
		CROSS JOIN LATERAL cdp._single_messages(p.payload) WITH ORDINALITY AS a (message, nr);
	END IF;
	SELECT * INTO plain FROM cdp._try_plain(payloads, received, backfill, many, in_order, may_be_later);
	accepted := plain.taken;
	later := cardinality(plain.later);
	IF later > 0 THEN
		INSERT INTO cdp.inbox (payload, received_at)
		SELECT payloads[l.nr], received[l.nr] FROM unnest(plain.later) l (nr) ORDER BY l.nr;
	END IF;
	IF plain.rest = '{}' THEN
		RETURN;
	END IF;
	WITH done AS MATERIALIZED (
		SELECT p.nr, cdp._read_message(p.payload, p.received_at) AS message
		FROM unnest(payloads, received) WITH ORDINALITY AS p (payload, received_at, nr)
		JOIN unnest(plain.rest) AS r (nr) ON r.nr = p.nr
	), refused AS (
		INSERT INTO cdp.rejected (payload, reason, sqlstate, at)
		SELECT k.payload, CASE WHEN k.payload IS DISTINCT FROM (d.message).payload THEN 'is about somebody who was erased' ELSE (d.message).reason END,
			   (d.message).sqlstate, (d.message).received_at
		FROM done d CROSS JOIN LATERAL (SELECT cdp._rejected_payload((d.message).payload) OFFSET 0) AS k (payload)
		WHERE (d.message).reason IS NOT NULL
		ORDER BY d.nr
	)
	SELECT array_agg(d.message ORDER BY d.nr) INTO good
	FROM done d
	WHERE (d.message).reason IS NULL;
	FOR i IN 1 .. coalesce(cardinality(good), 0) BY slice LOOP
		accepted := accepted + cdp._take_or_split(good[i : i + slice - 1], backfill, many);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._ingest(jsonb[], timestamptz[], boolean, boolean, boolean, boolean)
	IS 'takes messages, each an object or an array of them; how many were accepted; may_be_later: those about profiles that another session holds may go to the inbox, and so many did';

CREATE FUNCTION cdp.ingest(message jsonb, received_at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF message IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'message must not be null';
	END IF;
	PERFORM cdp._check_event_time(received_at);
	IF jsonb_typeof(message) = 'array' OR message ? 'batch' THEN
		RETURN (cdp._ingest_patiently(ARRAY[message], ARRAY[received_at], false, true, false)).accepted;
	END IF;
	RETURN (cdp._ingest(ARRAY[message], ARRAY[received_at], false, false, true)).accepted;
END
$$;
COMMENT ON FUNCTION cdp.ingest(jsonb, timestamptz) IS 'takes one Segment message or an array of them and returns how many were accepted; the others are in table rejected';

CREATE FUNCTION cdp._take_inbox(after bigint, max_rows bigint, OUT payloads jsonb[], OUT received timestamptz[], OUT last_id bigint)
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__take_inbox';
COMMENT ON FUNCTION cdp._take_inbox(bigint, bigint)
	IS 'takes the oldest rows of table inbox behind this one that nobody holds out of it; no payloads and a last_id: it has to be done by a query';

-- A first attempt waits for nobody for long with messages in its hands, unless it
-- is the only one that takes many anyway.  From the second on it is (_lock_identities), so it is
-- a large call in the sense of 21_identity_lock and waits as long as it takes: whom it may meet
-- in a circle lets go, or the server finds it.  Then it lets go of all that it holds of
-- this batch, and not only of what a part of it holds (_take_or_split).
CREATE FUNCTION cdp._ingest_patiently(payloads jsonb[], received timestamptz[], backfill boolean, in_order boolean, may_be_later boolean,
									  OUT accepted bigint, OUT later bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	alone boolean := false;
	locked boolean := true;
	circles int := 0;
BEGIN
	LOOP
		BEGIN
			IF alone THEN
				locked := false;
				PERFORM cdp._lock_identities(true);
				locked := true;
			END IF;
			SELECT i.accepted, i.later INTO accepted, later
			FROM cdp._ingest(payloads, received, backfill, true, _ingest_patiently.in_order, _ingest_patiently.may_be_later) i;
			RETURN;
		EXCEPTION
			WHEN SQLSTATE 'CDP03' THEN			-- it would have to wait with messages in its hands
				NULL;
			WHEN lock_not_available THEN
				IF alone OR current_setting('lock_timeout') <> '0' THEN
					RAISE;						-- not by _hurry
				END IF;
			WHEN deadlock_detected THEN
				IF NOT locked THEN
					RAISE;						-- with what an earlier call of the transaction holds
				END IF;
				circles := circles + 1;
				PERFORM cdp._open_circle(circles);
		END;
		alone := true;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._ingest_patiently(jsonb[], timestamptz[], boolean, boolean, boolean) IS '_ingest of a batch, again and with more patience when somebody is in its way';

CREATE FUNCTION cdp.ingest_inbox(max_rows bigint DEFAULT 10000, backfill boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	payloads jsonb[];
	received timestamptz[];
	left_over bigint := max_rows;
	last_id bigint := -9223372036854775808;
	done record;
	accepted bigint := 0;
	-- back into the inbox with messages about profiles that another session holds
	may_be_later boolean := max_rows <= 10000 AND has_table_privilege('cdp.inbox', 'INSERT');
BEGIN
	IF max_rows IS NULL OR max_rows < 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'max_rows must not be negative';
	END IF;
	-- The order of the locks is kept within a batch only: several go alone.
	IF max_rows > 10000 THEN
		PERFORM cdp._lock_identities(true);
	END IF;
	WHILE left_over > 0 LOOP
		-- Rows that this transaction has deleted are still in the index: go on
		-- behind them.  What others hold before them is theirs.
		SELECT t.payloads, t.received, t.last_id INTO payloads, received, last_id FROM cdp._take_inbox(last_id, least(left_over, 10000)) t;
		IF payloads IS NULL AND last_id IS NOT NULL THEN
			WITH taken AS (
				DELETE FROM cdp.inbox i
				WHERE i.ctid = ANY (ARRAY(SELECT o.ctid FROM cdp.inbox o WHERE o.inbox_id > last_id ORDER BY o.inbox_id
										  LIMIT least(left_over, 10000) FOR UPDATE SKIP LOCKED))
				RETURNING i.inbox_id, i.payload, i.received_at
			)
			SELECT array_agg(t.payload ORDER BY t.inbox_id), array_agg(t.received_at ORDER BY t.inbox_id), max(t.inbox_id)
			INTO payloads, received, last_id FROM taken t;
		END IF;
		EXIT WHEN payloads IS NULL;
		left_over := left_over - array_length(payloads, 1);
		SELECT * INTO done FROM cdp._ingest_patiently(payloads, received, coalesce(ingest_inbox.backfill, false), false, may_be_later);
		accepted := accepted + done.accepted;
		EXIT WHEN done.later > 0;		-- or they would come up again
		-- Those of the batch are locked, and the next one may have to wait to be alone: with them in its hands, whom the other needs.
		EXIT WHEN max_rows <= 10000;
	END LOOP;
	RETURN accepted;
END
$$;
COMMENT ON FUNCTION cdp.ingest_inbox(bigint, boolean) IS 'takes messages from table inbox, oldest first, and returns how many were accepted; several sessions at once share the work';
