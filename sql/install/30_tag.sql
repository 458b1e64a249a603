/* 30_tag: everything known about a profile as a category
 *
 * tag_chunk is the folded side: the members of one tag among 2^15 consecutive
 * profile ids, in an encoding that fits a page (src/core/chunk.h).  Single
 * changes go to tag_pending and are folded in by tick; a reader always merges
 * both, under one snapshot.
 *
 * Names that begin with chr(1) are internal: _check_tag keeps users away from
 * them.
 *		chr(1) || 'kind:person'		every canonical person in the universe
 *		chr(1) || 'merged'			canonical profiles with more than one leaf
 *									(a profile may be in it without need)
 *		chr(1) || 'seen:' || tag	what 37_segment saw of a tag
 *		chr(1) || 'trait:' || …		values of searchable texts (31_trait_text)
 *
 * Locks, in this order: against merges (below), the tag (_lock_tag_sets: bulk changes against journeys), the key
 * of an exclusive tag (advisory: single changes
 * share it, bulk changes do not), the profile against a merge (_lock_tags, or its
 * row), tag_own (30_tag_own), tag_pending by (tag, profile), tag_expiry
 * likewise, tag_chunk by (tag, chunk).  Bulk
 * changes lock no profile rows: they and merges keep apart by table locks on
 * profile_merge (SHARE and ROW EXCLUSIVE), each kind among itself does not.
 */

CREATE TABLE cdp.tag_chunk (
	tag		text COLLATE "C" NOT NULL,
	chunk	bigint NOT NULL,
	members	bytea NOT NULL,
	PRIMARY KEY (tag, chunk)
);
ALTER TABLE cdp.tag_chunk ALTER COLUMN tag SET STORAGE PLAIN, ALTER COLUMN members SET STORAGE PLAIN;
COMMENT ON TABLE cdp.tag_chunk IS 'members of each tag, 2^15 profile ids to a row';
CREATE INDEX tag_chunk_chunk_idx ON cdp.tag_chunk (chunk, tag);

-- What is written for every single change: columns in the order that takes
-- least space, and one index (_pending_tags finds a profile's rows by it).
CREATE TABLE cdp.tag_pending (
	profile_id	bigint NOT NULL,
	since		timestamptz NOT NULL DEFAULT now(),
	present		boolean NOT NULL,
	tag			text COLLATE "C" NOT NULL,
	PRIMARY KEY (tag, profile_id)
);
COMMENT ON TABLE cdp.tag_pending IS 'tag changes not yet folded into tag_chunk; the row overrides the chunk';
COMMENT ON COLUMN cdp.tag_pending.since IS 'how long the row has been waiting, for status and for the order of folding; decides nothing else';

CREATE TABLE cdp.tag_expiry (
	tag			text COLLATE "C" NOT NULL,
	profile_id	bigint NOT NULL,
	expires_at	timestamptz NOT NULL,
	PRIMARY KEY (tag, profile_id)
);
COMMENT ON TABLE cdp.tag_expiry IS 'tags that tick takes away when their time has come';
CREATE INDEX tag_expiry_expires_at_idx ON cdp.tag_expiry (expires_at);

CREATE TABLE cdp.tag_key (
	key				text COLLATE "C" PRIMARY KEY,
	exclusive		boolean NOT NULL DEFAULT false,
	keep_history	boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE cdp.tag_key IS 'keys of "key:value" tags; an exclusive key has one value per profile; writable';

CREATE TABLE cdp.label_set (
	name	text NOT NULL,
	label	text NOT NULL,
	PRIMARY KEY (name, label)
);
COMMENT ON TABLE cdp.label_set IS 'named sets of labels (categories, brands …) for rules: count(purchase[@diapers]); writable';
CREATE INDEX label_set_label_idx ON cdp.label_set (label);


-- chunks: src/core/chunk.h describes the bytes

CREATE FUNCTION cdp._chunk_apply(members bytea, added bytea, removed bytea) RETURNS bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__chunk_apply';
COMMENT ON FUNCTION cdp._chunk_apply(bytea, bytea, bytea) IS 'members | added - removed of one chunk; NULL = empty; may return the empty chunk, one byte, which is not to be kept';

CREATE FUNCTION cdp._chunk_contains(members bytea, profile bigint) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__chunk_contains';
COMMENT ON FUNCTION cdp._chunk_contains(bytea, bigint) IS 'is the profile, whose chunk this is, a member?';

CREATE FUNCTION cdp._chunk_cardinality(members bytea) RETURNS int
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__chunk_cardinality';
COMMENT ON FUNCTION cdp._chunk_cardinality(bytea) IS 'how many members a chunk has; checks all its bytes';

CREATE FUNCTION cdp._chunk_split(added cdp.bitmap, removed cdp.bitmap, OUT chunk bigint, OUT added_members bytea, OUT removed_members bytea) RETURNS SETOF record
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__chunk_split';
COMMENT ON FUNCTION cdp._chunk_split(cdp.bitmap, cdp.bitmap) IS 'both sets cut into chunks, ascending; NULL where a chunk would be empty';

-- names

CREATE FUNCTION cdp._is_maintained(tag text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN split_part(tag, ':', 1) IN ('lifecycle', 'rfm', 'segment', 'consent', 'journey', 'held_out') AND strpos(tag, ':') > 0 OR ascii(tag) = 1;
COMMENT ON FUNCTION cdp._is_maintained(text) IS 'does the system keep this tag, so that users may use but not set it?';

-- What a rule can name: "name" or "key:value", any text in quotes.
CREATE FUNCTION cdp._check_tag(tag text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	reason text;
BEGIN
	IF tag IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'tag must not be null';
	END IF;
	IF octet_length(tag) > 255 THEN
		RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'tag is too long',
			DETAIL = format('Tag length is %s bytes, must be at most 255.', octet_length(tag));
	END IF;
	reason := CASE
		WHEN tag = '' THEN 'A tag must not be empty.'
		WHEN tag ~ '[\u0001-\u001f\u007f]' THEN 'A tag must not contain control characters.'
		WHEN starts_with(tag, ':') OR tag ~ '^[^:]*:$' THEN 'A tag is "name" or "key:value", neither part may be empty.'
	END;
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('invalid tag: "%s"', tag), DETAIL = reason;
	END IF;
	IF cdp._is_maintained(tag) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('tag "%s" is maintained by the system', tag),
			HINT = format('Tags that begin with "%s:" can be used in rules, not set.', split_part(tag, ':', 1));
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_tag(text) IS 'refuses a tag that a user may not set';

-- Journeys reckon from these instants; expires_at infinity is never.
CREATE FUNCTION cdp._check_tag_time(expires_at timestamptz, at timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'at must not be null';
	ELSIF NOT isfinite(at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	ELSIF expires_at = '-infinity' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'expires_at must not be -infinity';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_tag_time(timestamptz, timestamptz) IS 'refuses instants that a tag cannot have';

CREATE FUNCTION cdp._exclusive_key(tag text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT k.key FROM cdp.tag_key k
	WHERE k.exclusive AND strpos(tag, ':') > 0 AND k.key = split_part(tag, ':', 1) COLLATE "C";
END;
COMMENT ON FUNCTION cdp._exclusive_key(text) IS 'key of an exclusive key:value tag, NULL for any other tag';

-- Skips from tag to tag: a tag may have thousands of chunks.
CREATE FUNCTION cdp._tags_of_key(key text) RETURNS SETOF text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	WITH RECURSIVE folded AS (
		SELECT (SELECT min(c.tag) FROM cdp.tag_chunk c
				WHERE c.tag >= (key || ':') COLLATE "C" AND c.tag < (key || ';') COLLATE "C") AS tag
		UNION ALL
		SELECT (SELECT min(c.tag) FROM cdp.tag_chunk c
				WHERE c.tag > f.tag AND c.tag < (key || ';') COLLATE "C")
		FROM folded f WHERE f.tag IS NOT NULL
	)
	SELECT f.tag FROM folded f WHERE f.tag IS NOT NULL
	UNION
	SELECT p.tag FROM cdp.tag_pending p WHERE p.tag >= (key || ':') COLLATE "C" AND p.tag < (key || ';') COLLATE "C";
END;
COMMENT ON FUNCTION cdp._tags_of_key(text) IS 'every tag key:value that is in use, or waits to be folded';

-- reading: the chunk, overridden by the pending rows, under one snapshot

CREATE FUNCTION cdp.tagged(tag text) RETURNS cdp.bitmap
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_tagged';
COMMENT ON FUNCTION cdp.tagged(text) IS 'the profiles that have the tag';

CREATE FUNCTION cdp._tagged_among(tag text, among cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__tagged_among';
COMMENT ON FUNCTION cdp._tagged_among(text, cdp.bitmap) IS 'who of these profiles (NULL = all) has the tag; only their chunks are read';

CREATE FUNCTION cdp._has_tag(id bigint, tag text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__has_tag';
COMMENT ON FUNCTION cdp._has_tag(bigint, text) IS 'has_tag of a canonical profile';

CREATE FUNCTION cdp.has_tag(profile bigint, tag text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_has_tag';
COMMENT ON FUNCTION cdp.has_tag(bigint, text) IS 'does the profile have the tag? Maintained tags too';

CREATE FUNCTION cdp._pending_tags(id bigint, since text, until text) RETURNS SETOF text
LANGUAGE c STABLE PARALLEL SAFE COST 200 ROWS 5 AS 'MODULE_PATHNAME', 'mcdp__pending_tags';
COMMENT ON FUNCTION cdp._pending_tags(bigint, text, text) IS 'the tags in [since, until), NULL = unbounded, that a waiting change gives to the profile; costs follow the number of different tags that wait';

-- Not STRICT, so that they are inlined and planned once.
CREATE FUNCTION cdp._all_tags_of(id bigint) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT c.tag FROM cdp.tag_chunk c
	WHERE c.chunk = id >> 15 AND cdp._chunk_contains(c.members, id)
		AND NOT EXISTS (SELECT FROM cdp.tag_pending p WHERE p.tag = c.tag AND p.profile_id = id)
	UNION ALL
	SELECT t FROM cdp._pending_tags(id, NULL, NULL) t;
END;
COMMENT ON FUNCTION cdp._all_tags_of(bigint) IS 'every tag of a canonical profile, maintained and internal ones too';

CREATE FUNCTION cdp._key_tags_of(id bigint, key text) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT c.tag FROM cdp.tag_chunk c
	WHERE c.chunk = id >> 15 AND c.tag >= (key || ':') COLLATE "C" AND c.tag < (key || ';') COLLATE "C" AND cdp._chunk_contains(c.members, id)
		AND NOT EXISTS (SELECT FROM cdp.tag_pending p WHERE p.tag = c.tag AND p.profile_id = id)
	UNION ALL
	SELECT t FROM cdp._pending_tags(id, key || ':', key || ';') t;
END;
COMMENT ON FUNCTION cdp._key_tags_of(bigint, text) IS 'those that are "key:value" of one key';

CREATE FUNCTION cdp.tags_of(profile bigint) RETURNS text[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(array_agg(t.tag ORDER BY t.tag COLLATE "C"), '{}')
	FROM cdp.profile p, cdp._all_tags_of(p.canonical_id) AS t(tag)
	WHERE p.profile_id = tags_of.profile AND NOT cdp._is_maintained(t.tag);
END;
COMMENT ON FUNCTION cdp.tags_of(bigint) IS 'the tags that users gave to the profile, in byte order';

-- single changes

-- Taking the pending row comes first: whoever changes the same tag of the same
-- profile waits there, nobody else does.
CREATE FUNCTION cdp._set_tag(name text, id bigint, present boolean) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__set_tag';
COMMENT ON FUNCTION cdp._set_tag(text, bigint, boolean) IS 'gives a tag to a canonical profile or takes it away; was that a change?';

CREATE FUNCTION cdp._tag_trigger(source text, tag text, id bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	INSERT INTO cdp.journey_trigger (source, name, profile_id, at)
	SELECT _tag_trigger.source, _tag_trigger.tag, _tag_trigger.id, _tag_trigger.at
	WHERE EXISTS (SELECT FROM cdp.journey_listener l WHERE l.source = _tag_trigger.source AND l.name = _tag_trigger.tag);
END
$$;
COMMENT ON FUNCTION cdp._tag_trigger(text, text, bigint, timestamptz) IS 'tells journeys that wait for it that a profile enters or leaves a tag';

CREATE FUNCTION cdp._set_tag_expiry(tag text, id bigint, expires_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
BEGIN
	IF _set_tag_expiry.expires_at IS NULL THEN
		DELETE FROM cdp.tag_expiry e WHERE e.tag = _set_tag_expiry.tag AND e.profile_id = _set_tag_expiry.id;
	ELSE
		INSERT INTO cdp.tag_expiry (tag, profile_id, expires_at)
		VALUES (_set_tag_expiry.tag, _set_tag_expiry.id, _set_tag_expiry.expires_at)
		ON CONFLICT (tag, profile_id) DO UPDATE SET expires_at = excluded.expires_at;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._set_tag_expiry(text, bigint, timestamptz) IS 'when tick is to take the tag away; NULL = never';

CREATE FUNCTION cdp._key_lock(key text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN hashtextextended('marketing_cdp tag key ' || key, 0);
COMMENT ON FUNCTION cdp._key_lock(text) IS 'advisory lock that keeps single and bulk changes of one exclusive key apart';

CREATE FUNCTION cdp._unshare(key bigint) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__unshare';
COMMENT ON FUNCTION cdp._unshare(bigint) IS 'takes back one pg_advisory_xact_lock_shared';

-- A merge that runs now is waited for (it locks FOR UPDATE), and its survivor
-- is meant; after an unmerge, whoever the profile belongs to now.
CREATE FUNCTION cdp._lock_canonical(profile bigint, alone boolean, key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	id bigint;
	root bigint;
BEGIN
	IF profile IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'profile must not be null';
	END IF;
	LOOP
		SELECT p.canonical_id INTO id FROM cdp.profile p WHERE p.profile_id = profile;
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s does not exist', profile);
		END IF;
		-- One that nobody else holds: the usual case needs no subtransaction.
		PERFORM pg_advisory_xact_lock_shared(cdp._key_lock(key)) WHERE key IS NOT NULL;
		IF alone THEN
			SELECT p.canonical_id INTO root FROM cdp.profile p WHERE p.profile_id = id FOR NO KEY UPDATE SKIP LOCKED;
		ELSE
			SELECT p.canonical_id INTO root FROM cdp.profile p WHERE p.profile_id = id FOR KEY SHARE SKIP LOCKED;
		END IF;
		IF root = id AND (profile = id OR (SELECT p.canonical_id FROM cdp.profile p WHERE p.profile_id = profile) = id) THEN
			RETURN id;
		END IF;
		-- With empty hands: see 21_identity_lock.
		PERFORM cdp._unshare(cdp._key_lock(key)) WHERE key IS NOT NULL;
		PERFORM cdp._await('profile', id::text);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._lock_canonical(bigint, boolean, text) IS 'canonical profile of a profile, locked against merges, and against others who lock it alone; and this exclusive key against bulk changes';

CREATE FUNCTION cdp._lock_tags(profiles bigint[]) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__lock_tags';
COMMENT ON FUNCTION cdp._lock_tags(bigint[]) IS 'nobody changes a single tag of these profiles until the transaction ends; the next statement sees what has been changed';

CREATE FUNCTION cdp._lock_tag_sets(tags text[], sets boolean) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__lock_tag_sets';
COMMENT ON FUNCTION cdp._lock_tag_sets(text[], boolean) IS 'until the transaction ends these tags (or exclusive keys), ascending, are changed for sets of profiles, or (false) for many as they come: not both at once';

CREATE FUNCTION cdp._tag_one(profile bigint, tag text, expires_at timestamptz, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	key text;
	id bigint;
	names text[] := ARRAY[tag];
	name text;
BEGIN
	PERFORM cdp._check_tag(tag);
	PERFORM cdp._check_tag_time(expires_at, at);
	key := cdp._exclusive_key(tag);
	id := cdp._lock_canonical(profile, key IS NOT NULL, key);
	IF key IS NOT NULL THEN
		SELECT array_agg(t ORDER BY t COLLATE "C") INTO names
		FROM (SELECT o FROM cdp._key_tags_of(id, key) o UNION SELECT _tag_one.tag) AS own(t);
	END IF;
	PERFORM cdp._own_tag(id, tag, true, expires_at, key, at);
	FOREACH name IN ARRAY names LOOP
		IF cdp._set_tag(name, id, name = tag) THEN
			PERFORM cdp._note_tag_history(name, id, name = tag, at);
			PERFORM cdp._tag_trigger(CASE WHEN name = tag THEN 'enters' ELSE 'leaves' END, name, id, at);
		END IF;
	END LOOP;
	FOREACH name IN ARRAY names LOOP
		PERFORM cdp._set_tag_expiry(name, id, CASE WHEN name = tag THEN expires_at END);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._tag_one(bigint, text, timestamptz, timestamptz) IS 'tag of one profile, whatever the tag';

-- What nearly every call is, in C; the rest goes to _tag_one.
CREATE FUNCTION cdp.tag(profile bigint, tag text, expires_at timestamptz DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_tag';
COMMENT ON FUNCTION cdp.tag(bigint, text, timestamptz, timestamptz) IS 'gives a tag to a profile, until expires_at if that is given; a tag of an exclusive key replaces its others';

CREATE FUNCTION cdp._untag_one(profile bigint, tag text, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	id bigint;
BEGIN
	PERFORM cdp._check_tag(tag);
	PERFORM cdp._check_tag_time(NULL, at);
	id := cdp._lock_canonical(profile, false);
	PERFORM cdp._own_tag(id, tag, false, NULL, NULL, at);
	IF cdp._set_tag(tag, id, false) THEN
		PERFORM cdp._note_tag_history(tag, id, false, at);
		PERFORM cdp._tag_trigger('leaves', tag, id, at);
	END IF;
	PERFORM cdp._set_tag_expiry(tag, id, NULL);
END
$$;
COMMENT ON FUNCTION cdp._untag_one(bigint, text, timestamptz) IS 'untag of one profile, whatever the tag';

CREATE FUNCTION cdp.untag(profile bigint, tag text, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_untag';
COMMENT ON FUNCTION cdp.untag(bigint, text, timestamptz) IS 'takes a tag away from a profile';

-- Two that toggle the same pair do so one after the other.
CREATE FUNCTION cdp._toggle_one(profile bigint, tag text, at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM cdp._check_tag(tag);
	PERFORM pg_advisory_xact_lock(hashtextextended('marketing_cdp toggle ' || tag, cdp.canonical_id(profile)));
	IF cdp.has_tag(profile, tag) THEN
		PERFORM cdp._untag_one(profile, tag, at);
		RETURN false;
	END IF;
	PERFORM cdp._tag_one(profile, tag, NULL, at);
	RETURN true;
END
$$;
COMMENT ON FUNCTION cdp._toggle_one(bigint, text, timestamptz) IS 'toggle_tag, whatever the tag';

CREATE FUNCTION cdp.toggle_tag(profile bigint, tag text, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_toggle_tag';
COMMENT ON FUNCTION cdp.toggle_tag(bigint, text, timestamptz) IS 'gives the tag to a profile that does not have it, takes it away from one that has; has it the tag now?';

-- bulk changes

CREATE FUNCTION cdp._write_chunks(name text, added cdp.bitmap, removed cdp.bitmap) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__write_chunks';
COMMENT ON FUNCTION cdp._write_chunks(text, cdp.bitmap, cdp.bitmap) IS 'changes the chunks of one tag; the caller has dealt with the pending rows';

-- names ascending and without repeats; a set may be NULL.
CREATE FUNCTION cdp._change_tags(names text[], added cdp.bitmap[], removed cdp.bitmap[], at timestamptz, cause text, few int DEFAULT 1000) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	changes bigint := 0;
	say boolean := coalesce(cause IN ('event', 'tag', 'time'), false);
	keep boolean;
	waiting cdp.bitmap[];
	before cdp.bitmap;
	c record;
BEGIN
	-- Segments see that a tag changed, not why.
	IF say THEN
		say := EXISTS (SELECT FROM cdp.journey_listener l WHERE l.source IN ('enters', 'leaves') AND l.name = ANY (names));
	ELSE
		INSERT INTO cdp.segment_dirty (input, members, cause)
		SELECT 'tag:' || names[i], cdp.rb_or(coalesce(added[i], '{}'), coalesce(removed[i], '{}')), _change_tags.cause
		FROM generate_subscripts(names, 1) i WHERE NOT starts_with(names[i], 'segment:');
	END IF;
	FOR i IN 1 .. cardinality(names) LOOP
		changes := changes + coalesce(cdp.rb_cardinality(added[i]), 0) + coalesce(cdp.rb_cardinality(removed[i]), 0);
	END LOOP;
	IF changes <= few THEN
		FOR i IN 1 .. cardinality(names) LOOP
			keep := cdp._keeps_history(names[i]);
			FOR c IN SELECT a.id, true AS present FROM cdp.rb_iterate(added[i]) AS a(id)
					 UNION ALL SELECT r.id, false FROM cdp.rb_iterate(removed[i]) AS r(id)
					 ORDER BY 1, 2 DESC
			LOOP
				IF cdp._set_tag(names[i], c.id, c.present) THEN
					IF keep THEN
						PERFORM cdp._note_tag_history(names[i], c.id, c.present, _change_tags.at);
					END IF;
					IF say THEN
						PERFORM cdp._tag_trigger(CASE WHEN c.present THEN 'enters' ELSE 'leaves' END, names[i], c.id, _change_tags.at);
					END IF;
				END IF;
			END LOOP;
		END LOOP;
		RETURN;
	END IF;

	-- All pending rows before the first chunk.  Rows that appear from now on
	-- are later changes: they stay and override the chunks.
	FOR i IN 1 .. cardinality(names) LOOP
		SELECT cdp.rb_build_agg(p.profile_id) INTO before FROM cdp.tag_pending p WHERE p.tag = names[i];
		before := cdp.rb_and(before, cdp.rb_or(coalesce(added[i], '{}'), coalesce(removed[i], '{}')));
		waiting[i] := before;
		PERFORM FROM cdp.tag_pending p
		WHERE p.tag = names[i] AND p.profile_id IN (SELECT cdp.rb_iterate(before)) ORDER BY p.profile_id FOR UPDATE;
	END LOOP;
	FOR i IN 1 .. cardinality(names) LOOP
		PERFORM cdp._note_tag_histories(names[i], added[i], removed[i], _change_tags.at);
		IF say AND EXISTS (SELECT FROM cdp.journey_listener l WHERE l.source IN ('enters', 'leaves') AND l.name = names[i]) THEN
			before := cdp.tagged(names[i]);
			INSERT INTO cdp.journey_trigger (source, name, profile_id, at)
			SELECT l.source, names[i], ids.id, _change_tags.at
			FROM (VALUES ('enters', cdp.rb_andnot(added[i], before)), ('leaves', cdp.rb_and(removed[i], before))) AS l(source, changed),
				cdp.rb_iterate(l.changed) AS ids(id)
			WHERE EXISTS (SELECT FROM cdp.journey_listener j WHERE j.source = l.source AND j.name = names[i]);
		END IF;
		DELETE FROM cdp.tag_pending p WHERE p.tag = names[i] AND p.profile_id IN (SELECT cdp.rb_iterate(waiting[i]));
	END LOOP;
	FOR i IN 1 .. cardinality(names) LOOP
		PERFORM cdp._write_chunks(names[i], added[i], removed[i]);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._change_tags(text[], cdp.bitmap[], cdp.bitmap[], timestamptz, text, int) IS 'changes tags of canonical profiles: few changes as pending rows, many in the chunks; tells journeys what really changed';

CREATE FUNCTION cdp._tag_changes(tag text, added cdp.bitmap, removed cdp.bitmap, at timestamptz, cause text, few int DEFAULT 1000) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT cdp._change_tags(ARRAY[tag], ARRAY[added], ARRAY[removed], at, cause, few);
END;
COMMENT ON FUNCTION cdp._tag_changes(text, cdp.bitmap, cdp.bitmap, timestamptz, text, int) IS 'changes a maintained tag; journeys hear of it when the cause is event, tag or time';

CREATE FUNCTION cdp._canonical_set(audience cdp.bitmap) RETURNS cdp.bitmap
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	known cdp.bitmap;
	rest cdp.bitmap;
	roots cdp.bitmap;
	found cdp.bitmap;
BEGIN
	SELECT cdp.rb_or_agg(cdp.tagged(t)) INTO known FROM cdp._tags_of_key(chr(1) || 'kind') t;
	known := coalesce(known, '{}');
	rest := cdp.rb_andnot(audience, known);
	IF cdp.rb_is_empty(rest) THEN
		RETURN audience;
	END IF;
	SELECT cdp.rb_build_agg(p.canonical_id), cdp.rb_build_agg(p.profile_id) INTO roots, found
	FROM cdp.profile p WHERE p.profile_id IN (SELECT cdp.rb_iterate(rest));
	rest := cdp.rb_andnot(rest, coalesce(found, '{}'));
	-- somebody may have been erased since the set was made
	IF NOT cdp.rb_is_empty(rest) THEN
		rest := cdp.rb_andnot(rest, coalesce((SELECT cdp.rb_build_agg(e.profile_id) FROM cdp.erased_profile e
											  WHERE e.profile_id IN (SELECT cdp.rb_iterate(rest))), '{}'));
	END IF;
	IF NOT cdp.rb_is_empty(rest) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('profile %s does not exist', cdp.rb_min(rest)),
			DETAIL = format('Of the set, %s never existed: %s.', CASE cdp.rb_cardinality(rest) WHEN 1 THEN 'one profile' ELSE cdp.rb_cardinality(rest) || ' profiles' END,
							array_to_string(cdp.rb_to_array(cdp.rb_select(rest, 10)), ', ') || CASE WHEN cdp.rb_cardinality(rest) > 10 THEN ', …' ELSE '' END);
	END IF;
	RETURN cdp.rb_or(cdp.rb_and(audience, known), coalesce(roots, '{}'));
END
$$;
COMMENT ON FUNCTION cdp._canonical_set(cdp.bitmap) IS 'the canonical profiles of a set of profiles, without those that were erased';

CREATE FUNCTION cdp._tag_set_once(audience cdp.bitmap, tag text, present boolean, expires_at timestamptz, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	key text;
	ids cdp.bitmap;
	names text[];
	added cdp.bitmap[];
	removed cdp.bitmap[];
	ending cdp.bitmap;
BEGIN
	PERFORM cdp._check_tag(_tag_set_once.tag);
	PERFORM cdp._check_tag_time(_tag_set_once.expires_at, _tag_set_once.at);
	IF audience IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'audience must not be null';
	END IF;
	PERFORM cdp._lock_merges();				-- before all others, as a tick, which excludes this
	key := cdp._exclusive_key(_tag_set_once.tag);
	PERFORM cdp._lock_tag_sets(ARRAY[coalesce(key, _tag_set_once.tag)], true);
	IF NOT present THEN
		key := NULL;
	ELSIF key IS NOT NULL THEN
		PERFORM pg_advisory_xact_lock(cdp._key_lock(key));
	END IF;
	ids := cdp._canonical_set(audience);
	-- An old snapshot may not know a merge that is done by now: 40001.
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		PERFORM FROM cdp.profile p WHERE p.profile_id IN (SELECT cdp.rb_iterate(ids)) ORDER BY p.profile_id FOR KEY SHARE SKIP LOCKED;
	END IF;
	PERFORM cdp._own_tags(ids, _tag_set_once.tag, _tag_set_once.present, _tag_set_once.expires_at, key, at);

	SELECT array_agg(o.tag ORDER BY o.tag), array_agg(CASE WHEN o.own AND _tag_set_once.present THEN o.members END ORDER BY o.tag),
		array_agg(CASE WHEN NOT (o.own AND _tag_set_once.present) THEN o.members END ORDER BY o.tag)
	INTO names, added, removed
	FROM (SELECT _tag_set_once.tag COLLATE "C", ids, true
		  UNION ALL
		  SELECT t COLLATE "C", cdp.rb_and(cdp.tagged(t), ids), false
		  FROM cdp._tags_of_key(key) t WHERE t <> _tag_set_once.tag) AS o(tag, members, own)
	WHERE o.own OR NOT cdp.rb_is_empty(o.members);
	PERFORM cdp._change_tags(names, added, removed, at, 'tag');

	FOR i IN 1 .. cardinality(names) LOOP
		SELECT cdp.rb_build_agg(e.profile_id) INTO ending FROM cdp.tag_expiry e WHERE e.tag = names[i];
		ending := cdp.rb_and(ending, coalesce(added[i], removed[i]));
		PERFORM FROM cdp.tag_expiry e
		WHERE e.tag = names[i] AND e.profile_id IN (SELECT cdp.rb_iterate(ending)) ORDER BY e.profile_id FOR UPDATE;
		DELETE FROM cdp.tag_expiry e WHERE e.tag = names[i] AND e.profile_id IN (SELECT cdp.rb_iterate(ending));
	END LOOP;
	IF _tag_set_once.expires_at IS NOT NULL THEN
		INSERT INTO cdp.tag_expiry (tag, profile_id, expires_at)
		SELECT _tag_set_once.tag, i, _tag_set_once.expires_at FROM cdp.rb_iterate(ids) i ORDER BY i
		ON CONFLICT (tag, profile_id) DO UPDATE SET expires_at = excluded.expires_at;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._tag_set_once(cdp.bitmap, text, boolean, timestamptz, timestamptz) IS 'an attempt at _tag_set';

CREATE FUNCTION cdp._tag_set(audience cdp.bitmap, tag text, present boolean, expires_at timestamptz, at timestamptz) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp._tag_set(cdp.bitmap, text, boolean, timestamptz, timestamptz) IS 'bulk form of tag and untag';

CREATE FUNCTION cdp.tag(audience cdp.bitmap, tag text, expires_at timestamptz DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT cdp._tag_set(audience, tag, true, expires_at, at);
END;
COMMENT ON FUNCTION cdp.tag(cdp.bitmap, text, timestamptz, timestamptz) IS 'gives a tag to every profile of a set';

CREATE FUNCTION cdp.untag(audience cdp.bitmap, tag text, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT cdp._tag_set(audience, tag, false, NULL, at);
END;
COMMENT ON FUNCTION cdp.untag(cdp.bitmap, text, timestamptz) IS 'takes a tag away from every profile of a set';

-- tasks of the clock

CREATE FUNCTION cdp._take_pending(tags text[], chunks bigint[], OUT tag text, OUT added cdp.bitmap, OUT removed cdp.bitmap, OUT rows bigint) RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__take_pending';
COMMENT ON FUNCTION cdp._take_pending(text[], bigint[]) IS 'deletes the pending changes of these tags and chunks, ascending, but those that somebody is at, and returns them';

-- Which chunks come first: those with many waiting rows, or old ones.  Looking
-- for them takes a scan of all that waits, so a large backlog is taken in
-- larger bites than asked for.
CREATE FUNCTION cdp._fold_tags(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	tags text[];
	chunks bigint[];
	taken record;
BEGIN
	SELECT array_agg(r.tag ORDER BY r.tag, r.chunk), array_agg(r.chunk ORDER BY r.tag, r.chunk) INTO tags, chunks
	FROM (
		SELECT w.tag, w.chunk,
			sum(w.rows) OVER (ORDER BY w.rows * greatest(extract(epoch FROM _fold_tags.now - w.oldest), 1) DESC, w.tag, w.chunk) - w.rows AS before,
			sum(w.rows) OVER () AS all_rows
		FROM (SELECT p.tag, p.profile_id >> 15 AS chunk, count(*) AS rows, min(p.since) AS oldest
			  FROM cdp.tag_pending p GROUP BY 1, 2) w
	) r
	WHERE r.before < greatest(_fold_tags.max_rows, r.all_rows / 8);
	-- All pending rows before the first chunk.
	SELECT array_agg(t.tag ORDER BY t.tag) AS tags, array_agg(t.added ORDER BY t.tag) AS added, array_agg(t.removed ORDER BY t.tag) AS removed,
		sum(t.rows) AS rows
	INTO taken FROM cdp._take_pending(tags, chunks) t;
	FOR i IN 1 .. coalesce(cardinality(taken.tags), 0) LOOP
		PERFORM cdp._write_chunks(taken.tags[i], taken.added[i], taken.removed[i]);
	END LOOP;
	done := coalesce(taken.rows, 0);
	SELECT coalesce(greatest(_fold_tags.now - min(p.since), interval '0'), interval '0') INTO lag FROM cdp.tag_pending p;
END
$$;
COMMENT ON FUNCTION cdp._fold_tags(timestamptz, int) IS 'task: moves about max_rows pending tag changes, or an eighth of all if that is more, into the chunks';

CREATE FUNCTION cdp._expire_tags(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	e record;
	changed boolean;
BEGIN
	done := 0;
	FOR e IN
		SELECT d.tag, d.profile_id, d.expires_at
		FROM (SELECT * FROM cdp.tag_expiry x WHERE x.expires_at <= _expire_tags.now ORDER BY x.expires_at LIMIT _expire_tags.max_rows) d
		ORDER BY d.tag, d.profile_id
	LOOP
		-- A profile that is being merged right now can wait: its tags and their
		-- expiry go over to the survivor together.
		PERFORM FROM cdp.profile p
		WHERE p.profile_id = e.profile_id AND p.canonical_id = e.profile_id FOR KEY SHARE SKIP LOCKED;
		CONTINUE WHEN NOT FOUND;
		-- The tag first, as everywhere: only then is it certain that nobody
		-- has just given the tag a new life.
		changed := cdp._set_tag(e.tag, e.profile_id, false);
		DELETE FROM cdp.tag_expiry x
		WHERE x.tag = e.tag AND x.profile_id = e.profile_id AND x.expires_at <= _expire_tags.now;
		IF NOT FOUND THEN
			IF changed THEN
				PERFORM cdp._set_tag(e.tag, e.profile_id, true);
			END IF;
			CONTINUE;
		END IF;
		IF changed THEN
			PERFORM cdp._note_tag_history(e.tag, e.profile_id, false, e.expires_at);
			PERFORM cdp._tag_trigger('leaves', e.tag, e.profile_id, e.expires_at);
		END IF;
		done := done + 1;
	END LOOP;
	SELECT _expire_tags.now - min(x.expires_at) INTO lag
	FROM cdp.tag_expiry x WHERE x.expires_at <= _expire_tags.now;
	IF lag IS NULL THEN
		PERFORM cdp._note_expired(_expire_tags.now);
		lag := interval '0';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._expire_tags(timestamptz, int) IS 'task: takes away tags whose time has come';

-- the universe

CREATE FUNCTION cdp._universe_add(profile_id bigint, kind text) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
BEGIN ATOMIC
	INSERT INTO cdp.tag_pending (tag, profile_id, present)
	VALUES (chr(1) || 'kind:' || _universe_add.kind, _universe_add.profile_id, true)
	ON CONFLICT (tag, profile_id) DO UPDATE SET present = true;
END;
COMMENT ON FUNCTION cdp._universe_add(bigint, text) IS 'a new canonical profile: rules range over it from now on';

-- A canonical profile is as old as its oldest leaf.  Normally almost nobody
-- is younger than "at"; when many are, the older ones are looked up instead.
CREATE FUNCTION cdp._universe(kind text, at timestamptz) RETURNS cdp.bitmap
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	members cdp.bitmap := cdp.tagged(chr(1) || 'kind:' || kind);
	younger cdp.bitmap;
	older cdp.bitmap;
	n bigint;
BEGIN
	SELECT cdp.rb_build_agg(y.canonical_id), count(*) INTO younger, n
	FROM (SELECT p.canonical_id FROM cdp.profile p
		  WHERE p.kind = _universe.kind AND p.first_at > _universe.at LIMIT 10001) y;
	IF n = 0 THEN
		RETURN members;
	END IF;
	IF n <= 10000 THEN
		SELECT cdp.rb_build_agg(p.canonical_id) INTO older FROM cdp.profile p
		WHERE p.canonical_id IN (SELECT cdp.rb_iterate(younger)) AND p.first_at <= _universe.at;
		RETURN cdp.rb_andnot(members, cdp.rb_andnot(younger, coalesce(older, '{}')));
	END IF;
	SELECT cdp.rb_build_agg(p.canonical_id) INTO older FROM cdp.profile p
	WHERE p.kind = _universe.kind AND p.first_at <= _universe.at;
	RETURN cdp.rb_and(members, coalesce(older, '{}'));
END
$$;
COMMENT ON FUNCTION cdp._universe(text, timestamptz) IS 'whom rules range over: canonical profiles of the kind, not suppressed or erased, first seen at or before at';

CREATE FUNCTION cdp._keep_universe() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM cdp._set_tag(chr(1) || 'kind:' || NEW.kind, NEW.profile_id,
						 NEW.canonical_id = NEW.profile_id AND NOT NEW.suppressed AND NEW.erased_at IS NULL);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._keep_universe() IS 'trigger: a suppressed or erased profile is in no audience';
CREATE TRIGGER profile_keep_universe AFTER UPDATE OF suppressed, erased_at ON cdp.profile
	FOR EACH ROW WHEN (OLD.suppressed <> NEW.suppressed OR OLD.erased_at IS DISTINCT FROM NEW.erased_at)
	EXECUTE FUNCTION cdp._keep_universe();
