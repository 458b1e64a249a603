-- The repurchase clock: rows against plain SQL over the events, priors, what
-- changes rows and what does not.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 0;

-- one story: gaps of 10, 20 and 30 days; diapers twice, milk once, five lines of an order
CREATE FUNCTION pd_buy(who text, what text, at timestamptz) RETURNS bigint LANGUAGE sql AS
$$ SELECT cdp.track(ARRAY[who]::cdp.identifier[], 'purchase', jsonb_build_object('product_id', what, 'value', 5), at) $$;
SELECT count(pd_buy('user_id:ada', what, at)) FROM (VALUES ('diapers', timestamptz '2026-01-01'), ('diapers', '2026-01-01'), ('milk', '2026-01-01'), (NULL, '2026-01-01'), ('soap', '2026-01-01'),
	('diapers', '2026-01-11'), ('wipes', '2026-01-31'), ('@odd', '2026-03-02')) AS b (what, at);
INSERT INTO label_set VALUES ('baby', 'diapers'), ('baby', 'wipes'), ('baby', 'nothing'), ('household', 'wipes'), ('household', 'soap'), ('empty', 'x');
SELECT done FROM tick('2026-03-03') WHERE task = 'lifecycle';
SELECT event, label, orders, last_at, gaps, own_gap, dispersion, expected_gap, due_at, confidence FROM purchase_due ORDER BY label COLLATE "C";
-- a prior that a user gives applies at once to what is looked at, and to all with a refresh
INSERT INTO repurchase_prior (event, label, gap, weight) VALUES ('purchase', '', '40 days', 3), ('purchase', 'milk', '7 days', 1), ('purchase', '@baby', '15 days', 2);
SELECT * FROM refresh_repurchase('2026-03-03');
SELECT label, own_gap, expected_gap, due_at, confidence FROM purchase_due ORDER BY label COLLATE "C";
SELECT * FROM refresh_repurchase('2026-03-03');
SELECT task, done FROM rebuild('purchase_due', '2026-03-03');
SELECT label, expected_gap, confidence FROM purchase_due WHERE label IN ('', 'milk', '@baby') ORDER BY 1;

-- settings: fewer rows
INSERT INTO repurchase_clock (by, min_orders, max_labels) VALUES ('label', 1, 2), ('label_set', 3, 50);
SELECT task FROM rebuild('purchase_due', '2026-03-03');
SELECT label, last_at FROM purchase_due ORDER BY label COLLATE "C";
UPDATE repurchase_clock SET max_labels = 0 WHERE by = 'label' OR by = 'event';
SELECT task FROM rebuild('purchase_due', '2026-03-03');
SELECT label, orders FROM purchase_due;
INSERT INTO repurchase_clock (by) VALUES ('week');
INSERT INTO repurchase_clock (by, min_orders) VALUES ('event', 0);
INSERT INTO repurchase_prior (event, gap) VALUES ('x', '-1 day');
DELETE FROM repurchase_clock WHERE seeded;
DELETE FROM repurchase_clock WHERE NOT seeded;
DELETE FROM repurchase_prior;
DELETE FROM repurchase_run;
SELECT task FROM rebuild('purchase_due', '2025-12-31');

-- 120 people, 12 labels, a year; stores with a clock of their own
CREATE FUNCTION pg_temp.dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE TABLE pd_sale AS
SELECT p, i, timestamptz '2026-01-01Z' + make_interval(hours => pg_temp.dice('at' || p, i, 360) * 24 / (1 + pg_temp.dice('pace' || p, 1, 3))) AS at,
	   CASE pg_temp.dice('label' || p, i, 13) WHEN 0 THEN NULL ELSE 'l' || pg_temp.dice('label' || p, i, 13) END AS label
FROM generate_series(1, 120) p, generate_series(1, pg_temp.dice('n', p, 14)) i;
DELETE FROM label_set;
INSERT INTO label_set SELECT 's' || i % 3, 'l' || i FROM generate_series(1, 9) i UNION SELECT 's1', 'l2';
INSERT INTO repurchase_clock (kind, event, by) VALUES ('store', 'restock', 'event');
CREATE FUNCTION pd_load(since timestamptz, until timestamptz) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(cdp.track(ARRAY['user_id:' || p]::cdp.identifier[], 'purchase', jsonb_build_object('product_id', label), at, format('m%s-%s', p, i)))
		+ count(cdp.track(ARRAY['store:s' || p]::cdp.identifier[], 'restock', jsonb_build_object('product_id', label), at, format('r%s-%s', p, i))) FILTER (WHERE p < 10)
	FROM (SELECT * FROM pd_sale WHERE at > since AND at <= until ORDER BY at, p, i) s $$;
-- what the rows ought to be at an instant, in plain SQL, with the priors of the table
CREATE FUNCTION pd_plain(now timestamptz) RETURNS TABLE (who text, event text, label text, orders bigint, last_at timestamptz, gaps bigint, own_gap interval, dispersion float8, expected_gap interval, due_at timestamptz)
LANGUAGE sql SET search_path = public, cdp AS $$
	WITH e AS (
		SELECT DISTINCT k.who, k.event, l.label, s.at
		FROM pd_sale s, LATERAL (VALUES (p::text, 'purchase'), (CASE WHEN p < 10 THEN 's' || p END, 'restock')) AS k (who, event),
			 LATERAL (SELECT '' AS label UNION ALL SELECT s.label WHERE k.event = 'purchase'
					  UNION ALL SELECT '@' || x.name FROM label_set x WHERE x.label = s.label AND k.event = 'purchase') l
		WHERE s.at <= now AND l.label IS NOT NULL AND k.who IS NOT NULL
	), g AS (
		SELECT e.*, e.at - lag(e.at) OVER (PARTITION BY who, event, label ORDER BY e.at) AS gap FROM e
	), own AS (
		SELECT who, event, label, count(*) AS orders, max(at) AS last_at, count(gap) AS gaps, percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) AS median
		FROM g GROUP BY who, event, label
	), spread AS (
		SELECT who, event, label, avg(abs(extract(epoch FROM gap - median))) / nullif(extract(epoch FROM min(median)), 0) AS dispersion
		FROM own JOIN g USING (who, event, label) WHERE gap IS NOT NULL GROUP BY who, event, label
	)
	SELECT o.who, o.event, o.label, o.orders, o.last_at, o.gaps, o.median, s.dispersion::float8, x.gap, o.last_at + x.gap
	FROM own o LEFT JOIN spread s USING (who, event, label)
	LEFT JOIN repurchase_prior p ON p.event = o.event AND p.label = o.label LEFT JOIN repurchase_prior p0 ON p0.event = o.event AND p0.label = '',
	LATERAL (SELECT coalesce(p.gap, p0.gap) AS prior, coalesce(p.weight, p0.weight) AS w) y,
	LATERAL (SELECT make_interval(secs => CASE WHEN y.w IS NULL OR y.w = 0 THEN extract(epoch FROM o.median) WHEN o.gaps = 0 THEN extract(epoch FROM y.prior)
		ELSE extract(epoch FROM o.median) + round((extract(epoch FROM y.prior) - extract(epoch FROM o.median))::float8 * 1e6 * (y.w / (o.gaps + y.w)))::numeric / 1e6 END::float8) AS gap) x $$;
CREATE FUNCTION pd_wrong(now timestamptz) RETURNS TABLE (rows bigint, missing bigint, too_many bigint, wrong bigint) LANGUAGE sql SET search_path = public, cdp AS $$
	SELECT count(*), count(*) FILTER (WHERE d.label IS NULL), count(*) FILTER (WHERE p.label IS NULL),
		   count(*) FILTER (WHERE (d.orders, d.last_at, d.gaps) IS DISTINCT FROM (p.orders, p.last_at, p.gaps) OR d.own_gap IS DISTINCT FROM p.own_gap OR d.expected_gap IS DISTINCT FROM p.expected_gap
			   OR d.due_at IS DISTINCT FROM p.due_at OR abs(d.dispersion - p.dispersion) > 1e-9 OR (d.dispersion IS NULL) <> (p.dispersion IS NULL)
			   OR d.confidence NOT BETWEEN 0 AND 1 OR (d.confidence = 0) <> (d.gaps = 0))
	FROM (SELECT value(l.identifier) AS who, x.* FROM purchase_due x JOIN identifier_link l USING (profile_id) WHERE value(l.identifier) <> 'ada') d
	FULL JOIN pd_plain(now) p USING (who, event, label) $$;

-- week by week, with priors each week
SELECT sum((SELECT sum(t.done) FROM pd_load(d - interval '7 days', d) l, tick(d + 0 * l * interval '1 day') t)) > 0 AS worked
FROM (SELECT d FROM generate_series(timestamptz '2025-12-31Z', '2026-07-01Z', '7 days') d ORDER BY d) d;
SELECT * FROM pd_wrong('2026-07-01');
SELECT count(*) = 22 AS runs, min(priors) > 0 AS priors FROM repurchase_run WHERE at > '2026-02-01';
SELECT event, label, profiles >= 5 AS enough FROM repurchase_prior WHERE label IN ('', '@s1') ORDER BY 1, 2;
-- priors are medians of medians
SELECT priors > 10 AS some FROM refresh_repurchase('2026-07-01');
SELECT count(*) AS priors, count(*) FILTER (WHERE gap <> plain) AS wrong, count(*) FILTER (WHERE profiles < 5) AS of_few
FROM (SELECT r.*, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.own_gap) FROM purchase_due d WHERE d.event = r.event AND d.label = r.label) AS plain
	  FROM repurchase_prior r) x;
SELECT * FROM pd_wrong('2026-07-01');
-- rebuilt is the same
CREATE TEMP TABLE before AS TABLE purchase_due;
SELECT task FROM rebuild('purchase_due', '2026-07-01');
SELECT count(*) AS differ FROM (TABLE before EXCEPT TABLE purchase_due) x;
SELECT (SELECT count(*) FROM before) = (SELECT count(*) FROM purchase_due) AS same;

-- the rule due(ev) says the same, to the microsecond: within an hour of it, and overdue
SELECT count(*) > 80 AS many, count(DISTINCT r.event || left(d.label, 1)) AS sorts,
	   count(*) FILTER (WHERE NOT matches(d.profile_id, within, d.due_at - interval '1 hour')) AS late, count(*) FILTER (WHERE matches(d.profile_id, within, d.due_at - interval '1 hour 0.000001 s')) AS early,
	   count(*) FILTER (WHERE NOT matches(d.profile_id, overdue, d.due_at + interval '1 us')) AS not_yet, count(*) FILTER (WHERE matches(d.profile_id, overdue, d.due_at)) AS already
FROM purchase_due d, LATERAL (SELECT d.event || CASE WHEN d.label <> '' THEN format('[%s]', d.label) ELSE '' END AS event) r,
	 LATERAL (SELECT format('due(%s) <= 1h', r.event)::criteria AS within, format('due(%s) < 0d', r.event)::criteria AS overdue) c
WHERE d.expected_gap > '2 hours' AND d.profile_id % 6 = 0 AND d.due_at < '2026-12-31';

-- a day on which one person buys touches that person's rows alone
SELECT sum(done) >= 0 FROM tick('2026-07-02');
CREATE TEMP TABLE versions AS SELECT ctid AS tid, * FROM purchase_due;
SELECT pd_buy('user_id:1', 'l1', '2026-07-02 12:00') > 0;
SELECT done FROM tick('2026-07-03') WHERE task = 'lifecycle';
SELECT count(DISTINCT d.profile_id) = 1 AS one, count(*) < 15 AS few FROM purchase_due d WHERE NOT EXISTS (SELECT FROM versions v WHERE v.tid = d.ctid AND v.profile_id = d.profile_id);
-- nothing happens: nothing is touched
SELECT sum(done) FROM tick('2026-07-03 01:00');
-- a late event, and one loaded as history, count too
SELECT track('{user_id:2}', 'purchase', '{"product_id": "late"}', '2026-02-01', backfill => true) > 0;
SELECT done FROM tick('2026-07-03 02:00') WHERE task = 'lifecycle';
SELECT label, orders, last_at FROM purchase_due WHERE profile_id = resolve('user_id:2') AND label = 'late';
-- an event that is dated ahead counts when its time has come
SELECT track('{user_id:2}', 'purchase', '{"product_id": "ahead"}', '2026-07-05') > 0;
SELECT done FROM tick('2026-07-04') WHERE task = 'lifecycle';
SELECT count(*) FROM purchase_due WHERE label = 'ahead';
SELECT done FROM tick('2026-07-05') WHERE task = 'lifecycle';
SELECT count(*) FROM purchase_due WHERE label = 'ahead';
-- also when it arrives together with something that has happened, and changes no stage
SELECT track('{user_id:2}', 'purchase', '{"product_id": "today"}', '2026-07-05 06:00') > 0, track('{user_id:2}', 'purchase', '{"product_id": "tomorrow"}', '2026-07-05 18:00') > 0;
SELECT done FROM tick('2026-07-05 12:00') WHERE task = 'lifecycle';
SELECT count(*) FILTER (WHERE label = 'today') AS today, count(*) FILTER (WHERE label = 'tomorrow') AS tomorrow FROM purchase_due;
SELECT done FROM tick('2026-07-05 18:00') WHERE task = 'lifecycle';
SELECT count(*) FILTER (WHERE label = 'today') AS today, count(*) FILTER (WHERE label = 'tomorrow') AS tomorrow FROM purchase_due;

-- merged: one profile's rows; parted again: as before
CREATE TEMP TABLE pair AS SELECT resolve('user_id:3') AS a, resolve('user_id:4') AS b;
CREATE TEMP TABLE apart AS SELECT d.* FROM purchase_due d, pair WHERE profile_id IN (a, b);
SELECT merge(a, b, at => '2026-07-06') > 0 FROM pair;
SELECT count(*) FROM purchase_due, pair WHERE profile_id = b;
SELECT sum(done) > 0 FROM tick('2026-07-06');
SELECT (SELECT orders FROM purchase_due, pair WHERE profile_id = a AND label = '') =
	   (SELECT count(DISTINCT at) FROM pd_sale WHERE p IN (3, 4) AND at <= '2026-07-01') AS joined, (SELECT count(*) FROM purchase_due, pair WHERE profile_id = b) AS left_over;
SELECT unmerge(m.merge_id, at => '2026-07-06') FROM profile_merge m, pair WHERE m.survivor = a;
SELECT sum(done) > 0 FROM tick('2026-07-06 01:00');
SELECT count(*) AS differ FROM (TABLE apart EXCEPT TABLE purchase_due) x;

-- an index answers "due in the next three days"
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT profile_id FROM purchase_due WHERE event = 'purchase' AND label = '@s1' AND due_at BETWEEN '2026-07-06' AND '2026-07-09';
RESET enable_seqscan;
DROP TABLE pd_sale;
DROP FUNCTION pd_buy, pd_load, pd_plain, pd_wrong;
