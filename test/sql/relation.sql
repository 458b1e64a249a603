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

SET client_min_messages = warning;
DROP FUNCTION rnd, day, play, look;
DROP TABLE holds;
