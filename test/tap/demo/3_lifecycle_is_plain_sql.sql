-- Stages, AARRR and RFM of every household at every month end, and the stages
-- of every store by an adaptive policy of its own, are what plain SQL over the raw
-- rows says; recorded transitions, replayed, give the stage at any date.
SET search_path = public, cdp;
CREATE TEMP TABLE month_end AS SELECT at - interval '1 us' AS at FROM generate_series(timestamptz '2017-02-01Z', '2018-01-01Z', '1 month') at;
CREATE TEMP TABLE household AS
SELECT p.profile_id, value(l.identifier) AS household_id, t.timeline
FROM profile p JOIN identifier_link l USING (profile_id) JOIN profile_timeline t USING (profile_id)
WHERE p.kind = 'person' AND namespace(l.identifier) = 'household';
CREATE TEMP TABLE store AS
SELECT p.profile_id, value(l.identifier) AS store_id, t.timeline
FROM profile p JOIN identifier_link l USING (profile_id) JOIN profile_timeline t USING (profile_id) WHERE p.kind = 'store';
CREATE TEMP TABLE sale AS
SELECT household_id, store_id, transaction_timestamp AT TIME ZONE 'UTC' AS at, basket_id, sales_value FROM raw.transactions_sample;

-- six stages
CREATE TEMP TABLE stage_differs AS
SELECT h.household_id, m.at, lifecycle(h.timeline, m.at, (SELECT rule FROM lifecycle_policy_effective WHERE name = 'default')) AS ours,
	   CASE WHEN s.last IS NULL THEN 'potential' WHEN m.at - s.last > interval '120 days' THEN 'churned' WHEN m.at - s.last > interval '45 days' THEN 'at_risk'
			WHEN s.orders >= 4 THEN 'retained' WHEN s.orders > 1 THEN 'repeat' ELSE 'first_purchase' END AS plain
FROM household h CROSS JOIN month_end m
LEFT JOIN (SELECT household_id, m.at, max(s.at) AS last, count(DISTINCT s.at) AS orders FROM sale s JOIN month_end m ON s.at <= m.at GROUP BY 1, 2) s USING (household_id, at);

-- adaptive stages of stores: twice and four times the median gap, between a day and 30 and 60 days
CREATE TEMP TABLE store_differs AS
WITH visit AS (
	SELECT DISTINCT store_id, m.at AS asked, s.at FROM sale s JOIN month_end m ON s.at <= m.at
), gap AS (
	SELECT *, at - lag(at) OVER (PARTITION BY store_id, asked ORDER BY at) AS gap FROM visit
), own AS (
	SELECT store_id, asked, max(at) AS last, count(*) AS orders, percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) AS median FROM gap GROUP BY 1, 2
)
SELECT s.store_id, m.at, lifecycle(s.timeline, m.at, ROW('purchase', 4, '10 days', '20 days', true, 2, 4, '1 day', '30 days', '2 days', '60 days', NULL, 0)::lifecycle_rule) AS ours,
	   CASE WHEN o.last IS NULL THEN 'potential' WHEN m.at - o.last > t.churn THEN 'churned' WHEN m.at - o.last > t.risk THEN 'at_risk'
			WHEN o.orders >= 4 THEN 'retained' WHEN o.orders > 1 THEN 'repeat' ELSE 'first_purchase' END AS plain
FROM store s CROSS JOIN month_end m LEFT JOIN own o ON o.store_id = s.store_id AND o.asked = m.at,
	 LATERAL (SELECT CASE WHEN median IS NULL THEN interval '10 days' ELSE least(greatest(2 * median, '1 day'), '30 days') END AS risk,
					 CASE WHEN median IS NULL THEN interval '20 days' ELSE least(greatest(4 * median, '2 days'), '60 days') END AS churn) t;

-- AARRR: the first visit, the first coupon redeemed, the first visit a day later, money, nothing that was only sent to them
CREATE TEMP TABLE happened AS
SELECT household_id, at, 'purchase' AS event FROM sale
UNION ALL SELECT household_id, (redemption_date + time '12:00') AT TIME ZONE 'UTC', 'coupon_redeemed' FROM raw.coupon_redemptions;
CREATE INDEX ON happened (household_id, at);
ANALYZE;
CREATE TEMP TABLE aarrr_differs AS
WITH first AS (
	SELECT household_id, m.at AS asked, min(e.at) AS acquired, min(e.at) FILTER (WHERE event = 'coupon_redeemed') AS activated, min(e.at) FILTER (WHERE event = 'purchase') AS revenue
	FROM happened e JOIN month_end m ON e.at <= m.at GROUP BY 1, 2
)
SELECT h.household_id, m.at, a.*, f.acquired, f.activated, f.revenue,
	   (SELECT min(e.at) FROM happened e WHERE e.household_id = h.household_id AND e.at <= m.at AND e.at >= f.acquired + interval '24 hours') AS retained
FROM household h CROSS JOIN month_end m LEFT JOIN first f ON f.household_id = h.household_id AND f.asked = m.at,
	 LATERAL aarrr(h.timeline, m.at, '{coupon_redeemed}', '{purchase}', '{invite}', '{campaign_sent,message_sent}') a;

-- RFM
CREATE TEMP TABLE rfm_plain AS
WITH v AS (
	SELECT household_id, m.at, extract(epoch FROM m.at - max(s.at))::float8 AS r, count(DISTINCT s.at)::float8 AS f, sum(s.sales_value)::float8 AS m
	FROM sale s JOIN month_end m ON s.at <= m.at GROUP BY 1, 2
), e AS (
	SELECT at, percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY r) AS r, percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY f) AS f,
		   percentile_cont('{0.2,0.4,0.6,0.8}'::float8[]) WITHIN GROUP (ORDER BY m) AS m FROM v GROUP BY at
)
SELECT v.household_id, v.at, concat(5 - (SELECT count(*) FROM unnest(e.r) x WHERE x < v.r), 1 + (SELECT count(*) FROM unnest(e.f) x WHERE x < v.f), 1 + (SELECT count(*) FROM unnest(e.m) x WHERE x < v.m)) AS code
FROM v JOIN e USING (at);
CREATE TEMP TABLE rfm_ours AS
SELECT h.household_id, m.at, x.code, x.segment FROM month_end m CROSS JOIN LATERAL rfm_of('default', m.at) x JOIN household h USING (profile_id);
CREATE TEMP TABLE rfm_by_rows AS
SELECT x.id AS household_id, m.at, x.code FROM month_end m CROSS JOIN LATERAL rfm('SELECT household_id, at, sales_value FROM pg_temp.sale', m.at) x;

-- transitions, replayed: the last thing that was recorded up to a date
CREATE TEMP TABLE replayed AS
SELECT s.profile_id, m.at, lifecycle_at(s.profile_id, m.at) AS stage,
	   (SELECT x.stage FROM (SELECT at, tick_no, to_stage AS stage FROM lifecycle_change c WHERE c.profile_id = s.profile_id AND c.at <= m.at
							 UNION ALL SELECT at, tick_no, is_stage FROM lifecycle_correction k WHERE k.profile_id = s.profile_id AND k.at <= m.at) x
		ORDER BY x.at DESC, x.tick_no DESC LIMIT 1) AS recorded
FROM lifecycle_state s CROSS JOIN month_end m WHERE s.profile_id % 5 = 0;

DO $$
DECLARE
	c record;
BEGIN
	FOR c IN
		SELECT 'stages' AS what, count(*) AS rows, count(*) FILTER (WHERE ours::text IS DISTINCT FROM plain) AS wrong, 28000 AS least FROM stage_differs
		UNION ALL SELECT 'stages of stores', count(*), count(*) FILTER (WHERE ours::text IS DISTINCT FROM plain), 3500 FROM store_differs
		UNION ALL SELECT 'AARRR', count(*), count(*) FILTER (WHERE (acquired_at, activated_at, retained_at, revenue_at) IS DISTINCT FROM (acquired, activated, retained, revenue) OR referral_at IS NOT NULL), 28000 FROM aarrr_differs
		UNION ALL SELECT 'RFM', count(*), count(*) FILTER (WHERE a.code IS DISTINCT FROM b.code OR a.segment IS DISTINCT FROM rfm_segment_of(b.code)), 20000 FROM rfm_ours a FULL JOIN rfm_plain b USING (household_id, at)
		UNION ALL SELECT 'RFM over rows', count(*), count(*) FILTER (WHERE a.code IS DISTINCT FROM b.code), 20000 FROM rfm_by_rows a FULL JOIN rfm_plain b USING (household_id, at)
		UNION ALL SELECT 'replayed transitions', count(*), count(*) FILTER (WHERE stage IS DISTINCT FROM recorded), 5000 FROM replayed
	LOOP
		IF c.rows < c.least OR c.wrong > 0 THEN
			RAISE EXCEPTION '%: % of % differ', c.what, c.wrong, c.rows;
		END IF;
	END LOOP;
	IF (SELECT count(DISTINCT plain) FROM stage_differs) < 6 OR (SELECT count(DISTINCT plain) FROM store_differs) < 6 THEN
		RAISE EXCEPTION 'not all stages occur';
	END IF;
END $$;
SELECT 'stages, AARRR and RFM are plain SQL';
