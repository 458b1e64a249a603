/* 28_identity_import: who is who, from a query of pairs
 *
 * Pairs are stitched together in batches (src/store/stitch_many.c); those in
 * which a rule has a say, or which merge profiles, go one by one after the others
 * of their batch.  What cannot be taken goes to table rejected.
 */

CREATE FUNCTION cdp._stitch_pairs(a text[], b text[], at timestamptz, source text, kind text, alone boolean, identifier regtype) RETURNS int[]
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__stitch_pairs';
COMMENT ON FUNCTION cdp._stitch_pairs(text[], text[], timestamptz, text, text, boolean, regtype)
	IS 'stitches those pairs that are plain; returns the positions of the others';

CREATE FUNCTION cdp._import_pairs_once(a text[], b text[], at timestamptz, source text, kind text, alone boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	rest int[];
	nr int;
	names text[];
	refused bigint := 0;
	what text;
	which text;
BEGIN
	FOR attempt IN 1 .. 10 LOOP
		BEGIN
			rest := cdp._stitch_pairs(a, b, at, source, kind, alone, 'cdp.identifier');
			EXIT;
		EXCEPTION WHEN SQLSTATE 'CDP02' OR deadlock_detected THEN
			-- another session was first with something: look again
			GET STACKED DIAGNOSTICS what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		PERFORM cdp._await(what, which);
	END LOOP;
	IF rest IS NULL THEN
		PERFORM cdp._lock_identities(true);
		rest := ARRAY(SELECT generate_series(1, cardinality(a)));
	END IF;
	FOREACH nr IN ARRAY rest LOOP
		names := array_remove(array_remove(ARRAY[a[nr], b[nr]], NULL), '');
		CONTINUE WHEN names = '{}';
		BEGIN
			PERFORM cdp._stitch(names::cdp.identifier[], kind, at, source);
		EXCEPTION WHEN OTHERS THEN
			IF sqlstate ~ '^(40|53|55P03|57|58)' THEN
				RAISE;
			END IF;
			INSERT INTO cdp.rejected (payload, reason, sqlstate, at)
			VALUES (cdp._rejected_payload(jsonb_strip_nulls(jsonb_build_object('type', 'identify', 'identifiers', names, 'source', source,
						'timestamp', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))), sqlerrm, sqlstate, at);
			refused := refused + 1;
		END;
	END LOOP;
	RETURN refused;
END
$$;
COMMENT ON FUNCTION cdp._import_pairs_once(text[], text[], timestamptz, text, text, boolean) IS 'an attempt at _import_pairs';

CREATE FUNCTION cdp._import_pairs(a text[], b text[], at timestamptz, source text, kind text, alone boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	FOR attempt IN 1 .. 100 LOOP
		BEGIN
			RETURN cdp._import_pairs_once(a, b, at, source, kind, alone OR attempt > 1);
		EXCEPTION WHEN deadlock_detected THEN
			PERFORM cdp._open_circle(attempt);
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._import_pairs(text[], text[], timestamptz, text, text, boolean) IS 'stitches pairs of identifiers; returns how many were put aside';

CREATE FUNCTION cdp.import_identities(query text, source text DEFAULT NULL, kind text DEFAULT 'person', at timestamptz DEFAULT now(),
									  OUT accepted bigint, OUT rejected bigint)
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_import_identities';
COMMENT ON FUNCTION cdp.import_identities(text, text, text, timestamptz)
	IS 'takes the rows of a query, two columns, as identifiers of one profile each; bad ones go to table rejected';
