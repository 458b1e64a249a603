-- matches() in queries, and what explains an audience: audience_explain,
-- explain_match, matching_labels, _criteria_due.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never

INSERT INTO profile (profile_id, kind, canonical_id, first_at) SELECT g, CASE WHEN g > 9900 THEN 'store' ELSE 'person' END, g, '2026-01-01' FROM generate_series(1, 10000) g;
SELECT _tag_changes(E'\x01kind:person', rb_fill('{}', 1, 9901), NULL, '2026-01-01', 'first'), _tag_changes(E'\x01kind:store', rb_fill('{}', 9901, 10001), NULL, '2026-01-01', 'first');
SELECT tag(rb_build(array_agg(g)), 'half') FROM generate_series(1, 10000, 2) g;
SELECT tag(rb_build(array_agg(g)), 'rare') FROM generate_series(1, 10000, 200) g;
INSERT INTO timeline_part (profile_id, part, timeline)
SELECT g, 0, timeline_agg(at, event, label, NULL) FROM generate_series(1, 10000, 5) g, (VALUES ('2026-02-01'::timestamptz, 'view', 's1'), ('2026-02-03', 'view', 's2'), ('2026-02-03', 'cart', 's2')) e(at, event, label) GROUP BY g;
INSERT INTO trait_value (name, profile_id, value, number, at) SELECT 'age', g, to_jsonb(g % 80), g % 80, '2026-01-01' FROM generate_series(1, 10000) g;
CREATE TEMP TABLE customer (id bigint PRIMARY KEY, name text, other bigint);
INSERT INTO customer SELECT g, 'c' || g, g / 2 FROM generate_series(1, 10000) g;
CREATE INDEX ON customer (other, id);
ANALYZE profile, customer, timeline_part;

-- ---- a small audience goes through the index of the column, once
EXPLAIN (COSTS OFF) SELECT * FROM customer c WHERE matches(c.id, 'rare', '2026-03-01');
EXPLAIN (COSTS OFF) SELECT * FROM customer c WHERE matches(c.id, 'rare & count(view, 30d) >= 1 & age > 3');
EXPLAIN (COSTS OFF) SELECT * FROM customer c WHERE matches(c.other, 'rare', '2026-03-01');
EXPLAIN (COSTS OFF) SELECT c.name, p.kind FROM customer c JOIN profile p ON p.profile_id = c.id WHERE matches(p.profile_id, 'rare & half', '2026-03-01');
-- … a big one does not, and neither does what changes from row to row or is not the column itself
EXPLAIN (COSTS OFF) SELECT * FROM customer c WHERE matches(c.id, 'half', '2026-03-01');
EXPLAIN (COSTS OFF) SELECT * FROM customer c WHERE matches(c.id, c.name, '2026-03-01');
EXPLAIN (COSTS OFF) SELECT * FROM customer c WHERE matches(c.id + 1, 'rare', '2026-03-01');
EXPLAIN (COSTS OFF) SELECT * FROM customer c WHERE NOT matches(c.id, 'rare', '2026-03-01');
-- a rule that is known when the query runs
PREPARE by_rule(criteria, timestamptz) AS SELECT count(*), min(id), max(id) FROM customer c WHERE matches(c.id, $1, $2);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE by_rule('rare', '2026-03-01');
EXECUTE by_rule('rare', '2026-03-01');
EXECUTE by_rule('half', '2026-03-01');
EXECUTE by_rule('none', '2026-03-01');
EXECUTE by_rule(NULL, '2026-03-01');
EXECUTE by_rule('rare', '2025-03-01');
EXECUTE by_rule('count(view[$]) > 1', '2026-03-01');
RESET plan_cache_mode;
-- the estimate is good for a join
CREATE FUNCTION pg_temp.rows_of(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	EXECUTE 'EXPLAIN ' || query INTO line;
	RETURN substring(line FROM 'rows=(\d+)');
END
$$;
SELECT rule, pg_temp.rows_of(format('SELECT * FROM customer c WHERE matches(c.id, %L, %L)', rule, '2026-03-01')) AS estimated, (SELECT count(*) FROM customer c WHERE matches(c.id, rule::criteria, '2026-03-01')) AS found
FROM unnest('{half,rare,half & rare,half | rare,!half,all,none,nobody}'::text[]) rule;

-- policies of the user's table: as a policy by index; beside one the rows that it lets through are looked up in the set
CREATE ROLE regress_shop; SELECT grant_role('regress_shop', 'analyst'); GRANT SELECT ON customer TO regress_shop;
ALTER TABLE customer ENABLE ROW LEVEL SECURITY; CREATE POLICY rare ON customer USING (matches(id, 'rare', '2026-03-01'));
SET ROLE regress_shop;
EXPLAIN (COSTS OFF) SELECT * FROM customer;
SELECT count(*), min(id), max(id) FROM customer;
RESET ROLE; ALTER POLICY rare ON customer USING (id > 5000); SET ROLE regress_shop;
EXPLAIN (COSTS OFF) SELECT * FROM customer c WHERE matches(c.id, 'rare', '2026-03-01');
SELECT count(*), min(id), max(id) FROM customer c WHERE matches(c.id, 'rare', '2026-03-01');
RESET ROLE; DROP POLICY rare ON customer; ALTER TABLE customer DISABLE ROW LEVEL SECURITY; REVOKE ALL ON customer FROM regress_shop; SELECT revoke_role('regress_shop'); DROP ROLE regress_shop;

-- ---- the same answers, with an index, without, and one by one; people, stores, merged and suppressed ones
SELECT merge(1, 401) > 0, merge(9901, 9903) > 0;
UPDATE profile SET suppressed = true WHERE profile_id IN (201, 601);
CREATE FUNCTION pg_temp.one_by_one(rule criteria, at timestamptz) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
	result bigint[] := '{}';
BEGIN
	FOR id IN 1 .. 1001 BY 200 LOOP
		-- a call site of its own each time
		EXECUTE format('SELECT %L::bigint[] || CASE WHEN matches(%s, %L, %L) THEN ARRAY[%s::bigint] ELSE ''{}'' END', result, id, rule, at, id) INTO result;
	END LOOP;
	RETURN result;
END
$$;
CREATE FUNCTION pg_temp.both_ways(rule criteria, at timestamptz, OUT n bigint, OUT same boolean, OUT one_by_one boolean) LANGUAGE plpgsql AS $$
DECLARE
	by_index bigint[];
	by_rows bigint[];
BEGIN
	EXECUTE format('SELECT array_agg(id ORDER BY id) FROM customer WHERE matches(id, %L, %L)', rule, at) INTO by_index;
	EXECUTE format('SELECT array_agg(id ORDER BY id) FROM customer WHERE matches(id + 0, %L, %L)', rule, at) INTO by_rows;
	n := cardinality(by_index);
	same := by_index IS NOT DISTINCT FROM by_rows AND coalesce(rb_build(by_index), '{}') = audience(rule, at) | audience(rule, at, 'store');
	one_by_one := ARRAY(SELECT i FROM unnest(by_index) i WHERE i <= 1001 AND i % 200 = 1 ORDER BY i) = pg_temp.one_by_one(rule, at);
END
$$;
SELECT rule, b.* FROM unnest('{rare,half,!half,rare & age < 40,count(view) = 2,rare & count(view) = 2,count(view) = 4,rare | count(view) = 4,seq(view -> cart),all,none}'::text[]) rule, pg_temp.both_ways(rule::criteria, '2026-03-01') b;

-- ---- many rows: an answer does not outlive what the statement sees
DO $$
DECLARE
	before int;
	after int;
BEGIN
	FOR i IN 1 .. 3 LOOP
		SELECT count(*) INTO before FROM customer WHERE matches(id + 0, 'rare', '2026-03-01');
		PERFORM tag(2 * i, 'rare');
		SELECT count(*) INTO after FROM customer WHERE matches(id + 0, 'rare', '2026-03-01');
		RAISE NOTICE '% %', before, after;
	END LOOP;
END
$$;
-- one call site, which sees the table change between calls, in a subtransaction that is rolled back
CREATE FUNCTION pg_temp.count_matches() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	n int := 0;
BEGIN
	FOR id IN 1 .. 2000 LOOP
		IF matches(id, 'rare', '2026-03-01') THEN n := n + 1; END IF;
		IF id = 1000 THEN PERFORM tag(1002, 'rare'); END IF;
		IF id = 1003 THEN
			BEGIN
				PERFORM untag(1601, 'rare');
				RAISE EXCEPTION 'no';
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		END IF;
	END LOOP;
	RETURN n;
END
$$;
SELECT pg_temp.count_matches(), (SELECT count(*) FROM generate_series(1, 2000) g WHERE matches(g, 'rare', '2026-03-01'));

-- ---- audience_explain
SELECT audience_explain('half & !rare & age > 40 & (count(view, 30d) >= 1 | rare) & count(view{price > 3}) = 0', '2026-03-01');
SELECT audience_explain('rare & seq(view -> cart)', '2026-03-01');
SELECT audience_explain('half', '2026-03-01', 'store');
SELECT audience_explain('none | !(count(cart) = 0)', '2026-03-01', 'planet');
SELECT audience_explain(NULL), audience_explain('half', NULL);
SELECT audience_explain('count(view[$]) > 1');

-- ---- explain_match
SELECT set_trait(1, 'born', '"2026-01-11"', '2026-01-01'), set_trait(1, 'odd', '[1]', '2026-01-01');
SELECT * FROM explain_match(1, 'rare & (count(view, 20d) >= 2 | last(cart) < 30d) & !(born > 40d) & any(view: count(cart[$]) = 1) & seq(view -> cart ->(1d) !purchase) & top_label(view) = "s1" & odd != 3 & gone & due(view) < 0d', '2026-03-01');
SELECT * FROM explain_match(1, 'count(view) = 4', '2026-03-01');
SELECT * FROM explain_match(2, 'any(view: all) | nothing = 1', '2026-03-01');
SELECT p, e.* FROM unnest('{401,201,77777,3,9901}'::bigint[]) p, explain_match(p, 'half', CASE p WHEN 3 THEN '2025-01-01' ELSE '2026-03-01' END::timestamptz) e;
SELECT * FROM explain_match(NULL, 'half', '2026-03-01');
SELECT * FROM explain_match(1, 'count(view[$]) > 1', '2026-03-01');

-- ---- matching_labels
SELECT rule, matching_labels(1, rule::criteria, '2026-03-01'), matching_labels(1, rule::criteria, '2026-02-02'), matching_labels(2, rule::criteria, '2026-03-01'), matching_labels(401, rule::criteria, '2026-03-01')
FROM unnest('{any(view: all),"any(view: count(cart[$]) = 2)","count(cart[$]) = 2","count(cart[$]) = 0",half,"half & any(cart: all)","gone & any(cart: all)","!any(cart: all)","any(view: !any(cart[$]: all)) | any(cart: all)"}'::text[]) rule;
SELECT matching_labels(NULL, 'half'), matching_labels(1, NULL), matching_labels(1, 'half', NULL);

-- ---- what a rule names, and when time changes it
SELECT _criteria_tags('b:c & a | any(view: segment:x) | a & !b:c | "say ""hi"""'), _criteria_events('count(view) > 1 & seq(a -> !b) | any(* : x) | last(view[@s]) < 3d'), _criteria_traits('age > 3 & b | any(v: age < 9 | "家" = 1)'), _criteria_label_sets('last(view[@s]) < 3d | seq(a[@"t u"] -> !b[@s])'),
	_criteria_tags('all'), _criteria_events('x'), _criteria_has_free_label('count(view[$]) > 1'), _criteria_has_free_label('any(view: seq(a -> b[$]))'), _criteria_tags(NULL);
SELECT rule, _criteria_due(1, rule::criteria, '2026-02-10'), _criteria_due(1, rule::criteria, '2026-02-01'), _criteria_due(1, rule::criteria, '2025-02-10'), _criteria_due(2, rule::criteria, '2026-02-10')
FROM unnest('{half,age > 3,born > 30d,born < 2026-03-01,count(view) > 1,"count(view, 7d) > 1","count(view, 9d..8d) = 1","count(view, 2026-01-01..2026-03-01) = 0",last(view) > 10d,first(view) >= 10d,due(view) < 1d,"any(view: last(view[$]) > 10d)",seq(cart ->(9d) !purchase),"seq(view -> cart, 1d)",count(never) = 0,"count(view{day < 3d}) = 1"}'::text[]) rule;
SELECT _criteria_due(1, 'last(view[$]) > 10d', '2026-02-10', 's1'), _criteria_due(1, 'last(view[$]) > 10d', '2026-02-10', 's2'), _criteria_due(1, NULL, '2026-02-10'), _criteria_due(77777, 'last(view) > 10d', '2026-02-10');

-- ---- large rules
SELECT audience_count(string_agg('t' || g, ' | ')::criteria, '2026-03-01') FROM generate_series(1, 10000) g;
SELECT rb_cardinality(audience((repeat('!(half & (rare | ', 1000) || 'age > 10' || repeat('))', 1000))::criteria, '2026-03-01')) > 0 AS nested;
SELECT matches(1, (repeat('!(half & (rare | ', 1000) || 'count(view) > 10' || repeat('))', 1000))::criteria, '2026-03-01'), rb_cardinality(audience((repeat('!(half & (rare | ', 1000) || 'count(view) > 10' || repeat('))', 1000))::criteria, '2026-03-01')) > 0 AS nested;
SELECT matches(1, string_agg('count(view) > ' || g, ' & ')::criteria, '2026-03-01'), audience_count(string_agg('count(view) != ' || g + 10, ' & ')::criteria, '2026-03-01') FROM generate_series(1, 2000) g;
SELECT audience('会员 & 城市 上海');
