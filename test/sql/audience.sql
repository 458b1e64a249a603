-- audience, audience_count, matches.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

SELECT array_agg(identify(ARRAY['user_id:u' || g]::identifier[], jsonb_build_object('age', 20 + 5 * g, 'plan', CASE WHEN g % 2 = 0 THEN 'pro' ELSE 'free' END), '2026-01-01'))
FROM generate_series(1, 8) g;
SELECT identify(ARRAY['store:sh-001']::identifier[], at => '2026-01-01', kind => 'store') AS store,
	identify(ARRAY['user_id:late']::identifier[], at => '2026-03-01') AS late;
SELECT tag(1, 'vip'), tag(2, 'vip'), tag(3, 'vip'), tag(3, 'city:shanghai'), tag(4, 'city:shanghai'), tag(5, 'gone'), tag(2, 'gone'), tag(9, 'vip');
SELECT track(ARRAY['user_id:u' || g]::identifier[], 'view', jsonb_build_object('sku', 's' || i % 2), '2026-02-01'::timestamptz + i * interval '1 day',
			 participants => ARRAY['store:sh-001']::identifier[]) > 0 AS tracked
FROM generate_series(1, 4) g, generate_series(1, g) i \g /dev/null

-- constructs
SELECT rule, audience(rule::criteria, '2026-02-10') FROM unnest(ARRAY[
	'all', 'none', 'vip', '!vip', 'vip & !gone', 'vip & city:shanghai', 'vip | city:shanghai', '!(vip | gone) & age > 40', 'unheard_of', '!unheard_of',
	'age >= 45', 'age between 30 and 40', 'plan = "pro"', 'plan != "pro"', '!plan = "pro"', 'height > 1', '!height > 1',
	'count(view) >= 2', 'count(view) = 0', 'count(*) > 0 & !vip', 'count(view, 7d) = 2', 'last(view) <= 7d', 'vip & count(view) = 3', 'vip | count(view) = 4',
	'vip & (count(view) = 3 | age = 25)', '!(vip & (count(view) = 3 | age = 25))', 'any(view: count(view[$]) >= 2)', 'any(view: count(view[$]) >= 2 & vip)',
	'any(view: count(view[$]) >= 2 & age <= 35)', 'any(view: count(view[$]) >= 2) & gone', 'none | all', 'all & none']) WITH ORDINALITY r(rule, n) ORDER BY n;

-- at: behaviour and the universe of that time, tags and traits of now
SELECT at, audience('all', at), audience('count(view) >= 2', at), audience('vip', at)
FROM unnest('{2025-12-31 23:59:59.999999,2026-01-01,2026-02-02,2026-02-03 00:00:00,2026-03-01}'::timestamptz[]) at;
SELECT audience_count('vip', '2026-02-10'), audience_count('all', '2026-02-10', 'store');

-- kinds
SELECT audience('all', '2026-02-10', 'store'), audience('vip', '2026-02-10', 'store'), audience('count(view) = 10', '2026-02-10', 'store'), audience('all', '2026-02-10', 'planet');
SELECT matches(9, 'vip', '2026-02-10'), matches(9, 'count(view) = 10', '2026-02-10'), matches(9, 'count(view) = 9', '2026-02-10');

-- one profile
SELECT p, matches(p, 'vip & count(view) >= 2', '2026-02-10'), matches(p, 'all', '2026-02-10'), matches(p, '!vip', '2026-02-10')
FROM unnest('{1,2,3,4,10,11,0,-1}'::bigint[]) p;
SELECT matches(10, 'all', '2026-03-01'), matches(1, 'all', '2025-01-01');
SELECT matches(NULL, 'vip'), matches(1, NULL), matches(1, 'vip', NULL), audience(NULL), audience('all', NULL), audience('all', now(), NULL), audience_count(NULL);
SELECT _matches(4, 'count(view[$]) = 2', '2026-02-10', 's1'), _matches(4, 'count(view[$]) = 2', '2026-02-10', 's9'), _matches(4, 'count(view[$]) = 0', '2026-02-10', NULL),
	_matches(4, 'count(view[$]) > 0', '2026-02-10', NULL), _matches(4, NULL, '2026-02-10', 's1');

-- in a query over many profiles, with a rule per row
SELECT p.profile_id, r.rule FROM profile p, unnest('{vip,gone,"count(view) = 4"}'::criteria[]) r(rule)
WHERE p.kind = 'person' AND matches(p.profile_id, r.rule, '2026-02-10') ORDER BY 1, 2::text COLLATE "C";

-- what cannot be evaluated
\set SHOW_CONTEXT never
SELECT audience('count(view[$]) > 1');
SELECT matches(1, 'count(view[$]) > 1');
SELECT audience('vip &');

-- suppressed, erased, merged
SELECT merge(2, 4) > 0 AS merged;
SELECT audience('vip', '2026-02-10'), audience('count(view) = 6', '2026-02-10'), audience('city:shanghai', '2026-02-10'), audience('age = 40', '2026-02-10'), audience('age = 30', '2026-02-10');
SELECT matches(4, 'all', '2026-02-10'), matches(2, 'count(view) = 6', '2026-02-10'), matches(2, 'city:shanghai', '2026-02-10'), matches(2, 'age = 40', '2026-02-10');
SELECT set_trait(2, 'age', '99', '2026-02-01'), set_trait(4, 'age', 'null', '2026-03-01'), set_trait(1, 'age', '[1]', '2026-03-01'), set_trait(1, 'plan', '1e400', '2026-03-01');
SELECT audience('age > 0', '2026-02-10'), audience('plan > 1000', '2026-02-10'), matches(2, 'age > 0', '2026-02-10'), matches(1, 'plan > 1000', '2026-02-10');
UPDATE profile SET suppressed = true WHERE profile_id = 1;
UPDATE profile SET erased_at = '2026-02-01' WHERE profile_id = 3;
SELECT audience('vip', '2026-02-10'), matches(1, 'vip', '2026-02-10'), matches(3, 'vip', '2026-02-10'), audience('all', '2026-02-10');

-- one statement, one state: what this statement itself changes is not seen
SELECT rb_cardinality(audience('fresh', '2026-06-01')) FROM (SELECT tag(5, 'fresh')) x(t);
SELECT audience('fresh', '2026-06-01');
WITH t AS (SELECT tag(6, 'fresh')) SELECT audience('fresh', '2026-06-01'), matches(6, 'fresh', '2026-06-01') FROM t;

-- many candidates: a trait is scanned as a whole
INSERT INTO profile (profile_id, kind, canonical_id, first_at) SELECT g, 'person', g, '2026-01-01' FROM generate_series(1001, 31000) g;
SELECT _tag_changes(E'\x01kind:person', rb_fill('{}', 1001, 31001), NULL, '2026-01-01', 'first');
INSERT INTO trait_value (name, profile_id, value, number, at)
SELECT 'score', g, to_jsonb(g % 100), g % 100, '2026-01-01' FROM generate_series(1001, 30000) g;
SELECT merge(1001, 1099) > 0, merge(1002, 1003) > 0, merge(30999, 1005) > 0;
SELECT set_trait(1099, 'score', '50', '2026-01-02'), set_trait(1004, 'score', 'null', '2026-01-02');
SELECT rb_cardinality(audience('score < 50', '2026-06-01')), rb_cardinality(audience('!score < 50', '2026-06-01')), rb_range(audience('score in (2, 3, 4, 5)', '2026-06-01'), 1000, 1010), rb_max(audience('score = 5', '2026-06-01')),
	rb_cardinality(audience('score < 50 & count(view) = 0', '2026-06-01')), rb_cardinality(audience('any(view: score < 50)', '2026-06-01'));
WITH x AS (SELECT l.canonical_id, (array_agg(v.number ORDER BY v.at DESC, v.value DESC))[1] AS n
		   FROM trait_value v JOIN profile l USING (profile_id) WHERE v.name = 'score' GROUP BY 1)
SELECT (SELECT rb_build_agg(canonical_id) FROM x WHERE n < 50) = audience('score < 50', '2026-06-01') AS same;

-- plans of the session outlive the extension
SET client_min_messages = warning;
DROP EXTENSION marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SELECT identify(ARRAY['user_id:again']::identifier[], '{"age": 3}', '2026-01-01');
SELECT tag(1, 'vip');
SELECT audience('vip & age = 3 & count(x) = 0', '2026-02-01'), matches(1, 'vip & age = 3 & count(x) = 0', '2026-02-01'), tagged('vip');
