SELECT identify(ARRAY['email:ada@example.com']::identifier[], at => '2026-01-01');
