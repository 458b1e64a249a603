/* 37_segment: rules with a name, and who satisfied them at the last look
 *
 * A segment is a rule (dynamic) or a set of profiles (static).  Its members are
 * the maintained tag "segment:<name>", so that rules, journeys and other
 * segments use it like any tag: as of its last refresh.  A refresh looks at
 * those only for whom something may have changed:
 *
 *		segment_dirty	written by whatever changes a profile: an input and
 *						the profiles (NULL = everybody)
 *		segment_work	the same in batches, one for each pass, after
 *						_collect_segment_work has added what it finds itself
 *		segment_due		when time alone may change something, by segment
 *
 * An input is what a change is about and what a segment listens to:
 *		''				the profile as a whole (a merge; it is known to be older)
 *		event			its timeline
 *		trait			its traits
 *		tag:<tag>		a tag; found by comparing it with the copy of it that the
 *						last pass left, the internal tag chr(1)||'seen:'||tag
 *		labels:<name>	a label set
 *		prior			expected gaps of purchases, for due()
 *		gone:<segment>	members whose bits a merge has taken away already
 *
 * A pass gives each segment what came in since the batch that it saw last.
 * Only one pass works at a time, so batches are seen in the order they were
 * made.  Inner segments come before those that name them, and their changes
 * are work for the outer ones in the same pass.
 *
 * Dues are kept like a timing wheel: the farther an instant, the coarser it is
 * written down (always too early, so that a profile may be looked at in vain),
 * which keeps them few: a bitmap for each stretch of time.
 *
 * Merge and unmerge write segment_dirty.  A merge does not while there is no
 * segment; so whoever defines the first one waits for those under way.
 * segment.given of a static segment keeps the ids it was given: the survivor is
 * a member while they are merged.
 *
 * Locks: definitions among themselves and passes among themselves (advisory),
 * then profile_merge (SHARE, against merges, as bulk tagging does) before the
 * first tag is written, the segment's row, tags as in 30_tag.
 */

CREATE TABLE cdp.segment (
	name				text COLLATE "C" PRIMARY KEY,
	kind				text NOT NULL,
	criteria			cdp.criteria,
	given				cdp.bitmap,
	version				bigint NOT NULL,
	refresh_every		interval,
	include_suppressed	boolean NOT NULL DEFAULT false,
	inputs				text[] NOT NULL,
	stale				boolean NOT NULL DEFAULT true,
	batch_seen			bigint NOT NULL DEFAULT 0,
	computed_at			timestamptz,
	members				bigint NOT NULL DEFAULT 0,
	failing_since		timestamptz,
	failed_at			timestamptz,
	error				text,
	error_sqlstate		text,
	CONSTRAINT segment_definition_check CHECK ((criteria IS NULL) <> (given IS NULL)),
	CONSTRAINT segment_refresh_every_check CHECK (refresh_every > interval '0')
);
COMMENT ON TABLE cdp.segment IS 'segments with their definition and what the last refresh did; define_segment and refresh_segments write it';
COMMENT ON COLUMN cdp.segment.criteria IS 'the rule; NULL = static';
COMMENT ON COLUMN cdp.segment.given IS 'the profiles of a static segment, as they were given';
COMMENT ON COLUMN cdp.segment.refresh_every IS 'how old it may get; NULL = each pass refreshes it';
COMMENT ON COLUMN cdp.segment.inputs IS 'which changes matter to it';
COMMENT ON COLUMN cdp.segment.stale IS 'the next refresh looks at everybody: it is new, changed, or failed';
COMMENT ON COLUMN cdp.segment.batch_seen IS 'the last batch of segment_work that it has seen';
COMMENT ON COLUMN cdp.segment.computed_at IS 'the instant its members are right for';
COMMENT ON COLUMN cdp.segment.failing_since IS 'the first refresh that failed, when the last one did';
COMMENT ON COLUMN cdp.segment.failed_at IS 'the last refresh that failed, when it was the last';

CREATE TABLE cdp.segment_version (
	segment				text COLLATE "C" NOT NULL,
	version				bigint NOT NULL,
	kind				text NOT NULL,
	criteria			cdp.criteria,
	given				cdp.bitmap,
	refresh_every		interval,
	include_suppressed	boolean NOT NULL,
	at					timestamptz NOT NULL,
	PRIMARY KEY (segment, version)
);
COMMENT ON TABLE cdp.segment_version IS 'every definition of every segment, also of dropped ones';

CREATE TABLE cdp.segment_change (
	segment	text COLLATE "C" NOT NULL,
	at		timestamptz NOT NULL,
	entered	cdp.bitmap NOT NULL,
	exited	cdp.bitmap NOT NULL,
	cause	text NOT NULL,
	tick_no	bigint NOT NULL,
	CONSTRAINT segment_change_cause_check
		CHECK (cause IN ('event', 'tag', 'time', 'backfill', 'merge', 'policy', 'first'))
);
COMMENT ON TABLE cdp.segment_change IS 'who entered and who left a segment at each refresh, by cause';
COMMENT ON COLUMN cdp.segment_change.at IS 'the instant of the refresh that found out';
CREATE INDEX segment_change_segment_idx ON cdp.segment_change (segment, at);
CREATE INDEX segment_change_tick_no_idx ON cdp.segment_change (tick_no);

CREATE TABLE cdp.segment_dirty (
	input	text COLLATE "C" NOT NULL,
	members	cdp.bitmap,
	cause	text NOT NULL
);
COMMENT ON TABLE cdp.segment_dirty IS 'profiles, leaves or canonical, for whom something changed; taken by the next pass';
COMMENT ON COLUMN cdp.segment_dirty.members IS 'NULL = everybody';

CREATE TABLE cdp.segment_work (
	batch	bigint NOT NULL,
	input	text COLLATE "C" NOT NULL,
	members	cdp.bitmap,
	cause	text NOT NULL
);
COMMENT ON TABLE cdp.segment_work IS 'what passes have taken from segment_dirty or found themselves, until every segment has seen it';
CREATE INDEX segment_work_batch_idx ON cdp.segment_work (batch);

CREATE TABLE cdp.segment_pass (
	tail		cdp.bitmap NOT NULL,
	only_row	boolean PRIMARY KEY DEFAULT true,
	CONSTRAINT segment_pass_only_row_check CHECK (only_row)
);
COMMENT ON TABLE cdp.segment_pass IS 'what the last pass has seen of event_tail: ids of events';

CREATE TABLE cdp.segment_due (
	segment	text COLLATE "C" NOT NULL,
	due_at	timestamptz NOT NULL,
	members	cdp.bitmap NOT NULL
);
COMMENT ON TABLE cdp.segment_due IS 'whom to look at again when that time has come, even if nothing happens; a profile may be there without need';
CREATE INDEX segment_due_segment_idx ON cdp.segment_due (segment, due_at);

-- names

CREATE FUNCTION cdp._segment_tag(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN 'segment:' || name;
COMMENT ON FUNCTION cdp._segment_tag(text) IS 'the tag of a segment''s members';

CREATE FUNCTION cdp._seen_tag(tag text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN chr(1) || 'seen:' || tag;
COMMENT ON FUNCTION cdp._seen_tag(text) IS 'the internal tag that has the members of a tag as the last pass saw them';

CREATE FUNCTION cdp._segment_lock(what text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN hashtextextended('marketing_cdp segment ' || what, 0);
COMMENT ON FUNCTION cdp._segment_lock(text) IS 'advisory locks: "definition" and "pass"';

CREATE FUNCTION cdp._no_segment(name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('segment "%s" does not exist', name);
END
$$;
COMMENT ON FUNCTION cdp._no_segment(text) IS 'the error for a name that no segment has';

-- definitions

CREATE FUNCTION cdp._criteria_inputs(criteria cdp.criteria) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ARRAY(SELECT 'tag:' || t FROM unnest(cdp._criteria_tags(criteria)) t
			 UNION ALL SELECT 'labels:' || s FROM unnest(cdp._criteria_label_sets(criteria)) s
			 UNION ALL SELECT 'event' WHERE cdp._criteria_events(criteria) <> '{}'
			 UNION ALL SELECT 'prior' WHERE criteria::text ~ '\mdue\('
			 UNION ALL SELECT 'trait' WHERE cdp._criteria_traits(criteria) <> '{}');
COMMENT ON FUNCTION cdp._criteria_inputs(cdp.criteria) IS 'the inputs that matter to a rule';

-- Breadth first from the segments that the new rule names; a segment that is
-- reached by several ways is looked at once.
CREATE FUNCTION cdp._check_segment_rule(name text, criteria cdp.criteria) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	via jsonb := '{}';			-- segment → the one that names it
	frontier text[];
	one text;
	path text;
BEGIN
	FOR one IN SELECT substr(t, 9) FROM unnest(cdp._criteria_tags(criteria)) t WHERE starts_with(t, 'segment:') LOOP
		IF one <> name AND NOT EXISTS (SELECT FROM cdp.segment s WHERE s.name = one) THEN
			PERFORM cdp._no_segment(one);
		END IF;
		via := via || jsonb_build_object(one, name);
		frontier := frontier || one;
	END LOOP;
	WHILE frontier IS NOT NULL AND NOT via ? name LOOP
		SELECT via || coalesce(jsonb_object_agg(f.inner_one, f.outer_one), '{}'), array_agg(f.inner_one) INTO via, frontier
		FROM (SELECT substr(i.input, 13) AS inner_one, min(s.name) AS outer_one
			  FROM cdp.segment s, unnest(s.inputs) i(input)
			  WHERE s.name = ANY (frontier) AND starts_with(i.input, 'tag:segment:') AND NOT via ? substr(i.input, 13)
			  GROUP BY 1) f;
	END LOOP;
	IF via ? name THEN
		path := name;
		one := via ->> name;
		WHILE one <> name LOOP
			path := one || ' -> ' || path;
			one := via ->> one;
		END LOOP;
		RAISE EXCEPTION USING ERRCODE = 'invalid_recursion', MESSAGE = format('segment "%s" would contain itself', name),
			DETAIL = format('The cycle is %s -> %s.', name, path);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_segment_rule(text, cdp.criteria) IS 'refuses a rule that names a segment that is not there, or that leads back to the segment itself';

CREATE FUNCTION cdp._define_segment_once(name text, kind text, criteria cdp.criteria, given cdp.bitmap, refresh_every interval,
									include_suppressed boolean, at timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	old cdp.segment;
	made bigint;
BEGIN
	IF _define_segment_once.name IS NULL OR _define_segment_once.kind IS NULL OR _define_segment_once.include_suppressed IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name, kind and include_suppressed must not be null';
	ELSIF _define_segment_once.name = '' OR octet_length(_define_segment_once.name) > 200 OR _define_segment_once.name ~ '[\u0001-\u001f\u007f]' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('invalid segment name: "%s"', _define_segment_once.name),
			DETAIL = 'A name has 1 to 200 bytes and no control characters.';
	ELSIF _define_segment_once.kind = '' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a kind needs a name';
	ELSIF _define_segment_once.refresh_every <= '0' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'refresh_every must be positive';
	END IF;
	PERFORM cdp._check_tag_time(NULL, _define_segment_once.at);
	PERFORM pg_advisory_xact_lock(cdp._segment_lock('definition'));
	PERFORM cdp._check_segment_rule(_define_segment_once.name, _define_segment_once.criteria);
	IF NOT EXISTS (SELECT FROM cdp.segment) THEN
		PERFORM cdp._lock_merges();
	END IF;

	SELECT * INTO old FROM cdp.segment s WHERE s.name = _define_segment_once.name;
	IF old.kind <> _define_segment_once.kind THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('segment "%s" is for profiles of kind "%s"', old.name, old.kind);
	ELSIF (old.criteria, old.given, old.refresh_every, old.include_suppressed) IS NOT DISTINCT FROM
		  (_define_segment_once.criteria, _define_segment_once.given, _define_segment_once.refresh_every, _define_segment_once.include_suppressed) THEN
		RETURN old.version;
	END IF;
	SELECT coalesce(max(v.version), 0) + 1 INTO made FROM cdp.segment_version v WHERE v.segment = _define_segment_once.name;
	INSERT INTO cdp.segment_version (segment, version, kind, criteria, given, refresh_every, include_suppressed, at)
	VALUES (_define_segment_once.name, made, _define_segment_once.kind, _define_segment_once.criteria, _define_segment_once.given,
			_define_segment_once.refresh_every, _define_segment_once.include_suppressed, _define_segment_once.at);
	INSERT INTO cdp.segment AS s (name, kind, criteria, given, version, refresh_every, include_suppressed, inputs)
	VALUES (_define_segment_once.name, _define_segment_once.kind, _define_segment_once.criteria, _define_segment_once.given, made,
			_define_segment_once.refresh_every, _define_segment_once.include_suppressed,
			coalesce(cdp._criteria_inputs(_define_segment_once.criteria), '{}') || ('tag:' || chr(1) || 'kind:' || _define_segment_once.kind))
	ON CONFLICT (name) DO UPDATE SET criteria = excluded.criteria, given = excluded.given, version = excluded.version,
		refresh_every = excluded.refresh_every, include_suppressed = excluded.include_suppressed, inputs = excluded.inputs, stale = true,
		failing_since = NULL, failed_at = NULL, error = NULL, error_sqlstate = NULL;
	RETURN made;
END
$$;
COMMENT ON FUNCTION cdp._define_segment_once(text, text, cdp.criteria, cdp.bitmap, interval, boolean, timestamptz) IS 'an attempt at _define_segment';

CREATE FUNCTION cdp._define_segment(name text, kind text, criteria cdp.criteria, given cdp.bitmap, refresh_every interval,
									include_suppressed boolean, at timestamptz) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp._define_segment(text, text, cdp.criteria, cdp.bitmap, interval, boolean, timestamptz) IS 'stores the next version of a segment unless it is the same as the last; returns its number';

CREATE FUNCTION cdp.define_segment(name text, criteria cdp.criteria, kind text DEFAULT 'person', refresh_every interval DEFAULT NULL,
								   include_suppressed boolean DEFAULT false, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF criteria IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'criteria must not be null';
	END IF;
	PERFORM cdp._audience_among(criteria, '{}', at, kind);		-- can it be evaluated?
	RETURN cdp._define_segment(name, kind, criteria, NULL, refresh_every, include_suppressed, at);
END
$$;
COMMENT ON FUNCTION cdp.define_segment(text, cdp.criteria, text, interval, boolean, timestamptz) IS 'gives a rule a name; its members are there after the next refresh; returns the version';

CREATE FUNCTION cdp.define_static_segment(name text, members cdp.bitmap, kind text DEFAULT 'person', at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	given cdp.bitmap;
BEGIN
	IF members IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'members must not be null';
	END IF;
	given := cdp._canonical_set(members);
	RETURN cdp._define_segment(name, kind, NULL, given, NULL, false, at);
END
$$;
COMMENT ON FUNCTION cdp.define_static_segment(text, cdp.bitmap, text, timestamptz) IS 'gives a set of profiles a name; they are members after the next refresh; returns the version';

CREATE FUNCTION cdp._drop_segment_once(name text, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	users text;
	members cdp.bitmap;
BEGIN
	IF _drop_segment_once.name IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name must not be null';
	END IF;
	PERFORM cdp._check_tag_time(NULL, _drop_segment_once.at);
	PERFORM pg_advisory_xact_lock(cdp._segment_lock('definition'));
	PERFORM pg_advisory_xact_lock(cdp._segment_lock('pass'));
	PERFORM FROM cdp.segment s WHERE s.name = _drop_segment_once.name;
	IF NOT FOUND THEN
		PERFORM cdp._no_segment(_drop_segment_once.name);
	END IF;
	SELECT string_agg(format('"%s"', s.name), ', ' ORDER BY s.name) INTO users
	FROM cdp.segment s WHERE ('tag:' || cdp._segment_tag(_drop_segment_once.name)) = ANY (s.inputs);
	IF users IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
			MESSAGE = format('cannot drop segment "%s" because others use it', _drop_segment_once.name),
			DETAIL = format('It is named by the rule of %s.', users);
	END IF;
	PERFORM cdp._lock_merges();
	members := cdp.tagged(cdp._segment_tag(_drop_segment_once.name));
	IF NOT cdp.rb_is_empty(members) THEN
		INSERT INTO cdp.segment_change (segment, at, entered, exited, cause, tick_no)
		VALUES (_drop_segment_once.name, _drop_segment_once.at, '{}', members, 'policy', nextval('cdp.tick_no_seq'));
		PERFORM cdp._tag_changes(cdp._segment_tag(_drop_segment_once.name), NULL, members, _drop_segment_once.at, 'policy');
	END IF;
	DELETE FROM cdp.segment_due d WHERE d.segment = _drop_segment_once.name;
	DELETE FROM cdp.segment s WHERE s.name = _drop_segment_once.name;
END
$$;
COMMENT ON FUNCTION cdp._drop_segment_once(text, timestamptz) IS 'an attempt at drop_segment';

CREATE FUNCTION cdp.drop_segment(name text, at timestamptz DEFAULT now()) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp.drop_segment(text, timestamptz) IS 'forgets a segment; its versions and changes stay';

CREATE FUNCTION cdp.segment_members(name text, at timestamptz DEFAULT now()) RETURNS cdp.bitmap
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	s cdp.segment;
	members cdp.bitmap;
BEGIN
	SELECT * INTO s FROM cdp.segment o WHERE o.name = segment_members.name;
	IF NOT FOUND THEN
		PERFORM cdp._no_segment(segment_members.name);
	END IF;
	members := cdp.rb_and(cdp.tagged(cdp._segment_tag(s.name)), cdp.tagged(chr(1) || 'kind:' || s.kind));
	RETURN CASE WHEN s.include_suppressed THEN members ELSE cdp.rb_andnot(members, coalesce(cdp._excluded(s.kind, segment_members.at, members), '{}')) END;
END
$$;
COMMENT ON FUNCTION cdp.segment_members(text, timestamptz) IS 'the members of a segment as of its last refresh, without those erased, suppressed or merged away since';
