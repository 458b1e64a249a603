/* 37_segment_refresh: bringing segments up to date, at the cost of what changed
 *
 * 37_segment says how.  "at" only goes forward: a segment that is right for a
 * later instant already is left alone.
 *
 * Causes.  A change has the cause of what touched the profile.  Merges,
 * policies and backfilled events are silent, they start no journey.  A profile
 * that was touched by one of these and by an event as well is looked at as of
 * the refresh before: what the silent change had made of it then is silent,
 * the rest is due to the event.
 *
 * A pass does not stop the world.  What comes between its first step and its look
 * at a segment leaves a row in segment_dirty for the next pass, or a difference
 * between a tag and its copy; but a tag may be given and taken away again, and
 * then there is no difference.  So whoever was looked at while a tag was not as
 * in its copy is to be looked at again (_seen_otherwise).
 */

-- what merges write

CREATE FUNCTION cdp._gone_from_segments(id bigint) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
BEGIN ATOMIC
	INSERT INTO cdp.segment_dirty (input, members, cause)
	SELECT 'gone:' || substr(t, 9), cdp.rb_build(ARRAY[id]), 'merge'
	FROM cdp._key_tags_of(id, 'segment') t;
END;
COMMENT ON FUNCTION cdp._gone_from_segments(bigint) IS 'a profile is about to lose its tags: the next refresh shall record which segments it left';

CREATE FUNCTION cdp._merge_segments(survivor bigint, merged bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO cdp.segment_dirty (input, members, cause) VALUES ('', cdp.rb_build(ARRAY[survivor, merged]), 'merge');
	PERFORM cdp._gone_from_segments(merged);
	IF cdp._keeps_history('segment') THEN
		PERFORM cdp._note_tag_history(t, merged, false, _merge_segments.at) FROM cdp._key_tags_of(merged, 'segment') t;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._merge_segments(bigint, bigint, timestamptz) IS 'part of merge, before tags are moved: both are to be looked at';

CREATE FUNCTION cdp._unmerge_segments(was bigint, roots bigint[]) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
BEGIN ATOMIC
	INSERT INTO cdp.segment_dirty (input, members, cause) VALUES ('', cdp.rb_build(was || roots), 'merge');
	SELECT cdp._gone_from_segments(was) WHERE was <> ALL (roots);
END;
COMMENT ON FUNCTION cdp._unmerge_segments(bigint, bigint[]) IS 'part of unmerge, before tags are given back: all of them are to be looked at';

CREATE FUNCTION cdp._segments_touched() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	column_ text := TG_ARGV[1];
BEGIN
	IF TG_OP <> 'INSERT' THEN
		INSERT INTO cdp.segment_dirty (input, cause) VALUES (TG_ARGV[0] || coalesce(to_jsonb(OLD) ->> column_, ''), 'policy');
	END IF;
	IF TG_OP <> 'DELETE' THEN
		INSERT INTO cdp.segment_dirty (input, cause) VALUES (TG_ARGV[0] || coalesce(to_jsonb(NEW) ->> column_, ''), 'policy');
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdp._segments_touched() IS 'trigger: a row that rules depend on has changed; arguments: input, and the column that ends its name';
CREATE TRIGGER label_set_segments AFTER INSERT OR UPDATE OR DELETE ON cdp.label_set
	FOR EACH ROW EXECUTE FUNCTION cdp._segments_touched('labels:', 'name');
CREATE TRIGGER trait_rule_segments AFTER INSERT OR UPDATE OR DELETE ON cdp.trait_rule
	FOR EACH ROW EXECUTE FUNCTION cdp._segments_touched('trait', '');

-- what a pass finds out by itself

CREATE FUNCTION cdp._suppression_inputs(kind text, include_suppressed boolean) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN CASE WHEN include_suppressed THEN '{}' ELSE coalesce(cdp._criteria_inputs(cdp._suppression(kind)), '{}') END;
END
$$;
COMMENT ON FUNCTION cdp._suppression_inputs(text, boolean) IS 'the inputs that matter because of suppression rules';

CREATE FUNCTION cdp._tag_difference(present text, before text, OUT gained cdp.bitmap, OUT lost cdp.bitmap)
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__tag_difference';
COMMENT ON FUNCTION cdp._tag_difference(text, text) IS 'who has the first tag and not the second, and the other way round; equal chunks cost next to nothing';

-- STABLE, so as to see what the look sees that is made in the same statement.
CREATE FUNCTION cdp._seen_otherwise(inputs text[], among cdp.bitmap) RETURNS TABLE (input text, members cdp.bitmap, cause text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN QUERY
	SELECT i, f.members, CASE WHEN starts_with(i, 'tag:' || chr(1) || 'kind:') THEN f.of_kind ELSE 'tag' END
	FROM unnest(inputs) i
	CROSS JOIN LATERAL (SELECT cdp._tagged_among(substr(i, 5), among) AS present, cdp._tagged_among(cdp._seen_tag(substr(i, 5)), among) AS seen OFFSET 0) t
	CROSS JOIN LATERAL (VALUES (cdp.rb_andnot(t.present, t.seen), 'first'), (cdp.rb_andnot(t.seen, t.present), 'policy')) f(members, of_kind)
	WHERE starts_with(i, 'tag:') AND NOT starts_with(i, 'tag:segment:') AND NOT cdp.rb_is_empty(f.members);
END
$$;
COMMENT ON FUNCTION cdp._seen_otherwise(text[], cdp.bitmap) IS 'for whom (among these; NULL = all) a tag that matters is not as the pass found it when it began; rows of segment_dirty';

CREATE FUNCTION cdp._collect_segment_work(batch bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
	wanted text[] := ARRAY(SELECT DISTINCT i FROM cdp.segment s, unnest(s.inputs || cdp._suppression_inputs(s.kind, s.include_suppressed)) i);
	w record;
	rest cdp.bitmap;
	gained cdp.bitmap;
	lost cdp.bitmap;
	before cdp.bitmap;
	present cdp.bitmap;
	one text;
	tag text;
BEGIN
	-- Now and then: copies of tags that no segment asks for any more.
	IF _collect_segment_work.batch % 64 = 0 OR wanted = '{}' THEN
		FOR one IN SELECT k FROM cdp._tags_of_key(chr(1) || 'seen') k WHERE ('tag:' || substr(k, 7)) <> ALL (wanted) LOOP
			DELETE FROM cdp.tag_chunk c WHERE c.tag = one;
		END LOOP;
	END IF;
	IF wanted = '{}' THEN
		DELETE FROM cdp.segment_dirty;
		RETURN;
	END IF;

	-- Tags.  Changes of segments are written by those who refresh them.
	FOR tag IN SELECT substr(i, 5) FROM unnest(wanted) i WHERE starts_with(i, 'tag:') AND NOT starts_with(i, 'tag:segment:') ORDER BY 1 LOOP
		SELECT d.gained, d.lost INTO gained, lost FROM cdp._tag_difference(tag, cdp._seen_tag(tag)) d;
		CONTINUE WHEN cdp.rb_is_empty(gained) AND cdp.rb_is_empty(lost);
		PERFORM cdp._write_chunks(cdp._seen_tag(tag), gained, lost);
		IF starts_with(tag, chr(1) || 'kind:') THEN
			rest := (SELECT coalesce(cdp.rb_build_agg(p.profile_id), '{}') FROM cdp.profile p
					 WHERE p.profile_id IN (SELECT cdp.rb_iterate(lost)) AND p.canonical_id <> p.profile_id);
			INSERT INTO cdp.segment_work (batch, input, members, cause)
			SELECT _collect_segment_work.batch, 'tag:' || tag, f.members, f.cause
			FROM (VALUES (gained, 'first'), (rest, 'merge'), (cdp.rb_andnot(lost, rest), 'policy')) f(members, cause)
			WHERE NOT cdp.rb_is_empty(f.members);
		ELSE
			INSERT INTO cdp.segment_work (batch, input, members, cause)
			VALUES (_collect_segment_work.batch, 'tag:' || tag, cdp.rb_or(gained, lost), 'tag');
		END IF;
	END LOOP;

	-- Events that are not folded yet are seen by rules already.
	IF 'event' = ANY (wanted) THEN
		before := coalesce((SELECT p.tail FROM cdp.segment_pass p), '{}');
		SELECT coalesce(cdp.rb_build_agg(t.event_id), '{}') INTO present FROM cdp.event_tail t;
		INSERT INTO cdp.segment_work (batch, input, members, cause)
		SELECT _collect_segment_work.batch, 'event', cdp.rb_build_agg(p.canonical_id), CASE WHEN e.backfill THEN 'backfill' ELSE 'event' END
		FROM cdp.event_tail t JOIN cdp.profile p ON p.profile_id = t.profile_id
		CROSS JOIN LATERAL (SELECT r.backfill FROM cdp.event r
							WHERE r.profile_id = t.owner_id AND r.event_id = t.event_id AND r.at = t.at LIMIT 1) e
		WHERE cdp.rb_andnot(present, before) OPERATOR(cdp.@>) t.event_id
		GROUP BY e.backfill;
		IF NOT cdp.rb_equals(present, before) THEN
			INSERT INTO cdp.segment_pass (tail) VALUES (present) ON CONFLICT (only_row) DO UPDATE SET tail = excluded.tail;
		END IF;
	END IF;

	-- What was written down.  Whoever changed a tag silently did so in one
	-- transaction with the row that says so: rows are read after the tags.
	FOR w IN
		WITH gone AS (DELETE FROM cdp.segment_dirty d RETURNING d.input, d.members, d.cause)
		SELECT g.input, g.cause, CASE WHEN bool_and(g.members IS NOT NULL) THEN cdp.rb_or_agg(g.members) END AS members
		FROM gone g
		WHERE g.input = '' OR starts_with(g.input, 'gone:') OR g.input = ANY (wanted)
		GROUP BY g.input, g.cause
	LOOP
		-- leaves stand for their canonical profiles
		rest := CASE WHEN NOT starts_with(w.input, 'gone:') THEN w.members END;
		IF cdp.rb_cardinality(rest) > 20 THEN
			SELECT cdp.rb_andnot(rest, coalesce(cdp.rb_or_agg(cdp._tagged_among(k, rest)), '{}')) INTO rest FROM cdp._tags_of_key(chr(1) || 'kind') k;
		END IF;
		IF NOT cdp.rb_is_empty(rest) THEN
			w.members := cdp.rb_or(w.members, coalesce((SELECT cdp.rb_build_agg(p.canonical_id) FROM cdp.profile p
														WHERE rest OPERATOR(cdp.@>) p.profile_id), '{}'));
		END IF;
		IF starts_with(w.input, 'tag:') THEN
			UPDATE cdp.segment_work o SET members = cdp.rb_andnot(o.members, w.members)
			WHERE o.batch = _collect_segment_work.batch AND o.input = w.input AND o.cause = 'tag';
		END IF;
		INSERT INTO cdp.segment_work (batch, input, members, cause) VALUES (_collect_segment_work.batch, w.input, w.members, w.cause);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._collect_segment_work(bigint, timestamptz) IS 'first step of a pass: what changed since the last one becomes a batch of work';

-- when to look again

CREATE FUNCTION cdp._criteria_lookups(criteria cdp.criteria) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__criteria_lookups';
COMMENT ON FUNCTION cdp._criteria_lookups(cdp.criteria) IS 'the label sets and priors that a rule needs';

CREATE FUNCTION cdp._criteria_dated_traits(criteria cdp.criteria) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__criteria_dated_traits';
COMMENT ON FUNCTION cdp._criteria_dated_traits(cdp.criteria) IS 'the traits that a rule compares with a length of time';

CREATE FUNCTION cdp._criteria_next(criteria cdp.criteria, history cdp.timeline, at timestamptz, traits jsonb, lookups jsonb) RETURNS timestamptz
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'mcdp__criteria_next';
COMMENT ON FUNCTION cdp._criteria_next(cdp.criteria, cdp.timeline, timestamptz, jsonb, jsonb) IS 'the instant after "at" at which to ask a rule again if nothing happens: when it may answer differently, or up to a 32nd of the time earlier; NULL = never';

-- Histories and traits apart: the earlier of both is what counts, and both are
-- noted.  Functions of their own, because RETURN QUERY may use parallel workers.
CREATE FUNCTION cdp._history_dues(criteria cdp.criteria, touched cdp.bitmap, at timestamptz) RETURNS TABLE (due_at timestamptz, members cdp.bitmap)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	lookups jsonb := cdp._criteria_lookups(criteria);
BEGIN
	RETURN QUERY
	SELECT d.next_at, cdp.rb_build_agg(d.id)
	FROM (SELECT t.profile_id, cdp._criteria_next(_history_dues.criteria, t.timeline, _history_dues.at, NULL, lookups)
		  FROM cdp.profile_timeline t
		  WHERE touched IS NULL OR touched OPERATOR(cdp.@>) t.profile_id) d(id, next_at)
	WHERE d.next_at IS NOT NULL GROUP BY d.next_at;
END
$$;
COMMENT ON FUNCTION cdp._history_dues(cdp.criteria, cdp.bitmap, timestamptz) IS 'when to look at many profiles (NULL = all) again because of their histories';

CREATE FUNCTION cdp._trait_dues(criteria cdp.criteria, dated text[], touched cdp.bitmap, at timestamptz) RETURNS TABLE (due_at timestamptz, members cdp.bitmap)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	lookups jsonb := cdp._criteria_lookups(criteria);
	listed cdp.bitmap;
BEGIN
	SELECT coalesce(touched, cdp.rb_build_agg(l.canonical_id)) INTO listed
	FROM cdp.trait_value v JOIN cdp.profile l ON l.profile_id = v.profile_id
	WHERE touched IS NULL AND v.name = ANY (dated);
	RETURN QUERY
	SELECT d.next_at, cdp.rb_build_agg(d.id)
	FROM (SELECT i, cdp._criteria_next(_trait_dues.criteria, NULL, _trait_dues.at,
									   (SELECT jsonb_object_agg(n, cdp.trait(i, n)) FROM unnest(dated) n), lookups)
		  FROM cdp.rb_iterate(listed) i) d(id, next_at)
	WHERE d.next_at IS NOT NULL GROUP BY d.next_at;
END
$$;
COMMENT ON FUNCTION cdp._trait_dues(cdp.criteria, text[], cdp.bitmap, timestamptz) IS 'when to look at profiles (NULL = all) again because of traits that are dates';

-- histories: those of few profiles have been asked by _look_at already.
CREATE FUNCTION cdp._note_segment_due(s cdp.segment, touched cdp.bitmap, histories boolean, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	rule cdp.criteria;
	dated text[];
BEGIN
	FOREACH rule IN ARRAY ARRAY[s.criteria, CASE WHEN NOT s.include_suppressed THEN cdp._suppression(s.kind) END] LOOP
		IF histories AND cdp._criteria_events(rule) <> '{}' THEN
			INSERT INTO cdp.segment_due (segment, due_at, members)
			SELECT s.name, d.due_at, d.members FROM cdp._history_dues(rule, touched, _note_segment_due.at) d;
		END IF;
		dated := cdp._criteria_dated_traits(rule);
		IF dated <> '{}' THEN
			INSERT INTO cdp.segment_due (segment, due_at, members)
			SELECT s.name, d.due_at, d.members FROM cdp._trait_dues(rule, dated, touched, _note_segment_due.at) d;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._note_segment_due(cdp.segment, cdp.bitmap, boolean, timestamptz) IS 'writes down when these profiles, or with NULL all, are to be looked at again';

CREATE FUNCTION cdp._look_at(segment text, criteria cdp.criteria, among cdp.bitmap, at timestamptz, kind text, include_suppressed boolean) RETURNS cdp.bitmap
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET jit = off AS 'MODULE_PATHNAME', 'mcdp__look_at';
COMMENT ON FUNCTION cdp._look_at(text, cdp.criteria, cdp.bitmap, timestamptz, text, boolean) IS '_audience_among of few profiles; also writes down when to look at those again whose histories were asked';

-- one segment

CREATE FUNCTION cdp._refresh_segment(s cdp.segment, batch bigint, at timestamptz, OUT entered bigint, OUT exited bigint) RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
	work record;
	old cdp.bitmap;
	new cdp.bitmap;
	touched cdp.bitmap;			-- NULL = everybody
	given cdp.bitmap;
	changed cdp.bitmap;
	silent cdp.bitmap;
	twofold cdp.bitmap;
	by_cause cdp.bitmap[];
	inputs text[] := s.inputs || cdp._suppression_inputs(s.kind, s.include_suppressed);
	causes text[] := '{merge,policy,backfill,event,tag,first,time}';
	one cdp.bitmap;
	few boolean;
	heard cdp.bitmap := '{}';		-- changes that journeys hear of, and others
	unheard cdp.bitmap := '{}';
BEGIN
	entered := 0;
	exited := 0;
	SELECT coalesce(bool_or(w.members IS NULL), false) AS everybody, coalesce(cdp.rb_or_agg(w.members), '{}') AS members,
		coalesce(cdp.rb_or_agg(w.members) FILTER (WHERE w.cause = 'merge'), '{}') AS merge,
		coalesce(cdp.rb_or_agg(w.members) FILTER (WHERE w.cause = 'policy'), '{}') AS policy,
		coalesce(cdp.rb_or_agg(w.members) FILTER (WHERE w.cause = 'backfill'), '{}') AS backfill,
		coalesce(cdp.rb_or_agg(w.members) FILTER (WHERE w.cause = 'event'), '{}') AS event,
		coalesce(cdp.rb_or_agg(w.members) FILTER (WHERE w.cause = 'tag'), '{}') AS tag,
		coalesce(cdp.rb_or_agg(w.members) FILTER (WHERE w.cause = 'first'), '{}') AS first,
		coalesce(cdp.rb_or_agg(w.members) FILTER (WHERE w.input = 'gone:' || s.name), '{}') AS gone
	INTO work
	FROM cdp.segment_work w
	WHERE w.batch > s.batch_seen AND (w.input IN ('', 'gone:' || s.name) OR w.input = ANY (inputs));

	-- Whom to look at.
	IF s.stale OR work.everybody THEN
		DELETE FROM cdp.segment_due d WHERE d.segment = s.name;
	ELSE
		WITH gone AS (DELETE FROM cdp.segment_due d WHERE d.segment = s.name AND d.due_at <= _refresh_segment.at RETURNING d.members)
		SELECT cdp.rb_or(work.members, coalesce(cdp.rb_or_agg(g.members), '{}')) INTO touched FROM gone g;
		touched := cdp.rb_or(touched, coalesce((SELECT cdp.rb_build_agg(p.canonical_id) FROM cdp.profile p
												WHERE p.kind = s.kind AND p.first_at > s.computed_at AND p.first_at <= _refresh_segment.at), '{}'));
		-- and whose tags change by a date given in advance
		touched := cdp.rb_or(touched, coalesce((SELECT cdp.rb_build_agg(p.canonical_id)
												FROM cdp.tag_history h JOIN cdp.profile p ON p.profile_id = h.profile_id
												WHERE h.tag = ANY (ARRAY(SELECT substr(i, 5) FROM unnest(inputs) i WHERE starts_with(i, 'tag:')))
													AND h.at > s.computed_at AND h.at <= _refresh_segment.at), '{}'));
	END IF;
	few := coalesce(cdp.rb_cardinality(touched) <= 100000, false) AND s.criteria IS NOT NULL;		-- beyond that a scan is cheaper
	IF cdp.rb_is_empty(touched) THEN
		new := '{}';
	ELSE
		given := cdp._canonical_set(s.given);
		WITH otherwise AS (
			INSERT INTO cdp.segment_dirty (input, members, cause)
			SELECT o.input, o.members, o.cause FROM cdp._seen_otherwise(inputs, touched) o
		)
		SELECT CASE WHEN s.criteria IS NULL THEN cdp._audience_among('all', coalesce(cdp.rb_and(given, touched), given), _refresh_segment.at, s.kind, s.include_suppressed)
					WHEN few THEN cdp._look_at(s.name, s.criteria, touched, _refresh_segment.at, s.kind, s.include_suppressed)
					ELSE cdp._audience_among(s.criteria, touched, _refresh_segment.at, s.kind, s.include_suppressed) END
		INTO new;
	END IF;
	IF ('event' = ANY (inputs) AND NOT few OR 'trait' = ANY (inputs)) AND (touched IS NULL OR NOT cdp.rb_is_empty(touched)) THEN
		PERFORM cdp._note_segment_due(s, touched, NOT few, _refresh_segment.at);
	END IF;
	-- Put rows of the same instant together now and then.
	IF batch % 64 = 0 THEN
		WITH gone AS (DELETE FROM cdp.segment_due d WHERE d.segment = s.name RETURNING d.due_at, d.members)
		INSERT INTO cdp.segment_due (segment, due_at, members)
		SELECT s.name, g.due_at, cdp.rb_or_agg(g.members) FROM gone g GROUP BY g.due_at;
	END IF;
	old := cdp.rb_or(cdp._tagged_among(cdp._segment_tag(s.name), touched), cdp.rb_and(work.gone, coalesce(touched, work.gone)));
	changed := cdp.rb_xor(old, new);

	IF NOT cdp.rb_is_empty(changed) OR cdp.rb_intersect(work.gone, new) THEN
		-- Why?
		IF s.stale OR work.everybody THEN
			by_cause := ARRAY[NULL, CASE WHEN s.computed_at IS NOT NULL THEN changed END, NULL, NULL, NULL, CASE WHEN s.computed_at IS NULL THEN changed END, NULL];
		ELSE
			silent := cdp.rb_and(changed, cdp.rb_or(cdp.rb_or(work.merge, work.policy), work.backfill));
			twofold := cdp.rb_and(silent, work.event);
			IF NOT cdp.rb_is_empty(twofold) AND s.criteria IS NOT NULL THEN
				silent := cdp.rb_andnot(silent, cdp.rb_xor(cdp._audience_among(s.criteria, twofold, s.computed_at, s.kind, s.include_suppressed), cdp.rb_and(new, twofold)));
			END IF;
			one := cdp.rb_andnot(changed, silent);
			by_cause := ARRAY[cdp.rb_and(silent, work.merge), cdp.rb_and(silent, work.policy), cdp.rb_and(silent, work.backfill),
							  cdp.rb_and(one, work.event), cdp.rb_and(one, work.tag), cdp.rb_and(one, work.first), one];
		END IF;

		-- Nobody is merged from here on, and who was lately does not enter.
		PERFORM cdp._lock_merges();
		PERFORM FROM cdp.segment g WHERE g.name = s.name AND g.version = s.version FOR NO KEY UPDATE;
		IF NOT FOUND THEN
			RETURN;
		END IF;
		one := new;
		new := cdp._tagged_among(chr(1) || 'kind:' || s.kind, one);
		IF NOT cdp.rb_equals(new, one) THEN
			INSERT INTO cdp.segment_dirty (input, members, cause) VALUES ('tag:' || chr(1) || 'kind:' || s.kind, cdp.rb_andnot(one, new), 'policy');
		END IF;
		changed := cdp.rb_xor(old, new);
		entered := cdp.rb_cardinality(cdp.rb_andnot(new, old));
		exited := cdp.rb_cardinality(cdp.rb_andnot(old, new));
		-- Gone and back between two refreshes (a merge that was undone): only the bit is missing.
		IF cdp.rb_intersect(work.gone, new) THEN
			PERFORM cdp._tag_changes(cdp._segment_tag(s.name), cdp.rb_and(work.gone, new), NULL, _refresh_segment.at, 'merge');
		END IF;
		FOR i IN 1 .. cardinality(causes) LOOP
			one := cdp.rb_and(changed, by_cause[i]);
			CONTINUE WHEN one IS NULL OR cdp.rb_is_empty(one);
			changed := cdp.rb_andnot(changed, one);
			INSERT INTO cdp.segment_change (segment, at, entered, exited, cause, tick_no)
			VALUES (s.name, _refresh_segment.at, cdp.rb_and(one, new), cdp.rb_andnot(one, new), causes[i], _refresh_segment.batch);
			IF causes[i] IN ('event', 'tag', 'time') THEN
				heard := cdp.rb_or(heard, one);
			ELSE
				unheard := cdp.rb_or(unheard, one);
			END IF;
			INSERT INTO cdp.segment_work (batch, input, members, cause)
			SELECT _refresh_segment.batch, 'tag:' || cdp._segment_tag(s.name), one, causes[i]
			WHERE EXISTS (SELECT FROM cdp.segment g WHERE ('tag:' || cdp._segment_tag(s.name)) = ANY (g.inputs));
		END LOOP;
		-- Nobody else changes this tag: its chunks are cheaper than a row for each.
		IF NOT cdp.rb_is_empty(unheard) THEN
			PERFORM cdp._tag_changes(cdp._segment_tag(s.name), cdp.rb_and(unheard, new), cdp.rb_andnot(unheard, new), _refresh_segment.at, 'policy', 50);
		END IF;
		IF NOT cdp.rb_is_empty(heard) THEN
			PERFORM cdp._tag_changes(cdp._segment_tag(s.name), cdp.rb_and(heard, new), cdp.rb_andnot(heard, new), _refresh_segment.at, 'event', 50);
		END IF;
	END IF;
	UPDATE cdp.segment g SET stale = false, batch_seen = _refresh_segment.batch, computed_at = _refresh_segment.at,
		members = CASE WHEN touched IS NULL THEN cdp.rb_cardinality(new) ELSE g.members + _refresh_segment.entered - _refresh_segment.exited END,
		failing_since = NULL, failed_at = NULL, error = NULL, error_sqlstate = NULL
	WHERE g.name = s.name AND g.version = s.version;
END
$$;
COMMENT ON FUNCTION cdp._refresh_segment(cdp.segment, bigint, timestamptz) IS 'second step of a pass: one segment, and how many entered and left it';

-- a pass

CREATE FUNCTION cdp._limit_begin() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__limit_begin';
COMMENT ON FUNCTION cdp._limit_begin() IS 'what follows is cancelled when marketing_cdp.segment_timeout has passed before _limit_end';

CREATE FUNCTION cdp._limit_end() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp__limit_end';
COMMENT ON FUNCTION cdp._limit_end() IS 'ends the limit of time; was it reached?';

-- Few, and taken for many as long as nobody has analysed them: not worth compiling.
CREATE FUNCTION cdp._segment_order() RETURNS TABLE (name text, depth int)
LANGUAGE sql STABLE PARALLEL SAFE SET jit = off
BEGIN ATOMIC
	WITH RECURSIVE level (name, depth) AS (
		SELECT s.name, 0 FROM cdp.segment s
		UNION
		SELECT o.name, l.depth + 1 FROM level l JOIN cdp.segment o ON ('tag:' || cdp._segment_tag(l.name)) = ANY (o.inputs)
	)
	SELECT l.name, max(l.depth) FROM level l GROUP BY l.name ORDER BY 2, 1;
END;
COMMENT ON FUNCTION cdp._segment_order() IS 'all segments, inner ones before those that name them';

-- names NULL: those whose time has come; else these, and what belongs to them;
-- those of "later" are left alone.
CREATE FUNCTION cdp._refresh_segments(names text[], at timestamptz, later text[] DEFAULT '{}')
RETURNS TABLE (segment text, entered bigint, exited bigint, members bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	batch bigint;
	s cdp.segment;
	one text;
	changed text[] := '{}';		-- inputs: the segments that changed in this pass
	problem text;
	problem_state text;
BEGIN
	PERFORM pg_advisory_xact_lock(cdp._segment_lock('pass'));
	batch := nextval('cdp.tick_no_seq');
	PERFORM cdp._collect_segment_work(batch, _refresh_segments.at);
	FOR one IN SELECT o.name FROM cdp._segment_order() o LOOP
		SELECT * INTO s FROM cdp.segment g WHERE g.name = one;
		CONTINUE WHEN NOT FOUND OR s.computed_at > _refresh_segments.at;
		CONTINUE WHEN NOT CASE WHEN s.inputs && changed THEN true
							   WHEN names IS NOT NULL THEN s.name = ANY (names)
							   ELSE s.computed_at IS NULL OR s.refresh_every IS NULL
									OR s.computed_at + s.refresh_every <= _refresh_segments.at END;
		segment := s.name;
		entered := 0;
		exited := 0;
		IF s.name <> ALL (later) THEN
			problem_state := NULL;
			BEGIN
				PERFORM cdp._limit_begin();
				SELECT r.entered, r.exited INTO entered, exited FROM cdp._refresh_segment(s, batch, _refresh_segments.at) r;
				PERFORM cdp._limit_end();
			EXCEPTION
				WHEN query_canceled THEN
					IF NOT cdp._limit_end() THEN
						RAISE;
					END IF;
					problem_state := '57014';
					problem := format('the refresh took more than %s (marketing_cdp.segment_timeout)', current_setting('marketing_cdp.segment_timeout'));
				WHEN OTHERS THEN
					PERFORM cdp._limit_end();
					GET STACKED DIAGNOSTICS problem_state = RETURNED_SQLSTATE, problem = MESSAGE_TEXT;
					IF problem_state ~ '^(40|531|533|55P03|57|58)' THEN
						RAISE;				-- not the segment's fault
					END IF;
			END;
			IF problem_state IS NOT NULL THEN
				entered := 0;
				exited := 0;
				UPDATE cdp.segment g SET stale = true, failing_since = coalesce(g.failing_since, _refresh_segments.at), failed_at = _refresh_segments.at,
					error = problem, error_sqlstate = problem_state
				WHERE g.name = s.name;
			END IF;
			IF entered + exited > 0 THEN
				changed := changed || ('tag:' || cdp._segment_tag(s.name));
			END IF;
		END IF;
		members := (SELECT g.members FROM cdp.segment g WHERE g.name = s.name);
		RETURN NEXT;
	END LOOP;
	DELETE FROM cdp.segment_work w
	WHERE w.batch <= coalesce((SELECT min(g.batch_seen) FROM cdp.segment g WHERE NOT g.stale), w.batch);
END
$$;
COMMENT ON FUNCTION cdp._refresh_segments(text[], timestamptz, text[]) IS 'one pass: segments that are due, inner ones first';

CREATE FUNCTION cdp._refresh_segments_once(name text, at timestamptz)
RETURNS TABLE (segment text, entered bigint, exited bigint, members bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	names text[];
	failed record;
BEGIN
	PERFORM cdp._check_tag_time(NULL, _refresh_segments_once.at);
	IF _refresh_segments_once.name IS NULL THEN
		names := ARRAY(SELECT s.name FROM cdp.segment s);
	ELSE
		WITH RECURSIVE inner_ones (name) AS (
			SELECT s.name FROM cdp.segment s WHERE s.name = _refresh_segments_once.name
			UNION
			SELECT substr(i.input, 13) FROM inner_ones o JOIN cdp.segment s ON s.name = o.name, unnest(s.inputs) i(input)
			WHERE starts_with(i.input, 'tag:segment:')
		)
		SELECT array_agg(o.name) INTO names FROM inner_ones o;
		IF names IS NULL THEN
			PERFORM cdp._no_segment(_refresh_segments_once.name);
		END IF;
	END IF;
	RETURN QUERY
	SELECT r.segment, r.entered, r.exited, r.members FROM cdp._refresh_segments(names, _refresh_segments_once.at) r
	WHERE _refresh_segments_once.name IS NULL OR r.segment = _refresh_segments_once.name OR r.entered + r.exited > 0;
	FOR failed IN SELECT s.name, s.error, s.error_sqlstate FROM cdp.segment s
				  WHERE s.error IS NOT NULL AND (_refresh_segments_once.name IS NULL OR s.name = ANY (names)) ORDER BY s.name LOOP
		RAISE WARNING USING ERRCODE = failed.error_sqlstate, MESSAGE = format('segment "%s" could not be refreshed: %s', failed.name, failed.error);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._refresh_segments_once(text, timestamptz) IS 'an attempt at refresh_segments';

CREATE FUNCTION cdp.refresh_segments(name text DEFAULT NULL, at timestamptz DEFAULT now())
RETURNS TABLE (segment text, entered bigint, exited bigint, members bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp.refresh_segments(text, timestamptz) IS 'brings all segments, or one and those it depends on, up to date; whoever changed and those that name it are listed too';

-- the clock

-- First those that follow changes, all together; then, each in a batch of its
-- own, new ones and those that took too long, which look at everybody: nobody
-- waits for these.  One that took too long is tried again when as much time has
-- passed as it has been failing for.
CREATE FUNCTION cdp._advance_segments(now timestamptz, max_rows int, OUT done bigint, OUT lag interval)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	slow text[];
	ready text[];
	following bigint;
	next_one text;
BEGIN
	done := 0;
	-- Whoever refreshes by hand may keep the lock for long: other tasks are not to wait for that.
	IF pg_try_advisory_xact_lock(cdp._segment_lock('pass')) THEN
		SELECT coalesce(array_agg(w.name) FILTER (WHERE w.slow), '{}'),
			array_agg(w.name) FILTER (WHERE w.slow AND w.due AND (w.failed_at IS NULL OR w.failed_at < now AND now - w.failed_at >= w.failed_at - w.failing_since)),
			count(*) FILTER (WHERE NOT w.stale AND w.due AND w.computed_at < now)
		INTO slow, ready, following
		FROM (SELECT s.*, s.stale AND (s.failed_at IS NULL OR s.error_sqlstate = '57014') AS slow,
				s.computed_at IS NULL OR s.computed_at <= now AND (s.refresh_every IS NULL OR s.computed_at + s.refresh_every <= now) AS due
			  FROM cdp.segment s) w;
		IF following = 0 AND ready IS NOT NULL THEN
			SELECT o.name INTO next_one FROM cdp._segment_order() o WHERE o.name = ANY (ready) ORDER BY o.depth, o.name LIMIT 1;
			PERFORM FROM cdp._refresh_segments(ARRAY[next_one], now, array_remove(slow, next_one));
			done := 1;
		ELSE
			SELECT coalesce(sum(r.entered + r.exited), 0) + (ready IS NOT NULL)::int INTO done FROM cdp._refresh_segments(NULL, now, slow) r;
		END IF;
	END IF;
	SELECT max(now - s.computed_at - coalesce(s.refresh_every, '0')) INTO lag FROM cdp.segment s;
END
$$;
COMMENT ON FUNCTION cdp._advance_segments(timestamptz, int) IS 'task: refreshes the segments whose time has come, unless another session is refreshing; done counts who entered or left';

CREATE FUNCTION cdp._rebuild_segments(now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM FROM cdp._refresh_segments(ARRAY(SELECT s.name FROM cdp.segment s), now);
	PERFORM pg_advisory_xact_lock(cdp._segment_lock('pass'));
	UPDATE cdp.segment s SET stale = true WHERE s.computed_at <= now;
	RETURN (SELECT coalesce(sum(r.entered + r.exited), 0) FROM cdp._refresh_segments(ARRAY(SELECT s.name FROM cdp.segment s), now) r);
END
$$;
COMMENT ON FUNCTION cdp._rebuild_segments(timestamptz) IS 'refreshes all segments, then looks at everybody again; returns how many that corrected, normally 0';

CREATE VIEW cdp.segment_status WITH (security_invoker) AS
SELECT s.name AS segment, s.kind, s.criteria IS NOT NULL AS dynamic, s.version, s.members, s.refresh_every, s.computed_at,
	(SELECT max(o.computed_at) FROM cdp.segment o) - s.computed_at AS behind,
	s.stale, s.failing_since, s.error_sqlstate, s.error
FROM cdp.segment s;
COMMENT ON VIEW cdp.segment_status IS 'how each segment is: how old its members are, and whether it fails';
COMMENT ON COLUMN cdp.segment_status.behind IS 'how much older its members are than those of the segment refreshed last';
