-- To this chain a household is a customer.
UPDATE cdp.namespace_rule SET kind = 'person' WHERE namespace = 'household';

-- What the chain's words mean, and how often its customers ought to come.
INSERT INTO cdp.event_role (event, as_event, role, label_key) VALUES
	('Campaign Sent', 'campaign_sent', 'touch', 'campaign'),
	('Coupon Redeemed', 'coupon_redeemed', 'touch', 'campaign');
UPDATE cdp.lifecycle_policy SET at_risk_after = '45 days', churned_after = '120 days' WHERE name = 'default';

-- The past, up to the end of October, month by month: it builds timelines and
-- stages, and starts nothing.
\pset tuples_only on
\pset format unaligned
SELECT format($$INSERT INTO cdp.inbox (payload) SELECT payload FROM raw.message
				WHERE at < %L AND at >= %L ORDER BY at$$,
			  month + interval '1 month', CASE WHEN month = '2017-01-01Z' THEN '-infinity' ELSE month END),
	   format($$SELECT format('   %%s: %%s messages taken', to_char(%L::timestamptz, 'FMMonth'),
			  cdp.ingest_inbox(max_rows => 1000000, backfill => true))$$, month)
FROM generate_series(timestamptz '2017-01-01Z', '2017-10-01Z', '1 month') month
\gexec
SELECT format('   rejected, kept aside: %s', reason) FROM cdp.rejected ORDER BY rejected_id;
ANALYZE;
CALL cdp.run('2017-11-01Z', '10 minutes');
ANALYZE;
SELECT format('   %s profiles, %s events in %s timelines', to_char(count(*), 'FM999,999'),
	(SELECT to_char(count(*), 'FM999,999') FROM cdp.event), (SELECT to_char(count(*), 'FM999,999') FROM cdp.profile_timeline))
FROM cdp.profile;
