SELECT identify(ARRAY['user_id:' || n]::identifier[], at => '2026-01-01') FROM generate_series(1, 3) n ORDER BY n;
CREATE SCHEMA crm;
CREATE TABLE crm.gold_customers AS SELECT 1::bigint AS id;
