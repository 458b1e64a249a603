-- The story, as a marketer reads it.
\pset null '-'
\pset border 1
CREATE TEMP TABLE household AS
SELECT p.profile_id, p.first_at, value(l.identifier) AS household_id, t.timeline
FROM cdp.profile p JOIN cdp.identifier_link l USING (profile_id) JOIN cdp.profile_timeline t USING (profile_id)
WHERE p.kind = 'person' AND namespace(l.identifier) = 'household';

\echo
\echo '1. WHO WE KNOW'
SELECT (SELECT count(*) FROM household) AS households,
	   (SELECT count(*) FROM cdp.profile WHERE kind = 'store') AS stores,
	   sum(num_events(timeline, 'purchase')) AS baskets,
	   to_char(sum(total(timeline, 'purchase')), 'FM999,999.00') AS sales,
	   sum(num_events(timeline, 'campaign_sent')) AS campaign_mails,
	   sum(num_events(timeline, 'coupon_redeemed')) AS coupons_redeemed
FROM household;

\echo '2. WHERE THEY STAND: stages at the end of each quarter'
SELECT at::date - 1 AS "end of", count(*) FILTER (WHERE stage = 'potential') AS potential,
	   count(*) FILTER (WHERE stage = 'first_purchase') AS first_purchase, count(*) FILTER (WHERE stage = 'repeat') AS repeat,
	   count(*) FILTER (WHERE stage = 'retained') AS retained, count(*) FILTER (WHERE stage = 'at_risk') AS at_risk,
	   count(*) FILTER (WHERE stage = 'churned') AS churned
FROM (SELECT at, cdp.lifecycle(timeline, at) AS stage
	  FROM household, generate_series(timestamptz '2017-04-01Z', '2018-01-01Z', '3 months') at
	  WHERE first_at <= at) x
GROUP BY at ORDER BY at;

\echo '   and how they moved from the third quarter to the fourth'
SELECT coalesce(from_stage::text, '(new)') AS "on 1 October", to_stage AS "on 1 January", profiles AS households
FROM cdp.lifecycle_flow('2017-10-01Z', '2018-01-01Z') ORDER BY from_stage NULLS FIRST, to_stage;

\echo '3. A SEGMENT: loyal, above-median spenders who stopped buying, and let a campaign''s coupon lie'
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total(timeline, 'purchase')) AS median
FROM household WHERE num_events(timeline, 'purchase') > 0 \gset
SELECT format('(lifecycle:at_risk | lifecycle:churned) & count(purchase) >= 4 & sum(purchase) > %s & any(campaign_sent: count(coupon_redeemed[$]) = 0)',
	:median)::criteria AS rule \gset
\echo '   rule:' :rule
SELECT cdp.audience_count(:'rule', '2018-01-02Z') AS households,
	   cdp.audience_count(:'rule'::criteria & 'home:owner', '2018-01-02Z') AS home_owners,
	   cdp.audience_count(:'rule'::criteria & 'coupon_lover', '2018-01-02Z') AS coupon_lovers,
	   cdp.audience_count(:'rule'::criteria & 'kids > 0', '2018-01-02Z') AS with_kids;

\echo '4. A FUNNEL: mailed -> redeemed -> next basket, within 60 days'
WITH f AS (SELECT window_funnel(timeline, ARRAY['campaign_sent', 'coupon_redeemed', 'purchase'], '60 days') AS level FROM household)
SELECT s.step, s.name, count(*) FILTER (WHERE f.level >= s.step) AS households,
	   round(100.0 * count(*) FILTER (WHERE f.level >= s.step) / nullif(count(*) FILTER (WHERE f.level >= s.step - 1), 0), 1) AS "% of the step before"
FROM f, (VALUES (1, 'mailed'), (2, 'redeemed'), (3, 'bought again')) s(step, name)
GROUP BY s.step, s.name ORDER BY s.step;

\echo '5. THE WIN-BACK JOURNEY, 1 November to 1 January'
SELECT (SELECT count(*) FROM cdp.journey_state WHERE journey = 'win_back') AS entered,
	   (SELECT count(*) FROM cdp.outbox WHERE template = 'we_miss_you') AS letters,
	   (SELECT count(*) FROM cdp.outbox WHERE template = 'voucher') AS vouchers,
	   (SELECT count(*) FROM cdp.journey_state s WHERE journey = 'win_back'
		  AND EXISTS (SELECT FROM timeline_events(cdp.timeline_of(s.profile_id)) e
					  WHERE e.event = 'purchase' AND e.at > s.entered_at AND e.at <= s.entered_at + interval '30 days')) AS "back within 30 days";
\echo '   the first messages that stand in the outbox'
SELECT id, due_at, channel, template, profile_id, idempotency_key FROM cdp.outbox ORDER BY due_at, id LIMIT 5;

\echo '6. WHICH CAMPAIGN TYPE WORKED: of the households mailed, how many redeemed that campaign''s coupon'
SELECT d.campaign_type AS type, count(*) AS sends, count(*) FILTER (WHERE redeemed) AS redeemed,
	   round(100.0 * count(*) FILTER (WHERE redeemed) / count(*), 1) AS "%"
FROM (SELECT e.label AS campaign_id, num_events(h.timeline, 'coupon_redeemed', e.label) > 0 AS redeemed
	  FROM household h, timeline_events(h.timeline) e WHERE e.event = 'campaign_sent') x
JOIN raw.campaign_descriptions d USING (campaign_id)
GROUP BY 1 ORDER BY 1;

\echo '7. A THOUSAND STORES: each store has a timeline of its own, and its own lapsed households'
SELECT value(l.identifier) AS store, num_events(t.timeline, 'purchase') AS baskets,
	   to_char(total(t.timeline, 'purchase'), 'FM999,999.00') AS sales,
	   rb_and_cardinality(c.households, cdp.tagged('lifecycle:at_risk')) AS "households at risk",
	   rb_cardinality(c.households) AS households
FROM cdp.profile p JOIN cdp.identifier_link l USING (profile_id) JOIN cdp.profile_timeline t USING (profile_id)
JOIN (SELECT s AS profile_id, rb_build_agg(e.profile_id) AS households
	  FROM cdp.event e, unnest(e.participants) s GROUP BY s) c USING (profile_id)
WHERE p.kind = 'store' ORDER BY total(t.timeline, 'purchase') DESC LIMIT 5;
