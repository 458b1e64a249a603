SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- Random relate, unrelate and group calls between four people and three
-- accounts, some merged on the way: at any instant the answer is that of a
-- list of the instants themselves.
CREATE FUNCTION rnd(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN ((hashtextextended(seed, 0) % below + below) % below)::int;
SELECT identify(ARRAY['user_id:p' || n], at => '2025-01-01') AS person FROM generate_series(1, 4) n;
SELECT identify(ARRAY['account:c' || n], at => '2025-01-01') AS account FROM generate_series(1, 3) n;
-- day by day, whether it holds: p, c, day
CREATE TABLE holds (p int, c int, day int, PRIMARY KEY (p, c, day));
CREATE FUNCTION day(n int) RETURNS timestamptz LANGUAGE sql IMMUTABLE RETURN '2026-01-01 00:00+00'::timestamptz + n * interval '1 day';
CREATE FUNCTION play(n int) RETURNS void LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	pp	int := 1 + rnd('p' || n, 4);
	cc	int := 1 + rnd('c' || n, 3);
	d	int := rnd('d' || n, 60);
	len	int := 1 + rnd('len' || n, 15);
	who	bigint := resolve(('user_id:p' || pp)::identifier);
	acc	bigint := resolve(('account:c' || cc)::identifier);
BEGIN
	CASE rnd('what' || n, 4)
		WHEN 0 THEN
			-- one that begins at the very same time is replaced
			IF NOT EXISTS (SELECT FROM relation r JOIN profile x ON x.profile_id = r.a JOIN profile y ON y.profile_id = r.b
						   WHERE x.canonical_id = who AND y.canonical_id = acc AND r.since = day(d)) THEN
				PERFORM relate(who, acc, 'member', day(d), day(d + len));
				INSERT INTO holds SELECT pp, cc, x FROM generate_series(d, d + len - 1) x ON CONFLICT DO NOTHING;
			END IF;
		WHEN 1 THEN
			-- ends every range that holds then
			DELETE FROM holds h
			WHERE h.p = pp AND h.c = cc AND h.day >= d
			  AND EXISTS (SELECT FROM relation r JOIN profile x ON x.profile_id = r.a JOIN profile y ON y.profile_id = r.b
						  WHERE x.canonical_id = who AND y.canonical_id = acc AND r.since <= day(d) AND (r.until IS NULL OR r.until > day(d))
							AND r.since <= day(h.day) AND (r.until IS NULL OR r.until > day(h.day)))
			  AND NOT EXISTS (SELECT FROM relation r JOIN profile x ON x.profile_id = r.a JOIN profile y ON y.profile_id = r.b
						  WHERE x.canonical_id = who AND y.canonical_id = acc AND r.since > day(d)
							AND r.since <= day(h.day) AND (r.until IS NULL OR r.until > day(h.day)));
			PERFORM unrelate(who, acc, 'member', day(d));
		ELSE
			-- a group call: holds from then on until it ends, or what holds later began then
			PERFORM ingest(jsonb_build_object('type', 'group', 'userId', 'p' || pp, 'groupId', 'c' || cc, 'timestamp', to_char(day(d) AT TIME ZONE 'UTC', 'YYYY-MM-DD')));
			INSERT INTO holds
			SELECT pp, cc, x
			FROM (SELECT min(h.day) AS first FROM holds h WHERE h.p = pp AND h.c = cc AND h.day >= d) f
				CROSS JOIN LATERAL generate_series(d, coalesce(f.first - 1, 200)) x
			ON CONFLICT DO NOTHING;
	END CASE;
END
$$;
CREATE FUNCTION look(OUT days bigint, OUT wrong bigint) LANGUAGE sql SET search_path = public, cdp, pg_temp AS $$
	SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM holds h WHERE h.p = who AND h.c = account AND h.day = d)
		<> (resolve(('account:c' || account)::identifier) IN (SELECT related(resolve(('user_id:p' || who)::identifier), 'member', day(d)))))
	FROM generate_series(1, 4) who, generate_series(1, 3) account, generate_series(-1, 100) d
$$;
DO $$ BEGIN PERFORM public.play(n) FROM generate_series(1, 60) n; END $$;
SELECT * FROM look();
SELECT count(*) > 3 AS some_hold FROM holds;
-- merged: either's hold
SELECT merge(resolve('user_id:p1'), resolve('user_id:p2')) IS NOT NULL AS merged;
INSERT INTO holds SELECT 3 - p, c, day FROM holds WHERE p IN (1, 2) ON CONFLICT DO NOTHING;
SELECT * FROM look();
-- and unmerged, each its own again
SELECT unmerge((SELECT max(merge_id) FROM profile_merge), false);
SELECT count(*) > 0 AS differ FROM (SELECT related(resolve('user_id:p1'), 'member', day(d)), d FROM generate_series(0, 60) d
	EXCEPT SELECT related(resolve('user_id:p2'), 'member', day(d)), d FROM generate_series(0, 60) d) x;
-- half open, to the microsecond; nobody is related to himself
SELECT relate(resolve('user_id:p3'), resolve('user_id:p4'), 'spouse', '2026-01-01', '2026-02-01');
SELECT at, EXISTS (SELECT FROM related(resolve('user_id:p3'), 'spouse', at)) AS holds
FROM unnest('{"2025-12-31 23:59:59.999999", 2026-01-01, "2026-01-31 23:59:59.999999", 2026-02-01}'::timestamptz[]) at;
SELECT merge(resolve('user_id:p3'), resolve('user_id:p4')) IS NOT NULL AS merged;
SELECT count(*) AS to_himself FROM related(resolve('user_id:p3'), 'spouse', '2026-01-15');

-- Random calls, merges by hand and undone ones between three people and two accounts: the rows are
-- those of a replay without the merges that were undone, after each of them.
\set worlds 25
\getenv worlds ORACLE_RELATIONS
CREATE FUNCTION call(what text, a bigint, b bigint, d int, len int) RETURNS bigint LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
BEGIN
	CASE what
		WHEN 'group' THEN PERFORM ingest(jsonb_build_object('type', 'group', 'userId', 'r' || a, 'groupId', 's' || b, 'timestamp', to_char(day(d) AT TIME ZONE 'UTC', 'YYYY-MM-DD')));
		WHEN 'relate' THEN PERFORM relate(a, b, 'member', day(d), day(d + len));
		WHEN 'unrelate' THEN PERFORM unrelate(a, b, 'member', day(d));
		WHEN 'merge' THEN RETURN merge(a, b);
	END CASE;
	RETURN NULL;
END
$$;
CREATE FUNCTION world(w int, people bigint[], accounts bigint[], OUT merges int, OUT kept int, OUT wrong text) LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	calls	jsonb := '[]';
	undone	bigint[] := '{}';
	c		jsonb;
	m		bigint;
	here	text[];
	there	text[];
BEGIN
	PERFORM set_config('client_min_messages', 'warning', true);
	kept := 0;
	BEGIN
		FOR n IN 1 .. 40 LOOP
			CASE rnd(format('%s what %s', w, n), 12)
				WHEN 0, 1, 2, 3, 4 THEN
					c := jsonb_build_object('what', 'group', 'a', 1 + rnd(format('%s a %s', w, n), 3), 'b', 1 + rnd(format('%s b %s', w, n), 2));
				WHEN 5, 6, 7, 8 THEN
					c := jsonb_build_object('what', (ARRAY['relate', 'unrelate', 'unrelate'])[1 + rnd(format('%s which %s', w, n), 3)],
						'a', canonical_id(people[1 + rnd(format('%s a %s', w, n), 3)]), 'b', canonical_id(accounts[1 + rnd(format('%s b %s', w, n), 2)]));
				WHEN 9, 10 THEN
					SELECT jsonb_build_object('what', 'merge', 'a', canonical_id(x), 'b', canonical_id(y)) INTO c
					FROM unnest(CASE rnd(format('%s kind %s', w, n), 3) WHEN 0 THEN accounts ELSE people END) WITH ORDINALITY u (x, i)
						CROSS JOIN unnest(CASE rnd(format('%s kind %s', w, n), 3) WHEN 0 THEN accounts ELSE people END) y
					WHERE canonical_id(x) <> canonical_id(y) ORDER BY rnd(format('%s pair %s %s %s', w, n, x, y), 1000000) LIMIT 1;
				ELSE
					m := (SELECT x.merge_id FROM profile_merge x WHERE x.undone_at IS NULL ORDER BY rnd(format('%s undo %s', w, x.merge_id), 1000000) LIMIT 1);
					CONTINUE WHEN m IS NULL;
					undone := undone || m;
					PERFORM unmerge(m, false);
					CONTINUE;
			END CASE;
			CONTINUE WHEN c IS NULL;
			c := c || jsonb_build_object('d', rnd(format('%s d %s', w, n), 30), 'len', 1 + rnd(format('%s len %s', w, n), 15));
			calls := calls || (c || jsonb_build_object('m', call(c ->> 'what', (c -> 'a')::bigint, (c -> 'b')::bigint, (c -> 'd')::int, (c -> 'len')::int)));
			kept := greatest(kept, (SELECT count(*) FROM relation_call));
		END LOOP;
		merges := (SELECT count(*) FROM jsonb_array_elements(calls) x WHERE x ->> 'what' = 'merge');
		FOR m IN SELECT x.merge_id FROM profile_merge x WHERE x.undone_at IS NULL AND w % 3 > 0 ORDER BY rnd(format('%s end %s', w, x.merge_id), 1000000) LIMIT w % 3 LOOP
			undone := undone || m;
			PERFORM unmerge(m, false);
		END LOOP;
		here := ARRAY(SELECT r FROM relation r ORDER BY r.a, r.b, r.since);
		IF NOT EXISTS (SELECT FROM profile_merge x WHERE x.undone_at IS NULL) AND EXISTS (SELECT FROM relation_call) THEN
			here := here || 'something is kept'::text;
		END IF;
		RAISE SQLSTATE 'P0X01';
	EXCEPTION WHEN SQLSTATE 'P0X01' THEN
	END;
	BEGIN
		FOR c IN SELECT x FROM jsonb_array_elements(calls) x WHERE (x -> 'm')::text = 'null' OR (x -> 'm')::bigint <> ALL (undone) LOOP
			PERFORM call(c ->> 'what', (c -> 'a')::bigint, (c -> 'b')::bigint, (c -> 'd')::int, (c -> 'len')::int);
		END LOOP;
		there := ARRAY(SELECT r FROM relation r ORDER BY r.a, r.b, r.since);
		RAISE SQLSTATE 'P0X01';
	EXCEPTION WHEN SQLSTATE 'P0X01' THEN
	END;
	IF here <> there THEN
		wrong := format('%s, not %s', ARRAY(SELECT unnest(here) EXCEPT SELECT unnest(there)), ARRAY(SELECT unnest(there) EXCEPT SELECT unnest(here)));
	END IF;
END
$$;
TRUNCATE relation, profile_merge;
SELECT array_agg(identify(ARRAY['user_id:r' || n], at => '2025-01-01')) AS people, (SELECT array_agg(identify(ARRAY['account:s' || n], at => '2025-01-01')) FROM generate_series(1, 2) n) AS accounts FROM generate_series(1, 3) n \gset
SELECT count(*) = :worlds AS all_played, sum(x.merges) > 2 * count(*) AS many_merges, count(*) FILTER (WHERE x.kept > 3) > count(*) / 2 AS many_ended, (array_agg(w || ': ' || x.wrong ORDER BY w) FILTER (WHERE x.wrong IS NOT NULL))[1] AS wrong
FROM generate_series(1, :worlds) w, world(w, :'people', :'accounts') x;

-- A leaf whose relation was ended for another one is the canonical profile later: what is said to it then counts.
SELECT identify('{user_id:k1}', at => '2025-01-01') AS k1, identify('{user_id:k2}', at => '2025-01-01') AS k2, identify('{user_id:k3}', at => '2025-01-01') AS k3 \gset
SELECT relate(:k1, resolve('account:s1'), 'member', '2026-01-01');
SELECT merge(:k3, :k1) AS first \gset
SELECT identify('{user_id:k1,user_id:k2}') = :k2 AS k2, unrelate(:k1, resolve('account:s1'), 'member', '2026-02-01');
SELECT unmerge(:first, false);
SELECT canonical_id(:k2) = :k1 AS k1, relate(:k1, resolve('account:s1'), 'member', '2026-03-01', '2026-04-01');
SELECT unrelate(:k1, resolve('account:s1'), 'member', '2026-03-15');
SELECT a - :k1 AS a, since::date, until::date FROM relation WHERE a >= :k1 ORDER BY 1, 2;
SELECT unmerge(merge_id, false) FROM profile_merge WHERE undone_at IS NULL AND leaf_a = :k1;
SELECT a - :k1 AS a, since::date, until::date FROM relation WHERE a >= :k1 ORDER BY 1, 2;
SELECT count(*) AS kept FROM relation_call;

SET client_min_messages = warning;
DROP FUNCTION rnd, day, play, look, call, world;
DROP TABLE holds;
