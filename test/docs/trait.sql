SELECT identify(ARRAY['user_id:' || n]::identifier[], at => '2026-01-01') FROM generate_series(1, 1) n ORDER BY n;
CREATE SCHEMA crm;
CREATE TABLE crm.person AS SELECT 'ada@example.com' AS mail, 'Jena' AS city, '1990-01-01' AS birthday, timestamptz '2026-01-01Z' AS changed_on;
