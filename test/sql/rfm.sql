-- RFM: names of codes, scores against plain SQL and a published table, tags
-- that say what the last refresh found.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
\set SHOW_CONTEXT never
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 0;

-- the eleven names cover the 125 codes, each exactly once
SELECT count(DISTINCT segment) AS names, count(*) AS codes, count(DISTINCT c) AS different, count(*) FILTER (WHERE c !~ '^[1-5]{3}$') AS wrong
FROM rfm_segment_effective, unnest(codes) c;
SELECT segment, count(*) FROM _rfm_codes() GROUP BY segment ORDER BY 2 DESC, 1;
SELECT rfm_segment_of('555'), rfm_segment_of('155'), rfm_segment_of('111'), rfm_segment_of('512'), rfm_segment_of('666'), rfm_segment_of(NULL);

-- edited: a new name takes its codes, another row for a name replaces it
BEGIN;
INSERT INTO rfm_segment (segment, codes) VALUES ('whales', '{[45].5}');
UPDATE rfm_segment SET codes = '{1[1-2].,311}' WHERE segment = 'lost';
INSERT INTO rfm_segment (segment, codes, priority) VALUES ('gone', '{111}', 1);
SELECT c, rfm_segment_of(c) FROM unnest('{415,455,554,355,111,121,125,311,131}'::text[]) c;
ROLLBACK;
INSERT INTO rfm_segment (segment, codes) VALUES ('x', '{55}');
INSERT INTO rfm_segment (segment, codes) VALUES ('x', '{556}');
INSERT INTO rfm_segment (segment, codes) VALUES ('x', '{5(4|3)}');
INSERT INTO rfm_segment (segment, codes) VALUES ('x', '{NULL}');
INSERT INTO rfm_segment (segment, codes) VALUES ('a.b', '{555}');
DELETE FROM rfm_segment WHERE segment = 'lost';

-- A published table: the first ten customers of R package rfm's "RFM - Transaction Level Data", as of 2006-12-31.  Its
-- bins are half-open upwards with bounds 115, 181, 297 and 482 days, 4, 5, 6 and 8 orders, 256, 382, 506 and 666 of money: of
-- whole numbers, up to 114 … 665.
CREATE TEMP TABLE published (who text, last date, days int, orders int, money float8, r int, f int, m int, code text);
INSERT INTO published VALUES ('Abbey O’Reilly DVM', '2006-06-09', 205, 6, 472, 3, 4, 3, '343'), ('Add Senger', '2006-08-13', 140, 3, 340, 4, 1, 2, '412'),
	('Aden Lesch Sr.', '2006-06-20', 194, 4, 405, 3, 2, 3, '323'), ('Admiral Senger', '2006-08-21', 132, 5, 448, 4, 3, 3, '433'),
	('Agness O’Keefe', '2006-10-02', 90, 9, 843, 5, 5, 5, '555'), ('Aileen Barton', '2006-10-08', 84, 9, 763, 5, 5, 5, '555'),
	('Ailene Hermann', '2006-03-25', 281, 8, 699, 3, 5, 5, '355'), ('Aiyanna Bruen PhD', '2006-04-29', 246, 4, 157, 3, 2, 1, '321'),
	('Ala Schmidt DDS', '2006-01-16', 349, 3, 363, 2, 1, 2, '212'), ('Alannah Borer', '2005-04-21', 619, 4, 196, 1, 2, 1, '121');
SELECT p.who, x.recency = p.days AS days, x.frequency = p.orders AS orders, x.monetary = p.money AS money, (x.r, x.f, x.m, x.code) = (p.r, p.f, p.m, p.code) AS scores, x.segment
FROM published p LEFT JOIN rfm($$SELECT who, last - i * 10, money / orders FROM pg_temp.published, generate_series(0, orders - 1) i$$, '2006-12-31',
	recency_edges => '{114,180,296,481}', frequency_edges => '{3,4,5,7}', monetary_edges => '{255,381,505,665}') x ON x.id = p.who ORDER BY p.who;

-- one timeline: distinct instants, (at - within, at], some labels; equal sums whatever the order
SELECT v.* FROM (SELECT timeline_agg(at::timestamptz, event, label, value) AS t FROM (VALUES ('2026-01-01', 'purchase', 'a', 10.1::float8), ('2026-01-01', 'purchase', 'b', 5), ('2026-01-01', 'view', 'b', 7),
	('2026-01-03', 'purchase', NULL, 2), ('2026-01-05', 'purchase', 'a', NULL), ('2026-01-09', 'purchase', 'a', 100)) AS e (at, event, label, value)) x,
	(VALUES (1, NULL::interval, NULL::text[]), (2, '3 days', NULL), (3, '2 days 23:59:59.999999', NULL), (4, NULL, '{b,c,NULL}'), (5, '1 year', '{}'), (6, '0', NULL)) AS q (n, within, labels),
	rfm_values(t, '2026-01-06', within => q.within, labels => q.labels) v ORDER BY n;
SELECT v.* FROM rfm_values('{}', '2026-01-06') v;
SELECT v.* FROM rfm_values(NULL, '2026-01-06') v;
SELECT count(DISTINCT (rfm_values(t, '2027-01-01')).monetary), min((rfm_values(t, '2027-01-01')).monetary)
FROM (SELECT timeline_agg(timestamptz '2026-01-01Z' + hashint4(i + s) * interval '1 us', 'purchase', (i % 1000) / 100.0::float8) AS t FROM generate_series(1, 3000) i, generate_series(1, 20) s GROUP BY s) x;
SELECT rfm_values('{}', 'infinity');
SELECT rfm_values('{}', '2026-01-01', within => '-1 day');

-- 400 random customers with many ties against percentile_cont
CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TABLE rfm_sale AS
SELECT p, timestamptz '2026-01-01Z' + make_interval(days => pg_temp.dice('at' || p, i, 200)) AS at, (1 + pg_temp.dice('value' || p, i, 2000)) / 100.0::numeric AS value
FROM generate_series(1, 400) p, generate_series(1, pg_temp.dice('n', p, 8)) i;
CREATE FUNCTION rfm_plain(now timestamptz, within interval) RETURNS TABLE (p int, r int, f int, m int) LANGUAGE sql SET search_path = public, cdp AS $$
	WITH v AS (
		SELECT p, extract(epoch FROM now - max(at))::float8 AS r, count(DISTINCT at)::float8 AS f, sum(value)::float8 AS m
		FROM rfm_sale WHERE at <= now AND (within IS NULL OR at > now - within) GROUP BY p
	), e AS (
		SELECT percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY r) AS r, percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY f) AS f,
			   percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY m) AS m FROM v
	)
	SELECT v.p, 5 - (SELECT count(*) FROM unnest(e.r) x WHERE x < v.r)::int, 1 + (SELECT count(*) FROM unnest(e.f) x WHERE x < v.f)::int, 1 + (SELECT count(*) FROM unnest(e.m) x WHERE x < v.m)::int
	FROM v, e $$;
CREATE FUNCTION rfm_differ(now timestamptz, within interval) RETURNS TABLE (rows bigint, codes bigint, wrong bigint, wrong_from_timelines bigint) LANGUAGE sql SET search_path = public, cdp AS $$
	SELECT count(*), count(DISTINCT a.code), count(*) FILTER (WHERE (a.r, a.f, a.m) IS DISTINCT FROM (b.r, b.f, b.m) OR a.code <> concat(b.r, b.f, b.m) OR a.segment <> rfm_segment_of(a.code)),
		   count(*) FILTER (WHERE c IS DISTINCT FROM a)
	FROM rfm('SELECT p, at, value FROM rfm_sale', now, within => within) a FULL JOIN rfm_plain(now, within) b ON b.p::text = a.id
	FULL JOIN rfm('SELECT p, timeline_agg(at, ''sold'', value::float8) FROM rfm_sale GROUP BY p', now, event => 'sold', within => within) c ON c.id = a.id $$;
SELECT d.* FROM generate_series(timestamptz '2026-01-15Z', '2026-08-01Z', '66 days') now, (VALUES (NULL::interval), ('30 days')) AS w (within), rfm_differ(now, within) d;

-- the caller's names, few rows, no rows, what is refused
SELECT * FROM rfm('SELECT ''one'', timestamptz ''2026-01-01'', 5', '2026-01-02');
SELECT count(*) FROM rfm('SELECT 1, at, value FROM rfm_sale', '2020-01-01');
SELECT rfm('SELECT 1', '2026-01-01');
SELECT rfm('SELECT 1, 2, 3', '2026-01-01');
SELECT rfm('no query', '2026-01-01');
SELECT rfm(NULL, '2026-01-01');
SELECT rfm('SELECT 1, at, value FROM rfm_sale', '2026-01-01', recency_edges => '{1,2,3}');
SELECT rfm('SELECT 1, at, value FROM rfm_sale', '2026-01-01', monetary_edges => '{1,3,2,4}');
SELECT rfm('SELECT 1, at, value FROM rfm_sale', '2026-01-01', frequency_edges => '{1,2,NULL,4}');

-- managed: profiles of two kinds
SELECT count(track(ARRAY['user_id:' || p]::identifier[], 'purchase', jsonb_build_object('value', value, 'product_id', CASE WHEN p % 3 = 0 THEN 'tea' ELSE 'soap' END), at)) FROM rfm_sale;
SELECT count(track(ARRAY['store:s' || p % 7]::identifier[], 'restock', jsonb_build_object('value', value), at)) FROM rfm_sale WHERE p < 50;
SELECT count(identify(ARRAY['user_id:nobody' || p]::identifier[], at => '2026-01-01')) FROM generate_series(1, 3) p;
-- the tags of a model against its scores at an instant: one tag for everybody who has a score
CREATE FUNCTION rfm_wrong(model text, now timestamptz) RETURNS bigint LANGUAGE sql SET search_path = public, cdp AS $$
	SELECT count(*)
	FROM (SELECT x.profile_id, e.prefix || x.segment AS tag FROM rfm_of(model, now) x, rfm_model_effective e WHERE e.name = model) a
	FULL JOIN (SELECT ids AS profile_id, t AS tag FROM _tags_of_key('rfm') t, rb_iterate(tagged(t)) ids, rfm_model_effective e, profile p
			   WHERE e.name = model AND p.profile_id = ids AND p.kind = e.kind AND t LIKE e.prefix || '%' AND strpos(substr(t, length(e.prefix) + 1), '.') = 0) b USING (profile_id, tag)
	WHERE a.tag IS NULL OR b.tag IS NULL $$;
SELECT task, done FROM tick('2026-03-01') WHERE task = 'rfm';
SELECT model, at, profiles, changed FROM rfm_run;
SELECT rfm_wrong('default', '2026-03-01');
-- the same scores as plain SQL
SELECT count(*) AS rows, count(*) FILTER (WHERE (a.r, a.f, a.m) IS DISTINCT FROM (b.r, b.f, b.m)) AS wrong
FROM rfm_of(at => '2026-03-01') a JOIN identifier_link l USING (profile_id) FULL JOIN rfm_plain('2026-03-01', NULL) b ON b.p::text = value(l.identifier);
-- six days later nothing, seven days later again; not twice
SELECT done FROM tick('2026-03-07 23:59') WHERE task = 'rfm';
SELECT done FROM tick('2026-03-08') WHERE task = 'rfm';
SELECT done FROM tick('2026-03-08') WHERE task = 'rfm';
SELECT rfm_wrong('default', '2026-03-08');
SELECT * FROM refresh_rfm('default', '2026-03-08');
SELECT done, lag FROM _advance_rfm('2026-03-20', 1);
-- tags in rules, and not in the list of a profile's tags
SELECT audience_count('rfm:champions | rfm:loyal', '2026-03-20') = rb_or_cardinality(tagged('rfm:champions'), tagged('rfm:loyal')) AS same, audience_count('rfm:champions', '2026-03-20') > 0 AS some,
	   (SELECT count(*) FROM profile WHERE 'rfm:' ^@ ANY (tags_of(profile_id))) AS listed;

-- more models: a category, a window with edges, and stores, each with tags of their own
INSERT INTO label_set VALUES ('drinks', 'tea'), ('drinks', 'coffee');
INSERT INTO rfm_model (name, label_set, within, recency_edges, every) VALUES ('drinks', 'drinks', '30 days', '{5,10,15,20}', '1 day');
INSERT INTO rfm_model (name, kind, event) VALUES ('shops', 'store', 'restock');
SELECT name, prefix, labels FROM rfm_model_effective ORDER BY 1;
SELECT done FROM tick('2026-03-21') WHERE task = 'rfm';
SELECT rfm_wrong(name, '2026-03-21') FROM rfm_model_effective WHERE name <> 'default' ORDER BY name;
SELECT rfm_wrong('default', '2026-03-20');
SELECT count(*) AS rows, count(*) FILTER (WHERE v.labels) AS of_others, count(*) FILTER (WHERE r <> CASE WHEN recency <= 5 THEN 5 WHEN recency <= 10 THEN 4 WHEN recency <= 15 THEN 3 WHEN recency <= 20 THEN 2 ELSE 1 END) AS wrong
FROM rfm_of('drinks', '2026-03-21') JOIN identifier_link l USING (profile_id), LATERAL (SELECT value(l.identifier)::int % 3 <> 0 AS labels) v;
SELECT model, count(*) FROM rfm_run GROUP BY model ORDER BY model;

-- merged and parted again: as if it had been so at the last refresh
CREATE TEMP TABLE pair AS SELECT min(profile_id) AS a, max(profile_id) AS b FROM rfm_of(at => '2026-03-20') WHERE segment IN ('champions', 'lost') GROUP BY frequency HAVING count(*) > 1 LIMIT 1;
CREATE TEMP TABLE before AS SELECT p, array_agg(t ORDER BY t) AS tags FROM pair, unnest(ARRAY[a, b]) p, _all_tags_of(p) t WHERE t LIKE 'rfm:%' GROUP BY p;
SELECT merge(a, b, at => '2026-03-21') > 0 FROM pair;
SELECT count(*) FROM pair, _all_tags_of(b) t WHERE t LIKE 'rfm:%';
SELECT done FROM tick('2026-03-21 12:00') WHERE task = 'rfm';
SELECT count(*) AS tags, bool_and(t IN ('rfm:' || x.segment, 'rfm:drinks.' || y.segment)) AS right
FROM pair LEFT JOIN rfm_values(timeline_of(a), '2026-03-20') v ON true
	LEFT JOIN LATERAL (SELECT rfm_segment_of(concat(6 - quantile_score(v.recency, recency_edges), quantile_score(v.frequency, frequency_edges), quantile_score(v.monetary, monetary_edges))) AS segment
					   FROM rfm_run WHERE model = 'default' ORDER BY at DESC LIMIT 1) x ON true
	LEFT JOIN LATERAL (SELECT segment FROM rfm_of('drinks', '2026-03-21') WHERE profile_id = a) y ON true, _all_tags_of(a) t WHERE t LIKE 'rfm:%';
SELECT unmerge(m.merge_id, at => '2026-03-21 12:00') FROM profile_merge m, pair WHERE m.survivor = a;
SELECT sum(done) > 0 FROM tick('2026-03-21 13:00');
SELECT count(*) AS wrong FROM before FULL JOIN (SELECT p, array_agg(t ORDER BY t) AS tags FROM pair, unnest(ARRAY[a, b]) p, _all_tags_of(p) t WHERE t LIKE 'rfm:%' GROUP BY p) now USING (p)
WHERE before.tags IS DISTINCT FROM now.tags;

-- who is told: what time did, not the first refresh, nor another model
INSERT INTO journey_listener (source, name, journey, version, purpose) SELECT 'enters', 'rfm:' || segment, 'nobody', 1, 'entry' FROM rfm_segment;
DELETE FROM journey_trigger;
SELECT changed > 0 AS changed FROM refresh_rfm('default', '2026-05-01');
SELECT count(*) > 0 AS told, bool_and(has_tag(profile_id, name)) AS rightly FROM journey_trigger WHERE name LIKE 'rfm:%';
DELETE FROM journey_trigger;
UPDATE rfm_model SET within = '45 days' WHERE name = 'default';
SELECT changed > 0 AS changed FROM refresh_rfm('default', '2026-05-01');
SELECT count(*) AS told FROM journey_trigger WHERE name LIKE 'rfm:%';
SELECT rfm_wrong('default', '2026-05-01');
SELECT changed FROM refresh_rfm('default', '2026-05-01');

-- models that go: their tags go with the next refresh of all
DELETE FROM rfm_model WHERE name IN ('drinks', 'shops');
SELECT name, profiles FROM refresh_rfm(at => '2026-05-02');
SELECT count(*) AS left_over FROM _tags_of_key('rfm') t, rb_iterate(tagged(t)) ids, profile p WHERE p.profile_id = ids AND (p.kind <> 'person' OR t LIKE 'rfm:drinks%');
SELECT rfm_wrong('default', '2026-05-02'), (SELECT count(*) FROM rfm_run WHERE model <> 'default') AS runs;
INSERT INTO rfm_model (name, within) VALUES ('x', '0');
INSERT INTO rfm_model (name, label, label_set) VALUES ('x', 'a', 'b');
INSERT INTO rfm_model (name, recency_edges) VALUES ('x', '{1,2,3}');
INSERT INTO rfm_model (name) VALUES ('a.b');
SELECT refresh_rfm('nobody''s');
SELECT rfm_of('nobody''s');
DROP TABLE rfm_sale;
DROP FUNCTION rfm_plain, rfm_differ, rfm_wrong;
