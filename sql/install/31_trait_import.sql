/* 31_trait_import: traits of many profiles from a query
 *
 * Rows are taken together; only when that raises an error are they split
 * until the one that raised is alone, as messages are (24_ingest).
 */

CREATE FUNCTION cdp._trait_rows(rows jsonb[], source text, at timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	n		int := cardinality(rows);
	fields	jsonb;
	said	timestamptz;
	leaf	bigint;
	who		record;
	leaves	bigint[] := '{}';
	traits	jsonb[] := '{}';
	ats		timestamptz[] := '{}';
BEGIN
	FOREACH fields IN ARRAY rows LOOP
		said := CASE WHEN fields ? 'at' THEN cdp._iso_time(fields ->> 'at') ELSE at END;
		IF said IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'invalid_datetime_format', MESSAGE = format('"at" is not a time: "%s"', fields ->> 'at');
		END IF;
		leaf := NULL;
		IF coalesce(jsonb_typeof(fields -> 'profile_id'), 'null') <> 'null' THEN
			SELECT p.canonical_id INTO leaf FROM cdp.profile p WHERE p.profile_id = (fields ->> 'profile_id')::bigint;
			IF leaf IS NULL THEN
				RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s does not exist', fields ->> 'profile_id');
			END IF;
		ELSE
			SELECT s.* INTO STRICT who
			FROM cdp._stitch(cdp._row_identifiers(fields, '{}')::cdp.identifier[], NULL, said, source) s;
			leaf := who.leaf_id;
		END IF;
		leaves := leaves || leaf;
		traits := traits || jsonb_strip_nulls(fields - '{profile_id,identifier,identifiers,at}'::text[]);
		ats := ats || said;
	END LOOP;
	PERFORM cdp._lock_owners(leaves, true);		-- as mcdp_messages_lock
	PERFORM cdp._set_traits(leaves, traits, ats, array_fill(source, ARRAY[n]), false);
	RETURN n;
EXCEPTION WHEN OTHERS THEN
	-- not the row's fault
	IF sqlstate ~ '^(40|53|55P03|57|58)' THEN
		RAISE;
	ELSIF n > 1 THEN
		RETURN cdp._trait_rows(rows[: n / 2], source, at) + cdp._trait_rows(rows[n / 2 + 1 :], source, at);
	END IF;
	INSERT INTO cdp.rejected (payload, reason, sqlstate, at) VALUES (cdp._rejected_payload(rows[1]), sqlerrm, sqlstate, at);
	RETURN 0;
END
$$;
COMMENT ON FUNCTION cdp._trait_rows(jsonb[], text, timestamptz) IS 'gives profiles the traits of these rows; a bad one goes to table rejected; returns how many were taken';

CREATE FUNCTION cdp._set_traits_from(query text, source text, at timestamptz, path text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	row_cursor	refcursor := cdp._open_query(query, path);
	rows		jsonb[];
	done		bigint := 0;
BEGIN
	IF at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'at must not be null';
	ELSIF NOT isfinite(at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	END IF;
	PERFORM cdp._lock_identities(true);			-- people in the order of the rows
	LOOP
		rows := cdp._fetch_rows(row_cursor, path, 1000);
		EXIT WHEN rows = '{}';
		IF NOT rows[1] ?| '{profile_id,identifier,identifiers}' THEN
			RAISE EXCEPTION USING ERRCODE = 'undefined_column', MESSAGE = 'the query has no column that names somebody',
				HINT = 'Call it profile_id, identifier or identifiers.';
		END IF;
		FOR attempt IN 1 .. 100 LOOP
			BEGIN
				done := done + cdp._trait_rows(rows, source, at);
				EXIT;
			EXCEPTION WHEN deadlock_detected THEN
				PERFORM cdp._open_circle(attempt);
			END;
		END LOOP;
	END LOOP;
	CLOSE row_cursor;
	RETURN done;
END
$$;
COMMENT ON FUNCTION cdp._set_traits_from(text, text, timestamptz, text) IS 'set_traits with the search_path under which the query is read';

CREATE FUNCTION cdp.set_traits(query text, source text, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT cdp._set_traits_from(set_traits.query, set_traits.source, set_traits.at, current_setting('search_path'));
END;
COMMENT ON FUNCTION cdp.set_traits(text, text, timestamptz)
	IS 'traits from a query: a row is a profile (profile_id, identifier or identifiers), every other column but at a trait; bad rows go to table rejected; returns how many rows were taken';
