
/* 38_rfm: recency, frequency, money
 *
 * Scores 1 … 5 by quantile edges (Hyndman and Fan 1996, type 7; equal values
 * share a score, a value equal to an edge belongs to the lower part) or by
 * given edges; recency is reversed, so that 5 is always best.  Three scores
 * are a code such as 555, and codes have names.
 *
 * Toolkit: rfm_values of one timeline, rfm over any query.  Managed: a model
 * of each kind of profile is refreshed by the clock at a stated cadence, and
 * the tags rfm:<segment> say exactly what the last refresh found, of profiles
 * merged or parted since then as well: those are scored again as of that
 * refresh, by its edges.
 *
 * On a merge the merged profile loses its tags and the survivor is scored
 * again; on an unmerge both are (the lifecycle task does it for every queue
 * row with cause merge).
 */

-- names of codes

CREATE TABLE cdp.rfm_segment (
	segment		text NOT NULL,
	codes		text[] NOT NULL,
	priority	int NOT NULL DEFAULT 0,
	seeded		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (segment, seeded),
	CONSTRAINT rfm_segment_segment_check CHECK (segment ~ '^[[:alpha:]_][[:alnum:]_-]*$'),
	CONSTRAINT rfm_segment_codes_check CHECK (codes = '{}' OR array_to_string(codes, ',', '?') ~ '^(,?([1-5.]|\[[1-5](-[1-5]|[1-5]*)\]){3}(?=,|$))+$')
);
COMMENT ON TABLE cdp.rfm_segment IS 'names of RFM codes; writable; a code belongs to a user''s segment before a seeded one, then to the highest priority, then to the first by name';
COMMENT ON COLUMN cdp.rfm_segment.codes IS 'three places for recency, frequency, money, each a score, a list [45], a range [1-3] or . for any';

INSERT INTO cdp.rfm_segment (segment, codes, seeded) VALUES
	('champions',			'{555,554,544,545,454,455,445}', true),
	('loyal',				'{543,444,435,355,354,345,344,335}', true),
	('potential_loyalist',	'{553,551,552,541,542,533,532,531,452,451,442,441,431,453,433,432,423,353,352,351,342,341,333,323}', true),
	('new_customers',		'{512,511,422,421,412,411,311}', true),
	('promising',			'{525,524,523,522,521,515,514,513,425,424,413,414,415,315,314,313}', true),
	('need_attention',		'{535,534,443,434,343,334,325,324}', true),
	('about_to_sleep',		'{331,321,312,221,213,231,241,251}', true),
	('at_risk',				'{255,254,245,244,253,252,243,242,235,234,225,224,153,152,145,143,142,135,134,133,125,124}', true),
	('cannot_lose_them',	'{155,154,144,214,215,115,114,113}', true),
	('hibernating',			'{332,322,233,232,223,222,132,123,122,212,211}', true),
	('lost',				'{111,112,121,131,141,151}', true);

CREATE TRIGGER rfm_segment_keep_seeded BEFORE UPDATE OR DELETE ON cdp.rfm_segment
FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();

CREATE VIEW cdp.rfm_segment_effective WITH (security_invoker) AS
SELECT DISTINCT ON (s.segment) s.segment, s.codes, s.priority, s.seeded
FROM cdp.rfm_segment s ORDER BY s.segment, s.seeded;
COMMENT ON VIEW cdp.rfm_segment_effective IS 'the names that apply: a user''s row overrides the seeded one';

CREATE FUNCTION cdp._rfm_codes() RETURNS TABLE (code text, segment text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 125
BEGIN ATOMIC
	SELECT DISTINCT ON (c.code) c.code, s.segment
	FROM (SELECT r::text || f || m AS code FROM generate_series(1, 5) r, generate_series(1, 5) f, generate_series(1, 5) m) c
	JOIN cdp.rfm_segment_effective s ON c.code ~ ('^(' || array_to_string(s.codes, '|') || ')$')
	ORDER BY c.code, s.seeded, s.priority DESC, s.segment COLLATE "C";
END;
COMMENT ON FUNCTION cdp._rfm_codes() IS 'the name of each code that has one';

CREATE FUNCTION cdp.rfm_segment_of(code text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT c.segment FROM cdp._rfm_codes() c WHERE c.code = rfm_segment_of.code;
END;
COMMENT ON FUNCTION cdp.rfm_segment_of(text) IS 'the name of an RFM code, by the table rfm_segment';

-- toolkit

CREATE FUNCTION cdp.rfm_values(t cdp.timeline, at timestamptz, event text DEFAULT 'purchase', within interval DEFAULT NULL,
	labels text[] DEFAULT NULL, OUT last_at timestamptz, OUT recency float8, OUT frequency bigint, OUT monetary float8) RETURNS record
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_rfm_values';
COMMENT ON FUNCTION cdp.rfm_values(cdp.timeline, timestamptz, text, interval, text[])
	IS 'days since the last order up to an instant, number of orders (distinct instants), sum of values; of a window and of some labels';

-- The one text of the scoring, over rows (id, t).  $1 at, $2 event, $3 within,
-- $4 labels, $5 … $7 edges (NULL = quantiles of these rows).  A constant of
-- type bigint after OFFSET keeps the function call single and the scan parallel.
CREATE FUNCTION cdp._rfm_query(source text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN format($q$
	WITH value AS MATERIALIZED (
		SELECT v.id, (v.of).last_at, (v.of).recency, (v.of).frequency, (v.of).monetary
		FROM (SELECT q.id, cdp.rfm_values(q.t, $1, $2, $3, $4) AS of FROM (%s) AS q (id, t) OFFSET '0') v
		WHERE (v.of).frequency OPERATOR(pg_catalog.>) 0
	), edge AS MATERIALIZED (
		SELECT coalesce($5, cdp.quantile_edges(v.recency, '{0.2,0.4,0.6,0.8}')) AS r,
			   coalesce($6, cdp.quantile_edges(v.frequency, '{0.2,0.4,0.6,0.8}')) AS f,
			   coalesce($7, cdp.quantile_edges(v.monetary, '{0.2,0.4,0.6,0.8}')) AS m
		FROM value v
	), scored AS (
		SELECT v.*, 6 OPERATOR(pg_catalog.-) cdp.quantile_score(v.recency, e.r) AS r,
			   cdp.quantile_score(v.frequency, e.f) AS f, cdp.quantile_score(v.monetary, e.m) AS m,
			   e.r AS recency_edges, e.f AS frequency_edges, e.m AS monetary_edges
		FROM value v, edge e
	)
	SELECT s.id, s.last_at, s.recency, s.frequency, s.monetary, s.r, s.f, s.m, c.code, n.segment, s.recency_edges, s.frequency_edges, s.monetary_edges
	FROM scored s CROSS JOIN LATERAL (SELECT pg_catalog.concat(s.r, s.f, s.m) AS code) c
	LEFT JOIN cdp._rfm_codes() n ON n.code OPERATOR(pg_catalog.=) c.code
	$q$, source);
COMMENT ON FUNCTION cdp._rfm_query(text) IS 'query that scores the timelines of another query';

CREATE FUNCTION cdp._rfm_edges_fit(edges float8[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN edges IS NULL OR array_ndims(edges) = 1 AND cardinality(edges) = 4 AND array_position(edges, NULL) IS NULL
	AND edges[array_lower(edges, 1)] <= edges[array_lower(edges, 1) + 1] AND edges[array_lower(edges, 1) + 1] <= edges[array_lower(edges, 1) + 2]
	AND edges[array_lower(edges, 1) + 2] <= edges[array_lower(edges, 1) + 3];
COMMENT ON FUNCTION cdp._rfm_edges_fit(float8[]) IS 'can these be edges of five scores? NULL = none given';

CREATE FUNCTION cdp._check_rfm_edges(recency_edges float8[], frequency_edges float8[], monetary_edges float8[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	bad text;
BEGIN
	SELECT e.what INTO bad
	FROM (VALUES ('recency_edges', recency_edges), ('frequency_edges', frequency_edges), ('monetary_edges', monetary_edges)) AS e (what, edges)
	WHERE NOT _rfm_edges_fit(e.edges);
	IF bad IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('%s must be four numbers in ascending order', bad);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._check_rfm_edges(float8[], float8[], float8[]) IS 'edges of rfm: NULL, or four numbers each';

CREATE FUNCTION cdp._rfm(query text, path text, at timestamptz, event text, within interval, labels text[],
	recency_edges float8[], frequency_edges float8[], monetary_edges float8[])
RETURNS TABLE (id text, last_at timestamptz, recency float8, frequency bigint, monetary float8, r int, f int, m int, code text, segment text)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	second regtype;
	source text;
BEGIN
	IF query IS NULL OR at IS NULL OR event IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'query, at and event must not be null';
	END IF;
	PERFORM _check_rfm_edges(recency_edges, frequency_edges, monetary_edges);

	-- The query is the caller's: its names are looked up on the caller's path.
	-- (Setting it is not possible in a parallel query: hence PARALLEL UNSAFE.  The
	-- query inside is one of its own, and may run in parallel.)
	PERFORM set_config('search_path', path, true);
	EXECUTE pg_catalog.format(E'SELECT pg_catalog.pg_typeof(q.b) FROM (SELECT) AS one LEFT JOIN (SELECT * FROM (%s\n) AS i LIMIT 0) AS q (a, b) ON true', query)
	INTO second;
	source := CASE WHEN second OPERATOR(pg_catalog.=) 'cdp.timeline'::pg_catalog.regtype
		THEN pg_catalog.format(E'SELECT i.a::pg_catalog.text, i.b FROM (%s\n) AS i (a, b)', query)
		ELSE pg_catalog.format(E'SELECT i.a::pg_catalog.text, cdp.timeline_agg(i.b::pg_catalog.timestamptz, $2, i.c::pg_catalog.float8) FROM (%s\n) AS i (a, b, c) GROUP BY 1', query) END;
	RETURN QUERY EXECUTE pg_catalog.format('SELECT x.id, x.last_at, x.recency, x.frequency, x.monetary, x.r, x.f, x.m, x.code, x.segment FROM (%s) x', cdp._rfm_query(source))
	USING at, event, within, labels, recency_edges, frequency_edges, monetary_edges;
END
$$;
COMMENT ON FUNCTION cdp._rfm(text, text, timestamptz, text, interval, text[], float8[], float8[], float8[]) IS 'rfm, with the search_path to look the query''s names up on';

CREATE FUNCTION cdp.rfm(query text, at timestamptz, event text DEFAULT 'purchase', within interval DEFAULT NULL, labels text[] DEFAULT NULL,
	recency_edges float8[] DEFAULT NULL, frequency_edges float8[] DEFAULT NULL, monetary_edges float8[] DEFAULT NULL)
RETURNS TABLE (id text, last_at timestamptz, recency float8, frequency bigint, monetary float8, r int, f int, m int, code text, segment text)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT x.* FROM cdp._rfm(query, current_setting('search_path'), at, event, within, labels, recency_edges, frequency_edges, monetary_edges) x;
END;
COMMENT ON FUNCTION cdp.rfm(text, timestamptz, text, interval, text[], float8[], float8[], float8[])
	IS 'RFM scores of the ids of a query, which yields (id, at, value) rows or (id, timeline)';

-- models

CREATE TABLE cdp.rfm_model (
	name			text NOT NULL,
	kind			text NOT NULL DEFAULT 'person',
	event			text NOT NULL DEFAULT 'purchase',
	label			text,
	label_set		text,
	within			interval,
	recency_edges	float8[],
	frequency_edges	float8[],
	monetary_edges	float8[],
	every			interval NOT NULL DEFAULT '7 days',
	seeded			boolean NOT NULL DEFAULT false,
	PRIMARY KEY (name, seeded),
	CONSTRAINT rfm_model_name_check CHECK (name ~ '^[[:alnum:]_][[:alnum:]_-]*$'),
	CONSTRAINT rfm_model_label_check CHECK (label IS NULL OR label_set IS NULL),
	CONSTRAINT rfm_model_within_check CHECK (within > interval '0'),
	CONSTRAINT rfm_model_edges_check CHECK (cdp._rfm_edges_fit(recency_edges) AND cdp._rfm_edges_fit(frequency_edges) AND cdp._rfm_edges_fit(monetary_edges)),
	CONSTRAINT rfm_model_every_check CHECK (every > interval '0')
);
COMMENT ON TABLE cdp.rfm_model IS 'what RFM is worked out of, per kind of profile: event, category, window, edges, cadence; writable';
COMMENT ON COLUMN cdp.rfm_model.label_set IS 'only events with a label of this set (a category); label: with this one';
COMMENT ON COLUMN cdp.rfm_model.within IS 'only events of this length of time before the refresh; NULL = all';
COMMENT ON COLUMN cdp.rfm_model.recency_edges IS 'four numbers of days; NULL = quintiles';
COMMENT ON COLUMN cdp.rfm_model.every IS 'the clock refreshes the tags when this has passed since the last refresh';

INSERT INTO cdp.rfm_model (name, seeded) VALUES ('default', true);

CREATE TRIGGER rfm_model_keep_seeded BEFORE UPDATE OR DELETE ON cdp.rfm_model
FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();

-- Tags of the model that drives rfm:<segment> of its kind have no prefix: the
-- one named default, else the first by name.
CREATE VIEW cdp.rfm_model_effective WITH (security_invoker) AS
SELECT e.*, 'rfm:' || CASE WHEN row_number() OVER (PARTITION BY e.kind ORDER BY e.name <> 'default', e.name COLLATE "C") > 1
						   THEN e.name || '.' ELSE '' END AS prefix
FROM (SELECT DISTINCT ON (m.name) m.name, m.kind, m.event,
			 CASE WHEN m.label IS NOT NULL THEN ARRAY[m.label]
				  WHEN m.label_set IS NOT NULL THEN ARRAY(SELECT s.label FROM cdp.label_set s WHERE s.name = m.label_set ORDER BY s.label) END AS labels,
			 m.within, m.recency_edges, m.frequency_edges, m.monetary_edges, m.every, m.seeded
	  FROM cdp.rfm_model m ORDER BY m.name, m.seeded) e;
COMMENT ON VIEW cdp.rfm_model_effective IS 'the models that apply, and what the names of their tags begin with';

CREATE TABLE cdp.rfm_run (
	model			text NOT NULL,
	at				timestamptz NOT NULL,
	profiles		bigint NOT NULL,
	changed			bigint NOT NULL,
	recency_edges	float8[],
	frequency_edges	float8[],
	monetary_edges	float8[],
	prefix			text NOT NULL,
	model_hash		int NOT NULL,
	PRIMARY KEY (model, at)
);
COMMENT ON TABLE cdp.rfm_run IS 'refreshes of the RFM tags: how many profiles were scored, how many tags changed, the edges';

-- Sets the tags of a model for the profiles of "among" (NULL = all of its kind)
-- to what their timelines say at an instant; NULL edges are quintiles.
CREATE FUNCTION cdp._score_rfm(model cdp.rfm_model_effective, among cdp.bitmap, at timestamptz, cause text,
	recency_edges float8[], frequency_edges float8[], monetary_edges float8[]) RETURNS cdp.rfm_run
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
DECLARE
	run rfm_run;
	everybody text := chr(1) || 'kind:' || model.kind;
	known bitmap;
	segments text[];
	members bitmap[];
	names text[];
	added bitmap[];
	removed bitmap[];
BEGIN
	EXECUTE format('SELECT array_agg(g.segment), array_agg(g.members), coalesce(sum(g.n), 0), min(g.r), min(g.f), min(g.m), tagged($9)
		FROM (SELECT x.segment, rb_build_agg(x.id) AS members, count(*) AS n, min(x.recency_edges) AS r, min(x.frequency_edges) AS f, min(x.monetary_edges) AS m
			  FROM (%s) x GROUP BY x.segment) g',
		_rfm_query(format('SELECT t.profile_id, t.timeline FROM %s t JOIN profile p ON p.profile_id = t.profile_id WHERE p.kind = %L AND p.erased_at IS NULL AND NOT p.suppressed',
						  CASE WHEN among IS NULL THEN 'profile_timeline' ELSE '_timelines_of($8)' END, model.kind)))
	INTO segments, members, run.profiles, run.recency_edges, run.frequency_edges, run.monetary_edges, known
	USING at, model.event, model.within, model.labels, recency_edges, frequency_edges, monetary_edges, among, everybody;

	IF among IS NULL THEN
		-- Nobody is merged from here on; who was meanwhile gets no tag, and is scored again with the other one.
		PERFORM _lock_merges();
		SELECT array_agg(rb_and(m.ids, tagged(everybody)) ORDER BY m.n) INTO members FROM unnest(members) WITH ORDINALITY AS m (ids, n);
		known := rb_xor(known, tagged(everybody));
		INSERT INTO profile_queue (profile_id, at, cause)
		SELECT p.canonical_id, _score_rfm.at, 'merge' FROM profile p
		WHERE p.profile_id IN (SELECT rb_iterate(known) UNION SELECT m.survivor FROM profile_merge m WHERE m.merged IN (SELECT rb_iterate(known)))
		GROUP BY p.canonical_id;
	END IF;

	-- tags of other kinds have the same names
	WITH other AS MATERIALIZED (
		SELECT coalesce(rb_or_agg(tagged(k)), '{}') AS ids FROM _tags_of_key(chr(1) || 'kind') k WHERE k <> everybody
	), target AS (
		SELECT model.prefix || s.segment AS tag, s.ids FROM unnest(segments, members) AS s (segment, ids) WHERE s.segment IS NOT NULL
		UNION ALL
		SELECT t, '{}' FROM _tags_of_key('rfm') t WHERE t ~ ('^' || replace(model.prefix, '.', '[.]') || '[^.]*$')
	), change AS (
		SELECT g.tag, rb_andnot(g.ids, g.before) AS added,
			   CASE WHEN among IS NULL THEN rb_andnot(rb_andnot(g.before, g.ids), o.ids) ELSE rb_and(rb_andnot(g.before, g.ids), among) END AS removed
		FROM (SELECT t.tag, rb_or_agg(t.ids) AS ids, tagged(t.tag) AS before FROM target t GROUP BY t.tag) g, other o
	)
	SELECT array_agg(c.tag ORDER BY c.tag COLLATE "C"), array_agg(c.added ORDER BY c.tag COLLATE "C"), array_agg(c.removed ORDER BY c.tag COLLATE "C"),
		   coalesce(sum(rb_cardinality(c.added) + rb_cardinality(c.removed)), 0)
	INTO names, added, removed, run.changed
	FROM change c WHERE NOT rb_is_empty(c.added) OR NOT rb_is_empty(c.removed);
	IF names IS NOT NULL THEN
		PERFORM _change_tags(names, added, removed, at, cause);
	END IF;

	run.model := model.name;
	run.at := at;
	run.prefix := model.prefix;
	run.model_hash := hash_record((model.kind, model.event, model.labels, model.within, model.recency_edges, model.frequency_edges, model.monetary_edges));
	RETURN run;
END
$$;
COMMENT ON FUNCTION cdp._score_rfm(cdp.rfm_model_effective, cdp.bitmap, timestamptz, text, float8[], float8[], float8[])
	IS 'set the RFM tags of some profiles, or of all of a kind, to what their timelines say';

-- One refresh at a time.  The first one, and the first one of a changed model,
-- start no journeys.
CREATE FUNCTION cdp._refresh_rfm(model cdp.rfm_model_effective, at timestamptz) RETURNS cdp.rfm_run
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	last_run rfm_run;
	run rfm_run;
	hash int := hash_record((model.kind, model.event, model.labels, model.within, model.recency_edges, model.frequency_edges, model.monetary_edges));
BEGIN
	SELECT r.* INTO last_run FROM rfm_run r WHERE r.model = _refresh_rfm.model.name ORDER BY r.at DESC LIMIT 1;
	run := _score_rfm(model, NULL, at, CASE WHEN last_run IS NULL THEN 'first' WHEN last_run.model_hash <> hash THEN 'policy' ELSE 'time' END,
					  model.recency_edges, model.frequency_edges, model.monetary_edges);
	INSERT INTO rfm_run SELECT run.*
	ON CONFLICT ON CONSTRAINT rfm_run_pkey DO UPDATE SET profiles = excluded.profiles, changed = excluded.changed,
		recency_edges = excluded.recency_edges, frequency_edges = excluded.frequency_edges, monetary_edges = excluded.monetary_edges,
		prefix = excluded.prefix, model_hash = excluded.model_hash;
	RETURN run;
END
$$;
COMMENT ON FUNCTION cdp._refresh_rfm(cdp.rfm_model_effective, timestamptz) IS 'refresh the tags of one model and record it';

CREATE FUNCTION cdp._refresh_rfm_once(model text, at timestamptz)
RETURNS TABLE (name text, profiles bigint, changed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	one rfm_model_effective;
	run rfm_run;
BEGIN
	IF at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'at must not be null';
	ELSIF model IS NOT NULL AND NOT EXISTS (SELECT FROM rfm_model_effective m WHERE m.name = model) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('RFM model "%s" does not exist', model);
	END IF;
	PERFORM pg_advisory_xact_lock('rfm_run'::regclass::oid::bigint);
	FOR one IN SELECT m.* FROM rfm_model_effective m WHERE model IS NULL OR m.name = model ORDER BY m.name COLLATE "C" LOOP
		run := _refresh_rfm(one, at);
		name := run.model;
		profiles := run.profiles;
		changed := run.changed;
		RETURN NEXT;
	END LOOP;
	IF model IS NULL THEN
		PERFORM _clear_rfm(at);		-- last: no tag before _score_rfm excludes merges
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._refresh_rfm_once(text, timestamptz) IS 'an attempt at refresh_rfm';

CREATE FUNCTION cdp.refresh_rfm(model text DEFAULT NULL, at timestamptz DEFAULT now())
RETURNS TABLE (name text, profiles bigint, changed bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp.refresh_rfm(text, timestamptz) IS 'score all profiles by one RFM model, or by all, and bring their tags up to date';

-- Tags of models that are no more: of their prefix, and of kinds without a model.
CREATE FUNCTION cdp._clear_rfm(at timestamptz) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT cdp._change_tags(array_agg(x.tag ORDER BY x.tag COLLATE "C"), array_fill('{}'::cdp.bitmap, ARRAY[count(*)::int]),
							array_agg(x.gone ORDER BY x.tag COLLATE "C"), at, 'policy')
	FROM (SELECT t.tag, cdp.rb_andnot(cdp.tagged(t.tag), coalesce((
				SELECT cdp.rb_or_agg(cdp.tagged(chr(1) || 'kind:' || m.kind)) FROM cdp.rfm_model_effective m
				WHERE t.tag ~ ('^' || replace(m.prefix, '.', '[.]') || '[^.]*$')), '{}')) AS gone
		  FROM cdp._tags_of_key('rfm') AS t (tag)) x
	WHERE NOT cdp.rb_is_empty(x.gone)
	HAVING count(*) > 0;
	DELETE FROM cdp.rfm_run r WHERE NOT EXISTS (SELECT FROM cdp.rfm_model_effective m WHERE m.name = r.model);
END;
COMMENT ON FUNCTION cdp._clear_rfm(timestamptz) IS 'remove RFM tags that no model keeps any more';

CREATE FUNCTION cdp.rfm_of(model text DEFAULT 'default', at timestamptz DEFAULT now())
RETURNS TABLE (profile_id bigint, last_at timestamptz, recency float8, frequency bigint, monetary float8, r int, f int, m int, code text, segment text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	one rfm_model_effective;
BEGIN
	SELECT e.* INTO one FROM rfm_model_effective e WHERE e.name = rfm_of.model;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('RFM model "%s" does not exist', rfm_of.model);
	END IF;
	RETURN QUERY EXECUTE format('SELECT x.id, x.last_at, x.recency, x.frequency, x.monetary, x.r, x.f, x.m, x.code, x.segment FROM (%s) x', _rfm_query(format(
		'SELECT t.profile_id, t.timeline FROM profile_timeline t JOIN profile p ON p.profile_id = t.profile_id WHERE p.kind = %L AND p.erased_at IS NULL AND NOT p.suppressed', one.kind)))
	USING at, one.event, one.within, one.labels, one.recency_edges, one.frequency_edges, one.monetary_edges;
END
$$;
COMMENT ON FUNCTION cdp.rfm_of(text, timestamptz) IS 'RFM scores of all profiles of a model''s kind at an instant';

-- keeping up

CREATE FUNCTION cdp._advance_rfm(now timestamptz, max_rows int, OUT done bigint, OUT lag interval) RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	one rfm_model_effective;
	due timestamptz;
BEGIN
	done := 0;
	lag := '0';
	IF pg_try_advisory_xact_lock('rfm_run'::regclass::oid::bigint) THEN
		SELECT m.* INTO one
		FROM rfm_model_effective m
		WHERE coalesce((SELECT max(r.at) FROM rfm_run r WHERE r.model = m.name) + m.every <= now, true)
		ORDER BY m.name COLLATE "C" LIMIT 1;
		IF FOUND THEN
			PERFORM _refresh_rfm(one, now);
			done := 1;
		END IF;
	END IF;
	SELECT min(r.at + r.every) INTO due
	FROM (SELECT max(x.at) AS at, m.every FROM rfm_model_effective m JOIN rfm_run x ON x.model = m.name GROUP BY m.name, m.every) r;
	lag := greatest(coalesce(now - due, '0'), '0');
END
$$;
COMMENT ON FUNCTION cdp._advance_rfm(timestamptz, int) IS 'task: refresh a model whose time has come';

CREATE FUNCTION cdp._rescore_rfm(profiles cdp.bitmap) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	one rfm_model_effective;
	run rfm_run;
BEGIN
	FOR one IN SELECT m.* FROM rfm_model_effective m ORDER BY m.name COLLATE "C" LOOP
		SELECT r.* INTO run FROM rfm_run r WHERE r.model = one.name ORDER BY r.at DESC LIMIT 1;
		IF FOUND AND run.prefix = one.prefix AND run.profiles > 0 THEN
			PERFORM _score_rfm(one, x.ids, run.at, 'merge', run.recency_edges, run.frequency_edges, run.monetary_edges)
			FROM (SELECT rb_build_agg(p.profile_id) AS ids FROM profile p
				  WHERE p.profile_id IN (SELECT rb_iterate(profiles)) AND p.canonical_id = p.profile_id AND p.kind = one.kind) x
			WHERE NOT rb_is_empty(x.ids);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._rescore_rfm(cdp.bitmap) IS 'after a merge or unmerge: score these profiles again as of the last refresh, by its edges';

CREATE FUNCTION cdp._merge_rfm(survivor bigint, merged bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	names text[];
BEGIN
	LOCK TABLE profile_merge IN ROW EXCLUSIVE MODE;		-- before any tag: see _score_rfm
	names := ARRAY(SELECT t COLLATE "C" FROM _key_tags_of(merged, 'rfm') t ORDER BY 1);
	PERFORM _change_tags(names, array_fill('{}'::bitmap, ARRAY[cardinality(names)]),
						 array_fill(rb_build(ARRAY[merged]), ARRAY[cardinality(names)]), at, 'merge');
END
$$;
COMMENT ON FUNCTION cdp._merge_rfm(bigint, bigint, timestamptz) IS 'part of merge: the merged profile has no RFM tags any more; the lifecycle task scores the survivor again';
