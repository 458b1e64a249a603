-- What one would write by hand: identifiers and profiles in two tables, a forest of profiles kept flat.  Same guarantees under concurrency as
-- identify(): advisory locks on the identifiers in order, then the profiles in order of id, then a second look.  It keeps neither evidence nor
-- a record of its merges, knows no rules, and rewrites the identifiers of the profile that gives way.
CREATE TABLE hand_profile (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, merged_into bigint, merged_at timestamptz) WITH (fillfactor = 80);
CREATE TABLE hand_identifier (kind smallint NOT NULL, value text NOT NULL, profile_id bigint NOT NULL, PRIMARY KEY (kind, value)) WITH (fillfactor = 80);
CREATE INDEX ON hand_identifier (profile_id);
CREATE FUNCTION hand_identify(anon text, mail text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	pa bigint; pm bigint; keep bigint; gone bigint;
BEGIN
	SELECT a.profile_id, m.profile_id INTO pa, pm FROM hand_identifier a, hand_identifier m WHERE a.kind = 1 AND a.value = anon AND m.kind = 2 AND m.value = mail;
	IF pa = pm THEN RETURN pa; END IF;
	PERFORM pg_advisory_xact_lock(least(hashtextextended('1' || anon, 0), hashtextextended('2' || mail, 0)));
	PERFORM pg_advisory_xact_lock(greatest(hashtextextended('1' || anon, 0), hashtextextended('2' || mail, 0)));
	LOOP
		SELECT profile_id INTO pa FROM hand_identifier WHERE kind = 1 AND value = anon;
		SELECT profile_id INTO pm FROM hand_identifier WHERE kind = 2 AND value = mail;
		IF pa IS NULL AND pm IS NULL THEN
			INSERT INTO hand_profile DEFAULT VALUES RETURNING id INTO keep;
			INSERT INTO hand_identifier VALUES (1, anon, keep), (2, mail, keep);
			RETURN keep;
		ELSIF pa = pm THEN
			RETURN pa;
		END IF;
		PERFORM FROM hand_profile WHERE id IN (pa, pm) ORDER BY id FOR UPDATE;
		CONTINUE WHEN EXISTS (SELECT FROM hand_profile WHERE id IN (pa, pm) AND merged_into IS NOT NULL);
		IF pa IS NULL THEN
			INSERT INTO hand_identifier VALUES (1, anon, pm); RETURN pm;
		ELSIF pm IS NULL THEN
			INSERT INTO hand_identifier VALUES (2, mail, pa); RETURN pa;
		END IF;
		keep := least(pa, pm); gone := greatest(pa, pm);
		UPDATE hand_identifier SET profile_id = keep WHERE profile_id = gone;
		UPDATE hand_profile SET merged_into = keep, merged_at = now() WHERE id = gone;
		RETURN keep;
	END LOOP;
END $$;
-- the same people on both sides, one anonymous id and one address each
INSERT INTO hand_profile (merged_into) SELECT NULL FROM generate_series(1, :profiles);
INSERT INTO hand_identifier SELECT 1, 'anon-' || md5(g::text), g FROM generate_series(1, :profiles) g;
INSERT INTO hand_identifier SELECT 2, 'user' || g || '@example.com', g FROM generate_series(1, :profiles) g;
