/* 89_privilege: levels that are granted to roles
 *
 * What an object holds decides who may do what with it, so every table and
 * every public function has a line here (test privilege fails for one that
 * has none).  Functions run with the rights of whoever calls them; those few
 * that run with the owner's say why.
 *
 *		analyst		reads what names nobody: tags, events, timelines, stages, …
 *		reader		reads everything
 *		writer		reads everything, and adds to what is known of profiles: an application, an import
 *		marketer	as an analyst, and writes segments, journeys, tags
 *		admin		everything
 */

CREATE TABLE cdp.role_level (
	role	name NOT NULL,
	level	text NOT NULL,
	PRIMARY KEY (role, level),
	CONSTRAINT role_level_level_check CHECK (level IN ('reader', 'analyst', 'writer', 'marketer', 'admin'))
);
COMMENT ON TABLE cdp.role_level IS 'levels granted by grant_role';

-- settings: read by all, written by admins        campaigns: written by marketers too
-- history: of profiles, names nobody               work: the same, what marketers' functions write
-- identity: names somebody                         secret: what identify has to read
CREATE FUNCTION cdp._table_classes() RETURNS TABLE (name text, class text, hidden text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT t.name, c.class, CASE t.name
		WHEN 'event' THEN '{via,context,message_id}'
		WHEN 'profile_merge' THEN '{evidence,reason,undone_reason}'
		WHEN 'outbox' THEN '{address,params}'
		WHEN 'bounced_address' THEN '{address,detail}'
		WHEN 'inbox' THEN '{payload}'
		WHEN 'blocked_value' THEN '{pattern}'
		WHEN 'rejected' THEN '{payload,reason}'
	END::text[]
	FROM (VALUES
		('settings', '{blocked_value,event_retention,event_role,namespace_rule,outbox_retention,trait_rule,never_merge,role_level,task_state,
			channel_effective,event_role_effective,lifecycle_policy_effective,namespace_rule_effective,
			purpose_effective,repurchase_clock_effective,rfm_model_effective,rfm_segment_effective,segment_status,tag_catalog,profile_timeline}'::text[]),
		('campaigns', '{channel,control_group,frequency_cap,journey,journey_listener,journey_schedule,journey_version,label_set,lifecycle_policy,
			purpose,quiet_hours,repurchase_clock,rfm_model,rfm_segment,segment,segment_version,suppression,tag_key}'),
		('history', '{bounced_address,consent_log,delivery,erased_message,erased_profile,erased_run,erased_step,erasure,event,event_retraction,event_tail,inbox,lifecycle_change,lifecycle_correction,lifecycle_state,outbox,outbox_front,outbox_lane,outbox_pace,
			profile,profile_merge,purchase_due,rejected,relation,repurchase_prior,repurchase_run,
			timeline_part,trait_change,trait_index,trait_pending,trait_value}'),
		('work', '{erasure_pending,event_retention_state,journey_duplicate,journey_log,journey_state,journey_trigger,profile_batch,profile_queue,relation_call,rfm_run,segment_change,segment_dirty,segment_due,segment_pass,segment_work,
			split_pending,tag_call,tag_chunk,tag_clock,tag_expiry,tag_history,tag_own,tag_pending,tag_size}'),
		('identity', '{blocked_value_effective,event_message,extra_edge,identifier_link,identifier_split,identity_edge,identity_refusal,quarantined_identifier,tombstone,trait_slice}'),
		('secret', '{tombstone_salt}')
	) c (class, names), unnest(c.names) t (name);
END;
COMMENT ON FUNCTION cdp._table_classes() IS 'what each table and view holds; hidden: columns that are not for analysts and marketers';

CREATE FUNCTION cdp._class_privileges() RETURNS TABLE (class text, analyst text, reader text, writer text, marketer text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT * FROM (VALUES
		('settings', 'SELECT', 'SELECT', 'SELECT', 'SELECT'),
		('campaigns', 'SELECT', 'SELECT', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE'),
		('history', 'SELECT', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT'),
		('work', 'SELECT', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
		('identity', NULL, 'SELECT', 'SELECT, INSERT, UPDATE, DELETE', NULL),
		('secret', NULL, NULL, 'SELECT', NULL)) v;
END;
COMMENT ON FUNCTION cdp._class_privileges() IS 'what each level may do with each class of tables; admins may do everything';

-- Immutable functions are everybody's.  An internal function does nothing that
-- its caller's privileges on tables do not allow, except those named here.
CREATE FUNCTION cdp._function_levels() RETURNS TABLE (name text, levels text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT f.name, l.levels
	FROM (VALUES
		('{analyst,reader,writer,marketer,admin}'::text[],
		 '{aarrr,audience,audience_count,audience_explain,audience_with_suppressed,canonical_id,component_sizes,connected_components,consented,explain_match,has_tag,
			journey_diagram,journey_lift,journey_path,journey_results,journey_stats,lifecycle,lifecycle_at,lifecycle_due,lifecycle_explain,lifecycle_flow,
			matches,matches_with_suppressed,matching_labels,overlap,related,rfm,rfm_of,rfm_segment_of,role_events,segment_members,
			sequence_count,sequence_match,status,tagged,tags_of,timeline_of,trait,trait_avg,trait_count,trait_first_date,trait_last_date,trait_max,trait_min,
			trait_quantile,trait_range,trait_sum,trait_top,why_message,why_no_message,window_funnel,_matching_ids}'::text[]),
		('{reader,writer,admin}', '{identity_graph,resolve,simulate_merge,simulate_rules,why_linked}'),
		('{writer,admin}', '{ack_message,ack_messages,claim_messages,consent,identify,import_events,import_identities,ingest,ingest_inbox,relate,retract,
			set_trait,set_traits,suppress,track,unrelate,unsuppress,_event_partition}'),
		('{writer,marketer,admin}', '{enter_journey,tag,tag_from,toggle_tag,untag,_lock_merges}'),
		('{marketer,admin}', '{activate_journey,archive_journey,audience_identifiers,create_journey,define_segment,define_static_segment,drop_segment,
			pause_journey,refresh_rfm,refresh_segments,simulate_journey,_hashed_identifiers}'),
		('{admin}', '{advance_journeys,apply_rules,erase_profile,export_profile,export_records,grant_role,lift_quarantine,lift_tombstone,merge,quarantine,rebuild,refresh_repurchase,revoke_role,run,split,start_worker,stop_worker,tick,unmerge,
			_drop_event_partition,_identifiers_of}')
	) l (levels, names), unnest(l.names) f (name);
END;
COMMENT ON FUNCTION cdp._function_levels() IS 'who may call each public function that is not immutable';

-- Traits that trait_rule calls pii are seen only by those who may see
-- identifiers (src/store/access.c asks the same).  pg_dump leaves policies of
-- an extension's tables to the extension.
CREATE POLICY personal_traits ON cdp.trait_value USING ((SELECT has_table_privilege('cdp.identifier_link', 'SELECT'))
	OR name <> ALL (ARRAY(SELECT r.name FROM cdp.trait_rule r WHERE r.pii)));
CREATE POLICY personal_traits ON cdp.trait_change USING ((SELECT has_table_privilege('cdp.identifier_link', 'SELECT'))
	OR name <> ALL (ARRAY(SELECT r.name FROM cdp.trait_rule r WHERE r.pii)));
COMMENT ON POLICY personal_traits ON cdp.trait_value IS 'traits marked pii are for those who may see identifiers';
COMMENT ON POLICY personal_traits ON cdp.trait_change IS 'traits marked pii are for those who may see identifiers';
ALTER TABLE cdp.trait_value ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdp.trait_change ENABLE ROW LEVEL SECURITY;

-- Names of roles are kept, so that a dump can be restored elsewhere.  A role that
-- was dropped leaves its rows, and they must not go to another of that name:
-- whoever has a level may read table profile.
CREATE FUNCTION cdp._forget_roles() RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	DELETE FROM cdp.role_level l
	WHERE NOT EXISTS (SELECT FROM pg_roles r JOIN pg_class c ON c.oid = 'cdp.profile'::regclass CROSS JOIN LATERAL aclexplode(c.relacl) a
					  WHERE r.rolname = l.role AND a.grantee = r.oid);
END;
COMMENT ON FUNCTION cdp._forget_roles() IS 'removes from role_level those who hold nothing any more';

CREATE FUNCTION cdp._apply_level(role name, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	o record;
BEGIN
	-- Partitions too: folding locks them by name.
	FOR o IN
		SELECT c.oid::regclass AS name,
			CASE level WHEN 'admin' THEN 'ALL' WHEN 'analyst' THEN p.analyst WHEN 'reader' THEN p.reader WHEN 'writer' THEN p.writer ELSE p.marketer END
			|| CASE WHEN t.hidden IS NOT NULL AND level IN ('analyst', 'marketer')
				THEN (SELECT format(' (%s)', string_agg(quote_ident(a.attname), ', ')) FROM pg_attribute a
					  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (t.hidden))
				ELSE '' END AS privileges
		FROM pg_class c
			LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
			LEFT JOIN _table_classes() t ON t.name = (SELECT k.relname FROM pg_class k WHERE k.oid = coalesce(i.inhparent, c.oid))
			LEFT JOIN _class_privileges() p ON p.class = t.class
		WHERE c.relkind IN ('r', 'p', 'v') AND _is_member('pg_class', coalesce(i.inhparent, c.oid))
		  AND (i.inhrelid IS NULL OR level NOT IN ('analyst', 'marketer'))		-- they read through the parent
		ORDER BY c.oid
	LOOP
		CONTINUE WHEN o.privileges IS NULL;
		EXECUTE format('GRANT %s ON %s TO %I', o.privileges, o.name, role);
	END LOOP;
	FOR o IN
		SELECT c.oid::regclass AS name FROM pg_class c
		WHERE c.relkind = 'S' AND _is_member('pg_class', c.oid) AND level IN ('writer', 'marketer', 'admin')
		ORDER BY c.oid
	LOOP
		EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO %I', o.name, role);
	END LOOP;
	IF level = 'marketer' THEN
		-- to lock rows of profiles, which needs a column that may be written
		EXECUTE format('GRANT UPDATE (first_at) ON cdp.profile TO %I', role);
	END IF;
	FOR o IN
		SELECT p.oid::regprocedure AS name
		FROM pg_proc p LEFT JOIN _function_levels() f ON f.name = p.proname
		WHERE _is_member('pg_proc', p.oid) AND (p.provolatile <> 'i' OR p.prokind = 'p')
		  AND (level = 'admin' OR level = ANY (f.levels)
			   OR f.name IS NULL AND starts_with(p.proname, '_') AND (p.provolatile <> 'v' OR level NOT IN ('analyst', 'reader')))
		ORDER BY p.oid
	LOOP
		EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', o.name, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._apply_level(name, text) IS 'grants a role what belongs to a level';

CREATE FUNCTION cdp._check_grant(role name, level text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'role must not be null';
	ELSIF level <> ALL ('{reader,analyst,writer,marketer,admin}') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unrecognized level: "%s"', level),
			HINT = 'Levels are "reader", "analyst", "writer", "marketer" and "admin".';
	ELSIF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('role "%s" does not exist', role);
	-- GRANT only warns those who may not.
	ELSIF NOT pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = 'role_level'::regclass), 'USAGE') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'must be owner of extension marketing_cdp';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_grant(name, text) IS 'arguments of grant_role and revoke_role';

CREATE FUNCTION cdp.grant_role(role name, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF level IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'level must not be null';
	END IF;
	PERFORM _check_grant(role, level);
	PERFORM _forget_roles();
	INSERT INTO role_level (role, level) VALUES (grant_role.role, grant_role.level) ON CONFLICT DO NOTHING;
	PERFORM _apply_level(role, level);
END
$$;
COMMENT ON FUNCTION cdp.grant_role(name, text) IS 'grants a role what a level may do: reader, analyst, writer, marketer or admin';

CREATE FUNCTION cdp.revoke_role(role name, level text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	kind text;
BEGIN
	PERFORM _check_grant(role, level);
	PERFORM _forget_roles();
	DELETE FROM role_level r WHERE r.role = revoke_role.role AND (revoke_role.level IS NULL OR r.level = revoke_role.level);
	FOREACH kind IN ARRAY '{TABLES,SEQUENCES,ROUTINES}'::text[] LOOP
		EXECUTE format('REVOKE ALL ON ALL %s IN SCHEMA cdp FROM %I', kind, role);
	END LOOP;
	PERFORM _apply_level(r.role, r.level) FROM role_level r WHERE r.role = revoke_role.role;
END
$$;
COMMENT ON FUNCTION cdp.revoke_role(name, text) IS 'takes a level from a role, or all; what else was granted to it in schema cdp goes too';

-- Not in the scripts of updates: a GRANT there counts as the extension's own, and
-- pg_dump leaves it out.
CREATE FUNCTION cdp._grant_again() RETURNS event_trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
			   WHERE c.command_tag = 'ALTER EXTENSION' AND c.object_identity = 'marketing_cdp') THEN
		PERFORM _forget_roles();
		PERFORM _apply_level(l.role, l.level) FROM role_level l ORDER BY l.role, l.level;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._grant_again() IS 'gives the roles that have a level what an update brought';
CREATE EVENT TRIGGER marketing_cdp_grant_again ON ddl_command_end WHEN TAG IN ('ALTER EXTENSION') EXECUTE FUNCTION cdp._grant_again();
COMMENT ON EVENT TRIGGER marketing_cdp_grant_again IS 'gives the roles that have a level what an update brought';
