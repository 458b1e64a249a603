-- Policies of a DBA's own: a store's manager sees the store's consumers only.
-- What runs as a query applies them, what reads tables itself refuses.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC';
\set SHOW_CONTEXT never

SELECT identify(ARRAY['store:S1']::identifier[], at => '2026-01-01Z', kind => 'store') AS store \gset
SELECT identify(ARRAY['user_id:' || n]::identifier[], '{"age": 30}', '2026-01-01Z') FROM generate_series(1, 4) n;
SELECT relate(:store, resolve('user_id:' || n), 'customer', '2026-01-01Z') FROM generate_series(1, 2) n;
SELECT track(ARRAY['user_id:' || n]::identifier[], 'purchase', '{"value": 1}', '2026-01-02Z', 'm' || n) FROM generate_series(1, 4) n;
SELECT tag(resolve('user_id:' || n), 'vip', at => '2026-01-02Z') FROM generate_series(1, 3) n;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-03Z');

CREATE ROLE regress_manager; SELECT grant_role('regress_manager', 'reader');
CREATE TABLE manager (role name, store bigint); INSERT INTO manager VALUES ('regress_manager', :store); GRANT SELECT ON manager TO PUBLIC;
-- Whose rows are they?  As the owner, so that it may be asked by policies of the tables that it reads.
CREATE FUNCTION mine() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	RETURN ARRAY(SELECT r.b FROM public.manager m, cdp.relation r WHERE m.role = session_user AND r.a = m.store AND r.relation = 'customer' AND r.until IS NULL);
CREATE FUNCTION policies(tables text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY tables LOOP
		EXECUTE format('CREATE POLICY mine ON cdp.%I AS %s USING (profile_id = ANY ((SELECT public.mine())::bigint[])); ALTER TABLE cdp.%1$I ENABLE ROW LEVEL SECURITY', t,
			CASE WHEN t LIKE 'trait\_%' THEN 'RESTRICTIVE' ELSE 'PERMISSIVE' END);		-- those two have a policy of ours
	END LOOP;
END
$$;
SELECT policies('{profile,event,timeline_part,event_tail,trait_value,trait_change,lifecycle_state,lifecycle_change,identifier_link}');
CREATE POLICY mine ON relation USING (b = ANY ((SELECT mine())::bigint[])); ALTER TABLE relation ENABLE ROW LEVEL SECURITY;

SET SESSION AUTHORIZATION regress_manager;
SELECT profile_id FROM profile ORDER BY 1;
SELECT profile_id, num_events(timeline) FROM profile_timeline ORDER BY 1;
SELECT event_id, profile_id FROM event ORDER BY 1;
SELECT profile_id, stage FROM lifecycle_state ORDER BY 1;
SELECT identifier, profile_id FROM identifier_link ORDER BY 1;
SELECT num_events(timeline_of(2)) AS own, timeline_of(5) AS foreign, trait(2, 'age') AS own, trait(5, 'age') AS foreign, canonical_id(5);
SELECT related(1, 'customer', '2026-01-03Z');
-- reads the table itself
SELECT tags_of(2);
SELECT has_tag(5, 'vip');
SELECT tagged('vip');
SELECT audience('all', '2026-01-03Z');
SELECT audience_count('vip', '2026-01-03Z');
SELECT audience_count('age > 3', '2026-01-03Z');
SELECT matches(5, 'count(purchase) > 0', '2026-01-03Z');
SELECT * FROM explain_match(5, 'vip', '2026-01-03Z');
SELECT overlap('vip', 'lifecycle:first_purchase');
SELECT trait_sum('age');
SELECT resolve('user_id:4');
SELECT * FROM _look_up('{user_id:4}', '2026-01-03Z');
SET row_security = off; SELECT count(*) FROM profile; SELECT tagged('vip'); RESET row_security;
RESET SESSION AUTHORIZATION;

-- The owner of the tables is not bound by them; the DBA may hand out exactly this much.
CREATE FUNCTION my_audience(rule criteria, at timestamptz) RETURNS bitmap LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	RETURN cdp.rb_and(cdp.audience(rule, at), cdp.rb_build(public.mine()));
SET SESSION AUTHORIZATION regress_manager;
SELECT my_audience('vip', '2026-01-03Z'), my_audience('all', '2026-01-03Z');
RESET SESSION AUTHORIZATION;
SELECT audience('vip', '2026-01-03Z');

-- Writing: what the policies allow, and nothing half done.
SELECT grant_role('regress_manager', 'writer');
SET SESSION AUTHORIZATION regress_manager;
SELECT identify('{user_id:1}', '{"age": 31}', '2026-01-04Z');
SELECT track('{user_id:1}', 'purchase', '{}', '2026-01-04Z', 'm9');
SELECT tag(5, 'vip', at => '2026-01-04Z');
SELECT set_trait(5, 'age', '99', '2026-01-04Z');
SELECT set_trait(2, 'age', '32', '2026-01-04Z'); SELECT trait(2, 'age');
INSERT INTO event (at, received_at, profile_id, event) VALUES ('2026-01-04Z', '2026-01-04Z', 5, 'x');
RESET SESSION AUTHORIZATION;
SELECT trait(5, 'age') AS untouched, (SELECT count(*) FROM event) AS events;

-- Policies on chunks of tags are refused too; FORCE binds the owner, superusers never.
SET client_min_messages = warning; DROP EXTENSION marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SELECT identify('{user_id:1}', at => '2026-01-01Z'), tag(1, 'vip', at => '2026-01-01Z');
SELECT grant_role('regress_manager', 'admin');
CREATE POLICY chosen ON tag_chunk USING (tag LIKE 'v%'); ALTER TABLE tag_chunk ENABLE ROW LEVEL SECURITY;
SET ROLE regress_manager; SELECT tagged('vip'); SELECT has_tag(1, 'vip'); SELECT audience('vip', '2026-01-02Z'); SELECT _fold_tags('2026-01-02Z', 10); RESET ROLE;
SELECT tagged('vip');
SELECT revoke_role('regress_manager'); DROP FUNCTION policies; DROP TABLE manager; DROP ROLE regress_manager;
