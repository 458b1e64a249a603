-- Rules that need more than tags, traits and timelines: properties of events,
-- label sets, priors; for owners and participants, through roles and merges.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

SELECT track(ARRAY['user_id:a']::identifier[], 'view', '{"sku": "s1", "color": "red", "price": 10}', '2026-01-01') AS a;
SELECT track(ARRAY['user_id:a']::identifier[], 'view', '{"sku": "s2", "color": "blue", "price": 20}', '2026-01-02') AS a;
SELECT track(ARRAY['user_id:a']::identifier[], 'cart', '{"sku": "s2", "price": 20}', '2026-01-03') AS a;
SELECT track(ARRAY['user_id:a']::identifier[], 'Order Completed', '{"total": 50, "coupon": "新年", "when": "2026-01-01", "products": [{"sku": "s2", "price": 20, "quantity": 2}, {"sku": "s1", "price": 10, "gift": true}]}',
			 '2026-01-04', participants => ARRAY['store:x']::identifier[]) AS a;
SELECT track(ARRAY['user_id:b']::identifier[], 'cart', '{"sku": "s1", "price": "20"}', '2026-01-03') AS b;
SELECT track(ARRAY['user_id:b']::identifier[], 'purchase', '{"sku": "s1", "price": null, "when": "soon"}', '2026-01-05') AS b;
SELECT track(ARRAY['user_id:b']::identifier[], 'purchase', '{"sku": "s1", "price": 25, "nested": {"price": 1}, "list": [1]}', '2026-01-15') AS b;
INSERT INTO label_set VALUES ('dear', 's2'), ('cheap', 's1'), ('cheap', 's9');

-- who: people, stores, and the same one by one
CREATE FUNCTION pg_temp.who(rule text, at timestamptz DEFAULT '2026-01-20') RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', audience(rule::criteria, at), audience(rule::criteria, at, 'store'),
		CASE WHEN (SELECT coalesce(rb_build_agg(profile_id), '{}') FROM profile WHERE matches(profile_id, rule::criteria, at)) <>
				  audience(rule::criteria, at) | audience(rule::criteria, at, 'store') THEN 'but one by one otherwise' END)
$$;
CREATE TEMP TABLE asked AS SELECT * FROM unnest(ARRAY[
	'count(view{color = "red"}) = 1', 'count(view{color = "red", price > 10}) = 0', 'count(view{price between 5 and 15}) = 1', 'count(view{price in (10, 20)}) = 2', 'count(view{color != "red"}) = 1',
	'count(view{size != 3}) = 0', 'count(cart{price = 20}) = 1', 'count(cart{price = "20"}) = 1', 'count(purchase{price > 0}) = 1', 'count(purchase{nested = 1}) = 0 & count(purchase{list = 1}) = 0',
	'count(purchase{coupon = "新年"}) = 1', 'count("Order Completed"{coupon = "新年"}) = 0', 'count(item{price = 20}) = 1', 'count(item[s1]{gift = true}) = 1', 'sum(item{quantity = 2}) = 40', 'count(item{coupon = "新年"}) = 0',
	'count(purchase{when < 2026-02-01}) = 1', 'count(purchase{when > 18d}) = 1', 'count(purchase{when >= 19d}) = 1', 'count(purchase{when > 19d}) = 0',
	'last(view{color = "red"}) = 19d', 'top_label(view{price > 10}) = "s2"', 'labels(view{price >= 10}) = 2', 'days(view{price >= 10}) = 2', 'count(view{price > 1}, 18d..1d) = 1',
	'seq(view{color = "red"} -> cart -> purchase, 2d)', 'seq(view{color = "red"} -> cart -> purchase, 3d)', 'seq(view{color = "red"} -> !view{color = "blue"} -> cart)', 'seq(view{color = "red"} -> !view{color = "green"} -> cart)',
	'seq(cart ->(2d) !purchase{price > 1})', 'any(view{color = "blue"}: count(cart[$]) = 1)', 'any(cart: count(item[$]{price = 20}) = 1)', 'any(cart: !(count(item[$]{price = 20}) = 1))',
	'count(view[@dear]) = 1', 'labels(*) = 2', 'seq(view[@cheap] -> view[@dear])', 'seq(view[@dear] -> view[@cheap])', 'count(view[@"no such"]) = 0', 'any(item[@cheap]: count(view[$]{color = "red"}) = 1)',
	'!(count(view{color = "red"}) = 1) & !(count(purchase{price > 0}) = 1)', 'count(view{color = "red"}) = 1 | count(purchase{price > 0}) = 1', 'vip & count(view{color = "red"}) = 1', 'due(purchase{price > 0}) > 0d'
	]) WITH ORDINALITY r(rule, n);
SELECT rule, pg_temp.who(rule) FROM asked ORDER BY n;
-- the same after folding, and when histories come in one scan
CREATE TEMP TABLE answered AS SELECT rule, pg_temp.who(rule) FROM asked;
SELECT done FROM _fold_timelines('2026-03-01', 1000);
SELECT rule FROM answered WHERE pg_temp.who(rule) <> who;
-- at another time
SELECT at, pg_temp.who('count(view{price >= 10}) = 1', at), pg_temp.who('count(purchase{when > 18d}) = 1', at)
FROM unnest('{2026-01-01 00:00,2026-01-01 23:59:59.999999,2026-01-02,2026-01-19,2026-01-19 00:00:00.000001}'::timestamptz[]) at;

-- a label set changes within a statement that does not see it
WITH changed AS (INSERT INTO label_set VALUES ('dear', 's1') RETURNING 1) SELECT audience('count(view[@dear]) = 2', '2026-01-20'), matches(1, 'count(view[@dear]) = 2', '2026-01-20') FROM changed;
SELECT pg_temp.who('count(view[@dear]) = 2');
SELECT _matches(1, 'count(view[@dear]) = 2 & count(view[$]{price = 20}) = 1', '2026-01-20', 's2'), _matches(1, 'count(view[$]{price = 20}) = 1', '2026-01-20', 's1');

-- merged: both leaves' events; an event of both stands there twice
SELECT track(ARRAY['user_id:b']::identifier[], 'meet', '{"n": 7}', '2026-01-16', participants => ARRAY['user_id:a']::identifier[]) AS b;
SELECT pg_temp.who('count(meet{n = 7}) = 1');
SELECT merge(1, 3) > 0 AS merged;
SELECT pg_temp.who('count(meet{n = 7}) = 2 & count(meet) = 2'), pg_temp.who('count(purchase{price > 0}) = 1'), pg_temp.who('count(cart{price = 20}) = 1 & count(cart{price = "20"}) = 1');
SELECT done FROM _fold_timelines('2026-03-01', 1000);
SELECT pg_temp.who('count(meet{n = 7}) = 2 & count(meet) = 2');

-- equal entries are told apart by their number only
SELECT track(ARRAY['user_id:c']::identifier[], 'scan', jsonb_build_object('sku', 'z', 'n', n), '2026-01-10') FROM generate_series(1, 5) n \g /dev/null
SELECT pg_temp.who('count(scan{n >= 4}) = 2 & count(scan{n < 4}) = 3 & count(scan[z]) = 5'), pg_temp.who('seq(scan{n = 5} -> scan{n = 1})'), pg_temp.who('seq(scan{n = 5} -> scan{n = 5})'), pg_temp.who('seq(scan{n >= 4} -> scan{n = 5} -> scan{n >= 4})');

-- a role that came later: the entry is found again when the timeline is made again
INSERT INTO event_role (event, as_event, label_key) VALUES ('scan', 'gauge', 'n');
SELECT pg_temp.who('count(scan{n >= 4}) = 2'), pg_temp.who('count(gauge{n >= 4}) = 2');
SELECT _rebuild_timelines() > 0 AS rebuilt;
SELECT pg_temp.who('count(scan) = 0 & count(gauge) = 5'), pg_temp.who('count(gauge{n >= 4}) = 2'), pg_temp.who('count(gauge[4]{n >= 4}) = 1');

-- a partition that is gone: what happened is still known, its properties are not
UPDATE timeline_part SET sealed = true;
DROP TABLE event_2026_01;
SELECT pg_temp.who('count(view) = 2'), pg_temp.who('count(view{price > 1}) >= 1'), pg_temp.who('count(view{price > 1}) = 0 & count(view) = 2');

-- Many profiles: one scan of the events instead of look-ups.  Stores take part.
SELECT count(identify(ARRAY['store:many' || g]::identifier[], at => '2026-01-01', kind => 'store')) FROM generate_series(1, 3) g;
SELECT count(track(ARRAY['user_id:many' || g % 1300]::identifier[], CASE WHEN g % 3 = 0 THEN 'view' ELSE 'purchase' END,
				   CASE WHEN g % 7 > 0 THEN jsonb_build_object('amount', hashint4(g) % 100, 'value', g % 10) ELSE '{}' END,
				   '2026-02-01'::timestamptz + g % 900 * interval '1 hour', participants => CASE WHEN g % 5 = 0 THEN ARRAY['store:many' || g % 3 + 1]::identifier[] ELSE '{}' END))
FROM generate_series(0, 3999) g;
SELECT merge(resolve('user_id:many1'), resolve('user_id:many2')) > 0 AS merged;
ANALYZE;
CREATE TEMP TABLE asked_of_many AS SELECT r.rule, k.kind, audience(r.rule, '2026-03-05', k.kind) AS members FROM unnest(ARRAY['count(purchase{amount > 50}) >= 1', 'count(purchase{amount > 50}) = 0 & count(purchase) > 1', 'sum(purchase{amount < 0}, 20d) < 30 | last(view{value = 3}) < 10d',
				  'seq(view{amount > 0} -> purchase{amount > 0}, 30d)', 'max(purchase{amount > 1000}) >= 0']::criteria[]) r(rule), (VALUES ('person'), ('store')) k(kind);
SELECT a.rule, a.kind, rb_cardinality(a.members) AS members, count(*) FILTER (WHERE _matches(p.profile_id, a.rule, '2026-03-05', NULL) <> (a.members @> p.profile_id)) AS wrong
FROM asked_of_many a JOIN profile p USING (kind) WHERE p.profile_id % 13 = 0 OR p.kind = 'store' GROUP BY a.rule, a.kind, a.members ORDER BY a.rule::text, a.kind;
SELECT count(DISTINCT p.canonical_id) AS the_first_of_them FROM event e JOIN profile p USING (profile_id)
WHERE e.event = 'purchase' AND (e.properties ->> 'amount')::int > 50 AND e.at <= '2026-03-05' AND p.profile_id >= resolve('user_id:many0');
