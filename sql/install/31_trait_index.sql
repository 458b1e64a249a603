/* 31_trait_index: numbers and dates as bit slices
 *
 * For traits that trait_rule calls searchable and of type number or date:
 * who lies in a range, and sums, quantiles and the like of an audience,
 * without reading profiles' rows.  src/core/bit_slice.h says what stands in
 * the slices, which are cut into chunks as tags are.
 *
 * A row of trait_pending names a profile, canonical or not, whose number may
 * be another one now.  Readers look such profiles up themselves (and whoever
 * they were merged into) instead of reading the slices; folding does the same
 * once and deletes the row.  Triggers on trait_value and profile write it, so
 * nobody who changes a trait or merges needs to know of slices, and merging
 * and unmerging need nothing more.
 *
 * Locks: a row of trait_pending is taken after trait_value's and held until
 * the change is there (an existing one is locked too): a fold that has not
 * seen the change leaves it.  A merge names only traits that the profile is seen to have by then: one
 * that it gets meanwhile is not folded before the merge is over (_held_profiles).  Undoing one
 * names all.  Whoever writes slices has locked the row of
 * trait_index.  An index begins (form NULL) when nobody is at changing traits
 * or merging: from then on, everybody fills trait_pending.
 *
 * All three tables are derived and not dumped: a restored database makes them
 * anew.
 */

CREATE TABLE cdp.trait_index (
	trait			text COLLATE "C" PRIMARY KEY,
	type			text NOT NULL,
	survivorship	text NOT NULL,
	form			smallint,
	state			text NOT NULL DEFAULT 'begun',
	CONSTRAINT trait_index_state_check CHECK (state IN ('begun', 'built', 'unfit'))
);
COMMENT ON TABLE cdp.trait_index IS 'traits of which slices are kept, and what for; kept by tick';
COMMENT ON COLUMN cdp.trait_index.form IS 'how numbers stand in the slices (src/core/bit_slice.h); NULL: they are not to be used';
COMMENT ON COLUMN cdp.trait_index.state IS 'begun, built, or unfit: some instant is too fine for slices';

CREATE TABLE cdp.trait_slice (
	trait	text COLLATE "C" NOT NULL,
	slice	smallint NOT NULL,
	chunk	bigint NOT NULL,
	members	bytea NOT NULL,
	PRIMARY KEY (trait, slice, chunk)
);
ALTER TABLE cdp.trait_slice ALTER COLUMN trait SET STORAGE PLAIN, ALTER COLUMN members SET STORAGE PLAIN;
COMMENT ON TABLE cdp.trait_slice IS 'bit slices of traits, 2^15 profile ids to a row';

CREATE TABLE cdp.trait_pending (
	trait		text COLLATE "C" NOT NULL,
	profile_id	bigint NOT NULL,
	since		timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (trait, profile_id)
);
COMMENT ON TABLE cdp.trait_pending IS 'profiles whose number may not be what the slices say';
COMMENT ON COLUMN cdp.trait_pending.since IS 'how long the row has been waiting, for status; decides nothing';

CREATE FUNCTION cdp._queue_traits() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mcdp__queue_traits';
COMMENT ON FUNCTION cdp._queue_traits() IS 'trigger: notes whose indexed traits a statement changed';
CREATE TRIGGER trait_value_queue_insert AFTER INSERT ON cdp.trait_value
	REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION cdp._queue_traits();
CREATE TRIGGER trait_value_queue_update AFTER UPDATE ON cdp.trait_value
	REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION cdp._queue_traits();
CREATE TRIGGER trait_value_queue_delete AFTER DELETE ON cdp.trait_value
	REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION cdp._queue_traits();

CREATE FUNCTION cdp._queue_merged_traits() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mcdp__queue_merged_traits';
COMMENT ON FUNCTION cdp._queue_merged_traits() IS 'trigger: notes whose indexed traits a merge changed, or undoing one';
CREATE TRIGGER profile_queue_traits AFTER UPDATE OF canonical_id ON cdp.profile
	FOR EACH ROW WHEN (OLD.canonical_id <> NEW.canonical_id) EXECUTE FUNCTION cdp._queue_merged_traits();


CREATE FUNCTION cdp._held_profiles(ids bigint[]) RETURNS bigint[]
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__held_profiles';
COMMENT ON FUNCTION cdp._held_profiles(bigint[]) IS 'those whose rows other transactions have locked or changed';

-- Whatever the leaves have: what they get from a call under way may have been folded for the profile that they were.
CREATE FUNCTION cdp._unmerge_traits(leaves bigint[]) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
BEGIN ATOMIC
	INSERT INTO cdp.trait_pending AS p (trait, profile_id)
	SELECT i.trait, l FROM cdp.trait_index i, unnest(leaves) l ORDER BY 1, 2
	ON CONFLICT (trait, profile_id) DO UPDATE SET profile_id = excluded.profile_id WHERE false;
END;
COMMENT ON FUNCTION cdp._unmerge_traits(bigint[]) IS 'part of unmerge: numbers and texts of all leaves are to be looked at';

-- keeping

CREATE FUNCTION cdp._build_trait(trait text, dates boolean) RETURNS smallint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__build_trait';
COMMENT ON FUNCTION cdp._build_trait(text, boolean) IS 'writes the slices of a trait that has none; their form, NULL when its instants are too fine';

CREATE FUNCTION cdp._fold_trait(trait text, dates boolean, form smallint, profiles bigint[]) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__fold_trait';
COMMENT ON FUNCTION cdp._fold_trait(text, boolean, smallint, bigint[]) IS 'puts the numbers of these profiles into the slices; false, with nothing done, when one does not fit their form';

-- False when somebody would have to be waited for too long.
CREATE FUNCTION cdp._begin_trait_index(trait text) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET lock_timeout = '300ms' AS $$
#variable_conflict use_column
BEGIN
	-- A tick is waited for by those whom it would have to wait for.
	IF EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.relation = 'cdp.profile_merge'::regclass AND l.mode = 'ShareRowExclusiveLock') THEN
		LOCK TABLE cdp.profile, cdp.trait_value IN SHARE MODE NOWAIT;
	END IF;
	LOCK TABLE cdp.profile IN SHARE MODE;
	LOCK TABLE cdp.trait_value IN SHARE MODE;
	INSERT INTO cdp.trait_index (trait, type, survivorship)
	SELECT r.name, r.type, r.survivorship FROM cdp.trait_rule r WHERE r.name = _begin_trait_index.trait
	ON CONFLICT DO NOTHING;
	RETURN true;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION cdp._begin_trait_index(text) IS 'from the commit on, changes of the trait are queued';

CREATE FUNCTION cdp._rebuild_trait_index(trait text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	new_form smallint;
BEGIN
	DELETE FROM cdp.trait_slice s WHERE s.trait = _rebuild_trait_index.trait;
	DELETE FROM cdp.trait_pending p
	USING (SELECT q.profile_id FROM cdp.trait_pending q WHERE q.trait = _rebuild_trait_index.trait FOR UPDATE SKIP LOCKED) q
	WHERE p.trait = _rebuild_trait_index.trait AND p.profile_id = q.profile_id;
	-- A new statement: it sees what was committed before the rows were locked.
	IF EXISTS (SELECT FROM cdp.trait_index i WHERE i.trait = _rebuild_trait_index.trait AND i.type IN ('text', 'boolean')) THEN
		PERFORM cdp._build_text_trait(_rebuild_trait_index.trait);
		UPDATE cdp.trait_index i SET state = 'built' WHERE i.trait = _rebuild_trait_index.trait;
		RETURN;
	END IF;
	new_form := (SELECT cdp._build_trait(i.trait, i.type = 'date') FROM cdp.trait_index i WHERE i.trait = _rebuild_trait_index.trait);
	UPDATE cdp.trait_index i SET form = new_form, state = CASE WHEN new_form IS NULL THEN 'unfit' ELSE 'built' END
	WHERE i.trait = _rebuild_trait_index.trait;
END
$$;
COMMENT ON FUNCTION cdp._rebuild_trait_index(text) IS 'makes the slices of a trait anew; the caller has locked its row of trait_index';

CREATE FUNCTION cdp._drop_trait_index(trait text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	DELETE FROM cdp.trait_slice s WHERE s.trait = _drop_trait_index.trait;
	DELETE FROM cdp.trait_index i WHERE i.trait = _drop_trait_index.trait;
	DELETE FROM cdp.trait_pending p WHERE p.trait = _drop_trait_index.trait;
	PERFORM cdp._drop_text_trait(_drop_trait_index.trait);
END
$$;
COMMENT ON FUNCTION cdp._drop_trait_index(text) IS 'no slices of this trait any more';

-- The tags of a text would show personal data to all who may read tags.
CREATE FUNCTION cdp._is_indexed(rule cdp.trait_rule) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN NOT (rule.pii AND rule.type IN ('text', 'boolean'));
COMMENT ON FUNCTION cdp._is_indexed(cdp.trait_rule) IS 'is something kept for a searchable trait of this kind?';

-- One thing a call: drop, begin, build or fold, so that run commits between.
CREATE FUNCTION cdp._fold_traits(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	t record;
	ids bigint[];
BEGIN
	done := 0;
	FOR t IN
		SELECT i.trait FROM cdp.trait_index i
		WHERE NOT EXISTS (SELECT FROM cdp.trait_rule r WHERE r.name = i.trait AND r.searchable
						  AND r.type = i.type AND r.survivorship = i.survivorship AND cdp._is_indexed(r))
		ORDER BY i.trait LIMIT 1 FOR UPDATE SKIP LOCKED
	LOOP
		PERFORM cdp._drop_trait_index(t.trait);
		done := 1;
	END LOOP;
	IF done = 0 THEN
		FOR t IN
			SELECT r.name FROM cdp.trait_rule r
			WHERE r.searchable AND cdp._is_indexed(r) AND NOT EXISTS (SELECT FROM cdp.trait_index i WHERE i.trait = r.name)
			ORDER BY r.name LIMIT 1
		LOOP
			done := cdp._begin_trait_index(t.name)::int;
		END LOOP;
	END IF;
	IF done = 0 THEN
		FOR t IN SELECT i.trait FROM cdp.trait_index i WHERE i.state = 'begun' ORDER BY i.trait LIMIT 1 FOR UPDATE SKIP LOCKED LOOP
			PERFORM cdp._rebuild_trait_index(t.trait);
			done := 1;
		END LOOP;
	END IF;
	IF done = 0 THEN
		FOR t IN
			SELECT i.trait, i.type, i.type = 'date' AS dates, i.form FROM cdp.trait_index i
			WHERE i.state <> 'begun' AND EXISTS (SELECT FROM cdp.trait_pending p WHERE p.trait = i.trait)
			ORDER BY i.trait LIMIT 1 FOR UPDATE SKIP LOCKED
		LOOP
			-- Neighbours together: they share chunks.
			SELECT array_agg(l.profile_id) INTO ids
			FROM (SELECT p.profile_id FROM cdp.trait_pending p WHERE p.trait = t.trait
				  ORDER BY p.profile_id LIMIT max_rows FOR UPDATE SKIP LOCKED) l;
			ids := ARRAY(SELECT unnest(ids) EXCEPT SELECT unnest(cdp._held_profiles(ids)) ORDER BY 1);
			DELETE FROM cdp.trait_pending p WHERE p.trait = t.trait AND p.profile_id = ANY (ids);
			done := coalesce(cardinality(ids), 0);
			-- A new statement: it sees what was committed before the rows were locked.
			IF t.type IN ('text', 'boolean') THEN
				PERFORM cdp._fold_text_trait(t.trait, ids);
			ELSIF t.form IS NOT NULL AND done > 0 AND NOT cdp._fold_trait(t.trait, t.dates, t.form, ids) THEN
				PERFORM cdp._rebuild_trait_index(t.trait);
			END IF;
		END LOOP;
	END IF;
	SELECT coalesce(greatest(_fold_traits.now - min(p.since), interval '0'), interval '0') INTO lag FROM cdp.trait_pending p;
END
$$;
COMMENT ON FUNCTION cdp._fold_traits(timestamptz, int) IS 'task: keeps the slices of searchable traits';

CREATE FUNCTION cdp._rebuild_trait_indexes() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	t record;
	n bigint := 0;
BEGIN
	FOR t IN SELECT i.trait FROM cdp.trait_index i ORDER BY i.trait FOR UPDATE LOOP
		PERFORM cdp._rebuild_trait_index(t.trait);
		n := n + 1;
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION cdp._rebuild_trait_indexes() IS 'makes all slices anew; returns of how many traits';

-- asking

CREATE FUNCTION cdp.trait_count(name text, audience cdp.bitmap DEFAULT NULL) RETURNS bigint
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_count';
COMMENT ON FUNCTION cdp.trait_count(text, cdp.bitmap) IS 'how many of an audience (NULL = all) have a number as this trait';

CREATE FUNCTION cdp.trait_sum(name text, audience cdp.bitmap DEFAULT NULL) RETURNS double precision
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_sum';
COMMENT ON FUNCTION cdp.trait_sum(text, cdp.bitmap) IS 'sum of a trait over an audience (NULL = all); NULL of nobody';

CREATE FUNCTION cdp.trait_avg(name text, audience cdp.bitmap DEFAULT NULL) RETURNS double precision
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_avg';
COMMENT ON FUNCTION cdp.trait_avg(text, cdp.bitmap) IS 'mean of a trait over those of an audience (NULL = all) who have it';

CREATE FUNCTION cdp.trait_min(name text, audience cdp.bitmap DEFAULT NULL) RETURNS double precision
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_min';
COMMENT ON FUNCTION cdp.trait_min(text, cdp.bitmap) IS 'least value of a trait in an audience (NULL = all)';

CREATE FUNCTION cdp.trait_max(name text, audience cdp.bitmap DEFAULT NULL) RETURNS double precision
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_max';
COMMENT ON FUNCTION cdp.trait_max(text, cdp.bitmap) IS 'greatest value of a trait in an audience (NULL = all)';

CREATE FUNCTION cdp.trait_first_date(name text, audience cdp.bitmap DEFAULT NULL) RETURNS date
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_first_date';
COMMENT ON FUNCTION cdp.trait_first_date(text, cdp.bitmap) IS 'earliest day (UTC) of a trait of type date in an audience (NULL = all)';

CREATE FUNCTION cdp.trait_last_date(name text, audience cdp.bitmap DEFAULT NULL) RETURNS date
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_last_date';
COMMENT ON FUNCTION cdp.trait_last_date(text, cdp.bitmap) IS 'latest day (UTC) of a trait of type date in an audience (NULL = all)';

CREATE FUNCTION cdp.trait_quantile(name text, fraction double precision, audience cdp.bitmap DEFAULT NULL) RETURNS double precision
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_quantile';
COMMENT ON FUNCTION cdp.trait_quantile(text, double precision, cdp.bitmap) IS 'quantile of a trait in an audience (NULL = all), linear between neighbours';

CREATE FUNCTION cdp.trait_quantile(name text, fractions double precision[], audience cdp.bitmap DEFAULT NULL) RETURNS double precision[]
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_quantiles';
COMMENT ON FUNCTION cdp.trait_quantile(text, double precision[], cdp.bitmap) IS 'several quantiles of a trait in an audience (NULL = all)';

CREATE FUNCTION cdp.trait_top(name text, n int, audience cdp.bitmap DEFAULT NULL, OUT profile_id bigint, OUT value double precision) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'mcdp_trait_top';
COMMENT ON FUNCTION cdp.trait_top(text, int, cdp.bitmap) IS 'the n of an audience (NULL = all) with the greatest values, descending; equal ones by ascending profile';

CREATE FUNCTION cdp.trait_range(name text, since double precision, until double precision) RETURNS cdp.bitmap
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_between';
COMMENT ON FUNCTION cdp.trait_range(text, double precision, double precision) IS 'the profiles whose trait lies in [since, until); NULL = no limit';

CREATE FUNCTION cdp.trait_range(name text, since date, until date) RETURNS cdp.bitmap
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_trait_between_dates';
COMMENT ON FUNCTION cdp.trait_range(text, date, date) IS 'the profiles whose trait of type date lies in [since, until); NULL = no limit';
