/* 90_grants: who may do what, and what pg_dump keeps
 *
 * The only place with GRANT, REVOKE and pg_extension_config_dump.  Scripts of
 * updates end with all of this file.
 */

-- Every table and sequence is data: pg_dump must keep all of them, and of a
-- table with seeded rows only the users' ones; slices of traits are made anew.
DO $$
DECLARE
	rel record;
BEGIN
	FOR rel IN
		SELECT c.oid, EXISTS (SELECT FROM pg_attribute a
							  WHERE a.attrelid = c.oid AND a.attname = 'seeded' AND NOT a.attisdropped) AS has_seeds
		FROM pg_class c
		WHERE c.relkind IN ('r', 'p', 'S') AND cdp._is_member('pg_class', c.oid)	-- in an update there are partitions too
		ORDER BY c.oid
	LOOP
		PERFORM pg_extension_config_dump(rel.oid::regclass, CASE WHEN rel.has_seeds THEN 'WHERE NOT seeded'
			WHEN rel.oid IN ('cdp.trait_index'::regclass, 'cdp.trait_slice'::regclass, 'cdp.trait_pending'::regclass, 'cdp.erasure_pending'::regclass, 'cdp.split_pending'::regclass) THEN 'WHERE false'
			ELSE '' END);
	END LOOP;
END
$$;

-- Anybody may use the types and the pure functions on their own tables.
-- Everything that reads or writes the managed schema is granted by name.
-- (_rb_keys is pure; it is called volatile only to keep the planner off it.
-- connected_components and component_sizes read what the caller's own query reads.)
--
-- What is granted or revoked in a script is taken, with everything that the
-- object's privileges are at that moment, for what the extension itself brings:
-- pg_dump then leaves it out.  So an update touches what is new, and no more.
DO $$
DECLARE
	fn regprocedure;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_namespace'::regclass AND i.objoid = 'cdp'::regnamespace) THEN
		GRANT USAGE ON SCHEMA cdp TO PUBLIC;
	END IF;
	FOR fn IN
		SELECT p.oid::regprocedure FROM pg_proc p
		WHERE cdp._is_member('pg_proc', p.oid) AND (p.provolatile <> 'i' OR p.prokind = 'p')
			AND p.oid <> ALL ('{cdp._rb_keys,cdp.connected_components,cdp.component_sizes}'::regproc[])
			AND NOT EXISTS (SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid)
		ORDER BY p.oid
	LOOP
		EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', fn);
	END LOOP;
END
$$;
