-- To this chain a household is a customer.
UPDATE cdp.namespace_rule SET kind = 'person' WHERE namespace = 'household';

-- What the chain's words mean, and how often its customers ought to come.
INSERT INTO cdp.event_role (event, as_event, role, label_key) VALUES
	('Campaign Sent', 'campaign_sent', 'touch', 'campaign'),
	('Coupon Redeemed', 'coupon_redeemed', 'touch', 'campaign');
UPDATE cdp.lifecycle_policy SET at_risk_after = '45 days', churned_after = '120 days' WHERE name = 'default';

-- The past, up to the end of October: it builds timelines and stages, and
-- starts nothing.
INSERT INTO cdp.inbox (payload) SELECT payload FROM raw.message WHERE at < '2017-11-01Z' ORDER BY at;
\pset tuples_only on
\pset format unaligned
SELECT format('  %s accepted', to_char(cdp.ingest_inbox(max_rows => 1000000, backfill => true), 'FM999,999'));
SELECT format('  rejected, kept aside: %s', reason) FROM cdp.rejected ORDER BY rejected_id;
ANALYZE;
CALL cdp.run('2017-11-01Z', '10 minutes');
ANALYZE;
SELECT format('  %s profiles, %s events in %s timelines', to_char(count(*), 'FM999,999'),
	(SELECT to_char(count(*), 'FM999,999') FROM cdp.event), (SELECT to_char(count(*), 'FM999,999') FROM cdp.profile_timeline))
FROM cdp.profile;
