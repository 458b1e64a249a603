/* 21_identity: which identifiers belong to which profile, and why */

CREATE TABLE cdp.identifier_link (
	identifier	cdp.identifier PRIMARY KEY,
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	source		text,
	peer		cdp.identifier,
	message_id	text
);
COMMENT ON TABLE cdp.identifier_link IS 'the leaf profile that owns each identifier';
COMMENT ON COLUMN cdp.identifier_link.at IS 'the earliest call that named it';
COMMENT ON COLUMN cdp.identifier_link.peer IS 'evidence: the call at this time, from this source, named it together with this one; NULL = no such, or it stands in extra_edge';
COMMENT ON COLUMN cdp.identifier_link.message_id IS 'of the evidence';
CREATE INDEX identifier_link_profile_id_idx ON cdp.identifier_link (profile_id);

/*
 * Evidence: two identifiers that one call named together (identity_edge).
 *
 * Most of it is about an identifier that the very call introduced, and says
 * nothing that its row of identifier_link does not say as well but the other
 * identifier.  So it stands there (peer), and needs no row of its own with an
 * index over two identifiers; a call about known ones finds it while it looks
 * up to whom they belong.  That is so only as long as
 *
 * - it is of a call, holds, and at and source are those of the link, and
 * - both identifiers are of the same leaf: so unmerge, which parts leaves, never
 *   touches it, and only split does.
 *
 * All other evidence is in extra_edge: two that were linked before, one that
 * was linked by an earlier call, what is overruled, what an alias or a split
 * says.  Whoever changes at or profile_id of a link, or what its evidence
 * says, moves it there first (_move_edges_out): a call does not even look up an
 * identifier that is the peer of another one it names (src/store/stitch.c).  A pair is in one place only,
 * because a link gets a peer only while it is inserted.
 */
CREATE TABLE cdp.extra_edge (
	a			cdp.identifier NOT NULL,
	b			cdp.identifier NOT NULL,
	at			timestamptz NOT NULL,
	source		text,
	message_id	text,
	cause		text NOT NULL DEFAULT 'call',
	inactive_at	timestamptz,
	PRIMARY KEY (a, b),
	CONSTRAINT extra_edge_order_check CHECK (a OPERATOR(cdp.<) b),
	CONSTRAINT extra_edge_cause_check CHECK (cause IN ('call', 'alias', 'split'))
);
COMMENT ON TABLE cdp.extra_edge IS 'evidence that does not stand in identifier_link: see identity_edge';
COMMENT ON COLUMN cdp.extra_edge.at IS 'the earliest such call; source and message_id are its';
COMMENT ON COLUMN cdp.extra_edge.cause IS 'call: named together; alias: a message said that one is the other''s new name; split: split() left them together';
COMMENT ON COLUMN cdp.extra_edge.inactive_at IS 'when unmerge or split overruled it: since then it links nothing; NULL = it holds';
-- what was overruled may end in another profile
CREATE INDEX extra_edge_overruled_idx ON cdp.extra_edge (b) WHERE inactive_at IS NOT NULL;

CREATE VIEW cdp.identity_edge WITH (security_invoker) AS
	SELECT least(l.identifier, l.peer) AS a, greatest(l.identifier, l.peer) AS b, l.at, l.source, l.message_id,
		   'call' AS cause, NULL::timestamptz AS inactive_at
	FROM cdp.identifier_link l WHERE l.peer IS NOT NULL
	UNION ALL
	SELECT e.a, e.b, e.at, e.source, e.message_id, e.cause, e.inactive_at FROM cdp.extra_edge e;
COMMENT ON VIEW cdp.identity_edge IS 'two identifiers that one call named together: the evidence for a link or a merge';
COMMENT ON COLUMN cdp.identity_edge.at IS 'the earliest such call; source and message_id are its';
COMMENT ON COLUMN cdp.identity_edge.cause IS 'call: named together; alias: a message said that one is the other''s new name; split: split() left them together';
COMMENT ON COLUMN cdp.identity_edge.inactive_at IS 'when unmerge or split overruled it: since then it links nothing; NULL = it holds';

-- By primary keys, where the view would be read from end to end.
CREATE FUNCTION cdp._edges_of(ids cdp.identifier[]) RETURNS SETOF cdp.identity_edge
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
BEGIN ATOMIC
	SELECT least(l.identifier, l.peer), greatest(l.identifier, l.peer), l.at, l.source, l.message_id, 'call', NULL::timestamptz
	FROM cdp.identifier_link l WHERE l.identifier OPERATOR(cdp.=) ANY (ids) AND l.peer IS NOT NULL
	UNION ALL
	SELECT e.a, e.b, e.at, e.source, e.message_id, e.cause, e.inactive_at FROM cdp.extra_edge e WHERE e.a OPERATOR(cdp.=) ANY (ids);
END;
COMMENT ON FUNCTION cdp._edges_of(cdp.identifier[])
	IS 'the evidence about these identifiers, which must be all of some leaves; without what joins the second of a pair to somebody outside';

CREATE FUNCTION cdp._has_evidence(a cdp.identifier, b cdp.identifier, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM cdp.identifier_link l
				   WHERE l.identifier OPERATOR(cdp.=) ANY (ARRAY[a, b]) AND l.peer OPERATOR(cdp.=) ANY (ARRAY[a, b]) AND l.at <= _has_evidence.at)
		OR EXISTS (SELECT FROM cdp.extra_edge e
				   WHERE e.a OPERATOR(cdp.=) least(_has_evidence.a, _has_evidence.b) AND e.b OPERATOR(cdp.=) greatest(_has_evidence.a, _has_evidence.b)
					 AND e.at <= _has_evidence.at AND e.inactive_at IS NULL);
END;
COMMENT ON FUNCTION cdp._has_evidence(cdp.identifier, cdp.identifier, timestamptz) IS 'is there evidence for this pair, of that time or before, that holds?';

-- The caller may lock these links: identifiers go before profiles.
CREATE FUNCTION cdp._move_edges_out(ids cdp.identifier[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
	WITH moved AS (
		SELECT l.identifier, l.peer, l.at, l.source, l.message_id
		FROM cdp.identifier_link l WHERE l.identifier OPERATOR(cdp.=) ANY (ids) AND l.peer IS NOT NULL
		ORDER BY l.identifier FOR UPDATE
	), emptied AS (
		UPDATE cdp.identifier_link l SET peer = NULL, message_id = NULL FROM moved m WHERE l.identifier OPERATOR(cdp.=) m.identifier
	)
	INSERT INTO cdp.extra_edge (a, b, at, source, message_id)
	SELECT least(m.identifier, m.peer), greatest(m.identifier, m.peer), m.at, m.source, m.message_id FROM moved m
	ON CONFLICT DO NOTHING;
$$;
COMMENT ON FUNCTION cdp._move_edges_out(cdp.identifier[]) IS 'evidence that stands in these links gets a row of its own';

CREATE SEQUENCE cdp.merge_id_seq;
COMMENT ON SEQUENCE cdp.merge_id_seq IS 'ids of merges, in order of decision';
CREATE TABLE cdp.profile_merge (
	merge_id	bigint PRIMARY KEY DEFAULT nextval('cdp.merge_id_seq'),
	survivor	bigint NOT NULL,
	merged		bigint NOT NULL,
	at			timestamptz NOT NULL,
	cause		text NOT NULL,
	source		text,
	reason		text,
	evidence	cdp.identifier[] NOT NULL DEFAULT '{}',
	members		bigint[] NOT NULL,
	tags		text[] NOT NULL DEFAULT '{}',
	undone_at	timestamptz,
	leaf_a		bigint NOT NULL,
	leaf_b		bigint NOT NULL,
	expired_to	timestamptz,
	kept_apart	boolean,
	undone_reason text,
	CONSTRAINT profile_merge_cause_check CHECK (cause IN ('identifiers', 'manual', 'alias'))
);
COMMENT ON TABLE cdp.profile_merge IS 'every merge with its evidence and what it moved, so that it can be undone exactly';
COMMENT ON COLUMN cdp.profile_merge.evidence IS 'the identifiers whose meeting caused the merge';
COMMENT ON COLUMN cdp.profile_merge.members IS 'the profiles whose canonical profile changed from merged to survivor; like these and tags, worked out again when an earlier merge is undone';
COMMENT ON COLUMN cdp.profile_merge.tags IS 'the tags that the survivor did not have before';
COMMENT ON COLUMN cdp.profile_merge.leaf_a IS 'one end of the link: the leaf that owns the identifier that decided; by hand: the survivor';
COMMENT ON COLUMN cdp.profile_merge.leaf_b IS 'the other end: the leaf that the evidence joined to it; by hand: the merged profile';
COMMENT ON COLUMN cdp.profile_merge.expired_to IS 'how far tick had taken tags away by then';
COMMENT ON COLUMN cdp.profile_merge.kept_apart IS 'undone: was the pair put into never_merge?';
CREATE INDEX profile_merge_survivor_idx ON cdp.profile_merge (survivor);
CREATE INDEX profile_merge_leaf_a_idx ON cdp.profile_merge (leaf_a);
CREATE INDEX profile_merge_leaf_b_idx ON cdp.profile_merge (leaf_b);
CREATE INDEX profile_merge_merged_idx ON cdp.profile_merge (merged);

CREATE FUNCTION cdp.canonical_id(profile_id bigint) RETURNS bigint
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT p.canonical_id FROM cdp.profile p WHERE p.profile_id = canonical_id.profile_id;
END;
COMMENT ON FUNCTION cdp.canonical_id(bigint) IS 'the profile that this one was merged into, or itself; NULL if there is none';

CREATE FUNCTION cdp.resolve(identifier cdp.identifier) RETURNS bigint
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT p.canonical_id
	FROM cdp.identifier_link l JOIN cdp.profile p ON p.profile_id = l.profile_id
	WHERE l.identifier OPERATOR(cdp.=) resolve.identifier;
END;
COMMENT ON FUNCTION cdp.resolve(cdp.identifier) IS 'the canonical profile that owns the identifier; NULL if nobody does';

CREATE FUNCTION cdp.resolve(identifier cdp.identifier, as_of timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN (SELECT _root_at(coalesce((SELECT s.from_profile FROM identifier_split s
									  WHERE s.identifier = l.identifier AND s.at > as_of ORDER BY s.at, s.split_id LIMIT 1),
									 l.profile_id), as_of)
			FROM identifier_link l
			WHERE l.identifier = resolve.identifier AND l.at <= as_of);
END
$$;
COMMENT ON FUNCTION cdp.resolve(cdp.identifier, timestamptz) IS 'the same by the links, merges and splits that stood at as_of';

-- src/store/stitch_write.c does the same without a query.
CREATE FUNCTION cdp._new_profile(profile_id bigint, kind text, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO profile (profile_id, kind, canonical_id, first_at)
	VALUES (_new_profile.profile_id, _new_profile.kind, _new_profile.profile_id, _new_profile.at);
	INSERT INTO profile_queue (profile_id, at, cause) VALUES (_new_profile.profile_id, _new_profile.at, 'first');
	PERFORM _universe_add(_new_profile.profile_id, _new_profile.kind);
END
$$;
COMMENT ON FUNCTION cdp._new_profile(bigint, text, timestamptz) IS 'make the profile with this id, which comes from profile_id_seq';

CREATE FUNCTION cdp._new_profile(kind text, at timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	id	bigint := nextval('profile_id_seq');
BEGIN
	PERFORM _new_profile(id, _new_profile.kind, _new_profile.at);
	RETURN id;
END
$$;
COMMENT ON FUNCTION cdp._new_profile(text, timestamptz) IS 'make a profile';

CREATE FUNCTION cdp._max_identifiers() RETURNS int
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__max_identifiers';
COMMENT ON FUNCTION cdp._max_identifiers() IS 'how many identifiers one call or message may name';

-- What is known about some identifiers, highest priority first.
CREATE FUNCTION cdp._look_up(identifiers cdp.identifier[], at timestamptz, OUT ids cdp.identifier[], OUT kinds text[],
							 OUT leaves bigint[], OUT roots bigint[], OUT late boolean)
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__look_up';
COMMENT ON FUNCTION cdp._look_up(cdp.identifier[], timestamptz)
	IS 'what is known about these identifiers, highest priority first; late: one of them was linked later than that';

CREATE FUNCTION cdp._stitch(identifiers cdp.identifier[], kind text, at timestamptz, source text, message_id text DEFAULT NULL,
							alone boolean DEFAULT true, wait boolean DEFAULT true, OUT leaf_id bigint, OUT canonical_id bigint, OUT via cdp.identifier)
LANGUAGE C AS 'MODULE_PATHNAME', 'mcdp__stitch';
COMMENT ON FUNCTION cdp._stitch(cdp.identifier[], text, timestamptz, text, text, boolean, boolean)
	IS 'the one way identifiers become a profile: looks them up, makes, links and merges what is needed; not alone: as an attempt of the caller (_stitch_try)';

CREATE FUNCTION cdp._stitch_known(identifiers cdp.identifier[], at timestamptz, OUT leaf_id bigint, OUT canonical_id bigint, OUT via cdp.identifier)
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__stitch_known';
COMMENT ON FUNCTION cdp._stitch_known(cdp.identifier[], timestamptz) IS 'what _stitch answers when it has nothing to write; else NULLs';

-- By bytes: who has to wait all the same does so in this order.
CREATE FUNCTION cdp._claim(identifiers cdp.identifier[], leaves bigint[], at timestamptz, source text) RETURNS int
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__claim';
COMMENT ON FUNCTION cdp._claim(cdp.identifier[], bigint[], timestamptz, text)
	IS 'links new identifiers without waiting; 0: done; n: nothing was, the nth is linked or being linked by somebody else; NULL: a query has to do it';

-- An attempt: CDP01 when it would have to wait (or what it found is so no more).
CREATE FUNCTION cdp._stitch_try(identifiers cdp.identifier[], kind text, at timestamptz, source text, message_id text, wait boolean,
								OUT leaf_id bigint, OUT canonical_id bigint, OUT via cdp.identifier)
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	asked		text := kind;
	-- what is known about each identifier, highest priority first
	ids			identifier[];
	kinds		text[];			-- of its profile or else its namespace; NULL: follows the call
	leaves		bigint[];		-- NULL: unknown
	roots		bigint[];
	late		boolean;		-- some of them were not known that early
	-- the same for those of the call's kind
	own			identifier[];
	own_leaves	bigint[];
	own_roots	bigint[];
	-- unknown ones and the leaves they get
	unknown		identifier[];
	targets		bigint[];
	matched		identifier[];
	taken		int;
	-- what is to be one profile
	accepted	identifier[] := '{}';
	joined		bigint[] := '{}';		-- canonical profiles
	added		identifier[] := '{}';	-- new identifiers
	checked		boolean := false;		-- blocked values are out
	weighed		boolean := false;		-- and quarantined identifiers
	reason		text;
	leaf		bigint;
	fresh		bigint;			-- id for a new profile
	root		bigint;
	via_root	bigint;
BEGIN
	IF identifiers IS NULL OR array_position(identifiers, NULL) IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'identifiers must not be null';
	ELSIF cardinality(identifiers) = 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at least one identifier is needed';
	ELSIF _stitch_try.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'at must not be null';
	ELSIF NOT isfinite(_stitch_try.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'at must be finite';
	ELSIF kind = '' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'kind must not be empty';
	END IF;

	PERFORM _hurry(wait);
	LOOP
		SELECT k.ids, k.kinds, k.leaves, k.roots, k.late INTO ids, kinds, leaves, roots, late
		FROM _look_up(identifiers, _stitch_try.at) k;

		-- Which kind is it about?
		kind := asked;
		IF asked IS NULL AND array_position(kinds, NULL) IS NOT NULL THEN
			kind := 'person';		-- a namespace without a rule names a person, whoever is named beside
		ELSIF asked IS NULL OR (asked = 'person' AND asked <> ALL (kinds)) THEN
			kind := kinds[1];
		ELSIF asked <> ALL (kinds) THEN
			IF leaves[1] IS NOT NULL THEN
				RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
					MESSAGE = format('identifier "%s" belongs to a profile of kind "%s", not "%s"', ids[1], kinds[1], asked);
			END IF;
			kinds[1] := asked;
		END IF;

		own := '{}'; own_leaves := '{}'; own_roots := '{}'; leaf := NULL;
		FOR i IN 1 .. cardinality(ids) LOOP
			kinds[i] := coalesce(kinds[i], kind);
			IF kinds[i] = kind THEN
				own := own || ids[i];
				own_leaves := own_leaves || leaves[i];
				own_roots := own_roots || roots[i];
				leaf := coalesce(leaf, leaves[i]);
			END IF;
		END LOOP;

		-- All known and one profile already?
		IF array_position(leaves, NULL) IS NULL AND NOT late AND own_roots[1] = ALL (own_roots) THEN
			leaf_id := own_leaves[1];
			canonical_id := own_roots[1];
			via := own[1];
			IF cardinality(own) > 1 THEN
				-- They may be several by now, after an unmerge or a split.
				IF _try_profiles(own_leaves, wait) <> ARRAY[canonical_id] OR EXISTS (
					SELECT FROM unnest(own, own_leaves) u (identifier, leaf) JOIN identifier_link l ON l.identifier = u.identifier
					WHERE u.leaf <> l.profile_id) THEN
					RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
				END IF;
				PERFORM _add_edges(via, own, _stitch_try.at, source, message_id);
			END IF;
			IF cardinality(own) < cardinality(ids) THEN
				FOR i IN 1 .. cardinality(ids) LOOP
					IF kinds[i] <> kind THEN
						PERFORM _relate_kinds(leaf_id, leaves[i], kinds[i], _stitch_try.at, source);
					END IF;
				END LOOP;
			END IF;
			RETURN;
		END IF;

		-- Values that never link anybody.
		IF NOT checked THEN
			checked := true;
			SELECT array_agg(u.identifier) INTO matched
			FROM unnest(ids) u (identifier)
			WHERE _is_blocked(u.identifier);
			IF matched IS NOT NULL THEN
				IF cardinality(matched) = cardinality(ids) THEN
					RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
						MESSAGE = format('no identifier is left: the value of "%s" is blocked', matched[1]),
						HINT = 'See table blocked_value.';
				END IF;
				INSERT INTO identity_refusal (at, identifiers, reason, source)
				SELECT _stitch_try.at, ARRAY[u.identifier], 'blocked value', _stitch_try.source FROM unnest(matched) u (identifier);
				identifiers := ARRAY(SELECT d.identifier FROM unnest(identifiers) WITH ORDINALITY d (identifier, n)
									 WHERE d.identifier <> ALL (matched) ORDER BY d.n);
				CONTINUE;
			END IF;
		END IF;

		-- Identifiers in quarantine link nobody, either.
		IF NOT weighed AND cardinality(own) > 1 THEN
			weighed := true;
			SELECT array_agg(q.identifier) INTO matched FROM _quarantine(own, own_roots, _stitch_try.at, _stitch_try.source) q;
			IF matched IS NOT NULL THEN
				identifiers := ARRAY(SELECT d.identifier FROM unnest(identifiers) WITH ORDINALITY d (identifier, n)
									 WHERE d.identifier <> ALL (matched) ORDER BY d.n);
				CONTINUE;
			END IF;
		END IF;

		-- Claim what is unknown: those of the call's kind for the first known
		-- leaf, if there is one, the others each for a profile of its own.
		IF leaf IS NULL THEN
			fresh := coalesce(fresh, nextval('profile_id_seq'));
			leaf := fresh;
		END IF;
		unknown := '{}'; targets := '{}';
		FOR i IN 1 .. cardinality(ids) LOOP
			IF leaves[i] IS NULL THEN
				unknown := unknown || ids[i];
				targets := targets || CASE WHEN kinds[i] = kind THEN leaf ELSE nextval('profile_id_seq') END;
			END IF;
		END LOOP;
		EXIT;
	END LOOP;

	IF unknown <> '{}' THEN
		SELECT array_agg(u.identifier ORDER BY u.identifier), array_agg(u.leaf ORDER BY u.identifier) INTO unknown, targets
		FROM unnest(unknown, targets) u (identifier, leaf);
		IF NOT wait THEN
			taken := _claim(unknown, targets, _stitch_try.at, _stitch_try.source);
		END IF;
		IF taken > 0 THEN
			RAISE SQLSTATE 'CDP01' USING MESSAGE = 'identifier', DETAIL = unknown[taken];
		ELSIF taken IS NULL THEN
			INSERT INTO identifier_link (identifier, profile_id, at, source)
			SELECT u.identifier, u.leaf, _stitch_try.at, _stitch_try.source FROM unnest(unknown, targets) u (identifier, leaf) ORDER BY u.identifier
			ON CONFLICT DO NOTHING;
			GET DIAGNOSTICS taken = ROW_COUNT;
			IF taken < cardinality(unknown) THEN	-- somebody else was first with one of them
				RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
			END IF;
		END IF;
	END IF;
	PERFORM _refuse_erased(unknown);

	IF late THEN
		IF NOT wait THEN
			matched := ARRAY(SELECT l.identifier FROM identifier_link l WHERE l.identifier = ANY (ids) AND l.at > _stitch_try.at
							 ORDER BY l.identifier FOR UPDATE SKIP LOCKED);
			SELECT l.identifier INTO via FROM identifier_link l
			WHERE l.identifier = ANY (ids) AND l.at > _stitch_try.at AND l.identifier <> ALL (matched) LIMIT 1;
			IF FOUND THEN
				RAISE SQLSTATE 'CDP01' USING MESSAGE = 'identifier', DETAIL = via;
			END IF;
		END IF;
		FOR via IN SELECT u FROM unnest(ids) u ORDER BY u LOOP
			-- A limit within a time could be broken by moving it back.
			reason := _moves_against(via, _stitch_try.at);
			IF reason IS NULL THEN
				PERFORM _move_edges_out(ARRAY(SELECT l.identifier FROM identifier_link l WHERE l.identifier = via AND l.at > _stitch_try.at AND l.peer IS NOT NULL));
				UPDATE identifier_link l SET at = _stitch_try.at WHERE l.identifier = via AND l.at > _stitch_try.at;
			ELSE
				INSERT INTO identity_refusal (at, identifiers, reason, source)
				VALUES (_stitch_try.at, ARRAY[via], 'not linked that early: ' || reason, _stitch_try.source);
			END IF;
		END LOOP;
	END IF;

	-- Those that exist already, stable from here on.
	IF late THEN
		PERFORM _try_profiles(leaves, wait);
	ELSIF leaf IS DISTINCT FROM fresh
		AND (array_position(own_leaves, NULL) IS NOT NULL OR own_roots[1] <> ANY (own_roots))
	THEN
		PERFORM _try_profiles(own_leaves, wait);
	END IF;
	-- A split may have taken one of them elsewhere meanwhile, or it was erased.
	IF EXISTS (SELECT FROM identifier_split s WHERE s.identifier = ANY (ids)) AND EXISTS (
			SELECT FROM unnest(ids, leaves) u (identifier, leaf) JOIN identifier_link l ON l.identifier = u.identifier
			WHERE u.leaf <> l.profile_id)
		OR EXISTS (SELECT FROM unnest(leaves) u (leaf)
				   WHERE u.leaf IS NOT NULL AND NOT EXISTS (SELECT FROM profile p WHERE p.profile_id = u.leaf))
	THEN
		RAISE SQLSTATE 'CDP01' USING MESSAGE = '';
	END IF;
	IF leaf IS DISTINCT FROM fresh THEN
		own_roots := ARRAY(SELECT (SELECT p.canonical_id FROM profile p WHERE p.profile_id = u.profile_id)
						   FROM unnest(own_leaves) WITH ORDINALITY u (profile_id, n) ORDER BY u.n);
	END IF;

	-- What the rules leave of the call, highest priority first.  The first
	-- one always stays.
	IF cardinality(own) > 1
		AND (EXISTS (SELECT FROM namespace_rule r WHERE r.max_per_profile IS NOT NULL OR r.never_merge_if_different)
			 OR EXISTS (SELECT FROM never_merge))
	THEN
		FOR i IN 1 .. cardinality(own) LOOP
			reason := NULL;
			IF own_roots[i] IS NULL OR own_roots[i] <> ALL (joined) THEN
				reason := _refusal(joined, added, own[i], own_roots[i], _stitch_try.at, unknown);
			END IF;
			IF reason IS NULL THEN
				accepted := accepted || own[i];
				IF own_roots[i] IS NULL THEN
					added := added || own[i];
				ELSIF own_roots[i] <> ALL (joined) THEN
					joined := joined || own_roots[i];
				END IF;
			ELSE
				INSERT INTO identity_refusal (at, identifiers, reason, source)
				VALUES (_stitch_try.at, ARRAY[accepted[1], own[i]], reason, _stitch_try.source);
				IF own_roots[i] IS NULL THEN
					DELETE FROM identifier_link l WHERE l.identifier = own[i];
				END IF;
			END IF;
		END LOOP;
	ELSIF leaf = fresh THEN
		accepted := own;
		added := own;
	ELSE
		accepted := own;
		joined := ARRAY(SELECT DISTINCT r FROM unnest(own_roots) r WHERE r IS NOT NULL);
		added := ARRAY(SELECT u.identifier FROM unnest(own, own_roots) u (identifier, root) WHERE u.root IS NULL);
	END IF;
	via := accepted[1];

	-- Make the profile, or extend and merge those there are.
	IF joined = '{}' THEN
		root := coalesce(fresh, nextval('profile_id_seq'));
		PERFORM _new_profile(root, kind, _stitch_try.at);
		canonical_id := root;
	ELSE
		SELECT u.leaf INTO root
		FROM unnest(own, own_leaves) WITH ORDINALITY u (identifier, leaf, n)
		WHERE u.leaf IS NOT NULL AND u.identifier = ANY (accepted) ORDER BY u.n LIMIT 1;
		SELECT min(r) INTO canonical_id FROM unnest(joined) r;
	END IF;
	IF leaf <> root THEN
		-- the owner of the claimed ones was refused
		UPDATE identifier_link l SET profile_id = root WHERE l.identifier = ANY (added);
	END IF;
	leaf_id := coalesce(own_leaves[array_position(own, via)], root);
	IF cardinality(joined) > 1 THEN
		-- The one that decides links each of the others (as its edges do), so
		-- its own profile goes first.
		PERFORM _try_merges(wait);
		via_root := canonical_id(leaf_id);
		FOR root IN SELECT r FROM unnest(joined) r WHERE r <> _stitch_try.canonical_id ORDER BY r <> via_root, r LOOP
			PERFORM _merge_profiles(_stitch_try.canonical_id, root, _stitch_try.at, 'identifiers', source, NULL,
				via || ARRAY(SELECT u.identifier FROM unnest(own, own_roots) WITH ORDINALITY u (identifier, root_id, n)
							 WHERE u.identifier = ANY (accepted)
							   AND u.root_id = CASE WHEN root = via_root THEN _stitch_try.canonical_id ELSE root END ORDER BY u.n));
		END LOOP;
	END IF;
	IF cardinality(accepted) > 1 THEN
		PERFORM _add_edges(via, accepted, _stitch_try.at, source, message_id);
	END IF;

	-- Profiles of other kinds are related.
	FOR i IN 1 .. cardinality(ids) LOOP
		IF kinds[i] <> kind THEN
			IF leaves[i] IS NULL THEN
				leaves[i] := targets[array_position(unknown, ids[i])];
				PERFORM _new_profile(leaves[i], kinds[i], _stitch_try.at);
			END IF;
			PERFORM _relate_kinds(leaf_id, leaves[i], kinds[i], _stitch_try.at, source);
		END IF;
	END LOOP;

	IF late THEN
		WITH earlier AS (
			UPDATE profile p SET first_at = _stitch_try.at
			WHERE p.first_at > _stitch_try.at AND p.profile_id = ANY (leaves)
			  AND NOT EXISTS (SELECT FROM unnest(own, own_leaves) u (identifier, leaf)
							  WHERE u.leaf = p.profile_id AND u.identifier <> ALL (accepted))
			RETURNING p.canonical_id
		), queued AS (
			INSERT INTO profile_queue (profile_id, at, cause)
			SELECT DISTINCT e.canonical_id, _stitch_try.at, 'first' FROM earlier e
		)
		-- a refresh may have been for an instant between both
		INSERT INTO segment_dirty (input, members, cause)
		SELECT '', rb_build_agg(e.canonical_id), 'time' FROM earlier e HAVING count(*) > 0;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._stitch_try(cdp.identifier[], text, timestamptz, text, text, boolean)
	IS 'an attempt at _stitch_new; wait: for whoever is in the way, in the order of the locks, else CDP01 says what it would have to wait for';

CREATE FUNCTION cdp._stitch_new(identifiers cdp.identifier[], kind text, at timestamptz, source text, message_id text,
								OUT leaf_id bigint, OUT canonical_id bigint, OUT via cdp.identifier)
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	attempt	int := 1;
	state	text;
	what	text;
	which	text;
BEGIN
	LOOP
		BEGIN
			SELECT t.leaf_id, t.canonical_id, t.via INTO leaf_id, canonical_id, via
			FROM _stitch_try(identifiers, kind, _stitch_new.at, source, message_id, attempt > 20) t;
			RETURN;
		EXCEPTION WHEN SQLSTATE 'CDP01' OR deadlock_detected OR lock_not_available THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, what = MESSAGE_TEXT, which = PG_EXCEPTION_DETAIL;
		END;
		-- A circle is soon the affair of the large call of which this is a part.
		attempt := _let_go(attempt, state, what, which, CASE WHEN state = '40P01' AND _holds_identities() THEN 5 ELSE 40 END);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._stitch_new(cdp.identifier[], text, timestamptz, text, text)
	IS '_stitch when there is something to write: makes, links and merges profiles';

-- What the part "late" above does, for many (src/store/stitch_many_late.c).
-- Each identifier and leaf is found by its key, whatever statistics say.
CREATE FUNCTION cdp._move_links_back(identifiers text[], ats timestamptz[], wait boolean) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	ids		identifier[] := identifiers;
	held	identifier[];
BEGIN
	IF wait THEN
		PERFORM FROM identifier_link l WHERE l.identifier = ANY (ids) ORDER BY l.identifier FOR UPDATE;
	ELSE
		held := ARRAY(SELECT l.identifier FROM identifier_link l WHERE l.identifier = ANY (ids) FOR UPDATE SKIP LOCKED);
		IF EXISTS (SELECT FROM identifier_link l WHERE l.identifier = ANY (ids) AND l.identifier <> ALL (held)) THEN
			RAISE SQLSTATE 'CDP01';
		END IF;
	END IF;
	PERFORM _move_edges_out(ids);
	UPDATE identifier_link l SET at = u.at FROM unnest(ids, ats) u (identifier, at) WHERE l.identifier = u.identifier AND l.at > u.at;
END
$$;
COMMENT ON FUNCTION cdp._move_links_back(text[], timestamptz[], boolean) IS 'these identifiers were known that early already; takes the locks of identifiers, or CDP01: without waiting it cannot be done';

CREATE FUNCTION cdp._move_profiles_back(leaves bigint[], ats timestamptz[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	WITH earlier AS (
		UPDATE profile p SET first_at = u.at
		FROM (SELECT t.leaf, min(t.at) AS at FROM unnest(leaves, ats) t (leaf, at) GROUP BY t.leaf) u
		WHERE p.profile_id = u.leaf AND p.first_at > u.at
		RETURNING p.canonical_id, p.first_at
	), queued AS (
		INSERT INTO profile_queue (profile_id, at, cause)
		SELECT e.canonical_id, min(e.first_at), 'first' FROM earlier e GROUP BY e.canonical_id
	)
	INSERT INTO segment_dirty (input, members, cause)
	SELECT '', rb_build_agg(e.canonical_id), 'time' FROM earlier e HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION cdp._move_profiles_back(bigint[], timestamptz[]) IS 'these leaves were known that early already; the caller holds their profiles';

-- Evidence that one call named them together; writes only what is new.
CREATE FUNCTION cdp._add_edges(anchor cdp.identifier, others cdp.identifier[], at timestamptz, source text, message_id text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	other	identifier;
	low		identifier;
	high	identifier;
	known	timestamptz;
BEGIN
	FOR other IN SELECT o FROM unnest(others) o WHERE o <> anchor ORDER BY o LOOP
		low := CASE WHEN anchor < other THEN anchor ELSE other END;
		high := CASE WHEN anchor < other THEN other ELSE anchor END;
		-- that is never later than this call: see "late" above
		CONTINUE WHEN EXISTS (SELECT FROM identifier_link l WHERE l.identifier IN (low, high) AND l.peer IN (low, high));
		-- one that was overruled holds again from now on
		SELECT e.at INTO known FROM extra_edge e WHERE e.a = low AND e.b = high AND e.inactive_at IS NULL;
		IF known IS NULL OR known > _add_edges.at THEN
			INSERT INTO extra_edge AS e (a, b, at, source, message_id)
			VALUES (low, high, _add_edges.at, _add_edges.source, _add_edges.message_id)
			ON CONFLICT ON CONSTRAINT extra_edge_pkey
			DO UPDATE SET at = excluded.at, source = excluded.source, message_id = excluded.message_id, inactive_at = NULL
			WHERE e.at > excluded.at OR e.inactive_at IS NOT NULL;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._add_edges(cdp.identifier, cdp.identifier[], timestamptz, text, text)
	IS 'record that one call named these identifiers together with the anchor';

CREATE FUNCTION cdp.identify(identifiers cdp.identifier[], traits jsonb DEFAULT '{}', at timestamptz DEFAULT now(),
							 source text DEFAULT NULL, kind text DEFAULT 'person') RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'mcdp_identify';
COMMENT ON FUNCTION cdp.identify(cdp.identifier[], jsonb, timestamptz, text, text)
	IS 'these identifiers belong to one profile, and it has these traits; returns the canonical profile id';

-- For calls that say nothing else: see src/store/stitch_fn.c.  That of varchar
-- is there because an array of them would else fit two of the others.
CREATE FUNCTION cdp.identify(identifiers text[]) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'mcdp_identify_texts';
COMMENT ON FUNCTION cdp.identify(text[]) IS 'these identifiers belong to one person; returns the canonical profile id';

CREATE FUNCTION cdp.identify(identifiers varchar[]) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'mcdp_identify_texts';
COMMENT ON FUNCTION cdp.identify(varchar[]) IS 'these identifiers belong to one person; returns the canonical profile id';

CREATE FUNCTION cdp.identify(identifiers text) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'mcdp_identify_text';
COMMENT ON FUNCTION cdp.identify(text) IS 'the identifiers of this array, {email:a@b.c,...}, belong to one person; returns the canonical profile id';
