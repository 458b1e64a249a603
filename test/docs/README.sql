CREATE TABLE my_events AS SELECT 1 AS user_id, timestamptz '2026-01-01' AS at, 'view' AS name, 1.0::float8 AS value;
DROP EXTENSION marketing_cdp CASCADE;
