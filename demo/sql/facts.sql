-- Every total that the demo prints, against the publisher's known facts and
-- against plain SQL over the raw files.  Raises an error when one differs.
CREATE INDEX ON raw.transactions_sample (household_id, transaction_timestamp);
ANALYZE raw.transactions_sample;
CREATE TEMP TABLE fact (what text, ours numeric, known numeric, plain numeric);

INSERT INTO fact
SELECT 'households that bought',
	cdp.audience_count('count(purchase) > 0', '2018-02-01Z'), 2377,
	(SELECT count(DISTINCT household_id) FROM raw.transactions_sample);
INSERT INTO fact
SELECT 'stores', cdp.audience_count('all', '2018-02-01Z', 'store'), 293,
	(SELECT count(DISTINCT store_id) FROM raw.transactions_sample);

CREATE TEMP TABLE household AS
SELECT p.profile_id, value(l.identifier) AS household_id, t.timeline
FROM cdp.profile p JOIN cdp.identifier_link l USING (profile_id) JOIN cdp.profile_timeline t USING (profile_id)
WHERE p.kind = 'person' AND namespace(l.identifier) = 'household';
CREATE TEMP TABLE store AS
SELECT p.profile_id, value(l.identifier) AS store_id, t.timeline
FROM cdp.profile p JOIN cdp.identifier_link l USING (profile_id) JOIN cdp.profile_timeline t USING (profile_id)
WHERE p.kind = 'store';

INSERT INTO fact
SELECT 'baskets, household timelines', sum(num_events(timeline, 'purchase')), 47243,
	(SELECT count(DISTINCT basket_id) FROM raw.transactions_sample) FROM household;
INSERT INTO fact
SELECT 'baskets, store timelines', sum(num_events(timeline, 'purchase')), 47243,
	(SELECT count(DISTINCT basket_id) FROM raw.transactions_sample) FROM store;
INSERT INTO fact
SELECT 'lines', sum(num_events(timeline, 'item')), 75000, (SELECT count(*) FROM raw.transactions_sample) FROM household;
INSERT INTO fact
SELECT 'products sold', count(DISTINCT e.label), 20902, (SELECT count(DISTINCT product_id) FROM raw.transactions_sample)
FROM household, timeline_events(timeline) e WHERE e.event = 'item';
INSERT INTO fact
SELECT 'sales, household timelines', round(sum(total(timeline, 'purchase'))::numeric, 2), 233935.24,
	(SELECT round(sum(sales_value), 2) FROM raw.transactions_sample) FROM household;
INSERT INTO fact
SELECT 'sales by line, store timelines', round(sum(total(timeline, 'item'))::numeric, 2), 233935.24,
	(SELECT round(sum(sales_value), 2) FROM raw.transactions_sample) FROM store;

CREATE TEMP TABLE visit AS
SELECT DISTINCT e.profile_id AS household, s AS store
FROM cdp.event e, unnest(e.participants) s WHERE e.event = 'Order Completed';
INSERT INTO fact
SELECT 'store × household pairs', count(*), 6363,
	(SELECT count(*) FROM (SELECT DISTINCT store_id, household_id FROM raw.transactions_sample) x) FROM visit;
INSERT INTO fact
SELECT 'households in more than one store', count(*) FILTER (WHERE n > 1), 1700,
	(SELECT count(*) FROM (SELECT FROM raw.transactions_sample GROUP BY household_id HAVING count(DISTINCT store_id) > 1) x)
FROM (SELECT count(*) AS n FROM visit GROUP BY household) x;
INSERT INTO fact
SELECT 'most stores of one household', max(n), 12,
	(SELECT max(n) FROM (SELECT count(DISTINCT store_id) AS n FROM raw.transactions_sample GROUP BY household_id) x)
FROM (SELECT count(*) AS n FROM visit GROUP BY household) x;

INSERT INTO fact
SELECT 'sends of ' || d.campaign_type, count(*),
	(ARRAY[3647, 2368, 574])[ascii(right(d.campaign_type, 1)) - 64],
	(SELECT count(*) FROM raw.campaigns c JOIN raw.campaign_descriptions r USING (campaign_id)
	 WHERE r.campaign_type = d.campaign_type)
FROM household, timeline_events(timeline) e JOIN raw.campaign_descriptions d ON d.campaign_id = e.label
WHERE e.event = 'campaign_sent' GROUP BY d.campaign_type;
INSERT INTO fact
SELECT 'redeeming pairs of ' || d.campaign_type, count(DISTINCT (household_id, e.label)),
	(ARRAY[604, 154, 34])[ascii(right(d.campaign_type, 1)) - 64],
	(SELECT count(DISTINCT (c.household_id, campaign_id)) FROM raw.coupon_redemptions c JOIN raw.campaign_descriptions r USING (campaign_id)
	 WHERE r.campaign_type = d.campaign_type)
FROM household, timeline_events(timeline) e JOIN raw.campaign_descriptions d ON d.campaign_id = e.label
WHERE e.event = 'coupon_redeemed' GROUP BY d.campaign_type;

-- Stages at quarter ends: the six thresholds written as plain SQL.
INSERT INTO fact
SELECT format('%s on %s', stage, at::date), count(*) FILTER (WHERE ours = stage), NULL, count(*) FILTER (WHERE plain = stage)
FROM (SELECT d.at, cdp.lifecycle(h.timeline, d.at) AS ours,
			 CASE WHEN r.last IS NULL THEN 'potential'
				  WHEN d.at - r.last > interval '120 days' THEN 'churned'
				  WHEN d.at - r.last > interval '45 days' THEN 'at_risk'
				  WHEN r.orders >= 4 THEN 'retained' WHEN r.orders > 1 THEN 'repeat' ELSE 'first_purchase' END::cdp.lifecycle_stage AS plain
	  FROM generate_series(timestamptz '2017-04-01Z', '2018-01-01Z', '3 months') d(at) CROSS JOIN household h,
		   LATERAL (SELECT max(transaction_timestamp AT TIME ZONE 'UTC') AS last, count(DISTINCT transaction_timestamp) AS orders
					FROM raw.transactions_sample t
					WHERE t.household_id = h.household_id AND transaction_timestamp AT TIME ZONE 'UTC' <= d.at) r) x,
	 unnest(enum_range(NULL::cdp.lifecycle_stage)) stage
GROUP BY at, stage;

-- The segment of the report, as a plain query.
INSERT INTO fact
SELECT 'lapsed households that left a coupon unused',
	cdp.audience_count(format($$count(purchase) >= 4 & last(purchase) > 45d & sum(purchase) > %s & any(campaign_sent: count(coupon_redeemed[$]) = 0)$$,
		(SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total(timeline, 'purchase')) FROM household WHERE num_events(timeline, 'purchase') > 0))::criteria,
		'2018-01-02Z'), NULL,
	(WITH h AS (SELECT household_id, sum(sales_value) AS spend, count(DISTINCT basket_id) AS baskets,
					   max(transaction_timestamp AT TIME ZONE 'UTC') AS last
				FROM raw.transactions_sample GROUP BY household_id)
	 SELECT count(*) FROM h
	 WHERE baskets >= 4 AND timestamptz '2018-01-02Z' - last > interval '45 days'
	   AND spend > (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY spend) FROM h)
	   AND EXISTS (SELECT FROM raw.campaigns c JOIN raw.campaign_descriptions d USING (campaign_id)
				   WHERE c.household_id = h.household_id AND d.start_date < '2018-01-02'
					 AND NOT EXISTS (SELECT FROM raw.coupon_redemptions r
									 WHERE r.household_id = h.household_id AND r.campaign_id = c.campaign_id)));

DO $$
DECLARE
	bad record;
BEGIN
	FOR bad IN SELECT * FROM fact WHERE ours IS DISTINCT FROM coalesce(known, ours) OR ours IS DISTINCT FROM plain LOOP
		RAISE EXCEPTION 'fact "%" differs: ours %, known %, plain SQL %', bad.what, bad.ours, bad.known, bad.plain;
	END LOOP;
END
$$;
\pset tuples_only on
\pset format unaligned
SELECT format('   %s facts agree', count(*)) FROM fact;
