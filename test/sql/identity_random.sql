SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- Random calls against brute force: the profiles are the connected components
-- of "named in one call", whatever the order of arrival.

CREATE FUNCTION rnd(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN ((hashtextextended(seed, 0) % below + below) % below)::int;

-- 150 calls with 1 to 4 of about 200 identifiers
CREATE TABLE call AS
	SELECT n, '2026-01-01'::timestamptz + rnd('at' || n, 1000) * interval '1 hour' AS at,
		ARRAY(SELECT CASE rnd(format('ns %s %s', n, k), 5) WHEN 0 THEN 'email:u%s@x.org' WHEN 1 THEN 'phone:+49%s'
				WHEN 2 THEN 'user_id:u%s' WHEN 3 THEN 'anonymous_id:a%s' ELSE 'cookie:c%s' END
			FROM generate_series(0, rnd('size' || n, 4)) k) AS shape
	FROM generate_series(1, 150) n;
ALTER TABLE call ADD ids identifier[];
UPDATE call SET ids = ARRAY(SELECT format(s, 100 + rnd(format('value %s %s', n, k), 60))::identifier
							FROM unnest(shape) WITH ORDINALITY u (s, k) ORDER BY k);

-- brute force, from the calls alone
CREATE TABLE truth AS
	WITH RECURSIVE edge AS (
		SELECT DISTINCT x AS a, y AS b FROM call, unnest(ids) x, unnest(ids) y
	), reach (a, b) AS (
		SELECT a, b FROM edge
		UNION
		SELECT r.a, e.b FROM reach r JOIN edge e ON e.a = r.b
	)
	SELECT a AS identifier, min(b) AS component FROM reach GROUP BY a;
SELECT count(*) AS identifiers, count(DISTINCT component) AS components, max(n) AS largest
FROM (SELECT *, count(*) OVER (PARTITION BY component) AS n FROM truth) t;

-- What is there now against the truth.  "order_free": what must not depend on
-- the order of arrival.  "unproven": evidence alone says who is who, too.
CREATE FUNCTION look(OUT wrong bigint, OUT missing bigint, OUT too_late bigint, OUT not_lowest bigint, OUT unproven bigint, OUT order_free text)
LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT
		-- pairs that are together in one and apart in the other
		(SELECT count(*) FROM truth s, truth t
		 WHERE (s.component = t.component) <> (resolve(s.identifier) = resolve(t.identifier))),
		(SELECT count(*) FROM truth t WHERE resolve(t.identifier) IS NULL)
			+ (SELECT count(*) FROM identifier_link l WHERE NOT EXISTS (SELECT FROM truth t WHERE t.identifier = l.identifier)),
		-- links and profiles begin with the first call that names them
		(SELECT count(*) FROM identifier_link l JOIN profile p USING (profile_id)
		 WHERE l.at <> (SELECT min(c.at) FROM call c WHERE l.identifier = ANY (c.ids)) OR p.first_at > l.at),
		(SELECT count(*) FROM profile p WHERE p.canonical_id <> (SELECT min(q.profile_id) FROM profile q WHERE q.canonical_id = p.canonical_id)),
		(SELECT count(*) FROM truth t LEFT JOIN connected_components('SELECT a::text, b::text FROM cdp.identity_edge WHERE inactive_at IS NULL') c ON c.node = t.identifier::text
		 WHERE coalesce(c.component, t.identifier::text) COLLATE "C" <> (SELECT min(o.identifier::text COLLATE "C") FROM truth o WHERE o.component = t.component)),
		(SELECT md5(string_agg(format('%s %s %s', l.identifier, l.at, c.first), ',' ORDER BY l.identifier)) FROM identifier_link l
		 JOIN LATERAL (SELECT min(k.identifier) AS first FROM identifier_link k WHERE resolve(k.identifier) = resolve(l.identifier)) c ON true)
$$;

CREATE FUNCTION replay(ordering text) RETURNS TABLE (calls int, returned_other bigint) LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	c	record;
	id	bigint;
BEGIN
	TRUNCATE profile, profile_queue, identifier_link, extra_edge, profile_merge, relation, tag_pending, tag_chunk;
	calls := 0; returned_other := 0;
	FOR c IN EXECUTE 'SELECT * FROM call ORDER BY ' || ordering LOOP
		id := identify(c.ids, at => c.at);
		calls := calls + 1;
		-- what it returns is what all of them resolve to, at once
		returned_other := returned_other + (SELECT count(*) FROM unnest(c.ids) i WHERE resolve(i) IS DISTINCT FROM id);
	END LOOP;
	RETURN NEXT;
END
$$;

SELECT * FROM replay('n');
SELECT * FROM look();
SELECT count(*) AS profiles, count(*) FILTER (WHERE profile_id = canonical_id) AS canonical FROM profile;
-- the last merge of each profile is the one that stands; members cover every move
SELECT count(*) AS not_explained FROM profile p
WHERE p.canonical_id <> p.profile_id
  AND NOT EXISTS (SELECT FROM profile_merge m WHERE p.profile_id = ANY (m.members) AND m.survivor = p.canonical_id);
SELECT count(*) AS bad_evidence FROM profile_merge m
WHERE cardinality(m.evidence) < 2 OR NOT EXISTS (SELECT FROM call c WHERE c.at = m.at AND c.ids @> m.evidence);
-- once more: nothing is new
SELECT count(*) AS again, count(DISTINCT xmin::text) AS versions INTO TEMP before FROM identifier_link;
DO $$ BEGIN PERFORM cdp.identify(ids, at => at) FROM call; END $$;
SELECT (SELECT count(*) FROM identifier_link) = b.again AND (SELECT count(DISTINCT xmin::text) FROM identifier_link) = b.versions AS untouched FROM before b;
-- other orders of arrival
SELECT * FROM replay('n DESC');
SELECT * FROM look();
SELECT * FROM replay('at, n');
SELECT * FROM look();
SELECT * FROM replay('rnd(n::text, 1000000), n');
SELECT * FROM look();
-- any order inside a call
UPDATE call SET ids = ARRAY(SELECT i FROM unnest(ids) i ORDER BY i DESC);
SELECT * FROM replay('n');
SELECT * FROM look();

-- resolve at any time = brute force over the calls up to then, when they arrive in order
SELECT calls FROM replay('at, n');
CREATE FUNCTION wrong_at(t timestamptz) RETURNS bigint LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	WITH RECURSIVE edge AS (
		SELECT DISTINCT x AS a, y AS b FROM call, unnest(ids) x, unnest(ids) y WHERE at <= t
	), reach (a, b) AS (
		SELECT a, b FROM edge
		UNION
		SELECT r.a, e.b FROM reach r JOIN edge e ON e.a = r.b
	), then_true AS (
		SELECT a AS identifier, min(b) AS component FROM reach GROUP BY a
	), both_sides AS MATERIALIZED (
		SELECT t.identifier, u.component, resolve(t.identifier, wrong_at.t) AS id FROM truth t LEFT JOIN then_true u USING (identifier)
	)
	SELECT count(*) FROM both_sides a, both_sides b
	WHERE (a.component IS NULL) <> (a.id IS NULL) OR (a.component = b.component) <> (a.id = b.id)
$$;
SELECT t::date, wrong_at(t) FROM generate_series('2025-12-31'::timestamptz, '2026-02-15', '9 days') t;

-- Some are erased on the way: brute force knows the calls that count.  An
-- erasure takes away the calls of a component; later ones that name one of its
-- identifiers are refused.
CREATE TABLE counts (n int, ids identifier[]);
CREATE TABLE gone (identifier identifier);
CREATE FUNCTION replay_with_erasures(ordering text, OUT erased int, OUT refused int, OUT wrong bigint, OUT missing bigint, OUT tombstones boolean)
LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	c		record;
	who		identifier;
	whole	identifier[];
BEGIN
	TRUNCATE profile, profile_queue, identifier_link, extra_edge, profile_merge, relation, tag_pending, tag_chunk, counts, gone, tombstone, erased_profile;
	erased := 0; refused := 0;
	FOR c IN EXECUTE 'SELECT * FROM call ORDER BY ' || ordering LOOP
		IF c.ids && ARRAY(SELECT identifier FROM gone) THEN
			BEGIN
				PERFORM identify(c.ids, at => c.at);
			EXCEPTION WHEN object_not_in_prerequisite_state THEN
				refused := refused + 1;
			END;
		ELSE
			PERFORM identify(c.ids, at => c.at);
			INSERT INTO counts VALUES (c.n, c.ids);
		END IF;
		IF c.n % 9 = 0 THEN
			SELECT ids[1] INTO who FROM counts ORDER BY rnd(format('who %s %s', c.n, n), 1000000), n LIMIT 1;
			WITH RECURSIVE reach (i) AS (SELECT who UNION SELECT j FROM reach r, counts k, unnest(k.ids) j WHERE r.i = ANY (k.ids))
			SELECT array_agg(i) INTO whole FROM reach;
			DELETE FROM counts WHERE ids && whole;
			INSERT INTO gone SELECT unnest(whole);
			PERFORM erase_profile(resolve(who), at => c.at);
			erased := erased + 1;
		END IF;
	END LOOP;
	WITH RECURSIVE edge AS (
		SELECT DISTINCT x AS a, y AS b FROM counts, unnest(ids) x, unnest(ids) y
	), reach (a, b) AS (
		SELECT a, b FROM edge UNION SELECT r.a, e.b FROM reach r JOIN edge e ON e.a = r.b
	), truth AS MATERIALIZED (
		SELECT a AS identifier, min(b) AS component, resolve(a) AS id FROM reach GROUP BY a
	)
	SELECT (SELECT count(*) FROM truth s, truth t WHERE (s.component = t.component) <> (s.id = t.id)),
		(SELECT count(*) FROM truth t WHERE t.id IS NULL) + (SELECT count(*) FROM identifier_link l WHERE NOT EXISTS (SELECT FROM truth t WHERE t.identifier = l.identifier)),
		(SELECT bool_and(_is_tombstone(identifier)) FROM gone) AND NOT EXISTS (SELECT FROM truth WHERE _is_tombstone(identifier))
	INTO wrong, missing, tombstones;
END
$$;
SELECT * FROM replay_with_erasures('n');
SELECT * FROM replay_with_erasures('n DESC');
SELECT * FROM replay_with_erasures('at, n');
TRUNCATE tombstone;

-- with limits, in any order: no profile ever breaks a rule, and every refusal is recorded
INSERT INTO namespace_rule (namespace, kind, priority, max_per_profile, never_merge_if_different) VALUES
	('user_id', 'person', 100, NULL, true), ('email', 'person', 80, 2, false), ('cookie', 'person', 1, 3, false);
CREATE FUNCTION broken() RETURNS TABLE (broken bigint, unexplained bigint) LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT
		(SELECT count(*) FROM (SELECT resolve(identifier) AS id, namespace(identifier) AS ns, count(*) AS n FROM identifier_link GROUP BY 1, 2) g
			JOIN namespace_rule r ON r.namespace = g.ns AND NOT r.seeded
		 WHERE g.n > r.max_per_profile OR (r.never_merge_if_different AND g.n > 1)),
		-- a pair of one call that is not together: the call has a refusal of one of them
		(SELECT count(*) FROM call c, unnest(c.ids) x, unnest(c.ids) y
		 WHERE x < y AND resolve(x) IS DISTINCT FROM resolve(y)
		   AND NOT EXISTS (SELECT FROM identity_refusal f WHERE f.at = c.at AND (f.identifiers[2] = x OR f.identifiers[2] = y)))
$$;
TRUNCATE identity_refusal;
SELECT * FROM replay('n');
SELECT * FROM broken();
SELECT count(*) > 20 AS many_refusals FROM identity_refusal;
TRUNCATE identity_refusal;
SELECT * FROM replay('n DESC');
SELECT * FROM broken();

SET client_min_messages = warning;
DROP FUNCTION rnd, look, replay, replay_with_erasures, wrong_at, broken;
DROP TABLE call, truth, counts, gone;
