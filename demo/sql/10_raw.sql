-- The raw files as they came, in a schema of their own.
CREATE EXTENSION marketing_cdp;
ALTER DATABASE cdp SET search_path = public, cdp;
ALTER DATABASE cdp SET timezone = 'UTC';

CREATE SCHEMA raw;
CREATE TABLE raw.transactions_sample (
	household_id text, store_id text, basket_id text, product_id text, quantity int,
	sales_value numeric, retail_disc numeric, coupon_disc numeric, coupon_match_disc numeric,
	week int, transaction_timestamp timestamp);
CREATE TABLE raw.campaigns (campaign_id text, household_id text);
CREATE TABLE raw.campaign_descriptions (campaign_id text, campaign_type text, start_date date, end_date date);
CREATE TABLE raw.coupon_redemptions (household_id text, coupon_upc text, campaign_id text, redemption_date date);
CREATE TABLE raw.demographics (
	household_id text, age text, income text, home_ownership text, marital_status text,
	household_size text, household_comp text, kids_count text);
CREATE TABLE raw.products_sold (product_id text, department text, product_category text);
