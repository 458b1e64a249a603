SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- a kiosk: the third party to four people
CREATE FUNCTION seen(ids identifier[], at timestamptz) RETURNS bigint LANGUAGE sql AS $$ SELECT cdp.track(ids, 'visit', jsonb_build_object('label', ids[1]::text), at) $$;
SELECT seen(ARRAY['email:p1@x.org', 'device_id:kiosk'], '2026-01-01'), seen('{email:p2@x.org,device_id:kiosk}', '2026-01-02'), seen('{user_id:u3}', '2026-01-03'),
	seen('{user_id:u3,email:p3@x.org}', '2026-01-04'), seen('{email:p3@x.org,device_id:kiosk}', '2026-01-05'), seen('{phone:+491,email:p2@x.org}', '2026-01-06'),
	seen('{device_id:kiosk}', '2026-01-07');
SELECT tag(resolve('user_id:u3'), 'vip', at => '2026-01-08'), set_trait(resolve('email:p1@x.org'), 'age', '30', '2026-01-08');
SELECT count(*) FROM simulate_rules();
UPDATE namespace_rule SET quarantine_after = 2 WHERE namespace = 'device_id';
SELECT * FROM simulate_rules();
-- changes nothing
SELECT count(*) FROM quarantined_identifier;
SELECT * FROM apply_rules('2026-01-09');
SELECT * FROM simulate_rules();
SELECT * FROM apply_rules('2026-01-10');
SELECT identifier, resolve(identifier) = resolve('email:p1@x.org') AS p1, resolve(identifier) = resolve('email:p2@x.org') AS p2, resolve(identifier) = resolve('user_id:u3') AS u3 FROM identifier_link ORDER BY 1;
SELECT i, timeline_of(resolve(i)) FROM unnest('{email:p1@x.org,email:p2@x.org,user_id:u3,device_id:kiosk}'::identifier[]) i;
-- exactly what the events say
CREATE TEMP TABLE before AS SELECT l.identifier, timeline_of(l.profile_id) AS t FROM identifier_link l;
SELECT count(*) > 0 AS rebuilt FROM rebuild('timelines');
SELECT count(*) FILTER (WHERE b.t IS DISTINCT FROM timeline_of(l.profile_id)) AS different, count(*) FROM before b JOIN identifier_link l USING (identifier);
-- a tag that was given while they were one stays with the survivor
SELECT tags_of(resolve('user_id:u3')) AS u3, tags_of(resolve('email:p1@x.org')) AS p1, trait(resolve('email:p1@x.org'), 'age') AS age;
SELECT identifier, at, degree, reason FROM quarantined_identifier;
SELECT identifiers, reason FROM identity_refusal ORDER BY refusal_id;
-- the same evidence again links nobody, and is refused
SELECT seen('{email:p1@x.org,device_id:kiosk}', '2026-01-11'), seen('{email:p3@x.org,device_id:kiosk}', '2026-01-11');
SELECT count(DISTINCT resolve(i)) AS four FROM unnest('{email:p1@x.org,email:p2@x.org,user_id:u3,device_id:kiosk}'::identifier[]) i;
SELECT count(*) FROM identity_refusal WHERE at = '2026-01-11';
SELECT * FROM simulate_rules();
-- no pair is held apart for ever: only the rule does it
SELECT count(*) FROM never_merge;

-- a block, and identifiers that one message named together with a blocked one
SELECT ingest('[{"type": "track", "event": "x", "messageId": "m1", "timestamp": "2026-02-01", "identifiers": ["user_id:test", "email:a@x.org", "phone:+492"]},
	{"type": "track", "event": "x", "messageId": "m2", "timestamp": "2026-02-02", "identifiers": ["user_id:test", "email:b@x.org"]}]');
INSERT INTO blocked_value (namespace, pattern, exact) VALUES ('user_id', 'TEST', true);
SELECT change FROM simulate_rules();
SELECT change FROM apply_rules('2026-02-03');
SELECT resolve('email:a@x.org') = resolve('phone:+492') AS together, resolve('email:a@x.org') = resolve('email:b@x.org') AS apart, resolve('user_id:test') IS NOT NULL AS still_known;

-- a pair that is never to be merged, and is; by hand, even
SELECT identify('{user_id:n1}', at => '2026-03-01') AS a, identify('{user_id:n2}', at => '2026-03-01') AS b, identify('{user_id:n3}', at => '2026-03-01') AS c \gset
SELECT merge(:a, :b, at => '2026-03-02') IS NOT NULL AND merge(:a, :c, at => '2026-03-02') IS NOT NULL AS merged;
INSERT INTO never_merge (profile_a, profile_b, reason) VALUES (:a, :b, 'twins');
SELECT regexp_replace(change, 'profiles \d+ and \d+', 'profiles A and B') FROM apply_rules('2026-03-03');
SELECT canonical_id(:b) = :b AS free, canonical_id(:c) = :a AS stays;
\set VERBOSITY terse
SELECT * FROM apply_rules(NULL);
SELECT * FROM apply_rules('infinity');
\set VERBOSITY default

-- a leaf that lost all its identifiers to a split still holds together what was merged with it
SELECT identify('{phone:+498}', at => '2026-03-10') AS bare, identify('{email:w1@x.org,user_id:w1}', at => '2026-03-11') AS w, identify('{till:1,till:2}', at => '2026-03-11') AS till \gset
SELECT identify('{phone:+498,email:w1@x.org}', at => '2026-03-12') = :bare AS one, split('{phone:+498}', 'wrong number', '2026-03-13') > 0 AS apart, merge(:bare, :till, at => '2026-03-14') > 0 AS merged;
BEGIN;
INSERT INTO namespace_rule (namespace, max_per_profile) VALUES ('till', 1);
SELECT regexp_replace(change, 'profile \d+', 'profile N') FROM simulate_rules();
SELECT count(*) AS done FROM apply_rules('2026-03-15');
SELECT resolve('user_id:w1') = resolve('till:1') AS still_one, resolve('till:2') = resolve('till:1') AS tills_still_one;
ROLLBACK;

-- a preview: the rule is gone with the transaction, for later calls as well
SELECT identify('{email:v1@x.org,phone:+494}', at => '2026-04-01') = identify('{email:v1@x.org,phone:+495}', at => '2026-04-01') AS one;
BEGIN;
UPDATE namespace_rule SET max_per_profile = 1 WHERE namespace = 'phone';
SELECT change FROM simulate_rules();
SELECT identify('{email:v2@x.org,phone:+496}', at => '2026-04-01') = identify('{email:v2@x.org,phone:+497}', at => '2026-04-01') AS one;
SELECT reason FROM identity_refusal WHERE at = '2026-04-01';
ROLLBACK;
SELECT count(*) FROM simulate_rules();
SELECT identify('{email:v2@x.org,phone:+496}', at => '2026-04-01') = identify('{email:v2@x.org,phone:+497}', at => '2026-04-01') AS one;
SELECT count(*) AS refusals, resolve('phone:+496') = resolve('phone:+497') AS linked FROM identity_refusal WHERE at = '2026-04-01';

-- Random calls without rules, then every rule at once: the groups are those of
-- a brute force that only knows the definition, whatever was merged by hand
-- and undone; what simulate_rules says is what apply_rules does; twice is once.
CREATE FUNCTION rnd(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN ((hashtextextended(seed, 0) % below + below) % below)::int;
CREATE TABLE part (identifier identifier PRIMARY KEY, grp int NOT NULL, at timestamptz);
CREATE TABLE home (leaf bigint, identifier identifier);

-- may these two groups be one?  Everything of both is looked at.
CREATE FUNCTION allowed(x int, y int) RETURNS boolean LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT NOT EXISTS (SELECT FROM part a JOIN part b ON a.grp = x AND b.grp = y AND namespace(a.identifier) = 'user_id' AND namespace(b.identifier) = 'user_id')
		AND NOT EXISTS (SELECT FROM part a JOIN part b ON a.identifier < b.identifier JOIN part c ON b.identifier < c.identifier
			WHERE a.grp IN (x, y) AND b.grp IN (x, y) AND c.grp IN (x, y) AND NOT (a.grp = b.grp AND b.grp = c.grp)
			  AND namespace(a.identifier) IN ('email', 'cookie') AND namespace(a.identifier) = namespace(b.identifier) AND namespace(b.identifier) = namespace(c.identifier)
			  AND (namespace(a.identifier) = 'email' OR greatest(a.at, b.at, c.at) - least(a.at, b.at, c.at) < '7 days'))
		AND NOT EXISTS (SELECT FROM never_merge n JOIN home a ON a.leaf = n.profile_a JOIN home b ON b.leaf = n.profile_b
			JOIN part p ON p.identifier = a.identifier JOIN part q ON q.identifier = b.identifier
			WHERE p.grp IN (x, y) AND q.grp IN (x, y) AND p.grp <> q.grp)
$$;
CREATE FUNCTION priority(i identifier) RETURNS int LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT coalesce((SELECT r.priority FROM namespace_rule_effective r WHERE r.namespace = namespace(i)), 50) $$;
CREATE FUNCTION brute_force() RETURNS void LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	one	record;
	x	int;
	y	int;
BEGIN
	TRUNCATE part, home;
	INSERT INTO part SELECT l.identifier, row_number() OVER (), l.at FROM identifier_link l;
	CREATE TEMP TABLE gone AS
		SELECT l.identifier FROM identifier_link l
		WHERE l.identifier::text ~ '^anonymous_id:a10[0-3]$'
		   OR namespace(l.identifier) = 'device_id' AND (SELECT count(*) FROM identity_edge e WHERE l.identifier IN (e.a, e.b) AND e.inactive_at IS NULL) > 3;
	INSERT INTO home
		SELECT DISTINCT ON (l.profile_id) l.profile_id, l.identifier FROM identifier_link l
		ORDER BY l.profile_id, l.identifier IN (SELECT identifier FROM gone), priority(l.identifier) DESC, l.at, l.identifier;
	FOR one IN
		SELECT a.identifier AS a, b.identifier AS b, 1 AS class, m.merge_id AS k1, 0 AS k2, 0 AS k3, m.at
		FROM profile_merge m JOIN home a ON a.leaf = m.leaf_a JOIN home b ON b.leaf = m.leaf_b WHERE m.cause = 'manual' AND m.undone_at IS NULL
		UNION ALL
		SELECT e.a, e.b, 2, 0, -least(priority(e.a), priority(e.b)), -greatest(priority(e.a), priority(e.b)), e.at FROM identity_edge e
		WHERE e.inactive_at IS NULL AND e.a NOT IN (SELECT identifier FROM gone) AND e.b NOT IN (SELECT identifier FROM gone)
		ORDER BY class, k1, k2, k3, at, a, b
	LOOP
		SELECT p.grp INTO x FROM part p WHERE p.identifier = one.a;
		SELECT p.grp INTO y FROM part p WHERE p.identifier = one.b;
		IF x <> y AND allowed(x, y) THEN
			UPDATE part SET grp = x WHERE grp = y;
		END IF;
	END LOOP;
	DROP TABLE gone;
END
$$;
CREATE TABLE said (profile_id bigint, change text);
CREATE FUNCTION play(seed text, OUT changes bigint, OUT wrong_pairs bigint, OUT not_as_said bigint, OUT again bigint, OUT broken bigint, OUT stray bigint, OUT outside bigint, OUT undone boolean, OUT split boolean)
LANGUAGE plpgsql SET search_path = public, cdp, pg_temp SET client_min_messages = error AS $$
DECLARE
	one	record;
BEGIN
	TRUNCATE profile, profile_queue, identifier_link, extra_edge, profile_merge, never_merge, relation, tag_pending, tag_chunk, identity_refusal, quarantined_identifier, identifier_split, said;
	DELETE FROM namespace_rule WHERE NOT seeded;
	DELETE FROM blocked_value WHERE NOT seeded;
	FOR n IN 1 .. 90 LOOP
		PERFORM identify(ARRAY(SELECT format((ARRAY['email:u%s@x.org', 'phone:+49%s', 'user_id:u%s', 'anonymous_id:a%s', 'cookie:c%s', 'device_id:d%s'])[1 + rnd(format('%s ns %s %s', seed, n, k), 6)],
									100 + rnd(format('%s value %s %s', seed, n, k), 14))::identifier FROM generate_series(0, rnd(format('%s size %s', seed, n), 3)) k),
			at => '2026-01-01'::timestamptz + rnd(format('%s at %s', seed, n), 800) * interval '1 hour');
		IF n % 20 = 0 THEN
			BEGIN
				PERFORM merge(a.profile_id, b.profile_id, at => '2026-02-10') FROM
					(SELECT profile_id FROM profile ORDER BY md5(seed || n || profile_id) LIMIT 1) a, (SELECT profile_id FROM profile ORDER BY md5(seed || profile_id || n) LIMIT 1) b;
			EXCEPTION WHEN object_not_in_prerequisite_state THEN		-- kept apart by the unmerge
				NULL;
			END;
		ELSIF n = 70 THEN
			PERFORM unmerge((SELECT merge_id FROM profile_merge WHERE undone_at IS NULL ORDER BY md5(seed || merge_id) LIMIT 1), at => '2026-02-11');
		END IF;
	END LOOP;
	INSERT INTO never_merge (profile_a, profile_b) SELECT least(leaf_a, leaf_b), greatest(leaf_a, leaf_b) FROM profile_merge WHERE undone_at IS NULL AND leaf_a <> leaf_b ORDER BY md5(seed || merge_id) LIMIT 1 ON CONFLICT DO NOTHING;
	INSERT INTO namespace_rule (namespace, priority, max_per_profile, within, never_merge_if_different, quarantine_after) VALUES
		('user_id', 100, NULL, NULL, true, NULL), ('email', 80, 2, NULL, false, NULL), ('cookie', 1, 2, '7 days', false, NULL), ('device_id', 30, NULL, NULL, false, 3);
	INSERT INTO blocked_value (namespace, pattern) VALUES ('anonymous_id', 'a10[0-3]');
	PERFORM brute_force();
	INSERT INTO said SELECT * FROM simulate_rules();
	CREATE TEMP TABLE doing AS SELECT * FROM apply_rules('2026-03-01');
	SELECT count(*) INTO changes FROM doing;
	SELECT count(*) INTO not_as_said FROM ((TABLE doing EXCEPT ALL TABLE said) UNION ALL (TABLE said EXCEPT ALL TABLE doing)) d;
	DROP TABLE doing;
	SELECT count(*) INTO wrong_pairs FROM part p JOIN part q ON p.identifier < q.identifier WHERE (p.grp = q.grp) <> (resolve(p.identifier) = resolve(q.identifier));
	SELECT count(*) INTO again FROM apply_rules('2026-03-02');
	-- what stands is in order: forest of merges, roots, edges within profiles
	SELECT count(*) INTO broken FROM profile p
	WHERE p.canonical_id IS DISTINCT FROM (SELECT coalesce((SELECT r.survivor FROM _replay_merges(ARRAY(SELECT q.profile_id FROM profile q WHERE q.canonical_id = p.canonical_id ORDER BY 1)) r WHERE p.profile_id = ANY (r.members) ORDER BY r.merge_id DESC LIMIT 1), p.profile_id));
	SELECT count(*) INTO outside FROM identity_edge e WHERE e.inactive_at IS NULL AND resolve(e.a) <> resolve(e.b);
	-- evidence in a link is about identifiers of one leaf, and stands there only
	SELECT count(*) INTO stray FROM identifier_link l LEFT JOIN identifier_link k ON k.identifier = l.peer
	WHERE l.peer IS NOT NULL AND (k.profile_id IS DISTINCT FROM l.profile_id OR k.peer = l.identifier
		OR EXISTS (SELECT FROM extra_edge e WHERE e.a = least(l.identifier, l.peer) AND e.b = greatest(l.identifier, l.peer)));
	undone := EXISTS (SELECT FROM profile_merge WHERE undone_reason = 'apply_rules');
	split := EXISTS (SELECT FROM identifier_split);
END
$$;
SELECT seed, p.* FROM generate_series(1, 5) seed, play('seed ' || seed) p;

SET client_min_messages = warning;
DROP FUNCTION rnd, seen, allowed, priority, brute_force, play;
DROP TABLE part, home, said;
