/* 46_anonymise: events that are nobody's any more
 *
 * The events of a profile and its timeline go to a new profile, in one leaf,
 * that is in no audience and that nothing leads to.  Of an event stay its
 * name, time and source and those properties that its entries in timelines
 * are made of (see event_role); of those, none that tells an identifier or a
 * trait that does not stay.  Of the traits stay those that trait_rule knows and
 * does not call pii.
 *
 * Times of events stay exact: whoever has a copy of them knows whose they are.
 */

CREATE FUNCTION cdp._anonymous_object(object jsonb, keys text[], secrets text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce((SELECT jsonb_object_agg(p.key, p.value) FROM jsonb_each(object) p
				 WHERE p.key = ANY (keys) AND jsonb_typeof(p.value) IN ('string', 'number', 'boolean') AND NOT cdp._tells(p.value #>> '{}', secrets)), '{}');
COMMENT ON FUNCTION cdp._anonymous_object(jsonb, text[], text[]) IS 'the scalars of an object with these keys that tell no secret';

CREATE FUNCTION cdp._anonymous_properties(raw_event text, raw_source text, properties jsonb, secrets text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	role	event_role;
	labels	text[];
	amounts	text[];
	kept	jsonb;
BEGIN
	SELECT r.* INTO role FROM event_role r
	WHERE r.event = raw_event AND (r.source = '*' OR r.source = raw_source) ORDER BY r.source = '*', r.seeded LIMIT 1;
	labels := CASE WHEN role.label_key IS NULL THEN '{product_id,sku,campaign,channel,name}' ELSE ARRAY[role.label_key] END;
	amounts := CASE WHEN role.value_key IS NULL THEN '{revenue,total,value,amount}' ELSE ARRAY[role.value_key] END;
	kept := _anonymous_object(properties, labels || amounts, secrets);
	IF jsonb_typeof(properties -> role.items_key) = 'array' THEN
		kept := kept || jsonb_build_object(role.items_key, (
			SELECT coalesce(jsonb_agg(_anonymous_object(i.line, labels || '{product_id,sku,campaign,channel,name,total,value,revenue,amount,price,quantity}'::text[], secrets)
									  ORDER BY i.nr), '[]')
			FROM jsonb_array_elements(properties -> role.items_key) WITH ORDINALITY i (line, nr) WHERE jsonb_typeof(i.line) = 'object'));
	END IF;
	RETURN kept;
END
$$;
COMMENT ON FUNCTION cdp._anonymous_properties(text, text, jsonb, text[]) IS 'what an event keeps: what its timeline entries are made of, without secrets';

-- In the timelines of participants, what no longer stands in the events: their
-- old entries go, the new ones come.
CREATE FUNCTION cdp._anonymise_participations(leaves bigint[], ids bigint[], secrets text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	other	record;
	others	bigint[] := '{}';
	last_part int;
BEGIN
	FOR other IN
		SELECT p.leaf, min(e.at) AS first_at, timeline_agg(x.was) AS was, timeline_agg(x.becomes) AS becomes
		FROM event e
			CROSS JOIN LATERAL (SELECT DISTINCT u AS leaf FROM unnest(e.participants) u WHERE u <> ALL (leaves)) p
			CROSS JOIN LATERAL (SELECT (SELECT timeline_agg(n.at, n.event, n.label, n.value) FROM _event_entries(e.at, e.event, e.source, e.properties) n) AS was,
									   (SELECT timeline_agg(n.at, n.event, n.label, n.value)
										FROM _event_entries(e.at, e.event, e.source, _anonymous_properties(e.event, e.source, e.properties, secrets)) n) AS becomes) x
		WHERE e.profile_id = ANY (leaves) AND e.event_id = ANY (_anonymise_participations.ids) AND e.participants <> '{}' AND x.was <> x.becomes
		  AND NOT EXISTS (SELECT FROM event_tail t WHERE t.profile_id = p.leaf AND t.event_id = e.event_id)
		GROUP BY p.leaf ORDER BY p.leaf
	LOOP
		IF _take_entries(other.leaf, other.was) THEN
			SELECT max(p.part) INTO last_part FROM timeline_part p WHERE p.profile_id = other.leaf AND NOT p.sealed;
			INSERT INTO timeline_part AS p (profile_id, part, timeline, sole)
			VALUES (other.leaf, coalesce(last_part, (SELECT max(o.part) + 1 FROM timeline_part o WHERE o.profile_id = other.leaf), 0), other.becomes,
					last_part IS NULL AND NOT EXISTS (SELECT FROM timeline_part o WHERE o.profile_id = other.leaf))
			ON CONFLICT (profile_id, part) DO UPDATE SET timeline = timeline_merge(p.timeline, excluded.timeline);
		END IF;
		INSERT INTO profile_queue (profile_id, at, cause) VALUES (other.leaf, other.first_at, 'backfill');
		INSERT INTO segment_dirty (input, members, cause) VALUES ('event', rb_build(ARRAY[other.leaf]), 'backfill');
		others := others || other.leaf;
	END LOOP;
	PERFORM _forget_due_labels(others);
END
$$;
COMMENT ON FUNCTION cdp._anonymise_participations(bigint[], bigint[], text[]) IS 'the timelines of those who took part in events of these leaves, as these events will be';

-- The caller has locked the events (_lock_events), and goes on to erase the leaves.
CREATE FUNCTION cdp._anonymise(leaves bigint[], ids cdp.identifier[], root bigint, events bigint[], waiting bigint[], at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	id_values	text[] := _identifier_values(ids);
	secrets		text[];
	id			bigint := nextval('profile_id_seq');
	kept		jsonb := '{}';
	n			bigint;
BEGIN
	secrets := id_values || ARRAY(
		SELECT DISTINCT lower(c.value #>> '{}') FROM trait_change c LEFT JOIN trait_rule r ON r.name = c.name
		WHERE c.profile_id = ANY (leaves) AND jsonb_typeof(c.value) = 'string' AND coalesce(r.pii, true) AND length(c.value #>> '{}') > 1);
	-- erased_at is coarse, or it would lead to the receipt
	INSERT INTO profile (profile_id, kind, canonical_id, first_at, suppressed, erased_at)
	SELECT id, min(p.kind), id, min(p.first_at), true, date_trunc('month', _anonymise.at, 'UTC') FROM profile p WHERE p.profile_id = ANY (leaves);

	PERFORM _anonymise_participations(leaves, events, secrets);
	DELETE FROM event_message m
	WHERE m.message_id IN (SELECT e.message_id FROM event e WHERE e.profile_id = ANY (leaves) AND e.event_id = ANY (events) AND e.message_id IS NOT NULL);
	UPDATE event e SET profile_id = id, via = NULL, context = '{}', message_id = NULL,
		properties = _anonymous_properties(e.event, e.source, e.properties, secrets)
	WHERE e.profile_id = ANY (leaves) AND e.event_id = ANY (events);
	GET DIAGNOSTICS n = ROW_COUNT;
	kept := _add_count(kept, 'event', n);
	UPDATE event e SET participants = ARRAY(SELECT CASE WHEN u = ANY (leaves) THEN id ELSE u END FROM unnest(e.participants) WITH ORDINALITY o (u, nr) ORDER BY nr)
	WHERE e.participants && leaves AND e.participants <> '{}';
	DELETE FROM event_tail t USING event_tail o
	WHERE t.event_id = ANY (waiting) AND t.profile_id = ANY (leaves) AND o.profile_id = ANY (leaves) AND o.event_id = t.event_id AND o.profile_id < t.profile_id;
	UPDATE event_tail t SET owner_id = CASE WHEN t.owner_id = ANY (leaves) THEN id ELSE t.owner_id END,
		profile_id = CASE WHEN t.profile_id = ANY (leaves) THEN id ELSE t.profile_id END
	WHERE t.event_id = ANY (events || waiting) AND (t.profile_id = ANY (leaves) OR t.owner_id = ANY (leaves));

	INSERT INTO timeline_part (profile_id, part, timeline, sealed, sole)
	SELECT id, row_number() OVER (ORDER BY p.profile_id, p.part) - 1, x.timeline, true, false
	FROM timeline_part p
		CROSS JOIN LATERAL (SELECT timeline_agg(e.at, e.event, CASE WHEN NOT _tells(e.label, secrets) THEN e.label END, e.value) AS timeline
							FROM timeline_events(p.timeline) e) x
	WHERE p.profile_id = ANY (leaves) AND p.sealed AND num_events(p.timeline) > 0;
	PERFORM _rebuild_timelines(id);

	INSERT INTO trait_value (name, profile_id, value, number, at)
	SELECT v.name, id, v.value, _number(v.value), v.at
	FROM (SELECT t.name, trait(root, t.name) AS value, max(t.at) AS at
		  FROM trait_value t JOIN trait_rule r ON r.name = t.name AND NOT r.pii
		  WHERE t.profile_id = ANY (leaves) GROUP BY t.name) v
	WHERE v.value IS NOT NULL AND NOT _tells(v.value::text, id_values)
	ORDER BY v.name;
	GET DIAGNOSTICS n = ROW_COUNT;
	INSERT INTO trait_change (profile_id, name, value, at) SELECT id, v.name, v.value, v.at FROM trait_value v WHERE v.profile_id = id;
	RETURN _add_count(kept, 'trait_value', n);
END
$$;
COMMENT ON FUNCTION cdp._anonymise(bigint[], cdp.identifier[], bigint, bigint[], bigint[], timestamptz) IS 'gives the events of a profile to a new one that nothing leads to; returns how many rows';
