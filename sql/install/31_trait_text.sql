/* 31_trait_text: searchable texts and booleans
 *
 * Who has a value of a searchable trait of type text or boolean is an internal
 * tag, folded only:
 *		chr(1) || 'trait:' || trait || chr(1) || 't' || text
 *		chr(1) || 'trait:' || trait || chr(1) || 'btrue' or 'bfalse'
 * Values of other types and texts longer than 200 bytes have none: no rule
 * that asks for tags asks for them.  trait_index, trait_pending and the task
 * are those of numbers (31_trait_index): readers look up the profiles that
 * are pending themselves, so answers are exact, and merges need nothing more.
 */

CREATE FUNCTION cdp._trait_tag(trait text, value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN chr(1) || 'trait:' || trait || chr(1) || CASE jsonb_typeof(value)
	WHEN 'string' THEN CASE WHEN octet_length(value #>> '{}') <= 200 THEN 't' || (value #>> '{}') END
	WHEN 'boolean' THEN 'b' || value::text END;
COMMENT ON FUNCTION cdp._trait_tag(text, jsonb) IS 'the internal tag of those who have this value of a searchable trait; NULL: there is none';

-- ids NULL = everybody who has the trait
CREATE FUNCTION cdp._trait_tags_of(trait text, ids bigint[]) RETURNS TABLE (tag text, members cdp.bitmap)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT cdp._trait_tag(_trait_tags_of.trait, b.value), cdp.rb_build_agg(b.canonical_id)
	FROM (
		SELECT DISTINCT ON (l.canonical_id) l.canonical_id, v.value
		FROM cdp.trait_value v
			JOIN cdp.profile l ON l.profile_id = v.profile_id
			LEFT JOIN cdp.trait_rule r ON r.name = v.name AND r.survivorship <> 'latest'
		WHERE v.name = _trait_tags_of.trait COLLATE "C" AND (ids IS NULL OR l.canonical_id = ANY (ids))
		ORDER BY l.canonical_id, r.name IS NOT NULL AND v.value = 'null',
			CASE r.survivorship WHEN 'first' THEN v.at END,
			CASE r.survivorship WHEN 'min' THEN v.value END,
			CASE r.survivorship WHEN 'max' THEN v.value END DESC,
			v.at DESC, v.value DESC
	) b
	WHERE cdp._trait_tag(_trait_tags_of.trait, b.value) IS NOT NULL
	GROUP BY 1;
END;
COMMENT ON FUNCTION cdp._trait_tags_of(text, bigint[]) IS 'which of these canonical profiles belong to which value''s tag';

CREATE FUNCTION cdp._drop_text_trait(trait text) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
BEGIN ATOMIC
	DELETE FROM cdp.tag_chunk c
	WHERE c.tag >= (chr(1) || 'trait:' || trait || chr(1)) COLLATE "C" AND c.tag < (chr(1) || 'trait:' || trait || chr(2)) COLLATE "C";
END;
COMMENT ON FUNCTION cdp._drop_text_trait(text) IS 'the tags of a trait''s values are gone';

CREATE FUNCTION cdp._build_text_trait(trait text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM cdp._drop_text_trait(trait);
	PERFORM cdp._write_chunks(t.tag, t.members, NULL) FROM cdp._trait_tags_of(trait, NULL) t;
END
$$;
COMMENT ON FUNCTION cdp._build_text_trait(text) IS 'makes the tags of a trait''s values anew';

CREATE FUNCTION cdp._fold_text_trait(trait text, ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	t record;
BEGIN
	-- A value may have been set at a leaf that was merged before.
	ids := ARRAY(SELECT u FROM unnest(ids) u UNION SELECT p.canonical_id FROM profile p WHERE p.profile_id = ANY (ids));
	FOR t IN
		SELECT coalesce(o.tag, n.tag) COLLATE "C" AS tag, rb_andnot(n.members, coalesce(o.members, '{}')) AS added,
			rb_andnot(o.members, coalesce(n.members, '{}')) AS removed
		FROM (SELECT c.tag, rb_build_agg(i.id) AS members
			  FROM unnest(ids) i(id) JOIN cdp.tag_chunk c ON c.chunk = i.id >> 15
			  WHERE c.tag >= (chr(1) || 'trait:' || trait || chr(1)) COLLATE "C" AND c.tag < (chr(1) || 'trait:' || trait || chr(2)) COLLATE "C"
				AND cdp._chunk_contains(c.members, i.id)
			  GROUP BY c.tag) o
		FULL JOIN cdp._trait_tags_of(trait, ids) n ON n.tag = o.tag
		ORDER BY 1
	LOOP
		PERFORM cdp._write_chunks(t.tag, t.added, t.removed);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._fold_text_trait(text, bigint[]) IS 'puts these profiles, and those that they were merged into, into the tags of their present values';
