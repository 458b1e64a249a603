SELECT identify(ARRAY['user_id:' || n]::identifier[], at => '2026-01-01') FROM generate_series(1, 6) n ORDER BY n;
INSERT INTO trait_rule (name, type, searchable) VALUES ('age', 'number', true), ('born', 'date', true);
SELECT set_trait(6, 'ltv', '75'), set_trait(5, 'ltv', '62.5'), tag(5, 'vip'), tag(6, 'vip');
