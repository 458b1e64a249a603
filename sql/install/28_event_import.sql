/* 28_event_import: history from a query
 *
 * The query is the caller's: it runs with the caller's rights and search_path,
 * as a subquery under a cursor, so it is one SELECT whatever its text says.
 * Its rows become messages and take the way of ingest_inbox.
 */

CREATE FUNCTION cdp._open_query(query text, path text) RETURNS refcursor
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	row_cursor refcursor;
BEGIN
	IF query IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'query must not be null';
	END IF;
	query := format(E'SELECT pg_catalog.to_jsonb(q) FROM (%s\n) AS q', regexp_replace(query, ';\s*$', ''));
	PERFORM set_config('search_path', path, true);		-- till the end of this function
	OPEN row_cursor FOR EXECUTE query;
	RETURN row_cursor;
END
$$;
COMMENT ON FUNCTION cdp._open_query(text, text) IS 'a cursor over the rows of a query, each as a JSON object; names in it mean what they mean under this search_path';

-- The query runs as rows are fetched, and what it calls looks its names up on
-- the caller's path too.  So nothing here depends on the path.
CREATE FUNCTION cdp._fetch_rows(row_cursor refcursor, path text, max_rows int) RETURNS jsonb[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	fields pg_catalog.jsonb;
	rows pg_catalog.jsonb[] := '{}';
BEGIN
	PERFORM set_config('search_path', path, true);
	WHILE pg_catalog.cardinality(rows) OPERATOR(pg_catalog.<) max_rows LOOP
		FETCH row_cursor INTO fields;
		EXIT WHEN NOT FOUND;
		rows := pg_catalog.array_append(rows, fields);
	END LOOP;
	RETURN rows;
END
$$;
COMMENT ON FUNCTION cdp._fetch_rows(refcursor, text, int) IS 'the next rows of _open_query; {} at the end';

CREATE FUNCTION cdp._row_identifiers(fields jsonb, namespaces text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(fields -> 'identifiers')
		WHEN 'array' THEN ARRAY(SELECT i FROM jsonb_array_elements_text(fields -> 'identifiers') i WHERE btrim(i) <> '')
		ELSE '{}' END
	|| array_remove(ARRAY[cdp._json_id(fields -> 'identifier')], NULL)
	|| ARRAY(SELECT n.name || ':' || cdp._json_id(fields -> n.name)
			 FROM unnest(namespaces) WITH ORDINALITY n (name, nr)
			 WHERE cdp._json_id(fields -> n.name) IS NOT NULL ORDER BY n.nr);
COMMENT ON FUNCTION cdp._row_identifiers(jsonb, text[]) IS 'what names somebody in a row: columns identifiers and identifier, and those called like a namespace';

-- A missing time must not become the time of the import: '' is refused.
CREATE FUNCTION cdp._row_message(fields jsonb, source text, namespaces text[]) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_strip_nulls(jsonb_build_object(
		'type', 'track',
		'event', fields -> 'event',
		'timestamp', coalesce(fields ->> 'at', ''),
		'identifiers', nullif(to_jsonb(cdp._row_identifiers(fields, namespaces)), '[]'),
		'participants', nullif(nullif(fields -> 'participants', '[]'), 'null'),
		'messageId', fields -> 'message_id',
		'source', coalesce(fields ->> 'source', source)))
	|| jsonb_build_object('context', coalesce(nullif(fields -> 'context', 'null'), '{}'))
	|| jsonb_build_object('properties', CASE WHEN coalesce(jsonb_typeof(fields -> 'properties'), 'null') IN ('null', 'object') THEN
		jsonb_strip_nulls(fields - '{event,at,identifiers,identifier,participants,message_id,source,context,properties}'::text[] - namespaces)
			|| coalesce(nullif(fields -> 'properties', 'null'), '{}')
		ELSE fields -> 'properties' END);
COMMENT ON FUNCTION cdp._row_message(jsonb, text, text[]) IS 'the track message that a row of an imported query stands for';

CREATE FUNCTION cdp._import_events(query text, source text, backfill boolean, received_at timestamptz, path text, OUT accepted bigint, OUT rejected bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	row_cursor	refcursor := cdp._open_query(query, path);
	namespaces	text[] := ARRAY(SELECT r.namespace FROM cdp.namespace_rule_effective r ORDER BY r.priority DESC, r.namespace);
	rows		jsonb[];
	next_rows	jsonb[] := cdp._fetch_rows(row_cursor, path, 1000);
	missing		text;
	taken		bigint;
BEGIN
	IF backfill IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'backfill must not be null';
	END IF;
	PERFORM cdp._check_event_time(received_at);
	accepted := 0; rejected := 0;
	LOOP
		rows := next_rows;
		EXIT WHEN rows = '{}';
		next_rows := cdp._fetch_rows(row_cursor, path, 1000);
		-- The order of the locks is kept within a batch only: several go alone.
		IF next_rows <> '{}' THEN
			PERFORM cdp._lock_identities(true);
		END IF;
		IF missing IS NULL THEN
			-- a mistake in the query, not in a row
			SELECT min(c) INTO missing FROM unnest('{at,event}'::text[]) c WHERE NOT rows[1] ? c;
			IF missing IS NOT NULL THEN
				RAISE EXCEPTION USING ERRCODE = 'undefined_column', MESSAGE = format('the query has no column "%s"', missing);
			ELSIF NOT rows[1] ?| (namespaces || '{identifier,identifiers}'::text[]) THEN
				RAISE EXCEPTION USING ERRCODE = 'undefined_column', MESSAGE = 'the query has no column that names somebody',
					HINT = 'Call it identifier, identifiers or like a namespace, for example email.';
			END IF;
			missing := '';
			-- the order of the locks is kept within a batch only
			IF cardinality(rows) = 1000 THEN
				PERFORM cdp._lock_identities(true);
			END IF;
		END IF;
		taken := (cdp._ingest_patiently(ARRAY(SELECT cdp._row_message(r.fields, source, namespaces) FROM unnest(rows) WITH ORDINALITY r (fields, n) ORDER BY r.n),
							 array_fill(received_at, ARRAY[cardinality(rows)]), backfill, false, false)).accepted;
		accepted := accepted + taken;
		rejected := rejected + cardinality(rows) - taken;
	END LOOP;
	CLOSE row_cursor;
END
$$;
COMMENT ON FUNCTION cdp._import_events(text, text, boolean, timestamptz, text) IS 'import_events with the search_path under which the query is read';

CREATE FUNCTION cdp.import_events(query text, source text, backfill boolean DEFAULT true, received_at timestamptz DEFAULT now())
	RETURNS TABLE (accepted bigint, rejected bigint)
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT i.accepted, i.rejected
	FROM cdp._import_events(import_events.query, import_events.source, import_events.backfill, import_events.received_at,
							current_setting('search_path')) i;
END;
COMMENT ON FUNCTION cdp.import_events(text, text, boolean, timestamptz)
	IS 'takes the rows of a query as events: columns event, at, who (identifier, identifiers, or named like a namespace), message_id, participants, properties …; bad rows go to table rejected';
