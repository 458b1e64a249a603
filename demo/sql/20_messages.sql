-- What the chain's systems would send: one message per basket, campaign send,
-- coupon redemption and customer record.  The owner of a basket is the
-- household; the store takes part.
CREATE TABLE raw.message (at timestamptz NOT NULL, payload jsonb NOT NULL);

INSERT INTO raw.message
SELECT timestamptz '2017-01-01 00:00Z',
	   jsonb_build_object(
		   'type', 'identify', 'messageId', 'household-' || household_id,
		   'timestamp', '2017-01-01T00:00:00Z', 'identifiers', jsonb_build_array('household:' || household_id),
		   'traits', jsonb_strip_nulls(jsonb_build_object(
			   'age', age, 'income', income, 'home_ownership', home_ownership, 'marital_status', marital_status,
			   'household_size', rtrim(household_size, '+')::int, 'kids', rtrim(kids_count, '+')::int)))
FROM raw.demographics;

INSERT INTO raw.message
SELECT transaction_timestamp AT TIME ZONE 'UTC',
	   jsonb_build_object(
		   'type', 'track', 'event', 'Order Completed', 'messageId', 'basket-' || basket_id,
		   'timestamp', to_char(transaction_timestamp, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		   'identifiers', jsonb_build_array('household:' || household_id),
		   'participants', jsonb_build_array('store:' || store_id),
		   'properties', jsonb_build_object(
			   'order_id', basket_id, 'total', sum(sales_value),
			   'products', jsonb_agg(jsonb_build_object(
				   'product_id', product_id, 'quantity', quantity, 'total', sales_value) ORDER BY product_id)))
FROM raw.transactions_sample
GROUP BY basket_id, household_id, store_id, transaction_timestamp;

-- A campaign's mail goes out at nine on its first day.
INSERT INTO raw.message
SELECT (d.start_date + time '09:00') AT TIME ZONE 'UTC',
	   jsonb_build_object(
		   'type', 'track', 'event', 'Campaign Sent', 'messageId', format('send-%s-%s', campaign_id, household_id),
		   'timestamp', to_char(d.start_date, 'YYYY-MM-DD"T09:00:00Z"'),
		   'identifiers', jsonb_build_array('household:' || household_id),
		   'properties', jsonb_build_object('campaign', campaign_id, 'campaign_type', campaign_type))
FROM raw.campaigns JOIN raw.campaign_descriptions d USING (campaign_id);

-- Redemptions have a date only: noon.
INSERT INTO raw.message
SELECT (redemption_date + time '12:00') AT TIME ZONE 'UTC',
	   jsonb_build_object(
		   'type', 'track', 'event', 'Coupon Redeemed',
		   'messageId', format('redemption-%s-%s-%s-%s-%s', household_id, coupon_upc, campaign_id, redemption_date,
			   row_number() OVER (PARTITION BY household_id, coupon_upc, campaign_id, redemption_date)),
		   'timestamp', to_char(redemption_date, 'YYYY-MM-DD"T12:00:00Z"'),
		   'identifiers', jsonb_build_array('household:' || household_id),
		   'properties', jsonb_build_object('campaign', campaign_id, 'coupon', coupon_upc))
FROM raw.coupon_redemptions;

-- Real feeds carry broken messages too.
INSERT INTO raw.message VALUES
	('2017-05-01Z', '{"type": "track", "messageId": "broken-1", "identifiers": ["household:1"], "timestamp": "2017-05-01T10:00:00Z"}'),
	('2017-05-01Z', '{"type": "track", "event": "Order Completed", "messageId": "broken-2", "timestamp": "2017-05-01T10:00:00Z"}'),
	('2017-05-01Z', '{"type": "track", "event": "Order Completed", "messageId": "broken-3", "identifiers": ["household:1"], "timestamp": "last Tuesday"}');

CREATE INDEX ON raw.message (at);
ANALYZE raw.message;
SELECT format('   %s messages', to_char(count(*), 'FM999,999')) FROM raw.message \g (tuples_only=on format=unaligned)
