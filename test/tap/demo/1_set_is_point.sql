-- Set = point: audience(rule, at, kind) holds a profile of that kind exactly when
-- matches says so, for random rules, instants and profiles (fixed seed).
SET search_path = public, cdp;

-- A deterministic die: 0 .. sides - 1.
CREATE FUNCTION pg_temp.die(seed int, roll int, sides int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT ((hashint8extended(seed::bigint * 1000 + roll, 42) & 9223372036854775807) % sides)::int $$;

CREATE FUNCTION pg_temp.term(seed int, roll int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT (ARRAY[
		'home:owner', '"income:50-74K"'::text, 'frequent', 'coupon_lover', 'lifecycle:at_risk', 'lifecycle:retained', 'nobody_has_this',
		'all', 'none', 'kids > ' || pg_temp.die(seed, roll + 1, 3), 'household_size != 2', 'no_such_trait != 1',
		'count(purchase) >= ' || pg_temp.die(seed, roll + 1, 40),
		'count(purchase, ' || 1 + pg_temp.die(seed, roll + 1, 120) || 'd) = ' || pg_temp.die(seed, roll + 2, 4),
		'count(item[' || (ARRAY['1082185', '6534178', '1029743', '995242'])[1 + pg_temp.die(seed, roll + 1, 4)] || ']) > 0',
		'last(purchase) > ' || pg_temp.die(seed, roll + 1, 90) || 'd',
		'last(coupon_redeemed) < ' || pg_temp.die(seed, roll + 1, 300) || 'd',
		'sum(purchase, 180d) > ' || pg_temp.die(seed, roll + 1, 100),
		'any(campaign_sent: count(coupon_redeemed[$]) = 0 & last(campaign_sent[$]) < ' || pg_temp.die(seed, roll + 1, 200) || 'd)',
		'any(coupon_redeemed: count(coupon_redeemed[$]) >= ' || 1 + pg_temp.die(seed, roll + 1, 5) || ' | home:owner)'
	])[1 + pg_temp.die(seed, roll, 20)] $$;

CREATE FUNCTION pg_temp.rule(seed int, roll int, depth int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF depth = 0 OR pg_temp.die(seed, roll, 4) = 0 THEN
		RETURN pg_temp.term(seed, roll + 1);
	END IF;
	RETURN CASE
		WHEN pg_temp.die(seed, roll + 2, 5) = 0 THEN '!(' || pg_temp.rule(seed, roll * 3 + 10, depth - 1) || ')'
		WHEN pg_temp.die(seed, roll + 2, 5) <= 2 THEN '(' || pg_temp.rule(seed, roll * 3 + 11, depth - 1) || ') & (' || pg_temp.rule(seed, roll * 3 + 12, depth - 1) || ')'
		ELSE '(' || pg_temp.rule(seed, roll * 3 + 13, depth - 1) || ') | (' || pg_temp.rule(seed, roll * 3 + 14, depth - 1) || ')'
	END;
END $$;

DO $$
DECLARE
	c criteria;
	t timestamptz;
	the_kind text;
	members bitmap;
	bad bigint;
	asked bigint := 0;
	hits bigint := 0;
BEGIN
	FOR n IN 1 .. 60 LOOP
		c := pg_temp.rule(n, 7, 3);
		t := timestamptz '2017-01-15Z' + pg_temp.die(n, 999, 360) * interval '1 day 1 hour 7 minutes';
		the_kind := CASE n % 5 WHEN 0 THEN 'store' ELSE 'person' END;
		members := audience(c, t, the_kind);
		SELECT min(profile_id) INTO bad FROM profile
		WHERE (profile_id + n) % 12 = 0 AND kind = the_kind AND matches(profile_id, c, t) <> (members @> profile_id);
		IF bad IS NOT NULL THEN
			RAISE EXCEPTION 'rule % at %: audience says %, matches says % for profile %', c, t, members @> bad, matches(bad, c, t), bad;
		END IF;
		asked := asked + (SELECT count(*) FROM profile WHERE (profile_id + n) % 12 = 0 AND kind = the_kind);
		hits := hits + rb_cardinality(members);
	END LOOP;
	IF hits = 0 THEN
		RAISE EXCEPTION 'no random rule found anybody: the test asks nothing';
	END IF;
	RAISE NOTICE '% answers compared', asked;
END $$;
SELECT 'set = point';
