/* 15_seeded: rows that the extension brings along
 *
 * A rule table holds seeded rows (seeded = true) and users' rows.  A user's
 * row with the same key overrides the seeded one, and only users' rows are
 * dumped: the seeds come back with CREATE EXTENSION, possibly improved.  So a
 * seeded row is never changed: UPDATE on it makes the user's row instead, and
 * DELETE is refused.
 *
 * What a user's row does not say is as in the seeded row with the same key:
 * overriding one column must not change the others.  Columns of that kind have
 * no DEFAULT but the trigger seeded_defaults (those of which every seeded row
 * holds the default do not need it).
 */

CREATE FUNCTION cdp._keep_seeded() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('cannot delete a seeded row of table "%s"', TG_TABLE_NAME),
			HINT = 'Insert a row with the same key to override it.';
	END IF;
	NEW.seeded := false;
	-- An UPDATE that covers both rows finds the user's one by itself.
	EXECUTE format('INSERT INTO %s SELECT ($1).* ON CONFLICT DO NOTHING', TG_RELID::regclass) USING NEW;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._keep_seeded() IS 'trigger: an UPDATE of a seeded row inserts the overriding user''s row, a DELETE is refused';

CREATE FUNCTION cdp._seeded_defaults() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	known	jsonb;
	said	jsonb := to_jsonb(NEW);
	patch	jsonb := '{}';
BEGIN
	EXECUTE format('SELECT to_jsonb(s) FROM %s s WHERE s.seeded AND s.%I = ($1).%2$I', TG_RELID::regclass, TG_ARGV[0]) INTO known USING NEW;
	FOR i IN 1 .. TG_NARGS - 2 BY 2 LOOP
		IF said -> TG_ARGV[i] = 'null' THEN
			patch := patch || jsonb_build_object(TG_ARGV[i], coalesce(known -> TG_ARGV[i], to_jsonb(nullif(TG_ARGV[i + 1], 'null'))));
		END IF;
	END LOOP;
	RETURN jsonb_populate_record(NEW, patch);
END
$$;
COMMENT ON FUNCTION cdp._seeded_defaults()
	IS 'trigger (key column, column, default, column, default …): columns that a row leaves out are as in the seeded row with the same key, or else the default';
