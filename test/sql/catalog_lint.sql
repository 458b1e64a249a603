-- The extension's own catalog entries follow CONTRIBUTING.md.  Every query
-- lists offenders, so every expected result is empty.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;

-- Check whether any of our opclasses fail amvalidate
SELECT amname, opcname
FROM pg_opclass opc LEFT JOIN pg_am am ON am.oid = opcmethod
WHERE opc.oid >= 16384 AND NOT amvalidate(opc.oid);

CREATE TEMP VIEW member AS
  SELECT classid, objid FROM pg_depend
  WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
    AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'marketing_cdp');
CREATE TEMP VIEW fn AS
  SELECT p.*, l.lanname FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid
  JOIN pg_language l ON l.oid = p.prolang;

-- functions, types, operators, tables, views, sequences without a comment
SELECT pg_describe_object(classid, objid, 0) FROM member
WHERE classid IN ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass, 'pg_class'::regclass)
  AND NOT (classid = 'pg_class'::regclass AND (SELECT relkind FROM pg_class WHERE oid = objid) NOT IN ('r', 'p', 'v', 'S'))
  AND NOT (classid = 'pg_type'::regclass AND (SELECT typelem <> 0 OR typrelid <> 0 FROM pg_type WHERE oid = objid))
  AND obj_description(objid, classid::regclass::name) IS NULL
ORDER BY 1;

-- SQL-level functions that resolve names by the caller's search_path
-- (procedures that commit may carry no SET clause and qualify everything)
SELECT oid::regprocedure FROM fn
WHERE lanname IN ('sql', 'plpgsql') AND prosqlbody IS NULL AND prokind <> 'p'
  AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=%')
ORDER BY 1;

-- C functions whose symbol lacks the mcdp_ prefix
SELECT oid::regprocedure, prosrc FROM fn WHERE lanname = 'c' AND prosrc NOT LIKE 'mcdp\_%' ORDER BY 1;

-- aggregates with an "internal" state cannot be pushed to the workers of a
-- distributed engine; all of ours have a combine function
SELECT a.aggfnoid FROM pg_aggregate a JOIN fn ON fn.oid = a.aggfnoid
WHERE a.aggtranstype = 'internal'::regtype OR a.aggcombinefn = 0 OR a.aggserialfn <> 0 OR fn.proparallel <> 's'
ORDER BY 1;

-- aggregates over a function that is not itself parallel safe
SELECT a.aggfnoid FROM pg_aggregate a JOIN fn ON fn.oid = a.aggfnoid
WHERE EXISTS (SELECT FROM pg_proc p WHERE p.oid IN (a.aggtransfn, a.aggcombinefn, a.aggfinalfn) AND p.proparallel <> 's')
ORDER BY 1;

-- the clock and the dice are never read inside: "now" is an argument
SELECT oid::regprocedure FROM fn
WHERE lanname IN ('sql', 'plpgsql')
  AND coalesce(prosrc, '') || coalesce(pg_get_function_sqlbody(oid), '') ~* '\m(now\(\)|current_timestamp|current_date|transaction_timestamp|statement_timestamp|clock_timestamp|random\()'
  AND proname <> ALL ('{tick,_run_tasks,_rebuild_once}')		-- measure what they took, decide nothing by it
ORDER BY 1;

-- tables and sequences whose rows pg_dump would lose
SELECT c.oid::regclass FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
WHERE c.relkind IN ('r', 'p', 'S')
  AND c.oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'marketing_cdp')
ORDER BY 1;

-- tables with seeded rows that anybody could change in place
SELECT a.attrelid::regclass FROM pg_attribute a JOIN member ON classid = 'pg_class'::regclass AND objid = a.attrelid
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
WHERE a.attname = 'seeded'
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = a.attrelid AND t.tgfoid = 'cdp._keep_seeded'::regproc)
ORDER BY 1;

-- the partitioned parent has nothing that would tie the order of a restore
SELECT conname FROM pg_constraint WHERE conrelid = 'cdp.event'::regclass AND contype <> 'n';
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'cdp.event'::regclass;

-- objects that escaped into another schema
SELECT pg_describe_object(m.classid, m.objid, 0), o.schema FROM member m,
  LATERAL pg_identify_object(m.classid, m.objid, 0) o
WHERE o.schema IS NOT NULL AND o.schema <> 'cdp' AND o.type <> 'toast table'
ORDER BY 1;

-- what PUBLIC may do: pure functions and types only
SELECT oid::regprocedure FROM fn
WHERE (provolatile <> 'i' OR prokind = 'p') AND proname <> ALL ('{_rb_keys,connected_components,component_sizes}') AND has_function_privilege('public', oid, 'EXECUTE')
ORDER BY 1;
SELECT c.oid::regclass FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
WHERE c.relkind IN ('r', 'p', 'v') AND has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE')
ORDER BY 1;

SELECT oid::regprocedure FROM fn WHERE prosecdef AND has_function_privilege('public', oid, 'EXECUTE') ORDER BY 1;
SELECT c.oid::regclass FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
WHERE CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE') END
ORDER BY 1;

-- functions with the owner's rights and a search_path that others can write in (temporary objects come last)
SELECT oid::regprocedure FROM fn
WHERE prosecdef AND NOT 'search_path=pg_catalog, cdp, pg_temp' = ANY (coalesce(proconfig, '{}'))
ORDER BY 1;

-- views that show rows their reader could not read (they would also pass row-level security by)
SELECT c.oid::regclass FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
WHERE c.relkind = 'v' AND NOT coalesce(c.reloptions @> '{security_invoker=true}', false)
ORDER BY 1;

-- a one-argument function named like a table reads as a cast to its row type
SELECT oid::regprocedure FROM fn
WHERE pronargs - pronargdefaults <= 1 AND pronargs >= 1
  AND EXISTS (SELECT FROM pg_class c JOIN member ON classid = 'pg_class'::regclass AND objid = c.oid WHERE c.relname = fn.proname)
ORDER BY 1;

-- scans forbidden, so that what is left to scan looks dear, and is compiled each time
SELECT oid::regprocedure FROM fn WHERE 'enable_seqscan=off' = ANY (proconfig) AND NOT 'jit=off' = ANY (proconfig) ORDER BY 1;
