-- Random rules over random histories: the set is exactly who matches, and for
-- some rules exactly whom plain SQL over the tables finds.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- A number 0 … n-1 that depends on the step and on what it is for.
CREATE FUNCTION pg_temp.r(step bigint, what text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT mod(abs(hashtextextended(what || step, 7)), n)::int $$;

CREATE TEMP TABLE world AS SELECT '2026-01-01'::timestamptz AS since, '2026-05-01'::timestamptz AS until;

-- Sixty people and ten stores, some never seen doing anything, some merged,
-- some suppressed; about half of everything folded.
DO $$
DECLARE
	step int;
	at timestamptz;
	who identifier[];
	p bigint;
BEGIN
	FOR step IN 1 .. 60 LOOP
		PERFORM identify(ARRAY['user_id:u' || step]::identifier[], at => '2026-01-01'::timestamptz + step * interval '1 day');
	END LOOP;
	FOR step IN 1 .. 10 LOOP
		PERFORM identify(ARRAY['store:s' || step]::identifier[], at => '2026-01-10', kind => 'store');
	END LOOP;
	FOR step IN 1 .. 900 LOOP
		at := '2026-01-01'::timestamptz + pg_temp.r(step, 'at', 120 * 24) * interval '1 hour';
		p := resolve(('user_id:u' || 1 + pg_temp.r(step, 'who', 45))::identifier);
		who := ARRAY['user_id:u' || 1 + pg_temp.r(step, 'who', 45)]::identifier[];
		CASE pg_temp.r(step, 'op', 10)
			WHEN 0 THEN PERFORM tag(p, ('{a,b,c,city:x,city:y}'::text[])[1 + pg_temp.r(step, 'tag', 5)]);
			WHEN 1 THEN PERFORM untag(p, ('{a,b,c,city:x,city:y}'::text[])[1 + pg_temp.r(step, 'tag', 5)]);
			WHEN 2 THEN PERFORM set_trait(p, 'age', to_jsonb(20 + pg_temp.r(step, 'age', 40)), at);
			WHEN 3 THEN PERFORM set_trait(p, 'plan', ('{"\"free\"","\"pro\"","true","null","7"}'::jsonb[])[1 + pg_temp.r(step, 'plan', 5)], at);
			ELSE
				PERFORM track(who, ('{view,view,cart,buy,return}'::text[])[1 + pg_temp.r(step, 'event', 5)],
					jsonb_strip_nulls(jsonb_build_object('sku', ('{s1,s2,s3,NULL}'::text[])[1 + pg_temp.r(step, 'sku', 4)],
														 'revenue', nullif(pg_temp.r(step, 'value', 50), 0))), at,
					participants => CASE pg_temp.r(step, 'store', 3) WHEN 0 THEN ARRAY['store:s' || 1 + pg_temp.r(step, 's', 8)] ELSE '{}' END::identifier[]);
		END CASE;
		IF step % 200 = 0 THEN
			PERFORM _fold_timelines('2027-01-01', 60);
			PERFORM _fold_tags(now(), 40);
		END IF;
		IF step % 60 = 0 AND canonical_id(step / 60) <> canonical_id(20 + step / 60) THEN
			PERFORM merge(canonical_id(step / 60), canonical_id(20 + step / 60));
		END IF;
	END LOOP;
	PERFORM tag(s, 'a') FROM unnest('{61,63,65}'::bigint[]) s;
	UPDATE profile SET suppressed = true WHERE profile_id IN (7, 59);
END
$$;
SELECT (SELECT count(*) FROM event_tail) > 0 AS tails, (SELECT count(*) FROM timeline_part) > 0 AS parts,
	(SELECT count(*) FROM tag_pending) > 0 AS pending, (SELECT count(*) FROM tag_chunk) > 0 AS chunks,
	(SELECT count(*) FROM profile_merge) AS merges, (SELECT count(DISTINCT kind) FROM profile) AS kinds;

-- rules

CREATE FUNCTION pg_temp.event(seed bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT ('{view,cart,buy,return,never,*}'::text[])[1 + pg_temp.r(seed, 'ev', 6)] || ('{"","","","[s1]","[s2]"}'::text[])[1 + CASE WHEN pg_temp.r(seed, 'ev', 6) = 5 THEN 0 ELSE pg_temp.r(seed, 'lab', 5) END]
$$;
CREATE FUNCTION pg_temp.rule(depth int, seed bigint, bound boolean DEFAULT false) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	kind int := pg_temp.r(seed, 'kind', CASE WHEN depth = 0 THEN 10 ELSE 20 END);
	win text := ('{"",", 30d",", 7d",", 60d..30d",", 2026-02-01..2026-03-15"}'::text[])[1 + pg_temp.r(seed, 'win', 5)];
	op text := ('{=,!=,<,<=,>,>=}'::text[])[1 + pg_temp.r(seed, 'op', 6)];
BEGIN
	RETURN CASE
		WHEN kind <= 2 THEN ('{a,b,c,city:x,city:y,nobody}'::text[])[1 + pg_temp.r(seed, 'tag', 6)]
		WHEN kind = 3 THEN 'age ' || op || ' ' || 20 + pg_temp.r(seed, 'n', 40)
		WHEN kind = 4 THEN ('{"plan = \"pro\"","plan in (\"free\", \"pro\")","plan != 7","plan = true","age between 30 and 40","nothing != 1"}'::text[])[1 + pg_temp.r(seed, 'n', 6)]
		WHEN bound THEN 'count(' || ('{view,cart,buy}'::text[])[1 + pg_temp.r(seed, 'n', 3)] || '[$]' || win || ') ' || op || ' ' || pg_temp.r(seed, 'c', 4)
		WHEN kind = 5 THEN 'last(' || pg_temp.event(seed) || ') ' || CASE WHEN op IN ('=', '!=') THEN '>' ELSE op END || ' ' || pg_temp.r(seed, 'n', 60) || 'd'
		WHEN kind = 6 THEN 'sum(' || pg_temp.event(seed) || win || ') ' || op || ' ' || pg_temp.r(seed, 'n', 100)
		WHEN kind = 7 THEN ('{days,labels,max,avg}'::text[])[1 + pg_temp.r(seed, 'm', 4)] || '(' || pg_temp.event(seed) || win || ') ' || op || ' ' || pg_temp.r(seed, 'n', 5)
		WHEN kind <= 9 THEN 'count(' || pg_temp.event(seed) || win || ') ' || op || ' ' || pg_temp.r(seed, 'n', 5)
		WHEN kind <= 13 THEN '(' || pg_temp.rule(depth - 1, seed * 3 + 1, bound) || ' & ' || pg_temp.rule(depth - 1, seed * 3 + 2, bound) || ')'
		WHEN kind <= 17 THEN '(' || pg_temp.rule(depth - 1, seed * 3 + 1, bound) || ' | ' || pg_temp.rule(depth - 1, seed * 3 + 2, bound) || ')'
		WHEN kind = 18 OR bound THEN '!(' || pg_temp.rule(depth - 1, seed * 3 + 1, bound) || ')'
		ELSE 'any(view: ' || pg_temp.rule(depth - 1, seed * 3 + 1, true) || ')'
	END;
END
$$;
CREATE TEMP TABLE rule AS SELECT n, pg_temp.rule(3, n * 1000)::text AS text FROM generate_series(1, 150) n;
SELECT text FROM rule WHERE n <= 12 ORDER BY n;

-- Set = point, for every profile there is and some there are not.
CREATE TEMP TABLE answer AS
SELECT r.n, k.kind, a.at, audience(r.text::criteria, a.at, k.kind) AS members
FROM rule r, (VALUES ('person'), ('store')) k(kind),
	LATERAL (SELECT '2026-01-01'::timestamptz + pg_temp.r(r.n, 'asked', 150 * 24) * interval '1 hour') a(at);
SELECT r.text, x.kind, x.at, p.profile_id, x.members @> p.profile_id AS in_set
FROM answer x JOIN rule r USING (n), (SELECT profile_id, kind FROM profile UNION ALL SELECT 0, 'person' UNION ALL SELECT 1000, 'person') p
WHERE p.kind = x.kind AND (x.members @> p.profile_id) <> matches(p.profile_id, r.text::criteria, x.at);
-- … and neither is everybody or nobody too often
SELECT count(*) FILTER (WHERE rb_is_empty(members)) < count(*) * 0.6 AS not_empty,
	count(*) FILTER (WHERE members = _universe(kind, at)) < count(*) * 0.4 AS not_all
FROM answer WHERE kind = 'person';

-- Folding changes no answer.
SELECT done > 0 AS done FROM _fold_tags(now(), 100000);
SELECT done > 0 AS done FROM _fold_timelines('2027-01-01', 100000);
SELECT r.text, x.kind, x.at FROM answer x JOIN rule r USING (n) WHERE audience(r.text::criteria, x.at, x.kind) <> x.members;

-- Against plain SQL over the tables.
CREATE TEMP TABLE person AS
SELECT c.profile_id AS id, (SELECT min(l.first_at) FROM profile l WHERE l.canonical_id = c.profile_id) AS first_at,
	(SELECT v.value FROM trait_change v JOIN profile l USING (profile_id) WHERE l.canonical_id = c.profile_id AND v.name = 'age' ORDER BY v.at DESC, v.value DESC LIMIT 1) AS age,
	(SELECT v.value FROM trait_change v JOIN profile l USING (profile_id) WHERE l.canonical_id = c.profile_id AND v.name = 'plan' ORDER BY v.at DESC, v.value DESC LIMIT 1) AS plan,
	tags_of(c.profile_id) AS tags
FROM profile c WHERE c.canonical_id = c.profile_id AND c.kind = 'person' AND NOT c.suppressed;
CREATE TEMP TABLE ev AS
SELECT l.canonical_id AS id, e.at, e.event, e.properties ->> 'sku' AS label, (e.properties ->> 'revenue')::float8 AS value
FROM event e JOIN profile l USING (profile_id);

CREATE TEMP TABLE fixed (rule text, condition text);
INSERT INTO fixed VALUES
('all', 'true'),
('none', 'false'),
('a & b & !c', $$'a' = ANY (tags) AND 'b' = ANY (tags) AND 'c' <> ALL (tags)$$),
('a | city:x', $$'a' = ANY (tags) OR 'city:x' = ANY (tags)$$),
('age >= 40', $$(age #>> '{}')::float8 >= 40$$),
('age != 40', $$(age #>> '{}')::float8 <> 40$$),
('!age = 40', $$NOT coalesce((age #>> '{}')::float8 = 40, false)$$),
('plan = "pro"', $$plan = '"pro"'$$),
('plan = true | plan = 7', $$plan IN ('true', '7')$$),
('count(buy, 30d) >= 2', $$(SELECT count(*) FROM ev e WHERE e.id = p.id AND event = 'buy' AND e.at > now - interval '30 days' AND e.at <= now) >= 2$$),
('count(view) = 0', $$NOT EXISTS (SELECT FROM ev e WHERE e.id = p.id AND event = 'view' AND e.at <= now)$$),
('count(view[s1]) >= 2 & !plan = "pro"', $$(SELECT count(*) FROM ev e WHERE e.id = p.id AND event = 'view' AND label = 's1' AND e.at <= now) >= 2 AND plan IS DISTINCT FROM '"pro"'$$),
('sum(buy, 60d) > 60', $$(SELECT sum(value) FROM ev e WHERE e.id = p.id AND event = 'buy' AND e.at > now - interval '60 days' AND e.at <= now) > 60$$),
('last(view) < 7d', $$(SELECT max(e.at) FROM ev e WHERE e.id = p.id AND event = 'view' AND e.at <= now) > now - interval '7 days'$$),
('!last(view) < 7d', $$NOT EXISTS (SELECT FROM ev e WHERE e.id = p.id AND event = 'view' AND e.at <= now AND e.at > now - interval '7 days')$$),
('first(*) > 60d', $$(SELECT min(e.at) FROM ev e WHERE e.id = p.id AND e.at <= now) < now - interval '60 days'$$),
('days(view) >= 3', $$(SELECT count(DISTINCT e.at::date) FROM ev e WHERE e.id = p.id AND event = 'view' AND e.at <= now) >= 3$$),
('labels(view) >= 3', $$(SELECT count(DISTINCT label) FROM ev e WHERE e.id = p.id AND event = 'view' AND e.at <= now) >= 3$$),
('a | age < 30 & count(view, 30d) >= 1', $$'a' = ANY (tags) OR (age #>> '{}')::float8 < 30 AND EXISTS (SELECT FROM ev e WHERE e.id = p.id AND event = 'view' AND e.at > now - interval '30 days' AND e.at <= now)$$),
('any(view: count(view[$]) >= 2 & count(buy[$]) = 0)', $$EXISTS (SELECT label FROM ev e WHERE e.id = p.id AND event = 'view' AND label IS NOT NULL AND e.at <= now GROUP BY label HAVING count(*) >= 2
	AND NOT EXISTS (SELECT FROM ev b WHERE b.id = p.id AND b.event = 'buy' AND b.label = e.label AND b.at <= now))$$);

CREATE FUNCTION pg_temp.plain(condition text, now timestamptz) RETURNS bitmap LANGUAGE plpgsql AS $$
DECLARE
	result bitmap;
BEGIN
	EXECUTE replace('SELECT rb_build_agg(id) FROM person p WHERE first_at <= now AND (' || condition || ')', 'now', quote_literal(now) || '::timestamptz') INTO result;
	RETURN coalesce(result, '{}');
END
$$;
SELECT f.rule, a.at, audience(f.rule::criteria, a.at) - pg_temp.plain(f.condition, a.at) AS too_many, pg_temp.plain(f.condition, a.at) - audience(f.rule::criteria, a.at) AS missing
FROM fixed f, (SELECT '2026-01-05'::timestamptz + g * interval '11 days 5 hours' FROM generate_series(0, 11) g) a(at)
WHERE audience(f.rule::criteria, a.at) <> pg_temp.plain(f.condition, a.at);
SELECT f.rule, rb_cardinality(audience(f.rule::criteria, '2026-04-20')) AS members FROM fixed f;

-- Tags of the past: the set is who matches then, too, and nothing changes before its time.
INSERT INTO tag_key (key, keep_history) VALUES ('h', true);
DO $$
BEGIN
	FOR step IN 1001 .. 1160 LOOP
		IF pg_temp.r(step, 'h', 3) > 0 THEN
			PERFORM tag(canonical_id(1 + pg_temp.r(step, 'who', 45)), 'h:' || pg_temp.r(step, 'value', 2), at => '2026-01-01'::timestamptz + (step - 1000) * interval '20 hours');
		ELSE
			PERFORM untag(canonical_id(1 + pg_temp.r(step, 'who', 45)), 'h:' || pg_temp.r(step, 'value', 2), at => '2026-01-01'::timestamptz + (step - 1000) * interval '20 hours');
		END IF;
		IF step % 40 = 0 AND canonical_id(step / 40) <> canonical_id(step / 40 + 14) THEN
			PERFORM merge(canonical_id(step / 40), canonical_id(step / 40 + 14));
		END IF;
	END LOOP;
END
$$;
CREATE TEMP TABLE past AS
SELECT rule, at, audience(rule::criteria, at) AS members
FROM unnest('{h:0,!h:0,h:0 & h:1,h:0 & count(view) >= 2,h:1 | a,any(view: h:0 & count(view[$]) >= 2)}'::text[]) rule,
	(SELECT '2025-12-31'::timestamptz + g * interval '13 days 7 hours' FROM generate_series(0, 12) g) a(at);
SELECT count(DISTINCT members) > 40 AS many FROM past;
SELECT x.rule, x.at, p.profile_id FROM past x, profile p WHERE p.kind = 'person' AND (x.members @> p.profile_id) <> matches(p.profile_id, x.rule::criteria, x.at) ORDER BY 1, 2, 3 LIMIT 5;
SELECT x.rule, x.at, p.profile_id, due FROM past x, profile p CROSS JOIN LATERAL _criteria_due(p.profile_id, x.rule::criteria, x.at) due
WHERE p.kind = 'person' AND p.canonical_id = p.profile_id AND NOT p.suppressed AND p.profile_id % 3 = 0
	AND (x.members @> p.profile_id) <> matches(p.profile_id, x.rule::criteria, coalesce(due, '2028-01-01') - interval '1 us') ORDER BY 1, 2, 3 LIMIT 5;
