/* 15_seeded: rows that the extension brings along
 *
 * A rule table holds seeded rows (seeded = true) and users' rows.  A user's
 * row with the same key overrides the seeded one, and only users' rows are
 * dumped: the seeds come back with CREATE EXTENSION, possibly improved.  So a
 * seeded row is never changed: UPDATE on it makes the user's row instead, and
 * DELETE is refused.
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

