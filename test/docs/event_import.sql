CREATE SCHEMA shop;
CREATE TABLE shop.sale AS SELECT n AS id, n AS customer_no, 'c' || n || '@example.com' AS mail, timestamptz '2026-01-01Z' AS sold_at, 10 AS amount, 'sku' AS sku
FROM generate_series(1, 20) n;
