/* 37_segment_overlap: how sets of profiles lie to each other, and how to divide one */

CREATE FUNCTION cdp._tag_or_segment(name text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN NOT EXISTS (SELECT FROM cdp.tag_chunk c WHERE c.tag = name COLLATE "C")
				 AND NOT EXISTS (SELECT FROM cdp.tag_pending p WHERE p.tag = name COLLATE "C")
				 AND EXISTS (SELECT FROM cdp.segment s WHERE s.name = _tag_or_segment.name COLLATE "C")
				THEN cdp._segment_tag(name) ELSE name END;
END;
COMMENT ON FUNCTION cdp._tag_or_segment(text) IS 'the tag that is meant: a name that nobody has as a tag may be that of a segment';

CREATE FUNCTION cdp._overlap_of(names text[], at timestamptz, kind text, without cdp.bitmap)
RETURNS TABLE (a text, b text, in_both bigint, only_a bigint, only_b bigint, jaccard double precision)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH pair AS MATERIALIZED (
		SELECT o.a, o.b, o.in_both
		FROM cdp._overlap(ARRAY(SELECT cdp._tag_or_segment(n.name) FROM unnest(names) WITH ORDINALITY n(name, nr) ORDER BY n.nr),
						  _overlap_of.at, _overlap_of.kind, without) o
	), size AS (
		SELECT p.a, p.in_both AS members FROM pair p WHERE p.a = p.b
	)
	SELECT names[p.a], names[p.b], p.in_both, x.members - p.in_both, y.members - p.in_both,
		p.in_both::double precision / nullif(x.members + y.members - p.in_both, 0)
	FROM pair p JOIN size x ON x.a = p.a JOIN size y ON y.a = p.b
	WHERE p.a < p.b
	ORDER BY p.a, p.b;
END;
COMMENT ON FUNCTION cdp._overlap_of(text[], timestamptz, text, cdp.bitmap) IS 'overlap of profiles of a kind that were there at an instant, without some of them';

CREATE FUNCTION cdp.overlap(names text[], at timestamptz, kind text)
RETURNS TABLE (a text, b text, in_both bigint, only_a bigint, only_b bigint, jaccard double precision)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT o.a, o.b, o.in_both, o.only_a, o.only_b, o.jaccard FROM cdp._overlap_of(names, at, kind, cdp._excluded(kind, at)) o;
END;
COMMENT ON FUNCTION cdp.overlap(text[], timestamptz, text) IS 'the same for profiles of a kind that were there at an instant';

CREATE FUNCTION cdp.overlap(VARIADIC tags_or_segments text[])
RETURNS TABLE (a text, b text, in_both bigint, only_a bigint, only_b bigint, jaccard double precision)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT o.a, o.b, o.in_both, o.only_a, o.only_b, o.jaccard FROM cdp._overlap_of(tags_or_segments, 'infinity', 'person', cdp._excluded('person')) o;
END;
COMMENT ON FUNCTION cdp.overlap(text[]) IS 'for each two of these tags and segments how many persons have both, or only one of them';

CREATE FUNCTION cdp.split_audience(audience cdp.bitmap, shares double precision[], seed text)
RETURNS TABLE (part int, share double precision, members cdp.bitmap)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	upto double precision[] := '{}';
	sum double precision := 0;
BEGIN
	FOR i IN 1 .. coalesce(array_length(shares, 1), 0) LOOP
		IF NOT coalesce(shares[i] >= 0 AND shares[i] <= 1, false) THEN
			RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a share must be between 0 and 1';
		END IF;
		sum := sum + shares[i];
		upto := upto || CASE WHEN sum > 1 - 1e-9 THEN 1 ELSE sum END;
	END LOOP;
	IF sum > 1 + 1e-9 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'shares must not add up to more than 1';
	END IF;
	RETURN QUERY
	SELECT s.nr::int, s.share, coalesce(m.members, '{}')
	FROM unnest(shares) WITH ORDINALITY s(share, nr)
	LEFT JOIN (SELECT width_bucket((hashint8extended(i, hashtextextended(seed, 0)) & 9007199254740991) / 9007199254740992.0::double precision, upto) + 1 AS nr,
					  rb_build_agg(i) AS members
			   FROM rb_iterate(audience) i GROUP BY 1) m ON m.nr = s.nr
	ORDER BY s.nr;
END
$$;
COMMENT ON FUNCTION cdp.split_audience(cdp.bitmap, double precision[], text) IS 'divides profiles at random by a stable hash: the same seed puts a profile into the same part, whoever else is there';
