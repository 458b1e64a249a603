CREATE SCHEMA crm;
CREATE TABLE crm.customer AS SELECT n AS id, 'c' || n || '@example.com' AS mail FROM generate_series(101, 101) n;
