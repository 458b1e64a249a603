-- Random rules of every construct, each with the same question in plain SQL
-- over rows: the set, the single answers and the rows agree.
--
-- ORACLE_RULES=10000 ORACLE_SEED=1 in the environment make it long; a seed is
-- a world of its own.
\set rules 120
\set seed 7
\getenv rules ORACLE_RULES
\getenv seed ORACLE_SEED
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT set_config('oracle.seed', :'seed', false) IS NULL AS seeded;

-- the numbers and rules, shared with segment_oracle
\getenv abs_srcdir PG_ABS_SRCDIR
\set generator :abs_srcdir '/data/random_rules.sql'
\set ECHO none
\i :generator
\set ECHO all

-- ---- a world: fifty people and eight stores, merges, some of it folded
-- trait_change does not hold a value that was said again
CREATE TEMP TABLE said (profile_id bigint, name text, value jsonb, at timestamptz);
CREATE FUNCTION pg_temp.say(p bigint, name text, value text, at timestamptz) RETURNS void LANGUAGE sql BEGIN ATOMIC
	SELECT cdp.set_trait(p, name, value::jsonb, at);
	INSERT INTO pg_temp.said VALUES (p, name, value::jsonb, at);
END;
DO $$
DECLARE
	step int;
	at timestamptz;
	who identifier[];
	p bigint;
	properties jsonb;
BEGIN
	FOR step IN 1 .. 50 LOOP
		PERFORM identify(ARRAY['user_id:u' || step]::identifier[], at => '2026-01-01'::timestamptz + step * interval '1 day');
	END LOOP;
	FOR step IN 1 .. 8 LOOP
		PERFORM identify(ARRAY['store:s' || step]::identifier[], at => '2026-01-05', kind => 'store');
	END LOOP;
	FOR step IN 1 .. 800 LOOP
		at := '2026-01-01'::timestamptz + pg_temp.r(step, 'day', 90) * interval '1 day' + pg_temp.r(step, 'hour', 3) * interval '9 hours';
		who := ARRAY['user_id:u' || 1 + pg_temp.r(step, 'who', 35)]::identifier[];
		p := resolve(who[1]);
		CASE pg_temp.r(step, 'op', 12)
			WHEN 0 THEN PERFORM tag(p, pg_temp.pick(step, 'tag', 'a', 'b', '会员', 'city:x', 'city:y'));
			WHEN 1 THEN PERFORM untag(p, pg_temp.pick(step, 'tag', 'a', 'b', '会员', 'city:x', 'city:y'));
			WHEN 2 THEN PERFORM pg_temp.say(p, 'age', pg_temp.pick(step, 'age', '20', '30', '40', '40.5', '"40"', 'null'), at);
				PERFORM pg_temp.say(p, 'score', pg_temp.pick(step, 'score', '5', '10', '20', '30', '40', '40.5', 'null'), at);
			WHEN 3 THEN
				PERFORM pg_temp.say(p, 'joined', pg_temp.pick(step, 'joined', '"2026-01-20"', '"2026-02-01"', '"2026-03-10"', '"2026-02-20"', 'null'), at);
				PERFORM pg_temp.say(p, 'born', pg_temp.pick(step, 'born', '"2026-01-20"', '"2026-02-20T12:00:00+02:00"', '"2026-04-01 06:30Z"', '"soon"', '7', '[1]'), at);
			WHEN 4 THEN PERFORM pg_temp.say(p, 'plan', pg_temp.pick(step, 'plan', '"free"', '"pro"', 'true', 'false', '3'), at);
			ELSE
				properties := jsonb_strip_nulls(jsonb_build_object(
					'sku', nullif(pg_temp.pick(step, 'sku', 's1', 's2', 's3', '会员', ''), ''),
					'revenue', nullif(pg_temp.r(step, 'value', 6) * 10, 0),
					'price', pg_temp.pick(step, 'price', '5', '10', '20', '"10"', 'null')::jsonb,
					'color', nullif(pg_temp.pick(step, 'color', 'red', 'blue', ''), ''),
					'gift', pg_temp.pick(step, 'gift', 'true', 'false', 'null')::jsonb,
					'shipped', pg_temp.pick(step, 'shipped', '"2026-02-01"', '"2026-03-10T10:00Z"', '"never"', 'null')::jsonb));
				IF pg_temp.r(step, 'event', 6) = 0 THEN
					properties := properties || jsonb_build_object('products', jsonb_build_array(
						jsonb_build_object('sku', pg_temp.pick(step, 'line', 's1', 's3'), 'price', 5 + pg_temp.r(step, 'p1', 3) * 5, 'quantity', 1 + pg_temp.r(step, 'q1', 2)),
						jsonb_build_object('sku', 's4', 'price', 10, 'color', 'red')));
				ELSIF pg_temp.r(step, 'event', 6) = 1 THEN
					properties := properties || jsonb_build_object('page', 's' || pg_temp.r(step, 'page', 3), 'seconds', pg_temp.r(step, 'seconds', 60));
				END IF;
				PERFORM track(who, (ARRAY['Order Completed', 'Visit', 'view', 'cart', 'purchase', 'refund'])[1 + pg_temp.r(step, 'event', 6)], properties, at,
					participants => CASE pg_temp.r(step, 'store', 3) WHEN 0 THEN ARRAY['store:s' || 1 + pg_temp.r(step, 's', 6)] ELSE '{}' END::identifier[]);
		END CASE;
		IF step % 300 = 0 THEN
			PERFORM _fold_timelines('2027-01-01', 150);
			PERFORM _fold_tags(now(), 40);
			PERFORM _fold_traits(now(), 20) FROM generate_series(1, 6);
		END IF;
		IF step % 90 = 0 AND canonical_id(step / 90) <> canonical_id(15 + step / 90) THEN
			PERFORM merge(canonical_id(step / 90), canonical_id(15 + step / 90));
		END IF;
		IF step IN (500, 700) THEN
			PERFORM unmerge(min(m.merge_id)) FROM profile_merge m WHERE m.undone_at IS NULL;
		END IF;
	END LOOP;
	PERFORM merge(51, 53), tag(54, 'a');
	UPDATE profile SET suppressed = true WHERE profile_id IN (9, 47);
END
$$;
-- tags with a history, changed in the order of time: who had them when
INSERT INTO tag_key (key, keep_history) VALUES ('past', true), ('say "hi" 🎉', true);
CREATE TEMP TABLE changed (id bigint, tag text, at timestamptz, present boolean);
DO $$
DECLARE
	at timestamptz;
	p bigint;
	name text;
BEGIN
	FOR step IN 1 .. 250 LOOP
		at := '2026-01-03'::timestamptz + step * interval '10 hours';
		p := canonical_id(1 + pg_temp.r(step, 'had', 58));
		name := pg_temp.pick(step, 'past', 'past:x', 'past:y', 'say "hi" 🎉');
		IF pg_temp.r(step, 'change', 3) > 0 THEN
			PERFORM tag(p, name, at => at);
		ELSE
			PERFORM untag(p, name, at => at);
		END IF;
		INSERT INTO changed VALUES (p, name, at, pg_temp.r(step, 'change', 3) > 0);
		IF step = 120 THEN
			PERFORM _fold_tags(now(), 60);
		END IF;
	END LOOP;
END
$$;
-- segments: what their rules said at their last refresh
CREATE TEMP TABLE inner_rule AS
SELECT * FROM (VALUES ('sets', 'a | city:x & !b'), ('acts', 'count(purchase, 30d) >= 1 | last(view) < 20d'), ('of both', 'segment:acts & !segment:sets')) r(name, rule);
SELECT count(define_segment(name, rule::criteria, at => '2026-01-01')) FROM inner_rule;
SELECT count(*) FROM refresh_segments(at => '2026-03-20');

-- ---- the same world as rows
CREATE TEMP TABLE person AS
SELECT c.profile_id AS id, c.kind, (SELECT min(l.first_at) FROM profile l WHERE l.canonical_id = c.profile_id) AS first_at, tags_of(c.profile_id) AS tags,
	(SELECT array_agg(r.name) FROM inner_rule r WHERE matches(c.profile_id, CASE r.name WHEN 'of both' THEN '(count(purchase, 30d) >= 1 | last(view) < 20d) & !(a | city:x & !b)' ELSE r.rule END::criteria, '2026-03-20')) AS segments,
	(SELECT jsonb_object_agg(t.name, t.value) FROM (
		SELECT DISTINCT ON (v.name) v.name, v.value FROM said v JOIN profile l USING (profile_id)
		WHERE l.canonical_id = c.profile_id ORDER BY v.name, v.at DESC, v.value DESC) t) AS traits
FROM profile c WHERE c.canonical_id = c.profile_id AND NOT c.suppressed;
CREATE TEMP TABLE ev AS
SELECT row_number() OVER () AS rn, l.canonical_id AS id, e.at, n.event COLLATE "C" AS event, n.label COLLATE "C" AS label, n.value, n.properties
FROM event e
	CROSS JOIN LATERAL (SELECT DISTINCT u.leaf FROM unnest(e.profile_id || e.participants) u(leaf)) x
	JOIN profile l ON l.profile_id = x.leaf
	CROSS JOIN LATERAL (
		SELECT CASE e.event WHEN 'Order Completed' THEN 'purchase' WHEN 'Visit' THEN 'view' ELSE e.event END AS event,
			CASE e.event WHEN 'Visit' THEN e.properties ->> 'page' ELSE e.properties ->> 'sku' END AS label,
			(CASE e.event WHEN 'Visit' THEN e.properties ->> 'seconds' ELSE e.properties ->> 'revenue' END)::float8 AS value, e.properties
		UNION ALL
		SELECT 'item', i ->> 'sku', (i ->> 'price')::float8 * coalesce((i ->> 'quantity')::float8, 1), i
		FROM jsonb_array_elements(e.properties -> 'products') i WHERE e.event = 'Order Completed') n;
CREATE INDEX ON ev (id);
ANALYZE ev;
SELECT (SELECT count(*) FROM event_tail) > 0 AS tails, (SELECT count(*) FROM timeline_part) > 0 AS parts, (SELECT count(*) FROM ev WHERE event = 'item') > 20 AS items,
	(SELECT count(*) FROM ev JOIN person USING (id) WHERE kind = 'store') > 50 AS participants, (SELECT count(*) FROM profile_merge WHERE undone_at IS NULL) > 4 AS merges, (SELECT count(*) FROM profile_merge WHERE undone_at IS NOT NULL) AS undone, (SELECT count(*) FROM trait_slice) > 10 AS slices;

-- ---- rules with their meaning: {rule, SQL condition about person p at NOW}

CREATE TEMP TABLE rule AS
SELECT x.n, x.kind, x.at, x.r[1] AS rule, x.r[2] AS sql
FROM (SELECT n, pg_temp.pick(n, 'who', 'person', 'person', 'person', 'store') AS kind, pg_temp.rule(3, n * 1000) AS r,
		'2025-12-30'::timestamptz + pg_temp.r(n, 'asked', 110 * 8) * interval '3 hours' AS at
	  FROM generate_series(1, :rules) n) x;
-- among many, every construct is there
SELECT DISTINCT construct AS missing
FROM unnest('{count,sum,avg,min,max,days,labels,first,last,due,first_label,last_label,top_label,seq,any}'::text[]) word,
	LATERAL (SELECT '\m' || word || '\(' AS construct UNION ALL SELECT x FROM unnest(ARRAY['\[\$\]', '\[@', '\{', '\d[dh]\.\.', '-\d\d\.\.', ', \d(w|mo|y)', 'segment:', 'past:', '🎉', '->\(', '!\(', '\min \(', 'between', '\*']) x) c
WHERE :rules >= 1000 AND NOT EXISTS (SELECT FROM rule r WHERE r.rule ~ construct);

-- ---- all three ways
CREATE FUNCTION pg_temp.plain(kind text, condition text, at timestamptz) RETURNS bitmap LANGUAGE plpgsql STABLE AS $$
DECLARE
	result bitmap;
BEGIN
	EXECUTE format('SELECT rb_build_agg(p.id) FROM person p WHERE p.kind = %L AND p.first_at <= %L AND (%s)', kind, at,
				   replace(condition, 'NOW', quote_literal(at) || '::timestamptz')) INTO result;
	RETURN coalesce(result, '{}');
END
$$;
CREATE TEMP TABLE answer AS
SELECT n, kind, at, rule, rule::criteria AS parsed, pg_temp.plain(kind, sql, at) AS expected, audience(rule::criteria, at, kind) AS members
FROM rule;
SELECT n, kind, at, rule, rb_andnot(members, expected) AS too_many, rb_andnot(expected, members) AS missing FROM answer WHERE members <> expected ORDER BY n LIMIT 5;
SELECT a.n, a.kind, a.at, a.rule, p.profile_id, a.members @> p.profile_id AS in_set FROM answer a JOIN profile p USING (kind)
WHERE (a.members @> p.profile_id) <> matches(p.profile_id, a.parsed, a.at) ORDER BY a.n LIMIT 5;
-- … and neither is everybody or nobody too often
SELECT count(*) FILTER (WHERE rb_is_empty(members)) < count(*) * 0.6 AS not_empty,
	count(*) FILTER (WHERE members = _universe(kind, at)) < count(*) * 0.4 AS not_all
FROM answer WHERE kind = 'person';

-- ---- some profiles, more closely
CREATE TEMP TABLE asked AS
SELECT a.n, a.parsed, a.at, p.profile_id, a.members @> p.profile_id AS holds, _criteria_due(p.profile_id, a.parsed, a.at) AS due
FROM answer a JOIN profile p ON p.kind = a.kind AND p.canonical_id = p.profile_id AND pg_temp.r(a.n * 100 + p.profile_id, 'asked', 12) = 0
WHERE NOT p.suppressed;
SELECT count(*) FILTER (WHERE due > at) > 50 AS due_later, count(*) FILTER (WHERE due <= at) AS due_before, count(*) FILTER (WHERE due IS NULL) > 50 AS never FROM asked;
-- nothing changes before its time
SELECT n, parsed, at, profile_id, due, later FROM asked CROSS JOIN LATERAL (VALUES
	(coalesce(due, '2028-01-01') - interval '1 us'),
	(at + (coalesce(due, '2028-01-01') - at) * 0.37),
	(CASE WHEN due IS NULL OR due > at + interval '1 day' THEN at + interval '1 day' - interval '1 us' ELSE at END)) l(later)
WHERE later > at AND matches(profile_id, parsed, later) <> holds ORDER BY n LIMIT 5;
-- the explanation says the same, and its terms add up
SELECT a.n, a.parsed, a.at, a.profile_id, a.holds FROM asked a CROSS JOIN LATERAL explain_match(a.profile_id, a.parsed, a.at) e
WHERE e.depth = 0 AND (e.holds <> a.holds OR e.term <> a.parsed::text) ORDER BY a.n LIMIT 5;
-- labels: what any() binds is what makes it hold
SELECT a.n, a.parsed, a.at, a.profile_id, m.labels FROM asked a CROSS JOIN LATERAL (SELECT matching_labels(a.profile_id, a.parsed, a.at) AS labels) m
WHERE NOT a.holds AND m.labels <> '{}' ORDER BY a.n LIMIT 5;
CREATE TEMP TABLE labelled AS
SELECT n, pg_temp.rule(1, n * 7000 + 3, 'b.label') AS r, pg_temp.pick(n, 'event', 'view', 'purchase', '*') AS event, '2026-03-20'::timestamptz AS at
FROM generate_series(1, greatest(:rules / 10, 1)) n;
SELECT l.n, l.r[1] AS rule, p.profile_id, m.labels, w.labels AS wanted
FROM labelled l, profile p
	CROSS JOIN LATERAL (SELECT matching_labels(p.profile_id, format('any(%s: %s)', l.event, l.r[1])::criteria, l.at) AS labels) m
	CROSS JOIN LATERAL (SELECT coalesce(array_agg(x ORDER BY x COLLATE "C"), '{}') AS labels
						FROM unnest(matching_labels(p.profile_id, l.r[1]::criteria, l.at)) x
						WHERE _criteria_has_free_label(l.r[1]::criteria) AND (l.event = '*' OR EXISTS (
							SELECT FROM ev e WHERE e.id = p.profile_id AND e.event = l.event AND e.label = x AND e.at <= l.at))) w
WHERE p.kind = 'person' AND p.profile_id % 5 = 0 AND _criteria_has_free_label(l.r[1]::criteria) AND m.labels <> w.labels ORDER BY 1 LIMIT 5;

-- ---- folding changes no answer
SELECT done > 0 AS done FROM _fold_tags(now(), 100000);
SELECT done > 0 AS done FROM _fold_timelines('2027-01-01', 100000);
SELECT n, kind, at, rule FROM answer WHERE audience(parsed, at, kind) <> members ORDER BY n LIMIT 5;
