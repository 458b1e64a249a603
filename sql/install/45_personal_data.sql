/* 45_personal_data: which tables hold what about a person, and all of it as JSON
 *
 * _personal_data is the list that export_profile and erase_profile follow.
 * Every table has a row in it (test/sql/data_rights.sql compares it with the
 * catalog):
 *
 *		rows	rows with the profile in column profile_id
 *		own		has a place of its own in _held_records and 46_erase
 *		none	says nothing about a person; the note says why
 *
 * A table with a column profile_id that is not in the list is taken as "rows".
 * "exported" is false for work rows, whose contents stand elsewhere.
 */

CREATE FUNCTION cdp._personal_data() RETURNS TABLE (relation text, held text, exported boolean, note text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 90
BEGIN ATOMIC
	SELECT v.* FROM (VALUES
		('bounced_address', 'rows', true, NULL),
		('consent_log', 'rows', true, NULL),
		('event_tail', 'rows', false, 'events to be folded: exported with event'),
		('identifier_link', 'rows', true, NULL),
		('journey_log', 'rows', true, NULL),
		('journey_state', 'rows', true, NULL),
		('journey_trigger', 'rows', true, NULL),
		('lifecycle_change', 'rows', true, NULL),
		('lifecycle_correction', 'rows', true, NULL),
		('lifecycle_state', 'rows', true, NULL),
		('profile_queue', 'rows', false, 'profiles to be looked at'),
		('purchase_due', 'rows', true, NULL),
		('tag_call', 'rows', true, NULL),
		('tag_expiry', 'rows', true, NULL),
		('tag_history', 'rows', true, NULL),
		('tag_own', 'rows', true, NULL),
		('trait_change', 'rows', true, NULL),
		('trait_pending', 'rows', false, 'numbers to be folded: exported with trait_value'),
		('trait_value', 'rows', true, NULL),

		('delivery', 'own', true, 'by its message'),
		('event', 'own', true, 'the owner''s, and the participants''; with all partitions'),
		('event_message', 'own', true, 'by its event, or the profile'),
		('event_retraction', 'own', true, 'the owner''s, and the participants'''),
		('extra_edge', 'own', true, 'by its identifiers'),
		('identifier_split', 'own', true, 'by its identifiers and profiles'),
		('identity_refusal', 'own', true, 'by its identifiers'),
		('inbox', 'own', true, 'messages that name an identifier'),
		('journey_duplicate', 'own', true, 'by its run'),
		('never_merge', 'own', true, 'either profile'),
		('outbox', 'own', true, 'about the profile or to it'),
		('profile', 'own', true, NULL),
		('profile_merge', 'own', true, 'any profile it names'),
		('quarantined_identifier', 'own', true, 'by its identifier'),
		('rejected', 'own', true, 'messages that name an identifier'),
		('relation', 'own', true, 'either profile'),
		('relation_call', 'own', false, 'memory of what was ended: exported with relation'),
		('segment', 'own', true, 'static members; what a failed refresh said'),
		('segment_change', 'own', true, NULL),
		('profile_batch', 'own', false, 'profiles to be looked at'),
		('segment_dirty', 'own', false, 'profiles to be looked at'),
		('segment_due', 'own', false, 'profiles to be looked at'),
		('segment_version', 'own', true, 'static members'),
		('segment_work', 'own', false, 'profiles to be looked at'),
		('split_pending', 'own', false, 'from whom identifiers have just left'),
		('tag_chunk', 'own', true, 'as the list of tags'),
		('tag_pending', 'own', true, 'as the list of tags'),
		('task_state', 'own', false, 'what a failed task said'),
		('timeline_part', 'own', true, 'sealed parts, as entries; the others come from event'),
		('trait_slice', 'own', false, 'bits of numbers: exported with trait_value'),

		('blocked_value', 'none', false, 'settings'),
		('channel', 'none', false, 'settings'),
		('control_group', 'none', false, 'settings'),
		('erased_message', 'none', false, 'receipts'),
		('erased_profile', 'none', false, 'receipts'),
		('erased_run', 'none', false, 'numbers'),
		('erased_step', 'none', false, 'numbers'),
		('erasure', 'none', false, 'receipts'),
		('erasure_pending', 'none', false, 'receipts'),
		('event_retention', 'none', false, 'settings'),
		('event_retention_state', 'none', false, 'how far a partition is'),
		('event_role', 'none', false, 'settings'),
		('frequency_cap', 'none', false, 'settings'),
		('journey', 'none', false, 'definitions'),
		('journey_listener', 'none', false, 'definitions'),
		('journey_schedule', 'none', false, 'definitions'),
		('journey_version', 'none', false, 'definitions'),
		('label_set', 'none', false, 'settings'),
		('lifecycle_policy', 'none', false, 'settings'),
		('namespace_rule', 'none', false, 'settings'),
		('outbox_front', 'none', false, 'numbers'),
		('outbox_lane', 'none', false, 'numbers'),
		('outbox_pace', 'none', false, 'numbers'),
		('outbox_retention', 'none', false, 'settings'),
		('purpose', 'none', false, 'settings'),
		('quiet_hours', 'none', false, 'settings'),
		('repurchase_clock', 'none', false, 'settings'),
		('repurchase_prior', 'none', false, 'numbers about many'),
		('repurchase_run', 'none', false, 'numbers'),
		('rfm_model', 'none', false, 'settings'),
		('rfm_run', 'none', false, 'numbers about many'),
		('rfm_segment', 'none', false, 'settings'),
		('role_level', 'none', false, 'settings'),
		('segment_pass', 'none', false, 'ids of events, of the last pass only'),
		('suppression', 'none', false, 'rules'),
		('tag_clock', 'none', false, 'an instant'),
		('tag_key', 'none', false, 'settings'),
		('tag_size', 'none', false, 'numbers'),
		('tombstone', 'none', false, 'salted hashes'),
		('tombstone_salt', 'none', false, 'a secret'),
		('trait_index', 'none', false, 'which traits are indexed'),
		('trait_rule', 'none', false, 'settings')) v (relation, held, exported, note);
END;
COMMENT ON FUNCTION cdp._personal_data() IS 'every table of the schema, and how export_profile and erase_profile treat it';

-- Partitions are their parents'.
CREATE FUNCTION cdp._profile_tables() RETURNS TABLE (relation text, exported boolean)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT c.relname::text, coalesce(d.exported, true)
	FROM pg_class c
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'profile_id' AND NOT a.attisdropped
		LEFT JOIN cdp._personal_data() d ON d.relation = c.relname
	WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND cdp._is_member('pg_class', c.oid)
	  AND coalesce(d.held, 'rows') = 'rows'
	ORDER BY c.relname COLLATE "C";
END;
COMMENT ON FUNCTION cdp._profile_tables() IS 'tables whose rows belong to the profile in their column profile_id';

-- Does a text tell one of these (in lower case)?  Short ones only as a whole:
-- they are part of too much.
CREATE FUNCTION cdp._tells(told text, secrets text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce((SELECT bool_or(CASE WHEN length(s) >= 6 THEN strpos(lower(told), s) > 0 ELSE lower(told) = s END) FROM unnest(secrets) s), false);
COMMENT ON FUNCTION cdp._tells(text, text[]) IS 'does a text contain one of some values, or if that is short, is it the value?';

CREATE FUNCTION cdp._identifier_values(ids cdp.identifier[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ARRAY(SELECT DISTINCT lower(cdp.value(i)) FROM unnest(ids) i);
COMMENT ON FUNCTION cdp._identifier_values(cdp.identifier[]) IS 'their values, in lower case';

-- A message as it was sent spells identifiers in its own way.  Arrays and
-- batches are looked into as deep as ingest takes messages out of them: what
-- comes from outside may be nested thousands of times.
CREATE FUNCTION cdp._names_one_of(payload jsonb, ids cdp.identifier[], id_values text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	said text := payload::text;
	namespaces text[];
	message jsonb;
	name text;
BEGIN
	IF EXISTS (SELECT FROM unnest(id_values) v WHERE length(v) >= 6 AND strpos(lower(said), v) > 0) THEN
		RETURN true;
	END IF;
	-- Nearly all messages are about others, and that is seen at once: a value is spelled with
	-- these characters next to each other, but for the case of ASCII letters, what JSON escapes,
	-- and what is dropped from and put into telephone numbers (a zero, and no digit else).
	said := lower(said COLLATE "C");
	IF NOT EXISTS (SELECT FROM unnest(ids) i
				   WHERE CASE WHEN namespace(i) = 'phone' THEN strpos(regexp_replace(said, '[^1-9]+', '', 'g'), regexp_replace(value(i), '[^1-9]+', '', 'g')) > 0
							  ELSE strpos(said, lower(value(i) COLLATE "C")) > 0 OR value(i) ~ '["\\]' END) THEN
		RETURN false;
	END IF;
	namespaces := ARRAY(SELECT DISTINCT namespace(i) FROM unnest(ids) i);
	FOR message IN
		SELECT m
		FROM jsonb_array_elements(CASE jsonb_typeof(payload) WHEN 'array' THEN payload ELSE jsonb_build_array(payload) END) e
			CROSS JOIN LATERAL (SELECT e UNION ALL
								SELECT jsonb_array_elements(CASE jsonb_typeof(e -> 'batch') WHEN 'array' THEN e -> 'batch' ELSE '[]' END)) x (m)
		WHERE jsonb_typeof(m) = 'object'
	LOOP
		BEGIN
			FOR name IN
				SELECT u.n
				FROM (SELECT n FROM unnest(_message_identifiers(message)) n
					  UNION ALL SELECT k || ':' || _json_id(message -> 'previousId') FROM unnest('{user_id,anonymous_id}'::text[]) k
					  UNION ALL SELECT 'account:' || _json_id(message -> 'groupId')
					  UNION ALL SELECT _json_id(message -> 'identifier')
					  UNION ALL SELECT p #>> '{}'
						FROM jsonb_array_elements(CASE jsonb_typeof(message -> 'participants') WHEN 'array' THEN message -> 'participants' ELSE '[]' END) p) u (n)
				WHERE lower(btrim(split_part(u.n, ':', 1))) = ANY (namespaces) AND _identifier_problem(u.n) IS NULL
			LOOP
				BEGIN
					IF name::identifier = ANY (ids) THEN
						RETURN true;
					END IF;
				EXCEPTION WHEN data_exception THEN
					NULL;
				END;
			END LOOP;
		EXCEPTION WHEN data_exception THEN		-- it is no message
			NULL;
		END;
	END LOOP;
	RETURN false;
END
$$;
COMMENT ON FUNCTION cdp._names_one_of(jsonb, cdp.identifier[], text[]) IS 'does a message name one of these identifiers, or contain a value of theirs that is not too short?';

-- exporting

CREATE FUNCTION cdp._held_records(leaves bigint[]) RETURNS TABLE (relation text, record jsonb)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	ids			identifier[] := ARRAY(SELECT l.identifier FROM identifier_link l WHERE l.profile_id = ANY (leaves) ORDER BY l.identifier);
	id_values	text[] := _identifier_values(ids);
	gone		bitmap := rb_build(leaves);
	root		bigint := (SELECT p.canonical_id FROM profile p WHERE p.profile_id = leaves[1]);
	name		text;
BEGIN
	FOR name IN SELECT t.relation FROM _profile_tables() t WHERE t.exported LOOP
		RETURN QUERY EXECUTE format('SELECT %L, to_jsonb(t) FROM cdp.%I t WHERE t.profile_id = ANY ($1) ORDER BY 2', name, name) USING leaves;
	END LOOP;
	RETURN QUERY SELECT 'profile', to_jsonb(t) FROM profile t WHERE t.profile_id = ANY (leaves) ORDER BY t.profile_id;
	RETURN QUERY SELECT 'extra_edge', to_jsonb(t) FROM extra_edge t
		WHERE t.a = ANY (ids) OR t.b = ANY (ids) AND t.inactive_at IS NOT NULL ORDER BY t.a, t.b;
	RETURN QUERY SELECT 'identity_refusal', to_jsonb(t) FROM identity_refusal t WHERE t.identifiers && ids ORDER BY t.refusal_id;
	RETURN QUERY SELECT 'identifier_split', to_jsonb(t) FROM identifier_split t
		WHERE t.identifier = ANY (ids) OR t.from_profile = ANY (leaves) OR t.to_profile = ANY (leaves) ORDER BY t.identifier, t.split_id;
	RETURN QUERY SELECT 'quarantined_identifier', to_jsonb(t) FROM quarantined_identifier t WHERE t.identifier = ANY (ids) ORDER BY t.identifier;
	RETURN QUERY SELECT 'profile_merge', to_jsonb(t) FROM profile_merge t
		WHERE t.leaf_a = ANY (leaves) OR t.leaf_b = ANY (leaves) OR t.survivor = ANY (leaves) OR t.merged = ANY (leaves) ORDER BY t.merge_id;
	RETURN QUERY SELECT 'never_merge', to_jsonb(t) FROM never_merge t
		WHERE t.profile_a = ANY (leaves) OR t.profile_b = ANY (leaves) ORDER BY t.profile_a, t.profile_b;
	RETURN QUERY SELECT 'relation', to_jsonb(t) FROM relation t WHERE t.a = ANY (leaves) OR t.b = ANY (leaves) ORDER BY t.a, t.relation, t.b, t.since;
	RETURN QUERY SELECT 'event', to_jsonb(t) FROM event t
		WHERE t.profile_id = ANY (leaves) OR t.participants && leaves AND t.participants <> '{}' ORDER BY t.at, t.event_id;
	RETURN QUERY SELECT 'event_message', to_jsonb(t) FROM event_message t
		WHERE t.event_id IS NULL AND t.profile_id = ANY (leaves) ORDER BY t.at, t.message_id;
	RETURN QUERY SELECT 'event_retraction', to_jsonb(t) FROM event_retraction t
		WHERE t.profile_id = ANY (leaves) OR t.participants && leaves ORDER BY t.at, t.message_id;
	RETURN QUERY SELECT 'timeline_part', jsonb_strip_nulls(to_jsonb(e)) FROM timeline_part t CROSS JOIN LATERAL timeline_events(t.timeline) e
		WHERE t.profile_id = ANY (leaves) AND t.sealed ORDER BY e.at, e.event, e.label, e.value;
	RETURN QUERY SELECT 'tag_chunk', to_jsonb(t) FROM unnest(leaves) l CROSS JOIN LATERAL _all_tags_of(l) t
		WHERE ascii(t) <> 1 ORDER BY t COLLATE "C";
	RETURN QUERY SELECT 'segment', jsonb_build_object('name', t.name, 'given', true) FROM segment t WHERE t.given && gone ORDER BY t.name;
	RETURN QUERY SELECT 'segment_version', jsonb_build_object('segment', t.segment, 'version', t.version, 'at', t.at) FROM segment_version t
		WHERE t.given && gone ORDER BY t.segment, t.version;
	RETURN QUERY SELECT 'segment_change', jsonb_build_object('segment', t.segment, 'at', t.at, 'cause', t.cause, 'entered', t.entered && gone, 'exited', t.exited && gone)
		FROM segment_change t WHERE t.entered && gone OR t.exited && gone ORDER BY t.at, t.segment;
	RETURN QUERY SELECT 'journey_duplicate', to_jsonb(t) FROM journey_duplicate t JOIN journey_state s USING (run_id)
		WHERE s.profile_id = ANY (leaves) ORDER BY t.run_id;
	RETURN QUERY SELECT 'outbox', to_jsonb(t) FROM outbox t WHERE t.profile_id = ANY (leaves) OR t.recipient_id = ANY (leaves) AND t.recipient_id <> t.profile_id ORDER BY t.id;
	RETURN QUERY SELECT 'delivery', to_jsonb(t) FROM delivery t
		WHERE t.outbox_id IN (SELECT o.id FROM outbox o WHERE o.profile_id = ANY (leaves) OR o.recipient_id = ANY (leaves) AND o.recipient_id <> o.profile_id) ORDER BY t.delivery_id;
	RETURN QUERY SELECT 'inbox', to_jsonb(t) FROM inbox t WHERE _names_one_of(t.payload, ids, id_values) ORDER BY t.inbox_id;
	RETURN QUERY SELECT 'rejected', to_jsonb(t) FROM rejected t WHERE _names_one_of(t.payload, ids, id_values) ORDER BY t.rejected_id;
END
$$;
COMMENT ON FUNCTION cdp._held_records(bigint[]) IS 'every row that says something about a profile, given all its leaves';

CREATE FUNCTION cdp._leaves_of(profile bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	leaves bigint[] := ARRAY(SELECT o.profile_id FROM profile p JOIN profile o ON o.canonical_id = p.canonical_id
							 WHERE p.profile_id = profile ORDER BY o.profile_id);
BEGIN
	IF profile IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'profile must not be null';
	ELSIF leaves = '{}' AND EXISTS (SELECT FROM erased_profile e WHERE e.profile_id = profile) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s was erased', profile);
	ELSIF leaves = '{}' THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s does not exist', profile);
	END IF;
	RETURN leaves;
END
$$;
COMMENT ON FUNCTION cdp._leaves_of(bigint) IS 'all leaves of the canonical profile of a profile; an error if there is no such profile';

CREATE FUNCTION cdp.export_records(profile bigint) RETURNS TABLE (relation text, record jsonb)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT r.relation, r.record FROM _held_records(_leaves_of(profile)) r;
END
$$;
COMMENT ON FUNCTION cdp.export_records(bigint) IS 'everything held about a profile and those merged into it, a row for each row of each table';

CREATE FUNCTION cdp.export_profile(profile bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	leaves	bigint[] := _leaves_of(profile);
	root	bigint := canonical_id(profile);
BEGIN
	RETURN jsonb_build_object(
		'profile_id', root,
		'kind', (SELECT p.kind FROM profile p WHERE p.profile_id = root),
		'first_at', (SELECT min(p.first_at) FROM profile p WHERE p.profile_id = ANY (leaves)),
		'suppressed', (SELECT p.suppressed FROM profile p WHERE p.profile_id = root),
		'merged_profiles', array_remove(leaves, root),
		'identifiers', (SELECT coalesce(jsonb_agg(l.identifier::text ORDER BY l.identifier), '[]') FROM identifier_link l WHERE l.profile_id = ANY (leaves)),
		'traits', (SELECT coalesce(jsonb_object_agg(n.name, n.value), '{}')
				   FROM (SELECT DISTINCT v.name, trait(root, v.name) AS value FROM trait_value v WHERE v.profile_id = ANY (leaves)) n
				   WHERE n.value IS NOT NULL),
		'tags', to_jsonb(tags_of(root)),
		'lifecycle', (SELECT s.stage FROM lifecycle_state s WHERE s.profile_id = root),
		'rfm', (SELECT coalesce(jsonb_agg(substr(t, 5) ORDER BY t COLLATE "C"), '[]') FROM _all_tags_of(root) t WHERE starts_with(t, 'rfm:')),
		'segments', (SELECT coalesce(jsonb_agg(substr(t, 9) ORDER BY t COLLATE "C"), '[]') FROM _all_tags_of(root) t WHERE starts_with(t, 'segment:')),
		'records', (SELECT coalesce(jsonb_object_agg(g.relation, g.records), '{}')
					FROM (SELECT r.relation, jsonb_agg(r.record) AS records FROM _held_records(leaves) r GROUP BY r.relation) g));
END
$$;
COMMENT ON FUNCTION cdp.export_profile(bigint) IS 'everything held about a profile and those merged into it, as one JSON object';
