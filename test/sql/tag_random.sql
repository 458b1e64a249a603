-- Random tagging, folding and merging, against a plain table.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- Profiles on both sides of the edges of chunks.
INSERT INTO profile (profile_id, kind, canonical_id, first_at)
SELECT g, 'person', g, '2026-01-01' FROM generate_series(1, 65540) g WHERE g <= 3000 OR g BETWEEN 32760 AND 32780 OR g >= 65530;
SELECT _tag_changes(E'\x01kind:person', (SELECT rb_build_agg(profile_id) FROM profile), NULL, '2026-01-01', 'first');
INSERT INTO tag_key VALUES ('city', true);

CREATE TEMP TABLE oracle (tag text, profile_id bigint, PRIMARY KEY (tag, profile_id));

-- A number 0 … n-1 that depends on the step and on what it is for.
CREATE FUNCTION pg_temp.r(step int, what text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT mod(abs(hashtextextended(what || step, 42)), n)::int $$;

CREATE FUNCTION pg_temp.differences() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM (
		SELECT t AS tag, i AS profile_id FROM unnest('{a,b,gold,city:x,city:y,city:z}'::text[]) t, LATERAL rb_iterate(tagged(t)) i) s
	FULL JOIN oracle o USING (tag, profile_id) WHERE s.tag IS NULL OR o.tag IS NULL
$$;
CREATE FUNCTION pg_temp.point_differences() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM profile p, LATERAL (SELECT coalesce(array_agg(o.tag ORDER BY o.tag COLLATE "C"), '{}') AS tags FROM oracle o WHERE o.profile_id = p.profile_id) o
	WHERE (p.profile_id % 97 = 0 OR p.profile_id > 32000 OR p.profile_id < 20)
		AND (tags_of(p.profile_id) <> o.tags OR has_tag(p.profile_id, 'gold') <> ('gold' = ANY (o.tags)))
$$;

DO $$
DECLARE
	step int;
	op int;
	t text;
	p bigint;
	s bitmap;
BEGIN
	FOR step IN 1 .. 1200 LOOP
		op := pg_temp.r(step, 'op', 100);
		t := ('{a,b,gold,city:x,city:y,city:z}'::text[])[1 + pg_temp.r(step, 'tag', 6)];
		p := (ARRAY[pg_temp.r(step, 'p', 12) + 1, pg_temp.r(step, 'p', 12) + 32762, pg_temp.r(step, 'p', 8) + 65531])[1 + pg_temp.r(step, 'where', 3)];
		s := CASE pg_temp.r(step, 'set', 4)
			WHEN 0 THEN rb_build(ARRAY[p])
			WHEN 1 THEN (SELECT rb_build_agg(profile_id) FROM profile WHERE profile_id BETWEEN 32760 AND 32760 + pg_temp.r(step, 'n', 12))
			WHEN 2 THEN (SELECT rb_build_agg(profile_id) FROM profile WHERE profile_id % (1 + pg_temp.r(step, 'n', 3)) = 0)
			ELSE (SELECT rb_build_agg(profile_id) FROM profile WHERE profile_id BETWEEN pg_temp.r(step, 'n', 2000) AND 32770)
		END;
		IF op < 40 THEN
			PERFORM tag(p, t);
			IF t LIKE 'city:%' THEN DELETE FROM oracle o WHERE o.profile_id = p AND o.tag LIKE 'city:%'; END IF;
			INSERT INTO oracle VALUES (t, p) ON CONFLICT DO NOTHING;
		ELSIF op < 70 THEN
			PERFORM untag(p, t);
			DELETE FROM oracle o WHERE o.tag = t AND o.profile_id = p;
		ELSIF op < 78 THEN
			PERFORM tag(s, t);
			IF t LIKE 'city:%' THEN DELETE FROM oracle o WHERE o.profile_id IN (SELECT rb_iterate(s)) AND o.tag LIKE 'city:%'; END IF;
			INSERT INTO oracle SELECT t, i FROM rb_iterate(s) i ON CONFLICT DO NOTHING;
		ELSIF op < 86 THEN
			PERFORM untag(s, t);
			DELETE FROM oracle o WHERE o.tag = t AND o.profile_id IN (SELECT rb_iterate(s));
		ELSE
			PERFORM _fold_tags(now(), 1 + pg_temp.r(step, 'rows', 60));
		END IF;
		IF step % 40 = 0 THEN
			IF pg_temp.differences() > 0 OR (step % 400 = 0 AND pg_temp.point_differences() > 0) THEN
				RAISE EXCEPTION 'step %: tags differ', step;
			END IF;
		END IF;
	END LOOP;
END
$$;
SELECT pg_temp.differences(), pg_temp.point_differences();
SELECT count(*) > 100 AS some_tags FROM oracle;
SELECT done > 0 AS done FROM _fold_tags(now(), 1000000);
SELECT pg_temp.differences(), pg_temp.point_differences();
-- nothing is kept that says nothing
SELECT count(*) AS pending FROM tag_pending;
SELECT count(*) AS empty_chunks FROM tag_chunk WHERE _chunk_cardinality(members) = 0;
