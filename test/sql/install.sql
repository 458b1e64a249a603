-- Schema cdp: the extension's own and gone with it, or somebody's who was there
-- before; users' own objects in it are left alone.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC';
\set SHOW_CONTEXT never
CREATE VIEW in_cdp AS SELECT pg_describe_object(classid, objid, 0) AS object FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace('cdp');

-- nothing before, nothing afterwards, with partitions made meanwhile
CREATE EXTENSION marketing_cdp;
SELECT obj_description('cdp'::regnamespace) IS NOT NULL AS described, cdp._is_member('pg_namespace', 'cdp'::regnamespace) AS own;
SELECT cdp.track('{user_id:1}', 'purchase', at => '2026-01-02Z') > 0 AS tracked;
DROP SCHEMA cdp;
DROP EXTENSION marketing_cdp;
SELECT to_regnamespace('cdp');
SELECT evtname FROM pg_event_trigger;

-- Objects of the user's own are not dropped by the way.
CREATE EXTENSION marketing_cdp;
CREATE TABLE cdp.mine (a int);
DROP EXTENSION marketing_cdp;
DROP EXTENSION marketing_cdp CASCADE;
SELECT to_regnamespace('cdp');

-- a schema that was there before, with objects, of a role that is called so
CREATE ROLE regress_cdp; CREATE ROLE regress_other;
CREATE SCHEMA cdp AUTHORIZATION regress_cdp;
COMMENT ON SCHEMA cdp IS 'mine';
GRANT CREATE ON SCHEMA cdp TO regress_other;
SET ROLE regress_cdp;
CREATE TABLE cdp.mine (profile_id text, seeded boolean); INSERT INTO cdp.mine VALUES ('1', true);
CREATE SEQUENCE cdp.my_number; CREATE VIEW cdp.my_view AS SELECT 1 AS a; CREATE FUNCTION cdp.my_function() RETURNS int STABLE RETURN 1;
RESET ROLE;
CREATE EXTENSION marketing_cdp;
SELECT obj_description('cdp'::regnamespace), cdp._is_member('pg_namespace', 'cdp'::regnamespace) AS own;
-- privileges, dumps and erasures have nothing to do with them
SELECT cdp.grant_role('regress_other', 'admin');
SELECT relname, relacl FROM pg_class WHERE relname IN ('mine', 'my_number', 'my_view') UNION ALL SELECT proname, proacl FROM pg_proc WHERE proname = 'my_function' ORDER BY 1;
SELECT count(*) FROM pg_extension, unnest(extconfig) c (oid) JOIN pg_class USING (oid) WHERE relname IN ('mine', 'my_number');
SELECT cdp.identify('{user_id:1}', at => '2026-01-01Z');
SELECT cdp.erase_profile(1, at => '2026-01-02Z') ->> 'mode' AS mode, cdp.erase_profile(1) -> 'removed' ? 'mine' AS mine;
TABLE cdp.mine;
SELECT cdp.revoke_role('regress_other');
DROP EXTENSION marketing_cdp;
SELECT * FROM in_cdp ORDER BY 1;
DROP SCHEMA cdp CASCADE;

-- one that has an object with a name of ours, and one that only superusers may write to
CREATE SCHEMA cdp; CREATE TABLE cdp.profile (a int);
CREATE EXTENSION marketing_cdp;
SELECT * FROM in_cdp;
DROP TABLE cdp.profile;
CREATE EXTENSION marketing_cdp;
DROP EXTENSION marketing_cdp;
DROP SCHEMA cdp;

-- Who is called "cdp" has the schema first on the path, before public.
CREATE ROLE cdp SUPERUSER;
SET ROLE cdp; SET search_path = "$user", public;
CREATE EXTENSION marketing_cdp;
CREATE TABLE note (profile_id bigint); INSERT INTO note VALUES (track('{user_id:1}', 'purchase', at => '2026-01-02Z'));
SELECT audience('count(purchase) = 1', '2026-01-03Z'), (SELECT count(*) FROM tick('2026-01-03Z')) > 0 AS ticked, erase_profile(1, at => '2026-01-04Z') ->> 'profiles' AS erased;
SELECT tableoid::regclass, * FROM note;
RESET ROLE; SET search_path = public, cdp;
DROP EXTENSION marketing_cdp;
DROP TABLE cdp.note;
DROP EXTENSION marketing_cdp;
DROP ROLE cdp, regress_cdp, regress_other;
DROP VIEW in_cdp;
