/* 30_tag_catalog: which tags there are, and how large they were */

CREATE FUNCTION cdp._tag_size(tag text) RETURNS bigint
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__tag_size';
COMMENT ON FUNCTION cdp._tag_size(text) IS 'how many profiles have the tag';

-- Skips from tag to tag: a tag may have thousands of chunks.
CREATE FUNCTION cdp._tag_names() RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH RECURSIVE folded AS (
		SELECT (SELECT min(c.tag) FROM cdp.tag_chunk c WHERE c.tag > chr(2) COLLATE "C") AS tag
		UNION ALL
		SELECT (SELECT min(c.tag) FROM cdp.tag_chunk c WHERE c.tag > f.tag) FROM folded f WHERE f.tag IS NOT NULL
	), waiting AS (
		SELECT (SELECT min(p.tag) FROM cdp.tag_pending p WHERE p.tag > chr(2) COLLATE "C") AS tag
		UNION ALL
		SELECT (SELECT min(p.tag) FROM cdp.tag_pending p WHERE p.tag > w.tag) FROM waiting w WHERE w.tag IS NOT NULL
	)
	SELECT f.tag FROM folded f WHERE f.tag IS NOT NULL
	UNION
	SELECT w.tag FROM waiting w WHERE w.tag IS NOT NULL;
END;
COMMENT ON FUNCTION cdp._tag_names() IS 'every tag that somebody has, or has had until the last fold; not the internal ones';

CREATE VIEW cdp.tag_catalog WITH (security_invoker) AS
	SELECT t.tag, CASE WHEN strpos(t.tag, ':') > 0 THEN split_part(t.tag, ':', 1) END AS key,
		cdp._is_maintained(t.tag) AS maintained, coalesce(k.exclusive, false) AS exclusive, cdp._tag_size(t.tag) AS members,
		(SELECT count(*) FROM cdp.tag_pending p WHERE p.tag = t.tag COLLATE "C") AS pending
	FROM cdp._tag_names() AS t(tag)
	LEFT JOIN cdp.tag_key k ON k.key = split_part(t.tag, ':', 1) COLLATE "C" AND strpos(t.tag, ':') > 0;
COMMENT ON VIEW cdp.tag_catalog IS 'every tag in use: its key, whether the system keeps it, how many profiles have it, how many changes wait to be folded';

CREATE TABLE cdp.tag_size (
	tag		text COLLATE "C" NOT NULL,
	day		date NOT NULL,
	members	bigint NOT NULL,
	PRIMARY KEY (tag, day)
);
COMMENT ON TABLE cdp.tag_size IS 'how many profiles had a tag, at the first tick of each day (UTC); no row: nobody';
CREATE INDEX tag_size_day_idx ON cdp.tag_size (day);

CREATE FUNCTION cdp._note_tag_sizes(now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	today date := (now AT TIME ZONE 'UTC')::date;
	n bigint;
BEGIN
	IF EXISTS (SELECT FROM cdp.tag_size s WHERE s.day >= today) THEN
		RETURN 0;
	END IF;
	INSERT INTO cdp.tag_size (tag, day, members)
	SELECT s.tag, today, s.members FROM (SELECT t AS tag, cdp._tag_size(t) AS members FROM cdp._tag_names() t) s
	WHERE s.members > 0 ORDER BY s.tag COLLATE "C"
	ON CONFLICT DO NOTHING;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION cdp._note_tag_sizes(timestamptz) IS 'task: notes the size of every tag, once a day';

-- bulk tagging from a query

CREATE FUNCTION cdp._tag_from(query text, tag text, expires_at timestamptz, at timestamptz, path text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	row_cursor refcursor;
	rows jsonb[];
	audience cdp.bitmap := '{}';
BEGIN
	PERFORM cdp._check_tag(tag);
	row_cursor := cdp._open_query(query, path);
	LOOP
		rows := cdp._fetch_rows(row_cursor, path, 10000);
		EXIT WHEN rows = '{}';
		IF NOT rows[1] ? 'profile_id' THEN
			RAISE EXCEPTION USING ERRCODE = 'undefined_column', MESSAGE = 'the query has no column profile_id';
		END IF;
		audience := cdp.rb_or(audience, cdp.rb_build(ARRAY(SELECT (fields ->> 'profile_id')::bigint FROM unnest(rows) fields WHERE fields ->> 'profile_id' IS NOT NULL)));
	END LOOP;
	CLOSE row_cursor;
	PERFORM cdp.tag(audience, tag, expires_at, at);
	RETURN cdp.rb_cardinality(audience);
END
$$;
COMMENT ON FUNCTION cdp._tag_from(text, text, timestamptz, timestamptz, text) IS 'tag_from with the search_path under which the query is read';

CREATE FUNCTION cdp.tag_from(query text, tag text, expires_at timestamptz DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT cdp._tag_from(tag_from.query, tag_from.tag, tag_from.expires_at, tag_from.at, current_setting('search_path'));
END;
COMMENT ON FUNCTION cdp.tag_from(text, text, timestamptz, timestamptz) IS 'gives a tag to every profile that the query names in its column profile_id; returns how many';
