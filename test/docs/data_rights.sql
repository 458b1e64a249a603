SELECT identify(ARRAY['user_id:' || n]::identifier[], at => '2026-01-01') FROM generate_series(1, 6) n ORDER BY n;
SELECT track(ARRAY['email:ada@example.org']::identifier[], 'view', at => '2026-01-02 00:00Z');
SELECT set_trait(7, 'name', '"Ada"', '2026-01-02Z'), tag(7, 'vip', at => '2026-01-02Z');
SELECT tick('2026-01-10Z');
