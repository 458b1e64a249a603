-- Searchable texts and booleans: rules find them in bitmaps, and exactly.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

SELECT count(identify(ARRAY['user_id:u' || g]::identifier[], jsonb_build_object('city', (ARRAY['Ulm', '上海', 'a "b"', ''])[1 + g % 4], 'ok', g % 3 = 0, 'long', repeat('x', 190 + g)), '2026-01-01')) FROM generate_series(1, 60) g;
SELECT set_trait(1, 'city', '7', '2026-01-02');		-- from before there was a rule
INSERT INTO trait_rule (name, type, searchable, survivorship) VALUES ('city', 'text', true, 'latest'), ('ok', 'boolean', true, 'max'), ('long', 'text', true, 'first');
CREATE FUNCTION wrong(at timestamptz) RETURNS TABLE (rule criteria, got bitmap, want bitmap) LANGUAGE sql SET search_path = public, cdp AS $$
	SELECT r.rule, audience(r.rule, at), coalesce(w.members, '{}')
	FROM (VALUES ('city = "Ulm"'::criteria, 'city', ARRAY['"Ulm"']), ('city in ("上海", "Ulm", "nowhere")', 'city', ARRAY['"上海"', '"Ulm"']), ('city = "a ""b"""', 'city', ARRAY['"a \"b\""']), ('city = ""', 'city', ARRAY['""']),
				 ('city = 7', 'city', ARRAY['7']), ('ok = true', 'ok', ARRAY['true']), ('ok = false', 'ok', ARRAY['false']),
				 (format('long = "%s"', repeat('x', 195))::criteria, 'long', ARRAY[format('"%s"', repeat('x', 195))]), (format('long = "%s"', repeat('x', 230))::criteria, 'long', ARRAY[format('"%s"', repeat('x', 230))])) r(rule, trait, vals)
	CROSS JOIN LATERAL (SELECT rb_build_agg(p.profile_id) AS members FROM profile p WHERE p.canonical_id = p.profile_id AND trait(p.profile_id, r.trait)::text = ANY (r.vals)) w
	WHERE audience(r.rule, at) <> coalesce(w.members, '{}')
		OR EXISTS (SELECT FROM profile p WHERE matches(p.profile_id, r.rule, at) <> (audience(r.rule, at) @> p.profile_id));
$$;
SELECT * FROM wrong('2026-06-01');
SELECT sum(done) > 0 AS folded FROM tick('2026-06-01') WHERE task ~ 'trait';
SELECT trait, type, state FROM trait_index ORDER BY trait;
SELECT replace(replace(tag, chr(1), '*'), repeat('x', 180), '…') AS tag, count(*) FROM tag_chunk WHERE tag ~ '^\u0001trait:(city|ok)' GROUP BY 1 ORDER BY 1;
SELECT * FROM wrong('2026-06-01');
SELECT tags_of(2), audience('!city = "Ulm" & ok = true', '2026-06-01') = audience('ok = true', '2026-06-01') - audience('city = "Ulm"', '2026-06-01') AS combined;

-- random changes, merges and their undoing, folded now and then
CREATE FUNCTION changes(seed int, n int) RETURNS SETOF text LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	r bigint;
	a bigint;
	b bigint;
BEGIN
	FOR i IN 1 .. n LOOP
		r := hashint8extended(i, seed) & 1073741823;
		a := 1 + (r >> 4) % 60;
		b := 1 + (r >> 12) % 60;
		CASE r & 15
			WHEN 0 THEN
				IF canonical_id(a) <> canonical_id(b) THEN
					PERFORM merge(a, b, at => '2026-03-01'::timestamptz + i * interval '1 hour');
				END IF;
			WHEN 1 THEN PERFORM unmerge(m.merge_id, false, at => '2026-03-01'::timestamptz + i * interval '1 hour') FROM (SELECT merge_id FROM profile_merge WHERE undone_at IS NULL ORDER BY hashint8(merge_id + r) LIMIT 1) m;
			WHEN 2, 3 THEN PERFORM _fold_traits('2026-06-01', 5 + (r & 31)::int);
			WHEN 4, 5 THEN PERFORM set_trait(a, 'ok', (ARRAY['true', 'false', 'null'])[1 + b % 3]::jsonb, '2026-02-01'::timestamptz + (r & 1023) * interval '1 hour');
			WHEN 6 THEN PERFORM set_trait(a, 'long', to_jsonb(repeat('x', 190 + b::int)), '2025-02-01'::timestamptz + (r & 1023) * interval '1 hour');
			WHEN 7 THEN PERFORM _fold_tags('2026-06-01', 100);
			-- at a leaf that was merged
			WHEN 8, 9 THEN PERFORM identify(ARRAY['user_id:u' || coalesce((SELECT p.profile_id FROM profile p WHERE p.canonical_id <> p.profile_id ORDER BY hashint8(p.profile_id + r) LIMIT 1), a)]::identifier[], jsonb_build_object('city', (ARRAY['Ulm', '上海', 'a "b"', '', 'Jena'])[1 + b % 5], 'ok', b % 3 = 0), '2026-02-01'::timestamptz + (r & 1023) * interval '1 hour');
			ELSE PERFORM set_trait(a, 'city', to_jsonb((ARRAY['Ulm', '上海', 'a "b"', '', 'Jena'])[1 + b % 5]), '2026-02-01'::timestamptz + (r & 1023) * interval '1 hour');
		END CASE;
		IF i % 20 = 0 THEN
			RETURN QUERY SELECT format('%s: %s', i, w) FROM wrong('2026-06-01') w;
		END IF;
	END LOOP;
END
$$;
SELECT c FROM generate_series(1, 2) seed, changes(seed, 200) c LIMIT 10;
SELECT count(*) > 5 AS merges FROM profile_merge;
-- another rule: the tags go, and come back
UPDATE trait_rule SET survivorship = 'max' WHERE name = 'city';
SELECT * FROM wrong('2026-06-01');
SELECT count(*) > 0 AS ticked FROM tick('2026-06-01');
SELECT * FROM wrong('2026-06-01');
UPDATE trait_rule SET searchable = false WHERE name = 'city';
SELECT count(*) > 0 AS ticked FROM tick('2026-06-01');
SELECT count(*) FROM tag_chunk WHERE tag ~ '^\u0001trait:city';
SELECT * FROM wrong('2026-06-01');

SET client_min_messages = warning;
DROP FUNCTION changes, wrong;
