SELECT identify(ARRAY['user_id:' || n]::identifier[], at => '2026-01-01') FROM generate_series(1, 7) n ORDER BY n;
