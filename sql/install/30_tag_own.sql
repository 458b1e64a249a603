/* 30_tag_own: tags and merges
 *
 * A merge brings the tags of the merged profile to its survivor; those that
 * the survivor has, or that its exclusive keys forbid, are dropped.  To undo
 * one merge of many, this is done again without it: that needs what was done
 * to each profile itself.  tag_own keeps it, for profiles that take part in a
 * merge (nobody else pays for it):
 *
 *		after_merge 0	the tags that the profile had before its first merge
 *		after_merge m	what calls changed between m, a merge into the profile,
 *						and the next one: the last change of each tag
 *
 * Two kinds of tag in it are none of a user's: chr(1) alone only says that
 * merge m took place; "key:" stands for a tag of that exclusive key being
 * given, which took away all others of the key.  Rows of one profile and
 * merge are applied in this order: first the keys, then the tags.
 *
 * Of tags whose history is kept tag_call has every call in between that may be a
 * change without some merge: so that their history, too, is worked out again.
 *
 * Only changes by tag and untag count.  Maintained tags are worked out anew
 * by whoever maintains them; a tag whose time is over (tag_clock) is gone.
 *
 * Locks: a row of tag_own is taken before that of tag_pending, and by bulk
 * and single changes alike: so whoever comes last there has the last word.
 * Single changes do not lock the row of a profile without rows here
 * (tag_change.c): merging and undoing begin with _lock_tags.
 */

CREATE TABLE cdp.tag_own (
	profile_id	bigint NOT NULL,
	after_merge	bigint NOT NULL,
	tag			text COLLATE "C" NOT NULL,
	present		boolean NOT NULL,
	expires_at	timestamptz,
	PRIMARY KEY (profile_id, after_merge, tag)
);
COMMENT ON TABLE cdp.tag_own IS 'what calls did to the tags of merged profiles themselves, so that a merge can be undone';

CREATE TABLE cdp.tag_call (
	profile_id	bigint NOT NULL,
	after_merge	bigint NOT NULL,
	nr			bigint NOT NULL DEFAULT nextval('cdp.tag_history_id_seq'),
	tag			text COLLATE "C" NOT NULL,
	present		boolean NOT NULL,
	instead		boolean NOT NULL,
	at			timestamptz NOT NULL,
	expires_at	timestamptz,
	expired_to	timestamptz,
	PRIMARY KEY (profile_id, after_merge, nr)
);
COMMENT ON TABLE cdp.tag_call IS 'calls that changed, or might have changed, tags with history of merged profiles; beside tag_own';
COMMENT ON COLUMN cdp.tag_call.instead IS 'it took away the others of its exclusive key';
COMMENT ON COLUMN cdp.tag_call.expired_to IS 'up to when tick had taken tags away';

CREATE TABLE cdp.tag_clock (
	expired_to	timestamptz NOT NULL,
	only_row	boolean PRIMARY KEY DEFAULT true,
	CONSTRAINT tag_clock_only_row_check CHECK (only_row)
);
COMMENT ON TABLE cdp.tag_clock IS 'up to when tick has taken tags away';

CREATE FUNCTION cdp._note_expired(now timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF EXISTS (SELECT FROM cdp.tag_clock c WHERE c.expired_to >= now) THEN
		RETURN;
	END IF;
	INSERT INTO cdp.tag_clock AS c (expired_to) VALUES (now)
	ON CONFLICT (only_row) DO UPDATE SET expired_to = excluded.expired_to WHERE c.expired_to < excluded.expired_to;
END
$$;
COMMENT ON FUNCTION cdp._note_expired(timestamptz) IS 'no tag that ends up to this instant is left';

-- what calls do

-- The caller has written, and so locked, the rows of tag_own.  A call that does
-- what the last one of its tag (or key) has done changes nothing, whatever was merged.
CREATE FUNCTION cdp._note_tag_calls(ids bigint[], epochs bigint[], tag text, present boolean, expires_at timestamptz, key text, at timestamptz) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	INSERT INTO cdp.tag_call (profile_id, after_merge, tag, present, instead, at, expires_at, expired_to)
	SELECT m.id, m.epoch, _note_tag_calls.tag, _note_tag_calls.present, key IS NOT NULL, _note_tag_calls.at, _note_tag_calls.expires_at, k.expired_to
	FROM unnest(ids, epochs) AS m(id, epoch)
	LEFT JOIN cdp.tag_clock k ON true
	LEFT JOIN LATERAL (
		SELECT c.* FROM cdp.tag_call c
		WHERE c.profile_id = m.id AND c.after_merge = m.epoch
			AND (c.tag = _note_tag_calls.tag COLLATE "C" OR (c.instead OR key IS NOT NULL) AND split_part(c.tag, ':', 1) = split_part(_note_tag_calls.tag, ':', 1) COLLATE "C")
		ORDER BY c.nr DESC LIMIT 1) c ON true
	WHERE cdp._keeps_history(_note_tag_calls.tag)
		AND ((c.tag, c.present, c.instead, c.expires_at) IS DISTINCT FROM
			 (_note_tag_calls.tag COLLATE "C", _note_tag_calls.present, key IS NOT NULL, _note_tag_calls.expires_at) OR c.expires_at <= k.expired_to);
END;
COMMENT ON FUNCTION cdp._note_tag_calls(bigint[], bigint[], text, boolean, timestamptz, text, timestamptz) IS 'notes a call for merged profiles, if the history of the tag is kept';

CREATE FUNCTION cdp._own_tag(id bigint, tag text, present boolean, expires_at timestamptz, key text, at timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	epoch bigint;
BEGIN
	SELECT o.after_merge INTO epoch FROM cdp.tag_own o WHERE o.profile_id = id ORDER BY o.after_merge DESC LIMIT 1;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF key IS NOT NULL THEN
		DELETE FROM cdp.tag_own o
		WHERE o.profile_id = id AND o.after_merge = epoch
			AND o.tag > (key || ':') COLLATE "C" AND o.tag < (key || ';') COLLATE "C" AND o.tag <> _own_tag.tag;
		INSERT INTO cdp.tag_own (profile_id, after_merge, tag, present) VALUES (id, epoch, key || ':', false)
		ON CONFLICT DO NOTHING;
	END IF;
	INSERT INTO cdp.tag_own AS o (profile_id, after_merge, tag, present, expires_at)
	VALUES (id, epoch, _own_tag.tag, _own_tag.present, _own_tag.expires_at)
	ON CONFLICT (profile_id, after_merge, tag) DO UPDATE SET present = excluded.present, expires_at = excluded.expires_at;
	IF _own_tag.at IS NOT NULL THEN
		PERFORM cdp._note_tag_calls(ARRAY[id], ARRAY[epoch], _own_tag.tag, _own_tag.present, _own_tag.expires_at, key, _own_tag.at);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._own_tag(bigint, text, boolean, timestamptz, text, timestamptz) IS 'notes a change of a tag by a call, if the profile is a merged one; with the key of an exclusive tag that is given';

CREATE FUNCTION cdp._own_tags(ids cdp.bitmap, tag text, present boolean, expires_at timestamptz, key text, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	merged bigint[];
	epochs bigint[];
BEGIN
	SELECT array_agg(i.id ORDER BY i.id), array_agg(e.after_merge ORDER BY i.id) INTO merged, epochs
	FROM cdp.rb_iterate(CASE WHEN cdp.rb_cardinality(ids) > 1000 THEN cdp.rb_and(ids, cdp.tagged(chr(1) || 'merged')) ELSE ids END) AS i(id)
	CROSS JOIN LATERAL (SELECT o.after_merge FROM cdp.tag_own o WHERE o.profile_id = i.id ORDER BY o.after_merge DESC LIMIT 1) e;
	IF merged IS NULL THEN
		RETURN;
	END IF;
	-- First, as who takes the tag away: he waits for no other row.
	INSERT INTO cdp.tag_own AS o (profile_id, after_merge, tag, present, expires_at)
	SELECT m.id, m.epoch, _own_tags.tag, _own_tags.present, _own_tags.expires_at FROM unnest(merged, epochs) AS m(id, epoch) ORDER BY m.id
	ON CONFLICT (profile_id, after_merge, tag) DO UPDATE SET present = excluded.present, expires_at = excluded.expires_at;
	IF key IS NOT NULL THEN
		-- Nobody else gives tags of the key meanwhile, but they may be taken away.
		PERFORM FROM unnest(merged, epochs) AS m(id, epoch) JOIN cdp.tag_own o ON o.profile_id = m.id AND o.after_merge = m.epoch
		WHERE o.tag > (key || ':') COLLATE "C" AND o.tag < (key || ';') COLLATE "C"
		ORDER BY o.profile_id, o.tag FOR UPDATE OF o;
		DELETE FROM cdp.tag_own o USING unnest(merged, epochs) AS m(id, epoch)
		WHERE o.profile_id = m.id AND o.after_merge = m.epoch
			AND o.tag > (key || ':') COLLATE "C" AND o.tag < (key || ';') COLLATE "C" AND o.tag <> _own_tags.tag;
		INSERT INTO cdp.tag_own (profile_id, after_merge, tag, present)
		SELECT m.id, m.epoch, key || ':', false FROM unnest(merged, epochs) AS m(id, epoch) ORDER BY m.id
		ON CONFLICT DO NOTHING;
	END IF;
	PERFORM cdp._note_tag_calls(merged, epochs, _own_tags.tag, _own_tags.present, _own_tags.expires_at, key, _own_tags.at);
END
$$;
COMMENT ON FUNCTION cdp._own_tags(cdp.bitmap, text, boolean, timestamptz, text, timestamptz) IS 'the same for a change of many profiles';

-- merging

-- The caller has locked both profiles.  Whatever statistics say about
-- tag_pending, it is looked up by index; and tag_expiry by the profile's tags:
-- its index begins with the tag.
CREATE FUNCTION cdp._merge_tags(survivor bigint, merged bigint, merge_id bigint) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
	gained text[] := '{}';
	own text[];
	theirs text[];
	name text;
BEGIN
	LOCK TABLE cdp.profile_merge IN ROW EXCLUSIVE MODE;
	PERFORM cdp._lock_tags(ARRAY[survivor, merged]);
	own := ARRAY(SELECT t FROM cdp._all_tags_of(survivor) t);
	theirs := ARRAY(SELECT t FROM cdp._all_tags_of(merged) t);
	INSERT INTO cdp.tag_own (profile_id, after_merge, tag, present, expires_at)
	SELECT x.id, 0, x.tag, true, (SELECT e.expires_at FROM cdp.tag_expiry e WHERE e.tag = x.tag COLLATE "C" AND e.profile_id = x.id)
	FROM (SELECT survivor, unnest(own) UNION ALL SELECT merged, unnest(theirs)) AS x(id, tag)
	WHERE NOT cdp._is_maintained(x.tag) AND NOT EXISTS (SELECT FROM cdp.tag_own o WHERE o.profile_id = x.id);
	INSERT INTO cdp.tag_own (profile_id, after_merge, tag, present) VALUES (survivor, _merge_tags.merge_id, chr(1), true);

	FOR name IN SELECT t COLLATE "C" FROM unnest(theirs) t WHERE t !~ '^\u0001(seen|trait):'
				UNION SELECT chr(1) || 'merged' ORDER BY 1
	LOOP
		PERFORM cdp._set_tag(name, merged, false);
		IF name = chr(1) || 'merged' THEN
			PERFORM cdp._set_tag(name, survivor, true);
		ELSIF NOT cdp._is_maintained(name) AND name <> ALL (own) AND NOT EXISTS (
				SELECT FROM unnest(own || gained) o WHERE starts_with(o, cdp._exclusive_key(name) || ':')) THEN
			PERFORM cdp._set_tag(name, survivor, true);
			gained := gained || name;
		END IF;
	END LOOP;
	UPDATE cdp.tag_expiry e SET profile_id = _merge_tags.survivor
	WHERE e.profile_id = _merge_tags.merged AND e.tag = ANY (gained);
	DELETE FROM cdp.tag_expiry e WHERE e.profile_id = _merge_tags.merged AND e.tag = ANY (theirs);
	RETURN gained;
END
$$;
COMMENT ON FUNCTION cdp._merge_tags(bigint, bigint, bigint) IS 'moves the tags of a merged profile to its survivor; returns those that the survivor did not have';

-- undoing a merge

-- tags: {"vip": null, "trial": "2026-…"}, with the time at which each ends.
CREATE FUNCTION cdp._without_expired(tags jsonb, now timestamptz) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT tags - ARRAY(SELECT t.key FROM jsonb_each_text(tags) t WHERE t.value::timestamptz <= now);
END;
COMMENT ON FUNCTION cdp._without_expired(jsonb, timestamptz) IS 'the tags that have not ended by then';

CREATE FUNCTION cdp._with_own(tags jsonb, own jsonb, keys text[]) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT (tags - ARRAY(SELECT t FROM jsonb_object_keys(tags) t
						 WHERE EXISTS (SELECT FROM unnest(keys) k WHERE starts_with(t, k))
							OR EXISTS (SELECT FROM jsonb_each(own) o WHERE o.key = t)))
		|| coalesce((SELECT jsonb_object_agg(o.key, o.value -> 0) FROM jsonb_each(own) o WHERE jsonb_array_length(o.value) > 0), '{}');
END;
COMMENT ON FUNCTION cdp._with_own(jsonb, jsonb, text[]) IS 'tags after changes by calls: own is {tag: [expires_at]} for those given and {tag: []} for those taken away, keys are the exclusive ones';

CREATE FUNCTION cdp._note_again(id bigint, before jsonb, after jsonb, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF before <> after THEN
		INSERT INTO cdp.tag_history (tag, profile_id, at, present, merged)
		SELECT c.key, id, greatest(coalesce(_note_again.at, c.value::timestamptz), (SELECT max(h.at) FROM cdp.tag_history h WHERE h.profile_id = id AND h.tag = c.key COLLATE "C")),
			after ? c.key, true
		FROM jsonb_each_text(before || after) c
		WHERE before ? c.key <> after ? c.key AND cdp._keeps_history(c.key);
	END IF;
	RETURN after;
END
$$;
COMMENT ON FUNCTION cdp._note_again(bigint, jsonb, jsonb, timestamptz) IS 'notes in tag_history how the tags of a canonical profile changed, at its end each without a time; returns what they are then';

-- What the standing merges of some leaves, all that belong together, make of
-- their own tags; for each canonical profile, and for each merge what it brought.
-- What is in tag_history meanwhile is noted again.
CREATE FUNCTION cdp._replay_tags(leaves bigint[], now timestamptz, OUT roots bigint[], OUT tags jsonb[], OUT merges bigint[], OUT gained text[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	state jsonb[] := array_fill('{}'::jsonb, ARRAY[cardinality(leaves)]);	-- by place in leaves
	root int[] := ARRAY(SELECT generate_subscripts(leaves, 1));
	ended timestamptz[] := array_fill(NULL::timestamptz, ARRAY[cardinality(leaves)]);	-- up to when they have been taken away
	step record;
	i int;
	j int;
	brought jsonb;
	t record;
BEGIN
	DELETE FROM cdp.tag_history h WHERE h.profile_id = ANY (leaves) AND h.merged;
	FOR step IN
		SELECT m.merge_id, 0 AS turn, m.survivor AS a, 0::bigint AS nr, m.merged AS b, m.expired_to, NULL::timestamptz AS at, NULL::jsonb AS own, NULL::text[] AS keys
		FROM cdp._replay_merges(leaves) m
		UNION ALL
		SELECT c.after_merge, 1, c.profile_id, c.nr, NULL, c.expired_to, c.at,
			jsonb_build_object(c.tag, CASE WHEN c.present THEN jsonb_build_array(c.expires_at) ELSE '[]' END), CASE WHEN c.instead THEN ARRAY[split_part(c.tag, ':', 1) || ':'] END
		FROM cdp.tag_call c WHERE c.profile_id = ANY (leaves)
		UNION ALL
		SELECT o.after_merge, 2, o.profile_id, 0, NULL, NULL, NULL,
			coalesce(jsonb_object_agg(o.tag, CASE WHEN o.present THEN jsonb_build_array(o.expires_at) ELSE '[]' END)
					 FILTER (WHERE o.tag <> chr(1) AND o.tag !~ '^[^:]*:$'), '{}'),
			array_agg(o.tag) FILTER (WHERE o.tag ~ '^[^:]*:$')
		FROM cdp.tag_own o WHERE o.profile_id = ANY (leaves)
		GROUP BY o.profile_id, o.after_merge
		ORDER BY 1, 2, 3, 4
	LOOP
		i := width_bucket(step.a, leaves);
		WHILE root[i] <> i LOOP
			i := root[i];
		END LOOP;
		root[width_bucket(step.a, leaves)] := i;
		IF step.turn = 2 THEN
			-- but no tag that the calls above gave and a later one found ended: that is noted
			state[i] := cdp._with_own(state[i], step.own - ARRAY(SELECT o.key FROM jsonb_each(step.own) o
				WHERE (o.value ->> 0)::timestamptz <= ended[i] AND NOT state[i] ? o.key), step.keys);
			CONTINUE;
		END IF;
		ended[i] := greatest(ended[i], step.expired_to);
		state[i] := cdp._note_again(leaves[i], state[i], cdp._without_expired(state[i], step.expired_to), NULL);
		IF step.turn = 1 THEN
			state[i] := cdp._note_again(leaves[i], state[i], cdp._with_own(state[i], step.own, step.keys), step.at);
			CONTINUE;
		END IF;
		j := width_bucket(step.b, leaves);
		brought := '{}';
		FOR t IN SELECT e.key, e.value FROM jsonb_each(cdp._note_again(leaves[j], state[j], cdp._without_expired(state[j], step.expired_to), NULL)) e ORDER BY e.key COLLATE "C" LOOP
			CONTINUE WHEN state[i] ? t.key OR EXISTS (
				SELECT FROM jsonb_object_keys(state[i]) o WHERE starts_with(o, cdp._exclusive_key(t.key) || ':'));
			state[i] := state[i] || jsonb_build_object(t.key, t.value);
			brought := brought || jsonb_build_object(t.key, t.value);
		END LOOP;
		root[j] := i;
		merges := merges || step.merge_id;
		gained := gained || brought::text;
	END LOOP;
	FOR i IN 1 .. cardinality(leaves) LOOP
		IF root[i] = i THEN
			roots := roots || leaves[i];
			tags := tags || cdp._note_again(leaves[i], state[i], cdp._without_expired(state[i], now), NULL);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._replay_tags(bigint[], timestamptz) IS 'the tags of profiles, ascending, worked out again from their own tags and the merges that stand';

-- The caller has locked the profile that the leaves were merged into, and has
-- given them their canonical profiles of now.
CREATE FUNCTION cdp._unmerge_tags(was bigint, leaves bigint[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
	now record;
	c record;
	several bigint[];
	known text[];
BEGIN
	LOCK TABLE cdp.profile_merge IN ROW EXCLUSIVE MODE;
	PERFORM cdp._lock_tags(leaves || was);
	SELECT * INTO now FROM cdp._replay_tags(leaves, (SELECT k.expired_to FROM cdp.tag_clock k));
	known := ARRAY(SELECT t COLLATE "C" FROM unnest(now.roots || was) r CROSS JOIN LATERAL cdp._all_tags_of(r) t
				   UNION SELECT k FROM unnest(now.tags) w CROSS JOIN LATERAL jsonb_object_keys(w) k);
	several := ARRAY(SELECT p.canonical_id FROM cdp.profile p WHERE p.profile_id = ANY (leaves) GROUP BY 1 HAVING count(*) > 1);

	FOR c IN
		WITH wanted AS (
			SELECT w.id, k.tag COLLATE "C" AS tag FROM unnest(now.roots, now.tags) AS w(id, tags), jsonb_object_keys(w.tags) AS k(tag)
			UNION ALL
			SELECT p.profile_id, chr(1) || 'kind:' || p.kind FROM cdp.profile p
			WHERE p.profile_id = ANY (now.roots) AND NOT p.suppressed AND p.erased_at IS NULL
			UNION ALL
			SELECT s, chr(1) || 'merged' FROM unnest(several) s
		), present AS (
			SELECT r.id, t.tag COLLATE "C" AS tag FROM unnest(now.roots || was) AS r(id), cdp._all_tags_of(r.id) AS t(tag)
			WHERE (r.id <> ALL (now.roots) OR NOT cdp._is_maintained(t.tag) OR t.tag = chr(1) || 'merged') AND t.tag !~ '^\u0001(seen|trait):'
			GROUP BY 1, 2
		)
		SELECT tag, id, w.tag IS NOT NULL AS present
		FROM wanted w FULL JOIN present p USING (tag, id)
		WHERE w.tag IS NULL OR p.tag IS NULL
		ORDER BY tag, id
	LOOP
		PERFORM cdp._set_tag(c.tag, c.id, c.present);
		IF cdp._is_maintained(c.tag) AND NOT c.present THEN		-- of one that is no canonical profile any more
			PERFORM cdp._note_tag_history(c.tag, c.id, false, _unmerge_tags.at);
		END IF;
	END LOOP;

	FOR c IN
		SELECT tag, id, w.ends
		FROM (SELECT t.key COLLATE "C" AS tag, w.id, t.value::timestamptz AS ends
			  FROM unnest(now.roots, now.tags) AS w(id, tags), jsonb_each_text(w.tags) t WHERE t.value IS NOT NULL) w
		FULL JOIN (SELECT e.tag, e.profile_id AS id, e.expires_at FROM cdp.tag_expiry e WHERE e.tag = ANY (known) AND e.profile_id = ANY (now.roots || was)) p
			USING (tag, id)
		WHERE w.ends IS DISTINCT FROM p.expires_at
		ORDER BY tag, id
	LOOP
		PERFORM cdp._set_tag_expiry(c.tag, c.id, c.ends);
	END LOOP;

	-- Who is alone again needs no memory; who is not goes on from here.
	DELETE FROM cdp.tag_own o WHERE o.profile_id = ANY (now.roots) AND o.profile_id <> ALL (several);
	DELETE FROM cdp.tag_call c WHERE c.profile_id = ANY (now.roots) AND c.profile_id <> ALL (several);
	UPDATE cdp.tag_history h SET merged = false WHERE h.profile_id = ANY (now.roots) AND h.profile_id <> ALL (several) AND h.merged;
	INSERT INTO cdp.tag_own (profile_id, after_merge, tag, present)
	SELECT p.canonical_id, max(m.merge_id), chr(1), true
	FROM cdp.profile p JOIN cdp.profile_merge m ON m.leaf_a = p.profile_id AND m.undone_at IS NULL
	WHERE p.profile_id = ANY (leaves)
	GROUP BY p.canonical_id
	ON CONFLICT DO NOTHING;
	UPDATE cdp.profile_merge m SET tags = ARRAY(SELECT k FROM jsonb_object_keys(g.tags::jsonb) k ORDER BY k COLLATE "C")
	FROM unnest(now.merges, now.gained) AS g(merge_id, tags)
	WHERE m.merge_id = g.merge_id AND m.tags <> ARRAY(SELECT k FROM jsonb_object_keys(g.tags::jsonb) k ORDER BY k COLLATE "C");
END
$$;
COMMENT ON FUNCTION cdp._unmerge_tags(bigint, bigint[], timestamptz) IS 'gives the profiles that were one the tags that each has without the merge';
