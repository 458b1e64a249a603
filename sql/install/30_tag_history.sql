/* 30_tag_history: tags of the past, for keys that ask for it
 *
 * A row is a real change of a tag of a profile that was canonical then.  What
 * a profile had at an instant is the opposite of its first change after that,
 * or else what it has now: so nothing needs to be known of the time before
 * history was kept, and questions about the present cost nothing.
 *
 * Merges write no rows.  Of several leaves each has what it had itself, until a
 * change of a profile that it has become one with.  What a merged profile had
 * before its first merge, and what undoing one makes of the rows that were noted
 * meanwhile, are in 30_tag_own.
 *
 * A change that is dated before an earlier one of the same tag and profile
 * counts as of that one: the last call decides what a profile has, whatever
 * its date.
 */

CREATE SEQUENCE cdp.tag_history_id_seq;
COMMENT ON SEQUENCE cdp.tag_history_id_seq IS 'order of tag changes';
CREATE TABLE cdp.tag_history (
	history_id	bigint PRIMARY KEY DEFAULT nextval('cdp.tag_history_id_seq'),
	tag			text COLLATE "C" NOT NULL,
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	present		boolean NOT NULL,
	merged		boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE cdp.tag_history IS 'every change of a tag whose key has keep_history in tag_key';
COMMENT ON COLUMN cdp.tag_history.merged IS 'noted while others were merged into the profile: undoing a merge works it out again';
CREATE INDEX tag_history_tag_idx ON cdp.tag_history (tag, at);
CREATE INDEX tag_history_profile_id_idx ON cdp.tag_history (profile_id, tag, at, history_id);

CREATE FUNCTION cdp._keeps_history(tag text) RETURNS boolean
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM cdp.tag_key k WHERE k.keep_history AND k.key = split_part(tag, ':', 1) COLLATE "C");
END;
COMMENT ON FUNCTION cdp._keeps_history(text) IS 'is the history of the tag kept?';

-- The caller owns the pending row of this tag and profile.
CREATE FUNCTION cdp._note_tag_history(tag text, id bigint, present boolean, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	IF cdp._keeps_history(_note_tag_history.tag) THEN
		INSERT INTO cdp.tag_history (tag, profile_id, at, present, merged)
		SELECT _note_tag_history.tag, id,
			greatest(_note_tag_history.at, (SELECT max(h.at) FROM cdp.tag_history h WHERE h.profile_id = id AND h.tag = _note_tag_history.tag COLLATE "C")),
			_note_tag_history.present, NOT cdp._is_maintained(_note_tag_history.tag) AND EXISTS (SELECT FROM cdp.tag_own o WHERE o.profile_id = id);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._note_tag_history(text, bigint, boolean, timestamptz) IS 'a canonical profile has been given the tag, or lost it';

CREATE FUNCTION cdp._note_tag_histories(tag text, added cdp.bitmap, removed cdp.bitmap, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	before cdp.bitmap;
BEGIN
	IF cdp._keeps_history(_note_tag_histories.tag) THEN
		before := cdp.tagged(_note_tag_histories.tag);
		INSERT INTO cdp.tag_history (tag, profile_id, at, present, merged)
		SELECT _note_tag_histories.tag, c.id,
			greatest(_note_tag_histories.at, (SELECT max(h.at) FROM cdp.tag_history h WHERE h.profile_id = c.id AND h.tag = _note_tag_histories.tag COLLATE "C")),
			c.present, NOT cdp._is_maintained(_note_tag_histories.tag) AND EXISTS (SELECT FROM cdp.tag_own o WHERE o.profile_id = c.id)
		FROM (SELECT cdp.rb_iterate(cdp.rb_andnot(added, before)), true
			  UNION ALL SELECT cdp.rb_iterate(cdp.rb_and(removed, before)), false) c(id, present);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._note_tag_histories(text, cdp.bitmap, cdp.bitmap, timestamptz) IS 'the same for sets, before the change';

CREATE FUNCTION cdp._has_tag_at(id bigint, tag text, at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	leaves bigint[] := ARRAY(SELECT p.profile_id FROM cdp.profile p WHERE p.canonical_id = id);
	name text COLLATE "C" := _has_tag_at.tag;
	was boolean;
BEGIN
	IF NOT EXISTS (SELECT FROM cdp.tag_history h WHERE h.profile_id = ANY (leaves) AND h.tag = name AND h.at > _has_tag_at.at) THEN
		RETURN cdp._has_tag(id, name);
	ELSIF cardinality(leaves) = 1 THEN
		RETURN (SELECT NOT h.present FROM cdp.tag_history h
				WHERE h.profile_id = id AND h.tag = name AND h.at > _has_tag_at.at ORDER BY h.at, h.history_id LIMIT 1);
	END IF;
	-- Each leaf's state: its last change, or what it had at first.
	WITH state AS (
		SELECT l.leaf, coalesce(c.at, '-infinity') AS at, coalesce(c.present, NOT f.present,
			EXISTS (SELECT FROM cdp.tag_own o WHERE o.profile_id = l.leaf AND o.after_merge = 0 AND o.tag = name AND o.present)) AS present
		FROM unnest(leaves) l(leaf)
		LEFT JOIN LATERAL (SELECT h.at, h.present FROM cdp.tag_history h
						   WHERE h.profile_id = l.leaf AND h.tag = name AND h.at <= _has_tag_at.at
						   ORDER BY h.at DESC, h.history_id DESC LIMIT 1) c ON true
		LEFT JOIN LATERAL (SELECT h.present FROM cdp.tag_history h
						   WHERE h.profile_id = l.leaf AND h.tag = name AND NOT h.merged ORDER BY h.at, h.history_id LIMIT 1) f ON true
	)
	SELECT bool_or(s.present) INTO was FROM state s
	WHERE NOT EXISTS (SELECT FROM state o WHERE o.leaf <> s.leaf AND o.at > s.at AND o.at >= cdp._joined_at(s.leaf, o.leaf));
	RETURN was;
END
$$;
COMMENT ON FUNCTION cdp._has_tag_at(bigint, text, timestamptz) IS 'did a canonical profile have the tag at an instant, as far as history is kept?';

CREATE FUNCTION cdp._tagged_at(tag text, at timestamptz) RETURNS cdp.bitmap
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	name text COLLATE "C" := _tagged_at.tag;
	changed cdp.bitmap;
	present cdp.bitmap;
BEGIN
	WITH first_change AS (
		SELECT DISTINCT ON (h.profile_id) h.profile_id, h.present FROM cdp.tag_history h
		WHERE h.tag = name AND h.at > _tagged_at.at ORDER BY h.profile_id, h.at, h.history_id
	), concerned AS (
		SELECT p.canonical_id, count(*) AS changes, bool_or(NOT f.present) AS present,
			(SELECT count(*) FROM (SELECT FROM cdp.profile l WHERE l.canonical_id = p.canonical_id LIMIT 2) l) AS leaves
		FROM first_change f JOIN cdp.profile p ON p.profile_id = f.profile_id GROUP BY 1
	)
	SELECT coalesce(cdp.rb_build_agg(c.canonical_id), '{}'),
		coalesce(cdp.rb_build_agg(c.canonical_id) FILTER (WHERE CASE WHEN c.leaves = 1 THEN c.present
																	 ELSE cdp._has_tag_at(c.canonical_id, name, _tagged_at.at) END), '{}')
	INTO changed, present FROM concerned c;
	RETURN cdp.rb_or(cdp.rb_andnot(cdp.tagged(name), changed), present);
END
$$;
COMMENT ON FUNCTION cdp._tagged_at(text, timestamptz) IS 'who had the tag at an instant, as far as history is kept; costs follow the changes since then';
