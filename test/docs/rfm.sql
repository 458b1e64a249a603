CREATE SCHEMA shop;
CREATE TABLE shop.orders AS SELECT 1001 AS customer_id, timestamptz '2026-02-27Z' AS ordered_at, 843::numeric AS amount;
