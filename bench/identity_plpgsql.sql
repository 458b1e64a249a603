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
-- the same people on both sides, two anonymous ids and one address each
INSERT INTO hand_profile (merged_into) SELECT NULL FROM generate_series(1, :profiles);
INSERT INTO hand_identifier SELECT 1, 'anon-' || md5(g::text), g FROM generate_series(1, :profiles) g;
INSERT INTO hand_identifier SELECT 2, 'user' || g || '@example.com', g FROM generate_series(1, :profiles) g;
INSERT INTO hand_identifier SELECT 1, 'visitor-' || g, g FROM generate_series(1, :profiles) g;

-- The same with what identify() guarantees: values in one form, evidence for every link, a record of every merge with what it moved, values that link
-- nobody, values and pairs that somebody has ruled out.  It is spared what identify() does besides: limits and priorities per namespace (ours asks a
-- copy in memory), calls that come late (at, source), kinds, secrecy of erased identifiers (hashes), and the rows that tell segments, stages and timelines
-- of new and merged profiles: no other part of such a system is there.  Unlike identify() it rewrites the identifiers of the profile that gives way.
CREATE TABLE audited_profile (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, merged_into bigint, merged_at timestamptz) WITH (fillfactor = 80);
CREATE TABLE audited_identifier (kind smallint NOT NULL, value text NOT NULL, profile_id bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (kind, value)) WITH (fillfactor = 80);
CREATE INDEX ON audited_identifier (profile_id);
CREATE TABLE audited_evidence (anon text NOT NULL, mail text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (anon, mail));
CREATE TABLE audited_merge (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, survivor bigint NOT NULL, merged bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), anon text NOT NULL, mail text NOT NULL, moved text[] NOT NULL);
CREATE INDEX ON audited_merge (survivor);
CREATE INDEX ON audited_merge (merged);
CREATE TABLE audited_refused (kind smallint NOT NULL, value text NOT NULL, reason text NOT NULL, PRIMARY KEY (kind, value));	-- in quarantine, or erased
CREATE TABLE audited_apart (a bigint NOT NULL, b bigint NOT NULL, reason text, PRIMARY KEY (a, b));	-- never to be merged
CREATE FUNCTION audited_identify(anon text, mail text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	pa bigint; pm bigint; keep bigint; gone bigint; moved text[];
BEGIN
	anon := btrim(anon); mail := lower(btrim(mail));
	SELECT a.profile_id, m.profile_id INTO pa, pm FROM audited_identifier a, audited_identifier m WHERE a.kind = 1 AND a.value = anon AND m.kind = 2 AND m.value = mail
		AND EXISTS (SELECT FROM audited_evidence e WHERE e.anon = audited_identify.anon AND e.mail = audited_identify.mail);
	IF pa = pm THEN RETURN pa; END IF;
	IF anon ~* '^(null|undefined|unknown|anonymous|guest|-1|0+|n/?a)$' OR mail ~* '^((null|none|undefined|unknown|anonymous)@.*|null|undefined|-1|0+|n/?a)$' THEN
		RAISE EXCEPTION 'blocked';
	ELSIF anon = '' OR mail !~ '^[^@[:space:]]+@[^@[:space:]]+$' THEN
		RAISE EXCEPTION 'no identifier';
	ELSIF EXISTS (SELECT FROM audited_refused r WHERE (r.kind, r.value) IN ((1, anon), (2, mail))) THEN
		RAISE EXCEPTION 'refused';
	END IF;
	PERFORM pg_advisory_xact_lock(least(hashtextextended('1' || anon, 0), hashtextextended('2' || mail, 0)));
	PERFORM pg_advisory_xact_lock(greatest(hashtextextended('1' || anon, 0), hashtextextended('2' || mail, 0)));
	LOOP
		SELECT profile_id INTO pa FROM audited_identifier WHERE kind = 1 AND value = anon;
		SELECT profile_id INTO pm FROM audited_identifier WHERE kind = 2 AND value = mail;
		IF pa IS NULL AND pm IS NULL THEN
			INSERT INTO audited_profile DEFAULT VALUES RETURNING id INTO keep;
			INSERT INTO audited_identifier VALUES (1, anon, keep), (2, mail, keep);
			INSERT INTO audited_evidence VALUES (anon, mail) ON CONFLICT DO NOTHING;
			RETURN keep;
		END IF;
		PERFORM FROM audited_profile WHERE id IN (pa, pm) ORDER BY id FOR UPDATE;
		CONTINUE WHEN EXISTS (SELECT FROM audited_profile WHERE id IN (pa, pm) AND merged_into IS NOT NULL);
		INSERT INTO audited_evidence VALUES (anon, mail) ON CONFLICT DO NOTHING;
		IF pa = pm THEN
			RETURN pa;
		ELSIF pa IS NULL THEN
			INSERT INTO audited_identifier VALUES (1, anon, pm); RETURN pm;
		ELSIF pm IS NULL THEN
			INSERT INTO audited_identifier VALUES (2, mail, pa); RETURN pa;
		END IF;
		keep := least(pa, pm); gone := greatest(pa, pm);
		IF EXISTS (SELECT FROM audited_apart x WHERE x.a = keep AND x.b = gone) THEN
			RAISE EXCEPTION 'never to be merged';
		END IF;
		WITH u AS (UPDATE audited_identifier SET profile_id = keep WHERE profile_id = gone RETURNING kind || ':' || value AS name)
		SELECT array_agg(name) INTO moved FROM u;
		UPDATE audited_profile SET merged_into = keep, merged_at = now() WHERE id = gone;
		INSERT INTO audited_merge (survivor, merged, anon, mail, moved) VALUES (keep, gone, anon, mail, moved);
		RETURN keep;
	END LOOP;
END $$;
INSERT INTO audited_profile (merged_into) SELECT NULL FROM generate_series(1, :profiles);
INSERT INTO audited_identifier SELECT 1, 'anon-' || md5(g::text), g FROM generate_series(1, :profiles) g;
INSERT INTO audited_identifier SELECT 2, 'user' || g || '@example.com', g FROM generate_series(1, :profiles) g;
INSERT INTO audited_evidence SELECT 'anon-' || md5(g::text), 'user' || g || '@example.com' FROM generate_series(1, :profiles) g;
INSERT INTO audited_identifier SELECT 1, 'visitor-' || g, g FROM generate_series(1, :profiles) g;
INSERT INTO audited_evidence SELECT 'visitor-' || g, 'user' || g || '@example.com' FROM generate_series(1, :profiles) g;
