-- After any sequence of identify, merge, split, unmerge and erase, with and
-- without rules, the profiles are the connected components of the evidence that
-- stands, none of it leads from one profile to another, and no rule is broken.
-- Who was erased is not back.
--
-- ORACLE_MERGES=2000 ORACLE_SEED=2 in the environment make it long and different.
\set seeds 3
\set seed 0
\getenv seeds ORACLE_MERGES
\getenv seed ORACLE_SEED
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
SET search_path = public, cdp;
SET timezone = 'UTC';

CREATE FUNCTION rnd(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN ((hashtextextended(seed, 0) % below + below) % below)::int;
CREATE FUNCTION one_of(seed text) RETURNS identifier LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT l.identifier FROM identifier_link l ORDER BY md5(seed || l.identifier::text) LIMIT 1 $$;
CREATE FUNCTION play(seed text, OUT pairs bigint, OUT merges int, OUT splits int, OUT unmerges int, OUT erased int, OUT wrong_pairs bigint, OUT outside bigint, OUT stray bigint, OUT broken bigint, OUT back bigint)
LANGUAGE plpgsql SET search_path = public, cdp, pg_temp SET client_min_messages = error AS $$
DECLARE
	what	int;
	now		timestamptz;
	ids		identifier[];
	mid		bigint;
BEGIN
	TRUNCATE profile, profile_queue, identifier_link, extra_edge, profile_merge, never_merge, relation, tag_pending, tag_chunk, identity_refusal, identifier_split, quarantined_identifier,
		erasure, erasure_pending, split_pending, erased_profile, tombstone, tag_own;
	PERFORM setval('profile_id_seq', 1, false), setval('merge_id_seq', 1, false);
	merges := 0; splits := 0; unmerges := 0; erased := 0;
	FOR n IN 1 .. 120 LOOP
		what := rnd(format('%s what %s', seed, n), 12);
		now := '2026-01-01'::timestamptz + rnd(format('%s at %s', seed, n), 150) * interval '1 hour';
		BEGIN
			IF what < 8 THEN
				PERFORM identify(ARRAY(SELECT format((ARRAY['email:u%s@x.org', 'phone:+49%s', 'user_id:u%s', 'cookie:c%s'])[1 + rnd(format('%s ns %s %s', seed, n, k), 4)],
										100 + rnd(format('%s value %s %s', seed, n, k), 30))::identifier FROM generate_series(0, rnd(format('%s size %s', seed, n), 3)) k), at => now);
			ELSIF what < 9 THEN
				PERFORM merge(resolve(one_of(seed || n)), resolve(one_of(n || seed)), at => now);
				merges := merges + 1;
			ELSIF what < 10 THEN
				SELECT merge_id INTO mid FROM profile_merge WHERE undone_at IS NULL ORDER BY md5(seed || n || merge_id) LIMIT 1;
				PERFORM unmerge(mid, rnd(seed || n, 2) = 0, at => now);
				unmerges := unmerges + 1;
			ELSIF rnd(format('%s erase %s', seed, n), 3) = 0 THEN
				PERFORM erase_profile(resolve(one_of(seed || n)), CASE rnd(format('%s mode %s', seed, n), 2) WHEN 0 THEN 'erase' ELSE 'anonymise' END, at => now);
				erased := erased + 1;
			ELSE
				ids := ARRAY(SELECT l.identifier FROM identifier_link l WHERE resolve(l.identifier) = resolve(one_of(seed || n))
							 ORDER BY md5(n || l.identifier::text) LIMIT 1 + rnd(format('%s split %s', seed, n), 2));
				PERFORM split(ids, 'test', at => now);
				splits := splits + 1;
			END IF;
		EXCEPTION
			-- a rule against a merge; somebody who was erased; nothing to merge or to undo yet; a split that would leave nothing behind
			WHEN object_not_in_prerequisite_state OR null_value_not_allowed OR invalid_parameter_value THEN
				NULL;
		END;
	END LOOP;
	CREATE TEMP TABLE truth AS
		SELECT node, component FROM connected_components($q$
			SELECT a::text, b::text FROM cdp.identity_edge WHERE inactive_at IS NULL
			UNION ALL SELECT cdp._node_of_leaf(leaf_a), cdp._node_of_leaf(leaf_b) FROM cdp.profile_merge m
				WHERE undone_at IS NULL AND (cause = 'manual' OR (SELECT count(DISTINCT profile_id) FROM cdp.identifier_link WHERE profile_id IN (leaf_a, leaf_b)) < 2)		-- all of a leaf was split off
			UNION ALL SELECT identifier::text, identifier::text FROM cdp.identifier_link $q$);
	SELECT count(*), count(*) FILTER (WHERE (c.component = d.component) <> (resolve(x.identifier) = resolve(y.identifier))) INTO pairs, wrong_pairs
	FROM identifier_link x JOIN truth c ON c.node = x.identifier::text, identifier_link y JOIN truth d ON d.node = y.identifier::text
	WHERE x.identifier < y.identifier;
	DROP TABLE truth;
	SELECT count(*) INTO outside FROM identity_edge WHERE inactive_at IS NULL AND resolve(a) <> resolve(b);
	-- evidence in a link is about identifiers of one leaf, and stands there only
	SELECT count(*) INTO stray FROM identifier_link l LEFT JOIN identifier_link k ON k.identifier = l.peer
	WHERE l.peer IS NOT NULL AND (k.profile_id IS DISTINCT FROM l.profile_id OR k.peer = l.identifier
		OR EXISTS (SELECT FROM extra_edge e WHERE e.a = least(l.identifier, l.peer) AND e.b = greatest(l.identifier, l.peer)));
	SELECT count(*) INTO broken FROM simulate_rules();
	SELECT count(*) INTO back FROM identifier_link l WHERE _is_tombstone(l.identifier);
END
$$;
CREATE TABLE played AS SELECT false AS rules, n AS seed, p.* FROM generate_series(1, :seeds) n, play(format('seed %s %s', :seed, n)) p;
INSERT INTO namespace_rule (namespace, priority, max_per_profile, within, never_merge_if_different) VALUES
	('user_id', 100, NULL, NULL, true), ('email', 80, 2, NULL, false), ('cookie', 1, 2, '2 days', false);
INSERT INTO played SELECT true, n, p.* FROM generate_series(1, :seeds) n, play(format('rules %s %s', :seed, n)) p;
SELECT rules, avg(pairs) > 500 AS many, avg(merges) > 3 AS merges, avg(splits) > 3 AS splits, avg(unmerges) > 3 AS unmerges, avg(erased) > 2 AS erased,
	sum(wrong_pairs) AS wrong_pairs, sum(outside) AS outside, sum(stray) AS stray, sum(broken) AS broken, sum(back) AS back
FROM played GROUP BY 1 ORDER BY 1;
SELECT * FROM played WHERE wrong_pairs + outside + stray + broken + back > 0 ORDER BY rules, seed LIMIT 3;
DROP TABLE played;

DROP FUNCTION rnd, one_of, play;
