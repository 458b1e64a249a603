-- Slices of traits: exact beside plain SQL, whatever is folded and merged.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- a first look
SELECT array_agg(identify(ARRAY['email:p' || g || '@example.com']::identifier[], jsonb_build_object('age', 20 + g, 'born', make_date(1980 + g, 1, g), 'ltv', g * 12.5), '2026-01-01'))
FROM generate_series(1, 6) g;
INSERT INTO trait_rule (name, type, searchable) VALUES ('age', 'number', true), ('born', 'date', true), ('ltv', 'number', true);
-- not built yet: the values themselves are read
SELECT trait_count('age'), trait_sum('age'), trait_avg('ltv'), trait_min('age'), trait_max('ltv'), trait_quantile('age', 0.5), trait_range('age', 22, 24), trait_first_date('born');
SELECT done FROM tick('2026-01-02') WHERE task = 'fold_traits';
SELECT trait, type, form, state FROM trait_index ORDER BY trait;
SELECT slice, chunk, members FROM trait_slice WHERE trait = 'age' ORDER BY slice, chunk;
SELECT trait_count('age'), trait_sum('age'), trait_avg('ltv'), trait_min('age'), trait_max('ltv'), trait_quantile('age', 0.5), trait_range('age', 22, 24), trait_first_date('born');
SELECT trait_count('age', '{2,3,99}'), trait_sum('age', '{2,3}'), trait_sum('age', '{}'), trait_avg('age', '{99}'), trait_min('age', '{}'), trait_quantile('age', '{0,0.25,1}'::float8[], '{2,3,5}');
SELECT * FROM trait_top('ltv', 3);
SELECT * FROM trait_top('ltv', 3, '{1,2}');
SELECT * FROM trait_top('ltv', 0);
SELECT trait_range('age', NULL, 23), trait_range('age', 25, NULL), trait_range('age', NULL::float8, NULL), trait_range('age', 24, 22), trait_range('born', date '1982-01-02', date '1984-01-04'), trait_range('born', NULL::date, NULL);
SELECT trait_first_date('born', '{2,3}'), trait_last_date('born', '{2,3}'), trait_last_date('born', '{}');
SELECT trait_count('nothing'), trait_sum('nothing'), trait_range('nothing', 1, 2), trait_sum(NULL) IS NULL, trait_quantile('age', NULL::float8) IS NULL;
SELECT audience('age >= 22 & age < 25', '2026-02-01'), audience('born < 1983-01-01', '2026-02-01'), audience('age != 22', '2026-02-01'), audience('!(age = 22)', '2026-02-01'),
	audience('age in (21, 26, 99)', '2026-02-01'), audience('ltv between 25 and 50', '2026-02-01'), audience('age = "22"', '2026-02-01'), audience('born > 40y', '2026-02-01');

-- what is not folded counts at once
SELECT set_trait(1, 'age', '70', '2026-01-03'), set_trait(2, 'age', 'null', '2026-01-03'), set_trait(3, 'ltv', '0.125', '2026-01-03'), set_trait(4, 'born', '"1950-05-05"', '2026-01-03');
SELECT trait, profile_id FROM trait_pending ORDER BY 1, 2;
SELECT trait_count('age'), trait_sum('age'), trait_max('age'), trait_range('age', 0, 100), trait_first_date('born'), trait_min('ltv'), trait_sum('ltv');
SELECT * FROM trait_top('age', 2);
SELECT done FROM tick('2026-01-04') WHERE task = 'fold_traits';
SELECT count(*) FROM trait_pending;
SELECT trait, form FROM trait_index ORDER BY trait;		-- 0.125 needs four digits, of two
SELECT trait_count('age'), trait_sum('age'), trait_max('age'), trait_range('age', 0, 100), trait_first_date('born'), trait_min('ltv'), trait_sum('ltv');

-- merging, and undoing it
SELECT merge(1, 2) AS m \gset
SELECT trait_range('age', 0, 100), trait_count('age'), trait_range('ltv', NULL::float8, NULL);
SELECT done FROM tick('2026-01-05') WHERE task = 'fold_traits';
SELECT trait_range('age', 0, 100), trait_count('age'), trait_range('ltv', NULL::float8, NULL);
SELECT unmerge(:m);
SELECT trait_range('age', 0, 100), trait_count('age'), trait_range('ltv', NULL::float8, NULL);
SELECT done FROM tick('2026-01-06') WHERE task = 'fold_traits';
SELECT trait_range('age', 0, 100), trait_count('age'), trait_range('ltv', NULL::float8, NULL);

-- another type, and not searchable any more
UPDATE trait_rule SET searchable = false WHERE name = 'age';
UPDATE trait_rule SET type = 'text' WHERE name = 'ltv';
SELECT trait_sum('age'), audience('age > 60', '2026-02-01'), audience('ltv > 60', '2026-02-01');
SELECT done FROM tick('2026-01-07') WHERE task = 'fold_traits';
SELECT trait, form FROM trait_index ORDER BY trait;
SELECT DISTINCT trait FROM trait_slice;
SELECT trait_sum('age'), audience('age > 60', '2026-02-01');

-- instants too fine for a float8 are told apart without slices
INSERT INTO trait_rule (name, type, searchable) VALUES ('far', 'date', true);
INSERT INTO trait_value (name, profile_id, value, at) VALUES ('far', 1, '"9000-01-01T00:00:00.000001"', '2026-01-01'), ('far', 2, '"9000-01-01"', '2026-01-01');
SELECT done FROM tick('2026-01-08') WHERE task = 'fold_traits';
SELECT trait, form, state FROM trait_index ORDER BY trait;
SELECT audience('far > 9000-01-01', '2026-02-01'), audience('far = 9000-01-01', '2026-02-01');

-- refused
\set SHOW_CONTEXT never
SELECT trait_sum('born');
SELECT trait_first_date('ltv');
SELECT trait_quantile('age', 1.5);
SELECT trait_quantile('age', 'NaN'::float8);
SELECT trait_quantile('age', ARRAY[0.5, NULL]);
SELECT * FROM trait_top('age', -1);
SELECT trait_range('age', 'NaN', 1);

-- random: every question, beside the same in SQL
DELETE FROM trait_rule;
INSERT INTO profile (profile_id, kind, canonical_id, first_at)
SELECT n, 'person', n, '2026-01-01' FROM generate_series(100, 60000) n WHERE n % 97 = 0 OR n BETWEEN 32700 AND 32900;
SELECT _tag_changes(chr(1) || 'kind:person', rb_build_agg(profile_id), NULL, '2026-01-01', 'first') FROM profile WHERE profile_id >= 100;
SELECT setval('profile_id_seq', 70000);
CREATE FUNCTION pg_temp.r(seed int, what text, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN (hashtextextended(what, seed) & 4611686018427387903) % n;
CREATE FUNCTION pg_temp.random_value(seed int, trait text) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN CASE
	WHEN pg_temp.r(seed, 'odd' || trait, 30) = 0 THEN 'null'
	WHEN trait = 'whole' THEN to_jsonb(pg_temp.r(seed, trait, 200) - 60)
	WHEN trait = 'money' THEN to_jsonb((pg_temp.r(seed, trait, 2000000) - 300000) / 100.0)
	WHEN trait = 'wild' THEN CASE pg_temp.r(seed, 'kind', 6)
		WHEN 0 THEN to_jsonb(pg_temp.r(seed, trait, 1000000)::float8 / 7 * power(10, pg_temp.r(seed, 'e', 40) - 20))
		WHEN 1 THEN to_jsonb(-pg_temp.r(seed, trait, 1000000)::float8 / 3)
		WHEN 2 THEN (ARRAY['0', '-0.0', '1e305', '-1e305', '4.9e-324', '1e-310', '-1e-310', '0.1', '9007199254740993', '-9007199254740992'])[1 + pg_temp.r(seed, trait, 10)]::jsonb
		ELSE to_jsonb(pg_temp.r(seed, trait, 10)) END
	WHEN trait = 'huge' THEN to_jsonb((pg_temp.r(seed, trait, 4611686018427387903) - 2305843009213693951) >> pg_temp.r(seed, 'e', 60)::int)
	WHEN trait = 'day' THEN to_jsonb((date '1900-01-01' + pg_temp.r(seed, trait, 60000)::int)::text)
	WHEN trait = 'instant' THEN to_jsonb(to_char(timestamp '1990-01-01' + pg_temp.r(seed, trait, 1000000000000000) * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US'))
END;
-- values from before there were rules may be of any type
SELECT count(set_trait(p.profile_id, n, v, '2026-01-02'))
FROM profile p, unnest('{whole,money,wild,huge,day,instant}'::text[]) n, LATERAL (SELECT (ARRAY['"text"', 'true', '[1]', '17', '-3', '"2026-01-05"'])[1 + pg_temp.r(p.profile_id::int, n, 6)]::jsonb) x(v)
WHERE p.profile_id >= 100 AND pg_temp.r(p.profile_id::int, 'has' || n, 5) = 0;
INSERT INTO trait_rule (name, type, searchable) VALUES ('whole', 'number', true), ('money', 'number', true), ('wild', 'number', true), ('huge', 'number', true), ('day', 'date', true), ('instant', 'date', true);
-- The number that counts, by SQL: of those who have one.
CREATE VIEW number AS
SELECT t.name, p.profile_id, CASE WHEN r.type = 'number' THEN (v #>> '{}')::numeric
	ELSE extract(epoch FROM ((v #>> '{}')::timestamp - timestamp '2000-01-01'))::numeric * 1000000 END AS n, r.type
FROM trait_rule r JOIN (VALUES ('whole'), ('money'), ('wild'), ('huge'), ('day'), ('instant')) t(name) ON t.name = r.name
CROSS JOIN profile p CROSS JOIN LATERAL (SELECT trait(p.profile_id, t.name) OFFSET 0) x(v)
WHERE p.canonical_id = p.profile_id AND jsonb_typeof(v) = CASE r.type WHEN 'number' THEN 'number' ELSE 'string' END AND v <> '"text"' AND NOT (r.type = 'number' AND v = '"2026-01-05"');
CREATE FUNCTION pg_temp.constant(n float8, dates boolean) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE WHEN dates THEN to_char(timestamp '2000-01-01' + n * interval '1 microsecond', 'YYYY-MM-DD') ELSE n::text END;
CREATE FUNCTION pg_temp.check(seed int) RETURNS TABLE (what text, trait text, ours text, theirs text) LANGUAGE plpgsql AS $$
DECLARE
	t record;
	v float8[];			-- numbers of the audience, ascending
	ids bigint[];
	who bitmap;
	c float8;
	i int;
	op text;
	rule text;
	lower_ float8;
BEGIN
	CREATE TEMP TABLE IF NOT EXISTS copy (name text, profile_id bigint, n float8, type text);
	DELETE FROM copy;
	INSERT INTO copy SELECT x.name, x.profile_id, x.n::float8, x.type FROM number x;
	FOR t IN SELECT r.name, r.type = 'date' AS dates FROM trait_rule r ORDER BY r.name LOOP
		who := CASE pg_temp.r(seed, t.name || 'who', 4) WHEN 0 THEN NULL WHEN 1 THEN rb_fill('{}', 30000 + pg_temp.r(seed, 'x', 3000), 33000)
			ELSE (SELECT rb_build_agg(p.profile_id) FROM profile p WHERE pg_temp.r(seed, p.profile_id::text, 3) = 0) END;
		SELECT coalesce(array_agg(x.n ORDER BY x.n), '{}') INTO v FROM copy x WHERE x.name = t.name AND (who IS NULL OR who @> x.profile_id);
		CONTINUE WHEN v = '{}';
		trait := t.name;
		IF NOT t.dates THEN
			what := 'count'; ours := trait_count(t.name, who); theirs := cardinality(v); RETURN NEXT;
			what := 'sum';
			ours := trait_sum(t.name, who);
			theirs := (SELECT sum(x::numeric)::float8 FROM unnest(v) x);
			IF t.name NOT IN ('wild', 'huge') OR abs(ours::float8 - theirs::float8) > 1e-12 * (SELECT sum(abs(x)::numeric) FROM unnest(v) x)::float8 THEN
				RETURN NEXT;
			END IF;
			what := 'min'; ours := trait_min(t.name, who); theirs := v[1]; RETURN NEXT;
			what := 'max'; ours := trait_max(t.name, who); theirs := v[cardinality(v)]; RETURN NEXT;
			c := pg_temp.r(seed, t.name || 'q', 101) / 100.0;
			what := 'quantile'; ours := trait_quantile(t.name, c, who); theirs := (SELECT percentile_cont(c) WITHIN GROUP (ORDER BY x) FROM unnest(v) x); RETURN NEXT;
			i := pg_temp.r(seed, t.name || 'n', 50);
			what := 'top'; ours := (SELECT string_agg(profile_id || '=' || value, ' ') FROM trait_top(t.name, i, who));
			theirs := (SELECT string_agg(profile_id || '=' || n, ' ' ORDER BY n DESC, profile_id) FROM (SELECT x.profile_id, x.n FROM copy x WHERE x.name = t.name AND (who IS NULL OR who @> x.profile_id) ORDER BY x.n DESC, x.profile_id LIMIT i) l);
			RETURN NEXT;
		ELSE
			what := 'first'; ours := trait_first_date(t.name, who); theirs := pg_temp.constant(v[1], true); RETURN NEXT;
			what := 'last'; ours := trait_last_date(t.name, who); theirs := pg_temp.constant(v[cardinality(v)], true); RETURN NEXT;
		END IF;
		-- ranges and rules: constants that are there, and that are between
		c := v[1 + pg_temp.r(seed, t.name || 'c', cardinality(v))];
		IF t.dates THEN
			c := floor(c / 86400000000) * 86400000000;
		ELSIF pg_temp.r(seed, t.name || 'off', 3) = 0 THEN
			c := c * 1.0000001 + 0.001;
		END IF;
		lower_ := least(c, CASE WHEN t.dates THEN floor(v[1 + pg_temp.r(seed, t.name || 'l', cardinality(v))] / 86400000000) * 86400000000
			ELSE v[1 + pg_temp.r(seed, t.name || 'l', cardinality(v))] END);
		what := 'range';
		ours := CASE WHEN t.dates THEN trait_range(t.name, pg_temp.constant(lower_, true)::date, pg_temp.constant(c, true)::date) ELSE trait_range(t.name, lower_, c) END;
		theirs := (SELECT coalesce(rb_build_agg(x.profile_id), '{}') FROM copy x WHERE x.name = t.name AND x.n >= lower_ AND x.n < c);
		RETURN NEXT;
		FOREACH op IN ARRAY '{=,!=,<,<=,>,>=,between}'::text[] LOOP
			rule := t.name || ' ' || op || ' ' || CASE op WHEN 'between' THEN pg_temp.constant(lower_, t.dates) || ' and ' ELSE '' END || pg_temp.constant(c, t.dates);
			what := rule;
			ours := audience(rule::criteria, '2026-03-01');
			theirs := (SELECT coalesce(rb_build_agg(x.profile_id), '{}') FROM copy x WHERE x.name = t.name
				AND CASE op WHEN '=' THEN x.n = c WHEN '!=' THEN x.n <> c WHEN '<' THEN x.n < c WHEN '<=' THEN x.n <= c WHEN '>' THEN x.n > c WHEN '>=' THEN x.n >= c ELSE x.n BETWEEN lower_ AND c END);
			RETURN NEXT;
		END LOOP;
	END LOOP;
END
$$;
SET client_min_messages = warning;
CREATE TEMP TABLE wrong (step int, what text, trait text, ours text, theirs text);
CREATE TEMP TABLE checked (n bigint);
DO $$
DECLARE
	merges bigint[] := '{}';
	p bigint[];
	n bigint;
BEGIN
	FOR step IN 1 .. 16 LOOP
		-- change
		PERFORM set_trait(x.profile_id, x.name, x.value, timestamptz '2026-01-10' + step * interval '1 hour')
		FROM (SELECT q.profile_id, t.name, pg_temp.random_value((step * 100000 + q.profile_id)::int, t.name) AS value
			  FROM profile q, trait_rule t
			  WHERE q.profile_id >= 100 AND pg_temp.r(step, q.profile_id || t.name, 30) = 0) x
		WHERE x.value IS NOT NULL;
		IF pg_temp.r(step, 'merge', 2) = 0 THEN
			p := ARRAY(SELECT q.profile_id FROM profile q WHERE q.canonical_id = q.profile_id AND q.profile_id >= 100 ORDER BY pg_temp.r(step, q.profile_id::text, 1000000000), 1 LIMIT 2);
			merges := merges || merge(p[1], p[2]);
		END IF;
		IF cardinality(merges) > 2 AND pg_temp.r(step, 'unmerge', 3) = 0 THEN
			PERFORM unmerge(merges[cardinality(merges)]);
			merges := merges[: cardinality(merges) - 1];
		END IF;
		IF pg_temp.r(step, 'rule', 5) = 0 THEN
			UPDATE trait_rule SET searchable = NOT searchable WHERE name = (ARRAY['whole', 'day'])[1 + step % 2];
			UPDATE trait_rule SET survivorship = (ARRAY['latest', 'first', 'max', 'min'])[1 + pg_temp.r(step, 'which', 4)] WHERE name = (ARRAY['money', 'wild'])[1 + step % 2];
		END IF;
		FOR i IN 1 .. pg_temp.r(step, 'fold', 8) LOOP
			PERFORM _fold_traits('2026-02-01', 1 + pg_temp.r(step, 'rows', 200)::int);
		END LOOP;
		-- ask
		IF step % 2 = 0 THEN
			INSERT INTO wrong SELECT step, c.* FROM pg_temp.check(step) c WHERE c.ours IS DISTINCT FROM c.theirs;
			INSERT INTO checked SELECT count(*) FROM pg_temp.check(step);
		END IF;
	END LOOP;
END
$$;
SELECT step, what, trait, left(ours, 60) AS ours, left(theirs, 60) AS theirs FROM wrong ORDER BY 1, 2, 3 LIMIT 10;
SELECT sum(n) > 400 AS many FROM checked;
SELECT trait, form, state FROM trait_index ORDER BY trait;
-- folded at the end, nothing waits, and slices made anew are the same
DO $$ BEGIN FOR i IN 1 .. 50 LOOP EXIT WHEN (SELECT done = 0 FROM _fold_traits('2026-02-01', 10000)); END LOOP; END $$;
SELECT count(*) FROM trait_pending;
INSERT INTO wrong SELECT 99, c.* FROM pg_temp.check(99) c WHERE c.ours IS DISTINCT FROM c.theirs;
SELECT count(*) FROM wrong;
CREATE TEMP TABLE was AS SELECT * FROM trait_slice;
SELECT _rebuild_trait_index(trait) FROM trait_index ORDER BY trait;
SELECT count(*) AS others FROM (TABLE was EXCEPT TABLE trait_slice) x;
SELECT count(*) AS others FROM (TABLE trait_slice EXCEPT TABLE was) x;
SELECT pg_relation_size(reltoastrelid) AS toasted FROM pg_class WHERE oid = 'cdp.trait_slice'::regclass;
