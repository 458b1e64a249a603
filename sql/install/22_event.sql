/* 22_event: what happened
 *
 * The partitioned parent has no key and no index of its own: every monthly
 * partition gets them from the code that makes it (_event_partition), so that
 * pg_dump restores them in any order.
 */

CREATE SEQUENCE cdp.event_id_seq;
COMMENT ON SEQUENCE cdp.event_id_seq IS 'event ids';
CREATE TABLE cdp.event (
	event_id		bigint NOT NULL DEFAULT nextval('cdp.event_id_seq'),
	at				timestamptz NOT NULL,
	received_at		timestamptz NOT NULL,
	profile_id		bigint NOT NULL,
	via				cdp.identifier,
	participants	bigint[] NOT NULL DEFAULT '{}',
	event			text NOT NULL,
	properties		jsonb NOT NULL DEFAULT '{}',
	context			jsonb NOT NULL DEFAULT '{}',
	source			text,
	message_id		text,
	backfill		boolean NOT NULL DEFAULT false
) PARTITION BY RANGE (at);
COMMENT ON TABLE cdp.event IS 'every event, once, in monthly partitions (UTC)';
COMMENT ON COLUMN cdp.event.profile_id IS 'the leaf profile that owned the event on receipt; rewritten when split takes its identifier away, and by erase_profile';
COMMENT ON COLUMN cdp.event.via IS 'the identifier that decided the owner';
COMMENT ON COLUMN cdp.event.participants IS 'leaf profiles (store, rep …) in whose timelines the event stands too';
COMMENT ON COLUMN cdp.event.backfill IS 'loaded as history: changes derived state, starts no journey';

CREATE TABLE cdp.event_message (
	message_id	text PRIMARY KEY,
	event_id	bigint,
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL
);
COMMENT ON TABLE cdp.event_message IS 'message ids already taken (idempotency) and the event each one became';
COMMENT ON COLUMN cdp.event_message.event_id IS 'NULL: the message was no event (identify, group, alias)';

CREATE TABLE cdp.event_role (
	event		text NOT NULL,
	source		text NOT NULL DEFAULT '*',
	as_event	text,
	role		text,
	label_key	text,
	value_key	text,
	items_key	text,
	seeded		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (event, source, seeded),
	CONSTRAINT event_role_as_event_check CHECK (as_event <> '')
);
COMMENT ON TABLE cdp.event_role IS 'what an event means: its name, label, value and items in timelines; writable, applies to events folded from then on (rebuild applies it to all)';

-- Work rows: one for each timeline that an event has yet to reach.
CREATE TABLE cdp.event_tail (
	profile_id	bigint NOT NULL,
	event_id	bigint NOT NULL,
	owner_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	PRIMARY KEY (profile_id, event_id)
);
COMMENT ON TABLE cdp.event_tail IS 'events not yet folded into the timeline of this leaf profile';
COMMENT ON COLUMN cdp.event_tail.owner_id IS 'event.profile_id: with at and event_id it finds the event row';
-- Folding takes the oldest arrivals first, so nobody's events starve.
CREATE INDEX event_tail_event_id_idx ON cdp.event_tail (event_id);


-- partitions

CREATE FUNCTION cdp._event_partition_name(at timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN 'event_' || to_char(at AT TIME ZONE 'UTC', 'YYYY_MM');
COMMENT ON FUNCTION cdp._event_partition_name(timestamptz) IS 'table in schema cdp that holds events of this instant';

CREATE FUNCTION cdp._check_event_time(at timestamptz) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'event time must not be null';
	END IF;
	-- infinity is outside too
	IF at < '1900-01-01 00:00:00+00' OR at >= '2200-01-01 00:00:00+00' THEN
		RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow',
			MESSAGE = format('event time out of range: "%s"', at AT TIME ZONE 'UTC'),
			DETAIL = 'An event lies between 1900-01-01 and 2200-01-01 (UTC).';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_event_time(timestamptz) IS 'raises an error unless an event can have happened then';

-- Attaching a partition waits for nobody who uses the others, so a session may
-- not have heard of it yet; taking a lock is when it hears.
CREATE FUNCTION cdp._lock_event_partition(at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	partition text := cdp._event_partition_name(at);
BEGIN
	IF NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relname = partition) THEN
		RETURN false;
	END IF;
	EXECUTE format('LOCK TABLE cdp.%I IN ROW EXCLUSIVE MODE', partition);
	RETURN true;
END
$$;
COMMENT ON FUNCTION cdp._lock_event_partition(timestamptz) IS 'locks the partition of table event for this instant, so that this session knows it; false when there is none';

-- Readers and writers of other months go on meanwhile: ATTACH PARTITION takes
-- SHARE UPDATE EXCLUSIVE on the parent.  Whoever also locks identifiers calls
-- this first, so that the advisory lock comes before all others.
CREATE FUNCTION cdp._event_partition(at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	partition text;
	month timestamp;
	parent pg_class;
	made pg_class;
	who record;
BEGIN
	PERFORM cdp._check_event_time(at);
	partition := cdp._event_partition_name(at);
	IF to_regclass('cdp.' || partition) IS NOT NULL THEN
		RETURN false;
	END IF;
	PERFORM pg_advisory_xact_lock(hashtextextended('marketing_cdp event partitions', 0));
	-- Made while we waited?  to_regclass would still answer from the session's
	-- cache, which an advisory lock does not refresh; locking the table does.
	IF cdp._lock_event_partition(at) THEN
		RETURN false;
	END IF;

	EXECUTE format('CREATE TABLE cdp.%I (LIKE cdp.event INCLUDING COMMENTS INCLUDING COMPRESSION INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING STORAGE)',
				   partition);
	SELECT * INTO STRICT parent FROM pg_class c WHERE c.oid = 'cdp.event'::regclass;
	SELECT * INTO STRICT made FROM pg_class c WHERE c.oid = ('cdp.' || partition)::regclass;

	-- pg_dump keeps ordinary tables only: inside an extension's script the
	-- table became a member of that extension.
	FOR who IN
		SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
		WHERE d.classid = 'pg_class'::regclass AND d.objid = made.oid
			AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	LOOP
		EXECUTE format('ALTER EXTENSION %I DROP TABLE cdp.%I', who.extname, partition);
	END LOOP;

	-- The parent has no key: see the head of this file.
	EXECUTE format('ALTER TABLE cdp.%I ADD CONSTRAINT %I PRIMARY KEY (profile_id, event_id)',
				   partition, partition || '_pkey');
	-- for rules about the properties of what a store or a rep took part in
	EXECUTE format('CREATE INDEX %I ON cdp.%I USING gin (participants) WHERE participants <> ''{}''',
				   partition || '_participants_idx', partition);
	month := date_trunc('month', at AT TIME ZONE 'UTC');
	EXECUTE format('COMMENT ON TABLE cdp.%I IS %L', partition,
				   'events of ' || to_char(month, 'YYYY-MM') || ' (UTC)');

	-- Same owner and privileges as the parent, whatever the defaults are.
	IF made.relowner <> parent.relowner THEN
		EXECUTE format('ALTER TABLE cdp.%I OWNER TO %I', partition, pg_get_userbyid(parent.relowner));
	END IF;
	FOR who IN
		SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
		WHERE c.oid = made.oid AND a.grantee <> c.relowner
	LOOP
		EXECUTE format('REVOKE ALL ON cdp.%I FROM %s', partition,
					   CASE who.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(who.grantee)) END);
	END LOOP;
	FOR who IN
		SELECT a.grantee, a.privilege_type, a.is_grantable FROM aclexplode(parent.relacl) a
		WHERE a.grantee <> parent.relowner
	LOOP
		EXECUTE format('GRANT %s ON cdp.%I TO %s%s', who.privilege_type, partition,
					   CASE who.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(who.grantee)) END,
					   CASE WHEN who.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
	END LOOP;

	EXECUTE format('ALTER TABLE cdp.event ATTACH PARTITION cdp.%I FOR VALUES FROM (%L) TO (%L)', partition,
				   to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
				   to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
	RETURN true;
END
$$;
COMMENT ON FUNCTION cdp._event_partition(timestamptz) IS 'makes the monthly partition of table event for this instant unless it is there; true when made';

CREATE FUNCTION cdp._make_partitions(now timestamptz, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	month timestamp := date_trunc('month', now AT TIME ZONE 'UTC');
BEGIN
	done := 0;
	lag := interval '0';
	FOR ahead IN 0 .. 2 LOOP
		IF cdp._event_partition((month + ahead * interval '1 month') AT TIME ZONE 'UTC') THEN
			done := done + 1;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._make_partitions(timestamptz) IS 'partitions of this month and the next two; done counts those that were missing';

-- what an event means

INSERT INTO cdp.event_role (event, as_event, role, label_key, value_key, items_key, seeded) VALUES
	-- our own names
	('purchase',					NULL,				'purchase',		NULL,			NULL,	'products',	true),
	('refund',						NULL,				'refund',		NULL,			NULL,	NULL,		true),
	('page',						NULL,				NULL,			'name',			NULL,	NULL,		true),
	('screen',						NULL,				NULL,			'name',			NULL,	NULL,		true),
	-- Segment: e-commerce
	('Products Searched',			'search',			NULL,			'query',		NULL,	NULL,		true),
	('Product List Viewed',			'list_view',		NULL,			'category',		NULL,	NULL,		true),
	('Product List Filtered',		'list_filter',		NULL,			'category',		NULL,	NULL,		true),
	('Promotion Viewed',			'promotion_view',	'touch',		'promotion_id',	NULL,	NULL,		true),
	('Promotion Clicked',			'promotion_click',	'touch',		'promotion_id',	NULL,	NULL,		true),
	('Product Clicked',				'click',			NULL,			NULL,			NULL,	NULL,		true),
	('Product Viewed',				'view',				'view',			NULL,			NULL,	NULL,		true),
	('Product Added',				'cart',				'cart',			NULL,			NULL,	NULL,		true),
	('Product Removed',				'cart_remove',		NULL,			NULL,			NULL,	NULL,		true),
	('Cart Viewed',					'cart_view',		NULL,			NULL,			NULL,	NULL,		true),
	('Checkout Started',			'checkout',			NULL,			NULL,			NULL,	NULL,		true),
	('Payment Info Entered',		'payment_info',		NULL,			NULL,			NULL,	NULL,		true),
	('Order Completed',				'purchase',			'purchase',		NULL,			NULL,	'products',	true),
	('Order Refunded',				'refund',			'refund',		NULL,			NULL,	NULL,		true),
	('Order Cancelled',				'cancel',			NULL,			NULL,			NULL,	NULL,		true),
	('Coupon Entered',				'coupon_enter',		'touch',		'coupon_id',	NULL,	NULL,		true),
	('Coupon Applied',				'coupon',			'touch',		'coupon_id',	NULL,	NULL,		true),
	('Coupon Denied',				'coupon_denied',	NULL,			'coupon_id',	NULL,	NULL,		true),
	('Coupon Removed',				'coupon_remove',	NULL,			'coupon_id',	NULL,	NULL,		true),
	('Product Added to Wishlist',	'wishlist',			NULL,			NULL,			NULL,	NULL,		true),
	('Product Shared',				'share',			'referral',		NULL,			NULL,	NULL,		true),
	('Product Reviewed',			'review',			NULL,			NULL,			NULL,	NULL,		true),
	-- Segment: e-mail, mobile, accounts
	('Email Delivered',				'email_delivered',	'message',		'campaign_name', NULL,	NULL,		true),
	('Email Opened',				'email_open',		'touch',		'campaign_name', NULL,	NULL,		true),
	('Email Link Clicked',			'email_click',		'touch',		'campaign_name', NULL,	NULL,		true),
	('Unsubscribed',				'unsubscribe',		NULL,			NULL,			NULL,	NULL,		true),
	('Install Attributed',			'install_touch',	'touch',		'provider',		NULL,	NULL,		true),
	('Push Notification Tapped',	'push_open',		'touch',		NULL,			NULL,	NULL,		true),
	('Application Installed',		'install',			'activation',	NULL,			NULL,	NULL,		true),
	('Application Opened',			'open',				NULL,			NULL,			NULL,	NULL,		true),
	('Signed Up',					'sign_up',			'activation',	NULL,			NULL,	NULL,		true),
	('Invite Sent',					'invite',			'referral',		NULL,			NULL,	NULL,		true);

CREATE TRIGGER event_role_keep_seeded BEFORE UPDATE OR DELETE ON cdp.event_role
	FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();

CREATE VIEW cdp.event_role_effective WITH (security_invoker) AS
SELECT DISTINCT ON (r.event, r.source)
	r.event, r.source, r.as_event, r.role, r.label_key, r.value_key, r.items_key, r.seeded
FROM cdp.event_role r
ORDER BY r.event, r.source, r.seeded;
COMMENT ON VIEW cdp.event_role_effective IS 'event_role with users'' rows in place of the seeded ones they override; a row with the event''s own source goes before source *';

-- The readers below never raise an error, whatever the JSON: an event that is
-- stored must reach its timeline.

CREATE FUNCTION cdp._json_label(value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(value) IN ('string', 'number', 'boolean') THEN nullif(value #>> '{}', '') END;
COMMENT ON FUNCTION cdp._json_label(jsonb) IS 'text of a JSON scalar; NULL when it is empty, null, an object or an array';

-- Beyond 1e150 the product of two numbers could leave the range of float8.
CREATE FUNCTION cdp._json_number(value jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(value)
	WHEN 'number' THEN CASE WHEN abs(value::numeric) > 1e150 THEN NULL
							WHEN abs(value::numeric) < 1e-150 THEN 0
							ELSE value::numeric::double precision END
	WHEN 'string' THEN CASE WHEN value #>> '{}' ~ '^\s*[-+]?[0-9]{1,30}(\.[0-9]{0,30})?\s*$'
							THEN (value #>> '{}')::double precision END
END;
COMMENT ON FUNCTION cdp._json_number(jsonb) IS 'a JSON number, or the number in a JSON string such as "12.50"; else NULL';

CREATE FUNCTION cdp._event_label(properties jsonb, key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN key IS NOT NULL THEN cdp._json_label(properties -> key)
	ELSE coalesce(cdp._json_label(properties -> 'product_id'), cdp._json_label(properties -> 'sku'),
				  cdp._json_label(properties -> 'campaign'), cdp._json_label(properties -> 'channel'),
				  cdp._json_label(properties -> 'name')) END;
COMMENT ON FUNCTION cdp._event_label(jsonb, text) IS 'label of an event with these properties; key NULL = the first of product_id, sku, campaign, channel, name';

CREATE FUNCTION cdp._event_value(properties jsonb, key text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN key IS NOT NULL THEN cdp._json_number(properties -> key)
	ELSE coalesce(cdp._json_number(properties -> 'revenue'), cdp._json_number(properties -> 'total'),
				  cdp._json_number(properties -> 'value'), cdp._json_number(properties -> 'amount')) END;
COMMENT ON FUNCTION cdp._event_value(jsonb, text) IS 'value of an event with these properties; key NULL = the first number of revenue, total, value, amount';

CREATE FUNCTION cdp._item_value(item jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(cdp._json_number(item -> 'total'), cdp._json_number(item -> 'value'),
				cdp._json_number(item -> 'revenue'), cdp._json_number(item -> 'amount'),
				cdp._json_number(item -> 'price') * coalesce(cdp._json_number(item -> 'quantity'), 1));
COMMENT ON FUNCTION cdp._item_value(jsonb) IS 'value of one line of an order: its total, value, revenue or amount, else price times quantity';

-- The one place that turns an event into timeline entries.  Inlined into the
-- query that calls it.
CREATE FUNCTION cdp._event_entries(happened_at timestamptz, raw_event text, raw_source text, properties jsonb)
	RETURNS TABLE (at timestamptz, event text, label text, value double precision, entry_properties jsonb)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 2
BEGIN ATOMIC
	SELECT happened_at, entry.event, entry.label, entry.value, entry.properties
	FROM (SELECT) AS one
	LEFT JOIN LATERAL (
		SELECT r.as_event, r.label_key, r.value_key, r.items_key FROM cdp.event_role r
		WHERE r.event = raw_event AND (r.source = '*' OR r.source = raw_source)
		ORDER BY r.source = '*', r.seeded
		LIMIT 1
	) AS role ON true
	CROSS JOIN LATERAL (
		SELECT coalesce(role.as_event, raw_event) AS event,
			   cdp._event_label(properties, role.label_key) AS label,
			   cdp._event_value(properties, role.value_key) AS value,
			   properties AS properties
		UNION ALL
		SELECT 'item',
			   coalesce(CASE WHEN role.label_key IS NOT NULL THEN cdp._json_label(item.line -> role.label_key) END,
						cdp._event_label(item.line, NULL)),
			   cdp._item_value(item.line),
			   item.line
		FROM jsonb_array_elements(CASE WHEN jsonb_typeof(properties -> role.items_key) = 'array'
									   THEN properties -> role.items_key END) AS item (line)
		WHERE jsonb_typeof(item.line) = 'object'
	) AS entry;
END;
COMMENT ON FUNCTION cdp._event_entries(timestamptz, text, text, jsonb) IS 'the timeline entries of one event: itself under its role''s name, then its items, each with its own properties';

-- storing events
--
-- Plans for known arrays would be made anew for every call.

CREATE FUNCTION cdp._record_events(events cdp.event[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	missing timestamptz;
	taken bigint;
BEGIN
	FOR missing IN
		SELECT m.month AT TIME ZONE 'UTC'
		FROM (SELECT DISTINCT date_trunc('month', e.at AT TIME ZONE 'UTC') AS month
			  FROM unnest(events) e WHERE e.event IS NOT NULL) m
		WHERE to_regclass('cdp.' || cdp._event_partition_name(m.month AT TIME ZONE 'UTC')) IS NULL
	LOOP
		PERFORM cdp._event_partition(missing);
	END LOOP;

	WITH claimed AS (
		INSERT INTO cdp.event_message AS m (message_id, event_id, profile_id, at)
		SELECT e.message_id, e.event_id, e.profile_id, e.at
		FROM unnest(events) e
		WHERE e.message_id IS NOT NULL
		ORDER BY e.message_id COLLATE "C"		-- as mcdp_record_events
		ON CONFLICT DO NOTHING
		RETURNING m.message_id, m.event_id
	), stored AS (
		INSERT INTO cdp.event AS n (event_id, at, received_at, profile_id, via, participants, event,
									properties, context, source, message_id, backfill)
		SELECT e.event_id, e.at, e.received_at, e.profile_id, e.via, e.participants, e.event,
			   e.properties, e.context, e.source, e.message_id, e.backfill
		FROM unnest(events) e
		WHERE e.event IS NOT NULL
			AND (e.message_id IS NULL OR e.message_id IN (SELECT c.message_id FROM claimed c))
		RETURNING n.event_id, n.profile_id, n.at, n.participants
	), followed AS (
		INSERT INTO cdp.event_tail (profile_id, event_id, owner_id, at)
		SELECT DISTINCT leaf, s.event_id, s.profile_id, s.at
		FROM stored s, unnest(s.profile_id || s.participants) leaf
	)
	SELECT (SELECT count(*) FROM stored) + (SELECT count(*) FROM claimed c WHERE c.event_id IS NULL) INTO taken;
	RETURN taken;
END
$$;
COMMENT ON FUNCTION cdp._record_events(cdp.event[]) IS 'stores events with their message ids and tail rows, except those whose message id was seen, and returns how many; a row without an event name and id only claims its message id';

CREATE FUNCTION cdp._record_event(leaf bigint, via cdp.identifier, event text, properties jsonb, at timestamptz,
		message_id text, source text, backfill boolean, context jsonb, participants bigint[],
		received_at timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	e cdp.event;
BEGIN
	e.event_id := nextval('cdp.event_id_seq');
	e.at := at;
	e.received_at := received_at;
	e.profile_id := leaf;
	e.via := via;
	e.participants := coalesce(participants, '{}');
	e.event := event;
	e.properties := coalesce(nullif(properties, 'null'), '{}');
	e.context := coalesce(nullif(context, 'null'), '{}');
	e.source := source;
	e.message_id := message_id;
	e.backfill := coalesce(backfill, false);
	IF cdp._record_events(ARRAY[e]) = 0 THEN
		RETURN NULL;
	END IF;
	RETURN e.event_id;
END
$$;
COMMENT ON FUNCTION cdp._record_event(bigint, cdp.identifier, text, jsonb, timestamptz, text, text, boolean, jsonb, bigint[], timestamptz)
	IS 'stores one event of a leaf profile and returns its id; NULL when its message id was seen';

-- Text limits: an event name is a dictionary entry in every timeline, a
-- message id is a key.
CREATE FUNCTION cdp._event_problem(event text, message_id text, properties jsonb, context jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN event = '' THEN 'event name must not be empty'
	WHEN length(event) > 200 THEN 'event name has more than 200 characters'
	WHEN length(message_id) > 200 THEN 'message id has more than 200 characters'
	WHEN jsonb_typeof(properties) NOT IN ('object', 'null') THEN 'event properties must be a JSON object'
	WHEN jsonb_typeof(context) NOT IN ('object', 'null') THEN 'event context must be a JSON object'
END;
COMMENT ON FUNCTION cdp._event_problem(text, text, jsonb, jsonb) IS 'what is wrong with an event, or NULL';

CREATE FUNCTION cdp._participant_leaf(participant cdp.identifier, at timestamptz, source text, alone boolean, wait boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	leaf bigint;
BEGIN
	IF _is_tombstone(participant) THEN
		RETURN NULL;
	ELSIF _is_blocked(participant) AND NOT EXISTS (SELECT FROM identifier_link l WHERE l.identifier = participant) THEN
		INSERT INTO identity_refusal (at, identifiers, reason, source)
		VALUES (_participant_leaf.at, ARRAY[participant], 'blocked value', _participant_leaf.source);
		RETURN NULL;
	END IF;
	-- Each by itself: a store is never merged with its customer.
	SELECT s.leaf_id INTO STRICT leaf FROM _stitch(ARRAY[participant], NULL, _participant_leaf.at, _participant_leaf.source, NULL, alone, wait) s;
	RETURN leaf;
END
$$;
COMMENT ON FUNCTION cdp._participant_leaf(cdp.identifier, timestamptz, text, boolean, boolean)
	IS 'the leaf profile of an event''s participant; NULL = nobody: it was erased, or its value is blocked (the refusal is recorded)';

-- An attempt at track, when there is something new to say about identities.
CREATE FUNCTION cdp._track_once(identifiers cdp.identifier[], event text, properties jsonb, at timestamptz, message_id text, source text,
		backfill boolean, context jsonb, participants cdp.identifier[], received_at timestamptz, wait boolean, OUT canonical_id bigint, OUT event_id bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	owner record;
	others bigint[] := '{}';
	participant cdp.identifier;
BEGIN
	PERFORM cdp._hurry(wait);
	SELECT * INTO STRICT owner FROM cdp._stitch(identifiers, NULL, _track_once.at, _track_once.source, _track_once.message_id, false, wait);
	FOREACH participant IN ARRAY coalesce(participants, '{}') LOOP
		others := array_remove(others || cdp._participant_leaf(participant, _track_once.at, _track_once.source, false, wait), NULL);
	END LOOP;
	canonical_id := owner.canonical_id;
	event_id := cdp._record_event(owner.leaf_id, owner.via, event, properties, at, message_id, source, backfill, context, others, received_at);
END
$$;
COMMENT ON FUNCTION cdp._track_once(cdp.identifier[], text, jsonb, timestamptz, text, text, boolean, jsonb, cdp.identifier[], timestamptz, boolean)
	IS 'stitches the identifiers and stores the event, or CDP01 (see _let_go); wait: if it must; event_id NULL: the message id was seen';

CREATE FUNCTION cdp.track(identifiers cdp.identifier[], event text, properties jsonb DEFAULT '{}',
		at timestamptz DEFAULT now(), message_id text DEFAULT NULL, source text DEFAULT NULL,
		backfill boolean DEFAULT false, context jsonb DEFAULT '{}',
		participants cdp.identifier[] DEFAULT '{}', received_at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	problem text;
	owner record;
	others bigint[] := '{}';
	participant cdp.identifier;
	known bigint;
	stored bigint;
	attempt int := 1;
	state text;
	what text;
	which text;
BEGIN
	track.event := btrim(track.event);
	track.message_id := nullif(track.message_id, '');
	IF track.identifiers IS NULL OR track.event IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = CASE WHEN track.event IS NULL THEN 'event name must not be null' ELSE 'identifiers must not be null' END;
	END IF;
	problem := cdp._event_problem(track.event, track.message_id, track.properties, track.context);
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = problem;
	END IF;
	PERFORM cdp._check_event_time(track.at);

	IF track.message_id IS NOT NULL THEN
		SELECT p.canonical_id INTO known
		FROM cdp.event_message m JOIN cdp.profile p ON p.profile_id = m.profile_id
		WHERE m.message_id = track.message_id;
		IF FOUND THEN
			RETURN known;
		END IF;
	END IF;

	-- Before any identifier is locked: see _event_partition.
	IF to_regclass('cdp.' || cdp._event_partition_name(track.at)) IS NULL THEN
		PERFORM cdp._event_partition(track.at);
	END IF;
	-- Nearly always everybody is known, and nobody is locked.
	SELECT k.leaf_id, k.canonical_id, k.via INTO owner FROM cdp._stitch_known(track.identifiers, track.at) k;
	FOREACH participant IN ARRAY coalesce(track.participants, '{}') LOOP
		others := others || (SELECT k.leaf_id FROM cdp._stitch_known(ARRAY[participant], track.at) k);
	END LOOP;
	IF owner.leaf_id IS NOT NULL AND array_position(others, NULL) IS NULL THEN
		stored := cdp._record_event(owner.leaf_id, owner.via, track.event, track.properties, track.at, track.message_id,
									track.source, track.backfill, track.context, others, track.received_at);
	ELSE
		-- All or nothing: it waits for no participant with identifiers in its hands.
		LOOP
			BEGIN
				SELECT o.canonical_id, o.event_id INTO owner.canonical_id, stored
				FROM cdp._track_once(track.identifiers, track.event, track.properties, track.at, track.message_id, track.source,
									 track.backfill, track.context, track.participants, track.received_at, attempt > 20) o;
				EXIT;
			EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
				GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
			END;
			attempt := cdp._let_go(attempt, state, what, which);
		END LOOP;
	END IF;
	IF stored IS NULL THEN
		-- Another session took the same message meanwhile.
		SELECT p.canonical_id INTO known
		FROM cdp.event_message m JOIN cdp.profile p ON p.profile_id = m.profile_id
		WHERE m.message_id = track.message_id;
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('message "%s" was about somebody who was erased', track.message_id);
		END IF;
		RETURN known;
	END IF;
	RETURN owner.canonical_id;
END
$$;
COMMENT ON FUNCTION cdp.track(cdp.identifier[], text, jsonb, timestamptz, text, text, boolean, jsonb, cdp.identifier[], timestamptz)
	IS 'records what happened to the profile that these identifiers name, and returns its canonical id; a repeated message_id changes nothing';

